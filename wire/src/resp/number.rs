//! Decimal integers as RESP spells them: an optional minus, no plus, no leading zero, no blank.

/// The value of `text`, or `None` where it is not an integer in canonical form that fits.
pub fn parse_integer(text: &[u8]) -> Option<i64> {
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        digits => (false, digits),
    };
    match digits {
        [b'0'] if !negative => return Some(0),
        [b'1'..=b'9', ..] => {}
        _ => return None,
    }
    // Summing towards the sign reaches i64::MIN without an overflow on the way.
    digits.iter().try_fold(0i64, |sum, &byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        let shifted = sum.checked_mul(10)?;
        if negative { shifted.checked_sub(digit) } else { shifted.checked_add(digit) }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn canonical_integers() {
        for n in [0, 1, -1, 10, 16384, i64::MAX, i64::MIN] {
            assert_eq!(parse_integer(n.to_string().as_bytes()), Some(n));
        }
    }

    #[test]
    fn everything_else_is_refused() {
        let bad = [
            "",
            "-",
            "-0",
            "00",
            "01",
            "+1",
            " 1",
            "1 ",
            "1a",
            "9223372036854775808",
            "-9223372036854775809",
        ];
        for text in bad {
            assert_eq!(parse_integer(text.as_bytes()), None, "{text:?}");
        }
    }
}
