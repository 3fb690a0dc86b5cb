//! What a node tells people about its replication: INFO's section and the reply to ROLE.
//!
//! The fields are plain data filled in by whoever holds the state, and their names and order
//! are Redis 7.2's, since Sentinel and other tools read them by name and people by eye.

use std::fmt::Write;

use super::lineage::ReplId;

/// The state of a replica's link to its master, by the names that ROLE uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkState {
    /// Not connected; will try.
    Connect,
    /// Waiting for the connection to be made.
    Connecting,
    /// Exchanging REPLCONF and PSYNC.
    Handshake,
    /// Receiving or loading a snapshot.
    Sync,
    /// Following the stream.
    Connected,
}

impl LinkState {
    /// The name in ROLE.
    pub fn as_str(self) -> &'static str {
        match self {
            LinkState::Connect => "connect",
            LinkState::Connecting => "connecting",
            LinkState::Handshake => "handshake",
            LinkState::Sync => "sync",
            LinkState::Connected => "connected",
        }
    }
}

/// The progress of a coordinated FAILOVER, as `master_failover_state` shows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailoverState {
    /// None under way.
    #[default]
    NoFailover,
    /// Waiting for the target to have the whole stream.
    WaitingForSync,
    /// Asking the target to take over.
    InProgress,
}

impl FailoverState {
    /// The name in INFO.
    pub fn as_str(self) -> &'static str {
        match self {
            FailoverState::NoFailover => "no-failover",
            FailoverState::WaitingForSync => "waiting-for-sync",
            FailoverState::InProgress => "failover-in-progress",
        }
    }
}

/// A snapshot under way from the master to this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransferInfo {
    /// Bytes announced: -1 before the announcement, 0 if the end is marked instead.
    pub total_bytes: i64,
    /// Bytes received.
    pub read_bytes: u64,
    /// Seconds since the last of them.
    pub last_io_seconds_ago: u64,
}

/// The fields that only a replica shows.
#[derive(Clone, Debug, PartialEq)]
pub struct UpstreamInfo {
    /// The master's host as it was given.
    pub host: String,
    /// The master's port.
    pub port: u16,
    /// State of the link.
    pub state: LinkState,
    /// Seconds since the master was heard; `None` unless connected.
    pub last_io_seconds_ago: Option<u64>,
    /// Stream offset received; 1, as in Redis, if there is nothing to continue from.
    pub read_offset: u64,
    /// Stream offset applied; 1 likewise.
    pub applied_offset: u64,
    /// A transfer under way.
    pub transfer: Option<TransferInfo>,
    /// Seconds since the link was lost; `None` if there never was one.
    pub down_since_seconds: Option<u64>,
    /// `replica-priority`.
    pub priority: u32,
    /// `replica-read-only`.
    pub read_only: bool,
    /// `replica-announced`.
    pub announced: bool,
}

/// One line of our replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaInfo {
    /// Address: announced, or else of the connection.
    pub ip: String,
    /// Announced port.
    pub port: i64,
    /// Its state's name.
    pub state: &'static str,
    /// Stream offset acknowledged.
    pub ack_offset: u64,
    /// Seconds since the last acknowledgement; 0 unless online.
    pub lag_seconds: u64,
}

/// The backlog's fields; all zero but the size if there is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BacklogInfo {
    /// Whether there is one.
    pub active: bool,
    /// `repl-backlog-size`, in bytes.
    pub size: u64,
    /// Offset of the first byte held, counting from 1.
    pub first_byte_offset: u64,
    /// Bytes held.
    pub histlen: u64,
    /// Memory that is held for them, in bytes.
    pub memory_bytes: usize,
}

/// The section `# Replication` of INFO.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplicationInfo {
    /// A former master that waits to be confirmed.
    pub guarded: bool,
    /// Set on a replica.
    pub upstream: Option<UpstreamInfo>,
    /// Number of replicas, those without a line of their own included.
    pub connected_replicas: usize,
    /// Replicas with a small enough lag, if `min-replicas-to-write` is in force.
    pub good_replicas: Option<usize>,
    /// Replicas that have a line.
    pub replicas: Vec<ReplicaInfo>,
    /// Progress of FAILOVER.
    pub failover: FailoverState,
    /// `master_replid`.
    pub replid: ReplId,
    /// `master_replid2`.
    pub replid2: ReplId,
    /// `master_repl_offset`.
    pub offset: u64,
    /// `second_repl_offset`, -1 without a second id.
    pub second_offset: i64,
    /// The backlog.
    pub backlog: BacklogInfo,
}

impl ReplicationInfo {
    /// Appends the section's lines (without its title) to `out`.
    pub fn format(&self, out: &mut String) {
        // Writing to a String cannot fail, so that the results carry nothing.
        let mut field = |name: &str, value: &dyn std::fmt::Display| {
            let _ = write!(out, "{name}:{value}\r\n");
        };
        field("role", &if self.upstream.is_some() { "slave" } else { "master" });
        if self.guarded {
            field("master_rejoin_guard", &"waiting");
        }
        if let Some(upstream) = &self.upstream {
            upstream.format(&mut field);
        }
        field("connected_slaves", &self.connected_replicas);
        if let Some(good) = self.good_replicas {
            field("min_slaves_good_slaves", &good);
        }
        for (i, replica) in self.replicas.iter().enumerate() {
            let ReplicaInfo { ip, port, state, ack_offset, lag_seconds } = replica;
            let line = format!("ip={ip},port={port},state={state},offset={ack_offset},lag={lag_seconds}");
            field(&format!("slave{i}"), &line);
        }
        field("master_failover_state", &self.failover.as_str());
        field("master_replid", &self.replid);
        field("master_replid2", &self.replid2);
        field("master_repl_offset", &self.offset);
        field("second_repl_offset", &self.second_offset);
        field("repl_backlog_active", &u8::from(self.backlog.active));
        field("repl_backlog_size", &self.backlog.size);
        field("repl_backlog_first_byte_offset", &self.backlog.first_byte_offset);
        field("repl_backlog_histlen", &self.backlog.histlen);
    }
}

impl UpstreamInfo {
    fn format(&self, field: &mut dyn FnMut(&str, &dyn std::fmt::Display)) {
        let connected = self.state == LinkState::Connected;
        let or_minus_one = |seconds: Option<u64>| seconds.map_or(-1, |s| s as i64);
        field("master_host", &self.host);
        field("master_port", &self.port);
        field("master_link_status", &if connected { "up" } else { "down" });
        field("master_last_io_seconds_ago", &or_minus_one(self.last_io_seconds_ago));
        field("master_sync_in_progress", &u8::from(self.state == LinkState::Sync));
        field("slave_read_repl_offset", &self.read_offset);
        field("slave_repl_offset", &self.applied_offset);
        if let Some(transfer) = &self.transfer {
            transfer.format(field);
        }
        if !connected {
            field("master_link_down_since_seconds", &or_minus_one(self.down_since_seconds));
        }
        field("slave_priority", &self.priority);
        field("slave_read_only", &u8::from(self.read_only));
        field("replica_announced", &u8::from(self.announced));
    }
}

impl TransferInfo {
    fn format(&self, field: &mut dyn FnMut(&str, &dyn std::fmt::Display)) {
        let TransferInfo { total_bytes, read_bytes, last_io_seconds_ago } = *self;
        let percent = if total_bytes == 0 { 0.0 } else { read_bytes as f64 / total_bytes as f64 * 100.0 };
        field("master_sync_total_bytes", &total_bytes);
        field("master_sync_read_bytes", &read_bytes);
        field("master_sync_left_bytes", &(total_bytes - read_bytes as i64));
        field("master_sync_perc", &format_args!("{percent:.2}"));
        field("master_sync_last_io_seconds_ago", &last_io_seconds_ago);
    }
}

/// The reply to ROLE, for the server to encode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// `master`, the offset, and of each online replica address, port and acknowledged offset.
    Master {
        /// `master_repl_offset`.
        offset: u64,
        /// Address, port and acknowledged offset, all sent as strings.
        replicas: Vec<(String, i64, u64)>,
    },
    /// `slave`, and where it stands.
    Replica {
        /// The master's host.
        host: String,
        /// The master's port.
        port: u16,
        /// State of the link.
        state: LinkState,
        /// Applied offset, -1 unless connected.
        offset: i64,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master() -> ReplicationInfo {
        ReplicationInfo {
            guarded: false,
            upstream: None,
            connected_replicas: 2,
            good_replicas: Some(1),
            replicas: vec![ReplicaInfo {
                ip: "10.0.0.2".into(),
                port: 6380,
                state: "online",
                ack_offset: 41,
                lag_seconds: 1,
            }],
            failover: FailoverState::NoFailover,
            replid: ReplId::parse(&[b'a'; 40]).expect("forty letters"),
            replid2: ReplId::NONE,
            offset: 42,
            second_offset: -1,
            backlog: BacklogInfo {
                active: true,
                size: 1 << 20,
                first_byte_offset: 1,
                histlen: 42,
                memory_bytes: 16384,
            },
        }
    }

    #[test]
    fn a_master_shows_its_replicas_and_its_history() {
        let mut text = String::new();
        master().format(&mut text);
        let zeros = "0".repeat(40);
        let id = "a".repeat(40);
        let expected = format!(
            "role:master\r\nconnected_slaves:2\r\nmin_slaves_good_slaves:1\r\n\
             slave0:ip=10.0.0.2,port=6380,state=online,offset=41,lag=1\r\n\
             master_failover_state:no-failover\r\nmaster_replid:{id}\r\nmaster_replid2:{zeros}\r\n\
             master_repl_offset:42\r\nsecond_repl_offset:-1\r\nrepl_backlog_active:1\r\n\
             repl_backlog_size:1048576\r\nrepl_backlog_first_byte_offset:1\r\nrepl_backlog_histlen:42\r\n"
        );
        assert_eq!(text, expected);
    }

    #[test]
    fn a_replica_shows_its_link_and_its_transfer() {
        let upstream = UpstreamInfo {
            host: "10.0.0.1".into(),
            port: 6379,
            state: LinkState::Sync,
            last_io_seconds_ago: None,
            read_offset: 7,
            applied_offset: 5,
            transfer: Some(TransferInfo { total_bytes: 300, read_bytes: 100, last_io_seconds_ago: 2 }),
            down_since_seconds: None,
            priority: 100,
            read_only: true,
            announced: true,
        };
        let mut text = String::new();
        ReplicationInfo { upstream: Some(upstream), ..master() }.format(&mut text);
        let expected = "role:slave\r\nmaster_host:10.0.0.1\r\nmaster_port:6379\r\n\
            master_link_status:down\r\nmaster_last_io_seconds_ago:-1\r\nmaster_sync_in_progress:1\r\n\
            slave_read_repl_offset:7\r\nslave_repl_offset:5\r\nmaster_sync_total_bytes:300\r\n\
            master_sync_read_bytes:100\r\nmaster_sync_left_bytes:200\r\nmaster_sync_perc:33.33\r\n\
            master_sync_last_io_seconds_ago:2\r\nmaster_link_down_since_seconds:-1\r\n\
            slave_priority:100\r\nslave_read_only:1\r\nreplica_announced:1\r\nconnected_slaves:2\r\n";
        assert!(text.starts_with(expected), "{text}");
    }
}
