//! The failover of a leader, step by step. Each call of [`Core::failover_step`] takes one
//! step if one is due and says whether another may follow.
//!
//! Two masters must never share an epoch. Another replica is promoted in the epoch of the failover only if the
//! one before cannot have been: nothing was sent to it, or it answered the transaction with an error. Whenever
//! the outcome is unknown, the next attempt is a new election in a new epoch.
//!
//! Clients are told at the promotion: from then on the new master takes writes. The
//! entry itself keeps the old address until the other replicas follow, as in Redis.

use super::config::Planted;
use super::link::LinkKey;
use super::model::{Cause, FailoverState, Reconf, Target};
use super::timers::{Due, FRESH_INFO_MS, Ms};
use super::value::Value;
use super::{Core, Level, Output};

/// The exit code of SENTINEL SIMULATE-FAILURE.
const CRASH_EXIT_CODE: i32 = 99;

impl Core {
    pub(super) fn failover_step(&mut self, m: usize, now: Ms, due: &mut Due) -> bool {
        match self.masters[m].failover_state() {
            None => false,
            Some(FailoverState::WaitStart) => {
                let elected = self.election_step(m, now, due);
                if elected {
                    self.elected(m, now);
                }
                elected
            }
            Some(FailoverState::SelectSlave) => self.select_step(m, now, due),
            Some(FailoverState::SendSlaveofNoOne) => self.send_promotion_step(m, now, due),
            Some(FailoverState::WaitPromotion) => self.await_promotion_step(m, now, due),
            Some(FailoverState::ReconfSlaves) => self.reconfigure_step(m, now, due),
            Some(FailoverState::UpdateConfig) => {
                let addr = self.masters[m].promoted().map(|r| r.me.addr.clone());
                let addr = addr.unwrap_or_else(|| self.masters[m].me.addr.clone());
                self.switch_address(m, addr, now);
                due.at(now);
                false
            }
        }
    }

    pub(super) fn enter(&mut self, m: usize, state: FailoverState, now: Ms) {
        if let Some(f) = self.masters[m].failover.as_mut() {
            f.state = state;
            f.state_at = now;
        }
    }

    pub(super) fn crash(&mut self) {
        self.log(Level::Warning, "Sentinel CRASH because of SENTINEL simulate-failure".into());
        self.out.push_back(Output::Exit { code: CRASH_EXIT_CODE });
    }

    fn elected(&mut self, m: usize, now: Ms) {
        self.event(Level::Warning, "+elected-leader", m, &Target::Master, "");
        if self.crash_after_election {
            self.crash();
        }
        self.select_replica(m, now);
        self.event(Level::Warning, "+failover-state-select-slave", m, &Target::Master, "");
    }

    /// Begins the choice of a replica, which rests on what the replicas say from now on.
    fn select_replica(&mut self, m: usize, now: Ms) {
        self.enter(m, FailoverState::SelectSlave, now);
        self.refresh_replicas(m, now);
    }

    /// Chooses the replica once those in reach have said how far they are.
    fn select_step(&mut self, m: usize, now: Ms, due: &mut Due) -> bool {
        let Some(since) = self.masters[m].failover.as_ref().map(|f| f.state_at) else { return false };
        if self.awaits_replica_info(m, since) && !due.passed(now, since + FRESH_INFO_MS) {
            return false;
        }
        let Some(name) = self.best_replica(m, now) else {
            self.abort_failover(m, "-failover-abort-no-good-slave", now);
            return false;
        };
        let target = Target::Replica(name.clone());
        self.event(Level::Warning, "+selected-slave", m, &target, "");
        for (n, replica) in &mut self.masters[m].replicas {
            replica.promoted = *n == name;
        }
        if let Some(f) = self.masters[m].failover.as_mut() {
            f.promoted = Some(name);
        }
        self.enter(m, FailoverState::SendSlaveofNoOne, now);
        self.event(Level::Notice, "+failover-state-send-slaveof-noone", m, &target, "");
        true
    }

    fn send_promotion_step(&mut self, m: usize, now: Ms, due: &mut Due) -> bool {
        let Some(f) = self.masters[m].failover.as_ref() else { return false };
        let (Some(name), sent, since, cause) = (f.promoted.clone(), f.sent, f.state_at, f.cause) else {
            return false;
        };
        let target = Target::Replica(name);
        if cause == Cause::Coordinated && !self.writes_handed_over(m, now, due) {
            return false;
        }
        if self.send_slaveof(m, &target, None) {
            if !sent {
                self.event(Level::Notice, "+failover-state-wait-promotion", m, &target, "");
                self.enter(m, FailoverState::WaitPromotion, now);
            }
            if let Some(f) = self.masters[m].failover.as_mut() {
                f.state = FailoverState::WaitPromotion;
                f.sent = true;
            }
            return true;
        }
        if !sent && self.best_replica(m, now).is_some() {
            self.select_replica(m, now);
            return true;
        }
        self.abort_if_late(m, since, now, due)
    }

    fn await_promotion_step(&mut self, m: usize, now: Ms, due: &mut Due) -> bool {
        if self.masters[m].coming.is_some() {
            // It is a master; the rest waits for our disk.
            return false;
        }
        let since = self.masters[m].failover.as_ref().map_or(now, |f| f.state_at);
        let limit = since + self.masters[m].cfg.failover_timeout_ms + 1;
        if self.planted == Some(Planted::PromoteAgain) && due.passed(now, limit) {
            if let Some(f) = self.masters[m].failover.as_mut() {
                f.sent = false;
            }
            self.enter(m, FailoverState::SelectSlave, now);
            return true;
        }
        self.abort_if_late(m, since, now, due)
    }

    /// Gives up when the time is over, or when the replica died with the outcome unknown.
    fn abort_if_late(&mut self, m: usize, since: Ms, now: Ms, due: &mut Due) -> bool {
        let master = &self.masters[m];
        let sent = master.failover.as_ref().is_some_and(|f| f.sent);
        let dead = sent && master.promoted().is_none_or(|r| r.me.s_down());
        let limit = self.handover_limit(m).unwrap_or(master.cfg.failover_timeout_ms);
        if due.passed(now, since + limit + 1) || dead {
            self.abort_failover(m, "-failover-abort-slave-timeout", now);
        }
        false
    }

    /// The outcome of a role-changing transaction. What it did, the INFO that follows tells; a refusal frees the
    /// promotion for another replica and a slot of `parallel-syncs` for the next.
    pub(super) fn transaction_done(&mut self, key: LinkKey, value: &Value, now: Ms) {
        let refusal = match value {
            Value::Array(items) => items.first().and_then(Value::error_text),
            other => other.error_text(),
        };
        let Some(text) = refusal else { return };
        let addr = self.links.get(&key).map(|l| l.addr.name(false)).unwrap_or_default();
        let text = String::from_utf8_lossy(text).into_owned();
        let mend = "its user needs multi, exec, slaveof, config|rewrite and client|kill";
        self.log(Level::Warning, format!("{addr} refused to change its role: {text} ({mend})"));
        let Some((id, Target::Replica(name))) = self.sole_user(key) else { return };
        let Some(m) = self.index(id) else { return };
        if let Some(replica) = self.masters[m].replicas.get_mut(&name)
            && matches!(replica.reconf, Reconf::Sent(_))
        {
            replica.reconf = Reconf::Done;
        }
        let promoting = self.masters[m]
            .failover
            .as_mut()
            .filter(|f| f.state == FailoverState::WaitPromotion && f.promoted.as_ref() == Some(&name));
        if let Some(f) = promoting {
            f.sent = false;
            f.promoted = None;
            f.refused.push(name);
            self.masters[m].replicas.values_mut().for_each(|r| r.promoted = false);
            self.select_replica(m, now);
        }
    }

    /// An old master that can be reached (an operator asked for the failover, or it came back meanwhile) takes
    /// no further writes: they would be lost when it is corrected after the usual grace.
    pub(super) fn demote_old_master(&mut self, m: usize, new: &super::model::Addr) {
        let host = new.announced(self.globals.announce_hostnames).to_string();
        if !self.masters[m].me.s_down() && self.send_slaveof(m, &Target::Master, Some((host, new.port))) {
            let text = format!("Told the old {} to follow the new one", self.describe(m, &Target::Master));
            self.log(Level::Notice, text);
        }
        self.end_handover(m);
    }

    /// Tells the replicas their new master, so many at a time, and ends when all in reach follow it.
    fn reconfigure_step(&mut self, m: usize, now: Ms, due: &mut Due) -> bool {
        let Some(since) = self.masters[m].failover.as_ref().map(|f| f.state_at) else { return false };
        let Some(promoted) = self.masters[m].promoted() else { return false };
        let gone = promoted.me.s_down();
        let late = due.passed(now, since + self.masters[m].cfg.failover_timeout_ms + 1);
        self.expire_reconfigurations(m, now, due);
        if !gone && !late {
            self.tell_replicas(m, "+slave-reconf-sent", now);
        }
        let waiting = self.masters[m]
            .replicas
            .values()
            .any(|r| !r.promoted && r.reconf != Reconf::Done && !r.me.s_down());
        // A promoted replica that died is a matter for the next failover, which this one must not hold up.
        if waiting && !late && !gone {
            return false;
        }
        if late {
            self.event(Level::Warning, "+failover-end-for-timeout", m, &Target::Master, "");
        }
        self.event(Level::Warning, "+failover-end", m, &Target::Master, "");
        if late {
            self.tell_replicas(m, "+slave-reconf-sent-be", now);
        }
        self.enter(m, FailoverState::UpdateConfig, now);
        true
    }

    fn expire_reconfigurations(&mut self, m: usize, now: Ms, due: &mut Due) {
        let mut expired = Vec::new();
        for (name, replica) in &mut self.masters[m].replicas {
            if let Reconf::Sent(at) = replica.reconf
                && due.passed(now, at + self.timers.slave_reconf_timeout + 1)
            {
                replica.reconf = Reconf::Done;
                expired.push(Target::Replica(name.clone()));
            }
        }
        for target in expired {
            self.event(Level::Notice, "-slave-reconf-sent-timeout", m, &target, "");
        }
    }

    /// SLAVEOF to replicas that have not been told: up to `parallel-syncs` at a time, or to all of
    /// them as a last effort.
    fn tell_replicas(&mut self, m: usize, event: &str, now: Ms) {
        let hostnames = self.globals.announce_hostnames;
        let Some(new) = self.masters[m].promoted().map(|r| r.me.addr.clone()) else { return };
        let new = (new.announced(hostnames).to_string(), new.port);
        let last_effort = event == "+slave-reconf-sent-be";
        let untold: Vec<String> = self.masters[m]
            .replicas
            .iter()
            .filter(|(_, r)| !r.promoted && r.reconf == Reconf::None)
            .map(|(name, _)| name.clone())
            .collect();
        for name in untold {
            let busy =
                |r: &&super::model::Replica| matches!(r.reconf, Reconf::Sent(_) | Reconf::InProgress(_));
            let in_progress = self.masters[m].replicas.values().filter(busy).count();
            if !last_effort && in_progress >= self.masters[m].cfg.parallel_syncs as usize {
                return;
            }
            let target = Target::Replica(name.clone());
            if self.send_slaveof(m, &target, Some(new.clone())) {
                if let Some(replica) = self.masters[m].replicas.get_mut(&name) {
                    replica.reconf = Reconf::Sent(now);
                }
                self.event(Level::Notice, event, m, &target, "");
            }
        }
    }
}
