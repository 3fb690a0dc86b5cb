//! ACL users of a Sentinel: who may log in, what they may do, and where they are kept.

#[allow(unused)]
mod support;

use std::fs;
use std::process::Command;

use redoubt_wire::resp::value::Value;
use support::{Client, OURS, Process, ask, free_port, text, texts, wait_for};

/// A Sentinel with these lines in its file, and the folder of that file and of `users.acl`.
fn start(lines: &str, users: &str) -> (Process, tempfile::TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let (port, file) = (free_port(), dir.path().join("sentinel.conf"));
    fs::write(dir.path().join("users.acl"), users).unwrap();
    let place = dir.path().display();
    fs::write(&file, format!("port {port}\nbind 127.0.0.1\ndir {place}\nlogfile log\n{lines}")).unwrap();
    let process = Process::start(OURS, port, file);
    wait_for("the Sentinel", || ask(port, "PING").is_some());
    (process, dir)
}

fn say(client: &mut Client, line: &str) -> String {
    text(&client.ask(&line.split(' ').collect::<Vec<_>>()).unwrap())
}

fn logged_in(s: &Process, user: &str, password: &str) -> Client {
    let mut client = Client::connect(s.port).unwrap();
    assert_eq!(say(&mut client, &format!("AUTH {user} {password}")), "OK");
    client
}

#[test]
fn commands_and_channels_are_held_against_the_users_rules() {
    let (s, _dir) = start(
        "user ops on >pw resetchannels &+switch* -@all +sentinel|masters +subscribe +client|id +ping\n",
        "",
    );
    let mut ops = logged_in(&s, "ops", "pw");
    assert!(matches!(ops.ask(&["SENTINEL", "MASTERS"]).unwrap(), Value::Array(_)));
    for (call, command) in [
        ("SENTINEL MYID", "sentinel|myid"),
        ("CLIENT LIST", "client|list"),
        ("INFO", "info"),
        ("ACL WHOAMI", "acl|whoami"),
    ] {
        let error = format!("NOPERM User ops has no permissions to run the '{command}' command");
        assert_eq!(say(&mut ops, call), error);
    }
    assert_eq!(say(&mut ops, "SUBSCRIBE +sdown"), "NOPERM No permissions to access a channel");
    assert_eq!(texts(&ops.ask(&["SUBSCRIBE", "+switch-master"]).unwrap())[2], "1");
    let mut admin = Client::connect(s.port).unwrap();
    assert_eq!(say(&mut admin, "ACL DRYRUN ops SENTINEL MASTERS"), "OK");
    assert_eq!(
        say(&mut admin, "ACL DRYRUN ops PSUBSCRIBE *"),
        "User ops has no permissions to run the 'psubscribe' command"
    );
    assert_eq!(
        say(&mut admin, "ACL DRYRUN ops SENTINEL MASTER"),
        "ERR wrong number of arguments for 'sentinel|master' command"
    );
    assert_eq!(say(&mut admin, "ACL DRYRUN ops GET k"), "ERR Command 'GET' not found");
    assert_eq!(
        say(&mut admin, "AUTH ops wrong"),
        "WRONGPASS invalid username-password pair or user is disabled."
    );
    assert!(say(&mut admin, "INFO stats").contains(
        "acl_access_denied_auth:1\r\nacl_access_denied_cmd:4\r\nacl_access_denied_key:0\r\nacl_access_denied_channel:1\r\n"
    ));
    let Value::Array(log) = admin.ask(&["ACL", "LOG"]).unwrap() else { panic!() };
    assert_eq!(log.len(), 6);
    let latest = texts(&log[0]);
    assert_eq!(
        latest[..10],
        ["count", "1", "reason", "auth", "context", "toplevel", "object", "AUTH", "username", "ops"]
    );
    assert_eq!(say(&mut admin, "ACL LOG RESET"), "OK");
    assert!(texts(&admin.ask(&["ACL", "CAT", "pubsub"]).unwrap()).contains(&"publish".to_string()));
}

#[test]
fn clients_whose_users_change_follow_or_are_closed() {
    let (s, _dir) = start("user ops on nopass allchannels +@all\n", "");
    let mut admin = Client::connect(s.port).unwrap();
    let (mut listener, mut worker) = (logged_in(&s, "ops", "x"), logged_in(&s, "ops", "x"));
    listener.ask(&["PSUBSCRIBE", "+*"]).unwrap();
    assert_eq!(say(&mut admin, "ACL SETUSER ops resetchannels &+sdown"), "OK");
    assert_eq!(listener.receive(), None, "it may no longer listen to all of that");
    assert_eq!(say(&mut worker, "ACL WHOAMI"), "ops");
    assert!(say(&mut admin, "CLIENT LIST").contains(" user=ops redir=-1 "));
    assert_eq!(say(&mut admin, "CLIENT KILL USER nobody"), "ERR No such user 'nobody'");
    assert_eq!(say(&mut admin, "CLIENT KILL USER ops"), "1");
    assert_eq!(worker.receive(), None);
    let mut worker = logged_in(&s, "ops", "x");
    assert_eq!(say(&mut admin, "ACL DELUSER default"), "ERR The 'default' user cannot be removed");
    assert_eq!(say(&mut worker, "ACL DELUSER ops"), "1", "the reply comes before the end");
    assert_eq!(worker.receive(), None);
    assert_eq!(say(&mut admin, "ACL SETUSER default off"), "OK");
    assert_eq!(text(&ask(s.port, "PING").unwrap()), "NOAUTH Authentication required.");
    assert_eq!(say(&mut admin, "ACL GENPASS 20").len(), 5);
}

#[test]
fn users_are_rewritten_with_the_state_and_come_back_after_a_restart() {
    let lines = "# whose\nuser ops on >pw +ping\n# end\n";
    let (mut s, _dir) = start(lines, "");
    let mut admin = Client::connect(s.port).unwrap();
    assert_eq!(say(&mut admin, "ACL SETUSER dev on >dp (&+sdown +subscribe) +auth"), "OK");
    assert_eq!(say(&mut admin, "ACL SETUSER ops ~k"), "OK");
    assert_eq!(say(&mut admin, "SENTINEL FLUSHCONFIG"), "OK");
    let file = fs::read_to_string(&s.file).unwrap();
    let hash = "30c952fab122c3f9759f02a6d95c3758b246b4fee239957b2d4fee46e26170c4";
    assert!(
        file.contains(&format!(
            "# whose\nuser ops on sanitize-payload #{hash} ~k resetchannels -@all +ping\n# end\n"
        )),
        "{file}"
    );
    assert!(!file.contains("user default"), "it is what it is without a line: {file}");
    let before = texts(&admin.ask(&["ACL", "LIST"]).unwrap());
    assert_eq!(before.len(), 3);
    s.kill();
    s.restart();
    wait_for("the Sentinel", || ask(s.port, "PING").is_some());
    assert_eq!(texts(&ask(s.port, "ACL LIST").unwrap()), before);
    let mut admin = Client::connect(s.port).unwrap();
    assert_eq!(say(&mut admin, "ACL DELUSER ops dev"), "2");
    assert_eq!(say(&mut admin, "ACL SETUSER default -info"), "OK");
    assert_eq!(say(&mut admin, "SENTINEL FLUSHCONFIG"), "OK");
    let file = fs::read_to_string(&s.file).unwrap();
    assert_eq!(file.matches("\nuser ").count(), 1, "{file}");
    assert!(file.contains("\nuser default on nopass sanitize-payload ~* &* +@all -info\n"), "{file}");
}

#[test]
fn an_acl_file_is_loaded_and_saved() {
    let (s, dir) = start("aclfile users.acl\n", "user ops on >pw +@all\n");
    let mut ops = logged_in(&s, "ops", "pw");
    assert_eq!(say(&mut ops, "ACL SETUSER dev on nopass"), "OK");
    assert_eq!(say(&mut ops, "ACL SAVE"), "OK");
    let file = dir.path().join("users.acl");
    let saved = fs::read_to_string(&file).unwrap();
    assert!(saved.contains("user dev on nopass sanitize-payload resetchannels -@all\n"), "{saved}");
    fs::write(&file, format!("{saved}user dev on\n")).unwrap();
    let error = say(&mut ops, "ACL LOAD");
    assert!(error.starts_with("ERR WARNING: Duplicate user 'dev' found on line 4."), "{error}");
    fs::write(&file, saved.replace("user dev", "user eve")).unwrap();
    assert_eq!(say(&mut ops, "ACL LOAD"), "OK");
    assert_eq!(ops.receive(), None, "whoever is logged in as another user than the default one is closed");
    assert_eq!(texts(&ask(s.port, "ACL USERS").unwrap()), ["default", "eve", "ops"]);
    assert_eq!(text(&ask(s.port, "SENTINEL FLUSHCONFIG").unwrap()), "OK");
    assert!(!fs::read_to_string(&s.file).unwrap().contains("\nuser "));
    let (plain, _dir) = start("", "");
    assert!(
        text(&ask(plain.port, "ACL SAVE").unwrap())
            .starts_with("ERR This Redis instance is not configured to use an ACL file.")
    );
}

#[test]
fn users_that_cannot_be_taken_over_end_the_program() {
    for (lines, acl, wanted) in [
        ("user ops +nope\n", "", "Error loading ACL rule '+nope' for the user named 'ops': Unknown command"),
        ("user ops on\nuser ops off\n", "", "Error in user declaration 'ops': Duplicate user found."),
        (
            "aclfile users.acl\nuser ops on\n",
            "",
            "please define either an ACL file or declare users directly",
        ),
        (
            "aclfile users.acl\n",
            "user ops frob\n",
            "Aborting Redis startup because of ACL errors: users.acl:1: Syntax error.",
        ),
        ("aclfile other.acl\n", "", "Error loading ACLs, opening file 'other.acl': No such file"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sentinel.conf");
        fs::write(dir.path().join("users.acl"), acl).unwrap();
        fs::write(&file, format!("dir {}\nlogfile log\n{lines}", dir.path().display())).unwrap();
        let output = Command::new(OURS).arg(&file).output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{lines}: {message}");
        assert!(message.contains(wanted), "{lines}: {message}");
    }
}
