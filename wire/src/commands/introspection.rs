//! What COMMAND reports, generated from the specs: COMMAND, COUNT, INFO, DOCS, LIST, GETKEYS and
//! GETKEYSANDFLAGS, in the shapes of Redis 7.2 for both protocol versions.
//!
//! redis-cli builds its help and completion from DOCS, cluster clients their routing from INFO.

use super::keys::{BeginSearch, FindKeys, KeyFlags, KeySpec};
use super::spec::{Argument, ArgumentFlags, ArgumentType, Categories, CommandSpec, DocFlags, Flags};
use crate::glob::glob_match;
use crate::resp::reply::Reply;

/// The commands that a node has, each with its subcommands.
#[derive(Clone, Copy, Debug)]
pub struct Catalogue<'a> {
    specs: &'a [&'static CommandSpec],
}

/// Names of flags, in the order in which INFO lists them. Flags that are not here are not shown.
const FLAG_NAMES: [(&str, Flags); 18] = [
    ("write", Flags::WRITE),
    ("readonly", Flags::READONLY),
    ("denyoom", Flags::DENYOOM),
    ("admin", Flags::ADMIN),
    ("pubsub", Flags::PUBSUB),
    ("noscript", Flags::NOSCRIPT),
    ("blocking", Flags::BLOCKING),
    ("loading", Flags::LOADING),
    ("stale", Flags::STALE),
    ("skip_monitor", Flags::SKIP_MONITOR),
    ("skip_slowlog", Flags::SKIP_SLOWLOG),
    ("asking", Flags::ASKING),
    ("fast", Flags::FAST),
    ("no_auth", Flags::NO_AUTH),
    ("no_mandatory_keys", Flags::NO_MANDATORY_KEYS),
    ("no_async_loading", Flags::NO_ASYNC_LOADING),
    ("no_multi", Flags::NO_MULTI),
    ("allow_busy", Flags::ALLOW_BUSY),
];

const KEY_FLAG_NAMES: [(&str, KeyFlags); 11] = [
    ("RO", KeyFlags::RO),
    ("RW", KeyFlags::RW),
    ("OW", KeyFlags::OW),
    ("RM", KeyFlags::RM),
    ("access", KeyFlags::ACCESS),
    ("update", KeyFlags::UPDATE),
    ("insert", KeyFlags::INSERT),
    ("delete", KeyFlags::DELETE),
    ("not_key", KeyFlags::NOT_KEY),
    ("incomplete", KeyFlags::INCOMPLETE),
    ("variable_flags", KeyFlags::VARIABLE_FLAGS),
];

const DOC_FLAG_NAMES: [(&str, DocFlags); 2] =
    [("deprecated", DocFlags::DEPRECATED), ("syscmd", DocFlags::SYSCMD)];

const ARGUMENT_FLAG_NAMES: [(&str, ArgumentFlags); 3] = [
    ("optional", ArgumentFlags::OPTIONAL),
    ("multiple", ArgumentFlags::MULTIPLE),
    ("multiple_token", ArgumentFlags::MULTIPLE_TOKEN),
];

/// The lines of COMMAND HELP between the header and the footer that every HELP has.
pub const COMMAND_HELP: &[&str] = &[
    "(no subcommand)",
    "    Describe every command of this node.",
    "COUNT",
    "    Say how many commands this node has.",
    "LIST [FILTERBY (MODULE <name>|ACLCAT <category>|PATTERN <pattern>)]",
    "    List the names of all commands, or of those that the filter lets through.",
    "INFO [<command-name> ...]",
    "    Describe the named commands, or every command.",
    "DOCS [<command-name> ...]",
    "    Give the documentation of the named commands, or of every command.",
    "GETKEYS <full-command>",
    "    Say which words of a call are keys.",
    "GETKEYSANDFLAGS <full-command>",
    "    Say which words of a call are keys, and what the call does with them.",
];

impl<'a> Catalogue<'a> {
    /// The catalogue of these commands.
    pub const fn new(specs: &'a [&'static CommandSpec]) -> Self {
        Catalogue { specs }
    }

    /// The command that a call with these words means: of a container, the subcommand.
    pub fn resolve(&self, words: &[&[u8]]) -> Option<&'static CommandSpec> {
        let (name, rest) = words.split_first()?;
        let spec = self.specs.iter().copied().find(|s| s.name.as_bytes().eq_ignore_ascii_case(name))?;
        match rest.first() {
            Some(sub) if !spec.subcommands.is_empty() => spec.subcommand(sub),
            _ => Some(spec),
        }
    }

    /// The command of this full name: `get`, `config|get`.
    pub fn find(&self, name: &[u8]) -> Option<&'static CommandSpec> {
        let words: Vec<&[u8]> = name.split(|b| *b == b'|').collect();
        let spec = self.resolve(&words)?;
        (words.len() == 1 + usize::from(spec.parent.is_some())).then_some(spec)
    }

    /// COMMAND, and COMMAND INFO without names.
    pub fn info_of_all(&self, reply: &mut Reply) {
        reply.array(self.specs.len());
        self.specs.iter().for_each(|spec| info(spec, reply));
    }

    /// COMMAND INFO with names.
    pub fn info(&self, names: &[&[u8]], reply: &mut Reply) {
        reply.array(names.len());
        for name in names {
            match self.find(name) {
                Some(spec) => info(spec, reply),
                None => reply.null(),
            }
        }
    }

    /// COMMAND COUNT.
    pub fn count(&self, reply: &mut Reply) {
        reply.integer(self.specs.len() as i64);
    }

    /// COMMAND DOCS, of all commands without names. Unknown names are left out.
    pub fn docs(&self, names: &[&[u8]], reply: &mut Reply) {
        let named: Vec<&CommandSpec>;
        let specs: &[&CommandSpec] = if names.is_empty() {
            self.specs
        } else {
            named = names.iter().filter_map(|name| self.find(name)).collect();
            &named
        };
        docs_by_name(specs, reply);
    }

    /// COMMAND LIST; `options` is what follows it.
    pub fn list(&self, options: &[&[u8]], reply: &mut Reply) {
        let Some(filter) = Filter::parse(options) else { return reply.error("ERR syntax error") };
        let subcommands =
            |spec: &&'static CommandSpec| std::iter::once(*spec).chain(spec.subcommands.iter().copied());
        let names: Vec<_> = self
            .specs
            .iter()
            .flat_map(subcommands)
            .filter(|spec| filter.passes(spec))
            .map(CommandSpec::full_name)
            .collect();
        reply.array(names.len());
        names.iter().for_each(|name| reply.bulk(name.as_bytes()));
    }

    /// COMMAND GETKEYS, and with `with_flags` COMMAND GETKEYSANDFLAGS, of the call `words`.
    pub fn get_keys(&self, words: &[&[u8]], with_flags: bool, reply: &mut Reply) {
        let Some(spec) = self.resolve(words) else { return reply.error("ERR Invalid command specified") };
        if !spec.has_keys() {
            return reply.error("ERR The command has no key arguments");
        }
        if !spec.accepts(words.len()) {
            return reply.error("ERR Invalid number of arguments specified for command");
        }
        let keys = spec.keys_of(words).unwrap_or_default();
        if keys.is_empty() && !spec.flags.has(Flags::NO_MANDATORY_KEYS) {
            return reply.error("ERR Invalid arguments specified for command");
        }
        reply.array(keys.len());
        for key in keys {
            if with_flags {
                reply.array(2);
            }
            reply.bulk(words[key.position]);
            if with_flags {
                key_flags(key.flags, reply);
            }
        }
    }
}

/// What COMMAND LIST lets through.
enum Filter<'a> {
    All,
    /// Of a module: there are none.
    Module,
    /// Of an ACL category, if there is such a one.
    Category(Option<Categories>),
    Pattern(&'a [u8]),
}

impl<'a> Filter<'a> {
    fn parse(options: &[&'a [u8]]) -> Option<Self> {
        let [by, kind, value] = options else { return options.is_empty().then_some(Filter::All) };
        if !by.eq_ignore_ascii_case(b"filterby") {
            return None;
        }
        match kind.to_ascii_lowercase().as_slice() {
            b"module" => Some(Filter::Module),
            b"aclcat" => Some(Filter::Category(Categories::named(value).map(|(_, category)| category))),
            b"pattern" => Some(Filter::Pattern(value)),
            _ => None,
        }
    }

    fn passes(&self, spec: &CommandSpec) -> bool {
        match self {
            Filter::All => true,
            Filter::Module => false,
            Filter::Category(category) => category.is_some_and(|c| spec.categories().has(c)),
            Filter::Pattern(pattern) => glob_match(pattern, spec.full_name().as_bytes(), true),
        }
    }
}

/// A set of names as simple strings.
fn names<'n>(names: impl Iterator<Item = &'n str> + Clone, reply: &mut Reply) {
    reply.set(names.clone().count());
    names.for_each(|name| reply.simple(name));
}

fn key_flags(flags: KeyFlags, reply: &mut Reply) {
    names(KEY_FLAG_NAMES.iter().filter(|(_, flag)| flags.has(*flag)).map(|(name, _)| *name), reply);
}

/// The ten elements that COMMAND INFO gives for a command.
fn info(spec: &CommandSpec, reply: &mut Reply) {
    let (first, last, step) = spec.legacy_range();
    reply.array(10);
    reply.bulk(spec.full_name().as_bytes());
    reply.integer(spec.arity.into());
    // `movablekeys` follows from the key specs and has its place before the last name.
    let (before, after) = FLAG_NAMES.split_at(FLAG_NAMES.len() - 1);
    let shown = |(name, flag): &(&'static str, Flags)| spec.flags.has(*flag).then_some(*name);
    let movable = spec.has_movable_keys().then_some("movablekeys");
    names(before.iter().filter_map(shown).chain(movable).chain(after.iter().filter_map(shown)), reply);
    for n in [first, last, step] {
        reply.integer(n);
    }
    let categories = spec.categories();
    let of_spec = Categories::NAMES.iter().filter(|(_, category)| categories.has(*category));
    reply.set(of_spec.clone().count());
    of_spec.for_each(|(name, _)| reply.simple(&format!("@{name}")));
    reply.set(spec.tips.len());
    spec.tips.iter().for_each(|tip| reply.bulk(tip.as_bytes()));
    reply.set(spec.key_specs.len());
    spec.key_specs.iter().for_each(|key_spec| key_spec_map(key_spec, reply));
    if spec.subcommands.is_empty() {
        return reply.set(0);
    }
    reply.array(spec.subcommands.len());
    spec.subcommands.iter().for_each(|sub| info(sub, reply));
}

fn text(name: &str, value: &str, reply: &mut Reply) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

/// A part of a key spec: its type, and the numbers of that type.
fn typed(part: &str, kind: &str, spec: &[(&str, i64)], reply: &mut Reply) {
    reply.bulk(part.as_bytes());
    reply.map(2);
    text("type", kind, reply);
    reply.bulk(b"spec");
    reply.map(spec.len());
    for (name, n) in spec {
        reply.bulk(name.as_bytes());
        reply.integer(*n);
    }
}

fn key_spec_map(spec: &KeySpec, reply: &mut Reply) {
    reply.map(3);
    reply.bulk(b"flags");
    key_flags(spec.flags, reply);
    match spec.begin {
        BeginSearch::Unknown => typed("begin_search", "unknown", &[], reply),
        BeginSearch::Index(index) => typed("begin_search", "index", &[("index", index.into())], reply),
        BeginSearch::Keyword { word, from } => {
            reply.bulk(b"begin_search");
            reply.map(2);
            text("type", "keyword", reply);
            reply.bulk(b"spec");
            reply.map(2);
            text("keyword", word, reply);
            reply.bulk(b"startfrom");
            reply.integer(from.into());
        }
    }
    match spec.find {
        FindKeys::Unknown => typed("find_keys", "unknown", &[], reply),
        FindKeys::Range { last, step, limit } => {
            let numbers = [("lastkey", last.into()), ("keystep", step.into()), ("limit", limit.into())];
            typed("find_keys", "range", &numbers, reply);
        }
        FindKeys::Count { at, first, step } => {
            let numbers = [("keynumidx", at.into()), ("firstkey", first.into()), ("keystep", step.into())];
            typed("find_keys", "keynum", &numbers, reply);
        }
    }
}

/// A map from full names to documentation.
fn docs_by_name(specs: &[&CommandSpec], reply: &mut Reply) {
    reply.map(specs.len());
    for spec in specs {
        reply.bulk(spec.full_name().as_bytes());
        docs(spec, reply);
    }
}

/// What COMMAND DOCS gives for a command.
fn docs(spec: &CommandSpec, reply: &mut Reply) {
    let d = &spec.docs;
    let optional = [!d.flags.is_empty(), !d.arguments.is_empty(), !spec.subcommands.is_empty()];
    let deprecation = if d.deprecation.is_some() { 2 } else { 0 };
    reply.map(4 + deprecation + optional.iter().filter(|is_there| **is_there).count());
    text("summary", d.summary, reply);
    text("since", d.since, reply);
    text("group", d.group.name(), reply);
    text("complexity", d.complexity, reply);
    if !d.flags.is_empty() {
        reply.bulk(b"doc_flags");
        names(DOC_FLAG_NAMES.iter().filter(|(_, flag)| d.flags.has(*flag)).map(|(name, _)| *name), reply);
    }
    if let Some(deprecation) = &d.deprecation {
        text("deprecated_since", deprecation.since, reply);
        text("replaced_by", deprecation.replaced_by, reply);
    }
    if !d.arguments.is_empty() {
        reply.bulk(b"arguments");
        arguments(d.arguments, reply);
    }
    if !spec.subcommands.is_empty() {
        reply.bulk(b"subcommands");
        docs_by_name(spec.subcommands, reply);
    }
}

fn arguments(list: &[Argument], reply: &mut Reply) {
    reply.array(list.len());
    list.iter().for_each(|one| argument(one, reply));
}

fn argument(a: &Argument, reply: &mut Reply) {
    let nested = match a.kind {
        ArgumentType::OneOf(nested) | ArgumentType::Block(nested) => Some(nested),
        _ => None,
    };
    // Each argument has a name, a type, and either a text to show or arguments of its own.
    let optional = [
        a.key_spec.is_some(),
        a.token.is_some(),
        a.since.is_some(),
        a.deprecated_since.is_some(),
        !a.flags.is_empty(),
    ];
    reply.map(3 + optional.iter().filter(|is_there| **is_there).count());
    text("name", a.name, reply);
    text("type", type_name(a.kind), reply);
    if nested.is_none() {
        text("display_text", a.display.unwrap_or(a.name), reply);
    }
    if let Some(index) = a.key_spec {
        reply.bulk(b"key_spec_index");
        reply.integer(index.into());
    }
    for (name, value) in [("token", a.token), ("since", a.since), ("deprecated_since", a.deprecated_since)] {
        if let Some(value) = value {
            text(name, value, reply);
        }
    }
    if !a.flags.is_empty() {
        reply.bulk(b"flags");
        names(
            ARGUMENT_FLAG_NAMES.iter().filter(|(_, flag)| a.flags.has(*flag)).map(|(name, _)| *name),
            reply,
        );
    }
    if let Some(nested) = nested {
        reply.bulk(b"arguments");
        arguments(nested, reply);
    }
}

const fn type_name(kind: ArgumentType) -> &'static str {
    match kind {
        ArgumentType::String => "string",
        ArgumentType::Integer => "integer",
        ArgumentType::Double => "double",
        ArgumentType::Key => "key",
        ArgumentType::Pattern => "pattern",
        ArgumentType::UnixTime => "unix-time",
        ArgumentType::PureToken => "pure-token",
        ArgumentType::OneOf(_) => "oneof",
        ArgumentType::Block(_) => "block",
    }
}
