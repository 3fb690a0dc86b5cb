//! The listening sockets: TCP on the addresses of `bind`, and a Unix socket if one is asked for.

use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener};

use super::Events;
use super::resolver::address_of;
use super::server::{Remote, Traffic, serve};
use super::settings::Settings;
use crate::core::ClientId;

/// The bound sockets.
pub(crate) struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Option<(UnixListener, String)>,
}

impl Listeners {
    /// Opens all listening sockets. An address with a leading `-` may be one this machine lacks.
    ///
    /// # Errors
    /// What cannot be bound, or that nothing is asked for.
    pub(crate) fn bind(settings: &Settings) -> Result<Listeners, String> {
        let mut listeners = Listeners { tcp: Vec::new(), unix: None };
        for wanted in settings.bind.iter().filter(|_| settings.port != 0) {
            let (host, optional) = match wanted.strip_prefix('-') {
                Some(host) => (host, true),
                None => (wanted.as_str(), false),
            };
            match bind_tcp(host, settings.port, settings.backlog) {
                Ok(listener) => listeners.tcp.push(listener),
                Err(error) if optional && missing_address(&error) => {}
                Err(error) => {
                    return Err(format!(
                        "Could not create server TCP listening socket {host}:{0}: bind: {error}\n\
                         Failed listening on port {0}: end what uses it (ss -ltnp), or set another with 'port' or 'bind'.",
                        settings.port
                    ));
                }
            }
        }
        if let Some(path) = &settings.unixsocket {
            let listener = bind_unix(path, settings.unixsocketperm).map_err(|error| {
                format!(
                    "Failed opening Unix socket {}: {error}. Its folder must exist and be writable.",
                    path.display()
                )
            })?;
            listeners.unix = Some((listener, path.display().to_string()));
        }
        if listeners.tcp.is_empty() && listeners.unix.is_none() {
            return Err(
                "Configured to not listen anywhere, exiting. Set 'port' and 'bind', or 'unixsocket'.".into(),
            );
        }
        Ok(listeners)
    }

    /// The listeners as INFO shows them.
    pub(crate) fn described(&self, settings: &Settings) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.tcp.is_empty() {
            let binds: String = settings.bind.iter().map(|host| format!("bind={host},")).collect();
            lines.push(format!("name=tcp,{binds}port={}", settings.port));
        }
        lines.extend(self.unix.as_ref().map(|(_, path)| format!("name=unix,bind={path}")));
        lines
    }

    /// Accepts clients for good, in tasks of their own.
    pub(crate) fn accept(self, events: &Events, keepalive_s: u64, traffic: &Arc<Traffic>) {
        let ids = Arc::new(AtomicU64::new(1));
        for listener in self.tcp {
            tokio::spawn(accept_tcp(listener, ids.clone(), keepalive_s, traffic.clone(), events.clone()));
        }
        if let Some((listener, path)) = self.unix {
            tokio::spawn(accept_unix(listener, path, ids, traffic.clone(), events.clone()));
        }
    }
}

/// An IPv6 socket takes IPv6 alone, so that both families can have the same port.
fn bind_tcp(host: &str, port: u16, backlog: i32) -> io::Result<TcpListener> {
    let ip = match host {
        "*" => IpAddr::from([0, 0, 0, 0]),
        "::*" => IpAddr::from([0u16; 8]),
        host => address_of(host)?,
    };
    let addr = SocketAddr::new(ip, port);
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    TcpListener::from_std(socket.into())
}

fn bind_unix(path: &Path, mode: u32) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    if mode != 0 {
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
    }
    Ok(listener)
}

fn missing_address(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}

async fn accept_tcp(
    listener: TcpListener,
    ids: Arc<AtomicU64>,
    keepalive_s: u64,
    traffic: Arc<Traffic>,
    events: Events,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                if let Err(error) = welcome(&ids, stream, peer, keepalive_s, &traffic, &events) {
                    redoubt_wire::log::verbose!("Error registering the client {peer}: {error}");
                }
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

fn welcome(
    ids: &AtomicU64,
    stream: TcpStream,
    peer: SocketAddr,
    keepalive_s: u64,
    traffic: &Arc<Traffic>,
    events: &Events,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    if keepalive_s > 0 {
        let third = Duration::from_secs((keepalive_s / 3).max(1));
        let probes = TcpKeepalive::new()
            .with_time(Duration::from_secs(keepalive_s))
            .with_interval(third)
            .with_retries(3);
        SockRef::from(&stream).set_tcp_keepalive(&probes)?;
    }
    let local = stream.local_addr()?;
    let remote = Remote {
        addr: canonical(peer).to_string(),
        laddr: canonical(local).to_string(),
        fd: stream.as_raw_fd(),
        is_unix: false,
        is_local: peer.ip().to_canonical().is_loopback(),
    };
    serve(next(ids), remote, stream, traffic, events);
    Ok(())
}

async fn accept_unix(
    listener: UnixListener,
    path: String,
    ids: Arc<AtomicU64>,
    traffic: Arc<Traffic>,
    events: Events,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let addr = format!("{path}:0");
                let fd = stream.as_raw_fd();
                let remote = Remote { addr: addr.clone(), laddr: addr, fd, is_unix: true, is_local: true };
                serve(next(&ids), remote, stream, &traffic, &events);
            }
            Err(error) => pause_after(&error).await,
        }
    }
}

/// Out of descriptors, most likely: others will be closed.
async fn pause_after(error: &io::Error) {
    redoubt_wire::log::warning!("Accepting client connection: {error}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

fn next(ids: &AtomicU64) -> ClientId {
    ClientId(ids.fetch_add(1, Ordering::Relaxed))
}

/// IPv4 addresses that came through an IPv6 socket, as IPv4.
fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
