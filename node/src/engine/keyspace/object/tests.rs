//! The object against a model of it: any sequence of changes leaves what was put in, in an allocation of the
//! size it claims.

use proptest::prelude::*;

use super::*;
use crate::engine::types::SetLimits;

fn set() -> Value {
    Value::Set(Box::new(Set::for_member(b"member", 1, &SetLimits::with_seed(1))))
}

fn string(object: &Object) -> Vec<u8> {
    match object.value() {
        ValueRef::Int(n) => n.to_string().into_bytes(),
        ValueRef::Bytes(bytes) => bytes.to_vec(),
        other => panic!("not a short string: {other:?}"),
    }
}

#[test]
fn a_short_key_and_value_take_48_bytes_with_or_without_expiry() {
    let (key, value) = (b"key:00000000001", b"value:0000000000");
    assert_eq!((key.len(), value.len()), (15, 16));
    assert_eq!(Object::new_string(key, value, None).memory_usage(0), 48);
    assert_eq!(Object::new_string(key, value, Some(1)).memory_usage(0), 48);
    assert_eq!(size_of::<Option<Object>>(), 8);
}

#[test]
fn encodings_are_named_as_redis_names_them() {
    let name = |value: &[u8]| Object::new_string(b"k", value, None).encoding_name();
    assert_eq!(name(b"123"), "int");
    assert_eq!(name(b"0123"), "embstr");
    assert_eq!(name(&[b'x'; 44]), "embstr");
    assert_eq!(name(&[b'x'; 45]), "raw");
    assert_eq!(name(&[b'x'; EMBEDDED_MAX + 1]), "raw");
    assert_eq!(Object::new_raw_string(b"k", b"1", None).encoding_name(), "raw");
    let mut object = Object::new_string(b"k", b"abc", None);
    if let ValueMut::Bytes(bytes) = object.value_mut() {
        bytes[0] = b'z';
    }
    assert_eq!((object.encoding_name(), string(&object)), ("raw", b"zbc".to_vec()));
    object.set_string(b"abc");
    assert_eq!(object.encoding_name(), "embstr");
    object.promote_to_blob();
    assert_eq!(object.encoding_name(), "raw");
}

#[test]
fn a_value_is_overwritten_in_place_where_it_fits() {
    let mut object = Object::new_string(b"key:00000000001", b"value:0000000000", Some(7));
    let start = object.0;
    for value in [&b"value:0000000001"[..], b"short", b"12345", b"", b"value:00000000017"] {
        object.set_string(value);
        assert_eq!((object.0, string(&object)), (start, value.to_vec()));
    }
    object.set_expiry(None);
    object.set_expiry(Some(8));
    assert_eq!(object.0, start);
    object.set_string(&[b'x'; 500]);
    let large = object.memory_usage(0);
    object.set_string(b"x");
    assert!(object.memory_usage(0) < large / 2, "half or more of an allocation is not left unused");
}

#[test]
fn renamed_and_duplicated_objects_keep_what_belongs_to_them() {
    for value in
        [Value::Int(5), Value::Bytes(b"abc".to_vec()), Value::Blob(Box::new(Blob::from(&[b'x'; 5000][..])))]
    {
        let mut object = Object::new(b"old", value, Some(99));
        object.set_lru(0x00ab_cdef);
        object.set_mark(true);
        let before = format!("{:?}", object.value());
        let copy = object.duplicate(b"copy");
        let object = object.renamed(&[b'n'; 100]);
        assert_eq!(
            (object.key(), object.expiry_ms(), object.lru(), object.mark()),
            (&[b'n'; 100][..], Some(99), 0x00ab_cdef, true)
        );
        assert_eq!(
            (copy.key(), copy.expiry_ms(), copy.lru(), copy.mark()),
            (&b"copy"[..], Some(99), 0x00ab_cdef, false)
        );
        assert_eq!(format!("{:?}", object.value()), before);
        assert_eq!(format!("{:?}", copy.into_value()), format!("{:?}", object.into_value()));
    }
}

#[test]
fn aggregates_are_held_changed_and_taken_out() {
    let mut object = Object::new(b"k", Value::List(Box::default()), None);
    assert_eq!((object.kind(), object.kind().name()), (Kind::List, "list"));
    assert!(matches!(object.value_mut(), ValueMut::List(_)));
    assert_eq!(object.duplicate(b"c").kind(), Kind::List);
    object.set_value(set());
    assert_eq!((object.kind(), object.expiry_ms()), (Kind::Set, None));
    object.set_expiry(Some(3));
    assert!(matches!(object.value_mut(), ValueMut::Set(_)));
    assert!(object.memory_usage(0) > 32);
    object.set_string(b"gone");
    assert_eq!(object.kind(), Kind::String);
    object.set_value(set());
    assert!(matches!(object.into_value(), Value::Set(_)));
}

#[test]
#[should_panic(expected = "only a string can become a blob")]
fn an_aggregate_is_no_blob() {
    Object::new(b"k", set(), None).promote_to_blob();
}

#[derive(Clone, Debug)]
enum Op {
    SetString(Vec<u8>),
    SetRaw(Vec<u8>),
    SetInt(i64),
    SetExpiry(Option<i64>),
    SetLru(u32),
    SetMark(bool),
    Rename(Vec<u8>),
    Duplicate,
    ThroughValue,
}

/// Keys of all sizes, those around the limit of the short form included.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let near_limit = Header::LONG_KEY - 2..Header::LONG_KEY + 3;
    prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 0..40),
        1 => prop::collection::vec(any::<u8>(), 0..2000),
        1 => near_limit.prop_map(|len| (0..len).map(|i| i as u8).collect()),
    ]
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => prop::collection::vec(any::<u8>(), 0..80),
        1 => prop::collection::vec(any::<u8>(), 0..=EMBEDDED_MAX),
        1 => any::<i64>().prop_map(|n| n.to_string().into_bytes()),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        5 => value().prop_map(Op::SetString),
        1 => value().prop_map(Op::SetRaw),
        2 => any::<i64>().prop_map(Op::SetInt),
        4 => prop::option::of(any::<i64>()).prop_map(Op::SetExpiry),
        1 => any::<u32>().prop_map(Op::SetLru),
        1 => any::<bool>().prop_map(Op::SetMark),
        1 => key().prop_map(Op::Rename),
        1 => Just(Op::Duplicate),
        1 => Just(Op::ThroughValue),
    ]
}

proptest! {
    #[test]
    fn keeps_what_was_put_in(
        key in key(), value in value(), expiry in prop::option::of(any::<i64>()),
        ops in prop::collection::vec(op(), 0..40),
    ) {
        let (mut key, mut value, mut expiry, mut lru, mut mark) = (key, value, expiry, 0, false);
        let mut object = Object::new_string(&key, &value, expiry);
        for op in ops {
            match op {
                Op::SetString(v) => { object.set_string(&v); value = v; }
                Op::SetRaw(v) => { object.set_raw_string(&v); value = v; }
                Op::SetInt(n) => { object.set_int(n); value = n.to_string().into_bytes(); }
                Op::SetExpiry(e) => { object.set_expiry(e); expiry = e; }
                Op::SetLru(l) => { object.set_lru(l); lru = l & 0x00ff_ffff; }
                Op::SetMark(m) => { object.set_mark(m); mark = m; }
                Op::Rename(k) => { object = object.renamed(&k); key = k; }
                Op::Duplicate => { object = object.duplicate(&key); mark = false; }
                Op::ThroughValue => {
                    object = Object::new(&key, object.into_value(), expiry);
                    (lru, mark) = (0, false);
                }
            }
            prop_assert_eq!(object.key(), &key[..]);
            prop_assert_eq!(string(&object), &value[..]);
            prop_assert_eq!(object.expiry_ms(), expiry);
            prop_assert_eq!((object.lru(), object.mark()), (lru, mark));
            let needed = Object::size(object.header(), key.len());
            prop_assert!(object.capacity() >= needed && object.capacity() <= size_class(needed) * WASTE_KEPT);
        }
    }
}
