//! What the agent needs of its host. [`Platform`](crate::platform) is it on Linux; tests play one.

use std::future::Future;
use std::net::IpAddr;
use std::time::Duration;

use crate::control::Fence;
use crate::core::types::{Action, AddressState, VirtualAddress};

/// Something that happened on the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostEvent {
    /// An address or its interface changed.
    Address {
        /// Which.
        address: VirtualAddress,
        /// What is so now.
        state: AddressState,
    },
    /// Another host said that it has an address.
    Claimed {
        /// Which.
        address: VirtualAddress,
        /// Its link-layer address.
        by: [u8; 6],
    },
}

/// The host. All but [`Host::next`] is short.
pub trait Host {
    /// Watches and fences these addresses from now on. What no longer belongs to them was dropped before.
    ///
    /// # Errors
    /// What the kernel refused.
    fn configure(&mut self, addresses: &[VirtualAddress]) -> Result<(), String>;

    /// Does something with an address.
    ///
    /// # Errors
    /// What the kernel refused, or a [`Action::Hold`] whose time is over.
    fn act(&mut self, address: &VirtualAddress, action: Action) -> Result<(), String>;

    /// What is so of an address now.
    ///
    /// # Errors
    /// What the kernel refused.
    fn state(&mut self, address: &VirtualAddress) -> Result<AddressState, String>;

    /// Removes what a predecessor left on this host, other than the addresses to be kept; what was done, one sentence
    /// for each.
    fn remove_leftovers(&mut self, keep: &[VirtualAddress]) -> Vec<Result<String, String>>;

    /// The addresses of this host's interfaces, without loopback and link-local ones.
    ///
    /// # Errors
    /// What the kernel refused.
    fn own_addresses(&mut self) -> Result<Vec<IpAddr>, String>;

    /// What the kernel does for an agent that dies.
    fn fence(&self, lease: Duration) -> Fence;

    /// Waits for the next event. May be dropped while it waits; nothing is lost.
    fn next(&mut self) -> impl Future<Output = Result<HostEvent, String>>;
}
