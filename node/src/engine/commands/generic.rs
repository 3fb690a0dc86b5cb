//! Commands on keys of any type: existence, names, types, copies.

use redoubt_wire::glob::glob_match;
use redoubt_wire::resp::reply::Reply;

use super::args::{self, is};
use super::{Cx, Row, table};
use crate::config::KeyspaceEvents;
use crate::engine::Engine;
use crate::engine::door::Access;
use crate::engine::error::{self, CommandError, Handled, SYNTAX};
use crate::engine::request::Output;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::COPY, copy),
    (&table::DBSIZE, dbsize),
    (&table::DEL, |cx, args, reply| delete(cx, args, reply, "del")),
    (&table::EXISTS, exists),
    (&table::FLUSHALL, |cx, args, reply| flush(cx, args, true, reply)),
    (&table::FLUSHDB, |cx, args, reply| flush(cx, args, false, reply)),
    (&table::KEYS, keys),
    (&table::MOVE, move_key),
    (&table::RANDOMKEY, random_key),
    (&table::RENAME, |cx, args, reply| rename(cx, args, false, reply)),
    (&table::RENAMENX, |cx, args, reply| rename(cx, args, true, reply)),
    (&table::SCAN, scan),
    (&table::SELECT, select),
    (&table::SWAPDB, swapdb),
    (&table::TOUCH, touch),
    (&table::TYPE, type_of),
    (&table::UNLINK, |cx, args, reply| delete(cx, args, reply, "unlink")),
];

/// A database index below `databases`.
fn db_index(cx: &Cx<'_>, arg: &[u8], not_a_number: CommandError) -> Result<usize, CommandError> {
    let index = args::int(arg).map_err(|_| not_a_number)?;
    let databases = cx.engine.keyspace.databases();
    usize::try_from(index).ok().filter(|i| *i < databases).ok_or(error::DB_OUT_OF_RANGE)
}

/// SELECT index.
fn select(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    cx.session.db = db_index(cx, args[1], error::NOT_INTEGER)?;
    reply.ok();
    Ok(())
}

/// DEL and UNLINK key …: large values are freed in the background by either.
fn delete(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply, verb: &str) -> Handled {
    let mut deleted: Vec<&[u8]> = vec![args[0]];
    for key in &args[1..] {
        if cx.delete(key) {
            cx.commit(key, KeyspaceEvents::GENERIC, "del");
            deleted.push(key);
        }
    }
    debug_assert!(is(args[0], verb));
    let count = deleted.len() - 1;
    if count > 0 {
        cx.effect(&deleted);
    }
    reply.integer(count as i64);
    Ok(())
}

/// EXISTS key …
fn exists(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let count = args[1..].iter().filter(|key| cx.read(key).is_some()).count();
    reply.integer(count as i64);
    Ok(())
}

/// TOUCH key …
fn touch(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let asked_not_to = std::mem::replace(&mut cx.engine.no_touch, false);
    let result = exists(cx, args, reply);
    cx.engine.no_touch = asked_not_to;
    result
}

/// TYPE key.
fn type_of(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.simple(cx.peek(args[1]).map_or("none", |object| object.kind().name()));
    Ok(())
}

/// DBSIZE.
fn dbsize(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    let keys = cx.engine.keyspace.table(cx.session.db).len();
    reply.integer(keys as i64);
    Ok(())
}

/// RANDOMKEY: a live key, or a null.
fn random_key(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    /// On a replica expired keys stay until the master's DEL; a database full of them ends the search.
    const TRIES: usize = 100;
    let db = cx.db();
    for attempt in 0..TRIES {
        let mut rng = cx.engine.rng.clone();
        let Some(object) = cx.engine.keyspace.table(db).random(&mut rng) else { break };
        let key = object.key().to_vec();
        cx.engine.rng = rng;
        if !cx.engine.expire_if_past(db, &key) || (attempt + 1 == TRIES && !cx.engine.may_expire()) {
            reply.bulk(&key);
            return Ok(());
        }
    }
    reply.null();
    Ok(())
}

/// Calls `visit` with every live key of `db`. A table is walked by its scan cursor, which needs
/// no second structure.
fn each_live_key(engine: &Engine, db: usize, mut visit: impl FnMut(&[u8])) {
    let now_ms = engine.now_ms;
    let mut cursor = 0;
    loop {
        cursor = engine.keyspace.table(db).scan(cursor, |object| {
            if object.expiry_ms().is_none_or(|at| at >= now_ms) {
                visit(object.key());
            }
        });
        if cursor == 0 {
            return;
        }
    }
}

/// KEYS pattern.
fn keys(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let pattern = args[1];
    let at = reply.deferred();
    let mut count = 0;
    each_live_key(cx.engine, cx.session.db, |key| {
        if pattern == b"*" || glob_match(pattern, key, false) {
            reply.bulk(key);
            count += 1;
        }
    });
    reply.set_array_len(at, count);
    Ok(())
}

/// SCAN cursor [MATCH pattern] [COUNT n] [TYPE type].
fn scan(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let invalid = || CommandError::new("ERR invalid cursor");
    let text = std::str::from_utf8(args[1]).map_err(|_| invalid())?;
    let mut cursor: u64 = text.parse().map_err(|_| invalid())?;
    let mut pattern: Option<&[u8]> = None;
    let mut count = 10usize;
    let mut kind: Option<&[u8]> = None;
    for pair in args[2..].chunks(2) {
        let [option, value] = pair else { return Err(SYNTAX) };
        if is(option, "count") {
            let n = args::int(value)?;
            count = usize::try_from(n).ok().filter(|n| *n > 0).ok_or(SYNTAX)?;
        } else if is(option, "match") {
            pattern = (*value != b"*").then_some(*value);
        } else if is(option, "type") {
            kind = Some(value);
        } else {
            return Err(SYNTAX);
        }
    }
    let db = cx.db();
    let now_ms = cx.now_ms();
    let mut found: Vec<Vec<u8>> = Vec::new();
    let mut expired: Vec<Vec<u8>> = Vec::new();
    // Sparse tables return little a bucket; ten times the count bounds the turn, as in Redis.
    let mut buckets = count.saturating_mul(10);
    let mut visited = 0;
    loop {
        cursor = cx.engine.keyspace.table(db).scan(cursor, |object| {
            visited += 1;
            if pattern.is_some_and(|p| !glob_match(p, object.key(), false)) {
                return;
            }
            if object.expiry_ms().is_some_and(|at| at < now_ms) {
                expired.push(object.key().to_vec());
            } else if kind.is_none_or(|k| is(k, object.kind().name())) {
                found.push(object.key().to_vec());
            }
        });
        buckets -= 1;
        if cursor == 0 || buckets == 0 || visited >= count {
            break;
        }
    }
    for key in &expired {
        cx.engine.expire_if_past(db, key);
    }
    reply.array(2);
    reply.bulk(cursor.to_string().as_bytes());
    reply.array(found.len());
    for key in &found {
        reply.bulk(key);
    }
    Ok(())
}

/// RENAME and RENAMENX key newkey.
fn rename(cx: &mut Cx<'_>, args: &[&[u8]], only_absent: bool, reply: &mut Reply) -> Handled {
    let (from, to) = (args[1], args[2]);
    if !cx.exists_for_write(from) {
        return Err(error::NO_SUCH_KEY);
    }
    if from == to {
        if only_absent {
            reply.integer(0)
        } else {
            reply.ok()
        }
        return Ok(());
    }
    if only_absent && cx.exists_for_write(to) {
        reply.integer(0);
        return Ok(());
    }
    let db = cx.db();
    let Some(object) = cx.engine.take(db, from) else { return Err(error::NO_SUCH_KEY) };
    let lru = object.lru();
    cx.put(object.renamed(to));
    cx.engine.keyspace.touch(db, to, lru);
    cx.commit(from, KeyspaceEvents::GENERIC, "rename_from");
    cx.commit(to, KeyspaceEvents::GENERIC, "rename_to");
    cx.effect(args);
    if only_absent {
        reply.integer(1)
    } else {
        reply.ok()
    }
    Ok(())
}

/// MOVE key db.
fn move_key(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let key = args[1];
    let from = cx.db();
    let to = db_index(cx, args[2], error::NOT_INTEGER)?;
    if from == to {
        return Err(error::SAME_OBJECT);
    }
    let absent = cx.engine.read(to, key, Access::Peek).is_none();
    if !cx.exists_for_write(key) || !absent {
        reply.integer(0);
        return Ok(());
    }
    if let Some(object) = cx.engine.take(from, key) {
        cx.engine.put(to, object);
    }
    cx.engine.commit(from, key, KeyspaceEvents::GENERIC, "move_from");
    cx.engine.commit(to, key, KeyspaceEvents::GENERIC, "move_to");
    cx.effect(args);
    reply.integer(1);
    Ok(())
}

/// COPY source destination [DB index] [REPLACE].
fn copy(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let (from, to) = (args[1], args[2]);
    let source_db = cx.db();
    let mut target_db = source_db;
    let mut replace = false;
    let mut i = 3;
    while i < args.len() {
        if is(args[i], "replace") {
            replace = true;
        } else if is(args[i], "db") && i + 1 < args.len() {
            target_db = db_index(cx, args[i + 1], error::NOT_INTEGER)?;
            i += 1;
        } else {
            return Err(SYNTAX);
        }
        i += 1;
    }
    if source_db == target_db && from == to {
        return Err(error::SAME_OBJECT);
    }
    let Some(object) = cx.read(from) else {
        reply.integer(0);
        return Ok(());
    };
    let copied = object.duplicate(to);
    let taken = cx.engine.read(target_db, to, Access::Peek).is_some();
    if taken && !replace {
        reply.integer(0);
        return Ok(());
    }
    cx.engine.put(target_db, copied);
    cx.engine.commit(target_db, to, KeyspaceEvents::GENERIC, "copy_to");
    cx.effect(args);
    reply.integer(1);
    Ok(())
}

/// FLUSHDB and FLUSHALL [ASYNC|SYNC]: tables are handed over whole and freed in the background,
/// whichever is asked for.
fn flush(cx: &mut Cx<'_>, args: &[&[u8]], all: bool, reply: &mut Reply) -> Handled {
    if args.len() > 2 || args.len() == 2 && !is(args[1], "async") && !is(args[1], "sync") {
        return Err(SYNTAX);
    }
    let dbs = if all { 0..cx.engine.keyspace.databases() } else { cx.session.db..cx.session.db + 1 };
    for db in dbs {
        cx.engine.flush_db(db);
    }
    if all {
        cx.engine.output(Output::FlushedAll);
    }
    // It is passed on even when there was nothing to flush: a replica may have more than its
    // master knows.
    cx.engine.commits += 1;
    cx.engine.stats.dirty += 1;
    cx.effect(args);
    reply.ok();
    Ok(())
}

/// SWAPDB a b.
fn swapdb(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let first = db_index(cx, args[1], CommandError::new("ERR invalid first DB index"))?;
    let second = db_index(cx, args[2], CommandError::new("ERR invalid second DB index"))?;
    if first != second {
        cx.engine.touch_watched_in(first, Some(second));
        cx.engine.touch_watched_in(second, Some(first));
        cx.engine.keyspace.swap(first, second);
    }
    cx.engine.commits += 1;
    cx.engine.stats.dirty += 1;
    cx.effect(args);
    reply.ok();
    Ok(())
}

impl Engine {
    /// Empties database `db`: those who watch a key that existed are told. Returns how many
    /// keys it held.
    pub fn flush_db(&mut self, db: usize) -> usize {
        self.touch_watched_in(db, None);
        let keys = self.keyspace.flush(db);
        self.stats.dirty += keys as u64;
        keys
    }

    /// Tells those who watch a key of `db` that exists, or that exists in `other`, which takes
    /// the place of `db`.
    fn touch_watched_in(&mut self, db: usize, other: Option<usize>) {
        for (key, clients) in self.watch.in_db(db) {
            let exists = self.keyspace.find(db, key).is_some();
            if exists || other.is_some_and(|other| self.keyspace.find(other, key).is_some()) {
                self.dirty_watchers.extend_from_slice(clients);
            }
        }
    }
}
