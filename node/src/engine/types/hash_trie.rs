//! A persistent hash table: a trie over the bits of the key's hash, with packed leaves.
//!
//! Large sets and hashes live here. A branch covers six bits of the hash, hence 64 slots, but unlike in
//! Bagwell's hash-array-mapped trie a child covers a power-of-two run of slots, as the buckets of
//! extendible hashing do: a leaf that is full is halved by the next bit rather than scattered over
//! 64 nearly empty ones, and so leaves stay about two thirds full. A leaf holds up to 64 entries in one
//! run of bytes, so an entry costs its bytes and about six more, and `clone()` of the table copies the
//! root's handle: a later write copies one leaf and the few branches above it.
//!
//! Everything lies in hash order, which gives SCAN its cursor: the least hash not yet
//! returned. Leaves may split and merge between calls, but no entry changes its hash, so whatever stays in
//! the table throughout is returned exactly once.
//!
//! Invariants:
//! - `Branch::starts` has a bit for the first slot of each child; bit 0 is set; a child's run of
//!   slots is a power of two long and aligned to its length;
//! - a child's recorded count is the number of entries under it;
//! - a leaf with more than one entry holds at most [`leaf::MAX_ENTRIES`] of them in at most [`leaf::MAX_BYTES`] bytes,
//!   so that a huge entry is alone in its leaf and is never copied for the sake of another.

mod branch;
mod iter;
mod leaf;
#[cfg(test)]
mod tests;

use std::marker::PhantomData;

use ahash::RandomState;

use branch::Child;
pub use iter::Iter;
use leaf::Leaf;

/// Bits of the hash that a branch looks at.
const BITS: u32 = 6;
/// Levels of branches that one 64-bit hash serves; its low 16 bits are left to the tags.
const LEVELS_PER_HASH: u32 = 8;
/// Bits of a position: the part of the hash that orders entries for [`HashTrie::scan`]. It is below 2^53,
/// so that clients which read a cursor as a floating point number read it exactly.
const POSITION_BITS: u32 = BITS * LEVELS_PER_HASH;

/// How a key and its value share the bytes of an entry.
pub trait Layout {
    /// Bytes of an entry.
    fn entry_len(key: &[u8], value: &[u8]) -> usize;
    /// Writes an entry at the end of `out`.
    fn append(out: &mut Vec<u8>, key: &[u8], value: &[u8]);
    /// Takes an entry apart into key and value.
    fn split(entry: &[u8]) -> (&[u8], &[u8]);
}

/// Entries that are keys alone: the members of a set.
#[derive(Debug, Clone, Copy)]
pub struct Members;

impl Layout for Members {
    fn entry_len(key: &[u8], _value: &[u8]) -> usize {
        key.len()
    }

    fn append(out: &mut Vec<u8>, key: &[u8], _value: &[u8]) {
        out.extend_from_slice(key);
    }

    fn split(entry: &[u8]) -> (&[u8], &[u8]) {
        (entry, &[])
    }
}

/// Entries of a key and a value: the fields of a hash. The key's length stands before it, seven bits a byte.
#[derive(Debug, Clone, Copy)]
pub struct Fields;

impl Layout for Fields {
    fn entry_len(key: &[u8], value: &[u8]) -> usize {
        let bits = usize::BITS - (key.len() | 1).leading_zeros();
        bits.div_ceil(7) as usize + key.len() + value.len()
    }

    fn append(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
        let mut len = key.len();
        while len > 0x7F {
            out.push(len as u8 | 0x80);
            len >>= 7;
        }
        out.push(len as u8);
        out.extend_from_slice(key);
        out.extend_from_slice(value);
    }

    fn split(entry: &[u8]) -> (&[u8], &[u8]) {
        let (mut len, mut at) = (0, 0);
        loop {
            let byte = entry[at];
            len |= usize::from(byte & 0x7F) << (7 * at);
            at += 1;
            if byte & 0x80 == 0 {
                return entry[at..].split_at(len);
            }
        }
    }
}

/// A table of entries with constant-time `clone`.
#[derive(Debug)]
pub struct HashTrie<L> {
    root: Child,
    hasher: KeyHasher,
    layout: PhantomData<L>,
}

impl<L> Clone for HashTrie<L> {
    fn clone(&self) -> Self {
        HashTrie { root: self.root.clone(), hasher: self.hasher.clone(), layout: PhantomData }
    }
}

/// The keyed hash of one table.
#[derive(Debug, Clone)]
struct KeyHasher(RandomState);

impl KeyHasher {
    fn hash<'a>(&'a self, key: &'a [u8]) -> Hashed<'a> {
        Hashed { key, word: self.0.hash_one(key), hasher: self }
    }
}

/// A key with its hash.
#[derive(Clone, Copy)]
struct Hashed<'a> {
    key: &'a [u8],
    word: u64,
    hasher: &'a KeyHasher,
}

impl Hashed<'_> {
    /// The slot of the key in a branch at `level`. Keys that agree in all the bits of one hash are told
    /// apart by another of the same key.
    fn slot(&self, level: u32) -> u32 {
        let word = match level / LEVELS_PER_HASH {
            0 => self.word,
            round => self.hasher.0.hash_one((round, self.key)),
        };
        (word >> (u64::BITS - BITS * (level % LEVELS_PER_HASH + 1))) as u32 & 0x3F
    }

    fn position(&self) -> u64 {
        self.word >> (u64::BITS - POSITION_BITS)
    }

    fn tag(&self) -> u8 {
        self.word as u8
    }
}

impl<L: Layout> HashTrie<L> {
    /// An empty table whose hash is keyed by `seed`.
    pub fn new(seed: u64) -> Self {
        let [a, b, c, d] =
            [1, 2, 3, 4].map(|round: u64| seed.wrapping_add(round).wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let hasher = KeyHasher(RandomState::with_seeds(a, b, c, d));
        HashTrie { root: Child::leaf(Leaf::new()), hasher, layout: PhantomData }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.root.count
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether `key` is there.
    pub fn contains(&self, key: &[u8]) -> bool {
        self.get(key).is_some()
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Option<&[u8]> {
        let (leaf, index) = self.root.find::<L>(&self.hasher.hash(key))?;
        Some(L::split(leaf.entry(index)).1)
    }

    /// Sets the value of `key`; says whether the key is new.
    pub fn insert(&mut self, key: &[u8], value: &[u8]) -> bool {
        let hashed = self.hasher.hash(key);
        // Looking first costs little, as the path is then in the cache, and spares a table that shares its
        // branches with a snapshot the copies where nothing changes.
        if let Some((leaf, index)) = self.root.find::<L>(&hashed) {
            if L::split(leaf.entry(index)).1 == value {
                return false;
            }
            self.root.remove::<L>(&hashed, 0);
            self.root.insert::<L>(&hashed, value, 0);
            return false;
        }
        self.root.insert::<L>(&hashed, value, 0);
        true
    }

    /// Removes `key`; says whether it was there.
    pub fn remove(&mut self, key: &[u8]) -> bool {
        let hashed = self.hasher.hash(key);
        let found = self.root.find::<L>(&hashed).is_some();
        if found {
            self.root.remove::<L>(&hashed, 0);
        }
        found
    }

    /// The entry of a rank in hash order; a uniform rank gives a uniform entry.
    pub fn entry_at(&self, rank: usize) -> Option<(&[u8], &[u8])> {
        (rank < self.len()).then(|| L::split(self.root.entry_at(rank)))
    }

    /// Calls `visit` with at least `count` entries whose position is `cursor` or later, as far as there are any, and
    /// returns the cursor to go on with, 0 at the end. An entry that stays in the table from the first call to
    /// the last is visited exactly once.
    pub fn scan(&self, cursor: u64, count: usize, mut visit: impl FnMut(&[u8], &[u8])) -> u64 {
        let mut scan = iter::Scan { hasher: &self.hasher, cursor, left: count.max(1), visit: &mut visit };
        let end = 1 << POSITION_BITS;
        scan.walk::<L>(&self.root, 0..end).filter(|&next| next < end).unwrap_or(0)
    }

    /// All entries in hash order.
    pub fn iter(&self) -> Iter<'_, L> {
        Iter::new(&self.root)
    }

    /// Bytes that the table holds, judged from its first `samples` leaves (0: all of them).
    pub fn memory_usage(&self, samples: usize) -> usize {
        let samples = if samples == 0 { usize::MAX } else { samples };
        let (mut entries, mut bytes) = (0, 0);
        for leaf in iter::Leaves::new(&self.root).take(samples) {
            entries += leaf.len();
            bytes += leaf.memory_usage() + size_of::<Child>();
        }
        let all = bytes as u128 * self.len() as u128 / entries.max(1) as u128;
        size_of::<Self>() + if self.is_empty() { bytes } else { all as usize }
    }
}
