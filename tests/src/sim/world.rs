//! The world of one run: Sentinels, nodes and the network between them, on virtual time.
//!
//! [`World::run`] lets time pass: the soonest of what is on its way and of what Sentinels wait for happens,
//! and the clock stands at that moment. Between calls the caller changes what it likes: kills, cuts,
//! asks. The rules that must never be broken are checked as things happen (see `checks`); the first
//! breach stops the world.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use redoubt_sentinel::core::Input;
use redoubt_wire::resp::reply::Protocol;
use redoubt_wire::resp::value::Value;
use std::collections::BTreeMap;
use std::io::Write;

use super::checks::{Checks, Rule, Violation};
use super::net::{Command, ConnKey, Conns, Host, Way, Ways};
use super::node::{Life, Node};
use super::plan::{MAX_HOSTS, Plan};
use super::sentinel::Sentinel;
use super::time::{Clock, MS, Queue, SECOND, Us};

/// What will happen.
#[derive(Debug)]
pub(super) enum Event {
    /// An attempt to connect arrives.
    Syn(ConnKey),
    /// A message arrives.
    Deliver(ConnKey, Way),
    /// A Sentinel's write ends.
    Written { sentinel: usize, life: u32 },
    /// The name server answers.
    LookedUp { sentinel: usize, life: u32, host: String, node: Option<usize> },
}

/// An event that a Sentinel published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// When.
    pub at: Us,
    /// By which Sentinel.
    pub by: usize,
    /// Its name: `+sdown`.
    pub event: String,
    /// Its text.
    pub text: String,
}

/// See the module's head.
#[derive(Debug)]
pub struct World {
    /// The time, in microseconds since the world began.
    pub now: Us,
    /// What this world was made of; faults change parts of it.
    pub plan: Plan,
    /// The data nodes; the first of each group began as its master.
    pub nodes: Vec<Node>,
    /// The Sentinels.
    pub sentinels: Vec<Sentinel>,
    /// Which ways are open. Call [`World::ways_changed`] after a change.
    pub ways: Ways,
    /// Of 10,000 messages, how many TCP has to send again.
    pub loss: u32,
    /// The protocol in which [`World::ask`] is answered.
    pub protocol: Protocol,
    /// What Sentinels published, if it is kept.
    pub history: Option<Vec<Published>>,
    /// Prints what happens as it happens.
    pub tracing: bool,
    /// Prints the Sentinels' logs as well.
    pub verbose: bool,
    /// What was observed so far.
    pub checks: Checks,
    /// Bytes of writes that were acknowledged and that no master has any more, since the node which
    /// took them became the replica of one that was promoted without them.
    pub lost_writes: u64,
    /// The first rule that was broken.
    pub violation: Option<Violation>,
    /// A moment at which a fault would hurt most: this Sentinel has just sent this node its promotion.
    pub critical: Option<(usize, usize)>,
    pub(super) conns: Conns,
    /// The connections that each process has accepted.
    pub(super) accepted: Vec<Vec<ConnKey>>,
    pub(super) queue: Queue<Event>,
    pub(super) rng: Xoshiro256PlusPlus,
    pub(super) replies: BTreeMap<u64, Value>,
    pub(super) clients: u64,
}

/// Time before the world begins, so that what has been for long can have begun then.
const BEGIN: Us = 3600 * SECOND;

impl World {
    /// The deployment of a plan, all of it just started.
    ///
    /// # Panics
    /// If the plan has more hosts than [`MAX_HOSTS`].
    pub fn new(plan: Plan) -> World {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(plan.seed);
        let hosts = plan.sentinels.len() + plan.nodes();
        assert!(hosts <= MAX_HOSTS, "{hosts} hosts: a world has room for {MAX_HOSTS}");
        let per_group = plan.replicas + 1;
        let nodes = (0..plan.nodes())
            .map(|n| {
                let group = n / per_group;
                let of = (n % per_group != 0).then_some(group * per_group);
                Node::new(group, of, rng.random_range(0..=plan.lag), n as u64 + 1)
            })
            .collect();
        let clocks: Vec<Clock> =
            plan.sentinels.iter().map(|_| Clock::new(BEGIN, rng.random_range(-200..=200))).collect();
        let sentinels = plan.sentinels.iter().zip(clocks).map(|(kind, clock)| Sentinel::new(*kind, clock));
        let mut world = World {
            now: BEGIN,
            sentinels: sentinels.collect(),
            nodes,
            ways: Ways::new(hosts),
            loss: plan.loss,
            protocol: Protocol::Resp2,
            history: None,
            tracing: false,
            verbose: false,
            checks: Checks::new(plan.sentinels.len(), plan.masters),
            lost_writes: 0,
            violation: None,
            critical: None,
            conns: Conns::default(),
            accepted: vec![Vec::new(); hosts],
            queue: Queue::new(),
            rng,
            replies: BTreeMap::new(),
            clients: 0,
            plan,
        };
        for s in 0..world.sentinels.len() {
            let digit = |_| char::from_digit(world.rng.random_range(0..16), 16);
            world.sentinels[s].id = (0..40).filter_map(digit).collect();
        }
        world.replication_changed();
        world
    }

    /// Starts all Sentinels.
    pub fn start(&mut self) {
        (0..self.sentinels.len()).for_each(|s| self.start_sentinel(s));
    }

    /// Lets time pass, in microseconds.
    pub fn run(&mut self, for_us: Us) {
        self.run_until(for_us, |_| false);
    }

    /// Lets time pass until `done`, at most `for_us`. Whether it was done.
    pub fn run_until(&mut self, for_us: Us, done: impl Fn(&World) -> bool) -> bool {
        let until = self.now + for_us;
        loop {
            if done(self) {
                return true;
            }
            if self.violation.is_some() {
                return false;
            }
            let event_at = self.queue.next_at();
            let (mut sleeper, mut wake_at) = (0, Us::MAX);
            for (s, sentinel) in self.sentinels.iter().enumerate() {
                if sentinel.wake < wake_at {
                    (sleeper, wake_at) = (s, sentinel.wake);
                }
            }
            if event_at.min(wake_at) > until {
                self.now = until;
                return done(self);
            }
            // What has arrived is taken in before a timer fires.
            if event_at <= wake_at {
                self.now = self.now.max(event_at);
                if let Some(event) = self.queue.pop() {
                    self.happen(event);
                }
            } else {
                self.now = self.now.max(wake_at);
                self.wake(sleeper);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Syn(key) => self.syn(key),
            Event::Deliver(key, way) => self.deliver(key, way),
            Event::Written { sentinel, life } if self.sentinels[sentinel].lives == life => {
                self.write_ends(sentinel);
            }
            Event::LookedUp { sentinel, life, host, node } if self.sentinels[sentinel].lives == life => {
                let ip = node.map(|n| self.node_ip(n));
                self.input(sentinel, Input::Resolved { host, ip });
            }
            Event::Written { .. } | Event::LookedUp { .. } => {}
        }
    }

    /// Whether a host's process takes in what comes.
    pub(super) fn runs(&self, host: Host) -> bool {
        match self.sentinels.get(host) {
            Some(sentinel) => sentinel.runs(),
            None => self.nodes[host - self.sentinels.len()].life == Life::Running,
        }
    }

    /// Whether a host accepts connections: its process may be stopped, but there is one.
    pub(super) fn listens(&self, host: Host) -> bool {
        let life = match self.sentinels.get(host) {
            Some(sentinel) => sentinel.life,
            None => self.nodes[host - self.sentinels.len()].life,
        };
        life != Life::Dead
    }

    /// Commands arrive at a process that runs.
    pub(super) fn serve(&mut self, key: ConnKey, commands: Vec<Command>) {
        let Some(to) = self.conns.get(key).map(|c| c.to) else { return };
        match to.checked_sub(self.sentinels.len()) {
            None => self.serve_sentinel(to, key, commands),
            Some(n) => self.serve_node(n, key, commands),
        }
    }

    /// The host of a node.
    pub fn host_of_node(&self, n: usize) -> Host {
        self.sentinels.len() + n
    }

    /// The IP of a Sentinel.
    pub fn sentinel_ip(&self, s: usize) -> String {
        format!("10.1.0.{s}")
    }

    /// The IP of a node.
    pub fn node_ip(&self, n: usize) -> String {
        let per_group = self.plan.replicas + 1;
        format!("10.0.{}.{}", n / per_group, n % per_group)
    }

    /// What others call a node: its name or its IP.
    pub fn node_host_name(&self, n: usize) -> String {
        if self.plan.hostnames { format!("node{n}.sim") } else { self.node_ip(n) }
    }

    /// The node that goes by this name or IP.
    pub fn node_at(&self, host: &str) -> Option<usize> {
        let per_group = self.plan.replicas + 1;
        let n = match host.strip_prefix("10.0.") {
            Some(rest) => {
                let (group, at) = rest.split_once('.')?;
                let at = at.parse().ok().filter(|at: &usize| *at < per_group)?;
                group.parse::<usize>().ok()? * per_group + at
            }
            None => host.strip_prefix("node")?.strip_suffix(".sim")?.parse().ok()?,
        };
        (n < self.nodes.len()).then_some(n)
    }

    /// The host with this IP.
    pub(super) fn host_at(&self, ip: &str) -> Option<Host> {
        match ip.strip_prefix("10.1.0.") {
            Some(s) => s.parse().ok().filter(|s| *s < self.sentinels.len()),
            None => self.node_at(ip).map(|n| self.host_of_node(n)),
        }
    }

    /// A node's name in a trace.
    pub fn node_name(&self, n: usize) -> String {
        format!("node {n} ({})", self.node_host_name(n))
    }

    /// A Sentinel's name in a trace.
    pub fn sentinel_name(&self, s: usize) -> String {
        match self.sentinels[s].kind {
            super::plan::Kind::Redoubt => format!("Sentinel {s}"),
            super::plan::Kind::Classic => format!("classic Sentinel {s}"),
        }
    }

    /// Prints a line if lines are asked for; only then is it made.
    pub(super) fn trace(&self, line: impl FnOnce(&World) -> String) {
        if self.tracing {
            let line = format!("{:>12.3} ms  {}", (self.now - BEGIN) as f64 / MS as f64, line(self));
            if writeln!(std::io::stdout(), "{line}").is_err() {
                // Nobody reads on.
                std::process::exit(0);
            }
        }
    }

    /// A rule was broken: the world stops.
    pub(super) fn violated(&mut self, rule: Rule, text: String) {
        if self.violation.is_none() {
            self.trace(|_| format!("BROKEN {rule:?}: {text}"));
            self.violation = Some(Violation { at_ms: self.age() / MS, rule, text });
        }
    }

    /// How long the world has been, in microseconds.
    pub fn age(&self) -> Us {
        self.now - BEGIN
    }

    /// A Sentinel published an event.
    pub(super) fn published(&mut self, s: usize, event: &str, text: String) {
        self.trace(|w| format!("{} {event} {text}", w.sentinel_name(s)));
        self.check_event(s, event, &text);
        let at = self.now;
        if let Some(history) = self.history.as_mut() {
            history.push(Published { at, by: s, event: event.to_string(), text });
        }
    }

    /// The node that a Sentinel tells clients is the master.
    pub fn told(&mut self, s: usize, m: usize) -> Option<usize> {
        let client = self.command(s, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", &format!("m{m}")]);
        let reply = self.replies.remove(&client)?;
        let host = reply.as_slice()?.first()?.as_bytes()?;
        self.node_at(std::str::from_utf8(host).ok()?)
    }

    /// Whether every Sentinel tells the same master for each name, and every node is in its place.
    ///
    /// # Errors
    /// What is not as it should be.
    pub fn agreed(&mut self) -> Result<(), String> {
        let per_group = self.plan.replicas + 1;
        for m in 0..self.plan.masters {
            let group = m * per_group..(m + 1) * per_group;
            let masters: Vec<usize> = group.clone().filter(|n| self.nodes[*n].of.is_none()).collect();
            let [master] = masters.as_slice() else {
                return Err(format!("m{m} has the masters {masters:?}"));
            };
            let astray = |n: &usize| n != master && (self.nodes[*n].of != Some(*master) || !self.link_up(*n));
            if let Some(n) = group.clone().find(astray) {
                let of = self.nodes[n].of;
                return Err(format!("m{m}: node {n} follows {of:?}, link up: {}", self.link_up(n)));
            }
            for s in 0..self.sentinels.len() {
                let told = self.told(s, m);
                if told != Some(*master) {
                    let name = self.sentinel_name(s);
                    return Err(format!("m{m}: node {master} is the master, {name} tells {told:?}"));
                }
            }
        }
        Ok(())
    }
}
