//! Tests of the feeding side that need no network.

use rand::SeedableRng;
use rand::rngs::StdRng;

use super::backlog::OutputLimit;
use super::master::*;
use super::options::{Capabilities, RdbFilter, ReplicaOptions};

const EOF: Capabilities = Capabilities { eof: true, psync2: true };

struct Bench {
    feed: Feed,
    log: Vec<String>,
    readers: Vec<(ReplicaId, super::backlog::Reader)>,
}

impl Bench {
    fn new(change: impl FnOnce(&mut FeedConfig)) -> Bench {
        let mut config = FeedConfig::default();
        change(&mut config);
        Bench { feed: Feed::new(0, config, StdRng::seed_from_u64(1)), log: Vec::new(), readers: Vec::new() }
    }

    /// The outputs in short, logs and readers set aside.
    fn outputs(&mut self) -> Vec<String> {
        let mut outputs = Vec::new();
        while let Some(output) = self.feed.poll_output() {
            outputs.push(match output {
                FeedOutput::Log(line) => {
                    self.log.push(line.text);
                    continue;
                }
                FeedOutput::Send { bytes, .. } => String::from_utf8_lossy(&bytes).into_owned(),
                FeedOutput::StartStream { replica, reader } => {
                    let text = format!("stream from {}", reader.position());
                    self.readers.push((replica, reader));
                    text
                }
                FeedOutput::StartSnapshot { to_sockets, .. } => format!("snapshot to_sockets={to_sockets}"),
                FeedOutput::SendFile { .. } => "file".into(),
                FeedOutput::AbortSnapshot => "abort".into(),
                FeedOutput::Append(bytes) => String::from_utf8_lossy(bytes).into_owned(),
                FeedOutput::Close { reason, .. } => format!("close {reason:?}"),
            });
        }
        outputs
    }

    fn sync(&mut self, now: u64, capabilities: Capabilities) -> ReplicaId {
        let options = ReplicaOptions { capabilities, listening_port: 7, ..ReplicaOptions::default() };
        self.sync_with(now, &options).expect("accepted")
    }

    fn sync_with(&mut self, now: u64, options: &ReplicaOptions) -> Result<ReplicaId, String> {
        let psync = Some((&b"?"[..], &b"-1"[..]));
        self.feed
            .handle_sync(now, &SyncRequest { psync, options, peer_ip: "10.0.0.9", pending_output: false })
    }

    /// A replica that takes the stream.
    fn online(&mut self, now: u64) -> ReplicaId {
        let id = self.sync(now, EOF);
        self.feed.handle_timeout(now + 5_000);
        self.feed.snapshot_started(now).expect("asked for");
        self.feed.snapshot_finished(now, true);
        self.feed.handle_ack(now, id, 0, None);
        self.outputs();
        id
    }
}

#[test]
fn refusals_are_those_of_redis() {
    let mut bench = Bench::new(|_| {});
    let filtered = ReplicaOptions {
        filter: RdbFilter { without_data: true, without_functions: false },
        ..ReplicaOptions::default()
    };
    assert_eq!(
        bench.sync_with(0, &filtered).err().as_deref(),
        Some("ERR Filtered replica requires EOF capability")
    );
    let plain = ReplicaOptions::default();
    let mut refused = |psync: Option<(&[u8], &[u8])>, pending_output| {
        let request = SyncRequest { psync, options: &plain, peer_ip: "10.0.0.9", pending_output };
        bench.feed.handle_sync(0, &request).err()
    };
    assert_eq!(refused(None, true).as_deref(), Some("ERR SYNC and PSYNC are invalid with pending output"));
    assert_eq!(
        refused(Some((b"?", b"x")), false).as_deref(),
        Some("ERR value is not an integer or out of range")
    );
    bench.feed.set_failing_over(true);
    assert_eq!(
        bench.sync_with(0, &plain).err().as_deref(),
        Some("NOMASTERLINK Can't SYNC while failing over")
    );
    assert_eq!(bench.feed.replica_count(), 0);
}

#[test]
fn a_streamed_payload_waits_for_company_and_holds_the_stream_until_the_first_ack() {
    let mut bench = Bench::new(|_| {});
    let first = bench.sync(1_000, EOF);
    let second = bench.sync(3_000, EOF);
    assert!(bench.outputs().is_empty());
    assert!(bench.log.contains(&"Delay next BGSAVE for diskless SYNC".into()));
    bench.feed.handle_timeout(5_999);
    assert!(bench.outputs().iter().all(|line| line == "\n" || line.contains("PING")));
    bench.feed.handle_timeout(6_000);
    assert_eq!(bench.outputs(), ["snapshot to_sockets=true"]);
    bench.feed.take_select_needed();
    let start = bench.feed.snapshot_started(6_000).expect("asked for");
    assert_eq!(start.replicas, [first, second]);
    assert!(bench.feed.take_select_needed() && !bench.feed.take_select_needed());
    let offset = bench.feed.lineage().offset();
    let reply = format!("+FULLRESYNC {} {offset}\r\n", bench.feed.lineage().replid());
    assert_eq!(bench.outputs(), [reply.clone(), reply]);
    bench.feed.append(6_001, b"after the cut");
    // The second loads faster than the driver notices that the snapshot has ended.
    bench.feed.handle_ack(6_500, second, offset as i64, None);
    bench.feed.snapshot_finished(6_600, true);
    assert_eq!(bench.outputs(), [format!("stream from {offset}")]);
    bench.feed.handle_ack(6_700, first, offset as i64, None);
    assert_eq!(bench.outputs(), [format!("stream from {offset}")]);
    let read = bench.readers[1].1.read(100).expect("what followed the cut");
    assert_eq!(&*read, b"after the cut");
}

#[test]
fn enough_replicas_end_the_wait() {
    let mut bench = Bench::new(|config| config.diskless_sync_max_replicas = 2);
    bench.sync(0, EOF);
    assert!(bench.outputs().is_empty());
    bench.sync(10, EOF);
    assert_eq!(bench.outputs(), ["snapshot to_sockets=true"]);
}

#[test]
fn an_old_replica_gets_a_file_and_others_join_it() {
    let mut bench = Bench::new(|_| {});
    bench.sync(0, Capabilities::default());
    assert_eq!(bench.outputs(), ["snapshot to_sockets=false"]);
    bench.feed.snapshot_started(0).expect("asked for");
    bench.outputs();
    bench.feed.append(1, b"after the cut");
    bench.sync(2, EOF);
    assert!(bench.outputs()[0].ends_with(" 0\r\n"), "joined at the cut, not where the stream is now");
    bench.feed.snapshot_finished(3, true);
    assert_eq!(bench.outputs(), ["file", "file"]);
    assert_eq!(bench.feed.replica_infos(3)[0].state, "send_bulk");
}

#[test]
fn a_replica_that_can_do_less_does_not_join() {
    let mut bench = Bench::new(|config| config.diskless_sync = false);
    bench.sync(0, EOF);
    bench.feed.snapshot_started(0).expect("asked for");
    bench.sync(1, Capabilities::default());
    bench.outputs();
    assert!(bench.log.last().is_some_and(|line| line.starts_with("Can't attach the replica")));
    bench.feed.snapshot_finished(2, true);
    assert_eq!(bench.outputs(), ["file", "snapshot to_sockets=false"]);
}

#[test]
fn a_snapshot_waits_while_something_else_is_saved() {
    let mut bench = Bench::new(|config| config.diskless_sync = false);
    bench.feed.set_background_busy(0, true);
    bench.sync(0, EOF);
    assert!(bench.outputs().is_empty());
    bench.feed.set_background_busy(100, false);
    assert_eq!(bench.outputs(), ["snapshot to_sockets=false"]);
    bench.feed.snapshot_failed(100);
    assert_eq!(
        bench.outputs(),
        ["-ERR BGSAVE failed, replication can't continue\r\n", "close SnapshotFailed"]
    );
}

#[test]
fn a_streamed_snapshot_without_takers_is_aborted_once() {
    let mut bench = Bench::new(|config| config.diskless_sync_delay_ms = 0);
    let id = bench.sync(0, EOF);
    bench.feed.snapshot_started(0).expect("asked for");
    bench.outputs();
    bench.feed.detached(1, id);
    bench.feed.detached(1, id);
    assert_eq!(bench.outputs(), ["abort"]);
    assert!(bench.log.contains(&"Connection with replica 10.0.0.9:7 lost.".into()));
}

#[test]
fn a_client_that_wants_the_snapshot_alone_is_closed_after_it() {
    let mut bench = Bench::new(|config| config.diskless_sync_delay_ms = 0);
    let options = ReplicaOptions { capabilities: EOF, rdb_only: true, ..ReplicaOptions::default() };
    bench.sync_with(0, &options).expect("accepted");
    bench.feed.snapshot_started(0).expect("asked for");
    bench.outputs();
    bench.feed.snapshot_finished(1, true);
    assert_eq!(bench.outputs(), ["close RdbOnlyDone"]);
}

#[test]
fn a_replica_that_lags_too_far_goes() {
    let output_limit = OutputLimit { hard_bytes: 100_000, soft_bytes: 0, soft_ms: 0 };
    let mut bench = Bench::new(|config| {
        config.output_limit = output_limit;
        config.backlog_size = 16 * 1024;
    });
    bench.online(0);
    for _ in 0..90 {
        bench.feed.append(1, &[b'x'; 1_000]);
    }
    assert!(bench.outputs().is_empty());
    for _ in 0..40 {
        bench.feed.append(1, &[b'x'; 1_000]);
    }
    assert_eq!(bench.outputs(), ["close OutputLimit"]);
}

#[test]
fn a_write_larger_than_the_limit_is_no_reason_to_drop_a_replica_that_reads() {
    let output_limit = OutputLimit { hard_bytes: 100_000, soft_bytes: 0, soft_ms: 0 };
    let mut bench = Bench::new(|config| config.output_limit = output_limit);
    bench.online(0);
    for _ in 0..3 {
        bench.feed.append(1, &vec![b'x'; 2_000_000]);
        assert!(bench.outputs().is_empty());
        bench.readers.iter_mut().for_each(|(_, reader)| while reader.read(usize::MAX).is_some() {});
    }
}

#[test]
fn acknowledgements_count_for_wait_and_for_min_replicas() {
    let mut bench = Bench::new(|config| {
        config.min_replicas_to_write = 1;
        config.min_replicas_max_lag_ms = 3_000;
    });
    assert!(!bench.feed.enough_good_replicas());
    let id = bench.online(0);
    assert!(bench.feed.enough_good_replicas());
    let offset = bench.feed.append(0, b"effect");
    assert_eq!(bench.feed.count_acks(offset), 0);
    assert!(bench.feed.handle_ack(10, id, offset as i64, Some(0)));
    assert!(!bench.feed.handle_ack(11, id, 0, Some(-1)), "an older one takes nothing back");
    assert_eq!((bench.feed.count_acks(offset), bench.feed.count_fsynced(offset)), (1, 0));
    assert_eq!(bench.feed.count_acks(offset + 1), 0);
    bench.feed.handle_timeout(20_000);
    assert!(!bench.feed.enough_good_replicas());
    assert_eq!(bench.feed.good_replicas(), Some(0));
}

#[test]
fn one_getack_serves_all_who_wait_and_none_goes_out_while_paused() {
    let mut bench = Bench::new(|_| {});
    bench.online(0);
    bench.feed.request_acks();
    bench.feed.request_acks();
    assert_eq!(bench.outputs(), ["*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n"]);
    bench.feed.set_paused(true);
    bench.feed.request_acks();
    bench.feed.handle_timeout(30_000);
    assert!(bench.outputs().is_empty());
}

#[test]
fn pings_come_once_a_period() {
    let mut bench = Bench::new(|_| {});
    let id = bench.online(0);
    let mut pings = 0;
    for second in 6..66 {
        bench.feed.handle_ack(second * 1_000, id, 0, None);
        bench.feed.handle_timeout(second * 1_000);
        pings += bench.outputs().len();
    }
    assert_eq!(pings, 6);
}

#[test]
fn another_period_of_pings_counts_from_when_it_is_set() {
    let mut bench = Bench::new(|config| config.ping_period_ms = 3_600_000);
    bench.online(0);
    bench.feed.handle_timeout(6_000);
    bench.feed.set_config(6_000, FeedConfig { ping_period_ms: 1_000, ..FeedConfig::default() });
    bench.feed.handle_timeout(7_000);
    assert_eq!(bench.outputs(), ["*1\r\n$4\r\nPING\r\n"]);
    bench.feed.set_config(7_500, FeedConfig { ping_period_ms: 3_600_000, ..FeedConfig::default() });
    bench.feed.handle_timeout(9_000);
    assert!(bench.outputs().is_empty());
}

#[test]
fn an_acknowledgement_that_is_asked_for_during_a_pause_is_asked_for_after_it() {
    let mut bench = Bench::new(|_| {});
    bench.online(0);
    bench.feed.set_paused(true);
    bench.feed.request_acks();
    assert!(bench.outputs().is_empty());
    bench.feed.set_paused(false);
    assert_eq!(bench.outputs().len(), 1);
}

#[test]
fn the_first_replica_after_a_long_while_is_not_pinged_at_once() {
    let mut bench = Bench::new(|_| {});
    let id = bench.online(1_000_000);
    bench.outputs();
    bench.feed.handle_timeout(1_001_000);
    assert!(bench.outputs().is_empty());
    bench.feed.handle_ack(1_010_000, id, 0, None);
    bench.feed.handle_timeout(1_010_000);
    assert_eq!(bench.outputs(), ["*1\r\n$4\r\nPING\r\n"]);
}
