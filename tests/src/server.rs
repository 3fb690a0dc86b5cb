//! One server of a deployment: its program, port, directory, log and process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use redis::FromRedisValue;

use crate::client::{self, PATIENT, Role};
use crate::error::{LabError, Result};
use crate::ports::PortLease;
use crate::process::{Process, describe};
use crate::scratch::Scratch;
use crate::wait;

/// How long a server may take to answer PING; a loaded snapshot counts into it.
const START_LIMIT: Duration = Duration::from_secs(20);
const PORT_ATTEMPTS: usize = 5;
const TAIL_LINES: usize = 12;

/// What a server shall be, before it has a port.
#[derive(Debug, Clone)]
pub struct ServerSpec {
    name: String,
    program: PathBuf,
    settings: Settings,
    core: Option<usize>,
}

/// How a server is told its settings beyond port and directory.
#[derive(Debug, Clone)]
enum Settings {
    /// Lines of a configuration file, which the server may rewrite.
    File(Vec<String>),
    /// Words of the command line.
    Options(Vec<String>),
}

impl ServerSpec {
    /// A server with a configuration file. `name` is also that of its directory.
    pub fn with_file(name: &str, program: &Path, lines: &[&str]) -> ServerSpec {
        let lines = lines.iter().map(ToString::to_string).collect();
        ServerSpec { name: name.into(), program: program.into(), settings: Settings::File(lines), core: None }
    }

    /// A server with command-line options alone, as every Redis-compatible program takes them.
    pub fn with_options(name: &str, program: &Path, options: &[&str]) -> ServerSpec {
        let options = options.iter().map(ToString::to_string).collect();
        ServerSpec {
            name: name.into(),
            program: program.into(),
            settings: Settings::Options(options),
            core: None,
        }
    }

    /// Adds a line to the configuration file.
    pub fn line(mut self, line: impl Into<String>) -> ServerSpec {
        match &mut self.settings {
            Settings::File(lines) => lines.push(line.into()),
            Settings::Options(options) => {
                let line = line.into();
                let mut words = line.split_whitespace().map(str::to_string);
                options.extend(words.next().map(|directive| format!("--{directive}")));
                options.extend(words);
            }
        }
        self
    }

    /// Restricts the server to one core.
    pub fn on_core(mut self, core: Option<usize>) -> ServerSpec {
        self.core = core;
        self
    }

    /// Starts it on a port of its own and waits until it answers.
    pub async fn start(self, scratch: &Scratch) -> Result<Server> {
        let dir = scratch.subdir(&self.name)?;
        let mut attempts = 0;
        loop {
            attempts += 1;
            let lease = PortLease::take()?;
            let args = self.arguments(&dir, lease.port())?;
            let log = dir.join("log");
            let mut server = Server { spec: self.clone(), lease, dir: dir.clone(), log, args, process: None };
            match server.launch().await {
                Ok(()) => return Ok(server),
                Err(LabError::PortTaken { .. }) if attempts < PORT_ATTEMPTS => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Writes the configuration file if there is one; returns the words of the command line.
    fn arguments(&self, dir: &Path, port: u16) -> Result<Vec<String>> {
        let dir_text = dir.display().to_string();
        match &self.settings {
            Settings::Options(options) => {
                let mut args: Vec<String> =
                    ["--port", &port.to_string(), "--bind", "127.0.0.1", "--dir", &dir_text]
                        .map(String::from)
                        .into();
                args.extend_from_slice(options);
                Ok(args)
            }
            Settings::File(lines) => {
                let file = dir.join("server.conf");
                let text = format!("port {port}\nbind 127.0.0.1\ndir {dir_text}\n{}\n", lines.join("\n"));
                std::fs::write(&file, text).map_err(LabError::file("write", &file))?;
                Ok(vec![file.display().to_string()])
            }
        }
    }
}

/// A server that was started; it may since have been stopped or killed.
#[derive(Debug)]
pub struct Server {
    spec: ServerSpec,
    lease: PortLease,
    dir: PathBuf,
    log: PathBuf,
    args: Vec<String>,
    process: Option<Process>,
}

impl Server {
    /// Its name in the deployment.
    pub fn name(&self) -> &str {
        &self.spec.name
    }

    /// The program that it runs.
    pub fn program(&self) -> &Path {
        &self.spec.program
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.lease.port()
    }

    /// Its address.
    pub fn addr(&self) -> SocketAddr {
        self.lease.addr()
    }

    /// Its working directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        let bytes = std::fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The pid of the running process.
    pub fn pid(&self) -> Result<u32> {
        self.process.as_ref().map(Process::pid).ok_or_else(|| self.not_running())
    }

    /// Sends one command over a connection of its own and waits patiently.
    pub async fn ask<T: FromRedisValue>(&self, words: &[&str]) -> Result<T> {
        client::ask(self.addr(), PATIENT, words).await
    }

    /// The fields of one section of INFO.
    pub async fn info(&self, section: &str) -> Result<HashMap<String, String>> {
        Ok(client::info_fields(&self.ask::<String>(&["INFO", section]).await?))
    }

    /// What it says of its place in replication.
    pub async fn role(&self) -> Result<Role> {
        Role::from_info(&self.info("replication").await?)
            .map_err(|what| LabError::Other(format!("{}: {what}", self.name())))
    }

    /// Waits until it follows `master` with its link up, the initial transfer done.
    pub async fn follows(&self, master: &Server, limit: Duration) -> Result<()> {
        let what = format!("{} follows {}", self.name(), master.name());
        wait::until(&what, limit, async || match self.role().await {
            Ok(Role::Replica { master_port, link_up: true, .. }) if master_port == master.port() => Ok(()),
            Ok(role) => Err(format!("{role:?}")),
            Err(error) => Err(error.to_string()),
        })
        .await
    }

    /// Kills it with SIGKILL, as if the machine had lost power.
    pub fn kill(&mut self) -> Result<()> {
        self.process.as_mut().ok_or_else(|| LabError::Other("it was never started".into()))?.kill()?;
        self.process = None;
        Ok(())
    }

    /// Stops it in its tracks with SIGSTOP; its connections stay open and silent.
    pub fn freeze(&self) -> Result<()> {
        self.running()?.signal(Signal::SIGSTOP)
    }

    /// Lets it go on after `freeze`.
    pub fn thaw(&self) -> Result<()> {
        self.running()?.signal(Signal::SIGCONT)
    }

    /// Asks it to end (SIGTERM) and waits until it has.
    pub async fn terminate(&mut self) -> Result<()> {
        self.running()?.signal(Signal::SIGTERM)?;
        if let Some(mut process) = self.process.take() {
            process.ended(PATIENT).await?;
        }
        Ok(())
    }

    /// Starts it again after its end, on the same port, with the same directory and files.
    pub async fn restart(&mut self) -> Result<()> {
        if self.process.is_some() {
            self.kill()?;
        }
        self.launch().await
    }

    async fn launch(&mut self) -> Result<()> {
        let log_before = self.log().len();
        self.process =
            Some(Process::spawn(&self.spec.program, &self.args, self.spec.core, &self.dir, &self.log)?);
        let what = format!("{} answers PING", self.name());
        // The outer error is final, the inner one lets the waiting go on.
        let outcome = {
            let this = &mut *self;
            wait::until(&what, START_LIMIT, async || this.poll_ready(log_before).await).await
        };
        match outcome {
            Ok(result) => result,
            Err(error) => Err(self.start_error(&error.to_string())),
        }
    }

    /// `Err` while it is on its way; `Ok` holds the verdict.
    async fn poll_ready(&mut self, log_before: usize) -> std::result::Result<Result<()>, String> {
        let process = self.process.as_mut().ok_or("it was never started")?;
        let (pid, status) = (process.pid(), process.exit_status());
        match status {
            Err(error) => return Ok(Err(error)),
            Ok(Some(status)) => {
                let log = self.log();
                let taken = log.get(log_before..).is_some_and(|text| text.contains("Address already in use"));
                return Ok(Err(if taken {
                    LabError::PortTaken { port: self.port() }
                } else {
                    self.start_error(&describe(status))
                }));
            }
            Ok(None) => {}
        }
        match self.ask::<String>(&["PING"]).await {
            Ok(answer) if answer == "PONG" => {}
            Ok(answer) => return Ok(Err(self.start_error(&format!("it answers PING with {answer}")))),
            Err(error) if is_refusal(&error) => return Ok(Err(self.start_error(&error.to_string()))),
            Err(error) => return Err(error.to_string()),
        }
        let fields = self.info("server").await.map_err(|error| error.to_string())?;
        match fields.get("process_id").and_then(|id| id.parse::<u32>().ok()) {
            Some(id) if id != pid => Ok(Err(LabError::PortTaken { port: self.port() })),
            _ => Ok(Ok(())),
        }
    }

    fn running(&self) -> Result<&Process> {
        self.process.as_ref().ok_or_else(|| self.not_running())
    }

    fn not_running(&self) -> LabError {
        LabError::Other(format!("{} is not running", self.name()))
    }

    fn start_error(&self, why: &str) -> LabError {
        let log = self.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(TAIL_LINES)..].iter().map(|line| format!("  | {line}\n"));
        LabError::Start {
            name: self.name().into(),
            why: why.into(),
            log: self.log.clone(),
            tail: tail.collect(),
        }
    }
}

/// Whether a server answered with an error that waiting will not change, unlike -LOADING and its like.
fn is_refusal(error: &LabError) -> bool {
    match error {
        LabError::Redis { source, .. } => {
            matches!(source.code(), Some("ERR" | "NOAUTH" | "NOPERM" | "DENIED"))
        }
        _ => false,
    }
}
