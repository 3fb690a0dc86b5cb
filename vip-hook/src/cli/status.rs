//! `status`: what the agent says of itself, for people or for programs.

use std::fmt::{self, Display};
use std::path::Path;

use serde::Serialize;

use super::{DONE, RETRY, StatusArgs, say};
use crate::control::{self, Master, Reply, Request, Said, Status};

pub(super) fn run(socket: &Path, args: &StatusArgs) -> u8 {
    match control::call(socket, &Request::Status) {
        Ok(Reply::Status(status)) => {
            let trouble = troubles(&status);
            let in_trouble = !trouble.is_empty();
            if args.output.json {
                print!("{}", control::line(&Json { status: &status, trouble }));
            } else {
                print!("{}", Text(&status));
            }
            if args.strict && in_trouble { RETRY } else { DONE }
        }
        Ok(other) => say(&other).max(RETRY),
        Err(error) => {
            eprintln!("{error}");
            RETRY
        }
    }
}

/// A status for a program.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    status: &'a Status,
    /// What needs to be looked at.
    trouble: Vec<String>,
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
        for trouble in troubles(status) {
            writeln!(f, "  TROUBLE  {trouble}")?;
        }
        status.masters.iter().try_for_each(|master| write_master(f, master))
    }
}

/// What somebody should look at: that this host holds nothing as a replica, or because the user wishes so, is not among
/// it.
fn troubles(status: &Status) -> Vec<String> {
    let mut troubles = Vec::new();
    if status.config_error.is_some() {
        troubles.push("the configuration in use is not that of the file".to_owned());
    }
    for master in &status.masters {
        let mut say = |text: &str| troubles.push(format!("{}: {text}", master.name));
        let role = master.node_role.as_ref().map(|said| said.text.as_str());
        let barred = master.maintenance || master.released;
        match role {
            Some("master") if !master.holds && !barred => say("the node is the master, and nothing is held"),
            Some("master" | "replica") => {}
            _ => say("the node does not say its role"),
        }
        let up = master.sentinels.iter().filter(|sentinel| sentinel.down.is_none()).count();
        if up <= master.sentinels.len() / 2 {
            say("no majority of the Sentinels is connected");
        }
        if master.holds && master.remaining_ms.is_none() {
            say("the addresses are held without a proof");
        }
        if master.holds && master.addresses.iter().any(|address| !address.on) {
            say("an address that should be held is not");
        } else if master.addresses.iter().any(|address| address.error.is_some()) {
            say("something could not be done with an address");
        }
    }
    troubles
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
            None if sentinel.answer.is_none() => "connected, and not asked so far".into(),
            None => said(sentinel.answer.as_ref()),
        };
        writeln!(f, "  sentinel {}{kind}: {word}", sentinel.endpoint)?;
    }
    Ok(())
}

/// In a few words.
pub(super) fn summary(master: &Master) -> String {
    let all_on = master.addresses.iter().all(|address| address.on);
    let mut words = match (master.holds, master.remaining_ms) {
        (true, Some(ms)) if !all_on => {
            format!("to be held, proven for {ms} ms more, but not all of it is on")
        }
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

    fn status() -> Status {
        Status {
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
        }
    }

    /// A change of a status, and the words of the trouble that it is, if it is one.
    type Case = (fn(&mut Status), Option<&'static str>);

    #[test]
    fn what_needs_to_be_looked_at_is_a_trouble_and_what_is_wished_is_none() {
        let all_well = || {
            let mut status = status();
            status.masters[0].sentinels[1].down = None;
            status
        };
        fn with_role(master: &mut Master, role: &str) {
            master.holds = false;
            master.node_role = Some(Said { text: role.into(), age_ms: 5 });
        }
        let table: [Case; 10] = [
            (|_| (), None),
            (|s| with_role(&mut s.masters[0], "replica"), None),
            (|s| with_role(&mut s.masters[0], "master"), Some("the node is the master, and nothing is held")),
            (
                |s| {
                    with_role(&mut s.masters[0], "master");
                    s.masters[0].maintenance = true;
                },
                None,
            ),
            (|s| with_role(&mut s.masters[0], "nothing (LOADING)"), Some("does not say its role")),
            (
                |s| s.masters[0].sentinels[0].down = Some("silent".into()),
                Some("no majority of the Sentinels"),
            ),
            (|s| s.masters[0].remaining_ms = None, Some("held without a proof")),
            (|s| s.masters[0].addresses[0].on = false, Some("an address that should be held is not")),
            (|s| s.masters[0].addresses[0].error = Some("EPERM".into()), Some("could not be done")),
            (|s| s.config_error = Some("line 3".into()), Some("not that of the file")),
        ];
        for (at, (change, expected)) in table.into_iter().enumerate() {
            let mut status = all_well();
            change(&mut status);
            let found = troubles(&status);
            assert_eq!(found.len(), usize::from(expected.is_some()), "{at}: {found:?}");
            assert!(expected.is_none_or(|words| found[0].contains(words)), "{at}: {found:?}");
        }
        let mut status = all_well();
        status.masters[0].addresses[0].on = false;
        assert!(summary(&status.masters[0]).contains("to be held, proven for 312 ms more, but not all"));
    }

    #[test]
    fn a_status_reads_well_and_survives_json() {
        let status = status();
        let text = "\
agent 0.1.0, process 7, up 61 s, /etc/redoubt/vip-hook.yaml
  fence: the kernel ends it
  TROUBLE  mymaster: no majority of the Sentinels is connected

mymaster: held, proven for 312 ms more, epoch 4
  Holds: the local node is the master.
  Renews every 100 ms.
  address  10.0.0.100/32 on eth0: on
  node     10.0.0.1:6379: master, 88 ms ago
  sentinel 10.0.0.1:26379 (classic): names 10.0.0.1:6379 in epoch 4, 87 ms ago
  sentinel 10.0.0.2:26379: not connected: it refuses connections
";
        assert_eq!(Text(&status).to_string(), text);
        let json = control::line(&Json { status: &status, trouble: troubles(&status) });
        assert_eq!(serde_json::from_str::<Status>(&json).unwrap(), status);
        let object: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(object["masters"][0]["addresses"][0]["on"], true);
        assert_eq!(object["masters"][0]["sentinels"][1]["down"], "it refuses connections");
        assert_eq!(object["config-error"], serde_json::Value::Null);
        assert_eq!(object["trouble"][0], "mymaster: no majority of the Sentinels is connected");
    }
}
