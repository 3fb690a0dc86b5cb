//! The values of a configuration file, each parsed where it stands, so that an error has its line and column.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use redoubt_wire::log::Level;
use serde::de::{self, Deserialize, Deserializer, Visitor};

use crate::core::types::{OnConflict, OnQuorumLoss, is_of_a_host};

/// A value that is written as one word.
pub(super) trait Scalar: Sized {
    /// What is allowed, to follow "expected".
    const ALLOWED: &'static str;

    /// The value, if the text is one.
    fn parse(text: &str) -> Option<Self>;
}

/// A [`Scalar`] as it stands in the file.
#[derive(Clone, Debug)]
pub(super) struct Word<T>(pub(super) T);

impl<'de, T: Scalar> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Words<T>(std::marker::PhantomData<T>);
        impl<T: Scalar> Visitor<'_> for Words<T> {
            type Value = Word<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(T::ALLOWED)
            }

            // The error is raised in here and not later, since here the parser knows where it is.
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Word<T>, E> {
                T::parse(text).map(Word).ok_or_else(|| E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        // As a string whatever it looks like: a password of digits keeps its leading zero.
        deserializer.deserialize_str(Words(std::marker::PhantomData))
    }
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// An address, or a name that is looked up at each attempt to connect.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Endpoint {
    /// The address, where it was given as one.
    pub fn ip(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl Scalar for Endpoint {
    const ALLOWED: &'static str = "host:port, e.g. 10.0.0.1:26379 or \"[fd00::1]:26379\"";

    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let port = port.parse().ok().filter(|port| *port != 0)?;
        let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let host = match bracketed {
            Some(host) => host.parse::<std::net::Ipv6Addr>().ok()?.to_string(),
            None => is_host_name(host).then(|| host.to_owned())?,
        };
        Some(Endpoint { host, port })
    }
}

fn is_host_name(text: &str) -> bool {
    (1..=253).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// An address with its prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Prefixed {
    pub(super) address: IpAddr,
    pub(super) prefix_len: u8,
}

impl Scalar for Prefixed {
    const ALLOWED: &'static str = "the unicast address of a host (not of a network, nor its broadcast address), with or without a prefix length, e.g. 10.0.0.100, 10.0.0.100/24 or fd00::100";

    fn parse(text: &str) -> Option<Self> {
        let (address, prefix_len) = match text.split_once('/') {
            Some((address, len)) => (address, Some(len.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        let prefix_len = prefix_len.unwrap_or(longest);
        let broadcast = matches!(address, IpAddr::V4(v4) if v4.is_broadcast());
        let mapped = matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some());
        let usable = !(address.is_unspecified() || address.is_multicast() || address.is_loopback());
        let valid = usable && !broadcast && !mapped && (1..=longest).contains(&prefix_len);
        (valid && is_of_a_host(address, prefix_len)).then_some(Prefixed { address, prefix_len })
    }
}

impl Scalar for IpAddr {
    const ALLOWED: &'static str = "an address, e.g. 10.0.0.1 or fd00::1";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|ip: &IpAddr| !ip.is_unspecified() && !ip.is_multicast())
    }
}

/// A TCP port.
#[derive(Clone, Copy, Debug)]
pub(super) struct Port(pub(super) u16);

impl Scalar for Port {
    const ALLOWED: &'static str = "a port from 1 to 65535";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok().filter(|port| *port != 0).map(Port)
    }
}

/// The name of a master, as Sentinel allows it.
#[derive(Clone, Debug)]
pub(super) struct MasterName(pub(super) String);

impl Scalar for MasterName {
    const ALLOWED: &'static str =
        "the name of a master in the Sentinels: letters, digits and .-_, at most 200 of them";

    fn parse(text: &str) -> Option<Self> {
        // Of the same letters as Sentinel allows, so that it can also name a file.
        let good = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        ((1..=200).contains(&text.len()) && text.bytes().all(good)).then(|| MasterName(text.into()))
    }
}

/// The name of an interface, as the kernel allows it.
#[derive(Clone, Debug)]
pub(super) struct Interface(pub(super) String);

impl Scalar for Interface {
    const ALLOWED: &'static str = "the name of an interface: 1 to 15 characters without '/', ':' and spaces";

    fn parse(text: &str) -> Option<Self> {
        let good = |c: char| !c.is_whitespace() && !c.is_control() && c != '/' && c != ':';
        let named = (1..=15).contains(&text.len()) && text.chars().all(good) && text != "." && text != "..";
        named.then(|| Interface(text.into()))
    }
}

/// Text of which only the length is limited: user names, passwords, groups.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

impl fmt::Debug for Text {
    // It may be a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Text(…)")
    }
}

impl Scalar for Text {
    const ALLOWED: &'static str = "text of 1 to 512 bytes";

    fn parse(text: &str) -> Option<Self> {
        (1..=512).contains(&text.len()).then(|| Text(text.into()))
    }
}

impl Scalar for PathBuf {
    const ALLOWED: &'static str = "an absolute path";

    fn parse(text: &str) -> Option<Self> {
        text.starts_with('/').then(|| text.into())
    }
}

/// `logfile`: a path, or nothing for standard output.
#[derive(Clone, Debug)]
pub(super) struct LogFile(pub(super) Option<PathBuf>);

impl Scalar for LogFile {
    const ALLOWED: &'static str = "an absolute path, or \"\" for standard output";

    fn parse(text: &str) -> Option<Self> {
        if text.is_empty() { Some(LogFile(None)) } else { PathBuf::parse(text).map(Some).map(LogFile) }
    }
}

impl Scalar for Level {
    const ALLOWED: &'static str = "debug, verbose, notice, warning or nothing";

    fn parse(text: &str) -> Option<Self> {
        Level::from_name(text.as_bytes())
    }
}

impl Scalar for OnQuorumLoss {
    const ALLOWED: &'static str = "release or hold";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "release" => Some(OnQuorumLoss::Release),
            "hold" => Some(OnQuorumLoss::Hold),
            _ => None,
        }
    }
}

impl Scalar for OnConflict {
    const ALLOWED: &'static str = "defend or release";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "defend" => Some(OnConflict::Defend),
            "release" => Some(OnConflict::Release),
            _ => None,
        }
    }
}

/// What `notify` does where no agent answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WithoutAgent {
    /// Nothing: Sentinel is asked to call again.
    Retry,
    /// Moves the addresses itself, without any proof and without a lease.
    Move,
}

impl Scalar for WithoutAgent {
    const ALLOWED: &'static str = "retry or move";

    fn parse(text: &str) -> Option<Self> {
        match text {
            "retry" => Some(WithoutAgent::Retry),
            "move" => Some(WithoutAgent::Move),
            _ => None,
        }
    }
}

/// `lease-ms`.
#[derive(Clone, Copy, Debug)]
pub(super) struct LeaseMs(pub(super) Duration);

impl Scalar for LeaseMs {
    const ALLOWED: &'static str = "milliseconds from 200 to 10000";

    fn parse(text: &str) -> Option<Self> {
        // Below, one lost packet ends a lease; above, a failover has long happened.
        text.parse().ok().filter(|ms| (200..=10_000).contains(ms)).map(Duration::from_millis).map(LeaseMs)
    }
}

/// `announce-interval`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval(pub(super) Duration);

impl Scalar for Interval {
    const ALLOWED: &'static str = "a time from 1s to 1h, with its unit (s, m or h), e.g. 60s";

    fn parse(text: &str) -> Option<Self> {
        let unit_at = text.find(|c: char| !c.is_ascii_digit())?;
        let number: u64 = text[..unit_at].parse().ok()?;
        let seconds = match &text[unit_at..] {
            "s" => number,
            "m" => number.checked_mul(60)?,
            "h" => number.checked_mul(3600)?,
            _ => return None,
        };
        (1..=3600).contains(&seconds).then(|| Interval(Duration::from_secs(seconds)))
    }
}
