//! Values out of their serialised form, for every encoding that ends in a string, list or set.

use super::scan::{Piece, Scan, Scanner};
use super::value::{ListNode, RdbList, RdbSet, RdbValue, Strings, Text};
use super::{container, kind, packed};

/// A value being read. Parsing stops where the bytes stop, and carries on from there.
pub(super) enum ValueParser {
    /// Types that are one string, packed or not.
    Whole { kind: u8 },
    /// Types that start with a count, before it is known.
    Counted { kind: u8 },
    /// One by one.
    Elements { kind: u8, left: u64, strings: Strings },
    /// Ziplist by ziplist.
    Ziplists { left: u64, strings: Strings },
    /// Quicklist nodes, each with its container type before it.
    Nodes { left: u64, container: Option<u64>, nodes: Vec<ListNode> },
}

impl ValueParser {
    /// A parser for a type, if it can be loaded.
    pub(super) fn new(kind: u8) -> Option<Self> {
        match kind {
            kind::STRING | kind::LIST_ZIPLIST | kind::SET_INTSET | kind::SET_LISTPACK => {
                Some(ValueParser::Whole { kind })
            }
            kind::LIST | kind::SET | kind::LIST_QUICKLIST | kind::LIST_QUICKLIST_2 => {
                Some(ValueParser::Counted { kind })
            }
            _ => None,
        }
    }

    /// The value, or `None` for an empty list or set.
    pub(super) fn parse(&mut self, scanner: &mut Scanner) -> Scan<Option<RdbValue>> {
        loop {
            match self {
                ValueParser::Whole { kind } => return whole(*kind, scanner),
                ValueParser::Counted { kind } => {
                    let kind = *kind;
                    *self = Self::after_count(kind, scanner.number()?);
                }
                ValueParser::Elements { left: 0, strings, .. }
                | ValueParser::Ziplists { left: 0, strings }
                    if strings.is_empty() =>
                {
                    return Ok(None);
                }
                ValueParser::Elements { kind: kind::SET, left: 0, strings } => {
                    return Ok(Some(RdbValue::Set(RdbSet::Members(std::mem::take(strings)))));
                }
                ValueParser::Elements { left: 0, strings, .. }
                | ValueParser::Ziplists { left: 0, strings } => {
                    return Ok(Some(RdbValue::List(RdbList::Elements(std::mem::take(strings)))));
                }
                ValueParser::Nodes { left: 0, nodes, .. } => {
                    let list = RdbList::Nodes(std::mem::take(nodes));
                    return Ok((list != RdbList::Nodes(Vec::new())).then_some(RdbValue::List(list)));
                }
                ValueParser::Elements { left, strings, .. } => {
                    match scanner.string()? {
                        Piece::Int(number) => strings.push_int(number),
                        Piece::Lent(bytes) => strings.push(bytes),
                        Piece::Owned(bytes) => strings.push(&bytes),
                    }
                    *left -= 1;
                }
                ValueParser::Ziplists { left, strings } => {
                    let ziplist = scanner.string()?.into_vec();
                    packed::read_ziplist(&ziplist, strings)
                        .ok_or_else(|| scanner.corrupt("Ziplist integrity check failed."))?;
                    *left -= 1;
                }
                ValueParser::Nodes { left, container, nodes } => {
                    let holds = match *container {
                        Some(holds) => holds,
                        None => *container.insert(scanner.number()?),
                    };
                    let bytes = scanner.string()?.into_vec();
                    nodes.extend(node(holds, bytes).map_err(|what| scanner.corrupt(what))?);
                    *container = None;
                    *left -= 1;
                }
            }
        }
    }

    fn after_count(kind: u8, left: u64) -> Self {
        match kind {
            kind::LIST_QUICKLIST => ValueParser::Ziplists { left, strings: Strings::new() },
            kind::LIST_QUICKLIST_2 => ValueParser::Nodes { left, container: None, nodes: Vec::new() },
            _ => ValueParser::Elements { kind, left, strings: Strings::new() },
        }
    }
}

/// A value that is one string.
fn whole(kind: u8, scanner: &mut Scanner) -> Scan<Option<RdbValue>> {
    if kind == kind::STRING {
        let text = match scanner.string()? {
            Piece::Int(number) => Text::Int(number),
            other => Text::Bytes(other.into_vec()),
        };
        return Ok(Some(RdbValue::String(text)));
    }
    let bytes = scanner.string()?.into_vec();
    let (what, value) = match kind {
        kind::LIST_ZIPLIST => {
            let mut strings = Strings::new();
            let sound = packed::read_ziplist(&bytes, &mut strings);
            let count = sound.map(|()| strings.len());
            (
                "List ziplist integrity check failed.",
                count.map(|count| (count, RdbValue::List(RdbList::Elements(strings)))),
            )
        }
        kind::SET_INTSET => (
            "Intset integrity check failed.",
            packed::check_intset(&bytes).map(|count| (count, RdbValue::Set(RdbSet::IntSet(bytes)))),
        ),
        _ => (
            "Set listpack integrity check failed.",
            packed::check_listpack_set(&bytes).map(|count| (count, RdbValue::Set(RdbSet::ListPack(bytes)))),
        ),
    };
    match value {
        None => Err(scanner.corrupt(what).into()),
        Some((0, _)) => Ok(None),
        Some((_, value)) => Ok(Some(value)),
    }
}

/// A quicklist node, or none if it is an empty listpack, which Redis passes over.
fn node(container: u64, bytes: Vec<u8>) -> Result<Option<ListNode>, &'static str> {
    match container {
        container::PLAIN if !bytes.is_empty() => Ok(Some(ListNode::Plain(bytes))),
        container::PACKED if !bytes.is_empty() => match packed::check_listpack(&bytes) {
            None => Err("Listpack integrity check failed."),
            Some(0) => Ok(None),
            Some(_) => Ok(Some(ListNode::Packed(bytes))),
        },
        _ => Err("Quicklist integrity check failed."),
    }
}
