//! `bench vip`: for how long a client that knows one address could not write, and whether two hosts answered for it.

use serde::Serialize;

use super::median;
use super::table::{Table, figure};
use crate::error::Result;
use crate::scratch::Scratch;
use crate::vip::{Cost, Fault, Mover, Shape, Site};

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// The deployments, with the names that the report gives them.
    pub suites: Vec<(String, Shape)>,
    /// The faults, each for all rounds; those that need an agent are left out where there is none.
    pub faults: Vec<Fault>,
    /// Rounds for each suite and fault.
    pub rounds: usize,
    /// Keep the servers' directories.
    pub keep: bool,
}

/// All rounds of one suite.
#[derive(Debug, Serialize)]
pub struct SuiteResults {
    /// Its name in the report.
    pub suite: String,
    /// Its rounds in the order in which they ran.
    pub rounds: Vec<Cost>,
}

/// Runs all rounds, with a line on stderr for each. To be called inside of namespaces of the process's own.
pub async fn run(options: &Options) -> Result<Vec<SuiteResults>> {
    let mut results = Vec::new();
    for (suite, shape) in &options.suites {
        let mut site = Site::start(shape.clone(), Scratch::new(options.keep)?).await?;
        let mut rounds = Vec::new();
        let with_agent = matches!(shape.mover, Mover::Agent(_));
        for fault in options.faults.iter().filter(|fault| with_agent || !fault.needs_agent()) {
            for number in 1..=options.rounds {
                let cost = site.round(*fault).await?;
                eprintln!(
                    "{suite}, {} {number}/{}: {:.0} ms without service, {:.0} ms on two hosts",
                    fault.name(),
                    options.rounds,
                    cost.outage_ms,
                    cost.dual_ms
                );
                rounds.push(cost);
            }
        }
        results.push(SuiteResults { suite: suite.clone(), rounds });
    }
    Ok(results)
}

/// The table of middles and worsts, in milliseconds.
pub fn table(options: &Options, results: &[SuiteResults]) -> Table {
    let mut table = Table::new(&[
        "suite",
        "fault",
        "rounds",
        "outage",
        "worst",
        "on two hosts",
        "worst",
        "neighbour wrong",
    ]);
    for suite in results {
        for fault in &options.faults {
            let rounds: Vec<&Cost> = suite.rounds.iter().filter(|round| round.fault == *fault).collect();
            if rounds.is_empty() {
                continue;
            }
            let middle = |value: fn(&Cost) -> f64| figure(median(rounds.iter().map(|round| value(round))), 0);
            let worst = |value: fn(&Cost) -> f64| {
                figure(rounds.iter().map(|round| value(round)).max_by(f64::total_cmp), 0)
            };
            table.row(vec![
                suite.suite.clone(),
                fault.name().into(),
                rounds.len().to_string(),
                middle(|round| round.outage_ms),
                worst(|round| round.outage_ms),
                middle(|round| round.dual_ms),
                worst(|round| round.dual_ms),
                rounds.iter().filter(|round| !round.neighbour).count().to_string(),
            ]);
        }
    }
    table
}
