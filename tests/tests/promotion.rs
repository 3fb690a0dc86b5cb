//! Promotion as Sentinel does it, and what a killed master leaves behind on its replica.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use redoubt_lab::binaries::Binaries;
use redoubt_lab::client;
use redoubt_lab::scratch::Scratch;
use redoubt_lab::server::{Server, ServerSpec};

const LINK_LIMIT: Duration = Duration::from_secs(20);
const LINES: [&str; 3] = ["save \"\"", "appendonly no", "repl-diskless-sync-delay 0"];
const WRITERS: usize = 8;

fn node() -> PathBuf {
    Binaries::locate(None, None).unwrap().node
}

async fn pair(scratch: &Scratch, io_threads: u32) -> (Server, Server) {
    let threads = format!("io-threads {io_threads}");
    let spec = ServerSpec::with_file("master", &node(), &LINES).line(threads.clone());
    let master = spec.start(scratch).await.unwrap();
    let line = format!("replicaof 127.0.0.1 {}", master.port());
    let spec = ServerSpec::with_file("replica", &node(), &LINES).line(threads).line(line);
    let replica = spec.start(scratch).await.unwrap();
    replica.follows(&master, LINK_LIMIT).await.unwrap();
    (master, replica)
}

#[tokio::test]
async fn the_transaction_that_promotes_takes_effect_as_a_whole() {
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (master, replica) = pair(&scratch, 1).await;
    let () = master.ask(&["SET", "before", "1"]).await.unwrap();
    let () = master.ask(&["WAIT", "1", "5000"]).await.unwrap();
    let mut connection = client::connect(replica.addr(), client::PATIENT).await.unwrap();
    let mut transaction = redis::pipe();
    transaction.atomic();
    for words in [
        &["SLAVEOF", "NO", "ONE"] as &[&str],
        &["CONFIG", "REWRITE"],
        &["CLIENT", "KILL", "TYPE", "normal"],
        &["CLIENT", "KILL", "TYPE", "pubsub"],
    ] {
        transaction.add_command(client::cmd(words));
    }
    let replies: (String, String, i64, i64) = transaction.query_async(&mut connection).await.unwrap();
    assert_eq!((replies.0.as_str(), replies.1.as_str()), ("OK", "OK"));
    let () = replica.ask(&["SET", "after", "1"]).await.unwrap();
    let text = std::fs::read_to_string(replica.dir().join("server.conf")).unwrap();
    assert!(!text.contains("replicaof"), "{text}");

    // The old master continues with the new one from where their histories part.
    let () = master.ask(&["REPLICAOF", "127.0.0.1", &replica.port().to_string()]).await.unwrap();
    master.follows(&replica, LINK_LIMIT).await.unwrap();
    let after: String = master.ask(&["GET", "after"]).await.unwrap();
    assert_eq!(after, "1");
    let stats = replica.info("stats").await.unwrap();
    assert_eq!(stats.get("sync_full").map(String::as_str), Some("0"));
}

#[tokio::test]
async fn a_killed_master_leaves_every_acknowledged_write_on_its_replica() {
    for io_threads in [1, 4] {
        let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let (mut master, replica) = pair(&scratch, io_threads).await;
        let acknowledged: Arc<[AtomicI64; WRITERS]> = Arc::default();
        let stop = Arc::new(AtomicBool::new(false));
        let mut writers = tokio::task::JoinSet::new();
        for i in 0..WRITERS {
            let (acknowledged, stop, addr) = (acknowledged.clone(), stop.clone(), master.addr());
            writers.spawn(async move {
                let mut connection = client::connect(addr, client::PATIENT).await.unwrap();
                let count = client::cmd(&["INCR", &format!("counter:{i}")]);
                while !stop.load(Ordering::Relaxed) {
                    let Ok(value) = count.query_async(&mut connection).await else { return };
                    acknowledged[i].store(value, Ordering::Relaxed);
                }
            });
        }
        let busy = async || match acknowledged.iter().map(|n| n.load(Ordering::Relaxed)).min() {
            Some(n) if n > 200 => Ok(()),
            least => Err(format!("{least:?} writes")),
        };
        redoubt_lab::wait::until("all writers are at work", LINK_LIMIT, busy).await.unwrap();
        master.kill().unwrap();
        stop.store(true, Ordering::Relaxed);
        writers.join_all().await;
        for (i, acknowledged) in acknowledged.iter().enumerate() {
            let acknowledged = acknowledged.load(Ordering::Relaxed);
            let what = format!("counter {i} of the replica is at least {acknowledged}");
            redoubt_lab::wait::until(&what, LINK_LIMIT, async || {
                let held: Option<i64> =
                    replica.ask(&["GET", &format!("counter:{i}")]).await.map_err(|e| e.to_string())?;
                if held.unwrap_or(0) >= acknowledged { Ok(()) } else { Err(format!("{held:?}")) }
            })
            .await
            .unwrap();
        }
    }
}
