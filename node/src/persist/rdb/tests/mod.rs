//! Tests of the format as a whole: hand-made files in, items out, and back.

mod foreign;
mod hostile;
mod packed;
mod round_trip;
mod threads_and_files;

use super::packed::Entry;
use super::*;

/// Everything in `bytes`, fed in chunks of `chunk` bytes.
fn read_in_chunks(bytes: &[u8], chunk: usize) -> Result<Vec<Item>, RdbError> {
    let mut reader = RdbReader::new(&ReadOptions::default());
    let mut chunks = bytes.chunks(chunk);
    let mut items = Vec::new();
    loop {
        match reader.next()? {
            Step::Item(item) => items.push(item),
            Step::End => return Ok(items),
            Step::NeedMore => match chunks.next() {
                Some(chunk) => drop(reader.feed(chunk.to_vec())),
                None => return Err(reader.short_read()),
            },
        }
    }
}

fn read(bytes: &[u8]) -> Result<Vec<Item>, RdbError> {
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

/// The value of the only key in the file.
fn only_value(bytes: &[u8]) -> RdbValue {
    let items = read(bytes).expect("a sound file");
    match &items[..] {
        [Item::Key(key), Item::End(_)] => key.value.clone(),
        other => panic!("expected one key: {other:?}"),
    }
}

fn elements(strings: &[&str]) -> RdbValue {
    RdbValue::List(RdbList::Elements(strings.iter().collect()))
}

/// A listpack as Redis builds it.
fn listpack(entries: &[Entry<'_>]) -> Vec<u8> {
    let mut bytes = vec![0; 6];
    for entry in entries {
        let start = bytes.len();
        match *entry {
            Entry::Int(number @ 0..=127) => bytes.push(number as u8),
            Entry::Int(number @ -4096..=4095) => {
                bytes.extend_from_slice(&[0xc0 | (number >> 8) as u8 & 0x1f, number as u8]);
            }
            Entry::Int(number) => {
                let (mark, width) = match number {
                    -0x8000..=0x7fff => (0xf1, 2),
                    -0x80_0000..=0x7f_ffff => (0xf2, 3),
                    -0x8000_0000..=0x7fff_ffff => (0xf3, 4),
                    _ => (0xf4, 8),
                };
                bytes.push(mark);
                bytes.extend_from_slice(&number.to_le_bytes()[..width]);
            }
            Entry::Str(text) => {
                match text.len() {
                    length @ 0..64 => bytes.push(0x80 | length as u8),
                    length @ 64..4096 => bytes.extend_from_slice(&[0xe0 | (length >> 8) as u8, length as u8]),
                    length => {
                        bytes.push(0xf0);
                        bytes.extend_from_slice(&(length as u32).to_le_bytes());
                    }
                }
                bytes.extend_from_slice(text);
            }
        }
        let length = bytes.len() - start;
        let places = match length {
            0..=127 => 1,
            128..16383 => 2,
            16383..2097151 => 3,
            _ => 4,
        };
        for place in (0..places).rev() {
            let top = if place == places - 1 { 0 } else { 0x80 };
            bytes.push((length >> (7 * place)) as u8 & 0x7f | top);
        }
    }
    bytes.push(0xff);
    let total = bytes.len() as u32;
    bytes[..4].copy_from_slice(&total.to_le_bytes());
    bytes[4..6].copy_from_slice(&(entries.len().min(0xffff) as u16).to_le_bytes());
    bytes
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
