//! The specs of all commands, one statement a command, in files by chapter.
//!
//! To add a command, write its spec into the file of its chapter, put it into [`COMMANDS`], and
//! pair it with its handler. A subcommand goes into the list of the command it belongs to instead.

use super::spec::CommandSpec;

pub mod collections;
pub mod connection;
pub mod diagnostics;
pub mod generic;
pub mod pubsub;
pub mod replication;
pub mod server;
pub mod string;
pub mod transactions;

pub use collections::*;
pub use connection::*;
pub use diagnostics::*;
pub use generic::*;
pub use pubsub::*;
pub use replication::*;
pub use server::*;
pub use string::*;
pub use transactions::*;

/// Every command of this version, by name. Subcommands stand in the specs of their containers.
pub static COMMANDS: &[&CommandSpec] = &[
    &server::ACL,
    &string::APPEND,
    &connection::AUTH,
    &server::BGSAVE,
    &connection::CLIENT,
    &server::COMMAND,
    &server::CONFIG,
    &generic::COPY,
    &server::DBSIZE,
    &server::DEBUG,
    &string::DECR,
    &string::DECRBY,
    &generic::DEL,
    &transactions::DISCARD,
    &generic::DUMP,
    &connection::ECHO,
    &transactions::EXEC,
    &generic::EXISTS,
    &generic::EXPIRE,
    &generic::EXPIREAT,
    &generic::EXPIRETIME,
    &replication::FAILOVER,
    &server::FLUSHALL,
    &server::FLUSHDB,
    &string::GET,
    &string::GETDEL,
    &string::GETEX,
    &string::GETRANGE,
    &string::GETSET,
    &connection::HELLO,
    &string::INCR,
    &string::INCRBY,
    &string::INCRBYFLOAT,
    &server::INFO,
    &generic::KEYS,
    &server::LASTSAVE,
    &diagnostics::LATENCY,
    &string::LCS,
    &collections::LLEN,
    &collections::LPOP,
    &collections::LPUSH,
    &collections::LRANGE,
    &diagnostics::MEMORY,
    &string::MGET,
    &generic::MIGRATE,
    &server::MONITOR,
    &generic::MOVE,
    &string::MSET,
    &string::MSETNX,
    &transactions::MULTI,
    &generic::OBJECT,
    &generic::PERSIST,
    &generic::PEXPIRE,
    &generic::PEXPIREAT,
    &generic::PEXPIRETIME,
    &connection::PING,
    &string::PSETEX,
    &pubsub::PSUBSCRIBE,
    &replication::PSYNC,
    &generic::PTTL,
    &pubsub::PUBLISH,
    &pubsub::PUBSUB,
    &pubsub::PUNSUBSCRIBE,
    &connection::QUIT,
    &generic::RANDOMKEY,
    &generic::RENAME,
    &generic::RENAMENX,
    &replication::REPLCONF,
    &replication::REPLICAOF,
    &connection::RESET,
    &generic::RESTORE,
    &replication::ROLE,
    &collections::RPOP,
    &collections::RPUSH,
    &collections::SADD,
    &server::SAVE,
    &generic::SCAN,
    &collections::SCARD,
    &connection::SELECT,
    &string::SET,
    &string::SETEX,
    &string::SETNX,
    &string::SETRANGE,
    &server::SHUTDOWN,
    &collections::SISMEMBER,
    &replication::SLAVEOF,
    &diagnostics::SLOWLOG,
    &collections::SMEMBERS,
    &generic::SORT,
    &generic::SORT_RO,
    &collections::SREM,
    &string::STRLEN,
    &pubsub::SUBSCRIBE,
    &string::SUBSTR,
    &server::SWAPDB,
    &replication::SYNC,
    &server::TIME,
    &generic::TOUCH,
    &generic::TTL,
    &generic::TYPE,
    &generic::UNLINK,
    &pubsub::UNSUBSCRIBE,
    &transactions::UNWATCH,
    &generic::WAIT,
    &generic::WAITAOF,
    &transactions::WATCH,
];

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
