//! Every version, record and encoding that other servers may have written.

use super::*;

#[test]
fn every_version_is_read_and_no_other() {
    for version in 1..=MAX_VERSION {
        let items = read(&file(version, b"\x00\x01k\x01v")).expect("a known version");
        assert_eq!(items, ["key 0/k = string v", if version < 5 { "end NotChecked" } else { "end Valid" }]);
    }
    let error = |bytes: &[u8]| read(bytes).expect_err("refused").to_string();
    assert_eq!(error(b"REDIS0013\xff"), "Can't handle RDB format version 13");
    assert_eq!(error(b"REDIS0000\xff"), "Can't handle RDB format version 0");
    assert_eq!(error(b"redis0009"), "Wrong signature trying to load DB from file");
}

#[test]
fn records_around_keys() {
    let mut records = b"\xfa\x09redis-ver\x057.2.4\xfa\x05ctime\xc2\x01\x02\x03\x04".to_vec();
    records.extend_from_slice(b"\xf5\x06source");
    records.extend_from_slice(b"\xfe\x03\xfb\x40\x80\x02\xf4\x01\x02\x03");
    records.extend_from_slice(b"\xfc\x10\x27\0\0\0\0\0\0\xf8\x41\x00\x00\x01a\x01x");
    records.extend_from_slice(b"\xfd\x10\x27\0\0\xf9\xc8\x00\x01b\xc0\x05");
    records.extend_from_slice(b"\xfc\xff\xff\xff\xff\xff\xff\xff\xff\x00\xc1\x39\x30\xc2\x40\xe2\x01\x00");
    let expected = [
        "aux redis-ver=7.2.4",
        "aux ctime=67305985",
        "function source",
        "db 3",
        "resize 128 2",
        "key 3/a expiry=10000 idle=256 = string x",
        "key 3/b expiry=10000000 freq=200 = int 5",
        "key 3/12345 = int 123456",
        "end Valid",
    ];
    let bytes = file(12, &records);
    assert_eq!(read(&bytes).expect("sound"), expected);
    for chunk in 1..40 {
        assert_eq!(read_in_chunks(&bytes, chunk).expect("sound"), expected, "in chunks of {chunk}");
    }
}

#[test]
fn module_data_outside_of_keys_is_skipped() {
    // The id of "ReJSON-RL" with encoding version 3; then an integer, a float, a double and a string.
    let letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let id =
        "ReJSON-RL".chars().fold(0u64, |id, c| id << 6 | letters.find(c).expect("a letter") as u64) << 10 | 3;
    let mut records = vec![0xf7, 0x81];
    records.extend_from_slice(&id.to_be_bytes());
    records
        .extend_from_slice(b"\x02\x01\x01\x40\x80\x03\0\0\0\0\x04\0\0\0\0\0\0\0\0\x05\x03\xff\xff\xff\x00");
    let bytes = file(9, &records);
    for chunk in [1, 2, 7, 100] {
        let items = read_in_chunks(&bytes, chunk).expect("sound");
        assert_eq!(items, ["module ReJSON-RL", "end Valid"]);
    }
}

#[test]
fn old_lists_and_sets() {
    assert_eq!(only_value(&file(1, b"\x01\x01k\x02\x01a\xc0\x07")), "listpack a 7");
    assert_eq!(only_value(&file(2, b"\x02\x01k\x02\x01a\xc0\xff")), "set listpack -1 a");
}

#[test]
fn ziplists_with_every_encoding() {
    let long = [&[0x40, 200][..], &[b'x'; 200]].concat();
    let longer = [&[0x80, 0, 0, 0x40, 0][..], &[b'y'; 0x4000]].concat();
    let entries: [&[u8]; 13] = [
        b"\x03abc",
        &long,
        b"\xf1",
        b"\xfd",
        b"\xfe\x80",
        b"\xc0\x00\x80",
        b"\xf0\x00\x00\x80",
        b"\xd0\x00\x00\x00\x80",
        b"\xe0\x00\x00\x00\x00\x00\x00\x00\x80",
        b"\xf0\xff\xff\x7f",
        &longer,
        b"\x00",
        b"\x01z",
    ];
    let (x, y) = ("x".repeat(200), "y".repeat(0x4000));
    let expected = [
        "abc",
        &x,
        "0",
        "12",
        "-128",
        "-32768",
        "-8388608",
        "-2147483648",
        "-9223372036854775808",
        "8388607",
        &y,
        "",
        "z",
    ];
    let ziplist = ziplist(&entries);
    let mut record = vec![kind::LIST_ZIPLIST, 1, b'k', 0x80];
    record.extend_from_slice(&(ziplist.len() as u32).to_be_bytes());
    record.extend_from_slice(&ziplist);
    let expected = expected.join(" ");
    assert_eq!(only_value(&file(6, &record)), format!("quicklist {expected}"));
    // A quicklist of two of them.
    record.splice(..3, [kind::LIST_QUICKLIST, 1, b'k', 2]);
    record.extend_from_within(4..);
    assert_eq!(only_value(&file(8, &record)), format!("quicklist {expected} {expected}"));
}

#[test]
fn quicklists_of_packed_and_plain_nodes() {
    let packed = listpack(&["a", "-5000"]);
    let mut record = b"\x12\x01k\x03\x02".to_vec();
    record.push(packed.len() as u8);
    record.extend_from_slice(&packed);
    record.extend_from_slice(b"\x01\x05plain");
    // An empty listpack is passed over.
    record.extend_from_slice(b"\x02\x07\x07\0\0\0\0\0\xff");
    let bytes = file(10, &record);
    assert_eq!(only_value(&bytes), "quicklist a -5000 plain");
    for chunk in 1..20 {
        assert_eq!(read_in_chunks(&bytes, chunk).expect("sound"), read(&bytes).expect("sound"));
    }
}

#[test]
fn packed_sets() {
    for (width, members, expected) in [
        (2, vec![-32768, 7], "-32768 7"),
        (4, vec![-70000, 3], "-70000 3"),
        (8, vec![i64::MIN], "-9223372036854775808"),
    ] {
        let value = only_value(&file(9, &packed_key(kind::SET_INTSET, &intset(width, &members))));
        assert_eq!(value, format!("set intset {expected}"));
    }
    let value = only_value(&file(11, &packed_key(kind::SET_LISTPACK, &listpack(&["a", "1"]))));
    assert_eq!(value, "set listpack 1 a");
}

#[test]
fn empty_lists_and_sets_are_reported_and_passed_over() {
    let empty_listpack = b"\x07\0\0\0\0\0\xff";
    let empty_ziplist = ziplist(&[]);
    for record in [
        b"\x01\x01k\x00".to_vec(),
        b"\x02\x01k\x00".to_vec(),
        b"\x0e\x01k\x00".to_vec(),
        b"\x12\x01k\x00".to_vec(),
        [&b"\x12\x01k\x01\x02\x07"[..], empty_listpack].concat(),
        packed_key(kind::SET_LISTPACK, empty_listpack),
        packed_key(kind::LIST_ZIPLIST, &empty_ziplist),
    ] {
        let items = read(&file(11, &[&record, &b"\x00\x01l\x01v"[..]].concat())).expect("sound");
        assert_eq!(items, ["empty 0/k", "key 0/l = string v", "end Valid"]);
    }
}

#[test]
fn what_follows_the_end_is_left_alone() {
    let bytes = [&file(9, b"\x00\x01k\x01v")[..], b"*1\r\n$4\r\nPING\r\n"].concat();
    let mut reader = RdbReader::new(&options());
    reader.feed(bytes.clone());
    while !matches!(reader.next().expect("sound"), Step::End) {}
    assert_eq!(reader.rest(), b"*1\r\n$4\r\nPING\r\n");
    assert_eq!(reader.offset() as usize + reader.rest().len(), bytes.len());
    assert_eq!(reader.version(), 9);
}

#[test]
fn checksums_count_unless_disabled() {
    let mut bytes = file(10, b"\x00\x01k\x01v");
    let end = bytes.len() - 8;
    let sum = crc64(&bytes[..end]);
    bytes[end] ^= 1;
    let error = read(&bytes).expect_err("a wrong checksum").to_string();
    assert_eq!(
        error,
        format!("Wrong RDB checksum expected: ({sum:x}) but got ({:x}). Aborting now.", sum ^ 1)
    );
    for chunk in 1..bytes.len() {
        assert!(matches!(read_in_chunks(&bytes, chunk), Err(RdbError::Checksum { .. })));
    }

    let mut reader = RdbReader::new(&ReadOptions { checksum: false, ..options() });
    reader.feed(bytes.clone());
    assert!(matches!(reader.next(), Ok(Step::Item(Item::Key(_)))));
    assert!(matches!(reader.next(), Ok(Step::Item(Item::End(Checksum::NotChecked)))));

    bytes[end..].fill(0);
    assert_eq!(read(&bytes).expect("disabled")[1], "end Disabled");
}
