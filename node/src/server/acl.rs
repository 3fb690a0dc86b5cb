//! Users and the outside: those that a node starts with, the ACL file, and secrets.

use std::path::Path;

use rand::RngCore;
use redoubt_wire::acl::answers;
use redoubt_wire::acl::file::{self, Origin};
use redoubt_wire::directives::Directive;
use redoubt_wire::replace::replace;
use redoubt_wire::warning;

use super::shared::Shared;
use crate::config::Config;
use crate::engine::acl::{all_channels, requirepass};
use crate::engine::session::ClientId;

/// Where the users of a node come from, given the `user` lines of its configuration.
pub(super) fn origin<'a>(config: &'a Config, lines: &'a [Directive]) -> Origin<'a> {
    Origin {
        lines,
        file: config.aclfile.as_deref(),
        requirepass: requirepass(config),
        all_channels: all_channels(config),
    }
}

impl Shared {
    /// ACL LOAD by `client`.
    ///
    /// # Errors
    /// Why nothing was loaded.
    pub(super) fn load_users(&self, client: ClientId, file: &Path) -> Result<(), String> {
        let text = file::read(file)?;
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
