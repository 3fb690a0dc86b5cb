//! The directives that are not about monitoring: where to listen, what to log, who may connect.
//!
//! A file written for redis-sentinel, or rewritten by it, is taken as it is. Directives that mean
//! nothing to a Sentinel are named in the log; those that would mean something and are not
//! supported end the program, since ignoring them would leave a gap nobody sees.

use std::net::IpAddr;
use std::path::PathBuf;

use redoubt_wire::directives::{ConfigError, Directive};
use redoubt_wire::log::Level;

use super::acl;
use crate::core::config::{Config, yes_no};

/// Where to listen, what to log, who may connect.
#[derive(Debug)]
pub struct Settings {
    /// TCP port.
    pub port: u16,
    /// Addresses to listen on; one with a leading `-` may be missing.
    pub bind: Vec<String>,
    /// The address that connections to others come from.
    pub bind_source: Option<IpAddr>,
    /// Without a password, only the local host may connect.
    pub protected_mode: bool,
    /// Log file; standard output if none.
    pub logfile: Option<PathBuf>,
    /// Log level.
    pub loglevel: Level,
    /// File that holds the process id while it runs.
    pub pidfile: Option<PathBuf>,
    /// Run in the background.
    pub daemonize: bool,
    /// Connections that may wait to be accepted.
    pub backlog: i32,
    /// Seconds until a silent client is probed; 0: never.
    pub keepalive_s: u64,
    /// Connections accepted at a time.
    pub maxclients: usize,
    /// Who may log in, and what they may do.
    pub acl: acl::Settings,
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
            logfile: None,
            loglevel: Level::Notice,
            pidfile: None,
            daemonize: false,
            backlog: 511,
            keepalive_s: 300,
            maxclients: 10000,
            acl: acl::Settings::default(),
            without_effect: Vec::new(),
        }
    }
}

/// Directives of Redis that configure what a Sentinel does not have.
const WITHOUT_EFFECT: &[&str] = &[
    "always-show-logo",
    "appendonly",
    "crash-log-enabled",
    "databases",
    "enable-debug-command",
    "enable-module-command",
    "enable-protected-configs",
    "hz",
    "dynamic-hz",
    "io-threads",
    "latency-tracking-info-percentiles",
    "locale-collate",
    "proc-title-template",
    "repl-diskless-sync-delay",
    "save",
    "set-proc-title",
    "supervised",
];

impl Settings {
    /// Whether a client from elsewhere is turned away.
    pub(super) fn protected(&self, password: bool) -> bool {
        self.protected_mode && !password
    }

    /// Sorts directives into settings and what to monitor.
    ///
    /// # Errors
    /// The first directive that is unknown or has a wrong value.
    pub fn load(directives: &[Directive], config: &mut Config) -> Result<Settings, ConfigError> {
        let mut settings = Settings::default();
        let mut sentinel: Vec<(usize, Vec<String>)> = Vec::new();
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
                settings.apply(&directive.name, &words, config).map_err(|text| directive.error(text))?;
            }
        }
        config.globals.port = settings.port;
        config.globals.loglevel = settings.loglevel.name().to_string();
        config.load(&sentinel).map_err(|(at, text)| directives[at].error(text))?;
        Ok(settings)
    }

    fn apply(&mut self, name: &str, args: &[&str], config: &mut Config) -> Result<(), String> {
        match (name, args) {
            ("port", &[p]) => self.port = number(p, 1, 65535)? as u16,
            ("bind", hosts @ [_, ..]) => self.bind = hosts.iter().map(|h| h.to_string()).collect(),
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
            ("pidfile", &[path]) => self.pidfile = (!path.is_empty()).then(|| path.into()),
            ("daemonize", &[v]) => self.daemonize = flag(v)?,
            ("tcp-backlog", &[n]) => self.backlog = number(n, 0, i32::MAX as u64)? as i32,
            ("tcp-keepalive", &[n]) => self.keepalive_s = number(n, 0, i32::MAX as u64)?,
            ("maxclients", &[n]) => self.maxclients = number(n, 1, u32::MAX.into())? as usize,
            ("requirepass", &[pass]) => {
                config.globals.requirepass = (!pass.is_empty()).then(|| pass.to_string());
            }
            ("timeout", &["0"]) => {}
            (name, _) if WITHOUT_EFFECT.contains(&name) => self.without_effect.push(name.to_string()),
            (
                "port" | "bind-source-addr" | "protected-mode" | "dir" | "logfile" | "loglevel" | "pidfile"
                | "daemonize" | "tcp-backlog" | "tcp-keepalive" | "maxclients" | "requirepass" | "bind",
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

fn number(text: &str, least: u64, most: u64) -> Result<u64, String> {
    let fits = |n: &u64| (least..=most).contains(n);
    text.parse().ok().filter(fits).ok_or(format!("argument must be between {least} and {most} inclusive"))
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
            ("port x", "argument must be between 1 and 65535 inclusive"),
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
