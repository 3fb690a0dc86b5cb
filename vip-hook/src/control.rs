//! What the verbs of the command line and the agent say to each other: one JSON object a line, over a Unix socket.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::unistd::{Gid, Group, geteuid};
use serde::{Deserialize, Serialize};
use socket2::{Domain, SockAddr, Socket, Type};

/// The longest line that either side takes. A `status` of a thousand masters is shorter.
pub const LONGEST_LINE: usize = 8 << 20;
/// The longest request.
pub const LONGEST_REQUEST: usize = 64 << 10;
/// How long the agent waits for a script call's end before it asks to be called again.
pub const NOTIFY_LIMIT: Duration = Duration::from_secs(3);
/// How long a verb waits for the agent: to take its connection, and for the reply.
const REPLY_LIMIT: Duration = Duration::from_secs(5);

/// What is asked of the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Whether it is there.
    Ping,
    /// A failover took place, as Sentinel's client-reconfig-script hears of it.
    Notify(Notification),
    /// What it does and why.
    Status,
    /// Take nothing and hold nothing, or the end of that.
    Maintenance {
        /// Whether it begins.
        on: bool,
        /// Of which master; of all without it.
        master: Option<String>,
    },
    /// Let go, and do not take again before another host was master in between.
    Release {
        /// Of which master; of all without it.
        master: Option<String>,
    },
}

/// The arguments and the environment of a client-reconfig-script.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Notification {
    /// The master's name.
    pub master: String,
    /// `leader` or `observer`: what the calling Sentinel was in the failover.
    pub role: String,
    /// `start`, in all of Redis's Sentinels.
    pub state: String,
    /// The old master's address.
    pub from_ip: String,
    /// The old master's port.
    pub from_port: u16,
    /// The new master's address.
    pub to_ip: String,
    /// The new master's port.
    pub to_port: u16,
    /// SENTINEL_CONFIG_EPOCH: the new configuration's epoch.
    pub config_epoch: Option<u64>,
    /// SENTINEL_EVENT_ID.
    pub event_id: Option<String>,
    /// SENTINEL_REASON.
    pub reason: Option<String>,
}

/// What the agent replies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "reply", rename_all = "kebab-case")]
pub enum Reply {
    /// It is there.
    Pong {
        /// Its version.
        version: String,
        /// Its process.
        pid: u32,
    },
    /// It is done; the text says what came of it.
    Done {
        /// For a person.
        text: String,
    },
    /// It is not done yet, or could not be done: call again.
    Retry {
        /// For a person.
        text: String,
    },
    /// The request makes no sense, and will not when it comes again.
    Refused {
        /// For a person.
        text: String,
    },
    /// To [`Request::Status`].
    Status(Status),
}

/// The whole state of an agent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Status {
    /// Its version.
    pub version: String,
    /// Its process.
    pub pid: u32,
    /// Since when it runs.
    pub uptime_ms: u64,
    /// The file that its configuration came from.
    pub config: String,
    /// Why the file was not taken into use when it was read again; the configuration before it stays.
    pub config_error: Option<String>,
    /// What the kernel does for an agent that dies.
    pub fence: Fence,
    /// Each master.
    pub masters: Vec<Master>,
}

/// What ends an address's traffic when the agent is dead.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Fence {
    /// Whether the kernel does, at the end of the lease.
    pub in_kernel: bool,
    /// A whole sentence.
    pub text: String,
}

/// One master's addresses on this host.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Master {
    /// Its name.
    pub name: String,
    /// Whether this host holds the addresses.
    pub holds: bool,
    /// For how long the last proof permits it, without a new one; `None` where it holds without a proof.
    pub remaining_ms: Option<u64>,
    /// The highest configuration epoch seen.
    pub epoch: u64,
    /// Whether maintenance is on.
    pub maintenance: bool,
    /// Whether a release still counts.
    pub released: bool,
    /// Why it holds, or does not.
    pub why: String,
    /// What it does next.
    pub next: String,
    /// Where the node is.
    pub node: String,
    /// What it said last.
    pub node_role: Option<Said>,
    /// As which addresses the Sentinels may know this host.
    pub host_addresses: Vec<String>,
    /// The Sentinels.
    pub sentinels: Vec<Sentinel>,
    /// The virtual addresses.
    pub addresses: Vec<Address>,
}

/// Somebody's last word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Said {
    /// What it said.
    pub text: String,
    /// How long ago.
    pub age_ms: u64,
}

/// One Sentinel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Sentinel {
    /// Where it is.
    pub endpoint: String,
    /// Why there is no connection to it.
    pub down: Option<String>,
    /// Whether it does not know VOUCH; unknown until it was asked.
    pub classic: Option<bool>,
    /// Whether its last word counts for this host.
    pub counts: bool,
    /// Its last word.
    pub answer: Option<Said>,
}

/// One virtual address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Address {
    /// With its prefix length.
    pub address: String,
    /// Its interface.
    pub interface: String,
    /// Whether this host answers for it.
    pub on: bool,
    /// Whether the interface is there and has a carrier, if that is known.
    pub link_up: Option<bool>,
    /// Whether it is on the interface, if that is known.
    pub present: Option<bool>,
    /// What could not be done with it.
    pub error: Option<String>,
}

/// Why there is no reply.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens.
    #[error("no agent at {path}: {error}")]
    Absent {
        /// The socket.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The socket is not for this user; whether there is an agent, it cannot know.
    #[error(
        "user {user} may not use the agent's socket {path}: {error}; run this as root or as a member of {group} \
         (named by socket-group in vip-hook.yaml, or by SocketGroup= in redoubt-vip-agent.socket)"
    )]
    Forbidden {
        /// The socket.
        path: String,
        /// Who asks, by number.
        user: u32,
        /// The group that may use it.
        group: String,
        /// Why.
        error: std::io::Error,
    },
    /// Nothing came in time.
    #[error(
        "the agent at {path} does not answer within {} s: it hangs, or was stopped; its addresses end with their lease. \
         See: systemctl status redoubt-vip-agent",
        REPLY_LIMIT.as_secs()
    )]
    Hung {
        /// The socket.
        path: String,
    },
    /// The connection was made, but no reply came.
    #[error("the agent at {path} does not answer: {error}")]
    Silent {
        /// The socket.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// The reply is none.
    #[error(
        "the agent at {path} answers what this program does not understand: {error}; are they of the same version?"
    )]
    Unintelligible {
        /// The socket.
        path: String,
        /// Why.
        error: serde_json::Error,
    },
}

/// Asks the agent at `socket`.
///
/// # Errors
/// No agent, one that this user may not speak to, or no reply within five seconds.
pub fn call(socket: &Path, request: &Request) -> Result<Reply, CallError> {
    let path = || socket.display().to_string();
    let stream = connect(socket).map_err(|error| match error.kind() {
        ErrorKind::NotFound | ErrorKind::ConnectionRefused => CallError::Absent { path: path(), error },
        ErrorKind::PermissionDenied => {
            CallError::Forbidden { path: path(), user: geteuid().as_raw(), group: group_of(socket), error }
        }
        ErrorKind::WouldBlock => CallError::Hung { path: path() },
        _ => CallError::Silent { path: path(), error },
    })?;
    let silent = |error: io::Error| match error.kind() {
        ErrorKind::WouldBlock => CallError::Hung { path: path() },
        _ => CallError::Silent { path: path(), error },
    };
    (&stream).write_all(line(request).as_bytes()).map_err(silent)?;
    let mut reply = String::new();
    BufReader::new((&stream).take(LONGEST_LINE as u64)).read_line(&mut reply).map_err(silent)?;
    if reply.is_empty() {
        return Err(silent(ErrorKind::UnexpectedEof.into()));
    }
    serde_json::from_str(&reply).map_err(|error| CallError::Unintelligible { path: path(), error })
}

/// The group of a file, in words that also do where it cannot be found out.
fn group_of(path: &Path) -> String {
    let Ok(found) = std::fs::metadata(path) else { return "its group".into() };
    match Group::from_gid(Gid::from_raw(found.gid())) {
        Ok(Some(group)) => format!("its group, {}", group.name),
        _ => format!("its group, {}", found.gid()),
    }
}

/// Connects, and bounds this and all that follows: an agent that hangs takes no connections once its queue is full.
fn connect(path: &Path) -> io::Result<UnixStream> {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    socket.set_write_timeout(Some(REPLY_LIMIT))?;
    socket.set_read_timeout(Some(REPLY_LIMIT))?;
    socket.connect(&SockAddr::unix(path)?)?;
    Ok(socket.into())
}

/// A request or a reply as it goes over the socket.
pub(crate) fn line(message: &impl Serialize) -> String {
    // All that is sent is made of strings, numbers and lists, which JSON can hold.
    let mut line = serde_json::to_string(message).unwrap_or_default();
    line.push('\n');
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_their_form() {
        let notification = Notification {
            master: "m".into(),
            role: "leader".into(),
            state: "start".into(),
            from_ip: "10.0.0.1".into(),
            from_port: 6379,
            to_ip: "10.0.0.2".into(),
            to_port: 6379,
            config_epoch: Some(7),
            event_id: None,
            reason: None,
        };
        let table = [
            (Request::Ping, r#"{"request":"ping"}"#),
            (Request::Status, r#"{"request":"status"}"#),
            (
                Request::Maintenance { on: true, master: None },
                r#"{"request":"maintenance","on":true,"master":null}"#,
            ),
            (
                Request::Notify(notification),
                r#"{"request":"notify","master":"m","role":"leader","state":"start","from-ip":"10.0.0.1","from-port":6379,"to-ip":"10.0.0.2","to-port":6379,"config-epoch":7,"event-id":null,"reason":null}"#,
            ),
            (Request::Release { master: Some("m".into()) }, r#"{"request":"release","master":"m"}"#),
        ];
        for (request, text) in table {
            assert_eq!(line(&request), format!("{text}\n"));
            assert_eq!(serde_json::from_str::<Request>(text).unwrap(), request);
        }
        assert_eq!(
            serde_json::from_str::<Request>(r#"{"request":"maintenance","on":false}"#).unwrap(),
            Request::Maintenance { on: false, master: None }
        );
    }

    #[test]
    fn what_is_no_request_is_an_error() {
        for bad in [
            "",
            "{}",
            r#"{"request":"fly"}"#,
            r#"{"request":"maintenance"}"#,
            r#"{"request":"maintenance","on":true,"now":1}"#,
        ] {
            assert!(serde_json::from_str::<Request>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn without_an_agent_the_error_names_the_socket() {
        let error = call(Path::new("/nonexistent/agent.sock"), &Request::Ping).unwrap_err();
        assert!(matches!(error, CallError::Absent { .. }));
        assert!(
            error.to_string().starts_with("no agent at /nonexistent/agent.sock: No such file"),
            "{error}"
        );
    }
}
