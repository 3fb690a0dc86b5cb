//! The directives that are not about monitoring: where to listen, what to log, who may connect.
//!
//! A file written for redis-sentinel, or rewritten by it, is taken as it is. Directives that mean
//! nothing to a Sentinel are named in the log; those that would mean something and are not
//! supported end the program, since ignoring them would leave a gap nobody sees.

mod without_effect;

use std::net::IpAddr;
use std::path::PathBuf;

use redoubt_wire::directives::{ConfigError, Directive, memory};
use redoubt_wire::log::{Format, Level, syslog};
use redoubt_wire::service::Supervision;

use without_effect::WITHOUT_EFFECT;

use super::acl;
use super::command_table::Renames;
use crate::core::config::{Config, yes_no};

/// How much may wait for a client before its connection is ended (`client-output-buffer-limit`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// At once beyond so many bytes; 0: no limit.
    pub hard_bytes: usize,
    /// Beyond so many bytes for longer than `soft_s`; 0: no limit.
    pub soft_bytes: usize,
    /// In seconds.
    pub soft_s: u64,
}

/// The parts of `syslog-…` directives, in force only together.
struct Syslog {
    enabled: bool,
    config: syslog::Config,
}

/// Where to listen, what to log, who may connect.
#[derive(Debug)]
pub struct Settings {
    /// TCP port; 0: none.
    pub port: u16,
    /// Addresses to listen on; one with a leading `-` may be missing.
    pub bind: Vec<String>,
    /// The address that connections to others come from.
    pub bind_source: Option<IpAddr>,
    /// Without a password, only the local host may connect.
    pub protected_mode: bool,
    /// Path of the Unix socket to listen on.
    pub unixsocket: Option<PathBuf>,
    /// Its mode; 0 leaves it to the umask.
    pub unixsocketperm: u32,
    /// Log file; standard output if none.
    pub logfile: Option<PathBuf>,
    /// The form of log lines.
    pub log_format: Format,
    /// The system's logger, if messages go there too.
    pub syslog: Option<syslog::Config>,
    /// Log level.
    pub loglevel: Level,
    /// File that holds the process id while it runs.
    pub pidfile: Option<PathBuf>,
    /// Run in the background.
    pub daemonize: bool,
    /// Who watches the process.
    pub supervised: Supervision,
    /// Connections that may wait to be accepted.
    pub backlog: i32,
    /// Seconds until a silent client is probed; 0: never.
    pub keepalive_s: u64,
    /// Seconds after which a client that asks nothing is dropped; 0: never.
    pub timeout_s: u64,
    /// Connections accepted at a time.
    pub maxclients: usize,
    /// What may wait for clients that read no events.
    pub normal_limit: OutputLimit,
    /// What may wait for subscribers.
    pub pubsub_limit: OutputLimit,
    /// Who may log in, and what they may do.
    pub acl: acl::Settings,
    /// Commands under other names.
    pub(super) renames: Renames,
    /// Directives that were passed over.
    pub without_effect: Vec<String>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            port: 26379,
            bind: vec!["*".into(), "-::*".into()],
            bind_source: None,
            protected_mode: false,
            unixsocket: None,
            unixsocketperm: 0,
            logfile: None,
            log_format: Format::Redis,
            syslog: None,
            loglevel: Level::Notice,
            pidfile: None,
            daemonize: false,
            supervised: Supervision::No,
            backlog: 511,
            keepalive_s: 300,
            timeout_s: 0,
            maxclients: 10000,
            normal_limit: OutputLimit::default(),
            pubsub_limit: OutputLimit { hard_bytes: 32 << 20, soft_bytes: 8 << 20, soft_s: 60 },
            acl: acl::Settings::default(),
            renames: Renames::default(),
            without_effect: Vec::new(),
        }
    }
}

impl Settings {
    /// Sorts directives into settings and what to monitor.
    ///
    /// # Errors
    /// The first directive that is unknown or has a wrong value.
    pub fn load(directives: &[Directive], config: &mut Config) -> Result<Settings, ConfigError> {
        let mut settings = Settings::default();
        let mut sentinel: Vec<(usize, Vec<String>)> = Vec::new();
        let mut syslog = Syslog {
            enabled: false,
            config: syslog::Config { ident: "sentinel".into(), facility: syslog::Facility::LOCAL0 },
        };
        for (at, directive) in directives.iter().enumerate() {
            let args: Vec<String> =
                directive.args.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
            if directive.name == "sentinel" {
                // A bare one asks a server for Sentinel mode, which this is.
                if !args.is_empty() {
                    sentinel.push((at, args));
                }
            } else if !settings.acl.apply(directive).map_err(|text| directive.error(text))? {
                let words: Vec<&str> = args.iter().map(String::as_str).collect();
                let name = directive.name.as_str();
                let taken = syslog.apply(name, &words).and_then(|known| match known {
                    true => Ok(()),
                    false => settings.apply(name, &words, config),
                });
                taken.map_err(|text| directive.error(text))?;
            }
        }
        settings.syslog = syslog.enabled.then_some(syslog.config);
        config.globals.port = settings.port;
        config.globals.loglevel = settings.loglevel.name().to_string();
        config.load(&sentinel).map_err(|(at, text)| directives[at].error(text))?;
        Ok(settings)
    }

    fn apply(&mut self, name: &str, args: &[&str], config: &mut Config) -> Result<(), String> {
        match (name, args) {
            ("port", &[p]) => self.port = number(p, 0, 65535)? as u16,
            ("bind", hosts @ [_, ..]) => self.bind = hosts.iter().map(|h| h.to_string()).collect(),
            ("unixsocket", &[path]) => self.unixsocket = (!path.is_empty()).then(|| path.into()),
            ("unixsocketperm", &[mode]) => {
                let mode = u32::from_str_radix(mode, 8).ok().filter(|m| *m <= 0o1777);
                self.unixsocketperm = mode.ok_or("argument couldn't be parsed into an integer")?;
            }
            ("bind-source-addr", &[""]) => self.bind_source = None,
            ("bind-source-addr", &[ip]) => {
                self.bind_source = Some(ip.parse().map_err(|_| format!("'{ip}' is not an IP address"))?);
            }
            ("protected-mode", &[v]) => self.protected_mode = flag(v)?,
            // The program has changed to it before it came here.
            ("dir", &[_]) => {}
            ("logfile", &[path]) => self.logfile = (!path.is_empty()).then(|| path.into()),
            ("loglevel", &[level]) => {
                let text =
                    "argument(s) must be one of the following: debug, verbose, notice, warning, nothing";
                self.loglevel = Level::from_name(level.as_bytes()).ok_or(text)?;
            }
            ("log-format", &[format]) => {
                self.log_format = match format.to_ascii_lowercase().as_str() {
                    "redis" => Format::Redis,
                    "json" => Format::Json,
                    _ => return Err("argument(s) must be one of the following: redis, json".into()),
                };
            }
            ("pidfile", &[path]) => self.pidfile = (!path.is_empty()).then(|| path.into()),
            ("daemonize", &[v]) => self.daemonize = flag(v)?,
            ("tcp-backlog", &[n]) => self.backlog = number(n, 0, i32::MAX as u64)? as i32,
            ("tcp-keepalive", &[n]) => self.keepalive_s = number(n, 0, i32::MAX as u64)?,
            ("timeout", &[n]) => self.timeout_s = number(n, 0, i32::MAX as u64)?,
            ("maxclients", &[n]) => self.maxclients = number(n, 1, u32::MAX.into())? as usize,
            ("client-output-buffer-limit", groups @ [_, ..]) => self.output_limits(groups)?,
            ("supervised", &[who]) => {
                let text = "argument(s) must be one of the following: upstart, systemd, auto, no";
                self.supervised = Supervision::from_name(who).ok_or(text)?;
            }
            ("rename-command", &[old, new]) => self.renames.add(old, new)?,
            ("requirepass", &[pass]) => {
                config.globals.requirepass = (!pass.is_empty()).then(|| pass.to_string());
            }
            (name, _) if WITHOUT_EFFECT.contains(&name) => self.without_effect.push(name.to_string()),
            (
                "port"
                | "bind-source-addr"
                | "protected-mode"
                | "dir"
                | "logfile"
                | "loglevel"
                | "pidfile"
                | "daemonize"
                | "tcp-backlog"
                | "tcp-keepalive"
                | "maxclients"
                | "requirepass"
                | "bind"
                | "unixsocket"
                | "log-format"
                | "rename-command"
                | "unixsocketperm"
                | "timeout"
                | "client-output-buffer-limit"
                | "supervised",
                _,
            ) => return Err("wrong number of arguments".into()),
            (name, _) if name.starts_with("tls-") => {
                return Err("TLS is not supported by redoubt-sentinel yet: remove the directive".into());
            }
            _ => return Err("Bad directive or wrong number of arguments".into()),
        }
        Ok(())
    }
}

impl Settings {
    /// Groups of class, hard limit, soft limit and seconds.
    fn output_limits(&mut self, words: &[&str]) -> Result<(), String> {
        // All of them may stand in one word, as on a command line.
        let words: Vec<&str> = words.iter().flat_map(|word| word.split_whitespace()).collect();
        if !words.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        for group in words.chunks_exact(4) {
            let bytes = |text: &str| memory(text.as_bytes()).and_then(|n| usize::try_from(n).ok());
            let limit = (|| {
                let (hard_bytes, soft_bytes) = (bytes(group[1])?, bytes(group[2])?);
                Some(OutputLimit { hard_bytes, soft_bytes, soft_s: group[3].parse().ok()? })
            })();
            let limit =
                limit.ok_or("Error in hard, soft or soft_seconds setting in buffer limit configuration.")?;
            match group[0].to_ascii_lowercase().as_str() {
                "normal" => self.normal_limit = limit,
                "pubsub" => self.pubsub_limit = limit,
                // A Sentinel has none of those.
                "replica" | "slave" => {}
                _ => return Err("Invalid client class specified in buffer limit configuration.".into()),
            }
        }
        Ok(())
    }
}

impl Syslog {
    /// Whether the directive was one of these.
    fn apply(&mut self, name: &str, args: &[&str]) -> Result<bool, String> {
        match (name, args) {
            ("syslog-enabled", &[v]) => self.enabled = flag(v)?,
            ("syslog-ident", &[ident]) => self.config.ident = ident.to_string(),
            ("syslog-facility", &[name]) => {
                self.config.facility = syslog::Facility::from_name(name).ok_or(
                    "argument(s) must be one of the following: user, local0, local1, local2, local3, local4, local5, local6, local7",
                )?;
            }
            ("syslog-enabled" | "syslog-ident" | "syslog-facility", _) => {
                return Err("wrong number of arguments".into());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}

fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let number: i64 = text.parse().map_err(|_| "argument couldn't be parsed into an integer")?;
    let fits = |n: &u64| (least..=most).contains(n);
    let number = u64::try_from(number).ok().filter(fits);
    number.ok_or(format!("argument must be between {least} and {most} inclusive"))
}

fn flag(text: &str) -> Result<bool, String> {
    yes_no(text).ok_or("argument must be 'yes' or 'no'".to_string())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn load(text: &str) -> Result<(Settings, Config), String> {
        let directives = redoubt_wire::directives::parse_text(text.as_bytes(), Path::new("s.conf")).unwrap();
        let mut config = Config::new(|_| true);
        Settings::load(&directives, &mut config).map(|s| (s, config)).map_err(|e| e.to_string())
    }

    #[test]
    fn a_file_that_redis_sentinel_rewrote_is_taken() {
        let (settings, config) = load(
            "port 5000\ndir \"/tmp\"\nsentinel monitor m 127.0.0.1 6379 2\n# Generated by CONFIG REWRITE\n\
             protected-mode no\nlatency-tracking-info-percentiles 50 99 99.9\n\
             user default on nopass sanitize-payload ~* &* +@all\nsentinel current-epoch 3\n",
        )
        .unwrap();
        assert_eq!((settings.port, config.globals.requirepass), (5000, None));
        assert_eq!(config.masters.len(), 1);
        assert_eq!(settings.without_effect, ["latency-tracking-info-percentiles"]);
    }

    #[test]
    fn errors_name_file_line_and_reason() {
        for (text, reason) in [
            ("port x", "argument couldn't be parsed into an integer"),
            ("port 65536", "argument must be between 0 and 65535 inclusive"),
            ("syslog-facility mail", "argument(s) must be one of the following: user, local0"),
            (
                "client-output-buffer-limit pubsub 1mb",
                "Wrong number of arguments in buffer limit configuration.",
            ),
            ("client-output-buffer-limit all 0 0 0", "Invalid client class"),
            ("supervised init", "argument(s) must be one of the following: upstart, systemd, auto, no"),
            ("port", "wrong number of arguments"),
            ("frobnicate 1", "Bad directive or wrong number of arguments"),
            ("tls-port 1", "TLS is not supported"),
            ("aclfile", "wrong number of arguments"),
            ("acllog-max-len x", "argument couldn't be parsed into an integer"),
            ("acl-pubsub-default x", "argument(s) must be one of the following: allchannels, resetchannels"),
            ("sentinel quorum m 1", "Unrecognized sentinel configuration statement."),
        ] {
            let error = load(&format!("dir /tmp\n{text}")).unwrap_err();
            assert!(error.contains("at line 2 of s.conf") && error.contains(reason), "{error}");
        }
    }
}
