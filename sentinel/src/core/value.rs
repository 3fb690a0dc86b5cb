//! What the other side of a link answered.

/// A decoded reply. RESP2 is all that a Sentinel asks its nodes for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `+…`
    Simple(Vec<u8>),
    /// `-…`
    Error(Vec<u8>),
    /// `:…`
    Integer(i64),
    /// `$…`
    Bulk(Vec<u8>),
    /// `*…`
    Array(Vec<Value>),
    /// `$-1`, `*-1`
    Null,
}
