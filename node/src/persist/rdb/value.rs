//! Values as an RDB holds them: between the format and the engine's own types.
//!
//! Packed forms (listpacks, intsets) stay packed, in Redis's own bytes, and have been validated entry by
//! entry; whoever receives them need not check them again.

/// A value read from, or to be written to, an RDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RdbValue {
    /// A string.
    String(Text),
    /// A list, never empty.
    List(RdbList),
    /// A set, never empty.
    Set(RdbSet),
}

/// A string, with integers kept as such: the format stores short ones in binary.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Text {
    /// A string that is the decimal form of a number.
    Int(i64),
    /// Any other.
    Bytes(Vec<u8>),
}

impl Text {
    /// The string itself.
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Text::Int(number) => itoa::Buffer::new().format(number).as_bytes().to_vec(),
            Text::Bytes(bytes) => bytes,
        }
    }
}

/// The elements of a list, first to last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RdbList {
    /// As quicklist nodes (RDB type 18).
    Nodes(Vec<ListNode>),
    /// One by one (the older types).
    Elements(Strings),
}

/// A stretch of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListNode {
    /// Elements in a listpack, never empty.
    Packed(Vec<u8>),
    /// One large element.
    Plain(Vec<u8>),
}

impl ListNode {
    /// The listpack, or the element.
    pub fn bytes(&self) -> &[u8] {
        match self {
            ListNode::Packed(bytes) | ListNode::Plain(bytes) => bytes,
        }
    }
}

/// The members of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RdbSet {
    /// Integers, sorted, in Redis's intset.
    IntSet(Vec<u8>),
    /// A listpack without duplicates.
    ListPack(Vec<u8>),
    /// One by one. The only form whose members may repeat in a damaged file: adding them tells.
    Members(Strings),
}

/// Many strings in two allocations.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Strings {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Strings {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one at the end.
    pub fn push(&mut self, string: &[u8]) {
        self.bytes.extend_from_slice(string);
        self.ends.push(self.bytes.len());
    }

    /// Adds the decimal form of `number` at the end.
    pub fn push_int(&mut self, number: i64) {
        self.push(itoa::Buffer::new().format(number).as_bytes());
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        let mut from = 0;
        self.ends.iter().map(move |&end| &self.bytes[std::mem::replace(&mut from, end)..end])
    }

    /// The memory they take, in bytes, for deciding when a batch is full.
    pub fn size(&self) -> usize {
        self.bytes.len() + self.ends.len() * size_of::<usize>()
    }
}

impl<S: AsRef<[u8]>> FromIterator<S> for Strings {
    fn from_iter<I: IntoIterator<Item = S>>(iter: I) -> Self {
        let mut strings = Strings::new();
        iter.into_iter().for_each(|string| strings.push(string.as_ref()));
        strings
    }
}
