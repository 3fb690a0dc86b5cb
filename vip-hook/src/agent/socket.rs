//! The agent's Unix socket: from systemd, or made here.
//!
//! A file that nobody listens to any more is what an agent left that was killed, and is replaced; which of two agents
//! that start at once may do so, a lock in the state directory decides. Who may connect may ask for everything, so the
//! mode of the file is what protects it; who asked is logged.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt, chown};
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use listenfd::ListenFd;
use nix::fcntl::{Flock, FlockArg};
use nix::sys::socket::{AddressFamily, Backlog, SockFlag, SockType, UnixAddr, socket};
use nix::sys::stat::{Mode, fchmod};
use nix::unistd::Group;
use redoubt_wire::log;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

use super::{Call, Event, Events};
use crate::config::Config;
use crate::control::{self, LONGEST_REQUEST, Reply};

/// Connections at once; more have to wait.
const CONNECTIONS: usize = 64;
/// Connections that wait to be taken; the kernel makes more of them wait.
const BACKLOG: i32 = 128;
/// How long a connection may say nothing.
const IDLE_LIMIT: Duration = Duration::from_secs(10);
/// After how long without a free file descriptor it is tried again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The one agent of a state directory, for as long as this lives.
#[derive(Debug)]
pub(super) struct OnlyOne {
    _lock: Flock<File>,
}

impl OnlyOne {
    /// Makes this process the one agent.
    ///
    /// # Errors
    /// Another one runs, or the directory cannot be written.
    pub(super) fn claim(state_dir: &Path) -> Result<OnlyOne, String> {
        fs::create_dir_all(state_dir).map_err(|e| {
            format!("{}: {e}; it must be a directory that this user may write", state_dir.display())
        })?;
        let path = state_dir.join("agent.lock");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(&path)
            .map_err(|e| format!("{}: {e}", path.display()))?;
        match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(mut lock) => {
                lock.set_len(0)
                    .and_then(|()| lock.write_all(format!("{}\n", std::process::id()).as_bytes()))
                    .map_err(|e| format!("{}: {e}", path.display()))?;
                Ok(OnlyOne { _lock: lock })
            }
            Err((mut file, _)) => {
                let mut pid = String::new();
                let who = match file.read_to_string(&mut pid) {
                    Ok(_) if !pid.trim().is_empty() => format!("process {}", pid.trim()),
                    _ => "another process".into(),
                };
                Err(format!(
                    "another agent runs on {}: {who}; end it first (one agent serves all masters of a host, and two would remove \
                     each other's addresses)",
                    state_dir.display()
                ))
            }
        }
    }
}

/// The socket, bound.
#[derive(Debug)]
pub(super) struct Socket {
    listener: UnixListener,
    /// The file to remove at the end; systemd's stays.
    made: Option<PathBuf>,
}

impl Socket {
    /// Takes the socket from systemd, or makes it.
    ///
    /// # Errors
    /// What keeps it from being made.
    pub(super) fn open(config: &Config) -> Result<Socket, String> {
        let given =
            ListenFd::from_env().take_unix_listener(0).map_err(|e| format!("the socket of systemd: {e}"))?;
        let path = &config.socket;
        let (listener, made) = match given {
            Some(listener) => (listener, None),
            None => {
                let listener = bind(path, config.socket_group.as_deref())
                    .map_err(|e| format!("{}: {e}", path.display()))?;
                (listener, Some(path.clone()))
            }
        };
        let listener = listener.set_nonblocking(true).and_then(|()| UnixListener::from_std(listener));
        Ok(Socket { listener: listener.map_err(|e| format!("{}: {e}", path.display()))?, made })
    }

    /// Takes connections until the agent ends.
    pub(super) fn serve(self, events: Events) -> Served {
        let Socket { listener, made } = self;
        let task = tokio::spawn(async move {
            let places = Arc::new(Semaphore::new(CONNECTIONS));
            loop {
                // The semaphore is never closed.
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, _)) => {
                        let events = events.clone();
                        tokio::spawn(async move {
                            serve(stream, events).await;
                            drop(place);
                        });
                    }
                    Err(error) => {
                        log::warning!("A connection to the agent's socket could not be taken: {error}");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        });
        Served { task, made }
    }
}

/// A socket that is served until this is dropped.
#[derive(Debug)]
pub(super) struct Served {
    task: tokio::task::JoinHandle<()>,
    made: Option<PathBuf>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
        if let Some(path) = &self.made {
            // Somebody else may have removed it.
            let _ = fs::remove_file(path);
        }
    }
}

fn bind(path: &Path, group: Option<&str>) -> Result<StdListener, String> {
    let text = |e: io::Error| e.to_string();
    let gid = match group {
        Some(name) => {
            let group = Group::from_name(name).map_err(|e| format!("socket-group {name}: {e}"))?;
            Some(
                group
                    .ok_or_else(|| format!("socket-group: there is no group {name} on this host"))?
                    .gid
                    .as_raw(),
            )
        }
        None => None,
    };
    let is_missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let missing: Vec<&Path> = path.ancestors().skip(1).take_while(is_missing).collect();
    for folder in missing.into_iter().rev() {
        // Whatever the umask says: who may not enter it may not use the socket.
        fs::create_dir(folder)
            .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o755)))
            .map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    remove_stale(path)?;
    let listener = listen(path).map_err(text)?;
    let opened = chown(path, None, gid)
        .map_err(|e| format!("socket-group: {e}; the agent's user must be in that group"))
        .and_then(|()| fs::set_permissions(path, Permissions::from_mode(0o660)).map_err(text));
    if opened.is_err() {
        // It serves nobody.
        let _ = fs::remove_file(path);
    }
    opened.map(|()| listener)
}

/// A socket that nobody but its owner can connect to yet, not even for a moment.
fn listen(path: &Path) -> io::Result<StdListener> {
    let socket = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    // The file is made with the mode that the socket has.
    fchmod(&socket, Mode::S_IRUSR | Mode::S_IWUSR)?;
    nix::sys::socket::bind(socket.as_raw_fd(), &UnixAddr::new(path)?)?;
    nix::sys::socket::listen(&socket, Backlog::new(BACKLOG)?)?;
    Ok(StdListener::from(socket))
}

/// Removes the socket of an agent that is no more.
fn remove_stale(path: &Path) -> Result<(), String> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(e.to_string()),
    };
    if !found.file_type().is_socket() {
        return Err(
            "there is a file in the place of the socket; remove it, or set socket to another path".into()
        );
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Ok(_) => Err("another agent listens there; end it first".into()),
        Err(e) if e.kind() == ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(|e| e.to_string())
        }
        Err(e) => Err(format!("{e}; is it the socket of another user's agent?")),
    }
}

/// One connection: requests and replies, one after the other.
async fn serve(stream: UnixStream, events: Events) {
    let peer = match stream.peer_cred() {
        Ok(cred) => {
            let pid = cred.pid().map_or(String::new(), |pid| format!(", process {pid}"));
            format!("user {}{pid}", cred.uid())
        }
        Err(_) => "an unknown user".into(),
    };
    let (reader, mut writer) = stream.into_split();
    let mut reader = BufReader::new(reader);
    loop {
        let mut line = Vec::new();
        let mut limited = (&mut reader).take(LONGEST_REQUEST as u64);
        match timeout(IDLE_LIMIT, limited.read_until(b'\n', &mut line)).await {
            Ok(Ok(len)) if len > 0 => {}
            _ => return,
        }
        let whole = line.ends_with(b"\n") || line.len() < LONGEST_REQUEST;
        let reply = if whole { reply_to(&line, &peer, &events).await } else { None };
        let go_on = whole && line.ends_with(b"\n");
        let too_long = || Reply::Refused { text: format!("a request has at most {LONGEST_REQUEST} bytes") };
        let text = control::line(&reply.unwrap_or_else(too_long));
        let written = timeout(IDLE_LIMIT, writer.write_all(text.as_bytes())).await;
        if !go_on || !matches!(written, Ok(Ok(()))) {
            return;
        }
    }
}

async fn reply_to(line: &[u8], peer: &str, events: &Events) -> Option<Reply> {
    let request = match serde_json::from_slice(line) {
        Ok(request) => request,
        Err(e) => return Some(Reply::Refused { text: format!("not a request that this agent knows: {e}") }),
    };
    let (reply, answer) = oneshot::channel();
    let ending = || Reply::Retry { text: "the agent is ending".into() };
    if events.send(Event::Call(Call { request, peer: peer.into(), reply })).await.is_err() {
        return Some(ending());
    }
    Some(answer.await.unwrap_or_else(|_| ending()))
}
