//! `bench pauses`: how long one turn of a server keeps everybody else waiting, while its table grows and shrinks.
//!
//! One connection sends a few commands and waits for their answers, so that a turn of the server is these commands and
//! nothing else; its cost is what the serving thread's processor time has grown by. Wall time would measure the machine's other
//! tenants. Yet they show in processor time too (an interrupt, a cache lost), so the same is measured with a command that
//! touches no data: what its turns show is the machine, not the server.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::FileExt;
use std::time::Duration;

use serde::Serialize;

use super::Contestant;
use super::loadgen::{Batch, KEY_PREFIX, ReplyScanner, Request};
use super::speed::{PLAIN_OPTIONS, aside};
use super::table::{Table, figure};
use crate::error::{LabError, Result};
use crate::scratch::Scratch;
use crate::server::ServerSpec;

/// Turns after which the busiest thread is taken for the serving one.
const TURNS_TO_FIND: usize = 2_000;
const VALUE_SIZE: usize = 16;
/// A server that says nothing for this long is taken for hung.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);
/// What the design promises of a turn, in nanoseconds.
const LIMIT_NS: u64 = 1_000_000;

/// What to measure.
#[derive(Debug, Clone)]
pub struct Options {
    /// The servers.
    pub contestants: Vec<Contestant>,
    /// The table grows to this many keys.
    pub keys: u64,
    /// Commands of one turn.
    pub batch: usize,
    /// Keep the servers' directories.
    pub keep: bool,
}

/// The turns of one phase.
#[derive(Debug, Clone, Serialize)]
pub struct Phase {
    /// The server.
    pub server: String,
    /// What the commands were.
    pub phase: &'static str,
    /// How many turns.
    pub turns: usize,
    /// Processor time of the middle turn, in microseconds.
    pub median_us: f64,
    /// The time that one turn in ten thousand exceeds.
    pub p9999_us: f64,
    /// The longest turn.
    pub worst_us: f64,
    /// Turns of more than a millisecond.
    pub over_1ms: usize,
    /// The number of keys at the longest turn.
    pub worst_at_keys: u64,
}

/// Measures the servers one after the other.
pub async fn run(options: &Options) -> Result<Vec<Phase>> {
    let scratch = Scratch::new(options.keep)?;
    let mut phases = Vec::new();
    for contestant in &options.contestants {
        let spec = ServerSpec::with_options(&contestant.name, &contestant.program, &PLAIN_OPTIONS);
        let server = spec.start(&scratch).await?;
        let (addr, pid, name) = (server.addr(), server.pid()?, contestant.name.clone());
        let (keys, batch) = (options.keys, options.batch);
        phases.extend(aside(move || all_phases(addr, pid, &name, keys, batch)).await?);
    }
    Ok(phases)
}

fn all_phases(addr: SocketAddr, pid: u32, server: &str, keys: u64, batch: usize) -> Result<Vec<Phase>> {
    let mut client = Client::connect(addr)?;
    let echo = Request::Echo;
    let clock = serving_thread(pid, || client.turn(&mut Batch::new(echo, batch)))?;
    let set = Request::Set { prefix: KEY_PREFIX, value_size: VALUE_SIZE };
    let plan = [("no data", echo), ("growing", set), ("reading", Request::Get), ("shrinking", Request::Del)];
    let mut phases = Vec::new();
    for (phase, request) in plan {
        eprintln!("{server}: {phase}, {keys} commands ...");
        let mut batch = Batch::new(request, batch);
        let mut turns = Vec::with_capacity(keys as usize / batch.requests() + 1);
        let mut next = 0;
        let mut before = clock.read()?;
        while next < keys {
            batch.set_keys(|| {
                next += 1;
                next - 1
            });
            client.turn(&mut batch)?;
            let after = clock.read()?;
            turns.push((after - before, next));
            before = after;
        }
        phases.push(summary(server, phase, turns, keys));
    }
    Ok(phases)
}

fn summary(server: &str, phase: &'static str, mut turns: Vec<(u64, u64)>, keys: u64) -> Phase {
    turns.sort_unstable();
    let us = |at: usize| turns.get(at).map_or(0.0, |turn| turn.0 as f64 / 1_000.0);
    let last = turns.len().saturating_sub(1);
    let worst_at = turns.last().map_or(0, |turn| turn.1);
    Phase {
        server: server.into(),
        phase,
        turns: turns.len(),
        median_us: us(last / 2),
        p9999_us: us(last - last / 10_000),
        worst_us: us(last),
        over_1ms: turns.iter().filter(|turn| turn.0 > LIMIT_NS).count(),
        worst_at_keys: match phase {
            "growing" => worst_at,
            "shrinking" => keys.saturating_sub(worst_at),
            _ => keys,
        },
    }
}

/// A connection with one batch under way at most.
struct Client {
    addr: SocketAddr,
    stream: TcpStream,
    chunk: Vec<u8>,
}

impl Client {
    fn connect(addr: SocketAddr) -> Result<Client> {
        let stream = TcpStream::connect(addr).map_err(LabError::io(format!("cannot connect to {addr}")))?;
        let client = Client { addr, stream, chunk: vec![0; 64 * 1024] };
        client.stream.set_nodelay(true).map_err(client.lost())?;
        client.stream.set_read_timeout(Some(SILENCE_LIMIT)).map_err(client.lost())?;
        Ok(client)
    }

    fn lost(&self) -> impl FnOnce(std::io::Error) -> LabError {
        LabError::io(format!("lost the connection to {}", self.addr))
    }

    /// Sends a batch and waits for its answers.
    fn turn(&mut self, batch: &mut Batch) -> Result<()> {
        self.stream.write_all(batch.bytes()).map_err(self.lost())?;
        let mut scanner = ReplyScanner::default();
        let mut answered = 0;
        while answered < batch.requests() as u64 {
            let length = self.stream.read(&mut self.chunk).map_err(self.lost())?;
            answered += super::loadgen::count_replies(&mut scanner, &self.chunk[..length], self.addr)?;
        }
        Ok(())
    }
}

/// The processor time of one thread.
struct ThreadClock(File);

impl ThreadClock {
    /// Nanoseconds since the thread's start.
    fn read(&self) -> Result<u64> {
        let mut text = [0; 64];
        let length =
            self.0.read_at(&mut text, 0).map_err(LabError::io("cannot read a thread's schedstat"))?;
        let digits = text[..length].split(|byte| *byte == b' ').next().unwrap_or_default();
        std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok())
            .ok_or_else(|| LabError::Other("a thread's schedstat does not begin with a number".into()))
    }
}

/// The thread of `pid` that works while `turn` runs again and again.
fn serving_thread(pid: u32, mut turn: impl FnMut() -> Result<()>) -> Result<ThreadClock> {
    let tasks = format!("/proc/{pid}/task");
    let mut clocks = Vec::new();
    for entry in std::fs::read_dir(&tasks).map_err(LabError::io(format!("cannot list {tasks}")))? {
        let path = entry.map_err(LabError::io(format!("cannot list {tasks}")))?.path().join("schedstat");
        let clock = ThreadClock(File::open(&path).map_err(LabError::file("read", &path))?);
        clocks.push((clock.read()?, clock));
    }
    for _ in 0..TURNS_TO_FIND {
        turn()?;
    }
    let mut busiest = None;
    for (before, clock) in clocks {
        let spent = clock.read()? - before;
        if busiest.as_ref().is_none_or(|(most, _)| spent > *most) {
            busiest = Some((spent, clock));
        }
    }
    busiest.filter(|(spent, _)| *spent > 0).map(|(_, clock)| clock).ok_or_else(|| {
        LabError::Other(format!("no thread of process {pid} works: the kernel has no schedstat"))
    })
}

/// A row for each phase.
pub fn table(phases: &[Phase]) -> Table {
    let head = [
        "server",
        "turns of",
        "turns",
        "median us",
        "1 in 10,000 us",
        "worst us",
        "over 1 ms",
        "worst at keys",
    ];
    let mut table = Table::new(&head);
    for phase in phases {
        table.row(vec![
            phase.server.clone(),
            phase.phase.into(),
            phase.turns.to_string(),
            figure(Some(phase.median_us), 1),
            figure(Some(phase.p9999_us), 1),
            figure(Some(phase.worst_us), 1),
            phase.over_1ms.to_string(),
            phase.worst_at_keys.to_string(),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_turn_is_found_with_its_place() {
        let turns = vec![(20_000, 16), (2_000_000, 32), (10_000, 48)];
        let phase = summary("a", "shrinking", turns, 48);
        assert_eq!((phase.turns, phase.over_1ms, phase.worst_at_keys), (3, 1, 16));
        assert_eq!((phase.median_us, phase.worst_us), (20.0, 2_000.0));
    }

    #[test]
    fn the_clock_of_a_thread_runs_while_it_works() {
        let pid = std::process::id();
        let mut x = 1u64;
        let clock = serving_thread(pid, || {
            (0..20_000).for_each(|_| x = std::hint::black_box(x.wrapping_mul(31)));
            Ok(())
        });
        assert!(clock.unwrap().read().unwrap() > 0);
    }
}
