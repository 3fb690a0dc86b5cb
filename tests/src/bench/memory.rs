//! `bench memory`: what a key costs, by the server's own account and by the kernel's.

use serde::Serialize;

use super::loadgen::{self, Request};
use super::speed::{PLAIN_OPTIONS, aside};
use super::table::{Table, figure};
use super::{Contestant, procfs};
use crate::error::{LabError, Result};
use crate::scratch::Scratch;
use crate::server::{Server, ServerSpec};

/// Keys of 15 bytes (twelve digits follow the prefix), values of 16.
const FILL: Request = Request::Set { prefix: "id:", value_size: 16 };

/// What a server's keys cost.
#[derive(Debug, Clone, Serialize)]
pub struct Cost {
    /// The server.
    pub server: String,
    /// How many keys it holds.
    pub keys: u64,
    /// Growth of `used_memory` for each, in bytes.
    pub used_per_key: f64,
    /// Growth of the resident memory for each, in bytes.
    pub resident_per_key: f64,
}

/// Fills the servers one after the other.
pub async fn run(contestants: &[Contestant], keys: u64, keep: bool) -> Result<Vec<Cost>> {
    let scratch = Scratch::new(keep)?;
    let mut costs = Vec::new();
    for contestant in contestants {
        let spec = ServerSpec::with_options(&contestant.name, &contestant.program, &PLAIN_OPTIONS);
        let server = spec.start(&scratch).await?;
        let before = memory(&server).await?;
        let addr = server.addr();
        aside(move || loadgen::fill(addr, FILL, keys)).await?;
        settle(&server, keys).await?;
        let after = memory(&server).await?;
        let per_key = |before: u64, after: u64| after.saturating_sub(before) as f64 / keys as f64;
        costs.push(Cost {
            server: contestant.name.clone(),
            keys,
            used_per_key: per_key(before.0, after.0),
            resident_per_key: per_key(before.1, after.1),
        });
    }
    Ok(costs)
}

/// Waits until the server has stopped moving its table about: no change of `used_memory` for a while.
async fn settle(server: &Server, keys: u64) -> Result<()> {
    const QUIET_PROBES: usize = 50;
    let mut last = 0;
    let mut quiet = 0;
    let what = format!("{} holds {keys} keys and its used_memory stands still", server.name());
    crate::wait::until(&what, std::time::Duration::from_secs(60), async || {
        let size: u64 = server.ask(&["DBSIZE"]).await.map_err(|error| error.to_string())?;
        let (used, _) = memory(server).await.map_err(|error| error.to_string())?;
        // A connection's buffers come and go with each probe.
        quiet = if used.abs_diff(last) < 100_000 { quiet + 1 } else { 0 };
        last = used;
        if size == keys && quiet >= QUIET_PROBES { Ok(()) } else { Err(format!("{size} keys, {used} bytes")) }
    })
    .await
}

/// `used_memory` and the resident memory, in bytes.
async fn memory(server: &Server) -> Result<(u64, u64)> {
    let fields = server.info("memory").await?;
    let used = fields.get("used_memory").and_then(|bytes| bytes.parse().ok()).ok_or_else(|| {
        LabError::Other(format!("INFO memory of {} has no number under used_memory", server.name()))
    })?;
    Ok((used, procfs::resident_bytes(server.pid()?)?))
}

/// Bytes for each key; the last columns compare the first server's with the best of the others.
pub fn table(costs: &[Cost]) -> Table {
    let mut table = Table::new(&[
        "server",
        "keys",
        "used_memory/key",
        "resident/key",
        "used vs best peer",
        "resident vs best peer",
    ]);
    let peers = || costs.iter().skip(1);
    let least_used = peers().map(|cost| cost.used_per_key).reduce(f64::min);
    let least_resident = peers().map(|cost| cost.resident_per_key).reduce(f64::min);
    for (index, cost) in costs.iter().enumerate() {
        let ratio =
            |own: f64, best: Option<f64>| figure(best.filter(|_| index == 0).map(|best| own / best), 2);
        table.row(vec![
            cost.server.clone(),
            cost.keys.to_string(),
            figure(Some(cost.used_per_key), 1),
            figure(Some(cost.resident_per_key), 1),
            ratio(cost.used_per_key, least_used),
            ratio(cost.resident_per_key, least_resident),
        ]);
    }
    table
}
