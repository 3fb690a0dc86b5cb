//! SORT and SORT_RO: the elements of a list or a set, ordered by themselves or by other keys.
//!
//! Elements are copied out, given what they are compared by, ordered, and cut to the LIMIT. The
//! order is total (equal weights are told apart by the elements themselves), so that a master
//! and its replicas agree on what STORE writes; what is replicated is the result anyhow.

use std::cmp::Ordering;

use redoubt_wire::resp::reply::Reply;

use super::args;
use super::strings::string_bytes;
use super::{Cx, Row, table};
use crate::config::KeyspaceEvents;
use crate::engine::error::{CommandError, Handled, SYNTAX, WRONG_TYPE};
use crate::engine::keyspace::object::{Object, Value, ValueRef};
use crate::engine::types::List;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::SORT, |cx, args, reply| sort(cx, args, true, reply)),
    (&table::SORT_RO, |cx, args, reply| sort(cx, args, false, reply)),
];

/// What SORT is asked for.
#[derive(Debug)]
struct Options<'a> {
    descending: bool,
    alpha: bool,
    start: i64,
    count: i64,
    by: Option<&'a [u8]>,
    get: Vec<&'a [u8]>,
    store: Option<&'a [u8]>,
}

impl<'a> Options<'a> {
    /// Reads the options. Where `may_follow` is not set, the client's user may not read all keys, so
    /// that no pattern may lead to some.
    fn parse(words: &[&'a [u8]], may_store: bool, may_follow: bool) -> Result<Options<'a>, CommandError> {
        let mut options = Options {
            descending: false,
            alpha: false,
            start: 0,
            count: -1,
            by: None,
            get: Vec::new(),
            store: None,
        };
        let mut words = words.iter();
        while let Some(word) = words.next() {
            match word.to_ascii_lowercase().as_slice() {
                b"asc" => options.descending = false,
                b"desc" => options.descending = true,
                b"alpha" => options.alpha = true,
                b"limit" => {
                    let (start, count) = (words.next().ok_or(SYNTAX)?, words.next().ok_or(SYNTAX)?);
                    (options.start, options.count) = (args::int(start)?, args::int(count)?);
                }
                b"store" if may_store => options.store = Some(words.next().ok_or(SYNTAX)?),
                b"by" => {
                    let pattern = words.next().ok_or(SYNTAX)?;
                    if !may_follow && pattern.contains(&b'*') {
                        return Err(not_permitted("BY"));
                    }
                    options.by = Some(pattern);
                }
                b"get" => {
                    let pattern = words.next().ok_or(SYNTAX)?;
                    if !may_follow {
                        return Err(not_permitted("GET"));
                    }
                    options.get.push(pattern);
                }
                _ => return Err(SYNTAX),
            }
        }
        Ok(options)
    }

    /// The elements that LIMIT lets through, of `len`.
    fn range(&self, len: usize) -> std::ops::Range<usize> {
        let start = usize::try_from(self.start.max(0)).map_or(len, |start| start.min(len));
        let end = match usize::try_from(self.count) {
            Ok(count) => start.saturating_add(count).min(len),
            Err(_) => len,
        };
        start..end
    }
}

/// The error of an option that leads to keys which the client's user may not read.
fn not_permitted(option: &str) -> CommandError {
    CommandError::new(format!("ERR {option} option of SORT denied due to insufficient ACL permissions."))
}

/// What an element is compared by.
#[derive(Debug, PartialEq)]
enum Weight {
    /// A number; a key of BY that does not exist counts as 0.
    Number(f64),
    /// The bytes at a key of BY; a key that does not exist comes first.
    Text(Option<Vec<u8>>),
    /// The element itself.
    Itself,
}

/// An element with its weight.
#[derive(Debug)]
struct Item {
    element: Vec<u8>,
    weight: Weight,
}

impl Item {
    fn compare(&self, other: &Item) -> Ordering {
        let by_weight = match (&self.weight, &other.weight) {
            (Weight::Number(a), Weight::Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            // Texts that are equal leave the elements in their order.
            (Weight::Text(a), Weight::Text(b)) => return a.cmp(b),
            _ => Ordering::Equal,
        };
        by_weight.then_with(|| self.element.cmp(&other.element))
    }
}

/// SORT key [BY pattern] [LIMIT offset count] [GET pattern …] [ASC|DESC] [ALPHA] [STORE destination].
fn sort(cx: &mut Cx<'_>, args: &[&[u8]], may_store: bool, reply: &mut Reply) -> Handled {
    let may_follow = cx.engine.may_read_all_keys(cx.session, cx.command, args);
    let mut options = Options::parse(&args[2..], may_store, may_follow)?;
    let (elements, is_set) = elements(cx, args[1])?;
    let mut constant = options.by.is_some_and(|by| !by.contains(&b'*'));
    if constant && is_set && options.store.is_some() {
        // What is stored must not depend on the order that a set happens to have.
        constant = false;
        options.alpha = true;
        options.by = None;
    }
    let elements =
        if constant { unsorted(elements, &options, is_set) } else { sorted(cx, elements, &options)? };
    let outputs = outputs(cx, elements, &options.get);
    match options.store {
        Some(key) => store(cx, key, outputs, reply),
        None => {
            reply.array(outputs.len());
            outputs.iter().for_each(|output| reply.bulk_or_null(output.as_deref()));
        }
    }
    Ok(())
}

/// The elements of a list or set in the order they have, and whether it is a set.
fn elements(cx: &mut Cx<'_>, key: &[u8]) -> Result<(Vec<Vec<u8>>, bool), CommandError> {
    let Some(object) = cx.read(key) else { return Ok((Vec::new(), false)) };
    match object.value() {
        ValueRef::List(list) => Ok((list.iter().map(|e| e.to_bytes().into_owned()).collect(), false)),
        ValueRef::Set(set) => Ok((set.iter().map(|e| e.to_bytes().into_owned()).collect(), true)),
        _ => Err(WRONG_TYPE),
    }
}

/// The elements that LIMIT lets through, as they stand; of a list with DESC, from its end.
fn unsorted(mut elements: Vec<Vec<u8>>, options: &Options<'_>, is_set: bool) -> Vec<Vec<u8>> {
    if options.descending && !is_set {
        elements.reverse();
    }
    let range = options.range(elements.len());
    elements.drain(range).collect()
}

/// The elements that LIMIT lets through, of those in order.
fn sorted(
    cx: &mut Cx<'_>,
    elements: Vec<Vec<u8>>,
    options: &Options<'_>,
) -> Result<Vec<Vec<u8>>, CommandError> {
    let mut items = Vec::with_capacity(elements.len());
    for element in elements {
        let weight = weigh(cx, &element, options)?;
        items.push(Item { element, weight });
    }
    if options.descending {
        items.sort_by(|a, b| b.compare(a));
    } else {
        items.sort_by(Item::compare);
    }
    let range = options.range(items.len());
    Ok(items.drain(range).map(|item| item.element).collect())
}

fn weigh(cx: &mut Cx<'_>, element: &[u8], options: &Options<'_>) -> Result<Weight, CommandError> {
    let by = match options.by {
        None if options.alpha => return Ok(Weight::Itself),
        None => Some(element.to_vec()),
        Some(pattern) => follow(cx, pattern, element),
    };
    if options.alpha {
        return Ok(Weight::Text(by));
    }
    let Some(by) = by else { return Ok(Weight::Number(0.0)) };
    let number = number(&by);
    number
        .map(Weight::Number)
        .ok_or_else(|| CommandError::new("ERR One or more scores can't be converted into double"))
}

/// A floating point number; an empty text is 0, as strtod has it.
fn number(text: &[u8]) -> Option<f64> {
    if text.is_empty() {
        return Some(0.0);
    }
    args::float(text.trim_ascii_start()).ok()
}

/// The string at the key that `pattern` names for `element`: `#` is the element itself. A
/// field of a hash (`->`) is never there, since there are no hashes.
fn follow(cx: &mut Cx<'_>, pattern: &[u8], element: &[u8]) -> Option<Vec<u8>> {
    if pattern == b"#" {
        return Some(element.to_vec());
    }
    let star = pattern.iter().position(|b| *b == b'*')?;
    let rest = &pattern[star + 1..];
    if let Some(arrow) = rest.windows(2).position(|w| w == b"->")
        && arrow + 2 < rest.len()
    {
        return None;
    }
    let key = [&pattern[..star], element, rest].concat();
    let bytes = string_bytes(cx.read(&key)?).ok()?;
    Some(bytes.into_owned())
}

/// The elements, or what each GET finds for each.
fn outputs(cx: &mut Cx<'_>, elements: Vec<Vec<u8>>, get: &[&[u8]]) -> Vec<Option<Vec<u8>>> {
    if get.is_empty() {
        return elements.into_iter().map(Some).collect();
    }
    let mut outputs = Vec::with_capacity(elements.len() * get.len());
    for element in &elements {
        outputs.extend(get.iter().map(|pattern| follow(cx, pattern, element)));
    }
    outputs
}

/// Puts the outputs in a list at `key`, in place of what is there; nothing leaves no key.
fn store(cx: &mut Cx<'_>, key: &[u8], outputs: Vec<Option<Vec<u8>>>, reply: &mut Reply) {
    reply.integer(outputs.len() as i64);
    if outputs.is_empty() {
        if cx.delete(key) {
            cx.commit(key, KeyspaceEvents::GENERIC, "del");
            cx.effect(&[b"DEL", key]);
        }
        return;
    }
    let outputs: Vec<Vec<u8>> = outputs.into_iter().map(Option::unwrap_or_default).collect();
    let limits = cx.engine.list_limits();
    let mut list = List::new();
    list.push_back_all(outputs.iter().map(Vec::as_slice), &limits);
    let existed = cx.delete(key);
    cx.put(Object::new(key, Value::List(Box::new(list)), None));
    cx.commit(key, KeyspaceEvents::LIST, "sortstore");
    if existed {
        cx.effect(&[b"DEL", key]);
    }
    let mut effect: Vec<&[u8]> = vec![b"RPUSH", key];
    effect.extend(outputs.iter().map(Vec::as_slice));
    cx.effect(&effect);
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::Harness;

    fn array(elements: &[&str]) -> String {
        let bulks: String = elements.iter().map(|e| format!("${}\r\n{e}\r\n", e.len())).collect();
        format!("*{}\r\n{bulks}", elements.len())
    }

    #[test]
    fn by_number_by_text_and_by_other_keys() {
        let mut h = Harness::new();
        h.run("RPUSH l 10 9 1 -2.5");
        assert_eq!(h.run("SORT l"), array(&["-2.5", "1", "9", "10"]));
        assert_eq!(h.run("SORT l DESC LIMIT 1 2"), array(&["9", "1"]));
        assert_eq!(h.run("SORT l ALPHA"), array(&["-2.5", "1", "10", "9"]));
        h.run("MSET w1 3 w9 2 w10 1 w-2.5 4");
        assert_eq!(h.run("SORT l BY w*"), array(&["10", "9", "1", "-2.5"]));
        assert_eq!(h.run("SORT l BY w* GET # GET w* LIMIT 0 2"), array(&["10", "1", "9", "2"]));
        assert_eq!(h.run("SORT l BY nosort"), array(&["10", "9", "1", "-2.5"]));
        assert_eq!(h.run("SORT l BY nosort DESC LIMIT 0 1"), array(&["-2.5"]));
        assert_eq!(h.run("SORT l GET x*->f LIMIT 0 1"), "*1\r\n$-1\r\n");
        h.run("RPUSH t a");
        assert_eq!(h.run("SORT t"), "-ERR One or more scores can't be converted into double\r\n");
        assert_eq!(h.run("SORT none"), "*0\r\n");
        assert_eq!(h.run("SORT_RO l STORE x"), "-ERR syntax error\r\n");
        assert!(h.run("SORT w1").starts_with("-WRONGTYPE"));
    }

    #[test]
    fn stored_results_replace_what_was_there() {
        let mut h = Harness::new();
        h.run("SADD s b a c");
        h.run("SET d old");
        h.engine.effects.set_wanted(true);
        assert_eq!(h.run("SORT s BY nosort STORE d"), ":3\r\n");
        assert_eq!(h.run("LRANGE d 0 -1"), array(&["a", "b", "c"]));
        let text = String::from_utf8_lossy(h.engine.effects.bytes()).into_owned();
        assert!(text.contains("$3\r\nDEL\r\n") && text.contains("$5\r\nRPUSH\r\n"), "{text}");
        assert_eq!(h.run("SORT none STORE d"), ":0\r\n");
        assert_eq!(h.run("EXISTS d"), ":0\r\n");
    }
}
