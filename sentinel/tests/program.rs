//! The program as an operator and a client meet it: start, refusals, commands of connections.

#[allow(unused)]
mod support;

use std::fs;
use std::process::{Command, Output, Stdio};

use redoubt_wire::resp::value::Value;
use support::{Client, OURS, Process, ask, free_port, text, texts, wait_for};

fn run(conf: &str) -> (Output, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("sentinel.conf");
    fs::write(&file, conf).unwrap();
    (Command::new(OURS).arg(&file).output().unwrap(), dir)
}

#[test]
fn what_cannot_work_ends_with_code_1_and_says_where_and_why() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    for (conf, wanted) in [
        ("port 1\nno-such-directive 1\n".to_string(), "at line 2 of"),
        ("sentinel monitor m 127.0.0.1 6379 0\n".to_string(), "Quorum must be 1 or greater."),
        ("sentinel monitor m no.such.host 6379 1\n".to_string(), "resolve-hostnames yes"),
        (format!("bind 127.0.0.1\nport {port}\n"), "Failed listening on port"),
    ] {
        let (output, _dir) = run(&conf);
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{conf}: {message}");
        assert!(message.contains(wanted), "{conf}: {message}");
    }
    let output = Command::new(OURS).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).starts_with("Sentinel needs config file on disk"));
    let output = Command::new(OURS).arg("/no/such/file").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

fn start(lines: &str) -> (Process, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let port = free_port();
    let file = dir.path().join("sentinel.conf");
    let log = dir.path().join("log");
    fs::write(&file, format!("port {port}\nbind 127.0.0.1\nlogfile {}\n{lines}", log.display())).unwrap();
    let process = Process::start(OURS, port, file);
    wait_for("the Sentinel", || ask(port, "PING").is_some());
    (process, dir)
}

#[test]
fn commands_of_connections_answer_as_in_redis() {
    let (s, _dir) = start("");
    let mut client = Client::connect(s.port).unwrap();
    let mut say = |line: &str| client.ask(&line.split(' ').collect::<Vec<_>>()).unwrap();
    assert_eq!(text(&say("PING")), "PONG");
    assert_eq!(texts(&say("ROLE"))[0], "sentinel");
    assert_eq!(text(&say("CLIENT SETNAME me")), "OK");
    assert_eq!(text(&say("CLIENT GETNAME")), "me");
    assert!(text(&say("CLIENT LIST")).contains(" name=me "));
    assert_eq!(text(&say("GET x")), "ERR unknown command 'GET', with args beginning with: 'x' ");
    assert_eq!(text(&say("PUBLISH c m")), "ERR Only HELLO messages are accepted by Sentinel instances.");
    let info = text(&say("INFO"));
    for section in ["# Server", "# Clients", "# CPU", "# Stats", "# Sentinel"] {
        assert!(info.contains(section), "{section}");
    }
    assert_eq!(text(&say("INFO sentinel")).lines().next(), Some("# Sentinel"));
    assert_eq!(text(&say("INFO replication")), "");
    let names = texts(&say("COMMAND LIST"));
    let commands = names.iter().filter(|n| !n.contains('|')).count();
    assert_eq!(text(&say("COMMAND COUNT")), commands.to_string());
    assert!(names.iter().any(|n| n == "client|setinfo") && names.iter().any(|n| n == "sentinel|masters"));
    let help = texts(&say("CLIENT HELP"));
    for sub in names.iter().filter_map(|n| n.strip_prefix("client|")) {
        let word = sub.to_uppercase();
        assert!(help.iter().any(|line| line.split(' ').next() == Some(&word)), "CLIENT HELP lacks {word}");
    }
    assert!(matches!(say("COMMAND DOCS client|setinfo get"), Value::Array(docs) if docs.len() == 2));
    assert!(matches!(say("COMMAND DOCS sentinel"), Value::Array(docs) if docs.len() == 2));
    let Value::Map(hello) = say("HELLO 3") else { panic!("no map") };
    assert_eq!(hello.len(), 6);
    assert_eq!(hello[4], (Value::Bulk(b"mode".to_vec()), Value::Bulk(b"sentinel".to_vec())));
    assert_eq!(text(&say("CLIENT NO-EVICT ON")), "OK");
    assert!(matches!(say("SUBSCRIBE a"), Value::Push(_)));
    assert_eq!(text(&say("PING")), "PONG");
}

#[test]
fn a_password_is_required_where_one_is_set() {
    let (s, _dir) = start("requirepass secret\n");
    let mut client = Client::connect(s.port).unwrap();
    let mut say = |line: &str| text(&client.ask(&line.split(' ').collect::<Vec<_>>()).unwrap());
    assert_eq!(say("SENTINEL MASTERS"), "NOAUTH Authentication required.");
    assert_eq!(say("AUTH wrong"), "WRONGPASS invalid username-password pair or user is disabled.");
    assert_eq!(say("AUTH secret"), "OK");
    assert_eq!(say("SENTINEL MYID").len(), 40);
}

#[test]
fn renamed_commands_go_by_their_new_names() {
    let (s, _dir) = start("rename-command SENTINEL guard\nrename-command SHUTDOWN \"\"\n");
    assert_eq!(text(&ask(s.port, "GUARD MYID").unwrap()).len(), 40);
    for line in ["SENTINEL MYID", "SHUTDOWN"] {
        let name = line.split(' ').next().unwrap();
        let reply = text(&ask(s.port, line).unwrap());
        assert!(reply.starts_with(&format!("ERR unknown command '{name}'")), "{line}: {reply}");
    }
}

#[test]
fn a_pause_holds_commands_back_until_it_ends() {
    let (s, _dir) = start("");
    let [mut pausing, mut paused] = [(); 2].map(|()| Client::connect(s.port).unwrap());
    assert_eq!(text(&pausing.ask(&["CLIENT", "PAUSE", "100000", "WRITE"]).unwrap()), "OK");
    paused.send(&["PUBLISH", "c", "m"]).unwrap();
    paused.send(&["PING"]).unwrap();
    wait_for("the command that waits", || {
        text(&pausing.ask(&["INFO", "clients"]).unwrap()).contains("\r\nblocked_clients:1\r\n")
    });
    assert_eq!(text(&pausing.ask(&["CLIENT", "UNPAUSE"]).unwrap()), "OK");
    let refused = "ERR Only HELLO messages are accepted by Sentinel instances.";
    assert_eq!(text(&paused.receive().unwrap()), refused);
    assert_eq!(text(&paused.receive().unwrap()), "PONG");

    // Of all commands, so that it can only end by itself.
    let before = std::time::Instant::now();
    assert_eq!(text(&pausing.ask(&["CLIENT", "PAUSE", "200"]).unwrap()), "OK");
    assert_eq!(text(&pausing.ask(&["PING"]).unwrap()), "PONG");
    assert!(before.elapsed().as_millis() >= 200, "{:?}", before.elapsed());
}

/// In a network of its own, whose loopback interface has an address from outside 127/8.
#[test]
fn protected_mode_turns_away_who_comes_from_elsewhere() {
    let has = |words: &[&str]| {
        let status =
            Command::new(words[0]).args(&words[1..]).stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    };
    if !has(&["unshare", "-rn", "ip", "link"]) || !has(&["redis-cli", "--version"]) {
        return eprintln!("skipped: no right to make a network, or no redis-cli");
    }
    let dir = tempfile::tempdir().unwrap();
    let script = r#"ip link set lo up && ip addr add 10.0.0.1/32 dev lo || exit 1
        printf "port 26379\nprotected-mode yes\nlogfile $1/log\n$2" >"$1/sentinel.conf"
        "$0" "$1/sentinel.conf" &
        until redis-cli -p 26379 PING >"$1/here" 2>&1; do kill -0 $! || exit 1; sleep 0.01; done
        redis-cli -h 10.0.0.1 -p 26379 PING 2>&1 | head -c 100
        cat "$1/here"
        kill $!; wait"#;
    let run = |lines: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rn", "sh", "-c", script, OURS]).arg(dir.path()).arg(lines);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let protected = run("");
    assert!(protected.starts_with("DENIED Redis is running in protected mode"), "{protected}");
    assert!(protected.ends_with("PONG\n"), "{protected}");
    let with_password = run("requirepass secret\n");
    assert!(with_password.starts_with("NOAUTH Authentication required."), "{with_password}");
}

#[test]
fn events_reach_pattern_subscribers_and_settings_reach_the_file() {
    let (s, _dir) = start("# mine\n");
    let mut listener = Client::connect(s.port).unwrap();
    assert_eq!(texts(&listener.ask(&["PSUBSCRIBE", "+mon*"]).unwrap()), ["psubscribe", "+mon*", "1"]);
    let denied = listener.ask(&["SENTINEL", "MASTERS"]).unwrap();
    assert!(text(&denied).starts_with("ERR Can't execute 'sentinel|masters'"), "{denied:?}");
    let port = free_port();
    assert_eq!(text(&ask(s.port, &format!("SENTINEL MONITOR x 127.0.0.1 {port} 2")).unwrap()), "OK");
    let event = texts(&listener.receive().unwrap());
    assert_eq!(event, ["pmessage", "+mon*", "+monitor", &format!("master x 127.0.0.1 {port} quorum 2")]);
    assert_eq!(text(&ask(s.port, "SENTINEL SET x down-after-milliseconds 60000").unwrap()), "OK");
    let file = fs::read_to_string(&s.file).unwrap();
    assert!(file.contains("# mine\n# Generated by CONFIG REWRITE\n"), "{file}");
    assert!(file.contains(&format!("sentinel monitor x 127.0.0.1 {port} 2\n")), "{file}");
    assert!(file.contains("sentinel down-after-milliseconds x 60000\n"), "{file}");
}

#[test]
fn a_state_that_cannot_be_written_is_an_error_of_the_command() {
    let (s, _dir) = start("");
    fs::remove_file(&s.file).unwrap();
    fs::create_dir(&s.file).unwrap();
    let reply = text(&ask(s.port, "SENTINEL FLUSHCONFIG").unwrap());
    assert_eq!(reply, "ERR Failed to save config file. Check server logs.");
    fs::remove_dir(&s.file).unwrap();
    fs::write(&s.file, "").unwrap();
    assert_eq!(text(&ask(s.port, "SENTINEL FLUSHCONFIG").unwrap()), "OK");
}

#[test]
fn shutdown_ends_the_process_and_its_pid_file() {
    let pidfile = tempfile::tempdir().unwrap();
    let path = pidfile.path().join("pid");
    let (s, _dir) = start(&format!("pidfile {}\n", path.display()));
    assert!(path.exists());
    assert_eq!(ask(s.port, "SHUTDOWN NOSAVE"), None);
    wait_for("its end", || !path.exists() && ask(s.port, "PING").is_none());
}
