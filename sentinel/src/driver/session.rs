//! Commands of clients: what concerns the connection is answered here, what concerns the
//! monitored masters by the state machine.

use redoubt_wire::acl::{DEFAULT_USER, answers};
use redoubt_wire::commands::spec::{CommandSpec, Flags};
use redoubt_wire::resp::reply::{Protocol, Reply};

use super::acl::Acl;
use super::clients::Client;
use super::command_table::{self, Renames};
use super::{Driver, info};
use crate::core::timers::Ms;
use crate::core::{ClientId, Input};

/// What follows a command that is answered here.
pub(super) enum Then {
    /// The reply goes out.
    Reply(Reply),
    /// As a reply, but CLIENT REPLY does not hold it back.
    Push(Reply),
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
        let Some(client) = self.clients.all.get_mut(&id) else { return };
        client.active_at = now;
        self.clients.commands_processed += 1;
        self.carry_out_request(id, argv, now);
    }

    /// Carries out what a pause has held back.
    pub(super) fn end_pause(&mut self, now: Ms) {
        for (id, argv) in self.pause.end() {
            self.carry_out_request(id, argv, now);
        }
    }

    fn carry_out_request(&mut self, id: ClientId, argv: Vec<Vec<u8>>, now: Ms) {
        let Some(client) = self.clients.all.get_mut(&id) else { return };
        let protocol = client.protocol;
        let admitted = admit(client, &argv, &self.settings.renames, &mut self.acl, now);
        let spec = match admitted {
            Ok(spec) => spec,
            Err(error) => {
                let mut reply = Reply::new(protocol);
                reply.error(&error);
                return self.then(id, Then::Reply(reply), now);
            }
        };
        if self.pause.holds(spec, now) {
            return self.pause.hold(id, argv);
        }
        // CLIENT CACHING speaks of the command that comes next.
        client.tracking.caching &= spec.parent == Some("client");
        match spec.parent.unwrap_or(spec.name) {
            name @ ("sentinel" | "publish" | "role") => {
                // It may go by another name here.
                let argv =
                    std::iter::once(name.as_bytes().to_vec()).chain(argv.into_iter().skip(1)).collect();
                self.core.handle(now, Input::Command { client: id, argv, protocol });
            }
            name => {
                let then = self.connection_command(id, name, spec, &argv, now);
                self.then(id, then, now);
            }
        }
    }

    pub(super) fn then(&mut self, id: ClientId, then: Then, now: Ms) {
        let open = self.acl.default_user().is_open();
        if let Some(client) = self.clients.all.get(&id) {
            client.connection.set_may_command(open || client.authenticated);
        }
        match then {
            Then::Later => {}
            Then::Reply(reply) => self.clients.finish_request(id, &reply.buf, now),
            Then::Push(reply) => self.clients.finish_push(id, &reply.buf, now),
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
        spec: &'static CommandSpec,
        argv: &[Vec<u8>],
        now: Ms,
    ) -> Then {
        match name {
            "client" => return self.client_command(id, spec, argv, now),
            "acl" => return self.acl_command(id, argv),
            "shutdown" => return self.shutdown(id, argv),
            _ => {}
        }
        let Some(client) = self.clients.all.get_mut(&id) else { return Then::Silence };
        let mut reply = Reply::new(client.protocol);
        let words: Vec<&[u8]> = argv.iter().map(Vec::as_slice).collect();
        match name {
            "ping" => ping(client, argv, &mut reply),
            "auth" => auth(client, &mut self.acl, argv, now, &mut reply),
            "hello" => hello(client, &mut self.acl, argv, now, &mut reply),
            "command" => command_table::answer(spec, &words, &mut reply),
            "subscribe" | "psubscribe" => {
                subscribe(client, name, &argv[1..], &mut reply);
                return Then::Push(reply);
            }
            "unsubscribe" | "punsubscribe" => {
                unsubscribe(client, name, &argv[1..], &mut reply);
                return Then::Push(reply);
            }
            "info" => reply.bulk(info::text(self, &words[1..], now).as_bytes()),
            _ => reply.error("ERR internal: a command in the table has no handler"),
        }
        Then::Reply(reply)
    }

    /// SHUTDOWN: there is nothing to save or to wait for, so that most options change nothing.
    fn shutdown(&mut self, id: ClientId, argv: &[Vec<u8>]) -> Then {
        let protocol = self.clients.all.get(&id).map_or(Protocol::Resp2, |client| client.protocol);
        let mut reply = Reply::new(protocol);
        let options: Vec<Vec<u8>> = argv[1..].iter().map(|option| option.to_ascii_lowercase()).collect();
        let has = |option: &[u8]| options.iter().any(|given| given == option);
        let known = |option: &Vec<u8>| {
            [&b"nosave"[..], b"save", b"now", b"force", b"abort"].contains(&option.as_slice())
        };
        let aborts = has(b"abort");
        if !options.iter().all(known) || (has(b"save") && has(b"nosave")) || (aborts && options.len() > 1) {
            reply.error("ERR syntax error");
            return Then::Reply(reply);
        }
        if aborts {
            reply.error("ERR No shutdown in progress.");
            return Then::Reply(reply);
        }
        redoubt_wire::log::notice!("User requested shutdown...");
        self.exit_code = Some(0);
        Then::Silence
    }
}

/// The command that a client may now call with these words.
///
/// # Errors
/// The error that it gets instead, in Redis's order: clients see which comes first.
fn admit(
    client: &mut Client,
    argv: &[Vec<u8>],
    renames: &Renames,
    acl: &mut Acl,
    now: Ms,
) -> Result<&'static CommandSpec, String> {
    let texts = || argv.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect::<Vec<_>>();
    let own_name = renames.original(&String::from_utf8_lossy(&argv[0])).map(str::as_bytes);
    let words: Vec<&[u8]> = own_name.into_iter().chain(argv[1..].iter().map(Vec::as_slice)).collect();
    let Some(own_name) = own_name else { return Err(unknown_command(&texts())) };
    let Some(spec) = command_table::find(&words) else {
        let container = String::from_utf8_lossy(own_name).to_uppercase();
        let sub: String = texts()[1].chars().take(128).collect();
        return Err(format!("ERR unknown subcommand '{sub}'. Try {container} HELP."));
    };
    client.last_command = Some(spec);
    if !spec.accepts(words.len())
        || (spec.parent.is_none() && !spec.subcommands.is_empty() && spec.name != "command")
    {
        return Err(format!("ERR wrong number of arguments for '{}' command", spec.full_name()));
    }
    let before_login = spec.flags.has(Flags::NO_AUTH);
    if !acl.default_user().is_open() && !client.authenticated && !before_login {
        return Err(NOAUTH.into());
    }
    acl.permit(client, spec, &words, now)?;
    let in_context = ["subscribe", "unsubscribe", "psubscribe", "punsubscribe", "ping"].contains(&spec.name);
    if client.protocol == Protocol::Resp2 && client.subscriptions() > 0 && !in_context {
        return Err(format!(
            "ERR Can't execute '{}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in this context",
            spec.full_name()
        ));
    }
    Ok(spec)
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
    if argv.len() > 2 {
        return reply.error("ERR wrong number of arguments for 'ping' command");
    }
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
