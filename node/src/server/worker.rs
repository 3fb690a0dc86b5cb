//! Workers: threads that serve connections, each with a readiness loop of its own.

use std::future::Future;
use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::runtime::{Builder, Handle};

/// The threads that serve connections. They live as long as the process.
#[derive(Debug)]
pub struct Workers {
    handles: Vec<Handle>,
    next: AtomicUsize,
}

impl Workers {
    /// Starts `count` threads.
    pub fn start(count: usize) -> io::Result<Workers> {
        let mut handles = Vec::with_capacity(count);
        for number in 0..count {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            handles.push(runtime.handle().clone());
            thread::Builder::new()
                .name(format!("io-{number}"))
                .spawn(move || runtime.block_on(std::future::pending::<()>()))?;
        }
        Ok(Workers { handles, next: AtomicUsize::new(0) })
    }

    /// Runs `connection` on the next worker in turn. It must register its socket itself, since
    /// a socket belongs to the loop of the thread that first polls it.
    pub fn spawn(&self, connection: impl Future<Output = ()> + Send + 'static) {
        let turn = self.next.fetch_add(1, Ordering::Relaxed);
        self.handles[turn % self.handles.len()].spawn(connection);
    }
}
