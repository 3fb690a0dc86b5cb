//! A connection's outbox: bytes that others send to its client, and the order to close.
//!
//! Publishers, MONITOR and CLIENT KILL run on other connections' turns. They append here and
//! wake the connection, which alone writes to its socket. What a slow reader lets pile up is
//! held against `client-output-buffer-limit pubsub` here, where it piles up.

use std::task::{Context, Poll, Waker};

use parking_lot::Mutex;

use crate::config::OutputLimit;

/// Shared between the connection and those who send to it.
#[derive(Debug, Default)]
pub struct Outbox {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    /// What the connection has taken from here and not written yet.
    unsent: usize,
    /// Since when more waits than the soft limit allows, in Unix ms.
    over_soft_since_ms: Option<i64>,
    close: Option<Close>,
    waker: Option<Waker>,
}

/// Whether a client reads what it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the limit.
    Fine,
    /// Beyond the hard limit, or beyond the soft one for too long: the client has to go.
    TooMuch,
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
    /// Appends bytes for the client at Unix time `now_ms`, and says whether what waits now, here
    /// and with the connection, exceeds `limit`.
    pub fn push(&self, bytes: &[u8], limit: &OutputLimit, now_ms: i64) -> Verdict {
        let mut state = self.state.lock();
        state.bytes.extend_from_slice(bytes);
        let waiting = (state.bytes.len() + state.unsent) as u64;
        let over_soft = limit.soft_bytes > 0 && waiting > limit.soft_bytes;
        state.over_soft_since_ms = if over_soft { state.over_soft_since_ms.or(Some(now_ms)) } else { None };
        let soft_ms = limit.soft_secs as i64 * 1000;
        let too_long = state.over_soft_since_ms.is_some_and(|since| now_ms - since > soft_ms);
        let too_much = limit.hard_bytes > 0 && waiting > limit.hard_bytes;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        if too_much || too_long { Verdict::TooMuch } else { Verdict::Fine }
    }

    /// The connection says how many bytes it holds that its socket has not taken yet.
    pub fn set_unsent(&self, bytes: usize) {
        self.state.lock().unsent = bytes;
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
        outbox.push(b"ab", &OutputLimit::default(), 0);
        outbox.close(Close::AfterReplies);
        assert_eq!(outbox.poll(&mut cx, &mut into), Poll::Ready(Mail::Bytes));
        assert_eq!(into, b"ab");
        assert_eq!(outbox.poll(&mut cx, &mut into), Poll::Ready(Mail::Close(Close::AfterReplies)));
        outbox.push(b"cd", &OutputLimit::default(), 0);
        outbox.close(Close::Now);
        outbox.close(Close::AfterReplies);
        assert_eq!(outbox.poll(&mut cx, &mut into), Poll::Ready(Mail::Close(Close::Now)));
        assert_eq!(into, b"ab");
    }

    #[test]
    fn who_does_not_read_is_over_the_limit_at_once_or_after_a_while() {
        let limit = OutputLimit { hard_bytes: 10, soft_bytes: 4, soft_secs: 2 };
        let outbox = Outbox::default();
        assert_eq!(outbox.push(b"12345", &limit, 0), Verdict::Fine);
        assert_eq!(outbox.push(b"6", &limit, 1900), Verdict::Fine);
        assert_eq!(outbox.push(b"7", &limit, 2100), Verdict::TooMuch);
        let mut into = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        assert_eq!(outbox.poll(&mut cx, &mut into), Poll::Ready(Mail::Bytes));
        assert_eq!(outbox.push(b"1", &limit, 2200), Verdict::Fine);
        outbox.set_unsent(10);
        assert_eq!(outbox.push(b"2", &limit, 2300), Verdict::TooMuch);
    }
}
