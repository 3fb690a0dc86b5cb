//! What the model keeps in its file, in the form that both kinds of Sentinel read and write.
//! It is written as a whole, and waited for, wherever the original does so.

use redoubt_sentinel::core::config::Config;
use redoubt_sentinel::core::model::{Addr, FailoverState, Role};
use redoubt_sentinel::core::timers::Ms;
use redoubt_sentinel::core::{Output, StateLine};

use super::{Classic, Instance, Master, Peer, Reconf, Replica, Target};

impl Classic {
    pub(super) fn load(&mut self, config: Config, now: Ms) {
        for entry in config.masters {
            let number = self.fresh_id();
            let me = self.new_instance(Addr::of_ip(&entry.host, entry.port), Role::Master, now);
            self.attach(me.link, number, Target::Master);
            self.epoch = self.epoch.max(entry.config_epoch).max(entry.leader_epoch);
            self.masters.push(Master {
                number,
                cfg: entry.cfg,
                me,
                replicas: Vec::new(),
                peers: Vec::new(),
                o_down: false,
                config_epoch: entry.config_epoch,
                leader: None,
                leader_epoch: entry.leader_epoch,
                failover: None,
                failover_epoch: 0,
                failover_at: 0,
                state_at: 0,
                forced: false,
            });
            let m = self.masters.len() - 1;
            for (host, port) in entry.replicas {
                self.add_replica(m, Addr::of_ip(&host, port), now);
            }
            for (host, port, run_id) in entry.sentinels {
                self.add_peer(m, &run_id, Addr::of_ip(&host, port), now);
            }
        }
    }

    pub(super) fn new_instance(&mut self, addr: Addr, role: Role, now: Ms) -> Instance {
        Instance {
            addr,
            link: self.new_link(now),
            run_id: None,
            s_down_since: None,
            was_down_at: 0,
            role,
            role_at: now,
            info_at: 0,
            published_at: now,
        }
    }

    /// Adds a replica unless it is known; whether it was not.
    pub(super) fn add_replica(&mut self, m: usize, addr: Addr, now: Ms) -> bool {
        if self.masters[m].replicas.iter().any(|r| r.me.addr.same(&addr)) {
            return false;
        }
        let me = self.new_instance(addr.clone(), Role::Slave, now);
        self.attach(me.link, self.masters[m].number, Target::Replica(addr));
        self.masters[m].replicas.push(Replica {
            me,
            priority: 100,
            offset: 0,
            master_host: None,
            master_port: 0,
            link_up: false,
            link_down_ms: 0,
            conf_at: now,
            promoted: false,
            reconf: Reconf::None,
        });
        true
    }

    /// Adds a Sentinel; one that watches other masters too is reached over the link it has.
    pub(super) fn add_peer(&mut self, m: usize, run_id: &str, addr: Addr, now: Ms) {
        let known = self.masters.iter().flat_map(|o| &o.peers);
        let shared = known
            .filter(|p| p.me.run_id.as_deref() == Some(run_id) && p.me.addr.same(&addr))
            .map(|p| p.me.link)
            .next();
        let mut me = self.new_instance(addr, Role::Master, now);
        if let Some(link) = shared {
            self.links.remove(&me.link);
            me.link = link;
        }
        me.run_id = Some(run_id.to_string());
        self.attach(me.link, self.masters[m].number, Target::Peer(run_id.to_string()));
        let peer = Peer { me, says_down: false, answered_at: 0, leader: None, leader_epoch: 0 };
        self.masters[m].peers.push(peer);
    }

    /// Forgets the Sentinel of that id for this master; whether it was known.
    pub(super) fn remove_peer(&mut self, m: usize, run_id: &str) -> bool {
        let master = &mut self.masters[m];
        let number = master.number;
        let Some(at) = master.peers.iter().position(|p| p.me.run_id.as_deref() == Some(run_id)) else {
            return false;
        };
        let peer = master.peers.remove(at);
        self.release(&peer.me, number);
        true
    }

    /// Writes the state. Nothing of what follows leaves before it is on disk.
    pub(super) fn flush(&mut self) {
        self.writes += 1;
        let mut lines = Vec::new();
        let mut line = |key: String, values: String| {
            lines.push(StateLine { text: format!("{key} {values}"), key, only_if_present: false });
        };
        line("sentinel myid".into(), self.id.clone());
        for master in &self.masters {
            let name = &master.cfg.name;
            let of = |option: &str| format!("sentinel {option} {name}");
            let addr = master.current_addr();
            line(of("monitor"), format!("{} {} {}", addr.ip, addr.port, master.cfg.quorum));
            line(of("down-after-milliseconds"), master.cfg.down_after_ms.to_string());
            line(of("failover-timeout"), master.cfg.failover_timeout_ms.to_string());
            line(of("parallel-syncs"), master.cfg.parallel_syncs.to_string());
            line(of("config-epoch"), master.config_epoch.to_string());
            line(of("leader-epoch"), master.leader_epoch.to_string());
            let switched = master.failover.is_some_and(|s| s >= FailoverState::ReconfSlaves);
            for replica in &master.replicas {
                let addr = if switched && replica.promoted { &master.me.addr } else { &replica.me.addr };
                line(of("known-replica"), format!("{} {}", addr.ip, addr.port));
            }
            for peer in &master.peers {
                let (addr, id) = (&peer.me.addr, peer.me.run_id.as_deref().unwrap_or_default());
                line(of("known-sentinel"), format!("{} {} {id}", addr.ip, addr.port));
            }
        }
        line("sentinel current-epoch".into(), self.epoch.to_string());
        self.out.push_back(Output::Persist { seq: self.writes, lines });
    }
}
