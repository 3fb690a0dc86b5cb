//! Votes and candidacies.
//!
//! One vote per master and epoch, on disk before anybody hears of it. A candidate votes for itself in an
//! epoch that is fresh for this master and needs the majority of all known Sentinels, and the quorum, in that very
//! epoch, whatever epochs others have reached meanwhile.
//!
//! Candidates stand one after the other, in the order of their ids and 25 ms apart, so that votes
//! rarely split. A vote for another bars an own candidacy for 1 s and up to 500 ms more, and as long as that
//! leader is in reach and has had less than 10 s; a lost or split election is tried again after the same
//! pause, in a new epoch. Each election that brings no new master doubles the pause, up to twice the
//! failover timeout, which is what Redis waits from the start.
//!
//! The same pause damps masters that flap. One that goes down before it has answered for down-after since
//! it was promoted, or since it was down last, is replaced only after the pause, doubled each time it
//! happens in a row; one that has served longer than that begins anew.
//!
//! Elections of several masters that start together share an epoch: an epoch each would void those
//! before. A candidate that learns of a newer epoch stands again in it at once, unless somebody in reach was
//! elected there.

use super::config::Planted;
use super::model::{Cause, Failover, FailoverState, MasterId, Peer, Target};
use super::persist::Deferred;
use super::timers::{CANDIDACY_PAUSE_MS, CANDIDACY_STEP_MS, Due, FORCED_ELECTION_MS, LEADER_PATIENCE_MS, Ms};
use super::{Core, Level};

/// A write that takes longer is an accident, not what the order of candidates should allow for.
const MAX_WRITE_MS: Ms = 500;
/// How far an epoch without votes lies beyond the others, and the width of the range it is drawn from.
const FAR_EPOCHS: u64 = 1 << 20;
/// What a request for votes takes besides the write before it.
const REQUEST_MS: Ms = 5;

impl Core {
    /// Gives our vote for `candidate` in `epoch` if it is still free, and returns whom we voted
    /// for and when. What is returned may be told once the write `vote_seq` of the master is done.
    pub(super) fn vote(&mut self, m: usize, epoch: u64, candidate: &str, now: Ms) -> (Option<String>, u64) {
        if epoch > self.epoch {
            self.adopt_epoch(m, epoch, now);
            self.masters[m].vote_seq = self.save();
        }
        // A vote is free in an epoch above all that this master has seen, be the current epoch higher: another
        // master's election may have raised it.
        let fresh = epoch > self.masters[m].leader_epoch.max(self.masters[m].newest_config_epoch());
        if fresh && !self.other_at_work(m, candidate, now) {
            let id = self.masters[m].id;
            if candidate != self.id {
                self.withdraw(m);
                let pause = self.limited_pause(m, self.masters[m].candidacy.failures);
                let candidacy = &mut self.masters[m].candidacy;
                candidacy.not_before = candidacy.not_before.max(now + pause);
                candidacy.voted_other = Some((candidate.to_string(), now));
                candidacy.counted = false;
            }
            self.masters[m].leader = Some(candidate.to_string());
            self.masters[m].leader_epoch = epoch;
            self.masters[m].vote_seq = self.save();
            self.event_text(Level::Warning, "+vote-for-leader", Some(id), format!("{candidate} {epoch}"));
        }
        (self.masters[m].leader.clone(), self.masters[m].leader_epoch)
    }

    /// Whether somebody else than `candidate` is likely to be promoting a replica right now: ourselves, or the one
    /// whom we voted for a moment ago. A second leader, be it in a newer epoch, would promote another one.
    fn other_at_work(&self, m: usize, candidate: &str, now: Ms) -> bool {
        if candidate == self.id {
            // What bars a candidacy of our own was considered before it began.
            return false;
        }
        let master = &self.masters[m];
        let leading =
            |f: &Failover| f.state > FailoverState::WaitStart && now - f.started_at < LEADER_PATIENCE_MS;
        let voted = |(leader, at): &(String, Ms)| {
            now - at < CANDIDACY_PAUSE_MS && leader != candidate && self.in_reach(m, leader)
        };
        master.failover.as_ref().is_some_and(leading)
            || master.candidacy.voted_other.as_ref().is_some_and(voted)
    }

    /// Ends a candidacy of ours: we are about to vote for another, or the master is back.
    fn withdraw(&mut self, m: usize) {
        if self.masters[m].failover_state() == Some(FailoverState::WaitStart) {
            self.masters[m].failover = None;
            self.event(Level::Warning, "-failover-abort-not-elected", m, &Target::Master, "");
        }
    }

    /// Takes over a higher epoch.
    pub(super) fn adopt_epoch(&mut self, m: usize, epoch: u64, now: Ms) {
        self.epoch = epoch;
        self.epoch_moved_at = now;
        let id = self.masters[m].id;
        self.event_text(Level::Warning, "+new-epoch", Some(id), epoch.to_string());
        self.save();
    }

    /// The pause after that many elections without result: 1 s doubled each time and up to half
    /// as much at random.
    fn pause(&mut self, failures: u32) -> Ms {
        let base = CANDIDACY_PAUSE_MS << failures.min(20);
        base + self.random(base / 2)
    }

    /// Whether another Sentinel is connected and not down.
    pub(super) fn in_reach(&self, m: usize, run_id: &str) -> bool {
        let target = Target::Peer(run_id.to_string());
        self.connected_to(m, &target).is_some() && self.instance(m, &target).is_some_and(|i| !i.s_down())
    }

    /// How many of the others that are in reach come before us in the order of ids, which
    /// is the order in which Sentinels stand for election.
    fn rank(&self, m: usize) -> Ms {
        let before = self.masters[m].peers.keys().filter(|id| id.as_str() < self.id.as_str());
        before.filter(|id| self.in_reach(m, id)).count() as Ms
    }

    /// How long our turn to stand comes after the first one's: 25 ms for each that comes before us. Who stands
    /// before us is heard of only when its candidacy is on disk, and its disk is taken to be as slow as ours:
    /// where writes take longer than that, turns do.
    fn turn_delay(&self, m: usize) -> Ms {
        let write_ms = self.persist.usual_ms.min(MAX_WRITE_MS);
        self.rank(m) * CANDIDACY_STEP_MS.max(write_ms + REQUEST_MS)
    }

    /// The master has just become objectively down: when we may stand at the earliest. `served` is how long it had
    /// answered since it was promoted or was down last.
    pub(super) fn schedule_candidacy(&mut self, m: usize, served: Ms, now: Ms) {
        let flaps = served < self.masters[m].cfg.down_after_ms;
        let failures = if flaps { self.masters[m].candidacy.failures } else { 0 };
        let pause = if flaps { self.limited_pause(m, failures) } else { 0 };
        let candidacy = &mut self.masters[m].candidacy;
        candidacy.failures = failures + u32::from(flaps);
        candidacy.turns_from = now + pause;
    }

    fn limited_pause(&mut self, m: usize, failures: u32) -> Ms {
        self.pause(failures).min(2 * self.masters[m].cfg.failover_timeout_ms)
    }

    /// Stands for election if the master is objectively down and nothing bars it.
    pub(super) fn stand_if_due(&mut self, m: usize, now: Ms, due: &mut Due) {
        let master = &self.masters[m];
        if master.o_down_since.is_none() || master.failover.is_some() || master.coming.is_some() {
            return;
        }
        // Who comes before us may turn out to be gone while we wait for our turn, as it did for those that are after us.
        let turn_at = master.candidacy.turns_from + self.turn_delay(m);
        if !due.passed(now, master.candidacy.not_before.max(turn_at)) {
            return;
        }
        if let Some((leader, at)) = master.candidacy.voted_other.clone() {
            if self.in_reach(m, &leader) && !due.passed(now, at + LEADER_PATIENCE_MS) {
                return;
            }
            let candidacy = &mut self.masters[m].candidacy;
            if !candidacy.counted {
                candidacy.counted = true;
                candidacy.failures += 1;
            }
        }
        self.start_failover(m, Cause::Down, now);
    }

    /// Becomes a candidate. The others hear of it once it is on disk.
    pub(super) fn start_failover(&mut self, m: usize, cause: Cause, now: Ms) {
        let electing = |f: &Failover| f.state == FailoverState::WaitStart && f.epoch == self.epoch;
        let others = self.masters.iter().filter_map(|other| other.failover.as_ref()).any(electing);
        let epoch = self.epoch_to_stand_in(m, others, now);
        let failures = self.masters[m].candidacy.failures;
        let limit = self.timers.election_timeout.min(self.masters[m].cfg.failover_timeout_ms);
        let patience = self.pause(failures).min(limit);
        self.masters[m].failover = Some(Failover::new(cause, epoch, now, patience));
        self.event(Level::Warning, "+try-failover", m, &Target::Master, "");
        self.stand(m, epoch, now);
    }

    /// The epoch for a candidacy: the current one if it may be joined and nobody is known to have voted in it
    /// for this master, else a new one.
    fn epoch_to_stand_in(&mut self, m: usize, may_join: bool, now: Ms) -> u64 {
        let master = &self.masters[m];
        let fresh = self.epoch > master.leader_epoch.max(master.newest_config_epoch())
            && master.peers.values().all(|p| p.leader_epoch < self.epoch);
        if !(may_join && fresh) {
            self.adopt_epoch(m, self.epoch + 1, now);
        }
        self.epoch
    }

    /// Votes for ourselves and, when that is on disk, asks the others to.
    fn stand(&mut self, m: usize, epoch: u64, now: Ms) {
        let own = self.id.clone();
        self.vote(m, epoch, &own, now);
        let seq = self.masters[m].vote_seq;
        self.defer(seq, Deferred::Candidacy { master: self.masters[m].id, epoch });
        self.masters[m].due = now;
    }

    /// Goes on with a candidacy in the newer epoch that made its own one void.
    fn stand_again(&mut self, m: usize, now: Ms) {
        let epoch = self.epoch_to_stand_in(m, true, now);
        let Some(f) = self.masters[m].failover.as_mut() else { return };
        f.epoch = epoch;
        f.durable = false;
        self.stand(m, epoch, now);
    }

    /// An operator's failover goes on without a majority. The others may elect a leader meanwhile, and no two
    /// masters may share an epoch, so it takes one far beyond those that elections, which count up, will reach.
    fn stand_alone(&mut self, m: usize, now: Ms) {
        let epoch = self.epoch + FAR_EPOCHS + self.random(FAR_EPOCHS);
        self.adopt_epoch(m, epoch, now);
        let Some(f) = self.masters[m].failover.as_mut() else { return };
        f.epoch = epoch;
        f.alone = true;
        f.durable = false;
        self.stand(m, epoch, now);
    }

    /// Our candidacy is on disk: the others are asked for their votes.
    pub(super) fn candidacy_durable(&mut self, id: MasterId, epoch: u64, now: Ms) {
        let Some(m) = self.index(id) else { return };
        let Some(f) = self.masters[m].failover.as_mut().filter(|f| f.epoch == epoch) else { return };
        f.durable = true;
        if f.state == FailoverState::WaitStart {
            self.ask_all(m, |_| true, now);
        }
        self.evaluate(id, now);
    }

    /// Votes for us in the epoch of our failover, ours among them.
    fn votes(&self, m: usize, epoch: u64) -> usize {
        let master = &self.masters[m];
        let valid = |e: u64| e == epoch || self.planted == Some(Planted::OldVotesCount);
        let mine = |leader: &Option<String>, e: u64| valid(e) && leader.as_deref() == Some(self.id.as_str());
        usize::from(mine(&master.leader, master.leader_epoch))
            + master.peers.values().filter(|p| mine(&p.leader, p.leader_epoch)).count()
    }

    /// Collects votes. True when elected.
    pub(super) fn election_step(&mut self, m: usize, now: Ms, due: &mut Due) -> bool {
        let master = &self.masters[m];
        let Some(f) = master.failover.as_ref() else { return false };
        let (epoch, forced, started_at, ends_at) = (f.epoch, f.forced(), f.started_at, f.election_ends_at);
        if !forced && master.o_down_since.is_none() {
            self.withdraw(m);
            return false;
        }
        if !f.durable {
            // On a disk that does not take it, it ends without anybody having heard of it.
            if due.passed(now, ends_at) {
                self.lose_election(m, now);
            }
            return false;
        }
        if f.alone {
            return true;
        }
        let voters = master.peers.len() + 1;
        let needed = (voters / 2 + 1).max(master.cfg.quorum as usize);
        if self.votes(m, epoch) >= needed {
            return true;
        }
        let other = |p: &Peer| p.leader.clone().filter(|leader| *leader != self.id);
        let taken = |p: &Peer| p.leader_epoch == epoch && other(p).is_some();
        let elected_later =
            |p: &Peer| p.leader_epoch > epoch && other(p).is_some_and(|l| self.in_reach(m, &l));
        let outvoted = master.peers.values().any(|p| taken(p) || elected_later(p));
        let complete = master.peers.iter().all(|(id, p)| p.answered_epoch == epoch || !self.in_reach(m, id));
        if forced {
            let over = complete || due.passed(now, started_at + FORCED_ELECTION_MS);
            if over && outvoted {
                self.stand_again(m, now);
            } else if over {
                self.stand_alone(m, now);
            }
            return false;
        }
        if (complete && outvoted) || due.passed(now, ends_at) {
            self.lose_election(m, now);
        } else if complete && self.epoch > epoch {
            self.stand_again(m, now);
        }
        false
    }

    fn lose_election(&mut self, m: usize, now: Ms) {
        self.abort_failover(m, "-failover-abort-not-elected", now);
    }

    /// Gives a failover up; the next attempt waits.
    pub(super) fn abort_failover(&mut self, m: usize, event: &str, now: Ms) {
        self.end_handover(m);
        self.event(Level::Warning, event, m, &Target::Master, "");
        let master = &mut self.masters[m];
        master.failover = None;
        for replica in master.replicas.values_mut() {
            replica.promoted = false;
            replica.reconf = super::model::Reconf::None;
        }
        let failures = master.candidacy.failures;
        let next = now + self.limited_pause(m, failures) + self.turn_delay(m);
        let candidacy = &mut self.masters[m].candidacy;
        candidacy.failures = failures + 1;
        candidacy.not_before = candidacy.not_before.max(next);
    }
}
