//! Many runs, one after the other or on several threads, and their sum.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::plan::{Plan, Planted, Scenario};
use super::run::{Outcome, Trace, run};

/// Which runs to make.
#[derive(Clone, Debug)]
pub struct Campaign {
    /// The first seed.
    pub first: u64,
    /// How many seeds at most.
    pub runs: u64,
    /// Stop once so many failovers were seen.
    pub failovers: Option<u64>,
    /// Stop after so long.
    pub limit: Option<Duration>,
    /// Only this scenario.
    pub scenario: Option<Scenario>,
    /// Threads.
    pub jobs: usize,
    /// Stop at so many violations.
    pub violations: usize,
    /// The deliberate mistake.
    pub planted: Option<Planted>,
}

impl Campaign {
    /// So many runs from a seed on, on one thread, until the first violation.
    pub fn new(first: u64, runs: u64) -> Self {
        Campaign {
            first,
            runs,
            failovers: None,
            limit: None,
            scenario: None,
            jobs: 1,
            violations: 1,
            planted: None,
        }
    }
}

/// What many runs came to.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Runs that were made.
    pub runs: u64,
    /// Failovers in them.
    pub failovers: u64,
    /// Time in their worlds, in milliseconds.
    pub virtual_ms: u64,
    /// Time here.
    pub took: Duration,
    /// The run that came closest to its bound: its seed, what it took and what it might have taken.
    pub slowest: Option<(u64, u64, u64)>,
    /// Runs that ended early by what redis-sentinel does on its own account.
    pub by_original: u64,
    /// The runs that broke a rule, by seed.
    pub violations: Vec<Outcome>,
}

impl Summary {
    fn add(&mut self, outcome: Outcome) {
        self.runs += 1;
        self.failovers += outcome.failovers;
        self.virtual_ms += outcome.virtual_ms;
        self.by_original += u64::from(outcome.by_original);
        let (took, bound) = outcome.agreed_in_ms;
        let closer = |(_, t, b): (u64, u64, u64)| took * b > t * bound;
        if self.slowest.is_none_or(closer) {
            self.slowest = Some((outcome.seed, took, bound));
        }
        if outcome.violation.is_some() {
            self.violations.push(outcome);
        }
    }
}

/// The scenario of a seed, and the run that it makes.
pub fn run_seed(seed: u64, scenario: Option<Scenario>, planted: Option<Planted>, trace: Trace) -> Outcome {
    let scenario = scenario.unwrap_or(Scenario::of_seed(seed));
    let mut plan = Plan::draw(seed, scenario);
    plan.planted = planted;
    run(plan, scenario, trace)
}

/// Makes the runs; `progress` is told of the sum so far, now and then.
pub fn run_campaign(campaign: &Campaign, progress: &(dyn Fn(&Summary) + Sync)) -> Summary {
    let began = Instant::now();
    let (next, enough) = (AtomicU64::new(0), AtomicBool::new(false));
    let sum = Mutex::new(Summary::default());
    let work = || {
        while !enough.load(Ordering::Relaxed) {
            let nth = next.fetch_add(1, Ordering::Relaxed);
            if nth >= campaign.runs {
                return;
            }
            let outcome =
                run_seed(campaign.first + nth, campaign.scenario, campaign.planted, Trace::default());
            let Ok(mut sum) = sum.lock() else { return };
            sum.add(outcome);
            sum.took = began.elapsed();
            let over = campaign.failovers.is_some_and(|n| sum.failovers >= n)
                || campaign.limit.is_some_and(|limit| sum.took >= limit)
                || sum.violations.len() >= campaign.violations;
            enough.fetch_or(over, Ordering::Relaxed);
            progress(&sum);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..campaign.jobs {
            scope.spawn(work);
        }
        work();
    });
    let mut sum = sum.into_inner().unwrap_or_default();
    sum.took = began.elapsed();
    sum.violations.sort_by_key(|outcome| outcome.seed);
    sum
}
