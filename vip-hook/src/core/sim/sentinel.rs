//! A model of a Sentinel: what it names as the master, and what it remembers of having vouched.

use super::host::Process;
use super::time::{Clock, MS, Us};
use crate::core::types::Answer;

/// One Sentinel.
pub(super) struct Sentinel {
    pub(super) host: Option<usize>,
    pub(super) classic: bool,
    pub(super) process: Process,
    pub(super) clock: Clock,
    /// What it names, and in which epoch.
    pub(super) master: usize,
    pub(super) epoch: u64,
    /// It leads a failover and may have promoted another already.
    pub(super) failing_over: bool,
    pub(super) started: Us,
    /// For each host: when it last vouched for it, and over which connection.
    pub(super) vouched: Vec<Option<(Us, u64)>>,
    /// Connections that are older than its process lead nowhere.
    pub(super) first_connection: u64,
    /// Questions that hang with it.
    pub(super) inbox: Vec<ToSentinel>,
    /// Since when its master has been out of its sight.
    pub(super) down_since: Option<Us>,
    /// It voted, or led, and leaves the others time for the failover.
    pub(super) patient_until: Us,
    /// Since when it has named what it names.
    pub(super) naming_since: Us,
}

/// What an agent sends.
#[derive(Clone, Copy, Debug)]
pub(super) struct ToSentinel {
    pub(super) host: usize,
    pub(super) boot: u64,
    pub(super) sentinel: usize,
    pub(super) connection: u64,
    pub(super) what: Said,
}

/// A question or a release.
#[derive(Clone, Copy, Debug)]
pub(super) enum Said {
    Ask { round: u64 },
    Look { round: u64 },
    Release,
}

impl Sentinel {
    /// The answer to questions that it does not remember.
    pub(super) fn named(&self) -> Answer {
        Answer::Names { address: super::world::node_address(self.master), epoch: self.epoch }
    }

    pub(super) fn answer(&mut self, now: Us, host: usize, connection: u64) -> Answer {
        if self.classic {
            return self.named();
        }
        let address = super::world::node_address(self.master);
        if self.master != host {
            let reason = format!("other-master {} {}", address.ip(), address.port());
            return Answer::Refused { epoch: self.epoch, reason };
        }
        if self.failing_over {
            let reason = "failover-in-progress another is being promoted".into();
            return Answer::Refused { epoch: self.epoch, reason };
        }
        let others = self.vouched.iter().enumerate().filter(|(other, _)| *other != host);
        let last = others.filter_map(|(_, vouch)| vouch.map(|(at, _)| at)).fold(self.started, Us::max);
        self.vouched[host] = Some((now, connection));
        let other = std::time::Duration::from_millis(self.clock.elapsed(now - last) / MS);
        Answer::Vouched { epoch: self.epoch, other }
    }

    /// `VOUCH … RELEASE`: takes back what was said over the same connection. A release that was under way on an old
    /// one must not take back what was said on a newer one.
    pub(super) fn release(&mut self, host: usize, connection: u64, any_connection: bool) {
        if self.vouched[host].is_some_and(|(_, over)| over == connection || any_connection) {
            self.vouched[host] = None;
        }
    }

    /// The master is removed and monitored again.
    pub(super) fn monitor_anew(&mut self, now: Us) {
        self.started = now;
        self.vouched.fill(None);
        self.epoch = 0;
        self.naming_since = now;
    }

    pub(super) fn restart(&mut self, now: Us) {
        self.started = now;
        self.vouched.fill(None);
        self.inbox.clear();
        self.failing_over = false;
        self.down_since = None;
        self.naming_since = now;
        self.process = Process::Runs;
    }

    /// Names another from now on.
    pub(super) fn adopt(&mut self, now: Us, master: usize, epoch: u64) {
        self.naming_since = now;
        if master != self.master {
            self.down_since = None;
        }
        self.master = master;
        self.epoch = epoch;
        self.failing_over = false;
    }
}
