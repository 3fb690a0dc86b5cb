//! This process's own lateness: what it does not hold against others, and TILT.
//!
//! The driver looks at the clock at least every [`HEARTBEAT_MS`]. A longer gap means that this
//! process did not run (stopped, swapped out, starved), and the silence of the others during it proves
//! nothing: all records of liveness are moved forward by the gap. A gap beyond the TILT trigger
//! makes the Sentinel abstain from verdicts for the TILT period, as Redis does.

use super::model::{Master, Target};
use super::timers::{HEARTBEAT_MS, LATENESS_SLACK_MS, Ms, Timers};
use super::vouch::Vouched;
use super::{Core, Level};

/// When the clock was last looked at, and TILT.
#[derive(Debug)]
pub(super) struct Tilt {
    pub(super) last_look: Ms,
    pub(super) since: Option<Ms>,
}

impl Tilt {
    pub(super) fn new(now: Ms) -> Self {
        Tilt { last_look: now, since: None }
    }

    pub(super) fn active(&self) -> bool {
        self.since.is_some()
    }

    pub(super) fn due(&self, timers: &Timers) -> Ms {
        self.since.map_or(Ms::MAX, |since| since + timers.tilt_period + 1)
    }
}

impl Core {
    pub(super) fn note_time(&mut self, now: Ms) {
        let late = now.saturating_sub(self.tilt.last_look + HEARTBEAT_MS);
        self.tilt.last_look = self.tilt.last_look.max(now);
        if late > LATENESS_SLACK_MS {
            self.postpone_silence(late, now);
        }
        if late > self.timers.tilt_trigger {
            self.tilt.since = Some(now);
            self.event_text(Level::Warning, "+tilt", None, "#tilt mode entered".into());
            self.masters.iter_mut().for_each(|m| m.vouched = Vouched::new(now));
        }
    }

    /// Takes our own lateness out of every silence that has not led to a verdict yet.
    fn postpone_silence(&mut self, late: Ms, now: Ms) {
        let judged = |master: &Master, target: &Target| master.instance(target).is_some_and(|i| i.s_down());
        for link in self.links.values_mut() {
            let mut users = link.users.iter();
            if !users.any(|(id, t)| self.masters.iter().any(|m| m.id == *id && judged(m, t))) {
                link.postpone(late, now);
            }
        }
    }

    pub(super) fn leave_tilt(&mut self, now: Ms) {
        if self.tilt.since.is_some_and(|since| now.saturating_sub(since) > self.timers.tilt_period) {
            self.tilt.since = None;
            self.event_text(Level::Warning, "-tilt", None, "#tilt mode exited".into());
            self.masters.iter_mut().for_each(|m| m.due = now);
        }
    }
}
