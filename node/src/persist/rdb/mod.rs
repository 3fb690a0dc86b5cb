//! The RDB format: reading every version up to 12, writing version 10 or, if asked to, another from 9 to 12.
//!
//! A file is `REDIS` and four digits of version, then records that start with a byte each: an opcode (244 to
//! 255), or the type of a key whose name and value follow. The last opcode is followed by the checksum of
//! everything before it. Numbers and lengths are packed into one to nine bytes; strings come verbatim, as
//! small integers in binary, or LZF-compressed.
//!
//! Of the engine this layer knows the types of values, and nothing else: it turns bytes into [`Item`]s and
//! values into bytes.
//!
//! - [`RdbReader`] is pushed chunks as they arrive, from a file or a socket, and yields items;
//!   [`RdbLoader`] runs one on its own thread, ahead of whoever consumes the items.
//! - [`RdbWriter`] appends to a buffer that its owner takes away piece by piece;
//!   [`RdbFileWriter`] brings those pieces to disk so that a file appears whole or not at all.
//! - [`parse_payload`] and [`Encoder::take_payload`] are RESTORE's and DUMP's form of a single value.
//!
//! What the types and opcodes mean was taken from what Redis documents and writes.

mod crc64;
mod dump;
mod encode;
mod error;
mod file;
mod load;
pub mod lzf;
mod read;
mod read_value;
mod scan;
mod write;
mod ziplist;

pub use crc64::{Crc64, crc64};
pub use dump::{PayloadError, dump_payload, parse_payload};
pub use encode::{EncodeOptions, Encoder, Head, KeyMeta};
pub use error::{InKey, RdbError};
pub use file::{FileOptions, RdbFileWriter};
pub use load::{Progress, RdbLoader};
pub use read::{Checksum, Item, RdbKey, RdbReader, ReadOptions, Step};
pub use read_value::ValueLimits;
pub use write::{Preamble, RdbWriter, Replication, WriteOptions};

/// The newest version that can be read.
pub const MAX_VERSION: u32 = 12;
/// The version written by default: every Redis since 7.0 loads it.
pub const DEFAULT_VERSION: u32 = 10;
/// The oldest version that can be written: since then nothing but the types listed here changed.
pub const MIN_WRITE_VERSION: u32 = 9;

/// Record types that are not keys.
mod opcode {
    pub const SLOT_INFO: u8 = 244;
    pub const FUNCTION: u8 = 245;
    pub const FUNCTION_PRE_RELEASE: u8 = 246;
    pub const MODULE_AUX: u8 = 247;
    pub const IDLE: u8 = 248;
    pub const FREQ: u8 = 249;
    pub const AUX: u8 = 250;
    pub const RESIZE_DB: u8 = 251;
    pub const EXPIRE_MS: u8 = 252;
    pub const EXPIRE_SECONDS: u8 = 253;
    pub const SELECT_DB: u8 = 254;
    pub const EOF: u8 = 255;
}

/// Types of values.
mod kind {
    pub const STRING: u8 = 0;
    pub const LIST: u8 = 1;
    pub const SET: u8 = 2;
    pub const LIST_ZIPLIST: u8 = 10;
    pub const SET_INTSET: u8 = 11;
    pub const LIST_QUICKLIST: u8 = 14;
    pub const LIST_QUICKLIST_2: u8 = 18;
    pub const SET_LISTPACK: u8 = 20;

    /// The name of a type that exists but is not held here.
    pub fn unsupported_name(kind: u8) -> Option<&'static str> {
        Some(match kind {
            3 | 5 | 12 | 17 => "sorted set",
            4 | 9 | 13 | 16 => "hash",
            22..=25 => "hash with expiring fields",
            15 | 19 | 21 => "stream",
            6 | 7 => "module value",
            _ => return None,
        })
    }
}

/// How a quicklist node holds its elements.
mod container {
    pub const PLAIN: u64 = 1;
    pub const PACKED: u64 = 2;
}

/// How a string is stored, in the low bits of a length byte whose two top bits are set.
mod encoding {
    pub const INT8: u8 = 0;
    pub const INT16: u8 = 1;
    pub const INT32: u8 = 2;
    pub const LZF: u8 = 3;
    pub const MARK: u8 = 0xc0;
}

#[cfg(test)]
mod tests;
