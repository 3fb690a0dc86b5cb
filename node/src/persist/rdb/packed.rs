//! The packed forms inside RDB values: listpack, ziplist and intset, validated entry by entry.
//!
//! A packed form is one byte string that was somebody's memory image. Nothing in it is believed: every
//! length is checked against the bytes that are there, forward and backward lengths against each other, and
//! counts against what was counted.

use super::value::Strings;
use std::collections::HashSet;

/// An element of a packed form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// One stored in binary.
    Int(i64),
    /// Any other.
    Str(&'a [u8]),
}

const END: u8 = 0xff;
const UNKNOWN_COUNT: usize = u16::MAX as usize;

fn le(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | byte as usize)
}

/// A little-endian signed integer of one to eight bytes.
fn signed(bytes: &[u8]) -> i64 {
    let spare = 64 - 8 * bytes.len() as u32;
    let raw = bytes.iter().rev().fold(0u64, |number, &byte| number << 8 | byte as u64);
    (raw as i64) << spare >> spare
}

fn sign_extend(value: u64, bits: u32) -> i64 {
    (value as i64) << (64 - bits) >> (64 - bits)
}

/// The number of elements in a listpack, if it is sound.
///
/// Layout: total bytes (u32), count (u16, 65535 if unknown), entries, 0xff. An entry is its encoding and
/// data, then their length written so that it can be read backwards.
pub fn check_listpack(bytes: &[u8]) -> Option<usize> {
    if bytes.len() < 7 || le(&bytes[..4]) != bytes.len() || bytes.last() != Some(&END) {
        return None;
    }
    let count = listpack_entries(bytes).try_fold(0, |count, entry| entry.map(|_| count + 1))?;
    let claimed = le(&bytes[4..6]);
    (claimed == UNKNOWN_COUNT || claimed == count).then_some(count)
}

/// Like [`check_listpack`], and that no element repeats.
pub fn check_listpack_set(bytes: &[u8]) -> Option<usize> {
    let count = check_listpack(bytes)?;
    let mut texts = Strings::new();
    listpack_entries(bytes).flatten().for_each(|entry| texts.push_entry(entry));
    let mut seen = HashSet::with_capacity(count);
    texts.iter().all(|text| seen.insert(text)).then_some(count)
}

/// The elements of a listpack whose header was checked, `None` in place of the first that is unsound.
fn listpack_entries(bytes: &[u8]) -> impl Iterator<Item = Option<Entry<'_>>> {
    let mut rest = Some(&bytes[6..]);
    std::iter::from_fn(move || {
        let here = rest.take()?;
        if here == [END] {
            return None;
        }
        let step = listpack_entry(here);
        rest = step.map(|(_, after)| after);
        Some(step.map(|(entry, _)| entry))
    })
}

/// The elements of a listpack that [`check_listpack`] found sound.
pub fn listpack_iter(bytes: &[u8]) -> impl Iterator<Item = Entry<'_>> {
    listpack_entries(bytes).map_while(|entry| entry)
}

/// Splits off the first entry. What is left is never empty: the end mark is not an entry.
fn listpack_entry(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let string = |header: usize, length: usize| {
        Some((Entry::Str(bytes.get(header..header.checked_add(length)?)?), header + length))
    };
    let int = |length: usize| Some((Entry::Int(signed(bytes.get(1..1 + length)?)), 1 + length));
    let first = *bytes.first()?;
    let (entry, length) = match first {
        0x00..=0x7f => (Entry::Int(first as i64), 1),
        0x80..=0xbf => string(1, first as usize & 0x3f)?,
        0xc0..=0xdf => {
            let value = (first as u64 & 0x1f) << 8 | *bytes.get(1)? as u64;
            (Entry::Int(sign_extend(value, 13)), 2)
        }
        0xe0..=0xef => string(2, (first as usize & 0x0f) << 8 | *bytes.get(1)? as usize)?,
        0xf0 => string(5, le(bytes.get(1..5)?))?,
        0xf1 => int(2)?,
        0xf2 => int(3)?,
        0xf3 => int(4)?,
        0xf4 => int(8)?,
        _ => return None,
    };
    let (back, after) = bytes[length..].split_at_checked(back_length_size(length))?;
    if after.is_empty() || read_back_length(back) != Some(length) {
        return None;
    }
    Some((entry, after))
}

/// In how many bytes the length of an entry is written behind it.
fn back_length_size(length: usize) -> usize {
    match length {
        0..=127 => 1,
        128..16383 => 2,
        16383..2097151 => 3,
        2097151..268435455 => 4,
        _ => 5,
    }
}

/// Seven bits a byte, the most significant first; all but the first have the top bit set.
fn read_back_length(bytes: &[u8]) -> Option<usize> {
    let (&first, others) = bytes.split_first()?;
    if first & 0x80 != 0 || others.iter().any(|byte| byte & 0x80 == 0) {
        return None;
    }
    Some(bytes.iter().fold(0, |length, &byte| length << 7 | (byte & 0x7f) as usize))
}

/// The elements of a ziplist, if it is sound.
///
/// Layout: total bytes (u32), offset of the last entry (u32), count (u16, 65535 if unknown), entries, 0xff.
/// An entry is the length of the one before it, then its own encoding and data.
pub fn read_ziplist(bytes: &[u8], into: &mut Strings) -> Option<()> {
    const HEADER: usize = 10;
    if bytes.len() < HEADER + 1 || le(&bytes[..4]) != bytes.len() || bytes.last() != Some(&END) {
        return None;
    }
    let last = le(&bytes[4..8]);
    let mut count = 0;
    let mut at = HEADER;
    let mut before = 0;
    let mut previous = None;
    while bytes[at] != END {
        let (claimed, entry, length) = ziplist_entry(&bytes[at..bytes.len() - 1])?;
        if claimed != before {
            return None;
        }
        into.push_entry(entry);
        previous = Some(at);
        before = length;
        at += length;
        count += 1;
    }
    let tail_fits = previous.map_or(last < bytes.len(), |previous| last == previous);
    let claimed = le(&bytes[8..10]);
    (at == bytes.len() - 1 && tail_fits && (claimed == UNKNOWN_COUNT || claimed == count)).then_some(())
}

/// The first entry: what it says of the one before it, its element, its whole length.
fn ziplist_entry(bytes: &[u8]) -> Option<(usize, Entry<'_>, usize)> {
    let (before, header) = match *bytes.first()? {
        254 => (le(bytes.get(1..5)?), 5),
        255 => return None,
        short => (short as usize, 1),
    };
    let own = bytes.get(header..)?;
    let string = |skip: usize, length: usize| {
        Some((Entry::Str(own.get(skip..skip.checked_add(length)?)?), skip + length))
    };
    let int = |length: usize| Some((Entry::Int(signed(own.get(1..1 + length)?)), 1 + length));
    let first = *own.first()?;
    let (entry, length) = match first {
        0x00..=0x3f => string(1, first as usize)?,
        0x40..=0x7f => string(2, (first as usize & 0x3f) << 8 | *own.get(1)? as usize)?,
        0x80..=0xbf => string(5, u32::from_be_bytes(own.get(1..5)?.try_into().ok()?) as usize)?,
        0xc0 => int(2)?,
        0xd0 => int(4)?,
        0xe0 => int(8)?,
        0xf0 => int(3)?,
        0xfe => int(1)?,
        0xf1..=0xfd => (Entry::Int((first & 0x0f) as i64 - 1), 1),
        _ => return None,
    };
    Some((before, entry, header + length))
}

/// The number of members of an intset, if it is sound: never empty, ascending, no duplicates.
///
/// Layout: bytes per member (u32: 2, 4 or 8), count (u32), members.
pub fn check_intset(bytes: &[u8]) -> Option<usize> {
    let count = le(bytes.get(4..8)?);
    let width = le(&bytes[..4]);
    if !matches!(width, 2 | 4 | 8) || count == 0 || count.checked_mul(width)? != bytes.len() - 8 {
        return None;
    }
    intset_iter(bytes).is_sorted_by(|a, b| a < b).then_some(count)
}

/// The members of an intset that [`check_intset`] found sound.
pub fn intset_iter(bytes: &[u8]) -> impl Iterator<Item = i64> {
    bytes[8..].chunks_exact(le(&bytes[..4])).map(signed)
}

impl Strings {
    /// Adds the text of an element of a packed form at the end.
    pub fn push_entry(&mut self, entry: Entry<'_>) {
        match entry {
            Entry::Int(number) => self.push_int(number),
            Entry::Str(bytes) => self.push(bytes),
        }
    }
}
