//! The trie against a `BTreeMap`, its scan under change, and its behaviour where entries are huge or many.

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;

use super::branch::Node;
use super::*;

impl<L: Layout> HashTrie<L> {
    /// Panics unless the invariants at the top of the module hold and every key lies where its hash says.
    pub(in crate::engine::types) fn check(&self) {
        let leaves = iter::Leaves::new(&self.root).map(|leaf| leaf.len()).sum::<usize>();
        assert_eq!(leaves, self.len());
        self.check_child(&self.root, 0);
        let positions: Vec<u64> = self.iter().map(|(key, _)| self.hasher.hash(key).position()).collect();
        for (key, _) in self.iter() {
            assert!(self.contains(key));
        }
        // Within a leaf entries are in no order, so only the order of leaves is checked: by scanning.
        let mut cursor = 0;
        let mut seen = 0;
        loop {
            let next = self.scan(cursor, 1, |key, _| {
                let position = self.hasher.hash(key).position();
                assert!(position >= cursor);
                seen += 1;
            });
            assert!(next > cursor || next == 0);
            if next == 0 {
                break;
            }
            cursor = next;
        }
        assert_eq!(seen, positions.len());
    }

    fn check_child(&self, child: &Child, level: u32) {
        match &child.node {
            Node::Leaf(leaf) => {
                assert_eq!(child.count, leaf.len());
                assert!(leaf.len() <= leaf::MAX_ENTRIES);
                assert!(leaf.len() <= 1 || leaf.byte_len() <= leaf::MAX_BYTES);
            }
            Node::Branch(branch) => {
                assert_eq!(child.count, branch.children().iter().map(|child| child.count).sum::<usize>());
                let mut covered = 0;
                for (child, span) in branch.spans() {
                    assert_eq!(span.start, covered);
                    covered = span.end;
                    let slots = span.end - span.start;
                    assert!(slots.is_power_of_two() && span.start % slots == 0);
                    if let Node::Branch(_) = child.node {
                        assert_eq!(slots, 1);
                    }
                    for leaf in iter::Leaves::new(child) {
                        for entry in leaf.entries() {
                            assert!(span.contains(&self.hasher.hash(L::split(entry).0).slot(level)));
                        }
                    }
                    self.check_child(child, level + 1);
                }
                assert_eq!(covered, 64);
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Insert(u16, usize),
    Remove(u16),
    InsertRun(u16, u16),
    RemoveRun(u16, u16),
    Freeze,
}

fn op() -> impl Strategy<Value = Op> {
    let id = || 0u16..3000;
    let len = prop_oneof![8 => 0usize..40, 2 => 200usize..600, 1 => 3000usize..6000];
    prop_oneof![
        4 => (id(), len).prop_map(|(id, len)| Op::Insert(id, len)),
        2 => id().prop_map(Op::Remove),
        2 => (id(), 1u16..800).prop_map(|(id, count)| Op::InsertRun(id, count)),
        1 => (id(), 1u16..800).prop_map(|(id, count)| Op::RemoveRun(id, count)),
        1 => Just(Op::Freeze),
    ]
}

fn key(id: u16) -> Vec<u8> {
    // Some keys are long, so that the length before them takes two bytes.
    format!("{id}{}", "k".repeat(if id % 50 == 0 { 300 } else { 0 })).into_bytes()
}

type Model = BTreeMap<Vec<u8>, Vec<u8>>;

fn contents(trie: &HashTrie<Fields>) -> Model {
    let all: Vec<_> = trie.iter().map(|(key, value)| (key.to_vec(), value.to_vec())).collect();
    let model: Model = all.iter().cloned().collect();
    assert_eq!(all.len(), model.len(), "no key comes twice");
    model
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn behaves_like_a_map_and_frozen_copies_stay(seed: u64, ops in proptest::collection::vec(op(), 0..60)) {
        let (mut trie, mut model) = (HashTrie::<Fields>::new(seed), Model::new());
        let mut frozen = (trie.clone(), model.clone());
        for op in ops {
            match op {
                Op::Insert(id, len) => {
                    let value = vec![id as u8; len];
                    let new = trie.insert(&key(id), &value);
                    prop_assert_eq!(new, model.insert(key(id), value).is_none());
                }
                Op::Remove(id) => prop_assert_eq!(trie.remove(&key(id)), model.remove(&key(id)).is_some()),
                Op::InsertRun(id, count) => {
                    for id in id..id + count {
                        let new = trie.insert(&key(id), b"run");
                        prop_assert_eq!(new, model.insert(key(id), b"run".to_vec()).is_none());
                    }
                }
                Op::RemoveRun(id, count) => {
                    for id in id..id + count {
                        prop_assert_eq!(trie.remove(&key(id)), model.remove(&key(id)).is_some());
                    }
                }
                Op::Freeze => frozen = (trie.clone(), model.clone()),
            }
            prop_assert_eq!(trie.len(), model.len());
        }
        trie.check();
        frozen.0.check();
        for (key, value) in &model {
            prop_assert_eq!(trie.get(key), Some(value.as_slice()));
        }
        prop_assert_eq!(trie.get(b"no such key"), None);
        let ranked: Model = (0..trie.len())
            .filter_map(|rank| trie.entry_at(rank))
            .map(|(key, value)| (key.to_vec(), value.to_vec()))
            .collect();
        prop_assert_eq!(trie.entry_at(trie.len()), None);
        prop_assert_eq!(&ranked, &model);
        prop_assert_eq!(contents(&trie), model);
        prop_assert_eq!(contents(&frozen.0), frozen.1);
    }

    #[test]
    fn a_scan_visits_once_whatever_stays(
        seed: u64,
        kept in 1u32..1000,
        churn in proptest::collection::vec((any::<bool>(), 0u32..2000), 1..20),
        count in 10usize..100,
    ) {
        let mut trie = HashTrie::<Members>::new(seed);
        let kept_key = |id: u32| format!("kept:{id}").into_bytes();
        for id in 0..kept {
            trie.insert(&kept_key(id), &[]);
        }
        let mut visits: HashMap<Vec<u8>, usize> = HashMap::new();
        let (mut cursor, mut turn) = (0, 0);
        loop {
            cursor = trie.scan(cursor, count, |key, _| *visits.entry(key.to_vec()).or_default() += 1);
            if cursor == 0 {
                break;
            }
            prop_assert!(cursor < 1 << 53);
            // Between turns the table grows or shrinks a lot, so that leaves split and merge.
            let (grow, extent) = churn[turn % churn.len()];
            turn += 1;
            for id in 0..extent {
                let key = format!("churn:{id}");
                if grow { trie.insert(key.as_bytes(), &[]) } else { trie.remove(key.as_bytes()) };
            }
        }
        for id in 0..kept {
            prop_assert_eq!(visits.get(&kept_key(id)), Some(&1));
        }
    }
}

#[test]
fn emptying_a_table_merges_it_back_into_one_leaf() {
    let mut trie = HashTrie::<Members>::new(7);
    for id in 0..50_000u32 {
        assert!(trie.insert(&id.to_le_bytes(), &[]));
    }
    trie.check();
    for id in 0..50_000u32 {
        assert!(trie.remove(&id.to_le_bytes()));
        if id % 5000 == 0 {
            trie.check();
        }
    }
    assert!(trie.is_empty());
    assert!(matches!(trie.root.node, Node::Leaf(_)));
    assert_eq!(trie.scan(0, 10, |_, _| panic!("nothing is left")), 0);
    assert_eq!(trie.scan(u64::MAX, 10, |_, _| panic!("nothing is there")), 0);
}

#[test]
fn huge_entries_are_alone_and_are_not_copied_for_others() {
    let mut trie = HashTrie::<Members>::new(7);
    let huge = |id: u8| vec![id; 1 << 20];
    for id in 0..20 {
        trie.insert(&huge(id), &[]);
    }
    let places = |trie: &HashTrie<Members>| {
        let huge = trie.iter().filter(|(key, _)| key.len() == 1 << 20);
        huge.map(|(key, _)| key.as_ptr()).collect::<std::collections::BTreeSet<_>>()
    };
    let before = places(&trie);
    let frozen = trie.clone();
    for id in 0..5000u32 {
        trie.insert(&id.to_le_bytes(), &[]);
    }
    trie.check();
    assert_eq!(places(&trie), before, "no huge entry has moved");
    assert!((0..20).all(|id| trie.remove(&huge(id))));
    trie.check();
    assert_eq!((trie.len(), frozen.len()), (5000, 20));
    assert_eq!(places(&frozen), before);
}

#[test]
fn keys_that_agree_in_one_whole_hash_are_told_apart_by_the_next() {
    let hasher = KeyHasher(RandomState::with_seeds(1, 2, 3, 4));
    let one = Hashed { word: 42, ..hasher.hash(b"one") };
    let other = Hashed { word: 42, ..hasher.hash(b"other") };
    assert!((0..LEVELS_PER_HASH).all(|level| one.slot(level) == other.slot(level)));
    assert!((LEVELS_PER_HASH..2 * LEVELS_PER_HASH).any(|level| one.slot(level) != other.slot(level)));
}

#[test]
fn memory_stays_near_the_bytes_of_the_keys() {
    let mut trie = HashTrie::<Members>::new(7);
    let count = 100_000u32;
    for id in 0..count {
        trie.insert(format!("member:{id:09}").as_bytes(), &[]);
    }
    let per_key = trie.memory_usage(0) as f64 / f64::from(count);
    assert!(per_key < 16.0 + 14.0, "{per_key} bytes for a key of 16");
    assert!(trie.memory_usage(50).abs_diff(trie.memory_usage(0)) < trie.memory_usage(0) / 5);
}
