//! `CONFIG SET`: a new configuration as a whole, or none.
//!
//! All pairs are applied to a copy. The server then brings itself into line with the copy (listens
//! elsewhere, changes the directory) and only then adopts it, so there is nothing to roll back
//! here. Error texts and their precedence are those of Redis 7.2.

use super::row::{Row, Rules, Source, Standing, ValueError};
use super::{Config, ProtectedAction, row};

/// What decides, beside the rows, whether a directive may be changed now.
#[derive(Clone, Copy, Debug, Default)]
pub struct Circumstances {
    /// A dataset is being loaded.
    pub loading: bool,
    /// The client is connected from this host.
    pub local_client: bool,
}

/// The outcome of a `CONFIG SET` whose values are all valid.
#[derive(Debug)]
pub struct Change {
    /// The configuration with all of the values.
    pub config: Config,
    /// The rows whose values differ from before, in the order of the command.
    pub rows: Vec<&'static Row>,
}

/// Why a `CONFIG SET` changes nothing. Displays as the error reply, code included.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Names and values do not pair up.
    #[error("ERR syntax error")]
    Syntax,
    /// There is no such directive.
    #[error("ERR Unknown option or number of arguments for CONFIG SET - '{0}'")]
    Unknown(String),
    /// The directive can't be changed while a dataset is being loaded.
    #[error("LOADING Redis is loading the dataset in memory")]
    Loading,
    /// A rule or a value stands against it, or the server could not follow.
    #[error("ERR CONFIG SET failed (possibly related to argument '{name}') - {reason}")]
    Failed {
        /// The directive.
        name: String,
        /// Why.
        reason: ValueError,
    },
}

impl ChangeError {
    /// The error of directive `name`, also for a server that could not follow a change.
    pub fn failed(name: impl AsRef<[u8]>, reason: impl Into<ValueError>) -> Self {
        let name = String::from_utf8_lossy(name.as_ref()).into_owned();
        ChangeError::Failed { name, reason: reason.into() }
    }
}

impl Config {
    /// This configuration with the values of `pairs` (name, value, name, value, …).
    ///
    /// # Errors
    /// The first name that is unknown, not changeable now, or given twice; else the first bad value.
    pub fn change(&self, pairs: &[&[u8]], now: Circumstances) -> Result<Change, ChangeError> {
        let (pairs, []) = pairs.as_chunks::<2>() else { return Err(ChangeError::Syntax) };
        let mut rows: Vec<&'static Row> = Vec::with_capacity(pairs.len());
        for [name, _] in pairs {
            let unknown = || ChangeError::Unknown(String::from_utf8_lossy(name).into_owned());
            let row = row(name).ok_or_else(unknown)?;
            self.check_changeable(row, name, now)?;
            if rows.iter().any(|earlier| std::ptr::eq(*earlier, row)) {
                return Err(ChangeError::failed(name, "duplicate parameter"));
            }
            rows.push(row);
        }
        let mut config = self.clone();
        for (row, [_, value]) in rows.iter().zip(pairs) {
            config.assign(row, value).map_err(|reason| ChangeError::failed(row.name, reason))?;
        }
        rows.retain(|row| row.differs(self, &config));
        Ok(Change { config, rows })
    }

    fn check_changeable(&self, row: &Row, name: &[u8], now: Circumstances) -> Result<(), ChangeError> {
        let protected_allowed = match self.enable_protected_configs {
            ProtectedAction::Yes => true,
            ProtectedAction::Local => now.local_client,
            ProtectedAction::No => false,
        };
        if row.rules.has(Rules::IMMUTABLE) {
            Err(ChangeError::failed(name, "can't set immutable config"))
        } else if row.rules.has(Rules::PROTECTED) && !protected_allowed {
            Err(ChangeError::failed(name, "can't set protected config"))
        } else if row.rules.has(Rules::DENY_LOADING) && now.loading {
            Err(ChangeError::Loading)
        } else {
            Ok(())
        }
    }

    fn assign(&mut self, row: &Row, value: &[u8]) -> Result<(), ValueError> {
        let several: Vec<&[u8]> = match row.rules.has(Rules::MULTI_ARG) {
            true if value.is_empty() => Vec::new(),
            true => value.split(|b| *b == b' ').collect(),
            false => vec![value],
        };
        match &row.standing {
            Standing::Live(binding) => binding.set(self, &several, Source::Command),
            Standing::Fixed { .. } if row.is_fixed_at(&several) => Ok(()),
            Standing::Fixed { why, .. } => Err(row.refusal(why)),
        }
    }
}
