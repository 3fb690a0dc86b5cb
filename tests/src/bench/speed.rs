//! `bench speed`: processor time per request, throughput and latency, server by server.
//!
//! The server has one core, the client another. Rounds alternate between the servers, so
//! that a drift of the machine (heat, neighbours) falls on all of them, and medians of
//! the rounds are compared. The processor time per request is the steadiest figure: it
//! hardly depends on how fast the client is.

use std::net::SocketAddr;
use std::time::Duration;

use nix::sched::sched_getaffinity;
use nix::unistd::Pid;
use serde::Serialize;

use super::loadgen::{self, KEY_PREFIX, Request, Workload};
use super::table::{Table, figure};
use super::{Contestant, median, procfs};
use crate::error::{LabError, Result};
use crate::launcher::pin_to;
use crate::scratch::Scratch;
use crate::server::{Server, ServerSpec};

/// Options that every Redis-compatible server takes: no persistence, in the foreground.
pub const PLAIN_OPTIONS: [&str; 6] = ["--save", "", "--appendonly", "no", "--daemonize", "no"];

/// The name of the program that spends only what the kernel takes; it is no peer.
pub const FLOOR: &str = "bare-loop";

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// The servers; ratios are to the best of those after the first, [`FLOOR`] left out.
    pub contestants: Vec<Contestant>,
    /// Rounds of every workload and server.
    pub rounds: usize,
    /// How long one measurement takes.
    pub duration: Duration,
    /// How many different keys.
    pub keyspace: u64,
    /// Bytes of a value.
    pub value_size: usize,
    /// Connections.
    pub connections: usize,
    /// The pipelines to measure.
    pub pipelines: Vec<usize>,
    /// Keep the servers' directories.
    pub keep: bool,
}

/// One measurement.
#[derive(Debug, Clone, Serialize)]
pub struct Sample {
    /// The server.
    pub server: String,
    /// SET, GET or INCR.
    pub request: &'static str,
    /// Requests in one write.
    pub pipeline: usize,
    /// Processor time of the server for one request, in microseconds.
    pub cpu_us: f64,
    /// Requests a second.
    pub per_second: f64,
    /// The middle latency of a batch, in microseconds.
    pub p50_us: f64,
    /// The latency that one batch in a hundred exceeds, in microseconds.
    pub p99_us: f64,
}

/// Starts the servers, fills them, and runs all rounds, with a line on stderr for each.
pub async fn run(options: &Options) -> Result<Vec<Sample>> {
    let (server_core, client_core) = two_cores()?;
    let scratch = Scratch::new(options.keep)?;
    let mut servers = Vec::new();
    for contestant in &options.contestants {
        let spec = ServerSpec::with_options(&contestant.name, &contestant.program, &PLAIN_OPTIONS);
        servers.push(spec.on_core(Some(server_core)).start(&scratch).await?);
    }
    for server in &servers {
        eprintln!("filling {} with {} keys and as many counters ...", server.name(), options.keyspace);
        let (addr, keyspace, size) = (server.addr(), options.keyspace, options.value_size);
        aside(move || {
            loadgen::fill(addr, Request::Set { prefix: KEY_PREFIX, value_size: size }, keyspace)?;
            loadgen::fill(addr, Request::Incr, keyspace)
        })
        .await?;
    }
    let mut samples = Vec::new();
    for round in 1..=options.rounds {
        for (name, request) in requests(options.value_size) {
            for pipeline in &options.pipelines {
                let workload = Workload {
                    request,
                    keyspace: options.keyspace,
                    connections: options.connections,
                    pipeline: *pipeline,
                };
                for server in &servers {
                    samples.push(measure(server, name, workload, options.duration, client_core).await?);
                }
            }
        }
        eprintln!("round {round} of {} done", options.rounds);
    }
    Ok(samples)
}

fn requests(value_size: usize) -> [(&'static str, Request); 3] {
    [("SET", Request::Set { prefix: KEY_PREFIX, value_size }), ("GET", Request::Get), ("INCR", Request::Incr)]
}

async fn measure(
    server: &Server,
    request: &'static str,
    workload: Workload,
    duration: Duration,
    client_core: usize,
) -> Result<Sample> {
    let addr: SocketAddr = server.addr();
    let pid = server.pid()?;
    let (observed, cpu_ns) = aside(move || {
        pin_to(client_core)?;
        let before = procfs::cpu_time_ns(pid)?;
        let observed = loadgen::run(addr, workload, duration, rand::random())?;
        Ok((observed, procfs::cpu_time_ns(pid)? - before))
    })
    .await?;
    Ok(Sample {
        server: server.name().to_string(),
        request,
        pipeline: workload.pipeline,
        cpu_us: cpu_ns as f64 / 1_000.0 / observed.requests as f64,
        per_second: observed.per_second(),
        p50_us: observed.percentile_us(0.5),
        p99_us: observed.percentile_us(0.99),
    })
}

/// Runs blocking work on a thread of its own, so that Ctrl-C is still heard.
pub(super) async fn aside<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (done, result) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || done.send(work()));
    result.await.unwrap_or_else(|_| Err(LabError::Other("the load generator panicked".into())))
}

/// A core for the server and one for the client.
fn two_cores() -> Result<(usize, usize)> {
    let allowed =
        sched_getaffinity(Pid::from_raw(0)).map_err(LabError::errno("cannot ask which cores may be used"))?;
    let mut cores = (0..nix::sched::CpuSet::count()).filter(|core| allowed.is_set(*core).unwrap_or(false));
    match (cores.next(), cores.next()) {
        (Some(server), Some(client)) => Ok((server, client)),
        _ => Err(LabError::Other("two cores are needed: one for the server, one for the client".into())),
    }
}

/// The medians; the last columns compare the first server's with the best of the others. One of them does so with what
/// [`FLOOR`] takes subtracted from both: what is left is the servers' own doing.
pub fn table(options: &Options, samples: &[Sample]) -> Table {
    let mut table = Table::new(&[
        "request",
        "pipeline",
        "server",
        "CPU us/request",
        "requests/s",
        "p50 us",
        "p99 us",
        "CPU vs best peer",
        "above the bare loop",
        "requests/s vs best peer",
    ]);
    for (request, _) in requests(options.value_size) {
        for pipeline in &options.pipelines {
            let middle = |server: &str, value: fn(&Sample) -> f64| {
                let same = |sample: &&Sample| {
                    sample.server == server && sample.request == request && sample.pipeline == *pipeline
                };
                median(samples.iter().filter(same).map(value)).unwrap_or(f64::NAN)
            };
            let peers = || options.contestants.iter().skip(1).filter(|one| one.name != FLOOR);
            let least_cpu = peers().map(|peer| middle(&peer.name, |sample| sample.cpu_us)).reduce(f64::min);
            let most_requests =
                peers().map(|peer| middle(&peer.name, |sample| sample.per_second)).reduce(f64::max);
            let floor = options.contestants.iter().find(|one| one.name == FLOOR);
            let floor = floor.map(|one| middle(&one.name, |sample| sample.cpu_us));
            for (index, contestant) in options.contestants.iter().enumerate() {
                let name = &contestant.name;
                let cpu = middle(name, |sample| sample.cpu_us);
                let per_second = middle(name, |sample| sample.per_second);
                let ratio = |own: f64, best: Option<f64>| {
                    figure(best.filter(|_| index == 0).map(|best| own / best), 2)
                };
                table.row(vec![
                    request.into(),
                    pipeline.to_string(),
                    name.clone(),
                    figure(Some(cpu), 3),
                    figure(Some(per_second), 0),
                    figure(Some(middle(name, |sample| sample.p50_us)), 0),
                    figure(Some(middle(name, |sample| sample.p99_us)), 0),
                    ratio(cpu, least_cpu),
                    floor.map_or("-".into(), |floor| ratio(cpu - floor, least_cpu.map(|cpu| cpu - floor))),
                    ratio(per_second, most_requests),
                ]);
            }
        }
    }
    table
}
