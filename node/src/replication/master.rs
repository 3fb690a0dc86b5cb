//! The feeding side of a node: its stream, and the replicas that take it.
//!
//! A master feeds its replicas with what it writes; a replica feeds its own with exactly the
//! bytes it received. [`Feed`] is the same machine for both. It decides how each replica gets
//! in step (continue from the backlog, or take a snapshot first, alone or together with
//! others), keeps the books of acknowledgements, and drops who does not keep up. It does no
//! I/O: the driver calls `handle_*` with what happened and then carries out what
//! [`Feed::poll_output`] says, in that order. When snapshots start is decided in `schedule.rs`.
//!
//! A replica gets a [`Reader`] at the snapshot's cut, long before it can be sent stream bytes:
//! the reader holds the backlog, so that nothing of what follows the cut is lost.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand::rngs::StdRng;
use redoubt_wire::resp::number::parse_integer;

use super::backlog::{Backlog, OutputLimit, Reader, ReaderProbe};
use super::info::{BacklogInfo, ReplicaInfo};
use super::lineage::{Lineage, Mismatch, REPLID_LEN, ReplId};
use super::options::ReplicaOptions;
use super::{Level, LogLine};

/// The directives that concern the feeding side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedConfig {
    /// `repl-backlog-size`, in bytes.
    pub backlog_size: u64,
    /// `repl-backlog-ttl`, in milliseconds; 0 keeps the backlog for ever.
    pub backlog_ttl_ms: u64,
    /// `repl-diskless-sync`.
    pub diskless_sync: bool,
    /// `repl-diskless-sync-delay`, in milliseconds.
    pub diskless_sync_delay_ms: u64,
    /// `repl-diskless-sync-max-replicas`; 0 waits for the delay in any case.
    pub diskless_sync_max_replicas: usize,
    /// `repl-ping-replica-period`, in milliseconds.
    pub ping_period_ms: u64,
    /// `repl-timeout`, in milliseconds.
    pub timeout_ms: u64,
    /// `min-replicas-to-write`; 0 disables the check.
    pub min_replicas_to_write: usize,
    /// `min-replicas-max-lag`, in milliseconds; 0 disables the check.
    pub min_replicas_max_lag_ms: u64,
    /// `client-output-buffer-limit replica`.
    pub output_limit: OutputLimit,
    /// Whether there are save points (`save`), so that a snapshot in a file is of use without replicas.
    pub save_points: bool,
}

impl Default for FeedConfig {
    fn default() -> Self {
        FeedConfig {
            backlog_size: 1 << 20,
            backlog_ttl_ms: 3_600_000,
            diskless_sync: true,
            diskless_sync_delay_ms: 5_000,
            diskless_sync_max_replicas: 0,
            ping_period_ms: 10_000,
            timeout_ms: 60_000,
            min_replicas_to_write: 0,
            min_replicas_max_lag_ms: 10_000,
            output_limit: OutputLimit::default(),
            save_points: true,
        }
    }
}

/// Names a replica for as long as it is attached; never used again afterwards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplicaId(u64);

/// Where our own stream comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upstream {
    /// From ourselves: we are a master.
    None,
    /// From a master whose link is down.
    Down,
    /// From a master whose stream we follow.
    Up,
}

/// Where a snapshot for replicas goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SnapshotTarget {
    /// To a file, which then is sent with its length announced.
    Disk,
    /// Straight to the replicas, ended by this mark.
    Sockets {
        /// What follows `$EOF:` before the payload, and the payload itself afterwards.
        eof_mark: [u8; REPLID_LEN],
    },
}

/// What the driver has to do.
#[derive(Debug)]
pub enum FeedOutput {
    /// Write this line to the replica's connection, outside the stream.
    Send {
        /// To whom.
        replica: ReplicaId,
        /// What.
        bytes: Vec<u8>,
    },
    /// From now on write to the replica what this reader gives.
    StartStream {
        /// To whom.
        replica: ReplicaId,
        /// The stream from where the replica is.
        reader: Reader,
    },
    /// Cut a snapshot, and call `snapshot_started` at the cut or `snapshot_failed` if there is none.
    StartSnapshot {
        /// What is left out.
        filter: super::options::RdbFilter,
        /// Whether it goes to sockets rather than to a file.
        to_sockets: bool,
    },
    /// Send the finished file to the replica, then call `payload_sent`.
    SendFile {
        /// To whom.
        replica: ReplicaId,
    },
    /// Nobody takes the snapshot any more: stop it.
    AbortSnapshot,
    /// Put these commands (PING, GETACK) in the stream, through the engine's door.
    Append(&'static [u8]),
    /// The replica is detached: close its connection, after sending what was put out for it.
    Close {
        /// Whose.
        replica: ReplicaId,
        /// Why.
        reason: CloseReason,
    },
    /// Log this.
    Log(LogLine),
}

/// Why a replica's connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The history changed under it; it will come back and learn how.
    LineageChanged,
    /// It was not heard for `repl-timeout`.
    Timeout,
    /// It lags by more than `client-output-buffer-limit replica`. The driver logs this one, as the
    /// text describes the client: `Client <info> scheduled to be closed ASAP for overcoming of output buffer limits.`
    OutputLimit,
    /// The snapshot for it failed.
    SnapshotFailed,
    /// It wanted a snapshot alone, and has it.
    RdbOnlyDone,
}

/// A request to be fed: SYNC, or PSYNC with its two arguments.
#[derive(Clone, Debug)]
pub struct SyncRequest<'a> {
    /// The id and the offset; `None` for SYNC.
    pub psync: Option<(&'a [u8], &'a [u8])>,
    /// What the connection has said with REPLCONF.
    pub options: &'a ReplicaOptions,
    /// The address that the connection comes from, without port.
    pub peer_ip: &'a str,
    /// Whether replies to earlier commands are still unsent.
    pub pending_output: bool,
}

/// The states of a replica, as its master sees it. There is no reader for one that wants no stream.
#[derive(Debug)]
pub(super) enum State {
    /// Waits for a snapshot that includes it.
    WaitStart,
    /// Takes part in the snapshot under way; what comes after the cut waits in the reader.
    WaitEnd(Option<Reader>),
    /// The file of a finished snapshot is being sent.
    SendBulk(Option<Reader>),
    /// The payload is sent, its end was marked: the stream is held until the first acknowledgement.
    OnlineHeld(Reader),
    /// Takes the stream.
    Online,
}

/// One replica, as its master sees it.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) options: ReplicaOptions,
    peer_ip: String,
    pub(super) state: State,
    /// Asked with SYNC: knows no offsets and never acknowledges.
    pub(super) pre_psync: bool,
    pub(super) attached_ms: u64,
    ack_offset: u64,
    fsynced_offset: u64,
    pub(super) ack_ms: u64,
    /// Acknowledged before the driver reported the end of its payload.
    early_ack: bool,
    /// Where the reader is, wherever the reader is.
    pub(super) probe: Option<ReaderProbe>,
    pub(super) soft_limit_since: Option<u64>,
    /// Since when a write of the snapshot has been stuck.
    pub(super) stuck_since: Option<u64>,
}

impl Replica {
    fn is_online(&self) -> bool {
        matches!(self.state, State::Online | State::OnlineHeld(_))
    }

    fn ip(&self) -> &str {
        self.options.ip_address.as_deref().unwrap_or(&self.peer_ip)
    }

    fn info(&self, now_ms: u64) -> ReplicaInfo {
        ReplicaInfo {
            ip: self.ip().to_owned(),
            port: self.options.listening_port,
            state: match self.state {
                State::WaitStart | State::WaitEnd(_) => "wait_bgsave",
                State::SendBulk(_) => "send_bulk",
                State::OnlineHeld(_) | State::Online => "online",
            },
            ack_offset: self.ack_offset,
            lag_seconds: if self.is_online() { now_ms.saturating_sub(self.ack_ms) / 1000 } else { 0 },
        }
    }

    /// How log lines call it.
    pub(super) fn name(&self) -> String {
        match (self.ip(), self.options.listening_port) {
            (ip, 0) => format!("{ip}:<unknown-replica-port>"),
            (ip, port) if ip.contains(':') => format!("[{ip}]:{port}"),
            (ip, port) => format!("{ip}:{port}"),
        }
    }
}

/// Figures for INFO stats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SyncStats {
    /// `sync_full`.
    pub full: u64,
    /// `sync_partial_ok`.
    pub partial_ok: u64,
    /// `sync_partial_err`.
    pub partial_err: u64,
}

/// The stream of a node and the replicas that take it. Lives under the engine's lock.
#[derive(Debug)]
pub struct Feed {
    pub(super) config: FeedConfig,
    pub(super) lineage: Lineage,
    pub(super) backlog: Option<Arc<Backlog>>,
    pub(super) upstream: Upstream,
    /// A FAILOVER is handing the mastership over.
    pub(super) failing_over: bool,
    /// We were a master before we were started, and wait to hear that we still are: whoever cannot
    /// continue has to wait with us.
    guarded: bool,
    /// Nothing may be put in the stream for now (CLIENT PAUSE of a failover or shutdown).
    pub(super) paused: bool,
    pub(super) replicas: BTreeMap<ReplicaId, Replica>,
    next_id: u64,
    pub(super) snapshot: super::schedule::Snapshot,
    /// The next effect must be preceded by SELECT.
    pub(super) select_needed: bool,
    ack_wanted: bool,
    good_replicas: usize,
    pub(super) no_replicas_since: u64,
    pub(super) next_tick: u64,
    pub(super) next_ping: u64,
    stats: SyncStats,
    pub(super) rng: StdRng,
    pub(super) outputs: VecDeque<FeedOutput>,
}

const GETACK: &[u8] = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";

impl Feed {
    /// A feed without replicas and without a backlog, on a history of its own.
    pub fn new(now_ms: u64, config: FeedConfig, mut rng: StdRng) -> Feed {
        Feed {
            lineage: Lineage::new(&mut rng),
            config,
            backlog: None,
            upstream: Upstream::None,
            failing_over: false,
            guarded: false,
            paused: false,
            replicas: BTreeMap::new(),
            next_id: 0,
            snapshot: super::schedule::Snapshot::default(),
            select_needed: true,
            ack_wanted: false,
            good_replicas: 0,
            no_replicas_since: now_ms,
            next_tick: now_ms + super::cron::TICK_MS,
            next_ping: now_ms,
            stats: SyncStats::default(),
            rng,
            outputs: VecDeque::new(),
        }
    }

    /// Adds effects to the stream, and returns its new offset. Without a backlog nobody can ever
    /// ask for these bytes, yet the offset moves by one, since WAITAOF counts on it.
    pub fn append(&mut self, now_ms: u64, bytes: &[u8]) -> u64 {
        match &self.backlog {
            Some(backlog) => {
                let before = backlog.end();
                self.lineage.advance(bytes.len() as u64);
                if backlog.append(bytes) {
                    // What was just added had no chance yet to be written to anybody.
                    self.check_output_limits(now_ms, before);
                }
            }
            None => self.lineage.advance(u64::from(!bytes.is_empty())),
        }
        self.lineage.offset()
    }

    /// Without a backlog nobody reads what is written, and yet the offset tells that there was a
    /// write: moves it on to `offset`.
    pub fn count_unread(&mut self, offset: u64) {
        debug_assert!(self.backlog.is_none(), "the offset counts the bytes of the backlog");
        self.lineage.advance(offset.saturating_sub(self.lineage.offset()));
    }

    /// What we hold goes on under a new name, so that nobody can continue (DEBUG CHANGE-REPL-ID).
    pub fn renew_history(&mut self) {
        self.lineage.renew(&mut self.rng);
    }

    /// SYNC or PSYNC. A replica that is accepted gets an id at once, and everything else later by
    /// `poll_output`. An error is its full text without the leading `-`.
    pub fn handle_sync(&mut self, now_ms: u64, request: &SyncRequest<'_>) -> Result<ReplicaId, String> {
        self.refuse_sync(request)?;
        let mut replica = Replica {
            options: request.options.clone(),
            peer_ip: request.peer_ip.to_owned(),
            state: State::WaitStart,
            pre_psync: request.psync.is_none(),
            attached_ms: now_ms,
            ack_offset: 0,
            fsynced_offset: 0,
            ack_ms: now_ms,
            early_ack: false,
            probe: None,
            soft_limit_since: None,
            stuck_since: None,
        };
        self.log(Level::Notice, format!("Replica {} asks for synchronization", replica.name()));
        let id = ReplicaId(self.next_id);
        if let Some((replid, offset)) = request.psync {
            let Some(offset) = parse_integer(offset) else {
                let name = replica.name();
                self.log(
                    Level::Warning,
                    format!("Replica {name} asks for synchronization but with a wrong offset"),
                );
                return Err("ERR value is not an integer or out of range".into());
            };
            if let Some(reader) = self.try_partial(&replica, replid, offset) {
                self.stats.partial_ok += 1;
                self.next_id += 1;
                let bytes = match replica.options.capabilities.psync2 {
                    true => format!("+CONTINUE {}\r\n", self.lineage.replid()).into_bytes(),
                    false => b"+CONTINUE\r\n".to_vec(),
                };
                self.lineage.tell();
                self.lift_guard(&format!("replica {} continues with it", replica.name()));
                replica.state = State::Online;
                replica.probe = Some(reader.probe());
                self.join(now_ms, id, replica);
                self.outputs.push_back(FeedOutput::Send { replica: id, bytes });
                self.outputs.push_back(FeedOutput::StartStream { replica: id, reader });
                self.refresh_good_replicas(now_ms);
                return Ok(id);
            }
            self.stats.partial_err += u64::from(!replid.starts_with(b"?"));
        }
        if self.guarded && !request.options.rdb_only {
            // It may hold more than we do, which a snapshot of ours would destroy.
            return Err("NOMASTERLINK Can't SYNC while this former master waits to be confirmed (master-rejoin-guard)".into());
        }
        self.stats.full += 1;
        self.next_id += 1;
        self.join(now_ms, id, replica);
        if self.replicas.len() == 1 && self.backlog.is_none() {
            self.lineage.renew(&mut self.rng);
            self.create_backlog();
            let (ours, second) = (self.lineage.replid(), self.lineage.replid2());
            self.log(
                Level::Notice,
                format!("Replication backlog created, my new replication IDs are '{ours}' and '{second}'"),
            );
        }
        self.schedule_full_sync(now_ms, id);
        Ok(id)
    }

    /// Adds a replica. What is due once a period counts from when there is somebody to hear it; while there was nobody,
    /// no timer ran.
    fn join(&mut self, now_ms: u64, id: ReplicaId, replica: Replica) {
        if self.replicas.is_empty() {
            self.next_ping = now_ms + self.config.ping_period_ms;
        }
        self.replicas.insert(id, replica);
    }

    fn refuse_sync(&self, request: &SyncRequest<'_>) -> Result<(), String> {
        let text = if self.failing_over {
            "NOMASTERLINK Can't SYNC while failing over"
        } else if self.upstream == Upstream::Down {
            "NOMASTERLINK Can't SYNC while not connected with my master"
        } else if request.pending_output {
            "ERR SYNC and PSYNC are invalid with pending output"
        } else if request.options.filter.is_filtered() && !request.options.capabilities.eof {
            "ERR Filtered replica requires EOF capability"
        } else {
            return Ok(());
        };
        Err(text.into())
    }

    fn try_partial(&mut self, replica: &Replica, id: &[u8], offset: i64) -> Option<Reader> {
        let name = replica.name();
        let decision = self.lineage.can_continue(id, offset, self.backlog.as_deref());
        let wanted = String::from_utf8_lossy(id);
        let (ours, second) = (self.lineage.replid(), self.lineage.replid2());
        match decision {
            Ok(position) => {
                let reader = self.backlog.as_ref()?.reader(position)?;
                let len = self.lineage.offset() - position;
                self.log(Level::Notice, format!(
                    "Partial resynchronization request from {name} accepted. Sending {len} bytes of backlog starting from offset {offset}."
                ));
                return Some(reader);
            }
            Err(Mismatch::UnknownId) if id.starts_with(b"?") => {
                self.log(Level::Notice, format!("Full resync requested by replica {name}"));
            }
            Err(Mismatch::UnknownId) => self.log(Level::Notice, format!(
                "Partial resynchronization not accepted: Replication ID mismatch (Replica asked for '{wanted}', my replication IDs are '{ours}' and '{second}')"
            )),
            Err(Mismatch::BeyondSecond { limit }) => self.log(Level::Notice, format!(
                "Partial resynchronization not accepted: Requested offset for second ID was {offset}, but I can reply up to {limit}"
            )),
            Err(Mismatch::NotInBacklog) => {
                self.log(Level::Notice, format!(
                    "Unable to partial resync with replica {name} for lack of backlog (Replica request was: {offset})."
                ));
                if u64::try_from(offset).is_ok_and(|offset| offset > self.lineage.offset()) {
                    self.log(Level::Warning, format!(
                        "Warning: replica {name} tried to PSYNC with an offset that is greater than the master replication offset."
                    ));
                }
            }
        }
        None
    }

    /// The driver has written the whole payload, end mark included, to this replica.
    pub fn payload_sent(&mut self, now_ms: u64, id: ReplicaId) {
        let Some(replica) = self.replicas.get_mut(&id) else { return };
        let name = replica.name();
        let (reader, held) = match std::mem::replace(&mut replica.state, State::Online) {
            State::WaitEnd(reader) => (reader, true),
            State::SendBulk(reader) => (reader, false),
            other => {
                replica.state = other;
                return;
            }
        };
        let stream_now = !held || replica.early_ack || replica.pre_psync;
        replica.ack_ms = now_ms;
        let Some(reader) = reader else {
            self.log(
                Level::Notice,
                format!("RDB transfer completed, rdb only replica ({name}) should be disconnected asap"),
            );
            return self.drop_replica(now_ms, id, CloseReason::RdbOnlyDone);
        };
        if stream_now {
            self.outputs.push_back(FeedOutput::StartStream { replica: id, reader });
        } else {
            replica.state = State::OnlineHeld(reader);
        }
        if held {
            self.log(Level::Notice, format!(
                "Streamed RDB transfer with replica {name} succeeded (socket). Waiting for REPLCONF ACK from replica to enable streaming"
            ));
        }
        self.log(Level::Notice, format!("Synchronization with replica {name} succeeded"));
        self.refresh_good_replicas(now_ms);
    }

    /// The driver wrote a part of the payload; `stuck` if the socket took less than it was given.
    pub fn payload_progress(&mut self, now_ms: u64, id: ReplicaId, stuck: bool) {
        if let Some(replica) = self.replicas.get_mut(&id) {
            replica.stuck_since = stuck.then_some(now_ms);
        }
    }

    /// REPLCONF ACK from a replica. Returns whether it acknowledged more than before, which is when
    /// WAIT and WAITAOF are worth another look.
    pub fn handle_ack(&mut self, now_ms: u64, id: ReplicaId, offset: i64, fsynced: Option<i64>) -> bool {
        let Some(replica) = self.replicas.get_mut(&id) else { return false };
        let before = (replica.ack_offset, replica.fsynced_offset);
        let at_least = |old: u64, new: i64| old.max(u64::try_from(new).unwrap_or(0));
        replica.ack_offset = at_least(replica.ack_offset, offset);
        replica.fsynced_offset = at_least(replica.fsynced_offset, fsynced.unwrap_or(-1));
        replica.ack_ms = now_ms;
        let advanced = before != (replica.ack_offset, replica.fsynced_offset);
        match std::mem::replace(&mut replica.state, State::Online) {
            State::OnlineHeld(reader) => {
                self.outputs.push_back(FeedOutput::StartStream { replica: id, reader });
            }
            other => {
                replica.early_ack |= matches!(other, State::WaitEnd(_));
                replica.state = other;
            }
        }
        advanced
    }

    /// The newline by which a replica that is loading shows that it lives.
    pub fn handle_newline(&mut self, now_ms: u64, id: ReplicaId) {
        if let Some(replica) = self.replicas.get_mut(&id) {
            replica.ack_ms = now_ms;
        }
    }

    /// The replica's connection is gone.
    pub fn detached(&mut self, now_ms: u64, id: ReplicaId) {
        let Some(replica) = self.replicas.remove(&id) else { return };
        self.log(Level::Notice, format!("Connection with replica {} lost.", replica.name()));
        if self.replicas.is_empty() {
            self.no_replicas_since = now_ms;
        }
        self.refresh_good_replicas(now_ms);
        self.abort_snapshot_without_takers();
    }

    pub(super) fn drop_replica(&mut self, now_ms: u64, id: ReplicaId, reason: CloseReason) {
        self.outputs.push_back(FeedOutput::Close { replica: id, reason });
        self.detached(now_ms, id);
    }

    /// Closes all replicas' connections: they come back, and learn of the new history.
    pub fn disconnect_replicas(&mut self, now_ms: u64) {
        let ids: Vec<ReplicaId> = self.replicas.keys().copied().collect();
        ids.into_iter().for_each(|id| self.drop_replica(now_ms, id, CloseReason::LineageChanged));
    }

    /// What the node holds is about to be replaced by another history.
    pub(super) fn drop_history(&mut self, now_ms: u64) {
        self.disconnect_replicas(now_ms);
        self.backlog = None;
    }

    /// The time to live of the backlog counts from here.
    pub(super) fn start_without_replicas(&mut self, now_ms: u64) {
        self.no_replicas_since = now_ms;
    }

    pub(super) fn create_backlog(&mut self) {
        self.backlog = Some(Backlog::new(self.lineage.offset(), self.config.backlog_size));
    }

    /// Asks all replicas to acknowledge at once. However many ask in one turn, one GETACK goes out.
    pub fn request_acks(&mut self) {
        self.ack_wanted = true;
    }

    /// Online replicas that have applied the stream up to `offset` (WAIT).
    pub fn count_acks(&self, offset: u64) -> usize {
        self.replicas.values().filter(|r| r.is_online() && r.ack_offset >= offset).count()
    }

    /// Online replicas that have it up to `offset` in an AOF on disk (WAITAOF).
    pub fn count_fsynced(&self, offset: u64) -> usize {
        self.replicas.values().filter(|r| r.is_online() && r.fsynced_offset >= offset).count()
    }

    /// Whether `min-replicas-to-write` allows writes; always true on a replica.
    pub fn enough_good_replicas(&self) -> bool {
        self.upstream != Upstream::None
            || !self.checks_good_replicas()
            || self.good_replicas >= self.config.min_replicas_to_write
    }

    pub(super) fn checks_good_replicas(&self) -> bool {
        self.config.min_replicas_to_write > 0 && self.config.min_replicas_max_lag_ms > 0
    }

    pub(super) fn refresh_good_replicas(&mut self, now_ms: u64) {
        let max_lag = self.config.min_replicas_max_lag_ms;
        let good = |r: &&Replica| r.is_online() && now_ms.saturating_sub(r.ack_ms) / 1000 * 1000 <= max_lag;
        self.good_replicas = self.replicas.values().filter(good).count();
    }

    /// The next thing to do, in order.
    pub fn poll_output(&mut self) -> Option<FeedOutput> {
        // What is asked for during a pause is asked for after it.
        if self.outputs.is_empty()
            && !self.paused
            && std::mem::take(&mut self.ack_wanted)
            && self.may_inject()
        {
            return Some(FeedOutput::Append(GETACK));
        }
        self.outputs.pop_front()
    }

    /// Whether SELECT must precede the next effect even if the database is the same: after a cut,
    /// whose takers start without one, and after a promotion. Asking clears it.
    pub fn take_select_needed(&mut self) -> bool {
        std::mem::take(&mut self.select_needed)
    }

    /// Stops or resumes PING and GETACK, whose bytes would keep the offsets from becoming equal.
    pub fn set_paused(&mut self, paused: bool) {
        self.paused = paused;
    }

    /// Puts GETACK into the stream although it may be about to stand still, or stand still already.
    pub fn put_getack(&mut self) {
        self.outputs.push_back(FeedOutput::Append(GETACK));
    }

    /// We were a master before we were started, and others may have gone on without us.
    pub fn set_guard(&mut self) {
        if !std::mem::replace(&mut self.guarded, true) {
            self.log(Level::Warning, "This node was a master before it was started, or fed replicas of its own: it refuses writes until a replica continues with it, a Sentinel confirms it, or REPLICAOF NO ONE says that it is the master (master-rejoin-guard)".into());
        }
    }

    /// Whether we wait to hear that we are still the master.
    pub fn is_guarded(&self) -> bool {
        self.guarded
    }

    /// The wait is over, for this reason. Returns whether there was one.
    pub fn lift_guard(&mut self, reason: &str) -> bool {
        let guarded = std::mem::take(&mut self.guarded);
        if guarded {
            self.log(Level::Notice, format!("This former master waits no longer: {reason}"));
        }
        guarded
    }

    /// Refuses new replicas while a FAILOVER hands the mastership over.
    pub fn set_failing_over(&mut self, failing_over: bool) {
        self.failing_over = failing_over;
    }

    /// Takes over changed directives.
    pub fn set_config(&mut self, now_ms: u64, config: FeedConfig) {
        if let Some(backlog) = &self.backlog {
            backlog.set_size_limit(config.backlog_size);
        }
        self.config = config;
        self.next_ping = self.next_ping.min(now_ms + self.config.ping_period_ms);
        self.refresh_good_replicas(now_ms);
    }

    /// The ids and offset of our history.
    pub fn lineage(&self) -> &Lineage {
        &self.lineage
    }

    /// The backlog, if there is one.
    pub fn backlog(&self) -> Option<&Arc<Backlog>> {
        self.backlog.as_ref()
    }

    /// Figures for INFO stats.
    pub fn stats(&self) -> SyncStats {
        self.stats
    }

    /// The online replicas that have acknowledged exactly the stream up to `offset`: address and port.
    pub(super) fn online_with(&self, offset: u64) -> impl Iterator<Item = (String, u16)> {
        let has_all = move |r: &&Replica| r.is_online() && r.ack_offset == offset;
        self.replicas.values().filter(has_all).filter_map(|r| {
            let port = u16::try_from(r.options.listening_port).ok().filter(|port| *port > 0)?;
            Some((r.ip().to_owned(), port))
        })
    }

    /// The replica that is known by this address and port.
    pub(super) fn replica_at(&self, host: &str, port: u16) -> Option<ReplicaInfo> {
        let mut replicas = self.replicas.values();
        let place = |r: &&Replica| {
            port > 0 && r.options.listening_port == i64::from(port) && r.ip().eq_ignore_ascii_case(host)
        };
        replicas.find(place).map(|r| r.info(0))
    }

    /// The replicas that have not acknowledged exactly the stream up to `offset`, in any state: how
    /// the log names each and what it lacks.
    pub fn lagging(&self, now_ms: u64, offset: u64) -> Vec<String> {
        let lags = |r: &&Replica| r.ack_offset != offset;
        let describe = |r: &Replica| {
            let ReplicaInfo { state, ack_offset, lag_seconds, .. } = r.info(now_ms);
            let behind = offset as i64 - ack_offset as i64;
            format!("{} reported offset {behind} behind master, lag={lag_seconds}, state={state}", r.name())
        };
        self.replicas.values().filter(lags).map(describe).collect()
    }

    /// Number of attached replicas in any state.
    pub fn replica_count(&self) -> usize {
        self.replicas.len()
    }

    /// The `slaveN` lines of INFO.
    pub fn replica_infos(&self, now_ms: u64) -> Vec<ReplicaInfo> {
        self.replicas.values().map(|replica| replica.info(now_ms)).collect()
    }

    /// `min_slaves_good_slaves`, if the check is in force.
    pub fn good_replicas(&self) -> Option<usize> {
        self.checks_good_replicas().then_some(self.good_replicas)
    }

    /// The backlog's fields of INFO.
    pub fn backlog_info(&self) -> BacklogInfo {
        let size = self.config.backlog_size.max(super::backlog::BACKLOG_MIN_SIZE);
        let Some(backlog) = &self.backlog else { return BacklogInfo { size, ..BacklogInfo::default() } };
        let span = backlog.span();
        BacklogInfo {
            active: true,
            size,
            first_byte_offset: span.start + 1,
            histlen: span.end - span.start,
            memory_bytes: backlog.memory_bytes(),
        }
    }

    /// Gives a replica its place in the snapshot that was cut at `position`: FULLRESYNC, and a
    /// reader that holds everything after the cut.
    pub(super) fn join_snapshot(&mut self, id: ReplicaId, replid: ReplId, position: u64) -> bool {
        let Some(replica) = self.replicas.get_mut(&id) else { return false };
        let Some(reader) = self.backlog.as_ref().and_then(|backlog| backlog.reader(position)) else {
            return false;
        };
        // A client that wants no stream must neither hold the backlog nor be dropped for not reading it.
        let reader = (!replica.options.rdb_only).then_some(reader);
        replica.probe = reader.as_ref().map(Reader::probe);
        replica.state = State::WaitEnd(reader);
        self.lineage.tell();
        if !replica.pre_psync {
            let bytes = format!("+FULLRESYNC {replid} {position}\r\n").into_bytes();
            self.outputs.push_back(FeedOutput::Send { replica: id, bytes });
        }
        true
    }

    /// Puts a line out for the log.
    pub fn log(&mut self, level: Level, text: String) {
        self.outputs.push_back(FeedOutput::Log(LogLine { level, text }));
    }
}
