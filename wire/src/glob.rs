//! Glob patterns, as KEYS, SCAN, PSUBSCRIBE and `CONFIG GET` take them.
//!
//! `*` matches any run of bytes and `?` any byte; `[abc]`, `[a-c]` and `[^a-c]` match one byte of a
//! set or outside it; a backslash takes the next byte literally. Details are those of Redis 7.2:
//! `]` closes a set even where it comes first, a set that nothing closes ends with the pattern, and
//! the end of a range may be any byte, `]` included. One thing differs: there, no pattern but the
//! empty one matches an empty text; here `*` does.
//!
//! A pattern comes from a client, so time must be bounded: when a byte does not match, only the
//! last `*` takes one byte more. That finds a match if there is one, in at most pattern times text
//! steps and without recursion. As in Redis, a match that takes more than a thousand `*` is none.

/// The most runs of `*` that a match may go through, but for one at the end.
const MAX_STARS: usize = 1000;

/// Whether `pattern` matches all of `text`; with `nocase`, ASCII letters match in either case.
pub fn glob_match(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    let (mut pattern, mut text) = (pattern, text);
    // What follows the last `*`, and the text that is left where the run of that `*` ends.
    let mut last_star: Option<(&[u8], &[u8])> = None;
    let mut stars = 0;
    loop {
        if let [b'*', after @ ..] = pattern {
            if after.is_empty() {
                return true;
            }
            stars += usize::from(after[0] != b'*');
            if stars > MAX_STARS {
                return false;
            }
            last_star = Some((after, text));
            pattern = after;
            continue;
        }
        if let [byte, rest_of_text @ ..] = text {
            if let Some(rest_of_pattern) = match_one(pattern, *byte, nocase) {
                (pattern, text) = (rest_of_pattern, rest_of_text);
                continue;
            }
        } else {
            return pattern.is_empty();
        }
        match last_star {
            Some((after, [_, longer @ ..])) => {
                last_star = Some((after, longer));
                (pattern, text) = (after, longer);
            }
            _ => return false,
        }
    }
}

/// Matches `byte` against the first element of `pattern`, which is no `*`; returns what follows it.
fn match_one(pattern: &[u8], byte: u8, nocase: bool) -> Option<&[u8]> {
    let (literal, rest) = match pattern {
        [] => return None,
        [b'?', rest @ ..] => return Some(rest),
        [b'[', set @ ..] => {
            let (contains, rest) = match_set(set, byte, nocase);
            return contains.then_some(rest);
        }
        [b'\\', escaped, rest @ ..] => (escaped, rest),
        [literal, rest @ ..] => (literal, rest),
    };
    (fold(*literal, nocase) == fold(byte, nocase)).then_some(rest)
}

/// Whether the set that `pattern` starts with contains `byte`, and what follows the set.
fn match_set(pattern: &[u8], byte: u8, nocase: bool) -> (bool, &[u8]) {
    let (negated, mut pattern) = match pattern {
        [b'^', rest @ ..] => (true, rest),
        _ => (false, pattern),
    };
    let mut contains = false;
    loop {
        pattern = match pattern {
            [] => return (contains != negated, pattern),
            // An escaped byte of a set is compared as it is, even without regard to case.
            [b'\\', escaped, rest @ ..] => {
                contains |= *escaped == byte;
                rest
            }
            [b']', rest @ ..] => return (contains != negated, rest),
            [from, b'-', to, rest @ ..] => {
                let (low, high) = (fold(*from.min(to), nocase), fold(*from.max(to), nocase));
                contains |= (low..=high).contains(&fold(byte, nocase));
                rest
            }
            [literal, rest @ ..] => {
                contains |= fold(*literal, nocase) == fold(byte, nocase);
                rest
            }
        };
    }
}

fn fold(byte: u8, nocase: bool) -> u8 {
    if nocase { byte.to_ascii_lowercase() } else { byte }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn matches(pattern: &str, text: &str) -> bool {
        glob_match(pattern.as_bytes(), text.as_bytes(), false)
    }

    #[test]
    fn a_match_through_more_than_a_thousand_stars_is_none() {
        let text = "a".repeat(2000);
        assert!(matches(&format!("{}*", "*a".repeat(1000)), &text));
        assert!(!matches(&format!("{}*", "*a".repeat(1001)), &text));
    }

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text) in [
            ("", ""),
            ("*", ""),
            ("*", "abc"),
            ("**a**", "a"),
            ("a*c", "abc"),
            ("a*c", "ac"),
            ("h?llo", "hello"),
            ("h[ae]llo", "hallo"),
            ("h[^e]llo", "hallo"),
            ("h[a-b]llo", "hbllo"),
            ("h[b-a]llo", "hallo"),
            ("a\\*", "a*"),
            ("\\", "\\"),
            ("[\\]]", "]"),
            ("[abc", "b"),
            ("[a-]", "]"),
            ("*ab*ab", "abxabab"),
            ("*?", "x"),
        ] {
            assert!(matches(pattern, text), "{pattern} {text}");
        }
        for (pattern, text) in [
            ("", "a"),
            ("a", ""),
            ("?", ""),
            ("a*c", "ab"),
            ("a*c", "abcd"),
            ("h[ae]llo", "hillo"),
            ("h[^e]llo", "hello"),
            ("a\\*", "ab"),
            ("[]a]", "a"),
            ("a", "A"),
            ("[", "["),
            ("[a-]", "-x"),
        ] {
            assert!(!matches(pattern, text), "{pattern} {text}");
        }
    }

    #[test]
    fn case_is_ignored_on_request() {
        assert!(glob_match(b"MAX*[A-C]", b"maxmemoryb", true));
        assert!(glob_match(b"max*", b"MAXMEMORY", true));
        assert!(!glob_match(b"[\\A]", b"a", true), "escaped bytes of a set keep their case");
    }

    #[test]
    fn many_stars_do_not_explode() {
        let text = vec![b'a'; 100_000];
        let pattern = "a*".repeat(1000) + "b";
        assert!(!glob_match(pattern.as_bytes(), &text, false));
    }

    /// The definition, by recursion over every run that a `*` may match.
    fn reference(pattern: &[u8], text: &[u8]) -> bool {
        match pattern {
            [] => text.is_empty(),
            [b'*', after @ ..] => (0..=text.len()).any(|n| reference(after, &text[n..])),
            _ => match text {
                [byte, rest @ ..] => {
                    match_one(pattern, *byte, false).is_some_and(|after| reference(after, rest))
                }
                [] => false,
            },
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(pattern in "[ab*?\\[\\]^\\\\-]{0,12}", text in "[ab\\]-]{0,12}") {
            prop_assert_eq!(matches(&pattern, &text), reference(pattern.as_bytes(), text.as_bytes()));
        }

        #[test]
        fn any_bytes_are_taken(pattern in prop::collection::vec(any::<u8>(), 0..40), text in prop::collection::vec(any::<u8>(), 0..40)) {
            let escaped: Vec<u8> = text.iter().flat_map(|b| [b'\\', *b]).collect();
            prop_assert!(glob_match(&escaped, &text, false));
            glob_match(&pattern, &text, true);
        }
    }
}
