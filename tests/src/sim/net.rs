//! The network: who reaches whom, connections, and how what is sent arrives.
//!
//! A connection behaves as TCP does. What is sent arrives in order and once, or the connection ends; a lost
//! packet delays what follows it. Where the way is cut, packets wait to be sent again; nobody is
//! told. A process that is gone refuses connections and resets those it had, if its host is there to
//! do so; a stopped one is connected to by its kernel and stays silent. What a client sent
//! before it closed may still arrive.

use std::collections::VecDeque;

use rand::Rng;
use redoubt_sentinel::core::link::ConnId;
use redoubt_sentinel::core::value::Value;

use super::time::{SECOND, Us};
use super::world::{Event, World};

/// A machine with one process. Sentinels come first, then the nodes.
pub type Host = usize;

/// A command with its arguments.
pub type Command = Vec<Vec<u8>>;

/// How long after a way opens what waited may still wait.
const RETRANSMIT_MAX: Us = SECOND;

/// Which ways are open.
#[derive(Debug)]
pub struct Ways {
    cut: Vec<u128>,
    gone: u128,
    slow: Vec<Us>,
}

impl Ways {
    /// All ways among so many hosts are open.
    pub fn new(hosts: usize) -> Self {
        Ways { cut: vec![0; hosts], gone: 0, slow: vec![0; hosts] }
    }

    /// Whether what `from` sends reaches `to`.
    pub fn open(&self, from: Host, to: Host) -> bool {
        (self.gone & (1 << from | 1 << to)) == 0 && self.cut[from] & (1 << to) == 0
    }

    /// Cuts one direction.
    pub fn cut(&mut self, from: Host, to: Host) {
        self.cut[from] |= 1 << to;
    }

    /// Opens one direction.
    pub fn mend(&mut self, from: Host, to: Host) {
        self.cut[from] &= !(1 << to);
    }

    /// Takes a host off the network, or puts it back.
    pub fn set_gone(&mut self, host: Host, gone: bool) {
        self.gone = if gone { self.gone | 1 << host } else { self.gone & !(1 << host) };
    }

    /// What every message from and to a host takes in addition.
    pub fn set_slow(&mut self, host: Host, by: Us) {
        self.slow[host] = by;
    }
}

/// Names a connection; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ConnKey {
    index: u32,
    generation: u32,
}

impl ConnKey {
    /// As one number.
    pub fn number(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// Back from one number.
    pub fn of_number(number: u64) -> Self {
        ConnKey { index: number as u32, generation: (number >> 32) as u32 }
    }
}

/// A direction of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the Sentinel that connected.
    Out,
    /// To it.
    Back,
}

/// What travels on a connection.
#[derive(Debug)]
pub enum Message {
    /// Commands that were sent in one write.
    Commands(Vec<Command>),
    /// The connection stands.
    Connected,
    /// There is a host and nobody listens.
    Refused,
    /// A reply or a published message.
    Reply(Value),
    /// The answer to the question whether that master is down.
    Answer(usize, Value),
    /// The connection has ended.
    End,
}

/// One direction: what is on its way, oldest first.
#[derive(Debug, Default)]
pub struct Pipe {
    queue: VecDeque<Message>,
    /// The latest arrival so far.
    last_at: Us,
    /// How many found the way cut, and wait to be sent again.
    stalled: usize,
    /// How many lie in the receiver's kernel, since its process does not run.
    arrived: usize,
}

impl Pipe {
    fn clear(&mut self) {
        self.queue.clear();
        self.stalled = 0;
        self.arrived = 0;
    }
}

/// A connection that a Sentinel made.
#[derive(Debug)]
pub struct Conn {
    generation: u32,
    /// The Sentinel that made it.
    pub sentinel: usize,
    /// That Sentinel's name for it.
    pub id: ConnId,
    /// Where it leads.
    pub to: Host,
    /// Whether the Sentinel still has it.
    pub client: bool,
    /// Whether the other end has it.
    pub server: bool,
    out: Pipe,
    back: Pipe,
    /// What the server remembers of its client.
    pub session: Session,
}

/// The server's side of a connection.
#[derive(Debug, Default)]
pub struct Session {
    /// The commands of an open MULTI.
    pub queued: Option<Vec<Command>>,
    /// Subscribed to the hello channel.
    pub subscribed: bool,
    /// A Sentinel owes a reply; what came meanwhile waits.
    pub asked: Option<Asked>,
    /// Commands that wait for that reply.
    pub waiting: VecDeque<Command>,
}

/// A command that a Sentinel is busy with.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The master of an IS-MASTER-DOWN-BY-ADDR.
    pub about: Option<usize>,
}

/// All connections.
#[derive(Debug, Default)]
pub struct Conns {
    slots: Vec<Conn>,
    free: Vec<u32>,
}

impl Conns {
    /// A connection, unless it is gone.
    pub fn get(&self, key: ConnKey) -> Option<&Conn> {
        self.slots.get(key.index as usize).filter(|c| c.generation == key.generation)
    }

    /// A connection to change, unless it is gone.
    pub fn get_mut(&mut self, key: ConnKey) -> Option<&mut Conn> {
        self.slots.get_mut(key.index as usize).filter(|c| c.generation == key.generation)
    }

    fn add(&mut self, sentinel: usize, id: ConnId, to: Host) -> ConnKey {
        let fresh = |generation| Conn {
            generation,
            sentinel,
            id,
            to,
            client: true,
            server: false,
            out: Pipe::default(),
            back: Pipe::default(),
            session: Session::default(),
        };
        match self.free.pop() {
            Some(index) => {
                let slot = &mut self.slots[index as usize];
                *slot = fresh(slot.generation);
                ConnKey { index, generation: slot.generation }
            }
            None => {
                self.slots.push(fresh(1));
                ConnKey { index: self.slots.len() as u32 - 1, generation: 1 }
            }
        }
    }

    fn keys(&self) -> Vec<ConnKey> {
        let key = |(index, c): (usize, &Conn)| ConnKey { index: index as u32, generation: c.generation };
        self.slots.iter().enumerate().filter(|(_, c)| c.client || c.server).map(key).collect()
    }
}

impl World {
    /// What a message from one host to another takes.
    fn delay(&mut self, from: Host, to: Host) -> Us {
        let (least, most) = self.plan.delay;
        let mut delay = self.rng.random_range(least..=most) + self.ways.slow[from] + self.ways.slow[to];
        if self.loss > 0 {
            let mut again = self.plan.retransmit;
            while self.rng.random_range(0..10_000) < self.loss && again < 8 * SECOND {
                delay += again;
                again *= 2;
            }
        }
        delay
    }

    /// A Sentinel connects to a host.
    pub(super) fn connect_to(&mut self, s: usize, id: ConnId, to: Host) {
        let key = self.conns.add(s, id, to);
        self.sentinels[s].conns.insert(id, key);
        let at = self.now + self.delay(s, to);
        self.queue.push(at, Event::Syn(key));
    }

    /// A Sentinel's attempt to connect fails before anything is sent.
    pub(super) fn fail_to_connect(&mut self, s: usize, id: ConnId) {
        let key = self.conns.add(s, id, s);
        self.sentinels[s].conns.insert(id, key);
        self.transmit(key, Way::Back, Message::End);
    }

    /// An attempt to connect arrives, or its packet is lost and will be sent again.
    pub(super) fn syn(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key) else { return };
        let (from, to) = (conn.sentinel, conn.to);
        if !self.ways.open(from, to) || !self.ways.open(to, from) {
            return self.queue.push(self.now + SECOND, Event::Syn(key));
        }
        if self.listens(to)
            && let Some(conn) = self.conns.get_mut(key)
        {
            conn.server = true;
            self.accepted[to].push(key);
            self.transmit(key, Way::Back, Message::Connected);
        } else {
            self.transmit(key, Way::Back, Message::Refused);
        }
    }

    /// Puts a message on its way.
    pub(super) fn transmit(&mut self, key: ConnKey, way: Way, message: Message) {
        let Some(conn) = self.conns.get(key) else { return };
        let (from, to) = match way {
            Way::Out => (conn.sentinel, conn.to),
            Way::Back if conn.client => (conn.to, conn.sentinel),
            Way::Back => return,
        };
        let at = self.now + self.delay(from, to);
        let Some(conn) = self.conns.get_mut(key) else { return };
        let pipe = if way == Way::Out { &mut conn.out } else { &mut conn.back };
        pipe.last_at = pipe.last_at.max(at);
        pipe.queue.push_back(message);
        self.queue.push(pipe.last_at, Event::Deliver(key, way));
    }

    /// The oldest message of a direction arrives.
    pub(super) fn deliver(&mut self, key: ConnKey, way: Way) {
        let Some(conn) = self.conns.get(key) else { return };
        let (from, to) = match way {
            Way::Out => (conn.sentinel, conn.to),
            Way::Back => (conn.to, conn.sentinel),
        };
        let runs = self.runs(to);
        let Some(conn) = self.conns.get_mut(key) else { return };
        let pipe = if way == Way::Out { &mut conn.out } else { &mut conn.back };
        if pipe.queue.len() <= pipe.stalled + pipe.arrived {
            // Its end cleared the pipe.
            return;
        }
        if way == Way::Out && !conn.server {
            // Nobody has this connection any more; its client is about to hear so.
            pipe.queue.pop_front();
        } else if pipe.stalled > 0 || !self.ways.open(from, to) {
            pipe.stalled += 1;
        } else if pipe.arrived > 0 || !runs {
            pipe.arrived += 1;
        } else {
            self.receive(key, way);
        }
    }

    /// A process takes the oldest message of a direction out of its kernel.
    fn receive(&mut self, key: ConnKey, way: Way) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        match way {
            Way::Out => {
                let Some(Message::Commands(commands)) = conn.out.queue.pop_front() else { return };
                if !conn.server {
                    return;
                }
                self.serve(key, commands);
                if self.conns.get(key).is_some_and(|c| !c.client && c.out.queue.is_empty()) {
                    self.free(key);
                }
            }
            Way::Back => {
                let Some(message) = conn.back.queue.pop_front() else { return };
                if conn.client {
                    self.hand_in(key, message);
                }
            }
        }
    }

    /// A process runs again: it finds what came meanwhile.
    pub(super) fn receive_arrived(&mut self, host: Host) {
        let mut keys: Vec<(ConnKey, Way)> = self.accepted[host].iter().map(|k| (*k, Way::Out)).collect();
        if let Some(sentinel) = self.sentinels.get(host) {
            keys.extend(sentinel.conns.values().map(|k| (*k, Way::Back)));
        }
        for (key, way) in keys {
            loop {
                let runs = self.runs(host);
                let Some(conn) = self.conns.get_mut(key).filter(|_| runs) else { break };
                let pipe = if way == Way::Out { &mut conn.out } else { &mut conn.back };
                if pipe.arrived == 0 {
                    break;
                }
                pipe.arrived -= 1;
                self.receive(key, way);
            }
        }
    }

    /// A Sentinel closes a connection. What is on its way may still arrive.
    pub(super) fn close_client(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.client = false;
        conn.back.clear();
        let (s, id) = (conn.sentinel, conn.id);
        self.sentinels[s].conns.remove(&id);
        let Some(conn) = self.conns.get_mut(key) else { return };
        if !conn.server || conn.out.queue.is_empty() || self.rng.random() {
            self.free(key);
        }
    }

    /// A process drops a connection that it had accepted, or its kernel does.
    pub(super) fn drop_server(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key).filter(|c| c.server) else { return };
        conn.server = false;
        conn.out.clear();
        conn.session = Session::default();
        let (client, to) = (conn.client, conn.to);
        self.accepted[to].retain(|k| *k != key);
        if client {
            self.transmit(key, Way::Back, Message::End);
        } else {
            self.free(key);
        }
    }

    /// Drops everything that a process had accepted.
    pub(super) fn drop_all_servers(&mut self, host: Host) {
        for key in self.accepted[host].clone() {
            self.drop_server(key);
        }
    }

    /// Forgets a connection of which no end knows any more.
    pub(super) fn free(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.generation += 1;
        conn.client = false;
        conn.out.clear();
        conn.back.clear();
        conn.session = Session::default();
        let was_server = std::mem::take(&mut conn.server);
        let (s, id, to) = (conn.sentinel, conn.id, conn.to);
        self.conns.free.push(key.index);
        if self.sentinels[s].conns.get(&id) == Some(&key) {
            self.sentinels[s].conns.remove(&id);
        }
        if was_server {
            self.accepted[to].retain(|k| *k != key);
        }
    }

    /// Ways may have opened: what waited is sent again, or the connection did not survive.
    pub(super) fn ways_changed(&mut self) {
        for key in self.conns.keys() {
            let Some(conn) = self.conns.get(key) else { continue };
            let (s, to) = (conn.sentinel, conn.to);
            let out = conn.out.stalled > 0 && self.ways.open(s, to);
            let back = conn.back.stalled > 0 && self.ways.open(to, s);
            if (out || back) && conn.server && self.rng.random_ratio(1, 4) {
                self.drop_server(key);
            }
            if out {
                self.resend(key, Way::Out);
            }
            if back {
                self.resend(key, Way::Back);
            }
        }
        self.replication_changed();
    }

    fn resend(&mut self, key: ConnKey, way: Way) {
        let at = self.now + self.rng.random_range(0..RETRANSMIT_MAX);
        let Some(conn) = self.conns.get_mut(key) else { return };
        let pipe = if way == Way::Out { &mut conn.out } else { &mut conn.back };
        pipe.last_at = pipe.last_at.max(at);
        for _ in 0..std::mem::take(&mut pipe.stalled) {
            self.queue.push(pipe.last_at, Event::Deliver(key, way));
        }
    }

    /// Resets a connection in the midst of its life.
    pub(super) fn reset(&mut self, s: usize, nth: usize) {
        let keys = &self.sentinels[s].conns;
        if let Some(key) = keys.values().nth(nth % keys.len().max(1)).copied() {
            self.drop_server(key);
        }
    }
}
