//! A client that knows one address: writes one after the other, and remembers when each was acknowledged.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::netns::Host;

/// After so long without an answer the connection is given up, as a client with a deadline would.
const PATIENCE: Duration = Duration::from_millis(50);

/// A thread of the client's host, which ends when this is dropped.
#[derive(Debug)]
pub struct Writer {
    acks: Arc<Mutex<Vec<Instant>>>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    /// Starts it in a host.
    pub fn start(host: &Host, address: SocketAddr) -> Writer {
        let writer = Writer { acks: Arc::default(), stop: Arc::default() };
        let (acks, stop) = (writer.acks.clone(), writer.stop.clone());
        host.spawn(move || {
            let mut number = 0_u64;
            while !stop.load(Ordering::Relaxed) {
                if write(address, &mut number, &acks, &stop).is_err() {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        writer
    }

    /// When the last write was acknowledged.
    pub fn last_ack(&self) -> Option<Instant> {
        self.acks.lock().unwrap().last().copied()
    }

    /// The first one after some time.
    pub fn first_ack_after(&self, start: Instant) -> Option<Instant> {
        let acks = self.acks.lock().unwrap();
        acks.get(acks.partition_point(|at| *at <= start)).copied()
    }

    /// The longest time between two acknowledgements since `start`; the last one before it counts.
    pub fn longest_gap_since(&self, start: Instant) -> Duration {
        let acks = self.acks.lock().unwrap();
        let first = acks.partition_point(|at| *at <= start).saturating_sub(1);
        acks[first..].windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Writes over one connection until something fails.
fn write(
    address: SocketAddr,
    number: &mut u64,
    acks: &Mutex<Vec<Instant>>,
    stop: &AtomicBool,
) -> std::io::Result<()> {
    let mut link = TcpStream::connect_timeout(&address, PATIENCE)?;
    link.set_nodelay(true)?;
    link.set_read_timeout(Some(PATIENCE))?;
    while !stop.load(Ordering::Relaxed) {
        *number += 1;
        link.write_all(format!("SET written {number}\r\n").as_bytes())?;
        let mut answer = [0; 5];
        link.read_exact(&mut answer)?;
        if answer != *b"+OK\r\n" {
            return Err(std::io::Error::other("the write was refused"));
        }
        acks.lock().unwrap().push(Instant::now());
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}
