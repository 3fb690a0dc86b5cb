//! A Sentinel's process and machine: it drives the state machine, writes its state to a disk that
//! takes its time, crashes, at the very points where it writes if need be, and starts again from
//! what the disk holds.
//!
//! The model of the original writes synchronously: until the write is done it does nothing else, and
//! what it would say after it is not said.

use std::collections::{BTreeMap, VecDeque};

use rand::Rng;
use redoubt_sentinel::core::config::Config;
use redoubt_sentinel::core::link::ConnId;
use redoubt_sentinel::core::model::Addr;
use redoubt_sentinel::core::{ClientId, Input, Output, StateLine};
use redoubt_wire::resp::reply::Protocol;
use redoubt_wire::resp::value::{Value, decode};

use super::brain::Brain;
use super::net::{Asked, Command, ConnKey, Message, Way};
use super::node::{Life, NODE_PORT};
use super::plan::Kind;
use super::time::{Clock, MS, Us};
use super::world::{Event, World};

/// The port of every Sentinel.
pub const SENTINEL_PORT: u16 = 26379;

/// Clients of the test, as opposed to connections of the world.
const EXTERNAL: u64 = 1 << 63;

/// A Sentinel.
#[derive(Debug)]
pub struct Sentinel {
    /// Which program it is.
    pub kind: Kind,
    /// The program's state, while it lives.
    pub brain: Option<Brain>,
    /// Whether its process runs.
    pub life: Life,
    /// How often it was started.
    pub lives: u32,
    /// What its file holds.
    pub disk: Vec<StateLine>,
    /// Its clock.
    pub clock: Clock,
    /// When it wants to act next.
    pub wake: Us,
    /// The id in its file.
    pub id: String,
    /// Its connections to others.
    pub(super) conns: BTreeMap<ConnId, ConnKey>,
    /// What is for it once it runs.
    inbox: VecDeque<Input>,
    writing: Option<(u64, Vec<StateLine>)>,
    draining: bool,
    /// The most that a write takes, in place of the plan's.
    pub slow_disk: Option<Us>,
    /// Writes fail.
    pub bad_disk: bool,
    /// It crashes at a coming write.
    pub fuse: Option<Fuse>,
    /// How many writes it began, over all its lives.
    pub writes: u32,
}

/// A crash at the point where a Sentinel writes its state.
#[derive(Clone, Copy, Debug)]
pub struct Fuse {
    /// How many writes go well before.
    pub after: u32,
    /// Whether that write reaches the disk.
    pub written: bool,
}

impl Sentinel {
    pub(super) fn new(kind: Kind, clock: Clock) -> Self {
        Sentinel {
            kind,
            brain: None,
            life: Life::Dead,
            lives: 0,
            disk: Vec::new(),
            clock,
            wake: Us::MAX,
            id: String::new(),
            conns: BTreeMap::new(),
            inbox: VecDeque::new(),
            writing: None,
            draining: false,
            slow_disk: None,
            bad_disk: false,
            fuse: None,
            writes: 0,
        }
    }

    /// Whether it takes in what comes.
    pub fn runs(&self) -> bool {
        self.life == Life::Running && !self.blocked()
    }

    /// The original does nothing while it writes.
    fn blocked(&self) -> bool {
        self.kind == Kind::Classic && self.writing.is_some()
    }
}

impl World {
    /// Starts a Sentinel from what is on its disk.
    pub fn start_sentinel(&mut self, s: usize) {
        let lines: Vec<String> = match self.sentinels[s].disk.as_slice() {
            [] => self.first_config(s),
            disk => disk.iter().map(|l| l.text.clone()).collect(),
        };
        let words = |l: &String| l.split(' ').skip(1).map(str::to_string).collect::<Vec<_>>();
        let directives: Vec<((), Vec<String>)> =
            lines.iter().filter(|l| l.starts_with("sentinel ")).map(|l| ((), words(l))).collect();
        let mut config = Config::new(|_| true);
        if let Err(((), error)) = config.load(&directives) {
            return self.violated(super::checks::Rule::Sound, format!("a file that cannot be read: {error}"));
        }
        config.globals.port = SENTINEL_PORT;
        config.globals.loglevel = "notice".into();
        config.planted = self.plan.planted;
        let resolved = self.resolved_at_start(&config);
        let seed = self.rng.random();
        let sentinel = &mut self.sentinels[s];
        sentinel.lives += 1;
        sentinel.life = Life::Running;
        let now = sentinel.clock.read(self.now);
        let brain = Brain::start(sentinel.kind, config, &self.plan, resolved, seed, now);
        sentinel.id = brain.id().to_string();
        sentinel.brain = Some(brain);
        self.check_restart(s);
        self.trace(|w| format!("{} starts as {}", w.sentinel_name(s), &w.sentinels[s].id[..8]));
        self.drain(s);
        if self.sentinels[s].kind == Kind::Redoubt {
            self.set_periods(s);
        }
    }

    /// What stands in the file of a Sentinel that never ran.
    fn first_config(&self, s: usize) -> Vec<String> {
        let plan = &self.plan;
        let mut lines = vec![format!("sentinel myid {}", self.sentinels[s].id)];
        if plan.hostnames {
            lines.push("sentinel resolve-hostnames yes".to_string());
            lines.push("sentinel announce-hostnames yes".to_string());
        }
        for m in 0..plan.masters {
            let host = self.node_host_name(m * (plan.replicas + 1));
            lines.push(format!("sentinel monitor m{m} {host} {NODE_PORT} {}", plan.quorum));
            lines.push(format!("sentinel down-after-milliseconds m{m} {}", plan.down_after_ms));
            lines.push(format!("sentinel failover-timeout m{m} {}", plan.failover_timeout_ms));
            lines.push(format!("sentinel parallel-syncs m{m} {}", plan.parallel_syncs));
            if plan.down_on_refused_ms > 0 && self.sentinels[s].kind == Kind::Redoubt {
                lines.push(format!("sentinel down-on-refused m{m} {}", plan.down_on_refused_ms));
            }
            if plan.introduced {
                let replicas = m * (plan.replicas + 1) + 1..(m + 1) * (plan.replicas + 1);
                let known = |n| format!("sentinel known-replica m{m} {} {NODE_PORT}", self.node_host_name(n));
                lines.extend(replicas.map(known));
                for peer in (0..self.sentinels.len()).filter(|peer| *peer != s) {
                    let (ip, id) = (self.sentinel_ip(peer), &self.sentinels[peer].id);
                    lines.push(format!("sentinel known-sentinel m{m} {ip} {SENTINEL_PORT} {id}"));
                }
            }
        }
        lines
    }

    /// The program looks names up before it starts.
    fn resolved_at_start(&self, config: &Config) -> BTreeMap<String, String> {
        let mut resolved = BTreeMap::new();
        for master in &config.masters {
            for host in std::iter::once(&master.host).chain(master.replicas.iter().map(|r| &r.0)) {
                if let Some(n) = self.node_at(host).filter(|_| self.plan.hostnames) {
                    resolved.insert(host.clone(), self.node_ip(n));
                }
            }
        }
        resolved
    }

    /// SENTINEL DEBUG with the plan's periods, which no file keeps.
    fn set_periods(&mut self, s: usize) {
        let mut timers = self.plan.timers.clone();
        let mut words = vec!["SENTINEL".to_string(), "DEBUG".to_string()];
        for (name, period) in timers.knobs() {
            words.extend([name.to_string(), period.to_string()]);
        }
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.command(s, &words);
    }

    /// A Sentinel dies. A write under way may or may not have reached the disk.
    pub fn crash_sentinel(&mut self, s: usize) {
        if let Some((_, lines)) = self.sentinels[s].writing.take()
            && self.rng.random()
            && !self.sentinels[s].bad_disk
        {
            self.written(s, lines);
        }
        self.end_sentinel(s);
    }

    fn end_sentinel(&mut self, s: usize) {
        self.trace(|w| format!("{} dies", w.sentinel_name(s)));
        let sentinel = &mut self.sentinels[s];
        sentinel.brain = None;
        sentinel.life = Life::Dead;
        sentinel.inbox.clear();
        sentinel.writing = None;
        sentinel.wake = Us::MAX;
        sentinel.fuse = None;
        for key in sentinel.conns.values().copied().collect::<Vec<_>>() {
            self.close_client(key);
        }
        self.drop_all_servers(s);
    }

    /// SIGSTOP.
    pub fn stop_sentinel(&mut self, s: usize) {
        if self.sentinels[s].life == Life::Running {
            self.trace(|w| format!("{} is stopped", w.sentinel_name(s)));
            self.sentinels[s].life = Life::Stopped;
            self.sentinels[s].wake = Us::MAX;
        }
    }

    /// SIGCONT.
    pub fn continue_sentinel(&mut self, s: usize) {
        if self.sentinels[s].life == Life::Stopped {
            self.trace(|w| format!("{} goes on", w.sentinel_name(s)));
            self.sentinels[s].life = Life::Running;
            self.catch_up(s);
        }
    }

    /// A Sentinel's clock jumps.
    pub fn jump_clock(&mut self, s: usize, by_ms: i64) {
        self.trace(|w| format!("the clock of {} jumps by {by_ms} ms", w.sentinel_name(s)));
        let now = self.now;
        self.sentinels[s].clock.jump(now, by_ms);
        self.set_wake(s);
    }

    /// Everything that came while it did not run is taken in before a timer fires.
    fn catch_up(&mut self, s: usize) {
        self.drain(s);
        while self.sentinels[s].runs()
            && let Some(input) = self.sentinels[s].inbox.pop_front()
        {
            self.input(s, input);
        }
        self.receive_arrived(s);
        self.set_wake(s);
    }

    /// Hands something in, now or when it runs.
    pub(super) fn input(&mut self, s: usize, input: Input) {
        let now = self.now;
        let sentinel = &mut self.sentinels[s];
        if !sentinel.runs() {
            if sentinel.life != Life::Dead {
                sentinel.inbox.push_back(input);
            }
            return;
        }
        let local = sentinel.clock.read(now);
        if let Some(brain) = sentinel.brain.as_mut() {
            brain.handle(local, input);
            self.drain(s);
        }
    }

    /// What time made due.
    pub(super) fn wake(&mut self, s: usize) {
        let now = self.now;
        let sentinel = &mut self.sentinels[s];
        let local = sentinel.clock.read(now);
        if let Some(brain) = sentinel.brain.as_mut() {
            brain.handle_timeout(local);
            self.drain(s);
        }
    }

    fn set_wake(&mut self, s: usize) {
        let now = self.now;
        let sentinel = &mut self.sentinels[s];
        let due = sentinel.brain.as_ref().filter(|_| sentinel.runs()).map(Brain::poll_timeout);
        sentinel.wake = due.map_or(Us::MAX, |due| sentinel.clock.when(due, now));
    }

    /// Carries out what a Sentinel wants done. A reply makes way for its client's next command, of which there
    /// may be many: what comes of that is carried out by the same loop.
    fn drain(&mut self, s: usize) {
        if std::mem::replace(&mut self.sentinels[s].draining, true) {
            return;
        }
        while !self.sentinels[s].blocked()
            && let Some(output) = self.sentinels[s].brain.as_mut().and_then(Brain::poll_output)
        {
            match output {
                Output::Connect { conn, addr } => self.connect(s, conn, &addr),
                Output::Close { conn } => {
                    if let Some(key) = self.sentinels[s].conns.get(&conn).copied() {
                        self.close_client(key);
                    }
                }
                Output::Send { conn, commands } => self.send(s, conn, commands),
                Output::Reply { client, bytes } => self.reply(s, client, &bytes),
                Output::Publish { channel, message } => self.published(s, &channel, message),
                Output::Persist { seq, lines } => self.persist(s, seq, lines),
                Output::Resolve { host } => self.look_up(s, host),
                Output::Exit { .. } => self.crash_sentinel(s),
                Output::Log { text, .. } => {
                    if self.verbose {
                        self.trace(|w| format!("{} logs: {text}", w.sentinel_name(s)));
                    }
                }
                Output::SetLogLevel { .. }
                | Output::RunScript { .. }
                | Output::KillScript { .. }
                | Output::PersistScripts { .. } => {}
            }
        }
        self.sentinels[s].draining = false;
        self.set_wake(s);
    }

    fn connect(&mut self, s: usize, conn: ConnId, addr: &Addr) {
        match self.host_at(&addr.ip) {
            Some(to) => self.connect_to(s, conn, to),
            None => self.fail_to_connect(s, conn),
        }
    }

    /// Asks the name server, which takes its time and does not always know.
    fn look_up(&mut self, s: usize, host: String) {
        let at = self.now + self.rng.random_range(0..=self.plan.lookup);
        let node = self.node_at(&host).filter(|_| !self.rng.random_ratio(1, 50));
        let event = Event::LookedUp { sentinel: s, life: self.sentinels[s].lives, host, node };
        self.queue.push(at, event);
    }

    fn send(&mut self, s: usize, conn: ConnId, commands: Vec<Command>) {
        let Some(key) = self.sentinels[s].conns.get(&conn).copied() else { return };
        let Some(to) = self.conns.get(key).map(|c| c.to) else { return };
        self.check_sent(s, to, &commands);
        self.transmit(key, Way::Out, Message::Commands(commands));
    }

    /// Something arrives on a connection that a Sentinel made.
    pub(super) fn hand_in(&mut self, key: ConnKey, message: Message) {
        let Some((s, id, to)) = self.conns.get(key).map(|c| (c.sentinel, c.id, c.to)) else { return };
        let input = match message {
            Message::Connected => Input::Connected { conn: id, local_ip: Some(self.sentinel_ip(s)) },
            Message::Reply(value) => Input::Reply { conn: id, value },
            Message::Answer(m, value) => {
                self.check_answer(s, m, to, &value);
                Input::Reply { conn: id, value }
            }
            Message::Refused => {
                self.free(key);
                Input::Refused { conn: id }
            }
            Message::End => {
                self.free(key);
                Input::Disconnected { conn: id, reason: "ended".to_string() }
            }
            Message::Commands(_) => return,
        };
        self.input(s, input);
    }

    /// Commands arrive at a Sentinel. Each waits for the reply of the one before it.
    pub(super) fn serve_sentinel(&mut self, s: usize, key: ConnKey, commands: Vec<Command>) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.session.waiting.extend(commands);
        self.serve_waiting(s, key);
    }

    fn serve_waiting(&mut self, s: usize, key: ConnKey) {
        loop {
            let Some(conn) = self.conns.get_mut(key).filter(|c| c.session.asked.is_none()) else { return };
            let from = conn.sentinel;
            let Some(command) = conn.session.waiting.pop_front() else { return };
            let for_core = command
                .first()
                .is_some_and(|w| w.eq_ignore_ascii_case(b"sentinel") || w.eq_ignore_ascii_case(b"publish"));
            if !for_core {
                let ping = command.first().is_some_and(|w| w.eq_ignore_ascii_case(b"ping"));
                let text: &[u8] = if ping { b"PONG" } else { b"OK" };
                self.transmit(key, Way::Back, Message::Reply(Value::Simple(text.to_vec())));
                continue;
            }
            let about = self.question_about(&command);
            if let Some(conn) = self.conns.get_mut(key) {
                conn.session.asked = Some(Asked { about });
            }
            self.check_asked(from, about, &command);
            let client = ClientId(key.number());
            self.input(s, Input::Command { client, argv: command, protocol: Protocol::Resp2 });
        }
    }

    /// The master that IS-MASTER-DOWN-BY-ADDR is about.
    fn question_about(&self, command: &[Vec<u8>]) -> Option<usize> {
        let [_, subcommand, host, ..] = command else { return None };
        let about_master = subcommand.eq_ignore_ascii_case(b"is-master-down-by-addr");
        let node = self.node_at(std::str::from_utf8(host).ok().filter(|_| about_master)?)?;
        Some(self.nodes[node].group)
    }

    fn reply(&mut self, s: usize, client: ClientId, bytes: &[u8]) {
        let Ok(Some((value, _))) = decode(bytes) else {
            return self.violated(super::checks::Rule::Sound, "a reply that is not RESP".into());
        };
        if client.0 & EXTERNAL != 0 {
            self.replies.insert(client.0, value);
            return;
        }
        let key = ConnKey::of_number(client.0);
        let Some(conn) = self.conns.get_mut(key).filter(|c| c.server) else { return };
        let about = conn.session.asked.take().and_then(|asked| asked.about);
        let message = match about {
            Some(m) => {
                self.check_vote(s, m, &value);
                Message::Answer(m, value)
            }
            None => Message::Reply(value),
        };
        self.transmit(key, Way::Back, message);
        self.serve_waiting(s, key);
    }

    fn persist(&mut self, s: usize, seq: u64, lines: Vec<StateLine>) {
        let sentinel = &mut self.sentinels[s];
        sentinel.writes += 1;
        if let Some(fuse) = sentinel.fuse.as_mut() {
            if fuse.after == 0 {
                if fuse.written {
                    self.written(s, lines);
                }
                return self.end_sentinel(s);
            }
            fuse.after -= 1;
        }
        let most = self.sentinels[s].slow_disk.unwrap_or(self.plan.write);
        let at = self.now + self.rng.random_range(most / 10..=most);
        self.sentinels[s].writing = Some((seq, lines));
        let life = self.sentinels[s].lives;
        self.queue.push(at, Event::Written { sentinel: s, life });
    }

    /// A write ends.
    pub(super) fn write_ends(&mut self, s: usize) {
        let Some((seq, lines)) = self.sentinels[s].writing.take() else { return };
        let result = if self.sentinels[s].bad_disk {
            self.check_unsaved(s);
            Err("No space left on device".to_string())
        } else {
            self.written(s, lines);
            Ok(())
        };
        match self.sentinels[s].kind {
            Kind::Redoubt => self.input(s, Input::Persisted { seq, result }),
            Kind::Classic if self.sentinels[s].life == Life::Running => self.catch_up(s),
            Kind::Classic => {}
        }
    }

    fn written(&mut self, s: usize, lines: Vec<StateLine>) {
        self.check_written(s, &lines);
        self.sentinels[s].disk = lines;
    }

    /// Sends a command as a client that waits for no reply; the reply will lie under the number.
    pub fn command(&mut self, s: usize, words: &[&str]) -> u64 {
        self.clients += 1;
        let client = EXTERNAL | self.clients;
        let argv = words.iter().map(|w| w.as_bytes().to_vec()).collect();
        self.input(s, Input::Command { client: ClientId(client), argv, protocol: self.protocol });
        client
    }

    /// Sends a command as a client, lets as much time pass as the reply needs, and returns it.
    ///
    /// # Panics
    /// If there is none within a second.
    pub fn ask(&mut self, s: usize, words: &[&str]) -> Value {
        let client = self.command(s, words);
        self.run_until(1000 * MS, |w| w.replies.contains_key(&client));
        self.replies.remove(&client).expect("a reply within a second")
    }
}
