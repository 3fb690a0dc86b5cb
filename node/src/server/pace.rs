//! Work that goes on for a while outside of the engine's lock: how it is called off, and the delays
//! a key that tests slow it down with.

use std::time::Duration;

use parking_lot::{Condvar, Mutex};

/// Calls off work of another thread, which looks here between its steps.
#[derive(Debug, Default)]
pub struct Cancel {
    ordered: Mutex<bool>,
    told: Condvar,
}

impl Cancel {
    /// The work is to stop.
    pub fn order(&self) {
        *self.ordered.lock() = true;
        self.told.notify_all();
    }

    /// Whether the work is to stop.
    pub fn is_ordered(&self) -> bool {
        *self.ordered.lock()
    }

    /// Sleeps, but no longer than until the work is to stop.
    fn sleep(&self, time: Duration) {
        let mut ordered = self.ordered.lock();
        if !*ordered {
            // Nothing else wakes it, so that an early end means the order.
            let _ = self.told.wait_for(&mut ordered, time);
        }
    }
}

/// The delay a key of `key-load-delay` or `rdb-key-save-delay`.
#[derive(Debug, Default)]
pub struct Delay {
    /// Keys that did not yet add up to a delay.
    keys: u64,
}

impl Delay {
    /// Waits for what `keys` keys cost: `us` microseconds each or, if it is negative, one
    /// microsecond for so many keys.
    pub fn after(&mut self, keys: u64, us: i32, cancel: &Cancel) {
        let each = u64::from(us.unsigned_abs());
        let total_us = match us {
            0 => 0,
            1.. => keys.saturating_mul(each),
            ..0 => {
                self.keys += keys;
                let whole = self.keys / each;
                self.keys %= each;
                whole
            }
        };
        if total_us > 0 {
            cancel.sleep(Duration::from_micros(total_us));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;

    #[test]
    fn a_delay_ends_when_the_work_is_called_off() {
        let cancel = Arc::new(Cancel::default());
        let order = cancel.clone();
        let started = Instant::now();
        let other = std::thread::spawn(move || order.order());
        Delay::default().after(1_000_000, 1_000_000, &cancel);
        other.join().expect("it ends");
        assert!(cancel.is_ordered());
        Delay::default().after(1_000_000, 1_000_000, &cancel);
        assert!(started.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn a_negative_delay_adds_keys_up() {
        let (mut delay, cancel) = (Delay::default(), Cancel::default());
        delay.after(7, -10, &cancel);
        assert_eq!(delay.keys, 7);
        delay.after(7, -10, &cancel);
        assert_eq!(delay.keys, 4);
        delay.after(3, 0, &cancel);
        assert_eq!(delay.keys, 4);
    }

    #[test]
    fn a_delay_takes_its_time() {
        let started = Instant::now();
        Delay::default().after(20, 1_000, &Cancel::default());
        assert!(started.elapsed() >= Duration::from_millis(20));
    }
}
