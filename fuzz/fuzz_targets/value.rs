//! Values mean the same whether they arrive whole or in two pieces.

#![no_main]

use libfuzzer_sys::fuzz_target;
use redoubt_wire::resp::value::{Decoder, ValueLimits, decode};

fuzz_target!(|input: (u8, &[u8])| {
    let (cut, bytes) = input;
    let whole = decode(bytes);
    if let Ok(Some((_, len))) = &whole {
        assert!(*len <= bytes.len());
    }
    let mut decoder = Decoder::new(ValueLimits::default());
    let first = decoder.decode(&bytes[..usize::from(cut).min(bytes.len())]);
    let pieces = if first == Ok(None) { decoder.decode(bytes) } else { first };
    // Text, since a NaN is not equal to itself.
    assert_eq!(format!("{whole:?}"), format!("{pieces:?}"));
});
