//! SENTINEL and its subcommands, PUBLISH and ROLE: what clients and other Sentinels ask for.
//!
//! One row per subcommand pairs its spec with its handler.

mod change;
mod failure;
mod global;
mod show;
mod specs;
mod vouch;

use redoubt_wire::commands::help;
use redoubt_wire::commands::spec::CommandSpec;
use redoubt_wire::resp::reply::{Protocol, Reply};

pub use specs::SENTINEL;

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
    /// Who asks.
    client: ClientId,
    now: Ms,
}

/// A subcommand of SENTINEL.
struct Subcommand {
    spec: &'static CommandSpec,
    /// Its arguments, for HELP.
    usage: &'static str,
    handler: fn(&mut Core, &mut Call) -> Answer,
}

macro_rules! rows {
    ($($spec:ident $usage:literal $handler:expr;)*) => {
        &[$(Subcommand { spec: &specs::$spec, usage: $usage, handler: $handler }),*]
    };
}

/// Every subcommand of SENTINEL.
const SUBCOMMANDS: &[Subcommand] = rows! {
    CKQUORUM "<master-name>" Core::ckquorum;
    CONFIG "SET <param> <value> [...] | GET <param> [...]" Core::config;
    DEBUG "[<param> <value> ...]" Core::debug;
    EPOCHS "<master-name>" Core::epochs;
    FAILOVER "<master-name> [COORDINATED]" Core::failover;
    FLUSHCONFIG "" Core::flushconfig;
    GET_MASTER_ADDR_BY_NAME "<master-name>" Core::get_master_addr;
    HELP "" Core::help;
    INFO_CACHE "<master-name> [...]" Core::info_cache;
    IS_MASTER_DOWN_BY_ADDR "<ip> <port> <current-epoch> <runid>" Core::is_master_down;
    MASTER_STATE "<master-name>" Core::master;
    MASTERS "" Core::all_masters;
    MONITOR "<name> <ip> <port> <quorum>" Core::monitor;
    MYID "" Core::myid;
    PENDING_SCRIPTS "" Core::pending_scripts;
    REMOVE "<master-name>" Core::remove;
    REPLICAS "<master-name>" Core::replicas;
    RESET "<pattern>" Core::reset;
    SENTINELS "<master-name>" Core::sentinels;
    SET "<master-name> <option> <value> [...]" Core::set;
    SIMULATE_FAILURE "[CRASH-AFTER-ELECTION] [CRASH-AFTER-PROMOTION] [HELP]" Core::simulate_failure;
    SLAVES "<master-name>" Core::replicas;
    VOUCH "<master-name> <ip> <port> [RELEASE]" Core::vouch_command;
};

impl Core {
    /// Carries out a client's SENTINEL, PUBLISH or ROLE.
    pub(super) fn command(&mut self, client: ClientId, argv: Vec<Vec<u8>>, protocol: Protocol, now: Ms) {
        let words: Vec<String> = argv.iter().map(|a| String::from_utf8_lossy(a).into_owned()).collect();
        let mut call = Call {
            args: words.get(2..).unwrap_or_default().to_vec(),
            reply: Reply::new(protocol),
            client,
            now,
        };
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
        let Some(row) = SUBCOMMANDS.iter().find(|r| r.spec.name.eq_ignore_ascii_case(name)) else {
            let shown: String = name.chars().take(128).collect();
            call.reply.error(&format!("ERR unknown subcommand '{shown}'. Try SENTINEL HELP."));
            return Answer::Now;
        };
        if !row.spec.accepts(words) {
            let name = row.spec.full_name();
            call.reply.error(&format!("ERR wrong number of arguments for '{name}' command"));
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
        let mut lines = Vec::new();
        for row in SUBCOMMANDS.iter().filter(|row| row.spec.name != "help") {
            lines
                .push(format!("{} {}", row.spec.name.to_ascii_uppercase(), row.usage).trim_end().to_string());
            lines.push(format!("    {}", row.spec.docs.summary));
        }
        help("sentinel", lines.iter().map(String::as_str), &mut call.reply);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_subcommand_that_is_announced_is_carried_out() {
        let carried_out: Vec<&str> = SUBCOMMANDS.iter().map(|row| row.spec.name).collect();
        let announced: Vec<&str> = SENTINEL.subcommands.iter().map(|spec| spec.name).collect();
        assert_eq!(carried_out, announced);
    }
}
