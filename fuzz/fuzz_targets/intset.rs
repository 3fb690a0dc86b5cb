//! Bytes that claim to be an intset: refused, or sorted, complete, and valid after changes.
#![no_main]
use redoubt_node::engine::types::IntSet;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(mut set) = IntSet::from_bytes(data.to_vec()) {
        let members: Vec<i64> = set.iter().collect();
        assert!(members.is_sorted() && members.iter().all(|&m| set.contains(m)));
        set.add(i64::MIN);
        set.add(7);
        assert!(IntSet::from_bytes(set.as_bytes().to_vec()).is_ok());
    }
});
