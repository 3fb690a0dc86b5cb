//! Commands that say where time and memory go.

use crate::engine::commands::keys::{access, key_at};
use crate::engine::commands::spec::{CommandSpec, Group, command, flags, integer, key, string};

/// `LATENCY`.
pub static LATENCY: CommandSpec = command(
    "latency",
    -2,
    Group::Server,
    "2.8.13",
    "Depends on the subcommand",
    "Groups the commands about the latency monitor.",
)
.subcommands(&[
    &LATENCY_DOCTOR,
    &LATENCY_GRAPH,
    &LATENCY_HELP,
    &LATENCY_HISTOGRAM,
    &LATENCY_HISTORY,
    &LATENCY_LATEST,
    &LATENCY_RESET,
]);

/// `LATENCY DOCTOR`.
pub static LATENCY_DOCTOR: CommandSpec =
    command("doctor", 2, Group::Server, "2.8.13", "O(1)", "Explains the latency events on record in words.")
        .of("latency")
        .flags(flags![ADMIN NOSCRIPT LOADING STALE])
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]);

/// `LATENCY GRAPH`.
pub static LATENCY_GRAPH: CommandSpec = command(
    "graph",
    3,
    Group::Server,
    "2.8.13",
    "O(1)",
    "Draws the samples of a latency event in characters.",
)
.of("latency")
.flags(flags![ADMIN NOSCRIPT LOADING STALE])
.tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
.args(&[string("event")]);

/// `LATENCY HELP`.
pub static LATENCY_HELP: CommandSpec =
    command("help", 2, Group::Server, "2.8.13", "O(1)", "Explains the subcommands of LATENCY.")
        .of("latency")
        .flags(flags![LOADING STALE]);

/// `LATENCY HISTOGRAM`.
pub static LATENCY_HISTOGRAM: CommandSpec = command(
    "histogram",
    -2,
    Group::Server,
    "7.0.0",
    "O(N) in the commands shown",
    "Shows the distribution of execution times of commands.",
)
.of("latency")
.flags(flags![ADMIN NOSCRIPT LOADING STALE])
.tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
.args(&[string("command").optional().multiple()]);

/// `LATENCY HISTORY`.
pub static LATENCY_HISTORY: CommandSpec =
    command("history", 3, Group::Server, "2.8.13", "O(1)", "Shows the samples of a latency event.")
        .of("latency")
        .flags(flags![ADMIN NOSCRIPT LOADING STALE])
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"])
        .args(&[string("event")]);

/// `LATENCY LATEST`.
pub static LATENCY_LATEST: CommandSpec =
    command("latest", 2, Group::Server, "2.8.13", "O(1)", "Shows the latest sample of each latency event.")
        .of("latency")
        .flags(flags![ADMIN NOSCRIPT LOADING STALE])
        .tips(&["nondeterministic_output", "request_policy:all_nodes", "response_policy:special"]);

/// `LATENCY RESET`.
pub static LATENCY_RESET: CommandSpec = command(
    "reset",
    -2,
    Group::Server,
    "2.8.13",
    "O(1)",
    "Forgets the samples of some or all latency events.",
)
.of("latency")
.flags(flags![ADMIN NOSCRIPT LOADING STALE])
.tips(&["request_policy:all_nodes", "response_policy:agg_sum"])
.args(&[string("event").optional().multiple()]);

/// `MEMORY`.
pub static MEMORY: CommandSpec = command(
    "memory",
    -2,
    Group::Server,
    "4.0.0",
    "Depends on the subcommand",
    "Groups the commands about memory.",
)
.subcommands(&[&MEMORY_DOCTOR, &MEMORY_HELP, &MEMORY_PURGE, &MEMORY_STATS, &MEMORY_USAGE]);

/// `MEMORY DOCTOR`.
pub static MEMORY_DOCTOR: CommandSpec =
    command("doctor", 2, Group::Server, "4.0.0", "O(1)", "Explains the use of memory in words.")
        .of("memory")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]);

/// `MEMORY HELP`.
pub static MEMORY_HELP: CommandSpec =
    command("help", 2, Group::Server, "4.0.0", "O(1)", "Explains the subcommands of MEMORY.")
        .of("memory")
        .flags(flags![LOADING STALE]);

/// `MEMORY PURGE`.
pub static MEMORY_PURGE: CommandSpec = command(
    "purge",
    2,
    Group::Server,
    "4.0.0",
    "Depends on how much the allocator holds",
    "Asks the allocator to give back memory that it does not need.",
)
.of("memory")
.tips(&["request_policy:all_shards", "response_policy:all_succeeded"]);

/// `MEMORY STATS`.
pub static MEMORY_STATS: CommandSpec =
    command("stats", 2, Group::Server, "4.0.0", "O(1)", "Breaks the use of memory down by purpose.")
        .of("memory")
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"]);

/// `MEMORY USAGE`.
pub static MEMORY_USAGE: CommandSpec = command(
    "usage",
    -3,
    Group::Server,
    "4.0.0",
    "O(N) in the elements sampled",
    "Estimates how many bytes a key and its value take.",
)
.of("memory")
.flags(flags![READONLY])
.keys(&[key_at(2, access![RO])])
.args(&[key("key", 0), integer("count").token("SAMPLES").optional()]);

/// `SLOWLOG`.
pub static SLOWLOG: CommandSpec = command(
    "slowlog",
    -2,
    Group::Server,
    "2.2.12",
    "Depends on the subcommand",
    "Groups the commands about the log of slow commands.",
)
.subcommands(&[&SLOWLOG_GET, &SLOWLOG_HELP, &SLOWLOG_LEN, &SLOWLOG_RESET]);

/// `SLOWLOG GET`.
pub static SLOWLOG_GET: CommandSpec = command(
    "get",
    -2,
    Group::Server,
    "2.2.12",
    "O(N) in the entries returned",
    "Shows the latest entries of the slow log.",
)
.of("slowlog")
.flags(flags![ADMIN LOADING STALE])
.tips(&["request_policy:all_nodes", "nondeterministic_output"])
.args(&[integer("count").optional()]);

/// `SLOWLOG HELP`.
pub static SLOWLOG_HELP: CommandSpec =
    command("help", 2, Group::Server, "6.2.0", "O(1)", "Explains the subcommands of SLOWLOG.")
        .of("slowlog")
        .flags(flags![LOADING STALE]);

/// `SLOWLOG LEN`.
pub static SLOWLOG_LEN: CommandSpec =
    command("len", 2, Group::Server, "2.2.12", "O(1)", "Counts the entries of the slow log.")
        .of("slowlog")
        .flags(flags![ADMIN LOADING STALE])
        .tips(&["request_policy:all_nodes", "response_policy:agg_sum", "nondeterministic_output"]);

/// `SLOWLOG RESET`.
pub static SLOWLOG_RESET: CommandSpec = command(
    "reset",
    2,
    Group::Server,
    "2.2.12",
    "O(N) in the entries",
    "Forgets all entries of the slow log.",
)
.of("slowlog")
.flags(flags![ADMIN LOADING STALE])
.tips(&["request_policy:all_nodes", "response_policy:all_succeeded"]);
