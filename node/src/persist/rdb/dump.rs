//! The payloads of DUMP, RESTORE and MIGRATE: a single value, the RDB version (two bytes), a checksum (eight).

use super::encode::{EncodeOptions, Encoder, Head};
use super::error::RdbError;
use super::read::ReadOptions;
use super::read_value::ValueParser;
use super::scan::{Scanner, Stop};
use super::{MAX_VERSION, crc64};
use crate::engine::keyspace::object::{Value, ValueRef};

const VERSION_BYTES: usize = 2;
const SUM_BYTES: usize = 8;

/// Why a payload was refused. The texts are those of Redis's replies.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Too short, too new, or not what was written.
    #[error("DUMP payload version or checksum are wrong")]
    Footer,
    /// The value itself is unsound, or of a type not held here.
    #[error("Bad data format")]
    Value(#[source] Option<RdbError>),
}

/// The payload of `value`. To write many, keep an [`Encoder`].
pub fn dump_payload(value: ValueRef<'_>, options: &EncodeOptions) -> Vec<u8> {
    let mut encoder = Encoder::new(options);
    encoder.value(Head::Payload, value);
    encoder.take_payload()
}

/// The value in a payload. `options.checksum` says whether its checksum counts.
///
/// # Errors
///
/// [`PayloadError`]; an empty list or set, which no server holds, is also [`PayloadError::Value`].
pub fn parse_payload(payload: &[u8], options: &ReadOptions) -> Result<Value, PayloadError> {
    let (summed, sum) = payload.split_last_chunk::<SUM_BYTES>().ok_or(PayloadError::Footer)?;
    let (value, version) = summed.split_last_chunk::<VERSION_BYTES>().ok_or(PayloadError::Footer)?;
    if u16::from_le_bytes(*version) as u32 > MAX_VERSION {
        return Err(PayloadError::Footer);
    }
    if options.checksum && crc64(summed) != u64::from_le_bytes(*sum) {
        return Err(PayloadError::Footer);
    }
    let (&kind, body) = value.split_first().ok_or(PayloadError::Value(None))?;
    let mut parser = ValueParser::new(kind, options.limits).ok_or(PayloadError::Value(None))?;
    let mut scanner = Scanner::new(false, options.max_string);
    scanner.feed(body.to_vec());
    match parser.parse(&mut scanner) {
        Ok(Some(value)) if scanner.rest().is_empty() => Ok(value),
        Ok(_) | Err(Stop::More) => Err(PayloadError::Value(None)),
        Err(Stop::Bad(error)) => Err(PayloadError::Value(Some(error))),
    }
}
