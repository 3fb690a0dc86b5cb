//! A list against a `VecDeque`, at small limits so that nodes split and forms change often, with a frozen
//! copy that must never change; and the moments of conversion.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::super::listpack::tests::{element, remove_from_model};
use super::*;

#[derive(Debug, Clone)]
enum Op {
    PushFront(Vec<Vec<u8>>),
    PushBack(Vec<Vec<u8>>),
    PopFront,
    PopBack,
    Set(prop::sample::Index, Vec<u8>),
    Insert(prop::sample::Index, Vec<u8>),
    RemoveRange(prop::sample::Index, usize),
    Trim(prop::sample::Index, prop::sample::Index),
    RemoveMatching(prop::sample::Index, usize, bool),
    Reload,
    Freeze,
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;
    let large = (4000usize..9000).prop_map(|len| vec![b'L'; len]);
    let element = move || prop_oneof![20 => element(), 1 => large.clone(), 4 => Just(b"same".to_vec())];
    let elements = {
        let element = element.clone();
        move || proptest::collection::vec(element(), 1..8)
    };
    prop_oneof![
        4 => elements().prop_map(Op::PushFront),
        4 => elements().prop_map(Op::PushBack),
        2 => Just(Op::PopFront),
        2 => Just(Op::PopBack),
        3 => (index(), element()).prop_map(|(at, element)| Op::Set(at, element)),
        6 => (index(), element()).prop_map(|(at, element)| Op::Insert(at, element)),
        1 => (index(), 0usize..40).prop_map(|(at, count)| Op::RemoveRange(at, count)),
        1 => (index(), index()).prop_map(|(one, other)| Op::Trim(one, other)),
        2 => (index(), 0usize..4, any::<bool>()).prop_map(|(at, limit, tail)| Op::RemoveMatching(at, limit, tail)),
        1 => Just(Op::Reload),
        1 => Just(Op::Freeze),
    ]
}

fn limits() -> impl Strategy<Value = ListLimits> {
    let size = prop_oneof![Just(-1), Just(-2), Just(-9), 0..6, Just(128)];
    (size, prop_oneof![4 => Just(ListPack::MAX_BYTES), 1 => 10usize..200])
        .prop_map(|(max_listpack_size, packed_threshold)| ListLimits { max_listpack_size, packed_threshold })
}

fn slices(elements: &[Vec<u8>]) -> impl Iterator<Item = &[u8]> + Clone {
    elements.iter().map(Vec::as_slice)
}

fn contents<'a>(entries: impl Iterator<Item = Entry<'a>>) -> Vec<Vec<u8>> {
    entries.map(|entry| entry.to_bytes().into_owned()).collect()
}

fn owned(node: NodeRef<'_>) -> ListNode {
    match node {
        NodeRef::Packed(pack) => {
            ListNode::Packed(ListPack::from_bytes(pack.as_bytes().to_vec()).expect("own bytes are valid"))
        }
        NodeRef::Plain(bytes) => ListNode::Plain(bytes.to_vec()),
    }
}

impl List {
    fn check(&self, limits: &ListLimits) {
        let Repr::Quick(rope) = &self.repr else { return };
        rope.check();
        for node in rope.leaves() {
            if let ListNode::Packed(pack) = node {
                assert!(!limits.exceeded_by(pack.as_bytes().len(), 1) || pack.len() > 1);
                assert!(pack.as_bytes().len() <= 65536 + 8);
            }
        }
    }
}

fn apply(op: Op, list: &mut List, model: &mut Vec<Vec<u8>>, limits: &ListLimits) {
    match op {
        Op::PushFront(elements) => {
            list.push_front_all(slices(&elements), limits);
            model.splice(0..0, elements.into_iter().rev());
        }
        Op::PushBack(elements) => {
            list.push_back_all(slices(&elements), limits);
            model.extend(elements);
        }
        Op::PopFront => {
            let expected = (!model.is_empty()).then(|| model.remove(0));
            assert_eq!(list.pop_front(limits), expected);
        }
        Op::PopBack => assert_eq!(list.pop_back(limits), model.pop()),
        Op::Set(at, element) => {
            let at = at.index(model.len() + 1);
            assert_eq!(list.set(at, &element, limits), at < model.len());
            if let Some(place) = model.get_mut(at) {
                *place = element;
            }
        }
        Op::Insert(at, element) => {
            let at = at.index(model.len() + 1);
            list.insert(at, &element, limits);
            model.insert(at, element);
        }
        Op::RemoveRange(at, count) => {
            let at = at.index(model.len() + 1);
            list.remove_range(at, count, limits);
            model.drain(at..(at + count).min(model.len()));
        }
        Op::Trim(one, other) => {
            let (one, other) = (one.index(model.len() + 1), other.index(model.len() + 1));
            let (start, end) = (one.min(other), one.max(other));
            // Trimming in earnest would leave most runs with empty lists.
            let (start, end) = (start / 4, model.len() - (model.len() - end) / 4);
            list.trim(start, end - start, limits);
            *model = model[start..end].to_vec();
        }
        Op::RemoveMatching(at, limit, from_tail) => {
            let element = if model.is_empty() { Vec::new() } else { model[at.index(model.len())].clone() };
            let removed = list.remove_matching(&Needle::new(&element), limit, from_tail, limits);
            assert_eq!(removed, remove_from_model(model, &element, limit, from_tail));
        }
        Op::Reload => *list = List::from_nodes(list.nodes().map(owned), limits),
        Op::Freeze => unreachable!("the caller freezes"),
    }
}

proptest! {
    #[test]
    fn behaves_like_a_vector_and_frozen_copies_stay(
        limits in limits(),
        start in proptest::collection::vec(element(), 0..60),
        ops in proptest::collection::vec(op(), 0..60),
        at in any::<prop::sample::Index>(),
    ) {
        let (mut list, mut model) = (List::new(), start);
        list.push_back_all(slices(&model), &limits);
        let mut frozen = (list.clone(), model.clone());
        for op in ops {
            if let Op::Freeze = op {
                frozen = (list.clone(), model.clone());
            } else {
                apply(op, &mut list, &mut model, &limits);
            }
            list.check(&limits);
            prop_assert_eq!(list.len(), model.len());
        }
        prop_assert_eq!(&contents(list.iter()), &model);
        prop_assert_eq!(contents(frozen.0.iter()), frozen.1);
        prop_assert_eq!(list.nodes().count(), list.node_count());

        let at = at.index(model.len() + 1);
        prop_assert_eq!(contents(list.iter_from(at)), &model[at..]);
        let mut back = contents(list.iter_back_from(at));
        back.reverse();
        prop_assert_eq!(&back[..], if at < model.len() { &model[..=at] } else { &[] });
        prop_assert_eq!(list.get(at).map(|entry| entry.to_bytes().into_owned()), model.get(at).cloned());
    }

    #[test]
    fn a_long_queue_behaves_like_a_deque(
        turns in proptest::collection::vec((0usize..600, 0usize..600, any::<bool>()), 1..30),
    ) {
        let limits = ListLimits::default();
        let (mut list, mut model, mut next) = (List::new(), VecDeque::new(), 0u64);
        for (pushed, popped, front) in turns {
            for _ in 0..pushed {
                let element = (next * 7919).to_string().into_bytes();
                next += 1;
                if front { list.push_front(&element, &limits) } else { list.push_back(&element, &limits) }
                if front { model.push_front(element) } else { model.push_back(element) }
            }
            for _ in 0..popped {
                let (got, expected) = if front {
                    (list.pop_back(&limits), model.pop_back())
                } else {
                    (list.pop_front(&limits), model.pop_front())
                };
                prop_assert_eq!(got, expected);
            }
            list.check(&limits);
        }
        prop_assert_eq!(model, contents(list.iter()));
    }
}

fn filled(count: usize, len: usize, limits: &ListLimits) -> List {
    let mut list = List::new();
    (0..count).for_each(|_| list.push_back(&vec![b'x'; len], limits));
    list
}

#[test]
fn size_limits_convert_at_the_limit_and_back_at_half() {
    let limits = ListLimits::default();
    // 98 bytes of string, two of head, one of backlen; 7 of the listpack.
    let (per_element, frame) = (101, 7);
    let mut list = filled(81, 98, &limits);
    assert_eq!((list.encoding_name(), frame + 81 * per_element), ("listpack", 8188));
    list.push_back(b"x", &limits);
    assert_eq!(list.encoding_name(), "listpack", "8188 and 1 are within 8192");
    list.push_back(b"xx", &limits);
    assert_eq!(list.encoding_name(), "quicklist", "8191 and 2 are not");
    assert_eq!(list.pop_back(&limits).as_deref(), Some(&b"xx"[..]));
    while list.encoding_name() == "quicklist" {
        list.pop_back(&limits);
    }
    assert_eq!(list.len(), (4096 - frame) / per_element);
}

#[test]
fn count_limits_convert_at_the_limit_and_back_at_half() {
    let limits = ListLimits { max_listpack_size: 10, ..ListLimits::default() };
    let mut list = filled(10, 1, &limits);
    assert_eq!(list.encoding_name(), "listpack");
    list.push_front(b"x", &limits);
    assert_eq!((list.encoding_name(), list.node_count()), ("quicklist", 2));
    list.remove_range(0, 5, &limits);
    assert_eq!((list.encoding_name(), list.len()), ("quicklist", 6));
    list.pop_front(&limits);
    assert_eq!((list.encoding_name(), list.len()), ("listpack", 5));
}

#[test]
fn a_command_is_judged_by_the_sum_of_its_elements() {
    let limits = ListLimits::default();
    let mut list = List::new();
    list.push_back_all(std::iter::repeat_n(&b"x"[..], 8185), &limits);
    assert_eq!(list.encoding_name(), "listpack", "7 bytes of frame and 8185 are the limit");
    let mut list = List::new();
    list.push_back_all(std::iter::repeat_n(&b"x"[..], 8186), &limits);
    assert_eq!(list.encoding_name(), "quicklist");
}

#[test]
fn large_elements_stand_alone() {
    let limits = ListLimits::default();
    let mut list = List::new();
    list.push_back(b"a", &limits);
    list.push_back(&[b'L'; 10_000], &limits);
    list.push_back(b"b", &limits);
    let kinds: Vec<_> = list.nodes().map(|node| matches!(node, NodeRef::Plain(_))).collect();
    assert_eq!(kinds, [false, true, false]);
    assert!(list.set(1, b"small", &limits));
    assert_eq!(contents(list.iter()), [&b"a"[..], b"small", b"b"]);
    assert!(list.set(0, &[b'L'; 10_000], &limits));
    list.remove_range(1, 2, &limits);
    assert_eq!(list.encoding_name(), "quicklist", "the one element is beyond the limit");
    // Where the number of elements is the limit, their size does not keep a list from converting back.
    let limits = ListLimits { max_listpack_size: 4, ..limits };
    let mut list = filled(1, 10_000, &limits);
    assert_eq!(list.encoding_name(), "quicklist");
    list.push_back(b"x", &limits);
    list.pop_back(&limits);
    assert_eq!((list.encoding_name(), list.get(0).map(Entry::byte_len)), ("listpack", Some(10_000)));
}

#[test]
fn loaded_nodes_are_cut_and_empty_ones_skipped() {
    let limits = ListLimits::default();
    let mut pack = ListPack::new();
    (0..50_000).for_each(|value| pack.push_back_int(value));
    let list = List::from_nodes([ListNode::Packed(ListPack::new()), ListNode::Packed(pack)], &limits);
    list.check(&limits);
    assert_eq!((list.len(), list.get(49_999)), (50_000, Some(Entry::Int(49_999))));
    assert!(list.node_count() > 10);
    assert!(list.memory_usage(0) > 150_000);
    assert!(list.memory_usage(5).abs_diff(list.memory_usage(0)) < list.memory_usage(0) / 4);
    assert_eq!(List::from_nodes([], &limits).encoding_name(), "listpack");
}
