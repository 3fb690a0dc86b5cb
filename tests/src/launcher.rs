//! The last step before a server runs: what only the child itself can arrange.
//!
//! A child that dies with its parent needs `PR_SET_PDEATHSIG`, which a process can set
//! only for itself, and setting it between fork and exec takes `unsafe`. So the lab
//! starts itself with a hidden verb; that process arms the signal, pins itself to a core
//! if asked to, and becomes the server by exec, under the same pid.
//!
//! The signal fires when the *thread* that started the child ends. Servers are
//! therefore started from the main thread (or a test's own), never from a worker.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use nix::sched::{CpuSet, sched_setaffinity};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::{Pid, getppid};

use crate::error::{LabError, Result};

/// The hidden verb of the command line.
pub const VERB: &str = "run-child";

/// How to start a server.
#[derive(clap::Args, Debug, Clone)]
pub struct Launch {
    /// The pid of the process that asks; if it is gone already, nothing is started.
    #[arg(long)]
    pub parent: i32,
    /// The only core on which the program shall run.
    #[arg(long)]
    pub core: Option<usize>,
    /// The program.
    pub program: PathBuf,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

impl Launch {
    /// The command that starts the launcher with these wishes.
    pub fn command(&self) -> Result<Command> {
        let mut command = Command::new(launcher()?);
        command.arg(VERB).arg("--parent").arg(self.parent.to_string());
        if let Some(core) = self.core {
            command.arg("--core").arg(core.to_string());
        }
        command.arg("--").arg(&self.program).args(&self.args);
        Ok(command)
    }

    /// Becomes the program. Returns only if that fails.
    pub fn run(self) -> LabError {
        if let Err(errno) = set_pdeathsig(Signal::SIGKILL) {
            return LabError::errno("cannot arm the parent-death signal")(errno);
        }
        if getppid() != Pid::from_raw(self.parent) {
            return LabError::Other("the process that asked for this server has ended".into());
        }
        if let Some(core) = self.core
            && let Err(error) = pin_to(core)
        {
            return error;
        }
        let error = Command::new(&self.program).args(&self.args).exec();
        LabError::file("execute", &self.program)(error)
    }
}

/// Restricts the calling thread, and what it starts from now on, to one core.
pub fn pin_to(core: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(core)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(LabError::errno(format!("cannot run on core {core} alone")))
}

/// The lab's own executable: the running one, or from a test the one beside it.
fn launcher() -> Result<PathBuf> {
    let own = std::env::current_exe().map_err(LabError::io("cannot find the lab's own executable"))?;
    if own.file_stem().is_some_and(|stem| stem == "redoubt-lab") {
        return Ok(own);
    }
    // A test's executable lies in target/<profile>/deps, the programs one level above.
    own.ancestors().skip(1).take(2).map(|dir| dir.join("redoubt-lab")).find(|path| path.is_file()).ok_or_else(
        || {
            LabError::Other(format!(
                "redoubt-lab is not built beside {}: run `cargo build -p redoubt-lab`",
                own.display()
            ))
        },
    )
}
