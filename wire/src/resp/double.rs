//! Doubles as text, in the form that Redis 7.2 gives them everywhere: replies, scores, RDB aux.
//!
//! Whole numbers up to 2⁶² are integers. Any other number is its shortest digits that read back
//! the same: written out where that takes few zeros, else in scientific notation with a
//! signed exponent (`1e+20`, `1.5e-10`). Redis's digits come from an algorithm that misses the
//! shortest form of one number in two hundred or so, by a digit too many or another last one;
//! both texts read back as the same double.

/// The text of a double, on the stack.
#[derive(Clone, Copy, Debug)]
pub struct DoubleText {
    bytes: [u8; Self::MAX_LEN],
    len: usize,
}

impl DoubleText {
    /// The longest text, `-1.2345678901234567e-100`, has 24 bytes.
    const MAX_LEN: usize = 32;

    /// The text of `value`.
    pub fn new(value: f64) -> Self {
        let mut text = DoubleText { bytes: [0; Self::MAX_LEN], len: 0 };
        if value.is_nan() {
            text.push(b"nan");
        } else if value.is_infinite() {
            text.push(if value < 0.0 { b"-inf" } else { b"inf" });
        } else if value == 0.0 {
            text.push(if value.is_sign_negative() { b"-0" } else { b"0" });
        } else if value.abs() <= (1u64 << 62) as f64 && value.trunc() == value {
            text.push(itoa::Buffer::new().format(value as i64).as_bytes());
        } else {
            text.push_number(value);
        }
        text
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        // Only ASCII is ever pushed.
        std::str::from_utf8(&self.bytes[..self.len]).unwrap_or_default()
    }

    fn push(&mut self, bytes: &[u8]) {
        self.bytes[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }

    fn push_zeros(&mut self, count: usize) {
        self.push(&b"0000000000"[..count]);
    }

    /// A number that is finite and not zero.
    fn push_number(&mut self, value: f64) {
        if value < 0.0 {
            self.push(b"-");
        }
        let mut buffer = ryu::Buffer::new();
        let (digits, count, exponent) = digits(buffer.format_finite(value.abs()));
        let digits = &digits[..count];
        // The value is the digits, read as an integer, times ten to this power.
        let power = exponent + 1 - count as i32;
        let magnitude = exponent.unsigned_abs() as usize;
        if power >= 0 && magnitude < count + 7 {
            self.push(digits);
            self.push_zeros(power as usize);
        } else if power < 0 && (power > -7 || magnitude < 4) {
            let whole = exponent + 1;
            if whole <= 0 {
                self.push(b"0.");
                self.push_zeros(whole.unsigned_abs() as usize);
                self.push(digits);
            } else {
                let (whole, fraction) = digits.split_at(whole as usize);
                self.push(whole);
                self.push(b".");
                self.push(fraction);
            }
        } else {
            self.push(&digits[..1]);
            if count > 1 {
                self.push(b".");
                self.push(&digits[1..]);
            }
            self.push(if exponent < 0 { b"e-" } else { b"e+" });
            self.push(itoa::Buffer::new().format(magnitude).as_bytes());
        }
    }
}

/// The significant digits of a positive decimal number, how many they are, and the power of ten
/// of the first of them.
fn digits(text: &str) -> ([u8; 17], usize, i32) {
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    let whole = mantissa.find('.').unwrap_or(mantissa.len()) as i32;
    let significant = mantissa.bytes().filter(|&byte| byte != b'.');
    let leading_zeros = significant.clone().take_while(|&byte| byte == b'0').count();
    let (mut digits, mut count, mut last) = ([0; 17], 0, 0);
    for byte in significant.skip(leading_zeros).take(digits.len()) {
        digits[count] = byte;
        count += 1;
        if byte != b'0' {
            last = count;
        }
    }
    (digits, last, exponent + whole - 1 - leading_zeros as i32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(value: f64) -> String {
        DoubleText::new(value).as_str().to_string()
    }

    #[test]
    fn forms_of_redis() {
        let cases = [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-17.0, "-17"),
            (2.75, "2.75"),
            (-0.1, "-0.1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (123456789.125, "123456789.125"),
            (4611686018427387904.0, "4611686018427387904"),
            (1e18, "1000000000000000000"),
            (1e19, "1e+19"),
            (1e20, "1e+20"),
            (12345678901234567e3, "12345678901234567000"),
            (1.5e300, "1.5e+300"),
            (0.000001, "0.000001"),
            (0.0000001, "1e-7"),
            (0.0012345678901234567, "0.0012345678901234567"),
            (0.00012345678901234567, "1.2345678901234567e-4"),
            (0.000012345678901234567, "1.2345678901234568e-5"),
            (1.5e-10, "1.5e-10"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (f64::NAN, "nan"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, expected) in cases {
            assert_eq!(text(value), expected);
        }
    }

    proptest! {
        #[test]
        fn every_double_reads_back_the_same(bits in any::<u64>()) {
            let value = f64::from_bits(bits);
            prop_assume!(!value.is_nan());
            prop_assert_eq!(text(value).parse::<f64>().unwrap().to_bits(), bits);
        }

        #[test]
        fn everyday_doubles_read_back_the_same(whole in -1_000_000i64..1_000_000, scale in 0i32..12) {
            let value = whole as f64 / 10f64.powi(scale);
            prop_assert_eq!(text(value).parse::<f64>().unwrap(), value);
        }
    }
}
