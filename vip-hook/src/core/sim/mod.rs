//! Whole deployments on virtual time: several hosts with node, agent and kernel, the Sentinels, and what goes wrong.
//!
//! The agents are real state machines; everything around them is a model: connections that keep order and hold back
//! what a cut delays, Sentinels with and without a memory of their vouches, failovers, the platform's system calls, the
//! kernel's leases with their own granularity, and each machine's clock a little fast or slow. Wall time does not
//! exist here, as nothing in the state machine reads it.
//!
//! A run takes everything random from its seed. Two promises are kept in view: no two hosts ever answer for an address
//! (looked at whenever the kernel is told to let one answer, since it can begin at no other moment), and a master that
//! has been named for a second without hindrance holds its addresses. And it must notice each [`Flaw`].

mod agent;
mod checks;
mod failover;
mod faults;
mod host;
mod network;
mod plan;
mod sentinel;
mod stories;
mod tests;
mod time;
mod world;

use super::mistakes::Mistake;

/// Something wrong that is planted to see whether it is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flaw {
    /// In the state machine.
    Holder(Mistake),
    /// The kernel does not end a lease; only the lifetime of the address does.
    NoFence,
    /// A Sentinel forgets by a release what it vouched for over another connection.
    ReleaseOverAnyConnection,
}

/// What came of a run.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// The first rule that was broken, and when.
    broken: Option<String>,
    /// What happened in all.
    events: u64,
    failovers: u64,
    /// How often a host took the addresses.
    takings: u64,
    /// How often a host was found to hold as promised.
    checked: u64,
    /// How often an agent was due again at the same instant.
    turns_at_once: u64,
}

/// One run.
fn run(seed: u64, flaw: Option<Flaw>, trace: bool) -> Outcome {
    world::World::new(seed, flaw, trace).run()
}
