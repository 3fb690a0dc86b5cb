//! The program as a user and as a Sentinel see it: arguments, output and exit codes.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use redoubt_wire::resp::value::{Decoder, ValueLimits, encode_command};

const SEVEN: [&str; 7] = ["mymaster", "leader", "start", "10.0.0.1", "6379", "10.0.0.2", "6380"];

/// A directory with a configuration in it.
struct Setup {
    dir: tempfile::TempDir,
}

impl Setup {
    fn new(top: &str) -> Setup {
        let setup = Setup { dir: tempfile::tempdir().unwrap() };
        let text = format!(
            "socket: {}\nstate-dir: {}\n{top}\nsentinels: ['127.0.0.1:1']\nmasters:\n  - name: mymaster\n    \
             node: 127.0.0.1:1\n    host-addresses: [127.0.0.1]\n    addresses: [{{address: 10.0.0.100, interface: none0}}]\n",
            setup.socket().display(),
            setup.dir.path().display()
        );
        std::fs::write(setup.file(), text).unwrap();
        setup
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("vip-hook.yaml")
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_redoubt-vip-hook"));
        command.args(args).env("REDOUBT_VIP_CONFIG", self.file()).env_remove("NOTIFY_SOCKET");
        for name in ["SENTINEL_CONFIG_EPOCH", "SENTINEL_EVENT_ID", "SENTINEL_REASON"] {
            command.env_remove(name);
        }
        command
    }

    fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Plays an agent that takes one request and replies with this line. The request.
    fn agent(&self, reply: &'static str) -> JoinHandle<String> {
        self.agent_of(vec![reply], |mut requests| requests.remove(0))
    }

    /// As [`Setup::agent`], after it was asked whether it is there. Both requests.
    fn agent_after_a_ping(&self, reply: &'static str) -> JoinHandle<Vec<String>> {
        self.agent_of(vec!["{\"reply\":\"pong\",\"version\":\"0\",\"pid\":1}\n", reply], |requests| requests)
    }

    fn agent_of<T: Send + 'static>(
        &self,
        replies: Vec<&'static str>,
        result: fn(Vec<String>) -> T,
    ) -> JoinHandle<T> {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let socket = self.socket();
        std::thread::spawn(move || {
            let mut requests = Vec::new();
            let mut last = None;
            for reply in replies {
                let (mut stream, _) = listener.accept().unwrap();
                let mut request = String::new();
                BufReader::new(stream.try_clone().unwrap()).read_line(&mut request).unwrap();
                stream.write_all(reply.as_bytes()).unwrap();
                requests.push(request);
                last = Some(stream);
            }
            std::fs::remove_file(socket).unwrap();
            drop(last);
            result(requests)
        })
    }
}

fn code(output: &Output) -> i32 {
    output.status.code().unwrap()
}

fn stdout(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

fn stderr(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

#[test]
fn notify_hands_the_event_over_and_says_what_came_of_it() {
    let setup = Setup::new("");
    let mut long = vec!["notify"];
    long.extend(SEVEN);
    for args in [&SEVEN[..], &long] {
        let agent = setup.agent("{\"reply\":\"done\",\"text\":\"10.0.0.100 taken on eth0 after 3 ms\"}\n");
        let mut command = setup.command(args);
        command
            .env("SENTINEL_CONFIG_EPOCH", "12")
            .env("SENTINEL_EVENT_ID", "e-1")
            .env("SENTINEL_REASON", "odown");
        let output = command.output().unwrap();
        assert_eq!((code(&output), stdout(&output)), (0, "10.0.0.100 taken on eth0 after 3 ms\n"));
        assert_eq!(
            agent.join().unwrap(),
            "{\"request\":\"notify\",\"master\":\"mymaster\",\"role\":\"leader\",\"state\":\"start\",\
             \"from-ip\":\"10.0.0.1\",\"from-port\":6379,\"to-ip\":\"10.0.0.2\",\"to-port\":6380,\
             \"config-epoch\":12,\"event-id\":\"e-1\",\"reason\":\"odown\"}\n"
        );
    }
}

#[test]
fn the_exit_code_says_whether_to_call_again() {
    let setup = Setup::new("");
    for (reply, expected) in [
        ("{\"reply\":\"done\",\"text\":\"x\"}\n", 0),
        ("{\"reply\":\"retry\",\"text\":\"x\"}\n", 1),
        ("{\"reply\":\"refused\",\"text\":\"x\"}\n", 2),
        ("{\"reply\":\"pong\",\"version\":\"0\",\"pid\":1}\n", 1),
        ("nonsense\n", 1),
        ("", 1),
    ] {
        let agent = setup.agent(reply);
        assert_eq!(code(&setup.run(&SEVEN)), expected, "{reply}");
        agent.join().unwrap();
    }
    let output = setup.run(&SEVEN);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).starts_with(&format!("no agent at {}: No such file", setup.socket().display())));
}

#[test]
fn misuse_is_not_to_be_tried_again() {
    let setup = Setup::new("");
    let mut wrong_role = SEVEN;
    wrong_role[1] = "chief";
    let mut wrong_port = SEVEN;
    wrong_port[6] = "65536";
    for args in [&SEVEN[..6], &wrong_role, &wrong_port, &["fly"], &["maintenance", "maybe"], &[]] {
        let output = setup.run(args);
        assert_eq!(code(&output), 2, "{args:?}");
        assert!(stderr(&output).contains("--help"), "{args:?}: {}", stderr(&output));
    }
    assert!(stderr(&setup.run(&wrong_role)).contains("invalid value 'chief' for '<ROLE>'"));
    let output = setup.run(&["--config", "/nonexistent/vip-hook.yaml", "status"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).starts_with("/nonexistent/vip-hook.yaml: No such file"));
    std::fs::write(setup.file(), "sentinels: []\nmasters: []\nspeed: 3\n").unwrap();
    let output = setup.run(&SEVEN);
    assert_eq!(code(&output), 2);
    assert!(
        stderr(&output).contains("unknown field `speed`") && stderr(&output).contains("at line 3 column 1")
    );
}

#[test]
fn an_agent_that_hangs_is_told_from_one_that_is_not_there() {
    let setup = Setup::new("without-agent: move");
    // It takes the connection and says nothing, as a stopped process does.
    let _listener = UnixListener::bind(setup.socket()).unwrap();
    let output = setup.run(&SEVEN);
    assert_eq!(code(&output), 1);
    let text = stderr(&output);
    assert!(text.contains("does not answer within 5 s: it hangs, or was stopped"), "{text}");
    assert!(!text.contains("to move the address"), "nothing is moved beside an agent: {text}");
}

#[test]
fn a_socket_that_this_user_may_not_use_is_no_sign_of_no_agent() {
    let setup = Setup::new("without-agent: move");
    let _listener = UnixListener::bind(setup.socket()).unwrap();
    set_mode(&setup.socket(), 0o600);
    set_mode(setup.dir.path(), 0o755);
    let mut command = setup.command(&SEVEN);
    if nix::unistd::geteuid().is_root() {
        use std::os::unix::process::CommandExt;
        command.uid(65534).gid(65534);
    } else {
        set_mode(&setup.socket(), 0);
    }
    let output = match command.output() {
        Ok(output) => output,
        // A build directory that others may not enter.
        Err(error) => return assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied),
    };
    assert_eq!(code(&output), 1);
    let text = stderr(&output);
    assert!(text.contains("may not use the agent's socket") && text.contains("socket-group"), "{text}");
    assert!(!text.contains("to move the address"), "{text}");
}

#[test]
fn an_agent_that_runs_is_asked_though_its_file_has_been_broken_since() {
    let setup = Setup::new("");
    let mut text = std::fs::read_to_string(setup.file()).unwrap();
    text.push_str("speed: 3\n");
    std::fs::write(setup.file(), text).unwrap();
    for (args, request, expected) in [
        (&SEVEN[..], "\"notify\"", 0),
        (&["release"], "\"release\"", 0),
        (&["maintenance", "on"], "\"maintenance\"", 0),
        (&["status"], "\"status\"", 1),
    ] {
        let agent = setup.agent_after_a_ping("{\"reply\":\"done\",\"text\":\"so be it\"}\n");
        let output = setup.run(args);
        let text = stderr(&output);
        assert!(text.contains("unknown field `speed`") && text.contains("asked all the same"), "{text}");
        assert_eq!(code(&output), expected, "{args:?}");
        let requests = agent.join().unwrap();
        assert!(requests[0].contains("ping") && requests[1].contains(request), "{requests:?}");
    }
    // Without an agent the file is what matters; and a file that is not there is a slip, not an accident.
    assert_eq!(code(&setup.run(&["status"])), 2);
    assert_eq!(code(&setup.run(&["check"])), 2);
    let output = setup.run(&["--config", "/nonexistent/vip-hook.yaml", "maintenance", "on"]);
    assert!(code(&output) == 2 && !stderr(&output).contains("all the same"), "{}", stderr(&output));
}

#[test]
fn what_sentinel_calls_wrongly_says_what_it_should_call() {
    let setup = Setup::new("");
    let output = setup.run(&["+odown", "master mymaster 10.0.0.1 6379 #quorum 2/2"]);
    assert_eq!(code(&output), 2);
    assert!(stderr(&output).contains("sentinel client-reconfig-script <master> /"), "{}", stderr(&output));
}

#[test]
fn a_log_file_that_cannot_be_opened_is_named() {
    let setup = Setup::new("logfile: /nonexistent/agent.log");
    let output = setup.run(&["agent"]);
    assert_eq!(code(&output), 1);
    assert!(stderr(&output).starts_with("logfile /nonexistent/agent.log: Can't open"), "{}", stderr(&output));
}

#[test]
fn help_and_version_need_no_configuration() {
    let setup = Setup::new("");
    std::fs::remove_file(setup.file()).unwrap();
    let output = setup.run(&["--help"]);
    assert_eq!(code(&output), 0);
    for word in
        ["agent", "notify", "status", "plan", "check", "release", "maintenance", "Exit status: 0 done"]
    {
        assert!(stdout(&output).contains(word), "{word} is not in: {}", stdout(&output));
    }
    assert_eq!(
        stdout(&setup.run(&["--version"])),
        concat!("redoubt-vip-hook ", env!("CARGO_PKG_VERSION"), "\n")
    );
}

#[test]
fn status_without_an_agent_is_an_error_and_plan_asks_by_itself() {
    let setup = Setup::new("");
    assert_eq!(code(&setup.run(&["status"])), 1);
    let output = setup.run(&["plan"]);
    assert_eq!(code(&output), 0);
    let text = stdout(&output);
    assert!(text.contains("no agent at") && text.contains("An agent here would hold nothing"), "{text}");
    let output = setup.run(&["plan", "--json"]);
    let object: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert_eq!(object["masters"][0]["name"], "mymaster");
    assert!(object["without-agent"].is_string());
}

#[test]
fn status_ends_with_an_error_at_trouble_where_that_is_asked_for() {
    let setup = Setup::new("");
    for (args, expected) in
        [(&["status"][..], 0), (&["status", "--strict"], 1), (&["status", "--strict", "--json"], 1)]
    {
        let agent = setup.agent(
            "{\"reply\":\"status\",\"version\":\"0\",\"pid\":1,\"uptime-ms\":1,\"config\":\"x\",\"config-error\":\"line 3\",\
             \"fence\":{\"in-kernel\":true,\"text\":\"t\"},\"masters\":[]}\n",
        );
        let output = setup.run(args);
        agent.join().unwrap();
        assert_eq!(code(&output), expected, "{args:?}");
        let text = "TROUBLE  the configuration in use is not that of the file";
        assert!(stdout(&output).contains(text) || args.contains(&"--json"), "{}", stdout(&output));
    }
}

#[test]
fn an_agent_that_runs_with_another_file_is_found() {
    let setup = Setup::new("");
    for (master, found) in [
        ("", true),
        (
            "{\"name\":\"mymaster\",\"holds\":false,\"remaining-ms\":null,\"epoch\":0,\"maintenance\":false,\
             \"released\":false,\"why\":\"\",\"next\":\"\",\"node\":\"127.0.0.1:1\",\"node-role\":null,\
             \"host-addresses\":[],\"sentinels\":[{\"endpoint\":\"127.0.0.1:1\",\"down\":null,\"classic\":null,\
             \"counts\":false,\"answer\":null}],\"addresses\":[{\"address\":\"10.0.0.100/32\",\"interface\":\"none0\",\
             \"on\":false,\"link-up\":null,\"present\":null,\"error\":null}]}",
            false,
        ),
    ] {
        let reply = format!(
            "{{\"reply\":\"status\",\"version\":\"0\",\"pid\":1,\"uptime-ms\":1,\"config\":\"x\",\"config-error\":null,\
             \"fence\":{{\"in-kernel\":true,\"text\":\"t\"}},\"masters\":[{master}]}}\n"
        );
        let agent = setup.agent(reply.leak());
        let output = setup.run(&["check"]);
        agent.join().unwrap();
        let text = stdout(&output);
        assert_eq!(text.contains("the agent runs with other masters"), found, "{text}");
    }
}

#[test]
fn check_finds_what_does_not_work() {
    let setup = Setup::new("on-quorum-loss: hold\nsentinel-password: secret");
    set_mode(&setup.file(), 0o644);
    let output = setup.run(&["check"]);
    assert_eq!(code(&output), 1);
    let text = stdout(&output);
    for word in [
        "WARNING on-quorum-loss: hold of master mymaster gives up the promise",
        "may be read by everybody",
        "WARNING no agent at",
        "ERROR   mymaster: interface none0, for 10.0.0.100, is not there",
        "ERROR   mymaster: the node 127.0.0.1:1 answers nothing",
        "a majority of 1 Sentinels is 1",
        "ERROR   mymaster: 0 of 1 Sentinels answered, and 1 are needed",
        "Sentinel 127.0.0.1:1 was not asked: cannot connect",
    ] {
        assert!(text.contains(word), "'{word}' is not in:\n{text}");
    }
    let output = setup.run(&["check", "--json"]);
    let findings: serde_json::Value = serde_json::from_str(stdout(&output)).unwrap();
    assert!(findings.as_array().unwrap().iter().any(|finding| finding["severity"] == "error"));
}

#[test]
fn release_and_maintenance_say_what_the_agent_says() {
    let setup = Setup::new("");
    for (args, request) in [
        (&["release"][..], "{\"request\":\"release\",\"master\":null}\n"),
        (&["release", "mymaster"], "{\"request\":\"release\",\"master\":\"mymaster\"}\n"),
        (&["maintenance", "on"], "{\"request\":\"maintenance\",\"on\":true,\"master\":null}\n"),
        (&["maintenance", "off", "m"], "{\"request\":\"maintenance\",\"on\":false,\"master\":\"m\"}\n"),
    ] {
        let agent = setup.agent("{\"reply\":\"done\",\"text\":\"so be it\"}\n");
        let output = setup.run(args);
        assert_eq!((code(&output), stdout(&output)), (0, "so be it\n"));
        assert_eq!(agent.join().unwrap(), request);
    }
}

/// Plays a node and a Sentinel in one: replies to each command that begins so with these words. The port.
fn play(replies: impl Fn(&str) -> Option<Vec<String>> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut decoder = Decoder::new(ValueLimits::default());
            let (mut buf, mut chunk) = (Vec::new(), [0; 4096]);
            // One client after the other.
            while let Ok(len) = stream.read(&mut chunk)
                && len > 0
            {
                buf.extend_from_slice(&chunk[..len]);
                while let Some((request, len)) = decoder.decode(&buf).unwrap() {
                    buf.drain(..len);
                    let words = request.as_slice().unwrap().iter();
                    let words: Vec<_> =
                        words.map(|word| String::from_utf8_lossy(word.as_bytes().unwrap())).collect();
                    let mut reply = Vec::new();
                    match replies(&words.join(" ")) {
                        Some(words) if words.first().is_some_and(|word| word == "*") => {
                            reply.extend_from_slice(b"*1\r\n");
                            encode_command(&mut reply, &words[1..]);
                        }
                        Some(words) if words[0].starts_with('$') => {
                            let text = &words[0][1..];
                            reply.extend_from_slice(format!("${}\r\n{text}\r\n", text.len()).as_bytes());
                        }
                        Some(words) => encode_command(&mut reply, &words),
                        None => reply.extend_from_slice(b"-ERR unknown command\r\n"),
                    }
                    stream.write_all(&reply).unwrap();
                }
            }
        }
    });
    port
}

/// The words of a reply; a list of one instance begins with `*`, a text with `$`.
fn words(text: &str) -> Option<Vec<String>> {
    Some(text.split(' ').map(str::to_owned).collect())
}

#[test]
fn what_the_sentinels_say_is_held_against_the_configuration() {
    let setup = Setup::new("");
    let hook = setup.dir.path().join("redoubt-vip-hook");
    std::fs::write(&hook, "").unwrap();
    set_mode(&hook, 0o644);
    let script = hook.display().to_string();
    let port = play(move |command| match command {
        "ROLE" => words("master 0 x"),
        "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster" => words("127.0.0.1 1234"),
        "SENTINEL MASTER mymaster" => words(&format!(
            "name mymaster ip 127.0.0.1 port 1234 config-epoch 3 down-after-milliseconds 400 quorum 2 \
             num-other-sentinels 2 client-reconfig-script {script}"
        )),
        "SENTINEL MASTERS" => words("* name other ip 10.0.0.100 port 6380"),
        "SENTINEL REPLICAS mymaster" => words("* name r ip 10.0.0.100 port 6379"),
        "SENTINEL MYID" => words("$2c0f4e"),
        _ => None,
    });
    let text =
        std::fs::read_to_string(setup.file()).unwrap().replace("127.0.0.1:1", &format!("127.0.0.1:{port}"));
    std::fs::write(setup.file(), text).unwrap();
    let output = setup.run(&["check"]);
    let text = stdout(&output);
    for word in [
        "refuses the subscription to its events, so that failovers are noticed by asking alone: ERR unknown command",
        "the node listens on 127.0.0.1 alone, so that clients of 10.0.0.100 are refused",
        "if it is a redoubt-node, bind 127.0.0.1 -10.0.0.100",
        "lease-ms 400 and 50 ms of margin are not less than down-after-milliseconds 400 of Sentinel",
        "Set lease-ms to at most 349",
        "knows 3 Sentinels of this master, the configuration has 1",
        "the quorum 2 of Sentinel",
        "monitors the virtual address 10.0.0.100:6380 as the master other",
        "has the virtual address 10.0.0.100:6379 for a replica",
        "the Sentinels know no node of this host",
        "as which user Sentinel",
    ] {
        assert!(text.contains(word), "'{word}' is not in:\n{text}");
    }
    assert_eq!(code(&output), 1);
    let text = std::fs::read_to_string(setup.file()).unwrap();
    let twice = text.replace("sentinels: ['", &format!("sentinels: ['localhost:{port}', '"));
    std::fs::write(setup.file(), twice).unwrap();
    let agent = setup.agent(
        "{\"reply\":\"status\",\"version\":\"0\",\"pid\":1,\"uptime-ms\":1,\"config\":\"x\",\"config-error\":null,\
         \"fence\":{\"in-kernel\":true,\"text\":\"t\"},\"masters\":[{\"name\":\"mymaster\",\"holds\":false,\
         \"remaining-ms\":null,\"epoch\":4,\"maintenance\":false,\"released\":false,\"why\":\"\",\"next\":\"\",\
         \"node\":\"127.0.0.1:1\",\"node-role\":null,\"host-addresses\":[],\"sentinels\":[],\"addresses\":[]}]}\n",
    );
    let output = setup.run(&["check"]);
    agent.join().unwrap();
    let old = "the agent has seen epoch 4, and the Sentinels are at 3: were they set up anew?";
    assert!(stdout(&output).contains(old), "{}", stdout(&output));
    let same = format!("localhost:{port} and 127.0.0.1:{port} are one and the same Sentinel");
    assert!(stdout(&output).contains(&same), "{}", stdout(&output));
    std::fs::write(setup.file(), text).unwrap();
    let output = setup.run(&["plan"]);
    assert!(
        stdout(&output).contains("0 of 1 Sentinels name this host, and 1 are needed"),
        "{}",
        stdout(&output)
    );
    let text = std::fs::read_to_string(setup.file()).unwrap();
    std::fs::write(setup.file(), text.replace("host-addresses:", "port: 1234\n    host-addresses:")).unwrap();
    let output = setup.run(&["plan"]);
    assert!(
        stdout(&output).contains("An agent here would take 10.0.0.100/32 on none0."),
        "{}",
        stdout(&output)
    );
}

#[test]
fn a_sentinel_that_is_listed_under_two_addresses_is_found() {
    let setup = Setup::new("");
    let knows_its_name = Arc::new(AtomicBool::new(true));
    let knows = Arc::clone(&knows_its_name);
    let port = play(move |command| match command {
        "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster" => words("127.0.0.1 1"),
        "SENTINEL MASTER mymaster" => words("name mymaster config-epoch 3 num-other-sentinels 1"),
        "SENTINEL MYID" if knows.load(Ordering::SeqCst) => words("$4ed0c5d0f0a54f0a96f9d1a1b8cf34ad3a1a6a9c"),
        _ => None,
    });
    let list = format!("sentinels: ['127.0.0.1:{port}', 'localhost:{port}']");
    let text = std::fs::read_to_string(setup.file()).unwrap();
    std::fs::write(setup.file(), text.replace("sentinels: ['127.0.0.1:1']", &list)).unwrap();
    let says = format!("127.0.0.1:{port} and localhost:{port} are one and the same Sentinel");
    let output = setup.run(&["check"]);
    assert!(code(&output) == 1 && stdout(&output).contains(&says), "{}", stdout(&output));
    knows_its_name.store(false, Ordering::SeqCst);
    let output = setup.run(&["check"]);
    assert!(!stdout(&output).contains("one and the same"), "{}", stdout(&output));
}

#[test]
fn a_script_that_the_sentinels_user_cannot_execute_is_found() {
    let setup = Setup::new("");
    let hook = setup.dir.path().join("redoubt-vip-hook");
    std::fs::write(&hook, "").unwrap();
    let script = hook.display().to_string();
    // As if this test were the Sentinel.
    let info = format!("$\n# Server\r\nredoubt_version:0\r\nprocess_id:{}\r\n", std::process::id());
    let port = play(move |command| match command {
        "SENTINEL GET-MASTER-ADDR-BY-NAME mymaster" => words("127.0.0.1 1234"),
        "SENTINEL MASTER mymaster" => words(&format!("config-epoch 3 client-reconfig-script {script}")),
        "INFO server" => Some(vec![info.clone()]),
        _ => None,
    });
    let text =
        std::fs::read_to_string(setup.file()).unwrap().replace("127.0.0.1:1", &format!("127.0.0.1:{port}"));
    std::fs::write(setup.file(), text).unwrap();
    for (mode, found) in [(0o644, true), (0o755, false)] {
        set_mode(&hook, mode);
        let output = setup.run(&["check"]);
        let text = stdout(&output);
        assert_eq!(text.contains("cannot execute") && text.contains("chmod +x"), found, "{text}");
        assert!(text.contains("In its file: sentinel vip mymaster 10.0.0.100 (at run time"), "{text}");
    }
}

fn set_mode(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}
