//! The users that a program starts with, and its ACL file. The one part of the rules that does I/O.

use std::io;
use std::path::Path;

use super::catalog::Catalog;
use super::users::Users;
use crate::directives::Directive;
use crate::replace::{Recovered, recover};
use crate::{notice, warning};

/// Where the users of a program come from.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The `user` lines of its configuration.
    pub lines: &'a [Directive],
    /// `aclfile`.
    pub file: Option<&'a Path>,
    /// `requirepass`.
    pub requirepass: Option<&'a [u8]>,
    /// `acl-pubsub-default allchannels`.
    pub all_channels: bool,
}

impl Origin<'_> {
    /// The users of the lines, or of the file; with neither, the default user alone.
    ///
    /// # Errors
    /// The line or the file that can't be taken over, and why; or that there are both.
    pub fn users(&self, catalog: &'static Catalog) -> Result<Users, String> {
        if self.file.is_some() && !self.lines.is_empty() {
            return Err("Configuring Redis with users defined in redis.conf and at the same setting an ACL file path is invalid. This setup is very likely to lead to configuration errors and security holes, please define either an ACL file or declare users directly in your redis.conf, but not both.".into());
        }
        let words = self.lines.iter().map(|line| line.args.as_slice());
        let users = Users::from_lines(catalog, self.all_channels, self.requirepass, words);
        let mut users = users.map_err(|(at, why)| self.lines[at].error(why).to_string())?;
        if let Some(file) = self.file {
            let loaded = read(file).and_then(|text| users.load(&text, &file.to_string_lossy()));
            loaded.map_err(|errors| format!("Aborting Redis startup because of ACL errors: {errors}"))?;
        }
        Ok(users)
    }

    /// Logs what may be a mistake about these users.
    pub fn warn(&self, users: &Users) {
        if self.file.is_some() {
            if self.requirepass.is_some() {
                warning!("requirepass has no effect: all users, the default one too, are those of aclfile");
            }
            return;
        }
        for user in users.iter().filter(|user| !user.is_enabled()) {
            notice!(
                "The user '{}' is disabled (there is no 'on' modifier in the user description). Make sure this is not a configuration error.",
                user.shown_name()
            );
        }
    }
}

/// The text of an ACL file. What interrupted its last rewrite is finished first.
///
/// # Errors
/// Why it can't be read.
pub fn read(file: &Path) -> Result<Vec<u8>, String> {
    let told = |error: io::Error| format!("Error loading ACLs, opening file '{}': {error}", file.display());
    if let Some(Recovered { found_text }) = recover(file).map_err(told)? {
        warning!(
            "Finished an interrupted ACL SAVE of {}. What stood there is kept as {}",
            file.display(),
            found_text.display()
        );
    }
    std::fs::read(file).map_err(told)
}
