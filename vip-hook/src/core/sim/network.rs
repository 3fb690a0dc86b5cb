//! Connections between agents and Sentinels: ordered, cut and healed, broken and made anew.

use std::collections::{BTreeMap, BTreeSet};

use rand::Rng;

use super::Flaw;
use super::host::Process;
use super::sentinel::{Said, ToSentinel};
use super::time::{MS, Us};
use super::world::{Event, World};
use crate::core::types::Input;

impl World {
    /// Whether packets pass between a host and a Sentinel.
    pub(super) fn reaches(&self, host: usize, sentinel: usize) -> bool {
        let at = self.sentinels[sentinel].host;
        at == Some(host)
            || (self.cut_from_sentinels[host] == 0 && at.is_none_or(|at| self.cut_from_sentinels[at] == 0))
    }

    /// Whether packets pass between two Sentinels.
    pub(super) fn meet(&self, one: usize, other: usize) -> bool {
        let open =
            |sentinel: usize| self.sentinels[sentinel].host.is_none_or(|at| self.cut_from_sentinels[at] == 0);
        one == other || (open(one) && open(other))
    }

    pub(super) fn send(&mut self, message: ToSentinel) {
        let span = self.in_order(message.host, message.connection, true);
        self.after(span, Event::ToSentinel(message));
    }

    /// How long a message takes that does not overtake what was sent before it.
    fn in_order(&mut self, host: usize, connection: u64, there: bool) -> Us {
        let slow = self.plan.weather.slow_answer;
        let span = match there {
            false if slow > 0 && host == 0 && self.random.random_ratio(1, 3) => {
                self.random.random_range(slow / 2..slow)
            }
            _ => self.delay(),
        };
        let last = self.order.entry((connection, there)).or_default();
        *last = (self.now + span).max(*last + 1);
        *last - self.now
    }

    /// Whether a message that arrives now is held up: by a cut, or by what was held up before it.
    fn held_up(&mut self, host: usize, sentinel: usize, event: &Event) -> bool {
        if self.reaches(host, sentinel) {
            return false;
        }
        self.stalled.push(event.clone());
        true
    }

    pub(super) fn reach_sentinel(&mut self, message: ToSentinel) {
        if self.held_up(message.host, message.sentinel, &Event::ToSentinel(message)) {
            return;
        }
        let ToSentinel { host, boot, sentinel, connection, what } = message;
        let it = &mut self.sentinels[sentinel];
        match it.process {
            Process::Dead => return,
            Process::Hangs => return it.inbox.push(message),
            Process::Runs => {}
        }
        match what {
            // What was sent before the Sentinel started anew was lost with its connection.
            Said::Ask { .. } | Said::Look { .. } | Said::Release
                if connection < self.sentinels[sentinel].first_connection => {}
            Said::Ask { round } | Said::Look { round } => {
                let answer = match what {
                    Said::Look { .. } => self.sentinels[sentinel].named(),
                    _ => self.sentinels[sentinel].answer(self.now, host, connection),
                };
                let input = Input::Sentinel { round, sentinel, answer };
                let span = self.in_order(host, connection, false);
                self.after(span, Event::FromSentinel { host, boot, sentinel, connection, input });
            }
            Said::Release => {
                let any = self.flaw == Some(Flaw::ReleaseOverAnyConnection);
                self.sentinels[sentinel].release(host, connection, any);
            }
        }
    }

    pub(super) fn reach_agent(
        &mut self,
        host: usize,
        boot: u64,
        sentinel: usize,
        connection: u64,
        input: Input,
    ) {
        let event = Event::FromSentinel { host, boot, sentinel, connection, input: input.clone() };
        if self.held_up(host, sentinel, &event) || self.hosts[host].connections[sentinel] != Some(connection)
        {
            return;
        }
        self.deliver(host, boot, input);
    }

    /// A cut has healed somewhere: what TCP kept is sent again, in its order and before what was sent later, some time
    /// from now.
    pub(super) fn send_stalled(&mut self) {
        let mut stalled = std::mem::take(&mut self.stalled);
        let connections: BTreeSet<(u64, bool)> = stalled.iter().filter_map(Event::connection).collect();
        stalled.extend(
            self.take_events(|event| event.connection().is_some_and(|key| connections.contains(&key))),
        );
        let some = self.random.random_range(0..400 * MS);
        let mut again: BTreeMap<(u64, bool), Us> = BTreeMap::new();
        for event in stalled {
            let Some(key) = event.connection() else { continue };
            let fresh = some + self.random.random_range(0..20 * MS);
            let span = again.entry(key).or_insert(fresh);
            *span += 1;
            let span = *span;
            let last = self.order.entry(key).or_default();
            *last = (*last).max(self.now + span);
            self.after(span, event);
        }
    }

    pub(super) fn connect(&mut self, host: usize, boot: u64, sentinel: usize) {
        let it = &self.hosts[host];
        if it.boot != boot || it.agent == Process::Dead || it.connections[sentinel].is_some() {
            return;
        }
        let open = it.agent == Process::Runs
            && self.reaches(host, sentinel)
            && self.sentinels[sentinel].process == Process::Runs;
        if !open {
            let span = self.random.random_range(50 * MS..300 * MS);
            return self.after(span, Event::Connect { host, boot, sentinel });
        }
        self.next_connection += 1;
        self.hosts[host].connections[sentinel] = Some(self.next_connection);
        self.deliver(host, boot, Input::SentinelReconnected { sentinel });
    }

    pub(super) fn disconnect(&mut self, host: usize, sentinel: usize, connection: u64) {
        if self.hosts[host].connections[sentinel] != Some(connection) {
            return;
        }
        self.hosts[host].connections[sentinel] = None;
        let boot = self.hosts[host].boot;
        let span = self.random.random_range(MS..100 * MS);
        self.after(span, Event::Connect { host, boot, sentinel });
    }

    /// Drivers find out, sooner or later, that a connection leads nowhere.
    pub(super) fn give_up_cut_connections(&mut self) {
        for host in 0..self.hosts.len() {
            let about = self.random.random_range(100 * MS..2000 * MS);
            for sentinel in 0..self.sentinels.len() {
                if let Some(connection) = self.hosts[host].connections[sentinel]
                    && !self.reaches(host, sentinel)
                {
                    let span = about + self.random.random_range(0..20 * MS);
                    self.after(span, Event::Disconnect { host, sentinel, connection });
                }
            }
        }
    }

    /// Every connection to a Sentinel is gone, as its process is.
    pub(super) fn break_connections(&mut self, sentinel: usize) {
        for host in 0..self.hosts.len() {
            if let Some(connection) = self.hosts[host].connections[sentinel] {
                let span = self.random.random_range(0..2 * MS);
                self.after(span, Event::Disconnect { host, sentinel, connection });
            }
        }
    }
}

impl Event {
    /// Over which connection it comes, and whether it is on its way to the Sentinel.
    fn connection(&self) -> Option<(u64, bool)> {
        match self {
            Event::ToSentinel(message) => Some((message.connection, true)),
            Event::FromSentinel { connection, .. } => Some((*connection, false)),
            _ => None,
        }
    }
}
