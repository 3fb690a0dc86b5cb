//! Walking the trie in hash order: whole, or in turns that survive changes between them.

use std::marker::PhantomData;
use std::ops::Range;

use super::branch::{Child, Node};
use super::leaf::Leaf;
use super::{KeyHasher, Layout};

/// The leaves under a child, in hash order.
#[derive(Debug, Clone)]
pub(super) struct Leaves<'a> {
    /// What is left of each branch on the path to the next leaf.
    path: Vec<std::slice::Iter<'a, Child>>,
}

impl<'a> Leaves<'a> {
    pub(super) fn new(root: &'a Child) -> Self {
        Leaves { path: vec![std::slice::from_ref(root).iter()] }
    }
}

impl<'a> Iterator for Leaves<'a> {
    type Item = &'a Leaf;

    fn next(&mut self) -> Option<&'a Leaf> {
        loop {
            match self.path.last_mut()?.next().map(|child| &child.node) {
                None => drop(self.path.pop()),
                Some(Node::Leaf(leaf)) => return Some(leaf),
                Some(Node::Branch(branch)) => self.path.push(branch.children().iter()),
            }
        }
    }
}

/// All entries of a table in hash order, as keys and values.
#[derive(Debug, Clone)]
pub struct Iter<'a, L> {
    leaves: Leaves<'a>,
    leaf: Option<&'a Leaf>,
    index: usize,
    layout: PhantomData<L>,
}

impl<'a, L> Iter<'a, L> {
    pub(super) fn new(root: &'a Child) -> Self {
        Iter { leaves: Leaves::new(root), leaf: None, index: 0, layout: PhantomData }
    }
}

impl<'a, L: Layout> Iterator for Iter<'a, L> {
    type Item = (&'a [u8], &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(leaf) = self.leaf.filter(|leaf| self.index < leaf.len()) {
                self.index += 1;
                return Some(L::split(leaf.entry(self.index - 1)));
            }
            self.leaf = Some(self.leaves.next()?);
            self.index = 0;
        }
    }
}

/// One turn of a scan.
pub(super) struct Scan<'a, F> {
    pub(super) hasher: &'a KeyHasher,
    /// The least position to visit.
    pub(super) cursor: u64,
    /// How many entries to visit before stopping at the next end of a leaf.
    pub(super) left: usize,
    pub(super) visit: &'a mut F,
}

impl<F: FnMut(&[u8], &[u8])> Scan<'_, F> {
    /// Visits what lies under `child`, which covers `positions`; gives the position to go on from if the turn
    /// ends here.
    pub(super) fn walk<L: Layout>(&mut self, child: &Child, positions: Range<u64>) -> Option<u64> {
        if positions.end <= self.cursor {
            return None;
        }
        match &child.node {
            Node::Leaf(leaf) => {
                self.visit_leaf::<L>(leaf, positions.start < self.cursor);
                (self.left == 0).then_some(positions.end)
            }
            // Below the last level that positions tell apart, everything is at one position.
            Node::Branch(_) if positions.end - positions.start == 1 => {
                Leaves::new(child).for_each(|leaf| self.visit_leaf::<L>(leaf, false));
                (self.left == 0).then_some(positions.end)
            }
            Node::Branch(branch) => {
                let slot_len = (positions.end - positions.start) >> super::BITS;
                let at = |slot: u32| positions.start + u64::from(slot) * slot_len;
                branch.spans().find_map(|(child, span)| self.walk::<L>(child, at(span.start)..at(span.end)))
            }
        }
    }

    /// Visits the entries of a leaf; of one that begins before the cursor, only those from there on.
    fn visit_leaf<L: Layout>(&mut self, leaf: &Leaf, begins_before: bool) {
        for entry in leaf.entries() {
            let (key, value) = L::split(entry);
            if !begins_before || self.hasher.hash(key).position() >= self.cursor {
                (self.visit)(key, value);
                self.left = self.left.saturating_sub(1);
            }
        }
    }
}
