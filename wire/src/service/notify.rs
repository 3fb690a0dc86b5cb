//! The protocol of sd_notify(3): one datagram of `NAME=value` lines to the socket that `NOTIFY_SOCKET` names, which is
//! a path or, with `@` before it, an abstract name.
//!
//! The crate `sd-notify` knows no abstract names, and waits for as long as systemd does not read; a main
//! loop may not.

use std::ffi::OsStr;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::socket::{MsgFlags, UnixAddr, sendto};

/// The variable that names the socket.
pub(super) const SOCKET: &str = "NOTIFY_SOCKET";
/// How long a message waits that may not get lost.
const PATIENCE: Duration = Duration::from_secs(1);

/// Whether a message waits while systemd does not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// Another one like it comes soon.
    None,
    /// Up to a second: it comes once.
    Some,
}

/// systemd, as the process that it started reaches it.
#[derive(Debug)]
pub(super) struct Manager {
    socket: UnixDatagram,
    addr: UnixAddr,
}

impl Manager {
    /// The manager that listens at `socket`.
    pub(super) fn at(socket: &OsStr) -> io::Result<Manager> {
        let addr = match socket.as_bytes() {
            [b'@', name @ ..] => UnixAddr::new_abstract(name)?,
            path => UnixAddr::new(path)?,
        };
        let socket = UnixDatagram::unbound()?;
        socket.set_write_timeout(Some(PATIENCE))?;
        Ok(Manager { socket, addr })
    }

    pub(super) fn tell(&self, message: &str, patience: Patience) -> io::Result<()> {
        let wait = match patience {
            Patience::None => MsgFlags::MSG_DONTWAIT,
            Patience::Some => MsgFlags::empty(),
        };
        sendto(self.socket.as_raw_fd(), message.as_bytes(), &self.addr, wait)?;
        Ok(())
    }
}

/// After how long without a sign of life this process counts as hung, by the values of `WATCHDOG_USEC` and
/// `WATCHDOG_PID` (sd_watchdog_enabled(3)).
pub(super) fn watchdog(usec: Option<&str>, pid: Option<&str>) -> Option<Duration> {
    let ours = pid.is_none_or(|pid| pid.parse() == Ok(std::process::id()));
    let usec = usec?.parse().ok().filter(|usec| ours && *usec > 0)?;
    Some(Duration::from_micros(usec))
}

#[cfg(test)]
mod tests {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;

    use super::*;

    #[test]
    fn the_state_arrives_by_path_and_by_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("redoubt-notify-{}", std::process::id());
        let abstract_addr = SocketAddr::from_abstract_name(&name).unwrap();
        for (socket, listener) in [
            (path.clone().into_os_string(), UnixDatagram::bind(&path).unwrap()),
            (format!("@{name}").into(), UnixDatagram::bind_addr(&abstract_addr).unwrap()),
        ] {
            Manager::at(&socket).unwrap().tell("READY=1", Patience::Some).unwrap();
            let mut buf = [0; 32];
            let len = listener.recv(&mut buf).unwrap();
            assert_eq!(&buf[..len], b"READY=1");
        }
    }

    #[test]
    fn the_watchdog_is_for_the_process_it_names() {
        let (own, other) = (std::process::id().to_string(), "1".to_string());
        assert_eq!(watchdog(Some("1500000"), None), Some(Duration::from_millis(1500)));
        assert_eq!(watchdog(Some("1500000"), Some(&own)), Some(Duration::from_millis(1500)));
        assert_eq!(watchdog(Some("1500000"), Some(&other)), None);
        assert_eq!(watchdog(Some("0"), None), None);
        assert_eq!(watchdog(Some("-5"), None), None);
        assert_eq!(watchdog(None, Some(&own)), None);
    }
}
