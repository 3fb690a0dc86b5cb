//! The hash table of the keyspace: from a key to the object that holds it.
//!
//! # Structure
//!
//! A *bucket* is one cache line with up to seven objects and a byte of each one's hash ([`bucket`]). A lookup computes the hash,
//! loads one bucket, and follows the one pointer whose tag matches: two cache misses. A bucket that overflows grows a
//! chain of child buckets. Buckets live in segments of 64 KiB ([`segments`]).
//!
//! # Growing and shrinking
//!
//! The table grows by *linear hashing* (W. Litwin, "Linear hashing: a new tool for file and table addressing", 1980;
//! in memory: P.-Å. Larson, "Dynamic hash tables", 1988): the number of buckets need not be a power of two, it is whatever the
//! number of keys asks for, and changes by one bucket at a time.
//!
//! ```text
//!   2^b <= buckets < 2^(b+1)
//!
//!   0        split          2^b    2^b + split = buckets
//!   |==========|-------------|==========|
//!    b+1 bits     b bits       b+1 bits         of the hash choose these buckets
//! ```
//!
//! To grow, bucket `split` divides its objects, by one more bit of their hashes, between itself and a new
//! bucket at the end. To shrink, the last bucket's objects go back to where they came from. An insertion does at most
//! two such steps and a removal likewise, so there is no second table, no rehashing that goes on for a while and makes lookups look
//! twice, and memory follows the number of keys without leaps.
//!
//! # Scan order
//!
//! A bucket is chosen by the low bits of the hash. Read backwards ([`Table::position`]), they become the high bits
//! of a number: each bucket then holds the objects of one contiguous range of positions, and growing or shrinking
//! divides or joins neighbouring ranges. A cursor that is a position stays true whatever happens to the table
//! in between; [`visit`] builds SCAN, the snapshot's walk and sampling on that. (The reverse-binary cursor of SCAN
//! is Pieter Noordhuis's idea; reversed bits make it small numbers.)
//!
//! # Invariants of the unsafe code here and in [`visit`]
//!
//! - `segments` holds the chains' heads; `children` counts the buckets behind them; each object lies in the chain that
//!   `index_of` gives for its hash, once.
//! - `len` counts objects, `expiring` the expiry bits that are set.
//! - A [`Place`] is used before the next change of the table, under the borrow under which it was found.

#![allow(unsafe_code)]

mod bucket;
mod segments;
#[cfg(test)]
mod tests;
mod visit;

use std::hash::{BuildHasher, Hasher};
use std::ops::{Deref, DerefMut};
use std::ptr::NonNull;

use ahash::RandomState;

use self::bucket::{Bucket, Chain, Loose, Place, tag_of};
use self::segments::Segments;
pub use self::visit::Stats;
use super::object::Object;
use crate::memory::prefetch;

/// The table grows when there are more objects than this a bucket, in halves of an object.
const GROW_ABOVE_HALVES: usize = 9;
/// The table shrinks when there are fewer objects than this a bucket. Far enough from the other limit that a table whose size
/// oscillates does not split and join for nothing.
const SHRINK_BELOW: usize = 2;
/// The most buckets that one insertion adds or one removal gives up.
const STEPS_PER_WRITE: usize = 2;

/// A hash table of [`Object`]s by their keys.
///
/// Hashes are computed by the caller with [`Table::hash`], once a command, so that it can prefetch with them.
pub struct Table {
    segments: Segments,
    /// One less than the lowest power of two that is not below the number of buckets.
    mask: usize,
    len: usize,
    expiring: usize,
    children: usize,
    hasher: RandomState,
}

// SAFETY: the table owns its buckets and objects, and objects may cross threads.
unsafe impl Send for Table {}
// SAFETY: a shared table gives out shared objects only, and those may be shared between threads.
unsafe impl Sync for Table {}

impl Table {
    /// An empty table, which takes no memory. `hasher` decides where keys go; to resist flooding, its seeds must be secret.
    pub fn new(hasher: RandomState) -> Table {
        Table { segments: Segments::new(), mask: 0, len: 0, expiring: 0, children: 0, hasher }
    }

    /// The hash of a key, equal in all tables with the same seeds.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.hasher.build_hasher();
        hasher.write(key);
        hasher.finish()
    }

    /// Objects in the table.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Objects that have an expiry.
    #[inline]
    pub fn expiring(&self) -> usize {
        self.expiring
    }

    /// The object with this key.
    #[inline]
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<&Object> {
        let Place { bucket, slot } = self.place(hash, key)?;
        // SAFETY: found under the borrow of `self`, which the result extends.
        Some(unsafe { bucket.as_ref().object(slot) })
    }

    /// The object with this key, to be changed. Its key must stay the same.
    #[inline]
    pub fn find_mut(&mut self, hash: u64, key: &[u8]) -> Option<ObjectMut<'_>> {
        let Place { mut bucket, slot } = self.place(hash, key)?;
        // SAFETY: found under the exclusive borrow of `self`, which the result extends.
        Some(ObjectMut { bucket: unsafe { bucket.as_mut() }, slot, expiring: &mut self.expiring })
    }

    /// Applies `change` to the object with this key. Its key must stay the same.
    #[inline]
    pub fn update<R>(&mut self, hash: u64, key: &[u8], change: impl FnOnce(&mut Object) -> R) -> Option<R> {
        self.find_mut(hash, key).map(|mut object| change(&mut object))
    }

    /// Sets or removes a key's expiry; false if there is no such key.
    pub fn set_expiry(&mut self, hash: u64, key: &[u8], expiry_ms: Option<i64>) -> bool {
        self.update(hash, key, |object| object.set_expiry(expiry_ms)).is_some()
    }

    /// Adds an object whose key is not in the table.
    #[inline]
    pub fn insert(&mut self, hash: u64, object: Object) {
        debug_assert_eq!(hash, self.hash(object.key()));
        debug_assert!(self.find(hash, object.key()).is_none(), "the key is absent");
        let loose = Loose::new(hash, object);
        self.len += 1;
        self.expiring += usize::from(loose.expires);
        if self.segments.len() == 0 {
            self.grow();
        }
        self.append(self.index_of(hash), loose);
        for _ in 0..STEPS_PER_WRITE {
            if !self.too_full() {
                break;
            }
            self.grow();
        }
    }

    /// Puts an object in, and gives back the one that had its key.
    pub fn replace(&mut self, hash: u64, object: Object) -> Option<Object> {
        if let Some(mut present) = self.find_mut(hash, object.key()) {
            return Some(std::mem::replace(&mut *present, object));
        }
        self.insert(hash, object);
        None
    }

    /// Takes the object with this key out.
    #[inline]
    pub fn remove(&mut self, hash: u64, key: &[u8]) -> Option<Object> {
        let place = self.place(hash, key)?;
        // SAFETY: the place was found under the borrow of `self`.
        self.expiring -= usize::from(unsafe { place.bucket.as_ref() }.expiry_noted(place.slot));
        self.len -= 1;
        // SAFETY: `self` is borrowed exclusively, and the place was found since it last changed.
        let object = unsafe { self.chain(self.index_of(hash)) }.take(place, &mut self.children);
        self.rehash_step(STEPS_PER_WRITE);
        Some(object)
    }

    /// Starts loading the bucket of a hash, for a lookup that will follow.
    #[inline]
    fn prefetch(&self, hash: u64) {
        if self.segments.len() > 0 {
            prefetch(self.head(hash).as_ptr());
        }
    }

    /// Starts loading the objects of these hashes, for lookups that will follow.
    ///
    /// Each loop touches what the one before has asked for: buckets, then the objects in them and the first children of
    /// chains, then the objects in those. They are short, so that the processor has many misses (of the TLB as
    /// well) under way at once.
    pub fn prefetch_objects(&self, hashes: &[u64]) {
        if self.segments.len() == 0 {
            return;
        }
        hashes.iter().for_each(|&hash| self.prefetch(hash));
        let mut chained = smallvec::SmallVec::<[(NonNull<Bucket>, u64); 16]>::new();
        for &hash in hashes {
            // SAFETY: `self` is borrowed, so its buckets live and are not written.
            let bucket = unsafe { self.head(hash).as_ref() };
            if !bucket.prefetch_match(tag_of(hash))
                && let Some(child) = bucket.child()
            {
                prefetch(child.as_ptr());
                chained.push((child, hash));
            }
        }
        for (child, hash) in chained {
            // SAFETY: as above; the child belongs to its head.
            unsafe { child.as_ref() }.prefetch_match(tag_of(hash));
        }
    }

    /// Makes room for `keys` objects in all, so that they can be added without splitting buckets. The number must be bounded by
    /// the caller; it costs about 14 bytes each.
    pub fn reserve(&mut self, keys: usize) {
        while self.segments.len() * GROW_ABOVE_HALVES < keys * 2 {
            self.grow();
        }
    }

    /// Whether the table has more or fewer buckets than its number of keys asks for, and too many steps away for the writes
    /// to come to settle it by the way.
    #[inline]
    pub fn rehashing(&self) -> bool {
        self.too_full() || self.too_empty()
    }

    /// Splits or joins up to `buckets` buckets where the number of keys asks for it; true if more are due.
    ///
    /// Writes do this by themselves; only after [`Table::reserve`], or where keys vanish otherwise than by
    /// [`Table::remove`], is there anything left for a timer to do.
    pub fn rehash_step(&mut self, buckets: usize) -> bool {
        for _ in 0..buckets {
            if self.too_full() {
                self.grow();
            } else if self.too_empty() {
                self.shrink();
            } else {
                return false;
            }
        }
        self.rehashing()
    }

    /// Frees what the last `buckets` buckets hold, and the buckets; true if any are left. Slices the freeing of a
    /// table that nobody needs any more.
    pub fn free_some(&mut self, buckets: usize) -> bool {
        for _ in 0..buckets {
            let Some(last) = self.segments.len().checked_sub(1) else { return false };
            let (mut freed, mut expired) = (0, 0);
            self.drain(last, |loose| {
                freed += 1;
                expired += usize::from(loose.expires);
            });
            self.len -= freed;
            self.expiring -= expired;
            self.pop_bucket();
        }
        self.segments.len() > 0
    }

    /// The bytes that the table takes beside its objects.
    pub fn memory_overhead(&self) -> usize {
        self.segments.bytes() + self.children * size_of::<Bucket>()
    }

    #[inline]
    fn too_full(&self) -> bool {
        self.len * 2 > self.segments.len() * GROW_ABOVE_HALVES
    }

    #[inline]
    fn too_empty(&self) -> bool {
        self.len < self.segments.len() * SHRINK_BELOW && (self.segments.len() > 1 || self.len == 0)
    }

    /// The number of the bucket that a hash belongs to. There must be a bucket.
    #[inline]
    fn index_of(&self, hash: u64) -> usize {
        let index = hash as usize & self.mask;
        if index < self.segments.len() { index } else { index & (self.mask >> 1) }
    }

    #[inline]
    fn head(&self, hash: u64) -> std::ptr::NonNull<Bucket> {
        self.segments.get(self.index_of(hash))
    }

    /// The chain of a bucket.
    ///
    /// # Safety
    /// As for [`Chain::new`]: `self` must stay borrowed while the chain is used.
    #[inline]
    unsafe fn chain(&self, index: usize) -> Chain {
        // SAFETY: the caller's promise.
        unsafe { Chain::new(self.segments.get(index)) }
    }

    #[inline]
    fn place(&self, hash: u64, key: &[u8]) -> Option<Place> {
        if self.segments.len() == 0 {
            return None;
        }
        // SAFETY: `self` is borrowed, and finding does not write.
        unsafe { self.chain(self.index_of(hash)) }.find(tag_of(hash), key)
    }

    #[inline]
    fn append(&mut self, index: usize, loose: Loose) {
        // SAFETY: `self` is borrowed exclusively.
        unsafe { self.chain(index) }.append(loose, &mut self.children);
    }

    fn drain(&mut self, index: usize, each: impl FnMut(Loose)) {
        // SAFETY: `self` is borrowed exclusively, so `each` cannot refer to it.
        unsafe { self.chain(index) }.drain(&mut self.children, each);
    }

    /// The highest bit by which two buckets differ that were or will be one, as a number.
    #[inline]
    fn split_bit(&self) -> usize {
        self.mask.div_ceil(2)
    }

    /// Adds a bucket, and moves to it what belongs there.
    fn grow(&mut self) {
        let new = self.segments.len();
        self.segments.push();
        self.mask = self.segments.len().next_power_of_two() - 1;
        if new == 0 {
            return;
        }
        let old = new - self.split_bit();
        self.prefetch_chain(old);
        let mut both = smallvec::SmallVec::<[Loose; 32]>::new();
        self.drain(old, |loose| both.push(loose));
        for loose in both {
            let index = self.index_of(self.hash(loose.object.key()));
            self.append(index, loose);
        }
    }

    /// Starts loading the keys of a bucket's objects, which are about to be hashed one after the other.
    fn prefetch_chain(&self, index: usize) {
        // SAFETY: `self` is borrowed, and the slots chosen are occupied.
        unsafe {
            for place in self.chain(index).places(Bucket::occupied) {
                place.bucket.as_ref().object(place.slot).prefetch();
            }
        }
    }

    /// Gives up the last bucket, and moves what it holds to where it came from.
    fn shrink(&mut self) {
        let last = self.segments.len() - 1;
        let mut moved = smallvec::SmallVec::<[Loose; 32]>::new();
        self.drain(last, |loose| moved.push(loose));
        let target = last - self.split_bit();
        for loose in moved {
            self.append(target, loose);
        }
        self.pop_bucket();
    }

    /// Gives up the last bucket, which is empty.
    fn pop_bucket(&mut self) {
        self.segments.pop();
        self.mask = self.segments.len().max(1).next_power_of_two() - 1;
    }
}

impl Drop for Table {
    fn drop(&mut self) {
        self.free_some(usize::MAX);
    }
}

/// An object in the table, borrowed to be changed.
///
/// When it is given back, the table learns whether the object has an expiry now. The object's key must stay the same.
pub struct ObjectMut<'a> {
    bucket: &'a mut Bucket,
    slot: usize,
    expiring: &'a mut usize,
}

impl Deref for ObjectMut<'_> {
    type Target = Object;

    #[inline]
    fn deref(&self) -> &Object {
        // SAFETY: the slot is occupied, and the bucket borrowed.
        unsafe { self.bucket.object(self.slot) }
    }
}

impl DerefMut for ObjectMut<'_> {
    #[inline]
    fn deref_mut(&mut self) -> &mut Object {
        // SAFETY: the slot is occupied, and the bucket borrowed; `drop` notes the expiry.
        unsafe { self.bucket.object_mut(self.slot) }
    }
}

impl Drop for ObjectMut<'_> {
    #[inline]
    fn drop(&mut self) {
        let (before, now) = (self.bucket.expiry_noted(self.slot), self.expires());
        if before != now {
            self.bucket.note_expiry(self.slot, now);
            *self.expiring = if now { *self.expiring + 1 } else { *self.expiring - 1 };
        }
    }
}

impl std::fmt::Debug for Table {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Table")
            .field("len", &self.len())
            .field("expiring", &self.expiring())
            .finish_non_exhaustive()
    }
}
