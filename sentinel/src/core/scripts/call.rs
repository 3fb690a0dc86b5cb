//! What a script is called with, and the form in which a call that is still to be made is kept on disk.
//!
//! A line holds what outlives the process: kind, master, epoch, event, reason, attempts, and the arguments. The path of
//! the script is not kept: a call is made to the script that is configured when it is made, so the file can
//! have nothing run that the configuration does not name.

use redoubt_wire::quoting::split;

use super::MAX_ATTEMPTS;
use crate::core::format_directive;

/// Which of a master's scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScriptKind {
    /// `notification-script`.
    Notification,
    /// `client-reconfig-script`.
    ClientReconfig,
}

impl ScriptKind {
    /// The word for it in a line, as the directives begin.
    fn word(self) -> &'static str {
        match self {
            ScriptKind::Notification => "notification",
            ScriptKind::ClientReconfig => "client-reconfig",
        }
    }
}

/// A call of a script, whichever attempt it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScriptCall {
    /// Which script.
    pub kind: ScriptKind,
    /// The master it is about.
    pub master: String,
    /// The master's config epoch at the event.
    pub epoch: u64,
    /// Names the event: 32 hexadecimal digits, the same at each attempt and for no other event.
    pub event_id: String,
    /// What it is for, as `SENTINEL_REASON` tells it.
    pub reason: String,
    /// The arguments that follow the script's path.
    pub args: Vec<String>,
    /// How often it was made.
    pub attempts: u32,
}

impl ScriptCall {
    /// What the script finds in its environment besides ours.
    pub(super) fn env(&self) -> Vec<(String, String)> {
        let of = |name: &str, value: String| (name.to_string(), value);
        vec![
            of("SENTINEL_CONFIG_EPOCH", self.epoch.to_string()),
            of("SENTINEL_EVENT_ID", self.event_id.clone()),
            of("SENTINEL_REASON", self.reason.clone()),
        ]
    }

    /// The call as a line.
    pub(super) fn line(&self) -> String {
        let (epoch, attempts) = (self.epoch.to_string(), self.attempts.to_string());
        let mut words =
            vec![self.kind.word(), &self.master, &epoch, &self.event_id, &self.reason, attempts.as_str()];
        words.extend(self.args.iter().map(String::as_str));
        format_directive(&words)
    }

    /// The call of a line; none if it is not one.
    pub fn parse(line: &str) -> Option<ScriptCall> {
        let words = split(line.as_bytes()).ok()?;
        let words: Vec<String> = words.into_iter().map(String::from_utf8).collect::<Result<_, _>>().ok()?;
        let [kind, master, epoch, event_id, reason, attempts, args @ ..] = words.as_slice() else {
            return None;
        };
        let kinds = [ScriptKind::Notification, ScriptKind::ClientReconfig];
        Some(ScriptCall {
            kind: kinds.into_iter().find(|k| k.word() == kind)?,
            master: master.clone(),
            epoch: epoch.parse().ok()?,
            event_id: event_id.clone(),
            reason: reason.clone(),
            attempts: attempts.parse().ok().filter(|n| *n <= MAX_ATTEMPTS)?,
            args: args.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_line_gives_the_call_back(
            texts in prop::collection::vec(any::<String>(), 3..6),
            numbers in any::<(u64, bool)>(),
            attempts in 0..=MAX_ATTEMPTS,
        ) {
            let call = ScriptCall {
                kind: if numbers.1 { ScriptKind::Notification } else { ScriptKind::ClientReconfig },
                master: texts[0].clone(),
                epoch: numbers.0,
                event_id: texts[1].clone(),
                reason: texts[2].clone(),
                args: texts[3..].to_vec(),
                attempts,
            };
            let line = call.line();
            prop_assert!(!line.contains('\n'), "{line}");
            prop_assert_eq!(ScriptCall::parse(&line), Some(call));
        }

        #[test]
        fn any_other_text_is_no_call_or_one_that_is_written_as_it_was_read(line in "\\PC{0,60}") {
            if let Some(call) = ScriptCall::parse(&line) {
                prop_assert_eq!(ScriptCall::parse(&call.line()), Some(call));
            }
        }
    }

    #[test]
    fn what_is_damaged_is_no_call() {
        let good = "client-reconfig m 7 ab failover 10 m leader start 10.0.0.1 1 10.0.0.2 1";
        assert!(ScriptCall::parse(good).is_some());
        for bad in [
            "",
            "# a comment",
            "client-reconfig m 7 ab failover",
            "client-reconf m 7 ab failover 0",
            "client-reconfig m -7 ab failover 0",
            "client-reconfig m 7 ab failover 11",
            "client-reconfig m 7 ab failover 0 \"m",
        ] {
            assert_eq!(ScriptCall::parse(bad), None, "{bad}");
        }
    }
}
