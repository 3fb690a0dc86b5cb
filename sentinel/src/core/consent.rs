//! Whether the other Sentinels stand by the configuration that we have, and what rests on it.
//!
//! A node that reports itself a master and is not ours may be a stray of the past, or have been promoted a
//! moment ago without our having heard of it. Redis's Sentinel waits 8 s for such word before it demotes
//! the node. There is no need to wait once a majority has said, after we saw that node, that it has the
//! configuration that we have and knows of no later election: a leader that promoted the node had to have the
//! votes of a majority before, hence of one of those. So the others are asked (`SENTINEL EPOCHS`) when that node has been
//! seen, and only such an answer counts. When a hello was said nobody can tell: a node that hung may hand on one of
//! long ago, and one that was sent just before an election may come after it, when a cut has healed. A Sentinel that does
//! not know the question, as Redis's, never consents.
//!
//! The same consent lifts the guard of a former master that came back in its place and refuses writes until it
//! hears that it still is the master (`master-rejoin-guard` of a redoubt-node, `master_rejoin_guard:waiting` in its INFO).
//! It is told with a message on a channel of its own, which its user's permissions cover already and
//! which names the process that it is meant for.

use redoubt_wire::resp::value::Value;

use super::Core;
use super::link::{LinkKey, Pending};
use super::model::{Epochs, Guard, MasterId, OwnHello, Peer, Role, Target};
use super::timers::{Due, LEADER_PATIENCE_MS, Ms};

/// The channel on which a guarded master is confirmed:
/// `<run id of the node>,<config epoch>,<master name>,<our id>`.
const CONFIRM_CHANNEL: &str = "__sentinel__:confirm";
/// A confirmation that shows no effect is repeated after this.
const CONFIRM_AGAIN_MS: Ms = 1000;

impl Core {
    /// Whether a majority of all known Sentinels, ourselves among them, has our configuration of this master as
    /// of `since`, and no later election has come to its ears.
    pub(super) fn configuration_confirmed(&self, m: usize, since: Ms, now: Ms) -> bool {
        let (epoch, config_epoch) = (self.epoch, self.masters[m].config_epoch);
        let agrees = |e: Epochs| {
            self.is_recent(e.asked_at, since, now) && (e.epoch, e.config_epoch) == (epoch, config_epoch)
        };
        self.no_later_election(m, now) && self.is_majority(m, |peer| peer.epochs.is_some_and(agrees))
    }

    /// Whether a majority told us of our config epoch since then, whatever its epoch.
    fn told_of_configuration(&self, m: usize, since: Ms, now: Ms) -> bool {
        let config_epoch = self.masters[m].config_epoch;
        let agrees = |h: OwnHello| self.is_recent(h.at, since, now) && h.config_epoch == config_epoch;
        self.is_majority(m, |peer| peer.own_hello.is_some_and(agrees))
    }

    fn is_recent(&self, at: Ms, since: Ms, now: Ms) -> bool {
        at >= since && now - at <= 2 * self.timers.publish_period
    }

    /// Whether we and those are a majority of all known Sentinels.
    fn is_majority(&self, m: usize, agrees: impl Fn(&Peer) -> bool) -> bool {
        let peers = &self.masters[m].peers;
        1 + peers.values().filter(|peer| agrees(peer)).count() > peers.len().div_ceil(2)
    }

    /// Asks the others how far they have come, unless they were asked since then and a moment ago.
    pub(super) fn ask_epochs(&mut self, m: usize, since: Ms, now: Ms) {
        let period = self.timers.publish_period;
        let recently = |at: Ms| at >= since && now - at < period;
        let master = &self.masters[m];
        let (id, name) = (master.id, master.name().to_string());
        let others = master.peers.iter().filter(|(_, peer)| !peer.epochs_asked_at.is_some_and(recently));
        for run_id in others.map(|(run_id, _)| run_id.clone()).collect::<Vec<_>>() {
            let target = Target::Peer(run_id.clone());
            if self.connected_to(m, &target).is_some() {
                let pending = Pending::Epochs { master: id, at: now };
                self.send_to(m, &target, &["SENTINEL", "EPOCHS", &name], pending);
                if let Some(peer) = self.masters[m].peers.get_mut(&run_id) {
                    peer.epochs_asked_at = Some(now);
                }
            }
        }
    }

    /// A peer's answer to the question of that time.
    pub(super) fn epochs_answered(
        &mut self,
        id: MasterId,
        asked_at: Ms,
        key: LinkKey,
        value: &Value,
        now: Ms,
    ) {
        let Some(m) = self.index(id) else { return };
        let Some(peer) = self.masters[m].peers.values_mut().find(|p| p.me.link == key) else { return };
        let numbers = value.as_slice().unwrap_or_default();
        let [Value::Integer(epoch), Value::Integer(config_epoch)] = numbers else {
            return self.note_error(key, "SENTINEL", value);
        };
        let (epoch, config_epoch) = ((*epoch).max(0) as u64, (*config_epoch).max(0) as u64);
        peer.epochs = Some(Epochs { asked_at, epoch, config_epoch });
        if epoch > self.epoch {
            self.adopt_epoch(m, epoch, now);
        }
        self.look_at_strays(m, now);
    }

    /// Whether no leader can be at work that we know of: the newest epoch is that of this configuration, or it
    /// has been around for so long that a promotion in it would have been heard of.
    fn no_later_election(&self, m: usize, now: Ms) -> bool {
        let master = &self.masters[m];
        let settled = now - self.epoch_moved_at >= 4 * self.timers.publish_period;
        let voted = master.candidacy.voted_other.as_ref().is_some_and(|(_, at)| {
            master.leader_epoch > master.config_epoch && now - at < LEADER_PATIENCE_MS
        });
        master.failover.is_none() && !voted && (self.epoch == master.config_epoch || settled)
    }

    /// A Sentinel was heard of: nodes that are masters and should not be may be demoted now, if they still are, or else
    /// it is time to ask.
    pub(super) fn look_at_strays(&mut self, m: usize, now: Ms) {
        let strays: Vec<(String, Ms)> = self.masters[m]
            .replicas
            .iter()
            .filter(|(_, r)| r.me.role_reported == Role::Master && !r.promoted)
            .map(|(name, r)| (name.clone(), r.me.role_reported_at))
            .collect();
        for (name, since) in strays {
            if self.configuration_confirmed(m, since, now) {
                self.ask_info(m, &Target::Replica(name), false, now);
            } else {
                self.ask_epochs(m, since, now);
            }
        }
    }

    /// Whether the master says that it waits to be confirmed.
    pub(super) fn note_guard(&mut self, m: usize, guarded: bool, now: Ms) {
        let known = self.masters[m].guard.is_some();
        if guarded && !known {
            self.masters[m].guard = Some(Guard { since: now, confirmed_at: None });
            // The others learn our view of it at once, and we theirs, since they do the same.
            self.publish_to_all(m, now);
        } else if !guarded {
            self.masters[m].guard = None;
        }
    }

    /// Confirms a guarded master when a majority stands by it.
    pub(super) fn confirm_guarded(&mut self, m: usize, now: Ms, due: &mut Due) {
        let Some(guard) = self.masters[m].guard else { return };
        // After Redis's grace a newer configuration would have been heard of, whatever epochs others have reached.
        let grace = guard.since + 4 * self.timers.publish_period;
        let confirmed = self.configuration_confirmed(m, guard.since, now)
            || (self.masters[m].failover.is_none()
                && due.passed(now, grace)
                && self.told_of_configuration(m, guard.since, now));
        let again = guard.confirmed_at.is_none_or(|at| due.passed(now, at + CONFIRM_AGAIN_MS));
        if !confirmed {
            self.ask_epochs(m, guard.since, now);
        }
        if !confirmed || !again || !self.looks_sane(m, now) {
            return;
        }
        let master = &self.masters[m];
        let Some(run_id) = master.me.run_id.as_ref() else { return };
        let text = format!("{run_id},{},{},{}", master.config_epoch, master.name(), self.id);
        self.send_to(m, &Target::Master, &["PUBLISH", CONFIRM_CHANNEL, &text], Pending::Ignored("PUBLISH"));
        self.ask_info(m, &Target::Master, false, now);
        self.masters[m].guard = Some(Guard { confirmed_at: Some(now), ..guard });
        due.at(now + CONFIRM_AGAIN_MS);
    }
}
