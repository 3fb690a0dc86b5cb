//! What the Sentinel is about, in one line for an operator: masters that are down, and failovers of its own.

use super::Core;
use super::model::Master;

/// Masters in trouble that are named; the rest is counted.
const NAMED: usize = 3;

impl Core {
    /// The line, which `systemctl status` shows.
    pub fn status(&self) -> String {
        let watched = match self.masters.len() {
            1 => "1 master".into(),
            count => format!("{count} masters"),
        };
        let mut parts = vec![format!("Ready to accept connections: watches {watched}")];
        if self.tilt.active() {
            parts.push("in TILT mode".into());
        }
        let mut troubles = self.masters.iter().filter_map(trouble);
        parts.extend(troubles.by_ref().take(NAMED));
        match troubles.count() {
            0 => {}
            count => parts.push(format!("{count} more in trouble")),
        }
        parts.join("; ")
    }
}

/// What is the matter with a master, if anything is.
fn trouble(master: &Master) -> Option<String> {
    let name = master.name();
    if let Some(failover) = &master.failover {
        return Some(format!(
            "{name}: failover under way ({}, epoch {})",
            failover.state.word(),
            failover.epoch
        ));
    }
    match (master.o_down_since, master.me.s_down_since) {
        (Some(_), _) => Some(format!("{name}: odown")),
        (None, Some(_)) => Some(format!("{name}: sdown")),
        (None, None) => None,
    }
}
