//! A session: what the engine remembers of one client between its commands.
//!
//! Sessions live in the engine, not with their sockets, since other clients' commands reach
//! them too: CLIENT LIST and KILL, PUBLISH, a write to a watched key. While a client's batch
//! runs, its session is taken out of the registry, so that a handler can hold it beside the
//! rest of the engine.

use std::collections::BTreeSet;
use std::sync::Arc;

use redoubt_wire::acl::User;
use redoubt_wire::resp::reply::Protocol;

use super::commands::Command;
use super::transaction::Transaction;
use crate::replication::master::ReplicaId;
use crate::replication::options::ReplicaOptions;

/// A client's number: unique as long as the process lives, as in CLIENT ID.
pub type ClientId = u64;

/// What a connection is, which decides what it may do and how it is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Class {
    /// An ordinary client (or one in pub/sub mode).
    #[default]
    Normal,
    /// A replica of this node, after SYNC or PSYNC.
    Replica,
    /// The link to this node's master, whose stream is applied.
    Master,
}

/// How CLIENT REPLY has set the replies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ReplyMode {
    /// Every command is answered.
    #[default]
    On,
    /// No command is answered.
    Off,
    /// The next command is not answered.
    SkipNext,
    /// The command that runs is not answered; then as `On`.
    Skip,
}

/// One client's state.
#[derive(Debug)]
pub struct Session {
    /// Its number.
    pub id: ClientId,
    /// Ordinary client, replica or master.
    pub class: Class,
    /// The database that SELECT chose.
    pub db: usize,
    /// The version HELLO chose.
    pub protocol: Protocol,
    /// May run commands: AUTH succeeded or none was needed.
    pub authenticated: bool,
    /// The user it is logged in as.
    user: Arc<User>,
    /// Nothing that the client does needs to be held against its user's rules.
    unrestricted: bool,
    /// CLIENT SETNAME.
    pub name: Arc<[u8]>,
    /// CLIENT SETINFO LIB-NAME.
    pub lib_name: Arc<[u8]>,
    /// CLIENT SETINFO LIB-VER.
    pub lib_ver: Arc<[u8]>,
    /// The peer's address, `ip:port` or the socket's path.
    pub addr: Arc<str>,
    /// Our own address on this connection.
    pub laddr: Arc<str>,
    /// The connection's file descriptor, for CLIENT LIST alone; -1 if there is none.
    pub fd: i32,
    /// Unix time of the connection, in ms.
    pub created_ms: i64,
    /// Unix time of the last command, in ms.
    pub active_ms: i64,
    /// The last command looked up, for CLIENT LIST and to save a lookup in pipelines.
    pub last_command: Option<&'static Command>,
    /// CLIENT REPLY.
    pub reply_mode: ReplyMode,
    /// CLIENT NO-EVICT.
    pub no_evict: bool,
    /// CLIENT NO-TOUCH.
    pub no_touch: bool,
    /// Close when the reply is out (QUIT, CLIENT KILL of itself, a replica's lost place).
    pub close_asap: bool,
    /// MULTI, its queue, and the watched keys.
    pub tx: Transaction,
    /// Channels subscribed to.
    pub channels: BTreeSet<Arc<[u8]>>,
    /// Patterns subscribed to.
    pub patterns: BTreeSet<Arc<[u8]>>,
    /// Waits for something other than its own input: a pause, replicas, a shutdown.
    pub blocked: bool,
    /// MONITOR.
    pub monitor: bool,
    /// What it has said with REPLCONF.
    pub replica_options: ReplicaOptions,
    /// Since SYNC or PSYNC: which replica it is.
    pub replica: Option<ReplicaId>,
    /// The replication offset after its last write: what WAIT waits for.
    pub write_offset: u64,
    /// Bytes of requests not understood yet, and of replies not sent yet, as the driver last said.
    pub buffers: Buffers,
}

/// Sizes of a connection's buffers in bytes, for CLIENT LIST.
#[derive(Clone, Copy, Debug, Default)]
pub struct Buffers {
    /// Unparsed input.
    pub input: usize,
    /// Capacity left in the input buffer.
    pub input_free: usize,
    /// Replies not written yet.
    pub output: usize,
}

impl Session {
    /// A fresh session of the default user `user`.
    pub fn new(id: ClientId, addr: &str, laddr: &str, fd: i32, user: Arc<User>, now_ms: i64) -> Self {
        let empty: Arc<[u8]> = Arc::from(&b""[..]);
        Session {
            id,
            class: Class::Normal,
            db: 0,
            protocol: Protocol::Resp2,
            authenticated: user.is_open(),
            unrestricted: user.is_unrestricted(),
            user,
            name: empty.clone(),
            lib_name: empty.clone(),
            lib_ver: empty,
            addr: Arc::from(addr),
            laddr: Arc::from(laddr),
            fd,
            created_ms: now_ms,
            active_ms: now_ms,
            last_command: None,
            reply_mode: ReplyMode::On,
            no_evict: false,
            no_touch: false,
            close_asap: false,
            tx: Transaction::default(),
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            blocked: false,
            monitor: false,
            replica_options: ReplicaOptions::default(),
            replica: None,
            write_offset: 0,
            buffers: Buffers::default(),
        }
    }

    /// The user it is logged in as, with the rules in force.
    pub fn user(&self) -> &Arc<User> {
        &self.user
    }

    /// Another user, or another state of the same.
    pub(super) fn become_user(&mut self, user: Arc<User>) {
        self.unrestricted = self.class == Class::Master || user.is_unrestricted();
        self.user = user;
    }

    /// The connection is the link to our master: what comes by it is obeyed.
    pub(crate) fn become_master(&mut self) {
        self.class = Class::Master;
        self.authenticated = true;
        self.unrestricted = true;
    }

    /// Whether nothing that the client does needs to be held against its user's rules.
    #[inline]
    pub(super) fn is_unrestricted(&self) -> bool {
        self.unrestricted
    }

    /// Subscribed to anything: in RESP2 such a client may only use pub/sub commands.
    pub fn in_pubsub(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty()
    }

    /// How many channels and patterns it is subscribed to, as (P)SUBSCRIBE answers.
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }
}
