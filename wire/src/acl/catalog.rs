//! What the rules have to know of a program's commands: their names and their categories.
//!
//! A data node and a Sentinel have different commands and the same rules. Each gives the rules
//! a catalog of its own, made from its command table; a command's place in it is the number by
//! which both sides know the command. A program may also have a catalog know names of commands that it
//! lacks, so that rules which mention them are taken from Redis and given back to it. Such a command is in no
//! category, since nothing that a category allows or denies can be it.

use std::collections::HashMap;

use crate::bits;

bits! {
    /// ACL categories.
    pub struct Categories(u32) {
        /// `@keyspace`.
        KEYSPACE = 0,
        /// `@read`: reads values of keys.
        READ = 1,
        /// `@write`: changes keys or their values.
        WRITE = 2,
        /// `@set`.
        SET = 3,
        /// `@sortedset`.
        SORTEDSET = 4,
        /// `@list`.
        LIST = 5,
        /// `@hash`.
        HASH = 6,
        /// `@string`.
        STRING = 7,
        /// `@bitmap`.
        BITMAP = 8,
        /// `@hyperloglog`.
        HYPERLOGLOG = 9,
        /// `@geo`.
        GEO = 10,
        /// `@stream`.
        STREAM = 11,
        /// `@pubsub`.
        PUBSUB = 12,
        /// `@admin`.
        ADMIN = 13,
        /// `@fast`.
        FAST = 14,
        /// `@slow`: every command that is not `@fast`.
        SLOW = 15,
        /// `@blocking`.
        BLOCKING = 16,
        /// `@dangerous`.
        DANGEROUS = 17,
        /// `@connection`.
        CONNECTION = 18,
        /// `@transaction`.
        TRANSACTION = 19,
        /// `@scripting`.
        SCRIPTING = 20,
    }
}

impl Categories {
    /// Names of the categories, in the order in which replies list them.
    pub const NAMES: [(&'static str, Categories); 21] = [
        ("keyspace", Self::KEYSPACE),
        ("read", Self::READ),
        ("write", Self::WRITE),
        ("set", Self::SET),
        ("sortedset", Self::SORTEDSET),
        ("list", Self::LIST),
        ("hash", Self::HASH),
        ("string", Self::STRING),
        ("bitmap", Self::BITMAP),
        ("hyperloglog", Self::HYPERLOGLOG),
        ("geo", Self::GEO),
        ("stream", Self::STREAM),
        ("pubsub", Self::PUBSUB),
        ("admin", Self::ADMIN),
        ("fast", Self::FAST),
        ("slow", Self::SLOW),
        ("blocking", Self::BLOCKING),
        ("dangerous", Self::DANGEROUS),
        ("connection", Self::CONNECTION),
        ("transaction", Self::TRANSACTION),
        ("scripting", Self::SCRIPTING),
    ];

    /// The category `name`, in any case, with its name as it is listed.
    pub fn named(name: &[u8]) -> Option<(&'static str, Categories)> {
        Self::NAMES.into_iter().find(|(known, _)| known.as_bytes().eq_ignore_ascii_case(name))
    }
}

/// A command's place in its catalog.
pub type CommandId = usize;

/// All commands of a program.
#[derive(Debug)]
pub struct Catalog {
    commands: Vec<Entry>,
    by_name: HashMap<Vec<u8>, CommandId>,
}

/// A command or subcommand.
#[derive(Debug)]
struct Entry {
    full_name: String,
    categories: Categories,
    parent: Option<CommandId>,
    subcommands: Vec<CommandId>,
}

impl Catalog {
    /// The catalog of commands with these full names (`get`, `config|get`) in lower case and
    /// these categories, whose numbers follow their order; and of those of the names in `others` that are not
    /// among them.
    ///
    /// # Panics
    /// A subcommand has no container: the table is wrong, at the start of the program.
    pub fn new<'a>(commands: impl IntoIterator<Item = (&'a str, Categories)>, others: &[&'a str]) -> Catalog {
        let entry = |(full_name, categories): (&str, Categories)| Entry {
            full_name: full_name.to_string(),
            categories,
            parent: None,
            subcommands: Vec::new(),
        };
        let mut commands: Vec<Entry> = commands.into_iter().map(entry).collect();
        for name in others {
            if !commands.iter().any(|command| command.full_name == *name) {
                commands.push(entry((name, Categories::NONE)));
            }
        }
        let by_name: HashMap<Vec<u8>, CommandId> = commands
            .iter()
            .enumerate()
            .map(|(id, command)| (command.full_name.clone().into_bytes(), id))
            .collect();
        for id in 0..commands.len() {
            if let Some((container, _)) = commands[id].full_name.split_once('|') {
                let container = by_name[container.as_bytes()];
                commands[id].parent = Some(container);
                commands[container].subcommands.push(id);
            }
        }
        Catalog { commands, by_name }
    }

    /// How many commands there are, subcommands included.
    pub fn len(&self) -> usize {
        self.commands.len()
    }

    /// Whether there is no command.
    pub fn is_empty(&self) -> bool {
        self.commands.is_empty()
    }

    /// The command with this full name, in any case.
    pub fn find(&self, full_name: &[u8]) -> Option<CommandId> {
        self.by_name.get(&full_name.to_ascii_lowercase()).copied()
    }

    /// The full name of a command.
    pub fn full_name(&self, id: CommandId) -> &str {
        &self.commands[id].full_name
    }

    /// Whether it is a subcommand.
    pub fn is_subcommand(&self, id: CommandId) -> bool {
        self.commands[id].parent.is_some()
    }

    /// The subcommands of a container.
    pub fn subcommands(&self, id: CommandId) -> &[CommandId] {
        &self.commands[id].subcommands
    }

    /// All commands of a category, with the subcommands that it holds by themselves.
    pub fn in_category(&self, category: Categories) -> impl Iterator<Item = CommandId> + '_ {
        self.commands.iter().enumerate().filter(move |(_, c)| c.categories.has(category)).map(|(id, _)| id)
    }
}
