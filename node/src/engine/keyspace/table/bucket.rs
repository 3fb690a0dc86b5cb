//! A bucket: one cache line that holds up to seven objects, and the chain of buckets behind a full one.
//!
//! ```text
//! | slot 0 | slot 1 | slot 2 | slot 3 | slot 4 | slot 5 | slot 6 or child | tags 0–6, 7 bytes | meta |
//! ```
//!
//! A slot's tag is a byte of its key's hash, never 0; 0 stands for an empty slot. All seven tags are compared at once in a
//! register, and only the object of an equal tag is looked at: one time in 250 for nothing. The meta byte has a bit a
//! slot for "has an expiry", and its top bit says that slot 6 is not an object but points to a child bucket.
//!
//! Invariants:
//! - A slot holds an object if and only if its tag is not 0, and its expiry bit is only set if it does.
//! - With the child bit set, slot 6 is a pointer from [`new_child`], owned by this bucket, and tag 6 is 0.
//! - A chain is packed: all its buckets but the last are full, and a child holds two objects or more.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::mem::ManuallyDrop;
use std::ptr::NonNull;

use super::super::object::Object;

/// Slots of a bucket.
pub(super) const SLOTS: usize = 7;

const LOW_BITS: u64 = 0x0001_0101_0101_0101;
const HIGH_BITS: u64 = LOW_BITS << 7;
const ALL_TAGS: u64 = 0x00ff_ffff_ffff_ffff;
const EXPIRY_SHIFT: u32 = 56;
const CHILD: u64 = 1 << 63;

/// One cache line of the table. All zeros is an empty bucket.
#[repr(C, align(64))]
pub(super) struct Bucket {
    slots: [Slot; SLOTS],
    /// Tags in the low seven bytes, slot 0's lowest; the meta byte above.
    control: u64,
}

union Slot {
    object: ManuallyDrop<Object>,
    child: NonNull<Bucket>,
}

const _: () = assert!(size_of::<Bucket>() == 64);

/// The tag of a hash: bits that do not choose the bucket, never 0.
#[inline]
pub(super) const fn tag_of(hash: u64) -> u8 {
    let tag = (hash >> 56) as u8;
    if tag == 0 { 1 } else { tag }
}

/// A set of slots, as an iterator over their numbers: slot i is bit 7 of byte i.
#[derive(Clone, Copy)]
pub(super) struct SlotSet(u64);

impl SlotSet {
    /// How many there are.
    #[inline]
    pub fn len(self) -> usize {
        self.0.count_ones() as usize
    }
}

impl Iterator for SlotSet {
    type Item = usize;

    #[inline]
    fn next(&mut self) -> Option<usize> {
        if self.0 == 0 {
            return None;
        }
        let slot = (self.0.trailing_zeros() / 8) as usize;
        self.0 &= self.0 - 1;
        Some(slot)
    }
}

/// An object on its way between buckets, with what its slot knew of it.
pub(super) struct Loose {
    pub object: Object,
    pub tag: u8,
    pub expires: bool,
}

impl Loose {
    /// An object on its way into the table.
    #[inline]
    pub fn new(hash: u64, object: Object) -> Loose {
        Loose { tag: tag_of(hash), expires: object.expires(), object }
    }
}

impl Bucket {
    /// The slots whose bytes of `word` are zero. No carry crosses a byte, so there are no false ones.
    #[inline]
    const fn zero_bytes(word: u64) -> SlotSet {
        let low7 = ALL_TAGS & !HIGH_BITS;
        SlotSet(!(((word & low7) + low7) | word) & HIGH_BITS)
    }

    /// The slots whose tag is `tag`, which must not be 0.
    #[inline]
    pub fn matching(&self, tag: u8) -> SlotSet {
        Self::zero_bytes(self.control ^ (LOW_BITS * tag as u64))
    }

    /// Starts loading the first object with this tag; false if there is none.
    #[inline]
    pub fn prefetch_match(&self, tag: u8) -> bool {
        let slot = self.matching(tag).next();
        if let Some(slot) = slot {
            // SAFETY: a tag that matches is not 0, so its slot is occupied.
            unsafe { self.object(slot) }.prefetch();
        }
        slot.is_some()
    }

    /// The slots that hold an object.
    #[inline]
    pub fn occupied(&self) -> SlotSet {
        SlotSet(!Self::zero_bytes(self.control).0 & HIGH_BITS)
    }

    /// The slots whose object has an expiry.
    #[inline]
    pub fn expiring(&self) -> SlotSet {
        // Spreads the seven bits of the meta byte to bit 7 of a byte each: the product has the bitmap at every
        // seventh bit, so that bit i of it meets bit 8 i + 7 − 7 = 8 i of the mask.
        let bitmap = (self.control & !CHILD) >> EXPIRY_SHIFT;
        let spread = bitmap.wrapping_mul(0x0000_0408_1020_4081) & LOW_BITS;
        SlotSet(spread << 7)
    }

    /// A slot without an object or a child.
    #[inline]
    fn vacant(&self) -> Option<usize> {
        let mut empty = Self::zero_bytes(self.control);
        let slot = empty.next()?;
        (slot < SLOTS - 1 || !self.has_child()).then_some(slot)
    }

    #[inline]
    fn has_child(&self) -> bool {
        self.control & CHILD != 0
    }

    /// The next bucket of the chain.
    #[inline]
    pub fn child(&self) -> Option<NonNull<Bucket>> {
        // SAFETY: the child bit says which variant of the union slot 6 holds.
        self.has_child().then(|| unsafe { self.slots[SLOTS - 1].child })
    }

    /// The object in `slot`.
    ///
    /// # Safety
    /// The slot must be occupied.
    #[inline]
    pub unsafe fn object(&self, slot: usize) -> &Object {
        // SAFETY: an occupied slot holds an object, as the caller vouches.
        unsafe { &self.slots[slot].object }
    }

    /// The object in `slot`, to be changed. If its expiry comes or goes, [`Bucket::note_expiry`] must hear of it.
    ///
    /// # Safety
    /// The slot must be occupied.
    #[inline]
    pub unsafe fn object_mut(&mut self, slot: usize) -> &mut Object {
        // SAFETY: an occupied slot holds an object, as the caller vouches.
        unsafe { &mut self.slots[slot].object }
    }

    /// Whether `slot` is known to hold an object with an expiry.
    #[inline]
    pub fn expiry_noted(&self, slot: usize) -> bool {
        self.control >> (EXPIRY_SHIFT + slot as u32) & 1 != 0
    }

    /// Notes whether the object in `slot` has an expiry.
    #[inline]
    pub fn note_expiry(&mut self, slot: usize, expires: bool) {
        let bit = 1 << (EXPIRY_SHIFT + slot as u32);
        self.control = if expires { self.control | bit } else { self.control & !bit };
    }

    /// Puts an object into an empty slot.
    #[inline]
    fn put(&mut self, slot: usize, loose: Loose) {
        debug_assert_eq!(self.control >> (8 * slot) & 0xff, 0, "the slot is empty");
        self.slots[slot].object = ManuallyDrop::new(loose.object);
        self.control |= u64::from(loose.tag) << (8 * slot);
        self.note_expiry(slot, loose.expires);
    }

    /// Takes the object out of a slot.
    ///
    /// # Safety
    /// The slot must be occupied.
    #[inline]
    unsafe fn take(&mut self, slot: usize) -> Loose {
        let tag = (self.control >> (8 * slot)) as u8;
        let expires = self.expiry_noted(slot);
        self.note_expiry(slot, false);
        self.control &= !(0xff << (8 * slot));
        // SAFETY: the slot is occupied, as the caller vouches, and is marked empty now, so nothing takes it twice.
        let object = unsafe { ManuallyDrop::take(&mut self.slots[slot].object) };
        Loose { object, tag, expires }
    }
}

fn new_child() -> NonNull<Bucket> {
    let layout = Layout::new::<Bucket>();
    // SAFETY: the layout is not empty; all zeros is an empty bucket.
    NonNull::new(unsafe { alloc_zeroed(layout) }.cast()).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Releases a child bucket.
///
/// # Safety
/// `child` must be from [`new_child`], empty, and out of its chain.
unsafe fn free_child(child: NonNull<Bucket>) {
    // SAFETY: allocated by `new_child` with the same layout; the caller has unlinked it.
    unsafe { dealloc(child.as_ptr().cast(), Layout::new::<Bucket>()) }
}

/// Where an object is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub bucket: NonNull<Bucket>,
    pub slot: usize,
}

/// A bucket of the table's own and the children behind it.
///
/// The methods that add or free a child keep `children`, the table's count of them.
#[derive(Clone, Copy)]
pub(super) struct Chain {
    head: NonNull<Bucket>,
}

impl Chain {
    /// The chain that starts at `head`.
    ///
    /// # Safety
    /// `head` must be a bucket of a table which, while the chain and the places it gave out are used, is borrowed
    /// as the methods called demand: exclusively for those with `&mut self`, at least shared for the others.
    #[inline]
    pub unsafe fn new(head: NonNull<Bucket>) -> Chain {
        Chain { head }
    }

    /// Finds the object with this tag and key.
    #[inline]
    pub fn find(&self, tag: u8, key: &[u8]) -> Option<Place> {
        let mut bucket = self.head;
        loop {
            // SAFETY: the chain's buckets live and are not written while it is used; a tag that matches is not 0,
            // so its slot is occupied.
            unsafe {
                let line = bucket.as_ref();
                if let Some(slot) = line.matching(tag).find(|&slot| line.object(slot).key() == key) {
                    return Some(Place { bucket, slot });
                }
                bucket = line.child()?;
            }
        }
    }

    /// The buckets from the first to the last.
    #[inline]
    fn buckets(self) -> impl Iterator<Item = NonNull<Bucket>> {
        // SAFETY: the chain's buckets live while it is used, as whoever made it vouched.
        std::iter::successors(Some(self.head), |bucket| unsafe { bucket.as_ref() }.child())
    }

    /// The objects' places in the slots that `choose` picks of each bucket; these must be occupied.
    #[inline]
    pub fn places(self, choose: impl Fn(&Bucket) -> SlotSet) -> impl Iterator<Item = Place> {
        self.buckets().flat_map(move |bucket| {
            // SAFETY: as in `buckets`; the reference ends before the caller gets the place.
            let slots = choose(unsafe { bucket.as_ref() });
            slots.map(move |slot| Place { bucket, slot })
        })
    }

    /// Adds an object at the end, in a new child if the last bucket is full.
    #[inline]
    pub fn append(&mut self, loose: Loose, children: &mut usize) {
        let mut bucket = self.head;
        // SAFETY: the table is borrowed exclusively; each reference ends before the next one is made. Slot 6
        // of a full bucket without a child is occupied.
        unsafe {
            while let Some(child) = bucket.as_ref().child() {
                bucket = child;
            }
            let last = bucket.as_mut();
            if let Some(slot) = last.vacant() {
                return last.put(slot, loose);
            }
            let mut child = new_child();
            *children += 1;
            child.as_mut().put(0, last.take(SLOTS - 1));
            child.as_mut().put(1, loose);
            last.slots[SLOTS - 1].child = child;
            last.control |= CHILD;
        }
    }

    /// Takes an object out, and keeps the chain packed by moving one of the last bucket into its place.
    pub fn take(&mut self, place: Place, children: &mut usize) -> Object {
        let Place { mut bucket, slot } = place;
        // SAFETY: the table is borrowed exclusively, and each reference ends before the next one is made. `place` holds an
        // object; so does the slot taken from the last bucket, since a child has two or more. A child left with one
        // gives it up and is released, unlinked and empty.
        unsafe {
            let taken = bucket.as_mut().take(slot).object;
            let mut parent = None;
            let mut last = self.head;
            while let Some(child) = last.as_ref().child() {
                parent = Some(last);
                last = child;
            }
            if last != bucket {
                let filler = last.as_ref().occupied().next().expect("a child bucket is not empty");
                let filler = last.as_mut().take(filler);
                bucket.as_mut().put(slot, filler);
            }
            if let Some(mut parent) = parent {
                let mut left = last.as_ref().occupied();
                if left.len() == 1 {
                    let only = last.as_mut().take(left.next().expect("one is left"));
                    let parent = parent.as_mut();
                    parent.control &= !CHILD;
                    parent.put(SLOTS - 1, only);
                    free_child(last);
                    *children -= 1;
                }
            }
            taken
        }
    }

    /// Empties the chain, releases its children, and hands each object to `each`.
    pub fn drain(&mut self, children: &mut usize, mut each: impl FnMut(Loose)) {
        let mut next = Some(self.head);
        while let Some(mut bucket) = next {
            // SAFETY: the table is borrowed exclusively. The slots taken are occupied. A child is unlinked from its parent before
            // `each` sees any object, so that a panic there leaks the rest of the chain and frees nothing twice.
            unsafe {
                next = bucket.as_ref().child();
                bucket.as_mut().control &= !CHILD;
                for slot in bucket.as_ref().occupied() {
                    each(bucket.as_mut().take(slot));
                }
                if bucket != self.head {
                    free_child(bucket);
                    *children -= 1;
                }
            }
        }
    }
}
