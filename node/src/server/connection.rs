//! One client's connection: a read, every complete command under one lock, a write.
//!
//! The loop waits for three things at once: bytes from the client, room for bytes to it, and
//! its outbox. A turn is bounded in commands, so that no pipeline holds the others up. When a
//! command leaves a hole in its replies, nothing behind the hole is sent and nothing more is
//! executed until the task behind it is done.

use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::AsFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use redoubt_wire::resp::pipeline::Pipeline;
use redoubt_wire::resp::reply::{Protocol, Reply};
use redoubt_wire::resp::request::Limits;
use redoubt_wire::warning;
use smallvec::SmallVec;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::clock;
use super::outbox::{Close, Mail, Outbox};
use super::replication::writer::ReplicaWriter;
use super::shared::Shared;
use crate::engine::commands::client;
use crate::engine::execute::{Batch, Executed};
use crate::engine::request::Hole;
use crate::engine::session::{Buffers, ClientId};

/// A turn ends after this many commands, so that others get theirs.
const COMMANDS_PER_TURN: usize = 256;
/// So many commands are parsed ahead, to load what they look up.
const LOOK_AHEAD: usize = 16;
/// The least room a read offers.
const READ_BYTES: usize = 16 * 1024;
/// Buffers above this are given back when they are empty.
const KEEP_BYTES: usize = 64 * 1024;

/// A socket of any kind.
pub trait Socket: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static {}
impl<T: AsyncRead + AsyncWrite + AsFd + Unpin + Send + 'static> Socket for T {}

/// Input that arrived and is not executed yet.
#[derive(Debug, Default)]
struct Input {
    /// What arrived, and behind it the room for reads. All of it is initialised once, when it is taken.
    bytes: Vec<u8>,
    /// Everything before is executed.
    start: usize,
    /// Everything before has arrived.
    end: usize,
}

impl Input {
    fn pending(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }

    fn free(&self) -> usize {
        self.bytes.len() - self.end
    }

    fn consume(&mut self, n: usize) {
        self.start += n;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.bytes.len() > KEEP_BYTES {
                self.bytes = Vec::new();
            }
        }
    }

    /// Makes room for the rest of a request of which `wanted` bytes are known to be missing.
    fn reserve(&mut self, wanted: usize) {
        if self.free() < wanted && self.start > 0 {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        if self.free() < wanted {
            self.bytes.resize(self.end + wanted, 0);
        }
    }

    /// One read, straight into the free end of the buffer.
    fn poll_read(&mut self, socket: &mut impl Socket, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let mut buf = ReadBuf::new(&mut self.bytes[self.end..]);
        ready!(Pin::new(socket).poll_read(cx, &mut buf))?;
        let n = buf.filled().len();
        self.end += n;
        Poll::Ready(Ok(n))
    }
}

/// Why the loop woke up.
enum Event {
    /// So many bytes arrived; none means that the client is gone.
    Read(usize),
    /// The outbox had bytes, or output went out.
    Progress,
    /// The outbox says so.
    Close(Close),
}

/// How a turn ended.
enum Turn {
    /// All that was complete is executed.
    Idle,
    /// There is more to execute; others go first.
    More,
    /// These holes have to be filled first.
    Holes(Vec<Hole>),
    /// A pause holds the next command back.
    Paused,
    /// Close when the replies are out.
    Close,
}

/// Starts loading what the commands that wait look up, so that they wait for memory all at once instead of one after the
/// other.
fn look_ahead(pipeline: &Pipeline, pending: &[u8], batch: &mut Batch<'_>) {
    // The first argument is the key of nearly every command; where it is not, nothing is lost.
    let keyspace = &batch.engine.keyspace;
    let hashes = pipeline.each_arg(1, pending).map(|key| keyspace.hash(key));
    let hashes = hashes.collect::<SmallVec<[u64; LOOK_AHEAD]>>();
    if hashes.len() > 1 {
        batch.prefetch(&hashes);
    }
}

/// A connection between its socket and the engine.
#[derive(Debug)]
pub struct Connection<S> {
    shared: Arc<Shared>,
    socket: S,
    id: ClientId,
    outbox: Arc<Outbox>,
    input: Input,
    pipeline: Pipeline,
    reply: Reply,
    /// How much of the reply is written.
    sent: usize,
    /// Since SYNC or PSYNC: what the client is sent now, instead of replies.
    replica: Option<Arc<ReplicaWriter>>,
}

impl<S: Socket> Connection<S> {
    /// A connection of client `id`, whose outbox is `outbox`.
    pub fn new(shared: Arc<Shared>, socket: S, id: ClientId, outbox: Arc<Outbox>) -> Self {
        Connection {
            shared,
            socket,
            id,
            outbox,
            input: Input::default(),
            pipeline: Pipeline::new(),
            reply: Reply::new(Protocol::Resp2),
            sent: 0,
            replica: None,
        }
    }

    /// Serves the client until either side closes.
    pub async fn serve(mut self) {
        let _ = self.run().await;
        self.shared.disconnect(self.id);
    }

    async fn run(&mut self) -> io::Result<()> {
        let mut wanted = READ_BYTES;
        loop {
            match self.wait(wanted).await? {
                Event::Read(0) => return Ok(()),
                Event::Read(_) => {}
                Event::Progress => continue,
                Event::Close(Close::Now) => return Ok(()),
                Event::Close(Close::AfterReplies) => return self.flush().await,
            }
            loop {
                let (turn, fed, missing) = self.turn();
                wanted = missing.max(READ_BYTES);
                if fed {
                    // Others that are ready execute first, so that one write to each replica
                    // serves all; what is acknowledged below is in the replicas' sockets by then.
                    tokio::task::yield_now().await;
                    self.shared.flush_replicas();
                }
                if self.replica.is_some() && !self.reply.buf.is_empty() {
                    return self.replica_was_answered();
                }
                match turn {
                    Turn::Idle => {
                        self.try_flush()?;
                        break;
                    }
                    Turn::More => {
                        self.try_flush()?;
                        tokio::task::yield_now().await;
                    }
                    Turn::Holes(holes) => {
                        self.fill(holes).await?;
                        if self.shared.lock().engine.clients.get(self.id).is_none_or(|s| s.close_asap) {
                            return self.flush().await;
                        }
                    }
                    Turn::Paused => {
                        self.try_flush()?;
                        let shared = self.shared.clone();
                        self.while_waiting(shared.pause_over()).await?;
                    }
                    Turn::Close => return self.flush().await,
                }
            }
        }
    }

    /// Waits for input, the outbox, or room for pending output.
    async fn wait(&mut self, wanted: usize) -> io::Result<Event> {
        self.input.reserve(wanted);
        poll_fn(|cx| {
            match self.outbox.poll(cx, &mut self.reply.buf) {
                Poll::Ready(Mail::Bytes) => {
                    if self.replica.is_some() {
                        return Poll::Ready(self.replica_was_answered().map(|()| Event::Close(Close::Now)));
                    }
                    self.try_flush()?;
                    self.outbox.set_unsent(self.reply.buf.len() - self.sent);
                    return Poll::Ready(Ok(Event::Progress));
                }
                Poll::Ready(Mail::Close(close)) => return Poll::Ready(Ok(Event::Close(close))),
                Poll::Pending => {}
            }
            if let Some(replica) = &self.replica
                && let Poll::Ready(result) = replica.poll(&mut self.socket, cx)
            {
                return Poll::Ready(result.map(|()| Event::Close(Close::Now)));
            }
            if self.sent < self.reply.buf.len() && self.poll_write(cx)?.is_ready() {
                self.outbox.set_unsent(0);
                return Poll::Ready(Ok(Event::Progress));
            }
            self.input.poll_read(&mut self.socket, cx).map_ok(Event::Read)
        })
        .await
    }

    /// Executes what is complete, under one lock.
    fn turn(&mut self) -> (Turn, bool, usize) {
        let now_ms = clock::unix_ms();
        let mut missing = 0;
        let mut core = self.shared.lock();
        let max_bulk_len = core.engine.config.proto_max_bulk_len as usize;
        if self.input.pending().len() as u64 > core.engine.config.client_query_buffer_limit {
            warning!("Closing client id={} that reached max query buffer length", self.id);
            return (Turn::Close, false, 0);
        }
        let Some(mut batch) = core.engine.begin(self.id, now_ms) else { return (Turn::Close, false, 0) };
        let mut limits = Limits { max_bulk_len, authenticated: true, ..Limits::default() };
        batch.session().buffers = Buffers {
            input: self.input.pending().len(),
            input_free: self.input.free(),
            output: self.reply.buf.len() - self.sent,
        };
        batch.session().blocked = false;
        let mut turn = Turn::More;
        for _ in 0..COMMANDS_PER_TURN {
            if self.pipeline.is_empty() {
                limits.authenticated = batch.may_command();
                // What a client may send can change when it authenticates.
                let most = if limits.authenticated { LOOK_AHEAD } else { 1 };
                match self.pipeline.fill(self.input.pending(), &limits, most) {
                    Ok(wanted) => missing = wanted,
                    Err(error) => {
                        self.reply.error(&format!("ERR {error}"));
                        turn = Turn::Close;
                        break;
                    }
                }
                if self.pipeline.is_empty() {
                    turn = Turn::Idle;
                    break;
                }
                look_ahead(&self.pipeline, self.input.pending(), &mut batch);
            }
            let args = self.pipeline.args(self.input.pending());
            let executed = if args.is_empty() {
                batch.keep_alive();
                Executed::Done
            } else {
                batch.execute(&args, &mut self.reply)
            };
            drop(args);
            if executed == Executed::Paused {
                turn = Turn::Paused;
                break;
            }
            self.input.consume(self.pipeline.pop());
            // A client that is to be closed still gets what its last command answers.
            if batch.engine.has_holes() {
                turn = Turn::Holes(batch.engine.take_holes());
                break;
            }
            if batch.session().close_asap {
                turn = Turn::Close;
                break;
            }
        }
        let replica = batch.session().replica;
        drop(batch);
        let delivered = self.shared.deliver(&mut core);
        if let (Some(replica), None) = (replica, &self.replica) {
            self.replica = core.feeding.writer(replica);
            drop(core);
            if self.join_replicas().is_err() {
                return (Turn::Close, false, 0);
            }
        }
        (turn, delivered.fed, missing)
    }

    /// What the feed puts out for this connection goes to its socket from now on.
    fn join_replicas(&self) -> io::Result<()> {
        let Some(writer) = &self.replica else { return Err(io::ErrorKind::NotConnected.into()) };
        if self.shared.lock().engine.config.repl_disable_tcp_nodelay {
            // It fails on a socket that is not TCP, where there is nothing to gather.
            let _ = SockRef::from(&self.socket.as_fd()).set_tcp_nodelay(false);
        }
        writer.join(self.socket.as_fd().try_clone_to_owned()?);
        self.shared.writers.write().push(writer.clone());
        Ok(())
    }

    /// A replica is sent the stream and nothing else: a reply in it would be taken for a command.
    fn replica_was_answered(&self) -> io::Result<()> {
        let core = self.shared.lock();
        let Some(session) = core.engine.clients.get(self.id) else { return Ok(()) };
        let command = session.last_command.map_or("<unknown>", |command| &command.full_name);
        if self.reply.buf.first() == Some(&b'-') {
            let error = String::from_utf8_lossy(&self.reply.buf);
            let error = error.trim_end();
            warning!(
                "== CRITICAL == This master is sending an error to its replica: '{error}' after processing the command '{command}'"
            );
        }
        let client = client::line(session, clock::unix_ms());
        warning!("Replica generated a reply to command '{command}', disconnecting it: {client}");
        Ok(())
    }

    /// Carries the tasks out in order, and puts what they answer into their places. What stands
    /// before a hole is final and goes out first.
    async fn fill(&mut self, holes: Vec<Hole>) -> io::Result<()> {
        let mut cut = holes.first().map_or(0, |h| h.at);
        let mut tail = self.reply.buf.split_off(cut);
        for hole in holes {
            let rest = tail.split_off(hole.at - cut);
            cut = hole.at;
            self.reply.buf.append(&mut tail);
            tail = rest;
            self.try_flush()?;
            let shared = self.shared.clone();
            let protocol = self.reply.protocol;
            let bytes = self.while_waiting(shared.perform(self.id, hole.task, protocol)).await?;
            self.reply.buf.extend_from_slice(&bytes);
        }
        self.reply.buf.append(&mut tail);
        self.try_flush()
    }

    /// Waits for something else than this client, and meanwhile notices what it sends and its end.
    async fn while_waiting<T>(&mut self, what: impl Future<Output = T>) -> io::Result<T> {
        let mut what = pin!(what);
        loop {
            tokio::select! {
                value = &mut what => return Ok(value),
                event = self.wait(READ_BYTES) => match event? {
                    Event::Read(0) | Event::Close(Close::Now) => return Err(io::ErrorKind::ConnectionAborted.into()),
                    Event::Close(Close::AfterReplies) => return Ok(what.await),
                    Event::Read(_) | Event::Progress => {}
                },
            }
        }
    }

    /// Writes what it can without waiting.
    fn try_flush(&mut self) -> io::Result<()> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match self.poll_write(&mut cx) {
            Poll::Ready(result) => result,
            // `wait` polls again with the task's own waker.
            Poll::Pending => Ok(()),
        }
    }

    /// Writes everything, waiting for room.
    async fn flush(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_write(cx)).await
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.sent < self.reply.buf.len() {
            let n = ready!(Pin::new(&mut self.socket).poll_write(cx, &self.reply.buf[self.sent..]))?;
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += n;
        }
        self.sent = 0;
        self.reply.buf.clear();
        if self.reply.buf.capacity() > KEEP_BYTES {
            self.reply.buf = Vec::new();
        }
        Poll::Ready(Ok(()))
    }
}
