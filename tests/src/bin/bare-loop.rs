//! What an exchange costs without a server: a loop that reads, counts requests, and writes constants.
//!
//! `redoubt-lab bench speed --floor` measures it beside the servers. It looks at no key and keeps no data, so what it spends is
//! the kernel's part of each request (and of nearly every server's, since all read and write the same packets): no
//! server of this kind can cost less. It takes the options of a server and heeds `--port`.
//!
//! Requests are counted by their `*`, which neither the keys nor the values of the workload contain, and a packet is taken to hold
//! whole requests of one kind, as it does on loopback for a client that waits for its answers.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

const READ_SIZE: usize = 64 * 1024;
const EVENTS: usize = 1024;
/// The listener's place among the events; connections are numbered from 0.
const LISTENER: u64 = u64::MAX;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip_while(|arg| arg != "--port").skip(1);
    let port: u16 = args.next().ok_or("bare-loop: --port is missing")?.parse()?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
    epoll.add(listener.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut events = vec![EpollEvent::empty(); EVENTS];
    let (mut input, mut output) = (vec![0; READ_SIZE], Vec::new());
    loop {
        let ready = epoll.wait(&mut events, EpollTimeout::NONE)?;
        for event in &events[..ready] {
            if event.data() == LISTENER {
                while let Ok((stream, _)) = listener.accept() {
                    stream.set_nodelay(true)?;
                    stream.set_nonblocking(true)?;
                    epoll.add(
                        stream.as_fd(),
                        EpollEvent::new(EpollFlags::EPOLLIN, connections.len() as u64),
                    )?;
                    connections.push(Some(stream));
                }
                continue;
            }
            let Some(slot) = connections.get_mut(event.data() as usize) else { continue };
            let Some(stream) = slot else { continue };
            match stream.read(&mut input) {
                Ok(length) if length > 0 => {
                    let bytes = &input[..length];
                    let requests = memchr::memchr_iter(b'*', bytes).count();
                    output.clear();
                    (0..requests).for_each(|_| output.extend_from_slice(answer(bytes)));
                    stream.write_all(&output)?;
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                // The other end is gone.
                _ => *slot = None,
            }
        }
    }
}

/// The constant that answers requests like the first one in `bytes`.
fn answer(bytes: &[u8]) -> &'static [u8] {
    const VALUE: &[u8] = b"$64\r\nxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n";
    let verb = bytes.splitn(3, |byte| *byte == b'\n').nth(2).unwrap_or_default();
    match verb.get(..3) {
        Some(b"GET") => VALUE,
        Some(b"INC") => b":1\r\n",
        Some(b"PIN") => b"+PONG\r\n",
        _ => b"+OK\r\n",
    }
}
