//! Who may do what: the users, the gate that holds calls against their rules, and the log of what
//! it denied.
//!
//! The rules themselves are `wire`'s; here they meet the command table and the clients. A session holds
//! its user and one flag, whether that user may do everything: for such a client the gate is
//! one look at the flag. A user that changes is a new value, so whoever changes one hands it to
//! the sessions that have the old one ([`Engine::user_changed`]); no check looks a user up by name.

use std::sync::{Arc, LazyLock};

use redoubt_wire::acl::{
    Access, Call, Catalog, Change, ChannelUses, Context, Denied, Event, KeyUse, KeyUses, Log, Reason, User,
    Users,
};

use super::Engine;
use super::commands::keys::KeyFlags;
use super::commands::spec::{ChannelArgs, Flags};
use super::commands::{COMMANDS, Command, client, redis};
use super::session::{ClientId, Session};
use crate::config::{AclPubsubDefault, Config};

/// The node's commands, as rules speak of them: a command's number is that of its row. Rules may also
/// name those of Redis that are not here.
pub static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let rows = COMMANDS.rows().iter().map(|row| (row.full_name.as_str(), row.spec.categories()));
    Catalog::new(rows, redis::NAMES)
});

/// How often something was denied, for INFO. CONFIG RESETSTAT leaves these figures alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct Denials {
    /// Logging in.
    pub auth: u64,
    /// A command.
    pub commands: u64,
    /// A key.
    pub keys: u64,
    /// A channel.
    pub channels: u64,
}

/// The users and what they were denied.
#[derive(Debug)]
pub struct Acl {
    users: Users,
    pub(super) log: Log,
    denials: Denials,
}

impl Acl {
    /// The default user alone, with the password of `requirepass`.
    pub fn new(config: &Config) -> Acl {
        let mut users = Users::new(&CATALOG, all_channels(config));
        users.set_default_password(requirepass(config));
        Acl { users, log: Log::default(), denials: Denials::default() }
    }

    /// All users.
    pub fn users(&self) -> &Users {
        &self.users
    }

    /// How often something was denied.
    pub fn denials(&self) -> &Denials {
        &self.denials
    }
}

/// The default user's password in clear, as `requirepass` has it.
pub fn requirepass(config: &Config) -> Option<&[u8]> {
    config.requirepass.as_ref().map(|secret| secret.0.as_slice())
}

/// What `acl-pubsub-default` says of the channels of new users.
pub fn all_channels(config: &Config) -> bool {
    config.acl_pubsub_default == AclPubsubDefault::AllChannels
}

impl Command {
    /// What the rules see of a call of this command, which has passed the check of its arity.
    fn seen<'a>(&self, words: &'a [&'a [u8]], keys: &'a dyn Fn() -> KeyUses) -> Call<'a> {
        let channels = match self.spec.channels {
            ChannelArgs::None => ChannelUses::default(),
            ChannelArgs::First => ChannelUses { words: 1..words.len().min(2), are_patterns: false },
            ChannelArgs::All => ChannelUses { words: 1..words.len(), are_patterns: false },
            ChannelArgs::AllPatterns => ChannelUses { words: 1..words.len(), are_patterns: true },
        };
        let before_login = self.has(Flags::NO_AUTH);
        Call { command: self.index, before_login, words, keys, channels }
    }

    /// The keys of a call, and what it does with them. A call that is not of the command's form has
    /// none: its handler answers with an error.
    fn key_uses(&self, words: &[&[u8]]) -> KeyUses {
        let Some(keys) = self.spec.keys_of(words) else { return KeyUses::new() };
        let changes = [KeyFlags::INSERT, KeyFlags::UPDATE, KeyFlags::DELETE];
        keys.iter()
            .map(|key| {
                let reads = if key.flags.has(KeyFlags::ACCESS) { Access::READ } else { Access::NONE };
                let writes = changes.iter().any(|flag| key.flags.has(*flag));
                let access = if writes { reads.with(Access::WRITE) } else { reads };
                KeyUse { position: key.position, access }
            })
            .collect()
    }

    /// Whether `user` may make this call.
    ///
    /// # Errors
    /// What of it the user's rules deny.
    pub(super) fn check(&self, user: &User, words: &[&[u8]]) -> Result<(), Denied> {
        user.check(&self.seen(words, &|| self.key_uses(words)))
    }
}

impl Engine {
    /// Whether the client may run commands: it has logged in, or the default user needs no password.
    pub(super) fn may_command(&self, session: &Session) -> bool {
        session.authenticated || self.acl.users.default_user().is_open()
    }

    /// The gate: whether the rules of the client's user allow a call. What they deny is logged.
    ///
    /// # Errors
    /// What they deny.
    #[inline]
    pub(super) fn permit(
        &mut self,
        session: &Session,
        command: &Command,
        words: &[&[u8]],
        context: Context,
    ) -> Result<(), Denied> {
        if session.is_unrestricted() {
            return Ok(());
        }
        self.hold_against_rules(session, command, words, context)
    }

    #[cold]
    fn hold_against_rules(
        &mut self,
        session: &Session,
        command: &Command,
        words: &[&[u8]],
        context: Context,
    ) -> Result<(), Denied> {
        let user = session.user();
        command.check(user, words).inspect_err(|denied| {
            let object = match denied {
                Denied::Command => command.full_name.as_bytes(),
                Denied::Key(at) | Denied::Channel(at) => words[*at],
            };
            self.log_denial(session, (*denied).into(), context, object, user.name());
        })
    }

    /// Whether the client may read any key by a call whose keys follow from data.
    pub(super) fn may_read_all_keys(&self, session: &Session, command: &Command, words: &[&[u8]]) -> bool {
        let keys = || command.key_uses(words);
        session.is_unrestricted()
            || session.user().check_with_all_keys(&command.seen(words, &keys), Access::READ)
    }

    /// Counts and logs that `user` was denied `object`.
    fn log_denial(
        &mut self,
        session: &Session,
        reason: Reason,
        context: Context,
        object: &[u8],
        user: &[u8],
    ) {
        let denials = &mut self.acl.denials;
        *match reason {
            Reason::Auth => &mut denials.auth,
            Reason::Command => &mut denials.commands,
            Reason::Key => &mut denials.keys,
            Reason::Channel => &mut denials.channels,
        } += 1;
        let client = client::line(session, self.now_ms).trim_end().to_string();
        let event = Event { reason, context, object: object.to_vec(), user: user.to_vec(), client };
        self.acl.log.add(event, self.now_ms, self.config.acllog_max_len as usize);
    }

    /// Logs the client in as `user`; false, and an entry in the log, if the password is wrong. `by` is the
    /// command as it was typed.
    pub(super) fn log_in(&mut self, session: &mut Session, by: &[u8], user: &[u8], password: &[u8]) -> bool {
        match self.acl.users.log_in(user, password) {
            Some(user) => {
                session.become_user(user);
                session.authenticated = true;
                true
            }
            None => {
                self.log_denial(session, Reason::Auth, context_of(session), by, user);
                false
            }
        }
    }

    /// The session is again what it was before its client logged in.
    pub(super) fn log_out(&self, session: &mut Session) {
        let default = self.acl.users.default_user().clone();
        session.authenticated = default.is_open();
        session.become_user(default);
    }

    /// The users that a node starts with, from its configuration or its ACL file.
    pub fn start_with_users(&mut self, users: Users) {
        self.acl.users = users;
    }

    /// What follows `user` on the lines of a rewritten configuration: nothing with an ACL file, where
    /// the users are then.
    pub fn user_lines(&self) -> Vec<Vec<u8>> {
        match self.config.aclfile {
            Some(_) => Vec::new(),
            None => {
                self.acl.users.lines(requirepass(&self.config)).into_iter().map(|(_, line)| line).collect()
            }
        }
    }

    /// ACL SETUSER.
    pub(super) fn set_user(
        &mut self,
        running: &mut Session,
        name: &[u8],
        rules: &[&[u8]],
    ) -> Result<(), String> {
        let change = self.acl.users.set(name, rules)?;
        self.user_changed(Some(running), &change);
        Ok(())
    }

    /// ACL DELUSER for one name: whether there was such a user. Its clients are closed.
    pub(super) fn delete_user(&mut self, running: &mut Session, name: &[u8]) -> bool {
        let Some(user) = self.acl.users.delete(name) else { return false };
        self.close_clients_of(running, |gone| gone.name() == user.name());
        true
    }

    /// ACL LOAD by `client`: takes over the text of the ACL file, named `file`. As in Redis, whoever is
    /// logged in as another user than the default one is closed, whether that user has changed or not.
    ///
    /// # Errors
    /// All that is wrong with the text; then nothing has changed.
    pub fn load_users(&mut self, client: ClientId, text: &[u8], file: &str) -> Result<(), String> {
        self.acl.users.load(text, file)?;
        let now = self.acl.users.default_user().clone();
        // Without what it was before: Redis closes no listener here.
        self.user_changed(None, &Change { before: None, now: now.clone() });
        let Some(mut running) = self.clients.take(client) else { return Ok(()) };
        self.close_clients_of(&mut running, |user| user.name() != now.name());
        self.clients.put(running);
        Ok(())
    }

    /// Follows a change of the configuration from `previous` to the one in force.
    pub(super) fn follow_acl_config(&mut self, previous: &Config, running: Option<&mut Session>) {
        self.acl.log.trim(self.config.acllog_max_len as usize);
        self.acl.users.set_all_channels(all_channels(&self.config));
        if self.config.requirepass != previous.requirepass {
            let change = self.acl.users.set_default_password(requirepass(&self.config));
            self.user_changed(running, &change);
        }
    }

    /// Hands a user's new rules to the sessions that have the old ones. Who listens to what the user
    /// may no longer listen to is closed.
    fn user_changed(&mut self, running: Option<&mut Session>, change: &Change) {
        let listeners_stay = change.before.as_ref().is_none_or(|before| change.now.keeps_channels_of(before));
        let mut lost = Vec::new();
        let visit = |session: &mut Session| {
            if session.user().name() != change.now.name() {
                return false;
            }
            session.become_user(change.now.clone());
            !listeners_stay && !may_go_on_listening(session)
        };
        if let Some(session) = running
            && visit(session)
        {
            session.close_asap = true;
        }
        for session in self.clients.iter_mut() {
            if visit(session) {
                lost.push(session.id);
            }
        }
        lost.into_iter().for_each(|client| self.kill(client));
    }

    /// Closes the clients of users that are gone. The running one still gets its reply, as nobody.
    fn close_clients_of(&mut self, running: &mut Session, is_gone: impl Fn(&User) -> bool) {
        let victims: Vec<ClientId> =
            self.clients.iter().filter(|session| is_gone(session.user())).map(|session| session.id).collect();
        victims.into_iter().for_each(|client| self.kill(client));
        if is_gone(running.user()) {
            running.become_user(self.acl.users.default_user().clone());
            running.authenticated = false;
            running.close_asap = true;
        }
    }
}

/// Whether what the client listens to is all allowed by its user.
fn may_go_on_listening(session: &Session) -> bool {
    let user: &Arc<User> = session.user();
    session.channels.iter().all(|channel| user.may_listen(channel, false))
        && session.patterns.iter().all(|pattern| user.may_listen(pattern, true))
}

/// Where a command that is refused stands.
pub(super) fn context_of(session: &Session) -> Context {
    if session.tx.open { Context::Multi } else { Context::TopLevel }
}
