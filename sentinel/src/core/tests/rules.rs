//! The rules, one by one, in a deployment without other faults.

use redoubt_wire::resp::reply::Protocol::Resp2;
use redoubt_wire::resp::value::Value;

use super::world::World;
use crate::core::timers::Ms;

/// A deployment of so many nodes and Sentinels that know each other.
fn settled(nodes: usize, sentinels: usize, options: &[&str]) -> World {
    let mut world = World::new(7, nodes, sentinels, options);
    world.run(4_000);
    for s in 0..sentinels {
        assert_eq!(field(&mut world, s, "num-slaves"), (nodes - 1).to_string());
        assert_eq!(field(&mut world, s, "num-other-sentinels"), (sentinels - 1).to_string());
    }
    world
}

pub(super) fn field(world: &mut World, s: usize, name: &str) -> String {
    let Value::Array(items) = world.ask(s, &["SENTINEL", "MASTER", "m"], Resp2) else { panic!("no map") };
    let text = |v: &Value| String::from_utf8_lossy(v.as_bytes().expect("text")).into_owned();
    items.chunks(2).find(|p| text(&p[0]) == name).map(|p| text(&p[1])).unwrap_or_default()
}

fn at(world: &World, s: usize, event: &str) -> Option<Ms> {
    world.sentinels[s].events.iter().find(|(_, name, _)| name == event).map(|(at, _, _)| *at)
}

#[test]
fn peace_brings_no_event_of_failure() {
    let mut world = settled(3, 3, &[]);
    world.run(600_000);
    for event in ["+sdown", "+odown", "+try-failover", "+tilt", "+new-epoch"] {
        assert_eq!(world.count(event), 0, "{event}");
    }
}

#[test]
fn a_killed_master_is_replaced_within_100_ms_after_down_after() {
    let mut world = settled(3, 3, &[]);
    let killed_at = world.now;
    world.kill_node(0);
    assert!(world.run_until(3_000, |w| !w.promotions.is_empty()));
    let (promoted_at, node) = world.promotions[0];
    assert!(promoted_at - killed_at <= 1_100, "{} ms", promoted_at - killed_at);
    world.run(50);
    for s in 0..3 {
        assert_eq!(world.told(s), World::node_ip(node));
        let switched = at(&world, s, "+switch-master").expect("+switch-master");
        assert!(switched - killed_at <= 1_150, "{} ms", switched - killed_at);
    }
    assert_eq!(world.promotions.len(), 1);
}

#[test]
fn a_stopped_master_is_replaced_as_fast_and_demoted_when_it_returns() {
    let mut world = settled(3, 3, &[]);
    let stopped_at = world.now;
    world.stop_node(0);
    assert!(world.run_until(3_000, |w| !w.promotions.is_empty()));
    assert!(world.promotions[0].0 - stopped_at <= 1_100);
    world.run(5_000);
    world.continue_node(0);
    let back_at = world.now;
    assert!(world.run_until(30_000, |w| w.nodes[0].master.is_some()));
    assert!(world.now - back_at <= 100, "nobody knows of a newer configuration: {} ms", world.now - back_at);
    assert_eq!(world.nodes[0].master, Some(world.promotions[0].1));
    assert!(world.count("+convert-to-slave") >= 1);
}

#[test]
fn a_restart_shorter_than_down_after_is_no_failure() {
    let mut world = settled(3, 3, &[]);
    world.kill_node(0);
    world.run(800);
    world.start_node(0);
    world.run(20_000);
    assert_eq!(world.count("+sdown"), 0);
    assert_eq!(world.count("+reboot"), 3);
}

#[test]
fn the_other_replicas_follow_and_the_leader_says_so_in_order() {
    let mut world = settled(5, 3, &["parallel-syncs m 1"]);
    world.kill_node(0);
    assert!(world.run_until(5_000, |w| w.count("+failover-end") == 1));
    let promoted = world.promotions[0].1;
    assert!((1..5).filter(|n| *n != promoted).all(|n| world.nodes[n].master == Some(promoted)));
    let leader = (0..3).find(|s| world.saw(*s, "+elected-leader")).expect("a leader");
    let names: Vec<&str> = world.sentinels[leader].events.iter().map(|(_, n, _)| n.as_str()).collect();
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
    let mut world = settled(4, 3, &[]);
    world.nodes[1].priority = 0;
    world.nodes[2].priority = 50;
    world.kill_node(0);
    assert!(world.run_until(3_000, |w| !w.promotions.is_empty()));
    assert_eq!(world.promotions[0].1, 2);

    let mut world = settled(4, 3, &[]);
    world.kill_node(0);
    world.nodes[3].offset += 5_000;
    assert!(world.run_until(3_000, |w| !w.promotions.is_empty()));
    assert_eq!(world.promotions[0].1, 3, "what the replicas say after the failure decides");
}

#[test]
fn no_good_replica_means_no_failover_until_there_is_one() {
    let mut world = settled(2, 3, &["failover-timeout m 2000"]);
    world.nodes[1].priority = 0;
    world.run(11_000);
    world.kill_node(0);
    world.run(10_000);
    assert!(world.promotions.is_empty());
    assert!(world.count("-failover-abort-no-good-slave") >= 1);
    world.nodes[1].priority = 100;
    assert!(world.run_until(20_000, |w| !w.promotions.is_empty()));
}

#[test]
fn a_minority_never_fails_over() {
    let mut world = settled(3, 3, &[]);
    world.partition(&[1], &[0]);
    world.run(60_000);
    assert!(world.promotions.is_empty());
    assert!(world.saw(0, "+sdown") && !world.saw(0, "+odown"));
    world.partition(&[], &[]);
    world.run(30_000);
    assert_eq!(world.told(0), World::node_ip(0));
}

#[test]
fn the_majority_fails_over_and_the_rest_follows_when_it_returns() {
    let mut world = settled(3, 3, &[]);
    world.partition(&[0], &[0]);
    assert!(world.run_until(5_000, |w| !w.promotions.is_empty()));
    let promoted = world.promotions[0].1;
    world.run(5_000);
    assert_eq!(world.told(0), World::node_ip(0));
    world.partition(&[], &[]);
    world.run(60_000);
    assert_eq!(world.told(0), World::node_ip(promoted));
    assert!(world.saw(0, "+config-update-from"));
    assert_eq!(world.nodes[0].master, Some(promoted));
}

#[test]
fn a_quorum_below_the_majority_still_needs_the_majority_of_votes() {
    let mut world = settled(3, 5, &[]);
    world.ask(0, &["SENTINEL", "SET", "m", "quorum", "1"], Resp2);
    world.partition(&[1, 2], &[0]);
    world.run(30_000);
    assert!(world.saw(0, "+odown") && world.saw(0, "-failover-abort-not-elected"));
    assert!(world.promotions.is_empty());
}

#[test]
fn a_stopped_sentinel_abstains_and_holds_nothing_against_others() {
    let mut world = settled(3, 3, &[]);
    world.sentinels[0].stopped = true;
    world.run(1_500);
    world.continue_sentinel(0);
    world.run(3_000);
    assert!(!world.saw(0, "+sdown") && !world.saw(0, "+tilt"), "lateness below the TILT trigger");
    world.sentinels[0].stopped = true;
    world.run(10_000);
    world.continue_sentinel(0);
    world.run(100);
    assert!(world.saw(0, "+tilt"));
    world.kill_node(0);
    world.run(2_000);
    assert!(!world.saw(0, "+sdown"), "no verdicts in TILT");
    assert_eq!(world.promotions.len(), 1, "the others are enough");
    world.run(31_000);
    assert!(world.saw(0, "-tilt"));
}

#[test]
fn a_leader_that_dies_after_its_election_is_replaced() {
    let mut world = settled(3, 3, &["failover-timeout m 10000"]);
    for s in 0..3 {
        world.ask(s, &["SENTINEL", "SIMULATE-FAILURE", "crash-after-election"], Resp2);
    }
    world.kill_node(0);
    assert!(world.run_until(5_000, |w| w.count("+elected-leader") == 1));
    for s in (0..3).filter(|s| !world.saw(*s, "+elected-leader")).collect::<Vec<_>>() {
        world.ask(s, &["SENTINEL", "SIMULATE-FAILURE", "nothing"], Resp2);
    }
    let died_at = world.now;
    assert!(world.run_until(20_000, |w| !w.promotions.is_empty()));
    assert!(world.now - died_at < 3_000, "{} ms after the leader's death", world.now - died_at);
}

#[test]
fn a_leader_that_dies_after_the_promotion_leaves_a_config_that_converges() {
    let mut world = settled(3, 3, &["failover-timeout m 10000"]);
    for s in 0..3 {
        world.ask(s, &["SENTINEL", "SIMULATE-FAILURE", "crash-after-promotion"], Resp2);
    }
    world.kill_node(0);
    assert!(world.run_until(5_000, |w| w.count("+promoted-slave") == 1));
    for s in (0..3).filter(|s| !world.saw(*s, "+promoted-slave")).collect::<Vec<_>>() {
        world.ask(s, &["SENTINEL", "SIMULATE-FAILURE", "nothing"], Resp2);
    }
    world.run(60_000);
    let told: Vec<String> = (0..3)
        .filter(|s| world.sentinels[*s].core.is_some())
        .collect::<Vec<_>>()
        .into_iter()
        .map(|s| world.told(s))
        .collect();
    assert_eq!(told.len(), 2);
    assert_eq!(told[0], told[1]);
    assert_ne!(told[0], World::node_ip(0));
}

#[test]
fn the_new_master_is_not_suspected_because_of_the_old_one() {
    // In the original, the limiter of reconnections survived the switch and a second failover followed.
    for seed in 0..10 {
        let mut world = World::new(seed, 3, 3, &[]);
        world.run(4_000);
        world.kill_node(0);
        world.run(15_000);
        assert_eq!(world.promotions.len(), 1, "seed {seed}");
    }
}

#[test]
fn slow_disks_delay_an_election_but_do_not_split_it() {
    for seed in 0..10 {
        let mut world = World::new(seed, 3, 3, &[]);
        world.max_write_ms = 80;
        world.run(6_000);
        let killed_at = world.now;
        world.kill_node(0);
        assert!(world.run_until(10_000, |w| !w.promotions.is_empty()), "seed {seed}");
        assert!(world.now - killed_at < 4_000, "seed {seed}: {} ms", world.now - killed_at);
    }
}

#[test]
fn failed_elections_are_retried_with_growing_pauses() {
    let mut world = settled(3, 3, &["failover-timeout m 30000"]);
    world.ask(0, &["SENTINEL", "SET", "m", "quorum", "1"], Resp2);
    world.crash_sentinel(1);
    world.crash_sentinel(2);
    world.kill_node(0);
    world.run(200_000);
    let tries: Vec<Ms> =
        world.sentinels[0].events.iter().filter(|e| e.1 == "+try-failover").map(|e| e.0).collect();
    assert!((4..20).contains(&tries.len()), "{tries:?}");
    let gaps: Vec<Ms> = tries.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(gaps[0] < 5_000 && *gaps.last().unwrap() > 4 * gaps[0], "{gaps:?}");
    assert!(world.promotions.is_empty());
}
