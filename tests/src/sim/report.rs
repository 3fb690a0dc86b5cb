//! What `redoubt-lab sim` prints.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::campaign::{Campaign, Summary, run_campaign, run_seed};
use super::plan::{Kind, Plan, Planted, Scenario};
use super::run::{Outcome, Trace};

/// Replays one seed and tells how it went. Whether no rule was broken.
pub fn replay(seed: u64, scenario: Option<Scenario>, planted: Option<Planted>, trace: Trace) -> bool {
    let scenario_run = scenario.unwrap_or(Scenario::of_seed(seed));
    println!("{}", describe(&Plan::draw(seed, scenario_run)));
    let outcome = run_seed(seed, scenario, planted, trace);
    let (took, bound) = outcome.agreed_in_ms;
    println!("{} failovers in {} ms", outcome.failovers, outcome.virtual_ms);
    match &outcome.violation {
        None if outcome.by_original => println!("redis-sentinel's model led beside another: the run ends"),
        None => println!("no rule was broken; everybody agreed after {took} of {bound} ms in peace"),
        Some(violation) => println!("at {} ms {:?}: {}", violation.at_ms, violation.rule, violation.text),
    }
    outcome.violation.is_none()
}

/// A plan in a line.
fn describe(plan: &Plan) -> String {
    let classic = plan.sentinels.iter().filter(|kind| **kind == Kind::Classic).count();
    format!(
        "{} Sentinels ({classic} classic, quorum {}), {} masters with {} replicas each, down-after {} ms, \
         failover-timeout {} ms, messages take up to {} µs, writes up to {} µs{}",
        plan.sentinels.len(),
        plan.quorum,
        plan.masters,
        plan.replicas,
        plan.down_after_ms,
        plan.failover_timeout_ms,
        plan.delay.1,
        plan.write,
        if plan.hostnames { ", host names" } else { "" },
    )
}

/// Makes the runs of a campaign, shows how far it is, and tells what it came to. Whether no rule was broken.
pub fn campaign(campaign: &Campaign) -> bool {
    // A panic in a run is a finding; its text comes with the others.
    std::panic::set_hook(Box::new(|_| {}));
    let shown = Mutex::new(Instant::now());
    let terminal = stderr().is_terminal();
    let pause = if terminal { Duration::from_millis(200) } else { Duration::from_secs(10) };
    let sum = run_campaign(campaign, &|sum| {
        let Ok(mut shown) = shown.lock() else { return };
        if shown.elapsed() >= pause {
            *shown = Instant::now();
            let (start, end) = if terminal { ("\r", "   ") } else { ("", "\n") };
            eprint!("{start}{}{end}", line(sum));
            drop(stderr().flush());
        }
    });
    drop(std::panic::take_hook());
    if terminal {
        eprintln!();
    }
    println!("{}", line(&sum));
    if let Some((seed, took, bound)) = sum.slowest {
        println!("slowest agreement: {took} of {bound} ms, seed {seed}");
    }
    if sum.by_original > 0 {
        println!("ended early by redis-sentinel's model alone: {} runs", sum.by_original);
    }
    let option = campaign.scenario.map(|s| format!(" --scenario {}", name(s))).unwrap_or_default();
    for Outcome { seed, violation, .. } in &sum.violations {
        if let Some(violation) = violation {
            println!("seed {seed}, at {} ms, {:?}: {}", violation.at_ms, violation.rule, violation.text);
            println!("    redoubt-lab sim --seed {seed}{option} --trace");
        }
    }
    sum.violations.is_empty()
}

fn name(scenario: Scenario) -> String {
    clap::ValueEnum::to_possible_value(&scenario).map(|v| v.get_name().to_string()).unwrap_or_default()
}

fn line(sum: &Summary) -> String {
    let seconds = sum.took.as_secs_f64();
    format!(
        "{} runs, {} failovers, {:.0} s of virtual time in {seconds:.1} s ({:.0} failovers/s), {} seeds broke a rule",
        sum.runs,
        sum.failovers,
        sum.virtual_ms as f64 / 1000.0,
        sum.failovers as f64 / seconds.max(0.001),
        sum.violations.len(),
    )
}
