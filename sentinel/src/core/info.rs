//! Reads what a Sentinel wants to know out of an INFO reply.

use super::model::Role;
use super::timers::Ms;

/// The fields of one INFO. `None` where a field was absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Info {
    /// `run_id`
    pub run_id: Option<String>,
    /// `role`
    pub role: Option<Role>,
    /// `slave<N>` lines: addresses of replicas.
    pub replicas: Vec<(String, u16)>,
    /// `master_link_down_since_seconds`, in milliseconds.
    pub link_down_ms: Ms,
    /// `master_host`
    pub master_host: Option<String>,
    /// `master_port`
    pub master_port: Option<u16>,
    /// `master_link_status:up`
    pub link_up: Option<bool>,
    /// `slave_priority`
    pub priority: Option<i64>,
    /// `slave_repl_offset`
    pub offset: Option<u64>,
    /// `replica_announced`
    pub announced: Option<bool>,
    /// `master_repl_offset`
    pub master_offset: Option<u64>,
    /// `master_rejoin_guard:waiting`, a redoubt-node's: it refuses writes until a majority confirms it.
    pub guarded: bool,
}

impl Info {
    /// Parses the text of INFO; lines that are not understood are skipped.
    pub fn parse(text: &str) -> Info {
        let mut info = Info::default();
        for line in text.split("\r\n") {
            if let Some((field, value)) = line.split_once(':') {
                info.field(field, value);
            }
        }
        info
    }

    fn field(&mut self, field: &str, value: &str) {
        match field {
            "run_id" => self.run_id = value.get(..40).map(str::to_string),
            "role" if value.starts_with("master") => self.role = Some(Role::Master),
            "role" if value.starts_with("slave") => self.role = Some(Role::Slave),
            "master_host" => self.master_host = Some(value.to_string()),
            "master_port" => self.master_port = value.parse().ok(),
            "master_link_status" => self.link_up = Some(value.eq_ignore_ascii_case("up")),
            "slave_priority" => self.priority = value.parse().ok(),
            "slave_repl_offset" => self.offset = value.parse().ok(),
            "master_repl_offset" => self.master_offset = value.parse().ok(),
            "master_rejoin_guard" => self.guarded = value == "waiting",
            "replica_announced" => self.announced = Some(value != "0"),
            "master_link_down_since_seconds" => {
                // -1 stands for "never was up" in some versions: nothing to count from.
                self.link_down_ms = value.parse::<i64>().map_or(0, |s| s.max(0) as Ms * 1000);
            }
            _ if field.strip_prefix("slave").is_some_and(|n| n.starts_with(|c: char| c.is_ascii_digit())) => {
                self.replicas.extend(replica_line(value));
            }
            _ => {}
        }
    }
}

/// `ip=10.0.0.1,port=6379,state=…`, or `10.0.0.1,6379,online` of old versions.
fn replica_line(value: &str) -> Option<(String, u16)> {
    let mut parts = value.split(',');
    if value.contains("ip=") {
        let find = |key: &str| value.split(',').find_map(|p| p.strip_prefix(key));
        Some((find("ip=")?.to_string(), find("port=")?.parse().ok()?))
    } else {
        Some((parts.next()?.to_string(), parts.next()?.parse().ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_master_names_its_replicas_in_both_forms() {
        let info = Info::parse(
            "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
             slave0:ip=127.0.0.1,port=6380,state=online,offset=14,lag=0\r\nslave1:10.0.0.1,6381,online\r\n\
             slave_bad:ip=1,port=2\r\nslave3:ip=1.1.1.1,port=abc\r\n",
        );
        assert_eq!(info.role, Some(Role::Master));
        assert_eq!(info.replicas, [("127.0.0.1".to_string(), 6380), ("10.0.0.1".to_string(), 6381)]);
    }

    #[test]
    fn a_replica_tells_its_standing() {
        let info = Info::parse(
            "run_id:0123456789012345678901234567890123456789\r\nrole:slave\r\nmaster_host:h\r\nmaster_port:6379\r\n\
             master_link_status:down\r\nmaster_link_down_since_seconds:3\r\nslave_priority:0\r\n\
             slave_repl_offset:77\r\nreplica_announced:0\r\n",
        );
        assert_eq!(info.run_id.unwrap().len(), 40);
        assert_eq!((info.role, info.link_up, info.link_down_ms), (Some(Role::Slave), Some(false), 3000));
        assert_eq!((info.priority, info.offset, info.announced), (Some(0), Some(77), Some(false)));
        assert_eq!((info.master_host.as_deref(), info.master_port), (Some("h"), Some(6379)));
    }
}
