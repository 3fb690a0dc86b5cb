//! CLIENT PAUSE: commands that wait for its end.

use std::collections::VecDeque;

use redoubt_wire::commands::spec::{CommandSpec, Flags};

use crate::core::ClientId;
use crate::core::timers::Ms;

/// A pause, and what it holds back. A client whose command waits sends no other.
#[derive(Debug, Default)]
pub(super) struct Pause {
    until: Option<Ms>,
    /// It holds all commands back, not only what writes or publishes.
    all: bool,
    held: VecDeque<(ClientId, Vec<Vec<u8>>)>,
}

impl Pause {
    /// Begins a pause. One that goes on is never shortened or weakened by it.
    pub(super) fn begin(&mut self, until: Ms, all: bool, now: Ms) {
        let old = self.until.filter(|old| *old > now);
        self.all = all || (old.is_some() && self.all);
        self.until = Some(old.map_or(until, |old| old.max(until)));
    }

    /// Whether a command has to wait.
    pub(super) fn holds(&self, spec: &CommandSpec, now: Ms) -> bool {
        let writes = spec.flags.has(Flags::WRITE) || spec.flags.has(Flags::MAY_REPLICATE);
        self.until.is_some_and(|until| now < until) && (self.all || writes)
    }

    /// Has a command wait.
    pub(super) fn hold(&mut self, client: ClientId, argv: Vec<Vec<u8>>) {
        self.held.push_back((client, argv));
    }

    /// How many commands wait.
    pub(super) fn waiting(&self) -> usize {
        self.held.len()
    }

    /// When it ends by itself.
    pub(super) fn due(&self) -> Ms {
        self.until.unwrap_or(Ms::MAX)
    }

    /// Ends it; what waited can be carried out now.
    pub(super) fn end(&mut self) -> VecDeque<(ClientId, Vec<Vec<u8>>)> {
        self.until = None;
        std::mem::take(&mut self.held)
    }
}

#[cfg(test)]
mod tests {
    use redoubt_wire::commands::table::{PING, PUBLISH};

    use super::*;

    #[test]
    fn a_pause_is_neither_shortened_nor_weakened() {
        let mut pause = Pause::default();
        pause.begin(1_100, false, 1_000);
        assert!(pause.holds(&PUBLISH, 1_099) && !pause.holds(&PING, 1_099));
        pause.begin(1_050, true, 1_000);
        assert!(pause.holds(&PING, 1_099) && !pause.holds(&PING, 1_100));
        pause.begin(1_060, false, 1_010);
        assert!(pause.holds(&PING, 1_099));
        pause.begin(1_300, false, 1_200);
        assert!(!pause.holds(&PING, 1_250), "the pause before is over");
        pause.hold(ClientId(1), Vec::new());
        assert_eq!((pause.end().len(), pause.due()), (1, Ms::MAX));
    }
}
