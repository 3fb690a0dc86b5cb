//! Ziplists, entry by entry.

use super::super::ziplist::read_ziplist;
use super::*;
use proptest::prelude::*;

#[test]
fn unsound_ziplists_are_refused() {
    let sound = ziplist(&[b"\x02ab", b"\xf5", b"\xc0\x01\x02"]);
    assert!(read_ziplist(&sound).is_some());
    for (what, at, byte) in [
        ("total", 0, 1),
        ("tail", 4, 10),
        ("count", 8, 2),
        ("length before the first", 10, 1),
        ("length of the first", 11, 3),
        ("length before the second", 14, 3),
        ("an encoding that does not exist", 15, 0xff),
        ("another", 15, 0xc1),
        ("no end", sound.len() - 1, 0),
    ] {
        let mut bytes = sound.clone();
        bytes[at] = byte;
        assert!(read_ziplist(&bytes).is_none(), "{what}");
    }
}

proptest! {
    #[test]
    fn arbitrary_ziplists_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 11..80)) {
        bytes[0] = bytes.len() as u8;
        bytes[1..4].fill(0);
        *bytes.last_mut().expect("not empty") = 0xff;
        if let Some(entries) = read_ziplist(&bytes) {
            prop_assert!(entries.len() <= bytes.len() / 2);
        }
    }
}
