//! Runs notification and client-reconfig scripts.
//!
//! No shell, standard input empty, our environment and what the call adds, less what our service manager gave to us
//! alone. Every descriptor of ours is close-on-exec, so that a script that outlives us holds no port, and no signal is
//! blocked. Each script leads a process group of its own: neither a terminal's Ctrl-C nor a signal to our
//! group reaches it, and at the limit it is killed with all that it started. What a script leaves behind when it
//! ends by itself (`arping … &`) lives on. What it writes is logged (see `script_output`).

use std::collections::HashMap;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{ExitStatus, Stdio};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use redoubt_wire::log::Level;
use tokio::process::Command;

use super::{Event, Events, script_output};
use crate::core::{Input, JobId, ScriptEnd};

/// What a script that cannot be executed counts as: no success, and no use in trying again.
const NOT_EXECUTED: i32 = 2;
/// What a service manager hands to this process and no other: readiness, watchdog, sockets.
const OURS_ALONE: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

/// The scripts that run.
pub(crate) struct Scripts {
    running: HashMap<JobId, tokio::sync::oneshot::Sender<()>>,
    events: Events,
}

impl Scripts {
    pub(crate) fn new(events: Events) -> Self {
        Scripts { running: HashMap::new(), events }
    }

    /// Starts a script that concerns `master`; its start and its end come as events.
    pub(crate) fn run(&mut self, job: JobId, master: &str, argv: &[String], env: &[(String, String)]) {
        let mut command = Command::new(&argv[0]);
        command.args(&argv[1..]).envs(env.iter().cloned()).process_group(0);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        for name in OURS_ALONE {
            command.env_remove(name);
        }
        let events = self.events.clone();
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(error) => {
                let why = explained(&argv[0], &error);
                redoubt_wire::log::warning!("Can't run the script {} of {master}: {why}", argv[0]);
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
        let name = format!("Script {} of {master} (pid {pid})", argv[0]);
        if let Some(output) = child.stdout.take() {
            tokio::spawn(script_output::log(output, Level::Notice, name.clone()));
        }
        if let Some(errors) = child.stderr.take() {
            tokio::spawn(script_output::log(errors, Level::Warning, name));
        }
        let (killer, mut killed) = tokio::sync::oneshot::channel();
        self.running.retain(|_, k| !k.is_closed());
        self.running.insert(job, killer);
        tokio::spawn(async move {
            let status = tokio::select! {
                status = child.wait() => status,
                Ok(()) = &mut killed => {
                    // The process is ours until it is waited for, so its id, which is its group's, is its own.
                    let _ = killpg(Pid::from_raw(pid as i32), Signal::SIGKILL);
                    child.wait().await
                }
            };
            let end = status.map_or(ScriptEnd::Exited(NOT_EXECUTED), how_it_ended);
            drop(events.send(Event::Core(Input::ScriptEnded { job, end })));
        });
    }

    /// Kills a script and its process group.
    pub(crate) fn kill(&mut self, job: JobId) {
        if let Some(killer) = self.running.remove(&job) {
            // A script that has just ended needs no killing.
            let _ = killer.send(());
        }
    }
}

/// Why a script could not be executed, and what to do where that is not plain from the error.
fn explained(path: &str, error: &io::Error) -> String {
    let hint = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::ENOENT) if Path::new(path).exists() => {
            ". The interpreter that its first line names does not exist"
        }
        Some(Errno::ENOEXEC) => ". It needs a first line that names its interpreter, like #!/bin/sh",
        Some(Errno::EACCES) => ". The user that runs this program may not execute it, or its interpreter",
        Some(Errno::ETXTBSY) => ". Somebody has it open to write it: replace scripts by renaming",
        _ => "",
    };
    format!("{error}{hint}")
}

fn how_it_ended(status: ExitStatus) -> ScriptEnd {
    match status.signal() {
        Some(signal) => ScriptEnd::Signaled(signal),
        None => ScriptEnd::Exited(status.code().unwrap_or(NOT_EXECUTED)),
    }
}
