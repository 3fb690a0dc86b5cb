//! Files that are damaged, or made to do damage.

use super::*;
use crate::engine::types::IntSet;
use crate::engine::types::list::NodeRef;
use proptest::prelude::*;

fn error(records: &[u8]) -> String {
    read(&file(11, records)).expect_err("refused").to_string()
}

#[test]
fn types_not_held_are_named_with_their_key_and_place() {
    for (kind, name) in [
        (3, "sorted set"),
        (4, "hash"),
        (15, "stream"),
        (7, "module value"),
        (24, "hash with expiring fields"),
    ] {
        let text = error(&[b"\xfe\x02\xfd\0\0\0\0\x00\x01a\x01b", &[kind][..], b"\x05k\xff key"].concat());
        assert!(
            text.starts_with(&format!(
                "RDB offset 21: key 'k\\xff ke' in database 2 is a {name} (RDB type {kind}), a type this server does \
                 not hold"
            )),
            "{text}"
        );
    }
}

#[test]
fn faults_name_their_place_and_key() {
    for (records, expected) in [
        (
            &b"\x08\x01k"[..],
            "Internal error in RDB reading offset 12, in key 'k' -> Unknown RDB encoding type 8",
        ),
        (b"\x00\xc4", "Internal error in RDB reading offset 10 -> Unknown RDB string encoding type 4"),
        (
            b"\x01\x01k\xc3",
            "Internal error in RDB reading offset 12, in key 'k' -> Unknown length encoding 0xc3",
        ),
        (b"\xf6", "-> Pre-release function format not supported."),
        (b"\xf7\x01\x01\x01", "-> bad when_opcode"),
        (b"\xf7\x01\x02\x01\x06", "-> Unknown marker 6 in module data"),
        (b"\xfe\x80\x80\0\0\0", "-> database number 2147483648"),
        (b"\x00\x01k\xc3\x02\x03\x05a", "in key 'k' -> Invalid LZF compressed string"),
        (b"\x00\x01k\x80\xff\xff\xff\xff", "in key 'k' -> a string of 4294967295 bytes (at most 536870912)"),
        (b"\x00\x01k\xc3\x01\x81\0\0\0\x01\0\0\0\0", "in key 'k' -> a string of 4294967296 bytes"),
        (b"\x0a\x01k\x01x", "in key 'k' -> List ziplist integrity check failed."),
        (b"\x0b\x01k\x01x", "in key 'k' -> Intset integrity check failed."),
        (b"\x0e\x01k\x01\x01x", "in key 'k' -> Ziplist integrity check failed."),
        (b"\x12\x01k\x01\x02\x01x", "in key 'k' -> Listpack integrity check failed."),
        (b"\x12\x01k\x01\x03\x01x", "in key 'k' -> Quicklist integrity check failed."),
        (b"\x12\x01k\x01\x01\x00", "in key 'k' -> Quicklist integrity check failed."),
        (b"\x14\x01k\x01x", "in key 'k' -> Set listpack integrity check failed."),
    ] {
        let text = error(records);
        assert!(text.contains(expected), "{records:x?}: {text}");
    }
    let twice = listpack(&["a", "b", "a"]);
    assert!(error(b"\x02\x01k\x02\x011\xc0\x01").contains("Duplicate set members detected"));
    assert!(error(&packed_key(kind::SET_LISTPACK, &twice)).contains("Set listpack integrity check failed."));
}

#[test]
fn every_cut_is_a_short_read() {
    let bytes = file(
        11,
        b"\xfa\x01a\x01b\xfc\0\0\0\0\0\0\0\0\x12\x01k\x02\x01\x01a\x01\xc3\x05\x1a\x00a\xe0\x10\x00",
    );
    read(&bytes).expect("sound as a whole");
    for cut in 0..bytes.len() {
        let text = read_in_chunks(&bytes[..cut], 3).expect_err("cut").to_string();
        assert!(
            text.starts_with(
                "Short read or OOM loading DB. Unrecoverable error, aborting now. (the data ends at offset"
            ),
            "{text}"
        );
        assert!(text.contains(&format!("offset {cut}")), "{text}");
        assert_eq!(text.contains("in key 'k'"), (26..39).contains(&cut), "{text}");
    }
}

fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let packed = listpack(&["abc", "-5000", "1099511627776", &"x".repeat(70)]);
    let packed = ListPack::from_bytes(packed).expect("sound");
    let old = ziplist(&[b"\x03abc", b"\xf5", b"\xc0\x01\x02"]);
    let mut writer = RdbWriter::new(&WriteOptions { version: 11, checksum: false, ..Default::default() });
    writer.select_db(1, 2, 3);
    let keys = writer.keys();
    keys.string(
        Head::Key { key: b"s", meta: KeyMeta { expiry_ms: Some(5), idle_s: Some(6), freq: Some(7) } },
        &[9; 99],
    );
    keys.list(Head::key(b"l"), 2);
    keys.node(NodeRef::Packed(&packed));
    keys.node(NodeRef::Plain(b"plain"));
    keys.listpack_set(Head::key(b"p"), &packed);
    keys.intset(Head::key(b"i"), &IntSet::from_bytes(intset(4, &[-70000, 3, 5])).expect("sound"));
    keys.set(Head::key(b"m"), 2);
    keys.member(Entry::Str(b"one"));
    keys.member(Entry::Int(2));
    let mut sound = writer.take(Vec::new());
    sound.extend_from_slice(&packed_key(kind::LIST_ZIPLIST, &old));
    sound.extend_from_slice(&writer.finish());
    let length = sound.len();
    prop::collection::vec((9..length, any::<u8>()), 0..5).prop_map(move |changes| {
        let mut bytes = sound.clone();
        for (at, byte) in changes {
            bytes[at] = byte;
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// Whatever the bytes: no panic, and the same outcome in whatever pieces they come.
    #[test]
    fn damaged_files_never_panic(bytes in damaged(), chunk in 1usize..50) {
        match (read(&bytes), read_in_chunks(&bytes, chunk)) {
            (Ok(whole), Ok(pieces)) => prop_assert_eq!(whole, pieces),
            (Err(whole), Err(pieces)) => {
                prop_assert_eq!(std::mem::discriminant(&whole), std::mem::discriminant(&pieces));
            }
            (whole, pieces) => prop_assert!(false, "{whole:?} but in pieces {pieces:?}"),
        }
    }

    #[test]
    fn arbitrary_records_never_panic(records in prop::collection::vec(any::<u8>(), 0..200), version in 1u32..13) {
        let bytes = file(version, &records);
        prop_assert_eq!(read(&bytes).is_ok(), read_in_chunks(&bytes, 1).is_ok());
    }

    /// Any single-bit error in a payload is noticed.
    #[test]
    fn damaged_payloads_are_refused(at in any::<prop::sample::Index>(), bit in 0u8..8) {
        let value = ValueRef::Bytes(b"some text that is worth compressing, compressing");
        let mut payload = dump_payload(value, &EncodeOptions::default());
        let at = at.index(payload.len());
        payload[at] ^= 1u8 << bit;
        let error = parse_payload(&payload, &options()).expect_err("damaged");
        prop_assert_eq!(error.to_string(), "DUMP payload version or checksum are wrong");
    }

    #[test]
    fn unsummed_payloads_never_panic(mut payload in prop::collection::vec(any::<u8>(), 0..100)) {
        payload.extend_from_slice(&[10, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let unchecked = ReadOptions { checksum: false, ..options() };
        if let Err(error) = parse_payload(&payload, &unchecked) {
            prop_assert_eq!(error.to_string(), "Bad data format");
        }
    }
}

#[test]
fn payload_faults() {
    let parse = |payload: &[u8]| parse_payload(payload, &options()).expect_err("refused").to_string();
    let sealed = |value: &[u8], version: u16| {
        let mut payload = value.to_vec();
        payload.extend_from_slice(&version.to_le_bytes());
        payload.extend_from_slice(&crc64(&payload).to_le_bytes());
        payload
    };
    assert_eq!(parse(b""), "DUMP payload version or checksum are wrong");
    assert_eq!(parse(&sealed(b"\x00\x01v", 13)), "DUMP payload version or checksum are wrong");
    assert_eq!(parse(&sealed(b"", 10)), "Bad data format");
    assert_eq!(parse(&sealed(b"\x01\x00", 10)), "Bad data format");
    assert_eq!(parse(&sealed(b"\x03\x00", 10)), "Bad data format");
    assert_eq!(parse(&sealed(b"\x00\x05v", 10)), "Bad data format");
    assert_eq!(parse(&sealed(b"\x00\x01vv", 10)), "Bad data format");
    assert!(parse_payload(&sealed(b"\x00\x01v", 12), &options()).is_ok());
}
