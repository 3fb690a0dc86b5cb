//! When snapshots for replicas start, and who takes part in which.
//!
//! One snapshot at a time. A replica joins the one under way if that goes to a file and another
//! replica that can do no more than it waits for the same; otherwise it waits for the next. A
//! snapshot that goes straight to sockets cannot be joined, which is why it waits a little
//! (`repl-diskless-sync-delay`) for others to arrive. Filtered snapshots always go to sockets,
//! lest they replace the data set's own file. The rules are Redis 7.2's.

use super::Level;
use super::lineage::{ReplId, random_hex};
use super::master::{CloseReason, Feed, FeedOutput, ReplicaId, SnapshotTarget, State};
use super::options::{Capabilities, RdbFilter};

/// Where the snapshots stand.
#[derive(Debug, Default)]
pub(super) struct Snapshot {
    phase: Phase,
    /// Something else (BGSAVE, an AOF rewrite, a migration) has the one cut that there can be.
    busy: bool,
}

#[derive(Debug, Default)]
enum Phase {
    #[default]
    Idle,
    /// The driver was asked to cut one.
    Asked {
        filter: RdbFilter,
        to_sockets: bool,
    },
    Running(Running),
}

#[derive(Debug)]
struct Running {
    to_sockets: bool,
    filter: RdbFilter,
    replid: ReplId,
    position: u64,
    aborted: bool,
}

/// A snapshot at its cut: who takes it, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotStart {
    /// Where it goes.
    pub target: SnapshotTarget,
    /// The replicas that take part from the start. With a file, others may join later, and
    /// `SendFile` names them all.
    pub replicas: Vec<ReplicaId>,
}

/// The replicas that the next snapshot would be for.
struct Waiting {
    filter: RdbFilter,
    capabilities: Capabilities,
    count: usize,
    since_ms: u64,
}

impl Snapshot {
    pub(super) fn is_to_sockets(&self) -> bool {
        matches!(&self.phase, Phase::Running(running) if running.to_sockets)
    }
}

impl Feed {
    /// Puts a replica that needs everything on its way.
    pub(super) fn schedule_full_sync(&mut self, now_ms: u64, id: ReplicaId) {
        let text = match &self.snapshot.phase {
            Phase::Running(running) if running.to_sockets => {
                Some("Current BGSAVE has socket target. Waiting for next BGSAVE for SYNC")
            }
            Phase::Running(running) => {
                let (replid, position) = (running.replid, running.position);
                if self.can_join(id) && self.join_snapshot(id, replid, position) {
                    Some("Waiting for end of BGSAVE for SYNC")
                } else {
                    Some("Can't attach the replica to the current BGSAVE. Waiting for next BGSAVE for SYNC")
                }
            }
            Phase::Asked { .. } => None,
            Phase::Idle if self.snapshot.busy => Some(
                "No BGSAVE in progress, but another BG operation is active. BGSAVE for replication delayed",
            ),
            Phase::Idle if self.snapshot_due().is_some_and(|due| due > now_ms) => {
                Some("Delay next BGSAVE for diskless SYNC")
            }
            Phase::Idle => None,
        };
        if let Some(text) = text {
            self.log(Level::Notice, text.into());
        }
        self.start_snapshot_if_due(now_ms);
    }

    /// Whether a replica of the snapshot under way can share its place with this one: it holds the
    /// stream from the cut on, and the snapshot was made for no more than this one can take.
    fn can_join(&self, id: ReplicaId) -> bool {
        let Phase::Running(running) = &self.snapshot.phase else { return false };
        let Some(options) = self.replicas.get(&id).map(|replica| &replica.options) else { return false };
        let waits = |state: &State| matches!(state, State::WaitEnd(_));
        let leader = self
            .replicas
            .values()
            .find(|other| waits(&other.state) && (options.rdb_only || !other.options.rdb_only));
        options.filter == running.filter
            && leader.is_some_and(|leader| options.capabilities.covers(leader.options.capabilities))
    }

    fn waiting(&self) -> Option<Waiting> {
        let mut all = self.replicas.values().filter(|replica| matches!(replica.state, State::WaitStart));
        let first = all.next()?;
        let mut waiting = Waiting {
            filter: first.options.filter,
            capabilities: first.options.capabilities,
            count: 1,
            since_ms: first.attached_ms,
        };
        for replica in all.filter(|replica| replica.options.filter == waiting.filter) {
            waiting.capabilities = waiting.capabilities.and(replica.options.capabilities);
            waiting.count += 1;
            waiting.since_ms = waiting.since_ms.min(replica.attached_ms);
        }
        Some(waiting)
    }

    /// When the next snapshot is to start; `None` if nobody waits or none can start now.
    pub(super) fn snapshot_due(&self) -> Option<u64> {
        if self.snapshot.busy || !matches!(self.snapshot.phase, Phase::Idle) {
            return None;
        }
        let waiting = self.waiting()?;
        let enough = self.config.diskless_sync_max_replicas;
        let at_once = !self.config.diskless_sync
            || !waiting.capabilities.eof
            || (enough > 0 && waiting.count >= enough);
        let delay = if at_once { 0 } else { self.config.diskless_sync_delay_ms };
        Some(waiting.since_ms + delay)
    }

    pub(super) fn start_snapshot_if_due(&mut self, now_ms: u64) {
        if self.snapshot_due().is_none_or(|due| due > now_ms) {
            return;
        }
        let Some(Waiting { filter, capabilities, .. }) = self.waiting() else { return };
        let to_sockets = (self.config.diskless_sync || filter.is_filtered()) && capabilities.eof;
        let target = if to_sockets { "replicas sockets" } else { "disk" };
        self.log(Level::Notice, format!("Starting BGSAVE for SYNC with target: {target}"));
        self.snapshot.phase = Phase::Asked { filter, to_sockets };
        self.outputs.push_back(FeedOutput::StartSnapshot { filter, to_sockets });
    }

    /// The driver calls this at the cut, with the engine locked, so that the snapshot holds exactly
    /// what the stream says up to now. `None` if it was not asked for a snapshot. The effect that
    /// follows has to be preceded by SELECT ([`Feed::take_select_needed`]).
    pub fn snapshot_started(&mut self, now_ms: u64) -> Option<SnapshotStart> {
        let Phase::Asked { filter, to_sockets } = self.snapshot.phase else { return None };
        let (replid, position) = (self.lineage.replid(), self.lineage.offset());
        self.snapshot.phase =
            Phase::Running(Running { to_sockets, filter, replid, position, aborted: false });
        self.select_needed = true;
        let takers: Vec<ReplicaId> = self
            .replicas
            .iter()
            .filter(|(_, replica)| {
                matches!(replica.state, State::WaitStart) && replica.options.filter == filter
            })
            .filter(|(_, replica)| !to_sockets || replica.options.capabilities.eof)
            .map(|(id, _)| *id)
            .collect();
        let (replicas, homeless): (Vec<_>, Vec<_>) =
            takers.into_iter().partition(|id| self.join_snapshot(*id, replid, position));
        homeless.into_iter().for_each(|id| self.drop_replica(now_ms, id, CloseReason::SnapshotFailed));
        let target = match to_sockets {
            true => SnapshotTarget::Sockets { eof_mark: random_hex(&mut self.rng) },
            false => SnapshotTarget::Disk,
        };
        self.abort_snapshot_without_takers();
        Some(SnapshotStart { target, replicas })
    }

    /// No snapshot could be started: whoever waits for one is told so and goes.
    pub fn snapshot_failed(&mut self, now_ms: u64) {
        self.snapshot.phase = Phase::Idle;
        self.log(Level::Warning, "BGSAVE for replication failed".into());
        let waits = |state: &State| matches!(state, State::WaitStart);
        for id in self.replicas_in(waits) {
            let bytes = b"-ERR BGSAVE failed, replication can't continue\r\n".to_vec();
            self.outputs.push_back(FeedOutput::Send { replica: id, bytes });
            self.drop_replica(now_ms, id, CloseReason::SnapshotFailed);
        }
    }

    /// The snapshot has ended. To sockets that means that all of it, end mark included, was given to
    /// every replica that is still there.
    pub fn snapshot_finished(&mut self, now_ms: u64, succeeded: bool) {
        let Phase::Running(running) = std::mem::take(&mut self.snapshot.phase) else { return };
        let takers = self.replicas_in(|state| matches!(state, State::WaitEnd(_)));
        if succeeded && running.to_sockets {
            let up = takers.len();
            self.log(
                Level::Notice,
                format!("Diskless rdb transfer, done reading from pipe, {up} replicas still up."),
            );
        }
        for id in takers {
            if !succeeded {
                self.log(Level::Warning, "SYNC failed. BGSAVE child returned an error".into());
                self.drop_replica(now_ms, id, CloseReason::SnapshotFailed);
            } else if running.to_sockets {
                self.payload_sent(now_ms, id);
            } else if let Some(replica) = self.replicas.get_mut(&id)
                && let State::WaitEnd(reader) = std::mem::replace(&mut replica.state, State::WaitStart)
            {
                replica.state = State::SendBulk(reader);
                self.outputs.push_back(FeedOutput::SendFile { replica: id });
            }
        }
        self.start_snapshot_if_due(now_ms);
    }

    /// The driver says whether something other than replication uses the one cut that there can be.
    pub fn set_background_busy(&mut self, now_ms: u64, busy: bool) {
        self.snapshot.busy = busy;
        self.start_snapshot_if_due(now_ms);
    }

    /// A snapshot that nobody takes any more is not worth finishing, unless it is in a file that
    /// also serves as the save that the save points ask for.
    pub(super) fn abort_snapshot_without_takers(&mut self) {
        if !self.replicas_in(|state| matches!(state, State::WaitEnd(_))).is_empty() {
            return;
        }
        let Phase::Running(running) = &mut self.snapshot.phase else { return };
        let worth_it = !running.to_sockets && self.config.save_points;
        if worth_it || std::mem::replace(&mut running.aborted, true) {
            return;
        }
        let text = match running.to_sockets {
            true => "Diskless rdb transfer, last replica dropped, killing fork child.",
            false => "No replica waits for the snapshot any more: it is called off.",
        };
        self.log(Level::Warning, text.into());
        self.outputs.push_back(FeedOutput::AbortSnapshot);
    }

    fn replicas_in(&self, matches: impl Fn(&State) -> bool) -> Vec<ReplicaId> {
        self.replicas.iter().filter(|(_, replica)| matches(&replica.state)).map(|(id, _)| *id).collect()
    }
}
