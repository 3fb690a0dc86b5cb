//! Votes and candidacies.
//!
//! One vote per master and epoch, on disk before anybody hears of it. A candidate votes for itself in an
//! epoch of its own making and needs the majority of all known Sentinels, and the quorum.
//! Candidates stand one after the other, in the order of their ids and 25 ms apart, so that votes
//! rarely split; a vote for another bars an own candidacy for a while, which doubles each time that
//! an election brings no new master, up to twice the failover timeout, which is what Redis waits
//! from the start.

use super::config::Planted;
use super::model::{Failover, FailoverState, MasterId, Target};
use super::persist::Deferred;
use super::timers::{CANDIDACY_PAUSE_MS, CANDIDACY_STEP_MS, Due, FORCED_ELECTION_MS, LEADER_PATIENCE_MS, Ms};
use super::{Core, Level};

/// A write that takes longer is an accident, not what the order of candidates should allow for.
const MAX_WRITE_MS: Ms = 500;

impl Core {
    /// Gives our vote for `candidate` in `epoch` if it is still free, and returns whom we voted
    /// for and when. What is returned may be told once the write `vote_seq` of the master is done.
    pub(super) fn vote(&mut self, m: usize, epoch: u64, candidate: &str, now: Ms) -> (Option<String>, u64) {
        if epoch > self.epoch {
            self.adopt_epoch(m, epoch);
            self.masters[m].vote_seq = self.save();
        }
        if self.masters[m].leader_epoch < epoch && self.epoch <= epoch {
            self.masters[m].leader = Some(candidate.to_string());
            self.masters[m].leader_epoch = epoch;
            self.masters[m].vote_seq = self.save();
            let id = self.masters[m].id;
            self.event_text(Level::Warning, "+vote-for-leader", Some(id), format!("{candidate} {epoch}"));
            if candidate != self.id {
                let pause = self.pause(self.masters[m].candidacy.failures);
                let candidacy = &mut self.masters[m].candidacy;
                candidacy.not_before = candidacy.not_before.max(now + pause);
                candidacy.voted_other = Some((candidate.to_string(), now));
                candidacy.counted = false;
            }
        }
        (self.masters[m].leader.clone(), self.masters[m].leader_epoch)
    }

    /// Takes over a higher epoch.
    pub(super) fn adopt_epoch(&mut self, m: usize, epoch: u64) {
        self.epoch = epoch;
        let id = self.masters[m].id;
        self.event_text(Level::Warning, "+new-epoch", Some(id), epoch.to_string());
        self.save();
    }

    /// The pause after that many elections without result: 1 s doubled each time and up to half
    /// as much at random, at most twice the shortest failover timeout.
    fn pause(&mut self, failures: u32) -> Ms {
        let base = CANDIDACY_PAUSE_MS << failures.min(20);
        base + self.random(base / 2)
    }

    /// How many of the others that are in reach come before us in the order of ids, which
    /// is the order in which Sentinels stand for election.
    fn rank(&self, m: usize) -> Ms {
        let live = |t: &Target| {
            self.connected_to(m, t).is_some() && self.instance(m, t).is_some_and(|i| !i.s_down())
        };
        let before = self.masters[m].peers.keys().filter(|id| id.as_str() < self.id.as_str());
        before.filter(|id| live(&Target::Peer((*id).clone()))).count() as Ms
    }

    /// How long our turn to stand comes after the first one's. Who stands before us is heard of only when its
    /// candidacy is on disk, and its disk is taken to be as slow as ours.
    pub(super) fn turn_delay(&self, m: usize) -> Ms {
        self.rank(m) * (CANDIDACY_STEP_MS + self.persist.usual_ms.min(MAX_WRITE_MS))
    }

    /// Stands for election if the master is objectively down and nothing bars it.
    pub(super) fn stand_if_due(&mut self, m: usize, now: Ms, due: &mut Due) {
        let master = &self.masters[m];
        if master.o_down_since.is_none() || master.failover.is_some() {
            return;
        }
        let limit = 2 * master.cfg.failover_timeout_ms;
        if !due.passed(now, master.candidacy.not_before.min(now.saturating_add(limit))) {
            return;
        }
        if let Some((leader, at)) = master.candidacy.voted_other.clone() {
            let target = Target::Peer(leader);
            let reachable = self.connected_to(m, &target).is_some()
                && self.instance(m, &target).is_some_and(|i| !i.s_down());
            if reachable && !due.passed(now, at + LEADER_PATIENCE_MS) {
                return;
            }
            let candidacy = &mut self.masters[m].candidacy;
            if !candidacy.counted {
                candidacy.counted = true;
                candidacy.failures += 1;
            }
        }
        self.start_failover(m, false, now);
    }

    /// Becomes a candidate in a new epoch. The others hear of it once it is on disk.
    pub(super) fn start_failover(&mut self, m: usize, forced: bool, now: Ms) {
        self.epoch += 1;
        let epoch = self.epoch;
        let failures = self.masters[m].candidacy.failures;
        let limit = self.timers.election_timeout.min(self.masters[m].cfg.failover_timeout_ms);
        let patience = self.pause(failures).min(limit);
        self.masters[m].failover = Some(Failover {
            state: FailoverState::WaitStart,
            epoch,
            started_at: now,
            state_at: now,
            election_ends_at: now + patience,
            forced,
            durable: false,
            sent: false,
            promoted: None,
        });
        let id = self.masters[m].id;
        self.event_text(Level::Warning, "+new-epoch", Some(id), epoch.to_string());
        self.event(Level::Warning, "+try-failover", m, &Target::Master, "");
        let own = self.id.clone();
        self.vote(m, epoch, &own, now);
        let seq = self.masters[m].vote_seq;
        self.defer(seq, Deferred::Candidacy { master: id, epoch });
        // The choice of the replica rests on what the replicas say from now on.
        self.refresh_replicas(m, now);
        self.masters[m].due = now;
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
        let (epoch, forced) = (f.epoch, f.forced);
        if self.epoch > epoch || (!forced && master.o_down_since.is_none()) {
            // Somebody else stands in a later epoch, or the master is back.
            self.lose_election(m, forced, now);
            return false;
        }
        if !f.durable {
            due.at(f.election_ends_at);
            return false;
        }
        let voters = master.peers.len() + 1;
        let needed = (voters / 2 + 1).max(master.cfg.quorum as usize);
        if self.votes(m, epoch) >= needed {
            return true;
        }
        let answered = |p: &super::model::Peer| p.leader.is_some() && p.leader_epoch >= epoch;
        let all_answered = master.peers.values().all(answered);
        let rival = master.peers.values().any(|p| answered(p) && p.leader.as_ref() != Some(&self.id));
        if forced {
            let over = all_answered || due.passed(now, f.started_at + FORCED_ELECTION_MS);
            if over && rival {
                self.lose_election(m, true, now);
            }
            return over && !rival;
        }
        if (all_answered && rival) || due.passed(now, f.election_ends_at) {
            self.lose_election(m, false, now);
        }
        false
    }

    /// An election without result. What an operator asked for is tried again in a new epoch.
    fn lose_election(&mut self, m: usize, forced: bool, now: Ms) {
        if forced {
            self.masters[m].failover = None;
            return self.start_failover(m, true, now);
        }
        self.abort_failover(m, "-failover-abort-not-elected", now);
    }

    /// Gives a failover up before anything was changed; the next attempt waits.
    pub(super) fn abort_failover(&mut self, m: usize, event: &str, now: Ms) {
        self.event(Level::Warning, event, m, &Target::Master, "");
        let master = &mut self.masters[m];
        master.failover = None;
        for replica in master.replicas.values_mut() {
            replica.promoted = false;
        }
        let failures = master.candidacy.failures;
        let limit = 2 * master.cfg.failover_timeout_ms;
        let next = now + self.pause(failures).min(limit) + self.turn_delay(m);
        let candidacy = &mut self.masters[m].candidacy;
        candidacy.failures = failures + 1;
        candidacy.not_before = candidacy.not_before.max(next);
    }
}
