//! What scripts write, line by line in our log: their standard output at level notice, their errors at warning.
//!
//! A script may write as much as it likes and never gets an error for it, but only so much of it is logged, and it is
//! read no faster than leaves the loop to others. Reading goes on for as long as anything that the script started
//! has the pipe open.

use std::time::Duration;

use redoubt_wire::log::Level;
use redoubt_wire::log::{notice, warning};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes of a line that are logged.
const MAX_LINE: usize = 512;
/// Lines that are logged of one run.
const MAX_LINES: usize = 64;
/// The pause after a full read: some megabytes a second are read at most.
const PAUSE: Duration = Duration::from_millis(5);

/// Logs what comes out of `from` until it ends; `name` says who wrote it.
pub(super) async fn log(from: impl AsyncRead + Unpin, level: Level, name: String) {
    read_lines(from, |line| match level {
        Level::Warning => warning!("{name}: {line}"),
        _ => notice!("{name}: {line}"),
    })
    .await;
}

async fn read_lines(mut from: impl AsyncRead + Unpin, mut told: impl FnMut(&str)) {
    let mut lines = Lines { line: Vec::new(), cut: false, told: 0 };
    let mut buf = vec![0; 16 << 10];
    while let Ok(len @ 1..) = from.read(&mut buf).await {
        for (n, part) in buf[..len].split(|byte| *byte == b'\n').enumerate() {
            if n > 0 {
                lines.end(&mut told);
            }
            lines.add(part);
        }
        if len == buf.len() {
            tokio::time::sleep(PAUSE).await;
        }
    }
    lines.end(&mut told);
}

/// The line that is being put together, and how many there were.
struct Lines {
    line: Vec<u8>,
    /// More came of this line than is kept.
    cut: bool,
    told: usize,
}

impl Lines {
    fn add(&mut self, part: &[u8]) {
        let room = MAX_LINE - self.line.len();
        self.cut |= part.len() > room;
        self.line.extend_from_slice(&part[..part.len().min(room)]);
    }

    fn end(&mut self, told: &mut impl FnMut(&str)) {
        let text = String::from_utf8_lossy(&self.line).trim_end().to_string();
        if !text.is_empty() && self.told <= MAX_LINES {
            match (self.told < MAX_LINES, self.cut) {
                (true, false) => told(&text),
                (true, true) => told(&format!("{text} [...]")),
                (false, _) => told(&format!("[more than {MAX_LINES} lines: the rest is not logged]")),
            }
            self.told += 1;
        }
        self.line.clear();
        self.cut = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn lines_of(text: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        read_lines(text, |line| lines.push(line.to_string())).await;
        lines
    }

    #[tokio::test]
    async fn lines_are_told_one_by_one_and_empty_ones_not() {
        assert_eq!(lines_of(b"a\r\n\n  b\nc").await, ["a", "  b", "c"]);
        assert!(lines_of(b"").await.is_empty());
    }

    #[tokio::test]
    async fn a_long_line_is_cut() {
        let text = [vec![b'x'; 100_000], b"\nafter\n".to_vec()].concat();
        assert_eq!(lines_of(&text).await, [format!("{} [...]", "x".repeat(MAX_LINE)), "after".into()]);
    }

    #[tokio::test]
    async fn beyond_so_many_lines_one_says_that_there_are_more() {
        let lines = lines_of("line\n".repeat(10_000).as_bytes()).await;
        assert_eq!(lines.len(), MAX_LINES + 1);
        assert_eq!(lines[MAX_LINES], "[more than 64 lines: the rest is not logged]");
    }

    #[tokio::test]
    async fn what_is_no_utf8_is_told_all_the_same() {
        assert_eq!(lines_of(b"caf\xe9\n").await, ["caf\u{fffd}"]);
    }
}
