//! MEMORY, and the section of INFO that shows the same figures.

use redoubt_wire::resp::reply::Reply;

use super::args::{self, is};
use super::help::{container, help};
use super::info::Lines;
use super::{Cx, Row, table};
use crate::config;
use crate::engine::error::{CommandError, Handled, SYNTAX};
use crate::engine::facts::Memory;
use crate::engine::session::{Class, Session};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::MEMORY, container),
    (&table::MEMORY_DOCTOR, doctor),
    (&table::MEMORY_HELP, |_, args, reply| help(args, HELP, reply)),
    (&table::MEMORY_PURGE, purge),
    (&table::MEMORY_STATS, stats),
    (&table::MEMORY_USAGE, usage),
];

const HELP: &[&str] = &[
    "DOCTOR",
    "    Look at the figures and say what is unusual about them.",
    "PURGE",
    "    Give unused pages back to the system.",
    "STATS",
    "    Show where the memory goes.",
    "USAGE <key> [SAMPLES <count>]",
    "    Estimate the bytes that a key and its value take, judging a collection by so many of",
    "    its parts (5 by default, 0 for all).",
];

/// Below this a node is too empty for its ratios to mean anything.
const MEANINGFUL_BYTES: usize = 5 << 20;

/// Where the memory goes, in bytes.
#[derive(Debug)]
struct Breakdown {
    memory: Memory,
    /// What is held for the stream, within `repl-backlog-size`.
    backlog: usize,
    /// Connections of replicas, and what is held for the stream beyond that.
    replicas: usize,
    normal: usize,
    /// By database: the table's own memory.
    tables: Vec<usize>,
    keys: usize,
}

impl Breakdown {
    fn new(cx: &Cx<'_>) -> Breakdown {
        let of = |class: Class| {
            let sessions = cx.sessions();
            let sizes = sessions
                .iter()
                .filter(|s| s.class == class)
                .map(|s| size_of::<Session>() + s.buffers.input + s.buffers.input_free + s.buffers.output);
            sizes.sum()
        };
        let keyspace = &cx.engine.keyspace;
        let backlog = cx.engine.replication.feed.backlog_info();
        Breakdown {
            memory: (cx.engine.facts.memory)(),
            backlog: backlog.memory_bytes.min(backlog.size as usize),
            replicas: of(Class::Replica) + backlog.memory_bytes.saturating_sub(backlog.size as usize),
            normal: of(Class::Normal),
            tables: (0..keyspace.databases()).map(|db| keyspace.table(db).memory_overhead()).collect(),
            keys: keyspace.len(),
        }
    }

    fn overhead(&self) -> usize {
        self.memory.startup + self.backlog + self.replicas + self.normal + self.tables.iter().sum::<usize>()
    }

    fn dataset(&self) -> usize {
        self.memory.used.saturating_sub(self.overhead())
    }

    fn dataset_percent(&self) -> f64 {
        percent(self.dataset(), self.memory.used.saturating_sub(self.memory.startup))
    }
}

fn percent(part: usize, whole: usize) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 * 100.0 }
}

fn ratio(a: usize, b: usize) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

/// A number of bytes in the unit that suits it, as `1.50M`.
fn human(bytes: usize) -> String {
    const UNITS: [char; 5] = ['K', 'M', 'G', 'T', 'P'];
    if bytes < 1024 {
        return format!("{bytes}B");
    }
    let unit = (bytes.ilog2() as usize / 10).min(UNITS.len());
    format!("{:.2}{}", bytes as f64 / (1u64 << (10 * unit)) as f64, UNITS[unit - 1])
}

/// The lines of INFO memory.
pub(super) fn info_section(cx: &Cx<'_>, out: &mut Lines) {
    let b = Breakdown::new(cx);
    let m = &b.memory;
    let maxmemory = cx.engine.config.maxmemory;
    let policy = config::row(b"maxmemory-policy").map_or(Vec::new(), |row| row.show(&cx.engine.config));
    let policy = String::from_utf8_lossy(&policy);
    out.fields(&[
        ("used_memory", &m.used),
        ("used_memory_human", &human(m.used)),
        ("used_memory_rss", &m.rss),
        ("used_memory_rss_human", &human(m.rss)),
        ("used_memory_peak", &m.peak.max(m.used)),
        ("used_memory_peak_human", &human(m.peak.max(m.used))),
        ("used_memory_peak_perc", &format_args!("{:.2}%", percent(m.used, m.peak.max(m.used)))),
        ("used_memory_overhead", &b.overhead()),
        ("used_memory_startup", &m.startup),
        ("used_memory_dataset", &b.dataset()),
        ("used_memory_dataset_perc", &format_args!("{:.2}%", b.dataset_percent())),
        ("allocator_allocated", &m.allocated),
        ("allocator_active", &m.active),
        ("allocator_resident", &m.resident),
        ("total_system_memory", &m.system),
        ("total_system_memory_human", &human(m.system)),
        ("used_memory_lua", &0),
        ("used_memory_vm_eval", &0),
        ("used_memory_lua_human", &human(0)),
        ("used_memory_scripts_eval", &0),
        ("number_of_cached_scripts", &0),
        ("number_of_functions", &0),
        ("number_of_libraries", &0),
        ("used_memory_vm_functions", &0),
        ("used_memory_vm_total", &0),
        ("used_memory_vm_total_human", &human(0)),
        ("used_memory_functions", &0),
        ("used_memory_scripts", &0),
        ("used_memory_scripts_human", &human(0)),
        ("maxmemory", &maxmemory),
        ("maxmemory_human", &human(maxmemory as usize)),
        ("maxmemory_policy", &policy),
        ("allocator_frag_ratio", &format_args!("{:.2}", ratio(m.active, m.allocated))),
        ("allocator_frag_bytes", &m.active.saturating_sub(m.allocated)),
        ("allocator_rss_ratio", &format_args!("{:.2}", ratio(m.resident, m.active))),
        ("allocator_rss_bytes", &(m.resident as i64 - m.active as i64)),
        ("rss_overhead_ratio", &format_args!("{:.2}", ratio(m.rss, m.resident))),
        ("rss_overhead_bytes", &(m.rss as i64 - m.resident as i64)),
        ("mem_fragmentation_ratio", &format_args!("{:.2}", ratio(m.rss, m.used))),
        ("mem_fragmentation_bytes", &(m.rss as i64 - m.used as i64)),
        ("mem_not_counted_for_evict", &0),
        ("mem_replication_backlog", &b.backlog),
        ("mem_total_replication_buffers", &cx.engine.replication.feed.backlog_info().memory_bytes),
        ("mem_clients_slaves", &b.replicas),
        ("mem_clients_normal", &b.normal),
        ("mem_cluster_links", &0),
        ("mem_aof_buffer", &0),
        ("mem_allocator", &"jemalloc"),
        ("active_defrag_running", &0),
        ("lazyfree_pending_objects", &0),
        ("lazyfreed_objects", &0),
    ]);
}

/// MEMORY USAGE key [SAMPLES count].
fn usage(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let mut samples = 5;
    let (pairs, []) = args[3..].as_chunks::<2>() else { return Err(SYNTAX) };
    for [option, count] in pairs {
        let count = args::int(count).ok().filter(|_| is(option, "samples")).ok_or(SYNTAX)?;
        samples = usize::try_from(count).map_err(|_| SYNTAX)?;
    }
    match cx.peek(args[2]).map(|object| object.memory_usage(samples)) {
        Some(bytes) => reply.integer(bytes as i64),
        None => reply.null(),
    }
    Ok(())
}

/// MEMORY STATS.
fn stats(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    let b = Breakdown::new(cx);
    let m = &b.memory;
    let used: Vec<usize> =
        (0..b.tables.len()).filter(|&db| !cx.engine.keyspace.table(db).is_empty()).collect();
    reply.map(27 + used.len());
    let integers = |fields: &[(&str, usize)], reply: &mut Reply| {
        for (name, value) in fields {
            reply.bulk(name.as_bytes());
            reply.integer(*value as i64);
        }
    };
    integers(
        &[
            ("peak.allocated", m.peak.max(m.used)),
            ("total.allocated", m.used),
            ("startup.allocated", m.startup),
            ("replication.backlog", b.backlog),
            ("clients.slaves", b.replicas),
            ("clients.normal", b.normal),
            ("cluster.links", 0),
            ("aof.buffer", 0),
            ("lua.caches", 0),
            ("functions.caches", 0),
        ],
        reply,
    );
    for db in used {
        reply.bulk(format!("db.{db}").as_bytes());
        reply.map(3);
        // The time of expiry stands in the object, so that there is no second table.
        integers(
            &[
                ("overhead.hashtable.main", b.tables[db]),
                ("overhead.hashtable.expires", 0),
                ("overhead.hashtable.slot-to-keys", 0),
            ],
            reply,
        );
    }
    let bytes_per_key = m.used.saturating_sub(m.startup).checked_div(b.keys).unwrap_or(0);
    integers(
        &[
            ("overhead.total", b.overhead()),
            ("keys.count", b.keys),
            ("keys.bytes-per-key", bytes_per_key),
            ("dataset.bytes", b.dataset()),
        ],
        reply,
    );
    let double = |name: &str, value: f64, reply: &mut Reply| {
        reply.bulk(name.as_bytes());
        reply.double(value);
    };
    double("dataset.percentage", b.dataset_percent(), reply);
    double("peak.percentage", percent(m.used, m.peak.max(m.used)), reply);
    integers(
        &[
            ("allocator.allocated", m.allocated),
            ("allocator.active", m.active),
            ("allocator.resident", m.resident),
        ],
        reply,
    );
    double("allocator-fragmentation.ratio", ratio(m.active, m.allocated), reply);
    integers(&[("allocator-fragmentation.bytes", m.active.saturating_sub(m.allocated))], reply);
    double("allocator-rss.ratio", ratio(m.resident, m.active), reply);
    integers(&[("allocator-rss.bytes", m.resident.saturating_sub(m.active))], reply);
    double("rss-overhead.ratio", ratio(m.rss, m.resident), reply);
    integers(&[("rss-overhead.bytes", m.rss.saturating_sub(m.resident))], reply);
    double("fragmentation", ratio(m.rss, m.used), reply);
    integers(&[("fragmentation.bytes", m.rss.saturating_sub(m.used))], reply);
    Ok(())
}

/// MEMORY DOCTOR.
fn doctor(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    let b = Breakdown::new(cx);
    let m = &b.memory;
    let mut findings = Vec::new();
    if m.used < MEANINGFUL_BYTES {
        findings.push("This node is nearly empty: its ratios mean nothing yet.".to_string());
    } else {
        if m.peak > m.used / 2 * 3 {
            findings.push(format!(
                "At its peak this node held {}, far more than now, and fragmentation is judged against less.",
                human(m.peak)
            ));
        }
        if ratio(m.rss, m.used) > 1.4 {
            findings.push(format!(
                "The system counts {} for {} of data: memory is fragmented, or freed pages have not gone back yet (MEMORY PURGE).",
                human(m.rss),
                human(m.used)
            ));
        }
        if b.normal > m.used / 5 {
            findings.push(format!("Clients' buffers hold {}: look at CLIENT LIST.", human(b.normal)));
        }
        if findings.is_empty() {
            findings.push("No figure is unusual.".to_string());
        }
    }
    reply.verbatim("txt", findings.join("\n").as_bytes());
    Ok(())
}

/// MEMORY PURGE.
fn purge(_cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    crate::memory::purge().map_err(|_| CommandError::new("ERR Error purging dirty pages"))?;
    reply.ok();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::Harness;

    #[test]
    fn bytes_for_people() {
        assert_eq!(human(1023), "1023B");
        assert_eq!(human(1024), "1.00K");
        assert_eq!(human(3 << 19), "1.50M");
        assert_eq!(human(usize::MAX), "16384.00P");
    }

    #[test]
    fn the_map_of_stats_has_as_many_pairs_as_it_says() {
        let mut h = Harness::new();
        h.run("SET k v");
        let reply = h.run("MEMORY STATS");
        let (value, len) = redoubt_wire::resp::value::decode(reply.as_bytes()).unwrap().unwrap();
        assert_eq!(len, reply.len());
        assert_eq!(value.as_slice().unwrap().len(), 56);
    }

    #[test]
    fn usage_of_a_key() {
        let mut h = Harness::new();
        assert_eq!(h.run("MEMORY USAGE k"), "$-1\r\n");
        h.run("SET k v");
        assert_ne!(h.run("MEMORY USAGE k SAMPLES 0"), ":0\r\n");
        assert_eq!(h.run("MEMORY USAGE k SAMPLES -1"), "-ERR syntax error\r\n");
        assert_eq!(h.run("MEMORY USAGE k FOO"), "-ERR syntax error\r\n");
    }
}
