//! Reads arguments: integers, floating point numbers, expiry times, option words.

use crate::engine::error::{CommandError, NOT_FLOAT, NOT_INTEGER};
use redoubt_wire::resp::number::parse_integer;

/// A 64-bit integer in its canonical decimal form.
pub fn int(arg: &[u8]) -> Result<i64, CommandError> {
    parse_integer(arg).ok_or(NOT_INTEGER)
}

/// A floating point number as strtold reads it, without surrounding space; not a NaN.
pub fn float(arg: &[u8]) -> Result<f64, CommandError> {
    let text = std::str::from_utf8(arg).map_err(|_| NOT_FLOAT)?;
    if text.is_empty() || text.len() > 255 || text.contains(char::is_whitespace) {
        return Err(NOT_FLOAT);
    }
    let value: f64 = text.parse().map_err(|_| NOT_FLOAT)?;
    if value.is_nan() { Err(NOT_FLOAT) } else { Ok(value) }
}

/// The shortest decimal text, without exponent, that reads back as `value`.
pub fn float_text(value: f64) -> String {
    if value == 0.0 { "0".to_string() } else { value.to_string() }
}

/// Whether `arg` is the option `word`, in any case.
pub fn is(arg: &[u8], word: &str) -> bool {
    arg.eq_ignore_ascii_case(word.as_bytes())
}

/// The unit and the base of an expiry argument.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expire {
    /// Seconds from now.
    Ex,
    /// Milliseconds from now.
    Px,
    /// Unix time in seconds.
    ExAt,
    /// Unix time in milliseconds.
    PxAt,
}

impl Expire {
    /// The option's unit by its word.
    pub fn from_word(arg: &[u8]) -> Option<Expire> {
        match arg.to_ascii_lowercase().as_slice() {
            b"ex" => Some(Expire::Ex),
            b"px" => Some(Expire::Px),
            b"exat" => Some(Expire::ExAt),
            b"pxat" => Some(Expire::PxAt),
            _ => None,
        }
    }

    /// Whether the argument counts from now.
    pub fn is_relative(self) -> bool {
        matches!(self, Expire::Ex | Expire::Px)
    }

    /// Unix time in ms, or `None` if the time does not fit.
    pub fn at_ms(self, n: i64, now_ms: i64) -> Option<i64> {
        let ms = match self {
            Expire::Ex | Expire::ExAt => n.checked_mul(1000)?,
            Expire::Px | Expire::PxAt => n,
        };
        if self.is_relative() { ms.checked_add(now_ms) } else { Some(ms) }
    }

    /// As `at_ms`, for the commands that want a time above zero.
    pub fn positive_at_ms(self, arg: &[u8], now_ms: i64, command: &str) -> Result<i64, CommandError> {
        let n = int(arg)?;
        let at = if n > 0 { self.at_ms(n, now_ms) } else { None };
        at.ok_or_else(|| invalid_expire(command))
    }
}

/// The error of an expiry time that does not fit or is not positive.
pub fn invalid_expire(command: &str) -> CommandError {
    CommandError::new(format!("ERR invalid expire time in '{command}' command"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_times_are_bounded() {
        assert_eq!(Expire::Ex.at_ms(10, 5), Some(10_005));
        assert_eq!(Expire::Ex.at_ms(i64::MAX / 1000 + 1, 0), None);
        assert_eq!(Expire::Px.at_ms(i64::MAX, 1), None);
        assert_eq!(Expire::PxAt.at_ms(i64::MAX, 1), Some(i64::MAX));
        assert!(Expire::Ex.positive_at_ms(b"0", 0, "set").is_err());
    }

    #[test]
    fn floats_are_whole_words() {
        assert_eq!(float(b"3.0e3"), Ok(3000.0));
        assert!(
            float(b" 1").is_err() && float(b"1 ").is_err() && float(b"nan").is_err() && float(b"").is_err()
        );
    }
}
