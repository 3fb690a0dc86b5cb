//! The queue of scripts: at most 16 run at once, 256 wait, a failed one is run again after a
//! delay that doubles, and one that runs too long is killed.

use super::model::Addr;
use super::timers::Ms;
use super::{Core, Level, Output};

const MAX_QUEUE: usize = 256;
const MAX_RUNNING: usize = 16;
const MAX_ATTEMPTS: u32 = 10;
/// When a script that found no process is tried again.
const NO_PROCESS_PAUSE_MS: Ms = 1000;
/// What the event says in place of the signal then.
const NO_PROCESS_SIGNAL: i32 = 99;

/// A script to run; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

/// How a script ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptEnd {
    /// By itself, with this code.
    Exited(i32),
    /// By this signal.
    Signaled(i32),
    /// The system had no process for it.
    NotStarted,
}

#[derive(Debug)]
pub(super) struct Job {
    id: JobId,
    pub(super) argv: Vec<String>,
    env: Vec<(String, String)>,
    pub(super) pid: u32,
    /// When it started, if it runs.
    pub(super) running_since: Option<Ms>,
    /// When it may run.
    pub(super) not_before: Ms,
    /// How often it was run.
    pub(super) attempts: u32,
    kill_at: Option<Ms>,
}

/// The queue. See the module's head.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    pub(super) jobs: Vec<Job>,
}

impl Scripts {
    pub(super) fn running(&self) -> usize {
        self.jobs.iter().filter(|j| j.running_since.is_some()).count()
    }

    pub(super) fn due(&self) -> Ms {
        let room = self.running() < MAX_RUNNING;
        let of = |j: &Job| match j.running_since {
            Some(_) => j.kill_at.unwrap_or(Ms::MAX),
            None if room => j.not_before,
            None => Ms::MAX,
        };
        self.jobs.iter().map(of).min().unwrap_or(Ms::MAX)
    }
}

impl Core {
    /// Puts a script in the queue; the oldest that is not running gives way when it is full.
    pub(super) fn queue_script(&mut self, m: usize, argv: Vec<String>) {
        let id = JobId(self.fresh_id());
        let env = vec![("SENTINEL_CONFIG_EPOCH".to_string(), self.masters[m].config_epoch.to_string())];
        self.scripts.jobs.push(Job {
            id,
            argv,
            env,
            pid: 0,
            running_since: None,
            not_before: 0,
            attempts: 0,
            kill_at: None,
        });
        if self.scripts.jobs.len() > MAX_QUEUE
            && let Some(oldest) = self.scripts.jobs.iter().position(|j| j.running_since.is_none())
        {
            self.scripts.jobs.remove(oldest);
        }
    }

    /// Runs the client-reconfig-script: master, role, state, from and to.
    pub(super) fn reconfigure_clients(&mut self, m: usize, role: &str, from: &Addr, to: &Addr) {
        let hostnames = self.globals.announce_hostnames;
        let Some(path) = self.masters[m].cfg.client_reconfig_script.clone() else { return };
        let mut argv = vec![path, self.masters[m].name().to_string(), role.into(), "start".into()];
        for addr in [from, to] {
            argv.extend([addr.announced(hostnames).to_string(), addr.port.to_string()]);
        }
        self.queue_script(m, argv);
    }

    pub(super) fn run_scripts(&mut self, now: Ms) {
        let mut room = MAX_RUNNING.saturating_sub(self.scripts.running());
        let limit = self.timers.script_max_runtime;
        let mut timed_out = Vec::new();
        for job in &mut self.scripts.jobs {
            if job.running_since.is_none() && job.not_before <= now && room > 0 {
                room -= 1;
                job.running_since = Some(now);
                job.attempts += 1;
                job.kill_at = Some(now + limit + 1);
                let (id, argv, env) = (job.id, job.argv.clone(), job.env.clone());
                self.out.push_back(Output::RunScript { job: id, argv, env });
            } else if job.kill_at.is_some_and(|at| now >= at) {
                job.kill_at = None;
                timed_out.push((job.id, job.argv[0].clone(), job.pid));
            }
        }
        for (job, path, pid) in timed_out {
            self.event_text(Level::Warning, "-script-timeout", None, format!("{path} {pid}"));
            self.out.push_back(Output::KillScript { job });
        }
    }

    pub(super) fn script_started(&mut self, id: JobId, pid: u32) {
        if let Some(job) = self.scripts.jobs.iter_mut().find(|j| j.id == id) {
            job.pid = pid;
        }
        self.event_text(Level::Debug, "+script-child", None, pid.to_string());
    }

    pub(super) fn script_ended(&mut self, id: JobId, end: ScriptEnd, now: Ms) {
        let Some(at) = self.scripts.jobs.iter().position(|j| j.id == id) else { return };
        let (code, signal) = match end {
            ScriptEnd::Exited(code) => (code, 0),
            ScriptEnd::Signaled(signal) => (0, signal),
            ScriptEnd::NotStarted => return self.script_not_started(at, now),
        };
        let first_delay = self.timers.script_retry_delay;
        let job = &mut self.scripts.jobs[at];
        let (pid, path) = (job.pid, job.argv[0].clone());
        let retry = (signal != 0 || code == 1) && job.attempts < MAX_ATTEMPTS;
        if retry {
            job.running_since = None;
            job.kill_at = None;
            job.pid = 0;
            job.not_before = now + (first_delay << (job.attempts - 1));
        } else {
            self.scripts.jobs.remove(at);
        }
        self.event_text(Level::Debug, "-script-child", None, format!("{pid} {code} {signal}"));
        if !retry && (signal != 0 || code != 0) {
            self.event_text(Level::Warning, "-script-error", None, format!("{path} {signal} {code}"));
        }
    }

    /// A system without a process to spare may have one soon: the script stays.
    fn script_not_started(&mut self, at: usize, now: Ms) {
        let job = &mut self.scripts.jobs[at];
        job.running_since = None;
        job.kill_at = None;
        job.not_before = now + NO_PROCESS_PAUSE_MS;
        let text = format!("{} {NO_PROCESS_SIGNAL} 0", job.argv[0]);
        self.event_text(Level::Warning, "-script-error", None, text);
    }
}
