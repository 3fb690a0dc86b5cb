//! Virtual addresses on interfaces, through rtnetlink.
//!
//! An address of ours carries [`PROTOCOL`], so that nothing else is ever removed, also after a restart. It brings no
//! route (IFA_F_NOPREFIXROUTE) and is never chosen as source by itself: for IPv6 it is deprecated (RFC 6724, rule 3);
//! IPv4 knows no such rule, there it has the scope `host`, which source selection leaves out for every destination off
//! this host, and which ARP answers for all the same (unless `arp_ignore` is 3). Not so where the user gives it a
//! network's prefix length: the kernel takes addresses of one network in one scope alone, so it would refuse ours beside
//! the host's own, or the host's own beside ours. It has a lifetime, which each
//! renewal sets anew: the backstop for an agent that died, beside the fence. The kernel counts that in seconds.

use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use nix::errno::Errno;

use super::error::{PlatformError, Result};
use super::netlink::Connection;
use super::netlink::message::{
    Builder, Message, NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE, attributes, u32_of,
};
use crate::core::types::VirtualAddress;

/// What IFA_PROTO says of an address of ours (`V`; `ip address` shows `proto 86`). The kernel itself uses 1 to 3;
/// before Linux 5.18 it did not keep this.
pub const PROTOCOL: u8 = 86;

/// Event and answer: an address is there, or changed.
pub const RTM_NEWADDR: u16 = 20;
/// Event: an address went.
pub const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_CACHEINFO: u16 = 6;
const IFA_FLAGS: u16 = 8;
const IFA_PROTO: u16 = 11;
const IFA_F_NODAD: u32 = 0x02;
const IFA_F_NOPREFIXROUTE: u32 = 0x200;
const RT_SCOPE_UNIVERSE: u8 = 0;
const RT_SCOPE_HOST: u8 = 254;
/// `struct ifaddrmsg`.
const FIXED_BYTES: usize = 8;
const FOREVER: u32 = u32::MAX;

/// An address as the kernel has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assigned {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length.
    pub prefix_len: u8,
    /// The index of its interface.
    pub interface: u32,
    /// Who put it there; 0 if nobody says.
    pub protocol: u8,
    /// For how long it stays, in seconds; `None`: for ever.
    pub valid_s: Option<u32>,
}

impl Assigned {
    /// Reads RTM_NEWADDR and RTM_DELADDR. `None`: cut off, or of a family other than IPv4 and IPv6.
    pub fn parse(payload: &[u8]) -> Option<Assigned> {
        let fixed = payload.first_chunk::<FIXED_BYTES>()?;
        let (mut local, mut peer, mut protocol, mut valid_s) = (None, None, 0, None);
        for (kind, value) in attributes(&payload[FIXED_BYTES..]) {
            match kind {
                IFA_LOCAL => local = ip(fixed[0], value),
                IFA_ADDRESS => peer = ip(fixed[0], value),
                IFA_PROTO => protocol = *value.first()?,
                IFA_CACHEINFO => valid_s = u32_of(value.get(4..)?).filter(|&valid| valid != FOREVER),
                _ => {}
            }
        }
        Some(Assigned {
            // On a point-to-point link IFA_ADDRESS is the other end's.
            address: local.or(peer)?,
            prefix_len: fixed[1],
            interface: u32_of(&fixed[4..])?,
            protocol,
            valid_s,
        })
    }
}

fn ip(family: u8, value: &[u8]) -> Option<IpAddr> {
    match family {
        AF_INET => value.first_chunk::<4>().map(|octets| Ipv4Addr::from(*octets).into()),
        AF_INET6 => value.first_chunk::<16>().map(|octets| Ipv6Addr::from(*octets).into()),
        _ => None,
    }
}

/// All addresses of the host.
pub fn list(connection: &mut Connection) -> Result<Vec<Assigned>, Errno> {
    super::retry_interrupted(|| {
        let mut addresses = Vec::new();
        let request = Builder::one(RTM_GETADDR, 0, &[0; FIXED_BYTES], |_| ());
        connection.dump(request, |message: &Message<'_>| {
            if message.kind == RTM_NEWADDR {
                addresses.extend(Assigned::parse(message.payload));
            }
        })?;
        Ok(addresses)
    })
}

/// Adds, renews and removes our addresses.
#[derive(Debug)]
pub struct Addresses {
    connection: Connection,
    /// What was added here, for kernels that do not keep IFA_PROTO: interface, address, prefix length.
    added: HashSet<(u32, IpAddr, u8)>,
}

impl Addresses {
    /// Opens the way to the kernel.
    pub fn open(connection: Connection) -> Addresses {
        Addresses { connection, added: HashSet::new() }
    }

    /// Whether an address was put there by this program.
    pub fn is_ours(&self, found: &Assigned) -> bool {
        found.protocol == PROTOCOL
            || (found.protocol == 0
                && self.added.contains(&(found.interface, found.address, found.prefix_len)))
    }

    /// Adds an address to the interface with this index for `valid_s` seconds. Fails if it is there.
    pub fn add(&mut self, address: &VirtualAddress, interface: u32, valid_s: u32) -> Result<()> {
        self.set(address, interface, valid_s, NLM_F_CREATE | NLM_F_EXCL)
            .map_err(PlatformError::kernel(format!("cannot add {}", place(address))))?;
        self.added.insert((interface, address.address, address.prefix_len));
        Ok(())
    }

    /// Lets an address of ours stay for another `valid_s` seconds; adds it if it has just gone.
    pub fn renew(&mut self, address: &VirtualAddress, interface: u32, valid_s: u32) -> Result<()> {
        self.set(address, interface, valid_s, NLM_F_CREATE | NLM_F_REPLACE)
            .map_err(PlatformError::kernel(format!("cannot renew {}", place(address))))
    }

    /// Removes an address that is ours, wherever it is; whether it was there.
    pub fn remove(&mut self, found: &Assigned) -> Result<bool> {
        if !self.is_ours(found) {
            return Err(PlatformError::Refused(format!(
                "{}/{} on interface {} was not put there by redoubt-vip-hook, so it stays",
                found.address, found.prefix_len, found.interface
            )));
        }
        let (family, bytes) = encoded(found.address);
        let fixed = fixed(family, found.prefix_len, 0, found.interface);
        let request = Builder::one(RTM_DELADDR, 0, &fixed, |a| a.bytes(IFA_LOCAL, &bytes));
        let removed = match self.connection.request(request) {
            Ok(()) => true,
            // It went by itself, or with its interface.
            Err(Errno::EADDRNOTAVAIL | Errno::ENODEV) => false,
            Err(errno) => {
                let what = format!("cannot remove {}/{}", found.address, found.prefix_len);
                return Err(PlatformError::kernel(what)(errno));
            }
        };
        self.added.remove(&(found.interface, found.address, found.prefix_len));
        Ok(removed)
    }

    fn set(
        &mut self,
        address: &VirtualAddress,
        interface: u32,
        valid_s: u32,
        flags: u16,
    ) -> Result<(), Errno> {
        let (family, bytes) = encoded(address.address);
        let (scope, ifa_flags) = match (family, address.prefix_len) {
            (AF_INET, 32) => (RT_SCOPE_HOST, IFA_F_NOPREFIXROUTE),
            (AF_INET, _) => (RT_SCOPE_UNIVERSE, IFA_F_NOPREFIXROUTE),
            _ => (RT_SCOPE_UNIVERSE, IFA_F_NOPREFIXROUTE | IFA_F_NODAD),
        };
        // Preferred for 0 s: deprecated from the first moment.
        let mut lifetime = [0; 16];
        lifetime[4..8].copy_from_slice(&valid_s.to_ne_bytes());
        let fixed = fixed(family, address.prefix_len, scope, interface);
        self.connection.request(Builder::one(RTM_NEWADDR, flags, &fixed, |a| {
            a.bytes(IFA_LOCAL, &bytes);
            a.bytes(IFA_ADDRESS, &bytes);
            a.bytes(IFA_FLAGS, &ifa_flags.to_ne_bytes());
            a.bytes(IFA_CACHEINFO, &lifetime);
            a.bytes(IFA_PROTO, &[PROTOCOL]);
        }))
    }
}

/// An address with its prefix and interface, for messages.
pub(super) fn place(address: &VirtualAddress) -> String {
    format!("{}/{} on {}", address.address, address.prefix_len, address.interface)
}

fn encoded(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(address) => (AF_INET, address.octets().to_vec()),
        IpAddr::V6(address) => (AF_INET6, address.octets().to_vec()),
    }
}

fn fixed(family: u8, prefix_len: u8, scope: u8, interface: u32) -> [u8; FIXED_BYTES] {
    let [a, b, c, d] = interface.to_ne_bytes();
    [family, prefix_len, 0, scope, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(protocol: u8) -> Assigned {
        Assigned {
            address: "10.0.0.100".parse().unwrap(),
            prefix_len: 32,
            interface: 2,
            protocol,
            valid_s: Some(2),
        }
    }

    #[test]
    fn only_what_carries_our_mark_or_was_added_here_is_ours() {
        let connection = Connection::open(super::super::netlink::Family::Route, 0).unwrap();
        let mut addresses = Addresses::open(connection);
        assert!(addresses.is_ours(&found(PROTOCOL)));
        assert!(!addresses.is_ours(&found(0)) && !addresses.is_ours(&found(2)));
        let error = addresses.remove(&found(0)).unwrap_err();
        assert!(error.to_string().contains("was not put there by redoubt-vip-hook"), "{error}");
        addresses.added.insert((2, "10.0.0.100".parse().unwrap(), 32));
        assert!(addresses.is_ours(&found(0)), "an old kernel");
        assert!(!addresses.is_ours(&found(16)), "somebody else put it there since");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            Assigned::parse(&bytes);
        }

        #[test]
        fn what_is_sent_is_read_back(octets: [u8; 4], prefix_len in 0u8..33, interface: u32, valid: u32, cut in 0usize..60) {
            let fixed = fixed(AF_INET, prefix_len, RT_SCOPE_HOST, interface);
            let request = Builder::one(RTM_NEWADDR, 0, &fixed, |a| {
                a.bytes(IFA_ADDRESS, &octets);
                a.bytes(IFA_PROTO, &[PROTOCOL]);
                let mut lifetime = [0; 16];
                lifetime[4..8].copy_from_slice(&valid.to_ne_bytes());
                a.bytes(IFA_CACHEINFO, &lifetime);
            });
            let payload = &request.bytes()[16..];
            let address = Ipv4Addr::from(octets).into();
            let valid_s = (valid != FOREVER).then_some(valid);
            prop_assert_eq!(
                Assigned::parse(payload),
                Some(Assigned { address, prefix_len, interface, protocol: PROTOCOL, valid_s })
            );
            Assigned::parse(&payload[..cut.min(payload.len())]);
        }
    }
}
