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

pub mod types;

mod announce;
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
