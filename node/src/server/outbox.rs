//! A connection's outbox: bytes that others send to its client, and the order to close.
//!
//! Publishers, MONITOR and CLIENT KILL run on other connections' turns. They append here and
//! wake the connection, which alone writes to its socket. What a slow reader lets pile up is
//! held against `client-output-buffer-limit pubsub` here, where it piles up.

use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

/// Shared between the connection and those who send to it.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    close: Option<Close>,
    waker: Option<Waker>,
}

/// How a connection is to be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// At once.
    Now,
    /// When everything it was sent is out.
    AfterReplies,
}

/// What the connection finds in its outbox.
#[derive(Debug, PartialEq, Eq)]
pub enum Mail {
    /// Bytes were appended to the buffer it passed.
    Bytes,
    /// It has to close.
    Close(Close),
}

impl Outbox {
    /// Appends bytes for the client. Returns how many wait now.
    pub fn push(&self, bytes: &[u8]) -> usize {
        let mut state = self.state.lock();
        state.bytes.extend_from_slice(bytes);
        let waiting = state.bytes.len();
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        waiting
    }

    /// Orders the connection to close; `Now` overrides `AfterReplies`.
    pub fn close(&self, how: Close) {
        let mut state = self.state.lock();
        if state.close != Some(Close::Now) {
            state.close = Some(how);
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Moves what waits to the end of `into`; pending until there is something.
    pub fn poll(&self, cx: &mut Context<'_>, into: &mut Vec<u8>) -> Poll<Mail> {
        let mut state = self.state.lock();
        if state.close == Some(Close::Now) {
            return Poll::Ready(Mail::Close(Close::Now));
        }
        if !state.bytes.is_empty() {
            into.append(&mut state.bytes);
            return Poll::Ready(Mail::Bytes);
        }
        if let Some(close) = state.close {
            return Poll::Ready(Mail::Close(close));
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
    use super::*;

    #[test]
    fn bytes_come_before_a_polite_close_and_not_before_a_hard_one() {
        let mut cx = Context::from_waker(Waker::noop());
        let mut into = Vec::new();
        let outbox = Outbox::default();
        assert!(outbox.poll(&mut cx, &mut into).is_pending());
        outbox.push(b"ab");
        outbox.close(Close::AfterReplies);
        assert_eq!(outbox.poll(&mut cx, &mut into), Poll::Ready(Mail::Bytes));
        assert_eq!(into, b"ab");
        assert_eq!(outbox.poll(&mut cx, &mut into), Poll::Ready(Mail::Close(Close::AfterReplies)));
        outbox.push(b"cd");
        outbox.close(Close::Now);
        outbox.close(Close::AfterReplies);
        assert_eq!(outbox.poll(&mut cx, &mut into), Poll::Ready(Mail::Close(Close::Now)));
        assert_eq!(into, b"ab");
    }
}
