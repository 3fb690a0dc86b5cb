//! Finds the keys of calls that no key spec can describe, by reading the call.

use smallvec::smallvec;

use super::keys::{KeyFlags, KeyRef, Keys};

/// SET: what it does with its key depends on the option GET.
pub(super) fn set_keys(words: &[&[u8]]) -> Keys {
    let gets = words.iter().skip(3).any(|word| word.eq_ignore_ascii_case(b"get"));
    let access = if gets { KeyFlags::RW.with(KeyFlags::ACCESS) } else { KeyFlags::OW };
    smallvec![KeyRef { position: 1, flags: access.with(KeyFlags::UPDATE) }]
}

/// SORT: the key, and the last STORE among options that have arguments of their own.
pub(super) fn sort_keys(words: &[&[u8]]) -> Keys {
    let mut keys: Keys = sort_ro_keys(words);
    let mut store = None;
    let mut index = 2;
    while let Some(option) = words.get(index) {
        index += match option.to_ascii_lowercase().as_slice() {
            b"limit" => 3,
            b"get" | b"by" => 2,
            b"store" if index + 1 < words.len() => {
                store = Some(index + 1);
                1
            }
            _ => 1,
        };
    }
    let flags = KeyFlags::OW.with(KeyFlags::UPDATE);
    keys.extend(store.map(|position| KeyRef { position, flags }));
    keys
}

/// SORT_RO: the key. Those that BY and GET lead to follow from data.
pub(super) fn sort_ro_keys(_words: &[&[u8]]) -> Keys {
    smallvec![KeyRef { position: 1, flags: KeyFlags::RO.with(KeyFlags::ACCESS) }]
}

/// MIGRATE: its third argument, or where that is empty, all behind the option KEYS.
pub(super) fn migrate_keys(words: &[&[u8]]) -> Keys {
    let mut range = 3..4;
    let mut index = 6;
    while let Some(option) = words.get(index) {
        index += match option.to_ascii_lowercase().as_slice() {
            // A key in both places is an error, which the command itself reports.
            b"keys" if !words[3].is_empty() => return Keys::new(),
            b"keys" => {
                range = index + 1..words.len();
                break;
            }
            b"auth" => 2,
            b"auth2" => 3,
            _ => 1,
        };
    }
    let flags = KeyFlags::RW.with(KeyFlags::ACCESS).with(KeyFlags::DELETE);
    range.map(|position| KeyRef { position, flags }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::commands::introspection::Catalogue;
    use crate::engine::commands::keys::{BeginSearch, FindKeys, KeySpec, access, keys_behind};
    use crate::engine::commands::spec::CommandSpec;
    use crate::engine::commands::table::COMMANDS;
    use proptest::prelude::*;

    /// Positions of the keys of a call, if it has the form of its command.
    fn positions(call: &str) -> Option<Vec<usize>> {
        let words: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
        let spec = Catalogue::new(COMMANDS).resolve(&words).unwrap();
        Some(spec.keys_of(&words)?.iter().map(|key| key.position).collect())
    }

    fn found(spec: KeySpec, call: &str) -> Option<Vec<usize>> {
        let specs: &'static [KeySpec] = Box::leak(Box::new([spec]));
        let command = crate::engine::commands::spec::CommandSpec {
            key_specs: specs,
            ..*Box::leak(Box::new(command()))
        };
        let words: Vec<&[u8]> = call.split(' ').map(str::as_bytes).collect();
        Some(command.keys_of(&words)?.iter().map(|key| key.position).collect())
    }

    const fn command() -> CommandSpec {
        use crate::engine::commands::spec::{Group, command};
        command("x", -1, Group::Generic, "1.0.0", "O(1)", "For tests.")
    }

    #[test]
    fn keys_stand_where_the_specs_say() {
        for (call, expected) in [
            ("GET k", Some(vec![1])),
            ("mset a 1 b 2", Some(vec![1, 3])),
            ("DEL a b c", Some(vec![1, 2, 3])),
            ("rename a b", Some(vec![1, 2])),
            ("object encoding k", Some(vec![2])),
            ("memory usage k", Some(vec![2])),
            ("lcs a b len", Some(vec![1, 2])),
            ("watch a b", Some(vec![1, 2])),
            ("ping", Some(vec![])),
            ("get", None),
            ("del", None),
        ] {
            assert_eq!(positions(call), expected, "{call}");
        }
    }

    #[test]
    fn what_specs_cannot_say_is_read_from_the_call() {
        for (call, expected) in [
            ("sort k by w_* limit 0 5 get store desc", vec![1]),
            ("sort k by store store a store b", vec![1, 7]),
            ("sort k store", vec![1]),
            ("sort_ro k by x", vec![1]),
            ("migrate h 1 k 0 10", vec![3]),
            ("migrate h 1 k 0 10 copy", vec![3]),
            ("migrate h 1  0 10 auth keys keys a b", vec![9, 10]),
            ("migrate h 1  0 10 auth2 u p keys a", vec![10]),
            ("migrate h 1 k 0 10 keys a", vec![]),
        ] {
            assert_eq!(positions(call), Some(expected), "{call}");
        }
    }

    #[test]
    fn what_set_does_depends_on_its_options() {
        let flags = |call: &[&[u8]]| set_keys(call)[0].flags;
        assert!(flags(&[b"set", b"k", b"v"]).has(access![OW UPDATE]));
        assert!(flags(&[b"set", b"k", b"get"]).has(access![OW UPDATE]));
        assert!(flags(&[b"set", b"k", b"v", b"nx", b"GET"]).has(access![RW ACCESS UPDATE]));
    }

    #[test]
    fn keywords_counts_and_limits() {
        let behind = |from| keys_behind("STREAMS", from, KeyFlags::NONE);
        assert_eq!(found(behind(1), "x count 1 streams a b"), Some(vec![4, 5]));
        assert_eq!(found(behind(1), "x count 1"), Some(vec![]));
        assert_eq!(found(behind(1), "x streams"), Some(vec![]), "no key can follow the last word");
        assert_eq!(found(behind(-1), "x streams streams a"), Some(vec![3]), "backwards from the end");
        let half = KeySpec { find: FindKeys::Range { last: -1, step: 1, limit: 2 }, ..behind(1) };
        assert_eq!(found(half, "x streams a b 0 0"), Some(vec![2, 3]));
        let count = FindKeys::Count { at: 0, first: 1, step: 1 };
        let counted = KeySpec { flags: KeyFlags::NONE, begin: BeginSearch::Index(1), find: count };
        assert_eq!(found(counted, "x 2 a b c"), Some(vec![2, 3]));
        for call in ["x 0", "x 3 a b", "x -1 a", "x a", "x 18446744073709551615 a"] {
            assert_eq!(found(counted, call), None, "{call}");
        }
    }

    proptest! {
        #[test]
        fn keys_are_words_of_the_call(
            command in 0..COMMANDS.len(),
            words in prop::collection::vec(prop::sample::select(&["", "a", "keys", "store", "get", "0", "-1", "99999999999"][..]), 0..9),
        ) {
            let command = COMMANDS[command];
            let mut call: Vec<&[u8]> = vec![command.name.as_bytes()];
            call.extend(words.iter().map(|word| word.as_bytes()));
            if command.accepts(call.len()) && let Some(keys) = command.keys_of(&call) {
                prop_assert!(keys.iter().all(|key| key.position >= 1 && key.position < call.len()));
            }
        }
    }
}
