//! Writes the state back into the configuration file.
//!
//! The file stays the user's: comments, the order of lines, and what is not Sentinel's state are
//! kept. A line of the state takes the place of the line it replaces; what is new goes to
//! the end, below a line that says so once. This holds for a `sentinel.conf` and, inside its list of
//! `sentinel` directives, for YAML.

mod conf;
mod merge;
mod yaml;

use std::path::Path;
use std::{fs, io};

use redoubt_wire::replace::{Replaced, replace};

use crate::core::StateLine;

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
