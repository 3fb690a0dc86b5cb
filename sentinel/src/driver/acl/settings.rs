//! The directives about users.

use std::path::PathBuf;

use redoubt_wire::directives::Directive;

/// What the configuration says about users.
#[derive(Debug)]
pub struct Settings {
    /// `aclfile`: the file with all users, if that is where they are.
    pub file: Option<PathBuf>,
    /// `acl-pubsub-default`: new users begin with all channels.
    pub all_channels: bool,
    /// `acllog-max-len`: entries that the log of denials keeps.
    pub log_limit: usize,
    /// The `user` lines.
    pub lines: Vec<Directive>,
}

impl Default for Settings {
    fn default() -> Self {
        Settings { file: None, all_channels: false, log_limit: 128, lines: Vec::new() }
    }
}

impl Settings {
    /// Takes one of these directives; whether it is one.
    ///
    /// # Errors
    /// What is wrong with its arguments.
    pub(in crate::driver) fn apply(&mut self, directive: &Directive) -> Result<bool, String> {
        let args: Vec<&[u8]> = directive.args.iter().map(Vec::as_slice).collect();
        match (directive.name.as_str(), args.as_slice()) {
            ("user", _) => self.lines.push(directive.clone()),
            ("aclfile", [path]) => {
                let path = String::from_utf8_lossy(path).into_owned();
                self.file = (!path.is_empty()).then(|| path.into());
            }
            ("acl-pubsub-default", [word]) if word.eq_ignore_ascii_case(b"allchannels") => {
                self.all_channels = true;
            }
            ("acl-pubsub-default", [word]) if word.eq_ignore_ascii_case(b"resetchannels") => {
                self.all_channels = false;
            }
            ("acl-pubsub-default", [_]) => {
                return Err("argument(s) must be one of the following: allchannels, resetchannels".into());
            }
            ("acllog-max-len", [limit]) => {
                let limit = std::str::from_utf8(limit).ok().and_then(|text| text.parse().ok());
                self.log_limit = limit.ok_or("argument couldn't be parsed into an integer")?;
            }
            ("aclfile" | "acl-pubsub-default" | "acllog-max-len", _) => {
                return Err("wrong number of arguments".into());
            }
            _ => return Ok(false),
        }
        Ok(true)
    }
}
