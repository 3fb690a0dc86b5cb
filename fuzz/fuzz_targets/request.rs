//! Requests mean the same whether they arrive whole or in two pieces, one at a time or parsed ahead, and what they
//! mean, encoded again, is the same request.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redoubt_wire::resp::ProtocolError;
use redoubt_wire::resp::pipeline::Pipeline;
use redoubt_wire::resp::request::{Limits, Parsed, RequestParser};
use redoubt_wire::resp::value::encode_command;

type Requests = Vec<Vec<Vec<u8>>>;

fn parse(bytes: &[u8], cut: usize, limits: &Limits) -> (Requests, Option<ProtocolError>) {
    let mut parser = RequestParser::new();
    let (mut requests, mut start) = (Vec::new(), 0);
    for end in [cut, bytes.len()] {
        while start < end {
            let buf = &bytes[start..end];
            match parser.parse(buf, limits) {
                Err(error) => return (requests, Some(error)),
                Ok(Parsed::Incomplete { .. }) => break,
                Ok(Parsed::Empty { len }) => start += len,
                Ok(Parsed::Complete { len }) => {
                    requests.push(parser.args(buf).iter().map(|arg| arg.to_vec()).collect());
                    start += len;
                }
            }
        }
    }
    (requests, None)
}

fn parse_ahead(bytes: &[u8], most: usize, limits: &Limits) -> (Requests, Option<ProtocolError>) {
    let mut pipeline = Pipeline::new();
    let (mut requests, mut start) = (Vec::new(), 0);
    loop {
        if let Err(error) = pipeline.fill(&bytes[start..], limits, most) {
            return (requests, Some(error));
        }
        if pipeline.is_empty() {
            return (requests, None);
        }
        while !pipeline.is_empty() {
            let buf = &bytes[start..];
            let second = pipeline.each_arg(1, buf).next();
            let args = pipeline.args(buf);
            if let Some(arg) = args.get(1) {
                assert_eq!(second, Some(*arg));
            }
            if !args.is_empty() {
                requests.push(args.iter().map(|arg| arg.to_vec()).collect());
            }
            drop(args);
            start += pipeline.pop();
        }
    }
}

fuzz_target!(|input: (u8, bool, &[u8])| {
    let (cut, authenticated, bytes) = input;
    let limits = Limits { max_inline: 64, authenticated, ..Limits::default() };
    let whole = parse(bytes, bytes.len(), &limits);
    assert_eq!(whole, parse(bytes, usize::from(cut).min(bytes.len()), &limits));
    assert_eq!(whole, parse_ahead(bytes, 1 + usize::from(cut) % 17, &limits));
    let mut encoded = Vec::new();
    whole.0.iter().for_each(|args| encode_command(&mut encoded, args));
    assert_eq!(parse(&encoded, encoded.len(), &Limits::default()), (whole.0, None));
});
