//! SUBSCRIBE and its kin, PUBLISH, and PUBSUB.

use std::sync::Arc;

use redoubt_wire::glob::glob_match;
use redoubt_wire::resp::reply::Reply;

use super::help::{container, help};
use super::{Cx, Row, table};
use crate::engine::error::Handled;
use crate::engine::session::Class;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::PSUBSCRIBE, psubscribe),
    (&table::PUBLISH, publish),
    (&table::PUBSUB, container),
    (&table::PUBSUB_CHANNELS, channels),
    (&table::PUBSUB_HELP, |_, args, reply| help(args, HELP, reply)),
    (&table::PUBSUB_NUMPAT, numpat),
    (&table::PUBSUB_NUMSUB, numsub),
    (&table::PUNSUBSCRIBE, punsubscribe),
    (&table::SUBSCRIBE, subscribe),
    (&table::UNSUBSCRIBE, unsubscribe),
];

/// On this channel a Sentinel confirms a former master; see [`crate::engine::Engine::confirm_master`].
const SENTINEL_CONFIRMS: &[u8] = b"__sentinel__:confirm";

const HELP: &[&str] = &[
    "CHANNELS [<pattern>]",
    "    List the channels that have subscribers, or those that match the pattern.",
    "NUMPAT",
    "    Count the patterns that have subscribers.",
    "NUMSUB [<channel> ...]",
    "    Count the subscribers of each channel, those by pattern left out.",
];

/// Tells the client how its subscriptions have changed, as a push.
fn confirm(cx: &Cx<'_>, what: &str, name: Option<&[u8]>, reply: &mut Reply) {
    reply.push(3);
    reply.bulk(what.as_bytes());
    reply.bulk_or_null(name);
    reply.integer(cx.session.subscriptions() as i64);
}

/// SUBSCRIBE channel …
fn subscribe(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    for name in &args[1..] {
        let channel: Arc<[u8]> = Arc::from(*name);
        if cx.session.channels.insert(channel.clone()) {
            cx.engine.pubsub.subscribe(channel, cx.session.id);
        }
        confirm(cx, "subscribe", Some(name), reply);
    }
    Ok(())
}

/// PSUBSCRIBE pattern …
fn psubscribe(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    for name in &args[1..] {
        let pattern: Arc<[u8]> = Arc::from(*name);
        if cx.session.patterns.insert(pattern.clone()) {
            cx.engine.pubsub.psubscribe(pattern, cx.session.id);
        }
        confirm(cx, "psubscribe", Some(name), reply);
    }
    Ok(())
}

/// UNSUBSCRIBE [channel …]: without names, from all.
fn unsubscribe(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let all: Vec<Arc<[u8]>>;
    let names: Vec<&[u8]> = if args.len() > 1 {
        args[1..].to_vec()
    } else {
        all = cx.session.channels.iter().cloned().collect();
        all.iter().map(|name| &**name).collect()
    };
    for name in &names {
        if cx.session.channels.remove(*name) {
            cx.engine.pubsub.unsubscribe(name, cx.session.id);
        }
        confirm(cx, "unsubscribe", Some(name), reply);
    }
    if names.is_empty() {
        confirm(cx, "unsubscribe", None, reply);
    }
    Ok(())
}

/// PUNSUBSCRIBE [pattern …]: without names, from all.
fn punsubscribe(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let all: Vec<Arc<[u8]>>;
    let names: Vec<&[u8]> = if args.len() > 1 {
        args[1..].to_vec()
    } else {
        all = cx.session.patterns.iter().cloned().collect();
        all.iter().map(|name| &**name).collect()
    };
    for name in &names {
        if cx.session.patterns.remove(*name) {
            cx.engine.pubsub.punsubscribe(name, cx.session.id);
        }
        confirm(cx, "punsubscribe", Some(name), reply);
    }
    if names.is_empty() {
        confirm(cx, "punsubscribe", None, reply);
    }
    Ok(())
}

/// PUBLISH channel message. Replicas get it by the stream; what came from a master's stream
/// goes on with that stream's bytes.
fn publish(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let receivers = cx.engine.publish(args[1], args[2]);
    if args[1] == SENTINEL_CONFIRMS {
        cx.engine.confirm_master(args[2]);
    }
    // A history of which nobody knows has no readers. Without messages of Sentinels in it, it can be
    // taken back, should this node not stay the master.
    let heard = !cx.engine.replication.feed.lineage().is_unused();
    if heard && cx.engine.is_master() && cx.session.class != Class::Master {
        cx.engine.effects.append_bare(args);
    }
    reply.integer(receivers as i64);
    Ok(())
}

/// PUBSUB CHANNELS [pattern].
fn channels(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let pattern = args.get(2);
    let matches = |channel: &&Arc<[u8]>| pattern.is_none_or(|p| glob_match(p, channel, false));
    let found: Vec<&Arc<[u8]>> = cx.engine.pubsub.channels().filter(matches).collect();
    reply.array(found.len());
    found.iter().for_each(|channel| reply.bulk(channel));
    Ok(())
}

/// PUBSUB NUMPAT.
fn numpat(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.integer(cx.engine.pubsub.pattern_count() as i64);
    Ok(())
}

/// PUBSUB NUMSUB [channel …].
fn numsub(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.array((args.len() - 2) * 2);
    for channel in &args[2..] {
        reply.bulk(channel);
        reply.integer(cx.engine.pubsub.subscribers(channel).len() as i64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::request::Output;
    use crate::engine::testing::Harness;

    fn pushed(h: &mut Harness) -> Vec<(u64, String)> {
        let outputs = h.engine.take_outputs();
        outputs
            .into_iter()
            .map(|output| match output {
                Output::Push { client, bytes } => (client, String::from_utf8(bytes).unwrap()),
                other => panic!("{other:?}"),
            })
            .collect()
    }

    #[test]
    fn a_message_reaches_subscribers_by_channel_and_by_pattern() {
        let mut h = Harness::new();
        let listener = h.connect();
        assert_eq!(
            h.run_as(listener, "SUBSCRIBE a b"),
            "*3\r\n$9\r\nsubscribe\r\n$1\r\na\r\n:1\r\n*3\r\n$9\r\nsubscribe\r\n$1\r\nb\r\n:2\r\n"
        );
        h.run_as(listener, "PSUBSCRIBE a*");
        assert_eq!(h.run("PUBLISH a x"), ":2\r\n");
        assert_eq!(
            pushed(&mut h),
            [
                (listener, "*3\r\n$7\r\nmessage\r\n$1\r\na\r\n$1\r\nx\r\n".into()),
                (listener, "*4\r\n$8\r\npmessage\r\n$2\r\na*\r\n$1\r\na\r\n$1\r\nx\r\n".into()),
            ]
        );
        assert_eq!(h.run("PUBSUB NUMSUB a c"), "*4\r\n$1\r\na\r\n:1\r\n$1\r\nc\r\n:0\r\n");
        assert_eq!(h.run("PUBSUB NUMPAT"), ":1\r\n");
        assert_eq!(h.run("PUBSUB CHANNELS b*"), "*1\r\n$1\r\nb\r\n");
        h.run_as(listener, "UNSUBSCRIBE");
        h.run_as(listener, "PUNSUBSCRIBE");
        assert_eq!(h.run_as(listener, "UNSUBSCRIBE"), "*3\r\n$11\r\nunsubscribe\r\n$-1\r\n:0\r\n");
        assert!(h.engine.pubsub.is_empty());
    }

    #[test]
    fn a_push_to_the_publisher_itself_follows_its_reply() {
        let mut h = Harness::new();
        h.run("HELLO 3");
        assert_eq!(h.run("SUBSCRIBE c"), ">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n");
        assert_eq!(h.run("PUBLISH c x"), ":1\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n");
        h.run("MULTI");
        h.run("PUBLISH c x");
        h.run("PING");
        assert_eq!(h.run("EXEC"), "*2\r\n:1\r\n+PONG\r\n>3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n");
    }

    #[test]
    fn a_resp2_subscriber_may_only_listen() {
        let mut h = Harness::new();
        h.run("SUBSCRIBE c");
        assert!(h.run("GET k").starts_with("-ERR Can't execute 'get': only (P|S)SUBSCRIBE"));
        assert_eq!(h.run("PING hi"), "*2\r\n$4\r\npong\r\n$2\r\nhi\r\n");
        assert_eq!(h.run("RESET"), "+RESET\r\n");
        assert_eq!(h.run("GET k"), "$-1\r\n");
    }
}
