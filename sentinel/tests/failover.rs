//! Failovers of real redis-servers, by our Sentinels alone and together with real ones.

#[allow(unused)]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use redoubt_wire::resp::value::Value;
use support::{Client, Deployment, OURS, ask, field, info, redis_is_missing, text, texts, wait_for};

const REAL: &str = "/usr/bin/redis-sentinel";
/// How long after down-after a write must be taken again, on a machine that is busy with other tests.
const SLACK: Duration = Duration::from_millis(1500);
const DOWN_AFTER: Duration = Duration::from_millis(1000);

fn followers_follow(deployment: &Deployment, new: usize, dead: usize) {
    let port = deployment.nodes[new].port;
    for (n, node) in deployment.nodes.iter().enumerate().filter(|(n, _)| *n != new && *n != dead) {
        wait_for(&format!("node {n} to follow"), || {
            let info = info(node.port);
            info.contains(&format!("master_port:{port}\r")) && info.contains("master_link_status:up")
        });
    }
}

#[test]
fn three_sentinels_replace_a_killed_master_and_tell_everybody() {
    if redis_is_missing() {
        return;
    }
    let scripts = tempfile::tempdir().unwrap();
    let (script, out) = (scripts.path().join("reconfig"), scripts.path().join("out"));
    fs::write(&script, format!("#!/bin/sh\necho \"$SENTINEL_CONFIG_EPOCH $*\" >> {}\n", out.display()))
        .unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    let mut d =
        Deployment::start(&[OURS; 3], &format!("sentinel client-reconfig-script m {}\n", script.display()));
    let mut listeners: Vec<Client> = Vec::new();
    for s in &d.sentinels {
        let mut client = Client::connect(s.port).unwrap();
        let confirmed = client.ask(&["SUBSCRIBE", "+switch-master"]).unwrap();
        assert_eq!(texts(&confirmed), ["subscribe", "+switch-master", "1"]);
        listeners.push(client);
    }
    let since = Instant::now();
    d.nodes[0].kill();
    let (new, took) = d.wait_for_new_master(0, since);
    eprintln!("SIGKILL: writes again after {took:?} (down-after {DOWN_AFTER:?})");
    assert!(took < DOWN_AFTER + SLACK, "{took:?}");
    let (old_port, new_port) = (d.nodes[0].port, d.nodes[new].port);
    let wanted = format!("m 127.0.0.1 {old_port} 127.0.0.1 {new_port}");
    for listener in &mut listeners {
        assert_eq!(texts(&listener.receive().unwrap()), ["message", "+switch-master", wanted.as_str()]);
    }
    followers_follow(&d, new, 0);
    wait_for("the scripts", || fs::read_to_string(&out).is_ok_and(|t| t.lines().count() == 3));
    let lines = fs::read_to_string(&out).unwrap();
    for line in lines.lines() {
        let (epoch, rest) = line.split_once(' ').unwrap();
        assert!(epoch.parse::<u64>().unwrap() >= 1);
        let tail = format!("start 127.0.0.1 {old_port} 127.0.0.1 {new_port}");
        assert!(rest == format!("m leader {tail}") || rest == format!("m observer {tail}"), "{line}");
    }
    assert_eq!(lines.matches(" leader ").count(), 1);

    d.nodes[0].restart();
    wait_for("the old master to be demoted", || {
        info(old_port).contains(&format!("master_port:{new_port}\r"))
    });
}

#[test]
fn three_sentinels_replace_a_stopped_master() {
    if redis_is_missing() {
        return;
    }
    let d = Deployment::start(&[OURS; 3], "");
    let since = Instant::now();
    d.nodes[0].signal(Signal::SIGSTOP);
    let (new, took) = d.wait_for_new_master(0, since);
    eprintln!("SIGSTOP: writes again after {took:?} (down-after {DOWN_AFTER:?})");
    assert!(took < DOWN_AFTER + SLACK, "{took:?}");
    followers_follow(&d, new, 0);
    d.nodes[0].signal(Signal::SIGCONT);
}

#[test]
fn an_operator_can_move_the_master() {
    if redis_is_missing() {
        return;
    }
    let d = Deployment::start(&[OURS, OURS, REAL], "");
    let since = Instant::now();
    assert_eq!(text(&ask(d.sentinels[0].port, "SENTINEL FAILOVER m").unwrap()), "OK");
    let (new, took) = d.wait_for_new_master(0, since);
    assert!(took < SLACK, "{took:?}");
    followers_follow(&d, new, new);
    assert!(since.elapsed() < Duration::from_secs(7), "the old master need not wait for the grace of strays");
}

#[test]
fn a_sentinel_that_is_killed_comes_back_as_the_same() {
    if redis_is_missing() {
        return;
    }
    let mut d = Deployment::start(&[OURS; 3], "# a comment of the operator's\n");
    let port = d.sentinels[0].port;
    let id = text(&ask(port, "SENTINEL MYID").unwrap());
    wait_for("the state on disk", || {
        fs::read_to_string(&d.sentinels[0].file).is_ok_and(|t| t.matches("known-sentinel").count() == 2)
    });
    d.sentinels[0].kill();
    d.sentinels[0].restart();
    wait_for("the Sentinel", || ask(port, "PING").is_some());
    assert_eq!(text(&ask(port, "SENTINEL MYID").unwrap()), id);
    let master = ask(port, "SENTINEL MASTER m").unwrap();
    assert_eq!(
        (field(&master, "num-slaves"), field(&master, "num-other-sentinels")),
        ("2".into(), "2".into())
    );
    let file = fs::read_to_string(&d.sentinels[0].file).unwrap();
    assert!(file.contains("# a comment of the operator's\n"));
    assert_eq!(file.matches("known-replica").count(), 2);
    assert!(matches!(ask(port, "SENTINEL CKQUORUM m"), Some(Value::Simple(_))));
    assert_eq!(
        fs::read_dir(d.folder.path())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmp"))
            .count(),
        0
    );
}
