//! DUMP and RESTORE: a value by itself, in the form that RDB files hold it in.

use redoubt_wire::resp::reply::Reply;

use super::args::{self, is};
use super::{Cx, Row, table};
use crate::config::KeyspaceEvents;
use crate::engine::Engine;
use crate::engine::error::{CommandError, Handled, SYNTAX};
use crate::engine::keyspace::object::Object;
use crate::engine::lru::{LRU_MAX, lfu_initial};
use crate::persist::rdb::{EncodeOptions, ReadOptions, dump_payload, parse_payload};

/// The rows of this family.
pub const ROWS: &[Row] = &[(&table::DUMP, dump), (&table::RESTORE, restore)];

/// Type, version and checksum: what a payload has beside the value.
const FRAME_BYTES: usize = 1 + 2 + 8;

fn encode_options(engine: &Engine) -> EncodeOptions {
    EncodeOptions { version: engine.config.rdb_version, compression: engine.config.rdbcompression }
}

/// The bytes that a value takes in an RDB file, its type and key left out.
pub(super) fn serialized_length(engine: &Engine, object: &Object) -> usize {
    dump_payload(object.value(), &encode_options(engine)).len() - FRAME_BYTES
}

/// DUMP key.
fn dump(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let options = encode_options(cx.engine);
    match cx.peek(args[1]) {
        Some(object) => reply.bulk(&dump_payload(object.value(), &options)),
        None => reply.null(),
    }
    Ok(())
}

/// RESTORE's options.
#[derive(Debug, Default)]
struct Options {
    replace: bool,
    absolute: bool,
    idle_secs: Option<i64>,
    freq: Option<i64>,
}

impl Options {
    fn parse(words: &[&[u8]]) -> Result<Options, CommandError> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if is(word, "replace") {
                options.replace = true;
            } else if is(word, "absttl") {
                options.absolute = true;
            } else if is(word, "idletime") && options.freq.is_none() {
                let idle = args::int(words.next().ok_or(SYNTAX)?)?;
                if idle < 0 {
                    return Err(CommandError::new("ERR Invalid IDLETIME value, must be >= 0"));
                }
                options.idle_secs = Some(idle);
            } else if is(word, "freq") && options.idle_secs.is_none() {
                let freq = args::int(words.next().ok_or(SYNTAX)?)?;
                if !(0..=255).contains(&freq) {
                    return Err(CommandError::new("ERR Invalid FREQ value, must be >= 0 and <= 255"));
                }
                options.freq = Some(freq);
            } else {
                return Err(SYNTAX);
            }
        }
        Ok(options)
    }
}

/// RESTORE key ttl payload [REPLACE] [ABSTTL] [IDLETIME seconds] [FREQ frequency].
fn restore(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let (key, payload) = (args[1], args[3]);
    let options = Options::parse(&args[4..])?;
    if !options.replace && cx.exists_for_write(key) {
        return Err(CommandError::new("BUSYKEY Target key name already exists."));
    }
    let ttl = args::int(args[2])?;
    if ttl < 0 {
        return Err(CommandError::new("ERR Invalid TTL value, must be >= 0"));
    }
    let read = ReadOptions {
        checksum: !cx.engine.skip_checksums,
        ..ReadOptions::with_limits(cx.engine.value_limits())
    };
    let value = parse_payload(payload, &read).map_err(|error| CommandError::new(format!("ERR {error}")))?;
    let base = if options.absolute { 0 } else { cx.now_ms() };
    let expiry_ms = (ttl > 0).then(|| ttl.saturating_add(base));
    let deleted = options.replace && cx.delete(key);
    reply.ok();
    if expiry_ms.is_some_and(|at| at <= cx.now_ms()) && cx.engine.may_expire() {
        // What would be gone at once is not put in; only that the old value is gone is told.
        if deleted {
            cx.commit(key, KeyspaceEvents::GENERIC, "del");
            let verb: &[u8] = if cx.engine.config.lazyfree_lazy_server_del { b"UNLINK" } else { b"DEL" };
            cx.effect(&[verb, key]);
        }
        return Ok(());
    }
    let access = access_field(cx, &options);
    cx.put(Object::new(key, value, expiry_ms));
    if let (Some(field), Some(mut object)) = (access, cx.open(key)) {
        object.set_lru(field);
    }
    cx.commit(key, KeyspaceEvents::GENERIC, "restore");
    replicate(cx, args, expiry_ms, options.absolute);
    Ok(())
}

/// The access field that IDLETIME or FREQ ask for, if the policy in force keeps such a one.
fn access_field(cx: &Cx<'_>, options: &Options) -> Option<u32> {
    match (cx.engine.lfu(), options) {
        (true, Options { freq: Some(freq), .. }) => Some(lfu_initial(cx.now_ms()) & !0xff | *freq as u32),
        (false, Options { idle_secs: Some(idle), .. }) => {
            Some(cx.engine.lru_clock().wrapping_sub((*idle).min(i64::from(LRU_MAX)) as u32) & LRU_MAX)
        }
        _ => None,
    }
}

/// The effect: with the time of expiry as such, since a replica's clock is its own.
fn replicate(cx: &mut Cx<'_>, args: &[&[u8]], expiry_ms: Option<i64>, absolute: bool) {
    let Some(expiry_ms) = expiry_ms.filter(|_| !absolute) else { return cx.effect(args) };
    let mut digits = itoa::Buffer::new();
    let mut effect = args.to_vec();
    effect[2] = digits.format(expiry_ms).as_bytes();
    effect.push(b"ABSTTL");
    cx.effect(&effect);
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::Harness;

    fn payload(h: &mut Harness, key: &str) -> Vec<u8> {
        let reply = h.run_args(h.client, &[b"DUMP", key.as_bytes()]);
        let (value, _) = redoubt_wire::resp::value::decode(&reply).unwrap().unwrap();
        value.as_bytes().unwrap().to_vec()
    }

    #[test]
    fn every_kind_of_value_comes_back() {
        let mut h = Harness::new();
        for line in ["SET int 12345", "SET str hello", "RPUSH l a b 3", "SADD ints 1 2 3", "SADD set a b"] {
            h.run(line);
        }
        h.run(&format!("SET long {}", "x".repeat(5000)));
        let before = h.run("DEBUG DIGEST");
        for key in ["int", "str", "long", "l", "ints", "set"] {
            let encoding = h.run(&format!("OBJECT ENCODING {key}"));
            let payload = payload(&mut h, key);
            let busy = h.run_args(h.client, &[b"RESTORE", key.as_bytes(), b"0", &payload]);
            assert_eq!(busy, b"-BUSYKEY Target key name already exists.\r\n");
            h.run(&format!("DEL {key}"));
            assert_eq!(h.run_args(h.client, &[b"RESTORE", key.as_bytes(), b"0", &payload]), b"+OK\r\n");
            assert_eq!(h.run(&format!("OBJECT ENCODING {key}")), encoding, "{key}");
        }
        assert_eq!(h.run("DEBUG DIGEST"), before);
    }

    #[test]
    fn times_are_told_to_replicas_as_such() {
        let mut h = Harness::new();
        h.run("SET k v");
        let payload = payload(&mut h, "k");
        h.engine.effects.set_wanted(true);
        h.run_args(h.client, &[b"RESTORE", b"n", b"1000", &payload, b"IDLETIME", b"7"]);
        let effects = String::from_utf8_lossy(h.engine.effects.bytes()).into_owned();
        assert!(
            effects.contains("$13\r\n1700000001000\r\n") && effects.ends_with("$6\r\nABSTTL\r\n"),
            "{effects}"
        );
        assert_eq!(h.run("PTTL n"), ":1000\r\n");
        assert_eq!(h.run("OBJECT IDLETIME n"), ":7\r\n");
    }

    #[test]
    fn what_is_past_its_time_only_takes_the_old_value_away() {
        let mut h = Harness::new();
        h.run("SET k v");
        let payload = payload(&mut h, "k");
        let restored = h.run_args(h.client, &[b"RESTORE", b"k", b"5", &payload, b"ABSTTL", b"REPLACE"]);
        assert_eq!(restored, b"+OK\r\n");
        assert_eq!(h.run("EXISTS k"), ":0\r\n");
    }

    #[test]
    fn bad_payloads_are_refused() {
        let mut h = Harness::new();
        assert_eq!(h.run("RESTORE k 0 abc"), "-ERR DUMP payload version or checksum are wrong\r\n");
        assert_eq!(h.run("RESTORE k -1 abc"), "-ERR Invalid TTL value, must be >= 0\r\n");
        assert_eq!(h.run("RESTORE k 0 abc IDLETIME 1 FREQ 1"), "-ERR syntax error\r\n");
        h.run("SET k v");
        let mut payload = payload(&mut h, "k");
        payload[1] ^= 1;
        let refused = h.run_args(h.client, &[b"RESTORE", b"n", b"0", &payload]);
        assert_eq!(refused, b"-ERR DUMP payload version or checksum are wrong\r\n");
        h.run("DEBUG SET-SKIP-CHECKSUM-VALIDATION 1");
        let bad = h.run_args(h.client, &[b"RESTORE", b"n", b"0", b"\x63\x01\x0a\x00........"]);
        assert_eq!(bad, b"-ERR Bad data format\r\n");
    }
}
