//! Commands of clients: what concerns the connection is answered here, what concerns the
//! monitored masters by the state machine.

use redoubt_wire::acl::{DEFAULT_USER, answers};
use redoubt_wire::resp::reply::{Protocol, Reply};

use super::acl::Acl;
use super::clients::Client;
use super::command_table::{self, arity_fits};
use super::{Driver, info};
use crate::core::timers::Ms;
use crate::core::{ClientId, Input};

/// What follows a command that is answered here.
pub(super) enum Then {
    /// The reply goes out.
    Reply(Reply),
    /// The reply goes out and the connection is closed.
    Close(Reply),
    /// No reply, and the next request may come.
    Silence,
    /// The reply comes when something else is done.
    Later,
}

const NOAUTH: &str = "NOAUTH Authentication required.";

impl Driver {
    /// Carries out one request of a client.
    pub(super) fn request(&mut self, id: ClientId, argv: Vec<Vec<u8>>, now: Ms) {
        let words: Vec<String> = argv.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
        let name = words[0].to_ascii_lowercase();
        let open = self.acl.default_user().is_open();
        let protected = self.settings.protected(!self.acl.default_user().needs_no_password());
        let Some(client) = self.clients.all.get_mut(&id) else { return };
        self.clients.commands_processed += 1;
        client.active_at = now;
        client.last_command = match (name.as_str(), words.get(1)) {
            ("acl" | "client" | "command" | "sentinel", Some(sub)) => {
                format!("{name}|{}", sub.to_ascii_lowercase())
            }
            _ => name.clone(),
        };
        let protocol = client.protocol;
        let refused = refusal(client, &words, &name, open, protected)
            .or_else(|| self.acl.permit(client, &argv, now).err())
            .or_else(|| not_in_context(client, &name));
        if let Some(error) = refused {
            let mut reply = Reply::new(protocol);
            reply.error(&error);
            let denied = error.starts_with("DENIED");
            let then = if denied { Then::Close(reply) } else { Then::Reply(reply) };
            return self.then(id, then, now);
        }
        match name.as_str() {
            "sentinel" | "publish" | "role" => {
                self.core.handle(now, Input::Command { client: id, argv, protocol });
            }
            _ => {
                let then = self.connection_command(id, &name, &argv, &words, now);
                self.then(id, then, now);
            }
        }
    }

    pub(super) fn then(&mut self, id: ClientId, then: Then, now: Ms) {
        match then {
            Then::Later => {}
            Then::Reply(reply) => self.clients.finish_request(id, &reply.buf, now),
            Then::Silence => {
                if let Some(client) = self.clients.all.get(&id) {
                    client.connection.next_request();
                }
            }
            Then::Close(reply) => {
                if let Some(client) = self.clients.all.get(&id) {
                    client.connection.send(&reply.buf);
                    client.connection.close();
                }
            }
        }
    }

    fn connection_command(
        &mut self,
        id: ClientId,
        name: &str,
        argv: &[Vec<u8>],
        words: &[String],
        now: Ms,
    ) -> Then {
        match name {
            "client" => return self.client_command(id, words, now),
            "acl" => return self.acl_command(id, argv),
            _ => {}
        }
        let Some(client) = self.clients.all.get_mut(&id) else { return Then::Silence };
        let mut reply = Reply::new(client.protocol);
        match name {
            "ping" => ping(client, argv, &mut reply),
            "auth" => auth(client, &mut self.acl, argv, now, &mut reply),
            "hello" => hello(client, &mut self.acl, argv, now, &mut reply),
            "command" => command_table::answer(words, &mut reply),
            "subscribe" | "psubscribe" => subscribe(client, name, &argv[1..], &mut reply),
            "unsubscribe" | "punsubscribe" => unsubscribe(client, name, &argv[1..], &mut reply),
            "info" => {
                let text = info::text(self, &words[1..], now);
                reply.verbatim("txt", text.as_bytes());
            }
            "shutdown" => return self.shutdown(words, reply),
            _ => reply.error("ERR internal: a command in the table has no handler"),
        }
        Then::Reply(reply)
    }

    fn shutdown(&mut self, words: &[String], mut reply: Reply) -> Then {
        let known = |w: &String| ["nosave", "save", "now", "force"].iter().any(|o| w.eq_ignore_ascii_case(o));
        if !words[1..].iter().all(known) {
            reply.error("ERR syntax error");
            return Then::Reply(reply);
        }
        redoubt_wire::log::notice!("User requested shutdown...");
        self.exit_code = Some(0);
        Then::Silence
    }
}

/// Why a request is not carried out, if it is not.
fn refusal(client: &Client, words: &[String], name: &str, open: bool, protected: bool) -> Option<String> {
    if protected && !client.remote.is_local {
        return Some(
            "DENIED Redis is running in protected mode because protected mode is enabled and no password is set. \
             Connections are only accepted from the loopback interface: set requirepass or protected-mode no."
                .into(),
        );
    }
    let Some(row) = command_table::find(name) else {
        return Some(unknown_command(words));
    };
    if !arity_fits(row.arity, words.len()) {
        return Some(format!("ERR wrong number of arguments for '{name}' command"));
    }
    if !open && !client.authenticated && !matches!(name, "auth" | "hello") {
        return Some(NOAUTH.into());
    }
    None
}

/// Why a client that listens may not call this command, if so.
fn not_in_context(client: &Client, name: &str) -> Option<String> {
    let in_context = ["subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ping"].contains(&name);
    if client.protocol == Protocol::Resp2 && client.subscriptions() > 0 && !in_context {
        return Some(format!(
            "ERR Can't execute '{name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context"
        ));
    }
    None
}

fn unknown_command(words: &[String]) -> String {
    let cut = |w: &str| w.chars().take(128).collect::<String>();
    let mut args = String::new();
    for word in &words[1..] {
        if args.len() >= 128 {
            break;
        }
        args += &format!("'{}' ", cut(word));
    }
    format!("ERR unknown command '{}', with args beginning with: {args}", cut(&words[0]))
}

fn ping(client: &Client, argv: &[Vec<u8>], reply: &mut Reply) {
    let text = argv.get(1);
    if client.protocol == Protocol::Resp2 && client.subscriptions() > 0 {
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(text.map_or(b"", |t| t));
    } else {
        match text {
            Some(text) => reply.bulk(text),
            None => reply.simple("PONG"),
        }
    }
}

fn auth(client: &mut Client, acl: &mut Acl, argv: &[Vec<u8>], now: Ms, reply: &mut Reply) {
    let (user, password) = match argv {
        [_, _] if acl.default_user().needs_no_password() => return reply.error(answers::NO_PASSWORD_SET),
        [_, password] => (DEFAULT_USER, password),
        [_, user, password] => (user.as_slice(), password),
        _ => return reply.error("ERR syntax error"),
    };
    if acl.log_in(client, &argv[0], user, password, now) {
        reply.ok();
    } else {
        reply.error(answers::WRONG_PASSWORD);
    }
}

fn hello(client: &mut Client, acl: &mut Acl, argv: &[Vec<u8>], now: Ms, reply: &mut Reply) {
    let words: Vec<String> = argv.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
    let mut protocol = client.protocol;
    if let Some(version) = words.get(1) {
        match version.parse::<i64>() {
            Err(_) => return reply.error("ERR Protocol version is not an integer or out of range"),
            Ok(2) => protocol = Protocol::Resp2,
            Ok(3) => protocol = Protocol::Resp3,
            Ok(_) => return reply.error("NOPROTO unsupported protocol version"),
        }
    }
    let (mut login, mut name) = (None, None);
    let mut at = 2;
    while let Some(option) = words.get(at) {
        match (option.to_ascii_lowercase().as_str(), words.len() - at) {
            ("auth", 3..) => {
                login = Some((&argv[at + 1], &argv[at + 2]));
                at += 3;
            }
            ("setname", 2..) if !super::client_command::printable(&words[at + 1]) => {
                return reply.error(super::client_command::BAD_NAME);
            }
            ("setname", 2..) => {
                name = Some(words[at + 1].clone());
                at += 2;
            }
            _ => return reply.error(&format!("ERR Syntax error in HELLO option '{option}'")),
        }
    }
    if let Some((user, password)) = login
        && !acl.log_in(client, &argv[0], user, password, now)
    {
        return reply.error(answers::WRONG_PASSWORD);
    }
    if !client.authenticated && !acl.default_user().is_open() {
        return reply.error(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        );
    }
    if let Some(name) = name {
        client.name = name;
    }
    client.protocol = protocol;
    reply.protocol = protocol;
    reply.map(6);
    for (field, value) in [("server", "redis"), ("version", redoubt_wire::REDIS_VERSION)] {
        reply.bulk(field.as_bytes());
        reply.bulk(value.as_bytes());
    }
    reply.bulk(b"proto");
    reply.integer(if protocol == Protocol::Resp3 { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(client.id.0 as i64);
    reply.bulk(b"mode");
    reply.bulk(b"sentinel");
    reply.bulk(b"modules");
    reply.array(0);
}

fn confirm(client: &Client, kind: &str, channel: Option<&[u8]>, reply: &mut Reply) {
    reply.push(3);
    reply.bulk(kind.as_bytes());
    match channel {
        Some(channel) => reply.bulk(channel),
        None => reply.null(),
    }
    reply.integer(client.subscriptions() as i64);
}

fn subscribe(client: &mut Client, kind: &str, channels: &[Vec<u8>], reply: &mut Reply) {
    for channel in channels {
        let set = if kind == "subscribe" { &mut client.channels } else { &mut client.patterns };
        set.insert(channel.clone());
        confirm(client, kind, Some(channel), reply);
    }
}

fn unsubscribe(client: &mut Client, kind: &str, channels: &[Vec<u8>], reply: &mut Reply) {
    let set = if kind == "unsubscribe" { &client.channels } else { &client.patterns };
    let leaving: Vec<Vec<u8>> =
        if channels.is_empty() { set.iter().cloned().collect() } else { channels.to_vec() };
    if leaving.is_empty() {
        return confirm(client, kind, None, reply);
    }
    for channel in leaving {
        let set = if kind == "unsubscribe" { &mut client.channels } else { &mut client.patterns };
        set.remove(&channel);
        confirm(client, kind, Some(&channel), reply);
    }
}
