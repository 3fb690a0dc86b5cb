//! Seeded runs of simulated deployments: no rule is broken, and mistakes that are planted are found.
//!
//! `redoubt-lab sim` runs more of them, and replays one by its seed.

use redoubt_lab::sim::campaign::{Campaign, Summary, run_campaign, run_seed};
use redoubt_lab::sim::checks::Rule;
use redoubt_lab::sim::plan::{Planted, Scenario};
use redoubt_lab::sim::run::Trace;

/// Runs of each scenario: about two minutes of one processor in all, in a build for tests.
const STORMS: u64 = 900;
const MIXED: u64 = 900;
const OUTAGES: u64 = 110;
/// Within so many runs a planted mistake has to be found.
const TO_FIND: u64 = 150;

fn sound(scenario: Scenario, runs: u64, least_failovers: u64) -> Summary {
    let campaign = Campaign { scenario: Some(scenario), violations: 5, ..Campaign::new(0, runs) };
    let sum = run_campaign(&campaign, &|_| {});
    for outcome in &sum.violations {
        eprintln!("seed {}: {:?}", outcome.seed, outcome.violation);
    }
    assert!(sum.violations.is_empty(), "`redoubt-lab sim --seed N --scenario … --trace` replays a seed");
    assert!(sum.failovers >= least_failovers, "only {} failovers", sum.failovers);
    println!("{} failovers in {} ms of virtual time", sum.failovers, sum.virtual_ms);
    sum
}

#[test]
fn storms_break_no_rule() {
    let sum = sound(Scenario::Storm, STORMS, 8 * STORMS);
    assert_eq!(sum.by_original, 0, "there is no other Sentinel in these");
}

#[test]
fn mixed_quorums_break_no_rule() {
    let sum = sound(Scenario::Mixed, MIXED, 4 * MIXED);
    assert!(sum.by_original < MIXED / 5, "{} runs ended early", sum.by_original);
}

#[test]
fn twenty_masters_that_die_at_once_again_and_again_break_no_rule() {
    sound(Scenario::Outage, OUTAGES, 30 * OUTAGES);
}

#[test]
fn a_seed_replays_exactly() {
    for scenario in Scenario::ALL {
        let run = || run_seed(11, Some(scenario), None, Trace::default());
        let (once, again) = (run(), run());
        let told = |o: &redoubt_lab::sim::run::Outcome| (o.failovers, o.virtual_ms, o.agreed_in_ms);
        assert_eq!(told(&once), told(&again), "{scenario:?}");
    }
}

/// The rule that a planted mistake breaks first.
fn found(planted: Planted) -> Rule {
    let campaign =
        Campaign { planted: Some(planted), scenario: Some(Scenario::Storm), ..Campaign::new(0, TO_FIND) };
    let sum = run_campaign(&campaign, &|_| {});
    let outcome = sum.violations.first().unwrap_or_else(|| panic!("{planted:?} was not found: {sum:?}"));
    println!("{planted:?} was found in run {}: {:?}", sum.runs, outcome.violation);
    outcome.violation.as_ref().expect("a violation").rule
}

#[test]
fn a_vote_that_is_told_before_it_is_on_disk_is_found() {
    let rule = found(Planted::VoteBeforeWrite);
    assert!(matches!(rule, Rule::VoteOnDisk | Rule::OneVote), "{rule:?}");
}

#[test]
fn votes_of_older_epochs_that_count_are_found() {
    let rule = found(Planted::OldVotesCount);
    assert!(matches!(rule, Rule::Majority | Rule::OneLeader), "{rule:?}");
}

#[test]
fn a_second_promotion_in_the_same_epoch_is_found() {
    assert_eq!(found(Planted::PromoteAgain), Rule::OneMaster);
}
