//! Linux: addresses, the kernel's lease, ARP and neighbour discovery, behind one door.
//!
//! [`Platform`] does what the state machine wants done to this host and tells it what happens there. Its calls are
//! short exchanges with the kernel; only [`Platform::next`] waits. It needs CAP_NET_ADMIN and CAP_NET_RAW, no program
//! of the system, and a tokio runtime with I/O.
//!
//! - [`fence`]: the kernel itself ends an address's traffic when its lease is over.
//! - [`addresses`]: adds, renews and removes them; their lifetime is the second line of defence.
//! - [`packet`] with [`frames`]: announcements, probes, and the claims of others.
//! - [`monitor`]: what else changes interfaces and addresses.
//! - [`facts`] and [`capabilities`]: what `check` looks at.

pub mod addresses;
pub mod capabilities;
pub mod error;
pub mod facts;
pub mod fence;
pub mod frames;
pub mod links;
pub mod monitor;
pub mod netlink;
pub mod packet;
mod sys;

use std::collections::HashMap;
use std::future::pending;
use std::net::IpAddr;
use std::time::Duration;

use nix::errno::Errno;

pub use self::error::{PlatformError, Result};
pub use self::fence::Fence;

use self::addresses::{Addresses, Assigned, place};
use self::frames::{Frame, Mac};
use self::links::Link;
use self::monitor::Monitor;
use self::netlink::{Connection, Family};
use self::packet::{Heard, PacketSocket};
use crate::clock;
use crate::core::types::{AddressState, Now, VirtualAddress};

/// By how much the kernel may end an address's lifetime early: it rounds its timers (`ADDRCONF_TIMER_FUZZ`, a quarter
/// of a second).
const LIFETIME_FUZZ: Duration = Duration::from_millis(300);
/// By how much it may end it late: its work is put off to the next whole second.
const LIFETIME_DELAY_S: u32 = 1;
/// How often a list that changed while it was read is read again.
const LIST_ATTEMPTS: usize = 10;

/// This host, as far as virtual addresses go.
#[derive(Debug)]
pub struct Platform {
    watched: Vec<VirtualAddress>,
    monitor: Monitor,
    addresses: Addresses,
    fence: Result<fence::Kernel, String>,
    /// On which interfaces the fence stands, with the index that each had.
    fenced: HashMap<String, u32>,
    /// Until when the kernel keeps each address by its lifetime alone.
    kept: HashMap<VirtualAddress, Now>,
    arp: Option<PacketSocket>,
    ndp: Option<PacketSocket>,
}

/// What happened on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An address or its interface changed; told once for each address after [`Platform::configure`].
    Address {
        /// Which.
        address: VirtualAddress,
        /// What is so now.
        state: AddressState,
    },
    /// Another host says that it has the address.
    Claimed {
        /// Which.
        address: VirtualAddress,
        /// Its link-layer address.
        by: Mac,
    },
}

impl Platform {
    /// Opens all ways to the kernel and installs the fence for these addresses. No address is touched. Fails without
    /// CAP_NET_RAW or netlink; without nf_tables it goes on, and [`Platform::fence`] says so.
    ///
    /// Without addresses, the fence of a predecessor stays as it is until [`Platform::configure`] says what to guard:
    /// what that left on the host must not answer meanwhile.
    pub fn open(watched: Vec<VirtualAddress>) -> Result<Platform> {
        let requests = Connection::open(Family::Route, 0)
            .map_err(PlatformError::kernel("cannot open a netlink socket for addresses"))?;
        let mut platform = Platform {
            watched: Vec::new(),
            monitor: Monitor::open(Vec::new())?,
            addresses: Addresses::open(requests),
            fence: fence::Kernel::open(),
            fenced: HashMap::new(),
            kept: HashMap::new(),
            arp: None,
            ndp: None,
        };
        if !watched.is_empty() {
            platform.configure(watched)?;
        }
        Ok(platform)
    }

    /// Watches and fences these addresses from now on. Those that stay are not touched; drop the others before.
    pub fn configure(&mut self, watched: Vec<VirtualAddress>) -> Result<()> {
        let all: Vec<IpAddr> = watched.iter().map(|address| address.address).collect();
        for (is_v4, socket) in [(true, &mut self.arp), (false, &mut self.ndp)] {
            *socket = match (all.iter().find(|address| address.is_ipv4() == is_v4), socket.take()) {
                (None, _) => None,
                (Some(like), None) => Some(PacketSocket::open(*like, &all)?),
                (Some(_), Some(socket)) => {
                    socket.watch(&all)?;
                    Some(socket)
                }
            };
        }
        self.monitor.watch(watched.clone())?;
        self.kept.retain(|address, _| watched.contains(address));
        let unused: Vec<String> = self
            .fenced
            .keys()
            .filter(|name| !watched.iter().any(|address| address.interface == **name))
            .cloned()
            .collect();
        self.watched = watched;
        self.raise_fence()?;
        if let Ok(fence) = &mut self.fence {
            for interface in unused {
                fence.remove_chains(&interface);
            }
        }
        Ok(())
    }

    /// What the kernel does for an agent that dies while it holds an address under a lease of this length.
    pub fn fence(&self, lease: Duration) -> Fence {
        match &self.fence {
            Ok(_) => Fence::Kernel,
            Err(reason) => Fence::Unavailable {
                reason: reason.clone(),
                worst_case_s: lifetime_s(lease) + LIFETIME_DELAY_S,
            },
        }
    }

    /// Lets this host answer for an address until `until`, adding it if it is not there; also renews. After `until`
    /// the kernel ends its traffic.
    pub fn hold(&mut self, address: &VirtualAddress, until: Now) -> Result<()> {
        self.monitor.catch_up()?;
        let link = self.link_of(address)?;
        let interface = link.index;
        if self.fence.is_ok() {
            if self.fenced.get(&address.interface) != Some(&interface) {
                self.raise_fence()?;
            }
            match self.open_fence(address, until) {
                // Somebody flushed the rules of the whole host.
                Err(error) if error.is(Errno::ENOENT) => {
                    self.raise_fence()?;
                    self.open_fence(address, until)?;
                }
                other => other?,
            }
        }
        let kept = self.keep(address, interface, until);
        if kept.is_err() {
            // The first failure is the one to tell.
            let _ = self.close_fence(address);
        }
        kept
    }

    /// Stops answering for an address at once, then removes it where this program had added it.
    pub fn release(&mut self, address: &VirtualAddress) -> Result<()> {
        let closed = self.close_fence(address);
        self.kept.remove(address);
        let caught_up = self.monitor.catch_up();
        let there: Vec<Assigned> = self.monitor.assigned(address.address).cloned().collect();
        for found in there.iter().filter(|found| self.addresses.is_ours(found)).collect::<Vec<_>>() {
            self.addresses.remove(found)?;
        }
        closed.and(caught_up)
    }

    /// Announces that an address is at this host, once.
    pub fn announce(&mut self, address: &VirtualAddress) -> Result<()> {
        self.monitor.catch_up()?;
        let (interface, mac) = self.sender(address, "announce")?;
        for frame in frames::announcement(address.address, mac) {
            self.send(address, interface, &frame, "announce")?;
        }
        Ok(())
    }

    /// Asks once whether any other host has an address; answers come as [`Event::Claimed`].
    pub fn probe(&mut self, address: &VirtualAddress) -> Result<()> {
        self.monitor.catch_up()?;
        let (interface, mac) = self.sender(address, "probe")?;
        self.send(address, interface, &frames::probe(address.address, mac), "probe")
    }

    /// Waits for the next event. May be dropped while it waits; nothing is lost.
    pub async fn next(&mut self) -> Result<Event> {
        loop {
            let heard = tokio::select! {
                biased;
                changed = self.monitor.changed() => {
                    let (address, state) = changed?;
                    let state = self.marked(&address, state);
                    return Ok(Event::Address { address, state });
                }
                heard = heard(self.arp.as_ref()) => heard?,
                heard = heard(self.ndp.as_ref()) => heard?,
            };
            let Heard { interface, claim } = heard;
            let claimed = self.watched.iter().find(|watched| {
                watched.address == claim.address
                    && self.monitor.link(&watched.interface).is_some_and(|link| link.index == interface)
            });
            if let Some(address) = claimed
                && !self.monitor.is_own_mac(claim.by)
            {
                return Ok(Event::Claimed { address: address.clone(), by: claim.by });
            }
        }
    }

    /// What is so of an address now.
    pub fn state(&mut self, address: &VirtualAddress) -> Result<AddressState> {
        self.monitor.catch_up()?;
        Ok(self.marked(address, self.monitor.state(address)))
    }

    /// A state in which what this process added counts as ours also on a kernel that keeps no mark.
    fn marked(&self, address: &VirtualAddress, state: AddressState) -> AddressState {
        let ours = || self.monitor.assigned(address.address).any(|found| self.addresses.is_ours(found));
        AddressState { ours: state.ours || (state.present && ours()), ..state }
    }

    /// The addresses that a predecessor left on this host, on whichever interface.
    pub fn leftovers(&mut self) -> Result<Vec<Assigned>> {
        let mut connection = Connection::open(Family::Route, 0)
            .map_err(PlatformError::kernel("cannot open a netlink socket for addresses"))?;
        let mut all =
            addresses::list(&mut connection).map_err(PlatformError::kernel("cannot list addresses"))?;
        all.retain(|found| self.addresses.is_ours(found));
        Ok(all)
    }

    /// Ends a leftover's traffic and removes it.
    pub fn remove_leftover(&mut self, found: &Assigned) -> Result<()> {
        if let Ok(fence) = &mut self.fence {
            fence.close(found.address)?;
        }
        self.addresses.remove(found).map(|_| ())
    }

    /// Adds the address, or sees to it that its lifetime reaches beyond `until`.
    fn keep(&mut self, address: &VirtualAddress, interface: u32, until: Now) -> Result<()> {
        let there: Vec<Assigned> = self.monitor.assigned(address.address).cloned().collect();
        if let Some(foreign) = there.iter().find(|found| !self.addresses.is_ours(found)) {
            return Err(PlatformError::Refused(format!(
                "{}/{} is on this host already (interface {}, protocol {}), put there by another program: take it \
                 out of that one's configuration and remove it, then it is taken here",
                foreign.address, foreign.prefix_len, foreign.interface, foreign.protocol
            )));
        }
        let in_place =
            |found: &Assigned| found.interface == interface && found.prefix_len == address.prefix_len;
        for misplaced in there.iter().filter(|found| !in_place(found)) {
            self.addresses.remove(misplaced)?;
        }
        let now = clock::now();
        let valid_s = lifetime_s(until.saturating_sub(now));
        if !there.iter().any(in_place) {
            self.addresses.add(address, interface, valid_s)?;
        } else if self.kept.get(address).is_none_or(|&kept| kept < until + LIFETIME_FUZZ) {
            self.addresses.renew(address, interface, valid_s)?;
        } else {
            return Ok(());
        }
        self.kept.insert(address.clone(), now + Duration::from_secs(valid_s.into()));
        // Without a fence it is the address alone that answers: time may have gone by.
        if self.fence.is_err() && clock::now() >= until {
            self.release(address)?;
            return Err(PlatformError::Refused(format!(
                "the proof for {} was over before the address was there",
                address.address
            )));
        }
        Ok(())
    }

    /// Installs the fence on every interface of ours that is there.
    fn raise_fence(&mut self) -> Result<()> {
        let Ok(fence) = &mut self.fence else { return Ok(()) };
        self.monitor.catch_up()?;
        let mut present: HashMap<String, u32> = HashMap::new();
        for address in &self.watched {
            if let Some(link) = self.monitor.link(&address.interface) {
                present.insert(link.name.clone(), link.index);
            }
        }
        let interfaces: Vec<&str> = present.keys().map(String::as_str).collect();
        let all: Vec<IpAddr> = self.watched.iter().map(|address| address.address).collect();
        fence.install(&interfaces, &all)?;
        self.fenced = present;
        Ok(())
    }

    fn open_fence(&mut self, address: &VirtualAddress, until: Now) -> Result<()> {
        self.fence.as_mut().map_or(Ok(()), |fence| fence.open_until(address.address, until))
    }

    fn close_fence(&mut self, address: &VirtualAddress) -> Result<()> {
        self.fence.as_mut().map_or(Ok(()), |fence| fence.close(address.address))
    }

    fn link_of(&self, address: &VirtualAddress) -> Result<&Link> {
        self.monitor.link(&address.interface).ok_or_else(|| {
            PlatformError::Refused(format!(
                "interface {}, for {}, is not there",
                address.interface, address.address
            ))
        })
    }

    fn sender(&self, address: &VirtualAddress, what: &str) -> Result<(u32, Mac)> {
        let link = self.link_of(address)?;
        let refused =
            |why| PlatformError::Refused(format!("cannot {what} {}: the interface {why}", place(address)));
        // The kernel takes what it will not send, and says nothing.
        if !link.carrier {
            return Err(refused(if link.up { "has no carrier" } else { "is down" }));
        }
        Ok((link.index, link.mac.ok_or_else(|| refused("has no Ethernet address"))?))
    }

    fn send(&self, address: &VirtualAddress, interface: u32, frame: &Frame, what: &str) -> Result<()> {
        let socket = if address.address.is_ipv4() { &self.arp } else { &self.ndp };
        let socket = socket.as_ref().ok_or_else(|| {
            PlatformError::Refused(format!("{} is not among the configured addresses", address.address))
        })?;
        socket
            .send(interface, frame)
            .map_err(PlatformError::kernel(format!("cannot {what} {}", place(address))))
    }
}

/// Removes the fence from this host, for who removes the product. Whether there was one.
pub fn uninstall_fence() -> Result<bool> {
    let mut fence = fence::Kernel::open().map_err(PlatformError::Refused)?;
    fence.uninstall()
}

/// Whether the kernel and this process's rights permit a fence, without leaving anything behind; for `check`.
pub fn fence_available(lease: Duration) -> Fence {
    match fence::Kernel::open() {
        Ok(_) => Fence::Kernel,
        Err(reason) => Fence::Unavailable { reason, worst_case_s: lifetime_s(lease) + LIFETIME_DELAY_S },
    }
}

/// The lifetime that an address is given for a proof of which this much is left: it ends after the proof, though the
/// kernel rounds.
fn lifetime_s(left: Duration) -> u32 {
    let whole = left.as_secs().saturating_add(u64::from(left.subsec_nanos() > 0));
    u32::try_from(whole.saturating_add(1)).unwrap_or(u32::MAX - 1).min(u32::MAX - 1)
}

async fn heard(socket: Option<&PacketSocket>) -> Result<Heard> {
    match socket {
        Some(socket) => socket.heard().await,
        None => pending().await,
    }
}

/// Reads a list again that changed while it was read.
fn retry_interrupted<T>(mut read: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 1..LIST_ATTEMPTS {
        match read() {
            Err(Errno::EINTR) => {}
            other => return other,
        }
    }
    read()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_outlives_its_proof_by_a_second() {
        let of = |ms| lifetime_s(Duration::from_millis(ms));
        assert_eq!([of(1), of(400), of(1000), of(1001)], [2, 2, 2, 3]);
        assert_ne!(lifetime_s(Duration::MAX), u32::MAX, "that would mean for ever");
    }
}
