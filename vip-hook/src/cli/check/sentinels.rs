//! What the Sentinels say of a master, against the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::access::{self, User};
use super::{Findings, ask};
use crate::agent::links::answers;
use crate::agent::linux;
use crate::cli::ask::{Peer, Told};
use crate::config::{Config, Endpoint, Master};
use crate::core::types::MARGIN;

pub(super) fn check(config: &Config, master: &Master, findings: &mut Findings) {
    let about = &master.name;
    let own = linux::own_addresses().unwrap_or_default();
    let mut known: BTreeSet<(IpAddr, u16)> = BTreeSet::new();
    let mut answered = 0;
    let mut ids: BTreeMap<String, &Endpoint> = BTreeMap::new();
    for sentinel in &master.sentinels {
        let mut peer = match Peer::connect(sentinel, &master.sentinel_login) {
            Ok(peer) => peer,
            Err(why) => {
                findings.warning(about, format!("Sentinel {sentinel} was not asked: {why}"));
                continue;
            }
        };
        let told = match ask::told(&mut peer, &master.name) {
            Ok(told) => told,
            Err(why) => {
                findings.error(about, format!("Sentinel {sentinel} has no vote for this master: {why}"));
                continue;
            }
        };
        answered += 1;
        known.insert((told.address.ip(), told.address.port()));
        if let Some(id) = id_of(&mut peer)
            && let Some(other) = ids.insert(id, sentinel)
        {
            findings.error(
                about,
                format!(
                    "{other} and {sentinel} are one and the same Sentinel, which would count twice: two hosts could \
                     each have a majority; list it once"
                ),
            );
        }
        check_settings(master, sentinel, &told, findings);
        check_monitored(config, master, sentinel, &mut peer, &mut known, findings);
        let local = sentinel.ip().is_some_and(|ip| ip.is_loopback() || own.contains(&ip));
        if local {
            check_script(config, master, sentinel, &mut peer, &told, findings);
        }
    }
    let hosts = match &master.host_addresses {
        Some(given) => given.clone(),
        None => own.into_iter().filter(|ip| !config.addresses().any(|a| a.address == *ip)).collect(),
    };
    let is_ours = |(ip, port): &(IpAddr, u16)| *port == master.port && hosts.contains(ip);
    if answered > 0 && !known.iter().any(is_ours) {
        let known: Vec<String> = known.iter().map(|(ip, port)| format!("{ip} port {port}")).collect();
        findings.error(
            about,
            format!(
                "the Sentinels know no node of this host (port {} at {hosts:?}) but {}; if one of these is it, set \
                 host-addresses and port to that",
                master.port,
                known.join(", ")
            ),
        );
    }
}

/// By which name a Sentinel knows itself; those before Redis 6.2 do not say.
fn id_of(peer: &mut Peer) -> Option<String> {
    let reply = peer.ask(&["SENTINEL", "MYID"]).ok()?;
    let id = reply.as_bytes().filter(|_| reply.error_text().is_none());
    id.map(answers::printable)
}

fn check_settings(master: &Master, sentinel: &Endpoint, told: &Told, findings: &mut Findings) {
    let about = &master.name;
    let lease_ms = master.lease.as_millis() as u64;
    let margin_ms = MARGIN.as_millis() as u64;
    if let Some(down_after_ms) = told.number("down-after-milliseconds")
        && lease_ms + margin_ms >= down_after_ms
    {
        findings.error(
            about,
            format!(
                "lease-ms {lease_ms} and {margin_ms} ms of margin are not less than down-after-milliseconds \
                 {down_after_ms} of Sentinel {sentinel}: a takeover would wait for the old lease. Set lease-ms to at most \
                 {}, or raise down-after-milliseconds",
                down_after_ms.saturating_sub(margin_ms + 1)
            ),
        );
    }
    if let Some(others) = told.number("num-other-sentinels")
        && others + 1 != master.sentinels.len() as u64
    {
        findings.warning(
            about,
            format!(
                "Sentinel {sentinel} knows {} Sentinels of this master, the configuration has {}: list all of them, and \
                 SENTINEL RESET those away that are no more",
                others + 1,
                master.sentinels.len()
            ),
        );
    }
    if let Some(quorum) = told.number("quorum")
        && quorum > master.sentinels.len() as u64
    {
        findings.error(
            about,
            format!(
                "the quorum {quorum} of Sentinel {sentinel} is more than the {} Sentinels: there can be no failover",
                master.sentinels.len()
            ),
        );
    }
}

/// An address that moves must not be taken for a node of its own.
fn check_monitored(
    config: &Config,
    master: &Master,
    sentinel: &Endpoint,
    peer: &mut Peer,
    known: &mut BTreeSet<(IpAddr, u16)>,
    findings: &mut Findings,
) {
    let mut seen = Vec::new();
    for (command, what) in
        [(&["SENTINEL", "MASTERS"][..], "a master"), (&["SENTINEL", "REPLICAS", &master.name], "a replica")]
    {
        match peer.ask(command).and_then(|reply| ask::instances(&reply)) {
            Ok(instances) => seen.extend(instances.iter().filter_map(ask::address_of).map(|at| (at, what))),
            Err(why) => {
                findings.warning(&master.name, format!("Sentinel {sentinel}, {}: {why}", command.join(" ")))
            }
        }
    }
    for ((ip, port), what) in seen {
        if config.addresses().any(|address| address.address == ip) {
            findings.error(
                &master.name,
                format!(
                    "Sentinel {sentinel} has the virtual address {ip}:{port} for {what}: it would promote whoever holds it. \
                     On redoubt-sentinel: sentinel vip {} {ip}; see that nodes announce their own address \
                     (replica-announce-ip), then SENTINEL RESET {}",
                    master.name, master.name
                ),
            );
        }
        if what == "a replica" {
            known.insert((ip, port));
        }
    }
}

/// Whether the Sentinel of this host can call the agent.
fn check_script(
    config: &Config,
    master: &Master,
    sentinel: &Endpoint,
    peer: &mut Peer,
    told: &Told,
    findings: &mut Findings,
) {
    let about = &master.name;
    let user = process_of(peer).and_then(User::of_process);
    let Some(script) = told.master.get("client-reconfig-script") else {
        findings.note(
            about,
            format!(
                "Sentinel {sentinel} calls no script; the agent hears of failovers all the same, by subscription. To have \
                 it called too: sentinel client-reconfig-script {} /usr/bin/redoubt-vip-hook",
                master.name
            ),
        );
        return;
    };
    let path = std::path::Path::new(script);
    if path.file_name().is_none_or(|name| name != "redoubt-vip-hook") {
        findings.note(
            about,
            format!("Sentinel {sentinel} calls {script}; if that moves the address too, the two work against each other"),
        );
        return;
    }
    let Some(user) = user else {
        findings.note(
            about,
            format!("as which user Sentinel {sentinel} calls {script} is not known: run the check as root"),
        );
        return;
    };
    if let Err(why) = access::may_execute(&user, path) {
        findings
            .error(about, format!("the user of Sentinel {sentinel} ({user}) cannot execute {script}: {why}"));
    }
    match access::may_write(&user, &config.socket) {
        Ok(()) => {}
        Err(why) if config.socket.exists() => findings.error(
            about,
            format!(
                "the user of Sentinel {sentinel} ({user}) cannot use the agent's socket {}: {why}; set socket-group to a \
                 group of that user",
                config.socket.display()
            ),
        ),
        // That there is no agent has been said.
        Err(_) => {}
    }
}

fn process_of(peer: &mut Peer) -> Option<u32> {
    let info = peer.ask(&["INFO", "server"]).ok()?;
    let text = String::from_utf8_lossy(info.as_bytes()?).into_owned();
    text.lines().find_map(|line| line.strip_prefix("process_id:"))?.trim().parse().ok()
}
