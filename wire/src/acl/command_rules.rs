//! Which commands a selector allows: the rules as they were given, and the set that follows from
//! them.
//!
//! The set is what checks look at: a bit a command. The rules are what descriptions print. Kept are
//! `+@all` or `-@all`, whichever came last, and after it every rule that a later one has not made
//! pointless: the same command or category again, with either sign, or a container after its
//! subcommands. Applied in order, what is kept gives the same set as all rules that were ever given.

use std::collections::{BTreeMap, BTreeSet};

use super::catalog::{Catalog, CommandId};
use super::rule::SelectorRule;

/// A set of commands of one catalog.
#[derive(Clone, Debug, PartialEq, Eq)]
struct CommandSet {
    len: usize,
    bits: Vec<u64>,
}

impl CommandSet {
    fn new(len: usize, all: bool) -> CommandSet {
        let mut set = CommandSet { len, bits: vec![0; len.div_ceil(64)] };
        if all {
            (0..len).for_each(|id| set.put(id, true));
        }
        set
    }

    fn has(&self, id: CommandId) -> bool {
        self.bits.get(id / 64).is_some_and(|word| word >> (id % 64) & 1 != 0)
    }

    fn put(&mut self, id: CommandId, allowed: bool) {
        let bit = 1 << (id % 64);
        if allowed { self.bits[id / 64] |= bit } else { self.bits[id / 64] &= !bit }
    }

    fn is_full(&self) -> bool {
        self.bits.iter().map(|word| word.count_ones() as usize).sum::<usize>() == self.len
    }
}

/// A rule as descriptions print it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Kept {
    allow: bool,
    /// `get`, `config|get`, `select|0`, `@read`.
    what: Vec<u8>,
}

/// Which commands a selector allows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CommandRules {
    /// The rules follow `+@all` rather than `-@all`.
    from_all: bool,
    kept: Vec<Kept>,
    allowed: CommandSet,
    /// First arguments, in lower case, with which a command is allowed that otherwise is not.
    first_args: BTreeMap<CommandId, BTreeSet<Vec<u8>>>,
}

impl CommandRules {
    /// No command of the catalog.
    pub(super) fn none(catalog: &Catalog) -> CommandRules {
        CommandRules {
            from_all: false,
            kept: Vec::new(),
            allowed: CommandSet::new(catalog.len(), false),
            first_args: BTreeMap::new(),
        }
    }

    /// `+@all` or `-@all`.
    pub(super) fn set_all(&mut self, catalog: &Catalog, allow: bool) {
        let allowed = CommandSet::new(catalog.len(), allow);
        *self = CommandRules { from_all: allow, allowed, ..CommandRules::none(catalog) };
    }

    /// Takes over a rule about commands.
    pub(super) fn apply(&mut self, catalog: &Catalog, rule: &SelectorRule) {
        match rule {
            SelectorRule::AllCommands(allow) => self.set_all(catalog, *allow),
            SelectorRule::Command { allow, id } => {
                self.set(catalog, *id, *allow);
                self.keep(*allow, catalog.full_name(*id).as_bytes().to_vec());
            }
            SelectorRule::FirstArg { id, arg } => {
                self.first_args.entry(*id).or_default().insert(arg.clone());
                self.keep(true, [catalog.full_name(*id).as_bytes(), arg].join(&b'|'));
            }
            SelectorRule::Category { allow, name, category } => {
                catalog.in_category(*category).for_each(|id| self.set(catalog, id, *allow));
                self.keep(*allow, format!("@{name}").into_bytes());
            }
            SelectorRule::AllKeys
            | SelectorRule::ResetKeys
            | SelectorRule::Keys(_)
            | SelectorRule::AllChannels
            | SelectorRule::ResetChannels
            | SelectorRule::Channels(_) => {}
        }
    }

    /// Allows or denies a command, with its subcommands and whatever its first argument.
    fn set(&mut self, catalog: &Catalog, id: CommandId, allow: bool) {
        self.allowed.put(id, allow);
        self.first_args.remove(&id);
        catalog.subcommands(id).iter().for_each(|sub| self.allowed.put(*sub, allow));
    }

    fn keep(&mut self, allow: bool, what: Vec<u8>) {
        self.kept.retain(|old| {
            let rest = old.what.strip_prefix(what.as_slice());
            !rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"|"))
        });
        self.kept.push(Kept { allow, what });
    }

    /// Whether every command is allowed.
    pub(super) fn allow_all(&self) -> bool {
        self.allowed.is_full()
    }

    /// Whether a call of the command, of which these are the words, is allowed.
    pub(super) fn allow(&self, id: CommandId, words: &[&[u8]]) -> bool {
        let fits = |args: &BTreeSet<Vec<u8>>| {
            words.get(1).is_some_and(|word| args.iter().any(|arg| arg.eq_ignore_ascii_case(word)))
        };
        self.allowed.has(id) || self.first_args.get(&id).is_some_and(fits)
    }

    /// The rules, one a word: `+@all` or `-@all` first.
    pub(super) fn words(&self) -> Vec<Vec<u8>> {
        let sign = |allow| if allow { b"+" } else { b"-" };
        let first = [sign(self.from_all), &b"@all"[..]].concat();
        let others = self.kept.iter().map(|rule| [sign(rule.allow), rule.what.as_slice()].concat());
        std::iter::once(first).chain(others).collect()
    }
}
