//! The clients: who they are, what they subscribed to, and how replies and events reach them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use redoubt_wire::acl::User;
use redoubt_wire::commands::spec::CommandSpec;
use redoubt_wire::glob::glob_match;
use redoubt_wire::resp::reply::{Protocol, Reply};

use super::server::{Connection, NewClient, Remote};
use super::settings::{OutputLimit, Settings};
use super::tracking::Tracking;
use crate::core::ClientId;
use crate::core::timers::Ms;

/// How often idle clients are looked for.
const IDLE_CHECK_MS: Ms = 1000;

/// What a client from elsewhere is told in protected mode.
const PROTECTED: &[u8] = b"-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. To let others connect, set 'protected-mode no' or a password ('requirepass', or an ACL user) in the configuration file of this Sentinel, and restart it.\r\n";

/// Which replies a client wants (CLIENT REPLY).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ReplyMode {
    /// All.
    On,
    /// None.
    Off,
    /// All but the next.
    SkipNext,
}

/// A client.
#[derive(Debug)]
pub(crate) struct Client {
    pub(crate) id: ClientId,
    pub(crate) remote: Remote,
    pub(crate) name: String,
    pub(crate) lib_name: String,
    pub(crate) lib_version: String,
    pub(crate) protocol: Protocol,
    pub(crate) authenticated: bool,
    /// The user it is logged in as, with the rules in force.
    pub(crate) user: Arc<User>,
    pub(crate) no_evict: bool,
    pub(crate) reply_mode: ReplyMode,
    pub(crate) channels: BTreeSet<Vec<u8>>,
    pub(crate) patterns: BTreeSet<Vec<u8>>,
    pub(crate) connected_at: Ms,
    pub(crate) active_at: Ms,
    pub(crate) last_command: Option<&'static CommandSpec>,
    pub(super) tracking: Tracking,
    pub(crate) connection: Connection,
    /// Since when more waits for it than its soft limit allows.
    over_limit_since: Option<Ms>,
}

impl Client {
    /// How many channels and patterns it listens to.
    pub(crate) fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }

    /// Queues bytes; a client that lets too many pile up is dropped.
    fn send(&mut self, bytes: &[u8], limit: OutputLimit, now: Ms) {
        let waiting = self.connection.send(bytes);
        let over = |limit: usize| limit != 0 && waiting > limit;
        self.over_limit_since = over(limit.soft_bytes).then(|| self.over_limit_since.unwrap_or(now));
        let too_long = self.over_limit_since.is_some_and(|since| now - since > limit.soft_s * 1000);
        if over(limit.hard_bytes) || too_long {
            redoubt_wire::log::warning!(
                "Client {} scheduled to be closed ASAP for overcoming of output buffer limits.",
                self.remote.addr
            );
            self.connection.abort();
        }
    }
}

/// All clients, by id.
#[derive(Debug)]
pub(crate) struct Clients {
    pub(crate) all: BTreeMap<ClientId, Client>,
    most: usize,
    normal_limit: OutputLimit,
    pubsub_limit: OutputLimit,
    /// Idle longer than this, a client is dropped; 0: never.
    timeout_ms: Ms,
    idle_checked_at: Ms,
    protected_mode: bool,
    pub(crate) connections_received: u64,
    pub(crate) connections_rejected: u64,
    pub(crate) error_replies: u64,
    pub(crate) commands_processed: u64,
}

impl Clients {
    pub(crate) fn new(settings: &Settings, now: Ms) -> Self {
        Clients {
            all: BTreeMap::new(),
            most: settings.maxclients,
            normal_limit: settings.normal_limit,
            pubsub_limit: settings.pubsub_limit,
            timeout_ms: settings.timeout_s * 1000,
            idle_checked_at: now,
            protected_mode: settings.protected_mode,
            connections_received: 0,
            connections_rejected: 0,
            error_replies: 0,
            commands_processed: 0,
        }
    }

    /// When to call [`Clients::drop_idle`].
    pub(crate) fn due(&self) -> Ms {
        if self.timeout_ms == 0 { Ms::MAX } else { self.idle_checked_at + IDLE_CHECK_MS }
    }

    /// Drops those who asked nothing for too long; subscribers may be silent.
    pub(crate) fn drop_idle(&mut self, now: Ms) {
        self.idle_checked_at = now;
        let idle = |c: &&Client| c.subscriptions() == 0 && now - c.active_at > self.timeout_ms;
        for client in self.all.values().filter(idle) {
            redoubt_wire::log::verbose!("Closing idle client {}", client.remote.addr);
            client.connection.abort();
        }
    }

    /// Takes a client in as the default user, or turns it away when there are too many.
    pub(crate) fn add(&mut self, new: NewClient, user: &Arc<User>, now: Ms) {
        let refusal: Option<&[u8]> = if self.all.len() >= self.most {
            Some(b"-ERR max number of clients reached\r\n")
        } else if self.protected_mode && user.needs_no_password() && !new.remote.is_local {
            Some(PROTECTED)
        } else {
            None
        };
        if let Some(text) = refusal {
            self.connections_rejected += 1;
            new.connection.send(text);
            return new.connection.close();
        }
        self.connections_received += 1;
        new.connection.set_may_command(user.is_open());
        new.connection.next_request();
        let client = Client {
            id: new.id,
            remote: new.remote,
            name: String::new(),
            lib_name: String::new(),
            lib_version: String::new(),
            protocol: Protocol::Resp2,
            authenticated: user.is_open(),
            user: user.clone(),
            no_evict: false,
            reply_mode: ReplyMode::On,
            channels: BTreeSet::new(),
            patterns: BTreeSet::new(),
            connected_at: now,
            active_at: now,
            last_command: None,
            tracking: Tracking::default(),
            connection: new.connection,
            over_limit_since: None,
        };
        self.all.insert(new.id, client);
    }

    pub(crate) fn remove(&mut self, id: ClientId) {
        self.all.remove(&id);
    }

    /// Sends the reply to the request under way and lets the next one in.
    pub(crate) fn finish_request(&mut self, id: ClientId, bytes: &[u8], now: Ms) {
        let Some(client) = self.all.get_mut(&id) else { return };
        self.error_replies += u64::from(bytes.first() == Some(&b'-'));
        if client.reply_mode == ReplyMode::On {
            let subscriber = client.subscriptions() > 0;
            client.send(bytes, if subscriber { self.pubsub_limit } else { self.normal_limit }, now);
        }
        if client.reply_mode == ReplyMode::SkipNext {
            client.reply_mode = ReplyMode::On;
        }
        client.connection.next_request();
    }

    /// As [`Clients::finish_request`], whatever replies the client wants.
    pub(crate) fn finish_push(&mut self, id: ClientId, bytes: &[u8], now: Ms) {
        let Some(client) = self.all.get_mut(&id) else { return };
        client.send(bytes, self.pubsub_limit, now);
        client.connection.next_request();
    }

    /// Answers with an error and closes the connection.
    pub(crate) fn refuse(&mut self, id: ClientId, text: &str) {
        if let Some(client) = self.all.get(&id) {
            let mut reply = Reply::new(client.protocol);
            reply.error(text);
            client.connection.send(&reply.buf);
            client.connection.close();
        }
    }

    /// Hands an event to everybody who listens to its channel or to a pattern that matches it.
    pub(crate) fn publish(&mut self, channel: &str, message: &str, now: Ms) {
        for client in self.all.values_mut() {
            let mut reply = Reply::new(client.protocol);
            if client.channels.contains(channel.as_bytes()) {
                reply.push(3);
                [&b"message"[..], channel.as_bytes(), message.as_bytes()].iter().for_each(|p| reply.bulk(p));
            }
            for pattern in client.patterns.iter().filter(|p| glob_match(p, channel.as_bytes(), false)) {
                reply.push(4);
                let parts = [&b"pmessage"[..], pattern.as_slice(), channel.as_bytes(), message.as_bytes()];
                parts.iter().for_each(|p| reply.bulk(p));
            }
            if !reply.buf.is_empty() {
                client.send(&reply.buf, self.pubsub_limit, now);
            }
        }
    }
}
