//! Commands on the connection itself: PING, ECHO, AUTH, HELLO, RESET, QUIT.

use std::sync::Arc;

use redoubt_wire::acl::{DEFAULT_USER, answers};
use redoubt_wire::resp::reply::{Protocol, Reply};

use super::args::{self, is};
use super::client::valid_name;
use super::{Cx, Row, table};
use crate::engine::error::{self, CommandError, Handled, SYNTAX, wrong_arity};
use crate::engine::facts::REDIS_VERSION;
use crate::engine::session::{Class, ReplyMode};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::AUTH, auth),
    (&table::ECHO, echo),
    (&table::HELLO, hello),
    (&table::PING, ping),
    (&table::QUIT, quit),
    (&table::RESET, reset),
];

/// PING [message]: in RESP2 a subscriber is answered in the form of a message.
fn ping(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    if args.len() > 2 {
        return Err(wrong_arity(&cx.command.full_name));
    }
    let message = args.get(1).copied();
    if cx.session.in_pubsub() && !reply.resp3() {
        reply.array(2);
        reply.bulk(b"pong");
        reply.bulk(message.unwrap_or_default());
    } else {
        match message {
            Some(message) => reply.bulk(message),
            None => reply.simple("PONG"),
        }
    }
    Ok(())
}

/// ECHO message.
fn echo(_cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.bulk(args[1]);
    Ok(())
}

/// QUIT.
fn quit(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    cx.session.close_asap = true;
    reply.ok();
    Ok(())
}

/// RESET: as if the client had just connected.
fn reset(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    if cx.session.class != Class::Normal {
        return Err(CommandError::new("ERR can only reset normal client connections"));
    }
    cx.engine.discard(cx.session);
    cx.engine.unsubscribe_all(cx.session);
    cx.engine.set_monitor(cx.session, false);
    let session = &mut *cx.session;
    session.db = 0;
    session.protocol = Protocol::Resp2;
    session.name = Arc::from(&b""[..]);
    session.reply_mode = ReplyMode::On;
    session.no_touch = false;
    session.no_evict = false;
    cx.engine.log_out(session);
    reply.protocol = Protocol::Resp2;
    reply.simple("RESET");
    Ok(())
}

/// AUTH [username] password.
fn auth(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    match args[1..] {
        [_] if cx.engine.acl.users().default_user().needs_no_password() => {
            Err(CommandError::new(answers::NO_PASSWORD_SET))
        }
        [password] => authenticate(cx, args[0], DEFAULT_USER, password),
        [user, password] => authenticate(cx, args[0], user, password),
        _ => Err(SYNTAX),
    }?;
    reply.ok();
    Ok(())
}

/// Logs the client in if the password is right. `by` is the command as it was typed.
fn authenticate(cx: &mut Cx<'_>, by: &[u8], user: &[u8], password: &[u8]) -> Handled {
    if cx.engine.log_in(cx.session, by, user, password) { Ok(()) } else { Err(error::WRONG_PASS) }
}

/// HELLO [protover [AUTH username password] [SETNAME clientname]].
fn hello(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let protocol = match args.get(1) {
        None => cx.session.protocol,
        Some(version) => match args::int(version) {
            Ok(2) => Protocol::Resp2,
            Ok(3) => Protocol::Resp3,
            Ok(_) => return Err(error::NO_PROTO),
            Err(_) => {
                return Err(CommandError::new("ERR Protocol version is not an integer or out of range"));
            }
        },
    };
    let (mut login, mut name) = (None, None);
    let mut rest = args.get(2..).unwrap_or_default();
    while let [option, values @ ..] = rest {
        match values {
            [user, password, after @ ..] if is(option, "auth") => {
                login = Some((*user, *password));
                rest = after;
            }
            [new_name, after @ ..] if is(option, "setname") => {
                name = Some(valid_name(new_name)?);
                rest = after;
            }
            _ => {
                let option = String::from_utf8_lossy(option);
                return Err(CommandError::new(format!("ERR Syntax error in HELLO option '{option}'")));
            }
        }
    }
    if let Some((user, password)) = login {
        authenticate(cx, args[0], user, password)?;
    }
    if !cx.engine.may_command(cx.session) {
        return Err(CommandError::new(
            "NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time",
        ));
    }
    if let Some(name) = name {
        cx.session.name = name;
    }
    cx.session.protocol = protocol;
    cx.engine.current = Some((cx.session.id, protocol));
    reply.protocol = protocol;
    greet(cx, reply);
    Ok(())
}

fn greet(cx: &Cx<'_>, reply: &mut Reply) {
    reply.map(7);
    reply.bulk(b"server");
    reply.bulk(b"redis");
    reply.bulk(b"version");
    reply.bulk(REDIS_VERSION.as_bytes());
    reply.bulk(b"proto");
    reply.integer(if reply.resp3() { 3 } else { 2 });
    reply.bulk(b"id");
    reply.integer(cx.session.id as i64);
    reply.bulk(b"mode");
    reply.bulk(b"standalone");
    reply.bulk(b"role");
    reply.bulk(if cx.engine.is_master() { b"master" } else { b"replica" });
    reply.bulk(b"modules");
    reply.array(0);
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::Harness;

    #[test]
    fn hello_switches_the_protocol_of_its_own_reply() {
        let mut h = Harness::new();
        assert!(h.run("HELLO 3").starts_with("%7\r\n$6\r\nserver\r\n$5\r\nredis\r\n"));
        assert_eq!(h.run("GET nothing"), "_\r\n");
        assert!(h.run("HELLO 2 SETNAME me").starts_with("*14\r\n"));
        assert_eq!(h.run("CLIENT GETNAME"), "$2\r\nme\r\n");
        assert_eq!(h.run("HELLO 4"), "-NOPROTO unsupported protocol version\r\n");
        assert_eq!(h.run("HELLO 2 FOO"), "-ERR Syntax error in HELLO option 'FOO'\r\n");
        assert_eq!(h.run("HELLO x"), "-ERR Protocol version is not an integer or out of range\r\n");
    }

    #[test]
    fn a_password_keeps_new_clients_out_and_lets_old_ones_stay() {
        let mut h = Harness::new();
        assert_eq!(
            h.run("AUTH x"),
            "-ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?\r\n"
        );
        assert_eq!(h.run("CONFIG SET requirepass hunter2"), "+OK\r\n");
        assert_eq!(h.run("GET k"), "$-1\r\n");
        let stranger = h.connect();
        assert_eq!(h.run_as(stranger, "GET k"), "-NOAUTH Authentication required.\r\n");
        assert!(h.run_as(stranger, "HELLO 3").starts_with("-NOAUTH HELLO must be called"));
        assert_eq!(
            h.run_as(stranger, "AUTH hunter"),
            "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
        );
        assert_eq!(
            h.run_as(stranger, "AUTH other hunter2"),
            "-WRONGPASS invalid username-password pair or user is disabled.\r\n"
        );
        assert_eq!(h.run_as(stranger, "AUTH default hunter2"), "+OK\r\n");
        assert_eq!(h.run_as(stranger, "GET k"), "$-1\r\n");
        assert_eq!(h.run_as(stranger, "RESET"), "+RESET\r\n");
        assert_eq!(h.run_as(stranger, "GET k"), "-NOAUTH Authentication required.\r\n");
    }
}
