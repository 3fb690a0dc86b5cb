//! Users and the outside: those that a node starts with, the ACL file, and secrets.

use std::io;
use std::path::Path;

use rand::RngCore;
use redoubt_wire::acl::{Users, answers};
use redoubt_wire::directives::Directive;
use redoubt_wire::replace::{Recovered, recover, replace};
use redoubt_wire::{notice, warning};

use super::shared::Shared;
use crate::config::Config;
use crate::engine::acl::{CATALOG, all_channels, requirepass};
use crate::engine::session::ClientId;

/// The users that a node starts with: those of its `user` lines, or of its ACL file.
///
/// # Errors
/// The line or the file that can't be taken over, and why; or that there are both.
pub fn users_at_start(config: &Config, lines: &[Directive]) -> Result<Users, String> {
    if config.aclfile.is_some() && !lines.is_empty() {
        return Err(answers::FILE_AND_LINES.into());
    }
    let words = lines.iter().map(|line| line.args.as_slice());
    let users = Users::from_lines(&CATALOG, all_channels(config), requirepass(config), words);
    let mut users = users.map_err(|(at, why)| format!("\n{}", lines[at].error(why)))?;
    if let Some(file) = &config.aclfile {
        let loaded = read(file).and_then(|text| users.load(&text, &file.to_string_lossy()));
        loaded.map_err(|errors| format!("Aborting Redis startup because of ACL errors: {errors}"))?;
    }
    Ok(users)
}

/// Tells what may be a mistake in how users are configured.
pub fn warn_of(config: &Config, users: &Users) {
    if config.aclfile.is_some() {
        if config.requirepass.is_some() {
            warning!("requirepass has no effect: the users are those of aclfile, the default one included");
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

/// The text of the ACL file; what interrupted its last rewrite is finished first.
fn read(file: &Path) -> Result<Vec<u8>, String> {
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

impl Shared {
    /// ACL LOAD by `client`.
    ///
    /// # Errors
    /// Why nothing was loaded.
    pub(super) fn load_users(&self, client: ClientId, file: &Path) -> Result<(), String> {
        let text = read(file)?;
        let mut core = self.lock();
        let result = core.engine.load_users(client, &text, &file.to_string_lossy());
        // The connections of users that are gone are closed by it; nothing is in the stream.
        let _ = self.deliver(&mut core);
        result
    }
}

/// ACL SAVE; why it fails is in the log.
pub(super) fn save_users(file: &Path, text: &[u8]) -> Result<(), &'static str> {
    replace(file, text).map(drop).map_err(|error| {
        warning!("ACL SAVE: {}: {error}", file.display());
        answers::NOT_SAVED
    })
}

/// ACL GENPASS: so many hexadecimal digits that nobody can guess.
pub(super) fn new_password(digits: usize) -> String {
    let mut random = vec![0; digits.div_ceil(2)];
    rand::rng().fill_bytes(&mut random);
    answers::password(&random, digits)
}
