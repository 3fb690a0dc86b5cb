//! A set against a `BTreeSet` at small limits, so that forms change often, with a frozen copy that must never
//! change; and the moments of conversion.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Add(Vec<u8>),
    Remove(Vec<u8>),
    Pop,
    Prepare(usize),
    Freeze,
}

fn member() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => (-50i64..50).prop_map(|value| value.to_string().into_bytes()),
        1 => any::<i64>().prop_map(|value| value.to_string().into_bytes()),
        2 => "[a-c0-1]{0,3}".prop_map(String::into_bytes),
        1 => (0usize..100).prop_map(|len| vec![b'x'; len]),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        8 => member().prop_map(Op::Add),
        4 => member().prop_map(Op::Remove),
        1 => Just(Op::Pop),
        1 => (0usize..30).prop_map(Op::Prepare),
        1 => Just(Op::Freeze),
    ]
}

fn limits() -> impl Strategy<Value = SetLimits> {
    (0usize..40, 0usize..40, 1usize..70, any::<u64>()).prop_map(|(ints, packed, value, hash_seed)| {
        SetLimits {
            max_intset_entries: ints,
            max_listpack_entries: packed,
            max_listpack_value: value,
            hash_seed,
        }
    })
}

fn contents(set: &Set) -> BTreeSet<Vec<u8>> {
    let members: Vec<_> = set.iter().map(|member| member.to_bytes().into_owned()).collect();
    let distinct: BTreeSet<_> = members.iter().cloned().collect();
    assert_eq!(members.len(), distinct.len());
    distinct
}

proptest! {
    #[test]
    fn behaves_like_a_sorted_set_and_frozen_copies_stay(
        limits in limits(),
        first in member(),
        expected in 0usize..40,
        ops in proptest::collection::vec(op(), 0..150),
    ) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(limits.hash_seed);
        let (mut set, mut model) = (Set::for_member(&first, expected, &limits), BTreeSet::new());
        let mut frozen = (set.clone(), model.clone());
        for op in ops {
            match op {
                Op::Add(member) => prop_assert_eq!(set.add(&member, &limits), model.insert(member)),
                Op::Remove(member) => prop_assert_eq!(set.remove(&member), model.remove(&member)),
                Op::Pop => match set.pop_random(&mut rng) {
                    Some(member) => prop_assert!(model.remove(&member)),
                    None => prop_assert!(model.is_empty()),
                },
                Op::Prepare(adding) => set.prepare_growth(adding, &limits),
                Op::Freeze => frozen = (set.clone(), model.clone()),
            }
            prop_assert_eq!(set.len(), model.len());
        }
        if let Repr::Table(table) = &set.repr {
            table.check();
        }
        prop_assert_eq!(&contents(&set), &model);
        prop_assert_eq!(contents(&frozen.0), frozen.1);
        prop_assert!(model.iter().all(|member| set.contains(member)));
        prop_assert!(!set.contains(b"no such member"));

        let mut scanned = BTreeSet::new();
        let mut cursor = 0;
        loop {
            cursor = set.scan(cursor, 3, |member| scanned.extend([member.to_bytes().into_owned()]));
            if cursor == 0 {
                break;
            }
        }
        prop_assert_eq!(&scanned, &model);

        for count in [0, 1, model.len() / 2, model.len(), model.len() + 5] {
            let drawn: Vec<_> = set.random_distinct(count, &mut rng).map(|member| member.to_bytes().into_owned()).collect();
            let distinct: BTreeSet<_> = drawn.iter().cloned().collect();
            prop_assert_eq!((drawn.len(), distinct.len()), (count.min(model.len()), count.min(model.len())));
            prop_assert!(distinct.is_subset(&model));
        }

        let all_ints = model.iter().all(|member| Needle::new(member).int().is_some());
        let fits = all_ints && model.len() <= limits.max_intset_entries;
        let was = set.encoding_name();
        prop_assert_eq!(set.become_intset(&limits), fits || was == "intset");
        prop_assert_eq!(contents(&set), model);
    }
}

fn of(members: impl IntoIterator<Item = String>, limits: &SetLimits) -> Set {
    let mut members = members.into_iter().peekable();
    let first = members.peek().cloned().unwrap_or_default();
    let mut set = Set::for_member(first.as_bytes(), 1, limits);
    for member in members {
        set.add(member.as_bytes(), limits);
    }
    set
}

#[test]
fn forms_change_where_redis_changes_them() {
    let limits = SetLimits::with_seed(1);
    let ints = |count: i64| (0..count).map(|value| value.to_string());
    let with =
        |count: i64, member: &str| of(ints(count).chain([member.to_string()]), &limits).encoding_name();
    assert_eq!(of(ints(512), &limits).encoding_name(), "intset");
    assert_eq!(of(ints(513), &limits).encoding_name(), "hashtable");
    assert_eq!(with(127, "a"), "listpack");
    assert_eq!(with(128, "a"), "hashtable");
    assert_eq!(with(3, &"a".repeat(64)), "listpack");
    assert_eq!(with(3, &"a".repeat(65)), "hashtable");
    let words = |count: usize| (0..count).map(|value| format!("w{value}"));
    assert_eq!(of(words(128), &limits).encoding_name(), "listpack");
    assert_eq!(of(words(129), &limits).encoding_name(), "hashtable");
    assert_eq!(of(["a".repeat(65)], &limits).encoding_name(), "hashtable");
    // Integers longer than the value limit keep an intset from becoming a listpack.
    let narrow = SetLimits { max_listpack_value: 4, ..limits };
    assert_eq!(of(["1234".into(), "a".into()], &narrow).encoding_name(), "listpack");
    assert_eq!(of(["-1234".into(), "a".into()], &narrow).encoding_name(), "hashtable");
}

#[test]
fn a_command_of_many_members_starts_with_the_form_for_them() {
    let limits = SetLimits::with_seed(1);
    let form = |first: &str, expected| Set::for_member(first.as_bytes(), expected, &limits).encoding_name();
    assert_eq!(form("1", 512), "intset");
    assert_eq!(form("1", 513), "hashtable");
    assert_eq!(form("a", 128), "listpack");
    assert_eq!(form("a", 129), "hashtable");
    assert_eq!(Set::for_loading(512, &limits).encoding_name(), "intset");
    assert_eq!(Set::for_loading(513, &limits).encoding_name(), "hashtable");
    let mut set = of(["a".to_string()], &limits);
    set.prepare_growth(128, &limits);
    assert_eq!(set.encoding_name(), "listpack");
    set.prepare_growth(129, &limits);
    assert_eq!((set.encoding_name(), set.len()), ("hashtable", 1));
}

#[test]
fn loaded_forms_are_kept_within_limits_and_doubles_refused() {
    let limits = SetLimits::with_seed(1);
    let pack = |count: usize| {
        let mut pack = ListPack::new();
        (0..count).for_each(|value| pack.push_back(format!("w{value}").as_bytes()));
        pack
    };
    let form = |set: Result<Set, Corrupt>| set.map(|set| (set.encoding_name(), set.len()));
    assert_eq!(form(Set::from_listpack(pack(128), &limits)), Ok(("listpack", 128)));
    assert_eq!(form(Set::from_listpack(pack(129), &limits)), Ok(("hashtable", 129)));
    let mut doubled = pack(5);
    doubled.push_back(b"w2");
    assert!(Set::from_listpack(doubled, &limits).is_err());
    let mut ints = IntSet::new();
    assert!((0..512).all(|value| ints.add(value)));
    assert_eq!(Set::from_intset(ints.clone(), &limits).encoding_name(), "intset");
    ints.add(512);
    let set = Set::from_intset(ints, &limits);
    assert_eq!((set.encoding_name(), set.len()), ("hashtable", 513));
    assert!(set.memory_usage(5) > 513);
}

#[test]
fn draws_are_uniform() {
    let limits = SetLimits { max_intset_entries: 4, ..SetLimits::with_seed(1) };
    let set = of((0..2000).map(|value| value.to_string()), &limits);
    assert_eq!(set.encoding_name(), "hashtable");
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    let mut drawn = std::collections::HashMap::new();
    for _ in 0..200_000 {
        let member = set.random(&mut rng).expect("not empty").to_bytes().into_owned();
        *drawn.entry(member).or_insert(0usize) += 1;
    }
    // 100 draws each are expected; ten standard deviations are 100 more, and a member never drawn is as unlikely.
    assert_eq!(drawn.len(), 2000);
    assert!(drawn.values().all(|&times| times < 200));
}
