//! A long or much-edited string value.
//!
//! Up to [`FLAT_MAX`] bytes it is one growing buffer; above that, a rope of [`CHUNK`]-byte chunks, so
//! that APPEND, SETRANGE and SETBIT on a string of any size touch one chunk, and a snapshot shares
//! all of them. Every chunk but the last is full.

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::ops::Range;

use super::rope::{Leaf, Rope};

/// The longest string that is kept in one buffer.
pub const FLAT_MAX: usize = 64 * 1024;
/// Bytes of a chunk of a longer string.
pub const CHUNK: usize = 16 * 1024;

/// A string value that can be changed in place at any length.
#[derive(Debug, Clone)]
pub struct Blob {
    repr: Repr,
}

#[derive(Debug, Clone)]
enum Repr {
    Flat(Vec<u8>),
    Chunked(Rope<Chunk>),
}

/// Bytes of a chunked string; the buffer of the last chunk has room for [`CHUNK`] bytes.
#[derive(Debug, Clone)]
struct Chunk(Vec<u8>);

impl Leaf for Chunk {
    fn weight(&self) -> usize {
        self.0.len()
    }
}

impl Blob {
    /// An empty string.
    pub fn new() -> Self {
        Blob { repr: Repr::Flat(Vec::new()) }
    }

    /// Number of bytes.
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::Flat(bytes) => bytes.len(),
            Repr::Chunked(rope) => rope.weight(),
        }
    }

    /// Whether there is no byte.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What OBJECT ENCODING says of such a string.
    pub fn encoding_name(&self) -> &'static str {
        "raw"
    }

    /// Bytes that the buffers hold, spare capacity included, each shared one in full.
    pub fn memory_usage(&self) -> usize {
        match &self.repr {
            Repr::Flat(bytes) => bytes.capacity(),
            Repr::Chunked(rope) => rope.weight().div_ceil(CHUNK) * (CHUNK + Rope::<Chunk>::LEAF_OVERHEAD),
        }
    }

    /// Adds bytes at the end.
    pub fn append(&mut self, bytes: &[u8]) {
        if let Repr::Flat(buffer) = &mut self.repr
            && buffer.len() + bytes.len() <= FLAT_MAX
        {
            grow_like_sds(buffer, bytes.len());
            buffer.extend_from_slice(bytes);
            return;
        }
        let rope = self.chunked();
        let rest = fill_last(rope, bytes.len(), |chunk, taken| chunk.extend_from_slice(&bytes[..taken]));
        let mut rest = &bytes[bytes.len() - rest..];
        while !rest.is_empty() {
            let (head, tail) = rest.split_at(rest.len().min(CHUNK));
            let mut chunk = Vec::with_capacity(CHUNK);
            chunk.extend_from_slice(head);
            rope.push_back(Chunk(chunk));
            rest = tail;
        }
    }

    /// Overwrites from `offset` on, growing as needed; a gap before `offset` reads as zero bytes.
    /// Zeros cost no memory of their own: all whole chunks of them are one shared chunk.
    pub fn write_at(&mut self, offset: usize, bytes: &[u8]) {
        if offset > self.len() {
            self.append_zeros(offset - self.len());
        }
        let overlap = bytes.len().min(self.len() - offset);
        self.overwrite(offset, &bytes[..overlap]);
        self.append(&bytes[overlap..]);
    }

    /// Cuts the string off at `len` bytes; does nothing if it is not longer.
    pub fn truncate(&mut self, len: usize) {
        let rope = match &mut self.repr {
            Repr::Flat(bytes) => return bytes.truncate(len),
            Repr::Chunked(rope) => rope,
        };
        drop(rope.split_off(len.next_multiple_of(CHUNK).min(rope.weight())));
        if len < rope.weight() {
            rope.update(len, |chunk, inner| chunk.0.truncate(inner));
        }
        if len <= FLAT_MAX / 2 {
            self.repr = Repr::Flat(self.read(0..len).into_owned());
        }
    }

    /// The byte at `offset`.
    pub fn get(&self, offset: usize) -> Option<u8> {
        match &self.repr {
            Repr::Flat(bytes) => bytes.get(offset).copied(),
            Repr::Chunked(rope) => rope.locate(offset).map(|(chunk, inner)| chunk.0[inner]),
        }
    }

    /// The bytes of a range, copied only if they span chunks. The range is cut to the string.
    pub fn read(&self, range: Range<usize>) -> Cow<'_, [u8]> {
        let mut chunks = self.chunks_in(range.clone());
        let first = chunks.next().unwrap_or_default();
        let wanted = range.end.min(self.len()).saturating_sub(range.start);
        if first.len() == wanted {
            return Cow::Borrowed(first);
        }
        let mut bytes = Vec::with_capacity(wanted);
        bytes.extend_from_slice(first);
        chunks.for_each(|chunk| bytes.extend_from_slice(chunk));
        Cow::Owned(bytes)
    }

    /// All bytes in order, in pieces.
    pub fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        self.chunks_in(0..self.len())
    }

    /// The bytes of a range in order, in pieces. The range is cut to the string.
    pub fn chunks_in(&self, range: Range<usize>) -> impl Iterator<Item = &[u8]> {
        let Range { mut start, end } = range;
        let end = end.min(self.len());
        std::iter::from_fn(move || {
            if start >= end {
                return None;
            }
            let (bytes, inner) = match &self.repr {
                Repr::Flat(bytes) => (bytes.as_slice(), start),
                Repr::Chunked(rope) => {
                    rope.locate(start).map(|(chunk, inner)| (chunk.0.as_slice(), inner))?
                }
            };
            let piece = &bytes[inner..bytes.len().min(inner + (end - start))];
            start += piece.len();
            Some(piece)
        })
    }

    fn append_zeros(&mut self, count: usize) {
        if let Repr::Flat(buffer) = &mut self.repr
            && buffer.len() + count <= FLAT_MAX
        {
            grow_like_sds(buffer, count);
            buffer.resize(buffer.len() + count, 0);
            return;
        }
        let rope = self.chunked();
        let rest = fill_last(rope, count, |chunk, taken| chunk.resize(chunk.len() + taken, 0));
        if rest >= CHUNK {
            rope.push_back_repeated(Chunk(vec![0; CHUNK]), rest / CHUNK);
        }
        if rest % CHUNK > 0 {
            let mut chunk = Vec::with_capacity(CHUNK);
            chunk.resize(rest % CHUNK, 0);
            rope.push_back(Chunk(chunk));
        }
    }

    /// Writes over bytes that are there.
    fn overwrite(&mut self, offset: usize, bytes: &[u8]) {
        let rope = match &mut self.repr {
            Repr::Flat(buffer) => return buffer[offset..offset + bytes.len()].copy_from_slice(bytes),
            Repr::Chunked(rope) => rope,
        };
        let mut done = 0;
        while done < bytes.len() {
            let written = rope.update(offset + done, |chunk, inner| {
                let room = (chunk.0.len() - inner).min(bytes.len() - done);
                chunk.0[inner..inner + room].copy_from_slice(&bytes[done..done + room]);
                room
            });
            done += written.expect("the caller writes within the string");
        }
    }

    /// The rope, made from the flat buffer if need be.
    fn chunked(&mut self) -> &mut Rope<Chunk> {
        if let Repr::Flat(buffer) = &self.repr {
            let chunks = buffer.chunks(CHUNK).map(|piece| {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.extend_from_slice(piece);
                Chunk(chunk)
            });
            self.repr = Repr::Chunked(chunks.collect());
        }
        match &mut self.repr {
            Repr::Chunked(rope) => rope,
            Repr::Flat(_) => unreachable!("it was made a rope above"),
        }
    }
}

/// Lets `fill` add up to `count` bytes to the last chunk as far as it has room, and returns how many
/// are left over.
fn fill_last(rope: &mut Rope<Chunk>, count: usize, fill: impl FnOnce(&mut Vec<u8>, usize)) -> usize {
    let room = (CHUNK - rope.weight() % CHUNK) % CHUNK;
    let taken = room.min(count);
    if taken > 0 {
        rope.update(rope.weight() - 1, |chunk, _| {
            // A copy made by a write after a snapshot has no spare room.
            chunk.0.reserve_exact(CHUNK - chunk.0.len());
            fill(&mut chunk.0, taken);
        });
    }
    count - taken
}

/// Makes room as Redis's strings do, so that a run of appends costs amortised constant time: twice what
/// is needed. (Its other half, one more MiB from one MiB on, lies beyond what is kept flat.)
fn grow_like_sds(buffer: &mut Vec<u8>, additional: usize) {
    let needed = buffer.len() + additional;
    if needed > buffer.capacity() {
        let capacity = (needed * 2).min(FLAT_MAX);
        buffer.reserve_exact(capacity - buffer.len());
    }
}

impl Default for Blob {
    fn default() -> Self {
        Self::new()
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        if bytes.len() <= FLAT_MAX { Blob { repr: Repr::Flat(bytes) } } else { Self::from(bytes.as_slice()) }
    }
}

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        if bytes.len() <= FLAT_MAX {
            return Blob { repr: Repr::Flat(bytes.to_vec()) };
        }
        let mut blob = Blob::new();
        blob.append(bytes);
        blob
    }
}

impl PartialEq<[u8]> for Blob {
    fn eq(&self, other: &[u8]) -> bool {
        let mut rest = other;
        self.len() == other.len()
            && self.chunks().all(|chunk| {
                let (head, tail) = rest.split_at(chunk.len());
                rest = tail;
                head == chunk
            })
    }
}

impl PartialEq for Blob {
    fn eq(&self, other: &Self) -> bool {
        let mut offset = 0;
        self.len() == other.len()
            && self.chunks().all(|chunk| {
                let range = offset..offset + chunk.len();
                offset = range.end;
                other.read(range).as_ref() == chunk
            })
    }
}

impl Eq for Blob {}
