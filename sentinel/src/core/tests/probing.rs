//! Probing, SDOWN and connecting, one Sentinel at a time.

use redoubt_wire::resp::value::Value;

use super::solo::{Solo, node, peer};
use crate::core::timers::Ms;

fn gaps(times: &[Ms]) -> Vec<Ms> {
    times.windows(2).map(|w| w[1] - w[0]).collect()
}

#[test]
fn every_instance_is_pinged_at_a_twentieth_of_down_after_within_bounds() {
    for (down_after, interval) in [(1000, 50), (5000, 250), (200, 20), (60_000, 1000)] {
        let option = format!("down-after-milliseconds m {down_after}");
        let mut solo = Solo::new(2, 1, &[&option]);
        solo.run(10 * interval);
        for ip in [node(0), node(1), peer(0)] {
            let pings = solo.sent_to(&ip, "PING");
            let last = gaps(&pings)[pings.len() - 6..].to_vec();
            assert_eq!(last, [interval; 5], "{ip} at down-after {down_after}");
        }
    }
}

#[test]
fn an_instance_whose_answers_are_late_is_pinged_no_less() {
    // One that answers each PING only after the next one went out would else be seen at long intervals.
    let mut solo = Solo::new(1, 0, &[]);
    solo.silent.insert(node(0));
    let since = solo.now;
    solo.run(900);
    let pings: Vec<Ms> = solo.sent_to(&node(0), "PING").into_iter().filter(|at| *at > since).collect();
    assert_eq!(gaps(&pings), vec![50; pings.len() - 1]);
    solo.run(5_000);
    let late: Vec<Ms> = solo.sent_to(&node(0), "PING").into_iter().filter(|at| *at > since + 1_100).collect();
    assert!(gaps(&late).iter().all(|gap| *gap == 500), "what is down is pinged less often: {late:?}");
}

#[test]
fn silence_counts_from_the_last_valid_reply() {
    let mut solo = Solo::new(1, 0, &[]);
    solo.run(73);
    let last_pong = *solo.sent_to(&node(0), "PING").last().unwrap();
    solo.silent.insert(node(0));
    solo.run(2_000);
    assert_eq!(solo.at("+sdown"), Some(last_pong + 1_001));
    solo.silent.remove(&node(0));
    solo.answer_all();
    assert_eq!(solo.at("-sdown"), Some(solo.now), "one valid reply lifts it at once");
}

#[test]
fn replies_that_prove_life_are_told_from_those_that_do_not() {
    for (reply, alive) in [
        (Value::Error(b"LOADING Redis is loading the dataset in memory".to_vec()), true),
        (Value::Error(b"MASTERDOWN Link with MASTER is down".to_vec()), true),
        (Value::Error(b"MISCONF Errors writing to the disk".to_vec()), false),
        (Value::Error(b"BUSY Redis is busy running a script".to_vec()), false),
        (Value::Error(b"NOAUTH Authentication required.".to_vec()), false),
    ] {
        let mut solo = Solo::new(1, 0, &[]);
        solo.replies.insert(format!("{} PING", node(0)), reply.clone());
        solo.run(3_000);
        assert_eq!(solo.count("+sdown") == 0, alive, "{reply:?}");
    }
}

#[test]
fn a_connection_without_rights_is_none_and_a_refused_password_alone_is_no_harm() {
    let wrong = Value::Error(b"WRONGPASS invalid username-password pair or user is disabled.".to_vec());
    let noauth = Value::Error(b"NOAUTH Authentication required.".to_vec());
    for password_needed in [false, true] {
        let mut solo = Solo::new(1, 0, &["auth-pass m secret"]);
        for command in ["AUTH secret", "CLIENT SETNAME", "PING"] {
            let reply = if command == "AUTH secret" { &wrong } else { &noauth };
            if password_needed || reply == &wrong {
                solo.replies.insert(format!("{} {command}", node(0)), reply.clone());
            }
        }
        solo.reset(&node(0));
        solo.run(500);
        let flags = solo.field("flags").unwrap();
        assert_eq!(flags.contains("disconnected"), password_needed, "{flags}");
    }
}

#[test]
fn a_broken_connection_is_made_anew_at_once_and_then_at_the_interval() {
    let mut solo = Solo::new(1, 0, &[]);
    solo.run(500);
    let killed_at = solo.now;
    solo.kill(&node(0));
    solo.run(200);
    let tries: Vec<Ms> =
        solo.connects.iter().map(|c| c.0).filter(|at| *at >= killed_at).map(|at| at - killed_at).collect();
    assert_eq!(tries, [0, 50, 100, 150, 200]);
}

#[test]
fn a_hanging_attempt_to_connect_gives_way_before_down_after_is_over() {
    let mut solo = Solo::new(1, 0, &[]);
    solo.run(500);
    solo.hung.insert(node(0));
    solo.reset(&node(0));
    let since = solo.now;
    solo.run(900);
    let tries = solo.connects.iter().filter(|c| c.0 >= since).count();
    assert!(tries >= 3, "one lost SYN must not cost the verdict: {tries} attempts");
}

#[test]
fn down_on_refused_is_off_by_default() {
    let mut solo = Solo::new(1, 1, &[]);
    solo.agree(1);
    let killed_at = solo.now;
    solo.kill(&node(0));
    solo.run(3_000);
    assert!(solo.at("+sdown").unwrap() - killed_at > 900);
    assert_eq!(solo.field("down-on-refused"), None);
}

#[test]
fn a_refused_connection_counts_after_down_on_refused_and_the_quorum_still_decides() {
    let mut solo = Solo::new(2, 2, &["down-on-refused m 100"]);
    let killed_at = solo.now;
    solo.kill(&node(0));
    solo.run(5_000);
    assert_eq!(solo.at("+sdown"), Some(killed_at + 100));
    assert_eq!(solo.at("+odown"), None, "the others do not agree");
    solo.agree(2);
    solo.run(1_100);
    assert!(solo.at("+odown").is_some());
    // A connection that is accepted proves nothing yet; an answer does.
    solo.silent.insert(node(0));
    solo.up.insert(node(0));
    solo.run(1_000);
    assert_eq!(solo.count("-sdown"), 0);
    solo.silent.remove(&node(0));
    solo.answer_all();
    assert_eq!(solo.count("-sdown"), 1);
}

#[test]
fn a_process_that_is_back_within_down_on_refused_is_not_down() {
    let mut solo = Solo::new(1, 1, &["down-on-refused m 100"]);
    for _ in 0..5 {
        solo.kill(&node(0));
        solo.run(70);
        solo.up.insert(node(0));
        solo.run(300);
    }
    assert_eq!(solo.count("+sdown"), 0);
}

#[test]
fn down_on_refused_takes_no_silence_for_a_refusal_and_concerns_masters_alone() {
    let mut solo = Solo::new(2, 1, &["down-on-refused m 100"]);
    solo.kill(&node(1));
    solo.hung.insert(node(0));
    solo.reset(&node(0));
    let since = solo.now;
    solo.run(900);
    assert_eq!(solo.count("+sdown"), 0);
    solo.run(1_000);
    assert!(solo.events.iter().any(|(at, name, _)| name == "+sdown" && at - since > 900));
}

#[test]
fn down_on_refused_is_set_shown_and_kept() {
    let mut solo = Solo::new(1, 0, &[]);
    let ok = Some(Value::Simple(b"OK".to_vec()));
    assert_eq!(solo.ask(&["SENTINEL", "SET", "m", "down-on-refused", "250"]), ok);
    assert_eq!(solo.field("down-on-refused").as_deref(), Some("250"));
    assert!(solo.lines.contains(&"sentinel down-on-refused m 250".to_string()));
    assert_eq!(solo.ask(&["SENTINEL", "SET", "m", "down-on-refused", "0"]), ok);
    assert!(!solo.lines.iter().any(|l| l.contains("down-on-refused")), "off is not written");
    let wrong = solo.ask(&["SENTINEL", "SET", "m", "down-on-refused", "-1"]);
    let text = b"ERR Invalid argument '-1' for SENTINEL SET 'down-on-refused'".to_vec();
    assert_eq!(wrong, Some(Value::Error(text)));
}

#[test]
fn own_lateness_lifts_no_verdict() {
    let mut solo = Solo::new(1, 0, &[]);
    solo.silent.insert(node(0));
    solo.run(2_000);
    assert_eq!(solo.count("+sdown"), 1);
    // The process did not run for a second and a half.
    solo.now += 1_500;
    solo.run(500);
    assert_eq!((solo.count("+sdown"), solo.count("-sdown")), (1, 0));
}
