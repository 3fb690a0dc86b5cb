//! `bench failover`: rounds of the same fault, ours and Redis's, and their middle and worst.

use std::time::Duration;

use serde::Serialize;

use super::median;
use super::table::{Table, figure};
use crate::binaries::Binaries;
use crate::deployment::{Deployment, Shape};
use crate::discovery::Discovery;
use crate::error::Result;
use crate::failover::{self, Fault, Figures, Plan};
use crate::load::Pace;
use crate::scratch::Scratch;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// The suites of programs, with the names that the report gives them.
    pub suites: Vec<(String, Binaries)>,
    /// The faults, each for all rounds.
    pub faults: Vec<Fault>,
    /// Rounds for each suite and fault.
    pub rounds: usize,
    /// `down-after-milliseconds`.
    pub down_after_ms: u64,
    /// `down-on-refused`, where the Sentinel has it.
    pub down_on_refused_ms: Option<u64>,
    /// The writers.
    pub pace: Pace,
    /// Keep the servers' directories.
    pub keep: bool,
}

/// All rounds of one suite.
#[derive(Debug, Serialize)]
pub struct SuiteResults {
    /// Its name in the report.
    pub suite: String,
    /// Its rounds in the order in which they ran.
    pub rounds: Vec<Figures>,
}

/// Runs all rounds, with a line on stderr for each.
pub async fn run(options: &Options) -> Result<Vec<SuiteResults>> {
    let mut results = Vec::new();
    for (suite, binaries) in &options.suites {
        let shape = Shape {
            down_after_ms: options.down_after_ms,
            down_on_refused_ms: options.down_on_refused_ms,
            ..Shape::usual(binaries.clone())
        };
        let mut deployment = Deployment::start(&shape, Scratch::new(options.keep)?).await?;
        let discovery = Discovery::start(&deployment.sentinel_addrs()).await?;
        let mut rounds = Vec::new();
        for fault in &options.faults {
            for number in 1..=options.rounds {
                let plan = Plan { fault: *fault, pace: options.pace, steady: Duration::from_millis(500) };
                let figures = failover::round(
                    &mut deployment,
                    &discovery,
                    plan,
                    shape.detection_ms(*fault),
                    &|_| {},
                    &|_| {},
                )
                .await?;
                eprintln!("{suite} {} {number}/{}: {}", fault.name(), options.rounds, figures.summary());
                rounds.push(figures);
                deployment.clear().await?;
            }
        }
        results.push(SuiteResults { suite: suite.clone(), rounds });
    }
    Ok(results)
}

/// The table of middles and worsts, all in milliseconds but the counts.
pub fn table(results: &[SuiteResults]) -> Table {
    let mut table = Table::new(&[
        "suite",
        "fault",
        "rounds",
        "outage",
        "set",
        "beyond",
        "worst",
        "longest pause",
        "+sdown",
        "+switch-master",
        "spread",
        "worst",
        "follows again",
        "spurious",
        "acknowledged",
        "lost",
    ]);
    for suite in results {
        for fault in [Fault::Sigkill, Fault::Sigstop, Fault::Coordinated] {
            let rounds: Vec<&Figures> = suite.rounds.iter().filter(|round| round.fault == fault).collect();
            let Some(first) = rounds.first() else { continue };
            let middle = |value: fn(&Figures) -> Option<f64>| {
                figure(median(rounds.iter().filter_map(|round| value(round))), 0)
            };
            let worst = |value: fn(&Figures) -> Option<f64>| {
                figure(rounds.iter().filter_map(|round| value(round)).max_by(f64::total_cmp), 0)
            };
            table.row(vec![
                suite.suite.clone(),
                fault.name().into(),
                rounds.len().to_string(),
                middle(|round| Some(round.outage_ms)),
                first.detection_ms.to_string(),
                middle(|round| Some(round.beyond_ms)),
                worst(|round| Some(round.beyond_ms)),
                worst(|round| Some(round.longest_pause_ms)),
                middle(|round| round.sdown_ms),
                middle(|round| round.switch_ms),
                middle(|round| round.switch_spread_ms),
                worst(|round| round.switch_spread_ms),
                middle(|round| Some(round.follows_after_ms)),
                rounds.iter().map(|round| round.spurious).sum::<usize>().to_string(),
                rounds.iter().map(|round| round.acknowledged).sum::<u64>().to_string(),
                rounds.iter().map(|round| round.lost).sum::<usize>().to_string(),
            ]);
        }
    }
    table
}
