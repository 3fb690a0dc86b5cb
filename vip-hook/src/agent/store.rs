//! What must survive the agent, one small file a master: the highest configuration epoch, and maintenance.
//!
//! A file is written on a thread that may block. While it is, the newest wish waits; the ones between are not written.
//! What a full disk refuses is tried again, once a second.

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

    /// A writing ended. What could not be written is written again by [`Store::retry`], or with the next change.
    pub(super) fn written(&mut self, master: MasterId, events: &Events, succeeded: bool) {
        self.writing = false;
        if succeeded {
            self.write(master, events);
        } else {
            self.changed = true;
        }
    }

    /// Writes what could not be written before.
    pub(super) fn retry(&mut self, master: MasterId, events: &Events) {
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

    /// Whether something is being written.
    pub(super) fn is_busy(&self) -> bool {
        self.writing
    }

    /// Whether everything is on disk.
    pub(super) fn is_saved(&self) -> bool {
        !self.writing && !self.changed
    }
}

fn write(path: &Path, record: &Record) -> Result<(), String> {
    let text = crate::control::line(record);
    replace::replace(path, text.as_bytes()).map(drop).map_err(|e| format!("{}: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc::{Receiver, channel};

    use super::*;

    async fn result(queue: &mut Receiver<Event>) -> Result<(), String> {
        match queue.recv().await {
            Some(Event::Stored { result, .. }) => result,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn what_could_not_be_written_is_written_again_as_it_is_by_then() {
        let dir = tempfile::tempdir().unwrap();
        let (events, mut queue) = channel(4);
        let mut store = Store::open(dir.path(), "m").unwrap();
        assert!(store.is_saved() && *store.record() == Record::default());
        let file = dir.path().join("m.json");
        std::fs::create_dir(&file).unwrap();
        store.change(1, &events, |record| record.epoch = Some(7));
        store.change(1, &events, |record| record.maintenance = true);
        assert!(result(&mut queue).await.unwrap_err().contains("m.json"));
        store.written(1, &events, false);
        assert!(!store.is_busy() && !store.is_saved(), "a full disk is not tried without a pause");
        std::fs::remove_dir(&file).unwrap();
        store.retry(1, &events);
        store.retry(1, &events);
        result(&mut queue).await.unwrap();
        store.written(1, &events, true);
        assert!(store.is_saved() && queue.try_recv().is_err());
        let read = Store::open(dir.path(), "m").unwrap();
        assert_eq!(*read.record(), Record { epoch: Some(7), maintenance: true });
    }
}
