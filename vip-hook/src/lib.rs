//! redoubt-vip-hook: a virtual IP that follows the master, and never answers from two hosts.
//!
//! Data flows through the folders in this order: `config` (what the user wants), `core` (when this
//! host may hold an address: a state machine without clock or I/O), `platform` (Linux: addresses,
//! the kernel's lease, ARP and neighbour discovery), `agent` (sockets and timers between the two),
//! and `cli` (what the user types, and what Sentinel calls). `control` is what the last two say to each
//! other, `clock` the one clock.

pub mod agent;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod core;
pub mod platform;
