//! Events: a line of the log, a message on our own pub/sub, and, when grave, a call of the
//! notification script. Names, texts and levels are Redis's, since operators' tools match on them.

use redoubt_wire::quoting::quote;

use super::model::{MasterId, Target};
use super::{Core, Output};

/// Importance of a log line or event, as `loglevel` orders them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Only logged, never published.
    Debug,
    /// Published.
    Verbose,
    /// Published.
    Notice,
    /// Published, and handed to the notification script.
    Warning,
}

impl Core {
    pub(super) fn log(&mut self, level: Level, text: String) {
        self.out.push_back(Output::Log { level, text });
    }

    /// An event about an instance: its description, then `tail`.
    pub(super) fn event(&mut self, level: Level, name: &str, m: usize, target: &Target, tail: &str) {
        let text = format!("{}{tail}", self.describe(m, target));
        self.event_text(level, name, Some(self.masters[m].id), text);
    }

    /// An event with a text of its own; `master` names whose notification script hears of it.
    pub(super) fn event_text(&mut self, level: Level, name: &str, master: Option<MasterId>, text: String) {
        self.log(level, format!("{name} {text}"));
        if level > Level::Debug {
            self.out.push_back(Output::Publish { channel: name.to_string(), message: text.clone() });
        }
        if let Some(m) = master.filter(|_| level == Level::Warning).and_then(|id| self.index(id)) {
            self.notify(m, name, &text);
        }
    }

    /// `<type> <name> <ip> <port>`, and ` @ <master> <ip> <port>` unless it is the master.
    pub(super) fn describe(&self, m: usize, target: &Target) -> String {
        let master = &self.masters[m];
        let hostnames = self.globals.announce_hostnames;
        let of_master =
            format!("{} {} {}", master.name(), master.me.addr.announced(hostnames), master.me.addr.port);
        let (kind, name) = match target {
            Target::Master => return format!("master {of_master}"),
            Target::Replica(name) => ("slave", name),
            Target::Peer(id) => ("sentinel", id),
        };
        match master.instance(target) {
            Some(i) => {
                format!("{kind} {name} {} {} @ {of_master}", i.addr.announced(hostnames), i.addr.port)
            }
            None => format!("{kind} {name} @ {of_master}"),
        }
    }
}

/// A directive as a line of the file; words that would not be read back as one word are quoted.
pub fn format_directive(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|w| quote(w.as_bytes())).collect();
    quoted.join(" ")
}
