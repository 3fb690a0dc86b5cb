//! The timer of the node: what has to happen without a command.
//!
//! It runs on the control thread, `hz` times a second. Everything it does under the engine's
//! lock comes in turns of a fraction of a millisecond, with the lock free in between, so that
//! no command waits for more than one turn.

use std::sync::Arc;
use std::time::Duration;

use super::clock;
use super::facts::EngineRates;
use super::shared::{Core, Shared};
use crate::engine::session::Class;

/// The longest turn under the lock, in ns.
const TURN_NS: u64 = 250_000;
/// Expired keys in a hundred sampled that make the active cycle go on, less twice the effort.
const STALE_PERCENT: usize = 10;
/// Buckets looked at in one step of the active expiry cycle.
const BUCKETS_PER_STEP: usize = 64;
/// Buckets rehashed in one step.
const REHASH_BUCKETS: usize = 256;

/// Runs the timer for ever.
pub async fn run(shared: Arc<Shared>) {
    let mut rates = EngineRates::default();
    loop {
        let hz = u64::from(shared.lock().engine.config.hz.max(1));
        tokio::time::sleep(Duration::from_millis(1000 / hz)).await;
        let now_ms = clock::unix_ms();
        if shared.lock().engine.cron_paused {
            continue;
        }
        rehash(&shared, hz).await;
        expire(&shared, now_ms, hz).await;
        let save = {
            let mut core = shared.lock();
            core.engine.now_ms = now_ms;
            close_idle(&mut core, now_ms);
            rates.sample(&mut core, clock::monotonic_ms());
            let _ = shared.deliver(&mut core);
            Shared::save_point_due(&core, now_ms)
        };
        shared.flush_replicas();
        if save {
            let _ = shared.background_save();
        }
    }
}

/// Moves tables that are being resized, for at most a hundredth of the time.
async fn rehash(shared: &Shared, hz: u64) {
    let budget_ns = 1_000_000_000 / hz / 100;
    let start = clock::monotonic_ns();
    while clock::monotonic_ns() - start < budget_ns {
        if !rehash_turn(shared) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

/// One turn of rehashing; whether there is more.
fn rehash_turn(shared: &Shared) -> bool {
    let start = clock::monotonic_ns();
    let mut core = shared.lock();
    while core.engine.rehash_step(REHASH_BUCKETS) {
        if clock::monotonic_ns() - start > TURN_NS {
            return true;
        }
    }
    false
}

/// The active expiry cycle: goes through the keys that have an expiry, database by database, as
/// long as many of those it meets are past it, for at most a quarter of the time.
async fn expire(shared: &Shared, now_ms: i64, hz: u64) {
    let budget_ns = 1_000_000_000 / hz / 4;
    let start = clock::monotonic_ns();
    let databases = shared.lock().engine.config.databases as usize;
    for db in 0..databases {
        let mut goes_on = true;
        while goes_on {
            if clock::monotonic_ns() - start > budget_ns {
                shared.lock().engine.stats.expire_cycles_capped += 1;
                return;
            }
            goes_on = expire_turn(shared, db, now_ms);
            tokio::task::yield_now().await;
        }
    }
}

/// One turn of the active expiry cycle on `db`; whether so many keys were past their time that
/// it is worth going on.
fn expire_turn(shared: &Shared, db: usize, now_ms: i64) -> bool {
    let start = clock::monotonic_ns();
    let mut core = shared.lock();
    if !core.engine.active_expire {
        return false;
    }
    core.engine.now_ms = now_ms;
    let effort = core.engine.config.active_expire_effort as usize;
    let acceptable = STALE_PERCENT.saturating_sub(effort - 1).max(1);
    let mut goes_on = true;
    while goes_on && clock::monotonic_ns() - start < TURN_NS {
        let (sampled, expired) = core.engine.expire_step(db, BUCKETS_PER_STEP);
        goes_on = expired * 100 > sampled * acceptable;
    }
    let _ = shared.deliver(&mut core);
    goes_on
}

/// Closes clients that have been silent for longer than `timeout`.
fn close_idle(core: &mut Core, now_ms: i64) {
    let limit_ms = i64::from(core.engine.config.timeout_secs) * 1000;
    if limit_ms == 0 {
        return;
    }
    let idle: Vec<u64> = core
        .engine
        .clients
        .iter()
        .filter(|s| s.class == Class::Normal && !s.in_pubsub() && now_ms - s.active_ms > limit_ms)
        .map(|s| s.id)
        .collect();
    for client in idle {
        core.engine.close_client(client);
    }
}
