//! Deployments of real processes for the tests: data nodes and Sentinels on free ports, in a folder
//! that goes with them.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use redoubt_wire::resp::value::{Decoder, Value, ValueLimits, encode_command};

const SERVER: &str = "/usr/bin/redis-server";
const REAL_SENTINEL: &str = "/usr/bin/redis-sentinel";
pub const OURS: &str = env!("CARGO_BIN_EXE_redoubt-sentinel");
const PATIENCE: Duration = Duration::from_secs(30);

/// Whether Redis is here to test against; says so if not.
pub fn redis_is_missing() -> bool {
    let missing = !Path::new(SERVER).exists() || !Path::new(REAL_SENTINEL).exists();
    if missing {
        eprintln!("skipped: {SERVER} or {REAL_SENTINEL} is not installed");
    }
    missing
}

/// A port that nobody listens on, outside the range from which outgoing connections take theirs.
pub fn free_port() -> u16 {
    for _ in 0..1000 {
        let port = rand::random_range(10_000..32_000);
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port");
}

/// Waits until `done`.
pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !done() {
        assert!(Instant::now() < end, "timed out waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A connection of a client.
pub struct Client {
    stream: TcpStream,
    buf: Vec<u8>,
    decoder: Decoder,
}

impl Client {
    pub fn connect(port: u16) -> Option<Client> {
        let stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
        stream.set_nodelay(true).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        Some(Client { stream, buf: Vec::new(), decoder: Decoder::new(ValueLimits::default()) })
    }

    pub fn send(&mut self, words: &[&str]) -> Option<()> {
        let mut bytes = Vec::new();
        encode_command(&mut bytes, words);
        self.stream.write_all(&bytes).ok()
    }

    pub fn receive(&mut self) -> Option<Value> {
        loop {
            if let Some((value, len)) = self.decoder.decode(&self.buf).expect("RESP") {
                self.buf.drain(..len);
                return Some(value);
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(0) | Err(_) => return None,
                Ok(n) => self.buf.extend_from_slice(&piece[..n]),
            }
        }
    }

    pub fn ask(&mut self, words: &[&str]) -> Option<Value> {
        self.send(words)?;
        self.receive()
    }
}

/// One command on a connection of its own; none if nobody listens.
pub fn ask(port: u16, line: &str) -> Option<Value> {
    Client::connect(port)?.ask(&line.split(' ').collect::<Vec<_>>())
}

pub fn text(value: &Value) -> String {
    match value {
        Value::Integer(n) => n.to_string(),
        other => String::from_utf8_lossy(other.as_bytes().unwrap_or_default()).into_owned(),
    }
}

pub fn texts(value: &Value) -> Vec<String> {
    value.as_slice().unwrap_or_default().iter().map(text).collect()
}

/// The value of a field in a flat map.
pub fn field(value: &Value, name: &str) -> String {
    texts(value).chunks(2).find(|p| p[0] == name).map(|p| p[1].clone()).unwrap_or_default()
}

/// A process that ends with the test.
pub struct Process {
    pub port: u16,
    pub file: PathBuf,
    program: PathBuf,
    child: Child,
}

impl Process {
    pub fn start(program: &str, port: u16, file: PathBuf) -> Process {
        let program = PathBuf::from(program);
        let child = spawn(&program, &file);
        Process { port, file, program, child }
    }

    /// A process started in a way of its own, which ends with the test all the same.
    pub fn adopt(child: Child, port: u16, file: PathBuf) -> Process {
        Process { port, file, program: PathBuf::new(), child }
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).expect("our child");
    }

    pub fn kill(&mut self) {
        self.child.kill().expect("our child");
        self.child.wait().expect("our child");
    }

    pub fn restart(&mut self) {
        self.child = spawn(&self.program, &self.file);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Nothing more can be done where this fails.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn spawn(program: &Path, file: &Path) -> Child {
    let mut command = Command::new(program);
    command.arg(file).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().expect("the program starts")
}

/// One master, two replicas, and Sentinels that watch them as `m`.
pub struct Deployment {
    pub nodes: Vec<Process>,
    pub sentinels: Vec<Process>,
    pub folder: tempfile::TempDir,
}

impl Deployment {
    /// `programs` are the Sentinels' programs; `lines` go into their files. Returns when all know each other.
    pub fn start(programs: &[&str], lines: &str) -> Deployment {
        let folder = tempfile::tempdir().expect("a folder");
        let mut nodes: Vec<Process> = Vec::new();
        for n in 0..3 {
            let port = free_port();
            let dir = folder.path().join(format!("node{n}"));
            fs::create_dir(&dir).expect("a folder");
            let mut conf = format!(
                "port {port}\nbind 127.0.0.1\nsave \"\"\ndir {}\nrepl-diskless-sync-delay 0\n",
                dir.display()
            );
            if let Some(master) = nodes.first() {
                conf += &format!("replicaof 127.0.0.1 {}\n", master.port);
            }
            let file = dir.join("redis.conf");
            fs::write(&file, conf).expect("a file");
            nodes.push(Process::start(SERVER, port, file));
        }
        for replica in &nodes[1..] {
            wait_for("replication", || info(replica.port).contains("master_link_status:up"));
        }
        let sentinels = programs
            .iter()
            .enumerate()
            .map(|(s, program)| {
                let port = free_port();
                let file = folder.path().join(format!("sentinel{s}.conf"));
                let conf = format!(
                    "port {port}\nbind 127.0.0.1\ndir {0}\nlogfile {0}/sentinel{s}.log\n\
                     sentinel monitor m 127.0.0.1 {1} 2\nsentinel down-after-milliseconds m 1000\n\
                     sentinel failover-timeout m 20000\n{lines}",
                    folder.path().display(),
                    nodes[0].port
                );
                fs::write(&file, conf).expect("a file");
                Process::start(program, port, file)
            })
            .collect();
        let deployment = Deployment { nodes, sentinels, folder };
        deployment.wait_until_settled();
        deployment
    }

    fn wait_until_settled(&self) {
        for s in &self.sentinels {
            wait_for("discovery", || {
                let Some(master) = ask(s.port, "SENTINEL MASTER m") else { return false };
                let others = (self.sentinels.len() - 1).to_string();
                let Some(replicas) = ask(s.port, "SENTINEL REPLICAS m") else { return false };
                let known = replicas.as_slice().unwrap_or_default();
                field(&master, "num-other-sentinels") == others
                    && field(&master, "flags") == "master"
                    && known.len() == 2
                    && known
                        .iter()
                        .all(|r| field(r, "flags") == "slave" && field(r, "master-link-status") == "ok")
            });
        }
    }

    /// The port that a Sentinel tells clients.
    pub fn told(&self, s: usize) -> Option<u16> {
        let addr = ask(self.sentinels[s].port, "SENTINEL GET-MASTER-ADDR-BY-NAME m")?;
        texts(&addr).get(1)?.parse().ok()
    }

    /// Waits until all Sentinels tell the same new master and it takes writes; its index, and how long
    /// after `since` the first write was taken.
    pub fn wait_for_new_master(&self, old: usize, since: Instant) -> (usize, Duration) {
        let old_port = self.nodes[old].port;
        let mut new = 0;
        wait_for("a new master", || {
            new =
                (0..self.sentinels.len()).find_map(|s| self.told(s).filter(|p| *p != old_port)).unwrap_or(0);
            new != 0 && ask(new, "SET k v").is_some_and(|v| text(&v) == "OK")
        });
        let took = since.elapsed();
        wait_for("agreement", || (0..self.sentinels.len()).all(|s| self.told(s) == Some(new)));
        (self.nodes.iter().position(|n| n.port == new).expect("one of ours"), took)
    }
}

pub fn info(port: u16) -> String {
    ask(port, "INFO replication").map(|v| text(&v)).unwrap_or_default()
}
