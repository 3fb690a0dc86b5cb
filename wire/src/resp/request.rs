//! Parses requests out of a connection's read buffer, incrementally and without copying.
//!
//! The parser holds where the arguments stand relative to the request's first byte, and how
//! far it has understood; the bytes stay in the connection's buffer, which may move between
//! calls as long as the request's bytes stay together. In steady state it allocates nothing.
//! Inline requests are the exception: quotes and escapes make an argument differ from its
//! bytes on the wire, so their arguments live in the parser.
//!
//! Limits, error texts, and what is *not* checked (the byte after a CR, the two bytes after an
//! argument) are those of Redis 7.2, with one difference: a line longer than the limit is
//! refused also when it arrives in one piece, so that the verdict does not depend on packets.

use memchr::memchr2;
use smallvec::SmallVec;

use super::error::ProtocolError;
use super::number::parse_integer;
use crate::quoting::{Span, split_into};

/// The arguments a client may announce before it has authenticated.
const UNAUTHENTICATED_MAX_MULTIBULK: u64 = 10;
/// The bytes a client may announce for one argument before it has authenticated.
const UNAUTHENTICATED_MAX_BULK_LEN: i64 = 16 * 1024;
/// The most that [`Parsed::Incomplete`] ever asks for: memory for more is taken as data arrives.
const MAX_WANTED: usize = 1024 * 1024;
/// Spans (and bytes of inline arguments) kept from one request to the next.
pub(super) const KEPT_CAPACITY: usize = 4096;

/// What a connection accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest argument in bytes (`proto-max-bulk-len`). A replica does not limit its master.
    pub max_bulk_len: usize,
    /// Most arguments of one request.
    pub max_multibulk: usize,
    /// Longest line, in bytes: an inline request, a count, or a length.
    pub max_inline: usize,
    /// Whether the client may run commands already; before, only small requests are taken.
    pub authenticated: bool,
}

impl Default for Limits {
    /// The limits of Redis 7.2 for a client that needs no authentication.
    fn default() -> Self {
        Limits {
            max_bulk_len: 512 * 1024 * 1024,
            max_multibulk: i32::MAX as usize,
            max_inline: 64 * 1024,
            authenticated: true,
        }
    }
}

/// What the parser made of the bytes so far. All lengths count from the request's first byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The request goes on: call again with the same bytes and more after them.
    Incomplete {
        /// At least so many bytes are still missing, at most 1 MiB: a hint for the read buffer.
        wanted: usize,
    },
    /// Nothing to execute: a blank line, or a multibulk of no arguments.
    Empty {
        /// Bytes to skip.
        len: usize,
    },
    /// A request, whose arguments [`RequestParser::args`] gives.
    Complete {
        /// Bytes that it takes.
        len: usize,
    },
}

/// The state between two looks at a request that is still arriving, and the arguments of the
/// one that is complete.
#[derive(Debug, Default)]
pub struct RequestParser {
    /// Arguments understood so far; places in the buffer, or in `inline_bytes` for inline requests.
    spans: Vec<Span>,
    /// Unquoted arguments of an inline request.
    inline_bytes: Vec<u8>,
    /// Bytes understood.
    pos: usize,
    /// Bytes after `pos` in which no line end was found.
    searched: usize,
    /// Arguments of a multibulk that are still to come; 0 before its count is known.
    remaining: usize,
    /// Length of the argument at `pos`, once known.
    bulk_len: Option<usize>,
    /// Whether the request is a line of words instead of a multibulk.
    inline: bool,
    /// Whether the last call ended a request, so that the next starts afresh.
    finished: bool,
}

impl RequestParser {
    /// A parser at the start of a request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Looks at `buf`, which starts at the first byte of the current request and may hold more
    /// than it. Bytes understood by an earlier call are not looked at again. After
    /// [`Parsed::Empty`] or [`Parsed::Complete`] the caller passes `buf` from `len` on; after
    /// an error the connection is done with.
    ///
    /// # Errors
    /// The violation that Redis would report at the same byte.
    #[inline]
    pub fn parse(&mut self, buf: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        if self.finished {
            self.reset();
        }
        if self.remaining == 0 {
            match buf.first() {
                None => return Ok(Parsed::Incomplete { wanted: 1 }),
                Some(b'*') => {}
                Some(_) => return self.parse_inline(buf, limits),
            }
            match self.read_count(buf, limits)? {
                None => return Ok(Parsed::Incomplete { wanted: 1 }),
                Some(0) => return Ok(self.finish_empty()),
                Some(count) => self.remaining = count,
            }
        }
        self.parse_arguments(buf, limits)
    }

    /// The arguments of the request that the last call completed; `buf` as it was passed then.
    #[inline]
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> SmallVec<[&'a [u8]; 8]> {
        let bytes = self.bytes(buf);
        self.spans.iter().map(|span| span.of(bytes)).collect()
    }

    /// Where the arguments of the request that the last call completed stand in [`RequestParser::bytes`].
    #[inline]
    pub(super) fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The bytes that the spans are places in: the request's own, or those of an inline request without its quotes.
    #[inline]
    pub(super) fn bytes<'a>(&'a self, buf: &'a [u8]) -> &'a [u8] {
        if self.inline { &self.inline_bytes } else { buf }
    }

    /// The number of arguments of the request that the last call completed.
    pub fn arg_count(&self) -> usize {
        self.spans.len()
    }

    /// Whether the request is inline: a replica refuses those from its master.
    pub fn is_inline(&self) -> bool {
        self.inline
    }

    /// Whether a request has begun and is not complete (its connection is not idle).
    pub fn is_midway(&self) -> bool {
        !self.finished && (self.pos > 0 || self.searched > 0)
    }

    /// Bytes of memory that the parser keeps, for a client's memory figures.
    pub fn memory_usage(&self) -> usize {
        self.spans.capacity() * size_of::<Span>() + self.inline_bytes.capacity()
    }

    /// Forgets the request it is in, if any: the next call starts afresh.
    pub fn reset(&mut self) {
        self.spans.clear();
        self.inline_bytes.clear();
        // One exceptional request must not pin its memory for the life of the connection.
        if self.spans.capacity() > KEPT_CAPACITY {
            self.spans.shrink_to(KEPT_CAPACITY);
        }
        if self.inline_bytes.capacity() > KEPT_CAPACITY {
            self.inline_bytes.shrink_to(KEPT_CAPACITY);
        }
        self.pos = 0;
        self.searched = 0;
        self.remaining = 0;
        self.bulk_len = None;
        self.inline = false;
        self.finished = false;
    }

    fn finish_empty(&mut self) -> Parsed {
        self.finished = true;
        Parsed::Empty { len: self.pos }
    }

    /// Reads the arguments that are still to come.
    #[inline]
    fn parse_arguments(&mut self, buf: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        while self.remaining > 0 {
            let len = match self.bulk_len {
                Some(len) => len,
                None => match self.read_bulk_len(buf, limits)? {
                    Some(len) => len,
                    None => return Ok(Parsed::Incomplete { wanted: 1 }),
                },
            };
            let held = buf.len() - self.pos;
            let needed = len.saturating_add(2);
            if held < needed {
                self.bulk_len = Some(len);
                return Ok(Parsed::Incomplete { wanted: (needed - held).min(MAX_WANTED) });
            }
            self.spans.push(Span { start: self.pos, len });
            self.pos += needed;
            self.bulk_len = None;
            self.remaining -= 1;
        }
        self.finished = true;
        Ok(Parsed::Complete { len: self.pos })
    }

    /// Reads `*<count>`; a count below one means an empty request.
    #[inline]
    fn read_count(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let count = match short_number(buf) {
            Some((count, line_len)) => {
                self.advance(line_len);
                count
            }
            None => match self.read_line(buf, limits, ProtocolError::TooBigMultibulkCount)? {
                None => return Ok(None),
                Some(line) => parse_integer(&line[1..]).ok_or(ProtocolError::InvalidMultibulkLength)?,
            },
        };
        let count = count.max(0) as u64;
        if count > limits.max_multibulk as u64 {
            return Err(ProtocolError::InvalidMultibulkLength);
        }
        if !limits.authenticated && count > UNAUTHENTICATED_MAX_MULTIBULK {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        Ok(Some(count as usize))
    }

    /// Reads `$<len>`.
    #[inline]
    fn read_bulk_len(&mut self, buf: &[u8], limits: &Limits) -> Result<Option<usize>, ProtocolError> {
        let rest = &buf[self.pos..];
        let len = match rest.first().filter(|&&marker| marker == b'$').and_then(|_| short_number(rest)) {
            Some((len, line_len)) => {
                self.advance(line_len);
                len
            }
            None => match self.read_line(buf, limits, ProtocolError::TooBigBulkCount)? {
                None => return Ok(None),
                Some([b'$', digits @ ..]) => parse_integer(digits).ok_or(ProtocolError::InvalidBulkLength)?,
                // The line's first byte, or the CR that ends an empty one.
                Some(line) => return Err(ProtocolError::ExpectedBulk(*line.first().unwrap_or(&b'\r'))),
            },
        };
        if len < 0 || len as u64 > limits.max_bulk_len as u64 {
            return Err(ProtocolError::InvalidBulkLength);
        }
        if !limits.authenticated && len > UNAUTHENTICATED_MAX_BULK_LEN {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        Ok(Some(len as usize))
    }

    /// The line at `pos` without its end, if it is complete; `pos` is then behind it.
    #[cold]
    fn read_line<'a>(
        &mut self,
        buf: &'a [u8],
        limits: &Limits,
        too_long: ProtocolError,
    ) -> Result<Option<&'a [u8]>, ProtocolError> {
        let rest = &buf[self.pos..];
        match self.find_line_end(rest, b'\r') {
            Some(end) if end > limits.max_inline => Err(too_long),
            Some(end) if end + 1 < rest.len() => {
                self.advance(end + 2);
                Ok(Some(&rest[..end]))
            }
            Some(_) => Ok(None),
            None if rest.len() > limits.max_inline => Err(too_long),
            None => Ok(None),
        }
    }

    /// Where `end` stands in `rest`. A zero byte hides what follows it, as it does in Redis: no
    /// request has one outside an argument, and a peer that sends one is soon refused as too long.
    fn find_line_end(&mut self, rest: &[u8], end: u8) -> Option<usize> {
        match memchr2(end, 0, &rest[self.searched..]) {
            Some(at) => {
                self.searched += at;
                (rest[self.searched] == end).then_some(self.searched)
            }
            None => {
                self.searched = rest.len();
                None
            }
        }
    }

    #[inline]
    fn advance(&mut self, bytes: usize) {
        self.pos += bytes;
        self.searched = 0;
    }

    /// Reads a request that is a line of words.
    #[cold]
    fn parse_inline(&mut self, buf: &[u8], limits: &Limits) -> Result<Parsed, ProtocolError> {
        let newline = match self.find_line_end(buf, b'\n') {
            Some(newline) if newline <= limits.max_inline => newline,
            None if buf.len() <= limits.max_inline => return Ok(Parsed::Incomplete { wanted: 1 }),
            _ => return Err(ProtocolError::TooBigInlineRequest),
        };
        let line = &buf[..newline];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.inline = true;
        split_into(line, &mut self.inline_bytes, &mut self.spans)
            .map_err(|_| ProtocolError::UnbalancedQuotes)?;
        self.advance(newline + 1);
        if self.spans.is_empty() {
            return Ok(self.finish_empty());
        }
        self.finished = true;
        Ok(Parsed::Complete { len: self.pos })
    }
}

/// The number after a marker byte, and the length of its line with marker and line end, when
/// it is complete, canonical and of at most nine digits: what nearly every line is.
#[inline(always)]
fn short_number(line: &[u8]) -> Option<(i64, usize)> {
    let mut value = 0i64;
    for at in 1..line.len().min(11) {
        let byte = line[at];
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value * 10 + i64::from(digit);
        } else {
            let canonical = at > 1 && (line[1] != b'0' || at == 2);
            return (byte == b'\r' && canonical && at + 1 < line.len()).then_some((value, at + 2));
        }
    }
    None
}

#[cfg(test)]
mod tests;
