//! MULTI, EXEC, DISCARD and WATCH: a session's queue, and the index of watched keys.
//!
//! Queued commands are copied out of the read buffer, each into one allocation. A watched
//! key is found from the key's side (a commit asks who watches it), so that a write costs
//! one look at an almost always empty map.

use std::collections::HashMap;
use std::sync::Arc;

use smallvec::SmallVec;

use super::commands::Command;
use super::session::ClientId;

/// A command waiting for EXEC.
#[derive(Debug)]
pub struct Queued {
    /// The row of the command table.
    pub command: &'static Command,
    bytes: Box<[u8]>,
    ends: SmallVec<[u32; 6]>,
}

impl Queued {
    /// Copies a command out of the read buffer.
    pub fn new(command: &'static Command, args: &[&[u8]]) -> Self {
        let mut bytes = Vec::with_capacity(args.iter().map(|a| a.len()).sum());
        let mut ends = SmallVec::with_capacity(args.len());
        for arg in args {
            bytes.extend_from_slice(arg);
            ends.push(bytes.len() as u32);
        }
        Queued { command, bytes: bytes.into_boxed_slice(), ends }
    }

    /// The arguments, the command's name first.
    pub fn args(&self) -> SmallVec<[&[u8]; 8]> {
        let mut start = 0;
        self.ends
            .iter()
            .map(|&end| {
                let arg = &self.bytes[start..end as usize];
                start = end as usize;
                arg
            })
            .collect()
    }

    /// Bytes held, for CLIENT LIST's multi-mem.
    pub fn memory(&self) -> usize {
        self.bytes.len() + 4 * self.ends.len() + size_of::<Self>()
    }
}

/// A session's transaction.
#[derive(Debug, Default)]
pub struct Transaction {
    /// Between MULTI and EXEC.
    pub open: bool,
    /// A command was refused while queueing: EXEC will be refused.
    pub aborted: bool,
    /// A watched key changed: EXEC will answer null.
    pub dirty: bool,
    /// What EXEC will run.
    pub queue: Vec<Queued>,
    /// The keys of WATCH, with whether each had expired already when it was watched.
    pub watched: Vec<WatchedKey>,
}

/// One key of a session's WATCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchedKey {
    /// Its database.
    pub db: usize,
    /// Its name.
    pub key: Arc<[u8]>,
    /// It was past its expiry when watched: that it is deleted then is no change.
    pub was_expired: bool,
}

/// Who watches which key.
#[derive(Debug, Default)]
pub struct WatchIndex {
    by_key: HashMap<(usize, Arc<[u8]>), Vec<ClientId>>,
}

impl WatchIndex {
    /// Nobody watches anything.
    pub fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// How many keys are watched, for INFO clients.
    pub fn len(&self) -> usize {
        self.by_key.len()
    }

    /// `client` watches `key` from now on; false if it does already.
    pub fn add(&mut self, db: usize, key: Arc<[u8]>, client: ClientId) -> bool {
        let clients = self.by_key.entry((db, key)).or_default();
        let new = !clients.contains(&client);
        if new {
            clients.push(client);
        }
        new
    }

    /// `client` no longer watches `key`.
    pub fn remove(&mut self, db: usize, key: &Arc<[u8]>, client: ClientId) {
        let entry = (db, key.clone());
        if let Some(clients) = self.by_key.get_mut(&entry) {
            clients.retain(|c| *c != client);
            if clients.is_empty() {
                self.by_key.remove(&entry);
            }
        }
    }

    /// Those who watch `key`.
    pub fn watchers(&self, db: usize, key: &[u8]) -> &[ClientId] {
        if self.by_key.is_empty() {
            return &[];
        }
        self.by_key.get(&(db, Arc::from(key))).map_or(&[], |v| v.as_slice())
    }

    /// Every watched key of database `db`, for FLUSHDB and SWAPDB.
    pub fn in_db(&self, db: usize) -> impl Iterator<Item = (&Arc<[u8]>, &[ClientId])> {
        self.by_key.iter().filter(move |((d, _), _)| *d == db).map(|((_, k), c)| (k, c.as_slice()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_watched_once_a_client_and_forgotten_with_the_last_one() {
        let mut index = WatchIndex::default();
        let key: Arc<[u8]> = Arc::from(&b"k"[..]);
        assert!(index.add(0, key.clone(), 1));
        assert!(!index.add(0, key.clone(), 1));
        assert!(index.add(0, key.clone(), 2));
        assert_eq!(index.watchers(0, b"k"), [1, 2]);
        assert!(index.watchers(1, b"k").is_empty());
        index.remove(0, &key, 1);
        index.remove(0, &key, 2);
        assert!(index.is_empty());
    }
}
