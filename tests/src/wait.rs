//! Waiting for a condition, with a deadline and an account of what was there instead.

use std::fmt::Display;
use std::time::{Duration, Instant};

use crate::error::{LabError, Result};

/// The pause between two probes of a condition.
const PROBE_INTERVAL: Duration = Duration::from_millis(10);

/// Probes until it succeeds, for `limit` at most. A probe that fails says what it saw; the
/// last of these is in the error. `what` is read after the word "until".
pub async fn until<T, E: Display>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    let start = Instant::now();
    let mut seen = "nothing yet: the first probe did not return".to_string();
    loop {
        // A probe may hang on a stopped server; the deadline holds all the same.
        let left = limit.saturating_sub(start.elapsed());
        match tokio::time::timeout(left, probe()).await {
            Ok(Ok(value)) => return Ok(value),
            Ok(Err(saw)) => seen = saw.to_string(),
            Err(_elapsed) => {}
        }
        if start.elapsed() >= limit {
            return Err(LabError::Deadline { what: what.to_string(), seconds: limit.as_secs_f64(), seen });
        }
        tokio::time::sleep(PROBE_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn returns_what_the_probe_found() {
        let mut n = 0;
        let found = until("n is 3", Duration::from_secs(5), async || {
            n += 1;
            if n == 3 { Ok(n) } else { Err(n) }
        });
        assert_eq!(found.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn names_the_condition_and_what_was_seen() {
        let limit = Duration::from_millis(30);
        let error = until::<(), _>("pigs fly", limit, async || Err("they walk")).await.unwrap_err();
        let text = error.to_string();
        assert!(text.contains("until pigs fly") && text.contains("they walk"), "{text}");
    }

    #[tokio::test]
    async fn a_hanging_probe_does_not_outlast_the_deadline() {
        let limit = Duration::from_millis(30);
        let start = Instant::now();
        let probe = async || std::future::pending::<Result<(), String>>().await;
        until("it answers", limit, probe).await.unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}
