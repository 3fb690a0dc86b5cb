//! The queue of scripts: at most 16 run at once, 256 wait, a failed one is run again after a
//! delay that doubles, and one that runs too long is killed.
//!
//! A client-reconfig-script moves what clients connect to. A newer failover of the same master therefore calls off
//! what older calls still had to do, their retries among them: late, they would undo the newer one. Of those that wait such
//! calls start first and give way last, since sixteen notifications that hang are no reason to leave clients
//! without their master.
//!
//! What is still to run, or was running when the process ended, outlives a restart (see `Core::write_queue`): a call is made
//! at least once, and perhaps again with the same event id. A client-reconfig-script that a restart left over waits for two
//! hello periods, in which word of a newer failover would come and call it off.

mod call;

use rand::Rng;

pub use call::{ScriptCall, ScriptKind};

use super::model::{Addr, Cause};
use super::timers::{Ms, PERSIST_RETRY_MS};
use super::{Core, Level, Output};

const MAX_QUEUE: usize = 256;
const MAX_RUNNING: usize = 16;
const MAX_ATTEMPTS: u32 = 10;
/// When a script that found no process is tried again.
const NO_PROCESS_PAUSE_MS: Ms = 1000;
/// What the event says in place of the signal then.
const NO_PROCESS_SIGNAL: i32 = 99;
/// How long a notification may be in the queue before it is written down: most have run by then.
const WRITE_DELAY_MS: Ms = 250;

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
    path: String,
    pub(super) call: ScriptCall,
    pub(super) pid: u32,
    /// When it started, if it runs.
    pub(super) running_since: Option<Ms>,
    /// When it may run.
    pub(super) not_before: Ms,
    kill_at: Option<Ms>,
    /// A newer failover has made it void while it ran: it is not tried again.
    called_off: bool,
}

impl Job {
    /// Path and arguments.
    pub(super) fn argv(&self) -> Vec<String> {
        std::iter::once(&self.path).chain(&self.call.args).cloned().collect()
    }

    fn waits(&self) -> bool {
        self.running_since.is_none()
    }

    fn reconfigures(&self) -> bool {
        self.call.kind == ScriptKind::ClientReconfig
    }
}

/// The queue. See the module's head.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    pub(super) jobs: Vec<Job>,
    /// What the file holds.
    written: Vec<String>,
    /// What is being written into it.
    writing: Option<Vec<String>>,
    /// When it is to be written.
    write_at: Option<Ms>,
    /// The last write failed, which was told.
    failing: bool,
}

impl Scripts {
    pub(super) fn running(&self) -> usize {
        self.jobs.iter().filter(|j| !j.waits()).count()
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

    /// When the file is to be written, unless it is being written.
    pub(super) fn write_due(&self) -> Ms {
        self.write_at.filter(|_| self.writing.is_none()).unwrap_or(Ms::MAX)
    }

    fn changed(&mut self, write_at: Ms) {
        self.write_at = Some(self.write_at.map_or(write_at, |at| at.min(write_at)));
    }
}

impl Core {
    /// Puts a script in the queue; one that is not running gives way when it is full.
    fn queue_script(
        &mut self,
        m: usize,
        kind: ScriptKind,
        path: String,
        args: Vec<String>,
        reason: &str,
        now: Ms,
    ) {
        let id = JobId(self.fresh_id());
        let call = ScriptCall {
            kind,
            master: self.masters[m].name().to_string(),
            epoch: self.masters[m].config_epoch,
            event_id: format!("{:032x}", self.rng.random::<u128>()),
            reason: reason.to_string(),
            args,
            attempts: 0,
        };
        self.enqueue(id, path, call, 0);
        let write_at = if kind == ScriptKind::ClientReconfig { now } else { now + WRITE_DELAY_MS };
        self.scripts.changed(write_at);
    }

    fn enqueue(&mut self, id: JobId, path: String, call: ScriptCall, not_before: Ms) {
        if call.kind == ScriptKind::ClientReconfig {
            self.call_off_older(&call);
        }
        let job =
            Job { id, path, call, pid: 0, running_since: None, not_before, kill_at: None, called_off: false };
        self.scripts.jobs.push(job);
        if self.scripts.jobs.len() > MAX_QUEUE {
            let jobs = &self.scripts.jobs;
            let notification = jobs.iter().position(|j| j.waits() && !j.reconfigures());
            if let Some(at) = notification.or_else(|| jobs.iter().position(Job::waits)) {
                let job = self.scripts.jobs.remove(at);
                let text = format!("The queue of scripts is full: {} is not called", job.argv().join(" "));
                self.log(Level::Warning, text);
            }
        }
    }

    /// A newer failover of a master: what older calls of its client-reconfig-script have not done is void.
    fn call_off_older(&mut self, newer: &ScriptCall) {
        let mut void = Vec::new();
        self.scripts.jobs.retain_mut(|job| {
            if !job.reconfigures() || job.call.master != newer.master {
                return true;
            }
            job.called_off = true;
            if job.waits() {
                void.push((job.argv().join(" "), job.call.epoch));
            }
            !job.waits()
        });
        for (call, epoch) in void {
            let text = format!("{call} of epoch {epoch} is called off by the newer failover");
            self.log(Level::Notice, format!("{text} of epoch {}", newer.epoch));
        }
    }

    /// Calls the notification-script of a master, if it has one.
    pub(super) fn notify(&mut self, m: usize, event: &str, text: &str) {
        let Some(path) = self.masters[m].cfg.notification_script.clone() else { return };
        // Events happen while something is taken in, which is when the clock was looked at.
        let now = self.tilt.last_look;
        let args = vec![event.to_string(), text.to_string()];
        self.queue_script(m, ScriptKind::Notification, path, args, event, now);
    }

    /// Calls the client-reconfig-script of a master, if it has one: master, role, state, from and to. We led
    /// the failover that `cause` tells of, or observed that of another.
    pub(super) fn reconfigure_clients(
        &mut self,
        m: usize,
        cause: Option<Cause>,
        from: &Addr,
        to: &Addr,
        now: Ms,
    ) {
        let hostnames = self.globals.announce_hostnames;
        let Some(path) = self.masters[m].cfg.client_reconfig_script.clone() else { return };
        let role = if cause.is_some() { "leader" } else { "observer" };
        let reason = match cause {
            Some(Cause::Down) => "failover",
            Some(Cause::Operator) => "manual-failover",
            Some(Cause::Coordinated) => "coordinated-failover",
            None => "observed-switch",
        };
        let mut args = vec![self.masters[m].name().to_string(), role.into(), "start".into()];
        for addr in [from, to] {
            args.extend([addr.announced(hostnames).to_string(), addr.port.to_string()]);
        }
        self.queue_script(m, ScriptKind::ClientReconfig, path, args, reason, now);
    }

    /// Takes over what a restart left to be run.
    pub(super) fn take_over_scripts(&mut self, calls: Vec<ScriptCall>, now: Ms) {
        self.scripts.written = calls.iter().map(ScriptCall::line).collect();
        for call in calls {
            let master = self.index_by_name(&call.master).map(|m| &self.masters[m]);
            let reconfigures = call.kind == ScriptKind::ClientReconfig;
            let path = master.and_then(|m| match call.kind {
                ScriptKind::Notification => m.cfg.notification_script.clone(),
                ScriptKind::ClientReconfig => m.cfg.client_reconfig_script.clone(),
            });
            let outdated = reconfigures && master.is_some_and(|m| m.config_epoch > call.epoch);
            let Some(path) = path.filter(|_| !outdated) else {
                let why = if outdated { "a newer failover is known" } else { "it has no such script" };
                let text = format!("A call for {} that a restart left over is dropped: {why}", call.master);
                self.log(Level::Notice, format!("{text} ({})", call.args.join(" ")));
                continue;
            };
            let id = JobId(self.fresh_id());
            let grace = if reconfigures { 2 * self.timers.publish_period } else { 0 };
            self.enqueue(id, path, call, now + grace);
        }
        self.scripts.changed(now);
    }

    pub(super) fn run_scripts(&mut self, now: Ms) {
        let mut room = MAX_RUNNING.saturating_sub(self.scripts.running());
        let limit = self.timers.script_max_runtime;
        for kind in [ScriptKind::ClientReconfig, ScriptKind::Notification] {
            for job in self.scripts.jobs.iter_mut().filter(|j| j.call.kind == kind) {
                if job.waits() && job.not_before <= now && room > 0 {
                    room -= 1;
                    job.running_since = Some(now);
                    job.call.attempts = (job.call.attempts + 1).min(MAX_ATTEMPTS);
                    job.kill_at = Some(now + limit + 1);
                    let (master, argv, env) = (job.call.master.clone(), job.argv(), job.call.env());
                    self.out.push_back(Output::RunScript { job: job.id, master, argv, env });
                }
            }
        }
        let mut timed_out = Vec::new();
        for job in &mut self.scripts.jobs {
            if job.kill_at.take_if(|at| now >= *at).is_some() {
                timed_out.push((job.id, job.path.clone(), job.pid));
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
        self.scripts.changed(now + WRITE_DELAY_MS);
        let (code, signal) = match end {
            ScriptEnd::Exited(code) => (code, 0),
            ScriptEnd::Signaled(signal) => (0, signal),
            ScriptEnd::NotStarted => return self.script_not_started(at, now),
        };
        let first_delay = self.timers.script_retry_delay;
        let job = &mut self.scripts.jobs[at];
        let (pid, path, called_off) = (job.pid, job.path.clone(), job.called_off);
        let failed = signal != 0 || code != 0;
        let retry = (signal != 0 || code == 1) && job.call.attempts < MAX_ATTEMPTS && !called_off;
        if retry {
            job.running_since = None;
            job.kill_at = None;
            job.pid = 0;
            job.not_before = now + (first_delay << (job.call.attempts - 1));
        } else {
            self.scripts.jobs.remove(at);
        }
        self.event_text(Level::Debug, "-script-child", None, format!("{pid} {code} {signal}"));
        if failed && called_off {
            let text = format!("{path} failed ({signal} {code}) and is not tried again: a newer failover");
            self.log(Level::Notice, format!("{text} called it off"));
        } else if failed && !retry {
            self.event_text(Level::Warning, "-script-error", None, format!("{path} {signal} {code}"));
        }
    }

    /// A system without a process to spare may have one soon: the script stays.
    fn script_not_started(&mut self, at: usize, now: Ms) {
        let job = &mut self.scripts.jobs[at];
        job.running_since = None;
        job.kill_at = None;
        job.not_before = now + NO_PROCESS_PAUSE_MS;
        let text = format!("{} {NO_PROCESS_SIGNAL} 0", job.path);
        if job.called_off {
            self.scripts.jobs.remove(at);
        }
        self.event_text(Level::Warning, "-script-error", None, text);
    }

    /// The calls that are still to be made, or under way, as lines.
    pub fn script_lines(&self) -> Vec<String> {
        self.scripts.jobs.iter().filter(|j| !j.called_off).map(|j| j.call.line()).collect()
    }

    /// Writes the queue if that is due. Votes and epochs, which others wait for, have the disk first.
    pub(super) fn write_queue(&mut self, now: Ms) {
        if self.scripts.write_due() > now || self.persist.is_writing() {
            return;
        }
        self.scripts.write_at = None;
        let lines = self.script_lines();
        if lines != self.scripts.written {
            self.scripts.writing = Some(lines.clone());
            self.out.push_back(Output::PersistScripts { lines });
        }
    }

    /// A write of the queue ended.
    pub(super) fn queue_written(&mut self, result: Result<(), String>, now: Ms) {
        let Some(lines) = self.scripts.writing.take() else { return };
        match result {
            Ok(()) => {
                self.scripts.written = lines;
                self.scripts.failing = false;
            }
            Err(error) => {
                self.scripts.changed(now + PERSIST_RETRY_MS);
                if !std::mem::replace(&mut self.scripts.failing, true) {
                    let text = format!("The queue of scripts cannot be saved: {error}");
                    self.log(
                        Level::Warning,
                        format!("{text}. Scripts that wait would not survive a restart"),
                    );
                }
            }
        }
    }
}
