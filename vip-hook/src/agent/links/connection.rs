//! One connection that speaks RESP: commands out, values in.

use std::io;

use redoubt_wire::resp::value::{Decoder, Value, ValueLimits, encode_command};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::CONNECT_LIMIT;
use crate::config::{Endpoint, Login};
use crate::core::types::QUESTION_LIMIT;

/// ROLE of a master with many replicas and SENTINEL MASTER are the longest replies, of a few KiB.
pub(super) const LIMITS: ValueLimits =
    ValueLimits { max_blob_len: 64 << 10, max_line_len: 16 << 10, max_elements: 4096, max_depth: 6 };
/// The longest reply as a whole.
const MAX_REPLY: usize = 256 << 10;

/// Why there is no connection.
#[derive(Debug)]
pub(super) enum OpenError {
    /// Nobody listens.
    Refused,
    /// Anything else; the text says what.
    Other(String),
}

/// A connection, logged in.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    decoder: Decoder,
    buf: Vec<u8>,
    /// Bytes at the start of `buf` that have become values.
    used: usize,
}

impl Connection {
    /// Connects and, where a login is needed, logs in.
    pub(super) async fn open(to: &Endpoint, login: &Login) -> Result<Connection, OpenError> {
        let addresses = tokio::net::lookup_host((to.host.as_str(), to.port)).await;
        let addresses: Vec<_> =
            addresses.map_err(|e| OpenError::Other(format!("no address for {}: {e}", to.host)))?.collect();
        let stream = match timeout(CONNECT_LIMIT, TcpStream::connect(&addresses[..])).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(e)) if e.kind() == io::ErrorKind::ConnectionRefused => return Err(OpenError::Refused),
            Ok(Err(e)) => return Err(OpenError::Other(format!("cannot connect: {e}"))),
            Err(_) => {
                return Err(OpenError::Other(format!(
                    "no connection within {} ms",
                    CONNECT_LIMIT.as_millis()
                )));
            }
        };
        stream.set_nodelay(true).map_err(|e| OpenError::Other(e.to_string()))?;
        let mut connection =
            Connection { stream, decoder: Decoder::new(LIMITS), buf: Vec::with_capacity(4 << 10), used: 0 };
        if let Some(auth) = login.command() {
            match timeout(CONNECT_LIMIT, connection.log_in(&auth)).await {
                Ok(result) => result.map_err(OpenError::Other)?,
                Err(_) => return Err(OpenError::Other("no answer to AUTH".into())),
            }
        }
        Ok(connection)
    }

    async fn log_in(&mut self, auth: &[&str]) -> Result<(), String> {
        self.send(&[auth]).await?;
        let reply = self.next().await?;
        reply.error_text().map_or(Ok(()), |text| Err(format!("AUTH: {}", String::from_utf8_lossy(text))))
    }

    /// Sends commands in one write. They are short: where the socket does not take them, the peer has not read for long.
    pub(super) async fn send(&mut self, commands: &[&[&str]]) -> Result<(), String> {
        let mut bytes = Vec::new();
        commands.iter().for_each(|command| encode_command(&mut bytes, command));
        match timeout(QUESTION_LIMIT, self.stream.write_all(&bytes)).await {
            Ok(result) => result.map_err(|e| e.to_string()),
            Err(_) => Err("it takes no more requests".into()),
        }
    }

    /// The next value. May be dropped while it waits; nothing is lost.
    pub(super) async fn next(&mut self) -> Result<Value, String> {
        loop {
            let rest = &self.buf[self.used..];
            if let Some((value, len)) = self.decoder.decode(rest).map_err(|e| e.to_string())? {
                self.used += len;
                return Ok(value);
            }
            self.buf.drain(..self.used);
            self.used = 0;
            if self.buf.len() > MAX_REPLY {
                return Err("its reply is too long".into());
            }
            match self.stream.read_buf(&mut self.buf).await {
                Ok(0) => return Err("it closed the connection".into()),
                Ok(_) => {}
                Err(e) => return Err(e.to_string()),
            }
        }
    }
}
