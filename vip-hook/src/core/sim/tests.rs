//! Thousands of seeds, and the planted flaws that they must notice.
//!
//! A seed means something else as soon as the simulator or the state machine changes. What one found is a test of its
//! own, in `core/tests/` or `stories.rs`.

use super::super::mistakes::Mistake;
use super::{Flaw, Outcome, run};

/// The first seed in which two hosts answer.
fn first_double(seeds: std::ops::Range<u64>, flaw: Flaw) -> Option<(u64, String)> {
    seeds.into_iter().find_map(|seed| {
        let broken = run(seed, Some(flaw), false).broken.filter(|what| what.contains("answer for address"));
        broken.map(|what| (seed, what))
    })
}

/// `REDOUBT_VIP_SEED=17 cargo test -p redoubt-vip-hook --lib one_seed -- --nocapture` shows a run.
#[test]
fn one_seed_replays_exactly() {
    let wish = std::env::var("REDOUBT_VIP_SEED").ok();
    let seed = wish.as_deref().map_or(17, |seed| seed.parse().expect("REDOUBT_VIP_SEED is a number"));
    let outcome = run(seed, None, wish.is_some());
    assert_eq!(outcome, run(seed, None, false));
    assert_eq!(outcome.broken, None);
}

#[test]
fn no_two_hosts_hold_and_one_does() {
    let mut all = Outcome::default();
    let seeds = std::env::var("REDOUBT_VIP_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(3000);
    let mut broken = Vec::new();
    for seed in 0..seeds {
        let outcome = run(seed, None, false);
        if let Some(what) = outcome.broken {
            broken.push(format!("seed {seed} {what}"));
        }
        all.events += outcome.events;
        all.failovers += outcome.failovers;
        all.takings += outcome.takings;
        all.checked += outcome.checked;
        all.turns_at_once = all.turns_at_once.max(outcome.turns_at_once);
    }
    println!("{all:?}");
    assert!(
        broken.is_empty(),
        "{} of {seeds} seeds broke a rule: {:#?}",
        broken.len(),
        &broken[..broken.len().min(5)]
    );
    // A simulator in which nothing happens finds nothing.
    assert!(all.failovers > seeds && all.takings > 2 * seeds && all.checked > 100 * seeds, "{all:?}");
}

/// A flaw is noticed by two hosts that answer, within this many seeds.
fn assert_noticed(flaw: Flaw) {
    let within = 10_000;
    let Some((seed, what)) = first_double(0..within, flaw) else {
        panic!("{flaw:?} is not noticed in {within} seeds");
    };
    println!("{flaw:?}: seed {seed} {what}");
}

#[test]
fn votes_without_their_age_are_noticed() {
    assert_noticed(Flaw::Holder(Mistake::NoAge));
}

#[test]
fn an_age_without_margin_is_noticed() {
    assert_noticed(Flaw::Holder(Mistake::NoMargin));
}

#[test]
fn a_lease_from_the_answers_is_noticed() {
    assert_noticed(Flaw::Holder(Mistake::LeaseFromAnswer));
}

#[test]
fn a_release_told_early_is_noticed() {
    assert_noticed(Flaw::Holder(Mistake::EarlyRelease));
}

#[test]
fn a_missing_fence_is_noticed() {
    assert_noticed(Flaw::NoFence);
}

#[test]
fn a_release_that_takes_back_what_another_connection_was_told_is_noticed() {
    assert_noticed(Flaw::ReleaseOverAnyConnection);
}
