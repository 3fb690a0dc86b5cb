//! Agreement and election, vote by vote.

use redoubt_wire::resp::value::Value;

use super::solo::{OWN_ID, Solo, node, peer, peer_id};
use crate::core::timers::Ms;

const ASK: &str = "SENTINEL is-master-down-by-addr";

/// A Sentinel whose master has just died, with two others that do not see it yet; one has a smaller id.
fn bereaved(options: &[&str]) -> Solo {
    let mut solo = Solo::new(3, 2, options);
    solo.kill(&node(0));
    solo.run_to("+sdown");
    solo
}

/// The same a moment after the others agreed.
fn agreed(options: &[&str]) -> Solo {
    let mut solo = bereaved(options);
    solo.agree(2);
    solo.run_to("+odown");
    solo
}

/// The same once our candidacy is known to the others, whose answers are out.
fn standing(options: &[&str]) -> Solo {
    let mut solo = agreed(options);
    solo.answers.clear();
    solo.run_to("+try-failover");
    solo
}

fn votes_asked(solo: &Solo, n: usize) -> Vec<(Ms, u64)> {
    let asked = |text: &str| text.starts_with(ASK) && text.ends_with(OWN_ID);
    let epoch = |text: &str| text.split(' ').nth(4).and_then(|e| e.parse().ok()).expect("an epoch");
    let mine = solo.sent.iter().filter(|(_, to, text)| *to == peer(n) && asked(text));
    mine.map(|(at, _, text)| (*at, epoch(text))).collect()
}

fn tries(solo: &Solo) -> Vec<Ms> {
    solo.events.iter().filter(|(_, name, _)| name == "+try-failover").map(|(at, ..)| *at).collect()
}

#[test]
fn the_others_are_asked_the_moment_sdown_is_reached() {
    let solo = bereaved(&[]);
    for n in 0..2 {
        assert_eq!(solo.sent_to(&peer(n), ASK), [solo.now]);
        assert!(solo.last_to(&peer(n), ASK).unwrap().ends_with(" 0 *"), "no vote is asked for yet");
    }
}

#[test]
fn one_that_asks_has_come_to_the_same_view_and_is_asked_back_at_once() {
    let mut solo = bereaved(&[]);
    solo.run(120);
    solo.answers.insert(peer(1), (1, "*".into(), 0));
    let (down, ..) = solo.asked(0, "*");
    assert_eq!((down, solo.sent_to(&peer(1), ASK).last()), (1, Some(&solo.now)));
    assert_eq!(solo.at("+odown"), Some(solo.now));
}

#[test]
fn a_question_is_answered_from_fresh_state() {
    let mut solo = Solo::new(1, 2, &[]);
    solo.silent.insert(node(0));
    let last_pong = *solo.sent_to(&node(0), "PING").last().unwrap();
    solo.run(900);
    // The timer is late; the question is not.
    solo.now = last_pong + 1_000;
    assert_eq!(solo.asked(0, "*").0, 0);
    solo.now = last_pong + 1_001;
    assert_eq!(solo.asked(0, "*").0, 1);
    assert_eq!(solo.at("+sdown"), Some(solo.now));
}

#[test]
fn candidates_stand_in_the_order_of_their_ids_25_ms_apart() {
    let mut solo = agreed(&[]);
    let odown_at = solo.now;
    assert_eq!(solo.run_to("+try-failover"), odown_at + 25, "one in reach has a smaller id");

    let mut solo = Solo::new(2, 2, &[]);
    solo.kill(&peer(0));
    solo.kill(&node(0));
    solo.agree(2);
    solo.run_to("+odown");
    assert_eq!(solo.at("+try-failover"), solo.at("+odown"), "one that is gone is not waited for");
}

#[test]
fn a_vote_request_that_arrives_first_gets_the_vote() {
    let mut solo = agreed(&[]);
    assert_eq!(solo.asked(1, &peer_id(0)), (1, peer_id(0), 1));
    assert_eq!(solo.asked(1, &peer_id(1)), (1, peer_id(0), 1), "one vote an epoch");
    solo.run(24);
    assert!(tries(&solo).is_empty());
}

#[test]
fn a_leader_that_we_voted_for_and_that_is_in_reach_has_ten_seconds() {
    let mut solo = agreed(&[]);
    solo.asked(1, &peer_id(0));
    let voted_at = solo.now;
    assert_eq!(solo.run_to("+try-failover"), voted_at + 10_000);
}

#[test]
fn after_a_vote_for_one_that_dies_we_wait_a_second_and_up_to_half_a_second_more() {
    let mut pauses = Vec::new();
    for extra in 1..20 {
        let mut solo = agreed(&[]);
        // The generator goes on with what the Sentinel does; another history gives another pause.
        (0..extra).for_each(|n| drop(solo.asked(1 + n, &peer_id(0))));
        let voted_at = solo.now;
        solo.kill(&peer(0));
        pauses.push(solo.run_to("+try-failover") - voted_at);
    }
    assert!(pauses.iter().all(|p| (1_000..=1_500).contains(p)), "{pauses:?}");
    assert!(pauses.iter().any(|p| *p != pauses[0]), "at random: {pauses:?}");
}

#[test]
fn a_lost_election_is_retried_in_a_new_epoch_after_pauses_that_double() {
    let mut solo = agreed(&["failover-timeout m 60000"]);
    for epoch in 1..5 {
        for n in 0..2 {
            solo.answers.insert(peer(n), (1, peer_id(1), epoch));
        }
        solo.run_to("+try-failover");
        assert_eq!(votes_asked(&solo, 1).last(), Some(&(solo.now, epoch)));
        assert_eq!(
            solo.events.last().unwrap().1,
            "-failover-abort-not-elected",
            "lost as soon as all have voted"
        );
    }
    let gaps: Vec<Ms> = tries(&solo).windows(2).map(|w| w[1] - w[0]).collect();
    for (n, gap) in gaps.iter().enumerate() {
        let least = 1_000 << n;
        assert!((least..=least * 3 / 2 + 25).contains(gap), "{gaps:?}");
    }
}

#[test]
fn an_election_that_nobody_answers_ends_and_is_retried() {
    let mut solo = standing(&[]);
    let since = solo.now;
    let over = solo.run_to("-failover-abort-not-elected") - since;
    assert!((1_000..=1_500).contains(&over), "{over}");
}

#[test]
fn a_vote_and_a_candidacy_are_on_disk_before_anybody_hears_of_them() {
    let mut solo = agreed(&[]);
    solo.disk_works = false;
    let host = node(0);
    let request = ["SENTINEL", "is-master-down-by-addr", &host, "6379", "1", &peer_id(0)];
    assert_eq!(solo.ask(&request), None);
    assert!(solo.lines.contains(&"sentinel leader-epoch m 1".to_string()));

    let mut solo = agreed(&[]);
    solo.disk_works = false;
    solo.run(300);
    assert_eq!(tries(&solo).len(), 1);
    assert!(votes_asked(&solo, 0).is_empty());
    solo.disk_works = true;
    solo.finish_writes();
    assert_eq!(votes_asked(&solo, 0), [(solo.now, 1)]);
}

#[test]
fn a_candidacy_that_cannot_be_written_ends_without_anybody_having_heard_of_it() {
    let mut solo = agreed(&[]);
    solo.disk_works = false;
    solo.run_to("+try-failover");
    solo.fail_writes();
    assert!(solo.core.poll_timeout() > solo.now, "no turning in place");
    solo.run_to("-failover-abort-not-elected");
    assert!(votes_asked(&solo, 0).is_empty() && votes_asked(&solo, 1).is_empty());
}

#[test]
fn the_last_vote_elects_at_once() {
    let mut solo = standing(&[]);
    solo.run(7);
    solo.answers.insert(peer(1), (1, OWN_ID.into(), 1));
    solo.answer_all();
    assert_eq!(solo.at("+elected-leader"), Some(solo.now));
}

#[test]
fn votes_count_in_the_epoch_of_the_election_alone() {
    let mut solo = standing(&[]);
    for epoch in [0, 2] {
        solo.answers.insert(peer(1), (1, OWN_ID.into(), epoch));
        solo.answer_all();
        assert_eq!(solo.count("+elected-leader"), 0, "a vote in epoch {epoch}");
    }
}

#[test]
fn a_newer_epoch_elsewhere_does_not_end_an_election() {
    let mut solo = standing(&[]);
    // Another master's election has raised the epoch meanwhile.
    solo.hello(0, 7, 0, 0);
    assert_eq!(solo.count("-failover-abort-not-elected"), 0);
    solo.answers.insert(peer(1), (1, OWN_ID.into(), 1));
    solo.answer_all();
    assert_eq!(solo.at("+elected-leader"), Some(solo.now));
}

#[test]
fn a_denial_with_a_newer_epoch_is_adopted_and_asked_again() {
    // Both have voted in epoch 9 for one that is gone.
    let mut solo = standing(&[]);
    for n in 0..2 {
        solo.answers.insert(peer(n), (1, peer_id(4), 9));
    }
    solo.answer_all();
    for n in 0..2 {
        assert_eq!(votes_asked(&solo, n).last(), Some(&(solo.now, 10)), "{n}");
    }
    solo.elect(2, 10);
    solo.run_to("+elected-leader");
    assert_eq!(solo.count("-failover-abort-not-elected"), 0, "one candidacy all the way");
}

#[test]
fn one_elected_in_a_newer_epoch_and_in_reach_is_not_disturbed() {
    let mut solo = standing(&[]);
    for n in 0..2 {
        solo.answers.insert(peer(n), (1, peer_id(1), 9));
    }
    solo.answer_all();
    assert_eq!(solo.at("-failover-abort-not-elected"), Some(solo.now));
    let lost_at = solo.now;
    assert!(solo.run_to("+try-failover") >= lost_at + 1_000);
    assert_eq!(votes_asked(&solo, 0).last().map(|v| v.1), Some(10));
}

#[test]
fn voters_that_deny_without_a_reason_are_asked_again_in_the_epoch_that_a_hello_tells() {
    // A classic Sentinel whose current epoch is higher gives no vote and does not say why.
    let mut solo = standing(&[]);
    for n in 0..2 {
        solo.answers.insert(peer(n), (1, "*".into(), 0));
    }
    solo.answer_all();
    solo.answers.clear();
    solo.hello(0, 7, 0, 0);
    assert_eq!(
        votes_asked(&solo, 1).last(),
        Some(&(solo.now, 7)),
        "nobody has voted for this master in epoch 7"
    );
}

#[test]
fn a_vote_is_free_per_master_whatever_the_current_epoch() {
    let mut solo = Solo::new(2, 2, &["monitor other 10.0.0.7 6379 2"]);
    assert_eq!(solo.asked(9, &peer_id(0)).1, peer_id(0));
    let request = ["SENTINEL", "is-master-down-by-addr", "10.0.0.7", "6379", "5", &peer_id(1)];
    let Some(Value::Array(answer)) = solo.ask(&request) else { panic!("no answer") };
    assert_eq!(answer[1..], [Value::Bulk(peer_id(1).into_bytes()), Value::Integer(5)]);
    assert_eq!(solo.asked(5, &peer_id(1)), (0, peer_id(0), 9), "not where it was given in a higher one");
}

#[test]
fn no_vote_is_given_below_the_epoch_of_the_configuration() {
    let mut solo = Solo::new(2, 2, &[]);
    solo.hello(0, 6, 1, 6);
    let host = node(1);
    let request = ["SENTINEL", "is-master-down-by-addr", &host, "6379", "6", &peer_id(1)];
    let Some(Value::Array(answer)) = solo.ask(&request) else { panic!("no answer") };
    assert_eq!(answer[1], Value::Bulk(b"*".to_vec()));
}

#[test]
fn a_candidate_that_votes_for_another_gives_its_own_candidacy_up() {
    let mut solo = standing(&[]);
    assert_eq!(solo.asked(2, &peer_id(0)), (1, peer_id(0), 2));
    assert_eq!(solo.at("-failover-abort-not-elected"), Some(solo.now));
    solo.elect(2, 1);
    assert_eq!(solo.count("+elected-leader"), 0);
}

#[test]
fn elections_of_several_masters_that_start_together_share_one_epoch() {
    let mut options = Vec::new();
    for n in 5..9 {
        options.push(format!("monitor m{n} {} 6379 2", node(n)));
        options.push(format!("down-after-milliseconds m{n} 1000"));
        options.extend((0..2).map(|p| format!("known-sentinel m{n} {} 26379 {}", peer(p), peer_id(p))));
    }
    let options: Vec<&str> = options.iter().map(String::as_str).collect();
    let mut solo = Solo::new(2, 2, &options);
    for n in 5..9 {
        solo.up.insert(node(n));
        solo.infos.insert(node(n), super::solo::master_info(n, 100));
    }
    solo.run(300);
    solo.agree(2);
    for n in [0, 5, 6, 7, 8] {
        solo.kill(&node(n));
        solo.run(3);
    }
    // Votes are slow to come, so that all are candidates before the first is elected.
    while solo.count("+odown") < 5 {
        solo.run(1);
    }
    solo.answers.clear();
    solo.run(60);
    assert_eq!((solo.count("+try-failover"), solo.count("+new-epoch")), (5, 1));
    assert!(votes_asked(&solo, 0).iter().all(|v| v.1 == 1));
    solo.elect(2, 1);
    assert_eq!(solo.count("+elected-leader"), 5);
    assert!(solo.lines.contains(&"sentinel current-epoch 1".to_string()));
}

/// Those that come after us may know already that the first one is gone, and would stand when we do.
#[test]
fn our_turn_comes_when_those_before_us_are_found_to_be_gone() {
    let mut solo = agreed(&[]);
    solo.run(5);
    assert_eq!(solo.count("+try-failover"), 0, "it is the turn of the one with the smaller id");
    solo.kill(&peer(0));
    solo.run(1);
    assert_eq!(solo.count("+try-failover"), 1);
}

#[test]
fn a_master_that_comes_back_ends_the_election_and_flapping_is_damped() {
    let mut solo = agreed(&["failover-timeout m 60000"]);
    let mut delays = Vec::new();
    for round in 0..4 {
        let odown_at = solo.now;
        delays.push(solo.run_to("+try-failover") - odown_at);
        solo.up.insert(node(0));
        solo.run_to("-odown");
        assert_eq!(solo.count("-failover-abort-not-elected"), round + 1);
        // It answers for less than down-after and is gone again.
        solo.run(300);
        solo.kill(&node(0));
        solo.run_to("+odown");
    }
    assert_eq!(delays[0], 25, "the first time, the turn alone");
    for (n, delay) in delays[1..].iter().enumerate() {
        let least = 1_000 << n;
        assert!((least..=least * 3 / 2 + 25).contains(delay), "{delays:?}");
    }
    // Served for longer than down-after, it begins anew.
    solo.up.insert(node(0));
    solo.run_to("-odown");
    solo.run(2_000);
    solo.kill(&node(0));
    let odown_at = solo.run_to("+odown");
    assert_eq!(solo.run_to("+try-failover"), odown_at + 25);
}
