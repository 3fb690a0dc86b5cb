//! A deployment behind virtual addresses: hosts of a network of its own, faults, and what each cost.
//!
//! [`site`] starts three hosts with node, Sentinel and what moves the address, a client that knows nothing but the
//! address ([`writer`]), and probers that ask on both sides of a cut who answers for it ([`holders`]). A [`Fault`] is
//! done to the master's host and mended in [`site::Site::round`], which is what `bench vip` repeats and the end-to-end
//! tests assert upon.

pub mod holders;
pub mod site;
pub mod writer;

use std::time::Duration;

use serde::Serialize;

pub use site::{Mover, Shape, Site};

/// What happens to the master's host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The node dies at once.
    Sigkill,
    /// The node hangs.
    Sigstop,
    /// The host is cut off from all others, and has one on its side of the cut that can see whether it still answers.
    Cut,
    /// The same, and what moves the address is killed at that moment.
    CutAgentKilled,
    /// The same, and what moves the address hangs from that moment on.
    CutAgentHangs,
    /// Nothing: an operator moves the master with SENTINEL FAILOVER.
    Manual,
}

impl Fault {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Sigkill => "sigkill",
            Fault::Sigstop => "sigstop",
            Fault::Cut => "cut",
            Fault::CutAgentKilled => "cut, agent killed",
            Fault::CutAgentHangs => "cut, agent hangs",
            Fault::Manual => "manual",
        }
    }

    /// Whether there has to be an agent for it.
    pub fn needs_agent(self) -> bool {
        matches!(self, Fault::CutAgentKilled | Fault::CutAgentHangs)
    }
}

/// What a fault cost.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cost {
    /// What was done.
    pub fault: Fault,
    /// The host that was the master, by its number.
    pub from: usize,
    /// The host that answers for the address now.
    pub to: usize,
    /// From the last acknowledged write before the fault to the first after it, in ms.
    pub outage_ms: f64,
    /// For how long two hosts answered for the address until all was mended, in ms; the questions are
    /// [`site::PROBE_PERIOD`] apart.
    pub dual_ms: f64,
    /// Whether the client's neighbour table named the new host as soon as it could write again.
    pub neighbour: bool,
    /// Whether it still was the master when all was mended.
    pub kept: bool,
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
