//! The kernel's lease: an address answers only while a set element with a timeout lives.
//!
//! The table `netdev redoubt_vip` has an ingress chain on each interface with virtual addresses. What would make this
//! host answer for one (an ARP request, a neighbour solicitation, a packet to it) is dropped if the address is in the
//! set `guarded` and not in the set `live`. Each proof renews the element in `live`; without renewal it ends by
//! itself, whatever became of the agent. So the table belongs to no process, and stays when the agent ends: no
//! element, no traffic. What other hosts say about the address (announcements, answers) passes, so that this host's
//! own neighbour table follows the holder. An egress chain, where the kernel has them (5.16), keeps this host's ARP
//! and neighbour discovery from naming itself as the address's owner when the lease is over but the address still
//! there.
//!
//! # Why a pause of the agent cannot open a closed fence
//!
//! The kernel counts a timeout from when it handles the message. An agent that computes 400 ms, is stopped, and sends
//! when it goes on would open the fence long after its proof. So every message that opens does so on a condition that
//! the kernel checks in the same transaction: it deletes an element, which fails if that has expired. A renewal
//! deletes the element in `live` and adds it anew. To open a closed fence, an element is first added to `permit`, which
//! opens nothing, and then that one is deleted and the one in `live` set. (A permit that is still there from before
//! serves as well: it ends no later than a proof that was good then.) An agent that was stopped, wherever it was, for
//! longer than what was left of its proof finds its condition expired. After each renewal the clock is read again,
//! and an element that would live too long is shortened. What remains is an agent that is delayed in the middle of
//! a renewal, goes on before its proof is over, and is killed in the microseconds before it has read the clock.
//!
//! Deleting and adding are one transaction: packets see the old element or the new one, never a gap.
//!
//! # Other ways in
//!
//! Linux answers for a local address on any interface (`arp_ignore` 0), and a second one may be in the same network.
//! So there are two more tables of that name: `arp` for questions from any interface, `inet` for packets from any
//! interface that are for this host itself; what a host forwards to the holder elsewhere passes. They are before all
//! else a help where a host has more than one interface, so a kernel without them is not refused. Their elements
//! follow those of `netdev` in the same transaction.
//!
//! Frames with a VLAN tag pass the parent's ingress as well; those for a guarded address are dropped there like
//! others, since the host would answer them too.

mod rules;

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use nix::errno::Errno;

use super::error::{PlatformError, Result};
use super::netlink::message::Builder;
use super::netlink::{BatchError, Connection, Family};
use crate::clock;
use crate::core::types::Now;
use rules::{Batch, Place, Set};

/// The tables' name, in the families netdev, arp and inet.
pub const TABLE: &str = "redoubt_vip";

/// The shortest time for which the fence is opened. The kernel counts in ticks of up to 10 ms and rounds down, and a
/// timeout of no tick would mean for ever.
pub const SHORTEST: Duration = Duration::from_millis(20);
/// By how much an element may outlive its proof because time went by while it was set.
const TOLERANCE: Duration = Duration::from_millis(5);
/// How often an element is shortened before the fence is closed instead.
const ATTEMPTS: usize = 3;

/// What the kernel does for an agent that no longer renews.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fence {
    /// It ends the traffic to the millisecond that the proof permits, rounded down to its tick.
    Kernel,
    /// It cannot: the address of an agent that died stays until its lifetime is over.
    Unavailable {
        /// Why, with what would help.
        reason: String,
        /// For how long a dead agent's address may go on answering, in seconds.
        worst_case_s: u32,
    },
}

impl std::fmt::Display for Fence {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fence::Kernel => {
                write!(f, "the kernel ends an address's traffic by itself when its lease is over")
            }
            Fence::Unavailable { reason, worst_case_s } => write!(
                f,
                "the kernel cannot end an address's traffic when its lease is over ({reason}): if the agent is \
                 killed or hangs while it holds an address, that may go on answering for up to {worst_case_s} s, \
                 and two hosts may answer for it during that time"
            ),
        }
    }
}

/// A table and what makes a chain in it.
type Chain<'a> = (Place, &'a dyn Fn(&mut Batch<'_>));

/// The rules in the kernel.
#[derive(Debug)]
pub struct Kernel {
    connection: Connection,
    /// Whether the kernel has egress chains.
    egress: bool,
    /// The tables beside that of netdev which the kernel can have.
    others: Vec<Place>,
    /// Until when each address's element lives that was set here. A transaction that fails costs the kernel some
    /// milliseconds, so what has ended is not renewed in vain.
    live: HashMap<IpAddr, Now>,
}

impl Kernel {
    /// Finds out whether this process may use nf_tables with netdev chains, without leaving anything behind.
    pub fn open() -> Result<Kernel, String> {
        let connection = Connection::open(Family::Netfilter, 0)
            .map_err(|errno| format!("no netlink socket for netfilter: {errno}"))?;
        let mut kernel = Kernel { connection, egress: false, others: Vec::new(), live: HashMap::new() };
        // On lo, which is there in every network namespace, in a table of its own that goes in the same transaction.
        let ingress = |batch: &mut Batch<'_>| batch.chain("lo", false);
        let egress = |batch: &mut Batch<'_>| batch.chain("lo", true);
        let everything: [Chain<'_>; 4] = [
            (Place::Netdev, &ingress),
            (Place::Netdev, &egress),
            (Place::Arp, &|batch| batch.host_chain(Place::Arp)),
            (Place::Inet, &|batch| batch.host_chain(Place::Inet)),
        ];
        // Most kernels have all of it; taking a chain away again takes the kernel some milliseconds.
        if kernel.probe(&everything).is_ok() {
            kernel.egress = true;
            kernel.others = vec![Place::Arp, Place::Inet];
            return Ok(kernel);
        }
        match kernel.probe(&everything[..1]) {
            Ok(()) => {
                kernel.egress = kernel.probe(&everything[1..2]).is_ok();
                for one in &everything[2..] {
                    if kernel.probe(std::slice::from_ref(one)).is_ok() {
                        kernel.others.push(one.0);
                    }
                }
                Ok(kernel)
            }
            Err(errno) => Err(match errno {
                Errno::EPERM => "nf_tables needs CAP_NET_ADMIN".to_owned(),
                Errno::EOPNOTSUPP | Errno::EINVAL | Errno::ENOENT | Errno::EPROTONOSUPPORT => format!(
                    "nf_tables with netdev ingress chains is missing: {errno}; kernel options NF_TABLES, \
                     NF_TABLES_NETDEV and NETFILTER_INGRESS, module nf_tables"
                ),
                errno => format!("nf_tables: {errno}"),
            }),
        }
    }

    /// Makes tables with these chains and takes them away again, in one transaction.
    fn probe(&mut self, chains: &[Chain<'_>]) -> Result<(), Errno> {
        let name = format!("{TABLE}_probe_{}", std::process::id());
        let mut places: Vec<Place> = chains.iter().map(|(place, _)| *place).collect();
        places.dedup();
        let mut batch = Batch::new(&name);
        for &place in &places {
            batch.table(place);
            batch.sets(place);
        }
        for (_, chain) in chains {
            chain(&mut batch);
        }
        for &place in &places {
            batch.delete_table(place);
        }
        self.connection.batch(batch.finish()).map_err(|error| error.errno)
    }

    /// Puts the rules on these interfaces, which must be there, and guards exactly these addresses. What is live stays
    /// so; rules that are there are replaced in one transaction.
    pub fn install(&mut self, interfaces: &[&str], addresses: &[IpAddr]) -> Result<()> {
        let (egress, others) = (self.egress, self.others.clone());
        let build = || -> Builder {
            let mut batch = Batch::new(TABLE);
            batch.table(Place::Netdev);
            batch.sets(Place::Netdev);
            for interface in interfaces {
                batch.chain(interface, false);
                if egress {
                    batch.chain(interface, true);
                }
            }
            batch.guard(Place::Netdev, addresses);
            for &place in &others {
                batch.table(place);
                batch.sets(place);
                batch.host_chain(place);
                batch.guard(place, addresses);
            }
            batch.finish()
        };
        let what = || format!("cannot install the fence on {}", interfaces.join(", "));
        match self.connection.batch(build()) {
            Ok(()) => Ok(()),
            // A chain whose interface went and came again is in the way.
            Err(error) if matches!(error.errno, Errno::EEXIST | Errno::EOPNOTSUPP | Errno::EBUSY) => {
                for interface in interfaces {
                    self.remove_chains(interface);
                }
                self.connection.batch(build()).map_err(|e| PlatformError::kernel(what())(e.errno))
            }
            Err(error) => Err(PlatformError::kernel(what())(error.errno)),
        }
    }

    /// Removes the chains of an interface, if there are any.
    pub fn remove_chains(&mut self, interface: &str) {
        for egress in [false, true] {
            let mut batch = Batch::new(TABLE);
            batch.delete_chain(interface, egress);
            // ENOENT: there was none.
            let _ = self.connection.batch(batch.finish());
        }
    }

    /// Lets an address answer until `until`, and renews that. Fails if less than [`SHORTEST`] is left.
    pub fn open_until(&mut self, address: IpAddr, until: Now) -> Result<()> {
        for _ in 0..ATTEMPTS {
            let left = self.set(address, until)?;
            let ends = clock::now() + left;
            self.live.insert(address, ends);
            if ends <= until + TOLERANCE {
                return Ok(());
            }
        }
        self.close(address)?;
        Err(too_late(address))
    }

    /// Sets the element in `live`, by renewal if it is there; returns for how long.
    fn set(&mut self, address: IpAddr, until: Now) -> Result<Duration> {
        if self.live.get(&address).is_some_and(|&ends| ends > clock::now())
            && let Some(left) = self.carry_out(self.renewal(address, until)?)?
        {
            return Ok(left);
        }
        // It has just ended, or somebody flushed the rules, or it was never there.
        self.permit(address, until)?;
        self.carry_out(self.entry(address, until)?)?.ok_or_else(|| too_late(address))
    }

    /// Adds the element in `permit` on whose life an entry depends.
    pub fn permit(&mut self, address: IpAddr, until: Now) -> Result<()> {
        let mut batch = Batch::new(TABLE);
        batch.add(Place::Netdev, Set::Permit, address, left(address, until)?);
        self.connection.batch(batch.finish()).map_err(refused(address))
    }

    /// Lets an address answer on, if it answers when the kernel handles this.
    pub fn renewal(&self, address: IpAddr, until: Now) -> Result<Opening> {
        self.opening(Set::Live, address, until)
    }

    /// Lets an address answer, if the permit for it lives when the kernel handles this.
    pub fn entry(&self, address: IpAddr, until: Now) -> Result<Opening> {
        self.opening(Set::Permit, address, until)
    }

    /// An opening whose condition is the address's element in a set. Its deletion must be the first message: by that
    /// place [`Kernel::carry_out`] knows a condition that had expired.
    fn opening(&self, condition: Set, address: IpAddr, until: Now) -> Result<Opening> {
        let left = left(address, until)?;
        let mut batch = Batch::new(TABLE);
        batch.delete(Place::Netdev, condition, address);
        // A predecessor's element may live.
        batch.put(Place::Netdev, Set::Live, address, Some(left));
        for &place in &self.others {
            batch.put(place, Set::Live, address, Some(left));
        }
        Ok(Opening { address, left, batch: batch.finish() })
    }

    /// Lets the kernel carry out an opening; returns for how long, or `None` if its condition had expired.
    pub fn carry_out(&mut self, opening: Opening) -> Result<Option<Duration>> {
        match self.connection.batch(opening.batch) {
            Ok(()) => Ok(Some(opening.left)),
            Err(BatchError { message: 1, errno: Errno::ENOENT }) => Ok(None),
            Err(error) => Err(refused(opening.address)(error)),
        }
    }

    /// Ends what an address was permitted, at once; nothing happens if it was not.
    pub fn close(&mut self, address: IpAddr) -> Result<()> {
        let mut batch = Batch::new(TABLE);
        batch.put(Place::Netdev, Set::Live, address, None);
        for &place in &self.others {
            batch.put(place, Set::Live, address, None);
        }
        match self.connection.batch(batch.finish()) {
            // ENOENT: there are no rules at all.
            Ok(()) | Err(BatchError { errno: Errno::ENOENT, .. }) => {
                self.live.remove(&address);
                Ok(())
            }
            Err(error) => {
                Err(PlatformError::kernel(format!("cannot close the fence for {address}"))(error.errno))
            }
        }
    }

    /// Removes the tables with everything in them, for who removes the product from a host. Whether there were any.
    pub fn uninstall(&mut self) -> Result<bool> {
        let mut any = false;
        for place in [Place::Netdev, Place::Arp, Place::Inet] {
            let mut batch = Batch::new(TABLE);
            batch.delete_table(place);
            match self.connection.batch(batch.finish()) {
                Ok(()) => any = true,
                Err(error) if error.errno == Errno::ENOENT => {}
                // No table of ours can be in a family that the kernel does not have.
                Err(_) if place != Place::Netdev && !self.others.contains(&place) => {}
                Err(error) => {
                    return Err(PlatformError::kernel(format!("cannot remove the tables {TABLE}"))(
                        error.errno,
                    ));
                }
            }
        }
        Ok(any)
    }
}

/// A transaction that lets an address answer, as it was decided upon; what time has made of it since, the kernel sees.
#[derive(Debug)]
pub struct Opening {
    address: IpAddr,
    left: Duration,
    batch: Builder,
}

/// What is left of a proof, if that is enough to open for.
fn left(address: IpAddr, until: Now) -> Result<Duration> {
    let left = until.saturating_sub(clock::now());
    if left < SHORTEST { Err(too_late(address)) } else { Ok(left) }
}

fn refused(address: IpAddr) -> impl FnOnce(BatchError) -> PlatformError {
    move |error| PlatformError::kernel(format!("cannot let {address} through the fence"))(error.errno)
}

fn too_late(address: IpAddr) -> PlatformError {
    PlatformError::Refused(format!("the proof for {address} was over before the kernel could be told"))
}
