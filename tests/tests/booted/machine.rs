//! A host that runs this machine's systemd, with the programs as `make install` puts them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use redis::FromRedisValue;
use redoubt_lab::client;
use redoubt_lab::netns::{Host, isolated_as_root};
use redoubt_lab::wait;

pub const LIMIT: Duration = Duration::from_secs(60);

/// Runs a test's body where it may make a [`Net`](redoubt_lab::netns::Net) and boot machines into it. For anyone but
/// root it says that the test is skipped.
pub fn as_root(test: &str, body: impl AsyncFnOnce()) {
    if !geteuid().is_root() {
        return eprintln!("skipped: only root can boot a systemd");
    }
    isolated_as_root(test, || {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(body());
    });
}

/// The folder of the sources.
pub fn sources() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// The folder of the programs of this build: `target/<profile>`.
pub fn programs() -> PathBuf {
    std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_path_buf()
}

/// Installs everything under a root.
pub fn make_install(root: &Path) {
    let made = Command::new("make")
        .args(["-C", &sources().display().to_string(), "install", "PREFIX=/usr/local"])
        .args([format!("DESTDIR={}", root.display()), format!("BUILD={}", programs().display())])
        .output()
        .unwrap();
    assert!(made.status.success(), "{made:?}");
}

/// A systemd of the test's own. Ends with everything in it.
pub struct Booted {
    unshare: Child,
    init: Pid,
    group: Option<PathBuf>,
}

impl Booted {
    /// Boots in a host over the files under `root`, with each folder of `shared` to be seen at its place under
    /// /usr/local. `Err` says what the machine does not allow; where it allows it, it has to work.
    pub async fn boot(
        host: &Host,
        root: &Path,
        shared: &[(&Path, &str)],
        log: &Path,
    ) -> Result<Booted, String> {
        let group = control_group(&host.name)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/systemd/boot");
        let output = fs::File::create(log).unwrap();
        // The namespace of control groups begins where the process is that makes it.
        let unshare = host
            .command("sh")
            .args(["-c", r#"echo $$ >"$0/cgroup.procs" && exec setpriv --pdeathsig KILL unshare "$@""#])
            .arg(&group)
            .args(["--fork", "--kill-child=KILL"])
            .args(["--pid", "--mount", "--cgroup", "--ipc", "--uts", "--mount-proc"])
            .arg(script)
            .arg(root)
            .args(shared.iter().map(|(folder, place)| format!("{}={place}", folder.display())))
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
    pub fn run(&self, words: &[&str]) -> String {
        inside(self.init, words).unwrap_or_else(|error| {
            let journal = inside(self.init, &["journalctl", "--no-pager", "-n", "40"]);
            panic!("{words:?}: {error}\n{}", journal.unwrap_or_default())
        })
    }

    /// The same for one that may fail.
    pub fn try_run(&self, words: &[&str]) -> Result<String, String> {
        inside(self.init, words)
    }

    /// A command that runs in it.
    pub fn command(&self, program: &str) -> Command {
        let mut command = enter(self.init);
        command.arg(program);
        command
    }

    pub fn show(&self, unit: &str, property: &str) -> String {
        self.run(&["systemctl", "show", "-P", property, unit]).trim().to_string()
    }

    pub async fn shows(&self, unit: &str, property: &str, value: &str) {
        wait::until(&format!("{property} of {unit} is {value}"), LIMIT, async || {
            let seen = self.show(unit, property);
            if seen == value { Ok(()) } else { Err(seen) }
        })
        .await
        .unwrap();
    }

    /// A path in it, as we see it.
    pub fn path(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    pub async fn try_ask<T: FromRedisValue>(&self, socket: &str, words: &[&str]) -> redis::RedisResult<T> {
        let url = format!("redis+unix://{}", self.path(socket).display());
        let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        client::cmd(words).query_async(&mut connection).await
    }

    pub async fn ask<T: FromRedisValue>(&self, socket: &str, words: &[&str]) -> T {
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
fn control_group(name: &str) -> Result<PathBuf, String> {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
    let mounted = mounts.lines().find_map(|line| {
        let mut words = line.split(' ').skip(1);
        let place = words.next()?;
        (words.next() == Some("cgroup2")).then_some(place)
    });
    let group = Path::new(mounted.ok_or("there are no control groups of version 2")?)
        .join(format!("redoubt-test-{}-{name}", std::process::id()));
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

/// A command that runs in it.
fn enter(init: Pid) -> Command {
    let mut command = Command::new("nsenter");
    command.args(["-t", &init.to_string(), "-m", "-p", "-n", "-i", "-u", "-C"]);
    command
}

fn inside(init: Pid, words: &[&str]) -> Result<String, String> {
    let output =
        enter(init).args(words).stdin(Stdio::null()).output().map_err(|e| format!("nsenter: {e}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    // 'degraded' is one.
    let states = words.last() == Some(&"is-system-running");
    match output.status.success() || states {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{}: {}{}", output.status, text(&output.stdout), text(&output.stderr))),
    }
}
