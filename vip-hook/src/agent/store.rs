//! What must survive the agent, one small file a master: the highest configuration epoch, and maintenance.
//!
//! A file is written on a thread that may block. While it is, the newest wish waits; the ones between are not written.

use std::io;
use std::path::{Path, PathBuf};

use redoubt_wire::replace;
use serde::{Deserialize, Serialize};

use super::{Event, Events, MasterId};

/// What is kept of a master.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) struct Record {
    /// The highest configuration epoch seen.
    pub(super) epoch: Option<u64>,
    /// Whether maintenance is on.
    #[serde(default)]
    pub(super) maintenance: bool,
}

/// The file of one master.
#[derive(Debug)]
pub(super) struct Store {
    path: PathBuf,
    record: Record,
    writing: bool,
    changed: bool,
}

impl Store {
    /// Reads the file of a master; an empty record where there is none.
    pub(super) fn open(dir: &Path, master: &str) -> Result<Store, String> {
        let path = dir.join(format!("{master}.json"));
        let named = |what: String| format!("{}: {what}", path.display());
        let text = match replace::recover(&path).and_then(|_| std::fs::read(&path)) {
            Ok(text) => text,
            Err(e) if e.kind() == io::ErrorKind::NotFound => b"{}".to_vec(),
            Err(e) => return Err(named(e.to_string())),
        };
        let record = serde_json::from_slice(&text).map_err(|e| {
            named(format!(
                "{e}; it holds the highest epoch seen: remove it if this host may start without that"
            ))
        })?;
        Ok(Store { path, record, writing: false, changed: false })
    }

    pub(super) fn record(&self) -> &Record {
        &self.record
    }

    /// Changes the record and sees to it that it gets on disk.
    pub(super) fn change(&mut self, master: MasterId, events: &Events, change: impl FnOnce(&mut Record)) {
        change(&mut self.record);
        self.changed = true;
        self.write(master, events);
    }

    /// A writing ended.
    pub(super) fn written(&mut self, master: MasterId, events: &Events) {
        self.writing = false;
        self.write(master, events);
    }

    fn write(&mut self, master: MasterId, events: &Events) {
        if self.writing || !self.changed {
            return;
        }
        (self.writing, self.changed) = (true, false);
        let (path, record, events) = (self.path.clone(), self.record.clone(), events.clone());
        tokio::task::spawn_blocking(move || {
            let result = write(&path, &record);
            // The loop is gone only when the process ends.
            drop(events.blocking_send(Event::Stored { master, result }));
        });
    }

    /// Whether something is not on disk yet.
    pub(super) fn is_busy(&self) -> bool {
        self.writing || self.changed
    }
}

fn write(path: &Path, record: &Record) -> Result<(), String> {
    let text = crate::control::line(record);
    replace::replace(path, text.as_bytes()).map(drop).map_err(|e| format!("{}: {e}", path.display()))
}
