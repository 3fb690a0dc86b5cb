//! SENTINEL CONFIG and SENTINEL DEBUG: what concerns the whole Sentinel.

use super::change::{parse_u64, refuse};
use super::{Answer, Call};
use crate::core::config::yes_no;
use crate::core::{Core, Output};
use redoubt_wire::glob::glob_match;

/// The parameters of SENTINEL CONFIG, in the order in which GET shows those that a pattern matches.
const PARAMETERS: [&str; 7] = [
    "resolve-hostnames",
    "announce-hostnames",
    "announce-ip",
    "announce-port",
    "sentinel-user",
    "sentinel-pass",
    "loglevel",
];
const LOG_LEVELS: [&str; 5] = ["debug", "verbose", "notice", "warning", "nothing"];

impl Core {
    pub(super) fn config(&mut self, call: &mut Call) -> Answer {
        let action = call.args.first().map(|a| a.to_ascii_lowercase()).unwrap_or_default();
        match action.as_str() {
            "set" if call.args.len() >= 3 => self.config_set(call),
            "get" => self.config_get(call),
            _ => refuse(
                call,
                "Only SENTINEL CONFIG GET <param> [<param> <param> ...]/ SET <param> <value> [<param> <value> ...] are supported.",
            ),
        }
    }

    /// Everything is checked before anything is changed.
    fn config_set(&mut self, call: &mut Call) -> Answer {
        let mut changes: Vec<(String, String)> = Vec::new();
        for pair in call.args.clone()[1..].chunks(2) {
            let option = pair[0].to_ascii_lowercase();
            if !PARAMETERS.contains(&option.as_str()) {
                return refuse(call, &format!("Invalid argument '{}' to SENTINEL CONFIG SET", pair[0]));
            }
            if changes.iter().any(|(o, _)| *o == option) {
                return refuse(call, &format!("Duplicate argument '{}' to SENTINEL CONFIG SET", pair[0]));
            }
            let Some(value) = pair.get(1) else {
                return refuse(call, &format!("Missing argument '{}' value", pair[0]));
            };
            if !valid(&option, value) {
                return refuse(
                    call,
                    &format!("Invalid value '{value}' to SENTINEL CONFIG SET '{}'", pair[0]),
                );
            }
            changes.push((option, value.clone()));
        }
        let credentials = changes.iter().any(|(o, _)| o == "sentinel-user" || o == "sentinel-pass");
        for (option, value) in changes {
            self.set_parameter(&option, value);
        }
        if credentials {
            self.drop_peer_links(call.now);
        }
        self.ok_after_write(call)
    }

    fn set_parameter(&mut self, option: &str, value: String) {
        let g = &mut self.globals;
        let text = (!value.is_empty()).then(|| value.clone());
        match option {
            "resolve-hostnames" => g.resolve_hostnames = yes_no(&value) == Some(true),
            "announce-hostnames" => g.announce_hostnames = yes_no(&value) == Some(true),
            "announce-ip" => g.announce_ip = text,
            "announce-port" => g.announce_port = value.parse().ok().filter(|p| *p != 0),
            "sentinel-user" => g.sentinel_user = text,
            "sentinel-pass" => g.sentinel_pass = text,
            _ => {
                g.loglevel = value.to_ascii_lowercase();
                let level = g.loglevel.clone();
                self.out.push_back(Output::SetLogLevel { level });
            }
        }
    }

    fn config_get(&mut self, call: &mut Call) -> Answer {
        let mut shown: Vec<&str> = Vec::new();
        for pattern in &call.args[1..] {
            let matches = |p: &&str| glob_match(pattern.as_bytes(), p.as_bytes(), true);
            let more: Vec<&str> =
                PARAMETERS.into_iter().filter(matches).filter(|p| !shown.contains(p)).collect();
            shown.extend(more);
        }
        let g = &self.globals;
        let yes_no = |b: bool| if b { "yes" } else { "no" }.to_string();
        call.reply.map(shown.len());
        for parameter in shown {
            let value = match parameter {
                "resolve-hostnames" => yes_no(g.resolve_hostnames),
                "announce-hostnames" => yes_no(g.announce_hostnames),
                "announce-ip" => g.announce_ip.clone().unwrap_or_default(),
                "announce-port" => g.announce_port.unwrap_or(0).to_string(),
                "sentinel-user" => g.sentinel_user.clone().unwrap_or_default(),
                "sentinel-pass" => g.sentinel_pass.clone().unwrap_or_default(),
                _ => g.loglevel.clone(),
            };
            call.reply.bulk(parameter.as_bytes());
            call.reply.bulk(value.as_bytes());
        }
        Answer::Now
    }

    pub(super) fn debug(&mut self, call: &mut Call) -> Answer {
        if call.args.is_empty() {
            let knobs = self.timers.knobs();
            call.reply.map(knobs.len());
            for (name, value) in knobs {
                call.reply.bulk(name.as_bytes());
                call.reply.bulk_integer(*value as i64);
            }
            return Answer::Now;
        }
        for pair in call.args.clone().chunks(2) {
            let mut knobs = self.timers.knobs();
            let knob = knobs.iter_mut().find(|(name, _)| name.eq_ignore_ascii_case(&pair[0]));
            let (Some((_, knob)), Some(value)) = (knob, pair.get(1)) else {
                let text = format!("Unknown option or number of arguments for SENTINEL DEBUG '{}'", pair[0]);
                return refuse(call, &text);
            };
            match parse_u64(value).filter(|v| *v > 0) {
                Some(ms) => **knob = ms,
                None => {
                    return refuse(
                        call,
                        &format!("Invalid argument '{value}' for SENTINEL DEBUG '{}'", pair[0]),
                    );
                }
            }
        }
        // Shorter periods may make something due that was not.
        self.masters.iter_mut().for_each(|m| m.due = call.now);
        call.reply.ok();
        Answer::Now
    }
}

fn valid(option: &str, value: &str) -> bool {
    match option {
        "resolve-hostnames" | "announce-hostnames" => yes_no(value).is_some(),
        "announce-port" => parse_u64(value).is_some_and(|port| port <= u16::MAX.into()),
        "loglevel" => LOG_LEVELS.iter().any(|l| l.eq_ignore_ascii_case(value)),
        _ => true,
    }
}
