//! REPLCONF: what a replica tells its master about itself, before and while it follows.
//!
//! The options belong to a connection from its first REPLCONF on, long before PSYNC makes a
//! replica of it. Source: the REPLCONF command of Redis 7.2, whose error texts these are.

use redoubt_wire::quoting;
use redoubt_wire::resp::number::parse_integer as integer;

/// What a replica can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// `capa eof`: takes a payload whose end is marked rather than announced.
    pub eof: bool,
    /// `capa psync2`: takes a new replication id with `+CONTINUE`.
    pub psync2: bool,
}

impl Capabilities {
    /// What both can do.
    pub fn and(self, other: Capabilities) -> Capabilities {
        Capabilities { eof: self.eof && other.eof, psync2: self.psync2 && other.psync2 }
    }

    /// Whether everything that `other` can do is here too.
    pub fn covers(self, other: Capabilities) -> bool {
        self.and(other) == other
    }
}

/// What a replica wants left out of its snapshot (`rdb-filter-only`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RdbFilter {
    /// No keys.
    pub without_data: bool,
    /// No functions.
    pub without_functions: bool,
}

impl RdbFilter {
    /// Whether anything is left out.
    pub fn is_filtered(self) -> bool {
        self.without_data || self.without_functions
    }
}

/// Everything a connection has said with REPLCONF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReplicaOptions {
    /// The port that the replica says it listens on; 0 if it has not said.
    pub listening_port: i64,
    /// The address that it wants to be known by, if not the one it connects from.
    pub ip_address: Option<String>,
    /// What it can do.
    pub capabilities: Capabilities,
    /// It wants a snapshot and no stream.
    pub rdb_only: bool,
    /// What it wants left out of the snapshot.
    pub filter: RdbFilter,
}

/// What is to be done after a REPLCONF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replconf {
    /// Reply `+OK`.
    Ok,
    /// Reply this error; `text` has its code and no leading `-`.
    Error(String),
    /// Reply nothing.
    Silent,
    /// Reply nothing; if the connection is a replica's, hand this to `Feed::handle_ack`.
    Ack {
        /// Stream offset applied by the replica.
        offset: i64,
        /// Stream offset that its AOF has on disk, if it said so.
        fsynced: Option<i64>,
    },
    /// Reply nothing, and if we follow a master acknowledge to it at once.
    GetAck,
}

/// The longest address taken from `ip-address`, in bytes (Redis: 255).
const ADDRESS_MAX: usize = 255;
const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

impl ReplicaOptions {
    /// Carries out `REPLCONF args…`. Options take effect one by one until the first bad one.
    pub fn replconf(&mut self, args: &[&[u8]]) -> Replconf {
        if !args.len().is_multiple_of(2) {
            return Replconf::Error("ERR syntax error".into());
        }
        for (i, pair) in args.chunks_exact(2).enumerate() {
            let (name, value) = (pair[0], pair[1]);
            let outcome = match name.to_ascii_lowercase().as_slice() {
                b"listening-port" => self.set_listening_port(value),
                b"ip-address" => self.set_ip_address(value),
                b"capa" => {
                    self.capabilities.eof |= value.eq_ignore_ascii_case(b"eof");
                    self.capabilities.psync2 |= value.eq_ignore_ascii_case(b"psync2");
                    Ok(())
                }
                b"ack" => return acknowledgement(&args[2 * i..]),
                b"getack" => return Replconf::GetAck,
                b"rdb-only" => self.set_rdb_only(value),
                b"rdb-filter-only" => self.set_filter(value),
                _ => Err(format!("ERR Unrecognized REPLCONF option: {}", String::from_utf8_lossy(name))),
            };
            if let Err(text) = outcome {
                return Replconf::Error(text);
            }
        }
        Replconf::Ok
    }

    fn set_listening_port(&mut self, value: &[u8]) -> Result<(), String> {
        self.listening_port = integer(value).ok_or(NOT_AN_INTEGER)?;
        Ok(())
    }

    fn set_ip_address(&mut self, value: &[u8]) -> Result<(), String> {
        if value.len() > ADDRESS_MAX {
            let length = value.len();
            return Err(format!(
                "ERR REPLCONF ip-address provided by replica instance is too long: {length} bytes"
            ));
        }
        self.ip_address = Some(String::from_utf8_lossy(value).into_owned());
        Ok(())
    }

    fn set_rdb_only(&mut self, value: &[u8]) -> Result<(), String> {
        self.rdb_only = match integer(value) {
            Some(0) => false,
            Some(1) => true,
            Some(_) => return Err("ERR value is out of range, value must between 0 and 1".into()),
            None => return Err(NOT_AN_INTEGER.into()),
        };
        Ok(())
    }

    fn set_filter(&mut self, value: &[u8]) -> Result<(), String> {
        let names = quoting::split(value).map_err(|_| "ERR Missing rdb-filter-only values")?;
        self.filter = RdbFilter { without_data: true, without_functions: true };
        for name in names {
            if !name.eq_ignore_ascii_case(b"functions") {
                let name = String::from_utf8_lossy(&name);
                return Err(format!("ERR Unsupported rdb-filter-only option: {name}"));
            }
            self.filter.without_functions = false;
        }
        Ok(())
    }
}

/// Reads `ack <offset> [fack <offset>]`; what cannot be read is passed over in silence, as there
/// is no reply to this option.
fn acknowledgement(args: &[&[u8]]) -> Replconf {
    let Some(offset) = integer(args[1]) else { return Replconf::Silent };
    let fsynced = match args.get(2..4) {
        Some([name, value]) if name.eq_ignore_ascii_case(b"fack") => integer(value),
        _ => None,
    };
    Replconf::Ack { offset, fsynced }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(options: &mut ReplicaOptions, line: &str) -> Replconf {
        options.replconf(&line.split(' ').map(str::as_bytes).collect::<Vec<_>>())
    }

    fn error(line: &str) -> String {
        match run(&mut ReplicaOptions::default(), line) {
            Replconf::Error(text) => text,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_replica_introduces_itself() {
        let mut options = ReplicaOptions::default();
        assert_eq!(run(&mut options, "listening-port 6380"), Replconf::Ok);
        assert_eq!(run(&mut options, "IP-address 10.0.0.7"), Replconf::Ok);
        assert_eq!(run(&mut options, "capa eof capa PSYNC2 capa tea"), Replconf::Ok);
        assert_eq!(run(&mut options, "rdb-only 1"), Replconf::Ok);
        assert_eq!(options.listening_port, 6380);
        assert_eq!(options.ip_address.as_deref(), Some("10.0.0.7"));
        assert_eq!(options.capabilities, Capabilities { eof: true, psync2: true });
        assert!(options.rdb_only && !options.filter.is_filtered());
    }

    #[test]
    fn errors_are_those_of_redis() {
        assert_eq!(error("capa"), "ERR syntax error");
        assert_eq!(error("listening-port x"), "ERR value is not an integer or out of range");
        assert_eq!(error("listening-port 0123"), "ERR value is not an integer or out of range");
        assert_eq!(error("rdb-only 2"), "ERR value is out of range, value must between 0 and 1");
        assert_eq!(error("Frob 1"), "ERR Unrecognized REPLCONF option: Frob");
        assert_eq!(error("rdb-filter-only keys"), "ERR Unsupported rdb-filter-only option: keys");
        let long = format!("ip-address {}", "1".repeat(256));
        assert!(error(&long).ends_with("is too long: 256 bytes"), "{}", error(&long));
    }

    #[test]
    fn filters_say_what_stays() {
        let mut options = ReplicaOptions::default();
        assert_eq!(run(&mut options, "rdb-filter-only functions"), Replconf::Ok);
        assert_eq!(options.filter, RdbFilter { without_data: true, without_functions: false });
        assert_eq!(options.replconf(&[b"rdb-filter-only", b""]), Replconf::Ok);
        assert_eq!(options.filter, RdbFilter { without_data: true, without_functions: true });
    }

    #[test]
    fn a_filter_with_an_open_quote_is_refused() {
        assert_eq!(error("rdb-filter-only \"functions"), "ERR Missing rdb-filter-only values");
    }

    #[test]
    fn acknowledgements_get_no_reply() {
        let run = |line| run(&mut ReplicaOptions::default(), line);
        assert_eq!(run("ACK 17"), Replconf::Ack { offset: 17, fsynced: None });
        assert_eq!(run("ack 17 FACK 9"), Replconf::Ack { offset: 17, fsynced: Some(9) });
        assert_eq!(run("ack x"), Replconf::Silent);
        assert_eq!(run("getack *"), Replconf::GetAck);
    }
}
