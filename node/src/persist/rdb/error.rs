//! What can be wrong with an RDB, each naming the place, the key if there is one, and the fault.
//!
//! Where Redis has a known text for a fault, the message starts with it: people search their logs for it.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why an RDB could not be read or written. Offsets are bytes from the start of the file or transfer.
#[derive(Debug, thiserror::Error)]
pub enum RdbError {
    /// The first bytes are not `REDIS`.
    #[error("Wrong signature trying to load DB from file")]
    Signature,
    /// A version this reader does not know.
    #[error("Can't handle RDB format version {0}")]
    Version(u32),
    /// The bytes ended too early.
    #[error(
        "Short read or OOM loading DB. Unrecoverable error, aborting now. \
         (the data ends at offset {offset}{key}, before its end-of-file mark)"
    )]
    ShortRead {
        /// How many bytes there were.
        offset: u64,
        /// The key being read.
        key: InKey,
    },
    /// The checksum at the end disagrees with the bytes before it.
    #[error("Wrong RDB checksum expected: ({expected:x}) but got ({found:x}). Aborting now.")]
    Checksum {
        /// What the bytes sum to.
        expected: u64,
        /// What the file says.
        found: u64,
    },
    /// Bytes that no writer of the format produces.
    #[error("Internal error in RDB reading offset {offset}{key} -> {what}")]
    Corrupt {
        /// Where the reader stood.
        offset: u64,
        /// The key being read.
        key: InKey,
        /// The fault.
        what: String,
    },
    /// A value of a type that this server does not hold.
    #[error(
        "RDB offset {offset}: key '{}' in database {db} is a {name} (RDB type {kind}), a type this server does not \
         hold (it holds strings, lists and sets). Remove such keys at the source, or filter them out, and save again.",
        key.escape_ascii()
    )]
    Unsupported {
        /// Where the key's record begins.
        offset: u64,
        /// The database it is in.
        db: u32,
        /// The key.
        key: Vec<u8>,
        /// The number of its type in the format.
        kind: u8,
        /// The type's name.
        name: &'static str,
    },
    /// The operating system refused.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was attempted, as the start of a sentence.
        doing: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The transfer that was being read broke.
    #[error("I/O error reading the RDB at offset {offset}: {source}")]
    Source {
        /// How many bytes had arrived.
        offset: u64,
        /// Why it failed.
        source: io::Error,
    },
}

/// The key that was being read when something went wrong, for messages.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct InKey(pub Option<Vec<u8>>);

impl fmt::Display for InKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Some(key) => write!(f, ", in key '{}'", key.escape_ascii()),
            None => Ok(()),
        }
    }
}

impl RdbError {
    /// Names the key in errors that can carry one.
    pub(super) fn in_key(mut self, name: &[u8]) -> Self {
        if let RdbError::Corrupt { key, .. } | RdbError::ShortRead { key, .. } = &mut self {
            key.0 = Some(name.to_vec());
        }
        self
    }
}
