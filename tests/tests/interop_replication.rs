//! Replication between our nodes and Redis's, in both directions: full and partial
//! resynchronisation, chains, and the oldest form of SYNC; contents are compared through
//! commands.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use redoubt_lab::binaries::Binaries;
use redoubt_lab::client::PATIENT;
use redoubt_lab::dataset;
use redoubt_lab::scratch::Scratch;
use redoubt_lab::server::{Server, ServerSpec};

const LINK_LIMIT: Duration = Duration::from_secs(20);
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

async fn start(scratch: &Scratch, name: &str, program: &Path) -> Server {
    ServerSpec::with_file(name, program, &LINES).start(scratch).await.unwrap()
}

async fn start_replica(scratch: &Scratch, name: &str, program: &Path, master: &Server) -> Server {
    let line = format!("replicaof 127.0.0.1 {}", master.port());
    let replica = ServerSpec::with_file(name, program, &LINES).line(line).start(scratch).await.unwrap();
    replica.follows(master, LINK_LIMIT).await.unwrap();
    replica
}

/// A counter of INFO stats, e.g. `sync_full`.
async fn count(server: &Server, counter: &str) -> u64 {
    let stats = server.info("stats").await.unwrap();
    stats.get(counter).unwrap_or_else(|| panic!("INFO stats has no {counter}")).parse().unwrap()
}

async fn full_resync_then_stream(master: PathBuf, replica: PathBuf) {
    let scratch = scratch();
    let master = start(&scratch, "master", &master).await;
    dataset::fill(master.addr()).await.unwrap();
    let replica = start_replica(&scratch, "replica", &replica, &master).await;
    dataset::assert_same(&master, &replica).await.unwrap();
    dataset::churn(master.addr(), 3_000, 1).await.unwrap();
    dataset::assert_same(&master, &replica).await.unwrap();
    assert_eq!(count(&master, "sync_full").await, 1);
    let refused = replica.ask::<()>(&["SET", "x", "1"]).await.unwrap_err().to_string();
    assert!(refused.contains("You can't write against a read only replica"), "{refused}");
}

async fn partial_resync_after_a_cut_link(master: PathBuf, replica: PathBuf) {
    let scratch = scratch();
    let master = start(&scratch, "master", &master).await;
    dataset::fill(master.addr()).await.unwrap();
    let replica = start_replica(&scratch, "replica", &replica, &master).await;
    for cut in 1..=3 {
        let killed: u64 = master.ask(&["CLIENT", "KILL", "TYPE", "replica"]).await.unwrap();
        assert_eq!(killed, 1);
        dataset::churn(master.addr(), 300, cut).await.unwrap();
        let what = format!("partial resynchronisation {cut} is counted");
        redoubt_lab::wait::until(&what, LINK_LIMIT, async || match count(&master, "sync_partial_ok").await {
            n if n >= cut => Ok(()),
            n => Err(format!("sync_partial_ok:{n}")),
        })
        .await
        .unwrap();
        replica.follows(&master, LINK_LIMIT).await.unwrap();
        dataset::assert_same(&master, &replica).await.unwrap();
    }
    assert_eq!(count(&master, "sync_full").await, 1);
}

async fn full_resync_when_the_backlog_no_longer_reaches(master: PathBuf, replica: PathBuf) {
    let scratch = scratch();
    let spec = ServerSpec::with_file("master", &master, &LINES).line("repl-backlog-size 16kb");
    let master = spec.start(&scratch).await.unwrap();
    let replica = start_replica(&scratch, "replica", &replica, &master).await;
    replica.freeze().unwrap();
    let _: u64 = master.ask(&["CLIENT", "KILL", "TYPE", "replica"]).await.unwrap();
    dataset::fill(master.addr()).await.unwrap();
    dataset::churn(master.addr(), 1_000, 5).await.unwrap();
    replica.thaw().unwrap();
    dataset::assert_same(&master, &replica).await.unwrap();
    assert_eq!(count(&master, "sync_full").await, 2);
    assert!(count(&master, "sync_partial_err").await >= 1);
}

async fn a_chain_survives_the_promotion_of_its_middle(first: PathBuf, middle: PathBuf, last: PathBuf) {
    let scratch = scratch();
    let first = start(&scratch, "first", &first).await;
    dataset::fill(first.addr()).await.unwrap();
    let middle = start_replica(&scratch, "middle", &middle, &first).await;
    let last = start_replica(&scratch, "last", &last, &middle).await;
    dataset::churn(first.addr(), 500, 2).await.unwrap();
    dataset::assert_same(&first, &last).await.unwrap();
    let full_before = count(&middle, "sync_full").await;

    // The last goes on by partial resynchronisation, and so does the first when it comes to follow.
    let () = middle.ask(&["REPLICAOF", "NO", "ONE"]).await.unwrap();
    let () = first.ask(&["REPLICAOF", "127.0.0.1", &middle.port().to_string()]).await.unwrap();
    first.follows(&middle, LINK_LIMIT).await.unwrap();
    last.follows(&middle, LINK_LIMIT).await.unwrap();
    dataset::churn(middle.addr(), 500, 3).await.unwrap();
    dataset::assert_same(&middle, &first).await.unwrap();
    dataset::assert_same(&middle, &last).await.unwrap();
    assert_eq!(count(&middle, "sync_full").await, full_before, "a full resynchronisation was not needed");
    assert!(count(&middle, "sync_partial_ok").await >= 1);
}

/// What tools from before PSYNC send: a bare SYNC, answered by the snapshot's size and the snapshot, which
/// any server then loads as its dump.
async fn sync_with_a_size(master: PathBuf, loader: PathBuf) {
    let scratch = scratch();
    let master = start(&scratch, "master", &master).await;
    dataset::fill(master.addr()).await.unwrap();
    let snapshot = old_sync(&master);
    assert!(snapshot.starts_with(b"REDIS00"), "{:?}", String::from_utf8_lossy(&snapshot[..20]));
    let dir = scratch.subdir("loader").unwrap();
    std::fs::write(dir.join("dump.rdb"), snapshot).unwrap();
    let loader = start(&scratch, "loader", &loader).await;
    dataset::assert_same(&master, &loader).await.unwrap();
}

fn old_sync(master: &Server) -> Vec<u8> {
    let stream = TcpStream::connect(master.addr()).unwrap();
    stream.set_read_timeout(Some(PATIENT)).unwrap();
    (&stream).write_all(b"SYNC\r\n").unwrap();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    // Line ends alone keep the link alive while the snapshot is made.
    while line.trim_end().is_empty() {
        line.clear();
        assert_ne!(reader.read_line(&mut line).unwrap(), 0, "the master closed the connection");
    }
    let size: usize =
        line.trim_end().strip_prefix('$').and_then(|size| size.parse().ok()).unwrap_or_else(|| {
            panic!("expected $<size>, got {line:?}");
        });
    let mut snapshot = vec![0; size];
    reader.read_exact(&mut snapshot).unwrap();
    snapshot
}

async fn resumes_after_its_own_restart(master: PathBuf, replica: PathBuf) {
    let scratch = scratch();
    let master = start(&scratch, "master", &master).await;
    dataset::fill(master.addr()).await.unwrap();
    let mut replica = start_replica(&scratch, "replica", &replica, &master).await;
    // The answer to SHUTDOWN is a closed connection.
    let _ = replica.ask::<()>(&["SHUTDOWN", "SAVE"]).await;
    dataset::churn(master.addr(), 300, 4).await.unwrap();
    replica.restart().await.unwrap();
    replica.follows(&master, LINK_LIMIT).await.unwrap();
    dataset::assert_same(&master, &replica).await.unwrap();
    assert_eq!(count(&master, "sync_full").await, 1, "its dump holds the place from which to go on");
}

macro_rules! replication_tests {
    ($module:ident, master: $master:expr, replica: $replica:expr) => {
        mod $module {
            use super::*;

            #[tokio::test]
            async fn full_resync_then_stream() {
                super::full_resync_then_stream($master, $replica).await;
            }

            #[tokio::test]
            async fn partial_resync_after_a_cut_link() {
                super::partial_resync_after_a_cut_link($master, $replica).await;
            }

            #[tokio::test]
            async fn full_resync_when_the_backlog_no_longer_reaches() {
                super::full_resync_when_the_backlog_no_longer_reaches($master, $replica).await;
            }

            #[tokio::test]
            async fn resumes_after_its_own_restart() {
                super::resumes_after_its_own_restart($master, $replica).await;
            }

            #[tokio::test]
            async fn a_chain_survives_the_promotion_of_its_middle() {
                super::a_chain_survives_the_promotion_of_its_middle($master, $replica, $master).await;
            }

            #[tokio::test]
            async fn sync_with_a_size() {
                super::sync_with_a_size($master, $replica).await;
            }
        }
    };
}

replication_tests!(among_ours, master: ours(), replica: ours());
replication_tests!(with_redis_server_as_replica, master: ours(), replica: redis());
replication_tests!(with_redis_server_as_master, master: redis(), replica: ours());
