//! Tells the engine what it does not know by itself: the process, its memory and processor
//! time, its saves.

use std::path::Path;
use std::sync::OnceLock;

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use nix::unistd::{SysconfVar, sysconf};

use super::clock;
use super::shared::Core;
use crate::engine::facts::{Cpu, Memory, Process};
use crate::memory;
use crate::replication::lineage::ReplId;

/// `used_memory` of the empty node.
static STARTUP_BYTES: OnceLock<usize> = OnceLock::new();

impl Core {
    /// Tells what does not change, and puts the readers of the rest in. Once, at the start, while
    /// the dataset is empty.
    pub fn introduce(&mut self, config_file: Option<&Path>) {
        let facts = &mut self.engine.facts;
        facts.process = process(config_file);
        facts.memory = read_memory;
        facts.cpu = read_cpu;
        STARTUP_BYTES.get_or_init(memory::used);
        self.tell_saves();
    }

    /// Tells how saves stand.
    pub fn tell_saves(&mut self) {
        let facts = &mut self.engine.facts.persistence;
        facts.last_save_ms = self.saving.last_good_ms;
        facts.bgsave_since_ms = self.saving.since_ms;
        facts.last_bgsave_secs = u64::try_from(self.saving.last_secs).ok();
        facts.saves = self.saving.saves;
    }
}

fn process(config_file: Option<&Path>) -> Process {
    let text = |path: &str| std::fs::read_to_string(path).map_or(String::new(), |t| t.trim().to_string());
    let (kernel, release) = (text("/proc/sys/kernel/ostype"), text("/proc/sys/kernel/osrelease"));
    Process {
        pid: std::process::id(),
        run_id: ReplId::random(&mut rand::rng()).to_string(),
        os: format!("{kernel} {release} {}", std::env::consts::ARCH),
        started_ms: clock::unix_ms(),
        executable: std::env::current_exe().map_or(String::new(), |path| path.display().to_string()),
        config_file: config_file.map_or(String::new(), |path| path.display().to_string()),
        ..Process::default()
    }
}

fn read_memory() -> Memory {
    let allocator = memory::allocator_figures().unwrap_or_default();
    let used = memory::used();
    Memory {
        used,
        peak: memory::peak(),
        startup: *STARTUP_BYTES.get_or_init(|| used),
        rss: resident_bytes().unwrap_or(allocator.resident),
        allocated: allocator.allocated,
        active: allocator.active,
        resident: allocator.resident,
        system: system_bytes(),
    }
}

fn page_bytes() -> Option<usize> {
    sysconf(SysconfVar::PAGE_SIZE).ok().flatten().and_then(|n| usize::try_from(n).ok())
}

/// Bytes of this process in physical memory, as the kernel counts them.
fn resident_bytes() -> Option<usize> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: usize = statm.split_whitespace().nth(1)?.parse().ok()?;
    Some(pages * page_bytes()?)
}

/// Bytes of memory that the machine has.
fn system_bytes() -> usize {
    let pages = sysconf(SysconfVar::_PHYS_PAGES).ok().flatten().and_then(|n| usize::try_from(n).ok());
    pages.zip(page_bytes()).map_or(0, |(pages, bytes)| pages * bytes)
}

fn read_cpu() -> Cpu {
    let of = |who| getrusage(who).ok();
    let system = |usage: Option<Usage>| usage.map_or(0, |u| u.system_time().num_microseconds() as u64);
    let user = |usage: Option<Usage>| usage.map_or(0, |u| u.user_time().num_microseconds() as u64);
    let (own, children, thread) =
        (of(UsageWho::RUSAGE_SELF), of(UsageWho::RUSAGE_CHILDREN), of(UsageWho::RUSAGE_THREAD));
    Cpu {
        system_us: system(own),
        user_us: user(own),
        children_system_us: system(children),
        children_user_us: user(children),
        thread_system_us: system(thread),
        thread_user_us: user(thread),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_this_process() {
        let memory = read_memory();
        assert!(memory.rss > 0 && memory.rss < memory.system, "{memory:?}");
        let cpu = read_cpu();
        assert!(cpu.user_us + cpu.system_us > 0, "{cpu:?}");
        let process = process(None);
        assert_eq!(process.run_id.len(), 40);
        assert!(process.os.starts_with("Linux "), "{}", process.os);
    }
}
