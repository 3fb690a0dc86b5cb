//! List commands.

use redoubt_wire::resp::reply::Reply;

use super::{Cx, Row, args, table};
use crate::config::KeyspaceEvents;
use crate::engine::Engine;
use crate::engine::door::{as_list, as_list_mut};
use crate::engine::error::{self, Handled, OUT_OF_RANGE};
use crate::engine::keyspace::object::{Object, Value};
use crate::engine::types::{Entry, List, ListLimits};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::LLEN, llen),
    (&table::LPOP, |cx, args, reply| pop(cx, args, End::Left, reply)),
    (&table::LPUSH, |cx, args, reply| push(cx, args, End::Left, reply)),
    (&table::LRANGE, lrange),
    (&table::RPOP, |cx, args, reply| pop(cx, args, End::Right, reply)),
    (&table::RPUSH, |cx, args, reply| push(cx, args, End::Right, reply)),
];

/// The end of a list that a command works at.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

impl Engine {
    /// The directives that shape lists.
    pub fn list_limits(&self) -> ListLimits {
        ListLimits {
            max_listpack_size: self.config.list_max_listpack_size,
            packed_threshold: self.list_packed_threshold,
        }
    }
}

/// Writes an element of a packed structure as a bulk reply.
pub fn reply_entry(entry: Entry<'_>, reply: &mut Reply) {
    match entry {
        Entry::Str(bytes) => reply.bulk(bytes),
        Entry::Int(n) => reply.bulk_integer(n),
    }
}

/// LPUSH and RPUSH key element …
fn push(cx: &mut Cx<'_>, args: &[&[u8]], end: End, reply: &mut Reply) -> Handled {
    let key = args[1];
    let limits = cx.engine.list_limits();
    let add = |list: &mut List| {
        match end {
            End::Left => list.push_front_all(args[2..].iter().copied(), &limits),
            End::Right => list.push_back_all(args[2..].iter().copied(), &limits),
        }
        list.len()
    };
    let len = if let Some(mut object) = cx.open(key) {
        add(as_list_mut(&mut object)?)
    } else {
        let mut list = List::new();
        let len = add(&mut list);
        cx.put(Object::new(key, Value::List(Box::new(list)), None));
        len
    };
    cx.commit(key, KeyspaceEvents::LIST, if end == End::Left { "lpush" } else { "rpush" });
    cx.effect(args);
    reply.integer(len as i64);
    Ok(())
}

/// LPOP and RPOP key [count].
fn pop(cx: &mut Cx<'_>, args: &[&[u8]], end: End, reply: &mut Reply) -> Handled {
    if args.len() > 3 {
        return Err(error::wrong_arity(&cx.command.full_name));
    }
    let key = args[1];
    let count = match args.get(2) {
        Some(arg) => {
            let n = args::int(arg).map_err(|_| error::NOT_POSITIVE)?;
            Some(usize::try_from(n).map_err(|_| error::NOT_POSITIVE)?)
        }
        None => None,
    };
    let limits = cx.engine.list_limits();
    let Some(mut object) = cx.open(key) else {
        if count.is_some() {
            reply.null_array()
        } else {
            reply.null()
        }
        return Ok(());
    };
    let list = as_list_mut(&mut object)?;
    let wanted = count.unwrap_or(1).min(list.len());
    if count.is_some() {
        reply.array(wanted);
    }
    for _ in 0..wanted {
        let element = if end == End::Left { list.pop_front(&limits) } else { list.pop_back(&limits) };
        reply.bulk(&element.unwrap_or_default());
    }
    let emptied = list.is_empty();
    drop(object);
    if wanted > 0 {
        cx.commit(key, KeyspaceEvents::LIST, if end == End::Left { "lpop" } else { "rpop" });
        cx.effect(args);
    }
    if emptied && cx.delete(key) {
        cx.note(key, KeyspaceEvents::GENERIC, "del");
    }
    Ok(())
}

/// LLEN key.
fn llen(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let len = cx.read(args[1]).map(as_list).transpose()?.map_or(0, List::len);
    reply.integer(len as i64);
    Ok(())
}

/// The elements that `start` and `stop` name, counted from the end if negative.
fn range(start: i64, stop: i64, len: usize) -> std::ops::Range<usize> {
    let len = len as i64;
    let from_end = |i: i64| if i < 0 { i.saturating_add(len).max(0) } else { i };
    let start = from_end(start);
    let stop = if stop < 0 { stop.saturating_add(len) } else { stop.min(len - 1) };
    if start > stop || start >= len { 0..0 } else { start as usize..stop as usize + 1 }
}

/// LRANGE key start stop.
fn lrange(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let (start, stop) = (args::int(args[2])?, args::int(args[3])?);
    let Some(list) = cx.read(args[1]).map(as_list).transpose()? else {
        reply.array(0);
        return Ok(());
    };
    let range = range(start, stop, list.len());
    if range.len() > u32::MAX as usize {
        return Err(OUT_OF_RANGE);
    }
    reply.array(range.len());
    for entry in list.iter_from(range.start).take(range.len()) {
        reply_entry(entry, reply);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::range;

    #[test]
    fn ranges_clip_to_the_list() {
        assert_eq!(range(0, -1, 3), 0..3);
        assert_eq!(range(-100, 100, 3), 0..3);
        assert_eq!(range(2, 1, 3), 0..0);
        assert_eq!(range(3, 5, 3), 0..0);
        assert_eq!(range(-2, -2, 3), 1..2);
        assert_eq!(range(0, -4, 3), 0..0);
        assert_eq!(range(i64::MIN, i64::MAX, 3), 0..3);
    }
}
