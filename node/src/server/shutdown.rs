//! The end of a node: SHUTDOWN, SIGTERM and SIGINT.
//!
//! A shutdown saves first, if there are save points or it was asked to, and is called off if
//! that fails, unless it was forced: a node that cannot keep its data does not throw them away.

use std::sync::Arc;

use redoubt_wire::{notice, warning};
use tokio::signal::unix::{SignalKind, signal};

use super::persistence::SaveError;
use super::shared::Shared;
use crate::config::ShutdownOptions;
use crate::engine::request::Shutdown;

/// Shuts down on the first signal that succeeds; a second one while the first works ends at once.
pub async fn on_signals(shared: Arc<Shared>) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        warning!("Signals cannot be handled: SIGTERM will end this node without a save");
        return;
    };
    loop {
        let (name, options) = tokio::select! {
            _ = term.recv() => ("SIGTERM", shared.lock().engine.config.shutdown_on_sigterm),
            _ = int.recv() => ("SIGINT", shared.lock().engine.config.shutdown_on_sigint),
        };
        warning!("Received {name} scheduling shutdown...");
        let attempt = shared.shutdown(from_config(options));
        tokio::pin!(attempt);
        tokio::select! {
            _ = &mut attempt => {}
            _ = int.recv() => {
                warning!("You insist... exiting now.");
                shared.remove_pidfile();
                std::process::exit(1);
            }
        }
    }
}

fn from_config(options: ShutdownOptions) -> Shutdown {
    let save = match (options.save, options.nosave) {
        (true, _) => Some(true),
        (_, true) => Some(false),
        _ => None,
    };
    Shutdown { save, now: options.now, force: options.force }
}

impl Shared {
    /// Ends the process with exit code 0, or tells why not.
    pub async fn shutdown(self: &Arc<Self>, options: Shutdown) -> String {
        notice!("User requested shutdown...");
        let (wanted, loading) = {
            let core = self.lock();
            (options.save.unwrap_or(!core.engine.config.save.is_empty()), core.engine.loading)
        };
        // What is loaded so far is less than what the file holds.
        if wanted && !loading {
            notice!("Saving the final RDB snapshot before exiting.");
            if let Err(error) = self.final_save().await {
                warning!("Error trying to save the DB, can't exit: {error}");
                if !options.force {
                    return "ERR Errors trying to SHUTDOWN. Check logs.".into();
                }
                warning!("Exiting anyway, as FORCE was given: changes since the last save are lost");
            }
        }
        self.remove_pidfile();
        warning!("Redis is now ready to exit, bye bye...");
        std::process::exit(0);
    }

    /// Saves, waiting for a save under way to end first.
    async fn final_save(self: &Arc<Self>) -> Result<(), SaveError> {
        loop {
            let shared = self.clone();
            match tokio::task::spawn_blocking(move || shared.save()).await {
                Ok(Err(SaveError::Busy)) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
                Ok(result) => return result,
                Err(fault) => std::panic::resume_unwind(fault.into_panic()),
            }
        }
    }

    /// Removes the pid file, if this node has written one.
    pub fn remove_pidfile(&self) {
        if let Some(path) = &self.pidfile {
            let _ = std::fs::remove_file(path);
        }
    }
}
