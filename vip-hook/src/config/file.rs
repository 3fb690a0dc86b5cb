//! The keys of the file, and how they become a [`Config`]: what a master does not say is taken from the top, and
//! what that does not say has a default.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redoubt_wire::log::Level;
use serde::Deserialize;

use super::scalar::{
    Endpoint, Interface, Interval, LeaseMs, LogFile, MasterName, Port, Prefixed, Text, WithoutAgent, Word,
};
use super::{Config, DEFAULT_SOCKET, DEFAULT_STATE_DIR, Login, Master};
use crate::core::types::{OnConflict, OnQuorumLoss, VirtualAddress};

/// More are certainly a mistake, and each costs a connection.
const MAX_SENTINELS: usize = 64;
/// Likewise.
const MAX_MASTERS: usize = 1024;
/// Likewise, for one master.
const MAX_ADDRESSES: usize = 256;
/// What a Unix socket's address has room for (unix(7)).
const MAX_SOCKET: usize = 107;
/// A password file is one short line.
const MAX_PASSWORD_FILE: u64 = 4096;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(super) struct File {
    socket: Option<Word<PathBuf>>,
    socket_group: Option<Word<Text>>,
    state_dir: Option<Word<PathBuf>>,
    log_level: Option<Word<Level>>,
    logfile: Option<Word<LogFile>>,
    without_agent: Option<Word<WithoutAgent>>,
    sentinels: Option<Vec<Word<Endpoint>>>,
    sentinel_user: Option<Word<Text>>,
    sentinel_password: Option<Word<Text>>,
    sentinel_password_file: Option<Word<PathBuf>>,
    lease_ms: Option<Word<LeaseMs>>,
    on_quorum_loss: Option<Word<OnQuorumLoss>>,
    on_conflict: Option<Word<OnConflict>>,
    announce_interval: Option<Word<Interval>>,
    masters: Vec<FileMaster>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileMaster {
    name: Word<MasterName>,
    node: Word<Endpoint>,
    user: Option<Word<Text>>,
    password: Option<Word<Text>>,
    password_file: Option<Word<PathBuf>>,
    port: Option<Word<Port>>,
    host_addresses: Option<Vec<Word<IpAddr>>>,
    sentinels: Option<Vec<Word<Endpoint>>>,
    sentinel_user: Option<Word<Text>>,
    sentinel_password: Option<Word<Text>>,
    sentinel_password_file: Option<Word<PathBuf>>,
    lease_ms: Option<Word<LeaseMs>>,
    on_quorum_loss: Option<Word<OnQuorumLoss>>,
    on_conflict: Option<Word<OnConflict>>,
    announce_interval: Option<Word<Interval>>,
    addresses: Vec<FileAddress>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct FileAddress {
    address: Word<Prefixed>,
    interface: Word<Interface>,
}

/// The keys of a login, and where they stand.
struct LoginKeys<'a> {
    place: &'a str,
    keys: [&'static str; 3],
    user: &'a Option<Word<Text>>,
    password: &'a Option<Word<Text>>,
    password_file: &'a Option<Word<PathBuf>>,
}

const SENTINEL_KEYS: [&str; 3] = ["sentinel-user", "sentinel-password", "sentinel-password-file"];

impl File {
    pub(super) fn into_config(self) -> Result<Config, String> {
        within("masters", self.masters.len(), MAX_MASTERS)?;
        if self.socket.as_ref().is_some_and(|socket| socket.0.as_os_str().len() > MAX_SOCKET) {
            return Err(format!("socket: expected at most {MAX_SOCKET} bytes, as for every Unix socket"));
        }
        let masters = self
            .masters
            .iter()
            .enumerate()
            .map(|(m, master)| self.master(m, master))
            .collect::<Result<_, _>>()?;
        Ok(Config {
            socket: given(self.socket, DEFAULT_SOCKET.into()),
            socket_group: self.socket_group.map(|group| group.0.0),
            state_dir: given(self.state_dir, DEFAULT_STATE_DIR.into()),
            log_level: given(self.log_level, Level::Notice),
            logfile: self.logfile.and_then(|file| file.0.0),
            without_agent: given(self.without_agent, WithoutAgent::Retry),
            masters,
        })
    }

    fn master(&self, m: usize, master: &FileMaster) -> Result<Master, String> {
        let place = format!("masters[{m}]");
        within(&format!("{place}.addresses"), master.addresses.len(), MAX_ADDRESSES)?;
        let (sentinels, sentinels_at) = match (&master.sentinels, &self.sentinels) {
            (Some(own), _) => (own, format!("{place}.sentinels")),
            (None, Some(shared)) => (shared, "sentinels".into()),
            (None, None) => {
                return Err(format!(
                    "{place}: no Sentinels; give sentinels here, or at the top for all masters"
                ));
            }
        };
        within(&sentinels_at, sentinels.len(), MAX_SENTINELS)?;
        let node_keys = LoginKeys {
            place: &place,
            keys: ["user", "password", "password-file"],
            user: &master.user,
            password: &master.password,
            password_file: &master.password_file,
        };
        let hosts = master.host_addresses.as_ref();
        if hosts.is_some_and(Vec::is_empty) {
            return Err(format!(
                "{place}.host-addresses: expected at least one; leave the key out for all of this host's"
            ));
        }
        let node = master.node.0.clone();
        Ok(Master {
            name: master.name.0.0.clone(),
            port: master.port.as_ref().map_or(node.port, |port| port.0.0),
            node,
            node_login: node_keys.login()?,
            host_addresses: hosts.map(|ips| ips.iter().map(|ip| ip.0).collect()),
            sentinels: sentinels.iter().map(|s| s.0.clone()).collect(),
            sentinel_login: self.sentinel_login(&place, master)?,
            addresses: master.addresses.iter().map(FileAddress::virtual_address).collect(),
            lease: chosen(&master.lease_ms, &self.lease_ms)
                .map_or(Duration::from_millis(400), |lease| lease.0),
            on_quorum_loss: chosen(&master.on_quorum_loss, &self.on_quorum_loss)
                .unwrap_or(OnQuorumLoss::Release),
            on_conflict: chosen(&master.on_conflict, &self.on_conflict).unwrap_or(OnConflict::Defend),
            announce_interval: chosen(&master.announce_interval, &self.announce_interval)
                .map_or(Duration::from_secs(60), |interval| interval.0),
        })
    }

    /// A master with a login of its own uses nothing of that at the top.
    fn sentinel_login(&self, place: &str, master: &FileMaster) -> Result<Login, String> {
        let own = LoginKeys {
            place,
            keys: SENTINEL_KEYS,
            user: &master.sentinel_user,
            password: &master.sentinel_password,
            password_file: &master.sentinel_password_file,
        };
        if own.is_given() {
            return own.login();
        }
        LoginKeys {
            place: "",
            keys: SENTINEL_KEYS,
            user: &self.sentinel_user,
            password: &self.sentinel_password,
            password_file: &self.sentinel_password_file,
        }
        .login()
    }
}

impl FileAddress {
    fn virtual_address(&self) -> VirtualAddress {
        let Prefixed { address, prefix_len } = self.address.0;
        VirtualAddress { address, prefix_len, interface: self.interface.0.0.clone() }
    }
}

impl LoginKeys<'_> {
    fn is_given(&self) -> bool {
        self.user.is_some() || self.password.is_some() || self.password_file.is_some()
    }

    fn key(&self, key: usize) -> String {
        let dot = if self.place.is_empty() { "" } else { "." };
        format!("{}{dot}{}", self.place, self.keys[key])
    }

    fn login(&self) -> Result<Login, String> {
        let password = match (self.password, self.password_file) {
            (Some(_), Some(_)) => {
                return Err(format!("{}: stands beside {}; give one of them", self.key(2), self.keys[1]));
            }
            (Some(password), None) => Some(password.0.0.clone()),
            (None, Some(file)) => Some(
                read_password(&file.0).map_err(|e| format!("{}: {}: {e}", self.key(2), file.0.display()))?,
            ),
            (None, None) => None,
        };
        if self.user.is_some() && password.is_none() {
            return Err(format!("{}: needs {} or {} beside it", self.key(0), self.keys[1], self.keys[2]));
        }
        Ok(Login { user: self.user.as_ref().map(|user| user.0.0.clone()), password })
    }
}

/// The first line of a file.
fn read_password(path: &Path) -> Result<String, String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|e| e.to_string())?;
    file.take(MAX_PASSWORD_FILE).read_to_string(&mut text).map_err(|e| e.to_string())?;
    let line = text.lines().next().unwrap_or_default();
    if line.is_empty() || line.len() > 512 {
        return Err("expected a password of 1 to 512 bytes in the first line".into());
    }
    Ok(line.to_owned())
}

fn within(place: &str, len: usize, max: usize) -> Result<(), String> {
    if (1..=max).contains(&len) { Ok(()) } else { Err(format!("{place}: expected 1 to {max}, not {len}")) }
}

fn given<T>(value: Option<Word<T>>, default: T) -> T {
    value.map_or(default, |word| word.0)
}

fn chosen<T: Copy>(own: &Option<Word<T>>, shared: &Option<Word<T>>) -> Option<T> {
    own.as_ref().or(shared.as_ref()).map(|word| word.0)
}
