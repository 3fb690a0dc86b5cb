//! `maxmemory`: before a command that may take memory runs, keys are evicted until there is
//! room, by the policy that the directive names.
//!
//! The best of a small sample is evicted, again and again: an approximation of LRU, LFU and
//! TTL order that costs no memory a key. Source of the policies: "Key eviction" in Redis's
//! documentation. An eviction is a change like any other: event `evicted`, effect DEL.

use rand::RngCore;

use super::Engine;
use super::keyspace::object::Object;
use super::load::Loading;
use super::lru::lfu_decayed;
use crate::config::{KeyspaceEvents, MaxmemoryPolicy};

/// Buckets looked at for one sample of keys with an expiry.
const SAMPLE_BUCKETS: usize = 16;
/// Keys evicted before one command at most: what is still too much goes before the next ones.
const EVICTIONS_PER_COMMAND: usize = 128;

impl Engine {
    /// Evicts until memory is below `maxmemory`. Returns whether a command that takes more may
    /// run.
    pub(super) fn make_room(&mut self) -> bool {
        let limit = self.config.maxmemory as usize;
        if limit == 0 || self.applying || self.loading == Loading::Exclusive || self.writes_paused() {
            return true;
        }
        if !self.is_master() && self.config.replica_ignore_maxmemory {
            return true;
        }
        for _ in 0..EVICTIONS_PER_COMMAND {
            if (self.memory_used)() <= limit {
                return true;
            }
            if !self.evict_one() {
                return false;
            }
        }
        // Enough was done for one command; the next goes on from here.
        true
    }

    /// Evicts the best key of a sample; false if the policy finds none.
    fn evict_one(&mut self) -> bool {
        let policy = self.config.maxmemory_policy;
        if policy == MaxmemoryPolicy::NoEviction || !self.may_expire() {
            return false;
        }
        let mut best: Option<(u64, usize, Vec<u8>)> = None;
        for db in 0..self.keyspace.databases() {
            for (score, key) in self.sample(db, policy) {
                if best.as_ref().is_none_or(|(top, _, _)| score > *top) {
                    best = Some((score, db, key));
                }
            }
        }
        let Some((_, db, key)) = best else { return false };
        if let Some(object) = self.keyspace.remove(db, &key) {
            // It is freed here and now, since the point is to have the memory back.
            drop(object);
            self.stats.evicted_keys += 1;
            self.commit(db, &key, KeyspaceEvents::EVICTED, "evicted");
            let verb: &[u8] = if self.config.lazyfree_lazy_eviction { b"UNLINK" } else { b"DEL" };
            self.effect(db, &[verb, &key]);
            self.effects.end_unit();
        }
        true
    }

    /// Some keys of `db` with how fit they are to be evicted; more is fitter.
    fn sample(&mut self, db: usize, policy: MaxmemoryPolicy) -> Vec<(u64, Vec<u8>)> {
        use MaxmemoryPolicy::{AllkeysLfu, AllkeysLru, AllkeysRandom};
        let wanted = self.config.maxmemory_samples as usize;
        let mut rng = self.rng.clone();
        let table = self.keyspace.table(db);
        let mut found = Vec::with_capacity(wanted);
        if matches!(policy, AllkeysLru | AllkeysLfu | AllkeysRandom) {
            for _ in 0..wanted {
                let Some(object) = table.random(&mut rng) else { break };
                found.push((self.fitness(object, policy), object.key().to_vec()));
            }
        } else if table.expiring() > 0 {
            let mut cursor = rng.next_u64();
            // A sparse table may need several looks, and a whole turn finds what there is.
            for _ in 0..=table.len() {
                cursor = table.sample_expiring(cursor, SAMPLE_BUCKETS, |object| {
                    if found.len() < wanted {
                        found.push((self.fitness(object, policy), object.key().to_vec()));
                    }
                });
                if !found.is_empty() {
                    break;
                }
            }
        }
        self.rng = rng;
        found
    }

    fn fitness(&self, object: &Object, policy: MaxmemoryPolicy) -> u64 {
        use MaxmemoryPolicy::{AllkeysLfu, AllkeysLru, VolatileLfu, VolatileLru, VolatileTtl};
        match policy {
            AllkeysLru | VolatileLru => self.idle_ms(object.lru()),
            AllkeysLfu | VolatileLfu => {
                255 - u64::from(lfu_decayed(object.lru(), self.now_ms, self.config.lfu_decay_time_mins))
            }
            VolatileTtl => u64::MAX - object.expiry_ms().unwrap_or(i64::MAX).max(0) as u64,
            // A random policy takes whichever came first.
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use redoubt_wire::resp::reply::{Protocol, Reply};

    use super::*;
    use crate::config::Config;

    /// What the engine under test believes to be allocated; each test runs in its own process
    /// or holds `TURN`.
    static USED: AtomicUsize = AtomicUsize::new(0);
    static TURN: std::sync::Mutex<()> = std::sync::Mutex::new(());

    fn engine(policy: MaxmemoryPolicy) -> (Engine, u64) {
        let config = Config { maxmemory: 1000, maxmemory_policy: policy, ..Config::default() };
        let mut engine = Engine::new(config, 1, || 0);
        engine.memory_used = || USED.load(Relaxed);
        let client = engine.connect("c", "s", -1, 0);
        (engine, client)
    }

    fn run(engine: &mut Engine, client: u64, now_ms: i64, line: &str) -> String {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut reply = Reply::new(Protocol::Resp2);
        engine.begin(client, now_ms).unwrap().execute(&words, &mut reply);
        String::from_utf8(reply.buf).unwrap()
    }

    #[test]
    fn without_eviction_writes_are_refused_and_reads_are_not() {
        let _turn = TURN.lock().unwrap();
        USED.store(0, Relaxed);
        let (mut e, c) = engine(MaxmemoryPolicy::NoEviction);
        assert_eq!(run(&mut e, c, 0, "SET a 1"), "+OK\r\n");
        USED.store(2000, Relaxed);
        assert!(run(&mut e, c, 0, "SET b 1").starts_with("-OOM command not allowed"));
        assert_eq!(run(&mut e, c, 0, "GET a"), "$1\r\n1\r\n");
        assert_eq!(run(&mut e, c, 0, "DEL a"), ":1\r\n");
    }

    #[test]
    fn lru_evicts_what_was_idle_longest() {
        let _turn = TURN.lock().unwrap();
        USED.store(0, Relaxed);
        let (mut e, c) = engine(MaxmemoryPolicy::AllkeysLru);
        e.config.maxmemory_samples = 64;
        run(&mut e, c, 1_000, "SET old 1");
        run(&mut e, c, 900_000, "SET young 1");
        USED.store(2000, Relaxed);
        assert!(e.evict_one());
        USED.store(0, Relaxed);
        assert_eq!(run(&mut e, c, 900_000, "EXISTS old"), ":0\r\n");
        assert_eq!(run(&mut e, c, 900_000, "EXISTS young"), ":1\r\n");
    }

    #[test]
    fn volatile_policies_leave_other_keys_alone() {
        let _turn = TURN.lock().unwrap();
        USED.store(0, Relaxed);
        let (mut e, c) = engine(MaxmemoryPolicy::VolatileTtl);
        run(&mut e, c, 0, "SET stays 1");
        run(&mut e, c, 0, "SET soon 1 PX 10000");
        USED.store(2000, Relaxed);
        assert!(run(&mut e, c, 0, "SET b 1").starts_with("-OOM"));
        assert_eq!(run(&mut e, c, 0, "EXISTS stays soon"), ":1\r\n");
        assert_eq!(e.stats.evicted_keys, 1);
    }
}
