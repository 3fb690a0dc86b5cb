//! A deployment played by hand where chance would take too long to find the moment.

use super::super::mistakes::{Mistake, Planted};
use super::super::tests::{Stage, ms, refused, settings, vouched};
use crate::core::types::{Answer, Hint, Input, NodeRole, Output};

/// Two failovers in quick succession, of which each Sentinel learns at its own time, and one question that takes 73 ms.
///
/// Host A holds by Sentinels 0 and 2, whose last vouches for it were at 0 ms. Sentinel 1, which last vouched for A at
/// -70 ms and has named B since, vouches for B at 380 ms, learns of the next failover, back to A, and vouches for A at
/// 382 ms. Sentinel 0 has learnt of the first failover alone and gets B's question of that same round at 453 ms. So B
/// has a majority, each of which vouched for A 450 ms ago or more; and A, if age did not matter for going on, would
/// have gone on at 382 ms by Sentinels 1 and 2. Whether both hold at the end.
fn both_hold_after_two_quick_failovers(planted: Planted) -> bool {
    let mut a = Stage::new(settings(), None);
    let start = a.now;
    a.holder.planted = planted;
    a.says = vec![vouched(5, 60_000); 3];
    // Its rounds begin every 100 ms, so that one begins at 0 ms.
    a.run(1000);
    let zero = start + ms(1000);
    a.says = vec![None; 3];
    a.run(378);
    assert!(a.holds(), "the lease of the round at 0 ms lasts until 400 ms");
    assert_eq!(a.holder.proof.map(|proof| proof.until), Some(zero + ms(400)));

    let mut b = Stage::new(settings(), None);
    b.holder.planted = planted;
    b.role = Some(NodeRole::Replica);
    b.now = zero;
    b.give(Input::Hint(Hint::Odown));
    b.run(375);
    // At 379 ms B's node has become a master, and B asks.
    b.role = Some(NodeRole::Master);
    b.run(4);
    b.out.clear();
    b.give(Input::Hint(Hint::SwitchMaster));
    b.run(1);
    let round = round_of(&b);
    b.give(Input::Sentinel { round, sentinel: 1, answer: vouched(6, 450).unwrap() });

    // A hint makes A ask at 382 ms.
    a.run(2);
    a.says = vec![None, vouched(7, 2), vouched(7, 60_000)];
    a.give(Input::Hint(Hint::SwitchMaster));
    a.run(6);

    b.run(453 - 380);
    let answer: Answer = vouched(6, 453).unwrap();
    b.give(Input::Sentinel { round, sentinel: 0, answer });
    b.run(1);
    a.run(68);
    assert!(b.holds(), "B's proof is good by all rules");
    a.holds()
}

fn round_of(stage: &Stage) -> u64 {
    let asked = stage.out.iter().rev().find_map(|output| match output {
        Output::AskSentinel { round, .. } => Some(*round),
        _ => None,
    });
    asked.expect("the Sentinels are asked")
}

#[test]
fn a_renewal_without_the_age_rule_is_noticed() {
    assert!(both_hold_after_two_quick_failovers(Planted(Some(Mistake::NoAgeOnRenewal))));
    assert!(!both_hold_after_two_quick_failovers(Planted::default()));
}

/// The other side of that: being refused is no reason to forget the lease of before, nor to stretch it.
#[test]
fn refusals_without_another_name_let_the_lease_run_out() {
    let mut stage = Stage::new(settings(), None);
    stage.says = vec![vouched(5, 60_000); 3];
    stage.run(1000);
    stage.says = vec![refused(5, "tilt"); 3];
    stage.run(300);
    assert!(stage.holds());
    stage.run(100);
    assert!(!stage.holds());
}
