//! The state machine of one master's addresses: its state, its one entry for inputs, its clock.
//!
//! A driver hands over what happened ([`Holder::handle`]) and the passing of time ([`Holder::tick`], due at
//! [`Holder::next_wake`]), and then carries out what [`Holder::poll`] gives until it gives nothing. Inputs that wait
//! are handed over before a tick: an answer that is there must not be taken for missing because this process was late.
//!
//! Before anything else each call compares the clock with the lease. A process that was stopped for a minute and then
//! reads a proof from its socket holds nothing by it: the old lease is over and dropped first, and the proof counts
//! from its question.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use super::epoch::Epochs;
use super::mistakes::Planted;
use super::probe::Probe;
use super::round::Rounds;
use super::slot::Slot;
use super::types::{Action, Hint, Input, Level, NodeRole, Now, Output, Settings, VirtualAddress};
use super::votes::Votes;

/// A host's part in one master's addresses.
#[derive(Debug)]
pub struct Holder {
    pub(super) settings: Settings,
    pub(super) slots: BTreeMap<usize, Slot>,
    next_index: usize,
    pub(super) rounds: Rounds,
    /// When the Sentinels are asked next without a proof in view.
    pub(super) next_look: Now,
    pub(super) votes: Votes,
    pub(super) epochs: Epochs,
    pub(super) probe: Probe,
    /// What the node said last, and when.
    pub(super) node: Option<(Now, NodeRole)>,
    /// The proof that stands.
    pub(super) proof: Option<Proof>,
    /// A majority names this host, though some of it may not count yet.
    pub(super) in_sight: bool,
    /// The addresses are ours to answer for, by [`Holder::proof`].
    pub(super) held: bool,
    /// A predecessor's addresses wait for the first round to decide on them.
    pub(super) adopting: bool,
    pub(super) maintenance: bool,
    /// Let go by the user's wish, until this node was a replica in between.
    pub(super) released: bool,
    /// What Sentinels may have vouched for since they were last told of a release.
    pub(super) asked_about: BTreeSet<IpAddr>,
    /// They are to be told as soon as every address is off.
    pub(super) releasing: bool,
    /// Why the addresses were let go last.
    pub(super) let_go_because: Option<(Now, String)>,
    pub(super) planted: Planted,
    pub(super) born: Now,
    now: Now,
    out: VecDeque<Output>,
}

/// What permits holding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Proof {
    /// The end of the lease.
    pub(super) until: Now,
    /// Since when a proof has stood without a gap.
    pub(super) since: Now,
    pub(super) epoch: u64,
    /// How many Sentinels it rests on.
    pub(super) votes: usize,
}

impl Holder {
    /// Begins without holding anything; the first round is due at once. `stored_epoch`: what [`Output::Persist`] wrote
    /// last.
    pub fn new(settings: Settings, stored_epoch: Option<u64>, now: Now) -> Self {
        let slots: BTreeMap<usize, Slot> =
            settings.addresses.iter().cloned().map(Slot::new).enumerate().collect();
        Holder {
            next_index: slots.len(),
            slots,
            rounds: Rounds::new(now),
            next_look: now,
            votes: Votes::new(&settings),
            epochs: Epochs::new(stored_epoch),
            probe: Probe::default(),
            node: None,
            proof: None,
            in_sight: false,
            held: false,
            adopting: true,
            maintenance: false,
            released: false,
            asked_about: BTreeSet::new(),
            releasing: false,
            let_go_because: None,
            planted: Planted::default(),
            born: now,
            now,
            out: VecDeque::new(),
            settings,
        }
    }

    /// The addresses with the indices that name them in inputs and outputs, among them those that a reload took out of
    /// the settings and that are still being removed.
    pub fn addresses(&self) -> impl Iterator<Item = (usize, &VirtualAddress)> {
        self.slots.iter().map(|(index, slot)| (*index, &slot.address))
    }

    /// The address that an index names.
    pub fn address(&self, index: usize) -> Option<&VirtualAddress> {
        self.slots.get(&index).map(|slot| &slot.address)
    }

    /// What it works by.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Whether nothing of ours is on this host any more and the Sentinels have been told: a process that ends after
    /// [`Input::Leave`] may end now.
    pub fn settled(&self) -> bool {
        !self.held && !self.releasing && self.slots.values().all(Slot::is_off) && self.out.is_empty()
    }

    /// Takes note of what happened. `now` never goes back.
    pub fn handle(&mut self, now: Now, input: Input) {
        let now = self.enter(now);
        match input {
            Input::Node { round, role } => self.node_answered(now, round, role),
            Input::Sentinel { round, sentinel, answer } => {
                self.sentinel_answered(now, round, sentinel, answer)
            }
            Input::SentinelReconnected { sentinel } => self.votes.reconnected(sentinel, self.rounds.last()),
            Input::Hint(hint) => self.hinted(now, hint),
            Input::Address { index, state } => self.address_is(now, index, state),
            Input::Claimed { index, by } => self.claimed(now, index, by),
            Input::Maintenance(on) => self.maintenance_is(now, on),
            Input::Leave { why } => self.leave_for_good(now, why),
            Input::Release => self.release(now),
            Input::Done { index, what } => self.done(now, index, what),
            Input::Failed { index, what, error } => self.failed(now, index, what, error),
        }
        self.go_on(now);
    }

    /// Does what only time makes due.
    pub fn tick(&mut self, now: Now) {
        let now = self.enter(now);
        self.go_on(now);
    }

    /// What is to be done next, until there is nothing.
    pub fn poll(&mut self) -> Option<Output> {
        loop {
            let output = self.out.pop_front()?;
            // The address may have been let go of while what came before was carried out.
            let is_on = |index: &usize| self.slots.get(index).is_some_and(|slot| slot.on);
            match &output {
                Output::Platform { index, action: Action::Announce } if !is_on(index) => {}
                _ => return Some(output),
            }
        }
    }

    /// When [`Holder::tick`] is due.
    pub fn next_wake(&self) -> Now {
        let proof = self.proof.map(|proof| self.let_go_at(proof));
        let probe = self.probe.wake(self.wants_probe(), self.takeable_since());
        let slots = self.slots.values().filter_map(Slot::wake);
        [proof, probe].into_iter().flatten().chain(slots).fold(self.rounds.wake(), Now::min)
    }

    /// Works by other settings of the same master from now on. An address that stays as it was is not touched.
    /// `kept`: for each Sentinel of the new list, which of the old list it is, if the connection to it stays.
    ///
    /// The lease goes on to its end as it was proven. Where the list of Sentinels changes, add or remove one at a time
    /// on all hosts: the argument of `core` needs the majorities of all hosts to share a Sentinel.
    pub fn reload(&mut self, now: Now, settings: Settings, kept: &[Option<usize>]) {
        let now = self.enter(now);
        let stays = |slot: &Slot| settings.addresses.contains(&slot.address);
        let gone: Vec<usize> = self
            .slots
            .iter()
            .filter(|(_, slot)| !slot.leaving && !stays(slot))
            .map(|(index, _)| *index)
            .collect();
        for index in gone {
            self.leave(index);
        }
        for address in &settings.addresses {
            let known = self.slots.iter_mut().find(|(_, slot)| slot.address == *address);
            let index = match known {
                Some((_, slot)) if !slot.leaving => continue,
                // Taken out and put in again before it was removed.
                Some((index, slot)) => {
                    slot.leaving = false;
                    *index
                }
                None => {
                    let index = self.next_index;
                    self.next_index += 1;
                    self.slots.insert(index, Slot::new(address.clone()));
                    index
                }
            };
            if self.held {
                self.hold(index);
            }
        }
        self.votes.change(&settings, kept, self.rounds.last());
        self.settings = settings;
        self.rounds.void();
        self.go_on(now);
    }

    /// The clock never goes back, and a lease that is over is over before anything else is looked at.
    fn enter(&mut self, now: Now) -> Now {
        self.now = self.now.max(now);
        self.expire(self.now);
        self.now
    }

    /// Takes every step that is due.
    fn go_on(&mut self, now: Now) {
        self.go_on_with_round(now);
        self.go_on_with_slots(now);
        self.go_on_with_taking(now);
        self.tell_released(now);
    }

    fn hinted(&mut self, now: Now, hint: Hint) {
        match hint {
            Hint::Odown | Hint::TryFailover if !self.held && self.permitted() => self.probe.hint(now),
            _ => {}
        }
        self.rounds.hint();
    }

    fn maintenance_is(&mut self, now: Now, on: bool) {
        if on != self.maintenance {
            let word = if on { "on" } else { "off" };
            self.log(
                Level::Notice,
                format!("Maintenance of the addresses of {} is {word}.", self.settings.master),
            );
        }
        self.maintenance = on;
        if on {
            self.probe.stop();
            self.let_go(now, Level::Notice, "maintenance is on");
        } else {
            self.released = false;
        }
        self.rounds.hint();
    }

    /// To the rules this is maintenance that nobody ends.
    fn leave_for_good(&mut self, now: Now, why: &str) {
        self.maintenance = true;
        self.probe.stop();
        self.let_go(now, Level::Notice, why);
        self.rounds.hint();
    }

    fn release(&mut self, now: Now) {
        self.released = true;
        self.probe.stop();
        self.let_go(now, Level::Notice, "the user asked for a release");
    }

    /// Whether the user has nothing against holding.
    pub(super) fn permitted(&self) -> bool {
        !self.maintenance && !self.released
    }

    pub(super) fn idle_or_busy_period(&self) -> Duration {
        let master = matches!(self.node, Some((_, NodeRole::Master)));
        if self.held || (master && self.permitted()) {
            self.settings.lease / 4
        } else {
            super::round::IDLE_PERIOD
        }
    }

    pub(super) fn output(&mut self, output: Output) {
        self.out.push_back(output);
    }

    pub(super) fn act(&mut self, index: usize, action: Action) {
        self.output(Output::Platform { index, action });
    }

    pub(super) fn log(&mut self, level: Level, text: String) {
        self.output(Output::Log { level, text });
    }
}
