//! From answers to the times during which each host held an address.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use redoubt_vip_hook::platform::frames::Mac;

/// Answers of one host that are further apart were not one holding: several times the period of the questions.
const APART: Duration = Duration::from_millis(60);

/// Somebody answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// When.
    pub at: Instant,
    /// For which address.
    pub address: IpAddr,
    /// Which host.
    pub by: Mac,
}

/// Times during which one host answered for one address.
#[derive(Debug)]
pub struct Holders(Vec<Holding>);

#[derive(Clone, Copy, Debug)]
struct Holding {
    address: IpAddr,
    by: Mac,
    first: Instant,
    last: Instant,
}

impl Holders {
    /// Of answers in any order.
    pub fn new(mut heard: Vec<Answer>) -> Holders {
        heard.sort();
        let mut holdings: Vec<Holding> = Vec::new();
        for Answer { at, address, by } in heard {
            let same = |holding: &&mut Holding| (holding.address, holding.by) == (address, by);
            match holdings.iter_mut().rev().find(same) {
                Some(holding) if at - holding.last < APART => holding.last = at,
                _ => holdings.push(Holding { address, by, first: at, last: at }),
            }
        }
        Holders(holdings)
    }

    /// For how long two hosts held one address; a single answer within another host's time counts as a millisecond.
    pub fn dual(&self) -> Duration {
        let mut dual = Duration::ZERO;
        for (i, a) in self.0.iter().enumerate() {
            for b in self.0[i + 1..].iter().filter(|b| b.address == a.address && b.by != a.by) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_who_answer_at_once_are_noticed() {
        let start = Instant::now();
        let heard = |list: &[(u64, u8, u8)]| {
            let answer = |&(ms, address, by): &(u64, u8, u8)| Answer {
                at: start + Duration::from_millis(ms),
                address: IpAddr::from([10, 0, 0, address]),
                by: [by; 6],
            };
            Holders::new(list.iter().map(answer).collect()).dual()
        };
        assert_eq!(heard(&[(0, 9, 1), (10, 9, 1), (20, 9, 2), (30, 9, 2)]), Duration::ZERO);
        assert_eq!(heard(&[(0, 9, 1), (10, 9, 1), (500, 9, 2), (1000, 9, 1)]), Duration::ZERO);
        assert_eq!(
            heard(&[(0, 9, 1), (10, 9, 2), (20, 9, 1), (40, 9, 2), (50, 9, 1)]),
            Duration::from_millis(30)
        );
        assert_eq!(heard(&[(0, 9, 1), (10, 9, 2), (20, 9, 1)]), Duration::from_millis(1));
        assert_eq!(heard(&[(0, 9, 1), (10, 8, 2), (20, 9, 1), (30, 8, 2)]), Duration::ZERO, "two addresses");
    }
}
