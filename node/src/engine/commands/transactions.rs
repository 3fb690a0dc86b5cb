//! MULTI, EXEC, DISCARD, WATCH, UNWATCH.

use std::sync::Arc;

use redoubt_wire::acl::Context;
use redoubt_wire::resp::reply::Reply;

use super::{Cx, Row, table};
use crate::engine::Engine;
use crate::engine::error::{self, Handled};
use crate::engine::session::Session;
use crate::engine::transaction::{Transaction, WatchedKey};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::DISCARD, discard),
    (&table::EXEC, exec),
    (&table::MULTI, multi),
    (&table::UNWATCH, unwatch),
    (&table::WATCH, watch),
];

/// MULTI.
fn multi(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    if cx.session.tx.open {
        return Err(error::NESTED_MULTI);
    }
    cx.session.tx.open = true;
    reply.ok();
    Ok(())
}

/// DISCARD.
fn discard(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    if !cx.session.tx.open {
        return Err(error::DISCARD_WITHOUT_MULTI);
    }
    cx.engine.discard(cx.session);
    reply.ok();
    Ok(())
}

/// EXEC: runs the queue as one unit, unless a watched key has changed.
fn exec(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    if !cx.session.tx.open {
        return Err(error::EXEC_WITHOUT_MULTI);
    }
    if cx.session.tx.aborted {
        cx.engine.discard(cx.session);
        return Err(error::EXEC_ABORT);
    }
    if cx.session.tx.dirty || cx.engine.watched_key_expired(cx.session) {
        cx.engine.discard(cx.session);
        reply.null_array();
        return Ok(());
    }
    // The watches end first: what the transaction itself changes must not spoil the next one.
    cx.engine.unwatch_all(cx.session);
    let tx = std::mem::take(&mut cx.session.tx);
    reply.array(tx.queue.len());
    for queued in &tx.queue {
        let args = queued.args();
        match cx.engine.permit(cx.session, queued.command, &args, Context::Multi) {
            Ok(()) => cx.engine.call(cx.session, queued.command, &args, reply, true),
            Err(denied) => {
                let error = error::no_longer_permitted(denied.text_in_exec());
                cx.engine.stats.count_error(error.code());
                reply.error(&error.0);
            }
        }
    }
    Ok(())
}

/// WATCH key …
fn watch(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    if cx.session.tx.open {
        return Err(error::WATCH_IN_MULTI);
    }
    let db = cx.db();
    for key in &args[1..] {
        let key: Arc<[u8]> = Arc::from(*key);
        if cx.engine.watch.add(db, key.clone(), cx.session.id) {
            let was_expired = cx.engine.past_expiry(db, &key);
            cx.session.tx.watched.push(WatchedKey { db, key, was_expired });
        }
    }
    reply.ok();
    Ok(())
}

/// UNWATCH.
fn unwatch(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    cx.engine.unwatch_all(cx.session);
    cx.session.tx.dirty = false;
    reply.ok();
    Ok(())
}

impl Engine {
    /// Ends the session's transaction without running it.
    pub(crate) fn discard(&mut self, session: &mut Session) {
        self.unwatch_all(session);
        session.tx = Transaction::default();
    }

    /// The session watches nothing any more.
    pub(crate) fn unwatch_all(&mut self, session: &mut Session) {
        for watched in std::mem::take(&mut session.tx.watched) {
            self.watch.remove(watched.db, &watched.key, session.id);
        }
    }

    /// Whether `key` holds an object past its expiry that is still there.
    fn past_expiry(&self, db: usize, key: &[u8]) -> bool {
        self.keyspace.find(db, key).and_then(|o| o.expiry_ms()).is_some_and(|at| at < self.now_ms)
    }

    /// Whether a watched key that was alive at WATCH has run out of time since, deleted or not.
    fn watched_key_expired(&self, session: &Session) -> bool {
        session.tx.watched.iter().any(|w| !w.was_expired && self.past_expiry(w.db, &w.key))
    }
}
