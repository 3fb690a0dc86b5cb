//! Scripts as the system sees them: their environment, descriptors, process group and output, and the queue that
//! outlives the process.

#[allow(unused)]
mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use nix::sys::signal::Signal;
use support::{OURS, Process, ask, field, free_port, text, texts, wait_for};

/// A Sentinel whose master has this script for notifications, in a folder of its own. The script finds the folder's
/// path in `$D`.
struct Stage {
    sentinel: Process,
    dir: tempfile::TempDir,
}

impl Stage {
    fn start(script: &str) -> Stage {
        Stage::start_with(script, "", |_| {})
    }

    /// `lines` go into the file, `prepare` changes how the program is started.
    fn start_with(script: &str, lines: &str, prepare: impl Fn(&mut Command)) -> Stage {
        let dir = tempfile::tempdir().unwrap();
        let (port, node) = (free_port(), free_port());
        let path = dir.path().join("script");
        let head = format!("#!/bin/sh\nD={}\n", dir.path().display());
        write_script(&path, &(head + script));
        let file = dir.path().join("sentinel.conf");
        let conf = format!(
            "port {port}\nbind 127.0.0.1\nlogfile {0}/log\nsentinel monitor m 127.0.0.1 {node} 1\n\
             sentinel down-after-milliseconds m 1000000000\n{lines}sentinel notification-script m {0}/script\n",
            dir.path().display(),
        );
        fs::write(&file, conf).unwrap();
        let mut command = Command::new(OURS);
        command.arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
        prepare(&mut command);
        let sentinel = Process::adopt(command.spawn().unwrap(), port, file);
        wait_for("the Sentinel", || ask(port, "PING").is_some());
        Stage { sentinel, dir }
    }

    fn say(&self, line: &str) -> String {
        text(&ask(self.sentinel.port, line).unwrap())
    }

    /// An event calls the script: `+set master m 127.0.0.1 … quorum N`.
    fn call(&self, quorum: u32) {
        assert_eq!(self.say(&format!("SENTINEL SET m quorum {quorum}")), "OK");
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    fn wait_for_text(&self, name: &str, part: &str) -> String {
        wait_for(&format!("{part:?} in {name}"), || self.read(name).contains(part));
        self.read(name)
    }
}

fn write_script(path: &Path, text: &str) {
    // By renaming, so that nobody finds it open to write.
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, path).unwrap();
}

#[test]
fn a_script_has_its_words_and_environment_and_nothing_of_ours() {
    let script = r#"
        case "$1 $2" in "+set "*" quorum 3") ;; *) exit 0 ;; esac
        exec >$D/out.part
        find /proc/$$/fd -type l -printf 'fd %f %l\n'
        echo "args $1|$2"
        echo "env $SENTINEL_CONFIG_EPOCH $SENTINEL_REASON $SENTINEL_EVENT_ID $ORDINARY"
        echo "ours ${NOTIFY_SOCKET-none} ${WATCHDOG_USEC-none}"
        echo "group $(cut -d' ' -f5 /proc/self/stat) of $$"
        # The shell blocks signals of its own while it waits for another program.
        while read -r line; do case "$line" in SigBlk*) echo "$line" ;; esac; done </proc/$$/status
        echo end
        mv $D/out.part $D/out
    "#;
    let stage = Stage::start_with(script, "", |command| {
        command.env("NOTIFY_SOCKET", "/nowhere").env("WATCHDOG_USEC", "1000000").env("ORDINARY", "kept");
    });
    stage.call(3);
    let out = stage.wait_for_text("out", "end\n");
    let line = |start: &str| {
        out.lines().find(|l| l.starts_with(start)).unwrap_or_else(|| panic!("no {start}: {out}")).to_string()
    };
    assert!(line("args").starts_with("args +set|master m 127.0.0.1 ") && line("args").ends_with(" quorum 3"));
    let env = line("env");
    let env: Vec<&str> = env.split(' ').collect();
    assert_eq!((env[1], env[2], env[3].len(), env[4]), ("0", "+set", 32, "kept"));
    assert_eq!(line("ours"), "ours none none");
    let group = line("group");
    let group: Vec<&str> = group.split(' ').collect();
    assert_eq!(group[1], group[3], "it leads a process group");
    assert_eq!(line("SigBlk").split_whitespace().nth(1), Some("0000000000000000"));
    let fds: Vec<String> = out.lines().filter(|l| l.starts_with("fd ")).map(str::to_string).collect();
    // What whoever runs this test hands down to all is not the Sentinel's.
    let inherited = |number: &str, target: &str| {
        fs::read_link(format!("/proc/self/fd/{number}")).is_ok_and(|to| to.as_os_str() == target)
    };
    let unexpected = fds.iter().filter(|fd| {
        let mut words = fd.split(' ').skip(1);
        let (number, target) = (words.next().unwrap(), words.next().unwrap_or_default());
        // The shell itself has its script open, and its input once more.
        let of_shell = target.ends_with("/script") || target == "/dev/null";
        !(matches!(number, "0" | "1" | "2") || of_shell || inherited(number, target))
    });
    assert_eq!(unexpected.count(), 0, "{fds:?}");
}

#[test]
fn what_a_script_writes_is_logged_with_its_name_and_its_bounds() {
    let script = r#"
        case "$1 $2" in "+set "*" quorum 3") ;; *) exit 0 ;; esac
        echo "moved the address"
        echo "arping: no such device" >&2
        i=0; while [ $i -lt 200 ]; do echo "line $i"; i=$((i+1)); done
        head -c 5000 /dev/zero | tr '\0' x >&2
        exit 2
    "#;
    let stage = Stage::start(script);
    stage.call(3);
    let log = stage.wait_for_text("log", "-script-error");
    let name = format!("Script {}/script of m (pid ", stage.dir.path().display());
    let line = |part: &str| log.lines().find(|l| l.contains(part)).unwrap_or_else(|| panic!("{part}: {log}"));
    stage.wait_for_text("log", "[more than 64 lines: the rest is not logged]");
    let errors = stage.wait_for_text("log", "xxx [...]");
    for (part, sign) in [("moved the address", " * "), ("arping: no such device", " # ")] {
        assert!(line(part).contains(&name) && line(part).contains(sign), "{}", line(part));
    }
    assert!(!log.contains("line 70"), "{log}");
    let long = errors.lines().find(|l| l.contains("xxx [...]")).unwrap();
    assert!(long.len() < 800, "{long}");
}

#[test]
fn a_script_that_cannot_be_executed_is_told_with_the_reason() {
    let stage = Stage::start("exit 0\n");
    let path = stage.dir.path().join("script");
    for (content, reason) in [
        ("#!/no/such/interpreter\n", "The interpreter that its first line names does not exist"),
        ("true\n", "It needs a first line that names its interpreter"),
    ] {
        write_script(&path, content);
        stage.call(2);
        let log = stage.wait_for_text("log", reason);
        let line = log.lines().find(|l| l.contains(reason)).unwrap();
        assert!(line.contains(&format!("Can't run the script {} of m: ", path.display())), "{line}");
    }
    fs::remove_file(&path).unwrap();
    stage.call(3);
    stage.wait_for_text("log", "No such file or directory (os error 2)");
}

#[test]
fn at_the_limit_the_whole_process_group_is_ended() {
    let script = r#"
        case "$1 $2" in "+set "*" quorum 3") ;; *) exit 0 ;; esac
        sleep 1000 & echo $! >$D/child
        echo $$ >$D/parent
        wait
    "#;
    let stage = Stage::start(script);
    assert_eq!(stage.say("SENTINEL DEBUG SCRIPT-MAX-RUNTIME 1500"), "OK");
    stage.call(3);
    wait_for("the script", || !stage.read("parent").is_empty());
    let pids = ["parent", "child"].map(|name| stage.read(name).trim().to_string());
    assert!(pids.iter().all(|pid| is_alive(pid)), "both run before the limit");
    wait_for("their end", || !pids.iter().any(|pid| is_alive(pid)));
    stage.wait_for_text("log", "-script-timeout");
    // Killed: it is to be tried again.
    let pending = ask(stage.sentinel.port, "SENTINEL PENDING-SCRIPTS").unwrap();
    let job = &pending.as_slice().unwrap()[0];
    assert_eq!((field(job, "flags"), field(job, "retry-num")), ("scheduled".into(), "1".into()));
}

/// A zombie is none that runs.
fn is_alive(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ").next().is_some_and(|rest| !rest.is_empty() && !rest.starts_with('Z'))
}

#[test]
fn what_a_script_leaves_behind_lives_on_and_may_write() {
    let script = r#"
        case "$1 $2" in "+set "*" quorum 3") ;; *) exit 0 ;; esac
        (while [ ! -e $D/go ]; do sleep 0.01; done; echo "announced"; echo done >$D/after) &
    "#;
    let stage = Stage::start(script);
    stage.call(3);
    wait_for("the end of the script", || {
        ask(stage.sentinel.port, "SENTINEL PENDING-SCRIPTS").is_some_and(|v| texts(&v).is_empty())
    });
    fs::write(stage.dir.path().join("go"), "").unwrap();
    stage.wait_for_text("after", "done");
    stage.wait_for_text("log", "announced");
}

#[test]
fn the_queue_outlives_the_process_however_it_ends() {
    // Fails until it may not, and notes the event of each attempt.
    let script = r#"
        case "$1 $2" in "+set "*" quorum 3") ;; *) exit 0 ;; esac
        echo "$SENTINEL_EVENT_ID" >>$D/attempts
        [ -e $D/may ] || exit 1
        echo yes >$D/done
    "#;
    let mut stage = Stage::start(script);
    let file = stage.dir.path().join("sentinel.conf.scripts");
    stage.call(3);
    wait_for("the queue on disk", || {
        fs::read_to_string(&file).is_ok_and(|t| t.contains("\nnotification m 0 ") && t.contains(" 1 +set "))
    });
    let conf = stage.read("sentinel.conf");
    assert!(!conf.contains("quorum 3"), "it is nothing that redis-sentinel would have to understand: {conf}");

    for (round, signal) in [Signal::SIGKILL, Signal::SIGTERM].into_iter().enumerate() {
        stage.sentinel.signal(signal);
        wait_for("its end", || ask(stage.sentinel.port, "PING").is_none());
        let text = fs::read_to_string(&file).unwrap();
        assert_eq!(text.lines().count(), 2, "a head and a script: {text}");
        let child = Command::new(OURS).arg(&stage.sentinel.file).stdout(Stdio::null()).spawn().unwrap();
        stage.sentinel = Process::adopt(child, stage.sentinel.port, stage.sentinel.file.clone());
        wait_for("another attempt", || stage.read("attempts").lines().count() == round + 2);
        wait_for("the attempt on disk", || {
            fs::read_to_string(&file).is_ok_and(|t| t.contains(&format!(" {} +set ", round + 2)))
        });
    }
    fs::write(stage.dir.path().join("may"), "").unwrap();
    stage.sentinel.signal(Signal::SIGTERM);
    wait_for("its end", || ask(stage.sentinel.port, "PING").is_none());
    let child = Command::new(OURS).arg(&stage.sentinel.file).stdout(Stdio::null()).spawn().unwrap();
    stage.sentinel = Process::adopt(child, stage.sentinel.port, stage.sentinel.file.clone());
    stage.wait_for_text("done", "yes");
    wait_for("the end of the queue", || !file.exists());
    let attempts = stage.read("attempts");
    let mut ids: Vec<&str> = attempts.lines().collect();
    assert_eq!(ids.len(), 4);
    ids.dedup();
    assert_eq!(ids.len(), 1, "all attempts are for one event");
}

#[test]
fn an_orderly_end_keeps_what_was_not_yet_written() {
    let stage = Stage::start("case \"$1\" in +set) exit 1 ;; esac\n");
    wait_for("the end of +monitor's", || {
        ask(stage.sentinel.port, "SENTINEL PENDING-SCRIPTS").is_some_and(|v| texts(&v).is_empty())
    });
    stage.call(3);
    stage.sentinel.signal(Signal::SIGTERM);
    wait_for("its end", || ask(stage.sentinel.port, "PING").is_none());
    wait_for("the queue on disk", || stage.read("sentinel.conf.scripts").contains(" +set \"master m "));
}

#[test]
fn a_damaged_queue_is_told_and_costs_no_more_than_itself() {
    let dir = tempfile::tempdir().unwrap();
    let (port, node) = (free_port(), free_port());
    let file = dir.path().join("sentinel.conf");
    let script = dir.path().join("script");
    write_script(&script, &format!("#!/bin/sh\necho \"$2\" >>{}/out\n", dir.path().display()));
    let conf = format!(
        "port {port}\nbind 127.0.0.1\nlogfile {0}/log\nsentinel monitor m 127.0.0.1 {node} 1\n\
         sentinel notification-script m {0}/script\n",
        dir.path().display(),
    );
    fs::write(&file, conf).unwrap();
    let queue = dir.path().join("sentinel.conf.scripts");
    fs::write(&queue, "notification m 0 ab +x 0 +x whole\nnotification m 0 ab +x 0 +x \"ha\0lf\n").unwrap();
    let mut sentinel = Process::start(OURS, port, file);
    let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap_or_default();
    wait_for("the whole one", || read("out").contains("whole\n"));
    assert!(read("log").contains("which is dropped: notification m 0 ab"), "{}", read("log"));
    wait_for("the end of the queue", || !queue.exists());

    sentinel.kill();
    fs::write(&queue, "what is this?\n").unwrap();
    sentinel.restart();
    wait_for("the end of the queue", || !queue.exists());
    assert!(read("log").contains("which is dropped: what is this?"), "{}", read("log"));
}
