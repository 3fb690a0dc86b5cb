//! The connections to one remote process, and what they tell about its liveness.
//!
//! Data nodes have two (commands, and the subscription to the hello channel), Sentinels one,
//! which all masters that the other Sentinel watches with us share. A link outlives its
//! connections: it remembers when the process last answered, which is what SDOWN counts from.
//! When an entry changes its address the links move with the processes they lead to, so
//! that nothing is reconnected that was connected.

use std::collections::VecDeque;

use super::model::{Addr, MasterId, Target};
use super::timers::Ms;

/// A link, never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkKey(pub u64);

/// One attempt to connect and the connection that comes of it; never reused, so that
/// what arrives late from a closed one is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// Which of the two connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Channel {
    /// Commands and replies.
    Commands,
    /// The hello subscription.
    PubSub,
}

/// The state of one connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnState {
    /// None; the next attempt is due then.
    Down {
        /// When to try again.
        retry_at: Ms,
    },
    /// Asked for at that time.
    Connecting {
        /// The attempt.
        id: ConnId,
        /// When it was made.
        since: Ms,
    },
    /// Established at that time.
    Up {
        /// The connection.
        id: ConnId,
        /// When it came up.
        since: Ms,
    },
}

impl ConnState {
    /// The attempt or connection, if there is one.
    pub fn id(self) -> Option<ConnId> {
        match self {
            ConnState::Down { .. } => None,
            ConnState::Connecting { id, .. } | ConnState::Up { id, .. } => Some(id),
        }
    }
}

/// A command whose reply is awaited, and what the reply means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pending {
    /// Only an error is of interest, for the log: the command's name.
    Ignored(&'static str),
    /// PING.
    Ping,
    /// INFO; `full` when without a section.
    Info {
        /// The whole INFO, worth caching.
        full: bool,
    },
    /// EXEC of a transaction that changes a role.
    Exec,
    /// CLIENT PAUSE for the coordinated failover of that master.
    Pause(MasterId),
    /// SENTINEL IS-MASTER-DOWN-BY-ADDR about that master.
    Ask {
        /// The master.
        master: MasterId,
        /// The epoch in which it asked for a vote; 0 if it did not.
        epoch: u64,
    },
    /// SENTINEL EPOCHS about that master.
    Epochs {
        /// The master.
        master: MasterId,
        /// When it was asked.
        at: Ms,
    },
}

/// The connections to one process and its record of liveness. See the module's head.
#[derive(Debug)]
pub struct Link {
    /// Where to connect.
    pub addr: Addr,
    /// The command connection.
    pub commands: ConnState,
    /// The hello subscription; Sentinels have none.
    pub pubsub: Option<ConnState>,
    /// The instances behind it: one, or one a master for a shared link.
    pub users: Vec<(MasterId, Target)>,
    /// Commands sent and not answered, oldest first.
    pub pending: VecDeque<Pending>,
    /// When the process last gave a reply that proves it available.
    pub available_at: Ms,
    /// When it last answered a PING in any way.
    pub pong_at: Ms,
    /// When the oldest PING without a valid answer was sent.
    pub unanswered_since: Option<Ms>,
    /// When the last PING was sent.
    pub pinged_at: Option<Ms>,
    /// Since when every attempt to connect was refused.
    pub refused_since: Option<Ms>,
    /// When the subscription last brought anything.
    pub pubsub_heard_at: Ms,
    /// Our own address on the command connection.
    pub local_ip: Option<String>,
}

impl Link {
    /// A link to be connected at once; liveness counts from `now`.
    pub fn new(addr: Addr, data_node: bool, now: Ms) -> Self {
        let down = ConnState::Down { retry_at: now };
        Link {
            addr,
            commands: down,
            pubsub: data_node.then_some(down),
            users: Vec::new(),
            pending: VecDeque::new(),
            available_at: now,
            pong_at: now,
            unanswered_since: None,
            pinged_at: None,
            refused_since: None,
            pubsub_heard_at: now,
            local_ip: None,
        }
    }

    /// The established command connection.
    pub fn up(&self) -> Option<ConnId> {
        match self.commands {
            ConnState::Up { id, .. } => Some(id),
            _ => None,
        }
    }

    /// Whether all connections that it should have stand.
    pub fn is_whole(&self) -> bool {
        self.up().is_some()
            && !matches!(self.pubsub, Some(ConnState::Down { .. } | ConnState::Connecting { .. }))
    }

    /// One of the two connections.
    pub fn state_mut(&mut self, channel: Channel) -> Option<&mut ConnState> {
        match channel {
            Channel::Commands => Some(&mut self.commands),
            Channel::PubSub => self.pubsub.as_mut(),
        }
    }

    /// How long the process has not proved available: since its last valid reply when a
    /// PING is unanswered or the connection is gone, else 0.
    pub fn silent_ms(&self, now: Ms) -> Ms {
        if self.unanswered_since.is_some() || self.up().is_none() {
            now.saturating_sub(self.available_at)
        } else {
            0
        }
    }

    /// Forgets the past silence: everything counts from `now`, and a connection that is
    /// down is tried at once. Called when an entry takes over an address.
    pub fn restart_clocks(&mut self, now: Ms) {
        self.available_at = now;
        self.pong_at = now;
        self.pubsub_heard_at = now;
        self.unanswered_since = self.unanswered_since.map(|_| now);
        self.refused_since = None;
        for channel in [Channel::Commands, Channel::PubSub] {
            if let Some(state @ ConnState::Down { .. }) = self.state_mut(channel) {
                *state = ConnState::Down { retry_at: now };
            }
        }
    }

    /// Takes `late_ms`, during which this process itself did not run, out of every count.
    pub fn postpone(&mut self, late_ms: Ms, now: Ms) {
        for at in [&mut self.available_at, &mut self.pong_at, &mut self.pubsub_heard_at] {
            *at = (*at + late_ms).min(now);
        }
        for at in [&mut self.unanswered_since, &mut self.refused_since] {
            *at = at.map(|at| (at + late_ms).min(now));
        }
    }
}
