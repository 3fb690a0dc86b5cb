//! The registry of sessions.
//!
//! A client's number never comes back in the life of a process. What belongs to the connection
//! itself (socket, outbox) is the driver's, under the same number.

use std::collections::HashMap;

use super::session::{ClientId, Session};

/// All sessions but the one whose batch runs.
#[derive(Debug, Default)]
pub struct Clients {
    sessions: HashMap<ClientId, Box<Session>, ahash::RandomState>,
    next_id: ClientId,
}

impl Clients {
    /// The number of the next client.
    pub fn next_id(&mut self) -> ClientId {
        self.next_id += 1;
        self.next_id
    }

    /// Adds a session, or puts one back after its batch.
    pub fn put(&mut self, session: Box<Session>) {
        self.sessions.insert(session.id, session);
    }

    /// Takes a session out, for its batch or for good.
    pub fn take(&mut self, id: ClientId) -> Option<Box<Session>> {
        self.sessions.remove(&id)
    }

    /// A session by its number.
    pub fn get(&self, id: ClientId) -> Option<&Session> {
        self.sessions.get(&id).map(|s| &**s)
    }

    /// A session by its number, to change it.
    pub fn get_mut(&mut self, id: ClientId) -> Option<&mut Session> {
        self.sessions.get_mut(&id).map(|s| &mut **s)
    }

    /// All sessions in the registry, in order of their numbers.
    pub fn sorted(&self) -> Vec<&Session> {
        let mut all: Vec<&Session> = self.sessions.values().map(|s| &**s).collect();
        all.sort_unstable_by_key(|s| s.id);
        all
    }

    /// All sessions in the registry, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values().map(|s| &**s)
    }

    /// All sessions in the registry, in no order, to change them.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut Session> {
        self.sessions.values_mut().map(|s| &mut **s)
    }

    /// How many sessions the registry holds.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// No session.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }
}
