//! For which address this Sentinel vouches, to the agents of virtual IPs (`SENTINEL VOUCH`).
//!
//! An agent holds the address of a master only while a majority of the Sentinels vouches for its node, and each proof of
//! that is worth a lease, counted from before the first question was sent. Who takes the address over has to know that
//! no other can hold it any more. So every answer says how long ago this Sentinel last vouched for any *other*
//! address of the same master. Any two majorities share a Sentinel; if all of the new owner's majority last vouched for another
//! longer ago than a lease, every proof that another may have had is over, and a new one would need the consent
//! of a Sentinel that from now on names the new owner in its figure.
//!
//! What agents rely on is two things.
//!
//! - *The figure is never more than the truth*: once this Sentinel has vouched for A, what it says when it vouches for B is
//!   at most the time that has passed since. A restart counts as having vouched for everybody at that moment, since it
//!   is not remembered what was said before; so do a master's name that is watched anew, and TILT, since a process that
//!   did not run for seconds may have been taken back to an earlier state as a whole. The clock is monotonic and counts
//!   whole milliseconds, so one is taken off. With this alone there are never two holders, however
//!   often a Sentinel changed its mind.
//! - *It does not flap*: it vouches only for what is in effect (see `configuration`), which never goes back to an older
//!   epoch.
//!
//! An agent that has let go by itself says so (`SENTINEL VOUCH ... RELEASE`), and what it was vouched for is forgotten, so
//! that the next owner need not wait for a lease that nobody uses.
//!
//! It refuses where it cannot, or should not, name anybody: while a newer configuration is on its way to the disk, when
//! the old address is no longer the master's and the new one must not be told yet; and as the leader of a failover from
//! the moment that it sent the promotion until the new master is proven, since from then on writes to the old one may be
//! lost. If that failover fails, it vouches for the old one again.
//!
//! It does not refuse in TILT: that is about verdicts on others, and whom it names is none. It would cost the address
//! for half a minute where the machines of a majority stood still together. Nor does it refuse because it sees the master
//! down, or gave its vote to another that may be promoting a replica at this moment. Neither is needed for there to be
//! one holder: the old owner goes on only by this Sentinel's word, whose time the new owner learns. And it would cost: a
//! master that the Sentinels reach badly and its clients well, and
//! for which there is no replica, would lose its address for nothing, and a leader that dies after the election
//! would take the address with it. An old owner that is gone, hung or cut off does not ask anyway.

use std::net::IpAddr;

use super::config::Planted;
use super::model::{Addr, FailoverState, Master};
use super::timers::Ms;
use super::{ClientId, Core};

/// How many addresses of a master are remembered one by one. Only what a Sentinel named as the master becomes one.
const REMEMBERED: usize = 8;

/// When a Sentinel last vouched for which address of a master.
#[derive(Debug)]
pub struct Vouched {
    /// One for each address, and no more than [`REMEMBERED`].
    latest: Vec<Vouch>,
    /// When this memory began; later if something that came after had to be forgotten.
    since: Ms,
}

/// The last time for one address.
#[derive(Debug)]
struct Vouch {
    ip: String,
    port: u16,
    at: Ms,
    /// Who asked.
    client: ClientId,
}

impl Vouch {
    fn is_for(&self, addr: &Addr) -> bool {
        self.ip == addr.ip && self.port == addr.port
    }
}

impl Vouched {
    /// Nothing is remembered of the time before `now`.
    pub fn new(now: Ms) -> Self {
        Vouched { latest: Vec::new(), since: now }
    }

    /// Remembers that we vouch for `addr` now. How long ago we did so for another, in milliseconds.
    fn note(&mut self, addr: &Addr, client: ClientId, now: Ms) -> Ms {
        self.latest.retain(|vouch| !vouch.is_for(addr));
        let other_at = self.latest.iter().map(|vouch| vouch.at).fold(self.since, Ms::max);
        if self.latest.len() == REMEMBERED {
            // The oldest comes first, as each new one goes to the end.
            self.since = self.since.max(self.latest.remove(0).at);
        }
        self.latest.push(Vouch { ip: addr.ip.clone(), port: addr.port, at: now, client });
        now.saturating_sub(other_at + 1)
    }

    /// Who asked holds nothing any more by what it was told. It must have told so over the connection over which we
    /// vouched last: on an older one this may have been under way for long, and the host may hold again since.
    fn release(&mut self, host: &str, port: u16, client: ClientId) {
        self.latest.retain(|vouch| {
            vouch.client != client || vouch.port != port || !same_ip(&vouch.ip, host) && vouch.ip != host
        });
    }
}

impl Core {
    /// Vouches for `host` (an IP, or the name under which the master is known) and `port` as the address of the master.
    /// For how many milliseconds we have not done so for another address of it.
    ///
    /// # Errors
    /// Why not: a word for programs, what belongs to it, and a sentence for people.
    pub(super) fn vouch(
        &mut self,
        m: usize,
        host: &str,
        port: u16,
        client: ClientId,
        now: Ms,
    ) -> Result<Ms, String> {
        let master = &self.masters[m];
        if master.coming.is_some() {
            return Err("switching A newer configuration is being written to disk".into());
        }
        if promotion_is_out(master) {
            return Err(
                "failover-in-progress This Sentinel leads a failover and has ordered a promotion".into()
            );
        }
        let addr = master.current_addr().clone();
        if !denotes(&addr, host, port) {
            let (ip, epoch) = (&addr.ip, master.config_epoch);
            return Err(format!("other-master {ip} {} It is the master since epoch {epoch}", addr.port));
        }
        if self.planted == Some(Planted::ForgetVouches) {
            self.masters[m].vouched.latest.clear();
        }
        Ok(self.masters[m].vouched.note(&addr, client, now))
    }

    /// The host that has been vouched for has let go by itself: the next owner need not wait for a lease to be over.
    pub(super) fn released(&mut self, m: usize, host: &str, port: u16, client: ClientId) {
        self.masters[m].vouched.release(host, port, client);
    }
}

/// Whether a failover of ours may have made a new master that is not proven yet.
fn promotion_is_out(master: &Master) -> bool {
    master.failover.as_ref().is_some_and(|f| f.sent && f.state < FailoverState::ReconfSlaves)
}

/// As instances are compared, and by the address where it has several spellings.
fn denotes(addr: &Addr, host: &str, port: u16) -> bool {
    addr.is(host, port) || (addr.port == port && same_ip(&addr.ip, host))
}

/// Whether both are spellings of one address.
fn same_ip(a: &str, b: &str) -> bool {
    let ip = |text: &str| text.parse::<IpAddr>().ok();
    ip(a).is_some_and(|a| ip(b) == Some(a))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const C: ClientId = ClientId(1);

    fn addr(n: u8) -> Addr {
        Addr::of_ip(&format!("10.0.0.{n}"), 6379)
    }

    #[test]
    fn the_time_since_another_address_counts() {
        let mut vouched = Vouched::new(1000);
        assert_eq!(vouched.note(&addr(1), C, 1500), 499, "a restart counts as now");
        assert_eq!(vouched.note(&addr(1), C, 3000), 1999);
        assert_eq!(vouched.note(&addr(2), C, 3100), 99);
        assert_eq!(vouched.note(&addr(2), C, 3600), 599);
        assert_eq!(vouched.note(&addr(1), C, 3600), 0);
        assert_eq!(vouched.note(&addr(3), C, 3600), 0);
    }

    #[test]
    fn a_release_takes_back_what_was_said_over_the_same_connection() {
        let mut vouched = Vouched::new(0);
        vouched.note(&addr(1), ClientId(1), 1000);
        vouched.release("10.0.0.1", 6379, ClientId(2));
        vouched.release("10.0.0.2", 6379, ClientId(1));
        assert_eq!(vouched.note(&addr(2), C, 1001), 0, "a stranger's word, and that for another");
        vouched.release("10.0.0.1", 6379, ClientId(1));
        assert_eq!(vouched.note(&addr(2), C, 1002), 1001, "since this memory began");
        vouched.note(&addr(1), ClientId(3), 1100);
        vouched.note(&addr(1), ClientId(4), 1200);
        vouched.release("10.0.0.1", 6379, ClientId(3));
        assert_eq!(vouched.note(&addr(2), C, 1250), 49, "it was vouched for over a newer connection since");
    }

    #[test]
    fn what_is_forgotten_for_want_of_room_counts_for_everybody() {
        let mut vouched = Vouched::new(0);
        for n in 1..=9 {
            vouched.note(&addr(n), C, 100 * u64::from(n));
        }
        for n in 2..=9 {
            vouched.release(&format!("10.0.0.{n}"), 6379, C);
        }
        assert_eq!(vouched.note(&addr(10), C, 1000), 899, "for the first it was at 100");
    }

    #[test]
    fn another_port_is_another_address_and_another_spelling_is_not() {
        let six = Addr::of_ip("fd00:0:0::1", 6379);
        assert!(denotes(&six, "fd00::1", 6379) && !denotes(&six, "fd00::1", 6380));
        let mut vouched = Vouched::new(0);
        vouched.note(&addr(1), C, 1000);
        assert_eq!(vouched.note(&Addr::of_ip("10.0.0.1", 6380), C, 1000), 0);
    }

    proptest! {
        #[test]
        fn the_figure_is_never_more_than_the_truth(
            steps in prop::collection::vec((0u8..12, 0u64..1000, prop::bool::weighted(0.1), any::<bool>()), 1..90)
        ) {
            // In microseconds, while the Sentinel's clock counts whole milliseconds.
            let mut now_us = 1_000_000_u64;
            let mut vouched = Vouched::new(now_us / 1000);
            let mut said: Vec<(u8, u64)> = Vec::new();
            for (n, pause_us, restart, releases) in steps {
                now_us += pause_us * 7;
                if restart {
                    vouched = Vouched::new(now_us / 1000);
                }
                let figure_us = vouched.note(&addr(n), C, now_us / 1000) * 1000;
                let truth = said.iter().filter(|(other, _)| *other != n).map(|(_, at)| now_us - at).min();
                prop_assert!(truth.is_none_or(|truth| figure_us <= truth), "{figure_us} > {truth:?}");
                said.push((n, now_us));
                if releases {
                    vouched.release(&addr(n).ip, 6379, C);
                    said.retain(|(other, _)| *other != n);
                }
            }
        }
    }
}
