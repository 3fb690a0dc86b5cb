//! What was asked over a connection and not yet answered, in order.
//!
//! A reply belongs to the oldest entry, also when that was given up: it stays in its place until its reply comes.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

/// More questions than this are not asked over a connection that answers none.
pub(super) const LONGEST: usize = 256;

#[derive(Debug)]
struct Entry<T> {
    what: T,
    since: Instant,
    /// Until when its answer is waited for; `None`: nobody waits any more.
    until: Option<Instant>,
}

/// Questions under way over one connection.
#[derive(Debug)]
pub(super) struct Pipeline<T> {
    entries: VecDeque<Entry<T>>,
    /// After how long without an answer the connection is given up.
    patience: Duration,
}

impl<T> Pipeline<T> {
    pub(super) fn new(patience: Duration) -> Self {
        Pipeline { entries: VecDeque::new(), patience }
    }

    /// Notes that something has been asked; `until`: when its answer is given up, if anybody waits for it.
    pub(super) fn push(&mut self, what: T, until: Option<Instant>) {
        self.entries.push_back(Entry { what, since: Instant::now(), until });
    }

    pub(super) fn is_full(&self) -> bool {
        self.entries.len() >= LONGEST
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The question that a reply belongs to, and until when somebody waits for it.
    pub(super) fn pop(&mut self) -> Option<(T, Option<Instant>)> {
        self.entries.pop_front().map(|entry| (entry.what, entry.until))
    }

    /// The oldest question.
    pub(super) fn first_mut(&mut self) -> Option<&mut T> {
        self.entries.front_mut().map(|entry| &mut entry.what)
    }

    /// When there is something to do without a reply.
    pub(super) fn due(&self) -> Option<Instant> {
        let patience = self.entries.front().map(|entry| entry.since + self.patience);
        self.entries.iter().filter_map(|entry| entry.until).chain(patience).min()
    }

    /// The questions for which nobody waits from now on, since their time is over.
    pub(super) fn overdue(&mut self) -> impl Iterator<Item = &T> {
        let now = Instant::now();
        let over = move |entry: &&mut Entry<T>| entry.until.is_some_and(|until| until <= now);
        self.entries.iter_mut().filter(over).map(|entry| {
            entry.until = None;
            &entry.what
        })
    }

    /// Whether the oldest question was not answered for so long that the connection is of no use.
    pub(super) fn is_silent(&self) -> bool {
        self.entries.front().is_some_and(|entry| entry.since + self.patience <= Instant::now())
    }

    /// The questions for which somebody waits; none is under way any more.
    pub(super) fn give_up(&mut self) -> impl Iterator<Item = T> + '_ {
        self.entries.drain(..).filter(|entry| entry.until.is_some()).map(|entry| entry.what)
    }
}
