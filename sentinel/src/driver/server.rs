//! The connections of clients: reads their requests and writes their replies.
//!
//! A client's next request is read only when the last one is answered, so that one client
//! can hold neither memory nor the loop. What is published to a client that does not read is
//! bounded by `client-output-buffer-limit`.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use redoubt_wire::resp::request::{Limits, Parsed, RequestParser};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::Notify;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::AbortHandle;

use super::{Event, Events};
use crate::core::ClientId;

/// The longest request that makes sense here: no command takes large values.
const LIMITS: Limits =
    Limits { max_bulk_len: 1 << 20, max_multibulk: 1024, max_inline: 64 * 1024, authenticated: true };

/// A connection, as the tasks around it share it.
#[derive(Debug)]
pub(crate) struct Connection {
    outgoing: UnboundedSender<Option<Vec<u8>>>,
    unsent: Arc<AtomicUsize>,
    answered: Arc<Notify>,
    may_command: Arc<AtomicBool>,
    task: AbortHandle,
}

/// What went over all connections of clients so far.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    /// Bytes received.
    pub(super) input: AtomicU64,
    /// Bytes sent.
    pub(super) output: AtomicU64,
    /// System calls that received something.
    pub(super) reads: AtomicU64,
    /// System calls that sent something.
    pub(super) writes: AtomicU64,
}

impl Connection {
    /// Queues bytes; how many wait now.
    pub(crate) fn send(&self, bytes: &[u8]) -> usize {
        let before = self.unsent.fetch_add(bytes.len(), Ordering::Relaxed);
        if !bytes.is_empty() {
            drop(self.outgoing.send(Some(bytes.to_vec())));
        }
        before + bytes.len()
    }

    /// How many bytes wait to be sent.
    pub(crate) fn unsent(&self) -> usize {
        self.unsent.load(Ordering::Relaxed)
    }

    /// Says whether the client is logged in, or need not be: others may send small requests only.
    pub(crate) fn set_may_command(&self, may: bool) {
        self.may_command.store(may, Ordering::Relaxed);
    }

    /// Lets the next request be read; the first one too.
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

/// Where a client comes from.
#[derive(Debug)]
pub(crate) struct Remote {
    /// Its address, `ip:port` or `path:0`.
    pub(crate) addr: String,
    /// The address of ours that it connected to.
    pub(crate) laddr: String,
    /// The number of its socket.
    pub(crate) fd: i32,
    pub(crate) is_unix: bool,
    /// It is on this machine.
    pub(crate) is_local: bool,
}

/// A client that has just connected.
#[derive(Debug)]
pub(crate) struct NewClient {
    pub(crate) id: ClientId,
    pub(crate) remote: Remote,
    pub(crate) connection: Connection,
}

/// Serves a client, in a task of its own.
pub(super) fn serve<S>(id: ClientId, remote: Remote, stream: S, traffic: &Arc<Traffic>, events: &Events)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
{
    let (outgoing, queue) = unbounded_channel();
    let unsent = Arc::new(AtomicUsize::new(0));
    let answered = Arc::new(Notify::new());
    let may_command = Arc::new(AtomicBool::new(false));
    let (to_loop, waits, may) = (events.clone(), answered.clone(), may_command.clone());
    let (counter, received, sent) = (unsent.clone(), traffic.clone(), traffic.clone());
    let (reader, writer) = tokio::io::split(stream);
    let task = tokio::spawn(async move {
        // Dropped also when the task is aborted, so that the loop always hears of the end.
        let gone = Gone { id, events: to_loop };
        tokio::select! {
            () = read(id, reader, &gone.events, &waits, &may, &received) => {}
            () = write(writer, queue, &counter, &sent) => {}
        }
    });
    let connection = Connection { outgoing, unsent, answered, may_command, task: task.abort_handle() };
    drop(events.send(Event::NewClient(NewClient { id, remote, connection })));
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

async fn read(
    id: ClientId,
    mut reader: impl AsyncRead + Unpin,
    events: &Events,
    answered: &Notify,
    may_command: &AtomicBool,
    traffic: &Traffic,
) {
    let mut parser = RequestParser::new();
    let mut buf: Vec<u8> = Vec::with_capacity(4096);
    let mut start = 0;
    // Until the loop has taken the client in, it is not known what it may send.
    answered.notified().await;
    loop {
        let limits = Limits { authenticated: may_command.load(Ordering::Relaxed), ..LIMITS };
        match parser.parse(&buf[start..], &limits) {
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
                let len = reader.read_buf(&mut buf).await.unwrap_or(0);
                if len == 0 {
                    return;
                }
                traffic.input.fetch_add(len as u64, Ordering::Relaxed);
                traffic.reads.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                drop(events.send(Event::BadRequest(id, error.reply_text())));
                return std::future::pending().await;
            }
        }
    }
}

async fn write(
    mut writer: impl AsyncWrite + Unpin,
    mut queue: UnboundedReceiver<Option<Vec<u8>>>,
    unsent: &AtomicUsize,
    traffic: &Traffic,
) {
    while let Some(Some(bytes)) = queue.recv().await {
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
        unsent.fetch_sub(bytes.len(), Ordering::Relaxed);
        traffic.output.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        traffic.writes.fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_first_request_waits_until_it_is_known_what_the_client_may_send() {
        let remote =
            Remote { addr: String::new(), laddr: String::new(), fd: 0, is_unix: false, is_local: true };
        let (events, mut heard) = unbounded_channel();
        let (mut client, ours) = tokio::io::duplex(1024);
        // More words than a client may send that is not logged in.
        client.write_all(format!("*12\r\n{}", "$1\r\nx\r\n".repeat(12)).as_bytes()).await.unwrap();
        serve(ClientId(1), remote, ours, &Arc::default(), &events);
        let Some(Event::NewClient(NewClient { connection, .. })) = heard.recv().await else { panic!() };
        // The loop is busy with something else, and the bytes are there.
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        connection.set_may_command(true);
        connection.next_request();
        let next = heard.recv().await;
        assert!(matches!(&next, Some(Event::Request(_, words)) if words.len() == 12), "{next:?}");
    }
}
