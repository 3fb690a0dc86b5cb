//! One child process: started in its own group, dying with us, signalled by handle.

use std::fs::File;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::Pid;

use crate::error::{LabError, Result};
use crate::launcher::Launch;

/// A running child. Dropping it kills it and everything in its process group.
#[derive(Debug)]
pub struct Process {
    child: Child,
    program: PathBuf,
}

/// How a program ended that was expected to.
#[derive(Debug)]
pub struct Ended {
    /// Its exit status, e.g. 1 when a server refuses to start.
    pub code: Option<i32>,
    /// What it wrote to stdout and stderr.
    pub output: String,
}

impl Process {
    /// Starts `program`, its output going to the file `log` (appended, so that a restart keeps the
    /// account of the life before).
    pub fn spawn(
        program: &Path,
        args: &[String],
        core: Option<usize>,
        dir: &Path,
        log: &Path,
    ) -> Result<Process> {
        if !program.is_file() {
            return Err(LabError::Other(format!(
                "there is no program {}: build it, or name another with --node-bin / --sentinel-bin \
                 (REDOUBT_NODE_BIN / REDOUBT_SENTINEL_BIN)",
                program.display()
            )));
        }
        let output = File::options()
            .create(true)
            .append(true)
            .open(log)
            .map_err(LabError::file("open the log", log))?;
        let errors = output.try_clone().map_err(LabError::file("duplicate the handle of", log))?;
        let launch = Launch {
            parent: std::process::id() as i32,
            core,
            program: program.to_path_buf(),
            args: args.iter().map(Into::into).collect(),
        };
        let child = launch
            .command()?
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            // Ctrl-C in a terminal reaches the lab alone, which then ends its children in order.
            .process_group(0)
            .spawn()
            .map_err(LabError::file("start", program))?;
        Ok(Process { child, program: program.to_path_buf() })
    }

    /// Runs a program that is expected to end by itself within `limit`.
    pub fn run_to_end(program: &Path, args: &[String], dir: &Path, limit: Duration) -> Result<Ended> {
        let log = tempfile::NamedTempFile::new_in(dir).map_err(LabError::file("create a log in", dir))?;
        let mut process = Process::spawn(program, args, None, dir, log.path())?;
        let deadline = Instant::now() + limit;
        loop {
            let status = process.exit_status()?;
            if status.is_none() && Instant::now() < deadline {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            }
            let output = std::fs::read(log.path()).map_err(LabError::file("read", log.path()))?;
            let output = String::from_utf8_lossy(&output).into_owned();
            return match status {
                Some(status) => Ok(Ended { code: status.code(), output }),
                None => Err(LabError::Deadline {
                    what: format!("{} {} ends by itself", program.display(), args.join(" ")),
                    seconds: limit.as_secs_f64(),
                    seen: format!("still running; its output: {output}"),
                }),
            };
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        self.child.try_wait().map_err(LabError::file("wait for", &self.program))
    }

    /// Sends a signal to the process alone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill(Pid::from_raw(self.pid() as i32), signal).map_err(LabError::errno(format!(
            "cannot send {signal} to {} (pid {})",
            self.program.display(),
            self.pid()
        )))
    }

    /// Kills it with SIGKILL and reaps it.
    pub fn kill(&mut self) -> Result<()> {
        if self.exit_status()?.is_none() {
            self.signal(Signal::SIGKILL)?;
            self.child.wait().map_err(LabError::file("wait for", &self.program))?;
        }
        Ok(())
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus> {
        let what = format!("{} (pid {}) ends", self.program.display(), self.pid());
        crate::wait::until(&what, limit, async || match self.exit_status() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("still running".to_string()),
            Err(error) => Err(error.to_string()),
        })
        .await
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Errors have no taker here, and the one to expect is that it is gone already.
        let _ = killpg(Pid::from_raw(self.pid() as i32), Signal::SIGKILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An exit status in words: `exit status 1`, `signal 9`.
pub fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown status".to_string(),
    }
}
