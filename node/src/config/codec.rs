//! Codecs of the ordinary value types: booleans, numbers, memory sizes, texts, paths, secrets and
//! choices from a list of words.
//!
//! Error texts are those of Redis 7.2's `CONFIG SET`, because clients and tests compare them.

use super::row::{Codec, Line, Source, ValueError, WRONG_NUMBER};
use redoubt_wire::directives::{memory, memory_text};
use redoubt_wire::quoting::quote_always;
use std::ffi::OsStr;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// The one argument of a directive that takes one.
pub(super) fn single<'a>(args: &[&'a [u8]]) -> Result<&'a [u8], ValueError> {
    match args {
        [one] => Ok(one),
        _ => Err(WRONG_NUMBER.into()),
    }
}

/// One line, forced where the value is not the default.
fn line<T: PartialEq>(args: Vec<u8>, value: &T, default: &T) -> Vec<Line> {
    vec![Line { args, force: value != default }]
}

/// `yes` or `no`.
pub(super) struct YesNo;

impl Codec<bool> for YesNo {
    fn parse(&self, args: &[&[u8]]) -> Result<bool, ValueError> {
        let word = single(args)?;
        if word.eq_ignore_ascii_case(b"yes") {
            Ok(true)
        } else if word.eq_ignore_ascii_case(b"no") {
            Ok(false)
        } else {
            Err("argument must be 'yes' or 'no'".into())
        }
    }

    fn show(&self, value: &bool) -> Vec<u8> {
        if *value { b"yes".to_vec() } else { b"no".to_vec() }
    }

    fn lines(&self, value: &bool, default: &bool) -> Vec<Line> {
        line(self.show(value), value, default)
    }
}

/// The integer types that fields have. `i128` holds all of their values.
pub(super) trait Number: Copy + PartialEq + TryFrom<i128> + Into<i128> {}

impl<T: Copy + PartialEq + TryFrom<i128> + Into<i128>> Number for T {}

/// An inclusive range, with the text Redis has for a value outside it.
#[derive(Clone, Copy)]
pub(super) struct Range {
    pub min: i128,
    pub max: i128,
}

impl Range {
    fn check<T: Number>(self, n: i128) -> Result<T, ValueError> {
        let Range { min, max } = self;
        let outside = || ValueError::from(format!("argument must be between {min} and {max} inclusive"));
        if n < min || n > max {
            return Err(outside());
        }
        T::try_from(n).map_err(|_| outside())
    }
}

/// Reads a decimal integer as Redis does: an optional minus, no plus, no leading zero, no space.
pub(super) fn decimal(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let canonical = match digits {
        [] => false,
        [b'0'] => digits.len() == text.len(),
        [first, ..] => *first != b'0' && digits.iter().all(u8::is_ascii_digit),
    };
    canonical.then(|| std::str::from_utf8(text).ok()?.parse().ok())?
}

/// A decimal integer within a range.
pub(super) struct Integer(pub Range);

impl<T: Number> Codec<T> for Integer {
    fn parse(&self, args: &[&[u8]]) -> Result<T, ValueError> {
        match decimal(single(args)?) {
            Some(n) => self.0.check(n.into()),
            None => Err("argument couldn't be parsed into an integer".into()),
        }
    }

    fn show(&self, value: &T) -> Vec<u8> {
        let n: i128 = (*value).into();
        n.to_string().into_bytes()
    }

    fn lines(&self, value: &T, default: &T) -> Vec<Line> {
        line(self.show(value), value, default)
    }
}

/// An integer that is brought into its narrower range instead of being refused.
pub(super) struct Clamped {
    pub accepted: Range,
    pub kept: Range,
}

impl Codec<u32> for Clamped {
    fn parse(&self, args: &[&[u8]]) -> Result<u32, ValueError> {
        let n: u32 = Integer(self.accepted).parse(args)?;
        self.kept.check(i128::from(n).clamp(self.kept.min, self.kept.max))
    }

    fn show(&self, value: &u32) -> Vec<u8> {
        Integer(self.kept).show(value)
    }

    fn lines(&self, value: &u32, default: &u32) -> Vec<Line> {
        Integer(self.kept).lines(value, default)
    }
}

/// An amount of memory within a range of bytes.
pub(super) struct Memory(pub Range);

impl Codec<u64> for Memory {
    fn parse(&self, args: &[&[u8]]) -> Result<u64, ValueError> {
        match memory(single(args)?) {
            Some(n) => self.0.check(n.into()),
            None => Err("argument must be a memory value".into()),
        }
    }

    fn show(&self, value: &u64) -> Vec<u8> {
        value.to_string().into_bytes()
    }

    fn lines(&self, value: &u64, default: &u64) -> Vec<Line> {
        line(memory_text(*value).into_bytes(), value, default)
    }
}

/// Permission bits in octal.
pub(super) struct Octal {
    pub max: u32,
}

impl Codec<u32> for Octal {
    fn parse(&self, args: &[&[u8]]) -> Result<u32, ValueError> {
        let text = std::str::from_utf8(single(args)?).ok();
        let Some(bits) = text.and_then(|t| i64::from_str_radix(t, 8).ok()) else {
            return Err("argument couldn't be parsed as an octal number".into());
        };
        match u32::try_from(bits) {
            Ok(bits) if bits <= self.max => Ok(bits),
            _ => Err(format!("argument must be between 0 and {:o} inclusive", self.max).into()),
        }
    }

    fn show(&self, value: &u32) -> Vec<u8> {
        format!("{value:o}").into_bytes()
    }

    fn lines(&self, value: &u32, default: &u32) -> Vec<Line> {
        line(self.show(value), value, default)
    }
}

/// A type whose values are bytes in a file: text, paths, secrets.
pub(super) trait Bytes: Sized + PartialEq {
    fn from_bytes(bytes: &[u8]) -> Result<Self, ValueError>;
    fn bytes(&self) -> &[u8];
}

impl Bytes for String {
    fn from_bytes(bytes: &[u8]) -> Result<Self, ValueError> {
        String::from_utf8(bytes.to_vec()).map_err(|_| "argument must be UTF-8 text".into())
    }

    fn bytes(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Bytes for PathBuf {
    fn from_bytes(bytes: &[u8]) -> Result<Self, ValueError> {
        if bytes.contains(&0) {
            return Err("a path can't contain a NUL byte".into());
        }
        Ok(PathBuf::from(OsStr::from_bytes(bytes)))
    }

    fn bytes(&self) -> &[u8] {
        self.as_os_str().as_bytes()
    }
}

/// A password: any bytes, and never printed by `{:?}`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Bytes for Secret {
    fn from_bytes(bytes: &[u8]) -> Result<Self, ValueError> {
        Ok(Secret(bytes.to_vec()))
    }

    fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Text as it stands. On an optional field, empty text means none, and none needs no line.
pub(super) struct Text;

impl<T: Bytes> Codec<T> for Text {
    fn parse(&self, args: &[&[u8]]) -> Result<T, ValueError> {
        T::from_bytes(single(args)?)
    }

    fn show(&self, value: &T) -> Vec<u8> {
        value.bytes().to_vec()
    }

    fn lines(&self, value: &T, default: &T) -> Vec<Line> {
        line(quote_always(value.bytes()).into_bytes(), value, default)
    }
}

impl<T: Bytes> Codec<Option<T>> for Text {
    fn parse(&self, args: &[&[u8]]) -> Result<Option<T>, ValueError> {
        match single(args)? {
            [] => Ok(None),
            bytes => T::from_bytes(bytes).map(Some),
        }
    }

    fn show(&self, value: &Option<T>) -> Vec<u8> {
        value.as_ref().map_or(Vec::new(), |v| v.bytes().to_vec())
    }

    fn lines(&self, value: &Option<T>, default: &Option<T>) -> Vec<Line> {
        value.as_ref().map_or(Vec::new(), |v| line(quote_always(v.bytes()).into_bytes(), value, default))
    }
}

/// The name of a file in the data directory: text without a path.
pub(super) struct FileName {
    pub path_error: &'static str,
}

impl Codec<String> for FileName {
    fn parse(&self, args: &[&[u8]]) -> Result<String, ValueError> {
        let name: String = Text.parse(args)?;
        if name.contains(['/', '\\', '\0']) {
            return Err(self.path_error.into());
        }
        Ok(name)
    }

    fn show(&self, value: &String) -> Vec<u8> {
        Text.show(value)
    }

    fn lines(&self, value: &String, default: &String) -> Vec<Line> {
        Text.lines(value, default)
    }
}

/// A path that always has its line in the file, because what it means depends on where one starts.
pub(super) struct WorkingDirectory;

impl Codec<PathBuf> for WorkingDirectory {
    fn parse(&self, args: &[&[u8]]) -> Result<PathBuf, ValueError> {
        Text.parse(args)
    }

    /// A relative path is relative to the directory so far, as if the process had already gone there.
    fn set(&self, value: &mut PathBuf, args: &[&[u8]], _source: Source) -> Result<(), ValueError> {
        let directory: PathBuf = self.parse(args)?;
        value.push(directory);
        Ok(())
    }

    fn show(&self, value: &PathBuf) -> Vec<u8> {
        Text.show(value)
    }

    fn lines(&self, value: &PathBuf, _default: &PathBuf) -> Vec<Line> {
        vec![Line { args: quote_always(value.bytes()).into_bytes(), force: true }]
    }
}

/// A type whose values are words of a list.
pub trait Choice: Copy + PartialEq + Sync + 'static {
    /// The words, in the order in which errors list them, and what they mean.
    const WORDS: &'static [(&'static str, Self)];

    /// The word for this value.
    fn word(self) -> &'static str {
        // Every variant has its word by construction of `choices!`.
        Self::WORDS.iter().find(|(_, v)| *v == self).map_or("unknown", |(word, _)| word)
    }
}

/// One word of a list.
pub(super) struct OneOf;

/// The error that lists the words of `T`.
pub(super) fn not_a_choice<T: Choice>() -> ValueError {
    let words: Vec<_> = T::WORDS.iter().map(|(word, _)| *word).collect();
    format!("argument(s) must be one of the following: {}", words.join(", ")).into()
}

/// The value that `word` names in the list of `T`, in any case.
pub(super) fn choice<T: Choice>(word: &[u8]) -> Result<T, ValueError> {
    let found = T::WORDS.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word));
    found.map(|(_, value)| *value).ok_or_else(not_a_choice::<T>)
}

impl<T: Choice> Codec<T> for OneOf {
    fn parse(&self, args: &[&[u8]]) -> Result<T, ValueError> {
        choice(single(args)?)
    }

    fn show(&self, value: &T) -> Vec<u8> {
        value.word().as_bytes().to_vec()
    }

    fn lines(&self, value: &T, default: &T) -> Vec<Line> {
        line(self.show(value), value, default)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_canonical() {
        for (text, n) in
            [("0", Some(0)), ("-1", Some(-1)), ("12", Some(12)), ("9223372036854775807", Some(i64::MAX))]
        {
            assert_eq!(decimal(text.as_bytes()), n, "{text}");
        }
        for text in ["", "-", "-0", "+1", "01", " 1", "1 ", "1k", "9223372036854775808", "\u{663}"] {
            assert_eq!(decimal(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn secrets_do_not_print() {
        assert!(!format!("{:?}", Secret(b"hunter2".to_vec())).contains("hunter2"));
    }
}
