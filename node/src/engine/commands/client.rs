//! CLIENT: what is known of the connections, and what may be done to them.

use std::fmt::Write;
use std::sync::Arc;

use redoubt_wire::acl::Users;
use redoubt_wire::commands::client_help::client_help;
use redoubt_wire::resp::reply::Reply;

use super::args::{self, is};
use super::help::container;
use super::{Cx, Row, table};
use crate::engine::Engine;
use crate::engine::error::{CommandError, Handled, SYNTAX};
use crate::engine::pause::{Pause, Reason};
use crate::engine::session::{Class, ClientId, ReplyMode, Session};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::CLIENT, container),
    (&table::CLIENT_GETNAME, getname),
    (&table::CLIENT_GETREDIR, getredir),
    (&table::CLIENT_HELP, help),
    (&table::CLIENT_ID, id),
    (&table::CLIENT_INFO, info),
    (&table::CLIENT_KILL, kill),
    (&table::CLIENT_LIST, list),
    (&table::CLIENT_NO_EVICT, no_evict),
    (&table::CLIENT_NO_TOUCH, no_touch),
    (&table::CLIENT_PAUSE, pause),
    (&table::CLIENT_REPLY, reply_mode),
    (&table::CLIENT_SETINFO, setinfo),
    (&table::CLIENT_SETNAME, setname),
    (&table::CLIENT_TRACKINGINFO, trackinginfo),
    (&table::CLIENT_UNBLOCK, unblock),
    (&table::CLIENT_UNPAUSE, unpause),
];

/// CLIENT HELP.
fn help(_: &mut Cx<'_>, _: &[&[u8]], reply: &mut Reply) -> Handled {
    client_help(&table::CLIENT, reply);
    Ok(())
}

/// A client's class as TYPE filters know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Normal,
    Pubsub,
    Replica,
    Master,
}

impl Type {
    fn parse(name: &[u8]) -> Result<Type, CommandError> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Type::Normal),
            b"pubsub" => Ok(Type::Pubsub),
            b"replica" | b"slave" => Ok(Type::Replica),
            b"master" => Ok(Type::Master),
            _ => {
                let name = String::from_utf8_lossy(name);
                Err(CommandError::new(format!("ERR Unknown client type '{name}'")))
            }
        }
    }

    fn of(session: &Session) -> Type {
        match session.class {
            Class::Master => Type::Master,
            Class::Replica => Type::Replica,
            Class::Normal if session.in_pubsub() => Type::Pubsub,
            Class::Normal => Type::Normal,
        }
    }
}

/// A connection's name as SETNAME takes it: no blanks, no special characters.
pub(super) fn valid_name(name: &[u8]) -> Result<Arc<[u8]>, CommandError> {
    if !is_printable(name) {
        return Err(CommandError::new(
            "ERR Client names cannot contain spaces, newlines or special characters.",
        ));
    }
    Ok(Arc::from(name))
}

/// Whether CLIENT LIST can show `text` as one field.
fn is_printable(text: &[u8]) -> bool {
    text.iter().all(|b| (b'!'..=b'~').contains(b))
}

/// CLIENT ID.
fn id(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.integer(cx.session.id as i64);
    Ok(())
}

/// CLIENT GETNAME.
fn getname(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    let name = &cx.session.name;
    reply.bulk_or_null((!name.is_empty()).then_some(name));
    Ok(())
}

/// CLIENT SETNAME name.
fn setname(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    cx.session.name = valid_name(args[2])?;
    reply.ok();
    Ok(())
}

/// CLIENT SETINFO LIB-NAME|LIB-VER value.
fn setinfo(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let attribute = String::from_utf8_lossy(args[2]);
    let field = match attribute.to_ascii_lowercase().as_str() {
        "lib-name" => &mut cx.session.lib_name,
        "lib-ver" => &mut cx.session.lib_ver,
        _ => return Err(CommandError::new(format!("ERR Unrecognized option '{attribute}'"))),
    };
    if !is_printable(args[3]) {
        let text = format!("ERR {attribute} cannot contain spaces, newlines or special characters.");
        return Err(CommandError::new(text));
    }
    *field = Arc::from(args[3]);
    reply.ok();
    Ok(())
}

/// CLIENT INFO.
fn info(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    let mut text = String::new();
    describe(cx.session, cx.engine.now_ms, &mut text);
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// CLIENT LIST [TYPE type] [ID client-id …].
fn list(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let mut text = String::new();
    let now_ms = cx.engine.now_ms;
    match args[2..] {
        [] => cx.sessions().into_iter().for_each(|s| describe(s, now_ms, &mut text)),
        [option, wanted] if is(option, "type") => {
            let wanted = Type::parse(wanted)?;
            let sessions = cx.sessions().into_iter().filter(|s| Type::of(s) == wanted);
            sessions.for_each(|s| describe(s, now_ms, &mut text));
        }
        [option, ref ids @ ..] if is(option, "id") && !ids.is_empty() => {
            for id in ids {
                let id = args::int(id).map_err(|_| CommandError::new("ERR Invalid client ID"))?;
                if let Some(session) = cx.session_by_id(id as ClientId) {
                    describe(session, now_ms, &mut text);
                }
            }
        }
        _ => return Err(SYNTAX),
    }
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// One line of CLIENT LIST, as log lines name a client.
pub fn line(session: &Session, now_ms: i64) -> String {
    let mut text = String::new();
    describe(session, now_ms, &mut text);
    text
}

/// Appends a client's line of CLIENT LIST.
fn describe(session: &Session, now_ms: i64, text: &mut String) {
    let s = session;
    let seconds = |since_ms: i64| (now_ms - since_ms).max(0) / 1000;
    let multi_mem: usize = s.tx.queue.iter().map(|queued| queued.memory()).sum();
    let tot_mem =
        size_of::<Session>() + s.buffers.input + s.buffers.input_free + s.buffers.output + multi_mem;
    let multi = if s.tx.open { s.tx.queue.len() as i64 } else { -1 };
    // Writing to a String cannot fail, so that the results carry nothing.
    let _ = write!(text, "id={} addr={} laddr={} fd={} ", s.id, s.addr, s.laddr, s.fd);
    let _ = write!(text, "name={} ", String::from_utf8_lossy(&s.name));
    let _ = write!(text, "age={} idle={} ", seconds(s.created_ms), seconds(s.active_ms));
    let _ = write!(text, "flags={} db={} ", flags(s), s.db);
    let _ = write!(text, "sub={} psub={} ssub=0 multi={multi} ", s.channels.len(), s.patterns.len());
    let _ = write!(text, "qbuf={} qbuf-free={} ", s.buffers.input, s.buffers.input_free);
    let _ = write!(text, "argv-mem=0 multi-mem={multi_mem} rbs={0} rbp={0} ", s.buffers.output);
    let _ = write!(text, "obl={} oll=0 omem=0 tot-mem={tot_mem} events=r ", s.buffers.output);
    let _ = write!(text, "cmd={} ", s.last_command.map_or("NULL", |c| &c.full_name));
    let user = if s.class == Class::Master { "(superuser)".into() } else { s.user().shown_name() };
    let _ = write!(text, "user={user} redir=-1 resp={} ", s.protocol as u8 + 2);
    let lib_name = String::from_utf8_lossy(&s.lib_name);
    let _ = writeln!(text, "lib-name={lib_name} lib-ver={}", String::from_utf8_lossy(&s.lib_ver));
}

/// The letters of CLIENT LIST's `flags`.
fn flags(session: &Session) -> String {
    let letters = [
        (session.monitor, 'O'),
        (session.class == Class::Replica, 'S'),
        (session.class == Class::Master, 'M'),
        (session.in_pubsub(), 'P'),
        (session.blocked, 'b'),
        (session.tx.open, 'x'),
        (session.tx.dirty, 'd'),
        (session.close_asap, 'c'),
        (session.addr.starts_with('/'), 'U'),
        (session.no_evict, 'e'),
        (session.no_touch, 'T'),
    ];
    let flags: String = letters.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect();
    if flags.is_empty() { "N".into() } else { flags }
}

/// Whom CLIENT KILL means: all that every filter fits.
#[derive(Debug, Default)]
struct Filter<'a> {
    id: Option<ClientId>,
    kind: Option<Type>,
    addr: Option<&'a [u8]>,
    laddr: Option<&'a [u8]>,
    user: Option<&'a [u8]>,
    skip_me: bool,
}

impl<'a> Filter<'a> {
    fn parse(options: &[&'a [u8]], users: &Users) -> Result<Filter<'a>, CommandError> {
        let mut filter = Filter { skip_me: true, ..Filter::default() };
        let (pairs, []) = options.as_chunks::<2>() else { return Err(SYNTAX) };
        for [option, value] in pairs {
            match option.to_ascii_lowercase().as_slice() {
                b"id" => {
                    let id = args::int(value).ok().filter(|id| *id > 0);
                    let bad = || CommandError::new("ERR client-id should be greater than 0");
                    filter.id = Some(id.ok_or_else(bad)? as ClientId);
                }
                b"type" => filter.kind = Some(Type::parse(value)?),
                b"addr" => filter.addr = Some(value),
                b"laddr" => filter.laddr = Some(value),
                b"user" if users.get(value).is_some() => filter.user = Some(value),
                b"user" => {
                    let user = String::from_utf8_lossy(value);
                    return Err(CommandError::new(format!("ERR No such user '{user}'")));
                }
                b"skipme" if is(value, "yes") => filter.skip_me = true,
                b"skipme" if is(value, "no") => filter.skip_me = false,
                _ => return Err(SYNTAX),
            }
        }
        Ok(filter)
    }

    fn fits(&self, session: &Session, own: ClientId) -> bool {
        self.id.is_none_or(|id| session.id == id)
            && self.kind.is_none_or(|kind| Type::of(session) == kind)
            && self.addr.is_none_or(|addr| session.addr.as_bytes() == addr)
            && self.laddr.is_none_or(|laddr| session.laddr.as_bytes() == laddr)
            && self.user.is_none_or(|user| session.class != Class::Master && **session.user().name() == *user)
            && !(self.skip_me && session.id == own)
    }
}

/// CLIENT KILL addr, and CLIENT KILL filter value …
fn kill(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let old_form = args.len() == 3;
    let filter = match args[2..] {
        [addr] => Filter { addr: Some(addr), ..Filter::default() },
        ref options => Filter::parse(options, cx.engine.acl.users())?,
    };
    let own = cx.session.id;
    let victims: Vec<ClientId> =
        cx.sessions().into_iter().filter(|s| filter.fits(s, own)).map(|s| s.id).collect();
    for &victim in &victims {
        if victim == own {
            cx.session.close_asap = true;
        } else {
            cx.engine.kill(victim);
        }
    }
    match (old_form, victims.len()) {
        (true, 0) => return Err(CommandError::new("ERR No such client")),
        (true, _) => reply.ok(),
        (false, killed) => reply.integer(killed as i64),
    }
    Ok(())
}

/// Reads ON or OFF.
fn on_or_off(arg: &[u8]) -> Result<bool, CommandError> {
    match arg.to_ascii_lowercase().as_slice() {
        b"on" => Ok(true),
        b"off" => Ok(false),
        _ => Err(SYNTAX),
    }
}

/// CLIENT NO-EVICT ON|OFF.
fn no_evict(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    cx.session.no_evict = on_or_off(args[2])?;
    reply.ok();
    Ok(())
}

/// CLIENT NO-TOUCH ON|OFF.
fn no_touch(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    cx.session.no_touch = on_or_off(args[2])?;
    reply.ok();
    Ok(())
}

/// CLIENT REPLY ON|OFF|SKIP: only ON is answered itself.
fn reply_mode(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let mode = &mut cx.session.reply_mode;
    match args[2].to_ascii_lowercase().as_slice() {
        b"on" => {
            *mode = ReplyMode::On;
            reply.ok();
        }
        b"off" => *mode = ReplyMode::Off,
        b"skip" if *mode == ReplyMode::Off => {}
        b"skip" => *mode = ReplyMode::SkipNext,
        _ => return Err(SYNTAX),
    }
    Ok(())
}

/// CLIENT PAUSE timeout [WRITE|ALL]: a later pause never shortens or weakens one in force.
fn pause(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let all = match args.get(3) {
        None => true,
        Some(mode) if is(mode, "all") => true,
        Some(mode) if is(mode, "write") => false,
        Some(_) => return Err(CommandError::new("ERR CLIENT PAUSE mode must be WRITE or ALL")),
    };
    let timeout =
        args::int(args[2]).map_err(|_| CommandError::new("ERR timeout is not an integer or out of range"))?;
    if timeout < 0 {
        return Err(CommandError::new("ERR timeout is negative"));
    }
    let until_ms =
        timeout.checked_add(cx.now_ms()).ok_or_else(|| CommandError::new("ERR timeout is out of range"))?;
    cx.engine.pause(Reason::Command, Pause { until_ms, all });
    reply.ok();
    Ok(())
}

/// CLIENT UNPAUSE.
fn unpause(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    cx.engine.unpause(Reason::Command);
    reply.ok();
    Ok(())
}

/// CLIENT UNBLOCK client-id [TIMEOUT|ERROR]. No command blocks its client yet, so that there
/// is never one to wake.
fn unblock(_cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    if let Some(reason) = args.get(3)
        && !is(reason, "timeout")
        && !is(reason, "error")
    {
        return Err(CommandError::new("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR"));
    }
    args::int(args[2])?;
    reply.integer(0);
    Ok(())
}

/// CLIENT GETREDIR: there is no tracking.
fn getredir(_cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.integer(-1);
    Ok(())
}

/// CLIENT TRACKINGINFO: there is no tracking.
fn trackinginfo(_cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.map(3);
    reply.bulk(b"flags");
    reply.set(1);
    reply.bulk(b"off");
    reply.bulk(b"redirect");
    reply.integer(-1);
    reply.bulk(b"prefixes");
    reply.array(0);
    Ok(())
}

impl Cx<'_> {
    /// Every session, the running one included, in order of their numbers.
    pub fn sessions(&self) -> Vec<&Session> {
        let mut sessions = self.engine.clients.sorted();
        let place = sessions.partition_point(|s| s.id < self.session.id);
        sessions.insert(place, self.session);
        sessions
    }

    /// A session by its number, be it the running one.
    pub fn session_by_id(&self, id: ClientId) -> Option<&Session> {
        if id == self.session.id { Some(self.session) } else { self.engine.clients.get(id) }
    }
}

impl Engine {
    /// Closes another client's connection; its session is gone at once.
    pub fn kill(&mut self, client: ClientId) {
        self.disconnect(client);
        self.close_client(client);
    }
}

#[cfg(test)]
mod tests {
    use super::table;
    use crate::engine::pause::Reason;
    use crate::engine::request::Output;
    use crate::engine::testing::Harness;

    #[test]
    fn the_running_client_is_in_the_list_in_its_place() {
        let mut h = Harness::new();
        let other = h.connect();
        let list = h.run("CLIENT LIST");
        assert!(list.contains("\r\nid=1 addr=127.0.0.1:50001 laddr=127.0.0.1:6379 fd=-1 name= age=0 idle=0 flags=N db=0 sub=0 psub=0 ssub=0 multi=-1 qbuf=0 "), "{list}");
        assert!(
            list.contains(" cmd=client|list user=default redir=-1 resp=2 lib-name= lib-ver=\nid=2 "),
            "{list}"
        );
        assert_eq!(h.run_as(other, "CLIENT LIST ID 1 7").matches("id=").count(), 1);
        assert_eq!(h.run("CLIENT LIST TYPE pubsub"), "$0\r\n\r\n");
        assert_eq!(h.run("CLIENT LIST TYPE x"), "-ERR Unknown client type 'x'\r\n");
    }

    #[test]
    fn help_tells_of_every_subcommand() {
        let help = Harness::new().run("CLIENT HELP");
        for sub in table::CLIENT.subcommands {
            let word = format!("\r\n+{}", sub.name.to_uppercase());
            let ends = |rest: &str| rest.starts_with([' ', '\r']);
            assert!(help.split(&word).skip(1).any(ends), "{word} is missing: {help}");
        }
    }

    #[test]
    fn kill_spares_itself_unless_told_otherwise() {
        let mut h = Harness::new();
        let other = h.connect();
        assert_eq!(h.run("CLIENT KILL TYPE normal"), ":1\r\n");
        assert!(matches!(
            h.engine.take_outputs()[..],
            [Output::Close { client, after_reply: false }] if client == other
        ));
        assert_eq!(h.run("CLIENT KILL ID 77"), ":0\r\n");
        assert_eq!(h.run("CLIENT KILL 1.1.1.1:1"), "-ERR No such client\r\n");
        assert_eq!(h.run("CLIENT KILL TYPE normal SKIPME no"), ":1\r\n");
        assert!(h.session().close_asap);
    }

    #[test]
    fn a_pause_is_never_shortened() {
        let mut h = Harness::new();
        assert_eq!(h.run("CLIENT PAUSE 1000 WRITE"), "+OK\r\n");
        assert_eq!(h.run("CLIENT PAUSE 10 WRITE"), "+OK\r\n");
        let pause = h.engine.pauses.get(Reason::Command).unwrap();
        assert_eq!((pause.until_ms - h.now_ms, pause.all), (1000, false));
        assert_eq!(h.run("CLIENT UNPAUSE"), "+OK\r\n");
        assert!(!h.engine.pauses.any());
        assert!(matches!(h.engine.take_outputs()[..], [Output::Unpaused]));
    }

    #[test]
    fn skipped_replies_leave_nothing() {
        let mut h = Harness::new();
        assert_eq!(h.run("CLIENT REPLY SKIP"), "");
        assert_eq!(h.run("PING"), "");
        assert_eq!(h.run("PING"), "+PONG\r\n");
        assert_eq!(h.run("CLIENT REPLY OFF"), "");
        assert_eq!(h.run("CLIENT REPLY SKIP"), "");
        assert_eq!(h.run("PING"), "");
        assert_eq!(h.run("CLIENT REPLY ON"), "+OK\r\n");
        assert_eq!(h.run("PING"), "+PONG\r\n");
    }
}
