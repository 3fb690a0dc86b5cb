//! CLIENT: what a connection is, and what becomes of it.

use std::collections::BTreeSet;

use redoubt_wire::commands::client_help::client_help;
use redoubt_wire::commands::spec::CommandSpec;
use redoubt_wire::resp::number::parse_integer;
use redoubt_wire::resp::reply::Reply;

use super::Driver;
use super::acl::Acl;
use super::clients::{Client, ReplyMode};
use super::command_table::CLIENT;
use super::session::Then;
use crate::core::ClientId;
use crate::core::timers::Ms;

pub(super) const BAD_NAME: &str = "ERR Client names cannot contain spaces, newlines or special characters.";
const SYNTAX: &str = "ERR syntax error";

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
    let letters = [
        (client.subscriptions() > 0, 'P'),
        (client.tracking.is_on(), 't'),
        (client.tracking.broadcasts(), 'B'),
        (client.remote.is_unix, 'U'),
        (client.no_evict, 'e'),
    ];
    let flags: String = letters.iter().filter(|(set, _)| *set).map(|(_, letter)| letter).collect();
    if flags.is_empty() { "N".into() } else { flags }
}

/// A client as CLIENT LIST shows it.
pub(super) fn line(client: &Client, now: Ms) -> String {
    format!(
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db=0 sub={} psub={} ssub=0 multi=-1 \
         qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=0 rbp=0 obl=0 oll=0 omem={} tot-mem={} events=r cmd={} \
         user={} redir={} resp={} lib-name={} lib-ver={}",
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
        client.connection.unsent(),
        size_of::<Client>() + client.connection.unsent(),
        client.last_command.map_or("NULL".into(), CommandSpec::full_name),
        client.user.shown_name(),
        client.tracking.redirection(),
        if client.protocol == redoubt_wire::resp::reply::Protocol::Resp3 { 3 } else { 2 },
        client.lib_name,
        client.lib_version,
    )
}

impl Driver {
    /// Carries out CLIENT; the arity fits `spec`.
    pub(super) fn client_command(
        &mut self,
        id: ClientId,
        spec: &CommandSpec,
        argv: &[Vec<u8>],
        now: Ms,
    ) -> Then {
        let words: Vec<String> = argv.iter().map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        let ids: BTreeSet<u64> = self.clients.all.keys().map(|id| id.0).collect();
        let Some(client) = self.clients.all.get_mut(&id) else { return Then::Silence };
        let mut reply = Reply::new(client.protocol);
        let done = match (spec.name, &words[2..]) {
            ("id", _) => {
                reply.integer(id.0 as i64);
                Ok(())
            }
            ("getname", _) => {
                let name = Some(client.name.as_bytes()).filter(|name| !name.is_empty());
                reply.bulk_or_null(name);
                Ok(())
            }
            ("getredir", _) => {
                reply.integer(client.tracking.redirection());
                Ok(())
            }
            ("trackinginfo", _) => {
                client.tracking.describe(&mut reply);
                Ok(())
            }
            ("tracking", options) => ok(client.tracking.set(options, |id| ids.contains(&id)), &mut reply),
            ("caching", [word]) => ok(client.tracking.set_caching(word), &mut reply),
            ("setname", [name]) => ok(set_name(client, name), &mut reply),
            ("setinfo", [attribute, value]) => ok(set_info(client, attribute, value), &mut reply),
            ("info", _) => {
                reply.verbatim("txt", format!("{}\n", line(client, now)).as_bytes());
                Ok(())
            }
            ("no-evict", [mode]) => ok(on_or_off(mode).map(|on| client.no_evict = on), &mut reply),
            ("reply", [mode]) => match mode.to_ascii_lowercase().as_str() {
                "on" => {
                    client.reply_mode = ReplyMode::On;
                    reply.ok();
                    Ok(())
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
                _ => Err(SYNTAX.into()),
            },
            ("pause", [timeout, mode @ ..]) => ok(self.pause_clients(timeout, mode, now), &mut reply),
            ("unpause", _) => {
                self.end_pause(now);
                reply.ok();
                Ok(())
            }
            ("unblock", [id, reason @ ..]) => unblock(id, reason).map(|()| reply.integer(0)),
            ("list", options) => self.list(options, now).map(|text| reply.verbatim("txt", text.as_bytes())),
            ("kill", options) => return self.kill(id, options, reply),
            _ => {
                client_help(&CLIENT, &mut reply);
                Ok(())
            }
        };
        if let Err(text) = done {
            reply.error(&text);
        }
        Then::Reply(reply)
    }

    /// CLIENT PAUSE timeout [WRITE|ALL].
    fn pause_clients(&mut self, timeout: &str, mode: &[String], now: Ms) -> Result<(), String> {
        let all = match mode {
            [] => true,
            [mode] if mode.eq_ignore_ascii_case("all") => true,
            [mode] if mode.eq_ignore_ascii_case("write") => false,
            [_] => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL".into()),
            _ => return Err(wrong_form("PAUSE")),
        };
        let ms = parse_integer(timeout.as_bytes()).ok_or("ERR timeout is not an integer or out of range")?;
        let ms = Ms::try_from(ms).map_err(|_| "ERR timeout is negative")?;
        let until = ms.checked_add(now).filter(|until| i64::try_from(*until).is_ok());
        self.pause.begin(until.ok_or("ERR timeout is out of range")?, all, now);
        Ok(())
    }

    /// CLIENT LIST [TYPE type] [ID client-id …].
    fn list(&self, options: &[String], now: Ms) -> Result<String, String> {
        let all = self.clients.all.values();
        let lower: Vec<String> = options.iter().map(|o| o.to_ascii_lowercase()).collect();
        let chosen: Vec<&Client> = match lower.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
            [] => all.collect(),
            ["type", wanted] => {
                known_type(wanted)?;
                let wanted = if *wanted == "slave" { "replica" } else { wanted };
                all.filter(|c| kind(c) == wanted).collect()
            }
            ["id", ids @ ..] if !ids.is_empty() => {
                let wanted: Option<Vec<i64>> = ids.iter().map(|id| parse_integer(id.as_bytes())).collect();
                let wanted = wanted.ok_or("ERR Invalid client ID")?;
                let by_id = |id: i64| self.clients.all.get(&ClientId(u64::try_from(id).ok()?));
                wanted.into_iter().filter_map(by_id).collect()
            }
            _ => return Err(SYNTAX.into()),
        };
        Ok(chosen.iter().map(|c| line(c, now) + "\n").collect())
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
                known_type(value)?;
                self.kind = Some(value.to_ascii_lowercase());
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

/// The client types that filters know; a Sentinel has none but the first two.
fn known_type(name: &str) -> Result<(), String> {
    let lower = name.to_ascii_lowercase();
    if ["normal", "pubsub", "master", "replica", "slave"].contains(&lower.as_str()) {
        return Ok(());
    }
    Err(format!("ERR Unknown client type '{name}'"))
}

/// OK, or the error that takes its place.
fn ok(done: Result<(), String>, reply: &mut Reply) -> Result<(), String> {
    done.map(|()| reply.ok())
}

fn on_or_off(word: &str) -> Result<bool, String> {
    match word.to_ascii_lowercase().as_str() {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err(SYNTAX.into()),
    }
}

fn set_name(client: &mut Client, name: &str) -> Result<(), String> {
    if !printable(name) {
        return Err(BAD_NAME.into());
    }
    client.name = name.to_string();
    Ok(())
}

fn set_info(client: &mut Client, attribute: &str, value: &str) -> Result<(), String> {
    let field = match attribute.to_ascii_lowercase().as_str() {
        "lib-name" => &mut client.lib_name,
        "lib-ver" => &mut client.lib_version,
        _ => return Err(format!("ERR Unrecognized option '{attribute}'")),
    };
    if !printable(value) {
        return Err(format!("ERR {attribute} cannot contain spaces, newlines or special characters."));
    }
    *field = value.to_string();
    Ok(())
}

/// CLIENT UNBLOCK client-id [TIMEOUT|ERROR]: no command of a Sentinel blocks its client, so that there is
/// never one to wake.
fn unblock(id: &str, reason: &[String]) -> Result<(), String> {
    match reason {
        [] => {}
        [reason] if ["timeout", "error"].iter().any(|known| reason.eq_ignore_ascii_case(known)) => {}
        [_] => return Err("ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR".into()),
        _ => return Err(wrong_form("UNBLOCK")),
    }
    parse_integer(id.as_bytes()).map(drop).ok_or("ERR value is not an integer or out of range".into())
}

/// The error of a subcommand with words that it does not take.
fn wrong_form(sub: &str) -> String {
    format!("ERR unknown subcommand or wrong number of arguments for '{sub}'. Try CLIENT HELP.")
}
