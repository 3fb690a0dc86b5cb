//! LZF: the compression of strings inside RDB files.
//!
//! A compressed text is a row of instructions, each starting with a control byte:
//!
//! ```text
//! 000LLLLL                    L+1 literal bytes follow (1 to 32)
//! LLLooooo oooooooo           copy L+2 bytes (3 to 8) from o+1 bytes back
//! 111ooooo LLLLLLLL oooooooo  copy L+9 bytes (9 to 264) from o+1 bytes back
//! ```
//!
//! The offset has 13 bits, five high ones in the control byte and eight low ones at the end, so a copy
//! reaches 8192 bytes back. A copy may overlap what it writes: that is how runs are stored.
//!
//! The compressor remembers where it last saw each three-byte prefix. Clearing that table would cost more
//! than compressing a short string, so it is cleared once in 4 GiB of input: positions are counted from the
//! compressor's first byte ever, and those before the present input are recognised as stale.

const HASH_BITS: u32 = 14;
const MAX_LITERALS: usize = 1 << 5;
const MAX_DISTANCE: usize = 1 << 13;
const MAX_COPY: usize = 264;
const MIN_COPY: usize = 3;

/// Compression that saves less than this many bytes is not worth it (the limit Redis uses).
const MIN_SAVED: usize = 4;

/// The best ratio the format can reach: a three-byte instruction yields at most 264 bytes.
const MAX_RATIO: usize = MAX_COPY / 3;

/// A compressor with its memory, to be used again and again.
pub struct Compressor {
    /// For a hashed prefix, where it was last seen: `base` of then plus the index, zero if never.
    last_seen: Box<[u32; 1 << HASH_BITS]>,
    /// What is added to an index of the present input to make a table entry.
    base: u32,
    out: Vec<u8>,
}

impl Default for Compressor {
    fn default() -> Self {
        Self::new()
    }
}

impl Compressor {
    /// A compressor that has seen nothing yet. It takes 64 KiB.
    pub fn new() -> Self {
        Compressor { last_seen: Box::new([0; 1 << HASH_BITS]), base: 1, out: Vec::new() }
    }

    /// The compressed form of `input`, or `None` if that would save less than four bytes, or if the input is
    /// longer than the 2 GiB that table entries can tell apart.
    pub fn compress(&mut self, input: &[u8]) -> Option<&[u8]> {
        let limit = input.len().checked_sub(MIN_SAVED)?;
        self.make_room(input.len())?;
        self.out.clear();

        let mut literals_from = 0;
        let mut at = 0;
        let mut misses = 0;
        while at + 4 <= input.len() {
            let Some((from, length)) = self.find(input, at) else {
                // Where nothing repeats, look at fewer and fewer places.
                misses += 1;
                at += 1 + (misses >> 6);
                continue;
            };
            misses = 0;
            self.put_literals(&input[literals_from..at]);
            self.put_copy(at - from - 1, length);
            if self.out.len() > limit {
                break;
            }
            // The prefixes inside the copy are worth remembering only near its end, where the next match may
            // start.
            let end = at + length;
            for seen in end - 2..end {
                if seen + 4 <= input.len() {
                    self.remember(input, seen);
                }
            }
            at = end;
            literals_from = end;
        }
        self.put_literals(&input[literals_from..]);
        self.base += input.len() as u32;
        (self.out.len() <= limit).then_some(&self.out[..])
    }

    /// Makes sure that the positions of an input of `length` bytes fit into table entries.
    fn make_room(&mut self, length: usize) -> Option<()> {
        let length = u32::try_from(length).ok().filter(|&length| length <= u32::MAX / 2)?;
        if self.base.checked_add(length).is_none() {
            self.last_seen.fill(0);
            self.base = 1;
        }
        Some(())
    }

    /// Notes that the prefix at `at` was seen there; tells the entry it replaces.
    fn remember(&mut self, input: &[u8], at: usize) -> u32 {
        let prefix = word(input, at) << 8;
        let slot = &mut self.last_seen[(prefix.wrapping_mul(0x9E37_79B1) >> (32 - HASH_BITS)) as usize];
        std::mem::replace(slot, self.base + at as u32)
    }

    /// The last place within reach that starts with the same three bytes as `at`, and how far they agree.
    fn find(&mut self, input: &[u8], at: usize) -> Option<(usize, usize)> {
        let from = self.remember(input, at).checked_sub(self.base)? as usize;
        if at - from > MAX_DISTANCE || (word(input, from) ^ word(input, at)) << 8 != 0 {
            return None;
        }
        let longest = MAX_COPY.min(input.len() - at);
        let agree = common_prefix(&input[from + MIN_COPY..], &input[at + MIN_COPY..at + longest]);
        Some((from, MIN_COPY + agree))
    }

    fn put_literals(&mut self, bytes: &[u8]) {
        for run in bytes.chunks(MAX_LITERALS) {
            self.out.push(run.len() as u8 - 1);
            self.out.extend_from_slice(run);
        }
    }

    fn put_copy(&mut self, offset: usize, length: usize) {
        let high = (offset >> 8) as u8;
        if length < 9 {
            self.out.push(((length - 2) << 5) as u8 | high);
        } else {
            self.out.push(7 << 5 | high);
            self.out.push((length - 9) as u8);
        }
        self.out.push(offset as u8);
    }
}

/// The four bytes at `at`, the first one lowest.
fn word(input: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([input[at], input[at + 1], input[at + 2], input[at + 3]])
}

/// In how many leading bytes `a` and `b` agree. `a` may run into `b`: it is only read.
fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    let mut agree = 0;
    for (x, y) in a.chunks_exact(8).zip(b.chunks_exact(8)) {
        let x = u64::from_le_bytes(x.try_into().expect("eight bytes"));
        let y = u64::from_le_bytes(y.try_into().expect("eight bytes"));
        if x != y {
            return agree + ((x ^ y).trailing_zeros() / 8) as usize;
        }
        agree += 8;
    }
    agree + a[agree..].iter().zip(&b[agree..]).take_while(|(x, y)| x == y).count()
}

/// The text whose compressed form is `input`, if it is well formed and exactly `length` bytes long.
///
/// No more than `length` bytes are taken, and only if so much could come out of `input` at all.
pub fn decompress(input: &[u8], length: usize) -> Option<Vec<u8>> {
    if length / MAX_RATIO > input.len() {
        return None;
    }
    let mut out = Vec::with_capacity(length);
    let mut rest = input;
    while let Some((&control, after)) = rest.split_first() {
        rest = if (control as usize) < MAX_LITERALS {
            let (literals, after) = after.split_at_checked(control as usize + 1)?;
            if literals.len() > length - out.len() {
                return None;
            }
            out.extend_from_slice(literals);
            after
        } else {
            let (copy, after) = parse_copy(control, after)?;
            copy.run(&mut out, length)?;
            after
        };
    }
    (out.len() == length).then_some(out)
}

/// An instruction to repeat `length` bytes from `distance` bytes back.
struct Copy {
    distance: usize,
    length: usize,
}

fn parse_copy(control: u8, rest: &[u8]) -> Option<(Copy, &[u8])> {
    let (extra, rest) = match control >> 5 {
        7 => rest.split_first().map(|(&extra, rest)| (extra as usize, rest))?,
        _ => (0, rest),
    };
    let (&low, rest) = rest.split_first()?;
    let distance = ((control as usize & 0x1f) << 8 | low as usize) + 1;
    Some((Copy { distance, length: (control >> 5) as usize + 2 + extra }, rest))
}

impl Copy {
    fn run(&self, out: &mut Vec<u8>, limit: usize) -> Option<()> {
        let from = out.len().checked_sub(self.distance)?;
        if self.length > limit - out.len() {
            return None;
        }
        // A copy that overlaps itself repeats what is there, which doubles with every step.
        let mut left = self.length;
        while left > 0 {
            let step = left.min(out.len() - from);
            out.extend_from_within(from..from + step);
            left -= step;
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn known_texts_decompress() {
        assert_eq!(decompress(b"\x01ab", 2).unwrap(), b"ab");
        assert_eq!(decompress(b"\x00a\xe0\x10\x00", 26).unwrap(), [b'a'; 26]);
        assert_eq!(decompress(b"\x02abc\x20\x02", 6).unwrap(), b"abcabc");
    }

    #[test]
    fn malformed_texts_are_refused() {
        for (bad, length) in [
            (&b"\x05ab"[..], 6),    // literals cut off
            (b"\x00a\xe0", 20),     // the long form without its length
            (b"\x00a\xe0\x01", 11), // and without its offset
            (b"\x00a\x20\x01", 4),  // reaches before the start
            (b"\x20\x00", 3),       // nothing to copy from
            (b"\x00a\x20\x00", 3),  // yields more than announced
            (b"\x00a\x20\x00", 5),  // yields less than announced
            (b"\x01ab", 1),         // literals beyond what was announced
            (b"\x00a", usize::MAX), // announces what it cannot hold
        ] {
            assert_eq!(decompress(bad, length), None, "{bad:x?} as {length}");
        }
    }

    #[test]
    fn short_and_random_texts_stay_as_they_are() {
        let mut compressor = Compressor::new();
        assert!(compressor.compress(b"").is_none());
        assert!(compressor.compress(b"aaaa").is_none());
        let mut state = 1u64;
        let random = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        });
        let random: Vec<u8> = random.take(4096).collect();
        assert!(compressor.compress(&random).is_none());
    }

    #[test]
    fn positions_start_over_before_they_overflow() {
        let text = b"one two one two one two one two one two".repeat(3);
        let mut compressor = Compressor::new();
        compressor.base = u32::MAX - text.len() as u32 - 1;
        for _ in 0..4 {
            let packed = compressor.compress(&text).expect("repeats").to_vec();
            assert_eq!(decompress(&packed, text.len()).unwrap(), text);
        }
        assert!(compressor.base < 1000, "the table was started over");
    }

    fn repetitive() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec((prop::collection::vec(0u8..4, 1..12), 1usize..60), 0..60)
            .prop_map(|runs| runs.into_iter().flat_map(|(run, times)| run.repeat(times)).collect())
    }

    proptest! {
        #[test]
        fn what_goes_in_comes_out(texts in prop::collection::vec(repetitive(), 1..6)) {
            let mut compressor = Compressor::new();
            for text in texts {
                if let Some(packed) = compressor.compress(&text) {
                    prop_assert!(packed.len() + MIN_SAVED <= text.len());
                    prop_assert_eq!(decompress(packed, text.len()), Some(text));
                }
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300), length in 0usize..5000) {
            if let Some(out) = decompress(&bytes, length) {
                prop_assert_eq!(out.len(), length);
                prop_assert!(out.capacity() <= length.max(8));
            }
        }
    }
}
