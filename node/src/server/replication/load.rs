//! Takes a master's snapshot in: a thread that writes it to a file or parses it as it arrives,
//! and puts its keys into the engine.
//!
//! The task that reads the socket passes the payload's parts on without waiting, and stops
//! reading while too much of it is pending here. When to drop the old dataset is its decision as
//! well, under the lock in which the link says so; until the thread ends, `loading` keeps
//! clients away.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{SystemTime, UNIX_EPOCH};

use redoubt_wire::{notice, warning};
use tokio::task::JoinHandle;

use super::super::pace::Cancel;
use super::super::persistence::{LoadFigures, read_options};
use super::super::shared::Shared;
use crate::engine::load::Loading;
use crate::persist::rdb::RdbLoader;

/// With more than this much of the payload pending the socket is not read.
const PENDING_BYTES: usize = 4 << 20;

/// The way to the thread.
#[derive(Debug)]
pub(super) struct Loader {
    parts: Option<Sender<Part>>,
    pending: Arc<AtomicUsize>,
    /// Straight from the socket rather than through a file.
    pub(super) direct: bool,
    cancel: Arc<Cancel>,
    thread: JoinHandle<()>,
}

#[derive(Debug)]
enum Part {
    Bytes(Vec<u8>),
    End,
}

/// Why nothing was loaded.
#[derive(Debug, thiserror::Error)]
enum LoadError {
    #[error("{0}")]
    Rdb(#[from] crate::persist::rdb::RdbError),
    #[error("{doing} {path}: {source}", path = .path.display())]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    /// The link was lost before the end.
    #[error("the link to the master was lost")]
    Lost,
    #[error("no thread can be started: {0}")]
    Thread(io::Error),
}

impl Loader {
    /// Begins to take a payload in. `direct` expects `loading` to be set and the old data gone.
    pub(super) fn start(shared: &Arc<Shared>, direct: bool) -> Loader {
        let (sender, receiver) = channel();
        let pending = Arc::new(AtomicUsize::new(0));
        let source = Source {
            parts: receiver,
            pending: pending.clone(),
            shared: shared.clone(),
            rest: Vec::new(),
            at: 0,
            ended: false,
        };
        let cancel = Arc::new(Cancel::default());
        let (shared, order) = (shared.clone(), cancel.clone());
        let thread =
            tokio::task::spawn_blocking(move || finish(&shared, load(&shared, direct, source, &order)));
        Loader { parts: Some(sender), pending, direct, cancel, thread }
    }

    /// Passes a part on.
    pub(super) fn push(&self, bytes: Vec<u8>) {
        self.pending.fetch_add(bytes.len(), Ordering::Relaxed);
        self.send(Part::Bytes(bytes));
    }

    /// The payload is complete.
    pub(super) fn end(&self) {
        self.send(Part::End);
    }

    fn send(&self, part: Part) {
        if let Some(parts) = &self.parts {
            // A thread that has failed says so itself.
            let _ = parts.send(part);
        }
    }

    /// Whether more of the payload may come.
    pub(super) fn has_room(&self) -> bool {
        self.pending.load(Ordering::Relaxed) < PENDING_BYTES
    }

    /// The rest will not come: waits for the thread's end.
    pub(super) async fn abandon(mut self) {
        self.parts = None;
        self.cancel.order();
        if let Err(fault) = self.thread.await {
            std::panic::resume_unwind(fault.into_panic());
        }
    }
}

/// The payload as the thread reads it.
struct Source {
    parts: Receiver<Part>,
    pending: Arc<AtomicUsize>,
    shared: Arc<Shared>,
    rest: Vec<u8>,
    at: usize,
    ended: bool,
}

impl Source {
    /// The next part; `None` at the end.
    fn next(&mut self) -> Result<Option<Vec<u8>>, LoadError> {
        if self.ended {
            return Ok(None);
        }
        match self.parts.recv() {
            Ok(Part::Bytes(bytes)) => {
                let before = self.pending.fetch_sub(bytes.len(), Ordering::Relaxed);
                if before >= PENDING_BYTES && before - bytes.len() < PENDING_BYTES {
                    self.shared.replication.notify_one();
                }
                Ok(Some(bytes))
            }
            Ok(Part::End) => {
                self.ended = true;
                Ok(None)
            }
            Err(_) => Err(LoadError::Lost),
        }
    }
}

impl Read for Source {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.at == self.rest.len() {
            match self.next().map_err(io::Error::other)? {
                Some(part) => (self.rest, self.at) = (part, 0),
                None => return Ok(0),
            }
        }
        let n = into.len().min(self.rest.len() - self.at);
        into[..n].copy_from_slice(&self.rest[self.at..self.at + n]);
        self.at += n;
        Ok(n)
    }
}

fn load(shared: &Shared, direct: bool, source: Source, cancel: &Cancel) -> Result<LoadFigures, LoadError> {
    let (options, dbfilename, discard) = {
        let core = shared.lock();
        let config = &core.engine.config;
        (read_options(&core), config.dbfilename.clone(), config.rdb_del_sync_files && config.save.is_empty())
    };
    let loader = if direct {
        RdbLoader::spawn(source, 0, &options).map_err(LoadError::Thread)?
    } else {
        let path = PathBuf::from(&dbfilename);
        receive(source, &path)?;
        let loader = RdbLoader::open(&path, &options)?;
        if discard {
            notice!(
                "Removing the RDB file {dbfilename} obtained from the master. This replica has persistence disabled"
            );
            // The loader has it open.
            let _ = std::fs::remove_file(&path);
        }
        loader
    };
    Ok(shared.load_items(loader, false, cancel)?)
}

/// Writes the payload to a file that takes the place of the RDB file once it is whole.
fn receive(mut source: Source, target: &PathBuf) -> Result<(), LoadError> {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let path = PathBuf::from(format!("temp-{seconds}.{}.rdb", std::process::id()));
    let failed = |doing: &'static str, path: &PathBuf| {
        let path = path.clone();
        move |source| LoadError::File { doing, path, source }
    };
    let mut write = || -> Result<(), LoadError> {
        let mut file = File::create(&path)
            .map_err(failed("Opening the temp file needed for MASTER <-> REPLICA synchronization", &path))?;
        while let Some(part) = source.next()? {
            file.write_all(&part).map_err(failed(
                "Write error or short write writing to the DB dump file needed for MASTER <-> REPLICA synchronization",
                &path,
            ))?;
        }
        file.sync_all().map_err(failed(
            "Failed to sync the temp DB to disk in MASTER <-> REPLICA synchronization",
            &path,
        ))
    };
    let result = write().and_then(|()| {
        std::fs::rename(&path, target).map_err(failed("Failed trying to rename the temp DB into", target))
    });
    if result.is_err() {
        // It may not exist, and nobody is left to tell if it cannot be removed.
        let _ = std::fs::remove_file(&path);
    }
    result
}

/// Tells the link what became of its payload.
fn finish(shared: &Shared, result: Result<LoadFigures, LoadError>) {
    let mut core = shared.lock();
    let db = match result {
        Ok(figures) => Some(u32::try_from(figures.stream_db.unwrap_or(0)).unwrap_or(0)),
        Err(error) => {
            warning!("Failed trying to load the MASTER synchronization DB: {error}");
            None
        }
    };
    if core.engine.loading != Loading::No {
        core.engine.end_loading(db);
    } else {
        // It ended before anything was put in.
        let now_ms = core.engine.monotonic_ms();
        core.engine.replication.load_failed(now_ms);
    }
    let _ = shared.deliver(&mut core);
    shared.replication.notify_one();
}
