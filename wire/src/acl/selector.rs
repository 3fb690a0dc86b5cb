//! A selector: commands, and the keys and channels that they may touch.
//!
//! Every user has a root selector and may have more. A call is allowed if one selector alone allows
//! all of it; what two of them allow does not add up.

use super::catalog::Catalog;
use super::check::{Call, Denied, KeyUse};
use super::command_rules::CommandRules;
use super::rule::{RuleError, SelectorRule};
use crate::bits;
use crate::glob::glob_match;
use crate::quoting::quote_always;

bits! {
    /// What is done with a key.
    pub struct Access(u8) {
        /// Its value is read.
        READ = 0,
        /// Its value is changed.
        WRITE = 1,
    }
}

impl Access {
    /// Reading and writing.
    pub const BOTH: Access = Access::READ.with(Access::WRITE);
}

/// A pattern of keys, and the access to them that it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPattern {
    /// A glob pattern without blanks.
    pub pattern: Vec<u8>,
    /// Reading, writing, or both.
    pub access: Access,
}

impl KeyPattern {
    /// The pattern as a rule.
    fn word(&self) -> Vec<u8> {
        let prefix = match (self.access.has(Access::READ), self.access.has(Access::WRITE)) {
            (true, false) => &b"%R~"[..],
            (false, true) => b"%W~",
            _ => b"~",
        };
        [prefix, &self.pattern].concat()
    }
}

/// All of a kind, or what some patterns match.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Allowed<P> {
    All,
    Matching(Vec<P>),
}

impl<P> Allowed<P> {
    const NONE: Allowed<P> = Allowed::Matching(Vec::new());

    fn is_all(&self) -> bool {
        matches!(self, Allowed::All)
    }

    fn patterns(&self) -> &[P] {
        match self {
            Allowed::All => &[],
            Allowed::Matching(patterns) => patterns,
        }
    }
}

/// Commands, and the keys and channels that they may touch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selector {
    commands: CommandRules,
    keys: Allowed<KeyPattern>,
    channels: Allowed<Vec<u8>>,
}

impl Selector {
    /// Allows nothing, but with `all_channels` every channel.
    pub(super) fn new(catalog: &Catalog, all_channels: bool) -> Selector {
        let channels = if all_channels { Allowed::All } else { Allowed::NONE };
        Selector { commands: CommandRules::none(catalog), keys: Allowed::NONE, channels }
    }

    /// Takes over a rule.
    ///
    /// # Errors
    /// A pattern that adds nothing, since everything is allowed already.
    pub(super) fn apply(&mut self, catalog: &Catalog, rule: &SelectorRule) -> Result<(), RuleError> {
        match rule {
            SelectorRule::AllKeys => self.keys = Allowed::All,
            SelectorRule::ResetKeys => self.keys = Allowed::NONE,
            SelectorRule::Keys(pattern) => self.add_keys(pattern)?,
            SelectorRule::AllChannels => self.channels = Allowed::All,
            SelectorRule::ResetChannels => self.channels = Allowed::NONE,
            SelectorRule::Channels(pattern) => match &mut self.channels {
                Allowed::All => return Err(RuleError::ChannelsAfterAll),
                Allowed::Matching(patterns) if patterns.contains(pattern) => {}
                Allowed::Matching(patterns) => patterns.push(pattern.clone()),
            },
            SelectorRule::AllCommands(_)
            | SelectorRule::Command { .. }
            | SelectorRule::FirstArg { .. }
            | SelectorRule::Category { .. } => self.commands.apply(catalog, rule),
        }
        Ok(())
    }

    /// One pattern more, or more access by one that is there. Both kinds of access to `*` are all
    /// keys, however they were given: as a pattern beside others they would be described by words that
    /// could not be read back.
    fn add_keys(&mut self, new: &KeyPattern) -> Result<(), RuleError> {
        let Allowed::Matching(patterns) = &mut self.keys else { return Err(RuleError::KeysAfterAll) };
        match patterns.iter_mut().find(|old| old.pattern == new.pattern) {
            Some(old) => old.access = old.access.with(new.access),
            None => patterns.push(new.clone()),
        }
        if patterns.iter().any(|p| p.pattern == b"*" && p.access == Access::BOTH) {
            self.keys = Allowed::All;
        }
        Ok(())
    }

    /// Whether every call is allowed.
    pub(super) fn allows_everything(&self) -> bool {
        self.commands.allow_all() && self.keys.is_all() && self.channels.is_all()
    }

    /// Checks a call; `keys` are those that it touches, found when they are first asked for.
    pub(super) fn check<'k>(
        &self,
        call: &Call<'_>,
        keys: impl FnOnce() -> &'k [KeyUse],
    ) -> Result<(), Denied> {
        if !call.before_login && !self.commands.allow(call.command, call.words) {
            return Err(Denied::Command);
        }
        if !self.keys.is_all() {
            let denied = |key: &&KeyUse| !self.allows_key(call.words[key.position], key.access);
            if let Some(key) = keys().iter().find(denied) {
                return Err(Denied::Key(key.position));
            }
        }
        if !self.channels.is_all() {
            let denied = |at: &usize| !self.allows_channel(call.words[*at], call.channels.are_patterns);
            if let Some(at) = call.channels.words.clone().find(denied) {
                return Err(Denied::Channel(at));
            }
        }
        Ok(())
    }

    fn allows_key(&self, key: &[u8], access: Access) -> bool {
        let fits = |p: &KeyPattern| p.access.has(access) && glob_match(&p.pattern, key, false);
        self.keys.is_all() || self.keys.patterns().iter().any(fits)
    }

    /// Whether this access to every key is allowed.
    pub(super) fn allows_all_keys(&self, access: Access) -> bool {
        let fits = |p: &KeyPattern| p.access.has(access) && p.pattern == b"*";
        self.keys.is_all() || self.keys.patterns().iter().any(fits)
    }

    fn allows_channel(&self, name: &[u8], is_pattern: bool) -> bool {
        self.channels.is_all() || channel_fits(self.channels.patterns(), name, is_pattern)
    }

    /// The patterns of channels; `None` where all are allowed.
    pub(super) fn channel_patterns(&self) -> Option<&[Vec<u8>]> {
        (!self.channels.is_all()).then(|| self.channels.patterns())
    }

    /// The rules about commands, as ACL GETUSER prints them.
    pub fn commands(&self) -> Vec<u8> {
        self.commands.words().join(&b' ')
    }

    /// The patterns of keys, as ACL GETUSER prints them.
    pub fn keys(&self) -> Vec<u8> {
        self.key_words().join(&b' ')
    }

    /// The patterns of channels, as ACL GETUSER prints them.
    pub fn channels(&self) -> Vec<u8> {
        self.channel_words().join(&b' ')
    }

    fn key_words(&self) -> Vec<Vec<u8>> {
        match &self.keys {
            Allowed::All => vec![b"~*".to_vec()],
            Allowed::Matching(patterns) => patterns.iter().map(KeyPattern::word).collect(),
        }
    }

    fn channel_words(&self) -> Vec<Vec<u8>> {
        match &self.channels {
            Allowed::All => vec![b"&*".to_vec()],
            Allowed::Matching(patterns) => patterns.iter().map(|p| [b"&", p.as_slice()].concat()).collect(),
        }
    }

    /// The rules that make this selector out of a new one.
    pub(super) fn words(&self) -> Vec<Vec<u8>> {
        let mut words = self.key_words();
        if !self.channels.is_all() {
            words.push(b"resetchannels".to_vec());
        }
        words.extend(self.channel_words());
        words.extend(self.commands.words());
        words
    }

    /// The same in parentheses. A word that quotes or parentheses would keep from being read back is
    /// quoted, which no ordinary pattern is.
    pub(super) fn in_parentheses(&self) -> Vec<u8> {
        let readable = |word: Vec<u8>| match word.iter().any(|b| b"\"'".contains(b)) || word.ends_with(b")") {
            true => quote_always(&word).into_bytes(),
            false => word,
        };
        let words: Vec<Vec<u8>> = self.words().into_iter().map(readable).collect();
        [b"(", words.join(&b' ').as_slice(), b")"].concat()
    }
}

/// Whether patterns of channels allow a channel, which they match, or a pattern, which one of them
/// has to be.
pub(super) fn channel_fits<P: AsRef<[u8]>>(patterns: &[P], name: &[u8], is_pattern: bool) -> bool {
    patterns.iter().map(AsRef::as_ref).any(|pattern| match is_pattern {
        true => pattern == name,
        false => glob_match(pattern, name, false),
    })
}
