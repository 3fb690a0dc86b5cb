//! OBJECT: how a value is kept.

use redoubt_wire::resp::reply::Reply;

use super::help::{container, help};
use super::{Cx, Row, table};
use crate::config::MaxmemoryPolicy;
use crate::engine::Engine;
use crate::engine::error::{CommandError, Handled};
use crate::engine::keyspace::object::{Object, ValueRef};
use crate::engine::lru::lfu_decayed;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::OBJECT, container),
    (&table::OBJECT_ENCODING, encoding),
    (&table::OBJECT_FREQ, freq),
    (&table::OBJECT_HELP, |_, args, reply| help(args, HELP, reply)),
    (&table::OBJECT_IDLETIME, idletime),
    (&table::OBJECT_REFCOUNT, refcount),
];

const HELP: &[&str] = &[
    "ENCODING <key>",
    "    Tell the form in which the value is kept.",
    "FREQ <key>",
    "    Tell how often the key is used, on a logarithmic scale (with an LFU policy).",
    "IDLETIME <key>",
    "    Tell for how many seconds the key was not used (without an LFU policy).",
    "REFCOUNT <key>",
    "    Tell how many hold the value: 1, or 2147483647 for the small integers that Redis shares.",
];

/// OBJECT ENCODING key.
fn encoding(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.bulk_or_null(cx.peek(args[2]).map(|object| object.encoding_name().as_bytes()));
    Ok(())
}

/// Small integers from 0 up to here are one object each for all keys in Redis.
const SHARED_INTEGERS: i64 = 10_000;
/// The count of references that Redis tells of those.
const SHARED_REFCOUNT: i64 = i32::MAX as i64;

/// How many keys hold the value of `object`, as Redis would tell. Here every key has a value of
/// its own, and a small integer takes no allocation that could be shared.
pub(super) fn reference_count(engine: &Engine, object: &Object) -> i64 {
    use MaxmemoryPolicy::{AllkeysLfu, AllkeysLru, VolatileLfu, VolatileLru};
    // Shared objects have no access field of their own, so that such a policy could not use them.
    let policy = engine.config.maxmemory_policy;
    let shares = engine.config.maxmemory == 0
        || !matches!(policy, AllkeysLfu | AllkeysLru | VolatileLfu | VolatileLru);
    match object.value() {
        ValueRef::Int(n) if shares && (0..SHARED_INTEGERS).contains(&n) => SHARED_REFCOUNT,
        _ => 1,
    }
}

/// OBJECT REFCOUNT key.
fn refcount(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    if cx.peek(args[2]).is_none() {
        reply.null();
        return Ok(());
    }
    let object = cx.engine.keyspace.find(cx.session.db, args[2]);
    reply.integer(object.map_or(1, |object| reference_count(cx.engine, object)));
    Ok(())
}

/// OBJECT IDLETIME key.
fn idletime(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let Some(field) = cx.peek(args[2]).map(|object| object.lru()) else {
        reply.null();
        return Ok(());
    };
    if cx.engine.lfu() {
        return Err(CommandError::new(
            "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    reply.integer((cx.engine.idle_ms(field) / 1000) as i64);
    Ok(())
}

/// OBJECT FREQ key.
fn freq(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let Some(field) = cx.peek(args[2]).map(|object| object.lru()) else {
        reply.null();
        return Ok(());
    };
    if !cx.engine.lfu() {
        return Err(CommandError::new(
            "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.",
        ));
    }
    let decay = cx.engine.config.lfu_decay_time_mins;
    reply.integer(i64::from(lfu_decayed(field, cx.now_ms(), decay)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::Harness;

    #[test]
    fn idle_time_or_frequency_as_the_policy_has_it() {
        let mut h = Harness::new();
        h.run("SET k v");
        h.now_ms += 5000;
        assert_eq!(h.run("OBJECT IDLETIME k"), ":5\r\n");
        assert!(h.run("OBJECT FREQ k").starts_with("-ERR An LFU maxmemory policy is not selected"));
        h.run("CONFIG SET maxmemory-policy allkeys-lfu");
        h.run("SET k v");
        assert!(h.run("OBJECT FREQ k").starts_with(':'));
        assert!(h.run("OBJECT IDLETIME k").starts_with("-ERR An LFU maxmemory policy is selected"));
        assert_eq!(h.run("OBJECT ENCODING k"), "$6\r\nembstr\r\n");
        assert_eq!(h.run("OBJECT ENCODING none"), "$-1\r\n");
        assert_eq!(h.run("OBJECT REFCOUNT k"), ":1\r\n");
    }

    #[test]
    fn small_integers_count_as_shared_unless_the_policy_needs_their_access_times() {
        let mut h = Harness::new();
        h.run("MSET zero 0 top 9999 beyond 10000 negative -1 text a");
        for (key, count) in
            [("zero", i32::MAX), ("top", i32::MAX), ("beyond", 1), ("negative", 1), ("text", 1)]
        {
            assert_eq!(h.run(&format!("OBJECT REFCOUNT {key}")), format!(":{count}\r\n"), "{key}");
        }
        h.run("CONFIG SET maxmemory 100mb");
        assert_eq!(h.run("OBJECT REFCOUNT zero"), ":2147483647\r\n");
        h.run("CONFIG SET maxmemory-policy allkeys-lru");
        assert_eq!(h.run("OBJECT REFCOUNT zero"), ":1\r\n");
        assert_eq!(h.run("OBJECT REFCOUNT none"), "$-1\r\n");
    }
}
