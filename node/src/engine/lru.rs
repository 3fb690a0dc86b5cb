//! The access field of an object: 24 bits, either the second of the last access (LRU) or a
//! logarithmic counter of accesses with the minute it last decayed (LFU).
//!
//! Source of the rules: "Key eviction" in the documentation, sections on LRU and LFU.

use rand::RngCore;

use super::Engine;
use crate::config::MaxmemoryPolicy;

/// The field is this wide.
pub const LRU_MAX: u32 = (1 << 24) - 1;
/// A new key's LFU counter, so that it is not evicted at once.
const LFU_INITIAL: u32 = 5;

/// The LFU field of a key created now.
pub fn lfu_initial(now_ms: i64) -> u32 {
    lfu_field(now_ms, LFU_INITIAL as u8)
}

/// The LFU field of a key with this counter, touched now.
pub fn lfu_field(now_ms: i64, counter: u8) -> u32 {
    minute(now_ms) << 8 | u32::from(counter)
}

fn minute(now_ms: i64) -> u32 {
    (now_ms / 60_000) as u32 & 0xffff
}

/// The counter of an LFU field after the decay since it was last touched.
pub fn lfu_decayed(field: u32, now_ms: i64, decay_minutes: u32) -> u32 {
    let elapsed = minute(now_ms).wrapping_sub(field >> 8) & 0xffff;
    let periods = elapsed.checked_div(decay_minutes).unwrap_or(0);
    (field & 0xff).saturating_sub(periods)
}

impl Engine {
    /// The second that LRU fields hold, as of this batch.
    pub fn lru_clock(&self) -> u32 {
        (self.now_ms / 1000) as u32 & LRU_MAX
    }

    /// Whether access fields are LFU counters.
    pub fn lfu(&self) -> bool {
        matches!(self.config.maxmemory_policy, MaxmemoryPolicy::AllkeysLfu | MaxmemoryPolicy::VolatileLfu)
    }

    /// Milliseconds since the access that an LRU field holds.
    pub fn idle_ms(&self, field: u32) -> u64 {
        (self.lru_clock().wrapping_sub(field) & LRU_MAX) as u64 * 1000
    }

    /// The LFU field after one more access.
    pub(super) fn lfu_access(&mut self, field: u32) -> u32 {
        let counter = lfu_decayed(field, self.now_ms, self.config.lfu_decay_time_mins);
        let raised = if counter == 255 {
            255
        } else {
            let base = counter.saturating_sub(LFU_INITIAL) as f64;
            let chance = 1.0 / (base * self.config.lfu_log_factor as f64 + 1.0);
            let draw = self.rng.next_u32() as f64 / u32::MAX as f64;
            counter + u32::from(draw < chance)
        };
        minute(self.now_ms) << 8 | raised
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_decays_by_one_a_period_and_wraps_with_the_clock() {
        let at = |minutes: i64| minutes * 60_000;
        let field = minute(at(100)) << 8 | 40;
        assert_eq!(lfu_decayed(field, at(100), 1), 40);
        assert_eq!(lfu_decayed(field, at(110), 1), 30);
        assert_eq!(lfu_decayed(field, at(110), 5), 38);
        assert_eq!(lfu_decayed(field, at(300), 1), 0);
        assert_eq!(lfu_decayed(field, at(300), 0), 40);
        let late = minute(at(65_535)) << 8 | 9;
        assert_eq!(lfu_decayed(late, at(65_536 + 1), 1), 7);
    }
}
