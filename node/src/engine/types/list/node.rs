//! The nodes of a quicklist, what fits into one, and the edits on a rope of them.

use crate::engine::types::entry::{Entry, Needle};
use crate::engine::types::listpack::{self, ListPack};
use crate::engine::types::rope::{Leaf, Rope};

/// Byte limits that `list-max-listpack-size` -1 to -5 stand for.
const SIZE_CLASSES: [usize; 5] = [4096, 8192, 16384, 32768, 65536];
/// Byte limit of a listpack of several elements where the directive limits their number.
const SAFE_BYTES: usize = 8192;
/// Added to an element's length for its encoding and backlen when judging whether it still fits.
const ELEMENT_OVERHEAD: usize = 8;
/// Header and terminator of a listpack.
const PACK_OVERHEAD: usize = 7;

/// The directives that shape lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListLimits {
    /// `list-max-listpack-size`: positive, the most elements of a listpack; -1 to -5, its most bytes
    /// (4, 8, 16, 32, 64 KiB). Default -2.
    pub max_listpack_size: i32,
    /// From this length on an element of a quicklist always has a node of its own (DEBUG
    /// QUICKLIST-PACKED-THRESHOLD). Default 1 GiB.
    pub packed_threshold: usize,
}

impl Default for ListLimits {
    fn default() -> Self {
        ListLimits { max_listpack_size: -2, packed_threshold: ListPack::MAX_BYTES }
    }
}

impl ListLimits {
    /// Most bytes and most elements; what the directive does not limit is `usize::MAX`.
    fn bounds(&self) -> (usize, usize) {
        match usize::try_from(self.max_listpack_size) {
            Ok(elements) => (usize::MAX, elements.max(1)),
            Err(_) => {
                let class = self.max_listpack_size.unsigned_abs() as usize - 1;
                (SIZE_CLASSES[class.min(SIZE_CLASSES.len() - 1)], usize::MAX)
            }
        }
    }

    /// Whether a listpack of so many bytes and elements would be too large.
    pub(super) fn exceeded_by(&self, bytes: usize, elements: usize) -> bool {
        let (max_bytes, max_elements) = self.bounds();
        let max_bytes = if max_bytes == usize::MAX { SAFE_BYTES } else { max_bytes };
        bytes > max_bytes || elements > max_elements
    }

    /// Whether an element must have a node of its own.
    fn stands_alone(&self, len: usize) -> bool {
        len >= self.packed_threshold || self.exceeded_by(PACK_OVERHEAD + len + ELEMENT_OVERHEAD, 1)
    }

    /// Whether `pack` has room for one more element of `len` bytes.
    fn admits(&self, pack: &ListPack, len: usize) -> bool {
        !self.stands_alone(len)
            && !self.exceeded_by(pack.as_bytes().len() + len + ELEMENT_OVERHEAD, pack.len() + 1)
    }
}

/// A node of a quicklist.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListNode {
    /// A listpack of elements.
    Packed(ListPack),
    /// A single element that is too large for a listpack.
    Plain(Vec<u8>),
}

impl Leaf for ListNode {
    fn weight(&self) -> usize {
        match self {
            ListNode::Packed(pack) => pack.len(),
            ListNode::Plain(_) => 1,
        }
    }
}

impl ListNode {
    /// A node of one element.
    fn of(element: &[u8], limits: &ListLimits) -> Self {
        if limits.stands_alone(element.len()) {
            return ListNode::Plain(element.to_vec());
        }
        let mut pack = ListPack::new();
        pack.push_back(element);
        ListNode::Packed(pack)
    }

    pub(super) fn memory_usage(&self) -> usize {
        match self {
            ListNode::Packed(pack) => pack.memory_usage(),
            ListNode::Plain(bytes) => bytes.capacity(),
        }
    }

    pub(super) fn get(&self, index: usize) -> Option<Entry<'_>> {
        match self {
            ListNode::Packed(pack) => pack.get(index),
            ListNode::Plain(bytes) => (index == 0).then_some(Entry::Str(bytes)),
        }
    }

    pub(super) fn iter_from(&self, index: usize) -> NodeIter<'_> {
        match self {
            ListNode::Packed(pack) => NodeIter::Packed(pack.iter_from(index)),
            ListNode::Plain(bytes) => NodeIter::Plain((index == 0).then_some(bytes)),
        }
    }

    pub(super) fn iter_until(&self, end: usize) -> NodeIter<'_> {
        match self {
            ListNode::Packed(pack) => NodeIter::Packed(pack.iter_until(end)),
            ListNode::Plain(bytes) => NodeIter::Plain((end > 0).then_some(bytes)),
        }
    }

    /// Whether a list of this node alone may be a plain listpack, at the limit divided by `margin`.
    pub(super) fn fits_small(&self, limits: &ListLimits, margin: usize) -> bool {
        let (max_bytes, max_elements) = limits.bounds();
        let bytes = match self {
            ListNode::Packed(pack) => pack.as_bytes().len(),
            ListNode::Plain(bytes) if bytes.len() >= limits.packed_threshold => return false,
            ListNode::Plain(bytes) => PACK_OVERHEAD + bytes.len(),
        };
        bytes <= max_bytes / margin && self.weight() <= max_elements / margin
    }

    pub(super) fn into_listpack(self) -> ListPack {
        match self {
            ListNode::Packed(pack) => pack,
            ListNode::Plain(bytes) => {
                let mut pack = ListPack::with_capacity(bytes.len() + ELEMENT_OVERHEAD);
                pack.push_back(&bytes);
                pack
            }
        }
    }

    /// The node as nodes that are not much larger than any limit asks for, and none empty.
    pub(super) fn cut_to_size(self, limits: &ListLimits) -> Vec<ListNode> {
        let largest = SIZE_CLASSES[SIZE_CLASSES.len() - 1];
        match self {
            ListNode::Packed(pack) if pack.is_empty() => Vec::new(),
            ListNode::Packed(pack) if pack.as_bytes().len() > largest && pack.len() > 1 => {
                let mut rope = Rope::new();
                for entry in &pack {
                    let end = rope.weight();
                    entry.with_bytes(|bytes| insert_at(&mut rope, end, bytes, limits));
                }
                rope.leaves().cloned().collect()
            }
            node => vec![node],
        }
    }
}

/// The elements of a node, from either end.
pub(super) enum NodeIter<'a> {
    Packed(listpack::Iter<'a>),
    Plain(Option<&'a Vec<u8>>),
}

impl<'a> Iterator for NodeIter<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        match self {
            NodeIter::Packed(entries) => entries.next(),
            NodeIter::Plain(bytes) => bytes.take().map(|bytes| Entry::Str(bytes)),
        }
    }
}

impl DoubleEndedIterator for NodeIter<'_> {
    fn next_back(&mut self) -> Option<Self::Item> {
        match self {
            NodeIter::Packed(entries) => entries.next_back(),
            NodeIter::Plain(_) => self.next(),
        }
    }
}

/// Inserts an element before the one at `index`, or at the end: into the node there, else into the one
/// before if the place is between the two, else into a new node, for which a full one is split.
pub(super) fn insert_at(rope: &mut Rope<ListNode>, index: usize, element: &[u8], limits: &ListLimits) {
    let here = rope.locate(index).map(|(node, inner)| (node_admits(node, element, limits), inner));
    let inner = here.map_or(0, |(_, inner)| inner);
    if let Some((true, _)) = here {
        rope.update(index, |node, inner| insert_into(node, inner, element));
        return;
    }
    if inner > 0 {
        let tail = rope.update(index, |node, inner| match node {
            ListNode::Packed(pack) => pack.split_off(inner),
            ListNode::Plain(_) => unreachable!("a plain node has one element, so no inside"),
        });
        rope.insert(index, ListNode::Packed(tail.expect("the index was located")));
        // The place is now between the two halves, either of which may have room.
        return insert_at(rope, index, element, limits);
    }
    let before = index.checked_sub(1).and_then(|last| rope.locate(last));
    if before.is_some_and(|(node, _)| node_admits(node, element, limits)) {
        rope.update(index - 1, |node, inner| insert_into(node, inner + 1, element));
    } else {
        rope.insert(index, ListNode::of(element, limits));
    }
}

fn node_admits(node: &ListNode, element: &[u8], limits: &ListLimits) -> bool {
    matches!(node, ListNode::Packed(pack) if limits.admits(pack, element.len()))
}

fn insert_into(node: &mut ListNode, inner: usize, element: &[u8]) {
    match node {
        ListNode::Packed(pack) => pack.insert(inner, element),
        ListNode::Plain(_) => unreachable!("only packed nodes admit elements"),
    }
}

/// Replaces the element at `index`, in place where the node has room for it.
pub(super) fn replace_at(rope: &mut Rope<ListNode>, index: usize, element: &[u8], limits: &ListLimits) {
    let replaced = rope.update(index, |node, inner| match node {
        ListNode::Packed(pack) if limits.admits_in_place(pack, element.len()) => {
            pack.replace(inner, element);
            true
        }
        node @ ListNode::Plain(_) => {
            *node = ListNode::of(element, limits);
            true
        }
        ListNode::Packed(_) => false,
    });
    if replaced == Some(false) {
        remove_range(rope, index, 1);
        insert_at(rope, index, element, limits);
    }
}

impl ListLimits {
    /// Whether an element of `pack` may be replaced by one of `len` bytes, judged as if it were added.
    fn admits_in_place(&self, pack: &ListPack, len: usize) -> bool {
        !self.stands_alone(len)
            && !self.exceeded_by(pack.as_bytes().len() + len + ELEMENT_OVERHEAD, pack.len())
    }
}

/// Removes up to `count` elements from `start` on. Nodes at either end of the range are edited; those between are
/// cut out of the tree unseen and given back.
pub(super) fn remove_range(rope: &mut Rope<ListNode>, start: usize, count: usize) -> Rope<ListNode> {
    let mut left = count.min(rope.weight().saturating_sub(start));
    left -= remove_within(rope, start, left);
    if let Some((_, tail)) = rope.locate(start + left).filter(|_| left > 0) {
        left -= remove_within(rope, start + left - tail.min(left), tail.min(left));
    }
    match rope.locate(start) {
        Some((node, _)) if node.weight() == left => {
            rope.remove(start);
            Rope::new()
        }
        Some(_) if left > 0 => {
            let mut removed = rope.split_off(start);
            rope.append(removed.split_off(left));
            removed
        }
        _ => Rope::new(),
    }
}

/// Removes up to `count` elements from `start` on as far as they are in its node, unless that is all of the node,
/// and returns how many.
fn remove_within(rope: &mut Rope<ListNode>, start: usize, count: usize) -> usize {
    let Some((ListNode::Packed(pack), inner)) = rope.locate(start) else { return 0 };
    let taken = count.min(pack.len() - inner);
    if taken == 0 || taken == pack.len() {
        return 0;
    }
    rope.update(start, |node, inner| match node {
        ListNode::Packed(pack) => pack.remove_range(inner, taken),
        ListNode::Plain(_) => unreachable!("a packed node was located"),
    });
    taken
}

/// Removes up to `limit` elements equal to `needle` from one end on, and returns how many. Nodes
/// without a match are not copied.
pub(super) fn remove_matching(
    rope: &mut Rope<ListNode>,
    needle: &Needle<'_>,
    limit: usize,
    from_tail: bool,
) -> usize {
    let mut removed = 0;
    // Where the unvisited part begins, or ends when walking from the tail.
    let mut edge = if from_tail { rope.weight() } else { 0 };
    while removed < limit {
        let probe = if from_tail { edge.checked_sub(1) } else { Some(edge) };
        let Some((node, _)) = probe.and_then(|probe| rope.locate(probe)) else { break };
        let probe = probe.expect("it was located");
        let (weight, matches) =
            (node.weight(), node.iter_from(0).filter(|entry| entry.matches(needle)).count());
        let taken = matches.min(limit - removed);
        if taken == weight {
            rope.remove(probe);
        } else if taken > 0 {
            rope.update(probe, |node, _| match node {
                ListNode::Packed(pack) => pack.remove_matching(needle, taken, from_tail),
                ListNode::Plain(_) => unreachable!("a plain node is removed whole"),
            });
        }
        removed += taken;
        edge = if from_tail { edge - weight } else { edge + weight - taken };
    }
    removed
}
