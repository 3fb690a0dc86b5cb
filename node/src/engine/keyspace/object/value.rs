//! The values an object can hold, as they look from outside of it: owned, borrowed, and borrowed to be changed.

use crate::engine::types::{Blob, List, Set};

/// What a key holds, as TYPE tells; numbered as in RDB files and MODULE interfaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A string of bytes.
    String = 0,
    /// A list.
    List = 1,
    /// A set.
    Set = 2,
}

impl Kind {
    /// The name that TYPE answers and `SCAN … TYPE` takes.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::String => "string",
            Kind::List => "list",
            Kind::Set => "set",
        }
    }
}

/// A value by itself, to build an object of or taken out of one.
#[derive(Debug)]
pub enum Value {
    /// A string that is the text of an integer.
    Int(i64),
    /// A string; stored in chunks if it is long.
    Bytes(Vec<u8>),
    /// A string in shared chunks.
    Blob(Box<Blob>),
    /// A list.
    List(Box<List>),
    /// A set.
    Set(Box<Set>),
}

/// A value in its object.
#[derive(Clone, Copy, Debug)]
pub enum ValueRef<'a> {
    /// A string that is the text of an integer.
    Int(i64),
    /// A short string.
    Bytes(&'a [u8]),
    /// A long string.
    Blob(&'a Blob),
    /// A list.
    List(&'a List),
    /// A set.
    Set(&'a Set),
}

/// A value in its object, to be changed in place.
#[derive(Debug)]
pub enum ValueMut<'a> {
    /// A string that is the text of an integer; changed by `Object::set_int`.
    Int(i64),
    /// A short string, of which the bytes may change but not the length.
    Bytes(&'a mut [u8]),
    /// A long string.
    Blob(&'a mut Blob),
    /// A list.
    List(&'a mut List),
    /// A set.
    Set(&'a mut Set),
}
