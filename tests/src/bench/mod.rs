//! Measurements that repeat: failover, a virtual address, watching many masters, speed, memory, pauses; each against peers in the same
//! run.

pub mod failover;
pub mod loadgen;
pub mod memory;
pub mod pauses;
pub mod peers;
pub mod procfs;
pub mod speed;
pub mod table;
pub mod vip;
pub mod watch;

use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::error::{LabError, Result};

/// A Redis-compatible server under the name that the report gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contestant {
    /// Its name in the report.
    pub name: String,
    /// Its program; takes Redis's command-line options.
    pub program: PathBuf,
}

impl std::str::FromStr for Contestant {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once('=') {
            Some((name, path)) if !name.is_empty() && Path::new(path).is_file() => {
                let program = std::path::absolute(path).map_err(|error| format!("{path}: {error}"))?;
                Ok(Contestant { name: name.into(), program })
            }
            Some((_, path)) => Err(format!("there is no program {path}")),
            None => Err("expected NAME=PATH, e.g. redis=/usr/bin/redis-server".into()),
        }
    }
}

/// The middle value; of an even number of values, the mean of the two in the middle.
pub fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    if sorted.len() % 2 == 1 { Some(upper) } else { Some((sorted[sorted.len() / 2 - 1] + upper) / 2.0) }
}

/// Writes results for other programs to read.
pub fn write_json(path: &Path, results: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(results)
        .map_err(|error| LabError::Other(format!("cannot put the results into JSON: {error}")))?;
    std::fs::write(path, text + "\n").map_err(LabError::file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(median([]), None);
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
    }

    #[test]
    fn a_contestant_needs_a_name_and_a_program() {
        assert_eq!("sh=/bin/sh".parse::<Contestant>().unwrap().name, "sh");
        assert!("/bin/sh".parse::<Contestant>().unwrap_err().contains("NAME=PATH"));
        assert!("x=/no/such".parse::<Contestant>().unwrap_err().contains("/no/such"));
    }
}
