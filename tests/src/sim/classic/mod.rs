//! A model of redis-sentinel 7.2, to stand in one quorum with Sentinels of this project.
//!
//! It behaves as the original does where others can see it: everything happens in ticks of 52 to
//! 100 ms, one step of a failover in each; nodes are asked every one and ten seconds; votes, state and
//! the moments at which state is written are the original's, and so are its habits: after a vote or
//! a failed attempt it waits for twice the failover timeout, and a promotion is seen only in INFO. It
//! takes the same inputs and gives the same outputs as [`redoubt_sentinel::core::Core`]. What no
//! other Sentinel and no node can see (scripts, most commands) is not in it.

mod failover;
mod hello;
mod judge;
mod links;
mod state;

use std::collections::{BTreeMap, VecDeque};

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use redoubt_sentinel::core::config::{Config, MasterConfig};
use redoubt_sentinel::core::link::ConnId;
use redoubt_sentinel::core::model::{Addr, FailoverState, Role};
use redoubt_sentinel::core::timers::{Ms, Timers};
use redoubt_sentinel::core::{ClientId, Input, Output};
use redoubt_wire::resp::reply::Reply;

use links::{Link, LinkId};

/// See the module's head.
#[derive(Debug)]
pub struct Classic {
    id: String,
    epoch: u64,
    port: u16,
    masters: Vec<Master>,
    links: BTreeMap<LinkId, Link>,
    conns: BTreeMap<ConnId, LinkId>,
    timers: Timers,
    rng: Xoshiro256PlusPlus,
    out: VecDeque<Output>,
    next_tick: Ms,
    last_tick: Ms,
    tilt_since: Option<Ms>,
    next_id: u64,
    writes: u64,
}

/// What a node and a Sentinel have in common.
#[derive(Debug)]
struct Instance {
    addr: Addr,
    link: LinkId,
    run_id: Option<String>,
    s_down_since: Option<Ms>,
    /// When it last became down, which clearing the flag does not forget.
    was_down_at: Ms,
    role: Role,
    role_at: Ms,
    info_at: Ms,
    published_at: Ms,
}

/// How far a replica is with following the promoted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reconf {
    None,
    Sent(Ms),
    InProgress,
    Done,
}

#[derive(Debug)]
struct Replica {
    me: Instance,
    priority: i64,
    offset: u64,
    master_host: Option<String>,
    master_port: u16,
    link_up: bool,
    link_down_ms: Ms,
    conf_at: Ms,
    promoted: bool,
    reconf: Reconf,
}

#[derive(Debug)]
struct Peer {
    me: Instance,
    says_down: bool,
    answered_at: Ms,
    leader: Option<String>,
    leader_epoch: u64,
}

#[derive(Debug)]
struct Master {
    number: u64,
    cfg: MasterConfig,
    me: Instance,
    replicas: Vec<Replica>,
    peers: Vec<Peer>,
    o_down: bool,
    config_epoch: u64,
    leader: Option<String>,
    leader_epoch: u64,
    failover: Option<FailoverState>,
    failover_epoch: u64,
    /// When the last attempt began, for the pause before the next one.
    failover_at: Ms,
    state_at: Ms,
    forced: bool,
}

/// One of the instances that belong to a master.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Target {
    Master,
    Replica(Addr),
    Peer(String),
}

impl Master {
    fn instance(&self, target: &Target) -> Option<&Instance> {
        match target {
            Target::Master => Some(&self.me),
            Target::Replica(addr) => self.replicas.iter().map(|r| &r.me).find(|i| i.addr == *addr),
            Target::Peer(id) => {
                self.peers.iter().map(|p| &p.me).find(|i| i.run_id.as_deref() == Some(id.as_str()))
            }
        }
    }

    fn instance_mut(&mut self, target: &Target) -> Option<&mut Instance> {
        match target {
            Target::Master => Some(&mut self.me),
            Target::Replica(addr) => self.replicas.iter_mut().map(|r| &mut r.me).find(|i| i.addr == *addr),
            Target::Peer(id) => {
                self.peers.iter_mut().map(|p| &mut p.me).find(|i| i.run_id.as_deref() == Some(id.as_str()))
            }
        }
    }

    fn targets(&self) -> Vec<Target> {
        let replicas = self.replicas.iter().map(|r| Target::Replica(r.me.addr.clone()));
        let peers = self.peers.iter().map(|p| Target::Peer(p.me.run_id.clone().unwrap_or_default()));
        std::iter::once(Target::Master).chain(replicas).chain(peers).collect()
    }

    fn promoted(&self) -> Option<&Replica> {
        self.replicas.iter().find(|r| r.promoted)
    }

    /// The address that others are told.
    fn current_addr(&self) -> &Addr {
        match self.failover {
            Some(state) if state >= FailoverState::ReconfSlaves => {
                self.promoted().map_or(&self.me.addr, |r| &r.me.addr)
            }
            _ => &self.me.addr,
        }
    }
}

impl Classic {
    /// A Sentinel that starts from this configuration.
    pub fn new(config: Config, timers: Timers, seed: u64, now: Ms) -> Classic {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let fresh: String = (0..40).filter_map(|_| char::from_digit(rng.random_range(0..16), 16)).collect();
        let is_new = config.globals.my_id.is_none();
        let mut classic = Classic {
            id: config.globals.my_id.clone().unwrap_or(fresh),
            epoch: config.globals.current_epoch,
            port: config.globals.port,
            masters: Vec::new(),
            links: BTreeMap::new(),
            conns: BTreeMap::new(),
            timers,
            rng,
            out: VecDeque::new(),
            next_tick: now + 1,
            last_tick: now,
            tilt_since: None,
            next_id: 0,
            writes: 0,
        };
        classic.load(config, now);
        if is_new {
            classic.flush();
        }
        classic
    }

    /// Its id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The epoch in which it stands for election for a master, or leads its failover.
    pub fn failover_epoch(&self, master: &str) -> Option<u64> {
        let master = self.masters.iter().find(|m| m.cfg.name == master)?;
        master.failover.map(|_| master.failover_epoch)
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When its timer fires.
    pub fn next_tick(&self) -> Ms {
        self.next_tick
    }

    /// Takes in what happened. Most of it waits for the next tick to be acted upon.
    pub fn handle(&mut self, now: Ms, input: Input) {
        match input {
            Input::Connected { conn, local_ip } => self.connected(conn, local_ip),
            Input::Disconnected { conn, .. } | Input::Refused { conn } => self.disconnected(conn),
            Input::Reply { conn, value } => self.reply(conn, &value, now),
            Input::Command { client, argv, protocol } => {
                self.command(client, &argv, Reply::new(protocol), now);
            }
            // It waits for its writes, looks up no names and runs no scripts.
            _ => {}
        }
    }

    /// The timer: everything that is due, one step each.
    pub fn tick(&mut self, now: Ms) {
        let gap = now as i64 - self.last_tick as i64;
        if gap < 0 || gap > self.timers.tilt_trigger as i64 {
            self.tilt_since = Some(now);
            self.event_text("+tilt", "#tilt mode entered".into());
        }
        self.last_tick = now;
        for m in 0..self.masters.len() {
            for target in self.masters[m].targets() {
                self.reconnect(m, &target, now);
                self.probe(m, &target, now);
                if let Some(since) = self.tilt_since {
                    if now.saturating_sub(since) < self.timers.tilt_period {
                        continue;
                    }
                    self.tilt_since = None;
                    self.event_text("-tilt", "#tilt mode exited".into());
                }
                self.judge(m, &target, now);
                if target == Target::Master {
                    self.judge_objectively(m);
                    if self.start_if_due(m, now) {
                        self.ask_peers(m, true, now);
                    }
                    self.failover_step(m, now);
                    self.ask_peers(m, false, now);
                }
            }
            if self.masters[m].failover == Some(FailoverState::UpdateConfig) {
                self.switch_to_promoted(m, now);
            }
        }
        let hz = self.rng.random_range(10..20);
        self.next_tick = now + 1000 / hz;
    }

    fn command(&mut self, client: ClientId, argv: &[Vec<u8>], mut reply: Reply, now: Ms) {
        let words: Vec<String> = argv.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
        let lower: Vec<String> = words.iter().take(2).map(|w| w.to_ascii_lowercase()).collect();
        match (lower.iter().map(String::as_str).collect::<Vec<_>>().as_slice(), &words[..]) {
            (["publish", _], [_, _, text]) => {
                self.hello(text, now);
                reply.integer(1);
            }
            (["sentinel", "is-master-down-by-addr"], [_, _, host, port, epoch, run_id]) => {
                self.is_master_down(&mut reply, host, port, epoch, run_id, now);
            }
            (["sentinel", "get-master-addr-by-name"], [_, _, name]) => {
                match self.masters.iter().find(|m| m.cfg.name == *name) {
                    Some(master) => {
                        let addr = master.current_addr();
                        reply.array(2);
                        reply.bulk(addr.ip.as_bytes());
                        reply.bulk(addr.port.to_string().as_bytes());
                    }
                    None => reply.null_array(),
                }
            }
            (["sentinel", "failover"], [_, _, name]) => self.fail_over(&mut reply, name, now),
            _ => reply.error("ERR not in this model"),
        }
        self.out.push_back(Output::Reply { client, bytes: reply.buf });
    }

    fn event(&mut self, name: &str, m: usize, target: &Target) {
        let text = self.describe(m, target);
        self.event_text(name, text);
    }

    fn event_text(&mut self, name: &str, message: String) {
        self.out.push_back(Output::Publish { channel: name.to_string(), message });
    }

    fn describe(&self, m: usize, target: &Target) -> String {
        let master = &self.masters[m];
        let own = format!("{} {} {}", master.cfg.name, master.me.addr.ip, master.me.addr.port);
        match target {
            Target::Master => format!("master {own}"),
            Target::Replica(addr) => {
                format!("slave {} {} {} @ {own}", addr.name(false), addr.ip, addr.port)
            }
            Target::Peer(id) => format!("sentinel {id} @ {own}"),
        }
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
