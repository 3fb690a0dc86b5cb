//! Requests parsed ahead of their execution.
//!
//! A client that pipelines sends many requests at once. Whoever executes them wants to know the next few before the
//! first runs, so that the memory which they look up can be loaded while others are still waiting for theirs. A
//! [`Pipeline`] parses each request once, and keeps where its arguments stand until it is executed.
//!
//! Places are relative to the first byte of the first request that waits. The buffer may move between calls, as long as
//! that byte stays at its start.

use smallvec::SmallVec;

use super::error::ProtocolError;
use super::request::{KEPT_CAPACITY, Limits, Parsed, RequestParser};
use crate::quoting::Span;

/// The arguments of one request; few have more than these many.
pub type Args<'a> = SmallVec<[&'a [u8]; 8]>;

/// A request that waits to be executed.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    /// Bytes that it takes.
    len: usize,
    /// One past its last argument in `spans`; its first is where the one before ends.
    end: usize,
}

/// Requests that are parsed and not executed yet, oldest first, and the parser behind them.
#[derive(Debug, Default)]
pub struct Pipeline {
    parser: RequestParser,
    /// The arguments of all waiting requests, each place relative to its own request's first byte.
    spans: Vec<Span>,
    waiting: Vec<Waiting>,
    /// How many of `waiting` are executed.
    done: usize,
    /// Where the arguments of the first one that is not begin in `spans`.
    first_span: usize,
}

impl Pipeline {
    /// An empty one, at the start of a request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Whether no request waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.done == self.waiting.len()
    }

    /// Parses up to `most` requests out of `buf`, once all earlier ones are executed. `buf` starts behind the last of those.
    /// Returns how many bytes are missing at least to the next request, as [`Parsed::Incomplete`] has it, if none is whole.
    ///
    /// # Errors
    /// The violation at the first request. One that stands behind whole requests is found again when it has become the first.
    #[inline]
    pub fn fill(&mut self, buf: &[u8], limits: &Limits, most: usize) -> Result<usize, ProtocolError> {
        debug_assert!(self.is_empty(), "what waits comes first");
        self.waiting.clear();
        self.spans.clear();
        // One exceptional request must not pin its memory for the life of the connection.
        if self.spans.capacity() > KEPT_CAPACITY {
            self.spans.shrink_to(KEPT_CAPACITY);
        }
        (self.done, self.first_span) = (0, 0);
        let mut start = 0;
        let mut missing = 0;
        while self.waiting.len() < most {
            let len = match self.parser.parse(&buf[start..], limits) {
                Ok(Parsed::Complete { len }) => {
                    self.spans.extend_from_slice(self.parser.spans());
                    len
                }
                Ok(Parsed::Empty { len }) => len,
                Ok(Parsed::Incomplete { wanted }) => {
                    missing = wanted;
                    break;
                }
                Err(error) if self.waiting.is_empty() => return Err(error),
                Err(_) => {
                    self.parser.reset();
                    break;
                }
            };
            start += len;
            self.waiting.push(Waiting { len, end: self.spans.len() });
            if self.parser.is_inline() {
                // See `bytes`.
                break;
            }
        }
        Ok(missing)
    }

    /// The arguments of the first waiting request, none if it is an empty one; `buf` starts at its first byte.
    #[inline]
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> Args<'a> {
        let end = self.waiting.get(self.done).map_or(self.first_span, |request| request.end);
        let bytes = self.bytes(self.done, buf);
        self.spans[self.first_span..end].iter().map(|span| span.of(bytes)).collect()
    }

    /// Argument `index` of each waiting request that has it, in order; `buf` starts at the first one's first byte.
    #[inline]
    pub fn each_arg<'a>(&'a self, index: usize, buf: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let (mut start, mut first) = (0, self.first_span);
        (self.done..self.waiting.len()).filter_map(move |number| {
            let request = self.waiting[number];
            let spans = &self.spans[first..request.end];
            let bytes = self.bytes(number, &buf[start..]);
            (start, first) = (start + request.len, request.end);
            spans.get(index).map(|span| span.of(bytes))
        })
    }

    /// The bytes in which the arguments of request `number` stand, which begins at `buf`. Only the last request can be inline: its
    /// arguments live in the parser until it is executed.
    #[inline]
    fn bytes<'a>(&'a self, number: usize, buf: &'a [u8]) -> &'a [u8] {
        if number + 1 == self.waiting.len() { self.parser.bytes(buf) } else { buf }
    }

    /// The first waiting request is executed: returns the bytes that it takes.
    #[inline]
    pub fn pop(&mut self) -> usize {
        let Some(request) = self.waiting.get(self.done) else { return 0 };
        self.done += 1;
        self.first_span = request.end;
        request.len
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn collect(stream: &[u8], cuts: &[usize], most: usize) -> (Vec<Vec<Vec<u8>>>, Option<ProtocolError>) {
        let (mut pipeline, limits) = (Pipeline::new(), Limits::default());
        let (mut requests, mut start) = (Vec::new(), 0);
        for &end in cuts.iter().chain([&stream.len()]) {
            loop {
                match pipeline.fill(&stream[start..end], &limits, most) {
                    Err(error) => return (requests, Some(error)),
                    Ok(missing) if pipeline.is_empty() => {
                        assert!(missing > 0, "either a request or a wish for more");
                        break;
                    }
                    Ok(_) => {}
                }
                while !pipeline.is_empty() {
                    let buf = &stream[start..end];
                    let seconds: Vec<_> = pipeline.each_arg(1, buf).collect();
                    let args = pipeline.args(buf);
                    if let Some(second) = args.get(1) {
                        assert_eq!(seconds.first(), Some(second));
                    }
                    if !args.is_empty() {
                        requests.push(args.iter().map(|arg| arg.to_vec()).collect());
                    }
                    drop(args);
                    start += pipeline.pop();
                }
            }
        }
        (requests, None)
    }

    #[test]
    fn an_error_behind_whole_requests_comes_after_them() {
        let (requests, error) = collect(b"*1\r\n$4\r\nPING\r\n*1\r\n:4\r\n", &[], 16);
        assert_eq!(requests, [[b"PING".to_vec()]]);
        assert_eq!(error, Some(ProtocolError::ExpectedBulk(b':')));
    }

    #[test]
    fn inline_requests_keep_their_arguments_until_they_are_executed() {
        let (requests, error) = collect(b"SET a \"b c\"\r\n\r\nGET a\r\n*1\r\n$4\r\nPING\r\n", &[], 16);
        let expected: [&[&[u8]]; 3] = [&[b"SET", b"a", b"b c"], &[b"GET", b"a"], &[b"PING"]];
        assert_eq!(requests, expected);
        assert_eq!(error, None);
    }

    proptest! {
        /// However many are parsed ahead, and wherever reads end, the requests are the same.
        #[test]
        fn parsing_ahead_changes_nothing(
            pieces in proptest::collection::vec(prop_oneof![
                Just(&b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n"[..]),
                Just(&b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$5\r\nvalue\r\n"[..]),
                Just(&b"PING one two\r\n"[..]),
                Just(&b"\r\n"[..]),
                Just(&b"*0\r\n"[..]),
                Just(&b"*1\r\n$-1\r\n"[..]),
            ], 0..20),
            cuts in proptest::collection::vec(0usize..400, 0..6),
            most in 1usize..20,
        ) {
            let stream = pieces.concat();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(stream.len())).collect();
            cuts.sort_unstable();
            prop_assert_eq!(collect(&stream, &cuts, most), collect(&stream, &[], 1));
        }
    }
}
