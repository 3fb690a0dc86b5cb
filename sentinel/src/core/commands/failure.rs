//! Questions of other Sentinels about a master, and simulated failures.

use redoubt_wire::resp::number::parse_integer;
use redoubt_wire::resp::reply::Reply;

use super::change::refuse;
use super::{Answer, Call};
use crate::core::config::Planted;
use crate::core::model::Target;
use crate::core::names::Unresolved;
use crate::core::timers::Due;
use crate::core::{Core, Level};

/// Longer ids are not ids.
const MAX_RUN_ID: usize = 64;

impl Core {
    /// IS-MASTER-DOWN-BY-ADDR: whether we see it down, and our vote if a run id asks for it. A vote
    /// is told once it is on disk; if it cannot be written, none was given as far as others know.
    pub(super) fn is_master_down(&mut self, call: &mut Call) -> Answer {
        let [host, port, epoch, run_id] = [0, 1, 2, 3].map(|i| call.args[i].clone());
        let (port, epoch) = (parse_integer(port.as_bytes()), parse_integer(epoch.as_bytes()));
        let (Some(port), Some(epoch)) = (port, epoch) else {
            return refuse(call, "value is not an integer or out of range");
        };
        let found = match self.master_at(&host, port) {
            Ok(found) => found,
            Err(Unresolved::Pending) => return Answer::AfterLookup(host),
            Err(Unresolved::Invalid) => None,
        };
        // What is due this very moment belongs to the answer.
        if let Some(m) = found.filter(|_| !self.tilt.active()) {
            self.judge_subjectively(m, &Target::Master, call.now, &mut Due::never());
        }
        let down = found.is_some_and(|m| self.masters[m].me.s_down() && !self.tilt.active());
        let mut vote = (None, 0);
        let candidate = run_id != "*" && run_id.len() <= MAX_RUN_ID;
        if let (Some(m), true, Ok(epoch)) = (found, candidate, u64::try_from(epoch)) {
            vote = self.vote(m, epoch, &run_id, call.now);
        }
        write_answer(&mut call.reply, down, vote.0.as_deref().unwrap_or("*"), vote.1);
        let Some(m) = found else { return Answer::Now };
        self.ask_back(m, call.now);
        self.masters[m].due = call.now;
        if !candidate || self.planted == Some(Planted::VoteBeforeWrite) {
            return Answer::Now;
        }
        let mut without = Reply::new(call.reply.protocol);
        write_answer(&mut without, down, "*", 0);
        Answer::AfterWrite(self.masters[m].vote_seq, without.buf)
    }

    /// The master at that address. A name that none of them goes by may still lead to one.
    fn master_at(&mut self, host: &str, port: i64) -> Result<Option<usize>, Unresolved> {
        let Ok(port) = u16::try_from(port) else { return Ok(None) };
        let known = self.masters.iter().position(|m| m.me.addr.is(host, port));
        if known.is_some() {
            return Ok(known);
        }
        let addr = self.resolve(host, port)?;
        Ok(self.masters.iter().position(|m| m.me.addr.same(&addr)))
    }

    /// EPOCHS: our current epoch, and our config epoch of the master.
    pub(super) fn epochs(&mut self, call: &mut Call) -> Answer {
        let Some(m) = self.named(call) else { return Answer::Now };
        call.reply.array(2);
        call.reply.integer(self.epoch as i64);
        call.reply.integer(self.masters[m].config_epoch as i64);
        Answer::Now
    }

    pub(super) fn simulate_failure(&mut self, call: &mut Call) -> Answer {
        self.crash_after_election = false;
        self.crash_after_promotion = false;
        for option in call.args.clone() {
            match option.to_ascii_lowercase().as_str() {
                "crash-after-election" => {
                    self.crash_after_election = true;
                    self.log(Level::Warning, "Failure simulation: this Sentinel will crash after being successfully elected as failover leader".into());
                }
                "crash-after-promotion" => {
                    self.crash_after_promotion = true;
                    self.log(Level::Warning, "Failure simulation: this Sentinel will crash after promoting the selected replica to master".into());
                }
                "help" => {
                    call.reply.array(2);
                    call.reply.bulk(b"crash-after-election");
                    call.reply.bulk(b"crash-after-promotion");
                    return Answer::Now;
                }
                _ => return refuse(call, "Unknown failure simulation specified"),
            }
        }
        call.reply.ok();
        Answer::Now
    }
}

fn write_answer(reply: &mut Reply, down: bool, leader: &str, epoch: u64) {
    reply.array(3);
    reply.integer(down.into());
    reply.bulk(leader.as_bytes());
    reply.integer(epoch as i64);
}
