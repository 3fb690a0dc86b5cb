//! The bytes of one listpack entry: how they are written, read, stepped over and checked.
//!
//! | first byte | entry |
//! |---|---|
//! | `0xxxxxxx` | integer 0..=127 |
//! | `10llllll` | string of up to 63 bytes |
//! | `110xxxxx` + 1 | 13-bit integer, big-endian |
//! | `1110llll` + 1 | string of up to 4095 bytes, length big-endian |
//! | `0xF0` + 4 | string, length 32 bits little-endian |
//! | `0xF1`…`0xF4` | integer of 16, 24, 32, 64 bits little-endian |

use super::{COUNT_UNKNOWN, END, Entry, HEADER, Needle};
use crate::engine::types::Corrupt;

const STR_6: u8 = 0x80;
const INT_13: u8 = 0xC0;
const STR_12: u8 = 0xE0;
const STR_32: u8 = 0xF0;
const INT_16: u8 = 0xF1;
const INT_24: u8 = 0xF2;
const INT_32: u8 = 0xF3;
const INT_64: u8 = 0xF4;

/// Most bytes of an encoding byte with an integer, and of a string's head.
const MAX_HEAD: usize = 9;

/// An element ready to be written: a head (encoding, length or integer), a body, a backlen.
pub(super) struct Encoded<'a> {
    head: [u8; MAX_HEAD],
    head_len: usize,
    body: &'a [u8],
}

impl<'a> Encoded<'a> {
    pub(super) fn of(element: &Needle<'a>) -> Self {
        match element.int() {
            Some(value) => Self::of_int(value),
            None => Self::of_str(element.bytes()),
        }
    }

    pub(super) fn of_int(value: i64) -> Self {
        let le = value.to_le_bytes();
        match value {
            0..=127 => Self::new(&[le[0]], &[]),
            -4096..=4095 => Self::new(&[INT_13 | (le[1] & 0x1F), le[0]], &[]),
            -0x8000..=0x7FFF => Self::new(&[INT_16, le[0], le[1]], &[]),
            -0x80_0000..=0x7F_FFFF => Self::new(&[INT_24, le[0], le[1], le[2]], &[]),
            -0x8000_0000..=0x7FFF_FFFF => Self::new(&[INT_32, le[0], le[1], le[2], le[3]], &[]),
            _ => Self::new(&[INT_64, le[0], le[1], le[2], le[3], le[4], le[5], le[6], le[7]], &[]),
        }
    }

    fn of_str(bytes: &'a [u8]) -> Self {
        let len = u32::try_from(bytes.len()).expect("callers keep to ListPack::MAX_BYTES");
        let le = len.to_le_bytes();
        match len {
            0..64 => Self::new(&[STR_6 | le[0]], bytes),
            64..4096 => Self::new(&[STR_12 | le[1], le[0]], bytes),
            _ => Self::new(&[STR_32, le[0], le[1], le[2], le[3]], bytes),
        }
    }

    fn new(head: &[u8], body: &'a [u8]) -> Self {
        let mut padded = [0; MAX_HEAD];
        padded[..head.len()].copy_from_slice(head);
        Encoded { head: padded, head_len: head.len(), body }
    }

    /// Bytes of the whole entry, its backlen included.
    pub(super) fn len(&self) -> usize {
        let len = self.head_len + self.body.len();
        len + backlen_size(len)
    }

    /// Writes the entry into `out`, which is [`Self::len`] bytes long.
    pub(super) fn write_to(&self, out: &mut [u8]) {
        let (head, rest) = out.split_at_mut(self.head_len);
        let (body, backlen) = rest.split_at_mut(self.body.len());
        head.copy_from_slice(&self.head[..self.head_len]);
        body.copy_from_slice(self.body);
        write_backlen(self.head_len + self.body.len(), backlen);
    }
}

/// Bytes that the backlen of an entry of `len` bytes takes. The bounds of the longer forms lie one
/// below what seven bits a byte could hold; that is part of the format.
fn backlen_size(len: usize) -> usize {
    match len {
        0..=127 => 1,
        128..16383 => 2,
        16383..2097151 => 3,
        2097151..268435455 => 4,
        _ => 5,
    }
}

/// Writes `len` most significant group first; every byte but the first has its high bit set, so
/// that a reader coming from behind knows where to stop.
fn write_backlen(len: usize, out: &mut [u8]) {
    let mut rest = len;
    for byte in out.iter_mut().rev() {
        *byte = (rest & 0x7F) as u8 | 0x80;
        rest >>= 7;
    }
    out[0] &= 0x7F;
}

/// Length of the entry at `at` without its backlen.
fn entry_len(bytes: &[u8], at: usize) -> usize {
    let first = bytes[at];
    match first {
        0..STR_6 => 1,
        STR_6..INT_13 => 1 + usize::from(first & 0x3F),
        INT_13..STR_12 => 2,
        STR_12..STR_32 => 2 + (usize::from(first & 0x0F) << 8 | usize::from(bytes[at + 1])),
        STR_32 => 5 + u32::from_le_bytes(array(bytes, at + 1)) as usize,
        INT_16 => 3,
        INT_24 => 4,
        INT_32 => 5,
        _ => 9,
    }
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().expect("the range has N bytes")
}

/// Offset of what follows the entry at `at`.
pub(super) fn step_forward(bytes: &[u8], at: usize) -> usize {
    let len = entry_len(bytes, at);
    at + len + backlen_size(len)
}

/// Offset of the entry that ends at `at`.
pub(super) fn step_back(bytes: &[u8], at: usize) -> usize {
    let (mut len, mut shift, mut last) = (0usize, 0, at);
    loop {
        last -= 1;
        len |= usize::from(bytes[last] & 0x7F) << shift;
        if bytes[last] & 0x80 == 0 {
            return last - len;
        }
        shift += 7;
    }
}

/// Reads the entry at `at`.
pub(super) fn decode(bytes: &[u8], at: usize) -> Entry<'_> {
    read(bytes, at).0
}

/// Reads the entry at `at`; gives it with the offset of what follows it.
pub(super) fn read(bytes: &[u8], at: usize) -> (Entry<'_>, usize) {
    let first = bytes[at];
    let string = |head: usize, len: usize| (Entry::Str(&bytes[at + head..at + head + len]), head + len);
    let (entry, len) = match first {
        0..STR_6 => (Entry::Int(i64::from(first)), 1),
        STR_6..INT_13 => string(1, usize::from(first & 0x3F)),
        INT_13..STR_12 => {
            // Shifting the 13 bits to the top and back down spreads their sign.
            let raw = i16::from_be_bytes([first, bytes[at + 1]]) << 3;
            (Entry::Int(i64::from(raw >> 3)), 2)
        }
        STR_12..STR_32 => string(2, usize::from(first & 0x0F) << 8 | usize::from(bytes[at + 1])),
        STR_32 => string(5, u32::from_le_bytes(array(bytes, at + 1)) as usize),
        INT_16 => (Entry::Int(i64::from(i16::from_le_bytes(array(bytes, at + 1)))), 3),
        INT_24 => {
            let [low, middle, high] = array(bytes, at + 1);
            (Entry::Int(i64::from(i32::from_le_bytes([0, low, middle, high]) >> 8)), 4)
        }
        INT_32 => (Entry::Int(i64::from(i32::from_le_bytes(array(bytes, at + 1)))), 5),
        _ => (Entry::Int(i64::from_le_bytes(array(bytes, at + 1))), 9),
    };
    (entry, at + len + backlen_size(len))
}

/// Checks a whole listpack and counts its entries.
pub(super) fn validate(bytes: &[u8]) -> Result<usize, Corrupt> {
    let corrupt = |at, what| Err(Corrupt { structure: "listpack", at, what });
    let total = bytes.len();
    if total < HEADER + 1 {
        return corrupt(0, "shorter than its header and terminator");
    }
    if u32::from_le_bytes(array(bytes, 0)) as usize != total {
        return corrupt(0, "total bytes in the header are not the bytes there are");
    }
    if bytes[total - 1] != END {
        return corrupt(total - 1, "no terminator at the end");
    }
    let (mut at, mut count) = (HEADER, 0);
    while at < total - 1 {
        at = check_entry(&bytes[..total - 1], at)?;
        count += 1;
    }
    let declared = u16::from_le_bytes(array(bytes, 4));
    if declared != COUNT_UNKNOWN && usize::from(declared) != count {
        return corrupt(4, "count in the header is not the number of entries");
    }
    Ok(count)
}

/// Checks the entry at `at`, which must end within `entries`, and returns where it ends.
fn check_entry(entries: &[u8], at: usize) -> Result<usize, Corrupt> {
    let corrupt = |what| Err(Corrupt { structure: "listpack", at, what });
    let head_len = match entries[at] {
        0..INT_13 => 1,
        INT_13..STR_32 => 2,
        STR_32 => 5,
        INT_16..=INT_64 => 1,
        _ => return corrupt("no such encoding"),
    };
    if entries.len() - at < head_len {
        return corrupt("entry is cut off");
    }
    let len = entry_len(entries, at);
    let size = len + backlen_size(len);
    if entries.len() - at < size {
        return corrupt("entry reaches past the end");
    }
    let mut backlen = [0; 5];
    let backlen = &mut backlen[..size - len];
    write_backlen(len, backlen);
    if entries[at + len..at + size] != *backlen {
        return corrupt("length after the entry is not its length");
    }
    Ok(at + size)
}
