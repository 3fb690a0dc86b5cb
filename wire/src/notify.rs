//! What systemd is told of a service of `Type=notify`: that it is ready, and that it ends.
//!
//! The protocol (sd_notify(3)) is one datagram of `NAME=value` lines to the socket that
//! `NOTIFY_SOCKET` names.

use std::env;
use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

const VARIABLE: &str = "NOTIFY_SOCKET";

/// Whether somebody waits to be told.
pub fn is_expected() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// Tells `state`, e.g. `READY=1`, to whoever waits for it. Nobody who does not listen is an error: the
/// service runs all the same.
pub fn service_manager(state: &str) {
    if let Some(socket) = env::var_os(VARIABLE) {
        let _ = send(&socket, state);
    }
}

fn send(socket: &OsStr, state: &str) -> std::io::Result<usize> {
    let to = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &to)
}

#[cfg(test)]
mod tests {
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
            send(&socket, "READY=1").unwrap();
            let mut buf = [0; 32];
            let len = listener.recv(&mut buf).unwrap();
            assert_eq!(&buf[..len], b"READY=1");
        }
    }
}
