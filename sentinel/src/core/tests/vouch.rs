//! SENTINEL VOUCH: for whom a Sentinel vouches, and when it refuses to.

use redoubt_wire::resp::value::Value;

use super::solo::{Solo, master_info, node, peer_id};
use crate::core::timers::Ms;

/// What it says about node `n`: the epoch, and the figure or the reason.
fn vouch(solo: &mut Solo, n: usize) -> (u64, Result<Ms, String>) {
    vouch_for(solo, &node(n))
}

fn vouch_for(solo: &mut Solo, host: &str) -> (u64, Result<Ms, String>) {
    let reply = solo.ask(&["SENTINEL", "VOUCH", "m", host, "6379"]).expect("an answer at once");
    let Value::Array(items) = reply else { panic!("{reply:?}") };
    match items.as_slice() {
        [Value::Bulk(word), Value::Integer(epoch), Value::Integer(figure)] if word == b"vouched" => {
            (*epoch as u64, Ok(*figure as Ms))
        }
        [Value::Bulk(word), Value::Integer(epoch), Value::Bulk(reason)] if word == b"refused" => {
            (*epoch as u64, Err(String::from_utf8(reason.clone()).expect("text")))
        }
        other => panic!("{other:?}"),
    }
}

fn reason(solo: &mut Solo, n: usize) -> String {
    let why = vouch(solo, n).1.expect_err("a refusal");
    why.split(' ').next().expect("a word").to_string()
}

/// A leader that has just sent its promotion, to node 1, in epoch 1.
fn promoting() -> Solo {
    let mut solo = Solo::new(2, 2, &[]);
    solo.kill(&node(0));
    solo.run_to("+sdown");
    solo.agree(2);
    solo.answer_all();
    solo.run_to("+try-failover");
    assert!(vouch(&mut solo, 0).1.is_ok(), "nobody has been promoted");
    solo.elect(2, 1);
    solo.run_to("+failover-state-wait-promotion");
    solo
}

#[test]
fn it_vouches_for_the_master_alone_and_says_since_when_for_no_other() {
    let mut solo = Solo::new(2, 2, &[]);
    assert_eq!(vouch(&mut solo, 0), (0, Ok(99)), "a restart counts as now");
    solo.run(1_000);
    assert_eq!(vouch(&mut solo, 0), (0, Ok(1_099)));
    let why = vouch(&mut solo, 1).1.unwrap_err();
    assert!(why.starts_with("other-master 10.0.0.0 6379 "), "{why}");
    solo.hello(0, 3, 1, 3);
    assert_eq!(vouch(&mut solo, 1), (3, Ok(0)));
    let why = vouch(&mut solo, 0).1.unwrap_err();
    assert!(why.starts_with("other-master 10.0.0.1 6379 "), "{why}");
    solo.run(700);
    assert_eq!(vouch(&mut solo, 1), (3, Ok(699)));
    solo.hello(0, 4, 0, 4);
    assert_eq!(vouch(&mut solo, 0), (4, Ok(0)), "it spoke for node 1 in this very millisecond");
}

#[test]
fn errors_are_those_of_other_subcommands() {
    let mut solo = Solo::new(1, 0, &[]);
    for (words, error) in [
        (&["VOUCH", "x", "10.0.0.0", "6379"][..], "ERR No such master with that name"),
        (&["VOUCH", "m", "10.0.0.0", "x"], "ERR value is not an integer or out of range"),
        (&["VOUCH", "m", "10.0.0.0", "6379", "KEEP"], "ERR syntax error"),
        (&["VOUCH", "m", "10.0.0.0"], "ERR wrong number of arguments for 'sentinel|vouch' command"),
    ] {
        let reply = solo.ask(&[&["SENTINEL"], words].concat()).unwrap();
        assert_eq!(reply, Value::Error(error.into()), "{words:?}");
    }
}

#[test]
fn a_leader_vouches_for_nobody_between_its_order_and_the_proof() {
    let mut solo = promoting();
    assert_eq!(reason(&mut solo, 0), "failover-in-progress");
    assert_eq!(reason(&mut solo, 1), "failover-in-progress");
    let spoke_at = solo.now;
    solo.execs.insert(node(1), Value::Array(vec![Value::Simple("OK".into())]));
    solo.infos.insert(node(1), master_info(1, 100));
    // The proof is there, and the disk takes its time.
    solo.disk_works = false;
    solo.answer_all();
    solo.run(100);
    assert_eq!(solo.count("+promoted-slave"), 0);
    assert_eq!((reason(&mut solo, 0), reason(&mut solo, 1)), ("switching".into(), "switching".into()));
    solo.disk_works = true;
    solo.finish_writes();
    assert_eq!(solo.count("+switch-master"), 1);
    let (epoch, figure) = vouch(&mut solo, 1);
    assert!(epoch == 1 && figure.as_ref().is_ok_and(|ms| *ms >= solo.now - spoke_at - 1), "{figure:?}");
    assert_eq!(reason(&mut solo, 0), "other-master");
}

#[test]
fn a_leader_whose_failover_failed_vouches_for_the_old_master_again() {
    let mut solo = promoting();
    solo.kill(&node(1));
    solo.run_to("-failover-abort-slave-timeout");
    assert!(vouch(&mut solo, 0).1.is_ok());

    let mut solo = promoting();
    solo.execs.insert(node(1), Value::Error("NOPERM no".into()));
    solo.answer_all();
    assert_eq!(solo.count("-failover-abort-no-good-slave"), 1);
    assert!(vouch(&mut solo, 0).1.is_ok(), "the replica refused: it is no master");
}

#[test]
fn a_vote_for_another_leader_stops_nothing() {
    let mut solo = Solo::new(2, 2, &[]);
    assert_eq!(solo.asked(7, &peer_id(1)).1, peer_id(1));
    assert!(vouch(&mut solo, 0).1.is_ok());
    solo.hello(1, 7, 1, 7);
    assert_eq!(vouch(&mut solo, 1), (7, Ok(0)), "the new owner learns that it has to wait");
}

#[test]
fn tilt_counts_as_a_restart() {
    let mut solo = Solo::new(2, 2, &[]);
    solo.run(5_000);
    assert!(vouch(&mut solo, 0).1.is_ok_and(|ms| ms > 5_000));
    solo.now += 3_000;
    assert_eq!(vouch(&mut solo, 0).1, Ok(0));
    assert_eq!(solo.count("+tilt"), 1);
    solo.run(500);
    assert!(vouch(&mut solo, 0).1.is_ok_and(|ms| (400..=500).contains(&ms)));
}

#[test]
fn a_name_that_is_watched_anew_remembers_nothing() {
    let mut solo = Solo::new(2, 2, &[]);
    solo.run(5_000);
    assert!(vouch(&mut solo, 0).1.is_ok_and(|ms| ms > 5_000));
    solo.ask(&["SENTINEL", "REMOVE", "m"]);
    solo.ask(&["SENTINEL", "MONITOR", "m", &node(1), "6379", "2"]);
    assert_eq!(vouch(&mut solo, 1).1, Ok(0));
    // RESET keeps address and memory.
    solo.run(500);
    solo.ask(&["SENTINEL", "RESET", "*"]);
    assert_eq!(vouch(&mut solo, 1).1, Ok(499));
}

#[test]
fn an_address_may_be_spelled_otherwise_and_a_name_is_known() {
    let lines = ["monitor m db.example 6379 2", "resolve-hostnames yes"].map(str::to_string);
    let known = [("db.example".to_string(), "fd00::1".to_string())].into();
    let mut solo = Solo::of_lines(&lines, known);
    for host in ["fd00::1", "FD00:0:0:0:0:0:0:1", "DB.example"] {
        assert!(vouch_for(&mut solo, host).1.is_ok(), "{host}");
    }
    assert!(vouch_for(&mut solo, "fd00::2").1.is_err());
}
