//! Netlink messages as bytes: a builder for requests, and iterators over what comes back.
//!
//! The layout is that of linux/netlink.h: a header of 16 bytes in the host's order, a fixed part that depends on the
//! kind, then attributes, each padded to four bytes. The iterators end at the first length that does not fit; they
//! read nothing beyond what was received.

/// Request: the message asks the kernel for something.
pub const NLM_F_REQUEST: u16 = 0x1;
/// Request: answer also if it succeeded.
pub const NLM_F_ACK: u16 = 0x4;
/// Answer: the list changed while it was read.
const NLM_F_DUMP_INTR: u16 = 0x10;
/// Request: everything of that kind.
pub const NLM_F_DUMP: u16 = 0x300;
/// Request: replace what is there.
pub const NLM_F_REPLACE: u16 = 0x100;
/// Request: fail if it is there.
pub const NLM_F_EXCL: u16 = 0x200;
/// Request: create what is not there.
pub const NLM_F_CREATE: u16 = 0x400;
/// Request: at the end of the list.
pub const NLM_F_APPEND: u16 = 0x800;

/// Answer: an error, or an acknowledgement if its number is 0.
pub const NLMSG_ERROR: u16 = 2;
/// Answer: the end of a dump.
pub const NLMSG_DONE: u16 = 3;

const HEADER_BYTES: usize = 16;
const ATTRIBUTE_BYTES: usize = 4;
/// The attribute contains attributes.
const NLA_F_NESTED: u16 = 0x8000;
/// Without the bits for "nested" and "network byte order".
const NLA_TYPE_MASK: u16 = 0x3fff;

/// One or more messages under construction.
#[derive(Debug, Default)]
pub struct Builder {
    bytes: Vec<u8>,
    /// Where each message begins.
    starts: Vec<usize>,
}

impl Builder {
    /// An empty buffer.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Appends a message with its fixed part; `body` adds the attributes.
    pub fn message(&mut self, kind: u16, flags: u16, fixed: &[u8], body: impl FnOnce(&mut Attributes<'_>)) {
        let start = self.bytes.len();
        self.starts.push(start);
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&(flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(fixed);
        pad(&mut self.bytes);
        body(&mut Attributes { bytes: &mut self.bytes });
        let length = (self.bytes.len() - start) as u32;
        self.bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
    }

    /// A buffer with one message.
    pub fn one(kind: u16, flags: u16, fixed: &[u8], body: impl FnOnce(&mut Attributes<'_>)) -> Builder {
        let mut builder = Builder::new();
        builder.message(kind, flags, fixed, body);
        builder
    }

    /// How many messages there are.
    pub fn count(&self) -> usize {
        self.starts.len()
    }

    /// Adds flags to a message.
    pub fn add_flags(&mut self, message: usize, flags: u16) {
        let at = self.starts[message] + 6;
        let now = u16::from_ne_bytes([self.bytes[at], self.bytes[at + 1]]);
        self.bytes[at..at + 2].copy_from_slice(&(now | flags).to_ne_bytes());
    }

    /// Gives the messages consecutive numbers and returns how many there are.
    pub fn number_from(&mut self, first: u32) -> u32 {
        for (number, start) in self.starts.iter().enumerate() {
            let sequence = first.wrapping_add(number as u32);
            self.bytes[start + 8..start + 12].copy_from_slice(&sequence.to_ne_bytes());
        }
        self.starts.len() as u32
    }

    /// The messages as they are sent.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
}

/// The place where attributes are appended.
#[derive(Debug)]
pub struct Attributes<'a> {
    bytes: &'a mut Vec<u8>,
}

impl Attributes<'_> {
    /// An attribute with these bytes.
    pub fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.wrap(kind, |bytes| bytes.extend_from_slice(value));
    }

    /// A string, ended by a zero byte.
    pub fn text(&mut self, kind: u16, value: &str) {
        self.wrap(kind, |bytes| {
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        });
    }

    /// A number in network order, as nf_tables has them.
    pub fn be32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// A number in network order, as nf_tables has them.
    pub fn be64(&mut self, kind: u16, value: u64) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// An attribute of attributes.
    pub fn nest(&mut self, kind: u16, body: impl FnOnce(&mut Attributes<'_>)) {
        self.wrap(kind | NLA_F_NESTED, |bytes| body(&mut Attributes { bytes }));
    }

    fn wrap(&mut self, kind: u16, body: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        body(self.bytes);
        let length = self.bytes.len() - start;
        debug_assert!(length <= usize::from(u16::MAX), "an attribute's length has 16 bits");
        self.bytes[start..start + 2].copy_from_slice(&(length as u16).to_ne_bytes());
        pad(self.bytes);
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// One received message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// What it is.
    pub kind: u16,
    /// The number of the request that it answers; 0 for events.
    pub sequence: u32,
    flags: u16,
    /// The fixed part and the attributes.
    pub payload: &'a [u8],
}

impl Message<'_> {
    /// The error number of [`NLMSG_ERROR`] and [`NLMSG_DONE`], positive, 0 for success; `None` if it is cut off.
    pub fn error(&self) -> Option<i32> {
        let code = self.payload.first_chunk::<4>().map(|code| i32::from_ne_bytes(*code))?;
        Some(code.saturating_neg().max(0))
    }

    /// Whether the list changed while it was read.
    pub fn dump_interrupted(&self) -> bool {
        self.flags & NLM_F_DUMP_INTR != 0
    }
}

/// The messages of a datagram.
pub fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let header = bytes.first_chunk::<HEADER_BYTES>()?;
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let message = Message {
            kind: u16::from_ne_bytes([header[4], header[5]]),
            flags: u16::from_ne_bytes([header[6], header[7]]),
            sequence: u32::from_ne_bytes([header[8], header[9], header[10], header[11]]),
            payload: bytes.get(HEADER_BYTES..length)?,
        };
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes of a message or of an attribute: kind and value.
pub fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let header = bytes.first_chunk::<ATTRIBUTE_BYTES>()?;
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let kind = u16::from_ne_bytes([header[2], header[3]]) & NLA_TYPE_MASK;
        let value = bytes.get(ATTRIBUTE_BYTES..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A string attribute: up to the first zero byte, if it is text.
pub fn text(value: &[u8]) -> Option<&str> {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    std::str::from_utf8(&value[..end]).ok()
}

/// A number in the host's order, as rtnetlink has them.
pub fn u32_of(value: &[u8]) -> Option<u32> {
    value.first_chunk::<4>().map(|bytes| u32::from_ne_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_built_is_read_back() {
        let mut builder = Builder::new();
        builder.message(20, NLM_F_CREATE, &[1, 2, 3, 4, 5], |a| {
            a.text(1, "eth0");
            a.nest(2, |a| {
                a.be32(3, 7);
                a.be64(4, 8);
            });
        });
        builder.message(21, 0, &[], |_| ());
        builder.number_from(9);
        let read: Vec<_> = messages(builder.bytes()).collect();
        assert_eq!(read.iter().map(|m| (m.kind, m.sequence)).collect::<Vec<_>>(), [(20, 9), (21, 10)]);
        let fields: Vec<_> = attributes(&read[0].payload[8..]).collect();
        assert_eq!(fields[0], (1, &b"eth0\0"[..]));
        assert_eq!(text(fields[0].1), Some("eth0"));
        let nested: Vec<_> = attributes(fields[1].1).collect();
        assert_eq!(nested, [(3, &7u32.to_be_bytes()[..]), (4, &8u64.to_be_bytes()[..])]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            for message in messages(&bytes) {
                message.error();
                prop_assert!(message.payload.len() <= bytes.len());
                for (_, value) in attributes(message.payload) {
                    text(value);
                    u32_of(value);
                }
            }
            prop_assert!(attributes(&bytes).count() <= bytes.len());
        }

        #[test]
        fn a_valid_message_cut_or_changed_anywhere_is_read_without_panic(
            cut in 0usize..80, at in 0usize..80, byte in any::<u8>(),
        ) {
            let mut bytes = Builder::one(20, 0, &[0; 8], |a| {
                a.text(3, "interface");
                a.nest(18, |a| a.text(1, "bridge"));
            }).bytes().to_vec();
            if let Some(place) = bytes.get_mut(at) { *place = byte; }
            bytes.truncate(cut);
            for message in messages(&bytes) {
                for (_, value) in attributes(message.payload) {
                    prop_assert!(attributes(value).count() <= value.len());
                }
            }
        }
    }
}
