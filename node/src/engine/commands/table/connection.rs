//! Commands about connections that only a node has.

use redoubt_wire::commands::table::*;

use crate::engine::commands::spec::{CommandSpec, Group, acl, command, flag, flags, integer, one_of, string};

/// `CLIENT`.
pub static CLIENT: CommandSpec = command(
    "client",
    -2,
    Group::Connection,
    "2.4.0",
    "Depends on the subcommand",
    "Groups the commands about connections.",
)
.flags(flags![SENTINEL])
.subcommands(&[
    &CLIENT_GETNAME,
    &CLIENT_GETREDIR,
    &CLIENT_HELP,
    &CLIENT_ID,
    &CLIENT_INFO,
    &CLIENT_KILL,
    &CLIENT_LIST,
    &CLIENT_NO_EVICT,
    &CLIENT_NO_TOUCH,
    &CLIENT_PAUSE,
    &CLIENT_REPLY,
    &CLIENT_SETINFO,
    &CLIENT_SETNAME,
    &CLIENT_TRACKINGINFO,
    &CLIENT_UNBLOCK,
    &CLIENT_UNPAUSE,
]);

/// `CLIENT NO-TOUCH`.
pub static CLIENT_NO_TOUCH: CommandSpec = command(
    "no-touch",
    3,
    Group::Connection,
    "7.2.0",
    "O(1)",
    "Keeps this connection's commands from counting as use of their keys.",
)
.of("client")
.flags(flags![NOSCRIPT LOADING STALE])
.acl(acl![CONNECTION])
.args(&[one_of("enabled", &[flag("on", "ON"), flag("off", "OFF")])]);

/// `ECHO`.
pub static ECHO: CommandSpec =
    command("echo", 2, Group::Connection, "1.0.0", "O(1)", "Answers what it was given.")
        .flags(flags![LOADING STALE FAST])
        .acl(acl![CONNECTION])
        .args(&[string("message")]);

/// `QUIT`.
pub static QUIT: CommandSpec =
    command("quit", -1, Group::Connection, "1.0.0", "O(1)", "Ends the connection once its replies are sent.")
        .flags(flags![ALLOW_BUSY NOSCRIPT LOADING STALE FAST NO_AUTH])
        .acl(acl![CONNECTION])
        .deprecated("7.2.0", "just closing the connection");

/// `RESET`.
pub static RESET: CommandSpec = command(
    "reset",
    1,
    Group::Connection,
    "6.2.0",
    "O(1)",
    "Brings the connection back to the state of a new one.",
)
.flags(flags![NOSCRIPT LOADING STALE FAST NO_AUTH ALLOW_BUSY])
.acl(acl![CONNECTION]);

/// `SELECT`.
pub static SELECT: CommandSpec = command(
    "select",
    2,
    Group::Connection,
    "1.0.0",
    "O(1)",
    "Chooses the database that this connection works on.",
)
.flags(flags![LOADING STALE FAST])
.acl(acl![CONNECTION])
.args(&[integer("index")]);
