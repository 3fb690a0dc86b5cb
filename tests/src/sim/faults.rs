//! Faults at random, each with its end.
//!
//! A round breaks one to three things, masters more often than others, waits, and goes on to the
//! next round; each fault ends after a time of its own. At most half of the Sentinels lack at a time in
//! most runs, since a deployment without a majority only waits.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::agents::Agents;
use super::net::Host;
use super::node::Life;
use super::plan::{Kind, Scenario};
use super::sentinel::Fuse;
use super::time::{MS, SECOND, Us};
use super::world::World;

/// What ends a fault.
#[derive(Clone, Debug)]
enum Cure {
    StartNode(usize),
    ContinueNode(usize),
    ReturnNode(usize),
    ObeyAgain(usize),
    StartSentinel(usize),
    ContinueSentinel(usize),
    Disk(usize),
    Loss,
    Quicken(Host),
    Mend(Vec<(Host, Host)>),
}

/// The faults that go on, and chance.
#[derive(Debug)]
pub struct Nemesis {
    rng: Xoshiro256PlusPlus,
    cures: Vec<(Us, Cure)>,
    /// Who asks meanwhile.
    agents: Agents,
    /// The length of a fault is measured in this.
    unit: Us,
    /// Deployments without a majority are allowed.
    ruthless: bool,
}

/// Set apart from the streams of the plan and of the network.
const FAULT_STREAM: u64 = 0x6661_756c_7473;

impl Nemesis {
    /// The faults of a world's seed.
    pub fn new(world: &World) -> Self {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(world.plan.seed ^ FAULT_STREAM);
        let unit = world.plan.down_after_ms * MS;
        let ruthless = rng.random_ratio(1, 5);
        Nemesis { rng, cures: Vec::new(), agents: Agents::new(world), unit, ruthless }
    }

    /// One round of faults and the time until the next.
    pub fn round(&mut self, world: &mut World, scenario: Scenario) {
        if scenario == Scenario::Outage {
            self.outage(world);
        }
        if self.rng.random_ratio(3, 4) {
            self.end_master(world);
        }
        for _ in 0..self.rng.random_range(0..=2) {
            self.fault(world);
        }
        let pause = self.span(1, 30);
        self.let_pass(world, pause);
    }

    /// A master is gone for long enough to be replaced.
    fn end_master(&mut self, world: &mut World) {
        let alive = |n: &usize| world.nodes[*n].of.is_none() && world.nodes[*n].life == Life::Running;
        let masters: Vec<usize> = (0..world.nodes.len()).filter(alive).collect();
        if masters.is_empty() {
            return;
        }
        let n = masters[self.rng.random_range(0..masters.len())];
        let span = self.span(12, 40);
        match self.rng.random_range(0..4) {
            0 => {
                world.stop_node(n);
                self.later(world, span, Cure::ContinueNode(n));
            }
            1 => {
                world.lose_node(n);
                self.later(world, span, Cure::ReturnNode(n));
            }
            _ => {
                world.kill_node(n);
                self.later(world, span, Cure::StartNode(n));
            }
        }
    }

    /// A span from `least` to `most` tenths of the unit.
    fn span(&mut self, least: Us, most: Us) -> Us {
        self.rng.random_range(least * self.unit / 10..=most * self.unit / 10)
    }

    /// Lets time pass and ends the faults that are over.
    fn let_pass(&mut self, world: &mut World, span: Us) {
        let until = world.now + span;
        while world.violation.is_none() {
            let next = (0..self.cures.len()).min_by_key(|i| self.cures[*i].0);
            let next = next.filter(|i| self.cures[*i].0 <= until);
            let asks_at = self.agents.asks_at;
            let at = next.map_or(until, |i| self.cures[i].0).min(asks_at);
            world.critical = None;
            if world.run_until(at.saturating_sub(world.now), |w| w.critical.is_some()) {
                self.ambush(world);
            } else if world.now >= asks_at {
                self.agents.ask(world);
            } else if let Some(i) = next {
                let (_, cure) = self.cures.swap_remove(i);
                self.cure(world, cure);
            } else {
                return;
            }
        }
    }

    /// A promotion is on its way: now and then something happens to it, its leader or its node.
    fn ambush(&mut self, world: &mut World) {
        let Some((s, n)) = world.critical.take().filter(|_| self.rng.random_ratio(1, 8)) else { return };
        let long = self.rng.random_range(1..=3) * world.plan.failover_timeout_ms * MS;
        let node = world.host_of_node(n);
        match self.rng.random_range(0..6) {
            0 | 1 if world.nodes[n].life == Life::Running => {
                world.stop_node(n);
                self.later(world, long, Cure::ContinueNode(n));
            }
            2 => self.cut(world, vec![(s, node)], long),
            3 => self.cut(world, vec![(node, s)], long),
            4 if world.nodes[n].life == Life::Running => {
                world.kill_node(n);
                let span = self.span(1, 40);
                self.later(world, span, Cure::StartNode(n));
            }
            5 if world.sentinels[s].life == Life::Running => {
                world.crash_sentinel(s);
                let span = self.span(1, 40);
                self.later(world, span, Cure::StartSentinel(s));
            }
            _ => {}
        }
    }

    /// Ends all faults.
    pub fn peace(&mut self, world: &mut World) {
        for (_, cure) in std::mem::take(&mut self.cures) {
            self.cure(world, cure);
        }
        for s in 0..world.sentinels.len() {
            world.sentinels[s].fuse = None;
            if world.sentinels[s].life == Life::Dead {
                world.start_sentinel(s);
            }
        }
        world.loss = 0;
        world.trace(|_| "peace".to_string());
    }

    fn cure(&mut self, world: &mut World, cure: Cure) {
        match cure {
            Cure::StartNode(n) if world.nodes[n].life == Life::Dead => world.start_node(n),
            Cure::ContinueNode(n) => world.continue_node(n),
            Cure::ReturnNode(n) => {
                world.return_node(n);
                world.start_node(n);
            }
            Cure::ObeyAgain(n) => world.nodes[n].refuses = false,
            Cure::StartSentinel(s) if world.sentinels[s].life == Life::Dead => world.start_sentinel(s),
            Cure::ContinueSentinel(s) => world.continue_sentinel(s),
            Cure::Disk(s) => {
                world.sentinels[s].slow_disk = None;
                world.sentinels[s].bad_disk = false;
            }
            Cure::Loss => world.loss = world.plan.loss,
            Cure::Quicken(host) => world.ways.set_slow(host, 0),
            Cure::Mend(ways) => {
                world.trace(|_| format!("ways are mended: {ways:?}"));
                ways.into_iter().for_each(|(from, to)| world.ways.mend(from, to));
                world.ways_changed();
            }
            Cure::StartNode(_) | Cure::StartSentinel(_) => {}
        }
    }

    fn later(&mut self, world: &World, span: Us, cure: Cure) {
        self.cures.push((world.now + span, cure));
    }

    fn fault(&mut self, world: &mut World) {
        match self.rng.random_range(0..100) {
            0..35 => self.node_fault(world),
            35..57 => self.sentinel_fault(world),
            57..67 => self.disk_fault(world),
            67..92 => self.network_fault(world),
            _ => self.operator(world),
        }
    }

    /// A node, a master more often than not.
    fn some_node(&mut self, world: &World) -> usize {
        let masters: Vec<usize> = (0..world.nodes.len()).filter(|n| world.nodes[*n].of.is_none()).collect();
        if self.rng.random_ratio(3, 4) && !masters.is_empty() {
            masters[self.rng.random_range(0..masters.len())]
        } else {
            self.rng.random_range(0..world.nodes.len())
        }
    }

    fn node_fault(&mut self, world: &mut World) {
        let n = self.some_node(world);
        if world.nodes[n].life != Life::Running {
            return;
        }
        match self.rng.random_range(0..17) {
            0 => {
                world.nodes[n].refuses = true;
                world.trace(|w| format!("{} refuses to change its role", w.node_name(n)));
                let span = self.span(10, 60);
                self.later(world, span, Cure::ObeyAgain(n));
            }
            1..7 => {
                world.kill_node(n);
                let span = self.span(2, 60);
                self.later(world, span, Cure::StartNode(n));
            }
            7..9 => {
                // Gone for less than it takes to be noticed.
                world.kill_node(n);
                let span = self.span(1, 8);
                self.later(world, span, Cure::StartNode(n));
            }
            9..13 => {
                world.stop_node(n);
                let span = self.span(2, 60);
                self.later(world, span, Cure::ContinueNode(n));
            }
            _ => {
                world.lose_node(n);
                let span = self.span(5, 80);
                self.later(world, span, Cure::ReturnNode(n));
            }
        }
    }

    /// Every master is gone in the same instant.
    fn outage(&mut self, world: &mut World) {
        let stop = self.rng.random_ratio(1, 3);
        for n in 0..world.nodes.len() {
            if world.nodes[n].of.is_some() || world.nodes[n].life != Life::Running {
                continue;
            }
            let span = self.span(20, 60);
            if stop {
                world.stop_node(n);
                self.later(world, span, Cure::ContinueNode(n));
            } else {
                world.kill_node(n);
                self.later(world, span, Cure::StartNode(n));
            }
        }
        let span = self.span(15, 25);
        self.let_pass(world, span);
    }

    fn sentinel_fault(&mut self, world: &mut World) {
        let s = self.rng.random_range(0..world.sentinels.len());
        if world.sentinels[s].life != Life::Running {
            return;
        }
        let gone = world.sentinels.iter().filter(|x| x.life != Life::Running || x.fuse.is_some()).count();
        if !self.ruthless && 2 * (gone + 1) >= world.sentinels.len() {
            return;
        }
        match self.rng.random_range(0..10) {
            0..2 => {
                world.crash_sentinel(s);
                let span = self.span(1, 40);
                self.later(world, span, Cure::StartSentinel(s));
            }
            2..6 => {
                let after = self.rng.random_range(0..4);
                world.sentinels[s].fuse = Some(Fuse { after, written: self.rng.random() });
                let span = self.span(5, 60);
                self.later(world, span, Cure::StartSentinel(s));
            }
            6..8 => {
                world.stop_sentinel(s);
                let span = if self.rng.random_ratio(1, 4) { 2 * SECOND } else { 0 } + self.span(1, 15);
                self.later(world, span, Cure::ContinueSentinel(s));
            }
            _ => {
                let classic = world.sentinels[s].kind == Kind::Classic;
                let by = self.rng.random_range(10..1500);
                let by = if self.rng.random_ratio(1, 8) { by * 4 } else { by };
                // The original reads the time of day, which may be set back.
                world.jump_clock(s, if classic && self.rng.random() { -by } else { by });
            }
        }
    }

    fn disk_fault(&mut self, world: &mut World) {
        let s = self.rng.random_range(0..world.sentinels.len());
        // The original goes on as if it had written.
        if self.rng.random_ratio(1, 5) && world.sentinels[s].kind == Kind::Redoubt {
            world.trace(|w| format!("the disk of {} fails", w.sentinel_name(s)));
            world.sentinels[s].bad_disk = true;
        } else {
            let most = self.span(1, 6);
            world.trace(|w| format!("the disk of {} takes up to {} ms", w.sentinel_name(s), most / MS));
            world.sentinels[s].slow_disk = Some(most);
        }
        let span = self.span(5, 40);
        self.later(world, span, Cure::Disk(s));
    }

    fn network_fault(&mut self, world: &mut World) {
        let hosts = world.sentinels.len() + world.nodes.len();
        let some = |rng: &mut Xoshiro256PlusPlus| {
            // Sentinels and nodes alike, although nodes may be many more.
            if rng.random() { rng.random_range(0..world.sentinels.len()) } else { rng.random_range(0..hosts) }
        };
        let span = self.span(2, 60);
        match self.rng.random_range(0..10) {
            0..3 => {
                let inside: Vec<bool> = (0..hosts).map(|_| self.rng.random()).collect();
                let mut ways = Vec::new();
                for from in 0..hosts {
                    ways.extend((0..hosts).filter(|to| inside[from] != inside[*to]).map(|to| (from, to)));
                }
                self.cut(world, ways, span);
            }
            3 => {
                let alone = some(&mut self.rng);
                let others = (0..hosts).filter(|h| *h != alone);
                let ways = others.flat_map(|h| [(alone, h), (h, alone)]).collect();
                self.cut(world, ways, span);
            }
            4 => {
                // Only what one host sends, or only what is sent to it.
                let (mute, alone) = (self.rng.random(), some(&mut self.rng));
                let others = (0..hosts).filter(|h| *h != alone);
                let ways = others.map(|h| if mute { (alone, h) } else { (h, alone) }).collect();
                self.cut(world, ways, span);
            }
            5..7 => {
                let ways = (0..self.rng.random_range(1..=4))
                    .map(|_| (some(&mut self.rng), some(&mut self.rng)))
                    .collect();
                self.cut(world, ways, span);
            }
            7 => {
                world.loss = self.rng.random_range(100..1500);
                world.trace(|w| format!("of 10,000 packets {} are lost", w.loss));
                self.later(world, span, Cure::Loss);
            }
            8 => {
                let host = some(&mut self.rng);
                let by = self.span(1, 8);
                world.trace(|_| format!("host {host} is slow by {} ms", by / MS));
                world.ways.set_slow(host, by);
                self.later(world, span, Cure::Quicken(host));
            }
            _ => {
                for _ in 0..self.rng.random_range(1..10) {
                    let s = self.rng.random_range(0..world.sentinels.len());
                    world.reset(s, self.rng.random_range(0..100));
                }
            }
        }
    }

    fn cut(&mut self, world: &mut World, ways: Vec<(Host, Host)>, span: Us) {
        world.trace(|_| format!("ways are cut: {ways:?}"));
        ways.iter().for_each(|(from, to)| world.ways.cut(*from, *to));
        world.ways_changed();
        self.later(world, span, Cure::Mend(ways));
    }

    fn operator(&mut self, world: &mut World) {
        let s = self.rng.random_range(0..world.sentinels.len());
        let m = self.rng.random_range(0..world.plan.masters);
        if world.sentinels[s].runs() {
            let coordinated = world.sentinels[s].kind == Kind::Redoubt && self.rng.random();
            world.fail_over(s, m, coordinated);
        }
    }
}
