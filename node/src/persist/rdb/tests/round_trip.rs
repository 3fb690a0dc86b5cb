//! What is written is read again.

use super::super::packed::listpack_iter;
use super::*;
use proptest::prelude::*;

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        any::<i16>().prop_map(|number| number.to_string().into_bytes()),
        (any::<u8>(), 0usize..70_000).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

fn packed() -> impl Strategy<Value = Vec<u8>> {
    // Distinct numbers and texts that are none, so that the listpack is also a set.
    (prop::collection::btree_set(any::<i64>(), 1..20), prop::collection::btree_set("[a-z]{1,90}", 0..20))
        .prop_map(|(numbers, texts)| {
            let texts = texts.iter().map(|text| Entry::Str(text.as_bytes()));
            listpack(&numbers.iter().map(|&number| Entry::Int(number)).chain(texts).collect::<Vec<_>>())
        })
}

fn node() -> impl Strategy<Value = ListNode> {
    prop_oneof![
        packed().prop_map(ListNode::Packed),
        prop::collection::vec(any::<u8>(), 1..200).prop_map(ListNode::Plain),
    ]
}

fn value() -> impl Strategy<Value = RdbValue> {
    let strings =
        || prop::collection::vec(text(), 1..20).prop_map(|texts| texts.into_iter().collect::<Strings>());
    prop_oneof![
        text().prop_map(|text| RdbValue::String(Text::Bytes(text))),
        any::<i64>().prop_map(|number| RdbValue::String(Text::Int(number))),
        prop::collection::vec(node(), 1..8).prop_map(|nodes| RdbValue::List(RdbList::Nodes(nodes))),
        strings().prop_map(|strings| RdbValue::List(RdbList::Elements(strings))),
        strings().prop_map(|strings| RdbValue::Set(RdbSet::Members(strings))),
        prop::collection::btree_set(any::<i64>(), 1..50).prop_map(|members| RdbValue::Set(RdbSet::IntSet(
            intset(8, &members.into_iter().collect::<Vec<_>>())
        ))),
        packed().prop_map(|listpack| RdbValue::Set(RdbSet::ListPack(listpack))),
    ]
}

/// How a value comes back: a string as a number if its shortest form was, a listpack set in its parts where the
/// version has none.
fn as_read(value: &RdbValue, version: u32) -> RdbValue {
    match value {
        RdbValue::String(text) => {
            let bytes = text.clone().into_bytes();
            let number = std::str::from_utf8(&bytes).ok().and_then(|text| text.parse::<i32>().ok());
            let number = number.filter(|number| number.to_string().as_bytes() == bytes);
            RdbValue::String(number.map_or(Text::Bytes(bytes), |number| Text::Int(number as i64)))
        }
        RdbValue::Set(RdbSet::ListPack(listpack)) if version < 11 => {
            let mut members = Strings::new();
            listpack_iter(listpack).for_each(|entry| members.push_entry(entry));
            RdbValue::Set(RdbSet::Members(members))
        }
        other => other.clone(),
    }
}

fn meta() -> impl Strategy<Value = KeyMeta> {
    (prop::option::of(0i64..i64::MAX), prop::option::of(any::<u64>()), prop::option::of(any::<u8>()))
        .prop_map(|(expiry_ms, idle_s, freq)| KeyMeta { expiry_ms, idle_s, freq })
}

proptest! {
    #[test]
    fn files(
        keys in prop::collection::vec((text(), meta(), value()), 0..12),
        version in 9u32..=12,
        compression: bool,
        checksum: bool,
        take_every in 1usize..3000,
        chunk in 1usize..5000,
    ) {
        let mut writer = RdbWriter::new(&WriteOptions { version, compression, checksum });
        let mut bytes = Vec::new();
        let mut expected = vec![Item::SelectDb(5), Item::ResizeDb { keys: keys.len() as u64, expires: 1 }];
        writer.select_db(5, keys.len() as u64, 1);
        for (key, meta, value) in keys {
            writer.keys().value(Head::Key { key: &key, meta }, &value);
            if writer.buffered() > take_every {
                bytes.append(&mut writer.take(Vec::new()));
            }
            let KeyMeta { expiry_ms, idle_s, freq } = meta;
            let value = as_read(&value, version);
            expected.push(Item::Key(RdbKey { db: 5, key, expiry_ms, idle_s, freq, value }));
        }
        expected.push(Item::End(if checksum { Checksum::Valid } else { Checksum::Disabled }));
        bytes.append(&mut writer.finish());
        prop_assert_eq!(read_in_chunks(&bytes, chunk).expect("what we write is sound"), expected);
    }

    #[test]
    fn payloads(value in value(), version in 9u32..=12, compression: bool) {
        let payload = dump_payload(&value, &EncodeOptions { version, compression });
        let read = parse_payload(&payload, &ReadOptions::default()).expect("what we write is sound");
        prop_assert_eq!(read, as_read(&value, version));
    }
}

#[test]
fn the_preamble_has_the_fields_of_redis_in_its_order() {
    let mut writer = RdbWriter::new(&WriteOptions::default());
    let id = "0123456789abcdef0123456789abcdef01234567";
    writer.preamble(&Preamble {
        redis_version: "7.2.4",
        ctime_s: 1_700_000_000,
        used_memory: 5_000_000_000,
        replication: Some(Replication { stream_db: -1, id, offset: 1 << 40 }),
        aof_base: true,
    });
    writer.function(b"#!lua name=x");
    let bytes = writer.finish();
    assert!(
        bytes.starts_with(b"REDIS0010\xfa\x09redis-ver\x057.2.4\xfa\x0aredis-bits\xc0\x40\xfa\x05ctime\xc2")
    );
    let items = read(&bytes).expect("sound");
    let aux: Vec<_> = items
        .iter()
        .filter_map(|item| match item {
            Item::Aux { name, value } => {
                Some((name.escape_ascii().to_string(), value.escape_ascii().to_string()))
            }
            _ => None,
        })
        .collect();
    let expected = [
        ("redis-ver", "7.2.4"),
        ("redis-bits", "64"),
        ("ctime", "1700000000"),
        ("used-mem", "5000000000"),
        ("repl-stream-db", "-1"),
        ("repl-id", id),
        ("repl-offset", "1099511627776"),
        ("aof-base", "1"),
    ];
    assert!(aux.iter().map(|(name, value)| (&name[..], &value[..])).eq(expected), "{aux:?}");
    assert_eq!(items[8], Item::Function(b"#!lua name=x".to_vec()));
}

#[test]
fn versions_are_kept_within_what_can_be_written() {
    for (asked, written) in [(0, "REDIS0009"), (11, "REDIS0011"), (99, "REDIS0012")] {
        let writer = RdbWriter::new(&WriteOptions { version: asked, ..Default::default() });
        assert!(writer.finish().starts_with(written.as_bytes()));
    }
}
