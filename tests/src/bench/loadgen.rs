//! A client that is cheaper than any server: one thread, non-blocking sockets, requests
//! patched in place.
//!
//! What is measured is the server, so the client must never be what limits it. A batch
//! of requests is encoded once per connection; before each sending only the digits of
//! its random keys are written anew. Replies are not parsed into values but counted, by
//! a scanner that takes any split of the stream.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use crate::error::{LabError, Result};

/// The beginning of a key in the speed workloads.
pub const KEY_PREFIX: &str = "key:";
/// Digits of a key's number, as in redis-benchmark.
const DIGITS: usize = 12;
/// A server that says nothing for this long is taken for hung.
const SILENCE_LIMIT_MS: u16 = 10_000;
const READ_SIZE: usize = 64 * 1024;

/// What the requests are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// `SET <prefix><n> <value>`
    Set {
        /// The beginning of the keys; twelve digits follow.
        prefix: &'static str,
        /// Bytes of the value.
        value_size: usize,
    },
    /// `GET key:<n>`
    Get,
    /// `INCR counter:<n>`
    Incr,
    /// `DEL key:<n>`
    Del,
    /// `ECHO key:<n>`: the work of a request without any data.
    Echo,
}

/// How many requests, and how.
#[derive(Debug, Clone, Copy)]
pub struct Workload {
    /// The request.
    pub request: Request,
    /// The keys are numbered from 0 to this, exclusive.
    pub keyspace: u64,
    /// Connections.
    pub connections: usize,
    /// Requests in one write; the next batch goes out when all of them are answered.
    pub pipeline: usize,
}

/// What the client saw.
#[derive(Debug, Clone)]
pub struct Observed {
    /// Requests answered.
    pub requests: u64,
    /// The time this took.
    pub elapsed: Duration,
    /// The time of each batch from its sending to its last reply, in nanoseconds, ascending.
    pub batch_ns: Vec<u64>,
}

impl Observed {
    /// Requests answered per second.
    pub fn per_second(&self) -> f64 {
        self.requests as f64 / self.elapsed.as_secs_f64()
    }

    /// The time in microseconds that `share` (0 to 1) of the batches did not exceed.
    pub fn percentile_us(&self, share: f64) -> f64 {
        let last = self.batch_ns.len().saturating_sub(1);
        let index = (last as f64 * share).round() as usize;
        self.batch_ns.get(index).map_or(0.0, |ns| *ns as f64 / 1_000.0)
    }
}

/// Keeps the server busy for `duration`.
pub fn run(addr: SocketAddr, workload: Workload, duration: Duration, seed: u64) -> Result<Observed> {
    let mut generator = Generator::connect(addr, workload, seed)?;
    let start = Instant::now();
    let end = start + duration;
    for index in 0..generator.connections.len() {
        generator.send(index)?;
    }
    while generator.serve_ready(|| Instant::now() < end)? {}
    let elapsed = start.elapsed();
    generator.batch_ns.sort_unstable();
    let requests = (generator.batch_ns.len() * workload.pipeline) as u64;
    Ok(Observed { requests, elapsed, batch_ns: generator.batch_ns })
}

/// Writes each of the `keyspace` keys once, in order.
pub fn fill(addr: SocketAddr, request: Request, keyspace: u64) -> Result<()> {
    const BATCH: u64 = 200;
    let mut stream = TcpStream::connect(addr).map_err(LabError::io(format!("cannot connect to {addr}")))?;
    stream.set_read_timeout(Some(Duration::from_millis(SILENCE_LIMIT_MS.into()))).map_err(at(addr))?;
    let mut scanner = ReplyScanner::default();
    let mut chunk = vec![0; READ_SIZE];
    let mut next = 0;
    while next < keyspace {
        let count = BATCH.min(keyspace - next);
        let mut batch = Batch::new(request, count as usize);
        batch.set_keys(|| {
            next += 1;
            next - 1
        });
        stream.write_all(&batch.bytes).map_err(at(addr))?;
        let mut answered = 0;
        while answered < count {
            let length = stream.read(&mut chunk).map_err(at(addr))?;
            answered += count_replies(&mut scanner, &chunk[..length], addr)?;
        }
    }
    Ok(())
}

fn at(addr: SocketAddr) -> impl FnOnce(std::io::Error) -> LabError {
    LabError::io(format!("lost the connection to {addr}"))
}

/// Counts the replies that `bytes` completes.
pub(super) fn count_replies(scanner: &mut ReplyScanner, bytes: &[u8], addr: SocketAddr) -> Result<u64> {
    if bytes.is_empty() {
        return Err(LabError::Other(format!("{addr} closed the connection")));
    }
    scanner.scan(bytes).map_err(|what| LabError::Other(format!("{addr} answered {what}")))
}

struct Generator {
    addr: SocketAddr,
    epoll: Epoll,
    connections: Vec<Connection>,
    keyspace: u64,
    random: SmallRng,
    chunk: Vec<u8>,
    events: Vec<EpollEvent>,
    batch_ns: Vec<u64>,
    busy: usize,
}

struct Connection {
    stream: TcpStream,
    batch: Batch,
    scanner: ReplyScanner,
    sent_at: Instant,
    awaited: u64,
}

impl Generator {
    fn connect(addr: SocketAddr, workload: Workload, seed: u64) -> Result<Generator> {
        let epoll =
            Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).map_err(LabError::errno("cannot use epoll"))?;
        let mut connections = Vec::new();
        for index in 0..workload.connections {
            let stream =
                TcpStream::connect(addr).map_err(LabError::io(format!("cannot connect to {addr}")))?;
            stream.set_nodelay(true).and_then(|()| stream.set_nonblocking(true)).map_err(at(addr))?;
            epoll
                .add(stream.as_fd(), EpollEvent::new(EpollFlags::EPOLLIN, index as u64))
                .map_err(LabError::errno("cannot watch a socket"))?;
            let batch = Batch::new(workload.request, workload.pipeline);
            let scanner = ReplyScanner::default();
            connections.push(Connection { stream, batch, scanner, sent_at: Instant::now(), awaited: 0 });
        }
        Ok(Generator {
            addr,
            epoll,
            keyspace: workload.keyspace,
            random: SmallRng::seed_from_u64(seed),
            chunk: vec![0; READ_SIZE],
            events: vec![EpollEvent::empty(); workload.connections],
            batch_ns: Vec::with_capacity(1 << 20),
            connections,
            busy: 0,
        })
    }

    fn send(&mut self, index: usize) -> Result<()> {
        let connection = &mut self.connections[index];
        connection.batch.set_keys(|| self.random.random_range(0..self.keyspace));
        connection.awaited = connection.batch.requests() as u64;
        connection.sent_at = Instant::now();
        self.busy += 1;
        // A batch is far smaller than a socket's buffer, which is empty when a batch goes out; a short
        // write would mean that this is no longer so.
        match connection.stream.write(&connection.batch.bytes) {
            Ok(length) if length == connection.batch.bytes.len() => Ok(()),
            Ok(_) => {
                Err(LabError::Other("a batch exceeds the socket's buffer: use a shorter pipeline".into()))
            }
            Err(error) => Err(at(self.addr)(error)),
        }
    }

    /// Handles what has arrived; `false` once nothing is awaited any more.
    fn serve_ready(&mut self, go_on: impl Fn() -> bool) -> Result<bool> {
        let ready = self
            .epoll
            .wait(&mut self.events, EpollTimeout::from(SILENCE_LIMIT_MS))
            .map_err(LabError::errno("cannot wait for replies"))?;
        if ready == 0 {
            return Err(LabError::Other(format!("{} has not answered for {SILENCE_LIMIT_MS} ms", self.addr)));
        }
        for event in 0..ready {
            let index = self.events[event].data() as usize;
            let connection = &mut self.connections[index];
            let length = match connection.stream.read(&mut self.chunk) {
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => continue,
                Err(error) => return Err(at(self.addr)(error)),
            };
            let replies = count_replies(&mut connection.scanner, &self.chunk[..length], self.addr)?;
            connection.awaited = connection.awaited.saturating_sub(replies);
            if connection.awaited == 0 {
                self.batch_ns.push(connection.sent_at.elapsed().as_nanos() as u64);
                self.busy -= 1;
                if go_on() {
                    self.send(index)?;
                }
            }
        }
        Ok(self.busy > 0)
    }
}

/// Encoded requests whose keys' digits can be overwritten.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where each key's digits begin.
    digits: Vec<usize>,
}

impl Batch {
    /// `count` requests.
    pub(super) fn new(request: Request, count: usize) -> Batch {
        let mut batch = Batch { bytes: Vec::new(), digits: Vec::new() };
        let value;
        let (verb, prefix, rest): (_, _, &[&[u8]]) = match request {
            Request::Set { prefix, value_size } => {
                value = vec![b'x'; value_size];
                ("SET", prefix, &[&value])
            }
            Request::Get => ("GET", KEY_PREFIX, &[]),
            Request::Incr => ("INCR", "counter:", &[]),
            Request::Del => ("DEL", KEY_PREFIX, &[]),
            Request::Echo => ("ECHO", KEY_PREFIX, &[]),
        };
        for _ in 0..count {
            batch.bytes.extend_from_slice(format!("*{}\r\n", 2 + rest.len()).as_bytes());
            batch.argument(verb.as_bytes());
            batch.argument(format!("{prefix}{:0DIGITS$}", 0).as_bytes());
            batch.digits.push(batch.bytes.len() - 2 - DIGITS);
            for argument in rest {
                batch.argument(argument);
            }
        }
        batch
    }

    fn argument(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(format!("${}\r\n", bytes.len()).as_bytes());
        self.bytes.extend_from_slice(bytes);
        self.bytes.extend_from_slice(b"\r\n");
    }

    /// The requests, encoded.
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How many there are.
    pub(super) fn requests(&self) -> usize {
        self.digits.len()
    }

    /// Gives each request the key of the next number.
    pub(super) fn set_keys(&mut self, mut next: impl FnMut() -> u64) {
        for start in &self.digits {
            let mut number = next();
            for digit in self.bytes[*start..*start + DIGITS].iter_mut().rev() {
                *digit = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
    }
}

/// Counts complete replies of the kinds that the workloads get: simple strings, integers, bulk
/// strings; an error is reported with its text.
#[derive(Debug, Default)]
pub(super) struct ReplyScanner {
    /// Bytes of a bulk string, with its line end, that are still to come.
    skip: usize,
    /// The beginning of a line whose end has not arrived.
    line: Vec<u8>,
}

impl ReplyScanner {
    fn scan(&mut self, mut bytes: &[u8]) -> std::result::Result<u64, String> {
        let mut replies = 0;
        loop {
            if self.skip > 0 {
                let step = self.skip.min(bytes.len());
                self.skip -= step;
                bytes = &bytes[step..];
                if self.skip > 0 {
                    return Ok(replies);
                }
                replies += 1;
            }
            let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
                self.line.extend_from_slice(bytes);
                return Ok(replies);
            };
            let (head, rest) = bytes.split_at(end + 1);
            bytes = rest;
            let complete = if self.line.is_empty() {
                self.header(head)
            } else {
                self.line.extend_from_slice(head);
                let line = std::mem::take(&mut self.line);
                self.header(&line)
            }?;
            replies += u64::from(complete);
        }
    }

    /// Whether this line is a whole reply; otherwise it announces a bulk string.
    fn header(&mut self, line: &[u8]) -> std::result::Result<bool, String> {
        let text = || String::from_utf8_lossy(line).trim_end().to_string();
        match line {
            [b'+' | b':' | b'_', ..] => Ok(true),
            [b'$', b'-', ..] => Ok(true),
            [b'$', digits @ ..] => {
                let length = std::str::from_utf8(digits)
                    .ok()
                    .and_then(|digits| digits.trim_end().parse::<usize>().ok());
                self.skip = length.ok_or_else(text)? + 2;
                Ok(false)
            }
            _ => Err(text()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn requests_are_encoded_with_their_keys() {
        let mut batch = Batch::new(Request::Set { prefix: KEY_PREFIX, value_size: 3 }, 2);
        let mut numbers = [7, 123_456_789_012].into_iter();
        batch.set_keys(|| numbers.next().unwrap());
        let expected = "*3\r\n$3\r\nSET\r\n$16\r\nkey:000000000007\r\n$3\r\nxxx\r\n\
                        *3\r\n$3\r\nSET\r\n$16\r\nkey:123456789012\r\n$3\r\nxxx\r\n";
        assert_eq!(String::from_utf8(batch.bytes).unwrap(), expected);
    }

    #[test]
    fn an_error_reply_is_quoted() {
        let error = ReplyScanner::default().scan(b"+OK\r\n-ERR no\r\n").unwrap_err();
        assert_eq!(error, "-ERR no");
    }

    proptest! {
        #[test]
        fn replies_are_counted_at_any_split(cuts in proptest::collection::vec(0usize..64, 0..6)) {
            let stream = b"+OK\r\n$5\r\na\r\nbc\r\n:12\r\n$-1\r\n$0\r\n\r\n+PONG\r\n";
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let mut scanner = ReplyScanner::default();
            let mut total = 0;
            for pair in cuts.windows(2) {
                total += scanner.scan(&stream[pair[0]..pair[1]]).unwrap();
            }
            prop_assert_eq!(total, 6);
        }
    }
}
