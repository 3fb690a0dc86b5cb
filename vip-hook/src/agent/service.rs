//! What systemd hears of the agent: that it serves, that its loop goes round, what it holds, and that it ends.

use std::env;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use redoubt_wire::notify;

/// The agent as its supervisor sees it. Without one nobody hears what is told.
#[derive(Debug, Default)]
pub(super) struct Service {
    watchdog: Option<Duration>,
    told: String,
}

impl Service {
    pub(super) fn start() -> Self {
        let number = |name: &str| env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
        let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|usec| for_us && *usec > 0).map(Duration::from_micros);
        Service { watchdog, told: String::new() }
    }

    /// How often the loop has to say that it is alive.
    pub(super) fn pulse(&self) -> Duration {
        const LONGEST: Duration = Duration::from_secs(1);
        self.watchdog.map_or(LONGEST, |limit| (limit / 4).min(LONGEST))
    }

    pub(super) fn ready(&mut self, status: String) {
        notify::service_manager(&format!("READY=1\nSTATUS={status}"));
        self.told = status;
    }

    pub(super) fn status(&mut self, status: String) {
        if status != self.told {
            notify::service_manager(&format!("STATUS={status}"));
            self.told = status;
        }
    }

    pub(super) fn alive(&self) {
        if self.watchdog.is_some() {
            notify::service_manager("WATCHDOG=1");
        }
    }

    pub(super) fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        notify::service_manager(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()));
    }

    pub(super) fn stopping(&self) {
        notify::service_manager("STOPPING=1");
    }
}
