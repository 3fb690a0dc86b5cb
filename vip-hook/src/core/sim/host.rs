//! A host: its node, its agent with the driver around it, and its kernel.

use std::collections::VecDeque;

use super::time::{Clock, Us};
use crate::core::Holder;
use crate::core::types::{Action, Input};

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Process {
    Runs,
    /// Stopped by a signal, or starved: it goes on where it was.
    Hangs,
    Dead,
}

/// One host.
pub(super) struct Host {
    pub(super) clock: Clock,
    pub(super) node: Process,
    pub(super) is_master: bool,
    /// Questions to the node that hang with it.
    pub(super) node_inbox: Vec<u64>,
    pub(super) agent: Process,
    pub(super) holder: Holder,
    /// Which run of the agent this is; what belongs to an earlier one is lost.
    pub(super) boot: u64,
    pub(super) inbox: VecDeque<Input>,
    /// The one timer of the agent that counts.
    pub(super) timer: u64,
    pub(super) stored_epoch: Option<u64>,
    /// The connection to each Sentinel.
    pub(super) connections: Vec<Option<u64>>,
    /// What the platform still has to do, in order.
    pub(super) platform: VecDeque<(usize, Action)>,
    pub(super) platform_busy: bool,
    pub(super) platform_fails: bool,
    pub(super) kernel: Vec<Address>,
    pub(super) link_up: bool,
    pub(super) maintenance: bool,
    pub(super) released: bool,
    /// Since when nothing on this host has kept it from holding, if it is the master.
    pub(super) fit_since: Option<Us>,
    /// The highest epoch that its agent had seen when that was looked at last.
    pub(super) epoch_before: Option<u64>,
    /// For each Sentinel: over which connection it has been reachable, and since when.
    pub(super) reachable_since: Vec<Option<(u64, Us)>>,
}

/// One virtual address in the kernel.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Address {
    /// On the interface.
    pub(super) present: bool,
    /// Put there by an agent.
    pub(super) ours: bool,
    /// The kernel's lease.
    pub(super) live_until: Us,
    /// The agent has told the platform at some time to hold it, or found it at its start.
    pub(super) may_be_removed: bool,
}

impl Address {
    /// Whether neighbours get an answer.
    pub(super) fn answers(&self, now: Us) -> bool {
        self.present && now < self.live_until
    }
}
