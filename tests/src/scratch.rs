//! Directories that vanish with their owner.
//!
//! The command line leaves nothing behind, whatever happens. A test that fails is the
//! one case where the directory is worth more than the tidiness: its logs say why, so
//! a test's directory lies under the target folder and stays when the test panics.

use std::path::{Path, PathBuf};

use crate::error::{LabError, Result};

/// A temporary directory, removed on drop.
#[derive(Debug)]
pub struct Scratch {
    dir: Option<tempfile::TempDir>,
    path: PathBuf,
    keep_on_panic: bool,
}

impl Scratch {
    /// A directory in the system's place for temporary files; stays only if `keep`.
    pub fn new(keep: bool) -> Result<Scratch> {
        let dir = tempfile::Builder::new()
            .prefix("redoubt-lab-")
            .disable_cleanup(keep)
            .tempdir()
            .map_err(LabError::io("cannot make a temporary directory (is TMPDIR writable?)"))?;
        Ok(Scratch { path: dir.path().to_path_buf(), dir: Some(dir), keep_on_panic: false })
    }

    /// A directory for one test under `root` (`env!("CARGO_TARGET_TMPDIR")`); stays, with
    /// its path on stderr, when the test panics.
    pub fn for_test(root: &str) -> Result<Scratch> {
        let dir = tempfile::Builder::new()
            .prefix("lab-")
            .tempdir_in(root)
            .map_err(LabError::file("make a directory in", Path::new(root)))?;
        Ok(Scratch { path: dir.path().to_path_buf(), dir: Some(dir), keep_on_panic: true })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a subdirectory.
    pub fn subdir(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).map_err(LabError::file("create", &path))?;
        Ok(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if self.keep_on_panic
            && std::thread::panicking()
            && let Some(dir) = self.dir.take()
        {
            eprintln!("the servers' files and logs are kept in {}", dir.keep().display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vanishes_with_its_contents() {
        let scratch = Scratch::new(false).unwrap();
        let path = scratch.path().to_path_buf();
        std::fs::write(scratch.subdir("a").unwrap().join("f"), "x").unwrap();
        drop(scratch);
        assert!(!path.exists());
    }

    #[test]
    fn stays_when_asked_to() {
        let scratch = Scratch::new(true).unwrap();
        let path = scratch.path().to_path_buf();
        drop(scratch);
        assert!(path.exists());
        std::fs::remove_dir(&path).unwrap();
    }
}
