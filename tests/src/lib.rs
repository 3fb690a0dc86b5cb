//! The harness: starts deployments, injects faults, measures, reports.
//!
//! From the bottom up: [`ports`], [`scratch`] and [`process`] hold what must be given back
//! whatever happens; [`server`] is one server, [`deployment`] a Sentinel deployment of
//! them; [`discovery`] finds the master as clients do, [`load`] writes to it and keeps
//! book; [`failover`] puts these together into one round of a fault and its mending,
//! which [`demo`] shows, [`mod@bench`] repeats, and the end-to-end tests assert upon.
//! [`netns`] makes a network of hosts; [`vip`] is a deployment there whose clients know a virtual address.
//! [`sim`] stands apart: it runs Sentinels without processes, on virtual time.

pub mod bench;
pub mod binaries;
pub mod client;
pub mod dataset;
pub mod demo;
pub mod deployment;
pub mod discovery;
pub mod error;
pub mod failover;
pub mod launcher;
pub mod load;
pub mod netns;
pub mod played;
pub mod ports;
pub mod process;
pub mod scratch;
pub mod server;
pub mod sim;
pub mod view;
pub mod vip;
pub mod wait;

pub use error::{LabError, Result};
