//! Counters for INFO: what happened since the start or the last CONFIG RESETSTAT.

use std::collections::BTreeMap;

/// One command's figures.
#[derive(Clone, Copy, Debug, Default)]
pub struct CommandStats {
    /// Completed calls, failed ones included.
    pub calls: u64,
    /// Time spent, in ns.
    pub ns: u64,
    /// Refused before they ran.
    pub rejected: u64,
    /// Ran and answered with an error.
    pub failed: u64,
}

/// All counters.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Commands executed.
    pub commands: u64,
    /// Connections accepted.
    pub connections_received: u64,
    /// Connections refused (maxclients, protected mode).
    pub connections_rejected: u64,
    /// Reads that found their key.
    pub keyspace_hits: u64,
    /// Reads that did not.
    pub keyspace_misses: u64,
    /// Keys deleted since their time was over.
    pub expired_keys: u64,
    /// Keys evicted for `maxmemory`.
    pub evicted_keys: u64,
    /// Active expiry cycles that ended by their time limit.
    pub expire_cycles_capped: u64,
    /// The active cycle's estimate of keys past their time that still take memory, in percent.
    pub expired_stale_percent: f64,
    /// Changes since the last save.
    pub dirty: u64,
    /// Bytes read from clients.
    pub net_input_bytes: u64,
    /// Bytes written to clients.
    pub net_output_bytes: u64,
    /// Bytes received from the master.
    pub net_repl_input_bytes: u64,
    /// Bytes sent to replicas.
    pub net_repl_output_bytes: u64,
    /// Error replies.
    pub error_replies: u64,
    /// Error replies by their code.
    pub errors: BTreeMap<String, u64>,
    /// By the row's index.
    pub by_command: Vec<CommandStats>,
}

impl Stats {
    /// All zero, for a table of `commands` rows.
    pub fn new(commands: usize) -> Self {
        Stats { by_command: vec![CommandStats::default(); commands], ..Default::default() }
    }

    /// CONFIG RESETSTAT: all zero but what is no statistic.
    pub fn reset(&mut self) {
        *self = Stats { dirty: self.dirty, ..Stats::new(self.by_command.len()) };
    }

    /// Counts an error reply with this text.
    pub fn count_error(&mut self, code: &str) {
        /// More different codes than this are an attack or a bug, not a statistic.
        const CODES: usize = 128;
        self.error_replies += 1;
        if let Some(n) = self.errors.get_mut(code) {
            *n += 1;
        } else if self.errors.len() < CODES {
            self.errors.insert(code.to_string(), 1);
        }
    }
}
