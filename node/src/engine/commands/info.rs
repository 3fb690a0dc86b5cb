//! INFO: the node's state in sections of `field:value` lines, named and ordered as in Redis 7.2,
//! since dashboards and Sentinel read them by name and people by eye.

use std::collections::BTreeSet;
use std::fmt::{Display, Write};

use redoubt_wire::resp::reply::Reply;

use super::{COMMANDS, Cx, Row, table};
use crate::engine::Engine;
use crate::engine::error::Handled;
use crate::engine::facts::{LoadProgress, REDIS_VERSION, REDOUBT_VERSION, ShutdownPhase};
use crate::engine::load::Loading;
use crate::engine::session::{Buffers, Class};
use crate::replication::info::ReplicationInfo;
use crate::replication::role::ReplicaSettings;

/// The rows of this family.
pub const ROWS: &[Row] = &[(&table::INFO, info)];

/// Writes a section's lines.
type Section = fn(&Cx<'_>, &mut Lines);

/// The sections in their order: name, title, whether INFO without arguments shows it.
const SECTIONS: &[(&str, &str, bool, Section)] = &[
    ("server", "Server", true, server),
    ("clients", "Clients", true, clients),
    ("memory", "Memory", true, super::memory::info_section),
    ("persistence", "Persistence", true, persistence),
    ("stats", "Stats", true, stats),
    ("replication", "Replication", true, |cx, out| cx.engine.replication_info().format(&mut out.text)),
    ("cpu", "CPU", true, cpu),
    ("modules", "Modules", true, |_, _| {}),
    ("commandstats", "Commandstats", false, command_stats),
    ("errorstats", "Errorstats", true, error_stats),
    ("cluster", "Cluster", true, |_, out| out.field("cluster_enabled", &0)),
    ("keyspace", "Keyspace", true, keyspace),
];

/// `field:value` lines under construction.
#[derive(Debug, Default)]
pub(super) struct Lines {
    text: String,
}

impl Lines {
    /// Appends a line. Writing to a String cannot fail, so that the result carries nothing.
    pub(super) fn field(&mut self, name: &str, value: &dyn Display) {
        let _ = write!(self.text, "{name}:{value}\r\n");
    }

    /// Appends several.
    pub(super) fn fields(&mut self, fields: &[(&str, &dyn Display)]) {
        fields.iter().for_each(|(name, value)| self.field(name, *value));
    }
}

/// INFO [section …].
fn info(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let mut wanted: BTreeSet<Vec<u8>> = args[1..].iter().map(|name| name.to_ascii_lowercase()).collect();
    if wanted.is_empty() {
        wanted.insert(b"default".to_vec());
    }
    let has = |name: &str| wanted.contains(name.as_bytes());
    let all = has("all") || has("everything");
    let mut out = Lines::default();
    for (name, title, by_default, write) in SECTIONS {
        // INFO calls the section of modules by two names.
        let named = has(name) || (*name == "modules" && has("module_list"));
        if all || named || (*by_default && has("default")) {
            if !out.text.is_empty() {
                out.text.push_str("\r\n");
            }
            let _ = write!(out.text, "# {title}\r\n");
            write(cx, &mut out);
        }
    }
    reply.verbatim("txt", out.text.as_bytes());
    Ok(())
}

fn server(cx: &Cx<'_>, out: &mut Lines) {
    let (engine, process) = (&*cx.engine, &cx.engine.facts.process);
    let config = &engine.config;
    let uptime = (engine.now_ms - process.started_ms).max(0) / 1000;
    out.fields(&[
        ("redis_version", &REDIS_VERSION),
        ("redoubt_version", &REDOUBT_VERSION),
        ("redis_git_sha1", &"00000000"),
        ("redis_git_dirty", &0),
        ("redis_build_id", &"0"),
        ("redis_mode", &"standalone"),
        ("os", &process.os),
        ("arch_bits", &usize::BITS),
        ("monotonic_clock", &"POSIX clock_gettime"),
        ("multiplexing_api", &"epoll"),
        ("process_id", &process.pid),
        ("process_supervised", &process.supervisor),
        ("run_id", &process.run_id),
        ("tcp_port", &config.port),
        ("server_time_usec", &(engine.now_ms * 1000)),
        ("uptime_in_seconds", &uptime),
        ("uptime_in_days", &(uptime / 86_400)),
        ("hz", &config.hz),
        ("configured_hz", &config.hz),
        ("lru_clock", &engine.lru_clock()),
        ("executable", &process.executable),
        ("config_file", &process.config_file),
        ("io_threads_active", &u8::from(config.io_threads > 1)),
    ]);
    if let Some(ShutdownPhase::WaitsUntil(end_ms)) = process.shutdown {
        out.field("shutdown_in_milliseconds", &(end_ms - engine.now_ms));
    }
    for (i, listener) in process.listeners.iter().enumerate() {
        out.field(&format!("listener{i}"), listener);
    }
}

fn clients(cx: &Cx<'_>, out: &mut Lines) {
    let sessions = cx.sessions();
    let largest = |size: fn(&Buffers) -> usize| sessions.iter().map(|s| size(&s.buffers)).max().unwrap_or(0);
    out.fields(&[
        ("connected_clients", &sessions.iter().filter(|s| s.class != Class::Replica).count()),
        ("cluster_connections", &0),
        ("maxclients", &cx.engine.config.maxclients),
        ("client_recent_max_input_buffer", &largest(|b| b.input)),
        ("client_recent_max_output_buffer", &largest(|b| b.output)),
        ("blocked_clients", &sessions.iter().filter(|s| s.blocked).count()),
        ("tracking_clients", &0),
        ("clients_in_timeout_table", &0),
        ("total_blocking_keys", &0),
        ("total_blocking_keys_on_nokey", &0),
    ]);
}

fn persistence(cx: &Cx<'_>, out: &mut Lines) {
    let engine = &*cx.engine;
    let p = &engine.facts.persistence;
    let (done, total) = p.bgsave_keys;
    let percent = if total == 0 { 0.0 } else { done as f64 / total as f64 * 100.0 };
    let running_secs = p.bgsave_since_ms.map_or(-1, |since| (engine.now_ms - since).max(0) / 1000);
    out.fields(&[
        ("loading", &u8::from(engine.loading == Loading::Exclusive)),
        ("async_loading", &u8::from(engine.loading == Loading::Async)),
        ("current_cow_peak", &0),
        ("current_cow_size", &0),
        ("current_cow_size_age", &0),
        ("current_fork_perc", &format_args!("{percent:.2}")),
        ("current_save_keys_processed", &done),
        ("current_save_keys_total", &total),
        ("rdb_changes_since_last_save", &engine.stats.dirty),
        ("rdb_bgsave_in_progress", &u8::from(p.bgsave_since_ms.is_some())),
        ("rdb_last_save_time", &(p.last_save_ms / 1000)),
        ("rdb_last_bgsave_status", &if engine.save_failed { "err" } else { "ok" }),
        ("rdb_last_bgsave_time_sec", &p.last_bgsave_secs.map_or(-1, |s| s as i64)),
        ("rdb_current_bgsave_time_sec", &running_secs),
        ("rdb_saves", &p.saves),
        ("rdb_last_cow_size", &0),
        ("rdb_last_load_keys_expired", &p.keys_expired),
        ("rdb_last_load_keys_loaded", &p.keys_loaded),
        ("aof_enabled", &0),
        ("aof_rewrite_in_progress", &0),
        ("aof_rewrite_scheduled", &0),
        ("aof_last_rewrite_time_sec", &-1),
        ("aof_current_rewrite_time_sec", &-1),
        ("aof_last_bgrewrite_status", &"ok"),
        ("aof_rewrites", &0),
        ("aof_rewrites_consecutive_failures", &0),
        ("aof_last_write_status", &"ok"),
        ("aof_last_cow_size", &0),
        ("module_fork_in_progress", &0),
        ("module_fork_last_cow_size", &0),
    ]);
    if let Some(loading) = &p.loading {
        load_progress(loading, engine.now_ms, out);
    }
}

fn load_progress(loading: &LoadProgress, now_ms: i64, out: &mut Lines) {
    let LoadProgress { since_ms, total_bytes, loaded_bytes, rdb_used_mem } = *loading;
    let percent = if total_bytes == 0 { 0.0 } else { loaded_bytes as f64 / total_bytes as f64 * 100.0 };
    let elapsed = ((now_ms - since_ms).max(0) / 1000) as u64;
    let left = total_bytes.saturating_sub(loaded_bytes);
    let eta = if elapsed == 0 { 1 } else { elapsed.saturating_mul(left) / (loaded_bytes + 1) };
    out.fields(&[
        ("loading_start_time", &(since_ms / 1000)),
        ("loading_total_bytes", &total_bytes),
        ("loading_rdb_used_mem", &rdb_used_mem),
        ("loading_loaded_bytes", &loaded_bytes),
        ("loading_loaded_perc", &format_args!("{percent:.2}")),
        ("loading_eta_seconds", &eta),
    ]);
}

fn stats(cx: &Cx<'_>, out: &mut Lines) {
    let (s, rates) = (&cx.engine.stats, &cx.engine.facts.rates);
    let syncs = cx.engine.replication.feed.stats();
    let denials = cx.engine.acl.denials();
    out.fields(&[
        ("total_connections_received", &s.connections_received),
        ("total_commands_processed", &s.commands),
        ("instantaneous_ops_per_sec", &rates.ops),
        ("total_net_input_bytes", &(s.net_input_bytes + s.net_repl_input_bytes)),
        ("total_net_output_bytes", &(s.net_output_bytes + s.net_repl_output_bytes)),
        ("total_net_repl_input_bytes", &s.net_repl_input_bytes),
        ("total_net_repl_output_bytes", &s.net_repl_output_bytes),
        ("instantaneous_input_kbps", &format_args!("{:.2}", rates.input_kib)),
        ("instantaneous_output_kbps", &format_args!("{:.2}", rates.output_kib)),
        ("instantaneous_input_repl_kbps", &format_args!("{:.2}", rates.repl_input_kib)),
        ("instantaneous_output_repl_kbps", &format_args!("{:.2}", rates.repl_output_kib)),
        ("rejected_connections", &s.connections_rejected),
        ("sync_full", &syncs.full),
        ("sync_partial_ok", &syncs.partial_ok),
        ("sync_partial_err", &syncs.partial_err),
        ("expired_keys", &s.expired_keys),
        ("expired_stale_perc", &format_args!("{:.2}", s.expired_stale_percent)),
        ("expired_time_cap_reached_count", &s.expire_cycles_capped),
        ("expire_cycle_cpu_milliseconds", &0),
        ("evicted_keys", &s.evicted_keys),
        ("evicted_clients", &0),
        ("total_eviction_exceeded_time", &0),
        ("current_eviction_exceeded_time", &0),
        ("keyspace_hits", &s.keyspace_hits),
        ("keyspace_misses", &s.keyspace_misses),
        ("pubsub_channels", &cx.engine.pubsub.channel_count()),
        ("pubsub_patterns", &cx.engine.pubsub.pattern_count()),
        ("pubsubshard_channels", &0),
        ("latest_fork_usec", &0),
        ("total_forks", &0),
        ("migrate_cached_sockets", &0),
        ("slave_expires_tracked_keys", &cx.engine.own_expiring.len()),
        ("active_defrag_hits", &0),
        ("active_defrag_misses", &0),
        ("active_defrag_key_hits", &0),
        ("active_defrag_key_misses", &0),
        ("total_active_defrag_time", &0),
        ("current_active_defrag_time", &0),
        ("tracking_total_keys", &0),
        ("tracking_total_items", &0),
        ("tracking_total_prefixes", &0),
        ("unexpected_error_replies", &0),
        ("total_error_replies", &s.error_replies),
        ("dump_payload_sanitizations", &0),
        ("acl_access_denied_auth", &denials.auth),
        ("acl_access_denied_cmd", &denials.commands),
        ("acl_access_denied_key", &denials.keys),
        ("acl_access_denied_channel", &denials.channels),
    ]);
}

fn cpu(cx: &Cx<'_>, out: &mut Lines) {
    let cpu = (cx.engine.facts.cpu)();
    for (name, us) in [
        ("used_cpu_sys", cpu.system_us),
        ("used_cpu_user", cpu.user_us),
        ("used_cpu_sys_children", cpu.children_system_us),
        ("used_cpu_user_children", cpu.children_user_us),
        ("used_cpu_sys_main_thread", cpu.thread_system_us),
        ("used_cpu_user_main_thread", cpu.thread_user_us),
    ] {
        out.field(name, &format_args!("{}.{:06}", us / 1_000_000, us % 1_000_000));
    }
}

fn command_stats(cx: &Cx<'_>, out: &mut Lines) {
    for (command, s) in COMMANDS.rows().iter().zip(&cx.engine.stats.by_command) {
        if s.calls + s.failed + s.rejected == 0 {
            continue;
        }
        let us = s.ns / 1000;
        let per_call = if s.calls == 0 { 0.0 } else { us as f64 / s.calls as f64 };
        let figures = format_args!(
            "calls={},usec={us},usec_per_call={per_call:.2},rejected_calls={},failed_calls={}",
            s.calls, s.rejected, s.failed
        )
        .to_string();
        out.field(&format!("cmdstat_{}", command.full_name), &figures);
    }
}

fn error_stats(cx: &Cx<'_>, out: &mut Lines) {
    for (code, count) in &cx.engine.stats.errors {
        // A colon would end the field's name.
        let code = code.replace(':', "_");
        out.field(&format!("errorstat_{code}"), &format_args!("count={count}"));
    }
}

fn keyspace(cx: &Cx<'_>, out: &mut Lines) {
    let keyspace = &cx.engine.keyspace;
    for db in 0..keyspace.databases() {
        let table = keyspace.table(db);
        if !table.is_empty() {
            let (keys, expires, avg_ttl) = (table.len(), table.expiring(), keyspace.avg_ttl_ms(db));
            out.field(&format!("db{db}"), &format_args!("keys={keys},expires={expires},avg_ttl={avg_ttl}"));
        }
    }
}

impl Engine {
    /// The section of replication.
    pub fn replication_info(&self) -> ReplicationInfo {
        let settings = ReplicaSettings {
            priority: self.config.replica_priority,
            read_only: self.config.replica_read_only,
            announced: self.config.replica_announced,
        };
        let offset = self.effects.offset();
        let info = self.replication.info(self.monotonic_ms(), settings);
        // Within a batch the effects are ahead of the stream.
        ReplicationInfo { offset, ..info }
    }
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::Harness;

    #[test]
    fn sections_come_in_order_and_each_once() {
        let mut h = Harness::new();
        let titles = |text: &str| -> Vec<String> {
            text.lines().filter_map(|line| line.strip_prefix("# ")).map(String::from).collect()
        };
        let by_default = titles(&h.run("INFO"));
        assert_eq!(by_default.first().unwrap(), "Server");
        assert_eq!(by_default.last().unwrap(), "Keyspace");
        assert!(!by_default.contains(&"Commandstats".to_string()));
        assert_eq!(titles(&h.run("INFO all")).len(), by_default.len() + 1);
        assert_eq!(titles(&h.run("INFO keyspace CPU keyspace")), ["CPU", "Keyspace"]);
        assert_eq!(h.run("INFO nothing"), "$0\r\n\r\n");
    }

    #[test]
    fn counters_follow_the_commands() {
        let mut h = Harness::new();
        h.run("SET k v");
        h.run("INCR k");
        h.run("GET k x");
        h.run("EXPIRE k 100");
        let info = h.run("INFO everything");
        for line in [
            "redis_version:7.2.4",
            "connected_clients:1",
            "role:master",
            "cmdstat_incr:calls=1,usec=0,usec_per_call=0.00,rejected_calls=0,failed_calls=1",
            "errorstat_ERR:count=2",
            "db0:keys=1,expires=1,avg_ttl=0",
        ] {
            assert!(info.contains(&format!("{line}\r\n")), "{line} is not in {info}");
        }
        h.run("CONFIG RESETSTAT");
        assert!(h.run("INFO errorstats").ends_with("# Errorstats\r\n\r\n"));
    }
}
