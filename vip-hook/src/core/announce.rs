//! When neighbours are told where an address is.
//!
//! Five times in the first five seconds, since a frame can be lost and a switch's port can come up late; then now and
//! then, for caches that were filled wrongly meanwhile.

use std::time::Duration;

use super::types::Now;

/// When announcements follow after taking, in milliseconds.
const SERIES_MS: [u64; 5] = [0, 200, 1000, 2000, 5000];

/// The announcements of one address.
#[derive(Debug, Default)]
pub(super) struct Announcements {
    began: Now,
    step: usize,
    next: Option<Now>,
    failed: bool,
}

impl Announcements {
    /// Begins the series anew.
    pub(super) fn start(&mut self, now: Now) {
        *self = Announcements { began: now, step: 0, next: Some(now), failed: false };
    }

    pub(super) fn stop(&mut self) {
        self.next = None;
        self.failed = false;
    }

    /// Whether one is due now, which it then counts as sent.
    pub(super) fn take_due(&mut self, now: Now, interval: Duration) -> bool {
        if self.next.is_none_or(|next| now < next) {
            return false;
        }
        self.step += 1;
        // A process that was late sends one, not all that it missed.
        while SERIES_MS.get(self.step).is_some_and(|ms| self.began + Duration::from_millis(*ms) <= now) {
            self.step += 1;
        }
        self.next = Some(match SERIES_MS.get(self.step) {
            Some(ms) => self.began + Duration::from_millis(*ms),
            None => now + interval,
        });
        true
    }

    /// One failed: another is due with the next round.
    pub(super) fn failed(&mut self) {
        self.failed = self.next.is_some();
    }

    /// A round has renewed the lease.
    pub(super) fn retry(&mut self) -> bool {
        std::mem::take(&mut self.failed)
    }

    pub(super) fn wake(&self) -> Option<Now> {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_in_five_seconds_then_one_an_interval() {
        let mut announcements = Announcements::default();
        let interval = Duration::from_secs(60);
        announcements.start(Duration::from_secs(3));
        let mut sent = Vec::new();
        for ms in 0..140_000 {
            if announcements.take_due(Duration::from_millis(ms), interval) {
                sent.push(ms);
            }
        }
        assert_eq!(sent, [3000, 3200, 4000, 5000, 8000, 68_000, 128_000]);
    }

    #[test]
    fn lateness_sends_one_for_all_that_were_missed() {
        let mut announcements = Announcements::default();
        announcements.start(Duration::ZERO);
        let late = Duration::from_millis(2500);
        assert!(announcements.take_due(late, Duration::from_secs(60)));
        assert!(!announcements.take_due(late, Duration::from_secs(60)));
        assert_eq!(announcements.wake(), Some(Duration::from_secs(5)));
    }
}
