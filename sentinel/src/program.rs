//! The program: from a command line to a running Sentinel, or to one message that says what is
//! wrong, where, and what to do.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::net::{IpAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use redoubt_wire::directives::CommandLine;
use redoubt_wire::log;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use crate::core::Core;
use crate::core::config::Config;
use crate::driver::acl::Acl;
use crate::driver::settings::Settings;
use crate::driver::{Driver, Event, Events, server};

const USAGE: &str = "usage: redoubt-sentinel FILE [--name value ...]\n\n\
    FILE holds the configuration and takes the state: it must exist and be writable.\n\
    Options are directives that follow those of the file: --port 5000 --loglevel verbose\n\n\
    -h, --help     this text\n-v, --version  the version";

/// Runs a Sentinel with these arguments (without the program's name) until it is told to end.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().filter(|a| a != "--sentinel").collect();
    match args.first().and_then(|a| a.to_str()) {
        Some("-h" | "--help") => return say(USAGE),
        Some("-v" | "--version") => {
            return say(&format!("redoubt-sentinel {}", env!("CARGO_PKG_VERSION")));
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

fn say(text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::SUCCESS
}

fn start(args: Vec<OsString>) -> Result<i32, String> {
    let command_line = CommandLine::parse(args);
    let file = command_line.config_file.clone().ok_or(
        "Sentinel needs config file on disk, even if empty. Exiting...\nName it as the first argument: redoubt-sentinel /etc/redoubt/sentinel.conf",
    )?;
    let directives = command_line.load(&mut io::stdin().lock()).map_err(|e| e.to_string())?;
    let file = fs::canonicalize(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    // Relative paths of scripts and of the log start from there.
    for directive in directives.iter().filter(|d| d.name == "dir") {
        let dir = directive.args.first().map(|a| String::from_utf8_lossy(a).into_owned()).unwrap_or_default();
        std::env::set_current_dir(&dir)
            .map_err(|e| directive.error(format!("Can't chdir to '{dir}': {e}")).to_string())?;
    }
    let mut config = Config::new(executable);
    let settings = Settings::load(&directives, &mut config).map_err(|e| e.to_string())?;
    if file.extension().is_some_and(|e| e == "yaml" || e == "yml") {
        return Err(format!(
            "{}: a Sentinel keeps its state in its file, which it cannot do in YAML: write it as sentinel.conf",
            file.display()
        ));
    }
    check_writable(&file)?;
    let resolved = resolve_names(&config)?;
    if settings.daemonize {
        nix::unistd::daemon(true, false).map_err(|e| format!("Can't run in the background: {e}"))?;
    }
    log::init(log::Config {
        level: settings.loglevel,
        role: log::Role::Sentinel,
        format: log::Format::Redis,
        file: settings.logfile.as_deref().map(absolute),
    })
    .map_err(|e| match &settings.logfile {
        Some(path) => format!("{}: {e}", path.display()),
        None => e.to_string(),
    })?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("Can't start the event loop: {e}"))?;
    let pidfile = settings.pidfile.as_deref().map(absolute);
    let code = runtime.block_on(serve(config, settings, file, resolved))?;
    if let Some(path) = pidfile {
        // Somebody else may have removed it.
        drop(fs::remove_file(path));
    }
    Ok(code)
}

async fn serve(
    config: Config,
    settings: Settings,
    file: PathBuf,
    resolved: BTreeMap<String, String>,
) -> Result<i32, String> {
    let acl = Acl::at_start(&settings.acl, config.globals.requirepass.as_deref())?;
    let (events, queue) = tokio::sync::mpsc::unbounded_channel();
    let listeners = listen(&settings)?;
    watch_signals(&events)?;
    if let Some(path) = &settings.pidfile
        && let Err(error) = fs::write(path, format!("{}\n", std::process::id()))
    {
        log::warning!("Failed to write PID file {}: {error}", path.display());
    }
    log::notice!("Redoubt Sentinel {} running on port {}", env!("CARGO_PKG_VERSION"), settings.port);
    for name in &settings.without_effect {
        log::notice!("The directive {name} has no effect on a Sentinel");
    }
    let ids = Arc::new(AtomicU64::new(1));
    for listener in listeners {
        server::serve(listener, ids.clone(), settings.keepalive_s, events.clone());
    }
    let core = Core::new(config, resolved, rand::random(), Driver::first_now());
    Ok(Driver::new(core, settings, acl, file, events).run(queue).await)
}

/// Opens all listening sockets. An address with a leading `-` may be one this machine lacks.
fn listen(settings: &Settings) -> Result<Vec<TcpListener>, String> {
    let mut listeners = Vec::new();
    for wanted in &settings.bind {
        let (host, optional) = match wanted.strip_prefix('-') {
            Some(host) => (host, true),
            None => (wanted.as_str(), false),
        };
        let ip = match host {
            "*" => Ok(IpAddr::from([0, 0, 0, 0])),
            "::*" => Ok(IpAddr::from([0u16; 8])),
            host => first_address(host),
        };
        match ip.and_then(|ip| server::listen(ip, settings.port, settings.backlog)) {
            Ok(listener) => listeners.push(listener),
            Err(error) if optional && missing_address(&error) => {}
            Err(error) => {
                return Err(format!(
                    "Could not create server TCP listening socket {host}:{}: bind: {error}\n\
                     Failed listening on port {}: end what uses it (ss -ltnp), or set another with 'port' or 'bind'.",
                    settings.port, settings.port
                ));
            }
        }
    }
    if listeners.is_empty() {
        return Err("Configured to not listen anywhere: name an address of this machine with 'bind'.".into());
    }
    Ok(listeners)
}

fn missing_address(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
}

fn first_address(host: &str) -> io::Result<IpAddr> {
    let mut found = (host, 0).to_socket_addrs()?;
    found.next().map(|a| a.ip()).ok_or_else(|| io::Error::other(format!("{host} has no address")))
}

fn watch_signals(events: &Events) -> Result<(), String> {
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let mut stream = signal(kind).map_err(|e| format!("Can't watch for signals: {e}"))?;
        let events = events.clone();
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                drop(events.send(Event::Stop));
            }
        });
    }
    Ok(())
}

/// The state is written by putting a new file in the place of the old.
fn check_writable(file: &Path) -> Result<(), String> {
    let folder = file.parent().unwrap_or(Path::new("/"));
    let append = OpenOptions::new().append(true).open(file).map(drop);
    append.and_then(|()| tempfile::tempfile_in(folder).map(drop)).map_err(|e| {
        format!(
            "Sentinel config file {} is not writable: {e}. Exiting...\n\
             The file and its folder must belong to the user that runs this program.",
            file.display()
        )
    })
}

/// Host names among the masters must have an address from the start, as in Redis.
fn resolve_names(config: &Config) -> Result<BTreeMap<String, String>, String> {
    let mut resolved = BTreeMap::new();
    for master in &config.masters {
        let others = master.replicas.iter().map(|r| &r.0).chain(master.sentinels.iter().map(|s| &s.0));
        for (host, needed) in std::iter::once((&master.host, true)).chain(others.map(|h| (h, false))) {
            if host.parse::<IpAddr>().is_ok() {
                continue;
            }
            if !config.globals.resolve_hostnames {
                return Err(format!(
                    "sentinel monitor {}: '{host}' is not an IP address. Can't resolve instance hostname.\n\
                     Give an address, or set 'sentinel resolve-hostnames yes'.",
                    master.cfg.name
                ));
            }
            match first_address(host) {
                Ok(ip) => {
                    resolved.insert(host.clone(), ip.to_string());
                }
                Err(error) if needed => {
                    return Err(format!(
                        "sentinel monitor {}: Can't resolve instance hostname '{host}': {error}",
                        master.cfg.name
                    ));
                }
                Err(_) => {}
            }
        }
    }
    Ok(resolved)
}

fn executable(path: &str) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK).is_ok()
}

fn absolute(path: &Path) -> PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf())
}
