//! Carries out what the feeding side wants, and keeps the output sides of all replicas.
//!
//! All of it happens under the engine's lock and waits for nothing: what takes time becomes a
//! [`Job`] that the task of the control thread starts.

use std::collections::HashMap;
use std::fs::File;
use std::sync::Arc;

use redoubt_wire::warning;

use super::super::clock;
use super::super::pace::Cancel;
use super::super::shared::{Core, Delivered, Shared};
use super::snapshot;
use super::write_log;
use super::writer::ReplicaWriter;
use crate::engine::commands::client;
use crate::engine::session::ClientId;
use crate::replication::master::{CloseReason, FeedOutput, ReplicaId};

/// The driver's side of feeding. Guarded by the engine's lock.
#[derive(Debug, Default)]
pub struct Feeding {
    replicas: HashMap<ReplicaId, Fed>,
    /// The snapshot for replicas that is under way.
    pub(super) transfer: Option<Arc<Cancel>>,
    /// The last snapshot that went to a file, for those who are sent it.
    pub(super) file: Option<Arc<File>>,
    /// What is to be started.
    pub(super) jobs: Vec<Job>,
    /// Whether the machine was last told that something else has the one cut.
    busy: bool,
}

#[derive(Debug)]
struct Fed {
    client: ClientId,
    writer: Arc<ReplicaWriter>,
}

/// Work for a thread of its own.
#[derive(Debug)]
pub(super) enum Job {
    /// Walk a snapshot that was cut, and send it or write it to a file.
    Snapshot(Box<snapshot::Job>),
    /// Send a file to a replica.
    SendFile {
        /// To whom.
        replica: ReplicaId,
        /// The way there.
        writer: Arc<ReplicaWriter>,
        /// Positioned reads only: others read it too.
        file: Arc<File>,
    },
}

impl Feeding {
    /// A connection has become a replica's.
    pub fn attach(&mut self, client: ClientId, replica: ReplicaId) {
        self.replicas.insert(replica, Fed { client, writer: Arc::default() });
    }

    /// The output side of a replica.
    pub fn writer(&self, replica: ReplicaId) -> Option<Arc<ReplicaWriter>> {
        self.replicas.get(&replica).map(|fed| fed.writer.clone())
    }

    /// A connection has ended: gives the output side, if it was a replica's. The engine may have
    /// forgotten the client already (CLIENT KILL).
    fn detach(&mut self, client: ClientId) -> Option<Arc<ReplicaWriter>> {
        let replica = self.replicas.iter().find(|(_, fed)| fed.client == client).map(|(id, _)| *id)?;
        self.replicas.remove(&replica).map(|fed| fed.writer)
    }
}

impl Shared {
    /// Gives the stream what was written, and carries out what the feeding side then wants.
    pub(in super::super) fn feed_replicas(&self, core: &mut Core) -> Delivered {
        let mut fed = !core.engine.effects.is_empty();
        core.engine.settle_stream();
        core.tell_busy();
        let mut changed = false;
        while let Some(output) = core.engine.replication.feed.poll_output() {
            changed = true;
            fed |= matches!(output, FeedOutput::Append(_));
            core.carry_out(output);
        }
        if changed {
            core.engine.settle_stream();
            self.replication.notify_one();
        }
        Delivered { fed }
    }

    /// Writes to all replicas' sockets what they take at once; see `writer.rs` for the order in
    /// which this stands to replies.
    pub fn flush_replicas(&self) {
        for writer in self.writers.read().iter() {
            writer.flush();
        }
    }

    /// If the client is a replica, it is sent nothing more, and the backlog is not held for it.
    pub(in super::super) fn stop_feeding(&self, core: &mut Core, client: ClientId) {
        if let Some(writer) = core.feeding.detach(client) {
            writer.close();
            self.writers.write().retain(|other| !Arc::ptr_eq(other, &writer));
        }
    }

    /// Tells of the end of a connection.
    pub fn disconnect(&self, client: ClientId) {
        let mut core = self.lock();
        self.stop_feeding(&mut core, client);
        core.disconnect(client);
        let _ = self.deliver(&mut core);
    }
}

impl Core {
    /// A save, a replica's snapshot: there can be one cut at a time.
    fn tell_busy(&mut self) {
        let others = self.saving();
        let busy = others && self.feeding.transfer.is_none();
        if std::mem::replace(&mut self.feeding.busy, busy) != busy {
            let now_ms = self.engine.monotonic_ms();
            self.engine.replication.feed.set_background_busy(now_ms, busy);
        }
    }

    fn carry_out(&mut self, output: FeedOutput) {
        match output {
            FeedOutput::Send { replica, bytes } => {
                if let Some(writer) = self.feeding.writer(replica) {
                    writer.push(bytes);
                }
            }
            FeedOutput::StartStream { replica, reader } => {
                if let Some(writer) = self.feeding.writer(replica) {
                    writer.start_stream(reader);
                }
            }
            FeedOutput::StartSnapshot { filter, .. } => snapshot::cut(self, filter),
            FeedOutput::SendFile { replica } => {
                if let (Some(writer), Some(file)) = (self.feeding.writer(replica), self.feeding.file.clone())
                {
                    self.feeding.jobs.push(Job::SendFile { replica, writer, file });
                }
            }
            FeedOutput::AbortSnapshot => {
                if let Some(transfer) = &self.feeding.transfer {
                    transfer.order();
                }
            }
            FeedOutput::Append(commands) => {
                let now_ms = self.engine.monotonic_ms();
                self.engine.replication.feed.append(now_ms, commands);
            }
            FeedOutput::Close { replica, reason } => self.close_replica(replica, reason),
            FeedOutput::Log(line) => write_log(&line),
        }
    }

    fn close_replica(&mut self, replica: ReplicaId, reason: CloseReason) {
        let Some(fed) = self.feeding.replicas.get(&replica) else { return };
        if reason == CloseReason::OutputLimit
            && let Some(session) = self.engine.clients.get(fed.client)
        {
            let client = client::line(session, clock::unix_ms());
            warning!("Client {client} scheduled to be closed ASAP for overcoming of output buffer limits.");
        }
        fed.writer.close();
    }
}
