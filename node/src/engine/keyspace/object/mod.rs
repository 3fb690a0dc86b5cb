//! The object: a key, its value and its expiry, in one allocation behind one thin pointer.
//!
//! ```text
//! | header, 8 | key length, 8 (long keys only) | key | expiry, 8 (if any) | value: bytes, an integer, or a pointer |
//! ```
//!
//! A lookup that found the right slot touches one cache line more, which holds key, expiry and a short
//! value; a 15-byte key with a 16-byte value takes jemalloc's class of 48 bytes, with an expiry too. Nothing
//! after the header is aligned, so nothing is wasted on padding.
//!
//! Long strings and aggregates live outside, in a box whose pointer is the value; they share their structure
//! when cloned, so duplicating an object costs no more than its key.
//!
//! Allocations are always whole size classes of the allocator. The class that the contents need follows
//! from the header; how many classes above it the allocation really is (its slack) stands in three bits of it. So
//! a value can shrink and grow in place, and the allocation's size is known when it is released.
//!
//! Invariants of the unsafe code here:
//! - The pointer owns an allocation, aligned to 8, of `capacity()` bytes: the class of `size()` plus the slack.
//! - Header, key (its length beside it if long) and expiry are initialised, and `value_len` bytes of
//!   value; in the boxed forms these are a pointer from `Box::into_raw` of the form's type, owned by this object.
//! - Whoever changes a field of the header that moves or resizes something moves or resizes it before
//!   anything else sees the object.

#![allow(unsafe_code)]

mod header;
#[cfg(test)]
mod tests;
mod value;

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error, realloc};
use std::fmt;
use std::mem::ManuallyDrop;
use std::ptr::{self, NonNull};

use self::header::{Form, Header};
pub use self::value::{Kind, Value, ValueMut, ValueRef};
/// Reads the canonical text of an integer, the one form in which a string is stored as one.
pub use crate::engine::types::entry::canonical_int as parse_int;
use crate::engine::types::{Blob, List, Set};
use crate::memory::{class_index, class_size, prefetch, size_class};

/// The longest string, in bytes, that is kept beside its key. Longer ones are a [`Blob`], whose chunks a snapshot
/// shares instead of copying.
pub const EMBEDDED_MAX: usize = 1024;

/// The longest string, in bytes, that OBJECT ENCODING calls `embstr`.
const EMBSTR_MAX: usize = 44;

/// An allocation up to this many times as large as its contents need is kept. A factor of two is four size classes
/// or fewer, which the header can count.
const WASTE_KEPT: usize = 2;

/// An owned key with its value, expiry and access field. Eight bytes.
#[repr(transparent)]
pub struct Object(NonNull<u64>);

const _: () = {
    const fn thread_safe<T: Send + Sync>() {}
    thread_safe::<Value>();
};
// SAFETY: an object owns its allocation alone, and what it points to is of types that may cross threads, as
// the assertion above holds them to.
unsafe impl Send for Object {}
// SAFETY: as above; a shared object is only read.
unsafe impl Sync for Object {}

impl Object {
    /// A string, stored as an integer if it is the text of one.
    pub fn new_string(key: &[u8], value: &[u8], expiry_ms: Option<i64>) -> Object {
        match parse_int(value) {
            Some(n) => Self::new_int(key, n, expiry_ms),
            None => Self::new_bytes(key, value, expiry_ms),
        }
    }

    /// A string that is kept as bytes and called `raw`, as after APPEND.
    pub fn new_raw_string(key: &[u8], value: &[u8], expiry_ms: Option<i64>) -> Object {
        let mut object = Self::new_bytes(key, value, expiry_ms);
        object.set_raw(true);
        object
    }

    /// An integer string.
    pub fn new_int(key: &[u8], n: i64, expiry_ms: Option<i64>) -> Object {
        let mut object = Self::allocate(key, expiry_ms, Form::Int, size_of::<i64>());
        object.write_word(n);
        object
    }

    /// Any value. Bytes are kept as they are, never made an integer.
    pub fn new(key: &[u8], value: Value, expiry_ms: Option<i64>) -> Object {
        match value {
            Value::Int(n) => Self::new_int(key, n, expiry_ms),
            Value::Bytes(bytes) => Self::new_bytes(key, &bytes, expiry_ms),
            Value::Blob(blob) => Self::new_boxed(key, expiry_ms, Form::Blob, blob),
            Value::List(list) => Self::new_boxed(key, expiry_ms, Form::List, list),
            Value::Set(set) => Self::new_boxed(key, expiry_ms, Form::Set, set),
        }
    }

    fn new_bytes(key: &[u8], value: &[u8], expiry_ms: Option<i64>) -> Object {
        if value.len() > EMBEDDED_MAX {
            return Self::new_boxed(key, expiry_ms, Form::Blob, Box::new(Blob::from(value)));
        }
        let mut object = Self::allocate(key, expiry_ms, Form::Bytes, value.len());
        object.write_bytes(value);
        object
    }

    fn new_boxed<T>(key: &[u8], expiry_ms: Option<i64>, form: Form, value: Box<T>) -> Object {
        let mut object = Self::allocate(key, expiry_ms, form, size_of::<*mut T>());
        object.write_word(Box::into_raw(value));
        object
    }

    /// Takes the value out.
    pub fn into_value(mut self) -> Value {
        match self.value() {
            ValueRef::Int(n) => Value::Int(n),
            ValueRef::Bytes(bytes) => Value::Bytes(bytes.to_vec()),
            _ => self.take_boxed().expect("what is neither an integer nor bytes is boxed"),
        }
    }

    /// The same object under another name: value, expiry, mark and access field stay.
    #[must_use]
    pub fn renamed(self, new_key: &[u8]) -> Object {
        let old = ManuallyDrop::new(self);
        // SAFETY: `old` will not be used again except to release its allocation, so the new object takes over what its value
        // owns.
        let new = unsafe { old.copied_to(new_key) };
        // SAFETY: the allocation is `old`'s, of that capacity, and `old` is never dropped.
        unsafe { dealloc(old.0.as_ptr().cast(), Self::layout(old.capacity())) };
        new
    }

    /// A copy under another name: value, expiry and access field are the same; unmarked.
    #[must_use]
    pub fn duplicate(&self, new_key: &[u8]) -> Object {
        let mut new = match self.value() {
            // SAFETY: integers and bytes own nothing.
            ValueRef::Int(_) | ValueRef::Bytes(_) => unsafe { self.copied_to(new_key) },
            ValueRef::Blob(blob) => Self::new(new_key, Value::Blob(Box::new(blob.clone())), self.expiry_ms()),
            ValueRef::List(list) => Self::new(new_key, Value::List(Box::new(list.clone())), self.expiry_ms()),
            ValueRef::Set(set) => Self::new(new_key, Value::Set(Box::new(set.clone())), self.expiry_ms()),
        };
        new.set_lru(self.lru());
        new.set_mark(false);
        new
    }

    /// The key.
    #[inline]
    pub fn key(&self) -> &[u8] {
        // SAFETY: the key is initialised and lies within the allocation, which lives as long as `self`.
        unsafe { std::slice::from_raw_parts(self.at(self.header().key_start()), self.key_len()) }
    }

    /// What TYPE tells.
    #[inline]
    pub fn kind(&self) -> Kind {
        match self.header().form() {
            Form::Int | Form::Bytes | Form::Blob => Kind::String,
            Form::List => Kind::List,
            Form::Set => Kind::Set,
        }
    }

    /// The value.
    #[inline]
    pub fn value(&self) -> ValueRef<'_> {
        // SAFETY: in each form, the value is what the form says, initialised and owned by `self`.
        unsafe {
            match self.header().form() {
                Form::Int => ValueRef::Int(self.read_word()),
                Form::Bytes => ValueRef::Bytes(std::slice::from_raw_parts(
                    self.at(self.value_start()),
                    self.header().value_len(),
                )),
                Form::Blob => ValueRef::Blob(&*self.read_word::<*const Blob>()),
                Form::List => ValueRef::List(&*self.read_word::<*const List>()),
                Form::Set => ValueRef::Set(&*self.read_word::<*const Set>()),
            }
        }
    }

    /// The value, to be changed in place. A short string is called `raw` from then on.
    #[inline]
    pub fn value_mut(&mut self) -> ValueMut<'_> {
        // SAFETY: as in `value`; the exclusive borrow of `self` covers what it owns.
        unsafe {
            match self.header().form() {
                Form::Int => ValueMut::Int(self.read_word()),
                Form::Bytes => {
                    self.set_raw(true);
                    ValueMut::Bytes(std::slice::from_raw_parts_mut(
                        self.at(self.value_start()),
                        self.header().value_len(),
                    ))
                }
                Form::Blob => ValueMut::Blob(&mut *self.read_word::<*mut Blob>()),
                Form::List => ValueMut::List(&mut *self.read_word::<*mut List>()),
                Form::Set => ValueMut::Set(&mut *self.read_word::<*mut Set>()),
            }
        }
    }

    /// Replaces the value, of whatever kind, by a string, as [`Object::new_string`] would store it. Takes no memory if the
    /// allocation fits, and gives none back unless half of it or more would be left over.
    pub fn set_string(&mut self, value: &[u8]) {
        match parse_int(value) {
            Some(n) => self.set_int(n),
            None => self.set_bytes(value),
        }
    }

    /// Replaces the value by a string that is kept as bytes and called `raw`.
    pub fn set_raw_string(&mut self, value: &[u8]) {
        self.set_bytes(value);
        self.set_raw(true);
    }

    /// Replaces the value by an integer string.
    #[inline]
    pub fn set_int(&mut self, n: i64) {
        if self.header().form() == Form::Int {
            return self.write_word(n);
        }
        let old = self.take_boxed();
        self.resize_value(Form::Int, size_of::<i64>());
        self.write_word(n);
        drop(old);
    }

    /// Replaces the value by any other. Bytes are kept as they are, never made an integer.
    pub fn set_value(&mut self, value: Value) {
        match value {
            Value::Int(n) => self.set_int(n),
            Value::Bytes(bytes) => self.set_bytes(&bytes),
            Value::Blob(blob) => self.set_boxed(Form::Blob, blob),
            Value::List(list) => self.set_boxed(Form::List, list),
            Value::Set(set) => self.set_boxed(Form::Set, set),
        }
    }

    fn set_bytes(&mut self, value: &[u8]) {
        if value.len() > EMBEDDED_MAX {
            return self.set_boxed(Form::Blob, Box::new(Blob::from(value)));
        }
        let old = self.take_boxed();
        self.resize_value(Form::Bytes, value.len());
        self.write_bytes(value);
        drop(old);
    }

    fn set_boxed<T>(&mut self, form: Form, value: Box<T>) {
        let old = self.take_boxed();
        self.resize_value(form, size_of::<*mut T>());
        self.write_word(Box::into_raw(value));
        drop(old);
    }

    /// Makes a string, however it is stored, a [`Blob`] that can be edited.
    ///
    /// # Panics
    /// If the value is not a string; commands check the type first.
    pub fn promote_to_blob(&mut self) -> &mut Blob {
        let blob = match self.value() {
            ValueRef::Int(n) => Some(Blob::from(itoa::Buffer::new().format(n).as_bytes())),
            ValueRef::Bytes(bytes) => Some(Blob::from(bytes)),
            _ => None,
        };
        if let Some(blob) = blob {
            self.set_boxed(Form::Blob, Box::new(blob));
        }
        match self.value_mut() {
            ValueMut::Blob(blob) => blob,
            other => panic!("only a string can become a blob, not {other:?}"),
        }
    }

    /// When the key expires, as Unix time in milliseconds; `None` for never.
    #[inline]
    pub fn expiry_ms(&self) -> Option<i64> {
        // SAFETY: the flag says that an initialised expiry follows the key.
        self.expires().then(|| unsafe { self.at(self.expiry_start()).cast::<i64>().read_unaligned() })
    }

    /// Whether the key ever expires.
    #[inline]
    pub fn expires(&self) -> bool {
        self.header().expires()
    }

    /// Sets, changes or removes the expiry. May move the allocation when one appears or disappears.
    pub fn set_expiry(&mut self, expiry_ms: Option<i64>) {
        let shifts = expiry_ms.is_some() != self.expires();
        let held = self.held_class();
        let mut header = self.header();
        header.set_expires(expiry_ms.is_some());
        let (start, len) = (self.expiry_start(), header.value_len());
        // SAFETY: `expiry_start` and the value behind it lie within the allocation. When an expiry appears, `fit` has made
        // room for the value to move up by eight bytes; when it disappears, the value has moved down before `fit` may
        // cut the end off.
        unsafe {
            if shifts && expiry_ms.is_none() {
                ptr::copy(self.at(start + 8), self.at(start), len);
            }
            if shifts {
                self.fit(header, held);
            }
            if let Some(at_ms) = expiry_ms {
                if shifts {
                    ptr::copy(self.at(start), self.at(start + 8), len);
                }
                self.at(start).cast::<i64>().write_unaligned(at_ms);
            }
        }
    }

    /// The access field, of which 24 bits are kept: LRU clock, or LFU decrement time and counter.
    #[inline]
    pub fn lru(&self) -> u32 {
        self.header().lru()
    }

    /// Sets the low 24 bits as the access field.
    #[inline]
    pub fn set_lru(&mut self, lru: u32) {
        let mut header = self.header();
        header.set_lru(lru);
        self.set_header(header);
    }

    /// The snapshot's bit: inserted or emitted since the cut.
    #[inline]
    pub fn mark(&self) -> bool {
        self.header().marked()
    }

    /// Sets the snapshot's bit.
    #[inline]
    pub fn set_mark(&mut self, marked: bool) {
        let mut header = self.header();
        header.set_marked(marked);
        self.set_header(header);
    }

    fn set_raw(&mut self, raw: bool) {
        let mut header = self.header();
        header.set_raw(raw);
        self.set_header(header);
    }

    /// What OBJECT ENCODING tells.
    pub fn encoding_name(&self) -> &'static str {
        match self.value() {
            ValueRef::Int(_) => "int",
            ValueRef::Bytes(bytes) if bytes.len() <= EMBSTR_MAX && !self.header().raw() => "embstr",
            ValueRef::Bytes(_) | ValueRef::Blob(_) => "raw",
            ValueRef::List(list) => list.encoding_name(),
            ValueRef::Set(set) => set.encoding_name(),
        }
    }

    /// The bytes that the object takes in usable sizes, a boxed value and its box included; those of a large aggregate judged
    /// from `samples` of its parts (0: all of them).
    pub fn memory_usage(&self, samples: usize) -> usize {
        let boxed = match self.value() {
            ValueRef::Int(_) | ValueRef::Bytes(_) => 0,
            ValueRef::Blob(blob) => size_class(size_of::<Blob>()) + blob.memory_usage(),
            ValueRef::List(list) => size_class(size_of::<List>()) + list.memory_usage(samples),
            ValueRef::Set(set) => size_class(size_of::<Set>()) + set.memory_usage(samples),
        };
        self.capacity() + boxed
    }

    /// Starts loading the object's first two cache lines: a key and a short value.
    #[inline]
    pub(super) fn prefetch(&self) {
        prefetch(self.0.as_ptr());
        prefetch(self.0.as_ptr().wrapping_byte_add(64));
    }
}

/// The layout: where things are, and how the allocation follows them.
impl Object {
    /// An object whose value, of `value_len` bytes, is still to be written.
    fn allocate(key: &[u8], expiry_ms: Option<i64>, form: Form, value_len: usize) -> Object {
        let header = Header::new(form, key.len(), value_len, expiry_ms.is_some());
        let layout = Self::layout(size_class(Self::size(header, key.len())));
        // SAFETY: the layout is at least the header's size, so not empty.
        let Some(start) = NonNull::new(unsafe { alloc(layout) }.cast::<u64>()) else {
            handle_alloc_error(layout)
        };
        let mut object = Object(start);
        object.set_header(header);
        // SAFETY: `size` has counted each of these, so they lie within the new allocation, which overlaps nothing.
        unsafe {
            if header.short_key_len().is_none() {
                object.at(Header::BYTES).cast::<usize>().write(key.len());
            }
            ptr::copy_nonoverlapping(key.as_ptr(), object.at(header.key_start()), key.len());
            if let Some(at_ms) = expiry_ms {
                object.at(object.expiry_start()).cast::<i64>().write_unaligned(at_ms);
            }
        }
        object
    }

    /// An object with another key and all else equal, the value copied bit by bit.
    ///
    /// # Safety
    /// If the value is boxed, only one of the two may go on owning it.
    unsafe fn copied_to(&self, new_key: &[u8]) -> Object {
        let header = self.header();
        let mut new = Self::allocate(new_key, self.expiry_ms(), header.form(), header.value_len());
        // SAFETY: both values are `value_len` bytes within different allocations.
        unsafe {
            ptr::copy_nonoverlapping(
                self.at(self.value_start()),
                new.at(new.value_start()),
                header.value_len(),
            );
        }
        new.set_lru(header.lru());
        new.set_mark(header.marked());
        new.set_raw(header.raw());
        new
    }

    fn layout(capacity: usize) -> Layout {
        Layout::from_size_align(capacity, align_of::<u64>()).expect("no key is half the address space long")
    }

    #[inline]
    fn header(&self) -> Header {
        // SAFETY: the allocation starts with an initialised, aligned header.
        Header::from_bits(unsafe { self.0.read() })
    }

    #[inline]
    fn set_header(&mut self, header: Header) {
        // SAFETY: the allocation starts with room for the header.
        unsafe { self.0.write(header.bits()) }
    }

    /// The place `offset` bytes into the allocation.
    ///
    /// # Safety
    /// `offset` must not lie beyond the allocation's end.
    #[inline]
    unsafe fn at(&self, offset: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.0.as_ptr().cast::<u8>().add(offset) }
    }

    #[inline]
    fn key_len(&self) -> usize {
        match self.header().short_key_len() {
            Some(len) => len,
            // SAFETY: a long key's length stands right after the header, aligned as it is.
            None => unsafe { self.at(Header::BYTES).cast::<usize>().read() },
        }
    }

    #[inline]
    fn expiry_start(&self) -> usize {
        self.header().key_start() + self.key_len()
    }

    #[inline]
    fn value_start(&self) -> usize {
        self.expiry_start() + if self.expires() { size_of::<i64>() } else { 0 }
    }

    /// The bytes that an object with this header needs.
    #[inline]
    fn size(header: Header, key_len: usize) -> usize {
        let expiry = if header.expires() { size_of::<i64>() } else { 0 };
        header.key_start() + key_len + expiry + header.value_len()
    }

    /// The size class of the allocation.
    #[inline]
    fn held_class(&self) -> u32 {
        class_index(Self::size(self.header(), self.key_len())) + self.header().slack()
    }

    /// The bytes of the allocation.
    #[inline]
    fn capacity(&self) -> usize {
        class_size(self.held_class())
    }

    /// Makes the allocation, now of class `held`, hold what `header` describes, and stores `header`. What lies within
    /// the smaller of both sizes stays.
    fn fit(&mut self, mut header: Header, held: u32) {
        let needed = class_index(Self::size(header, self.key_len()));
        if needed > held || class_size(held) > class_size(needed) * WASTE_KEPT {
            let (old, new) = (Self::layout(class_size(held)), Self::layout(class_size(needed)));
            // SAFETY: the allocation has class `held`, and both layouts have the same alignment.
            let moved = unsafe { realloc(self.0.as_ptr().cast(), old, new.size()) };
            let Some(start) = NonNull::new(moved.cast()) else { handle_alloc_error(new) };
            self.0 = start;
            header.set_slack(0);
        } else {
            header.set_slack(held - needed);
        }
        self.set_header(header);
    }

    /// Makes room for another value, still to be written; the present one must own nothing.
    fn resize_value(&mut self, form: Form, value_len: usize) {
        let held = self.held_class();
        let mut header = self.header();
        header.set_form(form);
        header.set_raw(false);
        header.set_value_len(value_len);
        self.fit(header, held);
    }

    /// Takes a boxed value out, leaving an integer of no meaning; `None` if the value is not boxed.
    fn take_boxed(&mut self) -> Option<Value> {
        // SAFETY: each pointer came from `Box::into_raw` of the form's type; the form set below forgets it.
        let value = unsafe {
            match self.header().form() {
                Form::Int | Form::Bytes => return None,
                Form::Blob => Value::Blob(Box::from_raw(self.read_word())),
                Form::List => Value::List(Box::from_raw(self.read_word())),
                Form::Set => Value::Set(Box::from_raw(self.read_word())),
            }
        };
        let mut header = self.header();
        header.set_form(Form::Int);
        self.set_header(header);
        Some(value)
    }

    /// The value's eight bytes as a `T`.
    ///
    /// # Safety
    /// The form must be one whose value is a `T`.
    #[inline]
    unsafe fn read_word<T: Copy>(&self) -> T {
        const { assert!(size_of::<T>() == 8) };
        // SAFETY: a value that is not bytes is eight initialised bytes; the caller vouches for the type.
        unsafe { self.at(self.value_start()).cast::<T>().read_unaligned() }
    }

    #[inline]
    fn write_word<T>(&mut self, word: T) {
        assert_eq!(self.header().value_len(), size_of::<T>());
        // SAFETY: the value is as long as `T`, and lies within the allocation.
        unsafe { self.at(self.value_start()).cast::<T>().write_unaligned(word) }
    }

    #[inline]
    fn write_bytes(&mut self, bytes: &[u8]) {
        assert_eq!(self.header().value_len(), bytes.len());
        // SAFETY: the value is as long as `bytes`, and lies within the allocation, to which `bytes` cannot belong.
        unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), self.at(self.value_start()), bytes.len()) }
    }
}

impl Drop for Object {
    fn drop(&mut self) {
        let layout = Self::layout(self.capacity());
        let boxed = self.take_boxed();
        // SAFETY: the allocation is of this layout, and nobody uses it after `drop`.
        unsafe { dealloc(self.0.as_ptr().cast(), layout) };
        drop(boxed);
    }
}

impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Object")
            .field("key", &self.key().escape_ascii().to_string())
            .field("value", &self.value())
            .field("expiry_ms", &self.expiry_ms())
            .finish()
    }
}
