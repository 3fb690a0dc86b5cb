//! The database: commands in, replies and effects out; no I/O, no clock.

pub mod commands;
pub mod keyspace;
pub mod types;
