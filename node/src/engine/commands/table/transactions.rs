//! Commands of transactions.

use crate::engine::commands::keys::{access, keys_from};
use crate::engine::commands::spec::{CommandSpec, Group, acl, command, flags, key};

/// `DISCARD`.
pub static DISCARD: CommandSpec = command(
    "discard",
    1,
    Group::Transactions,
    "2.0.0",
    "O(N) in the queued commands",
    "Drops the transaction that MULTI has begun.",
)
.flags(flags![NOSCRIPT LOADING STALE FAST ALLOW_BUSY])
.acl(acl![TRANSACTION]);

/// `EXEC`.
pub static EXEC: CommandSpec = command(
    "exec",
    1,
    Group::Transactions,
    "1.2.0",
    "That of the queued commands",
    "Runs the queued commands as one, unless a watched key has changed.",
)
.flags(flags![NOSCRIPT LOADING STALE SKIP_SLOWLOG])
.acl(acl![TRANSACTION]);

/// `MULTI`.
pub static MULTI: CommandSpec = command(
    "multi",
    1,
    Group::Transactions,
    "1.2.0",
    "O(1)",
    "Begins a transaction: commands are queued until EXEC.",
)
.flags(flags![NOSCRIPT LOADING STALE FAST ALLOW_BUSY])
.acl(acl![TRANSACTION]);

/// `UNWATCH`.
pub static UNWATCH: CommandSpec =
    command("unwatch", 1, Group::Transactions, "2.2.0", "O(1)", "Stops watching keys.")
        .flags(flags![NOSCRIPT LOADING STALE FAST ALLOW_BUSY])
        .acl(acl![TRANSACTION]);

/// `WATCH`.
pub static WATCH: CommandSpec = command(
    "watch",
    -2,
    Group::Transactions,
    "2.2.0",
    "O(N) in the keys given",
    "Watches keys: if any changes, the next EXEC does nothing.",
)
.flags(flags![NOSCRIPT LOADING STALE FAST ALLOW_BUSY])
.acl(acl![TRANSACTION])
.keys(&[keys_from(1, -1, 1, access![RO])])
.args(&[key("key", 0).multiple()]);
