//! The first eight bytes of an object, as bit fields of one word.
//!
//! | bits   | field                                                                                     |
//! |--------|-------------------------------------------------------------------------------------------|
//! | 0–3    | form: how the value is stored                                                             |
//! | 4      | whether an expiry follows the key                                                         |
//! | 5      | the snapshot's mark                                                                       |
//! | 6      | whether a short string is to be called `raw`                                              |
//! | 7–9    | slack: how many size classes the allocation is above the one that its contents need       |
//! | 10–24  | length of the value in the allocation                                                     |
//! | 25–39  | length of the key, or [`Header::LONG_KEY`] if it stands in eight bytes after the header   |
//! | 40–63  | the LRU clock or LFU counter of the last access                                           |
//!
//! One load of this word and of the key behind it decides a lookup.

/// How an object's value is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Form {
    /// A 64-bit integer.
    Int,
    /// The bytes themselves.
    Bytes,
    /// A pointer to a `Blob`.
    Blob,
    /// A pointer to a `List`.
    List,
    /// A pointer to a `Set`.
    Set,
}

impl Form {
    const ALL: [Form; 5] = [Form::Int, Form::Bytes, Form::Blob, Form::List, Form::Set];
}

/// The header word. Changing a field changes this copy only.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header(u64);

impl Header {
    /// The size of the word itself.
    pub const BYTES: usize = 8;
    /// What the key length field holds if the key is this long or longer.
    pub const LONG_KEY: usize = (1 << 15) - 1;
    const VALUE_LEN_MAX: usize = (1 << 15) - 1;

    /// The header of an object just made: unmarked, without slack, its access field 0.
    #[inline]
    pub fn new(form: Form, key_len: usize, value_len: usize, expires: bool) -> Header {
        let key_field = key_len.min(Self::LONG_KEY) as u64;
        let mut header = Header((form as u64) | (u64::from(expires) << 4) | (key_field << 25));
        header.set_value_len(value_len);
        header
    }

    /// The word as it is stored.
    #[inline]
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// A stored word.
    #[inline]
    pub const fn from_bits(bits: u64) -> Header {
        Header(bits)
    }

    #[inline]
    const fn field(self, shift: u32, bits: u32) -> u64 {
        (self.0 >> shift) & ((1 << bits) - 1)
    }

    #[inline]
    fn set_field(&mut self, shift: u32, bits: u32, value: u64) {
        debug_assert!(value < 1 << bits, "{value} does not fit in {bits} bits");
        let mask = ((1u64 << bits) - 1) << shift;
        self.0 = (self.0 & !mask) | ((value << shift) & mask);
    }

    #[inline]
    pub fn form(self) -> Form {
        Form::ALL[self.field(0, 4) as usize]
    }

    #[inline]
    pub fn set_form(&mut self, form: Form) {
        self.set_field(0, 4, form as u64);
    }

    #[inline]
    pub fn expires(self) -> bool {
        self.field(4, 1) != 0
    }

    #[inline]
    pub fn set_expires(&mut self, expires: bool) {
        self.set_field(4, 1, u64::from(expires));
    }

    #[inline]
    pub fn marked(self) -> bool {
        self.field(5, 1) != 0
    }

    #[inline]
    pub fn set_marked(&mut self, marked: bool) {
        self.set_field(5, 1, u64::from(marked));
    }

    #[inline]
    pub fn raw(self) -> bool {
        self.field(6, 1) != 0
    }

    #[inline]
    pub fn set_raw(&mut self, raw: bool) {
        self.set_field(6, 1, u64::from(raw));
    }

    #[inline]
    pub fn slack(self) -> u32 {
        self.field(7, 3) as u32
    }

    #[inline]
    pub fn set_slack(&mut self, classes: u32) {
        self.set_field(7, 3, u64::from(classes));
    }

    #[inline]
    pub fn value_len(self) -> usize {
        self.field(10, 15) as usize
    }

    #[inline]
    pub fn set_value_len(&mut self, len: usize) {
        assert!(len <= Self::VALUE_LEN_MAX, "a value of {len} bytes does not fit beside its key");
        self.set_field(10, 15, len as u64);
    }

    /// The length of the key, unless it is long.
    #[inline]
    pub fn short_key_len(self) -> Option<usize> {
        let len = self.field(25, 15) as usize;
        (len != Self::LONG_KEY).then_some(len)
    }

    /// Where the key starts.
    #[inline]
    pub fn key_start(self) -> usize {
        if self.short_key_len().is_some() { Self::BYTES } else { Self::BYTES + size_of::<usize>() }
    }

    #[inline]
    pub fn lru(self) -> u32 {
        self.field(40, 24) as u32
    }

    #[inline]
    pub fn set_lru(&mut self, lru: u32) {
        self.set_field(40, 24, u64::from(lru & 0x00ff_ffff));
    }
}
