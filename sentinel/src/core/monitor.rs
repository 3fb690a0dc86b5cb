//! Probing: PING, INFO and hello at their intervals, and what the replies say.

use super::info::Info;
use super::link::{Channel, ConnId, LinkKey, Pending};
use super::model::{FailoverState, Instance, MasterId, Reconf, Replica, Role, Target};
use super::names::Unresolved;
use super::timers::{Due, INFO_PERIOD_FAST_MS, MAX_PENDING_COMMANDS, Ms, ROLE_POLL_MS};
use super::value::Value;
use super::{Core, Level};

impl Core {
    /// Sends the probes of an instance that are due.
    pub(super) fn probe_due(&mut self, m: usize, target: &Target, now: Ms, due: &mut Due) {
        let Some(instance) = self.instance(m, target) else { return };
        let (key, asked, published) = (instance.link, instance.info_asked_at, instance.published_at);
        let Some(link) = self.links.get(&key).filter(|l| l.up().is_some()) else { return };
        if link.pending.len() >= MAX_PENDING_COMMANDS * link.users.len() {
            return;
        }
        // Of the masters that share a link one looks after it.
        if link.users.first().is_some_and(|(id, who)| *id == self.masters[m].id && who == target) {
            let mut interval = self.probe_interval(key);
            if link.silent_ms(now) > self.masters[m].cfg.down_after_ms {
                // A process that is down all the same is not buried under PINGs.
                interval = interval.max(self.timers.ping_period / 2);
            }
            if link.pinged_at.is_none_or(|at| due.passed(now, at + interval)) {
                self.ping(key, now);
                due.at(now + interval);
            }
        }
        if !matches!(target, Target::Peer(_)) {
            let at = asked.map_or(now, |asked| self.info_due_at(m, target, asked));
            let waiting = self.links.get(&key).is_some_and(|l| l.pending.iter().any(is_info));
            if (!waiting || asked.is_none_or(|a| now - a >= INFO_PERIOD_FAST_MS)) && due.passed(now, at) {
                // What is asked for often need not tell everything.
                let full =
                    asked.is_none_or(|at| now - at >= INFO_PERIOD_FAST_MS.min(self.timers.info_period));
                self.ask_info(m, target, full, now);
                due.at(self.info_due_at(m, target, now));
            }
        }
        if published.is_none_or(|at| due.passed(now, at + self.timers.publish_period)) {
            self.publish_hello(m, target, now);
            due.at(now + self.timers.publish_period);
        }
    }

    pub(super) fn ask_info(&mut self, m: usize, target: &Target, full: bool, now: Ms) {
        let parts: &[&str] = if full { &["INFO"] } else { &["INFO", "replication"] };
        self.send_to(m, target, parts, Pending::Info { full });
        if let Some(i) = self.masters[m].instance_mut(target) {
            i.info_asked_at = Some(now);
        }
    }

    /// Asks every connected replica how far it is.
    pub(super) fn refresh_replicas(&mut self, m: usize, now: Ms) {
        let names: Vec<String> = self.masters[m].replicas.keys().cloned().collect();
        for name in names {
            let target = Target::Replica(name);
            if self.connected_to(m, &target).is_some() {
                self.ask_info(m, &target, false, now);
            }
        }
    }

    /// When the INFO after the one asked for at `asked` is due.
    fn info_due_at(&self, m: usize, target: &Target, asked: Ms) -> Ms {
        let master = &self.masters[m];
        let period = self.timers.info_period;
        let Target::Replica(name) = target else { return asked + period };
        let Some(replica) = master.replicas.get(name) else { return asked + period };
        let changing_since = match (replica.reconf, &master.failover) {
            (Reconf::Sent(at) | Reconf::InProgress(at), Some(_)) => Some(at),
            (_, Some(f)) if replica.promoted && f.state == FailoverState::WaitPromotion => Some(f.state_at),
            _ => None,
        };
        let fast = master.o_down_since.is_some() || master.failover.is_some() || replica.link_down_ms != 0;
        let interval = match changing_since {
            // A role change takes milliseconds, a full synchronisation may take hours.
            Some(at) => (asked.saturating_sub(at) / 10).clamp(*ROLE_POLL_MS.start(), *ROLE_POLL_MS.end()),
            None if fast => INFO_PERIOD_FAST_MS.min(period),
            None => period,
        };
        match self.correction_due_at(m, replica) {
            Some(at) if at > asked => (asked + interval).min(at),
            _ => asked + interval,
        }
    }

    /// When a replica in a wrong role or under a wrong master may be corrected.
    fn correction_due_at(&self, m: usize, replica: &Replica) -> Option<Ms> {
        let master = &self.masters[m];
        if replica.promoted {
            None
        } else if replica.me.role_reported == Role::Master {
            Some(replica.me.role_reported_at + 4 * self.timers.publish_period + 1)
        } else if !replica.master_host.as_ref().is_some_and(|h| master.me.addr.is(h, replica.master_port)) {
            Some(replica.conf_changed_at + master.cfg.failover_timeout_ms + 1)
        } else {
            None
        }
    }

    /// A reply or a message on one of our connections.
    pub(super) fn reply(&mut self, conn: ConnId, value: Value, now: Ms) {
        let Some(&(key, channel)) = self.conns.get(&conn) else { return };
        let Some(link) = self.links.get_mut(&key) else { return };
        if channel == Channel::PubSub {
            link.pubsub_heard_at = now;
            if let Some(text) = hello_text(&value) {
                self.hello(&text, false, now);
            }
            return;
        }
        let Some(pending) = link.pending.pop_front() else { return };
        match pending {
            // What most replies are: everything is as it was.
            Pending::Ping if !self.pong(key, &value, now) => return,
            Pending::Ping => return self.evaluate_users_alone(key, now),
            Pending::Ignored(_) if value.error_text().is_none() => return,
            Pending::Ignored(name) => {
                self.note_error(key, name, &value);
                if value.error_text().is_some_and(|text| text.starts_with(b"NOAUTH")) {
                    // A connection without rights is none: both are made anew, in case the password changes. A wrong
                    // password alone takes no rights away: who needs none lets everybody in.
                    self.close_link(key, now + self.timers.ping_period);
                }
            }
            Pending::Info { full } => {
                if let (Value::Bulk(text), Some((id, target))) = (&value, self.sole_user(key)) {
                    let text = String::from_utf8_lossy(text).into_owned();
                    self.info(id, &target, text, full, now);
                } else {
                    self.note_error(key, "INFO", &value);
                }
            }
            Pending::Exec => self.transaction_done(key, &value, now),
            Pending::Pause(id) => self.pause_answered(id, &value, now),
            Pending::Ask { master, epoch } => {
                // The others behind the link are not concerned.
                self.peer_answered(master, epoch, key, &value, now);
                return self.evaluate(master, now);
            }
            Pending::Epochs { master, at } => {
                self.epochs_answered(master, at, key, &value, now);
                return self.evaluate(master, now);
            }
        }
        self.evaluate_users(key, now);
    }

    /// The instance behind a link that is not shared.
    pub(super) fn sole_user(&self, key: LinkKey) -> Option<(MasterId, Target)> {
        self.links.get(&key)?.users.first().cloned()
    }

    /// An error that has no consequence but that an operator will want to know of.
    pub(super) fn note_error(&mut self, key: LinkKey, command: &str, value: &Value) {
        let Value::Error(text) = value else { return };
        let addr = self.links.get(&key).map(|l| l.addr.name(false)).unwrap_or_default();
        let level = if command == "AUTH" { Level::Warning } else { Level::Debug };
        self.log(level, format!("{addr} answered {command} with: {}", String::from_utf8_lossy(text)));
    }

    /// The answer to a PING. Whether anything changed by it but the time of the last answer.
    fn pong(&mut self, key: LinkKey, value: &Value, now: Ms) -> bool {
        let text: &[u8] = match value {
            Value::Simple(text) | Value::Error(text) => text,
            _ => return false,
        };
        let available = [&b"PONG"[..], b"LOADING", b"MASTERDOWN"].iter().any(|w| text.starts_with(w));
        let Some(link) = self.links.get_mut(&key) else { return false };
        link.pong_at = now;
        if available {
            link.available_at = now;
            link.unanswered_since = None;
        }
        let mut news = false;
        for at in 0..link.users.len() {
            let Some((id, target)) = self.links.get(&key).and_then(|l| l.users.get(at)).cloned() else {
                break;
            };
            let Some(m) = self.index(id) else { continue };
            news |= self.masters[m].instance(&target).is_some_and(Instance::s_down);
            if target == Target::Master && text.starts_with(b"PONG") {
                news |= self.masters[m].rebooted_at.take().is_some();
            }
            if text.starts_with(b"BUSY") {
                self.kill_script(m, &target);
            }
        }
        news
    }

    /// A node that is down because a script blocks it is asked, once, to end the script.
    fn kill_script(&mut self, m: usize, target: &Target) {
        let Some(i) = self.masters[m].instance_mut(target).filter(|i| i.s_down() && !i.script_kill_sent)
        else {
            return;
        };
        i.script_kill_sent = true;
        self.send_to(m, target, &["SCRIPT", "KILL"], Pending::Ignored("SCRIPT"));
    }

    fn info(&mut self, id: MasterId, target: &Target, text: String, full: bool, now: Ms) {
        let Some(m) = self.index(id) else { return };
        let info = Info::parse(&text);
        let timers_reboot = self.masters[m].cfg.reboot_down_after_ms;
        let Some(instance) = self.masters[m].instance_mut(target) else { return };
        if full {
            instance.info_text = text;
        }
        instance.info_at = Some(now);
        let rebooted = match (&info.run_id, &instance.run_id) {
            (Some(new), Some(old)) => new != old,
            _ => false,
        };
        if info.run_id.is_some() {
            instance.run_id = info.run_id.clone();
        }
        let changed_role = info.role.filter(|r| *r != instance.role_reported);
        if let Some(role) = changed_role {
            instance.role_reported = role;
            instance.role_reported_at = now;
        }
        if rebooted {
            self.event(Level::Notice, "+reboot", m, target, "");
            if *target == Target::Master && timers_reboot != 0 {
                self.masters[m].rebooted_at = Some(now);
            }
        }
        match target {
            Target::Master => {
                self.discover_replicas(m, &info, now);
                self.note_guard(m, info.guarded, now);
                self.note_master_offset(m, &info, now);
            }
            Target::Replica(name) => self.note_replica_state(m, name, &info, changed_role, now),
            Target::Peer(_) => {}
        }
        if let Some(role) = changed_role {
            let expected = if *target == Target::Master { Role::Master } else { Role::Slave };
            let event = if role == expected { "+role-change" } else { "-role-change" };
            self.event(Level::Verbose, event, m, target, &format!(" new reported role is {}", role.word()));
        }
        if let Target::Replica(name) = target
            && !self.tilt.active()
        {
            if changed_role == Some(Role::Master) && self.masters[m].failover.is_none() {
                // Whether it is a stray or we missed its promotion, the others know.
                self.publish_to_all(m, now);
            }
            self.act_on_replica(m, name, now);
        }
    }

    fn discover_replicas(&mut self, m: usize, info: &Info, now: Ms) {
        for (host, port) in &info.replicas {
            let addr = match self.resolve(host, *port) {
                Ok(addr) => addr,
                // It comes again with the next INFO.
                Err(Unresolved::Pending) => continue,
                Err(Unresolved::Invalid) => {
                    self.log(Level::Warning, format!("Failed to resolve hostname '{host}'"));
                    continue;
                }
            };
            if let Some(known) = self.masters[m].replicas.values_mut().find(|r| r.me.addr.same(&addr)) {
                known.named_at = now;
            } else if let Some(target) = self.add_replica(m, addr, now) {
                self.event(Level::Notice, "+slave", m, &target, "");
                self.save();
            }
        }
    }

    fn note_replica_state(&mut self, m: usize, name: &str, info: &Info, role: Option<Role>, now: Ms) {
        let Some(replica) = self.masters[m].replicas.get_mut(name) else { return };
        replica.link_down_ms = info.link_down_ms;
        if role == Some(Role::Slave) {
            replica.conf_changed_at = now;
        }
        if info.role != Some(Role::Slave) {
            return;
        }
        let same_host = match (&info.master_host, &replica.master_host) {
            (Some(new), Some(old)) => new.eq_ignore_ascii_case(old),
            (new, _) => new.is_none(),
        };
        let same_port = info.master_port.is_none_or(|p| p == replica.master_port);
        if !same_host || !same_port {
            replica.conf_changed_at = now;
            replica.master_host = info.master_host.clone().or(replica.master_host.take());
            replica.master_port = info.master_port.unwrap_or(replica.master_port);
        }
        replica.link_up = info.link_up.unwrap_or(replica.link_up);
        replica.priority = info.priority.unwrap_or(replica.priority);
        replica.offset = info.offset.unwrap_or(replica.offset);
        replica.announced = info.announced.unwrap_or(replica.announced);
    }

    /// What a replica's role means: a promotion is proven, a stray is corrected, a reconfiguration proceeds.
    fn act_on_replica(&mut self, m: usize, name: &str, now: Ms) {
        let state = self.masters[m].failover_state();
        let Some(replica) = self.masters[m].replicas.get(name) else { return };
        let (promoted, role) = (replica.promoted, replica.me.role_reported);
        if promoted && role == Role::Master && state == Some(FailoverState::WaitPromotion) {
            // It may have been a master before: what it said before it answered the transaction proves nothing.
            let answered =
                self.links.get(&replica.me.link).is_some_and(|l| !l.pending.contains(&Pending::Exec));
            return if answered {
                self.promotion_proven(m, name, now)
            };
        }
        self.follow_reconfiguration(m, name, now);
        let Some(replica) = self.masters[m].replicas.get(name) else { return };
        let overdue = self.correction_due_at(m, replica).is_some_and(|at| now >= at);
        let grace = match role {
            Role::Master => 4 * self.timers.publish_period,
            Role::Slave => self.masters[m].cfg.failover_timeout_ms,
        };
        let steady = replica.me.last_down_at.is_none_or(|at| now - at > grace);
        // The grace is for word of a newer configuration to come; a majority that has none ends it.
        let confirmed = role == Role::Master
            && !promoted
            && self.configuration_confirmed(m, replica.me.role_reported_at, now);
        let idle = state.is_none() && self.masters[m].coming.is_none();
        let since = replica.me.role_reported_at;
        if role == Role::Master && !promoted && !confirmed {
            self.ask_epochs(m, since, now);
        }
        if (confirmed || (overdue && steady)) && idle && self.looks_sane(m, now) {
            let hostnames = self.globals.announce_hostnames;
            let addr = &self.masters[m].me.addr;
            let master = (addr.announced(hostnames).to_string(), addr.port);
            let target = Target::Replica(name.to_string());
            if self.send_slaveof(m, &target, Some(master)) {
                let event = if role == Role::Master { "+convert-to-slave" } else { "+fix-slave-config" };
                self.event(Level::Notice, event, m, &target, "");
                // Should it not obey, it is told again after another full grace.
                if let Some(r) = self.masters[m].replicas.get_mut(name) {
                    r.conf_changed_at = now;
                    r.me.role_reported_at = now;
                }
            }
        }
    }

    fn follow_reconfiguration(&mut self, m: usize, name: &str, now: Ms) {
        let Some(new_master) = self.masters[m].promoted().map(|r| r.me.addr.clone()) else { return };
        let Some(replica) = self.masters[m].replicas.get_mut(name) else { return };
        let follows = replica.me.role_reported == Role::Slave
            && replica.master_host.as_ref().is_some_and(|h| new_master.is(h, replica.master_port));
        let mut events = Vec::new();
        if let (Reconf::Sent(_), true) = (replica.reconf, follows) {
            replica.reconf = Reconf::InProgress(now);
            events.push("+slave-reconf-inprog");
        }
        if matches!(replica.reconf, Reconf::InProgress(_)) && replica.link_up {
            replica.reconf = Reconf::Done;
            events.push("+slave-reconf-done");
        }
        for event in events {
            self.event(Level::Notice, event, m, &Target::Replica(name.to_string()), "");
        }
    }
}

fn is_info(pending: &Pending) -> bool {
    matches!(pending, Pending::Info { .. })
}

/// The payload of a message on the hello channel.
fn hello_text(value: &Value) -> Option<String> {
    match value {
        Value::Array(items) => match items.as_slice() {
            [Value::Bulk(kind), Value::Bulk(_), Value::Bulk(text)] if kind == b"message" => {
                Some(String::from_utf8_lossy(text).into_owned())
            }
            _ => None,
        },
        _ => None,
    }
}
