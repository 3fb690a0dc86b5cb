//! The intset: a sorted array of distinct integers, all of 2, 4 or 8 bytes, whichever the widest needs.
//!
//! Small sets of integers are kept so: a binary search finds a member, and the bytes are those
//! of Redis's format, so they go into an RDB file unchanged:
//!
//! ```text
//! width (u32 LE: 2, 4 or 8) | count (u32 LE) | member (LE) …
//! ```

#[cfg(test)]
mod tests;

use super::{Corrupt, reserve_tight};
use rand::Rng;

/// Bytes before the first member.
const HEADER: usize = 8;

/// A sorted array of distinct integers.
#[derive(Clone, PartialEq, Eq)]
pub struct IntSet {
    bytes: Vec<u8>,
}

impl IntSet {
    /// An empty set of the narrowest width.
    pub fn new() -> Self {
        IntSet { bytes: vec![2, 0, 0, 0, 0, 0, 0, 0] }
    }

    /// Takes over bytes from a file or a peer after checking the order of all members.
    ///
    /// An empty intset is refused, as Redis refuses it: a set without members is no key.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Corrupt> {
        let corrupt = |at, what| Err(Corrupt { structure: "intset", at, what });
        if bytes.len() < HEADER {
            return corrupt(0, "shorter than its header");
        }
        let set = IntSet { bytes };
        if !matches!(set.header(0), 2 | 4 | 8) {
            return corrupt(0, "members are not of 2, 4 or 8 bytes");
        }
        let (width, count) = (set.width(), set.len());
        if count.checked_mul(width).and_then(|size| size.checked_add(HEADER)) != Some(set.bytes.len()) {
            return corrupt(4, "count in the header does not fit the bytes there are");
        }
        if count == 0 {
            return corrupt(4, "no members");
        }
        if let Some(index) = (1..count).find(|&index| set.at(index - 1) >= set.at(index)) {
            return corrupt(HEADER + index * width, "members are not in ascending order");
        }
        Ok(set)
    }

    /// The bytes as an RDB file holds them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of members.
    pub fn len(&self) -> usize {
        self.header(4) as usize
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What OBJECT ENCODING says of a value in this form.
    pub fn encoding_name(&self) -> &'static str {
        "intset"
    }

    /// Bytes that the allocation holds, spare capacity included.
    pub fn memory_usage(&self) -> usize {
        self.bytes.capacity()
    }

    /// Adds a member; says whether it was missing.
    pub fn add(&mut self, value: i64) -> bool {
        let index = match self.search(value) {
            Ok(_) => return false,
            Err(index) => index,
        };
        self.widen(width_of(value));
        let (width, count) = (self.width(), self.len());
        let at = HEADER + index * width;
        let end = self.bytes.len();
        reserve_tight(&mut self.bytes, width);
        self.bytes.resize(end + width, 0);
        self.bytes.copy_within(at..end, at + width);
        self.bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        self.set_len(count + 1);
        true
    }

    /// Removes a member; says whether it was there. The width stays as it is.
    pub fn remove(&mut self, value: i64) -> bool {
        let Ok(index) = self.search(value) else { return false };
        let (width, count) = (self.width(), self.len());
        let at = HEADER + index * width;
        self.bytes.drain(at..at + width);
        if self.bytes.len() < self.bytes.capacity() / 2 {
            self.bytes.shrink_to(self.bytes.len() + self.bytes.len() / 8);
        }
        self.set_len(count - 1);
        true
    }

    /// Whether `value` is a member.
    pub fn contains(&self, value: i64) -> bool {
        self.search(value).is_ok()
    }

    /// The member at `index` in ascending order.
    pub fn get(&self, index: usize) -> Option<i64> {
        (index < self.len()).then(|| self.at(index))
    }

    /// The least member.
    pub fn min(&self) -> Option<i64> {
        self.get(0)
    }

    /// The greatest member.
    pub fn max(&self) -> Option<i64> {
        self.len().checked_sub(1).map(|index| self.at(index))
    }

    /// A member drawn uniformly.
    pub fn random(&self, rng: &mut (impl Rng + ?Sized)) -> Option<i64> {
        (!self.is_empty()).then(|| self.at(rng.random_range(0..self.len())))
    }

    /// All members in ascending order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = i64> + ExactSizeIterator + Clone + '_ {
        (0..self.len()).map(|index| self.at(index))
    }

    fn search(&self, value: i64) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            match self.at(middle).cmp(&value) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }

    /// Rewrites all members with at least `width` bytes each.
    fn widen(&mut self, width: usize) {
        if width <= self.width() {
            return;
        }
        let mut wide = Vec::with_capacity(HEADER + (self.len() + 1) * width);
        wide.extend_from_slice(&(width as u32).to_le_bytes());
        wide.extend_from_slice(&self.bytes[4..HEADER]);
        for value in self.iter() {
            wide.extend_from_slice(&value.to_le_bytes()[..width]);
        }
        self.bytes = wide;
    }

    fn at(&self, index: usize) -> i64 {
        match self.width() {
            2 => i64::from(i16::from_le_bytes(self.member(index))),
            4 => i64::from(i32::from_le_bytes(self.member(index))),
            _ => i64::from_le_bytes(self.member(index)),
        }
    }

    fn member<const WIDTH: usize>(&self, index: usize) -> [u8; WIDTH] {
        let at = HEADER + index * WIDTH;
        self.bytes[at..at + WIDTH].try_into().expect("the range has WIDTH bytes")
    }

    fn width(&self) -> usize {
        self.header(0) as usize
    }

    fn header(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().expect("the range has 4 bytes"))
    }

    fn set_len(&mut self, len: usize) {
        let len = u32::try_from(len).expect("a set turns into a table long before 2^32 members");
        self.bytes[4..HEADER].copy_from_slice(&len.to_le_bytes());
    }
}

/// Bytes that a member of this value needs.
fn width_of(value: i64) -> usize {
    if i16::try_from(value).is_ok() {
        2
    } else if i32::try_from(value).is_ok() {
        4
    } else {
        8
    }
}

impl Default for IntSet {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for IntSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}
