//! What becomes of the addresses on this host: the platform's answers, netlink's news, others' claims.

use super::holder::Holder;
use super::probe::Claim;
use super::slot::{DROP_RETRY, RESTORE_SPACING};
use super::types::{Action, AddressState, Level, Now};

/// How often an address is defended at most (RFC 5227, 2.4 (b): DEFEND_INTERVAL).
const DEFEND_INTERVAL: std::time::Duration = std::time::Duration::from_secs(10);

impl Holder {
    /// The actions whose time has come.
    pub(super) fn go_on_with_slots(&mut self, now: Now) {
        let indices: Vec<usize> = self.slots.keys().copied().collect();
        for index in indices {
            let interval = self.settings.announce_interval;
            let Some(slot) = self.slots.get_mut(&index) else { continue };
            if slot.retry_drop.is_some_and(|at| now >= at) {
                slot.retry_drop = None;
                self.drop_address(index);
                continue;
            }
            let restore = self.held && slot.restore.take_if(|at| now >= *at).is_some();
            let announce = self.held && slot.on && slot.announcements.take_due(now, interval);
            if restore {
                slot.last_restore = Some(now);
                slot.announce_when_on = true;
                self.hold(index);
            }
            if announce {
                self.act(index, Action::Announce);
            }
        }
    }

    /// Tells the platform to remove an address, if it may be on.
    pub(super) fn drop_address(&mut self, index: usize) {
        let Some(slot) = self.slots.get_mut(&index) else { return };
        // Another program's address, which the platform refused to hold, is left alone.
        if slot.is_foreign() && !slot.on {
            slot.may_be_on = false;
        }
        slot.rest();
        if slot.may_be_on {
            slot.drops_under_way += 1;
            slot.retry_drop = None;
            self.act(index, Action::Drop);
        }
    }

    /// An address is no longer in the settings.
    pub(super) fn leave(&mut self, index: usize) {
        if let Some(slot) = self.slots.get_mut(&index) {
            slot.leaving = true;
        }
        self.drop_address(index);
        self.forget_if_left(index);
    }

    fn forget_if_left(&mut self, index: usize) {
        if self.slots.get(&index).is_some_and(|slot| slot.leaving && slot.is_off()) {
            self.slots.remove(&index);
        }
    }

    /// The first round brought no proof: what a predecessor left goes.
    pub(super) fn drop_leftovers(&mut self) {
        let indices: Vec<usize> = self.slots.keys().copied().collect();
        for index in indices {
            self.drop_address(index);
        }
    }

    pub(super) fn done(&mut self, now: Now, index: usize, what: Action) {
        let held = self.held;
        let Some(slot) = self.slots.get_mut(&index) else { return };
        slot.error.take_if(|(kind, _)| *kind == std::mem::discriminant(&what));
        match what {
            Action::Hold { .. } => {
                if held && !slot.leaving && slot.drops_under_way == 0 {
                    if !slot.on {
                        slot.on = true;
                        slot.announcements.start(now);
                    } else if slot.announce_when_on {
                        self.act(index, Action::Announce);
                    }
                    if let Some(slot) = self.slots.get_mut(&index) {
                        slot.announce_when_on = false;
                    }
                }
            }
            Action::Drop => {
                slot.drops_failed = 0;
                slot.drops_under_way = slot.drops_under_way.saturating_sub(1);
                // Only the last of several says something about now; and one that a new hold follows says nothing.
                let gone = slot.drops_under_way == 0 && (!held || slot.leaving);
                if gone {
                    slot.may_be_on = false;
                    self.forget_if_left(index);
                }
            }
            Action::Announce | Action::Probe => {}
        }
    }

    pub(super) fn failed(&mut self, now: Now, index: usize, what: Action, error: String) {
        let held = self.held;
        let Some(slot) = self.slots.get_mut(&index) else { return };
        let address = format!("{} on {}", slot.address.address, slot.address.interface);
        let text = match what {
            Action::Hold { .. } => {
                // It is tried again with each renewal.
                slot.on = false;
                format!("{address} cannot be held: {error}")
            }
            Action::Drop => {
                slot.drops_under_way = slot.drops_under_way.saturating_sub(1);
                if !held || slot.leaving {
                    let again = if slot.drops_failed == 0 { now } else { now + DROP_RETRY };
                    slot.retry_drop = Some(again);
                }
                slot.drops_failed += 1;
                format!("{address} cannot be removed, so this host may go on answering for it: {error}")
            }
            Action::Announce => {
                slot.announcements.failed();
                format!("{address} cannot be announced: {error}")
            }
            Action::Probe => format!("nobody can be asked whether {address} is in use: {error}"),
        };
        let kind = std::mem::discriminant(&what);
        slot.error = Some((kind, text.clone()));
        if let Some(more) = slot.error_logs.entry(kind).or_default().permit(now) {
            self.log(Level::Warning, format!("{text}{more}"));
        }
    }

    pub(super) fn address_is(&mut self, now: Now, index: usize, state: AddressState) {
        let held = self.held;
        let Some(slot) = self.slots.get_mut(&index) else { return };
        let before = slot.state.replace(state);
        if state.link_up && before.is_some_and(|before| !before.link_up) {
            if held {
                slot.announcements.start(now);
            }
            self.rounds.hint();
        }
        if held && !slot.leaving {
            let wiped = !state.present && before.is_none_or(|before| before.present);
            if wiped && slot.on {
                let earliest = slot.last_restore.map_or(now, |last| last + RESTORE_SPACING);
                slot.restore = Some(earliest.max(now));
                if let Some(more) = slot.wiped_log.permit(now) {
                    let text = format!(
                        "{} was removed from {} by another program; it is put back{more}.",
                        slot.address.address, slot.address.interface
                    );
                    self.log(Level::Warning, text);
                }
            }
        } else if state.present && state.ours && slot.is_off() {
            // A predecessor's; it may go on if the first round proves that it should.
            slot.may_be_on = true;
            if !self.adopting {
                self.drop_address(index);
            }
        }
    }

    pub(super) fn claimed(&mut self, now: Now, index: usize, by: [u8; 6]) {
        if self.slots.get(&index).is_none_or(|slot| slot.leaving) {
            return;
        }
        if self.held {
            return self.claimed_while_held(now, index, by);
        }
        self.probe.claimed(Claim { at: now, index, by });
        if self.probe.is_blocked() {
            self.warn_of_claim(now, index, by, "it is not taken before that ends");
        }
    }

    pub(super) fn warn_of_claim(&mut self, now: Now, index: usize, by: [u8; 6], what_now: &str) {
        let Some(slot) = self.slots.get_mut(&index) else { return };
        let Some(more) = slot.claim_log.permit(now) else { return };
        let text = format!("{} answers for {}; {what_now}{more}.", mac(by), slot.address.address);
        self.log(Level::Warning, text);
    }

    pub(super) fn defend(&mut self, now: Now, index: usize) {
        let Some(slot) = self.slots.get_mut(&index) else { return };
        if slot.on && slot.last_defence.is_none_or(|last| now >= last + DEFEND_INTERVAL) {
            slot.last_defence = Some(now);
            self.act(index, Action::Announce);
        }
    }

    /// The addresses, for a log line.
    pub(super) fn names(&self) -> String {
        let addresses = self.slots.values().filter(|slot| !slot.leaving);
        let names: Vec<String> = addresses.map(|slot| slot.address.address.to_string()).collect();
        names.join(", ")
    }
}

/// A link-layer address as people write it.
pub(super) fn mac(bytes: [u8; 6]) -> String {
    let parts: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    parts.join(":")
}
