//! When the node and the Sentinels are asked.
//!
//! One round is in flight at most. It ends as soon as its outcome is certain: a slow or dead Sentinel delays neither
//! the proof nor the next round. A hint makes the next round follow at once, and cuts a round short that waits for
//! somebody slow: what the hint tells of is newer than what this round was told. A round that follows a cut one is not
//! cut, so a stream of hints cannot keep every round from its end.

use std::time::Duration;

use super::types::{Now, QUESTION_LIMIT};

/// How often a node is asked that is not a master: how long a switch goes unnoticed of which no event tells.
pub(super) const IDLE_PERIOD: Duration = Duration::from_millis(200);

/// Rounds begin no faster than this, whatever hints come.
const SPACING: Duration = Duration::from_millis(5);

/// How long a round goes on after asking the Sentinels when it need not be awaited to its end.
const CUT_AFTER: Duration = Duration::from_millis(20);

/// Whose answers are awaited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The local node's.
    Node,
    /// The Sentinels', asked at this time.
    Sentinels { asked: Now },
}

/// A round in flight.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    pub(super) id: u64,
    /// From here its lease counts.
    pub(super) began: Now,
    pub(super) stage: Stage,
    cuttable: bool,
    /// From here on it waits for nobody: only time is missing, or somebody who may be dead.
    enough_at: Option<Now>,
}

/// The round in flight and the next one.
#[derive(Debug)]
pub(super) struct Rounds {
    current: Option<Round>,
    last_id: u64,
    last_began: Option<Now>,
    last_cut: bool,
    due: Now,
    hinted: bool,
}

impl Rounds {
    pub(super) fn new(now: Now) -> Self {
        Rounds { current: None, last_id: 0, last_began: None, last_cut: false, due: now, hinted: false }
    }

    pub(super) fn current(&self) -> Option<Round> {
        self.current
    }

    /// The last round that began; 0 if none has.
    pub(super) fn last(&self) -> u64 {
        self.last_id
    }

    /// Another round shall follow at once.
    pub(super) fn hint(&mut self) {
        self.hinted = true;
    }

    /// Begins a round if one is due.
    pub(super) fn begin(&mut self, now: Now) -> Option<u64> {
        if self.current.is_some() || now < self.due() {
            return None;
        }
        self.last_id += 1;
        self.last_began = Some(now);
        self.hinted = false;
        let cuttable = !std::mem::take(&mut self.last_cut);
        self.current =
            Some(Round { id: self.last_id, began: now, stage: Stage::Node, cuttable, enough_at: None });
        Some(self.last_id)
    }

    pub(super) fn asked_sentinels(&mut self, now: Now) {
        if let Some(round) = &mut self.current {
            round.stage = Stage::Sentinels { asked: now };
        }
    }

    /// What is answered is enough to know when a round will bring a proof: the others get little time.
    pub(super) fn enough(&mut self) {
        if let Some(round) = &mut self.current
            && let Stage::Sentinels { asked } = round.stage
        {
            round.enough_at = Some(asked + CUT_AFTER);
        }
    }

    /// Ends the round in flight; the next is due `period` after it began.
    pub(super) fn end(&mut self, period: Duration) {
        if let Some(round) = self.current.take() {
            self.due = round.began + period;
        }
    }

    /// No answer to a question asked until now counts any more. The next round is due at once.
    pub(super) fn void(&mut self) {
        self.current = None;
        self.hinted = true;
    }

    /// Makes the next round due at `at`, if it would be later.
    pub(super) fn not_later_than(&mut self, at: Now) {
        self.due = self.due.min(at);
    }

    /// Whether the round in flight is to end without the answers that are missing, and if so whether by a hint.
    pub(super) fn over(&mut self, now: Now) -> Option<Over> {
        let round = self.current?;
        if now >= round.limit() {
            return Some(Over::Limit);
        }
        if round.enough_at.is_some_and(|at| now >= at) {
            return Some(Over::Enough);
        }
        if self.cut_at().is_some_and(|at| now >= at) {
            self.last_cut = true;
            return Some(Over::Cut);
        }
        None
    }

    fn cut_at(&self) -> Option<Now> {
        match self.current? {
            Round { stage: Stage::Sentinels { asked }, cuttable: true, .. } if self.hinted => {
                Some(asked + CUT_AFTER)
            }
            _ => None,
        }
    }

    fn due(&self) -> Now {
        let soonest = self.last_began.map_or(Now::ZERO, |began| began + SPACING);
        if self.hinted { soonest } else { self.due.max(soonest) }
    }

    /// When to look again.
    pub(super) fn wake(&self) -> Now {
        match self.current {
            Some(round) => {
                let early = [self.cut_at(), round.enough_at].into_iter().flatten();
                early.fold(round.limit(), Now::min)
            }
            None => self.due(),
        }
    }
}

impl Round {
    fn limit(&self) -> Now {
        QUESTION_LIMIT
            + match self.stage {
                Stage::Node => self.began,
                Stage::Sentinels { asked } => asked,
            }
    }
}

/// Why a round ends without all its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    /// No answer counts any more.
    Limit,
    /// A majority names this host, and only the age of its votes is missing.
    Enough,
    /// A hint wants the next one.
    Cut,
}
