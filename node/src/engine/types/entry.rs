//! One element as the packed structures hold it: a byte string, or an integer in its place.
//!
//! A string that is the canonical decimal form of a 64-bit integer is stored as that integer and
//! read back as the same string, so clients never see the difference. [`Entry`] is what a read
//! gives; [`Needle`] is what a search looks for, with its integer reading made once.

use std::borrow::Cow;

/// An element read from a value, without copying it.
///
/// Two entries of the same bytes may differ in form (a foreign listpack can hold `"5"` as a string);
/// compare with [`Entry::matches`] where that matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry<'a> {
    /// Bytes as they were given.
    Str(&'a [u8]),
    /// An integer whose decimal form is the element.
    Int(i64),
}

impl<'a> Entry<'a> {
    /// The element's bytes; integers are formatted.
    pub fn to_bytes(self) -> Cow<'a, [u8]> {
        match self {
            Entry::Str(bytes) => Cow::Borrowed(bytes),
            Entry::Int(value) => Cow::Owned(itoa::Buffer::new().format(value).as_bytes().to_vec()),
        }
    }

    /// Calls `f` with the element's bytes, which for an integer live on the stack.
    pub fn with_bytes<R>(self, f: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Entry::Str(bytes) => f(bytes),
            Entry::Int(value) => f(itoa::Buffer::new().format(value).as_bytes()),
        }
    }

    /// Length of the element in bytes, as STRLEN would count it.
    pub fn byte_len(self) -> usize {
        self.with_bytes(<[u8]>::len)
    }

    /// Whether the element is the one searched for.
    pub fn matches(self, needle: &Needle<'_>) -> bool {
        match self {
            Entry::Str(bytes) => bytes == needle.bytes,
            Entry::Int(value) => needle.int == Some(value),
        }
    }
}

/// An element to search for or to store, with its integer reading.
#[derive(Debug, Clone, Copy)]
pub struct Needle<'a> {
    bytes: &'a [u8],
    int: Option<i64>,
}

impl<'a> Needle<'a> {
    /// Reads `bytes` once for all comparisons to come.
    pub fn new(bytes: &'a [u8]) -> Self {
        Needle { bytes, int: canonical_int(bytes) }
    }

    /// The bytes as given.
    pub fn bytes(&self) -> &'a [u8] {
        self.bytes
    }

    /// The integer whose canonical decimal form the bytes are.
    pub fn int(&self) -> Option<i64> {
        self.int
    }
}

/// Bytes of the longest decimal form of an `i64`, the sign included.
const LONGEST_INT: usize = 20;

/// Reads `bytes` as an `i64` only where formatting the result gives `bytes` back: no sign but a
/// leading `-`, no leading zeros, no spaces, no `-0`, no overflow.
pub fn canonical_int(bytes: &[u8]) -> Option<i64> {
    let (negative, digits) = match bytes {
        [b'0'] => return Some(0),
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    if bytes.len() > LONGEST_INT || !matches!(digits.first(), Some(b'1'..=b'9')) {
        return None;
    }
    let mut magnitude = 0u64;
    for &digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        magnitude = magnitude.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    if negative { 0i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_canonical_forms_are_integers() {
        for good in ["0", "-1", "7", "9223372036854775807", "-9223372036854775808"] {
            assert_eq!(canonical_int(good.as_bytes()), good.parse().ok(), "{good}");
        }
        for bad in
            ["", "-", "-0", "+1", "01", " 1", "1 ", "1a", "9223372036854775808", "-9223372036854775809"]
        {
            assert_eq!(canonical_int(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(canonical_int(b"99999999999999999999999"), None);
    }

    proptest! {
        #[test]
        fn an_integer_is_read_exactly_when_it_prints_back(bytes in "[-+]?[0-9]{0,21}[ a]?") {
            let read = canonical_int(bytes.as_bytes());
            let expected = bytes.parse::<i64>().ok().filter(|value| value.to_string() == bytes);
            prop_assert_eq!(read, expected);
        }

        #[test]
        fn an_entry_matches_its_own_bytes(value: i64) {
            let text = value.to_string();
            let needle = Needle::new(text.as_bytes());
            prop_assert!(Entry::Int(value).matches(&needle));
            prop_assert!(Entry::Str(text.as_bytes()).matches(&needle));
            prop_assert!(!Entry::Int(value.wrapping_add(1)).matches(&needle));
            prop_assert_eq!(Entry::Int(value).byte_len(), text.len());
            prop_assert!(*Entry::Int(value).to_bytes() == *text.as_bytes());
        }
    }
}
