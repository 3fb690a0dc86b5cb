//! What one holder does, by the word of its node, its Sentinels and its platform; `stage` plays these.

mod stage;

use std::net::IpAddr;
use std::time::Duration;

use super::types::*;
use stage::{NOT_THERE, names};
pub(super) use stage::{Stage, ms, refused, settings, virtual_address, vouched};

/// A reload keeps all three Sentinels.
const ALL: [Option<usize>; 3] = [Some(0), Some(1), Some(2)];
const LEFT: AddressState = AddressState { link_up: true, present: true, ours: true };

fn dropped(stage: &Stage) -> bool {
    stage.actions().contains(&Action::Drop)
}

#[test]
fn takes_when_a_majority_vouches_and_renews_every_quarter_of_the_lease() {
    let mut stage = Stage::new(settings(), None);
    stage.says = vec![vouched(7, 60_000), None, vouched(7, 450)];
    stage.run(2);
    assert!(stage.holds());
    assert_eq!(stage.count(|output| *output == Output::Persist { epoch: 7 }), 1);
    stage.run(300);
    let asked = stage.actions().iter().filter(|action| **action == Action::Probe).count();
    assert_eq!(asked, 5, "for a tenth of a second it is asked whether anybody else answers");
    stage.out.clear();
    stage.run(1000);
    let holds = stage.actions().iter().filter(|action| matches!(action, Action::Hold { .. })).count();
    assert_eq!(holds, 10);
    assert!(stage.why().contains("2 of 3 Sentinels name it in epoch 7"), "{}", stage.why());
}

#[test]
fn a_replica_learns_of_epochs_so_that_its_turn_does_not_wait_for_them() {
    let mut stage = Stage::new(settings(), Some(7));
    stage.role = Some(NodeRole::Replica);
    stage.says = vec![vouched(9, 60_000); 3];
    stage.run(1000);
    assert_eq!(stage.count(|output| *output == Output::Persist { epoch: 9 }), 1);
    // The deployment is built anew.
    stage.says = vec![vouched(1, 60_000); 3];
    stage.run(11_000);
    assert_eq!(stage.count(|output| *output == Output::Persist { epoch: 1 }), 1);
    assert_eq!(stage.count(|output| matches!(output, Output::AskSentinel { .. })), 0);
    let looks = stage.count(|output| matches!(output, Output::LookAtSentinel { .. }));
    assert!((3 * 18..=3 * 25).contains(&looks), "{looks} in twelve seconds");
    stage.role = Some(NodeRole::Master);
    stage.give(Input::Hint(Hint::SwitchMaster));
    stage.run(10);
    assert!(stage.holds(), "{}", stage.why());
}

#[test]
fn a_proof_counts_from_its_first_question() {
    let mut stage = Stage::holding(settings());
    stage.says = vec![None; 3];
    let (round, began) = loop {
        stage.run(1);
        if let Some(Output::AskNode { round }) = stage.out.last() {
            break (*round, stage.now);
        }
        if let Some(Output::AskSentinel { round, .. }) = stage.out.last() {
            break (*round, stage.now);
        }
    };
    stage.out.clear();
    stage.run(70);
    for sentinel in 0..2 {
        let answer = vouched(1, 60_000).unwrap();
        stage.give(Input::Sentinel { round, sentinel, answer });
    }
    assert_eq!(stage.actions(), [Action::Hold { until: began + ms(400) }]);
}

#[test]
fn lets_go_a_little_before_the_lease_ends_and_says_so_once_all_is_off() {
    let mut stage = Stage::holding(settings());
    let until = stage.now + stage.holder.view(stage.now).remaining.unwrap();
    stage.says = vec![None; 3];
    stage.run((until - stage.now).as_millis() as u64 - 17);
    assert!(stage.holds());
    stage.run(3);
    assert!(!stage.holds() && dropped(&stage));
    assert_eq!(stage.released(), 1);
    assert!(stage.now < until);
}

#[test]
fn a_process_that_stood_still_drops_before_it_reads_what_waits() {
    let mut stage = Stage::holding(settings());
    stage.out.clear();
    stage.says = vec![None; 3];
    stage.run(100);
    let rounds = stage.out.iter().rev().find_map(|output| match output {
        Output::AskSentinel { round, .. } => Some(*round),
        _ => None,
    });
    stage.out.clear();
    stage.now += Duration::from_secs(10);
    for sentinel in 0..3 {
        stage.holder.handle(
            stage.now,
            Input::Sentinel { round: rounds.unwrap(), sentinel, answer: vouched(1, 60_000).unwrap() },
        );
    }
    stage.settle();
    assert!(!stage.holds());
    assert_eq!(stage.actions(), [Action::Drop]);
}

#[test]
fn a_replica_lets_go_at_once_and_so_does_one_whose_node_is_gone() {
    for role in [NodeRole::Replica, NodeRole::Gone] {
        let mut stage = Stage::holding(settings());
        stage.role = Some(role);
        stage.give(Input::Hint(Hint::Other));
        stage.run(6);
        assert!(!stage.holds() && dropped(&stage) && stage.released() > 0);
    }
}

#[test]
fn a_hung_node_costs_the_lease_and_no_more() {
    let mut stage = Stage::holding(settings());
    stage.role = None;
    stage.run(250);
    assert!(stage.holds());
    stage.run(150);
    assert!(!stage.holds() && dropped(&stage));
    assert!(stage.logged("does not say its role") > 0, "{:?}", stage.out);
}

#[test]
fn others_named_by_so_many_that_no_majority_is_left_end_it_at_once() {
    let mut stage = Stage::holding(settings());
    stage.says[0] = refused(2, "other-master 10.0.0.3 6379");
    stage.run(110);
    assert!(stage.holds(), "one of three is not enough");
    stage.says[1] = refused(2, "other-master 10.0.0.3 6379");
    stage.give(Input::Hint(Hint::SwitchMaster));
    stage.run(6);
    assert!(!stage.holds() && dropped(&stage) && stage.released() > 0);
}

#[test]
fn a_young_vote_makes_the_next_round_due_when_it_is_old_enough() {
    let mut stage = Stage::new(settings(), None);
    stage.says = vec![vouched(1, 450), vouched(1, 150), None];
    stage.give(Input::Hint(Hint::Odown));
    stage.run(90);
    // The old owner's release reaches this Sentinel: nobody waits for the age any more.
    stage.says[1] = vouched(1, 60_000);
    stage.run(26);
    assert!(stage.holds(), "{}", stage.why());
}

#[test]
fn a_classic_sentinel_counts_from_its_first_answer_in_one_epoch_over_one_connection() {
    let mut stage = Stage::new(settings(), None);
    stage.says = vec![names(1, 3), names(1, 3), None];
    stage.run(449);
    assert!(!stage.holds());
    stage.run(2);
    assert!(stage.holds());
    // Another was master between two answers, though neither names it.
    stage.says = vec![names(1, 5), names(1, 5), None];
    stage.run(430);
    assert!(!stage.holds());
    stage.run(450);
    assert!(stage.holds());
    stage.give(Input::SentinelReconnected { sentinel: 0 });
    stage.run(430);
    assert!(!stage.holds(), "it may be another process with another idea");
    stage.run(450);
    assert!(stage.holds());
}

#[test]
fn a_classic_sentinel_that_takes_anothers_place_begins_its_own_series() {
    let mut stage = Stage::new(settings(), None);
    stage.says = vec![names(1, 3), None, None];
    stage.run(1);
    let asked = stage.holder.rounds.current().expect("two have not answered").id;
    // The list changes while an answer of the one that goes is under way.
    stage.holder.reload(stage.now, settings(), &[Some(0), None, Some(2)]);
    stage.settle();
    stage.give(Input::Sentinel { round: asked, sentinel: 1, answer: names(1, 3).unwrap() });
    stage.run(200);
    stage.says[1] = names(1, 3);
    stage.run(440);
    assert!(!stage.holds(), "the new one has named this host for less than a lease");
    stage.run(300);
    assert!(stage.holds());
}

#[test]
fn a_vote_of_an_older_epoch_counts_for_nothing_also_after_a_restart() {
    let mut stage = Stage::new(settings(), Some(9));
    stage.says = vec![vouched(8, 60_000), vouched(8, 60_000), vouched(9, 60_000)];
    stage.run(1000);
    assert!(!stage.holds());
    for words in ["2 named an epoch older", "take those out of the list that are no more"] {
        assert!(stage.why().contains(words), "{}", stage.why());
    }
    // All agree: the deployment was rebuilt. Ten seconds tell it from Sentinels that are about to be corrected.
    stage.says = vec![vouched(8, 60_000); 3];
    stage.run(9_900);
    assert!(!stage.holds());
    stage.run(300);
    assert!(stage.holds());
    assert_eq!(stage.count(|output| *output == Output::Persist { epoch: 8 }), 1);
}

#[test]
fn asks_under_the_address_that_the_sentinels_know() {
    let mut stage = Stage::new(settings(), None);
    stage.says = vec![refused(1, "other-master 10.0.0.1 6379"); 3];
    stage.run(20);
    let asked = stage.out.iter().rev().find_map(|output| match output {
        Output::AskSentinel { address, .. } => Some(*address),
        _ => None,
    });
    assert_eq!(asked, Some(IpAddr::from([10, 0, 0, 1])));
    assert!(!stage.why().contains("named another host"), "{}", stage.why());
}

#[test]
fn a_slow_sentinel_delays_neither_the_proof_nor_the_round_that_a_hint_wants() {
    let mut stage = Stage::holding(settings());
    stage.says = vec![refused(1, "tilt"), None, None];
    stage.run(101);
    stage.out.clear();
    stage.give(Input::Hint(Hint::SwitchMaster));
    stage.says = vec![vouched(1, 60_000), vouched(1, 60_000), None];
    stage.run(25);
    assert!(stage.actions().iter().any(|action| matches!(action, Action::Hold { .. })), "{:?}", stage.out);
}

#[test]
fn hints_without_end_do_not_keep_a_round_from_its_end() {
    let mut stage = Stage::new(settings(), None);
    stage.says = vec![None; 3];
    let mut answered = 0;
    for _ in 0..400 {
        stage.give(Input::Hint(Hint::Other));
        stage.run(1);
        // The Sentinels take 60 ms, longer than a round is left that a hint cuts short.
        let late = stage.now - ms(60);
        let asked = stage.holder.rounds.current();
        if let Some(round) = asked.filter(|round| round.began <= late) {
            answered += 1;
            for sentinel in 0..2 {
                let answer = vouched(1, 60_000).unwrap();
                stage.give(Input::Sentinel { round: round.id, sentinel, answer });
            }
        }
    }
    assert!(answered >= 3 && stage.holds(), "{answered}");
}

#[test]
fn announces_five_times_and_anew_when_the_link_comes_up() {
    let mut stage = Stage::holding(settings());
    stage.run(6000);
    // The first two are sent.
    assert_eq!(stage.actions().iter().filter(|action| **action == Action::Announce).count(), 3);
    stage.give(Input::Address { index: 0, state: AddressState { link_up: false, ..LEFT } });
    stage.out.clear();
    stage.give(Input::Address { index: 0, state: LEFT });
    stage.run(6000);
    assert_eq!(stage.actions().iter().filter(|action| **action == Action::Announce).count(), 5);
}

#[test]
fn what_was_let_go_of_meanwhile_is_not_announced() {
    let addresses = vec![virtual_address(100), virtual_address(101)];
    let two = Settings { addresses, on_conflict: OnConflict::Release, ..settings() };
    let mut stage = Stage::new(two, None);
    stage.says = vec![vouched(1, 60_000); 3];
    stage.run(99);
    stage.now += ms(1);
    stage.holder.tick(stage.now);
    let hold = |index| move |output: &Output| matches!(output, Output::Platform { index: i, action: Action::Hold { .. } } if *i == index);
    let next = |stage: &mut Stage, wanted: &dyn Fn(&Output) -> bool| {
        std::iter::from_fn(|| stage.holder.poll()).any(|output| wanted(&output))
    };
    let what = Action::Hold { until: stage.now + ms(300) };
    assert!(next(&mut stage, &hold(0)));
    stage.holder.handle(stage.now, Input::Done { index: 0, what });
    assert!(next(&mut stage, &hold(1)));
    // The kernel takes longer for the second than the lease lasts.
    stage.now += ms(500);
    stage.holder.handle(stage.now, Input::Done { index: 1, what });
    stage.settle();
    assert_eq!(
        stage.actions().into_iter().filter(|action| *action != Action::Probe).collect::<Vec<_>>(),
        [Action::Drop; 2]
    );
}

#[test]
fn a_failed_announcement_shows_and_is_repeated_with_the_next_round() {
    let mut stage = Stage::holding(settings());
    stage.run(150);
    stage.out.clear();
    let failed = |stage: &mut Stage| {
        stage.give(Input::Failed { index: 0, what: Action::Announce, error: "ENETDOWN".into() });
    };
    failed(&mut stage);
    assert_eq!(stage.logged("cannot be announced: ENETDOWN"), 1);
    stage.out.clear();
    stage.run(101);
    assert_eq!(stage.actions().iter().filter(|action| **action == Action::Announce).count(), 1);
    for _ in 0..50 {
        failed(&mut stage);
        stage.run(100);
    }
    assert_eq!(stage.logged("cannot be announced"), 0, "one line in ten seconds");
}

#[test]
fn a_wiped_address_is_put_back_at_once_and_a_flood_of_it_bounded() {
    let mut stage = Stage::holding(settings());
    stage.give(Input::Address { index: 0, state: LEFT });
    stage.run(10);
    stage.out.clear();
    stage.give(Input::Address { index: 0, state: NOT_THERE });
    assert!(matches!(stage.actions()[..], [Action::Hold { .. }, Action::Announce]), "{:?}", stage.out);
    for _ in 0..1000 {
        stage.give(Input::Address { index: 0, state: LEFT });
        stage.give(Input::Address { index: 0, state: NOT_THERE });
        stage.run(1);
    }
    let restored = stage.actions().iter().filter(|action| matches!(action, Action::Hold { .. })).count();
    assert!((50..=62).contains(&restored), "one each 20 ms beside the renewals: {restored}");
    assert_eq!(stage.logged("by another program"), 1);
}

#[test]
fn a_failed_drop_is_repeated_loudly_and_nothing_is_released_before_it_is_done() {
    let mut stage = Stage::holding(settings());
    stage.failure = Some("EBUSY".into());
    stage.give(Input::Maintenance(true));
    stage.run(201);
    let drops = stage.actions().iter().filter(|action| **action == Action::Drop).count();
    assert_eq!(drops, 6, "at once, at once again, and then every 50 ms");
    assert!(stage.logged("cannot be removed") == 1 && stage.released() == 0 && !stage.holder.settled());
    stage.failure = None;
    stage.run(51);
    assert!(stage.released() > 0 && stage.holder.settled());
}

#[test]
fn a_leftover_is_adopted_by_a_proof_and_else_removed() {
    let mut stage = Stage::new(settings(), None).found(LEFT);
    stage.says = vec![vouched(1, 60_000); 3];
    stage.settle();
    assert!(stage.holds() && !dropped(&stage), "a restarted agent goes on without asking the network");

    let mut stage = Stage::new(settings(), None).found(LEFT);
    stage.role = Some(NodeRole::Replica);
    stage.settle();
    assert!(dropped(&stage));

    let mut stage = Stage::new(settings(), None).found(AddressState { ours: false, ..LEFT });
    stage.role = Some(NodeRole::Replica);
    stage.run(1000);
    assert!(!dropped(&stage), "what others added is not removed");
    stage.role = Some(NodeRole::Master);
    stage.says = vec![vouched(1, 60_000); 3];
    stage.failure = Some("the address is there and not ours".into());
    stage.run(1000);
    assert!(stage.holds() && stage.logged("cannot be held") == 1);
    stage.give(Input::Maintenance(true));
    assert!(!dropped(&stage) && stage.holder.settled(), "neither when it could not be held");
}

#[test]
fn a_leftover_that_a_proof_did_not_take_up_goes_with_that_proof() {
    let addresses = vec![virtual_address(100), virtual_address(101)];
    let two = Settings { addresses, on_conflict: OnConflict::Release, ..settings() };
    let mut stage = Stage::new(two, None);
    stage.says = vec![vouched(1, 60_000); 3];
    stage.holder.handle(stage.now, Input::Address { index: 0, state: LEFT });
    stage.holder.handle(stage.now, Input::Address { index: 1, state: NOT_THERE });
    stage.run(50);
    assert!(
        !stage.holds() && !dropped(&stage),
        "it is being asked whether anybody answers for the other one"
    );
    stage.role = Some(NodeRole::Replica);
    stage.give(Input::Hint(Hint::Other));
    stage.run(200);
    assert!(dropped(&stage) && stage.holder.settled(), "{:?}", stage.out);
}

#[test]
fn that_a_failure_is_over_is_told_where_the_failure_was() {
    let mut stage = Stage::new(settings(), None).found(NOT_THERE);
    stage.says = vec![vouched(1, 60_000); 3];
    stage.failure = Some("interface eth0 is not there".into());
    stage.run(1000);
    assert_eq!((stage.logged("cannot be held"), stage.logged("is held now")), (1, 0));
    stage.failure = None;
    stage.run(1000);
    assert_eq!(stage.logged("is held now"), 1, "{:?}", stage.out);
}

#[test]
fn who_leaves_lets_go_and_does_not_speak_of_maintenance() {
    let mut stage = Stage::new(settings(), None).found(NOT_THERE);
    stage.says = vec![vouched(1, 60_000); 3];
    stage.run(1000);
    assert!(stage.holds());
    stage.give(Input::Leave { why: "the agent ends" });
    assert_eq!((stage.logged("the agent ends"), stage.logged("aintenance")), (1, 0));
    stage.run(1000);
    assert!(!stage.holds() && stage.holder.settled(), "{:?}", stage.out);
}

#[test]
fn nothing_is_released_while_a_predecessor_may_have_left_something() {
    for known in [false, true] {
        let mut stage = Stage::new(settings(), None);
        if known {
            stage = stage.found(NOT_THERE);
        }
        stage.says = vec![vouched(1, 60_000); 3];
        stage.run(10);
        stage.role = Some(NodeRole::Replica);
        stage.run(400);
        assert_eq!(stage.released() > 0, known, "{:?}", stage.out);
        stage.run(400);
        assert_eq!(stage.released(), 1);
    }
}

#[test]
fn maintenance_and_release_let_go_and_ask_no_sentinel() {
    let mut stage = Stage::holding(settings());
    stage.give(Input::Release);
    assert!(!stage.holds() && dropped(&stage) && stage.released() > 0);
    stage.out.clear();
    stage.run(2000);
    assert_eq!(stage.count(|output| matches!(output, Output::AskSentinel { .. })), 0);
    // Another was master in between.
    stage.role = Some(NodeRole::Replica);
    stage.run(300);
    stage.role = Some(NodeRole::Master);
    stage.run(500);
    assert!(stage.holds());
    stage.give(Input::Maintenance(true));
    stage.run(1000);
    assert!(!stage.holds() && stage.why().contains("maintenance is on"));
    stage.give(Input::Maintenance(false));
    stage.run(200);
    assert!(stage.holds());
}

#[test]
fn hold_goes_on_without_a_majority_until_one_names_another() {
    let mut stage = Stage::holding(Settings { on_quorum_loss: OnQuorumLoss::Hold, ..settings() });
    stage.says = vec![None, None, refused(2, "other-master 10.0.0.3 6379")];
    stage.run(5000);
    assert!(stage.holds() && stage.why().contains("another host may hold"), "{}", stage.why());
    stage.says[0] = refused(2, "other-master 10.0.0.3 6379");
    stage.run(210);
    assert!(!stage.holds());
    stage.says = vec![None; 3];
    stage.run(5000);
    assert!(!stage.holds(), "nothing is taken without a majority");
}

#[test]
fn holding_on_without_a_majority_is_told_when_it_begins_and_ends() {
    let mut stage = Stage::holding(Settings { on_quorum_loss: OnQuorumLoss::Hold, ..settings() });
    assert!(stage.holder.view(stage.now).remaining.is_some());
    stage.says = vec![None; 3];
    stage.run(5000);
    assert!(stage.holds() && stage.holder.view(stage.now).remaining.is_none(), "there is no proof");
    assert_eq!((stage.logged("stays all the same"), stage.logged("name this host again")), (1, 0));
    stage.says = vec![vouched(2, 60_000); 3];
    stage.run(1000);
    assert!(stage.holds() && stage.holder.view(stage.now).remaining.is_some());
    assert_eq!((stage.logged("stays all the same"), stage.logged("name this host again")), (1, 1));
}

#[test]
fn a_reload_touches_only_what_changes() {
    let mut stage = Stage::holding(settings());
    let two = Settings { addresses: vec![virtual_address(101), virtual_address(100)], ..settings() };
    stage.holder.reload(stage.now, two, &ALL);
    stage.settle();
    assert!(stage.holds() && !dropped(&stage));
    assert_eq!(stage.holder.address(1), Some(&virtual_address(101)));
    stage.out.clear();
    let one = Settings { addresses: vec![virtual_address(101)], ..settings() };
    stage.holder.reload(stage.now, one, &ALL);
    stage.settle();
    assert_eq!(stage.count(|o| *o == Output::Platform { index: 0, action: Action::Drop }), 1);
    assert_eq!(stage.count(|o| *o == Output::Platform { index: 1, action: Action::Drop }), 0);
    assert!(stage.holds() && stage.holder.address(0).is_none());
}

#[test]
fn what_classic_sentinels_said_outlasts_a_change_of_the_hosts_addresses_and_of_the_list() {
    let mut stage = Stage::new(settings(), None).found(NOT_THERE);
    stage.says = vec![names(1, 3); 3];
    stage.run(600);
    assert!(stage.holds());
    let mut more = settings();
    more.host_addresses.push(IpAddr::from([172, 17, 0, 1]));
    stage.holder.reload(stage.now, more.clone(), &ALL);
    stage.run(1000);
    assert!(stage.holds() && !dropped(&stage), "an address more says nothing against the others");
    // Another comes first in the list.
    let four = Settings { sentinels: 4, ..more };
    stage.holder.reload(stage.now, four, &[None, Some(0), Some(1), Some(2)]);
    stage.says = vec![None, names(1, 3), names(1, 3), names(1, 3)];
    stage.run(1000);
    assert!(stage.holds() && !dropped(&stage), "three of four have named this host without a break");
    // What they name is another host's address now.
    let other = Settings { host_addresses: vec![IpAddr::from([192, 168, 0, 1])], sentinels: 4, ..settings() };
    stage.holder.reload(stage.now, other, &[Some(0), Some(1), Some(2), Some(3)]);
    stage.run(10);
    assert!(!stage.holds());
}

#[test]
fn a_claim_is_logged_defended_once_in_ten_seconds_and_makes_a_round_due() {
    let mut stage = Stage::holding(settings());
    stage.run(6000);
    stage.out.clear();
    for _ in 0..9000 {
        stage.give(Input::Claimed { index: 0, by: [2, 0, 0, 0, 0, 9] });
        stage.run(1);
    }
    assert_eq!(stage.actions().iter().filter(|action| **action == Action::Announce).count(), 1);
    assert_eq!(stage.logged("02:00:00:00:00:09 answers for 10.0.0.100"), 1);
    assert!(stage.count(|output| matches!(output, Output::AskNode { .. })) > 1000 && stage.holds());
}

#[test]
fn where_conflicts_release_nobody_must_have_answered_for_a_tenth_of_a_second() {
    let mut stage = Stage::new(Settings { on_conflict: OnConflict::Release, ..settings() }, None);
    stage.says = vec![vouched(7, 60_000); 3];
    stage.run(99);
    assert!(!stage.holds());
    stage.run(2);
    assert!(stage.holds());
    assert_eq!(stage.actions().iter().filter(|action| **action == Action::Probe).count(), 5);
}

#[test]
fn a_claim_ends_it_where_conflicts_release_until_nobody_answers() {
    let mut stage = Stage::holding(Settings { on_conflict: OnConflict::Release, ..settings() });
    let by = [2, 0, 0, 0, 0, 9];
    stage.give(Input::Claimed { index: 0, by });
    assert!(!stage.holds() && dropped(&stage));
    stage.out.clear();
    let mut answered = 0;
    for _ in 0..3500 {
        stage.run(1);
        let asked = stage.actions().iter().filter(|action| **action == Action::Probe).count();
        if asked > answered {
            answered = asked;
            stage.give(Input::Claimed { index: 0, by });
        }
        assert!(!stage.holds());
    }
    assert_eq!(answered, 3);
    assert!(stage.why().contains("02:00:00:00:00:09"), "{}", stage.why());
    stage.run(700);
    assert!(stage.holds());
}
