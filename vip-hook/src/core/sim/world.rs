//! The world of one run: what there is, the queue of what will happen, and one step after the other.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::failover::Failover;
use super::host::{Address, Host, Process};
use super::plan::{Fault, Plan};
use super::sentinel::{Sentinel, ToSentinel};
use super::time::{Clock, MS, SECOND, Us};
use super::{Flaw, Outcome};
use crate::core::Holder;
use crate::core::mistakes::Planted;
use crate::core::types::{Hint, Input, Settings, VirtualAddress};

/// Something that will happen.
#[derive(Clone, Debug)]
pub(super) enum Event {
    /// An agent's timer; of the run and number it was set in.
    Wake {
        host: usize,
        boot: u64,
        timer: u64,
    },
    /// Something reaches an agent's process.
    Input {
        host: usize,
        boot: u64,
        input: Input,
    },
    /// `ROLE` reaches a node.
    AskNode {
        host: usize,
        boot: u64,
        round: u64,
    },
    ToSentinel(ToSentinel),
    /// A Sentinel's answer, over a connection.
    FromSentinel {
        host: usize,
        boot: u64,
        sentinel: usize,
        connection: u64,
        input: Input,
    },
    /// An agent's driver tries to connect to a Sentinel.
    Connect {
        host: usize,
        boot: u64,
        sentinel: usize,
    },
    /// The connection is found broken.
    Disconnect {
        host: usize,
        sentinel: usize,
        connection: u64,
    },
    /// An agent's platform carries out its next action.
    Platform {
        host: usize,
        boot: u64,
    },
    /// An agent starts.
    Boot {
        host: usize,
    },
    Resume {
        host: usize,
    },
    NodeReturns {
        host: usize,
    },
    SentinelReturns {
        sentinel: usize,
    },
    Fault(Fault),
    /// A fault ends.
    Mend(Fault),
    Calm,
    /// The Sentinels look at their master.
    Look,
    Failover(Failover),
    /// A Sentinel greets the others.
    Greet {
        sentinel: usize,
    },
    /// A Sentinel learns of a configuration.
    Learn {
        sentinel: usize,
        master: usize,
        epoch: u64,
    },
    Demote {
        host: usize,
        epoch: u64,
    },
    IntruderClaims,
    Check,
}

/// A run.
pub(super) struct World {
    pub(super) plan: Plan,
    pub(super) random: Xoshiro256PlusPlus,
    pub(super) now: Us,
    queue: BTreeMap<(Us, u64), Event>,
    sequence: u64,
    pub(super) hosts: Vec<Host>,
    pub(super) sentinels: Vec<Sentinel>,
    /// For each host how many faults keep it from what is elsewhere.
    pub(super) cut_from_sentinels: Vec<usize>,
    pub(super) cut_from_clients: Vec<usize>,
    pub(super) next_connection: u64,
    /// For each connection and direction: nothing sent later arrives before this.
    pub(super) order: BTreeMap<(u64, bool), Us>,
    /// What waits for a cut to heal.
    pub(super) stalled: Vec<Event>,
    pub(super) last_epoch: u64,
    pub(super) failover_under_way: Option<usize>,
    pub(super) demotion_due: Vec<bool>,
    pub(super) intruder: bool,
    pub(super) flaw: Option<Flaw>,
    pub(super) outcome: Outcome,
    pub(super) highest_taken: u64,
    pub(super) trace: bool,
}

/// As what the Sentinels know a host's node.
pub(super) fn node_address(host: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::from([10, 0, 0, 1 + host as u8]), 6379)
}

pub(super) fn virtual_address(number: usize) -> VirtualAddress {
    let address = IpAddr::from([10, 0, 0, 100 + number as u8]);
    VirtualAddress { address, prefix_len: 32, interface: "eth0".into() }
}

/// The most virtual addresses there are.
pub(super) const ADDRESSES: usize = 2;

impl World {
    pub(super) fn new(seed: u64, flaw: Option<Flaw>, trace: bool) -> World {
        let mut random = Xoshiro256PlusPlus::seed_from_u64(seed);
        let plan = Plan::draw(&mut random);
        let clock = |random: &mut Xoshiro256PlusPlus| Clock {
            offset: random.random_range(0..1000 * SECOND),
            ppm: random.random_range(-100..=100),
        };
        let hosts: Vec<Host> = (0..plan.hosts)
            .map(|index| {
                let clock = clock(&mut random);
                let holder = Holder::new(settings(&plan, index, plan.addresses), None, clock.show(0));
                Host::new(clock, holder, index == 0, plan.sentinels.len())
            })
            .collect();
        let sentinels = plan
            .sentinels
            .iter()
            .map(|planned| Sentinel {
                host: planned.host,
                classic: planned.classic,
                process: Process::Runs,
                clock: clock(&mut random),
                master: 0,
                epoch: 0,
                failing_over: false,
                started: 0,
                vouched: vec![None; plan.hosts],
                first_connection: 0,
                inbox: Vec::new(),
                down_since: None,
                patient_until: 0,
                naming_since: 0,
            })
            .collect();
        let mut world = World {
            cut_from_sentinels: vec![0; plan.hosts],
            cut_from_clients: vec![0; plan.hosts],
            demotion_due: vec![false; plan.hosts],
            plan,
            random,
            now: 0,
            queue: BTreeMap::new(),
            sequence: 0,
            hosts,
            sentinels,
            next_connection: 0,
            order: BTreeMap::new(),
            stalled: Vec::new(),
            last_epoch: 0,
            failover_under_way: None,
            intruder: false,
            flaw,
            outcome: Outcome::default(),
            highest_taken: 0,
            trace,
        };
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.say(|world| format!("{:?}", world.plan));
        if let Some(host) = self.plan.foreign {
            self.hosts[host].kernel[0].present = true;
        }
        for host in 0..self.hosts.len() {
            let at = self.random.random_range(0..500 * MS);
            self.after(at, Event::Boot { host });
        }
        for sentinel in 0..self.sentinels.len() {
            let at = self.random.random_range(0..self.plan.weather.greeting);
            self.after(at, Event::Greet { sentinel });
        }
        for (at, fault) in self.plan.faults.clone() {
            self.after(at, Event::Fault(fault));
        }
        self.after(self.plan.calm_from, Event::Calm);
        self.after(0, Event::Look);
        self.after(0, Event::Check);
    }

    /// Runs to the end, or to the first rule that is broken.
    pub(super) fn run(mut self) -> Outcome {
        while let Some(((at, _), event)) = self.queue.pop_first() {
            if at > self.plan.end || self.outcome.broken.is_some() {
                break;
            }
            self.now = at;
            self.outcome.events += 1;
            self.step(event);
        }
        self.outcome
    }

    fn step(&mut self, event: Event) {
        match event {
            Event::Wake { host, boot, timer } => {
                let it = &self.hosts[host];
                if it.boot == boot && it.timer == timer && it.agent == Process::Runs {
                    self.run_agent(host, None);
                }
            }
            Event::Input { host, boot, input } => self.deliver(host, boot, input),
            Event::AskNode { host, boot, round } => self.ask_node(host, boot, round),
            Event::ToSentinel(message) => self.reach_sentinel(message),
            Event::FromSentinel { host, boot, sentinel, connection, input } => {
                self.reach_agent(host, boot, sentinel, connection, input);
            }
            Event::Connect { host, boot, sentinel } => self.connect(host, boot, sentinel),
            Event::Disconnect { host, sentinel, connection } => self.disconnect(host, sentinel, connection),
            Event::Platform { host, boot } => self.carry_out(host, boot),
            Event::Boot { host } => self.boot(host),
            Event::Resume { host } => self.resume(host),
            Event::NodeReturns { host } => self.node_returns(host),
            Event::SentinelReturns { sentinel } => self.sentinel_returns(sentinel),
            Event::Fault(fault) => self.strike(fault),
            Event::Mend(fault) => self.mend(fault),
            Event::Calm => self.calm(),
            Event::Look => self.look(),
            Event::Failover(failover) => self.go_on_with_failover(failover),
            Event::Greet { sentinel } => self.greet(sentinel),
            Event::Learn { sentinel, master, epoch } => self.learn(sentinel, master, epoch),
            Event::Demote { host, epoch } => self.demote(host, epoch),
            Event::IntruderClaims => self.intruder_claims(),
            Event::Check => self.check(),
        }
    }

    pub(super) fn after(&mut self, span: Us, event: Event) {
        self.sequence += 1;
        self.queue.insert((self.now + span, self.sequence), event);
    }

    /// Takes events out of the queue, in the order in which they would have happened.
    pub(super) fn take_events(&mut self, which: impl Fn(&Event) -> bool) -> Vec<Event> {
        let keys: Vec<(Us, u64)> =
            self.queue.iter().filter(|(_, event)| which(event)).map(|(key, _)| *key).collect();
        keys.into_iter().filter_map(|key| self.queue.remove(&key)).collect()
    }

    pub(super) fn say(&self, what: impl FnOnce(&World) -> String) {
        if self.trace {
            println!("{:>9.3} ms  {}", self.now as f64 / 1000.0, what(self));
        }
    }

    /// A rule is broken.
    pub(super) fn broken(&mut self, what: String) {
        self.say(|_| format!("BROKEN: {what}"));
        self.outcome.broken.get_or_insert(format!("at {:.3} ms: {what}", self.now as f64 / 1000.0));
    }

    /// One way of a message.
    pub(super) fn delay(&mut self) -> Us {
        let weather = self.plan.weather;
        let most = if self.random.random_ratio(1, 20) { weather.slow } else { weather.usual };
        self.random.random_range(20..=most)
    }

    /// Tells an agent of an event, late or not at all.
    pub(super) fn hint(&mut self, host: usize, hint: Hint) {
        if self.random.random_ratio(self.plan.weather.lost_hints, 100) {
            return;
        }
        let late = if self.random.random_ratio(1, 10) { self.random.random_range(0..300 * MS) } else { 0 };
        let delay = self.delay() + late;
        let boot = self.hosts[host].boot;
        self.after(delay, Event::Input { host, boot, input: Input::Hint(hint) });
    }
}

impl Host {
    fn new(clock: Clock, holder: Holder, is_master: bool, sentinels: usize) -> Host {
        Host {
            clock,
            node: Process::Runs,
            is_master,
            node_inbox: Vec::new(),
            agent: Process::Dead,
            holder,
            boot: 0,
            inbox: Default::default(),
            timer: 0,
            stored_epoch: None,
            connections: vec![None; sentinels],
            platform: Default::default(),
            platform_busy: false,
            platform_fails: false,
            kernel: vec![Address::default(); ADDRESSES],
            link_up: true,
            maintenance: false,
            released: false,
            fit_since: None,
            epoch_before: None,
            reachable_since: vec![None; sentinels],
        }
    }
}

/// What an agent is configured with.
pub(super) fn settings(plan: &Plan, host: usize, addresses: usize) -> Settings {
    Settings {
        master: "mymaster".into(),
        host_addresses: vec![node_address(host).ip()],
        port: 6379,
        sentinels: plan.sentinels.len(),
        addresses: (0..addresses).map(virtual_address).collect(),
        lease: Duration::from_millis(400),
        on_quorum_loss: plan.on_quorum_loss,
        on_conflict: plan.on_conflict,
        announce_interval: Duration::from_secs(2),
    }
}

impl World {
    /// A fresh process of the agent.
    pub(super) fn boot(&mut self, host: usize) {
        let settings = settings(&self.plan, host, self.plan.addresses);
        let flaw = self.flaw;
        let it = &mut self.hosts[host];
        it.boot += 1;
        it.agent = Process::Runs;
        it.holder = Holder::new(settings, it.stored_epoch, it.clock.show(self.now));
        if let Some(Flaw::Holder(mistake)) = flaw {
            it.holder.planted = Planted(Some(mistake));
        }
        it.inbox.clear();
        it.platform.clear();
        it.platform_busy = false;
        it.maintenance = false;
        it.released = false;
        it.connections.fill(None);
        for address in &mut it.kernel {
            address.may_be_removed = address.present && address.ours;
        }
        let boot = it.boot;
        self.say(|_| format!("agent {host} starts"));
        for number in 0..ADDRESSES {
            self.tell_of_address(host, number, 0);
        }
        for sentinel in 0..self.sentinels.len() {
            let span = self.random.random_range(100..5 * MS);
            self.after(span, Event::Connect { host, boot, sentinel });
        }
        self.run_agent(host, None);
    }
}
