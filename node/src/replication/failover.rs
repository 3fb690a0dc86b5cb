//! FAILOVER: a master hands its role over to a replica that has everything.
//!
//! The stream stands still (the engine pauses writes) until a replica has acknowledged all of it;
//! then this node follows that replica, with a PSYNC that asks it to take over. There is never a
//! moment with two masters that take writes: ours are paused until we are a replica, or know that
//! we stay the master.
//!
//! One rule is stricter than Redis's. A connection that breaks after the request was sent and
//! before it was answered says nothing about whether the target took over, so that we do not become
//! a master again but ask again (see `handshake.rs`). It is FAILOVER ABORT that ends the attempt if
//! the target never comes back.

use super::Level;
use super::info::FailoverState;
use super::replica::Takeover;
use super::role::Replication;

/// What FAILOVER asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FailoverRequest {
    /// Address and port of the replica, as INFO shows them; without it, whichever has all first.
    pub target: Option<(String, u16)>,
    /// How long to wait for the target to have everything, in ms; 0 for as long as it takes.
    pub timeout_ms: u64,
    /// Have the target take over after the timeout although it lacks writes.
    pub force: bool,
}

/// What the engine has to do for a FAILOVER under way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FailoverStep {
    /// Follow this replica, which is asked to take over.
    Follow(String, u16),
    /// The target is the master now: writes go to it, and ours need not be paused.
    Done,
    /// There will be no change of roles: we are still a master.
    GivenUp,
    /// The target refused to take over: be a master again.
    Refused,
}

/// A FAILOVER under way.
#[derive(Debug)]
pub(super) struct Failover {
    target: Option<(String, u16)>,
    deadline_ms: Option<u64>,
    force: bool,
    pub(super) state: FailoverState,
}

impl Failover {
    fn target_name(&self) -> String {
        self.target.as_ref().map_or("any replica".into(), |(host, port)| format!("{host}:{port}"))
    }
}

impl Replication {
    /// FAILOVER: begins to wait for a replica that has everything up to `offset`. The engine pauses
    /// writes if this succeeds.
    ///
    /// # Errors
    /// The text of the error reply.
    pub fn start_failover(
        &mut self,
        now_ms: u64,
        offset: u64,
        request: FailoverRequest,
    ) -> Result<(), &'static str> {
        let FailoverRequest { target, timeout_ms, force } = request;
        if self.failover.is_some() {
            return Err("ERR FAILOVER already in progress.");
        }
        if self.link().is_some() {
            return Err("ERR FAILOVER is not valid when server is a replica.");
        }
        if self.feed.replica_count() == 0 {
            return Err("ERR FAILOVER requires connected replicas.");
        }
        if force && (timeout_ms == 0 || target.is_none()) {
            return Err("ERR FAILOVER with force option requires both a timeout and target HOST and IP.");
        }
        if let Some((host, port)) = &target {
            match self.feed.replica_at(host, *port) {
                None => return Err("ERR FAILOVER target HOST and PORT is not a replica."),
                Some(replica) if replica.state != "online" => {
                    return Err("ERR FAILOVER target replica is not online.");
                }
                Some(_) => {}
            }
        }
        let deadline_ms = (timeout_ms > 0).then(|| now_ms.saturating_add(timeout_ms));
        let failover = Failover { target, deadline_ms, force, state: FailoverState::WaitingForSync };
        let target = failover.target_name();
        self.feed.log(Level::Notice, format!("FAILOVER requested to {target}."));
        if self.caught_up(&failover, offset).is_none() {
            // The last that enters the stream before it stands still; what would otherwise be
            // waited for is the replicas' own next acknowledgement, up to a second from now.
            self.feed.put_getack();
        }
        self.failover = Some(failover);
        self.feed.set_failing_over(true);
        Ok(())
    }

    /// FAILOVER ABORT: what the engine has to do; `None` if there is nothing to abort.
    pub fn abort_failover(&mut self) -> Option<FailoverStep> {
        self.failover.is_some().then(|| self.give_up("Failover manually aborted"))
    }

    /// Progress of FAILOVER.
    pub fn failover_state(&self) -> FailoverState {
        self.failover.as_ref().map_or(FailoverState::NoFailover, |failover| failover.state)
    }

    /// When `failover_step` has to be called even if nothing happens.
    pub(super) fn failover_deadline(&self) -> Option<u64> {
        self.failover.as_ref().filter(|f| f.state == FailoverState::WaitingForSync)?.deadline_ms
    }

    /// What is due: to be called whenever something has happened, with the offset after the last
    /// write.
    pub fn failover_step(&mut self, now_ms: u64, offset: u64) -> Option<FailoverStep> {
        let failover = self.failover.as_ref()?;
        if failover.state == FailoverState::InProgress {
            return match self.link()?.takeover() {
                Takeover::Granted => {
                    self.end_failover();
                    Some(FailoverStep::Done)
                }
                Takeover::Refused => Some(self.give_up("Failover target rejected psync request")),
                Takeover::None | Takeover::Wanted { .. } => None,
            };
        }
        let late = failover.deadline_ms.is_some_and(|deadline| now_ms >= deadline);
        let target = match late {
            true if failover.force => failover.target.clone(),
            true => return Some(self.give_up("Replica never caught up before timeout")),
            false => self.caught_up(failover, offset),
        };
        let (host, port) = target?;
        let text = match late {
            true => format!("FAILOVER to {host}:{port} time out exceeded, failing over."),
            false => format!("Failover target {host}:{port} is synced, failing over."),
        };
        self.feed.log(Level::Notice, text);
        if let Some(failover) = &mut self.failover {
            failover.state = FailoverState::InProgress;
            failover.target = Some((host.clone(), port));
        }
        Some(FailoverStep::Follow(host, port))
    }

    /// The target, or else the first replica, that has acknowledged everything.
    fn caught_up(&self, failover: &Failover, offset: u64) -> Option<(String, u16)> {
        self.feed
            .online_with(offset)
            .find(|place| failover.target.as_ref().is_none_or(|target| target == place))
    }

    fn give_up(&mut self, reason: &str) -> FailoverStep {
        let Some(failover) = &self.failover else { return FailoverStep::GivenUp };
        let step = match failover.state {
            FailoverState::InProgress => FailoverStep::Refused,
            _ => FailoverStep::GivenUp,
        };
        let target = failover.target_name();
        self.feed.log(Level::Notice, format!("FAILOVER to {target} aborted: {reason}"));
        self.end_failover();
        step
    }

    fn end_failover(&mut self) {
        self.failover = None;
        self.feed.set_failing_over(false);
    }
}
