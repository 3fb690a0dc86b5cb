//! The directives of Redis 7.2 that this version does not act on, each with the value that holds
//! instead and the reason.
//!
//! Which way a row leans is a question of safety. Where a file asks for something without which
//! data or access would be less safe than it says (an append only file, TLS), it is refused;
//! where it tunes what does not exist here, it is taken with a warning at start. A file that states
//! the value that holds anyway is taken without a word, so that Redis's own `redis.conf` loads.

use super::row::{Deviation, Row, Rules, Standing};

macro_rules! fixed {
    ($($deviation:ident $why:literal {
        $($name:literal $(| $alias:literal)? $([$($rule:ident)+])? = $value:literal),+ $(,)?
    })+) => {
        pub(super) static FIXED: &[Row] = &[$($(
            Row {
                name: $name,
                alias: { const NAMES: &[&str] = &[$($alias)?]; if NAMES.is_empty() { None } else { Some(NAMES[0]) } },
                rules: Rules::NONE$($(.with(Rules::$rule))+)?,
                doc: concat!(" Fixed: ", $why, "."),
                standing: Standing::Fixed { value: $value, deviation: Deviation::$deviation, why: $why },
            },
        )+)+];
    };
}

fixed! {
    Refuse "there is no append only file in this version" {
        "appendonly" = "no",
    }
    Warn "there is no append only file in this version" {
        "appendfilename" = "appendonly.aof",
        "appenddirname" = "appendonlydir",
        "appendfsync" = "everysec",
        "no-appendfsync-on-rewrite" = "no",
        "auto-aof-rewrite-percentage" = "100",
        "auto-aof-rewrite-min-size" = "67108864",
        "aof-load-truncated" = "yes",
        "aof-use-rdb-preamble" = "yes",
        "aof-timestamp-enabled" = "no",
        "aof-rewrite-incremental-fsync" = "yes",
        "aof-disable-auto-gc" [HIDDEN] = "no",
        "aof_rewrite_cpulist" = "",
    }
    Refuse "cluster mode is not available in this version" {
        "cluster-enabled" = "no",
    }
    Warn "cluster mode is not available in this version" {
        "cluster-config-file" = "nodes.conf",
        "cluster-node-timeout" = "15000",
        "cluster-ping-interval" [HIDDEN] = "0",
        "cluster-port" = "0",
        "cluster-replica-validity-factor" | "cluster-slave-validity-factor" = "10",
        "cluster-replica-no-failover" | "cluster-slave-no-failover" = "no",
        "cluster-migration-barrier" = "1",
        "cluster-allow-replica-migration" = "yes",
        "cluster-require-full-coverage" = "yes",
        "cluster-allow-reads-when-down" = "no",
        "cluster-allow-pubsubshard-when-down" = "yes",
        "cluster-link-sendbuf-limit" = "0",
        "cluster-announce-ip" = "",
        "cluster-announce-port" = "0",
        "cluster-announce-tls-port" = "0",
        "cluster-announce-bus-port" = "0",
        "cluster-announce-hostname" = "",
        "cluster-announce-human-nodename" = "",
        "cluster-preferred-endpoint-type" = "ip",
    }
    Refuse "TLS is not available in this version" {
        "tls-port" = "0",
        "tls-replication" = "no",
        "tls-cluster" = "no",
    }
    Warn "TLS is not available in this version" {
        "tls-cert-file" = "",
        "tls-key-file" = "",
        "tls-key-file-pass" [SENSITIVE] = "",
        "tls-client-cert-file" = "",
        "tls-client-key-file" = "",
        "tls-client-key-file-pass" [SENSITIVE] = "",
        "tls-dh-params-file" = "",
        "tls-ca-cert-file" = "",
        "tls-ca-cert-dir" = "",
        "tls-auth-clients" = "yes",
        "tls-protocols" = "",
        "tls-ciphers" = "",
        "tls-ciphersuites" = "",
        "tls-prefer-server-ciphers" = "no",
        "tls-session-caching" = "yes",
        "tls-session-cache-size" = "20480",
        "tls-session-cache-timeout" = "300",
    }
    Warn "hashes are not available in this version" {
        "hash-max-listpack-entries" | "hash-max-ziplist-entries" = "512",
        "hash-max-listpack-value" | "hash-max-ziplist-value" = "64",
    }
    Warn "sorted sets are not available in this version" {
        "zset-max-listpack-entries" | "zset-max-ziplist-entries" = "128",
        "zset-max-listpack-value" | "zset-max-ziplist-value" = "64",
    }
    Warn "streams are not available in this version" {
        "stream-node-max-bytes" = "4096",
        "stream-node-max-entries" = "100",
    }
    Warn "HyperLogLogs are not available in this version" {
        "hll-sparse-max-bytes" = "3000",
    }
    Warn "client side caching is not available in this version" {
        "tracking-table-max-keys" = "1000000",
    }
    Warn "modules are not supported" {
        "enable-module-command" = "no",
    }
    Refuse "the log goes to a file or to standard output, from where a supervisor can pass it on" {
        "syslog-enabled" = "no",
    }
    Warn "the log goes to a file or to standard output, from where a supervisor can pass it on" {
        "syslog-ident" = "redis",
        "syslog-facility" = "local0",
    }
    Refuse "clients are not evicted by the memory they use together in this version; client-output-buffer-limit bounds each of them" {
        "maxmemory-clients" = "0",
    }
    Refuse "outgoing connections take the address that the system's routes give them" {
        "bind-source-addr" = "",
    }
    Refuse "sockets are not marked in this version" {
        "socket-mark-id" = "0",
    }
    Warn "eviction frees what one command needs before that command runs" {
        "maxmemory-eviction-tenacity" = "10",
    }
    Warn "a replica does not write a log of its own here that could fail" {
        "replica-ignore-disk-write-errors" = "no",
    }
    Warn "tables always go on rehashing when the node has nothing else to do" {
        "activerehashing" = "yes",
    }
    Warn "objects are not moved to defragment memory" {
        "activedefrag" = "no",
        "active-defrag-ignore-bytes" = "104857600",
        "active-defrag-threshold-lower" = "10",
        "active-defrag-threshold-upper" = "100",
        "active-defrag-cycle-min" = "1",
        "active-defrag-cycle-max" = "25",
        "active-defrag-max-scan-fields" = "1000",
    }
    Warn "there are no scripts to interrupt in this version" {
        "busy-reply-threshold" | "lua-time-limit" = "5000",
    }
    Warn "the timer keeps its pace: what it does is bounded by time, not by the number of clients" {
        "dynamic-hz" = "no",
    }
    Warn "the log starts with one line, on a terminal too" {
        "always-show-logo" = "no",
    }
    Warn "latencies are not recorded in this version; SLOWLOG is" {
        "latency-monitor-threshold" = "0",
        "latency-tracking" = "no",
        "latency-tracking-info-percentiles" [MULTI_ARG] = "50 99 99.9",
    }
    Warn "large values and whole databases are always freed in the background" {
        "lazyfree-lazy-user-del" = "yes",
        "lazyfree-lazy-user-flush" = "yes",
        "replica-lazy-flush" | "slave-lazy-flush" = "yes",
    }
    Warn "the nodes of lists are kept as they are, in files they are compressed by rdbcompression" {
        "list-compress-depth" = "0",
    }
    Warn "an effect that a replica cannot apply is logged, and the replica goes on" {
        "propagation-error-behavior" = "ignore",
    }
    Warn "every payload is checked in depth before it is used" {
        "sanitize-dump-payload" = "yes",
    }
    Warn "the node itself decides when the allocator gives memory back" {
        "jemalloc-bg-thread" = "yes",
    }
    Warn "every thread that serves clients both reads and writes" {
        "io-threads-do-reads" = "yes",
    }
    Warn "threads run where the system puts them; start the node under taskset to bind it" {
        "server_cpulist" = "",
        "bio_cpulist" = "",
        "bgsave_cpulist" = "",
    }
    Warn "the process title is left alone" {
        "set-proc-title" = "no",
        "proc-title-template" = "{title} {listen-addr} {server-mode}",
    }
    Warn "nothing forks here; set the score of the one process in its service unit" {
        "oom-score-adj" = "no",
        "oom-score-adj-values" [MULTI_ARG] = "0 200 800",
    }
    Warn "a panic is logged with its backtrace by the runtime, and memory is not tested after it" {
        "crash-log-enabled" = "no",
        "crash-memcheck-enabled" = "no",
        "use-exit-on-panic" [HIDDEN] = "no",
    }
    Warn "there is no watchdog by signal" {
        "watchdog-period" [HIDDEN] = "0",
    }
    Warn "none of the warnings that it would silence exists here" {
        "ignore-warnings" = "",
    }
    Warn "texts are compared byte by byte" {
        "locale-collate" = "",
    }
    Warn "Redis itself has ignored it since version 7" {
        "list-max-ziplist-entries" [HIDDEN] = "",
        "list-max-ziplist-value" [HIDDEN] = "",
        "lua-replicate-commands" [HIDDEN] = "yes",
    }
}
