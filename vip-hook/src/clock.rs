//! The one clock of the agent and of what it does to its host.
//!
//! It counts from the start of the machine and goes on while that sleeps (CLOCK_BOOTTIME): a lease that ended
//! during a suspension must be over after it. Steps of the wall clock do not touch it.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use crate::core::types::Now;

/// The time since the machine started.
///
/// # Panics
/// Never on Linux since 2.6.39, which has this clock.
pub fn now() -> Now {
    let time = clock_gettime(ClockId::CLOCK_BOOTTIME).expect("CLOCK_BOOTTIME is there since Linux 2.6.39");
    Duration::from(time)
}
