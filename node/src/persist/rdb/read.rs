//! The RDB reader: chunks in, items out, stopping and carrying on wherever a chunk ends.
//!
//! It does no I/O and never waits, so the same reader serves files and sockets, threads and simulations:
//!
//! ```text
//! loop {
//!     match reader.next()? {
//!         Step::Item(item) => …,
//!         Step::NeedMore => { reader.feed(chunk); }   // or reader.short_read() if there is no more
//!         Step::End => break,                          // reader.rest() is what follows the RDB
//!     }
//! }
//! ```
//!
//! A state is what is known of the record being read; each step reads one token or string and moves on. All
//! suspension is inside the scanner, so a step either has its whole input or leaves the state as it was.

use super::error::{InKey, RdbError};
use super::read_value::{ValueLimits, ValueParser};
use super::scan::{Parsed, Scan, Scanner, Stop, number, numbers};
use super::{MAX_VERSION, kind, opcode};
use crate::engine::keyspace::object::Value;

/// How to read.
#[derive(Debug, Clone)]
pub struct ReadOptions {
    /// Whether to check the sum at the end (`rdbchecksum`; not set with `skip-checksum-validation`).
    pub checksum: bool,
    /// The longest string to accept, in bytes (512 MB, Redis's `proto-max-bulk-len`, by default).
    pub max_string: usize,
    /// In which form to build lists and sets.
    pub limits: ValueLimits,
    /// How many bytes of keys and values a loader hands over at a time.
    pub batch_bytes: usize,
}

/// The most that a loader hands over at a time, in bytes.
pub const BATCH_BYTES_MAX: usize = 512 * 1024;

impl ReadOptions {
    /// The default directives, with checksums counting.
    pub fn with_limits(limits: ValueLimits) -> Self {
        ReadOptions { checksum: true, max_string: 512 << 20, limits, batch_bytes: BATCH_BYTES_MAX }
    }
}

/// What an RDB consists of.
#[derive(Debug)]
pub enum Item {
    /// A note of the writer: `redis-ver`, `ctime`, `repl-id`, … Unknown ones are to be ignored.
    Aux {
        /// Its name.
        name: Vec<u8>,
        /// Its value.
        value: Vec<u8>,
    },
    /// The keys that follow belong to this database.
    SelectDb(u32),
    /// How many keys the current database has. A hint of the peer: bound it before taking memory.
    ResizeDb {
        /// All keys.
        keys: u64,
        /// Those that expire.
        expires: u64,
    },
    /// A key with its value.
    Key(RdbKey),
    /// A key whose value is an empty list or set, written by servers with a long repaired fault. Redis logs
    /// `rdbLoadObject skipping empty key: …` and goes on.
    EmptyKey {
        /// The database it would be in.
        db: u32,
        /// Its name.
        key: Vec<u8>,
    },
    /// The source of a function library.
    Function(Vec<u8>),
    /// Data of a module outside of the keys; it was skipped.
    ModuleAux {
        /// The module type's name, nine characters.
        module: String,
    },
    /// The end. Nothing follows.
    End(Checksum),
}

/// A key with its value.
#[derive(Debug)]
pub struct RdbKey {
    /// The database it is in.
    pub db: u32,
    /// Its name.
    pub key: Vec<u8>,
    /// When it expires, in milliseconds since 1970. May have passed.
    pub expiry_ms: Option<i64>,
    /// For how many seconds it had not been used (with an LRU policy).
    pub idle_s: Option<u64>,
    /// How often it was used, logarithmic (with an LFU policy).
    pub freq: Option<u8>,
    /// Its value.
    pub value: Value,
}

/// What is known of the file's integrity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checksum {
    /// It agrees.
    Valid,
    /// The file was written without one (the field is zero). Redis logs
    /// `RDB file was saved with checksum disabled: no check performed.`
    Disabled,
    /// It was not asked for, or the version has none.
    NotChecked,
}

/// What [`RdbReader::next`] found.
#[derive(Debug)]
pub enum Step {
    /// The next item.
    Item(Item),
    /// Everything fed has been read, and the RDB is not complete.
    NeedMore,
    /// [`Item::End`] was given before.
    End,
}

/// An RDB being read.
pub struct RdbReader {
    scanner: Scanner,
    limits: ValueLimits,
    state: State,
    version: u32,
    db: u32,
    /// Where the current record begins.
    record: u64,
    pending: Pending,
}

/// What opcodes before a key say of it.
#[derive(Default)]
struct Pending {
    expiry_ms: Option<i64>,
    idle_s: Option<u64>,
    freq: Option<u8>,
}

enum State {
    Signature,
    RecordHead,
    AuxName,
    AuxValue { name: Vec<u8> },
    Function,
    ModuleAux { module: String, in_string: bool },
    Key { kind: u8 },
    Value { key: Vec<u8>, parser: ValueParser },
    Checksum { expected: Option<u64> },
    Done,
}

/// An opcode with its operands, or a type.
enum RecordHead {
    Aux,
    Function,
    ModuleAux { id: u64 },
    SelectDb(u64),
    ResizeDb { keys: u64, expires: u64 },
    SlotInfo,
    ExpiryMs(i64),
    Idle(u64),
    Freq(u8),
    Eof,
    Type(u8),
}

impl RdbReader {
    /// A reader at the start of an RDB.
    pub fn new(options: &ReadOptions) -> Self {
        RdbReader {
            scanner: Scanner::new(options.checksum, options.max_string),
            limits: options.limits,
            state: State::Signature,
            version: 0,
            db: 0,
            record: 0,
            pending: Pending::default(),
        }
    }

    /// Hands over the next bytes of the RDB, best after [`Step::NeedMore`]: what has not been read by then is
    /// kept, at the price of copying `chunk`. Gives back an earlier chunk, empty, to be filled again.
    pub fn feed(&mut self, chunk: Vec<u8>) -> Vec<u8> {
        self.scanner.feed(chunk)
    }

    /// The next item of what has been fed. After an error the reader is of no more use.
    ///
    /// # Errors
    ///
    /// What is wrong with the bytes, with its offset and key.
    #[expect(clippy::should_implement_trait, reason = "unlike an iterator it can ask for more")]
    pub fn next(&mut self) -> Result<Step, RdbError> {
        loop {
            match self.step() {
                Ok(Some(item)) => return Ok(Step::Item(item)),
                Ok(None) if matches!(self.state, State::Done) => return Ok(Step::End),
                Ok(None) => {}
                Err(Stop::More) => return Ok(Step::NeedMore),
                Err(Stop::Bad(error)) => {
                    return Err(match &self.state {
                        State::Value { key, .. } => error.in_key(key),
                        _ => error,
                    });
                }
            }
        }
    }

    /// The error to report when there are no more bytes and the reader still asks for them.
    pub fn short_read(&self) -> RdbError {
        let error = RdbError::ShortRead { offset: self.offset(), key: InKey::default() };
        match &self.state {
            State::Value { key, .. } => error.in_key(key),
            _ => error,
        }
    }

    /// How many bytes have been read.
    pub fn offset(&self) -> u64 {
        self.scanner.offset()
    }

    /// The version of the RDB, once its first nine bytes have been read; zero before.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// After the end: the bytes fed that are not of the RDB (an AOF's tail, a replication stream).
    pub fn rest(&self) -> &[u8] {
        self.scanner.rest()
    }

    /// Reads one thing.
    fn step(&mut self) -> Scan<Option<Item>> {
        let item = match &mut self.state {
            State::Signature => {
                self.version = self.scanner.token(signature)??;
                self.state = State::RecordHead;
                return Ok(None);
            }
            State::RecordHead => {
                self.record = self.scanner.token_start();
                let head = self.scanner.token(record_head)?;
                return self.start_record(head);
            }
            State::AuxName => {
                let name = self.scanner.string()?.into_vec();
                self.state = State::AuxValue { name };
                return Ok(None);
            }
            State::AuxValue { name } => {
                let value = self.scanner.string()?.into_vec();
                Item::Aux { name: std::mem::take(name), value }
            }
            State::Function => Item::Function(self.scanner.string()?.into_vec()),
            State::ModuleAux { in_string, .. } if *in_string => {
                self.scanner.string()?;
                *in_string = false;
                return Ok(None);
            }
            State::ModuleAux { module, in_string } => match self.scanner.token(module_datum)? {
                ModuleDatum::End => Item::ModuleAux { module: std::mem::take(module) },
                datum => {
                    *in_string = matches!(datum, ModuleDatum::String);
                    return Ok(None);
                }
            },
            State::Key { kind } => {
                let kind = *kind;
                let key = self.scanner.string()?.into_vec();
                let Some(parser) = ValueParser::new(kind, self.limits) else {
                    return Err(self.refuse(kind, key).into());
                };
                self.state = State::Value { key, parser };
                return Ok(None);
            }
            State::Value { key, parser } => {
                let value = parser.parse(&mut self.scanner)?;
                let key = std::mem::take(key);
                self.finish_key(key, value)
            }
            State::Checksum { expected } => {
                let expected = *expected;
                let checksum = self.check_sum(expected)?;
                self.state = State::Done;
                return Ok(Some(Item::End(checksum)));
            }
            State::Done => return Ok(None),
        };
        self.state = State::RecordHead;
        Ok(Some(item))
    }

    /// Acts on a record head, which is the whole record where it has operands only.
    fn start_record(&mut self, head: RecordHead) -> Scan<Option<Item>> {
        match head {
            RecordHead::Aux => self.state = State::AuxName,
            RecordHead::Function => self.state = State::Function,
            RecordHead::ModuleAux { id } => {
                self.state = State::ModuleAux { module: module_name(id), in_string: false };
            }
            RecordHead::SelectDb(db) => {
                self.db = u32::try_from(db)
                    .ok()
                    .filter(|&db| db <= i32::MAX as u32)
                    .ok_or_else(|| self.scanner.corrupt(format!("database number {db}")))?;
                return Ok(Some(Item::SelectDb(self.db)));
            }
            RecordHead::ResizeDb { keys, expires } => return Ok(Some(Item::ResizeDb { keys, expires })),
            RecordHead::SlotInfo => {}
            RecordHead::ExpiryMs(when) => self.pending.expiry_ms = (when != -1).then_some(when),
            RecordHead::Idle(seconds) => self.pending.idle_s = Some(seconds),
            RecordHead::Freq(freq) => self.pending.freq = Some(freq),
            // The sum is taken here: the field that holds it is not part of what it sums up.
            RecordHead::Eof => self.state = State::Checksum { expected: self.scanner.checksum() },
            RecordHead::Type(kind) => self.state = State::Key { kind },
        }
        Ok(None)
    }

    fn finish_key(&mut self, key: Vec<u8>, value: Option<Value>) -> Item {
        let Pending { expiry_ms, idle_s, freq } = std::mem::take(&mut self.pending);
        match value {
            Some(value) => Item::Key(RdbKey { db: self.db, key, expiry_ms, idle_s, freq, value }),
            None => Item::EmptyKey { db: self.db, key },
        }
    }

    /// The error for a type that cannot be loaded.
    fn refuse(&self, kind: u8, key: Vec<u8>) -> RdbError {
        match kind::unsupported_name(kind) {
            Some(name) => RdbError::Unsupported { offset: self.record, db: self.db, key, kind, name },
            None => self.scanner.corrupt(format!("Unknown RDB encoding type {kind}")).in_key(&key),
        }
    }

    fn check_sum(&mut self, expected: Option<u64>) -> Scan<Checksum> {
        if self.version < 5 {
            return Ok(Checksum::NotChecked);
        }
        let found = u64::from_le_bytes(self.scanner.bytes()?);
        match expected {
            None => Ok(Checksum::NotChecked),
            Some(_) if found == 0 => Ok(Checksum::Disabled),
            Some(expected) if expected == found => Ok(Checksum::Valid),
            Some(expected) => Err(RdbError::Checksum { expected, found }.into()),
        }
    }
}

/// `REDIS` and four digits. The inner error is the verdict on a complete but wrong signature.
fn signature(bytes: &[u8]) -> Parsed<Result<u32, RdbError>> {
    let Some(&[b'R', b'E', b'D', b'I', b'S', ref digits @ ..]) = bytes.first_chunk::<9>() else {
        return Ok((bytes.len() >= 9).then_some((Err(RdbError::Signature), 9)));
    };
    let version = digits.iter().take_while(|digit| digit.is_ascii_digit());
    let version = version.fold(0, |version, digit| version * 10 + (digit - b'0') as u32);
    let verdict =
        if (1..=MAX_VERSION).contains(&version) { Ok(version) } else { Err(RdbError::Version(version)) };
    Ok(Some((verdict, 9)))
}

fn record_head(bytes: &[u8]) -> Parsed<RecordHead> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    let after = &bytes[1..];
    Ok(match first {
        opcode::AUX => Some((RecordHead::Aux, 1)),
        opcode::FUNCTION => Some((RecordHead::Function, 1)),
        opcode::FUNCTION_PRE_RELEASE => return Err("Pre-release function format not supported.".into()),
        opcode::MODULE_AUX => {
            let head = numbers(bytes, 1)?;
            if head.is_some_and(|([_, when_opcode, _], _)| when_opcode != MODULE_UINT) {
                return Err("bad when_opcode".into());
            }
            head.map(|([id, _, _], length)| (RecordHead::ModuleAux { id }, length))
        }
        opcode::SELECT_DB => numbers(bytes, 1)?.map(|([db], length)| (RecordHead::SelectDb(db), length)),
        opcode::RESIZE_DB => numbers(bytes, 1)?
            .map(|([keys, expires], length)| (RecordHead::ResizeDb { keys, expires }, length)),
        opcode::SLOT_INFO => numbers::<3>(bytes, 1)?.map(|(_, length)| (RecordHead::SlotInfo, length)),
        opcode::EXPIRE_MS => {
            after.first_chunk().map(|&raw| (RecordHead::ExpiryMs(i64::from_le_bytes(raw)), 9))
        }
        opcode::EXPIRE_SECONDS => {
            after.first_chunk().map(|&raw| (RecordHead::ExpiryMs(i32::from_le_bytes(raw) as i64 * 1000), 5))
        }
        opcode::IDLE => numbers(bytes, 1)?.map(|([seconds], length)| (RecordHead::Idle(seconds), length)),
        opcode::FREQ => after.first().map(|&freq| (RecordHead::Freq(freq), 2)),
        opcode::EOF => Some((RecordHead::Eof, 1)),
        kind => Some((RecordHead::Type(kind), 1)),
    })
}

const MODULE_UINT: u64 = 2;

/// One datum of a module's, or for strings, its marker.
enum ModuleDatum {
    End,
    Number,
    String,
}

fn module_datum(bytes: &[u8]) -> Parsed<ModuleDatum> {
    let Some((marker, used)) = number(bytes)? else { return Ok(None) };
    let fixed =
        |length: usize| (bytes.len() >= used + length).then_some((ModuleDatum::Number, used + length));
    Ok(match marker {
        0 => Some((ModuleDatum::End, used)),
        1 | MODULE_UINT => numbers::<1>(bytes, used)?.map(|(_, length)| (ModuleDatum::Number, length)),
        3 => fixed(4),
        4 => fixed(8),
        5 => Some((ModuleDatum::String, used)),
        _ => return Err(format!("Unknown marker {marker} in module data")),
    })
}

/// A module type's name: nine characters of six bits above ten bits of encoding version.
fn module_name(id: u64) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    (0..9).rev().map(|place| LETTERS[(id >> (10 + 6 * place) & 63) as usize] as char).collect()
}
