//! Host names: what addresses they have, and who waits to know.
//!
//! A name is looked up with every attempt to connect, so that a process that came back at another
//! address is found, and when somebody mentions it for the first time. No attempt waits for the
//! answer: it goes to where the name led last, and is made anew if the name turns out to have
//! moved. So monitoring does not depend on the name service answering, and asks it nothing as long
//! as connections stand.

use std::collections::BTreeMap;
use std::net::IpAddr;

use redoubt_wire::resp::reply::Protocol;

use super::link::LinkKey;
use super::model::Addr;
use super::timers::Ms;
use super::{ClientId, Core, Level, Output};

/// As long as a name of the DNS can be.
const MAX_NAME_LEN: usize = 253;
/// Names remembered; beyond, those that no link uses are forgotten.
pub(super) const MAX_NAMES: usize = 1024;
/// What waits for names; beyond, hellos are dropped, which come again.
pub(super) const MAX_WAITING: usize = 256;

/// A host name.
#[derive(Debug, Default)]
pub(super) struct Name {
    /// Its last address.
    ip: Option<String>,
    /// It is being looked up.
    asked: bool,
    /// When it was last looked up, with whatever outcome.
    answered_at: Option<Ms>,
    /// It had no address then, which was told.
    failing: bool,
}

/// What is done again once a name is known.
#[derive(Debug)]
pub(super) enum Waiting {
    /// A client's command.
    Command { client: ClientId, argv: Vec<Vec<u8>>, protocol: Protocol },
    /// A hello message, and whether its sender handed it to us itself.
    Hello { text: String, direct: bool },
}

/// Why there is no address for a host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// It is being looked up.
    Pending,
    /// It is no address, and names are not accepted or this one is unknown.
    Invalid,
}

/// All names. See the module's head.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) by_host: BTreeMap<String, Name>,
    /// The name whose lookup has just failed, while what waited for it is carried out.
    failed: Option<String>,
    pub(super) waiting: Vec<(String, Waiting)>,
}

impl Names {
    pub(super) fn new(known: BTreeMap<String, String>) -> Self {
        let name = |ip| Name { ip: Some(ip), ..Name::default() };
        let by_host = known.into_iter().map(|(host, ip)| (host, name(ip))).collect();
        Names { by_host, ..Names::default() }
    }
}

pub(super) fn is_ip(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

impl Core {
    /// The address of `host`, which is an IP or, with `resolve-hostnames`, a name.
    pub(super) fn resolve(&mut self, host: &str, port: u16) -> Result<Addr, Unresolved> {
        if is_ip(host) {
            return Ok(Addr::of_ip(host, port));
        }
        if !self.globals.resolve_hostnames || host.is_empty() || host.len() > MAX_NAME_LEN {
            return Err(Unresolved::Invalid);
        }
        if let Some(ip) = self.names.by_host.get(host).and_then(|name| name.ip.clone()) {
            return Ok(Addr { host: host.to_string(), ip, port });
        }
        if self.names.failed.as_deref() == Some(host) {
            return Err(Unresolved::Invalid);
        }
        if self.look_up(host) { Err(Unresolved::Pending) } else { Err(Unresolved::Invalid) }
    }

    /// As [`Core::resolve`], but an address that is not known stays a name until it is.
    pub(super) fn resolve_or_keep(&mut self, host: &str, port: u16) -> Addr {
        self.resolve(host, port).unwrap_or_else(|_| Addr::of_ip(host, port))
    }

    pub(super) fn wait_for_name(&mut self, host: &str, what: Waiting) {
        let dispensable = matches!(what, Waiting::Hello { .. });
        if !dispensable || self.names.waiting.len() < MAX_WAITING {
            self.names.waiting.push((host.to_string(), what));
        }
    }

    /// Looks the name behind a connection up again, once a PING period at most: it may have moved.
    pub(super) fn look_up_again(&mut self, host: &str, now: Ms) {
        let last = self.names.by_host.get(host).and_then(|name| name.answered_at);
        let due = last.is_none_or(|at| now >= at + self.timers.ping_period);
        if self.globals.resolve_hostnames && !is_ip(host) && due {
            self.look_up(host);
        }
    }

    /// Has a name looked up, unless it is already. False if there are too many of them.
    fn look_up(&mut self, host: &str) -> bool {
        if self.names.by_host.len() >= MAX_NAMES && !self.names.by_host.contains_key(host) {
            let links = &self.links;
            let used = |host: &str| links.values().any(|link| link.addr.host == host);
            self.names.by_host.retain(|host, name| name.asked || used(host));
            if self.names.by_host.len() >= MAX_NAMES {
                return false;
            }
        }
        let name = self.names.by_host.entry(host.to_string()).or_default();
        if !std::mem::replace(&mut name.asked, true) {
            self.out.push_back(Output::Resolve { host: host.to_string() });
        }
        true
    }

    /// A lookup has ended: connections that waited for it are made, and what else did is done.
    pub(super) fn resolved(&mut self, host: &str, ip: Option<String>, now: Ms) {
        // Who goes by the name of a virtual IP would move with the master.
        let ip = ip.filter(|ip| self.owner_of_virtual_ip(ip).is_none());
        let Some(name) = self.names.by_host.get_mut(host) else { return };
        name.asked = false;
        name.answered_at = Some(now);
        let failed_before = std::mem::replace(&mut name.failing, ip.is_none());
        match ip {
            Some(ip) if name.ip.as_ref() != Some(&ip) => {
                name.ip = Some(ip.clone());
                self.name_moved(host, &ip, now);
            }
            Some(_) => {}
            None => {
                self.names.failed = Some(host.to_string());
                if !failed_before {
                    self.log(Level::Warning, format!("Failed to resolve hostname '{host}'"));
                }
            }
        }
        let (ready, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.names.waiting).into_iter().partition(|(name, _)| name == host);
        self.names.waiting = rest;
        for (_, what) in ready {
            match what {
                Waiting::Command { client, argv, protocol } => self.command(client, argv, protocol, now),
                Waiting::Hello { text, direct } => self.hello(&text, direct, now),
            }
        }
        self.names.failed = None;
    }

    /// A name has a new address: whoever goes by that name moves there. Connections that stand are kept, as
    /// somebody answers on them; attempts at the old address are given up.
    fn name_moved(&mut self, host: &str, ip: &str, now: Ms) {
        for master in &mut self.masters {
            for target in master.targets() {
                if let Some(i) = master.instance_mut(&target).filter(|i| i.addr.host == host) {
                    i.addr.ip = ip.to_string();
                    master.due = now;
                }
            }
        }
        let mut turned: Vec<LinkKey> = Vec::new();
        for (key, link) in self.links.iter_mut().filter(|(_, l)| l.addr.host == host) {
            link.addr.ip = ip.to_string();
            turned.extend(link.up().is_none().then_some(*key));
        }
        turned.into_iter().for_each(|key| self.close_link(key, now));
    }
}
