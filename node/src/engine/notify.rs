//! Keyspace notifications: which classes of events `notify-keyspace-events` asks for.

/// A set of event classes, and of the two kinds of channels they are published on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify(u32);

impl Notify {
    /// `K`: publish on `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: Notify = Notify(1 << 0);
    /// `E`: publish on `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: Notify = Notify(1 << 1);
    /// `g`: DEL, EXPIRE, RENAME, …
    pub const GENERIC: Notify = Notify(1 << 2);
    /// `$`: strings.
    pub const STRING: Notify = Notify(1 << 3);
    /// `l`: lists.
    pub const LIST: Notify = Notify(1 << 4);
    /// `s`: sets.
    pub const SET: Notify = Notify(1 << 5);
    /// `h`: hashes.
    pub const HASH: Notify = Notify(1 << 6);
    /// `z`: sorted sets.
    pub const ZSET: Notify = Notify(1 << 7);
    /// `x`: keys that expired.
    pub const EXPIRED: Notify = Notify(1 << 8);
    /// `e`: keys that were evicted.
    pub const EVICTED: Notify = Notify(1 << 9);
    /// `t`: streams.
    pub const STREAM: Notify = Notify(1 << 10);
    /// `d`: module types.
    pub const MODULE: Notify = Notify(1 << 11);
    /// `m`: accesses to keys that do not exist; not part of `A`.
    pub const KEY_MISS: Notify = Notify(1 << 12);
    /// `n`: new keys; not part of `A`.
    pub const NEW: Notify = Notify(1 << 13);

    const LETTERS: [(u8, Notify); 14] = [
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
        (b'K', Self::KEYSPACE),
        (b'E', Self::KEYEVENT),
        (b'm', Self::KEY_MISS),
        (b'n', Self::NEW),
    ];

    /// What `A` stands for.
    const ALL: u32 = 0b1111_1111_1100;

    /// Reads the directive's letters; `None` for one that is not a class.
    pub fn parse(letters: &str) -> Option<Notify> {
        letters.bytes().try_fold(Notify(0), |set, letter| {
            if letter == b'A' {
                return Some(Notify(set.0 | Self::ALL));
            }
            let (_, class) = Self::LETTERS.iter().find(|(l, _)| *l == letter)?;
            Some(Notify(set.0 | class.0))
        })
    }

    /// The letters in Redis's order, `A` for all the classes it stands for.
    pub fn letters(self) -> String {
        let mut text = String::new();
        let all = self.0 & Self::ALL == Self::ALL;
        if all {
            text.push('A');
        }
        for (letter, class) in Self::LETTERS {
            if self.has(class) && !(all && class.0 & Self::ALL != 0) {
                text.push(letter as char);
            }
        }
        text
    }

    /// Whether every class of `other` is in the set.
    pub fn has(self, other: Notify) -> bool {
        self.0 & other.0 == other.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_round_trip_in_redis_order() {
        for (given, printed) in [("KEA", "AKE"), ("Ex", "xE"), ("Kg$m", "g$Km"), ("", ""), ("Eg$lshzxetd", "AE")] {
            assert_eq!(Notify::parse(given).unwrap().letters(), printed);
        }
        assert_eq!(Notify::parse("q"), None);
    }
}
