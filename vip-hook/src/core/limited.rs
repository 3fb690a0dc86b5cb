//! A log line that can be due a thousand times a second, and is written now and then with a count.

use std::time::Duration;

use super::types::Now;

/// How often such a line is written at most.
const PERIOD: Duration = Duration::from_secs(10);

/// One kind of line.
#[derive(Debug, Default)]
pub(super) struct Limited {
    next: Option<Now>,
    left_out: u64,
}

impl Limited {
    /// Whether the line is to be written now, and what to append to it.
    pub(super) fn permit(&mut self, now: Now) -> Option<String> {
        if self.next.is_some_and(|next| now < next) {
            self.left_out += 1;
            return None;
        }
        self.next = Some(now + PERIOD);
        match std::mem::take(&mut self.left_out) {
            0 => Some(String::new()),
            left_out => Some(format!(" ({left_out} more since the last such line)")),
        }
    }
}
