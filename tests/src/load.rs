//! Writers that keep book of what was acknowledged.
//!
//! Every write has a key of its own, and counts only once its `+OK` has arrived; reading
//! all of these keys back at the end shows exactly which acknowledged writes were lost.
//! The instants of the last acknowledgement by one master and the first by the next are
//! the outage as clients feel it.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use redis::RedisResult;
use redis::aio::MultiplexedConnection;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client::{self, PATIENT};
use crate::discovery::{Discovery, Reporter};
use crate::error::{LabError, Result};

/// How long an answer may take before a writer gives its connection up.
const ANSWER_LIMIT: Duration = Duration::from_millis(250);
const RETRY_PAUSE: Duration = Duration::from_millis(5);
const READ_BACK_BATCH: usize = 500;

/// How hard the writers work.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How many connections write.
    pub writers: usize,
    /// The pause between a writer's writes; zero: as fast as they are acknowledged.
    pub interval: Duration,
}

/// The move of the load from one master to the next.
#[derive(Debug, Clone, Copy)]
pub struct Handover {
    /// The new master.
    pub to: SocketAddr,
    /// The last acknowledgement by the old one.
    pub last: Instant,
    /// The first by the new one.
    pub first: Instant,
}

#[derive(Debug, Default)]
struct Ledger {
    /// By writer, the sequence numbers of its acknowledged writes.
    acknowledged: Vec<Vec<u64>>,
    total: u64,
    latest: Option<(SocketAddr, Instant)>,
    handovers: Vec<Handover>,
    /// By writer, when it was acknowledged last.
    last: Vec<Option<Instant>>,
    /// The longest time that a writer had to wait from one acknowledgement to the next.
    longest_pause: Duration,
}

impl Ledger {
    fn acknowledge(&mut self, writer: usize, sequence: u64, by: SocketAddr, at: Instant) {
        if let Some((before, last)) = self.latest
            && before != by
        {
            self.handovers.push(Handover { to: by, last, first: at });
        }
        self.latest = Some((by, at));
        if let Some(before) = self.last[writer].replace(at) {
            self.longest_pause = self.longest_pause.max(at - before);
        }
        self.total += 1;
        self.acknowledged[writer].push(sequence);
    }
}

/// Running writers.
#[derive(Debug)]
pub struct Load {
    prefix: String,
    ledger: Arc<Mutex<Ledger>>,
    tasks: JoinSet<()>,
}

impl Load {
    /// Starts writing, under keys that begin with `prefix`, to whichever master is discovered.
    pub fn start(discovery: &Discovery, prefix: &str, pace: Pace) -> Load {
        let ledger = Ledger {
            acknowledged: vec![Vec::new(); pace.writers],
            last: vec![None; pace.writers],
            ..Ledger::default()
        };
        let ledger = Arc::new(Mutex::new(ledger));
        let mut tasks = JoinSet::new();
        for number in 0..pace.writers {
            let writer = Writer {
                number,
                prefix: prefix.to_string(),
                sequence: 0,
                interval: pace.interval,
                ledger: ledger.clone(),
            };
            tasks.spawn(writer.run(discovery.master(), discovery.reporter()));
        }
        Load { prefix: prefix.to_string(), ledger, tasks }
    }

    /// How many writes were acknowledged so far.
    pub fn total(&self) -> u64 {
        lock(&self.ledger).total
    }

    /// A handle to the count for a view that runs beside.
    pub fn counter(&self) -> impl Fn() -> u64 + Send + use<> {
        let ledger = self.ledger.clone();
        move || lock(&ledger).total
    }

    /// Waits until `count` more writes were acknowledged.
    pub async fn advances(&self, count: u64, limit: Duration) -> Result<()> {
        let start = self.total();
        crate::wait::until(&format!("{count} more writes are acknowledged"), limit, async || {
            match self.total() - start {
                more if more >= count => Ok(()),
                more => Err(format!("{more} were")),
            }
        })
        .await
    }

    /// Waits for the first acknowledgement by another master after `fault`.
    pub async fn handover_since(&self, fault: Instant, limit: Duration) -> Result<Handover> {
        crate::wait::until("another master acknowledges a write", limit, async || {
            let ledger = lock(&self.ledger);
            ledger.handovers.iter().find(|handover| handover.first > fault).copied().ok_or_else(|| {
                let latest =
                    ledger.latest.map(|(by, at)| format!("{by}, {:.3} s ago", at.elapsed().as_secs_f64()));
                format!("the last acknowledgement was by {}", latest.unwrap_or("nobody".into()))
            })
        })
        .await
    }

    /// The longest pause of any writer that ended since this was asked for last.
    pub fn take_longest_pause(&self) -> Duration {
        std::mem::take(&mut lock(&self.ledger).longest_pause)
    }

    /// Stops the writers. What is in flight then counts as not acknowledged.
    pub async fn stop(&mut self) {
        self.tasks.shutdown().await;
    }

    /// Reads every acknowledged write back from `node`; returns the keys whose value is not there.
    pub async fn missing_on(&self, node: SocketAddr) -> Result<Vec<String>> {
        let entries: Vec<(String, u64)> = {
            let ledger = lock(&self.ledger);
            let all = ledger.acknowledged.iter().enumerate();
            all.flat_map(|(writer, list)| list.iter().map(move |n| (writer, *n)))
                .map(|(writer, sequence)| (key(&self.prefix, writer, sequence), sequence))
                .collect()
        };
        let failed = || LabError::redis(format!("reading back from {node}"));
        let mut connection = client::connect(node, PATIENT).await.map_err(failed())?;
        let mut missing = Vec::new();
        for batch in entries.chunks(READ_BACK_BATCH) {
            let mut mget = redis::cmd("MGET");
            for (key, _) in batch {
                mget.arg(key);
            }
            let values: Vec<Option<u64>> = mget.query_async(&mut connection).await.map_err(failed())?;
            let wrong = batch.iter().zip(values).filter(|((_, sequence), value)| *value != Some(*sequence));
            missing.extend(wrong.map(|((key, _), _)| key.clone()));
        }
        Ok(missing)
    }
}

fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}

fn key(prefix: &str, writer: usize, sequence: u64) -> String {
    format!("{prefix}:{writer}:{sequence}")
}

#[derive(Debug)]
struct Writer {
    number: usize,
    prefix: String,
    sequence: u64,
    interval: Duration,
    ledger: Arc<Mutex<Ledger>>,
}

impl Writer {
    async fn run(mut self, mut master: watch::Receiver<SocketAddr>, reporter: Reporter) {
        let mut trouble = None;
        loop {
            let target = *master.borrow_and_update();
            tokio::select! {
                biased;
                changed = master.changed() => if changed.is_err() { return },
                // It returns only by failing; the reason is of no use, the next attempt is.
                _ = self.write_to(target, &mut trouble) => {
                    trouble.get_or_insert_with(|| reporter.trouble());
                    tokio::time::sleep(RETRY_PAUSE).await;
                }
            }
        }
    }

    async fn write_to<T>(&mut self, target: SocketAddr, trouble: &mut Option<T>) -> RedisResult<()> {
        let mut connection = connect_to_master(target).await?;
        let mut ticks = (!self.interval.is_zero()).then(|| tokio::time::interval(self.interval));
        if let Some(ticks) = &mut ticks {
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        }
        loop {
            if let Some(ticks) = &mut ticks {
                ticks.tick().await;
            }
            // A number is never used twice: what failed may have been executed all the same.
            self.sequence += 1;
            let mut set = redis::cmd("SET");
            set.arg(key(&self.prefix, self.number, self.sequence)).arg(self.sequence);
            let () = set.query_async(&mut connection).await?;
            *trouble = None;
            lock(&self.ledger).acknowledge(self.number, self.sequence, target, Instant::now());
        }
    }
}

/// Connects, and makes sure that it is a master, as the guidelines for Sentinel clients ask.
async fn connect_to_master(addr: SocketAddr) -> RedisResult<MultiplexedConnection> {
    let mut connection = client::connect(addr, ANSWER_LIMIT).await?;
    let role: Vec<redis::Value> = redis::cmd("ROLE").query_async(&mut connection).await?;
    match role.first() {
        Some(redis::Value::BulkString(name)) if name == b"master" => Ok(connection),
        _ => Err((redis::ErrorKind::UnexpectedReturnType, "not a master").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_handover_spans_the_gap_between_two_masters() {
        let (a, b) = ("127.0.0.1:1".parse().unwrap(), "127.0.0.1:2".parse().unwrap());
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let mut ledger =
            Ledger { acknowledged: vec![vec![], vec![]], last: vec![None; 2], ..Ledger::default() };
        ledger.acknowledge(0, 1, a, at(0));
        ledger.acknowledge(1, 1, a, at(10));
        ledger.acknowledge(0, 3, b, at(1010));
        ledger.acknowledge(1, 2, b, at(1020));
        let [handover] = ledger.handovers[..] else { panic!("{:?}", ledger.handovers) };
        assert_eq!((handover.to, handover.first - handover.last), (b, Duration::from_millis(1000)));
        assert_eq!((ledger.total, &ledger.acknowledged[0]), (4, &vec![1, 3]));
        assert_eq!(ledger.longest_pause, Duration::from_millis(1010), "each writer's own");
    }
}
