//! The state in a YAML file: the `sentinel` directives as a list, one a line.
//!
//! ```yaml
//! port: 26379
//! sentinel:
//!   - monitor mymaster 10.0.0.1 6379 2
//!   - known-replica mymaster 10.0.0.2 6379
//! ```
//!
//! A list that already has this form is kept line by line, with its comments. Any other form that YAML
//! has for the same directives becomes such a list at the first rewrite, which keeps the comments
//! that have lines of their own. The rest of the file is not touched. What was written is read back
//! before it leaves: a file of a form that is not understood here is refused, not damaged.

use std::ops::Range;
use std::path::Path;

use redoubt_wire::directives::Directive;
use redoubt_wire::directives::yaml::{REPEATABLE, parse_yaml};
use redoubt_wire::quoting::split;

use super::merge::{GENERATED, New, Old, key_of, merge};
use crate::core::StateLine;

/// The text of the file with `lines` in it.
///
/// # Errors
/// Text that is not YAML, or whose top level is not a block of keys, one a line.
pub(super) fn rewritten(old: &str, path: &Path, lines: &[StateLine]) -> Result<String, String> {
    let before = parse_yaml(old.as_bytes(), path).map_err(|e| e.to_string())?;
    let mut text: Vec<String> = old.lines().map(str::to_string).collect();
    let mut names: Vec<&str> = Vec::new();
    for name in lines.iter().map(name_of).chain(before.iter().map(|d| d.name.as_str())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    for name in names {
        let own: Vec<StateLine> = lines.iter().filter(|l| name_of(l) == name).cloned().collect();
        let managed = !own.is_empty() || before.iter().any(|d| d.name == name && key_of(&words(d)).is_some());
        if managed {
            // The lines have moved with every section before this one.
            let directives = parse_again(&text.join("\n"), path)?;
            rewrite_section(&mut text, name, &directives, &own);
        }
    }
    let new = text.join("\n") + "\n";
    verify(&before, &new, path, lines)?;
    Ok(new)
}

fn name_of(line: &StateLine) -> &str {
    line.text.split(' ').next().unwrap_or_default()
}

fn words(directive: &Directive) -> Vec<Vec<u8>> {
    std::iter::once(directive.name.clone().into_bytes()).chain(directive.args.iter().cloned()).collect()
}

/// A directive of a section, and the line on which it starts.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    words: Vec<Vec<u8>>,
    line: String,
}

/// Writes the lines that begin with `name` into its section, or at the end if it has none.
fn rewrite_section(text: &mut Vec<String>, name: &str, directives: &[Directive], lines: &[StateLine]) {
    let signed = text.iter().any(|line| line.trim() == GENERATED);
    let repeatable = REPEATABLE.contains(&name);
    let Some(range) = section_of(text, name) else {
        let added = merge(Vec::<Old<Item>>::new(), lines, signed);
        if !added.is_empty() {
            let (generated, items): (Vec<_>, Vec<_>) = added.into_iter().partition(|n| *n == New::Generated);
            text.extend(generated.iter().map(|_| GENERATED.to_string()));
            text.extend(repeatable.then(|| format!("{name}:")));
            text.extend(items.into_iter().map(|item| rendered(item, name, repeatable, "  ", false)));
        }
        return;
    };
    let section = Section::read(text, range.clone(), name, directives);
    let indent = section.indent.clone();
    let listed = section.listed;
    let header = section.header;
    let mut new: Vec<String> = Vec::new();
    let merged = merge(section.lines, lines, signed);
    let empty = !merged.iter().any(|line| matches!(line, New::Line(..)));
    if repeatable && !empty {
        new.push(header);
    }
    new.extend(merged.into_iter().map(|line| rendered(line, name, repeatable, &indent, listed)));
    text.splice(range, new);
}

/// The lines from the key `name` at the top level up to the last that belongs to its value.
fn section_of(text: &[String], name: &str) -> Option<Range<usize>> {
    let is_key = |line: &str| {
        let key = line.split(':').next().unwrap_or_default().trim_matches(['"', '\'', ' ']);
        line.contains(':') && key.eq_ignore_ascii_case(name)
    };
    let start = text.iter().position(|line| starts_entry(line) && is_key(line))?;
    let next = text[start + 1..].iter().position(|line| starts_entry(line));
    let mut end = next.map_or(text.len(), |n| start + 1 + n);
    // Comments and blank lines above the next key are about that one.
    while end > start + 1 && is_blank_or_comment(&text[end - 1]) && !text[end - 1].starts_with([' ', '\t']) {
        end -= 1;
    }
    Some(start..end)
}

/// Whether a key of the top level stands on the line. A list may stand as far to the left as its key.
fn starts_entry(line: &str) -> bool {
    !is_blank_or_comment(line)
        && !line.starts_with([' ', '\t'])
        && line != "-"
        && !line.starts_with("- ")
        && !line.starts_with("---")
        && !line.starts_with("...")
}

fn is_blank_or_comment(line: &str) -> bool {
    let line = line.trim();
    line.is_empty() || line.starts_with('#')
}

/// A section taken apart.
struct Section {
    header: String,
    lines: Vec<Old<Item>>,
    /// It is a list with one directive a line, and nothing else.
    listed: bool,
    indent: String,
}

impl Section {
    fn read(text: &[String], range: Range<usize>, name: &str, directives: &[Directive]) -> Section {
        let first = range.start;
        let mut lines = Vec::new();
        let mut listed = true;
        let mut indent = None;
        for n in range {
            let line = &text[n];
            let here: Vec<_> =
                directives.iter().filter(|d| d.name == name && d.origin.line == n + 1).collect();
            let item = line.trim_start();
            listed &= match here.len() {
                0 => n == first || is_blank_or_comment(line),
                1 => item.starts_with("- "),
                _ => false,
            };
            if here.is_empty() && is_blank_or_comment(line) {
                lines.push(Old::Kept(Item { words: Vec::new(), line: line.clone() }));
            }
            for directive in here {
                indent.get_or_insert_with(|| line[..line.len() - item.len()].to_string());
                let words = words(directive);
                let key = key_of(&words).unwrap_or_default();
                lines.push(Old::State(key, Item { words, line: line.clone() }));
            }
        }
        let bare = text[first].split_once(':').is_some_and(|(_, value)| is_blank_or_comment(value));
        let header = if bare { text[first].clone() } else { format!("{name}:") };
        let indent = indent.filter(|_| listed).unwrap_or_else(|| "  ".into());
        Section { header, lines, listed, indent }
    }
}

/// A line of the new section.
fn rendered(line: New<'_, Item>, name: &str, repeatable: bool, indent: &str, listed: bool) -> String {
    let indent = if repeatable { indent } else { "" };
    match line {
        New::Kept(item) => item.line,
        New::Generated => format!("{indent}{GENERATED}"),
        New::Line(line, old) => {
            let one_line = listed || !repeatable;
            if let Some(old) = &old
                && one_line
                && split(line.text.as_bytes()).is_ok_and(|words| words == old.words)
            {
                return old.line.clone();
            }
            let value = scalar(line.text.strip_prefix(name).unwrap_or_default().trim_start());
            let remark = old.filter(|_| one_line).and_then(|old| remark(&old.line)).unwrap_or_default();
            if repeatable { format!("{indent}- {value}{remark}") } else { format!("{name}: {value}{remark}") }
        }
    }
}

/// The comment at the end of a line, if that is what it surely is.
fn remark(line: &str) -> Option<String> {
    let at = line.find(" #").filter(|_| !line.contains(['"', '\'']))?;
    Some(format!("  {}", line[at..].trim_start()))
}

/// Text as a scalar of one line: bare where that cannot be taken for anything else.
fn scalar(text: &str) -> String {
    let harmless = |c: char| c.is_ascii_alphanumeric() || " ./_-:".contains(c);
    let bare = text.chars().all(harmless)
        && text.starts_with(|c: char| c.is_ascii_alphabetic())
        && !text.contains(": ")
        && !text.ends_with([':', ' ']);
    if bare { text.to_string() } else { format!("'{}'", text.replace('\'', "''")) }
}

/// Reads the new text back: it must say what the old one said, and the state.
fn verify(before: &[Directive], new: &str, path: &Path, lines: &[StateLine]) -> Result<(), String> {
    let after = parse_again(new, path)?;
    let others = |directives: &[Directive]| -> Vec<Vec<Vec<u8>>> {
        directives.iter().map(words).filter(|words| key_of(words).is_none()).collect()
    };
    if others(before) != others(&after) {
        return Err(unfit("the directives beside those of the state would change"));
    }
    let mut expected: Vec<(&StateLine, Vec<Vec<u8>>)> =
        lines.iter().map(|line| (line, split(line.text.as_bytes()).unwrap_or_default())).collect();
    for words in after.iter().map(words).filter(|words| key_of(words).is_some()) {
        match expected.iter().position(|(_, wanted)| *wanted == words) {
            Some(at) => drop(expected.swap_remove(at)),
            None => return Err(unfit("an old line of the state would stay")),
        }
    }
    match expected.iter().find(|(line, _)| !line.only_if_present) {
        Some((line, _)) => Err(unfit(&format!("'{}' would be missing", line.text))),
        None => Ok(()),
    }
}

fn parse_again(text: &str, path: &Path) -> Result<Vec<Directive>, String> {
    parse_yaml(text.as_bytes(), path).map_err(|_| unfit("it would be none any more"))
}

fn unfit(why: &str) -> String {
    format!(
        "this YAML cannot be rewritten ({why}): give it one top-level key a line, and 'sentinel' as a list"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(key: &str, text: &str) -> StateLine {
        StateLine { key: key.into(), text: text.into(), only_if_present: false }
    }

    fn state() -> Vec<StateLine> {
        vec![
            line("sentinel myid", "sentinel myid 0123"),
            line("sentinel monitor m", "sentinel monitor m 10.0.0.9 6379 2"),
            line("sentinel down-after-milliseconds m", "sentinel down-after-milliseconds m 5000"),
            line("sentinel known-replica m", "sentinel known-replica m ::1 6380"),
            line("sentinel auth-pass m", r#"sentinel auth-pass m "it's: #1""#),
            StateLine { key: "loglevel".into(), text: "loglevel notice".into(), only_if_present: true },
        ]
    }

    fn merge(old: &str, lines: &[StateLine]) -> String {
        rewritten(old, Path::new("s.yaml"), lines).unwrap()
    }

    #[test]
    fn a_list_is_kept_line_by_line() {
        let old = "# mine\nport: 26379\n\nsentinel:  # all of it\n    # the one\n    - monitor m 10.0.0.1 6379 2  # db\n    - down-after-milliseconds m 5000  # quick\n\n# where\ndir: /tmp\n";
        assert_eq!(
            merge(old, &state()),
            "# mine\nport: 26379\n\nsentinel:  # all of it\n    # the one\n    - monitor m 10.0.0.9 6379 2  # db\n    - down-after-milliseconds m 5000  # quick\n    # Generated by CONFIG REWRITE\n    - myid 0123\n    - known-replica m ::1 6380\n    - 'auth-pass m \"it''s: #1\"'\n\n# where\ndir: /tmp\n"
        );
    }

    #[test]
    fn writing_the_same_again_changes_nothing() {
        for old in ["", "port: 1\n", "sentinel:\n- monitor m 10.0.0.1 6379 2\nport: 1\n"] {
            let once = merge(old, &state());
            assert_eq!(merge(&once, &state()), once);
        }
    }

    #[test]
    fn other_forms_become_a_list_with_their_comments() {
        for old in [
            "sentinel:\n  # the one\n  monitor: [\"m 10.0.0.1 6379 2\"]\n  down-after-milliseconds:\n    m: 5000\nport: 1\n",
            "sentinel: {monitor: [\"m 10.0.0.1 6379 2\"],\n  # the one\n  auth-pass: {m: x}}\nport: 1\n",
            "sentinel:\n  # the one\n  - monitor m\n    10.0.0.1 6379 2\nport: 1\n",
        ] {
            let new = merge(old, &state());
            assert!(new.starts_with("sentinel:\n") && new.ends_with("port: 1\n"), "{new}");
            assert!(
                new.contains("  # the one\n") && new.contains("\n  - monitor m 10.0.0.9 6379 2\n"),
                "{new}"
            );
            assert_eq!(merge(&new, &state()), new);
        }
    }

    #[test]
    fn a_scalar_is_replaced_in_its_line() {
        let verbose = line("loglevel", "loglevel verbose");
        assert_eq!(
            merge("loglevel: debug  # loud\nport: 1\n", std::slice::from_ref(&verbose)),
            "loglevel: verbose  # loud\nport: 1\n"
        );
        assert_eq!(
            merge("port: 1\n", &[verbose]),
            "port: 1\n# Generated by CONFIG REWRITE\nloglevel: verbose\n"
        );
    }

    #[test]
    fn what_is_no_longer_state_goes() {
        let old = "sentinel:\n  - auth-pass m x\n  - known-slave m 10.0.0.1 1\n";
        let new = merge(old, &[line("sentinel myid", "sentinel myid x")]);
        assert_eq!(new, "sentinel:\n  # Generated by CONFIG REWRITE\n  - myid x\n");
        assert_eq!(merge("port: 1\nsentinel:\n  - auth-pass m x\n", &[]), "port: 1\n");
    }

    #[test]
    fn a_form_that_is_not_understood_is_refused() {
        for old in ["{port: 1, sentinel: [monitor m 10.0.0.1 6379 2]}\n", "port: 1\n...\n"] {
            let error = rewritten(old, Path::new("s.yaml"), &state()).unwrap_err();
            assert!(error.contains("cannot be rewritten"), "{error}");
        }
    }
}
