//! The database: commands in, replies and effects out; no I/O, no clock.
//!
//! [`Engine`] is a plain struct with one owner. The driver begins a batch for a client with the
//! time of the batch, executes commands against it, and afterwards takes what has to reach the
//! outside: the stream of effects, pushes to other clients, requests that only the outside can
//! fulfil. Given the same inputs it gives the same outputs.

use rand::rngs::StdRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use rand_xoshiro::rand_core::SeedableRng;

use redoubt_wire::resp::reply::{Protocol, Reply};

use crate::config::{Config, KeyspaceEvents};
use crate::replication::role::Replication;

pub mod acl;
pub mod clients;
pub mod commands;
pub mod cycle;
pub mod door;
pub mod effects;
pub mod error;
pub mod evict;
pub mod execute;
pub mod facts;
pub mod keyspace;
pub mod load;
pub mod lru;
pub mod monitor;
pub mod own_expiry;
pub mod pause;
pub mod pubsub;
pub mod redact;
pub mod replication;
pub mod request;
pub mod session;
pub mod slowlog;
pub mod stats;
#[cfg(test)]
pub mod testing;
pub mod transaction;
pub mod types;

use acl::Acl;
use clients::Clients;
use effects::Effects;
use facts::Facts;
use keyspace::Keyspace;
use load::Loading;
use own_expiry::OwnExpiring;
use pause::Pauses;
use pubsub::PubSub;
use request::{Hole, Output};
use session::{ClientId, Session};
use slowlog::SlowLog;
use stats::Stats;
use transaction::WatchIndex;

/// The role of this node, as far as commands have to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// Takes writes.
    Master,
    /// Follows the master at this address.
    Replica {
        /// Host name or address, as REPLICAOF gave it.
        host: String,
        /// Port.
        port: u16,
        /// The link is up and in sync.
        link_up: bool,
    },
}

/// The whole database.
#[derive(Debug)]
pub struct Engine {
    /// The directives in force.
    pub config: Config,
    /// The databases. Only this folder changes them; see `door`.
    pub(crate) keyspace: Keyspace,
    /// A dataset that is loaded beside the other, whose place it will take.
    incoming: Option<Keyspace>,
    /// All sessions but the running one.
    pub clients: Clients,
    /// Who listens to what.
    pub pubsub: PubSub,
    /// What changed, for those who replay it.
    pub effects: Effects,
    /// Counters for INFO.
    pub stats: Stats,
    /// What the outside knows, for INFO.
    pub facts: Facts,
    /// Who may do what.
    pub acl: Acl,
    /// Commands that took long.
    pub slowlog: SlowLog,
    /// Those who watch all commands, in the order in which they asked to.
    monitors: Vec<ClientId>,
    /// Master or replica.
    pub role: Role,
    /// Whether a dataset is being read.
    pub loading: Loading,
    /// DEBUG SET-ACTIVE-EXPIRE: the active expiry cycle runs.
    pub active_expire: bool,
    /// DEBUG PAUSE-CRON: the timer's work is left undone.
    pub cron_paused: bool,
    /// DEBUG SET-SKIP-CHECKSUM-VALIDATION: payloads of RESTORE need no right checksum.
    pub skip_checksums: bool,
    /// DEBUG QUICKLIST-PACKED-THRESHOLD: from this length on a list's element has a node of its own.
    pub list_packed_threshold: usize,
    /// The last save failed: with `stop-writes-on-bgsave-error` writes and PING answer MISCONF.
    pub save_failed: bool,
    /// The stream of effects, those who take it, and the master that it may come from.
    pub replication: Replication,
    /// Unix time of this batch, in ms.
    pub now_ms: i64,
    /// What is held back, and until when.
    pub pauses: Pauses,
    own_expiring: OwnExpiring,
    watch: WatchIndex,
    /// Clients whose watched keys changed since they were last told.
    dirty_watchers: Vec<ClientId>,
    outputs: Vec<Output>,
    holes: Vec<Hole>,
    /// Pushes to the running client, which follow the reply of the running command.
    own_pushes: Vec<u8>,
    /// The running client and the protocol it speaks.
    current: Option<(ClientId, Protocol)>,
    /// The commands come from our master's stream: they always pass and leave no effects of
    /// their own, since the stream's bytes go on as they are.
    applying: bool,
    /// The running command visits keys that it was not given (SCAN, RANDOMKEY): what expires on its
    /// way are units of their own.
    units_apart: bool,
    /// The running client asked not to touch access fields.
    no_touch: bool,
    /// Commits and effects of the running command, for the check that both or neither exist.
    commits: usize,
    effects_seen: usize,
    /// Tells how many bytes the process has allocated; `maxmemory` is held against it.
    pub memory_used: fn() -> usize,
    /// Reads a monotonic counter in ns; it only times commands.
    ticks: fn() -> u64,
    last_tick: u64,
    rng: Xoshiro256PlusPlus,
    /// Keys the hash of sets' members.
    member_seed: u64,
}

impl Engine {
    /// An empty database with its directives, whose every random choice follows from `seed`.
    /// `ticks` reads a monotonic counter in ns.
    pub fn new(config: Config, seed: u64, ticks: fn() -> u64) -> Self {
        use rand::RngCore;
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let hash_seed = [rng.next_u64(), rng.next_u64(), rng.next_u64(), rng.next_u64()];
        let databases = config.databases as usize;
        let member_seed = rng.next_u64();
        let role = config.replicaof.as_ref().map_or(Role::Master, |master| Role::Replica {
            host: master.host.clone(),
            port: master.port,
            link_up: false,
        });
        let replication = Replication::new(
            ticks() / 1_000_000,
            replication::feed_config(&config),
            StdRng::seed_from_u64(rng.next_u64()),
        );
        Engine {
            acl: Acl::new(&config),
            config,
            keyspace: Keyspace::new(databases, hash_seed),
            clients: Clients::default(),
            pubsub: PubSub::default(),
            effects: Effects::default(),
            stats: Stats::new(commands::COMMANDS.rows().len()),
            facts: Facts::default(),
            slowlog: SlowLog::default(),
            monitors: Vec::new(),
            role,
            loading: Loading::No,
            incoming: None,
            active_expire: true,
            cron_paused: false,
            skip_checksums: false,
            list_packed_threshold: types::ListLimits::default().packed_threshold,
            save_failed: false,
            replication,
            now_ms: 0,
            pauses: Pauses::default(),
            own_expiring: OwnExpiring::default(),
            watch: WatchIndex::default(),
            dirty_watchers: Vec::new(),
            outputs: Vec::new(),
            holes: Vec::new(),
            own_pushes: Vec::new(),
            current: None,
            applying: false,
            units_apart: false,
            no_touch: false,
            commits: 0,
            effects_seen: 0,
            memory_used: || 0,
            ticks,
            last_tick: 0,
            member_seed,
            rng,
        }
    }

    /// Takes over a configuration, and returns the one that was in force. `running` is the session that is
    /// not in the registry.
    pub(crate) fn adopt(&mut self, config: Config, running: Option<&mut Session>) -> Config {
        let previous = std::mem::replace(&mut self.config, config);
        self.slowlog.trim(self.config.slowlog_max_len as usize);
        self.follow_acl_config(&previous, running);
        previous
    }

    /// The keyspace events that are published.
    pub(crate) fn events(&self) -> KeyspaceEvents {
        self.config.notify_keyspace_events
    }

    /// Whether this node is a master.
    pub fn is_master(&self) -> bool {
        self.role == Role::Master
    }

    /// A new client.
    pub fn connect(&mut self, addr: &str, laddr: &str, fd: i32, now_ms: i64) -> ClientId {
        let id = self.clients.next_id();
        let user = self.acl.users().default_user().clone();
        self.stats.connections_received += 1;
        self.clients.put(Box::new(Session::new(id, addr, laddr, fd, user, now_ms)));
        id
    }

    /// A client is gone: its watches and subscriptions go with it.
    pub fn disconnect(&mut self, id: ClientId) {
        let Some(mut session) = self.clients.take(id) else { return };
        self.unwatch_all(&mut session);
        self.unsubscribe_all(&mut session);
        self.set_monitor(&mut session, false);
        if let Some(replica) = session.replica {
            let now_ms = self.monotonic_ms();
            self.replication.feed.detached(now_ms, replica);
        }
    }

    /// Forgets a session's subscriptions without telling it.
    pub(crate) fn unsubscribe_all(&mut self, session: &mut Session) {
        for channel in std::mem::take(&mut session.channels) {
            self.pubsub.unsubscribe(&channel, session.id);
        }
        for pattern in std::mem::take(&mut session.patterns) {
            self.pubsub.punsubscribe(&pattern, session.id);
        }
    }

    /// Encodes a push for `client` in the protocol it speaks.
    pub(crate) fn push_to(&mut self, client: ClientId, write: impl FnOnce(&mut Reply)) {
        let Some(protocol) = self.protocol_of(client) else { return };
        let mut reply = Reply::new(protocol);
        if self.current.is_some_and(|(id, _)| id == client) {
            reply.buf = std::mem::take(&mut self.own_pushes);
            write(&mut reply);
            self.own_pushes = reply.buf;
        } else {
            write(&mut reply);
            self.outputs.push(Output::Push { client, bytes: reply.buf });
        }
    }

    /// Asks the outside for something.
    pub(crate) fn output(&mut self, output: Output) {
        self.outputs.push(output);
    }

    /// Whether there is something for the outside.
    pub fn has_outputs(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// What the outside has to do, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// What waits to be freed outside of the lock.
    pub fn take_trash(&mut self) -> Vec<keyspace::Trash> {
        self.keyspace.take_trash()
    }

    /// The holes that the running batch left in its replies, in order.
    pub fn take_holes(&mut self) -> Vec<Hole> {
        std::mem::take(&mut self.holes)
    }

    /// Whether the running batch has left holes: no command of the client may run before
    /// they are filled.
    pub fn has_holes(&self) -> bool {
        !self.holes.is_empty()
    }
}
