//! What the subcommands of ACL answer, the same in every program.
//!
//! The words that follow the subcommand come in, and replies of Redis 7.2 go out. What a
//! subcommand changes, and what it needs of the outside, is for the program.

use super::catalog::{Catalog, Categories};
use super::log::Log;
use super::selector::Selector;
use super::user::User;
use super::users::Users;
use crate::resp::number::parse_integer;
use crate::resp::reply::Reply;

/// The lines of ACL HELP between the header and the footer that every HELP has.
pub const HELP: &[&str] = &[
    "CAT [<category>]",
    "    List all categories, or the commands of one.",
    "DELUSER <username> [<username> ...]",
    "    Remove users and close their connections.",
    "DRYRUN <username> <command> [<arg> ...]",
    "    Say whether a user may run a command, without running it.",
    "GENPASS [<bits>]",
    "    Make a secret of 256 bits, or of so many, that can serve as a password.",
    "GETUSER <username>",
    "    Show the flags, passwords and rules of a user.",
    "LIST",
    "    Show all users as lines of a configuration file.",
    "LOAD",
    "    Take over the users of the ACL file.",
    "LOG [<count>|RESET]",
    "    Show who was denied what, or forget it.",
    "SAVE",
    "    Write all users into the ACL file.",
    "SETUSER <username> [<rule> ...]",
    "    Make a user, or change one by rules.",
    "USERS",
    "    List the names of all users.",
    "WHOAMI",
    "    Tell as which user this connection is logged in.",
];

/// The error of ACL LOAD and ACL SAVE without `aclfile`.
pub const NO_FILE: &str = "ERR This Redis instance is not configured to use an ACL file. You may want to specify users via the ACL SETUSER command and then issue a CONFIG REWRITE (assuming you have a Redis configuration file set) in order to store users in the Redis configuration.";

/// The error of ACL SAVE that failed; the log says why.
pub const NOT_SAVED: &str =
    "ERR There was an error trying to save the ACLs. Please check the server logs for more information";

/// The error of ACL DELUSER for the default user.
pub const DEFAULT_STAYS: &str = "ERR The 'default' user cannot be removed";

/// The error of AUTH without a user name where the default user needs no password.
pub const NO_PASSWORD_SET: &str = "ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?";

/// The error of a wrong name or password.
pub const WRONG_PASSWORD: &str = "WRONGPASS invalid username-password pair or user is disabled.";

/// Most bits that ACL GENPASS gives.
const MAX_BITS: i64 = 4096;

/// ACL LIST.
pub fn list(users: &Users, reply: &mut Reply) {
    reply.array(users.iter().len());
    for user in users.iter() {
        reply.bulk(&[b"user ", &**user.name(), b" ", &user.description()].concat());
    }
}

/// ACL USERS.
pub fn names(users: &Users, reply: &mut Reply) {
    reply.array(users.iter().len());
    users.iter().for_each(|user| reply.bulk(user.name()));
}

/// ACL GETUSER.
pub fn user(user: Option<&User>, reply: &mut Reply) {
    let Some(user) = user else { return reply.null() };
    reply.map(6);
    reply.bulk(b"flags");
    let flags = user.flags();
    reply.set(flags.len());
    flags.iter().for_each(|flag| reply.bulk(flag.as_bytes()));
    reply.bulk(b"passwords");
    reply.array(user.passwords().len());
    user.passwords().iter().for_each(|hash| reply.bulk(hash.to_string().as_bytes()));
    selector(user.root(), reply);
    reply.bulk(b"selectors");
    reply.array(user.other_selectors().len());
    for other in user.other_selectors() {
        reply.map(3);
        selector(other, reply);
    }
}

/// The three pairs that describe a selector.
fn selector(selector: &Selector, reply: &mut Reply) {
    for (field, value) in
        [("commands", selector.commands()), ("keys", selector.keys()), ("channels", selector.channels())]
    {
        reply.bulk(field.as_bytes());
        reply.bulk(&value);
    }
}

/// ACL CAT [category].
///
/// # Errors
/// There is no such category.
pub fn categories(catalog: &Catalog, category: Option<&[u8]>, reply: &mut Reply) -> Result<(), String> {
    let Some(name) = category else {
        reply.array(Categories::NAMES.len());
        Categories::NAMES.iter().for_each(|(name, _)| reply.bulk(name.as_bytes()));
        return Ok(());
    };
    let Some((_, category)) = Categories::named(name) else {
        let name = String::from_utf8_lossy(&name[..name.len().min(128)]);
        return Err(format!("ERR Unknown category '{name}'"));
    };
    let commands: Vec<&str> = catalog.in_category(category).map(|id| catalog.full_name(id)).collect();
    reply.array(commands.len());
    commands.iter().for_each(|name| reply.bulk(name.as_bytes()));
    Ok(())
}

/// ACL LOG [count|RESET], at Unix time `now_ms`.
///
/// # Errors
/// The count is no integer.
pub fn log(log: &mut Log, argument: Option<&[u8]>, now_ms: i64, reply: &mut Reply) -> Result<(), String> {
    let count = match argument {
        None => 10,
        Some(word) if word.eq_ignore_ascii_case(b"reset") => {
            log.reset();
            reply.ok();
            return Ok(());
        }
        Some(word) => usize::try_from(integer(word)?.max(0)).unwrap_or(usize::MAX),
    };
    reply.array(count.min(log.entries().len()));
    for entry in log.entries().take(count) {
        let event = &entry.event;
        reply.map(10);
        reply.bulk(b"count");
        reply.integer(entry.count as i64);
        for (field, text) in [
            ("reason", event.reason.name().as_bytes()),
            ("context", event.context.name().as_bytes()),
            ("object", &event.object),
            ("username", &event.user),
        ] {
            reply.bulk(field.as_bytes());
            reply.bulk(text);
        }
        reply.bulk(b"age-seconds");
        reply.double((now_ms - entry.updated_ms) as f64 / 1000.0);
        reply.bulk(b"client-info");
        reply.bulk(event.client.as_bytes());
        for (field, n) in [
            ("entry-id", entry.id as i64),
            ("timestamp-created", entry.created_ms),
            ("timestamp-last-updated", entry.updated_ms),
        ] {
            reply.bulk(field.as_bytes());
            reply.integer(n);
        }
    }
    Ok(())
}

/// How many hexadecimal digits ACL GENPASS [bits] answers with.
///
/// # Errors
/// The number of bits is none, or not one between 1 and 4096.
pub fn password_digits(bits: Option<&[u8]>) -> Result<usize, String> {
    let bits = bits.map_or(Ok(256), integer)?;
    if !(1..=MAX_BITS).contains(&bits) {
        return Err(format!(
            "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to {MAX_BITS}"
        ));
    }
    Ok((bits as usize).div_ceil(4))
}

/// The password of so many hexadecimal digits that random bytes, at least half as many, make.
pub fn password(random: &[u8], digits: usize) -> String {
    let mut text: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    text
}

fn integer(word: &[u8]) -> Result<i64, String> {
    parse_integer(word).ok_or_else(|| "ERR value is not an integer or out of range".into())
}
