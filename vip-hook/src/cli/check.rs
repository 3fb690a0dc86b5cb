//! `check`: what will not work, found before a failover finds it.
//!
//! It looks at the file, at this host, and at what the Sentinels say. Each finding says what is so, why it matters and
//! what to do.

mod access;
mod node;
mod sentinels;

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::Serialize;

use super::{DONE, RETRY};
use crate::agent::linux;
use crate::config::{Config, Master, WithoutAgent};
use crate::control::{self, CallError, Reply, Request, Status};
use crate::platform::{self, capabilities, facts};

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Severity {
    /// Worth knowing.
    Note,
    /// It works, but not in every case.
    Warning,
    /// It does not work so.
    Error,
}

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Finding {
    severity: Severity,
    /// What it is about: a master's name, or empty for the whole.
    about: String,
    text: String,
}

/// All that was found.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, severity: Severity, about: &str, text: impl Into<String>) {
        self.0.push(Finding { severity, about: about.into(), text: text.into() });
    }

    fn note(&mut self, about: &str, text: impl Into<String>) {
        self.add(Severity::Note, about, text);
    }

    fn warning(&mut self, about: &str, text: impl Into<String>) {
        self.add(Severity::Warning, about, text);
    }

    fn error(&mut self, about: &str, text: impl Into<String>) {
        self.add(Severity::Error, about, text);
    }
}

pub(super) fn run(config: &Config, file: &Path, json: bool) -> u8 {
    let mut findings = Findings::default();
    check_file(config, file, &mut findings);
    let status = check_agent(config, &mut findings);
    let own = linux::own_addresses().unwrap_or_default();
    for master in &config.masters {
        check_addresses(master, &mut findings);
        node::check(master, &own, &mut findings);
        check_majority(master, &mut findings);
        let told = sentinels::check(config, file, master, &own, &mut findings);
        let running =
            status.iter().flat_map(|status| &status.masters).find(|running| running.name == master.name);
        if let Some(running) = running {
            sentinels::check_epoch(running, &told, &mut findings);
        }
    }
    let Findings(mut findings) = findings;
    findings.dedup();
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    if json {
        print!("{}", control::line(&findings));
    } else {
        for Finding { severity, about, text } in &findings {
            let sign = match severity {
                Severity::Note => "note   ",
                Severity::Warning => "WARNING",
                Severity::Error => "ERROR  ",
            };
            let colon = if about.is_empty() { "" } else { ": " };
            println!("{sign} {about}{colon}{text}");
        }
        let warnings = findings.iter().filter(|finding| finding.severity == Severity::Warning).count();
        println!("{}: {}, {}", file.display(), counted(errors, "error"), counted(warnings, "warning"));
    }
    if errors == 0 { DONE } else { RETRY }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn check_file(config: &Config, file: &Path, findings: &mut Findings) {
    for warning in config.warnings() {
        findings.warning("", warning);
    }
    let has_password =
        |master: &Master| master.node_login.password.is_some() || master.sentinel_login.password.is_some();
    let mode = std::fs::metadata(file).map(|found| found.permissions().mode());
    if config.masters.iter().any(has_password) && mode.is_ok_and(|mode| mode & 0o004 != 0) {
        findings.warning(
            "",
            format!(
                "{0} may be read by everybody; if a password stands in it: chmod o-r {0}",
                file.display()
            ),
        );
    }
    if config.without_agent == WithoutAgent::Move
        && let Ok(missing) = capabilities::missing()
        && let Some(advice) = capabilities::advice(&missing)
    {
        findings
            .note("", format!("without-agent: move works only where notify has the capabilities: {advice}"));
    }
}

/// A running agent knows best what it can do; for one that is not running, this process stands in. What it says.
fn check_agent(config: &Config, findings: &mut Findings) -> Option<Status> {
    match control::call(&config.socket, &Request::Status) {
        Ok(Reply::Status(status)) => {
            if status.config_error.is_none() && !runs_with(config, &status) {
                findings.warning(
                    "",
                    format!(
                        "the agent runs with other masters, addresses or Sentinels than stand in the file (its own is {}): \
                         systemctl reload redoubt-vip-agent",
                        status.config
                    ),
                );
            }
            if let Some(error) = &status.config_error {
                findings.error(
                    "",
                    format!("the agent runs with an older configuration than the file's: {error}"),
                );
            }
            if !status.fence.in_kernel {
                findings.warning("", status.fence.text.clone());
            }
            return Some(status);
        }
        Ok(_) => findings.warning("", "the agent's reply is none of this version; restart it"),
        Err(error) => {
            let start = if matches!(error, CallError::Absent { .. }) {
                ": systemctl start redoubt-vip-agent"
            } else {
                ""
            };
            findings.warning("", format!("{error}{start}"));
            match capabilities::missing() {
                Ok(missing) if missing.is_empty() => {
                    let longest = config.masters.iter().map(|master| master.lease).max().unwrap_or_default();
                    let fence = linux::fence(&platform::fence_available(longest));
                    if !fence.in_kernel {
                        findings.warning("", fence.text);
                    }
                }
                _ => findings.note(
                    "",
                    "whether the kernel has nf_tables is not known: run the check as root, or the agent",
                ),
            }
        }
    }
    None
}

/// Whether an agent's masters, nodes, addresses and Sentinels are those of a configuration.
fn runs_with(config: &Config, status: &Status) -> bool {
    let in_file = config.masters.iter().map(|master| {
        let addresses = master.addresses.iter();
        (
            master.name.clone(),
            master.node.to_string(),
            addresses.map(|a| (format!("{}/{}", a.address, a.prefix_len), a.interface.clone())).collect(),
            master.sentinels.iter().map(ToString::to_string).collect(),
        )
    });
    let in_use = status.masters.iter().map(|master| {
        let addresses = master.addresses.iter();
        (
            master.name.clone(),
            master.node.clone(),
            addresses.map(|a| (a.address.clone(), a.interface.clone())).collect(),
            master.sentinels.iter().map(|sentinel| sentinel.endpoint.clone()).collect(),
        )
    });
    type Masters = BTreeSet<(String, String, BTreeSet<(String, String)>, BTreeSet<String>)>;
    in_file.collect::<Masters>() == in_use.collect::<Masters>()
}

fn check_addresses(master: &Master, findings: &mut Findings) {
    for address in &master.addresses {
        match facts::facts(address) {
            Ok(found) => {
                for finding in facts::findings(address, &found) {
                    let severity = match finding.severity {
                        facts::Severity::Note => Severity::Note,
                        facts::Severity::Warning => Severity::Warning,
                        facts::Severity::Error => Severity::Error,
                    };
                    findings.add(severity, &master.name, finding.text);
                }
            }
            Err(error) => {
                findings.warning(&master.name, format!("{} cannot be looked at: {error}", address.interface))
            }
        }
    }
}

/// What a majority of so few can bear.
fn check_majority(master: &Master, findings: &mut Findings) {
    let all = master.sentinels.len();
    let needed = all / 2 + 1;
    match all - needed {
        0 => findings.warning(
            &master.name,
            format!(
                "a majority of {all} Sentinels is {needed}: without any one of them the address is on no host; use three, \
                 on three hosts"
            ),
        ),
        spare if all.is_multiple_of(2) => findings.note(
            &master.name,
            format!("{all} Sentinels bear the loss of {spare}, as {} would; an odd number is enough", all - 1),
        ),
        _ => {}
    }
}
