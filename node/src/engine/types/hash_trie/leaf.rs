//! A leaf: up to 64 entries in one run of bytes, each with one byte of its hash in front for a quick no.

use std::sync::Arc;

use memchr::memchr_iter;

use super::{Hashed, KeyHasher, Layout};
use crate::engine::types::reserve_tight;

/// Most entries of a leaf.
pub(super) const MAX_ENTRIES: usize = 64;
/// Most bytes of a leaf with more than one entry.
pub(super) const MAX_BYTES: usize = 4096;

/// Entries in the order they came.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    count: u8,
    /// Eight bits of each entry's hash that its place in the trie does not already tell.
    tags: [u8; MAX_ENTRIES],
    /// Where each entry but the last ends; the last one ends with `data` and may be of any length.
    ends: [u16; MAX_ENTRIES],
    data: Vec<u8>,
}

impl Leaf {
    pub(super) fn new() -> Self {
        Leaf { count: 0, tags: [0; MAX_ENTRIES], ends: [0; MAX_ENTRIES], data: Vec::new() }
    }

    pub(super) fn len(&self) -> usize {
        usize::from(self.count)
    }

    /// Bytes of all entries.
    pub(super) fn byte_len(&self) -> usize {
        self.data.len()
    }

    pub(super) fn memory_usage(&self) -> usize {
        2 * size_of::<usize>() + size_of::<Self>() + self.data.capacity()
    }

    /// Whether an entry of `len` bytes may join those that are here.
    pub(super) fn admits(&self, len: usize) -> bool {
        self.count == 0 || self.len() < MAX_ENTRIES && self.data.len().saturating_add(len) <= MAX_BYTES
    }

    pub(super) fn entry(&self, index: usize) -> &[u8] {
        &self.data[self.start(index)..self.end(index)]
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &[u8]> {
        (0..self.len()).map(|index| self.entry(index))
    }

    pub(super) fn find<L: Layout>(&self, hashed: &Hashed<'_>) -> Option<usize> {
        memchr_iter(hashed.tag(), &self.tags[..self.len()])
            .find(|&index| L::split(self.entry(index)).0 == hashed.key)
    }

    /// Adds an entry that [`Self::admits`] allowed and that is not here yet.
    pub(super) fn push<L: Layout>(&mut self, hashed: &Hashed<'_>, value: &[u8]) {
        reserve_tight(&mut self.data, L::entry_len(hashed.key, value));
        self.start_entry(hashed.tag());
        L::append(&mut self.data, hashed.key, value);
    }

    pub(super) fn remove(&mut self, index: usize) {
        let (start, end) = (self.start(index), self.end(index));
        let count = self.len();
        self.data.drain(start..end);
        if self.data.len() < self.data.capacity() / 2 {
            self.data.shrink_to(self.data.len() + self.data.len() / 8);
        }
        self.tags.copy_within(index + 1..count, index);
        self.ends.copy_within(index + 1..count, index);
        if index + 1 < count {
            // The removed entry had neighbours, so its length is within MAX_BYTES; the end of the
            // last entry is not recorded, so what is subtracted from there does not matter.
            let removed = (end - start) as u16;
            self.ends[index..count - 1].iter_mut().for_each(|end| *end = end.wrapping_sub(removed));
        }
        self.count -= 1;
    }

    /// Deals the entries to two leaves: those whose slot at `level` is below `middle`, and the others. Where all
    /// go to one side it only says so, and nothing is copied.
    pub(super) fn halve<L: Layout>(&self, hasher: &KeyHasher, level: u32, middle: u32) -> Halves {
        let mut sides = [false; MAX_ENTRIES];
        let (mut right_count, mut right_bytes) = (0, 0);
        for (side, entry) in sides.iter_mut().zip(self.entries()) {
            if hasher.hash(L::split(entry).0).slot(level) >= middle {
                *side = true;
                right_count += 1;
                right_bytes += entry.len();
            }
        }
        if right_count == 0 {
            return Halves::AllLeft;
        }
        if right_count == self.len() {
            return Halves::AllRight;
        }
        let mut left = Leaf::with_capacity(self.data.len() - right_bytes);
        let mut right = Leaf::with_capacity(right_bytes);
        for ((goes_right, entry), tag) in sides.into_iter().zip(self.entries()).zip(self.tags) {
            let side = if goes_right { &mut right } else { &mut left };
            side.push_copy(tag, entry);
        }
        Halves::Both(Arc::new(left), Arc::new(right))
    }

    /// Adds all entries of `other`, none of which is here.
    pub(super) fn absorb(&mut self, other: &Leaf) {
        reserve_tight(&mut self.data, other.data.len());
        for index in 0..other.len() {
            self.push_copy(other.tags[index], other.entry(index));
        }
    }

    fn with_capacity(bytes: usize) -> Self {
        Leaf { data: Vec::with_capacity(bytes + bytes / 8), ..Self::new() }
    }

    fn push_copy(&mut self, tag: u8, entry: &[u8]) {
        self.start_entry(tag);
        self.data.extend_from_slice(entry);
    }

    /// Records the end of what was the last entry and the tag of the one to come.
    fn start_entry(&mut self, tag: u8) {
        let index = self.len();
        if let Some(last) = index.checked_sub(1) {
            self.ends[last] = u16::try_from(self.data.len()).expect("only an entry alone exceeds MAX_BYTES");
        }
        self.tags[index] = tag;
        self.count += 1;
    }

    fn start(&self, index: usize) -> usize {
        index.checked_sub(1).map_or(0, |before| usize::from(self.ends[before]))
    }

    fn end(&self, index: usize) -> usize {
        if index + 1 == self.len() { self.data.len() } else { usize::from(self.ends[index]) }
    }
}

/// What became of a leaf that was to be cut in two.
pub(super) enum Halves {
    AllLeft,
    AllRight,
    Both(Arc<Leaf>, Arc<Leaf>),
}
