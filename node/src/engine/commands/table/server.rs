//! Commands about the node: its configuration, its data as a whole, and what it reports of itself.

use crate::engine::commands::spec::{
    Argument, CommandSpec, Group, acl, block, command, flag, flags, integer, one_of, string,
};

/// Whether to free in the background or before the reply.
const FLUSH_TYPE: Argument =
    one_of("flush-type", &[flag("async", "ASYNC").since("4.0.0"), flag("sync", "SYNC").since("6.2.0")]);

/// `BGSAVE`.
pub static BGSAVE: CommandSpec =
    command("bgsave", -1, Group::Server, "1.0.0", "O(1)", "Saves a snapshot in the background.")
        .flags(flags![NO_ASYNC_LOADING ADMIN NOSCRIPT])
        .args(&[flag("schedule", "SCHEDULE").since("3.2.2").optional()]);

/// `CONFIG`.
pub static CONFIG: CommandSpec = command(
    "config",
    -2,
    Group::Server,
    "2.0.0",
    "Depends on the subcommand",
    "Groups the commands about the configuration.",
)
.subcommands(&[&CONFIG_GET, &CONFIG_HELP, &CONFIG_RESETSTAT, &CONFIG_REWRITE, &CONFIG_SET]);

/// `CONFIG GET`.
pub static CONFIG_GET: CommandSpec = command(
    "get",
    -3,
    Group::Server,
    "2.0.0",
    "O(N) in the patterns given",
    "Shows the directives whose names match a pattern.",
)
.of("config")
.flags(flags![ADMIN NOSCRIPT LOADING STALE])
.args(&[string("parameter").multiple()]);

/// `CONFIG HELP`.
pub static CONFIG_HELP: CommandSpec =
    command("help", 2, Group::Server, "5.0.0", "O(1)", "Explains the subcommands of CONFIG.")
        .of("config")
        .flags(flags![LOADING STALE]);

/// `CONFIG RESETSTAT`.
pub static CONFIG_RESETSTAT: CommandSpec = command(
    "resetstat",
    2,
    Group::Server,
    "2.0.0",
    "O(1)",
    "Sets the counters that INFO shows back to zero.",
)
.of("config")
.flags(flags![ADMIN NOSCRIPT LOADING STALE])
.tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]);

/// `CONFIG REWRITE`.
pub static CONFIG_REWRITE: CommandSpec =
    command("rewrite", 2, Group::Server, "2.8.0", "O(1)", "Writes the configuration in force into its file.")
        .of("config")
        .flags(flags![ADMIN NOSCRIPT LOADING STALE])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]);

/// `CONFIG SET`.
pub static CONFIG_SET: CommandSpec = command(
    "set",
    -4,
    Group::Server,
    "2.0.0",
    "O(N) in the directives given",
    "Changes directives while the node runs: all of them or none.",
)
.of("config")
.flags(flags![ADMIN NOSCRIPT LOADING STALE])
.tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
.args(&[block("data", &[string("parameter"), string("value")]).multiple()]);

/// `DBSIZE`.
pub static DBSIZE: CommandSpec =
    command("dbsize", 1, Group::Server, "1.0.0", "O(1)", "Counts the keys of the database.")
        .flags(flags![READONLY FAST])
        .acl(acl![KEYSPACE])
        .tips(&["request_policy:all_shards", "response_policy:agg_sum"]);

/// `DEBUG`.
pub static DEBUG: CommandSpec = command(
    "debug",
    -2,
    Group::Server,
    "1.0.0",
    "Depends on the subcommand",
    "Groups what tests and developers need; closed unless `enable-debug-command` opens it.",
)
.flags(flags![ADMIN NOSCRIPT LOADING STALE PROTECTED])
.syscmd();

/// `FLUSHALL`.
pub static FLUSHALL: CommandSpec = command(
    "flushall",
    -1,
    Group::Server,
    "1.0.0",
    "O(N) in the keys of all databases",
    "Empties all databases.",
)
.flags(flags![WRITE])
.acl(acl![KEYSPACE DANGEROUS])
.tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
.args(&[FLUSH_TYPE.optional()]);

/// `FLUSHDB`.
pub static FLUSHDB: CommandSpec = command(
    "flushdb",
    -1,
    Group::Server,
    "1.0.0",
    "O(N) in the keys of the database",
    "Empties the database that is selected.",
)
.flags(flags![WRITE])
.acl(acl![KEYSPACE DANGEROUS])
.tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
.args(&[FLUSH_TYPE.optional()]);

/// `LASTSAVE`.
pub static LASTSAVE: CommandSpec = command(
    "lastsave",
    1,
    Group::Server,
    "1.0.0",
    "O(1)",
    "Tells the Unix time of the last snapshot that succeeded.",
)
.flags(flags![LOADING STALE FAST])
.acl(acl![ADMIN DANGEROUS])
.tips(&["nondeterministic_output"]);

/// `MONITOR`.
pub static MONITOR: CommandSpec = command(
    "monitor",
    1,
    Group::Server,
    "1.0.0",
    "O(1) to begin, then O(1) a command",
    "Shows this connection every command that the node runs from now on.",
)
.flags(flags![ADMIN NOSCRIPT LOADING STALE]);

/// `SAVE`.
pub static SAVE: CommandSpec = command(
    "save",
    1,
    Group::Server,
    "1.0.0",
    "O(N) in the keys of all databases",
    "Saves a snapshot and answers once it is on disk.",
)
.flags(flags![NO_ASYNC_LOADING ADMIN NOSCRIPT NO_MULTI]);

/// `SWAPDB`.
pub static SWAPDB: CommandSpec = command(
    "swapdb",
    3,
    Group::Server,
    "4.0.0",
    "O(N) in the clients that watch or wait for keys of both databases",
    "Exchanges two databases, for all clients at once.",
)
.flags(flags![WRITE FAST])
.acl(acl![KEYSPACE DANGEROUS])
.args(&[integer("index1"), integer("index2")]);

/// `TIME`.
pub static TIME: CommandSpec = command(
    "time",
    1,
    Group::Server,
    "2.6.0",
    "O(1)",
    "Tells the time of the node in seconds and microseconds.",
)
.flags(flags![LOADING STALE FAST])
.tips(&["nondeterministic_output"]);
