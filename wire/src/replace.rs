//! Puts new text in the place of a file that must never be found half written: the
//! configuration that a program rewrites.
//!
//! Usually that is a temporary file beside it, flushed, renamed over it, and the folder
//! flushed, so that there is the old text or the new one whatever happens. Where the file may not be
//! renamed over (it is a mount point, as a single file given into a container is, or stands in
//! a folder with the sticky bit) it is written in place. The flushed temporary file then stays
//! beside it under a name of its own until the writing is done, and [`recover`] finishes at
//! the next start what a crash interrupted.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::os::unix::fs::{FileExt, MetadataExt, fchown};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// How a text came to its place.
#[derive(Debug)]
pub enum Replaced {
    /// As a whole.
    Renamed,
    /// In place, since this kept the file from being renamed over.
    InPlace(io::Error),
}

/// What an interrupted writing in place left behind.
#[derive(Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Where the text went that stood in the file, which may be a mixture of old and new.
    pub found_text: PathBuf,
}

/// Replaces the text of the file at `path`; on disk when this returns. Mode and owner of the
/// file stay.
///
/// # Errors
/// Whatever keeps the file or the one beside it from being written or flushed. The old text is
/// then in place, or else [`recover`] will put the new one there.
pub fn replace(path: &Path, text: &[u8]) -> io::Result<Replaced> {
    let temporary = write_beside(path, text)?;
    match temporary.persist(path) {
        Ok(_) => sync_folder(path).map(|()| Replaced::Renamed),
        Err(refused) if may_be_written_in_place(&refused.error) => {
            let copy = copy_of(path);
            refused.file.persist(&copy).map_err(|e| e.error)?;
            sync_folder(path)?;
            overwrite(path, text)?;
            fs::remove_file(&copy)?;
            Ok(Replaced::InPlace(refused.error))
        }
        Err(refused) => Err(refused.error),
    }
}

/// Finishes a writing in place that was interrupted. To be called before the file is read.
///
/// # Errors
/// Whatever keeps the files from being read or written.
pub fn recover(path: &Path) -> io::Result<Option<Recovered>> {
    let copy = copy_of(path);
    let text = match fs::read(&copy) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let found = fs::read(path)?;
    if found == text {
        fs::remove_file(&copy)?;
        return Ok(None);
    }
    let found_text = sibling(path, "interrupted");
    write_beside(path, &found)?.persist(&found_text).map_err(|e| e.error)?;
    overwrite(path, &text)?;
    fs::remove_file(&copy)?;
    Ok(Some(Recovered { found_text }))
}

/// A flushed file of the same folder, mode and owner that holds `text`.
fn write_beside(path: &Path, text: &[u8]) -> io::Result<NamedTempFile> {
    let mut temporary =
        tempfile::Builder::new().prefix(".rewrite-").suffix(".tmp").tempfile_in(folder(path))?;
    temporary.write_all(text)?;
    let file = temporary.as_file();
    if let Ok(old) = fs::metadata(path) {
        if file.metadata().is_ok_and(|new| (new.uid(), new.gid()) != (old.uid(), old.gid())) {
            // Only root can give a file away; for others it becomes theirs, as with every editor.
            let _ = fchown(file, Some(old.uid()), Some(old.gid()));
        }
        file.set_permissions(old.permissions())?;
    }
    file.sync_all()?;
    Ok(temporary)
}

/// Writes over what is there: in one call, and without leaving a tail of the old text to be read as
/// part of the new one.
fn overwrite(path: &Path, text: &[u8]) -> io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    let old_len = file.metadata()?.len() as usize;
    let mut padded = text.to_vec();
    padded.resize(text.len().max(old_len), b'\n');
    file.write_all_at(&padded, 0)?;
    file.set_len(text.len() as u64)?;
    file.sync_all()
}

/// A mount point, another file system behind the name, or a folder whose files only their owners move.
fn may_be_written_in_place(error: &io::Error) -> bool {
    use ErrorKind::{CrossesDevices, PermissionDenied, ResourceBusy};
    matches!(error.kind(), ResourceBusy | CrossesDevices | PermissionDenied)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(folder(path))?.sync_all()
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The text on its way into the file at `path`.
fn copy_of(path: &Path) -> PathBuf {
    sibling(path, "unfinished")
}

fn sibling(path: &Path, ending: &str) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or(OsStr::new("file")));
    name.push(".");
    name.push(ending);
    folder(path).join(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn folder_with(text: &str) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.conf");
        fs::write(&path, text).unwrap();
        (dir, path)
    }

    fn files_in(dir: &tempfile::TempDir) -> usize {
        fs::read_dir(dir.path()).unwrap().count()
    }

    #[test]
    fn a_file_is_replaced_with_its_mode_and_nothing_stays_beside_it() {
        let (dir, path) = folder_with("old");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(replace(&path, b"new\n").unwrap(), Replaced::Renamed));
        assert_eq!(fs::read(&path).unwrap(), b"new\n");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        assert_eq!(files_in(&dir), 1);
    }

    #[test]
    fn a_folder_in_the_place_of_the_file_is_an_error_and_stays() {
        let (dir, _) = folder_with("old");
        let taken = dir.path().join("taken");
        fs::create_dir(&taken).unwrap();
        assert!(replace(&taken, b"new").is_err());
        assert!(taken.is_dir());
        assert_eq!(files_in(&dir), 2);
    }

    #[test]
    fn text_written_in_place_has_no_tail_of_the_old() {
        let (_dir, path) = folder_with("a long old text\n");
        overwrite(&path, b"short\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short\n");
        overwrite(&path, b"a longer text than that\n").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"a longer text than that\n");
    }

    #[test]
    fn an_interrupted_writing_in_place_is_finished_at_the_next_start() {
        let (dir, path) = folder_with("half new, half o");
        fs::write(copy_of(&path), "all new").unwrap();
        let recovered = recover(&path).unwrap().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"all new");
        assert_eq!(fs::read(&recovered.found_text).unwrap(), b"half new, half o");
        assert_eq!(recover(&path).unwrap(), None);
        assert_eq!(files_in(&dir), 2);
    }

    #[test]
    fn an_interruption_after_the_last_byte_leaves_nothing_to_do() {
        let (dir, path) = folder_with("all new");
        fs::write(copy_of(&path), "all new").unwrap();
        assert_eq!(recover(&path).unwrap(), None);
        assert_eq!(files_in(&dir), 1);
    }
}
