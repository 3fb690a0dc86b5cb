//! Tests of the format as a whole: hand-made files in, items out, and back.

mod foreign;
mod hostile;
mod round_trip;
mod threads_and_files;
mod ziplist;

use super::*;
use crate::engine::keyspace::object::{Value, ValueRef};
use crate::engine::types::{Entry, ListLimits, ListPack, SetLimits};

fn options() -> ReadOptions {
    ReadOptions::with_limits(ValueLimits { list: ListLimits::default(), set: SetLimits::with_seed(7) })
}

/// An item in words, so that whole files can be compared: values by their form and elements.
fn describe(item: &Item) -> String {
    match item {
        Item::Aux { name, value } => format!("aux {}={}", name.escape_ascii(), value.escape_ascii()),
        Item::SelectDb(db) => format!("db {db}"),
        Item::ResizeDb { keys, expires } => format!("resize {keys} {expires}"),
        Item::EmptyKey { db, key } => format!("empty {db}/{}", key.escape_ascii()),
        Item::Function(source) => format!("function {}", source.escape_ascii()),
        Item::ModuleAux { module } => format!("module {module}"),
        Item::End(checksum) => format!("end {checksum:?}"),
        Item::Key(RdbKey { db, key, expiry_ms, idle_s, freq, value }) => {
            let note = |name, number: Option<i128>| {
                number.map_or(String::new(), |number| format!(" {name}={number}"))
            };
            format!(
                "key {db}/{}{}{}{} = {}",
                key.escape_ascii(),
                note("expiry", expiry_ms.map(i128::from)),
                note("idle", idle_s.map(i128::from)),
                note("freq", freq.map(i128::from)),
                describe_value(value)
            )
        }
    }
}

fn describe_value(value: &Value) -> String {
    let words = |entries: Vec<Entry<'_>>| {
        let words: Vec<_> =
            entries.into_iter().map(|entry| entry.to_bytes().escape_ascii().to_string()).collect();
        words
    };
    match value {
        Value::Int(number) => format!("int {number}"),
        Value::Bytes(bytes) => format!("string {}", bytes.escape_ascii()),
        Value::Blob(blob) => format!("string {}", blob.read(0..blob.len()).escape_ascii()),
        Value::List(list) => format!("{} {}", list.encoding_name(), words(list.iter().collect()).join(" ")),
        Value::Set(set) => {
            let mut members = words(set.iter().collect());
            members.sort();
            format!("set {} {}", set.encoding_name(), members.join(" "))
        }
    }
}

fn value_ref(value: &Value) -> ValueRef<'_> {
    match value {
        Value::Int(number) => ValueRef::Int(*number),
        Value::Bytes(bytes) => ValueRef::Bytes(bytes),
        Value::Blob(blob) => ValueRef::Blob(blob),
        Value::List(list) => ValueRef::List(list),
        Value::Set(set) => ValueRef::Set(set),
    }
}

/// Everything in `bytes`, fed in chunks of `chunk` bytes.
fn read_in_chunks(bytes: &[u8], chunk: usize) -> Result<Vec<String>, RdbError> {
    let mut reader = RdbReader::new(&options());
    let mut chunks = bytes.chunks(chunk);
    let mut items = Vec::new();
    loop {
        match reader.next()? {
            Step::Item(item) => items.push(describe(&item)),
            Step::End => return Ok(items),
            Step::NeedMore => match chunks.next() {
                Some(chunk) => drop(reader.feed(chunk.to_vec())),
                None => return Err(reader.short_read()),
            },
        }
    }
}

fn read(bytes: &[u8]) -> Result<Vec<String>, RdbError> {
    read_in_chunks(bytes, usize::MAX)
}

/// A file of a given version with these records, ended and summed.
fn file(version: u32, records: &[u8]) -> Vec<u8> {
    let mut bytes = format!("REDIS{version:04}").into_bytes();
    bytes.extend_from_slice(records);
    bytes.push(opcode::EOF);
    if version >= 5 {
        bytes.extend_from_slice(&crc64(&bytes).to_le_bytes());
    }
    bytes
}

/// The record of key `k` with a value of one string.
fn packed_key(kind: u8, packed: &[u8]) -> Vec<u8> {
    let mut record = vec![kind, 1, b'k', packed.len() as u8];
    assert!(packed.len() < 64);
    record.extend_from_slice(packed);
    record
}

/// The value of the only key in the file, which is called `k`.
fn only_value(bytes: &[u8]) -> String {
    let items = read(bytes).expect("a sound file");
    assert_eq!(items.len(), 2, "{items:?}");
    items[0].strip_prefix("key 0/k = ").expect("the key").to_string()
}

fn listpack(entries: &[&str]) -> Vec<u8> {
    let mut pack = ListPack::new();
    entries.iter().for_each(|entry| pack.push_back(entry.as_bytes()));
    pack.as_bytes().to_vec()
}

/// A ziplist out of finished entries, each without the length of the one before it.
fn ziplist(entries: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0; 10];
    let (mut before, mut last) = (0usize, 10);
    for entry in entries {
        last = bytes.len();
        if before < 254 {
            bytes.push(before as u8);
        } else {
            bytes.push(254);
            bytes.extend_from_slice(&(before as u32).to_le_bytes());
        }
        bytes.extend_from_slice(entry);
        before = bytes.len() - last;
    }
    bytes.push(0xff);
    let total = bytes.len() as u32;
    bytes[..4].copy_from_slice(&total.to_le_bytes());
    bytes[4..8].copy_from_slice(&(last as u32).to_le_bytes());
    bytes[8..10].copy_from_slice(&(entries.len() as u16).to_le_bytes());
    bytes
}

fn intset(width: usize, members: &[i64]) -> Vec<u8> {
    let mut bytes = (width as u32).to_le_bytes().to_vec();
    bytes.extend_from_slice(&(members.len() as u32).to_le_bytes());
    members.iter().for_each(|member| bytes.extend_from_slice(&member.to_le_bytes()[..width]));
    bytes
}
