//! The agent as it runs on a host: with the kernel's addresses and fence, systemd's socket and signals.
//!
//! Each test makes a user and network namespace of its own by running itself again under `unshare -rn`, and plays the
//! node and the Sentinels in there, or starts Redis's.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redoubt_wire::resp::value::{Decoder, ValueLimits};

const INSIDE: &str = "REDOUBT_VIP_TEST_INSIDE";
const VIP: &str = "10.99.0.100";

#[test]
fn with_netns_an_agent_takes_keeps_and_lets_go() {
    in_namespace("with_netns_an_agent_takes_keeps_and_lets_go", takes_keeps_and_lets_go);
}

#[test]
fn with_netns_systemd_hands_the_socket_over() {
    in_namespace("with_netns_systemd_hands_the_socket_over", takes_the_socket);
}

#[test]
fn with_netns_an_address_is_moved_without_an_agent_where_that_is_asked_for() {
    in_namespace(
        "with_netns_an_address_is_moved_without_an_agent_where_that_is_asked_for",
        moves_without_an_agent,
    );
}

#[test]
fn with_netns_with_redis_server_the_address_follows_the_master() {
    let name = "with_netns_with_redis_server_the_address_follows_the_master";
    in_namespace(name, follows_under_redis_sentinel);
}

/// Runs the rest of a test in a namespace of its own.
fn in_namespace(test: &str, inside: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let status = Command::new("unshare")
        .arg("-rn")
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(INSIDE, "1")
        .status()
        .unwrap();
    assert!(status.success());
}

/// An interface with a neighbour, and the host's own address.
fn make_link() {
    ip("link set lo up");
    ip("link add vip0 type veth peer name vip1");
    ip("link set vip0 up");
    ip("link set vip1 up");
    ip("addr add 10.99.0.1/24 dev vip0");
}

fn moves_without_an_agent() {
    make_link();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vip-hook.yaml");
    let text = format!(
        "socket: {0}/agent.sock\nstate-dir: {0}\nsentinels: ['10.99.0.1:26379']\nmasters:\n  - name: mymaster\n    \
         node: 10.99.0.1:6379\n    addresses: [{{address: {VIP}, interface: vip0}}]\n",
        dir.path().display()
    );
    std::fs::write(&file, &text).unwrap();
    let to = |ip: &'static str| ["mymaster", "leader", "start", "10.99.0.7", "6379", ip, "6379"];
    let output = Command::new(env!("CARGO_BIN_EXE_redoubt-vip-hook"))
        .args(to("10.99.0.1"))
        .env("REDOUBT_VIP_CONFIG", &file)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "it was not asked for");
    assert!(!addresses().contains(VIP));

    std::fs::write(&file, format!("without-agent: move\n{text}")).unwrap();
    let taken = "without an agent: 10.99.0.100 on vip0 taken and announced\n";
    assert_eq!(verb(&file, &to("10.99.0.1")), taken);
    assert!(addresses().contains(VIP));
    assert_eq!(verb(&file, &to("10.99.0.1")), taken, "once more changes nothing");
    assert_eq!(verb(&file, &to("10.99.0.7")), "without an agent: 10.99.0.100 on vip0 released\n");
    assert!(!addresses().contains(VIP));
    let nothing = "without an agent: 10.99.0.100 on vip0 not on this host, nothing to do\n";
    assert_eq!(verb(&file, &to("10.99.0.7")), nothing);
}

fn takes_the_socket() {
    make_link();
    let is_master = Arc::new(AtomicBool::new(true));
    let node = play(&is_master, 0);
    let sentinel = play(&is_master, node);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("vip-hook.yaml");
    let socket = dir.path().join("given.sock");
    std::fs::write(
        &file,
        format!(
            "socket: {0}\nstate-dir: {1}/state\nlogfile: {1}/log\nsentinels: ['127.0.0.1:{sentinel}']\nmasters:\n  - name: mymaster\n    \
             node: 127.0.0.1:{node}\n    host-addresses: [127.0.0.1]\n    addresses: [{{address: {VIP}, interface: vip0}}]\n",
            socket.display(),
            dir.path().display(),
        ),
    )
    .unwrap();
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    // The shell puts it where systemd does, and keeps its process for the agent.
    let script = "exec 3<&0 0</dev/null; LISTEN_FDS=1 LISTEN_PID=$$ exec \"$0\" agent --config \"$1\"";
    let child = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_redoubt-vip-hook")])
        .arg(&file)
        .stdin(std::os::fd::OwnedFd::from(listener))
        .spawn()
        .unwrap();
    let mut agent = Agent(child);
    let log = || std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    until("the address is there", &log, || addresses().contains(VIP));
    assert!(verb(&file, &["status"]).contains("10.99.0.100/32 on vip0: on"));
    signal(&agent.0, Signal::SIGTERM);
    assert!(agent.0.wait().unwrap().success(), "{}", log());
    assert!(socket.exists(), "it is systemd's to remove");
}

fn takes_keeps_and_lets_go() {
    make_link();
    let is_master = Arc::new(AtomicBool::new(true));
    let node = play(&is_master, 0);
    let sentinels: Vec<u16> = (0..3).map(|_| play(&is_master, node)).collect();

    let dir = tempfile::tempdir().unwrap();
    let notify = UnixDatagram::bind(dir.path().join("notify")).unwrap();
    notify.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let file = dir.path().join("vip-hook.yaml");
    let write = |addresses: &str| {
        let text = format!(
            "socket: {0}/agent.sock\nstate-dir: {0}/state\nlogfile: {0}/log\nsentinels: ['127.0.0.1:{1}', '127.0.0.1:{2}', '127.0.0.1:{3}']\n\
             masters:\n  - name: mymaster\n    node: 127.0.0.1:{node}\n    host-addresses: [127.0.0.1]\n    addresses: [{addresses}]\n",
            dir.path().display(),
            sentinels[0],
            sentinels[1],
            sentinels[2]
        );
        std::fs::write(&file, text).unwrap();
    };
    let first = format!("{{address: {VIP}, interface: vip0}}");
    write(&first);
    let mut agent = Agent(start(&file, dir.path()));
    let heard = || {
        let mut buf = [0; 4096];
        let len = notify.recv(&mut buf).expect("systemd hears something");
        String::from_utf8_lossy(&buf[..len]).into_owned()
    };
    let hear = |word: &str| while !heard().contains(word) {};
    hear("READY=1");
    let log = || std::fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    until("the address is there", &log, || addresses().contains(VIP));
    hear("Holds 1 of 1 masters. mymaster (10.99.0.100): Holds: the local node is the master");
    hear("WATCHDOG=1");
    assert!(verb(&file, &["status"]).contains("10.99.0.100/32 on vip0: on"));
    let seven = ["mymaster", "leader", "start", "127.0.0.1", "1", "127.0.0.1", &node.to_string()];
    let said = verb(&file, &seven);
    assert!(
        said.starts_with("10.99.0.100 taken on vip0 ") && said.ends_with(" ms before the call\n"),
        "{said}"
    );

    write(&format!("{first}, {{address: 10.99.0.101, interface: vip0}}"));
    signal(&agent.0, Signal::SIGHUP);
    hear("RELOADING=1");
    hear("READY=1");
    until("the second is there", &log, || addresses().contains("10.99.0.101"));

    // Only what the agent added is ever removed.
    ip("addr add 10.99.0.50/32 dev vip0");
    is_master.store(false, Ordering::SeqCst);
    until("they are gone", &log, || !addresses().contains("10.99.0.10"));
    assert!(addresses().contains("10.99.0.50") && addresses().contains("10.99.0.1/24"));

    is_master.store(true, Ordering::SeqCst);
    until("they are back", &log, || addresses().contains(VIP));
    // What a killed one leaves, the next one takes over.
    agent.0.kill().unwrap();
    agent.0.wait().unwrap();
    assert!(addresses().contains(VIP));
    agent = Agent(start(&file, dir.path()));
    hear("Holds 1 of 1 masters. mymaster (10.99.0.100, 10.99.0.101): Holds: the local node is the master");
    assert!(addresses().contains(VIP));

    signal(&agent.0, Signal::SIGTERM);
    hear("STOPPING=1");
    assert!(agent.0.wait().unwrap().success(), "{}", log());
    assert!(!addresses().contains("10.99.0.10"), "{}", addresses());
    assert!(!dir.path().join("agent.sock").exists());

    let uninstalled = verb(&file, &["uninstall"]);
    assert!(
        uninstalled.starts_with("the fence was removed") || log().contains("cannot end an address's traffic"),
        "{uninstalled}"
    );
}

/// Two redis-servers of which one is this host's, and a redis-sentinel that calls the hook.
fn follows_under_redis_sentinel() {
    make_link();
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let file = at("vip-hook.yaml");
    std::fs::write(
        &file,
        format!(
            "socket: {0}/agent.sock\nstate-dir: {0}/state\nlogfile: {0}/log\nsentinels: ['127.0.0.1:26379']\nmasters:\n  - name: mymaster\n    \
             node: 127.0.0.1:6379\n    host-addresses: [127.0.0.1]\n    addresses: [{{address: {VIP}, interface: vip0}}]\n",
            dir.path().display(),
        ),
    )
    .unwrap();
    // The ports are free: the namespace is our own.
    let server = |port: &str, more: &[&str]| {
        let mut command = Command::new("redis-server");
        command.args(["--port", port, "--save", "", "--repl-diskless-sync-delay", "0"]).args(more);
        Agent(command.current_dir(dir.path()).stdout(std::process::Stdio::null()).spawn().unwrap())
    };
    let _ours = server("6379", &[]);
    let _other = server("6380", &["--replicaof", "127.0.0.1", "6379"]);
    std::fs::write(
        at("sentinel.conf"),
        format!(
            "port 26379\nlogfile {}/sentinel.log\nsentinel monitor mymaster 127.0.0.1 6379 1\n\
             sentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 2000\n\
             sentinel client-reconfig-script mymaster {}\n",
            dir.path().display(),
            env!("CARGO_BIN_EXE_redoubt-vip-hook")
        ),
    )
    .unwrap();
    let mut sentinel = Command::new("redis-server");
    sentinel.arg(at("sentinel.conf")).arg("--sentinel").env("REDOUBT_VIP_CONFIG", &file);
    let _sentinel = Agent(sentinel.spawn().unwrap());
    let _agent = Agent(start(&file, dir.path()));
    let read = |name: &str| std::fs::read_to_string(at(name)).unwrap_or_default();
    let log = || format!("{}\n{}", read("log"), read("sentinel.log"));
    until("the address is there", &log, || addresses().contains(VIP));
    assert!(verb(&file, &["status"]).contains("sentinel 127.0.0.1:26379 (classic): names 127.0.0.1:6379"));

    for (to, is_on, said) in
        [(6380, false, "10.99.0.100 released on vip0"), (6379, true, "10.99.0.100 taken on vip0")]
    {
        let fail_over = || {
            let ask = Command::new("redis-cli")
                .args(["-p", "26379", "SENTINEL", "FAILOVER", "mymaster"])
                .output()
                .unwrap();
            ask.stdout.starts_with(b"OK")
        };
        // It needs to know the replica, and an end of the failover before.
        until_within(Duration::from_secs(40), "a failover begins", &log, fail_over);
        let master = || {
            let ask = ["-p", "26379", "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"];
            let output = Command::new("redis-cli").args(ask).output().unwrap();
            String::from_utf8_lossy(&output.stdout).contains(&to.to_string())
        };
        until_within(Duration::from_secs(40), "the master is another", &log, || {
            master() && addresses().contains(VIP) == is_on
        });
        until("the script was answered", &log, || read("log").contains(&format!("to the script: {said}")));
    }
}

struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(file: &Path, dir: &Path) -> Child {
    Command::new(env!("CARGO_BIN_EXE_redoubt-vip-hook"))
        .args(["agent", "--config"])
        .arg(file)
        .env("NOTIFY_SOCKET", dir.join("notify"))
        .env("WATCHDOG_USEC", "2000000")
        .env_remove("WATCHDOG_PID")
        .spawn()
        .unwrap()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

/// What a verb prints.
fn verb(file: &Path, args: &[&str]) -> String {
    let mut command = Command::new(env!("CARGO_BIN_EXE_redoubt-vip-hook"));
    let output = command.args(args).env("REDOUBT_VIP_CONFIG", file).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn ip(args: &str) {
    let status = Command::new("ip").args(args.split(' ')).status().expect("the test needs the program ip");
    assert!(status.success(), "ip {args}");
}

fn addresses() -> String {
    let output = Command::new("ip").args(["-o", "addr", "show", "dev", "vip0"]).output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

fn until(what: &str, log: &dyn Fn() -> String, is_so: impl Fn() -> bool) {
    until_within(Duration::from_secs(10), what, log, is_so);
}

fn until_within(limit: Duration, what: &str, log: &dyn Fn() -> String, is_so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < limit, "never: {what}\n{}", log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Plays a node, or a Sentinel that names the node at `named`; the port.
fn play(is_master: &Arc<AtomicBool>, named: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let is_master = Arc::clone(is_master);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let is_master = Arc::clone(&is_master);
            std::thread::spawn(move || serve(stream.unwrap(), &is_master, named));
        }
    });
    port
}

fn serve(mut stream: TcpStream, is_master: &AtomicBool, named: u16) {
    let mut decoder = Decoder::new(ValueLimits::default());
    let (mut buf, mut chunk) = (Vec::new(), [0; 4096]);
    loop {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return,
            Ok(len) => buf.extend_from_slice(&chunk[..len]),
        }
        while let Some((request, len)) = decoder.decode(&buf).unwrap() {
            buf.drain(..len);
            let words = request.as_slice().unwrap().iter();
            let words: Vec<String> =
                words.map(|word| String::from_utf8_lossy(word.as_bytes().unwrap()).into_owned()).collect();
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let reply = match words[..] {
                ["ROLE"] if is_master.load(Ordering::SeqCst) => {
                    "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n".to_owned()
                }
                ["ROLE"] => "*5\r\n$5\r\nslave\r\n$1\r\na\r\n:1\r\n$9\r\nconnected\r\n:0\r\n".into(),
                ["SENTINEL", "VOUCH", _, _, _, "RELEASE"] => "+OK\r\n".into(),
                ["SENTINEL", "VOUCH", _, _, port] if port == named.to_string() => {
                    "*3\r\n$7\r\nvouched\r\n:3\r\n:3600000\r\n".into()
                }
                ["SUBSCRIBE", ..] => "*3\r\n$9\r\nsubscribe\r\n$6\r\n+odown\r\n:1\r\n".into(),
                ["PING"] => "*2\r\n$4\r\npong\r\n$0\r\n\r\n".into(),
                _ => "-ERR unknown command\r\n".into(),
            };
            if stream.write_all(reply.as_bytes()).is_err() {
                return;
            }
        }
    }
}
