//! The directives that this version acts on, one row each.
//!
//! A row is written once and gives everything: the field of [`Config`] with its documentation and
//! default, and the entry of [`LIVE`] from which files are read, `CONFIG GET`, `SET` and `REWRITE`
//! answered, and help is printed. To add a directive, add a row; to change a rule, change its row.
//! Names, defaults and ranges are those of Redis 7.2, but for the few that say "Redoubt's own".

use std::path::PathBuf;

use redoubt_wire::service::Supervision;

use super::choices::*;
use super::codec::*;
use super::row::{Bound, Row, Rules, Standing};
use super::special::*;

const INT_MAX: i128 = i32::MAX as i128;
const LONG_MAX: i128 = i64::MAX as i128;
const MIB: u64 = 1 << 20;

const fn int(min: i128, max: i128) -> Integer {
    Integer(Range { min, max })
}

const fn mem(min: i128, max: i128) -> Memory {
    Memory(Range { min, max })
}

const fn first(names: &[&'static str]) -> Option<&'static str> {
    match names {
        [name, ..] => Some(name),
        [] => None,
    }
}

macro_rules! directives {
    ($(
        $(#[doc = $doc:literal])+
        $name:literal $(| $alias:literal)? $([$($rule:ident)+])? $field:ident: $type:ty = $default:expr, $codec:expr;
    )+) => {
        /// The node's configuration, one field per directive of the same name.
        #[derive(Clone, Debug, PartialEq)]
        pub struct Config {
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Default for Config {
            fn default() -> Self {
                Config { $($field: $default),+ }
            }
        }

        /// The rows of the directives that stand for a field of [`Config`].
        pub(super) static LIVE: &[Row] = &[$(
            Row {
                name: $name,
                alias: first(&[$($alias)?]),
                rules: Rules::NONE$($(.with(Rules::$rule))+)?,
                doc: concat!($($doc),+),
                standing: Standing::Live(&Bound::<$type, _> {
                    field: |config| &config.$field,
                    field_mut: |config| &mut config.$field,
                    default: || $default,
                    codec: $codec,
                }),
            },
        )+];
    };
}

directives! {
    // Network.

    /// TCP port to listen on; 0 listens on none.
    "port" port: u16 = 6379, int(0, 65535);
    /// Addresses to listen on, up to 16: a leading `-` marks one that may be missing and is served from when it comes, `*` is every IPv4 address and `::*` every IPv6 one.
    "bind" [MULTI_ARG] bind: Vec<String> = vec!["*".into(), "-::*".into()], Addresses { max: 16 };
    /// Refuses clients from other hosts while the default user has no password.
    "protected-mode" protected_mode: bool = true, YesNo;
    /// Path of a Unix socket to listen on besides; empty for none.
    "unixsocket" [IMMUTABLE] unixsocket: Option<PathBuf> = None, Text;
    /// Permission bits of the Unix socket in octal; 0 leaves them to the umask.
    "unixsocketperm" [IMMUTABLE] unixsocketperm: u32 = 0, Octal { max: 0o777 };
    /// Connections that the kernel may hold before they are accepted.
    "tcp-backlog" [IMMUTABLE] tcp_backlog: u32 = 511, int(0, INT_MAX);
    /// Seconds after which an idle client is closed; 0 never closes it.
    "timeout" timeout_secs: u32 = 0, int(0, INT_MAX);
    /// Seconds of silence after which the kernel probes a client's host; 0 never probes.
    "tcp-keepalive" tcp_keepalive_secs: u32 = 300, int(0, INT_MAX);
    /// Most clients connected at a time; a further one is refused.
    "maxclients" maxclients: u32 = 10000, int(1, u32::MAX as i128);
    /// Largest bulk argument that a client may send, in bytes.
    "proto-max-bulk-len" proto_max_bulk_len: u64 = 512 * MIB, mem(MIB as i128, LONG_MAX);
    /// Largest unparsed input of one client, in bytes; beyond it the client is closed.
    "client-query-buffer-limit" client_query_buffer_limit: u64 = 1024 * MIB, mem(MIB as i128, LONG_MAX);
    /// Unsent output a client may hold, by class: hard bytes, soft bytes, seconds above soft.
    "client-output-buffer-limit" [MULTI_ARG] client_output_buffer_limit: OutputLimits = OutputLimits::default(), ClassLimits;

    // Process.

    /// Threads that serve clients.
    "io-threads" [IMMUTABLE] io_threads: u32 = 1, int(1, 128);
    /// Turns of background work a second, kept within 1 and 500.
    "hz" hz: u32 = 10, Clamped { accepted: Range { min: 0, max: INT_MAX }, kept: Range { min: 1, max: 500 } };
    /// Number of databases that SELECT chooses from.
    "databases" [IMMUTABLE] databases: u32 = 16, int(1, INT_MAX);
    /// Goes on in the background after start.
    "daemonize" [IMMUTABLE] daemonize: bool = false, YesNo;
    /// File that holds the process id while the node runs; empty for none.
    "pidfile" [IMMUTABLE] pidfile: Option<PathBuf> = None, Text;
    /// Keeps transparent huge pages away from this process: clearing one at its first touch stalls a command.
    "disable-thp" [IMMUTABLE] disable_thp: bool = true, YesNo;
    /// Who supervises the process and is told when it is ready: upstart, systemd, auto, no.
    "supervised" [IMMUTABLE] supervised: Supervision = Supervision::No, OneOf;
    /// Least level of log lines: debug, verbose, notice, warning, nothing.
    "loglevel" loglevel: LogLevel = LogLevel::Notice, OneOf;
    /// File to log to; empty for standard output.
    "logfile" [IMMUTABLE] logfile: PathBuf = PathBuf::new(), Text;
    /// Form of log lines: redis, json. Redoubt's own.
    "log-format" [IMMUTABLE] log_format: LogFormat = LogFormat::Redis, OneOf;
    /// Seconds that a shutdown waits for replicas that lack writes; 0 does not wait.
    "shutdown-timeout" shutdown_timeout_secs: u32 = 10, int(0, INT_MAX);
    /// How SIGINT shuts down: default, or of save, nosave, now, force.
    "shutdown-on-sigint" [MULTI_ARG] shutdown_on_sigint: ShutdownOptions = ShutdownOptions::default(), ShutdownWords;
    /// How SIGTERM shuts down: default, or of save, nosave, now, force.
    "shutdown-on-sigterm" [MULTI_ARG] shutdown_on_sigterm: ShutdownOptions = ShutdownOptions::default(), ShutdownWords;

    // Access.

    /// Password that clients must give; empty for none.
    "requirepass" [SENSITIVE] requirepass: Option<Secret> = None, Text;
    /// File that holds all users, one a line, which ACL LOAD reads and ACL SAVE writes; empty for none.
    "aclfile" [IMMUTABLE] aclfile: Option<PathBuf> = None, Text;
    /// Which channels new users and selectors begin with: allchannels, resetchannels.
    "acl-pubsub-default" acl_pubsub_default: AclPubsubDefault = AclPubsubDefault::ResetChannels, OneOf;
    /// Entries that the log of what users were denied keeps.
    "acllog-max-len" acllog_max_len: u64 = 128, int(0, LONG_MAX);
    /// Who may use DEBUG: no, yes, local.
    "enable-debug-command" [IMMUTABLE] enable_debug_command: ProtectedAction = ProtectedAction::No, OneOf;
    /// Who may change `dir` and `dbfilename` at run time: no, yes, local.
    "enable-protected-configs" [IMMUTABLE] enable_protected_configs: ProtectedAction = ProtectedAction::No, OneOf;

    // Snapshots.

    /// Directory of the node's files, made absolute at start.
    "dir" [PROTECTED DENY_LOADING] dir: PathBuf = PathBuf::from("."), WorkingDirectory;
    /// Name of the snapshot file within `dir`.
    "dbfilename" [PROTECTED] dbfilename: String = "dump.rdb".into(), FileName { path_error: "dbfilename can't be a path, just a filename" };
    /// When to save by itself: pairs of seconds and changes; empty for never.
    "save" [MULTI_ARG] save: Vec<SavePoint> = vec![SavePoint { seconds: 3600, changes: 1 }, SavePoint { seconds: 300, changes: 100 }, SavePoint { seconds: 60, changes: 10000 }], SavePoints;
    /// Compresses strings in snapshots.
    "rdbcompression" rdbcompression: bool = true, YesNo;
    /// Puts a checksum at the end of snapshots and checks it at load.
    "rdbchecksum" [IMMUTABLE] rdbchecksum: bool = true, YesNo;
    /// Version of the snapshot format that is written, 9 to 12. Redoubt's own.
    "rdb-version" rdb_version: u32 = 10, int(9, 12);
    /// Syncs a snapshot to disk as it grows rather than all at its end.
    "rdb-save-incremental-fsync" rdb_save_incremental_fsync: bool = true, YesNo;
    /// Deletes snapshots made for replication alone, where nothing else persists.
    "rdb-del-sync-files" rdb_del_sync_files: bool = false, YesNo;
    /// Refuses writes while the last snapshot has failed.
    "stop-writes-on-bgsave-error" stop_writes_on_bgsave_error: bool = true, YesNo;
    /// Microseconds to wait after each key loaded; a negative number waits one after that many keys. For tests.
    "key-load-delay" [HIDDEN] key_load_delay_us: i32 = 0, int(i32::MIN as i128, INT_MAX);
    /// Microseconds to wait after each key saved; a negative number waits one after that many keys. For tests.
    "rdb-key-save-delay" [HIDDEN] rdb_key_save_delay_us: i32 = 0, int(i32::MIN as i128, INT_MAX);
    /// Most bytes of a dataset that are taken in at a time while it is loaded, before clients are answered; never more than 512 KiB.
    "loading-process-events-interval-bytes" [HIDDEN] loading_interval_bytes: u64 = 2 * MIB, int(1024, INT_MAX);

    // Replication.

    /// Master to follow, as host and port; `no one` for none.
    "replicaof" | "slaveof" [IMMUTABLE MULTI_ARG] replicaof: Option<MasterAddress> = None, HostPort;
    /// Password to give to the master; empty for none.
    "masterauth" [SENSITIVE] masterauth: Option<Secret> = None, Text;
    /// User to authenticate as with the master; empty for the default user.
    "masteruser" [SENSITIVE] masteruser: Option<String> = None, Text;
    /// Answers reads from old data while the master is away.
    "replica-serve-stale-data" | "slave-serve-stale-data" replica_serve_stale_data: bool = true, YesNo;
    /// Refuses writes of clients on a replica.
    "replica-read-only" | "slave-read-only" replica_read_only: bool = true, YesNo;
    /// Has a node that starts as a master, and was one with replicas before, refuse writes until a replica continues with it or a Sentinel confirms it. Redoubt's own.
    "master-rejoin-guard" master_rejoin_guard: bool = false, YesNo;
    /// Order in which Sentinel promotes replicas, lowest first; 0 never.
    "replica-priority" | "slave-priority" replica_priority: u32 = 100, int(0, INT_MAX);
    /// Lists this replica in what Sentinel reports.
    "replica-announced" replica_announced: bool = true, YesNo;
    /// Address that this replica tells its master, where it differs from that of its connection.
    "replica-announce-ip" | "slave-announce-ip" replica_announce_ip: Option<String> = None, Text;
    /// Port that this replica tells its master; 0 for the one it listens on.
    "replica-announce-port" | "slave-announce-port" replica_announce_port: u16 = 0, int(0, 65535);
    /// Leaves eviction on a replica to its master.
    "replica-ignore-maxmemory" | "slave-ignore-maxmemory" replica_ignore_maxmemory: bool = true, YesNo;
    /// Sends snapshots to replicas straight to their sockets, without a file.
    "repl-diskless-sync" repl_diskless_sync: bool = true, YesNo;
    /// Seconds to wait for more replicas before a diskless snapshot starts.
    "repl-diskless-sync-delay" repl_diskless_sync_delay_secs: u32 = 5, int(0, INT_MAX);
    /// Number of waiting replicas at which a diskless snapshot starts before its delay is over; 0 for none.
    "repl-diskless-sync-max-replicas" repl_diskless_sync_max_replicas: u32 = 0, int(0, INT_MAX);
    /// How a replica loads its master's snapshot: disabled (through a file), on-empty-db, swapdb.
    "repl-diskless-load" [DENY_LOADING] repl_diskless_load: DisklessLoad = DisklessLoad::Disabled, OneOf;
    /// Seconds between the pings that a master puts into its stream.
    "repl-ping-replica-period" | "repl-ping-slave-period" repl_ping_replica_period_secs: u32 = 10, int(1, INT_MAX);
    /// Seconds of silence after which a replication link counts as lost.
    "repl-timeout" repl_timeout_secs: u32 = 60, int(1, INT_MAX);
    /// Lets the kernel gather small packets to replicas: less traffic, more delay.
    "repl-disable-tcp-nodelay" repl_disable_tcp_nodelay: bool = false, YesNo;
    /// Bytes of the stream that are kept for replicas that come back.
    "repl-backlog-size" repl_backlog_size: u64 = MIB, mem(1, LONG_MAX);
    /// Seconds without replicas after which a master frees its backlog; 0 for never.
    "repl-backlog-ttl" repl_backlog_ttl_secs: u64 = 3600, int(0, LONG_MAX);
    /// Number of replicas in good standing without which writes are refused; 0 for none.
    "min-replicas-to-write" | "min-slaves-to-write" min_replicas_to_write: u32 = 0, int(0, INT_MAX);
    /// Seconds since its last acknowledgement within which a replica is in good standing; 0 switches the check off.
    "min-replicas-max-lag" | "min-slaves-max-lag" min_replicas_max_lag_secs: u32 = 10, int(0, INT_MAX);

    // Memory.

    /// Bytes of data at which eviction begins; 0 for no limit.
    "maxmemory" maxmemory: u64 = 0, mem(0, u64::MAX as i128);
    /// What is evicted at `maxmemory`.
    "maxmemory-policy" maxmemory_policy: MaxmemoryPolicy = MaxmemoryPolicy::NoEviction, OneOf;
    /// Keys that are compared for each eviction.
    "maxmemory-samples" maxmemory_samples: u32 = 5, int(1, INT_MAX);
    /// How many hits saturate a key's frequency counter: more with a greater factor.
    "lfu-log-factor" lfu_log_factor: u32 = 10, int(0, INT_MAX);
    /// Minutes without use after which a key's frequency counter falls by one; 0 for never.
    "lfu-decay-time" lfu_decay_time_mins: u32 = 1, int(0, INT_MAX);
    /// Effort to find expired keys before they are asked for, 1 to 10.
    "active-expire-effort" active_expire_effort: u32 = 1, int(1, 10);
    /// Frees evicted values in the background.
    "lazyfree-lazy-eviction" lazyfree_lazy_eviction: bool = false, YesNo;
    /// Frees expired values in the background.
    "lazyfree-lazy-expire" lazyfree_lazy_expire: bool = false, YesNo;
    /// Frees values that a command overwrites in the background.
    "lazyfree-lazy-server-del" lazyfree_lazy_server_del: bool = false, YesNo;

    // Encodings.

    /// Limit of a list's node: elements if positive; -1 to -5 for 4, 8, 16, 32, 64 KiB.
    "list-max-listpack-size" | "list-max-ziplist-size" list_max_listpack_size: i32 = -2, int(i32::MIN as i128, INT_MAX);
    /// Most members of a set of integers kept as a sorted array.
    "set-max-intset-entries" set_max_intset_entries: u64 = 512, int(0, LONG_MAX);
    /// Most members of a set kept as a listpack.
    "set-max-listpack-entries" set_max_listpack_entries: u64 = 128, int(0, LONG_MAX);
    /// Longest member, in bytes, of a set kept as a listpack.
    "set-max-listpack-value" set_max_listpack_value: u64 = 64, int(0, LONG_MAX);

    // Observation.

    /// Events of keys that are published, by letter; empty for none.
    "notify-keyspace-events" notify_keyspace_events: KeyspaceEvents = KeyspaceEvents::NONE, EventLetters;
    /// Microseconds from which a command enters the slow log; 0 logs all, -1 none.
    "slowlog-log-slower-than" slowlog_log_slower_than_us: i64 = 10000, int(-1, LONG_MAX);
    /// Entries that the slow log keeps.
    "slowlog-max-len" slowlog_max_len: u64 = 128, int(0, LONG_MAX);
}
