//! String commands: a value of bytes, or an integer where the bytes are one.

use std::borrow::Cow;

use redoubt_wire::resp::number::parse_integer;
use redoubt_wire::resp::reply::Reply;

use super::args::{self, Expire, is};
use super::{Cx, Row, table};
use crate::config::KeyspaceEvents;
use crate::engine::error::{self, CommandError, Handled, SYNTAX, WRONG_TYPE};
use crate::engine::keyspace::object::{Kind, Object, ValueRef};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::APPEND, append),
    (&table::DECR, |cx, args, reply| add_integer(cx, args, -1, reply)),
    (&table::DECRBY, decrby),
    (&table::GET, get),
    (&table::GETDEL, getdel),
    (&table::GETEX, getex),
    (&table::GETRANGE, getrange),
    (&table::GETSET, getset),
    (&table::INCR, |cx, args, reply| add_integer(cx, args, 1, reply)),
    (&table::INCRBY, incrby),
    (&table::INCRBYFLOAT, incrbyfloat),
    (&table::MGET, mget),
    (&table::MSET, |cx, args, reply| mset_generic(cx, args, false, reply)),
    (&table::MSETNX, |cx, args, reply| mset_generic(cx, args, true, reply)),
    (&table::PSETEX, |cx, args, reply| set_with_time(cx, args, Expire::Px, "psetex", reply)),
    (&table::SET, set),
    (&table::SETEX, |cx, args, reply| set_with_time(cx, args, Expire::Ex, "setex", reply)),
    (&table::SETNX, setnx),
    (&table::SETRANGE, setrange),
    (&table::STRLEN, strlen),
    (&table::SUBSTR, getrange),
];

/// Writes a string value as a bulk reply.
pub fn reply_string(object: &Object, reply: &mut Reply) -> Handled {
    match object.value() {
        ValueRef::Int(n) => reply.bulk_integer(n),
        ValueRef::Bytes(bytes) => reply.bulk(bytes),
        ValueRef::Blob(blob) => reply.bulk_chunks(blob.len(), blob.chunks()),
        _ => return Err(WRONG_TYPE),
    }
    Ok(())
}

/// The bytes of a string value.
pub fn string_bytes(object: &Object) -> Result<Cow<'_, [u8]>, CommandError> {
    match object.value() {
        ValueRef::Int(n) => Ok(Cow::Owned(n.to_string().into_bytes())),
        ValueRef::Bytes(bytes) => Ok(Cow::Borrowed(bytes)),
        ValueRef::Blob(blob) => Ok(blob.read(0..blob.len())),
        _ => Err(WRONG_TYPE),
    }
}

fn string_len(object: &Object) -> Result<usize, CommandError> {
    match object.value() {
        ValueRef::Int(n) => Ok(itoa::Buffer::new().format(n).len()),
        ValueRef::Bytes(bytes) => Ok(bytes.len()),
        ValueRef::Blob(blob) => Ok(blob.len()),
        _ => Err(WRONG_TYPE),
    }
}

/// GET key.
fn get(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    match cx.read(args[1]) {
        Some(object) => reply_string(object, reply),
        None => {
            reply.null();
            Ok(())
        }
    }
}

/// When SET may write.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Condition {
    Always,
    Absent,
    Present,
}

/// SET key value [NX|XX] [GET] [EX s|PX ms|EXAT s|PXAT ms|KEEPTTL].
fn set(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let (key, value) = (args[1], args[2]);
    if args.len() == 3 {
        store(cx, key, value, None, false);
        cx.effect(args);
        reply.ok();
        return Ok(());
    }
    let mut condition = Condition::Always;
    let mut want_old = false;
    let mut keep_ttl = false;
    let mut expire = None;
    let mut i = 3;
    while i < args.len() {
        let arg = args[i];
        if is(arg, "nx") && condition != Condition::Present {
            condition = Condition::Absent;
        } else if is(arg, "xx") && condition != Condition::Absent {
            condition = Condition::Present;
        } else if is(arg, "get") {
            want_old = true;
        } else if is(arg, "keepttl") && expire.is_none() {
            keep_ttl = true;
        } else if let Some(unit) = Expire::from_word(arg)
            && !keep_ttl
            && expire.is_none()
            && let Some(time) = args.get(i + 1)
        {
            expire = Some((unit, *time));
            i += 1;
        } else {
            return Err(SYNTAX);
        }
        i += 1;
    }
    let at_ms = match expire {
        Some((unit, time)) => Some(unit.positive_at_ms(time, cx.now_ms(), "set")?),
        None => None,
    };
    if want_old {
        get(cx, args, reply)?;
    }
    let found = condition != Condition::Always && cx.exists_for_write(key);
    if (condition == Condition::Absent && found) || (condition == Condition::Present && !found) {
        if !want_old {
            reply.null();
        }
        return Ok(());
    }
    store(cx, key, value, at_ms, keep_ttl);
    if at_ms.is_some() {
        cx.note(key, KeyspaceEvents::GENERIC, "expire");
    }
    // An instant in milliseconds is what replicas are told anyway: such a command goes to them as it came.
    match at_ms.filter(|_| !matches!(expire, Some((Expire::PxAt, _)))) {
        Some(at_ms) => {
            cx.effect(&[b"SET", key, value, b"PXAT", itoa::Buffer::new().format(at_ms).as_bytes()]);
        }
        None => {
            let without_get: Vec<&[u8]> =
                args.iter().enumerate().filter(|(i, a)| *i < 3 || !is(a, "get")).map(|(_, a)| *a).collect();
            cx.effect(&without_get);
        }
    }
    if !want_old {
        reply.ok();
    }
    Ok(())
}

/// Stores a string and says so; the effect is the caller's.
fn store(cx: &mut Cx<'_>, key: &[u8], value: &[u8], at_ms: Option<i64>, keep_ttl: bool) {
    let db = cx.db();
    cx.engine.set_string(db, key, value, at_ms, keep_ttl);
    cx.commit(key, KeyspaceEvents::STRING, "set");
}

/// SETNX key value.
fn setnx(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let absent = !cx.exists_for_write(args[1]);
    if absent {
        store(cx, args[1], args[2], None, false);
        cx.effect(args);
    }
    reply.integer(absent as i64);
    Ok(())
}

/// SETEX and PSETEX key time value.
fn set_with_time(cx: &mut Cx<'_>, args: &[&[u8]], unit: Expire, name: &str, reply: &mut Reply) -> Handled {
    let (key, value) = (args[1], args[3]);
    let at_ms = unit.positive_at_ms(args[2], cx.now_ms(), name)?;
    store(cx, key, value, Some(at_ms), false);
    cx.note(key, KeyspaceEvents::GENERIC, "expire");
    cx.effect(&[b"SET", key, value, b"PXAT", itoa::Buffer::new().format(at_ms).as_bytes()]);
    reply.ok();
    Ok(())
}

/// GETSET key value.
fn getset(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    get(cx, args, reply)?;
    store(cx, args[1], args[2], None, false);
    cx.effect(&[b"SET", args[1], args[2]]);
    Ok(())
}

/// GETDEL key.
fn getdel(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let key = args[1];
    let found = cx.read(key).is_some();
    get(cx, args, reply)?;
    if found && cx.delete(key) {
        cx.commit(key, KeyspaceEvents::GENERIC, "del");
        cx.effect(&[b"DEL", key]);
    }
    Ok(())
}

/// GETEX key [PERSIST|EX s|PX ms|EXAT s|PXAT ms].
fn getex(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let key = args[1];
    let mut persist = false;
    let mut expire = None;
    let mut i = 2;
    while i < args.len() {
        if is(args[i], "persist") && expire.is_none() {
            persist = true;
        } else if let Some(unit) = Expire::from_word(args[i])
            && !persist
            && expire.is_none()
            && let Some(time) = args.get(i + 1)
        {
            expire = Some((unit, *time));
            i += 1;
        } else {
            return Err(SYNTAX);
        }
        i += 1;
    }
    match cx.read(key) {
        None => {
            reply.null();
            return Ok(());
        }
        Some(object) if object.kind() != Kind::String => return Err(WRONG_TYPE),
        Some(_) => {}
    }
    let now_ms = cx.now_ms();
    let at_ms = match expire {
        Some((unit, time)) => Some((unit, unit.positive_at_ms(time, now_ms, "getex")?)),
        None => None,
    };
    let db = cx.db();
    if let Some(object) = cx.peek(key) {
        reply_string(object, reply)?;
    }
    match at_ms {
        Some((unit, at_ms)) if !unit.is_relative() && at_ms < now_ms && cx.engine.may_expire() => {
            cx.delete(key);
            cx.commit(key, KeyspaceEvents::GENERIC, "del");
            let verb: &[u8] = if cx.engine.config.lazyfree_lazy_expire { b"UNLINK" } else { b"DEL" };
            cx.effect(&[verb, key]);
        }
        Some((_, at_ms)) => {
            cx.engine.set_expiry(db, key, Some(at_ms));
            cx.commit(key, KeyspaceEvents::GENERIC, "expire");
            cx.effect(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at_ms).as_bytes()]);
        }
        None if persist && cx.peek(key).is_some_and(|o| o.expires()) => {
            cx.engine.set_expiry(db, key, None);
            cx.commit(key, KeyspaceEvents::GENERIC, "persist");
            cx.effect(&[b"PERSIST", key]);
        }
        None => {}
    }
    Ok(())
}

/// MGET key …: a null for what is absent or no string.
fn mget(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.array(args.len() - 1);
    for key in &args[1..] {
        match cx.read(key) {
            Some(object) if object.kind() == Kind::String => reply_string(object, reply)?,
            _ => reply.null(),
        }
    }
    Ok(())
}

/// MSET and MSETNX key value [key value …].
fn mset_generic(cx: &mut Cx<'_>, args: &[&[u8]], only_absent: bool, reply: &mut Reply) -> Handled {
    if args.len().is_multiple_of(2) {
        return Err(error::wrong_arity(&cx.command.full_name));
    }
    if only_absent && args[1..].chunks(2).any(|pair| cx.exists_for_write(pair[0])) {
        reply.integer(0);
        return Ok(());
    }
    for pair in args[1..].chunks(2) {
        store(cx, pair[0], pair[1], None, false);
    }
    cx.effect(args);
    if only_absent {
        reply.integer(1)
    } else {
        reply.ok()
    }
    Ok(())
}

/// STRLEN key.
fn strlen(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let len = cx.read(args[1]).map_or(Ok(0), string_len)?;
    reply.integer(len as i64);
    Ok(())
}

/// The largest string a command may make, in bytes.
fn check_len(cx: &Cx<'_>, len: usize) -> Handled {
    // The data sent by a master was accepted there.
    if !cx.engine.applying && len as u64 > cx.engine.config.proto_max_bulk_len {
        return Err(error::STRING_TOO_LONG);
    }
    Ok(())
}

/// APPEND key value.
fn append(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let (key, tail) = (args[1], args[2]);
    let old_len = cx.open(key).as_deref().map(string_len).transpose()?;
    let len = match old_len {
        None => {
            cx.put(Object::new_string(key, tail, None));
            tail.len()
        }
        Some(old) => {
            check_len(cx, old.saturating_add(tail.len()))?;
            if let Some(mut object) = cx.open(key) {
                object.promote_to_blob().append(tail);
            }
            old + tail.len()
        }
    };
    cx.commit(key, KeyspaceEvents::STRING, "append");
    cx.effect(args);
    reply.integer(len as i64);
    Ok(())
}

/// SETRANGE key offset value.
fn setrange(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let (key, patch) = (args[1], args[3]);
    let offset = args::int(args[2])?;
    if offset < 0 {
        return Err(CommandError::new("ERR offset is out of range"));
    }
    let old_len = cx.open(key).as_deref().map(string_len).transpose()?;
    if patch.is_empty() {
        reply.integer(old_len.unwrap_or(0) as i64);
        return Ok(());
    }
    let end = (offset as usize).saturating_add(patch.len());
    check_len(cx, end)?;
    if old_len.is_none() {
        cx.put(Object::new_raw_string(key, b"", None));
    }
    if let Some(mut object) = cx.open(key) {
        object.promote_to_blob().write_at(offset as usize, patch);
    }
    cx.commit(key, KeyspaceEvents::STRING, "setrange");
    cx.effect(args);
    reply.integer(end.max(old_len.unwrap_or(0)) as i64);
    Ok(())
}

/// GETRANGE key start end, and SUBSTR.
fn getrange(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let (start, end) = (args::int(args[2])?, args::int(args[3])?);
    let Some(object) = cx.read(args[1]) else {
        reply.bulk(b"");
        return Ok(());
    };
    let len = string_len(object)? as i64;
    let from_end = |i: i64| if i < 0 { i.saturating_add(len).max(0) } else { i };
    let empty = (start < 0 && end < 0 && start > end) || len == 0;
    let (start, end) = (from_end(start), from_end(end).min(len - 1));
    if empty || start > end {
        reply.bulk(b"");
        return Ok(());
    }
    let range = start as usize..end as usize + 1;
    match object.value() {
        ValueRef::Int(n) => reply.bulk(&itoa::Buffer::new().format(n).as_bytes()[range]),
        ValueRef::Bytes(bytes) => reply.bulk(&bytes[range]),
        ValueRef::Blob(blob) => reply.bulk_chunks(range.len(), blob.chunks_in(range)),
        _ => return Err(WRONG_TYPE),
    }
    Ok(())
}

fn incrby(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let delta = args::int(args[2])?;
    add_integer(cx, args, delta, reply)
}

fn decrby(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let delta = args::int(args[2])?;
    let delta = delta.checked_neg().ok_or_else(|| CommandError::new("ERR decrement would overflow"))?;
    add_integer(cx, args, delta, reply)
}

/// INCR, DECR, INCRBY, DECRBY.
fn add_integer(cx: &mut Cx<'_>, args: &[&[u8]], delta: i64, reply: &mut Reply) -> Handled {
    let key = args[1];
    let sum = if let Some(mut object) = cx.open(key) {
        let old = match object.value() {
            ValueRef::Int(n) => n,
            ValueRef::Bytes(bytes) => parse_integer(bytes).ok_or(error::NOT_INTEGER)?,
            // Two bytes more than the longest integer are enough to see that there is none.
            ValueRef::Blob(blob) => {
                parse_integer(&blob.read(0..blob.len().min(22))).ok_or(error::NOT_INTEGER)?
            }
            _ => return Err(WRONG_TYPE),
        };
        let sum = old.checked_add(delta).ok_or(error::OVERFLOW)?;
        object.set_int(sum);
        sum
    } else {
        cx.put(Object::new_int(key, delta, None));
        delta
    };
    cx.commit(key, KeyspaceEvents::STRING, "incrby");
    cx.effect(args);
    reply.integer(sum);
    Ok(())
}

/// INCRBYFLOAT key increment. The result, not the sum, is what replicas get, so that no
/// difference of their arithmetic can show.
fn incrbyfloat(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let key = args[1];
    let old = match cx.open(key) {
        None => 0.0,
        Some(object) => args::float(&string_bytes(&object)?)?,
    };
    let sum = old + args::float(args[2])?;
    if !sum.is_finite() {
        return Err(CommandError::new("ERR increment would produce NaN or Infinity"));
    }
    let text = args::float_text(sum);
    let db = cx.db();
    cx.engine.set_raw(db, key, text.as_bytes());
    cx.commit(key, KeyspaceEvents::STRING, "incrbyfloat");
    cx.effect(&[b"SET", key, text.as_bytes(), b"KEEPTTL"]);
    reply.bulk(text.as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use redoubt_wire::resp::value::encode_command;

    use crate::engine::testing::Harness;

    /// Replicas are told an instant, never a duration, which would count from when it reaches them.
    #[test]
    fn what_set_tells_the_replicas() {
        let mut h = Harness::new();
        h.engine.effects.set_wanted(true);
        let in_a_second = (h.now_ms + 1000).to_string();
        let mut effect_of = |line: &str| {
            let before = h.engine.effects.bytes().len();
            assert!(!h.run(line).starts_with('-'), "{line}");
            h.engine.effects.bytes()[before..].to_vec()
        };
        effect_of("SET select first");
        for (line, effect) in [
            ("SET k v", "SET k v"),
            ("SET k v px 1000", &format!("SET k v PXAT {in_a_second}")),
            ("SET k v EX 1 GET", &format!("SET k v PXAT {in_a_second}")),
            ("PSETEX k 1000 v", &format!("SET k v PXAT {in_a_second}")),
            ("SET k v EXAT 4102444800", "SET k v PXAT 4102444800000"),
            ("SET k v pxat 4102444800123", "SET k v pxat 4102444800123"),
            ("SET k v get pxat 4102444800123", "SET k v pxat 4102444800123"),
            ("SET k v XX GET keepttl", "SET k v XX keepttl"),
        ] {
            let mut expected = Vec::new();
            encode_command(&mut expected, &effect.split(' ').collect::<Vec<_>>());
            assert_eq!(
                String::from_utf8_lossy(&effect_of(line)),
                String::from_utf8_lossy(&expected),
                "{line}"
            );
        }
    }
}
