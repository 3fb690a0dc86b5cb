//! One node of the simulation: a driver around [`Replication`] and a data set.

use std::collections::HashMap;

use rand::rngs::StdRng;
use rand::{Rng, RngCore};
use redoubt_wire::resp::number::parse_integer;
use redoubt_wire::resp::request::{Limits, Parsed, RequestParser};

use super::{ConnId, World};
use crate::replication::backlog::Reader;
use crate::replication::failover::{FailoverRequest, FailoverStep};
use crate::replication::info::LinkState;
use crate::replication::master::{FeedConfig, FeedOutput, ReplicaId, SnapshotTarget, SyncRequest};
use crate::replication::options::{Replconf, ReplicaOptions};
use crate::replication::replica::{LinkConfig, LinkOutput};
use crate::replication::role::{MasterEvent, Replication};

/// A data set, reduced to what tells two of them apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct DataSet {
    pub(super) digest: u64,
}

impl DataSet {
    fn apply(&mut self, db: u32, value: &[u8]) {
        // FNV-1a over database and value.
        let bytes = db.to_le_bytes().into_iter().chain(value.iter().copied());
        self.digest = bytes.fold(self.digest ^ 0xcbf2_9ce4_8422_2325, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
    }
}

/// The master's side of a replica's connection.
#[derive(Default)]
struct Session {
    options: ReplicaOptions,
    parser: RequestParser,
    input: Vec<u8>,
    replica: Option<ReplicaId>,
    reader: Option<Reader>,
}

/// A snapshot being written.
struct Saving {
    target: SnapshotTarget,
    payload: Vec<u8>,
    replicas: Vec<ReplicaId>,
    ends_at: u64,
}

/// A payload being received or loaded.
#[derive(Default)]
struct Loading {
    payload: Vec<u8>,
    ends_at: Option<u64>,
}

pub(super) struct Node {
    pub(super) repl: Replication,
    pub(super) data: DataSet,
    pub(super) isolated: bool,
    /// Clients' writes are held back (FAILOVER).
    pub(super) paused: bool,
    /// Makes snapshots and loads fail.
    pub(super) broken_disk: bool,
    /// Every line logged.
    pub(super) log: Vec<String>,
    rng: StdRng,
    selected_db: Option<u32>,
    master_conn: Option<ConnId>,
    /// Read from the master and not taken yet.
    master_input: Vec<u8>,
    queued: Vec<(u32, Vec<u8>)>,
    sessions: HashMap<ConnId, Session>,
    saving: Option<Saving>,
    loading: Option<Loading>,
    file: Vec<u8>,
}

impl Node {
    pub(super) fn new(config: FeedConfig, mut rng: StdRng) -> Node {
        let mut seed = <StdRng as rand::SeedableRng>::Seed::default();
        rng.fill_bytes(&mut seed);
        let repl = Replication::new(0, config, rand::SeedableRng::from_seed(seed));
        Node {
            repl,
            data: DataSet::default(),
            isolated: false,
            paused: false,
            broken_disk: false,
            log: Vec::new(),
            rng,
            selected_db: None,
            master_conn: None,
            master_input: Vec::new(),
            queued: Vec::new(),
            sessions: HashMap::new(),
            saving: None,
            loading: None,
            file: Vec::new(),
        }
    }

    pub(super) fn next_event(&self) -> Option<u64> {
        let saving = self.saving.as_ref().map(|saving| saving.ends_at);
        let loading = self.loading.as_ref().and_then(|loading| loading.ends_at);
        saving.into_iter().chain(loading).chain(self.repl.poll_timeout()).min()
    }

    pub(super) fn is_master(&self) -> bool {
        self.repl.link().is_none()
    }

    /// Whether clients' writes are executed here.
    pub(super) fn takes_writes(&self) -> bool {
        self.is_master() && !self.paused
    }

    pub(super) fn link_state(&self) -> Option<LinkState> {
        self.repl.link().map(|link| link.state())
    }

    pub(super) fn logged(&self, part: &str) -> bool {
        self.log.iter().any(|line| line.contains(part))
    }

    /// A snapshot: database, digest, and filler that looks like the beginning of a mark.
    fn snapshot(&mut self, mark: Option<&[u8]>) -> Vec<u8> {
        let db = if self.is_master() { self.selected_db.unwrap_or(0) } else { self.repl.stream_db() };
        let mut payload = [&db.to_le_bytes()[..], &self.data.digest.to_le_bytes()].concat();
        for _ in 0..self.rng.random_range(0..20) {
            let len = self.rng.random_range(0..40);
            payload.extend_from_slice(mark.map_or(&[b'.'; 40][..len], |mark| &mark[..len]));
        }
        payload
    }
}

fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}

impl World {
    /// Makes a node follow another.
    pub(super) fn follow(&mut self, who: usize, master: usize) {
        let config = LinkConfig {
            host: "node".into(),
            port: master as u16,
            user: None,
            password: None,
            listening_port: who as u16 + 1,
            announce_ip: None,
            timeout_ms: 10_000,
            diskless_load: true,
        };
        self.nodes[who].queued.clear();
        self.nodes[who].repl.follow(self.now, config);
        self.settle(who);
    }

    /// Makes a node a master.
    pub(super) fn promote(&mut self, who: usize) {
        let before = self.nodes[who].repl.feed.lineage().clone();
        self.nodes[who].queued.clear();
        if self.nodes[who].repl.promote(self.now) {
            let node = &self.nodes[who];
            let after = node.repl.feed.lineage();
            self.truth.note_fork(before.replid(), before.offset(), after.replid(), node.data.digest);
        }
        self.settle(who);
    }

    /// FAILOVER to another node, or to whichever has everything first.
    pub(super) fn failover(
        &mut self,
        who: usize,
        target: Option<usize>,
        timeout_ms: u64,
        force: bool,
    ) -> Result<(), &'static str> {
        let node = &mut self.nodes[who];
        let target = target.map(|target| ("127.0.0.1".to_owned(), target as u16 + 1));
        let offset = node.repl.feed.lineage().offset();
        node.repl.start_failover(self.now, offset, FailoverRequest { target, timeout_ms, force })?;
        node.paused = true;
        self.settle(who);
        Ok(())
    }

    /// FAILOVER ABORT.
    pub(super) fn abort_failover(&mut self, who: usize) {
        if let Some(step) = self.nodes[who].repl.abort_failover() {
            self.take_failover_step(who, step);
        }
    }

    fn take_failover_step(&mut self, who: usize, step: FailoverStep) {
        match step {
            FailoverStep::Follow(_, port) => return self.follow(who, usize::from(port) - 1),
            FailoverStep::Refused => self.promote(who),
            FailoverStep::Done | FailoverStep::GivenUp => {}
        }
        self.nodes[who].paused = false;
    }

    /// A client writes one unit of a few values to a master.
    pub(super) fn write(&mut self, who: usize, values: usize, len: usize) {
        assert!(self.nodes[who].takes_writes());
        assert!(!self.one_writer || self.nodes[who].data == self.written, "node {who} lacks a write");
        if self.nodes[who].repl.feed.take_select_needed() {
            self.nodes[who].selected_db = None;
        }
        let mut unit = Vec::new();
        if values > 1 {
            unit.extend_from_slice(&command(&[b"MULTI"]));
        }
        for _ in 0..values {
            let node = &mut self.nodes[who];
            let db = node.rng.random_range(0..3);
            let mut value = vec![0; len];
            node.rng.fill_bytes(&mut value);
            if node.selected_db.replace(db) != Some(db) {
                unit.extend_from_slice(&command(&[b"SELECT", db.to_string().as_bytes()]));
            }
            if values == 1 {
                // Outside MULTI a SELECT is a unit of its own, after which a replica may stand.
                self.append(who, &std::mem::take(&mut unit));
            }
            unit.extend_from_slice(&command(&[b"W", &value]));
            self.nodes[who].data.apply(db, &value);
            self.written.apply(db, &value);
        }
        if values > 1 {
            unit.extend_from_slice(&command(&[b"EXEC"]));
        }
        self.append(who, &unit);
        self.settle(who);
    }

    fn append(&mut self, who: usize, unit: &[u8]) {
        self.nodes[who].repl.feed.append(self.now, unit);
        self.note(who);
    }

    pub(super) fn handle_due(&mut self, who: usize) {
        let (now, node) = (self.now, &mut self.nodes[who]);
        if node.repl.poll_timeout().is_some_and(|at| at <= now) {
            let (before, is_master) = (node.repl.feed.lineage().replid(), node.is_master());
            node.repl.handle_timeout(now);
            if is_master && before != node.repl.feed.lineage().replid() {
                self.note(who);
            }
        }
        let node = &mut self.nodes[who];
        if node.loading.as_ref().and_then(|loading| loading.ends_at).is_some_and(|at| at <= now) {
            self.finish_loading(who);
        }
        if self.nodes[who].saving.as_ref().is_some_and(|saving| saving.ends_at <= now) {
            self.finish_saving(who);
        }
    }

    /// Carries out all that a node wants done, and moves the stream on.
    pub(super) fn settle(&mut self, who: usize) {
        loop {
            let node = &mut self.nodes[who];
            if let Some(output) = node.repl.feed.poll_output() {
                self.carry_out(who, output);
            } else if let Some(output) = node.repl.poll_master_output(None) {
                self.carry_out_link(who, output);
            } else if let Some(step) = {
                let offset = node.repl.feed.lineage().offset();
                node.repl.failover_step(self.now, offset)
            } {
                self.take_failover_step(who, step);
            } else {
                break;
            }
        }
        let paused = self.nodes[who].paused;
        self.nodes[who].repl.feed.set_paused(paused);
        let mut ids: Vec<ConnId> = self.nodes[who].sessions.keys().copied().collect();
        ids.sort_unstable();
        for id in ids {
            self.pump(who, id);
        }
    }

    fn pump(&mut self, who: usize, id: ConnId) {
        loop {
            let room =
                self.conns.get(&id).map_or(0, |c| self.weather.window.saturating_sub(c.down.in_flight()));
            let Some(session) = self.nodes[who].sessions.get_mut(&id) else { return };
            let Some(slice) = session.reader.as_mut().and_then(|reader| reader.read(room)) else { return };
            self.send(id, false, &slice);
        }
    }

    fn session_of(&self, who: usize, replica: ReplicaId) -> Option<ConnId> {
        let mut sessions = self.nodes[who].sessions.iter();
        sessions.find(|(_, session)| session.replica == Some(replica)).map(|(id, _)| *id)
    }

    fn carry_out(&mut self, who: usize, output: FeedOutput) {
        let now = self.now;
        match output {
            FeedOutput::Log(line) => self.nodes[who].log.push(line.text),
            FeedOutput::Append(bytes) => self.append(who, bytes),
            FeedOutput::Send { replica, bytes } => {
                if let Some(id) = self.session_of(who, replica) {
                    self.send(id, false, &bytes);
                }
            }
            FeedOutput::StartStream { replica, reader } => {
                if let Some(id) = self.session_of(who, replica)
                    && let Some(session) = self.nodes[who].sessions.get_mut(&id)
                {
                    session.reader = Some(reader);
                }
            }
            FeedOutput::StartSnapshot { .. } => self.start_saving(who),
            FeedOutput::AbortSnapshot => {
                self.nodes[who].saving = None;
                self.nodes[who].repl.feed.snapshot_finished(now, false);
            }
            FeedOutput::SendFile { replica } => {
                let file = self.nodes[who].file.clone();
                if let Some(id) = self.session_of(who, replica) {
                    self.send(id, false, format!("${}\r\n", file.len()).as_bytes());
                    self.send(id, false, &file);
                }
                self.nodes[who].repl.feed.payload_sent(now, replica);
            }
            FeedOutput::Close { replica, .. } => {
                if let Some(id) = self.session_of(who, replica) {
                    self.nodes[who].sessions.remove(&id);
                    self.close(id, false);
                }
            }
        }
    }

    fn start_saving(&mut self, who: usize) {
        let (now, node) = (self.now, &mut self.nodes[who]);
        if node.broken_disk {
            return node.repl.feed.snapshot_failed(now);
        }
        let Some(start) = node.repl.feed.snapshot_started(now) else { return };
        let mark = match &start.target {
            SnapshotTarget::Sockets { eof_mark } => Some(&eof_mark[..]),
            SnapshotTarget::Disk => None,
        };
        let payload = node.snapshot(mark);
        let ends_at = now + node.rng.random_range(0..3_000);
        node.saving = Some(Saving { payload, replicas: start.replicas, ends_at, target: start.target });
    }

    fn finish_saving(&mut self, who: usize) {
        let Some(saving) = self.nodes[who].saving.take() else { return };
        let succeeded = !self.nodes[who].broken_disk;
        match saving.target {
            SnapshotTarget::Disk => self.nodes[who].file = saving.payload,
            SnapshotTarget::Sockets { eof_mark } => {
                for replica in saving.replicas {
                    let Some(id) = self.session_of(who, replica) else { continue };
                    self.send(id, false, &[b"$EOF:", &eof_mark[..], b"\r\n"].concat());
                    self.send(id, false, &saving.payload);
                    if succeeded {
                        self.send(id, false, &eof_mark);
                    }
                }
            }
        }
        self.nodes[who].repl.feed.snapshot_finished(self.now, succeeded);
    }

    fn carry_out_link(&mut self, who: usize, output: LinkOutput) {
        match output {
            LinkOutput::Log(line) => self.nodes[who].log.push(line.text),
            LinkOutput::Connect => {
                let port = self.nodes[who].repl.link().map_or(0, |link| link.config().port);
                let id = self.connect(who, port);
                let node = &mut self.nodes[who];
                node.master_conn = Some(id);
                node.master_input.clear();
            }
            LinkOutput::Send(bytes) => {
                if let Some(id) = self.nodes[who].master_conn {
                    self.send(id, true, &bytes);
                }
            }
            LinkOutput::Close => {
                self.nodes[who].loading = None;
                self.nodes[who].queued.clear();
                if let Some(id) = self.nodes[who].master_conn.take() {
                    self.close(id, true);
                }
            }
        }
    }

    pub(super) fn established(&mut self, id: ConnId, replica: usize, master: usize) {
        if self.nodes[replica].master_conn == Some(id) {
            self.nodes[master].sessions.insert(id, Session::default());
            self.nodes[replica].repl.master_connected(self.now);
            self.settle(replica);
        }
    }

    pub(super) fn broken(&mut self, id: ConnId, replica: usize, master: usize) {
        let now = self.now;
        if let Some(session) = self.nodes[master].sessions.remove(&id)
            && let Some(attached) = session.replica
        {
            self.nodes[master].repl.feed.detached(now, attached);
        }
        if self.nodes[replica].master_conn == Some(id) {
            self.nodes[replica].master_conn = None;
            self.nodes[replica].loading = None;
            self.nodes[replica].queued.clear();
            self.nodes[replica].repl.master_closed(now, "connection lost");
        }
    }

    /// Bytes from a replica to its master.
    pub(super) fn take_from_replica(&mut self, who: usize, id: ConnId, bytes: &[u8]) {
        let Some(mut session) = self.nodes[who].sessions.remove(&id) else { return };
        session.input.extend_from_slice(bytes);
        let mut taken = 0;
        let mut replies = Vec::new();
        loop {
            let rest = &session.input[taken..];
            match session.parser.parse(rest, &Limits::default()).expect("a link speaks the protocol") {
                Parsed::Incomplete { .. } => break,
                Parsed::Empty { len } => {
                    taken += len;
                    if let Some(replica) = session.replica {
                        self.nodes[who].repl.feed.handle_newline(self.now, replica);
                    }
                }
                Parsed::Complete { len } => {
                    let args: Vec<Vec<u8>> =
                        session.parser.args(rest).iter().map(|arg| arg.to_vec()).collect();
                    taken += len;
                    let args: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
                    replies.extend(self.replica_command(who, &mut session, &args));
                }
            }
        }
        session.input.drain(..taken);
        self.nodes[who].sessions.insert(id, session);
        self.send(id, false, &replies);
    }

    fn replica_command(&mut self, who: usize, session: &mut Session, args: &[&[u8]]) -> Vec<u8> {
        let (now, feed) = (self.now, &mut self.nodes[who].repl.feed);
        match args[0] {
            b"PING" => b"+PONG\r\n".to_vec(),
            b"REPLCONF" => match session.options.replconf(&args[1..]) {
                Replconf::Ok => b"+OK\r\n".to_vec(),
                Replconf::Error(text) => format!("-{text}\r\n").into_bytes(),
                Replconf::Ack { offset, fsynced } => {
                    if let Some(replica) = session.replica {
                        feed.handle_ack(now, replica, offset, fsynced);
                    }
                    Vec::new()
                }
                Replconf::Silent | Replconf::GetAck => Vec::new(),
            },
            b"PSYNC" if args.len() > 3 && args[3] == b"FAILOVER" => match self.take_over(who, args[1]) {
                Ok(()) => self.replica_command(who, session, &args[..3]),
                Err(text) => format!("-{text}\r\n").into_bytes(),
            },
            b"PSYNC" | b"SYNC" => {
                let psync = (args.len() >= 3).then(|| (args[1], args[2]));
                let wanted = psync.and_then(|(_, offset)| parse_integer(offset));
                let before = feed.stats();
                let options = &session.options;
                let request = SyncRequest { psync, options, peer_ip: "127.0.0.1", pending_output: false };
                let outcome = feed.handle_sync(now, &request);
                if feed.stats().partial_ok > before.partial_ok {
                    assert!(wanted.is_some_and(|wanted| wanted as u64 <= feed.lineage().offset() + 1));
                }
                self.note_if_master(who);
                match outcome {
                    Ok(replica) => {
                        session.replica = Some(replica);
                        Vec::new()
                    }
                    Err(text) => format!("-{text}\r\n").into_bytes(),
                }
            }
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    }

    /// The master asks this node to take over.
    fn take_over(&mut self, who: usize, replid: &[u8]) -> Result<(), String> {
        let before = self.nodes[who].repl.feed.lineage().clone();
        self.nodes[who].repl.take_over(self.now, replid)?;
        self.nodes[who].queued.clear();
        let node = &self.nodes[who];
        let after = node.repl.feed.lineage();
        self.truth.note_fork(before.replid(), before.offset(), after.replid(), node.data.digest);
        self.settle(who);
        Ok(())
    }

    /// The first replica of a master may have given its history a new name.
    fn note_if_master(&mut self, who: usize) {
        if self.nodes[who].is_master() {
            self.note(who);
        }
    }

    /// Bytes from a master to its replica.
    pub(super) fn take_from_master(&mut self, who: usize, id: ConnId, bytes: &[u8]) {
        let node = &mut self.nodes[who];
        if node.master_conn == Some(id) {
            node.master_input.extend_from_slice(bytes);
            self.take_master_input(who);
        }
    }

    fn take_master_input(&mut self, who: usize) {
        let now = self.now;
        let bytes = std::mem::take(&mut self.nodes[who].master_input);
        let mut input = &bytes[..];
        while let Some(event) = self.nodes[who].repl.handle_master_bytes(now, &mut input) {
            let node = &mut self.nodes[who];
            match event {
                MasterEvent::Continued => {
                    let lineage = node.repl.feed.lineage();
                    self.truth.check(who, lineage.replid(), lineage.offset(), node.data.digest);
                }
                MasterEvent::StartLoad { .. } => node.loading = Some(Loading::default()),
                MasterEvent::Payload(part) => {
                    node.loading.as_mut().expect("a load has started").payload.extend_from_slice(&part);
                }
                MasterEvent::PayloadEnd => {
                    let ends_at = now + node.rng.random_range(0..3_000);
                    node.loading.as_mut().expect("a load has started").ends_at = Some(ends_at);
                    node.repl.load_starting(now, true);
                }
                MasterEvent::Stream => self.apply_stream(who),
            }
            // Closing drops what is left of the connection; a new one may have begun.
            if self.nodes[who].link_state().is_none_or(|state| state == LinkState::Connecting) {
                input = &[];
            }
        }
        self.nodes[who].master_input = input.to_vec();
    }

    fn apply_stream(&mut self, who: usize) {
        let now = self.now;
        let node = &mut self.nodes[who];
        loop {
            let Some(command) = node.repl.next_command(now) else { return };
            if command.args[0] == b"W" {
                let write = (command.db, command.args[1].to_vec());
                node.queued.push(write);
            }
            let ends_unit = command.ends_unit;
            drop(command);
            if ends_unit {
                for (db, value) in std::mem::take(&mut node.queued) {
                    node.data.apply(db, &value);
                }
                let offset = node.repl.finish_unit(now);
                let replid = node.repl.feed.lineage().replid();
                self.truth.check(who, replid, offset, node.data.digest);
            }
        }
    }

    fn finish_loading(&mut self, who: usize) {
        let now = self.now;
        let Some(loading) = self.nodes[who].loading.take() else { return };
        let node = &mut self.nodes[who];
        if node.broken_disk || loading.payload.len() < 12 {
            node.data = DataSet::default();
            return node.repl.load_failed(now);
        }
        let (db, digest) = loading.payload.split_at(4);
        let db = u32::from_le_bytes(db.try_into().expect("four bytes"));
        let digest = u64::from_le_bytes(digest[..8].try_into().expect("eight bytes"));
        if node.repl.load_succeeded(now, db) {
            node.data.digest = digest;
            let lineage = node.repl.feed.lineage();
            self.truth.check(who, lineage.replid(), lineage.offset(), digest);
            self.take_master_input(who);
        }
    }
}
