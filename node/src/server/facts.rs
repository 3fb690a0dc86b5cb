//! What INFO tells of the process: read from the system here, put into the engine's facts.

use std::path::Path;
use std::sync::OnceLock;

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;

use redoubt_wire::rates::RateMeter;

use super::shared::Core;
use crate::engine::facts::{Cpu, Memory, Process};
use crate::memory;

/// Memory in use before the first client came.
static STARTUP_USED: OnceLock<usize> = OnceLock::new();

/// The process as it was started; `listeners` and `supervisor` as INFO shows them.
pub fn process(
    config_file: Option<&Path>,
    listeners: Vec<String>,
    supervisor: &'static str,
    now_ms: i64,
) -> Process {
    let os = nix::sys::utsname::uname().map_or_else(
        |_| "Linux".to_string(),
        |u| {
            let part = |s: &std::ffi::OsStr| s.to_string_lossy().into_owned();
            format!("{} {} {}", part(u.sysname()), part(u.release()), part(u.machine()))
        },
    );
    let _ = STARTUP_USED.set(memory::used());
    let run_id: String =
        (0..40).map(|_| char::from(b"0123456789abcdef"[rand::random_range(0..16)])).collect();
    Process {
        pid: std::process::id(),
        run_id,
        os,
        started_ms: now_ms,
        executable: std::env::current_exe().map_or(String::new(), |p| p.display().to_string()),
        config_file: config_file.map_or(String::new(), |p| p.display().to_string()),
        listeners,
        supervisor,
        shutdown: None,
        cannot_exit: false,
    }
}

/// The memory figures of now.
pub fn memory_now() -> Memory {
    let page = page_size();
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let rss = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * page;
    let figures = memory::allocator_figures().unwrap_or_default();
    let total_kib = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        text.lines()
            .find_map(|l| l.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse::<usize>().ok())
    });
    memory::flush();
    let used = memory::used();
    Memory {
        used,
        peak: memory::peak().max(used),
        startup: STARTUP_USED.get().copied().unwrap_or(0),
        rss,
        allocated: figures.allocated,
        active: figures.active,
        resident: figures.resident,
        system: total_kib.unwrap_or(0) * 1024,
    }
}

fn page_size() -> usize {
    nix::unistd::sysconf(nix::unistd::SysconfVar::PAGE_SIZE).ok().flatten().map_or(4096, |n| n as usize)
}

/// The processor time of now.
pub fn cpu_now() -> Cpu {
    let us = |t: TimeVal| (t.tv_sec() * 1_000_000 + t.tv_usec()).max(0) as u64;
    let read = |who| getrusage(who).map_or((0, 0), |u| (us(u.system_time()), us(u.user_time())));
    let (system_us, user_us) = read(UsageWho::RUSAGE_SELF);
    let (children_system_us, children_user_us) = read(UsageWho::RUSAGE_CHILDREN);
    let (thread_system_us, thread_user_us) = read(UsageWho::RUSAGE_THREAD);
    Cpu { system_us, user_us, children_system_us, children_user_us, thread_system_us, thread_user_us }
}

/// Turns the engine's running totals into rates.
#[derive(Debug, Default)]
pub struct EngineRates(RateMeter<5>);

impl EngineRates {
    /// Takes a sample at `now_ms` (monotonic) and refreshes the rates that INFO shows.
    pub fn sample(&mut self, core: &mut Core, now_ms: u64) {
        let stats = &core.engine.stats;
        let totals = [
            stats.commands,
            stats.net_input_bytes,
            stats.net_output_bytes,
            stats.net_repl_input_bytes,
            stats.net_repl_output_bytes,
        ];
        self.0.sample(totals, now_ms);
        let kib = |i: usize| self.0.mean(i) / 1024.0;
        let rates = &mut core.engine.facts.rates;
        rates.ops = self.0.mean(0) as u64;
        rates.input_kib = kib(1);
        rates.output_kib = kib(2);
        rates.repl_input_kib = kib(3);
        rates.repl_output_kib = kib(4);
    }
}
