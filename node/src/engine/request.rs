//! What the engine asks of the outside.
//!
//! A command that needs what the engine must not do itself (a file, a wait, another node)
//! either sends an [`Output`] on its way, or leaves a [`Hole`]: a place in its ordered reply
//! that the driver fills when the [`Task`] is done. The connection sends nothing beyond an
//! unfilled hole and executes none of its client's further commands, so order is kept, inside
//! EXEC as well.

use std::path::PathBuf;

use super::session::ClientId;
use crate::replication::master::ReplicaId;

/// A place in a client's replies to be filled by the driver.
#[derive(Debug)]
pub struct Hole {
    /// Where in the reply buffer the bytes belong.
    pub at: usize,
    /// What they answer.
    pub task: Task,
}

/// Work of the outside that a reply waits for.
#[derive(Debug, Clone)]
pub enum Task {
    /// WAIT: reply with the number of replicas that acknowledged `offset` once they are
    /// `replicas`, or when `timeout_ms` is over (0: never).
    Wait {
        /// The replication offset to be acknowledged.
        offset: u64,
        /// How many replicas.
        replicas: usize,
        /// In ms; 0 waits for ever.
        timeout_ms: u64,
    },
    /// SAVE: reply when the file is in place.
    Save,
    /// BGSAVE: start one (or, with `schedule`, as soon as possible) and reply at once.
    Bgsave {
        /// Do not refuse while another child-like job runs.
        schedule: bool,
    },
    /// CONFIG REWRITE.
    ConfigRewrite,
    /// CONFIG SET of directives that the outside has to act on before it is answered; the
    /// engine's configuration has them already. `previous` puts them back if that fails.
    ConfigApply {
        /// Names of the directives that changed.
        changed: Vec<&'static str>,
        /// What was in force before.
        previous: Box<crate::config::Config>,
    },
    /// ACL GENPASS: so many hexadecimal digits that nobody can guess, which a generator with a seed
    /// must not make.
    Genpass {
        /// How many.
        digits: usize,
    },
    /// ACL LOAD.
    AclLoad {
        /// The file, relative to the working directory.
        file: PathBuf,
    },
    /// ACL SAVE.
    AclSave {
        /// The file, relative to the working directory.
        file: PathBuf,
        /// All users.
        text: Vec<u8>,
    },
    /// SHUTDOWN: replies only if it fails or is aborted.
    Shutdown(Shutdown),
    /// DEBUG SLEEP: everything stands still for so long, and then the reply is OK.
    Freeze {
        /// In microseconds.
        us: u64,
    },
    /// DEBUG RELOAD and the like: save, empty, load.
    Reload {
        /// Keep the dataset and merge into it.
        no_flush: bool,
        /// Load without saving first.
        no_save: bool,
    },
}

impl Task {
    /// Whether the client counts as blocked meanwhile: it waits for others, not for work done for it.
    pub fn blocks(&self) -> bool {
        matches!(self, Task::Wait { .. } | Task::Shutdown(_))
    }
}

/// How SHUTDOWN goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Shutdown {
    /// SAVE or NOSAVE; by default save if there are save points.
    pub save: Option<bool>,
    /// Do not wait for replicas.
    pub now: bool,
    /// Go even if the save fails.
    pub force: bool,
}

/// A message to the outside that no reply waits for.
#[derive(Debug)]
pub enum Output {
    /// Bytes for a client, outside of its replies.
    Push {
        /// Who gets them.
        client: ClientId,
        /// Encoded in the client's protocol.
        bytes: Vec<u8>,
    },
    /// Close a client's connection, once what it was sent is out if `after_reply`.
    Close {
        /// Whose.
        client: ClientId,
        /// Let pending output out first.
        after_reply: bool,
    },
    /// The role has changed by REPLICAOF: start, redirect or end the link to the master.
    RoleChanged,
    /// SYNC or PSYNC has made the connection a replica's.
    AttachReplica {
        /// Whose connection.
        client: ClientId,
        /// Its place in the feed.
        replica: ReplicaId,
    },
    /// A replica has acknowledged more than before.
    Acknowledged,
    /// A pause has ended before its time.
    Unpaused,
    /// FLUSHALL: what is being saved is not wanted any more, neither by the file nor by replicas.
    FlushedAll,
    /// SHUTDOWN ABORT.
    AbortShutdown,
    /// DEBUG CHANGE-REPL-ID: the history gets a new name, and no second one.
    ChangeReplicationId,
    /// A line for the log, at level warning.
    Log(String),
}
