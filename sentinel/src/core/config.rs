//! The `sentinel …` directives: what they mean, their error texts, and the order in which
//! they take effect.
//!
//! Redis reads some of them before all others and every `monitor` before the rest, so that
//! an option of a master may stand above the line that introduces the master.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::scripts::ScriptCall;
use super::timers::{Ms, Timers};
use super::vip;

/// Settings of one monitored master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterConfig {
    /// The name clients ask for.
    pub name: String,
    /// How many Sentinels must agree that it is down.
    pub quorum: u32,
    /// Silence after which an instance counts as down.
    pub down_after_ms: Ms,
    /// A master whose host refuses connections this long counts as down; 0: refusal is silence like any other.
    pub down_on_refused_ms: Ms,
    /// Limit of the steps of a failover, and base of the pause between failed attempts.
    pub failover_timeout_ms: Ms,
    /// Replicas that are told their new master at a time.
    pub parallel_syncs: u32,
    /// Called with every event of level warning.
    pub notification_script: Option<String>,
    /// Called when the master's address changes.
    pub client_reconfig_script: Option<String>,
    /// User for its nodes; `default` if absent.
    pub auth_user: Option<String>,
    /// Password for its nodes.
    pub auth_pass: Option<String>,
    /// Time a restarted master has to answer PING with PONG; 0 means no limit.
    pub reboot_down_after_ms: Ms,
    /// Commands that its nodes know under another name, by lower-case name.
    pub renames: BTreeMap<String, String>,
    /// Addresses that move with it and are no instance's own.
    pub vips: Vec<IpAddr>,
}

impl MasterConfig {
    /// Defaults for a master of that name.
    pub fn new(name: &str, quorum: u32, timers: &Timers) -> Self {
        MasterConfig {
            name: name.to_string(),
            quorum,
            down_after_ms: timers.default_down_after,
            down_on_refused_ms: 0,
            failover_timeout_ms: timers.default_failover_timeout,
            parallel_syncs: 1,
            notification_script: None,
            client_reconfig_script: None,
            auth_user: None,
            auth_pass: None,
            reboot_down_after_ms: 0,
            renames: BTreeMap::new(),
            vips: Vec::new(),
        }
    }

    /// The name under which its nodes know `command`.
    pub fn command(&self, command: &str) -> String {
        self.renames.get(&command.to_ascii_lowercase()).cloned().unwrap_or_else(|| command.to_string())
    }
}

/// A master as the file describes it: settings and remembered state.
#[derive(Clone, Debug)]
pub struct MasterEntry {
    /// Its settings.
    pub cfg: MasterConfig,
    /// Host name or IP.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// The epoch of its present address.
    pub config_epoch: u64,
    /// The epoch of our last vote.
    pub leader_epoch: u64,
    /// Addresses of its replicas.
    pub replicas: Vec<(String, u16)>,
    /// Address and id of the other Sentinels.
    pub sentinels: Vec<(String, u16, String)>,
}

/// What concerns all masters.
#[derive(Clone, Debug, Default)]
pub struct Globals {
    /// Our id; made when the file has none.
    pub my_id: Option<String>,
    /// The highest epoch seen.
    pub current_epoch: u64,
    /// The address to announce instead of the socket's.
    pub announce_ip: Option<String>,
    /// The port to announce instead of the listening one.
    pub announce_port: Option<u16>,
    /// SENTINEL SET may not change scripts; true unless configured.
    pub allow_scripts_reconfig: bool,
    /// User for the other Sentinels.
    pub sentinel_user: Option<String>,
    /// Password for the other Sentinels; `requirepass` if absent.
    pub sentinel_pass: Option<String>,
    /// Host names are accepted as addresses.
    pub resolve_hostnames: bool,
    /// Host names are told instead of IPs.
    pub announce_hostnames: bool,
    /// The port this Sentinel listens on.
    pub port: u16,
    /// Our own default user's password.
    pub requirepass: Option<String>,
    /// The level of the log, as `SENTINEL CONFIG GET loglevel` shows it.
    pub loglevel: String,
}

/// All that the file says about what to monitor.
#[derive(Clone, Debug)]
pub struct Config {
    /// What concerns all masters.
    pub globals: Globals,
    /// The masters in the order of the file.
    pub masters: Vec<MasterEntry>,
    /// Scripts that were to be run when this Sentinel ended the last time.
    pub scripts: Vec<ScriptCall>,
    /// Whether a script exists and may be run: the one question to the outside, answered by the driver.
    pub executable: fn(&str) -> bool,
    /// A mistake that a simulator plants, to show that it would be found. No file can ask for it.
    #[doc(hidden)]
    pub planted: Option<Planted>,
}

/// Mistakes of the kind that a simulator is to find.
#[doc(hidden)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Planted {
    /// A vote is told before it is on disk.
    VoteBeforeWrite,
    /// Votes of older epochs count.
    OldVotesCount,
    /// A promotion that went out and was not confirmed is tried with another replica in the same epoch.
    PromoteAgain,
    /// Whom a Sentinel vouched for is not remembered.
    ForgetVouches,
}

const NO_MASTER: &str = "No such master with specified name.";
const PRE_MONITOR: [&str; 8] = [
    "announce-ip",
    "announce-port",
    "deny-scripts-reconfig",
    "sentinel-user",
    "sentinel-pass",
    "current-epoch",
    "myid",
    "resolve-hostnames",
];

/// The turn in which a directive is read.
fn turn(option: &str) -> usize {
    match option {
        "announce-hostnames" => 0,
        o if PRE_MONITOR.contains(&o) => 0,
        "monitor" => 1,
        _ => 2,
    }
}

impl Config {
    /// A configuration that names nothing yet.
    pub fn new(executable: fn(&str) -> bool) -> Self {
        Config {
            globals: Globals::default(),
            masters: Vec::new(),
            scripts: Vec::new(),
            executable,
            planted: None,
        }
    }

    /// Reads the arguments of `sentinel` directives, each with its tag (a line's place in the
    /// file, say); the first that is wrong is returned with its tag and Redis's text.
    pub fn load<T: Clone>(&mut self, directives: &[(T, Vec<String>)]) -> Result<(), (T, String)> {
        for wanted in 0..3 {
            for (tag, args) in directives {
                let option = args.first().map(|a| a.to_ascii_lowercase()).unwrap_or_default();
                if turn(&option) == wanted {
                    let rest: Vec<&str> = args.iter().skip(1).map(String::as_str).collect();
                    self.apply(&option, &rest).map_err(|e| (tag.clone(), e))?;
                }
            }
        }
        Ok(())
    }

    fn master(&mut self, name: &str) -> Result<&mut MasterEntry, String> {
        self.masters.iter_mut().find(|m| m.cfg.name == name).ok_or_else(|| NO_MASTER.to_string())
    }

    fn apply(&mut self, option: &str, args: &[&str]) -> Result<(), String> {
        match (option, args) {
            ("monitor", &[name, host, port, quorum]) => self.monitor(name, host, port, quorum),
            ("current-epoch", &[n]) => {
                self.globals.current_epoch = self.globals.current_epoch.max(number(n)?);
                Ok(())
            }
            ("myid", &[id]) => {
                if id.len() != 40 {
                    return Err("Malformed Sentinel id in myid option.".into());
                }
                self.globals.my_id = Some(id.to_string());
                Ok(())
            }
            ("announce-ip", &[ip]) => {
                self.globals.announce_ip = non_empty(ip);
                Ok(())
            }
            ("announce-port", &[p]) => {
                self.globals.announce_port = match p.parse::<u16>() {
                    Ok(0) => None,
                    Ok(p) => Some(p),
                    Err(_) => return Err("Invalid port number.".into()),
                };
                Ok(())
            }
            ("sentinel-user", &[u]) => {
                self.globals.sentinel_user = non_empty(u);
                Ok(())
            }
            ("sentinel-pass", &[p]) => {
                self.globals.sentinel_pass = non_empty(p);
                Ok(())
            }
            ("deny-scripts-reconfig", &[v]) => {
                let deny = yes_no(v)
                    .ok_or("Please specify yes or no for the deny-scripts-reconfig options.".to_string())?;
                self.globals.allow_scripts_reconfig = !deny;
                Ok(())
            }
            ("resolve-hostnames", &[v]) => {
                let text = "Please specify yes or no for the resolve-hostnames option.";
                self.globals.resolve_hostnames = yes_no(v).ok_or(text.to_string())?;
                Ok(())
            }
            ("announce-hostnames", &[v]) => {
                let text = "Please specify yes or no for the announce-hostnames option.";
                self.globals.announce_hostnames = yes_no(v).ok_or(text.to_string())?;
                Ok(())
            }
            ("vip", &[name, ip]) => self.vip(name, ip),
            (_, [name, rest @ ..]) => {
                let executable = self.executable;
                let entry = self.masters.iter_mut().find(|m| m.cfg.name == *name);
                apply_to_master(entry, option, rest, executable)
            }
            _ => Err("Unrecognized sentinel configuration statement.".into()),
        }
    }

    /// Whether a host name that is monitored leads to a virtual IP, given the addresses of names.
    ///
    /// # Errors
    /// Which does, and what to do.
    pub fn refuse_virtual_masters(&self, resolved: &BTreeMap<String, String>) -> Result<(), String> {
        for master in &self.masters {
            let ip = resolved.get(&master.host).and_then(|ip| ip.parse::<IpAddr>().ok());
            let owner = self.masters.iter().find(|m| ip.is_some_and(|ip| m.cfg.vips.contains(&ip)));
            if let (Some(ip), Some(owner)) = (ip, owner) {
                let text = vip::not_to_be_monitored(ip, &owner.cfg.name);
                return Err(format!("'{}' leads to {ip}: {text}", master.host));
            }
        }
        Ok(())
    }

    fn monitor(&mut self, name: &str, host: &str, port: &str, quorum: &str) -> Result<(), String> {
        let quorum: u32 =
            quorum.parse().ok().filter(|q| *q > 0).ok_or("Quorum must be 1 or greater.".to_string())?;
        let port: u16 = port.parse().map_err(|_| "Invalid port number.".to_string())?;
        if !valid_master_name(name) {
            return Err("Invalid master name: it must not hold spaces, commas or control characters.".into());
        }
        if self.master(name).is_ok() {
            return Err("Duplicate master name.".into());
        }
        self.masters.push(MasterEntry {
            cfg: MasterConfig::new(name, quorum, &Timers::default()),
            host: host.to_string(),
            port,
            config_epoch: 0,
            leader_epoch: 0,
            replicas: Vec::new(),
            sentinels: Vec::new(),
        });
        Ok(())
    }

    fn vip(&mut self, name: &str, word: &str) -> Result<(), String> {
        let ip = vip::parse(word)?;
        if let Some(owner) = self.masters.iter().find(|m| m.cfg.vips.contains(&ip)) {
            return Err(vip::belongs_to(ip, &owner.cfg.name));
        }
        if self.masters.iter().any(|m| m.host.parse() == Ok(ip)) {
            return Err(vip::not_to_be_monitored(ip, name));
        }
        self.master(name)?.cfg.vips.push(ip);
        Ok(())
    }
}

/// A master's name travels in hello messages and in lines of the file.
pub fn valid_master_name(name: &str) -> bool {
    !name.is_empty() && !name.chars().any(|c| c.is_whitespace() || c.is_control() || c == ',')
}

fn apply_to_master(
    entry: Option<&mut MasterEntry>,
    option: &str,
    rest: &[&str],
    executable: fn(&str) -> bool,
) -> Result<(), String> {
    let arity = match option {
        "down-after-milliseconds"
        | "failover-timeout"
        | "parallel-syncs"
        | "notification-script"
        | "client-reconfig-script"
        | "auth-pass"
        | "auth-user"
        | "config-epoch"
        | "leader-epoch"
        | "master-reboot-down-after-period"
        | "down-on-refused" => 1..=1,
        "known-replica" | "known-slave" | "rename-command" => 2..=2,
        "known-sentinel" => 2..=3,
        _ => return Err("Unrecognized sentinel configuration statement.".into()),
    };
    if !arity.contains(&rest.len()) {
        return Err("Unrecognized sentinel configuration statement.".into());
    }
    let entry = entry.ok_or_else(|| NO_MASTER.to_string())?;
    let positive = || {
        rest[0].parse::<Ms>().ok().filter(|v| *v > 0).ok_or("negative or zero time parameter.".to_string())
    };
    let cfg = &mut entry.cfg;
    match option {
        "down-after-milliseconds" => cfg.down_after_ms = positive()?,
        "failover-timeout" => cfg.failover_timeout_ms = positive()?,
        "parallel-syncs" => cfg.parallel_syncs = number(rest[0])? as u32,
        "notification-script" if !executable(rest[0]) => {
            return Err("Notification script seems non existing or non executable.".into());
        }
        "notification-script" => cfg.notification_script = Some(rest[0].to_string()),
        "client-reconfig-script" if !executable(rest[0]) => {
            return Err("Client reconfiguration script seems non existing or non executable.".into());
        }
        "client-reconfig-script" => cfg.client_reconfig_script = Some(rest[0].to_string()),
        "auth-pass" => cfg.auth_pass = non_empty(rest[0]),
        "auth-user" => cfg.auth_user = non_empty(rest[0]),
        "master-reboot-down-after-period" => {
            cfg.reboot_down_after_ms = rest[0].parse().map_err(|_| "negative time parameter.".to_string())?;
        }
        "down-on-refused" => {
            cfg.down_on_refused_ms = rest[0].parse().map_err(|_| "negative time parameter.".to_string())?;
        }
        "config-epoch" => entry.config_epoch = number(rest[0])?,
        "leader-epoch" => entry.leader_epoch = number(rest[0])?,
        "rename-command" => {
            let old = rest[0].to_ascii_lowercase();
            if cfg.renames.insert(old, rest[1].to_string()).is_some() {
                return Err("Same command renamed multiple times with rename-command.".into());
            }
        }
        "known-replica" | "known-slave" => {
            let replica = (rest[0].to_string(), port(rest[1])?);
            if entry.replicas.contains(&replica) {
                return Err("Duplicate hostname and port for replica.".into());
            }
            entry.replicas.push(replica);
        }
        // Files of before ids were introduced name Sentinels without one: they will be heard of again.
        "known-sentinel" if rest.len() == 3 => {
            if entry.sentinels.iter().any(|(_, _, run_id)| run_id == rest[2]) {
                return Err("Duplicate runid for sentinel.".into());
            }
            entry.sentinels.push((rest[0].to_string(), port(rest[1])?, rest[2].to_string()));
        }
        _ => {}
    }
    Ok(())
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("'{text}' is not a number of 0 or more."))
}

fn port(text: &str) -> Result<u16, String> {
    text.parse().map_err(|_| "Invalid port number.".to_string())
}

fn non_empty(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_string())
}

/// `yes` or `no`, in any case.
pub fn yes_no(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(lines: &[&str]) -> Result<Config, (usize, String)> {
        let directives: Vec<(usize, Vec<String>)> = lines
            .iter()
            .enumerate()
            .map(|(n, l)| (n + 1, l.split_whitespace().map(str::to_string).collect()))
            .collect();
        let mut config = Config::new(|_| false);
        config.load(&directives).map(|()| config)
    }

    #[test]
    fn an_option_may_stand_before_its_monitor_line() {
        let config = load(&["down-after-milliseconds a 5", "monitor a 10.0.0.1 30000 2"]).unwrap();
        assert_eq!(config.masters[0].cfg.down_after_ms, 5);
        assert_eq!(config.masters[0].cfg.quorum, 2);
    }

    #[test]
    fn errors_carry_the_line_and_redis_text() {
        let cases = [
            ("parallel-syncs b 1", NO_MASTER),
            ("monitor b 1.2.3.4 1 0", "Quorum must be 1 or greater."),
            ("monitor a 1.2.3.4 1 1", "Duplicate master name."),
            ("monitor b 1.2.3.4 99999 1", "Invalid port number."),
            ("failover-timeout a 0", "negative or zero time parameter."),
            ("myid short", "Malformed Sentinel id in myid option."),
            ("no-such a", "Unrecognized sentinel configuration statement."),
            ("notification-script a /no/such", "Notification script seems non existing or non executable."),
        ];
        for (line, text) in cases {
            assert_eq!(load(&["monitor a 1.2.3.4 1 1", line]).unwrap_err(), (2, text.to_string()), "{line}");
        }
    }

    #[test]
    fn nothing_is_remembered_twice() {
        let id = "0123456789012345678901234567890123456789";
        let sentinel = |port: u16| format!("known-sentinel a 1.2.3.7 {port} {id}");
        for (first, second, text) in [
            (
                "known-slave a 1.2.3.5 2",
                "known-replica a 1.2.3.5 2",
                "Duplicate hostname and port for replica.",
            ),
            (&sentinel(1), &sentinel(2), "Duplicate runid for sentinel."),
            (
                "rename-command a CONFIG x",
                "rename-command a config y",
                "Same command renamed multiple times with rename-command.",
            ),
        ] {
            let error = load(&["monitor a 1.2.3.4 1 1", first, second]).unwrap_err();
            assert_eq!(error, (3, text.to_string()));
        }
    }

    #[test]
    fn remembered_state_is_read_under_both_names() {
        let config = load(&[
            "monitor a 1.2.3.4 1 1",
            "known-slave a 1.2.3.5 2",
            "known-replica a 1.2.3.6 3",
            "known-sentinel a 1.2.3.7 4 0123456789012345678901234567890123456789",
            "config-epoch a 7",
            "leader-epoch a 8",
            "current-epoch 9",
        ])
        .unwrap();
        let a = &config.masters[0];
        assert_eq!(a.replicas, [("1.2.3.5".to_string(), 2), ("1.2.3.6".to_string(), 3)]);
        assert_eq!((a.sentinels.len(), a.config_epoch, a.leader_epoch), (1, 7, 8));
        assert_eq!(config.globals.current_epoch, 9);
    }
}
