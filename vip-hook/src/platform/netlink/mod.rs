//! Netlink: messages as bytes, and the socket that carries them.
//!
//! The fence needs nf_tables, for which there is no permissively licensed library that knows netdev chains and
//! element timeouts; addresses and links need four messages more. One small codec serves both, so that every length
//! that comes from the kernel is checked in one place: [`message`] builds and reads, this file sends and receives.
//!
//! A request is answered while it is being sent: the kernel works in the sender's context and has queued its answer
//! when `send` returns. So a request waits for nothing but the kernel's own locks, and the socket never blocks; should
//! an answer be missing all the same, [`ANSWER_LIMIT`] ends the wait.

pub mod message;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, bind, recvfrom, send, socket,
};

use message::{Builder, Message, NLM_F_ACK, NLM_F_DUMP, NLMSG_DONE, NLMSG_ERROR, messages};

/// How long an answer is waited for that should be there already.
const ANSWER_LIMIT: Duration = Duration::from_millis(200);
/// The kernel fills a dump's datagrams up to this size if the reader has room for it.
const BUFFER_BYTES: usize = 32 * 1024;

/// Which part of the kernel a socket talks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Links, addresses, routes.
    Route,
    /// nf_tables.
    Netfilter,
}

/// A netlink socket.
#[derive(Debug)]
pub struct Connection {
    fd: OwnedFd,
    sequence: u32,
    buffer: Box<[u8]>,
}

/// Why a batch was not carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchError {
    /// The message that failed, counted from 0, the opening of the batch; 0 also stands for the batch as a whole.
    pub message: usize,
    /// The kernel's reason.
    pub errno: Errno,
}

impl Connection {
    /// Opens a socket; `groups` is the bit mask of multicast groups to listen to (0: none).
    pub fn open(family: Family, groups: u32) -> Result<Connection, Errno> {
        let protocol = match family {
            Family::Route => SockProtocol::NetlinkRoute,
            Family::Netfilter => SockProtocol::NetlinkNetFilter,
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket(AddressFamily::Netlink, SockType::Raw, flags, protocol)?;
        bind(fd.as_raw_fd(), &NetlinkAddr::new(0, groups))?;
        Ok(Connection { fd, sequence: 0, buffer: vec![0; BUFFER_BYTES].into_boxed_slice() })
    }

    /// Sends one request and waits for the kernel's acknowledgement.
    pub fn request(&mut self, mut request: Builder) -> Result<(), Errno> {
        request.add_flags(0, NLM_F_ACK);
        self.batch(request).map_err(|error| error.errno)
    }

    /// Sends messages that stand or fall together; the last but one must ask for an acknowledgement (one message:
    /// that one). Returns the first failure.
    pub fn batch(&mut self, mut request: Builder) -> Result<(), BatchError> {
        let first = self.sequence.wrapping_add(1);
        let count = request.number_from(first);
        self.sequence = self.sequence.wrapping_add(count);
        let awaited = if count == 1 { 0 } else { count - 2 };
        let whole = |errno| BatchError { message: 0, errno };
        self.send(request.bytes()).map_err(whole)?;
        let deadline = Instant::now() + ANSWER_LIMIT;
        let mut failure: Option<BatchError> = None;
        loop {
            let length = self.receive_until(deadline).map_err(|errno| failure.unwrap_or(whole(errno)))?;
            let mut complete = false;
            for answer in messages(&self.buffer[..length]) {
                // What an earlier request left unread has a number outside of ours.
                let number = answer.sequence.wrapping_sub(first);
                if number >= count || answer.kind != NLMSG_ERROR {
                    continue;
                }
                let errno = answer.error().unwrap_or(Errno::EBADMSG as i32);
                if errno != 0 && failure.is_none() {
                    failure = Some(BatchError { message: number as usize, errno: Errno::from_raw(errno) });
                }
                complete |= number == awaited || (number == 0 && errno != 0);
            }
            if complete {
                return failure.map_or(Ok(()), Err);
            }
        }
    }

    /// Asks for all objects of a kind and hands each to `each`. EINTR: the kernel's list changed meanwhile.
    pub fn dump(&mut self, mut request: Builder, mut each: impl FnMut(&Message<'_>)) -> Result<(), Errno> {
        request.add_flags(0, NLM_F_DUMP);
        self.sequence = self.sequence.wrapping_add(1);
        let number = self.sequence;
        request.number_from(number);
        self.send(request.bytes())?;
        let deadline = Instant::now() + ANSWER_LIMIT;
        let mut interrupted = false;
        loop {
            let length = self.receive_until(deadline)?;
            for answer in messages(&self.buffer[..length]) {
                if answer.sequence != number {
                    continue;
                }
                interrupted |= answer.dump_interrupted();
                match answer.kind {
                    NLMSG_DONE | NLMSG_ERROR => {
                        return match answer.error() {
                            Some(0) | None if interrupted => Err(Errno::EINTR),
                            Some(0) | None => Ok(()),
                            Some(errno) => Err(Errno::from_raw(errno)),
                        };
                    }
                    _ => each(&answer),
                }
            }
        }
    }

    /// Takes what multicast groups have brought; `None` if nothing is there. ENOBUFS: something was lost.
    pub fn receive(&mut self) -> Result<Option<&[u8]>, Errno> {
        match self.receive_now() {
            Ok(length) => Ok(Some(&self.buffer[..length])),
            Err(Errno::EAGAIN) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn send(&self, bytes: &[u8]) -> Result<(), Errno> {
        match send(self.fd.as_raw_fd(), bytes, MsgFlags::empty()) {
            Ok(sent) if sent == bytes.len() => Ok(()),
            Ok(_) => Err(Errno::EMSGSIZE),
            Err(errno) => Err(errno),
        }
    }

    fn receive_until(&mut self, deadline: Instant) -> Result<usize, Errno> {
        loop {
            match self.receive_now() {
                Err(Errno::EAGAIN) => {}
                other => return other,
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Errno::ETIMEDOUT);
            }
            let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            match poll(&mut [PollFd::new(self.fd.as_fd(), PollFlags::POLLIN)], timeout) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
        }
    }

    fn receive_now(&mut self) -> Result<usize, Errno> {
        loop {
            let (length, from) = recvfrom::<NetlinkAddr>(self.fd.as_raw_fd(), &mut self.buffer).or_else(
                |errno| match errno {
                    Errno::EINTR => Ok((0, None)),
                    errno => Err(errno),
                },
            )?;
            // Any process may send to a netlink socket; the kernel's port is 0.
            if length > 0 && from.is_some_and(|from| from.pid() == 0) {
                return Ok(length);
            }
        }
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl AsRawFd for Connection {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}
