//! What happens to the simulated deployments, and what has to hold in the end.

use std::ops::Range;

use super::*;
use crate::replication::backlog::{BACKLOG_MIN_SIZE, OutputLimit};
use crate::replication::info::{FailoverState, LinkState};

fn config() -> FeedConfig {
    FeedConfig {
        backlog_size: BACKLOG_MIN_SIZE,
        diskless_sync_delay_ms: 500,
        timeout_ms: 10_000,
        ..FeedConfig::default()
    }
}

impl World {
    /// Whether all nodes hold what `master` holds.
    fn in_sync_with(&self, master: usize) -> bool {
        let expected = &self.nodes[master];
        self.nodes.iter().all(|node| {
            let (ours, theirs) = (node.repl.feed.lineage(), expected.repl.feed.lineage());
            (ours.replid(), ours.offset(), node.data) == (theirs.replid(), theirs.offset(), expected.data)
        })
    }

    /// Runs until all nodes hold what `master` holds, for at most a minute of virtual time.
    #[track_caller]
    fn run_until_in_sync_with(&mut self, master: usize) {
        for _ in 0..600 {
            self.run_for(100);
            if self.in_sync_with(master) {
                return;
            }
        }
        let states: Vec<_> =
            self.nodes.iter().map(|n| (n.link_state(), n.repl.feed.lineage().clone(), n.data)).collect();
        let tails: Vec<_> =
            self.nodes.iter().map(|n| n.log.iter().rev().take(8).rev().collect::<Vec<_>>()).collect();
        panic!("not in sync after a minute: {states:#?} {tails:#?}");
    }

    fn full_syncs(&self, who: usize) -> u64 {
        self.nodes[who].repl.feed.stats().full
    }

    fn break_link_of(&mut self, replica: usize) {
        let mut ids: Vec<ConnId> =
            self.conns.iter().filter(|(_, c)| c.replica == replica).map(|(id, _)| *id).collect();
        ids.sort_unstable();
        ids.into_iter().for_each(|id| self.break_conn(id));
    }

    /// Before the target was asked, giving a FAILOVER up is safe.
    fn give_up_waiting(&mut self, who: usize) {
        if self.nodes[who].repl.failover_state() == FailoverState::WaitingForSync {
            self.abort_failover(who);
        }
    }

    fn some_node(&mut self) -> usize {
        self.rng.random_range(0..self.nodes.len())
    }

    /// One thing that goes wrong, or right.
    fn disturb(&mut self, master: &mut usize) {
        match self.rng.random_range(0..100) {
            0..60 => {
                let (values, len) = (self.rng.random_range(1..4), self.rng.random_range(1..300));
                self.write(*master, values, len);
            }
            60..64 => {
                // More than the backlog holds.
                for _ in 0..60 {
                    self.write(*master, 1, 600);
                }
            }
            64..74 => {
                let who = self.some_node();
                self.break_link_of(who);
            }
            74..80 => {
                let who = self.some_node();
                let isolated = self.nodes[who].isolated;
                self.isolate(who, !isolated);
            }
            80..86 => {
                let who = self.some_node();
                self.promote(who);
                *master = who;
            }
            86..97 => {
                let (who, whom) = (self.some_node(), self.some_node());
                if who != whom && who != *master {
                    self.follow(who, whom);
                }
            }
            _ => {
                let who = self.some_node();
                self.nodes[who].broken_disk ^= true;
            }
        }
    }
}

/// Disturbs a deployment, then heals it, and wants everybody to hold the same in the end.
fn chaos(seeds: Range<u64>, nodes: usize, config: &FeedConfig) {
    for seed in seeds {
        let mut world = World::new(seed, nodes, config);
        let mut master = 0;
        for who in 1..nodes {
            world.follow(who, if who == 1 || seed % 2 == 0 { 0 } else { who - 1 });
        }
        for _ in 0..120 {
            world.disturb(&mut master);
            let pause = world.rng.random_range(0..1_500);
            world.run_for(pause);
        }
        for who in 0..nodes {
            world.isolate(who, false);
            world.nodes[who].broken_disk = false;
        }
        world.promote(master);
        for (i, who) in (0..nodes).filter(|who| *who != master).enumerate() {
            // The last one follows another replica.
            let chained = i > 0 && i == nodes - 2;
            let whom = if chained {
                (0..nodes).find(|w| *w != master && *w != who).unwrap_or(master)
            } else {
                master
            };
            world.follow(who, whom);
        }
        world.write(master, 2, 100);
        println!("seed {seed}");
        world.run_until_in_sync_with(master);
    }
}

#[test]
fn any_schedule_ends_in_agreement_with_three_nodes() {
    chaos(0..60, 3, &config());
}

#[test]
fn any_schedule_ends_in_agreement_with_two_nodes() {
    chaos(1000..1040, 2, &config());
}

#[test]
fn any_schedule_ends_in_agreement_with_payloads_from_files() {
    chaos(2000..2040, 4, &FeedConfig { diskless_sync: false, ..config() });
}

#[test]
fn any_schedule_ends_in_agreement_with_tight_output_limits() {
    let output_limit = OutputLimit { hard_bytes: 20_000, soft_bytes: 10_000, soft_ms: 1_000 };
    chaos(3000..3040, 3, &FeedConfig { output_limit, backlog_ttl_ms: 3_000, ..config() });
}

/// For a long night: `cargo test --release -- --ignored thousands_of_schedules`.
#[test]
#[ignore = "takes minutes"]
fn thousands_of_schedules_end_in_agreement() {
    let output_limit = OutputLimit { hard_bytes: 20_000, soft_bytes: 10_000, soft_ms: 1_000 };
    chaos(10_000..11_000, 3, &config());
    chaos(20_000..21_000, 5, &FeedConfig { output_limit, ..config() });
    chaos(30_000..31_000, 4, &FeedConfig { diskless_sync: false, backlog_ttl_ms: 3_000, ..config() });
    failovers(50_000..53_000, 3);
    failovers(60_000..61_000, 2);
    failovers(70_000..71_000, 5);
}

#[test]
fn a_short_break_costs_no_full_synchronization() {
    let mut world = World::new(1, 2, &config());
    world.follow(1, 0);
    world.run_until_in_sync_with(0);
    assert!(world.nodes[1].logged("MASTER <-> REPLICA sync: Finished with success"));
    for _ in 0..5 {
        world.break_link_of(1);
        world.write(0, 1, 50);
        world.run_until_in_sync_with(0);
    }
    assert_eq!(world.full_syncs(0), 1);
    assert_eq!(world.nodes[0].repl.feed.stats().partial_ok, 5);
    assert!(world.nodes[1].logged("Successful partial resynchronization with master."));
}

#[test]
fn a_break_longer_than_the_backlog_costs_a_full_synchronization() {
    let mut world = World::new(2, 2, &config());
    world.follow(1, 0);
    world.run_until_in_sync_with(0);
    world.isolate(1, true);
    for _ in 0..100 {
        world.write(0, 1, 600);
    }
    world.run_for(3_000);
    world.isolate(1, false);
    world.run_until_in_sync_with(0);
    assert_eq!(world.full_syncs(0), 2);
    assert!(world.nodes[0].logged("for lack of backlog"));
}

#[test]
fn after_a_failover_siblings_and_the_old_master_continue() {
    let mut world = World::new(3, 3, &config());
    world.follow(1, 0);
    world.follow(2, 0);
    world.write(0, 3, 40);
    world.run_until_in_sync_with(0);
    world.promote(1);
    world.follow(2, 1);
    world.follow(0, 1);
    world.write(1, 1, 40);
    world.run_until_in_sync_with(1);
    assert_eq!(world.full_syncs(1), 0, "both go on by the second id");
    assert_eq!(world.nodes[1].repl.feed.stats().partial_ok, 2);
}

#[test]
fn an_old_master_with_writes_of_its_own_starts_over() {
    let mut world = World::new(4, 2, &config());
    world.follow(1, 0);
    world.run_until_in_sync_with(0);
    world.isolate(0, true);
    world.write(0, 1, 40);
    world.promote(1);
    world.write(1, 1, 40);
    world.isolate(0, false);
    world.follow(0, 1);
    world.run_until_in_sync_with(1);
    assert_eq!(world.full_syncs(1), 1);
    assert!(world.nodes[1].logged("Requested offset for second ID was"));
}

#[test]
fn a_chain_learns_of_a_failover_without_full_synchronization() {
    let mut world = World::new(5, 4, &config());
    world.follow(1, 0);
    world.follow(2, 1);
    world.follow(3, 2);
    world.write(0, 2, 40);
    world.run_until_in_sync_with(0);
    let before: Vec<u64> = (0..4).map(|who| world.full_syncs(who)).collect();
    world.promote(1);
    world.follow(0, 1);
    world.write(1, 2, 40);
    world.run_until_in_sync_with(1);
    assert_eq!((0..4).map(|who| world.full_syncs(who)).collect::<Vec<_>>(), before);
    assert!(world.nodes[3].logged("Master replication ID changed to"));
}

#[test]
fn replicas_that_arrive_together_share_one_snapshot() {
    for diskless_sync in [true, false] {
        let mut world = World::new(6, 4, &FeedConfig { diskless_sync, ..config() });
        (1..4).for_each(|who| world.follow(who, 0));
        world.run_until_in_sync_with(0);
        let starts = world.nodes[0].log.iter().filter(|line| line.starts_with("Starting BGSAVE for SYNC"));
        assert_eq!(starts.count(), 1, "diskless_sync {diskless_sync}");
        assert_eq!(world.full_syncs(0), 3);
    }
}

#[test]
fn a_silent_master_is_left_and_a_silent_replica_dropped() {
    let mut world = World::new(7, 2, &config());
    world.follow(1, 0);
    world.run_until_in_sync_with(0);
    // Nothing arrives any more, and nobody is told.
    world.weather.max_delay_ms = 1_000_000;
    world.run_for(25_000);
    assert!(world.nodes[1].logged("MASTER timeout: no data nor PING received..."));
    assert!(world.nodes[0].logged("Disconnecting timedout replica (streaming sync): 127.0.0.1:2"));
    assert_ne!(world.nodes[1].link_state(), Some(LinkState::Connected));
    world.weather.max_delay_ms = 5;
    world.run_until_in_sync_with(0);
}

#[test]
fn an_unused_backlog_is_freed_and_with_it_the_name_of_the_history() {
    let mut world = World::new(8, 2, &FeedConfig { backlog_ttl_ms: 5_000, ..config() });
    world.follow(1, 0);
    world.run_until_in_sync_with(0);
    let replid = world.nodes[0].repl.feed.lineage().replid();
    world.isolate(1, true);
    world.run_for(4_000);
    assert!(world.nodes[0].repl.feed.backlog().is_some());
    world.run_for(3_000);
    assert!(world.nodes[0].repl.feed.backlog().is_none());
    assert_ne!(world.nodes[0].repl.feed.lineage().replid(), replid);
    world.isolate(1, false);
    world.run_until_in_sync_with(0);
}

#[test]
fn a_failing_disk_delays_but_does_not_wedge() {
    let mut world = World::new(9, 2, &config());
    world.nodes[0].broken_disk = true;
    world.follow(1, 0);
    world.run_for(10_000);
    assert!(world.nodes[0].logged("BGSAVE for replication failed"));
    world.nodes[0].broken_disk = false;
    world.nodes[1].broken_disk = true;
    world.run_for(10_000);
    world.nodes[1].broken_disk = false;
    world.run_until_in_sync_with(0);
}

/// Hands the mastership around while links break and nodes are cut off, and wants that at no moment
/// two nodes take writes, and that no write is ever lost.
fn failovers(seeds: Range<u64>, nodes: usize) {
    let (runs, mut handed_over) = (seeds.end - seeds.start, 0);
    for seed in seeds {
        let mut world = World::new(seed, nodes, &config());
        (1..nodes).for_each(|who| world.follow(who, 0));
        world.run_until_in_sync_with(0);
        world.one_writer = true;
        let mut last_writer = 0;
        for _ in 0..120 {
            let writer = world.writers().next();
            match (world.rng.random_range(0..100), writer) {
                (0..50, Some(writer)) => world.write(writer, 1, 40),
                (50..75, Some(writer)) => {
                    let target = world.some_node();
                    let target = world.rng.random_bool(0.5).then_some(target);
                    let timeout_ms = world.rng.random_range(0..3) * 1_000;
                    // There may be no such replica.
                    let _ = world.failover(writer, target, timeout_ms, false);
                }
                (75..80, None) => (0..nodes).for_each(|who| world.give_up_waiting(who)),
                (80..90, _) => {
                    let who = world.some_node();
                    world.break_link_of(who);
                }
                (90..96, _) => {
                    let who = world.some_node();
                    let isolated = world.nodes[who].isolated;
                    world.isolate(who, !isolated);
                }
                _ => {}
            }
            let pause = world.rng.random_range(0..400);
            world.run_for(pause);
            if let Some(writer) = world.writers().next() {
                handed_over += u64::from(writer != last_writer);
                last_writer = writer;
            }
        }
        (0..nodes).for_each(|who| world.isolate(who, false));
        println!("seed {seed}");
        // Who waits for a replica that was lost meanwhile waits in vain, as it takes no replicas now.
        (0..nodes).for_each(|who| world.give_up_waiting(who));
        // Whatever else is under way comes to an end.
        for _ in 0..600 {
            world.run_for(100);
            let idle = |node: &Node| node.repl.failover_state() == FailoverState::NoFailover;
            if world.nodes.iter().all(idle) && world.writers().next().is_some() {
                break;
            }
        }
        let master = world.writers().next().expect("there is a master when all is well");
        for who in (0..nodes).filter(|who| *who != master) {
            world.follow(who, master);
        }
        world.write(master, 2, 100);
        world.run_until_in_sync_with(master);
    }
    assert!(handed_over > 3 * runs, "{handed_over} changes of master in {runs} runs");
}

#[test]
fn failovers_never_make_two_masters_and_lose_no_write() {
    failovers(40_000..40_040, 3);
    failovers(41_000..41_020, 2);
}

#[test]
fn a_failover_costs_no_full_synchronization() {
    let mut world = World::new(10, 3, &config());
    (1..3).for_each(|who| world.follow(who, 0));
    world.write(0, 2, 40);
    world.run_until_in_sync_with(0);
    let before = (world.full_syncs(0), world.full_syncs(1));
    world.write(0, 1, 40);
    world.failover(0, Some(1), 0, false).expect("it begins");
    assert!(!world.nodes[0].takes_writes());
    world.run_for(1_000);
    assert_eq!(world.writers().collect::<Vec<_>>(), [1]);
    assert!(world.nodes[0].logged("Failover target 127.0.0.1:2 is synced, failing over."));
    world.follow(2, 1);
    world.write(1, 1, 40);
    world.run_until_in_sync_with(1);
    assert_eq!((world.full_syncs(0), world.full_syncs(1)), before);
}

#[test]
fn a_failover_to_a_replica_that_is_cut_off_is_given_up_or_forced() {
    for force in [false, true] {
        let mut world = World::new(11, 3, &config());
        (1..3).for_each(|who| world.follow(who, 0));
        world.run_until_in_sync_with(0);
        // Its acknowledgements do not arrive any more, and nobody is told.
        world.weather.max_delay_ms = 1_000_000;
        world.write(0, 1, 40);
        world.failover(0, Some(1), 500, force).expect("it begins");
        world.run_for(400);
        assert_eq!(world.nodes[0].repl.failover_state(), FailoverState::WaitingForSync);
        world.run_for(200);
        let state = if force { FailoverState::InProgress } else { FailoverState::NoFailover };
        assert_eq!(world.nodes[0].repl.failover_state(), state);
        assert_eq!(world.writers().count(), usize::from(!force));
        if force {
            world.abort_failover(0);
            assert_eq!(world.writers().collect::<Vec<_>>(), [0]);
            assert!(world.nodes[0].logged("FAILOVER to 127.0.0.1:2 aborted: Failover manually aborted"));
        }
    }
}

#[test]
fn a_master_promoted_for_a_moment_goes_back_without_a_full_synchronization() {
    let mut world = World::new(12, 2, &config());
    world.follow(1, 0);
    world.write(0, 1, 40);
    world.run_until_in_sync_with(0);
    let full = world.full_syncs(0);
    world.promote(1);
    world.write(0, 3, 40);
    world.follow(1, 0);
    world.run_until_in_sync_with(0);
    assert_eq!(world.full_syncs(0), full);
    world.promote(1);
    world.write(1, 1, 40);
    world.follow(1, 0);
    world.run_until_in_sync_with(0);
    assert_eq!(world.full_syncs(0), full + 1, "its own write had to go");
}

#[test]
fn a_seed_replays_exactly() {
    let run = || {
        let mut world = World::new(77, 3, &config());
        (1..3).for_each(|who| world.follow(who, 0));
        let mut master = 0;
        for _ in 0..40 {
            world.disturb(&mut master);
            world.run_for(300);
        }
        world.nodes.iter().map(|node| node.log.clone()).collect::<Vec<_>>()
    };
    assert_eq!(run(), run());
}
