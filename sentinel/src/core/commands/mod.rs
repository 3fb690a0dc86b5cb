//! SENTINEL and its subcommands, PUBLISH and ROLE: what clients and other Sentinels ask for.
//!
//! One row per subcommand gives its arity, its help and its handler.

mod change;
mod failure;
mod global;
mod show;

use redoubt_wire::resp::reply::{Protocol, Reply};

use super::links::HELLO_CHANNEL;
use super::names::Waiting;
use super::persist::Deferred;
use super::timers::Ms;
use super::{ClientId, Core, Output};

/// What becomes of the reply of a handler.
enum Answer {
    /// It goes out.
    Now,
    /// It goes out when the write with this number is done; the second in its place if that fails.
    AfterWrite(u64, Vec<u8>),
    /// A host name is being looked up: the command is carried out again then.
    AfterLookup(String),
}

/// A call of a subcommand.
struct Call {
    /// The words after the subcommand.
    args: Vec<String>,
    /// The reply.
    reply: Reply,
    now: Ms,
}

/// A subcommand of SENTINEL.
pub struct Subcommand {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Words of a call, SENTINEL included; negative: at least so many.
    pub arity: i32,
    /// Its arguments, for HELP.
    pub usage: &'static str,
    /// What it does, for HELP and COMMAND DOCS.
    pub summary: &'static str,
    /// The version of Redis that brought it.
    pub since: &'static str,
    handler: fn(&mut Core, &mut Call) -> Answer,
}

impl std::fmt::Debug for Subcommand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subcommand").field("name", &self.name).field("arity", &self.arity).finish()
    }
}

macro_rules! rows {
    ($($name:literal $arity:literal $since:literal $usage:literal $summary:literal $handler:expr;)*) => {
        &[$(Subcommand {
            name: $name, arity: $arity, since: $since, usage: $usage, summary: $summary, handler: $handler,
        }),*]
    };
}

/// Every subcommand of SENTINEL.
pub const SUBCOMMANDS: &[Subcommand] = rows! {
    "ckquorum" 3 "2.8.4" "<master-name>"
        "Tells whether enough Sentinels are in reach for the quorum and for the majority." Core::ckquorum;
    "config" -4 "6.2.0" "SET <param> <value> [...] | GET <param> [...]"
        "Sets or shows parameters of this Sentinel." Core::config;
    "debug" -2 "7.0.0" "[<param> <value> ...]"
        "Shows or sets the periods of this Sentinel, in milliseconds." Core::debug;
    "failover" -3 "2.8.4" "<master-name> [COORDINATED]"
        "Replaces a master by one of its replicas although it is not down; coordinated, without losing a write."
        Core::failover;
    "flushconfig" 2 "2.8.4" "" "Writes configuration and state to the file." Core::flushconfig;
    "get-master-addr-by-name" 3 "2.8.4" "<master-name>" "The address of a master." Core::get_master_addr;
    "help" 2 "6.2.0" "" "This text." Core::help;
    "info-cache" -3 "3.2.0" "<master-name> [...]"
        "The last INFO of masters and their replicas, each with its age." Core::info_cache;
    "is-master-down-by-addr" 6 "2.8.4" "<ip> <port> <current-epoch> <runid>"
        "Tells whether this Sentinel sees a master down; a run id asks for its vote." Core::is_master_down;
    "master" 3 "2.8.4" "<master-name>" "State and settings of a master." Core::master;
    "masters" 2 "2.8.4" "" "State and settings of all masters." Core::all_masters;
    "monitor" 6 "2.8.4" "<name> <ip> <port> <quorum>" "Starts to watch a master." Core::monitor;
    "myid" 2 "6.2.0" "" "The id of this Sentinel." Core::myid;
    "pending-scripts" 2 "2.8.4" "" "Scripts that run or wait." Core::pending_scripts;
    "remove" 3 "2.8.4" "<master-name>" "Ceases to watch a master." Core::remove;
    "replicas" 3 "5.0.0" "<master-name>" "State of a master's replicas." Core::replicas;
    "reset" 3 "2.8.4" "<pattern>"
        "Forgets replicas and Sentinels of the masters whose name matches." Core::reset;
    "sentinels" 3 "2.8.4" "<master-name>" "State of the other Sentinels of a master." Core::sentinels;
    "set" -5 "2.8.4" "<master-name> <option> <value> [...]" "Changes settings of a master." Core::set;
    "simulate-failure" -3 "3.2.0" "[CRASH-AFTER-ELECTION] [CRASH-AFTER-PROMOTION] [HELP]"
        "Ends this Sentinel at a chosen step of its next failover." Core::simulate_failure;
    "slaves" 3 "2.8.0" "<master-name>" "State of a master's replicas." Core::replicas;
};

impl Core {
    /// Carries out a client's SENTINEL, PUBLISH or ROLE.
    pub(super) fn command(&mut self, client: ClientId, argv: Vec<Vec<u8>>, protocol: Protocol, now: Ms) {
        let words: Vec<String> = argv.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
        let mut call =
            Call { args: words.get(2..).unwrap_or_default().to_vec(), reply: Reply::new(protocol), now };
        let name = words.first().map(|w| w.to_ascii_lowercase()).unwrap_or_default();
        let answer = match (name.as_str(), words.as_slice()) {
            ("role", [_]) => self.role(&mut call),
            ("publish", [_, channel, text]) => self.publish(&mut call, channel, text),
            ("sentinel", [_, subcommand, ..]) => self.subcommand(&mut call, subcommand, words.len()),
            _ => {
                call.reply.error(&format!("ERR wrong number of arguments for '{name}' command"));
                Answer::Now
            }
        };
        let bytes = call.reply.buf;
        match answer {
            Answer::Now => self.out.push_back(Output::Reply { client, bytes }),
            Answer::AfterWrite(seq, failed) => {
                self.defer(seq, Deferred::Reply { client, done: bytes, failed })
            }
            Answer::AfterLookup(host) => {
                self.wait_for_name(&host, Waiting::Command { client, argv, protocol })
            }
        }
    }

    fn subcommand(&mut self, call: &mut Call, name: &str, words: usize) -> Answer {
        let Some(row) = SUBCOMMANDS.iter().find(|r| r.name.eq_ignore_ascii_case(name)) else {
            let shown: String = name.chars().take(128).collect();
            call.reply.error(&format!("ERR unknown subcommand '{shown}'. Try SENTINEL HELP."));
            return Answer::Now;
        };
        let wanted = row.arity.unsigned_abs() as usize;
        if (row.arity > 0 && words != wanted) || words < wanted {
            let text = format!("ERR wrong number of arguments for 'sentinel|{}' command", row.name);
            call.reply.error(&text);
            return Answer::Now;
        }
        (row.handler)(self, call)
    }

    fn role(&mut self, call: &mut Call) -> Answer {
        call.reply.array(2);
        call.reply.bulk(b"sentinel");
        call.reply.array(self.masters.len());
        self.masters.iter().for_each(|m| call.reply.bulk(m.name().as_bytes()));
        Answer::Now
    }

    fn publish(&mut self, call: &mut Call, channel: &str, text: &str) -> Answer {
        if channel != HELLO_CHANNEL {
            call.reply.error("ERR Only HELLO messages are accepted by Sentinel instances.");
        } else {
            self.hello(text, true, call.now);
            call.reply.integer(1);
        }
        Answer::Now
    }

    fn help(&mut self, call: &mut Call) -> Answer {
        let mut lines = vec!["SENTINEL <subcommand> [<arg> [value] [opt] ...]. Subcommands are:".to_string()];
        for row in SUBCOMMANDS {
            lines.push(format!("{} {}", row.name.to_ascii_uppercase(), row.usage).trim_end().to_string());
            lines.push(format!("    {}", row.summary));
        }
        call.reply.array(lines.len());
        lines.iter().for_each(|l| call.reply.simple(l));
        Answer::Now
    }

    /// The master that the first argument names, or the error for an unknown one.
    fn named(&self, call: &mut Call) -> Option<usize> {
        let found = call.args.first().and_then(|name| self.index_by_name(name));
        if found.is_none() {
            call.reply.error("ERR No such master with that name");
        }
        found
    }

    /// OK once the state is on disk.
    fn ok_after_write(&mut self, call: &mut Call) -> Answer {
        let seq = self.save();
        call.reply.ok();
        let mut failed = Reply::new(call.reply.protocol);
        failed.error("ERR Failed to save config file. Check server logs.");
        Answer::AfterWrite(seq, failed.buf)
    }
}
