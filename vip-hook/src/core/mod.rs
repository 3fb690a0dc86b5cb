//! When this host may hold a master's virtual addresses: one state machine a master, without clock or I/O.
//!
//! # Why no two hosts hold an address
//!
//! A *proof* is a round of questions that began at `t0`: the local node says `ROLE master`, and then more than half
//! of the configured Sentinels name one of this host's addresses as the master. It permits holding until `t0 + L`
//! (L: `lease_ms`), however long the answers took.
//!
//! A Sentinel's vote counts only if that Sentinel last named *another* address at least `L + MARGIN` before. So take
//! two proofs for two hosts. Their majorities share a Sentinel; it named one host first, say A at `ta`, and B at `tb`
//! at least `L + MARGIN` later. A's proof began before `ta`, so it was over at `ta + L`, before `tb`; and B acts on
//! its proof only after `tb`. The rule is the same for taking over and for going on: a holder whose Sentinels went
//! back and forth loses its lease rather than share it.
//!
//! redoubt-sentinels say by themselves how long ago they vouched for another (`SENTINEL VOUCH`; a restart counts as
//! having just vouched for everybody else); a release by the old owner, passed on to them, takes that back. A classic
//! Sentinel remembers nothing, so this machine counts from the receipt of the first answer in an unbroken series that
//! named this host in the same configuration epoch over the same connection.
//!
//! The argument holds up only with these beside it:
//!
//! - The lease is counted from before the first question, so it does not matter how long answers take, or whether this
//!   process stood still before it read them. Each call compares the clock with the lease before anything else.
//! - The kernel ends the lease when this process does not, and gets the time that is left, computed when it is told.
//! - All hosts of a master have the same lease: each waits for the others' by its own figure. Clocks may differ in
//!   rate by what [`types::MARGIN`] covers, their settings not at all: only monotonic spans count.
//! - No machine stands still with its clock while others go on, as a virtual machine does that is paused: what was left
//!   of its lease then begins when it goes on. Nothing on that machine can know; `configs/vip/README.md` says so.
//! - A release is told only when the platform has confirmed that every address is off, and no answer to a question
//!   from before it counts then. The Sentinel forgets only what it said over the very connection on which the release
//!   came: TCP may deliver one that an old connection held back when a new one has long been vouched on.
//! - A redoubt-sentinel is never asked as a classic one for its vote: it would not remember. Where it is, to be looked
//!   at alone, nothing is proven by what it says.
//! - The list of Sentinels changes by one at a time, so that majorities by the old and by the new list share one.
//!
//! Epochs are no part of it. They keep Sentinels that were away from moving the addresses back (see `epoch`).
//!
//! # Who does what
//!
//! `round` asks, `votes` weighs the answers, `epoch` remembers, `proof` turns them into holding and letting go, `probe`
//! looks for others who answer, `host` and `slot` see to the addresses here, `announce` tells the neighbours, `view`
//! explains. `holder` is the door. `sim` runs whole deployments of it against models, on virtual time.

pub mod types;

mod announce;
#[cfg(test)]
mod any_inputs;
mod epoch;
mod holder;
mod host;
mod limited;
mod mistakes;
mod probe;
mod proof;
mod round;
#[cfg(test)]
mod sim;
mod slot;
#[cfg(test)]
mod tests;
mod view;
mod votes;

pub use holder::Holder;
pub use view::{AddressView, SentinelView, View};
