//! Virtual time: true microseconds, and clocks that run a little faster or slower.

use std::time::Duration;

use crate::core::types::Now;

/// True time since the beginning of the run, or a span of it, in microseconds.
pub(super) type Us = u64;

pub(super) const MS: Us = 1000;
pub(super) const SECOND: Us = 1_000_000;

/// One machine's monotonic clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct Clock {
    /// What it showed when the run began.
    pub(super) offset: Us,
    /// By how many millionths it is fast.
    pub(super) ppm: i64,
}

impl Clock {
    /// What it shows.
    pub(super) fn show(self, now: Us) -> Now {
        Duration::from_micros(self.offset + self.elapsed(now))
    }

    /// How much time it counts in a true span.
    pub(super) fn elapsed(self, span: Us) -> Us {
        (span as i64 + span as i64 * self.ppm / 1_000_000) as Us
    }

    /// The true time at which it shows `at`, or a little later.
    pub(super) fn when(self, at: Now) -> Us {
        let shown = (at.as_micros() as Us).saturating_sub(self.offset);
        let mut now = (shown as i64 - shown as i64 * self.ppm / 1_000_000) as Us;
        while self.show(now) < at {
            now += 1;
        }
        now
    }
}
