//! One holder on a stage: the test plays its node, its Sentinels, its platform and the clock.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::super::Holder;
use super::super::types::*;

/// What surrounds one holder. Its host is 10.0.0.1:6379, there are three Sentinels, and the platform does at once
/// what it is told.
pub(in crate::core) struct Stage {
    pub(in crate::core) holder: Holder,
    pub(in crate::core) now: Now,
    /// What came out, but for what the stage answered by itself.
    pub(in crate::core) out: Vec<Output>,
    /// Answers to the node's questions.
    pub(in crate::core) role: Option<NodeRole>,
    /// Answers to the Sentinels' questions.
    pub(in crate::core) says: Vec<Option<Answer>>,
    /// Why the platform fails.
    pub(in crate::core) failure: Option<String>,
}

pub(in crate::core) fn ms(ms: u64) -> Now {
    Duration::from_millis(ms)
}

pub(in crate::core) fn virtual_address(last: u8) -> VirtualAddress {
    VirtualAddress { address: IpAddr::from([10, 0, 0, last]), prefix_len: 32, interface: "eth0".into() }
}

pub(in crate::core) fn settings() -> Settings {
    Settings {
        master: "mymaster".into(),
        host_addresses: vec![IpAddr::from([192, 168, 0, 1]), IpAddr::from([10, 0, 0, 1])],
        port: 6379,
        sentinels: 3,
        addresses: vec![virtual_address(100)],
        lease: ms(400),
        on_quorum_loss: OnQuorumLoss::Release,
        on_conflict: OnConflict::Defend,
        announce_interval: Duration::from_secs(60),
    }
}

pub(in crate::core) fn vouched(epoch: u64, other_ms: u64) -> Option<Answer> {
    Some(Answer::Vouched { epoch, other: ms(other_ms) })
}

pub(in crate::core) fn refused(epoch: u64, reason: &str) -> Option<Answer> {
    Some(Answer::Refused { epoch, reason: reason.into() })
}

pub(super) fn names(last: u8, epoch: u64) -> Option<Answer> {
    Some(Answer::Names { address: SocketAddr::from(([10, 0, 0, last], 6379)), epoch })
}

/// The address is not on its interface.
pub(super) const NOT_THERE: AddressState = AddressState { link_up: true, present: false, ours: false };

impl Stage {
    pub(in crate::core) fn new(settings: Settings, epoch: Option<u64>) -> Stage {
        let now = ms(1_000_000);
        Stage {
            says: vec![None; settings.sentinels],
            holder: Holder::new(settings, epoch, now),
            now,
            out: Vec::new(),
            role: Some(NodeRole::Master),
            failure: None,
        }
    }

    /// Netlink's first news of the only address.
    pub(super) fn found(mut self, state: AddressState) -> Stage {
        self.holder.handle(self.now, Input::Address { index: 0, state });
        self
    }

    /// Everybody agrees, and the address is held.
    pub(super) fn holding(settings: Settings) -> Stage {
        let mut stage = Stage::new(settings, None).found(NOT_THERE);
        stage.says = vec![vouched(1, 60_000); 3];
        stage.run(300);
        assert!(stage.holder.view(stage.now).holds);
        stage.out.clear();
        stage
    }

    pub(in crate::core) fn give(&mut self, input: Input) {
        self.holder.handle(self.now, input);
        self.settle();
    }

    /// Lets time pass, in steps of a millisecond at most.
    pub(in crate::core) fn run(&mut self, span_ms: u64) {
        let end = self.now + ms(span_ms);
        self.holder.tick(self.now);
        self.settle();
        while self.now < end {
            let wake = self.holder.next_wake();
            self.now = if wake > self.now { wake.min(end).min(self.now + ms(1)) } else { self.now + ms(1) };
            self.holder.tick(self.now);
            self.settle();
        }
    }

    pub(in crate::core) fn settle(&mut self) {
        while let Some(output) = self.holder.poll() {
            let answer = match &output {
                Output::AskNode { round } => {
                    self.role.clone().map(|role| Input::Node { round: *round, role })
                }
                Output::AskSentinel { round, sentinel, .. } => self.says[*sentinel]
                    .clone()
                    .map(|answer| Input::Sentinel { round: *round, sentinel: *sentinel, answer }),
                Output::LookAtSentinel { round, sentinel } => {
                    let epoch = self.says[*sentinel].as_ref().and_then(Answer::epoch);
                    let answer = epoch.and_then(|epoch| names(9, epoch));
                    answer.map(|answer| Input::Sentinel { round: *round, sentinel: *sentinel, answer })
                }
                Output::Platform { index, action } => Some(match &self.failure {
                    Some(error) => Input::Failed { index: *index, what: *action, error: error.clone() },
                    None => Input::Done { index: *index, what: *action },
                }),
                _ => None,
            };
            self.out.push(output);
            if let Some(answer) = answer {
                self.holder.handle(self.now, answer);
            }
        }
    }

    pub(in crate::core) fn holds(&self) -> bool {
        self.holder.view(self.now).holds
    }

    pub(super) fn why(&self) -> String {
        self.holder.view(self.now).why
    }

    pub(super) fn count(&self, wanted: impl Fn(&Output) -> bool) -> usize {
        self.out.iter().filter(|output| wanted(output)).count()
    }

    pub(super) fn actions(&self) -> Vec<Action> {
        let action = |output: &Output| match output {
            Output::Platform { action, .. } => Some(*action),
            _ => None,
        };
        self.out.iter().filter_map(action).collect()
    }

    pub(super) fn logged(&self, words: &str) -> usize {
        self.count(|output| matches!(output, Output::Log { text, .. } if text.contains(words)))
    }

    pub(super) fn released(&self) -> usize {
        self.count(|output| matches!(output, Output::TellReleased { .. }))
    }
}
