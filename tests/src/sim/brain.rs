//! What thinks in a Sentinel's process: the state machine of this project, or the model of the original.
//! Both are driven through the same inputs and outputs.

use std::collections::BTreeMap;

use redoubt_sentinel::core::config::Config;
use redoubt_sentinel::core::timers::Ms;
use redoubt_sentinel::core::{Core, Input, Output};

use super::classic::Classic;
use super::plan::{Kind, Plan};

/// See the module's head.
#[derive(Debug)]
pub enum Brain {
    /// The state machine of this project.
    Redoubt(Box<Core>),
    /// The model of redis-sentinel.
    Classic(Box<Classic>),
}

impl Brain {
    /// A process that starts with this configuration.
    pub fn start(
        kind: Kind,
        config: Config,
        plan: &Plan,
        resolved: BTreeMap<String, String>,
        seed: u64,
        now: Ms,
    ) -> Brain {
        match kind {
            Kind::Redoubt => Brain::Redoubt(Box::new(Core::new(config, resolved, seed, now))),
            Kind::Classic => Brain::Classic(Box::new(Classic::new(config, plan.timers.clone(), seed, now))),
        }
    }

    /// Its id.
    pub fn id(&self) -> &str {
        match self {
            Brain::Redoubt(core) => core.id(),
            Brain::Classic(classic) => classic.id(),
        }
    }

    /// The epoch in which it stands for election for a master, or leads its failover.
    pub fn failover_epoch(&self, master: &str) -> Option<u64> {
        match self {
            Brain::Redoubt(core) => core.failover_epoch(master),
            Brain::Classic(classic) => classic.failover_epoch(master),
        }
    }

    /// Takes in what happened.
    pub fn handle(&mut self, now: Ms, input: Input) {
        match self {
            Brain::Redoubt(core) => core.handle(now, input),
            Brain::Classic(classic) => classic.handle(now, input),
        }
    }

    /// Does what the passing of time made due.
    pub fn handle_timeout(&mut self, now: Ms) {
        match self {
            Brain::Redoubt(core) => core.handle_timeout(now),
            Brain::Classic(classic) => classic.tick(now),
        }
    }

    /// When that is to be called next.
    pub fn poll_timeout(&self) -> Ms {
        match self {
            Brain::Redoubt(core) => core.poll_timeout(),
            Brain::Classic(classic) => classic.next_tick(),
        }
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        match self {
            Brain::Redoubt(core) => core.poll_output(),
            Brain::Classic(classic) => classic.poll_output(),
        }
    }
}
