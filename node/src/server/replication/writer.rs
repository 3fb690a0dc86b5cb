//! What is written to one replica's socket, and by whom.
//!
//! Three sources follow one another: lines of the protocol, a payload, the stream. Whoever adds
//! something writes it at once, as far as the socket takes it without waiting: a connection that
//! is about to acknowledge a write has then put it into every replica's socket first, on
//! whichever thread it and the replica live. So a SIGKILL between the two loses nothing that a
//! client was told is written, unless a replica's socket was full. Only then does the task that
//! owns the socket take over, since it alone can wait for room. A queue between threads, or a
//! wake-up of the replica's task with a pause in the hope that it runs in time, would give no
//! such order.
//!
//! Several batches of one turn of a worker's loop share one write: each first lets the other
//! ready connections execute, and whoever comes first afterwards writes for all.

use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::ops::Deref;
use std::os::fd::{AsRawFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use nix::sys::socket::{MsgFlags, send};
use parking_lot::{Condvar, Mutex, MutexGuard};
use tokio::io::AsyncWrite;

use crate::replication::backlog::{Reader, Slice};

/// How much of the stream one write takes at most.
const SLICE_BYTES: usize = 256 * 1024;
/// A payload's chunks wait for room when this much is queued.
const QUEUE_BYTES: usize = 512 * 1024;

/// The output side of one replica's connection.
#[derive(Debug, Default)]
pub struct ReplicaWriter {
    state: Mutex<State>,
    /// Told when the queue has become shorter, or the replica is gone.
    room: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// A duplicate of the connection's socket; absent until the connection has joined.
    socket: Option<OwnedFd>,
    queue: VecDeque<Vec<u8>>,
    queued: usize,
    stream: Option<Reader>,
    /// What is being written, and how much of it is out.
    current: Option<(Piece, usize)>,
    /// The socket was full: its own task writes until there is nothing more.
    stuck: bool,
    closed: bool,
    waker: Option<Waker>,
    /// Bytes written since the connection became a replica's.
    written: u64,
}

#[derive(Debug)]
enum Piece {
    Queued(Vec<u8>),
    Stream(Slice),
}

impl Deref for Piece {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Piece::Queued(bytes) => bytes,
            Piece::Stream(slice) => slice,
        }
    }
}

/// The replica is gone.
#[derive(Debug, PartialEq, Eq)]
pub struct Gone;

/// What [`ReplicaWriter::push_chunk`] found.
#[derive(Debug, PartialEq, Eq)]
pub enum Pushed {
    /// The chunk is queued or written.
    Taken,
    /// There was no room for it within the time given; nothing is queued.
    Full,
    /// The replica is gone.
    Gone,
}

impl State {
    /// The bytes to be written next.
    fn next(&mut self) -> Option<&[u8]> {
        if self.current.is_none() {
            let piece = match self.queue.pop_front() {
                Some(bytes) => {
                    self.queued -= bytes.len();
                    Piece::Queued(bytes)
                }
                None => Piece::Stream(self.stream.as_mut()?.read(SLICE_BYTES)?),
            };
            self.current = Some((piece, 0));
        }
        self.current.as_ref().map(|(piece, sent)| &piece[*sent..])
    }

    fn advance(&mut self, n: usize) {
        self.written += n as u64;
        if let Some((piece, sent)) = &mut self.current {
            *sent += n;
            if *sent == piece.len() {
                self.current = None;
            }
        }
    }

    fn close(&mut self) {
        self.closed = true;
        self.socket = None;
        self.queue.clear();
        self.queued = 0;
        self.current = None;
        // The backlog is held no longer.
        self.stream = None;
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Writes what the socket takes without waiting.
    fn flush(&mut self) {
        if self.stuck || self.closed {
            return;
        }
        let Some(socket) = self.socket.as_ref().map(AsRawFd::as_raw_fd) else { return };
        while let Some(bytes) = self.next() {
            match send(socket, bytes, MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL) {
                Ok(n) => self.advance(n),
                Err(nix::errno::Errno::EINTR) => {}
                Err(nix::errno::Errno::EAGAIN) => {
                    self.stuck = true;
                    self.wake();
                    return;
                }
                Err(_) => return self.close(),
            }
        }
    }
}

impl ReplicaWriter {
    /// The connection has become this replica's; `socket` is a duplicate of its socket.
    pub fn join(&self, socket: OwnedFd) {
        let mut state = self.state.lock();
        state.socket = Some(socket);
        self.settle(state);
    }

    /// Queues a line of the protocol, and writes what it can.
    pub fn push(&self, bytes: Vec<u8>) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        state.queued += bytes.len();
        state.queue.push_back(bytes);
        self.settle(state);
    }

    /// Queues a chunk of a payload, once there is room for it; waits at most `patience`. Blocks.
    pub fn push_chunk(&self, bytes: &[u8], patience: Duration) -> Pushed {
        let deadline = Instant::now() + patience;
        let mut state = self.state.lock();
        while !state.closed && state.queued >= QUEUE_BYTES {
            if self.room.wait_until(&mut state, deadline).timed_out() {
                return Pushed::Full;
            }
        }
        if state.closed {
            return Pushed::Gone;
        }
        state.queued += bytes.len();
        state.queue.push_back(bytes.to_vec());
        self.settle(state);
        Pushed::Taken
    }

    /// Waits until all that was queued is written. Blocks.
    pub fn wait_written(&self) -> Result<(), Gone> {
        let mut state = self.state.lock();
        while !state.closed && (!state.queue.is_empty() || state.current.is_some()) {
            self.room.wait(&mut state);
        }
        if state.closed { Err(Gone) } else { Ok(()) }
    }

    /// From now on the stream follows what is queued.
    pub fn start_stream(&self, reader: Reader) {
        let mut state = self.state.lock();
        if !state.closed {
            state.stream = Some(reader);
            self.settle(state);
        }
    }

    /// Writes what there is and the socket takes.
    pub fn flush(&self) {
        self.settle(self.state.lock());
    }

    fn settle(&self, mut state: MutexGuard<'_, State>) {
        state.flush();
        self.room.notify_all();
    }

    /// Writes what the socket takes at once, and ends the connection.
    pub fn close(&self) {
        let mut state = self.state.lock();
        state.flush();
        state.close();
        self.room.notify_all();
    }

    /// Bytes written so far.
    pub fn written(&self) -> u64 {
        self.state.lock().written
    }

    /// Bytes that wait for the socket, the stream's left out.
    pub fn queued(&self) -> usize {
        self.state.lock().queued
    }

    /// The socket's own task: goes on where others found it full. Ready when the connection is to
    /// be closed.
    pub fn poll<S: AsyncWrite + Unpin>(&self, socket: &mut S, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut state = self.state.lock();
        while !state.closed && state.stuck {
            let Some(bytes) = state.next() else {
                state.stuck = false;
                break;
            };
            match Pin::new(&mut *socket).poll_write_vectored(cx, &[IoSlice::new(bytes)]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => {
                    state.advance(n);
                    self.room.notify_all();
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => break,
            }
        }
        if state.closed {
            return Poll::Ready(Ok(()));
        }
        match &state.waker {
            Some(waker) if waker.will_wake(cx.waker()) => {}
            _ => state.waker = Some(cx.waker().clone()),
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::replication::backlog::Backlog;

    fn pair() -> (UnixStream, UnixStream) {
        UnixStream::pair().expect("a pair of sockets")
    }

    #[test]
    fn lines_payload_and_stream_follow_one_another() {
        let (ours, mut theirs) = pair();
        let writer = ReplicaWriter::default();
        writer.push(b"+FULLRESYNC\r\n".to_vec());
        writer.join(ours.into());
        let backlog = Backlog::new(0, 1 << 20);
        let reader = backlog.reader(0).expect("the beginning is held");
        backlog.append(b"stream");
        assert_eq!(writer.push_chunk(b"payload ", Duration::ZERO), Pushed::Taken);
        writer.start_stream(reader);
        backlog.append(b" goes on");
        writer.flush();
        assert_eq!(writer.wait_written(), Ok(()));
        writer.close();
        let mut seen = String::new();
        theirs.read_to_string(&mut seen).expect("closed, so that it ends");
        assert_eq!(seen, "+FULLRESYNC\r\npayload stream goes on");
        assert_eq!(writer.written(), seen.len() as u64);
        assert_eq!(writer.push_chunk(b"more", Duration::ZERO), Pushed::Gone);
    }

    #[test]
    fn patience_ends_however_often_others_try() {
        let (ours, _theirs) = pair();
        ours.set_nonblocking(true).expect("a socket");
        let writer = std::sync::Arc::new(ReplicaWriter::default());
        writer.join(ours.into());
        let chunk = vec![b'x'; 64 * 1024];
        while writer.push_chunk(&chunk, Duration::from_millis(1)) == Pushed::Taken {}
        let other = writer.clone();
        let flushing = std::thread::spawn(move || {
            while !other.state.lock().closed {
                other.flush();
            }
        });
        assert_eq!(writer.push_chunk(&chunk, Duration::from_millis(50)), Pushed::Full);
        writer.close();
        flushing.join().expect("it ends");
    }

    #[tokio::test]
    async fn the_sockets_own_task_goes_on_where_it_was_full() {
        let (ours, mut theirs) = pair();
        ours.set_nonblocking(true).expect("a socket");
        let writer = ReplicaWriter::default();
        writer.join(ours.try_clone().expect("a duplicate").into());
        let mut socket = tokio::net::UnixStream::from_std(ours).expect("a socket");
        let chunk = vec![b'x'; 64 * 1024];
        let mut taken = 0;
        while writer.push_chunk(&chunk, Duration::from_millis(1)) == Pushed::Taken {
            taken += chunk.len();
        }
        assert!(writer.queued() >= QUEUE_BYTES);
        let reader = std::thread::spawn(move || {
            let mut seen = Vec::new();
            theirs.read_to_end(&mut seen).map(|_| seen.len())
        });
        poll_fn(|cx| {
            assert!(writer.poll(&mut socket, cx).is_pending());
            if writer.written() == taken as u64 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        assert_eq!(writer.wait_written(), Ok(()));
        writer.close();
        drop(socket);
        assert_eq!(reader.join().expect("the reader ends").expect("it reads"), taken);
    }
}
