//! Glob-style patterns as Redis matches them: `*`, `?`, `[a-z]`, `[^…]` and `\`.

/// Whether `text` matches `pattern`; ASCII letters in any case with `any_case`.
pub fn matches(pattern: &[u8], text: &[u8], any_case: bool) -> bool {
    let fold = |b: u8| if any_case { b.to_ascii_lowercase() } else { b };
    let (mut p, mut t) = (0, 0);
    // Where to resume when what follows the last `*` does not match: it takes one byte more.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        let step = match pattern.get(p) {
            Some(b'*') => {
                retry = Some((p + 1, t));
                p += 1;
                continue;
            }
            None if t == text.len() => return true,
            None => None,
            Some(_) => text.get(t).and_then(|&b| match_one(&pattern[p..], fold(b), fold)),
        };
        match (step, retry) {
            (Some(len), _) => {
                p += len;
                t += 1;
            }
            (None, Some((after, from))) if from < text.len() => {
                retry = Some((after, from + 1));
                (p, t) = (after, from + 1);
            }
            (None, _) => return false,
        }
    }
}

/// Matches one byte against the element at the start of `pattern`; the element's length if it does.
fn match_one(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> Option<usize> {
    match pattern {
        [b'?', ..] => Some(1),
        [b'\\', literal, ..] => (fold(*literal) == byte).then_some(2),
        [b'[', class @ ..] => {
            let negated = class.first() == Some(&b'^');
            let mut at = usize::from(negated);
            let mut found = false;
            while at < class.len() && class[at] != b']' {
                match class[at..] {
                    [b'\\', literal, ..] => {
                        found |= fold(literal) == byte;
                        at += 2;
                    }
                    [low, b'-', high, ..] => {
                        let (low, high) = (fold(low.min(high)), fold(low.max(high)));
                        found |= (low..=high).contains(&byte);
                        at += 3;
                    }
                    [literal, ..] => {
                        found |= fold(literal) == byte;
                        at += 1;
                    }
                    [] => break,
                }
            }
            // A class without its end reaches to the end of the pattern.
            (found != negated).then_some((at + 2).min(pattern.len()))
        }
        [literal, ..] => (fold(*literal) == byte).then_some(1),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_as_in_redis() {
        let yes = [
            ("*", ""),
            ("my*", "mymaster"),
            ("m?m*r", "mymaster"),
            ("[a-c]x", "bx"),
            ("[^a-c]x", "dx"),
            ("a\\*b", "a*b"),
            ("*a*b*c", "xaybzc"),
            ("+s*", "+switch-master"),
            ("[c-a]x", "bx"),
            ("[ab", "b"),
        ];
        for (p, t) in yes {
            assert!(matches(p.as_bytes(), t.as_bytes(), false), "{p} {t}");
        }
        let no = [
            ("", "a"),
            ("my", "mymaster"),
            ("a?", "a"),
            ("[a-c]x", "dx"),
            ("a\\*b", "axb"),
            ("*a*b", "ba"),
            ("A", "a"),
        ];
        for (p, t) in no {
            assert!(!matches(p.as_bytes(), t.as_bytes(), false), "{p} {t}");
        }
        assert!(matches(b"ABC*[X-Z]", b"abcdy", true));
    }

    #[test]
    fn many_stars_take_no_exponential_time() {
        assert!(!matches("*a".repeat(40).as_bytes(), &[b'a'; 39], false));
    }
}
