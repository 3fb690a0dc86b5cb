//! The command line of a server, as redis-server takes it: `[file] [-] [--name value …]…`.
//!
//! Options become lines of `redis.conf` that follow the file, so `--port 7000 --save 60 1` is
//! `port 7000` and `save 60 1`. An option's name and value may also be one argument
//! (`--port 7000` in quotes), and a value may itself start with `--` where it is the first
//! after its name. Options that are no directives (`--help`, `--version`) are for the program to
//! take out before.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use super::include::resolve_includes;
use super::{ConfigError, Directive, load, parse_text};
use crate::quoting::{quote_always, split};

/// A command line, taken apart.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// The configuration file: a first argument that does not start with a dash.
    pub config_file: Option<PathBuf>,
    /// Whether `-`, as first or last argument, asks for more directives from standard input.
    pub from_stdin: bool,
    /// The options, as lines of `redis.conf`.
    option_lines: Vec<u8>,
}

impl CommandLine {
    /// Takes `args`, the arguments without the program's name, apart.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Self {
        let args: Vec<Vec<u8>> = args.into_iter().map(OsString::into_vec).collect();
        let mut line = CommandLine::default();
        let mut first_option = 0;
        if let Some(file) = args.first().filter(|arg| !arg.starts_with(b"-")) {
            line.config_file = Some(OsStr::from_bytes(file).into());
            first_option = 1;
        }
        // Whether the last option has its first argument, so that the next may be a new option.
        let mut has_value = true;
        for (index, arg) in args.iter().enumerate().skip(first_option) {
            let next = args.get(index + 1);
            if arg == b"-" && (index == 0 || next.is_none()) {
                line.from_stdin = true;
            } else if has_value && arg.starts_with(b"--") {
                has_value = line.push_name(arg, next);
            } else {
                line.option_lines.extend_from_slice(quote_always(arg).as_bytes());
                line.option_lines.push(b' ');
                has_value = true;
            }
        }
        line
    }

    /// Starts the line of an option; whether it needs no argument of its own any more.
    fn push_name(&mut self, arg: &[u8], next: Option<&Vec<u8>>) -> bool {
        if !self.option_lines.is_empty() {
            self.option_lines.push(b'\n');
        }
        self.option_lines.extend_from_slice(&arg[2..]);
        self.option_lines.push(b' ');
        if split(arg).is_ok_and(|words| words.len() != 1) {
            return true;
        }
        // Two options may be given without a value: `--sentinel` has none, and `--save` without
        // one is what a command line built from an empty list comes to.
        let bare = next.is_none_or(|next| next.starts_with(b"--"));
        if bare && arg.eq_ignore_ascii_case(b"--save") {
            self.option_lines.extend_from_slice(b"\"\"");
        }
        bare && (arg.eq_ignore_ascii_case(b"--save") || arg.eq_ignore_ascii_case(b"--sentinel"))
    }

    /// The directives of the options alone, with `include` not resolved.
    ///
    /// # Errors
    /// An option whose quotes are unbalanced.
    pub fn options(&self) -> Result<Vec<Directive>, ConfigError> {
        parse_text(&self.option_lines, Path::new("<command line>"))
    }

    /// All directives in the order in which they count: file, standard input, options.
    ///
    /// # Errors
    /// What cannot be read, or the first line that cannot be understood.
    pub fn load(&self, stdin: &mut impl Read) -> Result<Vec<Directive>, ConfigError> {
        let mut directives = match &self.config_file {
            Some(file) => load(file)?,
            None => Vec::new(),
        };
        if self.from_stdin {
            let source = Path::new("<stdin>");
            let mut text = Vec::new();
            stdin
                .read_to_end(&mut text)
                .map_err(|reason| ConfigError::Unreadable { file: source.to_path_buf(), reason })?;
            directives.extend(resolve_includes(parse_text(&text, source)?)?);
        }
        directives.extend(resolve_includes(self.options()?)?);
        Ok(directives)
    }
}
