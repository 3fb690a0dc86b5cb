//! SENTINEL VOUCH: the question of the agents of virtual IPs, whose answer `core::vouch` gives.

use redoubt_wire::resp::number::parse_integer;

use super::change::refuse;
use super::{Answer, Call};
use crate::core::Core;

impl Core {
    /// `vouched`, config epoch, milliseconds since another address of this master was vouched for; or `refused`,
    /// config epoch, and why: a word, what belongs to it, and a sentence. With RELEASE, OK: the host that asks holds
    /// nothing any more.
    pub(super) fn vouch_command(&mut self, call: &mut Call) -> Answer {
        let [host, port] = [1, 2].map(|i| call.args[i].clone());
        let releases = match &call.args[3..] {
            [] => false,
            [word] if word.eq_ignore_ascii_case("release") => true,
            _ => return refuse(call, "syntax error"),
        };
        let Some(m) = self.named(call) else { return Answer::Now };
        let Some(port) = parse_integer(port.as_bytes()).and_then(|port| u16::try_from(port).ok()) else {
            return refuse(call, "value is not an integer or out of range");
        };
        if releases {
            self.released(m, &host, port, call.client);
            call.reply.ok();
            return Answer::Now;
        }
        let answer = self.vouch(m, &host, port, call.client, call.now);
        let reply = &mut call.reply;
        reply.array(3);
        reply.bulk(if answer.is_ok() { b"vouched" } else { b"refused" });
        reply.integer(self.masters[m].config_epoch as i64);
        match answer {
            Ok(since_other_ms) => reply.integer(since_other_ms as i64),
            Err(why) => reply.bulk(why.as_bytes()),
        }
        Answer::Now
    }
}
