//! Whole deployments of [`Replication`] on virtual time, for tests.
//!
//! Nodes are joined by in-memory pipes that cut what is sent into random pieces, delay it, and
//! break. The data set of a node is a digest over the writes it has applied, each with its
//! database. Whoever is master notes the digest at every offset of its history; every replica is
//! held against these notes at every unit it applies. A run is fixed by its seed.

mod node;
mod schedules;

use std::collections::{HashMap, VecDeque};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::lineage::ReplId;
use super::master::FeedConfig;
use node::{DataSet, Node};

/// What was true of a history: the digest at each of its offsets, and where it forked off.
#[derive(Default)]
struct Truth {
    digests: HashMap<(ReplId, u64), u64>,
    parents: HashMap<ReplId, (ReplId, u64)>,
}

impl Truth {
    fn note(&mut self, replid: ReplId, offset: u64, digest: u64) {
        let before = self.digests.insert((replid, offset), digest);
        assert!(before.is_none_or(|before| before == digest), "two data sets at {replid}:{offset}");
    }

    fn note_fork(&mut self, parent: ReplId, offset: u64, child: ReplId, digest: u64) {
        self.parents.insert(child, (parent, offset));
        self.note(child, offset, digest);
    }

    fn lookup(&self, replid: ReplId, offset: u64) -> Option<u64> {
        match self.parents.get(&replid) {
            Some((parent, fork)) if offset < *fork => self.lookup(*parent, offset),
            _ => self.digests.get(&(replid, offset)).copied(),
        }
    }

    #[track_caller]
    fn check(&self, who: usize, replid: ReplId, offset: u64, digest: u64) {
        let expected = self.lookup(replid, offset);
        assert_eq!(Some(digest), expected, "node {who} diverged at {replid}:{offset}");
    }
}

/// One direction of a connection.
#[derive(Default)]
struct Pipe {
    pieces: VecDeque<(u64, Vec<u8>)>,
    last_delivery: u64,
}

impl Pipe {
    fn in_flight(&self) -> usize {
        self.pieces.iter().map(|(_, piece)| piece.len()).sum()
    }
}

/// A connection from a replica to its master.
struct Conn {
    replica: usize,
    master: usize,
    up: Pipe,
    down: Pipe,
    /// When the connection is made, or found to be impossible.
    established_at: Option<u64>,
    /// When both sides learn that it is broken.
    broken_at: Option<u64>,
}

type ConnId = u64;

/// How bad the network is.
#[derive(Clone, Copy)]
struct Weather {
    max_delay_ms: u64,
    max_piece: usize,
    /// A master puts no more than this into a connection before the replica takes it.
    window: usize,
}

impl Default for Weather {
    fn default() -> Self {
        Weather { max_delay_ms: 20, max_piece: 400, window: 8_000 }
    }
}

struct World {
    now: u64,
    rng: StdRng,
    nodes: Vec<Node>,
    conns: HashMap<ConnId, Conn>,
    next_conn: ConnId,
    truth: Truth,
    weather: Weather,
    /// Never may two nodes take writes at once, nor may any write be lost.
    one_writer: bool,
    /// All writes, in the order in which they were taken.
    written: DataSet,
}

impl World {
    fn new(seed: u64, nodes: usize, config: &FeedConfig) -> World {
        let mut rng = StdRng::seed_from_u64(seed);
        let nodes = (0..nodes).map(|_| Node::new(config.clone(), StdRng::from_rng(&mut rng))).collect();
        let mut world = World {
            now: 0,
            rng,
            nodes,
            conns: HashMap::new(),
            next_conn: 0,
            truth: Truth::default(),
            weather: Weather::default(),
            one_writer: false,
            written: DataSet::default(),
        };
        for who in 0..world.nodes.len() {
            world.note(who);
        }
        world
    }

    /// Writes down what holds at a master now.
    fn note(&mut self, who: usize) {
        let node = &self.nodes[who];
        let lineage = node.repl.feed.lineage();
        self.truth.note(lineage.replid(), lineage.offset(), node.data.digest);
    }

    fn connect(&mut self, replica: usize, port: u16) -> ConnId {
        let master = usize::from(port);
        let reachable = !self.nodes[replica].isolated && !self.nodes[master].isolated;
        let id = self.next_conn;
        self.next_conn += 1;
        let at = self.now + self.rng.random_range(0..=self.weather.max_delay_ms);
        let (established_at, broken_at) = if reachable { (Some(at), None) } else { (None, Some(at)) };
        self.conns.insert(
            id,
            Conn { replica, master, up: Pipe::default(), down: Pipe::default(), established_at, broken_at },
        );
        id
    }

    /// Sends bytes, cut and delayed at random but in order.
    fn send(&mut self, conn: ConnId, to_master: bool, mut bytes: &[u8]) {
        let Some(conn) = self.conns.get_mut(&conn) else { return };
        let pipe = if to_master { &mut conn.up } else { &mut conn.down };
        while !bytes.is_empty() {
            let (piece, rest) =
                bytes.split_at(self.rng.random_range(1..=self.weather.max_piece).min(bytes.len()));
            bytes = rest;
            let at = self.now + self.rng.random_range(0..=self.weather.max_delay_ms);
            pipe.last_delivery = pipe.last_delivery.max(at);
            pipe.pieces.push_back((pipe.last_delivery, piece.to_vec()));
        }
    }

    /// One side closes: what is under way still arrives, then the other side learns.
    fn close(&mut self, id: ConnId, by_replica: bool) {
        if let Some(conn) = self.conns.get_mut(&id) {
            let pipe = if by_replica { &mut conn.up } else { &mut conn.down };
            conn.broken_at = Some(self.now.max(pipe.last_delivery));
        }
    }

    /// The network breaks a connection: what was under way is lost.
    fn break_conn(&mut self, id: ConnId) {
        if let Some(conn) = self.conns.get_mut(&id) {
            conn.up.pieces.clear();
            conn.down.pieces.clear();
            conn.broken_at = Some(self.now);
        }
    }

    fn isolate(&mut self, who: usize, isolated: bool) {
        self.nodes[who].isolated = isolated;
        if isolated {
            let touched = |conn: &Conn| conn.replica == who || conn.master == who;
            let mut ids: Vec<ConnId> =
                self.conns.iter().filter(|(_, conn)| touched(conn)).map(|(id, _)| *id).collect();
            ids.sort_unstable();
            ids.into_iter().for_each(|id| self.break_conn(id));
        }
    }

    fn next_event(&self) -> Option<u64> {
        let front = |pipe: &Pipe| pipe.pieces.front().map(|(at, _)| *at);
        let conns = self.conns.values();
        let of_conns =
            conns.flat_map(|c| [front(&c.up), front(&c.down), c.established_at, c.broken_at]).flatten();
        of_conns.chain(self.nodes.iter().filter_map(Node::next_event)).min()
    }

    /// Runs until `until` (milliseconds).
    fn run_until(&mut self, until: u64) {
        self.settle_all();
        while let Some(at) = self.next_event().filter(|at| *at <= until) {
            self.now = self.now.max(at);
            self.deliver();
            for who in 0..self.nodes.len() {
                self.handle_due(who);
            }
            self.settle_all();
        }
        self.now = self.now.max(until);
    }

    fn run_for(&mut self, ms: u64) {
        self.run_until(self.now + ms);
    }

    fn settle_all(&mut self) {
        (0..self.nodes.len()).for_each(|who| self.settle(who));
        if self.one_writer {
            let writers: Vec<usize> = self.writers().collect();
            assert!(writers.len() <= 1, "{writers:?} take writes at {}", self.now);
        }
    }

    /// The nodes that take clients' writes.
    fn writers(&self) -> impl Iterator<Item = usize> {
        self.nodes.iter().enumerate().filter(|(_, node)| node.takes_writes()).map(|(who, _)| who)
    }

    fn deliver(&mut self) {
        let mut ids: Vec<ConnId> = self.conns.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            let now = self.now;
            let due = |pipe: &mut Pipe| -> Vec<u8> {
                let mut bytes = Vec::new();
                while pipe.pieces.front().is_some_and(|(at, _)| *at <= now) {
                    bytes.extend(pipe.pieces.pop_front().map(|(_, piece)| piece).unwrap_or_default());
                }
                bytes
            };
            let Some(conn) = self.conns.get_mut(&id) else { continue };
            let (replica, master) = (conn.replica, conn.master);
            let established = conn.established_at.take_if(|at| *at <= now).is_some();
            let (to_master, to_replica) = (due(&mut conn.up), due(&mut conn.down));
            let broken = conn.broken_at.is_some_and(|at| at <= now);
            if established {
                self.established(id, replica, master);
            }
            if !to_master.is_empty() {
                self.take_from_replica(master, id, &to_master);
            }
            if !to_replica.is_empty() {
                self.take_from_master(replica, id, &to_replica);
            }
            if broken {
                self.conns.remove(&id);
                self.broken(id, replica, master);
            }
        }
    }
}
