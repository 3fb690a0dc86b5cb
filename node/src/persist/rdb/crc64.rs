//! The checksum of RDB files and DUMP payloads: CRC-64 with the polynomial of Jones, reflected, starting
//! from zero and not inverted at the end.

use crc_fast::{CrcAlgorithm, Digest};

/// A checksum in the making. Feed it whole buffers: a call costs more than the bytes of a small one.
#[derive(Clone)]
pub struct Crc64(Digest);

impl Default for Crc64 {
    fn default() -> Self {
        Crc64(Digest::new(CrcAlgorithm::Crc64Redis))
    }
}

impl Crc64 {
    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.0.update(bytes);
        }
    }

    /// The checksum of all bytes so far.
    pub fn value(&self) -> u64 {
        self.0.finalize()
    }
}

/// The checksum of `bytes`.
pub fn crc64(bytes: &[u8]) -> u64 {
    crc_fast::checksum(CrcAlgorithm::Crc64Redis, bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bit by bit from the definition, to check the library against.
    fn slow(bytes: &[u8]) -> u64 {
        const REFLECTED: u64 = 0xad93_d235_94c9_35a9_u64.reverse_bits();
        bytes.iter().fold(0, |crc, &byte| {
            (0..8).fold(crc ^ byte as u64, |crc, _| (crc >> 1) ^ if crc & 1 == 1 { REFLECTED } else { 0 })
        })
    }

    #[test]
    fn the_known_check_value() {
        assert_eq!(crc64(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(crc64(b""), 0);
        assert_eq!(slow(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
    }

    proptest! {
        #[test]
        fn in_pieces_as_in_one(bytes in prop::collection::vec(any::<u8>(), 0..2000), cut in any::<prop::sample::Index>()) {
            let cut = cut.index(bytes.len() + 1);
            let mut crc = Crc64::default();
            crc.update(&bytes[..cut]);
            crc.update(&bytes[cut..]);
            prop_assert_eq!(crc.value(), slow(&bytes));
            prop_assert_eq!(crc64(&bytes), slow(&bytes));
        }
    }
}
