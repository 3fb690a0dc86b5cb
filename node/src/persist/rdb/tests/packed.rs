//! The packed forms, entry by entry.

use super::super::packed::*;
use super::*;
use proptest::prelude::*;

#[test]
fn listpacks_with_every_encoding() {
    let (medium, large) = (vec![b'm'; 64], vec![b'l'; 4096]);
    let entries = [
        Entry::Int(0),
        Entry::Int(127),
        Entry::Int(128),
        Entry::Int(-4096),
        Entry::Int(4095),
        Entry::Int(-4097),
        Entry::Int(-32768),
        Entry::Int(8388607),
        Entry::Int(-8388608),
        Entry::Int(i32::MIN as i64),
        Entry::Int(i64::MIN),
        Entry::Str(b""),
        Entry::Str(&medium),
        Entry::Str(&large),
    ];
    let bytes = listpack(&entries);
    assert_eq!(check_listpack(&bytes), Some(entries.len()));
    assert!(listpack_iter(&bytes).eq(entries));
    // A count of 65535 says nothing.
    let mut unknown = bytes.clone();
    unknown[4..6].fill(0xff);
    assert_eq!(check_listpack(&unknown), Some(entries.len()));
    for wrong in [&bytes[..bytes.len() - 1], &[], &[7, 0, 0, 0, 0, 0], &[7, 0, 0, 0, 0, 0, 0]] {
        assert_eq!(check_listpack(wrong), None);
    }
}

#[test]
fn any_flipped_length_or_mark_of_a_listpack_is_noticed() {
    let sound = listpack(&[Entry::Str(b"ab"), Entry::Int(300), Entry::Str(&[b'x'; 200])]);
    // All but the bytes of the texts and the low byte of the number.
    let structure = (0..7).chain([9, 12]).chain([13, 14, 215, 216, 217]);
    for at in structure {
        for bit in 0..8 {
            let mut bytes = sound.clone();
            bytes[at] ^= 1 << bit;
            // Within the mark of a number, its high bits are data.
            let is_data = at == 10 || at == 11;
            assert!(is_data || check_listpack(&bytes).is_none(), "byte {at} bit {bit}");
        }
    }
}

#[test]
fn unsound_ziplists_are_refused() {
    let sound = ziplist(&[b"\x02ab", b"\xf5", b"\xc0\x01\x02"]);
    let accepts = |bytes: &[u8]| read_ziplist(bytes, &mut Strings::new()).is_some();
    assert!(accepts(&sound));
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
        assert!(!accepts(&bytes), "{what}");
    }
}

#[test]
fn unsound_intsets_are_refused() {
    assert_eq!(check_intset(&intset(2, &[1, 2, 3])), Some(3));
    for bad in [
        intset(2, &[]),
        intset(2, &[2, 1]),
        intset(4, &[1, 1]),
        intset(3, &[1]),
        intset(2, &[1, 2])[..11].to_vec(),
        vec![2, 0, 0],
        [&[8, 0, 0, 0, 0xff, 0xff, 0xff, 0xff][..], &[0; 8]].concat(),
    ] {
        assert_eq!(check_intset(&bad), None, "{bad:x?}");
    }
}

proptest! {
    #[test]
    fn arbitrary_packed_bytes_never_panic(mut bytes in prop::collection::vec(any::<u8>(), 11..80)) {
        bytes[0] = bytes.len() as u8;
        bytes[1..4].fill(0);
        *bytes.last_mut().expect("not empty") = 0xff;
        if let Some(count) = check_listpack(&bytes) {
            prop_assert_eq!(listpack_iter(&bytes).count(), count);
        }
        let mut strings = Strings::new();
        let _ = read_ziplist(&bytes, &mut strings);
        prop_assert!(strings.len() < bytes.len());
        check_listpack_set(&bytes);
        check_intset(&bytes);
    }
}
