//! Replication: one stream of effects, the replicas that take it, and the master it may come from.
//!
//! Everything here is a state machine without clock and I/O. [`role::Replication`] is the whole:
//! it owns the feeding side ([`master::Feed`]) and, on a replica, the link to the master
//! ([`replica::ReplicaLink`]). It lives under the engine's lock; the one thing used outside of
//! it is the [`backlog::Reader`] that writes the stream to a replica's socket. Times are
//! milliseconds of one monotonic clock.
//!
//! What a driver does, always ending with the outputs:
//!
//! - **Outputs.** After any call: `feed.poll_output()` and `poll_master_output()` until both are
//!   empty, each carried out in order. Then sleep until `poll_timeout()` and call
//!   `handle_timeout`, but hand in first what has arrived meanwhile.
//! - **A command wrote something.** Ask `feed.take_select_needed()` before wording an effect;
//!   `feed.append` the batch's bytes, and wake the writers of the replicas' sockets. The offset that it
//!   returns is what WAIT compares with `feed.count_acks`.
//! - **A connection becomes a replica.** Its REPLCONF goes to [`options::ReplicaOptions`], its SYNC or
//!   PSYNC to `feed.handle_sync` (first to `take_over` if it ends in FAILOVER), which gives it a
//!   [`master::ReplicaId`]; then ACKs to `feed.handle_ack`, blank lines to `feed.handle_newline`, and
//!   its end to `feed.detached`. With `StartStream` its writer gets a reader, whose slices it writes.
//! - **Snapshots.** `StartSnapshot` asks for a cut; at the cut, under the engine's lock,
//!   `feed.snapshot_started` says who takes it and how. To sockets the driver writes
//!   `$EOF:<mark>`, the payload and the mark to each, reports with `feed.payload_progress`, and calls
//!   `feed.snapshot_finished` when all of it is handed over. To a file it calls that when the file is
//!   complete, sends it where `SendFile` says (`$<length>` before it), and calls `feed.payload_sent`. When
//!   BGSAVE and its like hold the one cut, `feed.set_background_busy`.
//! - **REPLICAOF.** `follow` and `promote`. `Connect` and `Close` concern the one connection to the
//!   master; after `Close` nothing of the old connection is reported any more, and what was
//!   read from it is thrown away.
//! - **FAILOVER.** `start_failover` and `abort_failover`; while one is under way `failover_step` after
//!   everything that happens, whose steps are carried out: follow, or be a master again.
//! - **Bytes from the master.** `handle_master_bytes` until it gives nothing more; what it left is
//!   offered again after loading. On `Stream`: `next_command`, execute, and `finish_unit` if it ends a
//!   unit, until there is no command. A link that breaks inside MULTI voids what was queued.
//! - **Loading.** `load_starting` when the old data go (at `StartLoad` if parsed from the socket, at
//!   `PayloadEnd` if from a file, with `replaces: false` for swapdb), then `load_succeeded` or `load_failed`,
//!   both after `PayloadEnd` or, if the loader fails earlier, at once.
mod attach;
pub mod backlog;
mod cron;
pub mod failover;
mod handshake;
pub mod info;
pub mod lineage;
pub mod master;
#[cfg(test)]
mod master_tests;
pub mod options;
pub mod payload;
pub mod replica;
#[cfg(test)]
mod replica_tests;
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
