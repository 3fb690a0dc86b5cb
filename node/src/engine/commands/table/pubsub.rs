//! Commands of publish and subscribe.

use crate::engine::commands::spec::{
    ArgumentType, ChannelArgs, CommandSpec, Group, arg, command, flags, string,
};

/// `PSUBSCRIBE`.
pub static PSUBSCRIBE: CommandSpec = command(
    "psubscribe",
    -2,
    Group::Pubsub,
    "2.0.0",
    "O(N) in the patterns given",
    "Subscribes to all channels that match a pattern.",
)
.flags(flags![PUBSUB NOSCRIPT LOADING STALE SENTINEL])
.channels(ChannelArgs::AllPatterns)
.args(&[arg("pattern", ArgumentType::Pattern).multiple()]);

/// `PUBLISH`.
pub static PUBLISH: CommandSpec = command(
    "publish",
    3,
    Group::Pubsub,
    "2.0.0",
    "O(N+M) for N subscribers of the channel and M patterns",
    "Sends a message to the subscribers of a channel.",
)
.flags(flags![PUBSUB LOADING STALE FAST MAY_REPLICATE SENTINEL])
.channels(ChannelArgs::First)
.args(&[string("channel"), string("message")]);

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

/// `PUNSUBSCRIBE`.
pub static PUNSUBSCRIBE: CommandSpec = command(
    "punsubscribe",
    -1,
    Group::Pubsub,
    "2.0.0",
    "O(N) in the patterns given",
    "Ends subscriptions to patterns: those given, or all.",
)
.flags(flags![PUBSUB NOSCRIPT LOADING STALE SENTINEL])
.args(&[arg("pattern", ArgumentType::Pattern).optional().multiple()]);

/// `SUBSCRIBE`.
pub static SUBSCRIBE: CommandSpec =
    command("subscribe", -2, Group::Pubsub, "2.0.0", "O(N) in the channels given", "Subscribes to channels.")
        .flags(flags![PUBSUB NOSCRIPT LOADING STALE SENTINEL])
        .channels(ChannelArgs::All)
        .args(&[string("channel").multiple()]);

/// `UNSUBSCRIBE`.
pub static UNSUBSCRIBE: CommandSpec = command(
    "unsubscribe",
    -1,
    Group::Pubsub,
    "2.0.0",
    "O(N) in the channels given",
    "Ends subscriptions to channels: those given, or all.",
)
.flags(flags![PUBSUB NOSCRIPT LOADING STALE SENTINEL])
.args(&[string("channel").optional().multiple()]);
