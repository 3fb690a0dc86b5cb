//! Ziplists: how lists were packed before listpacks, up to Redis 6.2. They are only read.
//!
//! A ziplist is one byte string that was somebody's memory image, so nothing in it is believed: lengths are
//! checked against the bytes that are there, each entry's idea of the one before it against that one, and the
//! header against what was found.
//!
//! Layout: total bytes (u32), offset of the last entry (u32), count (u16, 65535 if unknown), entries, 0xff.
//! An entry is the length of the one before it (a byte, or 254 and a u32), then its encoding and data.

use crate::engine::types::Entry;

const HEADER: usize = 10;
const END: u8 = 0xff;
const UNKNOWN_COUNT: usize = u16::MAX as usize;

/// The elements of a ziplist, if it is sound.
pub(super) fn read_ziplist(bytes: &[u8]) -> Option<Vec<Entry<'_>>> {
    if bytes.len() < HEADER + 1 || unsigned(&bytes[..4]) != bytes.len() || bytes.last() != Some(&END) {
        return None;
    }
    let entries = &bytes[..bytes.len() - 1];
    let mut found = Vec::new();
    let (mut at, mut before, mut last) = (HEADER, 0, None);
    while at < entries.len() {
        let (claimed, element, length) = read_entry(&entries[at..])?;
        if claimed != before {
            return None;
        }
        found.push(element);
        last = Some(at);
        before = length;
        at += length;
    }
    let tail = unsigned(&bytes[4..8]);
    let tail_fits = last.map_or(tail < bytes.len(), |last| tail == last);
    let claimed = unsigned(&bytes[8..10]);
    (tail_fits && (claimed == UNKNOWN_COUNT || claimed == found.len())).then_some(found)
}

/// The first entry: what it says of the one before it, its element, its whole length.
fn read_entry(bytes: &[u8]) -> Option<(usize, Entry<'_>, usize)> {
    let (before, header) = match *bytes.first()? {
        254 => (unsigned(bytes.get(1..5)?), 5),
        255 => return None,
        short => (short as usize, 1),
    };
    let own = bytes.get(header..)?;
    let string = |skip: usize, length: usize| {
        Some((Entry::Str(own.get(skip..skip.checked_add(length)?)?), skip + length))
    };
    let int = |width: usize| Some((Entry::Int(signed(own.get(1..1 + width)?)), 1 + width));
    let first = *own.first()?;
    let (element, length) = match first {
        0x00..=0x3f => string(1, first as usize)?,
        0x40..=0x7f => string(2, (first as usize & 0x3f) << 8 | *own.get(1)? as usize)?,
        0x80..=0xbf => string(5, u32::from_be_bytes(own.get(1..5)?.try_into().ok()?) as usize)?,
        0xc0 => int(2)?,
        0xd0 => int(4)?,
        0xe0 => int(8)?,
        0xf0 => int(3)?,
        0xfe => int(1)?,
        0xf1..=0xfd => (Entry::Int(i64::from(first & 0x0f) - 1), 1),
        _ => return None,
    };
    Some((before, element, header + length))
}

/// A little-endian integer of up to four bytes.
fn unsigned(bytes: &[u8]) -> usize {
    bytes.iter().rev().fold(0, |number, &byte| number << 8 | byte as usize)
}

/// A little-endian signed integer of one to eight bytes.
fn signed(bytes: &[u8]) -> i64 {
    let spare = 64 - 8 * bytes.len() as u32;
    let raw = bytes.iter().rev().fold(0u64, |number, &byte| number << 8 | u64::from(byte));
    (raw as i64) << spare >> spare
}
