//! ACL and its subcommands.

use crate::commands::spec::{CommandSpec, Flags, Group, command, flag, flags, integer, one_of, string};

/// What the subcommands have in common; those for administrators have more.
const PLAIN: Flags = flags![NOSCRIPT LOADING STALE SENTINEL];
const ADMIN: Flags = flags![ADMIN NOSCRIPT LOADING STALE SENTINEL];

/// All nodes have to have the same users.
const EVERYWHERE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

/// `ACL`.
pub static ACL: CommandSpec = command(
    "acl",
    -2,
    Group::Server,
    "6.0.0",
    "Depends on the subcommand",
    "Groups the commands about users.",
)
.flags(flags![SENTINEL])
.subcommands(&[
    &ACL_CAT,
    &ACL_DELUSER,
    &ACL_DRYRUN,
    &ACL_GENPASS,
    &ACL_GETUSER,
    &ACL_HELP,
    &ACL_LIST,
    &ACL_LOAD,
    &ACL_LOG,
    &ACL_SAVE,
    &ACL_SETUSER,
    &ACL_USERS,
    &ACL_WHOAMI,
]);

/// `ACL CAT`.
pub static ACL_CAT: CommandSpec = command(
    "cat",
    -2,
    Group::Server,
    "6.0.0",
    "O(N) in the commands of the node",
    "Lists the categories of commands, or the commands of one.",
)
.of("acl")
.flags(PLAIN)
.args(&[string("category").optional()]);

/// `ACL DELUSER`.
pub static ACL_DELUSER: CommandSpec = command(
    "deluser",
    -3,
    Group::Server,
    "6.0.0",
    "O(N+M) for N users and M connections",
    "Removes users and closes their connections.",
)
.of("acl")
.flags(ADMIN)
.tips(EVERYWHERE)
.args(&[string("username").multiple()]);

/// `ACL DRYRUN`.
pub static ACL_DRYRUN: CommandSpec = command(
    "dryrun",
    -4,
    Group::Server,
    "7.0.0",
    "O(N) in the rules of the user",
    "Tells whether a user may run a command, without running it.",
)
.of("acl")
.flags(ADMIN)
.args(&[string("username"), string("command"), string("arg").optional().multiple()]);

/// `ACL GENPASS`.
pub static ACL_GENPASS: CommandSpec =
    command("genpass", -2, Group::Server, "6.0.0", "O(1)", "Makes a secret that can serve as a password.")
        .of("acl")
        .flags(PLAIN)
        .args(&[integer("bits").optional()]);

/// `ACL GETUSER`.
pub static ACL_GETUSER: CommandSpec = command(
    "getuser",
    3,
    Group::Server,
    "6.0.0",
    "O(N) in the rules of the user",
    "Shows the flags, passwords and rules of a user.",
)
.of("acl")
.flags(ADMIN)
.args(&[string("username")]);

/// `ACL HELP`.
pub static ACL_HELP: CommandSpec =
    command("help", 2, Group::Server, "6.0.0", "O(1)", "Explains the subcommands of ACL.")
        .of("acl")
        .flags(flags![LOADING STALE SENTINEL]);

/// `ACL LIST`.
pub static ACL_LIST: CommandSpec = command(
    "list",
    2,
    Group::Server,
    "6.0.0",
    "O(N) in the rules of all users",
    "Shows all users as lines of an ACL file.",
)
.of("acl")
.flags(ADMIN);

/// `ACL LOAD`.
pub static ACL_LOAD: CommandSpec = command(
    "load",
    2,
    Group::Server,
    "6.0.0",
    "O(N+M) for N rules and M connections",
    "Takes over the users of the ACL file.",
)
.of("acl")
.flags(ADMIN);

/// `ACL LOG`.
pub static ACL_LOG: CommandSpec = command(
    "log",
    -2,
    Group::Server,
    "6.0.0",
    "O(N) in the entries shown",
    "Shows who was denied what, or forgets it.",
)
.of("acl")
.flags(ADMIN)
.args(&[one_of("operation", &[integer("count"), flag("reset", "RESET")]).optional()]);

/// `ACL SAVE`.
pub static ACL_SAVE: CommandSpec = command(
    "save",
    2,
    Group::Server,
    "6.0.0",
    "O(N) in the rules of all users",
    "Writes all users into the ACL file.",
)
.of("acl")
.flags(ADMIN)
.tips(EVERYWHERE);

/// `ACL SETUSER`.
pub static ACL_SETUSER: CommandSpec = command(
    "setuser",
    -3,
    Group::Server,
    "6.0.0",
    "O(N+M) for N rules and M connections",
    "Makes a user, or changes one by rules.",
)
.of("acl")
.flags(ADMIN)
.tips(EVERYWHERE)
.args(&[string("username"), string("rule").optional().multiple()]);

/// `ACL USERS`.
pub static ACL_USERS: CommandSpec =
    command("users", 2, Group::Server, "6.0.0", "O(N) in the users", "Lists the names of all users.")
        .of("acl")
        .flags(ADMIN);

/// `ACL WHOAMI`.
pub static ACL_WHOAMI: CommandSpec =
    command("whoami", 2, Group::Server, "6.0.0", "O(1)", "Tells as which user this connection is logged in.")
        .of("acl")
        .flags(PLAIN);
