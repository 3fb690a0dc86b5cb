//! The subcommands that change what is watched and how.

use redoubt_wire::resp::number::parse_integer;

use super::{Answer, Call};
use crate::core::config::{MasterConfig, valid_master_name};
use crate::core::model::{Cause, Target};
use crate::core::names::Unresolved;
use crate::core::timers::Ms;
use crate::core::vip::not_to_be_monitored;
use crate::core::{Core, Level};
use redoubt_wire::glob::glob_match;

/// Why an option of SENTINEL SET was not taken.
enum Refused {
    /// A value that does not fit the option.
    Value(String),
    /// An error text of its own.
    Text(String),
}

impl Core {
    pub(super) fn monitor(&mut self, call: &mut Call) -> Answer {
        let [name, host, port, quorum] = [0, 1, 2, 3].map(|i| call.args[i].clone());
        let Some(quorum) = parse_integer(quorum.as_bytes()) else { return refuse(call, "Invalid quorum") };
        let Some(port) = parse_integer(port.as_bytes()) else { return refuse(call, "Invalid port") };
        let Some(quorum) = u32::try_from(quorum).ok().filter(|q| *q > 0) else {
            return refuse(call, "Quorum must be 1 or greater.");
        };
        let mut addr = match self.resolve(&host, 0) {
            Ok(addr) => addr,
            Err(Unresolved::Pending) => return Answer::AfterLookup(host),
            Err(Unresolved::Invalid) => return refuse(call, "Invalid IP address or hostname specified"),
        };
        let Ok(port) = u16::try_from(port) else { return refuse(call, "Invalid port number.") };
        addr.port = port;
        if let Some((ip, owner)) = self.owner_of_virtual_ip(&addr.ip) {
            return refuse(call, &not_to_be_monitored(ip, self.masters[owner].name()));
        }
        if !valid_master_name(&name) {
            return refuse(
                call,
                "Invalid master name: it must not hold spaces, commas or control characters",
            );
        }
        if self.index_by_name(&name).is_some() {
            return refuse(call, "Duplicate master name.");
        }
        let cfg = MasterConfig::new(&name, quorum, &self.timers);
        let m = self.add_master(cfg, addr, call.now);
        self.evaluate(self.masters[m].id, call.now);
        self.ok_after_write(call)
    }

    pub(super) fn remove(&mut self, call: &mut Call) -> Answer {
        let Some(m) = self.named(call) else { return Answer::Now };
        self.event(Level::Warning, "-monitor", m, &Target::Master, "");
        self.remove_master(m);
        self.ok_after_write(call)
    }

    pub(super) fn reset(&mut self, call: &mut Call) -> Answer {
        let pattern = call.args[0].clone().into_bytes();
        let hit: Vec<usize> = (0..self.masters.len())
            .filter(|m| glob_match(&pattern, self.masters[*m].name().as_bytes(), false))
            .collect();
        for m in &hit {
            self.reset_master(*m, call.now);
            self.save();
            self.evaluate(self.masters[*m].id, call.now);
        }
        call.reply.integer(hit.len() as i64);
        Answer::Now
    }

    pub(super) fn failover(&mut self, call: &mut Call) -> Answer {
        let cause = match call.args.get(1..).unwrap_or_default() {
            [] => Cause::Operator,
            [word] if word.eq_ignore_ascii_case("coordinated") => Cause::Coordinated,
            _ => return refuse(call, "syntax error"),
        };
        let Some(m) = self.named(call) else { return Answer::Now };
        let name = self.masters[m].name().to_string();
        if self.masters[m].failover.is_some() {
            call.reply.error("INPROG Failover already in progress");
        } else if self.best_replica(m, call.now).is_none() {
            call.reply.error("NOGOODSLAVE No suitable replica to promote");
        } else if cause == Cause::Coordinated && !self.can_hand_over(m) {
            let text = format!(
                "the master of '{name}' is out of reach, so its writes cannot be handed over: \
                 use SENTINEL FAILOVER {name} without COORDINATED"
            );
            return refuse(call, &text);
        } else {
            let how = if cause == Cause::Coordinated { " coordinated" } else { "" };
            self.log(Level::Notice, format!("Executing user requested{how} FAILOVER of '{name}'"));
            self.start_failover(m, cause, call.now);
            call.reply.ok();
        }
        Answer::Now
    }

    pub(super) fn flushconfig(&mut self, call: &mut Call) -> Answer {
        self.ok_after_write(call)
    }

    pub(super) fn set(&mut self, call: &mut Call) -> Answer {
        let Some(m) = self.named(call) else { return Answer::Now };
        let args = call.args.clone();
        let mut at = 1;
        while at < args.len() {
            let option = args[at].as_str();
            let values = if option.eq_ignore_ascii_case("rename-command") { 2 } else { 1 };
            let outcome = match args.get(at + 1..=at + values) {
                Some(values) => self.set_option(m, option, values, call.now),
                None => Err(unknown_option(option)),
            };
            if let Err(refused) = outcome {
                // What came before stays, as in Redis, and is kept.
                self.save();
                let text = match refused {
                    Refused::Value(value) => {
                        format!("Invalid argument '{value}' for SENTINEL SET '{option}'")
                    }
                    Refused::Text(text) => text,
                };
                return refuse(call, &text);
            }
            let secret = option.eq_ignore_ascii_case("auth-pass");
            let shown = if secret { "******".to_string() } else { args[at + 1..=at + values].join(" ") };
            self.event(Level::Warning, "+set", m, &Target::Master, &format!(" {option} {shown}"));
            at += 1 + values;
        }
        self.masters[m].due = call.now;
        self.ok_after_write(call)
    }

    fn set_option(&mut self, m: usize, option: &str, values: &[String], now: Ms) -> Result<(), Refused> {
        let value = &values[0];
        let text = || (!value.is_empty()).then(|| value.clone());
        let at_least =
            |least: Ms| parse_u64(value).filter(|v| *v >= least).ok_or(Refused::Value(value.clone()));
        let allowed = self.globals.allow_scripts_reconfig;
        let runs = value.is_empty() || (self.executable)(value);
        let cfg = &mut self.masters[m].cfg;
        match option.to_ascii_lowercase().as_str() {
            "down-after-milliseconds" => cfg.down_after_ms = at_least(1)?,
            "failover-timeout" => cfg.failover_timeout_ms = at_least(1)?,
            "parallel-syncs" => cfg.parallel_syncs = at_least(1)?.min(u32::MAX.into()) as u32,
            "quorum" => cfg.quorum = at_least(1)?.min(u32::MAX.into()) as u32,
            "master-reboot-down-after-period" => cfg.reboot_down_after_ms = at_least(0)?,
            "down-on-refused" => cfg.down_on_refused_ms = at_least(0)?,
            "notification-script" | "client-reconfig-script" if !allowed => {
                return Err(Refused::Text(
                    "Reconfiguration of scripts path is denied for security reasons. Check the \
                     deny-scripts-reconfig configuration directive in your Sentinel configuration"
                        .into(),
                ));
            }
            "notification-script" if !runs => {
                return Err(Refused::Text("Notification script seems non existing or non executable".into()));
            }
            "client-reconfig-script" if !runs => {
                let text = "Client reconfiguration script seems non existing or non executable";
                return Err(Refused::Text(text.into()));
            }
            "notification-script" => cfg.notification_script = text(),
            "client-reconfig-script" => cfg.client_reconfig_script = text(),
            "auth-pass" => {
                cfg.auth_pass = text();
                self.drop_node_links(m, now);
            }
            "auth-user" => {
                cfg.auth_user = text();
                self.drop_node_links(m, now);
            }
            "vip" => self.set_virtual_ips(m, value, now).map_err(Refused::Text)?,
            "rename-command" => {
                let new = &values[1];
                if let Some(empty) = values.iter().find(|v| v.is_empty()) {
                    return Err(Refused::Value(empty.clone()));
                }
                let old = value.to_ascii_lowercase();
                cfg.renames.remove(&old);
                if !value.eq_ignore_ascii_case(new) {
                    cfg.renames.insert(old, new.clone());
                }
            }
            _ => return Err(unknown_option(option)),
        }
        Ok(())
    }
}

fn unknown_option(option: &str) -> Refused {
    Refused::Text(format!("Unknown option or number of arguments for SENTINEL SET '{option}'"))
}

pub(super) fn refuse(call: &mut Call, text: &str) -> Answer {
    call.reply.error(&format!("ERR {text}"));
    Answer::Now
}

pub(super) fn parse_u64(text: &str) -> Option<u64> {
    parse_integer(text.as_bytes()).and_then(|n| u64::try_from(n).ok())
}
