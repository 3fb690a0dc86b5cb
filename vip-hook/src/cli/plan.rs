//! `plan`: what would be done now, and why; changes nothing.

use serde::Serialize;

use super::ask::{self, Peer};
use super::status::summary;
use super::{DONE, RETRY, say};
use crate::agent::linux;
use crate::config::{Config, Master};
use crate::control::{self, CallError, Reply, Request};
use crate::core::types::NodeRole;

/// What would be done with one master's addresses.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Plan {
    name: String,
    addresses: Vec<String>,
    state: String,
    why: String,
    next: String,
}

/// For all masters.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Plans {
    /// Why it was not the agent who said this.
    without_agent: Option<String>,
    masters: Vec<Plan>,
}

pub(super) fn run(config: &Config, json: bool) -> u8 {
    let plans = match control::call(&config.socket, &Request::Status) {
        Ok(Reply::Status(status)) => {
            Plans { without_agent: None, masters: status.masters.iter().map(of_agent).collect() }
        }
        Ok(other) => return say(&other).max(RETRY),
        Err(error @ CallError::Absent { .. }) => Plans {
            without_agent: Some(error.to_string()),
            masters: config.masters.iter().map(|master| asked(config, master)).collect(),
        },
        Err(error) => {
            eprintln!("{error}");
            return RETRY;
        }
    };
    if json {
        print!("{}", control::line(&plans));
        return DONE;
    }
    if let Some(error) = &plans.without_agent {
        println!("{error}\nSo node and Sentinels were asked from here; this is what an agent would do.\n");
    }
    for plan in &plans.masters {
        println!(
            "{} ({}): {}\n  {}\n  {}",
            plan.name,
            plan.addresses.join(", "),
            plan.state,
            plan.why,
            plan.next
        );
    }
    DONE
}

fn of_agent(master: &control::Master) -> Plan {
    Plan {
        name: master.name.clone(),
        addresses: master.addresses.iter().map(|a| format!("{} on {}", a.address, a.interface)).collect(),
        state: summary(master),
        why: master.why.clone(),
        next: master.next.clone(),
    }
}

/// What follows from the answers of node and Sentinels now.
fn asked(config: &Config, master: &Master) -> Plan {
    let mut own = match &master.host_addresses {
        Some(given) => given.clone(),
        None => linux::own_addresses().unwrap_or_default(),
    };
    own.retain(|ip| !config.addresses().any(|address| address.address == *ip));
    let role = ask::role(&master.node, &master.node_login);
    let mut told = Vec::new();
    for sentinel in &master.sentinels {
        let answer = Peer::connect(sentinel, &master.sentinel_login)
            .and_then(|mut peer| ask::told(&mut peer, &master.name));
        told.push((sentinel, answer));
    }
    let names_us =
        |address: &std::net::SocketAddr| address.port() == master.port && own.contains(&address.ip());
    let count = |wanted: &dyn Fn(&std::net::SocketAddr) -> bool| {
        told.iter().filter(|(_, answer)| answer.as_ref().is_ok_and(|told| wanted(&told.address))).count()
    };
    let (us, all) = (count(&names_us), told.len());
    let needed = all / 2 + 1;
    let words: Vec<String> = told
        .iter()
        .map(|(sentinel, answer)| match answer {
            Ok(told) => format!("{sentinel} names {}", told.address),
            Err(why) => format!("{sentinel}: {why}"),
        })
        .collect();
    let names = master.addresses.iter().map(|a| format!("{}/{} on {}", a.address, a.prefix_len, a.interface));
    let addresses: Vec<String> = names.collect();
    let next = match &role {
        NodeRole::Master if us >= needed => format!("An agent here would take {}.", addresses.join(", ")),
        NodeRole::Master => format!(
            "An agent here would hold nothing: {us} of {all} Sentinels name this host, and {needed} are needed."
        ),
        other => {
            format!("An agent here would hold nothing: the node's role is {other}, and it must be master.")
        }
    };
    Plan {
        name: master.name.clone(),
        addresses,
        state: "no agent".into(),
        why: format!("The node {} says {role}; {}.", master.node, words.join("; ")),
        next,
    }
}
