//! Where the keys of a call stand: what cluster routing, ACL checks and COMMAND GETKEYS ask.
//!
//! A key spec says where keys begin (at a fixed word or behind a keyword) and how to go on from there
//! (a range, or a count that the call itself gives). What no spec can describe is found by a function
//! that reads the call.

use super::spec::CommandSpec;
use crate::bits;
use smallvec::SmallVec;

bits! {
    /// What a command does with a key.
    pub struct KeyFlags(u16) {
        /// Reads the value without changing it.
        RO = 0,
        /// Reads and changes the value.
        RW = 1,
        /// Overwrites the value without regard to what it was.
        OW = 2,
        /// Deletes the key.
        RM = 3,
        /// Gives the user data of the value, or copies it.
        ACCESS = 4,
        /// Changes the value in a way that depends on data.
        UPDATE = 5,
        /// Adds data without changing what is there.
        INSERT = 6,
        /// Removes data from the value, or the key.
        DELETE = 7,
        /// Not a key, but routed like one.
        NOT_KEY = 8,
        /// The spec does not find all keys of every call.
        INCOMPLETE = 9,
        /// A call's options decide which of the flags apply.
        VARIABLE_FLAGS = 10,
    }
}

/// Where to start looking.
#[derive(Clone, Copy, Debug)]
pub enum BeginSearch {
    /// Only the command itself can tell.
    Unknown,
    /// At this word of the call, the command's name being 0.
    Index(u16),
    /// Behind a keyword, in any case, looked for from word `from` on; a negative `from` counts
    /// from the end (-1 is the last word) and looks backwards.
    Keyword {
        /// The word that comes before the first key.
        word: &'static str,
        /// Where to start looking for it.
        from: i16,
    },
}

/// How to go on from where the search began.
#[derive(Clone, Copy, Debug)]
pub enum FindKeys {
    /// Only the command itself can tell.
    Unknown,
    /// A range of words.
    Range {
        /// The last key, relative to the first; negative counts from the end of the call (-1 is the last word).
        last: i16,
        /// Distance from one key to the next.
        step: u16,
        /// Where it is not 0 and `last` is -1, only the first 1/limit of the remaining words are keys.
        limit: u16,
    },
    /// As many keys as a word of the call says.
    Count {
        /// The word with the number, relative to the beginning.
        at: u16,
        /// The first key, relative to the beginning.
        first: u16,
        /// Distance from one key to the next.
        step: u16,
    },
}

/// Where keys of a command stand, and what it does with them.
#[derive(Clone, Copy, Debug)]
pub struct KeySpec {
    /// What the command does with the keys.
    pub flags: KeyFlags,
    /// Where to start looking.
    pub begin: BeginSearch,
    /// How to go on.
    pub find: FindKeys,
}

/// One key at word `index`.
pub const fn key_at(index: u16, flags: KeyFlags) -> KeySpec {
    keys_from(index, 0, 1, flags)
}

/// Keys from word `index` to `last` (relative to `index`, or negative from the end), every `step` words.
pub const fn keys_from(index: u16, last: i16, step: u16, flags: KeyFlags) -> KeySpec {
    KeySpec { flags, begin: BeginSearch::Index(index), find: FindKeys::Range { last, step, limit: 0 } }
}

/// All keys from behind `word`, which is looked for from `from` on, to the end of the call.
pub const fn keys_behind(word: &'static str, from: i16, flags: KeyFlags) -> KeySpec {
    let find = FindKeys::Range { last: -1, step: 1, limit: 0 };
    KeySpec { flags, begin: BeginSearch::Keyword { word, from }, find }
}

/// Keys that only the command itself can find.
pub const fn keys_unknown(flags: KeyFlags) -> KeySpec {
    KeySpec { flags, begin: BeginSearch::Unknown, find: FindKeys::Unknown }
}

/// A key of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRef {
    /// Its word, the command's name being 0.
    pub position: usize,
    /// What the command does with it.
    pub flags: KeyFlags,
}

/// The keys of a call, in the order of the key specs.
pub type Keys = SmallVec<[KeyRef; 4]>;

/// Finds the keys of a call, whose words it gets with the command's name.
pub type KeyFinder = fn(&[&[u8]]) -> Keys;

impl CommandSpec {
    /// Whether calls of the command can have keys.
    pub fn has_keys(&self) -> bool {
        self.key_finder.is_some() || self.key_specs.iter().any(|spec| !spec.flags.has(KeyFlags::NOT_KEY))
    }

    /// The keys of a call. `None` where the call is not of the command's form, so that its keys cannot be told.
    pub fn keys_of(&self, words: &[&[u8]]) -> Option<Keys> {
        let varies = self.key_specs.iter().any(|spec| spec.flags.has(KeyFlags::VARIABLE_FLAGS));
        let by_specs = if varies { None } else { self.keys_by_specs(words) };
        by_specs.or_else(|| self.key_finder.map(|find| find(words)))
    }

    /// The keys that the specs find, if they find them all.
    fn keys_by_specs(&self, words: &[&[u8]]) -> Option<Keys> {
        let mut keys = Keys::new();
        for spec in self.key_specs.iter().filter(|spec| !spec.flags.has(KeyFlags::NOT_KEY)) {
            let Some(begin) = spec.begin.locate(words)? else { continue };
            let (first, last, step) = spec.find.range(begin, words)?;
            if last >= words.len() || last < first || spec.flags.has(KeyFlags::INCOMPLETE) {
                return None;
            }
            keys.extend((first..=last).step_by(step).map(|position| KeyRef { position, flags: spec.flags }));
        }
        Some(keys)
    }

    /// First key, last key and step in the form that COMMAND had before key specs: the plain ranges
    /// at the beginning. The last key is negative where it is counted from the end.
    pub fn legacy_range(&self) -> (i64, i64, i64) {
        if let [only] = self.key_specs
            && let Some((first, last, step)) = only.plain_range()
        {
            return (first, last, step);
        }
        let mut range = (0, 0, 0);
        for (first, last) in self.key_specs.iter().filter_map(KeySpec::single_step_range) {
            if range.1 != 0 && range.1 != first - 1 {
                continue;
            }
            // As unsigned numbers, so that a last key counted from the end is the greatest.
            let last = (last as u64).max(range.1 as u64) as i64;
            range = (if range.0 == 0 { first } else { range.0.min(first) }, last, 1);
        }
        range
    }

    /// Whether the range of [`Self::legacy_range`] leaves keys out: the flag `movablekeys`.
    pub fn has_movable_keys(&self) -> bool {
        let incomplete = self.key_specs.iter().any(|spec| spec.flags.has(KeyFlags::INCOMPLETE));
        let mut end = 0;
        let mut left_out = false;
        for spec in self.key_specs {
            match spec.single_step_range() {
                Some((first, last)) if end == 0 || end == first - 1 => end = last,
                _ => left_out |= self.key_specs.len() > 1 || spec.plain_range().is_none(),
            }
        }
        incomplete || left_out
    }
}

impl KeySpec {
    /// First key, last key and step, where the spec is a range from a fixed word.
    fn plain_range(&self) -> Option<(i64, i64, i64)> {
        let (BeginSearch::Index(first), FindKeys::Range { last, step, .. }) = (self.begin, self.find) else {
            return None;
        };
        let (first, last) = (i64::from(first), i64::from(last));
        Some((first, if last >= 0 { first + last } else { last }, i64::from(step)))
    }

    /// First and last key, where the spec is a range from a fixed word without gaps.
    fn single_step_range(&self) -> Option<(i64, i64)> {
        self.plain_range().filter(|(_, _, step)| *step == 1).map(|(first, last, _)| (first, last))
    }
}

impl BeginSearch {
    /// The word to begin at. The outer `None` is for what cannot be told, the inner for a keyword that is not there.
    fn locate(self, words: &[&[u8]]) -> Option<Option<usize>> {
        match self {
            BeginSearch::Unknown => None,
            BeginSearch::Index(index) => Some(Some(usize::from(index))),
            BeginSearch::Keyword { word, from } => {
                let is_keyword = |index: &usize| {
                    words.get(*index).is_some_and(|w| w.eq_ignore_ascii_case(word.as_bytes()))
                };
                let distance = usize::from(from.unsigned_abs());
                let found = if from > 0 {
                    // Behind the last word no key follows.
                    (distance..words.len().saturating_sub(1)).find(is_keyword)
                } else {
                    // The name and the first argument cannot be the keyword.
                    (2..=words.len().saturating_sub(distance)).rev().find(is_keyword)
                };
                Some(found.map(|index| index + 1))
            }
        }
    }
}

impl FindKeys {
    /// First key, last key and step from `begin` on.
    fn range(self, begin: usize, words: &[&[u8]]) -> Option<(usize, usize, usize)> {
        match self {
            FindKeys::Unknown => None,
            FindKeys::Range { last, step, limit } => {
                let distance = usize::from(last.unsigned_abs());
                let last = match (last, limit) {
                    (0.., _) => begin + distance,
                    (_, 0) => words.len().checked_sub(distance)?,
                    (_, limit) => {
                        let remaining = words.len().saturating_sub(begin) / usize::from(limit);
                        (begin + remaining).checked_sub(distance)?
                    }
                };
                Some((begin, last, usize::from(step)))
            }
            FindKeys::Count { at, first, step } => {
                let count = words.get(begin + usize::from(at))?;
                let count: usize = std::str::from_utf8(count).ok()?.parse().ok()?;
                let (first, step) = (begin + usize::from(first), usize::from(step));
                // The caller checks that the call has so many words before it takes any.
                let last = first.checked_add(count.checked_sub(1)?)?;
                Some((first, last, step))
            }
        }
    }
}

/// Writes a set of key flags as a list of their names.
#[macro_export]
macro_rules! key_access {
    ($($flag:ident)*) => { $crate::commands::keys::KeyFlags::NONE$(.with($crate::commands::keys::KeyFlags::$flag))* };
}

pub use key_access as access;
