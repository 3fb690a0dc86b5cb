//! Words and quotes, as inline requests, `redis.conf` and redis-cli share them.
//!
//! A line is split at blanks. A word may hold a double-quoted part, in which a backslash
//! starts an escape (`\n \r \t \b \a`, `\xNN`, anything else stands for itself), or a
//! single-quoted part, in which only `\'` is one. A closing quote ends the word, so a
//! blank or the end of the line must follow it. The inverse, [`quote`], writes a word such
//! that splitting gives it back.

use std::fmt::Write;

/// A quote that nothing closes, or that is closed in the middle of a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unbalanced quotes")]
pub struct UnbalancedQuotes;

/// Where a word stands in the bytes that hold it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// First byte.
    pub start: usize,
    /// Number of bytes.
    pub len: usize,
}

impl Span {
    /// The word itself, out of the bytes that the span was taken from.
    #[inline]
    pub fn of<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.start..self.start + self.len]
    }
}

/// Splits `line` into words: their unquoted bytes are appended to `bytes`, their places in it to
/// `spans`. Both can be reused, so that a server splits without allocating.
pub fn split_into(line: &[u8], bytes: &mut Vec<u8>, spans: &mut Vec<Span>) -> Result<(), UnbalancedQuotes> {
    let mut rest = line;
    loop {
        let blanks = rest.iter().take_while(|&&b| is_space(b)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Ok(());
        }
        let start = bytes.len();
        rest = take_word(rest, bytes)?;
        spans.push(Span { start, len: bytes.len() - start });
    }
}

/// Splits `line` into words of their own.
pub fn split(line: &[u8]) -> Result<Vec<Vec<u8>>, UnbalancedQuotes> {
    let (mut bytes, mut spans) = (Vec::new(), Vec::new());
    split_into(line, &mut bytes, &mut spans)?;
    Ok(spans.iter().map(|span| span.of(&bytes).to_vec()).collect())
}

/// Appends the word at the start of `rest` to `out`, and returns what follows it.
fn take_word<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    while let [byte, tail @ ..] = rest {
        match byte {
            b' ' | b'\n' | b'\r' | b'\t' => break,
            b'"' => return end_of_word(take_double_quoted(tail, out)?),
            b'\'' => return end_of_word(take_single_quoted(tail, out)?),
            _ => out.push(*byte),
        }
        rest = tail;
    }
    Ok(rest)
}

/// A closing quote must be followed by a blank or by nothing.
fn end_of_word(rest: &[u8]) -> Result<&[u8], UnbalancedQuotes> {
    match rest.first() {
        Some(&byte) if !is_space(byte) => Err(UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn take_double_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        rest = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                out.push(hex_value(*high) << 4 | hex_value(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                out.push(match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 0x08,
                    b'a' => 0x07,
                    itself => *itself,
                });
                tail
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
        }
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], out: &mut Vec<u8>) -> Result<&'a [u8], UnbalancedQuotes> {
    loop {
        rest = match rest {
            [] => return Err(UnbalancedQuotes),
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => {
                out.push(b'\'');
                tail
            }
            [byte, tail @ ..] => {
                out.push(*byte);
                tail
            }
        }
    }
}

/// The word as it can stand in a directive: bare where nothing in it needs quotes.
pub fn quote(word: &[u8]) -> String {
    let bare = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'\\' | b'"' | b'\'');
    if !word.is_empty() && word.iter().all(bare) {
        return word.iter().map(|&b| char::from(b)).collect();
    }
    quote_always(word)
}

/// The word in double quotes, as `CONFIG REWRITE` writes directives that hold free text, and
/// as MONITOR and redis-cli show arguments.
pub fn quote_always(word: &[u8]) -> String {
    let mut out = String::with_capacity(word.len() + 2);
    out.push('"');
    for &byte in word {
        match byte {
            b'\\' | b'"' => out.extend(['\\', char::from(byte)]),
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            0x07 => out.push_str("\\a"),
            0x08 => out.push_str("\\b"),
            b' '..=b'~' => out.push(char::from(byte)),
            // Writing into a String cannot fail.
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out.push('"');
    out
}

/// What C's `isspace` takes for a blank; unlike `is_ascii_whitespace`, it has the vertical tab.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        b'a'..=b'f' => digit - b'a' + 10,
        _ => digit - b'A' + 10,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn words(line: &str) -> Vec<String> {
        split(line.as_bytes()).unwrap().into_iter().map(|w| String::from_utf8(w).unwrap()).collect()
    }

    #[test]
    fn blanks_separate_words() {
        assert_eq!(words("  set  a\tb \r"), ["set", "a", "b"]);
        assert_eq!(words(""), Vec::<String>::new());
        assert_eq!(words(" \x0b\x0c "), Vec::<String>::new());
    }

    #[test]
    fn vertical_tab_does_not_end_a_bare_word() {
        assert_eq!(words("a\x0bb"), ["a\x0bb"]);
    }

    #[test]
    fn quotes_and_escapes() {
        assert_eq!(words(r#"save """#), ["save", ""]);
        assert_eq!(words(r#""a b" 'c d' e"f g""#), ["a b", "c d", "ef g"]);
        assert_eq!(words(r#""\n\r\t\b\a\q\"\\""#), ["\n\r\t\x08\x07q\"\\"]);
        assert_eq!(words(r"'it\'s \n'"), ["it's \\n"]);
        assert_eq!(split(br#""\x00\xfF\xg1""#).unwrap(), [b"\x00\xffxg1"]);
        assert_eq!(words(r"a\nb"), ["a\\nb"], "no escapes outside quotes");
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [r#"a "b"#, "a 'b", r#""a"b"#, "'a'b", r#"set """key""" v"#, r#""\"#] {
            assert_eq!(split(line.as_bytes()), Err(UnbalancedQuotes), "{line}");
        }
    }

    #[test]
    fn quotes_are_written_only_when_needed() {
        assert_eq!(quote(b"6379"), "6379");
        assert_eq!(quote(b"/tmp/x"), "/tmp/x");
        assert_eq!(quote(b""), "\"\"");
        assert_eq!(quote(b"a b"), "\"a b\"");
        assert_eq!(quote(b"it's"), "\"it's\"");
        assert_eq!(quote_always(b"/tmp"), "\"/tmp\"");
        assert_eq!(quote_always(b"\x00\xff\n\r\t\x07\x08\\\""), r#""\x00\xff\n\r\t\a\b\\\"""#);
    }

    proptest! {
        #[test]
        fn quoting_round_trips(words in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 0..6)) {
            let bare = words.iter().map(|w| quote(w)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(&split(bare.as_bytes()).unwrap(), &words);
            let quoted = words.iter().map(|w| quote_always(w)).collect::<Vec<_>>().join("\t ");
            prop_assert_eq!(&split(quoted.as_bytes()).unwrap(), &words);
        }

        #[test]
        fn arbitrary_lines_split_or_are_refused(line in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(words) = split(&line) {
                prop_assert!(words.iter().map(Vec::len).sum::<usize>() <= line.len());
            }
        }
    }
}
