//! Small files that change as a whole or not at all.

use std::io::Write;
use std::path::{Path, PathBuf};

/// Writes beside the file, syncs, and renames; the file's mode stays.
///
/// # Errors
/// Of the file system. If only the last step failed, the file is in place but may not survive a
/// power loss.
pub fn replace(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty());
    let dir = parent.map_or_else(|| PathBuf::from("."), Path::to_path_buf);
    let mut temp = tempfile::NamedTempFile::new_in(&dir)?;
    temp.write_all(bytes)?;
    if let Ok(metadata) = std::fs::metadata(file) {
        temp.as_file().set_permissions(metadata.permissions())?;
    }
    temp.as_file().sync_all()?;
    temp.persist(file).map_err(|e| e.error)?;
    std::fs::File::open(&dir)?.sync_all()
}
