//! What can be wrong with bytes that a peer sent as RESP.
//!
//! The texts of the request errors are those that Redis 7.2 sends before it closes the
//! connection; clients and test suites match on them.

use thiserror::Error;

/// A violation of the protocol. Nothing that follows it on the connection can be understood,
/// so the connection is closed once the error has been told to the peer.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ProtocolError {
    /// The count after `*` is no number, or beyond [`Limits::max_multibulk`](super::request::Limits).
    #[error("Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// The length after `$` is no number, negative, or beyond `proto-max-bulk-len`.
    #[error("Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// A client that has yet to authenticate announced more than ten arguments.
    #[error("Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// A client that has yet to authenticate announced an argument of more than 16 KiB.
    #[error("Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// An inline request whose line does not end within the limit.
    #[error("Protocol error: too big inline request")]
    TooBigInlineRequest,
    /// A line that starts with `*` and does not end within the limit.
    #[error("Protocol error: too big mbulk count string")]
    TooBigMultibulkCount,
    /// The line of an argument's length does not end within the limit.
    #[error("Protocol error: too big bulk count string")]
    TooBigBulkCount,
    /// An argument did not start with `$`.
    #[error("Protocol error: expected '$', got '{}'", printable(*.0))]
    ExpectedBulk(u8),
    /// A quote in an inline request is not closed, or is closed in the middle of a word.
    #[error("Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// A reply that is not RESP: what was found, at which byte of the reply.
    #[error("Protocol error: {what} at byte {offset} of the reply")]
    InvalidReply {
        /// What was wrong there.
        what: ReplyFault,
        /// Distance from the reply's first byte.
        offset: usize,
    },
}

/// What was wrong with a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum ReplyFault {
    /// A first byte that names no type.
    #[error("unknown type marker")]
    UnknownType,
    /// A length or an integer that is not a decimal number in range.
    #[error("malformed number")]
    MalformedNumber,
    /// A length beyond the decoder's limits.
    #[error("length beyond the limit")]
    TooLong,
    /// Aggregates nested deeper than the decoder's limit.
    #[error("nesting beyond the limit")]
    TooDeep,
    /// A line or a blob that CR LF does not end.
    #[error("missing CR LF")]
    MissingLineEnd,
    /// A double, boolean, null, big number or verbatim string whose text is not of that type.
    #[error("malformed scalar")]
    MalformedScalar,
}

impl ProtocolError {
    /// The error reply that tells the peer, with its code.
    pub fn reply_text(&self) -> String {
        format!("ERR {self}")
    }
}

/// The byte as it may stand in an error text.
fn printable(byte: u8) -> String {
    if byte.is_ascii() { char::from(byte).to_string() } else { format!("\\x{byte:02x}") }
}
