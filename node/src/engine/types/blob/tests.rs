//! A string value against a `Vec<u8>`, with a frozen copy that must never change.

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Op {
    Append(usize),
    Write(prop::sample::Index, usize),
    WriteBeyond(usize, usize),
    Truncate(prop::sample::Index),
    Freeze,
}

/// Lengths around the boundaries of chunks and of the flat form, and small ones.
fn length() -> impl Strategy<Value = usize> {
    prop_oneof![
        4 => 0usize..100,
        2 => (CHUNK - 2)..(CHUNK + 3),
        1 => (FLAT_MAX - 2)..(FLAT_MAX + 3),
        1 => 0..(4 * CHUNK),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        4 => length().prop_map(Op::Append),
        4 => (index(), length()).prop_map(|(at, len)| Op::Write(at, len)),
        2 => (length(), length()).prop_map(|(gap, len)| Op::WriteBeyond(gap, len)),
        1 => index().prop_map(Op::Truncate),
        1 => Just(Op::Freeze),
    ]
}

impl Blob {
    fn check(&self) {
        let Repr::Chunked(rope) = &self.repr else { return };
        rope.check();
        assert!(self.len() > FLAT_MAX / 2);
        let mut begin = 0;
        for chunk in rope.leaves() {
            assert_eq!(begin % CHUNK, 0, "every chunk but the last is full");
            begin += chunk.0.len();
        }
    }
}

fn model_write(model: &mut Vec<u8>, offset: usize, bytes: &[u8]) {
    model.resize(model.len().max(offset + bytes.len()), 0);
    model[offset..offset + bytes.len()].copy_from_slice(bytes);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn behaves_like_a_vector_and_frozen_copies_stay(
        ops in proptest::collection::vec(op(), 0..24),
        range in (any::<prop::sample::Index>(), any::<prop::sample::Index>()),
    ) {
        let (mut blob, mut model) = (Blob::new(), Vec::new());
        let mut frozen = (blob.clone(), model.clone());
        for (stamp, op) in ops.into_iter().enumerate() {
            let bytes = |len: usize| (0..len).map(|at| (at * 7 + stamp) as u8 | 1).collect::<Vec<u8>>();
            match op {
                Op::Append(len) => {
                    blob.append(&bytes(len));
                    model.extend_from_slice(&bytes(len));
                }
                Op::Write(at, len) => {
                    let at = at.index(model.len() + 1);
                    blob.write_at(at, &bytes(len));
                    model_write(&mut model, at, &bytes(len));
                }
                Op::WriteBeyond(gap, len) => {
                    let at = model.len() + gap;
                    blob.write_at(at, &bytes(len));
                    model_write(&mut model, at, &bytes(len));
                }
                Op::Truncate(at) => {
                    let at = at.index(model.len() + 1);
                    blob.truncate(at);
                    model.truncate(at);
                }
                Op::Freeze => frozen = (blob.clone(), model.clone()),
            }
            blob.check();
            prop_assert!(blob == *model.as_slice(), "after step {}", stamp);
        }
        prop_assert!(frozen.0 == *frozen.1.as_slice());
        prop_assert_eq!(&blob, &Blob::from(model.clone()));
        prop_assert_eq!(blob == frozen.0, model == frozen.1);

        let (one, other) = (range.0.index(model.len() + 1), range.1.index(model.len() + 1));
        let (start, end) = (one.min(other), one.max(other));
        prop_assert!(*blob.read(start..end) == model[start..end]);
        prop_assert!(*blob.read(start..usize::MAX) == model[start..]);
        prop_assert_eq!(blob.chunks_in(start..end).collect::<Vec<_>>().concat(), &model[start..end]);
        prop_assert_eq!(blob.get(start), model.get(start).copied());
    }
}

#[test]
fn a_gap_of_zeros_costs_no_memory() {
    let mut blob = Blob::new();
    blob.write_at((32 << 20) - 1, b"x");
    blob.check();
    assert_eq!(blob.len(), 32 << 20);
    assert_eq!(blob.get((32 << 20) - 1), Some(b'x'));
    let Repr::Chunked(rope) = &blob.repr else { panic!("it is long") };
    let distinct: std::collections::HashSet<_> = rope.leaves().map(|chunk| chunk.0.as_ptr()).collect();
    assert_eq!(distinct.len(), 2, "all zeros but those of the last chunk are one chunk");
    blob.write_at(1 << 20, b"y");
    assert_eq!(blob.read((1 << 20) - 1..(1 << 20) + 2).as_ref(), [0, b'y', 0]);
    assert_eq!(blob.chunks().flatten().filter(|&&byte| byte != 0).count(), 2);
}

#[test]
fn reading_within_a_chunk_borrows() {
    let blob = Blob::from(vec![b'x'; 3 * CHUNK]);
    assert!(matches!(blob.read(CHUNK..2 * CHUNK), Cow::Borrowed(_)));
    assert!(matches!(blob.read(CHUNK..2 * CHUNK + 1), Cow::Owned(_)));
    assert_eq!(blob.read(5 * CHUNK..6 * CHUNK).len(), 0);
    assert_eq!(blob.memory_usage() / CHUNK, 3);
}

#[test]
fn appends_to_a_flat_string_are_amortised() {
    let mut blob = Blob::new();
    let mut moves = 0;
    let mut last = std::ptr::null();
    for _ in 0..FLAT_MAX {
        blob.append(b"x");
        let at = blob.read(0..1).as_ptr();
        moves += usize::from(at != last);
        last = at;
    }
    assert!(moves <= 20, "{moves} moves");
    assert!(matches!(blob.repr, Repr::Flat(_)));
    blob.append(b"x");
    assert!(matches!(blob.repr, Repr::Chunked(_)));
    blob.truncate(FLAT_MAX / 2);
    assert!(matches!(blob.repr, Repr::Flat(_)));
}
