//! What must survive a restart, and what must not leave before it is on disk.
//!
//! Any change asks for a write; writes go one at a time, each with the state of its moment,
//! so that changes made while one is under way share the next. What depends on a write (the reply
//! that gives a vote, the request for votes in an epoch of our own, the OK of a command that changes
//! the configuration) waits here for it.

use super::model::MasterId;
use super::timers::{Ms, PERSIST_RETRY_MS};
use super::{ClientId, Core, Level, Output, format_directive};

/// One directive of the state. A line of the file with the same `key` gives way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateLine {
    /// Directive and option, and the master's name where it has one: `sentinel monitor mymaster`.
    pub key: String,
    /// The line.
    pub text: String,
    /// It says what holds without it: it only replaces a line that is there.
    pub only_if_present: bool,
}

/// What waits for a write.
#[derive(Debug)]
pub(super) enum Deferred {
    /// A client's reply, and the one in its place if the write fails.
    Reply { client: ClientId, done: Vec<u8>, failed: Vec<u8> },
    /// Asking for votes.
    Candidacy { master: MasterId, epoch: u64 },
    /// Acting on a newer configuration and telling it, which a failed write does not hold up.
    Configuration { master: MasterId, epoch: u64 },
}

/// The write under way and what waits.
#[derive(Debug, Default)]
pub(super) struct Persist {
    wanted: u64,
    in_flight: Option<u64>,
    started_at: Ms,
    /// How long writes take of late: the longest, halved with each quicker one.
    pub(super) usual_ms: Ms,
    durable: u64,
    retry_at: Option<Ms>,
    deferred: Vec<(u64, Deferred)>,
}

impl Persist {
    pub(super) fn due(&self) -> Ms {
        self.retry_at.unwrap_or(Ms::MAX)
    }

    pub(super) fn is_writing(&self) -> bool {
        self.in_flight.is_some()
    }
}

impl Core {
    /// Asks for a write of the state as it will be at the end of this turn; returns the write's number.
    pub(super) fn save(&mut self) -> u64 {
        if self.persist.in_flight == Some(self.persist.wanted) || self.persist.wanted == self.persist.durable
        {
            self.persist.wanted += 1;
        }
        self.persist.retry_at = None;
        self.persist.wanted
    }

    /// Does `what` once the write `seq` is done; at once if it is.
    pub(super) fn defer(&mut self, seq: u64, what: Deferred) {
        if seq > self.persist.durable {
            self.persist.deferred.push((seq, what));
        } else {
            self.run_deferred(what, true, self.tilt.last_look);
        }
    }

    pub(super) fn write_state(&mut self, now: Ms) {
        let p = &mut self.persist;
        let idle = p.in_flight.is_none() && p.wanted > p.durable;
        if idle && p.retry_at.is_none_or(|at| now >= at) {
            p.in_flight = Some(p.wanted);
            p.started_at = now;
            p.retry_at = None;
            let seq = p.wanted;
            let lines = self.state_lines();
            self.out.push_back(Output::Persist { seq, lines });
        }
    }

    pub(super) fn persisted(&mut self, seq: u64, result: Result<(), String>, now: Ms) {
        if self.persist.in_flight != Some(seq) {
            return;
        }
        self.persist.in_flight = None;
        self.persist.usual_ms = (now - self.persist.started_at).max(self.persist.usual_ms / 2);
        let done = result.is_ok();
        match result {
            Ok(()) => {
                self.persist.durable = seq;
                self.log(Level::Notice, "Sentinel new configuration saved on disk".into());
            }
            Err(error) => {
                self.log(
                    Level::Warning,
                    format!(
                        "WARNING: Sentinel was not able to save the new configuration on disk!!!: {error}"
                    ),
                );
                // A later change must not be taken for part of the failed write.
                self.persist.wanted = self.persist.wanted.max(seq + 1);
                self.persist.retry_at = Some(now + PERSIST_RETRY_MS);
            }
        }
        let (ready, rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.persist.deferred).into_iter().partition(|(s, _)| *s <= seq);
        self.persist.deferred = rest;
        for (_, what) in ready {
            self.run_deferred(what, done, now);
        }
    }

    fn run_deferred(&mut self, what: Deferred, done: bool, now: Ms) {
        match what {
            Deferred::Reply { client, done: ok, failed } => {
                self.out.push_back(Output::Reply { client, bytes: if done { ok } else { failed } });
            }
            Deferred::Candidacy { master, epoch } if done => self.candidacy_durable(master, epoch, now),
            // Nobody heard of it: the election runs out and another follows.
            Deferred::Candidacy { .. } => {}
            Deferred::Configuration { master, epoch } => self.configuration_written(master, epoch, now),
        }
    }

    /// The state as directives, in the order in which Redis writes them.
    fn state_lines(&self) -> Vec<StateLine> {
        let mut lines = Lines(Vec::new());
        let g = &self.globals;
        let yes_no = |b: bool| if b { "yes" } else { "no" };
        lines.global("myid", &self.id, false);
        lines.global("deny-scripts-reconfig", yes_no(!g.allow_scripts_reconfig), !g.allow_scripts_reconfig);
        lines.global("resolve-hostnames", yes_no(g.resolve_hostnames), !g.resolve_hostnames);
        lines.global("announce-hostnames", yes_no(g.announce_hostnames), !g.announce_hostnames);
        for master in &self.masters {
            self.master_lines(master, &mut lines);
        }
        lines.global("current-epoch", &self.epoch.to_string(), false);
        let port = g.announce_port.map(|p| p.to_string());
        let optional = [
            ("announce-ip", &g.announce_ip),
            ("announce-port", &port),
            ("sentinel-user", &g.sentinel_user),
            ("sentinel-pass", &g.sentinel_pass),
        ];
        for (option, value) in optional {
            if let Some(value) = value {
                lines.global(option, value, false);
            }
        }
        let loglevel = format_directive(&["loglevel", &g.loglevel]);
        let only_if_present = g.loglevel == "notice";
        lines.0.push(StateLine { key: "loglevel".into(), text: loglevel, only_if_present });
        lines.0
    }

    fn master_lines(&self, master: &super::model::Master, lines: &mut Lines) {
        let hostnames = self.globals.announce_hostnames;
        let cfg = &master.cfg;
        let name = cfg.name.as_str();
        let current = master.coming.as_ref().map_or(master.current_addr(), |coming| &coming.addr);
        let port = current.port.to_string();
        lines.of("monitor", name, &[current.announced(hostnames), &port, &cfg.quorum.to_string()]);
        let defaults = super::timers::Timers::default();
        let numbers = [
            ("down-after-milliseconds", cfg.down_after_ms, defaults.default_down_after),
            ("failover-timeout", cfg.failover_timeout_ms, defaults.default_failover_timeout),
            ("parallel-syncs", cfg.parallel_syncs as Ms, 1),
            ("down-on-refused", cfg.down_on_refused_ms, 0),
        ];
        for (option, value, default) in numbers {
            lines.push(option, name, &[&value.to_string()], value == default);
        }
        let texts = [
            ("notification-script", &cfg.notification_script),
            ("client-reconfig-script", &cfg.client_reconfig_script),
            ("auth-pass", &cfg.auth_pass),
            ("auth-user", &cfg.auth_user),
        ];
        for (option, value) in texts {
            if let Some(value) = value {
                lines.of(option, name, &[value]);
            }
        }
        if cfg.reboot_down_after_ms != 0 {
            lines.of("master-reboot-down-after-period", name, &[&cfg.reboot_down_after_ms.to_string()]);
        }
        lines.of("config-epoch", name, &[&master.newest_config_epoch().to_string()]);
        lines.of("leader-epoch", name, &[&master.leader_epoch.to_string()]);
        // While another address stands in the place of the entry's own, that one stands among the replicas.
        let own = Some(&master.me.addr).filter(|own| !own.same(current));
        let others = master.replicas.values().map(|r| &r.me.addr).filter(|addr| !addr.same(current));
        for addr in others.chain(own) {
            lines.of("known-replica", name, &[addr.announced(hostnames), &addr.port.to_string()]);
        }
        let peers = master.peers.iter().map(|(id, peer)| (id, &peer.me.addr));
        for (id, addr) in peers.chain(&master.forgotten) {
            lines.of("known-sentinel", name, &[addr.announced(hostnames), &addr.port.to_string(), id]);
        }
        for ip in &cfg.vips {
            lines.of("vip", name, &[&ip.to_string()]);
        }
        for (old, new) in &cfg.renames {
            lines.of("rename-command", name, &[old, new]);
        }
    }
}

struct Lines(Vec<StateLine>);

impl Lines {
    fn global(&mut self, option: &str, value: &str, only_if_present: bool) {
        let key = format!("sentinel {option}");
        let text = format_directive(&["sentinel", option, value]);
        self.0.push(StateLine { key, text, only_if_present });
    }

    fn of(&mut self, option: &str, master: &str, values: &[&str]) {
        self.push(option, master, values, false);
    }

    fn push(&mut self, option: &str, master: &str, values: &[&str], only_if_present: bool) {
        let key = format!("sentinel {option} {master}");
        let words: Vec<&str> =
            ["sentinel", option, master].into_iter().chain(values.iter().copied()).collect();
        self.0.push(StateLine { key, text: format_directive(&words), only_if_present });
    }
}
