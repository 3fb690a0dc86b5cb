//! Three hosts with node, Sentinel and agent, a client host that knows one address, and two observers, one on each side
//! of a cut; what each of them saw is kept. The client itself asks nothing, so that its neighbour table is what
//! announcements made of it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use redis::{FromRedisValue, Value};
use redoubt_lab::binaries::{Binaries, is_ours};
use redoubt_lab::client::info_fields;
use redoubt_lab::netns::{Host, INTERFACE, Net, Prober};
use redoubt_lab::process::Process;
use redoubt_lab::scratch::Scratch;

use crate::holders::{Answer, Holders};
use crate::writer::Writer;

pub const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));
pub const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100));
/// The Sentinels' name for the master.
const MASTER: &str = "mymaster";
pub const NODE_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
/// Hosts with node, Sentinel and agent.
const SERVERS: usize = 3;
const CLIENT: usize = 3;
/// An observer on the client's side of a cut.
const NEAR: usize = 4;
/// One on the other side.
const FAR: usize = 5;
/// How often who answers is asked.
const PROBE_PERIOD: Duration = Duration::from_millis(10);
const LIMIT: Duration = Duration::from_secs(40);
/// How long a question over the network may take.
const ASK_LIMIT: Duration = Duration::from_millis(300);

/// The three programs of a host.
#[derive(Default)]
struct Running {
    node: Option<Process>,
    sentinel: Option<Process>,
    agent: Option<Process>,
}

/// The whole deployment.
pub struct Site {
    running: Vec<Running>,
    /// Of each address, from the near side first.
    probers: Vec<(IpAddr, Prober)>,
    /// The only address that the client knows.
    address: IpAddr,
    /// Writes through it.
    pub writer: Writer,
    binaries: Binaries,
    hook: PathBuf,
    dirs: Vec<PathBuf>,
    pub net: Net,
    _scratch: Scratch,
}

/// What a fault cost.
#[derive(Clone, Copy, Debug)]
pub struct Cost {
    /// From the last acknowledged write before it to the first after it.
    pub outage: Duration,
    /// Which host has the address now.
    pub holder: usize,
}

impl Site {
    /// Starts everything with `Sentinels` of that program and these virtual addresses, of which the client knows the
    /// first, and waits until its writes are acknowledged.
    pub fn start(sentinel: Option<PathBuf>, addresses: &[IpAddr]) -> Site {
        let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let binaries = Binaries::locate(None, sentinel).unwrap();
        let hook = Binaries::vip_hook().unwrap();
        let net = Net::new(FAR + 1).unwrap();
        let dirs: Vec<PathBuf> = net.hosts().iter().map(|host| scratch.subdir(&host.name).unwrap()).collect();
        let probers = |address: &IpAddr| {
            [NEAR, FAR].map(|host| (*address, net.host(host).prober(*address, PROBE_PERIOD)))
        };
        let probers = addresses.iter().flat_map(probers).collect();
        let address = addresses[0];
        let writer = Writer::start(net.host(CLIENT), SocketAddr::new(address, NODE_PORT));
        let running = (0..SERVERS).map(|_| Running::default()).collect();
        let mut site =
            Site { running, probers, address, writer, binaries, hook, dirs, net, _scratch: scratch };
        for host in 0..SERVERS {
            site.write_files(host, addresses);
            site.start_all(host);
        }
        site.hasten();
        site.settled();
        site
    }

    /// Makes Sentinels of this project correct a master that returns sooner. Not a matter of what is measured.
    fn hasten(&self) {
        let periods = ["SENTINEL", "DEBUG", "publish-period", "250", "info-period", "1000"];
        for host in (0..SERVERS).filter(|_| self.own_sentinels()) {
            self.wait("a Sentinel answers", || self.ask::<String>(host, SENTINEL_PORT, &periods));
        }
    }

    fn write_files(&self, host: usize, addresses: &[IpAddr]) {
        let dir = &self.dirs[host];
        let shown = dir.display();
        let first = self.net.host(0).address;
        let mut node = format!(
            "port {NODE_PORT}\nprotected-mode no\nsave \"\"\ndir {shown}\nrepl-diskless-sync-delay 0\n"
        );
        if host != 0 {
            node += &format!("replicaof {first} {NODE_PORT}\n");
        }
        let hook = self.hook.display();
        let sentinel = format!(
            "port {SENTINEL_PORT}\nprotected-mode no\ndir {shown}\nsentinel monitor {MASTER} {first} {NODE_PORT} 2\n\
             sentinel down-after-milliseconds {MASTER} 1000\nsentinel failover-timeout {MASTER} 6000\n\
             sentinel client-reconfig-script {MASTER} {hook}\n"
        );
        let list: String =
            (0..SERVERS).map(|i| format!("  - {}:{SENTINEL_PORT}\n", self.net.host(i).address)).collect();
        let addresses: String = addresses
            .iter()
            .map(|address| format!("      - address: \"{address}\"\n        interface: {INTERFACE}\n"))
            .collect();
        let agent = format!(
            "socket: {shown}/agent.sock\nstate-dir: {shown}\nsentinels:\n{list}masters:\n  - name: {MASTER}\n    \
             node: {}:{NODE_PORT}\n    addresses:\n{addresses}",
            self.net.host(host).address
        );
        std::fs::write(dir.join("node.conf"), node).unwrap();
        std::fs::write(dir.join("sentinel.conf"), sentinel).unwrap();
        std::fs::write(dir.join("vip-hook.yaml"), agent).unwrap();
    }

    /// Starts a program in a host. Its scripts find the agent's configuration in the environment.
    fn spawn(&self, host: usize, name: &str, program: &std::path::Path, args: &[&str]) -> Process {
        let dir = &self.dirs[host];
        let config = format!("REDOUBT_VIP_CONFIG={}", dir.join("vip-hook.yaml").display());
        let mut words = vec![config, program.display().to_string()];
        words.extend(args.iter().map(|arg| arg.to_string()));
        let (program, args) =
            self.net.host(host).enter(std::path::Path::new("/usr/bin/env"), &words).unwrap();
        Process::spawn(&program, &args, None, dir, &dir.join(format!("{name}.log"))).unwrap()
    }

    pub fn start_node(&mut self, host: usize) {
        self.running[host].node = Some(self.spawn(host, "node", &self.binaries.node, &["node.conf"]));
    }

    pub fn start_agent(&mut self, host: usize) {
        self.running[host].agent = Some(self.spawn(host, "agent", &self.hook, &["agent"]));
    }

    fn start_all(&mut self, host: usize) {
        self.start_node(host);
        let sentinel = self.spawn(host, "sentinel", &self.binaries.sentinel, &["sentinel.conf"]);
        self.running[host].sentinel = Some(sentinel);
        self.start_agent(host);
    }

    /// Kills every program on every host and starts them again.
    pub fn restart_everything(&mut self) {
        self.running.iter_mut().for_each(|running| *running = Running::default());
        (0..SERVERS).for_each(|host| self.start_all(host));
        self.hasten();
    }

    pub fn node(&mut self, host: usize) -> &mut Process {
        self.running[host].node.as_mut().expect("the node was started")
    }

    pub fn agent(&mut self, host: usize) -> &mut Process {
        self.running[host].agent.as_mut().expect("the agent was started")
    }

    /// Cuts a host off from everybody but the observer on its side.
    pub fn cut(&self, host: usize) {
        self.net.partition(&[&[host, FAR]]).unwrap();
    }

    /// What a server on a host answers to somebody on the same host.
    fn ask<T: FromRedisValue + Send>(&self, host: usize, port: u16, words: &[&str]) -> Result<T, String> {
        let host = self.net.host(host);
        host.run(|| {
            let client = redis::Client::open(format!("redis://{}:{port}", host.address)).map_err(text)?;
            let mut link = client.get_connection_with_timeout(ASK_LIMIT).map_err(text)?;
            link.set_read_timeout(Some(ASK_LIMIT)).map_err(text)?;
            words[1..]
                .iter()
                .fold(&mut redis::cmd(words[0]), |cmd, word| cmd.arg(*word))
                .query(&mut link)
                .map_err(text)
        })
    }

    /// Asks a Sentinel for a failover that nothing made necessary.
    pub fn fail_over(&self, through: usize) {
        let asked = Instant::now();
        while let Err(error) = self.ask::<Value>(through, SENTINEL_PORT, &["SENTINEL", "FAILOVER", MASTER]) {
            assert!(asked.elapsed() < LIMIT, "no failover could be asked for: {error}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Which host the Sentinels name, if all agree and see all nodes well.
    fn agreed(&self) -> Result<usize, String> {
        let mut named = None;
        for host in 0..SERVERS {
            let (ip, _): (String, String) =
                self.ask(host, SENTINEL_PORT, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER])?;
            let replicas: Vec<std::collections::HashMap<String, String>> =
                self.ask(host, SENTINEL_PORT, &["SENTINEL", "REPLICAS", MASTER])?;
            let well =
                replicas.iter().filter(|replica| replica["flags"] == "slave" && replica["master-host"] == ip);
            let well = well.filter(|replica| replica["master-link-status"] == "ok").count();
            if well != SERVERS - 1 {
                return Err(format!(
                    "Sentinel {host}, master {ip}, has {well} replicas in order: {replicas:?}"
                ));
            }
            let peers: Vec<Value> = self.ask(host, SENTINEL_PORT, &["SENTINEL", "SENTINELS", MASTER])?;
            if peers.len() != SERVERS - 1 || *named.get_or_insert(ip.clone()) != ip {
                return Err(format!(
                    "Sentinel {host} names {ip} and knows {} others; before: {named:?}",
                    peers.len()
                ));
            }
        }
        let named = named.unwrap_or_default();
        let host = (0..SERVERS).find(|host| self.net.host(*host).address.to_string() == named);
        let host = host.ok_or_else(|| format!("nobody has the address {named}"))?;
        let info: String = self.ask(host, NODE_PORT, &["INFO", "replication"])?;
        let info = info_fields(&info);
        match (info["role"].as_str(), info["connected_slaves"].as_str()) {
            ("master", "2") => Ok(host),
            (role, replicas) => Err(format!("host {host} is {role} of {replicas}")),
        }
    }

    /// Waits until everything is well: all agree, the addresses are with the master alone, and writes go through.
    /// Returns the master's host.
    pub fn settled(&self) -> usize {
        self.wait("the deployment settles", || {
            let host = self.agreed()?;
            let since = Instant::now();
            std::thread::sleep(3 * PROBE_PERIOD);
            let answers: BTreeSet<_> =
                self.answers(since).map(|answer| (answer.address, answer.by)).collect();
            let mac = self.net.host(host).mac;
            if answers != self.probers.iter().map(|(address, _)| (*address, mac)).collect() {
                return Err(format!("host {host} is the master, and these answer: {answers:?}"));
            }
            match self.writer.last_ack() {
                Some(at) if at > since => Ok(host),
                last => Err(format!("the last write was acknowledged {:?} ago", last.map(|at| at.elapsed()))),
            }
        })
    }

    /// Waits for a new holder whose writes are acknowledged, and says what the way there cost since `start`.
    pub fn cost_since(&self, start: Instant, old: Option<usize>) -> Cost {
        let holder = self.wait("another host answers, and writes go through", || {
            let last = self.probers[0].1.last().filter(|heard| heard.at > start).ok_or("nobody answers")?;
            let holder = self.host_of(last.by).ok_or("a stranger answers")?;
            let acked = self.writer.first_ack_after(last.at).is_some();
            (acked && Some(holder) != old)
                .then_some(holder)
                .ok_or(format!("host {holder} answers; acknowledged: {acked}"))
        });
        // Whoever comes late with an answer shall be heard.
        std::thread::sleep(Duration::from_millis(200));
        let outage = self.writer.longest_gap_since(start);
        Cost { outage, holder }
    }

    /// Who answered since then, seen from both sides of a cut.
    pub fn holders(&self, since: Instant) -> Holders {
        Holders::new(self.answers(since).collect())
    }

    fn answers(&self, since: Instant) -> impl Iterator<Item = Answer> {
        self.probers.iter().flat_map(move |(address, prober)| {
            let heard = prober.heard().into_iter().filter(move |heard| heard.at >= since);
            heard.map(|heard| Answer { at: heard.at, address: *address, by: heard.by })
        })
    }

    /// What the client's neighbour table says, as a host.
    pub fn neighbour(&self) -> Option<usize> {
        self.host_of(self.net.host(CLIENT).neighbour(self.address).unwrap()?)
    }

    fn host_of(&self, mac: [u8; 6]) -> Option<usize> {
        self.net.hosts().iter().position(|host: &Host| host.mac == mac)
    }

    fn wait<T>(&self, what: &str, mut attempt: impl FnMut() -> Result<T, String>) -> T {
        let start = Instant::now();
        loop {
            match attempt() {
                Ok(value) => return value,
                Err(seen) => {
                    assert!(start.elapsed() < LIMIT, "{what}: not within {LIMIT:?}; last seen: {seen}")
                }
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Whether the Sentinels are of this project.
    pub fn own_sentinels(&self) -> bool {
        is_ours(&self.binaries.sentinel)
    }
}

fn text(error: redis::RedisError) -> String {
    error.to_string()
}
