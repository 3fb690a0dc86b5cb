//! The keys to which a writable replica has given an expiry itself.
//!
//! A replica leaves it to its master to delete what has expired. Nobody would ever delete what its own
//! clients wrote there, so it keeps a list of those keys and looks through it by the timer.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::Engine;
use super::load::Loading;

/// A key of a database.
type Place = (usize, Arc<[u8]>);

/// The keys in the order in which they are looked at, each once.
#[derive(Debug, Default)]
pub struct OwnExpiring {
    queue: VecDeque<Place>,
    known: HashSet<Place, ahash::RandomState>,
}

impl OwnExpiring {
    /// How many keys are in the list, for INFO.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// No key.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn add(&mut self, db: usize, key: &[u8]) {
        let place: Place = (db, Arc::from(key));
        if self.known.insert(place.clone()) {
            self.queue.push_back(place);
        }
    }
}

impl Engine {
    /// Whether the running command is a client's, on a replica that lets clients write.
    pub(super) fn writes_on_replica(&self) -> bool {
        !self.is_master() && !self.applying && self.loading != Loading::Exclusive
    }

    /// A client has given `key` an expiry.
    pub(super) fn expiry_was_set(&mut self, db: usize, key: &[u8]) {
        if self.writes_on_replica() {
            self.own_expiring.add(db, key);
        }
    }

    /// Looks at up to `most` of the keys that this replica expires itself. Returns how many it looked
    /// at and how many it deleted.
    pub(super) fn expire_own(&mut self, most: usize) -> (usize, usize) {
        if self.is_master() {
            // What was its own is the business of the active cycle now.
            self.own_expiring = OwnExpiring::default();
        }
        let looked = most.min(self.own_expiring.queue.len());
        let mut deleted = 0;
        for _ in 0..looked {
            let Some(place) = self.own_expiring.queue.pop_front() else { break };
            let (db, key) = (place.0, place.1.clone());
            match self.keyspace.find(db, &key).and_then(|object| object.expiry_ms()) {
                Some(at) if at >= self.now_ms => self.own_expiring.queue.push_back(place),
                Some(_) => {
                    self.expire_now(db, &key);
                    self.own_expiring.known.remove(&place);
                    deleted += 1;
                }
                None => drop(self.own_expiring.known.remove(&place)),
            }
        }
        (looked, deleted)
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::Harness;

    fn writable_replica() -> Harness {
        let mut h = Harness::new();
        h.run("SET old v PX 10");
        h.run("REPLICAOF localhost 7000");
        h.run("CONFIG SET replica-read-only no");
        h
    }

    #[test]
    fn a_writable_replica_expires_what_it_wrote_itself() {
        let mut h = writable_replica();
        h.run("SET a 1 PX 10");
        h.run("SET b 1");
        h.run("PEXPIRE b 10");
        h.run("PEXPIRE b 20");
        h.run("SET c 1 PX 10");
        h.run("PERSIST c");
        assert!(h.run("INFO stats").contains("slave_expires_tracked_keys:3\r\n"));
        h.engine.now_ms = h.now_ms + 15;
        assert_eq!(h.engine.expire_own(10), (3, 1));
        h.engine.now_ms = h.now_ms + 25;
        assert_eq!(h.engine.expire_own(10), (1, 1));
        assert!(h.engine.own_expiring.is_empty());
        assert_eq!(h.run("DBSIZE"), ":2\r\n", "its master's key stays until the master deletes it");
        assert!(h.engine.effects.is_empty());
    }

    #[test]
    fn a_write_on_a_replica_begins_anew_where_the_key_has_expired() {
        let mut h = writable_replica();
        h.now_ms += 20;
        assert_eq!(h.run("GET old"), "$-1\r\n");
        assert_eq!(h.run("DBSIZE"), ":1\r\n", "a read deletes nothing");
        assert_eq!(h.run("APPEND old x"), ":1\r\n");
        assert_eq!(h.run("TTL old"), ":-1\r\n");
    }
}
