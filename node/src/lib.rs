//! The data node: a keyspace that speaks RESP, saves itself, and follows or feeds
//! other nodes.
//!
//! Data flows through the folders in this order: `server` reads sockets and hands
//! complete commands to `engine`, which answers and appends what changed to its stream of
//! effects; `persist` and `replication` read that stream and the cuts taken of the keyspace.

pub mod config;
pub mod engine;
pub mod memory;
pub mod persist;
pub mod replication;
pub mod server;
