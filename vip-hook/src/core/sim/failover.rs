//! A model of failovers: a majority of the Sentinels elects a new master, and they learn of it one after the other.
//!
//! How Sentinels agree is simulated elsewhere; here only what agents can see of it matters: which Sentinel names whom
//! in which epoch from when on, and what the nodes say of themselves.

use rand::Rng;

use super::host::Process;
use super::time::{MS, SECOND, Us};
use super::world::{Event, World};
use crate::core::types::Hint;

/// How long a master is out of sight before it counts as down.
const DOWN_AFTER: Us = SECOND;

/// A step of a failover.
#[derive(Clone, Copy, Debug)]
pub(super) enum Failover {
    /// The leader has chosen; the replica becomes a master when this reaches it.
    Promote { leader: usize, chosen: usize },
    /// The leader has seen that it did.
    Promoted { leader: usize, chosen: usize },
}

impl World {
    fn tell_agents(&mut self, sentinel: usize, hint: &Hint) {
        for host in 0..self.hosts.len() {
            if self.hosts[host].connections[sentinel].is_some() && self.reaches(host, sentinel) {
                self.hint(host, hint.clone());
            }
        }
    }

    /// Every Sentinel looks at its master, and stale masters are noticed.
    pub(super) fn look(&mut self) {
        self.after(25 * MS, Event::Look);
        for sentinel in 0..self.sentinels.len() {
            self.look_at_master(sentinel);
        }
        let majority = self.sentinels.len() / 2 + 1;
        if self.failover_under_way.is_none() {
            let leader = (0..self.sentinels.len()).find(|one| {
                let agree = |other: &usize| {
                    self.meet(*one, *other)
                        && self.sees_down(*other)
                        && self.sentinels[*other].master == self.sentinels[*one].master
                };
                self.sees_down(*one) && (0..self.sentinels.len()).filter(agree).count() >= majority
            });
            if let Some(leader) = leader {
                self.tell_agents(leader, &Hint::Odown);
                let voters = (0..self.sentinels.len()).filter(|other| self.meet(leader, *other));
                for voter in voters.collect::<Vec<_>>() {
                    self.sentinels[voter].patient_until =
                        self.now + self.random.random_range(SECOND..4 * SECOND);
                }
                self.start_failover(leader);
            }
        }
        self.demote_stale_masters(majority);
    }

    fn look_at_master(&mut self, sentinel: usize) {
        let it = &self.sentinels[sentinel];
        let host = &self.hosts[it.master];
        let seen = it.process == Process::Runs
            && self.reaches(it.master, sentinel)
            && host.node == Process::Runs
            && host.is_master;
        let now = self.now;
        let it = &mut self.sentinels[sentinel];
        match it.process {
            Process::Runs if !seen => {
                it.down_since.get_or_insert(now);
            }
            _ => it.down_since = None,
        }
    }

    fn sees_down(&self, sentinel: usize) -> bool {
        let it = &self.sentinels[sentinel];
        let refused = self.plan.down_on_refused
            && self.hosts[it.master].node == Process::Dead
            && self.reaches(it.master, sentinel);
        let after = if refused { 30 * MS } else { DOWN_AFTER };
        it.process == Process::Runs
            && self.now >= it.patient_until
            && it.down_since.is_some_and(|since| self.now - since >= after)
    }

    pub(super) fn start_failover(&mut self, leader: usize) {
        let old = self.sentinels[leader].master;
        let fit = |host: &usize| {
            *host != old && self.hosts[*host].node == Process::Runs && self.reaches(*host, leader)
        };
        let candidates: Vec<usize> = (0..self.hosts.len()).filter(fit).collect();
        if candidates.is_empty() {
            return;
        }
        let chosen = candidates[self.random.random_range(0..candidates.len())];
        self.say(|_| format!("Sentinel {leader} fails over from host {old} to host {chosen}"));
        self.failover_under_way = Some(leader);
        self.sentinels[leader].failing_over = true;
        self.tell_agents(leader, &Hint::TryFailover);
        let span = self.random.random_range(MS..60 * MS);
        self.after(span, Event::Failover(Failover::Promote { leader, chosen }));
    }

    pub(super) fn go_on_with_failover(&mut self, step: Failover) {
        match step {
            Failover::Promote { leader, chosen } => {
                if self.hosts[chosen].node == Process::Runs && self.reaches(chosen, leader) {
                    self.hosts[chosen].is_master = true;
                    self.say(|_| format!("node {chosen} is a master"));
                    let span = self.random.random_range(100..5 * MS);
                    self.after(span, Event::Failover(Failover::Promoted { leader, chosen }));
                } else {
                    self.abort_failover(leader);
                }
            }
            Failover::Promoted { leader, chosen } => {
                if self.sentinels[leader].process != Process::Runs || !self.sentinels[leader].failing_over {
                    return self.abort_failover(leader);
                }
                self.last_epoch += 1;
                self.failover_under_way = None;
                self.outcome.failovers += 1;
                let epoch = self.last_epoch;
                self.learn(leader, chosen, epoch);
                for other in (0..self.sentinels.len()).filter(|other| *other != leader).collect::<Vec<_>>() {
                    // redoubt-sentinels greet at once; the original's next greeting is up to two seconds away.
                    let quick = !self.sentinels[leader].classic && !self.random.random_ratio(1, 10);
                    if quick && self.meet(leader, other) {
                        let span = self.random.random_range(200..5 * MS);
                        self.after(span, Event::Learn { sentinel: other, master: chosen, epoch });
                    }
                }
                if self.hosts[chosen].node == Process::Runs {
                    self.hint(chosen, Hint::Notified { to_us: true });
                }
            }
        }
    }

    fn abort_failover(&mut self, leader: usize) {
        self.failover_under_way = None;
        self.sentinels[leader].failing_over = false;
        self.sentinels[leader].down_since = None;
    }

    /// A Sentinel tells the others what it names.
    pub(super) fn greet(&mut self, sentinel: usize) {
        let span = self.random.random_range(self.plan.weather.greeting / 2..=self.plan.weather.greeting);
        self.after(span, Event::Greet { sentinel });
        if self.sentinels[sentinel].process != Process::Runs {
            return;
        }
        let (master, epoch) = (self.sentinels[sentinel].master, self.sentinels[sentinel].epoch);
        for other in (0..self.sentinels.len()).filter(|other| *other != sentinel).collect::<Vec<_>>() {
            if self.meet(sentinel, other) {
                let span = self.delay();
                self.after(span, Event::Learn { sentinel: other, master, epoch });
            }
        }
    }

    pub(super) fn learn(&mut self, sentinel: usize, master: usize, epoch: u64) {
        let now = self.now;
        let it = &mut self.sentinels[sentinel];
        if it.process != Process::Runs || epoch <= it.epoch {
            return;
        }
        it.adopt(now, master, epoch);
        self.say(|_| format!("Sentinel {sentinel} names host {master} in epoch {epoch}"));
        self.tell_agents(sentinel, &Hint::SwitchMaster);
        if let Some(host) = self.sentinels[sentinel].host {
            self.hint(host, Hint::Notified { to_us: host == master });
        }
    }

    /// A node that a majority of the Sentinels does not name is made a replica, some time later.
    fn demote_stale_masters(&mut self, majority: usize) {
        for host in 0..self.hosts.len() {
            if !self.hosts[host].is_master || self.demotion_due[host] {
                continue;
            }
            if self.names_against(host) >= majority {
                self.demotion_due[host] = true;
                let span = self.random.random_range(20 * MS..2 * SECOND);
                let epoch = self.last_epoch;
                self.after(span, Event::Demote { host, epoch });
            }
        }
    }

    /// How many Sentinels name another than this host.
    fn names_against(&self, host: usize) -> usize {
        let against = |sentinel: &usize| {
            let it = &self.sentinels[*sentinel];
            it.process == Process::Runs
                && it.master != host
                && !it.failing_over
                && self.reaches(host, *sentinel)
        };
        (0..self.sentinels.len()).filter(against).count()
    }

    pub(super) fn demote(&mut self, host: usize, epoch: u64) {
        self.demotion_due[host] = false;
        let still = self.names_against(host) > self.sentinels.len() / 2;
        // Another failover may have made it the master rightly meanwhile.
        let settled = epoch == self.last_epoch && self.failover_under_way.is_none();
        if still && settled && self.hosts[host].node == Process::Runs {
            self.hosts[host].is_master = false;
            self.say(|_| format!("node {host} is a replica"));
        }
    }
}
