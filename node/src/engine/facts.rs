//! What INFO tells that the engine does not know by itself: the process, its memory, its files,
//! its links to other nodes.
//!
//! The driver keeps these values up to date: at its timer where the age of a value does not
//! matter, and at the event where it does. Figures of memory and processor time are read at
//! the moment they are asked for, by functions that the driver puts in.

/// The version of Redis whose behaviour this node has, as clients look it up.
pub use redoubt_wire::REDIS_VERSION;
/// This program's own version.
pub const REDOUBT_VERSION: &str = env!("CARGO_PKG_VERSION");

/// All of it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The process.
    pub process: Process,
    /// Reads the memory figures of now.
    pub memory: fn() -> Memory,
    /// Reads the processor time of now.
    pub cpu: fn() -> Cpu,
    /// Traffic of late.
    pub rates: Rates,
    /// Snapshots and loading.
    pub persistence: Persistence,
}

impl Default for Facts {
    fn default() -> Self {
        Facts {
            process: Process::default(),
            memory: Memory::default,
            cpu: Cpu::default,
            rates: Rates::default(),
            persistence: Persistence::default(),
        }
    }
}

/// The process, as it was started.
#[derive(Clone, Debug, Default)]
pub struct Process {
    /// Its id.
    pub pid: u32,
    /// 40 random hexadecimal digits: tells one run of a node from the next.
    pub run_id: String,
    /// Kernel name, release and machine.
    pub os: String,
    /// Unix time of the start, in ms.
    pub started_ms: i64,
    /// Path of the program.
    pub executable: String,
    /// Path of the configuration file; empty for none.
    pub config_file: String,
    /// Addresses listened on, each as INFO shows it after `listenerN:`.
    pub listeners: Vec<String>,
    /// Who supervises it, as INFO shows it.
    pub supervisor: &'static str,
    /// A shutdown that was asked for and is not over.
    pub shutdown: Option<ShutdownPhase>,
    /// The last shutdown failed, since the dataset could not be saved; nor has it been since.
    pub cannot_exit: bool,
}

/// How far a shutdown has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShutdownPhase {
    /// It was asked for.
    Requested,
    /// It waits for replicas, until this Unix time in ms.
    WaitsUntil(i64),
    /// It saves, and ends then.
    Saves,
}

/// Memory, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// Allocated by the program.
    pub used: usize,
    /// The most that `used` has been.
    pub peak: usize,
    /// `used` when the node was started and still empty.
    pub startup: usize,
    /// In physical memory.
    pub rss: usize,
    /// The allocator's count of what it has handed out.
    pub allocated: usize,
    /// In pages of which a part is handed out.
    pub active: usize,
    /// In physical memory by the allocator's count.
    pub resident: usize,
    /// The machine's memory.
    pub system: usize,
}

/// Processor time, in µs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cpu {
    /// In the kernel.
    pub system_us: u64,
    /// In the program.
    pub user_us: u64,
    /// Of ended children, in the kernel.
    pub children_system_us: u64,
    /// Of ended children, in the program.
    pub children_user_us: u64,
    /// Of the thread that asks, in the kernel.
    pub thread_system_us: u64,
    /// Of the thread that asks, in the program.
    pub thread_user_us: u64,
}

/// Traffic over the last seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Rates {
    /// Commands a second.
    pub ops: u64,
    /// KiB a second from clients.
    pub input_kib: f64,
    /// KiB a second to clients.
    pub output_kib: f64,
    /// KiB a second from the master.
    pub repl_input_kib: f64,
    /// KiB a second to replicas.
    pub repl_output_kib: f64,
}

/// Snapshots and loading.
#[derive(Clone, Debug, Default)]
pub struct Persistence {
    /// Unix time of the last successful save (or the start), in ms.
    pub last_save_ms: i64,
    /// Unix time at which the background save that runs began, in ms.
    pub bgsave_since_ms: Option<i64>,
    /// Keys it has written, and keys there were when it began.
    pub bgsave_keys: (u64, u64),
    /// How long the last background save took, in s.
    pub last_bgsave_secs: Option<u64>,
    /// Successful saves since the start.
    pub saves: u64,
    /// Keys that the last load read.
    pub keys_loaded: u64,
    /// Keys that it left out as their time was over.
    pub keys_expired: u64,
    /// A load under way.
    pub loading: Option<LoadProgress>,
}

/// A load under way.
#[derive(Clone, Copy, Debug, Default)]
pub struct LoadProgress {
    /// Unix time of its start, in ms.
    pub since_ms: i64,
    /// Bytes to read.
    pub total_bytes: u64,
    /// Bytes read.
    pub loaded_bytes: u64,
    /// `used_memory` of the node that wrote the file, as the file says; 0 if it does not.
    pub rdb_used_mem: u64,
}
