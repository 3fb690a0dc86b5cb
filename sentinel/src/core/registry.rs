//! Which masters, replicas and Sentinels are known, and the links that lead to them: entries
//! are made and dropped here and nowhere else, so that no link outlives its last user.

use std::collections::BTreeMap;

use super::config::{MasterConfig, MasterEntry};
use super::link::{Link, LinkKey};
use super::model::{Addr, Candidacy, Instance, Master, MasterId, Peer, Replica, Role, Target};
use super::timers::Ms;
use super::vip::Entry;
use super::vouch::Vouched;
use super::{Core, Level};

impl Core {
    /// Takes a master over from the file. A name that has no address yet is looked up at every
    /// attempt to connect.
    pub(super) fn load_master(&mut self, entry: MasterEntry, now: Ms) {
        let addr = self.resolve_or_keep(&entry.host, entry.port);
        let m = self.add_master(entry.cfg, addr, now);
        self.masters[m].config_epoch = entry.config_epoch;
        self.masters[m].leader_epoch = entry.leader_epoch;
        self.epoch = self.epoch.max(entry.config_epoch).max(entry.leader_epoch);
        for (host, port) in entry.replicas {
            let addr = self.resolve_or_keep(&host, port);
            self.add_replica(m, addr, now);
        }
        for (host, port, run_id) in entry.sentinels {
            if run_id != self.id {
                let addr = self.resolve_or_keep(&host, port);
                self.add_peer(m, &run_id, addr, now);
            }
        }
    }

    /// Begins to watch a master; +monitor.
    pub(super) fn add_master(&mut self, cfg: MasterConfig, addr: Addr, now: Ms) -> usize {
        let id = MasterId(self.fresh_id());
        let link = self.new_link(addr.clone(), true, now);
        self.attach(link, id, Target::Master);
        let quorum = cfg.quorum;
        self.masters.push(Master {
            id,
            cfg,
            me: Instance::new(addr, link, Role::Master, now),
            replicas: BTreeMap::new(),
            peers: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            o_down_since: None,
            config_epoch: 0,
            coming: None,
            leader: None,
            // An entry may have been removed and made again within an epoch in which it had our vote.
            leader_epoch: self.epoch,
            vote_seq: 0,
            failover: None,
            candidacy: Candidacy::default(),
            rebooted_at: None,
            serves_since: None,
            guard: None,
            vouched: Vouched::new(now),
            due: now,
            instances_due: now,
        });
        let m = self.masters.len() - 1;
        self.event(Level::Warning, "+monitor", m, &Target::Master, &format!(" quorum {quorum}"));
        m
    }

    /// Ceases to watch a master.
    pub(super) fn remove_master(&mut self, m: usize) {
        self.end_handover(m);
        let id = self.masters[m].id;
        for target in self.masters[m].targets() {
            self.detach_target(m, &target);
        }
        self.masters.retain(|master| master.id != id);
    }

    /// Adds a replica; none if one of that name is known, or the address is a virtual IP.
    pub(super) fn add_replica(&mut self, m: usize, addr: Addr, now: Ms) -> Option<Target> {
        let name = addr.name(self.globals.announce_hostnames);
        let known = self.masters[m].replicas.values().any(|r| r.me.addr.same(&addr));
        if known
            || self.masters[m].replicas.contains_key(&name)
            || self.refuses_virtual(m, Entry::Replica, &addr, now)
        {
            return None;
        }
        let target = Target::Replica(name.clone());
        let link = self.new_link(addr.clone(), true, now);
        self.attach(link, self.masters[m].id, target.clone());
        let me = Instance::new(addr, link, Role::Slave, now);
        self.masters[m].replicas.insert(name, Replica::new(me, now));
        self.masters[m].due = now;
        Some(target)
    }

    /// Adds a Sentinel; one that watches other masters too is reached over the link it has.
    pub(super) fn add_peer(&mut self, m: usize, run_id: &str, addr: Addr, now: Ms) -> Target {
        let shared = self.masters.iter().filter_map(|o| o.peers.get(run_id));
        let link = shared.filter(|p| p.me.addr.same(&addr)).map(|p| p.me.link).next();
        let link = link.unwrap_or_else(|| self.new_link(addr.clone(), false, now));
        let target = Target::Peer(run_id.to_string());
        self.attach(link, self.masters[m].id, target.clone());
        let mut me = Instance::new(addr, link, Role::Master, now);
        me.run_id = Some(run_id.to_string());
        self.masters[m].forgotten.remove(run_id);
        self.masters[m].peers.insert(run_id.to_string(), Peer::new(me, now));
        self.masters[m].due = now;
        target
    }

    /// Forgets the replica of that name.
    pub(super) fn remove_replica(&mut self, m: usize, name: &str) {
        self.detach_target(m, &Target::Replica(name.to_string()));
        self.masters[m].replicas.remove(name);
    }

    /// Forgets the Sentinel of that id for this master.
    pub(super) fn remove_peer(&mut self, m: usize, run_id: &str) -> bool {
        self.detach_target(m, &Target::Peer(run_id.to_string()));
        self.masters[m].peers.remove(run_id).is_some()
    }

    pub(super) fn new_link(&mut self, addr: Addr, data_node: bool, now: Ms) -> LinkKey {
        let key = LinkKey(self.fresh_id());
        self.links.insert(key, Link::new(addr, data_node, now));
        key
    }

    pub(super) fn attach(&mut self, key: LinkKey, id: MasterId, target: Target) {
        if let Some(link) = self.links.get_mut(&key) {
            link.users.push((id, target));
        }
    }

    /// Takes an instance's hold off its link; the last hold closes it.
    pub(super) fn detach_target(&mut self, m: usize, target: &Target) {
        let id = self.masters[m].id;
        let Some(key) = self.instance(m, target).map(|i| i.link) else { return };
        let Some(link) = self.links.get_mut(&key) else { return };
        link.users.retain(|(of, who)| *of != id || who != target);
        if link.users.is_empty() {
            self.close_link(key, 0);
            self.links.remove(&key);
        }
    }
}
