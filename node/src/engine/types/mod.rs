//! The value types' data structures.
//!
//! Small values are one packed allocation in exactly the form that an RDB file holds
//! ([`ListPack`], [`IntSet`], a flat [`Blob`]); large ones are trees of reference-counted
//! chunks ([`rope::Rope`], [`hash_trie::HashTrie`]). A snapshot therefore freezes a value of any
//! size with `clone()`, which shares the root, and a later write copies the chunk that it touches
//! and the short path to it. No operation on one element costs more than a few microseconds
//! because a value is large or was just frozen.
//!
//! Nothing in here reads a clock or draws randomness of its own: generators and hash seeds
//! are passed in.

pub mod blob;
pub mod entry;
pub mod hash_trie;
pub mod intset;
pub mod list;
pub mod listpack;
pub mod rope;
pub mod set;

pub use blob::Blob;
pub use entry::{Entry, Needle};
pub use intset::IntSet;
pub use list::{List, ListLimits, ListNode};
pub use listpack::ListPack;
pub use set::{Set, SetLimits};

/// Why bytes that claim to be a packed structure were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("corrupt {structure} at byte {at}: {what}")]
pub struct Corrupt {
    /// The structure that was expected, such as `listpack`.
    pub structure: &'static str,
    /// Offset of the first byte that is wrong.
    pub at: usize,
    /// What is wrong there.
    pub what: &'static str,
}

/// Makes room for `additional` bytes, growing by an eighth at most.
///
/// Packed structures are many and mostly at rest, so the doubling of `Vec` would waste more memory
/// than it saves copies; the allocator's size classes lie an eighth apart as well.
fn reserve_tight(bytes: &mut Vec<u8>, additional: usize) {
    if bytes.capacity() - bytes.len() < additional {
        bytes.reserve_exact(additional.max(bytes.len() / 8));
    }
}
