//! The virtual address from end to end: hosts in network namespaces, real programs, real frames. Each test breaks
//! something, and measures for how long the client could not write and whether two hosts ever answered.

mod holders;
mod site;
mod writer;

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use redoubt_lab::netns::isolated;

use site::{Cost, Site, VIP, VIP6};

/// Rounds of each fault whose median counts.
const ROUNDS: usize = 5;
/// The rounds of those where an agent fails with its host, if there are to be more than usual.
const ROUNDS_ENV: &str = "REDOUBT_VIP_ROUNDS";
/// What the client may wait for in the median, with Sentinels that wait 1,000 ms.
const OUTAGE: Duration = Duration::from_millis(1200);
/// For how long a master serves before it fails: beyond the Sentinels' down-after-milliseconds.
const STEADY: Duration = Duration::from_millis(1200);
/// After so long an agent that is dead, hung or cut off holds nothing: the lease, and the kernel's granularity.
const LEASE: Duration = Duration::from_millis(410);

/// The median, with all of them told.
fn median(what: &str, costs: &[Cost]) -> Duration {
    let mut outages: Vec<Duration> = costs.iter().map(|cost| cost.outage).collect();
    outages.sort();
    println!("{what}: outages {outages:?}");
    outages[outages.len() / 2]
}

/// Breaks the master's host in every round, and mends it again; asserts what every fault has to keep.
fn rounds(
    site: &mut Site,
    what: &str,
    count: usize,
    mut fault: impl FnMut(&mut Site, usize),
    mut mend: impl FnMut(&mut Site, usize),
) -> Vec<Cost> {
    let mut costs = Vec::new();
    for round in 1..=count {
        let old = site.settled();
        // A master that fails sooner than this after its promotion is taken for one that flaps, and has to wait.
        std::thread::sleep(STEADY);
        let start = Instant::now();
        fault(site, old);
        let cost = site.cost_since(start, Some(old));
        println!("{what} {round}/{count}: host {old} to {}: {:?} without service", cost.holder, cost.outage);
        assert_eq!(site.neighbour(), Some(cost.holder), "the client's neighbour table");
        mend(site, old);
        assert_eq!(site.settled(), cost.holder, "{what}: who took over stays the master");
        assert_eq!(site.holders(start).dual(), Duration::ZERO, "{what}: {:?}", site.holders(start));
        costs.push(cost);
    }
    costs
}

/// Kills the holder's agent: the address is silent within the lease, and back with the agent.
fn kill_and_start_the_agent(site: &mut Site) {
    let holder = site.settled();
    let mac = site.net.host(holder).mac;
    let start = Instant::now();
    site.agent(holder).kill().unwrap();
    std::thread::sleep(Duration::from_secs(1));
    let last = site.holders(start - LEASE).last_of(mac).expect("it answered until it was killed");
    let silent_after = last.saturating_duration_since(start);
    println!("an agent that is killed: its address answered for {silent_after:?} more");
    assert!(silent_after <= LEASE);
    let again = Instant::now();
    site.start_agent(holder);
    let back = site.cost_since(again, None);
    assert_eq!((back.holder, site.holders(start).dual()), (holder, Duration::ZERO));
    assert_eq!(site.neighbour(), Some(holder), "the client's neighbour table");
    println!("an agent that is started again after a second: {:?} without service", back.outage);
}

fn rounds_wanted() -> usize {
    match std::env::var(ROUNDS_ENV) {
        Ok(text) => {
            let rounds = text.parse().ok().filter(|rounds| *rounds > 0);
            rounds.unwrap_or_else(|| panic!("{ROUNDS_ENV}={text} is no number of rounds"))
        }
        Err(_) => 2,
    }
}

mod with_netns {
    use super::*;

    #[test]
    fn a_master_that_is_killed() {
        isolated("with_netns::a_master_that_is_killed", || {
            let mut site = Site::start(None, &[VIP]);
            let kill = |site: &mut Site, old: usize| site.node(old).kill().unwrap();
            let costs = rounds(&mut site, "SIGKILL", ROUNDS, kill, Site::start_node);
            assert!(median("SIGKILL", &costs) <= OUTAGE);
        });
    }

    #[test]
    fn a_master_that_hangs() {
        isolated("with_netns::a_master_that_hangs", || {
            let mut site = Site::start(None, &[VIP]);
            let stop = |site: &mut Site, old: usize| site.node(old).signal(Signal::SIGSTOP).unwrap();
            let go_on = |site: &mut Site, old: usize| site.node(old).signal(Signal::SIGCONT).unwrap();
            let costs = rounds(&mut site, "SIGSTOP", ROUNDS, stop, go_on);
            assert!(median("SIGSTOP", &costs) <= OUTAGE);
        });
    }

    #[test]
    fn a_host_that_is_cut_off() {
        isolated("with_netns::a_host_that_is_cut_off", || {
            let mut site = Site::start(None, &[VIP]);
            let cut = |site: &mut Site, old: usize| site.cut(old);
            let costs = rounds(&mut site, "cut", ROUNDS, cut, |site, _| site.net.heal().unwrap());
            assert!(median("cut", &costs) <= OUTAGE);
        });
    }

    /// The kernel ends what an agent can no longer end.
    #[test]
    fn a_host_that_is_cut_off_while_its_agent_dies() {
        isolated("with_netns::a_host_that_is_cut_off_while_its_agent_dies", || {
            let mut site = Site::start(None, &[VIP]);
            let kill = |site: &mut Site, old: usize| {
                site.agent(old).signal(Signal::SIGKILL).unwrap();
                site.cut(old);
            };
            let back = |site: &mut Site, old: usize| {
                site.net.heal().unwrap();
                site.start_agent(old);
            };
            let what = "cut and SIGKILL of the agent";
            let costs = rounds(&mut site, what, rounds_wanted(), kill, back);
            println!("{what}: {:?} in the median", median(what, &costs));
        });
    }

    #[test]
    fn a_host_that_is_cut_off_while_its_agent_hangs() {
        isolated("with_netns::a_host_that_is_cut_off_while_its_agent_hangs", || {
            let mut site = Site::start(None, &[VIP]);
            let stop = |site: &mut Site, old: usize| {
                site.agent(old).signal(Signal::SIGSTOP).unwrap();
                site.cut(old);
            };
            let go_on = |site: &mut Site, old: usize| {
                site.net.heal().unwrap();
                site.agent(old).signal(Signal::SIGCONT).unwrap();
            };
            let what = "cut and SIGSTOP of the agent";
            let costs = rounds(&mut site, what, rounds_wanted(), stop, go_on);
            println!("{what}: {:?} in the median", median(what, &costs));
        });
    }

    #[test]
    fn an_agent_that_is_killed() {
        isolated("with_netns::an_agent_that_is_killed", || {
            kill_and_start_the_agent(&mut Site::start(None, &[VIP]));
        });
    }

    /// The client's writes go to an IPv6 address; an IPv4 address moves with it.
    #[test]
    fn an_ipv6_address_beside_an_ipv4_address() {
        isolated("with_netns::an_ipv6_address_beside_an_ipv4_address", || {
            let mut site = Site::start(None, &[VIP6, VIP]);
            let kill = |site: &mut Site, old: usize| site.node(old).kill().unwrap();
            let costs = rounds(&mut site, "IPv6, SIGKILL", 3, kill, Site::start_node);
            assert!(median("IPv6, SIGKILL", &costs) <= OUTAGE);
            let cut = |site: &mut Site, old: usize| site.cut(old);
            let costs = rounds(&mut site, "IPv6, cut", 3, cut, |site, _| site.net.heal().unwrap());
            assert!(median("IPv6, cut", &costs) <= OUTAGE);
            kill_and_start_the_agent(&mut site);
        });
    }

    #[test]
    fn everything_that_is_restarted() {
        isolated("with_netns::everything_that_is_restarted", || {
            let mut site = Site::start(None, &[VIP]);
            site.settled();
            let start = Instant::now();
            site.restart_everything();
            site.settled();
            let holders = site.holders(start);
            assert_eq!(holders.dual(), Duration::ZERO, "{holders:?}");
            println!("everything restarted: {:?} without service", site.writer.longest_gap_since(start));
        });
    }

    #[test]
    fn twenty_manual_failovers_in_a_row() {
        isolated("with_netns::twenty_manual_failovers_in_a_row", || {
            let mut site = Site::start(None, &[VIP]);
            let ask = |site: &mut Site, old: usize| site.fail_over(old);
            let costs = rounds(&mut site, "manual", 20, ask, |_, _| {});
            assert!(median("manual", &costs) <= OUTAGE);
        });
    }

    mod with_redis_server {
        use super::*;
        use redoubt_lab::binaries::find_in_path;

        #[test]
        fn the_original_sentinels_with_agents() {
            isolated("with_netns::with_redis_server::the_original_sentinels_with_agents", || {
                let mut site = Site::start(find_in_path("redis-sentinel"), &[VIP]);
                assert!(!site.own_sentinels());
                let kill = |site: &mut Site, old: usize| site.node(old).kill().unwrap();
                rounds(&mut site, "redis-sentinel, SIGKILL", 2, kill, Site::start_node);
                let cut = |site: &mut Site, old: usize| site.cut(old);
                rounds(&mut site, "redis-sentinel, cut", 2, cut, |site, _| site.net.heal().unwrap());
            });
        }
    }
}
