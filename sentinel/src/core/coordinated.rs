//! A failover that loses no write: `SENTINEL FAILOVER <name> COORDINATED`.
//!
//! The leader pauses writes on the master (CLIENT PAUSE, Redis 6.2 and later), reads how far its stream goes, waits
//! until the chosen replica has applied all of it, promotes the replica, and only when that is proven
//! makes the old master a replica, whose paused clients are disconnected with it and find the new one. Reads go
//! on all the time.
//!
//! All of it happens within one pause or not at all. The pause is short enough that no Sentinel takes the
//! master for down because of it, and ends by itself should the leader die. When it is nearly
//! over and the new master is not there, the failover is given up and the old master goes on; a promotion that
//! happened all the same is undone as that of any stray, and nobody was told of it.

use super::info::Info;
use super::link::Pending;
use super::links::words;
use super::model::{Cause, FailoverState, Handover, MasterId, Target};
use super::timers::{Due, Ms};
use super::value::Value;
use super::{Core, Level};

/// The longest pause of writes; half of down-after if that is shorter.
const PAUSE_MS: Ms = 1000;
/// How often a replica that lags is asked how far it is.
const POLL_MS: Ms = 2;

impl Core {
    /// Whether the master can be told to pause.
    pub(super) fn can_hand_over(&self, m: usize) -> bool {
        self.connected_to(m, &Target::Master).is_some() && !self.masters[m].me.s_down()
    }

    /// How long writes are paused at most.
    fn pause_ms(&self, m: usize) -> Ms {
        (self.masters[m].cfg.down_after_ms / 2).clamp(1, PAUSE_MS)
    }

    /// For a failover that paused the writes of its master: how long its promotion may take.
    pub(super) fn handover_limit(&self, m: usize) -> Option<Ms> {
        let f = self.masters[m].failover.as_ref()?;
        let (Handover::Pausing(since) | Handover::CatchingUp(since, _)) = f.handover?;
        // What remains of the pause is for making the old master a replica.
        Some((since + self.pause_ms(m) * 3 / 4).saturating_sub(f.state_at))
    }

    /// Whether the master's writes are paused by us.
    pub(super) fn writes_are_paused(&self, m: usize) -> bool {
        self.masters[m].failover.as_ref().is_some_and(|f| f.handover.is_some())
    }

    /// Whether the chosen replica has all that the master ever acknowledged; if not, does what brings that about.
    pub(super) fn writes_handed_over(&mut self, m: usize, now: Ms, due: &mut Due) -> bool {
        let handover = self.masters[m].failover.as_ref().and_then(|f| f.handover);
        let Some(Handover::Pausing(since) | Handover::CatchingUp(since, _)) = handover else {
            self.pause_writes(m, now, due);
            return false;
        };
        if due.passed(now, since + self.pause_ms(m) * 3 / 4) {
            let text = "The replica did not reach the master's offset while writes were paused";
            self.log(Level::Warning, format!("{text}; the master goes on"));
            self.abort_failover(m, "-failover-abort-slave-timeout", now);
            return false;
        }
        let Some(Handover::CatchingUp(_, offset)) = handover else { return false };
        let (Some(target), Some(replica)) = (self.promoted_target(m), self.masters[m].promoted()) else {
            return false;
        };
        if replica.offset >= offset && replica.me.info_at.is_some_and(|at| at >= since) {
            return true;
        }
        if replica.me.info_asked_at.is_none_or(|at| due.passed(now, at + POLL_MS)) {
            self.ask_info(m, &target, false, now);
            due.at(now + POLL_MS);
        }
        false
    }

    fn promoted_target(&self, m: usize) -> Option<Target> {
        self.masters[m].failover.as_ref()?.promoted.clone().map(Target::Replica)
    }

    fn pause_writes(&mut self, m: usize, now: Ms, due: &mut Due) {
        if !self.can_hand_over(m) {
            let text = "The master is out of reach: its writes cannot be handed over";
            self.log(Level::Warning, text.into());
            return self.abort_failover(m, "-failover-abort-slave-timeout", now);
        }
        let id = self.master_id(m);
        let key = self.masters[m].me.link;
        let pause_ms = self.pause_ms(m);
        let cfg = &self.masters[m].cfg;
        let commands = vec![
            (words(&[&cfg.command("CLIENT"), "PAUSE", &pause_ms.to_string(), "WRITE"]), Pending::Pause(id)),
            (words(&[&cfg.command("INFO"), "replication"]), Pending::Info { full: false }),
        ];
        self.send(key, commands);
        if let Some(f) = self.masters[m].failover.as_mut() {
            f.handover = Some(Handover::Pausing(now));
        }
        due.at(now + pause_ms * 3 / 4);
    }

    /// The reply to CLIENT PAUSE.
    pub(super) fn pause_answered(&mut self, id: MasterId, value: &Value, now: Ms) {
        let (Some(m), Value::Error(text)) = (self.index(id), value) else { return };
        let paused = self.masters[m].failover.as_mut().filter(|f| f.handover.is_some());
        let Some(f) = paused else { return };
        f.handover = None;
        let text = String::from_utf8_lossy(text).into_owned();
        let mend = "a coordinated failover needs Redis 6.2 or later, and client|pause and client|unpause for its user";
        self.log(Level::Warning, format!("The master refused to pause writes: {text} ({mend})"));
        self.abort_failover(m, "-failover-abort-slave-timeout", now);
    }

    /// The master told how far its stream goes. It counts if it did so after the pause, whose reply comes first.
    pub(super) fn note_master_offset(&mut self, m: usize, info: &Info, now: Ms) {
        let id = self.master_id(m);
        let link = self.links.get(&self.masters[m].me.link);
        if link.is_none_or(|l| l.pending.contains(&Pending::Pause(id))) {
            // An INFO that was asked for before: the stream may have gone on since.
            return;
        }
        let f = self.masters[m].failover.as_mut();
        let Some(f) = f.filter(|f| f.cause == Cause::Coordinated) else { return };
        if let (Some(Handover::Pausing(since)), Some(offset)) = (f.handover, info.master_offset)
            && f.state == FailoverState::SendSlaveofNoOne
        {
            f.handover = Some(Handover::CatchingUp(since, offset));
            if let Some(target) = self.promoted_target(m) {
                self.ask_info(m, &target, false, now);
            }
        }
    }

    /// Lets writes go on where they were paused.
    pub(super) fn end_handover(&mut self, m: usize) {
        let paused = self.masters[m].failover.as_mut().and_then(|f| f.handover.take()).is_some();
        if paused {
            self.send_to(m, &Target::Master, &["CLIENT", "UNPAUSE"], Pending::Ignored("CLIENT"));
        }
    }
}
