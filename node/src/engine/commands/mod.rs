//! The command table: one row a command, and the context in which its handler runs.
//!
//! A row pairs what is known about a command (`spec`: name, arity, flags, keys, documentation)
//! with the function that carries it out. Everything that asks about commands (the gates, COMMAND,
//! COMMAND DOCS, ACL, cluster routing) asks the row.

use std::collections::HashMap;
use std::sync::LazyLock;

use redoubt_wire::resp::reply::Reply;

use super::Engine;
use super::door::Access;
use super::error::{CommandError, Handled, unknown_command, unknown_subcommand};
use super::keyspace::object::Object;
use super::keyspace::table::ObjectMut;
use super::request::{Hole, Task};
use super::session::Session;
use crate::config::KeyspaceEvents;

pub mod acl;
pub mod args;
pub mod client;
pub mod config;
pub mod connection;
pub mod debug;
pub mod diagnostics;
pub mod digest;
pub mod dump;
pub mod expire;
pub mod generic;
pub mod help;
pub mod info;
pub mod key_finders;
pub mod lcs;
pub mod lists;
pub mod memory;
pub mod object;
pub mod pubsub;
pub mod redis;
pub mod replication;
pub mod server;
pub mod sets;
pub mod sort;
pub mod strings;
pub mod table;
pub mod transactions;

pub use redoubt_wire::commands::{introspection, keys, spec};
use spec::{CommandSpec, Flags};

/// Carries a command out: reads `args` (the name first), writes exactly one reply or returns
/// the error that is the reply.
pub type Handler = fn(&mut Cx<'_>, &[&[u8]], &mut Reply) -> Handled;

/// What a family's table pairs: a command and its handler.
pub type Row = (&'static CommandSpec, Handler);

/// One row of the command table.
pub struct Command {
    /// What is known about it.
    pub spec: &'static CommandSpec,
    /// What carries it out; a container has subcommands instead.
    pub handler: Handler,
    /// Its place among all rows, for statistics.
    pub index: usize,
    /// `container|subcommand` for a subcommand, else the name.
    pub full_name: String,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.full_name)
    }
}

impl Command {
    /// Whether the row has all of `flags`.
    pub fn has(&self, flags: Flags) -> bool {
        self.spec.flags.has(flags)
    }
}

/// All commands by name.
pub struct CommandTable {
    rows: Vec<Command>,
    by_name: HashMap<Box<[u8]>, usize, ahash::RandomState>,
}

/// The table of this program.
pub static COMMANDS: LazyLock<CommandTable> = LazyLock::new(|| CommandTable::new(rows()));

impl CommandTable {
    fn new(rows: Vec<Row>) -> Self {
        let mut table = CommandTable { rows: Vec::new(), by_name: HashMap::default() };
        for (spec, handler) in rows {
            let full_name = match spec.parent {
                Some(parent) => format!("{parent}|{}", spec.name),
                None => spec.name.to_string(),
            };
            let index = table.rows.len();
            let twice = table.by_name.insert(full_name.as_bytes().into(), index);
            assert!(twice.is_none(), "{full_name} stands twice in the command table");
            table.rows.push(Command { spec, handler, index, full_name });
        }
        table
    }

    /// Every row, subcommands included.
    pub fn rows(&self) -> &[Command] {
        &self.rows
    }

    /// The row of `full_name` (`get`, `config|get`), in any case.
    pub fn find(&self, full_name: &[u8]) -> Option<&Command> {
        let mut lower = [0u8; 64];
        let lower = lower.get_mut(..full_name.len())?;
        lower.copy_from_slice(full_name);
        lower.make_ascii_lowercase();
        self.by_name.get(&*lower).map(|&i| &self.rows[i])
    }

    /// The row that `args` call: a command or, for a container, its subcommand. Whether there are
    /// as many arguments as it takes is another question.
    pub fn resolve(&self, args: &[&[u8]]) -> Result<&Command, CommandError> {
        let command = self.find(args[0]).filter(|c| c.spec.parent.is_none());
        let command = command.ok_or_else(|| unknown_command(args))?;
        let command = match (command.spec.subcommands.is_empty(), args.get(1)) {
            (false, Some(sub)) => {
                let mut full = Vec::with_capacity(command.full_name.len() + 1 + sub.len());
                full.extend_from_slice(command.full_name.as_bytes());
                full.push(b'|');
                full.extend_from_slice(sub);
                self.find(&full).ok_or_else(|| unknown_subcommand(&command.full_name, sub))?
            }
            _ => command,
        };
        Ok(command)
    }
}

/// What a handler works with: the engine, the session it serves, the row that called it.
#[derive(Debug)]
pub struct Cx<'e> {
    /// The engine without the session.
    pub engine: &'e mut Engine,
    /// The session whose command runs.
    pub session: &'e mut Session,
    /// The row of the table.
    pub command: &'static Command,
    /// The command runs inside EXEC: nothing may wait.
    pub in_exec: bool,
}

impl Cx<'_> {
    /// The database that the session has selected.
    pub fn db(&self) -> usize {
        self.session.db
    }

    /// The time of this batch, in Unix ms.
    pub fn now_ms(&self) -> i64 {
        self.engine.now_ms
    }

    /// The live object at `key`; counts as an access.
    pub fn read(&mut self, key: &[u8]) -> Option<&Object> {
        self.engine.read(self.session.db, key, Access::Read)
    }

    /// The live object at `key`; leaves no trace.
    pub fn peek(&mut self, key: &[u8]) -> Option<&Object> {
        self.engine.read(self.session.db, key, Access::Peek)
    }

    /// Whether there is a live object at `key`, asked before a write: no hit and no miss.
    pub fn exists_for_write(&mut self, key: &[u8]) -> bool {
        !self.engine.expire_before_write(self.session.db, key)
            && self.engine.keyspace.find(self.session.db, key).is_some()
    }

    /// Opens the live object at `key` to be changed in place.
    pub fn open(&mut self, key: &[u8]) -> Option<ObjectMut<'_>> {
        self.engine.open(self.session.db, key)
    }

    /// Puts `object` at its key.
    pub fn put(&mut self, object: Object) {
        self.engine.put(self.session.db, object);
    }

    /// Deletes the live object at `key`.
    pub fn delete(&mut self, key: &[u8]) -> bool {
        self.engine.delete(self.session.db, key)
    }

    /// `key` has really changed.
    pub fn commit(&mut self, key: &[u8], class: KeyspaceEvents, event: &str) {
        self.engine.commit(self.session.db, key, class, event);
    }

    /// One more event of a change that was committed.
    pub fn note(&mut self, key: &[u8], class: KeyspaceEvents, event: &str) {
        self.engine.notify_event(self.session.db, key, class, event);
    }

    /// Leaves a hole in the reply, which `task` fills.
    pub fn pend(&mut self, task: Task, reply: &Reply) {
        self.session.blocked |= task.blocks();
        self.engine.holes.push(Hole { at: reply.buf.len(), task });
    }

    /// Appends an effect on the selected database.
    pub fn effect(&mut self, args: &[&[u8]]) {
        self.engine.effect(self.session.db, args);
    }
}

/// Every row: the families' tables one after the other.
fn rows() -> Vec<Row> {
    [
        acl::ROWS,
        client::ROWS,
        config::ROWS,
        connection::ROWS,
        debug::ROWS,
        diagnostics::ROWS,
        dump::ROWS,
        expire::ROWS,
        generic::ROWS,
        info::ROWS,
        lcs::ROWS,
        lists::ROWS,
        memory::ROWS,
        object::ROWS,
        pubsub::ROWS,
        replication::ROWS,
        server::ROWS,
        sets::ROWS,
        sort::ROWS,
        strings::ROWS,
        transactions::ROWS,
    ]
    .concat()
}
