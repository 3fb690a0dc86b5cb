//! A network of hosts inside one test, without root: namespaces, a switch, and cuts.
//!
//! A test that needs it runs its body through [`isolated`]: the test executable is started once more under `unshare
//! -rn`, where it is root of a user and a network namespace of its own and nothing it does reaches the machine. There
//! [`Net::new`] plugs hosts into a switch. The switch is a bridge in the test's own network namespace; a host is a
//! network namespace whose `eth0` is a veth pair's other end. All of it lives as long as somebody has it open, so
//! that it is gone with the test's process, however that ends.
//!
//! Code of the test runs in a host with [`Host::run`], programs with [`Host::command`] or [`Host::enter`]. A cut
//! ([`Net::partition`]) moves ports to bridges of their own: frames stop, but every host keeps its carrier, as when
//! a switch upstream fails; [`Net::unplug`] takes the carrier too; [`Net::silence`] keeps just two hosts from
//! reaching each other's own addresses.

use std::fs::File;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use redoubt_vip_hook::platform::frames::{self, Mac};
use redoubt_vip_hook::platform::packet::PacketSocket;

use crate::error::{LabError, Result};

/// Set in the environment of a test that runs inside its namespaces.
const INSIDE: &str = "REDOUBT_TEST_ISOLATED";
/// The interface of every host.
pub const INTERFACE: &str = "eth0";

/// Runs the body of the test of this name (as `cargo test -- --exact` takes it) in namespaces of its own.
///
/// # Panics
/// If the test fails there, or if no namespaces are to be had; `tests/run` leaves such tests out by their names, which
/// begin with `with_netns`.
pub fn isolated(test: &str, body: impl FnOnce()) {
    isolated_by(&["--map-root-user", "--net"], test, body);
}

/// The same for what root of a user namespace may not do, such as to boot a systemd. To be called as root.
///
/// # Panics
/// If the test fails there, or if it may not make namespaces.
pub fn isolated_as_root(test: &str, body: impl FnOnce()) {
    isolated_by(&["--net"], test, body);
}

/// Whether this process is in namespaces of its own already; where it is not, runs it once more there, with the same
/// arguments, and gives what became of that.
///
/// # Errors
/// If no namespaces are to be had.
pub fn isolated_program() -> Result<Option<ExitStatus>> {
    if std::env::var_os(INSIDE).is_some() {
        // It ends in order, as the outer one does.
        set_pdeathsig(Signal::SIGTERM)
            .map_err(LabError::errno("cannot ask for a signal at the parent's death"))?;
        return Ok(None);
    }
    let namespaces = ["--map-root-user", "--net"];
    let allowed = Command::new("unshare").args(namespaces).args(["--", "true"]).output();
    if !allowed.map_err(LabError::io("cannot run unshare (util-linux)"))?.status.success() {
        return Err(LabError::Other(
            "this machine does not allow user namespaces, in which the hosts would be: `unshare -rn true` fails; try it as root"
                .into(),
        ));
    }
    let program = std::env::current_exe().map_err(LabError::io("cannot find the lab's own executable"))?;
    let status = Command::new("unshare")
        .args(namespaces)
        .arg("--")
        .arg(program)
        .args(std::env::args_os().skip(1))
        .env(INSIDE, "1")
        // What was to be built has been built.
        .env_remove("CARGO")
        .status();
    status.map(Some).map_err(LabError::io("cannot run unshare (util-linux)"))
}

fn isolated_by(namespaces: &[&str], test: &str, body: impl FnOnce()) {
    if std::env::var_os(INSIDE).is_some() {
        // The outer process waits for this one in the thread that started it.
        set_pdeathsig(Signal::SIGKILL).expect("a process can ask for a signal at its parent's death");
        return body();
    }
    let program = std::env::current_exe().expect("a running test has an executable");
    let status = Command::new("unshare")
        .args(namespaces)
        .arg("--")
        .arg(program)
        .args(["--exact", test, "--nocapture", "--include-ignored"])
        .env(INSIDE, "1")
        .status()
        .expect("unshare (util-linux) makes the namespaces");
    assert!(
        status.success(),
        "{test} failed inside its namespaces ({status}); if `unshare -rn true` fails here, this machine does not \
         allow user namespaces: leave such tests out with `--skip with_netns`"
    );
}

/// Hosts on a switch.
#[derive(Debug)]
pub struct Net {
    hosts: Vec<Host>,
    /// The network namespace of the switch, for calls from within a host.
    switch: Namespace,
}

/// A network namespace, which lives as long as the open file.
#[derive(Debug)]
struct Namespace(File);

impl Namespace {
    /// The one that the calling thread is in.
    fn of_this_thread() -> Result<Namespace> {
        let path = Path::new("/proc/thread-self/ns/net");
        File::open(path).map(Namespace).map_err(LabError::file("open", path))
    }

    /// A new one: that of a thread of its own, kept when that has ended.
    fn new() -> Result<Namespace> {
        std::thread::spawn(|| {
            unshare(CloneFlags::CLONE_NEWNET).map_err(LabError::errno("cannot make a network namespace"))?;
            Namespace::of_this_thread()
        })
        .join()
        .map_err(|_| LabError::Other("the thread that makes a network namespace panicked".into()))?
    }

    fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }

    /// A command that runs a program there, under the pid that it is started with.
    fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net={}", self.path())).arg("--").arg(program.as_ref());
        command
    }

    /// Runs iproute2's `ip` there and returns what it printed.
    fn ip(&self, args: &[&str]) -> Result<String> {
        let what = || format!("ip {} (iproute2)", args.join(" "));
        let output =
            self.command("ip").args(args).output().map_err(|source| LabError::Io { what: what(), source })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(LabError::Other(format!("{}: {}", what(), said.trim())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

/// One host: a network namespace with `lo` and `eth0`.
#[derive(Debug)]
pub struct Host {
    /// `h0`, `h1`, …
    pub name: String,
    /// 10.0.0.1 for the first, and so on, with prefix 24.
    pub address: Ipv4Addr,
    /// fd00::1 for the first, and so on, with prefix 64.
    pub address6: Ipv6Addr,
    /// The link-layer address of its `eth0`.
    pub mac: Mac,
    /// The other end of its cable, at the switch.
    port: String,
    namespace: Namespace,
}

impl Net {
    /// A switch with that many hosts plugged in (at most 250). To be called inside of [`isolated`].
    pub fn new(hosts: usize) -> Result<Net> {
        if std::env::var_os(INSIDE).is_none() {
            return Err(LabError::Other("a Net is made inside of netns::isolated alone".into()));
        }
        let switch = Namespace::of_this_thread()?;
        let hosts = (0..hosts).map(|number| Host::new(number, &switch)).collect::<Result<Vec<_>>>()?;
        let net = Net { hosts, switch };
        net.heal()?;
        // The kernel takes up to a second until a new cable carries something.
        let deadline = Instant::now() + Duration::from_secs(10);
        for host in &net.hosts {
            while !host.ip(&["link", "show", INTERFACE])?.contains("state UP") {
                if Instant::now() > deadline {
                    return Err(LabError::Other(format!("{} of {} does not come up", INTERFACE, host.name)));
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(net)
    }

    /// A host by its number.
    ///
    /// # Panics
    /// If there is none.
    pub fn host(&self, number: usize) -> &Host {
        &self.hosts[number]
    }

    /// All hosts.
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Cuts the network: only hosts of the same group reach each other. Hosts in no group are one more group.
    pub fn partition(&self, groups: &[&[usize]]) -> Result<()> {
        for number in 0..=groups.len() {
            let bridge = format!("br{number}");
            if self.switch.ip(&["link", "show", &bridge]).is_err() {
                let options = ["forward_delay", "0", "mcast_snooping", "0"];
                self.switch.ip(&[&["link", "add", &bridge, "type", "bridge"][..], &options].concat())?;
                self.switch.ip(&["link", "set", &bridge, "up"])?;
            }
        }
        for (number, host) in self.hosts.iter().enumerate() {
            let group = groups.iter().position(|group| group.contains(&number)).map_or(0, |group| group + 1);
            self.switch.ip(&["link", "set", &host.port, "master", &format!("br{group}")])?;
        }
        Ok(())
    }

    /// Ends what [`Net::partition`] did.
    pub fn heal(&self) -> Result<()> {
        self.partition(&[])
    }

    /// Takes a host's cable out: it loses its carrier.
    pub fn unplug(&self, number: usize) -> Result<()> {
        self.switch.ip(&["link", "set", &self.hosts[number].port, "down"]).map(|_| ())
    }

    /// Puts it back. The kernel takes up to a second to notice.
    pub fn plug(&self, number: usize) -> Result<()> {
        self.switch.ip(&["link", "set", &self.hosts[number].port, "up"]).map(|_| ())
    }

    /// A guest behind a host, as a container is: its `eth0` is a cable to the host's `guest0`, its way out is the host.
    /// Both addresses are given with their prefix.
    pub fn guest(&self, host: usize, host_address: &str, guest_address: &str) -> Result<Host> {
        let (host, namespace) = (&self.hosts[host], Namespace::new()?);
        let address = guest_address.split('/').next().and_then(|address| address.parse().ok());
        let address =
            address.ok_or_else(|| LabError::Other(format!("{guest_address} is no address with a prefix")))?;
        let guest = Host {
            name: format!("{}-guest", host.name),
            address,
            address6: Ipv6Addr::UNSPECIFIED,
            mac: [2, 0, 0, 0, 1, 0],
            port: "guest0".to_owned(),
            namespace,
        };
        let cable = ["link", "add", &guest.port, "type", "veth", "peer", "name", INTERFACE];
        let end = ["address", &mac_text(guest.mac), "netns", &guest.namespace.path()];
        host.ip(&[&cable[..], &end].concat())?;
        host.ip(&["link", "set", &guest.port, "up"])?;
        host.ip(&["address", "add", host_address, "dev", &guest.port])?;
        guest.ip(&["link", "set", "lo", "up"])?;
        guest.ip(&["link", "set", INTERFACE, "up"])?;
        guest.ip(&["address", "add", guest_address, "dev", INTERFACE])?;
        let router = host_address.split('/').next().unwrap_or_default();
        guest.ip(&["route", "add", "default", "via", router])?;
        Ok(guest)
    }

    /// Two hosts no longer reach each other's own IPv4 addresses; virtual ones and ARP are as before. Each is given a
    /// link-layer address for the other that nobody has, so packets are lost without an error.
    pub fn silence(&self, a: usize, b: usize) -> Result<()> {
        for (host, other) in [(a, b), (b, a)] {
            let address = self.hosts[other].address.to_string();
            let nobody = ["lladdr", "02:ff:ff:ff:ff:ff", "nud", "permanent", "dev", INTERFACE];
            self.hosts[host].ip(&[&["neigh", "replace", address.as_str()][..], &nobody].concat())?;
        }
        Ok(())
    }

    /// Ends what [`Net::silence`] did.
    pub fn unsilence(&self, a: usize, b: usize) -> Result<()> {
        for (host, other) in [(a, b), (b, a)] {
            let address = self.hosts[other].address.to_string();
            self.hosts[host].ip(&["neigh", "del", &address, "dev", INTERFACE])?;
        }
        Ok(())
    }
}

impl Drop for Net {
    fn drop(&mut self) {
        // Namespaces go when nobody has them open any more, and cables with them, but not at once: another network may
        // follow, whose cables have the same names.
        for host in &self.hosts {
            let _ = self.switch.ip(&["link", "del", &host.port]);
        }
    }
}

impl Host {
    fn new(number: usize, switch: &Namespace) -> Result<Host> {
        let last = u8::try_from(number + 1).ok().filter(|last| *last < 251);
        let last = last.ok_or_else(|| LabError::Other("a Net has at most 250 hosts".into()))?;
        let host = Host {
            name: format!("h{number}"),
            address: Ipv4Addr::new(10, 0, 0, last),
            address6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, last.into()),
            mac: [2, 0, 0, 0, 0, last],
            port: format!("port{number}"),
            namespace: Namespace::new()?,
        };
        let namespace = host.namespace.path();
        let cable = ["link", "add", &host.port, "type", "veth", "peer", "name", INTERFACE];
        switch.ip(&[&cable[..], &["address", &mac_text(host.mac), "netns", &namespace]].concat())?;
        switch.ip(&["link", "set", &host.port, "up"])?;
        host.ip(&["link", "set", "lo", "up"])?;
        host.ip(&["link", "set", INTERFACE, "up"])?;
        host.ip(&["address", "add", &format!("{}/24", host.address), "dev", INTERFACE])?;
        host.ip(&["address", "add", &format!("{}/64", host.address6), "dev", INTERFACE, "nodad"])?;
        Ok(host)
    }

    /// Runs code of the test in this host and returns what it returns. It runs in a thread of its own, and what it
    /// opens (sockets, runtimes) belongs to this host for good.
    ///
    /// # Panics
    /// If the code does.
    pub fn run<T: Send>(&self, code: impl FnOnce() -> T + Send) -> T {
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                setns(&self.namespace.0, CloneFlags::CLONE_NEWNET)
                    .expect("a thread enters a namespace of its own");
                code()
            });
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Starts a thread of this host.
    pub fn spawn<T: Send + 'static>(&self, code: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let namespace = self.namespace.0.try_clone().expect("a descriptor can be duplicated");
        std::thread::spawn(move || {
            setns(&namespace, CloneFlags::CLONE_NEWNET).expect("a thread enters a namespace of its own");
            code()
        })
    }

    /// A command that runs a program in this host, under the pid that it is started with.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        self.namespace.command(program)
    }

    /// The same for [`Process::spawn`](crate::process::Process::spawn): the program to start, and its arguments.
    pub fn enter(&self, program: &Path, args: &[String]) -> Result<(PathBuf, Vec<String>)> {
        let nsenter = ["/usr/bin/nsenter", "/bin/nsenter"].map(PathBuf::from);
        let nsenter = nsenter.into_iter().find(|path| path.is_file());
        let nsenter =
            nsenter.ok_or_else(|| LabError::Other("there is no nsenter: install util-linux".into()))?;
        let mut all =
            vec![format!("--net={}", self.namespace.path()), "--".to_owned(), program.display().to_string()];
        all.extend_from_slice(args);
        Ok((nsenter, all))
    }

    /// Runs iproute2's `ip` in this host and returns what it printed.
    pub fn ip(&self, args: &[&str]) -> Result<String> {
        self.namespace.ip(args)
    }

    /// Which link-layer address this host has for another address, if any.
    pub fn neighbour(&self, address: IpAddr) -> Result<Option<Mac>> {
        let text = self.ip(&["neigh", "show", "to", &address.to_string(), "dev", INTERFACE])?;
        let mut words = text.split_whitespace();
        Ok(words.find(|word| *word == "lladdr").and_then(|_| words.next()).and_then(mac_of))
    }

    /// Asks for an address (ARP or neighbour discovery) in every period until stopped, and takes down who answers. The
    /// answers come to this host alone, so that no other host's neighbour table is refreshed by them.
    pub fn prober(&self, address: IpAddr, period: Duration) -> Prober {
        let stop = Arc::new(AtomicBool::new(false));
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (stopped, answers) = (stop.clone(), heard.clone());
        let question = match address {
            IpAddr::V4(_) => frames::probe(address, self.mac),
            IpAddr::V6(address) => frames::ndp::question(address, self.address6, self.mac),
        };
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = self.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let socket = PacketSocket::open(address, &[address]).expect("a packet socket in a namespace");
                let interface =
                    nix::net::if_::if_nametoindex(INTERFACE).expect("every host has its interface");
                let mut ticks = tokio::time::interval(period);
                ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
                let mut asked = 0;
                let _ = ready.send(());
                while !stopped.load(Ordering::Relaxed) {
                    tokio::select! {
                        biased;
                        heard = socket.heard() => {
                            let heard = heard.expect("a packet socket hears");
                            if heard.claim.address == address {
                                let answer = Heard { at: Instant::now(), by: heard.claim.by };
                                answers.lock().unwrap().push(answer);
                            }
                        }
                        _ = ticks.tick() => {
                            // Down or cut off: nobody answers then.
                            let _ = socket.send(interface, &question);
                            asked += 1;
                        }
                    }
                }
                asked
            })
        });
        let _ = is_ready.recv();
        Prober { stop, heard, thread: Some(thread) }
    }
}

/// An answer, or an announcement that was heard between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// When.
    pub at: Instant,
    /// Which host, by its link-layer address.
    pub by: Mac,
}

/// Asks for an address again and again; see [`Host::prober`].
#[derive(Debug)]
pub struct Prober {
    stop: Arc<AtomicBool>,
    heard: Arc<Mutex<Vec<Heard>>>,
    thread: Option<JoinHandle<usize>>,
}

impl Prober {
    /// What was heard so far.
    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Who answered last, and when.
    pub fn last(&self) -> Option<Heard> {
        self.heard.lock().unwrap().last().copied()
    }

    /// Waits until somebody answers for whom `which` is true; `None` after `limit`.
    pub fn wait_for(&self, limit: Duration, which: impl Fn(&Heard) -> bool) -> Option<Heard> {
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            if let Some(heard) = self.heard().into_iter().rev().find(&which) {
                return Some(heard);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        None
    }

    /// Stops asking; how often it asked, and what it heard.
    pub fn stop(mut self) -> (usize, Vec<Heard>) {
        self.stop.store(true, Ordering::Relaxed);
        let asked = self.thread.take().map_or(0, |thread| thread.join().expect("a prober does not panic"));
        (asked, self.heard())
    }
}

impl Drop for Prober {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// A link-layer address as tools print it.
pub fn mac_text(mac: Mac) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

fn mac_of(text: &str) -> Option<Mac> {
    let bytes: Vec<u8> =
        text.split(':').map(|byte| u8::from_str_radix(byte, 16).ok()).collect::<Option<_>>()?;
    bytes.try_into().ok()
}
