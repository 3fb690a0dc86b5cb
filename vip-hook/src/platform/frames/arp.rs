//! ARP over Ethernet for IPv4 (RFC 826), probes and announcements as in RFC 5227.

use std::net::{IpAddr, Ipv4Addr};

use super::{BROADCAST, Claim, Frame, Mac};

/// The length of a message.
const BYTES: usize = 28;
/// Ethernet, IPv4, and the lengths of their addresses.
const ETHERNET_IPV4: [u8; 6] = [0, 1, 0x08, 0x00, 6, 4];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

/// A message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Arp {
    operation: u16,
    sender_mac: Mac,
    sender: Ipv4Addr,
    target_mac: Mac,
    target: Ipv4Addr,
}

impl Arp {
    fn to_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&ETHERNET_IPV4);
        bytes.extend_from_slice(&self.operation.to_be_bytes());
        bytes.extend_from_slice(&self.sender_mac);
        bytes.extend_from_slice(&self.sender.octets());
        bytes.extend_from_slice(&self.target_mac);
        bytes.extend_from_slice(&self.target.octets());
        bytes
    }

    /// Reads a message; what follows it is Ethernet's padding. `None`: cut off, or not for IPv4 over Ethernet.
    fn parse(bytes: &[u8]) -> Option<Arp> {
        let message = bytes.first_chunk::<BYTES>()?;
        if message[..6] != ETHERNET_IPV4 {
            return None;
        }
        let mac = |at: usize| -> Mac { std::array::from_fn(|i| message[at + i]) };
        let address =
            |at: usize| Ipv4Addr::new(message[at], message[at + 1], message[at + 2], message[at + 3]);
        Some(Arp {
            operation: u16::from_be_bytes([message[6], message[7]]),
            sender_mac: mac(8),
            sender: address(14),
            target_mac: mac(18),
            target: address(24),
        })
    }
}

/// A gratuitous ARP in both forms, as some implementations heed only the one and some only the other. Linux takes
/// the reply for gratuitous only if it names the sender's link-layer address as the target's too.
pub fn announcement(address: Ipv4Addr, mac: Mac) -> [Frame; 2] {
    let request =
        Arp { operation: REQUEST, sender_mac: mac, sender: address, target_mac: [0; 6], target: address };
    let reply = Arp { operation: REPLY, target_mac: mac, ..request };
    [request, reply].map(|arp| Frame { to: BROADCAST, bytes: arp.to_bytes() })
}

/// An ARP probe (RFC 5227, 1.1): without a sender's address, so that nobody's table changes.
pub fn probe(address: Ipv4Addr, mac: Mac) -> Frame {
    let request = Arp {
        operation: REQUEST,
        sender_mac: mac,
        sender: Ipv4Addr::UNSPECIFIED,
        target_mac: [0; 6],
        target: address,
    };
    Frame { to: BROADCAST, bytes: request.to_bytes() }
}

/// What a message claims: any that has the address as its sender's does (RFC 5227, 2.4).
pub fn claim(bytes: &[u8]) -> Option<Claim> {
    let arp = Arp::parse(bytes)?;
    let of_somebody = !arp.sender.is_unspecified() && matches!(arp.operation, REQUEST | REPLY);
    of_somebody.then_some(Claim { address: IpAddr::V4(arp.sender), by: arp.sender_mac })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 7];
    const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 100);

    #[test]
    fn an_announcement_claims_with_both_opcodes() {
        let frames = announcement(ADDRESS, MAC);
        let read = frames.clone().map(|frame| Arp::parse(&frame.bytes).unwrap());
        assert_eq!(read.map(|arp| arp.operation), [REQUEST, REPLY]);
        for (frame, arp) in frames.iter().zip(read) {
            assert_eq!(
                (frame.to, arp.sender, arp.target, arp.sender_mac),
                (BROADCAST, ADDRESS, ADDRESS, MAC)
            );
            assert_eq!(claim(&frame.bytes), Some(Claim { address: ADDRESS.into(), by: MAC }));
        }
        assert_eq!(read[1].target_mac, MAC);
    }

    #[test]
    fn a_probe_claims_nothing() {
        let frame = probe(ADDRESS, MAC);
        assert_eq!(Arp::parse(&frame.bytes).unwrap().target, ADDRESS);
        assert_eq!(claim(&frame.bytes), None);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            claim(&bytes);
        }

        #[test]
        fn what_is_read_is_what_was_built(sender_mac: Mac, target_mac: Mac, operation: u16, a: u32, b: u32,
                                          padding in 0usize..30) {
            let arp = Arp { operation, sender_mac, sender: a.into(), target_mac, target: b.into() };
            let mut bytes = arp.to_bytes();
            bytes.resize(bytes.len() + padding, 0);
            prop_assert_eq!(Arp::parse(&bytes), Some(arp));
            prop_assert_eq!(Arp::parse(&bytes[..BYTES - 1]), None);
        }
    }
}
