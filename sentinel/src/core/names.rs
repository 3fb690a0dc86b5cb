//! Host names: what addresses they have, and who waits to know.
//!
//! A name is looked up when a connection to it is to be made, so that a process that came back at
//! another address is found, and when somebody mentions it for the first time. Its last
//! address is kept: while the name service is slow or gone, connections go to where the name
//! was last, after a wait that is short beside down-after. So monitoring never depends on the
//! name service answering, and asks it nothing as long as connections stand.

use std::collections::BTreeMap;
use std::net::IpAddr;

use redoubt_wire::resp::reply::Protocol;

use super::link::{Channel, ConnState, LinkKey};
use super::model::{Addr, MasterId};
use super::timers::{LOOKUP_PATIENCE_MS, Ms};
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
    /// Since when it is being looked up, if it is.
    asked_at: Option<Ms>,
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
    /// A hello message.
    Hello(String),
}

/// Why there is no address for a host.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unresolved {
    /// It is being looked up.
    Pending,
    /// It is no address, and names are not accepted or this one is unknown.
    Invalid,
}

/// Whether a connection can be made.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// To the address of its link.
    Known,
    /// Its name is being looked up; at that time the last address will do.
    LookedUpUntil(Ms),
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

fn is_ip(host: &str) -> bool {
    host.parse::<IpAddr>().is_ok()
}

impl Core {
    /// The address of `host`, which is an IP or, with `resolve-hostnames`, a name.
    pub(super) fn resolve(&mut self, host: &str, port: u16, now: Ms) -> Result<Addr, Unresolved> {
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
        if self.look_up(host, now) { Err(Unresolved::Pending) } else { Err(Unresolved::Invalid) }
    }

    /// As [`Core::resolve`], but an address that is not known stays a name until it is.
    pub(super) fn resolve_or_keep(&mut self, host: &str, port: u16, now: Ms) -> Addr {
        self.resolve(host, port, now).unwrap_or_else(|_| Addr::of_ip(host, port))
    }

    pub(super) fn wait_for_name(&mut self, host: &str, what: Waiting) {
        let dispensable = matches!(what, Waiting::Hello(_));
        if !dispensable || self.names.waiting.len() < MAX_WAITING {
            self.names.waiting.push((host.to_string(), what));
        }
    }

    /// Whether a link's name has been looked up for the attempt to connect that is due now; if not,
    /// it will be.
    pub(super) fn way(&mut self, key: LinkKey, down_after: Ms, now: Ms) -> Option<Way> {
        let addr = self.links.get(&key)?.addr.clone();
        if is_ip(&addr.host) || !self.globals.resolve_hostnames {
            return is_ip(&addr.ip).then_some(Way::Known);
        }
        let period = self.timers.ping_period;
        let name = self.names.by_host.get(&addr.host);
        let fresh = name.and_then(|n| n.answered_at).is_some_and(|at| now - at < period);
        if !fresh && self.look_up(&addr.host, now) {
            let asked_at = self.names.by_host.get(&addr.host).and_then(|n| n.asked_at).unwrap_or(now);
            let until = asked_at + LOOKUP_PATIENCE_MS.min(down_after / 10);
            if now < until {
                return Some(Way::LookedUpUntil(until));
            }
        }
        if is_ip(&addr.ip) {
            return Some(Way::Known);
        }
        // Nothing is known: the answer will tell, or the next lookup.
        Some(Way::LookedUpUntil(now + period))
    }

    /// Has a name looked up, unless it is already. False if there are too many of them.
    fn look_up(&mut self, host: &str, now: Ms) -> bool {
        if self.names.by_host.len() >= MAX_NAMES && !self.names.by_host.contains_key(host) {
            let links = &self.links;
            let used = |host: &str| links.values().any(|link| link.addr.host == host);
            self.names.by_host.retain(|host, name| name.asked_at.is_some() || used(host));
            if self.names.by_host.len() >= MAX_NAMES {
                return false;
            }
        }
        let name = self.names.by_host.entry(host.to_string()).or_default();
        if name.asked_at.is_none() {
            name.asked_at = Some(now);
            self.out.push_back(Output::Resolve { host: host.to_string() });
        }
        true
    }

    /// A lookup has ended: connections that waited for it are made, and what else did is done.
    pub(super) fn resolved(&mut self, host: &str, ip: Option<String>, now: Ms) {
        let Some(name) = self.names.by_host.get_mut(host) else { return };
        name.asked_at = None;
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
                Waiting::Hello(text) => self.hello(&text, now),
            }
        }
        self.names.failed = None;
        let users: Vec<MasterId> = self
            .links
            .values()
            .filter(|link| link.addr.host == host)
            .flat_map(|link| link.users.iter().map(|(id, _)| *id))
            .collect();
        users.into_iter().for_each(|id| self.evaluate(id, now));
    }

    /// A name has a new address: whoever goes by that name moves there. Connections that stand are kept, as
    /// somebody answers on them; those on their way to the old address are turned.
    fn name_moved(&mut self, host: &str, ip: &str, now: Ms) {
        let mut turned = Vec::new();
        for (key, link) in self.links.iter_mut().filter(|(_, l)| l.addr.host == host) {
            link.addr.ip = ip.to_string();
            for channel in [Channel::Commands, Channel::PubSub] {
                if matches!(link.state_mut(channel), Some(ConnState::Connecting { .. })) {
                    turned.push((*key, channel));
                }
            }
        }
        turned.into_iter().for_each(|(key, channel)| self.close_channel(key, channel, now));
        for master in &mut self.masters {
            for target in master.targets() {
                if let Some(i) = master.instance_mut(&target).filter(|i| i.addr.host == host) {
                    i.addr.ip = ip.to_string();
                }
            }
        }
    }
}
