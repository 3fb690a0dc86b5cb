//! Listeners: bind the configured addresses, accept, refuse politely, hand over.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, SockRef, Socket as RawSocket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::clock;
use super::connection::{Connection, Socket};
use super::shared::Shared;
use super::worker::Workers;
use crate::config::Config;

/// Why the node cannot listen, with what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The address is in use or not ours.
    #[error("Could not create server TCP listening socket {address}: {source}. {hint}")]
    Tcp {
        /// `host:port` as bound.
        address: String,
        /// What the system said.
        source: io::Error,
        /// What to do.
        hint: &'static str,
    },
    /// None of the addresses could be bound.
    #[error("Configured to not listen anywhere, exiting. Set port, or unixsocket.")]
    Nowhere,
    /// The socket's file cannot be made.
    #[error("Failed opening Unix socket {path}: {source}. Check that its folder exists and is writable.")]
    Unix {
        /// Where.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The bound sockets.
#[derive(Debug, Default)]
pub struct Listeners {
    tcp: Vec<TcpListener>,
    unix: Option<UnixListener>,
}

impl Listeners {
    /// Binds what `config` names. A `bind` address that starts with `-` may be missing, and is served from when it comes:
    /// a virtual address that moves here, without listening on every other address as well.
    pub fn bind(config: &Config) -> Result<Listeners, ListenError> {
        let mut listeners = Listeners::default();
        if config.port != 0 {
            for name in &config.bind {
                let (name, optional) = match name.strip_prefix('-') {
                    Some(rest) => (rest, true),
                    None => (name.as_str(), false),
                };
                match bind_tcp(name, config.port, config.tcp_backlog, optional) {
                    Ok(listener) => listeners.tcp.push(listener),
                    Err(source) if optional && is_missing_address(&source) => {}
                    Err(source) => {
                        return Err(ListenError::Tcp {
                            address: format!("{name}:{}", config.port),
                            hint: hint(&source),
                            source,
                        });
                    }
                }
            }
        }
        if let Some(path) = &config.unixsocket {
            let _ = std::fs::remove_file(path);
            let bind = || -> io::Result<UnixListener> {
                let listener = UnixListener::bind(path)?;
                if config.unixsocketperm != 0 {
                    use std::os::unix::fs::PermissionsExt;
                    std::fs::set_permissions(path, std::fs::Permissions::from_mode(config.unixsocketperm))?;
                }
                Ok(listener)
            };
            listeners.unix = Some(bind().map_err(|source| ListenError::Unix { path: path.clone(), source })?);
        }
        if listeners.tcp.is_empty() && listeners.unix.is_none() {
            return Err(ListenError::Nowhere);
        }
        Ok(listeners)
    }

    /// The TCP port in force.
    pub fn port(&self) -> u16 {
        self.tcp.first().and_then(|l| l.local_addr().ok()).map_or(0, |a| a.port())
    }

    /// The listeners as INFO shows them.
    pub fn described(&self, config: &Config) -> Vec<String> {
        let mut lines = Vec::new();
        if !self.tcp.is_empty() {
            let binds: String = config.bind.iter().map(|b| format!("bind={b},")).collect();
            lines.push(format!("name=tcp,{binds}port={}", self.port()));
        }
        if let (Some(_), Some(path)) = (&self.unix, &config.unixsocket) {
            lines.push(format!("name=unix,bind={}", path.display()));
        }
        lines
    }

    /// Accepts for ever.
    pub async fn accept(self, shared: Arc<Shared>, workers: Arc<Workers>) {
        let mut tasks = tokio::task::JoinSet::new();
        for listener in self.tcp {
            tasks.spawn(accept_tcp(listener, shared.clone(), workers.clone()));
        }
        if let Some(listener) = self.unix {
            tasks.spawn(accept_unix(listener, shared, workers));
        }
        tasks.join_all().await;
    }
}

fn bind_tcp(name: &str, port: u16, backlog: u32, may_be_missing: bool) -> io::Result<TcpListener> {
    let address = match name {
        "*" => SocketAddr::from(([0, 0, 0, 0], port)),
        "::*" => SocketAddr::from(([0u16; 8], port)),
        _ => (name, port)
            .to_socket_addrs()?
            .next()
            .ok_or_else(|| io::Error::new(io::ErrorKind::AddrNotAvailable, "the name has no address"))?,
    };
    let socket = RawSocket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    if may_be_missing {
        // A system that does not know this has the address now or leaves it out.
        let _ = if address.is_ipv6() { socket.set_freebind_v6(true) } else { socket.set_freebind_v4(true) };
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(i32::try_from(backlog).unwrap_or(i32::MAX))?;
    TcpListener::from_std(socket.into())
}

fn is_missing_address(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT)
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => "Another process listens there: stop it or set another port.",
        io::ErrorKind::PermissionDenied => "Ports below 1024 need a privilege: set another port.",
        io::ErrorKind::AddrNotAvailable => {
            "No interface has this address: mend bind, or write it with a leading '-', \
             with which it is served whenever it is there."
        }
        _ => "Mend bind or port.",
    }
}

async fn accept_tcp(listener: TcpListener, shared: Arc<Shared>, workers: Arc<Workers>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let laddr = stream.local_addr().map_or(String::new(), |a| a.to_string());
                tune(&stream, &shared);
                let fd = stream.as_raw_fd();
                let local = is_loopback(peer.ip());
                let Ok(stream) = stream.into_std() else { continue };
                admit(&shared, &workers, peer.to_string(), laddr, fd, local, move || {
                    TcpStream::from_std(stream)
                });
            }
            Err(error) => accept_failed(&error).await,
        }
    }
}

async fn accept_unix(listener: UnixListener, shared: Arc<Shared>, workers: Arc<Workers>) {
    let path = listener
        .local_addr()
        .ok()
        .and_then(|a| a.as_pathname().map(|p| p.display().to_string()))
        .unwrap_or_default();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let fd = stream.as_raw_fd();
                let Ok(stream) = stream.into_std() else { continue };
                let address = format!("{path}:0");
                admit(&shared, &workers, address.clone(), address, fd, true, move || {
                    UnixStream::from_std(stream)
                });
            }
            Err(error) => accept_failed(&error).await,
        }
    }
}

/// Too many open files and the like pass; trying again at once would spin.
async fn accept_failed(error: &io::Error) {
    redoubt_wire::warning!("Accepting client connection: {error}");
    tokio::time::sleep(Duration::from_millis(100)).await;
}

/// Registers the client and starts its connection, or tells it why not.
fn admit<S: Socket>(
    shared: &Arc<Shared>,
    workers: &Workers,
    addr: String,
    laddr: String,
    fd: i32,
    local: bool,
    register: impl FnOnce() -> io::Result<S> + Send + 'static,
) {
    let mut core = shared.lock();
    if let Err(text) = may_connect(&mut core.engine, local) {
        core.engine.stats.connections_rejected += 1;
        drop(core);
        workers.spawn(async move {
            use tokio::io::AsyncWriteExt;
            if let Ok(mut socket) = register() {
                let _ = socket.write_all(text.as_bytes()).await;
            }
        });
        return;
    }
    let (id, outbox) = core.connect(&addr, &laddr, fd, clock::unix_ms());
    drop(core);
    let shared = shared.clone();
    workers.spawn(async move {
        match register() {
            Ok(socket) => Connection::new(shared, socket, id, outbox).serve().await,
            Err(_) => shared.lock().disconnect(id),
        }
    });
}

fn may_connect(engine: &mut crate::engine::Engine, local: bool) -> Result<(), &'static str> {
    if engine.clients.len() >= engine.config.maxclients as usize {
        return Err("-ERR max number of clients reached\r\n");
    }
    if engine.config.protected_mode && engine.acl.users().default_user().needs_no_password() && !local {
        return Err(PROTECTED);
    }
    Ok(())
}

const PROTECTED: &str = "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface. If you want to connect from external computers, you may adopt one of the following solutions: 1) Disable protected mode by sending the command 'CONFIG SET protected-mode no' from the loopback interface, and make sure that the server is not reachable from the internet. 2) Set 'protected-mode no' in the configuration file and restart. 3) Set up an authentication password with the 'requirepass' directive.\r\n";

fn is_loopback(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(v4) => v4.is_loopback(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.to_ipv4_mapped().is_some_and(|v4| v4.is_loopback()),
    }
}

/// No delay, and the keep-alive that the configuration asks for.
fn tune(stream: &TcpStream, shared: &Shared) {
    let secs = shared.lock().engine.config.tcp_keepalive_secs as u64;
    let _ = stream.set_nodelay(true);
    if secs > 0 {
        let third = Duration::from_secs((secs / 3).max(1));
        let keepalive =
            TcpKeepalive::new().with_time(Duration::from_secs(secs)).with_interval(third).with_retries(3);
        let _ = SockRef::from(stream).set_tcp_keepalive(&keepalive);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_address_that_may_be_missing_is_listened_on_before_it_is_there() {
        // TEST-NET-1 (RFC 5737) and the documentation's IPv6 network (RFC 3849) are on no host.
        let config = |bind: &[&str]| {
            let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let bind = bind.iter().map(|&name| name.to_owned()).collect();
            Config { port: free, bind, ..Config::default() }
        };
        let listeners = Listeners::bind(&config(&["127.0.0.1", "-192.0.2.1"])).unwrap();
        let bound: Vec<IpAddr> = listeners.tcp.iter().map(|l| l.local_addr().unwrap().ip()).collect();
        assert_eq!(bound, ["127.0.0.1".parse::<IpAddr>().unwrap(), "192.0.2.1".parse().unwrap()]);
        // Where there is no IPv6 at all, there is nothing to wait for.
        assert!(Listeners::bind(&config(&["127.0.0.1", "-2001:db8::1"])).is_ok());
        let error = Listeners::bind(&config(&["192.0.2.1"])).unwrap_err();
        assert!(error.to_string().contains("a leading '-'"), "{error}");
    }
}
