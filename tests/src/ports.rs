//! Ports that nobody else takes between our asking and a server's binding.
//!
//! Asking the system for "any free port" and giving the answer to a child is a race:
//! until the child binds, the next one asking, or any outgoing connection, may be given
//! the same. A lease closes it from both sides. The ports come from below the system's
//! ephemeral range, where no outgoing connection lands; and every process that leases
//! one holds an abstract Unix socket named after it, which the kernel frees when that
//! process ends, however it ends. What remains, a stranger's server with a fixed port in
//! our range, shows when the child fails to bind, and then another lease is taken.
//!
//! A cluster's bus is at port + 10000, so the range stays below 55535.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

use crate::error::{LabError, Result};

const FIRST: u16 = 11_000;
const ATTEMPTS: usize = 500;

/// The right to one loopback port, held until dropped.
#[derive(Debug)]
pub struct PortLease {
    port: u16,
    _claim: UnixListener,
}

impl PortLease {
    /// Leases a port on which nothing listens.
    pub fn take() -> Result<PortLease> {
        let end = ephemeral_start();
        for _ in 0..ATTEMPTS {
            let port = rand::random_range(FIRST..end);
            if let Some(claim) = claim(port)
                && TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok()
            {
                return Ok(PortLease { port, _claim: claim });
            }
        }
        Err(LabError::Other(format!(
            "found no free loopback port between {FIRST} and {end} in {ATTEMPTS} attempts: \
             stop some of the servers that listen there (`ss -ltn` lists them)"
        )))
    }

    /// The port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The loopback address with this port.
    pub fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }
}

fn claim(port: u16) -> Option<UnixListener> {
    let name = UnixAddr::from_abstract_name(format!("redoubt-lab-port-{port}")).ok()?;
    UnixListener::bind_addr(&name).ok()
}

/// Where the system's ephemeral ports begin, at most 32768.
fn ephemeral_start() -> u16 {
    let range = std::fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let start: u16 = range.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(32_768);
    // A machine may let its ephemeral ports start very low; then the probe alone has to do.
    if start > FIRST + 1_000 { start.min(32_768) } else { 32_768 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn leases_are_distinct_and_free() {
        let leases: Vec<_> = (0..50).map(|_| PortLease::take().unwrap()).collect();
        let ports: HashSet<_> = leases.iter().map(PortLease::port).collect();
        assert_eq!(ports.len(), leases.len());
        for lease in &leases {
            TcpListener::bind(lease.addr()).unwrap();
        }
    }

    #[test]
    fn a_claim_is_exclusive_until_dropped() {
        let lease = PortLease::take().unwrap();
        let port = lease.port();
        assert!(claim(port).is_none());
        drop(lease);
        assert!(claim(port).is_some());
    }
}
