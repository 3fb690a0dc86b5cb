//! Commands about connections.

use crate::commands::spec::{CommandSpec, Group, acl, block, command, flag, flags, integer, one_of, string};

/// `AUTH`.
pub static AUTH: CommandSpec = command(
    "auth",
    -2,
    Group::Connection,
    "1.0.0",
    "O(N) in the passwords of the user",
    "Logs the connection in, as the default user or as another.",
)
.flags(flags![NOSCRIPT LOADING STALE FAST NO_AUTH SENTINEL ALLOW_BUSY])
.acl(acl![CONNECTION])
.args(&[string("username").since("6.0.0").optional(), string("password")]);

/// `CLIENT GETNAME`.
pub static CLIENT_GETNAME: CommandSpec =
    command("getname", 2, Group::Connection, "2.6.9", "O(1)", "Tells the name of this connection.")
        .of("client")
        .flags(flags![NOSCRIPT LOADING STALE SENTINEL])
        .acl(acl![CONNECTION]);

/// `CLIENT GETREDIR`.
pub static CLIENT_GETREDIR: CommandSpec = command(
    "getredir",
    2,
    Group::Connection,
    "6.0.0",
    "O(1)",
    "Tells to which client this connection's invalidation messages go.",
)
.of("client")
.flags(flags![NOSCRIPT LOADING STALE SENTINEL])
.acl(acl![CONNECTION]);

/// `CLIENT HELP`.
pub static CLIENT_HELP: CommandSpec =
    command("help", 2, Group::Connection, "5.0.0", "O(1)", "Explains the subcommands of CLIENT.")
        .of("client")
        .flags(flags![LOADING STALE SENTINEL])
        .acl(acl![CONNECTION]);

/// `CLIENT ID`.
pub static CLIENT_ID: CommandSpec = command(
    "id",
    2,
    Group::Connection,
    "5.0.0",
    "O(1)",
    "Tells the number of this connection, which no other one ever gets.",
)
.of("client")
.flags(flags![NOSCRIPT LOADING STALE SENTINEL])
.acl(acl![CONNECTION]);

/// `CLIENT INFO`.
pub static CLIENT_INFO: CommandSpec =
    command("info", 2, Group::Connection, "6.2.0", "O(1)", "Describes this connection in one line.")
        .of("client")
        .flags(flags![NOSCRIPT LOADING STALE SENTINEL])
        .acl(acl![CONNECTION])
        .tips(&["nondeterministic_output"]);

/// `CLIENT KILL`.
pub static CLIENT_KILL: CommandSpec = command(
    "kill",
    -3,
    Group::Connection,
    "2.4.0",
    "O(N) in the connections",
    "Closes the connection of an address, or all that match a filter.",
)
.of("client")
.flags(flags![ADMIN NOSCRIPT LOADING STALE SENTINEL])
.acl(acl![CONNECTION])
.args(&[one_of(
    "filter",
    &[
        string("old-format").shown_as("ip:port").deprecated_since("2.8.12"),
        one_of(
            "new-format",
            &[
                integer("client-id").token("ID").since("2.8.12").optional(),
                one_of(
                    "client-type",
                    &[
                        flag("normal", "NORMAL"),
                        flag("master", "MASTER").since("3.2.0"),
                        flag("slave", "SLAVE"),
                        flag("replica", "REPLICA").since("5.0.0"),
                        flag("pubsub", "PUBSUB"),
                    ],
                )
                .token("TYPE")
                .since("2.8.12")
                .optional(),
                string("username").token("USER").optional(),
                string("addr").token("ADDR").shown_as("ip:port").optional(),
                string("laddr").token("LADDR").shown_as("ip:port").since("6.2.0").optional(),
                one_of("skipme", &[flag("yes", "YES"), flag("no", "NO")]).token("SKIPME").optional(),
            ],
        )
        .multiple(),
    ],
)]);

/// `CLIENT LIST`.
pub static CLIENT_LIST: CommandSpec = command(
    "list",
    -2,
    Group::Connection,
    "2.4.0",
    "O(N) in the connections",
    "Describes connections, one a line.",
)
.of("client")
.flags(flags![ADMIN NOSCRIPT LOADING STALE SENTINEL])
.acl(acl![CONNECTION])
.tips(&["nondeterministic_output"])
.args(&[
    one_of(
        "client-type",
        &[
            flag("normal", "NORMAL"),
            flag("master", "MASTER"),
            flag("replica", "REPLICA"),
            flag("pubsub", "PUBSUB"),
        ],
    )
    .token("TYPE")
    .since("5.0.0")
    .optional(),
    integer("client-id").token("ID").since("6.2.0").optional().multiple(),
]);

/// `CLIENT NO-EVICT`.
pub static CLIENT_NO_EVICT: CommandSpec = command(
    "no-evict",
    3,
    Group::Connection,
    "7.0.0",
    "O(1)",
    "Exempts this connection from being closed to free memory.",
)
.of("client")
.flags(flags![ADMIN NOSCRIPT LOADING STALE SENTINEL])
.acl(acl![CONNECTION])
.args(&[one_of("enabled", &[flag("on", "ON"), flag("off", "OFF")])]);

/// `CLIENT PAUSE`.
pub static CLIENT_PAUSE: CommandSpec =
    command("pause", -3, Group::Connection, "3.0.0", "O(1)", "Holds up the commands of clients for a time.")
        .of("client")
        .flags(flags![ADMIN NOSCRIPT LOADING STALE SENTINEL])
        .acl(acl![CONNECTION])
        .args(&[
            integer("timeout"),
            one_of("mode", &[flag("write", "WRITE"), flag("all", "ALL")]).since("6.2.0").optional(),
        ]);

/// `CLIENT REPLY`.
pub static CLIENT_REPLY: CommandSpec = command(
    "reply",
    3,
    Group::Connection,
    "3.2.0",
    "O(1)",
    "Switches the replies to this connection off and on.",
)
.of("client")
.flags(flags![NOSCRIPT LOADING STALE SENTINEL])
.acl(acl![CONNECTION])
.args(&[one_of("action", &[flag("on", "ON"), flag("off", "OFF"), flag("skip", "SKIP")])]);

/// `CLIENT SETINFO`.
pub static CLIENT_SETINFO: CommandSpec = command(
    "setinfo",
    4,
    Group::Connection,
    "7.2.0",
    "O(1)",
    "Notes the name or version of the client library of this connection.",
)
.of("client")
.flags(flags![NOSCRIPT LOADING STALE SENTINEL])
.acl(acl![CONNECTION])
.tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
.args(&[one_of("attr", &[string("libname").token("LIB-NAME"), string("libver").token("LIB-VER")])]);

/// `CLIENT SETNAME`.
pub static CLIENT_SETNAME: CommandSpec =
    command("setname", 3, Group::Connection, "2.6.9", "O(1)", "Gives this connection a name.")
        .of("client")
        .flags(flags![NOSCRIPT LOADING STALE SENTINEL])
        .acl(acl![CONNECTION])
        .tips(&["request_policy:all_nodes", "response_policy:all_succeeded"])
        .args(&[string("connection-name")]);

/// `CLIENT TRACKINGINFO`.
pub static CLIENT_TRACKINGINFO: CommandSpec = command(
    "trackinginfo",
    2,
    Group::Connection,
    "6.2.0",
    "O(1)",
    "Describes how keys are tracked for this connection.",
)
.of("client")
.flags(flags![NOSCRIPT LOADING STALE SENTINEL])
.acl(acl![CONNECTION]);

/// `CLIENT UNBLOCK`.
pub static CLIENT_UNBLOCK: CommandSpec = command(
    "unblock",
    -3,
    Group::Connection,
    "5.0.0",
    "O(log N) in the connections",
    "Ends the waiting of a blocked client.",
)
.of("client")
.flags(flags![ADMIN NOSCRIPT LOADING STALE SENTINEL])
.acl(acl![CONNECTION])
.args(&[
    integer("client-id"),
    one_of("unblock-type", &[flag("timeout", "TIMEOUT"), flag("error", "ERROR")]).optional(),
]);

/// `CLIENT UNPAUSE`.
pub static CLIENT_UNPAUSE: CommandSpec = command(
    "unpause",
    2,
    Group::Connection,
    "6.2.0",
    "O(N) in the paused clients",
    "Lets clients go on that CLIENT PAUSE has held up.",
)
.of("client")
.flags(flags![ADMIN NOSCRIPT LOADING STALE SENTINEL])
.acl(acl![CONNECTION]);

/// `HELLO`.
pub static HELLO: CommandSpec = command(
    "hello",
    -1,
    Group::Connection,
    "6.0.0",
    "O(1)",
    "Chooses the protocol version, optionally logs in and names the connection, and describes the node.",
)
.flags(flags![NOSCRIPT LOADING STALE FAST NO_AUTH SENTINEL ALLOW_BUSY])
.acl(acl![CONNECTION])
.args(&[block(
    "arguments",
    &[
        integer("protover"),
        block("auth", &[string("username"), string("password")]).token("AUTH").optional(),
        string("clientname").token("SETNAME").optional(),
    ],
)
.optional()]);

/// `PING`.
pub static PING: CommandSpec =
    command("ping", -1, Group::Connection, "1.0.0", "O(1)", "Answers PONG, or what it was given.")
        .flags(flags![FAST SENTINEL])
        .acl(acl![CONNECTION])
        .tips(&["request_policy:all_shards", "response_policy:all_succeeded"])
        .args(&[string("message").optional()]);
