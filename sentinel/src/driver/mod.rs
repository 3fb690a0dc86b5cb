//! Connects the state machine of [`crate::core`] to sockets, the clock, processes and its file.
//!
//! One thread runs all of it. Each connection has a task that reads and one that writes; what they
//! read goes through one queue to the loop below, which owns all state, so that nothing needs a lock.
//! The loop empties the queue before it lets a timer fire, and when a timer has come it first gives the
//! readers a turn: an answer that has arrived is never taken for missing, even after
//! this process was stopped for a while.

pub(crate) mod acl;
mod client_command;
mod clients;
mod command_table;
pub(crate) mod info;
mod links;
pub(crate) mod listener;
mod pause;
mod process;
mod pulse;
pub(crate) mod resolver;
pub(crate) mod server;
mod session;
pub mod settings;
pub(crate) mod state_file;
mod tracking;

use std::path::{Path, PathBuf};
use std::sync::Once;
use std::time::Instant;

use redoubt_wire::replace::Replaced;
use redoubt_wire::service::Service;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

use crate::core::timers::Ms;
use crate::core::{ClientId, Core, Input, Level, Output};
use acl::Acl;
use clients::Clients;
use links::Links;
use resolver::Resolver;
use server::NewClient;
use settings::Settings;

/// What the tasks report to the loop.
#[derive(Debug)]
pub(crate) enum Event {
    /// Something for the state machine.
    Core(Input),
    /// A client connected.
    NewClient(NewClient),
    /// A client sent a command.
    Request(ClientId, Vec<Vec<u8>>),
    /// A client sent what is no request: the error it gets before its connection is closed.
    BadRequest(ClientId, String),
    /// A client's connection ended.
    ClientGone(ClientId),
    /// The ACL file was read or written.
    AclFile(acl::FileDone),
    /// SIGTERM or SIGINT.
    Stop,
}

/// Where tasks send what happens.
pub(crate) type Events = UnboundedSender<Event>;

/// The process: state machine, connections, clients.
pub(crate) struct Driver {
    core: Core,
    clients: Clients,
    links: Links,
    scripts: process::Scripts,
    resolver: Resolver,
    settings: Settings,
    acl: Acl,
    pause: pause::Pause,
    facts: info::Facts,
    service: Service,
    pulse: pulse::Pulse,
    state_file: PathBuf,
    events: Events,
    started: Instant,
    exit_code: Option<i32>,
}

/// The clock starts high enough that no moment of the past falls before it.
const CLOCK_START_MS: Ms = 1_000_000_000;

impl Driver {
    /// Puts the parts together. `core` was made at the moment `started`, which is [`Driver::first_now`].
    pub(crate) fn new(
        core: Core,
        settings: Settings,
        acl: Acl,
        facts: info::Facts,
        state_file: PathBuf,
        service: Service,
        events: Events,
    ) -> Self {
        Driver {
            core,
            clients: Clients::new(&settings, CLOCK_START_MS),
            links: Links::new(events.clone(), settings.bind_source),
            scripts: process::Scripts::new(events.clone()),
            resolver: Resolver::new(resolver::address_of, resolved_to(events.clone())),
            settings,
            acl,
            pause: pause::Pause::default(),
            facts,
            pulse: pulse::Pulse::new(&service, CLOCK_START_MS),
            service,
            state_file,
            events,
            started: Instant::now(),
            exit_code: None,
        }
    }

    /// The time on the clock when a driver starts.
    pub(crate) fn first_now() -> Ms {
        CLOCK_START_MS
    }

    fn now(&self) -> Ms {
        CLOCK_START_MS + self.started.elapsed().as_millis() as Ms
    }

    /// Runs until told to end; the exit code.
    pub(crate) async fn run(mut self, mut queue: UnboundedReceiver<Event>) -> i32 {
        self.carry_out();
        self.service.ready(&self.core.status());
        loop {
            let timers = [self.core.poll_timeout(), self.clients.due(), self.pause.due(), self.pulse.due()];
            let due = timers.into_iter().min().unwrap_or(Ms::MAX);
            let wake = self.started + std::time::Duration::from_millis(due.saturating_sub(CLOCK_START_MS));
            tokio::select! {
                biased;
                event = queue.recv() => {
                    let Some(event) = event else { return 0 };
                    self.take(event);
                }
                () = tokio::time::sleep_until(wake.into()) => tokio::task::yield_now().await,
            }
            while let Ok(event) = queue.try_recv() {
                self.take(event);
            }
            if self.now() >= self.core.poll_timeout() {
                let now = self.now();
                self.core.handle_timeout(now);
                self.carry_out();
            }
            let now = self.now();
            if now >= self.clients.due() {
                self.clients.drop_idle(now);
            }
            if now >= self.pause.due() {
                self.end_pause(now);
                self.carry_out();
            }
            self.facts.sample(self.clients.commands_processed, now);
            if let Some(code) = self.exit_code {
                self.service.stopping();
                return code;
            }
            if self.pulse.beats(now) {
                self.service.status(&self.core.status());
                self.service.alive();
            }
        }
    }

    fn take(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Core(input) => self.core.handle(now, input),
            Event::NewClient(client) => self.clients.add(client, self.acl.default_user(), now),
            Event::Request(client, argv) => self.request(client, argv, now),
            Event::BadRequest(client, text) => self.clients.refuse(client, &text),
            Event::ClientGone(client) => self.clients.remove(client),
            Event::AclFile(done) => self.acl_file_done(done, now),
            Event::Stop => {
                redoubt_wire::log::notice!("User requested shutdown...");
                self.exit_code = Some(0);
            }
        }
        self.carry_out();
    }

    fn carry_out(&mut self) {
        while let Some(output) = self.core.poll_output() {
            match output {
                Output::Connect { conn, addr } => self.links.connect(conn, addr),
                Output::Close { conn } => self.links.close(conn),
                Output::Send { conn, commands } => self.links.send(conn, &commands),
                Output::Reply { client, bytes } => {
                    let now = self.now();
                    self.clients.finish_request(client, &bytes, now);
                }
                Output::Publish { channel, message } => {
                    let now = self.now();
                    self.clients.publish(&channel, &message, now);
                    self.pulse.hasten(now);
                }
                Output::Log { level, text } => log(level, &text),
                Output::SetLogLevel { level } => {
                    if let Some(level) = redoubt_wire::log::Level::from_name(level.as_bytes()) {
                        redoubt_wire::log::set_level(level);
                    }
                }
                Output::RunScript { job, argv, env } => self.scripts.run(job, &argv, &env),
                Output::KillScript { job } => self.scripts.kill(job),
                Output::Persist { seq, lines } => self.persist(seq, lines),
                Output::Resolve { host } => self.resolver.look_up(host),
                Output::Exit { code } => {
                    self.service.stopping();
                    std::process::exit(code)
                }
            }
        }
    }

    /// Writes the state on a thread that may block; its end comes back as an event.
    fn persist(&self, seq: u64, mut lines: Vec<crate::core::StateLine>) {
        lines.extend(self.acl.state_lines());
        let (file, events) = (self.state_file.clone(), self.events.clone());
        tokio::task::spawn_blocking(move || {
            let result = state_file::save(&file, &lines).map_err(|e| format!("{}: {e}", file.display()));
            if let Ok(Replaced::InPlace(reason)) = &result {
                static TOLD: Once = Once::new();
                TOLD.call_once(|| warn_of_writing_in_place(&file, reason));
            }
            let result = result.map(drop);
            // The loop is gone only when the process ends.
            drop(events.send(Event::Core(Input::Persisted { seq, result })));
        });
    }
}

fn resolved_to(events: Events) -> impl Fn(String, Option<String>) + Send + Sync + 'static {
    move |host, ip| drop(events.send(Event::Core(Input::Resolved { host, ip })))
}

fn warn_of_writing_in_place(file: &Path, reason: &std::io::Error) {
    redoubt_wire::log::warning!(
        "The config file {} cannot be replaced as a whole: {reason}. It is written in place instead, with a copy beside \
         it meanwhile. To have it replaced, give this process the folder of the file (mount the folder, not the file).",
        file.display()
    );
}

fn log(level: Level, text: &str) {
    match level {
        Level::Debug => redoubt_wire::log::debug!("{text}"),
        Level::Verbose => redoubt_wire::log::verbose!("{text}"),
        Level::Notice => redoubt_wire::log::notice!("{text}"),
        Level::Warning => redoubt_wire::log::warning!("{text}"),
    }
}
