//! The lexical layer of the reader: numbers and strings out of chunks that end anywhere.
//!
//! Every method here can stop with [`Stop::More`] and, called again when more has arrived, carries on where
//! it stopped. There are two kinds of things to read. *Tokens* (record heads, lengths, checksums) are at most
//! [`LONGEST_TOKEN`] bytes; one that is cut by the end of a chunk waits in a small carry buffer. *Bodies* of
//! strings are as long as they like; one that is cut is filled as its bytes arrive, so that no claimed length
//! takes memory before its bytes are there. Nothing else is ever copied aside: what lies whole in a chunk is
//! lent from it.

use super::crc64::Crc64;
use super::error::{InKey, RdbError};
use super::{encoding, lzf};

/// One record head: an opcode and three 64-bit lengths.
const LONGEST_TOKEN: usize = 1 + 3 * 9;

/// How much is taken for a string before its bytes have arrived; from then on as much as has arrived.
const FIRST_BODY_BYTES: usize = 64 * 1024;

/// Why there is no result yet.
pub(super) enum Stop {
    /// All bytes have been read: feed more and call again.
    More,
    /// The bytes are wrong.
    Bad(RdbError),
}

impl From<RdbError> for Stop {
    fn from(error: RdbError) -> Self {
        Stop::Bad(error)
    }
}

pub(super) type Scan<T> = Result<T, Stop>;

/// What a token parser says: the token and its length, or that more bytes are needed, or what is wrong.
pub(super) type Parsed<T> = Result<Option<(T, usize)>, String>;

/// A string where it lies.
#[derive(Debug)]
pub(super) enum Piece<'a> {
    Int(i64),
    Lent(&'a [u8]),
    Owned(Vec<u8>),
}

impl Piece<'_> {
    /// Calls `f` with the string, which for a number lives on the stack.
    pub(super) fn with_bytes<R>(&self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Piece::Int(number) => f(itoa::Buffer::new().format(*number).as_bytes()),
            Piece::Lent(bytes) => f(bytes),
            Piece::Owned(bytes) => f(bytes),
        }
    }

    pub(super) fn into_vec(self) -> Vec<u8> {
        match self {
            Piece::Owned(bytes) => bytes,
            other => other.with_bytes(<[u8]>::to_vec),
        }
    }
}

/// The length field of a string, or the integer that stands in its place.
#[derive(Debug, Clone, Copy)]
enum StringHead {
    Int(i64),
    Plain(u64),
    Lzf { packed: u64, length: u64 },
}

/// A string part of which has arrived.
struct Body {
    head: StringHead,
    wanted: usize,
    bytes: Vec<u8>,
}

pub(super) struct Scanner {
    chunk: Vec<u8>,
    /// What of the chunk has been read.
    at: usize,
    /// What of the chunk is in the checksum.
    summed: usize,
    crc: Option<Crc64>,
    /// The offset of the chunk's first byte.
    base: u64,
    carry: [u8; LONGEST_TOKEN],
    carried: usize,
    body: Option<Body>,
    max_string: usize,
}

impl Scanner {
    pub(super) fn new(checksum: bool, max_string: usize) -> Self {
        Scanner {
            chunk: Vec::new(),
            at: 0,
            summed: 0,
            crc: checksum.then(Crc64::default),
            base: 0,
            carry: [0; LONGEST_TOKEN],
            carried: 0,
            body: None,
            max_string,
        }
    }

    /// Takes the next chunk, and gives back the spent one, empty, for its memory.
    pub(super) fn feed(&mut self, mut chunk: Vec<u8>) -> Vec<u8> {
        if self.at < self.chunk.len() {
            self.chunk.append(&mut chunk);
            return chunk;
        }
        self.sum();
        self.base += self.chunk.len() as u64;
        self.at = 0;
        self.summed = 0;
        let mut spent = std::mem::replace(&mut self.chunk, chunk);
        spent.clear();
        spent
    }

    /// How many bytes have been read since the start.
    pub(super) fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// Where the token began of which a part has been read, or else where the next one begins.
    pub(super) fn token_start(&self) -> u64 {
        self.offset() - self.carried as u64
    }

    /// The bytes that have been fed but not read.
    pub(super) fn rest(&self) -> &[u8] {
        &self.chunk[self.at..]
    }

    /// The checksum of what has been read, if one is kept.
    pub(super) fn checksum(&mut self) -> Option<u64> {
        self.sum();
        self.crc.as_ref().map(Crc64::value)
    }

    fn sum(&mut self) {
        if let Some(crc) = &mut self.crc {
            crc.update(&self.chunk[self.summed..self.at]);
        }
        self.summed = self.at;
    }

    pub(super) fn corrupt(&self, what: impl Into<String>) -> RdbError {
        RdbError::Corrupt { offset: self.offset(), key: InKey::default(), what: what.into() }
    }

    /// Reads what `parse` recognises. It must need no more than [`LONGEST_TOKEN`] bytes.
    pub(super) fn token<T>(&mut self, parse: impl Fn(&[u8]) -> Parsed<T>) -> Scan<T> {
        if self.carried == 0
            && let Some((token, length)) = parse(self.rest()).map_err(|what| self.corrupt(what))?
        {
            self.at += length;
            return Ok(token);
        }
        // Byte by byte, so that the carry never holds more than the token.
        while self.at < self.chunk.len() {
            self.carry[self.carried] = self.chunk[self.at];
            self.carried += 1;
            self.at += 1;
            if let Some((token, _)) = parse(&self.carry[..self.carried]).map_err(|what| self.corrupt(what))? {
                self.carried = 0;
                return Ok(token);
            }
        }
        Err(Stop::More)
    }

    /// Reads exactly `N` bytes.
    pub(super) fn bytes<const N: usize>(&mut self) -> Scan<[u8; N]> {
        self.token(|bytes| Ok(bytes.first_chunk::<N>().map(|&bytes| (bytes, N))))
    }

    /// Reads a length or another packed number.
    pub(super) fn number(&mut self) -> Scan<u64> {
        self.token(number)
    }

    /// Reads a string.
    pub(super) fn string(&mut self) -> Scan<Piece<'_>> {
        let mut body = match self.body.take() {
            Some(body) => body,
            None => {
                let head = self.token(string_head)?;
                let wanted = match head {
                    StringHead::Int(number) => return Ok(Piece::Int(number)),
                    StringHead::Plain(length) => self.bounded(length)?,
                    StringHead::Lzf { packed, length } => {
                        self.bounded(length)?;
                        self.bounded(packed)?
                    }
                };
                if wanted <= self.chunk.len() - self.at {
                    let from = self.at;
                    self.at += wanted;
                    let StringHead::Lzf { length, .. } = head else {
                        return Ok(Piece::Lent(&self.chunk[from..from + wanted]));
                    };
                    return self.unpack(&self.chunk[from..from + wanted], length).map(Piece::Owned);
                }
                Body { head, wanted, bytes: Vec::new() }
            }
        };
        if !self.fill(&mut body) {
            self.body = Some(body);
            return Err(Stop::More);
        }
        match body.head {
            StringHead::Lzf { length, .. } => self.unpack(&body.bytes, length).map(Piece::Owned),
            _ => Ok(Piece::Owned(body.bytes)),
        }
    }

    /// Moves what has arrived of a string; tells whether it is complete.
    fn fill(&mut self, body: &mut Body) -> bool {
        let missing = body.wanted - body.bytes.len();
        let step = missing.min(self.chunk.len() - self.at);
        if body.bytes.capacity() - body.bytes.len() < step {
            let ahead = body.bytes.len().max(FIRST_BODY_BYTES).max(step);
            body.bytes.reserve_exact(missing.min(ahead));
        }
        body.bytes.extend_from_slice(&self.chunk[self.at..self.at + step]);
        self.at += step;
        step == missing
    }

    fn unpack(&self, packed: &[u8], length: u64) -> Scan<Vec<u8>> {
        lzf::decompress(packed, length as usize)
            .ok_or_else(|| self.corrupt("Invalid LZF compressed string").into())
    }

    fn bounded(&self, length: u64) -> Scan<usize> {
        if length > self.max_string as u64 {
            return Err(self
                .corrupt(format!("a string of {length} bytes (at most {})", self.max_string))
                .into());
        }
        Ok(length as usize)
    }
}

/// A packed number at the start of `bytes`: 6 or 14 bits, or 32 or 64 big-endian after a marker byte.
pub(super) fn number(bytes: &[u8]) -> Parsed<u64> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let low = first & 0x3f;
    Ok(match first {
        0x00..=0x3f => Some((low as u64, 1)),
        0x40..=0x7f => bytes.get(1).map(|&second| ((low as u64) << 8 | second as u64, 2)),
        0x80 => bytes[1..].first_chunk().map(|&raw| (u32::from_be_bytes(raw) as u64, 5)),
        0x81 => bytes[1..].first_chunk().map(|&raw| (u64::from_be_bytes(raw), 9)),
        _ => return Err(format!("Unknown length encoding {first:#04x} in place of a length")),
    })
}

/// `N` packed numbers after `skip` bytes.
pub(super) fn numbers<const N: usize>(bytes: &[u8], skip: usize) -> Parsed<[u64; N]> {
    let mut found = [0; N];
    let mut at = skip;
    for slot in &mut found {
        match number(&bytes[at..])? {
            Some((value, length)) => {
                *slot = value;
                at += length;
            }
            None => return Ok(None),
        }
    }
    Ok(Some((found, at)))
}

fn string_head(bytes: &[u8]) -> Parsed<StringHead> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    if first & encoding::MARK != encoding::MARK {
        return Ok(number(bytes)?.map(|(length, used)| (StringHead::Plain(length), used)));
    }
    let after = &bytes[1..];
    Ok(match first & !encoding::MARK {
        encoding::INT8 => after.first().map(|&raw| (StringHead::Int(raw as i8 as i64), 2)),
        encoding::INT16 => {
            after.first_chunk().map(|&raw| (StringHead::Int(i16::from_le_bytes(raw) as i64), 3))
        }
        encoding::INT32 => {
            after.first_chunk().map(|&raw| (StringHead::Int(i32::from_le_bytes(raw) as i64), 5))
        }
        encoding::LZF => {
            numbers(bytes, 1)?.map(|([packed, length], used)| (StringHead::Lzf { packed, length }, used))
        }
        other => return Err(format!("Unknown RDB string encoding type {other}")),
    })
}
