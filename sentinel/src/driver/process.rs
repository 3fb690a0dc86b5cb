//! Runs notification and client-reconfig scripts.
//!
//! No shell, our environment and what the job adds, standard input empty. Every descriptor of ours
//! is close-on-exec, so that a script that outlives us holds no port.

use std::collections::HashMap;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;

use super::{Event, Events};
use crate::core::{Input, JobId, ScriptEnd};

/// What a script that cannot be executed counts as: no success, and no use in trying again.
const NOT_EXECUTED: i32 = 2;

/// The scripts that run.
pub(crate) struct Scripts {
    running: HashMap<JobId, tokio::sync::oneshot::Sender<()>>,
    events: Events,
}

impl Scripts {
    pub(crate) fn new(events: Events) -> Self {
        Scripts { running: HashMap::new(), events }
    }

    /// Starts a script; its start and its end come as events.
    pub(crate) fn run(&mut self, job: JobId, argv: &[String], env: &[(String, String)]) {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).envs(env.iter().cloned()).stdin(Stdio::null());
        let events = self.events.clone();
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                redoubt_wire::log::warning!("Can't run the script {}: {error}", argv[0]);
                let no_process = [Errno::EAGAIN, Errno::ENOMEM].map(|e| Some(e as i32));
                let end = if no_process.contains(&error.raw_os_error()) {
                    ScriptEnd::NotStarted
                } else {
                    ScriptEnd::Exited(NOT_EXECUTED)
                };
                return drop(events.send(Event::Core(Input::ScriptEnded { job, end })));
            }
        };
        let pid = child.id().unwrap_or(0);
        drop(events.send(Event::Core(Input::ScriptStarted { job, pid })));
        let (killer, mut killed) = tokio::sync::oneshot::channel();
        self.running.retain(|_, k| !k.is_closed());
        self.running.insert(job, killer);
        tokio::spawn(async move {
            let status = tokio::select! {
                status = child.wait() => status,
                Ok(()) = &mut killed => {
                    // The process is ours until it is waited for, so its id is its own.
                    let _ = kill(Pid::from_raw(pid as i32), Signal::SIGKILL);
                    child.wait().await
                }
            };
            let end = status.map_or(ScriptEnd::Exited(NOT_EXECUTED), how_it_ended);
            drop(events.send(Event::Core(Input::ScriptEnded { job, end })));
        });
    }

    /// Kills a script.
    pub(crate) fn kill(&mut self, job: JobId) {
        if let Some(killer) = self.running.remove(&job) {
            // A script that has just ended needs no killing.
            let _ = killer.send(());
        }
    }
}

fn how_it_ended(status: ExitStatus) -> ScriptEnd {
    match status.signal() {
        Some(signal) => ScriptEnd::Signaled(signal),
        None => ScriptEnd::Exited(status.code().unwrap_or(NOT_EXECUTED)),
    }
}
