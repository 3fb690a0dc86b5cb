//! Connections to servers, none of which waits for ever.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, RedisResult};

use crate::error::{LabError, Result};

/// How long a test's own questions may take; generous, since machines that run tests are busy.
pub const PATIENT: Duration = Duration::from_secs(10);

/// Connects to `addr`; connecting and every later answer may take `limit` at most.
pub async fn connect(addr: SocketAddr, limit: Duration) -> RedisResult<MultiplexedConnection> {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(limit)).set_response_timeout(Some(limit));
    Client::open(format!("redis://{addr}/"))?.get_multiplexed_async_connection_with_config(&config).await
}

/// Builds a command from words.
pub fn cmd(words: &[&str]) -> Cmd {
    let mut command = Cmd::new();
    for word in words {
        command.arg(*word);
    }
    command
}

/// Sends one command over a connection of its own.
pub async fn ask<T: FromRedisValue>(addr: SocketAddr, limit: Duration, words: &[&str]) -> Result<T> {
    let answer = async { cmd(words).query_async(&mut connect(addr, limit).await?).await };
    answer.await.map_err(LabError::redis(format!("{} to {addr}", words.join(" "))))
}

/// Splits the text of INFO into its fields.
pub fn info_fields(text: &str) -> HashMap<String, String> {
    text.lines()
        .filter_map(|line| line.trim_end().split_once(':'))
        .map(|(field, value)| (field.to_string(), value.to_string()))
        .collect()
}

/// What a node says of its place in replication.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// It takes writes.
    Master {
        /// How many replicas are online.
        online_replicas: usize,
        /// Its replication offset in bytes.
        offset: u64,
    },
    /// It follows another.
    Replica {
        /// The port of its master.
        master_port: u16,
        /// Whether the link to its master is up, the initial transfer done.
        link_up: bool,
        /// How much of the stream it has applied, in bytes.
        offset: u64,
    },
}

impl Role {
    /// Reads the replication section of INFO.
    pub fn from_info(fields: &HashMap<String, String>) -> std::result::Result<Role, String> {
        let text = |name: &str| fields.get(name).ok_or(format!("INFO replication has no field {name}"));
        let number =
            |name: &str| text(name)?.parse::<u64>().map_err(|_| format!("{name} of INFO is no number"));
        match text("role")?.as_str() {
            "master" => Ok(Role::Master {
                online_replicas: fields
                    .iter()
                    .filter(|(name, value)| name.starts_with("slave") && value.contains("state=online"))
                    .count(),
                offset: number("master_repl_offset")?,
            }),
            "slave" => Ok(Role::Replica {
                master_port: number("master_port")? as u16,
                link_up: text("master_link_status")? == "up",
                // Absent until the first synchronisation.
                offset: number("slave_repl_offset").unwrap_or(0),
            }),
            other => Err(format!("INFO says role:{other}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_both_roles() {
        let master = "# Replication\r\nrole:master\r\nconnected_slaves:2\r\n\
                      slave0:ip=127.0.0.1,port=2,state=online,offset=9,lag=0\r\n\
                      slave1:ip=127.0.0.1,port=3,state=wait_bgsave,offset=0,lag=0\r\nmaster_repl_offset:9\r\n";
        let role = Role::from_info(&info_fields(master)).unwrap();
        assert_eq!(role, Role::Master { online_replicas: 1, offset: 9 });
        let replica = "role:slave\r\nmaster_port:7000\r\nmaster_link_status:down\r\nslave_repl_offset:4\r\n";
        let role = Role::from_info(&info_fields(replica)).unwrap();
        assert_eq!(role, Role::Replica { master_port: 7000, link_up: false, offset: 4 });
    }

    #[test]
    fn an_absent_field_is_named() {
        let error = Role::from_info(&info_fields("role:slave\r\n")).unwrap_err();
        assert!(error.contains("master_port"), "{error}");
    }
}
