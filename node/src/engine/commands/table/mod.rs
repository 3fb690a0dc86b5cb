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

/// Every command of this version, by name. Subcommands stand in the specs of their containers.
pub use collections::*;
pub use connection::*;
pub use diagnostics::*;
pub use generic::*;
pub use pubsub::*;
pub use replication::*;
pub use server::*;
pub use string::*;
pub use transactions::*;

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
