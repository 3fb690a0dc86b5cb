//! Configuration: one row per directive, read once into a typed struct.
//!
//! [`Config`] is plain data. It is loaded from a list of directives ([`Config::load`]), printed for
//! `CONFIG GET` ([`Config::show`]), changed as a whole for `CONFIG SET` ([`Config::change`]) and
//! written back into the text it came from for `CONFIG REWRITE` ([`Config::rewrite`]). All four run
//! over the same rows (`table.rs` for the directives that this version acts on, `fixed.rs` for
//! those of Redis 7.2 that it does not), so a directive is described in one place.
//!
//! Nothing here does I/O: opening ports, changing the directory and replacing the file are
//! the server's, which compares the old struct with the new one.

mod change;
mod choices;
mod codec;
mod fixed;
mod rewrite;
mod row;
mod special;
mod table;
#[cfg(test)]
mod tests;

pub use change::{Change, ChangeError, Circumstances};
pub use choices::*;
pub use codec::{Choice, Secret};
pub use rewrite::Rewriter;
pub use row::{Binding, Deviation, Line, Row, Rules, Source, Standing, ValueError};
pub use special::{KeyspaceEvents, MasterAddress, OutputLimit, OutputLimits, SavePoint, ShutdownOptions};
pub use table::Config;

use redoubt_wire::directives::{ConfigError, Directive};
use redoubt_wire::glob::glob_match;
use redoubt_wire::quoting::split;
use std::collections::HashSet;

/// Every row: first the directives that this version acts on, then those it does not.
pub fn rows() -> impl Iterator<Item = &'static Row> {
    table::LIVE.iter().chain(fixed::FIXED)
}

/// The row that `name`, in any case and by its older name too, stands for.
pub fn row(name: &[u8]) -> Option<&'static Row> {
    rows().find(|row| row.is_named(name))
}

/// Whether the value of directive `name` is a secret, so that SLOWLOG and MONITOR must not show it.
pub fn is_sensitive(name: &[u8]) -> bool {
    row(name).is_some_and(|row| row.rules.has(Rules::SENSITIVE))
}

/// The lines of CONFIG HELP between the header and the footer that every HELP has.
pub const CONFIG_HELP: &[&str] = &[
    "GET <pattern> [<pattern> ...]",
    "    Show the directives whose names match, with their values.",
    "SET <directive> <value> [<directive> <value> ...]",
    "    Change directives: all of them or, if one value is bad, none.",
    "RESETSTAT",
    "    Set the counters that INFO shows back to zero.",
    "REWRITE",
    "    Write the configuration in force into its file.",
];

/// A configuration as loaded, and what the operator should know about it.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The `user` lines, for whoever knows the rules of users.
    pub users: Vec<Directive>,
    /// One line for each directive that was taken but has no effect: to be logged as warnings.
    pub warnings: Vec<String>,
}

/// Lines of a file that are no directives with a value, and why this version refuses them.
const REFUSED_LINES: &[(&str, &str)] = &[
    ("rename-command", "commands can't be renamed in this version"),
    ("loadmodule", "modules are not supported"),
    ("sentinel", "sentinel directive while not in sentinel mode"),
];

impl Config {
    /// Reads a configuration from directives, in their order.
    ///
    /// # Errors
    /// The first directive that is unknown, has a value that it can't have, or asks for something
    /// that this version lacks and that would be unsafe to leave out.
    pub fn load(directives: &[Directive]) -> Result<Loaded, ConfigError> {
        let mut loaded = Loaded { config: Config::default(), users: Vec::new(), warnings: Vec::new() };
        let mut seen = HashSet::new();
        for directive in directives {
            let name = directive.name.as_bytes();
            if name == b"user" {
                loaded.users.push(directive.clone());
                continue;
            }
            let Some(row) = row(name) else {
                let refused = REFUSED_LINES.iter().find(|(line, _)| line.as_bytes() == name);
                let why = refused.map_or("Bad directive or wrong number of arguments", |(_, why)| why);
                return Err(directive.error(why));
            };
            let first = seen.insert(row.name);
            loaded
                .take(row, directive, Source::File { first })
                .map_err(|e| directive.error(e.to_string()))?;
        }
        Ok(loaded)
    }

    /// Name and value of each directive that a `CONFIG GET` with these patterns shows.
    ///
    /// A pattern without `[`, `*` and `?` names one directive, which is then shown under the name as
    /// it was typed; others are matched in any case against names and older names.
    pub fn show(&self, patterns: &[&[u8]]) -> Vec<(Vec<u8>, Vec<u8>)> {
        let mut shown: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
        let mut names = HashSet::new();
        for pattern in patterns {
            let mut show = |name: &[u8], row: &Row| {
                if names.insert(name.to_ascii_lowercase()) {
                    shown.push((name.to_vec(), row.show(self)));
                }
            };
            if !pattern.iter().any(|b| b"[*?".contains(b)) {
                if let Some(row) = row(pattern) {
                    show(pattern, row);
                }
                continue;
            }
            for row in rows().filter(|row| !row.rules.has(Rules::HIDDEN)) {
                for name in row.names().filter(|name| glob_match(pattern, name.as_bytes(), true)) {
                    show(name.as_bytes(), row);
                }
            }
        }
        shown
    }
}

impl Loaded {
    /// Takes one directive over.
    fn take(&mut self, row: &Row, directive: &Directive, source: Source) -> Result<(), ValueError> {
        let args: Vec<&[u8]> = directive.args.iter().map(Vec::as_slice).collect();
        row.check_count(&args)?;
        match &row.standing {
            Standing::Live(binding) => {
                // One quoted argument may hold them all: `save "60 1"`, as command lines pass it.
                if let ([one], true) = (args.as_slice(), row.rules.has(Rules::MULTI_ARG))
                    && !one.is_empty()
                {
                    let words = split(one)
                        .map_err(|_| ValueError::from("Unbalanced quotes in configuration line"))?;
                    let words: Vec<&[u8]> = words.iter().map(Vec::as_slice).collect();
                    return binding.set(&mut self.config, &words, source);
                }
                binding.set(&mut self.config, &args, source)
            }
            Standing::Fixed { deviation, why, .. } => match (row.is_fixed_at(&args), deviation) {
                (true, _) => Ok(()),
                (false, Deviation::Warn) => {
                    self.warnings.push(format!("{} has no effect: {why}", directive.name));
                    Ok(())
                }
                (false, Deviation::Refuse) => Err(row.refusal(why)),
            },
        }
    }
}
