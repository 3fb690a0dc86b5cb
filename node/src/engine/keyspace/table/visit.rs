//! Visiting the table's objects in scan order, from a cursor that stays true while the table grows and
//! shrinks: SCAN, the snapshot's walk, samples for expiry and eviction, RANDOMKEY, and statistics.
//!
//! Positions are 64-bit numbers, hashes read backwards. A bucket chosen by `bits` bits of the hash holds
//! exactly the objects of a range of 2^(64 − bits) positions, so a cursor that is a position always lies within
//! one bucket's range, and the end of that range is the next cursor.

#![allow(unsafe_code)]

use rand::{Rng, RngCore};

use super::bucket::{Bucket, Place, SlotSet};
use super::{ObjectMut, Table};
use crate::engine::keyspace::object::Object;

/// How often [`Table::random`] may meet an empty bucket before it looks for a full one systematically.
const RANDOM_TRIES: usize = 64;

/// The bucket that a position lies in, and the bucket's whole range of positions.
struct Range {
    index: usize,
    first: u64,
    last: u64,
}

/// Figures of a table's shape, for DEBUG HTSTATS.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Objects.
    pub len: usize,
    /// Objects with an expiry.
    pub expiring: usize,
    /// Buckets that hashes choose directly.
    pub buckets: usize,
    /// Buckets behind full ones.
    pub children: usize,
    /// Of the buckets that hashes choose, how many have n objects in their chains, at n.
    pub objects_per_bucket: Vec<usize>,
}

impl Table {
    /// An object's place in scan order, from its key's hash.
    #[inline]
    pub const fn position(hash: u64) -> u64 {
        hash.reverse_bits()
    }

    /// Hands one bucket's objects to `f`, and gives the cursor for the next call; 0 starts, and 0 is the end.
    ///
    /// Whatever is in the table from the first call to the last is handed out, some of it perhaps more than
    /// once, as SCAN promises. Any number is a valid cursor.
    pub fn scan(&self, cursor: u64, f: impl FnMut(&Object)) -> u64 {
        self.visit(cursor, Bucket::occupied, f)
    }

    /// Hands the objects with an expiry in the next `buckets` buckets to `f`, and gives the next cursor, as
    /// [`Table::scan`] does. Objects without an expiry are not touched. From a random cursor, it is a random sample.
    pub fn sample_expiring(&self, cursor: u64, buckets: usize, mut f: impl FnMut(&Object)) -> u64 {
        let mut next = cursor;
        for _ in 0..buckets {
            next = self.visit(next, Bucket::expiring, &mut f);
            if next == 0 {
                break;
            }
            self.prefetch(next);
        }
        next
    }

    fn visit(&self, cursor: u64, choose: impl Fn(&Bucket) -> SlotSet, mut f: impl FnMut(&Object)) -> u64 {
        if self.segments.len() == 0 {
            return 0;
        }
        let range = self.range_at(Self::position(cursor));
        // SAFETY: `self` is borrowed, and the places are occupied.
        unsafe {
            for Place { bucket, slot } in self.chain(range.index).places(choose) {
                f(bucket.as_ref().object(slot));
            }
        }
        range.last.wrapping_add(1).reverse_bits()
    }

    /// One step of a walk in scan order: hands exactly the objects whose position is `from` or above, and below the
    /// position returned, to `f`; `None` at the end. Start at 0.
    ///
    /// However the table changes between the steps, their ranges neither overlap nor leave anything out. Objects'
    /// keys must stay the same.
    pub fn walk(&mut self, from: u64, mut f: impl FnMut(&mut Object)) -> Option<u64> {
        if self.segments.len() == 0 {
            return None;
        }
        let range = self.range_at(from);
        // SAFETY: the places are occupied; `self` is borrowed exclusively, and the iterator holds no reference into a
        // bucket between its steps. `f` cannot reach the table, so the chain stays as it is.
        unsafe {
            for Place { mut bucket, slot } in self.chain(range.index).places(Bucket::occupied) {
                if range.first < from && Self::position(self.hash(bucket.as_ref().object(slot).key())) < from
                {
                    continue;
                }
                f(&mut ObjectMut { bucket: bucket.as_mut(), slot, expiring: &mut self.expiring });
            }
        }
        range.last.checked_add(1)
    }

    /// An object at random: its bucket drawn by hash, then a slot of it; `None` if the table is empty.
    pub fn random(&self, rng: &mut impl RngCore) -> Option<&Object> {
        if self.is_empty() {
            return None;
        }
        let mut position = rng.next_u64();
        for _ in 0..RANDOM_TRIES {
            if let Some(object) = self.random_in(&self.range_at(position), rng) {
                return Some(object);
            }
            position = rng.next_u64();
        }
        loop {
            let range = self.range_at(position);
            if let Some(object) = self.random_in(&range, rng) {
                return Some(object);
            }
            position = range.last.wrapping_add(1);
        }
    }

    fn random_in(&self, range: &Range, rng: &mut impl RngCore) -> Option<&Object> {
        // SAFETY: `self` is borrowed, which the result extends, and the place is occupied.
        unsafe {
            let places = || self.chain(range.index).places(Bucket::occupied);
            let count = places().count();
            if count == 0 {
                return None;
            }
            let Place { bucket, slot } = places().nth(rng.random_range(0..count))?;
            Some(bucket.as_ref().object(slot))
        }
    }

    /// Figures of the table's shape. Visits every bucket.
    pub fn stats(&self) -> Stats {
        let mut stats = Stats {
            len: self.len,
            expiring: self.expiring,
            buckets: self.segments.len(),
            children: self.children,
            objects_per_bucket: Vec::new(),
        };
        for index in 0..self.segments.len() {
            // SAFETY: `self` is borrowed.
            let objects = unsafe { self.chain(index) }.places(Bucket::occupied).count();
            if stats.objects_per_bucket.len() <= objects {
                stats.objects_per_bucket.resize(objects + 1, 0);
            }
            stats.objects_per_bucket[objects] += 1;
        }
        stats
    }

    /// The bucket in whose range a position lies. There must be a bucket.
    #[inline]
    fn range_at(&self, position: u64) -> Range {
        let index = self.index_of(position.reverse_bits());
        let split_bit = self.split_bit();
        let is_split = index >= split_bit || index + split_bit < self.segments.len();
        let bits = self.mask.count_ones() - u32::from(!is_split);
        let span = u64::MAX >> bits;
        Range { index, first: position & !span, last: position | span }
    }
}
