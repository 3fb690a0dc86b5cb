//! Log lines for the system's logger: datagrams to `/dev/log`, as syslog(3) sends them
//! (RFC 3164: `<priority>date ident[pid]: message`).

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use chrono::Local;

use super::Level;

/// Which part of the system a message is of: `user`, or `local0` to `local7`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facility(u8);

impl Facility {
    /// `local0`, which Redis uses unless told otherwise.
    pub const LOCAL0: Facility = Facility(16);

    /// The facility of that name, in any case.
    pub fn from_name(name: &str) -> Option<Facility> {
        let name = name.to_ascii_lowercase();
        match name.strip_prefix("local") {
            Some(n) if matches!(n.as_bytes(), [b'0'..=b'7']) => Some(Facility(16 + n.as_bytes()[0] - b'0')),
            None if name == "user" => Some(Facility(1)),
            _ => None,
        }
    }
}

/// How to log to the system's logger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// What the messages are marked with.
    pub ident: String,
    /// Of which part of the system they are.
    pub facility: Facility,
}

/// The way to the logger. It may start after us or be restarted, so that each loss is tried again.
#[derive(Debug)]
pub(super) struct Syslog {
    config: Config,
    path: PathBuf,
    socket: Mutex<Option<UnixDatagram>>,
}

impl Syslog {
    pub(super) fn new(config: Config) -> Self {
        Syslog { config, path: "/dev/log".into(), socket: Mutex::default() }
    }

    /// Sends a message; without a logger it is lost.
    pub(super) fn send(&self, level: Level, message: &str) {
        let severity = match level {
            Level::Debug => 7,
            Level::Verbose => 6,
            Level::Notice => 5,
            Level::Warning | Level::Nothing => 4,
        };
        let date = Local::now().format("%b %e %H:%M:%S");
        let (ident, pid) = (&self.config.ident, std::process::id());
        let priority = self.config.facility.0 * 8 + severity;
        let datagram = format!("<{priority}>{date} {ident}[{pid}]: {message}");
        let mut socket = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        for _ in 0..2 {
            if socket.is_none() {
                *socket = self.connect().ok();
            }
            match socket.as_ref().map(|s| s.send(datagram.as_bytes())) {
                Some(Ok(_)) => return,
                // A logger that was restarted listens on a new socket.
                Some(Err(_)) => *socket = None,
                None => return,
            }
        }
    }

    fn connect(&self) -> std::io::Result<UnixDatagram> {
        let socket = UnixDatagram::unbound()?;
        // A logger that is stuck loses messages; it must not stop who logs.
        socket.set_nonblocking(true)?;
        socket.connect(&self.path)?;
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_reach_a_logger_that_was_restarted() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        let config = Config { ident: "sentinel".into(), facility: Facility::LOCAL0 };
        let syslog = Syslog { config, path: path.clone(), socket: Mutex::default() };
        syslog.send(Level::Notice, "nobody hears this");
        for round in 0..2 {
            let logger = UnixDatagram::bind(&path).unwrap();
            syslog.send(Level::Warning, "hello");
            let mut buf = [0; 128];
            let len = logger.recv(&mut buf).unwrap();
            let text = std::str::from_utf8(&buf[..len]).unwrap();
            let wanted = format!("sentinel[{}]: hello", std::process::id());
            assert!(text.starts_with("<132>") && text.ends_with(&wanted), "{round}: {text}");
            std::fs::remove_file(&path).unwrap();
        }
    }

    #[test]
    fn facilities_have_their_names() {
        assert_eq!(Facility::from_name("LOCAL0"), Some(Facility::LOCAL0));
        assert_eq!(Facility::from_name("local7"), Some(Facility(23)));
        assert_eq!(Facility::from_name("user"), Some(Facility(1)));
        for bad in ["local8", "local", "mail", ""] {
            assert_eq!(Facility::from_name(bad), None);
        }
    }
}
