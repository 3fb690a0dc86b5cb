//! Programs as services of their machine: what systemd hears of them and when, what of it stays away while the main
//! loop hangs, and `daemonize`, `pidfile` and `supervised` as Redis has them.
//!
//! The tests are systemd here: they listen at a socket of their own.

mod agent;
mod manager;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, getsid, mkfifo};
use redis::FromRedisValue;
use redoubt_lab::binaries::Binaries;
use redoubt_lab::client::{self, PATIENT};
use redoubt_lab::ports::PortLease;
use redoubt_lab::process::Process;
use redoubt_lab::scratch::Scratch;
use redoubt_lab::server::{Server, ServerSpec};
use redoubt_lab::wait;

use manager::Manager;

/// For what has to happen, on a machine that is busy with other tests.
const LIMIT: Duration = Duration::from_secs(30);
/// After this without a sign of life, systemd would take a node or a Sentinel for hung.
const WATCHDOG: Duration = Duration::from_secs(4);

fn scratch() -> Scratch {
    Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

fn node() -> PathBuf {
    Binaries::locate(None, None).unwrap().node
}

fn sentinel() -> PathBuf {
    Binaries::locate(None, None).unwrap().sentinel
}

/// Starts a program as systemd does.
fn start_by(manager: &Manager, scratch: &Scratch, name: &str, program: &Path, args: &[&str]) -> Started {
    let variables = manager.variables(WATCHDOG);
    start(scratch, name, &variables.each_ref().map(String::as_str), program, args)
}

/// A program that the test has started and does not know to serve yet.
struct Started {
    process: Process,
    lease: PortLease,
    dir: PathBuf,
}

/// Starts a program with these variables. The arguments get `--port`, `--bind` and `--dir` behind them.
fn start(scratch: &Scratch, name: &str, variables: &[&str], program: &Path, args: &[&str]) -> Started {
    let lease = PortLease::take().unwrap();
    let dir = scratch.subdir(name).unwrap();
    let (port, dir_text) = (lease.port().to_string(), dir.display().to_string());
    let options = ["--port", &port, "--bind", "127.0.0.1", "--dir", &dir_text];
    let program_text = program.display().to_string();
    let words = variables.iter().copied().chain([program_text.as_str()]);
    let args: Vec<String> = words.chain(args.iter().copied()).chain(options).map(String::from).collect();
    // `env` becomes the program, under the same process id.
    let process = Process::spawn(Path::new("/usr/bin/env"), &args, None, &dir, &dir.join("log")).unwrap();
    Started { process, lease, dir }
}

impl Started {
    fn addr(&self) -> SocketAddr {
        self.lease.addr()
    }

    async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> redoubt_lab::Result<T> {
        client::ask(self.addr(), PATIENT, words).await
    }

    async fn serves(&self) {
        let answers = wait::until("the program answers PING", LIMIT, async || {
            match self.ask::<String>(&["PING"]).await {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        });
        answers.await.unwrap();
    }

    async fn info(&self, field: &str) -> String {
        let fields = client::info_fields(&self.ask::<String>(&["INFO", "server"]).await.unwrap());
        fields[field].clone()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap()
    }

    /// Ends it; its exit code.
    async fn terminate(&mut self) -> Option<i32> {
        self.process.signal(Signal::SIGTERM).unwrap();
        self.process.ended(LIMIT).await.unwrap().code()
    }
}

fn sentinel_file(scratch: &Scratch, lines: &str) -> String {
    let file = scratch.path().join("sentinel.conf");
    std::fs::write(&file, lines).unwrap();
    file.display().to_string()
}

const SUPERVISED: [&str; 4] = ["--supervised", "systemd", "--save", ""];

#[tokio::test]
async fn systemd_hears_when_a_node_serves_what_it_is_and_when_it_ends() {
    let scratch = scratch();
    let manager = Manager::at_path(&scratch);
    let mut started = start_by(&manager, &scratch, "node", &node(), &SUPERVISED);
    let loading = manager.hear_status(0, "Redis is loading...").await;
    assert_eq!(loading, 1, "it is the first to be heard");
    let ready = manager.hear(0, "that it is ready", |text| text.starts_with("READY=1\n")).await;
    assert_eq!(started.ask::<String>(&["PING"]).await.unwrap(), "PONG", "ready means ready");
    let master = "Ready to accept connections: master, 0 replicas";
    assert_eq!(manager.hear_status(0, master).await, ready);
    assert_eq!(started.info("process_supervised").await, "systemd");

    let other = ServerSpec::with_options("other", &node(), &["--save", ""]).start(&scratch).await.unwrap();
    let port = other.port().to_string();
    let () = started.ask(&["REPLICAOF", "127.0.0.1", &port]).await.unwrap();
    let status =
        format!("Ready to accept connections in read-only mode: replica of 127.0.0.1:{port}, link up");
    let following = manager.hear_status(ready, &status).await;
    let () = started.ask(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    let promoted = manager.hear_status(following, master).await;

    // A lost terminal ends nothing.
    started.process.signal(Signal::SIGHUP).unwrap();
    manager.live(promoted, 2).await;
    assert!(!manager.has_heard(0, "STOPPING"));
    assert_eq!(started.terminate().await, Some(0));
    manager.hear(promoted, "that it ends", |text| text == "STOPPING=1").await;
}

#[tokio::test]
async fn a_replica_without_its_master_says_that_the_link_is_down() {
    let scratch = scratch();
    let manager = Manager::at_abstract_name(&scratch);
    let nobody = PortLease::take().unwrap().port().to_string();
    let replica = ["--replicaof", "127.0.0.1", &nobody];
    let _started = start_by(&manager, &scratch, "node", &node(), &[&SUPERVISED[..], &replica].concat());
    let down = format!(
        "STATUS=Ready to accept connections in read-only mode: replica of 127.0.0.1:{nobody}, link down ("
    );
    manager.hear(0, "of the link", |text| text.lines().any(|line| line.starts_with(&down))).await;
}

#[tokio::test]
async fn a_node_is_alive_until_nobody_gets_at_its_database() {
    let scratch = scratch();
    let manager = Manager::at_abstract_name(&scratch);
    let options = [&SUPERVISED[..], &["--enable-debug-command", "yes"]].concat();
    let started = start_by(&manager, &scratch, "node", &node(), &options);
    let ready = manager.hear(0, "that it is ready", |text| text.starts_with("READY=1\n")).await;
    let steady = manager.live(ready, 5).await;
    assert!(manager::longest_gap(&steady) <= WATCHDOG / 2, "{:?}", manager::longest_gap(&steady));

    let from = manager.count();
    let () = started.ask(&["DEBUG", "SLEEP", "6"]).await.unwrap();
    manager.live(from, 3).await;
    let over = manager::longest_gap(&manager.signs_of_life(0));
    assert!(over > WATCHDOG, "it was heard every {over:?} at least");
}

/// A log that cannot be written to holds the loop up, as it does where standard output is a pipe that nobody reads any more.
#[tokio::test]
async fn a_sentinel_is_alive_until_its_loop_hangs() {
    let scratch = scratch();
    let manager = Manager::at_path(&scratch);
    let log = scratch.path().join("sentinel.log");
    let file = sentinel_file(&scratch, &format!("supervised systemd\nlogfile {}\n", log.display()));
    let mut started = start_by(&manager, &scratch, "sentinel", &sentinel(), &[&file]);
    assert_eq!(manager.hear_status(0, "Redis is loading...").await, 1);
    let ready = manager.hear(0, "that it is ready", |text| text.starts_with("READY=1\n")).await;
    assert_eq!(manager.hear_status(0, "Ready to accept connections: watches 0 masters").await, ready);
    assert_eq!(started.ask::<String>(&["PING"]).await.unwrap(), "PONG", "ready means ready");
    assert_eq!(started.info("process_supervised").await, "systemd");
    let steady = manager.live(ready, 5).await;
    assert!(manager::longest_gap(&steady) <= WATCHDOG / 2, "{:?}", manager::longest_gap(&steady));

    let nobody = PortLease::take().unwrap().port().to_string();
    let () = started.ask(&["SENTINEL", "MONITOR", "m", "127.0.0.1", &nobody, "1"]).await.unwrap();
    let watching = manager.hear_status(ready, "Ready to accept connections: watches 1 master").await;
    let () = started.ask(&["SENTINEL", "SET", "m", "down-after-milliseconds", "100"]).await.unwrap();
    let trouble = "STATUS=Ready to accept connections: watches 1 master; m: ";
    manager.hear(watching, "of the master that is down", |text| text.starts_with(trouble)).await;

    std::fs::remove_file(&log).unwrap();
    mkfifo(&log, Mode::S_IRWXU).unwrap();
    let addr = started.addr();
    // The event is a line of the log.
    let monitor = tokio::spawn(async move {
        client::ask::<()>(addr, LIMIT, &["SENTINEL", "MONITOR", "n", "127.0.0.1", &nobody, "1"]).await
    });
    let silence = wait::until("the signs of life stay away for long enough", LIMIT, async || {
        let last = *manager.signs_of_life(0).last().unwrap();
        if last.elapsed() > 2 * WATCHDOG {
            Ok(manager.count())
        } else {
            Err(format!("one {:?} ago", last.elapsed()))
        }
    });
    let hung = silence.await.unwrap();
    assert!(!monitor.is_finished(), "it hangs");
    // Somebody reads again. Kept open for writing too, so that no later line waits.
    let _reader = std::fs::File::options().read(true).write(true).open(&log).unwrap();
    manager.live(hung, 3).await;
    monitor.await.unwrap().unwrap();
    let abstains = "STATUS=Ready to accept connections: watches 2 masters; in TILT mode; m: ";
    manager.hear(hung, "that it trusts its clock no more", |text| text.starts_with(abstains)).await;
    assert_eq!(started.terminate().await, Some(0));
    manager.hear(hung, "that it ends", |text| text == "STOPPING=1").await;
}

#[tokio::test]
async fn a_node_that_loads_is_not_ready_and_asks_for_patience() {
    let scratch = scratch();
    let writer = ServerSpec::with_file("node", &node(), &["save \"\""]).start(&scratch).await.unwrap();
    redoubt_lab::dataset::fill(writer.addr()).await.unwrap();
    let keys: u64 = writer.ask(&["DBSIZE"]).await.unwrap();
    let () = writer.ask(&["SAVE"]).await.unwrap();
    drop(writer);
    let manager = Manager::at_path(&scratch);
    // The whole dataset takes three seconds.
    let delay = (3_000_000 / keys).to_string();
    let options = [&SUPERVISED[..], &["--key-load-delay", &delay]].concat();
    let started = start_by(&manager, &scratch, "node", &node(), &options);
    let is_patience = |text: &str| text == "EXTEND_TIMEOUT_USEC=30000000";
    let asked = manager.hear(0, "that it takes longer", is_patience).await;
    let is_progress = |text: &str| text.starts_with("STATUS=Redis is loading... ") && text.ends_with('%');
    let progress = manager.hear(0, "how far it is", is_progress).await;
    let ready = manager.hear(0, "that it is ready", |text| text.starts_with("READY=1\n")).await;
    assert!(asked < ready && progress < ready);
    assert_eq!(started.ask::<u64>(&["DBSIZE"]).await.unwrap(), keys, "ready means loaded");
}

/// Nobody can make files in /proc/self, not even root, as whom tests run in containers.
#[tokio::test]
async fn a_node_that_cannot_save_says_so_stays_and_asks_for_patience() {
    let scratch = scratch();
    let manager = Manager::at_path(&scratch);
    let options = ["--supervised", "systemd", "--save", "3600 1", "--enable-protected-configs", "yes"];
    let mut started = start_by(&manager, &scratch, "node", &node(), &options);
    let ready = manager.hear(0, "that it is ready", |text| text.starts_with("READY=1\n")).await;
    let () = started.ask(&["CONFIG", "SET", "dir", "/proc/self"]).await.unwrap();
    let () = started.ask(&["SET", "k", "v"]).await.unwrap();
    started.process.signal(Signal::SIGTERM).unwrap();
    let failed = "Error trying to save the DB, can't exit. Ready to accept connections: master, 0 replicas";
    let told = manager.hear_status(ready, failed).await;
    manager.hear(told, "that it takes longer", |text| text == "EXTEND_TIMEOUT_USEC=30000000").await;
    assert_eq!(started.ask::<String>(&["GET", "k"]).await.unwrap(), "v");
    assert!(!manager.has_heard(0, "STOPPING"), "it does not end");
    // The connection breaks, as the node ends.
    started.ask::<()>(&["SHUTDOWN", "NOSAVE"]).await.unwrap_err();
    assert_eq!(started.process.ended(LIMIT).await.unwrap().code(), Some(0));
    manager.hear(told, "that it ends", |text| text == "STOPPING=1").await;
}

/// systemd ends by force what said that it ends and does not.
#[tokio::test]
async fn a_failover_and_a_shutdown_that_are_called_off_show_and_are_never_told_to_be_the_end() {
    let scratch = scratch();
    let manager = Manager::at_path(&scratch);
    let started = start_by(&manager, &scratch, "node", &node(), &SUPERVISED);
    let ready = manager.hear(0, "that it is ready", |text| text.starts_with("READY=1\n")).await;
    let port = started.lease.port().to_string();
    let spec =
        ServerSpec::with_options("replica", &node(), &["--save", "", "--replicaof", "127.0.0.1", &port]);
    let replica: Server = spec.start(&scratch).await.unwrap();
    let one = "Ready to accept connections: master, 1 replica";
    let fed = manager.hear_status(ready, one).await;
    wait::until("the replica follows", LIMIT, async || {
        let info = started.ask::<String>(&["INFO", "replication"]).await.map_err(|e| e.to_string())?;
        if info.contains("state=online") { Ok(()) } else { Err(info) }
    })
    .await
    .unwrap();
    replica.freeze().unwrap();
    let () = started.ask(&["SET", "k", "v"]).await.unwrap();
    let () = started.ask(&["FAILOVER"]).await.unwrap();
    let handing = manager.hear_status(fed, &format!("{one}, failover under way (waiting-for-sync)")).await;
    let () = started.ask(&["FAILOVER", "ABORT"]).await.unwrap();
    let fed = manager.hear_status(handing, one).await;
    started.process.signal(Signal::SIGTERM).unwrap();
    let waits = manager.hear_status(fed, "Waiting for replicas before shutting down").await;
    manager.hear(waits, "that it takes longer", |text| text == "EXTEND_TIMEOUT_USEC=30000000").await;
    let () = started.ask(&["SHUTDOWN", "ABORT"]).await.unwrap();
    let back = manager.hear_status(waits, one).await;
    manager.live(back, 3).await;
    assert!(!manager.has_heard(0, "STOPPING"));
    replica.thaw().unwrap();
}

/// What a program does of which nobody knows anything when `supervised` asks for systemd, and what `auto` makes of it.
#[tokio::test]
async fn without_a_socket_nobody_supervises() {
    let scratch = scratch();
    let file = sentinel_file(&scratch, "");
    for (program, first) in [(node(), None), (sentinel(), Some(file.as_str()))] {
        for (word, complaint) in [("systemd", true), ("auto", false), ("upstart", false), ("no", false)] {
            let name = format!("{}-{word}", program.file_name().unwrap().display());
            let args: Vec<&str> = first.into_iter().chain(["--supervised", word]).collect();
            let started =
                start(&scratch, &name, &["-u", "NOTIFY_SOCKET", "-u", "UPSTART_JOB"], &program, &args);
            started.serves().await;
            assert_eq!(started.info("process_supervised").await, "no", "{name}");
            let log = started.log();
            let text = "systemd supervision error: NOTIFY_SOCKET not found!";
            assert_eq!(log.contains(text), complaint, "{log}");
            let text = "upstart supervision requested, but UPSTART_JOB not found!";
            assert_eq!(log.contains(text), word == "upstart", "{log}");
        }
    }
}

#[tokio::test]
async fn auto_finds_systemd_and_a_supervised_program_stays_in_the_foreground() {
    let scratch = scratch();
    let manager = Manager::at_path(&scratch);
    let file = sentinel_file(&scratch, "");
    for (program, first) in [(node(), None), (sentinel(), Some(file.as_str()))] {
        let from = manager.count();
        let args: Vec<&str> =
            first.into_iter().chain(["--supervised", "auto", "--daemonize", "yes"]).collect();
        let name = program.file_name().unwrap().display().to_string();
        let mut started = start_by(&manager, &scratch, &name, &program, &args);
        manager.hear(from, "that it is ready", |text| text.starts_with("READY=1\n")).await;
        assert_eq!(started.info("process_supervised").await, "systemd");
        assert_eq!(started.info("process_id").await, started.process.pid().to_string(), "it did not fork");
        assert!(started.log().contains("Supervised by systemd."), "{}", started.log());
        assert_eq!(started.terminate().await, Some(0));
    }
}

#[tokio::test]
async fn upstart_sees_the_process_stop_itself_and_wakes_it() {
    let scratch = scratch();
    let file = sentinel_file(&scratch, "");
    for (program, first) in [(node(), None), (sentinel(), Some(file.as_str()))] {
        let args: Vec<&str> = first.into_iter().chain(["--supervised", "auto"]).collect();
        let name = program.file_name().unwrap().display().to_string();
        let started = start(&scratch, &name, &["UPSTART_JOB=redoubt"], &program, &args);
        let stat = format!("/proc/{}/stat", started.process.pid());
        wait::until("it has stopped", LIMIT, async || {
            let stat = std::fs::read_to_string(&stat).unwrap();
            // After the name, which stands in parentheses.
            let state = stat.rsplit_once(") ").unwrap().1.chars().next();
            if state == Some('T') { Ok(()) } else { Err(stat) }
        })
        .await
        .unwrap();
        started.process.signal(Signal::SIGCONT).unwrap();
        started.serves().await;
        assert_eq!(started.info("process_supervised").await, "upstart");
    }
}

/// A process that left its parent, and must not outlive the test.
struct Daemon(Pid);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended, mostly.
        let _ = kill(self.0, Signal::SIGKILL);
    }
}

#[tokio::test]
async fn a_daemon_leaves_its_parent_its_terminal_and_a_pid_file_until_it_ends() {
    let scratch = scratch();
    let file = sentinel_file(&scratch, "");
    for (program, first) in [(node(), None), (sentinel(), Some(file.as_str()))] {
        let name = program.file_name().unwrap().display().to_string();
        let pidfile = scratch.path().join(format!("{name}.pid"));
        let logfile = scratch.path().join(format!("{name}.log"));
        let (pid_text, log_text) = (pidfile.display().to_string(), logfile.display().to_string());
        let options = ["--daemonize", "yes", "--pidfile", &pid_text, "--logfile", &log_text];
        let args: Vec<&str> = first.into_iter().chain(options).collect();
        let mut started = start(&scratch, &name, &[], &program, &args);
        assert_eq!(started.process.ended(LIMIT).await.unwrap().code(), Some(0), "the parent ends");
        let pid = wait::until("the pid file is written", LIMIT, async || {
            std::fs::read_to_string(&pidfile)
                .ok()
                .and_then(|text| text.strip_suffix('\n')?.parse().ok())
                .ok_or("none")
        });
        let pid = Pid::from_raw(pid.await.unwrap());
        let daemon = Daemon(pid);
        started.serves().await;
        assert_eq!(started.info("process_id").await, pid.to_string());
        assert_eq!(getsid(Some(pid)).unwrap(), pid, "it leads a session of its own");
        for descriptor in 0..3 {
            let to = std::fs::read_link(format!("/proc/{pid}/fd/{descriptor}")).unwrap();
            assert_eq!(to, Path::new("/dev/null"), "descriptor {descriptor}");
        }
        kill(pid, Signal::SIGTERM).unwrap();
        wait::until("it has ended", LIMIT, async || match kill(pid, None) {
            Err(_) => Ok(()),
            // Its parent is whoever adopts orphans here, and may not look after them.
            Ok(()) if is_zombie(pid) => Ok(()),
            Ok(()) => Err("it is there"),
        })
        .await
        .unwrap();
        assert!(!pidfile.exists(), "its pid file is gone");
        let log = std::fs::read_to_string(&logfile).unwrap();
        assert!(log.contains("Removing the pid file.") && log.contains(&format!("PID: {pid}")), "{log}");
        assert_eq!(started.log(), "", "nothing is said to the terminal");
        drop(daemon);
    }
}

fn is_zombie(pid: Pid) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "))
}

#[tokio::test]
async fn a_pid_file_that_cannot_be_written_is_a_warning() {
    let scratch = scratch();
    let file = sentinel_file(&scratch, "");
    for (program, first) in [(node(), None), (sentinel(), Some(file.as_str()))] {
        let name = program.file_name().unwrap().display().to_string();
        let args: Vec<&str> = first.into_iter().chain(["--pidfile", "/no/such/folder/pid"]).collect();
        let started = start(&scratch, &name, &[], &program, &args);
        started.serves().await;
        let text = "Failed to write PID file: No such file or directory (/no/such/folder/pid)";
        assert!(started.log().contains(text), "{}", started.log());
    }
}
