//! The backlog: a bounded history of the replication stream, readable without the engine's lock.
//!
//! Bytes are appended to one open buffer; when it is full it is sealed, that is put behind an
//! `Arc`, and never changes again. Every reader (the writer of one replica's socket) has its own
//! position. What it reads of sealed segments is shared, not copied; only of the open buffer
//! does it copy the bytes that are new to it, once, under a lock that is held for that copy
//! alone. So an append costs an uncontended lock and a `memcpy`, and one stream serves any
//! number of replicas without a buffer for each of them.
//!
//! Trimming follows Redis: the oldest segment goes once what remains still fills
//! `repl-backlog-size`, but not while a reader stands in it. A slow replica therefore makes the
//! backlog longer than its size, until its output buffer limit ends it ([`OutputLimit`]).
//!
//! A *position* counts the bytes before it. The replication protocol counts bytes from one: the
//! first byte that a backlog holds has the offset `span().start + 1`.

use std::collections::VecDeque;
use std::ops::{Deref, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

/// The smallest `repl-backlog-size`, in bytes; a smaller setting is raised to it.
pub const BACKLOG_MIN_SIZE: u64 = 16 * 1024;
const SEGMENT_MIN: usize = 16 * 1024;
const SEGMENT_MAX: usize = 64 * 1024;

/// The history of the stream since some offset. Shared by the engine, which appends, and the
/// writers of the replicas' sockets, which read.
#[derive(Debug)]
pub struct Backlog {
    inner: Mutex<Inner>,
    /// The position after the last byte, for readers that only want to know whether there is more.
    end: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    sealed: VecDeque<Arc<Segment>>,
    open: Segment,
    size_limit: u64,
}

#[derive(Debug)]
struct Segment {
    start: u64,
    bytes: Vec<u8>,
    /// Stands for readers that are in this segment while it is open; they take the segment
    /// itself once it is sealed.
    pin: Arc<()>,
}

impl Segment {
    fn new(start: u64, capacity: usize) -> Segment {
        Segment { start, bytes: Vec::with_capacity(capacity), pin: Arc::new(()) }
    }

    fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }

    fn is_pinned(&self) -> bool {
        Arc::strong_count(&self.pin) > 1
    }
}

impl Inner {
    fn start(&self) -> u64 {
        self.sealed.front().map_or(self.open.start, |first| first.start)
    }

    /// Segments are a sixteenth of the limit, so that trimming is never far off the configured size.
    fn segment_capacity(&self) -> usize {
        (self.size_limit / 16).clamp(SEGMENT_MIN as u64, SEGMENT_MAX as u64) as usize
    }

    fn seal(&mut self) {
        let next = Segment::new(self.open.end(), self.segment_capacity());
        self.sealed.push_back(Arc::new(std::mem::replace(&mut self.open, next)));
    }

    fn trim(&mut self) {
        while let Some(first) = self.sealed.front() {
            if self.open.end() - first.end() <= self.size_limit || first.is_pinned() {
                break;
            }
            self.sealed.pop_front();
        }
    }

    fn segment_at(&self, position: u64) -> Option<&Arc<Segment>> {
        let after = self.sealed.partition_point(|segment| segment.start <= position);
        self.sealed.get(after.checked_sub(1)?).filter(|segment| position < segment.end())
    }
}

impl Backlog {
    /// An empty backlog whose first byte will be the one after `offset`; `size` in bytes.
    pub fn new(offset: u64, size: u64) -> Arc<Backlog> {
        let mut inner = Inner {
            sealed: VecDeque::new(),
            open: Segment::new(offset, 0),
            size_limit: size.max(BACKLOG_MIN_SIZE),
        };
        inner.open.bytes.reserve_exact(inner.segment_capacity());
        Arc::new(Backlog { inner: Mutex::new(inner), end: AtomicU64::new(offset) })
    }

    /// Adds bytes to the stream. Returns whether a segment was sealed, which is when it is worth
    /// looking for readers that lag too far behind.
    pub fn append(&self, mut bytes: &[u8]) -> bool {
        let mut sealed = false;
        let mut inner = self.inner.lock();
        loop {
            let open = &mut inner.open.bytes;
            let room = open.capacity() - open.len();
            if bytes.len() <= room {
                open.extend_from_slice(bytes);
                break;
            }
            let (fits, rest) = bytes.split_at(room);
            open.extend_from_slice(fits);
            bytes = rest;
            inner.seal();
            inner.trim();
            sealed = true;
        }
        self.end.store(inner.open.end(), Ordering::Release);
        sealed
    }

    /// The positions held: from the first byte's to the one after the last byte.
    pub fn span(&self) -> Range<u64> {
        let inner = self.inner.lock();
        inner.start()..inner.open.end()
    }

    /// The position after the last byte, without taking the lock.
    pub fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// `repl_backlog_histlen`: bytes held.
    pub fn histlen(&self) -> u64 {
        let span = self.span();
        span.end - span.start
    }

    /// Memory that is held for the stream, in bytes: the history, and what slow readers keep of it.
    pub fn memory_bytes(&self) -> usize {
        let inner = self.inner.lock();
        let segment = |segment: &Segment| size_of::<Segment>() + segment.bytes.capacity();
        inner.sealed.iter().map(|sealed| segment(sealed)).sum::<usize>() + segment(&inner.open)
    }

    /// `repl-backlog-size` in effect, in bytes.
    pub fn size_limit(&self) -> u64 {
        self.inner.lock().size_limit
    }

    /// Changes `repl-backlog-size`; what is too much goes at once.
    pub fn set_size_limit(&self, size: u64) {
        let mut inner = self.inner.lock();
        inner.size_limit = size.max(BACKLOG_MIN_SIZE);
        inner.trim();
    }

    /// A reader that starts at `position`, or `None` if the backlog does not reach back that far, or
    /// not that far forward. From now on nothing behind the reader is trimmed.
    pub fn reader(self: &Arc<Self>, position: u64) -> Option<Reader> {
        let inner = self.inner.lock();
        if !(inner.start()..=inner.open.end()).contains(&position) {
            return None;
        }
        let pin = inner.segment_at(position).map_or(&inner.open.pin, |segment| &segment.pin).clone();
        Some(Reader {
            backlog: Arc::clone(self),
            position,
            current: None,
            pin: Some(pin),
            shared_position: Arc::new(AtomicU64::new(position)),
        })
    }
}

/// One consumer of the stream, at its own position.
#[derive(Debug)]
pub struct Reader {
    backlog: Arc<Backlog>,
    position: u64,
    /// The sealed segment that the position is in, so that reading on needs no lock.
    current: Option<Arc<Segment>>,
    /// Keeps the segment at the position, and with it all later ones, from being trimmed.
    pin: Option<Arc<()>>,
    shared_position: Arc<AtomicU64>,
}

impl Drop for Reader {
    /// What only this reader kept goes with it, so that the memory of a slow replica is freed at once.
    fn drop(&mut self) {
        let mut inner = self.backlog.inner.lock();
        self.pin = None;
        inner.trim();
    }
}

impl Reader {
    /// The next bytes of the stream, at most `max`, or `None` if there are no more for now. Several
    /// slices can be gathered and written with one vectored write.
    pub fn read(&mut self, max: usize) -> Option<Slice> {
        if max == 0 || self.position >= self.backlog.end() {
            return None;
        }
        if self.current.as_ref().is_none_or(|segment| self.position >= segment.end()) {
            let inner = self.backlog.inner.lock();
            let Some(segment) = inner.segment_at(self.position) else {
                // What is still open is copied; a reader that keeps up never copies more than what is new.
                let from = (self.position - inner.open.start) as usize;
                let to = inner.open.bytes.len().min(from.saturating_add(max));
                let bytes = inner.open.bytes[from..to].to_vec();
                self.pin = Some(inner.open.pin.clone());
                drop(inner);
                self.current = None;
                self.move_to(self.position + bytes.len() as u64);
                return Some(Slice(Source::Copied(bytes)));
            };
            self.pin = Some(segment.pin.clone());
            self.current = Some(Arc::clone(segment));
        }
        let segment = Arc::clone(self.current.as_ref()?);
        let from = (self.position - segment.start) as usize;
        let to = segment.bytes.len().min(from.saturating_add(max));
        self.move_to(segment.start + to as u64);
        Some(Slice(Source::Shared(segment, from..to)))
    }

    fn move_to(&mut self, position: u64) {
        self.position = position;
        self.shared_position.store(position, Ordering::Release);
    }

    /// The number of stream bytes before the next one to be read.
    pub fn position(&self) -> u64 {
        self.position
    }

    /// Whether there is something to read.
    pub fn has_more(&self) -> bool {
        self.position < self.backlog.end()
    }

    /// A view of the position that stays current while the reader is used elsewhere.
    pub fn probe(&self) -> ReaderProbe {
        ReaderProbe(Arc::clone(&self.shared_position))
    }
}

/// Shows where a [`Reader`] is that another thread uses.
#[derive(Clone, Debug)]
pub struct ReaderProbe(Arc<AtomicU64>);

impl ReaderProbe {
    /// Bytes that the reader has not taken yet of a stream that ends at `end`.
    pub fn lag(&self, end: u64) -> u64 {
        end.saturating_sub(self.0.load(Ordering::Acquire))
    }
}

/// Bytes of the stream, in memory that does not change.
#[derive(Debug)]
pub struct Slice(Source);

#[derive(Debug)]
enum Source {
    Shared(Arc<Segment>, Range<usize>),
    Copied(Vec<u8>),
}

impl Deref for Slice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Source::Shared(segment, range) => &segment.bytes[range.clone()],
            Source::Copied(bytes) => bytes,
        }
    }
}

/// `client-output-buffer-limit replica`. Zero means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutputLimit {
    /// Bytes at which a replica is disconnected at once.
    pub hard_bytes: u64,
    /// Bytes that may not be exceeded for longer than `soft_ms`.
    pub soft_bytes: u64,
    /// How long the soft limit may be exceeded, in milliseconds.
    pub soft_ms: u64,
}

impl Default for OutputLimit {
    fn default() -> Self {
        OutputLimit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_ms: 60_000 }
    }
}

impl OutputLimit {
    /// Whether a replica with `pending` unread bytes has to go. `soft_since` is its memory of when
    /// the soft limit was first found exceeded. A hard limit below the size of the backlog would cut
    /// off replicas that were just allowed to continue, so that it counts as that size.
    pub fn exceeded(
        &self,
        now_ms: u64,
        pending: u64,
        backlog_size: u64,
        soft_since: &mut Option<u64>,
    ) -> bool {
        let hard = self.hard_bytes != 0 && pending >= self.hard_bytes.max(backlog_size);
        if self.soft_bytes == 0 || pending < self.soft_bytes {
            *soft_since = None;
            return hard;
        }
        let since = *soft_since.get_or_insert(now_ms);
        hard || now_ms.saturating_sub(since) > self.soft_ms
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(reader: &mut Reader, max: usize) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(slice) = reader.read(max) {
            assert!(!slice.is_empty() && slice.len() <= max);
            out.extend_from_slice(&slice);
        }
        out
    }

    #[test]
    fn history_stays_within_a_segment_of_the_limit() {
        let backlog = Backlog::new(7, 100_000);
        for _ in 0..10_000 {
            backlog.append(&[b'x'; 100]);
            assert!(backlog.histlen() <= 100_000 + 2 * SEGMENT_MIN as u64);
        }
        assert!(backlog.histlen() >= 100_000);
        assert_eq!(backlog.span().end, 1_000_007);
        backlog.set_size_limit(1);
        assert_eq!(backlog.size_limit(), BACKLOG_MIN_SIZE);
        assert!(backlog.histlen() <= BACKLOG_MIN_SIZE + SEGMENT_MIN as u64);
    }

    #[test]
    fn a_slow_reader_keeps_what_it_still_needs() {
        let backlog = Backlog::new(0, BACKLOG_MIN_SIZE);
        let mut slow = backlog.reader(0).expect("the start is held");
        let probe = slow.probe();
        let written: Vec<u8> = (0..500_000u32).map(|i| i as u8).collect();
        for chunk in written.chunks(777) {
            backlog.append(chunk);
        }
        assert_eq!(backlog.span(), 0..500_000);
        assert_eq!(probe.lag(backlog.end()), 500_000);
        assert!((500_000..600_000).contains(&backlog.memory_bytes()), "{}", backlog.memory_bytes());
        assert_eq!(drain(&mut slow, 4096), written);
        assert_eq!(probe.lag(backlog.end()), 0);
        drop(slow);
        assert!(backlog.histlen() <= 3 * BACKLOG_MIN_SIZE, "{:?}", backlog.span());
    }

    #[test]
    fn readers_start_only_where_the_history_reaches() {
        let backlog = Backlog::new(1000, BACKLOG_MIN_SIZE);
        assert!(backlog.reader(999).is_none());
        assert!(backlog.reader(1001).is_none());
        let mut reader = backlog.reader(1000).expect("the end of an empty backlog");
        assert!(!reader.has_more() && reader.read(100).is_none());
        backlog.append(b"abc");
        assert_eq!(drain(&mut reader, 2), b"abc");
        assert_eq!(reader.position(), 1003);
    }

    #[test]
    fn limits_act_at_once_or_after_their_time() {
        let limit = OutputLimit { hard_bytes: 1000, soft_bytes: 500, soft_ms: 60 };
        let mut since = None;
        assert!(!limit.exceeded(0, 499, 0, &mut since));
        assert!(!limit.exceeded(10, 500, 0, &mut since));
        assert!(!limit.exceeded(70, 500, 0, &mut since));
        assert!(limit.exceeded(71, 500, 0, &mut since));
        assert!(!limit.exceeded(72, 0, 0, &mut since), "catching up forgives");
        assert!(!limit.exceeded(73, 600, 0, &mut since));
        assert!(limit.exceeded(74, 1000, 0, &mut since));
        assert!(!limit.exceeded(75, 1500, 2000, &mut since), "the hard limit is never below the backlog");
        let none = OutputLimit { hard_bytes: 0, soft_bytes: 0, soft_ms: 0 };
        assert!(!none.exceeded(0, u64::MAX, 0, &mut None));
    }

    #[test]
    fn readers_on_other_threads_see_every_byte_in_order() {
        let backlog = Backlog::new(0, BACKLOG_MIN_SIZE);
        let total = 3_000_000u64;
        std::thread::scope(|scope| {
            for max in [100, 5_000, usize::MAX] {
                let mut reader = backlog.reader(0).expect("the start is held");
                scope.spawn(move || {
                    while reader.position() < total {
                        let at = reader.position();
                        let Some(slice) = reader.read(max) else {
                            std::thread::yield_now();
                            continue;
                        };
                        for (i, byte) in slice.iter().enumerate() {
                            assert_eq!(*byte, ((at + i as u64) % 251) as u8);
                        }
                    }
                });
            }
            let bytes: Vec<u8> = (0..total).map(|i| (i % 251) as u8).collect();
            for chunk in bytes.chunks(331) {
                backlog.append(chunk);
            }
        });
    }

    /// Figures for people: `cargo test --release -- --ignored --nocapture backlog_figures`.
    #[test]
    #[ignore = "measures, checks nothing"]
    fn backlog_figures() {
        let backlog = Backlog::new(0, 1 << 20);
        let mut reader = backlog.reader(0).expect("the start is held");
        let record = [b'r'; 100];
        let rounds = 20_000_000u64;
        let started = std::time::Instant::now();
        for i in 0..rounds {
            backlog.append(std::hint::black_box(&record));
            if i % 4096 == 0 {
                while reader.read(usize::MAX).is_some() {}
            }
        }
        println!("append of 100 bytes: {:?}", started.elapsed() / rounds as u32);
        let started = std::time::Instant::now();
        for _ in 0..rounds / 16 {
            for _ in 0..16 {
                backlog.append(std::hint::black_box(&record));
            }
            std::hint::black_box(reader.read(usize::MAX));
        }
        println!("16 appends and a read of them: {:?}", started.elapsed() / (rounds / 16) as u32);
    }

    proptest! {
        /// Any interleaving of appends, reads, new readers and size changes agrees with a plain vector.
        #[test]
        fn agrees_with_a_plain_vector(
            start in 0u64..1_000_000,
            steps in prop::collection::vec((0u8..6, 0usize..3, 0usize..40_000), 1..120),
        ) {
            let backlog = Backlog::new(start, BACKLOG_MIN_SIZE);
            let mut model = Vec::new();
            let mut readers: Vec<Reader> = Vec::new();
            for (step, who, amount) in steps {
                match step {
                    0..=2 => {
                        let bytes: Vec<u8> = (0..amount).map(|i| (model.len() + i) as u8 ^ (i >> 8) as u8).collect();
                        backlog.append(&bytes);
                        model.extend_from_slice(&bytes);
                    }
                    3 => if let Some(reader) = readers.get_mut(who) {
                        let from = (reader.position() - start) as usize;
                        match reader.read(amount + 1) {
                            Some(slice) => prop_assert_eq!(&*slice, &model[from..from + slice.len()]),
                            None => prop_assert_eq!(from, model.len()),
                        }
                    },
                    4 => {
                        readers.truncate(2);
                        let span = backlog.span();
                        let position = span.start + amount as u64 % (span.end - span.start + 1);
                        readers.push(backlog.reader(position).expect("within the span"));
                    }
                    _ => backlog.set_size_limit(amount as u64 * 4),
                }
                let span = backlog.span();
                prop_assert_eq!(span.end, start + model.len() as u64);
                prop_assert_eq!(backlog.end(), span.end);
                prop_assert!(readers.iter().all(|r| r.position() >= span.start));
                prop_assert!(span.end - span.start >= (model.len() as u64).min(BACKLOG_MIN_SIZE));
            }
        }
    }
}
