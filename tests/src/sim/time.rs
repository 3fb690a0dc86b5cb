//! Virtual time, the queue of what will happen, and the clocks that Sentinels read.
//!
//! The world counts microseconds, so that what happens within one millisecond has an order of
//! its own. Each Sentinel reads a clock in whole milliseconds that drifts and jumps, as the clocks
//! of machines do.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use redoubt_sentinel::core::timers::Ms;

/// A point in the time of the world, or a span of it, in microseconds.
pub type Us = u64;

/// One millisecond.
pub const MS: Us = 1_000;
/// One second.
pub const SECOND: Us = 1_000_000;

/// What a Sentinel's clock shows when the world begins; high enough that no moment of the past
/// falls before its zero.
const CLOCK_START_MS: Ms = 1_000_000_000;
const MILLION: u64 = 1_000_000;

/// A clock of one machine.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The moment of the world, and what the clock showed then, in its own microseconds.
    set_at: Us,
    showed: u64,
    /// Its microseconds per second of the world.
    rate: u64,
}

impl Clock {
    /// A clock that is `drift_ppm` millionths faster than the world, or slower if negative.
    pub fn new(now: Us, drift_ppm: i64) -> Self {
        Clock {
            set_at: now,
            showed: CLOCK_START_MS * MS + now,
            rate: MILLION.saturating_add_signed(drift_ppm),
        }
    }

    /// What it shows, in milliseconds.
    pub fn read(&self, now: Us) -> Ms {
        self.micros(now) / MS
    }

    fn micros(&self, now: Us) -> u64 {
        self.showed + (now - self.set_at) * self.rate / MILLION
    }

    /// Moves it forward by `by_ms`, or back.
    pub fn jump(&mut self, now: Us, by_ms: i64) {
        self.showed = self.micros(now).saturating_add_signed(by_ms * MS as i64);
        self.set_at = now;
    }

    /// The first moment from `now` on at which it shows at least `at_ms`.
    pub fn when(&self, at_ms: Ms, now: Us) -> Us {
        let Some(wanted) = at_ms.checked_mul(MS) else { return Us::MAX };
        let wait = wanted.saturating_sub(self.showed);
        (self.set_at + (wait * MILLION).div_ceil(self.rate)).max(now)
    }
}

/// What will happen, soonest first; of two at the same moment the one that was entered first.
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Entry<E>>,
    entered: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: Us,
    order: u64,
    event: E,
}

impl<E> Default for Queue<E> {
    fn default() -> Self {
        Queue::new()
    }
}

impl<E> Queue<E> {
    /// An empty queue.
    pub fn new() -> Self {
        Queue { heap: BinaryHeap::new(), entered: 0 }
    }

    /// Enters an event.
    pub fn push(&mut self, at: Us, event: E) {
        self.entered += 1;
        self.heap.push(Entry { at, order: self.entered, event });
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Us {
        self.heap.peek().map_or(Us::MAX, |entry| entry.at)
    }

    /// Takes the next event out.
    pub fn pop(&mut self) -> Option<E> {
        self.heap.pop().map(|entry| entry.event)
    }
}

impl<E> Ord for Entry<E> {
    /// The heap gives its greatest first, which is to be the soonest.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.order).cmp(&(self.at, self.order))
    }
}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl<E> Eq for Entry<E> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_the_order_of_time_then_of_entry() {
        let mut queue = Queue::new();
        for (at, name) in [(5, "c"), (1, "a"), (5, "d"), (2, "b")] {
            queue.push(at, name);
        }
        assert_eq!(queue.next_at(), 1);
        assert_eq!(std::iter::from_fn(|| queue.pop()).collect::<String>(), "abcd");
        assert_eq!(queue.next_at(), Us::MAX);
    }

    #[test]
    fn a_clock_reaches_what_it_is_waited_for_and_not_before() {
        for drift in [-20_000, -300, 0, 300, 20_000] {
            let mut clock = Clock::new(SECOND, drift);
            for step in 1..50 {
                let now = step * SECOND;
                clock.jump(now, step as i64 % 3);
                let wanted = clock.read(now) + 1234;
                let at = clock.when(wanted, now);
                assert_eq!(clock.read(at), wanted, "drift {drift}");
                assert_eq!(clock.read(at - 2), wanted - 1, "drift {drift}");
            }
        }
    }

    #[test]
    fn a_clock_that_jumped_over_a_moment_is_past_it_now() {
        let mut clock = Clock::new(0, 0);
        let wanted = clock.read(0) + 100;
        clock.jump(0, 500);
        assert_eq!(clock.when(wanted, 7), 7);
        assert_eq!(clock.when(Ms::MAX, 7), Us::MAX);
    }
}
