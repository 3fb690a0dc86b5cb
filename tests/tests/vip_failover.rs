//! The virtual address from end to end: hosts in network namespaces, real programs, real frames. Each test breaks
//! something, and measures for how long the client could not write and whether two hosts ever answered.

use std::time::{Duration, Instant};

use redoubt_lab::bench::median;
use redoubt_lab::binaries::find_in_path;
use redoubt_lab::netns::isolated;
use redoubt_lab::scratch::Scratch;
use redoubt_lab::vip::site::{VIP, VIP6};
use redoubt_lab::vip::{Cost, Fault, Mover, Shape, Site};

/// Rounds of each fault whose median counts.
const ROUNDS: usize = 5;
/// The rounds of those where an agent fails with its host, if there are to be more than usual.
const ROUNDS_ENV: &str = "REDOUBT_VIP_ROUNDS";
/// What the client may wait for in the median, with Sentinels that wait 1,000 ms.
const OUTAGE_MS: f64 = 1200.0;
const LIMIT: Duration = Duration::from_secs(20);
/// After so long an agent that is dead, hung or cut off holds nothing: the lease, and the kernel's granularity.
const LEASE: Duration = Duration::from_millis(410);

/// Runs a test of this name on the hosts of a deployment.
fn on_site(test: &str, shape: impl FnOnce() -> Shape, body: impl AsyncFnOnce(&mut Site)) {
    isolated(&format!("with_netns{test}"), || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
            body(&mut Site::start(shape(), scratch).await.unwrap()).await;
        });
    });
}

fn usual() -> Shape {
    Shape::usual().unwrap()
}

/// Does the fault in every round; asserts what every fault has to keep. The median outage in milliseconds.
async fn rounds(site: &mut Site, fault: Fault, count: usize) -> f64 {
    let mut costs: Vec<Cost> = Vec::new();
    for round in 1..=count {
        let cost = site.round(fault).await.unwrap();
        println!("{round}/{count}: {cost:?}");
        assert!(cost.neighbour, "the client's neighbour table names the new host");
        assert!(cost.kept, "who took over stays the master");
        assert_eq!(cost.dual_ms, 0.0, "two hosts answered");
        costs.push(cost);
    }
    let median = median(costs.iter().map(|cost| cost.outage_ms)).unwrap();
    println!("{}: {median:.0} ms in the median of {count}", fault.name());
    median
}

/// Kills the holder's agent: the address is silent within the lease, and back with the agent.
async fn kill_and_start_the_agent(site: &mut Site) {
    let holder = site.settled().await.unwrap();
    let mac = site.net.host(holder).mac;
    let start = Instant::now();
    site.agent(holder).kill().unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let last = site.holders(start - LEASE).last_of(mac).expect("it answered until it was killed");
    let silent_after = last.saturating_duration_since(start);
    println!("an agent that is killed: its address answered for {silent_after:?} more");
    assert!(silent_after <= LEASE);
    let again = Instant::now();
    site.start_agent(holder).unwrap();
    assert_eq!(site.taken_over(again, None).await.unwrap(), holder);
    assert_eq!(site.holders(start).dual(), Duration::ZERO);
    assert_eq!(site.neighbour().unwrap(), Some(holder), "the client's neighbour table");
    let outage = site.writer.longest_gap_since(again);
    println!("an agent that is started again after a second: {outage:?} without service");
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
        on_site("::a_master_that_is_killed", usual, async |site| {
            assert!(rounds(site, Fault::Sigkill, ROUNDS).await <= OUTAGE_MS);
        });
    }

    #[test]
    fn a_master_that_hangs() {
        on_site("::a_master_that_hangs", usual, async |site| {
            assert!(rounds(site, Fault::Sigstop, ROUNDS).await <= OUTAGE_MS);
        });
    }

    #[test]
    fn a_host_that_is_cut_off() {
        on_site("::a_host_that_is_cut_off", usual, async |site| {
            assert!(rounds(site, Fault::Cut, ROUNDS).await <= OUTAGE_MS);
        });
    }

    /// The kernel ends what an agent can no longer end.
    #[test]
    fn a_host_that_is_cut_off_while_its_agent_dies() {
        on_site("::a_host_that_is_cut_off_while_its_agent_dies", usual, async |site| {
            rounds(site, Fault::CutAgentKilled, rounds_wanted()).await;
        });
    }

    #[test]
    fn a_host_that_is_cut_off_while_its_agent_hangs() {
        on_site("::a_host_that_is_cut_off_while_its_agent_hangs", usual, async |site| {
            rounds(site, Fault::CutAgentHangs, rounds_wanted()).await;
        });
    }

    #[test]
    fn an_agent_that_is_killed() {
        on_site("::an_agent_that_is_killed", usual, kill_and_start_the_agent);
    }

    /// The client's writes go to an IPv6 address; an IPv4 address moves with it.
    #[test]
    fn an_ipv6_address_beside_an_ipv4_address() {
        let shape = || Shape { addresses: vec![VIP6, VIP], ..usual() };
        on_site("::an_ipv6_address_beside_an_ipv4_address", shape, async |site| {
            assert!(rounds(site, Fault::Sigkill, 3).await <= OUTAGE_MS);
            assert!(rounds(site, Fault::Cut, 3).await <= OUTAGE_MS);
            kill_and_start_the_agent(site).await;
        });
    }

    #[test]
    fn everything_that_is_restarted() {
        on_site("::everything_that_is_restarted", usual, async |site| {
            let start = Instant::now();
            site.restart_everything().await.unwrap();
            site.settled().await.unwrap();
            let holders = site.holders(start);
            assert_eq!(holders.dual(), Duration::ZERO, "{holders:?}");
            println!("everything restarted: {:?} without service", site.writer.longest_gap_since(start));
        });
    }

    #[test]
    fn twenty_manual_failovers_in_a_row() {
        on_site("::twenty_manual_failovers_in_a_row", usual, async |site| {
            assert!(rounds(site, Fault::Manual, 20).await <= OUTAGE_MS);
        });
    }

    mod with_redis_server {
        use super::*;

        #[test]
        fn the_original_sentinels_with_agents() {
            let shape = || {
                let mut shape = usual();
                shape.binaries.sentinel = find_in_path("redis-sentinel").unwrap();
                shape
            };
            on_site("::with_redis_server::the_original_sentinels_with_agents", shape, async |site| {
                rounds(site, Fault::Sigkill, 2).await;
                rounds(site, Fault::Cut, 2).await;
            });
        }
    }
}

/// What is known from the field works under our Sentinels as it is: a shell script on every host that adds the address
/// and announces it where the sixth argument is the host's own address, and removes it elsewhere.
#[test]
fn with_netns_and_arping_the_known_recipe_moves_the_address() {
    let shape = || Shape { mover: Mover::Recipe, ..usual() };
    on_site("_and_arping_the_known_recipe_moves_the_address", shape, async |site| {
        for fault in [Fault::Sigkill, Fault::Manual] {
            let cost = site.round(fault).await.unwrap();
            println!("{cost:?}");
            assert!(cost.neighbour, "the script announced it");
            // What the script says is logged when it ends, which the announcement takes a second to.
            let said = redoubt_lab::wait::until("the script's words are logged", LIMIT, async || {
                let log = site.sentinel_log(cost.to).map_err(|error| error.to_string())?;
                if log.contains("eth0 has 10.0.0.100/32") { Ok(()) } else { Err(log) }
            });
            said.await.unwrap();
        }
    });
}
