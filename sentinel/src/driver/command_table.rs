//! The commands a Sentinel knows, and COMMAND, which tells clients about them.
//!
//! Their specs are those of a data node, from the wire crate; only SENTINEL and the forms of CLIENT that
//! nodes lack are the Sentinel's own.

use std::collections::HashMap;

use redoubt_wire::commands::help;
use redoubt_wire::commands::introspection::{COMMAND_HELP, Catalogue};
use redoubt_wire::commands::spec::{
    CommandSpec, Flags, Group, acl, command, flag, flags, integer, one_of, string,
};
use redoubt_wire::commands::table::{
    ACL, AUTH, CLIENT_GETNAME, CLIENT_GETREDIR, CLIENT_HELP, CLIENT_ID, CLIENT_INFO, CLIENT_KILL,
    CLIENT_LIST, CLIENT_NO_EVICT, CLIENT_PAUSE, CLIENT_REPLY, CLIENT_SETINFO, CLIENT_SETNAME,
    CLIENT_TRACKINGINFO, CLIENT_UNBLOCK, CLIENT_UNPAUSE, COMMAND, HELLO, INFO, PING, PSUBSCRIBE, PUBLISH,
    PUNSUBSCRIBE, ROLE, SHUTDOWN, SUBSCRIBE, UNSUBSCRIBE,
};
use redoubt_wire::resp::reply::Reply;

use crate::core::SENTINEL;

const ON_CONNECTIONS: Flags = flags![NOSCRIPT LOADING STALE SENTINEL];

/// `CLIENT`, without what concerns keys.
pub(super) static CLIENT: CommandSpec = command(
    "client",
    -2,
    Group::Connection,
    "2.4.0",
    "Depends on the subcommand",
    "Groups the commands about connections.",
)
.flags(flags![SENTINEL])
.subcommands(&[
    &CLIENT_CACHING,
    &CLIENT_GETNAME,
    &CLIENT_GETREDIR,
    &CLIENT_HELP,
    &CLIENT_ID,
    &CLIENT_INFO,
    &CLIENT_KILL,
    &CLIENT_LIST,
    &CLIENT_NO_EVICT,
    &CLIENT_PAUSE,
    &CLIENT_REPLY,
    &CLIENT_SETINFO,
    &CLIENT_SETNAME,
    &CLIENT_TRACKING,
    &CLIENT_TRACKINGINFO,
    &CLIENT_UNBLOCK,
    &CLIENT_UNPAUSE,
]);

/// `CLIENT CACHING`.
static CLIENT_CACHING: CommandSpec = command(
    "caching",
    3,
    Group::Connection,
    "6.0.0",
    "O(1)",
    "Says whether the keys of the next command are tracked.",
)
.of("client")
.flags(ON_CONNECTIONS)
.acl(acl![CONNECTION])
.args(&[one_of("mode", &[flag("yes", "YES"), flag("no", "NO")])]);

/// `CLIENT TRACKING`.
static CLIENT_TRACKING: CommandSpec = command(
    "tracking",
    -3,
    Group::Connection,
    "6.0.0",
    "O(N) in the prefixes",
    "Turns the tracking of keys for this connection on or off.",
)
.of("client")
.flags(ON_CONNECTIONS)
.acl(acl![CONNECTION])
.args(&[
    one_of("status", &[flag("on", "ON"), flag("off", "OFF")]),
    integer("client-id").token("REDIRECT").optional(),
    string("prefix").token("PREFIX").optional().multiple_token(),
    flag("bcast", "BCAST").optional(),
    flag("optin", "OPTIN").optional(),
    flag("optout", "OPTOUT").optional(),
    flag("noloop", "NOLOOP").optional(),
]);

static TABLE: &[&CommandSpec] = &[
    &ACL,
    &AUTH,
    &CLIENT,
    &COMMAND,
    &HELLO,
    &INFO,
    &PING,
    &PSUBSCRIBE,
    &PUBLISH,
    &PUNSUBSCRIBE,
    &ROLE,
    &SENTINEL,
    &SHUTDOWN,
    &SUBSCRIBE,
    &UNSUBSCRIBE,
];

const CATALOGUE: Catalogue<'static> = Catalogue::new(TABLE);

/// Every command and subcommand.
pub(super) fn all() -> impl Iterator<Item = &'static CommandSpec> {
    TABLE.iter().flat_map(|spec| std::iter::once(*spec).chain(spec.subcommands.iter().copied()))
}

/// The command that a call means: of a container, the subcommand.
pub(super) fn find(words: &[&[u8]]) -> Option<&'static CommandSpec> {
    CATALOGUE.resolve(words)
}

/// `rename-command`: commands that go by another name, or by none.
#[derive(Debug, Default)]
pub(crate) struct Renames {
    /// By their own names in lower case; an empty name removes the command.
    new_names: HashMap<String, String>,
}

impl Renames {
    /// Gives a command a new name.
    ///
    /// # Errors
    /// There is no such command, or the new name is taken.
    pub(super) fn add(&mut self, old: &str, new: &str) -> Result<(), String> {
        let Some(old) = self.original(old) else { return Err("No such command in rename-command".into()) };
        let old = old.to_string();
        if !new.is_empty() && self.original(new).is_some_and(|taken| taken != old) {
            return Err("Target command name already exists".into());
        }
        self.new_names.insert(old, new.to_string());
        Ok(())
    }

    /// The own name of the command that goes by `name`, if there is one.
    pub(super) fn original<'a>(&'a self, name: &str) -> Option<&'a str> {
        let renamed =
            self.new_names.iter().find(|(_, new)| !new.is_empty() && new.eq_ignore_ascii_case(name));
        match renamed {
            Some((old, _)) => Some(old),
            None => TABLE
                .iter()
                .map(|spec| spec.name)
                .find(|own| own.eq_ignore_ascii_case(name) && !self.new_names.contains_key(*own)),
        }
    }
}

/// COMMAND and its subcommands.
pub(super) fn answer(spec: &CommandSpec, words: &[&[u8]], reply: &mut Reply) {
    match (spec.parent.map_or("", |_| spec.name), words.get(2..).unwrap_or_default()) {
        ("", _) | ("info", []) => CATALOGUE.info_of_all(reply),
        ("info", names) => CATALOGUE.info(names, reply),
        ("count", _) => CATALOGUE.count(reply),
        ("docs", names) => CATALOGUE.docs(names, reply),
        ("list", options) => CATALOGUE.list(options, reply),
        ("getkeys", call) => CATALOGUE.get_keys(call, false, reply),
        ("getkeysandflags", call) => CATALOGUE.get_keys(call, true, reply),
        _ => help("command", COMMAND_HELP.iter().copied(), reply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_redis_own() {
        let names: Vec<&str> = TABLE.iter().map(|spec| spec.name).collect();
        assert_eq!(
            names,
            [
                "acl",
                "auth",
                "client",
                "command",
                "hello",
                "info",
                "ping",
                "psubscribe",
                "publish",
                "punsubscribe",
                "role",
                "sentinel",
                "shutdown",
                "subscribe",
                "unsubscribe"
            ]
        );
        assert!(all().all(|spec| spec.flags.has(Flags::SENTINEL)), "what is no Sentinel's is not here");
        for spec in TABLE {
            assert!(spec.subcommands.is_sorted_by(|a, b| a.name < b.name), "{}", spec.name);
            assert!(spec.subcommands.iter().all(|sub| sub.parent == Some(spec.name)), "{}", spec.name);
        }
    }

    #[test]
    fn a_renamed_command_goes_by_its_new_name_alone() {
        let mut renames = Renames::default();
        renames.add("SHUTDOWN", "bye").unwrap();
        renames.add("client", "").unwrap();
        assert_eq!(renames.original("BYE"), Some("shutdown"));
        assert_eq!(renames.original("shutdown"), None);
        assert_eq!(renames.original("client"), None);
        assert_eq!(renames.original("Ping"), Some("ping"));
        assert_eq!(renames.add("nope", "x").unwrap_err(), "No such command in rename-command");
        assert_eq!(renames.add("ping", "BYE").unwrap_err(), "Target command name already exists");
    }
}
