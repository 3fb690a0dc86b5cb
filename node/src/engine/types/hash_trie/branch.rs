//! The tree above the leaves: finding, inserting, removing, and the splits and merges that follow.

use std::sync::Arc;

use super::leaf::{self, Halves, Leaf};
use super::{BITS, Hashed, KeyHasher, Layout};

/// Slots of a branch.
const SLOTS: u32 = 1 << BITS;

/// A subtree and the number of entries in it.
#[derive(Debug, Clone)]
pub(super) struct Child {
    pub(super) count: usize,
    pub(super) node: Node,
}

#[derive(Debug, Clone)]
pub(super) enum Node {
    Leaf(Arc<Leaf>),
    Branch(Arc<Branch>),
}

/// Children in hash order, each over a run of slots that begins where `starts` has a bit.
#[derive(Debug, Clone)]
pub(super) struct Branch {
    starts: u64,
    children: Vec<Child>,
}

impl Child {
    pub(super) fn leaf(leaf: Leaf) -> Self {
        Self::shared_leaf(Arc::new(leaf))
    }

    fn shared_leaf(leaf: Arc<Leaf>) -> Self {
        Child { count: leaf.len(), node: Node::Leaf(leaf) }
    }

    /// The leaf and the index in it at which a key lies.
    pub(super) fn find<L: Layout>(&self, hashed: &Hashed<'_>) -> Option<(&Leaf, usize)> {
        let (mut child, mut level) = (self, 0);
        loop {
            match &child.node {
                Node::Leaf(leaf) => return leaf.find::<L>(hashed).map(|index| (&**leaf, index)),
                Node::Branch(branch) => child = &branch.children[branch.index_of(hashed.slot(level))],
            }
            level += 1;
        }
    }

    /// The bytes of the entry of a rank below `count`.
    pub(super) fn entry_at(&self, rank: usize) -> &[u8] {
        let (mut child, mut rank) = (self, rank);
        loop {
            match &child.node {
                Node::Leaf(leaf) => return leaf.entry(rank),
                Node::Branch(branch) => {
                    let mut children = branch.children.iter();
                    child = children
                        .find(|child| {
                            let here = rank < child.count;
                            rank -= if here { 0 } else { child.count };
                            here
                        })
                        .expect("the rank is below the count of the branch");
                }
            }
        }
    }

    /// Adds a key that is not here yet. `level` is the level this child has or would have as a branch.
    pub(super) fn insert<L: Layout>(&mut self, hashed: &Hashed<'_>, value: &[u8], level: u32) {
        let len = L::entry_len(hashed.key, value);
        if let Node::Leaf(leaf) = &mut self.node {
            if leaf.admits(len) {
                Arc::make_mut(leaf).push::<L>(hashed, value);
                self.count += 1;
                return;
            }
            let whole = Branch { starts: 1, children: vec![self.clone()] };
            self.node = Node::Branch(Arc::new(whole));
        }
        let Node::Branch(branch) = &mut self.node else { unreachable!("it was made a branch above") };
        let branch = Arc::make_mut(branch);
        let slot = hashed.slot(level);
        let mut index = branch.index_of(slot);
        while branch.must_split(index, len) {
            branch.split::<L>(index, hashed.hasher, level);
            index = branch.index_of(slot);
        }
        branch.children[index].insert::<L>(hashed, value, level + 1);
        self.count += 1;
    }

    /// Removes a key that is here.
    pub(super) fn remove<L: Layout>(&mut self, hashed: &Hashed<'_>, level: u32) {
        self.count -= 1;
        let branch = match &mut self.node {
            Node::Leaf(leaf) => {
                let index = leaf.find::<L>(hashed).expect("the caller found the key");
                if leaf.len() == 1 {
                    // A huge entry that a snapshot shares need not be copied to be dropped.
                    *leaf = Arc::new(Leaf::new());
                } else {
                    Arc::make_mut(leaf).remove(index);
                }
                return;
            }
            Node::Branch(branch) => Arc::make_mut(branch),
        };
        let slot = hashed.slot(level);
        let index = branch.index_of(slot);
        branch.children[index].remove::<L>(hashed, level + 1);
        while branch.merge(branch.index_of(slot)) {}
        if let [only] = branch.children.as_slice()
            && matches!(only.node, Node::Leaf(_))
        {
            *self = only.clone();
        }
    }
}

impl Branch {
    /// The children, each with the run of slots that it covers.
    pub(super) fn spans(&self) -> impl Iterator<Item = (&Child, std::ops::Range<u32>)> {
        self.children.iter().scan(self.starts, |starts, child| {
            let first = starts.trailing_zeros();
            *starts &= *starts - 1;
            Some((child, first..starts.trailing_zeros().min(SLOTS)))
        })
    }

    pub(super) fn children(&self) -> &[Child] {
        &self.children
    }

    /// Index of the child that covers `slot`: as many as begin up to there, less one.
    fn index_of(&self, slot: u32) -> usize {
        (self.starts << (SLOTS - 1 - slot)).count_ones() as usize - 1
    }

    /// The first slot of the child at `index` and the number of slots it covers.
    fn span(&self, index: usize) -> (u32, u32) {
        let mut starts = self.starts;
        for _ in 0..index {
            starts &= starts - 1;
        }
        let first = starts.trailing_zeros();
        starts &= starts - 1;
        (first, starts.trailing_zeros().min(SLOTS) - first)
    }

    /// Whether the child at `index` is a leaf that must be halved before it takes `len` bytes. A leaf of a
    /// single slot is not halved but becomes a branch.
    fn must_split(&self, index: usize, len: usize) -> bool {
        match &self.children[index].node {
            Node::Leaf(leaf) => !leaf.admits(len) && self.span(index).1 > 1,
            Node::Branch(_) => false,
        }
    }

    /// Halves the leaf at `index`.
    fn split<L: Layout>(&mut self, index: usize, hasher: &KeyHasher, level: u32) {
        let (first, slots) = self.span(index);
        let middle = first + slots / 2;
        let Node::Leaf(whole) = &self.children[index].node else { unreachable!("only leaves are halved") };
        let (left, right) = match whole.halve::<L>(hasher, level, middle) {
            Halves::AllLeft => (Arc::clone(whole), Arc::new(Leaf::new())),
            Halves::AllRight => (Arc::new(Leaf::new()), Arc::clone(whole)),
            Halves::Both(left, right) => (left, right),
        };
        self.children[index] = Child::shared_leaf(left);
        self.children.insert(index + 1, Child::shared_leaf(right));
        self.starts |= 1 << middle;
    }

    /// Joins the leaf at `index` with the leaf it was once split from, if both together are at most half full;
    /// says whether it did.
    fn merge(&mut self, index: usize) -> bool {
        let (first, slots) = self.span(index);
        if slots == SLOTS {
            return false;
        }
        let buddy = if first & slots == 0 { index + 1 } else { index - 1 };
        let (left, right) = (index.min(buddy), index.max(buddy));
        if self.span(buddy).1 != slots {
            return false;
        }
        let (Node::Leaf(one), Node::Leaf(other)) = (&self.children[left].node, &self.children[right].node)
        else {
            return false;
        };
        let merged = if one.len() == 0 {
            Arc::clone(other)
        } else if other.len() == 0 {
            Arc::clone(one)
        } else if one.len() + other.len() <= leaf::MAX_ENTRIES / 2
            && one.byte_len() + other.byte_len() <= leaf::MAX_BYTES / 2
        {
            let mut merged = Arc::clone(one);
            Arc::make_mut(&mut merged).absorb(other);
            merged
        } else {
            return false;
        };
        self.starts &= !(1 << self.span(right).0);
        self.children[left] = Child::shared_leaf(merged);
        self.children.remove(right);
        true
    }
}
