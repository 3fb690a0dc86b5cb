//! The listening side: accepts clients, reads their requests and writes their replies.
//!
//! A client's next request is read only when the last one is answered, so that one client
//! can hold neither memory nor the loop; what is published to a client that does not read is
//! bounded, and then ends its connection, as `client-output-buffer-limit pubsub` does in Redis.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use redoubt_wire::resp::request::{Limits, Parsed, RequestParser};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use super::{Event, Events};
use crate::core::ClientId;

/// Bytes that may wait for a client that does not read.
const MAX_UNSENT: usize = 32 << 20;
/// The longest request that makes sense here: no command takes large values.
const LIMITS: Limits =
    Limits { max_bulk_len: 1 << 20, max_multibulk: 1024, max_inline: 64 * 1024, authenticated: true };

/// A connection, as the tasks around it share it.
#[derive(Debug)]
pub(crate) struct Connection {
    outgoing: UnboundedSender<Option<Vec<u8>>>,
    unsent: Arc<AtomicUsize>,
    answered: Arc<Notify>,
    task: AbortHandle,
}

impl Connection {
    /// Queues bytes; a client that lets too many pile up is dropped.
    pub(crate) fn send(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if self.unsent.fetch_add(bytes.len(), Ordering::Relaxed) + bytes.len() > MAX_UNSENT {
            return self.task.abort();
        }
        drop(self.outgoing.send(Some(bytes.to_vec())));
    }

    /// Lets the next request be read.
    pub(crate) fn next_request(&self) {
        self.answered.notify_one();
    }

    /// Closes the connection when what is queued has been sent.
    pub(crate) fn close(&self) {
        drop(self.outgoing.send(None));
    }

    /// Closes the connection at once.
    pub(crate) fn abort(&self) {
        self.task.abort();
    }
}

/// A client that has just connected.
#[derive(Debug)]
pub(crate) struct NewClient {
    pub(crate) id: ClientId,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) connection: Connection,
}

/// Opens the listening socket of one address. An IPv6 one takes IPv6 alone, so that both
/// families can have the same port.
///
/// # Errors
/// The address is not ours or is taken.
pub(crate) fn listen(ip: IpAddr, port: u16, backlog: i32) -> io::Result<TcpListener> {
    let addr = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}

/// Accepts clients for good.
pub(crate) fn serve(listener: TcpListener, ids: Arc<AtomicU64>, keepalive_s: u64, events: Events) {
    tokio::spawn(async move {
        loop {
            match listener.accept().await {
                Ok((stream, peer)) => {
                    let id = ClientId(ids.fetch_add(1, Ordering::Relaxed));
                    if let Err(error) = welcome(id, stream, peer, keepalive_s, &events) {
                        redoubt_wire::log::verbose!("Error registering the client {peer}: {error}");
                    }
                }
                Err(error) => {
                    // Out of descriptors, most likely: others will be closed.
                    redoubt_wire::log::warning!("Accepting client connection: {error}");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    });
}

fn welcome(
    id: ClientId,
    stream: TcpStream,
    peer: SocketAddr,
    keepalive_s: u64,
    events: &Events,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if keepalive_s > 0 {
        let time = std::time::Duration::from_secs(keepalive_s);
        SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(time))?;
    }
    let local = stream.local_addr()?;
    let (outgoing, queue) = unbounded_channel();
    let unsent = Arc::new(AtomicUsize::new(0));
    let answered = Arc::new(Notify::new());
    let (to_loop, waits, counter) = (events.clone(), answered.clone(), unsent.clone());
    let (reader, writer) = stream.into_split();
    let task = tokio::spawn(async move {
        // Dropped also when the task is aborted, so that the loop always hears of the end.
        let gone = Gone { id, events: to_loop };
        tokio::select! {
            () = read(id, reader, &gone.events, &waits) => {}
            () = write(writer, queue, &counter) => {}
        }
    });
    let connection = Connection { outgoing, unsent, answered, task: task.abort_handle() };
    drop(events.send(Event::NewClient(NewClient { id, peer, local, connection })));
    Ok(())
}

struct Gone {
    id: ClientId,
    events: Events,
}

impl Drop for Gone {
    fn drop(&mut self) {
        drop(self.events.send(Event::ClientGone(self.id)));
    }
}

async fn read(id: ClientId, mut reader: OwnedReadHalf, events: &Events, answered: &Notify) {
    let mut parser = RequestParser::new();
    let mut buf: Vec<u8> = Vec::with_capacity(4096);
    let mut start = 0;
    loop {
        match parser.parse(&buf[start..], &LIMITS) {
            Ok(Parsed::Complete { len }) => {
                let argv = parser.args(&buf[start..]).iter().map(|a| a.to_vec()).collect();
                start += len;
                drop(events.send(Event::Request(id, argv)));
                answered.notified().await;
            }
            Ok(Parsed::Empty { len }) => start += len,
            Ok(Parsed::Incomplete { .. }) => {
                buf.drain(..start);
                start = 0;
                if reader.read_buf(&mut buf).await.unwrap_or(0) == 0 {
                    return;
                }
            }
            Err(error) => {
                drop(events.send(Event::BadRequest(id, error.reply_text())));
                return std::future::pending().await;
            }
        }
    }
}

async fn write(
    mut writer: OwnedWriteHalf,
    mut queue: UnboundedReceiver<Option<Vec<u8>>>,
    unsent: &AtomicUsize,
) {
    while let Some(Some(bytes)) = queue.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
        unsent.fetch_sub(bytes.len(), Ordering::Relaxed);
    }
}
