//! What is written is read again.

use super::*;
use crate::engine::types::entry::canonical_int;
use crate::engine::types::{List, Set};
use proptest::prelude::*;

fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..40),
        any::<i64>().prop_map(|number| number.to_string().into_bytes()),
        any::<i16>().prop_map(|number| number.to_string().into_bytes()),
        (any::<u8>(), 0usize..70_000).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let texts = || prop::collection::vec(text(), 1..20);
    prop_oneof![
        text().prop_map(|text| match canonical_int(&text) {
            Some(number) => Value::Int(number),
            None => Value::Bytes(text),
        }),
        prop::collection::vec(any::<u8>(), 65_537..200_000)
            .prop_map(|bytes| Value::Blob(Box::new(bytes.into()))),
        texts().prop_map(|texts| Value::List(Box::new(list(&texts)))),
        prop::collection::vec(any::<i32>(), 1..300).prop_map(|numbers| {
            let texts: Vec<_> = numbers.iter().map(|number| number.to_string().into_bytes()).collect();
            Value::Set(Box::new(set(&texts)))
        }),
        prop::collection::vec("[a-z0-9]{1,40}", 1..200).prop_map(|texts| {
            Value::Set(Box::new(set(&texts.into_iter().map(String::into_bytes).collect::<Vec<_>>())))
        }),
        texts().prop_map(|texts| Value::Set(Box::new(set(&texts)))),
    ]
}

fn list(texts: &[Vec<u8>]) -> List {
    let mut list = List::new();
    texts.iter().for_each(|text| list.push_back(text, &options().limits.list));
    list
}

fn set(texts: &[Vec<u8>]) -> Set {
    let limits = options().limits.set;
    let mut set = Set::for_member(&texts[0], 1, &limits);
    texts.iter().for_each(|text| {
        set.add(text, &limits);
    });
    set
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
        let mut expected = vec!["db 5".to_string(), format!("resize {} 1", keys.len())];
        writer.select_db(5, keys.len() as u64, 1);
        for (key, meta, value) in keys {
            writer.keys().value(Head::Key { key: &key, meta }, value_ref(&value));
            if writer.buffered() > take_every {
                bytes.append(&mut writer.take(Vec::new()));
            }
            let KeyMeta { expiry_ms, idle_s, freq } = meta;
            expected.push(describe(&Item::Key(RdbKey { db: 5, key, expiry_ms, idle_s, freq, value })));
        }
        expected.push(if checksum { "end Valid" } else { "end Disabled" }.to_string());
        bytes.append(&mut writer.finish());
        prop_assert_eq!(read_in_chunks(&bytes, chunk).expect("what we write is sound"), expected);
    }

    #[test]
    fn payloads(value in value(), version in 9u32..=12, compression: bool) {
        let payload = dump_payload(value_ref(&value), &EncodeOptions { version, compression });
        let read = parse_payload(&payload, &options()).expect("what we write is sound");
        prop_assert_eq!(describe_value(&read), describe_value(&value));
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
    let expected = [
        "aux redis-ver=7.2.4",
        "aux redis-bits=64",
        "aux ctime=1700000000",
        "aux used-mem=5000000000",
        "aux repl-stream-db=-1",
        &format!("aux repl-id={id}"),
        "aux repl-offset=1099511627776",
        "aux aof-base=1",
        "function #!lua name=x",
        "end Valid",
    ];
    assert_eq!(items, expected);
}

#[test]
fn versions_are_kept_within_what_can_be_written() {
    for (asked, written) in [(0, "REDIS0009"), (11, "REDIS0011"), (99, "REDIS0012")] {
        let writer = RdbWriter::new(&WriteOptions { version: asked, ..Default::default() });
        assert!(writer.finish().starts_with(written.as_bytes()));
    }
}
