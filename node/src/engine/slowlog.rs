//! The slow log: the last commands that took longer than `slowlog-log-slower-than`.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Engine;
use super::commands::Command;
use super::commands::spec::Flags;
use super::redact;
use super::session::Session;

/// Arguments kept of one command; of more, the last one kept says how many.
const ARGS: usize = 32;
/// Bytes kept of one argument.
const ARG_BYTES: usize = 128;

/// A slow command.
#[derive(Clone, Debug)]
pub struct Entry {
    /// Its number, which grows as long as the process lives.
    pub id: u64,
    /// Unix time in seconds.
    pub time_secs: i64,
    /// How long it took, in µs.
    pub us: u64,
    /// The command, shortened and without secrets.
    pub args: Vec<Vec<u8>>,
    /// The client's address.
    pub addr: Arc<str>,
    /// The client's name.
    pub name: Arc<[u8]>,
}

/// The entries, the latest first.
#[derive(Debug, Default)]
pub struct SlowLog {
    entries: VecDeque<Entry>,
    next_id: u64,
}

impl SlowLog {
    /// The entries, the latest first.
    pub fn entries(&self) -> impl ExactSizeIterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Forgets all entries; numbers go on.
    pub fn reset(&mut self) {
        self.entries.clear();
    }

    /// Keeps no more than `limit` entries.
    pub fn trim(&mut self, limit: usize) {
        self.entries.truncate(limit);
    }
}

/// The arguments as they are kept.
fn shortened(args: &[&[u8]]) -> Vec<Vec<u8>> {
    let whole = if args.len() > ARGS { ARGS - 1 } else { args.len() };
    let mut kept: Vec<Vec<u8>> = args[..whole]
        .iter()
        .map(|arg| match arg.split_at_checked(ARG_BYTES) {
            Some((head, rest)) if !rest.is_empty() => {
                [head, format!("... ({} more bytes)", rest.len()).as_bytes()].concat()
            }
            _ => arg.to_vec(),
        })
        .collect();
    if whole < args.len() {
        kept.push(format!("... ({} more arguments)", args.len() - whole).into_bytes());
    }
    kept
}

impl Engine {
    /// Enters a command that took `us` µs, if that is slow.
    pub(super) fn log_if_slow(&mut self, session: &Session, command: &Command, args: &[&[u8]], us: u64) {
        let threshold = self.config.slowlog_log_slower_than_us;
        if threshold < 0 || us < threshold as u64 || command.has(Flags::SKIP_SLOWLOG) {
            return;
        }
        let log = &mut self.slowlog;
        log.entries.push_front(Entry {
            id: log.next_id,
            time_secs: self.now_ms / 1000,
            us,
            args: shortened(&redact::shown(command, args)),
            addr: session.addr.clone(),
            name: session.name.clone(),
        });
        log.next_id += 1;
        log.trim(self.config.slowlog_max_len as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_commands_are_shortened() {
        let long = vec![b'x'; 130];
        let mut args: Vec<&[u8]> = vec![b"SADD"; 33];
        args[1] = &long;
        let kept = shortened(&args);
        assert_eq!(kept.len(), 32);
        assert_eq!(kept[1], [&long[..128], b"... (2 more bytes)"].concat());
        assert_eq!(kept[31], b"... (2 more arguments)");
        assert_eq!(shortened(&args[..32]).len(), 32);
        assert_eq!(shortened(&[&long[..128]])[0].len(), 128);
    }
}
