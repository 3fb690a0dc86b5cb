//! The subcommands that show state. The order of the fields is Redis's: clients index into it.

use redoubt_wire::resp::reply::Reply;

use super::{Answer, Call};
use crate::core::Core;
use crate::core::link::Link;
use crate::core::model::{Master, Reconf, Target};
use crate::core::timers::Ms;

/// The fields of one instance, as text.
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn add(&mut self, name: &'static str, value: impl ToString) {
        self.0.push((name, value.to_string()));
    }

    fn write(self, reply: &mut Reply) {
        reply.map(self.0.len());
        for (name, value) in self.0 {
            reply.bulk(name.as_bytes());
            reply.bulk(value.as_bytes());
        }
    }
}

impl Core {
    pub(super) fn all_masters(&mut self, call: &mut Call) -> Answer {
        call.reply.array(self.masters.len());
        for m in 0..self.masters.len() {
            self.fields(m, &Target::Master, call.now).write(&mut call.reply);
        }
        Answer::Now
    }

    pub(super) fn master(&mut self, call: &mut Call) -> Answer {
        if let Some(m) = self.named(call) {
            self.fields(m, &Target::Master, call.now).write(&mut call.reply);
        }
        Answer::Now
    }

    pub(super) fn replicas(&mut self, call: &mut Call) -> Answer {
        let Some(m) = self.named(call) else { return Answer::Now };
        let shown = self.masters[m].replicas.iter().filter(|(_, r)| r.announced);
        let targets: Vec<Target> = shown.map(|(name, _)| Target::Replica(name.clone())).collect();
        self.write_all(m, &targets, call);
        Answer::Now
    }

    pub(super) fn sentinels(&mut self, call: &mut Call) -> Answer {
        let Some(m) = self.named(call) else { return Answer::Now };
        let targets: Vec<Target> = self.masters[m].peers.keys().cloned().map(Target::Peer).collect();
        self.write_all(m, &targets, call);
        Answer::Now
    }

    fn write_all(&self, m: usize, targets: &[Target], call: &mut Call) {
        call.reply.array(targets.len());
        for target in targets {
            self.fields(m, target, call.now).write(&mut call.reply);
        }
    }

    fn fields(&self, m: usize, target: &Target, now: Ms) -> Fields {
        let mut fields = Fields(Vec::new());
        let master = &self.masters[m];
        let (Some(i), Some(link)) = (master.instance(target), self.link_of(m, target)) else { return fields };
        let name = match target {
            Target::Master => master.name(),
            Target::Replica(name) | Target::Peer(name) => name,
        };
        fields.add("name", name);
        fields.add("ip", i.addr.announced(self.globals.announce_hostnames));
        fields.add("port", i.addr.port);
        fields.add("runid", i.run_id.as_deref().unwrap_or_default());
        fields.add("flags", self.flags(m, target));
        fields.add("link-pending-commands", link.pending.len());
        fields.add("link-refcount", link.users.len());
        if let (Target::Master, Some(state)) = (target, master.failover_state()) {
            fields.add("failover-state", state.word());
        }
        // What cannot even be connected to counts as asked and silent.
        let unanswered = link.unanswered_since.or(link.up().is_none().then_some(link.available_at));
        fields.add("last-ping-sent", unanswered.map_or(0, |at| now - at));
        fields.add("last-ok-ping-reply", now - link.available_at);
        fields.add("last-ping-reply", now - link.pong_at);
        if let Some(since) = i.s_down_since {
            fields.add("s-down-time", now - since);
        }
        if let (Target::Master, Some(since)) = (target, master.o_down_since) {
            fields.add("o-down-time", now - since);
        }
        fields.add("down-after-milliseconds", master.cfg.down_after_ms);
        if !matches!(target, Target::Peer(_)) {
            fields.add("info-refresh", i.info_at.map_or(0, |at| now - at));
            fields.add("role-reported", i.role_reported.word());
            fields.add("role-reported-time", now - i.role_reported_at);
        }
        match target {
            Target::Master => master_fields(master, &mut fields),
            Target::Replica(name) => replica_fields(master, name, &mut fields),
            Target::Peer(id) => peer_fields(master, id, now, &mut fields),
        }
        fields
    }

    fn flags(&self, m: usize, target: &Target) -> String {
        let master = &self.masters[m];
        let is_master = *target == Target::Master;
        let replica = match target {
            Target::Replica(name) => master.replicas.get(name),
            _ => None,
        };
        let peer = match target {
            Target::Peer(id) => master.peers.get(id),
            _ => None,
        };
        let instance = master.instance(target);
        let reconf = replica.map(|r| r.reconf);
        let failover = master.failover.as_ref().filter(|_| is_master);
        let flags = [
            ("s_down", instance.is_some_and(|i| i.s_down())),
            ("o_down", is_master && master.o_down_since.is_some()),
            ("master", is_master),
            ("slave", replica.is_some()),
            ("sentinel", peer.is_some()),
            ("disconnected", !self.link_of(m, target).is_some_and(Link::is_whole)),
            ("master_down", peer.is_some_and(|p| p.says_down)),
            ("failover_in_progress", failover.is_some()),
            ("promoted", replica.is_some_and(|r| r.promoted)),
            ("reconf_sent", matches!(reconf, Some(Reconf::Sent(_)))),
            ("reconf_inprog", matches!(reconf, Some(Reconf::InProgress(_)))),
            ("reconf_done", reconf == Some(Reconf::Done)),
            ("force_failover", failover.is_some_and(|f| f.forced())),
            ("script_kill_sent", instance.is_some_and(|i| i.script_kill_sent)),
            ("master_reboot", is_master && master.rebooted_at.is_some()),
        ];
        let set: Vec<&str> = flags.into_iter().filter(|(_, on)| *on).map(|(name, _)| name).collect();
        set.join(",")
    }

    pub(super) fn get_master_addr(&mut self, call: &mut Call) -> Answer {
        let hostnames = self.globals.announce_hostnames;
        match call.args.first().and_then(|name| self.index_by_name(name)) {
            None => call.reply.null_array(),
            Some(m) => {
                let addr = self.masters[m].current_addr();
                call.reply.array(2);
                call.reply.bulk(addr.announced(hostnames).as_bytes());
                call.reply.bulk_integer(addr.port.into());
            }
        }
        Answer::Now
    }

    pub(super) fn ckquorum(&mut self, call: &mut Call) -> Answer {
        let Some(m) = self.named(call) else { return Answer::Now };
        let master = &self.masters[m];
        let usable = 1 + master.peers.values().filter(|p| !p.me.s_down()).count();
        let quorum = usable >= master.cfg.quorum as usize;
        let voters = master.peers.len() + 1;
        let majority = usable > voters / 2;
        if quorum && majority {
            let text =
                format!("OK {usable} usable Sentinels. Quorum and failover authorization can be reached");
            call.reply.simple(&text);
            return Answer::Now;
        }
        let mut missing = Vec::new();
        if !quorum {
            missing.push("Not enough available Sentinels to reach the specified quorum for this master");
        }
        if !majority {
            missing.push("Not enough available Sentinels to reach the majority and authorize a failover");
        }
        call.reply.error(&format!("NOQUORUM {usable} usable Sentinels. {}", missing.join(". ")));
        Answer::Now
    }

    pub(super) fn info_cache(&mut self, call: &mut Call) -> Answer {
        let mut known: Vec<usize> = call.args.iter().filter_map(|name| self.index_by_name(name)).collect();
        known.sort_unstable();
        known.dedup();
        call.reply.array(2 * known.len());
        for m in known {
            let master = &self.masters[m];
            call.reply.bulk(master.name().as_bytes());
            let nodes = std::iter::once(&master.me).chain(master.replicas.values().map(|r| &r.me));
            call.reply.array(1 + master.replicas.len());
            for i in nodes {
                call.reply.array(2);
                call.reply.integer(i.info_at.map_or(0, |at| call.now - at) as i64);
                match i.info_text.as_str() {
                    "" => call.reply.null(),
                    text => call.reply.bulk(text.as_bytes()),
                }
            }
        }
        Answer::Now
    }

    pub(super) fn myid(&mut self, call: &mut Call) -> Answer {
        call.reply.bulk(self.id.as_bytes());
        Answer::Now
    }

    pub(super) fn pending_scripts(&mut self, call: &mut Call) -> Answer {
        call.reply.array(self.scripts.jobs.len());
        for job in &self.scripts.jobs {
            call.reply.map(5);
            call.reply.bulk(b"argv");
            let argv = job.argv();
            call.reply.array(argv.len());
            argv.iter().for_each(|word| call.reply.bulk(word.as_bytes()));
            let (state, time_name, time) = match job.running_since {
                Some(since) => ("running", "run-time", call.now - since),
                None => ("scheduled", "run-delay", job.not_before.saturating_sub(call.now)),
            };
            call.reply.bulk(b"flags");
            call.reply.bulk(state.as_bytes());
            call.reply.bulk(b"pid");
            call.reply.bulk_integer(job.pid.into());
            call.reply.bulk(time_name.as_bytes());
            call.reply.bulk_integer(time as i64);
            call.reply.bulk(b"retry-num");
            call.reply.bulk_integer(job.call.attempts.into());
        }
        Answer::Now
    }

    /// The section `Sentinel` of INFO.
    pub fn info_section(&self, now: Ms) -> String {
        let tilt_seconds = self.tilt.since.map_or(-1, |at| (now.saturating_sub(at) / 1000) as i64);
        let failures = u32::from(self.crash_after_election) + 2 * u32::from(self.crash_after_promotion);
        let mut text = format!(
            "# Sentinel\r\nsentinel_masters:{}\r\nsentinel_tilt:{}\r\nsentinel_tilt_since_seconds:{tilt_seconds}\r\n\
             sentinel_running_scripts:{}\r\nsentinel_scripts_queue_length:{}\r\n\
             sentinel_simulate_failure_flags:{failures}\r\n",
            self.masters.len(),
            u8::from(self.tilt.active()),
            self.scripts.running(),
            self.scripts.jobs.len(),
        );
        for (n, master) in self.masters.iter().enumerate() {
            let status = match (master.o_down_since, master.me.s_down_since) {
                (Some(_), _) => "odown",
                (None, Some(_)) => "sdown",
                (None, None) => "ok",
            };
            text += &format!(
                "master{n}:name={},status={status},address={}:{},slaves={},sentinels={}\r\n",
                master.name(),
                master.me.addr.announced(self.globals.announce_hostnames),
                master.me.addr.port,
                master.replicas.len(),
                master.peers.len() + 1,
            );
        }
        text
    }
}

fn master_fields(master: &Master, fields: &mut Fields) {
    fields.add("config-epoch", master.config_epoch);
    fields.add("num-slaves", master.replicas.len());
    fields.add("num-other-sentinels", master.peers.len());
    fields.add("quorum", master.cfg.quorum);
    fields.add("failover-timeout", master.cfg.failover_timeout_ms);
    fields.add("parallel-syncs", master.cfg.parallel_syncs);
    if let Some(path) = &master.cfg.notification_script {
        fields.add("notification-script", path);
    }
    if let Some(path) = &master.cfg.client_reconfig_script {
        fields.add("client-reconfig-script", path);
    }
    // Redoubt's own, and therefore last and only where it is on: clients index into this list.
    if master.cfg.down_on_refused_ms != 0 {
        fields.add("down-on-refused", master.cfg.down_on_refused_ms);
    }
    if !master.cfg.vips.is_empty() {
        let vips: Vec<String> = master.cfg.vips.iter().map(ToString::to_string).collect();
        fields.add("vip", vips.join(" "));
    }
}

fn replica_fields(master: &Master, name: &str, fields: &mut Fields) {
    let Some(replica) = master.replicas.get(name) else { return };
    fields.add("master-link-down-time", replica.link_down_ms);
    fields.add("master-link-status", if replica.link_up { "ok" } else { "err" });
    fields.add("master-host", replica.master_host.as_deref().unwrap_or("?"));
    fields.add("master-port", replica.master_port);
    fields.add("slave-priority", replica.priority);
    fields.add("slave-repl-offset", replica.offset);
    fields.add("replica-announced", u8::from(replica.announced));
}

fn peer_fields(master: &Master, id: &str, now: Ms, fields: &mut Fields) {
    let Some(peer) = master.peers.get(id) else { return };
    fields.add("last-hello-message", now - peer.hello_at);
    fields.add("voted-leader", peer.leader.as_deref().unwrap_or("?"));
    fields.add("voted-leader-epoch", peer.leader_epoch);
}
