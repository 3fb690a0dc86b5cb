//! The table against a model of it, through every kind of interleaving that the keyspace will see.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use rand_xoshiro::Xoshiro256StarStar;
use rand_xoshiro::rand_core::SeedableRng;

use super::*;
use crate::engine::keyspace::object::ValueRef;

fn table() -> Table {
    Table::new(RandomState::with_seeds(1, 2, 3, 4))
}

fn key(n: u32) -> Vec<u8> {
    format!("key:{n}").into_bytes()
}

fn insert(table: &mut Table, n: u32, value: i64, expiry_ms: Option<i64>) {
    let key = key(n);
    table.insert(table.hash(&key), Object::new_int(&key, value, expiry_ms));
}

fn remove(table: &mut Table, n: u32) -> Option<Object> {
    let key = key(n);
    table.remove(table.hash(&key), &key)
}

fn filled(keys: std::ops::Range<u32>) -> Table {
    let mut table = table();
    for n in keys {
        insert(&mut table, n, n.into(), (n % 3 == 0).then_some(1000 + i64::from(n)));
    }
    table
}

/// Everything that must hold between operations: each object is where its hash says, chains are packed, and the
/// counts count.
fn check(table: &Table) {
    let (mut len, mut expiring, mut children) = (0, 0, 0);
    for index in 0..table.segments.len() {
        // SAFETY: `table` is borrowed; the slots are occupied.
        unsafe {
            let mut buckets = 0;
            let mut next = Some(table.segments.get(index));
            while let Some(bucket) = next {
                let bucket = bucket.as_ref();
                next = bucket.child();
                let count = bucket.occupied().len();
                assert!(next.is_none() || count == bucket::SLOTS - 1, "only the last bucket has room");
                assert!(buckets == 0 || count >= 2, "a child has two objects or more");
                for slot in bucket.occupied() {
                    let object = bucket.object(slot);
                    assert_eq!(table.index_of(table.hash(object.key())), index);
                    assert_eq!(bucket.expiry_noted(slot), object.expires());
                    expiring += usize::from(object.expires());
                }
                assert_eq!(
                    bucket.expiring().collect::<Vec<_>>(),
                    bucket.occupied().filter(|&s| bucket.object(s).expires()).collect::<Vec<_>>()
                );
                len += count;
                buckets += 1;
            }
            children += buckets - 1;
        }
    }
    assert_eq!((table.len, table.expiring, table.children), (len, expiring, children));
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u32, i64, Option<i64>),
    Replace(u32, i64, Option<i64>),
    Remove(u32),
    SetExpiry(u32, Option<i64>),
    Overwrite(u32, Vec<u8>),
    InsertMany(u32, u32),
    RemoveMany(u32, u32),
    Reserve(usize),
    RehashStep(usize),
}

fn op() -> impl Strategy<Value = Op> {
    let key = 0u32..3000;
    let expiry = prop::option::of(any::<i64>());
    prop_oneof![
        6 => (key.clone(), any::<i64>(), expiry.clone()).prop_map(|(k, v, e)| Op::Insert(k, v, e)),
        3 => (key.clone(), any::<i64>(), expiry.clone()).prop_map(|(k, v, e)| Op::Replace(k, v, e)),
        6 => key.clone().prop_map(Op::Remove),
        3 => (key.clone(), expiry).prop_map(|(k, e)| Op::SetExpiry(k, e)),
        3 => (key.clone(), prop::collection::vec(any::<u8>(), 0..80)).prop_map(|(k, v)| Op::Overwrite(k, v)),
        2 => (key.clone(), 1u32..2000).prop_map(|(k, n)| Op::InsertMany(k, n)),
        2 => (key, 1u32..3000).prop_map(|(k, n)| Op::RemoveMany(k, n)),
        1 => (0usize..5000).prop_map(Op::Reserve),
        1 => (0usize..500).prop_map(Op::RehashStep),
    ]
}

type Model = BTreeMap<u32, (Vec<u8>, Option<i64>)>;

fn text(n: i64) -> Vec<u8> {
    n.to_string().into_bytes()
}

fn apply(table: &mut Table, model: &mut Model, op: &Op) {
    match *op {
        Op::Insert(k, v, e) => {
            if let std::collections::btree_map::Entry::Vacant(entry) = model.entry(k) {
                entry.insert((text(v), e));
                insert(table, k, v, e);
            }
        }
        Op::Replace(k, v, e) => {
            let bytes = key(k);
            let old = table.replace(table.hash(&bytes), Object::new_int(&bytes, v, e));
            assert_eq!(old.map(|o| o.expiry_ms()), model.insert(k, (text(v), e)).map(|(_, e)| e));
        }
        Op::Remove(k) => {
            assert_eq!(remove(table, k).map(|o| o.expiry_ms()), model.remove(&k).map(|(_, e)| e));
        }
        Op::SetExpiry(k, e) => {
            let bytes = key(k);
            let present = table.set_expiry(table.hash(&bytes), &bytes, e);
            assert_eq!(present, model.get_mut(&k).map(|entry| entry.1 = e).is_some());
        }
        Op::Overwrite(k, ref v) => {
            let bytes = key(k);
            let present = table.update(table.hash(&bytes), &bytes, |o| o.set_string(v));
            assert_eq!(present, model.get_mut(&k).map(|entry| entry.0.clone_from(v)));
        }
        Op::InsertMany(from, n) => {
            (from..from + n).for_each(|k| apply(table, model, &Op::Insert(k, k.into(), None)));
        }
        Op::RemoveMany(from, n) => (from..from + n).for_each(|k| apply(table, model, &Op::Remove(k))),
        Op::Reserve(n) => table.reserve(n),
        Op::RehashStep(n) => {
            let more = table.rehash_step(n);
            assert_eq!(more, table.rehashing());
        }
    }
}

fn string(object: &Object) -> Vec<u8> {
    match object.value() {
        ValueRef::Int(n) => text(n),
        ValueRef::Bytes(bytes) => bytes.to_vec(),
        other => panic!("not a short string: {other:?}"),
    }
}

/// The table and the model hold the same.
fn compare(table: &Table, model: &Model) {
    check(table);
    assert_eq!(table.len(), model.len());
    assert_eq!(table.expiring(), model.values().filter(|(_, e)| e.is_some()).count());
    for k in 0..6000 {
        let bytes = key(k);
        let found = table.find(table.hash(&bytes), &bytes).map(|o| (string(o), o.expiry_ms()));
        assert_eq!(found.as_ref(), model.get(&k));
    }
}

/// All keys by a whole scan; a key may come twice only if the table changed in between.
fn scan_all(table: &Table) -> Vec<Vec<u8>> {
    let (mut seen, mut cursor) = (Vec::new(), 0);
    loop {
        cursor = table.scan(cursor, |o| seen.push(o.key().to_vec()));
        if cursor == 0 {
            return seen;
        }
    }
}

proptest! {
    #[test]
    fn behaves_like_a_map(ops in prop::collection::vec(op(), 1..60)) {
        let (mut table, mut model) = (table(), Model::new());
        for op in &ops {
            apply(&mut table, &mut model, op);
            check(&table);
        }
        compare(&table, &model);
        let scanned = scan_all(&table);
        prop_assert_eq!(scanned.len(), model.len());
        prop_assert_eq!(scanned.into_iter().collect::<BTreeSet<_>>(), model.keys().map(|&k| key(k)).collect());
    }

    #[test]
    fn scan_returns_whatever_stays(ops in prop::collection::vec((op(), 0usize..40), 1..60), lasting in 3000u32..3600) {
        let (mut table, mut model) = (table(), Model::new());
        let lasting = (6000..6000 + lasting - 3000).collect::<Vec<_>>();
        lasting.iter().for_each(|&k| apply(&mut table, &mut model, &Op::Insert(k, 0, None)));
        let (mut seen, mut cursor, mut ended) = (BTreeSet::new(), 0, false);
        for (op, steps) in &ops {
            for _ in 0..*steps {
                if !ended {
                    cursor = table.scan(cursor, |o| { seen.insert(o.key().to_vec()); });
                    ended = cursor == 0;
                }
            }
            apply(&mut table, &mut model, op);
        }
        while !ended {
            cursor = table.scan(cursor, |o| { seen.insert(o.key().to_vec()); });
            ended = cursor == 0;
        }
        for k in lasting {
            prop_assert!(seen.contains(&key(k)), "key {} was skipped", k);
        }
    }

    #[test]
    fn walk_visits_each_object_once_by_its_position(
        ops in prop::collection::vec((op(), 0usize..60), 1..60),
        first in 0u32..3000,
    ) {
        let (mut table, mut model) = (table(), Model::new());
        apply(&mut table, &mut model, &Op::InsertMany(0, first));
        // What a cut must contain: each key present now, once, whether it is walked to or leaves before.
        let mut due: BTreeSet<Vec<u8>> = model.keys().map(|&k| key(k)).collect();
        let mut from = Some(0u64);
        let mut ops = ops.into_iter();
        while let Some(position) = from {
            let (op, steps) = ops.next().unwrap_or((Op::RehashStep(0), 50));
            let mut reached = position;
            for _ in 0..=steps {
                let mut walked = Vec::new();
                let next = table.walk(reached, |o| walked.push(o.key().to_vec()));
                for k in walked {
                    let at = Table::position(table.hash(&k));
                    prop_assert!(at >= reached && next.is_none_or(|next| at < next));
                    due.remove(&k);
                }
                from = next;
                match next {
                    Some(next) => reached = next,
                    None => break,
                }
            }
            let Some(cursor) = from else { break };
            // Keys in front of the cursor may go; those behind it were walked.
            let before: BTreeSet<u32> = model.keys().copied().collect();
            apply(&mut table, &mut model, &op);
            for k in before.into_iter().filter(|k| !model.contains_key(k)).map(key) {
                if Table::position(table.hash(&k)) >= cursor {
                    due.remove(&k);
                } else {
                    prop_assert!(!due.contains(&k));
                }
            }
            prop_assert!(due.iter().all(|k| Table::position(table.hash(k)) >= cursor));
        }
        prop_assert!(due.is_empty(), "{} keys were not walked to", due.len());
    }
}

#[test]
fn a_whole_walk_is_in_order_and_exact() {
    let mut table = filled(0..20_000);
    let (mut from, mut seen, mut last) = (Some(0), 0, 0);
    while let Some(position) = from {
        let mut positions = Vec::new();
        from = table.walk(position, |o| positions.push(o.key().to_vec()));
        seen += positions.len();
        positions.iter().map(|k| Table::position(table.hash(k))).for_each(|at| assert!(at >= position));
        assert!(position == 0 || position > last);
        last = position;
    }
    assert_eq!(seen, 20_000);
}

#[test]
fn walking_may_change_expiry_and_the_table_notices() {
    let mut table = filled(0..1000);
    let mut from = Some(0);
    while let Some(position) = from {
        from = table.walk(position, |o| {
            o.set_mark(true);
            o.set_expiry(if o.expires() { None } else { Some(5) });
        });
    }
    check(&table);
    assert_eq!(table.expiring(), 1000 - 334);
    scan_all(&table).iter().for_each(|k| assert!(table.find(table.hash(k), k).unwrap().mark()));
}

#[test]
fn growing_and_shrinking_keeps_the_load_between_its_limits() {
    let mut table = table();
    for n in 0..100_000 {
        insert(&mut table, n, 0, None);
        assert!(!table.rehashing(), "writes settle the size by themselves");
    }
    let full = table.memory_overhead();
    assert!(full < 100_000 * 19, "{full} bytes for 100000 keys");
    for n in 0..100_000 {
        assert!(remove(&mut table, n).is_some());
        assert!(!table.rehashing());
    }
    assert_eq!((table.len(), table.memory_overhead()), (0, 0));
}

#[test]
fn sampling_visits_exactly_the_expiring() {
    let table = filled(0..10_000);
    let (mut cursor, mut seen) = (0, BTreeSet::new());
    loop {
        cursor = table.sample_expiring(cursor, 7, |o| {
            assert!(o.expires());
            assert!(seen.insert(o.key().to_vec()));
        });
        if cursor == 0 {
            break;
        }
    }
    assert_eq!(seen.len(), table.expiring());
}

#[test]
fn random_reaches_every_object_and_finds_the_only_one() {
    let mut rng = Xoshiro256StarStar::seed_from_u64(7);
    let mut table = table();
    assert!(table.random(&mut rng).is_none());
    insert(&mut table, 1, 1, None);
    table.reserve(100_000);
    assert_eq!(table.random(&mut rng).unwrap().key(), key(1));
    let table = filled(0..100);
    let mut hits = BTreeMap::new();
    for _ in 0..10_000 {
        *hits.entry(table.random(&mut rng).unwrap().key().to_vec()).or_insert(0) += 1;
    }
    assert_eq!(hits.len(), 100);
    assert!(hits.values().all(|&n| n < 1000), "no object is drawn ten times too often: {hits:?}");
}

#[test]
fn a_table_is_freed_in_slices_by_another_thread() {
    let mut table = filled(0..10_000);
    std::thread::spawn(move || {
        let mut slices = 0;
        while table.free_some(100) {
            check(&table);
            slices += 1;
        }
        assert!(slices > 10);
        assert_eq!((table.len(), table.expiring(), table.memory_overhead()), (0, 0, 0));
    })
    .join()
    .unwrap();
}

#[test]
fn stats_add_up() {
    let table = filled(0..5000);
    let stats = table.stats();
    assert_eq!(stats.objects_per_bucket.iter().sum::<usize>(), stats.buckets);
    let objects: usize = stats.objects_per_bucket.iter().enumerate().map(|(n, buckets)| n * buckets).sum();
    assert_eq!((objects, stats.len, stats.expiring), (5000, 5000, table.expiring()));
    assert!(stats.children > 0);
}

#[test]
fn an_empty_table_answers() {
    let mut table = table();
    let hash = table.hash(b"k");
    table.prefetch_objects(&[hash]);
    assert!(table.find(hash, b"k").is_none());
    assert!(table.find_mut(hash, b"k").is_none());
    assert!(table.remove(hash, b"k").is_none());
    assert_eq!(table.scan(123, |_| panic!("nothing is there")), 0);
    assert_eq!(table.walk(123, |_| panic!("nothing is there")), None);
    assert!(!table.free_some(1));
}
