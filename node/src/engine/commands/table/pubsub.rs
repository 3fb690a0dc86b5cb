//! PUBSUB, which tells who listens to what.

use crate::engine::commands::spec::{ArgumentType, CommandSpec, Group, arg, command, flags, string};

/// `PUBSUB`.
pub static PUBSUB: CommandSpec = command(
    "pubsub",
    -2,
    Group::Pubsub,
    "2.8.0",
    "Depends on the subcommand",
    "Groups the commands that look at subscriptions.",
)
.subcommands(&[&PUBSUB_CHANNELS, &PUBSUB_HELP, &PUBSUB_NUMPAT, &PUBSUB_NUMSUB]);

/// `PUBSUB CHANNELS`.
pub static PUBSUB_CHANNELS: CommandSpec = command(
    "channels",
    -2,
    Group::Pubsub,
    "2.8.0",
    "O(N) in the channels that have subscribers",
    "Lists the channels that have subscribers.",
)
.of("pubsub")
.flags(flags![PUBSUB LOADING STALE])
.args(&[arg("pattern", ArgumentType::Pattern).optional()]);

/// `PUBSUB HELP`.
pub static PUBSUB_HELP: CommandSpec =
    command("help", 2, Group::Pubsub, "6.2.0", "O(1)", "Explains the subcommands of PUBSUB.")
        .of("pubsub")
        .flags(flags![LOADING STALE]);

/// `PUBSUB NUMPAT`.
pub static PUBSUB_NUMPAT: CommandSpec =
    command("numpat", 2, Group::Pubsub, "2.8.0", "O(1)", "Counts the patterns that are subscribed to.")
        .of("pubsub")
        .flags(flags![PUBSUB LOADING STALE]);

/// `PUBSUB NUMSUB`.
pub static PUBSUB_NUMSUB: CommandSpec = command(
    "numsub",
    -2,
    Group::Pubsub,
    "2.8.0",
    "O(N) in the channels given",
    "Counts the subscribers of channels.",
)
.of("pubsub")
.flags(flags![PUBSUB LOADING STALE])
.args(&[string("channel").optional().multiple()]);
