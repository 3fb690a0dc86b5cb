//! A sequence cut into weighted leaves, under a balanced tree of reference-counted branches.
//!
//! Long strings and long lists are ropes: the leaves are 16 KiB of bytes or a listpack, the
//! weight is what the value counts in (bytes, elements), and every branch knows the weight of each
//! of its children, so finding the leaf of an offset takes one short scan a level. `clone()`
//! copies the root's handle; from then on a write copies the leaf it changes and the path above it
//! (`Arc::make_mut`), whichever of the two copies writes.
//!
//! Invariants:
//! - all leaves lie at one depth; a branch has 1 to [`FANOUT`] children; a root branch has at
//!   least 2;
//! - a child's recorded weight is the sum of the weights under it;
//! - no leaf weighs nothing.
//!
//! Balance is kept as in a B+-tree: a branch that outgrows its limit is split, and one that
//! loses children is merged with a neighbour when both fit in one. Growth at either end splits off the
//! new child alone instead of halving, so a sequence that was pushed together has full branches.

#[cfg(test)]
mod tests;

use std::cmp::Ordering;
use std::sync::Arc;

/// Most children of a branch.
const FANOUT: usize = 32;
/// A branch with fewer children looks for a neighbour to merge with.
const SPARSE: usize = FANOUT / 4;

/// What a rope is made of.
pub trait Leaf: Clone {
    /// What the leaf adds to the offsets behind it: bytes of a string, elements of a list.
    fn weight(&self) -> usize;
}

/// A sequence of leaves with logarithmic access by weight and constant-time `clone`.
#[derive(Debug, Clone)]
pub struct Rope<L> {
    root: Option<Child<L>>,
    height: usize,
}

/// A subtree with its weight. At height 0 it is a leaf.
#[derive(Debug)]
struct Child<L> {
    weight: usize,
    node: Arc<Node<L>>,
}

#[derive(Debug, Clone)]
enum Node<L> {
    Leaf(L),
    Branch(Vec<Child<L>>),
}

impl<L> Clone for Child<L> {
    fn clone(&self) -> Self {
        Child { weight: self.weight, node: Arc::clone(&self.node) }
    }
}

impl<L: Leaf> Rope<L> {
    /// What a leaf costs beside what it owns itself: reference counts, the leaf, its place in a branch.
    pub const LEAF_OVERHEAD: usize = 2 * size_of::<usize>() + size_of::<Node<L>>() + size_of::<Child<L>>();

    /// A rope without leaves.
    pub fn new() -> Self {
        Rope { root: None, height: 0 }
    }

    /// Sum of the weights of all leaves.
    pub fn weight(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.weight)
    }

    /// Number of leaves, found by looking at the branches above them.
    pub fn leaf_count(&self) -> usize {
        self.root.as_ref().map_or(0, |root| root.leaf_count(self.height))
    }

    /// The leaf, if there is but one.
    pub fn only_leaf(&self) -> Option<&L> {
        if self.height == 0 { self.first() } else { None }
    }

    /// Whether there is no leaf.
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }

    /// The leaf that holds `offset`, and the offset within it.
    pub fn locate(&self, offset: usize) -> Option<(&L, usize)> {
        let mut child = self.root.as_ref().filter(|root| offset < root.weight)?;
        let mut inner = offset;
        loop {
            match &*child.node {
                Node::Leaf(leaf) => return Some((leaf, inner)),
                Node::Branch(children) => {
                    let (index, within) = child_at(children, inner);
                    (child, inner) = (&children[index], within);
                }
            }
        }
    }

    /// The first leaf.
    pub fn first(&self) -> Option<&L> {
        self.locate(0).map(|(leaf, _)| leaf)
    }

    /// The last leaf.
    pub fn last(&self) -> Option<&L> {
        self.locate(self.weight().checked_sub(1)?).map(|(leaf, _)| leaf)
    }

    /// Lets `change` work on the leaf that holds `offset` and settles the weights above it; a
    /// leaf that weighs nothing afterwards is removed. `None` if `offset` lies behind the end.
    ///
    /// This is the one way to write: it copies what a frozen copy still shares.
    pub fn update<R>(&mut self, offset: usize, change: impl FnOnce(&mut L, usize) -> R) -> Option<R> {
        let root = self.root.as_mut().filter(|root| offset < root.weight)?;
        let result = root.update(offset, change);
        if root.weight == 0 {
            *self = Self::new();
        } else {
            self.lower();
        }
        Some(result)
    }

    /// Adds a leaf at the end.
    pub fn push_back(&mut self, leaf: L) {
        self.insert(self.weight(), leaf);
    }

    /// Adds a leaf at the beginning.
    pub fn push_front(&mut self, leaf: L) {
        self.insert(0, leaf);
    }

    /// Adds `count` leaves at the end that share one allocation until they are written to, as do the branches above
    /// them: runs of 2, 4, 8, … leaves are made by joining a run to its own clone.
    pub fn push_back_repeated(&mut self, leaf: L, count: usize) {
        let mut run: Rope<L> = std::iter::once(leaf).collect();
        let mut left = count;
        while left > 0 {
            if left & 1 == 1 {
                self.append(run.clone());
            }
            left >>= 1;
            if left > 0 {
                run.append(run.clone());
            }
        }
    }

    /// Adds a leaf before the one that begins at `offset`; `offset == weight()` appends.
    ///
    /// # Panics
    /// If `offset` is not where a leaf begins.
    pub fn insert(&mut self, offset: usize, leaf: L) {
        self.insert_child(offset, Child::leaf(leaf));
    }

    /// Removes the leaf that holds `offset`.
    pub fn remove(&mut self, offset: usize) -> Option<L> {
        let root = self.root.as_mut().filter(|root| offset < root.weight)?;
        let removed = if self.height == 0 {
            self.root.take()?
        } else {
            let removed = root.remove(offset);
            self.lower();
            removed
        };
        Some(removed.into_leaf())
    }

    /// Takes away the leaves from `offset` on, as a rope of their own. Takes the time of a few writes,
    /// however many leaves there are; dropping many takes longer, and can be done elsewhere.
    ///
    /// # Panics
    /// If `offset` is neither where a leaf begins nor the end.
    pub fn split_off(&mut self, offset: usize) -> Rope<L> {
        let Some(root) = self.root.take() else {
            assert_eq!(offset, 0, "offset {offset} is behind the end");
            return Rope::new();
        };
        let (front, back) = root.split(self.height, offset);
        *self = front;
        back
    }

    /// Adds all leaves of `other` at the end, in the time of a few writes.
    pub fn append(&mut self, mut other: Rope<L>) {
        let Some(right) = other.root.take() else { return };
        let Some(left) = &mut self.root else {
            (self.root, self.height) = (Some(right), other.height);
            return;
        };
        let (rest, height) = match self.height.cmp(&other.height) {
            Ordering::Greater => (left.attach_back(self.height, right, other.height), self.height),
            Ordering::Equal => (Some(right), self.height),
            Ordering::Less => {
                // The taller rope is on the right, so it takes in the left one.
                let left = std::mem::replace(left, right);
                let root = self.root.as_mut().expect("it was replaced, not taken");
                (root.attach_front(other.height, left, self.height), other.height)
            }
        };
        self.height = height;
        if let Some(rest) = rest {
            self.grow_root(rest);
        }
        self.lower();
    }

    /// The leaves from the one that holds `offset` on, towards the end, each with the offset at which
    /// it begins.
    pub fn leaves_from(&self, offset: usize) -> impl Iterator<Item = (usize, &L)> {
        let mut next = offset;
        std::iter::from_fn(move || {
            let (leaf, inner) = self.locate(next)?;
            let begin = next - inner;
            next = begin + leaf.weight();
            Some((begin, leaf))
        })
    }

    /// The leaves from the one that holds `offset` on, towards the beginning, each with the offset at
    /// which it begins.
    pub fn leaves_back_from(&self, offset: usize) -> impl Iterator<Item = (usize, &L)> {
        let mut next = Some(offset);
        std::iter::from_fn(move || {
            let offset = next?;
            let (leaf, inner) = self.locate(offset)?;
            let begin = offset - inner;
            next = begin.checked_sub(1);
            Some((begin, leaf))
        })
    }

    /// All leaves in order.
    pub fn leaves(&self) -> impl Iterator<Item = &L> {
        self.leaves_from(0).map(|(_, leaf)| leaf)
    }

    fn insert_child(&mut self, offset: usize, child: Child<L>) {
        debug_assert!(child.weight > 0, "a leaf must weigh something");
        let Some(root) = self.root.as_mut() else {
            assert_eq!(offset, 0, "no leaf begins there");
            self.root = Some(child);
            return;
        };
        let split = if self.height == 0 {
            assert!(offset == 0 || offset == root.weight, "offset {offset} is inside a leaf");
            let before = offset == 0;
            Some(if before { std::mem::replace(root, child) } else { child })
        } else {
            root.insert(offset, child)
        };
        if let Some(rest) = split {
            self.grow_root(rest);
        }
    }

    /// Puts a new root above the present one and what was split off it.
    fn grow_root(&mut self, rest: Child<L>) {
        let mut children = vec![self.root.take().expect("only a root is split"), rest];
        settle(&mut children, 0);
        self.root = Some(Child::branch(children));
        self.height += 1;
    }

    /// A rope of what was a part of a branch of `height`.
    fn of_children(children: Vec<Child<L>>, height: usize) -> Self {
        if children.is_empty() {
            return Self::new();
        }
        let mut rope = Rope { root: Some(Child::branch(children)), height };
        rope.lower();
        rope
    }

    /// Takes away root branches with a single child.
    fn lower(&mut self) {
        while let Some(root) = &self.root {
            match &*root.node {
                Node::Branch(children) if children.len() == 1 => {
                    let only = children[0].clone();
                    self.root = Some(only);
                    self.height -= 1;
                }
                _ => return,
            }
        }
    }
}

impl<L: Leaf> Default for Rope<L> {
    fn default() -> Self {
        Self::new()
    }
}

impl<L: Leaf> FromIterator<L> for Rope<L> {
    fn from_iter<I: IntoIterator<Item = L>>(leaves: I) -> Self {
        let mut rope = Rope::new();
        leaves.into_iter().for_each(|leaf| rope.push_back(leaf));
        rope
    }
}

impl<L: Leaf> Child<L> {
    fn leaf(leaf: L) -> Self {
        Child { weight: leaf.weight(), node: Arc::new(Node::Leaf(leaf)) }
    }

    fn branch(children: Vec<Child<L>>) -> Self {
        let weight = children.iter().map(|child| child.weight).sum();
        Child { weight, node: Arc::new(Node::Branch(children)) }
    }

    fn is_leaf(&self) -> bool {
        matches!(*self.node, Node::Leaf(_))
    }

    /// Number of children; 0 for a leaf.
    fn width(&self) -> usize {
        match &*self.node {
            Node::Leaf(_) => 0,
            Node::Branch(children) => children.len(),
        }
    }

    /// The children of a branch, copied if they are shared.
    fn children_mut(&mut self) -> &mut Vec<Child<L>> {
        match Arc::make_mut(&mut self.node) {
            Node::Branch(children) => children,
            Node::Leaf(_) => unreachable!("only branches are asked for children"),
        }
    }

    fn into_leaf(self) -> L {
        match Arc::try_unwrap(self.node).unwrap_or_else(|shared| Node::clone(&shared)) {
            Node::Leaf(leaf) => leaf,
            Node::Branch(_) => unreachable!("only leaves are taken out"),
        }
    }

    fn leaf_count(&self, height: usize) -> usize {
        match &*self.node {
            Node::Leaf(_) => 1,
            Node::Branch(children) if height == 1 => children.len(),
            Node::Branch(children) => children.iter().map(|child| child.leaf_count(height - 1)).sum(),
        }
    }

    /// Changes the leaf at `offset`.
    fn update<R>(&mut self, offset: usize, change: impl FnOnce(&mut L, usize) -> R) -> R {
        match Arc::make_mut(&mut self.node) {
            Node::Leaf(leaf) => {
                let result = change(leaf, offset);
                self.weight = leaf.weight();
                result
            }
            Node::Branch(children) => {
                let (index, inner) = child_at(children, offset);
                let before = children[index].weight;
                let result = children[index].update(inner, change);
                self.weight = self.weight - before + children[index].weight;
                settle(children, index);
                result
            }
        }
    }

    /// Inserts a leaf into a branch. Where the branch would grow too wide, it keeps the front part and
    /// gives back the rest as a branch of the same height.
    fn insert(&mut self, offset: usize, child: Child<L>) -> Option<Child<L>> {
        let (at_front, at_back) = (offset == 0, offset == self.weight);
        self.weight += child.weight;
        let children = self.children_mut();
        let (index, inner) = if at_back { (children.len(), 0) } else { child_at(children, offset) };
        if children[0].is_leaf() {
            assert_eq!(inner, 0, "offset {offset} is inside a leaf");
            children.insert(index, child);
        } else {
            let index = index.min(children.len() - 1);
            let inner = if at_back { children[index].weight } else { inner };
            if let Some(rest) = children[index].insert(inner, child) {
                children.insert(index + 1, rest);
            }
        }
        let keep = match (at_front, at_back) {
            (true, _) => 1,
            (_, true) => children.len() - 1,
            _ => children.len() / 2,
        };
        self.split_if_wide(keep)
    }

    /// Where a branch has become too wide, keeps the first `keep` children and gives back the others.
    fn split_if_wide(&mut self, keep: usize) -> Option<Child<L>> {
        if self.width() <= FANOUT {
            return None;
        }
        let rest = Child::branch(self.children_mut().split_off(keep));
        self.weight -= rest.weight;
        Some(rest)
    }

    /// Adds a lower subtree behind all that is in a branch; gives back what no longer fits.
    fn attach_back(&mut self, height: usize, child: Child<L>, child_height: usize) -> Option<Child<L>> {
        self.weight += child.weight;
        let children = self.children_mut();
        if height == child_height + 1 {
            children.push(child);
        } else if let Some(last) = children.last_mut() {
            let rest = last.attach_back(height - 1, child, child_height);
            children.extend(rest);
        }
        let (last, keep) = (children.len() - 1, children.len() - 1);
        settle(children, last);
        self.split_if_wide(keep)
    }

    /// Adds a lower subtree before all that is in a branch; gives back what no longer fits.
    fn attach_front(&mut self, height: usize, child: Child<L>, child_height: usize) -> Option<Child<L>> {
        self.weight += child.weight;
        let children = self.children_mut();
        if height == child_height + 1 {
            children.insert(0, child);
        } else {
            let rest = children[0].attach_front(height - 1, child, child_height);
            children.splice(1..1, rest);
        }
        settle(children, 0);
        self.split_if_wide(1)
    }

    /// Cuts a subtree of `height` in two.
    fn split(mut self, height: usize, offset: usize) -> (Rope<L>, Rope<L>) {
        if offset == 0 || offset == self.weight {
            let mut whole = Rope { root: Some(self), height };
            whole.lower();
            return if offset == 0 { (Rope::new(), whole) } else { (whole, Rope::new()) };
        }
        assert!(height > 0, "offset {offset} is inside a leaf");
        assert!(offset < self.weight, "offset {offset} is behind the end");
        let mut children = std::mem::take(self.children_mut());
        let (index, inner) = child_at(&children, offset);
        let behind = children.split_off(index + 1);
        let cut = children.pop().expect("the child at the index");
        let (cut_front, mut back) = cut.split(height - 1, inner);
        let mut front = Rope::of_children(children, height);
        front.append(cut_front);
        back.append(Rope::of_children(behind, height));
        (front, back)
    }

    /// Takes the leaf at `offset` out of a branch.
    fn remove(&mut self, offset: usize) -> Child<L> {
        let children = self.children_mut();
        let (index, inner) = child_at(children, offset);
        let removed = if children[index].is_leaf() {
            children.remove(index)
        } else {
            let removed = children[index].remove(inner);
            settle(children, index);
            removed
        };
        self.weight -= removed.weight;
        removed
    }
}

/// After the child at `index` lost something: drops it if it is empty, and merges it with a neighbour if
/// it is a sparse branch.
fn settle<L: Leaf>(children: &mut Vec<Child<L>>, index: usize) {
    if children[index].weight == 0 {
        children.remove(index);
        return;
    }
    if children[index].is_leaf() || children[index].width() >= SPARSE {
        return;
    }
    let fits = |left: usize| {
        left + 1 < children.len() && children[left].width() + children[left + 1].width() <= FANOUT
    };
    let Some(left) = [Some(index), index.checked_sub(1)].into_iter().flatten().find(|&left| fits(left))
    else {
        return;
    };
    let mut right = children.remove(left + 1);
    children[left].weight += right.weight;
    children[left].children_mut().append(right.children_mut());
}

/// Index of the child that holds `offset`, and the offset within it.
fn child_at<L>(children: &[Child<L>], offset: usize) -> (usize, usize) {
    let mut inner = offset;
    for (index, child) in children.iter().enumerate() {
        if inner < child.weight {
            return (index, inner);
        }
        inner -= child.weight;
    }
    unreachable!("offset {offset} lies within the branch")
}
