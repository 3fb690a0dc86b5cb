//! Asks nodes and Sentinels from the command line, one after the other and without an agent.
//!
//! Only questions that change nothing: VOUCH is not among them, since a Sentinel remembers for whom it vouched.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use redoubt_wire::resp::value::{Decoder, Value, ValueLimits, encode_command};

use crate::agent::links::answers;
use crate::config::{Endpoint, Login};
use crate::core::types::NodeRole;

/// How long each step may take.
pub(super) const LIMIT: Duration = Duration::from_millis(500);
/// SENTINEL REPLICAS of a large deployment is the longest.
const LIMITS: ValueLimits =
    ValueLimits { max_blob_len: 256 << 10, max_line_len: 16 << 10, max_elements: 16_384, max_depth: 6 };
const MAX_REPLY: usize = 8 << 20;

/// A connection to a node or a Sentinel.
#[derive(Debug)]
pub(super) struct Peer {
    stream: TcpStream,
    decoder: Decoder,
    buf: Vec<u8>,
}

impl Peer {
    /// Connects and logs in.
    pub(super) fn connect(to: &Endpoint, login: &Login) -> Result<Peer, String> {
        let all = (to.host.as_str(), to.port)
            .to_socket_addrs()
            .map_err(|e| format!("no address for {}: {e}", to.host))?;
        let mut last = format!("no address for {}", to.host);
        for address in all {
            match TcpStream::connect_timeout(&address, LIMIT) {
                Ok(stream) => {
                    let set = stream
                        .set_read_timeout(Some(LIMIT))
                        .and_then(|()| stream.set_write_timeout(Some(LIMIT)));
                    set.map_err(|e| e.to_string())?;
                    let mut peer = Peer { stream, decoder: Decoder::new(LIMITS), buf: Vec::new() };
                    if let Some(auth) = login.command() {
                        let reply = peer.ask(&auth)?;
                        if let Some(text) = reply.error_text() {
                            return Err(format!("AUTH: {}", answers::printable(text)));
                        }
                    }
                    return Ok(peer);
                }
                Err(e) => last = format!("cannot connect: {e}"),
            }
        }
        Err(last)
    }

    /// Sends a command and waits for its reply.
    pub(super) fn ask(&mut self, command: &[&str]) -> Result<Value, String> {
        let mut bytes = Vec::new();
        encode_command(&mut bytes, command);
        self.stream.write_all(&bytes).map_err(|e| e.to_string())?;
        let mut chunk = [0; 16 << 10];
        loop {
            if let Some((value, len)) = self.decoder.decode(&self.buf).map_err(|e| e.to_string())? {
                self.buf.drain(..len);
                return Ok(value);
            }
            if self.buf.len() > MAX_REPLY {
                return Err(format!("the reply to {} is too long", command.join(" ")));
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err("it closed the connection".into()),
                Ok(len) => self.buf.extend_from_slice(&chunk[..len]),
                Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {
                    return Err(format!(
                        "no answer to {} within {} ms",
                        command.join(" "),
                        LIMIT.as_millis()
                    ));
                }
                Err(e) => return Err(e.to_string()),
            }
        }
    }
}

/// What the local node says of itself.
pub(super) fn role(node: &Endpoint, login: &Login) -> NodeRole {
    match Peer::connect(node, login).and_then(|mut peer| peer.ask(&["ROLE"])) {
        Ok(reply) => answers::role(&reply),
        Err(why) => NodeRole::Unknown(why),
    }
}

/// The fields of one SENTINEL reply about an instance.
pub(super) type Fields = BTreeMap<String, String>;

/// What one Sentinel says of a master.
#[derive(Debug)]
pub(super) struct Told {
    /// The master's address, by GET-MASTER-ADDR-BY-NAME.
    pub(super) address: SocketAddr,
    /// SENTINEL MASTER.
    pub(super) master: Fields,
}

impl Told {
    pub(super) fn number(&self, field: &str) -> Option<u64> {
        self.master.get(field)?.parse().ok()
    }
}

/// Asks a Sentinel about a master.
pub(super) fn told(peer: &mut Peer, name: &str) -> Result<Told, String> {
    let address = answers::address(&peer.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name])?)?;
    let reply = peer.ask(&["SENTINEL", "MASTER", name])?;
    answers::epoch(&reply)?;
    Ok(Told { address, master: fields(&reply) })
}

/// The instances of a reply to SENTINEL MASTERS or SENTINEL REPLICAS.
pub(super) fn instances(reply: &Value) -> Result<Vec<Fields>, String> {
    if let Some(text) = reply.error_text() {
        return Err(answers::printable(text));
    }
    Ok(reply.as_slice().unwrap_or_default().iter().map(fields).collect())
}

fn fields(reply: &Value) -> Fields {
    let text = |value: &Value| value.as_bytes().map(answers::printable);
    let pairs: Vec<(&Value, &Value)> = match reply {
        Value::Map(pairs) => pairs.iter().map(|(key, value)| (key, value)).collect(),
        other => {
            other.as_slice().unwrap_or_default().chunks_exact(2).map(|pair| (&pair[0], &pair[1])).collect()
        }
    };
    pairs.into_iter().filter_map(|(key, value)| Some((text(key)?, text(value)?))).collect()
}

/// The `ip` and `port` of an instance.
pub(super) fn address_of(instance: &Fields) -> Option<(IpAddr, u16)> {
    Some((instance.get("ip")?.parse().ok()?, instance.get("port")?.parse().ok()?))
}
