//! Saving to the RDB file and loading from it.
//!
//! A save takes a cut and writes it from a thread of its own, in short turns under the engine's
//! lock. One cut at a time: who finds one in progress is told so, or waits. Every way to save
//! (SAVE, BGSAVE, save points, shutdown) is the same function; they differ in who waits for it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use redoubt_wire::{notice, warning};

use super::clock;
use super::pace::{Cancel, Delay};
use super::shared::{Core, Shared};
use crate::engine::facts::LoadProgress;
use crate::engine::load::{Loaded, Loading};
use crate::engine::replication::Restored;
use crate::persist::rdb::{
    Checksum, FileOptions, Item, Preamble, RdbError, RdbFileWriter, RdbLoader, RdbWriter, ReadOptions,
    Replication, WriteOptions,
};
use crate::persist::snapshot::Snapshot;
use crate::replication::lineage::ReplId;

/// After a failed save, save points wait this long.
const RETRY_SECS: i64 = 5;

/// What the driver remembers of saves beside what INFO tells (`engine.facts.persistence`).
#[derive(Debug, Clone, Default)]
pub struct Saving {
    /// Unix time of the last try, in ms.
    pub last_try_ms: i64,
    /// BGSAVE SCHEDULE waits for the cut to be free.
    pub scheduled: bool,
    /// Calls off the save that is under way, be it for the RDB file or for replicas.
    pub running: Option<Arc<Cancel>>,
}

/// A save was called off.
#[derive(Debug)]
pub struct Cancelled;

impl From<Cancelled> for SaveError {
    fn from(_: Cancelled) -> Self {
        SaveError::Cancelled
    }
}

/// Why a save did not happen.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// Another cut is in progress.
    #[error("Background save already in progress")]
    Busy,
    /// It was called off: a shutdown, or a dataset that takes the place of this one.
    #[error("The save was called off")]
    Cancelled,
    /// The file could not be written.
    #[error(transparent)]
    File(#[from] RdbError),
}

/// The directives of writing.
pub fn write_options(core: &Core) -> WriteOptions {
    let config = &core.engine.config;
    WriteOptions {
        version: config.rdb_version,
        compression: config.rdbcompression,
        checksum: config.rdbchecksum,
    }
}

/// The directives of reading.
pub fn read_options(core: &Core) -> ReadOptions {
    let config = &core.engine.config;
    ReadOptions {
        checksum: config.rdbchecksum,
        batch_bytes: config.loading_interval_bytes as usize,
        ..ReadOptions::with_limits(core.engine.value_limits())
    }
}

impl Shared {
    /// Writes the dataset of this instant to the RDB file. Blocks: call it on a thread that may. A
    /// failure in the `background` keeps clients from writing; of any other somebody is told.
    ///
    /// # Errors
    /// Another cut in progress, or a file that cannot be written; the old file stays then.
    pub fn save(&self, background: bool) -> Result<(), SaveError> {
        let now_ms = clock::unix_ms();
        let (snapshot, file, name, dirty, cancel) = {
            let mut core = self.lock();
            if core.saving() {
                return Err(SaveError::Busy);
            }
            core.saving.last_try_ms = now_ms;
            let options = FileOptions { incremental_fsync: core.engine.config.rdb_save_incremental_fsync };
            let file = match RdbFileWriter::create(Path::new("."), &options) {
                Ok(file) => file,
                Err(error) => {
                    core.engine.save_failed |= background;
                    warning!("{error}");
                    return Err(error.into());
                }
            };
            let Some(snapshot) = begin(&mut core, now_ms) else { return Err(SaveError::Busy) };
            let cancel = core.snapshot_begun(now_ms);
            (snapshot, file, core.engine.config.dbfilename.clone(), core.engine.stats.dirty, cancel)
        };
        let started = Instant::now();
        let result = self.write_out(snapshot, file, &name, &cancel);
        let mut core = self.lock();
        core.snapshot_ended();
        core.engine.facts.persistence.last_bgsave_secs = Some(started.elapsed().as_secs());
        match result {
            Ok(bytes) => {
                core.save_succeeded(now_ms, dirty);
                notice!("DB saved on disk ({bytes} bytes)");
                Ok(())
            }
            Err(SaveError::Cancelled) => {
                // Nothing is wrong with the disk, and the last save that was tried still counts.
                warning!("Background saving was called off");
                Err(SaveError::Cancelled)
            }
            Err(error) => {
                core.engine.save_failed |= background;
                warning!("Background saving error: {error}");
                Err(error)
            }
        }
    }

    fn write_out(
        &self,
        mut snapshot: Snapshot,
        mut file: RdbFileWriter,
        name: &str,
        cancel: &Cancel,
    ) -> Result<u64, SaveError> {
        self.walk(&mut snapshot, cancel, &mut |chunk: &[u8]| file.write(chunk).map_err(SaveError::from))?;
        file.write(&snapshot.finish())?;
        Ok(file.finish(name)?)
    }

    /// Walks a cut to its end and passes on what it holds. If that fails or is called off, the rest
    /// of the walk leaves no mark behind.
    ///
    /// # Errors
    /// The first error of `write`, or that of having been called off.
    pub fn walk<E: From<Cancelled>>(
        &self,
        snapshot: &mut Snapshot,
        cancel: &Cancel,
        write: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut delay, mut keys) = (Delay::default(), 0);
        loop {
            let (more, delay_us) = {
                let mut core = self.lock();
                core.engine.facts.persistence.bgsave_keys.0 += keys;
                let more = snapshot.turn(&mut core.engine, clock::monotonic_ns);
                (more, core.engine.config.rdb_key_save_delay_us)
            };
            let drained = match cancel.is_ordered() {
                true => Err(Cancelled.into()),
                false => snapshot.drain(write),
            };
            keys = match drained {
                Ok(keys) => keys,
                Err(error) => {
                    self.abandon_cut();
                    return Err(error);
                }
            };
            delay.after(keys, delay_us, cancel);
            if !more {
                return Ok(());
            }
        }
    }

    /// Steps a cut that nobody wants any more to its end.
    pub fn abandon_cut(&self) {
        self.lock().engine.keyspace.abort_cut();
        loop {
            let keyspace = &mut self.lock().engine.keyspace;
            if !keyspace.cut_step(256) {
                keyspace.end_cut();
                return;
            }
        }
    }

    /// Starts a save in the background; the reply says whether it could start.
    pub fn background_save(self: &Arc<Self>) -> Result<(), SaveError> {
        let core = self.lock();
        if core.saving() {
            return Err(SaveError::Busy);
        }
        drop(core);
        notice!("Background saving started by pid {}", std::process::id());
        let shared = self.clone();
        tokio::task::spawn_blocking(move || {
            if shared.save(true).is_ok() {
                notice!("Background saving terminated with success");
            }
        });
        Ok(())
    }

    /// Whether a save point is due, or a scheduled save can start.
    pub fn save_point_due(core: &Core, now_ms: i64) -> bool {
        let saving = &core.saving;
        if core.saving() || core.engine.loading != Loading::No {
            return false;
        }
        if core.engine.save_failed && now_ms - saving.last_try_ms < RETRY_SECS * 1000 {
            return false;
        }
        if saving.scheduled {
            return true;
        }
        let seconds = (now_ms - core.engine.facts.persistence.last_save_ms) / 1000;
        let dirty = core.engine.stats.dirty;
        core.engine.config.save.iter().any(|p| dirty >= p.changes && dirty > 0 && seconds > p.seconds as i64)
    }

    /// Loads the RDB file, if there is one. Blocks. `at_start` says that the node goes on in the
    /// history that the file tells of.
    ///
    /// # Errors
    /// The file cannot be read or is damaged: the node must not go on as if it had been empty.
    pub fn load_file(&self, at_start: bool) -> Result<(), RdbError> {
        let path = PathBuf::from(&self.lock().engine.config.dbfilename);
        if !path.exists() {
            return Ok(());
        }
        let options = read_options(&self.lock());
        let started = Instant::now();
        let loader = RdbLoader::open(&path, &options)?;
        let figures = self.load_items(loader, at_start, &Cancel::default())?;
        notice!("Done loading RDB, keys loaded: {}, keys expired: {}.", figures.kept, figures.expired);
        notice!("DB loaded from disk: {:.3} seconds", started.elapsed().as_secs_f64());
        Ok(())
    }

    /// Puts the items of an RDB into the engine, a bounded number a lock, and shows the progress in
    /// INFO. With `restore` the node goes on in the history that the RDB tells of.
    pub fn load_items(
        &self,
        loader: RdbLoader,
        restore: bool,
        cancel: &Cancel,
    ) -> Result<LoadFigures, RdbError> {
        self.lock().engine.facts.persistence.loading = Some(LoadProgress {
            since_ms: clock::unix_ms(),
            total_bytes: loader.progress().total,
            ..LoadProgress::default()
        });
        let figures = self.put_items(loader, restore, cancel);
        self.lock().engine.facts.persistence.loading = None;
        figures
    }

    fn put_items(
        &self,
        mut loader: RdbLoader,
        mut restore: bool,
        cancel: &Cancel,
    ) -> Result<LoadFigures, RdbError> {
        let mut figures = LoadFigures::default();
        let mut delay = Delay::default();
        while let Some(batch) = loader.next() {
            let mut core = self.lock();
            for item in batch? {
                // All notes stand before the keys; what happens to keys belongs to the history.
                if restore && !matches!(item, Item::Aux { .. }) {
                    restore = false;
                    figures.restored().inspect(|restored| core.engine.restore_history(restored));
                }
                match item {
                    Item::Key(key) => {
                        let name = key.key.clone();
                        match core.engine.load_key(key, clock::unix_ms()) {
                            Loaded::Kept => figures.kept += 1,
                            Loaded::Expired => figures.expired += 1,
                            Loaded::Refused => {
                                let name = String::from_utf8_lossy(&name);
                                warning!(
                                    "The RDB file names key '{name}' twice, or in a database beyond `databases`: the first stays"
                                );
                            }
                        }
                        let delay_us = core.engine.config.key_load_delay_us;
                        if delay_us != 0 {
                            drop(core);
                            delay.after(1, delay_us, cancel);
                            core = self.lock();
                        }
                    }
                    Item::Aux { name, value } => {
                        if let (Some(progress), b"used-mem") =
                            (&mut core.engine.facts.persistence.loading, &*name)
                        {
                            progress.rdb_used_mem = text(&value).parse().unwrap_or(0);
                        }
                        figures.aux(&name, &value);
                    }
                    Item::EmptyKey { key, .. } => {
                        warning!("rdbLoadObject skipping empty key: {}", String::from_utf8_lossy(&key));
                    }
                    Item::End(Checksum::Disabled) => {
                        notice!("RDB file was saved with checksum disabled: no check performed.");
                    }
                    Item::Function(_) => {
                        warning!("The RDB file holds a function library, which this version leaves out")
                    }
                    Item::ModuleAux { module } => {
                        warning!("The RDB file holds data of module '{module}', which is left out")
                    }
                    Item::SelectDb(_) | Item::ResizeDb { .. } | Item::End(_) => {}
                }
            }
            let facts = &mut core.engine.facts.persistence;
            facts.keys_loaded = figures.kept;
            facts.keys_expired = figures.expired;
            if let Some(loading) = &mut facts.loading {
                loading.loaded_bytes = loader.progress().read;
            }
            core.engine.settle_stream();
        }
        Ok(figures)
    }
}

/// What a load found.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct LoadFigures {
    /// Keys put in.
    pub kept: u64,
    /// Keys left out since their time was over.
    pub expired: u64,
    /// `repl-id` of the file.
    pub repl_id: Option<String>,
    /// `repl-offset` of the file.
    pub repl_offset: Option<i64>,
    /// `repl-stream-db` of the file.
    pub stream_db: Option<i64>,
}

impl LoadFigures {
    /// The place in the history of writes that the file tells of.
    pub fn restored(&self) -> Option<Restored> {
        let replid = ReplId::parse(self.repl_id.as_ref()?.as_bytes())?;
        let offset = u64::try_from(self.repl_offset?).ok()?;
        let db = u32::try_from(self.stream_db.unwrap_or(0)).unwrap_or(0);
        Some(Restored { replid, offset, db })
    }

    fn aux(&mut self, name: &[u8], value: &[u8]) {
        match name {
            b"repl-id" => self.repl_id = Some(text(value)),
            b"repl-offset" => self.repl_offset = text(value).parse().ok(),
            b"repl-stream-db" => self.stream_db = text(value).parse().ok(),
            _ => {}
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Cuts a snapshot of this instant; `None` while there is another.
pub(super) fn begin(core: &mut Core, now_ms: i64) -> Option<Snapshot> {
    let options = write_options(core);
    let place = core.replication_place();
    let preamble = preamble(place.as_ref(), now_ms);
    let keys = core.engine.keyspace.len() as u64;
    core.engine.facts.persistence.bgsave_keys = (0, keys);
    Snapshot::begin(&mut core.engine, &options, &preamble)
}

/// An RDB of this instant that leaves all keys out.
pub(super) fn empty_rdb(core: &Core, now_ms: i64) -> Vec<u8> {
    let mut writer = RdbWriter::new(&write_options(core));
    writer.preamble(&preamble(core.replication_place().as_ref(), now_ms));
    writer.finish()
}

fn preamble(place: Option<&Place>, now_ms: i64) -> Preamble<'_> {
    let replication = place.map(|p| Replication { stream_db: p.stream_db, id: &p.id, offset: p.offset });
    Preamble {
        redis_version: redoubt_wire::REDIS_VERSION,
        ctime_s: (now_ms / 1000) as u64,
        used_memory: crate::memory::used() as u64,
        replication,
        aof_base: false,
    }
}
impl Core {
    /// Whether a save or another cut is in progress.
    pub fn saving(&self) -> bool {
        self.engine.facts.persistence.bgsave_since_ms.is_some() || self.engine.keyspace.cutting()
    }

    /// A cut was made, for the RDB file or for replicas; what is returned calls off what follows.
    pub(super) fn snapshot_begun(&mut self, now_ms: i64) -> Arc<Cancel> {
        let cancel = Arc::new(Cancel::default());
        self.engine.facts.persistence.bgsave_since_ms = Some(now_ms);
        self.saving.running = Some(cancel.clone());
        cancel
    }

    /// What followed a cut is over.
    pub(super) fn snapshot_ended(&mut self) {
        self.engine.facts.persistence.bgsave_since_ms = None;
        self.engine.facts.persistence.bgsave_keys = (0, 0);
        self.saving.running = None;
    }

    /// Calls off the save that is under way, if there is one. Returns whether there is.
    pub(super) fn call_off_save(&mut self) -> bool {
        let running = self.saving.running.as_ref();
        running.inspect(|cancel| cancel.order()).is_some()
    }

    /// The RDB file holds the dataset as it was at `cut_ms` (Unix time), with `dirty` changes counted.
    pub(super) fn save_succeeded(&mut self, cut_ms: i64, dirty: u64) {
        let facts = &mut self.engine.facts.persistence;
        facts.last_save_ms = cut_ms;
        facts.saves += 1;
        self.saving.scheduled = false;
        self.engine.stats.dirty = self.engine.stats.dirty.saturating_sub(dirty);
        self.engine.save_failed = false;
        self.engine.facts.process.cannot_exit = false;
    }

    /// Where in the history of writes the dataset stands, for the notes of an RDB.
    pub fn replication_place(&self) -> Option<Place> {
        let replication = &self.engine.replication;
        let lineage = replication.feed.lineage();
        let stream_db = match replication.link() {
            // A replica goes on where its master's stream was.
            Some(link) if link.is_resumable() => i64::from(replication.stream_db()),
            Some(_) => return None,
            // Where no database is selected the next effect selects one, so that any will do.
            None => {
                replication.feed.backlog()?;
                match lineage.is_unused() {
                    true => i64::from(replication.stream_db()),
                    false => self.engine.effects.selected().unwrap_or(0) as i64,
                }
            }
        };
        Some(Place { stream_db, id: lineage.known_replid().to_string(), offset: lineage.offset() as i64 })
    }
}

/// A place in the history of writes.
#[derive(Debug, Clone)]
pub struct Place {
    /// The database selected in the stream, -1 if none.
    pub stream_db: i64,
    /// The replication id.
    pub id: String,
    /// The offset.
    pub offset: i64,
}
