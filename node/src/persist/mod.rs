//! Persistence: RDB files and forkless snapshots.

pub mod rdb;
pub mod snapshot;
