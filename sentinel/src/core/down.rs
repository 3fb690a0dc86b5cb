//! Subjectively and objectively down, and asking the other Sentinels.
//!
//! Silence is counted from the last valid reply. The moment it exceeds down-after, the others are
//! asked; when one of them asks us, it has just come to the same view, so that it is asked again
//! at once instead of a second later.

use super::link::{Channel, ConnState, LinkKey, Pending};
use super::model::{FailoverState, Master, MasterId, Peer, Role, Target};
use super::timers::{Due, Ms};
use super::value::Value;
use super::{Core, Level};

impl Core {
    /// Sets or clears SDOWN, and closes connections that have gone quiet.
    pub(super) fn judge_subjectively(&mut self, m: usize, target: &Target, now: Ms, due: &mut Due) {
        let master = &self.masters[m];
        let Some(instance) = master.instance(target) else { return };
        let key = instance.link;
        self.close_if_quiet(m, key, now, due);
        let Some(link) = self.links.get(&key) else { return };
        let master = &self.masters[m];
        let Some(instance) = master.instance(target) else { return };
        let limit = master.cfg.down_after_ms;
        let silent = link.silent_ms(now) > limit;
        let refused_since = link.refused_since.filter(|_| *target == Target::Master);
        let refused_until = refused_since.and_then(|since| Some(since + self.refusal_limit(key)?));
        let refused = refused_until.is_some_and(|at| due.passed(now, at));
        // Only a valid answer proves the contrary: a connection that is accepted is none.
        let unproven = instance.s_down_since.is_some_and(|since| link.available_at < since);
        if !silent {
            due.at(link.available_at + limit + 1);
        }
        let demoted_at = instance.role_reported_at + limit + 2 * self.timers.info_period + 1;
        let demoted =
            *target == Target::Master && instance.role_reported == Role::Slave && due.passed(now, demoted_at);
        let rebooting = *target == Target::Master
            && master.rebooted_at.is_some_and(|at| due.passed(now, at + master.cfg.reboot_down_after_ms + 1));
        self.set_s_down(m, target, silent || refused || unproven || demoted || rebooting, now);
    }

    fn set_s_down(&mut self, m: usize, target: &Target, down: bool, now: Ms) {
        let Some(instance) = self.masters[m].instance_mut(target) else { return };
        if down == instance.s_down() {
            return;
        }
        if down {
            instance.s_down_since = Some(now);
            instance.last_down_at = Some(now);
            self.event(Level::Warning, "+sdown", m, target, "");
        } else {
            instance.s_down_since = None;
            instance.script_kill_sent = false;
            self.event(Level::Warning, "-sdown", m, target, "");
        }
        if *target == Target::Master && down {
            self.ask_all(m, |_| true, now);
            self.refresh_replicas(m, now);
        }
    }

    /// A connection that should have brought something by now is made anew: the way may be
    /// broken where the process is not.
    fn close_if_quiet(&mut self, m: usize, key: LinkKey, now: Ms, due: &mut Due) {
        let half = self.masters[m].cfg.down_after_ms / 2;
        let young = self.timers.min_link_reconnect_period;
        let silence = 3 * self.timers.publish_period;
        let Some(link) = self.links.get(&key) else { return };
        if let (ConnState::Up { since, .. }, Some(unanswered)) = (link.commands, link.unanswered_since) {
            let at = (since + young).max(unanswered + half).max(link.pong_at + half) + 1;
            if due.passed(now, at) {
                self.close_channel(key, Channel::Commands, now);
                due.at(now);
            }
        }
        let Some(link) = self.links.get(&key) else { return };
        if let Some(ConnState::Up { since, .. }) = link.pubsub
            && due.passed(now, (since + young).max(link.pubsub_heard_at + silence) + 1)
        {
            self.close_channel(key, Channel::PubSub, now);
            due.at(now);
        }
    }

    /// Sets or clears ODOWN: enough Sentinels, ourselves among them, see the master down.
    pub(super) fn judge_objectively(&mut self, m: usize, now: Ms) {
        self.forget_old_answers(m, now);
        let master = &self.masters[m];
        let agreeing = 1 + master.peers.values().filter(|p| p.says_down).count();
        let down = master.me.s_down() && agreeing >= master.cfg.quorum as usize;
        if down == master.o_down_since.is_some() {
            return;
        }
        if !down {
            self.masters[m].o_down_since = None;
            self.masters[m].serves_since = Some(now);
            return self.event(Level::Warning, "-odown", m, &Target::Master, "");
        }
        let quorum = master.cfg.quorum;
        let last_answer = self.links.get(&master.me.link).map_or(now, |l| l.available_at);
        let served = master.serves_since.map_or(Ms::MAX, |since| last_answer.saturating_sub(since));
        self.schedule_candidacy(m, served, now);
        let master = &mut self.masters[m];
        master.o_down_since = Some(now);
        master.me.last_down_at = Some(now);
        self.event(Level::Warning, "+odown", m, &Target::Master, &format!(" #quorum {agreeing}/{quorum}"));
    }

    /// When an answer counts no more. In TILT nobody is asked, so answers may have grown old.
    fn stale_at(&self, peer: &Peer) -> Ms {
        peer.answered_at.map_or(0, |at| at + 5 * self.timers.ask_period + 1)
    }

    fn forget_old_answers(&mut self, m: usize, now: Ms) {
        let mut peers = std::mem::take(&mut self.masters[m].peers);
        for peer in peers.values_mut().filter(|p| now >= self.stale_at(p)) {
            peer.says_down = false;
            peer.leader = None;
        }
        self.masters[m].peers = peers;
    }

    /// Asks the others again whose answer is older than the ask period.
    pub(super) fn ask_peers(&mut self, m: usize, forced: bool, now: Ms, due: &mut Due) {
        let period = self.timers.ask_period;
        for peer in self.masters[m].peers.values().filter(|p| p.says_down || p.leader.is_some()) {
            due.at(self.stale_at(peer).max(now + 1));
        }
        if !self.may_ask(&self.masters[m]) {
            return;
        }
        self.ask_all(m, |asked| forced || asked.is_none_or(|at| now >= at + period), now);
        for peer in self.masters[m].peers.values() {
            due.at(peer.asked_at.map_or(now + period, |at| at + period).max(now + 1));
        }
    }

    /// One of the others asks about this master: it may have changed its mind since it answered.
    pub(super) fn ask_back(&mut self, m: usize, now: Ms) {
        if !self.may_ask(&self.masters[m]) || self.tilt.active() {
            return;
        }
        let unsure: Vec<String> = self.masters[m]
            .peers
            .iter()
            .filter(|(_, p)| !p.says_down && !p.asking)
            .map(|(id, _)| id.clone())
            .collect();
        unsure.iter().for_each(|id| self.ask(m, id, now));
    }

    fn may_ask(&self, master: &Master) -> bool {
        let electing =
            master.failover.as_ref().is_some_and(|f| f.state == FailoverState::WaitStart && f.durable);
        master.me.s_down() || electing
    }

    /// Asks every connected peer whose last question, at that time, meets `wanted`.
    pub(super) fn ask_all(&mut self, m: usize, wanted: impl Fn(Option<Ms>) -> bool, now: Ms) {
        let ids: Vec<String> = self.masters[m]
            .peers
            .iter()
            .filter(|(_, p)| wanted(p.asked_at))
            .map(|(id, _)| id.clone())
            .collect();
        ids.iter().for_each(|id| self.ask(m, id, now));
    }

    /// IS-MASTER-DOWN-BY-ADDR to one peer: with our id, which asks for its vote, once our own
    /// candidacy is on disk; with `*` otherwise.
    fn ask(&mut self, m: usize, id: &str, now: Ms) {
        let target = Target::Peer(id.to_string());
        if self.connected_to(m, &target).is_none() {
            return;
        }
        let master = &self.masters[m];
        let candidacy = master.failover.as_ref().filter(|f| f.state == FailoverState::WaitStart && f.durable);
        let (run_id, stands_in) = match candidacy {
            Some(f) => (self.id.clone(), f.epoch),
            None => ("*".to_string(), 0),
        };
        let epoch = if stands_in == 0 { self.epoch } else { stands_in }.to_string();
        let host = master.me.addr.announced(self.globals.announce_hostnames).to_string();
        let port = master.me.addr.port.to_string();
        let parts = ["SENTINEL", "is-master-down-by-addr", &host, &port, &epoch, &run_id];
        let pending = Pending::Ask { master: master.id, epoch: stands_in };
        self.send_to(m, &target, &parts, pending);
        if let Some(peer) = self.masters[m].peers.get_mut(id) {
            peer.asking = true;
            peer.asked_at = Some(now);
        }
    }

    /// A peer's answer: what it sees, and whom it votes for. `asked` is the epoch in which we asked for its vote.
    pub(super) fn peer_answered(&mut self, id: MasterId, asked: u64, key: LinkKey, value: &Value, now: Ms) {
        let Some(m) = self.index(id) else { return };
        let Some(peer) = self.masters[m].peers.values_mut().find(|p| p.me.link == key) else { return };
        peer.asking = false;
        let Value::Array(items) = value else { return self.note_error(key, "SENTINEL", value) };
        let [Value::Integer(down), Value::Bulk(leader), Value::Integer(epoch)] = items.as_slice() else {
            return;
        };
        peer.answered_at = Some(now);
        peer.answered_epoch = asked;
        peer.says_down = *down == 1;
        if leader == b"*" || leader.len() > 64 {
            return;
        }
        let leader = String::from_utf8_lossy(leader).into_owned();
        let epoch = (*epoch).max(0) as u64;
        let news = peer.leader_epoch != epoch;
        peer.leader = Some(leader.clone());
        peer.leader_epoch = epoch;
        let name = peer.me.run_id.clone().unwrap_or_default();
        if news {
            self.log(Level::Notice, format!("{name} voted for {leader} {epoch}"));
        }
        if epoch > self.epoch {
            self.adopt_epoch(m, epoch, now);
        }
    }
}
