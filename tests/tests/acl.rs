//! ACL users from end to end: in the files of a node, on the link between master and replica, and in
//! exchange with Redis.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redoubt_lab::binaries::Binaries;
use redoubt_lab::client::{self, PATIENT};
use redoubt_lab::scratch::Scratch;
use redoubt_lab::server::{Server, ServerSpec};
use redoubt_lab::wait;

const LIMIT: Duration = Duration::from_secs(20);
const LINES: [&str; 3] = ["save \"\"", "appendonly no", "repl-diskless-sync-delay 0"];

fn ours() -> PathBuf {
    Binaries::locate(None, None).unwrap().node
}

fn redis() -> PathBuf {
    Binaries::redis().unwrap().node
}

fn scratch() -> Scratch {
    Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

async fn users(server: &Server) -> Vec<String> {
    server.ask(&["ACL", "LIST"]).await.unwrap()
}

/// Runs commands on one connection, logged in as `user`; the last one's answer or error.
async fn as_user(server: &Server, user: &str, password: &str, words: &[&str]) -> Result<String, String> {
    let mut connection = client::connect(server.addr(), PATIENT).await.unwrap();
    let login = client::cmd(&["AUTH", user, password]).query_async::<()>(&mut connection).await;
    login.map_err(|error| error.to_string())?;
    client::cmd(words)
        .query_async(&mut connection)
        .await
        .map_err(|error: redis::RedisError| error.to_string())
}

#[tokio::test]
async fn users_of_the_configuration_are_rewritten_and_come_back() {
    let scratch = scratch();
    let mut server = ServerSpec::with_file("node", &ours(), &LINES)
        .line("user reader on >pw ~cache:* (+set %W~in:* ) -@all +@read")
        .line("# the end")
        .start(&scratch)
        .await
        .unwrap();
    assert_eq!(as_user(&server, "reader", "pw", &["SET", "in:1", "v"]).await, Ok("OK".into()));
    let refused = as_user(&server, "reader", "pw", &["GET", "in:1"]).await.unwrap_err();
    assert!(refused.contains("No permissions to access a key"), "{refused}");
    let rules = ["ACL", "SETUSER", "odd", "on", "~a\"b'", "&c\\d", "(~x) +get)", "+select|0"];
    server.ask::<()>(&rules).await.unwrap();
    server.ask::<()>(&["ACL", "SETUSER", "reader", "+ping", "(&news)"]).await.unwrap();
    server.ask::<()>(&["CONFIG", "REWRITE"]).await.unwrap();
    let before = users(&server).await;
    let file = std::fs::read_to_string(server.dir().join("server.conf")).unwrap();
    assert!(!file.contains("pw ~cache") && !file.contains("user default"), "{file}");
    assert!(file.find("\nuser ").unwrap() < file.find("# the end").unwrap(), "{file}");
    server.restart().await.unwrap();
    assert_eq!(users(&server).await, before);
    server.ask::<()>(&["CONFIG", "SET", "requirepass", "secret"]).await.unwrap();
    let refused = server.ask::<()>(&["PING"]).await.unwrap_err().to_string();
    assert!(refused.contains("Authentication required"), "{refused}");
    assert_eq!(as_user(&server, "default", "secret", &["CONFIG", "REWRITE"]).await, Ok("OK".into()));
    let file = std::fs::read_to_string(server.dir().join("server.conf")).unwrap();
    assert!(file.contains("requirepass \"secret\"\n") && !file.contains("user default"), "{file}");
}

#[tokio::test]
async fn an_acl_file_is_saved_and_loaded() {
    let scratch = scratch();
    let spec = ServerSpec::with_file("node", &ours(), &LINES).line("aclfile users.acl");
    let file = scratch.subdir("node").unwrap().join("users.acl");
    std::fs::write(&file, "user ops on >pw ~* &* +@all\nuser bob on nopass\n").unwrap();
    let server = spec.start(&scratch).await.unwrap();
    assert_eq!(
        as_user(&server, "ops", "pw", &["ACL", "SETUSER", "eve", "on", "+get"]).await,
        Ok("OK".into())
    );
    assert_eq!(as_user(&server, "ops", "pw", &["ACL", "SAVE"]).await, Ok("OK".into()));
    let saved = std::fs::read_to_string(&file).unwrap();
    assert!(saved.contains("\nuser eve on sanitize-payload resetchannels -@all +get\n"), "{saved}");
    std::fs::write(&file, format!("{saved}user eve off\n")).unwrap();
    let refused = server.ask::<()>(&["ACL", "LOAD"]).await.unwrap_err().to_string();
    assert!(refused.contains("Duplicate user 'eve' found on line 5"), "{refused}");

    // Who is logged in as one of those users gets an answer and loses the connection.
    std::fs::write(&file, saved.replace("user eve", "user mallory")).unwrap();
    let mut ops = client::connect(server.addr(), PATIENT).await.unwrap();
    client::cmd(&["AUTH", "ops", "pw"]).query_async::<()>(&mut ops).await.unwrap();
    client::cmd(&["ACL", "LOAD"]).query_async::<()>(&mut ops).await.unwrap();
    assert!(client::cmd(&["PING"]).query_async::<String>(&mut ops).await.unwrap_err().is_io_error());
    let names: Vec<String> = server.ask(&["ACL", "USERS"]).await.unwrap();
    assert_eq!(names, ["bob", "default", "mallory", "ops"]);
    let password: String = server.ask(&["ACL", "GENPASS"]).await.unwrap();
    let other: String = server.ask(&["ACL", "GENPASS"]).await.unwrap();
    assert!(password.len() == 64 && password != other && password.bytes().all(|b| b.is_ascii_hexdigit()));
}

/// A replica logs in as the user that its configuration names, who may do no more than replicate.
async fn a_replica_logs_in(master: PathBuf, replica: PathBuf) {
    let scratch = scratch();
    let master = ServerSpec::with_file("master", &master, &LINES)
        .line("user default on nopass ~* &* +@all -psync -sync")
        .line("user sync on >pw resetchannels +psync +replconf +ping")
        .start(&scratch)
        .await
        .unwrap();
    master.ask::<()>(&["SET", "k", "v"]).await.unwrap();
    let replica = ServerSpec::with_file("replica", &replica, &LINES)
        .line(format!("replicaof 127.0.0.1 {}", master.port()))
        .line("masteruser sync")
        .line("masterauth wrong")
        .start(&scratch)
        .await
        .unwrap();
    wait::until("the refusal is logged", LIMIT, async || {
        let log = replica.log();
        if log.contains("Unable to AUTH to MASTER") { Ok(()) } else { Err(log) }
    })
    .await
    .unwrap();
    replica.ask::<()>(&["CONFIG", "SET", "masterauth", "pw"]).await.unwrap();
    replica.follows(&master, LIMIT).await.unwrap();
    assert_eq!(replica.ask::<String>(&["GET", "k"]).await.unwrap(), "v");
    let list: String = master.ask(&["CLIENT", "LIST", "TYPE", "replica"]).await.unwrap();
    assert!(list.contains(" user=sync "), "{list}");
    let list: String = replica.ask(&["CLIENT", "LIST", "TYPE", "master"]).await.unwrap();
    assert!(list.contains(" user=(superuser) "), "{list}");

    // What the stream brings is obeyed whatever the replica's own rules.
    replica.ask::<()>(&["ACL", "SETUSER", "default", "-set"]).await.unwrap();
    master.ask::<()>(&["SET", "k", "w"]).await.unwrap();
    wait::until("the write arrives", LIMIT, async || match replica.ask::<String>(&["GET", "k"]).await {
        Ok(value) if value == "w" => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();

    // With its user the link is gone, and comes back with a user of that name.
    let deleted: u64 = master.ask(&["ACL", "DELUSER", "sync"]).await.unwrap();
    assert_eq!(deleted, 1);
    wait::until("the master has no replica", LIMIT, async || {
        let replicas = master.info("replication").await.unwrap()["connected_slaves"].clone();
        if replicas == "0" { Ok(()) } else { Err(replicas) }
    })
    .await
    .unwrap();
    master.ask::<()>(&["ACL", "SETUSER", "sync", "on", ">pw", "+psync", "+replconf", "+ping"]).await.unwrap();
    replica.follows(&master, LIMIT).await.unwrap();
}

#[tokio::test]
async fn a_replica_of_ours_logs_in_to_ours() {
    a_replica_logs_in(ours(), ours()).await;
}

/// A failover in which replicas and the Sentinel are users that may do no more than they need, by the
/// rules that README.md gives. Nobody else may do anything but look.
async fn the_least_rights_suffice_for_a_failover(node: PathBuf, sentinel: PathBuf) {
    let scratch = scratch();
    let readme = include_str!("../../README.md");
    let rules = readme.lines().map(str::trim).filter(|line| line.starts_with("user "));
    let rules: Vec<String> =
        rules.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(rules.len(), 2, "{rules:?}");
    let spec = |name: &str| {
        let spec = ServerSpec::with_file(name, &node, &LINES)
            .line("masteruser replica")
            .line("masterauth secret1")
            .line("user default on nopass ~* -@all +ping +info +get +set +acl +client");
        rules.iter().fold(spec, ServerSpec::line)
    };
    let mut master = spec("master").start(&scratch).await.unwrap();
    let following = format!("replicaof 127.0.0.1 {}", master.port());
    let replica = spec("replica").line(following).start(&scratch).await.unwrap();
    replica.follows(&master, LIMIT).await.unwrap();
    let sentinel = ServerSpec::with_file("sentinel", &sentinel, &[])
        .line(format!("sentinel monitor m 127.0.0.1 {} 1", master.port()))
        .line("sentinel auth-user m sentinel")
        .line("sentinel auth-pass m secret2")
        .line("sentinel down-after-milliseconds m 1000")
        .start(&scratch)
        .await
        .unwrap();
    // A returning master is corrected after four of the one and the next of the other.
    let hastened = ["SENTINEL", "DEBUG", "publish-period", "250", "info-period", "1000"];
    assert_eq!(sentinel.ask::<String>(&hastened).await.unwrap(), "OK");
    wait::until("the Sentinel knows the replica", LIMIT, async || {
        let info = sentinel.info("sentinel").await.unwrap()["master0"].clone();
        if info.contains("status=ok") && info.contains("slaves=1") { Ok(()) } else { Err(info) }
    })
    .await
    .unwrap();
    master.kill().unwrap();
    wait::until("the replica is promoted", LIMIT, async || {
        // Its clients are disconnected in that moment, also one that waits for this answer.
        let role = replica.info("replication").await.map_err(|error| error.to_string())?["role"].clone();
        if role == "master" { Ok(()) } else { Err(role) }
    })
    .await
    .unwrap();
    master.restart().await.unwrap();
    master.follows(&replica, LIMIT).await.unwrap();
    let denied: Vec<redis::Value> = replica.ask(&["ACL", "LOG"]).await.unwrap();
    assert!(denied.is_empty(), "{denied:?}");
}

#[tokio::test]
async fn the_least_rights_suffice_for_ours() {
    the_least_rights_suffice_for_a_failover(ours(), Binaries::locate(None, None).unwrap().sentinel).await;
}

#[tokio::test]
async fn a_wrong_password_is_no_hindrance_where_none_is_needed() {
    let scratch = scratch();
    let master = ServerSpec::with_file("master", &ours(), &LINES).start(&scratch).await.unwrap();
    let program = Binaries::locate(None, None).unwrap().sentinel;
    let sentinel = ServerSpec::with_file("sentinel", &program, &[])
        .line(format!("sentinel monitor m 127.0.0.1 {} 1", master.port()))
        .line("sentinel auth-user m nobody")
        .line("sentinel auth-pass m wrong")
        .start(&scratch)
        .await
        .unwrap();
    let run_id = master.info("server").await.unwrap()["run_id"].clone();
    wait::until("the Sentinel has read INFO", LIMIT, async || {
        let fields: Vec<String> = sentinel.ask(&["SENTINEL", "MASTER", "m"]).await.unwrap();
        if fields.contains(&run_id) { Ok(()) } else { Err(fields.join(" ")) }
    })
    .await
    .unwrap();
}

/// Rules of all kinds, of which both sides know the commands.
const RULES: [&[&str]; 4] = [
    &[
        "alice",
        "on",
        ">pw",
        ">other",
        "~a:*",
        "%R~r:*",
        "%W~w:*",
        "&news:*",
        "+@all",
        "-@dangerous",
        "+config|get",
    ],
    &["bob", "on", "nopass", "allkeys", "allchannels", "-@all", "+@read", "-get", "+select|0", "+client|id"],
    &["carol", "skip-sanitize-payload", "~x", "(~y +get)", "(%R~z &c +mget -@string)", "+@fast"],
    &["default", "resetpass", "nopass", "+@all", "-shutdown"],
];

/// A file that `writer` has saved makes the same users in `reader`.
async fn acl_files_are_exchanged(writer: &Path, reader: &Path) {
    let scratch = scratch();
    let start = async |name: &str, program: &Path, text: &[u8]| {
        std::fs::write(scratch.subdir(name).unwrap().join("users.acl"), text).unwrap();
        let spec = ServerSpec::with_file(name, program, &LINES).line("aclfile users.acl");
        spec.start(&scratch).await.unwrap()
    };
    let writer = start("writer", writer, b"").await;
    for rules in RULES {
        writer.ask::<()>(&[&["ACL", "SETUSER"], rules].concat()).await.unwrap();
    }
    writer.ask::<()>(&["ACL", "SAVE"]).await.unwrap();
    let text = std::fs::read(writer.dir().join("users.acl")).unwrap();
    let reader = start("reader", reader, &text).await;
    let described = users(&reader).await;
    assert_eq!(described.len(), RULES.len());
    for user in ["alice", "bob", "carol", "default"] {
        for call in [
            &["GET", "a:1"][..],
            &["GET", "r:1"],
            &["SET", "w:1", "v"],
            &["GET", "x"],
            &["GET", "y"],
            &["MGET", "z"],
            &["PUBLISH", "news:1", "m"],
            &["PUBLISH", "c", "m"],
            &["SELECT", "0"],
            &["SELECT", "1"],
            &["FLUSHALL"],
            &["CONFIG", "GET", "port"],
            &["CONFIG", "SET", "port", "1"],
            &["CLIENT", "ID"],
            &["SHUTDOWN"],
            &["PING"],
        ] {
            let dry_run = [&["ACL", "DRYRUN", user], call].concat();
            let (here, there): (String, String) =
                (writer.ask(&dry_run).await.unwrap(), reader.ask(&dry_run).await.unwrap());
            // Redis 7.0 says "this user" where 7.2 says which.
            let denied = |text: &str| text.split_once(" has ").map(|(_, what)| what.to_string());
            assert_eq!(denied(&here), denied(&there), "{user} {call:?}");
            assert_eq!(here == "OK", there == "OK", "{user} {call:?}");
        }
    }
    let who = ["ACL", "WHOAMI"];
    assert_eq!(as_user(&reader, "alice", "other", &who).await, Ok("alice".into()));
    assert!(as_user(&reader, "alice", "wrong", &who).await.is_err());
}

mod with_redis_server {
    use super::*;

    #[tokio::test]
    async fn a_replica_of_ours_logs_in_to_redis() {
        a_replica_logs_in(redis(), ours()).await;
    }

    #[tokio::test]
    async fn a_replica_of_redis_logs_in_to_ours() {
        a_replica_logs_in(ours(), redis()).await;
    }

    #[tokio::test]
    async fn the_least_rights_suffice_for_redis_sentinel() {
        the_least_rights_suffice_for_a_failover(ours(), Binaries::redis().unwrap().sentinel).await;
    }

    #[tokio::test]
    async fn the_least_rights_suffice_among_redis_servers() {
        let sentinel = Binaries::locate(None, None).unwrap().sentinel;
        the_least_rights_suffice_for_a_failover(redis(), sentinel).await;
    }

    #[tokio::test]
    async fn an_acl_file_of_ours_is_taken_by_redis() {
        acl_files_are_exchanged(&ours(), &redis()).await;
    }

    #[tokio::test]
    async fn an_acl_file_of_redis_is_taken_by_ours() {
        acl_files_are_exchanged(&redis(), &ours()).await;
    }
}
