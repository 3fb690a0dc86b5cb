//! The value types' data structures.

/// A long string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob(Vec<u8>);

impl From<&[u8]> for Blob {
    fn from(bytes: &[u8]) -> Self {
        Blob(bytes.to_vec())
    }
}

impl Blob {
    /// Bytes.
    pub fn len(&self) -> usize {
        self.0.len()
    }
    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    /// Heap bytes behind this value.
    pub fn memory_usage(&self) -> usize {
        self.0.capacity()
    }
}

/// A list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct List(std::collections::VecDeque<Vec<u8>>);

impl List {
    /// Encoding.
    pub fn encoding_name(&self) -> &'static str {
        "quicklist"
    }
    /// Heap bytes behind this value.
    pub fn memory_usage(&self) -> usize {
        self.0.capacity()
    }
}

/// A set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Set(std::collections::BTreeSet<Vec<u8>>);

impl Set {
    /// Encoding.
    pub fn encoding_name(&self) -> &'static str {
        "hashtable"
    }
    /// Heap bytes behind this value.
    pub fn memory_usage(&self) -> usize {
        self.0.len()
    }
}
