//! Whether somebody else answers for the addresses that are about to be taken.
//!
//! The proof decides who may hold them, so this finds what is outside of its reach: an old owner whose kernel does not
//! fence, a move by a script, an address given twice. Asking begins before the proof where events tell that one may
//! come, and ends [`QUIET`] after it.
//!
//! Where a conflict is defended, no answer could keep from taking, so none is waited for: the questions go on for a
//! while beside the holding, and an answer to them is a claim against it. Where a conflict releases, nobody must have
//! answered for [`QUIET`] before the proof, or else [`QUIET`] is waited after it.
//!
//! Answers to questions from before the proof are no conflict: in a manual failover the old owner answers rightly
//! until it lets go.

use std::time::Duration;

use super::types::{Now, OnConflict};

/// The pace of questions.
const PACE: Duration = Duration::from_millis(20);

/// How long nobody must have answered.
const QUIET: Duration = Duration::from_millis(100);

/// How long an event that may lead to a takeover keeps questions going.
const HINT_LASTS: Duration = Duration::from_secs(3);

/// How often it is asked again while somebody answers, where conflicts keep from taking.
const BLOCKED_PERIOD: Duration = Duration::from_secs(1);

/// An answer or another claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) at: Now,
    pub(super) index: usize,
    pub(super) by: [u8; 6],
}

/// What the questions permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not yet.
    Wait,
    /// Nobody answers, or it would not matter.
    Take,
    /// This one answers, and the settings say to wait until it does not.
    Blocked(Claim),
}

/// The questions about one master's addresses, asked together.
#[derive(Debug, Default)]
pub(super) struct Probe {
    hinted_until: Option<Now>,
    /// Since when questions have gone out without a gap.
    running_since: Option<Now>,
    last_sent: Option<Now>,
    last_claim: Option<Claim>,
    /// The first question after the proof.
    first_after_proof: Option<Now>,
    /// Somebody answered, where that keeps from taking.
    blocked: Option<Blocked>,
}

#[derive(Clone, Copy, Debug)]
struct Blocked {
    /// When the next single question is due.
    next: Now,
    /// When the last one went out.
    asked: Option<Now>,
}

impl Probe {
    /// A takeover may follow.
    pub(super) fn hint(&mut self, now: Now) {
        self.hinted_until = Some(now + HINT_LASTS);
    }

    pub(super) fn claimed(&mut self, claim: Claim) {
        self.last_claim = Some(claim);
    }

    pub(super) fn last_claim(&self) -> Option<Claim> {
        self.last_claim
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.is_some()
    }

    /// Somebody answers for what was held until now: ask at leisure.
    pub(super) fn block(&mut self, now: Now) {
        self.blocked = Some(Blocked { next: now + BLOCKED_PERIOD, asked: None });
    }

    /// The addresses are taken, or will not be.
    pub(super) fn stop(&mut self) {
        *self = Probe::default();
    }

    /// The addresses are taken, and who else answers for them is still to be found.
    pub(super) fn outlast_taking(&mut self, now: Now) {
        *self = Probe { hinted_until: Some(now + QUIET), ..Probe::default() };
    }

    /// There is no proof (any more).
    pub(super) fn proof_gone(&mut self) {
        self.first_after_proof = None;
    }

    /// Whether a question is due for each address. `wanted`: a proof is there or in sight; `proven`: it is there.
    pub(super) fn take_due(&mut self, now: Now, wanted: bool, proven: bool) -> bool {
        if self.hinted_until.is_some_and(|until| now >= until) {
            self.hinted_until = None;
        }
        if self.due(wanted).is_none_or(|due| now < due) {
            return false;
        }
        if let Some(blocked) = &mut self.blocked {
            *blocked = Blocked { next: now + BLOCKED_PERIOD, asked: Some(now) };
        }
        // A gap, say of a process that did not run, hides answers.
        if self.running_since.is_none() || self.last_sent.is_none_or(|last| now > last + PACE * 3) {
            self.running_since = Some(now);
        }
        self.last_sent = Some(now);
        if proven && self.first_after_proof.is_none() {
            self.first_after_proof = Some(now);
        }
        true
    }

    fn due(&self, wanted: bool) -> Option<Now> {
        match self.blocked {
            Some(blocked) => wanted.then_some(blocked.next),
            None if wanted || self.hinted_until.is_some() => {
                Some(self.last_sent.map_or(Now::ZERO, |last| last + PACE))
            }
            None => None,
        }
    }

    /// What a proof that has stood since `proven_since` permits now.
    pub(super) fn verdict(&mut self, now: Now, proven_since: Now, on_conflict: OnConflict) -> Verdict {
        if let Some(blocked) = self.blocked {
            let nobody = blocked.quiet_at(self.last_claim).is_some_and(|at| now >= at);
            return if nobody { Verdict::Take } else { Verdict::Wait };
        }
        if on_conflict == OnConflict::Defend {
            return Verdict::Take;
        }
        let asked_enough = self.running_since.is_some_and(|since| now >= since + QUIET)
            && self.last_sent.is_some_and(|last| now <= last + PACE * 3);
        let claim = self.last_claim;
        if asked_enough && claim.is_none_or(|claim| now >= claim.at + QUIET) {
            return Verdict::Take;
        }
        if now < proven_since + QUIET {
            return Verdict::Wait;
        }
        let conflict = claim.filter(|claim| self.first_after_proof.is_some_and(|asked| claim.at > asked));
        match conflict {
            Some(claim) => {
                self.block(now);
                Verdict::Blocked(claim)
            }
            None => Verdict::Take,
        }
    }

    /// When to look again. `proven_since`: if a proof stands.
    pub(super) fn wake(&self, wanted: bool, proven_since: Option<Now>) -> Option<Now> {
        let verdict = proven_since.and_then(|since| match (self.blocked, self.last_claim) {
            (Some(blocked), claim) => blocked.quiet_at(claim),
            (None, claim) => {
                let quiet_from =
                    self.running_since.unwrap_or(since).max(claim.map_or(Now::ZERO, |claim| claim.at));
                Some((since + QUIET).min(quiet_from + QUIET))
            }
        });
        [self.due(wanted), verdict].into_iter().flatten().min()
    }
}

impl Blocked {
    /// When it is certain that nobody has answered the last question, if nobody has.
    fn quiet_at(self, last_claim: Option<Claim>) -> Option<Now> {
        let asked = self.asked?;
        last_claim.is_none_or(|claim| claim.at < asked).then_some(asked + QUIET)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: [u8; 6] = [2, 0, 0, 0, 0, 9];

    fn ms(ms: u64) -> Now {
        Duration::from_millis(ms)
    }

    /// Asks every millisecond in this span, with the claims of `claims` arriving in between.
    fn run(probe: &mut Probe, span: std::ops::Range<u64>, proven: bool, claims: &[u64]) {
        for at in span {
            probe.take_due(ms(at), proven, proven);
            if claims.contains(&at) {
                probe.claimed(Claim { at: ms(at), index: 0, by: BY });
            }
        }
    }

    #[test]
    fn quiet_before_the_proof_costs_no_time() {
        let mut probe = Probe::default();
        probe.hint(ms(0));
        run(&mut probe, 0..150, false, &[]);
        assert_eq!(probe.verdict(ms(150), ms(150), OnConflict::Release), Verdict::Take);
    }

    #[test]
    fn without_a_hint_a_tenth_of_a_second_is_waited() {
        let mut probe = Probe::default();
        run(&mut probe, 500..600, true, &[]);
        assert_eq!(probe.verdict(ms(599), ms(500), OnConflict::Release), Verdict::Wait);
        assert_eq!(probe.wake(true, Some(ms(500))), Some(ms(600)));
        assert_eq!(probe.verdict(ms(600), ms(500), OnConflict::Release), Verdict::Take);
    }

    #[test]
    fn where_conflicts_are_defended_nothing_is_waited_for_and_the_questions_outlast_the_taking() {
        let mut probe = Probe::default();
        assert_eq!(probe.verdict(ms(500), ms(500), OnConflict::Defend), Verdict::Take);
        probe.outlast_taking(ms(500));
        let sent = (500..1000).filter(|at| probe.take_due(ms(*at), false, false)).count();
        assert_eq!(sent, 5);
        assert_eq!(probe.wake(false, None), None);
    }

    #[test]
    fn an_old_owner_that_answered_before_the_proof_is_no_conflict() {
        let mut probe = Probe::default();
        probe.hint(ms(0));
        run(&mut probe, 0..150, false, &[20, 40, 60, 149]);
        run(&mut probe, 150..250, true, &[]);
        assert_eq!(probe.verdict(ms(150), ms(150), OnConflict::Release), Verdict::Wait);
        assert_eq!(probe.verdict(ms(249), ms(150), OnConflict::Release), Verdict::Take);
    }

    #[test]
    fn one_that_goes_on_answering_is_a_conflict() {
        let claims: Vec<u64> = (0..300).filter(|at| at % 20 == 1).collect();
        let claim = Claim { at: ms(241), index: 0, by: BY };
        let mut probe = Probe::default();
        run(&mut probe, 100..250, true, &claims);
        assert_eq!(probe.verdict(ms(200), ms(150), OnConflict::Release), Verdict::Wait);
        assert_eq!(probe.verdict(ms(250), ms(150), OnConflict::Release), Verdict::Blocked(claim));
        // From then on one question a second, and nobody answering one of them is enough.
        run(&mut probe, 250..1300, true, &[1251]);
        assert_eq!(probe.last_sent, Some(ms(1250)));
        assert_eq!(probe.verdict(ms(1400), ms(150), OnConflict::Release), Verdict::Wait);
        run(&mut probe, 1300..2340, true, &[]);
        assert_eq!(probe.verdict(ms(2340), ms(150), OnConflict::Release), Verdict::Wait);
        assert_eq!(probe.verdict(ms(2350), ms(150), OnConflict::Release), Verdict::Take);
    }

    #[test]
    fn questions_end_when_no_failover_follows() {
        let mut probe = Probe::default();
        probe.hint(ms(0));
        let sent = (0..10_000).filter(|at| probe.take_due(ms(*at), false, false)).count();
        assert_eq!(sent, 150);
        assert_eq!(probe.wake(false, None), None);
    }

    #[test]
    fn a_process_that_did_not_run_has_heard_nothing() {
        let mut probe = Probe::default();
        probe.hint(ms(0));
        run(&mut probe, 0..30, false, &[]);
        run(&mut probe, 900..901, true, &[]);
        assert_eq!(probe.verdict(ms(900), ms(900), OnConflict::Release), Verdict::Wait);
    }
}
