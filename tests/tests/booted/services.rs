//! Node and Sentinel as services: what they write, run and are told within the bounds of their units.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use redoubt_lab::netns::Net;
use redoubt_lab::scratch::Scratch;
use redoubt_lab::wait;

use super::machine::{Booted, LIMIT, as_root, make_install};

const NODE: &str = "redoubt-node@6379.service";
const SENTINEL: &str = "redoubt-sentinel.service";
const NODE_SOCKET: &str = "/run/redoubt/node-6379/socket";
const SENTINEL_SOCKET: &str = "/run/redoubt/sentinel/socket";

/// What is installed on the machine.
fn install(root: &Path) {
    make_install(root);
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

#[test]
fn with_systemd_analyze_they_do_their_work_within_their_bounds() {
    as_root("services::with_systemd_analyze_they_do_their_work_within_their_bounds", bounds);
}

async fn bounds() {
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let root = scratch.path().join("root");
    install(&root);
    let net = Net::new(1).unwrap();
    let machine = match Booted::boot(net.host(0), &root, &[], &scratch.path().join("boot.log")).await {
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
