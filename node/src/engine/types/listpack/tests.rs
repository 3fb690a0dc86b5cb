//! A listpack against a vector of byte strings, against bytes known from the format, and against noise.

use proptest::prelude::*;

use super::*;

/// An element of each encoding, boundaries included.
pub(in crate::engine::types) fn element() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        any::<i64>().prop_map(|value| value.to_string().into_bytes()),
        (-5000i64..5000).prop_map(|value| value.to_string().into_bytes()),
        (0u32..64, any::<bool>()).prop_map(|(bits, negative)| {
            let value = (1i128 << bits) * if negative { -1 } else { 1 };
            value.to_string().into_bytes()
        }),
        proptest::collection::vec(any::<u8>(), 0..80),
        (60usize..70, 4090usize..4100, any::<bool>()).prop_map(|(short, long, is_long)| vec![
            b'x';
            if is_long {
                long
            } else {
                short
            }
        ]),
    ]
}

#[derive(Debug, Clone)]
enum Op {
    PushBack(Vec<u8>),
    PushFront(Vec<u8>),
    Insert(prop::sample::Index, Vec<u8>),
    Replace(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index),
    RemoveRange(prop::sample::Index, usize),
    RemoveMatching(prop::sample::Index, usize, bool),
    SplitAndRejoin(prop::sample::Index),
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => element().prop_map(Op::PushBack),
        2 => element().prop_map(Op::PushFront),
        2 => (index(), element()).prop_map(|(at, element)| Op::Insert(at, element)),
        2 => (index(), element()).prop_map(|(at, element)| Op::Replace(at, element)),
        2 => index().prop_map(Op::Remove),
        1 => (index(), 0usize..5).prop_map(|(at, count)| Op::RemoveRange(at, count)),
        1 => (index(), 0usize..3, any::<bool>()).prop_map(|(at, limit, tail)| Op::RemoveMatching(at, limit, tail)),
        1 => index().prop_map(Op::SplitAndRejoin),
    ]
}

fn apply(op: &Op, pack: &mut ListPack, model: &mut Vec<Vec<u8>>) {
    match op {
        Op::PushBack(element) => {
            pack.push_back(element);
            model.push(element.clone());
        }
        Op::PushFront(element) => {
            pack.push_front(element);
            model.insert(0, element.clone());
        }
        Op::Insert(at, element) => {
            let at = at.index(model.len() + 1);
            pack.insert(at, element);
            model.insert(at, element.clone());
        }
        Op::RemoveRange(at, count) => {
            let at = at.index(model.len() + 1);
            pack.remove_range(at, *count);
            model.drain(at..(at + count).min(model.len()));
        }
        Op::SplitAndRejoin(at) => {
            let at = at.index(model.len() + 1);
            let tail = pack.split_off(at);
            assert_eq!((pack.len(), tail.len()), (at, model.len() - at));
            check(&tail, &model[at..]);
            pack.append(&tail);
        }
        _ if model.is_empty() => {}
        Op::Replace(at, element) => {
            let at = at.index(model.len());
            pack.replace(at, element);
            model[at].clone_from(element);
        }
        Op::Remove(at) => {
            let at = at.index(model.len());
            pack.remove(at);
            model.remove(at);
        }
        Op::RemoveMatching(at, limit, from_tail) => {
            let element = model[at.index(model.len())].clone();
            let removed = pack.remove_matching(&Needle::new(&element), *limit, *from_tail);
            assert_eq!(removed, remove_from_model(model, &element, *limit, *from_tail));
        }
    }
}

/// What LREM does to a vector; returns how many elements went.
pub(in crate::engine::types) fn remove_from_model(
    model: &mut Vec<Vec<u8>>,
    element: &[u8],
    limit: usize,
    from_tail: bool,
) -> usize {
    let matching: Vec<usize> = (0..model.len()).filter(|&index| model[index] == element).collect();
    let skipped = if from_tail { matching.len().saturating_sub(limit) } else { 0 };
    let doomed: Vec<usize> = matching.into_iter().skip(skipped).take(limit).collect();
    for index in doomed.iter().rev() {
        model.remove(*index);
    }
    doomed.len()
}

fn check(pack: &ListPack, model: &[Vec<u8>]) {
    let bytes = |entry: Entry<'_>| entry.to_bytes().into_owned();
    assert_eq!(pack.len(), model.len());
    assert_eq!(pack.iter().map(bytes).collect::<Vec<_>>(), model);
    assert_eq!(
        pack.iter().rev().map(bytes).collect::<Vec<_>>(),
        model.iter().rev().cloned().collect::<Vec<_>>()
    );
    for (index, element) in model.iter().enumerate() {
        assert_eq!(&bytes(pack.get(index).expect("within bounds")), element);
        assert!(pack.find(&Needle::new(element)).is_some());
    }
    assert_eq!(pack.get(model.len()), None);
    let middle = model.len() / 2;
    assert_eq!(pack.iter_from(middle).map(bytes).collect::<Vec<_>>(), model[middle..]);
    assert_eq!(pack.iter_until(middle).map(bytes).collect::<Vec<_>>(), model[..middle]);
    let reread = ListPack::from_bytes(pack.as_bytes().to_vec()).expect("own bytes are valid");
    assert_eq!(&reread, pack);
}

proptest! {
    #[test]
    fn behaves_like_a_vector(ops in proptest::collection::vec(op(), 0..60)) {
        let (mut pack, mut model) = (ListPack::new(), Vec::new());
        for op in &ops {
            apply(op, &mut pack, &mut model);
            prop_assert_eq!(pack.len(), model.len());
        }
        check(&pack, &model);
    }

    #[test]
    fn noise_is_refused_or_readable(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        read_whole(bytes);
    }

    #[test]
    fn damage_is_refused_or_readable(
        elements in proptest::collection::vec(element(), 1..12),
        damage in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        fix_total: bool,
    ) {
        let mut pack = ListPack::new();
        elements.iter().for_each(|element| pack.push_back(element));
        let mut bytes = pack.as_bytes().to_vec();
        for (at, value) in damage {
            let at = at.index(bytes.len());
            bytes[at] = value;
        }
        read_whole(bytes[..cut.index(bytes.len() + 1)].to_vec());
        if fix_total {
            let total = bytes.len() as u32;
            bytes[..4].copy_from_slice(&total.to_le_bytes());
            *bytes.last_mut().expect("never empty") = END;
        }
        read_whole(bytes);
    }
}

/// If the bytes pass as a listpack, everything in it can be read from both ends.
fn read_whole(bytes: Vec<u8>) {
    if let Ok(pack) = ListPack::from_bytes(bytes) {
        let forward: Vec<_> = pack.iter().collect();
        let mut backward: Vec<_> = pack.iter().rev().collect();
        backward.reverse();
        assert_eq!(forward, backward);
        assert_eq!(forward.len(), pack.len());
    }
}

#[test]
fn bytes_are_those_of_the_format() {
    let encoded = |element: &str| {
        let mut pack = ListPack::new();
        pack.push_back(element.as_bytes());
        let bytes = pack.as_bytes();
        assert_eq!(bytes[0] as usize, bytes.len());
        assert_eq!(&bytes[1..6], [0, 0, 0, 1, 0]);
        assert_eq!(bytes.last(), Some(&0xFF));
        bytes[6..bytes.len() - 1].to_vec()
    };
    assert_eq!(ListPack::new().as_bytes(), [7, 0, 0, 0, 0, 0, 0xFF]);
    assert_eq!(encoded("0"), [0, 1]);
    assert_eq!(encoded("127"), [127, 1]);
    assert_eq!(encoded("128"), [0xC0, 128, 2]);
    assert_eq!(encoded("-1"), [0xDF, 0xFF, 2]);
    assert_eq!(encoded("4095"), [0xCF, 0xFF, 2]);
    assert_eq!(encoded("-4096"), [0xD0, 0x00, 2]);
    assert_eq!(encoded("4096"), [0xF1, 0x00, 0x10, 3]);
    assert_eq!(encoded("-4097"), [0xF1, 0xFF, 0xEF, 3]);
    assert_eq!(encoded("32768"), [0xF2, 0x00, 0x80, 0x00, 4]);
    assert_eq!(encoded("-8388608"), [0xF2, 0x00, 0x00, 0x80, 4]);
    assert_eq!(encoded("8388608"), [0xF3, 0x00, 0x00, 0x80, 0x00, 5]);
    assert_eq!(encoded("-2147483649"), [0xF4, 0xFF, 0xFF, 0xFF, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 9]);
    assert_eq!(encoded(""), [0x80, 1]);
    assert_eq!(encoded("01"), [0x82, b'0', b'1', 3]);
    assert_eq!(&encoded(&"x".repeat(63))[..2], [0xBF, b'x']);
    assert_eq!(&encoded(&"x".repeat(64))[..3], [0xE0, 64, b'x']);
}

#[test]
fn long_strings_keep_the_format_and_walk_backwards() {
    // The longest entry of each size of backlen, and the first of the next: 127/128, 16382/16383, …
    for len in [125, 126, 127, 4095, 4096, 16377, 16378, 16379, 2_097_145, 2_097_146, 2_097_147] {
        let mut pack = ListPack::new();
        let long = vec![b'x'; len];
        pack.push_back(b"first");
        pack.push_back(&long);
        assert_eq!(pack.iter().next_back(), Some(Entry::Str(&long)), "length {len}");
        assert_eq!(pack.iter().rev().nth(1), Some(Entry::Str(b"first")), "length {len}");
        ListPack::from_bytes(pack.as_bytes().to_vec()).expect("own bytes are valid");
    }
    let mut pack = ListPack::new();
    pack.push_back(&[b'x'; 16378]);
    // 5 bytes of head and 16378 of string are 16383, which takes three bytes already.
    assert_eq!(pack.as_bytes().len(), HEADER + 16383 + 3 + 1);
    assert_eq!(&pack.as_bytes()[HEADER + 16383..], [0x00, 0xFF, 0xFF, 0xFF]);
}

#[test]
fn more_entries_than_the_header_can_count() {
    let mut pack = ListPack::new();
    (0..70_000).for_each(|_| pack.push_back_int(7));
    assert_eq!(&pack.as_bytes()[4..6], [0xFF, 0xFF]);
    assert_eq!(ListPack::from_bytes(pack.as_bytes().to_vec()).map(|pack| pack.len()), Ok(70_000));
    pack.remove_range(0, 69_998);
    assert_eq!(&pack.as_bytes()[4..6], [2, 0]);
    assert!(pack.memory_usage() < 64);
}

#[test]
fn what_is_wrong_is_named() {
    let refused = |bytes: &[u8]| ListPack::from_bytes(bytes.to_vec()).map_err(|error| error.to_string());
    let text = |what: &str| Err(format!("corrupt listpack at byte {what}"));
    assert_eq!(refused(&[7, 0, 0]), text("0: shorter than its header and terminator"));
    assert_eq!(
        refused(&[8, 0, 0, 0, 0, 0, 0xFF]),
        text("0: total bytes in the header are not the bytes there are")
    );
    assert_eq!(refused(&[7, 0, 0, 0, 0, 0, 0xFE]), text("6: no terminator at the end"));
    assert_eq!(
        refused(&[9, 0, 0, 0, 2, 0, 1, 1, 0xFF]),
        text("4: count in the header is not the number of entries")
    );
    assert_eq!(refused(&[9, 0, 0, 0, 1, 0, 1, 2, 0xFF]), text("6: length after the entry is not its length"));
    assert_eq!(refused(&[9, 0, 0, 0, 1, 0, 0xF5, 1, 0xFF]), text("6: no such encoding"));
    assert_eq!(refused(&[8, 0, 0, 0, 1, 0, 0xF0, 0xFF]), text("6: entry is cut off"));
    assert_eq!(refused(&[9, 0, 0, 0, 1, 0, 0x85, 1, 0xFF]), text("6: entry reaches past the end"));
    let huge = [0xF0, 0xFF, 0xFF, 0xFF, 0xFF];
    let bytes = [&[12, 0, 0, 0, 1, 0], &huge[..], &[0xFF]].concat();
    assert_eq!(refused(&bytes), text("6: entry reaches past the end"));
}
