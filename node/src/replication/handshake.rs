//! The handshake of a replica with its master: lines that are sent, and what their replies mean.
//!
//! The texts of the log lines, and which errors end the attempt, are Redis 7.2's. One thing
//! differs: a master that continues a history which was not asked for is not believed.

use memchr::memchr;

use super::Level;
use super::lineage::ReplId;
use super::payload::{Framing, Payload};
use super::replica::{LinkConfig, LinkEvent, LinkOutput, Queued, ReplicaLink, State, Step, Takeover};

const REPLY_LINE_MAX: usize = 255;
const ANNOUNCEMENT_MAX: usize = 1023;
/// How a node that is a master answers PSYNC … FAILOVER.
pub(super) const IS_A_MASTER: &[u8] = b"-ERR PSYNC FAILOVER can't be sent to a master.";
/// How a replica answers it whose history is not ours any more.
const GOES_ON: &[u8] = b"-ERR PSYNC FAILOVER replid must match my replid.";

impl ReplicaLink {
    pub(super) fn take_line(&mut self, now_ms: u64, input: &mut &[u8]) -> Option<Vec<u8>> {
        if self.line.is_empty() {
            self.line_since = now_ms;
        }
        let end = memchr(b'\n', input);
        let (part, rest) = input.split_at(end.map_or(input.len(), |at| at + 1));
        *input = rest;
        let limit =
            if matches!(self.state, State::Announce { .. }) { ANNOUNCEMENT_MAX } else { REPLY_LINE_MAX };
        if self.line.len() + part.len() > limit {
            *input = &[];
            self.closed(now_ms, "line too long");
            return None;
        }
        self.line.extend_from_slice(part);
        end?;
        let mut line = std::mem::take(&mut self.line);
        line.pop();
        line.pop_if(|byte| *byte == b'\r');
        Some(line)
    }

    pub(super) fn handle_line(&mut self, now_ms: u64, line: &[u8]) -> Option<LinkEvent<'static>> {
        let text = String::from_utf8_lossy(line);
        let is_error = line.starts_with(b"-");
        match self.state {
            State::Handshake(Step::Pong) => self.handle_pong(now_ms, line),
            State::Handshake(Step::Auth) if is_error => {
                self.log(Level::Warning, format!("Unable to AUTH to MASTER: {text}"));
                self.retry_later(now_ms);
            }
            State::Handshake(Step::Psync) => return self.handle_psync_reply(now_ms, line),
            State::Handshake(step) => {
                if is_error {
                    let option = step.option();
                    self.log(
                        Level::Notice,
                        format!("(Non critical) Master does not understand REPLCONF {option}: {text}"),
                    );
                }
                self.next_step(step);
            }
            State::Announce { lineage } => return self.handle_announcement(now_ms, line, lineage),
            _ => {}
        }
        None
    }

    fn handle_pong(&mut self, now_ms: u64, line: &[u8]) {
        let accepted: [&[u8]; 4] = [b"+", b"-NOAUTH", b"-NOPERM", b"-ERR operation not permitted"];
        if !accepted.iter().any(|start| line.starts_with(start)) {
            let text = String::from_utf8_lossy(line);
            self.log(Level::Warning, format!("Error reply to PING from master: '{text}'"));
            return self.retry_later(now_ms);
        }
        self.log(Level::Notice, "Master replied to PING, replication can continue...".into());
        let LinkConfig { user, password, listening_port, announce_ip, .. } = self.config.clone();
        if let Some(password) = &password {
            match &user {
                Some(user) => self.send(&[b"AUTH", user.as_bytes(), &password.0]),
                None => self.send(&[b"AUTH", &password.0]),
            }
        }
        self.send(&[b"REPLCONF", b"listening-port", listening_port.to_string().as_bytes()]);
        if let Some(ip) = &announce_ip {
            self.send(&[b"REPLCONF", b"ip-address", ip.as_bytes()]);
        }
        self.send(&[b"REPLCONF", b"capa", b"eof", b"capa", b"psync2"]);
        self.state = State::Handshake(if password.is_some() { Step::Auth } else { Step::Port });
    }

    fn next_step(&mut self, step: Step) {
        let next = match step {
            Step::Pong | Step::Auth => Step::Port,
            Step::Port if self.config.announce_ip.is_some() => Step::Ip,
            Step::Port | Step::Ip => Step::Capa,
            Step::Capa | Step::Psync => {
                self.outputs.push_back(Queued::Psync);
                Step::Psync
            }
        };
        self.state = State::Handshake(next);
    }

    fn handle_psync_reply(&mut self, now_ms: u64, line: &[u8]) -> Option<LinkEvent<'static>> {
        let text = String::from_utf8_lossy(line);
        if line.is_empty() {
            return None;
        }
        if let Some(rest) = line.strip_prefix(b"+FULLRESYNC") {
            self.granted();
            let lineage = parse_fullresync(rest);
            match lineage {
                Some((replid, offset)) => {
                    self.log(Level::Notice, format!("Full resync from master: {replid}:{offset}"));
                }
                None => self.log(Level::Warning, "Master replied with wrong +FULLRESYNC syntax.".into()),
            }
            self.state = State::Announce { lineage };
        } else if let (Some(rest), true) = (line.strip_prefix(b"+CONTINUE"), self.resumable) {
            self.granted();
            self.log(Level::Notice, "Successful partial resynchronization with master.".into());
            let replid = rest.strip_prefix(b" ").and_then(ReplId::parse);
            self.follow(now_ms);
            self.log(
                Level::Notice,
                "MASTER <-> REPLICA sync: Master accepted a Partial Resynchronization.".into(),
            );
            return Some(LinkEvent::Continue(replid));
        } else if line.starts_with(b"-NOMASTERLINK") || line.starts_with(b"-LOADING") {
            self.log(
                Level::Notice,
                format!("Master is currently unable to PSYNC but should be in the future: {text}"),
            );
            self.refused();
            self.retry_later(now_ms);
        } else if matches!(self.takeover, Takeover::Wanted { asked: 2.. })
            && (line.starts_with(IS_A_MASTER) || line.starts_with(GOES_ON))
        {
            // It took over when it was asked before and its answer was lost, or another did: whoever
            // is the master, it is not us.
            self.granted();
            self.outputs.push_back(Queued::Psync);
        } else {
            match line.starts_with(b"-ERR") {
                true => self.log(
                    Level::Notice,
                    format!("Master does not support PSYNC or is in error state (reply: {text})"),
                ),
                false => self.log(Level::Warning, format!("Unexpected reply to PSYNC from master: {text}")),
            }
            if matches!(self.takeover, Takeover::Wanted { .. }) {
                self.refused();
                self.retry_later(now_ms);
                return None;
            }
            self.log(Level::Notice, "Retrying with SYNC...".into());
            self.put(LinkOutput::Send(b"SYNC\r\n".to_vec()));
            self.state = State::Announce { lineage: None };
        }
        None
    }

    fn granted(&mut self) {
        if matches!(self.takeover, Takeover::Wanted { .. }) {
            self.takeover = Takeover::Granted;
        }
    }

    /// The peer says that it does not take over. If a request before this one was never answered, it may
    /// have done so all the same; then only an answer that tells which will do.
    fn refused(&mut self) {
        if matches!(self.takeover, Takeover::Wanted { asked: 1 }) {
            self.takeover = Takeover::Refused;
        }
    }

    fn handle_announcement(
        &mut self,
        now_ms: u64,
        line: &[u8],
        lineage: Option<(ReplId, u64)>,
    ) -> Option<LinkEvent<'static>> {
        let text = String::from_utf8_lossy(line);
        if line.is_empty() {
            return None;
        }
        if let Some(error) = text.strip_prefix('-') {
            self.log(Level::Warning, format!("MASTER aborted replication with an error: {error}"));
            self.reconnect_after_failure(now_ms);
            return None;
        }
        let Some(framing) = line.strip_prefix(b"$").and_then(Framing::parse) else {
            self.log(Level::Warning, format!(
                "Bad protocol from MASTER, the first byte is not '$' (we received '{text}'), are you sure the host and port are right?"
            ));
            self.reconnect_after_failure(now_ms);
            return None;
        };
        let place = if self.config.diskless_load { "to parser" } else { "to disk" };
        let what = match framing {
            Framing::Sized(bytes) => format!("receiving {bytes} bytes from master {place}"),
            Framing::EofMarked(_) => format!("receiving streamed RDB from master with EOF {place}"),
        };
        self.log(Level::Notice, format!("MASTER <-> REPLICA sync: {what}"));
        self.progressed = true;
        self.state = State::Transfer { payload: Payload::new(framing), lineage };
        Some(LinkEvent::StartLoad { lineage, payload: framing })
    }
}

impl Step {
    /// The option that the reply answers, in log lines.
    fn option(self) -> &'static str {
        match self {
            Step::Port => "listening-port",
            Step::Ip => "ip-address",
            Step::Capa => "capa",
            Step::Pong | Step::Auth | Step::Psync => "",
        }
    }
}

/// Reads ` <id> <offset>`.
fn parse_fullresync(rest: &[u8]) -> Option<(ReplId, u64)> {
    let mut words = rest.strip_prefix(b" ")?.splitn(2, |byte| *byte == b' ');
    let replid = ReplId::parse(words.next()?)?;
    let offset = std::str::from_utf8(words.next()?).ok()?.trim().parse().ok()?;
    Some((replid, offset))
}
