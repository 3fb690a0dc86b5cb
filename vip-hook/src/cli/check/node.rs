//! Whether the local node is what the agent asks, and whether it would serve the clients of a virtual address.
//!
//! An address that is held is of no use where the node does not listen on it, and that shows only when the first
//! failover has brought it here. What is listened on can be seen on every host beforehand, in /proc/net.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};

use super::Findings;
use crate::cli::ask::{self, LIMIT, Peer};
use crate::config::{Endpoint, Login, Master};
use crate::core::types::NodeRole;

/// `own`: the addresses of this host, the virtual ones that it holds among them.
pub(super) fn check(master: &Master, own: &[IpAddr], findings: &mut Findings) {
    let about = &master.name;
    match ask::role(&master.node, &master.node_login) {
        NodeRole::Master | NodeRole::Replica => {}
        other => findings.error(
            about,
            format!(
                "the node {} answers {other}; nothing is taken before it says that it is the master",
                master.node
            ),
        ),
    }
    if let Some(ip) = master.node.ip()
        && master.host_addresses.is_none()
        && !ip.is_loopback()
        && !own.contains(&ip)
    {
        findings.error(
            about,
            format!(
                "the node {} is not on this host, which has {}: give the node of this host, or, where it has an address \
                 of its own (a container), host-addresses",
                master.node,
                listed(own.iter().copied())
            ),
        );
        return;
    }
    let listening = listening(master.node.port);
    // Whether it runs at all has been looked at; in another network namespace nothing of it is to be seen.
    if listening.is_empty() {
        return;
    }
    let (served, refused): (Vec<IpAddr>, Vec<IpAddr>) =
        master.addresses.iter().map(|address| address.address).partition(|ip| covers(&listening, *ip));
    if !refused.is_empty() {
        let addresses: Vec<IpAddr> = master.addresses.iter().map(|address| address.address).collect();
        findings.error(
            about,
            format!(
                "the node listens on {} alone, so that clients of {} are refused. Write into its configuration, and \
                 restart it: bind * -::* or, if it is a redoubt-node, bind {} (a redis-server listens on an address \
                 that is not there only with sysctl net.ipv4.ip_nonlocal_bind=1)",
                listed(listening.iter().copied()),
                listed(refused.iter().copied()),
                bind_line(&listening, &addresses, own)
            ),
        );
    }
    // Where it is held elsewhere, this host is a client like any other.
    for ip in served.iter().filter(|ip| !own.contains(ip)) {
        check_from_here(about, SocketAddr::new(*ip, master.node.port), findings);
    }
    if let Some(ip) = served.iter().find_map(|served| reachable(&listening, own, *served))
        && let Some(text) = turned_away(ip, master.node.port)
    {
        findings.error(
            about,
            format!(
                "clients of {} will be turned away, as one from {ip} was: {text}. Set a password (requirepass, or users) \
                 on all nodes, or protected-mode no where the network itself is closed",
                listed(served.iter().copied())
            ),
        );
    }
}

/// Whether somebody serves clients at an address that is on another host, or on none.
fn check_from_here(about: &str, at: SocketAddr, findings: &mut Findings) {
    match TcpStream::connect_timeout(&at, LIMIT) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => findings.error(
            about,
            format!("{at} refuses connections: the node of the host that holds it does not listen there; check it there"),
        ),
        Err(error) => findings.warning(
            about,
            format!(
                "nobody answers at {at} ({error}): no host holds it at present (status tells), or a firewall drops what is \
                 for it (nft list ruleset, on its host)"
            ),
        ),
    }
}

fn listed(ips: impl Iterator<Item = IpAddr>) -> String {
    ips.map(|ip| ip.to_string()).collect::<Vec<_>>().join(", ")
}

/// What `bind` should be: with a `-` what is not here at every start, the virtual addresses whoever holds them now.
fn bind_line(listening: &BTreeSet<IpAddr>, virtual_addresses: &[IpAddr], own: &[IpAddr]) -> String {
    let stays = |ip: &IpAddr| {
        !virtual_addresses.contains(ip) && (ip.is_loopback() || ip.is_unspecified() || own.contains(ip))
    };
    let new = virtual_addresses.iter().filter(|ip| !listening.contains(ip));
    let all = listening.iter().chain(new);
    all.map(|ip| if stays(ip) { ip.to_string() } else { format!("-{ip}") }).collect::<Vec<_>>().join(" ")
}

/// Whether somebody who listens on these addresses is reached at `ip`.
fn covers(listening: &BTreeSet<IpAddr>, ip: IpAddr) -> bool {
    let any_v4 = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
    // Whether `::` takes IPv4 as well is not to be seen from outside; most programs leave it so.
    let any_v6 = IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    listening.contains(&ip) || listening.contains(&any_v6) || (ip.is_ipv4() && listening.contains(&any_v4))
}

/// An address of this host at which the node treats clients as it will treat those of a virtual address: that address
/// if it is here, else any other at which it listens. Not the loopback, which is trusted more.
fn reachable(listening: &BTreeSet<IpAddr>, own: &[IpAddr], ip: IpAddr) -> Option<IpAddr> {
    let same = |other: &&IpAddr| other.is_ipv4() == ip.is_ipv4() && covers(listening, **other);
    if own.contains(&ip) { Some(ip) } else { own.iter().find(same).copied() }
}

/// What a client without a password is told at once, if it may not even ask.
fn turned_away(ip: IpAddr, port: u16) -> Option<String> {
    let mut peer = Peer::connect(&Endpoint { host: ip.to_string(), port }, &Login::default()).ok()?;
    let reply = peer.ask(&["PING"]).ok()?;
    let text = reply.error_text()?;
    text.starts_with(b"DENIED").then(|| "protected-mode is on, and there is no password".to_owned())
}

/// The addresses on which a TCP port of this host is listened on.
fn listening(port: u16) -> BTreeSet<IpAddr> {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    ["/proc/net/tcp", "/proc/net/tcp6"].into_iter().flat_map(|file| listeners(&read(file), port)).collect()
}

/// From /proc/net/tcp or tcp6: the lines in the state LISTEN.
fn listeners(table: &str, port: u16) -> Vec<IpAddr> {
    const LISTEN: &str = "0A";
    let one = |line: &str| -> Option<IpAddr> {
        let mut words = line.split_whitespace().skip(1);
        let (local, _remote, state) = (words.next()?, words.next()?, words.next()?);
        let (ip, at) = local.split_once(':')?;
        (state == LISTEN && u16::from_str_radix(at, 16).ok()? == port).then(|| address(ip))?
    };
    table.lines().filter_map(one).collect()
}

/// An address as the kernel prints it there: in words of 32 bits, each as a number of this machine.
fn address(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| -> Option<[u8; 4]> {
        Some(u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
            Some(IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(words).ok()?)).to_canonical())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(all: &[&str]) -> BTreeSet<IpAddr> {
        all.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn a_listener_serves_its_own_address_and_a_wildcard_every_one() {
        let served = |listening: &[&str], ip: &str| covers(&ips(listening), ip.parse().unwrap());
        assert!(!served(&["10.0.0.1", "127.0.0.1"], "10.0.0.100"));
        assert!(served(&["10.0.0.1", "10.0.0.100"], "10.0.0.100"));
        assert!(served(&["0.0.0.0"], "10.0.0.100") && !served(&["0.0.0.0"], "fd00::100"));
        assert!(served(&["::"], "fd00::100") && served(&["::"], "10.0.0.100"));
    }

    #[test]
    fn what_is_not_always_here_is_bound_with_a_minus() {
        let own: Vec<IpAddr> = ips(&["10.0.0.2", "10.0.0.100"]).into_iter().collect();
        let moving: Vec<IpAddr> = ips(&["10.0.0.100", "fd00::100"]).into_iter().collect();
        for listening in [&["10.0.0.2", "127.0.0.1"][..], &["10.0.0.2", "10.0.0.100", "127.0.0.1"]] {
            let line = bind_line(&ips(listening), &moving, &own);
            let mut words: Vec<&str> = line.split(' ').collect();
            words.sort_unstable();
            assert_eq!(words, ["-10.0.0.100", "-fd00::100", "10.0.0.2", "127.0.0.1"]);
        }
    }

    #[test]
    fn it_is_asked_at_the_address_itself_or_at_another_of_this_host() {
        let own: Vec<IpAddr> = ips(&["10.0.0.1", "fd00::1"]).into_iter().collect();
        let asked = |listening: &[&str], ip: &str| reachable(&ips(listening), &own, ip.parse().unwrap());
        assert_eq!(asked(&["0.0.0.0"], "10.0.0.100"), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(asked(&["127.0.0.1", "10.0.0.100"], "10.0.0.100"), None);
        assert_eq!(asked(&["0.0.0.0"], "10.0.0.1"), Some("10.0.0.1".parse().unwrap()));
        assert_eq!(asked(&["::"], "fd00::100"), Some("fd00::1".parse().unwrap()));
    }

    #[cfg(target_endian = "little")]
    #[test]
    fn the_kernels_tables_are_read() {
        let v4 = "  sl  local_address rem_address   st tx_queue rx_queue\n\
                  \x20  0: 0100000A:18EB 00000000:0000 0A 00000000:00000000 00:00000000\n\
                  \x20  1: 00000000:18EC 00000000:0000 0A 00000000:00000000 00:00000000\n\
                  \x20  2: 6400000A:18EB 0200000A:C001 01 00000000:00000000 00:00000000\n";
        assert_eq!(listeners(v4, 6379), ["10.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(listeners(v4, 6380), [IpAddr::from([0, 0, 0, 0])]);
        let v6 = "   0: 000000000000000000000000010000DF:18EB 00000000000000000000000000000000:0000 0A 0\n\
                  \x20  1: 0000000000000000FFFF00000100000A:18EB 00000000000000000000000000000000:0000 0A 0\n";
        assert_eq!(listeners(v6, 6379), ["::df00:1".parse::<IpAddr>().unwrap(), "10.0.0.1".parse().unwrap()]);
        assert_eq!(listeners("nonsense\n\n 0: x:y 1 0A", 6379), Vec::<IpAddr>::new());
    }

    #[test]
    fn what_this_process_listens_on_is_seen() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        assert_eq!(listening(at.port()), ips(&["127.0.0.1"]));
        let mut findings = Findings::default();
        check_from_here("m", at, &mut findings);
        assert_eq!(findings.0, []);
        drop(listener);
        check_from_here("m", at, &mut findings);
        assert!(findings.0[0].text.contains("refuses connections"), "{findings:?}");
    }
}
