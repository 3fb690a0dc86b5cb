//! MONITOR: shows every command to the clients that asked for it.

use redoubt_wire::quoting::quote_always;
use std::fmt::Write;

use super::Engine;
use super::commands::Command;
use super::commands::spec::Flags;
use super::redact;
use super::session::Session;

impl Engine {
    /// Whether `session` is shown all commands from now on.
    pub(super) fn set_monitor(&mut self, session: &mut Session, on: bool) {
        if session.monitor != on {
            session.monitor = on;
            self.monitors.retain(|id| *id != session.id);
            if on {
                self.monitors.push(session.id);
            }
        }
    }

    /// Shows a command that has run. Administrative commands are not shown.
    pub(super) fn feed_monitors(&mut self, session: &Session, command: &Command, args: &[&[u8]]) {
        if self.monitors.is_empty() || command.has(Flags::SKIP_MONITOR) || command.has(Flags::ADMIN) {
            return;
        }
        let mut line = String::new();
        let (seconds, us) = (self.now_ms / 1000, self.now_ms % 1000 * 1000);
        // Writing to a String cannot fail, so that the result carries nothing.
        let _ = write!(line, "{seconds}.{us:06} [{} {}]", session.db, session.addr);
        for arg in redact::shown(command, args) {
            line.push(' ');
            line.push_str(&quote_always(arg));
        }
        for client in self.monitors.clone() {
            self.push_to(client, |reply| reply.simple(&line));
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::request::Output;
    use crate::engine::testing::Harness;

    #[test]
    fn commands_are_shown_quoted_and_in_the_order_in_which_they_ran() {
        let mut h = Harness::new();
        let watcher = h.connect();
        h.engine.clients.get_mut(watcher).unwrap().db = 3;
        assert_eq!(h.run_as(watcher, "MONITOR"), "+OK\r\n");
        h.run_args(h.client, &[b"SET", b"k", b"a\"\n\x01"]);
        h.run("CONFIG GET port");
        h.run("AUTH u p");
        let lines: Vec<String> = h
            .engine
            .take_outputs()
            .into_iter()
            .map(|output| match output {
                Output::Push { client, bytes } if client == watcher => String::from_utf8(bytes).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(
            lines,
            [
                "+1700000000.000000 [0 127.0.0.1:50001] \"SET\" \"k\" \"a\\\"\\n\\x01\"\r\n",
                "+1700000000.000000 [0 127.0.0.1:50001] \"AUTH\" \"(redacted)\" \"(redacted)\"\r\n",
            ]
        );
        assert_eq!(h.run_as(watcher, "RESET"), "+RESET\r\n");
        h.run("PING");
        assert!(!h.engine.has_outputs());
    }
}
