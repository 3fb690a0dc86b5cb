//! What is so of an interface that matters for a virtual address, and what is wrong with it: for `check`.

use std::net::IpAddr;

use super::addresses::{self, Assigned};
use super::error::{PlatformError, Result};
use super::links::{self, Link};
use super::netlink::{Connection, Family};
use crate::core::types::{VirtualAddress, is_of_a_host};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Worth knowing.
    Note,
    /// It may work, but not in every case.
    Warning,
    /// The address cannot work so.
    Error,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What it is and what to do, a sentence.
    pub text: String,
}

/// What is so of one interface.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// The interface, if it is there.
    pub link: Option<Link>,
    /// The addresses on it.
    pub on_it: Vec<Assigned>,
    /// Where the virtual address is, with the interface's name.
    pub virtual_on: Vec<(String, Assigned)>,
    /// Other interfaces that would answer ARP for an address of this one (up, Ethernet, no port of another).
    pub others: Vec<String>,
    /// The kernel's settings; the stricter of the interface's and everybody's where that is the rule.
    pub settings: Settings,
}

/// The kernel's settings of an interface, under /proc/sys/net.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `proxy_arp`: the host answers ARP for addresses it only knows a route to.
    pub proxy_arp: bool,
    /// `arp_ignore`.
    pub arp_ignore: u32,
    /// `rp_filter`.
    pub rp_filter: u32,
    /// IPv6 is off, or not there at all.
    pub ipv6_disabled: bool,
}

/// Collects the facts about the interface of an address. Needs no privilege.
pub fn facts(address: &VirtualAddress) -> Result<Facts> {
    let what = "cannot list interfaces and addresses";
    let mut connection = Connection::open(Family::Route, 0).map_err(PlatformError::kernel(what))?;
    let links = links::list(&mut connection).map_err(PlatformError::kernel(what))?;
    let assigned = addresses::list(&mut connection).map_err(PlatformError::kernel(what))?;
    let name = |index: u32| {
        links.iter().find(|link| link.index == index).map_or_else(|| index.to_string(), |l| l.name.clone())
    };
    let link = links.iter().find(|link| link.name == address.interface).cloned();
    let on_it =
        assigned.iter().filter(|found| link.as_ref().is_some_and(|l| l.index == found.interface)).cloned();
    let others = links.iter().filter(|other| {
        other.name != address.interface
            && other.carrier
            && other.mac.is_some_and(|mac| mac != [0; 6])
            && other.master.is_none()
            && assigned.iter().any(|found| found.interface == other.index && found.address.is_ipv4())
    });
    Ok(Facts {
        on_it: on_it.collect(),
        virtual_on: assigned
            .iter()
            .filter(|found| found.address == address.address)
            .map(|found| (name(found.interface), found.clone()))
            .collect(),
        others: others.map(|other| other.name.clone()).collect(),
        settings: Settings::read(&address.interface),
        link,
    })
}

impl Settings {
    /// What cannot be read counts as the kernel's default, IPv6 as absent.
    fn read(interface: &str) -> Settings {
        let number = |family: &str, interface: &str, name: &str| -> Option<u32> {
            let path = format!("/proc/sys/net/{family}/conf/{interface}/{name}");
            std::fs::read_to_string(path).ok()?.trim().parse().ok()
        };
        // Documentation/networking/ip-sysctl: the larger of the two counts.
        let larger = |name: &str| {
            number("ipv4", interface, name).unwrap_or(0).max(number("ipv4", "all", name).unwrap_or(0))
        };
        Settings {
            proxy_arp: larger("proxy_arp") != 0,
            arp_ignore: larger("arp_ignore"),
            rp_filter: larger("rp_filter"),
            ipv6_disabled: number("ipv6", interface, "disable_ipv6").is_none_or(|value| value != 0),
        }
    }
}

/// What is wrong, or worth knowing, about an address with these facts.
pub fn findings(address: &VirtualAddress, facts: &Facts) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut say = |severity, text: String| findings.push(Finding { severity, text });
    let (ip, interface) = (address.address, &address.interface);
    let Some(link) = &facts.link else {
        say(Severity::Error, format!("interface {interface}, for {ip}, is not there: see `ip link`"));
        return findings;
    };
    if !link.up {
        say(Severity::Warning, format!("interface {interface} is down: ip link set {interface} up"));
    } else if !link.carrier {
        say(Severity::Warning, format!("interface {interface} has no carrier: nobody hears it"));
    }
    if link.mac.is_none_or(|mac| mac == [0; 6]) {
        say(Severity::Error, format!("interface {interface} is no Ethernet: {ip} cannot be announced on it"));
    }
    if link.master.is_some() {
        let kind = link.master_kind.as_deref().unwrap_or("another interface");
        say(
            Severity::Error,
            format!("interface {interface} is a port of a {kind}: name the {kind} itself for {ip}"),
        );
    }
    let own = |found: &&Assigned| found.address != ip && found.address.is_ipv4() == ip.is_ipv4();
    match facts.on_it.iter().filter(own).find(|found| within(ip, found.address, found.prefix_len)) {
        None => say(
            Severity::Warning,
            format!(
                "{interface} has no address in a network that contains {ip}, which brings no route itself: hosts of that \
                 network are answered only with a route to it (ip route add … dev {interface}), others only through a \
                 router that knows where it is"
            ),
        ),
        Some(found) if ip.is_ipv4() && address.prefix_len < 32 => say(
            Severity::Warning,
            format!(
                "{ip}/{}: leave the prefix length out. With it the kernel counts {ip} among the addresses of this host's \
                 network: it goes when {} is removed, and where it came first it is the source of this host's own \
                 connections",
                address.prefix_len, found.address
            ),
        ),
        Some(_) => {}
    }
    if let Some(found) = facts
        .on_it
        .iter()
        .filter(own)
        .find(|found| within(ip, found.address, found.prefix_len) && !is_of_a_host(ip, found.prefix_len))
    {
        say(
            Severity::Error,
            format!(
                "{ip} is no host's address in the network of {}/{} on {interface}, but that of the network itself or its \
                 broadcast address: choose another",
                found.address, found.prefix_len
            ),
        );
    }
    for (where_, found) in &facts.virtual_on {
        if found.protocol != addresses::PROTOCOL {
            say(
                Severity::Error,
                format!(
                    "{ip}/{} is on {where_} already, put there by another program: take it out of that one's \
                     configuration and remove it (ip address del {ip}/{} dev {where_})",
                    found.prefix_len, found.prefix_len
                ),
            );
        }
    }
    let settings = &facts.settings;
    if ip.is_ipv6() {
        if settings.ipv6_disabled {
            say(
                Severity::Error,
                format!("IPv6 is off on {interface}: sysctl net.ipv6.conf.{interface}.disable_ipv6=0"),
            );
        }
        return findings;
    }
    if settings.arp_ignore == 3
        || settings.arp_ignore >= 8
        || (settings.arp_ignore == 2 && address.prefix_len == 32)
    {
        say(
            Severity::Error,
            format!(
                "arp_ignore is {} on {interface}: the kernel would answer nobody who asks for {ip}; 0 or 1 will do",
                settings.arp_ignore
            ),
        );
    }
    if settings.proxy_arp {
        say(
            Severity::Warning,
            format!(
                "proxy_arp is on at {interface}: this host may answer ARP for {ip} while another host holds it"
            ),
        );
    }
    if settings.arp_ignore == 0 && !facts.others.is_empty() {
        say(
            Severity::Note,
            format!(
                "{} would answer ARP for {ip} as well if in the same network as {interface}; so that traffic takes \
                 {interface} alone: sysctl net.ipv4.conf.all.arp_ignore=1",
                facts.others.join(", ")
            ),
        );
    }
    if settings.rp_filter == 1 && !facts.others.is_empty() {
        say(
            Severity::Note,
            format!(
                "rp_filter is strict on {interface}: packets to {ip} from hosts that are routed elsewhere are dropped"
            ),
        );
    }
    findings
}

/// Whether `ip` is in the network of `other`.
fn within(ip: IpAddr, other: IpAddr, prefix_len: u8) -> bool {
    let shift = |bits: u32| bits.saturating_sub(u32::from(prefix_len));
    match (ip, other) {
        (IpAddr::V4(a), IpAddr::V4(b)) => {
            (u32::from(a) ^ u32::from(b)).checked_shr(shift(32)).unwrap_or(0) == 0
        }
        (IpAddr::V6(a), IpAddr::V6(b)) => {
            (u128::from(a) ^ u128::from(b)).checked_shr(shift(128)).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn virtual_address() -> VirtualAddress {
        VirtualAddress { address: "10.0.0.100".parse().unwrap(), prefix_len: 32, interface: "eth0".into() }
    }

    fn good() -> Facts {
        let link = Link {
            index: 2,
            name: "eth0".into(),
            up: true,
            carrier: true,
            mac: Some([2, 0, 0, 0, 0, 1]),
            master: None,
            master_kind: None,
        };
        let own = Assigned {
            address: "10.0.0.1".parse().unwrap(),
            prefix_len: 24,
            interface: 2,
            protocol: 0,
            valid_s: None,
        };
        Facts { link: Some(link), on_it: vec![own], ..Facts::default() }
    }

    fn found(change: impl FnOnce(&mut Facts)) -> Vec<Finding> {
        let mut facts = good();
        change(&mut facts);
        findings(&virtual_address(), &facts)
    }

    #[test]
    fn nothing_is_found_where_all_is_well() {
        assert_eq!(found(|_| ()), []);
    }

    #[test]
    fn each_fault_is_found_and_named() {
        type Change = fn(&mut Facts);
        let table: [(Severity, &str, Change); 11] = [
            (Severity::Error, "is not there", |f| f.link = None),
            (Severity::Warning, "is down", |f| f.link.as_mut().unwrap().up = false),
            (Severity::Warning, "no carrier", |f| f.link.as_mut().unwrap().carrier = false),
            (Severity::Error, "no Ethernet", |f| f.link.as_mut().unwrap().mac = None),
            (Severity::Error, "port of a bridge", |f| {
                let link = f.link.as_mut().unwrap();
                (link.master, link.master_kind) = (Some(3), Some("bridge".into()));
            }),
            (Severity::Warning, "no address in a network", |f| f.on_it[0].prefix_len = 28),
            (Severity::Error, "no host's address", |f| {
                // A network of four addresses, of which 10.0.0.100 is the first.
                f.on_it[0].address = "10.0.0.102".parse().unwrap();
                f.on_it[0].prefix_len = 30;
            }),
            (Severity::Error, "by another program", |f| {
                let mut there = f.on_it[0].clone();
                there.address = "10.0.0.100".parse().unwrap();
                f.virtual_on.push(("eth0".into(), there));
            }),
            (Severity::Error, "arp_ignore is 2", |f| f.settings.arp_ignore = 2),
            (Severity::Warning, "proxy_arp", |f| f.settings.proxy_arp = true),
            (Severity::Note, "eth1 would answer ARP", |f| f.others = vec!["eth1".into()]),
        ];
        for (severity, words, change) in table {
            let found = found(change);
            assert_eq!(found.len(), 1, "{words}: {found:?}");
            assert!(found[0].severity == severity && found[0].text.contains(words), "{words}: {found:?}");
        }
    }

    #[test]
    fn networks_contain_what_they_contain() {
        let within = |a: &str, b: &str, n| within(a.parse().unwrap(), b.parse().unwrap(), n);
        assert!(within("10.0.0.100", "10.0.0.1", 24) && !within("10.0.1.100", "10.0.0.1", 24));
        assert!(within("10.0.0.100", "192.168.0.1", 0) && !within("10.0.0.100", "10.0.0.1", 32));
        assert!(within("fd00::1", "fd00::2", 64) && !within("fd00::1", "fd01::2", 64));
        assert!(!within("fd00::1", "10.0.0.1", 0));
    }
}
