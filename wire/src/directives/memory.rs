//! Amounts of memory as directives write them: `64mb`, `1gb`, `100`.

/// Reads an amount of memory: digits, then nothing, `b`, `k`, `kb`, `m`, `mb`, `g` or `gb` in any case.
/// The units without `b` are powers of 1000. `None` also where the amount does not fit.
pub fn memory(text: &[u8]) -> Option<u64> {
    let end = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(end);
    let unit: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1000 * 1000,
        b"mb" => 1 << 20,
        b"g" => 1000 * 1000 * 1000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    std::str::from_utf8(digits).ok()?.parse::<u64>().ok()?.checked_mul(unit)
}

/// The shortest exact spelling of an amount of memory in a file.
pub fn memory_text(bytes: u64) -> String {
    for (shift, unit) in [(30, "gb"), (20, "mb"), (10, "kb")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    bytes.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_has_units_of_1000_and_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("1b", 1),
            ("1k", 1000),
            ("1KB", 1024),
            ("2m", 2_000_000),
            ("2mb", 2 << 20),
            ("1g", 1_000_000_000),
            ("1Gb", 1 << 30),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(memory(text.as_bytes()), Some(bytes), "{text}");
        }
        for text in ["", "-1", "1.5mb", "mb", "1tb", "1 mb", "18446744073709551616", "99999999999gb"] {
            assert_eq!(memory(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn memory_text_reads_back() {
        for (bytes, text) in
            [(0, "0"), (1, "1"), (1024, "1kb"), (1536, "1536"), (3 << 20, "3mb"), (5 << 30, "5gb")]
        {
            assert_eq!(memory_text(bytes), text);
            assert_eq!(memory(text.as_bytes()), Some(bytes));
        }
    }
}
