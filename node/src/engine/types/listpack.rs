//! The listpack: a sequence of strings and integers in one run of bytes.
//!
//! Small lists, sets, hashes and sorted sets, and the nodes of large lists, are listpacks. The
//! bytes are exactly those of Redis's format, so they go into an RDB file and come out of one
//! unchanged:
//!
//! ```text
//! total bytes (u32 LE) | count (u16 LE, 65535: count by walking) | entry … | 0xFF
//! entry: encoding byte(s) | payload | backlen (length of what precedes it, 1 to 5 bytes, read backwards)
//! ```
//!
//! `backlen` is what makes walking from the tail possible. Bytes from outside pass
//! [`ListPack::from_bytes`], which checks all of them; from then on the structure is trusted, so no
//! later read can leave it.

mod encoding;
#[cfg(test)]
pub(super) mod tests;

use super::entry::{Entry, Needle};
use super::{Corrupt, reserve_tight};
use encoding::{Encoded, decode, step_back, step_forward};

/// Bytes before the first entry.
const HEADER: usize = 6;
/// The byte after the last entry.
const END: u8 = 0xFF;
/// The count that says: too many to be counted here.
const COUNT_UNKNOWN: u16 = u16::MAX;

/// A sequence of strings and integers in one run of bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct ListPack {
    bytes: Vec<u8>,
    count: usize,
}

/// Where an entry starts, in bytes; valid until the listpack changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position(usize);

impl ListPack {
    /// The most bytes a listpack may hold, so that its total never nears the 32-bit header field.
    pub const MAX_BYTES: usize = 1 << 30;

    /// An empty listpack (7 bytes).
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// An empty listpack with room for `entry_bytes` of encoded entries.
    pub fn with_capacity(entry_bytes: usize) -> Self {
        let mut bytes = Vec::with_capacity(HEADER + entry_bytes + 1);
        bytes.extend_from_slice(&[HEADER as u8 + 1, 0, 0, 0, 0, 0, END]);
        ListPack { bytes, count: 0 }
    }

    /// Takes over bytes from a file or a peer after checking every entry.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, Corrupt> {
        let count = encoding::validate(&bytes)?;
        Ok(ListPack { bytes, count })
    }

    /// The bytes as an RDB file holds them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// What OBJECT ENCODING says of a value in this form.
    pub fn encoding_name(&self) -> &'static str {
        "listpack"
    }

    /// Bytes that the allocation holds, spare capacity included.
    pub fn memory_usage(&self) -> usize {
        self.bytes.capacity()
    }

    /// Whether an element of `len` bytes may still be added ([`Self::MAX_BYTES`]).
    pub fn has_room_for(&self, len: usize) -> bool {
        self.bytes.len() + len <= Self::MAX_BYTES
    }

    /// Adds an element at the tail.
    pub fn push_back(&mut self, element: &[u8]) {
        self.push_back_needle(&Needle::new(element));
    }

    /// Adds an element at the tail whose integer reading is known.
    pub fn push_back_needle(&mut self, element: &Needle<'_>) {
        self.insert_encoded(self.bytes.len() - 1, &Encoded::of(element));
    }

    /// Adds an integer at the tail.
    pub fn push_back_int(&mut self, value: i64) {
        self.insert_encoded(self.bytes.len() - 1, &Encoded::of_int(value));
    }

    /// Adds an element at the head.
    pub fn push_front(&mut self, element: &[u8]) {
        self.insert_encoded(HEADER, &Encoded::of(&Needle::new(element)));
    }

    /// Puts an element before the one at `index`; `index == len()` appends.
    ///
    /// # Panics
    /// If `index > len()`.
    pub fn insert(&mut self, index: usize, element: &[u8]) {
        let at = self.offset_of(index);
        self.insert_encoded(at, &Encoded::of(&Needle::new(element)));
    }

    /// Puts an element in the place of the one at `index`.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn replace(&mut self, index: usize, element: &[u8]) {
        assert!(index < self.count, "replace({index}) in a listpack of {}", self.count);
        let at = self.offset_of(index);
        let end = step_forward(&self.bytes, at);
        self.splice(at, end, &Encoded::of(&Needle::new(element)));
        self.write_header();
    }

    /// Removes the element at `index`.
    ///
    /// # Panics
    /// If `index >= len()`.
    pub fn remove(&mut self, index: usize) {
        assert!(index < self.count, "remove({index}) from a listpack of {}", self.count);
        self.remove_at(Position(self.offset_of(index)));
    }

    /// Removes the element found at `position`.
    pub fn remove_at(&mut self, position: Position) {
        let end = step_forward(&self.bytes, position.0);
        self.cut(position.0, end, 1);
    }

    /// Removes up to `count` elements from `start` on.
    pub fn remove_range(&mut self, start: usize, count: usize) {
        let start = start.min(self.count);
        let count = count.min(self.count - start);
        let from = self.offset_of(start);
        let to = if start + count == self.count {
            self.bytes.len() - 1
        } else {
            (0..count).fold(from, |at, _| step_forward(&self.bytes, at))
        };
        self.cut(from, to, count);
    }

    /// Removes up to `limit` elements equal to `needle`, from the head on or from the tail on, and
    /// returns how many.
    pub fn remove_matching(&mut self, needle: &Needle<'_>, limit: usize, from_tail: bool) -> usize {
        let matching = self.matches(needle);
        let skipped = if from_tail { matching.saturating_sub(limit) } else { 0 };
        let removed = matching.min(limit);
        if removed == 0 {
            return 0;
        }
        let mut kept = Vec::with_capacity(self.bytes.len());
        kept.extend_from_slice(&self.bytes[..HEADER]);
        let (mut at, mut seen) = (HEADER, 0);
        while self.bytes[at] != END {
            let next = step_forward(&self.bytes, at);
            let matched = decode(&self.bytes, at).matches(needle);
            if !(matched && (skipped..skipped + removed).contains(&seen)) {
                kept.extend_from_slice(&self.bytes[at..next]);
            }
            seen += usize::from(matched);
            at = next;
        }
        kept.push(END);
        self.bytes = kept;
        self.count -= removed;
        self.write_header();
        removed
    }

    /// Moves the elements from `index` on into a listpack of their own.
    ///
    /// # Panics
    /// If `index > len()`.
    pub fn split_off(&mut self, index: usize) -> ListPack {
        let from = self.offset_of(index);
        let to = self.bytes.len() - 1;
        let mut tail = ListPack::with_capacity(to - from);
        tail.bytes.truncate(HEADER);
        tail.bytes.extend_from_slice(&self.bytes[from..]);
        tail.count = self.count - index;
        tail.write_header();
        self.cut(from, to, self.count - index);
        tail
    }

    /// Adds all elements of `other` at the tail.
    pub fn append(&mut self, other: &ListPack) {
        reserve_tight(&mut self.bytes, other.bytes.len());
        self.bytes.pop();
        self.bytes.extend_from_slice(&other.bytes[HEADER..]);
        self.count += other.count;
        self.write_header();
    }

    /// The element at `index`, found from the nearer end.
    pub fn get(&self, index: usize) -> Option<Entry<'_>> {
        (index < self.count).then(|| decode(&self.bytes, self.offset_of(index)))
    }

    /// The first element.
    pub fn first(&self) -> Option<Entry<'_>> {
        self.get(0)
    }

    /// The last element.
    pub fn last(&self) -> Option<Entry<'_>> {
        self.count.checked_sub(1).and_then(|index| self.get(index))
    }

    /// The element at a position that [`Self::find`] gave.
    pub fn at(&self, position: Position) -> Entry<'_> {
        decode(&self.bytes, position.0)
    }

    /// Where the first element equal to `needle` is.
    pub fn find(&self, needle: &Needle<'_>) -> Option<Position> {
        let mut at = HEADER;
        while self.bytes[at] != END {
            if decode(&self.bytes, at).matches(needle) {
                return Some(Position(at));
            }
            at = step_forward(&self.bytes, at);
        }
        None
    }

    /// How many elements equal `needle`.
    pub fn matches(&self, needle: &Needle<'_>) -> usize {
        self.iter().filter(|entry| entry.matches(needle)).count()
    }

    /// All elements, from either end.
    pub fn iter(&self) -> Iter<'_> {
        Iter { bytes: &self.bytes, front: HEADER, back: self.bytes.len() - 1, left: self.count }
    }

    /// The elements from `index` on, from either end; nothing if `index >= len()`.
    pub fn iter_from(&self, index: usize) -> Iter<'_> {
        let index = index.min(self.count);
        Iter { front: self.offset_of(index), left: self.count - index, ..self.iter() }
    }

    /// The first `end` elements, from either end; all if `end >= len()`.
    pub fn iter_until(&self, end: usize) -> Iter<'_> {
        let end = end.min(self.count);
        Iter { back: self.offset_of(end), left: end, ..self.iter() }
    }

    /// Byte offset of the entry at `index`, or of the terminator for `index == len()`.
    fn offset_of(&self, index: usize) -> usize {
        assert!(index <= self.count, "index {index} in a listpack of {}", self.count);
        if index <= self.count / 2 {
            (0..index).fold(HEADER, |at, _| step_forward(&self.bytes, at))
        } else {
            (index..self.count).fold(self.bytes.len() - 1, |at, _| step_back(&self.bytes, at))
        }
    }

    fn insert_encoded(&mut self, at: usize, element: &Encoded<'_>) {
        self.splice(at, at, element);
        self.count += 1;
        self.write_header();
    }

    /// Replaces the bytes `from..to` by an encoded element.
    fn splice(&mut self, from: usize, to: usize, element: &Encoded<'_>) {
        let (old_len, new_len, total) = (to - from, element.len(), self.bytes.len());
        if new_len > old_len {
            reserve_tight(&mut self.bytes, new_len - old_len);
            self.bytes.resize(total + new_len - old_len, 0);
        }
        self.bytes.copy_within(to..total, from + new_len);
        self.bytes.truncate(total + new_len - old_len);
        element.write_to(&mut self.bytes[from..from + new_len]);
    }

    /// Removes the bytes `from..to`, which are `entries` entries.
    fn cut(&mut self, from: usize, to: usize, entries: usize) {
        self.bytes.drain(from..to);
        self.count -= entries;
        if self.bytes.capacity() > 64 && self.bytes.len() < self.bytes.capacity() / 2 {
            self.bytes.shrink_to(self.bytes.len() + self.bytes.len() / 8);
        }
        self.write_header();
    }

    fn write_header(&mut self) {
        let total = u32::try_from(self.bytes.len()).expect("callers keep to ListPack::MAX_BYTES");
        let count = u16::try_from(self.count).unwrap_or(COUNT_UNKNOWN);
        self.bytes[..4].copy_from_slice(&total.to_le_bytes());
        self.bytes[4..HEADER].copy_from_slice(&count.to_le_bytes());
    }
}

impl Default for ListPack {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for ListPack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// The elements of a listpack, from either end.
#[derive(Debug, Clone)]
pub struct Iter<'a> {
    bytes: &'a [u8],
    front: usize,
    back: usize,
    left: usize,
}

impl<'a> Iterator for Iter<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        self.left = self.left.checked_sub(1)?;
        let entry = decode(self.bytes, self.front);
        self.front = step_forward(self.bytes, self.front);
        Some(entry)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left, Some(self.left))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        self.back = step_back(self.bytes, self.back);
        Some(decode(self.bytes, self.back))
    }
}

impl ExactSizeIterator for Iter<'_> {}

impl<'a> IntoIterator for &'a ListPack {
    type Item = Entry<'a>;
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}
