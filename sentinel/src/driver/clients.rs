//! The clients: who they are, what they subscribed to, and how replies and events reach them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use redoubt_wire::acl::User;
use redoubt_wire::glob::glob_match;
use redoubt_wire::resp::reply::{Protocol, Reply};

use super::server::{Connection, NewClient};
use crate::core::ClientId;
use crate::core::timers::Ms;

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
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
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
    pub(crate) last_command: String,
    pub(crate) connection: Connection,
}

impl Client {
    /// How many channels and patterns it listens to.
    pub(crate) fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len()
    }
}

/// All clients, by id.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    pub(crate) all: BTreeMap<ClientId, Client>,
    pub(crate) connections_received: u64,
    pub(crate) commands_processed: u64,
}

impl Clients {
    /// Takes a client in as the default user, or turns it away when there are `most` already.
    pub(crate) fn add(&mut self, new: NewClient, user: &Arc<User>, most: usize, now: Ms) {
        if self.all.len() >= most {
            new.connection.send(b"-ERR max number of clients reached\r\n");
            return new.connection.close();
        }
        self.connections_received += 1;
        let client = Client {
            id: new.id,
            peer: canonical(new.peer),
            local: canonical(new.local),
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
            last_command: "NULL".into(),
            connection: new.connection,
        };
        self.all.insert(new.id, client);
    }

    pub(crate) fn remove(&mut self, id: ClientId) {
        self.all.remove(&id);
    }

    /// Sends the reply to the request under way and lets the next one in.
    pub(crate) fn finish_request(&mut self, id: ClientId, bytes: &[u8]) {
        let Some(client) = self.all.get_mut(&id) else { return };
        if client.reply_mode == ReplyMode::On {
            client.connection.send(bytes);
        }
        if client.reply_mode == ReplyMode::SkipNext {
            client.reply_mode = ReplyMode::On;
        }
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
    pub(crate) fn publish(&mut self, channel: &str, message: &str) {
        for client in self.all.values() {
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
            client.connection.send(&reply.buf);
        }
    }
}

/// IPv4 addresses that came through an IPv6 socket, as IPv4.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
