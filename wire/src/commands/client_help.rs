//! CLIENT HELP, of nodes and of Sentinels: each tells of the subcommands that it has.

use super::help;
use super::spec::CommandSpec;
use crate::resp::reply::Reply;

/// The lines of each subcommand but HELP.
const LINES: &[(&str, &[&str])] = &[
    ("caching", &["CACHING (YES|NO)", "    Say whether the keys of the next command are tracked."]),
    ("getname", &["GETNAME", "    Tell the name of this connection."]),
    ("getredir", &["GETREDIR", "    Tell where invalidation messages are sent: -1 without tracking."]),
    ("id", &["ID", "    Tell the number of this connection."]),
    ("info", &["INFO", "    Describe this connection."]),
    (
        "kill",
        &[
            "KILL <ip:port>",
            "    Close the connection from this address.",
            "KILL <filter> <value> [<filter> <value> ...]",
            "    Close all connections that every filter fits. Filters are:",
            "    * ID <client-id>",
            "    * ADDR <ip:port>, the client's address",
            "    * LADDR <ip:port>, the address it connected to",
            "    * TYPE (NORMAL|MASTER|REPLICA|PUBSUB)",
            "    * USER <username>",
            "    * SKIPME (YES|NO), spare this connection (default: yes)",
        ],
    ),
    (
        "list",
        &[
            "LIST [TYPE (NORMAL|MASTER|REPLICA|PUBSUB)|ID <client-id> [<client-id> ...]]",
            "    Describe all connections, those of a type, or those with these numbers.",
        ],
    ),
    ("no-evict", &["NO-EVICT (ON|OFF)", "    Exempt this connection from eviction."]),
    (
        "no-touch",
        &["NO-TOUCH (ON|OFF)", "    Let the reads of this connection leave keys' access times alone."],
    ),
    (
        "pause",
        &[
            "PAUSE <timeout> [WRITE|ALL]",
            "    Hold back all commands, or those that write, for so many milliseconds.",
        ],
    ),
    ("reply", &["REPLY (ON|OFF|SKIP)", "    Say which commands of this connection are answered."]),
    (
        "setinfo",
        &["SETINFO (LIB-NAME|LIB-VER) <value>", "    Tell the name or the version of the client library."],
    ),
    ("setname", &["SETNAME <name>", "    Name this connection."]),
    (
        "tracking",
        &[
            "TRACKING (ON|OFF) [REDIRECT <client-id>] [BCAST] [PREFIX <prefix> [...]] [OPTIN] [OPTOUT] [NOLOOP]",
            "    Turn the tracking of keys on or off.",
        ],
    ),
    ("trackinginfo", &["TRACKINGINFO", "    Describe the tracking of this connection."]),
    (
        "unblock",
        &["UNBLOCK <client-id> [TIMEOUT|ERROR]", "    Wake a connection that waits in a blocking command."],
    ),
    ("unpause", &["UNPAUSE", "    End a pause."]),
];

/// Writes the reply of a program whose CLIENT is `client`.
pub fn client_help(client: &CommandSpec, reply: &mut Reply) {
    let has = |name: &str| client.subcommands.iter().any(|sub| sub.name == name);
    let lines: Vec<&str> =
        LINES.iter().filter(|(name, _)| has(name)).flat_map(|(_, lines)| *lines).copied().collect();
    help(client.name, lines.into_iter(), reply);
}
