//! The small file by which a node knows, when it is started, that it took part in replication.
//!
//! `master-rejoin-guard` keeps a former master from taking writes before somebody says that it still
//! is one. An RDB file names the history that a node holds, but a node without save points that was
//! killed leaves none, or one from before its first replica. This file is there from the moment on
//! when others may know what the node holds: when it has its first replica, or a master. It goes when
//! the backlog does, for want of replicas (`repl-backlog-ttl`). Only that it exists counts; its
//! contents are for people. It is kept only where the directive asks for it.

use std::io;
use std::path::{Path, PathBuf};

use redoubt_wire::replace::replace;
use redoubt_wire::warning;
use tokio::task::JoinHandle;

use super::super::shared::Core;
use crate::config::Config;
use crate::replication::lineage::ReplId;

/// Where the file is: beside the RDB file, in the working directory.
pub fn path(config: &Config) -> PathBuf {
    PathBuf::from(format!("{}.lineage", config.dbfilename))
}

/// What the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Contents {
    path: PathBuf,
    replid: ReplId,
    is_master: bool,
}

impl Contents {
    fn text(&self) -> String {
        let role = if self.is_master { "master" } else { "replica" };
        format!(
            "# Other nodes know the dataset of this one; see the directive master-rejoin-guard.\nreplid {}\nrole {role}\n",
            self.replid
        )
    }
}

/// Keeps the file in step with the node.
#[derive(Debug, Default)]
pub(super) struct LineageFile {
    written: Option<Contents>,
    writing: Option<JoinHandle<()>>,
}

impl LineageFile {
    /// Writes or removes the file, if something has changed. Does not wait.
    pub(super) fn update(&mut self, core: &Core) {
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            return;
        }
        let wanted = wanted(core, self.written.as_ref());
        if wanted == self.written {
            return;
        }
        let before = std::mem::replace(&mut self.written, wanted.clone());
        self.writing = Some(tokio::task::spawn_blocking(move || {
            if let Some(contents) = &wanted {
                report(replace(&contents.path, contents.text().as_bytes()).map(drop), &contents.path);
            }
            if let Some(old) = before.filter(|old| wanted.as_ref().is_none_or(|new| new.path != old.path)) {
                report(std::fs::remove_file(&old.path), &old.path);
            }
        }));
    }
}

fn report(result: io::Result<()>, path: &Path) {
    if let Err(error) = result {
        warning!(
            "{}: {error}. If this node is killed, it will not know that it was a master (master-rejoin-guard).",
            path.display()
        );
    }
}

fn wanted(core: &Core, written: Option<&Contents>) -> Option<Contents> {
    let engine = &core.engine;
    let replication = &engine.replication;
    let known = replication.link().is_some() || replication.feed.backlog().is_some();
    // While it is not clear whether this node is a master, it has to ask again when it is restarted.
    let doubted = replication.feed.is_guarded() && written.is_some();
    if !engine.config.master_rejoin_guard || !(known || doubted) {
        return None;
    }
    let path = path(&engine.config);
    Some(Contents { path, replid: replication.feed.lineage().replid(), is_master: engine.is_master() })
}
