//! String commands.

use redoubt_wire::resp::reply::Reply;

use super::Cx;
use crate::config::KeyspaceEvents;
use crate::engine::error::{Handled, WRONG_TYPE};
use crate::engine::keyspace::object::{Object, ValueRef};

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

/// GET key.
pub fn get(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    match cx.read(args[1]) {
        Some(object) => reply_string(object, reply),
        None => {
            reply.null();
            Ok(())
        }
    }
}

/// SET key value (no options yet).
pub fn set(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let db = cx.db();
    cx.engine.set_string(db, args[1], args[2], None, false);
    cx.commit(args[1], KeyspaceEvents::STRING, "set");
    cx.effect(args);
    reply.ok();
    Ok(())
}
