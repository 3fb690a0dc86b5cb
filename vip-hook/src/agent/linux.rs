//! The host as the agent sees it, on Linux: the [`Platform`].

use std::net::IpAddr;
use std::time::Duration;

use nix::ifaddrs::getifaddrs;

use super::host::{Host, HostEvent};
use crate::clock;
use crate::control::Fence;
use crate::core::types::{Action, AddressState, VirtualAddress};
use crate::platform::{self, Event, Platform};

/// This machine.
#[derive(Debug)]
pub(super) struct Linux {
    platform: Platform,
}

impl Linux {
    pub(super) fn open() -> Result<Linux, String> {
        Platform::open(Vec::new()).map(|platform| Linux { platform }).map_err(|e| e.to_string())
    }
}

impl Host for Linux {
    fn configure(&mut self, addresses: &[VirtualAddress]) -> Result<(), String> {
        self.platform.configure(addresses.to_vec()).map_err(|e| e.to_string())
    }

    fn act(&mut self, address: &VirtualAddress, action: Action) -> Result<(), String> {
        let done = match action {
            Action::Hold { until } if until <= clock::now() => {
                return Err("the proof was over before the address could be held".into());
            }
            Action::Hold { until } => self.platform.hold(address, until),
            Action::Drop => self.platform.release(address),
            Action::Announce => self.platform.announce(address),
            Action::Probe => self.platform.probe(address),
        };
        done.map_err(|e| e.to_string())
    }

    fn state(&mut self, address: &VirtualAddress) -> Result<AddressState, String> {
        self.platform.state(address).map_err(|e| e.to_string())
    }

    fn remove_leftovers(&mut self, keep: &[VirtualAddress]) -> Vec<Result<String, String>> {
        let found = match self.platform.leftovers() {
            Ok(found) => found,
            Err(error) => return vec![Err(error.to_string())],
        };
        let is_kept = |ip: IpAddr| keep.iter().any(|address| address.address == ip);
        let mut done = Vec::new();
        for leftover in found.iter().filter(|leftover| !is_kept(leftover.address)) {
            let ip = leftover.address;
            done.push(match self.platform.remove_leftover(leftover) {
                Ok(()) => {
                    Ok(format!("{ip} was left by an agent before and is not configured any more: removed"))
                }
                Err(error) => Err(format!("{ip} was left by an agent before and cannot be removed: {error}")),
            });
        }
        done
    }

    fn own_addresses(&mut self) -> Result<Vec<IpAddr>, String> {
        own_addresses()
    }

    fn fence(&self, lease: Duration) -> Fence {
        fence(&self.platform.fence(lease))
    }

    async fn next(&mut self) -> Result<HostEvent, String> {
        match self.platform.next().await {
            Ok(Event::Address { address, state }) => Ok(HostEvent::Address { address, state }),
            Ok(Event::Claimed { address, by }) => Ok(HostEvent::Claimed { address, by }),
            Err(error) => Err(error.to_string()),
        }
    }
}

/// What the kernel does, for a reader.
pub(crate) fn fence(fence: &platform::Fence) -> Fence {
    Fence { in_kernel: matches!(fence, platform::Fence::Kernel), text: fence.to_string() }
}

/// The addresses of this host's interfaces, without loopback and link-local ones: under those no other host reaches it.
pub(crate) fn own_addresses() -> Result<Vec<IpAddr>, String> {
    let all = getifaddrs().map_err(|e| format!("getifaddrs: {e}"))?;
    let ip_of = |interface: nix::ifaddrs::InterfaceAddress| -> Option<IpAddr> {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    };
    let reachable = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
    };
    Ok(all.filter_map(ip_of).filter(reachable).collect())
}
