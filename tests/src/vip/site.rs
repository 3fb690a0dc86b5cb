//! Three hosts with node, Sentinel and what moves the addresses, a client host that knows nothing but one of them, and
//! two observers, one on each side of a cut; what each of them saw is kept. The client itself asks nothing, so that its
//! neighbour table is what announcements made of it.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use redis::{FromRedisValue, Value};

use super::holders::{Answer, Holders};
use super::writer::Writer;
use super::{Cost, Fault, ms};
use crate::binaries::{self, Binaries, is_ours};
use crate::client::info_fields;
use crate::deployment::MASTER_NAME;
use crate::error::{LabError, Result};
use crate::netns::{INTERFACE, Net, Prober};
use crate::process::Process;
use crate::scratch::Scratch;
use crate::wait;

/// An IPv4 address of the network of the hosts that none of them has.
pub const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));
/// The same for IPv6.
pub const VIP6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 0x100));
/// How often who answers is asked.
pub const PROBE_PERIOD: Duration = Duration::from_millis(10);

const NODE_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;
/// Hosts with node, Sentinel and what moves the addresses.
const SERVERS: usize = 3;
const CLIENT: usize = 3;
/// An observer on the client's side of a cut.
const NEAR: usize = 4;
/// One on the other side.
const FAR: usize = 5;
const LIMIT: Duration = Duration::from_secs(40);
/// How long a question over the network may take.
const ASK_LIMIT: Duration = Duration::from_millis(300);

/// The script that is known from the field, but for the lines that each host has of its own. Every Sentinel calls it
/// with the new master's address as the sixth argument.
const RECIPE: &str = r#"
if [ "$6" = "$MY_IP" ]; then
    ip addr add $VIP dev $IFACE
    arping -q -c 1 -A -I $IFACE ${VIP%/*}
    echo "$IFACE has $VIP"
else
    ip addr del $VIP dev $IFACE
fi
exit 0
"#;

/// What moves the address.
#[derive(Clone, Debug)]
pub enum Mover {
    /// redoubt-vip-hook, of which this is the program: an agent on each host, and the script of each Sentinel.
    Agent(PathBuf),
    /// A shell script with `ip` and `arping` for the first address, an IPv4 one: adds it on the new master's host,
    /// removes it elsewhere.
    Recipe,
}

/// What runs on the hosts.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Nodes and Sentinels.
    pub binaries: Binaries,
    /// What moves the address.
    pub mover: Mover,
    /// The virtual addresses; the client knows the first.
    pub addresses: Vec<IpAddr>,
    /// `down-after-milliseconds`.
    pub down_after_ms: u64,
}

impl Shape {
    /// This project's, with one IPv4 address and Sentinels that wait for a second.
    pub fn usual() -> Result<Shape> {
        Ok(Shape {
            binaries: Binaries::locate(None, None)?,
            mover: Mover::Agent(binaries::vip_hook()?),
            addresses: vec![VIP],
            down_after_ms: 1000,
        })
    }
}

/// The programs of a host.
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
    /// Writes through the first address.
    pub writer: Writer,
    shape: Shape,
    dirs: Vec<PathBuf>,
    /// Its network.
    pub net: Net,
    _scratch: Scratch,
}

impl Site {
    /// Starts everything, and waits until the client's writes are acknowledged. To be called inside of
    /// [`netns::isolated`](crate::netns::isolated), on the process's main thread or one that outlives the site.
    pub async fn start(shape: Shape, scratch: Scratch) -> Result<Site> {
        let net = Net::new(FAR + 1)?;
        let dirs = net.hosts().iter().map(|host| scratch.subdir(&host.name)).collect::<Result<_>>()?;
        let probers = |address: &IpAddr| {
            [NEAR, FAR].map(|host| (*address, net.host(host).prober(*address, PROBE_PERIOD)))
        };
        let probers = shape.addresses.iter().flat_map(probers).collect();
        let writer = Writer::start(net.host(CLIENT), SocketAddr::new(shape.addresses[0], NODE_PORT));
        let running = (0..SERVERS).map(|_| Running::default()).collect();
        let mut site = Site { running, probers, writer, shape, dirs, net, _scratch: scratch };
        if let Mover::Recipe = site.shape.mover {
            // It does nothing at boot.
            site.net.host(0).ip(&["address", "add", &site.prefixed(), "dev", INTERFACE])?;
        }
        for host in 0..SERVERS {
            site.write_files(host)?;
            site.start_all(host)?;
        }
        site.hasten().await?;
        site.settled().await?;
        Ok(site)
    }

    /// The first address as `ip` takes it.
    fn prefixed(&self) -> String {
        format!("{}/32", self.shape.addresses[0])
    }

    /// Makes Sentinels of this project correct a master that returns sooner. Not a matter of what is measured.
    async fn hasten(&self) -> Result<()> {
        let periods = ["SENTINEL", "DEBUG", "publish-period", "250", "info-period", "1000"];
        for host in (0..SERVERS).filter(|_| is_ours(&self.shape.binaries.sentinel)) {
            let ask = async || self.ask::<String>(host, SENTINEL_PORT, &periods);
            wait::until("a Sentinel answers", LIMIT, ask).await?;
        }
        Ok(())
    }

    fn write_files(&self, host: usize) -> Result<()> {
        let dir = &self.dirs[host];
        let (shown, own, first) = (dir.display(), self.net.host(host).address, self.net.host(0).address);
        let mut node = format!(
            "port {NODE_PORT}\nprotected-mode no\nsave \"\"\ndir {shown}\nrepl-diskless-sync-delay 0\n"
        );
        if host != 0 {
            node += &format!("replicaof {first} {NODE_PORT}\n");
        }
        let write = |name: &str, text: String| {
            let path = dir.join(name);
            std::fs::write(&path, text).map_err(LabError::file("write", &path))?;
            Ok::<_, LabError>(path)
        };
        let script = match &self.shape.mover {
            Mover::Agent(hook) => {
                let list: String = (0..SERVERS)
                    .map(|i| format!("  - {}:{SENTINEL_PORT}\n", self.net.host(i).address))
                    .collect();
                let address =
                    |address| format!("      - address: \"{address}\"\n        interface: {INTERFACE}\n");
                let addresses: String = self.shape.addresses.iter().map(address).collect();
                let agent = format!(
                    "socket: {shown}/agent.sock\nstate-dir: {shown}\nsentinels:\n{list}masters:\n  \
                     - name: {MASTER_NAME}\n    node: {own}:{NODE_PORT}\n    addresses:\n{addresses}"
                );
                write("vip-hook.yaml", agent)?;
                hook.clone()
            }
            Mover::Recipe => {
                let own = format!("#!/bin/sh\nMY_IP={own}\nIFACE={INTERFACE}\nVIP={}\n", self.prefixed());
                let path = write("reconfig.sh", own + RECIPE)?;
                let executable = std::fs::Permissions::from_mode(0o755);
                std::fs::set_permissions(&path, executable)
                    .map_err(LabError::file("make executable", &path))?;
                path
            }
        };
        let sentinel = format!(
            "port {SENTINEL_PORT}\nprotected-mode no\ndir {shown}\n\
             sentinel monitor {MASTER_NAME} {first} {NODE_PORT} 2\n\
             sentinel down-after-milliseconds {MASTER_NAME} {}\nsentinel failover-timeout {MASTER_NAME} 6000\n\
             sentinel client-reconfig-script {MASTER_NAME} {}\n",
            self.shape.down_after_ms,
            script.display()
        );
        write("node.conf", node)?;
        write("sentinel.conf", sentinel)?;
        Ok(())
    }

    /// Starts a program in a host. Scripts find the agent's configuration in the environment.
    fn spawn(&self, host: usize, name: &str, program: &Path, args: &[&str]) -> Result<Process> {
        let dir = &self.dirs[host];
        let config = format!("REDOUBT_VIP_CONFIG={}", dir.join("vip-hook.yaml").display());
        let mut words = vec![config, program.display().to_string()];
        words.extend(args.iter().map(|arg| arg.to_string()));
        let (program, args) = self.net.host(host).enter(Path::new("/usr/bin/env"), &words)?;
        Process::spawn(&program, &args, None, dir, &dir.join(format!("{name}.log")))
    }

    /// Starts the node of a host, again or for the first time.
    pub fn start_node(&mut self, host: usize) -> Result<()> {
        self.running[host].node =
            Some(self.spawn(host, "node", &self.shape.binaries.node, &["node.conf"])?);
        Ok(())
    }

    /// The same for its agent, where there are agents.
    pub fn start_agent(&mut self, host: usize) -> Result<()> {
        if let Mover::Agent(hook) = &self.shape.mover {
            self.running[host].agent = Some(self.spawn(host, "agent", hook, &["agent"])?);
        }
        Ok(())
    }

    fn start_all(&mut self, host: usize) -> Result<()> {
        self.start_node(host)?;
        let sentinel = self.spawn(host, "sentinel", &self.shape.binaries.sentinel, &["sentinel.conf"])?;
        self.running[host].sentinel = Some(sentinel);
        self.start_agent(host)
    }

    /// Kills every program on every host and starts them again.
    pub async fn restart_everything(&mut self) -> Result<()> {
        self.running.iter_mut().for_each(|running| *running = Running::default());
        (0..SERVERS).try_for_each(|host| self.start_all(host))?;
        self.hasten().await
    }

    /// A host's node.
    ///
    /// # Panics
    /// If it was not started.
    pub fn node(&mut self, host: usize) -> &mut Process {
        self.running[host].node.as_mut().expect("the node was started")
    }

    /// A host's agent.
    ///
    /// # Panics
    /// If there are none.
    pub fn agent(&mut self, host: usize) -> &mut Process {
        self.running[host].agent.as_mut().expect("the agent was started")
    }

    /// What a host's Sentinel has logged.
    pub fn sentinel_log(&self, host: usize) -> Result<String> {
        let path = self.dirs[host].join("sentinel.log");
        std::fs::read_to_string(&path).map_err(LabError::file("read", &path))
    }

    /// Waits until all is well and the master has served for longer than it takes to notice that one does not (a
    /// master that fails sooner is taken for one that flaps), breaks its host, waits for another, and mends it.
    pub async fn round(&mut self, fault: Fault) -> Result<Cost> {
        let from = self.settled().await?;
        tokio::time::sleep(Duration::from_millis(self.shape.down_after_ms + 200)).await;
        let start = Instant::now();
        self.break_host(fault, from).await?;
        let to = self.taken_over(start, Some(from)).await?;
        let outage = self.writer.longest_gap_since(start);
        let neighbour = self.neighbour()? == Some(to);
        self.mend(fault, from)?;
        let kept = self.settled().await? == to;
        let dual = self.holders(start).dual();
        Ok(Cost { fault, from, to, outage_ms: ms(outage), dual_ms: ms(dual), neighbour, kept })
    }

    async fn break_host(&mut self, fault: Fault, host: usize) -> Result<()> {
        match fault {
            Fault::Sigkill => return self.node(host).kill(),
            Fault::Sigstop => return self.node(host).signal(Signal::SIGSTOP),
            Fault::Manual => return self.fail_over(host).await,
            Fault::Cut => {}
            Fault::CutAgentKilled => self.agent(host).signal(Signal::SIGKILL)?,
            Fault::CutAgentHangs => self.agent(host).signal(Signal::SIGSTOP)?,
        }
        self.net.partition(&[&[host, FAR]])
    }

    fn mend(&mut self, fault: Fault, host: usize) -> Result<()> {
        match fault {
            Fault::Sigkill => return self.start_node(host),
            Fault::Sigstop => return self.node(host).signal(Signal::SIGCONT),
            Fault::Manual => return Ok(()),
            Fault::Cut | Fault::CutAgentKilled | Fault::CutAgentHangs => self.net.heal()?,
        }
        match fault {
            Fault::CutAgentKilled => self.start_agent(host),
            Fault::CutAgentHangs => self.agent(host).signal(Signal::SIGCONT),
            _ => Ok(()),
        }
    }

    /// What a server on a host answers to somebody on the same host.
    fn ask<T: FromRedisValue + Send>(&self, host: usize, port: u16, words: &[&str]) -> Result<T> {
        let host = self.net.host(host);
        host.run(|| {
            let client = redis::Client::open(format!("redis://{}:{port}", host.address))?;
            let mut link = client.get_connection_with_timeout(ASK_LIMIT)?;
            link.set_read_timeout(Some(ASK_LIMIT))?;
            words[1..].iter().fold(&mut redis::cmd(words[0]), |cmd, word| cmd.arg(*word)).query(&mut link)
        })
        .map_err(LabError::redis(format!("{} to {}:{port}", words.join(" "), host.address)))
    }

    /// Asks a host's Sentinel for a failover that nothing made necessary.
    async fn fail_over(&self, through: usize) -> Result<()> {
        let words = ["SENTINEL", "FAILOVER", MASTER_NAME];
        let ask = async || self.ask::<Value>(through, SENTINEL_PORT, &words);
        wait::until("a failover can be asked for", LIMIT, ask).await.map(|_| ())
    }

    /// Which host the Sentinels name, if all agree and see all nodes well.
    fn agreed(&self) -> Result<usize> {
        let mut named = None;
        for host in 0..SERVERS {
            let (ip, _): (String, String) =
                self.ask(host, SENTINEL_PORT, &["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME])?;
            let replicas: Vec<std::collections::HashMap<String, String>> =
                self.ask(host, SENTINEL_PORT, &["SENTINEL", "REPLICAS", MASTER_NAME])?;
            let well =
                replicas.iter().filter(|replica| replica["flags"] == "slave" && replica["master-host"] == ip);
            let well = well.filter(|replica| replica["master-link-status"] == "ok").count();
            if well != SERVERS - 1 {
                return Err(LabError::Other(format!(
                    "Sentinel {host}, master {ip}, has {well} replicas in order: {replicas:?}"
                )));
            }
            let peers: Vec<Value> = self.ask(host, SENTINEL_PORT, &["SENTINEL", "SENTINELS", MASTER_NAME])?;
            if peers.len() != SERVERS - 1 || *named.get_or_insert(ip.clone()) != ip {
                return Err(LabError::Other(format!(
                    "Sentinel {host} names {ip} and knows {} others; before: {named:?}",
                    peers.len()
                )));
            }
        }
        let named = named.unwrap_or_default();
        let host = (0..SERVERS).find(|host| self.net.host(*host).address.to_string() == named);
        let host = host.ok_or_else(|| LabError::Other(format!("nobody has the address {named}")))?;
        let info: String = self.ask(host, NODE_PORT, &["INFO", "replication"])?;
        let info = info_fields(&info);
        match (info["role"].as_str(), info["connected_slaves"].as_str()) {
            ("master", "2") => Ok(host),
            (role, replicas) => Err(LabError::Other(format!("host {host} is {role} of {replicas}"))),
        }
    }

    /// Waits until everything is well: all agree, the address is with the master alone, and writes go through it.
    /// Returns the master's host.
    pub async fn settled(&self) -> Result<usize> {
        wait::until("the deployment settles", LIMIT, async || {
            let host = self.agreed().map_err(|error| error.to_string())?;
            let since = Instant::now();
            tokio::time::sleep(3 * PROBE_PERIOD).await;
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
        .await
    }

    /// Waits for a holder other than `old` whose writes are acknowledged, and for those who come late with an answer.
    pub async fn taken_over(&self, start: Instant, old: Option<usize>) -> Result<usize> {
        let holder = wait::until("another host answers, and writes go through", LIMIT, async || {
            let last = self.probers[0].1.last().filter(|heard| heard.at > start).ok_or("nobody answers")?;
            let holder = self.host_of(last.by).ok_or("a stranger answers")?;
            let acked = self.writer.first_ack_after(last.at).is_some();
            (acked && Some(holder) != old)
                .then_some(holder)
                .ok_or(format!("host {holder} answers; acknowledged: {acked}"))
        })
        .await?;
        tokio::time::sleep(Duration::from_millis(200)).await;
        Ok(holder)
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
    pub fn neighbour(&self) -> Result<Option<usize>> {
        let mac = self.net.host(CLIENT).neighbour(self.shape.addresses[0])?;
        Ok(mac.and_then(|mac| self.host_of(mac)))
    }

    fn host_of(&self, mac: [u8; 6]) -> Option<usize> {
        self.net.hosts().iter().position(|host| host.mac == mac)
    }
}
