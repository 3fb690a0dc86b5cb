//! The buckets' memory: a directory of segments, so that a table grows and shrinks at its end, without ever
//! being copied as a whole.
//!
//! A segment is 64 KiB, which costs about ten microseconds to get and to touch. Until the first one is full it grows by doubling, so
//! that a table of a few keys (cluster mode has one table a slot) takes a few cache lines.
//!
//! Invariants: buckets below `len` are initialised; buckets from `len` up to the capacity have a control word of zero or all
//! zeros, which is an empty bucket. All segments but the first have [`SEGMENT_BUCKETS`] buckets; so has the first
//! one if there are others, or else `first_capacity`. None is kept beyond the one in which bucket `len - 1` lies.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::{self, NonNull};

use super::bucket::Bucket;

/// Buckets of a full segment: 64 KiB of them.
pub(super) const SEGMENT_BUCKETS: usize = 1024;

/// A sequence of buckets that grows and shrinks at its end.
pub(super) struct Segments {
    directory: Vec<NonNull<Bucket>>,
    first_capacity: usize,
    len: usize,
}

impl Segments {
    pub const fn new() -> Segments {
        Segments { directory: Vec::new(), first_capacity: 0, len: 0 }
    }

    /// Buckets in use.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// The bytes that the buckets and the directory take, those not in use yet included.
    pub fn bytes(&self) -> usize {
        let buckets = self.first_capacity + self.directory.len().saturating_sub(1) * SEGMENT_BUCKETS;
        buckets * size_of::<Bucket>() + self.directory.capacity() * size_of::<NonNull<Bucket>>()
    }

    /// The bucket of this number.
    #[inline]
    pub fn get(&self, index: usize) -> NonNull<Bucket> {
        assert!(index < self.len, "bucket {index} of {}", self.len);
        let segment = self.directory[index / SEGMENT_BUCKETS];
        // SAFETY: the bucket is in use, so within the segment.
        unsafe { segment.add(index % SEGMENT_BUCKETS) }
    }

    /// Adds an empty bucket at the end.
    pub fn push(&mut self) {
        if self.len < SEGMENT_BUCKETS {
            if self.len == self.first_capacity {
                self.resize_first((self.first_capacity * 2).max(1));
            }
        } else if self.len.is_multiple_of(SEGMENT_BUCKETS) {
            self.directory.push(new_segment(SEGMENT_BUCKETS));
        }
        self.len += 1;
    }

    /// Gives up the last bucket, which must be empty. A small table gives memory back once three quarters of it are
    /// unused, so that it does not at once need it again.
    pub fn pop(&mut self) {
        assert!(self.len > 0, "there is a bucket to give up");
        // SAFETY: the bucket is in use until the next line; nobody else refers to it.
        debug_assert_eq!(unsafe { self.get(self.len - 1).as_ref() }.occupied().len(), 0);
        self.len -= 1;
        if self.len >= SEGMENT_BUCKETS {
            if self.len.is_multiple_of(SEGMENT_BUCKETS) {
                let last = self.directory.pop().expect("the bucket given up had a segment");
                // SAFETY: the segment is out of the directory, and its buckets are empty.
                unsafe { free_segment(last, SEGMENT_BUCKETS) };
            }
        } else if self.len <= self.first_capacity / 4 {
            self.resize_first(if self.len == 0 { 0 } else { self.first_capacity / 2 });
        }
    }

    /// Moves the only segment to one of another capacity.
    fn resize_first(&mut self, capacity: usize) {
        debug_assert!(self.len <= capacity && self.directory.len() <= 1);
        let old = self.directory.pop();
        if capacity > 0 {
            let new = new_segment(capacity);
            if let Some(old) = old {
                // SAFETY: `len` buckets lie within both, which do not overlap; the old ones are not used again.
                unsafe { ptr::copy_nonoverlapping(old.as_ptr(), new.as_ptr(), self.len) };
            }
            self.directory.push(new);
        } else {
            self.directory = Vec::new();
        }
        if let Some(old) = old {
            // SAFETY: the segment is out of the directory, and its buckets have moved.
            unsafe { free_segment(old, self.first_capacity) };
        }
        self.first_capacity = capacity;
    }
}

impl Drop for Segments {
    fn drop(&mut self) {
        for (i, &segment) in self.directory.iter().enumerate() {
            // SAFETY: each segment is released once, with the capacity it was made with.
            unsafe { free_segment(segment, if i == 0 { self.first_capacity } else { SEGMENT_BUCKETS }) };
        }
    }
}

fn segment_layout(capacity: usize) -> Layout {
    Layout::array::<Bucket>(capacity).expect("a segment is 64 KiB at most")
}

fn new_segment(capacity: usize) -> NonNull<Bucket> {
    let layout = segment_layout(capacity);
    // SAFETY: the capacity is not 0; all zeros are empty buckets.
    NonNull::new(unsafe { alloc_zeroed(layout) }.cast()).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Releases a segment, without looking at what is in its buckets.
///
/// # Safety
/// `segment` must be from [`new_segment`] with this capacity, and not be used again.
unsafe fn free_segment(segment: NonNull<Bucket>, capacity: usize) {
    // SAFETY: the caller vouches that it was allocated with this layout.
    unsafe { dealloc(segment.as_ptr().cast(), segment_layout(capacity)) }
}
