//! Commands about the server: its commands, what it reports of itself, and its end.

use crate::commands::spec::{
    ArgumentType, CommandSpec, Group, acl, arg, command, flag, flags, one_of, string,
};

/// `COMMAND`.
pub static COMMAND: CommandSpec = command(
    "command",
    -1,
    Group::Server,
    "2.8.13",
    "O(N) in the commands of the node",
    "Describes all commands.",
)
.flags(flags![LOADING STALE SENTINEL])
.acl(acl![CONNECTION])
.tips(&["nondeterministic_output_order"])
.subcommands(&[
    &COMMAND_COUNT,
    &COMMAND_DOCS,
    &COMMAND_GETKEYS,
    &COMMAND_GETKEYSANDFLAGS,
    &COMMAND_HELP,
    &COMMAND_INFO,
    &COMMAND_LIST,
]);

/// `COMMAND COUNT`.
pub static COMMAND_COUNT: CommandSpec =
    command("count", 2, Group::Server, "2.8.13", "O(1)", "Counts the commands.")
        .of("command")
        .flags(flags![LOADING STALE SENTINEL])
        .acl(acl![CONNECTION]);

/// `COMMAND DOCS`.
pub static COMMAND_DOCS: CommandSpec = command(
    "docs",
    -2,
    Group::Server,
    "7.0.0",
    "O(N) in the commands asked for",
    "Gives the documentation of commands.",
)
.of("command")
.flags(flags![LOADING STALE SENTINEL])
.acl(acl![CONNECTION])
.tips(&["nondeterministic_output_order"])
.args(&[string("command-name").optional().multiple()]);

/// `COMMAND GETKEYS`.
pub static COMMAND_GETKEYS: CommandSpec = command(
    "getkeys",
    -3,
    Group::Server,
    "2.8.13",
    "O(N) in the arguments",
    "Tells which arguments of a call are keys.",
)
.of("command")
.flags(flags![LOADING STALE SENTINEL])
.acl(acl![CONNECTION])
.args(&[string("command"), string("arg").optional().multiple()]);

/// `COMMAND GETKEYSANDFLAGS`.
pub static COMMAND_GETKEYSANDFLAGS: CommandSpec = command(
    "getkeysandflags",
    -3,
    Group::Server,
    "7.0.0",
    "O(N) in the arguments",
    "Tells which arguments of a call are keys, and what it does with them.",
)
.of("command")
.flags(flags![LOADING STALE SENTINEL])
.acl(acl![CONNECTION])
.args(&[string("command"), string("arg").optional().multiple()]);

/// `COMMAND HELP`.
pub static COMMAND_HELP: CommandSpec =
    command("help", 2, Group::Server, "5.0.0", "O(1)", "Explains the subcommands of COMMAND.")
        .of("command")
        .flags(flags![LOADING STALE SENTINEL])
        .acl(acl![CONNECTION]);

/// `COMMAND INFO`.
pub static COMMAND_INFO: CommandSpec = command(
    "info",
    -2,
    Group::Server,
    "2.8.13",
    "O(N) in the commands asked for",
    "Describes commands as clients need it: arity, flags, keys.",
)
.of("command")
.flags(flags![LOADING STALE SENTINEL])
.acl(acl![CONNECTION])
.tips(&["nondeterministic_output_order"])
.args(&[string("command-name").optional().multiple()]);

/// `COMMAND LIST`.
pub static COMMAND_LIST: CommandSpec = command(
    "list",
    -2,
    Group::Server,
    "7.0.0",
    "O(N) in the commands of the node",
    "Lists the names of commands.",
)
.of("command")
.flags(flags![LOADING STALE SENTINEL])
.acl(acl![CONNECTION])
.tips(&["nondeterministic_output_order"])
.args(&[one_of(
    "filterby",
    &[
        string("module-name").token("MODULE"),
        string("category").token("ACLCAT"),
        arg("pattern", ArgumentType::Pattern).token("PATTERN"),
    ],
)
.token("FILTERBY")
.optional()]);

/// `INFO`.
pub static INFO: CommandSpec =
    command("info", -1, Group::Server, "1.0.0", "O(1)", "Reports figures of the node, by section.")
        .flags(flags![LOADING STALE SENTINEL])
        .acl(acl![DANGEROUS])
        .tips(&["nondeterministic_output", "request_policy:all_shards", "response_policy:special"])
        .args(&[string("section").optional().multiple()]);

/// `SHUTDOWN`.
pub static SHUTDOWN: CommandSpec = command(
    "shutdown",
    -1,
    Group::Server,
    "1.0.0",
    "O(N) in the keys of all databases if it saves, else O(1)",
    "Ends the node, after a last snapshot if save points are set.",
)
.flags(flags![ADMIN NOSCRIPT LOADING STALE NO_MULTI SENTINEL ALLOW_BUSY])
.args(&[
    one_of("save-selector", &[flag("nosave", "NOSAVE"), flag("save", "SAVE")]).optional(),
    flag("now", "NOW").since("7.0.0").optional(),
    flag("force", "FORCE").since("7.0.0").optional(),
    flag("abort", "ABORT").since("7.0.0").optional(),
]);

/// `ROLE`.
pub static ROLE: CommandSpec =
    command("role", 1, Group::Server, "2.8.12", "O(1)", "Describes the node's role in replication.")
        .flags(flags![NOSCRIPT LOADING STALE FAST SENTINEL])
        .acl(acl![ADMIN DANGEROUS]);
