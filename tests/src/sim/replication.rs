//! Writes and replication among the model data nodes.
//!
//! Nothing here is an event. A master takes writes at a steady rate while it runs and is not
//! paused, so its offset is a function of time in a few straight pieces; a replica holds what its master
//! had a lag ago. Only when something changes (a process, a way, a role) is what holds until then
//! written down.

use std::collections::VecDeque;

use rand::Rng;

use super::node::{Life, Node};
use super::time::{MS, SECOND, Us};
use super::world::World;

/// Bytes that the clients of one master write in a second.
const WRITES: u64 = 100_000;
/// A replica whose master fell silent gives the connection up after this, as `repl-timeout` says.
const SILENCE: Us = 10 * SECOND;
/// A replica tries to connect so often.
const RETRY: Us = SECOND;
/// Replicas of replicas: longer chains are cut off, so that a ring of them has an end.
const DEEPEST: usize = 4;
/// Pieces of a stream that are remembered; older ones are beyond any lag.
const PIECES: usize = 16;

/// The offset of a master's stream over time.
#[derive(Clone, Debug)]
pub struct Stream {
    /// From when on, from which offset on, and how fast it grows.
    pieces: VecDeque<(Us, u64, u64)>,
}

impl Stream {
    /// A stream that stands still.
    pub fn at(offset: u64) -> Self {
        Stream { pieces: VecDeque::from([(0, offset, 0)]) }
    }

    /// The offset at a moment.
    pub fn offset(&self, at: Us) -> u64 {
        let piece = self.pieces.iter().rev().find(|(from, _, _)| *from <= at).or(self.pieces.front());
        piece.map_or(0, |(from, offset, rate)| offset + at.saturating_sub(*from) * rate / SECOND)
    }

    /// From `from` on it grows at `rate`.
    fn go_on(&mut self, from: Us, rate: u64) {
        let offset = self.offset(from);
        self.pieces.retain(|(at, _, _)| *at < from);
        self.pieces.push_back((from, offset, rate));
        if self.pieces.len() > PIECES {
            self.pieces.pop_front();
        }
    }
}

/// A replica's link to its master.
#[derive(Clone, Debug)]
pub struct Link {
    /// What it held when this was last written down.
    held: u64,
    /// The stream of its present master has not replaced what it held before.
    stale: bool,
    /// Whether bytes flow, or would.
    flows: bool,
    /// When the synchronisation is over, if they flow.
    ready_at: Us,
    /// Since when they do not flow.
    broken_at: Us,
    /// When it notices that.
    noticed_at: Us,
    /// Since when it has had no link, while it has none.
    down_since: Us,
}

impl Link {
    /// A link that has been up for long.
    pub fn settled(held: u64) -> Self {
        Link { held, stale: false, flows: true, ready_at: 0, broken_at: 0, noticed_at: 0, down_since: 0 }
    }
}

impl World {
    /// How far a node's data are.
    pub fn offset(&self, n: usize) -> u64 {
        self.offset_at(n, self.now, 0)
    }

    fn offset_at(&self, n: usize, at: Us, depth: usize) -> u64 {
        let node = &self.nodes[n];
        let Some(of) = node.of else { return node.stream.offset(at) };
        let link = &node.link;
        if !link.flows || at < link.ready_at || depth > DEEPEST {
            return link.held;
        }
        let now = self.offset_at(of, at.saturating_sub(node.lag).max(link.ready_at), depth + 1);
        if link.stale { now } else { now.max(link.held) }
    }

    /// Whether a replica's link to its master is up, as it sees it.
    pub fn link_up(&self, n: usize) -> bool {
        self.link_up_within(n, 0)
    }

    fn link_up_within(&self, n: usize, depth: usize) -> bool {
        let node = &self.nodes[n];
        let (Some(of), link) = (node.of, &node.link) else { return false };
        let synced = if link.flows {
            self.now >= link.ready_at
        } else {
            link.ready_at <= link.broken_at && self.now < link.noticed_at
        };
        // A replica serves its own replicas only while it has a master itself.
        synced && (self.nodes[of].of.is_none() || (depth < DEEPEST && self.link_up_within(of, depth + 1)))
    }

    /// How long a replica has been without its master.
    pub(super) fn link_down_for(&self, n: usize) -> Us {
        self.now.saturating_sub(self.nodes[n].link.down_since)
    }

    /// Something happened to processes, ways or roles: what holds until now is written down.
    pub(super) fn replication_changed(&mut self) {
        for n in 0..self.nodes.len() {
            if self.nodes[n].of.is_some() {
                self.link_changed(n);
            } else {
                self.set_writing(n);
            }
        }
    }

    fn set_writing(&mut self, n: usize) {
        let now = self.now;
        let node = &mut self.nodes[n];
        let rate = if node.life == Life::Running && !node.guarded { WRITES } else { 0 };
        if node.paused_until > now && rate > 0 {
            node.stream.go_on(now, 0);
            node.stream.go_on(node.paused_until, rate);
        } else {
            node.stream.go_on(now, rate);
        }
    }

    fn link_changed(&mut self, n: usize) {
        let Some(of) = self.nodes[n].of else { return };
        let runs = |node: &Node| node.life == Life::Running;
        let (own, its) = (self.host_of_node(n), self.host_of_node(of));
        let ways = self.ways.open(own, its) && self.ways.open(its, own);
        let flows = ways && runs(&self.nodes[n]) && runs(&self.nodes[of]);
        if flows == self.nodes[n].link.flows {
            return;
        }
        if flows {
            let link = &self.nodes[n].link;
            let survived = link.ready_at <= link.broken_at && self.now < link.noticed_at;
            if !survived {
                let at = self.now + self.rng.random_range(0..RETRY) + self.sync_time();
                let link = &mut self.nodes[n].link;
                link.ready_at = at;
                link.stale = true;
                link.down_since = link.down_since.max(link.noticed_at.min(self.now));
            }
            self.nodes[n].link.flows = true;
        } else {
            let reset = ways && self.nodes[of].life == Life::Dead;
            let held = self.offset(n);
            let (now, link) = (self.now, &mut self.nodes[n].link);
            let was_up = now >= link.ready_at;
            link.stale &= !was_up;
            link.held = held;
            link.flows = false;
            link.broken_at = now;
            link.noticed_at = if was_up && !reset { now + SILENCE } else { now };
            if was_up {
                link.down_since = link.noticed_at;
            }
        }
    }

    fn sync_time(&mut self) -> Us {
        let most = self.plan.sync;
        self.rng.random_range(most / 10..=most)
    }

    /// A node becomes the replica of another, or a master.
    pub(super) fn set_role(&mut self, n: usize, of: Option<usize>) {
        if self.nodes[n].of == of {
            return;
        }
        let offset = self.offset(n);
        let ready_at = self.now + self.rng.random_range(MS..10 * MS) + self.sync_time();
        let now = self.now;
        let node = &mut self.nodes[n];
        node.of = of;
        match of {
            None => node.stream = Stream::at(offset),
            Some(_) => {
                node.link = Link {
                    held: offset,
                    stale: true,
                    flows: true,
                    ready_at,
                    broken_at: now,
                    noticed_at: now,
                    down_since: now,
                };
            }
        }
        // Its own replicas lose it for a moment, and continue with its new history.
        for r in 0..self.nodes.len() {
            if self.nodes[r].of == Some(n) {
                self.resync(r);
            }
        }
        self.replication_changed();
    }

    fn resync(&mut self, n: usize) {
        let held = self.offset(n);
        let ready_at = self.now + self.rng.random_range(MS..10 * MS) + self.sync_time() / 10;
        let (now, link) = (self.now, &mut self.nodes[n].link);
        if now >= link.ready_at && link.flows {
            link.down_since = now;
        }
        link.held = held;
        link.stale = true;
        link.ready_at = ready_at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_grows_in_pieces_and_remembers_them() {
        let mut stream = Stream::at(100);
        stream.go_on(SECOND, 10);
        stream.go_on(3 * SECOND, 0);
        stream.go_on(4 * SECOND, 20);
        let offsets = [0, 1, 2, 3, 4, 5].map(|s| stream.offset(s * SECOND));
        assert_eq!(offsets, [100, 100, 110, 120, 120, 140]);
        stream.go_on(4 * SECOND, 0);
        assert_eq!(stream.offset(9 * SECOND), 120, "what was planned from there on is void");
    }
}
