//! The end of a node: SHUTDOWN, SIGTERM and SIGINT.
//!
//! A shutdown first waits for replicas that lack writes, at most `shutdown-timeout`, and then saves,
//! if there are save points or it was asked to. From the beginning of the wait to the exit no write is
//! taken, so that none is acknowledged that neither a replica nor the file gets. It is called off by
//! SHUTDOWN ABORT, or if it cannot save, unless it was forced: a node that cannot keep its data does
//! not throw them away.
//!
//! One shutdown goes on at a time, on the control thread; who asks for one meanwhile joins it.

use std::sync::Arc;
use std::time::Duration;

use redoubt_wire::{notice, warning};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::oneshot;

use super::clock;
use super::persistence::SaveError;
use super::shared::{Control, Core, Shared};
use crate::config::ShutdownOptions;
use crate::engine::facts::ShutdownPhase;
use crate::engine::load::Loading;
use crate::engine::pause::{Pause, Reason};
use crate::engine::request::Shutdown;

/// What SHUTDOWN answers if the node goes on.
const FAILED: &str = "ERR Errors trying to SHUTDOWN. Check logs.";
/// How often a shutdown looks whether DEBUG PAUSE-CRON or a save that was called off is over.
const POLL: Duration = Duration::from_millis(10);

/// Shuts down on SIGTERM and SIGINT; a second SIGINT meanwhile ends the process at once. A lost terminal ends nothing.
pub async fn on_signals(shared: Arc<Shared>) {
    let watched = [SignalKind::terminate(), SignalKind::interrupt(), SignalKind::hangup()].map(signal);
    // SIGHUP is only watched lest it end the process.
    let [Ok(mut term), Ok(mut int), Ok(_hangup)] = watched else {
        warning!("Signals cannot be handled: SIGTERM will end this node without a save");
        return;
    };
    loop {
        let (name, options) = tokio::select! {
            _ = term.recv() => ("SIGTERM", shared.lock().engine.config.shutdown_on_sigterm),
            _ = int.recv() => ("SIGINT", shared.lock().engine.config.shutdown_on_sigint),
        };
        match shared.lock().engine.loading {
            Loading::Exclusive => warning!("Received shutdown signal during loading, scheduling shutdown."),
            Loading::No | Loading::Async => warning!("Received {name} scheduling shutdown..."),
        }
        let mut over = shared.request_shutdown(from_config(options), true);
        loop {
            tokio::select! {
                _ = &mut over => break,
                _ = term.recv() => warning!("Received SIGTERM scheduling shutdown..."),
                _ = int.recv() => {
                    warning!("You insist... exiting now.");
                    shared.service.stopping();
                    shared.remove_files();
                    std::process::exit(1);
                }
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

/// Carries out, one after the other, the shutdowns that are asked for.
pub async fn serve(shared: Arc<Shared>, mut requests: UnboundedReceiver<Control>) {
    while let Some(request) = requests.recv().await {
        if let Control::Shutdown { options, by_signal, answer } = request {
            let attempt = Attempt { shared: &shared, requests: &mut requests, answers: vec![answer] };
            attempt.run(options, by_signal).await;
        }
    }
}

impl Shared {
    /// Asks for a shutdown. What is returned yields the error reply, should the process go on.
    fn request_shutdown(&self, options: Shutdown, by_signal: bool) -> oneshot::Receiver<String> {
        self.lock().engine.facts.process.shutdown.get_or_insert(ShutdownPhase::Requested);
        let (answer, over) = oneshot::channel();
        // The control thread serves requests until the process ends.
        let _ = self.control.send(Control::Shutdown { options, by_signal, answer });
        over
    }

    /// SHUTDOWN: ends the process with exit code 0, or tells why not.
    pub async fn shutdown(&self, options: Shutdown) -> String {
        self.request_shutdown(options, false).await.unwrap_or_else(|_| FAILED.into())
    }

    /// Saves, after the save that is under way has been called off.
    async fn final_save(self: &Arc<Self>) -> Result<(), SaveError> {
        loop {
            let shared = self.clone();
            match tokio::task::spawn_blocking(move || shared.save(false)).await {
                Ok(Err(SaveError::Busy)) => tokio::time::sleep(POLL).await,
                Ok(result) => return result,
                Err(fault) => std::panic::resume_unwind(fault.into_panic()),
            }
        }
    }

    /// Removes what must not outlive the process: the pid file, and a snapshot that was not completed.
    pub fn remove_files(&self) {
        if let Some(pidfile) = &self.pidfile {
            pidfile.remove();
        }
        // There is none, mostly.
        let _ = std::fs::remove_file(format!("temp-{}.rdb", std::process::id()));
    }
}

/// A shutdown under way.
struct Attempt<'a> {
    shared: &'a Arc<Shared>,
    requests: &'a mut UnboundedReceiver<Control>,
    /// Those who asked for it.
    answers: Vec<oneshot::Sender<String>>,
}

/// SHUTDOWN ABORT came.
struct Aborted;

impl Attempt<'_> {
    async fn run(mut self, options: Shutdown, by_signal: bool) {
        match self.wait(options, by_signal).await {
            Ok(()) => self.finish(options).await,
            Err(Aborted) => warning!("Shutdown manually aborted."),
        }
        let shared = self.shared;
        let mut core = shared.lock();
        core.engine.facts.process.shutdown = None;
        core.engine.now_ms = clock::unix_ms();
        core.engine.unpause(Reason::Shutdown);
        let _ = shared.deliver(&mut core);
        drop(core);
        shared.tell_status();
        for answer in self.answers {
            // Who has gone meanwhile needs no answer.
            let _ = answer.send(FAILED.into());
        }
    }

    /// Waits until the timer lets a signal act, and then for replicas that lack writes.
    async fn wait(&mut self, options: Shutdown, by_signal: bool) -> Result<(), Aborted> {
        while by_signal && self.shared.lock().engine.cron_paused {
            self.sleep(POLL).await?;
        }
        notice!("User requested shutdown...");
        let Some(deadline_ms) = self.begin_to_wait(options) else { return Ok(()) };
        loop {
            let acknowledged = self.shared.acknowledged.notified();
            tokio::pin!(acknowledged);
            acknowledged.as_mut().enable();
            let left_ms = deadline_ms - clock::unix_ms();
            if left_ms <= 0 || lagging(&self.shared.lock()).is_empty() {
                return Ok(());
            }
            // A replica that goes away, and with it the wait for it, acknowledges nothing.
            let left = Duration::from_millis(left_ms.min(100) as u64);
            tokio::select! {
                request = self.requests.recv() => self.take(request)?,
                () = acknowledged => {}
                () = tokio::time::sleep(left) => {}
            }
        }
    }

    async fn sleep(&mut self, time: Duration) -> Result<(), Aborted> {
        tokio::select! {
            request = self.requests.recv() => self.take(request),
            () = tokio::time::sleep(time) => Ok(()),
        }
    }

    fn take(&mut self, request: Option<Control>) -> Result<(), Aborted> {
        match request {
            Some(Control::Shutdown { answer, .. }) => self.answers.push(answer),
            Some(Control::AbortShutdown) => return Err(Aborted),
            None => {}
        }
        Ok(())
    }

    /// Has writes wait if a replica lacks any, and asks it to say how far it is. Returns the Unix time
    /// in ms until which that is waited for.
    fn begin_to_wait(&self, options: Shutdown) -> Option<i64> {
        let shared = self.shared;
        let mut core = shared.lock();
        let timeout_ms = i64::from(core.engine.config.shutdown_timeout_secs) * 1000;
        if options.now || timeout_ms == 0 || lagging(&core).is_empty() {
            return None;
        }
        core.engine.now_ms = clock::unix_ms();
        let deadline_ms = core.engine.now_ms + timeout_ms;
        core.engine.facts.process.shutdown = Some(ShutdownPhase::WaitsUntil(deadline_ms));
        if !core.engine.writes_paused() {
            core.engine.replication.feed.put_getack();
        }
        core.engine.pause(Reason::Shutdown, Pause::WRITES);
        let _ = shared.deliver(&mut core);
        drop(core);
        shared.flush_replicas();
        notice!("Waiting for replicas before shutting down.");
        shared.tell_status();
        Some(deadline_ms)
    }

    /// Saves and ends the process; returns if it cannot.
    async fn finish(&self, options: Shutdown) {
        let shared = self.shared;
        let wanted = {
            let mut core = shared.lock();
            core.engine.now_ms = clock::unix_ms();
            core.engine.facts.process.shutdown = Some(ShutdownPhase::Saves);
            core.engine.pause(Reason::Shutdown, Pause::WRITES);
            let _ = shared.deliver(&mut core);
            log_lagging(&core);
            if core.call_off_save() {
                warning!("There is a child saving an .rdb. Killing it!");
            }
            // What is loaded so far is less than what the file holds.
            core.engine.loading != Loading::Exclusive
                && options.save.unwrap_or(!core.engine.config.save.is_empty())
        };
        if wanted {
            notice!("Saving the final RDB snapshot before exiting.");
            shared.tell_status();
            if shared.final_save().await.is_err() {
                if !options.force {
                    warning!("Error trying to save the DB, can't exit.");
                    shared.lock().engine.facts.process.cannot_exit = true;
                    warning!("Errors trying to shut down the server. Check the logs for more information.");
                    return;
                }
                warning!("Error trying to save the DB. Exit anyway.");
            }
        }
        shared.service.stopping();
        shared.flush_replicas();
        shared.remove_files();
        warning!("Redis is now ready to exit, bye bye...");
        std::process::exit(0);
    }
}

fn lagging(core: &Core) -> Vec<String> {
    let engine = &core.engine;
    engine.replication.feed.lagging(engine.monotonic_ms(), engine.effects.offset())
}

fn log_lagging(core: &Core) {
    let (lagging, count) = (lagging(core), core.engine.replication.feed.replica_count());
    for replica in &lagging {
        notice!("Lagging replica {replica}.");
    }
    if count > 0 {
        notice!("{} of {count} replicas are in sync when shutting down.", count - lagging.len());
    }
}
