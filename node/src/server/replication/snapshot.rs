//! Snapshots for replicas: cut under the engine's lock, walked and sent by a thread.
//!
//! To sockets, every chunk goes to all replicas that take part before the next one is made, so
//! that memory stays bounded by the slowest; the feed drops one that has stood still for
//! `repl-timeout`. To a file, the file takes the place of the RDB file, as in Redis, and is sent
//! with its length announced.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use redoubt_wire::{notice, warning};

use super::super::clock;
use super::super::pace::Cancel;
use super::super::persistence::{self, Cancelled};
use super::super::shared::{Core, Shared};
use super::feeding::Job as AnyJob;
use super::writer::{Pushed, ReplicaWriter};
use crate::persist::rdb::{FileOptions, RdbError, RdbFileWriter};
use crate::persist::snapshot::Snapshot;
use crate::replication::master::{ReplicaId, SnapshotTarget};
use crate::replication::options::RdbFilter;

/// How long a chunk waits for a replica before the feed is told that it stands still.
const PATIENCE: Duration = Duration::from_secs(1);
const CHUNK_BYTES: usize = 64 * 1024;

/// A snapshot that was cut.
pub(super) struct Job {
    snapshot: Cut,
    target: SnapshotTarget,
    takers: Vec<Taker>,
    /// Unix time of the cut, in ms, and the count of changes that the dataset then had.
    cut_ms: i64,
    dirty: u64,
    cancel: Arc<Cancel>,
}

/// What the snapshot consists of.
enum Cut {
    /// The dataset.
    Keys(Box<Snapshot>),
    /// A whole RDB without keys, for those who want none.
    Empty(Vec<u8>),
}

struct Taker {
    replica: ReplicaId,
    writer: Arc<ReplicaWriter>,
    /// The feed was told that it stands still.
    stuck: bool,
}

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("target", &self.target).field("takers", &self.takers.len()).finish()
    }
}

/// Why a snapshot was not completed.
#[derive(Debug, thiserror::Error)]
enum Failed {
    /// Nobody takes it any more, or the node ends.
    #[error("no replica is left to take it")]
    Unwanted,
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] RdbError),
    /// The file could not be read back.
    #[error("the file cannot be opened: {0}")]
    Reopen(io::Error),
}

impl From<Cancelled> for Failed {
    fn from(_: Cancelled) -> Self {
        Failed::Unwanted
    }
}

/// Cuts the snapshot that the feed asked for.
pub(super) fn cut(core: &mut Core, filter: RdbFilter) {
    let now_ms = core.engine.monotonic_ms();
    let unix_ms = clock::unix_ms();
    let snapshot = if filter.without_data {
        Some(Cut::Empty(persistence::empty_rdb(core, unix_ms)))
    } else {
        persistence::begin(core, unix_ms).map(|snapshot| Cut::Keys(Box::new(snapshot)))
    };
    let feed = &mut core.engine.replication.feed;
    let Some(snapshot) = snapshot else { return feed.snapshot_failed(now_ms) };
    let Some(start) = feed.snapshot_started(now_ms) else {
        core.engine.keyspace.abort_cut();
        return;
    };
    match start.target {
        SnapshotTarget::Disk => notice!("Background saving started by pid {}", std::process::id()),
        SnapshotTarget::Sockets { .. } => {
            notice!("Background RDB transfer started by pid {}", std::process::id());
        }
    }
    let cancel = core.snapshot_begun(unix_ms);
    core.feeding.transfer = Some(cancel.clone());
    let takers = start.replicas.into_iter().filter_map(|replica| {
        let writer = core.feeding.writer(replica)?;
        Some(Taker { replica, writer, stuck: false })
    });
    let (takers, dirty) = (takers.collect(), core.engine.stats.dirty);
    let job = Job { snapshot, target: start.target, takers, cut_ms: unix_ms, dirty, cancel };
    core.feeding.jobs.push(AnyJob::Snapshot(Box::new(job)));
}

impl Job {
    /// Carries the snapshot out. Blocks.
    pub(super) fn run(mut self, shared: &Shared) {
        let result = match self.target {
            SnapshotTarget::Sockets { eof_mark } => self.send_to_sockets(shared, &eof_mark).map(|()| None),
            SnapshotTarget::Disk => self.write_to_file(shared).map(Some),
        };
        let mut core = shared.lock();
        core.feeding.transfer = None;
        core.snapshot_ended();
        if self.target == SnapshotTarget::Disk {
            // The file takes the place of the RDB file, so that it is a save like any other.
            match result {
                Ok(_) => core.save_succeeded(self.cut_ms, self.dirty),
                Err(Failed::Unwanted) => {}
                Err(_) => core.engine.save_failed = true,
            }
        }
        let succeeded = match result {
            Ok(file) => {
                core.feeding.file = file.map(Arc::new);
                true
            }
            Err(error) => {
                warning!("Snapshot for replicas failed: {error}");
                false
            }
        };
        let now_ms = core.engine.monotonic_ms();
        core.engine.replication.feed.snapshot_finished(now_ms, succeeded);
        let _ = shared.deliver(&mut core);
        // Those who are sent the file hold it themselves.
        core.feeding.file = None;
        drop(core);
        shared.flush_replicas();
    }

    fn take_cut(&mut self) -> Cut {
        std::mem::replace(&mut self.snapshot, Cut::Empty(Vec::new()))
    }

    fn send_to_sockets(&mut self, shared: &Shared, mark: &[u8]) -> Result<(), Failed> {
        let head = [b"$EOF:", mark, b"\r\n"].concat();
        let cut = self.take_cut();
        let (takers, cancel) = (&mut self.takers, &self.cancel);
        let mut send = |chunk: &[u8]| broadcast(shared, takers, cancel, chunk);
        let begun = send(&head);
        cut.walk(shared, cancel, begun, &mut send)?;
        send(mark)?;
        Ok(())
    }

    fn write_to_file(&mut self, shared: &Shared) -> Result<File, Failed> {
        let (options, name, discard) = {
            let config = &shared.lock().engine.config;
            let options = FileOptions { incremental_fsync: config.rdb_save_incremental_fsync };
            (options, config.dbfilename.clone(), config.rdb_del_sync_files && config.save.is_empty())
        };
        let dir = Path::new(".");
        let mut file = RdbFileWriter::create(dir, &options);
        let begun = match &file {
            Ok(_) => Ok(()),
            Err(_) => Err(Failed::Unwanted),
        };
        let cut = self.take_cut();
        let walked = cut.walk(shared, &self.cancel, begun, &mut |chunk: &[u8]| match &mut file {
            Ok(file) => file.write(chunk).map_err(Failed::File),
            Err(_) => Err(Failed::Unwanted),
        });
        let file = file?;
        walked?;
        let bytes = file.finish(&name)?;
        notice!("DB saved on disk ({bytes} bytes)");
        let opened = File::open(dir.join(&name)).map_err(Failed::Reopen)?;
        if discard {
            notice!("Removing the RDB file {name} used to feed replicas in a persistence-less instance");
            let _ = std::fs::remove_file(dir.join(&name));
        }
        Ok(opened)
    }
}

impl Cut {
    /// Walks the cut to its end and passes on what it holds; after an error (one before the walk
    /// counts too) only so that no mark is left behind.
    fn walk(
        self,
        shared: &Shared,
        cancel: &Cancel,
        begun: Result<(), Failed>,
        write: &mut impl FnMut(&[u8]) -> Result<(), Failed>,
    ) -> Result<(), Failed> {
        let rest = match self {
            Cut::Empty(rdb) => {
                begun?;
                rdb
            }
            Cut::Keys(mut snapshot) => {
                if begun.is_err() {
                    shared.abandon_cut();
                    return begun;
                }
                shared.walk(&mut snapshot, cancel, write)?;
                snapshot.finish()
            }
        };
        write(&rest)
    }
}

/// Hands a chunk to everybody who still takes part.
fn broadcast(shared: &Shared, takers: &mut Vec<Taker>, cancel: &Cancel, chunk: &[u8]) -> Result<(), Failed> {
    let tell = |replica, stuck| {
        let mut core = shared.lock();
        let now_ms = core.engine.monotonic_ms();
        core.engine.replication.feed.payload_progress(now_ms, replica, stuck);
    };
    takers.retain_mut(|taker| {
        loop {
            match taker.writer.push_chunk(chunk, PATIENCE) {
                Pushed::Taken => {
                    if std::mem::take(&mut taker.stuck) {
                        tell(taker.replica, false);
                    }
                    return true;
                }
                Pushed::Full if cancel.is_ordered() => return false,
                Pushed::Full => {
                    if !std::mem::replace(&mut taker.stuck, true) {
                        tell(taker.replica, true);
                    }
                }
                Pushed::Gone => return false,
            }
        }
    });
    if takers.is_empty() || cancel.is_ordered() { Err(Failed::Unwanted) } else { Ok(()) }
}

/// Sends a finished file to a replica. Blocks.
pub(super) fn send_file(shared: &Shared, replica: ReplicaId, writer: &ReplicaWriter, file: &File) {
    match copy(writer, file) {
        Ok(true) => {
            let mut core = shared.lock();
            let now_ms = core.engine.monotonic_ms();
            core.engine.replication.feed.payload_sent(now_ms, replica);
            let _ = shared.deliver(&mut core);
            drop(core);
            shared.flush_replicas();
        }
        // Its connection tells the feed of its end.
        Ok(false) => {}
        Err(error) => {
            warning!("Read error sending DB to replica: {error}");
            writer.close();
        }
    }
}

/// Whether all of it was written.
fn copy(writer: &ReplicaWriter, file: &File) -> io::Result<bool> {
    let length = file.metadata()?.len();
    writer.push(format!("${length}\r\n").into_bytes());
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut offset = 0;
    while offset < length {
        let n = chunk.len().min((length - offset) as usize);
        file.read_exact_at(&mut chunk[..n], offset)?;
        offset += n as u64;
        loop {
            match writer.push_chunk(&chunk[..n], PATIENCE) {
                Pushed::Taken => break,
                Pushed::Full => {}
                Pushed::Gone => return Ok(false),
            }
        }
    }
    Ok(writer.wait_written().is_ok())
}
