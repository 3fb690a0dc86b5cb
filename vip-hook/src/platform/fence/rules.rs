//! The few messages of nf_tables that the fence needs, and its rules.
//!
//! Numbers are those of linux/netfilter/nf_tables.h and nfnetlink.h. Everything between the opening and the end of a
//! batch is one transaction. Numbers in attributes are in network order.

use std::net::IpAddr;
use std::time::Duration;

use super::super::netlink::message::{Attributes, Builder, NLM_F_ACK, NLM_F_APPEND, NLM_F_CREATE};

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM_NFTABLES: u16 = 10;
const NFPROTO_INET: u8 = 1;
const NFPROTO_ARP: u8 = 3;
const NFPROTO_NETDEV: u8 = 5;

const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const DELCHAIN: u16 = 5;
const NEWRULE: u16 = 6;
const DELRULE: u16 = 8;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const DELSETELEM: u16 = 14;

const LIST_ELEM: u16 = 1;
const DATA_VALUE: u16 = 1;
const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
const REGISTER: u32 = 1;

/// Ingress of netdev, input of ARP, prerouting of inet.
const HOOK_FIRST: u32 = 0;
const HOOK_EGRESS: u32 = 1;
/// Before every other chain that is likely there: the fence is the first word.
const PRIORITY: i32 = -500;
const SET_TIMEOUT: u32 = 0x10;

/// The tables of the fence: one name, three families, each with sets of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// At the interfaces of the addresses.
    Netdev,
    /// Where the host takes ARP, from whichever interface.
    Arp,
    /// Where the host takes packets, from whichever interface, itself included.
    Inet,
}

impl Place {
    fn family(self) -> u8 {
        match self {
            Place::Netdev => NFPROTO_NETDEV,
            Place::Arp => NFPROTO_ARP,
            Place::Inet => NFPROTO_INET,
        }
    }
}

/// The sets, each once for IPv4 and once for IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Set {
    /// The addresses that the fence is about.
    Guarded,
    /// Those that may answer now.
    Live,
    /// Those for which a proof waits to be used; opens nothing.
    Permit,
}

const SETS: [Set; 3] = [Set::Guarded, Set::Live, Set::Permit];

/// Which kind of address a set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    V4,
    V6,
}

impl Kind {
    fn of(address: IpAddr) -> Kind {
        if address.is_ipv4() { Kind::V4 } else { Kind::V6 }
    }

    fn length(self) -> u32 {
        match self {
            Kind::V4 => 4,
            Kind::V6 => 16,
        }
    }

    /// By which `nft list` knows how to print the elements.
    fn printed_as(self) -> u32 {
        match self {
            Kind::V4 => 7,
            Kind::V6 => 8,
        }
    }
}

impl Set {
    fn name(self, kind: Kind) -> &'static str {
        match (self, kind) {
            (Set::Guarded, Kind::V4) => "guarded4",
            (Set::Guarded, Kind::V6) => "guarded6",
            (Set::Live, Kind::V4) => "live4",
            (Set::Live, Kind::V6) => "live6",
            (Set::Permit, Kind::V4) => "permit4",
            (Set::Permit, Kind::V6) => "permit6",
        }
    }
}

/// A transaction under construction.
#[derive(Debug)]
pub(super) struct Batch<'a> {
    table: &'a str,
    builder: Builder,
}

impl<'a> Batch<'a> {
    pub(super) fn new(table: &'a str) -> Batch<'a> {
        let mut builder = Builder::new();
        builder.message(BATCH_BEGIN, 0, &nfgenmsg(0, SUBSYSTEM_NFTABLES), |_| ());
        Batch { table, builder }
    }

    /// Closes the transaction; its last message asks for an acknowledgement.
    pub(super) fn finish(mut self) -> Builder {
        self.builder.add_flags(self.builder.count() - 1, NLM_F_ACK);
        self.builder.message(BATCH_END, 0, &nfgenmsg(0, SUBSYSTEM_NFTABLES), |_| ());
        self.builder
    }

    /// The table, if it is not there.
    pub(super) fn table(&mut self, place: Place) {
        let table = self.table;
        self.push(place, NEWTABLE, NLM_F_CREATE, |a| {
            a.text(1, table);
            a.be32(2, 0);
        });
    }

    pub(super) fn delete_table(&mut self, place: Place) {
        let table = self.table;
        self.push(place, DELTABLE, 0, |a| a.text(1, table));
    }

    /// The sets, if they are not there.
    pub(super) fn sets(&mut self, place: Place) {
        let table = self.table;
        let all = SETS.iter().flat_map(|&set| [(set, Kind::V4), (set, Kind::V6)]);
        for (number, (set, kind)) in all.enumerate() {
            self.push(place, NEWSET, NLM_F_CREATE, |a| {
                a.text(1, table);
                a.text(2, set.name(kind));
                a.be32(3, if set == Set::Guarded { 0 } else { SET_TIMEOUT });
                a.be32(4, kind.printed_as());
                a.be32(5, kind.length());
                a.be32(10, number as u32 + 1);
            });
        }
    }

    /// A chain at an interface with its rules, in place of what was in it.
    pub(super) fn chain(&mut self, interface: &str, egress: bool) {
        let (hook, rules): (u32, &[Rule]) =
            if egress { (HOOK_EGRESS, &EGRESS) } else { (HOOK_FIRST, &INGRESS) };
        self.base_chain(Place::Netdev, &chain_name(interface, egress), hook, Some(interface), rules);
    }

    /// The chain of a place that knows no interfaces, likewise.
    pub(super) fn host_chain(&mut self, place: Place) {
        let rules: &[Rule] = if place == Place::Arp { &ARP_INPUT } else { &PREROUTING };
        self.base_chain(place, "host", HOOK_FIRST, None, rules);
    }

    fn base_chain(&mut self, place: Place, name: &str, hook: u32, interface: Option<&str>, rules: &[Rule]) {
        let table = self.table;
        self.push(place, NEWCHAIN, NLM_F_CREATE, |a| {
            a.text(1, table);
            a.text(3, name);
            a.nest(4, |a| {
                a.be32(1, hook);
                a.be32(2, PRIORITY as u32);
                if let Some(interface) = interface {
                    a.text(3, interface);
                }
            });
            a.be32(5, NF_ACCEPT);
            a.text(7, "filter");
        });
        self.push(place, DELRULE, 0, |a| {
            a.text(1, table);
            a.text(2, name);
        });
        for rule in rules {
            self.push(place, NEWRULE, NLM_F_CREATE | NLM_F_APPEND, |a| {
                a.text(1, table);
                a.text(2, name);
                a.nest(4, rule);
            });
        }
    }

    pub(super) fn delete_chain(&mut self, interface: &str, egress: bool) {
        let (table, name) = (self.table, chain_name(interface, egress));
        self.push(Place::Netdev, DELRULE, 0, |a| {
            a.text(1, table);
            a.text(2, &name);
        });
        self.push(Place::Netdev, DELCHAIN, 0, |a| {
            a.text(1, table);
            a.text(3, &name);
        });
    }

    /// Guards exactly these addresses.
    pub(super) fn guard(&mut self, place: Place, addresses: &[IpAddr]) {
        let table = self.table;
        for kind in [Kind::V4, Kind::V6] {
            self.push(place, DELSETELEM, 0, |a| {
                a.text(1, table);
                a.text(2, Set::Guarded.name(kind));
            });
        }
        for &address in addresses {
            self.element(place, NEWSETELEM, Set::Guarded, address, None);
        }
    }

    /// Adds an element that ends after `timeout`, rounded down to milliseconds. One that lives already stays, before
    /// Linux 6.12 with its old time.
    pub(super) fn add(&mut self, place: Place, set: Set, address: IpAddr, timeout: Duration) {
        self.element(place, NEWSETELEM, set, address, Some(timeout));
    }

    /// Deletes an element; the transaction fails with ENOENT if there is none that lives.
    pub(super) fn delete(&mut self, place: Place, set: Set, address: IpAddr) {
        self.element(place, DELSETELEM, set, address, None);
    }

    /// Sets an element, whether one lives or not; `None`: deletes it. After adding there is one to delete for sure.
    pub(super) fn put(&mut self, place: Place, set: Set, address: IpAddr, timeout: Option<Duration>) {
        self.add(place, set, address, timeout.unwrap_or(super::SHORTEST));
        self.delete(place, set, address);
        if let Some(timeout) = timeout {
            self.add(place, set, address, timeout);
        }
    }

    fn element(&mut self, place: Place, message: u16, set: Set, address: IpAddr, timeout: Option<Duration>) {
        let flags = if message == NEWSETELEM { NLM_F_CREATE } else { 0 };
        let table = self.table;
        self.push(place, message, flags, |a| {
            a.text(1, table);
            a.text(2, set.name(Kind::of(address)));
            a.nest(3, |a| {
                a.nest(LIST_ELEM, |a| {
                    a.nest(1, |a| match address {
                        IpAddr::V4(address) => a.bytes(DATA_VALUE, &address.octets()),
                        IpAddr::V6(address) => a.bytes(DATA_VALUE, &address.octets()),
                    });
                    if let Some(timeout) = timeout {
                        a.be64(4, timeout.as_millis() as u64);
                    }
                });
            });
        });
    }

    fn push(&mut self, place: Place, message: u16, flags: u16, body: impl FnOnce(&mut Attributes<'_>)) {
        self.builder.message(SUBSYSTEM_NFTABLES << 8 | message, flags, &nfgenmsg(place.family(), 0), body);
    }
}

/// The fixed part of every message of netfilter: family, version, resource.
fn nfgenmsg(family: u8, resource: u16) -> [u8; 4] {
    let [high, low] = resource.to_be_bytes();
    [family, 0, high, low]
}

fn chain_name(interface: &str, egress: bool) -> String {
    format!("{}_{interface}", if egress { "egress" } else { "ingress" })
}

const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
const ETHERTYPE_ARP: [u8; 2] = [0x08, 0x06];
const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
const META_PROTOCOL: u32 = 1;
const META_NFPROTO: u32 = 15;
const META_L4PROTO: u32 = 16;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const IPPROTO_ICMPV6: u8 = 58;
const NEIGHBOUR_SOLICITATION: u8 = 135;
const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
const ARP_REQUEST: [u8; 2] = [0, 1];

/// Where a payload expression counts from.
#[derive(Clone, Copy)]
enum Header {
    Network = 1,
    Transport = 2,
}

/// Adds a rule's expressions.
type Rule = fn(&mut Attributes<'_>);

/// What would make this host answer for an address, at its interface.
const INGRESS: [Rule; 4] = [
    |a| {
        ethertype(a, ETHERTYPE_ARP);
        who_has(a);
    },
    |a| {
        ethertype(a, ETHERTYPE_IPV4);
        payload(a, Header::Network, 16, 4);
        drop_unless_live(a, Kind::V4);
    },
    |a| {
        ethertype(a, ETHERTYPE_IPV6);
        payload(a, Header::Network, 24, 16);
        drop_unless_live(a, Kind::V6);
    },
    |a| neighbour_discovery(a, NEIGHBOUR_SOLICITATION),
];

/// The same, for ARP from any interface.
const ARP_INPUT: [Rule; 1] = [who_has];

/// The same, for packets from any interface that are for this host itself; what it forwards to the holder passes.
const PREROUTING: [Rule; 2] = [
    |a| {
        meta_is(a, META_NFPROTO, &[NFPROTO_IPV4]);
        destination_is_local(a);
        payload(a, Header::Network, 16, 4);
        drop_unless_live(a, Kind::V4);
    },
    |a| {
        meta_is(a, META_NFPROTO, &[NFPROTO_IPV6]);
        destination_is_local(a);
        payload(a, Header::Network, 24, 16);
        drop_unless_live(a, Kind::V6);
    },
];

/// What would tell others that this host has an address.
const EGRESS: [Rule; 2] = [
    |a| {
        ethertype(a, ETHERTYPE_ARP);
        payload(a, Header::Network, 14, 4);
        drop_unless_live(a, Kind::V4);
    },
    |a| neighbour_discovery(a, NEIGHBOUR_ADVERTISEMENT),
];

/// "Who has the address?" Other hosts' answers and announcements are replies, and pass.
fn who_has(a: &mut Attributes<'_>) {
    payload_is(a, Header::Network, 6, &ARP_REQUEST);
    payload(a, Header::Network, 24, 4);
    drop_unless_live(a, Kind::V4);
}

fn destination_is_local(a: &mut Attributes<'_>) {
    const RESULT_ADDRTYPE: u32 = 3;
    const FLAG_DADDR: u32 = 2;
    /// In the host's order.
    const RTN_LOCAL: u32 = 2;
    expression(a, "fib", |a| {
        a.be32(1, REGISTER);
        a.be32(2, RESULT_ADDRTYPE);
        a.be32(3, FLAG_DADDR);
    });
    is(a, &RTN_LOCAL.to_ne_bytes());
}

fn neighbour_discovery(a: &mut Attributes<'_>, kind: u8) {
    ethertype(a, ETHERTYPE_IPV6);
    meta_is(a, META_L4PROTO, &[IPPROTO_ICMPV6]);
    payload_is(a, Header::Transport, 0, &[kind]);
    // The target.
    payload(a, Header::Transport, 8, 16);
    drop_unless_live(a, Kind::V6);
}

fn drop_unless_live(a: &mut Attributes<'_>, kind: Kind) {
    lookup(a, Set::Guarded.name(kind), false);
    lookup(a, Set::Live.name(kind), true);
    expression(a, "immediate", |a| {
        a.be32(1, 0);
        a.nest(2, |a| a.nest(2, |a| a.be32(1, NF_DROP)));
    });
}

fn ethertype(a: &mut Attributes<'_>, ethertype: [u8; 2]) {
    meta_is(a, META_PROTOCOL, &ethertype);
}

fn meta_is(a: &mut Attributes<'_>, key: u32, value: &[u8]) {
    expression(a, "meta", |a| {
        a.be32(1, REGISTER);
        a.be32(2, key);
    });
    is(a, value);
}

fn payload_is(a: &mut Attributes<'_>, header: Header, offset: u32, value: &[u8]) {
    payload(a, header, offset, value.len() as u32);
    is(a, value);
}

fn payload(a: &mut Attributes<'_>, header: Header, offset: u32, length: u32) {
    expression(a, "payload", |a| {
        a.be32(1, REGISTER);
        a.be32(2, header as u32);
        a.be32(3, offset);
        a.be32(4, length);
    });
}

fn is(a: &mut Attributes<'_>, value: &[u8]) {
    const EQUAL: u32 = 0;
    expression(a, "cmp", |a| {
        a.be32(1, REGISTER);
        a.be32(2, EQUAL);
        a.nest(3, |a| a.bytes(DATA_VALUE, value));
    });
}

fn lookup(a: &mut Attributes<'_>, set: &str, inverted: bool) {
    expression(a, "lookup", |a| {
        a.text(1, set);
        a.be32(2, REGISTER);
        a.be32(5, u32::from(inverted));
    });
}

fn expression(a: &mut Attributes<'_>, name: &str, body: impl FnOnce(&mut Attributes<'_>)) {
    a.nest(LIST_ELEM, |a| {
        a.text(1, name);
        a.nest(2, body);
    });
}
