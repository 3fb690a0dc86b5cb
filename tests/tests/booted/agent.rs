//! The agent of a virtual address as a service: who it runs as, who may speak to it, and what becomes of the address
//! when the agent dies, hangs, is reloaded and ends. Seen from another host of its network.

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use redoubt_lab::netns::{Net, Prober};
use redoubt_lab::scratch::Scratch;
use redoubt_lab::wait;

use super::machine::{Booted, LIMIT, as_root, make_install};

const AGENT: &str = "redoubt-vip-agent.service";
const HOOK: &str = "/usr/local/bin/redoubt-vip-hook";
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));
const SECOND_VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 101));
const PROBE_PERIOD: Duration = Duration::from_millis(10);
/// The lease and the kernel's granularity.
const LEASE: Duration = Duration::from_millis(410);
/// CAP_NET_ADMIN and CAP_NET_RAW, and nothing else.
const CAPABILITIES: &str = "0000000000003000";

fn configuration(addresses: &[IpAddr]) -> String {
    let list = addresses.iter().map(|address| format!("      - {{address: {address}, interface: eth0}}\n"));
    format!(
        "sentinels: [\"10.0.0.1:26379\"]\nmasters:\n  - name: m\n    node: 10.0.0.1:6379\n    addresses:\n{}",
        list.collect::<String>()
    )
}

/// Waits for an answer after some time.
async fn answered(prober: &Prober, since: Instant) -> Instant {
    wait::until("the address is answered for", LIMIT, async || {
        prober.heard().iter().find(|heard| heard.at > since).map(|heard| heard.at).ok_or("it is not")
    })
    .await
    .unwrap()
}

/// When the last answer came, once none has come for longer than any pause between two.
async fn silent(prober: &Prober) -> Instant {
    wait::until("the address is answered for no more", LIMIT, async || {
        let last = prober.last().expect("it was answered for").at;
        if last.elapsed() > Duration::from_millis(300) { Ok(last) } else { Err("it is") }
    })
    .await
    .unwrap()
}

/// The longest time between two answers since then.
fn longest_gap(prober: &Prober, since: Instant) -> Duration {
    let heard: Vec<Instant> = prober.heard().iter().map(|heard| heard.at).filter(|at| *at > since).collect();
    heard.windows(2).map(|pair| pair[1] - pair[0]).max().expect("several answers came")
}

#[test]
fn with_systemd_analyze_and_netns_it_holds_the_address_within_its_bounds() {
    as_root("agent::with_systemd_analyze_and_netns_it_holds_the_address_within_its_bounds", bounds);
}

async fn bounds() {
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = scratch.path().join("root");
    make_install(&root);
    let etc = root.join("etc/redoubt");
    fs::write(etc.join("node-6379.conf"), "port 6379\nprotected-mode no\n").unwrap();
    let sentinel = format!(
        "port 26379\nsentinel monitor m 10.0.0.1 6379 1\nsentinel vip m {VIP}\n\
         sentinel client-reconfig-script m {HOOK}\n"
    );
    fs::write(etc.join("sentinel.conf"), sentinel).unwrap();
    fs::write(etc.join("vip-hook.yaml"), configuration(&[VIP])).unwrap();
    let net = Net::new(2).unwrap();
    let machine = match Booted::boot(net.host(0), &root, &[], &scratch.path().join("boot.log")).await {
        Ok(machine) => machine,
        Err(why) => return eprintln!("skipped: no systemd can be booted here: {why}"),
    };
    let prober = net.host(1).prober(VIP, PROBE_PERIOD);
    let second = net.host(1).prober(SECOND_VIP, PROBE_PERIOD);

    // The Sentinel's unit brings the agent up, and before itself.
    machine.run(&["systemctl", "start", "redoubt-node@6379", "redoubt-sentinel"]);
    assert_eq!(machine.show(AGENT, "SubState"), "running");
    answered(&prober, Instant::now()).await;
    let status = async || {
        let text = machine.show(AGENT, "StatusText");
        if text.starts_with("Holds 1 of 1 masters. m (10.0.0.100): ") { Ok(()) } else { Err(text) }
    };
    wait::until("the status says that it holds", LIMIT, status).await.unwrap();
    let pid = machine.show(AGENT, "MainPID");
    let process = machine.run(&["cat", &format!("/proc/{pid}/status")]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"] {
        let value =
            process.lines().find_map(|line| line.strip_prefix(set)).unwrap().trim_start_matches([':', '\t']);
        assert!(u64::from_str_radix(value, 16).unwrap() & !0x3000 == 0, "{set} is {value}");
        assert!(set != "CapEff" || value == CAPABILITIES, "{set} is {value}");
    }
    assert_eq!(machine.run(&["ps", "-o", "user=", "-p", &pid]).trim(), "redoubt-vip");

    // The Sentinel's user may speak to it, nobody may not.
    let notify = [HOOK, "m", "leader", "start", "10.0.0.9", "6379", "10.0.0.1", "6379"];
    let says = machine
        .run(&[&["setpriv", "--reuid=redoubt", "--regid=redoubt", "--init-groups"][..], &notify].concat());
    assert!(says.contains("10.0.0.100 taken on eth0"), "{says}");
    let refused =
        machine.try_run(&["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups", HOOK, "status"]);
    assert!(refused.as_ref().is_err_and(|error| error.contains("Permission denied")), "{refused:?}");

    // Killed: started again at once, as systemd does.
    let start = Instant::now();
    machine.run(&["systemctl", "kill", "--signal=KILL", AGENT]);
    machine.shows(AGENT, "NRestarts", "1").await;
    answered(&prober, start + LEASE).await;
    let gap = longest_gap(&prober, start);
    println!("killed: not answered for during {gap:?}");
    assert!(gap < Duration::from_secs(1));

    // Hung: the kernel ends it by the lease, and the watchdog brings another one.
    answered(&prober, Instant::now()).await;
    let pid = machine.show(AGENT, "MainPID");
    let start = Instant::now();
    machine.run(&["kill", "-STOP", &pid]);
    let last = silent(&prober).await;
    assert!(last < start + LEASE + PROBE_PERIOD, "it was answered for {:?} more", last - start);
    machine.shows(AGENT, "NRestarts", "2").await;
    let back = answered(&prober, start + Duration::from_secs(1)).await;
    println!(
        "hung: silent {:?} after, answered for again {:?} after",
        last.saturating_duration_since(start),
        back - start
    );

    // Reloaded with one more address: the one that stays is answered for without a gap.
    let start = Instant::now();
    fs::write(machine.path("/etc/redoubt/vip-hook.yaml"), configuration(&[VIP, SECOND_VIP])).unwrap();
    machine.run(&["systemctl", "reload", AGENT]);
    answered(&second, start).await;
    answered(&prober, Instant::now()).await;
    let gap = longest_gap(&prober, start);
    println!("reloaded: the longest gap was {gap:?}");
    assert!(gap < Duration::from_millis(200), "{gap:?}");

    // A configuration that is none changes nothing, and shows.
    fs::write(machine.path("/etc/redoubt/vip-hook.yaml"), "sentinel: []\n").unwrap();
    machine.run(&["systemctl", "reload", AGENT]);
    wait::until("the status tells of the file", LIMIT, async || {
        let text = machine.show(AGENT, "StatusText");
        if text.starts_with("Configuration not taken into use: ") { Ok(()) } else { Err(text) }
    })
    .await
    .unwrap();
    answered(&prober, Instant::now()).await;

    // Ended: it lets go before it is gone.
    machine.run(&["systemctl", "stop", AGENT]);
    let stopped = Instant::now();
    assert_eq!(
        (machine.show(AGENT, "Result"), machine.show(AGENT, "SubState")),
        ("success".into(), "dead".into())
    );
    let last = silent(&prober).await;
    assert!(last < stopped, "it was answered for {:?} after the end", last - stopped);
    assert!(!net.host(0).ip(&["address", "show"]).unwrap().contains("10.0.0.10"));

    // Whoever speaks to its socket has it started again.
    fs::write(machine.path("/etc/redoubt/vip-hook.yaml"), configuration(&[VIP])).unwrap();
    machine.run(&[HOOK, "status"]);
    answered(&prober, stopped).await;
    machine.run(&["systemctl", "stop", AGENT, "redoubt-vip-agent.socket"]);
    let refused = machine.try_run(&[HOOK, "status"]);
    assert!(refused.is_err_and(|error| error.contains("/run/redoubt/vip-agent.sock")));
    assert_eq!(machine.show(AGENT, "SubState"), "dead");

    // One that cannot start for its configuration is not started again and again.
    fs::write(machine.path("/etc/redoubt/vip-hook.yaml"), "sentinel: []\n").unwrap();
    assert!(machine.try_run(&["systemctl", "start", AGENT]).is_err());
    assert_eq!(
        (machine.show(AGENT, "ExecMainStatus"), machine.show(AGENT, "SubState")),
        ("2".into(), "failed".into())
    );
}
