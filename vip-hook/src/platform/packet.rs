//! Packet sockets: sends announcements and probes, and receives what other hosts claim.
//!
//! One socket each for ARP and for IPv6, on all interfaces, so that one that goes and comes again needs no care; the
//! kernel tells the interface with each frame. A filter in the kernel passes only claims of the watched addresses
//! (and some that look alike), so a busy network does not wake the agent. The socket is bound to its protocol only
//! after the filter is in place.
//!
//! Such a socket gets a frame after the ingress hook, where the fence is. That drops only what asks this host; claims
//! pass, so what the agent must see arrives whether the fence is open or not.

use std::net::IpAddr;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use nix::sys::socket::{LinkAddr, MsgFlags, bind, recvfrom, sendto};
use socket2::{Domain, Protocol, SockFilter, Socket, Type};
use tokio::io::unix::AsyncFd;

use super::error::{PlatformError, Result};
use super::frames::{Claim, Frame, Mac, arp, ndp};
use super::sys::{self, link_addr};

const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
/// No claim is longer; the rest of a longer frame is cut off.
const LONGEST_FRAME: usize = 512;
/// More addresses than this are not told apart in the kernel; its programs have 4096 instructions at most.
const FILTERED_ADDRESSES: usize = 1000;

/// A socket for one protocol.
#[derive(Debug)]
pub struct PacketSocket {
    socket: AsyncFd<Socket>,
    ethertype: u16,
}

/// A claim and where it was heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The index of the interface.
    pub interface: u32,
    /// What was claimed.
    pub claim: Claim,
}

impl PacketSocket {
    /// A socket that hears claims of those of the addresses that are of the same kind as `like`. Needs
    /// CAP_NET_RAW, and a tokio runtime.
    pub fn open(like: IpAddr, addresses: &[IpAddr]) -> Result<PacketSocket> {
        let (ethertype, name) = if like.is_ipv4() {
            (ETHERTYPE_ARP, "ARP")
        } else {
            (ETHERTYPE_IPV6, "IPv6 neighbour discovery")
        };
        let failed =
            || PlatformError::kernel(format!("cannot open a packet socket for {name} (CAP_NET_RAW)"));
        let socket = Socket::new(Domain::PACKET, Type::DGRAM, Some(Protocol::from(0))).map_err(failed())?;
        socket.set_nonblocking(true).map_err(failed())?;
        socket.attach_filter(&filter(ethertype, addresses)).map_err(failed())?;
        bind(socket.as_raw_fd(), &link_addr(ethertype, 0, [0; 6])).map_err(|errno| failed()(errno.into()))?;
        Ok(PacketSocket { socket: sys::watch(socket).map_err(failed())?, ethertype })
    }

    /// Listens for claims of these addresses from now on.
    pub fn watch(&self, addresses: &[IpAddr]) -> Result<()> {
        self.socket
            .get_ref()
            .attach_filter(&filter(self.ethertype, addresses))
            .map_err(PlatformError::kernel("cannot change the filter of a packet socket"))
    }

    /// Sends a frame out of an interface.
    pub fn send(&self, interface: u32, frame: &Frame) -> Result<(), Errno> {
        let to = link_addr(self.ethertype, interface, frame.to);
        match sendto(self.socket.as_raw_fd(), &frame.bytes, &to, MsgFlags::MSG_DONTWAIT) {
            Ok(sent) if sent == frame.bytes.len() => Ok(()),
            Ok(_) => Err(Errno::EMSGSIZE),
            Err(errno) => Err(errno),
        }
    }

    /// Waits for the next claim. May be dropped while it waits.
    pub async fn heard(&self) -> Result<Heard> {
        loop {
            let failed = |source: std::io::Error| {
                PlatformError::kernel::<std::io::Error>("cannot receive from a packet socket")(source)
            };
            let mut ready = self.socket.readable().await.map_err(failed)?;
            match ready.try_io(|socket| Ok(self.receive(socket.get_ref())?)) {
                Ok(Ok(Some(heard))) => return Ok(heard),
                Ok(Ok(None)) => {}
                // The interface went down: there is nothing to hear until it is up again.
                Ok(Err(error)) if error.raw_os_error() == Some(Errno::ENETDOWN as i32) => {}
                Ok(Err(error)) => return Err(failed(error)),
                Err(_would_block) => {}
            }
        }
    }

    fn receive(&self, socket: &Socket) -> Result<Option<Heard>, Errno> {
        let mut buffer = [0; LONGEST_FRAME];
        let (length, from) = recvfrom::<LinkAddr>(socket.as_raw_fd(), &mut buffer)?;
        let bytes = &buffer[..length.min(LONGEST_FRAME)];
        let Some(from) = from else { return Ok(None) };
        let sender: Mac = from.addr().unwrap_or_default();
        let claim =
            if self.ethertype == ETHERTYPE_ARP { arp::claim(bytes) } else { ndp::claim(bytes, sender) };
        Ok(claim.map(|claim| Heard { interface: from.ifindex() as u32, claim }))
    }
}

// Classic BPF (linux/filter.h): loads into the accumulator, jumps, returns.
const LOAD_WORD: u16 = 0x20;
const LOAD_BYTE: u16 = 0x30;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;

/// The kernel's filter: which frames are worth waking up for. Offsets count from after the link-layer header.
fn filter(ethertype: u16, addresses: &[IpAddr]) -> Vec<SockFilter> {
    let statement = |code, value| SockFilter::new(code, 0, 0, value);
    let mut program = Vec::new();
    let last_words: Vec<u32> = addresses
        .iter()
        .filter_map(|address| match address {
            IpAddr::V4(address) => (ethertype == ETHERTYPE_ARP).then_some(u32::from(*address)),
            IpAddr::V6(address) => (ethertype == ETHERTYPE_IPV6).then_some(u128::from(*address) as u32),
        })
        .collect();
    if ethertype == ETHERTYPE_ARP {
        // The sender's address.
        program.push(statement(LOAD_WORD, 14));
    } else {
        // Next header ICMPv6, type neighbour advertisement, then the last four bytes of the target.
        for (at, value) in [(6, 58), (40, 136)] {
            program.push(statement(LOAD_BYTE, at));
            program.push(SockFilter::new(JUMP_IF_EQUAL, 1, 0, value));
            program.push(statement(RETURN, 0));
        }
        program.push(statement(LOAD_WORD, 60));
    }
    if last_words.len() > FILTERED_ADDRESSES {
        program.push(statement(RETURN, LONGEST_FRAME as u32));
        return program;
    }
    for word in last_words {
        program.push(SockFilter::new(JUMP_IF_EQUAL, 0, 1, word));
        program.push(statement(RETURN, LONGEST_FRAME as u32));
    }
    program.push(statement(RETURN, 0));
    program
}
