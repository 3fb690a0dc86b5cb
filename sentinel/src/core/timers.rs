//! The periods and limits of monitoring, with their defaults. `SENTINEL DEBUG` shows and
//! changes them at run time; what Redis hard-codes stands as a constant.

/// A point on the monotonic clock, or a span of it, in milliseconds.
pub type Ms = u64;

/// INFO period of a replica whose master is down or being replaced, or which lost its master.
pub const INFO_PERIOD_FAST_MS: Ms = 1000;
/// Bounds of the interval at which a node whose role is about to change is asked for it; inside them it is a
/// tenth of the time that it has taken so far.
pub const ROLE_POLL_MS: std::ops::RangeInclusive<Ms> = 20..=200;
/// Bounds of the interval between two PINGs; inside them it is a twentieth of down-after.
pub const PING_INTERVAL_MS: std::ops::RangeInclusive<Ms> = 20..=1000;
/// How much later each Sentinel with a smaller id makes one stand for election.
pub const CANDIDACY_STEP_MS: Ms = 25;
/// A vote for another, and a lost election, bar an own candidacy this long, and up to half as much longer.
pub const CANDIDACY_PAUSE_MS: Ms = 1000;
/// How long a reachable leader that we voted for is trusted to carry out its failover.
pub const LEADER_PATIENCE_MS: Ms = 10_000;
/// How long a failover asked for by an operator waits for votes before it goes on without.
pub const FORCED_ELECTION_MS: Ms = 250;
/// How long the choice of a replica waits for those that have not told their offset since the election.
pub const FRESH_INFO_MS: Ms = 200;
/// The longest a Sentinel lets pass without looking at its clock, so that its own lateness shows.
pub const HEARTBEAT_MS: Ms = 100;
/// Lateness below this is scheduling noise and postpones nothing.
pub const LATENESS_SLACK_MS: Ms = 50;
/// A failed write of the state is tried again after this.
pub const PERSIST_RETRY_MS: Ms = 1000;
/// Commands awaiting their reply on one link, per master that uses it; beyond, probes are skipped.
pub const MAX_PENDING_COMMANDS: usize = 100;

/// The adjustable periods, in milliseconds. Names and defaults are those of `SENTINEL DEBUG`.
#[derive(Clone, Debug)]
pub struct Timers {
    /// INFO to masters and replicas.
    pub info_period: Ms,
    /// Upper bound of the interval between PINGs.
    pub ping_period: Ms,
    /// Asking a peer again whether it sees the master down.
    pub ask_period: Ms,
    /// Hello messages to each instance.
    pub publish_period: Ms,
    /// down-after-milliseconds of masters created from now on.
    pub default_down_after: Ms,
    /// failover-timeout of masters created from now on.
    pub default_failover_timeout: Ms,
    /// Own lateness beyond which TILT begins.
    pub tilt_trigger: Ms,
    /// Duration of TILT.
    pub tilt_period: Ms,
    /// A replica that was told its new master and shows no progress counts as done after this.
    pub slave_reconf_timeout: Ms,
    /// A connection younger than this is not closed for inactivity.
    pub min_link_reconnect_period: Ms,
    /// Upper bound of one election.
    pub election_timeout: Ms,
    /// A script that runs longer is killed.
    pub script_max_runtime: Ms,
    /// First delay before a failed script runs again; doubles each time.
    pub script_retry_delay: Ms,
}

impl Default for Timers {
    fn default() -> Self {
        Timers {
            info_period: 10_000,
            ping_period: 1000,
            ask_period: 1000,
            publish_period: 2000,
            default_down_after: 30_000,
            default_failover_timeout: 180_000,
            tilt_trigger: 2000,
            tilt_period: 30_000,
            slave_reconf_timeout: 10_000,
            min_link_reconnect_period: 15_000,
            election_timeout: 10_000,
            script_max_runtime: 60_000,
            script_retry_delay: 30_000,
        }
    }
}

impl Timers {
    /// Each knob under the name that `SENTINEL DEBUG` gives it, in its order.
    pub fn knobs(&mut self) -> [(&'static str, &mut Ms); 13] {
        [
            ("INFO-PERIOD", &mut self.info_period),
            ("PING-PERIOD", &mut self.ping_period),
            ("ASK-PERIOD", &mut self.ask_period),
            ("PUBLISH-PERIOD", &mut self.publish_period),
            ("DEFAULT-DOWN-AFTER", &mut self.default_down_after),
            ("DEFAULT-FAILOVER-TIMEOUT", &mut self.default_failover_timeout),
            ("TILT-TRIGGER", &mut self.tilt_trigger),
            ("TILT-PERIOD", &mut self.tilt_period),
            ("SLAVE-RECONF-TIMEOUT", &mut self.slave_reconf_timeout),
            ("MIN-LINK-RECONNECT-PERIOD", &mut self.min_link_reconnect_period),
            ("ELECTION-TIMEOUT", &mut self.election_timeout),
            ("SCRIPT-MAX-RUNTIME", &mut self.script_max_runtime),
            ("SCRIPT-RETRY-DELAY", &mut self.script_retry_delay),
        ]
    }
}

/// Collects, during one evaluation, the earliest moment at which something will be due.
#[derive(Debug)]
pub struct Due(pub Ms);

impl Due {
    /// Nothing due yet.
    pub fn never() -> Self {
        Due(Ms::MAX)
    }

    /// Notes that something is due at `at`.
    pub fn at(&mut self, at: Ms) {
        self.0 = self.0.min(at);
    }

    /// Whether `at` has come; if not, it is noted.
    pub fn passed(&mut self, now: Ms, at: Ms) -> bool {
        if now < at {
            self.at(at);
        }
        now >= at
    }
}
