//! Commands on the time to live of keys: EXPIRE, TTL and PERSIST with their relatives.

use redoubt_wire::resp::reply::Reply;

use super::args::{self, Expire, invalid_expire, is};
use super::{Cx, Row, table};
use crate::config::KeyspaceEvents;
use crate::engine::error::{CommandError, Handled};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::EXPIRE, |cx, args, reply| expire(cx, args, Expire::Ex, reply)),
    (&table::EXPIREAT, |cx, args, reply| expire(cx, args, Expire::ExAt, reply)),
    (&table::EXPIRETIME, |cx, args, reply| time_left(cx, args, Expire::ExAt, reply)),
    (&table::PERSIST, persist),
    (&table::PEXPIRE, |cx, args, reply| expire(cx, args, Expire::Px, reply)),
    (&table::PEXPIREAT, |cx, args, reply| expire(cx, args, Expire::PxAt, reply)),
    (&table::PEXPIRETIME, |cx, args, reply| time_left(cx, args, Expire::PxAt, reply)),
    (&table::PTTL, |cx, args, reply| time_left(cx, args, Expire::Px, reply)),
    (&table::TTL, |cx, args, reply| time_left(cx, args, Expire::Ex, reply)),
];

/// The conditions NX, XX, GT and LT.
#[derive(Default)]
struct Conditions {
    nx: bool,
    xx: bool,
    gt: bool,
    lt: bool,
}

impl Conditions {
    fn parse(options: &[&[u8]]) -> Result<Conditions, CommandError> {
        let mut c = Conditions::default();
        for option in options {
            match () {
                () if is(option, "nx") => c.nx = true,
                () if is(option, "xx") => c.xx = true,
                () if is(option, "gt") => c.gt = true,
                () if is(option, "lt") => c.lt = true,
                () => {
                    let option = String::from_utf8_lossy(option);
                    return Err(CommandError::new(format!("ERR Unsupported option {option}")));
                }
            }
        }
        if c.nx && (c.xx || c.gt || c.lt) {
            let text = "ERR NX and XX, GT or LT options at the same time are not compatible";
            return Err(CommandError::new(text));
        }
        if c.gt && c.lt {
            return Err(CommandError::new("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(c)
    }

    /// Whether a key whose expiry is `current` may get `new`. No expiry counts as infinite.
    fn allow(&self, current: Option<i64>, new: i64) -> bool {
        !(self.nx && current.is_some()
            || self.xx && current.is_none()
            || self.gt && current.is_none_or(|at| new <= at)
            || self.lt && current.is_some_and(|at| new >= at))
    }
}

/// EXPIRE and relatives: key time [NX|XX|GT|LT]. A time that is over deletes the key.
fn expire(cx: &mut Cx<'_>, args: &[&[u8]], unit: Expire, reply: &mut Reply) -> Handled {
    let key = args[1];
    let conditions = Conditions::parse(&args[3..])?;
    let n = args::int(args[2])?;
    let now_ms = cx.now_ms();
    let at_ms = unit.at_ms(n, now_ms).ok_or_else(|| invalid_expire(&cx.command.full_name))?;
    if !cx.exists_for_write(key) {
        reply.integer(0);
        return Ok(());
    }
    let current = cx.peek(key).and_then(|object| object.expiry_ms());
    if !conditions.allow(current, at_ms) {
        reply.integer(0);
        return Ok(());
    }
    if at_ms <= now_ms && cx.engine.may_expire() {
        cx.delete(key);
        cx.commit(key, KeyspaceEvents::GENERIC, "del");
        let verb: &[u8] = if cx.engine.config.lazyfree_lazy_expire { b"UNLINK" } else { b"DEL" };
        cx.effect(&[verb, key]);
    } else {
        let db = cx.db();
        cx.engine.set_expiry(db, key, Some(at_ms));
        cx.commit(key, KeyspaceEvents::GENERIC, "expire");
        cx.effect(&[b"PEXPIREAT", key, itoa::Buffer::new().format(at_ms).as_bytes()]);
    }
    reply.integer(1);
    Ok(())
}

/// TTL and relatives: -2 without a key, -1 without an expiry.
fn time_left(cx: &mut Cx<'_>, args: &[&[u8]], unit: Expire, reply: &mut Reply) -> Handled {
    let now_ms = cx.now_ms();
    let Some(object) = cx.peek(args[1]) else {
        reply.integer(-2);
        return Ok(());
    };
    let Some(at_ms) = object.expiry_ms() else {
        reply.integer(-1);
        return Ok(());
    };
    let ms = if unit.is_relative() { (at_ms - now_ms).max(0) } else { at_ms };
    let in_seconds = matches!(unit, Expire::Ex | Expire::ExAt);
    reply.integer(if in_seconds { ms.saturating_add(500) / 1000 } else { ms });
    Ok(())
}

/// PERSIST key.
fn persist(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let key = args[1];
    let db = cx.db();
    let expires = cx.exists_for_write(key) && cx.peek(key).is_some_and(|object| object.expires());
    if expires {
        cx.engine.set_expiry(db, key, None);
        cx.commit(key, KeyspaceEvents::GENERIC, "persist");
        cx.effect(args);
    }
    reply.integer(expires as i64);
    Ok(())
}
