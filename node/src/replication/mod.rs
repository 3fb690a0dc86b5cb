//! Replication: the backlog, the master side, the replica side.
pub mod backlog;
pub mod info;
pub mod lineage;
pub mod master;
pub mod options;
pub mod payload;
pub mod replica;
pub mod role;
mod schedule;
#[cfg(test)]
mod sim;
pub mod stream;

/// How much a log line matters, by Redis's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Of interest to developers.
    Debug,
    /// Much detail.
    Verbose,
    /// What an operator wants to see.
    Notice,
    /// What an operator has to see.
    Warning,
}

/// A line for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// Its weight.
    pub level: Level,
    /// Its text, by which tools recognise it.
    pub text: String,
}
