//! A simulator of whole Sentinel deployments.
//!
//! The Sentinels are the real state machine ([`redoubt_sentinel::core`]), beside models of redis-sentinel
//! ([`classic`]) in some runs; data nodes, network, disks and clocks are models. Time is a number
//! that the simulator advances, and everything random follows from one seed, so a run that fails
//! replays exactly: `redoubt-lab sim --seed N --trace`.
//!
//! [`plan`] says what a run consists of, [`world`] holds it and lets time pass, [`net`], [`node`],
//! [`replication`] and [`sentinel`] are its parts, [`faults`] breaks them, [`agents`] ask whom Sentinels vouch for, [`checks`] are
//! the rules that must hold all the while, [`mod@run`] tells the story of one seed and [`campaign`] of many.

pub mod agents;
pub mod brain;
pub mod campaign;
pub mod checks;
pub mod classic;
pub mod faults;
pub mod net;
pub mod node;
pub mod plan;
pub mod replication;
pub mod report;
pub mod run;
pub mod sentinel;
pub mod time;
pub mod world;
