//! Carries out what a command asked of the outside, and answers in its place.

use std::sync::Arc;
use std::time::Duration;

use redoubt_wire::replace::replace;
use redoubt_wire::resp::reply::{Protocol, Reply};
use redoubt_wire::{log, notice, warning};

use super::persistence::SaveError;
use super::shared::Shared;
use super::{acl, clock};
use crate::config::{ChangeError, LogLevel};
use crate::engine::load::Loading;
use crate::engine::request::Task;
use crate::engine::session::ClientId;

impl Shared {
    /// Carries `task` out for `client` and returns the encoded reply.
    pub async fn perform(self: &Arc<Self>, client: ClientId, task: Task, protocol: Protocol) -> Vec<u8> {
        let mut reply = Reply::new(protocol);
        match task {
            Task::Freeze { us } => {
                // Everything stands still: the lock keeps the commands away, and the control
                // thread waits for the lock as soon as it looks at the engine.
                let _core = self.lock();
                std::thread::sleep(Duration::from_micros(us));
                reply.ok();
            }
            Task::Save => match self.save_blocking().await {
                Ok(()) => reply.ok(),
                Err(SaveError::Busy) => reply.error("ERR Background save already in progress"),
                Err(error) => reply.error(&format!("ERR {error}")),
            },
            Task::Bgsave { schedule } => match self.background_save() {
                Ok(()) => reply.simple("Background saving started"),
                Err(SaveError::Busy) if schedule => {
                    self.lock().saving.scheduled = true;
                    reply.simple("Background saving scheduled");
                }
                Err(_) => reply.error("ERR Background save already in progress"),
            },
            Task::ConfigRewrite => match self.rewrite_config() {
                Ok(()) => reply.ok(),
                Err(text) => reply.error(&text),
            },
            Task::ConfigApply { changed, previous } => match self.apply_config(&changed) {
                Ok(()) => reply.ok(),
                Err((name, reason)) => {
                    self.lock().engine.adopt(*previous, None);
                    reply.error(&ChangeError::failed(name, reason).to_string());
                }
            },
            Task::Genpass { digits } => reply.bulk(acl::new_password(digits).as_bytes()),
            Task::AclLoad { file } => {
                let shared = self.clone();
                match blocking(move || shared.load_users(client, &file)).await {
                    Ok(()) => reply.ok(),
                    Err(text) => reply.error(&format!("ERR {text}")),
                }
            }
            Task::AclSave { file, text } => match blocking(move || acl::save_users(&file, &text)).await {
                Ok(()) => reply.ok(),
                Err(text) => reply.error(text),
            },
            Task::Shutdown(options) => {
                let text = self.shutdown(options).await;
                reply.error(&text);
            }
            Task::Reload { no_flush, no_save } => match self.reload(no_flush, no_save).await {
                Ok(()) => reply.ok(),
                Err(error) => {
                    warning!("DEBUG RELOAD: {error}");
                    reply.error("ERR Error trying to load the RDB dump, check server logs.");
                }
            },
            Task::Wait { offset, replicas, timeout_ms } => {
                self.wait_for_replicas(offset, replicas, timeout_ms, &mut reply).await;
            }
        }
        reply.buf
    }

    /// WAIT: until enough replicas have acknowledged the stream up to `offset`, or the time is over.
    async fn wait_for_replicas(&self, offset: u64, replicas: usize, timeout_ms: u64, reply: &mut Reply) {
        let start_ms = clock::monotonic_ms();
        loop {
            let acknowledged = self.acknowledged.notified();
            tokio::pin!(acknowledged);
            acknowledged.as_mut().enable();
            let (is_master, have) = {
                let core = self.lock();
                (core.engine.is_master(), core.engine.replication.feed.count_acks(offset))
            };
            if !is_master {
                return reply.error("UNBLOCKED force unblock from blocking operation, instance state changed (master -> replica?)");
            }
            let left_ms = match timeout_ms {
                0 => u64::MAX,
                limit => limit.saturating_sub(clock::monotonic_ms() - start_ms),
            };
            if have >= replicas || left_ms == 0 {
                return reply.integer(have as i64);
            }
            let _ = tokio::time::timeout(Duration::from_millis(left_ms), acknowledged).await;
        }
    }

    async fn save_blocking(self: &Arc<Self>) -> Result<(), SaveError> {
        let shared = self.clone();
        blocking(move || shared.save(false)).await
    }

    /// DEBUG RELOAD: saves, empties, loads.
    async fn reload(self: &Arc<Self>, no_flush: bool, no_save: bool) -> Result<(), SaveError> {
        if !no_save {
            self.save_blocking().await?;
        }
        let shared = self.clone();
        let load = move || -> Result<(), SaveError> {
            {
                let mut core = shared.lock();
                if !no_flush {
                    core.engine.flush_all();
                }
                core.engine.loading = Loading::Exclusive;
            }
            let result = shared.load_file(false);
            shared.lock().engine.loading = Loading::No;
            result.map_err(SaveError::from)
        };
        blocking(load).await
    }

    /// Writes the directives in force into the configuration file, as a whole or not at all.
    pub fn rewrite_config(&self) -> Result<(), String> {
        let Some(file) = &self.config_file else {
            return Err("ERR The server is running without a config file".into());
        };
        if file.extension().is_some_and(|e| e == "yaml" || e == "yml") {
            return Err(format!(
                "ERR Rewriting config file: {} is YAML, which this version reads and does not write",
                file.display()
            ));
        }
        let (config, users) = {
            let engine = &self.lock().engine;
            (engine.config.clone(), engine.user_lines())
        };
        let old = match std::fs::read(file) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
            other => other,
        };
        old.and_then(|old| replace(file, &config.rewrite(&old, users))).map_err(|error| {
            warning!("CONFIG REWRITE failed: {}: {error}", file.display());
            format!("ERR Rewriting config file: {error}")
        })?;
        notice!("CONFIG REWRITE executed with success.");
        Ok(())
    }

    /// Brings the outside into line with directives that have changed.
    fn apply_config(&self, changed: &[&'static str]) -> Result<(), (&'static str, String)> {
        let config = self.lock().engine.config.clone();
        for &name in changed {
            match name {
                "dir" => {
                    let enter = std::env::set_current_dir(&config.dir).and_then(|()| std::env::current_dir());
                    self.lock().engine.config.dir = enter.map_err(|e| (name, e.to_string()))?;
                }
                "port" | "bind" => {
                    return Err((name, "listening elsewhere needs a restart in this version".to_string()));
                }
                "loglevel" => log::set_level(log_level(config.loglevel)),
                _ => {}
            }
        }
        self.lock().engine.configure_replication();
        // Its timers may be due at another time now.
        self.replication.notify_one();
        Ok(())
    }

    /// Waits until a pause ends: what it holds back may be let through then.
    pub async fn pause_over(&self) {
        let ended = self.unpaused.notified();
        let now_ms = clock::unix_ms();
        let Some(end_ms) = self.lock().engine.pauses.next_end_ms(now_ms) else { return };
        let left = Duration::from_millis((end_ms - now_ms) as u64);
        // A pause without end is ended by somebody.
        let _ = tokio::time::timeout(left, ended).await;
    }
}

/// The log's name of a level.
pub fn log_level(level: LogLevel) -> log::Level {
    match level {
        LogLevel::Debug => log::Level::Debug,
        LogLevel::Verbose => log::Level::Verbose,
        LogLevel::Notice => log::Level::Notice,
        LogLevel::Warning => log::Level::Warning,
        LogLevel::Nothing => log::Level::Nothing,
    }
}

/// Carries out on a thread of the pool what may block.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(fault) => std::panic::resume_unwind(fault.into_panic()),
    }
}
