//! Who may use the agent's socket, by the kernel's word: real users, of the group that `socket-group` names and not.
//!
//! Needs root, and setpriv and unshare (util-linux); without them the test says so and is skipped.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use nix::unistd::{Gid, Group, geteuid};

/// A user that has no entry anywhere: only its groups count.
const USER: u32 = 54_321;
/// Its own group, which has nothing to do with the socket.
const OWN_GROUP: u32 = 54_321;
const LIMIT: Duration = Duration::from_secs(20);

struct Setup {
    dir: tempfile::TempDir,
    /// The group that `socket-group` names.
    group: Group,
}

impl Setup {
    /// `Err` says what the machine does not allow.
    fn new() -> Result<Setup, String> {
        if !geteuid().is_root() {
            return Err("only root can be other users".into());
        }
        let allowed = Command::new("unshare").args(["--net", "setpriv", "--clear-groups", "true"]).output();
        match allowed {
            Ok(output) if output.status.success() => {}
            Ok(output) => return Err(String::from_utf8_lossy(&output.stderr).into_owned()),
            Err(e) => return Err(format!("unshare: {e}")),
        }
        // The first that is not root's; every system has some.
        let groups = (1..1000).filter_map(|gid| Group::from_gid(Gid::from_raw(gid)).ok().flatten());
        let group = groups.into_iter().next().ok_or("no group has an id from 1 to 999")?;
        let setup = Setup { dir: tempfile::tempdir().unwrap(), group };
        // Everybody can get at the program and the configuration, so that the socket alone decides.
        open_to_all(setup.dir.path());
        fs::copy(env!("CARGO_BIN_EXE_redoubt-vip-hook"), setup.program()).unwrap();
        open_to_all(&setup.program());
        setup.configure("");
        fs::create_dir(setup.dir.path().join("state")).unwrap();
        Ok(setup)
    }

    fn program(&self) -> PathBuf {
        self.dir.path().join("redoubt-vip-hook")
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("vip-hook.yaml")
    }

    /// In folders that are not there yet.
    fn socket(&self) -> PathBuf {
        self.dir.path().join("run/vip/agent.sock")
    }

    fn configure(&self, top: &str) {
        let text = format!(
            "{top}\nsocket: {}\nsocket-group: {}\nstate-dir: {}/state\nsentinels: ['127.0.0.1:1']\nmasters:\n  - name: mymaster\n    \
             node: 127.0.0.1:1\n    host-addresses: [127.0.0.1]\n    addresses: [{{address: 10.0.0.100, interface: none0}}]\n",
            self.socket().display(),
            self.group.name,
            self.dir.path().display(),
        );
        fs::write(self.file(), text).unwrap();
        open_to_all(&self.file());
    }

    /// An agent in a network of its own, with the umask of its unit.
    fn agent(&self, setpriv: &[&str]) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--net", "sh", "-c", "umask 0077; exec \"$@\"", "sh", "setpriv"]).args(setpriv);
        command.arg(self.program()).args(["agent", "--config"]).arg(self.file()).env_remove("NOTIFY_SOCKET");
        command
    }

    /// What a verb comes to for a user with this group beside its own.
    fn verb(&self, group: Option<Gid>, args: &[&str]) -> (i32, String) {
        let groups = group.map_or("--clear-groups".into(), |gid| format!("--groups={gid}"));
        let output: Output = Command::new("setpriv")
            .args([format!("--reuid={USER}"), format!("--regid={OWN_GROUP}"), groups])
            .arg(self.program())
            .args(args)
            .env("REDOUBT_VIP_CONFIG", self.file())
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(text).unwrap())
    }
}

fn open_to_all(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}

/// An agent that ends with the test.
struct Agent(Child);

impl Drop for Agent {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const SEVEN: [&str; 7] = ["mymaster", "leader", "start", "10.0.0.1", "6379", "10.0.0.2", "6379"];

#[test]
fn members_of_the_group_use_the_socket_and_others_are_told_of_it() {
    let setup = match Setup::new() {
        Ok(setup) => setup,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    let member = Some(setup.group.gid);
    assert!(setup.verb(member, &["status"]).1.starts_with("no agent at "), "there is none yet");

    let _agent = Agent(setup.agent(&["--clear-groups"]).stdout(Stdio::null()).spawn().unwrap());
    let begun = Instant::now();
    while setup.verb(member, &["status"]).0 != 0 {
        assert!(begun.elapsed() < LIMIT, "{:?}", setup.verb(member, &["status"]));
        std::thread::sleep(Duration::from_millis(10));
    }
    let found = fs::metadata(setup.socket()).unwrap();
    let access = (found.uid(), found.gid(), found.mode() & 0o7777);
    assert_eq!(access, (0, setup.group.gid.as_raw(), 0o660));

    let refused = format!(
        "user {USER} may not use the agent's socket {}: Permission denied (os error 13); run this as root or as a \
         member of its group, {} (named by socket-group in vip-hook.yaml",
        setup.socket().display(),
        setup.group.name
    );
    // The configuration of the last round would have it done without an agent, if there were none.
    for top in ["", "without-agent: move"] {
        setup.configure(top);
        for args in [&["status"][..], &["plan"], &["maintenance", "on"], &["release"], &SEVEN] {
            let (code, text) = setup.verb(None, args);
            assert!(code == 1 && text.starts_with(&refused), "{args:?}: {code}, {text}");
        }
        let (_, findings) = setup.verb(None, &["check"]);
        assert!(findings.contains(&refused) && !findings.contains("start it:"), "{findings}");
    }
    let (code, status) = setup.verb(member, &["status"]);
    assert!(code == 0 && !status.contains("maintenance is on"), "nobody else got through: {status}");
    assert_eq!(setup.verb(member, &["maintenance", "on"]).0, 0);
    let (_, status) = setup.verb(member, &["status"]);
    assert!(status.contains("maintenance is on"), "{status}");
}

#[test]
fn an_agent_outside_of_the_group_says_so_and_leaves_no_socket() {
    let setup = match Setup::new() {
        Ok(setup) => setup,
        Err(why) => return eprintln!("skipped: {why}"),
    };
    for path in ["state", "run", "run/vip"] {
        let path = setup.dir.path().join(path);
        let _ = fs::create_dir(&path);
        std::os::unix::fs::chown(&path, Some(USER), Some(OWN_GROUP)).unwrap();
    }
    let (user, group) = (format!("--reuid={USER}"), format!("--regid={OWN_GROUP}"));
    let capabilities = ["--inh-caps=+net_admin,+net_raw", "--ambient-caps=+net_admin,+net_raw"];
    let own = [&[user.as_str(), group.as_str(), "--clear-groups"][..], &capabilities].concat();
    let output = setup.agent(&own).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    let expected = format!(
        "{}: socket-group: Operation not permitted (os error 1); the agent's user must be in that group",
        setup.socket().display()
    );
    assert!(output.status.code() == Some(1) && text.contains(&expected), "{text}");
    assert!(!setup.socket().exists());

    let groups = format!("--groups={}", setup.group.gid);
    let member = [&[user.as_str(), group.as_str(), groups.as_str()][..], &capabilities].concat();
    let _agent = Agent(setup.agent(&member).stdout(Stdio::null()).spawn().unwrap());
    let begun = Instant::now();
    while setup.verb(Some(setup.group.gid), &["status"]).0 != 0 {
        assert!(begun.elapsed() < LIMIT, "an agent in the group serves");
        std::thread::sleep(Duration::from_millis(10));
    }
}
