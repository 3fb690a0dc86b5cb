//! `bench watch`: what it costs one Sentinel to watch many masters, and whether it still sees in time that one
//! of them hangs.
//!
//! The nodes are played by this process. The quorum is two and there is no second Sentinel, so that nothing is failed
//! over and every round finds the same.

use std::collections::HashMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rand::seq::IndexedRandom;
use redis::Client;
use redis::aio::PubSub;
use serde::Serialize;

use super::table::{Table, figure};
use super::{median, procfs};
use crate::error::{LabError, Result};
use crate::played::PlayedPair;
use crate::scratch::Scratch;
use crate::server::{Server, ServerSpec};
use crate::wait;

/// How long a Sentinel may take to know all nodes and be connected to them.
const KNOWN_LIMIT: Duration = Duration::from_secs(60);
/// What follows the connecting (subscriptions, first INFOs, writing the file) is over after this.
const SETTLE: Duration = Duration::from_secs(3);

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// The Sentinels with the names that the report gives them.
    pub sentinels: Vec<(String, PathBuf)>,
    /// How many masters, each with a replica; one is measured as well, for comparison.
    pub masters: usize,
    /// `down-after-milliseconds`.
    pub down_after_ms: u64,
    /// How long the processor time is measured.
    pub duration: Duration,
    /// How many masters hang, one after the other.
    pub rounds: usize,
    /// Keep the Sentinels' directories.
    pub keep: bool,
}

/// What watching so many masters showed.
#[derive(Debug, Clone, Serialize)]
pub struct Watching {
    /// The Sentinel's name in the report.
    pub sentinel: String,
    /// How many masters it watched.
    pub masters: usize,
    /// Processor time while nothing happened, in percent of one core.
    pub cpu_percent: f64,
    /// From the moment a master hung until `+sdown` reached a subscriber, in milliseconds.
    pub detections_ms: Vec<f64>,
}

/// Measures one Sentinel after the other, each with one master and with all.
pub async fn run(options: &Options) -> Result<Vec<Watching>> {
    allow_many_connections()?;
    let mut results = Vec::new();
    for (name, program) in &options.sentinels {
        for masters in [1, options.masters] {
            let watching = watch(options, name, program, masters).await?;
            eprintln!("{name}, {masters} masters: {:.2} % of a core", watching.cpu_percent);
            results.push(watching);
        }
    }
    Ok(results)
}

/// Each master takes two connections to each of its nodes, and each of those has an end here and one there.
fn allow_many_connections() -> Result<()> {
    let errno = |what| LabError::errno(format!("cannot {what} the limit of open files"));
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).map_err(errno("read"))?;
    setrlimit(Resource::RLIMIT_NOFILE, most, most).map_err(errno("raise"))
}

async fn watch(options: &Options, name: &str, program: &std::path::Path, masters: usize) -> Result<Watching> {
    let mut pairs = Vec::new();
    for _ in 0..masters {
        pairs.push(PlayedPair::start().await?);
    }
    let mut spec = ServerSpec::with_file("sentinel", program, &[]);
    for (number, pair) in pairs.iter().enumerate() {
        spec = spec
            .line(format!("sentinel monitor m{number} 127.0.0.1 {} 2", pair.port()))
            .line(format!("sentinel down-after-milliseconds m{number} {}", options.down_after_ms));
    }
    let scratch = Scratch::new(options.keep)?;
    let sentinel = spec.start(&scratch).await?;
    knows_all(&sentinel, masters).await?;
    tokio::time::sleep(SETTLE).await;

    let (pid, before, since) = (sentinel.pid()?, procfs::cpu_time_ns(sentinel.pid()?)?, Instant::now());
    tokio::time::sleep(options.duration).await;
    let used_ns = procfs::cpu_time_ns(pid)? - before;
    let cpu_percent = used_ns as f64 / since.elapsed().as_nanos() as f64 * 100.0;

    let mut events = subscribe(&sentinel).await?;
    let mut detections_ms = Vec::new();
    let limit = Duration::from_millis(options.down_after_ms * 3 + 5_000);
    for _ in 0..options.rounds {
        let (number, pair) = pairs
            .iter()
            .enumerate()
            .collect::<Vec<_>>()
            .choose(&mut rand::rng())
            .copied()
            .ok_or_else(|| LabError::Other("there are no masters".into()))?;
        // At any point between two probes.
        tokio::time::sleep(Duration::from_millis(rand::random_range(0..1_000))).await;
        let hung_at = Instant::now();
        pair.set_hung(true);
        let seen_at = heard(&mut events, "+sdown", number, limit).await?;
        detections_ms.push((seen_at - hung_at).as_secs_f64() * 1_000.0);
        pair.set_hung(false);
        heard(&mut events, "-sdown", number, limit).await?;
    }
    Ok(Watching { sentinel: name.into(), masters, cpu_percent, detections_ms })
}

/// Waits until the Sentinel knows the replica of each master and sees nothing wrong.
async fn knows_all(sentinel: &Server, masters: usize) -> Result<()> {
    wait::until("the Sentinel knows all nodes", KNOWN_LIMIT, async || {
        let seen: Vec<HashMap<String, String>> =
            sentinel.ask(&["SENTINEL", "MASTERS"]).await.map_err(|error| error.to_string())?;
        let field = |one: &HashMap<String, String>, name: &str| one.get(name).cloned().unwrap_or_default();
        let whole =
            seen.iter().filter(|one| field(one, "flags") == "master" && field(one, "num-slaves") == "1");
        match whole.count() {
            count if count == masters => Ok(()),
            count => Err(format!("{count} of {masters} masters with their replicas")),
        }
    })
    .await
}

async fn subscribe(sentinel: &Server) -> Result<PubSub> {
    let failed = || LabError::redis(format!("subscribing to {}", sentinel.addr()));
    let client = Client::open(format!("redis://{}/", sentinel.addr())).map_err(failed())?;
    let mut events = client.get_async_pubsub().await.map_err(failed())?;
    events.psubscribe("?sdown").await.map_err(failed())?;
    Ok(events)
}

/// Waits for that event about that master; others that come before it are an error, as nothing else was done.
async fn heard(events: &mut PubSub, channel: &str, master: usize, limit: Duration) -> Result<Instant> {
    let wanted = format!("master m{master} ");
    let mut stream = events.on_message();
    let message = tokio::time::timeout(limit, stream.next()).await;
    let at = Instant::now();
    let Ok(Some(message)) = message else {
        return Err(LabError::Other(format!("no {channel} {wanted}within {} s", limit.as_secs())));
    };
    let text = String::from_utf8_lossy(message.get_payload_bytes()).into_owned();
    if message.get_channel_name() != channel || !text.starts_with(&wanted) {
        let what = message.get_channel_name();
        return Err(LabError::Other(format!("expected {channel} {wanted}but heard {what} {text}")));
    }
    Ok(at)
}

/// The table.
pub fn table(results: &[Watching]) -> Table {
    let mut table = Table::new(&["sentinel", "masters", "% of a core", "detection", "best", "worst"]);
    for watching in results {
        let times = || watching.detections_ms.iter().copied();
        table.row(vec![
            watching.sentinel.clone(),
            watching.masters.to_string(),
            figure(Some(watching.cpu_percent), 2),
            figure(median(times()), 0),
            figure(times().min_by(f64::total_cmp), 0),
            figure(times().max_by(f64::total_cmp), 0),
        ]);
    }
    table
}
