//! Where the engine meets replication: its effects become the stream, and its role follows the
//! link.
//!
//! The replication state machine is part of the engine, since commands read and change it
//! (REPLICAOF, PSYNC, WAIT, INFO) in the midst of batches and transactions. What the machine
//! wants done outside, the driver takes from it after each batch.

use super::load::Loading;
use super::pause::{Pause, Reason};
use super::request::Output;
use super::{Engine, Role};
use crate::config::{DisklessLoad, MasterAddress};
use crate::replication::Level;
use crate::replication::backlog::OutputLimit;
use crate::replication::failover::{FailoverRequest, FailoverStep};
use crate::replication::info::LinkState;
use crate::replication::lineage::ReplId;
use crate::replication::master::FeedConfig;
use crate::replication::replica::LinkConfig;

/// A place in a history of writes, as an RDB file tells of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The history's name.
    pub replid: ReplId,
    /// The offset in it.
    pub offset: u64,
    /// The database that the stream had selected.
    pub db: u32,
}

impl Engine {
    /// Monotonic time in ms: what replication counts in.
    pub fn monotonic_ms(&self) -> u64 {
        (self.ticks)() / 1_000_000
    }

    /// The stream takes what was written since the last call, and the effects learn what they
    /// need to know of the stream. To be called between units.
    pub fn settle_stream(&mut self) {
        let now_ms = self.monotonic_ms();
        let feed = &mut self.replication.feed;
        if !self.effects.is_empty() {
            feed.append(now_ms, self.effects.bytes());
            self.effects.clear();
        } else if self.role == Role::Master && feed.backlog().is_none() {
            feed.count_unread(self.effects.offset());
        }
        self.settle_role();
        self.settle_pauses();
        let paused = self.writes_paused();
        let feed = &mut self.replication.feed;
        feed.set_paused(paused);
        if feed.take_select_needed() {
            self.effects.forget_selected();
        }
        let offset = feed.lineage().offset();
        let wanted = feed.backlog().is_some() && self.role == Role::Master;
        self.effects.set_offset(offset);
        self.effects.set_wanted(wanted);
    }

    fn settle_role(&mut self) {
        if let (Some(link), Role::Replica { link_up, .. }) = (self.replication.link(), &mut self.role) {
            *link_up = link.state() == LinkState::Connected;
        }
    }

    /// Follows a master from now on.
    pub fn follow(&mut self, host: String, port: u16) {
        let now_ms = self.monotonic_ms();
        let config = self.link_config(&host, port);
        self.replication.follow(now_ms, config);
        self.config.replicaof = Some(MasterAddress { host: host.clone(), port });
        self.role = Role::Replica { host, port, link_up: false };
    }

    /// Begins to follow the master that the configuration names, if it names one. To be called once,
    /// when the RDB file is loaded.
    pub fn follow_from_start(&mut self) {
        let now_ms = self.monotonic_ms();
        if let Some(MasterAddress { host, port }) = &self.config.replicaof {
            let config = self.link_config(host, *port);
            self.replication.follow_from_start(now_ms, config);
        }
    }

    /// Becomes a master, if it is none. Returns whether it was a replica.
    pub fn promote(&mut self) -> bool {
        let now_ms = self.monotonic_ms();
        let was_replica = self.replication.promote(now_ms);
        if was_replica {
            self.promoted();
        }
        was_replica
    }

    /// The replication state machine has made this node a master.
    pub(super) fn promoted(&mut self) {
        self.role = Role::Master;
        self.config.replicaof = None;
        // In an EXEC that has written before, its unit is settled as a whole.
        if self.effects.in_unit() == 0 {
            self.settle_stream();
        }
    }

    /// FAILOVER: writes are held back from now on, until a replica has taken over or will not.
    ///
    /// # Errors
    /// The text of the error reply.
    pub fn start_failover(&mut self, request: FailoverRequest) -> Result<(), &'static str> {
        let now_ms = self.monotonic_ms();
        self.replication.start_failover(now_ms, self.effects.offset(), request)?;
        self.pause(Reason::Failover, Pause::WRITES);
        Ok(())
    }

    /// FAILOVER ABORT. Returns whether there was anything to abort.
    pub fn abort_failover(&mut self) -> bool {
        let step = self.replication.abort_failover();
        let aborted = step.is_some();
        step.into_iter().for_each(|step| self.take_failover_step(step));
        aborted
    }

    /// Takes the steps that are due in a FAILOVER under way. To be called after every batch, before
    /// the outputs are taken.
    pub fn settle_failover(&mut self) {
        let now_ms = self.monotonic_ms();
        while let Some(step) = self.replication.failover_step(now_ms, self.effects.offset()) {
            self.take_failover_step(step);
        }
    }

    fn take_failover_step(&mut self, step: FailoverStep) {
        match step {
            FailoverStep::Follow(host, port) => {
                self.follow(host, port);
                self.output(Output::RoleChanged);
                return;
            }
            FailoverStep::Refused => {
                self.promote();
                self.output(Output::RoleChanged);
            }
            FailoverStep::Done | FailoverStep::GivenUp => {}
        }
        self.unpause(Reason::Failover);
    }

    /// The RDB file that is loaded at the start says where in which history it stands. To be called
    /// before its keys are put in, the node follows its master, or takes writes.
    pub fn restore_history(&mut self, restored: &Restored) {
        let Restored { replid, offset, db } = *restored;
        match self.config.replicaof {
            Some(_) => self.replication.restore_replica(replid, offset, db),
            None => {
                self.replication.restore_master(replid, offset, db);
                if self.config.master_rejoin_guard {
                    self.replication.feed.set_guard();
                }
            }
        }
        self.settle_stream();
    }

    /// A Sentinel that speaks for a majority says who is the master: `<run id>,<configuration
    /// epoch>,<name of the master>,<id of the Sentinel>`. If it is this run of this node, and it waits to
    /// hear so, it waits no longer.
    pub fn confirm_master(&mut self, message: &[u8]) {
        let mut fields = message.splitn(2, |byte| *byte == b',');
        let (Some(run_id), Some(rest)) = (fields.next(), fields.next()) else { return };
        if self.is_master() && run_id.eq_ignore_ascii_case(self.facts.process.run_id.as_bytes()) {
            let who = String::from_utf8_lossy(rest);
            self.replication.feed.lift_guard(&format!("confirmed by Sentinel ({who})"));
        }
    }

    /// Changed directives that concern replication come into force.
    pub fn configure_replication(&mut self) {
        let now_ms = self.monotonic_ms();
        let config = feed_config(&self.config);
        self.replication.feed.set_config(now_ms, config);
        if !self.config.master_rejoin_guard {
            self.replication.feed.lift_guard("the directive is off");
        }
        if let Some(link) = self.replication.link() {
            let LinkConfig { host, port, .. } = link.config().clone();
            let config = self.link_config(&host, port);
            self.replication.configure_link(config);
        }
    }

    /// Whether a master's snapshot is parsed as it arrives rather than put into a file first.
    pub fn loads_diskless(&self) -> bool {
        match self.config.repl_diskless_load {
            DisklessLoad::Disabled => false,
            DisklessLoad::OnEmptyDb => self.keyspace.is_empty(),
            DisklessLoad::SwapDb => true,
        }
    }

    /// A master's snapshot is about to be parsed. The old data go now; with `swapdb`, if the snapshot
    /// is parsed as it arrives, they stay until the new are complete, and are served meanwhile if they
    /// are an earlier state of the `same_history`.
    pub fn begin_loading(&mut self, direct: bool, same_history: bool) {
        let beside = direct && self.config.repl_diskless_load == DisklessLoad::SwapDb;
        let now_ms = self.monotonic_ms();
        self.replication.load_starting(now_ms, !beside);
        if beside {
            self.begin_incoming();
        } else {
            self.flush_all();
        }
        self.loading = if beside && same_history { Loading::Async } else { Loading::Exclusive };
    }

    /// The snapshot is loaded, or will not be; `db` is what its `repl-stream-db` says. What there is
    /// of it takes the place of the dataset, or goes.
    pub fn end_loading(&mut self, db: Option<u32>) {
        let now_ms = self.monotonic_ms();
        let beside = self.incoming.is_some();
        let wanted = match db {
            Some(db) => self.replication.load_succeeded(now_ms, db),
            None => {
                self.replication.load_failed(now_ms);
                false
            }
        };
        match (wanted, beside) {
            (true, true) => {
                let text = "MASTER <-> REPLICA sync: Swapping active DB with loaded DB";
                self.replication.feed.log(Level::Notice, text.into());
                self.adopt_incoming();
                let text = "MASTER <-> REPLICA sync: Discarding old DB in background";
                self.replication.feed.log(Level::Notice, text.into());
            }
            (true, false) => {}
            (false, true) => {
                self.discard_incoming();
                let text = "MASTER <-> REPLICA sync: Discarding temporary DB in background";
                self.replication.feed.log(Level::Notice, text.into());
            }
            (false, false) => self.flush_all(),
        }
        if wanted {
            // No file holds it yet, where none was written on the way.
            self.stats.dirty += 1;
        }
        self.loading = Loading::No;
    }

    fn link_config(&self, host: &str, port: u16) -> LinkConfig {
        let config = &self.config;
        let announced = config.replica_announce_port;
        LinkConfig {
            host: host.to_owned(),
            port,
            user: config.masteruser.clone(),
            password: config.masterauth.clone(),
            listening_port: if announced == 0 { config.port } else { announced },
            announce_ip: config.replica_announce_ip.clone(),
            timeout_ms: u64::from(config.repl_timeout_secs) * 1000,
            diskless_load: self.loads_diskless(),
        }
    }
}

/// The directives of the feeding side.
pub(super) fn feed_config(config: &crate::config::Config) -> FeedConfig {
    let secs = |n: u32| u64::from(n) * 1000;
    let limit = config.client_output_buffer_limit.replica;
    FeedConfig {
        backlog_size: config.repl_backlog_size,
        backlog_ttl_ms: config.repl_backlog_ttl_secs.saturating_mul(1000),
        diskless_sync: config.repl_diskless_sync,
        diskless_sync_delay_ms: secs(config.repl_diskless_sync_delay_secs),
        diskless_sync_max_replicas: config.repl_diskless_sync_max_replicas as usize,
        ping_period_ms: secs(config.repl_ping_replica_period_secs),
        timeout_ms: secs(config.repl_timeout_secs),
        min_replicas_to_write: config.min_replicas_to_write as usize,
        min_replicas_max_lag_ms: secs(config.min_replicas_max_lag_secs),
        output_limit: OutputLimit {
            hard_bytes: limit.hard_bytes,
            soft_bytes: limit.soft_bytes,
            soft_ms: limit.soft_secs * 1000,
        },
        save_points: !config.save.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::Harness;
    use crate::persist::rdb::RdbKey;

    const SAVED: &str = "5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a5a";

    /// A node that was started with an RDB file of a master at offset 99.
    fn restarted(guard: bool) -> Harness {
        let mut h = Harness::new();
        h.engine.config.master_rejoin_guard = guard;
        h.engine.facts.process.run_id = "c0ffee".into();
        h.engine.now_ms = h.now_ms;
        let replid = ReplId::parse(SAVED.as_bytes()).expect("forty characters");
        h.engine.restore_history(&Restored { replid, offset: 99, db: 3 });
        let key = |name: &str, expiry_ms| RdbKey {
            db: 3,
            key: name.into(),
            expiry_ms,
            idle_s: None,
            freq: None,
            value: crate::engine::keyspace::object::Value::Bytes(b"v"[..].into()),
        };
        h.engine.load_key(key("stays", None), h.now_ms);
        h.engine.load_key(key("expired", Some(h.now_ms - 1)), h.now_ms);
        h.engine.settle_stream();
        h
    }

    fn waits(h: &mut Harness) -> bool {
        let waits = h
            .run("INFO replication")
            .contains("# Replication\r\nrole:master\r\nmaster_rejoin_guard:waiting\r\n");
        assert_eq!(waits, h.run("SET k v").starts_with("-READONLY You can't write against a former master"));
        waits
    }

    fn asked(h: &mut Harness) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some(output) = h.engine.replication.poll_master_output(None) {
            if let crate::replication::replica::LinkOutput::Send(bytes) = output {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                sent.push(
                    text.split("\r\n")
                        .filter(|word| !word.starts_with(['*', '$']))
                        .collect::<Vec<_>>()
                        .join(" "),
                );
            }
        }
        sent
    }

    /// Follows somebody and shakes hands up to PSYNC.
    fn psync_of(h: &mut Harness) -> String {
        h.run("REPLICAOF 10.0.0.1 6379");
        h.engine.replication.master_connected(0);
        for line in ["+PONG\r\n", "+OK\r\n", "+OK\r\n"] {
            asked(h);
            let _ = h.engine.replication.handle_master_bytes(0, &mut line.as_bytes());
        }
        asked(h).pop().expect("PSYNC was sent").trim_end().to_owned()
    }

    #[test]
    fn a_former_master_takes_no_writes_until_it_is_confirmed() {
        let mut h = restarted(true);
        assert!(waits(&mut h));
        assert_eq!(h.run("SELECT 3"), "+OK\r\n");
        assert_eq!(h.run("GET stays"), "$1\r\nv\r\n");
        assert_eq!(h.run("PUBLISH __sentinel__:confirm another-run,7,mymaster,abc"), ":0\r\n");
        assert_eq!(h.run("PUBLISH __sentinel__:confirm c0ffee"), ":0\r\n");
        assert!(waits(&mut h));
        assert_eq!(h.run("PUBLISH __sentinel__:confirm C0FFEE,7,mymaster,abc"), ":0\r\n");
        assert!(!waits(&mut h));
        assert!(!waits(&mut restarted(false)), "by default there is no guard");
    }

    #[test]
    fn a_user_confirms_a_former_master_with_replicaof_no_one() {
        let mut h = restarted(true);
        assert_eq!(h.run("REPLICAOF NO ONE"), "+OK\r\n");
        assert!(!waits(&mut h));
        let mut h = restarted(true);
        h.engine.config.master_rejoin_guard = false;
        h.engine.configure_replication();
        assert!(!waits(&mut h));
    }

    #[test]
    fn a_replica_that_continues_confirms_a_former_master_and_no_other_is_fed_before() {
        let mut h = restarted(true);
        let other = h.connect();
        let refusal = "-NOMASTERLINK Can't SYNC while this former master waits to be confirmed (master-rejoin-guard)\r\n";
        for ahead in ["PSYNC ? -1".to_owned(), format!("PSYNC {SAVED} 101"), "SYNC".to_owned()] {
            assert_eq!(h.run_as(other, &ahead), refusal, "{ahead}");
        }
        assert!(waits(&mut h));
        assert_eq!(h.run_as(other, &format!("PSYNC {SAVED} 100")), "");
        assert!(!waits(&mut h));
    }

    #[test]
    fn a_snapshot_alone_is_given_at_any_time() {
        let mut h = restarted(true);
        let tool = h.connect();
        h.run_as(tool, "REPLCONF rdb-only 1");
        assert_eq!(h.run_as(tool, "SYNC"), "");
        assert!(waits(&mut h));
    }

    #[test]
    fn a_former_master_that_waits_continues_under_the_name_that_others_know() {
        let mut h = restarted(true);
        h.run("PUBLISH __sentinel__:hello something");
        h.engine.settle_stream();
        assert_eq!(
            h.engine.keyspace.table(3).len(),
            2,
            "what has expired may be deleted by the master alone"
        );
        assert_eq!(psync_of(&mut h), format!("PSYNC {SAVED} 100"));
        assert_eq!(h.engine.replication.stream_db(), 3, "the stream goes on where the file says");
        assert!(h.run("SET k v").starts_with("-READONLY You can't write against a read only replica."));
    }

    #[test]
    fn a_restarted_master_that_has_changed_its_data_cannot_go_back() {
        let mut h = restarted(false);
        assert_eq!(
            h.engine.keyspace.table(3).len(),
            1,
            "the expired key is gone, and replicas will hear of it"
        );
        let own = h.engine.replication.feed.lineage().replid();
        let psync = psync_of(&mut h);
        assert!(psync.starts_with(&format!("PSYNC {own} ")), "{psync}");
        assert!(h.run("INFO replication").contains("master_repl_offset:148\r\n"));
    }
}
