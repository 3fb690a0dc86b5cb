//! Loading an RDB with a thread of its own that reads, decompresses, validates and parses ahead of whoever
//! puts the keys into the engine.
//!
//! Items come in batches through a channel of few places: the thread is never far ahead, so that memory is
//! bounded, and neither side pays for a hand-over per key.

use super::error::RdbError;
use super::file::failed;
use super::read::{BATCH_BYTES_MAX, Item, RdbReader, ReadOptions, Step};
use crate::engine::keyspace::object::Value;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

const CHUNK_BYTES: usize = 128 * 1024;
const BATCH_ITEMS: usize = 1024;
const BATCHES_AHEAD: usize = 4;
/// How many elements to look at to guess what a value takes.
const SIZE_SAMPLES: usize = 5;

type Batch = Result<Vec<Item>, RdbError>;

/// How far a load has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The bytes parsed so far; after the end, the size of the RDB alone, without what follows it.
    pub read: u64,
    /// The bytes there are, zero if that is not known.
    pub total: u64,
}

/// An RDB being loaded: an iterator over batches of items. The last item of the last batch is [`Item::End`];
/// after an error there are no more. Dropping it stops the thread at its next batch and waits for it.
pub struct RdbLoader {
    batches: Option<Receiver<Batch>>,
    thread: Option<JoinHandle<()>>,
    read: Arc<AtomicU64>,
    total: u64,
}

impl RdbLoader {
    /// Begins to load the file `path`.
    ///
    /// # Errors
    ///
    /// [`RdbError::Io`] if it cannot be opened.
    pub fn open(path: &Path, options: &ReadOptions) -> Result<Self, RdbError> {
        let failed = || failed("Fatal error: can't open the RDB file for reading:", path);
        let file = File::open(path).map_err(failed())?;
        let total = file.metadata().map_err(failed())?.len();
        Self::start(file, total, false, options).map_err(failed())
    }

    /// Begins to load what `source` yields, `total` bytes if that is known, zero otherwise. The last
    /// batch is followed by the end only when the source has come to its own: an RDB is not complete
    /// before whoever sends it says so.
    ///
    /// # Errors
    ///
    /// If no thread can be started.
    pub fn spawn(source: impl Read + Send + 'static, total: u64, options: &ReadOptions) -> io::Result<Self> {
        Self::start(source, total, true, options)
    }

    fn start(
        source: impl Read + Send + 'static,
        total: u64,
        to_end: bool,
        options: &ReadOptions,
    ) -> io::Result<Self> {
        let (sender, batches) = sync_channel(BATCHES_AHEAD);
        let read = Arc::new(AtomicU64::new(0));
        let parser = Parser {
            reader: RdbReader::new(options),
            batch: Vec::new(),
            to_end,
            batch_bytes: 0,
            batch_limit: options.batch_bytes.min(BATCH_BYTES_MAX),
            sender,
            read: Arc::clone(&read),
        };
        let thread = thread::Builder::new().name("rdb-load".into()).spawn(move || parser.run(source))?;
        Ok(RdbLoader { batches: Some(batches), thread: Some(thread), read, total })
    }

    /// How far it has come.
    pub fn progress(&self) -> Progress {
        Progress { read: self.read.load(Ordering::Relaxed), total: self.total }
    }

    /// Lets the thread end, and passes on its panic if it had one.
    fn join(&mut self) -> thread::Result<()> {
        self.batches = None;
        self.thread.take().map_or(Ok(()), JoinHandle::join)
    }
}

impl Iterator for RdbLoader {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        let batch = self.batches.as_ref()?.recv();
        batch.ok().or_else(|| {
            self.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            None
        })
    }
}

impl Drop for RdbLoader {
    fn drop(&mut self) {
        // A panic there was of use to nobody who still asks for items.
        let _ = self.join();
    }
}

/// The thread's side.
struct Parser {
    reader: RdbReader,
    batch: Vec<Item>,
    /// Reads the source to its end, beyond that of the RDB.
    to_end: bool,
    batch_bytes: usize,
    batch_limit: usize,
    sender: SyncSender<Batch>,
    read: Arc<AtomicU64>,
}

/// How far parsing went.
enum Parsed {
    /// To the end of the RDB.
    Whole,
    /// Until the consumer was gone.
    Unwanted,
}

/// The consumer is gone.
struct Unwanted;

impl Parser {
    fn run(mut self, mut source: impl Read) {
        let outcome = match self.parse(&mut source) {
            Ok(Parsed::Whole) if self.to_end => self.read_on(&mut source),
            other => other.map(drop),
        };
        // Whatever was understood goes first. If nobody listens any more, nobody minds.
        let _ = self.flush();
        if let Err(error) = outcome {
            let _ = self.sender.send(Err(error));
        }
    }

    fn parse(&mut self, source: &mut impl Read) -> Result<Parsed, RdbError> {
        let mut spent = Vec::new();
        loop {
            match self.reader.next()? {
                Step::Item(item) => {
                    self.batch_bytes += size(&item);
                    self.batch.push(item);
                    let full = self.batch.len() >= BATCH_ITEMS || self.batch_bytes >= self.batch_limit;
                    if full && self.flush().is_err() {
                        return Ok(Parsed::Unwanted);
                    }
                }
                Step::End => return Ok(Parsed::Whole),
                Step::NeedMore => {
                    let chunk = self.read_chunk(source, spent)?;
                    if chunk.is_empty() {
                        return Err(self.reader.short_read());
                    }
                    spent = self.reader.feed(chunk);
                }
            }
        }
    }

    fn read_on(&self, source: &mut impl Read) -> Result<(), RdbError> {
        let mut chunk = Vec::new();
        loop {
            chunk = self.read_chunk(source, chunk)?;
            if chunk.is_empty() {
                return Ok(());
            }
        }
    }

    fn read_chunk(&self, source: &mut impl Read, mut chunk: Vec<u8>) -> Result<Vec<u8>, RdbError> {
        chunk.resize(CHUNK_BYTES, 0);
        let length = loop {
            match source.read(&mut chunk) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        chunk.truncate(length.map_err(|source| RdbError::Source { offset: self.reader.offset(), source })?);
        Ok(chunk)
    }

    fn flush(&mut self) -> Result<(), Unwanted> {
        self.read.store(self.reader.offset(), Ordering::Relaxed);
        if self.batch.is_empty() {
            return Ok(());
        }
        self.batch_bytes = 0;
        let batch = std::mem::replace(&mut self.batch, Vec::with_capacity(BATCH_ITEMS));
        self.sender.send(Ok(batch)).map_err(|_| Unwanted)
    }
}

/// About how much memory an item takes.
fn size(item: &Item) -> usize {
    let content = match item {
        Item::Aux { name, value } => name.len() + value.len(),
        Item::Function(source) => source.len(),
        Item::EmptyKey { key, .. } => key.len(),
        Item::Key(key) => key.key.len() + value_size(&key.value),
        Item::SelectDb(_) | Item::ResizeDb { .. } | Item::ModuleAux { .. } | Item::End(_) => 0,
    };
    size_of::<Item>() + content
}

fn value_size(value: &Value) -> usize {
    match value {
        Value::Int(_) => 0,
        Value::Bytes(bytes) => bytes.len(),
        Value::Blob(blob) => blob.memory_usage(),
        Value::List(list) => list.memory_usage(SIZE_SAMPLES),
        Value::Set(set) => set.memory_usage(SIZE_SAMPLES),
    }
}
