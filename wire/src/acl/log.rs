//! The ACL log: who was denied what, and how often.

use std::collections::VecDeque;

use super::check::Denied;

/// What was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A command.
    Command,
    /// A key.
    Key,
    /// A channel.
    Channel,
    /// Logging in.
    Auth,
}

impl Reason {
    /// The name that ACL LOG prints.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::Command => "command",
            Reason::Key => "key",
            Reason::Channel => "channel",
            Reason::Auth => "auth",
        }
    }
}

impl From<Denied> for Reason {
    fn from(denied: Denied) -> Reason {
        match denied {
            Denied::Command => Reason::Command,
            Denied::Key(_) => Reason::Key,
            Denied::Channel(_) => Reason::Channel,
        }
    }
}

/// Where it was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Context {
    /// A command by itself.
    TopLevel,
    /// Between MULTI and EXEC, or in EXEC.
    Multi,
}

impl Context {
    /// The name that ACL LOG prints.
    pub const fn name(self) -> &'static str {
        match self {
            Context::TopLevel => "toplevel",
            Context::Multi => "multi",
        }
    }
}

/// One denial.
#[derive(Clone, Debug)]
pub struct Event {
    /// What was denied.
    pub reason: Reason,
    /// Where.
    pub context: Context,
    /// The full name of the command, the key, the channel, or the command with which somebody
    /// tried to log in.
    pub object: Vec<u8>,
    /// The user that was denied it, or that somebody tried to be.
    pub user: Vec<u8>,
    /// The client, as CLIENT LIST describes it.
    pub client: String,
}

/// Denials of the same kind.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The latest of them.
    pub event: Event,
    /// How many.
    pub count: u64,
    /// A number that grows with each entry as long as the process lives.
    pub id: u64,
    /// Unix time of the first, in ms.
    pub created_ms: i64,
    /// Unix time of the last, in ms.
    pub updated_ms: i64,
}

/// So far back an entry is looked for that a denial adds to.
const LOOK_BACK: usize = 10;
/// Bytes kept of an object's or a user's name, which a client may make as long as a request.
const NAME_BYTES: usize = 1024;
/// So long after its last denial an entry takes one more, in ms.
const TOGETHER_MS: i64 = 60_000;

/// The entries, the latest first.
#[derive(Debug, Default)]
pub struct Log {
    entries: VecDeque<Entry>,
    next_id: u64,
}

impl Log {
    /// Enters a denial at Unix time `now_ms`, and keeps no more than `limit` entries.
    pub fn add(&mut self, mut event: Event, now_ms: i64, limit: usize) {
        for name in [&mut event.object, &mut event.user] {
            name.truncate(NAME_BYTES);
            name.shrink_to_fit();
        }
        let fits = |entry: &Entry| {
            let old = &entry.event;
            (old.reason, old.context, &old.object, &old.user)
                == (event.reason, event.context, &event.object, &event.user)
                && (now_ms - entry.updated_ms).abs() <= TOGETHER_MS
        };
        let known = self.entries.iter().take(LOOK_BACK).position(fits);
        let entry = match known.and_then(|place| self.entries.remove(place)) {
            Some(old) => Entry { event, count: old.count + 1, updated_ms: now_ms, ..old },
            None => {
                let id = self.next_id;
                self.next_id += 1;
                Entry { event, count: 1, id, created_ms: now_ms, updated_ms: now_ms }
            }
        };
        self.entries.push_front(entry);
        self.trim(limit);
    }

    /// Keeps no more than `limit` entries.
    pub fn trim(&mut self, limit: usize) {
        self.entries.truncate(limit);
    }

    /// Forgets all entries; numbers go on.
    pub fn reset(&mut self) {
        self.entries.clear();
    }

    /// The entries, the latest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(object: &str) -> Event {
        Event {
            reason: Reason::Key,
            context: Context::TopLevel,
            object: object.into(),
            user: b"alice".to_vec(),
            client: format!("id=1 {object}"),
        }
    }

    fn seen(log: &Log) -> Vec<(u64, u64, String)> {
        log.entries()
            .map(|e| (e.id, e.count, String::from_utf8_lossy(&e.event.object).into_owned()))
            .collect()
    }

    #[test]
    fn the_same_within_a_minute_is_one_entry_and_comes_first_again() {
        let mut log = Log::default();
        log.add(event("a"), 1000, 128);
        log.add(event("b"), 2000, 128);
        log.add(event("a"), 61_000, 128);
        assert_eq!(seen(&log), [(0, 2, "a".into()), (1, 1, "b".into())]);
        let first = log.entries().next().unwrap();
        assert_eq!((first.created_ms, first.updated_ms), (1000, 61_000));
        log.add(event("a"), 121_001, 128);
        assert_eq!(seen(&log)[0], (2, 1, "a".into()));
        log.add(Event { context: Context::Multi, ..event("a") }, 121_001, 128);
        assert_eq!(seen(&log)[0], (3, 1, "a".into()));
    }

    #[test]
    fn what_is_too_far_back_or_too_much_is_forgotten() {
        let mut log = Log::default();
        (0..11).for_each(|n| log.add(event(&n.to_string()), 0, 128));
        log.add(event("0"), 0, 128);
        assert_eq!(seen(&log)[0], (11, 1, "0".into()), "the first is the eleventh from the top");
        log.add(event("x"), 0, 2);
        assert_eq!(seen(&log).len(), 2);
        log.add(event("y"), 0, 0);
        assert_eq!(seen(&log), []);
        log.add(event(&"k".repeat(5000)), 0, 1);
        assert_eq!(seen(&log)[0].2.len(), NAME_BYTES);
        log.reset();
        assert_eq!(log.entries().len(), 0);
    }
}
