//! The VIP agent as a service: when it is ready, what its status says of its address, and that its loop alone gives the
//! signs of life. On a host in namespaces of its own, with a node and a Sentinel beside it.

use std::fs::{File, OpenOptions};
use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::OFlag;
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use redoubt_lab::binaries;
use redoubt_lab::netns::{INTERFACE, Net, isolated};
use redoubt_lab::process::Process;
use redoubt_lab::scratch::Scratch;
use redoubt_lab::wait;
use redoubt_vip_hook::control::{self, Reply, Request};

use crate::manager::{self, Manager};
use crate::{LIMIT, node, scratch, sentinel};

/// After this without a sign of life, systemd would take the agent for hung. So short that it has to be looked at: with
/// more than four seconds, a sign of life comes once a second anyway.
const WATCHDOG: Duration = Duration::from_millis(1600);
const VIP: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 100));
const HOST: usize = 0;
const NEIGHBOUR: usize = 1;
/// After so long an agent that hangs holds nothing: the lease, and the kernel's granularity.
const LEASE: Duration = Duration::from_millis(410);

const HOLDS: &str = "STATUS=Holds 1 of 1 masters. mymaster (10.0.0.100): Holds: the local node is the master, and 1 of 1 \
                     Sentinels name it in epoch 0";

fn does_not_hold(why: &str) -> String {
    format!("STATUS=Holds 0 of 1 masters. mymaster (10.0.0.100): Does not hold: {why}")
}

/// A host with a node, a Sentinel and an agent.
struct Stage {
    net: Net,
    manager: Manager,
    scratch: Scratch,
}

impl Stage {
    fn new() -> Stage {
        let scratch = scratch();
        let stage = Stage { net: Net::new(2).unwrap(), manager: Manager::at_path(&scratch), scratch };
        let dir = stage.dir();
        std::fs::create_dir(dir.join("state")).unwrap();
        let file = "port 26379\nprotected-mode no\nsentinel monitor mymaster 10.0.0.1 6379 1\n\
                    sentinel down-after-milliseconds mymaster 60000\n";
        std::fs::write(dir.join("sentinel.conf"), file).unwrap();
        stage.configure("");
        stage
    }

    fn dir(&self) -> &Path {
        self.scratch.path()
    }

    fn state_of(&self, master: &str) -> PathBuf {
        self.dir().join("state").join(format!("{master}.json"))
    }

    /// Writes the agent's configuration, with this at its end.
    fn configure(&self, more: &str) {
        let text = format!(
            "socket: {0}/agent.sock\nstate-dir: {0}/state\nsentinels: ['10.0.0.1:26379']\nmasters:\n  - name: mymaster\n    \
             node: 10.0.0.1:6379\n    addresses: [{{address: {VIP}, interface: {INTERFACE}}}]\n{more}",
            self.dir().display()
        );
        std::fs::write(self.dir().join("vip-hook.yaml"), text).unwrap();
    }

    /// Starts a program on the host, with these variables.
    fn start(&self, name: &str, variables: &[String], program: &Path, args: &[&str]) -> Process {
        let mut words = variables.to_vec();
        words.push(program.display().to_string());
        words.extend(args.iter().map(|arg| arg.to_string()));
        let (program, args) = self.net.host(HOST).enter(Path::new("/usr/bin/env"), &words).unwrap();
        Process::spawn(&program, &args, None, self.dir(), &self.dir().join(format!("{name}.log"))).unwrap()
    }

    fn start_node(&self) -> Process {
        self.start("node", &[], &node(), &["--port", "6379", "--save", "", "--protected-mode", "no"])
    }

    fn start_agent(&self) -> Process {
        let hook = binaries::vip_hook().unwrap();
        self.start("agent", &self.manager.variables(WATCHDOG), &hook, &["--config", "vip-hook.yaml", "agent"])
    }

    async fn hear_start(&self, from: usize, text: &str) -> usize {
        self.manager.hear(from, text, |heard| heard.lines().any(|line| line.starts_with(text))).await
    }

    fn ask(&self, request: &Request) -> Reply {
        control::call(&self.dir().join("agent.sock"), request).unwrap()
    }

    fn maintenance(&self, on: bool) {
        let reply = self.ask(&Request::Maintenance { on, master: None });
        assert!(matches!(reply, Reply::Done { .. }), "{reply:?}");
    }

    fn has_address(&self) -> bool {
        let text = self.net.host(HOST).ip(&["-o", "address", "show", "dev", INTERFACE]).unwrap();
        text.contains(&format!(" {VIP}/32 "))
    }
}

/// A file that holds up whoever reads it until it is told what stands in it.
struct Blocking(PathBuf);

impl Blocking {
    fn new(path: PathBuf) -> Blocking {
        mkfifo(&path, Mode::S_IRWXU).unwrap();
        Blocking(path)
    }

    /// Waits until somebody is held up; the other end.
    async fn is_read(&self) -> File {
        let open = || OpenOptions::new().write(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&self.0);
        wait::until("the file is read", LIMIT, async || open()).await.unwrap()
    }

    /// Puts a file in its place, and so lets the reader go.
    fn becomes(self, mut reader: File, text: &str) {
        let file = self.0.with_extension("new");
        std::fs::write(&file, text).unwrap();
        std::fs::rename(&file, &self.0).unwrap();
        std::io::Write::write_all(&mut reader, text.as_bytes()).unwrap();
    }
}

#[test]
fn with_netns_systemd_hears_what_an_agent_holds_and_that_its_loop_goes_on() {
    let name = "agent::with_netns_systemd_hears_what_an_agent_holds_and_that_its_loop_goes_on";
    isolated(name, || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(from_start_to_end());
    });
}

async fn from_start_to_end() {
    let stage = Stage::new();
    let manager = &stage.manager;
    let mut node = stage.start_node();
    let _sentinel = stage.start("sentinel", &[], &sentinel(), &["sentinel.conf"]);

    let state = Blocking::new(stage.state_of("mymaster"));
    let mut agent = stage.start_agent();
    let starting = manager.hear_status(0, "The agent is starting").await;
    assert_eq!(starting, 1, "it is the first to be heard");
    let reader = state.is_read().await;
    assert_eq!(manager.count(), starting, "an agent that cannot serve yet is not ready");
    state.becomes(reader, "{}");
    let ready = manager.hear(starting, "that it is ready", |text| text.starts_with("READY=1\n")).await;
    assert!(matches!(stage.ask(&Request::Ping), Reply::Pong { .. }), "ready means ready");

    let held = stage.hear_start(ready - 1, HOLDS).await;
    assert!(stage.has_address());
    let steady = manager.live(held, 6).await;
    assert!(manager::longest_gap(&steady) <= WATCHDOG / 2, "{:?}", manager::longest_gap(&steady));

    node.kill().unwrap();
    let refused = does_not_hold("the local node refuses connections; is it running?");
    let from = stage.hear_start(held, &refused).await;
    assert!(!stage.has_address());
    let _node = stage.start_node();
    let from = stage.hear_start(from, HOLDS).await;
    stage.maintenance(true);
    let from = stage.hear_start(from, &does_not_hold("maintenance is on")).await;
    stage.maintenance(false);
    let from = stage.hear_start(from, HOLDS).await;

    stage.configure("speed: 3\n");
    agent.signal(Signal::SIGHUP).unwrap();
    let from = stage.hear_start(from, "RELOADING=1").await;
    let from = stage.hear_start(from, "STATUS=Configuration not taken into use: ").await;

    let from = hangs_and_goes_on(&stage, &agent, from).await;

    assert!(!manager.has_heard(0, "STOPPING"));
    assert!(stage.has_address());
    agent.signal(Signal::SIGTERM).unwrap();
    manager.hear(from, "that it ends", |text| text == "STOPPING=1").await;
    assert_eq!(agent.ended(LIMIT).await.unwrap().code(), Some(0));
    assert!(!stage.has_address(), "what it held is gone with it");
}

/// The loop reads the state of a master that is new in the configuration, and that does not end.
async fn hangs_and_goes_on(stage: &Stage, agent: &Process, from: usize) -> usize {
    let manager = &stage.manager;
    let prober = stage.net.host(NEIGHBOUR).prober(VIP, Duration::from_millis(10));
    prober.wait_for(LIMIT, |_| true).expect("the host answers for the address");
    let state = Blocking::new(stage.state_of("other"));
    stage.configure(&format!(
        "  - name: other\n    node: 10.0.0.1:6379\n    addresses: [{{address: 10.0.0.101, interface: {INTERFACE}}}]\n"
    ));
    agent.signal(Signal::SIGHUP).unwrap();
    let reloading = stage.hear_start(from, "RELOADING=1").await;
    let reader = state.is_read().await;
    let hangs = Instant::now();
    wait::until("the signs of life stay away for long enough", LIMIT, async || {
        if hangs.elapsed() > 2 * WATCHDOG { Ok(()) } else { Err(format!("for {:?}", hangs.elapsed())) }
    })
    .await
    .unwrap();
    assert_eq!(manager.signs_of_life(reloading), [], "nobody else gives them");
    let answered = prober.last().unwrap().at.saturating_duration_since(hangs);
    assert!(answered <= LEASE, "its address answered for {answered:?} more");

    state.becomes(reader, "{}");
    let ready = manager.hear(reloading, "that it is ready", |text| text.starts_with("READY=1\n")).await;
    manager.live(ready, 3).await;
    let holds = HOLDS.replace("1 of 1 masters", "1 of 2 masters");
    let from = stage.hear_start(ready - 1, &holds).await;
    manager
        .hear(from - 1, "of the other master", |text| text.contains(". other (10.0.0.101): Does not hold: "))
        .await;
    let again = Instant::now();
    prober.wait_for(LIMIT, |heard| heard.at > again).expect("the host answers for the address again");
    from
}
