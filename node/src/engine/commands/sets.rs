//! Set commands.

use redoubt_wire::resp::reply::Reply;

use super::lists::reply_entry;
use super::{Cx, Row, table};
use crate::config::KeyspaceEvents;
use crate::engine::Engine;
use crate::engine::door::{as_set, as_set_mut};
use crate::engine::error::Handled;
use crate::engine::keyspace::object::{Object, Value};
use crate::engine::types::{Set, SetLimits};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::SADD, sadd),
    (&table::SCARD, scard),
    (&table::SISMEMBER, sismember),
    (&table::SMEMBERS, smembers),
    (&table::SREM, srem),
];

impl Engine {
    /// The directives that shape sets, with the seed of their hash.
    pub fn set_limits(&self) -> SetLimits {
        SetLimits {
            max_intset_entries: self.config.set_max_intset_entries as usize,
            max_listpack_entries: self.config.set_max_listpack_entries as usize,
            max_listpack_value: self.config.set_max_listpack_value as usize,
            hash_seed: self.member_seed,
        }
    }
}

/// SADD key member …
fn sadd(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let key = args[1];
    let members = &args[2..];
    let limits = cx.engine.set_limits();
    let add = |set: &mut Set| {
        set.prepare_growth(members.len(), &limits);
        members.iter().filter(|member| set.add(member, &limits)).count()
    };
    let added = if let Some(mut object) = cx.open(key) {
        add(as_set_mut(&mut object)?)
    } else {
        let mut set = Set::for_member(members[0], members.len(), &limits);
        let added = add(&mut set);
        cx.put(Object::new(key, Value::Set(Box::new(set)), None));
        added
    };
    if added > 0 {
        cx.commit(key, KeyspaceEvents::SET, "sadd");
        cx.effect(args);
    }
    reply.integer(added as i64);
    Ok(())
}

/// SREM key member …
fn srem(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let key = args[1];
    let Some(mut object) = cx.open(key) else {
        reply.integer(0);
        return Ok(());
    };
    let set = as_set_mut(&mut object)?;
    let removed = args[2..].iter().filter(|member| set.remove(member)).count();
    let emptied = set.is_empty();
    drop(object);
    if removed > 0 {
        cx.commit(key, KeyspaceEvents::SET, "srem");
        cx.effect(args);
    }
    if emptied && cx.delete(key) {
        cx.note(key, KeyspaceEvents::GENERIC, "del");
    }
    reply.integer(removed as i64);
    Ok(())
}

/// SISMEMBER key member.
fn sismember(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let found = cx.read(args[1]).map(as_set).transpose()?.is_some_and(|set| set.contains(args[2]));
    reply.integer(found as i64);
    Ok(())
}

/// SCARD key.
fn scard(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let len = cx.read(args[1]).map(as_set).transpose()?.map_or(0, Set::len);
    reply.integer(len as i64);
    Ok(())
}

/// SMEMBERS key.
fn smembers(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let Some(set) = cx.read(args[1]).map(as_set).transpose()? else {
        reply.set(0);
        return Ok(());
    };
    reply.set(set.len());
    for entry in set.iter() {
        reply_entry(entry, reply);
    }
    Ok(())
}
