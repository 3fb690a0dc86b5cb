//! Values out of their serialised form, for every encoding that ends in a string, list or set.
//!
//! They are built as they arrive, in the engine's own types, so that the thread that reads also does the
//! work of building, and a value never exists twice.

use super::scan::{Piece, Scan, Scanner};
use super::ziplist::read_ziplist;
use super::{container, kind};
use crate::engine::keyspace::object::Value;
use crate::engine::types::entry::canonical_int;
use crate::engine::types::{Entry, IntSet, List, ListLimits, ListNode, ListPack, Set, SetLimits};

/// The directives that decide in which form lists and sets are held.
#[derive(Debug, Clone, Copy)]
pub struct ValueLimits {
    /// Those of lists.
    pub list: ListLimits,
    /// Those of sets, and the seed of their hash.
    pub set: SetLimits,
}

/// A value being read. Parsing stops where the bytes stop, and carries on from there.
pub(super) struct ValueParser {
    state: State,
    limits: ValueLimits,
}

enum State {
    /// Types that are one string, packed or not.
    Whole { kind: u8 },
    /// Types that start with a count, before it is known.
    Counted { kind: u8 },
    /// A list element by element.
    Elements { left: u64, list: List },
    /// A set member by member.
    Members { left: u64, set: Set },
    /// A list ziplist by ziplist.
    Ziplists { left: u64, list: List },
    /// A list node by node, each with its container type before it.
    Nodes { left: u64, container: Option<u64>, nodes: Vec<ListNode> },
}

impl ValueParser {
    /// A parser for a type, if it can be loaded.
    pub(super) fn new(kind: u8, limits: ValueLimits) -> Option<Self> {
        let state = match kind {
            kind::STRING | kind::LIST_ZIPLIST | kind::SET_INTSET | kind::SET_LISTPACK => {
                State::Whole { kind }
            }
            kind::LIST | kind::SET | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => State::Counted { kind },
            _ => return None,
        };
        Some(ValueParser { state, limits })
    }

    /// The value, or `None` for an empty list or set.
    pub(super) fn parse(&mut self, scanner: &mut Scanner) -> Scan<Option<Value>> {
        loop {
            match &mut self.state {
                State::Whole { kind } => return whole(*kind, scanner, &self.limits),
                State::Counted { kind } => {
                    let kind = *kind;
                    self.state = self.after_count(kind, scanner.number()?);
                }
                State::Elements { left: 0, list } | State::Ziplists { left: 0, list } => {
                    return Ok(list_value(std::mem::take(list)));
                }
                State::Members { left: 0, set } => {
                    let empty = Set::for_loading(0, &self.limits.set);
                    return Ok(set_value(std::mem::replace(set, empty)));
                }
                State::Nodes { left: 0, nodes, .. } => {
                    return Ok(list_value(List::from_nodes(std::mem::take(nodes), &self.limits.list)));
                }
                State::Elements { left, list } => {
                    scanner.string()?.with_bytes(|element| list.push_back(element, &self.limits.list));
                    *left -= 1;
                }
                State::Members { left, set } => {
                    if !scanner.string()?.with_bytes(|member| set.add(member, &self.limits.set)) {
                        return Err(scanner.corrupt("Duplicate set members detected").into());
                    }
                    *left -= 1;
                }
                State::Ziplists { left, list } => {
                    let sound = scanner.string()?.with_bytes(|bytes| extend(list, bytes, &self.limits.list));
                    sound.ok_or_else(|| scanner.corrupt("Ziplist integrity check failed."))?;
                    *left -= 1;
                }
                State::Nodes { left, container, nodes } => {
                    let holds = match *container {
                        Some(holds) => holds,
                        None => *container.insert(scanner.number()?),
                    };
                    let bytes = scanner.string()?.into_vec();
                    nodes.push(node(holds, bytes).map_err(|what| scanner.corrupt(what))?);
                    *container = None;
                    *left -= 1;
                }
            }
        }
    }

    fn after_count(&self, kind: u8, left: u64) -> State {
        match kind {
            kind::LIST => State::Elements { left, list: List::new() },
            kind::LIST_QUICKLIST => State::Ziplists { left, list: List::new() },
            kind::LIST_QUICKLIST_2 => State::Nodes { left, container: None, nodes: Vec::new() },
            _ => State::Members { left, set: Set::for_loading(left as usize, &self.limits.set) },
        }
    }
}

/// A value that is one string.
fn whole(kind: u8, scanner: &mut Scanner, limits: &ValueLimits) -> Scan<Option<Value>> {
    let piece = scanner.string()?;
    if kind == kind::STRING {
        return Ok(Some(string_value(piece)));
    }
    let bytes = piece.into_vec();
    let (what, value) = match kind {
        kind::LIST_ZIPLIST => {
            let mut list = List::new();
            let sound = extend(&mut list, &bytes, &limits.list);
            ("List ziplist integrity check failed.", sound.map(|()| list_value(list)))
        }
        kind::SET_INTSET => {
            let ints = IntSet::from_bytes(bytes).ok();
            let set = ints.map(|ints| Set::from_intset(ints, &limits.set));
            ("Intset integrity check failed.", set.map(set_value))
        }
        _ => {
            let pack = ListPack::from_bytes(bytes);
            let set = pack.and_then(|pack| Set::from_listpack(pack, &limits.set));
            ("Set listpack integrity check failed.", set.ok().map(set_value))
        }
    };
    value.ok_or_else(|| scanner.corrupt(what).into())
}

fn string_value(piece: Piece<'_>) -> Value {
    match piece {
        Piece::Int(number) => Value::Int(number),
        other => match other.with_bytes(canonical_int) {
            Some(number) => Value::Int(number),
            None => Value::Bytes(other.into_vec()),
        },
    }
}

fn list_value(list: List) -> Option<Value> {
    (!list.is_empty()).then(|| Value::List(Box::new(list)))
}

fn set_value(set: Set) -> Option<Value> {
    (!set.is_empty()).then(|| Value::Set(Box::new(set)))
}

/// Appends the elements of a ziplist, if it is sound.
fn extend(list: &mut List, ziplist: &[u8], limits: &ListLimits) -> Option<()> {
    let elements: Vec<Entry<'_>> = read_ziplist(ziplist)?;
    elements.iter().for_each(|element| element.with_bytes(|bytes| list.push_back(bytes, limits)));
    Some(())
}

fn node(container: u64, bytes: Vec<u8>) -> Result<ListNode, &'static str> {
    match container {
        container::PLAIN if !bytes.is_empty() => Ok(ListNode::Plain(bytes)),
        container::PACKED if !bytes.is_empty() => match ListPack::from_bytes(bytes) {
            Ok(pack) => Ok(ListNode::Packed(pack)),
            Err(_) => Err("Listpack integrity check failed."),
        },
        _ => Err("Quicklist integrity check failed."),
    }
}
