//! What the keyspace costs: time and memory a key, and the longest single operation while a table grows and
//! shrinks, by the thread's own CPU clock, so that other processes do not count.
//!
//! `cargo run --release -p redoubt-node --example table_bench -- [keys …]`

use std::hint::black_box;
use std::time::Instant;

use ahash::RandomState;
use nix::sys::resource::{UsageWho, getrusage};
use nix::time::{ClockId, clock_gettime};
use redoubt_node::engine::keyspace::object::Object;
use redoubt_node::engine::keyspace::table::Table;
use redoubt_node::memory;

#[global_allocator]
static ALLOCATOR: memory::CountingAllocator = memory::CountingAllocator;

const VALUE: &[u8] = b"value:0000000000";

fn cpu_ns() -> u64 {
    let t = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has a CPU clock for each thread");
    t.tv_sec() as u64 * 1_000_000_000 + t.tv_nsec() as u64
}

/// The 15-byte key numbered `n`, in an order that does not follow the allocator's.
fn key(n: usize, keys: usize) -> [u8; 15] {
    let mut mixed = (n % keys * 0x9e37_79b1 + 7) % keys;
    let mut key = *b"key:00000000000";
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (mixed % 10) as u8;
        mixed /= 10;
    }
    key
}

fn per_op(label: &str, keys: usize, mut op: impl FnMut(usize)) {
    let start = Instant::now();
    (0..keys).for_each(&mut op);
    println!("  {label:<34} {:>7.1} ns", start.elapsed().as_nanos() as f64 / keys as f64);
}

/// One operation that took long: how long, and what the kernel did to the thread meanwhile.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Slow {
    ns: u64,
    page_faults: i64,
    preempted: i64,
}

fn kernel_events() -> (i64, i64) {
    let usage = getrusage(UsageWho::RUSAGE_THREAD).expect("Linux counts a thread's usage");
    (usage.minor_page_faults(), usage.involuntary_context_switches())
}

/// Runs `op` for each number, and tells the longest ones.
fn longest(label: &str, keys: usize, mut op: impl FnMut(usize)) {
    let mut slowest = [Slow::default(); 6];
    let mut events = kernel_events();
    for n in 0..keys {
        let before = cpu_ns();
        op(n);
        let ns = cpu_ns() - before;
        let now = kernel_events();
        let slow = Slow { ns, page_faults: now.0 - events.0, preempted: now.1 - events.1 };
        events = now;
        if slow > slowest[0] {
            slowest[0] = slow;
            slowest.sort_unstable();
        }
    }
    println!("  longest {label}:");
    for Slow { ns, page_faults, preempted } in slowest.iter().rev() {
        let us = *ns as f64 / 1000.0;
        println!("    {us:>8.1} µs, {page_faults} page faults, preempted {preempted} times");
    }
}

fn insert(table: &mut Table, key: &[u8]) {
    let hash = table.hash(key);
    table.insert(hash, Object::new_string(key, VALUE, None));
}

fn run(keys: usize) {
    println!("{keys} keys");
    let new = || Table::new(RandomState::with_seeds(1, 2, 3, 4));
    let before = memory::used();
    let mut table = new();
    per_op("insert, growing", keys, |n| insert(&mut table, &key(n, keys)));
    let used = memory::used() - before;
    println!("  bytes a key in all                 {:>7.2}", used as f64 / keys as f64);
    println!("  bytes a key of the table           {:>7.2}", table.memory_overhead() as f64 / keys as f64);
    let stats = table.stats();
    println!(
        "  buckets {}, children {}, objects a bucket {:?}",
        stats.buckets, stats.children, stats.objects_per_bucket
    );
    let order = |n: usize| key(n.wrapping_mul(7919), keys);
    per_op("make a key and hash it", keys, |n| {
        black_box(table.hash(&order(n)));
    });
    per_op("find", keys, |n| {
        let key = order(n);
        black_box(table.find(table.hash(&key), &key).expect("the key is there").value());
    });
    per_op("find, 16 prefetched, a key", keys, |n| {
        if n % 16 != 0 {
            return;
        }
        let keys: [_; 16] = std::array::from_fn(|i| order(n + i));
        let hashes: [_; 16] = std::array::from_fn(|i| table.hash(&keys[i]));
        table.prefetch_objects(&hashes);
        for (key, &hash) in keys.iter().zip(&hashes) {
            black_box(table.find(hash, key).expect("the key is there").value());
        }
    });
    per_op("find what is not there", keys, |n| {
        let mut key = order(n);
        key[0] = b'x';
        assert!(table.find(table.hash(&key), &key).is_none());
    });
    per_op("overwrite", keys, |n| {
        let key = order(n);
        let hash = table.hash(&key);
        table.update(hash, &key, |o| o.set_string(b"value:1111111111")).expect("the key is there");
    });
    per_op("remove, shrinking", keys, |n| {
        let key = order(n);
        black_box(table.remove(table.hash(&key), &key).expect("the key is there"));
    });
    longest("nothing but a hash, for comparison", keys, |n| {
        black_box(table.hash(&order(n)));
    });
    let mut table = new();
    longest("insert", keys, |n| insert(&mut table, &key(n, keys)));
    longest("remove", keys, |n| {
        let key = order(n);
        black_box(table.remove(table.hash(&key), &key).expect("the key is there"));
    });
    (0..keys).for_each(|n| insert(&mut table, &key(n, keys)));
    let buckets = table.stats().buckets;
    longest("free_some(64)", buckets / 64, |_| {
        table.free_some(64);
    });
}

fn main() {
    memory::set_background_purging(true).expect("jemalloc can start a thread");
    let sizes: Vec<usize> = std::env::args().skip(1).map(|n| n.parse().expect("a number of keys")).collect();
    let sizes = if sizes.is_empty() { vec![1_000_000, 10_000_000] } else { sizes };
    sizes.into_iter().for_each(run);
}
