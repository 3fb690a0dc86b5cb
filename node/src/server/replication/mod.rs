//! Drives the replication state machine: carries out what it says, and tells it what happened.
//!
//! The machine lives in the engine. After every batch, still under the lock, [`Shared::deliver`]
//! gives it what was written and carries out its outputs; nothing in there waits. What waits
//! lives elsewhere: a replica's connection is an ordinary connection whose output side is a
//! [`writer::ReplicaWriter`]; snapshots for replicas have a thread each (`snapshot.rs`); the
//! link to the master and all timers are one task of the control thread (`master.rs`), and a
//! master's snapshot is loaded by a thread of its own (`load.rs`).

pub mod feeding;
pub mod lineage_file;
mod load;
mod master;
mod snapshot;
pub mod writer;

use redoubt_wire::{debug, notice, verbose, warning};

use crate::replication::{Level, LogLine};

pub use master::run;

/// Writes a line of the state machine to the log.
fn write_log(line: &LogLine) {
    let text = &line.text;
    match line.level {
        Level::Debug => debug!("{text}"),
        Level::Verbose => verbose!("{text}"),
        Level::Notice => notice!("{text}"),
        Level::Warning => warning!("{text}"),
    }
}
