//! The rules of a Sentinel, one by one, in a simulated deployment without other faults.

use redoubt_lab::sim::plan::Plan;
use redoubt_lab::sim::time::{MS, SECOND, Us};
use redoubt_lab::sim::world::World;
use redoubt_wire::resp::value::Value;

fn start(plan: Plan) -> World {
    let mut world = World::new(plan);
    world.history = Some(Vec::new());
    world.start();
    world
}

/// A deployment that found itself: so many nodes and Sentinels, with this failover timeout.
fn settled(nodes: usize, sentinels: usize, failover_timeout_ms: u64) -> World {
    settled_with(Plan { failover_timeout_ms, ..Plan::calm(7, sentinels, nodes) })
}

fn settled_with(plan: Plan) -> World {
    let mut world = start(plan);
    world.run(4 * SECOND);
    let (nodes, sentinels) = (world.nodes.len(), world.sentinels.len());
    for s in 0..sentinels {
        assert_eq!(field(&mut world, s, "num-slaves"), (nodes - 1).to_string());
        assert_eq!(field(&mut world, s, "num-other-sentinels"), (sentinels - 1).to_string());
    }
    world
}

fn field(world: &mut World, s: usize, name: &str) -> String {
    let Value::Array(items) = world.ask(s, &["SENTINEL", "MASTER", "m0"]) else { panic!("no map") };
    let text = |v: &Value| String::from_utf8_lossy(v.as_bytes().expect("text")).into_owned();
    items.chunks(2).find(|p| text(&p[0]) == name).map(|p| text(&p[1])).unwrap_or_default()
}

/// Waits until a replica has become a master; the time it took and which.
fn promotion(world: &mut World, within: Us) -> (Us, usize) {
    let began = world.now;
    assert!(world.run_until(within, |w| !w.promotions.is_empty()), "nobody was promoted");
    let (at, node) = world.promotions[0];
    (at - began, node)
}

#[test]
fn peace_brings_no_event_of_failure() {
    let mut world = settled(3, 3, 180_000);
    world.run(600 * SECOND);
    for event in ["+sdown", "+odown", "+try-failover", "+tilt", "+new-epoch"] {
        assert_eq!(world.count(event), 0, "{event}");
    }
}

#[test]
fn a_killed_master_is_replaced_within_100_ms_after_down_after() {
    let mut world = settled(3, 3, 180_000);
    let killed_at = world.now;
    world.kill_node(0);
    let (took, node) = promotion(&mut world, 3 * SECOND);
    assert!(took <= 1_100 * MS, "{took} µs");
    world.run(50 * MS);
    for s in 0..3 {
        assert_eq!(world.told(s, 0), Some(node));
        let switched = world.saw(s, "+switch-master").expect("+switch-master");
        assert!(switched - killed_at <= 1_150 * MS, "{} µs", switched - killed_at);
    }
    assert_eq!(world.promotions.len(), 1);
}

#[test]
fn a_stopped_master_is_replaced_as_fast_and_demoted_when_it_returns() {
    let mut world = settled(3, 3, 180_000);
    world.stop_node(0);
    let (took, node) = promotion(&mut world, 3 * SECOND);
    assert!(took <= 1_100 * MS, "{took} µs");
    world.run(5 * SECOND);
    world.continue_node(0);
    let back_at = world.now;
    assert!(world.run_until(30 * SECOND, |w| w.nodes[0].of.is_some()));
    assert!(world.now - back_at <= 100 * MS, "nobody knows of a newer configuration");
    assert_eq!(world.nodes[0].of, Some(node));
    assert!(world.count("+convert-to-slave") >= 1);
}

#[test]
fn a_restart_shorter_than_down_after_is_no_failure() {
    let mut world = settled(3, 3, 180_000);
    world.kill_node(0);
    world.run(800 * MS);
    world.start_node(0);
    world.run(20 * SECOND);
    assert_eq!(world.count("+sdown"), 0);
    assert_eq!(world.count("+reboot"), 3);
}

#[test]
fn the_other_replicas_follow_and_the_leader_says_so_in_order() {
    let mut world = settled(5, 3, 180_000);
    world.kill_node(0);
    assert!(world.run_until(5 * SECOND, |w| w.count("+failover-end") == 1));
    let promoted = world.promotions[0].1;
    assert!((1..5).filter(|n| *n != promoted).all(|n| world.nodes[n].of == Some(promoted)));
    let leader = (0..3).find(|s| world.saw(*s, "+elected-leader").is_some()).expect("a leader");
    let history = world.history.as_ref().expect("a history");
    let names: Vec<&str> = history.iter().filter(|p| p.by == leader).map(|p| p.event.as_str()).collect();
    let order = [
        "+sdown",
        "+odown",
        "+new-epoch",
        "+try-failover",
        "+vote-for-leader",
        "+elected-leader",
        "+failover-state-select-slave",
        "+selected-slave",
        "+failover-state-send-slaveof-noone",
        "+failover-state-wait-promotion",
        "+promoted-slave",
        "+failover-state-reconf-slaves",
        "+switch-master",
        "+slave-reconf-sent",
        "+slave-reconf-inprog",
        "+slave-reconf-done",
        "+failover-end",
    ];
    let mut rest = names.iter();
    for wanted in order {
        assert!(rest.any(|n| *n == wanted), "{wanted} is missing or out of order in {names:?}");
    }
    assert_eq!(names.iter().filter(|n| **n == "+slave-reconf-done").count(), 3);
    assert_eq!(names.iter().filter(|n| **n == "+switch-master").count(), 1);
}

#[test]
fn the_replica_with_the_lowest_priority_then_the_most_data_is_chosen() {
    let mut world = settled(4, 3, 180_000);
    world.nodes[1].priority = 0;
    world.nodes[2].priority = 50;
    world.kill_node(0);
    assert_eq!(promotion(&mut world, 3 * SECOND).1, 2);

    let mut world = settled(4, 3, 180_000);
    for (n, lag) in [(1, 500 * MS), (2, 400 * MS), (3, MS)] {
        world.nodes[n].lag = lag;
    }
    world.run(SECOND);
    world.kill_node(0);
    assert_eq!(promotion(&mut world, 3 * SECOND).1, 3, "what the replicas say after the failure decides");
}

#[test]
fn no_good_replica_means_no_failover_until_there_is_one() {
    let mut world = settled(2, 3, 2_000);
    world.nodes[1].priority = 0;
    world.run(11 * SECOND);
    world.kill_node(0);
    world.run(10 * SECOND);
    assert!(world.promotions.is_empty());
    assert!(world.count("-failover-abort-no-good-slave") >= 1);
    world.nodes[1].priority = 100;
    promotion(&mut world, 20 * SECOND);
}

#[test]
fn a_minority_never_fails_over() {
    let mut world = settled(3, 3, 180_000);
    world.partition(&[0, world.host_of_node(1)]);
    world.run(60 * SECOND);
    assert!(world.promotions.is_empty());
    assert!(world.saw(0, "+sdown").is_some() && world.saw(0, "+odown").is_none());
    world.partition(&[]);
    world.run(30 * SECOND);
    assert_eq!(world.told(0, 0), Some(0));
}

#[test]
fn the_majority_fails_over_and_the_rest_follows_when_it_returns() {
    let mut world = settled(3, 3, 180_000);
    world.partition(&[0, world.host_of_node(0)]);
    let (_, promoted) = promotion(&mut world, 5 * SECOND);
    world.run(5 * SECOND);
    assert_eq!(world.told(0, 0), Some(0));
    world.partition(&[]);
    world.run(60 * SECOND);
    assert_eq!(world.told(0, 0), Some(promoted));
    assert!(world.saw(0, "+config-update-from").is_some());
    assert_eq!(world.nodes[0].of, Some(promoted));
}

#[test]
fn a_quorum_below_the_majority_still_needs_the_majority_of_votes() {
    let mut world = settled(3, 5, 180_000);
    world.ask(0, &["SENTINEL", "SET", "m0", "quorum", "1"]);
    world.plan.quorum = 1;
    world.partition(&[0, world.host_of_node(1), world.host_of_node(2)]);
    world.run(30 * SECOND);
    assert!(world.saw(0, "+odown").is_some() && world.saw(0, "-failover-abort-not-elected").is_some());
    assert!(world.promotions.is_empty());
}

#[test]
fn a_stopped_sentinel_abstains_and_holds_nothing_against_others() {
    let mut world = settled(3, 3, 180_000);
    world.stop_sentinel(0);
    world.run(1_500 * MS);
    world.continue_sentinel(0);
    world.run(3 * SECOND);
    assert_eq!((world.saw(0, "+sdown"), world.saw(0, "+tilt")), (None, None), "below the TILT trigger");
    world.stop_sentinel(0);
    world.run(10 * SECOND);
    world.continue_sentinel(0);
    world.run(100 * MS);
    assert!(world.saw(0, "+tilt").is_some());
    world.kill_node(0);
    world.run(2 * SECOND);
    assert_eq!(world.saw(0, "+sdown"), None, "no verdicts in TILT");
    assert_eq!(world.promotions.len(), 1, "the others are enough");
    world.run(31 * SECOND);
    assert!(world.saw(0, "-tilt").is_some());
}

/// All Sentinels are told to crash at a step, and those that did not reach it to forget that.
fn crash_at(world: &mut World, step: &str, event: &str) {
    for s in 0..3 {
        world.ask(s, &["SENTINEL", "SIMULATE-FAILURE", step]);
    }
    world.kill_node(0);
    assert!(world.run_until(5 * SECOND, |w| w.count(event) == 1));
    for s in 0..3 {
        if world.saw(s, event).is_none() {
            world.ask(s, &["SENTINEL", "SIMULATE-FAILURE", "nothing"]);
        }
    }
}

#[test]
fn a_leader_that_dies_after_its_election_is_replaced() {
    let mut world = settled(3, 3, 10_000);
    crash_at(&mut world, "crash-after-election", "+elected-leader");
    let (took, _) = promotion(&mut world, 20 * SECOND);
    assert!(took < 3 * SECOND, "{took} µs after the leader's death");
}

#[test]
fn a_leader_that_dies_after_the_promotion_leaves_a_config_that_converges() {
    let mut world = settled(3, 3, 10_000);
    crash_at(&mut world, "crash-after-promotion", "+promoted-slave");
    world.run(60 * SECOND);
    let alive: Vec<usize> = (0..3).filter(|s| world.sentinels[*s].runs()).collect();
    let told: Vec<_> = alive.iter().map(|s| world.told(*s, 0)).collect();
    assert_eq!(told.len(), 2);
    assert!(told[0] == told[1] && told[0].is_some() && told[0] != Some(0), "{told:?}");
}

#[test]
fn the_new_master_is_not_suspected_because_of_the_old_one() {
    // In the original, the limiter of reconnections survived the switch and a second failover followed.
    for seed in 0..200 {
        let mut world = start(Plan { introduced: true, ..Plan::calm(seed, 3, 3) });
        world.run(4 * SECOND);
        world.kill_node(0);
        world.run(15 * SECOND);
        assert_eq!(world.promotions.len(), 1, "seed {seed}");
    }
}

#[test]
fn slow_disks_delay_an_election_but_do_not_split_it() {
    for seed in 0..10 {
        let mut world = start(Plan { write: 80 * MS, ..Plan::calm(seed, 3, 3) });
        world.run(6 * SECOND);
        world.kill_node(0);
        let (took, _) = promotion(&mut world, 10 * SECOND);
        assert!(took < 4 * SECOND, "seed {seed}: {took} µs");
    }
}

#[test]
fn failed_elections_are_retried_with_growing_pauses() {
    let mut world = settled(3, 3, 30_000);
    world.ask(0, &["SENTINEL", "SET", "m0", "quorum", "1"]);
    world.plan.quorum = 1;
    world.crash_sentinel(1);
    world.crash_sentinel(2);
    world.kill_node(0);
    world.run(200 * SECOND);
    let tries: Vec<Us> =
        world.history.iter().flatten().filter(|p| p.event == "+try-failover").map(|p| p.at).collect();
    assert!((4..20).contains(&tries.len()), "{tries:?}");
    let gaps: Vec<Us> = tries.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(gaps[0] < 5 * SECOND && *gaps.last().expect("a gap") > 4 * gaps[0], "{gaps:?}");
    assert!(world.promotions.is_empty());
}
