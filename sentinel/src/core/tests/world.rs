//! A deployment on virtual time: Sentinels of the real state machine, data nodes and a network
//! that are models. Everything random comes from one seed, so a run that fails replays exactly.
//!
//! While it runs it checks what must never be broken: one vote per Sentinel and epoch, also across
//! restarts; one leader per epoch; one address per config epoch; no failover without ODOWN; no promotion
//! by anybody but an elected leader.

use std::collections::{BTreeMap, VecDeque};

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use redoubt_wire::resp::reply::Protocol;
use redoubt_wire::resp::value::{Value, decode};

use crate::core::config::Config;
use crate::core::link::ConnId;
use crate::core::timers::Ms;
use crate::core::{ClientId, Core, Input, Output, StateLine};

const START_MS: Ms = 1_000_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Node(usize),
    Sentinel(usize),
}

/// A data node.
pub(super) struct Node {
    pub(super) alive: bool,
    pub(super) stopped: bool,
    /// The node it replicates; none for a master.
    pub(super) master: Option<usize>,
    since: Ms,
    link_lost_at: Option<Ms>,
    pub(super) offset: u64,
    pub(super) priority: u32,
    restarts: u32,
    group: u32,
    /// What a stopped node will do when it goes on.
    held: VecDeque<(usize, ConnId, Vec<Vec<u8>>)>,
}

/// A Sentinel: its state machine while it lives, and its disk.
pub(super) struct Sentinel {
    pub(super) core: Option<Core>,
    pub(super) stopped: bool,
    disk: Vec<StateLine>,
    writing: Option<(u64, Vec<StateLine>, u32)>,
    group: u32,
    lives: u32,
    /// Published events with their time, of all lives.
    pub(super) events: Vec<(Ms, String, String)>,
    held: VecDeque<Input>,
    epoch_stood_for: u64,
    elected: bool,
    odown: bool,
}

struct Conn {
    to: End,
    group_ok: bool,
    up: bool,
    subscribed: bool,
    queued: Option<Vec<Vec<Vec<u8>>>>,
    last_out: Ms,
    last_in: Ms,
}

#[derive(Debug)]
enum Event {
    /// Something arrives at a Sentinel (of that life).
    In(usize, u32, Input),
    /// A connection attempt reaches its target.
    Arrive(usize, ConnId),
    /// Commands reach the far end.
    Out(usize, ConnId, Vec<Vec<Vec<u8>>>),
    /// A Sentinel's write ends.
    Written(usize, u32, u64),
}

pub(super) struct World {
    pub(super) now: Ms,
    pub(super) nodes: Vec<Node>,
    pub(super) sentinels: Vec<Sentinel>,
    conns: BTreeMap<(usize, ConnId), Conn>,
    queue: BTreeMap<(Ms, u64), Event>,
    next: u64,
    pub(super) rng: Xoshiro256PlusPlus,
    pub(super) max_delay_ms: Ms,
    pub(super) max_write_ms: Ms,
    pub(super) options: Vec<String>,
    asked_by: BTreeMap<ClientId, (usize, ConnId, Option<u64>)>,
    votes: BTreeMap<(usize, u64), String>,
    leaders: BTreeMap<u64, usize>,
    addresses: BTreeMap<(String, u64), String>,
    pub(super) promotions: Vec<(Ms, usize)>,
    pub(super) replies: BTreeMap<u64, Vec<u8>>,
}

impl World {
    /// `nodes` data nodes, the first a master, watched by `sentinels` Sentinels, all just started.
    pub(super) fn new(seed: u64, nodes: usize, sentinels: usize, options: &[&str]) -> World {
        let node = |n: usize| Node {
            alive: true,
            stopped: false,
            master: (n > 0).then_some(0),
            since: START_MS - 60_000,
            link_lost_at: None,
            offset: 1000,
            priority: 100,
            restarts: 0,
            group: 0,
            held: VecDeque::new(),
        };
        let mut world = World {
            now: START_MS,
            nodes: (0..nodes).map(node).collect(),
            sentinels: Vec::new(),
            conns: BTreeMap::new(),
            queue: BTreeMap::new(),
            next: 0,
            rng: Xoshiro256PlusPlus::seed_from_u64(seed),
            max_delay_ms: 2,
            max_write_ms: 5,
            options: options.iter().map(|o| o.to_string()).collect(),
            asked_by: BTreeMap::new(),
            votes: BTreeMap::new(),
            leaders: BTreeMap::new(),
            addresses: BTreeMap::new(),
            promotions: Vec::new(),
            replies: BTreeMap::new(),
        };
        for s in 0..sentinels {
            world.sentinels.push(Sentinel {
                core: None,
                stopped: false,
                disk: Vec::new(),
                writing: None,
                group: 0,
                lives: 0,
                events: Vec::new(),
                held: VecDeque::new(),
                epoch_stood_for: 0,
                elected: false,
                odown: false,
            });
            world.start_sentinel(s);
        }
        world
    }

    pub(super) fn node_ip(n: usize) -> String {
        format!("10.0.0.{n}")
    }

    /// Starts a Sentinel from what is on its disk.
    pub(super) fn start_sentinel(&mut self, s: usize) {
        let mut lines: Vec<String> = self.sentinels[s].disk.iter().map(|l| l.text.clone()).collect();
        if lines.is_empty() {
            let quorum = self.sentinels.len().max(3) / 2 + 1;
            lines = vec![format!("sentinel monitor m {} 6379 {quorum}", Self::node_ip(0))];
            lines.push("sentinel down-after-milliseconds m 1000".into());
            lines.extend(self.options.iter().map(|o| format!("sentinel {o}")));
        }
        let words = |l: &String| l.split(' ').skip(1).map(str::to_string).collect::<Vec<_>>();
        let directives: Vec<((), Vec<String>)> =
            lines.iter().filter(|l| l.starts_with("sentinel")).map(|l| ((), words(l))).collect();
        let mut config = Config::new(|_| true);
        config.load(&directives).expect("what a Sentinel writes it can read");
        config.globals.port = 26379;
        config.globals.loglevel = "notice".into();
        let seed = self.rng.random();
        let sentinel = &mut self.sentinels[s];
        sentinel.lives += 1;
        sentinel.elected = false;
        sentinel.odown = false;
        sentinel.core = Some(Core::new(config, BTreeMap::new(), seed, self.now));
        self.drain(s);
    }

    /// A Sentinel dies; a write under way may or may not have reached the disk.
    pub(super) fn crash_sentinel(&mut self, s: usize) {
        self.sentinels[s].core = None;
        self.sentinels[s].held.clear();
        self.sentinels[s].stopped = false;
        if let Some((_, lines, _)) = self.sentinels[s].writing.take()
            && self.rng.random()
        {
            self.sentinels[s].disk = lines;
        }
        let broken: Vec<(usize, ConnId)> = self
            .conns
            .iter()
            .filter(|((from, _), c)| *from == s || c.to == End::Sentinel(s))
            .map(|(k, _)| *k)
            .collect();
        broken.into_iter().for_each(|(from, conn)| self.break_conn(from, conn));
    }

    pub(super) fn kill_node(&mut self, n: usize) {
        self.nodes[n].alive = false;
        self.nodes[n].held.clear();
        let of_node: Vec<(usize, ConnId)> =
            self.conns.iter().filter(|(_, c)| c.to == End::Node(n)).map(|(k, _)| *k).collect();
        of_node.into_iter().for_each(|(from, conn)| self.break_conn(from, conn));
    }

    pub(super) fn start_node(&mut self, n: usize) {
        let node = &mut self.nodes[n];
        node.alive = true;
        node.stopped = false;
        node.restarts += 1;
        node.since = self.now;
    }

    pub(super) fn stop_node(&mut self, n: usize) {
        self.nodes[n].stopped = true;
    }

    pub(super) fn continue_node(&mut self, n: usize) {
        self.nodes[n].stopped = false;
        for (s, conn, command) in std::mem::take(&mut self.nodes[n].held) {
            self.at_node(n, s, conn, command);
        }
    }

    pub(super) fn continue_sentinel(&mut self, s: usize) {
        self.sentinels[s].stopped = false;
        while let Some(input) = self.sentinels[s].held.pop_front() {
            self.input(s, input);
        }
    }

    /// Puts Sentinels and nodes into groups that cannot reach each other; none heals everything.
    pub(super) fn partition(&mut self, nodes: &[usize], sentinels: &[usize]) {
        self.nodes.iter_mut().enumerate().for_each(|(n, x)| x.group = u32::from(nodes.contains(&n)));
        self.sentinels.iter_mut().enumerate().for_each(|(s, x)| x.group = u32::from(sentinels.contains(&s)));
        let now_cut: Vec<(usize, ConnId)> =
            self.conns.iter().filter(|((s, _), c)| !self.reach(*s, c.to)).map(|(k, _)| *k).collect();
        for key in now_cut {
            if let Some(conn) = self.conns.get_mut(&key) {
                conn.group_ok = false;
            }
        }
        // What was cut and can be reached again answers with a reset.
        let healed: Vec<(usize, ConnId)> = self
            .conns
            .iter()
            .filter(|((s, _), c)| !c.group_ok && self.reach(*s, c.to))
            .map(|(k, _)| *k)
            .collect();
        healed.into_iter().for_each(|(s, conn)| self.break_conn(s, conn));
    }

    fn group(&self, end: End) -> u32 {
        match end {
            End::Node(n) => self.nodes[n].group,
            End::Sentinel(s) => self.sentinels[s].group,
        }
    }

    fn reach(&self, s: usize, to: End) -> bool {
        self.sentinels[s].group == self.group(to)
    }

    fn delay(&mut self) -> Ms {
        let most = self.max_delay_ms;
        self.rng.random_range(0..=most)
    }

    fn push(&mut self, at: Ms, event: Event) {
        self.next += 1;
        self.queue.insert((at, self.next), event);
    }

    fn break_conn(&mut self, s: usize, conn: ConnId) {
        if self.conns.remove(&(s, conn)).is_some() {
            let life = self.sentinels[s].lives;
            let at = self.now + self.delay();
            let reason = "reset".to_string();
            self.push(at, Event::In(s, life, Input::Disconnected { conn, reason }));
        }
    }

    /// Lets time pass.
    pub(super) fn run(&mut self, ms: Ms) {
        let until = self.now + ms;
        self.run_until_time(until, |_| false);
    }

    /// Lets time pass until `done`, at most `ms`.
    pub(super) fn run_until(&mut self, ms: Ms, done: impl Fn(&World) -> bool) -> bool {
        let until = self.now + ms;
        self.run_until_time(until, done)
    }

    fn run_until_time(&mut self, until: Ms, done: impl Fn(&World) -> bool) -> bool {
        loop {
            if done(self) {
                return true;
            }
            let event_at = self.queue.first_key_value().map_or(Ms::MAX, |((at, _), _)| *at);
            let wake =
                |s: &Sentinel| s.core.as_ref().filter(|_| !s.stopped).map_or(Ms::MAX, |c| c.poll_timeout());
            let (sleeper, wake_at) =
                self.sentinels.iter().map(wake).enumerate().min_by_key(|(_, at)| *at).expect("Sentinels");
            let next = event_at.min(wake_at);
            if next > until {
                self.now = until;
                return done(self);
            }
            self.now = self.now.max(next);
            if event_at <= wake_at {
                let (_, event) = self.queue.pop_first().expect("an event");
                self.happen(event);
            } else {
                let now = self.now;
                if let Some(core) = self.sentinels[sleeper].core.as_mut() {
                    core.handle_timeout(now);
                }
                self.drain(sleeper);
            }
        }
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::In(s, life, input) if self.sentinels[s].lives == life => self.input(s, input),
            Event::In(..) => {}
            Event::Arrive(s, conn) => self.arrive(s, conn),
            Event::Out(s, conn, commands) => {
                for command in commands {
                    let Some(to) = self.conns.get(&(s, conn)).filter(|c| c.group_ok).map(|c| c.to) else {
                        return;
                    };
                    match to {
                        End::Node(n) if self.nodes[n].stopped => {
                            self.nodes[n].held.push_back((s, conn, command))
                        }
                        End::Node(n) => self.at_node(n, s, conn, command),
                        End::Sentinel(peer) => self.at_sentinel(peer, s, conn, command),
                    }
                }
            }
            Event::Written(s, life, seq) => {
                let matches = |(q, _, l): &mut (u64, Vec<StateLine>, u32)| *q == seq && *l == life;
                if let Some((seq, lines, _)) = self.sentinels[s].writing.take_if(matches) {
                    self.sentinels[s].disk = lines;
                    self.input(s, Input::Persisted { seq, result: Ok(()) });
                }
            }
        }
    }

    fn input(&mut self, s: usize, input: Input) {
        if self.sentinels[s].stopped {
            return self.sentinels[s].held.push_back(input);
        }
        let now = self.now;
        if let Some(core) = self.sentinels[s].core.as_mut() {
            core.handle(now, input);
            self.drain(s);
        }
    }

    fn arrive(&mut self, s: usize, conn: ConnId) {
        let Some(c) = self.conns.get(&(s, conn)) else { return };
        let (to, life) = (c.to, self.sentinels[s].lives);
        let listening = match to {
            End::Node(n) => self.nodes[n].alive,
            End::Sentinel(p) => self.sentinels[p].core.is_some(),
        };
        if !self.reach(s, to) {
            // Nobody answers: the attempt hangs.
            self.conns.entry((s, conn)).and_modify(|c| c.group_ok = false);
        } else if !listening {
            self.break_conn(s, conn);
        } else {
            self.conns.entry((s, conn)).and_modify(|c| c.up = true);
            let at = self.now + self.delay();
            self.conns.entry((s, conn)).and_modify(|c| c.last_in = at);
            let local_ip = Some(format!("10.0.1.{s}"));
            self.push(at, Event::In(s, life, Input::Connected { conn, local_ip }));
        }
    }

    fn answer(&mut self, s: usize, conn: ConnId, value: Value) {
        let delay = self.delay();
        let Some(c) = self.conns.get_mut(&(s, conn)).filter(|c| c.group_ok) else { return };
        let at = (self.now + delay).max(c.last_in);
        c.last_in = at;
        let life = self.sentinels[s].lives;
        self.push(at, Event::In(s, life, Input::Reply { conn, value }));
    }

    fn at_sentinel(&mut self, to: usize, from: usize, conn: ConnId, command: Vec<Vec<u8>>) {
        let word = |n: usize| String::from_utf8_lossy(command.get(n).map_or(b"", |w| w)).into_owned();
        match word(0).to_ascii_lowercase().as_str() {
            "ping" => {
                if !self.sentinels[to].stopped {
                    self.answer(from, conn, Value::Simple(b"PONG".to_vec()));
                }
            }
            "sentinel" | "publish" => {
                self.next += 1;
                let client = ClientId(self.next);
                let epoch = if word(5) == "*" { None } else { word(4).parse().ok() };
                self.asked_by.insert(client, (from, conn, epoch));
                self.input(to, Input::Command { client, argv: command, protocol: Protocol::Resp2 });
            }
            _ => self.answer(from, conn, Value::Simple(b"OK".to_vec())),
        }
    }

    fn at_node(&mut self, n: usize, s: usize, conn: ConnId, command: Vec<Vec<u8>>) {
        let word = |n: usize| String::from_utf8_lossy(command.get(n).map_or(b"", |w| w)).to_ascii_lowercase();
        let name = word(0);
        let Some(c) = self.conns.get_mut(&(s, conn)) else { return };
        if let Some(queued) = c.queued.as_mut().filter(|_| name != "exec") {
            queued.push(command);
            return self.answer(s, conn, Value::Simple(b"QUEUED".to_vec()));
        }
        match name.as_str() {
            "ping" => self.answer(s, conn, Value::Simple(b"PONG".to_vec())),
            "multi" => {
                c.queued = Some(Vec::new());
                self.answer(s, conn, Value::Simple(b"OK".to_vec()));
            }
            "exec" => {
                let queued = c.queued.take().unwrap_or_default();
                for command in &queued {
                    self.transact(n, s, conn, command);
                }
                let ok = Value::Simple(b"OK".to_vec());
                self.answer(s, conn, Value::Array(vec![ok; queued.len()]));
            }
            "info" => {
                let text = self.info(n);
                self.answer(s, conn, Value::Bulk(text.into_bytes()));
            }
            "subscribe" => c.subscribed = true,
            "publish" => {
                let text = command[2].clone();
                self.note_hello(&text);
                let listeners: Vec<(usize, ConnId)> = self
                    .conns
                    .iter()
                    .filter(|(_, c)| c.to == End::Node(n) && c.subscribed && c.up)
                    .map(|(k, _)| *k)
                    .collect();
                for (to, on) in listeners {
                    let parts = [&b"message"[..], b"__sentinel__:hello", &text];
                    self.answer(
                        to,
                        on,
                        Value::Array(parts.iter().map(|p| Value::Bulk(p.to_vec())).collect()),
                    );
                }
                self.answer(s, conn, Value::Integer(1));
            }
            _ => self.answer(s, conn, Value::Simple(b"OK".to_vec())),
        }
    }

    fn transact(&mut self, n: usize, s: usize, conn: ConnId, command: &[Vec<u8>]) {
        let word = |n: usize| String::from_utf8_lossy(command.get(n).map_or(b"", |w| w)).to_ascii_lowercase();
        match (word(0).as_str(), word(1).as_str()) {
            ("slaveof", "no") => {
                if self.nodes[n].master.is_some() {
                    self.promotions.push((self.now, n));
                }
                self.nodes[n].master = None;
                self.nodes[n].since = self.now;
            }
            ("slaveof", host) => {
                let to = (0..self.nodes.len()).find(|i| Self::node_ip(*i) == host).expect("a known node");
                self.nodes[n].master = Some(to);
                self.nodes[n].since = self.now;
                self.nodes[n].link_lost_at = None;
            }
            ("client", "kill") => {
                let subscribed = word(3) == "pubsub";
                let victims: Vec<(usize, ConnId)> = self
                    .conns
                    .iter()
                    .filter(|(k, c)| {
                        c.to == End::Node(n) && c.up && c.subscribed == subscribed && **k != (s, conn)
                    })
                    .map(|(k, _)| *k)
                    .collect();
                victims.into_iter().for_each(|(s, conn)| self.break_conn(s, conn));
            }
            _ => {}
        }
    }

    fn link_up(&self, n: usize) -> bool {
        self.nodes[n].master.is_some_and(|of| {
            let m = &self.nodes[of];
            m.alive && !m.stopped && m.group == self.nodes[n].group && self.now >= self.nodes[n].since + 30
        })
    }

    fn info(&mut self, n: usize) -> String {
        let mut text = format!("run_id:{:040}\r\n", n * 1000 + self.nodes[n].restarts as usize);
        match self.nodes[n].master {
            None => {
                self.nodes[n].offset += 1;
                text += "role:master\r\n";
                let follows = (0..self.nodes.len())
                    .filter(|r| self.nodes[*r].alive && self.nodes[*r].master == Some(n) && self.link_up(*r));
                for (i, replica) in follows.enumerate() {
                    text += &format!(
                        "slave{i}:ip={},port=6379,state=online,offset=1,lag=0\r\n",
                        Self::node_ip(replica)
                    );
                }
            }
            Some(of) => {
                let up = self.link_up(n);
                if up {
                    self.nodes[n].offset = self.nodes[of].offset;
                    self.nodes[n].link_lost_at = None;
                } else if self.nodes[n].link_lost_at.is_none() {
                    self.nodes[n].link_lost_at = Some(self.now);
                }
                let node = &self.nodes[n];
                text += &format!(
                    "role:slave\r\nmaster_host:{}\r\nmaster_port:6379\r\nmaster_link_status:{}\r\n\
                     slave_priority:{}\r\nslave_repl_offset:{}\r\n",
                    Self::node_ip(of),
                    if up { "up" } else { "down" },
                    node.priority,
                    node.offset
                );
                if let Some(at) = node.link_lost_at {
                    text += &format!("master_link_down_since_seconds:{}\r\n", (self.now - at) / 1000);
                }
            }
        }
        text
    }

    /// One address per config epoch.
    fn note_hello(&mut self, text: &[u8]) {
        let text = String::from_utf8_lossy(text).into_owned();
        let parts: Vec<&str> = text.split(',').collect();
        let epoch: u64 = parts[7].parse().expect("a config epoch");
        let addr = parts[5].to_string();
        let known = self.addresses.entry((parts[4].to_string(), epoch)).or_insert_with(|| addr.clone());
        assert_eq!(*known, addr, "config epoch {epoch} stands for two masters");
    }

    fn drain(&mut self, s: usize) {
        while let Some(output) = self.sentinels[s].core.as_mut().and_then(Core::poll_output) {
            match output {
                Output::Connect { conn, addr } => self.connect(s, conn, &addr.ip),
                Output::Close { conn } => drop(self.conns.remove(&(s, conn))),
                Output::Send { conn, commands } => {
                    // What is under way cannot be recalled: a node that hangs may obey long after.
                    let promotes = commands.iter().any(|c| c.join(&b' ') == b"SLAVEOF NO ONE");
                    let elected = self.sentinels[s].elected;
                    assert!(elected || !promotes, "Sentinel {s} promotes a node without having been elected");
                    let delay = self.delay();
                    if let Some(c) = self.conns.get_mut(&(s, conn)) {
                        let at = (self.now + delay).max(c.last_out);
                        c.last_out = at;
                        self.push(at, Event::Out(s, conn, commands));
                    }
                }
                Output::Reply { client, bytes } => self.reply(s, client, bytes),
                Output::Publish { channel, message } => self.note_event(s, channel, message),
                Output::Persist { seq, lines } => {
                    let most = self.max_write_ms;
                    let at = self.now + self.rng.random_range(0..=most);
                    let life = self.sentinels[s].lives;
                    self.sentinels[s].writing = Some((seq, lines, life));
                    self.push(at, Event::Written(s, life, seq));
                }
                Output::Exit { .. } => return self.crash_sentinel(s),
                Output::Log { .. } | Output::SetLogLevel { .. } | Output::RunScript { .. } => {}
                Output::KillScript { .. } | Output::Resolve { .. } => {}
            }
        }
    }

    fn connect(&mut self, s: usize, conn: ConnId, ip: &str) {
        let last = ip.rsplit('.').next().and_then(|n| n.parse().ok()).expect("an address of this world");
        let to = if ip.starts_with("10.0.1.") { End::Sentinel(last) } else { End::Node(last) };
        let fresh =
            Conn { to, group_ok: true, up: false, subscribed: false, queued: None, last_out: 0, last_in: 0 };
        self.conns.insert((s, conn), fresh);
        let at = self.now + self.delay();
        self.push(at, Event::Arrive(s, conn));
    }

    fn reply(&mut self, s: usize, client: ClientId, bytes: Vec<u8>) {
        let (value, _) = decode(&bytes).expect("sound bytes").expect("a whole reply");
        match self.asked_by.remove(&client) {
            None => drop(self.replies.insert(client.0, bytes)),
            Some((from, conn, epoch)) => {
                if let (Some(_), Value::Array(items)) = (epoch, &value)
                    && let [_, Value::Bulk(leader), Value::Integer(of)] = items.as_slice()
                    && leader != b"*"
                {
                    let leader = String::from_utf8_lossy(leader).into_owned();
                    let vote = self.votes.entry((s, *of as u64)).or_insert_with(|| leader.clone());
                    assert_eq!(*vote, leader, "Sentinel {s} voted twice in epoch {of}");
                }
                self.answer(from, conn, value);
            }
        }
    }

    fn note_event(&mut self, s: usize, channel: String, message: String) {
        let sentinel = &mut self.sentinels[s];
        let own = sentinel.core.as_ref().map(|c| c.id().to_string()).unwrap_or_default();
        match channel.as_str() {
            "+vote-for-leader" => {
                let (who, epoch) = message.split_once(' ').expect("leader and epoch");
                if who == own {
                    sentinel.epoch_stood_for = epoch.parse().expect("an epoch");
                }
            }
            "+elected-leader" => {
                let (epoch, odown) = (sentinel.epoch_stood_for, sentinel.odown);
                assert!(odown, "Sentinel {s} leads a failover without ODOWN");
                sentinel.elected = true;
                let leader = *self.leaders.entry(epoch).or_insert(s);
                assert_eq!(leader, s, "two leaders in epoch {epoch}");
            }
            "+odown" => sentinel.odown = true,
            "-odown" | "+switch-master" => sentinel.odown = false,
            "+failover-end" => sentinel.elected = false,
            name if name.starts_with("-failover-abort") => sentinel.elected = false,
            _ => {}
        }
        let now = self.now;
        self.sentinels[s].events.push((now, channel, message));
    }

    /// Sends a command as a client and returns the reply, which must not need time.
    pub(super) fn ask(&mut self, s: usize, words: &[&str], protocol: Protocol) -> Value {
        self.next += 1;
        let client = ClientId(self.next);
        let argv = words.iter().map(|w| w.as_bytes().to_vec()).collect();
        self.input(s, Input::Command { client, argv, protocol });
        self.run_until(1000, |w| w.replies.contains_key(&client.0));
        let bytes = self.replies.remove(&client.0).expect("a reply");
        decode(&bytes).expect("sound bytes").expect("a whole reply").0
    }

    /// The address that a Sentinel tells clients.
    pub(super) fn told(&mut self, s: usize) -> String {
        match self.ask(s, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m"], Protocol::Resp2) {
            Value::Array(items) => String::from_utf8_lossy(items[0].as_bytes().expect("an IP")).into_owned(),
            other => panic!("no address: {other:?}"),
        }
    }

    /// How often an event was published, by all Sentinels.
    pub(super) fn count(&self, event: &str) -> usize {
        self.sentinels.iter().flat_map(|s| &s.events).filter(|(_, name, _)| name == event).count()
    }

    /// Whether a Sentinel published an event.
    pub(super) fn saw(&self, s: usize, event: &str) -> bool {
        self.sentinels[s].events.iter().any(|(_, name, _)| name == event)
    }
}
