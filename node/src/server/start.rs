//! From the command line to a running node, and from there to its exit code.
//!
//! Whatever is wrong at the start ends the program with exit code 1 and one message that names
//! it, where it is, and what to do: on standard error before the log is open, in the log (and on
//! standard error, if the log is a file) from then on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use redoubt_wire::acl::Users;
use redoubt_wire::directives::{CommandLine, Directive};
use redoubt_wire::replace::{Recovered, recover};
use redoubt_wire::service::{LOADING, PidFile, Service, daemonize};
use redoubt_wire::{log, notice, warning};

use super::listener::Listeners;
use super::shared::Shared;
use super::tasks::log_level;
use super::worker::Workers;
use super::{acl, clock, cron, facts, heart, replication, shutdown};
use crate::config::{Config, LogFormat};
use crate::engine::Engine;
use crate::engine::acl::CATALOG;
use crate::engine::load::Loading;

const USAGE: &str = "usage: redoubt-node [FILE] [-] [--name value ...]

    FILE   a configuration: directives as in redis.conf, or YAML if it ends in .yaml or .yml
    -      more directives from standard input
    Options are directives that follow those of the file: --port 7000 --save 60 1000

    --sentinel     run as a Sentinel (as redoubt-sentinel FILE does)
    -h, --help     this text
    -v, --version  the version";

/// Runs the node that `args` (without the program's name) ask for.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.collect();
    if args.iter().any(|a| a == "--sentinel") {
        return redoubt_sentinel::run(args);
    }
    match args.first().and_then(|a| a.to_str()) {
        Some("-h" | "--help") => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Some("-v" | "--version") => {
            println!(
                "redoubt-node {} (speaks Redis {})",
                env!("CARGO_PKG_VERSION"),
                redoubt_wire::REDIS_VERSION
            );
            return ExitCode::SUCCESS;
        }
        _ => {}
    }
    match start(args) {
        Ok(code) => code,
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Vec<OsString>) -> Result<ExitCode, String> {
    let command_line = CommandLine::parse(args);
    // A file that is not there is the next line's to complain about.
    let config_file = command_line.config_file.as_ref().and_then(|file| std::fs::canonicalize(file).ok());
    let recovered = match &config_file {
        Some(file) => recover(file).map_err(|e| format!("{}: {e}", file.display()))?,
        None => None,
    };
    let directives = command_line.load(&mut std::io::stdin().lock()).map_err(|e| format!("\n{e}"))?;
    let loaded = Config::load(&directives).map_err(|e| format!("\n{e}"))?;
    let mut config = loaded.config;
    enter(&config.dir, &directives)?;
    config.dir = std::env::current_dir().map_err(|e| format!("The working directory has no name: {e}"))?;
    let users = acl::origin(&config, &loaded.users).users(&CATALOG).map_err(|why| format!("\n{why}"))?;
    open_log(&config, &directives)?;
    let service = Service::start(config.supervised, LOADING);
    // A supervisor watches the process that it started. Before any thread exists: a daemon is a fork.
    let background = config.daemonize && !service.is_supervised();
    if background {
        daemonize()?;
    }
    notice!("Redoubt node {} starting, PID: {}", env!("CARGO_PKG_VERSION"), std::process::id());
    if config_file.is_none() {
        warning!(
            "Warning: no config file specified, using the default config. In order to specify a config file use redoubt-node /path/to/redis.conf"
        );
    }
    if let Some(Recovered { found_text }) = recovered {
        warning!(
            "CONFIG REWRITE was interrupted; its text is in force, and what stood in the file was kept as {}",
            found_text.display()
        );
    }
    for warning in &loaded.warnings {
        warning!("{warning}");
    }
    acl::origin(&config, &loaded.users).warn(&users);
    if config.disable_thp
        && let Err(error) = nix::sys::prctl::set_thp_disable(true)
    {
        warning!("Transparent huge pages stay on for this process: {error}");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("Can't start the runtime: {e}"))?;
    runtime.block_on(run(config, users, config_file, service, background)).map_err(|message| {
        warning!("{message}");
        message
    })
}

/// Goes to the working directory; if that fails, the message is that of the directive that named it.
fn enter(dir: &Path, directives: &[Directive]) -> Result<(), String> {
    std::env::set_current_dir(dir).map_err(|e| {
        let why = format!(
            "Can't chdir to '{}': {e}. Make the directory, or mend the directive 'dir'.",
            dir.display()
        );
        blame("dir", directives, why)
    })
}

fn open_log(config: &Config, directives: &[Directive]) -> Result<(), String> {
    let level = log_level(config.loglevel);
    let format = match config.log_format {
        LogFormat::Redis => log::Format::Redis,
        LogFormat::Json => log::Format::Json,
    };
    let role = if config.replicaof.is_some() { log::Role::Replica } else { log::Role::Master };
    let file = (!config.logfile.as_os_str().is_empty()).then(|| config.logfile.clone());
    log::init(log::Config { level, role, format, file, syslog: None }).map_err(|e| {
        let why = format!("{e}. Make its folder, or mend the directive 'logfile'.");
        blame("logfile", directives, why)
    })
}

/// The message of an error that the last directive of that name is to blame for.
fn blame(name: &str, directives: &[Directive], why: String) -> String {
    match directives.iter().rfind(|directive| directive.name == name) {
        Some(directive) => format!("\n{}", directive.error(why)),
        None => why,
    }
}

async fn run(
    config: Config,
    users: Users,
    config_file: Option<PathBuf>,
    service: Service,
    background: bool,
) -> Result<ExitCode, String> {
    let listeners = Listeners::bind(&config).map_err(|e| e.to_string())?;
    let port = listeners.port();
    let workers =
        Workers::start(config.io_threads as usize).map_err(|e| format!("Can't start worker threads: {e}"))?;
    let (control, requests) = tokio::sync::mpsc::unbounded_channel();
    let (trash, mut garbage) = tokio::sync::mpsc::unbounded_channel();
    std::thread::Builder::new()
        .name("lazyfree".into())
        .spawn(move || while garbage.blocking_recv().is_some() {})
        .map_err(|e| format!("Can't start the thread that frees memory: {e}"))?;
    let pidfile = PidFile::write(config.pidfile.as_deref(), background);
    let now_ms = clock::unix_ms();
    let described = listeners.described(&config);
    let mut engine = Engine::new(config, rand::random(), clock::monotonic_ns);
    engine.start_with_users(users);
    engine.facts.process = facts::process(config_file.as_deref(), described, service.supervisor(), now_ms);
    engine.facts.memory = facts::memory_now;
    engine.facts.cpu = facts::cpu_now;
    engine.facts.persistence.last_save_ms = now_ms;
    engine.memory_used = crate::memory::used;
    if engine.config.master_rejoin_guard
        && engine.is_master()
        && replication::lineage_file::path(&engine.config).exists()
    {
        engine.replication.feed.set_guard();
    }
    if Path::new(&engine.config.dbfilename).exists() {
        engine.loading = Loading::Exclusive;
    }
    let shared = Arc::new(Shared::new(engine, config_file, pidfile, service, control, trash));
    tokio::spawn(listeners.accept(shared.clone(), Arc::new(workers)));
    tokio::spawn(shutdown::on_signals(shared.clone()));
    tokio::spawn(heart::run(shared.clone()));
    let shutdowns = tokio::spawn(shutdown::serve(shared.clone(), requests));
    // With the PID above, what Redis's own tests wait for.
    notice!("Server initialized");
    let loader = shared.clone();
    let loaded = tokio::task::spawn_blocking(move || loader.load_file(true)).await;
    match loaded {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            shared.remove_files();
            let config = &shared.lock().engine.config;
            return Err(format!(
                "Fatal error loading the DB from {}: {error}. Exiting. Mend the file or move it away; it was left as it is.",
                config.dir.join(&config.dbfilename).display()
            ));
        }
        Err(panic) => return Err(format!("Loading the DB ended by a fault of this program: {panic}")),
    }
    shared.lock().engine.loading = Loading::No;
    if port != 0 {
        notice!("Ready to accept connections tcp");
    } else {
        notice!("Ready to accept connections unix");
    }
    let status = heart::status(&shared.lock());
    shared.service.ready(&status);
    tokio::spawn(cron::run(shared.clone()));
    tokio::spawn(replication::run(shared.clone()));
    shutdowns.await.map_err(|fault| format!("A fault of this program ended it: {fault}"))?;
    Ok(ExitCode::SUCCESS)
}
