//! What all threads of a node share: the engine behind its lock, and the way from its outputs
//! to the connections they are for.
//!
//! The lock is held for one batch of one client. Outputs are delivered while it is held, so
//! that two batches cannot overtake each other on their way to a third client.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard, RwLock};
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use super::outbox::{Close, Outbox, Verdict};
use super::persistence::Saving;
use super::replication::feeding::Feeding;
use super::replication::writer::ReplicaWriter;
use crate::engine::Engine;
use crate::engine::keyspace::Trash;
use crate::engine::request::{Output, Shutdown};
use crate::engine::session::ClientId;
use redoubt_wire::service::{PidFile, Service};
use redoubt_wire::warning;

/// Shared by the workers, the control thread and the pool.
#[derive(Debug)]
pub struct Shared {
    core: Mutex<Core>,
    /// The file that CONFIG REWRITE writes.
    pub config_file: Option<PathBuf>,
    /// The pid file that this node has written.
    pub pidfile: Option<PidFile>,
    /// Who supervises the process.
    pub service: Service,
    /// Requests to the control thread.
    pub control: UnboundedSender<Control>,
    /// Told when a pause ends before its time.
    pub unpaused: Notify,
    /// Wakes the task that drives replication.
    pub replication: Notify,
    /// Told when a replica has acknowledged something, or the role has changed.
    pub acknowledged: Notify,
    /// The output sides of all replicas, to be written to without the engine's lock.
    pub(super) writers: RwLock<Vec<Arc<ReplicaWriter>>>,
    /// Garbage for the pool.
    pub trash: UnboundedSender<Vec<Trash>>,
}

/// What the lock guards.
#[derive(Debug)]
pub struct Core {
    /// The database.
    pub engine: Engine,
    outboxes: HashMap<ClientId, Arc<Outbox>, ahash::RandomState>,
    /// What is known of saves.
    pub saving: Saving,
    /// The driver's part in replication.
    pub(super) feeding: Feeding,
}

/// A request to the control thread.
#[derive(Debug)]
pub enum Control {
    /// SHUTDOWN, or a signal that means it.
    Shutdown {
        /// How.
        options: Shutdown,
        /// The timer decides when a signal acts, so that DEBUG PAUSE-CRON holds it up.
        by_signal: bool,
        /// Gets the error reply, should the process go on.
        answer: oneshot::Sender<String>,
    },
    /// SHUTDOWN ABORT.
    AbortShutdown,
}

/// What became of the outputs of a batch, as far as the connection itself has to know.
#[must_use]
#[derive(Debug, Default)]
pub struct Delivered {
    /// The stream has become longer: call [`Shared::flush_replicas`] before anybody learns of it.
    pub fed: bool,
}

impl Shared {
    /// Shares `engine`.
    pub fn new(
        engine: Engine,
        config_file: Option<PathBuf>,
        pidfile: Option<PidFile>,
        service: Service,
        control: UnboundedSender<Control>,
        trash: UnboundedSender<Vec<Trash>>,
    ) -> Self {
        let core = Core {
            engine,
            outboxes: HashMap::default(),
            saving: Saving::default(),
            feeding: Feeding::default(),
        };
        Shared {
            core: Mutex::new(core),
            config_file,
            pidfile,
            service,
            control,
            unpaused: Notify::new(),
            replication: Notify::new(),
            acknowledged: Notify::new(),
            writers: RwLock::default(),
            trash,
        }
    }

    /// Takes the engine's lock, for one batch and never across an `.await`.
    pub fn lock(&self) -> MutexGuard<'_, Core> {
        self.core.lock()
    }

    /// Sends what the engine has for the outside on its way.
    pub fn deliver(&self, core: &mut Core) -> Delivered {
        core.engine.settle_failover();
        if core.engine.has_outputs() {
            for output in core.engine.take_outputs() {
                self.route(core, output);
            }
        }
        let trash = core.engine.take_trash();
        if !trash.is_empty() {
            // With the pool gone the process is ending, and dropping here is as good.
            let _ = self.trash.send(trash);
        }
        self.feed_replicas(core)
    }

    fn route(&self, core: &mut Core, output: Output) {
        match output {
            Output::Push { client, bytes } => {
                let limit = core.engine.config.client_output_buffer_limit.pubsub;
                if let Some(outbox) = core.outboxes.get(&client)
                    && outbox.push(&bytes, &limit, core.engine.now_ms) == Verdict::TooMuch
                {
                    warning!(
                        "Client id={client} closed for overcoming of output buffer limits (client-output-buffer-limit pubsub)."
                    );
                    outbox.close(Close::Now);
                }
            }
            Output::Close { client, after_reply } => {
                // What the same batch wrote must not reach it any more.
                self.stop_feeding(core, client);
                if let Some(outbox) = core.outboxes.get(&client) {
                    outbox.close(if after_reply { Close::AfterReplies } else { Close::Now });
                }
            }
            Output::RoleChanged => {
                self.replication.notify_one();
                self.acknowledged.notify_waiters();
            }
            Output::AttachReplica { client, replica } => core.feeding.attach(client, replica),
            Output::Acknowledged => self.acknowledged.notify_waiters(),
            Output::Unpaused => {
                self.unpaused.notify_waiters();
                // The master's stream may have been held back.
                self.replication.notify_one();
            }
            Output::FlushedAll => {
                core.call_off_save();
                // A crash must not bring back what was deleted as a whole.
                core.saving.scheduled |= !core.engine.config.save.is_empty();
            }
            Output::AbortShutdown => drop(self.control.send(Control::AbortShutdown)),
            Output::Log(text) => redoubt_wire::warning!("{text}"),
            Output::ChangeReplicationId => core.engine.replication.feed.renew_history(),
        }
    }
}

impl Core {
    /// Registers a connection and its outbox.
    pub fn connect(&mut self, addr: &str, laddr: &str, fd: i32, now_ms: i64) -> (ClientId, Arc<Outbox>) {
        let id = self.engine.connect(addr, laddr, fd, now_ms);
        let outbox = Arc::new(Outbox::default());
        self.outboxes.insert(id, outbox.clone());
        (id, outbox)
    }

    /// Forgets a connection.
    pub fn disconnect(&mut self, id: ClientId) {
        self.outboxes.remove(&id);
        self.engine.disconnect(id);
    }
}
