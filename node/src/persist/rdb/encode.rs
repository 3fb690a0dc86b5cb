//! Values in their serialised form: what RDB files and DUMP payloads have in common.
//!
//! Large lists and sets are written piece by piece, so that whoever walks them can stop in between: announce
//! the count ([`Encoder::list`], [`Encoder::set`]), then hand over as many nodes or members.

use super::lzf::Compressor;
use super::{DEFAULT_VERSION, MAX_VERSION, MIN_WRITE_VERSION, container, crc64, encoding, kind, opcode};
use crate::engine::keyspace::object::ValueRef;
use crate::engine::types::entry::canonical_int;
use crate::engine::types::list::NodeRef;
use crate::engine::types::{Blob, Entry, IntSet, List, ListPack, Set};

/// Strings up to this length are not worth compressing (the limit Redis uses).
const SHORTEST_COMPRESSED: usize = 21;

/// Longer strings are written as they are.
const LONGEST_COMPRESSED: usize = 16 << 20;

/// The first version in which a set may be a listpack.
const VERSION_OF_LISTPACK_SETS: u32 = 11;

/// How to write values.
#[derive(Debug, Clone)]
pub struct EncodeOptions {
    /// The RDB version whose types may be used, 9 to 12 (others count as the nearest).
    pub version: u32,
    /// Whether to compress strings (`rdbcompression`).
    pub compression: bool,
}

impl Default for EncodeOptions {
    fn default() -> Self {
        EncodeOptions { version: DEFAULT_VERSION, compression: true }
    }
}

/// What stands before a value.
#[derive(Debug, Clone, Copy)]
pub enum Head<'a> {
    /// In a file: the key it belongs to.
    Key {
        /// Its name.
        key: &'a [u8],
        /// What else is known of it.
        meta: KeyMeta,
    },
    /// In a DUMP payload: nothing.
    Payload,
}

impl<'a> Head<'a> {
    /// The head of a key of which nothing else is known.
    pub fn key(key: &'a [u8]) -> Self {
        Head::Key { key, meta: KeyMeta::default() }
    }
}

/// What an RDB says of a key beside its value.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct KeyMeta {
    /// When it expires, in milliseconds since 1970.
    pub expiry_ms: Option<i64>,
    /// For how many seconds it has not been used; written only with an LRU policy.
    pub idle_s: Option<u64>,
    /// How often it was used, logarithmic; written only with an LFU policy.
    pub freq: Option<u8>,
}

/// Writes values to a buffer. Meant to be kept: the compressor's table is reused.
pub struct Encoder {
    pub(super) out: Vec<u8>,
    version: u32,
    compressor: Option<Compressor>,
    /// How many nodes or members have been announced and not yet written.
    owed: u64,
}

impl Encoder {
    /// An encoder with an empty buffer.
    pub fn new(options: &EncodeOptions) -> Self {
        Encoder {
            out: Vec::new(),
            version: options.version.clamp(MIN_WRITE_VERSION, MAX_VERSION),
            compressor: options.compression.then(Compressor::new),
            owed: 0,
        }
    }

    /// The RDB version whose types are used.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// Writes a value as a whole.
    pub fn value(&mut self, head: Head<'_>, value: ValueRef<'_>) {
        match value {
            ValueRef::Int(number) => self.int(head, number),
            ValueRef::Bytes(bytes) => self.string(head, bytes),
            ValueRef::Blob(blob) => self.blob(head, blob),
            ValueRef::List(list) => self.whole_list(head, list),
            ValueRef::Set(set) => self.whole_set(head, set),
        }
    }

    fn whole_list(&mut self, head: Head<'_>, list: &List) {
        self.list(head, list.node_count() as u64);
        list.nodes().for_each(|node| self.node(node));
    }

    fn whole_set(&mut self, head: Head<'_>, set: &Set) {
        if let Some(intset) = set.as_intset() {
            return self.intset(head, intset);
        }
        if let Some(listpack) = set.as_listpack() {
            return self.listpack_set(head, listpack);
        }
        self.set(head, set.len() as u64);
        set.iter().for_each(|member| self.member(member));
    }

    /// Writes a string.
    pub fn string(&mut self, head: Head<'_>, string: &[u8]) {
        self.begin(head, kind::STRING, None);
        self.text(string);
    }

    /// Writes a long string. The longest are not compressed: that takes the string in one piece, and its
    /// compressed form beside it.
    pub fn blob(&mut self, head: Head<'_>, blob: &Blob) {
        if blob.len() <= LONGEST_COMPRESSED {
            return self.string(head, &blob.read(0..blob.len()));
        }
        self.begin(head, kind::STRING, None);
        self.length(blob.len() as u64);
        blob.chunks().for_each(|chunk| self.out.extend_from_slice(chunk));
    }

    /// Writes a string that is the decimal form of `number`.
    pub fn int(&mut self, head: Head<'_>, number: i64) {
        self.begin(head, kind::STRING, None);
        self.number_text(number);
    }

    /// Begins a list of `nodes` quicklist nodes (at least one), which must follow.
    pub fn list(&mut self, head: Head<'_>, nodes: u64) {
        self.begin(head, kind::LIST_QUICKLIST_2, Some(nodes));
    }

    /// Writes a node of a list.
    pub fn node(&mut self, node: NodeRef<'_>) {
        let (container, bytes) = match node {
            NodeRef::Packed(listpack) => (container::PACKED, listpack.as_bytes()),
            NodeRef::Plain(element) => (container::PLAIN, element),
        };
        self.pay();
        self.length(container);
        self.text(bytes);
    }

    /// Begins a set of `members` (at least one), which must follow.
    pub fn set(&mut self, head: Head<'_>, members: u64) {
        self.begin(head, kind::SET, Some(members));
    }

    /// Writes a member of a set.
    pub fn member(&mut self, member: Entry<'_>) {
        self.pay();
        match member {
            Entry::Str(text) => self.text(text),
            Entry::Int(number) => self.number_text(number),
        }
    }

    /// Writes a set of integers that is held as an intset.
    pub fn intset(&mut self, head: Head<'_>, intset: &IntSet) {
        self.begin(head, kind::SET_INTSET, None);
        self.text(intset.as_bytes());
    }

    /// Writes a set that is held as a listpack: as it is, or member by member for versions before 11.
    pub fn listpack_set(&mut self, head: Head<'_>, listpack: &ListPack) {
        if self.version >= VERSION_OF_LISTPACK_SETS {
            self.begin(head, kind::SET_LISTPACK, None);
            return self.text(listpack.as_bytes());
        }
        self.set(head, listpack.len() as u64);
        listpack.iter().for_each(|member| self.member(member));
    }

    /// Ends a DUMP payload (one value with [`Head::Payload`]) and takes it out of the buffer.
    pub fn take_payload(&mut self) -> Vec<u8> {
        debug_assert_eq!(self.owed, 0, "a value was left incomplete");
        self.out.extend_from_slice(&(self.version as u16).to_le_bytes());
        let sum = crc64(&self.out);
        self.out.extend_from_slice(&sum.to_le_bytes());
        std::mem::take(&mut self.out)
    }

    /// Everything before the value itself.
    fn begin(&mut self, head: Head<'_>, kind: u8, count: Option<u64>) {
        debug_assert_eq!(self.owed, 0, "the value before was left incomplete");
        match head {
            Head::Payload => self.out.push(kind),
            Head::Key { key, meta } => {
                self.meta(meta);
                self.out.push(kind);
                self.text(key);
            }
        }
        if let Some(count) = count {
            self.length(count);
            self.owed = count;
        }
    }

    fn meta(&mut self, meta: KeyMeta) {
        if let Some(when) = meta.expiry_ms {
            self.out.push(opcode::EXPIRE_MS);
            self.out.extend_from_slice(&when.to_le_bytes());
        }
        if let Some(seconds) = meta.idle_s {
            self.out.push(opcode::IDLE);
            self.length(seconds);
        }
        if let Some(freq) = meta.freq {
            self.out.extend_from_slice(&[opcode::FREQ, freq]);
        }
    }

    /// Counts off a node or member.
    fn pay(&mut self) {
        debug_assert!(self.owed > 0, "more nodes or members than announced");
        self.owed = self.owed.saturating_sub(1);
    }

    /// Writes a packed number.
    pub(super) fn length(&mut self, length: u64) {
        match length {
            0..0x40 => self.out.push(length as u8),
            0x40..0x4000 => self.out.extend_from_slice(&(length as u16 | 0x4000).to_be_bytes()),
            0x4000..=0xffff_ffff => {
                self.out.push(0x80);
                self.out.extend_from_slice(&(length as u32).to_be_bytes());
            }
            _ => {
                self.out.push(0x81);
                self.out.extend_from_slice(&length.to_be_bytes());
            }
        }
    }

    /// Writes a string in its shortest form.
    pub(super) fn text(&mut self, text: &[u8]) {
        if let Some(number) = canonical_int(text).and_then(|number| i32::try_from(number).ok()) {
            return self.small_int(number);
        }
        if text.len() >= SHORTEST_COMPRESSED
            && let Some(mut compressor) = self.compressor.take()
        {
            let done = compressor.compress(text).map(|packed| {
                self.out.push(encoding::MARK | encoding::LZF);
                self.length(packed.len() as u64);
                self.length(text.len() as u64);
                self.out.extend_from_slice(packed);
            });
            self.compressor = Some(compressor);
            if done.is_some() {
                return;
            }
        }
        self.length(text.len() as u64);
        self.out.extend_from_slice(text);
    }

    /// Writes the decimal form of a number.
    pub(super) fn number_text(&mut self, number: i64) {
        match i32::try_from(number) {
            Ok(small) => self.small_int(small),
            Err(_) => self.text(itoa::Buffer::new().format(number).as_bytes()),
        }
    }

    fn small_int(&mut self, number: i32) {
        if let Ok(byte) = i8::try_from(number) {
            self.out.extend_from_slice(&[encoding::MARK | encoding::INT8, byte as u8]);
        } else if let Ok(short) = i16::try_from(number) {
            self.out.push(encoding::MARK | encoding::INT16);
            self.out.extend_from_slice(&short.to_le_bytes());
        } else {
            self.out.push(encoding::MARK | encoding::INT32);
            self.out.extend_from_slice(&number.to_le_bytes());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = Encoder::new(&EncodeOptions::default());
        encoder.text(bytes);
        encoder.out
    }

    #[test]
    fn integers_take_their_binary_form_only_if_it_is_theirs() {
        assert_eq!(text(b"0"), b"\xc0\x00");
        assert_eq!(text(b"-128"), b"\xc0\x80");
        assert_eq!(text(b"128"), b"\xc1\x80\x00");
        assert_eq!(text(b"-32769"), b"\xc2\xff\x7f\xff\xff");
        assert_eq!(text(b"2147483647"), b"\xc2\xff\xff\xff\x7f");
        for not in ["2147483648", "-2147483649", "00", "-0", "+1", "01", "", "-", " 1", "1 ", "99999999999"] {
            assert_eq!(text(not.as_bytes())[0] as usize, not.len(), "{not:?} is kept verbatim");
        }
    }

    #[test]
    fn lengths_use_the_shortest_of_four_forms() {
        let mut encoder = Encoder::new(&EncodeOptions::default());
        for length in [63, 64, 16383, 16384, u32::MAX as u64, 1 << 32] {
            encoder.length(length);
        }
        assert_eq!(
            encoder.out,
            [
                &b"\x3f\x40\x40\x7f\xff\x80\x00\x00\x40\x00\x80\xff\xff\xff\xff"[..],
                b"\x81\x00\x00\x00\x01\x00\x00\x00\x00"
            ]
            .concat()
        );
    }

    #[test]
    fn only_longer_strings_are_compressed_and_only_if_asked() {
        assert_eq!(text(&[b'a'; 20]).len(), 21);
        assert_eq!(text(&[b'a'; 21])[0], 0xc3);
        let mut plain = Encoder::new(&EncodeOptions { compression: false, ..Default::default() });
        plain.text(&[b'a'; 21]);
        assert_eq!(plain.out.len(), 22);
    }
}
