//! Why a configuration cannot be used, in the shape that Redis prints.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::Origin;
use crate::REDIS_VERSION;

/// Why a configuration cannot be used. What it displays is meant for standard error as it is.
#[derive(Debug)]
pub enum ConfigError {
    /// The configuration file itself cannot be read.
    Unreadable {
        /// The file as it was named.
        file: PathBuf,
        /// Why.
        reason: io::Error,
    },
    /// A line cannot be understood or its value cannot be used.
    Line {
        /// Where it stands.
        origin: Origin,
        /// The line, without the blanks around it.
        line_text: String,
        /// What is wrong with it.
        message: String,
    },
    /// The directives contradict each other, so that no single line is to blame.
    Whole {
        /// What is wrong.
        message: String,
    },
}

impl std::error::Error for ConfigError {}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let header = format!("*** FATAL CONFIG FILE ERROR (Redis {REDIS_VERSION}) ***");
        match self {
            ConfigError::Unreadable { file, reason } => f.write_str(&unreadable(file, reason)),
            ConfigError::Line { origin, line_text, message } => {
                let Origin { file, line } = origin;
                let file = file.display();
                write!(f, "{header}\nReading the configuration file, at line {line} of {file}\n")?;
                write!(f, ">>> '{line_text}'\n{message}")
            }
            ConfigError::Whole { message } => write!(f, "{header}\n{message}"),
        }
    }
}

/// The text for a file that cannot be opened.
pub(super) fn unreadable(file: &Path, reason: &io::Error) -> String {
    format!("Fatal error, can't open config file '{}': {}", file.display(), os_text(reason))
}

/// The system's text of an error, without the number that std appends to it.
pub(crate) fn os_text(error: &io::Error) -> String {
    let text = error.to_string();
    match text.split_once(" (os error") {
        Some((text, _)) => text.to_string(),
        None => text,
    }
}
