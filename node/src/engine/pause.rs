//! Pauses: commands are held back for a while, and with them all that would change the dataset
//! by itself.
//!
//! CLIENT PAUSE is one reason for a pause; FAILOVER and a shutdown that waits for its replicas are
//! others. Each has its own end, and what holds is the strictest of those in force. While writes
//! are paused nothing expires, nothing is evicted and the master puts no PING and no GETACK into
//! the stream: the offset stands still, so that replicas can reach it.

use super::Engine;
use super::request::Output;

/// Why something is paused. Reasons do not shorten one another's pauses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// CLIENT PAUSE.
    Command,
    /// A shutdown waits for lagging replicas.
    Shutdown,
    /// FAILOVER waits for its target.
    Failover,
}

/// A pause for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Unix time of its end, in ms; `i64::MAX` ends only when it is told to.
    pub until_ms: i64,
    /// ALL commands rather than those that WRITE.
    pub all: bool,
}

impl Pause {
    /// Holds writes until it is ended.
    pub const WRITES: Pause = Pause { until_ms: i64::MAX, all: false };
}

/// The pauses in force, at most one a reason.
#[derive(Debug, Default)]
pub struct Pauses {
    by_reason: [Option<Pause>; 3],
}

impl Pauses {
    /// Whether there may be a pause at all: what is asked before every command.
    #[inline]
    pub fn any(&self) -> bool {
        self.by_reason.iter().any(Option::is_some)
    }

    fn in_force(&self, now_ms: i64) -> impl Iterator<Item = Pause> {
        self.by_reason.iter().flatten().copied().filter(move |pause| now_ms < pause.until_ms)
    }

    /// What is held back at `now_ms`: `None` for nothing, else whether ALL commands are.
    pub fn holds(&self, now_ms: i64) -> Option<bool> {
        self.in_force(now_ms).map(|pause| pause.all).reduce(|a, b| a || b)
    }

    /// When the first of the pauses in force ends, in Unix ms; then what is held back may be less.
    pub fn next_end_ms(&self, now_ms: i64) -> Option<i64> {
        self.in_force(now_ms).map(|pause| pause.until_ms).min()
    }

    /// The pause for `reason`, over or not.
    pub fn get(&self, reason: Reason) -> Option<Pause> {
        self.by_reason[reason as usize]
    }

    fn forget_ended(&mut self, now_ms: i64) {
        for pause in &mut self.by_reason {
            pause.take_if(|pause| now_ms >= pause.until_ms);
        }
    }
}

impl Engine {
    /// Begins a pause, or makes one longer and stricter that is in force for the same reason.
    pub fn pause(&mut self, reason: Reason, pause: Pause) {
        self.pauses.forget_ended(self.now_ms);
        let old = self.pauses.get(reason);
        self.pauses.by_reason[reason as usize] = Some(Pause {
            until_ms: old.map_or(pause.until_ms, |old| old.until_ms.max(pause.until_ms)),
            all: pause.all || old.is_some_and(|old| old.all),
        });
    }

    /// Ends the pause for `reason`, and has those looked at again that it held back.
    pub fn unpause(&mut self, reason: Reason) {
        if self.pauses.by_reason[reason as usize].take().is_some() {
            self.output(Output::Unpaused);
        }
    }

    /// Forgets the pauses that are over, so that commands pass without a look at them.
    pub(super) fn settle_pauses(&mut self) {
        self.pauses.forget_ended(self.now_ms);
    }

    /// Whether writes are held back, or refused by a former master that waits to be confirmed, and
    /// with them everything that would change the dataset by itself.
    pub fn writes_paused(&self) -> bool {
        self.pauses.holds(self.now_ms).is_some() || self.replication.feed.is_guarded()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::Harness;

    #[test]
    fn the_strictest_pause_holds_and_each_ends_by_itself() {
        let mut h = Harness::new();
        h.engine.now_ms = 1_000;
        h.engine.pause(Reason::Command, Pause { until_ms: 1_200, all: true });
        h.engine.pause(Reason::Failover, Pause::WRITES);
        assert_eq!(h.engine.pauses.holds(1_100), Some(true));
        assert_eq!(h.engine.pauses.next_end_ms(1_100), Some(1_200));
        assert_eq!(h.engine.pauses.holds(1_200), Some(false));
        assert_eq!(h.engine.pauses.next_end_ms(1_200), Some(i64::MAX));
        h.engine.unpause(Reason::Shutdown);
        assert!(!h.engine.has_outputs(), "nobody waits for the end of what never was");
        h.engine.unpause(Reason::Failover);
        assert!(matches!(h.engine.take_outputs()[..], [Output::Unpaused]));
        assert_eq!(h.engine.pauses.holds(1_200), None);
    }

    #[test]
    fn a_pause_is_never_shortened_or_weakened() {
        let mut h = Harness::new();
        h.engine.now_ms = 1_000;
        h.engine.pause(Reason::Command, Pause { until_ms: 2_000, all: true });
        h.engine.pause(Reason::Command, Pause { until_ms: 1_100, all: false });
        assert_eq!(h.engine.pauses.get(Reason::Command), Some(Pause { until_ms: 2_000, all: true }));
        h.engine.now_ms = 2_000;
        h.engine.pause(Reason::Command, Pause { until_ms: 2_100, all: false });
        let fresh = Some(Pause { until_ms: 2_100, all: false });
        assert_eq!(h.engine.pauses.get(Reason::Command), fresh, "one that is over counts no more");
    }

    #[test]
    fn while_writes_are_paused_nothing_expires_and_nothing_is_evicted() {
        let mut h = Harness::new();
        h.run("SET k v PX 10");
        h.run("SET volatile v");
        h.run("CLIENT PAUSE 1000 WRITE");
        h.now_ms += 20;
        assert_eq!(h.run("GET k"), "$-1\r\n", "it is gone for its readers");
        assert_eq!(h.run("DBSIZE"), ":2\r\n");
        h.engine.now_ms = h.now_ms;
        assert_eq!(h.engine.expire_step(0, 64).1, 0);
        h.run("CONFIG SET maxmemory 1 maxmemory-policy allkeys-lru");
        h.engine.memory_used = || 2;
        assert_eq!(h.run("GET volatile"), "$1\r\nv\r\n");
        assert_eq!(h.engine.stats.evicted_keys, 0);
        h.engine.memory_used = || 0;
        h.run("CLIENT UNPAUSE");
        assert_eq!(h.run("GET k"), "$-1\r\n");
        assert_eq!(h.run("DBSIZE"), ":1\r\n");
    }
}
