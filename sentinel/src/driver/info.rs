//! INFO: the sections server, clients, stats, cpu and sentinel, with the fields of Redis 7.2.
//!
//! Fields about data are there too, with the figures that a server without data has: whoever reads
//! INFO of all servers alike finds what it looks for.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{SystemTime, UNIX_EPOCH};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use redoubt_wire::rates::RateMeter;

use super::Driver;
use super::server::Traffic;
use crate::core::timers::Ms;

const SECTIONS: [&str; 5] = ["server", "clients", "stats", "cpu", "sentinel"];
/// How often the totals behind rates are looked at.
const SAMPLE_MS: Ms = 100;

/// What INFO tells of the process and its traffic.
#[derive(Debug)]
pub(crate) struct Facts {
    /// Names this run of the program; the Sentinel's id stays the same over restarts.
    run_id: String,
    listeners: Vec<String>,
    traffic: Arc<Traffic>,
    rates: RateMeter<3>,
    sampled_at: Ms,
}

impl Facts {
    pub(crate) fn new(listeners: Vec<String>, traffic: Arc<Traffic>) -> Self {
        let run_id = (0..40).map(|_| char::from(b"0123456789abcdef"[rand::random_range(0..16)])).collect();
        Facts { run_id, listeners, traffic, rates: RateMeter::default(), sampled_at: 0 }
    }

    /// Looks at the totals if that is due.
    pub(super) fn sample(&mut self, commands: u64, now: Ms) {
        if now >= self.sampled_at + SAMPLE_MS {
            self.sampled_at = now;
            let load = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
            self.rates.sample([commands, load(&self.traffic.input), load(&self.traffic.output)], now);
        }
    }
}

/// The sections that `wanted` names; all of them for none, `default`, `all` or `everything`.
/// Names of sections that a Sentinel does not have are passed over.
pub(super) fn text(driver: &Driver, wanted: &[&[u8]], now: Ms) -> String {
    let names = |name: &str| wanted.iter().any(|w| w.eq_ignore_ascii_case(name.as_bytes()));
    let all = wanted.is_empty() || ["default", "all", "everything"].into_iter().any(names);
    let chosen = SECTIONS.into_iter().filter(|section| all || names(section));
    let texts: Vec<String> = chosen
        .map(|section| match section {
            "server" => server(driver),
            "clients" => clients(driver),
            "stats" => stats(driver),
            "cpu" => cpu(),
            _ => driver.core.info_section(now),
        })
        .collect();
    texts.join("\r\n")
}

/// A section of `field:value` lines.
fn section(title: &str, fields: &[(&str, &dyn std::fmt::Display)]) -> String {
    let lines: String = fields.iter().map(|(name, value)| format!("{name}:{value}\r\n")).collect();
    format!("# {title}\r\n{lines}")
}

fn server(driver: &Driver) -> String {
    let uptime = driver.started.elapsed().as_secs();
    let os = nix::sys::utsname::uname().map_or_else(
        |_| "unknown".to_string(),
        |u| [u.sysname(), u.release(), u.machine()].map(|s| s.to_string_lossy().into_owned()).join(" "),
    );
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let executable = std::env::current_exe().unwrap_or_default();
    let text = section(
        "Server",
        &[
            ("redis_version", &redoubt_wire::REDIS_VERSION),
            ("redoubt_version", &env!("CARGO_PKG_VERSION")),
            ("redis_git_sha1", &"00000000"),
            ("redis_git_dirty", &0),
            ("redis_build_id", &"0"),
            ("redis_mode", &"sentinel"),
            ("os", &os),
            ("arch_bits", &usize::BITS),
            ("monotonic_clock", &"POSIX clock_gettime"),
            ("multiplexing_api", &"epoll"),
            ("process_id", &std::process::id()),
            ("process_supervised", &driver.service.supervisor()),
            ("run_id", &driver.facts.run_id),
            ("tcp_port", &driver.settings.port),
            ("server_time_usec", &since_1970.as_micros()),
            ("uptime_in_seconds", &uptime),
            ("uptime_in_days", &(uptime / 86400)),
            ("hz", &10),
            ("configured_hz", &10),
            ("lru_clock", &(since_1970.as_secs() & 0xff_ffff)),
            ("executable", &executable.display()),
            ("config_file", &driver.state_file.display()),
            ("io_threads_active", &0),
        ],
    );
    let listeners = driver.facts.listeners.iter().enumerate();
    text + &listeners.map(|(n, listener)| format!("listener{n}:{listener}\r\n")).collect::<String>()
}

fn clients(driver: &Driver) -> String {
    let all = &driver.clients.all;
    let largest = all.values().map(|client| client.connection.unsent()).max().unwrap_or(0);
    let tracking = all.values().filter(|client| client.tracking.is_on()).count();
    section(
        "Clients",
        &[
            ("connected_clients", &all.len()),
            ("cluster_connections", &0),
            ("maxclients", &driver.settings.maxclients),
            ("client_recent_max_input_buffer", &0),
            ("client_recent_max_output_buffer", &largest),
            ("blocked_clients", &driver.pause.waiting()),
            ("tracking_clients", &tracking),
            ("clients_in_timeout_table", &0),
            ("total_blocking_keys", &0),
            ("total_blocking_keys_on_nokey", &0),
        ],
    )
}

fn stats(driver: &Driver) -> String {
    let (clients, facts) = (&driver.clients, &driver.facts);
    let channels: std::collections::BTreeSet<_> = clients.all.values().flat_map(|c| &c.channels).collect();
    let patterns: std::collections::BTreeSet<_> = clients.all.values().flat_map(|c| &c.patterns).collect();
    let traffic = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
    let kib = |i: usize| format!("{:.2}", facts.rates.mean(i) / 1024.0);
    let text = section(
        "Stats",
        &[
            ("total_connections_received", &clients.connections_received),
            ("total_commands_processed", &clients.commands_processed),
            ("instantaneous_ops_per_sec", &(facts.rates.mean(0) as u64)),
            ("total_net_input_bytes", &traffic(&facts.traffic.input)),
            ("total_net_output_bytes", &traffic(&facts.traffic.output)),
            ("total_net_repl_input_bytes", &0),
            ("total_net_repl_output_bytes", &0),
            ("instantaneous_input_kbps", &kib(1)),
            ("instantaneous_output_kbps", &kib(2)),
            ("instantaneous_input_repl_kbps", &"0.00"),
            ("instantaneous_output_repl_kbps", &"0.00"),
            ("rejected_connections", &clients.connections_rejected),
            ("sync_full", &0),
            ("sync_partial_ok", &0),
            ("sync_partial_err", &0),
            ("expired_keys", &0),
            ("expired_stale_perc", &"0.00"),
            ("expired_time_cap_reached_count", &0),
            ("expire_cycle_cpu_milliseconds", &0),
            ("evicted_keys", &0),
            ("evicted_clients", &0),
            ("total_eviction_exceeded_time", &0),
            ("current_eviction_exceeded_time", &0),
            ("keyspace_hits", &0),
            ("keyspace_misses", &0),
            ("pubsub_channels", &channels.len()),
            ("pubsub_patterns", &patterns.len()),
            ("pubsubshard_channels", &0),
            ("latest_fork_usec", &0),
            ("total_forks", &0),
            ("migrate_cached_sockets", &0),
            ("slave_expires_tracked_keys", &0),
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
            ("total_error_replies", &clients.error_replies),
            ("dump_payload_sanitizations", &0),
            ("total_reads_processed", &traffic(&facts.traffic.reads)),
            ("total_writes_processed", &traffic(&facts.traffic.writes)),
            ("io_threaded_reads_processed", &0),
            ("io_threaded_writes_processed", &0),
        ],
    );
    text + &driver.acl.info()
}

fn cpu() -> String {
    let seconds = |t: TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    let mut text = String::from("# CPU\r\n");
    for (who, suffix) in [
        (UsageWho::RUSAGE_SELF, ""),
        (UsageWho::RUSAGE_CHILDREN, "_children"),
        (UsageWho::RUSAGE_THREAD, "_main_thread"),
    ] {
        if let Ok(usage) = getrusage(who) {
            text += &format!("used_cpu_sys{suffix}:{:.6}\r\n", seconds(usage.system_time()));
            text += &format!("used_cpu_user{suffix}:{:.6}\r\n", seconds(usage.user_time()));
        }
    }
    text
}
