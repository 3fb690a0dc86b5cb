//! From the command line to a running node, and from there to its exit code.

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use redoubt_wire::directives::CommandLine;

use super::clock;
use super::listener::Listeners;
use super::shared::Shared;
use super::worker::Workers;
use crate::config::Config;
use crate::engine::Engine;

/// Runs the node that `args` (without the program's name) ask for.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    let loaded =
        CommandLine::parse(args).load(&mut std::io::stdin()).and_then(|directives| Config::load(&directives));
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("\n{error}");
            return ExitCode::FAILURE;
        }
    };
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("Can't start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(run(loaded.config))
}

async fn run(config: Config) -> ExitCode {
    let listeners = match Listeners::bind(&config) {
        Ok(listeners) => listeners,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::FAILURE;
        }
    };
    let workers = match Workers::start(config.io_threads as usize) {
        Ok(workers) => Arc::new(workers),
        Err(error) => {
            eprintln!("Can't start the worker threads: {error}");
            return ExitCode::FAILURE;
        }
    };
    let (control, mut requests) = tokio::sync::mpsc::unbounded_channel();
    let (trash, mut garbage) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || while garbage.blocking_recv().is_some() {});
    let seed = rand::random();
    let shared = Arc::new(Shared::new(Engine::new(config, seed, clock::monotonic_ns), control, trash));
    tokio::spawn(listeners.accept(shared, workers));
    while requests.recv().await.is_some() {}
    ExitCode::SUCCESS
}
