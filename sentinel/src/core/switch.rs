//! A master's entry takes another address, or forgets what it learned.
//!
//! On a switch the connections move with the processes: the promoted replica's link becomes the
//! master's, the old master's becomes a replica's. All clocks start anew, so that the silence
//! of one process is never counted against another.

use std::collections::BTreeMap;

use super::link::{Channel, ConnState, LinkKey};
use super::model::{Addr, Candidacy, Instance, Replica, Role, Target};
use super::timers::Ms;
use super::{Core, Level};

impl Core {
    /// +switch-master, which tells clients where to go.
    pub(super) fn announce_switch(&mut self, m: usize, old: &Addr, new: &Addr) {
        let hostnames = self.globals.announce_hostnames;
        let text = format!(
            "{} {} {} {} {}",
            self.masters[m].name(),
            old.announced(hostnames),
            old.port,
            new.announced(hostnames),
            new.port
        );
        let id = self.master_id(m);
        self.event_text(Level::Warning, "+switch-master", Some(id), text);
    }

    /// Gives the entry the address `new`; the address it had becomes a replica's.
    pub(super) fn switch_address(&mut self, m: usize, new: Addr, now: Ms) {
        self.end_handover(m);
        let id = self.master_id(m);
        let mut links: Vec<(Addr, LinkKey)> =
            vec![(self.masters[m].me.addr.clone(), self.masters[m].me.link)];
        links.extend(self.masters[m].replicas.values().map(|r| (r.me.addr.clone(), r.me.link)));
        for (_, key) in &links {
            if let Some(link) = self.links.get_mut(key) {
                link.users.clear();
                link.restart_clocks(now);
            }
        }
        let mut take = |core: &mut Core, addr: &Addr| match links.iter().position(|(a, _)| a.same(addr)) {
            Some(at) => links.swap_remove(at).1,
            None => core.new_link(addr.clone(), true, now),
        };
        let old_run_ids: BTreeMap<LinkKey, Option<String>> = self.run_ids(m);
        let mut replicas: Vec<Addr> = vec![self.masters[m].me.addr.clone()];
        replicas.extend(self.masters[m].replicas.values().map(|r| r.me.addr.clone()));
        replicas.retain(|a| !a.same(&new));

        let link = take(self, &new);
        self.attach(link, id, Target::Master);
        if self.links.get(&link).is_some_and(|l| matches!(l.commands, ConnState::Connecting { .. })) {
            // It may have been hanging for a while, which is no reason to doubt the new master.
            self.close_channel(link, Channel::Commands, now);
        }
        let mut me = Instance::new(new, link, Role::Master, now);
        me.run_id = old_run_ids.get(&link).cloned().flatten();
        let mut entries = BTreeMap::new();
        for addr in replicas {
            let name = addr.name(self.globals.announce_hostnames);
            let link = take(self, &addr);
            self.attach(link, id, Target::Replica(name.clone()));
            let mut me = Instance::new(addr, link, Role::Slave, now);
            me.run_id = old_run_ids.get(&link).cloned().flatten();
            entries.insert(name, Replica::new(me, now));
        }
        let names: Vec<String> = entries.keys().cloned().collect();
        let master = &mut self.masters[m];
        master.me = me;
        master.replicas = entries;
        self.clear_verdicts(m, now);
        for name in names {
            self.event(Level::Notice, "+slave", m, &Target::Replica(name), "");
        }
        self.save();
    }

    fn run_ids(&self, m: usize) -> BTreeMap<LinkKey, Option<String>> {
        let master = &self.masters[m];
        let replicas = master.replicas.values().map(|r| (r.me.link, r.me.run_id.clone()));
        std::iter::once((master.me.link, master.me.run_id.clone())).chain(replicas).collect()
    }

    /// Drops verdicts, votes seen and any failover of our own. Our own vote stays: it was given.
    pub(super) fn clear_verdicts(&mut self, m: usize, now: Ms) {
        let master = &mut self.masters[m];
        master.o_down_since = None;
        master.failover = None;
        master.coming = None;
        // How often masters failed in a row outlives each of them.
        master.candidacy = Candidacy { failures: master.candidacy.failures, ..Candidacy::default() };
        master.rebooted_at = None;
        master.serves_since = Some(now);
        master.guard = None;
        master.due = now;
        for peer in master.peers.values_mut() {
            peer.says_down = false;
            peer.leader = None;
            peer.asked_at = None;
        }
    }

    /// SENTINEL RESET: replicas and Sentinels are to be found anew; +reset-master.
    pub(super) fn reset_master(&mut self, m: usize, now: Ms) {
        self.end_handover(m);
        for target in self.masters[m].targets() {
            self.detach_target(m, &target);
        }
        let addr = self.masters[m].me.addr.clone();
        let link = self.new_link(addr.clone(), true, now);
        self.attach(link, self.master_id(m), Target::Master);
        let master = &mut self.masters[m];
        master.replicas.clear();
        master.peers.clear();
        master.forgotten.clear();
        master.me = Instance::new(addr, link, Role::Master, now);
        self.clear_verdicts(m, now);
        self.event(Level::Warning, "+reset-master", m, &Target::Master, "");
    }
}
