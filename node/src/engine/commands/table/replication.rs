//! Commands of replication: those of operators and those between nodes.

use crate::engine::commands::spec::{
    Argument, CommandSpec, Group, block, command, flag, flags, integer, one_of, string,
};

/// The master to follow, or none.
const MASTER: Argument = one_of(
    "args",
    &[
        block("host-port", &[string("host"), integer("port")]),
        block("no-one", &[flag("no", "NO"), flag("one", "ONE")]),
    ],
);

/// `FAILOVER`.
pub static FAILOVER: CommandSpec = command(
    "failover",
    -1,
    Group::Server,
    "6.2.0",
    "O(1)",
    "Hands the role of master over to a replica without losing a write.",
)
.flags(flags![ADMIN NOSCRIPT STALE])
.args(&[
    block("target", &[string("host"), integer("port"), flag("force", "FORCE").optional()])
        .token("TO")
        .optional(),
    flag("abort", "ABORT").optional(),
    integer("milliseconds").token("TIMEOUT").optional(),
]);

/// `PSYNC`.
pub static PSYNC: CommandSpec = command(
    "psync",
    -3,
    Group::Server,
    "2.8.0",
    "O(1), plus a snapshot if the backlog does not reach back far enough",
    "Makes this connection a replica's: continues its stream, or begins with a snapshot.",
)
.flags(flags![NO_ASYNC_LOADING ADMIN NO_MULTI NOSCRIPT])
.args(&[string("replicationid"), integer("offset")]);

/// `REPLCONF`.
pub static REPLCONF: CommandSpec = command(
    "replconf",
    -1,
    Group::Server,
    "3.0.0",
    "O(1)",
    "Passes settings and acknowledgements of a replication link.",
)
.flags(flags![ADMIN NOSCRIPT LOADING STALE ALLOW_BUSY])
.syscmd();

/// `REPLICAOF`.
pub static REPLICAOF: CommandSpec = command(
    "replicaof",
    3,
    Group::Server,
    "5.0.0",
    "O(1)",
    "Makes the node a replica of a master, or with NO ONE a master itself.",
)
.flags(flags![NO_ASYNC_LOADING ADMIN NOSCRIPT STALE])
.args(&[MASTER]);

/// `SLAVEOF`.
pub static SLAVEOF: CommandSpec = command(
    "slaveof",
    3,
    Group::Server,
    "1.0.0",
    "O(1)",
    "Makes the node a replica of a master, or with NO ONE a master itself.",
)
.flags(flags![NO_ASYNC_LOADING ADMIN NOSCRIPT STALE])
.deprecated("5.0.0", "`REPLICAOF`")
.args(&[MASTER]);

/// `SYNC`.
pub static SYNC: CommandSpec = command(
    "sync",
    1,
    Group::Server,
    "1.0.0",
    "O(N) in the size of the dataset",
    "Makes this connection a replica's that begins with a snapshot.",
)
.flags(flags![NO_ASYNC_LOADING ADMIN NO_MULTI NOSCRIPT]);
