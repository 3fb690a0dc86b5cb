//! The promise of availability: a master that a majority of the Sentinels has named for a second, with nothing in the
//! way, holds its addresses.

use super::host::Process;
use super::time::{MS, SECOND, Us};
use super::world::{Event, World};
use crate::core::types::{OnConflict, OnQuorumLoss};

/// How soon an address must be held once nothing is in the way.
const WITHIN: Us = SECOND;

/// How often it is looked at.
const PERIOD: Us = 10 * MS;

impl World {
    pub(super) fn check(&mut self) {
        self.after(PERIOD, Event::Check);
        self.note_reachability();
        // A host that holds on without a majority is a conflict for the new owner that may last.
        let may_last =
            self.plan.on_quorum_loss == OnQuorumLoss::Hold && self.plan.on_conflict == OnConflict::Release;
        if !self.plan.weather.promises_holding || self.intruder || may_last {
            self.hosts.iter_mut().for_each(|host| host.fit_since = None);
            return;
        }
        for host in 0..self.hosts.len() {
            let epoch = self.hosts[host].holder.epochs.highest();
            if self.is_fit(host) && self.hosts[host].epoch_before.replace(epoch) == Some(epoch) {
                self.hosts[host].fit_since.get_or_insert(self.now);
            } else {
                self.hosts[host].fit_since = None;
            }
            // Where a conflict keeps from taking, it is asked once a second whether it is over.
            let within =
                if self.plan.on_conflict == OnConflict::Release { WITHIN + WITHIN / 4 } else { WITHIN };
            let fit = self.hosts[host].fit_since.is_some_and(|since| self.now - since > within);
            if fit && self.is_named(host) {
                self.outcome.checked += 1;
                if !self.hosts[host].kernel[0].answers(self.now) {
                    let view = self.hosts[host].holder.view(self.hosts[host].clock.show(self.now));
                    self.broken(format!("host {host} should have held for long: {}", view.why));
                }
            }
        }
    }

    /// Whether nothing on the host itself keeps it from holding.
    fn is_fit(&self, host: usize) -> bool {
        let it = &self.hosts[host];
        it.node == Process::Runs
            && it.is_master
            && it.agent == Process::Runs
            && !it.maintenance
            && !it.released
            && !it.platform_fails
            && it.kernel[0].present == it.kernel[0].ours
    }

    /// Whether a majority has named it for long enough, over connections that have stood for as long, in an epoch that
    /// is not older than what its agent has seen.
    fn is_named(&self, host: usize) -> bool {
        let highest = self.hosts[host].holder.epochs.highest();
        let names = |sentinel: &usize| {
            let it = &self.sentinels[*sentinel];
            it.process == Process::Runs
                && it.master == host
                && it.epoch >= highest
                && !it.failing_over
                && self.now - it.naming_since > WITHIN
                && self.reachable_since(host, *sentinel).is_some_and(|since| self.now - since > WITHIN)
        };
        (0..self.sentinels.len()).filter(names).count() > self.sentinels.len() / 2
    }

    fn reachable_since(&self, host: usize, sentinel: usize) -> Option<Us> {
        self.hosts[host].reachable_since[sentinel].map(|(_, since)| since)
    }

    fn note_reachability(&mut self) {
        for host in 0..self.hosts.len() {
            for sentinel in 0..self.sentinels.len() {
                let up = self.reaches(host, sentinel) && self.sentinels[sentinel].process == Process::Runs;
                let connection = self.hosts[host].connections[sentinel].filter(|_| up);
                let before = self.hosts[host].reachable_since[sentinel];
                self.hosts[host].reachable_since[sentinel] = connection.map(|connection| match before {
                    Some((same, since)) if same == connection => (connection, since),
                    _ => (connection, self.now),
                });
            }
        }
    }

    /// Something began or ended that may hold things up everywhere.
    pub(super) fn begin_waiting_anew(&mut self) {
        for host in &mut self.hosts {
            host.fit_since = Some(self.now);
        }
    }
}
