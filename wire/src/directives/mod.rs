//! Configuration as a list of directives: a name and its arguments.
//!
//! The same list comes out of `redis.conf` and `sentinel.conf` files, of [YAML](self::yaml)
//! files, of standard input, and of [command-line options](CommandLine). What a directive
//! means, how many arguments it takes and which may be repeated is for the program that reads
//! the list; so is the rule that a later directive replaces an earlier one of the same name.
//! Only `include` is resolved here.

mod command_line;
mod error;
mod include;
mod memory;
pub mod yaml;

use std::path::Path;
use std::sync::Arc;

pub use command_line::CommandLine;
pub use error::ConfigError;
pub(crate) use error::os_text;
pub use include::load;
pub use memory::{memory, memory_text};

use crate::quoting::{quote, split};

/// Where a directive stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The file as it was named, or `<stdin>` or `<command line>`.
    pub file: Arc<Path>,
    /// The line in it, from 1.
    pub line: usize,
}

/// A name, its arguments, and where they were read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The first word, in lower case.
    pub name: String,
    /// The other words, unquoted.
    pub args: Vec<Vec<u8>>,
    /// Where it stands.
    pub origin: Origin,
    /// The line as it stands there, without the blanks around it.
    pub raw: String,
}

impl Directive {
    /// The error that this directive is, with `message` saying why.
    pub fn error(&self, message: impl Into<String>) -> ConfigError {
        ConfigError::Line {
            origin: self.origin.clone(),
            line_text: self.raw.clone(),
            message: message.into(),
        }
    }

    /// The directive as a line of `redis.conf`, without a line end.
    pub fn to_line(&self) -> String {
        let args = self.args.iter().map(|arg| quote(arg));
        std::iter::once(quote(self.name.as_bytes())).chain(args).collect::<Vec<_>>().join(" ")
    }
}

/// Splits the text of a `redis.conf` into directives. `include` is one of them: see [`load`].
///
/// # Errors
/// A line whose quotes are unbalanced.
pub fn parse_text(text: &[u8], file: &Path) -> Result<Vec<Directive>, ConfigError> {
    let file: Arc<Path> = file.into();
    let mut directives = Vec::new();
    for (index, line) in text.split(|&byte| byte == b'\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() || line.starts_with(b"#") {
            continue;
        }
        let origin = Origin { file: file.clone(), line: index + 1 };
        let raw = String::from_utf8_lossy(line).into_owned();
        let mut words = match split(line) {
            Ok(words) => words.into_iter(),
            Err(_) => {
                let message = "Unbalanced quotes in configuration line".into();
                return Err(ConfigError::Line { origin, line_text: raw, message });
            }
        };
        if let Some(name) = words.next() {
            let name = String::from_utf8_lossy(&name).to_lowercase();
            directives.push(Directive { name, args: words.collect(), origin, raw });
        }
    }
    Ok(directives)
}

#[cfg(test)]
mod tests;
