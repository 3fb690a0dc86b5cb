//! What two hosts say to each other about an address: ARP for IPv4 (RFC 826, RFC 5227), neighbour discovery for IPv6
//! (RFC 4861). Frames are built and read here without their link-layer header, which the packet socket adds.

pub mod arp;
pub mod ndp;

use std::net::IpAddr;

/// A link-layer address.
pub type Mac = [u8; 6];

/// Everybody.
pub const BROADCAST: Mac = [0xff; 6];

/// A frame without its link-layer header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// To whom.
    pub to: Mac,
    /// The bytes after the link-layer header.
    pub bytes: Vec<u8>,
}

/// Somebody says that an address is his.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The address.
    pub address: IpAddr,
    /// The link-layer address that it is said to be at.
    pub by: Mac,
}

/// The frames of one announcement: "the address is at `mac`".
pub fn announcement(address: IpAddr, mac: Mac) -> Vec<Frame> {
    match address {
        IpAddr::V4(address) => arp::announcement(address, mac).to_vec(),
        IpAddr::V6(address) => vec![ndp::announcement(address, mac)],
    }
}

/// The frame that asks whether anybody has the address, without saying that we might.
pub fn probe(address: IpAddr, mac: Mac) -> Frame {
    match address {
        IpAddr::V4(address) => arp::probe(address, mac),
        IpAddr::V6(address) => ndp::probe(address),
    }
}
