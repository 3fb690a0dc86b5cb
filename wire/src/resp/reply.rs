//! Encodes replies straight into a growing buffer, in the protocol version that the
//! connection speaks.
//!
//! The caller says what a value *is* (a map, a double, a null); this file knows how
//! each version spells it, so that no command handler looks at the version itself.
//! Source of the forms: the RESP3 specification and Redis 7.2's replies.

use super::double::DoubleText;

/// The version a connection speaks: 2 until `HELLO 3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocol {
    /// RESP2: simple strings, errors, integers, bulk strings and arrays.
    Resp2,
    /// RESP3: adds null, doubles, booleans, maps, sets, pushes, verbatim strings, big numbers.
    Resp3,
}

/// The most bytes around the payload of a bulk string: a marker, the digits of its length, two line ends.
const BULK_FRAME: usize = 1 + 20 + 2 + 2;

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

    /// Whether the connection speaks RESP3. Handlers need not ask: the methods below do.
    #[inline]
    pub fn resp3(&self) -> bool {
        self.protocol == Protocol::Resp3
    }

    fn line(&mut self, marker: u8, text: &[u8]) {
        self.buf.push(marker);
        self.buf.extend_from_slice(text);
        self.buf.extend_from_slice(b"\r\n");
    }

    fn header(&mut self, marker: u8, n: i64) {
        let mut digits = itoa::Buffer::new();
        self.line(marker, digits.format(n).as_bytes());
    }

    /// `+OK`.
    pub fn ok(&mut self) {
        self.buf.extend_from_slice(b"+OK\r\n");
    }

    /// A simple string. `text` must hold neither CR nor LF.
    pub fn simple(&mut self, text: &str) {
        self.line(b'+', text.as_bytes());
    }

    /// An error. `text` starts with its code (`ERR …`, `WRONGTYPE …`); line breaks at its end are
    /// dropped and others become spaces, since text of the user's may be quoted in it.
    pub fn error(&mut self, text: &str) {
        let text = text.trim_end_matches(['\r', '\n']);
        self.buf.push(b'-');
        self.buf.extend(text.bytes().map(|b| if b == b'\r' || b == b'\n' { b' ' } else { b }));
        self.buf.extend_from_slice(b"\r\n");
    }

    /// An integer.
    pub fn integer(&mut self, n: i64) {
        self.header(b':', n);
    }

    /// A bulk string.
    #[inline]
    pub fn bulk(&mut self, bytes: &[u8]) {
        self.buf.reserve(bytes.len() + BULK_FRAME);
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

    /// A bulk string, or the null of a single value.
    pub fn bulk_or_null(&mut self, bytes: Option<&[u8]>) {
        match bytes {
            Some(bytes) => self.bulk(bytes),
            None => self.null(),
        }
    }

    /// A double in its shortest form that reads back the same, or `inf`, `-inf`, `nan`; a bulk string
    /// in RESP2.
    pub fn double(&mut self, value: f64) {
        self.double_text(DoubleText::new(value).as_str());
    }

    /// A double that the caller has formatted in its own way; a bulk string in RESP2.
    pub fn double_text(&mut self, text: &str) {
        if self.resp3() { self.line(b',', text.as_bytes()) } else { self.bulk(text.as_bytes()) }
    }

    /// An integer of any size, given in decimal digits; a bulk string in RESP2.
    pub fn big_number(&mut self, digits: &str) {
        debug_assert!(digits.strip_prefix('-').unwrap_or(digits).bytes().all(|b| b.is_ascii_digit()));
        if self.resp3() { self.line(b'(', digits.as_bytes()) } else { self.bulk(digits.as_bytes()) }
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

    /// The header of `n` attribute pairs, after which the reply that they describe follows. RESP2 has
    /// no attributes: then nothing is written, and the pairs must be left out.
    #[must_use = "without RESP3 the pairs must be left out"]
    pub fn attribute(&mut self, n: usize) -> bool {
        if self.resp3() {
            self.header(b'|', n as i64);
        }
        self.resp3()
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What `write` writes in RESP2 and in RESP3.
    fn both(write: impl Fn(&mut Reply)) -> (String, String) {
        let text = |protocol| {
            let mut reply = Reply::new(protocol);
            write(&mut reply);
            String::from_utf8(reply.buf).unwrap()
        };
        (text(Protocol::Resp2), text(Protocol::Resp3))
    }

    #[track_caller]
    fn check(write: impl Fn(&mut Reply), resp2: &str, resp3: &str) {
        let written = both(write);
        assert_eq!((written.0.as_str(), written.1.as_str()), (resp2, resp3));
    }

    #[track_caller]
    fn check_same(write: impl Fn(&mut Reply), text: &str) {
        check(write, text, text);
    }

    #[test]
    fn scalars_of_both_versions() {
        check_same(|r| r.ok(), "+OK\r\n");
        check_same(|r| r.simple("PONG"), "+PONG\r\n");
        check_same(|r| r.error("ERR bad\r\nthing\r\n"), "-ERR bad  thing\r\n");
        check_same(|r| r.integer(i64::MIN), ":-9223372036854775808\r\n");
        check_same(|r| r.bulk(b"a\r\nb"), "$4\r\na\r\nb\r\n");
        check_same(|r| r.bulk_chunks(3, [&b"a"[..], b"bc"].into_iter()), "$3\r\nabc\r\n");
        check_same(|r| r.bulk_integer(-7), "$2\r\n-7\r\n");
        check_same(|r| r.bulk_or_null(Some(b"")), "$0\r\n\r\n");
    }

    #[test]
    fn scalars_of_resp3() {
        check(|r| r.null(), "$-1\r\n", "_\r\n");
        check(|r| r.bulk_or_null(None), "$-1\r\n", "_\r\n");
        check(|r| r.null_array(), "*-1\r\n", "_\r\n");
        check(|r| r.boolean(true), ":1\r\n", "#t\r\n");
        check(|r| r.boolean(false), ":0\r\n", "#f\r\n");
        check(|r| r.double(2.75), "$4\r\n2.75\r\n", ",2.75\r\n");
        check(|r| r.double(f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n");
        check(|r| r.double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n");
        check(|r| r.double(f64::NAN), "$3\r\nnan\r\n", ",nan\r\n");
        check(|r| r.double_text("1.50"), "$4\r\n1.50\r\n", ",1.50\r\n");
        check(
            |r| r.big_number("-12345678901234567890"),
            "$21\r\n-12345678901234567890\r\n",
            "(-12345678901234567890\r\n",
        );
        check(|r| r.verbatim("txt", b"a b"), "$3\r\na b\r\n", "=7\r\ntxt:a b\r\n");
    }

    #[test]
    fn aggregates() {
        check_same(|r| r.array(3), "*3\r\n");
        check(|r| r.map(3), "*6\r\n", "%3\r\n");
        check(|r| r.set(3), "*3\r\n", "~3\r\n");
        check(|r| r.push(3), "*3\r\n", ">3\r\n");
        check(
            |r| {
                if r.attribute(1) {
                    r.integer(1);
                    r.integer(2)
                }
            },
            "",
            "|1\r\n:1\r\n:2\r\n",
        );
    }

    #[test]
    fn lengths_that_are_known_late() {
        let write = |r: &mut Reply| {
            r.ok();
            let outer = r.deferred();
            r.integer(1);
            let inner = r.deferred();
            r.integer(2);
            r.set_map_len(inner, 1);
            let empty = r.deferred();
            r.set_set_len(empty, 0);
            r.set_array_len(outer, 3);
        };
        check(write, "+OK\r\n*3\r\n:1\r\n*2\r\n:2\r\n*0\r\n", "+OK\r\n*3\r\n:1\r\n%1\r\n:2\r\n~0\r\n");
    }
}
