//! CLIENT: what a connection is, and what becomes of it.

use redoubt_wire::resp::reply::Reply;

use super::Driver;
use super::acl::Acl;
use super::clients::{Client, ReplyMode};
use super::session::Then;
use crate::core::ClientId;
use crate::core::timers::Ms;

pub(super) const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";
/// The subcommands, with the words of a call (negative: at least so many) and the version that brought them.
pub(super) const SUBCOMMANDS: [(&str, i32, &str, &str); 11] = [
    ("getname", 2, "Tells the name of this connection.", "2.6.9"),
    ("getredir", 2, "Tells where invalidations go.", "6.0.0"),
    ("help", 2, "Tells about the subcommands.", "5.0.0"),
    ("id", 2, "Tells the id of this connection.", "5.0.0"),
    ("info", 2, "Tells about this connection.", "6.2.0"),
    ("kill", -3, "Ends connections.", "2.4.0"),
    ("list", -2, "Tells about all connections.", "2.4.0"),
    ("no-evict", 3, "Protects this connection from eviction.", "7.0.0"),
    ("reply", 3, "Chooses which replies this connection gets.", "3.2.0"),
    ("setinfo", 4, "Notes the library of this connection.", "7.2.0"),
    ("setname", 3, "Names this connection.", "2.6.9"),
];
const HELP: [(&str, &str); 12] = [
    ("GETNAME", "The name of this connection."),
    ("GETREDIR", "Always -1: there is no tracking here."),
    ("ID", "The id of this connection."),
    ("INFO", "What CLIENT LIST says about this connection."),
    ("KILL <ip:port>", "Ends the connection from that address."),
    ("KILL <option> <value> [...]", "Ends connections by ID, ADDR, LADDR, TYPE, USER, SKIPME."),
    ("LIST [TYPE <type>] [ID <id> ...]", "The connections."),
    ("NO-EVICT (ON|OFF)", "Protects this connection from eviction."),
    ("REPLY (ON|OFF|SKIP)", "Which replies this connection gets."),
    ("SETINFO (LIB-NAME|LIB-VER) <value>", "Tells which library this connection uses."),
    ("SETNAME <name>", "Names this connection."),
    ("HELP", "This text."),
];

/// Names travel in lists that are split at blanks.
pub(super) fn printable(name: &str) -> bool {
    name.bytes().all(|b| (b'!'..=b'~').contains(&b))
}

/// Which connections CLIENT KILL ends.
#[derive(Default)]
struct Filter {
    id: Option<u64>,
    addr: Option<String>,
    laddr: Option<String>,
    kind: Option<String>,
    user: Option<String>,
    skip_me: bool,
}

impl Filter {
    fn takes(&self, client: &Client, me: ClientId) -> bool {
        self.id.is_none_or(|id| client.id.0 == id)
            && self.addr.as_ref().is_none_or(|a| client.remote.addr == *a)
            && self.laddr.as_ref().is_none_or(|a| client.remote.laddr == *a)
            && self.kind.as_ref().is_none_or(|k| kind(client) == k)
            && self.user.as_ref().is_none_or(|u| **client.user.name() == *u.as_bytes())
            && !(self.skip_me && client.id == me)
    }
}

fn kind(client: &Client) -> &'static str {
    if client.subscriptions() > 0 { "pubsub" } else { "normal" }
}

/// The letters of CLIENT LIST's `flags`.
fn flags(client: &Client) -> String {
    let letters = [(client.subscriptions() > 0, 'P'), (client.remote.is_unix, 'U'), (client.no_evict, 'e')];
    let flags: String = letters.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect();
    if flags.is_empty() { "N".into() } else { flags }
}

/// A client as CLIENT LIST shows it.
pub(super) fn line(client: &Client, now: Ms) -> String {
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db=0 sub={} psub={} ssub=0 multi=-1 \
         qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd={} \
         user={} redir=-1 resp={} lib-name={} lib-ver={}",
        client.id.0,
        client.remote.addr,
        client.remote.laddr,
        client.remote.fd,
        client.name,
        (now - client.connected_at) / 1000,
        (now - client.active_at) / 1000,
        flags(client),
        client.channels.len(),
        client.patterns.len(),
        client.last_command,
        client.user.shown_name(),
        if client.protocol == redoubt_wire::resp::reply::Protocol::Resp3 { 3 } else { 2 },
        client.lib_name,
        client.lib_version,
    )
}

impl Driver {
    /// Carries out CLIENT.
    pub(super) fn client_command(&mut self, id: ClientId, words: &[String], now: Ms) -> Then {
        let Some(client) = self.clients.all.get_mut(&id) else { return Then::Silence };
        let mut reply = Reply::new(client.protocol);
        let sub = words[1].to_ascii_lowercase();
        match (sub.as_str(), &words[2..]) {
            ("id", []) => reply.integer(id.0 as i64),
            ("getname", []) if client.name.is_empty() => reply.null(),
            ("getname", []) => reply.bulk(client.name.as_bytes()),
            ("getredir", []) => reply.integer(-1),
            ("setname", [name]) if printable(name) => {
                client.name.clone_from(name);
                reply.ok();
            }
            ("setname", [_]) => reply.error(BAD_NAME),
            ("setinfo", [attribute, value]) => set_info(client, attribute, value, &mut reply),
            ("info", []) => reply.verbatim("txt", format!("{}\n", line(client, now)).as_bytes()),
            ("no-evict", [mode]) => match mode.to_ascii_lowercase().as_str() {
                "on" | "off" => {
                    client.no_evict = mode.eq_ignore_ascii_case("on");
                    reply.ok();
                }
                _ => reply.error("ERR syntax error"),
            },
            ("reply", [mode]) => match mode.to_ascii_lowercase().as_str() {
                "on" => {
                    client.reply_mode = ReplyMode::On;
                    reply.ok();
                }
                "off" => {
                    client.reply_mode = ReplyMode::Off;
                    return Then::Silence;
                }
                "skip" => {
                    if client.reply_mode != ReplyMode::Off {
                        client.reply_mode = ReplyMode::SkipNext;
                    }
                    return Then::Silence;
                }
                _ => reply.error("ERR syntax error"),
            },
            ("list", options) => self.list(options, now, &mut reply),
            ("kill", options) if !options.is_empty() => return self.kill(id, options, reply),
            ("help", []) => {
                reply.array(1 + 2 * HELP.len());
                reply.simple("CLIENT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:");
                for (usage, text) in HELP {
                    reply.simple(usage);
                    reply.simple(&format!("    {text}"));
                }
            }
            (
                "id" | "getname" | "getredir" | "setname" | "setinfo" | "info" | "no-evict" | "reply"
                | "kill" | "help",
                _,
            ) => {
                reply.error(&format!("ERR wrong number of arguments for 'client|{sub}' command"));
            }
            _ => reply.error(&format!("ERR unknown subcommand '{:.128}'. Try CLIENT HELP.", words[1])),
        }
        Then::Reply(reply)
    }

    fn list(&self, options: &[String], now: Ms, reply: &mut Reply) {
        let all = self.clients.all.values();
        let lower: Vec<String> = options.iter().map(|o| o.to_ascii_lowercase()).collect();
        let chosen: Vec<&Client> = match lower.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => all.collect(),
            ["type", wanted @ ("normal" | "pubsub" | "master" | "replica" | "slave")] => {
                all.filter(|c| kind(c) == *wanted).collect()
            }
            ["type", unknown] => return reply.error(&format!("ERR Unknown client type '{unknown}'")),
            ["id", ids @ ..] if !ids.is_empty() => {
                let Ok(ids) = ids.iter().map(|i| i.parse::<u64>()).collect::<Result<Vec<_>, _>>() else {
                    return reply.error("ERR Invalid client ID");
                };
                all.filter(|c| ids.contains(&c.id.0)).collect()
            }
            _ => return reply.error("ERR syntax error"),
        };
        let text: String = chosen.iter().map(|c| line(c, now) + "\n").collect();
        reply.verbatim("txt", text.as_bytes());
    }

    fn kill(&mut self, me: ClientId, options: &[String], mut reply: Reply) -> Then {
        let mut filter = Filter::default();
        let old_form = options.len() == 1;
        if old_form {
            filter.addr = Some(options[0].clone());
        } else if options.len() % 2 == 1 {
            reply.error("ERR syntax error");
            return Then::Reply(reply);
        } else {
            filter.skip_me = true;
        }
        for pair in options.chunks_exact(2) {
            if let Err(text) = filter.add(&pair[0], &pair[1], &self.acl) {
                reply.error(&text);
                return Then::Reply(reply);
            }
        }
        let hit: Vec<ClientId> =
            self.clients.all.values().filter(|c| filter.takes(c, me)).map(|c| c.id).collect();
        match (old_form, hit.is_empty()) {
            (true, true) => reply.error("ERR No such client"),
            (true, false) => reply.ok(),
            (false, _) => reply.integer(hit.len() as i64),
        }
        for client in hit.iter().filter(|id| **id != me).filter_map(|id| self.clients.all.get(id)) {
            client.connection.abort();
        }
        if hit.contains(&me) { Then::Close(reply) } else { Then::Reply(reply) }
    }
}

impl Filter {
    fn add(&mut self, option: &str, value: &str, acl: &Acl) -> Result<(), String> {
        match option.to_ascii_lowercase().as_str() {
            "id" => {
                let id = value.parse::<u64>().ok().filter(|id| *id > 0);
                self.id = Some(id.ok_or("ERR client-id should be greater than 0")?);
            }
            "addr" => self.addr = Some(value.to_string()),
            "laddr" => self.laddr = Some(value.to_string()),
            "type" => {
                let kind = value.to_ascii_lowercase();
                if !["normal", "pubsub", "master", "replica", "slave"].contains(&kind.as_str()) {
                    return Err(format!("ERR Unknown client type '{value}'"));
                }
                self.kind = Some(kind);
            }
            "user" if acl.has_user(value) => self.user = Some(value.to_string()),
            "user" => return Err(format!("ERR No such user '{value}'")),
            "skipme" => {
                self.skip_me = crate::core::config::yes_no(value).ok_or("ERR syntax error")?;
            }
            _ => return Err("ERR syntax error".into()),
        }
        Ok(())
    }
}

fn set_info(client: &mut Client, attribute: &str, value: &str, reply: &mut Reply) {
    let field = match attribute.to_ascii_lowercase().as_str() {
        "lib-name" => &mut client.lib_name,
        "lib-ver" => &mut client.lib_version,
        _ => return reply.error(&format!("ERR Unrecognized option '{attribute}'")),
    };
    if printable(value) {
        *field = value.to_string();
        reply.ok();
    } else {
        reply.error(&format!("ERR {attribute} cannot contain spaces, newlines or special characters."));
    }
}
