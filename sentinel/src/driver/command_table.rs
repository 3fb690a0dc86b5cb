//! The commands a Sentinel knows, and COMMAND, which tells clients about them.

use redoubt_wire::acl::Categories;
use redoubt_wire::resp::reply::Reply;

use super::{acl, client_command};
use crate::core::SUBCOMMANDS;

/// A command.
pub(super) struct Row {
    pub(super) name: &'static str,
    /// Words of a call, the name included; negative: at least so many.
    pub(super) arity: i32,
    flags: &'static [&'static str],
    categories: &'static [&'static str],
    group: &'static str,
    since: &'static str,
    summary: &'static str,
}

const FAST: &[&str] = &["noscript", "loading", "stale", "fast", "no_auth", "allow_busy"];
const ADMIN: &[&str] = &["admin", "noscript", "loading", "stale"];
const PUBSUB: &[&str] = &["pubsub", "noscript", "loading", "stale"];
const PLAIN: &[&str] = &["noscript", "loading", "stale"];

macro_rules! rows {
    ($($name:literal $arity:literal $flags:ident $categories:expr, $group:literal $since:literal $summary:literal;)*) => {
        &[$(Row {
            name: $name, arity: $arity, flags: $flags, categories: $categories, group: $group, since: $since, summary: $summary,
        }),*]
    };
}

const TABLE: &[Row] = rows! {
    "acl" -2 PLAIN &["@slow"], "server" "6.0.0" "Shows and manages users.";
    "auth" -2 FAST &["@fast", "@connection"], "connection" "1.0.0" "Authenticates the connection.";
    "client" -2 PLAIN &["@slow", "@connection"], "connection" "2.4.0" "Shows and manages connections.";
    "command" -1 PLAIN &["@slow", "@connection"], "server" "2.8.13" "Tells about the commands.";
    "hello" -1 FAST &["@fast", "@connection"], "connection" "6.0.0" "Opens a connection in a protocol version.";
    "info" -1 PLAIN &["@slow", "@dangerous"], "server" "1.0.0" "State and figures of this Sentinel.";
    "ping" -1 FAST &["@fast", "@connection"], "connection" "1.0.0" "Answers PONG.";
    "psubscribe" -2 PUBSUB &["@pubsub", "@slow"], "pubsub" "2.0.0" "Listens to events by pattern.";
    "publish" 3 PUBSUB &["@pubsub", "@fast"], "pubsub" "2.0.0" "Takes the hello of another Sentinel.";
    "punsubscribe" -1 PUBSUB &["@pubsub", "@slow"], "pubsub" "2.0.0" "Ceases to listen by pattern.";
    "role" 1 PLAIN &["@admin", "@fast", "@dangerous"], "server" "2.8.12" "The names of the watched masters.";
    "sentinel" -2 ADMIN &["@admin", "@slow", "@dangerous"], "sentinel" "2.8.4" "Shows and manages what is watched.";
    "shutdown" -1 ADMIN &["@admin", "@slow", "@dangerous"], "server" "1.0.0" "Ends this Sentinel.";
    "subscribe" -2 PUBSUB &["@pubsub", "@slow"], "pubsub" "2.0.0" "Listens to events by name.";
    "unsubscribe" -1 PUBSUB &["@pubsub", "@slow"], "pubsub" "2.0.0" "Ceases to listen by name.";
};

/// The command of that name, in lower case.
pub(super) fn find(name: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.name == name)
}

/// Whether a call of so many words fits an arity.
pub(super) fn arity_fits(arity: i32, words: usize) -> bool {
    let wanted = arity.unsigned_abs() as usize;
    if arity >= 0 { words == wanted } else { words >= wanted }
}

/// The full name of what `words` call, in lower case, and its arity. Of a container with an unknown
/// subcommand, nothing.
pub(super) fn resolve(words: &[String]) -> Option<(String, i32)> {
    let row = find(&words[0].to_ascii_lowercase())?;
    let subs = subcommands(row);
    match words.get(1) {
        Some(sub) if !subs.is_empty() => {
            let full_name = format!("{}|{}", row.name, sub.to_ascii_lowercase());
            subs.into_iter().find(|known| known.0 == full_name).map(|(name, arity, ..)| (name, arity))
        }
        _ => Some((row.name.to_string(), row.arity)),
    }
}

/// Every command and subcommand by its full name, with the categories that the table has for it.
pub(super) fn names_and_categories() -> Vec<(String, Categories)> {
    let of = |row: &Row| {
        let named = |name: &&str| Categories::named(name.trim_start_matches('@').as_bytes());
        let known = row.categories.iter().filter_map(named);
        known.fold(Categories::NONE, |all, (_, category)| all.with(category))
    };
    TABLE.iter().flat_map(|row| with_subcommands(row).into_iter().map(move |name| (name, of(row)))).collect()
}

/// COMMAND and its subcommands.
pub(super) fn answer(words: &[String], reply: &mut Reply) {
    let sub = words.get(1).map(|w| w.to_ascii_lowercase()).unwrap_or_default();
    let names: Vec<String> =
        words.get(2..).unwrap_or_default().iter().map(|w| w.to_ascii_lowercase()).collect();
    match sub.as_str() {
        "" => {
            reply.array(TABLE.len());
            TABLE.iter().for_each(|row| info(row, reply));
        }
        "count" if names.is_empty() => reply.integer(TABLE.len() as i64),
        "list" if names.is_empty() => {
            let all: Vec<String> = TABLE.iter().flat_map(with_subcommands).collect();
            reply.set(all.len());
            all.iter().for_each(|name| reply.bulk(name.as_bytes()));
        }
        "info" if names.is_empty() => {
            reply.array(TABLE.len());
            TABLE.iter().for_each(|row| info(row, reply));
        }
        "info" => {
            reply.array(names.len());
            for name in &names {
                match find(name) {
                    Some(row) => info(row, reply),
                    None => reply.null_array(),
                }
            }
        }
        "docs" if names.is_empty() => {
            reply.map(TABLE.len());
            TABLE.iter().for_each(|row| docs(row, reply));
        }
        "docs" => {
            let known: Vec<&String> =
                names.iter().filter(|n| TABLE.iter().flat_map(with_subcommands).any(|k| k == **n)).collect();
            reply.map(known.len());
            for name in known {
                match find(name) {
                    Some(row) => docs(row, reply),
                    None => subcommand_docs(name, reply),
                }
            }
        }
        "getkeys" | "getkeysandflags" => reply.error("ERR The command has no key arguments"),
        "count" | "list" => reply.error("ERR syntax error"),
        _ => reply.error(&format!("ERR unknown subcommand '{:.128}'. Try COMMAND HELP.", words[1])),
    }
}

/// A command's name, and the full names of its subcommands.
fn with_subcommands(row: &Row) -> Vec<String> {
    std::iter::once(row.name.to_string()).chain(subcommands(row).into_iter().map(|s| s.0)).collect()
}

/// The subcommands of a command: full name, arity, summary, version.
fn subcommands(row: &Row) -> Vec<(String, i32, &'static str, &'static str)> {
    let of_sentinel =
        |s: &crate::core::Subcommand| (format!("sentinel|{}", s.name), s.arity, s.summary, s.since);
    match row.name {
        "sentinel" => SUBCOMMANDS.iter().map(of_sentinel).collect(),
        "client" => client_command::SUBCOMMANDS
            .iter()
            .map(|(name, arity, summary, since)| (format!("client|{name}"), *arity, *summary, *since))
            .collect(),
        "acl" => acl::SUBCOMMANDS
            .iter()
            .map(|(name, arity, summary, since)| (format!("acl|{name}"), *arity, *summary, *since))
            .collect(),
        _ => Vec::new(),
    }
}

/// The documentation of one subcommand, which is in the table.
fn subcommand_docs(full_name: &str, reply: &mut Reply) {
    for row in TABLE {
        if let Some((name, _, summary, since)) = subcommands(row).into_iter().find(|s| s.0 == full_name) {
            reply.bulk(name.as_bytes());
            reply.map(3);
            doc_fields(summary, since, row.group, reply);
        }
    }
}

fn info(row: &Row, reply: &mut Reply) {
    entry(row.name, row.arity, row, reply);
    let subs = subcommands(row);
    reply.array(subs.len());
    for (name, arity, _, _) in subs {
        entry(&name, arity, row, reply);
        reply.array(0);
    }
}

/// The first nine of the ten elements that describe a command.
fn entry(name: &str, arity: i32, row: &Row, reply: &mut Reply) {
    reply.array(10);
    reply.bulk(name.as_bytes());
    reply.integer(arity.into());
    reply.set(row.flags.len());
    row.flags.iter().for_each(|f| reply.simple(f));
    for _ in 0..3 {
        reply.integer(0);
    }
    reply.set(row.categories.len());
    row.categories.iter().for_each(|c| reply.simple(c));
    reply.array(0);
    reply.array(0);
}

fn docs(row: &Row, reply: &mut Reply) {
    let subs = subcommands(row);
    reply.bulk(row.name.as_bytes());
    reply.map(if subs.is_empty() { 3 } else { 4 });
    doc_fields(row.summary, row.since, row.group, reply);
    if !subs.is_empty() {
        reply.bulk(b"subcommands");
        reply.map(subs.len());
        for (name, _, summary, since) in subs {
            reply.bulk(name.as_bytes());
            reply.map(3);
            doc_fields(summary, since, row.group, reply);
        }
    }
}

fn doc_fields(summary: &str, since: &str, group: &str, reply: &mut Reply) {
    for (field, value) in [("summary", summary), ("since", since), ("group", group)] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
}
