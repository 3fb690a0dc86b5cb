//! RDB files on disk: written under a temporary name, synced, and renamed, so that the file of that name is
//! always a whole one.

use super::error::RdbError;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// With incremental syncing, how many bytes may wait in the page cache.
const SYNC_EVERY_BYTES: u64 = 4 << 20;

/// How to bring a file to disk.
#[derive(Debug, Clone)]
pub struct FileOptions {
    /// Whether to sync every 4 MiB, so that the last sync has little left to do and other I/O is not held up
    /// (`rdb-save-incremental-fsync`).
    pub incremental_fsync: bool,
}

impl Default for FileOptions {
    fn default() -> Self {
        FileOptions { incremental_fsync: true }
    }
}

/// A file being written. Dropped before [`RdbFileWriter::finish`], it takes the temporary file with it.
pub struct RdbFileWriter {
    file: File,
    dir: PathBuf,
    temp: TempFile,
    incremental_fsync: bool,
    written: u64,
    synced: u64,
}

/// A file that vanishes with its owner, unless it was given its final name.
struct TempFile {
    path: PathBuf,
    renamed: bool,
}

impl Drop for TempFile {
    fn drop(&mut self) {
        if !self.renamed {
            // It may be gone already, and nobody is left to tell if it cannot be removed.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl RdbFileWriter {
    /// Opens `temp-<pid>.rdb` in `dir`, overwriting one that an earlier process left behind.
    ///
    /// # Errors
    ///
    /// [`RdbError::Io`] if it cannot be created.
    pub fn create(dir: &Path, options: &FileOptions) -> Result<Self, RdbError> {
        let path = dir.join(format!("temp-{}.rdb", std::process::id()));
        let file = File::create(&path).map_err(failed("Failed opening the temp RDB file", &path))?;
        Ok(RdbFileWriter {
            file,
            dir: dir.to_path_buf(),
            temp: TempFile { path, renamed: false },
            incremental_fsync: options.incremental_fsync,
            written: 0,
            synced: 0,
        })
    }

    /// Appends `bytes`.
    ///
    /// # Errors
    ///
    /// [`RdbError::Io`]; the file cannot be completed then.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), RdbError> {
        self.file.write_all(bytes).map_err(failed("Write error while saving DB to", &self.temp.path))?;
        self.written += bytes.len() as u64;
        if self.incremental_fsync && self.written - self.synced >= SYNC_EVERY_BYTES {
            self.file.sync_data().map_err(failed("Write error while saving DB to", &self.temp.path))?;
            self.synced = self.written;
        }
        Ok(())
    }

    /// How many bytes have been written.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Syncs the file, gives it the name `name` in its directory, and syncs that. Tells its size in bytes.
    ///
    /// # Errors
    ///
    /// [`RdbError::Io`]. If only the last step failed, the file is in place but may not survive a power loss.
    pub fn finish(mut self, name: &str) -> Result<u64, RdbError> {
        self.file.sync_all().map_err(failed("Write error while saving DB to", &self.temp.path))?;
        let target = self.dir.join(name);
        fs::rename(&self.temp.path, &target)
            .map_err(failed("Error moving temp DB file to the final destination", &target))?;
        self.temp.renamed = true;
        File::open(&self.dir)
            .and_then(|dir| dir.sync_all())
            .map_err(failed("Failed to fsync directory while saving DB:", &self.dir))?;
        Ok(self.written)
    }

    /// Gives up; the temporary file is removed.
    pub fn abort(self) {}
}

/// Makes the error for something that failed with `path`.
pub(super) fn failed(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> RdbError {
    let path = path.to_path_buf();
    move |source| RdbError::Io { doing, path, source }
}
