//! Sockets: listeners, the connection loop, cron, signals, and the threads they run on.
//!
//! One control thread accepts connections and keeps the timers; `io-threads` workers serve
//! them, each with a readiness loop of its own, so that a connection's wake-ups never cross
//! threads; a small pool does what may block. All of them meet at the engine's lock.

pub mod acl;
pub mod clock;
pub mod connection;
pub mod cron;
pub mod facts;
pub mod heart;
pub mod listener;
pub mod outbox;
pub mod pace;
pub mod persistence;
pub mod replication;
pub mod shared;
pub mod shutdown;
pub mod start;
pub mod tasks;
pub mod worker;
