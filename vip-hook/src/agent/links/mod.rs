//! Connections to the local node and to the Sentinels.
//!
//! Each has a task of its own, which takes questions from a queue and sends what it hears to the agent's loop. A
//! question is answered within its bound whatever happens to the connection; an answer that comes later is dropped.
//! What a peer can make us hold is bounded: one reply at a time by [`connection::LIMITS`], events by the length of the
//! loop's queue, behind which the peer has to wait, and unanswered questions by [`pipeline::LONGEST`].

pub(crate) mod answers;
mod connection;
pub(super) mod node;
mod pipeline;
pub(super) mod sentinel;
mod subscription;

use std::time::Duration;

use tokio::time::Instant;

/// How long an attempt to connect may take. Short, since the first SYN after a cut is answered at once, and an attempt
/// from before it would be repeated by the kernel only after a second.
const CONNECT_LIMIT: Duration = Duration::from_millis(300);
/// The pause after the first failed attempt to connect; it doubles with each.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
/// The longest pause: after it, and one attempt, a Sentinel that came back must count within a second.
const LONGEST_PAUSE: Duration = Duration::from_millis(400);

/// The pauses between attempts to connect.
#[derive(Debug, Default)]
struct BackOff {
    failures: u32,
}

impl BackOff {
    /// When the next attempt may begin, after one that has just failed.
    fn next(&mut self) -> Instant {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(8)).min(LONGEST_PAUSE);
        self.failures += 1;
        Instant::now() + pause
    }

    fn succeeded(&mut self) {
        self.failures = 0;
    }
}

/// Waits for a moment, or for ever where there is none.
async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}
