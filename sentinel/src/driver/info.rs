//! INFO: the sections server, clients, cpu, stats and sentinel.

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use super::Driver;
use crate::core::timers::Ms;

const SECTIONS: [&str; 5] = ["server", "clients", "cpu", "stats", "sentinel"];

/// The sections that `wanted` names; all of them for none, `default`, `all` or `everything`.
/// Names of sections that a Sentinel does not have are passed over.
pub(super) fn text(driver: &Driver, wanted: &[String], now: Ms) -> String {
    let all = wanted.is_empty()
        || wanted.iter().any(|w| ["default", "all", "everything"].iter().any(|a| w.eq_ignore_ascii_case(a)));
    let chosen = SECTIONS.iter().filter(|s| all || wanted.iter().any(|w| w.eq_ignore_ascii_case(s)));
    let texts: Vec<String> = chosen
        .map(|section| match *section {
            "server" => server(driver),
            "clients" => clients(driver),
            "cpu" => cpu(),
            "stats" => stats(driver),
            _ => driver.core.info_section(now),
        })
        .collect();
    texts.join("\r\n")
}

fn server(driver: &Driver) -> String {
    let uptime = driver.started.elapsed().as_secs();
    let os = nix::sys::utsname::uname().map_or_else(
        |_| "unknown".to_string(),
        |u| [u.sysname(), u.release(), u.machine()].map(|s| s.to_string_lossy().into_owned()).join(" "),
    );
    let file = std::fs::canonicalize(&driver.state_file).unwrap_or_else(|_| driver.state_file.clone());
    let executable = std::env::current_exe().unwrap_or_default();
    format!(
        "# Server\r\nredis_version:{}\r\nredoubt_version:{}\r\nredis_mode:sentinel\r\nos:{os}\r\narch_bits:{}\r\n\
         process_id:{}\r\nrun_id:{}\r\ntcp_port:{}\r\nuptime_in_seconds:{uptime}\r\nuptime_in_days:{}\r\n\
         executable:{}\r\nconfig_file:{}\r\n",
        redoubt_wire::REDIS_VERSION,
        env!("CARGO_PKG_VERSION"),
        usize::BITS,
        std::process::id(),
        driver.core.id(),
        driver.settings.port,
        uptime / 86400,
        executable.display(),
        file.display(),
    )
}

fn clients(driver: &Driver) -> String {
    let all = &driver.clients.all;
    let subscribed = all.values().filter(|c| c.subscriptions() > 0).count();
    format!(
        "# Clients\r\nconnected_clients:{}\r\nmaxclients:{}\r\nblocked_clients:0\r\npubsub_clients:{subscribed}\r\n",
        all.len(),
        driver.settings.maxclients
    )
}

fn cpu() -> String {
    let seconds = |t: TimeVal| t.tv_sec() as f64 + t.tv_usec() as f64 / 1e6;
    let mut text = String::from("# CPU\r\n");
    for (who, suffix) in [(UsageWho::RUSAGE_SELF, ""), (UsageWho::RUSAGE_CHILDREN, "_children")] {
        if let Ok(usage) = getrusage(who) {
            text += &format!("used_cpu_sys{suffix}:{:.6}\r\n", seconds(usage.system_time()));
            text += &format!("used_cpu_user{suffix}:{:.6}\r\n", seconds(usage.user_time()));
        }
    }
    text
}

fn stats(driver: &Driver) -> String {
    let all = &driver.clients.all;
    let channels: std::collections::BTreeSet<_> = all.values().flat_map(|c| &c.channels).collect();
    let patterns: std::collections::BTreeSet<_> = all.values().flat_map(|c| &c.patterns).collect();
    format!(
        "# Stats\r\ntotal_connections_received:{}\r\ntotal_commands_processed:{}\r\npubsub_channels:{}\r\n\
         pubsub_patterns:{}\r\n{}",
        driver.clients.connections_received,
        driver.clients.commands_processed,
        channels.len(),
        patterns.len(),
        driver.acl.info(),
    )
}
