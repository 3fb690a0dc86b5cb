//! An intset against a `BTreeSet`, against bytes known from the format, and against noise.

use std::collections::BTreeSet;

use proptest::prelude::*;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::*;

/// Integers of all widths, close enough together that some meet.
fn value() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => -20i64..20,
        1 => (0u32..63, -2i64..3).prop_map(|(bits, near)| (1i64 << bits) + near),
        1 => (0u32..63, -2i64..3).prop_map(|(bits, near)| near - (1i64 << bits)),
        1 => Just(i64::MIN),
        1 => Just(i64::MAX),
    ]
}

proptest! {
    #[test]
    fn behaves_like_a_sorted_set(ops in proptest::collection::vec((any::<bool>(), value()), 0..200)) {
        let (mut set, mut model) = (IntSet::new(), BTreeSet::new());
        for (add, value) in ops {
            if add {
                prop_assert_eq!(set.add(value), model.insert(value));
            } else {
                prop_assert_eq!(set.remove(value), model.remove(&value));
            }
            prop_assert!(set.contains(value) == add);
        }
        prop_assert_eq!(set.iter().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
        prop_assert_eq!((set.min(), set.max()), (model.first().copied(), model.last().copied()));
        prop_assert_eq!(set.get(set.len()), None);
        let reread = IntSet::from_bytes(set.as_bytes().to_vec());
        prop_assert_eq!(reread.ok(), (!model.is_empty()).then_some(set));
    }

    #[test]
    fn noise_is_refused_or_readable(
        width in prop_oneof![Just(2u32), Just(4), Just(8), any::<u32>()],
        count in prop_oneof![0u32..6, any::<u32>()],
        members in proptest::collection::vec(any::<u8>(), 0..48),
    ) {
        let bytes = [&width.to_le_bytes()[..], &count.to_le_bytes(), &members].concat();
        if let Ok(set) = IntSet::from_bytes(bytes) {
            let members: Vec<i64> = set.iter().collect();
            prop_assert!(members.is_sorted() && members.len() == count as usize);
            prop_assert!(members.iter().all(|&value| set.contains(value)));
        }
    }
}

#[test]
fn bytes_are_those_of_the_format() {
    let mut set = IntSet::new();
    assert_eq!(set.as_bytes(), [2, 0, 0, 0, 0, 0, 0, 0]);
    set.add(5);
    set.add(-2);
    assert_eq!(set.as_bytes(), [2, 0, 0, 0, 2, 0, 0, 0, 0xFE, 0xFF, 5, 0]);
    set.add(0x1_0000);
    assert_eq!(&set.as_bytes()[..12], [4, 0, 0, 0, 3, 0, 0, 0, 0xFE, 0xFF, 0xFF, 0xFF]);
    set.add(i64::MIN);
    assert_eq!(&set.as_bytes()[..17], [8, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x80, 0xFE]);
    set.remove(i64::MIN);
    assert_eq!(set.as_bytes()[0], 8, "the width never shrinks");
}

#[test]
fn what_is_wrong_is_named() {
    let refused = |bytes: &[u8]| IntSet::from_bytes(bytes.to_vec()).map_err(|error| error.to_string());
    let text = |what: &str| Err(format!("corrupt intset at byte {what}"));
    assert_eq!(refused(&[2, 0, 0]), text("0: shorter than its header"));
    assert_eq!(refused(&[3, 0, 0, 0, 0, 0, 0, 0]), text("0: members are not of 2, 4 or 8 bytes"));
    assert_eq!(
        refused(&[2, 0, 0, 0, 1, 0, 0, 0]),
        text("4: count in the header does not fit the bytes there are")
    );
    assert_eq!(refused(&[2, 0, 0, 0, 0, 0, 0, 0]), text("4: no members"));
    assert_eq!(
        refused(&[2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 1, 0]),
        text("10: members are not in ascending order")
    );
}

#[test]
fn every_member_is_drawn() {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
    assert_eq!(IntSet::new().random(&mut rng), None);
    let mut set = IntSet::new();
    assert!((0..10).all(|value| set.add(value)));
    let drawn: BTreeSet<_> = (0..1000).filter_map(|_| set.random(&mut rng)).collect();
    assert_eq!(drawn.len(), 10);
}
