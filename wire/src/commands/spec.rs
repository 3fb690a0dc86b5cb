//! What is known of a command without running it: one [`CommandSpec`] a command and subcommand.
//!
//! From a spec come the checks before a command runs (arity, flags, ACL categories, keys) and
//! everything that COMMAND reports. The specs are constants, written in tables with the `const`
//! functions below, one statement a command; the handler is paired with the spec elsewhere. Facts
//! (arity, flags, categories, key positions, argument syntax, versions) are those of Redis 7.2.

use super::keys::{KeyFinder, KeySpec};
pub use crate::acl::Categories;
use crate::bits;
use std::borrow::Cow;

bits! {
    /// Flags of a command: what it may do, and when it may run.
    pub struct Flags(u32) {
        /// May change data: refused on read only replicas, counted as dirty.
        WRITE = 0,
        /// Reads data and changes none.
        READONLY = 1,
        /// May need memory: refused at `maxmemory` where nothing can be evicted.
        DENYOOM = 2,
        /// For administrators.
        ADMIN = 3,
        /// Part of publish and subscribe.
        PUBSUB = 4,
        /// Not callable from scripts.
        NOSCRIPT = 5,
        /// May block its client.
        BLOCKING = 6,
        /// Runs while a dataset is being loaded.
        LOADING = 7,
        /// Runs on a replica that has lost its master and must not serve stale data.
        STALE = 8,
        /// Not shown to MONITOR.
        SKIP_MONITOR = 9,
        /// Not entered in SLOWLOG.
        SKIP_SLOWLOG = 10,
        /// Implies ASKING: accepted for slots that are being imported.
        ASKING = 11,
        /// Takes constant or logarithmic time.
        FAST = 12,
        /// Runs before authentication.
        NO_AUTH = 13,
        /// Not a write, but may put something in the stream of effects.
        MAY_REPLICATE = 14,
        /// Runs while a script keeps the node busy.
        ALLOW_BUSY = 15,
        /// Not allowed inside MULTI.
        NO_MULTI = 16,
        /// Does not run while a replica loads a second dataset beside the one it serves.
        NO_ASYNC_LOADING = 17,
        /// May be called without a key though it has key positions.
        NO_MANDATORY_KEYS = 18,
        /// Touches keys it does not name, so its effects are not put in one transaction.
        TOUCHES_ARBITRARY_KEYS = 19,
        /// Runs only as its own directive allows (`enable-debug-command`).
        PROTECTED = 20,
        /// Exists in Sentinel too.
        SENTINEL = 21,
    }
}

bits! {
    /// What kind of command a command is, beside its group.
    pub struct DocFlags(u8) {
        /// Something else does its work today.
        DEPRECATED = 0,
        /// For use between nodes, not by users.
        SYSCMD = 1,
    }
}

/// The chapter of the documentation that a command stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// Keys of any type.
    Generic,
    /// Strings.
    String,
    /// Lists.
    List,
    /// Sets.
    Set,
    /// Publish and subscribe.
    Pubsub,
    /// MULTI and EXEC.
    Transactions,
    /// The connection itself.
    Connection,
    /// The server.
    Server,
    /// What a Sentinel watches.
    Sentinel,
}

impl Group {
    /// The name that COMMAND DOCS prints.
    pub const fn name(self) -> &'static str {
        match self {
            Group::Generic => "generic",
            Group::String => "string",
            Group::List => "list",
            Group::Set => "set",
            Group::Pubsub => "pubsub",
            Group::Transactions => "transactions",
            Group::Connection => "connection",
            Group::Server => "server",
            Group::Sentinel => "sentinel",
        }
    }
}

/// Why a command should no longer be used.
#[derive(Clone, Copy, Debug)]
pub struct Deprecation {
    /// The version since which something else does its work.
    pub since: &'static str,
    /// What does it.
    pub replaced_by: &'static str,
}

/// What COMMAND DOCS says of a command.
#[derive(Clone, Copy, Debug)]
pub struct Docs {
    /// What it does, in one sentence.
    pub summary: &'static str,
    /// The version of Redis that brought it.
    pub since: &'static str,
    /// Its chapter.
    pub group: Group,
    /// How its time grows.
    pub complexity: &'static str,
    /// Deprecated, or for use between nodes.
    pub flags: DocFlags,
    /// For deprecated commands: since when, and what to use.
    pub deprecation: Option<Deprecation>,
    /// The arguments after the name.
    pub arguments: &'static [Argument],
}

/// Which arguments are channels, or patterns of channels, to be held against the rules of a user. To
/// unsubscribe needs no permission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelArgs {
    /// None.
    None,
    /// The first.
    First,
    /// All.
    All,
    /// All, and they are patterns.
    AllPatterns,
}

/// What is known of a command without running it.
#[derive(Debug)]
pub struct CommandSpec {
    /// The name in lower case; of a subcommand, its own.
    pub name: &'static str,
    /// Of a subcommand, the command that it belongs to.
    pub parent: Option<&'static str>,
    /// Words of a call, names included; negative for at least so many.
    pub arity: i16,
    /// What it may do, and when it may run.
    pub flags: Flags,
    /// The categories it is put in beside those that follow from its flags; see [`Self::categories`].
    pub own_categories: Categories,
    /// Where its keys stand.
    pub key_specs: &'static [KeySpec],
    /// Finds the keys of a call that the key specs cannot describe.
    pub key_finder: Option<KeyFinder>,
    /// Which of its arguments are channels that it publishes or subscribes to.
    pub channels: ChannelArgs,
    /// Hints for proxies and clients.
    pub tips: &'static [&'static str],
    /// Its documentation.
    pub docs: Docs,
    /// The subcommands of a container.
    pub subcommands: &'static [&'static CommandSpec],
}

impl CommandSpec {
    /// The name as replies print it: `get`, `config|get`.
    pub fn full_name(&self) -> Cow<'static, str> {
        match self.parent {
            Some(parent) => format!("{parent}|{}", self.name).into(),
            None => self.name.into(),
        }
    }

    /// Whether a call of `words` words, names included, has neither too many nor too few.
    pub const fn accepts(&self, words: usize) -> bool {
        let arity = self.arity.unsigned_abs() as usize;
        if self.arity < 0 { words >= arity } else { words == arity }
    }

    /// All ACL categories of the command: its own and those that follow from its flags.
    pub const fn categories(&self) -> Categories {
        let (flags, mut all) = (self.flags, self.own_categories);
        if flags.has(Flags::WRITE) {
            all = all.with(Categories::WRITE);
        }
        if flags.has(Flags::READONLY) && !all.has(Categories::SCRIPTING) {
            all = all.with(Categories::READ);
        }
        if flags.has(Flags::ADMIN) {
            all = all.with(Categories::ADMIN).with(Categories::DANGEROUS);
        }
        if flags.has(Flags::PUBSUB) {
            all = all.with(Categories::PUBSUB);
        }
        if flags.has(Flags::BLOCKING) {
            all = all.with(Categories::BLOCKING);
        }
        all.with(if flags.has(Flags::FAST) { Categories::FAST } else { Categories::SLOW })
    }

    /// The subcommand `name`, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&'static CommandSpec> {
        self.subcommands.iter().copied().find(|sub| sub.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// A command: its name in lower case, arity, chapter, first version, complexity and summary.
pub const fn command(
    name: &'static str,
    arity: i16,
    group: Group,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> CommandSpec {
    let docs =
        Docs { summary, since, group, complexity, flags: DocFlags::NONE, deprecation: None, arguments: &[] };
    CommandSpec {
        name,
        parent: None,
        arity,
        flags: Flags::NONE,
        own_categories: Categories::NONE,
        key_specs: &[],
        key_finder: None,
        channels: ChannelArgs::None,
        tips: &[],
        docs,
        subcommands: &[],
    }
}

/// The statements that complete a command.
impl CommandSpec {
    /// Makes it a subcommand.
    pub const fn of(self, parent: &'static str) -> Self {
        CommandSpec { parent: Some(parent), ..self }
    }

    /// Its flags.
    pub const fn flags(self, flags: Flags) -> Self {
        CommandSpec { flags, ..self }
    }

    /// Its own ACL categories.
    pub const fn acl(self, own_categories: Categories) -> Self {
        CommandSpec { own_categories, ..self }
    }

    /// Where its keys stand.
    pub const fn keys(self, key_specs: &'static [KeySpec]) -> Self {
        CommandSpec { key_specs, ..self }
    }

    /// The function that finds what its key specs cannot describe.
    pub const fn key_finder(self, finder: KeyFinder) -> Self {
        CommandSpec { key_finder: Some(finder), ..self }
    }

    /// Which of its arguments are channels.
    pub const fn channels(self, channels: ChannelArgs) -> Self {
        CommandSpec { channels, ..self }
    }

    /// Hints for proxies and clients.
    pub const fn tips(self, tips: &'static [&'static str]) -> Self {
        CommandSpec { tips, ..self }
    }

    /// Its arguments.
    pub const fn args(self, arguments: &'static [Argument]) -> Self {
        CommandSpec { docs: Docs { arguments, ..self.docs }, ..self }
    }

    /// Its subcommands.
    pub const fn subcommands(self, subcommands: &'static [&'static CommandSpec]) -> Self {
        CommandSpec { subcommands, ..self }
    }

    /// Marks it as for use between nodes.
    pub const fn syscmd(self) -> Self {
        CommandSpec { docs: Docs { flags: self.docs.flags.with(DocFlags::SYSCMD), ..self.docs }, ..self }
    }

    /// Marks it as done by something else since a version.
    pub const fn deprecated(self, since: &'static str, replaced_by: &'static str) -> Self {
        let flags = self.docs.flags.with(DocFlags::DEPRECATED);
        let deprecation = Some(Deprecation { since, replaced_by });
        CommandSpec { docs: Docs { flags, deprecation, ..self.docs }, ..self }
    }
}

bits! {
    /// How often an argument may stand in a call.
    pub struct ArgumentFlags(u8) {
        /// May be left out.
        OPTIONAL = 0,
        /// May be repeated.
        MULTIPLE = 1,
        /// Where it is repeated, so is its token.
        MULTIPLE_TOKEN = 2,
    }
}

/// What an argument is.
#[derive(Clone, Copy, Debug)]
pub enum ArgumentType {
    /// Any string.
    String,
    /// An integer.
    Integer,
    /// A floating point number.
    Double,
    /// A key.
    Key,
    /// A glob pattern.
    Pattern,
    /// Seconds or milliseconds since 1970.
    UnixTime,
    /// The token alone.
    PureToken,
    /// One of these arguments.
    OneOf(&'static [Argument]),
    /// These arguments together.
    Block(&'static [Argument]),
}

/// An argument of a command's syntax.
#[derive(Clone, Copy, Debug)]
pub struct Argument {
    /// The name it goes by.
    pub name: &'static str,
    /// The name to show in a synopsis, where it is another.
    pub display: Option<&'static str>,
    /// What it is.
    pub kind: ArgumentType,
    /// The key spec that finds it, where it is a key or leads to keys.
    pub key_spec: Option<u8>,
    /// The word that comes before it.
    pub token: Option<&'static str>,
    /// The version that brought it, where that is later than the command.
    pub since: Option<&'static str>,
    /// The version since which it should no longer be used.
    pub deprecated_since: Option<&'static str>,
    /// How often it may stand.
    pub flags: ArgumentFlags,
}

/// An argument of this name and type.
pub const fn arg(name: &'static str, kind: ArgumentType) -> Argument {
    Argument {
        name,
        display: None,
        kind,
        key_spec: None,
        token: None,
        since: None,
        deprecated_since: None,
        flags: ArgumentFlags::NONE,
    }
}

/// A string.
pub const fn string(name: &'static str) -> Argument {
    arg(name, ArgumentType::String)
}

/// An integer.
pub const fn integer(name: &'static str) -> Argument {
    arg(name, ArgumentType::Integer)
}

/// A key of the key spec with index `spec`.
pub const fn key(name: &'static str, spec: u8) -> Argument {
    arg(name, ArgumentType::Key).key_spec(spec)
}

/// A token that stands alone.
pub const fn flag(name: &'static str, token: &'static str) -> Argument {
    arg(name, ArgumentType::PureToken).token(token)
}

/// One of several arguments.
pub const fn one_of(name: &'static str, arguments: &'static [Argument]) -> Argument {
    arg(name, ArgumentType::OneOf(arguments))
}

/// Several arguments together.
pub const fn block(name: &'static str, arguments: &'static [Argument]) -> Argument {
    arg(name, ArgumentType::Block(arguments))
}

/// The statements that complete an argument.
impl Argument {
    /// The key spec that finds it.
    pub const fn key_spec(self, index: u8) -> Self {
        Argument { key_spec: Some(index), ..self }
    }

    /// The word that comes before it.
    pub const fn token(self, token: &'static str) -> Self {
        Argument { token: Some(token), ..self }
    }

    /// The name to show in a synopsis.
    pub const fn shown_as(self, display: &'static str) -> Self {
        Argument { display: Some(display), ..self }
    }

    /// The version that brought it.
    pub const fn since(self, since: &'static str) -> Self {
        Argument { since: Some(since), ..self }
    }

    /// The version since which it should no longer be used.
    pub const fn deprecated_since(self, since: &'static str) -> Self {
        Argument { deprecated_since: Some(since), ..self }
    }

    /// May be left out.
    pub const fn optional(self) -> Self {
        Argument { flags: self.flags.with(ArgumentFlags::OPTIONAL), ..self }
    }

    /// May be repeated.
    pub const fn multiple(self) -> Self {
        Argument { flags: self.flags.with(ArgumentFlags::MULTIPLE), ..self }
    }

    /// May be repeated together with its token.
    pub const fn multiple_token(self) -> Self {
        Argument {
            flags: self.flags.with(ArgumentFlags::MULTIPLE).with(ArgumentFlags::MULTIPLE_TOKEN),
            ..self
        }
    }
}

/// Writes a set of flags as a list of their names.
#[macro_export]
macro_rules! command_flags {
    ($($flag:ident)*) => { $crate::commands::spec::Flags::NONE$(.with($crate::commands::spec::Flags::$flag))* };
}

/// Writes a set of ACL categories as a list of their names.
#[macro_export]
macro_rules! command_categories {
    ($($category:ident)*) => { $crate::commands::spec::Categories::NONE$(.with($crate::commands::spec::Categories::$category))* };
}

pub use {command_categories as acl, command_flags as flags};
