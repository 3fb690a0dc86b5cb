//! One round: load, fault, new master, return of the old one, reckoning.
//!
//! The demo, the benchmark and the end-to-end tests all run this same round, so that
//! what is shown, measured and asserted are the same figures.

use std::time::{Duration, Instant};

use serde::Serialize;

use crate::binaries::is_ours;
use crate::client::Role;
use crate::deployment::{Deployment, MASTER_NAME};
use crate::discovery::{Discovery, Event};
use crate::error::{LabError, Result};
use crate::load::{Load, Pace};
use crate::wait;

/// Within this time a failover has to be over; several times what Redis needs.
const FAILOVER_LIMIT: Duration = Duration::from_secs(40);
/// Redis's Sentinel corrects a returning master only after eight seconds and its next INFO.
const RETURN_LIMIT: Duration = Duration::from_secs(60);

/// What happens to the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Fault {
    /// The process dies at once; its connections are reset.
    Sigkill,
    /// The process hangs; its connections stay open and silent.
    Sigstop,
    /// None: an operator moves the master with SENTINEL FAILOVER … COORDINATED, or without that word where the
    /// Sentinel does not know it.
    Coordinated,
}

impl Fault {
    /// The name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Sigkill => "sigkill",
            Fault::Sigstop => "sigstop",
            Fault::Coordinated => "coordinated",
        }
    }
}

/// What one round measured.
#[derive(Debug, Clone, Serialize)]
pub struct Figures {
    /// What was done to the master.
    pub fault: Fault,
    /// From the last write acknowledged by the old master to the first by the new one.
    pub outage_ms: f64,
    /// The part of it that is set: `down-after-milliseconds`, or `down-on-refused` for a killed process.
    pub detection_ms: u64,
    /// The rest of it: what detection took beyond that, agreement, promotion, telling clients.
    pub beyond_ms: f64,
    /// The longest that any one client had to wait between two acknowledgements.
    pub longest_pause_ms: f64,
    /// From the fault to the first `+sdown` of any Sentinel.
    pub sdown_ms: Option<f64>,
    /// From the fault to the first `+switch-master` of any Sentinel.
    pub switch_ms: Option<f64>,
    /// From the first Sentinel's `+switch-master` to the last one's; only if all published it.
    pub switch_spread_ms: Option<f64>,
    /// Further failovers, for which there was no reason: `+switch-master` beyond the first of a Sentinel.
    pub spurious: usize,
    /// Writes acknowledged in the whole round.
    pub acknowledged: u64,
    /// Acknowledged writes that the new master does not have at the end.
    pub lost: usize,
    /// From the old master's return until it followed the new one with its link up.
    pub follows_after_ms: f64,
}

/// What the caller does about a round besides waiting for it.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// What happens to the master.
    pub fault: Fault,
    /// The writers.
    pub pace: Pace,
    /// How long they write before the fault, and again before the old master returns.
    pub steady: Duration,
}

/// Runs one round on a settled deployment. `say` is told each step as it happens; `on_load` is given
/// the load's counter.
pub async fn round(
    deployment: &mut Deployment,
    discovery: &Discovery,
    plan: Plan,
    detection_ms: u64,
    say: &dyn Fn(String),
    on_load: &dyn Fn(&Load),
) -> Result<Figures> {
    let old = deployment.settled(FAILOVER_LIMIT).await?;
    let prefix = format!("lab:{:08x}", rand::random::<u32>());
    let mut load = Load::start(discovery, &prefix, plan.pace);
    on_load(&load);
    load.advances(100, FAILOVER_LIMIT).await?;
    tokio::time::sleep(plan.steady).await;

    let events_before = discovery.events(0).len();
    load.take_longest_pause();
    let fault_at = inject(deployment, old, plan.fault, say).await?;
    let handover = load.handover_since(fault_at, FAILOVER_LIMIT).await?;
    let new = deployment.node_at(handover.to.port())?;
    let outage = millis(handover.first - handover.last);
    let name = deployment.nodes[new].name().to_string();
    say(format!(
        "{name} takes writes, {outage:.0} ms after the last write to {}",
        deployment.nodes[old].name()
    ));
    load.advances(100, FAILOVER_LIMIT).await?;
    let longest_pause_ms = millis(load.take_longest_pause());
    tokio::time::sleep(plan.steady).await;

    let returned_at = heal(deployment, old, plan.fault, say).await?;
    // Usually the same; a failover without reason may have made it another.
    let new = follows_a_master(deployment, old).await?;
    let name = deployment.nodes[new].name().to_string();
    let follows_after_ms = millis(returned_at.elapsed());
    say(format!("{} follows {name}, its link is up", deployment.nodes[old].name()));

    load.stop().await;
    let lost = load.missing_on(deployment.nodes[new].addr()).await?;
    if let Some(first) = lost.first() {
        say(format!("{} acknowledged writes are not on {name}, e.g. {first}", lost.len()));
    }
    same_data(deployment, new, old).await?;
    let absent = load.missing_on(deployment.nodes[old].addr()).await?;
    if absent.len() != lost.len() {
        return Err(LabError::Other(format!(
            "{} acknowledged writes are missing on {name}, but {} on {}",
            lost.len(),
            absent.len(),
            deployment.nodes[old].name()
        )));
    }
    say(format!("{} has all the data of {name}", deployment.nodes[old].name()));

    let events = discovery.events(events_before);
    let switches = first_of_each(&events, "+switch-master", deployment.sentinels.len());
    let since_fault = |at: Instant| millis(at.saturating_duration_since(fault_at));
    Ok(Figures {
        fault: plan.fault,
        outage_ms: outage,
        detection_ms,
        beyond_ms: outage - detection_ms as f64,
        longest_pause_ms,
        sdown_ms: events.iter().find(|event| event.channel == "+sdown").map(|event| since_fault(event.at)),
        switch_ms: switches.iter().flatten().min().copied().map(since_fault),
        switch_spread_ms: spread(&switches).map(millis),
        spurious: spurious(&events, deployment.sentinels.len()),
        acknowledged: load.total(),
        lost: lost.len(),
        follows_after_ms,
    })
}

/// Does the harm; returns the instant just before it.
async fn inject(
    deployment: &mut Deployment,
    victim: usize,
    fault: Fault,
    say: &dyn Fn(String),
) -> Result<Instant> {
    let node = &mut deployment.nodes[victim];
    let at = Instant::now();
    match fault {
        Fault::Sigkill => node.kill()?,
        Fault::Sigstop => node.freeze()?,
        Fault::Coordinated => {
            let sentinel = &deployment.sentinels[0];
            let request = ["SENTINEL", "FAILOVER", MASTER_NAME, "COORDINATED"];
            let words = if is_ours(sentinel.program()) { &request[..] } else { &request[..3] };
            let () = sentinel.ask(words).await?;
        }
    }
    let node = &deployment.nodes[victim];
    let (name, port) = (node.name(), node.port());
    say(match fault {
        Fault::Sigkill => format!("{name}, the master on port {port}, was killed (SIGKILL)"),
        Fault::Sigstop => format!("{name}, the master on port {port}, was stopped (SIGSTOP)"),
        Fault::Coordinated => format!("a Sentinel was asked to replace {name}, the master on port {port}"),
    });
    Ok(at)
}

/// Waits until `replica` follows a master with its link up; which one.
async fn follows_a_master(deployment: &Deployment, replica: usize) -> Result<usize> {
    let replica = &deployment.nodes[replica];
    let what = format!("{} follows a master", replica.name());
    wait::until(&what, RETURN_LIMIT, async || {
        let text = |error: LabError| error.to_string();
        match replica.role().await.map_err(text)? {
            Role::Replica { master_port, link_up: true, .. } => {
                let master = deployment.node_at(master_port).map_err(text)?;
                match deployment.nodes[master].role().await.map_err(text)? {
                    Role::Master { .. } => Ok(master),
                    role => Err(format!("{}: {role:?}", deployment.nodes[master].name())),
                }
            }
            role => Err(format!("{role:?}")),
        }
    })
    .await
}

async fn heal(
    deployment: &mut Deployment,
    victim: usize,
    fault: Fault,
    say: &dyn Fn(String),
) -> Result<Instant> {
    let node = &mut deployment.nodes[victim];
    match fault {
        Fault::Sigkill => node.restart().await?,
        Fault::Sigstop => node.thaw()?,
        Fault::Coordinated => return Ok(Instant::now()),
    }
    say(format!("{} is back; it still believes to be the master", node.name()));
    Ok(Instant::now())
}

/// Waits until `replica` has as many keys as `master`, and finds the load's among them.
async fn same_data(deployment: &Deployment, master: usize, replica: usize) -> Result<()> {
    let (master, replica) = (&deployment.nodes[master], &deployment.nodes[replica]);
    let what = format!("{} has as many keys as {}", replica.name(), master.name());
    wait::until(&what, RETURN_LIMIT, async || {
        let size = async |server: &crate::server::Server| server.ask::<u64>(&["DBSIZE"]).await;
        match (size(master).await, size(replica).await) {
            (Ok(there), Ok(here)) if there == here => Ok(()),
            (Ok(there), Ok(here)) => Err(format!("{here} of {there}")),
            (Err(error), _) | (_, Err(error)) => Err(error.to_string()),
        }
    })
    .await
}

/// When each Sentinel first published that event.
fn first_of_each(events: &[Event], channel: &str, sentinels: usize) -> Vec<Option<Instant>> {
    (0..sentinels)
        .map(|sentinel| {
            events
                .iter()
                .find(|event| event.sentinel == sentinel && event.channel == channel)
                .map(|event| event.at)
        })
        .collect()
}

/// Failovers beyond the first, as the Sentinel that saw most of them counts.
fn spurious(events: &[Event], sentinels: usize) -> usize {
    let of = |sentinel| {
        let switches = |event: &&Event| event.sentinel == sentinel && event.channel == "+switch-master";
        events.iter().filter(switches).count()
    };
    (0..sentinels).map(of).max().unwrap_or(0).saturating_sub(1)
}

fn spread(instants: &[Option<Instant>]) -> Option<Duration> {
    let all: Option<Vec<Instant>> = instants.iter().copied().collect();
    let all = all?;
    Some(*all.iter().max()? - *all.iter().min()?)
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1_000.0
}

impl Figures {
    /// The demo's last line.
    pub fn summary(&self) -> String {
        format!(
            "outage {:.0} ms: {} ms set for detection, {:.0} ms beyond it; {} writes acknowledged, {} lost",
            self.outage_ms, self.detection_ms, self.beyond_ms, self.acknowledged, self.lost
        )
    }

    /// Fails if an acknowledged write was lost.
    pub fn nothing_lost(&self) -> Result<()> {
        match self.lost {
            0 => Ok(()),
            lost => {
                Err(LabError::Other(format!("{lost} of {} acknowledged writes were lost", self.acknowledged)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spread_needs_every_sentinel() {
        let start = Instant::now();
        let event = |sentinel, ms: u64, channel: &str| Event {
            at: start + Duration::from_millis(ms),
            sentinel,
            channel: channel.into(),
            message: String::new(),
        };
        let mut events =
            vec![event(0, 5, "+switch-master"), event(1, 2, "+sdown"), event(0, 99, "+switch-master")];
        assert_eq!(spread(&first_of_each(&events, "+switch-master", 2)), None);
        events.push(event(1, 12, "+switch-master"));
        assert_eq!(spread(&first_of_each(&events, "+switch-master", 2)), Some(Duration::from_millis(7)));
        assert_eq!(spurious(&events, 2), 1, "the second one of the first Sentinel");
    }
}
