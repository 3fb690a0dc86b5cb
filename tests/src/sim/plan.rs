//! What a run consists of: the deployment, its settings, its network, and which faults it meets.
//! All of it follows from the seed.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use redoubt_sentinel::core::timers::{Ms, Timers};

use super::time::{MS, SECOND, Us};

/// The most hosts that a world has room for.
pub const MAX_HOSTS: usize = 128;

/// Which program a Sentinel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The state machine of this project.
    Redoubt,
    /// The model of redis-sentinel.
    Classic,
}

/// What kind of story a run tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Scenario {
    /// Every fault there is, at random, against Sentinels of this project
    Storm,
    /// The same with models of redis-sentinel among the Sentinels
    Mixed,
    /// Many masters that die in the same instant, again and again
    Outage,
}

impl Scenario {
    /// All of them.
    pub const ALL: [Scenario; 3] = [Scenario::Storm, Scenario::Mixed, Scenario::Outage];

    /// The scenario of a seed for which none was asked for: mostly storms.
    pub fn of_seed(seed: u64) -> Scenario {
        match seed % 8 {
            2 | 5 => Scenario::Mixed,
            7 => Scenario::Outage,
            _ => Scenario::Storm,
        }
    }
}

/// A run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where all randomness of the run comes from.
    pub seed: u64,
    /// The Sentinels.
    pub sentinels: Vec<Kind>,
    /// How many masters they watch.
    pub masters: usize,
    /// How many replicas each master has at first.
    pub replicas: usize,
    /// How many Sentinels must agree that a master is down.
    pub quorum: u32,
    /// `down-after-milliseconds` of every master.
    pub down_after_ms: Ms,
    /// `failover-timeout` of every master.
    pub failover_timeout_ms: Ms,
    /// `down-on-refused` of every master, for Sentinels of this project; 0 is off.
    pub down_on_refused_ms: Ms,
    /// Nodes have `master-rejoin-guard yes`.
    pub rejoin_guard: bool,
    /// `parallel-syncs` of every master.
    pub parallel_syncs: u32,
    /// The other periods.
    pub timers: Timers,
    /// The Sentinels know each other from the start, and the replicas.
    pub introduced: bool,
    /// Nodes go by names, which a name server must be asked for.
    pub hostnames: bool,
    /// The least and the most that a message takes.
    pub delay: (Us, Us),
    /// Of 10,000 messages, how many are lost and sent again by TCP.
    pub loss: u32,
    /// What TCP waits at first before it does so.
    pub retransmit: Us,
    /// The most that a write to disk takes.
    pub write: Us,
    /// The most that the answer of a name server takes.
    pub lookup: Us,
    /// The most that a replica lags behind its master.
    pub lag: Us,
    /// The most that a synchronisation takes.
    pub sync: Us,
    /// How many rounds of faults there are.
    pub rounds: u32,
    /// The deliberate mistake in the Sentinels of this project.
    pub planted: Option<Planted>,
}

impl Plan {
    /// A deployment in good health: Sentinels of this project, one master, the defaults of everything,
    /// down-after 1000 ms, a quick network.
    pub fn calm(seed: u64, sentinels: usize, nodes: usize) -> Plan {
        Plan {
            seed,
            sentinels: vec![Kind::Redoubt; sentinels],
            masters: 1,
            replicas: nodes - 1,
            quorum: sentinels as u32 / 2 + 1,
            down_after_ms: 1000,
            failover_timeout_ms: 180_000,
            down_on_refused_ms: 0,
            rejoin_guard: false,
            parallel_syncs: 1,
            timers: Timers::default(),
            introduced: false,
            hostnames: false,
            delay: (100, 2 * MS),
            loss: 0,
            retransmit: 200 * MS,
            write: 5 * MS,
            lookup: 0,
            lag: 2 * MS,
            sync: 30 * MS,
            rounds: 0,
            planted: None,
        }
    }

    /// The plan of a seed.
    pub fn draw(seed: u64, scenario: Scenario) -> Plan {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed ^ PLAN_STREAM);
        let outage = scenario == Scenario::Outage;
        let mixed = scenario == Scenario::Mixed || (outage && rng.random_ratio(1, 4));
        let count = if rng.random_ratio(2, 3) { 3 } else { rng.random_range(4..=9) };
        let masters = match rng.random_range(0..10) {
            _ if outage => 20,
            0..7 => 1,
            _ => rng.random_range(2..=4),
        };
        let replicas = if outage { 1 + usize::from(rng.random_ratio(1, 3)) } else { rng.random_range(1..=5) };
        let mut plan = Plan::calm(seed, count, replicas + 1);
        plan.masters = masters;
        // A Sentinel that knows no other is a majority by itself; the rules are about complete deployments.
        plan.introduced = true;
        plan.quorum = match rng.random_range(0..8) {
            0 => 1,
            1 => rng.random_range(1..=count as u32),
            _ => plan.quorum,
        };
        if mixed {
            let classic = rng.random_range(1..count);
            plan.sentinels[..classic].fill(Kind::Classic);
        }
        let scale = if rng.random_ratio(3, 4) { 5 } else { 1 };
        plan.down_after_ms = *pick(&mut rng, &[1000, 1000, 2000, 5000]) / scale;
        plan.failover_timeout_ms = *pick(&mut rng, &[3_000, 5_000, 10_000, 20_000]) / scale;
        plan.timers.knobs().into_iter().for_each(|(_, period)| *period /= scale);
        // A gap of two seconds is an accident on any scale.
        plan.timers.tilt_trigger = Timers::default().tilt_trigger;
        plan.down_on_refused_ms = if rng.random_ratio(1, 4) { plan.down_after_ms / 4 } else { 0 };
        plan.rejoin_guard = rng.random_ratio(1, 4);
        plan.parallel_syncs = rng.random_range(1..=3);
        plan.hostnames = !mixed && rng.random_ratio(1, 6);
        let slowest = [500, 2 * MS, 10 * MS, 40 * MS][rng.random_range(0..4)] / scale;
        plan.delay = (slowest / 10, slowest);
        plan.loss = *pick(&mut rng, &[0, 0, 10, 100]);
        plan.retransmit /= scale;
        plan.write = *pick(&mut rng, &[2 * MS, 5 * MS, 20 * MS, 200 * MS]) / scale;
        plan.lookup = *pick(&mut rng, &[MS, 50 * MS, 3 * SECOND]) / scale;
        plan.lag = *pick(&mut rng, &[MS, 10 * MS, SECOND]) / scale;
        plan.sync = *pick(&mut rng, &[30 * MS, 300 * MS, 5 * SECOND]) / scale;
        plan.rounds = if outage { rng.random_range(3..8) } else { rng.random_range(10..60) };
        plan
    }

    /// How many nodes there are.
    pub fn nodes(&self) -> usize {
        self.masters * (self.replicas + 1)
    }

    /// After how long without any fault all Sentinels and all nodes agree, at the latest.
    ///
    /// The longest way there: a Sentinel that did not run abstains for the TILT period; a
    /// candidate waits for twice the failover timeout; two elections in a row fail to promote, each
    /// by running into both of its limits; the last failover ends by its own limit; the replica that
    /// missed it is corrected once it has been astray for the failover timeout, or, if it takes
    /// itself for a master, for four hello periods, both seen at an INFO of a master whose own
    /// INFO is fresh.
    pub fn agreement_bound(&self) -> Us {
        let t = &self.timers;
        let timeout = self.failover_timeout_ms;
        let election = t.election_timeout.min(timeout) + 2 * self.down_after_ms;
        let correction = timeout + 4 * t.publish_period + 2 * t.info_period;
        let wait = t.tilt_period + 2 * timeout + 2 * (election + timeout) + timeout + correction;
        wait * MS + 2 * self.sync + 10 * (self.delay.1 + self.write + self.lookup) + SECOND
    }
}

/// Set apart from the streams of the network and of the faults.
const PLAN_STREAM: u64 = 0x706c_616e;

fn pick<'a, T>(rng: &mut Xoshiro256PlusPlus, of: &'a [T]) -> &'a T {
    &of[rng.random_range(0..of.len())]
}

pub use redoubt_sentinel::core::config::Planted;
