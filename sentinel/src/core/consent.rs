//! Whether the other Sentinels stand by the configuration that we have, and what rests on it.
//!
//! A node that reports itself a master and is not ours may be a stray of the past, or have been promoted a
//! moment ago without our having heard of it. Redis's Sentinel waits 8 s for such word before it demotes
//! the node. There is no need to wait once a majority has said, after we saw that node, that it has the
//! configuration that we have and knows of no later election: a leader that promoted the node had to have the
//! votes of a majority before, hence of one of those. Only what a Sentinel told us itself counts, since a node that hung may
//! hand on hellos of long ago.
//!
//! The same consent lifts the guard of a former master that came back in its place and refuses writes until it
//! hears that it still is the master (`master-rejoin-guard` of a redoubt-node, `master_rejoin_guard:waiting` in its INFO).
//! It is told with a message on a channel of its own, which its user's permissions cover already and
//! which names the process that it is meant for.

use super::Core;
use super::link::Pending;
use super::model::{Guard, Role, Target};
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
        self.no_later_election(m, now) && self.agreeing(m, since, now, true)
    }

    /// Whether a majority told us since then that it has our config epoch, and, if `strict`, our epoch.
    fn agreeing(&self, m: usize, since: Ms, now: Ms, strict: bool) -> bool {
        let master = &self.masters[m];
        let window = 2 * self.timers.publish_period;
        let agrees = master.peers.values().filter_map(|p| p.own_hello).filter(|h| {
            h.at >= since
                && now - h.at <= window
                && h.config_epoch == master.config_epoch
                && (!strict || h.epoch == self.epoch)
        });
        let sentinels = master.peers.len() + 1;
        1 + agrees.count() > sentinels / 2
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

    /// A Sentinel told us its configuration: nodes that are masters and should not be may be demoted now, if they
    /// still are.
    pub(super) fn look_at_strays(&mut self, m: usize, now: Ms) {
        let strays: Vec<String> = self.masters[m]
            .replicas
            .iter()
            .filter(|(_, r)| r.me.role_reported == Role::Master && !r.promoted)
            .filter(|(_, r)| self.configuration_confirmed(m, r.me.role_reported_at, now))
            .map(|(name, _)| name.clone())
            .collect();
        for name in strays {
            self.ask_info(m, &Target::Replica(name), false, now);
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
                && self.agreeing(m, guard.since, now, false));
        let again = guard.confirmed_at.is_none_or(|at| due.passed(now, at + CONFIRM_AGAIN_MS));
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
