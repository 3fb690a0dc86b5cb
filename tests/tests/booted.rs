//! The services as a machine runs them: installed by `make install`, under a systemd that was booted for the test, in
//! namespaces of its own. Only here it shows whether what a unit allows is enough for what the program does.
//!
//! Needs root, and the right to mount and to make control groups; without them the test says so and is skipped.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use redis::FromRedisValue;
use redoubt_lab::client;
use redoubt_lab::scratch::Scratch;
use redoubt_lab::wait;

const LIMIT: Duration = Duration::from_secs(60);

const NODE: &str = "redoubt-node@6379.service";
const SENTINEL: &str = "redoubt-sentinel.service";
const NODE_SOCKET: &str = "/run/redoubt/node-6379/socket";
const SENTINEL_SOCKET: &str = "/run/redoubt/sentinel/socket";

/// A systemd of the test's own. Ends with everything in it.
struct Booted {
    unshare: Child,
    init: Pid,
    group: Option<PathBuf>,
}

impl Booted {
    /// Boots over the files under `root`. `Err` says what the machine does not allow; where it allows it, it has to
    /// work.
    async fn boot(root: &Path, log: &Path) -> Result<Booted, String> {
        if !geteuid().is_root() {
            return Err("only root can boot a systemd".into());
        }
        let group = control_group()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systemd/boot");
        let output = fs::File::create(log).unwrap();
        let namespaces = ["--pid", "--mount", "--cgroup", "--ipc", "--uts", "--net", "--mount-proc"];
        // The namespace of control groups begins where the process is that makes it.
        let unshare = Command::new("sh")
            .args(["-c", r#"echo $$ >"$0/cgroup.procs" && exec unshare "$@""#])
            .arg(&group)
            .args(["--fork", "--kill-child=KILL"])
            .args(namespaces)
            .arg(script)
            .arg(root)
            .stdin(Stdio::null())
            .stderr(output.try_clone().unwrap())
            .stdout(output)
            .spawn()
            .map_err(|e| format!("unshare: {e}"))?;
        let mut booted = Booted { unshare, init: Pid::from_raw(0), group: Some(group) };
        let up = wait::until("systemd is up", LIMIT, async || {
            if let Some(status) = booted.unshare.try_wait().unwrap() {
                return Ok(Err(format!("{status}: {}", fs::read_to_string(log).unwrap())));
            }
            let pid = booted.unshare.id();
            let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
            let init = children.trim().parse().map_err(|_| format!("no process yet: {children}"))?;
            let state = inside(Pid::from_raw(init), &["systemctl", "is-system-running"]);
            match state.as_deref().map(str::trim) {
                Ok("running" | "degraded") => Ok(Ok(init)),
                other => Err(format!("{other:?}")),
            }
        });
        let up = up.await.unwrap_or_else(|error| panic!("{error}: {}", fs::read_to_string(log).unwrap()));
        booted.init = Pid::from_raw(up?);
        Ok(booted)
    }

    /// Runs a command in it; its standard output.
    #[track_caller]
    fn run(&self, words: &[&str]) -> String {
        inside(self.init, words).unwrap_or_else(|error| {
            let journal = inside(self.init, &["journalctl", "--no-pager", "-n", "40"]);
            panic!("{words:?}: {error}\n{}", journal.unwrap_or_default())
        })
    }

    fn show(&self, unit: &str, property: &str) -> String {
        self.run(&["systemctl", "show", "-P", property, unit]).trim().to_string()
    }

    async fn shows(&self, unit: &str, property: &str, value: &str) {
        wait::until(&format!("{property} of {unit} is {value}"), LIMIT, async || {
            let seen = self.show(unit, property);
            if seen == value { Ok(()) } else { Err(seen) }
        })
        .await
        .unwrap();
    }

    /// A path in it, as we see it.
    fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    async fn try_ask<T: FromRedisValue>(&self, socket: &str, words: &[&str]) -> redis::RedisResult<T> {
        let url = format!("redis+unix://{}", self.path(socket).display());
        let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        client::cmd(words).query_async(&mut connection).await
    }

    async fn ask<T: FromRedisValue>(&self, socket: &str, words: &[&str]) -> T {
        self.try_ask(socket, words).await.unwrap()
    }
}

impl Drop for Booted {
    fn drop(&mut self) {
        if self.init.as_raw() != 0 {
            // Everything in its namespace ends with it.
            let _ = kill(self.init, Signal::SIGKILL);
        }
        let _ = self.unshare.kill();
        let _ = self.unshare.wait();
        if let Some(group) = self.group.take() {
            remove_group(&group);
        }
    }
}

/// A control group for the systemd to begin in.
fn control_group() -> Result<PathBuf, String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounted = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let place = words.next()?;
        (words.next() == Some("cgroup2")).then_some(place)
    });
    let group = Path::new(mounted.ok_or("there are no control groups of version 2")?)
        .join(format!("redoubt-test-{}", std::process::id()));
    fs::create_dir(&group).map_err(|e| format!("{}: {e}", group.display()))?;
    Ok(group)
}

/// Removes a group and those in it, once the kernel has seen the last process of it go.
fn remove_group(group: &Path) {
    for _ in 0..500 {
        let inner = fs::read_dir(group).into_iter().flatten().flatten();
        inner.map(|entry| entry.path()).filter(|path| path.is_dir()).for_each(|path| remove_group(&path));
        if fs::remove_dir(group).is_ok() || !group.exists() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    eprintln!("the control group {} stays behind", group.display());
}

fn inside(init: Pid, words: &[&str]) -> Result<String, String> {
    let output = Command::new("nsenter")
        .args(["-t", &init.to_string(), "-m", "-p", "-n", "-i", "-u", "-C"])
        .args(words)
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("nsenter: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // 'degraded' is one.
    let states = words.last() == Some(&"is-system-running");
    match output.status.success() || states {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{}: {}{}", output.status, text(&output.stdout), text(&output.stderr))),
    }
}

/// What is installed on the machine.
fn install(root: &Path) {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let programs = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_path_buf();
    let made = Command::new("make")
        .args(["-C", &sources.display().to_string(), "install", "PREFIX=/usr/local"])
        .args([format!("DESTDIR={}", root.display()), format!("BUILD={}", programs.display())])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
    let append = |name: &str, lines: &str| {
        let path = root.join("etc/redoubt").join(name);
        fs::write(&path, fs::read_to_string(&path).unwrap() + lines).unwrap();
    };
    // The dataset of the test takes six seconds to load.
    append(
        "node-6379.conf",
        &format!("unixsocket {NODE_SOCKET}\nkey-load-delay 3000\nenable-debug-command yes\n"),
    );
    let script = "sentinel notification-script m /usr/local/lib/hook\n";
    append(
        "sentinel.conf",
        &format!("unixsocket {SENTINEL_SOCKET}\nsentinel monitor m 127.0.0.1 6379 1\n{script}"),
    );
    let hook = root.join("usr/local/lib/hook");
    let text = "#!/bin/sh\n\
        { echo \"$1\"; id -un; grep NoNewPrivs /proc/self/status; touch /etc/mine; } >>/var/lib/redoubt/sentinel/seen 2>&1\n";
    fs::write(&hook, text).unwrap();
    fs::set_permissions(&hook, fs::Permissions::from_mode(0o755)).unwrap();
    for (unit, lines) in [
        ("redoubt-sentinel.service", "WatchdogSec=5s\n"),
        // Less than a load takes.
        ("redoubt-node@.service", "TimeoutStartSec=3s\n"),
    ] {
        let folder = root.join(format!("etc/systemd/system/{unit}.d"));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("test.conf"), format!("[Service]\n{lines}")).unwrap();
    }
}

#[tokio::test]
async fn with_systemd_analyze_the_services_do_their_work_within_their_bounds() {
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = scratch.path().join("root");
    install(&root);
    let machine = match Booted::boot(&root, &scratch.path().join("boot.log")).await {
        Ok(machine) => machine,
        Err(why) => return eprintln!("skipped: no systemd can be booted here: {why}"),
    };
    machine.run(&["systemctl", "start", NODE, SENTINEL]);
    assert_eq!(machine.show(NODE, "StatusText"), "Ready to accept connections: master, 0 replicas");
    machine.shows(SENTINEL, "StatusText", "Ready to accept connections: watches 1 master").await;

    // Both rewrite their files, in a folder that is not theirs, with a script's help in between.
    machine.ask::<()>(NODE_SOCKET, &["CONFIG", "SET", "maxclients", "500"]).await;
    machine.ask::<()>(NODE_SOCKET, &["CONFIG", "REWRITE"]).await;
    let read = |path: &str| fs::read_to_string(machine.path(path)).unwrap_or_default();
    assert!(read("/etc/redoubt/node-6379.conf").contains("\nmaxclients 500\n"));
    machine.ask::<()>(SENTINEL_SOCKET, &["SENTINEL", "SET", "m", "quorum", "2"]).await;
    assert!(read("/etc/redoubt/sentinel.conf").contains("\nsentinel monitor m 127.0.0.1 6379 2\n"));
    let seen = wait::until("the script has run", LIMIT, async || {
        let seen = read("/var/lib/redoubt/sentinel/seen");
        if seen.contains("+set\n") && seen.contains("/etc/mine") { Ok(seen) } else { Err(seen) }
    });
    let seen = seen.await.unwrap();
    assert!(seen.contains("\nredoubt\nNoNewPrivs:\t1\n") && seen.contains("Read-only file system"), "{seen}");

    // One that hangs is started again.
    let pid = machine.show(SENTINEL, "MainPID");
    machine.run(&["kill", "-STOP", &pid]);
    machine.shows(SENTINEL, "NRestarts", "1").await;
    machine.shows(SENTINEL, "SubState", "running").await;
    assert_ne!(machine.show(SENTINEL, "MainPID"), pid);

    // What is loaded for longer than the unit gives is loaded all the same.
    machine.ask::<()>(NODE_SOCKET, &["DEBUG", "POPULATE", "2000"]).await;
    machine.run(&["systemctl", "restart", NODE]);
    assert_eq!(machine.ask::<u64>(NODE_SOCKET, &["DBSIZE"]).await, 2000);
    assert_eq!(
        (machine.show(NODE, "NRestarts"), machine.show(NODE, "SubState")),
        ("0".into(), "running".into())
    );

    machine.run(&["systemctl", "stop", NODE, SENTINEL]);
    for unit in [NODE, SENTINEL] {
        assert_eq!(
            (machine.show(unit, "Result"), machine.show(unit, "SubState")),
            ("success".into(), "dead".into())
        );
    }
    assert!(machine.path("/var/lib/redoubt/node-6379/dump.rdb").exists());
}
