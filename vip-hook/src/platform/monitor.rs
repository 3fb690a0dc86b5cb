//! What the kernel tells of interfaces and of our addresses, as a picture that is kept up to date.
//!
//! A netlink socket brings each change. When it overflowed (ENOBUFS), or the kernel's list changed while it was read,
//! the picture is made anew; what is then different is told as if each change had been heard. News that comes while the
//! picture is made may be in it already: the last of it is as true as the picture, so it does no harm.

use std::collections::HashMap;
use std::net::IpAddr;

use nix::errno::Errno;
use tokio::io::unix::AsyncFd;

use super::addresses::{self, Assigned, PROTOCOL, RTM_DELADDR, RTM_NEWADDR};
use super::error::{PlatformError, Result};
use super::frames::Mac;
use super::links::{self, Link, RTM_DELLINK, RTM_NEWLINK};
use super::netlink::message::messages;
use super::netlink::{Connection, Family};
use super::sys;
use crate::core::types::{AddressState, VirtualAddress};

/// RTNLGRP_LINK, RTNLGRP_IPV4_IFADDR and RTNLGRP_IPV6_IFADDR.
const GROUPS: u32 = 1 << 0 | 1 << 4 | 1 << 8;

/// The picture and where its changes come from.
#[derive(Debug)]
pub struct Monitor {
    events: AsyncFd<Connection>,
    requests: Connection,
    links: HashMap<u32, Link>,
    /// The watched addresses wherever they are on this host.
    assigned: Vec<Assigned>,
    watched: Vec<VirtualAddress>,
    /// What was last told of each watched address.
    told: Vec<Option<AddressState>>,
}

impl Monitor {
    /// Starts to listen, then looks. Needs a tokio runtime, but no privilege.
    pub fn open(watched: Vec<VirtualAddress>) -> Result<Monitor> {
        let what = "cannot listen to changes of interfaces and addresses";
        let connection = Connection::open(Family::Route, GROUPS).map_err(PlatformError::kernel(what))?;
        let events = sys::watch(connection).map_err(PlatformError::kernel(what))?;
        let requests = Connection::open(Family::Route, 0).map_err(PlatformError::kernel(what))?;
        let mut monitor = Monitor {
            events,
            requests,
            links: HashMap::new(),
            assigned: Vec::new(),
            watched: Vec::new(),
            told: Vec::new(),
        };
        monitor.watch(watched)?;
        Ok(monitor)
    }

    /// Watches these addresses from now on; each one's state is told anew.
    pub fn watch(&mut self, watched: Vec<VirtualAddress>) -> Result<()> {
        self.told = vec![None; watched.len()];
        self.watched = watched;
        self.look()
    }

    /// Takes in what has happened, without waiting.
    pub fn catch_up(&mut self) -> Result<()> {
        loop {
            match self.events.get_mut().receive() {
                Ok(None) => return Ok(()),
                Ok(Some(datagram)) => {
                    for message in messages(datagram) {
                        apply(
                            &mut self.links,
                            &mut self.assigned,
                            &self.watched,
                            message.kind,
                            message.payload,
                        );
                    }
                }
                Err(Errno::ENOBUFS) => {
                    self.forget_unread();
                    self.look()?;
                }
                Err(errno) => {
                    return Err(PlatformError::kernel("cannot hear of changes of interfaces and addresses")(
                        errno,
                    ));
                }
            }
        }
    }

    /// Passes over what is still in a socket that overflowed: it is older than what was lost, so also than the picture
    /// that is made next.
    fn forget_unread(&mut self) {
        while matches!(self.events.get_mut().receive(), Ok(Some(_)) | Err(Errno::ENOBUFS)) {}
    }

    /// Waits until a watched address's state is other than what was told last. May be dropped while it waits.
    pub async fn changed(&mut self) -> Result<(VirtualAddress, AddressState)> {
        loop {
            self.catch_up()?;
            for (address, told) in self.watched.iter().zip(&mut self.told) {
                let state = state(&self.links, &self.assigned, address);
                if *told != Some(state) {
                    *told = Some(state);
                    return Ok((address.clone(), state));
                }
            }
            let mut ready = self
                .events
                .readable()
                .await
                .map_err(PlatformError::kernel("cannot wait for changes of interfaces and addresses"))?;
            // Everything is read before the next wait.
            ready.clear_ready();
        }
    }

    /// The interface of that name.
    pub fn link(&self, name: &str) -> Option<&Link> {
        self.links.values().find(|link| link.name == name)
    }

    /// Whether a link-layer address is one of this host's.
    pub fn is_own_mac(&self, mac: Mac) -> bool {
        self.links.values().any(|link| link.mac == Some(mac))
    }

    /// Where an address is on this host.
    pub fn assigned(&self, address: IpAddr) -> impl Iterator<Item = &Assigned> {
        self.assigned.iter().filter(move |found| found.address == address)
    }

    /// What is so of an address.
    pub fn state(&self, address: &VirtualAddress) -> AddressState {
        state(&self.links, &self.assigned, address)
    }

    /// Makes the picture anew.
    fn look(&mut self) -> Result<()> {
        let what = "cannot list interfaces and addresses";
        self.links = links::list(&mut self.requests)
            .map_err(PlatformError::kernel(what))?
            .into_iter()
            .map(|link| (link.index, link))
            .collect();
        self.assigned = addresses::list(&mut self.requests)
            .map_err(PlatformError::kernel(what))?
            .into_iter()
            .filter(|found| self.watched.iter().any(|watched| watched.address == found.address))
            .collect();
        Ok(())
    }
}

/// Changes the picture by one message.
fn apply(
    links: &mut HashMap<u32, Link>,
    assigned: &mut Vec<Assigned>,
    watched: &[VirtualAddress],
    kind: u16,
    payload: &[u8],
) {
    let same = |a: &Assigned, b: &Assigned| {
        (a.address, a.prefix_len, a.interface) == (b.address, b.prefix_len, b.interface)
    };
    match kind {
        RTM_NEWLINK => {
            if let Some(link) = Link::parse(payload) {
                links.insert(link.index, link);
            }
        }
        RTM_DELLINK => {
            if let Some(link) = Link::parse(payload) {
                links.remove(&link.index);
                assigned.retain(|found| found.interface != link.index);
            }
        }
        RTM_NEWADDR | RTM_DELADDR => {
            let Some(found) = Assigned::parse(payload) else { return };
            assigned.retain(|other| !same(other, &found));
            if kind == RTM_NEWADDR && watched.iter().any(|watched| watched.address == found.address) {
                assigned.push(found);
            }
        }
        _ => {}
    }
}

fn state(links: &HashMap<u32, Link>, assigned: &[Assigned], address: &VirtualAddress) -> AddressState {
    let link = links.values().find(|link| link.name == address.interface);
    let is_it = |found: &&Assigned| {
        link.is_some_and(|link| found.interface == link.index) && found.address == address.address
    };
    AddressState {
        link_up: link.is_some_and(|link| link.carrier),
        present: assigned.iter().any(|found| is_it(&found)),
        ours: assigned.iter().filter(is_it).any(|found| found.protocol == PROTOCOL),
    }
}
