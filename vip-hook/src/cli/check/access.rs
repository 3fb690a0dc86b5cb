//! What another user may do with a file, by the mode bits of it and of the folders above it.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A user with its groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct User {
    pub(super) uid: u32,
    pub(super) gids: Vec<u32>,
}

impl User {
    /// The user as which a process of this host runs.
    pub(super) fn of_process(pid: u32) -> Option<User> {
        User::from_status(&fs::read_to_string(format!("/proc/{pid}/status")).ok()?)
    }

    /// From /proc/…/status: the effective user and group, and the supplementary groups.
    fn from_status(status: &str) -> Option<User> {
        let numbers = |field: &str| -> Option<Vec<u32>> {
            let line = status.lines().find_map(|line| line.strip_prefix(field))?;
            line.split_whitespace().map(|word| word.parse().ok()).collect()
        };
        let uid = *numbers("Uid:")?.get(1)?;
        let mut gids = vec![*numbers("Gid:")?.get(1)?];
        gids.extend(numbers("Groups:")?);
        Some(User { uid, gids })
    }

    /// The three bits of a mode that count for this user.
    fn bits(&self, uid: u32, gid: u32, mode: u32) -> u32 {
        if self.uid == uid {
            mode >> 6 & 7
        } else if self.gids.contains(&gid) {
            mode >> 3 & 7
        } else {
            mode & 7
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "uid {}", self.uid)
    }
}

/// Whether a user may execute a program.
pub(super) fn may_execute(user: &User, path: &Path) -> Result<(), String> {
    let mode = fs::metadata(path).map_err(|e| e.to_string())?.mode();
    if mode & 0o111 == 0 {
        return Err(format!("nobody may: chmod +x {}", path.display()));
    }
    may(user, path, 1, "executed")
}

/// Whether a user may read a file.
pub(super) fn may_read(user: &User, path: &Path) -> Result<(), String> {
    may(user, path, 4, "read")
}

/// Whether a user may write to a file, or connect to a socket.
pub(super) fn may_write(user: &User, path: &Path) -> Result<(), String> {
    may(user, path, 2, "written to")
}

fn may(user: &User, path: &Path, bit: u32, what: &str) -> Result<(), String> {
    // To root all files are open, and every program that anybody may execute.
    if user.uid == 0 {
        return fs::metadata(path).map(drop).map_err(|e| e.to_string());
    }
    for folder in path.ancestors().skip(1) {
        let found = fs::metadata(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        if user.bits(found.uid(), found.gid(), found.mode()) & 1 == 0 {
            return Err(format!(
                "the folder {} may not be entered by it (mode {:o})",
                folder.display(),
                found.mode() & 0o7777
            ));
        }
    }
    let found = fs::metadata(path).map_err(|e| e.to_string())?;
    if user.bits(found.uid(), found.gid(), found.mode()) & bit == 0 {
        return Err(format!(
            "it may not be {what} by it (mode {:o}, owner {}, group {})",
            found.mode() & 0o7777,
            found.uid(),
            found.gid()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_user_is_read_from_proc() {
        let status = "Name:\tx\nUid:\t7\t8\t9\t10\nGid:\t1\t2\t3\t4\nFDSize:\t64\nGroups:\t5 6 \n";
        assert_eq!(User::from_status(status), Some(User { uid: 8, gids: vec![2, 5, 6] }));
        let own = User::of_process(std::process::id()).unwrap();
        assert_eq!(own.uid, nix::unistd::geteuid().as_raw());
        assert_eq!(User::from_status("Uid:\tx\n"), None);
    }

    #[test]
    fn mode_bits_count_for_owner_group_and_others_in_that_order() {
        let dir = tempfile::tempdir().unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(dir.path(), 0o755);
        let file = dir.path().join("hook");
        fs::write(&file, "").unwrap();
        let found = fs::metadata(&file).unwrap();
        let (uid, gid) = (found.uid(), found.gid());
        // Of whom nobody runs these tests.
        let stranger = User { uid: uid + 4242, gids: vec![gid + 4242] };
        let member = User { uid: uid + 4242, gids: vec![gid] };
        set(&file, 0o644);
        assert!(may_execute(&stranger, &file).unwrap_err().contains("chmod +x"));
        set(&file, 0o750);
        assert_eq!(may_execute(&member, &file), Ok(()));
        assert!(may_execute(&stranger, &file).unwrap_err().contains("mode 750"));
        assert!(may_write(&member, &file).unwrap_err().contains("written"));
        assert_eq!(may_read(&member, &file), Ok(()));
        assert!(may_read(&stranger, &file).unwrap_err().contains("read by it (mode 750"));
        set(&file, 0o702);
        assert_eq!(may_write(&stranger, &file), Ok(()));
        assert!(may_write(&member, &file).is_err(), "the group's bits count, not the others'");
        set(dir.path(), 0o700);
        assert!(may_execute(&member, &file).unwrap_err().contains("may not be entered"));
        assert!(may_write(&stranger, &dir.path().join("none")).is_err());
    }
}
