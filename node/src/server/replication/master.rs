//! The task that drives replication by the clock, and holds the link to the master.
//!
//! It runs on the control thread, so that the link's liveness waits for no client. A turn holds
//! the engine's lock for a bounded number of commands: it first carries out what the machine
//! has decided meanwhile (so that a connection that was given up is not listened to), hands in
//! what has arrived, and only then lets the timers act. Bytes are read outside of the lock, and
//! not at all while the machine takes none.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use redoubt_wire::resp::reply::{Protocol, Reply};
use redoubt_wire::{log, warning};
use smallvec::SmallVec;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::super::clock;
use super::super::outbox::{Mail, Outbox};
use super::super::shared::{Core, Shared};
use super::feeding::Job;
use super::lineage_file::LineageFile;
use super::load::Loader;
use super::{snapshot, write_log};
use crate::engine::execute::Executed;
use crate::engine::session::ClientId;
use crate::replication::info::LinkState;
use crate::replication::replica::LinkOutput;
use crate::replication::role::MasterEvent;

/// A turn ends after this many commands of the stream, so that clients get theirs.
const COMMANDS_PER_TURN: usize = 256;
const READ_BYTES: usize = 64 * 1024;

/// Drives replication for ever; follows the configured master first of all.
pub async fn run(shared: Arc<Shared>) {
    {
        let mut core = shared.lock();
        core.engine.follow_from_start();
        let _ = shared.deliver(&mut core);
    }
    let mut driver = Driver::new(shared);
    loop {
        driver.step().await;
    }
}

type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// The connection to the master.
enum Connection {
    None,
    Connecting(Connecting),
    Up(TcpStream),
}

/// What the connection has to tell.
enum Event {
    Connected(io::Result<TcpStream>),
    Read,
    Lost(String),
    /// CLIENT KILL of the master's client.
    Killed,
}

struct Driver {
    shared: Arc<Shared>,
    connection: Connection,
    /// Read and not yet taken by the machine.
    input: Vec<u8>,
    /// To be written to the master.
    output: Vec<u8>,
    loader: Option<Loader>,
    /// The payload that arrives is a later state of our own history.
    same_history: bool,
    /// A loader whose payload will not be completed.
    abandoned: Option<Loader>,
    /// The client that the stream's commands run as, while the link is up.
    client: Option<(ClientId, Arc<Outbox>)>,
    /// What has happened since the last turn.
    event: Option<Event>,
    /// The machine takes bytes.
    wants_bytes: bool,
    /// There are more commands in the stream that arrived.
    more: bool,
    command: Command,
    /// A pause holds the command back; whether it ends its unit.
    held: Option<bool>,
    reply: Reply,
    lineage_file: LineageFile,
}

/// A copy of a command, since executing it changes what holds the original.
#[derive(Debug, Default)]
struct Command {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Command {
    fn copy(&mut self, args: &[&[u8]]) {
        self.bytes.clear();
        self.ends.clear();
        for arg in args {
            self.bytes.extend_from_slice(arg);
            self.ends.push(self.bytes.len());
        }
    }

    fn args(&self) -> SmallVec<[&[u8]; 8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end]).collect()
    }
}

impl Driver {
    fn new(shared: Arc<Shared>) -> Driver {
        Driver {
            shared,
            connection: Connection::None,
            input: Vec::new(),
            output: Vec::new(),
            loader: None,
            same_history: false,
            abandoned: None,
            client: None,
            event: None,
            wants_bytes: false,
            more: false,
            command: Command::default(),
            held: None,
            reply: Reply::new(Protocol::Resp2),
            lineage_file: LineageFile::default(),
        }
    }

    /// One turn, and the wait for the next.
    async fn step(&mut self) {
        let (deadline_ms, jobs) = self.turn();
        self.shared.flush_replicas();
        for job in jobs {
            self.start(job);
        }
        if let Some(loader) = self.abandoned.take() {
            loader.abandon().await;
            return;
        }
        if self.more {
            return tokio::task::yield_now().await;
        }
        let wait_ms = deadline_ms.map_or(u64::MAX, |at| at.saturating_sub(clock::monotonic_ms()));
        let shared = self.shared.clone();
        tokio::select! {
            biased;
            event = self.next_event() => self.event = Some(event),
            () = shared.replication.notified() => {}
            () = tokio::time::sleep(Duration::from_millis(wait_ms.min(3_600_000))) => {}
        }
    }

    fn start(&self, job: Job) {
        let shared = self.shared.clone();
        tokio::task::spawn_blocking(move || match job {
            Job::Snapshot(job) => job.run(&shared),
            Job::SendFile { replica, writer, file } => snapshot::send_file(&shared, replica, &writer, &file),
        });
    }

    /// What is done under the lock. Returns when the timers want to be looked at next.
    fn turn(&mut self) -> (Option<u64>, Vec<Job>) {
        let shared = self.shared.clone();
        let mut core = shared.lock();
        let now_ms = core.engine.monotonic_ms();
        core.engine.now_ms = clock::unix_ms();
        self.carry_out(&mut core);
        self.take_event(&mut core, now_ms);
        self.carry_out(&mut core);
        self.take_bytes(&mut core, now_ms);
        self.carry_out(&mut core);
        if !self.more && core.engine.replication.poll_timeout().is_some_and(|at| at <= now_ms) {
            core.engine.replication.handle_timeout(now_ms);
            self.carry_out(&mut core);
        }
        let _ = shared.deliver(&mut core);
        self.keep_client(&mut core);
        self.lineage_file.update(&core);
        log::set_role(if core.engine.is_master() { log::Role::Master } else { log::Role::Replica });
        let replication = &core.engine.replication;
        self.wants_bytes = replication.link().is_some_and(|link| link.wants_bytes());
        let due_ms = replication.poll_timeout().into_iter().chain(self.hold_ends_ms(&core, now_ms)).min();
        (due_ms, std::mem::take(&mut core.feeding.jobs))
    }

    /// When the pause that holds the stream back may let it go on.
    fn hold_ends_ms(&self, core: &Core, now_ms: u64) -> Option<u64> {
        self.held?;
        let unix_ms = core.engine.now_ms;
        let end_ms = core.engine.pauses.next_end_ms(unix_ms)?;
        Some(now_ms.saturating_add((end_ms - unix_ms) as u64))
    }

    /// Does what the link wants done.
    fn carry_out(&mut self, core: &mut Core) {
        while let Some(output) = core.engine.replication.poll_master_output(None) {
            match output {
                LinkOutput::Connect => {
                    if let Some(link) = core.engine.replication.link() {
                        let (host, port) = (link.config().host.clone(), link.config().port);
                        self.connection = Connection::Connecting(Box::pin(connect(host, port)));
                    }
                }
                LinkOutput::Send(bytes) => self.output.extend_from_slice(&bytes),
                LinkOutput::Close => self.close(core),
                LinkOutput::Log(line) => write_log(&line),
            }
        }
    }

    /// Nothing of the connection counts any more.
    fn close(&mut self, core: &mut Core) {
        self.connection = Connection::None;
        self.event = None;
        self.input.clear();
        self.output.clear();
        self.more = false;
        self.held = None;
        self.abandoned = self.loader.take().or(self.abandoned.take());
        self.drop_client(core);
    }

    fn drop_client(&mut self, core: &mut Core) {
        if let Some((client, _)) = self.client.take() {
            core.disconnect(client);
        }
    }

    fn take_event(&mut self, core: &mut Core, now_ms: u64) {
        let replication = &mut core.engine.replication;
        match self.event.take() {
            None | Some(Event::Read) => {}
            Some(Event::Connected(Ok(stream))) => {
                self.connection = Connection::Up(stream);
                replication.master_connected(now_ms);
            }
            Some(Event::Connected(Err(error))) => {
                self.connection = Connection::None;
                replication.master_connect_failed(now_ms, &reason(&error));
            }
            Some(Event::Lost(reason)) => {
                // What arrived before the end counts.
                self.take_bytes(core, now_ms);
                while self.more {
                    self.more = self.apply(core, now_ms);
                }
                self.close(core);
                core.engine.replication.master_closed(now_ms, &reason);
            }
            Some(Event::Killed) => {
                self.close(core);
                core.engine.replication.master_closed(now_ms, "Connection closed by CLIENT KILL");
            }
        }
    }

    /// Hands in what was read, and applies what it means.
    fn take_bytes(&mut self, core: &mut Core, now_ms: u64) {
        let bytes = std::mem::take(&mut self.input);
        let mut input = bytes.as_slice();
        while let Some(event) = core.engine.replication.handle_master_bytes(now_ms, &mut input) {
            match event {
                MasterEvent::Continued => self.keep_client(core),
                MasterEvent::StartLoad { same_history, .. } => {
                    let direct = core.engine.loads_diskless();
                    self.same_history = same_history;
                    if direct {
                        self.begin_loading(core, direct);
                    }
                    self.loader = Some(Loader::start(&self.shared, direct));
                }
                MasterEvent::Payload(part) => {
                    if let Some(loader) = &self.loader {
                        loader.push(part.into_owned());
                    }
                }
                MasterEvent::PayloadEnd => {
                    if let Some(loader) = self.loader.take() {
                        if !loader.direct {
                            self.begin_loading(core, false);
                        }
                        loader.end();
                    }
                }
                MasterEvent::Stream => {}
            }
        }
        core.engine.stats.net_repl_input_bytes += (bytes.len() - input.len()) as u64;
        let taken = bytes.len() - input.len();
        self.input = bytes;
        self.input.drain(..taken);
        self.more = self.apply(core, now_ms);
    }

    fn begin_loading(&mut self, core: &mut Core, direct: bool) {
        // What is saved of the old dataset must not take the place of the file of the new one.
        core.call_off_save();
        core.engine.begin_loading(direct, self.same_history);
    }

    /// The stream's commands run as a client of their own for as long as the link is up.
    fn keep_client(&mut self, core: &mut Core) {
        let up = core.engine.replication.link().is_some_and(|link| link.state() == LinkState::Connected);
        match (up, &self.connection) {
            (false, _) => self.drop_client(core),
            (true, Connection::Up(stream)) if self.client.is_none() => {
                let address =
                    |addr: io::Result<std::net::SocketAddr>| addr.map_or(String::new(), |a| a.to_string());
                let fd = std::os::fd::AsRawFd::as_raw_fd(stream);
                let (peer, local) = (address(stream.peer_addr()), address(stream.local_addr()));
                let (client, outbox) = core.connect(&peer, &local, fd, clock::unix_ms());
                let db = core.engine.replication.stream_db() as usize;
                if let Some(session) = core.engine.clients.get_mut(client) {
                    session.become_master();
                    session.db = if db < core.engine.config.databases as usize { db } else { 0 };
                }
                self.client = Some((client, outbox));
            }
            (true, _) => {}
        }
    }

    /// Executes commands of the stream. Returns whether there may be more.
    fn apply(&mut self, core: &mut Core, now_ms: u64) -> bool {
        self.keep_client(core);
        let Some((client, _)) = &self.client else { return false };
        let (client, unix_ms) = (*client, clock::unix_ms());
        for _ in 0..COMMANDS_PER_TURN {
            let ends_unit = match self.held.take() {
                Some(ends_unit) => ends_unit,
                None => {
                    let Some(command) = core.engine.replication.next_command(now_ms) else { return false };
                    self.command.copy(&command.args);
                    command.ends_unit
                }
            };
            let Some(mut batch) = core.engine.begin(client, unix_ms) else { return false };
            let executed = batch.execute(&self.command.args(), &mut self.reply);
            batch.session().blocked = executed == Executed::Paused;
            drop(batch);
            if executed == Executed::Paused {
                self.held = Some(ends_unit);
                return false;
            }
            self.check_reply();
            // Nobody waits for what would fill a hole.
            drop(core.engine.take_holes());
            if ends_unit {
                core.engine.replication.finish_unit(now_ms);
            }
        }
        true
    }

    /// Replies to the master are dropped; an error among them means that the two differ.
    fn check_reply(&mut self) {
        if self.reply.buf.first() == Some(&b'-') {
            let error = String::from_utf8_lossy(&self.reply.buf[1..]);
            let name = String::from_utf8_lossy(self.command.args().first().copied().unwrap_or_default())
                .into_owned();
            warning!(
                "== CRITICAL == This replica is sending an error to its master: '{}' after processing the command '{name}'",
                error.trim_end()
            );
        }
        self.reply.buf.clear();
    }

    /// Waits for the connection: to be made, for bytes from it, for room for bytes to it.
    async fn next_event(&mut self) -> Event {
        poll_fn(|cx| self.poll_event(cx)).await
    }

    fn poll_event(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        if let Some((_, outbox)) = &self.client {
            let mut unwanted = Vec::new();
            while let Poll::Ready(mail) = outbox.poll(cx, &mut unwanted) {
                if matches!(mail, Mail::Close(_)) {
                    return Poll::Ready(Event::Killed);
                }
            }
        }
        let stream = match &mut self.connection {
            Connection::None => return Poll::Pending,
            Connection::Connecting(connecting) => return connecting.as_mut().poll(cx).map(Event::Connected),
            Connection::Up(stream) => stream,
        };
        while !self.output.is_empty() {
            match Pin::new(&mut *stream).poll_write(cx, &self.output) {
                Poll::Pending => break,
                Poll::Ready(Ok(n)) => drop(self.output.drain(..n)),
                // While nothing is read, the end of the connection shows when reading goes on.
                Poll::Ready(Err(_)) if !self.wants_bytes => self.output.clear(),
                Poll::Ready(Err(error)) => return Poll::Ready(Event::Lost(reason(&error))),
            }
        }
        if !self.wants_bytes || self.loader.as_ref().is_some_and(|loader| !loader.has_room()) {
            return Poll::Pending;
        }
        let filled = self.input.len();
        self.input.resize(filled + READ_BYTES, 0);
        let mut buf = ReadBuf::new(&mut self.input[filled..]);
        let result = Pin::new(stream).poll_read(cx, &mut buf);
        let n = buf.filled().len();
        self.input.truncate(filled + n);
        match result {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) if n == 0 => {
                Poll::Ready(Event::Lost("Connection closed by the master".into()))
            }
            Poll::Ready(Ok(())) => Poll::Ready(Event::Read),
            Poll::Ready(Err(error)) => Poll::Ready(Event::Lost(reason(&error))),
        }
    }
}

async fn connect(host: String, port: u16) -> io::Result<TcpStream> {
    let stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// What the system calls the error, without its number.
fn reason(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(code) => nix::errno::Errno::from_raw(code).desc().to_owned(),
        None => error.to_string(),
    }
}
