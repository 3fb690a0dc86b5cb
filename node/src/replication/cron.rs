//! What the feeding side does by the clock: keeps replicas awake, drops the silent and the slow,
//! frees the backlog that nobody uses.

use super::Level;
use super::master::{CloseReason, Feed, FeedOutput, Replica, ReplicaId, State, Upstream};

/// How often waiting replicas are kept awake and all are checked, in milliseconds.
pub(super) const TICK_MS: u64 = 1_000;
const PING: &[u8] = b"*1\r\n$4\r\nPING\r\n";

impl Feed {
    /// When `handle_timeout` wants to be called next.
    pub fn poll_timeout(&self) -> Option<u64> {
        let idle = self.replicas.is_empty() && self.backlog.is_none();
        let tick = (!idle).then_some(self.next_tick);
        tick.into_iter().chain(self.snapshot_due()).min()
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        self.start_snapshot_if_due(now_ms);
        if now_ms < self.next_tick {
            return;
        }
        self.next_tick = now_ms + TICK_MS;
        self.ping(now_ms);
        self.keep_waiting_replicas_awake();
        self.drop_silent_replicas(now_ms);
        if let Some(end) = self.backlog.as_ref().map(|backlog| backlog.end()) {
            self.check_output_limits(now_ms, end);
        }
        self.expire_backlog(now_ms);
        self.refresh_good_replicas(now_ms);
    }

    /// A replica injects nothing into the stream that it passes on, nor does a paused master.
    pub(super) fn may_inject(&self) -> bool {
        self.upstream == Upstream::None && !self.paused && !self.replicas.is_empty()
    }

    fn ping(&mut self, now_ms: u64) {
        if !self.may_inject() {
            self.next_ping = now_ms + self.config.ping_period_ms;
        } else if now_ms >= self.next_ping {
            self.next_ping = now_ms + self.config.ping_period_ms;
            self.outputs.push_back(FeedOutput::Append(PING));
        }
    }

    fn keep_waiting_replicas_awake(&mut self) {
        let to_sockets = self.snapshot.is_to_sockets();
        for (id, replica) in &self.replicas {
            let waits = match replica.state {
                State::WaitStart => true,
                State::WaitEnd(_) => !to_sockets,
                _ => false,
            };
            if waits {
                self.outputs.push_back(FeedOutput::Send { replica: *id, bytes: b"\n".to_vec() });
            }
        }
    }

    fn drop_silent_replicas(&mut self, now_ms: u64) {
        let timeout = self.config.timeout_ms;
        let late = |since: u64| now_ms.saturating_sub(since) > timeout;
        let silent: Vec<(ReplicaId, &str, String)> = self
            .replicas
            .iter()
            .filter_map(|(id, replica)| {
                let phase = match replica.state {
                    State::Online | State::OnlineHeld(_) if !replica.pre_psync && late(replica.ack_ms) => {
                        "streaming sync"
                    }
                    State::WaitEnd(_) if replica.stuck_since.is_some_and(late) => "full sync",
                    _ => return None,
                };
                Some((*id, phase, replica.name()))
            })
            .collect();
        for (id, phase, name) in silent {
            self.log(Level::Warning, format!("Disconnecting timedout replica ({phase}): {name}"));
            self.drop_replica(now_ms, id, CloseReason::Timeout);
        }
    }

    /// Drops the replicas that have left too much unread of the stream up to `end`.
    pub(super) fn check_output_limits(&mut self, now_ms: u64, end: u64) {
        let (limit, backlog_size) = (self.config.output_limit, self.config.backlog_size);
        let over = |replica: &mut Replica| {
            let pending = replica.probe.as_ref().map_or(0, |probe| probe.lag(end));
            limit.exceeded(now_ms, pending, backlog_size, &mut replica.soft_limit_since)
        };
        let lagging: Vec<ReplicaId> =
            self.replicas.iter_mut().filter_map(|(id, replica)| over(replica).then_some(*id)).collect();
        lagging.into_iter().for_each(|id| self.drop_replica(now_ms, id, CloseReason::OutputLimit));
    }

    /// Without a backlog the offset no longer counts what is written, so that the history must not
    /// go on under the same name: somebody who has its beginning could wrongly be let continue.
    fn expire_backlog(&mut self, now_ms: u64) {
        let ttl = self.config.backlog_ttl_ms;
        let idle = self.replicas.is_empty() && self.upstream == Upstream::None && self.backlog.is_some();
        if !idle || self.is_guarded() || ttl == 0 || now_ms.saturating_sub(self.no_replicas_since) <= ttl {
            return;
        }
        self.lineage.renew(&mut self.rng);
        self.backlog = None;
        let seconds = ttl / 1000;
        self.log(
            Level::Notice,
            format!("Replication backlog freed after {seconds} seconds without connected replicas."),
        );
    }
}
