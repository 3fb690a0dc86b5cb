//! Values whole, in pieces, beyond the limits, and made of arbitrary bytes.

use proptest::prelude::*;

use super::*;
use crate::resp::reply::{Protocol, Reply};

fn value(text: &str) -> Value {
    let (value, len) = decode(text.as_bytes()).unwrap().unwrap();
    assert_eq!(len, text.len());
    value
}

fn fault(text: &str) -> (ReplyFault, usize) {
    match decode(text.as_bytes()) {
        Err(ProtocolError::InvalidReply { what, offset }) => (what, offset),
        other => panic!("{text:?}: {other:?}"),
    }
}

fn bulk(text: &str) -> Value {
    Value::Bulk(text.into())
}

#[test]
fn every_type() {
    use Value::*;
    assert_eq!(value("+OK\r\n"), Simple(b"OK".to_vec()));
    assert_eq!(value("-ERR no\r\n"), Error(b"ERR no".to_vec()));
    assert_eq!(value(":-42\r\n"), Integer(-42));
    assert_eq!(value(":+42\r\n"), Integer(42));
    assert_eq!(value("$4\r\na\r\nb\r\n"), bulk("a\r\nb"));
    assert_eq!(value("$-1\r\n"), Null);
    assert_eq!(value("_\r\n"), Null);
    assert_eq!(value("*-1\r\n"), NullArray);
    assert_eq!(value("*0\r\n"), Array(vec![]));
    assert_eq!(value("*2\r\n:1\r\n*1\r\n$-1\r\n"), Array(vec![Integer(1), Array(vec![Null])]));
    assert_eq!(value(",2.75\r\n"), Double(2.75));
    assert_eq!(value(",-inf\r\n"), Double(f64::NEG_INFINITY));
    assert!(matches!(value(",nan\r\n"), Double(nan) if nan.is_nan()));
    assert_eq!(value("#t\r\n"), Boolean(true));
    assert_eq!(value("#f\r\n"), Boolean(false));
    assert_eq!(value("(-12345678901234567890\r\n"), BigNumber("-12345678901234567890".into()));
    assert_eq!(value("=7\r\ntxt:a b\r\n"), Verbatim { format: *b"txt", text: b"a b".to_vec() });
    assert_eq!(value("!5\r\nERR a\r\n"), Error(b"ERR a".to_vec()));
    assert_eq!(value("~1\r\n:1\r\n"), Set(vec![Integer(1)]));
    assert_eq!(value(">2\r\n+a\r\n+b\r\n"), Push(vec![Simple(b"a".to_vec()), Simple(b"b".to_vec())]));
    assert_eq!(value("%1\r\n+a\r\n:1\r\n"), Map(vec![(Simple(b"a".to_vec()), Integer(1))]));
    let attributed = Attributed { attributes: vec![(bulk("k"), Integer(90))], value: Box::new(bulk("v")) };
    assert_eq!(value("|1\r\n$1\r\nk\r\n:90\r\n$1\r\nv\r\n"), attributed);
}

#[test]
fn what_is_not_resp_is_refused_where_it_stands() {
    use ReplyFault::*;
    assert_eq!(fault("?1\r\n"), (UnknownType, 0));
    assert_eq!(fault("\r\n"), (UnknownType, 0));
    assert_eq!(fault("*2\r\n:1\r\n:x\r\n"), (MalformedNumber, 8));
    assert_eq!(fault("$-2\r\n"), (MalformedNumber, 0));
    assert_eq!(fault("*?\r\n"), (MalformedNumber, 0));
    assert_eq!(fault("$1\r\nabc"), (MissingLineEnd, 0));
    assert_eq!(fault("+a\nb\r\n"), (MissingLineEnd, 0));
    assert_eq!(fault("+a\rb\r\n"), (MissingLineEnd, 0));
    assert_eq!(fault("#x\r\n"), (MalformedScalar, 0));
    assert_eq!(fault("_x\r\n"), (MalformedScalar, 0));
    assert_eq!(fault(",x\r\n"), (MalformedScalar, 0));
    assert_eq!(fault("(1x\r\n"), (MalformedScalar, 0));
    assert_eq!(fault("(\r\n"), (MalformedScalar, 0));
    assert_eq!(fault("=3\r\ntxt\r\n"), (MalformedScalar, 0));
    let text = ProtocolError::InvalidReply { what: UnknownType, offset: 7 }.to_string();
    assert_eq!(text, "Protocol error: unknown type marker at byte 7 of the reply");
}

#[test]
fn lengths_and_depths_are_bounded() {
    use ReplyFault::*;
    assert_eq!(fault("$536870913\r\n"), (TooLong, 0));
    assert_eq!(fault("$9223372036854775807\r\n").0, TooLong);
    assert_eq!(fault("*9223372036854775807\r\n").0, TooLong);
    assert_eq!(fault("%4000000000\r\n").0, TooLong);
    assert_eq!(fault(&format!("+{}", "a".repeat(2 << 20))), (TooLong, 0));
    assert_eq!(fault(&"*1\r\n".repeat(129)).0, TooDeep);
    assert_eq!(fault(&"|0\r\n".repeat(129)).0, TooDeep);
    assert!(decode((("*1\r\n").repeat(128) + ":1\r\n").as_bytes()).unwrap().is_some());
    assert_eq!(decode(b"*1000000000\r\n"), Ok(None), "claimed, so waited for, but not allocated");
}

#[test]
fn a_decoder_goes_from_value_to_value() {
    let bytes = b"*1\r\n:1\r\n+a\r\n:2";
    let mut decoder = Decoder::new(ValueLimits::default());
    assert_eq!(decoder.decode(&bytes[..6]), Ok(None));
    assert_eq!(decoder.decode(bytes), Ok(Some((Value::Array(vec![Value::Integer(1)]), 8))));
    assert_eq!(decoder.decode(&bytes[8..]), Ok(Some((Value::Simple(b"a".to_vec()), 4))));
    assert_eq!(decoder.decode(&bytes[12..]), Ok(None));
}

#[test]
fn views() {
    assert_eq!(bulk("12").as_integer(), Some(12));
    assert_eq!(Value::Integer(12).as_integer(), Some(12));
    assert_eq!(value("-ERR x\r\n").error_text(), Some(&b"ERR x"[..]));
    assert_eq!(bulk("x").error_text(), None);
    assert_eq!(value(">1\r\n:1\r\n").as_slice(), Some(&[Value::Integer(1)][..]));
    assert_eq!(Value::Null.as_bytes(), None);
}

#[test]
fn commands_are_arrays_of_bulk_strings() {
    let mut out = Vec::new();
    encode_command(&mut out, &["SET", "k", ""]);
    assert_eq!(out, b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$0\r\n\r\n");
}

/// Writes a value with the server's encoder, in RESP3 unless it is of RESP2 alone.
fn write(reply: &mut Reply, value: &Value) {
    match value {
        Value::Simple(text) => reply.simple(std::str::from_utf8(text).unwrap()),
        Value::Error(text) => reply.error(std::str::from_utf8(text).unwrap()),
        Value::Integer(n) => reply.integer(*n),
        Value::Bulk(bytes) => reply.bulk(bytes),
        Value::Null => reply.null(),
        Value::NullArray => reply.buf.extend_from_slice(b"*-1\r\n"),
        Value::Double(value) => reply.double(*value),
        Value::Boolean(value) => reply.boolean(*value),
        Value::BigNumber(digits) => reply.big_number(digits),
        Value::Verbatim { format, text } => reply.verbatim(std::str::from_utf8(format).unwrap(), text),
        Value::Array(items) | Value::Set(items) | Value::Push(items) => {
            match value {
                Value::Array(_) => reply.array(items.len()),
                Value::Set(_) => reply.set(items.len()),
                _ => reply.push(items.len()),
            }
            items.iter().for_each(|item| write(reply, item));
        }
        Value::Map(pairs) => {
            reply.map(pairs.len());
            write_pairs(reply, pairs);
        }
        Value::Attributed { attributes, value } => {
            assert!(reply.attribute(attributes.len()));
            write_pairs(reply, attributes);
            write(reply, value);
        }
    }
}

fn write_pairs(reply: &mut Reply, pairs: &[(Value, Value)]) {
    for (key, value) in pairs {
        write(reply, key);
        write(reply, value);
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        "[ -~]{0,12}".prop_map(|text| Value::Simple(text.into_bytes())),
        "[ -~]{0,12}".prop_map(|text| Value::Error(text.into_bytes())),
        any::<i64>().prop_map(Value::Integer),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(Value::Bulk),
        Just(Value::Null),
        Just(Value::NullArray),
        any::<f64>().prop_filter("equal to itself", |n| !n.is_nan()).prop_map(Value::Double),
        any::<bool>().prop_map(Value::Boolean),
        "-?[0-9]{1,40}".prop_map(Value::BigNumber),
        prop::collection::vec(any::<u8>(), 0..20).prop_map(|text| Value::Verbatim { format: *b"txt", text }),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let list = prop::collection::vec(inner.clone(), 0..5);
        let pairs = prop::collection::vec((inner.clone(), inner.clone()), 0..4);
        prop_oneof![
            list.clone().prop_map(Value::Array),
            list.clone().prop_map(Value::Set),
            list.prop_map(Value::Push),
            pairs.clone().prop_map(Value::Map),
            (pairs, inner)
                .prop_map(|(attributes, value)| Value::Attributed { attributes, value: Box::new(value) }),
        ]
    })
}

fn almost_values() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        (prop::sample::select(b"+-:$*%~>|=!,#_(?".to_vec()), -2i64..6).prop_map(|(marker, n)| [
            &[marker][..],
            n.to_string().as_bytes(),
            b"\r\n"
        ]
        .concat()),
        Just(b"$2\r\nab\r\n".to_vec()),
        Just(b"=5\r\ntxt:a\r\n".to_vec()),
        Just(b"_\r\n".to_vec()),
        prop::collection::vec(any::<u8>(), 0..8),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn what_the_server_encodes_comes_back(value in values()) {
        let mut reply = Reply::new(Protocol::Resp3);
        write(&mut reply, &value);
        prop_assert_eq!(decode(&reply.buf), Ok(Some((value, reply.buf.len()))));
    }

    #[test]
    fn pieces_mean_what_the_whole_means(bytes in almost_values()) {
        let whole = decode(&bytes);
        let mut decoder = Decoder::new(ValueLimits::default());
        let mut in_pieces = decoder.decode(&[]);
        for end in 1..=bytes.len() {
            if in_pieces == Ok(None) {
                in_pieces = decoder.decode(&bytes[..end]);
            }
        }
        // Text, since a NaN is not equal to itself.
        prop_assert_eq!(format!("{whole:?}"), format!("{in_pieces:?}"));
    }

    #[test]
    fn commands_come_back_as_requests(args in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..20), 1..9)) {
        use crate::resp::request::{Limits, Parsed, RequestParser};
        let mut bytes = Vec::new();
        encode_command(&mut bytes, &args);
        let mut parser = RequestParser::new();
        prop_assert_eq!(parser.parse(&bytes, &Limits::default()), Ok(Parsed::Complete { len: bytes.len() }));
        prop_assert_eq!(parser.args(&bytes).to_vec(), args);
    }
}
