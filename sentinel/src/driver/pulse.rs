//! When the loop tells systemd that it comes round, and what the Sentinel is about: often enough for the watchdog,
//! and at once when something happened that an operator should see.

use redoubt_wire::service::Service;

use crate::core::timers::Ms;

/// The time of the next beat.
#[derive(Debug)]
pub(super) struct Pulse {
    interval_ms: Option<Ms>,
    due: Ms,
}

impl Pulse {
    /// One that beats as often as `service` asks for, if anybody listens to it.
    pub(super) fn new(service: &Service, now: Ms) -> Self {
        let interval_ms = service.pulse().map(|pulse| (pulse.as_millis() as Ms).max(1));
        Pulse { interval_ms, due: if interval_ms.is_some() { now } else { Ms::MAX } }
    }

    /// When it beats.
    pub(super) fn due(&self) -> Ms {
        self.due
    }

    /// Has it beat as soon as the loop comes round.
    pub(super) fn hasten(&mut self, now: Ms) {
        self.due = self.due.min(if self.interval_ms.is_some() { now } else { Ms::MAX });
    }

    /// Whether it beats now.
    pub(super) fn beats(&mut self, now: Ms) -> bool {
        match self.interval_ms {
            Some(interval) if self.due <= now => {
                self.due = now + interval;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use redoubt_wire::service::{LOADING, Supervision};

    use super::*;

    #[test]
    fn it_beats_in_time_and_when_hastened() {
        let mut pulse = Pulse { interval_ms: Some(100), due: 1_000 };
        assert!(pulse.beats(1_000) && !pulse.beats(1_099) && pulse.beats(1_100));
        pulse.hasten(1_150);
        assert_eq!(pulse.due(), 1_150);
        assert!(pulse.beats(1_150) && !pulse.beats(1_200));
        assert_eq!(pulse.due(), 1_250);
    }

    #[test]
    fn without_a_listener_it_never_wakes_the_loop() {
        let service = Service::start(Supervision::No, LOADING);
        assert_eq!(service.pulse(), None::<Duration>);
        let mut pulse = Pulse::new(&service, 1_000);
        pulse.hasten(1_000);
        assert_eq!(pulse.due(), Ms::MAX);
        assert!(!pulse.beats(Ms::MAX));
    }
}
