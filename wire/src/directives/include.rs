//! Reads configuration files, and the files that they include where they include them.
//!
//! As in Redis, a path is relative to the working directory as it is at that point: that of
//! the process, or the last `dir` directive before. A name with a wildcard may match nothing;
//! a name without one must exist.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use super::error::{os_text, unreadable};
use super::{ConfigError, Directive, parse_text, yaml};

/// Files within files: beyond this, one includes itself or nobody can follow.
const MAX_DEPTH: usize = 16;

/// Reads the directives of `path`, and of what it includes, in order. A name that ends in
/// `.yaml` or `.yml` is YAML, any other `redis.conf` syntax.
///
/// # Errors
/// A file that cannot be read, or the first line that cannot be understood.
pub fn load(path: &Path) -> Result<Vec<Directive>, ConfigError> {
    let directives =
        read(path, path).map_err(|reason| ConfigError::Unreadable { file: path.to_path_buf(), reason })?;
    resolve_includes(directives?)
}

/// Replaces every `include` by what it names.
pub(super) fn resolve_includes(directives: Vec<Directive>) -> Result<Vec<Directive>, ConfigError> {
    let mut resolver = Resolver { working_directory: PathBuf::new(), resolved: Vec::new() };
    resolver.resolve(directives, 0)?;
    Ok(resolver.resolved)
}

/// The outer error is that the file cannot be read, the inner that it cannot be understood.
fn read(path: &Path, shown_as: &Path) -> io::Result<Result<Vec<Directive>, ConfigError>> {
    let text = fs::read(path)?;
    let is_yaml = path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml");
    Ok(if is_yaml { yaml::parse_yaml(&text, shown_as) } else { parse_text(&text, shown_as) })
}

struct Resolver {
    /// What `dir` has said so far; empty while it is the process's own directory.
    working_directory: PathBuf,
    resolved: Vec<Directive>,
}

impl Resolver {
    fn resolve(&mut self, directives: Vec<Directive>, depth: usize) -> Result<(), ConfigError> {
        for directive in directives {
            match (directive.name.as_str(), directive.args.as_slice()) {
                ("include", [pattern]) => self.include(&directive, pattern, depth)?,
                ("include", _) => return Err(directive.error("wrong number of arguments")),
                (name, args) => {
                    if let ("dir", [path]) = (name, args) {
                        self.working_directory.push(Path::new(std::ffi::OsStr::from_bytes(path)));
                    }
                    self.resolved.push(directive);
                }
            }
        }
        Ok(())
    }

    fn include(&mut self, directive: &Directive, pattern: &[u8], depth: usize) -> Result<(), ConfigError> {
        if depth == MAX_DEPTH {
            return Err(directive.error(format!("include nested more than {MAX_DEPTH} files deep")));
        }
        for file in self.files(directive, pattern)? {
            let directives =
                read(&file, &file).map_err(|reason| directive.error(unreadable(&file, &reason)))??;
            self.resolve(directives, depth + 1)?;
        }
        Ok(())
    }

    /// The files that `pattern` names, in alphabetical order.
    fn files(&self, directive: &Directive, pattern: &[u8]) -> Result<Vec<PathBuf>, ConfigError> {
        let name = Path::new(std::ffi::OsStr::from_bytes(pattern));
        if !pattern.iter().any(|byte| b"*?[".contains(byte)) {
            return Ok(vec![self.working_directory.join(name)]);
        }
        let Some(pattern) = name.to_str() else {
            return Err(directive.error("a wildcard in a file name that is not UTF-8"));
        };
        let directory = self.working_directory.to_string_lossy();
        let pattern = Path::new(&glob::Pattern::escape(&directory)).join(pattern);
        let paths = glob::glob(&pattern.to_string_lossy()).map_err(|e| directive.error(e.to_string()))?;
        paths
            .map(|path| {
                path.map_err(|error| {
                    let text = os_text(error.error());
                    directive.error(format!("cannot list '{}': {text}", error.path().display()))
                })
            })
            .collect()
    }
}
