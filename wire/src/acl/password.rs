//! Passwords, of which only the hash is kept.

use std::fmt;

use sha2::{Digest, Sha256};

/// The SHA-256 of a password.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct PasswordHash([u8; 32]);

impl PasswordHash {
    /// The hash of a password, which may be any bytes.
    pub fn of(password: &[u8]) -> PasswordHash {
        PasswordHash(Sha256::digest(password).into())
    }

    /// A hash in 64 hexadecimal digits, of which the letters are small.
    pub fn from_hex(hex: &[u8]) -> Option<PasswordHash> {
        let (pairs, []) = hex.as_chunks::<2>() else { return None };
        let mut hash = [0; 32];
        if pairs.len() != hash.len() {
            return None;
        }
        for (byte, [high, low]) in hash.iter_mut().zip(pairs) {
            *byte = digit(*high)? << 4 | digit(*low)?;
        }
        Some(PasswordHash(hash))
    }

    /// Whether both are the same, in a time that does not depend on where they differ.
    pub fn is(&self, other: &PasswordHash) -> bool {
        let differences = self.0.iter().zip(&other.0).fold(0, |seen, (a, b)| seen | (a ^ b));
        std::hint::black_box(differences) == 0
    }
}

fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What is derived from a password stays out of logs, too.
impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_written_in_hexadecimal_and_reads_back() {
        let hash = PasswordHash::of(b"passwd4");
        let hex = "34344e4d60c2b6d639b7bd22e18f2b0b91bc34bf0ac5f9952744435093cfb4e6";
        assert_eq!(hash.to_string(), hex);
        assert_eq!(PasswordHash::from_hex(hex.as_bytes()), Some(hash));
        assert!(hash.is(&hash) && !hash.is(&PasswordHash::of(b"passwd5")));
        assert!(!format!("{hash:?}").contains("34344e"));
    }

    #[test]
    fn other_texts_are_no_hashes() {
        let hex = "34344e4d60c2b6d639b7bd22e18f2b0b91bc34bf0ac5f9952744435093cfb4e6";
        for text in
            ["", &hex[1..], &hex[2..], &format!("{hex}00"), &hex.to_uppercase(), &hex.replace('b', "q")]
        {
            assert_eq!(PasswordHash::from_hex(text.as_bytes()), None, "{text}");
        }
    }
}
