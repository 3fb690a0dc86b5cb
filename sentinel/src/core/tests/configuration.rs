//! What may be told of a new configuration and when, and what proves what. Each of these was found broken by the
//! simulator.

use redoubt_wire::resp::value::Value;

use super::solo::{OWN_ID, Solo, master_info, node, peer, replica_info};

fn done() -> Value {
    Value::Array(vec![Value::Simple(b"OK".to_vec()); 4])
}

fn told(solo: &mut Solo) -> String {
    match solo.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "m"]) {
        Some(Value::Array(items)) => {
            String::from_utf8_lossy(items[0].as_bytes().expect("an IP")).into_owned()
        }
        other => panic!("no address: {other:?}"),
    }
}

/// What the last hello to the first of the others says of the master: its address and config epoch.
fn last_hello(solo: &Solo) -> String {
    let text = solo.last_to(&peer(0), "PUBLISH").expect("a hello");
    text.rsplitn(4, ',').take(3).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join(",")
}

#[test]
fn what_another_told_is_on_disk_before_our_clients_hear_of_it() {
    let mut solo = Solo::new(3, 2, &[]);
    solo.disk_works = false;
    solo.hello(0, 3, 1, 3);
    solo.run(5_000);
    assert_eq!((told(&mut solo), solo.count("+switch-master")), (node(0), 0));
    assert!(last_hello(&solo).ends_with("10.0.0.0,6379,0"), "{}", last_hello(&solo));
    solo.disk_works = true;
    solo.finish_writes();
    assert!(solo.lines.contains(&"sentinel monitor m 10.0.0.1 6379 2".to_string()), "{:?}", solo.lines);
    assert!(solo.lines.contains(&"sentinel known-replica m 10.0.0.0 6379".to_string()), "{:?}", solo.lines);
    assert_eq!((told(&mut solo), solo.count("+switch-master")), (node(1), 1));
    assert!(last_hello(&solo).ends_with("10.0.0.1,6379,3"), "{}", last_hello(&solo));
}

#[test]
fn a_disk_that_fails_does_not_keep_clients_from_their_master() {
    let mut solo = Solo::new(3, 2, &[]);
    solo.disk_works = false;
    solo.hello(0, 3, 1, 3);
    solo.fail_writes();
    assert_eq!((told(&mut solo), solo.count("+switch-master")), (node(1), 1));
}

#[test]
fn our_own_promotion_is_on_disk_before_anybody_hears_of_it() {
    let mut solo = Solo::new(3, 2, &[]);
    solo.kill(&node(0));
    solo.elect(2, 1);
    solo.run_to("+elected-leader");
    solo.disk_works = false;
    solo.infos.insert(node(1), master_info(1, 100));
    solo.execs.insert(node(1), done());
    solo.answer_all();
    solo.run(3_000);
    assert_eq!((told(&mut solo), solo.count("+promoted-slave")), (node(0), 0));
    assert_eq!(solo.count("+try-failover"), 1, "nor is anything else done about the old one");
    solo.disk_works = true;
    solo.finish_writes();
    assert_eq!((told(&mut solo), solo.count("+switch-master")), (node(1), 1));
    assert!(solo.lines.contains(&"sentinel config-epoch m 1".to_string()), "{:?}", solo.lines);
}

#[test]
fn of_two_configurations_that_are_being_written_the_newer_one_wins() {
    let mut solo = Solo::new(3, 2, &[]);
    solo.disk_works = false;
    solo.hello(0, 3, 1, 3);
    solo.hello(1, 4, 2, 4);
    solo.hello(0, 3, 1, 3);
    solo.disk_works = true;
    solo.finish_writes();
    assert_eq!((told(&mut solo), solo.count("+switch-master")), (node(2), 1));
}

#[test]
fn an_info_asked_for_before_the_transaction_is_no_proof_of_promotion() {
    let mut solo = Solo::new(3, 2, &[]);
    solo.kill(&node(0));
    // The replica has been a master by mistake, and its answers are slow.
    solo.infos.remove(&node(1));
    solo.elect(2, 1);
    solo.run_to("+failover-state-wait-promotion");
    assert_eq!(solo.sent_to(&node(1), "SLAVEOF NO ONE"), [solo.now]);
    solo.infos.insert(node(1), master_info(1, 100));
    solo.answer_all();
    assert_eq!(solo.count("+promoted-slave"), 0);
    solo.execs.insert(node(1), done());
    solo.answer_all();
    assert_eq!(solo.count("+promoted-slave"), 1);
}

#[test]
fn an_info_asked_for_before_the_pause_does_not_tell_where_the_writes_end() {
    let mut solo = Solo::new(3, 2, &[]);
    for n in 0..2 {
        solo.answers.insert(peer(n), (0, OWN_ID.into(), 1));
    }
    solo.infos.remove(&node(0));
    solo.run(10_500);
    assert!(solo.ask(&["SENTINEL", "FAILOVER", "m", "COORDINATED"]).is_some());
    solo.run(0);
    assert_eq!(solo.sent_to(&node(0), "CLIENT PAUSE"), [solo.now]);
    solo.infos.insert(node(0), master_info(0, 100));
    while solo.oldest_open(&node(0)).is_some_and(|text| text != "CLIENT PAUSE 500 WRITE") {
        solo.answer_oldest(&node(0));
    }
    assert!(solo.sent_to(&node(1), "SLAVEOF").is_empty(), "the writes went on until the pause");
    solo.infos.insert(node(0), master_info(0, 110));
    solo.answer_all();
    solo.run(50);
    assert!(solo.sent_to(&node(1), "SLAVEOF").is_empty(), "the replica lacks the last ten bytes");
    solo.infos.insert(node(1), replica_info(1, 0, 110));
    solo.run(3);
    assert_eq!(solo.sent_to(&node(1), "SLAVEOF NO ONE").len(), 1);
}

#[test]
fn a_forced_failover_without_a_majority_takes_an_epoch_that_no_election_reaches() {
    let mut solo = Solo::new(3, 2, &[]);
    solo.answers.clear();
    assert!(solo.ask(&["SENTINEL", "FAILOVER", "m"]).is_some());
    solo.run_to("+elected-leader");
    solo.infos.insert(node(1), master_info(1, 100));
    solo.execs.insert(node(1), done());
    solo.answer_all();
    let epoch = solo.field("config-epoch").expect("a config epoch").parse::<u64>().expect("a number");
    assert!(epoch > 1_000_000, "{epoch}");
    assert!(solo.lines.contains(&format!("sentinel leader-epoch m {epoch}")), "{:?}", solo.lines);

    let mut solo = Solo::new(3, 2, &[]);
    for n in 0..2 {
        solo.answers.insert(peer(n), (0, OWN_ID.into(), 1));
    }
    assert!(solo.ask(&["SENTINEL", "FAILOVER", "m"]).is_some());
    assert_eq!(solo.count("+elected-leader"), 1);
    assert!(
        solo.lines.contains(&"sentinel leader-epoch m 1".to_string()),
        "with the votes it takes the next"
    );
}

#[test]
fn answers_that_grew_old_in_tilt_do_not_make_a_quorum() {
    let mut solo = Solo::new(3, 2, &[]);
    solo.silent.insert(node(0));
    solo.run_to("+sdown");
    solo.agree(2);
    solo.run_to("+odown");
    solo.silent.clear();
    solo.answer_all();
    assert_eq!(solo.count("-odown"), 1);
    // This process does not run for a while, and the others do not answer after that.
    solo.now += 5_000;
    solo.answers.clear();
    solo.run(1);
    assert_eq!(solo.count("+tilt"), 1);
    solo.silent.insert(node(0));
    solo.run(33_000);
    assert_eq!(solo.count("-tilt"), 1);
    let of_master = |(_, name, text): &&(_, String, String)| name == "+sdown" && text.starts_with("master");
    assert_eq!((solo.events.iter().filter(of_master).count(), solo.count("+odown")), (2, 1));
}

#[test]
fn a_group_without_a_master_gets_one_however_late_that_is_noticed() {
    let mut solo = Solo::new(3, 2, &[]);
    // An operator has made the master a replica of its replica.
    let apart = |seconds: u64| format!("master_link_down_since_seconds:{seconds}\r\n");
    for (n, of) in [(0, 1), (1, 0), (2, 0)] {
        let text = replica_info(n, of, 100).replace("status:up", "status:down");
        solo.infos.insert(node(n), text + &apart(0));
    }
    solo.run_to("-role-change");
    solo.agree(2);
    for second in 1..=25 {
        for (n, of) in [(0, 1), (1, 0), (2, 0)] {
            let text = replica_info(n, of, 100).replace("status:up", "status:down");
            solo.infos.insert(node(n), text + &apart(second));
        }
        solo.run(1_000);
        if solo.count("+try-failover") == 1 {
            solo.elect(2, 1);
        }
    }
    assert_eq!(solo.count("+selected-slave"), 1, "{:?}", solo.events);
}

#[test]
fn what_was_said_of_a_master_before_it_was_promoted_again_does_not_make_a_quorum() {
    let mut solo = Solo::new(3, 2, &[]);
    solo.kill(&node(0));
    solo.elect(2, 1);
    solo.run_to("+elected-leader");
    solo.infos.insert(node(1), master_info(1, 100));
    solo.execs.insert(node(1), done());
    solo.answer_all();
    assert_eq!((told(&mut solo), solo.count("+odown")), (node(1), 1));
    // The others have promoted the old master again, while we still reconfigure its replicas.
    for n in 0..2 {
        solo.answers.insert(peer(n), (0, "*".into(), 0));
    }
    solo.up.insert(node(0));
    solo.run(200);
    solo.hello(0, 2, 0, 2);
    assert_eq!(told(&mut solo), node(0));
    solo.kill(&node(0));
    solo.run(1_500);
    assert_eq!(solo.count("+odown"), 1, "the others see it up: {:?}", solo.events);
}
