//! Directives that could be read are, written as lines, the same directives.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use redoubt_wire::directives::parse_text;

fuzz_target!(|text: &[u8]| {
    let Ok(read) = parse_text(text, Path::new("fuzz.conf")) else { return };
    for directive in read {
        // A name in quotes may start like a comment.
        if directive.name.starts_with('#') {
            continue;
        }
        let again = parse_text(directive.to_line().as_bytes(), Path::new("fuzz.conf")).unwrap();
        assert_eq!(again.len(), 1);
        assert_eq!((&again[0].name, &again[0].args), (&directive.name, &directive.args));
    }
});
