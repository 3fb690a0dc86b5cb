//! Puts what an RDB holds into the keyspace: at the start, after a full sync, on DEBUG RELOAD.
//!
//! Loading is no command: it signals nothing and answers nobody. The driver calls it in bounded
//! turns while `loading` keeps clients away, or keeps them with the old dataset.

use super::Engine;
use super::keyspace::Keyspace;
use super::keyspace::object::Object;
use crate::persist::rdb::{RdbKey, ValueLimits};

/// Whether a dataset is being read, and what that means for clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Loading {
    /// None is.
    #[default]
    No,
    /// Most commands answer LOADING.
    Exclusive,
    /// The old dataset is served meanwhile, a former state of the one that is being read.
    Async,
}

/// What became of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loaded {
    /// It is there now.
    Kept,
    /// Its time is over, and a master need not keep it.
    Expired,
    /// There is no such database here, or the key stands twice.
    Refused,
}

impl Engine {
    /// The forms that lists and sets are built in.
    pub fn value_limits(&self) -> ValueLimits {
        ValueLimits { list: self.list_limits(), set: self.set_limits() }
    }

    /// From now on keys are loaded beside the dataset, whose place they will take.
    pub fn begin_incoming(&mut self) {
        self.discard_incoming();
        self.incoming = Some(self.keyspace.empty_like());
    }

    /// What was loaded beside the dataset takes its place; those who watch a key are told.
    pub fn adopt_incoming(&mut self) {
        if let Some(incoming) = self.incoming.take() {
            self.flush_all();
            self.keyspace.adopt(incoming);
        }
    }

    /// What was loaded beside the dataset is not wanted.
    pub fn discard_incoming(&mut self) {
        if let Some(incoming) = self.incoming.take() {
            self.keyspace.discard_all(incoming);
        }
    }

    /// Puts one key in. A replica keeps those whose time is over, since its master will delete
    /// them, and so does who may become one; a master leaves them out, and tells the stream if there is one that somebody may
    /// continue.
    pub fn load_key(&mut self, key: RdbKey, now_ms: i64) -> Loaded {
        let db = key.db as usize;
        if db >= self.keyspace.databases() {
            return Loaded::Refused;
        }
        let expires = self.is_master() && !self.replication.feed.is_guarded();
        if expires && key.expiry_ms.is_some_and(|at| at < now_ms) {
            if self.effects.wanted() {
                self.effects.append(db, &[self.expiry_verb(), &key.key]);
                self.effects.end_unit();
            }
            return Loaded::Expired;
        }
        let keyspace: &Keyspace = self.incoming.as_ref().unwrap_or(&self.keyspace);
        if keyspace.find(db, &key.key).is_some() {
            return Loaded::Refused;
        }
        let mut object = Object::new(&key.key, key.value, key.expiry_ms);
        let clock = (now_ms / 1000) as u32;
        object.set_lru(match (key.freq, key.idle_s) {
            (Some(freq), _) if self.lfu() => super::lru::lfu_field(now_ms, freq),
            (_, Some(idle)) => clock.wrapping_sub(idle as u32) & super::lru::LRU_MAX,
            _ => clock & super::lru::LRU_MAX,
        });
        self.incoming.as_mut().unwrap_or(&mut self.keyspace).put(db, object);
        Loaded::Kept
    }

    /// Empties every database, without a word to anybody but those who watch.
    pub fn flush_all(&mut self) {
        for db in 0..self.keyspace.databases() {
            self.flush_db(db);
        }
    }
}
