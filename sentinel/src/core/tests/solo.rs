//! One Sentinel alone on the stage: the test plays nodes and other Sentinels, message by message.
//!
//! Nodes live at `10.0.0.n:6379`, the first a master, other Sentinels at `10.0.1.n:26379`. Nothing takes time but
//! what the test lets pass. Who is in `up` accepts connections, who is in `silent` accepts them and answers
//! nothing. Other Sentinels see the master up unless the test says otherwise, and EXEC is answered only
//! as the test lays it down; what has no answer stays open, and what follows it on that connection too.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use redoubt_wire::resp::reply::Protocol;
use redoubt_wire::resp::value::{Value, decode};

use crate::core::config::Config;
use crate::core::link::ConnId;
use crate::core::timers::Ms;
use crate::core::{ClientId, Core, Input, Output};

/// The id of the Sentinel under test; `peer_id(0)` is smaller, the others are greater.
pub(super) const OWN_ID: &str = "1111111111111111111111111111111111111111";

pub(super) fn peer_id(n: usize) -> String {
    ["0", "2", "3", "4", "5", "6"][n].repeat(40)
}

pub(super) fn node(n: usize) -> String {
    format!("10.0.0.{n}")
}

pub(super) fn peer(n: usize) -> String {
    format!("10.0.1.{n}")
}

pub(super) struct Solo {
    pub(super) core: Core,
    pub(super) now: Ms,
    /// Who accepts connections; the others refuse them.
    pub(super) up: BTreeSet<String>,
    /// Whose attempts to connect hang.
    pub(super) hung: BTreeSet<String>,
    /// Who answers nothing any more.
    pub(super) silent: BTreeSet<String>,
    /// What a node tells.
    pub(super) infos: BTreeMap<String, String>,
    /// What a Sentinel answers to a question about the master: down, leader, epoch.
    pub(super) answers: BTreeMap<String, (i64, String, u64)>,
    /// What a Sentinel answers to SENTINEL EPOCHS: its epoch and its config epoch. Others do not know the question.
    pub(super) epochs: BTreeMap<String, (i64, i64)>,
    /// What EXEC is answered with, where it is answered.
    pub(super) execs: BTreeMap<String, Value>,
    /// Answers to other commands, by their first two words.
    pub(super) replies: BTreeMap<String, Value>,
    /// Whether writes of the state end at once.
    pub(super) disk_works: bool,
    /// Everything that was sent: when, to whom, what.
    pub(super) sent: Vec<(Ms, String, String)>,
    pub(super) events: Vec<(Ms, String, String)>,
    pub(super) connects: Vec<(Ms, String)>,
    pub(super) lookups: Vec<(Ms, String)>,
    /// The state as it was written last.
    pub(super) lines: Vec<String>,
    writing: Vec<u64>,
    conns: BTreeMap<ConnId, String>,
    open: BTreeMap<ConnId, VecDeque<String>>,
    subscribed: BTreeMap<String, ConnId>,
    own: BTreeMap<u64, Vec<u8>>,
    next: u64,
}

impl Solo {
    /// A Sentinel that watches `nodes` nodes with `peers` other Sentinels, quorum 2 and down-after 1000, its
    /// connections made.
    pub(super) fn new(nodes: usize, peers: usize, options: &[&str]) -> Solo {
        let mut lines = vec![format!("myid {OWN_ID}"), format!("monitor m {} 6379 2", node(0))];
        lines.push("down-after-milliseconds m 1000".into());
        lines.extend((1..nodes).map(|n| format!("known-replica m {} 6379", node(n))));
        lines.extend((0..peers).map(|n| format!("known-sentinel m {} 26379 {}", peer(n), peer_id(n))));
        lines.extend(options.iter().map(|o| o.to_string()));
        let mut solo = Solo::of_lines(&lines, BTreeMap::new());
        solo.up = (0..nodes).map(node).chain((0..peers).map(peer)).collect();
        for n in 0..nodes {
            let text = if n == 0 { master_info(0, 100) } else { replica_info(n, 0, 100) };
            solo.infos.insert(node(n), text);
        }
        solo.answers = (0..peers).map(|n| (peer(n), (0, "*".into(), 0))).collect();
        solo.drain();
        solo.run(100);
        solo
    }

    /// A Sentinel with that configuration, before anything has happened.
    pub(super) fn of_lines(lines: &[String], resolved: BTreeMap<String, String>) -> Solo {
        let words = |l: &String| l.split(' ').map(str::to_string).collect::<Vec<_>>();
        let directives: Vec<((), Vec<String>)> = lines.iter().map(|l| ((), words(l))).collect();
        let mut config = Config::new(|_| true);
        config.load(&directives).expect("a sound configuration");
        config.globals.port = 26379;
        config.globals.loglevel = "notice".into();
        let now = 1_000_000;
        Solo {
            core: Core::new(config, resolved, 1, now),
            now,
            up: BTreeSet::new(),
            hung: BTreeSet::new(),
            silent: BTreeSet::new(),
            infos: BTreeMap::new(),
            answers: BTreeMap::new(),
            epochs: BTreeMap::new(),
            execs: BTreeMap::new(),
            replies: BTreeMap::new(),
            disk_works: true,
            sent: Vec::new(),
            events: Vec::new(),
            connects: Vec::new(),
            lookups: Vec::new(),
            lines: Vec::new(),
            writing: Vec::new(),
            conns: BTreeMap::new(),
            open: BTreeMap::new(),
            subscribed: BTreeMap::new(),
            own: BTreeMap::new(),
            next: 0,
        }
    }

    /// Lets time pass, timers firing when they are due.
    pub(super) fn run(&mut self, ms: Ms) {
        let until = self.now + ms;
        loop {
            let due = self.core.poll_timeout().max(self.now);
            if due > until {
                self.now = until;
                return;
            }
            self.now = due;
            self.core.handle_timeout(due);
            self.drain();
        }
    }

    /// Lets time pass until an event is published once more, 20 s at most; says when that was.
    pub(super) fn run_to(&mut self, event: &str) -> Ms {
        let (before, start) = (self.count(event), self.now);
        while self.count(event) == before {
            assert!(self.now < start + 20_000, "no {event} within 20 s: {:#?}", self.events);
            let step = self.core.poll_timeout().saturating_sub(self.now).max(1);
            self.run(step);
        }
        self.now
    }

    /// Hands something in and lets all of it happen that needs no time.
    pub(super) fn input(&mut self, input: Input) {
        self.core.handle(self.now, input);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Connect { conn, addr } => self.connect(conn, addr.ip),
                Output::Close { conn } => self.gone(conn),
                Output::Send { conn, commands } => {
                    let Some(ip) = self.conns.get(&conn).cloned() else { continue };
                    for command in commands {
                        let words: Vec<_> = command.iter().map(|w| String::from_utf8_lossy(w)).collect();
                        let text = words.join(" ");
                        self.sent.push((self.now, ip.clone(), text.clone()));
                        self.open.entry(conn).or_default().push_back(text);
                    }
                    self.answer(conn);
                }
                Output::Publish { channel, message } => self.events.push((self.now, channel, message)),
                Output::Persist { seq, lines } => {
                    self.lines = lines.into_iter().filter(|l| !l.only_if_present).map(|l| l.text).collect();
                    self.writing.push(seq);
                    self.finish_writes();
                }
                Output::Resolve { host } => self.lookups.push((self.now, host)),
                Output::Reply { client, bytes } => drop(self.own.insert(client.0, bytes)),
                _ => {}
            }
        }
    }

    /// Ends the writes under way if the disk works.
    pub(super) fn finish_writes(&mut self) {
        if self.disk_works {
            for seq in std::mem::take(&mut self.writing) {
                self.core.handle(self.now, Input::Persisted { seq, result: Ok(()) });
            }
        }
        self.drain_if_any();
    }

    /// Ends the writes under way with an error.
    pub(super) fn fail_writes(&mut self) {
        for seq in std::mem::take(&mut self.writing) {
            self.core.handle(self.now, Input::Persisted { seq, result: Err("no space".into()) });
        }
        self.drain();
    }

    fn drain_if_any(&mut self) {
        if self.writing.is_empty() {
            self.drain();
        }
    }

    fn connect(&mut self, conn: ConnId, ip: String) {
        self.connects.push((self.now, ip.clone()));
        if self.hung.contains(&ip) {
            self.conns.insert(conn, ip);
        } else if self.up.contains(&ip) {
            self.conns.insert(conn, ip);
            self.input(Input::Connected { conn, local_ip: Some("10.0.2.1".into()) });
        } else {
            self.input(Input::Refused { conn });
        }
    }

    fn gone(&mut self, conn: ConnId) {
        self.conns.remove(&conn);
        self.open.remove(&conn);
        self.subscribed.retain(|_, c| *c != conn);
    }

    /// Ends every connection to `ip`.
    pub(super) fn reset(&mut self, ip: &str) {
        let broken: Vec<ConnId> =
            self.conns.iter().filter(|(_, to)| *to == ip).map(|(conn, _)| *conn).collect();
        for conn in broken {
            self.gone(conn);
            self.input(Input::Disconnected { conn, reason: "reset".into() });
        }
    }

    /// Kills the process at `ip`: connections end, others are refused.
    pub(super) fn kill(&mut self, ip: &str) {
        self.up.remove(ip);
        self.reset(ip);
    }

    /// Answers what is open and has an answer now, in order.
    pub(super) fn answer_all(&mut self) {
        let all: Vec<ConnId> = self.open.keys().copied().collect();
        all.into_iter().for_each(|conn| self.answer(conn));
    }

    /// The oldest command to `ip` that has no answer.
    pub(super) fn oldest_open(&self, ip: &str) -> Option<&str> {
        let to_ip = |conn: &ConnId| self.conns.get(conn).is_some_and(|to| to == ip);
        self.open
            .iter()
            .filter(|(conn, _)| to_ip(conn))
            .find_map(|(_, queue)| queue.front())
            .map(String::as_str)
    }

    /// Answers the oldest command to `ip` and no other.
    pub(super) fn answer_oldest(&mut self, ip: &str) {
        let to_ip = |conn: &ConnId| self.conns.get(conn).is_some_and(|to| to == ip);
        let conn = self.open.iter().find(|(conn, queue)| to_ip(conn) && !queue.is_empty()).map(|(c, _)| *c);
        let others = conn.map(|conn| self.open.entry(conn).or_default().split_off(1));
        if let (Some(conn), Some(others)) = (conn, others) {
            self.answer(conn);
            self.open.entry(conn).or_default().extend(others);
        }
    }

    fn answer(&mut self, conn: ConnId) {
        loop {
            let Some(ip) = self.conns.get(&conn).cloned().filter(|ip| !self.silent.contains(ip)) else {
                return;
            };
            let Some(text) = self.open.get(&conn).and_then(|q| q.front()).cloned() else { return };
            if text.starts_with("SUBSCRIBE") {
                self.subscribed.insert(ip, conn);
                self.open.entry(conn).or_default().pop_front();
                continue;
            }
            let Some(value) = self.answer_to(&ip, &text) else { return };
            self.open.entry(conn).or_default().pop_front();
            self.input(Input::Reply { conn, value });
        }
    }

    fn answer_to(&self, ip: &str, text: &str) -> Option<Value> {
        let words: Vec<&str> = text.split(' ').collect();
        let key = words[..words.len().min(2)].join(" ");
        if let Some(value) = self.replies.get(&format!("{ip} {key}")) {
            return Some(value.clone());
        }
        let simple = |text: &str| Some(Value::Simple(text.into()));
        match words[0] {
            "PING" => simple("PONG"),
            "INFO" => self.infos.get(ip).map(|t| Value::Bulk(t.clone().into_bytes())),
            "PUBLISH" => Some(Value::Integer(1)),
            "EXEC" => self.execs.get(ip).cloned(),
            "SENTINEL" if words.get(1) == Some(&"EPOCHS") => {
                let unknown = || Value::Error(b"ERR Unknown sentinel subcommand 'EPOCHS'".to_vec());
                let known = |&(a, b)| Value::Array(vec![Value::Integer(a), Value::Integer(b)]);
                Some(self.epochs.get(ip).map_or_else(unknown, known))
            }
            "SENTINEL" if text.ends_with(" *") => self.answers.get(ip).map(|(down, ..)| {
                let nobody = Value::Bulk(b"*".to_vec());
                Value::Array(vec![Value::Integer(*down), nobody, Value::Integer(0)])
            }),
            "SENTINEL" => self.answers.get(ip).map(|(down, leader, epoch)| {
                let leader = Value::Bulk(leader.clone().into_bytes());
                Value::Array(vec![Value::Integer(*down), leader, Value::Integer(*epoch as i64)])
            }),
            _ => simple("OK"),
        }
    }

    /// A peer's hello, sent to us directly: its current epoch, the master's address and its config epoch. If asked, it
    /// says so too.
    pub(super) fn hello(&mut self, n: usize, epoch: u64, master: usize, config_epoch: u64) {
        self.epochs.insert(peer(n), (epoch as i64, config_epoch as i64));
        self.late_hello(n, epoch, master, config_epoch);
    }

    /// A peer's hello that was long on its way.
    pub(super) fn late_hello(&mut self, n: usize, epoch: u64, master: usize, config_epoch: u64) {
        let text = hello_text(n, epoch, master, config_epoch);
        self.ask(&["PUBLISH", "__sentinel__:hello", &text]);
    }

    /// A peer's hello as the subscription at `ip` brings it.
    pub(super) fn relayed_hello(&mut self, ip: &str, n: usize, epoch: u64, master: usize, config_epoch: u64) {
        let conn = *self.subscribed.get(ip).expect("a subscription");
        let text = hello_text(n, epoch, master, config_epoch);
        let parts = ["message", "__sentinel__:hello", &text];
        let value = Value::Array(parts.iter().map(|p| Value::Bulk(p.as_bytes().to_vec())).collect());
        self.input(Input::Reply { conn, value });
    }

    /// A client's or peer's command; its reply if it has come.
    pub(super) fn ask(&mut self, words: &[&str]) -> Option<Value> {
        self.next += 1;
        let client = ClientId(self.next);
        let argv = words.iter().map(|w| w.as_bytes().to_vec()).collect();
        self.input(Input::Command { client, argv, protocol: Protocol::Resp2 });
        let bytes = self.own.remove(&client.0)?;
        Some(decode(&bytes).expect("sound bytes").expect("a whole reply").0)
    }

    /// The question of another Sentinel whether the master is down, with its vote request if `candidate` is an id.
    pub(super) fn asked(&mut self, epoch: u64, candidate: &str) -> (i64, String, u64) {
        let host = node(0);
        let epoch = epoch.to_string();
        let words = ["SENTINEL", "is-master-down-by-addr", &host, "6379", &epoch, candidate];
        let Some(Value::Array(items)) = self.ask(&words) else { panic!("no answer") };
        let [Value::Integer(down), Value::Bulk(leader), Value::Integer(epoch)] = items.as_slice() else {
            panic!("{items:?}")
        };
        (*down, String::from_utf8_lossy(leader).into_owned(), *epoch as u64)
    }

    /// All peers say that the master is down, and nobody's vote is asked for yet.
    pub(super) fn agree(&mut self, peers: usize) {
        for n in 0..peers {
            self.answers.insert(peer(n), (1, "*".into(), 0));
        }
    }

    /// All peers see the master down and vote for us in `epoch`.
    pub(super) fn elect(&mut self, peers: usize, epoch: u64) {
        for n in 0..peers {
            self.answers.insert(peer(n), (1, OWN_ID.into(), epoch));
        }
        self.answer_all();
    }

    /// When an event was published for the first time.
    pub(super) fn at(&self, event: &str) -> Option<Ms> {
        self.events.iter().find(|(_, name, _)| name == event).map(|(at, _, _)| *at)
    }

    pub(super) fn count(&self, event: &str) -> usize {
        self.events.iter().filter(|(_, name, _)| name == event).count()
    }

    /// The times at which a command that begins so was sent to `ip`.
    pub(super) fn sent_to(&self, ip: &str, start: &str) -> Vec<Ms> {
        self.sent.iter().filter(|(_, to, text)| to == ip && text.starts_with(start)).map(|s| s.0).collect()
    }

    /// The text of the last command to `ip` that begins so.
    pub(super) fn last_to(&self, ip: &str, start: &str) -> Option<String> {
        self.sent.iter().rev().find(|(_, to, text)| to == ip && text.starts_with(start)).map(|s| s.2.clone())
    }

    pub(super) fn field(&mut self, name: &str) -> Option<String> {
        let Some(Value::Array(items)) = self.ask(&["SENTINEL", "MASTER", "m"]) else { panic!("no map") };
        let text = |v: &Value| String::from_utf8_lossy(v.as_bytes().expect("text")).into_owned();
        items.chunks(2).find(|p| text(&p[0]) == name).map(|p| text(&p[1]))
    }
}

fn hello_text(n: usize, epoch: u64, master: usize, config_epoch: u64) -> String {
    format!("{},26379,{},{epoch},m,{},6379,{config_epoch}", peer(n), peer_id(n), node(master))
}

pub(super) fn run_id(n: usize) -> String {
    format!("{n:040}")
}

/// INFO of a master.
pub(super) fn master_info(n: usize, offset: u64) -> String {
    format!("run_id:{}\r\nrole:master\r\nmaster_repl_offset:{offset}\r\n", run_id(n))
}

/// INFO of a replica of node `of`, its link up.
pub(super) fn replica_info(n: usize, of: usize, offset: u64) -> String {
    format!(
        "run_id:{}\r\nrole:slave\r\nmaster_host:{}\r\nmaster_port:6379\r\nmaster_link_status:up\r\n\
         slave_priority:100\r\nslave_repl_offset:{offset}\r\n",
        run_id(n),
        node(of)
    )
}
