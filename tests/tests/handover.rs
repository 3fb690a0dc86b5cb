//! The mastership handed over by FAILOVER, between our nodes and Redis's in both directions, and
//! what a node that ends leaves to its replicas.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redoubt_lab::binaries::Binaries;
use redoubt_lab::client::{self, PATIENT};
use redoubt_lab::dataset;
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

async fn pair(scratch: &Scratch, master: &Path, replica: &Path) -> (Server, Server) {
    let master = ServerSpec::with_file("master", master, &LINES).start(scratch).await.unwrap();
    let line = format!("replicaof 127.0.0.1 {}", master.port());
    let replica = ServerSpec::with_file("replica", replica, &LINES).line(line).start(scratch).await.unwrap();
    replica.follows(&master, LIMIT).await.unwrap();
    (master, replica)
}

async fn field(server: &Server, section: &str, name: &str) -> String {
    let fields = server.info(section).await.unwrap();
    fields.get(name).unwrap_or_else(|| panic!("INFO {section} of {} has no {name}", server.name())).clone()
}

/// Waits until a field of INFO has this value.
async fn shows(server: &Server, section: &str, name: &str, value: &str) {
    let what = format!("{} shows {name}:{value}", server.name());
    wait::until(&what, LIMIT, async || match field(server, section, name).await {
        found if found == value => Ok(()),
        found => Err(found),
    })
    .await
    .unwrap();
}

fn failover<'a>(target: &'a Server, port: &'a mut String) -> Vec<&'a str> {
    *port = target.port().to_string();
    vec!["FAILOVER", "TO", "127.0.0.1", port]
}

/// Counts up at whichever of the two takes writes, and holds every answer against the last. Returns
/// the last, and the longest time that a write took, refusals included.
async fn count_up(servers: [std::net::SocketAddr; 2], stop: Arc<AtomicBool>) -> (i64, Duration) {
    let (mut at, mut count, mut longest) = (0, 0, Duration::ZERO);
    let mut connection = client::connect(servers[at], PATIENT).await.unwrap();
    let incr = client::cmd(&["INCR", "counter"]);
    let mut asked = std::time::Instant::now();
    while !stop.load(Ordering::Relaxed) {
        match incr.query_async::<i64>(&mut connection).await {
            Ok(value) => {
                assert_eq!(value, count + 1, "an acknowledged write is lost");
                count = value;
                longest = longest.max(asked.elapsed());
                asked = std::time::Instant::now();
            }
            Err(error) => {
                assert_eq!(error.code(), Some("READONLY"), "{error}");
                at = 1 - at;
                connection = client::connect(servers[at], PATIENT).await.unwrap();
            }
        }
    }
    (count, longest)
}

async fn failovers_under_load(first: PathBuf, second: PathBuf, rounds: usize) {
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (master, replica) = pair(&scratch, &first, &second).await;
    dataset::fill(master.addr()).await.unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn(count_up([master.addr(), replica.addr()], stop.clone()));
    let (mut from, mut to) = (&master, &replica);
    let full = (field(from, "stats", "sync_full").await, field(to, "stats", "sync_full").await);
    for _ in 0..rounds {
        let before: i64 = from.ask(&["GET", "counter"]).await.unwrap_or_default();
        let () = from.ask(&failover(to, &mut String::new())).await.unwrap();
        shows(from, "replication", "master_failover_state", "no-failover").await;
        from.follows(to, LIMIT).await.unwrap();
        let what = "writing goes on at the new master";
        wait::until(what, LIMIT, async || match to.ask::<i64>(&["GET", "counter"]).await {
            Ok(n) if n > before => Ok(()),
            other => Err(format!("{other:?}")),
        })
        .await
        .unwrap();
        (from, to) = (to, from);
    }
    stop.store(true, Ordering::Relaxed);
    let (count, longest) = writer.await.unwrap();
    println!("{count} writes through {rounds} changes of master, the longest took {longest:?}");
    let held: i64 = from.ask(&["GET", "counter"]).await.unwrap();
    assert_eq!(held, count);
    dataset::assert_same(from, to).await.unwrap();
    let after = (field(&master, "stats", "sync_full").await, field(&replica, "stats", "sync_full").await);
    assert_eq!(after, full, "no change of master needs a full synchronisation");
}

#[tokio::test]
async fn failovers_between_our_nodes_lose_no_write() {
    failovers_under_load(ours(), ours(), 6).await;
}

#[tokio::test]
async fn failovers_between_ours_and_redis_lose_no_write() {
    failovers_under_load(ours(), redis(), 4).await;
}

/// Redis's master is told that the sync it asked for is one it may not have.
#[tokio::test]
async fn a_target_that_refuses_leaves_the_master_what_it_is() {
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (master, replica) = pair(&scratch, &ours(), &redis()).await;
    let () = replica.ask(&["ACL", "SETUSER", "default", "-psync"]).await.unwrap();
    let () = master.ask(&failover(&replica, &mut String::new())).await.unwrap();
    let what = "the refusal is logged";
    wait::until(what, LIMIT, async || {
        match master.log().contains("Failover target rejected psync request") {
            true => Ok(()),
            false => Err("not yet"),
        }
    })
    .await
    .unwrap();
    shows(&master, "replication", "role", "master").await;
    let () = master.ask(&["SET", "after", "1"]).await.unwrap();
    replica.follows(&master, LIMIT).await.unwrap();
    dataset::assert_same(&master, &replica).await.unwrap();
    assert_eq!(field(&master, "stats", "sync_full").await, "1");
}

#[tokio::test]
async fn a_replica_that_does_not_catch_up_is_given_up_on_or_forced() {
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (master, replica) = pair(&scratch, &ours(), &ours()).await;
    replica.freeze().unwrap();
    let () = master.ask(&["SET", "k", "1"]).await.unwrap();
    let mut port = String::new();
    let mut words = failover(&replica, &mut port);
    words.extend(["TIMEOUT", "300"]);
    let () = master.ask(&words).await.unwrap();
    shows(&master, "replication", "master_failover_state", "waiting-for-sync").await;
    // The write waits for the end of the attempt, and is then taken.
    let () = master.ask(&["SET", "k", "2"]).await.unwrap();
    assert!(master.log().contains("aborted: Replica never caught up before timeout"));
    words.push("FORCE");
    let () = master.ask(&words).await.unwrap();
    shows(&master, "replication", "master_failover_state", "failover-in-progress").await;
    shows(&master, "replication", "role", "slave").await;
    replica.thaw().unwrap();
    master.follows(&replica, LIMIT).await.unwrap();
    shows(&replica, "replication", "role", "master").await;
    dataset::assert_same(&replica, &master).await.unwrap();
}

#[tokio::test]
async fn a_node_that_ends_waits_for_its_replica() {
    for replica_program in [ours(), redis()] {
        let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (mut master, replica) = pair(&scratch, &ours(), &replica_program).await;
        replica.freeze().unwrap();
        let () = master.ask(&["SET", "last", "written"]).await.unwrap();
        // Two who ask for it are both told that it was called off.
        let shutdown = async || master.ask::<()>(&["SHUTDOWN"]).await.unwrap_err().to_string();
        let abort = async {
            wait::until("both wait", LIMIT, async || {
                match field(&master, "clients", "blocked_clients").await {
                    n if n == "2" => Ok(()),
                    n => Err(n),
                }
            })
            .await
            .unwrap();
            // The control thread begins the wait when it gets to it.
            let left = wait::until("the wait has begun", LIMIT, async || {
                let fields = master.info("server").await.map_err(|e| e.to_string())?;
                fields
                    .get("shutdown_in_milliseconds")
                    .cloned()
                    .ok_or("no shutdown_in_milliseconds".to_string())
            });
            let left: i64 = left.await.unwrap().parse().unwrap();
            assert!((1..=10_000).contains(&left), "{left}");
            let () = master.ask(&["SHUTDOWN", "ABORT"]).await.unwrap();
        };
        let (first, second, ()) = tokio::join!(shutdown(), shutdown(), abort);
        for answer in [first, second] {
            assert!(answer.contains("Errors trying to SHUTDOWN. Check logs."), "{answer}");
        }
        assert!(master.log().contains("Shutdown manually aborted."));
        let () = master.ask(&["SET", "last", "written again"]).await.unwrap();

        // Asked by a signal it waits as well.
        let log = master.dir().join("log");
        let (ended, ()) = tokio::join!(master.terminate(), async {
            wait::until("it waits again", LIMIT, async || {
                let text = std::fs::read_to_string(&log).unwrap();
                match text.matches("Waiting for replicas before shutting down.").count() {
                    2 => Ok(()),
                    n => Err(format!("{n} waits")),
                }
            })
            .await
            .unwrap();
            replica.thaw().unwrap();
        });
        ended.unwrap();
        let log = master.log();
        assert!(log.contains("1 of 1 replicas are in sync when shutting down."), "{log}");
        let held: String = replica.ask(&["GET", "last"]).await.unwrap();
        assert_eq!(held, "written again");
    }
}

#[tokio::test]
async fn a_node_that_ends_takes_no_write_that_its_file_lacks() {
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let lines = ["save 3600 1", "rdb-key-save-delay 2000", "appendonly no"];
    let mut node = ServerSpec::with_file("node", &ours(), &lines).start(&scratch).await.unwrap();
    for i in 0..200 {
        let () = node.ask(&["SET", &format!("k{i}"), "v"]).await.unwrap();
    }
    // Saving takes four tenths of a second, during which a client goes on.
    let addr = node.addr();
    let writer = tokio::spawn(async move {
        let mut connection = client::connect(addr, PATIENT).await.unwrap();
        let (incr, mut count) = (client::cmd(&["INCR", "counter"]), 0);
        while let Ok(value) = incr.query_async::<i64>(&mut connection).await {
            count = value;
        }
        count
    });
    let what = "the writer is at work";
    wait::until(what, LIMIT, async || match node.ask::<i64>(&["GET", "counter"]).await {
        Ok(n) if n > 100 => Ok(()),
        other => Err(format!("{other:?}")),
    })
    .await
    .unwrap();
    node.terminate().await.unwrap();
    let count = writer.await.unwrap();
    node.restart().await.unwrap();
    let held: i64 = node.ask(&["GET", "counter"]).await.unwrap();
    // One more may have been written whose acknowledgement the end cut off.
    assert!((count..=count + 1).contains(&held), "{count} were acknowledged, and {held} are there");
}
