//! The RDB writer: a file's frame around the values that the encoder writes.
//!
//! It appends to a buffer that its owner takes away whenever it has grown large enough ([`RdbWriter::take`]),
//! to a file, a socket or both. The checksum is computed over each buffer as it leaves, not over each small
//! write.

use super::encode::{EncodeOptions, Encoder};
use super::{Crc64, DEFAULT_VERSION, opcode};

/// How to write an RDB.
#[derive(Debug, Clone)]
pub struct WriteOptions {
    /// The version, 9 to 12 (others count as the nearest).
    pub version: u32,
    /// Whether to compress strings (`rdbcompression`).
    pub compression: bool,
    /// Whether to end with a checksum (`rdbchecksum`); otherwise the field is zero.
    pub checksum: bool,
}

impl Default for WriteOptions {
    fn default() -> Self {
        WriteOptions { version: DEFAULT_VERSION, compression: true, checksum: true }
    }
}

/// The notes at the start of every RDB.
#[derive(Debug, Clone)]
pub struct Preamble<'a> {
    /// The version of Redis to present.
    pub redis_version: &'a str,
    /// The time of writing, in seconds since 1970.
    pub ctime_s: u64,
    /// The memory in use, in bytes.
    pub used_memory: u64,
    /// Where in the history of writes this state stands, if somebody may want to go on from there.
    pub replication: Option<Replication<'a>>,
    /// Whether this is the base of an append-only file.
    pub aof_base: bool,
}

/// A place in the history of writes.
#[derive(Debug, Clone, Copy)]
pub struct Replication<'a> {
    /// The database selected in the replication stream, -1 if none.
    pub stream_db: i64,
    /// The replication id, 40 hexadecimal digits.
    pub id: &'a str,
    /// The offset.
    pub offset: i64,
}

/// An RDB being written.
pub struct RdbWriter {
    encoder: Encoder,
    crc: Option<Crc64>,
}

impl RdbWriter {
    /// A writer that has written the signature.
    pub fn new(options: &WriteOptions) -> Self {
        let WriteOptions { version, compression, checksum } = *options;
        let mut encoder = Encoder::new(&EncodeOptions { version, compression });
        encoder.out.extend_from_slice(format!("REDIS{:04}", encoder.version()).as_bytes());
        RdbWriter { encoder, crc: checksum.then(Crc64::default) }
    }

    /// Writes the notes that Redis writes, in its order.
    pub fn preamble(&mut self, preamble: &Preamble<'_>) {
        self.aux(b"redis-ver", preamble.redis_version.as_bytes());
        self.aux_number(b"redis-bits", usize::BITS as i64);
        self.aux_number(b"ctime", preamble.ctime_s as i64);
        self.aux_number(b"used-mem", preamble.used_memory as i64);
        if let Some(Replication { stream_db, id, offset }) = preamble.replication {
            self.aux_number(b"repl-stream-db", stream_db);
            self.aux(b"repl-id", id.as_bytes());
            self.aux_number(b"repl-offset", offset);
        }
        self.aux_number(b"aof-base", preamble.aof_base as i64);
    }

    /// Writes a note.
    pub fn aux(&mut self, name: &[u8], value: &[u8]) {
        self.encoder.out.push(opcode::AUX);
        self.encoder.text(name);
        self.encoder.text(value);
    }

    /// Writes a note that is a number.
    pub fn aux_number(&mut self, name: &[u8], value: i64) {
        self.encoder.out.push(opcode::AUX);
        self.encoder.text(name);
        self.encoder.number_text(value);
    }

    /// Writes the source of a function library.
    pub fn function(&mut self, source: &[u8]) {
        self.encoder.out.push(opcode::FUNCTION);
        self.encoder.text(source);
    }

    /// Begins a database, with the number of its keys, and of those that expire, as hints for the reader.
    pub fn select_db(&mut self, db: u32, keys: u64, expires: u64) {
        self.encoder.out.push(opcode::SELECT_DB);
        self.encoder.length(db as u64);
        self.encoder.out.push(opcode::RESIZE_DB);
        self.encoder.length(keys);
        self.encoder.length(expires);
    }

    /// What writes the keys.
    pub fn keys(&mut self) -> &mut Encoder {
        &mut self.encoder
    }

    /// How many bytes wait to be taken.
    pub fn buffered(&self) -> usize {
        self.encoder.out.len()
    }

    /// Takes away what has been written, and goes on in `spare` (emptied), so that buffers can be reused.
    pub fn take(&mut self, mut spare: Vec<u8>) -> Vec<u8> {
        spare.clear();
        if let Some(crc) = &mut self.crc {
            crc.update(&self.encoder.out);
        }
        std::mem::replace(&mut self.encoder.out, spare)
    }

    /// Ends the RDB and gives what has not been taken yet.
    pub fn finish(mut self) -> Vec<u8> {
        self.encoder.out.push(opcode::EOF);
        let mut last = self.take(Vec::new());
        last.extend_from_slice(&self.crc.map_or(0, |crc| crc.value()).to_le_bytes());
        last
    }
}
