//! The specs of all commands, one statement a command, in files by chapter. Those that a Sentinel has
//! too stand in the wire crate.
//!
//! To add a command, write its spec into the file of its chapter, put it into [`COMMANDS`], and
//! pair it with its handler. A subcommand goes into the list of the command it belongs to instead.

use super::spec::CommandSpec;

mod collections;
mod connection;
mod diagnostics;
mod generic;
mod pubsub;
mod replication;
mod server;
mod string;
mod transactions;

pub use collections::*;
pub use connection::*;
pub use diagnostics::*;
pub use generic::*;
pub use pubsub::*;
pub use replication::*;
pub use server::*;
pub use string::*;
pub use transactions::*;

pub use redoubt_wire::commands::table::*;

/// Every command of this version, by name. Subcommands stand in the specs of their containers.
pub static COMMANDS: &[&CommandSpec] = &[
    &ACL,
    &APPEND,
    &AUTH,
    &BGSAVE,
    &CLIENT,
    &COMMAND,
    &CONFIG,
    &COPY,
    &DBSIZE,
    &DEBUG,
    &DECR,
    &DECRBY,
    &DEL,
    &DISCARD,
    &DUMP,
    &ECHO,
    &EXEC,
    &EXISTS,
    &EXPIRE,
    &EXPIREAT,
    &EXPIRETIME,
    &FAILOVER,
    &FLUSHALL,
    &FLUSHDB,
    &GET,
    &GETDEL,
    &GETEX,
    &GETRANGE,
    &GETSET,
    &HELLO,
    &INCR,
    &INCRBY,
    &INCRBYFLOAT,
    &INFO,
    &KEYS,
    &LASTSAVE,
    &LATENCY,
    &LCS,
    &LLEN,
    &LPOP,
    &LPUSH,
    &LRANGE,
    &MEMORY,
    &MGET,
    &MIGRATE,
    &MONITOR,
    &MOVE,
    &MSET,
    &MSETNX,
    &MULTI,
    &OBJECT,
    &PERSIST,
    &PEXPIRE,
    &PEXPIREAT,
    &PEXPIRETIME,
    &PING,
    &PSETEX,
    &PSUBSCRIBE,
    &PSYNC,
    &PTTL,
    &PUBLISH,
    &PUBSUB,
    &PUNSUBSCRIBE,
    &QUIT,
    &RANDOMKEY,
    &RENAME,
    &RENAMENX,
    &REPLCONF,
    &REPLICAOF,
    &RESET,
    &RESTORE,
    &ROLE,
    &RPOP,
    &RPUSH,
    &SADD,
    &SAVE,
    &SCAN,
    &SCARD,
    &SELECT,
    &SET,
    &SETEX,
    &SETNX,
    &SETRANGE,
    &SHUTDOWN,
    &SISMEMBER,
    &SLAVEOF,
    &SLOWLOG,
    &SMEMBERS,
    &SORT,
    &SORT_RO,
    &SREM,
    &STRLEN,
    &SUBSCRIBE,
    &SUBSTR,
    &SWAPDB,
    &SYNC,
    &TIME,
    &TOUCH,
    &TTL,
    &TYPE,
    &UNLINK,
    &UNSUBSCRIBE,
    &UNWATCH,
    &WAIT,
    &WAITAOF,
    &WATCH,
];

#[cfg(test)]
mod introspection_tests;

#[cfg(test)]
mod tests {
    use super::super::spec::{Argument, ArgumentType};
    use super::*;

    fn all() -> impl Iterator<Item = &'static CommandSpec> {
        COMMANDS.iter().flat_map(|spec| std::iter::once(*spec).chain(spec.subcommands.iter().copied()))
    }

    /// Arguments at any depth.
    fn flat(arguments: &'static [Argument]) -> Vec<&'static Argument> {
        let nested = |a: &'static Argument| match a.kind {
            ArgumentType::OneOf(inner) | ArgumentType::Block(inner) => flat(inner),
            _ => Vec::new(),
        };
        arguments.iter().flat_map(|a| std::iter::once(a).chain(nested(a))).collect()
    }

    #[test]
    fn commands_stand_in_the_order_of_their_names() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.name < b.name));
        assert!(COMMANDS.iter().all(|spec| spec.subcommands.is_sorted_by(|a, b| a.name < b.name)));
        assert!(all().all(|spec| spec.name == spec.name.to_ascii_lowercase()));
    }

    #[test]
    fn subcommands_belong_to_their_container() {
        for container in COMMANDS.iter().filter(|spec| !spec.subcommands.is_empty()) {
            assert!(
                container.subcommands.iter().all(|sub| sub.parent == Some(container.name)),
                "{}",
                container.name
            );
            assert!(container.subcommand(b"HELP").is_some(), "{}", container.name);
        }
        assert!(COMMANDS.iter().all(|spec| spec.parent.is_none()));
    }

    #[test]
    fn key_arguments_and_key_specs_belong_together() {
        for spec in all() {
            let named: Vec<_> = flat(spec.docs.arguments).iter().filter_map(|a| a.key_spec).collect();
            for index in 0..spec.key_specs.len() {
                assert!(
                    named.contains(&(index as u8)),
                    "{}: no argument has key spec {index}",
                    spec.full_name()
                );
            }
            assert!(
                named.iter().all(|index| usize::from(*index) < spec.key_specs.len()),
                "{}",
                spec.full_name()
            );
        }
    }

    #[test]
    fn every_command_is_documented() {
        for spec in all() {
            assert!(
                spec.docs.summary.ends_with('.') && !spec.docs.complexity.is_empty(),
                "{}",
                spec.full_name()
            );
            let words = if spec.parent.is_some() { 2 } else { 1 };
            assert!(spec.arity.unsigned_abs() >= words, "{}", spec.full_name());
        }
    }
}
