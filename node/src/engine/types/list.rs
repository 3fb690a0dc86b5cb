//! The list: one listpack while small, a rope of listpacks ("quicklist") beyond.
//!
//! The thresholds are those of `list-max-listpack-size` and the moments of conversion are Redis's, as
//! OBJECT ENCODING shows them. A list that grows turns into a quicklist before the elements of a
//! command are added, judged on the sum of their lengths; one that shrinks turns back only
//! at half of the limit, so that a list at the limit does not flap.
//!
//! A node of a quicklist is a listpack within the same limit, or one element too large to share a node
//! ([`ListNode::Plain`]), so that no listpack is large and copying one on a write is cheap.

mod node;
#[cfg(test)]
mod tests;

pub use node::{ListLimits, ListNode};

use super::entry::{Entry, Needle};
use super::listpack::ListPack;
use super::rope::{Leaf, Rope};

/// A sequence of byte strings that is fast at both ends.
#[derive(Debug, Clone)]
pub struct List {
    repr: Repr,
}

#[derive(Debug, Clone)]
enum Repr {
    Small(ListPack),
    Quick(Rope<ListNode>),
}

impl List {
    /// An empty list.
    pub fn new() -> Self {
        List { repr: Repr::Small(ListPack::new()) }
    }

    /// A list of loaded nodes, in the form that its size asks for. Empty nodes are skipped; a node far
    /// beyond the limit is cut, so that later writes stay cheap.
    pub fn from_nodes(nodes: impl IntoIterator<Item = ListNode>, limits: &ListLimits) -> Self {
        let mut rope = Rope::new();
        for node in nodes {
            node.cut_to_size(limits).into_iter().for_each(|node| rope.push_back(node));
        }
        let mut list = List { repr: Repr::Quick(rope) };
        list.become_small(limits, 1);
        list
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match &self.repr {
            Repr::Small(pack) => pack.len(),
            Repr::Quick(rope) => rope.weight(),
        }
    }

    /// Whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What OBJECT ENCODING says: `listpack` or `quicklist`.
    pub fn encoding_name(&self) -> &'static str {
        match &self.repr {
            Repr::Small(_) => "listpack",
            Repr::Quick(_) => "quicklist",
        }
    }

    /// The list's nodes as an RDB file stores them; a small list is one node.
    pub fn nodes(&self) -> impl Iterator<Item = NodeRef<'_>> {
        let (small, quick) = match &self.repr {
            Repr::Small(pack) => (Some(NodeRef::Packed(pack)), None),
            Repr::Quick(rope) => (None, Some(rope.leaves().map(NodeRef::from))),
        };
        small.into_iter().chain(quick.into_iter().flatten())
    }

    /// Number of nodes that [`Self::nodes`] gives, found by looking at the branches above them.
    pub fn node_count(&self) -> usize {
        match &self.repr {
            Repr::Small(_) => 1,
            Repr::Quick(rope) => rope.leaf_count(),
        }
    }

    /// Bytes that the list holds, judged from its first `samples` nodes (0: all of them).
    pub fn memory_usage(&self, samples: usize) -> usize {
        let rope = match &self.repr {
            Repr::Small(pack) => return pack.memory_usage(),
            Repr::Quick(rope) => rope,
        };
        let samples = if samples == 0 { usize::MAX } else { samples };
        let (mut elements, mut bytes) = (0, 0);
        for node in rope.leaves().take(samples) {
            elements += node.weight();
            bytes += node.memory_usage() + Rope::<ListNode>::LEAF_OVERHEAD;
        }
        (bytes as u128 * rope.weight() as u128 / elements.max(1) as u128) as usize
    }

    /// Turns a small list into a quicklist if `elements` more of `bytes` in all would exceed the limit.
    ///
    /// Every command that adds elements asks this once for all of them; the adding functions of this
    /// type do so themselves. LINSERT and LSET ask even when they then add nothing.
    pub fn prepare_growth(&mut self, bytes: usize, elements: usize, limits: &ListLimits) {
        if let Repr::Small(pack) = &mut self.repr
            && limits.exceeded_by(pack.as_bytes().len() + bytes, pack.len() + elements)
        {
            let nodes = ListNode::Packed(std::mem::take(pack)).cut_to_size(limits);
            self.repr = Repr::Quick(nodes.into_iter().collect());
        }
    }

    /// Adds an element at the head.
    pub fn push_front(&mut self, element: &[u8], limits: &ListLimits) {
        self.push_front_all(std::iter::once(element), limits);
    }

    /// Adds an element at the tail.
    pub fn push_back(&mut self, element: &[u8], limits: &ListLimits) {
        self.push_back_all(std::iter::once(element), limits);
    }

    /// Adds the elements of one command at the head, one after the other, so that the last one becomes
    /// the first of the list.
    pub fn push_front_all<'a>(
        &mut self,
        elements: impl Iterator<Item = &'a [u8]> + Clone,
        limits: &ListLimits,
    ) {
        self.prepare_growth_by(elements.clone(), limits);
        for element in elements {
            match &mut self.repr {
                Repr::Small(pack) => pack.push_front(element),
                Repr::Quick(rope) => node::insert_at(rope, 0, element, limits),
            }
        }
    }

    /// Adds the elements of one command at the tail.
    pub fn push_back_all<'a>(
        &mut self,
        elements: impl Iterator<Item = &'a [u8]> + Clone,
        limits: &ListLimits,
    ) {
        self.prepare_growth_by(elements.clone(), limits);
        for element in elements {
            match &mut self.repr {
                Repr::Small(pack) => pack.push_back(element),
                Repr::Quick(rope) => node::insert_at(rope, rope.weight(), element, limits),
            }
        }
    }

    /// Takes the first element.
    pub fn pop_front(&mut self, limits: &ListLimits) -> Option<Vec<u8>> {
        let element = self.get(0)?.to_bytes().into_owned();
        self.remove_range(0, 1, limits);
        Some(element)
    }

    /// Takes the last element.
    pub fn pop_back(&mut self, limits: &ListLimits) -> Option<Vec<u8>> {
        let last = self.len().checked_sub(1)?;
        let element = self.get(last)?.to_bytes().into_owned();
        self.remove_range(last, 1, limits);
        Some(element)
    }

    /// The element at `index` from the head.
    pub fn get(&self, index: usize) -> Option<Entry<'_>> {
        match &self.repr {
            Repr::Small(pack) => pack.get(index),
            Repr::Quick(rope) => rope.locate(index).and_then(|(node, inner)| node.get(inner)),
        }
    }

    /// Replaces the element at `index`; `false` if there is none.
    pub fn set(&mut self, index: usize, element: &[u8], limits: &ListLimits) -> bool {
        self.prepare_growth(element.len(), 1, limits);
        if index >= self.len() {
            return false;
        }
        match &mut self.repr {
            Repr::Small(pack) => pack.replace(index, element),
            Repr::Quick(rope) => node::replace_at(rope, index, element, limits),
        }
        self.become_small(limits, 2);
        true
    }

    /// Puts an element before the one at `index`; `index == len()` appends.
    ///
    /// # Panics
    /// If `index > len()`.
    pub fn insert(&mut self, index: usize, element: &[u8], limits: &ListLimits) {
        assert!(index <= self.len(), "insert({index}) into a list of {}", self.len());
        self.prepare_growth(element.len(), 1, limits);
        match &mut self.repr {
            Repr::Small(pack) => pack.insert(index, element),
            Repr::Quick(rope) => node::insert_at(rope, index, element, limits),
        }
    }

    /// Removes up to `count` elements from `start` on, in the time of a few writes however many there are.
    pub fn remove_range(&mut self, start: usize, count: usize, limits: &ListLimits) -> Removed {
        let removed = match &mut self.repr {
            Repr::Small(pack) => {
                pack.remove_range(start, count);
                Rope::new()
            }
            Repr::Quick(rope) => node::remove_range(rope, start, count),
        };
        self.become_small(limits, 2);
        Removed(removed)
    }

    /// Keeps `count` elements from `start` on and removes the others, in the time of a few writes however many
    /// there are.
    pub fn trim(&mut self, start: usize, count: usize, limits: &ListLimits) -> Removed {
        let end = start.saturating_add(count).min(self.len());
        let mut removed = self.remove_range(end, self.len() - end, limits);
        removed.0.append(self.remove_range(0, start, limits).0);
        removed
    }

    /// Removes up to `limit` elements equal to `needle`, from the head on or from the tail on, and returns
    /// how many.
    pub fn remove_matching(
        &mut self,
        needle: &Needle<'_>,
        limit: usize,
        from_tail: bool,
        limits: &ListLimits,
    ) -> usize {
        let removed = match &mut self.repr {
            Repr::Small(pack) => pack.remove_matching(needle, limit, from_tail),
            Repr::Quick(rope) => node::remove_matching(rope, needle, limit, from_tail),
        };
        self.become_small(limits, 2);
        removed
    }

    /// All elements from the head on.
    pub fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        self.iter_from(0)
    }

    /// The elements from `index` on, towards the tail.
    pub fn iter_from(&self, index: usize) -> impl Iterator<Item = Entry<'_>> {
        let (small, quick) = match &self.repr {
            Repr::Small(pack) => (Some(pack.iter_from(index)), None),
            Repr::Quick(rope) => {
                let leaves = rope.leaves_from(index);
                let entries =
                    leaves.flat_map(move |(begin, node)| node.iter_from(index.saturating_sub(begin)));
                (None, Some(entries))
            }
        };
        small.into_iter().flatten().chain(quick.into_iter().flatten())
    }

    /// The elements from `index` on, towards the head; nothing if `index >= len()`.
    pub fn iter_back_from(&self, index: usize) -> impl Iterator<Item = Entry<'_>> {
        let end = if index < self.len() { index + 1 } else { 0 };
        let (small, quick) = match &self.repr {
            Repr::Small(pack) => (Some(pack.iter_until(end).rev()), None),
            Repr::Quick(rope) => {
                let leaves = rope.leaves_back_from(index);
                let entries = leaves.flat_map(move |(begin, node)| node.iter_until(end - begin).rev());
                (None, Some(entries))
            }
        };
        small.into_iter().flatten().chain(quick.into_iter().flatten())
    }

    fn prepare_growth_by<'a>(&mut self, elements: impl Iterator<Item = &'a [u8]>, limits: &ListLimits) {
        if let Repr::Small(_) = self.repr {
            let (bytes, count) = elements.fold((0, 0), |(bytes, count), one| (bytes + one.len(), count + 1));
            self.prepare_growth(bytes, count, limits);
        }
    }

    /// Turns a quicklist of one node into a small list if it is within the limit divided by `margin`.
    fn become_small(&mut self, limits: &ListLimits, margin: usize) {
        let Repr::Quick(rope) = &mut self.repr else { return };
        if rope.is_empty() {
            self.repr = Repr::Small(ListPack::new());
        } else if rope.only_leaf().is_some_and(|node| node.fits_small(limits, margin)) {
            let node = rope.remove(0).expect("there is one node");
            self.repr = Repr::Small(node.into_listpack());
        }
    }
}

impl Default for List {
    fn default() -> Self {
        Self::new()
    }
}

/// Whole nodes that were removed from a list. Freeing many of them takes longer than removing them did, so
/// whoever removed a large part drops this where that holds nobody up.
#[derive(Debug)]
pub struct Removed(Rope<ListNode>);

impl Removed {
    /// Number of elements whose memory is still held.
    pub fn len(&self) -> usize {
        self.0.weight()
    }

    /// Whether nothing is left to free.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A node of a list as it is read: what goes into an RDB file as one string.
#[derive(Debug, Clone, Copy)]
pub enum NodeRef<'a> {
    /// A listpack of elements.
    Packed(&'a ListPack),
    /// A single element.
    Plain(&'a [u8]),
}

impl<'a> From<&'a ListNode> for NodeRef<'a> {
    fn from(node: &'a ListNode) -> Self {
        match node {
            ListNode::Packed(pack) => NodeRef::Packed(pack),
            ListNode::Plain(bytes) => NodeRef::Plain(bytes),
        }
    }
}
