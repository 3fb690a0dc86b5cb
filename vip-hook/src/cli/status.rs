//! `status`: what the agent says of itself, for people or for programs.

use std::fmt::{self, Display};

use super::{DONE, RETRY, say};
use crate::config::Config;
use crate::control::{self, Master, Reply, Request, Said, Status};

pub(super) fn run(config: &Config, json: bool) -> u8 {
    match control::call(&config.socket, &Request::Status) {
        Ok(Reply::Status(status)) => {
            if json {
                print!("{}", control::line(&status));
            } else {
                print!("{}", Text(&status));
            }
            DONE
        }
        Ok(other) => say(&other).max(RETRY),
        Err(error) => {
            eprintln!("{error}");
            RETRY
        }
    }
}

/// A status for a person.
struct Text<'a>(&'a Status);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.0;
        let uptime = status.uptime_ms / 1000;
        writeln!(f, "agent {}, process {}, up {uptime} s, {}", status.version, status.pid, status.config)?;
        if let Some(error) = &status.config_error {
            writeln!(f, "  the file was read again and is NOT in use: {error}")?;
        }
        writeln!(f, "  fence: {}", status.fence.text)?;
        status.masters.iter().try_for_each(|master| write_master(f, master))
    }
}

fn write_master(f: &mut fmt::Formatter<'_>, master: &Master) -> fmt::Result {
    writeln!(f, "\n{}: {}", master.name, summary(master))?;
    writeln!(f, "  {}", master.why)?;
    writeln!(f, "  {}", master.next)?;
    for address in &master.addresses {
        let on = match (address.on, address.present) {
            (true, _) => "on",
            (false, Some(true)) => "off, but on the interface",
            (false, _) => "off",
        };
        let link = if address.link_up == Some(false) { ", the interface has no link" } else { "" };
        writeln!(f, "  address  {} on {}: {on}{link}", address.address, address.interface)?;
        if let Some(error) = &address.error {
            writeln!(f, "           {error}")?;
        }
    }
    writeln!(f, "  node     {}: {}", master.node, said(master.node_role.as_ref()))?;
    for sentinel in &master.sentinels {
        let kind = if sentinel.classic == Some(true) { " (classic)" } else { "" };
        let word = match &sentinel.down {
            Some(why) => format!("not connected: {why}"),
            None => said(sentinel.answer.as_ref()),
        };
        writeln!(f, "  sentinel {}{kind}: {word}", sentinel.endpoint)?;
    }
    Ok(())
}

/// In a few words.
pub(super) fn summary(master: &Master) -> String {
    let mut words = match (master.holds, master.remaining_ms) {
        (true, Some(ms)) => format!("held, proven for {ms} ms more"),
        (true, None) => "held without a proof".into(),
        (false, _) => "not held".into(),
    };
    if master.maintenance {
        words.push_str(", in maintenance");
    }
    if master.released {
        words.push_str(", released");
    }
    format!("{words}, epoch {}", master.epoch)
}

fn said(said: Option<&Said>) -> String {
    said.map_or("nothing so far".into(), |said| format!("{}, {} ms ago", said.text, said.age_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::{Address, Fence, Sentinel};

    #[test]
    fn a_status_reads_well_and_survives_json() {
        let status = Status {
            version: "0.1.0".into(),
            pid: 7,
            uptime_ms: 61_000,
            config: "/etc/redoubt/vip-hook.yaml".into(),
            config_error: None,
            fence: Fence { in_kernel: true, text: "the kernel ends it".into() },
            masters: vec![Master {
                name: "mymaster".into(),
                holds: true,
                remaining_ms: Some(312),
                epoch: 4,
                maintenance: false,
                released: false,
                why: "Holds: the local node is the master.".into(),
                next: "Renews every 100 ms.".into(),
                node: "10.0.0.1:6379".into(),
                node_role: Some(Said { text: "master".into(), age_ms: 88 }),
                host_addresses: vec!["10.0.0.1".into()],
                sentinels: vec![
                    Sentinel {
                        endpoint: "10.0.0.1:26379".into(),
                        down: None,
                        classic: Some(true),
                        counts: true,
                        answer: Some(Said { text: "names 10.0.0.1:6379 in epoch 4".into(), age_ms: 87 }),
                    },
                    Sentinel {
                        endpoint: "10.0.0.2:26379".into(),
                        down: Some("it refuses connections".into()),
                        classic: None,
                        counts: false,
                        answer: None,
                    },
                ],
                addresses: vec![Address {
                    address: "10.0.0.100/32".into(),
                    interface: "eth0".into(),
                    on: true,
                    link_up: Some(true),
                    present: Some(true),
                    error: None,
                }],
            }],
        };
        let text = "\
agent 0.1.0, process 7, up 61 s, /etc/redoubt/vip-hook.yaml
  fence: the kernel ends it

mymaster: held, proven for 312 ms more, epoch 4
  Holds: the local node is the master.
  Renews every 100 ms.
  address  10.0.0.100/32 on eth0: on
  node     10.0.0.1:6379: master, 88 ms ago
  sentinel 10.0.0.1:26379 (classic): names 10.0.0.1:6379 in epoch 4, 87 ms ago
  sentinel 10.0.0.2:26379: not connected: it refuses connections
";
        assert_eq!(Text(&status).to_string(), text);
        let json = control::line(&status);
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(object["masters"][0]["addresses"][0]["on"], true);
        assert_eq!(object["masters"][0]["sentinels"][1]["down"], "it refuses connections");
        assert_eq!(object["config-error"], serde_json::Value::Null);
    }
}
