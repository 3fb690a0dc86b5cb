//! Writes the state back into the configuration file.
//!
//! The file stays the user's: comments, the order of lines, and what is not Sentinel's state are
//! kept. A line of the state takes the place of the line it replaces; what is new goes to
//! the end, below a line that says so once. This holds for a `sentinel.conf` and, inside its list of
//! `sentinel` directives, for YAML.

mod conf;
mod merge;
mod scripts;
mod yaml;

use std::path::Path;
use std::{fs, io};

use redoubt_wire::replace::{Replaced, replace};

use crate::core::StateLine;
pub(crate) use scripts::ScriptsFile;

/// Merges `lines` into the file at `path`, on disk when this returns.
///
/// # Errors
/// Whatever keeps the file from being read, understood, written, flushed or renamed.
pub(crate) fn save(path: &Path, lines: &[StateLine]) -> io::Result<Replaced> {
    let old = fs::read(path)?;
    let new = merged(path, &old, lines).map_err(|text| io::Error::new(io::ErrorKind::InvalidData, text))?;
    replace(path, &new)
}

/// Why the state could not be merged into the file as it is, if so.
///
/// # Errors
/// The file cannot be read, or is YAML of a form that is not rewritten.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    let old = fs::read(path).map_err(|e| e.to_string())?;
    let probe = StateLine {
        key: "sentinel current-epoch".into(),
        text: "sentinel current-epoch 0".into(),
        only_if_present: false,
    };
    merged(path, &old, &[probe]).map(drop)
}

fn merged(path: &Path, old: &[u8], lines: &[StateLine]) -> Result<Vec<u8>, String> {
    if path.extension().is_some_and(|e| e == "yaml" || e == "yml") {
        let old = std::str::from_utf8(old).map_err(|e| e.to_string())?;
        yaml::rewritten(old, path, lines).map(String::into_bytes)
    } else {
        Ok(conf::rewritten(old, lines))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redoubt_wire::directives::Directive;
    use redoubt_wire::directives::parse_text;
    use redoubt_wire::directives::yaml::parse_yaml;
    use redoubt_wire::quoting::quote;

    use super::*;

    /// A word of those that are most likely to be taken for something else, or any other.
    fn word() -> impl Strategy<Value = String> {
        let odd = "[-#:'\"{}\\[\\],&*!|>%@`~?= \\\\\\n\\t0-9a-zü]{1,12}";
        prop_oneof![odd.prop_map(String::from), any::<String>().prop_filter("not empty", |w| !w.is_empty())]
    }

    fn read(text: &[u8], path: &Path) -> Vec<Directive> {
        let yaml = path.extension().is_some_and(|e| e == "yaml");
        if yaml { parse_yaml(text, path) } else { parse_text(text, path) }.expect("what was written is read")
    }

    proptest! {
        #[test]
        fn whatever_the_words_are_they_come_back(words in prop::collection::vec(word(), 3)) {
            let lines: Vec<StateLine> = [("auth-pass", &words[0]), ("notification-script", &words[1])]
                .map(|(option, value)| StateLine {
                    key: format!("sentinel {option} {}", words[2]),
                    text: ["sentinel", option, &words[2], value].map(|w| quote(w.as_bytes())).join(" "),
                    only_if_present: false,
                })
                .to_vec();
            let of_state = |text: &[u8], path: &Path| -> Vec<Vec<Vec<u8>>> {
                let directives = read(text, path).into_iter().filter(|d| d.name == "sentinel");
                directives.map(|d| d.args).collect()
            };
            let expected: Vec<Vec<Vec<u8>>> = [("auth-pass", &words[0]), ("notification-script", &words[1])]
                .map(|(option, value)| [option, &words[2], value].map(|w| w.as_bytes().to_vec()).to_vec())
                .to_vec();
            for path in ["s.conf", "s.yaml"].map(Path::new) {
                let old = if path.ends_with("s.conf") { "port 1\n# mine\n" } else { "port: 1\n# mine\n" };
                let once = merged(path, old.as_bytes(), &lines).expect("it can be written");
                prop_assert_eq!(&of_state(&once, path), &expected);
                prop_assert!(once.starts_with(old.as_bytes()));
                let again = merged(path, &once, &lines).expect("it can be written");
                prop_assert_eq!(again, once, "the same state changes nothing");
            }
        }
    }
}
