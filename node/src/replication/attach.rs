//! How a replica comes to be fed: SYNC and PSYNC, and what stands against them.
//!
//! A replica that can go on where it is gets the stream from there. Any other waits for a snapshot
//! (`schedule.rs`), unless we are a former master that waits to be confirmed: it might hold more than we
//! do, and would lose it.

use redoubt_wire::resp::number::parse_integer;

use super::Level;
use super::backlog::Reader;
use super::lineage::{Mismatch, ReplId};
use super::master::{Feed, FeedOutput, Replica, ReplicaId, State, SyncRequest, Upstream};

impl Feed {
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
}
