//! What the kernel knows of a server: its processor time and its resident memory.

use std::fs;

use crate::error::{LabError, Result};

/// Processor time of all threads of `pid` since its start, in nanoseconds.
///
/// `schedstat` counts nanoseconds where `stat` counts ticks of 10 ms; a kernel without it gets the
/// coarse figure.
pub fn cpu_time_ns(pid: u32) -> Result<u64> {
    let tasks = format!("/proc/{pid}/task");
    let entries = fs::read_dir(&tasks).map_err(LabError::io(format!("cannot list {tasks}")))?;
    let mut total = 0;
    for entry in entries {
        let path = entry.map_err(LabError::io(format!("cannot list {tasks}")))?.path().join("schedstat");
        // A thread may end between the listing and the reading; the kernel then drops its time.
        let Ok(text) = fs::read_to_string(path) else { continue };
        total += text.split_whitespace().next().and_then(|ns| ns.parse::<u64>().ok()).unwrap_or(0);
    }
    if total > 0 { Ok(total) } else { cpu_ticks_ns(pid) }
}

fn cpu_ticks_ns(pid: u32) -> Result<u64> {
    const TICK_NS: u64 = 10_000_000;
    let path = format!("/proc/{pid}/stat");
    let text = fs::read_to_string(&path).map_err(LabError::io(format!("cannot read {path}")))?;
    // The second field is the name in parentheses and may hold spaces; utime and stime are 14 and 15.
    let ticks = text.rsplit_once(')').map(|(_, rest)| {
        rest.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>()
    });
    ticks
        .map(|ticks| ticks * TICK_NS)
        .ok_or_else(|| LabError::Other(format!("{path} is not what the kernel documents: {text}")))
}

/// Resident memory of `pid` in bytes.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let text = fs::read_to_string(&path).map_err(LabError::io(format!("cannot read {path}")))?;
    text.lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok())
        .map(|kib| kib * 1024)
        .ok_or_else(|| LabError::Other(format!("{path} has no VmRSS line")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_time_grows_as_we_work() {
        let pid = std::process::id();
        let before = cpu_time_ns(pid).unwrap();
        let mut x = 1u64;
        while cpu_time_ns(pid).unwrap() - before < 20_000_000 {
            x = std::hint::black_box(x.wrapping_mul(31));
        }
        assert!(cpu_ticks_ns(pid).unwrap() >= 10_000_000);
    }

    #[test]
    fn we_are_resident() {
        assert!(resident_bytes(std::process::id()).unwrap() > 100_000);
    }
}
