//! Carries out what a command asked of the outside, and answers in its place.

use std::time::Duration;

use redoubt_wire::resp::reply::{Protocol, Reply};

use super::clock;
use super::shared::Shared;
use crate::engine::request::Task;
use crate::engine::session::ClientId;

impl Shared {
    /// Carries `task` out for `client` and returns the encoded reply.
    pub async fn perform(&self, _client: ClientId, task: Task, protocol: Protocol) -> Vec<u8> {
        let mut reply = Reply::new(protocol);
        match task {
            Task::Freeze { us } => {
                // Everything stands still: the lock keeps the commands away, and the control
                // thread waits for the lock as soon as it looks at the engine.
                let _core = self.lock();
                std::thread::sleep(Duration::from_micros(us));
                reply.ok();
            }
            task => reply.error(&format!("ERR {task:?} is not available")),
        }
        reply.buf
    }

    /// Waits until CLIENT PAUSE is over.
    pub async fn pause_over(&self) {
        loop {
            let changed = self.unpaused.notified();
            let Some(pause) = self.lock().engine.pause else { return };
            let left = pause.until_ms - clock::unix_ms();
            if left <= 0 {
                return;
            }
            tokio::select! {
                () = changed => {}
                () = tokio::time::sleep(Duration::from_millis(left as u64)) => {}
            }
        }
    }
}
