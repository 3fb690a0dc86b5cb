//! Hash slots: which of the 16384 parts of the key space a key belongs to.
//!
//! The slot is CRC-16/XMODEM of the key modulo 16384. Where a key holds a non-empty tag in
//! braces, only the tag counts (the first `{` and the first `}` after it), so that related
//! keys can be kept in one slot. Source: the Redis cluster specification, "Key distribution
//! model" and "Hash tags".

/// The number of slots of a cluster.
pub const SLOT_COUNT: u16 = 16384;

/// CRC-16/XMODEM: the polynomial 0x1021, most significant bit first, starting from 0.
const CRC16_TABLE: [u16; 256] = {
    let mut table = [0u16; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 };
            bit += 1;
        }
        table[byte] = crc;
        byte += 1;
    }
    table
};

/// The slot of `key`, below [`SLOT_COUNT`].
#[inline]
pub fn key_slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % SLOT_COUNT
}

/// What stands between the first `{` and the first `}` after it, unless that is nothing.
#[inline]
pub fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let open = memchr::memchr(b'{', key)?;
    let after = &key[open + 1..];
    let close = memchr::memchr(b'}', after)?;
    (close > 0).then(|| &after[..close])
}

/// CRC-16/XMODEM of `bytes`.
#[inline]
pub fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, &byte| crc << 8 ^ CRC16_TABLE[usize::from((crc >> 8) as u8 ^ byte)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, a bit at a time, to hold the table against.
    fn crc16_by_bits(bytes: &[u8]) -> u16 {
        bytes.iter().fold(0, |crc, &byte| {
            (0..8).fold(crc ^ u16::from(byte) << 8, |crc, _| {
                if crc & 0x8000 != 0 { crc << 1 ^ 0x1021 } else { crc << 1 }
            })
        })
    }

    #[test]
    fn check_value_of_the_cluster_specification() {
        assert_eq!(crc16(b"123456789"), 0x31C3);
    }

    #[test]
    fn slots_that_the_redis_documentation_names() {
        assert_eq!(key_slot(b"somekey"), 11058);
        assert_eq!(key_slot(b"foo"), 12182);
        assert_eq!(key_slot(b"bar"), 5061);
        assert_eq!(key_slot(b"hello"), 866);
        assert_eq!(key_slot(b"foo{hash_tag}"), 2515);
        assert_eq!(key_slot(b"bar{hash_tag}"), 2515);
        assert_eq!(key_slot(b""), 0);
    }

    #[test]
    fn tags_as_the_specification_explains_them() {
        assert_eq!(hash_tag(b"{user1000}.following"), Some(&b"user1000"[..]));
        assert_eq!(hash_tag(b"foo{}{bar}"), None, "an empty tag means the whole key");
        assert_eq!(hash_tag(b"foo{{bar}}zap"), Some(&b"{bar"[..]));
        assert_eq!(hash_tag(b"foo{bar}{zap}"), Some(&b"bar"[..]));
        assert_eq!(hash_tag(b"foo}{bar"), None);
        assert_eq!(hash_tag(b"foo"), None);
    }

    proptest! {
        #[test]
        fn table_agrees_with_the_definition(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(crc16(&bytes), crc16_by_bits(&bytes));
        }

        #[test]
        fn keys_with_one_tag_share_its_slot(tag in "[a-z]{1,8}", before in "[a-z]{0,8}", after in "[a-z}{]{0,8}") {
            let key = format!("{before}{{{tag}}}{after}");
            prop_assert_eq!(key_slot(key.as_bytes()), key_slot(tag.as_bytes()));
        }
    }
}
