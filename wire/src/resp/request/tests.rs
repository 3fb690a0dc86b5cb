//! Requests whole, in pieces, beyond the limits, and made of arbitrary bytes.

use proptest::prelude::*;

use super::*;

const LIMITS: Limits = Limits {
    max_bulk_len: 512 * 1024 * 1024,
    max_multibulk: i32::MAX as usize,
    max_inline: 64 * 1024,
    authenticated: true,
};

/// What the bytes mean: the requests in them, then why it ends.
type Meaning = (Vec<Vec<Vec<u8>>>, Result<(), ProtocolError>);

/// Parses `bytes` as a connection would that reads them in pieces ending at `cuts`.
fn meaning(bytes: &[u8], cuts: &[usize], limits: &Limits) -> Meaning {
    let mut parser = RequestParser::new();
    let (mut requests, mut start) = (Vec::new(), 0);
    for &end in cuts.iter().chain([&bytes.len()]) {
        while start < end {
            let buf = &bytes[start..end];
            match parser.parse(buf, limits) {
                Err(error) => return (requests, Err(error)),
                Ok(Parsed::Incomplete { wanted }) => {
                    assert!((1..=MAX_WANTED).contains(&wanted));
                    break;
                }
                Ok(Parsed::Empty { len }) => start += len,
                Ok(Parsed::Complete { len }) => {
                    let args = parser.args(buf);
                    assert_eq!(args.len(), parser.arg_count());
                    requests.push(args.iter().map(|arg| arg.to_vec()).collect());
                    start += len;
                }
            }
        }
    }
    (requests, Ok(()))
}

fn whole(bytes: &[u8]) -> Meaning {
    meaning(bytes, &[], &LIMITS)
}

fn encoded(args: &[Vec<u8>]) -> Vec<u8> {
    let mut out = format!("*{}\r\n", args.len()).into_bytes();
    for arg in args {
        out.extend_from_slice(format!("${}\r\n", arg.len()).as_bytes());
        out.extend_from_slice(arg);
        out.extend_from_slice(b"\r\n");
    }
    out
}

fn refusal(bytes: &[u8]) -> String {
    whole(bytes).1.unwrap_err().to_string()
}

#[test]
fn a_pipeline_of_multibulk_inline_and_empty_requests() {
    let bytes =
        b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\nping\r\n\r\n\n*0\r\n*-10\r\nset a \"b\\x00 c\"\n*1\r\n$0\r\n\r\n";
    let (requests, end) = whole(bytes);
    let expected: Vec<Vec<Vec<u8>>> = vec![
        vec![b"GET".to_vec(), b"k".to_vec()],
        vec![b"ping".to_vec()],
        vec![b"set".to_vec(), b"a".to_vec(), b"b\0 c".to_vec()],
        vec![b"".to_vec()],
    ];
    assert_eq!((requests, end), (expected, Ok(())));
}

#[test]
fn error_texts_are_those_of_redis() {
    let set = "*3\r\n$3\r\nSET\r\n$1\r\nx\r\n";
    let cases = [
        ("*3000000000\r\n".to_string(), "invalid multibulk length"),
        ("*abc\r\n".into(), "invalid multibulk length"),
        ("*\r\n".into(), "invalid multibulk length"),
        (format!("{set}fooz\r\n"), "expected '$', got 'f'"),
        (format!("{set}$-10\r\n"), "invalid bulk length"),
        (format!("{set}$2000000000\r\n"), "invalid bulk length"),
        (format!("{set}$99999999999999999999\r\n"), "invalid bulk length"),
        (format!("{set}$blabla\r\n"), "invalid bulk length"),
        (format!("{set}$01\r\n"), "invalid bulk length"),
        ("*1\r\nfoo\r\n".into(), "expected '$', got 'f'"),
        ("*1\r\n\r\n".into(), "expected '$', got '\r'"),
        ("set \"\"\"test-key\"\"\" test-value\r\n".into(), "unbalanced quotes in request"),
        ("A".repeat(65537), "too big inline request"),
        ("A".repeat(65537) + "\n", "too big inline request"),
        ("*".to_string() + &"1".repeat(65537), "too big mbulk count string"),
        ("*1\r\n$".to_string() + &"1".repeat(65537), "too big bulk count string"),
    ];
    for (request, text) in cases {
        assert_eq!(refusal(request.as_bytes()), format!("Protocol error: {text}"));
    }
    assert_eq!(ProtocolError::InvalidBulkLength.reply_text(), "ERR Protocol error: invalid bulk length");
}

#[test]
fn clients_that_have_yet_to_authenticate_get_small_requests() {
    let limits = Limits { authenticated: false, ..LIMITS };
    let refused = |bytes: &[u8]| meaning(bytes, &[], &limits).1;
    assert_eq!(refused(b"*10\r\n"), Ok(()));
    assert_eq!(refused(b"*11\r\n"), Err(ProtocolError::UnauthenticatedMultibulkLength));
    assert_eq!(refused(b"*1\r\n$16384\r\n"), Ok(()));
    assert_eq!(refused(b"*1\r\n$16385\r\n"), Err(ProtocolError::UnauthenticatedBulkLength));
}

#[test]
fn a_zero_byte_outside_an_argument_ends_in_a_protocol_error() {
    for (start, text) in [
        ("\0", "too big inline request"),
        ("*\0", "too big mbulk count string"),
        ("$\0", "too big inline request"),
    ] {
        let bytes = start.to_string() + &"payload\n".repeat(10_000);
        assert_eq!(refusal(bytes.as_bytes()), format!("Protocol error: {text}"));
    }
}

#[test]
fn wanted_is_what_an_argument_still_lacks_but_bounded() {
    let mut parser = RequestParser::new();
    assert_eq!(parser.parse(b"*1\r\n$10\r\nabc", &LIMITS), Ok(Parsed::Incomplete { wanted: 9 }));
    assert!(parser.is_midway());
    let mut parser = RequestParser::new();
    assert_eq!(parser.parse(b"*1\r\n$500000000\r\n", &LIMITS), Ok(Parsed::Incomplete { wanted: MAX_WANTED }));
    assert!(!RequestParser::new().is_midway());
}

#[test]
fn a_master_may_send_longer_arguments_than_a_client() {
    let limits = Limits { max_bulk_len: usize::MAX, max_multibulk: usize::MAX, ..LIMITS };
    let mut parser = RequestParser::new();
    let bytes = b"*1\r\n$9223372036854775807\r\nx";
    assert_eq!(parser.parse(bytes, &limits), Ok(Parsed::Incomplete { wanted: MAX_WANTED }));
}

#[test]
fn memory_of_an_exceptional_request_is_given_back() {
    let mut parser = RequestParser::new();
    let big = encoded(&vec![b"x".to_vec(); 100_000]);
    assert_eq!(parser.parse(&big, &LIMITS), Ok(Parsed::Complete { len: big.len() }));
    assert_eq!(parser.arg_count(), 100_000);
    parser.parse(b"ping\n", &LIMITS).unwrap();
    assert!(parser.memory_usage() <= KEPT_CAPACITY * (size_of::<Span>() + 1));
}

#[test]
fn inline_requests_are_told_apart() {
    let mut parser = RequestParser::new();
    parser.parse(b"PING\r\n", &LIMITS).unwrap();
    assert!(parser.is_inline());
    parser.parse(b"*1\r\n$4\r\nPING\r\n", &LIMITS).unwrap();
    assert!(!parser.is_inline());
}

/// Bytes that resemble requests closely enough to reach deep into the parser.
fn almost_requests() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"\r\n".to_vec()),
        Just(b"*2\r\n$3\r\nGET\r\n".to_vec()),
        Just(b"\"".to_vec()),
        Just(b"\0".to_vec()),
        (-2i64..30).prop_map(|n| format!("*{n}\r\n").into_bytes()),
        (-2i64..30).prop_map(|n| format!("${n}\r\n").into_bytes()),
        prop::collection::vec(any::<u8>(), 0..30),
    ];
    prop::collection::vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn encoded_requests_come_back(
        requests in prop::collection::vec(prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..12), 0..6)
    ) {
        let bytes: Vec<u8> = requests.iter().flat_map(|request| encoded(request)).collect();
        prop_assert_eq!(whole(&bytes), (requests, Ok(())));
    }

    #[test]
    fn pieces_mean_what_the_whole_means(bytes in almost_requests(), unauthenticated in any::<bool>()) {
        let limits = Limits { max_inline: 32, authenticated: !unauthenticated, ..LIMITS };
        let expected = meaning(&bytes, &[], &limits);
        let every_byte: Vec<usize> = (1..bytes.len()).collect();
        prop_assert_eq!(&meaning(&bytes, &every_byte, &limits), &expected);
        for cut in every_byte {
            prop_assert_eq!(&meaning(&bytes, &[cut], &limits), &expected);
        }
    }
}
