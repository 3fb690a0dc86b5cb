//! What a master does that is started again: it may have lost its data, or the mastership, meanwhile.

use std::path::{Path, PathBuf};
use std::time::Duration;

use redoubt_lab::binaries::Binaries;
use redoubt_lab::dataset;
use redoubt_lab::scratch::Scratch;
use redoubt_lab::server::{Server, ServerSpec};
use redoubt_lab::wait;

const LIMIT: Duration = Duration::from_secs(20);

fn ours() -> PathBuf {
    Binaries::locate(None, None).unwrap().node
}

fn redis() -> PathBuf {
    Binaries::redis().unwrap().node
}

async fn start(scratch: &Scratch, name: &str, program: &Path, lines: &[&str]) -> Server {
    let spec = ServerSpec::with_file(name, program, lines).line("repl-diskless-sync-delay 0");
    spec.start(scratch).await.unwrap()
}

async fn follow(replica: &Server, master: &Server) {
    let () = replica.ask(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]).await.unwrap();
    replica.follows(master, LIMIT).await.unwrap();
}

async fn count(server: &Server, counter: &str) -> u64 {
    server.info("stats").await.unwrap()[counter].parse().unwrap()
}

async fn waits(server: &Server) -> bool {
    let waits = server.info("replication").await.unwrap().contains_key("master_rejoin_guard");
    match server.ask::<()>(&["SET", "probe", "1"]).await {
        Ok(()) => assert!(!waits),
        Err(error) => {
            let error = error.to_string();
            assert!(error.contains("You can't write against a former master"), "{error}");
            assert!(waits);
        }
    }
    waits
}

/// Waits until the server keeps the file that says that others know its dataset.
async fn is_marked(server: &Server) {
    let file = server.dir().join("dump.rdb.lineage");
    wait::until("the file is written", LIMIT, async || match std::fs::read_to_string(&file) {
        Ok(text) if text.contains("role master") => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_master_that_lost_its_data_neither_takes_writes_nor_wipes_its_replica() {
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut master = start(&scratch, "master", &ours(), &["save \"\"", "master-rejoin-guard yes"]).await;
    let replica = start(&scratch, "replica", &ours(), &["save \"\""]).await;
    assert!(!waits(&master).await, "it was never a master with replicas");
    follow(&replica, &master).await;
    let () = master.ask(&["SET", "k", "precious"]).await.unwrap();
    let _: i64 = master.ask(&["WAIT", "1", "5000"]).await.unwrap();
    is_marked(&master).await;
    master.kill().unwrap();
    master.restart().await.unwrap();
    assert!(waits(&master).await);
    let what = "the replica is told to try later";
    wait::until(what, LIMIT, async || {
        let told = replica.log().contains("Can't SYNC while this former master waits to be confirmed");
        if told { Ok(()) } else { Err("not yet") }
    })
    .await
    .unwrap();
    let held: String = replica.ask(&["GET", "k"]).await.unwrap();
    assert_eq!(held, "precious");

    // The replica has the data, so that it is the one to become the master.
    let () = replica.ask(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    follow(&master, &replica).await;
    let held: String = master.ask(&["GET", "k"]).await.unwrap();
    assert_eq!(held, "precious");
    assert!(!master.info("replication").await.unwrap().contains_key("master_rejoin_guard"));
}

#[tokio::test]
async fn a_master_that_kept_its_data_goes_on_when_its_replica_does() {
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let lines = ["save 3600 1", "master-rejoin-guard yes"];
    let mut master = start(&scratch, "master", &ours(), &lines).await;
    let replica = start(&scratch, "replica", &ours(), &["save \"\""]).await;
    follow(&replica, &master).await;
    dataset::fill(master.addr()).await.unwrap();
    dataset::assert_same(&master, &replica).await.unwrap();
    master.terminate().await.unwrap();
    master.restart().await.unwrap();
    replica.follows(&master, LIMIT).await.unwrap();
    assert!(!waits(&master).await);
    assert!(master.log().contains("continues with it"), "{}", master.log());
    assert_eq!(count(&master, "sync_full").await, 0);
    dataset::assert_same(&master, &replica).await.unwrap();
}

#[tokio::test]
async fn a_former_master_waits_for_a_word_of_sentinel_or_of_its_operator() {
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut master = start(&scratch, "master", &ours(), &["save \"\"", "master-rejoin-guard yes"]).await;
    let mut replica = start(&scratch, "replica", &ours(), &["save \"\""]).await;
    follow(&replica, &master).await;
    is_marked(&master).await;
    replica.kill().unwrap();
    for confirmed in ["by Sentinel", "by its operator", "by its directive"] {
        master.kill().unwrap();
        master.restart().await.unwrap();
        assert!(waits(&master).await, "{confirmed}");
        match confirmed {
            "by Sentinel" => {
                let run_id = master.info("server").await.unwrap()["run_id"].clone();
                let message = format!("{run_id},3,mymaster,{}", "5".repeat(40));
                let _: i64 = master.ask(&["PUBLISH", "__sentinel__:confirm", &message]).await.unwrap();
            }
            "by its operator" => master.ask(&["REPLICAOF", "NO", "ONE"]).await.unwrap(),
            _ => master.ask(&["CONFIG", "SET", "master-rejoin-guard", "no"]).await.unwrap(),
        }
        assert!(!waits(&master).await, "{confirmed}");
    }
}

/// As Sentinel leaves it: the node was away while another became the master, and is told so when it
/// is back.
async fn comes_back_as_a_replica(successor: PathBuf, guard: &str) {
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let guard = format!("master-rejoin-guard {guard}");
    let mut old = start(&scratch, "old", &ours(), &["save 3600 1", &guard]).await;
    let new = start(&scratch, "new", &successor, &["save \"\""]).await;
    follow(&new, &old).await;
    dataset::fill(old.addr()).await.unwrap();
    dataset::churn(old.addr(), 500, 1).await.unwrap();
    dataset::assert_same(&old, &new).await.unwrap();
    old.terminate().await.unwrap();
    let () = new.ask(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    dataset::churn(new.addr(), 200, 2).await.unwrap();
    old.restart().await.unwrap();
    // What Sentinels say to one another by the returned node must not keep it from going back.
    let _: i64 = old.ask(&["PUBLISH", "__sentinel__:hello", "something"]).await.unwrap();
    follow(&old, &new).await;
    dataset::assert_same(&new, &old).await.unwrap();
    assert_eq!(count(&new, "sync_full").await, 0, "it continues where it was");
    assert_eq!(count(&new, "sync_partial_ok").await, 1);
}

#[tokio::test]
async fn an_old_master_comes_back_by_partial_resynchronisation() {
    comes_back_as_a_replica(ours(), "no").await;
    comes_back_as_a_replica(ours(), "yes").await;
    comes_back_as_a_replica(redis(), "no").await;
}

#[tokio::test]
async fn a_node_says_that_it_is_loading_and_answers_what_may_be_asked_meanwhile() {
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let lines = ["save 3600 1", "loading-process-events-interval-bytes 1024", "enable-debug-command yes"];
    let mut node = start(&scratch, "node", &ours(), &lines).await;
    let () = node.ask(&["DEBUG", "POPULATE", "400"]).await.unwrap();
    let () = node.ask(&["SAVE"]).await.unwrap();
    let () = node.ask(&["CONFIG", "SET", "key-load-delay", "5000"]).await.unwrap();
    let () = node.ask(&["CONFIG", "REWRITE"]).await.unwrap();
    node.kill().unwrap();
    // It counts as started when it answers PING, which is not before it has loaded.
    let addr = node.addr();
    let asks = async {
        let ask = async |words: &[&str]| {
            redoubt_lab::client::ask::<String>(addr, LIMIT, words).await.map_err(|error| error.to_string())
        };
        wait::until("it is loading", LIMIT, async || match ask(&["INFO", "persistence"]).await? {
            info if info.contains("\r\nloading:1\r\nasync_loading:0\r\n") => Ok(()),
            info => Err(info),
        })
        .await
        .unwrap();
        for words in [&["PING"] as &[&str], &["GET", "key:1"], &["REPLICAOF", "NO", "ONE"], &["SAVE"]] {
            let error = ask(words).await.unwrap_err();
            assert!(error.contains("Redis is loading the dataset in memory"), "{words:?}: {error}");
        }
        let info = ask(&["INFO", "persistence"]).await.unwrap();
        assert!(info.contains("loading_total_bytes:") && info.contains("loading_rdb_used_mem:"), "{info}");
        let () =
            redoubt_lab::client::ask(addr, LIMIT, &["CONFIG", "SET", "key-load-delay", "0"]).await.unwrap();
    };
    let (restarted, ()) = tokio::join!(node.restart(), asks);
    restarted.unwrap();
    let keys: i64 = node.ask(&["DBSIZE"]).await.unwrap();
    assert_eq!(keys, 400);
}
