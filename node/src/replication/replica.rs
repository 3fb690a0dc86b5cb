//! The following side of a node: its link to the master.
//!
//! [`ReplicaLink`] speaks the replica's part of PSYNC version 2: greet, authenticate, say who
//! we are, ask to continue or for everything, take the payload, then the stream, and
//! acknowledge it. It opens no connection and reads no clock. The driver gives it what arrived
//! ([`ReplicaLink::handle_bytes`], again and again until it takes no more) and carries out what
//! [`ReplicaLink::poll_output`] says. While a payload is being loaded the link takes no bytes:
//! the driver keeps what it has read and stops reading.
//!
//! What the replica has applied is not this file's business; it is passed in when an
//! acknowledgement is due, so that one never says more than what holds at that moment.

use std::borrow::Cow;
use std::collections::VecDeque;

use super::info::{LinkState, TransferInfo};
use super::lineage::ReplId;
use super::payload::{Framing, Payload};
use super::{Level, LogLine};
use crate::config::Secret;

/// The master to follow, and the directives that concern the link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkConfig {
    /// Host name or address of the master.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `masteruser`.
    pub user: Option<String>,
    /// `masterauth`.
    pub password: Option<Secret>,
    /// The port that we announce: `replica-announce-port`, or the one we listen on.
    pub listening_port: u16,
    /// `replica-announce-ip`.
    pub announce_ip: Option<String>,
    /// `repl-timeout`, in milliseconds.
    pub timeout_ms: u64,
    /// Payloads are parsed as they arrive instead of being put in a file first; only for log lines.
    pub diskless_load: bool,
}

/// What the replica has at this moment: what it acknowledges, and what it continues from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Applied {
    /// The id of its history.
    pub replid: ReplId,
    /// Offset applied.
    pub offset: u64,
    /// Offset that the AOF has on disk, if there is an AOF.
    pub fsynced: Option<u64>,
}

/// What the bytes from the master mean.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkEvent<'a> {
    /// The master continues our history, under this name if it gave one.
    Continue(Option<ReplId>),
    /// A payload begins; our history will be `lineage` at its end.
    StartLoad {
        /// Id and offset of the snapshot; `None` from a master too old to have them.
        lineage: Option<(ReplId, u64)>,
        /// Its frame.
        payload: Framing,
    },
    /// A part of the payload.
    Payload(Cow<'a, [u8]>),
    /// The payload is complete: load it, then call `load_succeeded` or `load_failed`. Until then nothing is taken.
    PayloadEnd,
    /// Bytes of the stream.
    Stream(&'a [u8]),
}

/// What the driver has to do.
#[derive(Debug, PartialEq, Eq)]
pub enum LinkOutput {
    /// Connect to the configured master, then call `connected` or `connect_failed`.
    Connect,
    /// Write this to the master.
    Send(Vec<u8>),
    /// Close the connection (or give up making it). A payload under way is void.
    Close,
    /// Log this.
    Log(LogLine),
}

/// Whether the peer is asked to take over the mastership (FAILOVER).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Takeover {
    /// It is not.
    #[default]
    None,
    /// The next PSYNC asks for it.
    Wanted {
        /// How often it was asked already, without an answer.
        asked: u32,
    },
    /// The peer is the master now.
    Granted,
    /// The peer will not.
    Refused,
}

#[derive(Debug)]
pub(super) enum State {
    /// Not connected; connects at `retry_at`.
    Connect {
        retry_at: u64,
    },
    Connecting,
    /// Waits for a line that answers what was sent.
    Handshake(Step),
    /// The payload was granted; waits for its announcement.
    Announce {
        lineage: Option<(ReplId, u64)>,
    },
    Transfer {
        payload: Payload,
        lineage: Option<(ReplId, u64)>,
    },
    /// The payload is complete; the node is loading it.
    Loading {
        framing: Framing,
        received: u64,
        lineage: Option<(ReplId, u64)>,
    },
    Connected,
}

/// The reply that the handshake waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Pong,
    Auth,
    Port,
    Ip,
    Capa,
    Psync,
}

/// An output that is worded only when it is taken.
#[derive(Debug)]
pub(super) enum Queued {
    Ready(LinkOutput),
    /// PSYNC, with what we have at that moment.
    Psync,
    /// REPLCONF ACK, likewise.
    Ack,
}

/// The link of a replica to its master.
#[derive(Debug)]
pub struct ReplicaLink {
    pub(super) config: LinkConfig,
    pub(super) state: State,
    /// Our history may be the master's, so that it is worth asking to continue.
    pub(super) resumable: bool,
    pub(super) takeover: Takeover,
    /// The master numbers its stream, so that acknowledging makes sense.
    numbered: bool,
    /// The last connection got as far as payload or stream, so that the next may be made at once.
    pub(super) progressed: bool,
    /// A line that has not arrived whole, and when it began.
    pub(super) line: Vec<u8>,
    pub(super) line_since: u64,
    last_io: u64,
    last_connect: u64,
    down_since: Option<u64>,
    next_tick: u64,
    pub(super) outputs: VecDeque<Queued>,
}

/// Time for the rest of a handshake line to arrive, in milliseconds (Redis: fixed at 5 s).
const LINE_TIMEOUT_MS: u64 = 5_000;
/// Interval of acknowledgements, of newlines while loading, and of attempts to connect, in milliseconds.
const TICK_MS: u64 = 1_000;

impl ReplicaLink {
    /// A link that connects at once. `resumable` says whether what we hold may be the beginning of
    /// what the master holds: true after following or being a master, or when an RDB file said so.
    pub fn new(now_ms: u64, config: LinkConfig, resumable: bool) -> ReplicaLink {
        let mut link = ReplicaLink {
            config,
            state: State::Connect { retry_at: now_ms },
            resumable,
            takeover: Takeover::None,
            numbered: true,
            progressed: false,
            line: Vec::new(),
            line_since: now_ms,
            last_io: now_ms,
            last_connect: now_ms,
            down_since: None,
            next_tick: now_ms + TICK_MS,
            outputs: VecDeque::new(),
        };
        link.announce_connect();
        link.connect(now_ms);
        link
    }

    /// Takes over changed directives; what the handshake says is said anew with the next connection.
    pub fn configure(&mut self, config: LinkConfig) {
        self.config = config;
    }

    /// Makes the next PSYNC ask the peer to take over the mastership.
    pub fn request_takeover(&mut self) {
        self.takeover = Takeover::Wanted { asked: 0 };
    }

    /// How far that has come.
    pub fn takeover(&self) -> Takeover {
        self.takeover
    }

    /// The connection was made.
    pub fn connected(&mut self, now_ms: u64) {
        if !matches!(self.state, State::Connecting) {
            return;
        }
        self.last_io = now_ms;
        self.log(Level::Notice, "Non blocking connect for SYNC fired the event.".into());
        self.send(&[b"PING"]);
        self.state = State::Handshake(Step::Pong);
    }

    /// The connection could not be made, for this reason.
    pub fn connect_failed(&mut self, now_ms: u64, reason: &str) {
        if matches!(self.state, State::Connecting) {
            self.log(Level::Warning, format!("Error condition on socket for SYNC: {reason}"));
            self.retry_later(now_ms);
        }
    }

    /// The connection is gone, for this reason. What the stream gave and was not applied is void.
    pub fn closed(&mut self, now_ms: u64, reason: &str) {
        match self.state {
            State::Connect { .. } => {}
            State::Connecting => self.connect_failed(now_ms, reason),
            State::Handshake(_) => self.no_reply(now_ms, reason),
            State::Announce { .. } => {
                self.log(Level::Warning, format!("I/O error reading bulk count from MASTER: {reason}"));
                self.reconnect_after_failure(now_ms);
            }
            State::Transfer { .. } | State::Loading { .. } => {
                self.log(Level::Warning, format!("I/O error trying to sync with MASTER: {reason}"));
                self.reconnect_after_failure(now_ms);
            }
            State::Connected => self.link_lost(now_ms),
        }
    }

    /// Bytes from the master: takes what it can off the front of `input` and says what that means.
    /// To be called until it returns `None`. What is left in `input` then has to be offered again
    /// after loading, before anything newer.
    pub fn handle_bytes<'i>(&mut self, now_ms: u64, input: &mut &'i [u8]) -> Option<LinkEvent<'i>> {
        if !input.is_empty() && self.wants_bytes() {
            self.last_io = now_ms;
        }
        while matches!(self.state, State::Handshake(_) | State::Announce { .. }) {
            let line = self.take_line(now_ms, input)?;
            let event = self.handle_line(now_ms, &line);
            if event.is_some() {
                return event;
            }
        }
        if let State::Transfer { payload, lineage } = &mut self.state {
            if let Some(part) = payload.take(input) {
                return Some(LinkEvent::Payload(part));
            }
            if !payload.has_ended() {
                return None;
            }
            self.state = State::Loading {
                framing: payload.framing(),
                received: payload.received(),
                lineage: *lineage,
            };
            self.next_tick = now_ms + TICK_MS;
            return Some(LinkEvent::PayloadEnd);
        }
        if matches!(self.state, State::Connected) && !input.is_empty() {
            return Some(LinkEvent::Stream(std::mem::take(input)));
        }
        None
    }

    /// Whether the driver should read from the connection.
    pub fn wants_bytes(&self) -> bool {
        !matches!(self.state, State::Connect { .. } | State::Connecting | State::Loading { .. })
    }

    /// What we held was given up for what is being loaded, so that there is nothing to continue.
    pub fn history_dropped(&mut self) {
        self.resumable = false;
    }

    /// The payload was loaded; returns the lineage that the node has to adopt before it takes the
    /// stream. `None` if no payload is awaited any more, or the master is too old to name one.
    pub fn load_succeeded(&mut self, now_ms: u64) -> Option<(ReplId, u64)> {
        let State::Loading { framing, lineage, .. } = self.state else { return None };
        self.log(Level::Notice, "MASTER <-> REPLICA sync: Finished with success".into());
        self.follow(now_ms);
        self.numbered = lineage.is_some();
        self.resumable = self.numbered;
        if matches!(framing, Framing::EofMarked(_)) {
            // The master holds the stream until it hears from us.
            self.request_ack();
        }
        lineage
    }

    /// The payload could not be loaded (the loader has logged why).
    pub fn load_failed(&mut self, now_ms: u64) {
        if matches!(self.state, State::Transfer { .. } | State::Loading { .. }) {
            self.reconnect_after_failure(now_ms);
        }
    }

    /// The stream cannot be understood: what we hold may be wrong, so that it is not continued.
    pub fn stream_corrupt(&mut self, now_ms: u64) {
        if matches!(self.state, State::Connected) {
            self.resumable = false;
            self.link_lost(now_ms);
        }
    }

    /// Acknowledges as soon as outputs are polled (REPLCONF GETACK).
    pub fn request_ack(&mut self) {
        let already = self.outputs.iter().any(|queued| matches!(queued, Queued::Ack));
        if self.numbered && !already && matches!(self.state, State::Connected) {
            self.outputs.push_back(Queued::Ack);
        }
    }

    /// Gives up the link for good (promotion, or another master).
    pub fn shut(&mut self) {
        self.outputs.clear();
        if !matches!(self.state, State::Connect { .. }) {
            self.put(LinkOutput::Close);
        }
        self.state = State::Connect { retry_at: u64::MAX };
    }

    /// When `handle_timeout` wants to be called next. Bytes that have arrived are to be handed in first.
    pub fn poll_timeout(&self) -> Option<u64> {
        let silence = self.last_io + self.config.timeout_ms;
        let line = if self.line.is_empty() { u64::MAX } else { self.line_since + LINE_TIMEOUT_MS };
        Some(match self.state {
            State::Connect { retry_at: u64::MAX } => return None,
            State::Connect { retry_at } => retry_at,
            State::Connecting | State::Transfer { .. } => silence,
            State::Handshake(_) | State::Announce { .. } => silence.min(line),
            State::Loading { .. } => self.next_tick,
            State::Connected => silence.min(self.next_tick),
        })
    }

    /// Does what is due.
    pub fn handle_timeout(&mut self, now_ms: u64) {
        let silent = now_ms >= self.last_io + self.config.timeout_ms;
        let cut_line = !self.line.is_empty() && now_ms >= self.line_since + LINE_TIMEOUT_MS;
        match self.state {
            State::Connect { retry_at } if now_ms >= retry_at => {
                self.announce_connect();
                self.connect(now_ms);
            }
            State::Connecting | State::Handshake(_) if silent => {
                self.log(Level::Warning, "Timeout connecting to the MASTER...".into());
                self.reconnect_after_failure(now_ms);
            }
            State::Handshake(_) if cut_line => self.no_reply(now_ms, "Connection timed out"),
            State::Announce { .. } if cut_line => self.closed(now_ms, "Connection timed out"),
            State::Announce { .. } | State::Transfer { .. } if silent => {
                let text = "Timeout receiving bulk data from MASTER... If the problem persists try to set the 'repl-timeout' parameter in redis.conf to a larger value.";
                self.log(Level::Warning, text.into());
                self.reconnect_after_failure(now_ms);
            }
            State::Connected if silent => {
                self.log(Level::Warning, "MASTER timeout: no data nor PING received...".into());
                self.link_lost(now_ms);
            }
            State::Loading { .. } if now_ms >= self.next_tick => {
                self.next_tick = now_ms + TICK_MS;
                self.put(LinkOutput::Send(b"\n".to_vec()));
            }
            State::Connected if now_ms >= self.next_tick => {
                self.next_tick = now_ms + TICK_MS;
                self.request_ack();
            }
            _ => {}
        }
    }

    /// The next thing to do, in order. `applied` is what the node has at this moment.
    pub fn poll_output(&mut self, applied: &Applied) -> Option<LinkOutput> {
        Some(match self.outputs.pop_front()? {
            Queued::Ready(output) => output,
            Queued::Ack => {
                let (offset, fsynced) = (applied.offset.to_string(), applied.fsynced.map(|o| o.to_string()));
                let mut words: Vec<&[u8]> = vec![b"REPLCONF", b"ACK", offset.as_bytes()];
                if let Some(fsynced) = &fsynced {
                    words.extend([b"FACK" as &[u8], fsynced.as_bytes()]);
                }
                LinkOutput::Send(command(&words))
            }
            Queued::Psync => {
                let (replid, offset, text) = match self.resumable {
                    true => {
                        let (replid, offset) = (applied.replid.to_string(), (applied.offset + 1).to_string());
                        let text = format!("Trying a partial resynchronization (request {replid}:{offset}).");
                        (replid, offset, text)
                    }
                    false => (
                        "?".into(),
                        "-1".into(),
                        "Partial resynchronization not possible (no cached master)".into(),
                    ),
                };
                let mut words: Vec<&[u8]> = vec![b"PSYNC", replid.as_bytes(), offset.as_bytes()];
                if let Takeover::Wanted { asked } = &mut self.takeover {
                    *asked += 1;
                    words.push(b"FAILOVER");
                }
                self.outputs.push_front(Queued::Ready(LinkOutput::Send(command(&words))));
                LinkOutput::Log(LogLine { level: Level::Notice, text })
            }
        })
    }

    /// The name of the state in ROLE.
    pub fn state(&self) -> LinkState {
        match self.state {
            State::Connect { .. } => LinkState::Connect,
            State::Connecting => LinkState::Connecting,
            State::Handshake(_) => LinkState::Handshake,
            State::Announce { .. } | State::Transfer { .. } | State::Loading { .. } => LinkState::Sync,
            State::Connected => LinkState::Connected,
        }
    }

    /// Whether a complete payload is being loaded.
    pub fn is_loading(&self) -> bool {
        matches!(self.state, State::Loading { .. })
    }

    /// Whom the link goes to.
    pub fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// Whether we would ask to continue rather than for everything.
    pub fn is_resumable(&self) -> bool {
        self.resumable
    }

    /// Whether the master numbers its stream; one from before PSYNC does not.
    pub fn is_numbered(&self) -> bool {
        self.numbered
    }

    /// Seconds since the master was heard, while connected.
    pub fn last_io_seconds_ago(&self, now_ms: u64) -> Option<u64> {
        matches!(self.state, State::Connected).then(|| now_ms.saturating_sub(self.last_io) / 1000)
    }

    /// Seconds since the link was lost, if there was one and it is still lost.
    pub fn down_since_seconds(&self, now_ms: u64) -> Option<u64> {
        self.down_since.map(|since| now_ms.saturating_sub(since) / 1000)
    }

    /// Progress of the payload under way.
    pub fn transfer(&self, now_ms: u64) -> Option<TransferInfo> {
        let total = |framing| match framing {
            Framing::Sized(bytes) => bytes as i64,
            Framing::EofMarked(_) => 0,
        };
        let (total_bytes, read_bytes) = match &self.state {
            State::Announce { .. } => (-1, 0),
            State::Transfer { payload, .. } => (total(payload.framing()), payload.received()),
            State::Loading { framing, received, .. } => (total(*framing), *received),
            _ => return None,
        };
        let last_io_seconds_ago = now_ms.saturating_sub(self.last_io) / 1000;
        Some(TransferInfo { total_bytes, read_bytes, last_io_seconds_ago })
    }

    pub(super) fn follow(&mut self, now_ms: u64) {
        self.state = State::Connected;
        self.progressed = true;
        self.last_io = now_ms;
        self.down_since = None;
        self.next_tick = now_ms + TICK_MS;
    }

    /// The reply that the handshake waits for will not come.
    pub(super) fn no_reply(&mut self, now_ms: u64, reason: &str) {
        self.log(Level::Warning, format!("Failed to read response from the server: {reason}"));
        let text = match self.state {
            State::Handshake(Step::Psync) => "Master did not reply to PSYNC, will try later",
            _ => "Master did not respond to command during SYNC handshake",
        };
        self.log(Level::Warning, text.into());
        self.retry_later(now_ms);
    }

    pub(super) fn retry_later(&mut self, now_ms: u64) {
        self.put(LinkOutput::Close);
        self.line.clear();
        self.state = State::Connect { retry_at: now_ms + TICK_MS };
    }

    pub(super) fn reconnect_after_failure(&mut self, now_ms: u64) {
        self.put(LinkOutput::Close);
        let LinkConfig { host, port, .. } = &self.config;
        self.log(Level::Notice, format!("Reconnecting to MASTER {host}:{port} after failure"));
        self.reconnect(now_ms);
    }

    fn link_lost(&mut self, now_ms: u64) {
        self.put(LinkOutput::Close);
        self.down_since = Some(now_ms);
        self.log(Level::Notice, "Connection with master lost.".into());
        if self.resumable {
            self.log(Level::Notice, "Caching the disconnected master state.".into());
        }
        let LinkConfig { host, port, .. } = &self.config;
        self.log(Level::Notice, format!("Reconnecting to MASTER {host}:{port}"));
        self.reconnect(now_ms);
    }

    /// Connects at once after a connection that was good for something, so that as little as
    /// possible of the master's backlog is lost meanwhile; otherwise at most once a second.
    fn reconnect(&mut self, now_ms: u64) {
        self.line.clear();
        if std::mem::take(&mut self.progressed) || now_ms >= self.last_connect + TICK_MS {
            self.connect(now_ms);
        } else {
            self.state = State::Connect { retry_at: self.last_connect + TICK_MS };
        }
    }

    fn announce_connect(&mut self) {
        let LinkConfig { host, port, .. } = &self.config;
        self.log(Level::Notice, format!("Connecting to MASTER {host}:{port}"));
    }

    fn connect(&mut self, now_ms: u64) {
        self.last_connect = now_ms;
        self.last_io = now_ms;
        self.line.clear();
        self.state = State::Connecting;
        self.put(LinkOutput::Connect);
        self.log(Level::Notice, "MASTER <-> REPLICA sync started".into());
    }

    pub(super) fn send(&mut self, words: &[&[u8]]) {
        self.put(LinkOutput::Send(command(words)));
    }

    pub(super) fn log(&mut self, level: Level, text: String) {
        self.put(LinkOutput::Log(LogLine { level, text }));
    }

    pub(super) fn put(&mut self, output: LinkOutput) {
        self.outputs.push_back(Queued::Ready(output));
    }
}

/// A command as RESP writes it.
fn command(words: &[&[u8]]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", words.len()).into_bytes();
    for word in words {
        out.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
    out
}
