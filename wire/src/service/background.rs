//! Going to the background, and the file that tells others which process it is.

use std::fs;
use std::path::{Path, PathBuf};

use crate::directives::os_text;
use crate::log::{notice, warning};

/// Where Redis's daemons leave their process id if nothing else is said.
const DEFAULT: &str = "/var/run/redis.pid";

/// Goes on as a process of its own, in a session of its own and with nothing at its standard descriptors. To be called
/// before any thread exists, since it is a fork, and after all that an operator should still be told of.
///
/// # Errors
/// The text says what the system refused.
pub fn daemonize() -> Result<(), String> {
    // Relative paths go on to mean what they meant.
    nix::unistd::daemon(true, false).map_err(|e| format!("Can't run in the background: {}", e.desc()))
}

/// A pid file that this process has written.
#[derive(Debug)]
pub struct PidFile(PathBuf);

impl PidFile {
    /// Writes the file that `pidfile` asks for, or the one that every daemon has. As in Redis, a process whose file
    /// cannot be written serves all the same, and says so in its log.
    pub fn write(wanted: Option<&Path>, is_daemon: bool) -> Option<PidFile> {
        let path = wanted.or(is_daemon.then_some(Path::new(DEFAULT)))?;
        // The working directory may change before it is removed.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        match fs::write(&path, format!("{}\n", std::process::id())) {
            Ok(()) => Some(PidFile(path)),
            Err(error) => {
                warning!("Failed to write PID file: {} ({})", os_text(&error), path.display());
                None
            }
        }
    }

    /// Removes it, at the end.
    pub fn remove(&self) {
        notice!("Removing the pid file.");
        // Somebody else may have.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_there_until_it_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pid");
        let file = PidFile::write(Some(&path), false).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", std::process::id()));
        file.remove();
        assert!(!path.exists());
        assert!(PidFile::write(Some(&dir.path().join("no/such/folder")), true).is_none());
        assert!(PidFile::write(None, false).is_none());
    }
}
