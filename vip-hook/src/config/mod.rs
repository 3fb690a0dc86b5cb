//! What the user wants: `vip-hook.yaml`, read into values that are valid as they are.
//!
//! A key that nobody knows, a value that is not allowed and two keys that contradict each other are errors, and the
//! file is then refused as a whole. What stands wrong by itself is reported with line and column; what is wrong
//! between two keys, with the path to one of them.

mod file;
mod scalar;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redoubt_wire::log;

use crate::core::types::{OnConflict, OnQuorumLoss, Settings, VirtualAddress};
pub use scalar::{Endpoint, WithoutAgent};

/// Where the configuration is if nobody says otherwise.
pub const DEFAULT_FILE: &str = "/etc/redoubt/vip-hook.yaml";
/// Where the agent listens for the other verbs if the configuration does not say.
pub const DEFAULT_SOCKET: &str = "/run/redoubt/vip-agent.sock";
/// Where the agent keeps what must survive it if the configuration does not say.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/redoubt-vip";

/// A whole configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The agent's Unix socket.
    pub socket: PathBuf,
    /// The group that may use the socket.
    pub socket_group: Option<String>,
    /// Where epochs are kept.
    pub state_dir: PathBuf,
    /// What is logged.
    pub log_level: log::Level,
    /// Where; standard output if nowhere.
    pub logfile: Option<PathBuf>,
    /// What `notify` does where no agent answers.
    pub without_agent: WithoutAgent,
    /// The masters, each with its addresses; at least one.
    pub masters: Vec<Master>,
}

/// One master and its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// Its name in the Sentinels.
    pub name: String,
    /// Where the local node is.
    pub node: Endpoint,
    /// How to log in there.
    pub node_login: Login,
    /// The node's port as the Sentinels know it.
    pub port: u16,
    /// As which addresses the Sentinels may know this host; those of its interfaces if not given.
    pub host_addresses: Option<Vec<IpAddr>>,
    /// Where the Sentinels are; at least one.
    pub sentinels: Vec<Endpoint>,
    /// How to log in there.
    pub sentinel_login: Login,
    /// The virtual addresses; at least one.
    pub addresses: Vec<VirtualAddress>,
    /// How long a proof is worth something.
    pub lease: Duration,
    /// What to do without a majority.
    pub on_quorum_loss: OnQuorumLoss,
    /// What to do when another host claims an address.
    pub on_conflict: OnConflict,
    /// The period of announcements.
    pub announce_interval: Duration,
}

/// User and password; none where the server wants none.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Login {
    /// The user; the default one where there is a password alone.
    pub user: Option<String>,
    /// The password.
    pub password: Option<String>,
}

impl Login {
    /// The AUTH command, where one is needed.
    pub fn command(&self) -> Option<Vec<&str>> {
        let password = self.password.as_deref()?;
        Some(std::iter::once("AUTH").chain(self.user.as_deref()).chain([password]).collect())
    }
}

impl fmt::Debug for Login {
    // A password has no place in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let password = self.password.as_ref().map(|_| "…");
        f.debug_struct("Login").field("user", &self.user).field("password", &password).finish()
    }
}

/// What is wrong with a file, where, and what is allowed.
#[derive(Debug, thiserror::Error)]
#[error("{}: {text}", file.display())]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The rest.
    pub text: String,
}

impl Config {
    /// Reads a file, and the password files that it names.
    ///
    /// # Errors
    /// A file that cannot be read or is not valid.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let error = |text: String| ConfigError { file: path.into(), text };
        let text = std::fs::read_to_string(path).map_err(|e| {
            error(match e.kind() {
                std::io::ErrorKind::NotFound => {
                    format!("{e}; --config names another file, and the examples have one to begin with")
                }
                std::io::ErrorKind::PermissionDenied => {
                    format!("{e}; it has to be open to the agent and to the user of the Sentinel, which calls the hook")
                }
                _ => e.to_string(),
            })
        })?;
        Config::parse(&text).map_err(error)
    }

    /// The agent's socket by a file that is otherwise not valid, or may not be read, since who runs with what it was
    /// before can still be spoken to. `None` where there is no such file.
    pub fn socket_of(path: &Path) -> Option<PathBuf> {
        let text = match std::fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(_) => String::new(),
        };
        let line = text.lines().find(|line| line.starts_with("socket:"));
        let only: Option<HashMap<String, PathBuf>> = line.and_then(|line| serde_yaml::from_str(line).ok());
        Some(only.and_then(|mut only| only.remove("socket")).unwrap_or_else(|| DEFAULT_SOCKET.into()))
    }

    /// Reads the text of a file, and the password files that it names.
    ///
    /// # Errors
    /// What is wrong, where, and what is allowed.
    pub fn parse(text: &str) -> Result<Config, String> {
        let file: file::File = serde_yaml::from_str(text).map_err(|error| located(&error, text))?;
        let config = file.into_config()?;
        config.check_between()?;
        Ok(config)
    }

    /// The master of that name.
    pub fn master(&self, name: &str) -> Option<&Master> {
        self.masters.iter().find(|master| master.name == name)
    }

    /// All virtual addresses.
    pub fn addresses(&self) -> impl Iterator<Item = &VirtualAddress> {
        self.masters.iter().flat_map(|master| &master.addresses)
    }

    /// What is to be said at the start of everybody who uses this configuration: what it gives up.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for master in &self.masters {
            if master.on_quorum_loss == OnQuorumLoss::Hold {
                warnings.push(format!(
                    "on-quorum-loss: hold of master {} gives up the promise that no two hosts hold an address: a \
                     master that is cut off from the Sentinels keeps its addresses while another one takes them",
                    master.name
                ));
            }
        }
        if self.without_agent == WithoutAgent::Move {
            warnings.push(
                "without-agent: move gives up the promise that no two hosts hold an address: where no agent runs, an \
                 address stays on a host that is cut off"
                    .into(),
            );
        }
        warnings
    }

    /// What each value allows and another forbids.
    fn check_between(&self) -> Result<(), String> {
        if self.masters.is_empty() {
            return Err("masters: expected at least one".into());
        }
        let mut names = HashMap::new();
        let mut owners: HashMap<IpAddr, String> = HashMap::new();
        for (m, master) in self.masters.iter().enumerate() {
            if let Some(first) = names.insert(&master.name, m) {
                return Err(format!("masters[{m}].name: {} stands in masters[{first}] already", master.name));
            }
            for (a, virtual_address) in master.addresses.iter().enumerate() {
                let place = format!("masters[{m}].addresses[{a}].address");
                if let Some(first) = owners.insert(virtual_address.address, place.clone()) {
                    return Err(format!("{place}: {} stands in {first} already", virtual_address.address));
                }
            }
            master.check_sentinels(m)?;
        }
        for (m, master) in self.masters.iter().enumerate() {
            let taken = |ip: IpAddr| owners.get(&ip).map(|place| (ip, place));
            let hosts = master.host_addresses.iter().flatten().copied();
            if let Some((ip, place)) = hosts.clone().find_map(taken) {
                return Err(format!(
                    "{place}: {ip} is one of masters[{m}].host-addresses; an address that moves cannot tell hosts apart"
                ));
            }
            if let Some((ip, place)) = master.node.ip().and_then(taken) {
                return Err(format!(
                    "{place}: {ip} is the address of masters[{m}].node; give the host's own"
                ));
            }
            if let Some((ip, place)) = master.sentinels.iter().filter_map(Endpoint::ip).find_map(taken) {
                return Err(format!(
                    "{place}: {ip} is the address of a Sentinel of master {}; a Sentinel must stay where it is",
                    master.name
                ));
            }
            let local = |ip: IpAddr| ip.is_loopback();
            let elsewhere = |s: &Endpoint| !s.ip().is_some_and(local) && s.host != "localhost";
            if hosts.clone().any(local) && master.sentinels.iter().any(elsewhere) {
                return Err(format!(
                    "masters[{m}].host-addresses: every host is at a loopback address, so with Sentinels elsewhere none \
                     may stand here; give the address under which the others reach this host"
                ));
            }
        }
        Ok(())
    }
}

/// What is wrong with a text, and where. The parser leaves the place out where that is the very first character, and
/// of a key that stands there twice it gives the place of what both stand in.
fn located(error: &serde_yaml::Error, yaml: &str) -> String {
    let text = error.to_string();
    let place = error.location().map(|at| (at.line(), at.column())).unwrap_or((1, 1));
    let bare = text.strip_suffix(&format!(" at line {} column {}", place.0, place.1)).unwrap_or(&text);
    if bare == text && text.contains(" at line ") {
        return text;
    }
    let twice = bare.split_once("duplicate field `").and_then(|(_, rest)| rest.strip_suffix('`'));
    let (line, column) = twice.and_then(|key| second(yaml, place, key)).unwrap_or(place);
    format!("{bare} at line {line} column {column}")
}

/// Where a key stands for the second time in the mapping that begins at a line and a column (from 1).
fn second(yaml: &str, (first, column): (usize, usize), key: &str) -> Option<(usize, usize)> {
    let is_key = |line: &&str| {
        let (before, rest) = line.split_at_checked(column - 1).unwrap_or_default();
        let after = rest.strip_prefix(key).map(str::trim_start);
        before.chars().all(|c| matches!(c, ' ' | '-')) && after.is_some_and(|after| after.starts_with(':'))
    };
    let lines = yaml.lines().enumerate().skip(first - 1);
    lines.filter(|(_, line)| is_key(line)).nth(1).map(|(at, _)| (at + 1, column))
}

impl Master {
    fn check_sentinels(&self, index: usize) -> Result<(), String> {
        for (s, sentinel) in self.sentinels.iter().enumerate() {
            if self.sentinels[..s].contains(sentinel) {
                return Err(format!(
                    "sentinels[{s}] of masters[{index}]: {sentinel} stands there twice; each counts once"
                ));
            }
        }
        Ok(())
    }

    /// The settings of the state machine, on a host with these addresses.
    pub fn settings(&self, host_addresses: Vec<IpAddr>) -> Settings {
        Settings {
            master: self.name.clone(),
            host_addresses,
            port: self.port,
            sentinels: self.sentinels.len(),
            addresses: self.addresses.clone(),
            lease: self.lease,
            on_quorum_loss: self.on_quorum_loss,
            on_conflict: self.on_conflict,
            announce_interval: self.announce_interval,
        }
    }
}
