//! The highest configuration epoch seen, and when it may go back.
//!
//! A Sentinel that was away, or was restored from a copy, names an old master in an old epoch. Its vote counts for
//! nothing here, also after a restart of the agent: the highest epoch is kept on disk. Epochs never decide between two
//! hosts, the shared Sentinel of two majorities does (see `core`), so nothing waits for the disk, and an epoch that
//! is lost with a crash costs no exclusion.
//!
//! A deployment that is built anew (new state files, or SENTINEL REMOVE and MONITOR everywhere; RESET keeps the epoch)
//! starts again below. That all configured
//! Sentinels say one and the same lower epoch, without a gap, for [`OVERRIDE_AFTER`] tells it from stale ones, which
//! their peers would have corrected meanwhile: Sentinels greet each other every two seconds.

use std::time::Duration;

use super::types::Now;

/// How long all configured Sentinels must agree on a lower epoch.
pub(super) const OVERRIDE_AFTER: Duration = Duration::from_secs(10);

/// How old an answer may be that still speaks for its Sentinel in such an agreement.
pub(super) const ANSWER_SPEAKS: Duration = Duration::from_secs(1);

/// The highest epoch, and an agreement on a lower one.
#[derive(Debug)]
pub(super) struct Epochs {
    highest: u64,
    lower: Option<Lower>,
}

#[derive(Debug)]
struct Lower {
    epoch: u64,
    since: Now,
}

impl Epochs {
    pub(super) fn new(stored: Option<u64>) -> Self {
        Epochs { highest: stored.unwrap_or(0), lower: None }
    }

    pub(super) fn highest(&self) -> u64 {
        self.highest
    }

    /// Takes note of an epoch that a Sentinel said; whether it is the highest so far.
    pub(super) fn see(&mut self, epoch: u64) -> bool {
        let rose = epoch > self.highest;
        self.highest = self.highest.max(epoch);
        rose
    }

    /// Takes note of the one epoch that all configured Sentinels say now (`None`: they do not agree, or not all
    /// answer). The epoch that was the highest until now, if this agreement has just replaced it.
    pub(super) fn agreed(&mut self, now: Now, all: Option<u64>) -> Option<u64> {
        let Some(epoch) = all.filter(|epoch| *epoch < self.highest) else {
            self.lower = None;
            return None;
        };
        match &self.lower {
            Some(lower) if lower.epoch == epoch => {
                if now.saturating_sub(lower.since) < OVERRIDE_AFTER {
                    return None;
                }
                self.lower = None;
                Some(std::mem::replace(&mut self.highest, epoch))
            }
            _ => {
                self.lower = Some(Lower { epoch, since: now });
                None
            }
        }
    }

    /// The lower epoch that the Sentinels agree on, and since when.
    pub(super) fn lower(&self) -> Option<(u64, Now)> {
        self.lower.as_ref().map(|lower| (lower.epoch, lower.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn only_an_unbroken_agreement_of_ten_seconds_goes_back() {
        let mut epochs = Epochs::new(Some(7));
        assert!(!epochs.see(7) && epochs.see(9));
        assert_eq!(epochs.agreed(SECOND, Some(0)), None);
        assert_eq!(epochs.agreed(SECOND * 9, None), None, "one did not answer");
        assert_eq!(epochs.agreed(SECOND * 10, Some(0)), None);
        assert_eq!(epochs.agreed(SECOND * 15, Some(1)), None, "another epoch begins anew");
        assert_eq!(epochs.agreed(SECOND * 24, Some(1)), None);
        assert_eq!(epochs.agreed(SECOND * 25, Some(1)), Some(9));
        assert_eq!(epochs.highest(), 1);
        assert_eq!(
            epochs.agreed(SECOND * 40, Some(1)),
            None,
            "an agreement on the highest is none on a lower one"
        );
    }
}
