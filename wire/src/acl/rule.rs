//! Rules as ACL SETUSER, `user` lines and ACL files spell them: `on`, `+get`, `~cache:*`, …
//!
//! A word is parsed into a type before anything is changed. What a rule means for a user or a
//! selector is said where those are; the two errors that depend on what a user already has
//! (a pattern after `*`, a password that is not there) come from there too. Source: the ACL page
//! of Redis's documentation and the behaviour of 7.2.

use std::borrow::Cow;

use super::catalog::{Catalog, Categories, CommandId};
use super::password::PasswordHash;
use super::selector::{Access, KeyPattern};
use crate::quoting::split;

/// Why a rule is refused, in Redis's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RuleError {
    /// Not a rule, or a name or pattern with blanks in it.
    #[error("Syntax error")]
    Syntax,
    /// No such command, subcommand or category.
    #[error("Unknown command or category name in ACL")]
    Unknown,
    /// A key pattern where every key is allowed anyway.
    #[error(
        "Adding a pattern after the * pattern (or the 'allkeys' flag) is not valid and does not have any effect. Try 'resetkeys' to start with an empty list of patterns"
    )]
    KeysAfterAll,
    /// A channel pattern where every channel is allowed anyway.
    #[error(
        "Adding a pattern after the * pattern (or the 'allchannels' flag) is not valid and does not have any effect. Try 'resetchannels' to start with an empty list of channels"
    )]
    ChannelsAfterAll,
    /// A password is removed that the user does not have.
    #[error("The password you are trying to remove from the user does not exist")]
    NoSuchPassword,
    /// What follows `#` or `!` is no hash.
    #[error(
        "The password hash must be exactly 64 characters and contain only lowercase hexadecimal characters"
    )]
    BadHash,
    /// `+config|get|port`: only a command without subcommands can be limited to a first argument.
    #[error("Allowing first-arg of a subcommand is not supported")]
    FirstArgOfSubcommand,
}

/// A rule about a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rule {
    /// An empty word, which changes nothing.
    Nothing,
    /// `on` and `off`: whether one can log in.
    Enabled(bool),
    /// `sanitize-payload` and `skip-sanitize-payload`.
    SkipSanitizePayload(bool),
    /// `nopass`: any password will do.
    NoPass,
    /// `resetpass`: no password will do.
    ResetPass,
    /// `>password` or `#hash`.
    AddPassword(PasswordHash),
    /// `<password` or `!hash`.
    RemovePassword(PasswordHash),
    /// `(…)`: one more selector.
    AddSelector(Vec<SelectorRule>),
    /// `clearselectors`: only the root selector stays.
    ClearSelectors,
    /// `reset`: as if the user had just been made.
    Reset,
    /// A rule about the root selector.
    Root(SelectorRule),
}

/// A rule about a selector: which commands, keys and channels it allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SelectorRule {
    /// `allkeys`, `~*`.
    AllKeys,
    /// `resetkeys`.
    ResetKeys,
    /// `~pattern`, `%R~pattern`, `%W~pattern`, `%RW~pattern`.
    Keys(KeyPattern),
    /// `allchannels`, `&*`.
    AllChannels,
    /// `resetchannels`.
    ResetChannels,
    /// `&pattern`.
    Channels(Vec<u8>),
    /// `allcommands`, `+@all`; `nocommands`, `-@all`.
    AllCommands(bool),
    /// `+command`, `-command`, and the same with `container|subcommand`.
    Command {
        /// Plus rather than minus.
        allow: bool,
        /// Which.
        id: CommandId,
    },
    /// `+command|argument`: the command, but with this first argument alone.
    FirstArg {
        /// Which command.
        id: CommandId,
        /// The argument in lower case.
        arg: Vec<u8>,
    },
    /// `+@category`, `-@category`.
    Category {
        /// Plus rather than minus.
        allow: bool,
        /// The category's name.
        name: &'static str,
        /// The category.
        category: Categories,
    },
}

impl Rule {
    /// Reads one word.
    ///
    /// # Errors
    /// What makes it no rule, of itself or for this catalog.
    pub fn parse(word: &[u8], catalog: &Catalog) -> Result<Rule, RuleError> {
        let rule = match word.to_ascii_lowercase().as_slice() {
            b"" => Rule::Nothing,
            b"on" => Rule::Enabled(true),
            b"off" => Rule::Enabled(false),
            b"skip-sanitize-payload" => Rule::SkipSanitizePayload(true),
            b"sanitize-payload" => Rule::SkipSanitizePayload(false),
            b"nopass" => Rule::NoPass,
            b"resetpass" => Rule::ResetPass,
            b"clearselectors" => Rule::ClearSelectors,
            b"reset" => Rule::Reset,
            _ => match word {
                [b'>', password @ ..] => Rule::AddPassword(PasswordHash::of(password)),
                [b'#', hash @ ..] => Rule::AddPassword(hash_of(hash)?),
                [b'<', password @ ..] => Rule::RemovePassword(PasswordHash::of(password)),
                [b'!', hash @ ..] => Rule::RemovePassword(hash_of(hash)?),
                [b'(', rules @ .., b')'] => {
                    let words = split(rules).map_err(|_| RuleError::Syntax)?;
                    let rules = words.iter().map(|word| SelectorRule::parse(word, catalog));
                    Rule::AddSelector(rules.collect::<Result<_, _>>()?)
                }
                _ => Rule::Root(SelectorRule::parse(word, catalog)?),
            },
        };
        Ok(rule)
    }
}

fn hash_of(hex: &[u8]) -> Result<PasswordHash, RuleError> {
    PasswordHash::from_hex(hex).ok_or(RuleError::BadHash)
}

impl SelectorRule {
    /// Reads one word.
    ///
    /// # Errors
    /// What makes it no rule, of itself or for this catalog.
    pub fn parse(word: &[u8], catalog: &Catalog) -> Result<SelectorRule, RuleError> {
        let rule = match word.to_ascii_lowercase().as_slice() {
            b"allkeys" | b"~*" => SelectorRule::AllKeys,
            b"resetkeys" => SelectorRule::ResetKeys,
            b"allchannels" | b"&*" => SelectorRule::AllChannels,
            b"resetchannels" => SelectorRule::ResetChannels,
            b"allcommands" | b"+@all" => SelectorRule::AllCommands(true),
            b"nocommands" | b"-@all" => SelectorRule::AllCommands(false),
            _ => match word {
                [b'~', pattern @ ..] => SelectorRule::Keys(key_pattern(pattern, Access::BOTH)?),
                [b'%', rest @ ..] => limited_keys(rest)?,
                [b'&', pattern @ ..] => SelectorRule::Channels(without_blanks(pattern)?.to_vec()),
                [sign @ (b'+' | b'-'), b'@', name @ ..] => {
                    let (name, category) = Categories::named(name).ok_or(RuleError::Unknown)?;
                    SelectorRule::Category { allow: *sign == b'+', name, category }
                }
                [b'+', name @ ..] => allowed_command(name, catalog)?,
                [b'-', name @ ..] => {
                    let id = catalog.find(name).ok_or(RuleError::Unknown)?;
                    SelectorRule::Command { allow: false, id }
                }
                _ => return Err(RuleError::Syntax),
            },
        };
        Ok(rule)
    }
}

/// What follows the `%` of a key pattern that allows some access: `R~pattern`, `W~…`, `RW~…`, `WR~…`.
fn limited_keys(word: &[u8]) -> Result<SelectorRule, RuleError> {
    let mut access = Access::NONE;
    for (at, byte) in word.iter().enumerate() {
        let more = match byte.to_ascii_uppercase() {
            b'R' => Access::READ,
            b'W' => Access::WRITE,
            b'~' if !access.is_empty() => {
                return Ok(SelectorRule::Keys(key_pattern(&word[at + 1..], access)?));
            }
            _ => return Err(RuleError::Syntax),
        };
        if access.has(more) {
            return Err(RuleError::Syntax);
        }
        access = access.with(more);
    }
    Err(RuleError::Syntax)
}

fn key_pattern(pattern: &[u8], access: Access) -> Result<KeyPattern, RuleError> {
    Ok(KeyPattern { pattern: without_blanks(pattern)?.to_vec(), access })
}

/// Names and patterns stand in lines that are split at blanks, so they may hold none.
fn without_blanks(text: &[u8]) -> Result<&[u8], RuleError> {
    if has_blanks(text) { Err(RuleError::Syntax) } else { Ok(text) }
}

/// Whether `text` holds a blank, a line break or a NUL.
pub(super) fn has_blanks(text: &[u8]) -> bool {
    text.iter().any(|byte| matches!(byte, b' ' | b'\t'..=b'\r' | 0))
}

/// What follows the `+` of a command: its name, a container's and a subcommand's, or a name and the
/// one first argument that is allowed.
fn allowed_command(name: &[u8], catalog: &Catalog) -> Result<SelectorRule, RuleError> {
    let command = |name: &[u8]| catalog.find(name).ok_or(RuleError::Unknown);
    let Some(bar) = name.iter().rposition(|byte| *byte == b'|') else {
        return Ok(SelectorRule::Command { allow: true, id: command(name)? });
    };
    let (id, arg) = (command(&name[..bar])?, &name[bar + 1..]);
    if catalog.is_subcommand(id) {
        Err(RuleError::FirstArgOfSubcommand)
    } else if arg.is_empty() {
        Err(RuleError::Syntax)
    } else if catalog.subcommands(id).is_empty() {
        Ok(SelectorRule::FirstArg { id, arg: without_blanks(arg)?.to_ascii_lowercase() })
    } else {
        Ok(SelectorRule::Command { allow: true, id: command(name)? })
    }
}

/// A parenthesis that nothing closes. Displays as Redis's error.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Unmatched parenthesis in acl selector starting at '{0}'.")]
pub struct Unmatched(pub String);

/// Joins the words of a selector that was given in several: from one that starts with `(` to the
/// first that ends with `)`.
///
/// # Errors
/// A selector that does not end.
pub fn join_selectors<W: AsRef<[u8]>>(words: &[W]) -> Result<Vec<Cow<'_, [u8]>>, Unmatched> {
    let mut joined = Vec::with_capacity(words.len());
    let mut words = words.iter().map(AsRef::as_ref);
    while let Some(word) = words.next() {
        if !word.starts_with(b"(") || word.ends_with(b")") {
            joined.push(Cow::Borrowed(word));
            continue;
        }
        let mut selector = word.to_vec();
        loop {
            let next = words.next().ok_or_else(|| Unmatched(String::from_utf8_lossy(word).into_owned()))?;
            selector.push(b' ');
            selector.extend_from_slice(next);
            if next.ends_with(b")") {
                break;
            }
        }
        joined.push(Cow::Owned(selector));
    }
    Ok(joined)
}
