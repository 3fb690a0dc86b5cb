//! From answers to the times during which each host held the address.

use std::time::{Duration, Instant};

/// Answers of one host that are further apart were not one holding: several times the period of the questions.
const APART: Duration = Duration::from_millis(60);

type Mac = [u8; 6];

/// Times during which one host answered.
#[derive(Debug)]
pub struct Holders(Vec<Holding>);

#[derive(Clone, Copy, Debug)]
struct Holding {
    by: Mac,
    first: Instant,
    last: Instant,
}

impl Holders {
    /// Of answers in any order.
    pub fn new(mut heard: Vec<(Instant, Mac)>) -> Holders {
        heard.sort();
        let mut holdings: Vec<Holding> = Vec::new();
        for (at, by) in heard {
            match holdings.iter_mut().rev().find(|holding| holding.by == by) {
                Some(holding) if at - holding.last < APART => holding.last = at,
                _ => holdings.push(Holding { by, first: at, last: at }),
            }
        }
        Holders(holdings)
    }

    /// For how long two hosts held it; a single answer within another host's time counts as a millisecond.
    pub fn dual(&self) -> Duration {
        let mut dual = Duration::ZERO;
        for (i, a) in self.0.iter().enumerate() {
            for b in self.0[i + 1..].iter().filter(|b| b.by != a.by) {
                let (from, to) = (a.first.max(b.first), a.last.min(b.last));
                if from <= to {
                    dual += (to - from).max(Duration::from_millis(1));
                }
            }
        }
        dual
    }

    /// When this host was last heard.
    pub fn last_of(&self, by: Mac) -> Option<Instant> {
        self.0.iter().filter(|holding| holding.by == by).map(|holding| holding.last).max()
    }
}

#[test]
fn two_who_answer_at_once_are_noticed() {
    let start = Instant::now();
    let heard = |list: &[(u64, u8)]| {
        Holders::new(list.iter().map(|(ms, by)| (start + Duration::from_millis(*ms), [*by; 6])).collect())
    };
    assert_eq!(heard(&[(0, 1), (10, 1), (20, 2), (30, 2)]).dual(), Duration::ZERO);
    assert_eq!(heard(&[(0, 1), (10, 1), (500, 2), (1000, 1)]).dual(), Duration::ZERO);
    assert_eq!(heard(&[(0, 1), (10, 2), (20, 1), (40, 2), (50, 1)]).dual(), Duration::from_millis(30));
    assert_eq!(heard(&[(0, 1), (10, 2), (20, 1)]).dual(), Duration::from_millis(1));
}
