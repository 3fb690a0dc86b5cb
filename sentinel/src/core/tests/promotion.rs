//! What an elected leader does, and how the news of it spreads.

use redoubt_wire::resp::value::Value;

use super::solo::{Solo, master_info, node, peer, replica_info};
use crate::core::timers::Ms;

const PROMOTE: &str = "SLAVEOF NO ONE";

fn done() -> Value {
    Value::Array(vec![Value::Simple(b"OK".to_vec()); 4])
}

fn refusal() -> Value {
    Value::Error(b"EXECABORT Transaction discarded because of previous errors.".to_vec())
}

/// A Sentinel that all others will vote for, its master just gone.
fn about_to_lead(nodes: usize, options: &[&str]) -> Solo {
    let mut solo = Solo::new(nodes, 2, options);
    solo.kill(&node(0));
    solo.elect(2, 1);
    solo
}

/// Lets node `n` be a master from now on, its transaction done.
fn promoted(solo: &mut Solo, n: usize) {
    solo.infos.insert(node(n), master_info(n, 100));
    solo.execs.insert(node(n), done());
    solo.answer_all();
}

#[test]
fn the_vote_that_elects_sends_the_promotion_and_its_reply_tells_everybody() {
    let mut solo = about_to_lead(3, &[]);
    solo.run_to("+elected-leader");
    assert_eq!(solo.sent_to(&node(1), PROMOTE), [solo.now]);
    let transaction: Vec<String> =
        solo.sent.iter().filter(|(_, to, _)| *to == node(1)).map(|s| s.2.clone()).collect();
    assert_eq!(
        transaction[transaction.len() - 7..],
        [
            "MULTI",
            "SLAVEOF NO ONE",
            "CONFIG REWRITE",
            "CLIENT KILL TYPE normal",
            "CLIENT KILL TYPE pubsub",
            "EXEC",
            "INFO replication"
        ]
    );
    solo.run(3);
    promoted(&mut solo, 1);
    let switch = "m 10.0.0.0 6379 10.0.0.1 6379".to_string();
    assert!(solo.events.contains(&(solo.now, "+switch-master".into(), switch)), "{:?}", solo.events);
    for ip in [node(1), node(2), peer(0), peer(1)] {
        assert_eq!(solo.sent_to(&ip, "PUBLISH").last(), Some(&solo.now), "{ip}");
        let hello = solo.last_to(&ip, "PUBLISH").unwrap();
        assert!(hello.ends_with(",1,m,10.0.0.1,6379,1"), "{hello}");
    }
    assert_eq!(solo.sent_to(&node(2), "SLAVEOF 10.0.0.1 6379"), [solo.now]);
}

#[test]
fn offsets_are_read_again_when_the_election_is_won() {
    let mut solo = about_to_lead(3, &[]);
    solo.answers.clear();
    solo.agree(2);
    solo.run_to("+try-failover");
    // What was known at the time of the failure no longer holds.
    solo.infos.insert(node(1), replica_info(1, 0, 300));
    solo.infos.insert(node(2), replica_info(2, 0, 301));
    solo.elect(2, 1);
    solo.run_to("+elected-leader");
    assert_eq!((solo.sent_to(&node(1), PROMOTE).len(), solo.sent_to(&node(2), PROMOTE).len()), (0, 1));
}

#[test]
fn the_lowest_priority_comes_before_the_highest_offset_and_then_the_run_id() {
    let mut solo = about_to_lead(4, &[]);
    let with_priority = |n, offset, priority: &str| {
        replica_info(n, 0, offset).replace("slave_priority:100", &format!("slave_priority:{priority}"))
    };
    solo.infos.insert(node(1), with_priority(1, 900, "0"));
    solo.infos.insert(node(2), with_priority(2, 100, "90"));
    solo.infos.insert(node(3), with_priority(3, 900, "100"));
    solo.run_to("+selected-slave");
    assert_eq!(solo.sent_to(&node(2), PROMOTE).len(), 1);

    let mut solo = about_to_lead(4, &[]);
    solo.run_to("+selected-slave");
    assert_eq!(solo.sent_to(&node(1), PROMOTE).len(), 1, "all equal: the smallest run id");
}

#[test]
fn a_replica_that_is_slow_to_tell_its_offset_is_waited_for_but_not_long() {
    let mut solo = about_to_lead(3, &[]);
    solo.run(900);
    solo.silent.insert(node(1));
    solo.infos.insert(node(2), replica_info(2, 0, 50));
    let elected_at = solo.run_to("+elected-leader");
    let selected_at = solo.run_to("+selected-slave");
    assert_eq!(selected_at, elected_at + 200);
    assert_eq!(solo.sent_to(&node(1), PROMOTE).len(), 1, "what it told before still counts");
}

#[test]
fn a_refused_promotion_goes_on_to_the_next_replica_in_the_same_epoch() {
    let inner = vec![Value::Error(b"NOPERM no".to_vec()), Value::Simple(b"OK".to_vec())];
    for refusal in [refusal(), Value::Array(inner)] {
        let mut solo = about_to_lead(3, &[]);
        solo.execs.insert(node(1), refusal);
        solo.run_to("+elected-leader");
        assert_eq!(solo.sent_to(&node(2), PROMOTE), [solo.now]);
        promoted(&mut solo, 2);
        assert_eq!(solo.at("+switch-master"), Some(solo.now));
        assert_eq!((solo.count("+new-epoch"), solo.count("+try-failover")), (1, 1));
    }
}

#[test]
fn when_all_refuse_there_is_no_good_replica() {
    let mut solo = about_to_lead(3, &[]);
    solo.execs.insert(node(1), refusal());
    solo.execs.insert(node(2), refusal());
    solo.run_to("-failover-abort-no-good-slave");
    assert_eq!(solo.sent_to(&node(1), PROMOTE).len(), 1, "none is asked twice");
}

#[test]
fn a_promotion_whose_outcome_is_unknown_is_never_followed_by_another_in_its_epoch() {
    let mut solo = about_to_lead(3, &[]);
    solo.run_to("+elected-leader");
    // The transaction was sent; the replica dies before it answers.
    solo.answers.clear();
    solo.agree(2);
    solo.kill(&node(1));
    solo.run_to("-failover-abort-slave-timeout");
    assert!(solo.sent_to(&node(2), PROMOTE).is_empty());
    solo.run_to("+try-failover");
    assert!(solo.sent_to(&node(2), PROMOTE).is_empty());
    solo.elect(2, 2);
    solo.run_to("+elected-leader");
    assert_eq!(solo.sent_to(&node(2), PROMOTE), [solo.now]);
    promoted(&mut solo, 2);
    assert_eq!(solo.field("config-epoch").as_deref(), Some("2"));
}

#[test]
fn a_promotion_lost_with_its_connection_is_sent_again_to_the_same_replica() {
    let mut solo = about_to_lead(3, &[]);
    solo.run_to("+elected-leader");
    solo.reset(&node(1));
    solo.run(100);
    assert_eq!(solo.sent_to(&node(1), PROMOTE).len(), 2);
    promoted(&mut solo, 1);
    assert!(solo.at("+switch-master").is_some());
    assert_eq!((solo.count("+new-epoch"), solo.sent_to(&node(2), PROMOTE).len()), (1, 0));
}

#[test]
fn a_slot_of_parallel_syncs_is_freed_the_moment_a_link_is_up() {
    let mut solo = about_to_lead(4, &["parallel-syncs m 1"]);
    solo.execs.insert(node(1), done());
    solo.execs.insert(node(2), done());
    solo.infos.insert(node(1), master_info(1, 100));
    let down = replica_info(2, 1, 100).replace("master_link_status:up", "master_link_status:down");
    solo.infos.insert(node(2), down);
    let at = solo.run_to("+slave-reconf-inprog");
    assert!(solo.sent_to(&node(3), "SLAVEOF 10.0.0.1").is_empty(), "one at a time");
    // It synchronises for a while, and is asked often.
    solo.run(400);
    let polls: Vec<Ms> = solo.sent_to(&node(2), "INFO").into_iter().filter(|t| *t > at).collect();
    assert!(polls.windows(2).all(|w| w[1] - w[0] <= 40), "{polls:?}");
    solo.infos.insert(node(2), replica_info(2, 1, 100));
    let up_at = solo.now;
    solo.run_to("+slave-reconf-done");
    assert!(solo.now - up_at <= 45, "{} ms", solo.now - up_at);
    assert_eq!(solo.sent_to(&node(3), "SLAVEOF 10.0.0.1"), [solo.now]);
}

#[test]
fn a_replica_that_refuses_to_follow_frees_its_slot() {
    let mut solo = about_to_lead(4, &["parallel-syncs m 1"]);
    solo.execs.insert(node(1), done());
    solo.execs.insert(node(2), refusal());
    solo.infos.insert(node(1), master_info(1, 100));
    solo.run_to("+switch-master");
    assert_eq!(solo.sent_to(&node(3), "SLAVEOF 10.0.0.1"), [solo.now]);
}

#[test]
fn an_observer_tells_clients_and_the_others_in_the_moment_it_learns() {
    let mut solo = Solo::new(3, 2, &[]);
    solo.run(500);
    solo.relayed_hello(&node(1), 0, 3, 1, 3);
    let switch = "m 10.0.0.0 6379 10.0.0.1 6379".to_string();
    assert!(solo.events.contains(&(solo.now, "+switch-master".into(), switch)));
    for ip in [node(0), node(1), node(2), peer(0), peer(1)] {
        assert_eq!(solo.sent_to(&ip, "PUBLISH").last(), Some(&solo.now), "{ip}");
        assert!(solo.last_to(&ip, "PUBLISH").unwrap().ends_with(",3,m,10.0.0.1,6379,3"));
    }
}

#[test]
fn a_leader_overtaken_by_a_newer_configuration_sends_its_clients_there() {
    // It has announced node 1; then word comes that the old master was agreed on in a later epoch.
    let mut solo = about_to_lead(3, &[]);
    solo.run_to("+elected-leader");
    promoted(&mut solo, 1);
    solo.hello(0, 5, 0, 5);
    let back = "m 10.0.0.1 6379 10.0.0.0 6379".to_string();
    assert_eq!(solo.events.iter().rfind(|e| e.1 == "+switch-master").unwrap().2, back);
    let addr = solo.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m"]);
    assert_eq!(addr.unwrap().as_slice().unwrap()[0], Value::Bulk(node(0).into_bytes()));
}

#[test]
fn after_a_switch_connecting_is_immediate_and_silence_counts_from_the_switch() {
    // In the original the limiter of reconnections and the clock survived the switch, and a second failover followed.
    let mut solo = Solo::new(2, 2, &[]);
    solo.hung.insert(node(1));
    solo.reset(&node(1));
    solo.run(930);
    let switched_at = solo.now;
    solo.hello(0, 3, 1, 3);
    solo.run(0);
    assert_eq!(solo.connects.last(), Some(&(switched_at, node(1))), "a hanging attempt gives way at once");
    solo.run(5_000);
    let down = solo.events.iter().find(|e| e.1 == "+sdown" && e.2 == "master m 10.0.0.1 6379").unwrap();
    assert_eq!(down.0, switched_at + 1_001);
    let tries = solo.connects.iter().filter(|c| c.0 > switched_at && c.0 < down.0 && c.1 == node(1)).count();
    assert!(tries >= 3, "{tries} attempts before the verdict");
}

#[test]
fn a_master_that_dies_right_after_its_promotion_is_replaced_after_a_pause() {
    let mut solo = about_to_lead(3, &[]);
    solo.execs.extend([(node(1), done()), (node(2), done())]);
    solo.infos.insert(node(1), master_info(1, 100));
    solo.infos.insert(node(2), replica_info(2, 1, 100));
    solo.run_to("+failover-end");
    solo.answers.clear();
    solo.agree(2);
    solo.run(300);
    solo.kill(&node(1));
    let odown_at = solo.run_to("+odown");
    let pause = solo.run_to("+try-failover") - odown_at;
    assert!((1_025..=1_525).contains(&pause), "{pause}");
}
