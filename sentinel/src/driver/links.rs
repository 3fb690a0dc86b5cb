//! Connections to data nodes and other Sentinels.
//!
//! Plain sockets with the decoder of the wire crate rather than a client library: the state
//! machine wants to know the moment a connection is refused or breaks, pairs replies with
//! commands itself, and keeps sending on a connection whose other end is silent.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};

use redoubt_wire::resp::value::{Decoder, ValueLimits, encode_command};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use super::{Event, Events};
use crate::core::Input;
use crate::core::link::ConnId;
use crate::core::model::Addr;

/// INFO and the answers of other Sentinels are far smaller; a peer that sends more is none of ours.
const LIMITS: ValueLimits =
    ValueLimits { max_blob_len: 16 << 20, max_line_len: 64 << 10, max_elements: 4096, max_depth: 8 };

struct Handle {
    outgoing: UnboundedSender<Vec<u8>>,
    task: AbortHandle,
}

/// The connections that stand or are being made.
pub(crate) struct Links {
    open: HashMap<ConnId, Handle>,
    events: Events,
    bind_source: Option<IpAddr>,
}

impl Links {
    pub(crate) fn new(events: Events, bind_source: Option<IpAddr>) -> Self {
        Links { open: HashMap::new(), events, bind_source }
    }

    /// Starts to connect; the outcome comes as an event.
    pub(crate) fn connect(&mut self, conn: ConnId, addr: Addr) {
        let (outgoing, queue) = unbounded_channel();
        let (events, source) = (self.events.clone(), self.bind_source);
        let task = tokio::spawn(async move {
            let input = match run(conn, &addr, source, queue, &events).await {
                Ok(()) => Input::Disconnected { conn, reason: "Connection closed by the other end".into() },
                Err(Ended::Attempt(error)) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    Input::Refused { conn }
                }
                Err(Ended::Attempt(error) | Ended::Connection(error)) => {
                    Input::Disconnected { conn, reason: error.to_string() }
                }
            };
            drop(events.send(Event::Core(input)));
        });
        self.open.insert(conn, Handle { outgoing, task: task.abort_handle() });
        self.open.retain(|_, handle| !handle.task.is_finished());
    }

    /// Sends commands in one write. On a connection that has just ended they are lost, as its
    /// end is about to be reported.
    pub(crate) fn send(&self, conn: ConnId, commands: &[Vec<Vec<u8>>]) {
        if let Some(handle) = self.open.get(&conn) {
            let mut bytes = Vec::new();
            commands.iter().for_each(|command| encode_command(&mut bytes, command));
            drop(handle.outgoing.send(bytes));
        }
    }

    /// Closes a connection without waiting for anything.
    pub(crate) fn close(&mut self, conn: ConnId) {
        if let Some(handle) = self.open.remove(&conn) {
            handle.task.abort();
        }
    }
}

/// What failed.
enum Ended {
    /// The attempt to connect.
    Attempt(io::Error),
    /// The connection.
    Connection(io::Error),
}

async fn run(
    conn: ConnId,
    addr: &Addr,
    source: Option<IpAddr>,
    queue: UnboundedReceiver<Vec<u8>>,
    events: &Events,
) -> Result<(), Ended> {
    let no_ip = |_| Ended::Attempt(io::Error::other(format!("'{}' is no IP address", addr.ip)));
    let ip = addr.ip.parse().map_err(no_ip)?;
    let stream = open(SocketAddr::new(ip, addr.port), source).await.map_err(Ended::Attempt)?;
    let local_ip = stream.local_addr().ok().map(|a| a.ip().to_canonical().to_string());
    drop(events.send(Event::Core(Input::Connected { conn, local_ip })));
    let (reader, writer) = stream.into_split();
    let ended = tokio::select! {
        ended = read(conn, reader, events) => ended,
        ended = write(writer, queue) => ended,
    };
    ended.map_err(Ended::Connection)
}

async fn open(to: SocketAddr, source: Option<IpAddr>) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    if let Some(source) = source {
        socket.bind(SocketAddr::new(source, 0))?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn read(conn: ConnId, mut reader: OwnedReadHalf, events: &Events) -> io::Result<()> {
    let mut decoder = Decoder::new(LIMITS);
    let mut buf = Vec::with_capacity(16 << 10);
    loop {
        if reader.read_buf(&mut buf).await? == 0 {
            return Ok(());
        }
        let mut used = 0;
        while let Some((value, len)) =
            decoder.decode(&buf[used..]).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?
        {
            used += len;
            drop(events.send(Event::Core(Input::Reply { conn, value })));
        }
        buf.drain(..used);
    }
}

async fn write(mut writer: OwnedWriteHalf, mut queue: UnboundedReceiver<Vec<u8>>) -> io::Result<()> {
    while let Some(bytes) = queue.recv().await {
        writer.write_all(&bytes).await?;
    }
    Ok(())
}
