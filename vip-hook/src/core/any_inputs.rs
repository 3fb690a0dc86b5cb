//! Whatever comes in, in whatever order: a state machine that peers feed must not trip over any of it.

use std::net::SocketAddr;

use proptest::prelude::*;

use super::Holder;
use super::tests::{ms, settings};
use super::types::*;

fn any_answer() -> impl Strategy<Value = Answer> {
    let port = prop_oneof![Just(6379), any::<u16>()];
    prop_oneof![
        (0..4u64, 0..2000u64).prop_map(|(epoch, other)| Answer::Vouched { epoch, other: ms(other) }),
        (any::<u64>(), any::<u64>()).prop_map(|(epoch, other)| Answer::Vouched { epoch, other: ms(other) }),
        (0..4u64, "other-master( 10.0.0.[0-9])?( [0-9]{1,6})?|tilt|.{0,9}")
            .prop_map(|(epoch, reason)| Answer::Refused { epoch, reason }),
        (0..4u8, port, 0..4u64).prop_map(|(last, port, epoch)| {
            Answer::Names { address: SocketAddr::from(([10, 0, 0, last], port)), epoch }
        }),
        Just(Answer::Nothing("no answer".into())),
    ]
}

fn any_input() -> impl Strategy<Value = Input> {
    let role = prop_oneof![
        4 => Just(NodeRole::Master),
        1 => Just(NodeRole::Replica),
        1 => Just(NodeRole::Gone),
        1 => Just(NodeRole::Unknown("LOADING".into())),
    ];
    let index = 0..3usize;
    let state = (any::<bool>(), any::<bool>(), any::<bool>());
    let action = prop_oneof![
        Just(Action::Hold { until: ms(1_000_400) }),
        Just(Action::Drop),
        Just(Action::Announce),
        Just(Action::Probe),
    ];
    prop_oneof![
        8 => (0..40u64, role).prop_map(|(round, role)| Input::Node { round, role }),
        16 => (0..40u64, 0..4usize, any_answer())
            .prop_map(|(round, sentinel, answer)| Input::Sentinel { round, sentinel, answer }),
        1 => (0..4usize).prop_map(|sentinel| Input::SentinelReconnected { sentinel }),
        2 => Just(Input::Hint(Hint::Odown)),
        2 => Just(Input::Hint(Hint::SwitchMaster)),
        2 => (index.clone(), state).prop_map(|(index, (link_up, present, ours))| {
            Input::Address { index, state: AddressState { link_up, present, ours } }
        }),
        1 => index.clone().prop_map(|index| Input::Claimed { index, by: [2; 6] }),
        1 => any::<bool>().prop_map(Input::Maintenance),
        1 => Just(Input::Leave { why: "the end" }),
        1 => Just(Input::Release),
        4 => (index.clone(), action.clone()).prop_map(|(index, what)| Input::Done { index, what }),
        2 => (index, action).prop_map(|(index, what)| Input::Failed { index, what, error: "EPERM".into() }),
    ]
}

proptest! {
    /// Whatever comes, also answers to what was never asked: it does not panic, it holds by a lease that is not over,
    /// and it does not ask to be woken for nothing.
    #[test]
    fn any_inputs_in_any_order(
        inputs in proptest::collection::vec((0..60u64, any_input()), 0..200),
        conflict_releases in any::<bool>(),
    ) {
        let on_conflict = if conflict_releases { OnConflict::Release } else { OnConflict::Defend };
        let mut now = ms(1_000_000);
        let mut holder = Holder::new(Settings { on_conflict, ..settings() }, None, now);
        for (span, input) in inputs {
            now += ms(span);
            holder.handle(now, input);
            let mut turns = 0;
            loop {
                while let Some(output) = holder.poll() {
                    if let Output::Platform { action: Action::Hold { until }, .. } = output {
                        prop_assert!(until > now && until <= now + ms(400));
                    }
                }
                let view = holder.view(now);
                prop_assert!(!view.holds || view.remaining.is_some_and(|left| left > ms(0)));
                if holder.next_wake() > now {
                    break;
                }
                turns += 1;
                prop_assert!(turns < 5, "always due");
                holder.tick(now);
            }
        }
    }
}
