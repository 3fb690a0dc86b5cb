//! How a newer configuration of a master, an address and its epoch, takes effect: on disk first.
//!
//! A promotion of our own that is proven and a newer epoch in a hello message are the same thing here. What they say
//! is written, and only when that is done do we act on it and tell it: the entry takes the address,
//! clients hear of it, hello messages and replies carry it. So what a Sentinel has told never goes back to
//! an older epoch, not even when it crashes at the worst moment. Should the write fail it is told all
//! the same, since clients without a master are worse off.

use super::model::{Addr, Coming, FailoverState, Master, MasterId, Target};
use super::persist::Deferred;
use super::timers::Ms;
use super::vip::Entry;
use super::{Core, Level};

impl Core {
    /// The chosen replica says that it is a master.
    pub(super) fn promotion_proven(&mut self, m: usize, name: &str, now: Ms) {
        let master = &self.masters[m];
        let Some(epoch) = master.failover.as_ref().map(|f| f.epoch) else { return };
        if master.coming.as_ref().is_some_and(|c| c.epoch == epoch && c.from.is_none()) {
            return;
        }
        if master.newest_config_epoch() >= epoch {
            // Others have agreed on a newer configuration meanwhile: ours is void.
            return self.abort_failover(m, "-failover-abort-not-elected", now);
        }
        let Some(addr) = master.replicas.get(name).map(|r| r.me.addr.clone()) else { return };
        // First of all, so that no client still writes to it that does not know better.
        self.demote_old_master(m, &addr);
        self.write_configuration(m, Coming { epoch, addr, from: None });
    }

    /// Another Sentinel, of that id, told of a newer configuration.
    pub(super) fn learn_configuration(&mut self, m: usize, epoch: u64, addr: Addr, from: &str, now: Ms) {
        let newer = epoch > self.masters[m].newest_config_epoch();
        if newer && !self.refuses_virtual(m, Entry::Master, &addr, now) {
            self.write_configuration(m, Coming { epoch, addr, from: Some(from.to_string()) });
        }
    }

    fn write_configuration(&mut self, m: usize, coming: Coming) {
        let what = Deferred::Configuration { master: self.masters[m].id, epoch: coming.epoch };
        self.masters[m].coming = Some(coming);
        let seq = self.save();
        self.defer(seq, what);
    }

    /// The newer configuration is on disk, or cannot be put there.
    pub(super) fn configuration_written(&mut self, id: MasterId, epoch: u64, now: Ms) {
        let Some(m) = self.index(id) else { return };
        let Some(coming) = self.masters[m].coming.take_if(|c| c.epoch == epoch) else { return };
        match &coming.from {
            Some(from) => self.adopt_configuration(m, &coming, from, now),
            None => self.complete_promotion(m, epoch, now),
        }
        self.evaluate(id, now);
    }

    /// Our promotion takes effect: everybody is told, and the others are pointed at the new master.
    fn complete_promotion(&mut self, m: usize, epoch: u64, now: Ms) {
        let promoted = self.masters[m].failover.as_ref().filter(|f| f.epoch == epoch);
        let cause = promoted.map(|f| f.cause);
        let Some(name) = promoted.and_then(|f| f.promoted.clone()) else { return };
        self.masters[m].config_epoch = epoch;
        self.enter(m, FailoverState::ReconfSlaves, now);
        self.event(Level::Warning, "+promoted-slave", m, &Target::Replica(name), "");
        if self.crash_after_promotion {
            self.crash();
        }
        let old = self.masters[m].me.addr.clone();
        let new = self.masters[m].current_addr().clone();
        self.event(Level::Warning, "+failover-state-reconf-slaves", m, &Target::Master, "");
        self.reconfigure_clients(m, cause, &old, &new, now);
        self.announce_switch(m, &old, &new);
        self.publish_to_all(m, now);
    }

    /// What another told takes effect: our clients are told, and the others, who may not have heard of it.
    fn adopt_configuration(&mut self, m: usize, coming: &Coming, from: &str, now: Ms) {
        let told = self.masters[m].current_addr().clone();
        let addr = &coming.addr;
        let is_news = !told.same(addr);
        self.masters[m].config_epoch = coming.epoch;
        if is_news {
            let sender = Target::Peer(from.to_string());
            self.event(Level::Warning, "+config-update-from", m, &sender, "");
            self.announce_switch(m, &told, addr);
        }
        if !self.masters[m].me.addr.same(addr) {
            self.switch_address(m, addr.clone(), now);
        } else {
            if self.masters[m].failover.is_some() {
                // The agreed master is the one our failover meant to replace.
                self.abort_failover(m, "-failover-abort-not-elected", now);
            }
            // It was promoted anew: what was said of its failure before counts no more.
            self.clear_verdicts(m, now);
        }
        if is_news {
            self.reconfigure_clients(m, None, &told, addr, now);
            self.publish_to_all(m, now);
        }
    }
}

impl Master {
    /// The highest config epoch that we know of, be it in effect or about to be.
    pub(super) fn newest_config_epoch(&self) -> u64 {
        self.coming.as_ref().map_or(self.config_epoch, |coming| coming.epoch.max(self.config_epoch))
    }
}
