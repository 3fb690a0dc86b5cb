//! Directives whose values have a form of their own: save points, addresses, buffer limits,
//! event classes, the master's address, percentiles, shutdown options.

use super::codec::{Choice, decimal, not_a_choice, single};
use super::row::{Codec, Line, Source, ValueError, WRONG_NUMBER};
use redoubt_wire::bits;
use redoubt_wire::directives::{memory, memory_text};
use redoubt_wire::quoting::{quote, quote_always};

/// Arguments as text, in which invalid UTF-8 becomes the replacement character.
fn text(arg: &[u8]) -> String {
    String::from_utf8_lossy(arg).into_owned()
}

/// `parts` with one space between them.
fn joined(parts: impl Iterator<Item = String>) -> Vec<u8> {
    parts.collect::<Vec<_>>().join(" ").into_bytes()
}

/// A snapshot is due once `changes` writes are unsaved and `seconds` have gone by since the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    /// Seconds since the last successful save, at least 1.
    pub seconds: u64,
    /// Unsaved changes; 0 counts as always reached.
    pub changes: u64,
}

/// Pairs of seconds and changes. Lines of a file add up; the first one replaces the defaults.
pub(super) struct SavePoints;

impl Codec<Vec<SavePoint>> for SavePoints {
    fn parse(&self, args: &[&[u8]]) -> Result<Vec<SavePoint>, ValueError> {
        if let [[]] = args {
            return Ok(Vec::new());
        }
        let number = |arg: &[u8], min: i64| -> Result<u64, ValueError> {
            let n = decimal(arg).filter(|n| *n >= min).and_then(|n| u64::try_from(n).ok());
            n.ok_or_else(|| "Invalid save parameters".into())
        };
        let mut points = Vec::with_capacity(args.len() / 2);
        for pair in args.chunks(2) {
            let [seconds, changes] = pair else { return Err("Invalid save parameters".into()) };
            points.push(SavePoint { seconds: number(seconds, 1)?, changes: number(changes, 0)? });
        }
        Ok(points)
    }

    fn set(&self, value: &mut Vec<SavePoint>, args: &[&[u8]], source: Source) -> Result<(), ValueError> {
        let points = self.parse(args)?;
        if points.is_empty() || source != (Source::File { first: false }) {
            value.clear();
        }
        value.extend(points);
        Ok(())
    }

    fn show(&self, value: &Vec<SavePoint>) -> Vec<u8> {
        joined(value.iter().map(|p| format!("{} {}", p.seconds, p.changes)))
    }

    fn lines(&self, value: &Vec<SavePoint>, _default: &Vec<SavePoint>) -> Vec<Line> {
        if value.is_empty() {
            return vec![Line { args: b"\"\"".to_vec(), force: true }];
        }
        let line = |p: &SavePoint| format!("{} {}", p.seconds, p.changes).into_bytes();
        value.iter().map(|p| Line { args: line(p), force: true }).collect()
    }
}

/// Addresses to listen on. A leading `-` marks one that may be missing; `*` is every IPv4 address.
pub(super) struct Addresses {
    pub max: usize,
}

impl Codec<Vec<String>> for Addresses {
    fn parse(&self, args: &[&[u8]]) -> Result<Vec<String>, ValueError> {
        if args.len() > self.max {
            return Err("Too many bind addresses specified.".into());
        }
        if args.iter().any(|a| a.contains(&b' ')) {
            return Err("a bind address can't contain a space".into());
        }
        Ok(args.iter().filter(|a| !a.is_empty()).map(|a| text(a)).collect())
    }

    fn show(&self, value: &Vec<String>) -> Vec<u8> {
        value.join(" ").into_bytes()
    }

    fn lines(&self, value: &Vec<String>, default: &Vec<String>) -> Vec<Line> {
        if value == default {
            return Vec::new();
        }
        let args = if value.is_empty() { b"\"\"".to_vec() } else { self.show(value) };
        vec![Line { args, force: true }]
    }
}

/// How much unsent output one class of clients may hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputLimit {
    /// Beyond this many bytes the client is closed at once; 0 is no limit.
    pub hard_bytes: u64,
    /// Beyond this many bytes for `soft_secs` the client is closed; 0 is no limit.
    pub soft_bytes: u64,
    /// Seconds that the soft limit may be exceeded without a break.
    pub soft_secs: u64,
}

/// The output limits of every class of clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimits {
    /// Clients that send commands.
    pub normal: OutputLimit,
    /// Replicas.
    pub replica: OutputLimit,
    /// Subscribers to at least one channel.
    pub pubsub: OutputLimit,
}

impl Default for OutputLimits {
    fn default() -> Self {
        let mib = |hard: u64, soft: u64| OutputLimit {
            hard_bytes: hard << 20,
            soft_bytes: soft << 20,
            soft_secs: 60,
        };
        OutputLimits { normal: OutputLimit::default(), replica: mib(256, 64), pubsub: mib(32, 8) }
    }
}

impl OutputLimits {
    /// The class that `name` means, in any case.
    fn class_mut(&mut self, name: &[u8]) -> Option<&mut OutputLimit> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Some(&mut self.normal),
            b"replica" | b"slave" => Some(&mut self.replica),
            b"pubsub" => Some(&mut self.pubsub),
            _ => None,
        }
    }
}

/// Groups of class, hard limit, soft limit and seconds. A class that is not named keeps its limits.
pub(super) struct ClassLimits;

impl Codec<OutputLimits> for ClassLimits {
    fn parse(&self, args: &[&[u8]]) -> Result<OutputLimits, ValueError> {
        let mut limits = OutputLimits::default();
        self.set(&mut limits, args, Source::Command)?;
        Ok(limits)
    }

    fn set(&self, value: &mut OutputLimits, args: &[&[u8]], _source: Source) -> Result<(), ValueError> {
        if !args.len().is_multiple_of(4) {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        let mut limits = *value;
        for group in args.chunks_exact(4) {
            let Some(class) = limits.class_mut(group[0]) else {
                return Err("Invalid client class specified in buffer limit configuration.".into());
            };
            let seconds = decimal(group[3]).and_then(|n| u64::try_from(n).ok());
            let (Some(hard_bytes), Some(soft_bytes), Some(soft_secs)) =
                (memory(group[1]), memory(group[2]), seconds)
            else {
                return Err(
                    "Error in hard, soft or soft_seconds setting in buffer limit configuration.".into()
                );
            };
            *class = OutputLimit { hard_bytes, soft_bytes, soft_secs };
        }
        *value = limits;
        Ok(())
    }

    fn show(&self, value: &OutputLimits) -> Vec<u8> {
        let classes = [("normal", value.normal), ("slave", value.replica), ("pubsub", value.pubsub)];
        let show = |(name, l): &(&str, OutputLimit)| {
            format!("{name} {} {} {}", l.hard_bytes, l.soft_bytes, l.soft_secs)
        };
        joined(classes.iter().map(show))
    }

    /// All classes or none, so that no line takes the place of another class's.
    fn lines(&self, value: &OutputLimits, default: &OutputLimits) -> Vec<Line> {
        let classes = [("normal", value.normal), ("replica", value.replica), ("pubsub", value.pubsub)];
        let line = |(name, l): (&str, OutputLimit)| {
            let (hard, soft) = (memory_text(l.hard_bytes), memory_text(l.soft_bytes));
            Line {
                args: format!("{name} {hard} {soft} {}", l.soft_secs).into_bytes(),
                force: value != default,
            }
        };
        classes.into_iter().map(line).collect()
    }
}

bits! {
    /// Classes of keyspace events, as a set of letters.
    pub struct KeyspaceEvents(u16) {
        /// `K`: publish on `__keyspace@<db>__:<key>`.
        KEYSPACE = 0,
        /// `E`: publish on `__keyevent@<db>__:<event>`.
        KEYEVENT = 1,
        /// `g`: commands that act on keys of any type.
        GENERIC = 2,
        /// `$`: string commands.
        STRING = 3,
        /// `l`: list commands.
        LIST = 4,
        /// `s`: set commands.
        SET = 5,
        /// `h`: hash commands.
        HASH = 6,
        /// `z`: sorted set commands.
        ZSET = 7,
        /// `x`: a key expired.
        EXPIRED = 8,
        /// `e`: a key was evicted.
        EVICTED = 9,
        /// `t`: stream commands.
        STREAM = 10,
        /// `m`: a key that a reader asked for was missing. Not part of `A`.
        KEY_MISS = 11,
        /// `d`: events of module types.
        MODULE = 13,
        /// `n`: a key came into being. Not part of `A`.
        NEW = 14,
    }
}

impl KeyspaceEvents {
    /// `A`: `g$lshzxetd`.
    pub const ALL: KeyspaceEvents = Self::GENERIC
        .with(Self::STRING)
        .with(Self::LIST)
        .with(Self::SET)
        .with(Self::HASH)
        .with(Self::ZSET)
        .with(Self::EXPIRED)
        .with(Self::EVICTED)
        .with(Self::STREAM)
        .with(Self::MODULE);

    /// Letters in the order in which they are printed.
    const LETTERS: [(u8, KeyspaceEvents); 14] = [
        (b'g', Self::GENERIC),
        (b'$', Self::STRING),
        (b'l', Self::LIST),
        (b's', Self::SET),
        (b'h', Self::HASH),
        (b'z', Self::ZSET),
        (b'x', Self::EXPIRED),
        (b'e', Self::EVICTED),
        (b't', Self::STREAM),
        (b'd', Self::MODULE),
        (b'n', Self::NEW),
        (b'K', Self::KEYSPACE),
        (b'E', Self::KEYEVENT),
        (b'm', Self::KEY_MISS),
    ];
}

/// A word of event letters.
pub(super) struct EventLetters;

impl Codec<KeyspaceEvents> for EventLetters {
    fn parse(&self, args: &[&[u8]]) -> Result<KeyspaceEvents, ValueError> {
        let mut events = KeyspaceEvents::NONE;
        for letter in single(args)? {
            let known = KeyspaceEvents::LETTERS.iter().find(|(l, _)| l == letter);
            events = match (letter, known) {
                (b'A', _) => events.with(KeyspaceEvents::ALL),
                (_, Some((_, class))) => events.with(*class),
                _ => return Err("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.".into()),
            };
        }
        Ok(events)
    }

    /// `A` stands for its classes and, as in Redis 7.2, hides `n` beside them.
    fn show(&self, value: &KeyspaceEvents) -> Vec<u8> {
        let all = value.has(KeyspaceEvents::ALL);
        let mut letters = if all { b"A".to_vec() } else { Vec::new() };
        for (letter, class) in KeyspaceEvents::LETTERS {
            let within_all = KeyspaceEvents::ALL.with(KeyspaceEvents::NEW).has(class);
            if value.has(class) && !(all && within_all) {
                letters.push(letter);
            }
        }
        letters
    }

    /// Unlike the printed form, what is written must read back: `n` keeps its place beside `A`.
    fn lines(&self, value: &KeyspaceEvents, default: &KeyspaceEvents) -> Vec<Line> {
        let mut letters = self.show(value);
        if value.has(KeyspaceEvents::NEW) && !letters.contains(&b'n') {
            letters.push(b'n');
        }
        vec![Line { args: quote_always(&letters).into_bytes(), force: value != default }]
    }
}

/// Where a replica finds its master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MasterAddress {
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
}

/// `<host> <port>`, or `no one`.
pub(super) struct HostPort;

impl Codec<Option<MasterAddress>> for HostPort {
    fn parse(&self, args: &[&[u8]]) -> Result<Option<MasterAddress>, ValueError> {
        let [host, port] = args else { return Err(WRONG_NUMBER.into()) };
        if host.eq_ignore_ascii_case(b"no") && port.eq_ignore_ascii_case(b"one") {
            return Ok(None);
        }
        let port = decimal(port).and_then(|p| u16::try_from(p).ok());
        let port = port.ok_or(ValueError::from("Invalid master port"))?;
        Ok(Some(MasterAddress { host: text(host), port }))
    }

    fn show(&self, value: &Option<MasterAddress>) -> Vec<u8> {
        value.as_ref().map_or(Vec::new(), |m| format!("{} {}", m.host, m.port).into_bytes())
    }

    fn lines(&self, value: &Option<MasterAddress>, _default: &Option<MasterAddress>) -> Vec<Line> {
        let line = |m: &MasterAddress| format!("{} {}", quote(m.host.as_bytes()), m.port).into_bytes();
        value.iter().map(|m| Line { args: line(m), force: true }).collect()
    }
}

/// What a signal that ends the process asks of the shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownOptions {
    /// Save even where there are no save points.
    pub save: bool,
    /// Do not save even where there are save points.
    pub nosave: bool,
    /// Do not wait for lagging replicas.
    pub now: bool,
    /// End even if saving fails.
    pub force: bool,
}

/// The words of shutdown options.
#[derive(Clone, Copy, PartialEq)]
enum ShutdownWord {
    Default,
    Save,
    NoSave,
    Now,
    Force,
}

impl Choice for ShutdownWord {
    const WORDS: &'static [(&'static str, Self)] = &[
        ("default", ShutdownWord::Default),
        ("save", ShutdownWord::Save),
        ("nosave", ShutdownWord::NoSave),
        ("now", ShutdownWord::Now),
        ("force", ShutdownWord::Force),
    ];
}

/// Any of the words of shutdown options; `default` is none.
pub(super) struct ShutdownWords;

impl Codec<ShutdownOptions> for ShutdownWords {
    fn parse(&self, args: &[&[u8]]) -> Result<ShutdownOptions, ValueError> {
        if args.is_empty() {
            return Err(not_a_choice::<ShutdownWord>());
        }
        let mut options = ShutdownOptions::default();
        for arg in args {
            match super::codec::choice(arg)? {
                ShutdownWord::Default => {}
                ShutdownWord::Save => options.save = true,
                ShutdownWord::NoSave => options.nosave = true,
                ShutdownWord::Now => options.now = true,
                ShutdownWord::Force => options.force = true,
            }
        }
        if options.save && options.nosave {
            return Err("shutdown options SAVE and NOSAVE can't be used simultaneously".into());
        }
        Ok(options)
    }

    fn show(&self, value: &ShutdownOptions) -> Vec<u8> {
        let ShutdownOptions { save, nosave, now, force } = *value;
        let words = [(save, "save"), (nosave, "nosave"), (now, "now"), (force, "force")];
        let set: Vec<_> = words.iter().filter(|(on, _)| *on).map(|(_, word)| *word).collect();
        if set.is_empty() { b"default".to_vec() } else { set.join(" ").into_bytes() }
    }

    fn lines(&self, value: &ShutdownOptions, default: &ShutdownOptions) -> Vec<Line> {
        vec![Line { args: self.show(value), force: value != default }]
    }
}
