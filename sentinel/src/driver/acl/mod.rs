//! ACL on a Sentinel: its users, what they may do, and what becomes of clients whose users change.
//!
//! The rules and the replies are `wire`'s, the same as a data node's; here they meet the few commands
//! of a Sentinel and its clients. Users live in `user` lines, which are rewritten with the rest of
//! the state, or in the file that `aclfile` names.

mod catalog;
mod settings;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use rand::RngCore;
use redoubt_wire::acl::file::{self, Origin};
use redoubt_wire::acl::{
    Call, Change, ChannelUses, Context, DEFAULT_USER, Denied, Event, KeyUses, Log, Reason, User, Users,
    answers,
};
use redoubt_wire::commands::spec::{ChannelArgs, CommandSpec, Flags};
use redoubt_wire::replace::replace;
use redoubt_wire::resp::reply::{Protocol, Reply};

pub use settings::Settings;

use catalog::CATALOG;

use super::clients::Client;
use super::session::Then;
use super::{Driver, client_command, command_table};
use crate::core::timers::Ms;
use crate::core::{ClientId, StateLine};

/// The users and what they were denied.
#[derive(Debug)]
pub(crate) struct Acl {
    users: Users,
    requirepass: Option<Vec<u8>>,
    file: Option<PathBuf>,
    log: Log,
    log_limit: usize,
    /// How often logging in, a command and a channel was denied. There are no keys.
    denied: [u64; 3],
}

/// What a thread that may block has done for ACL LOAD or SAVE.
#[derive(Debug)]
pub(crate) enum FileDone {
    /// The text of the ACL file was read for this client, or why not.
    Read(ClientId, Result<Vec<u8>, String>),
    /// All users were written for this client, or why not.
    Saved(ClientId, Result<(), String>),
}

impl Acl {
    /// The users that a Sentinel starts with.
    ///
    /// # Errors
    /// The line or the file that can't be taken over, and why; or that there are both.
    pub(crate) fn at_start(settings: &Settings, requirepass: Option<&str>) -> Result<Acl, String> {
        let requirepass = requirepass.map(str::as_bytes);
        let origin = Origin {
            lines: &settings.lines,
            file: settings.file.as_deref(),
            requirepass,
            all_channels: settings.all_channels,
        };
        let users = origin.users(&CATALOG)?;
        origin.warn(&users);
        Ok(Acl {
            users,
            requirepass: requirepass.map(<[u8]>::to_vec),
            file: settings.file.clone(),
            log: Log::default(),
            log_limit: settings.log_limit,
            denied: [0; 3],
        })
    }

    /// The user that a new client is.
    pub(super) fn default_user(&self) -> &Arc<User> {
        self.users.default_user()
    }

    /// Whether there is a user of this name.
    pub(super) fn has_user(&self, name: &str) -> bool {
        self.users.get(name.as_bytes()).is_some()
    }

    /// The `user` lines of the rewritten configuration; with an ACL file, none.
    pub(super) fn state_lines(&self) -> Vec<StateLine> {
        if self.file.is_some() {
            return Vec::new();
        }
        let lines = self.users.lines(self.requirepass.as_deref()).into_iter();
        lines
            .map(|(name, line)| StateLine {
                key: format!("user {}", String::from_utf8_lossy(&name)),
                text: format!("user {}", String::from_utf8_lossy(&line)),
                only_if_present: false,
            })
            .collect()
    }

    /// The lines of INFO.
    pub(super) fn info(&self) -> String {
        let [auth, commands, channels] = self.denied;
        format!(
            "acl_access_denied_auth:{auth}\r\nacl_access_denied_cmd:{commands}\r\nacl_access_denied_key:0\r\n\
             acl_access_denied_channel:{channels}\r\n"
        )
    }

    /// Holds a call against the rules of the client's user; what they deny is logged.
    ///
    /// # Errors
    /// The error that the client gets.
    pub(super) fn permit(
        &mut self,
        client: &Client,
        spec: &CommandSpec,
        words: &[&[u8]],
        now: Ms,
    ) -> Result<(), String> {
        let Err(denied) = check(&client.user, spec, words) else { return Ok(()) };
        let full_name = spec.full_name();
        let object = match denied {
            Denied::Command => full_name.as_bytes(),
            Denied::Key(at) | Denied::Channel(at) => words[at],
        };
        self.log_denial(client, denied.into(), object, client.user.name(), now);
        Err(format!("NOPERM {}", denied.text(&client.user, &full_name)))
    }

    /// Logs the client in as `user`; false, and an entry in the log, if the password is wrong. `by` is the
    /// command as it was typed.
    pub(super) fn log_in(
        &mut self,
        client: &mut Client,
        by: &[u8],
        user: &[u8],
        password: &[u8],
        now: Ms,
    ) -> bool {
        match self.users.log_in(user, password) {
            Some(user) => {
                client.user = user;
                client.authenticated = true;
                true
            }
            None => {
                self.log_denial(client, Reason::Auth, by, user, now);
                false
            }
        }
    }

    fn log_denial(&mut self, client: &Client, reason: Reason, object: &[u8], user: &[u8], now: Ms) {
        self.denied[match reason {
            Reason::Auth => 0,
            Reason::Command | Reason::Key => 1,
            Reason::Channel => 2,
        }] += 1;
        let event = Event {
            reason,
            context: Context::TopLevel,
            object: object.to_vec(),
            user: user.to_vec(),
            client: client_command::line(client, now),
        };
        self.log.add(event, unix_ms(), self.log_limit);
    }
}

/// Whether a user may make this call.
fn check(user: &User, spec: &CommandSpec, words: &[&[u8]]) -> Result<(), Denied> {
    let Some(command) = CATALOG.find(spec.full_name().as_bytes()) else { return Err(Denied::Command) };
    let channels = match spec.channels {
        ChannelArgs::None => ChannelUses::default(),
        ChannelArgs::First => ChannelUses { words: 1..words.len().min(2), are_patterns: false },
        ChannelArgs::All => ChannelUses { words: 1..words.len(), are_patterns: false },
        ChannelArgs::AllPatterns => ChannelUses { words: 1..words.len(), are_patterns: true },
    };
    let before_login = spec.flags.has(Flags::NO_AUTH);
    user.check(&Call { command, before_login, words, keys: &KeyUses::new, channels })
}

fn unix_ms() -> i64 {
    let since_1970 = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    since_1970.as_millis() as i64
}

impl Driver {
    /// Carries out ACL.
    pub(super) fn acl_command(&mut self, id: ClientId, argv: &[Vec<u8>]) -> Then {
        let Some(client) = self.clients.all.get(&id) else { return Then::Silence };
        let mut reply = Reply::new(client.protocol);
        let (sub, args) = (argv[1].to_ascii_lowercase(), &argv[2..]);
        let acl = &mut self.acl;
        let one_or_none = || args.first().map(Vec::as_slice);
        let done = match (sub.as_slice(), args) {
            (b"whoami", []) => {
                reply.bulk(client.user.name());
                Ok(())
            }
            (b"users", []) => {
                answers::names(&acl.users, &mut reply);
                Ok(())
            }
            (b"list", []) => {
                answers::list(&acl.users, &mut reply);
                Ok(())
            }
            (b"getuser", [name]) => {
                answers::user(acl.users.get(name).map(|user| &**user), &mut reply);
                Ok(())
            }
            (b"cat", [] | [_]) => answers::categories(&CATALOG, one_or_none(), &mut reply),
            (b"log", [] | [_]) => answers::log(&mut acl.log, one_or_none(), unix_ms(), &mut reply),
            (b"genpass", [] | [_]) => new_password(one_or_none(), &mut reply),
            (b"dryrun", [user, call @ ..]) if !call.is_empty() => dry_run(&acl.users, user, call, &mut reply),
            (b"help", []) => {
                redoubt_wire::commands::help("acl", answers::HELP.iter().copied(), &mut reply);
                Ok(())
            }
            (b"setuser", [name, rules @ ..]) => match acl.users.set(name, rules) {
                Ok(change) => {
                    reply.ok();
                    return self.user_changed(id, &change, reply);
                }
                Err(text) => Err(format!("ERR {text}")),
            },
            (b"deluser", names @ [_, ..]) => return self.delete_users(id, names, reply),
            (b"load" | b"save", []) => match acl.file.clone() {
                Some(file) => return self.use_file(id, file, sub == b"load"),
                None => Err(answers::NO_FILE.into()),
            },
            _ => Err(wrong_form(&argv[1])),
        };
        if let Err(text) = done {
            reply.error(&text);
        }
        Then::Reply(reply)
    }

    /// Hands a user's new rules to the clients that have the old ones. Who listens to what the user
    /// may no longer listen to is closed.
    fn user_changed(&mut self, running: ClientId, change: &Change, reply: Reply) -> Then {
        let listeners_stay = change.before.as_ref().is_none_or(|before| change.now.keeps_channels_of(before));
        let mut lost = Vec::new();
        for client in self.clients.all.values_mut().filter(|client| client.user.name() == change.now.name()) {
            client.user = change.now.clone();
            if !listeners_stay && !may_go_on_listening(client) {
                lost.push(client.id);
            }
        }
        self.close(running, &lost, reply)
    }

    fn delete_users(&mut self, running: ClientId, names: &[Vec<u8>], mut reply: Reply) -> Then {
        if names.iter().any(|name| name == DEFAULT_USER) {
            reply.error(answers::DEFAULT_STAYS);
            return Then::Reply(reply);
        }
        let gone: Vec<Arc<User>> = names.iter().filter_map(|name| self.acl.users.delete(name)).collect();
        reply.integer(gone.len() as i64);
        let lost = self.clients_of(|user| gone.iter().any(|gone| gone.name() == user.name()));
        self.close(running, &lost, reply)
    }

    fn clients_of(&self, fits: impl Fn(&User) -> bool) -> Vec<ClientId> {
        self.clients.all.values().filter(|client| fits(&client.user)).map(|client| client.id).collect()
    }

    /// Closes connections whose users are gone or may no longer listen. What they have sent meanwhile
    /// is not carried out. The running one still gets its reply.
    fn close(&mut self, running: ClientId, lost: &[ClientId], reply: Reply) -> Then {
        for id in lost.iter().filter(|id| **id != running) {
            if let Some(client) = self.clients.all.get(id) {
                client.connection.abort();
            }
            self.clients.remove(*id);
        }
        if lost.contains(&running) { Then::Close(reply) } else { Then::Reply(reply) }
    }

    /// ACL LOAD and SAVE, on a thread that may block; its end comes back as an event.
    fn use_file(&self, client: ClientId, file: PathBuf, load: bool) -> Then {
        let events = self.events.clone();
        let text = self.acl.users.to_file();
        tokio::task::spawn_blocking(move || {
            let done = if load {
                FileDone::Read(client, file::read(&file))
            } else {
                let saved = replace(&file, &text).map(drop);
                FileDone::Saved(client, saved.map_err(|error| format!("{}: {error}", file.display())))
            };
            // The loop is gone only when the process ends.
            drop(events.send(super::Event::AclFile(done)));
        });
        Then::Later
    }

    /// Answers ACL LOAD or SAVE.
    pub(super) fn acl_file_done(&mut self, done: FileDone, now: Ms) {
        let (FileDone::Read(id, _) | FileDone::Saved(id, _)) = done;
        let protocol = self.clients.all.get(&id).map_or(Protocol::Resp2, |client| client.protocol);
        let mut reply = Reply::new(protocol);
        let then = match done {
            FileDone::Saved(_, Ok(())) => {
                reply.ok();
                Then::Reply(reply)
            }
            FileDone::Saved(_, Err(why)) => {
                redoubt_wire::log::warning!("ACL SAVE: {why}");
                reply.error(answers::NOT_SAVED);
                Then::Reply(reply)
            }
            FileDone::Read(_, text) => {
                let name = self.acl.file.as_deref().map_or_else(Default::default, Path::to_string_lossy);
                match text.and_then(|text| self.acl.users.load(&text, &name)) {
                    Ok(()) => {
                        reply.ok();
                        self.users_loaded(id, reply)
                    }
                    Err(errors) => {
                        reply.error(&format!("ERR {errors}"));
                        Then::Reply(reply)
                    }
                }
            }
        };
        self.then(id, then, now);
    }

    /// As in Redis, whoever is logged in as another user than the default one is closed, whether that user
    /// has changed or not.
    fn users_loaded(&mut self, running: ClientId, reply: Reply) -> Then {
        let default = self.acl.users.default_user().clone();
        for client in self.clients.all.values_mut().filter(|client| client.user.name() == default.name()) {
            client.user = default.clone();
        }
        let lost = self.clients_of(|user| user.name() != default.name());
        self.close(running, &lost, reply)
    }
}

/// Whether what the client listens to is all allowed by its user.
fn may_go_on_listening(client: &Client) -> bool {
    client.channels.iter().all(|channel| client.user.may_listen(channel, false))
        && client.patterns.iter().all(|pattern| client.user.may_listen(pattern, true))
}

fn new_password(bits: Option<&[u8]>, reply: &mut Reply) -> Result<(), String> {
    let digits = answers::password_digits(bits)?;
    let mut random = vec![0; digits.div_ceil(2)];
    rand::rng().fill_bytes(&mut random);
    reply.bulk(answers::password(&random, digits).as_bytes());
    Ok(())
}

fn dry_run(users: &Users, name: &[u8], call: &[Vec<u8>], reply: &mut Reply) -> Result<(), String> {
    let shown = String::from_utf8_lossy;
    let user = users.get(name).ok_or_else(|| format!("ERR User '{}' not found", shown(name)))?;
    let not_found = || format!("ERR Command '{}' not found", shown(&call[0]));
    let words: Vec<&[u8]> = call.iter().map(Vec::as_slice).collect();
    let spec = command_table::find(&words).ok_or_else(not_found)?;
    let full_name = spec.full_name();
    if !spec.accepts(call.len()) {
        return Err(format!("ERR wrong number of arguments for '{full_name}' command"));
    }
    match check(user, spec, &words) {
        Ok(()) => reply.ok(),
        Err(denied) => reply.bulk(denied.full_text(user, &full_name, &words).as_bytes()),
    }
    Ok(())
}

/// The error of a subcommand with more words than it takes; the table knows those with too few.
fn wrong_form(word: &[u8]) -> String {
    let shown = String::from_utf8_lossy(&word[..word.len().min(128)]);
    format!("ERR unknown subcommand or wrong number of arguments for '{shown}'. Try ACL HELP.")
}
