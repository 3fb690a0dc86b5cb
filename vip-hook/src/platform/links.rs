//! The host's interfaces, as rtnetlink tells of them.

use nix::errno::Errno;

use super::frames::Mac;
use super::netlink::Connection;
use super::netlink::message::{Builder, Message, attributes, text, u32_of};

/// Event and answer: an interface is there, or changed.
pub const RTM_NEWLINK: u16 = 16;
/// Event: an interface went.
pub const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;

const IFF_UP: u32 = 0x1;
const IFF_LOWER_UP: u32 = 0x1_0000;
/// `struct ifinfomsg`.
const FIXED_BYTES: usize = 16;
const AF_UNSPEC: u8 = 0;

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// The number by which the kernel knows it; one that goes and comes again gets another.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// It is set up.
    pub up: bool,
    /// It is set up and has a carrier.
    pub carrier: bool,
    /// Its link-layer address, if it has one of Ethernet's length.
    pub mac: Option<Mac>,
    /// The interface that it belongs to, e.g. a bridge or a bond.
    pub master: Option<u32>,
    /// What it is to that, e.g. `bridge`.
    pub master_kind: Option<String>,
}

impl Link {
    /// Reads RTM_NEWLINK and RTM_DELLINK. `None`: cut off, or about an interface's role in a bridge only.
    pub fn parse(payload: &[u8]) -> Option<Link> {
        const IFLA_ADDRESS: u16 = 1;
        const IFLA_IFNAME: u16 = 3;
        const IFLA_MASTER: u16 = 10;
        const IFLA_LINKINFO: u16 = 18;
        const IFLA_INFO_SLAVE_KIND: u16 = 4;
        let fixed = payload.first_chunk::<FIXED_BYTES>()?;
        // A port that leaves a bridge is told of as a deletion, in the bridges' family.
        if fixed[0] != AF_UNSPEC {
            return None;
        }
        let flags = u32_of(&fixed[8..])?;
        let mut link = Link {
            index: u32_of(&fixed[4..])?,
            name: String::new(),
            up: flags & IFF_UP != 0,
            carrier: flags & (IFF_UP | IFF_LOWER_UP) == IFF_UP | IFF_LOWER_UP,
            mac: None,
            master: None,
            master_kind: None,
        };
        for (kind, value) in attributes(&payload[FIXED_BYTES..]) {
            match kind {
                IFLA_ADDRESS => link.mac = value.try_into().ok(),
                IFLA_IFNAME => link.name = text(value)?.to_owned(),
                IFLA_MASTER => link.master = u32_of(value),
                IFLA_LINKINFO => {
                    link.master_kind = attributes(value)
                        .find(|(kind, _)| *kind == IFLA_INFO_SLAVE_KIND)
                        .and_then(|(_, value)| text(value))
                        .map(str::to_owned);
                }
                _ => {}
            }
        }
        (!link.name.is_empty()).then_some(link)
    }
}

/// All interfaces.
pub fn list(connection: &mut Connection) -> Result<Vec<Link>, Errno> {
    super::retry_interrupted(|| {
        let mut links = Vec::new();
        let request = Builder::one(RTM_GETLINK, 0, &[0; FIXED_BYTES], |_| ());
        connection.dump(request, |message: &Message<'_>| {
            if message.kind == RTM_NEWLINK {
                links.extend(Link::parse(message.payload));
            }
        })?;
        Ok(links)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            Link::parse(&bytes);
            if let Some(family) = bytes.first_mut() { *family = AF_UNSPEC; }
            Link::parse(&bytes);
        }
    }
}
