//! Carries one command out: finds its row, holds it against the gates, queues or runs it.
//!
//! The order of the gates is Redis's, since clients see which error comes first. What a gate
//! refuses while a MULTI is open spoils the transaction.

use redoubt_wire::resp::reply::Reply;

use super::acl::context_of;
use super::commands::spec::Flags;
use super::commands::{COMMANDS, Command, Cx};
use super::error::{self, CommandError};
use super::load::Loading;
use super::request::{Hole, Task};
use super::session::{Class, ClientId, ReplyMode, Session};
use super::transaction::Queued;
use super::{Engine, Role};

/// What became of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Executed {
    /// It is answered (or will be, through a hole).
    Done,
    /// A pause holds it back: offer it again later.
    Paused,
}

/// One client's turn: its session is out of the registry, commands run one after the other.
#[derive(Debug)]
pub struct Batch<'e> {
    /// The engine without the session.
    pub engine: &'e mut Engine,
    session: Option<Box<Session>>,
}

impl Engine {
    /// Begins the turn of `client` at Unix time `now_ms`; `None` if there is no such client.
    pub fn begin(&mut self, client: ClientId, now_ms: i64) -> Option<Batch<'_>> {
        let mut session = self.clients.take(client)?;
        self.now_ms = now_ms;
        self.last_tick = (self.ticks)();
        session.active_ms = now_ms;
        self.current = Some((client, session.protocol));
        self.applying = session.class == Class::Master;
        self.no_touch = session.no_touch;
        Some(Batch { engine: self, session: Some(session) })
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        self.engine.current = None;
        self.engine.applying = false;
        self.engine.no_touch = false;
        if let Some(session) = self.session.take() {
            self.engine.clients.put(session);
        }
    }
}

impl Batch<'_> {
    /// The session whose turn it is.
    pub fn session(&mut self) -> &mut Session {
        self.session.as_mut().expect("a batch holds its session until it is dropped")
    }

    /// Whether the client may run commands.
    pub fn may_command(&mut self) -> bool {
        let session = self.session.as_ref().expect("a batch holds its session until it is dropped");
        self.engine.may_command(session)
    }

    /// Starts loading what lies at keys of these hashes in the session's database.
    pub fn prefetch(&mut self, hashes: &[u64]) {
        let db = self.session().db;
        self.engine.keyspace.prefetch(db, hashes);
    }

    /// The client sent an empty line: by it a replica that is loading shows that it lives.
    pub fn keep_alive(&mut self) {
        let now_ms = self.engine.monotonic_ms();
        if let Some(replica) = self.session().replica {
            self.engine.replication.feed.handle_newline(now_ms, replica);
        }
    }

    /// Executes one command and appends its reply, if CLIENT REPLY lets it have one.
    pub fn execute(&mut self, args: &[&[u8]], reply: &mut Reply) -> Executed {
        let session = self.session.as_mut().expect("a batch holds its session until it is dropped");
        let engine = &mut *self.engine;
        let start = reply.buf.len();
        reply.protocol = session.protocol;
        let executed = engine.process(session, args, reply);
        if executed == Executed::Paused {
            return executed;
        }
        match session.reply_mode {
            ReplyMode::On => {}
            ReplyMode::Off | ReplyMode::Skip => reply.buf.truncate(start),
            // CLIENT REPLY SKIP itself has no reply; the next command has none either.
            ReplyMode::SkipNext => reply.buf.truncate(start),
        }
        // What the command pushed to its own client follows its reply, whatever became of that.
        reply.buf.append(&mut engine.own_pushes);
        session.reply_mode = match session.reply_mode {
            ReplyMode::SkipNext => ReplyMode::Skip,
            ReplyMode::Skip => ReplyMode::On,
            other => other,
        };
        if !engine.dirty_watchers.is_empty() {
            engine.tell_watchers(session);
        }
        engine.no_touch = session.no_touch;
        engine.current = Some((session.id, session.protocol));
        executed
    }
}

impl Engine {
    fn process(&mut self, session: &mut Session, args: &[&[u8]], reply: &mut Reply) -> Executed {
        let command = match resolve(session, args) {
            Ok(command) => command,
            Err(error) => {
                self.refuse(session, None, error, reply);
                return Executed::Done;
            }
        };
        session.last_command = Some(command);
        let allowed = match command.spec.accepts(args.len()) {
            true => self.gates(session, command, args),
            false => Err(error::wrong_arity(&command.full_name)),
        };
        if let Err(error) = allowed {
            self.refuse(session, Some(command), error, reply);
            return Executed::Done;
        }
        if self.pauses.any() && self.held_back(session, command) {
            session.blocked = true;
            return Executed::Paused;
        }
        if session.tx.open && !runs_in_multi(command) {
            session.tx.queue.push(Queued::new(command, args));
            reply.simple("QUEUED");
            return Executed::Done;
        }
        self.units_apart = command.has(Flags::TOUCHES_ARBITRARY_KEYS);
        self.call(session, command, args, reply, false);
        self.units_apart = false;
        self.end_unit(session);
        Executed::Done
    }

    /// Runs a command that has passed the gates.
    pub(super) fn call(
        &mut self,
        session: &mut Session,
        command: &'static Command,
        args: &[&[u8]],
        reply: &mut Reply,
        in_exec: bool,
    ) {
        let start = reply.buf.len();
        let holes = self.holes.len();
        let (commits, effects) = (self.commits, self.effects_seen);
        let mut cx = Cx { engine: self, session, command, in_exec };
        let result = (command.handler)(&mut cx, args, reply);
        debug_assert!(
            (self.commits > commits) == (self.effects_seen > effects),
            "{} made {} commits and {} effects",
            command.full_name,
            self.commits - commits,
            self.effects_seen - effects
        );
        let failed = match result {
            Ok(()) => reply.buf.get(start) == Some(&b'-') && self.holes.len() == holes,
            Err(error) => {
                reply.buf.truncate(start);
                reply.error(&error.0);
                true
            }
        };
        if failed {
            self.stats.count_error(error_code(&reply.buf[start + 1..]));
        }
        let tick = (self.ticks)();
        let mut spent = tick.saturating_sub(self.last_tick);
        self.last_tick = tick;
        if let Some(Hole { task: Task::Freeze { us }, .. }) = self.holes.get(holes..).and_then(<[Hole]>::last)
        {
            // DEBUG SLEEP takes its time when the handler is long through.
            spent += us * 1000;
        }
        self.log_if_slow(session, command, args, spent / 1000);
        self.feed_monitors(session, command, args);
        self.stats.commands += 1;
        let stats = &mut self.stats.by_command[command.index];
        stats.calls += 1;
        stats.ns += spent;
        stats.failed += failed as u64;
    }

    /// Ends the unit of effects of a command that ran by itself, or of a whole EXEC.
    pub(super) fn end_unit(&mut self, session: &mut Session) {
        if self.effects.end_unit() > 0 {
            session.write_offset = self.effects.offset();
        }
    }

    /// Answers a command that does not get to run.
    fn refuse(
        &mut self,
        session: &mut Session,
        command: Option<&'static Command>,
        error: CommandError,
        reply: &mut Reply,
    ) {
        if session.tx.open {
            session.tx.aborted = true;
        }
        if let Some(command) = command {
            self.stats.by_command[command.index].rejected += 1;
            if command.spec.name == "exec" {
                // A refused EXEC ends its transaction, and says so in Redis's words.
                self.discard(session);
                let text = format!("EXECABORT Transaction discarded because of: {}", error.0);
                self.stats.count_error("EXECABORT");
                return reply.error(&text);
            }
        }
        self.stats.count_error(error.code());
        reply.error(&error.0);
    }

    /// The flags that count: EXEC's are those of what it will run.
    fn effective(session: &Session, command: &Command) -> Flags {
        const COUNTED: Flags = Flags::WRITE.with(Flags::DENYOOM).with(Flags::MAY_REPLICATE);
        let mut flags = command.spec.flags;
        if command.spec.name == "exec" {
            for queued in &session.tx.queue {
                flags = flags.with(queued.command.spec.flags.and(COUNTED));
            }
        }
        flags
    }

    fn gates(&mut self, session: &Session, command: &Command, args: &[&[u8]]) -> Result<(), CommandError> {
        let flags = Self::effective(session, command);
        if !flags.has(Flags::NO_AUTH) && !self.may_command(session) {
            return Err(error::NO_AUTH);
        }
        if session.class == Class::Master {
            return Ok(());
        }
        if session.tx.open && flags.has(Flags::NO_MULTI) {
            return Err(error::NO_MULTI);
        }
        if let Err(denied) = self.permit(session, command, args, context_of(session)) {
            return Err(error::no_permission(&denied.text(session.user(), &command.full_name)));
        }
        let write = flags.has(Flags::WRITE);
        if self.config.maxmemory > 0 && !self.make_room() && flags.has(Flags::DENYOOM) {
            return Err(error::OUT_OF_MEMORY);
        }
        if self.save_failed
            && self.config.stop_writes_on_bgsave_error
            && !self.config.save.is_empty()
            && (write || command.spec.name == "ping")
        {
            return Err(error::MISCONF);
        }
        if write && !self.replication.feed.enough_good_replicas() {
            return Err(error::NO_REPLICAS);
        }
        if write && !self.is_master() && self.config.replica_read_only {
            return Err(error::READ_ONLY);
        }
        if write && self.replication.feed.is_guarded() {
            return Err(error::FORMER_MASTER);
        }
        if session.in_pubsub()
            && session.protocol == redoubt_wire::resp::reply::Protocol::Resp2
            && !allowed_in_pubsub(command)
        {
            return Err(CommandError::new(format!(
                "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
                command.full_name
            )));
        }
        let link_down = matches!(self.role, Role::Replica { link_up: false, .. });
        if link_down && !self.config.replica_serve_stale_data && !flags.has(Flags::STALE) {
            return Err(error::MASTER_DOWN);
        }
        let unanswered = match self.loading {
            Loading::No => false,
            Loading::Exclusive => !flags.has(Flags::LOADING),
            Loading::Async => flags.has(Flags::NO_ASYNC_LOADING),
        };
        if unanswered {
            return Err(error::LOADING);
        }
        if session.class == Class::Replica
            && (write || flags.has(Flags::READONLY) || flags.has(Flags::MAY_REPLICATE))
        {
            return Err(error::REPLICA_CLIENT);
        }
        Ok(())
    }

    /// Whether a pause postpones the command: a client's, or one of our master's stream.
    fn held_back(&self, session: &Session, command: &Command) -> bool {
        let Some(all) = self.pauses.holds(self.now_ms) else { return false };
        if session.class == Class::Replica {
            return false;
        }
        let flags = Self::effective(session, command);
        all || flags.has(Flags::WRITE) || flags.has(Flags::MAY_REPLICATE)
    }

    /// Marks the transactions of those whose watched keys changed.
    fn tell_watchers(&mut self, own: &mut Session) {
        for id in std::mem::take(&mut self.dirty_watchers) {
            if id == own.id {
                own.tx.dirty = true;
            } else if let Some(session) = self.clients.get_mut(id) {
                session.tx.dirty = true;
            }
        }
    }
}

/// The row that `args` call; a pipeline of one command looks it up once.
fn resolve(session: &Session, args: &[&[u8]]) -> Result<&'static Command, CommandError> {
    if let Some(last) = session.last_command
        && last.spec.subcommands.is_empty()
        && last.spec.parent.is_none()
        && last.spec.name.as_bytes().eq_ignore_ascii_case(args[0])
    {
        return Ok(last);
    }
    COMMANDS.resolve(args)
}

/// The code of an encoded error, its marker left out: what stands before the first blank.
fn error_code(error: &[u8]) -> &str {
    let end = error.iter().position(|b| *b == b' ' || *b == b'\r').unwrap_or(error.len());
    std::str::from_utf8(&error[..end]).unwrap_or("ERR")
}

/// Commands that act on a transaction instead of being queued in it.
fn runs_in_multi(command: &Command) -> bool {
    matches!(command.spec.name, "exec" | "discard" | "multi" | "watch" | "quit" | "reset")
}

fn allowed_in_pubsub(command: &Command) -> bool {
    matches!(
        command.spec.name,
        "ping"
            | "subscribe"
            | "ssubscribe"
            | "psubscribe"
            | "unsubscribe"
            | "sunsubscribe"
            | "punsubscribe"
            | "quit"
            | "reset"
    )
}
