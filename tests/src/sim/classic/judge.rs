//! What the model concludes from silence and from INFO, and what it asks and answers about a master
//! that may be down.

use redoubt_sentinel::core::info::Info;
use redoubt_sentinel::core::model::{Addr, FailoverState, Role};
use redoubt_sentinel::core::timers::Ms;
use redoubt_sentinel::core::value::Value;
use redoubt_wire::resp::reply::Reply;

use super::links::LinkId;
use super::{Classic, Reconf, Target};

impl Classic {
    /// SDOWN, and connections that have gone quiet.
    pub(super) fn judge(&mut self, m: usize, target: &Target, now: Ms) {
        let limit = self.masters[m].cfg.down_after_ms;
        let young = self.timers.min_link_reconnect_period;
        let hello_limit = 3 * self.timers.publish_period;
        let info_period = self.timers.info_period;
        let Some(instance) = self.masters[m].instance(target) else { return };
        let id = instance.link;
        let demoted = *target == Target::Master
            && instance.role == Role::Slave
            && now.saturating_sub(instance.role_at) > limit + 2 * info_period;
        let Some(link) = self.links.get(&id) else { return };
        let since = |at: Ms| now.saturating_sub(at);
        let elapsed = match link.unanswered_at {
            Some(at) => since(at),
            None if !link.whole => since(link.available_at),
            None => 0,
        };
        let stuck = link.unanswered_at.is_some_and(|at| since(at) > limit / 2)
            && since(link.pong_at) > limit / 2
            && since(link.connected_at) > young;
        let deaf = since(link.subscribed_at) > young && since(link.heard_at) > hello_limit;
        if stuck && self.has_commands(id) {
            self.close(id, true);
        }
        if deaf && self.has_hellos(id) {
            self.close(id, false);
        }
        let down = elapsed > limit || demoted;
        let Some(instance) = self.masters[m].instance_mut(target) else { return };
        if down == instance.s_down_since.is_some() {
            return;
        }
        instance.s_down_since = down.then_some(now);
        if down {
            instance.was_down_at = now;
        }
        self.event(if down { "+sdown" } else { "-sdown" }, m, target);
    }

    pub(super) fn judge_objectively(&mut self, m: usize) {
        let master = &mut self.masters[m];
        let agreeing = 1 + master.peers.iter().filter(|p| p.says_down).count();
        let down = master.me.s_down_since.is_some() && agreeing >= master.cfg.quorum as usize;
        if down != master.o_down {
            master.o_down = down;
            self.event(if down { "+odown" } else { "-odown" }, m, &Target::Master);
        }
    }

    /// Asks the others whether they see the master down; with our id as soon as a failover of ours is under way.
    pub(super) fn ask_peers(&mut self, m: usize, forced: bool, now: Ms) {
        let period = self.timers.ask_period;
        let master = &mut self.masters[m];
        let run_id = if master.failover.is_some() { self.id.clone() } else { "*".to_string() };
        let (host, port) = (master.me.addr.ip.clone(), master.me.addr.port.to_string());
        let down = master.me.s_down_since.is_some();
        let mut ask: Vec<LinkId> = Vec::new();
        for peer in &mut master.peers {
            let age = now.saturating_sub(peer.answered_at);
            if age > 5 * period {
                peer.says_down = false;
                peer.leader = None;
            }
            if down && (forced || age >= period) {
                ask.push(peer.me.link);
            }
        }
        let epoch = self.epoch.to_string();
        for link in ask {
            if self.links.get(&link).is_some_and(|l| l.whole) {
                let parts = ["SENTINEL", "is-master-down-by-addr", &host, &port, &epoch, &run_id];
                self.ask(m, link, &parts);
            }
        }
    }

    pub(super) fn answered(&mut self, number: u64, link: LinkId, value: &Value, now: Ms) {
        let Some(m) = self.index(number) else { return };
        let Some(peer) = self.masters[m].peers.iter_mut().find(|p| p.me.link == link) else { return };
        let Some([Value::Integer(down), Value::Bulk(leader), Value::Integer(epoch)]) = value.as_slice()
        else {
            return;
        };
        peer.answered_at = now;
        peer.says_down = *down == 1;
        if leader != b"*" {
            peer.leader = Some(String::from_utf8_lossy(leader).into_owned());
            peer.leader_epoch = *epoch as u64;
        }
    }

    pub(super) fn is_master_down(
        &mut self,
        reply: &mut Reply,
        host: &str,
        port: &str,
        epoch: &str,
        run_id: &str,
        now: Ms,
    ) {
        let port = port.parse().unwrap_or(0);
        let found = self.masters.iter().position(|m| m.me.addr.is(host, port));
        let down =
            found.is_some_and(|m| self.masters[m].me.s_down_since.is_some()) && self.tilt_since.is_none();
        let mut vote = (None, 0);
        if let (Some(m), Ok(epoch)) = (found, epoch.parse())
            && run_id != "*"
        {
            vote = self.vote(m, epoch, run_id, now);
        }
        reply.array(3);
        reply.integer(down.into());
        reply.bulk(vote.0.as_deref().unwrap_or("*").as_bytes());
        reply.integer(vote.1 as i64);
    }

    /// An INFO: replicas are found, roles noted, strays corrected, failovers seen to proceed.
    pub(super) fn info(&mut self, number: u64, target: &Target, info: &Info, now: Ms) {
        let Some(m) = self.index(number) else { return };
        let Some(instance) = self.masters[m].instance_mut(target) else { return };
        instance.info_at = now;
        instance.run_id = info.run_id.clone().or(instance.run_id.take());
        let role = info.role.unwrap_or(instance.role);
        let changed = role != instance.role;
        if changed {
            instance.role = role;
            instance.role_at = now;
        }
        match target {
            Target::Master => {
                for (host, port) in &info.replicas {
                    let addr = Addr::of_ip(host, *port);
                    if self.add_replica(m, addr.clone(), now) {
                        self.event("+slave", m, &Target::Replica(addr));
                        self.flush();
                    }
                }
            }
            Target::Replica(addr) => self.info_of_replica(m, addr, info, changed, now),
            Target::Peer(_) => {}
        }
    }

    fn info_of_replica(&mut self, m: usize, addr: &Addr, info: &Info, changed: bool, now: Ms) {
        let Some(r) = self.masters[m].replicas.iter_mut().find(|r| r.me.addr == *addr) else { return };
        r.link_down_ms = info.link_down_ms;
        let role = r.me.role;
        if role == Role::Slave {
            let moved = info.master_host != r.master_host
                || info.master_port.is_some_and(|port| port != r.master_port);
            if moved || changed {
                r.conf_at = now;
            }
            r.master_host = info.master_host.clone();
            r.master_port = info.master_port.unwrap_or(r.master_port);
            r.link_up = info.link_up.unwrap_or(r.link_up);
            r.priority = info.priority.unwrap_or(r.priority);
            r.offset = info.offset.unwrap_or(r.offset);
        }
        if self.tilt_since.is_some() {
            return;
        }
        let promoted = r.promoted;
        if role == Role::Master && promoted && self.masters[m].failover == Some(FailoverState::WaitPromotion)
        {
            return self.promotion_seen(m, addr, now);
        }
        self.correct(m, addr, now);
        self.follow_reconfiguration(m, addr);
    }

    /// A replica that takes itself for a master, or follows another, is told whom to follow, if that has been so
    /// for long and the master is in good health.
    fn correct(&mut self, m: usize, addr: &Addr, now: Ms) {
        let master = &self.masters[m];
        let Some(r) = master.replicas.iter().find(|r| r.me.addr == *addr) else { return };
        let own = &master.me.addr;
        let follows = r.master_host.as_ref().is_some_and(|host| own.is(host, r.master_port));
        let (grace, since, event) = match r.me.role {
            Role::Master if !r.promoted => {
                (4 * self.timers.publish_period, r.me.role_at, "+convert-to-slave")
            }
            Role::Slave if !follows => (master.cfg.failover_timeout_ms, r.conf_at, "+fix-slave-config"),
            _ => return,
        };
        let sane = master.me.role == Role::Master
            && master.me.s_down_since.is_none()
            && !master.o_down
            && now.saturating_sub(master.me.info_at) < 2 * self.timers.info_period;
        let steady = r.me.was_down_at == 0 || now.saturating_sub(r.me.was_down_at) > grace;
        let (link, own) = (r.me.link, own.clone());
        if sane && steady && now.saturating_sub(since) > grace && self.send_slaveof(link, Some(&own)) {
            self.event(event, m, &Target::Replica(addr.clone()));
        }
    }

    fn follow_reconfiguration(&mut self, m: usize, addr: &Addr) {
        let Some(new) = self.masters[m].promoted().map(|r| r.me.addr.clone()) else { return };
        let Some(r) = self.masters[m].replicas.iter_mut().find(|r| r.me.addr == *addr) else { return };
        if r.me.role != Role::Slave {
            return;
        }
        let mut events = Vec::new();
        if matches!(r.reconf, Reconf::Sent(_))
            && r.master_host.as_ref().is_some_and(|host| new.is(host, r.master_port))
        {
            r.reconf = Reconf::InProgress;
            events.push("+slave-reconf-inprog");
        }
        if r.reconf == Reconf::InProgress && r.link_up {
            r.reconf = Reconf::Done;
            events.push("+slave-reconf-done");
        }
        for event in events {
            self.event(event, m, &Target::Replica(addr.clone()));
        }
    }
}
