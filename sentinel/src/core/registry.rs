//! Which masters, replicas and Sentinels are known, and the links that lead to them: entries
//! are made and dropped here and nowhere else, so that no link outlives its last user.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use redoubt_wire::resp::reply::Protocol;

use super::config::{MasterConfig, MasterEntry};
use super::link::{Link, LinkKey};
use super::model::{Addr, Candidacy, Instance, Master, MasterId, Peer, Replica, Role, Target};
use super::timers::Ms;
use super::{ClientId, Core, Level, Output};

/// Names being looked up, and what waits for them.
#[derive(Debug)]
pub(super) struct Resolver {
    known: BTreeMap<String, String>,
    failed: BTreeSet<String>,
    waiting: Vec<(String, Waiting)>,
    /// Names whose answer is out.
    asked: BTreeSet<String>,
    /// When a name was last asked for.
    asked_at: BTreeMap<String, Ms>,
}

/// What is done again once a name is known.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A client's command.
    Command { client: ClientId, argv: Vec<Vec<u8>>, protocol: Protocol },
    /// A hello message, and whether its sender handed it to us itself.
    Hello { text: String, direct: bool },
}

/// Why there is no address for a host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// It is being looked up.
    Pending,
    /// It is no address, and names are not accepted or this one is unknown.
    Invalid,
}

impl Resolver {
    pub(super) fn new(known: BTreeMap<String, String>) -> Self {
        Resolver {
            known,
            failed: BTreeSet::new(),
            waiting: Vec::new(),
            asked: BTreeSet::new(),
            asked_at: BTreeMap::new(),
        }
    }
}

impl Core {
    /// The address of `host`, which is an IP or, with `resolve-hostnames`, a name.
    pub(super) fn resolve(&mut self, host: &str, port: u16) -> Result<Addr, Unresolved> {
        if host.parse::<IpAddr>().is_ok() {
            return Ok(Addr::of_ip(host, port));
        }
        if !self.globals.resolve_hostnames || host.is_empty() || host.len() > 255 {
            return Err(Unresolved::Invalid);
        }
        if let Some(ip) = self.resolver.known.get(host) {
            return Ok(Addr { host: host.to_string(), ip: ip.clone(), port });
        }
        if self.resolver.failed.contains(host) {
            return Err(Unresolved::Invalid);
        }
        self.ask_for_name(host);
        Err(Unresolved::Pending)
    }

    /// Asks for a name's address, unless that question is out already.
    fn ask_for_name(&mut self, host: &str) {
        if self.resolver.asked.insert(host.to_string()) {
            self.out.push_back(Output::Resolve { host: host.to_string() });
        }
    }

    /// Looks a name up again, once a PING period at most: it may have moved.
    pub(super) fn look_up(&mut self, host: &str, now: Ms) {
        let last = self.resolver.asked_at.get(host);
        if self.globals.resolve_hostnames && last.is_none_or(|at| now >= at + self.timers.ping_period) {
            self.resolver.asked_at.insert(host.to_string(), now);
            self.ask_for_name(host);
        }
    }

    pub(super) fn wait_for_name(&mut self, host: &str, what: Waiting) {
        self.resolver.waiting.push((host.to_string(), what));
    }

    pub(super) fn resolved(&mut self, host: &str, ip: Option<String>, now: Ms) {
        self.resolver.asked.remove(host);
        match ip {
            Some(ip) => self.name_found(host, ip, now),
            None if self.resolver.known.contains_key(host) => {
                // What is known is better than nothing; it is asked for again.
            }
            None => {
                self.resolver.failed.insert(host.to_string());
            }
        }
        let (ready, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.resolver.waiting).into_iter().partition(|(name, _)| name == host);
        self.resolver.waiting = rest;
        for (_, what) in ready {
            match what {
                Waiting::Command { client, argv, protocol } => self.command(client, argv, protocol, now),
                Waiting::Hello { text, direct } => self.hello(&text, direct, now),
            }
        }
        self.resolver.failed.remove(host);
    }

    /// A name's address, perhaps a new one: whoever goes by that name moves there.
    fn name_found(&mut self, host: &str, ip: String, now: Ms) {
        if self.resolver.known.get(host) == Some(&ip) {
            return;
        }
        for master in &mut self.masters {
            for target in master.targets() {
                if let Some(i) = master.instance_mut(&target).filter(|i| i.addr.host == host) {
                    i.addr.ip = ip.clone();
                    master.due = now;
                }
            }
        }
        let moved: Vec<LinkKey> =
            self.links.iter().filter(|(_, l)| l.addr.host == host).map(|(key, _)| *key).collect();
        for key in moved {
            let Some(link) = self.links.get_mut(&key) else { continue };
            link.addr.ip = ip.clone();
            if link.up().is_none() {
                self.close_link(key, now);
            }
        }
        self.resolver.known.insert(host.to_string(), ip);
    }

    /// Takes a master over from the file. A name that has no address yet is looked up until it has one.
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

    fn resolve_or_keep(&mut self, host: &str, port: u16) -> Addr {
        self.resolve(host, port).unwrap_or_else(|_| Addr::of_ip(host, port))
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

    /// Adds a replica; none if one of that name is known or it is the master itself.
    pub(super) fn add_replica(&mut self, m: usize, addr: Addr, now: Ms) -> Option<Target> {
        let name = addr.name(self.globals.announce_hostnames);
        let known = self.masters[m].replicas.values().any(|r| r.me.addr.same(&addr));
        if known || self.masters[m].replicas.contains_key(&name) {
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
