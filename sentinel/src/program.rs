//! The program: from a command line to a running Sentinel, or to one message that says what is
//! wrong, where, and what to do.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use redoubt_wire::directives::{CommandLine, Directive};
use redoubt_wire::service::{LOADING, PidFile, Service, daemonize};
use redoubt_wire::{log, replace};
use tokio::signal::unix::{SignalKind, signal};

use crate::core::config::Config;
use crate::core::{Core, ScriptCall};
use crate::driver::acl::Acl;
use crate::driver::info::Facts;
use crate::driver::listener::Listeners;
use crate::driver::settings::Settings;
use crate::driver::state_file::{self, ScriptsFile};
use crate::driver::{Driver, Event, Events, resolver};

const USAGE: &str = "usage: redoubt-sentinel FILE [--name value ...]\n\n\
    FILE holds the configuration and takes the state: it must exist and be writable. It is\n\
    a sentinel.conf, or YAML if it ends in .yaml or .yml.\n\
    Options are directives that follow those of the file: --port 5000 --loglevel verbose\n\n\
    -h, --help     this text\n-v, --version  the version";

/// How long the start waits for the addresses of host names; those that take longer are not waited for.
const FIRST_LOOKUP: Duration = Duration::from_secs(2);

/// Runs a Sentinel with these arguments (without the program's name) until it is told to end.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().filter(|a| a != "--sentinel").collect();
    match args.first().and_then(|a| a.to_str()) {
        Some("-h" | "--help") => return say(USAGE),
        Some("-v" | "--version") => {
            return say(&format!(
                "redoubt-sentinel {VERSION} (speaks Redis {})",
                redoubt_wire::REDIS_VERSION
            ));
        }
        _ => {}
    }
    match start(args) {
        Ok(code) => u8::try_from(code).map_or(ExitCode::FAILURE, ExitCode::from),
        Err(message) => {
            eprintln!("{message}");
            ExitCode::FAILURE
        }
    }
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

fn say(text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::SUCCESS
}

fn start(args: Vec<OsString>) -> Result<i32, String> {
    let command_line = CommandLine::parse(args);
    let file = command_line.config_file.clone().ok_or(
        "Sentinel needs config file on disk to save state. Exiting...\nName it as the first argument: redoubt-sentinel /etc/redoubt/sentinel.conf",
    )?;
    let file = fs::canonicalize(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let recovered = replace::recover(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let directives = command_line.load(&mut io::stdin().lock()).map_err(|e| e.to_string())?;
    // Relative paths of scripts and of the log start from there.
    for directive in directives.iter().filter(|d| d.name == "dir") {
        let dir = directive.args.first().map(|a| String::from_utf8_lossy(a).into_owned()).unwrap_or_default();
        std::env::set_current_dir(&dir)
            .map_err(|e| directive.error(format!("Can't chdir to '{dir}': {e}")).to_string())?;
    }
    let mut config = Config::new(executable);
    let settings = Settings::load(&directives, &mut config).map_err(|e| e.to_string())?;
    check_writable(&file)?;
    let resolved = resolve_names(&config, &directives)?;
    config.refuse_virtual_masters(&resolved)?;
    open_log(&settings, &directives)?;
    let service = Service::start(settings.supervised, LOADING);
    // A supervisor watches the process that it started. Before any thread exists: a daemon is a fork.
    let background = settings.daemonize && !service.is_supervised();
    if background {
        daemonize()?;
    }
    log::notice!(
        "Redoubt Sentinel {VERSION} starting (speaks Redis {}), PID: {}",
        redoubt_wire::REDIS_VERSION,
        std::process::id()
    );
    log::notice!("Configuration loaded");
    if let Some(recovered) = recovered {
        log::warning!(
            "The last writing of {} was interrupted and has been finished. What stood in the file is in {}.",
            file.display(),
            recovered.found_text.display()
        );
    }
    for name in &settings.without_effect {
        log::notice!("The directive {name} has no effect on a Sentinel");
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("Can't start the event loop: {e}"))?;
    runtime
        .block_on(serve(config, settings, file, resolved, service, background))
        .inspect_err(|message| log::warning!("{message}"))
}

fn open_log(settings: &Settings, directives: &[Directive]) -> Result<(), String> {
    log::init(log::Config {
        level: settings.loglevel,
        role: log::Role::Sentinel,
        format: settings.log_format,
        file: settings.logfile.as_deref().map(absolute),
        syslog: settings.syslog.clone(),
    })
    .map_err(|e| {
        let why = format!("{e}. Make its folder, or mend the directive 'logfile'.");
        match directives.iter().rfind(|directive| directive.name == "logfile") {
            Some(directive) => directive.error(why).to_string(),
            None => why,
        }
    })
}

async fn serve(
    mut config: Config,
    mut settings: Settings,
    file: PathBuf,
    resolved: BTreeMap<String, String>,
    service: Service,
    background: bool,
) -> Result<i32, String> {
    let acl = Acl::at_start(&settings.acl, config.globals.requirepass.as_deref())?;
    let (events, queue) = tokio::sync::mpsc::unbounded_channel();
    settings.maxclients = files_for(settings.maxclients);
    let listeners = Listeners::bind(&settings)?;
    watch_signals(&events)?;
    let pidfile = PidFile::write(settings.pidfile.as_deref(), background);
    log::notice!("Running mode=sentinel, port={}.", settings.port);
    let unixsocket = settings.unixsocket.as_deref().map(absolute);
    let traffic = Arc::default();
    let facts = Facts::new(listeners.described(&settings), Arc::clone(&traffic));
    listeners.accept(&events, settings.keepalive_s, &traffic);
    config.scripts = left_over_scripts(&ScriptsFile::beside(&file));
    let core = Core::new(config, resolved, rand::random(), Driver::first_now());
    let driver = Driver::new(core, settings, acl, facts, file, service, events);
    let code = driver.run(queue).await;
    // Somebody else may have removed them.
    if let Some(path) = unixsocket {
        log::notice!("Removing the unix socket file.");
        drop(fs::remove_file(path));
    }
    if let Some(pidfile) = pidfile {
        pidfile.remove();
    }
    log::warning!("Sentinel is now ready to exit, bye bye...");
    Ok(code)
}

/// The scripts that the last run of this program left to be run. A Sentinel without them still serves.
fn left_over_scripts(file: &ScriptsFile) -> Vec<ScriptCall> {
    match file.load() {
        Ok((calls, damaged)) => {
            if calls.is_empty()
                && let Err(error) = file.save(0, &[])
            {
                log::warning!("The queue of scripts cannot be removed: {error}");
            }
            for line in damaged {
                log::warning!(
                    "The queue of scripts holds a line that is none of a script, which is dropped: {line}"
                );
            }
            calls
        }
        Err(error) => {
            log::warning!("The queue of scripts of the last run cannot be read: {error}");
            Vec::new()
        }
    }
}

/// Has the system allow as many open files as the clients need, and our own; how many clients there can be.
fn files_for(clients: usize) -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    /// Links, the log, the state, and what the runtime opens.
    const OWN: u64 = 256;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return clients };
    let wanted = (clients as u64 + OWN).min(hard);
    if soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_err() {
        return clients.min(soft.saturating_sub(OWN).max(1) as usize);
    }
    let possible = wanted.max(soft).saturating_sub(OWN).max(1) as usize;
    if possible < clients {
        log::warning!(
            "The open files limit of {} lets {possible} clients in instead of the {clients} of maxclients: raise it with 'ulimit -n'.",
            wanted.max(soft)
        );
    }
    clients.min(possible)
}

/// SIGTERM and SIGINT end the Sentinel; losing its terminal does not.
fn watch_signals(events: &Events) -> Result<(), String> {
    for (kind, name) in [
        (SignalKind::terminate(), Some("SIGTERM")),
        (SignalKind::interrupt(), Some("SIGINT")),
        (SignalKind::hangup(), None),
    ] {
        let mut stream = signal(kind).map_err(|e| format!("Can't watch for signals: {e}"))?;
        let events = events.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if let Some(name) = name {
                    log::notice!("Received {name} scheduling shutdown...");
                    drop(events.send(Event::Stop));
                }
            }
        });
    }
    Ok(())
}

/// The state must be writable into the file from the start, rather than from the first failover on.
fn check_writable(file: &Path) -> Result<(), String> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let append = OpenOptions::new().append(true).open(file).map(drop);
    append.and_then(|()| tempfile::tempfile_in(folder).map(drop)).map_err(|e| {
        format!(
            "Sentinel config file {} is not writable: {e}. Exiting...\n\
             The file and its folder must belong to the user that runs this program.",
            file.display()
        )
    })?;
    state_file::check(file).map_err(|e| format!("{}: {e}", file.display()))
}

/// The addresses of the host names in the configuration, as far as they are found soon. With
/// `resolve-hostnames` a name without an address is looked up until it has one, as in Redis.
fn resolve_names(config: &Config, directives: &[Directive]) -> Result<BTreeMap<String, String>, String> {
    let mut names = BTreeSet::new();
    for master in &config.masters {
        let others = master.replicas.iter().map(|r| &r.0).chain(master.sentinels.iter().map(|s| &s.0));
        for host in std::iter::once(&master.host).chain(others).filter(|h| h.parse::<IpAddr>().is_err()) {
            if !config.globals.resolve_hostnames {
                let names_it = |d: &&Directive| d.args.iter().any(|arg| arg == host.as_bytes());
                let text = "Can't resolve instance hostname.\nGive its address, or set 'sentinel resolve-hostnames yes'.";
                return Err(match directives.iter().find(names_it) {
                    Some(directive) => directive.error(text).to_string(),
                    None => text.into(),
                });
            }
            names.insert(host.clone());
        }
    }
    let names: Vec<String> = names.into_iter().collect();
    Ok(resolver::look_up_all(&names, FIRST_LOOKUP))
}

fn executable(path: &str) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
