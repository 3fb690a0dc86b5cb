//! Bytes that claim to be an RDB file or a DUMP payload, in chunks of any size: an error or a
//! value, never a panic.
#![no_main]
use redoubt_node::engine::types::{ListLimits, SetLimits};
use redoubt_node::persist::rdb::{RdbReader, ReadOptions, Step, ValueLimits, parse_payload};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let limits = ValueLimits { list: ListLimits::default(), set: SetLimits::with_seed(1) };
    let options = ReadOptions { checksum: false, ..ReadOptions::with_limits(limits) };
    let Some((&size, bytes)) = data.split_first() else { return };
    let _ = parse_payload(bytes, &options);
    let mut reader = RdbReader::new(&options);
    let mut chunks = bytes.chunks(size as usize + 1);
    loop {
        match reader.next() {
            Ok(Step::Item(_)) => {}
            Ok(Step::NeedMore) => match chunks.next() {
                Some(chunk) => drop(reader.feed(chunk.to_vec())),
                None => return,
            },
            Ok(Step::End) | Err(_) => return,
        }
    }
});
