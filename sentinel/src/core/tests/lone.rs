//! A Sentinel alone on virtual time, and what it wants done: for rules that concern no other process.

use std::collections::BTreeMap;

use redoubt_wire::resp::reply::Protocol;
use redoubt_wire::resp::value::{Value, decode};

use crate::core::config::Config;
use crate::core::link::ConnId;
use crate::core::timers::Ms;
use crate::core::{ClientId, Core, Input, JobId, Level, Output, ScriptCall, ScriptEnd};

const START_MS: Ms = 1_000_000;

/// The Sentinel, and what it asked for and nobody has taken yet.
pub(super) struct Lone {
    pub(super) core: Core,
    pub(super) now: Ms,
    /// Attempts to connect, with the address.
    pub(super) connects: Vec<(ConnId, String)>,
    /// Names to look up.
    pub(super) lookups: Vec<String>,
    /// Scripts to run.
    pub(super) scripts: Vec<(JobId, Vec<String>)>,
    /// The environment of each script that was asked for, taken or not.
    pub(super) envs: Vec<BTreeMap<String, String>>,
    /// The queue of scripts, each time that it was written.
    pub(super) queues: Vec<Vec<String>>,
    /// Whether writes of the queue fail.
    pub(super) queue_fails: bool,
    /// Scripts to kill.
    pub(super) kills: Vec<JobId>,
    /// What was logged as a warning and is no event.
    pub(super) warnings: Vec<String>,
    /// Events, as `name text`.
    pub(super) events: Vec<String>,
    reply: Vec<u8>,
}

impl Lone {
    /// Starts it from these `sentinel` directives; `known` are the addresses of names.
    pub(super) fn new(directives: &[&str], known: &[(&str, &str)]) -> Lone {
        Lone::again(directives, known, &[])
    }

    /// The same, with scripts that an earlier run left.
    pub(super) fn again(directives: &[&str], known: &[(&str, &str)], left_over: &[String]) -> Lone {
        let words = |line: &&str| line.split(' ').map(str::to_string).collect();
        let directives: Vec<((), Vec<String>)> = directives.iter().map(|line| ((), words(line))).collect();
        let mut config = Config::new(|_| true);
        config.load(&directives).unwrap();
        config.scripts = left_over.iter().map(|line| ScriptCall::parse(line).unwrap()).collect();
        let known = known.iter().map(|(host, ip)| (host.to_string(), ip.to_string())).collect();
        let mut lone = Lone {
            core: Core::new(config, known, 1, START_MS),
            now: START_MS,
            connects: Vec::new(),
            lookups: Vec::new(),
            scripts: Vec::new(),
            envs: Vec::new(),
            queues: Vec::new(),
            queue_fails: false,
            kills: Vec::new(),
            warnings: Vec::new(),
            events: Vec::new(),
            reply: Vec::new(),
        };
        lone.pass(1);
        lone
    }

    pub(super) fn drain(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Connect { conn, addr } => self.connects.push((conn, addr.ip)),
                Output::Resolve { host } => self.lookups.push(host),
                Output::RunScript { job, argv, env, .. } => {
                    self.scripts.push((job, argv));
                    self.envs.push(env.into_iter().collect());
                }
                Output::PersistScripts { lines } => {
                    self.queues.push(lines);
                    let result = if self.queue_fails { Err("no space".into()) } else { Ok(()) };
                    self.tell(Input::ScriptsPersisted { result });
                }
                Output::Log { level: Level::Warning, text } if !text.starts_with(['+', '-']) => {
                    self.warnings.push(text);
                }
                Output::KillScript { job } => self.kills.push(job),
                Output::Publish { channel, message } => self.events.push(format!("{channel} {message}")),
                Output::Reply { bytes, .. } => self.reply = bytes,
                Output::Persist { seq, .. } => self.tell(Input::Persisted { seq, result: Ok(()) }),
                _ => {}
            }
        }
    }

    pub(super) fn tell(&mut self, input: Input) {
        self.core.handle(self.now, input);
        self.drain();
    }

    /// Lets time pass as a driver does.
    pub(super) fn pass(&mut self, ms: Ms) {
        let end = self.now + ms;
        while self.now < end {
            self.now = self.core.poll_timeout().clamp(self.now + 1, end);
            self.core.handle_timeout(self.now);
            self.drain();
        }
    }

    /// The answer to a client's command.
    pub(super) fn ask(&mut self, line: &str) -> Value {
        let argv = line.split(' ').map(|w| w.as_bytes().to_vec()).collect();
        self.tell(Input::Command { client: ClientId(1), argv, protocol: Protocol::Resp2 });
        decode(&self.reply).expect("a sound reply").expect("a whole reply").0
    }

    /// The script that was asked for last runs, and ends.
    pub(super) fn run_script(&mut self, end: ScriptEnd) -> Vec<String> {
        let (job, argv) = self.scripts.pop().expect("a script");
        self.tell(Input::ScriptStarted { job, pid: 77 });
        self.tell(Input::ScriptEnded { job, end });
        argv
    }
}
