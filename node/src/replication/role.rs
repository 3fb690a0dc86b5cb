//! A node's whole part in replication: what it feeds, and whom it follows.
//!
//! [`Replication`] joins the two sides where they touch: promotion and demotion, the adoption of
//! a master's history, and the rule that what was applied from the master is, byte for byte and
//! at the same offsets, what our own replicas get. It lives under the engine's lock. How a
//! driver uses it is described at the top of `replication/mod.rs`.

use std::borrow::Cow;
use std::collections::VecDeque;

use rand::rngs::StdRng;

use super::Level;
use super::failover::Failover;
use super::info::{LinkState, ReplicationInfo, Role, UpstreamInfo};
use super::lineage::ReplId;
use super::master::{Feed, FeedConfig, Upstream};
use super::payload::Framing;
use super::replica::{Applied, LinkConfig, LinkEvent, LinkOutput, ReplicaLink};
use super::stream::{StreamCommand, StreamReader};

/// What the bytes from the master mean to the driver.
#[derive(Debug, PartialEq, Eq)]
pub enum MasterEvent<'a> {
    /// The master continues our history; the link is up.
    Continued,
    /// A payload begins.
    StartLoad {
        /// Its frame.
        framing: Framing,
        /// It is a later state of the history that we hold, so that ours may be served meanwhile.
        same_history: bool,
    },
    /// A part of the payload.
    Payload(Cow<'a, [u8]>),
    /// The payload is complete.
    PayloadEnd,
    /// There may be commands: call [`Replication::next_command`] until it returns `None`.
    Stream,
}

/// The replication state of a node.
#[derive(Debug)]
pub struct Replication {
    /// The stream that we write or pass on, and those who take it.
    pub feed: Feed,
    link: Option<ReplicaLink>,
    /// What a link that was given up still wants done.
    parting: VecDeque<LinkOutput>,
    stream: StreamReader,
    /// Before there was a link: an RDB file said what history we hold.
    restored: bool,
    /// A GETACK is in the unit under way.
    ack_after_unit: bool,
    pub(super) failover: Option<Failover>,
}

/// What INFO shows of a replica's configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicaSettings {
    /// `replica-priority`.
    pub priority: u32,
    /// `replica-read-only`.
    pub read_only: bool,
    /// `replica-announced`.
    pub announced: bool,
}

impl Replication {
    /// A master without history. The generator makes ids and marks that peers must not guess.
    pub fn new(now_ms: u64, config: FeedConfig, rng: StdRng) -> Replication {
        Replication {
            feed: Feed::new(now_ms, config, rng),
            link: None,
            parting: VecDeque::new(),
            stream: StreamReader::default(),
            restored: false,
            ack_after_unit: false,
            failover: None,
        }
    }

    /// A replica was restarted, and its RDB file says what it held (`repl-id`, `repl-offset`,
    /// `repl-stream-db`). To be called before [`Replication::follow`].
    pub fn restore_replica(&mut self, replid: ReplId, offset: u64, db: u32) {
        self.feed.lineage.restore_replica(replid, offset);
        self.stream = StreamReader::at_db(db);
        self.restored = true;
    }

    /// A master was restarted, likewise. To be called before anything is appended to the stream
    /// (the deletion of keys that expired while it was down).
    pub fn restore_master(&mut self, replid: ReplId, offset: u64, db: u32) {
        self.feed.lineage.restore_master(replid, offset);
        self.feed.create_backlog();
        self.stream = StreamReader::at_db(db);
    }

    /// REPLICAOF: follows a master. Our own replicas stay until we know whether they have to go.
    /// The driver unblocks its blocked clients if we were a master.
    pub fn follow(&mut self, now_ms: u64, config: LinkConfig) {
        let resumable = match self.link.take() {
            Some(old) => self.part(old),
            None => {
                self.feed.log(
                    Level::Notice,
                    "Before turning into a replica, using my own master parameters to synthesize a cached master: I may be able to synchronize with the new master with just a partial transfer."
                        .into(),
                );
                // A master's own stream announces its database after every change of hands. Where we go
                // back to the history before, its stream goes on where we left it.
                if !self.feed.lineage.take_back() && !self.restored {
                    self.stream = StreamReader::default();
                }
                self.feed.lift_guard("it follows another master");
                true
            }
        };
        self.restored = false;
        let mut link = ReplicaLink::new(now_ms, config, resumable);
        if self.failover.is_some() {
            link.request_takeover();
        }
        self.link = Some(link);
        self.settle();
    }

    /// The configuration names a master: follows it from the start. There is a history to continue
    /// only if an RDB file told of one.
    pub fn follow_from_start(&mut self, now_ms: u64, config: LinkConfig) {
        let resumable = std::mem::take(&mut self.restored);
        self.link = Some(ReplicaLink::new(now_ms, config, resumable));
        self.settle();
    }

    /// REPLICAOF NO ONE: becomes a master whose history begins with what it has applied. Returns
    /// whether it was a replica. The engine discards an open MULTI of the stream.
    pub fn promote(&mut self, now_ms: u64) -> bool {
        let Some(link) = self.link.take() else { return false };
        self.part(link);
        let feed = &mut self.feed;
        feed.upstream = Upstream::None;
        feed.lineage.shift(&mut feed.rng);
        let (old, limit, new) = (feed.lineage.replid2(), feed.lineage.second_offset(), feed.lineage.replid());
        feed.log(Level::Notice, format!(
            "Setting secondary replication ID to {old}, valid up to offset: {limit}. New replication ID is {new}"
        ));
        feed.disconnect_replicas(now_ms);
        feed.start_without_replicas(now_ms);
        feed.select_needed = true;
        true
    }

    /// PSYNC … FAILOVER: the master asks us to take over. Afterwards the PSYNC is served as usual.
    pub fn take_over(&mut self, now_ms: u64, replid: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(replid);
        self.feed.log(Level::Notice, format!("Failover request received for replid {text}."));
        if self.link.is_none() {
            return Err("ERR PSYNC FAILOVER can't be sent to a master.".into());
        }
        if !self.feed.lineage.replid().matches(replid) {
            return Err("ERR PSYNC FAILOVER replid must match my replid.".into());
        }
        self.promote(now_ms);
        Ok(())
    }

    fn part(&mut self, mut link: ReplicaLink) -> bool {
        link.shut();
        while let Some(output) = link.poll_output(&self.applied(None)) {
            self.parting.push_back(output);
        }
        self.stream.rewind();
        self.ack_after_unit = false;
        link.is_resumable()
    }

    /// Keeps what depends on the link's state in step with it.
    fn settle(&mut self) {
        let state = self.link.as_ref().map(ReplicaLink::state);
        let upstream = match state {
            None => Upstream::None,
            Some(LinkState::Connected) => Upstream::Up,
            Some(_) => Upstream::Down,
        };
        if upstream != Upstream::Up && self.feed.upstream == Upstream::Up {
            self.stream.rewind();
            self.ack_after_unit = false;
        }
        self.feed.upstream = upstream;
    }

    /// The link to the master, on a replica; `None` on a master.
    pub fn link(&self) -> Option<&ReplicaLink> {
        self.link.as_ref()
    }

    /// Takes over changed directives of the link.
    pub fn configure_link(&mut self, config: LinkConfig) {
        self.with_link(|link| link.configure(config));
    }

    fn with_link(&mut self, act: impl FnOnce(&mut ReplicaLink)) {
        if let Some(link) = &mut self.link {
            act(link);
        }
        self.settle();
    }

    /// The connection that `Connect` asked for was made.
    pub fn master_connected(&mut self, now_ms: u64) {
        self.with_link(|link| link.connected(now_ms));
    }

    /// It could not be made, for this reason.
    pub fn master_connect_failed(&mut self, now_ms: u64, reason: &str) {
        self.with_link(|link| link.connect_failed(now_ms, reason));
    }

    /// It was closed, by the other side or by an error. Not to be called after `Close`.
    pub fn master_closed(&mut self, now_ms: u64, reason: &str) {
        self.with_link(|link| link.closed(now_ms, reason));
    }

    /// Bytes from the master; see [`ReplicaLink::handle_bytes`].
    pub fn handle_master_bytes<'i>(&mut self, now_ms: u64, input: &mut &'i [u8]) -> Option<MasterEvent<'i>> {
        let event = self.link.as_mut()?.handle_bytes(now_ms, input);
        let event = match event {
            None => None,
            Some(LinkEvent::Continue(replid)) => {
                self.continue_as(now_ms, replid);
                Some(MasterEvent::Continued)
            }
            Some(LinkEvent::StartLoad { payload, lineage }) => {
                let ours = self.feed.lineage.replid();
                let same_history = lineage.is_some_and(|(replid, _)| replid == ours);
                Some(MasterEvent::StartLoad { framing: payload, same_history })
            }
            Some(LinkEvent::Payload(part)) => Some(MasterEvent::Payload(part)),
            Some(LinkEvent::PayloadEnd) => Some(MasterEvent::PayloadEnd),
            Some(LinkEvent::Stream(bytes)) => {
                self.stream.push(bytes);
                Some(MasterEvent::Stream)
            }
        };
        self.settle();
        event
    }

    fn continue_as(&mut self, now_ms: u64, replid: Option<ReplId>) {
        let feed = &mut self.feed;
        if let Some(replid) = replid
            && feed.lineage.continue_as(replid)
        {
            feed.log(Level::Notice, format!("Master replication ID changed to {replid}"));
            feed.disconnect_replicas(now_ms);
        }
        if feed.backlog.is_none() {
            feed.create_backlog();
        }
    }

    /// Loading begins. `replaces` says that the old data go now; otherwise (swapdb) they serve until
    /// the new are complete.
    pub fn load_starting(&mut self, now_ms: u64, replaces: bool) {
        if replaces {
            self.drop_history(now_ms);
            self.feed.log(Level::Notice, "MASTER <-> REPLICA sync: Flushing old data".into());
        }
        self.feed.log(Level::Notice, "MASTER <-> REPLICA sync: Loading DB in memory".into());
    }

    fn drop_history(&mut self, now_ms: u64) {
        if let Some(link) = &mut self.link {
            link.history_dropped();
        }
        self.feed.drop_history(now_ms);
    }

    /// The payload is loaded; `db` is what its `repl-stream-db` says. Returns false if the link was
    /// given up meanwhile, so that what was loaded is nobody's.
    pub fn load_succeeded(&mut self, now_ms: u64, db: u32) -> bool {
        if self.link.as_ref().is_none_or(|link| !link.is_loading()) {
            return false;
        }
        self.drop_history(now_ms);
        let Some(link) = &mut self.link else { return false };
        let feed = &mut self.feed;
        match link.load_succeeded(now_ms) {
            Some((replid, offset)) => feed.lineage.adopt(replid, offset),
            // A master that numbers nothing: what we have from it is a history of its own.
            None => feed.lineage.adopt(ReplId::random(&mut feed.rng), 0),
        }
        feed.create_backlog();
        self.stream = StreamReader::at_db(db);
        self.settle();
        true
    }

    /// The payload could not be loaded; the driver has emptied what it loaded half.
    pub fn load_failed(&mut self, now_ms: u64) {
        self.with_link(|link| link.load_failed(now_ms));
    }

    /// The next command from the master, to be executed at once; [`Replication::finish_unit`] follows
    /// if it ends a unit.
    pub fn next_command(&mut self, now_ms: u64) -> Option<StreamCommand<'_>> {
        if self.feed.upstream != Upstream::Up {
            return None;
        }
        if let Err(error) = self.stream.advance() {
            self.feed.log(Level::Warning, format!(
                "WARNING: Receiving {error} Closing the master connection and discarding the cached master."
            ));
            self.with_link(|link| link.stream_corrupt(now_ms));
            return None;
        }
        let command = self.stream.command()?;
        self.ack_after_unit |= command.wants_ack;
        Some(command)
    }

    /// What was executed since the last unit is now part of our data set: moves the offset over it
    /// and passes it on. Returns the new offset.
    pub fn finish_unit(&mut self, now_ms: u64) -> u64 {
        let offset = self.feed.append(now_ms, self.stream.finish_unit());
        if std::mem::take(&mut self.ack_after_unit) {
            self.with_link(ReplicaLink::request_ack);
        }
        offset
    }

    /// The next thing to do on the link to the master; `fsynced` is the offset that the AOF has on
    /// disk, if there is an AOF. What the feed wants comes from `feed.poll_output()`.
    pub fn poll_master_output(&mut self, fsynced: Option<u64>) -> Option<LinkOutput> {
        if let Some(output) = self.parting.pop_front() {
            return Some(output);
        }
        let applied = self.applied(fsynced);
        self.link.as_mut()?.poll_output(&applied)
    }

    fn applied(&self, fsynced: Option<u64>) -> Applied {
        Applied { replid: self.feed.lineage.replid(), offset: self.feed.lineage.offset(), fsynced }
    }

    /// When `handle_timeout` wants to be called next.
    pub fn poll_timeout(&self) -> Option<u64> {
        let link = self.link.as_ref().and_then(ReplicaLink::poll_timeout);
        link.into_iter().chain(self.failover_deadline()).chain(self.feed.poll_timeout()).min()
    }

    /// Does what is due. Whatever has arrived is to be handed in first.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        self.with_link(|link| link.handle_timeout(now_ms));
        self.feed.handle_timeout(now_ms);
    }

    /// The database that the stream has selected, for `repl-stream-db`.
    pub fn stream_db(&self) -> u32 {
        self.stream.db()
    }

    /// The section of INFO.
    pub fn info(&self, now_ms: u64, settings: ReplicaSettings) -> ReplicationInfo {
        let lineage = self.feed.lineage();
        ReplicationInfo {
            guarded: self.feed.is_guarded(),
            upstream: self.link.as_ref().map(|link| self.upstream_info(now_ms, link, settings)),
            connected_replicas: self.feed.replica_count(),
            good_replicas: self.feed.good_replicas(),
            replicas: self.feed.replica_infos(now_ms),
            failover: self.failover_state(),
            replid: lineage.replid(),
            replid2: lineage.replid2(),
            offset: lineage.offset(),
            second_offset: lineage.second_offset(),
            backlog: self.feed.backlog_info(),
        }
    }

    fn upstream_info(&self, now_ms: u64, link: &ReplicaLink, settings: ReplicaSettings) -> UpstreamInfo {
        let known = link.state() == LinkState::Connected || link.is_resumable();
        let offset = self.feed.lineage.offset();
        let (read_offset, applied_offset) =
            if known { (offset + self.stream.unapplied(), offset) } else { (1, 1) };
        UpstreamInfo {
            host: link.config().host.clone(),
            port: link.config().port,
            state: link.state(),
            last_io_seconds_ago: link.last_io_seconds_ago(now_ms),
            read_offset,
            applied_offset,
            transfer: link.transfer(now_ms),
            down_since_seconds: link.down_since_seconds(now_ms),
            priority: settings.priority,
            read_only: settings.read_only,
            announced: settings.announced,
        }
    }

    /// The reply to ROLE.
    pub fn role(&self, now_ms: u64) -> Role {
        let offset = self.feed.lineage.offset();
        let Some(link) = &self.link else {
            let online =
                self.feed.replica_infos(now_ms).into_iter().filter(|replica| replica.state == "online");
            return Role::Master { offset, replicas: online.map(|r| (r.ip, r.port, r.ack_offset)).collect() };
        };
        let counts = link.state() == LinkState::Connected && link.is_numbered();
        Role::Replica {
            host: link.config().host.clone(),
            port: link.config().port,
            state: link.state(),
            offset: if counts { offset as i64 } else { -1 },
        }
    }
}
