//! The clocks of the outside: wall time for expiry, a monotonic one for timing.

use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

/// Unix time in ms.
pub fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}

/// Unix time in µs.
pub fn unix_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as i64)
}

/// Monotonic time since an instant in the past that stays the same, in ns. Read once a command, so that it does not pass
/// through `Instant`, whose arithmetic would take half as long again as the reading.
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("Linux has a monotonic clock");
    now.tv_sec() as u64 * 1_000_000_000 + now.tv_nsec() as u64
}

/// Monotonic time since an instant in the past that stays the same, in ms.
pub fn monotonic_ms() -> u64 {
    monotonic_ns() / 1_000_000
}
