//! What systemd hears of a node while it starts, runs and ends: its status, and that it is alive.
//!
//! A node is alive if the control thread comes round and the engine can be had: the sign of life is
//! given on that thread, after a look at the engine under its lock. So it stays away where either
//! hangs, for as long as it hangs, and no other thread can speak for them. While a dataset is loaded, or a
//! shutdown goes on, systemd is asked for patience in the same breath: what takes its time is not
//! taken for hung, however long the unit allows a start or an end to take.

use std::sync::Arc;
use std::time::Duration;

use redoubt_wire::service::LOADING;

use super::shared::{Core, Shared};
use crate::engine::facts::ShutdownPhase;
use crate::engine::load::Loading;
use crate::replication::info::{FailoverState, LinkState};

/// How long systemd is to wait after a node that was busy with its start or its end has been heard of last.
const PATIENCE: Duration = Duration::from_secs(30);

/// Keeps systemd informed, if it is there.
pub async fn run(shared: Arc<Shared>) {
    let Some(pulse) = shared.service.pulse() else { return };
    loop {
        tokio::time::sleep(pulse).await;
        shared.tell_status();
        shared.service.alive();
    }
}

impl Shared {
    /// Tells systemd what the node is about.
    pub fn tell_status(&self) {
        if self.service.pulse().is_none() {
            return;
        }
        let (status, busy) = {
            let core = self.lock();
            (status(&core), is_busy(&core))
        };
        self.service.status(&status);
        if busy {
            self.service.takes_longer(PATIENCE);
        }
    }
}

/// Whether a start or an end is under way. A node that could not save at its end, and therefore stays, is still
/// about to end for systemd, which must not take the data from it.
fn is_busy(core: &Core) -> bool {
    let process = &core.engine.facts.process;
    core.engine.loading != Loading::No || process.shutdown.is_some() || process.cannot_exit
}

/// The status, in Redis's words where it has some.
pub fn status(core: &Core) -> String {
    let engine = &core.engine;
    if engine.loading == Loading::Exclusive {
        let progress = engine.facts.persistence.loading.unwrap_or_default();
        return match (progress.loaded_bytes * 100).checked_div(progress.total_bytes) {
            Some(percent) => format!("{LOADING} {}%", percent.min(100)),
            None => LOADING.into(),
        };
    }
    match engine.facts.process.shutdown {
        Some(ShutdownPhase::WaitsUntil(_)) => "Waiting for replicas before shutting down".into(),
        Some(ShutdownPhase::Saves) => "Saving the final RDB snapshot".into(),
        Some(ShutdownPhase::Requested) => "Shutting down".into(),
        None if engine.facts.process.cannot_exit => {
            format!("Error trying to save the DB, can't exit. {}", serving(core))
        }
        None => serving(core),
    }
}

/// The role, the link to the master, and a failover under way.
fn serving(core: &Core) -> String {
    let engine = &core.engine;
    let replication = &engine.replication;
    let role = match replication.link() {
        None => {
            let replicas = match replication.feed.replica_count() {
                1 => "1 replica".into(),
                count => format!("{count} replicas"),
            };
            let guard = if replication.feed.is_guarded() {
                ", refuses writes until it is confirmed (master-rejoin-guard)"
            } else {
                ""
            };
            format!("Ready to accept connections: master, {replicas}{guard}")
        }
        Some(link) => {
            let mode = if engine.config.replica_read_only { "read-only" } else { "read-write" };
            let (host, port) = (&link.config().host, link.config().port);
            let up = match link.state() {
                LinkState::Connected => "link up".into(),
                state => format!("link down ({})", state.as_str()),
            };
            format!("Ready to accept connections in {mode} mode: replica of {host}:{port}, {up}")
        }
    };
    match replication.failover_state() {
        FailoverState::NoFailover => role,
        state => format!("{role}, failover under way ({})", state.as_str()),
    }
}
