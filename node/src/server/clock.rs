//! The clocks of the outside: wall time for expiry, a monotonic one for timing.

use std::sync::LazyLock;
use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in ms.
pub fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// Unix time in µs.
pub fn unix_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}

/// The cycle counter where the system vouches for it, else the system's monotonic clock; calibrated when first used.
static MONOTONIC: LazyLock<quanta::Clock> = LazyLock::new(quanta::Clock::new);

/// Monotonic time since an instant in the past that stays the same, in ns. Read once a command.
#[inline]
pub fn monotonic_ns() -> u64 {
    MONOTONIC.delta_as_nanos(0, MONOTONIC.raw())
}

/// Monotonic time since an instant in the past that stays the same, in ms.
pub fn monotonic_ms() -> u64 {
    monotonic_ns() / 1_000_000
}
