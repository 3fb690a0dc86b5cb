//! Virtual IPs (`sentinel vip <master> <address>`): addresses that stand for a master and move with it, so that none
//! of them is an instance's own.
//!
//! A node that connects out from the host which holds the address may be seen under it, as a replica or as another
//! Sentinel, and whoever registers it there finds somebody else behind it after the next failover. An address that
//! this Sentinel was told of is refused wherever an instance would enter, whoever names it: as a replica, as another Sentinel,
//! as the master. That is told once in a while (`+vip-refused`), with what to do about it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::model::{Addr, Target};
use super::timers::Ms;
use super::{Core, Level};

/// An address that is refused again and again is told of so often.
const TELL_EVERY_MS: Ms = 600_000;

/// What an address was to be entered as.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Entry {
    /// The master itself.
    Master,
    /// A replica.
    Replica,
    /// Another Sentinel.
    Sentinel,
}

/// When a refusal was last told, by what was refused: no more entries than there are virtual IPs and kinds.
#[derive(Debug, Default)]
pub(super) struct Told(BTreeMap<(IpAddr, Entry), Ms>);

/// Why a virtual IP is not monitored, and what to do.
pub(super) fn not_to_be_monitored(ip: IpAddr, of: &str) -> String {
    format!(
        "{ip} is a virtual IP (sentinel vip {of} {ip}) and moves with the master, so it cannot be what is monitored: \
         give the address of the node itself, sentinel monitor {of} <address of the node> <port> <quorum>"
    )
}

impl Core {
    /// The master whose virtual IP this is. Nothing that is not an IP is one.
    pub(super) fn owner_of_virtual_ip(&self, ip: &str) -> Option<(IpAddr, usize)> {
        let ip = ip.parse().ok()?;
        let owner = self.masters.iter().position(|m| m.cfg.vips.contains(&ip))?;
        Some((ip, owner))
    }

    /// Whether an address that would be entered for a master is a virtual IP; tells so, if it has not lately.
    pub(super) fn refuses_virtual(&mut self, m: usize, as_what: Entry, addr: &Addr, now: Ms) -> bool {
        let Some((ip, owner)) = self.owner_of_virtual_ip(&addr.ip) else { return false };
        let lately = self.vips_told.0.get(&(ip, as_what)).is_some_and(|at| now < at + TELL_EVERY_MS);
        if lately {
            return true;
        }
        let masters = &self.masters;
        self.vips_told.0.retain(|(ip, _), _| masters.iter().any(|m| m.cfg.vips.contains(ip)));
        self.vips_told.0.insert((ip, as_what), now);
        let (kind, mend) = match as_what {
            Entry::Master => ("master", "the other Sentinels need the same 'sentinel vip' directives"),
            Entry::Replica => ("slave", "its node needs replica-announce-ip with an address of its own"),
            Entry::Sentinel => ("sentinel", "it needs 'sentinel announce-ip' with an address of its own"),
        };
        let of_master = self.describe(m, &Target::Master);
        let of_master = of_master.strip_prefix("master ").unwrap_or_default();
        let port = addr.port;
        let text = format!("{kind} {} {ip} {port} @ {of_master}", addr.name(false));
        self.event_text(Level::Warning, "+vip-refused", Some(self.master_id(m)), text);
        let owner = self.masters[owner].name();
        self.log(
            Level::Warning,
            format!("{ip} is a virtual IP of {owner} and no {kind} is entered under it: {mend}"),
        );
        true
    }

    /// Forgets instances that were entered under a virtual IP before it was known to be one.
    pub(super) fn drop_virtual(&mut self, now: Ms) {
        for m in 0..self.masters.len() {
            for target in self.masters[m].targets() {
                let as_what = match &target {
                    Target::Master => continue,
                    Target::Replica(_) => Entry::Replica,
                    Target::Peer(_) => Entry::Sentinel,
                };
                let Some(addr) = self.instance(m, &target).map(|i| i.addr.clone()) else { continue };
                if self.refuses_virtual(m, as_what, &addr, now) {
                    let event = if as_what == Entry::Replica { "-slave" } else { "-sentinel" };
                    self.event(Level::Notice, event, m, &target, "");
                    match &target {
                        Target::Peer(id) => drop(self.remove_peer(m, id)),
                        Target::Replica(name) => self.remove_replica(m, name),
                        Target::Master => {}
                    }
                    self.save();
                }
            }
        }
    }

    /// SENTINEL SET vip: the virtual IPs of a master, all of them.
    ///
    /// # Errors
    /// Why not.
    pub(super) fn set_virtual_ips(&mut self, m: usize, list: &str, now: Ms) -> Result<(), String> {
        let mut ips = Vec::new();
        for word in list.split_whitespace() {
            let ip = parse(word)?;
            if let Some((_, owner)) = self.owner_of_virtual_ip(word).filter(|(_, owner)| *owner != m) {
                return Err(belongs_to(ip, self.masters[owner].name()));
            }
            let is = |addr: &Addr| addr.ip.parse() == Ok(ip);
            let in_use = |m: &super::model::Master| {
                is(&m.me.addr)
                    || m.promoted().is_some_and(|r| is(&r.me.addr))
                    || m.coming.as_ref().is_some_and(|c| is(&c.addr))
            };
            if self.masters.iter().any(in_use) {
                return Err(not_to_be_monitored(ip, self.masters[m].name()));
            }
            if !ips.contains(&ip) {
                ips.push(ip);
            }
        }
        self.masters[m].cfg.vips = ips;
        self.drop_virtual(now);
        Ok(())
    }
}

/// A virtual IP as a directive gives it.
pub(super) fn parse(word: &str) -> Result<IpAddr, String> {
    word.parse().map_err(|_| {
        format!("Invalid virtual IP '{word}': it has to be an IPv4 or IPv6 address without a prefix length.")
    })
}

/// Why an address cannot be the virtual IP of two masters.
pub(super) fn belongs_to(ip: IpAddr, owner: &str) -> String {
    format!("{ip} is a virtual IP of '{owner}' already.")
}
