//! Encodes replies straight into a growing buffer, in the protocol version that the
//! connection speaks.
//!
//! The caller says what a value *is* (a map, a double, a null); this file knows how
//! each version spells it, so that no command handler looks at the version itself.
//! Source of the forms: the RESP3 specification and Redis 7.2's replies.

/// The version a connection speaks: 2 until `HELLO 3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// RESP2: simple strings, errors, integers, bulk strings and arrays.
    Resp2,
    /// RESP3: adds null, doubles, booleans, maps, sets, pushes, verbatim strings, big numbers.
    Resp3,
}

/// A reply under construction: encoded bytes and the version they are encoded in.
#[derive(Debug)]
pub struct Reply {
    /// The encoded bytes, ready for the socket.
    pub buf: Vec<u8>,
    /// The version in which what follows is encoded.
    pub protocol: Protocol,
}

/// A place in a reply where a length will be written once it is known.
#[derive(Debug)]
#[must_use = "a deferred length leaves the reply unreadable until it is set"]
pub struct DeferredLen(usize);

impl Reply {
    /// An empty reply.
    pub fn new(protocol: Protocol) -> Self {
        Reply { buf: Vec::new(), protocol }
    }

    fn resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    fn header(&mut self, marker: u8, n: i64) {
        let mut digits = itoa::Buffer::new();
        self.buf.push(marker);
        self.buf.extend_from_slice(digits.format(n).as_bytes());
        self.buf.extend_from_slice(b"\r\n");
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.buf.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string. `text` must hold neither CR nor LF.
    pub fn simple(&mut self, text: &str) {
        self.buf.push(b'+');
        self.buf.extend_from_slice(text.as_bytes());
        self.buf.extend_from_slice(b"\r\n");
    }

    /// An error. `text` starts with its code (`ERR …`, `WRONGTYPE …`); line breaks in it
    /// become spaces, since text of the user's may be quoted in it.
    pub fn error(&mut self, text: &str) {
        self.buf.push(b'-');
        self.buf.extend(text.bytes().map(|b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
        self.buf.extend_from_slice(b"\r\n");
    }

    /// An integer.
    pub fn integer(&mut self, n: i64) {
        self.header(b':', n);
    }

    /// A bulk string.
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.header(b'$', bytes.len() as i64);
        self.buf.extend_from_slice(bytes);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// A bulk string given in pieces whose lengths add up to `len`.
    pub fn bulk_chunks<'a>(&mut self, len: usize, chunks: impl Iterator<Item = &'a [u8]>) {
        self.header(b'$', len as i64);
        let start = self.buf.len();
        chunks.for_each(|c| self.buf.extend_from_slice(c));
        debug_assert_eq!(self.buf.len() - start, len);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// An integer as a bulk string, as commands on string values return it.
    pub fn bulk_integer(&mut self, n: i64) {
        let mut digits = itoa::Buffer::new();
        let text = digits.format(n);
        self.bulk(text.as_bytes());
    }

    /// The null of a single value: `_` or `$-1`.
    pub fn null(&mut self) {
        self.buf.extend_from_slice(if self.resp3() { b"_\r\n" } else { b"$-1\r\n" });
    }

    /// The null of an aggregate: `_` or `*-1`.
    pub fn null_array(&mut self) {
        self.buf.extend_from_slice(if self.resp3() { b"_\r\n" } else { b"*-1\r\n" });
    }

    /// The header of an array of `n` values.
    pub fn array(&mut self, n: usize) {
        self.header(b'*', n as i64);
    }

    /// The header of a map of `n` pairs; a flat array of 2n in RESP2.
    pub fn map(&mut self, n: usize) {
        if self.resp3() { self.header(b'%', n as i64) } else { self.header(b'*', 2 * n as i64) }
    }

    /// The header of a set of `n` values; an array in RESP2.
    pub fn set(&mut self, n: usize) {
        self.header(if self.resp3() { b'~' } else { b'*' }, n as i64);
    }

    /// The header of an out-of-band push of `n` values; an array in RESP2.
    pub fn push(&mut self, n: usize) {
        self.header(if self.resp3() { b'>' } else { b'*' }, n as i64);
    }

    /// A boolean; 1 or 0 in RESP2.
    pub fn boolean(&mut self, b: bool) {
        match (self.resp3(), b) {
            (true, true) => self.buf.extend_from_slice(b"#t\r\n"),
            (true, false) => self.buf.extend_from_slice(b"#f\r\n"),
            (false, b) => self.integer(b as i64),
        }
    }

    /// A verbatim string with its three-letter format; a bulk string in RESP2.
    pub fn verbatim(&mut self, format: &str, text: &[u8]) {
        debug_assert_eq!(format.len(), 3);
        if !self.resp3() {
            return self.bulk(text);
        }
        self.header(b'=', text.len() as i64 + 4);
        self.buf.extend_from_slice(format.as_bytes());
        self.buf.push(b':');
        self.buf.extend_from_slice(text);
        self.buf.extend_from_slice(b"\r\n");
    }

    /// Leaves room for the header of an aggregate whose length is not known yet.
    pub fn deferred(&mut self) -> DeferredLen {
        DeferredLen(self.buf.len())
    }

    /// Writes the header of an array of `n` at `at`; what follows it moves up once.
    pub fn set_array_len(&mut self, at: DeferredLen, n: usize) {
        self.insert_header(at, |r| r.array(n));
    }

    /// Writes the header of a set of `n` at `at`.
    pub fn set_set_len(&mut self, at: DeferredLen, n: usize) {
        self.insert_header(at, |r| r.set(n));
    }

    /// Writes the header of a map of `n` pairs at `at`.
    pub fn set_map_len(&mut self, at: DeferredLen, n: usize) {
        self.insert_header(at, |r| r.map(n));
    }

    fn insert_header(&mut self, at: DeferredLen, write: impl FnOnce(&mut Self)) {
        let end = self.buf.len();
        write(self);
        let header = self.buf.len() - end;
        self.buf[at.0..].rotate_right(header);
    }
}
