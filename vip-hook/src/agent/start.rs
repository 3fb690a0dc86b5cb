//! From a configuration to a running agent, or to one message that says what is wrong and what to do.

use std::path::Path;

use redoubt_wire::log;
use redoubt_wire::service::{Service, Supervision};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::host::Host;
use super::linux::Linux;
use super::socket::{OnlyOne, Socket};
use super::{Agent, Event, Events};
use crate::config::Config;
use crate::platform::capabilities;

/// What systemd shows until the agent serves.
const STARTING: &str = "The agent is starting";

/// Why the agent could not start.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct StartError(String);

impl From<String> for StartError {
    fn from(text: String) -> Self {
        StartError(text)
    }
}

/// Runs the agent on this host until SIGTERM or SIGINT.
///
/// # Errors
/// What keeps it from starting.
pub fn run(config: Config, config_file: &Path) -> Result<(), StartError> {
    // Capabilities belong to threads, and there is one so far.
    let missing = capabilities::missing().map_err(|e| e.to_string())?;
    if let Some(advice) = capabilities::advice(&missing) {
        return Err(StartError(advice));
    }
    let only_one = OnlyOne::claim(&config.state_dir)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start the event loop: {e}"))?;
    let ended = runtime.block_on(async {
        // While it may still give files to the group.
        let socket = Socket::open(&config)?;
        capabilities::keep_only_needed().map_err(|e| e.to_string())?;
        let host = Linux::open()?;
        serve(config, config_file, host, socket).await
    });
    drop(only_one);
    ended
}

/// Runs the agent on a host.
async fn serve<H: Host>(
    config: Config,
    config_file: &Path,
    host: H,
    socket: Socket,
) -> Result<(), StartError> {
    log::notice!(
        "Redoubt VIP agent {} starting, PID: {}, configuration {}",
        env!("CARGO_PKG_VERSION"),
        std::process::id(),
        config_file.display()
    );
    let service = Service::start(Supervision::Auto, STARTING);
    config.warnings().iter().for_each(|warning| log::warning!("{warning}"));
    for master in &config.masters {
        super::store::Store::open(&config.state_dir, &master.name)?;
    }
    let agent = Agent::new(config, config_file.into(), host, service);
    let fence = agent.fence();
    if fence.in_kernel {
        log::notice!("Fence: {}", fence.text);
    } else {
        log::warning!("Fence: {}", fence.text);
    }
    watch_signals(&agent.events)?;
    let served = socket.serve(agent.events.clone());
    agent.run().await;
    drop(served);
    Ok(())
}

fn watch_signals(events: &Events) -> Result<(), String> {
    let open = |kind| signal(kind).map_err(|e| format!("cannot watch for signals: {e}"));
    let pass_on = |mut signal: Signal, name: &'static str, event: fn() -> Event| {
        let events = events.clone();
        tokio::spawn(async move {
            while signal.recv().await.is_some() {
                log::notice!("Received {name}");
                drop(events.send(event()).await);
            }
        });
    };
    pass_on(open(SignalKind::terminate())?, "SIGTERM", || Event::Stop);
    pass_on(open(SignalKind::interrupt())?, "SIGINT", || Event::Stop);
    pass_on(open(SignalKind::hangup())?, "SIGHUP", || Event::Reload);
    Ok(())
}
