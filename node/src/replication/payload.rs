//! Receives the payload of a full synchronization: finds its announcement and its end.
//!
//! A payload comes in one of two frames: `$<length>` and that many bytes, or `$EOF:<mark>` and
//! bytes until the same forty characters come again. The mark may be cut anywhere by the
//! network. It is looked for wherever it may stand, not only where a read ends, so that a master
//! that does not wait before it goes on with the stream is understood as well.

use std::borrow::Cow;

use memchr::memmem;

use super::lineage::REPLID_LEN;

/// How a payload's end is recognised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After this many bytes.
    Sized(u64),
    /// Where these characters stand.
    EofMarked([u8; REPLID_LEN]),
}

impl Framing {
    /// Reads the announcement that follows the `$`.
    pub(super) fn parse(text: &[u8]) -> Option<Framing> {
        if let Some(mark) = text.strip_prefix(b"EOF:") {
            return Some(Framing::EofMarked(mark.get(..REPLID_LEN)?.try_into().ok()?));
        }
        let length: i64 = std::str::from_utf8(text).ok()?.parse().ok()?;
        Some(Framing::Sized(u64::try_from(length).ok()?))
    }
}

/// A payload under way.
#[derive(Debug)]
pub(super) struct Payload {
    framing: Framing,
    /// Payload bytes given out so far.
    received: u64,
    /// Bytes withheld because a mark may begin with them; always fewer than a mark has.
    withheld: Vec<u8>,
    ended: bool,
}

impl Payload {
    pub(super) fn new(framing: Framing) -> Payload {
        let ended = framing == Framing::Sized(0);
        Payload { framing, received: 0, withheld: Vec::new(), ended }
    }

    /// Payload bytes given out.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Whether the payload, mark included, has been taken.
    pub(super) fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) fn framing(&self) -> Framing {
        self.framing
    }

    /// Takes what belongs to the payload off the front of `input` and gives its next part, which is
    /// never empty; `None` when more input is needed or the payload has ended.
    pub(super) fn take<'i>(&mut self, input: &mut &'i [u8]) -> Option<Cow<'i, [u8]>> {
        while !input.is_empty() && !self.ended {
            let part = match self.framing {
                Framing::Sized(total) => Cow::Borrowed(self.take_sized(total, input)),
                Framing::EofMarked(mark) if self.withheld.is_empty() => {
                    Cow::Borrowed(self.take_marked(&mark, input))
                }
                Framing::EofMarked(mark) => Cow::Owned(self.resolve_withheld(&mark, input)),
            };
            if !part.is_empty() {
                self.received += part.len() as u64;
                return Some(part);
            }
        }
        None
    }

    fn take_sized<'i>(&mut self, total: u64, input: &mut &'i [u8]) -> &'i [u8] {
        let left = usize::try_from(total - self.received).unwrap_or(usize::MAX);
        let (part, rest) = input.split_at(left.min(input.len()));
        *input = rest;
        self.ended = part.len() == left;
        part
    }

    fn take_marked<'i>(&mut self, mark: &[u8; REPLID_LEN], input: &mut &'i [u8]) -> &'i [u8] {
        let all = *input;
        if let Some(at) = memmem::find(all, mark) {
            self.ended = true;
            *input = &all[at + REPLID_LEN..];
            return &all[..at];
        }
        let (part, begun) = all.split_at(all.len() - begun_mark_len(all, mark));
        self.withheld.extend_from_slice(begun);
        *input = &[];
        part
    }

    /// Looks at what was withheld together with as much input as decides about it.
    fn resolve_withheld(&mut self, mark: &[u8; REPLID_LEN], input: &mut &[u8]) -> Vec<u8> {
        let held = self.withheld.len();
        let (decisive, rest) = input.split_at(input.len().min(REPLID_LEN));
        let mut window = std::mem::take(&mut self.withheld);
        window.extend_from_slice(decisive);
        match memmem::find(&window, mark) {
            Some(at) => {
                self.ended = true;
                *input = &input[at + REPLID_LEN - held..];
                window.truncate(at);
            }
            None => {
                *input = rest;
                self.withheld = window.split_off(window.len() - begun_mark_len(&window, mark));
            }
        }
        window
    }
}

/// How many bytes at the end of `bytes` are the beginning of `mark`.
fn begun_mark_len(bytes: &[u8], mark: &[u8; REPLID_LEN]) -> usize {
    let most = bytes.len().min(REPLID_LEN - 1);
    (1..=most).rev().find(|len| bytes.ends_with(&mark[..*len])).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MARK: [u8; REPLID_LEN] = *b"aabaabaaabaabaaabaabaaabaabaaabaabaaabaz";

    /// Feeds `wire` in pieces that end at `cuts`; returns the payload and what was left over.
    fn receive(framing: Framing, wire: &[u8], cuts: &[usize]) -> (Vec<u8>, Vec<u8>, bool) {
        let mut payload = Payload::new(framing);
        let (mut out, mut left, mut from) = (Vec::new(), Vec::new(), 0);
        for to in cuts.iter().copied().chain([wire.len()]) {
            let mut input = &wire[from..to.max(from)];
            from = to.max(from);
            while let Some(part) = payload.take(&mut input) {
                out.extend_from_slice(&part);
            }
            left.extend_from_slice(input);
        }
        assert_eq!(payload.received(), out.len() as u64);
        (out, left, payload.has_ended())
    }

    #[test]
    fn announcements_are_bounded_and_exact() {
        assert_eq!(Framing::parse(b"17"), Some(Framing::Sized(17)));
        assert_eq!(Framing::parse(b"-1"), None);
        assert_eq!(Framing::parse(b"99999999999999999999"), None);
        assert_eq!(Framing::parse(b"EOF:short"), None);
        assert_eq!(Framing::parse(&[b"EOF:", &MARK[..]].concat()), Some(Framing::EofMarked(MARK)));
        assert_eq!(Framing::parse(b""), None);
    }

    #[test]
    fn an_empty_payload_has_ended_before_it_began() {
        assert!(Payload::new(Framing::Sized(0)).has_ended());
        let (out, left, ended) = receive(Framing::EofMarked(MARK), &[&MARK[..], b"rest"].concat(), &[]);
        assert_eq!((out.as_slice(), left.as_slice(), ended), (&b""[..], &b"rest"[..], true));
    }

    #[test]
    fn without_its_mark_a_payload_does_not_end() {
        let (_, _, ended) = receive(Framing::EofMarked(MARK), &MARK[..39], &[20]);
        assert!(!ended);
    }

    proptest! {
        /// A mark that repeats itself, a payload full of its beginnings, cuts anywhere, stream bytes after it.
        #[test]
        fn the_mark_is_found_wherever_it_is_cut(
            pieces in prop::collection::vec(0usize..40, 0..12),
            mut cuts in prop::collection::vec(0usize..600, 0..40),
            after in prop::collection::vec(any::<u8>(), 0..50),
        ) {
            let body: Vec<u8> = pieces.iter().flat_map(|len| MARK[..*len].iter().copied()).collect();
            let wire = [&body[..], &MARK[..], &after[..]].concat();
            cuts.iter_mut().for_each(|cut| *cut = (*cut).min(wire.len()));
            cuts.sort_unstable();
            let (out, left, ended) = receive(Framing::EofMarked(MARK), &wire, &cuts);
            prop_assert!(ended);
            prop_assert_eq!(&out, &body);
            prop_assert_eq!(left, after.clone());
            let (out, left, ended) = receive(Framing::Sized(body.len() as u64), &wire, &cuts);
            prop_assert!(ended);
            prop_assert_eq!(out, body);
            prop_assert_eq!(left, [&MARK[..], &after[..]].concat());
        }
    }
}
