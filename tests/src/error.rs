//! What can go wrong in the lab, each with the place and the way out.
//!
//! A harness is read mostly when something failed, so an error carries what a person
//! would look for next: the last lines of the server's log, or the state that was last
//! seen while waiting for another.

use std::io;
use std::path::{Path, PathBuf};

/// The lab's result.
pub type Result<T, E = LabError> = std::result::Result<T, E>;

/// Any failure of the lab.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A system call failed.
    #[error("{what}: {source}")]
    Io {
        /// What was attempted, with the path or address.
        what: String,
        /// The system's answer.
        source: io::Error,
    },
    /// A server answered with an error, or not at all.
    #[error("{what}: {source}")]
    Redis {
        /// The command and the server it was sent to.
        what: String,
        /// The client library's account.
        source: redis::RedisError,
    },
    /// A server did not come up.
    #[error("{name} did not start: {why}\n  log: {}\n{tail}", log.display())]
    Start {
        /// The server's name in the deployment.
        name: String,
        /// What was seen instead.
        why: String,
        /// Its log file.
        log: PathBuf,
        /// The last lines of that log, indented.
        tail: String,
    },
    /// Somebody else listens on the port that was leased for a server.
    #[error("port {port} is taken by another program")]
    PortTaken {
        /// The port in question.
        port: u16,
    },
    /// A condition did not come about in time.
    #[error("gave up after {seconds:.1} s of waiting until {what}; last seen: {seen}")]
    Deadline {
        /// The condition, to be read after "until".
        what: String,
        /// How long was waited.
        seconds: f64,
        /// What the last probe saw.
        seen: String,
    },
    /// Ctrl-C, SIGTERM or SIGHUP.
    #[error("interrupted")]
    Interrupted,
    /// Anything else, in words.
    #[error("{0}")]
    Other(String),
}

impl LabError {
    /// For `map_err` after a system call.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> LabError {
        let what = what.into();
        move |source| LabError::Io { what, source }
    }

    /// For `map_err` after a system call on a file: `attempt` is a verb.
    pub fn file(attempt: &str, path: &Path) -> impl FnOnce(io::Error) -> LabError {
        LabError::io(format!("cannot {attempt} {}", path.display()))
    }

    /// For `map_err` after a system call that `nix` wraps.
    pub fn errno(what: impl Into<String>) -> impl FnOnce(nix::errno::Errno) -> LabError {
        let what = what.into();
        move |errno| LabError::Io { what, source: errno.into() }
    }

    /// For `map_err` after a command to a server.
    pub fn redis(what: impl Into<String>) -> impl FnOnce(redis::RedisError) -> LabError {
        let what = what.into();
        move |source| LabError::Redis { what, source }
    }
}
