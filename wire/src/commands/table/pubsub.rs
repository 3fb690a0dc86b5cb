//! Commands of publish and subscribe.

use crate::commands::spec::{ArgumentType, ChannelArgs, CommandSpec, Group, arg, command, flags, string};

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
