//! From answers to a proof, and from a proof to holding and letting go.

use std::time::Duration;

use super::holder::{Holder, Proof};
use super::mistakes::Mistake;
use super::probe::Verdict;
use super::round::{Over, Stage};
use super::slot::Slot;
use super::types::{Action, Answer, Level, NodeRole, Now, OnConflict, OnQuorumLoss, Output};
use super::votes::{Tally, needed_age};

/// How long before the end of its lease a holder lets go by itself, so that the kernel's lease is the second line of
/// defence and not the first.
const EARLY: Duration = Duration::from_millis(15);

/// How often a host is asked about that a majority names, and that waits for another's lease to end: the other may tell
/// of its release at any time.
const RIPENING_PERIOD: Duration = Duration::from_millis(25);

/// How often the Sentinels are asked where the node is no master: often enough for their answers to speak for them
/// ([`ANSWER_SPEAKS`](super::epoch::ANSWER_SPEAKS)).
const LOOK_PERIOD: Duration = Duration::from_millis(500);

impl Holder {
    pub(super) fn node_answered(&mut self, now: Now, round: u64, role: NodeRole) {
        let asked =
            self.rounds.current().filter(|current| current.id == round && current.stage == Stage::Node);
        if asked.is_none() {
            return;
        }
        let before = self.node.replace((now, role.clone())).map(|(_, role)| role);
        if before.as_ref() != Some(&role) {
            self.log(Level::Debug, format!("The node of {} now says: {role}.", self.settings.master));
        }
        match role {
            NodeRole::Master if self.permitted() => {
                self.rounds.asked_sentinels(now);
                for sentinel in 0..self.votes.len() {
                    let address = self.votes.ask_about(sentinel);
                    self.asked_about.insert(address);
                    self.output(Output::AskSentinel { round, sentinel, address });
                }
            }
            NodeRole::Master | NodeRole::Unknown(_) => {
                self.look_at_sentinels(now, round);
                self.end_without_proof();
            }
            NodeRole::Replica | NodeRole::Gone => {
                if role == NodeRole::Replica {
                    self.released = false;
                }
                let why = if role == NodeRole::Gone {
                    "the local node is gone"
                } else {
                    "the local node is a replica"
                };
                self.let_go(now, Level::Notice, why);
                // Nothing will be taken on the strength of what was vouched for until now.
                self.releasing = !self.asked_about.is_empty();
                self.look_at_sentinels(now, round);
                self.end_without_proof();
            }
        }
    }

    /// Who holds nothing asks the Sentinels now and then all the same, and waits for no answer: so that it knows the
    /// epoch when its turn comes, and its user what its turn would depend on. Answers count for epochs alone.
    fn look_at_sentinels(&mut self, now: Now, round: u64) {
        if now < self.next_look {
            return;
        }
        self.next_look = now + LOOK_PERIOD;
        for sentinel in 0..self.votes.len() {
            self.output(Output::LookAtSentinel { round, sentinel });
        }
    }

    pub(super) fn sentinel_answered(&mut self, now: Now, round: u64, sentinel: usize, answer: Answer) {
        if let Some(epoch) = answer.epoch() {
            self.saw_epoch(epoch);
        }
        if self.votes.note(&self.settings, now, round, sentinel, answer) {
            self.rounds.hint();
        }
        let common = self.votes.common_epoch(now);
        if let Some(before) = self.epochs.agreed(now, common) {
            let epoch = self.epochs.highest();
            let master = &self.settings.master;
            let text = format!(
                "All Sentinels have agreed on epoch {epoch} of {master} for ten seconds: it replaces {before}."
            );
            self.log(Level::Warning, text);
            self.output(Output::Persist { epoch });
        }
        let current = self.rounds.current().filter(|current| current.id == round);
        if current.is_some_and(|current| current.stage != Stage::Node) {
            self.count(now, None);
        }
    }

    fn saw_epoch(&mut self, epoch: u64) {
        if self.epochs.see(epoch) {
            self.output(Output::Persist { epoch });
        }
    }

    /// Ends a round whose time is over, and begins one that is due.
    pub(super) fn go_on_with_round(&mut self, now: Now) {
        if let Some(over) = self.rounds.over(now)
            && let Some(round) = self.rounds.current()
        {
            match round.stage {
                Stage::Node => {
                    self.node_answered(now, round.id, NodeRole::Unknown("no answer to ROLE in time".into()));
                }
                Stage::Sentinels { .. } => self.count(now, Some(over)),
            }
        }
        if let Some(round) = self.rounds.begin(now) {
            self.output(Output::AskNode { round });
        }
    }

    /// Looks at the answers of the round in flight. `over`: no more are waited for.
    fn count(&mut self, now: Now, over: Option<Over>) {
        let Some(round) = self.rounds.current() else { return };
        let tally = self.votes.tally(&self.settings, round.id, self.epochs.highest(), self.age_of_votes());
        let (sentinels, majority) = (self.votes.len(), self.votes.majority());
        if tally.good >= majority {
            self.in_sight = true;
            self.prove(now, round.began, tally.good);
            self.adopting = false;
            self.rounds.end(self.idle_or_busy_period());
        } else if self.has_lost(&tally) {
            // Nothing is gained by waiting for the end of the lease, and the new owner may be waiting for it.
            self.in_sight = false;
            self.let_go(now, Level::Notice, "the Sentinels name another host");
            self.end_without_proof();
        } else if over.is_some() || tally.answered == sentinels {
            // A round that a hint cut short has not heard everybody.
            let was = self.in_sight && over == Some(Over::Cut);
            self.in_sight = was || tally.ripe_at(majority).is_some();
            if over != Some(Over::Cut) {
                self.hold_on(round.began);
            }
            self.end_without_proof();
            self.ask_when_ripe(round.began, &tally, majority);
        } else if tally.ripe_at(majority).is_some() {
            self.in_sight = true;
            self.rounds.enough();
        }
    }

    /// Whether no majority can name this host, since so many name another. Who holds on without a majority looks for
    /// one that names another.
    fn has_lost(&self, tally: &Tally) -> bool {
        match self.settings.on_quorum_loss {
            OnQuorumLoss::Release => tally.other + self.votes.majority() > self.votes.len(),
            OnQuorumLoss::Hold => tally.other >= self.votes.majority(),
        }
    }

    fn age_of_votes(&self) -> Duration {
        if self.planted.is(Mistake::NoAge) || (self.held && self.planted.is(Mistake::NoAgeOnRenewal)) {
            Duration::ZERO
        } else if self.planted.is(Mistake::NoMargin) {
            self.settings.lease
        } else {
            needed_age(&self.settings)
        }
    }

    /// A majority names this host and only age is missing: the next round is due the moment it is there, and before
    /// that now and then where the old owner's release may make it old at once.
    fn ask_when_ripe(&mut self, began: Now, tally: &Tally, majority: usize) {
        if let Some(ripe) = tally.ripe_at(majority) {
            self.rounds.not_later_than(ripe);
            if tally.young_may_ripen_early {
                self.rounds.not_later_than(began + RIPENING_PERIOD);
            }
        }
    }

    fn end_without_proof(&mut self) {
        self.rounds.end(self.idle_or_busy_period());
        self.adopting = false;
        if !self.held && self.proof.is_none() {
            self.drop_leftovers();
        }
    }

    fn prove(&mut self, now: Now, began: Now, votes: usize) {
        let from = if self.planted.is(Mistake::LeaseFromAnswer) { now } else { began };
        let since = self.proof.map_or(now, |proof| proof.since);
        let proof = Proof { until: from + self.settings.lease, since, epoch: self.epochs.highest(), votes };
        // Answers that this process read late, or that took almost the lease, permit nothing any more.
        if self.let_go_at(proof) <= now {
            return;
        }
        let before = self.proof.replace(proof);
        if self.held {
            self.renew();
            if before.is_some_and(|before| before.votes == 0) {
                self.log(Level::Notice, format!("{votes} Sentinels name this host again."));
            }
        }
    }

    /// `on-quorum-loss: hold`: a holder without a majority goes on while its node is a master and no majority names
    /// another (that has been looked at before).
    fn hold_on(&mut self, began: Now) {
        if self.settings.on_quorum_loss != OnQuorumLoss::Hold || !self.held {
            return;
        }
        let until = began + self.settings.lease;
        if let Some(proof) = &mut self.proof
            && until > proof.until
        {
            proof.until = until;
            let before = std::mem::take(&mut proof.votes);
            self.renew();
            if before > 0 {
                let text = format!(
                    "No majority of the Sentinels names this host any more; {} stays all the same, as `on-quorum-loss: \
                     hold` asks: another host may hold it too.",
                    self.names()
                );
                self.log(Level::Warning, text);
            }
        }
    }

    /// The addresses but for those that are on their way out.
    fn in_settings(&self) -> Vec<usize> {
        self.slots.iter().filter(|(_, slot)| !slot.leaving).map(|(index, _)| *index).collect()
    }

    fn renew(&mut self) {
        for index in self.in_settings() {
            self.hold(index);
        }
    }

    /// Tells the platform to hold one address until the end of the lease.
    pub(super) fn hold(&mut self, index: usize) {
        let Some(proof) = self.proof else { return };
        let Some(slot) = self.slots.get_mut(&index) else { return };
        slot.may_be_on = true;
        slot.retry_drop = None;
        let announce = slot.announcements.retry() && slot.on;
        self.act(index, Action::Hold { until: proof.until });
        if announce {
            self.act(index, Action::Announce);
        }
    }

    /// When the holder lets go by itself.
    pub(super) fn let_go_at(&self, proof: Proof) -> Now {
        proof.until.saturating_sub(EARLY)
    }

    pub(super) fn expire(&mut self, now: Now) {
        if let Some(proof) = self.proof
            && self.let_go_at(proof) <= now
        {
            let why = format!("the lease ends without a new proof: {}", self.why_no_proof(now));
            self.let_go(now, Level::Warning, &why);
            self.proof = None;
            self.probe.proof_gone();
        }
    }

    /// Since when a proof has stood on which the addresses may be taken.
    pub(super) fn takeable_since(&self) -> Option<Now> {
        self.proof.filter(|_| !self.held && self.permitted()).map(|proof| proof.since)
    }

    /// Whether it is worth asking whether others answer for the addresses. Events may make it so too.
    pub(super) fn wants_probe(&self) -> bool {
        !self.held && self.permitted() && (self.proof.is_some() || self.in_sight)
    }

    pub(super) fn go_on_with_taking(&mut self, now: Now) {
        if let Some(since) = self.takeable_since() {
            self.decide(now, since);
        }
        let proven = self.takeable_since().is_some();
        if self.probe.take_due(now, self.wants_probe(), proven) {
            for index in self.in_settings() {
                self.act(index, Action::Probe);
            }
        }
    }

    /// Takes if the proof that has stood since then may be acted on now.
    fn decide(&mut self, now: Now, since: Now) {
        // What a predecessor held until a moment ago on this very host need not be asked for.
        let adopted = !self.probe.is_blocked() && self.slots.values().all(|slot| slot.may_be_on);
        let verdict =
            if adopted { Verdict::Take } else { self.probe.verdict(now, since, self.settings.on_conflict) };
        match verdict {
            Verdict::Wait => {}
            Verdict::Take => self.take(now),
            Verdict::Blocked(claim) => {
                self.warn_of_claim(now, claim.index, claim.by, "it is not taken before that ends");
            }
        }
    }

    fn take(&mut self, now: Now) {
        let Some(proof) = self.proof else { return };
        self.held = true;
        self.releasing = false;
        match self.settings.on_conflict {
            OnConflict::Defend => self.probe.outlast_taking(now),
            OnConflict::Release => self.probe.stop(),
        }
        let text = format!(
            "Taking {}: the local node is the master of {} in epoch {}, and {} of {} Sentinels name it.",
            self.names(),
            self.settings.master,
            proof.epoch,
            proof.votes,
            self.votes.len(),
        );
        self.log(Level::Notice, text);
        for slot in self.slots.values_mut() {
            slot.announce_when_on = false;
            slot.announcements.start(now);
        }
        self.renew();
    }

    /// Lets go of everything now. What was proven, and what is being asked, counts no more.
    pub(super) fn let_go(&mut self, now: Now, level: Level, why: &str) {
        if self.proof.take().is_some() {
            self.probe.proof_gone();
        }
        self.in_sight = false;
        if !self.held {
            return;
        }
        self.held = false;
        self.releasing = true;
        self.let_go_because = Some((now, why.to_owned()));
        let indices: Vec<usize> = self.slots.keys().copied().collect();
        for index in indices {
            self.drop_address(index);
        }
        self.log(level, format!("Letting go of {}: {why}.", self.names()));
        if !self.planted.is(Mistake::EarlyRelease) {
            self.rounds.void();
        }
    }

    /// Tells the Sentinels, once every address is certainly off.
    ///
    /// From here on no answer to an earlier question counts: a Sentinel that has read this forgets that it vouched for
    /// this host, so another may hold at once.
    pub(super) fn tell_released(&mut self, now: Now) {
        let early = self.planted.is(Mistake::EarlyRelease);
        // A predecessor that was killed may have left an address with some of its lease, of which netlink tells.
        let heir = now < self.born + needed_age(&self.settings);
        let certainly_off = |slot: &Slot| slot.is_off() && (!heir || slot.state.is_some());
        let off = early || self.slots.values().all(certainly_off);
        if !self.releasing || self.held || !off {
            return;
        }
        self.releasing = false;
        for address in std::mem::take(&mut self.asked_about) {
            self.output(Output::TellReleased { address });
        }
        if early {
            return;
        }
        if self.proof.take().is_some() {
            self.probe.proof_gone();
        }
        let waits_for_sentinels = |round: super::round::Round| round.stage != Stage::Node;
        if self.rounds.current().is_some_and(waits_for_sentinels) {
            self.rounds.void();
        }
    }

    /// Another host claims what we hold.
    pub(super) fn claimed_while_held(&mut self, now: Now, index: usize, by: [u8; 6]) {
        self.rounds.hint();
        match self.settings.on_conflict {
            OnConflict::Defend => {
                self.warn_of_claim(now, index, by, "it is ours by proof and defended");
                self.defend(now, index);
            }
            OnConflict::Release => {
                self.warn_of_claim(now, index, by, "it is let go until that ends");
                self.let_go(now, Level::Warning, "another host answers for an address");
                self.probe.block(now);
            }
        }
    }
}
