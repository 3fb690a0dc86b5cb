//! One virtual address on this host: what the platform was told, what it has confirmed, what netlink says.

use std::collections::HashMap;
use std::mem::Discriminant;
use std::time::Duration;

use super::announce::Announcements;
use super::limited::Limited;
use super::types::{Action, AddressState, Now, VirtualAddress};

/// The pace of what is repeated against something that works against it: putting a wiped address back.
pub(super) const RESTORE_SPACING: Duration = Duration::from_millis(20);

/// When a failed removal is tried again, after once at once.
pub(super) const DROP_RETRY: Duration = Duration::from_millis(50);

/// One address.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) address: VirtualAddress,
    /// No longer in the settings: forgotten as soon as it is off.
    pub(super) leaving: bool,
    /// It may be on the interface by our doing: it was told to be, or a predecessor left it.
    pub(super) may_be_on: bool,
    /// The platform has confirmed that it is on.
    pub(super) on: bool,
    /// Removals that are not answered yet.
    pub(super) drops_under_way: usize,
    /// Removals that failed since the last that did not.
    pub(super) drops_failed: usize,
    pub(super) retry_drop: Option<Now>,
    /// What netlink said last.
    pub(super) state: Option<AddressState>,
    pub(super) restore: Option<Now>,
    pub(super) last_restore: Option<Now>,
    /// Announce once as soon as it is back.
    pub(super) announce_when_on: bool,
    pub(super) announcements: Announcements,
    pub(super) last_defence: Option<Now>,
    /// The last failure of the platform, until the same thing succeeds.
    pub(super) error: Option<(Discriminant<Action>, String)>,
    pub(super) wiped_log: Limited,
    pub(super) claim_log: Limited,
    /// Of each kind of failure.
    pub(super) error_logs: HashMap<Discriminant<Action>, Limited>,
}

impl Slot {
    pub(super) fn new(address: VirtualAddress) -> Self {
        Slot {
            address,
            leaving: false,
            may_be_on: false,
            on: false,
            drops_under_way: 0,
            drops_failed: 0,
            retry_drop: None,
            state: None,
            restore: None,
            last_restore: None,
            announce_when_on: false,
            announcements: Announcements::default(),
            last_defence: None,
            error: None,
            wiped_log: Limited::default(),
            claim_log: Limited::default(),
            error_logs: HashMap::new(),
        }
    }

    /// Whether it is certainly off, as far as it is ours.
    pub(super) fn is_off(&self) -> bool {
        !self.may_be_on && self.drops_under_way == 0
    }

    /// Whether the address is on the interface by another's doing.
    pub(super) fn is_foreign(&self) -> bool {
        self.state.is_some_and(|state| state.present && !state.ours)
    }

    /// It is held no more: nothing of what goes with holding is due.
    pub(super) fn rest(&mut self) {
        self.on = false;
        self.restore = None;
        self.announce_when_on = false;
        self.announcements.stop();
    }

    pub(super) fn wake(&self) -> Option<Now> {
        let announce = if self.on { self.announcements.wake() } else { None };
        [announce, self.restore, self.retry_drop].into_iter().flatten().min()
    }
}
