//! A rope against a vector of leaves, with a frozen copy that must never change.

use proptest::prelude::*;

use super::*;

/// A leaf of `weight` that can be told from others.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Piece {
    id: u32,
    weight: usize,
}

impl Leaf for Piece {
    fn weight(&self) -> usize {
        self.weight
    }
}

impl<L: Leaf> Rope<L> {
    /// Panics unless the invariants at the top of the module hold.
    pub(in crate::engine::types) fn check(&self) {
        fn visit<L: Leaf>(child: &Child<L>, height: usize) -> usize {
            match &*child.node {
                Node::Leaf(leaf) => {
                    assert_eq!(height, 0, "all leaves lie at one depth");
                    assert!(leaf.weight() > 0);
                    assert_eq!(child.weight, leaf.weight());
                    1
                }
                Node::Branch(children) => {
                    assert!((1..=FANOUT).contains(&children.len()), "{} children", children.len());
                    assert_eq!(child.weight, children.iter().map(|child| child.weight).sum::<usize>());
                    children.iter().map(|child| visit(child, height - 1)).sum()
                }
            }
        }
        let leaves = self.root.as_ref().map_or(0, |root| visit(root, self.height));
        assert_eq!(leaves, self.leaf_count);
        if self.height > 0 {
            assert!(self.root.as_ref().is_some_and(|root| root.width() >= 2));
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    PushBack(usize),
    PushFront(usize),
    Repeat(usize, usize),
    Insert(prop::sample::Index, usize),
    Remove(prop::sample::Index),
    RemoveRun(prop::sample::Index, usize),
    Reweigh(prop::sample::Index, usize),
    Freeze,
}

fn op() -> impl Strategy<Value = Op> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => (1usize..5).prop_map(Op::PushBack),
        6 => (1usize..5).prop_map(Op::PushFront),
        2 => (1usize..5, 1usize..200).prop_map(|(weight, count)| Op::Repeat(weight, count)),
        6 => (index(), 1usize..5).prop_map(|(at, weight)| Op::Insert(at, weight)),
        3 => index().prop_map(Op::Remove),
        1 => (index(), 1usize..100).prop_map(|(at, count)| Op::RemoveRun(at, count)),
        4 => (index(), 0usize..5).prop_map(|(at, weight)| Op::Reweigh(at, weight)),
        1 => Just(Op::Freeze),
    ]
}

fn contents(rope: &Rope<Piece>) -> Vec<Piece> {
    rope.leaves().cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn behaves_like_a_vector_and_frozen_copies_stay(ops in proptest::collection::vec(op(), 0..200), probe in any::<prop::sample::Index>()) {
        let (mut rope, mut model) = (Rope::new(), Vec::<Piece>::new());
        let mut frozen = (rope.clone(), model.clone());
        for (id, op) in ops.into_iter().enumerate() {
            let begin = |model: &[Piece], index: usize| model[..index].iter().map(|piece| piece.weight).sum::<usize>();
            let piece = |weight| Piece { id: id as u32, weight };
            match op {
                Op::PushBack(weight) => {
                    rope.push_back(piece(weight));
                    model.push(piece(weight));
                }
                Op::PushFront(weight) => {
                    rope.push_front(piece(weight));
                    model.insert(0, piece(weight));
                }
                Op::Repeat(weight, count) => {
                    rope.push_back_repeated(piece(weight), count);
                    model.extend(std::iter::repeat_n(piece(weight), count));
                }
                Op::Insert(at, weight) => {
                    let at = at.index(model.len() + 1);
                    rope.insert(begin(&model, at), piece(weight));
                    model.insert(at, piece(weight));
                }
                Op::Freeze => frozen = (rope.clone(), model.clone()),
                _ if model.is_empty() => prop_assert!(rope.remove(0).is_none() && rope.is_empty()),
                Op::Remove(at) => {
                    let at = at.index(model.len());
                    let offset = begin(&model, at) + model[at].weight - 1;
                    prop_assert_eq!(rope.remove(offset), Some(model.remove(at)));
                }
                Op::RemoveRun(at, count) => {
                    let at = at.index(model.len());
                    let offset = begin(&model, at);
                    for removed in model.drain(at..(at + count).min(model.len())).collect::<Vec<_>>() {
                        prop_assert_eq!(rope.remove(offset), Some(removed));
                    }
                }
                Op::Reweigh(at, weight) => {
                    let at = at.index(model.len());
                    let inner = model[at].weight - 1;
                    let found = rope.update(begin(&model, at) + inner, |leaf, offset| {
                        leaf.weight = weight;
                        (leaf.id, offset)
                    });
                    prop_assert_eq!(found, Some((model[at].id, inner)));
                    model[at].weight = weight;
                    model.retain(|piece| piece.weight > 0);
                }
            }
            if id % 8 == 0 {
                rope.check();
            }
        }
        rope.check();
        prop_assert_eq!(contents(&rope), model.clone());
        prop_assert_eq!(contents(&frozen.0), frozen.1);
        frozen.0.check();

        let mut offset = 0;
        for (index, piece) in model.iter().enumerate() {
            for inner in 0..piece.weight {
                prop_assert_eq!(rope.locate(offset + inner), Some((piece, inner)));
            }
            if index == probe.index(model.len()) {
                let back: Vec<_> = rope.leaves_back_from(offset).map(|(_, leaf)| leaf).collect();
                prop_assert_eq!(back, model[..=index].iter().rev().collect::<Vec<_>>());
            }
            prop_assert_eq!(rope.leaves_from(offset).next(), Some((offset, piece)));
            offset += piece.weight;
        }
        prop_assert_eq!(rope.weight(), offset);
        prop_assert_eq!(rope.locate(offset), None);
        prop_assert!(rope.update(offset, |_, _| ()).is_none());
        prop_assert_eq!((rope.first(), rope.last()), (model.first(), model.last()));
    }
}

#[test]
fn a_rope_pushed_together_has_full_branches() {
    for front in [false, true] {
        let mut rope = Rope::new();
        for id in 0..(FANOUT * FANOUT) as u32 {
            let piece = Piece { id, weight: 1 };
            if front { rope.push_front(piece) } else { rope.push_back(piece) }
        }
        rope.check();
        assert_eq!(rope.height, 2, "no branch is left half full");
    }
}

#[test]
fn a_queue_neither_grows_nor_leans() {
    let mut rope = Rope::new();
    for id in 0..100_000 {
        rope.push_back(Piece { id, weight: 2 });
        if id >= 100 {
            assert_eq!(rope.remove(0).map(|piece| piece.id), Some(id - 100));
        }
        if id % 1000 == 0 {
            rope.check();
        }
    }
    assert_eq!((rope.weight(), rope.leaf_count()), (200, 100));
    assert!(rope.height <= 3, "height {}", rope.height);
}

#[test]
#[should_panic(expected = "inside a leaf")]
fn inserting_into_a_leaf_is_a_mistake() {
    let mut rope: Rope<Piece> = (0..100).map(|id| Piece { id, weight: 3 }).collect();
    rope.insert(4, Piece { id: 100, weight: 1 });
}
