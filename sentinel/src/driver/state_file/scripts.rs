//! The scripts that are still to be run, in a file beside the configuration: `sentinel.conf.scripts`.
//!
//! It is a file of its own since redis-sentinel refuses a configuration with directives that it does not know, and an
//! operator may want to go back to it; it knows nothing of this file and leaves it alone. There is none while no
//! script waits.

use std::ffi::OsString;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use redoubt_wire::replace::{self, replace};

use crate::core::ScriptCall;

const HEAD: &str = "# Scripts that redoubt-sentinel still has to run, one a line. It writes this file, and removes it when there are none.\n";

/// The file. Clones write into the same one, in the order of their numbers.
#[derive(Clone, Debug)]
pub(crate) struct ScriptsFile {
    path: PathBuf,
    written: Arc<Mutex<u64>>,
}

impl ScriptsFile {
    /// The one beside this configuration.
    pub(crate) fn beside(config: &Path) -> Self {
        let mut path = OsString::from(config);
        path.push(".scripts");
        ScriptsFile { path: path.into(), written: Arc::default() }
    }

    /// What it holds, and what of it is no call of a script.
    ///
    /// # Errors
    /// It is there and cannot be read.
    pub(crate) fn load(&self) -> io::Result<(Vec<ScriptCall>, Vec<String>)> {
        let text = match replace::recover(&self.path).and_then(|_| fs::read(&self.path)) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Default::default()),
            other => other?,
        };
        let (mut calls, mut damaged) = (Vec::new(), Vec::new());
        let text = String::from_utf8_lossy(&text);
        for line in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            match ScriptCall::parse(line) {
                Some(call) => calls.push(call),
                None => damaged.push(line.to_string()),
            }
        }
        Ok((calls, damaged))
    }

    /// Puts these calls into it, on disk when this returns; none: removes it. A write with a lower number than
    /// one that is done has come too late and does nothing.
    ///
    /// # Errors
    /// Whatever keeps it from being written, flushed, renamed or removed.
    pub(crate) fn save(&self, number: u64, lines: &[String]) -> io::Result<()> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if number < *written {
            return Ok(());
        }
        *written = number;
        if lines.is_empty() {
            return match fs::remove_file(&self.path) {
                Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
        }
        let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
        replace(&self.path, (HEAD.to_string() + &text).as_bytes()).map(drop)
    }
}
