//! The `unsafe` of this crate: what the libraries have no safe way for.
//!
//! Invariants:
//! - [`link_addr`] hands over a whole `sockaddr_ll` with its family set, and its length with it; it is copied.
//! - [`watch`] takes only types that own one descriptor, give always the same, and close it when they are dropped, not
//!   before: [`OwnsDescriptor`] can be implemented only here.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::AsRawFd;

use nix::libc;
use nix::sys::socket::{LinkAddr, SockaddrLike};
use socket2::Socket;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::frames::Mac;
use super::netlink::Connection;

mod sealed {
    pub trait Sealed: std::os::fd::AsRawFd {}
}

/// What owns one descriptor for as long as it lives.
pub(super) trait OwnsDescriptor: sealed::Sealed {}

impl sealed::Sealed for Connection {}
impl OwnsDescriptor for Connection {}
impl sealed::Sealed for Socket {}
impl OwnsDescriptor for Socket {}

/// Lets the runtime tell when a socket can be read.
pub(super) fn watch<T: OwnsDescriptor + AsRawFd>(socket: T) -> io::Result<AsyncFd<T>> {
    // SAFETY: the descriptor is open, stays the same, and belongs to the value that moves into the `AsyncFd`.
    let watched = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) };
    watched.map_err(io::Error::from)
}

/// The address for frames of a protocol on an interface (0: all) to a link-layer address.
pub(super) fn link_addr(ethertype: u16, interface: u32, mac: Mac) -> LinkAddr {
    let mut sll_addr = [0; 8];
    sll_addr[..6].copy_from_slice(&mac);
    let address = libc::sockaddr_ll {
        sll_family: libc::AF_PACKET as u16,
        sll_protocol: ethertype.to_be(),
        sll_ifindex: interface as i32,
        sll_hatype: 0,
        sll_pkttype: 0,
        sll_halen: 6,
        sll_addr,
    };
    let length = size_of::<libc::sockaddr_ll>() as libc::socklen_t;
    // SAFETY: the pointer is to a live `sockaddr_ll` of that length; it is read and copied before it goes.
    let made = unsafe { LinkAddr::from_raw((&raw const address).cast(), Some(length)) };
    made.expect("a sockaddr_ll with its family set is a link-layer address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out() {
        let address = link_addr(0x0806, 7, [1, 2, 3, 4, 5, 6]);
        assert_eq!((address.protocol(), address.ifindex()), (0x0806_u16.to_be(), 7));
        assert_eq!((address.halen(), address.addr()), (6, Some([1, 2, 3, 4, 5, 6])));
    }
}
