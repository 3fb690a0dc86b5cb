//! Votes, elections and failovers as the original holds them: one step a tick.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rand::Rng;
use redoubt_sentinel::core::model::{Addr, FailoverState, Role};
use redoubt_sentinel::core::timers::Ms;
use redoubt_wire::resp::reply::Reply;

use super::{Classic, Master, Reconf, Replica, Target};

/// The most that chance adds to the moment at which an attempt is said to have begun.
const MAX_DESYNC: Ms = 1000;

impl Classic {
    /// Gives the vote if it is still free; whom it was given to, and when.
    pub(super) fn vote(&mut self, m: usize, epoch: u64, who: &str, now: Ms) -> (Option<String>, u64) {
        if epoch > self.epoch {
            self.epoch = epoch;
            self.flush();
            self.event_text("+new-epoch", epoch.to_string());
        }
        if self.masters[m].leader_epoch < epoch && self.epoch <= epoch {
            let desync = self.rng.random_range(0..MAX_DESYNC);
            let master = &mut self.masters[m];
            master.leader = Some(who.to_string());
            master.leader_epoch = self.epoch;
            if who != self.id {
                master.failover_at = now + desync;
            }
            self.flush();
            self.event_text("+vote-for-leader", format!("{who} {epoch}"));
        }
        (self.masters[m].leader.clone(), self.masters[m].leader_epoch)
    }

    /// The winner of the election, if it has one. Our own vote, if not given yet, goes to the front-runner.
    /// The votes of the others count if they are of the newest epoch, even where the failover's own is older.
    fn winner(&mut self, m: usize, epoch: u64, now: Ms) -> Option<String> {
        let voters = self.masters[m].peers.len() + 1;
        let mut votes: BTreeMap<String, usize> = BTreeMap::new();
        for peer in &self.masters[m].peers {
            if let Some(leader) = peer.leader.as_ref().filter(|_| peer.leader_epoch == self.epoch) {
                *votes.entry(leader.clone()).or_default() += 1;
            }
        }
        let front = |votes: &BTreeMap<String, usize>| {
            votes.iter().max_by_key(|(_, n)| **n).map(|(who, n)| (who.clone(), *n))
        };
        let choice = front(&votes).map_or(self.id.clone(), |(who, _)| who);
        let (own, of_epoch) = self.vote(m, epoch, &choice, now);
        if let Some(own) = own.filter(|_| of_epoch == epoch) {
            *votes.entry(own).or_default() += 1;
        }
        let needed = (voters / 2 + 1).max(self.masters[m].cfg.quorum as usize);
        front(&votes).filter(|(_, n)| *n >= needed).map(|(who, _)| who)
    }

    /// Begins a failover if the master is down and the last attempt is long enough ago.
    pub(super) fn start_if_due(&mut self, m: usize, now: Ms) -> bool {
        let master = &self.masters[m];
        let pause = 2 * master.cfg.failover_timeout_ms;
        // The last attempt may be said to begin in a moment that is yet to come.
        let waits = now < master.failover_at + pause;
        let due = master.o_down && master.failover.is_none() && !waits;
        if due {
            self.start(m, false, now);
        }
        due
    }

    fn start(&mut self, m: usize, forced: bool, now: Ms) {
        self.epoch += 1;
        let (epoch, desync) = (self.epoch, self.rng.random_range(0..MAX_DESYNC));
        let master = &mut self.masters[m];
        master.failover = Some(FailoverState::WaitStart);
        master.failover_epoch = epoch;
        master.failover_at = now + desync;
        master.state_at = now;
        master.forced = forced;
        self.event_text("+new-epoch", epoch.to_string());
        self.event("+try-failover", m, &Target::Master);
    }

    pub(super) fn fail_over(&mut self, reply: &mut Reply, name: &str, now: Ms) {
        let Some(m) = self.masters.iter().position(|m| m.cfg.name == name) else {
            return reply.error("ERR No such master with that name");
        };
        if self.masters[m].failover.is_some() {
            return reply.error("INPROG Failover already in progress");
        }
        if self.best_replica(m, now).is_none() {
            return reply.error("NOGOODSLAVE No suitable replica to promote");
        }
        self.start(m, true, now);
        reply.ok();
    }

    pub(super) fn failover_step(&mut self, m: usize, now: Ms) {
        match self.masters[m].failover {
            Some(FailoverState::WaitStart) => self.wait_for_votes(m, now),
            Some(FailoverState::SelectSlave) => self.select(m, now),
            Some(FailoverState::SendSlaveofNoOne) => self.order_promotion(m, now),
            Some(FailoverState::WaitPromotion) => self.abort_if_late(m, now),
            Some(FailoverState::ReconfSlaves) => self.reconfigure(m, now),
            Some(FailoverState::UpdateConfig) | None => {}
        }
    }

    fn enter(&mut self, m: usize, state: FailoverState, now: Ms) {
        self.masters[m].failover = Some(state);
        self.masters[m].state_at = now;
    }

    fn wait_for_votes(&mut self, m: usize, now: Ms) {
        let epoch = self.masters[m].failover_epoch;
        let winner = self.winner(m, epoch, now);
        let master = &self.masters[m];
        if winner.as_deref() != Some(self.id.as_str()) && !master.forced {
            let limit = self.timers.election_timeout.min(master.cfg.failover_timeout_ms);
            if now > master.failover_at + limit {
                self.abort(m, "-failover-abort-not-elected");
            }
            return;
        }
        self.event("+elected-leader", m, &Target::Master);
        self.enter(m, FailoverState::SelectSlave, now);
    }

    fn select(&mut self, m: usize, now: Ms) {
        let Some(addr) = self.best_replica(m, now) else {
            return self.abort(m, "-failover-abort-no-good-slave");
        };
        for replica in &mut self.masters[m].replicas {
            replica.promoted = replica.me.addr == addr;
        }
        self.event("+selected-slave", m, &Target::Replica(addr));
        self.enter(m, FailoverState::SendSlaveofNoOne, now);
    }

    fn best_replica(&self, m: usize, now: Ms) -> Option<Addr> {
        let master = &self.masters[m];
        let since = |at: Ms| now.saturating_sub(at);
        let ping = self.timers.ping_period;
        let info_limit =
            if master.me.s_down_since.is_some() { 5 * ping } else { 3 * self.timers.info_period };
        let apart = master.me.s_down_since.map_or(0, since) + 10 * master.cfg.down_after_ms;
        let good = |r: &&Replica| {
            let link = self.links.get(&r.me.link);
            r.me.s_down_since.is_none()
                && link.is_some_and(|l| l.whole && since(l.available_at) <= 5 * ping)
                && r.priority != 0
                && since(r.me.info_at) <= info_limit
                && r.link_down_ms <= apart
        };
        let rank = |r: &&Replica| (r.priority, Reverse(r.offset), r.me.run_id.is_none(), r.me.run_id.clone());
        master.replicas.iter().filter(good).min_by_key(rank).map(|r| r.me.addr.clone())
    }

    fn order_promotion(&mut self, m: usize, now: Ms) {
        let Some(link) = self.masters[m].promoted().map(|r| r.me.link) else { return };
        if !self.links.get(&link).is_some_and(|l| l.whole) {
            return self.abort_if_late(m, now);
        }
        if self.send_slaveof(link, None) {
            self.enter(m, FailoverState::WaitPromotion, now);
        }
    }

    fn abort_if_late(&mut self, m: usize, now: Ms) {
        let master = &self.masters[m];
        if now > master.state_at + master.cfg.failover_timeout_ms {
            self.abort(m, "-failover-abort-slave-timeout");
        }
    }

    fn abort(&mut self, m: usize, event: &str) {
        self.event(event, m, &Target::Master);
        let master = &mut self.masters[m];
        master.failover = None;
        master.forced = false;
        master.replicas.iter_mut().for_each(|r| r.promoted = false);
    }

    pub(super) fn promotion_seen(&mut self, m: usize, addr: &Addr, now: Ms) {
        self.masters[m].config_epoch = self.masters[m].failover_epoch;
        self.enter(m, FailoverState::ReconfSlaves, now);
        self.flush();
        self.event("+promoted-slave", m, &Target::Replica(addr.clone()));
        // Hellos go out at the next tick.
        let master = &mut self.masters[m];
        master.me.published_at = 0;
        master.replicas.iter_mut().for_each(|r| r.me.published_at = 0);
        master.peers.iter_mut().for_each(|p| p.me.published_at = 0);
    }

    fn reconfigure(&mut self, m: usize, now: Ms) {
        let Some(new) = self.masters[m].promoted().map(|r| r.me.addr.clone()) else { return };
        let limit = self.timers.slave_reconf_timeout;
        for at in 0..self.masters[m].replicas.len() {
            let master = &mut self.masters[m];
            let busy =
                master.replicas.iter().filter(|r| matches!(r.reconf, Reconf::Sent(_) | Reconf::InProgress));
            if busy.count() >= master.cfg.parallel_syncs as usize {
                break;
            }
            let replica = &mut master.replicas[at];
            if matches!(replica.reconf, Reconf::Sent(at) if now > at + limit) {
                replica.reconf = Reconf::Done;
            }
            if replica.promoted || replica.reconf != Reconf::None {
                continue;
            }
            let (link, addr) = (replica.me.link, replica.me.addr.clone());
            if self.links.get(&link).is_some_and(|l| l.whole) && self.send_slaveof(link, Some(&new)) {
                self.masters[m].replicas[at].reconf = Reconf::Sent(now);
                self.event("+slave-reconf-sent", m, &Target::Replica(addr));
            }
        }
        self.end_if_done(m, &new, now);
    }

    fn end_if_done(&mut self, m: usize, new: &Addr, now: Ms) {
        let master = &self.masters[m];
        if master.promoted().is_none_or(|r| r.me.s_down_since.is_some()) {
            return;
        }
        let waiting = |r: &Replica| !r.promoted && r.reconf != Reconf::Done && r.me.s_down_since.is_none();
        let late = now > master.state_at + master.cfg.failover_timeout_ms;
        if !late && master.replicas.iter().any(waiting) {
            return;
        }
        self.event("+failover-end", m, &Target::Master);
        self.enter(m, FailoverState::UpdateConfig, now);
        if late {
            let untold = |r: &&Replica| !r.promoted && r.reconf == Reconf::None;
            let links: Vec<_> = self.masters[m].replicas.iter().filter(untold).map(|r| r.me.link).collect();
            for link in links {
                if self.links.get(&link).is_some_and(|l| l.whole) {
                    self.send_slaveof(link, Some(new));
                }
            }
        }
    }

    pub(super) fn switch_to_promoted(&mut self, m: usize, now: Ms) {
        let Master { cfg, me, .. } = &self.masters[m];
        let new = self.masters[m].promoted().map_or(&me.addr, |r| &r.me.addr).clone();
        let text = format!("{} {} {} {} {}", cfg.name, me.addr.ip, me.addr.port, new.ip, new.port);
        self.event_text("+switch-master", text);
        self.switch_address(m, new, now);
    }

    /// The entry takes another address; what was known of its nodes is forgotten.
    pub(super) fn switch_address(&mut self, m: usize, new: Addr, now: Ms) {
        let number = self.masters[m].number;
        let old = self.masters[m].me.addr.clone();
        let replicas = std::mem::take(&mut self.masters[m].replicas);
        for replica in &replicas {
            self.release(&replica.me, number);
        }
        let mut addrs: Vec<Addr> = replicas.into_iter().map(|r| r.me.addr).collect();
        if !addrs.contains(&old) {
            addrs.push(old);
        }
        let link = self.masters[m].me.link;
        self.restart_link(link, now);
        let master = &mut self.masters[m];
        master.me.addr = new.clone();
        master.me.run_id = None;
        master.me.s_down_since = None;
        master.me.was_down_at = 0;
        master.me.role = Role::Master;
        master.me.role_at = now;
        master.o_down = false;
        master.leader = None;
        master.failover = None;
        master.failover_at = 0;
        master.forced = false;
        for addr in addrs.into_iter().filter(|a| *a != new) {
            self.add_replica(m, addr, now);
        }
        self.flush();
    }
}
