//! Bytes that claim to be a listpack: refused, or a listpack that reads the same both ways and
//! stays valid when it is changed.
#![no_main]
use redoubt_node::engine::types::ListPack;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(mut pack) = ListPack::from_bytes(data.to_vec()) {
        let mut back: Vec<_> = pack.iter().rev().collect();
        back.reverse();
        assert_eq!(pack.iter().collect::<Vec<_>>(), back);
        assert_eq!(back.len(), pack.len());
        let middle = pack.len() / 2;
        pack.insert(middle, b"inserted");
        pack.remove(middle);
        assert!(ListPack::from_bytes(pack.as_bytes().to_vec()).is_ok());
    }
});
