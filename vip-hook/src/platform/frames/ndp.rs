//! Neighbour discovery for IPv6 (RFC 4861): unsolicited advertisements, and solicitations as probes (RFC 4862, 5.4).

use std::net::{IpAddr, Ipv6Addr};

use super::{Claim, Frame, Mac};

const HEADER_BYTES: usize = 40;
/// Type, code, checksum, flags, target.
const MESSAGE_BYTES: usize = 24;
const OPTION_BYTES: usize = 8;
const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// Receivers discard what may have crossed a router.
const HOP_LIMIT: u8 = 255;
/// The receiver shall replace what it has.
const FLAG_OVERRIDE: u8 = 0x20;
const OPTION_SOURCE_MAC: u8 = 1;
const OPTION_TARGET_MAC: u8 = 2;
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// An unsolicited advertisement to all nodes, with the override flag.
pub fn announcement(address: Ipv6Addr, mac: Mac) -> Frame {
    packet(address, ALL_NODES, ADVERTISEMENT, FLAG_OVERRIDE, address, &option(OPTION_TARGET_MAC, mac))
}

/// A solicitation from the unspecified address: who has the address answers to all nodes.
pub fn probe(address: Ipv6Addr) -> Frame {
    packet(Ipv6Addr::UNSPECIFIED, solicited_node(address), SOLICITATION, 0, address, &[])
}

/// A solicitation from a host's own address: who has `address` answers to that host alone, so that nobody else's table
/// changes. It is for observers.
pub fn question(address: Ipv6Addr, from: Ipv6Addr, mac: Mac) -> Frame {
    packet(from, solicited_node(address), SOLICITATION, 0, address, &option(OPTION_SOURCE_MAC, mac))
}

/// The group that whoever has the address listens to (RFC 4291, 2.7.1).
fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

fn option(kind: u8, mac: Mac) -> [u8; OPTION_BYTES] {
    let mut option = [kind, 1, 0, 0, 0, 0, 0, 0];
    option[2..].copy_from_slice(&mac);
    option
}

/// What an advertisement claims. One without the target's link-layer address claims for `sender`, who sent the frame.
pub fn claim(bytes: &[u8], sender: Mac) -> Option<Claim> {
    let header = bytes.first_chunk::<HEADER_BYTES>()?;
    let length = usize::from(u16::from_be_bytes([header[4], header[5]]));
    let message = bytes.get(HEADER_BYTES..HEADER_BYTES + length)?;
    if header[0] >> 4 != 6 || header[6] != ICMPV6 || header[7] != HOP_LIMIT || length < MESSAGE_BYTES {
        return None;
    }
    let advertisement = message[0] == ADVERTISEMENT && message[1] == 0;
    if !advertisement || checksum(&header[8..HEADER_BYTES], message) != 0 {
        return None;
    }
    let target: [u8; 16] = *message[8..].first_chunk()?;
    let mut options = &message[MESSAGE_BYTES..];
    let mut by = sender;
    while let [kind, units, value @ ..] = options {
        let length = usize::from(*units) * 8;
        if length == 0 || length > options.len() {
            return None;
        }
        if *kind == OPTION_TARGET_MAC
            && let Some(mac) = value.first_chunk::<6>()
        {
            by = *mac;
        }
        options = &options[length..];
    }
    Some(Claim { address: IpAddr::V6(target.into()), by })
}

fn packet(from: Ipv6Addr, to: Ipv6Addr, kind: u8, flags: u8, target: Ipv6Addr, option: &[u8]) -> Frame {
    let length = MESSAGE_BYTES + option.len();
    let mut bytes = Vec::with_capacity(HEADER_BYTES + MESSAGE_BYTES + OPTION_BYTES);
    bytes.extend_from_slice(&[0x60, 0, 0, 0, 0, length as u8, ICMPV6, HOP_LIMIT]);
    bytes.extend_from_slice(&from.octets());
    bytes.extend_from_slice(&to.octets());
    bytes.extend_from_slice(&[kind, 0, 0, 0, flags, 0, 0, 0]);
    bytes.extend_from_slice(&target.octets());
    bytes.extend_from_slice(option);
    let sum = checksum(&bytes[8..HEADER_BYTES], &bytes[HEADER_BYTES..]);
    bytes[HEADER_BYTES + 2..HEADER_BYTES + 4].copy_from_slice(&sum.to_be_bytes());
    // RFC 2464, 7: a multicast address's last four bytes after 33:33.
    let [.., a, b, c, d] = to.octets();
    Frame { to: [0x33, 0x33, a, b, c, d], bytes }
}

/// The checksum over both addresses, length, protocol and message (RFC 4443, 2.3); 0 if the message has the right one.
fn checksum(addresses: &[u8], message: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u64 {
        bytes.chunks(2).map(|pair| u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0))).sum()
    };
    let mut sum = words(addresses) + words(message) + message.len() as u64 + u64::from(ICMPV6);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 7];

    #[test]
    fn an_announcement_claims_its_target() {
        let address: Ipv6Addr = "fd00::12:3456".parse().unwrap();
        let frame = announcement(address, MAC);
        assert_eq!(frame.to, [0x33, 0x33, 0, 0, 0, 1]);
        assert_eq!(claim(&frame.bytes, [0; 6]), Some(Claim { address: address.into(), by: MAC }));
    }

    #[test]
    fn a_probe_goes_to_the_solicited_node_and_claims_nothing() {
        let frame = probe("fd00::12:3456".parse().unwrap());
        assert_eq!(frame.to, [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(&frame.bytes[8..24], &[0; 16]);
        assert_eq!(claim(&frame.bytes, MAC), None);
        assert_eq!(checksum(&frame.bytes[8..40], &frame.bytes[40..]), 0);
    }

    #[test]
    fn a_question_says_who_asks_and_claims_nothing() {
        let frame = question("fd00::12:3456".parse().unwrap(), "fd00::1".parse().unwrap(), MAC);
        assert_eq!(frame.to, [0x33, 0x33, 0xff, 0x12, 0x34, 0x56]);
        assert_eq!(frame.bytes[8..24], "fd00::1".parse::<Ipv6Addr>().unwrap().octets());
        assert_eq!(frame.bytes[64..], [1, 1, 2, 0, 0, 0, 0, 7]);
        assert_eq!(claim(&frame.bytes, MAC), None);
        assert_eq!(checksum(&frame.bytes[8..40], &frame.bytes[40..]), 0);
    }

    #[test]
    fn what_came_through_a_router_or_is_damaged_claims_nothing() {
        let good = announcement("fd00::1".parse().unwrap(), MAC).bytes;
        for (at, value) in [(7, 64), (8, 1), (42, 0), (48, 1), (0, 0x40)] {
            let mut bad = good.clone();
            bad[at] = value;
            assert_eq!(claim(&bad, MAC), None, "byte {at}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..128)) {
            claim(&bytes, MAC);
        }

        #[test]
        fn an_advertisement_changed_anywhere_is_read_without_panic(
            address: u128, options in proptest::collection::vec(any::<u8>(), 0..40), cut in 0usize..110,
        ) {
            let address = Ipv6Addr::from(address);
            let mut bytes = packet(address, ALL_NODES, ADVERTISEMENT, 0, address, &options).bytes;
            claim(&bytes, MAC);
            bytes.truncate(cut);
            claim(&bytes, MAC);
        }
    }
}
