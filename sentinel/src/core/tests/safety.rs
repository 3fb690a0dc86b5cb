//! What keeps data from being lost by haste: consent before a demotion, the guard of returning masters, coordinated
//! failovers, and who is forgotten when.

use redoubt_wire::resp::value::Value;

use super::solo::{OWN_ID, Solo, master_info, node, peer, peer_id, replica_info, run_id};
use crate::core::timers::Ms;

const HOUR: Ms = 3_600_000;

fn ok() -> Value {
    Value::Simple(b"OK".to_vec())
}

fn done() -> Value {
    Value::Array(vec![ok(); 4])
}

/// Node 0 is down, and node 1 is the master without our knowing it yet.
fn replaced(peers: usize) -> Solo {
    let mut solo = Solo::new(3, peers, &[]);
    solo.kill(&node(0));
    solo.infos.insert(node(1), master_info(1, 100));
    solo.infos.insert(node(2), replica_info(2, 1, 100));
    solo
}

/// Node 0 has been replaced by node 1 in epoch 3 and comes back as a master.
fn stray(peers: usize) -> Solo {
    let mut solo = replaced(peers);
    solo.late_hello(0, 3, 1, 3);
    solo.run(3_000);
    solo.up.insert(node(0));
    solo.run_to("-role-change");
    solo
}

fn demoted(solo: &Solo) -> bool {
    !solo.sent_to(&node(0), "SLAVEOF 10.0.0.1 6379").is_empty()
}

#[test]
fn a_returning_master_is_demoted_at_once_if_a_majority_has_our_configuration() {
    let mut solo = stray(2);
    assert!(!demoted(&solo));
    for n in 0..2 {
        assert_eq!(solo.sent_to(&peer(n), "PUBLISH").last(), Some(&solo.now), "the others are told at once");
    }
    solo.run(5);
    solo.hello(0, 3, 1, 3);
    assert!(demoted(&solo), "two of three agree");
    assert_eq!(solo.at("+convert-to-slave"), Some(solo.now));
}

#[test]
fn a_majority_of_all_known_sentinels_is_needed() {
    let mut solo = stray(4);
    solo.hello(0, 3, 1, 3);
    assert!(!demoted(&solo), "two of five");
    solo.hello(1, 3, 1, 3);
    assert!(demoted(&solo), "three of five");
}

#[test]
fn word_of_another_configuration_or_a_later_election_is_no_consent() {
    for (epoch, config_epoch) in [(3, 2), (4, 3)] {
        let mut solo = stray(2);
        solo.hello(0, epoch, 1, config_epoch);
        solo.hello(1, epoch, 1, config_epoch);
        solo.run(1_000);
        assert!(!demoted(&solo), "epoch {epoch}, config epoch {config_epoch}");
    }
    // It is a master because it was elected again: then it is ours.
    let mut solo = stray(2);
    solo.hello(0, 4, 0, 4);
    solo.run(20_000);
    assert!(!demoted(&solo));
}

#[test]
fn what_a_node_hands_on_is_no_consent_nor_what_was_said_before() {
    let mut solo = stray(2);
    solo.relayed_hello(&node(1), 0, 3, 1, 3);
    solo.relayed_hello(&node(1), 1, 3, 1, 3);
    solo.run(1_000);
    assert!(!demoted(&solo), "a node that hung hands on what is long past");
}

/// One that was cut off hears what was sent to it before the election, and sees the node that was promoted in it.
#[test]
fn a_hello_that_was_long_on_its_way_is_no_consent() {
    let mut solo = stray(2);
    for n in 0..2 {
        solo.epochs.insert(peer(n), (4, 3));
        solo.late_hello(n, 3, 1, 3);
    }
    solo.run(1_000);
    assert!(!demoted(&solo), "an election was on when they were asked");
    assert!(!solo.sent_to(&peer(0), "SENTINEL EPOCHS m").is_empty());
}

#[test]
fn those_that_stand_by_our_configuration_are_asked_as_soon_as_the_stray_is_seen() {
    let mut solo = replaced(2);
    solo.hello(0, 3, 1, 3);
    solo.run(3_000);
    solo.up.insert(node(0));
    solo.run_to("+convert-to-slave");
    assert_eq!(solo.at("-role-change"), Some(solo.now));
    assert!(demoted(&solo));
}

#[test]
fn without_consent_the_grace_of_redis_holds() {
    let mut solo = stray(2);
    let back_at = solo.now;
    solo.run(7_900);
    assert!(!demoted(&solo));
    solo.run(300);
    assert!(demoted(&solo));
    assert!(solo.sent_to(&node(0), "SLAVEOF").first().unwrap() - back_at > 8_000);
}

#[test]
fn a_vote_for_a_leader_that_may_be_at_work_withholds_consent() {
    let mut solo = stray(2);
    let host = node(1);
    solo.ask(&["SENTINEL", "is-master-down-by-addr", &host, "6379", "4", &peer_id(0)]);
    solo.hello(0, 4, 1, 3);
    solo.hello(1, 4, 1, 3);
    solo.run(1_000);
    assert!(!demoted(&solo));
}

/// A Sentinel whose master has come back and waits to be confirmed.
fn guarded(peers: usize) -> Solo {
    let mut solo = Solo::new(2, peers, &[]);
    solo.run(500);
    solo.kill(&node(0));
    let text = master_info(0, 100).replace("role:master", "role:master\r\nmaster_rejoin_guard:waiting");
    solo.infos.insert(node(0), text);
    solo.up.insert(node(0));
    solo.run(100);
    solo
}

fn confirmations(solo: &Solo) -> Vec<Ms> {
    solo.sent_to(&node(0), "PUBLISH __sentinel__:confirm")
}

#[test]
fn a_guarded_master_is_confirmed_when_a_majority_stands_by_it() {
    let mut solo = guarded(2);
    assert!(confirmations(&solo).is_empty());
    for n in 0..2 {
        assert!(
            solo.sent_to(&peer(n), "PUBLISH").last().unwrap() + 100 >= solo.now,
            "the others are told at once"
        );
    }
    solo.hello(1, 0, 0, 0);
    assert_eq!(confirmations(&solo), [solo.now]);
    let text = format!("PUBLISH __sentinel__:confirm {},0,m,{OWN_ID}", run_id(0));
    assert_eq!(solo.last_to(&node(0), "PUBLISH __sentinel__:confirm"), Some(text));
    assert_eq!(solo.last_to(&node(0), "INFO"), Some("INFO replication".into()));
    // It is repeated once a second until the node says that it heard it.
    solo.hello(1, 0, 0, 0);
    solo.run(2_500);
    let times = confirmations(&solo);
    assert!(times.len() >= 3 && times.windows(2).all(|w| w[1] - w[0] == 1_000), "{times:?}");
    solo.infos.insert(node(0), master_info(0, 100));
    solo.run(1_000);
    let count = confirmations(&solo).len();
    solo.hello(1, 0, 0, 0);
    solo.run(20_000);
    assert_eq!(confirmations(&solo).len(), count);
}

#[test]
fn a_guarded_master_is_not_confirmed_by_a_minority_or_for_another_address() {
    let mut solo = guarded(4);
    solo.hello(1, 0, 0, 0);
    solo.run(30_000);
    assert!(confirmations(&solo).is_empty(), "two of five");
    let mut solo = guarded(2);
    solo.hello(1, 4, 1, 4);
    solo.hello(0, 4, 1, 4);
    solo.run(30_000);
    assert!(confirmations(&solo).is_empty(), "the majority has another master");
}

#[test]
fn a_guard_is_lifted_after_the_grace_even_if_others_masters_moved_the_epoch() {
    let mut solo = guarded(2);
    let since = solo.now;
    for _ in 0..10 {
        solo.hello(1, 6, 0, 0);
        solo.run(1_000);
    }
    assert!(confirmations(&solo).first().is_some_and(|at| at - since >= 7_900), "{:?}", confirmations(&solo));
}

#[test]
fn nothing_is_confirmed_to_a_node_that_does_not_wait_for_it() {
    let mut solo = Solo::new(2, 2, &[]);
    for _ in 0..30 {
        solo.hello(0, 0, 0, 0);
        solo.hello(1, 0, 0, 0);
        solo.run(1_000);
    }
    assert!(confirmations(&solo).is_empty());
}

/// An operator has asked for a coordinated failover, and the others vote for it; the master is at offset 100.
fn coordinated(lagging_at: u64) -> Solo {
    let mut solo = Solo::new(3, 2, &[]);
    solo.run(500);
    for n in 1..3 {
        solo.infos.insert(node(n), replica_info(n, 0, lagging_at));
    }
    for n in 0..2 {
        solo.answers.insert(peer(n), (0, OWN_ID.into(), 1));
    }
    assert_eq!(solo.ask(&["SENTINEL", "FAILOVER", "m", "coordinated"]), Some(ok()));
    solo.run(0);
    solo
}

#[test]
fn a_coordinated_failover_promotes_only_what_has_every_write() {
    let mut solo = coordinated(90);
    assert_eq!(solo.sent_to(&node(0), "CLIENT PAUSE 500 WRITE"), [solo.now]);
    let paused_at = solo.now;
    solo.run(50);
    assert!(solo.sent_to(&node(1), "SLAVEOF").is_empty(), "it lacks ten bytes");
    assert!(solo.sent_to(&node(1), "INFO replication").len() >= 20, "it is asked often");
    solo.infos.insert(node(1), replica_info(1, 0, 100));
    solo.run(3);
    assert_eq!(solo.sent_to(&node(1), "SLAVEOF NO ONE").len(), 1);
    assert!(solo.sent_to(&node(0), "SLAVEOF").is_empty(), "the old master waits for the proof");
    solo.infos.insert(node(1), master_info(1, 100));
    solo.execs.insert(node(1), done());
    solo.execs.insert(node(0), done());
    solo.answer_all();
    let to_old: Vec<&str> = solo
        .sent
        .iter()
        .filter(|(at, to, text)| *at >= paused_at && *to == node(0) && text != "PING")
        .map(|s| s.2.as_str())
        .collect();
    assert_eq!(
        to_old[..9],
        [
            "CLIENT PAUSE 500 WRITE",
            "INFO replication",
            "MULTI",
            "SLAVEOF 10.0.0.1 6379",
            "CONFIG REWRITE",
            "CLIENT KILL TYPE normal",
            "CLIENT KILL TYPE pubsub",
            "EXEC",
            "INFO replication"
        ],
        "no PUBLISH, which the pause would hold up"
    );
    assert_eq!(to_old[9], "CLIENT UNPAUSE");
    assert_eq!(solo.at("+switch-master"), Some(solo.now));
}

#[test]
fn a_coordinated_failover_that_takes_too_long_returns_to_the_old_master() {
    let mut solo = coordinated(90);
    let paused_at = solo.now;
    let over = solo.run_to("-failover-abort-slave-timeout") - paused_at;
    assert_eq!(over, 375, "before the pause of 500 ms ends by itself");
    assert_eq!(solo.sent_to(&node(0), "CLIENT UNPAUSE"), [solo.now]);
    solo.run(20_000);
    assert!(solo.sent_to(&node(1), "SLAVEOF").is_empty() && solo.sent_to(&node(2), "SLAVEOF").is_empty());
    assert_eq!((solo.count("+try-failover"), solo.count("+switch-master")), (1, 0));
}

#[test]
fn a_coordinated_promotion_without_proof_returns_to_the_old_master_and_nobody_is_told() {
    let mut solo = coordinated(100);
    assert_eq!(solo.sent_to(&node(1), "SLAVEOF NO ONE").len(), 1);
    let paused_at = solo.sent_to(&node(0), "CLIENT PAUSE")[0];
    solo.run_to("-failover-abort-slave-timeout");
    assert!(solo.now - paused_at <= 376, "{}", solo.now - paused_at);
    assert_eq!(solo.sent_to(&node(0), "CLIENT UNPAUSE"), [solo.now]);
    // The proof comes too late: the old master takes writes again.
    solo.infos.insert(node(1), master_info(1, 100));
    solo.execs.insert(node(1), done());
    solo.answer_all();
    solo.run(100);
    assert_eq!(solo.count("+switch-master"), 0);
    // It is a stray like any other.
    solo.run(15_000);
    assert!(!solo.sent_to(&node(1), "SLAVEOF 10.0.0.0 6379").is_empty());
}

#[test]
fn a_master_that_cannot_pause_writes_is_left_alone() {
    let mut solo = Solo::new(3, 2, &[]);
    let refusal = Value::Error(b"ERR timeout is not an integer or out of range".to_vec());
    solo.replies.insert(format!("{} CLIENT PAUSE", node(0)), refusal);
    solo.elect(2, 1);
    assert_eq!(solo.ask(&["SENTINEL", "FAILOVER", "m", "COORDINATED"]), Some(ok()));
    assert_eq!(solo.at("-failover-abort-slave-timeout"), Some(solo.now));
    assert!(solo.sent_to(&node(1), "SLAVEOF").is_empty());
    assert!(solo.sent_to(&node(0), "CLIENT UNPAUSE").is_empty(), "another's pause is not ours to end");
}

#[test]
fn a_coordinated_failover_needs_the_master_and_a_sound_request() {
    let mut solo = Solo::new(3, 2, &[]);
    let error = |value: Option<Value>| match value {
        Some(Value::Error(text)) => String::from_utf8(text).unwrap(),
        other => panic!("no error: {other:?}"),
    };
    assert_eq!(error(solo.ask(&["SENTINEL", "FAILOVER", "m", "GENTLY"])), "ERR syntax error");
    assert_eq!(
        error(solo.ask(&["SENTINEL", "FAILOVER", "x", "COORDINATED"])),
        "ERR No such master with that name"
    );
    solo.kill(&node(0));
    let text = error(solo.ask(&["SENTINEL", "FAILOVER", "m", "COORDINATED"]));
    assert!(text.contains("out of reach") && text.contains("without COORDINATED"), "{text}");
}

#[test]
fn a_pause_ends_with_the_failover_that_asked_for_it() {
    for command in [&["SENTINEL", "RESET", "m"][..], &["SENTINEL", "REMOVE", "m"]] {
        let mut solo = coordinated(90);
        solo.ask(command);
        assert_eq!(solo.sent_to(&node(0), "CLIENT UNPAUSE"), [solo.now], "{command:?}");
    }
    let mut solo = coordinated(90);
    solo.hello(0, 5, 2, 5);
    assert_eq!(solo.sent_to(&node(0), "CLIENT UNPAUSE"), [solo.now], "another configuration");
}

/// Probes once a second, so that hours pass quickly.
const SLOW: &[&str] = &["down-after-milliseconds m 60000"];

/// The list of SENTINELS or REPLICAS has that many entries.
fn listed(solo: &mut Solo, what: &str) -> usize {
    match solo.ask(&["SENTINEL", what, "m"]) {
        Some(Value::Array(items)) => items.len(),
        other => panic!("no list: {other:?}"),
    }
}

#[test]
fn a_sentinel_that_is_gone_for_an_hour_is_forgotten_if_the_others_are_in_reach() {
    let mut solo = Solo::new(1, 3, SLOW);
    solo.kill(&peer(2));
    solo.run(HOUR - 1_000);
    assert_eq!(listed(&mut solo, "SENTINELS"), 3);
    solo.run(3_000);
    assert_eq!((listed(&mut solo, "SENTINELS"), solo.count("-sentinel")), (2, 1));
    let line = format!("sentinel known-sentinel m {} 26379 {}", peer(2), peer_id(2));
    assert!(solo.lines.contains(&line), "the file still knows it, for whom it counted with");
    // It is known again when it is heard of.
    solo.hello(2, 0, 0, 0);
    assert_eq!(listed(&mut solo, "SENTINELS"), 3);
}

#[test]
fn the_lesser_part_of_a_partition_forgets_nobody() {
    let mut solo = Solo::new(1, 3, SLOW);
    solo.kill(&peer(1));
    solo.kill(&peer(2));
    solo.run(3 * HOUR);
    assert_eq!((listed(&mut solo, "SENTINELS"), solo.count("-sentinel")), (3, 0));
}

#[test]
fn no_more_are_forgotten_than_leave_any_two_elections_a_sentinel_in_common() {
    // Of five with quorum 2, four elect with three and five with three: two are not enough to drop.
    let mut solo = Solo::new(1, 4, SLOW);
    solo.kill(&peer(3));
    solo.run(HOUR + 2_000);
    assert_eq!(listed(&mut solo, "SENTINELS"), 3);
    solo.kill(&peer(2));
    solo.run(3 * HOUR);
    assert_eq!(listed(&mut solo, "SENTINELS"), 3, "three elect with two, which five need not hear of");
    // With a quorum of three they do.
    assert_eq!(solo.ask(&["SENTINEL", "SET", "m", "quorum", "3"]), Some(ok()));
    solo.run(2_000);
    assert_eq!(listed(&mut solo, "SENTINELS"), 2);
}

#[test]
fn a_replica_that_is_gone_for_an_hour_is_forgotten() {
    let mut solo = Solo::new(3, 0, SLOW);
    solo.run(1_000);
    solo.kill(&node(2));
    solo.run(HOUR - 3_000);
    assert_eq!(listed(&mut solo, "REPLICAS"), 2);
    solo.run(5_000);
    assert_eq!((listed(&mut solo, "REPLICAS"), solo.count("-slave")), (1, 1));
    assert!(!solo.lines.iter().any(|l| l.ends_with("known-replica m 10.0.0.2 6379")));
    // It comes back: its master names it.
    solo.up.insert(node(2));
    let named = "slave0:ip=10.0.0.2,port=6379,state=online,offset=1,lag=0\r\n";
    solo.infos.insert(node(0), master_info(0, 100) + named);
    solo.run(11_000);
    assert_eq!(listed(&mut solo, "REPLICAS"), 2);
}

#[test]
fn a_replica_that_its_master_still_names_or_that_was_no_replica_is_kept() {
    let mut solo = Solo::new(3, 0, SLOW);
    let named = "slave0:ip=10.0.0.2,port=6379,state=online,offset=1,lag=0\r\n";
    solo.infos.insert(node(0), master_info(0, 100) + named);
    solo.run(1_000);
    solo.kill(&node(2));
    solo.run(3 * HOUR);
    assert_eq!(listed(&mut solo, "REPLICAS"), 2, "named by its master");

    // A former master that never came back has to be known when it does.
    let mut solo = stray(2);
    solo.kill(&node(0));
    solo.ask(&["SENTINEL", "SET", "m", "down-after-milliseconds", "60000"]);
    solo.run(3 * HOUR);
    assert_eq!(listed(&mut solo, "REPLICAS"), 2);
}

#[test]
fn no_replica_is_forgotten_while_the_master_is_out_of_reach() {
    let mut solo = Solo::new(3, 2, SLOW);
    solo.run(1_000);
    solo.kill(&node(2));
    solo.run(HOUR / 2);
    solo.kill(&node(0));
    solo.run(65_000);
    solo.up.insert(node(0));
    solo.run(HOUR - 60_000);
    assert_eq!(listed(&mut solo, "REPLICAS"), 2);
    solo.run(60_000);
    assert_eq!(listed(&mut solo, "REPLICAS"), 1);
}
