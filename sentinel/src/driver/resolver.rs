//! Looks host names up, on threads of its own.
//!
//! The system's resolver blocks for as long as it likes, half a minute where a name server is gone. It
//! blocks neither the loop nor the threads that write the state, and a few names that hang
//! leave the others their threads.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::sync::mpsc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Names that are looked up at a time.
const MAX_THREADS: usize = 16;

/// The way from a name to an address.
type LookUp = fn(&str) -> io::Result<IpAddr>;

/// Where a name and its address are reported.
type Report = Arc<dyn Fn(String, Option<String>) + Send + Sync>;

/// Takes names and reports their addresses.
pub(crate) struct Resolver {
    look_up: LookUp,
    report: Report,
    work: Arc<Mutex<Work>>,
}

#[derive(Default)]
struct Work {
    queue: VecDeque<String>,
    threads: usize,
}

impl Resolver {
    pub(crate) fn new(
        look_up: LookUp,
        report: impl Fn(String, Option<String>) + Send + Sync + 'static,
    ) -> Self {
        Resolver { look_up, report: Arc::new(report), work: Arc::default() }
    }

    /// Starts to look a name up; its address, or that it has none, is reported once.
    pub(crate) fn look_up(&self, host: String) {
        let mut work = lock(&self.work);
        work.queue.push_back(host);
        if work.threads == MAX_THREADS {
            return;
        }
        let (look_up, report, shared) = (self.look_up, self.report.clone(), self.work.clone());
        let thread = std::thread::Builder::new().name("resolver".into()).spawn(move || {
            while let Some(host) = next(&shared) {
                let ip = look_up(&host).ok().map(|ip| ip.to_string());
                report(host, ip);
            }
        });
        match thread {
            Ok(_) => work.threads += 1,
            // Those that run will take it; without any, it has no address for now.
            Err(_) if work.threads > 0 => {}
            Err(_) => work.queue.drain(..).for_each(|host| (self.report)(host, None)),
        }
    }
}

/// The next name of the queue; when it is empty the thread that asked ends.
fn next(work: &Mutex<Work>) -> Option<String> {
    let mut work = lock(work);
    let host = work.queue.pop_front();
    if host.is_none() {
        work.threads -= 1;
    }
    host
}

fn lock(work: &Mutex<Work>) -> MutexGuard<'_, Work> {
    work.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The address of a host by the system's resolver. A node rarely listens on both families: IPv4 comes first.
pub(crate) fn address_of(host: &str) -> io::Result<IpAddr> {
    let mut found: Vec<IpAddr> = (host, 0).to_socket_addrs()?.map(|a| a.ip()).collect();
    found.sort_by_key(|ip| ip.is_ipv6());
    found.first().copied().ok_or_else(|| io::Error::other(format!("{host} has no address")))
}

/// The addresses of those `hosts` that have one and for which it is found within `limit`.
pub(crate) fn look_up_all(hosts: &[String], limit: Duration) -> BTreeMap<String, String> {
    let deadline = Instant::now() + limit;
    let (sender, answers) = mpsc::channel();
    let resolver = Resolver::new(address_of, move |host, ip| drop(sender.send((host, ip))));
    hosts.iter().for_each(|host| resolver.look_up(host.clone()));
    let mut found = BTreeMap::new();
    for _ in hosts {
        match answers.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok((host, Some(ip))) => drop(found.insert(host, ip)),
            Ok((_, None)) => {}
            Err(_) => break,
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hang_or_answer(host: &str) -> io::Result<IpAddr> {
        if host.starts_with("hangs") {
            std::thread::park_timeout(Duration::from_secs(600));
        }
        host.parse().map_err(io::Error::other)
    }

    #[test]
    fn names_that_hang_do_not_hold_up_the_others() {
        let (sender, answers) = mpsc::channel();
        let resolver = Resolver::new(hang_or_answer, move |host, ip| drop(sender.send((host, ip))));
        (0..MAX_THREADS - 1).for_each(|n| resolver.look_up(format!("hangs{n}")));
        for n in 0..50 {
            resolver.look_up(format!("10.0.0.{n}"));
        }
        let mut told: Vec<String> =
            (0..50).map(|_| answers.recv_timeout(Duration::from_secs(30)).unwrap().1.unwrap()).collect();
        told.sort();
        told.dedup();
        assert_eq!(told.len(), 50);
    }

    #[test]
    fn a_name_without_address_is_reported_as_such() {
        let (sender, answers) = mpsc::channel();
        let resolver = Resolver::new(hang_or_answer, move |host, ip| drop(sender.send((host, ip))));
        resolver.look_up("no address".into());
        assert_eq!(answers.recv().unwrap(), ("no address".to_string(), None));
        assert_eq!(look_up_all(&["localhost".into()], Duration::from_secs(30))["localhost"], "127.0.0.1");
    }
}
