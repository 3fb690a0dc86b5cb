//! What the Sentinels say of a master, against the configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

use super::Findings;
use super::access::{self, User};
use crate::agent::links::answers;
use crate::cli::ask::{self, Peer, Told};
use crate::config::{Config, Endpoint, Master};
use crate::control;
use crate::core::types::MARGIN;

/// `own`: the addresses of this host. The configuration epoch of each Sentinel that answered.
pub(super) fn check(
    config: &Config,
    file: &Path,
    master: &Master,
    own: &[IpAddr],
    findings: &mut Findings,
) -> Vec<u64> {
    let about = &master.name;
    let mut known: BTreeSet<(IpAddr, u16)> = BTreeSet::new();
    let mut answered: Vec<(&Endpoint, Told)> = Vec::new();
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
        // Of a Sentinel that may not say, nothing follows.
        let id = peer.ask(&["SENTINEL", "MYID"]).ok().filter(|id| id.error_text().is_none());
        let id = id.and_then(|id| id.as_bytes().map(answers::printable));
        if let Some(first) = id.and_then(|id| ids.insert(id, sentinel)) {
            findings.error(
                about,
                format!(
                    "{first} and {sentinel} are one and the same Sentinel, and its vote would count twice: list each once, \
                     under the same address on all hosts"
                ),
            );
        }
        known.insert((told.address.ip(), told.address.port()));
        check_settings(master, sentinel, &told, findings);
        check_monitored(config, master, sentinel, &mut peer, &mut known, findings);
        let local = sentinel.ip().is_some_and(|ip| ip.is_loopback() || own.contains(&ip));
        if local {
            check_script(config, file, master, sentinel, &mut peer, &told, findings);
        }
        check_virtual(master, sentinel, &mut peer, &told, findings);
        check_subscription(about, sentinel, &mut peer, findings);
        answered.push((sentinel, told));
    }
    check_majority(master, answered.len(), findings);
    check_agreement(about, &answered, findings);
    let hosts = match &master.host_addresses {
        Some(given) => given.clone(),
        None => own.iter().copied().filter(|ip| !config.addresses().any(|a| a.address == *ip)).collect(),
    };
    let is_ours = |(ip, port): &(IpAddr, u16)| *port == master.port && hosts.contains(ip);
    if !answered.is_empty() && !known.iter().any(is_ours) {
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
    answered.iter().filter_map(|(_, told)| told.number("config-epoch")).collect()
}

/// Whether an agent remembers an epoch that no Sentinel knows any more, as after they were set up anew.
pub(super) fn check_epoch(running: &control::Master, told: &[u64], findings: &mut Findings) {
    let Some(highest) = told.iter().max() else { return };
    if *highest < running.epoch && !running.holds {
        findings.warning(
            &running.name,
            format!(
                "the agent has seen epoch {}, and the Sentinels are at {highest}: were they set up anew? This \
                 host takes nothing before all configured Sentinels have agreed on a lower epoch for ten seconds; if one of \
                 them is no more: take it out of the list, or stop the agent, remove {}.json from its state-dir, start it",
                running.epoch, running.name
            ),
        );
    }
}

fn check_majority(master: &Master, answered: usize, findings: &mut Findings) {
    let all = master.sentinels.len();
    let needed = all / 2 + 1;
    if answered < needed {
        findings.error(
            &master.name,
            format!(
                "{answered} of {all} Sentinels answered, and {needed} are needed before anything is taken"
            ),
        );
    }
}

/// Whether a redoubt-sentinel knows which addresses move, and so takes none of them for an instance's.
fn check_virtual(
    master: &Master,
    sentinel: &Endpoint,
    peer: &mut Peer,
    told: &Told,
    findings: &mut Findings,
) {
    if info(peer).is_none_or(|info| !info.contains("redoubt_version:")) {
        return;
    }
    let known = told.master.get("vip").map_or("", String::as_str);
    let is_known = |ip: &IpAddr| known.split(' ').any(|known| known.parse() == Ok(*ip));
    let missing: Vec<String> = master
        .addresses
        .iter()
        .filter(|address| !is_known(&address.address))
        .map(|address| format!("sentinel vip {} {}", master.name, address.address))
        .collect();
    if !missing.is_empty() {
        findings.note(
            &master.name,
            format!(
                "Sentinel {sentinel} is not told of all virtual addresses, and may enter a replica or a Sentinel under one. \
                 In its file: {} (at run time SENTINEL SET {} vip \"<all addresses>\")",
                missing.join(", "),
                master.name
            ),
        );
    }
}

/// Whether the agent may hear of failovers. The last question to a Sentinel: a subscriber can ask little.
fn check_subscription(about: &str, sentinel: &Endpoint, peer: &mut Peer, findings: &mut Findings) {
    let mut subscribe = vec!["SUBSCRIBE"];
    subscribe.extend(answers::CHANNELS);
    let reply = peer.ask(&subscribe);
    if let Some(text) = reply.as_ref().ok().and_then(|reply| reply.error_text()) {
        findings.warning(
            about,
            format!(
                "Sentinel {sentinel} refuses the subscription to its events, so that failovers are noticed by asking alone: \
                 {}",
                answers::printable(text)
            ),
        );
    }
}

/// What the Sentinels of a master should all have alike.
fn check_agreement(about: &str, answered: &[(&Endpoint, Told)], findings: &mut Findings) {
    let Some(((first, told), others)) = answered.split_first() else { return };
    for key in ["down-after-milliseconds", "quorum", "failover-timeout", "parallel-syncs"] {
        let differs = others.iter().find(|(_, other)| other.master.get(key) != told.master.get(key));
        if let Some((other, theirs)) = differs {
            let value = |told: &Told| told.master.get(key).map_or("nothing", String::as_str).to_owned();
            findings.warning(
                about,
                format!(
                    "{key} is {} at Sentinel {first} and {} at {other}: what a failover does depends on who leads it; set \
                     it alike (SENTINEL SET {about} {key} …)",
                    value(told),
                    value(theirs)
                ),
            );
        }
    }
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
    let all = master.sentinels.len() as u64;
    match told.number("quorum") {
        Some(quorum) if quorum > all => findings.error(
            about,
            format!(
                "the quorum {quorum} of Sentinel {sentinel} is more than the {all} Sentinels: there can be no failover"
            ),
        ),
        Some(quorum) if quorum > all / 2 + 1 => findings.warning(
            about,
            format!(
                "the quorum {quorum} of Sentinel {sentinel} is more than a majority of {all}: there is no failover while {} \
                 of them are in reach, though they could decide; {} is enough",
                quorum - 1,
                all / 2 + 1
            ),
        ),
        _ => {}
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
    let about = &master.name;
    let mut ask = |command: &[&str]| match peer.ask(command).and_then(|reply| ask::instances(&reply)) {
        Ok(instances) => instances,
        Err(why) => {
            findings.warning(about, format!("Sentinel {sentinel}, {}: {why}", command.join(" ")));
            Vec::new()
        }
    };
    let masters = ask(&["SENTINEL", "MASTERS"]);
    let replicas = ask(&["SENTINEL", "REPLICAS", about]);
    known.extend(replicas.iter().filter_map(ask::address_of));
    let is_virtual = |ip: IpAddr| config.addresses().any(|address| address.address == ip);
    for (name, (ip, port)) in masters.iter().filter_map(|m| Some((m.get("name")?, ask::address_of(m)?))) {
        if is_virtual(ip) {
            findings.error(
                about,
                format!(
                    "Sentinel {sentinel} monitors the virtual address {ip}:{port} as the master {name}, and so whoever holds \
                     it: SENTINEL REMOVE {name}, and monitor the address of the node itself"
                ),
            );
        }
    }
    for (ip, port) in replicas.iter().filter_map(ask::address_of).filter(|(ip, _)| is_virtual(*ip)) {
        findings.error(
            about,
            format!(
                "Sentinel {sentinel} has the virtual address {ip}:{port} for a replica: it would promote whoever holds it. \
                 On redoubt-sentinel: sentinel vip {about} {ip}; see that nodes announce their own address \
                 (replica-announce-ip), then SENTINEL RESET {about}"
            ),
        );
    }
}

/// Whether the Sentinel of this host can call the agent.
fn check_script(
    config: &Config,
    file: &Path,
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
                 it called too: sentinel client-reconfig-script {} {}",
                master.name,
                std::env::current_exe()
                    .map_or_else(|_| "/usr/bin/redoubt-vip-hook".into(), |path| path.display().to_string())
            ),
        );
        return;
    };
    let path = Path::new(script);
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
    let at = std::path::absolute(file).unwrap_or_else(|_| file.into());
    if let Err(why) = access::may_read(&user, &at) {
        findings.warning(
            about,
            format!(
                "the user of Sentinel {sentinel} ({user}) cannot read {}: {why}; its script speaks to an agent at {} alone, and \
                 does nothing where there is none",
                at.display(),
                crate::config::DEFAULT_SOCKET
            ),
        );
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

fn info(peer: &mut Peer) -> Option<String> {
    let info = peer.ask(&["INFO", "server"]).ok()?;
    Some(String::from_utf8_lossy(info.as_bytes()?).into_owned())
}

fn process_of(peer: &mut Peer) -> Option<u32> {
    let text = info(peer)?;
    text.lines().find_map(|line| line.strip_prefix("process_id:"))?.trim().parse().ok()
}
