//! LCS: the longest common subsequence of two strings.
//!
//! The classic table by dynamic programming: a cell holds the length for a prefix of each string,
//! and the way back from its last cell gives the sequence. The table takes four bytes for each
//! pair of bytes, which `proto-max-bulk-len` bounds.

use redoubt_wire::resp::reply::Reply;

use super::args::{self, is};
use super::strings::string_bytes;
use super::{Cx, Row, table};
use crate::engine::error::{CommandError, Handled, SYNTAX};

/// The rows of this family.
pub const ROWS: &[Row] = &[(&table::LCS, lcs)];

/// What of the sequence is asked for.
#[derive(Debug, Default)]
struct Options {
    len: bool,
    idx: bool,
    with_match_len: bool,
    min_match_len: u64,
}

impl Options {
    fn parse(words: &[&[u8]]) -> Result<Options, CommandError> {
        let mut options = Options::default();
        let mut words = words.iter();
        while let Some(word) = words.next() {
            if is(word, "len") {
                options.len = true;
            } else if is(word, "idx") {
                options.idx = true;
            } else if is(word, "withmatchlen") {
                options.with_match_len = true;
            } else if is(word, "minmatchlen") {
                options.min_match_len = args::int(words.next().ok_or(SYNTAX)?)?.max(0) as u64;
            } else {
                return Err(SYNTAX);
            }
        }
        if options.len && options.idx {
            return Err(CommandError::new(
                "ERR If you want both the length and indexes, please just use IDX.",
            ));
        }
        Ok(options)
    }
}

/// A run of bytes that both strings have: its first byte in each, and its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Match {
    a: usize,
    b: usize,
    len: usize,
}

/// The table of lengths.
struct Lengths {
    cells: Vec<u32>,
    width: usize,
}

impl Lengths {
    fn new(a: &[u8], b: &[u8]) -> Lengths {
        let width = b.len() + 1;
        let mut lengths = Lengths { cells: vec![0; (a.len() + 1) * width], width };
        for (i, x) in a.iter().enumerate() {
            for (j, y) in b.iter().enumerate() {
                lengths.cells[(i + 1) * width + j + 1] = if x == y {
                    lengths.at(i, j) + 1
                } else {
                    lengths.at(i, j + 1).max(lengths.at(i + 1, j))
                };
            }
        }
        lengths
    }

    /// The length for the first `i` and the first `j` bytes.
    fn at(&self, i: usize, j: usize) -> u32 {
        self.cells[i * self.width + j]
    }

    /// The runs that make the sequence up, last to first.
    fn matches(&self, a: &[u8], b: &[u8]) -> Vec<Match> {
        let mut matches: Vec<Match> = Vec::new();
        let (mut i, mut j) = (a.len(), b.len());
        while i > 0 && j > 0 {
            if a[i - 1] == b[j - 1] {
                match matches.last_mut() {
                    Some(run) if run.a == i && run.b == j => {
                        *run = Match { a: i - 1, b: j - 1, len: run.len + 1 };
                    }
                    _ => matches.push(Match { a: i - 1, b: j - 1, len: 1 }),
                }
                (i, j) = (i - 1, j - 1);
            } else if self.at(i - 1, j) > self.at(i, j - 1) {
                i -= 1;
            } else {
                j -= 1;
            }
        }
        matches
    }
}

/// LCS key1 key2 [LEN] [IDX] [MINMATCHLEN min-match-len] [WITHMATCHLEN].
fn lcs(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let mut string = |key: &[u8]| match cx.read(key).map(string_bytes) {
        None => Ok(Vec::new()),
        Some(Ok(bytes)) => Ok(bytes.into_owned()),
        Some(Err(_)) => Err(CommandError::new("ERR The specified keys must contain string values")),
    };
    let (a, b) = (string(args[1])?, string(args[2])?);
    let options = Options::parse(&args[3..])?;
    let cells = (a.len() as u64 + 1).saturating_mul(b.len() as u64 + 1);
    if cells.saturating_mul(4) > cx.engine.config.proto_max_bulk_len {
        return Err(CommandError::new(
            "ERR Insufficient memory, transient memory for LCS exceeds proto-max-bulk-len",
        ));
    }
    let lengths = Lengths::new(&a, &b);
    let len = lengths.at(a.len(), b.len());
    if options.len {
        reply.integer(i64::from(len));
        return Ok(());
    }
    let matches = lengths.matches(&a, &b);
    if options.idx {
        reply_matches(&matches, len, &options, reply);
    } else {
        let runs = matches.iter().rev().map(|run| &a[run.a..run.a + run.len]);
        reply.bulk_chunks(len as usize, runs);
    }
    Ok(())
}

fn reply_matches(matches: &[Match], len: u32, options: &Options, reply: &mut Reply) {
    let long: Vec<&Match> = matches.iter().filter(|run| run.len as u64 >= options.min_match_len).collect();
    reply.map(2);
    reply.bulk(b"matches");
    reply.array(long.len());
    for run in long {
        reply.array(if options.with_match_len { 3 } else { 2 });
        for start in [run.a, run.b] {
            reply.array(2);
            reply.integer(start as i64);
            reply.integer((start + run.len - 1) as i64);
        }
        if options.with_match_len {
            reply.integer(run.len as i64);
        }
    }
    reply.bulk(b"len");
    reply.integer(i64::from(len));
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::Harness;

    #[test]
    fn the_sequence_its_length_and_its_places() {
        let mut h = Harness::new();
        h.run("MSET a ohmytext b mynewtext");
        assert_eq!(h.run("LCS a b"), "$6\r\nmytext\r\n");
        assert_eq!(h.run("LCS a b LEN"), ":6\r\n");
        assert_eq!(
            h.run("LCS a b IDX MINMATCHLEN 4 WITHMATCHLEN"),
            "*4\r\n$7\r\nmatches\r\n*1\r\n*3\r\n*2\r\n:4\r\n:7\r\n*2\r\n:5\r\n:8\r\n:4\r\n$3\r\nlen\r\n:6\r\n"
        );
        assert_eq!(h.run("LCS a none"), "$0\r\n\r\n");
        assert!(h.run("LCS a b LEN IDX").starts_with("-ERR If you want both"));
        assert_eq!(h.run("LCS a b MINMATCHLEN"), "-ERR syntax error\r\n");
        h.run("RPUSH l x");
        assert_eq!(h.run("LCS a l"), "-ERR The specified keys must contain string values\r\n");
    }

    #[test]
    fn a_table_beyond_the_limit_is_refused() {
        let mut h = Harness::new();
        h.run("CONFIG SET proto-max-bulk-len 1mb");
        h.run(&format!("SET a {}", "x".repeat(1000)));
        assert!(h.run("LCS a a").starts_with("-ERR Insufficient memory"));
    }
}
