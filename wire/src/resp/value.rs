//! The client's side of RESP: values out of a peer's bytes, and commands into bytes.
//!
//! A value is looked at twice. The first look finds where it ends and whether it is well
//! formed; it remembers how far it came, so that a large reply that arrives in pieces is not
//! read again and again. Only when all of it is there does the second look build the value, so
//! memory is taken for bytes that are held, never for lengths that are claimed. Streamed
//! aggregates and strings of RESP3, which no server sends, are refused.

use super::error::{ProtocolError, ReplyFault};
use super::number::parse_integer;

/// What a client accepts of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueLimits {
    /// Longest string, in bytes.
    pub max_blob_len: usize,
    /// Longest line, in bytes: a number, a simple string or an error.
    pub max_line_len: usize,
    /// Most values of one aggregate; a pair of a map is two.
    pub max_elements: usize,
    /// Most aggregates within each other.
    pub max_depth: usize,
}

impl Default for ValueLimits {
    /// Limits that no reply of Redis exceeds unless it was configured to send such.
    fn default() -> Self {
        ValueLimits {
            max_blob_len: 512 * 1024 * 1024,
            max_line_len: 1024 * 1024,
            max_elements: 1 << 30,
            max_depth: 128,
        }
    }
}

/// A value of RESP2 or RESP3.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `+`: a status.
    Simple(Vec<u8>),
    /// `-` or `!`: an error, which starts with its code.
    Error(Vec<u8>),
    /// `:`
    Integer(i64),
    /// `$`
    Bulk(Vec<u8>),
    /// `_`, or RESP2's `$-1`.
    Null,
    /// RESP2's `*-1`.
    NullArray,
    /// `,`
    Double(f64),
    /// `#`
    Boolean(bool),
    /// `(`: an integer of any size, in decimal.
    BigNumber(String),
    /// `=`: text of a format.
    Verbatim {
        /// Three letters: `txt` or `mkd`.
        format: [u8; 3],
        /// The text itself.
        text: Vec<u8>,
    },
    /// `*`
    Array(Vec<Value>),
    /// `~`
    Set(Vec<Value>),
    /// `>`: not a reply, but a message that the server sends of itself.
    Push(Vec<Value>),
    /// `%`
    Map(Vec<(Value, Value)>),
    /// `|`: attributes, and the value that they describe.
    Attributed {
        /// What the server says about the value.
        attributes: Vec<(Value, Value)>,
        /// The value itself.
        value: Box<Value>,
    },
}

impl Value {
    /// The bytes of anything that is text: a status, a string, verbatim text, or an error.
    pub fn as_bytes(&self) -> Option<&[u8]> {
        match self {
            Value::Simple(bytes) | Value::Error(bytes) | Value::Bulk(bytes) => Some(bytes),
            Value::Verbatim { text, .. } => Some(text),
            _ => None,
        }
    }

    /// The text of an error.
    pub fn error_text(&self) -> Option<&[u8]> {
        if let Value::Error(text) = self { Some(text) } else { None }
    }

    /// The integer, also where it came as a string.
    pub fn as_integer(&self) -> Option<i64> {
        match self {
            Value::Integer(n) => Some(*n),
            other => parse_integer(other.as_bytes()?),
        }
    }

    /// The elements of an array, a set or a push.
    pub fn as_slice(&self) -> Option<&[Value]> {
        match self {
            Value::Array(items) | Value::Set(items) | Value::Push(items) => Some(items),
            _ => None,
        }
    }
}

/// Decodes the value at the start of `buf`, if all of it is there; also gives its length in bytes.
///
/// For values that arrive in pieces, [`Decoder`] saves looking at the first ones again.
///
/// # Errors
/// Bytes that are not RESP, or beyond the default [`ValueLimits`].
pub fn decode(buf: &[u8]) -> Result<Option<(Value, usize)>, ProtocolError> {
    Decoder::new(ValueLimits::default()).decode(buf)
}

/// Appends a command as an array of bulk strings.
pub fn encode_command(out: &mut Vec<u8>, args: &[impl AsRef<[u8]>]) {
    encode_len(out, b'*', args.len());
    for arg in args {
        encode_blob(out, b'$', arg.as_ref());
    }
}

fn encode_len(out: &mut Vec<u8>, marker: u8, len: usize) {
    out.push(marker);
    out.extend_from_slice(itoa::Buffer::new().format(len).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn encode_blob(out: &mut Vec<u8>, marker: u8, bytes: &[u8]) {
    encode_len(out, marker, bytes.len());
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

/// Decodes one value after the other, each possibly in pieces.
#[derive(Debug)]
pub struct Decoder {
    limits: ValueLimits,
    /// Bytes of the current value that are understood.
    pos: usize,
    /// Bytes after `pos` in which no line end was found.
    searched: usize,
    /// For each aggregate that is open, how many values it still lacks.
    missing: Vec<usize>,
}

impl Decoder {
    /// A decoder at the start of a value.
    pub fn new(limits: ValueLimits) -> Self {
        Decoder { limits, pos: 0, searched: 0, missing: Vec::new() }
    }

    /// Decodes the value at the start of `buf`, if all of it is there; also gives its length in
    /// bytes. After `None` call again with the same bytes and more; after a value with those
    /// that follow it.
    ///
    /// # Errors
    /// Bytes that are not RESP, or beyond the limits. The connection is then of no more use.
    pub fn decode(&mut self, buf: &[u8]) -> Result<Option<(Value, usize)>, ProtocolError> {
        if !self.scan(buf).map_err(|what| ProtocolError::InvalidReply { what, offset: self.pos })? {
            return Ok(None);
        }
        let len = std::mem::take(&mut self.pos);
        let value =
            build(&mut &buf[..len]).map_err(|what| ProtocolError::InvalidReply { what, offset: 0 })?;
        Ok(Some((value, len)))
    }

    /// Moves `pos` to the end of the value; false if its end is not there yet.
    fn scan(&mut self, buf: &[u8]) -> Result<bool, ReplyFault> {
        loop {
            let rest = &buf[self.pos..];
            let Some(line_len) = self.line_len(rest)? else { return Ok(false) };
            let children = match Head::parse(&rest[..line_len])? {
                Head::Blob(kind, len) => {
                    if len > self.limits.max_blob_len {
                        return Err(ReplyFault::TooLong);
                    }
                    let end = line_len + 2 + len;
                    let Some(blob) = rest.get(line_len + 2..end + 2) else { return Ok(false) };
                    check_blob(kind, blob)?;
                    self.advance(end + 2);
                    0
                }
                head => {
                    self.advance(line_len + 2);
                    head.children()
                }
            };
            self.open(children)?;
            if self.missing.is_empty() {
                return Ok(true);
            }
        }
    }

    /// The length of the line at the start of `rest` without its end, if it is complete.
    fn line_len(&mut self, rest: &[u8]) -> Result<Option<usize>, ReplyFault> {
        let found = memchr::memchr2(b'\r', b'\n', &rest[self.searched..]);
        self.searched = found.map_or(rest.len(), |at| self.searched + at);
        if self.searched > self.limits.max_line_len {
            return Err(ReplyFault::TooLong);
        }
        match &rest[self.searched..] {
            [] | [b'\r'] => Ok(None),
            [b'\r', b'\n', ..] => Ok(Some(self.searched)),
            _ => Err(ReplyFault::MissingLineEnd),
        }
    }

    fn advance(&mut self, bytes: usize) {
        self.pos += bytes;
        self.searched = 0;
    }

    /// Counts a value with so many children: it is open until they are read.
    fn open(&mut self, children: usize) -> Result<(), ReplyFault> {
        if children > self.limits.max_elements {
            return Err(ReplyFault::TooLong);
        }
        if children > 0 {
            if self.missing.len() == self.limits.max_depth {
                return Err(ReplyFault::TooDeep);
            }
            self.missing.push(children);
            return Ok(());
        }
        // A value without children is complete, and so is every aggregate that it was the last of.
        while let Some(missing) = self.missing.last_mut() {
            *missing -= 1;
            if *missing > 0 {
                break;
            }
            self.missing.pop();
        }
        Ok(())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum BlobKind {
    Bulk,
    Error,
    Verbatim,
}

#[derive(Clone, Copy)]
enum ListKind {
    Array,
    Set,
    Push,
}

/// What the first line of a value says.
enum Head<'a> {
    Simple(&'a [u8]),
    Error(&'a [u8]),
    Integer(i64),
    Null,
    NullArray,
    Double(f64),
    Boolean(bool),
    BigNumber(&'a str),
    Blob(BlobKind, usize),
    List(ListKind, usize),
    Map(usize),
    Attributes(usize),
}

impl<'a> Head<'a> {
    fn parse(line: &'a [u8]) -> Result<Self, ReplyFault> {
        // An empty line has no marker at all.
        let (&marker, text) = line.split_first().ok_or(ReplyFault::UnknownType)?;
        Ok(match (marker, text) {
            (b'+', text) => Head::Simple(text),
            (b'-', text) => Head::Error(text),
            (b':', text) => {
                let number = text.strip_prefix(b"+").unwrap_or(text);
                Head::Integer(parse_integer(number).ok_or(ReplyFault::MalformedNumber)?)
            }
            (b'_', b"") | (b'$', b"-1") => Head::Null,
            (b'*', b"-1") => Head::NullArray,
            (b'#', b"t") => Head::Boolean(true),
            (b'#', b"f") => Head::Boolean(false),
            (b',', text) => {
                let number = std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
                Head::Double(number.ok_or(ReplyFault::MalformedScalar)?)
            }
            (b'(', text) => Head::BigNumber(big_number(text).ok_or(ReplyFault::MalformedScalar)?),
            (b'$', text) => Head::Blob(BlobKind::Bulk, len(text)?),
            (b'!', text) => Head::Blob(BlobKind::Error, len(text)?),
            (b'=', text) => Head::Blob(BlobKind::Verbatim, len(text)?),
            (b'*', text) => Head::List(ListKind::Array, len(text)?),
            (b'~', text) => Head::List(ListKind::Set, len(text)?),
            (b'>', text) => Head::List(ListKind::Push, len(text)?),
            (b'%', text) => Head::Map(len(text)?),
            (b'|', text) => Head::Attributes(len(text)?),
            (b'_' | b'#', _) => return Err(ReplyFault::MalformedScalar),
            _ => return Err(ReplyFault::UnknownType),
        })
    }

    /// How many values follow that belong to this one.
    fn children(&self) -> usize {
        match self {
            Head::List(_, count) => *count,
            Head::Map(pairs) => pairs.saturating_mul(2),
            Head::Attributes(pairs) => pairs.saturating_mul(2).saturating_add(1),
            _ => 0,
        }
    }
}

fn len(text: &[u8]) -> Result<usize, ReplyFault> {
    let number = parse_integer(text).ok_or(ReplyFault::MalformedNumber)?;
    // The bound keeps sums of a length and what stands around it from overflowing.
    let number = u32::try_from(number)
        .map_err(|_| if number < 0 { ReplyFault::MalformedNumber } else { ReplyFault::TooLong })?;
    Ok(number as usize)
}

fn big_number(text: &[u8]) -> Option<&str> {
    let digits = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    let is_number = !digits.is_empty() && digits.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(text).ok().filter(|_| is_number)
}

/// Checks a blob that is complete with its line end.
fn check_blob(kind: BlobKind, blob: &[u8]) -> Result<(), ReplyFault> {
    let bytes = blob.strip_suffix(b"\r\n").ok_or(ReplyFault::MissingLineEnd)?;
    if kind == BlobKind::Verbatim && bytes.get(3) != Some(&b':') {
        return Err(ReplyFault::MalformedScalar);
    }
    Ok(())
}

/// Builds the value at the start of `rest`, which the scan found complete, and moves past it.
fn build(rest: &mut &[u8]) -> Result<Value, ReplyFault> {
    let line_end = memchr::memchr(b'\r', rest).ok_or(ReplyFault::MissingLineEnd)?;
    let line = take(rest, line_end)?;
    Ok(match Head::parse(line)? {
        Head::Simple(text) => Value::Simple(text.to_vec()),
        Head::Error(text) => Value::Error(text.to_vec()),
        Head::Integer(n) => Value::Integer(n),
        Head::Null => Value::Null,
        Head::NullArray => Value::NullArray,
        Head::Double(value) => Value::Double(value),
        Head::Boolean(value) => Value::Boolean(value),
        Head::BigNumber(digits) => Value::BigNumber(digits.into()),
        Head::Blob(kind, len) => match (kind, take(rest, len)?) {
            (BlobKind::Bulk, bytes) => Value::Bulk(bytes.to_vec()),
            (BlobKind::Error, bytes) => Value::Error(bytes.to_vec()),
            (BlobKind::Verbatim, [a, b, c, b':', text @ ..]) => {
                Value::Verbatim { format: [*a, *b, *c], text: text.to_vec() }
            }
            (BlobKind::Verbatim, _) => return Err(ReplyFault::MalformedScalar),
        },
        Head::List(kind, count) => {
            let items = (0..count).map(|_| build(rest)).collect::<Result<_, _>>()?;
            match kind {
                ListKind::Array => Value::Array(items),
                ListKind::Set => Value::Set(items),
                ListKind::Push => Value::Push(items),
            }
        }
        Head::Map(pairs) => Value::Map(build_pairs(rest, pairs)?),
        Head::Attributes(pairs) => {
            Value::Attributed { attributes: build_pairs(rest, pairs)?, value: Box::new(build(rest)?) }
        }
    })
}

fn build_pairs(rest: &mut &[u8], pairs: usize) -> Result<Vec<(Value, Value)>, ReplyFault> {
    (0..pairs).map(|_| Ok((build(rest)?, build(rest)?))).collect()
}

/// Takes `len` bytes and the line end that follows them.
fn take<'a>(rest: &mut &'a [u8], len: usize) -> Result<&'a [u8], ReplyFault> {
    let taken = rest.get(..len).ok_or(ReplyFault::MissingLineEnd)?;
    *rest = rest.get(len + 2..).ok_or(ReplyFault::MissingLineEnd)?;
    Ok(taken)
}

#[cfg(test)]
mod tests;
