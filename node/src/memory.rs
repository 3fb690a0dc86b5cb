//! Memory accounting: a wrapper around the global allocator that counts usable sizes.
