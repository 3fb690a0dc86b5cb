//! Sentinel without sockets, clocks or files: every rule and every timer.
//!
//! A driver feeds it what happened ([`Core::handle`]) and the passing of time
//! ([`Core::handle_timeout`], due at [`Core::poll_timeout`]), and carries out what comes out of
//! [`Core::poll_output`]. `now` is milliseconds of a monotonic clock. Randomness comes from a seeded
//! generator, so that the same inputs give the same outputs and a simulator can run many of these
//! on virtual time.
//!
//! It acts on the event that makes an action due. Redis's Sentinel looks at everything every 52 to
//! 100 ms and takes one step each time; here every reply is followed at once by all the steps that it
//! permits, for the master it concerns. A deadline per master covers what only time makes due.
//!
//! What others may rely on must be on disk before they hear of it: an epoch and a vote leave only
//! after the write that holds them is confirmed (see `persist`).

pub mod config;
pub mod info;
pub mod link;
pub mod model;
pub mod timers;
pub mod value;

mod commands;
mod configuration;
mod consent;
mod coordinated;
mod down;
mod election;
mod events;
mod failover;
mod forget;
mod hello;
mod links;
mod monitor;
mod names;
mod persist;
mod registry;
mod scripts;
mod selection;
mod status;
mod switch;
mod tilt;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use redoubt_wire::resp::reply::Protocol;

use config::{Config, Globals};
use link::{Channel, ConnId, Link, LinkKey};
use model::{Addr, Master, MasterId, Role, Target};
use timers::{Due, HEARTBEAT_MS, Ms, Timers};
use value::Value;

pub use commands::SENTINEL;
pub use events::{Level, format_directive};
pub use persist::StateLine;
pub use scripts::{JobId, ScriptEnd};

/// A client connection, as the driver numbers them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// A connection asked for with [`Output::Connect`] stands; our own address on it.
    Connected {
        /// The attempt.
        conn: ConnId,
        /// Our end's IP address.
        local_ip: Option<String>,
    },
    /// A connection could not be made for another reason than [`Input::Refused`], or ended.
    Disconnected {
        /// The attempt or connection.
        conn: ConnId,
        /// Why, for the log.
        reason: String,
    },
    /// A connection could not be made because the host refused it: it is there, and nobody listens.
    Refused {
        /// The attempt.
        conn: ConnId,
    },
    /// A reply or push arrived.
    Reply {
        /// The connection.
        conn: ConnId,
        /// What it was.
        value: Value,
    },
    /// A client sent SENTINEL, PUBLISH or ROLE. Exactly one [`Output::Reply`] answers it, perhaps later:
    /// the driver hands over the client's next command only then.
    Command {
        /// The client.
        client: ClientId,
        /// The command and its arguments.
        argv: Vec<Vec<u8>>,
        /// The protocol of the reply.
        protocol: Protocol,
    },
    /// A script runs.
    ScriptStarted {
        /// The job.
        job: JobId,
        /// Its process.
        pid: u32,
    },
    /// A script ended.
    ScriptEnded {
        /// The job.
        job: JobId,
        /// How.
        end: ScriptEnd,
    },
    /// A write of the state ended.
    Persisted {
        /// The number given with [`Output::Persist`].
        seq: u64,
        /// The error's text if it failed.
        result: Result<(), String>,
    },
    /// A host name was looked up.
    Resolved {
        /// The name.
        host: String,
        /// Its address, if it has one.
        ip: Option<String>,
    },
}

/// What to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Output {
    /// Connect; answer with `Connected` or `Disconnected`.
    Connect {
        /// Names the attempt and the connection.
        conn: ConnId,
        /// Where to: its IP and port.
        addr: Addr,
    },
    /// Close a connection. Nothing of it may be handed in afterwards.
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// Send commands, in one write.
    Send {
        /// The connection.
        conn: ConnId,
        /// The commands with their arguments.
        commands: Vec<Vec<Vec<u8>>>,
    },
    /// Answer a client.
    Reply {
        /// The client.
        client: ClientId,
        /// The encoded reply.
        bytes: Vec<u8>,
    },
    /// Hand an event to the subscribers among our clients.
    Publish {
        /// The event's name, which is the channel.
        channel: String,
        /// Its text.
        message: String,
    },
    /// Write a line of the log.
    Log {
        /// Its importance.
        level: Level,
        /// The line.
        text: String,
    },
    /// Change the level of the log.
    SetLogLevel {
        /// debug, verbose, notice, warning or nothing.
        level: String,
    },
    /// Run a script; answer with `ScriptStarted` and `ScriptEnded`.
    RunScript {
        /// The job.
        job: JobId,
        /// Program and arguments.
        argv: Vec<String>,
        /// What its environment has besides ours.
        env: Vec<(String, String)>,
    },
    /// Kill a script; its end is awaited all the same.
    KillScript {
        /// The job.
        job: JobId,
    },
    /// Write the state to disk; answer with `Persisted`. One at a time.
    Persist {
        /// Names this write.
        seq: u64,
        /// The directives that hold the state.
        lines: Vec<StateLine>,
    },
    /// Look up a host name; answer with `Resolved`, however long it takes.
    Resolve {
        /// The name.
        host: String,
    },
    /// End the process with this code at once.
    Exit {
        /// The exit code.
        code: i32,
    },
}

/// A Sentinel. See the module's head.
#[derive(Debug)]
pub struct Core {
    id: String,
    epoch: u64,
    epoch_moved_at: Ms,
    globals: Globals,
    timers: Timers,
    masters: Vec<Master>,
    links: BTreeMap<LinkKey, Link>,
    conns: BTreeMap<ConnId, (LinkKey, Channel)>,
    out: VecDeque<Output>,
    rng: Xoshiro256PlusPlus,
    persist: persist::Persist,
    scripts: scripts::Scripts,
    tilt: tilt::Tilt,
    names: names::Names,
    crash_after_election: bool,
    crash_after_promotion: bool,
    executable: fn(&str) -> bool,
    planted: Option<config::Planted>,
    next_id: u64,
}

impl Core {
    /// A Sentinel that watches what `config` names. `resolved` holds the addresses of the host
    /// names in it; `seed` seeds the generator that makes ids and pauses.
    pub fn new(config: Config, resolved: BTreeMap<String, String>, seed: u64, now: Ms) -> Core {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let fresh_id: String =
            (0..40).map(|_| char::from_digit(rng.random_range(0..16), 16).unwrap_or('0')).collect();
        let is_new = config.globals.my_id.is_none();
        let mut core = Core {
            id: config.globals.my_id.clone().unwrap_or(fresh_id),
            epoch: config.globals.current_epoch,
            epoch_moved_at: now,
            globals: config.globals,
            timers: Timers::default(),
            masters: Vec::new(),
            links: BTreeMap::new(),
            conns: BTreeMap::new(),
            out: VecDeque::new(),
            rng,
            persist: persist::Persist::default(),
            scripts: scripts::Scripts::default(),
            tilt: tilt::Tilt::new(now),
            names: names::Names::new(resolved),
            crash_after_election: false,
            crash_after_promotion: false,
            executable: config.executable,
            planted: config.planted,
            next_id: 0,
        };
        core.log(Level::Notice, format!("Sentinel ID is {}", core.id));
        for entry in config.masters {
            core.load_master(entry, now);
        }
        if is_new {
            core.save();
        }
        core.finish(now);
        core
    }

    /// Takes in what happened, and does all that it makes due.
    pub fn handle(&mut self, now: Ms, input: Input) {
        self.note_time(now);
        match input {
            Input::Connected { conn, local_ip } => self.connected(conn, local_ip, now),
            Input::Disconnected { conn, reason } => self.disconnected(conn, &reason, now),
            Input::Refused { conn } => self.refused(conn, now),
            Input::Reply { conn, value } => self.reply(conn, value, now),
            Input::Command { client, argv, protocol } => self.command(client, argv, protocol, now),
            Input::ScriptStarted { job, pid } => self.script_started(job, pid),
            Input::ScriptEnded { job, end } => self.script_ended(job, end, now),
            Input::Persisted { seq, result } => self.persisted(seq, result, now),
            Input::Resolved { host, ip } => self.resolved(&host, ip, now),
        }
        self.finish(now);
    }

    /// Does what the passing of time made due. Pending input is handed in before this is called,
    /// so that an answer that has arrived is never taken for missing.
    pub fn handle_timeout(&mut self, now: Ms) {
        self.note_time(now);
        self.leave_tilt(now);
        for m in 0..self.masters.len() {
            let Some(master) = self.masters.get(m) else { break };
            if master.due <= now {
                self.evaluate(master.id, now);
            } else if master.instances_due <= now {
                self.evaluate_instances(m, now);
            }
        }
        self.finish(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.out.pop_front()
    }

    /// When to call [`Core::handle_timeout`] at the latest.
    pub fn poll_timeout(&self) -> Ms {
        let masters = self.masters.iter().map(|m| m.due.min(m.instances_due)).min().unwrap_or(Ms::MAX);
        let own = self.scripts.due().min(self.persist.due()).min(self.tilt.due(&self.timers));
        masters.min(own).min(self.tilt.last_look + HEARTBEAT_MS)
    }

    /// This Sentinel's id.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The epoch in which this Sentinel stands for election for a master, or leads its failover.
    pub fn failover_epoch(&self, master: &str) -> Option<u64> {
        Some(self.masters[self.index_by_name(master)?].failover.as_ref()?.epoch)
    }

    /// The password that clients need (ours as well, toward other Sentinels).
    pub fn requirepass(&self) -> Option<&str> {
        self.globals.requirepass.as_deref()
    }

    /// What follows every input: scripts that can start, and the write that is due.
    fn finish(&mut self, now: Ms) {
        self.run_scripts(now);
        self.write_state(now);
    }

    /// Does everything that is due for one master, and notes when the next thing will be.
    fn evaluate(&mut self, id: MasterId, now: Ms) {
        let Some(m) = self.index(id) else { return };
        let before = (self.masters[m].failover_state(), self.masters[m].o_down_since);
        for target in self.masters[m].targets() {
            self.evaluate_instance(m, &target, now);
        }
        let mut due = Due::never();
        if !self.tilt.active() {
            self.judge_objectively(m, now);
            self.stand_if_due(m, now, &mut due);
            while self.failover_step(m, now, &mut due) {}
            self.ask_peers(m, false, now, &mut due);
            self.confirm_guarded(m, now, &mut due);
            self.forget_stale(m, now, &mut due);
        }
        let master = &mut self.masters[m];
        // A step makes probes of other instances due: they are looked at again at once.
        if due.0 <= now || before != (master.failover_state(), master.o_down_since) {
            due.at(now + 1);
        }
        master.due = due.0.max(now + 1);
        master.instances_due = master.first_instance_due();
    }

    /// Does what is due for single instances of a master, which is mostly a PING, and looks at the whole only if
    /// that brought a new verdict.
    fn evaluate_instances(&mut self, m: usize, now: Ms) {
        let mut new_verdict = false;
        for target in self.masters[m].due_targets(now) {
            let down = |core: &Core| core.instance(m, &target).and_then(|i| i.s_down_since);
            let before = down(self);
            self.evaluate_instance(m, &target, now);
            new_verdict |= down(self) != before;
        }
        let master = &mut self.masters[m];
        master.instances_due = master.first_instance_due();
        if new_verdict {
            let id = master.id;
            self.evaluate(id, now);
        }
    }

    fn evaluate_instance(&mut self, m: usize, target: &Target, now: Ms) {
        let mut due = Due::never();
        self.connect_due(m, target, now, &mut due);
        self.probe_due(m, target, now, &mut due);
        if !self.tilt.active() {
            self.judge_subjectively(m, target, now, &mut due);
        }
        if let Some(instance) = self.masters[m].instance_mut(target) {
            instance.due = due.0.max(now + 1);
        }
    }

    /// Evaluates every master that uses `link`.
    fn evaluate_users(&mut self, link: LinkKey, now: Ms) {
        let users = self.links.get(&link).map(|l| l.users.clone()).unwrap_or_default();
        let mut seen = Vec::new();
        for (id, _) in users {
            if !seen.contains(&id) {
                self.evaluate(id, now);
                seen.push(id);
            }
        }
    }

    /// Evaluates the instances behind `link`, not their masters.
    fn evaluate_users_alone(&mut self, link: LinkKey, now: Ms) {
        for (id, target) in self.links.get(&link).map(|l| l.users.clone()).unwrap_or_default() {
            let Some(m) = self.index(id) else { continue };
            if let Some(instance) = self.masters[m].instance_mut(&target) {
                instance.due = now;
                self.evaluate_instances(m, now);
            }
        }
    }

    /// Masters stand in the order of their ids, which count up.
    fn index(&self, id: MasterId) -> Option<usize> {
        self.masters.binary_search_by_key(&id, |m| m.id).ok()
    }

    fn index_by_name(&self, name: &str) -> Option<usize> {
        self.masters.iter().position(|m| m.cfg.name == name)
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// A number below `n`.
    fn random(&mut self, n: Ms) -> Ms {
        if n == 0 { 0 } else { self.rng.random_range(0..n) }
    }

    fn instance(&self, m: usize, target: &Target) -> Option<&model::Instance> {
        self.masters.get(m)?.instance(target)
    }

    fn link_of(&self, m: usize, target: &Target) -> Option<&Link> {
        self.links.get(&self.instance(m, target)?.link)
    }

    fn connected_to(&self, m: usize, target: &Target) -> Option<ConnId> {
        self.link_of(m, target)?.up()
    }

    /// Whether the entry for a master reports itself a master and is not down.
    fn looks_sane(&self, m: usize, now: Ms) -> bool {
        let master = &self.masters[m];
        master.me.role_reported == Role::Master
            && !master.me.s_down()
            && master.o_down_since.is_none()
            && master.me.info_at.is_some_and(|at| now - at < 2 * self.timers.info_period)
    }
}
