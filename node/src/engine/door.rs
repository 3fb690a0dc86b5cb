//! The one door to a value: how commands find, open, replace and remove objects, and how a
//! change becomes known.
//!
//! A read is lazily expired here. A write opens the object (the keyspace shows it to a snapshot
//! first), changes it, and ends in [`Engine::commit`] if and only if something really changed,
//! which signals WATCH and keyspace events and counts the change, and in [`Engine::effect`],
//! which appends what replays it. Debug builds check that a command did both or neither.

use redoubt_wire::resp::reply::Protocol;

use super::Engine;
use super::error::{CommandError, Handled, WRONG_TYPE};
use super::keyspace::object::{Kind, Object, ValueMut, ValueRef};
use super::keyspace::table::ObjectMut;
use super::load::Loading;
use super::types::{List, Set};
use crate::config::KeyspaceEvents;

/// How an access counts for the object's access field and the statistics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// A command's read: counts as hit or miss and refreshes the access field.
    Read,
    /// A look that leaves no trace (OBJECT, TTL, TYPE, EXISTS of a NO-TOUCH client).
    Peek,
}

/// The Unix time in ms up to which objects are past their time; none if no object is.
#[derive(Clone, Copy)]
struct Instant(Option<i64>);

impl Instant {
    #[inline]
    fn is_past(self, object: &Object) -> bool {
        self.0.is_some_and(|now_ms| object.expiry_ms().is_some_and(|at| at < now_ms))
    }
}

impl Engine {
    /// The live object at `key`, or `None` if there is none or its time is over. A miss or a
    /// hit is counted with [`Access::Read`].
    pub fn read(&mut self, db: usize, key: &[u8], access: Access) -> Option<&Object> {
        let (now, lfu) = (self.instant(), self.lfu());
        let touch = access == Access::Read && !self.no_touch;
        let stamp = (touch && !lfu).then(|| self.lru_clock());
        let hash = self.keyspace.hash(key);
        let seen = self.keyspace.look(db, hash, key, |object| match now.is_past(object) {
            false => (Some(object.lru()), stamp),
            true => (None, None),
        });
        let Some(Some(field)) = seen else {
            if seen.is_some() {
                self.expire_found(db, key);
            }
            return self.miss(db, key, access);
        };
        if access == Access::Read {
            self.stats.keyspace_hits += 1;
        }
        if touch && lfu {
            let field = self.lfu_access(field);
            self.keyspace.touch(db, key, field);
        }
        self.keyspace.find_hashed(db, hash, key)
    }

    fn miss(&mut self, db: usize, key: &[u8], access: Access) -> Option<&Object> {
        if access == Access::Read {
            self.stats.keyspace_misses += 1;
            if self.events().has(KeyspaceEvents::KEY_MISS) {
                self.notify_event(db, key, KeyspaceEvents::KEY_MISS, "keymiss");
            }
        }
        None
    }

    /// The instant that decides what is expired for the running command.
    ///
    /// The stream of a master sees every object: the master decides when keys expire, and its
    /// DEL will follow.
    fn instant(&self) -> Instant {
        Instant((!self.applying).then_some(self.now_ms))
    }

    /// A key was found past its time: a master deletes it and says so, a replica waits for
    /// its master's DEL and only answers as if the key were gone.
    fn expire_found(&mut self, db: usize, key: &[u8]) {
        if self.may_expire() {
            self.expire_now(db, key);
        }
    }

    /// Whether this node decides itself when keys expire.
    pub fn may_expire(&self) -> bool {
        self.is_master() && self.loading == Loading::No && !self.writes_paused()
    }

    /// How the stream names the deletion of a key whose time is over.
    pub(super) fn expiry_verb(&self) -> &'static [u8] {
        if self.config.lazyfree_lazy_expire { b"UNLINK" } else { b"DEL" }
    }

    /// Deletes `key`, whose time is over, with event and effect.
    pub fn expire_now(&mut self, db: usize, key: &[u8]) {
        let Some(object) = self.keyspace.remove(db, key) else { return };
        self.keyspace.discard(object);
        self.stats.expired_keys += 1;
        self.commit(db, key, KeyspaceEvents::EXPIRED, "expired");
        self.effect(db, &[self.expiry_verb(), key]);
        if self.units_apart {
            self.effects.end_unit();
        }
    }

    /// Opens the live object at `key` to be changed in place. Follow a real change by `commit`
    /// and `effect`.
    pub fn open(&mut self, db: usize, key: &[u8]) -> Option<ObjectMut<'_>> {
        self.expire_before_write(db, key);
        let stamp = self.lru_clock();
        let lfu = self.lfu();
        if lfu {
            let new = self.keyspace.find(db, key).map(|o| o.lru());
            let new = new.map(|old| self.lfu_access(old));
            let mut object = self.keyspace.open(db, key)?;
            object.set_lru(new.unwrap_or_default());
            return Some(object);
        }
        let mut object = self.keyspace.open(db, key)?;
        object.set_lru(stamp);
        Some(object)
    }

    /// Deletes `key` if its time is over. Returns whether it was there and is gone.
    pub fn expire_if_past(&mut self, db: usize, key: &[u8]) -> bool {
        if self.keyspace.table(db).expiring() == 0 {
            return false;
        }
        let now = self.instant();
        let past = self.keyspace.find(db, key).is_some_and(|o| now.is_past(o));
        if past && self.may_expire() {
            self.expire_now(db, key);
        }
        past
    }

    /// Deletes `key`, which is about to be written, if its time is over: on a writable replica too,
    /// which otherwise would write to what its readers do not see. Returns whether it was there and
    /// past its time.
    pub fn expire_before_write(&mut self, db: usize, key: &[u8]) -> bool {
        let past = self.expire_if_past(db, key);
        if past && self.writes_on_replica() {
            self.expire_now(db, key);
        }
        past
    }

    /// Puts `object` at its key, whatever was there before; a new key is announced as such.
    pub fn put(&mut self, db: usize, mut object: Object) {
        if object.expires() {
            self.expiry_was_set(db, object.key());
        }
        object.set_lru(if self.lfu() { super::lru::lfu_initial(self.now_ms) } else { self.lru_clock() });
        if self.events().has(KeyspaceEvents::NEW) {
            let key: Box<[u8]> = Box::from(object.key());
            if self.keyspace.put(db, object) {
                self.notify_event(db, &key, KeyspaceEvents::NEW, "new");
            }
        } else {
            self.keyspace.put(db, object);
        }
    }

    /// Sets `key` to a string, in place where the old value's allocation allows. `keep_ttl` keeps
    /// an expiry that is there, else `expiry_ms` takes its place.
    pub fn set_string(
        &mut self,
        db: usize,
        key: &[u8],
        value: &[u8],
        expiry_ms: Option<i64>,
        keep_ttl: bool,
    ) {
        if let Some(mut object) = self.open(db, key)
            && object.kind() == Kind::String
            && (keep_ttl || (expiry_ms.is_none() && !object.expires()))
        {
            object.set_string(value);
            return;
        }
        let kept = if keep_ttl { self.keyspace.find(db, key).and_then(Object::expiry_ms) } else { expiry_ms };
        self.put(db, Object::new_string(key, value, kept));
    }

    /// Sets `key` to a string that stays bytes even if it reads as an integer; keeps its expiry.
    pub fn set_raw(&mut self, db: usize, key: &[u8], value: &[u8]) {
        if let Some(mut object) = self.open(db, key) {
            object.set_raw_string(value);
        } else {
            self.put(db, Object::new_raw_string(key, value, None));
        }
    }

    /// Takes the live object at `key` out.
    pub fn take(&mut self, db: usize, key: &[u8]) -> Option<Object> {
        if self.expire_before_write(db, key) {
            return None;
        }
        self.keyspace.remove(db, key)
    }

    /// Deletes the live object at `key`; its memory goes back at once or later, as its size
    /// asks. Returns whether there was one.
    pub fn delete(&mut self, db: usize, key: &[u8]) -> bool {
        let Some(object) = self.take(db, key) else { return false };
        self.keyspace.discard(object);
        true
    }

    /// Sets or takes away the expiry of the live object at `key`.
    pub fn set_expiry(&mut self, db: usize, key: &[u8], expiry_ms: Option<i64>) -> bool {
        if expiry_ms.is_some() {
            self.expiry_was_set(db, key);
        }
        self.keyspace.set_expiry(db, key, expiry_ms)
    }

    /// `key` has really changed: dirty count, WATCH, keyspace event of `class`.
    pub fn commit(&mut self, db: usize, key: &[u8], class: KeyspaceEvents, event: &str) {
        self.commits += 1;
        self.stats.dirty += 1;
        if !self.watch.is_empty() {
            self.dirty_watchers.extend_from_slice(self.watch.watchers(db, key));
        }
        if !self.events().is_empty() {
            self.notify_event(db, key, class, event);
        }
    }

    /// Appends an effect: the command that replays the change on database `db`. A writable
    /// replica keeps its own changes to itself: its stream is its master's.
    pub fn effect(&mut self, db: usize, args: &[&[u8]]) {
        self.effects_seen += 1;
        if !self.applying && self.is_master() {
            self.effects.append(db, args);
        }
    }

    /// Publishes a keyspace event, if its class is asked for.
    pub fn notify_event(&mut self, db: usize, key: &[u8], class: KeyspaceEvents, event: &str) {
        if !self.events().has(class) {
            return;
        }
        if self.events().has(KeyspaceEvents::KEYSPACE) {
            let mut channel = format!("__keyspace@{db}__:").into_bytes();
            channel.extend_from_slice(key);
            self.publish(&channel, event.as_bytes());
        }
        if self.events().has(KeyspaceEvents::KEYEVENT) {
            let channel = format!("__keyevent@{db}__:{event}");
            self.publish(channel.as_bytes(), key);
        }
    }

    /// Delivers a message to all who listen to `channel`; returns how many did.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        if self.pubsub.is_empty() {
            return 0;
        }
        let mut receivers = 0;
        let mut deliveries = Vec::new();
        for &client in self.pubsub.subscribers(channel) {
            deliveries.push((client, None));
        }
        for (pattern, clients) in self.pubsub.patterns() {
            if redoubt_wire::glob::glob_match(pattern, channel, false) {
                deliveries.extend(clients.iter().map(|&c| (c, Some(pattern.clone()))));
            }
        }
        for (client, pattern) in deliveries {
            receivers += 1;
            self.push_to(client, |reply| match pattern {
                None => {
                    reply.push(3);
                    reply.bulk(b"message");
                    reply.bulk(channel);
                    reply.bulk(message);
                }
                Some(pattern) => {
                    reply.push(4);
                    reply.bulk(b"pmessage");
                    reply.bulk(&pattern);
                    reply.bulk(channel);
                    reply.bulk(message);
                }
            });
        }
        receivers
    }

    /// The protocol that `client` speaks.
    pub(super) fn protocol_of(&self, client: u64) -> Option<Protocol> {
        match self.current {
            Some((id, protocol)) if id == client => Some(protocol),
            _ => self.clients.get(client).map(|s| s.protocol),
        }
    }
}

/// The list in an object; a string or set is a type error.
pub fn as_list(object: &Object) -> Result<&List, CommandError> {
    match object.value() {
        ValueRef::List(list) => Ok(list),
        _ => Err(WRONG_TYPE),
    }
}

/// The list in an opened object.
pub fn as_list_mut(object: &mut Object) -> Result<&mut List, CommandError> {
    match object.value_mut() {
        ValueMut::List(list) => Ok(list),
        _ => Err(WRONG_TYPE),
    }
}

/// The set in an object.
pub fn as_set(object: &Object) -> Result<&Set, CommandError> {
    match object.value() {
        ValueRef::Set(set) => Ok(set),
        _ => Err(WRONG_TYPE),
    }
}

/// The set in an opened object.
pub fn as_set_mut(object: &mut Object) -> Result<&mut Set, CommandError> {
    match object.value_mut() {
        ValueMut::Set(set) => Ok(set),
        _ => Err(WRONG_TYPE),
    }
}

/// Fails unless the object is of `kind`.
pub fn expect_kind(object: &Object, kind: Kind) -> Handled {
    if object.kind() == kind { Ok(()) } else { Err(WRONG_TYPE) }
}
