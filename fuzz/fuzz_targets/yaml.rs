//! YAML is read or refused, and each directive stands on a line of the file that is not blank.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use redoubt_wire::directives::yaml::parse_yaml;

fuzz_target!(|text: &[u8]| {
    if let Ok(read) = parse_yaml(text, Path::new("fuzz.yaml")) {
        assert!(read.iter().all(|directive| directive.origin.line >= 1 && !directive.raw.is_empty()));
    }
});
