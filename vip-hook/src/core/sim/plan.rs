//! What a seed decides before a run: the deployment, its weather, and what goes wrong when.

use rand::Rng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::time::{MS, SECOND, Us};
use crate::core::types::{OnConflict, OnQuorumLoss};

/// A deployment and its misfortunes.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) hosts: usize,
    pub(super) sentinels: Vec<SentinelPlan>,
    pub(super) addresses: usize,
    /// A host whose interface has the first address by somebody else's doing (it does not answer for it).
    pub(super) foreign: Option<usize>,
    pub(super) on_quorum_loss: OnQuorumLoss,
    pub(super) on_conflict: OnConflict,
    pub(super) down_on_refused: bool,
    pub(super) weather: Weather,
    pub(super) faults: Vec<(Us, Fault)>,
    /// No more faults from here on; what is broken is mended.
    pub(super) calm_from: Us,
    pub(super) end: Us,
}

/// One Sentinel.
#[derive(Clone, Debug)]
pub(super) struct SentinelPlan {
    /// The host it runs on; the others run elsewhere.
    pub(super) host: Option<usize>,
    /// It knows no VOUCH.
    pub(super) classic: bool,
}

/// How long things take. All are upper bounds of what is drawn anew each time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Weather {
    /// One way of a message, usually.
    pub(super) usual: Us,
    /// One way of a message, once in twenty times.
    pub(super) slow: Us,
    /// An answer of a Sentinel to the first host, once in three times, if that is not 0.
    pub(super) slow_answer: Us,
    /// How late a process looks at its clock, once in fifty times.
    pub(super) lateness: Us,
    /// How long the platform takes, once in twenty times.
    pub(super) platform: Us,
    /// Between two greetings of a Sentinel, by which the others learn of a switch.
    pub(super) greeting: Us,
    /// Of a hundred events and script calls, how many are lost.
    pub(super) lost_hints: u32,
    /// Whether an address must be held within a second: not where answers may take longer than is waited for them.
    pub(super) promises_holding: bool,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    CutFromSentinels {
        host: usize,
        lasts: Us,
    },
    CutFromClients {
        host: usize,
        lasts: Us,
    },
    CutFromAll {
        host: usize,
        lasts: Us,
    },
    AgentKilled {
        host: usize,
        lasts: Us,
        epoch_lost: bool,
    },
    AgentHangs {
        host: usize,
        lasts: Us,
    },
    NodeKilled {
        host: usize,
        lasts: Us,
    },
    NodeHangs {
        host: usize,
        lasts: Us,
    },
    SentinelRestarts {
        sentinel: usize,
        lasts: Us,
    },
    SentinelHangs {
        sentinel: usize,
        lasts: Us,
    },
    ConnectionLost {
        host: usize,
        sentinel: usize,
    },
    /// `SENTINEL REMOVE` and `MONITOR` of the same master at one, or at all: the epoch and the memory are gone.
    MonitoredAnew {
        sentinel: Option<usize>,
    },
    /// `SENTINEL FAILOVER` to some replica, at one Sentinel, without any detection.
    ManualFailover {
        sentinel: usize,
    },
    /// Another program removes the addresses.
    Wiped {
        host: usize,
    },
    PlatformFails {
        host: usize,
        lasts: Us,
    },
    Intruder {
        lasts: Us,
    },
    LinkFlaps {
        host: usize,
        lasts: Us,
    },
    /// A host's clock goes on from a later time, as after a suspension. The kernel's leases do not know.
    ClockJumps {
        host: usize,
        by: Us,
    },
    Maintenance {
        host: usize,
        lasts: Us,
    },
    Release {
        host: usize,
    },
    Reload {
        host: usize,
    },
}

/// Which kind of trouble a run concentrates on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Theme {
    /// Anything at any time.
    Mixed,
    /// An agent dies or stops at the moment at which the address has to go.
    WorstMoment,
    /// Manual failovers back and forth faster than a lease, told slowly.
    PingPong,
    /// Answers arrive long after they were given, and the holder dies with one just read.
    SlowAnswers,
    /// The address goes just after a host is back from a cut, while what TCP held back still arrives.
    AfterTheCut,
    /// Nothing but what operators do.
    Operator,
}

impl Plan {
    pub(super) fn draw(random: &mut Xoshiro256PlusPlus) -> Plan {
        let hosts = random.random_range(3..=5);
        let theme = match random.random_range(0..10) {
            0..4 => Theme::Mixed,
            4 | 5 => Theme::WorstMoment,
            6 => Theme::SlowAnswers,
            7 => Theme::PingPong,
            8 => Theme::AfterTheCut,
            _ => Theme::Operator,
        };
        let kind = random.random_range(0..4);
        let count = random.random_range(3..=5);
        let sentinels: Vec<SentinelPlan> = (0..count)
            .map(|index| SentinelPlan {
                host: (index < hosts && random.random_bool(0.7)).then_some(index),
                classic: match kind {
                    0 | 1 => false,
                    2 => true,
                    _ => random.random_bool(0.5),
                },
            })
            .collect();
        let weather = Weather::draw(random, theme);
        let calm_from = 6 * SECOND;
        let faults = draw_faults(random, theme, hosts, sentinels.len(), calm_from);
        Plan {
            hosts,
            sentinels,
            addresses: random.random_range(1..=2),
            foreign: random.random_ratio(1, 12).then(|| random.random_range(0..hosts)),
            on_quorum_loss: if random.random_ratio(1, 12) {
                OnQuorumLoss::Hold
            } else {
                OnQuorumLoss::Release
            },
            on_conflict: if random.random_ratio(1, 5) { OnConflict::Release } else { OnConflict::Defend },
            down_on_refused: random.random_bool(0.3),
            weather,
            faults,
            calm_from,
            end: calm_from + 6 * SECOND,
        }
    }
}

impl Weather {
    fn draw(random: &mut Xoshiro256PlusPlus, theme: Theme) -> Weather {
        let calm = Weather {
            usual: 400,
            slow: 2 * MS,
            slow_answer: 0,
            lateness: 2 * MS,
            platform: 2 * MS,
            greeting: 2 * SECOND,
            lost_hints: 10,
            promises_holding: true,
        };
        match random.random_range(0..4) {
            _ if theme == Theme::SlowAnswers => {
                Weather { slow_answer: 98 * MS, promises_holding: false, ..calm }
            }
            _ if theme == Theme::PingPong && random.random_bool(0.5) => {
                Weather { usual: 20 * MS, slow: 90 * MS, promises_holding: false, ..calm }
            }
            0 | 1 => calm,
            2 => Weather {
                usual: MS,
                slow: 20 * MS,
                lateness: 20 * MS,
                platform: 8 * MS,
                lost_hints: 50,
                ..calm
            },
            _ => Weather {
                usual: 5 * MS,
                slow: 120 * MS,
                lateness: 80 * MS,
                platform: 30 * MS,
                lost_hints: 90,
                promises_holding: false,
                ..calm
            },
        }
    }
}

fn draw_faults(
    random: &mut Xoshiro256PlusPlus,
    theme: Theme,
    hosts: usize,
    sentinels: usize,
    before: Us,
) -> Vec<(Us, Fault)> {
    let mut faults = Vec::new();
    let from = 1500 * MS;
    match theme {
        Theme::Mixed | Theme::Operator => {
            for _ in 0..random.random_range(1..=8) {
                let at = random.random_range(from..before);
                let fault = if theme == Theme::Mixed {
                    any(random, hosts, sentinels)
                } else {
                    by_operator(random, hosts, sentinels)
                };
                faults.push((at, fault));
            }
        }
        Theme::WorstMoment => {
            for _ in 0..random.random_range(1..=3) {
                let at = random.random_range(from..before);
                // Host 0 is the first master; the others may be it by then.
                let host = if random.random_bool(0.6) { 0 } else { random.random_range(0..hosts) };
                let lasts = random.random_range(20 * MS..2 * SECOND);
                let agent = match random.random_range(0..3) {
                    0 => Fault::AgentKilled { host, lasts, epoch_lost: random.random_bool(0.3) },
                    _ => Fault::AgentHangs { host, lasts },
                };
                let away = match random.random_range(0..5) {
                    0 => Fault::CutFromAll { host, lasts: random.random_range(100 * MS..4 * SECOND) },
                    1 => Fault::CutFromSentinels { host, lasts: random.random_range(100 * MS..4 * SECOND) },
                    2 => Fault::NodeKilled { host, lasts: random.random_range(100 * MS..3 * SECOND) },
                    _ => Fault::ManualFailover { sentinel: random.random_range(0..sentinels) },
                };
                faults.push((at, away));
                // One that is late with what it reads.
                if random.random_bool(0.4) {
                    let lasts = random.random_range(20 * MS..100 * MS);
                    faults.push((at - random.random_range(0..200 * MS), Fault::AgentHangs { host, lasts }));
                }
                // One that the new owner cannot ask.
                if random.random_bool(0.4) {
                    faults.push((at.saturating_sub(MS), Fault::CutFromClients { host, lasts: 2 * SECOND }));
                }
                faults.push(((at + random.random_range(0..120 * MS)).saturating_sub(40 * MS), agent));
            }
        }
        Theme::SlowAnswers => {
            for turn in 0..3 {
                let at = from + turn * 1500 * MS + random.random_range(100 * MS..SECOND);
                let host = if turn == 0 { 0 } else { random.random_range(0..2) };
                faults.push((at - MS, Fault::CutFromClients { host, lasts: SECOND }));
                faults.push((at, Fault::AgentKilled { host, lasts: SECOND, epoch_lost: false }));
                let switch = at - random.random_range(0..100 * MS);
                faults.push((switch, Fault::ManualFailover { sentinel: random.random_range(0..sentinels) }));
            }
        }
        Theme::AfterTheCut => {
            let at = random.random_range(from..before - 2 * SECOND);
            let host = if random.random_bool(0.8) { 0 } else { random.random_range(0..hosts) };
            let lasts = random.random_range(450 * MS..950 * MS);
            faults.push((at, Fault::CutFromSentinels { host, lasts }));
            let healed = at + lasts + random.random_range(0..600 * MS);
            faults.push((healed, Fault::ManualFailover { sentinel: random.random_range(0..sentinels) }));
            faults.push((healed - MS, Fault::CutFromClients { host, lasts: 2 * SECOND }));
            if random.random_bool(0.7) {
                faults.push((healed, Fault::AgentHangs { host, lasts: SECOND }));
            }
        }
        Theme::PingPong => {
            let mut at = from + random.random_range(0..SECOND);
            for _ in 0..random.random_range(2..=12) {
                faults.push((at, Fault::ManualFailover { sentinel: random.random_range(0..sentinels) }));
                if random.random_ratio(1, 4) {
                    let host = random.random_range(0..hosts);
                    faults.push((at, Fault::CutFromClients { host, lasts: 2 * SECOND }));
                }
                if random.random_ratio(1, 4) {
                    faults.push((at, any(random, hosts, sentinels)));
                }
                at += random.random_range(20 * MS..700 * MS);
            }
        }
    }
    faults.retain(|(at, _)| *at < before);
    faults.sort_by_key(|(at, _)| *at);
    faults
}

fn by_operator(random: &mut Xoshiro256PlusPlus, hosts: usize, sentinels: usize) -> Fault {
    let host = random.random_range(0..hosts);
    let lasts = random.random_range(50 * MS..2 * SECOND);
    match random.random_range(0..6) {
        0 | 1 => Fault::ManualFailover { sentinel: random.random_range(0..sentinels) },
        2 => Fault::Maintenance { host, lasts },
        3 => Fault::Release { host },
        4 => Fault::Reload { host },
        _ => Fault::AgentKilled { host, lasts: lasts / 10, epoch_lost: false },
    }
}

fn any(random: &mut Xoshiro256PlusPlus, hosts: usize, sentinels: usize) -> Fault {
    let host = random.random_range(0..hosts);
    let sentinel = random.random_range(0..sentinels);
    let lasts = match random.random_range(0..3) {
        0 => random.random_range(5 * MS..500 * MS),
        _ => random.random_range(100 * MS..4 * SECOND),
    };
    match random.random_range(0..23) {
        0 | 1 => Fault::CutFromSentinels { host, lasts },
        2 => Fault::CutFromClients { host, lasts },
        3 | 4 => Fault::CutFromAll { host, lasts },
        5 => Fault::AgentKilled { host, lasts, epoch_lost: random.random_bool(0.3) },
        6 | 7 => Fault::AgentHangs { host, lasts },
        8 => Fault::NodeKilled { host, lasts },
        9 => Fault::NodeHangs { host, lasts },
        10 => Fault::SentinelRestarts { sentinel, lasts: lasts / 4 },
        11 => Fault::SentinelHangs { sentinel, lasts: lasts / 2 },
        12 => Fault::ConnectionLost { host, sentinel },
        13 => Fault::MonitoredAnew { sentinel: (!random.random_ratio(1, 4)).then_some(sentinel) },
        14 | 15 => Fault::ManualFailover { sentinel },
        16 => Fault::Wiped { host },
        17 => Fault::PlatformFails { host, lasts: lasts / 2 },
        18 => Fault::Intruder { lasts },
        19 => Fault::LinkFlaps { host, lasts },
        20 => Fault::Reload { host },
        21 => Fault::ClockJumps { host, by: lasts * random.random_range(1..=20) },
        _ => by_operator(random, hosts, sentinels),
    }
}
