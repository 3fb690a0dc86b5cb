//! What goes into the state machine of a master's addresses and what comes out of it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Time since an arbitrary start, from a clock that neither jumps nor stands still while the process lives.
pub type Now = Duration;

/// The settings of one master's addresses, valid as they are (the configuration has been checked).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The name by which the Sentinels know the master.
    pub master: String,
    /// As which addresses the Sentinels may know the local node.
    pub host_addresses: Vec<IpAddr>,
    /// The port of the local node, as the Sentinels know it.
    pub port: u16,
    /// How many Sentinels are configured; they are named by their index.
    pub sentinels: usize,
    /// The virtual addresses; all move together. [`Holder`](super::Holder) names each by an index that stays the same
    /// while it lives: first their places here, and new ones for what a reload adds.
    pub addresses: Vec<VirtualAddress>,
    /// How long a proof permits holding, from the sending of its first request. The same on all hosts of a master:
    /// each waits for the others' leases by its own figure.
    pub lease: Duration,
    /// What to do without a majority of the Sentinels.
    pub on_quorum_loss: OnQuorumLoss,
    /// What to do when another host claims an address that is proven ours.
    pub on_conflict: OnConflict,
    /// The period of announcements after the first five.
    pub announce_interval: Duration,
}

/// One virtual address on one interface.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualAddress {
    /// The address.
    pub address: IpAddr,
    /// Its prefix length; 32 or 128 unless the user asks for another. It brings no route.
    pub prefix_len: u8,
    /// The interface's name.
    pub interface: String,
}

/// Whether a host may have the address in a network of this prefix length: it is neither the network's own address (in
/// IPv6, that of any of its routers: RFC 4291, 2.6.1) nor in IPv4 its broadcast address. A network of two addresses has
/// neither (RFC 3021, RFC 6164), and without a network there is nothing to tell.
pub fn is_of_a_host(address: IpAddr, prefix_len: u8) -> bool {
    match address {
        IpAddr::V4(v4) => {
            let hosts = u32::MAX.checked_shr(prefix_len.into()).unwrap_or(0);
            let host = u32::from(v4) & hosts;
            prefix_len > 30 || (host != 0 && host != hosts)
        }
        IpAddr::V6(v6) => {
            let hosts = u128::MAX.checked_shr(prefix_len.into()).unwrap_or(0);
            prefix_len > 126 || u128::from(v6) & hosts != 0
        }
    }
}

/// What a holder does that can no longer reach a majority of the Sentinels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnQuorumLoss {
    /// Lets go before the lease ends. The only choice under which no two hosts hold the address.
    Release,
    /// Goes on as long as the local node is a master and no majority names another host.
    Hold,
}

/// What to do when another host answers for an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnConflict {
    /// The proof decides: log, take, and defend with an announcement, at most once in ten seconds (RFC 5227, 2.4 (b)).
    Defend,
    /// Let go, and take again only when nobody answers any more.
    Release,
}

/// What happened outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The local node's answer to [`Output::AskNode`], or that there was none within the bound.
    Node {
        /// The round that asked.
        round: u64,
        /// What it said.
        role: NodeRole,
    },
    /// A Sentinel's answer to [`Output::AskSentinel`] or [`Output::LookAtSentinel`], or that there was none.
    Sentinel {
        /// The round that asked.
        round: u64,
        /// Which Sentinel.
        sentinel: usize,
        /// What it said.
        answer: Answer,
    },
    /// The connection to a Sentinel was made anew: what a classic one said before counts no more, nor does what it may
    /// still say to a question from before.
    SentinelReconnected {
        /// Which Sentinel.
        sentinel: usize,
    },
    /// Something that makes a new round due: an event of a Sentinel, a call by a script, a change of an interface.
    Hint(Hint),
    /// An address or its interface changed under us, as netlink tells.
    Address {
        /// Which address.
        index: usize,
        /// What is so now.
        state: AddressState,
    },
    /// Another host claimed an address (ARP or neighbour advertisement), also in answer to [`Output::Probe`].
    Claimed {
        /// Which address.
        index: usize,
        /// Its link-layer address.
        by: [u8; 6],
    },
    /// The user's wish: nothing is taken while maintenance is on; what is held is let go.
    Maintenance(bool),
    /// This host has no part in the addresses from now on: they are let go of, and nothing is taken again.
    Leave {
        /// Why, for the log.
        why: &'static str,
    },
    /// The user's wish, once: let go now, and do not take again before another host was master in between.
    Release,
    /// An action of the platform was carried out. Every [`Output::Platform`] is answered by exactly one of this and
    /// [`Input::Failed`].
    Done {
        /// Which address.
        index: usize,
        /// What was done.
        what: Action,
    },
    /// An action of the platform failed; the text says what and why.
    Failed {
        /// Which address.
        index: usize,
        /// What was tried.
        what: Action,
        /// Why it failed.
        error: String,
    },
}

/// What the local node says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeRole {
    /// `ROLE` answered master.
    Master,
    /// `ROLE` answered slave.
    Replica,
    /// The connection is refused: the process is gone.
    Gone,
    /// No answer within the bound, an error such as -LOADING, or no connection; the text says which.
    Unknown(String),
}

/// What one Sentinel says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A redoubt-sentinel vouches for this host.
    Vouched {
        /// Its configuration epoch of the master.
        epoch: u64,
        /// How long before the answer it last vouched for another address, or started.
        other: Duration,
    },
    /// A redoubt-sentinel does not; the reason is as it gave it.
    Refused {
        /// Its configuration epoch of the master.
        epoch: u64,
        /// Its words, e.g. `other-master 10.0.0.3 6379`.
        reason: String,
    },
    /// A classic Sentinel names this address.
    Names {
        /// The address and port from GET-MASTER-ADDR-BY-NAME.
        address: SocketAddr,
        /// The configuration epoch from SENTINEL MASTER.
        epoch: u64,
    },
    /// No answer in time, no connection, or an error; the text says which.
    Nothing(String),
}

/// Why a round is due now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// `+odown` of our master: a takeover may follow, so the probe starts.
    Odown,
    /// `+try-failover` of our master, likewise.
    TryFailover,
    /// `+switch-master` of our master.
    SwitchMaster,
    /// The client-reconfig script was called; `to_us`: with one of our addresses as the new master.
    Notified {
        /// Whether the call named this host.
        to_us: bool,
    },
    /// Anything else, e.g. a link that came up.
    Other,
}

/// What is so of one virtual address on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressState {
    /// The interface is there and its carrier is up.
    pub link_up: bool,
    /// The address is on the interface.
    pub present: bool,
    /// It carries the mark of this program, so it was added by this agent or a predecessor.
    pub ours: bool,
}

/// What the driver and the platform shall do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Send `ROLE` to the local node; answer with [`Input::Node`] within [`QUESTION_LIMIT`].
    AskNode {
        /// Comes back with the answer.
        round: u64,
    },
    /// Ask a Sentinel, with `VOUCH` or as a classic one; answer with [`Input::Sentinel`] within [`QUESTION_LIMIT`].
    AskSentinel {
        /// Comes back with the answer.
        round: u64,
        /// Which Sentinel.
        sentinel: usize,
        /// Which of the host's addresses to ask about (a redoubt-sentinel is asked about one).
        address: IpAddr,
    },
    /// Ask a Sentinel whom it names, with questions of which it remembers nothing; answer as to
    /// [`Output::AskSentinel`], or not at all.
    LookAtSentinel {
        /// Comes back with the answer.
        round: u64,
        /// Which Sentinel.
        sentinel: usize,
    },
    /// Tell every redoubt-sentinel that this host holds the addresses no more (`SENTINEL VOUCH … RELEASE`), on the
    /// connection on which it was asked: only so can no later vouch be taken back by it.
    TellReleased {
        /// As which address it held them.
        address: IpAddr,
    },
    /// Do something on this host. The actions of one address are carried out in the order they came, and each is
    /// answered by [`Input::Done`] or [`Input::Failed`].
    Platform {
        /// Which address.
        index: usize,
        /// What.
        action: Action,
    },
    /// Write the highest configuration epoch to disk; a lower one than before if the deployment was rebuilt.
    Persist {
        /// The epoch.
        epoch: u64,
    },
    /// Say something, with the level of a log line.
    Log {
        /// How loud.
        level: Level,
        /// A whole sentence.
        text: String,
    },
}

/// What is done to an address on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Add the address if it is not there, and let it answer until `until`; also renews. After `until` the kernel
    /// itself must see to it that it answers no more. Carried out so late that `until` is over, it must fail.
    Hold {
        /// On the clock of [`Now`].
        until: Now,
    },
    /// Stop answering at once (end the kernel's lease first), then remove the address.
    Drop,
    /// Send one announcement: gratuitous ARP with both opcodes, or an unsolicited neighbour advertisement.
    Announce,
    /// Send one question whether anybody else answers for the address (ARP probe, neighbour solicitation from ::).
    Probe,
}

/// How loud a log line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// For those who look for a reason.
    Debug,
    /// What a running system says.
    Notice,
    /// Somebody should look.
    Warning,
}

/// How long an answer is waited for; what comes later counts for nothing. The state machine sees to it by itself.
pub const QUESTION_LIMIT: Duration = Duration::from_millis(100);

/// By how much the time since a Sentinel named another host must exceed the lease: what clocks, timers and the
/// kernel's granularity may differ by.
pub const MARGIN: Duration = Duration::from_millis(50);
