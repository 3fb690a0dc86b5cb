//! The command line of `redoubt-lab`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use redoubt_lab::bench::{self, Contestant, peers};
use redoubt_lab::binaries::{self, Binaries};
use redoubt_lab::deployment::Shape;
use redoubt_lab::failover::{Fault, Plan};
use redoubt_lab::launcher::Launch;
use redoubt_lab::load::Pace;
use redoubt_lab::scratch::Scratch;
use redoubt_lab::sim::campaign::Campaign;
use redoubt_lab::sim::plan::{Planted, Scenario};
use redoubt_lab::sim::report;
use redoubt_lab::sim::run::Trace;
use redoubt_lab::{LabError, Result, demo, netns, vip};
use tokio::signal::unix::{SignalKind, signal};

/// Starts Redoubt deployments on this machine, breaks them, and measures what their clients notice.
///
/// Everything runs on free loopback ports in a temporary directory, without root; nothing is left behind.
#[derive(Parser, Debug)]
#[command(version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Show one failover: a master is killed under load, a replica takes over, the old master returns.
    Demo(DemoArgs),
    /// Start a deployment, say how to reach it, and leave it running until Ctrl-C.
    Up(DeploymentArgs),
    /// Measure, side by side with other servers.
    #[command(subcommand)]
    Bench(BenchVerb),
    /// Run simulated Sentinel deployments through faults and check that no rule is broken.
    Sim(SimArgs),
    /// Become a server that dies with the process that asked for it.
    #[command(name = redoubt_lab::launcher::VERB, hide = true)]
    RunChild(Launch),
}

#[derive(Subcommand, Debug)]
enum BenchVerb {
    /// How long clients cannot write when the master fails, and what they lose.
    Failover(FailoverArgs),
    /// How long a client that knows a virtual address cannot write when the master's host fails, and for how long two
    /// hosts answer for the address.
    ///
    /// Hosts and client are network namespaces that this process makes; nothing it does reaches the machine's network.
    Vip(VipArgs),
    /// What watching many masters costs one Sentinel, and how soon it sees that one of them hangs.
    ///
    /// Masters and replicas are played by this process, on a loopback port each, since hundreds of real ones
    /// would leave no processor time to measure in: they answer what a Sentinel asks, and hold no data.
    Watch(WatchArgs),
    /// Processor time per request, throughput and latency, one core for the server.
    Speed(SpeedArgs),
    /// Bytes that a small key costs.
    Memory(MemoryArgs),
    /// The longest turns of a server while its table grows and shrinks, in processor time.
    Pauses(PausesArgs),
}

#[derive(Args, Debug)]
struct DeploymentArgs {
    /// Program of the data nodes [default: redoubt-node beside this program, or $REDOUBT_NODE_BIN]
    #[arg(long, value_name = "PROGRAM")]
    node_bin: Option<PathBuf>,
    /// Program of the Sentinels [default: redoubt-sentinel beside this program, or $REDOUBT_SENTINEL_BIN]
    #[arg(long, value_name = "PROGRAM")]
    sentinel_bin: Option<PathBuf>,
    /// After how long without a valid answer a Sentinel takes the master for down
    #[arg(long, value_name = "MS", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    down_after_ms: u64,
    /// Keep the servers' directories, with configuration and logs
    #[arg(long)]
    keep: bool,
}

impl DeploymentArgs {
    fn binaries(&self) -> Result<Binaries> {
        Binaries::locate_and_build(self.node_bin.clone(), self.sentinel_bin.clone())
    }

    fn shape(&self) -> Result<Shape> {
        Ok(Shape { down_after_ms: self.down_after_ms, ..Shape::usual(self.binaries()?) })
    }
}

#[derive(Args, Debug)]
struct LoadArgs {
    /// Connections that write
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1000))]
    writers: usize,
    /// Pause between the writes of one connection; 0: as fast as they are acknowledged
    #[arg(long, value_name = "MS", default_value_t = 1)]
    pace_ms: u64,
}

impl LoadArgs {
    fn pace(&self) -> Pace {
        Pace { writers: self.writers, interval: Duration::from_millis(self.pace_ms) }
    }
}

#[derive(Args, Debug)]
struct DemoArgs {
    #[command(flatten)]
    deployment: DeploymentArgs,
    #[command(flatten)]
    load: LoadArgs,
    /// What happens to the master
    #[arg(long, value_enum, default_value_t = Fault::Sigkill)]
    fault: Fault,
}

#[derive(Args, Debug)]
struct RepeatArgs {
    /// Rounds for each fault
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    rounds: usize,
    /// Write every round's figures there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

#[derive(Args, Debug)]
struct FailoverArgs {
    #[command(flatten)]
    deployment: DeploymentArgs,
    #[command(flatten)]
    load: LoadArgs,
    /// The way of staying up
    #[arg(long, value_enum, default_value_t = Mode::Sentinel)]
    mode: Mode,
    /// What happens to the master
    #[arg(long, value_enum, default_value_t = FaultChoice::Both)]
    fault: FaultChoice,
    /// No fault: a Sentinel is asked to move the master, with SENTINEL FAILOVER ... COORDINATED, or without that
    /// word where it is redis-sentinel
    #[arg(long, conflicts_with = "fault")]
    coordinated: bool,
    /// `sentinel down-on-refused` of our Sentinels
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u64).range(1..))]
    down_on_refused: Option<u64>,
    #[command(flatten)]
    repeat: RepeatArgs,
    /// Measure the installed redis-server and redis-sentinel as well
    #[arg(long)]
    peer_real: bool,
}

#[derive(Args, Debug)]
struct VipArgs {
    #[command(flatten)]
    deployment: DeploymentArgs,
    /// The agent and script [default: redoubt-vip-hook beside this program]
    #[arg(long, value_name = "PROGRAM")]
    hook_bin: Option<PathBuf>,
    /// What happens to the master's host; repeat it [default: sigkill, sigstop, cut and manual]
    #[arg(long, value_enum)]
    fault: Vec<vip::Fault>,
    #[command(flatten)]
    repeat: RepeatArgs,
    /// Measure the recipe that is known from the field as well, a shell script with ip and arping: with these programs,
    /// and with the installed redis-server and redis-sentinel
    #[arg(long)]
    peer_real: bool,
}

#[derive(Args, Debug)]
struct WatchArgs {
    /// The Sentinel [default: redoubt-sentinel beside this program, or $REDOUBT_SENTINEL_BIN]
    #[arg(long, value_name = "PROGRAM")]
    sentinel_bin: Option<PathBuf>,
    /// Measure the installed redis-sentinel as well
    #[arg(long)]
    peer_real: bool,
    /// How many masters, each with a replica; one alone is measured before
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=5_000))]
    masters: usize,
    /// After how long without a valid answer a master is taken for down
    #[arg(long, value_name = "MS", default_value_t = 5_000, value_parser = clap::value_parser!(u64).range(1..))]
    down_after_ms: u64,
    /// How long the processor time is measured
    #[arg(long, value_name = "MS", default_value_t = 20_000, value_parser = clap::value_parser!(u64).range(1_000..))]
    duration_ms: u64,
    /// How many masters hang, one after the other
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    rounds: usize,
    /// Write all figures there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the Sentinels' directories, with configuration and logs
    #[arg(long)]
    keep: bool,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum Mode {
    /// Sentinels supervise a master and its replicas
    Sentinel,
}

#[derive(ValueEnum, Debug, Clone, Copy)]
enum FaultChoice {
    /// The process dies
    Sigkill,
    /// The process hangs
    Sigstop,
    /// One after the other
    Both,
}

#[derive(Args, Debug)]
struct ServersArgs {
    /// A server under the name for the report; repeat it. The first is compared with the best of the others
    /// [default: redoubt=PATH of redoubt-node]
    #[arg(long, value_name = "NAME=PATH")]
    server: Vec<Contestant>,
    /// Add the peers that are installed: Debian's Redis, and those of tests/peers
    #[arg(long)]
    peers: bool,
    /// Write all figures there
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Keep the servers' directories, with their logs
    #[arg(long)]
    keep: bool,
}

impl ServersArgs {
    fn contestants(&self) -> Result<Vec<Contestant>> {
        let mut all = self.server.clone();
        if all.is_empty() {
            let program = Binaries::locate_and_build(None, None)?.node;
            all.push(Contestant { name: "redoubt".into(), program });
        }
        if self.peers {
            all.extend(peers::installed());
            if all.len() < 4 {
                eprintln!("not all peers are installed: {}", peers::HINT);
            }
        }
        for (index, one) in all.iter().enumerate() {
            if all[..index].iter().any(|other| other.name == one.name) {
                return Err(LabError::Other(format!(
                    "two servers are named {}: give each its own name",
                    one.name
                )));
            }
        }
        Ok(all)
    }
}

#[derive(Args, Debug)]
struct SpeedArgs {
    #[command(flatten)]
    servers: ServersArgs,
    /// Rounds; the report shows their medians
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    rounds: usize,
    /// How long one measurement takes
    #[arg(long, value_name = "MS", default_value_t = 1_500, value_parser = clap::value_parser!(u64).range(10..))]
    duration_ms: u64,
    /// How many different keys
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    keyspace: u64,
    /// Bytes of a value
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    value_size: usize,
    /// Connections
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    connections: usize,
    /// Requests in one write, one measurement for each
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 16], value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=1_000))]
    pipeline: Vec<usize>,
    /// Measure a loop as well that answers with constants: what the kernel takes, below which no server can go
    #[arg(long)]
    floor: bool,
}

#[derive(Args, Debug)]
struct MemoryArgs {
    #[command(flatten)]
    servers: ServersArgs,
    /// How many keys, of 15 bytes with values of 16
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    keys: u64,
}

#[derive(Args, Debug)]
struct PausesArgs {
    #[command(flatten)]
    servers: ServersArgs,
    /// How many keys the table grows to, of 16 bytes with values of 16
    #[arg(long, value_name = "N", default_value_t = 10_000_000, value_parser = clap::value_parser!(u64).range(1..=1_000_000_000))]
    keys: u64,
    /// Commands of one turn
    #[arg(long, value_name = "N", default_value_t = 16, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=200))]
    batch: usize,
}

#[derive(Args, Debug)]
struct SimArgs {
    /// Replay this seed
    #[arg(long, value_name = "N", conflicts_with_all = ["first", "runs", "failovers", "jobs"])]
    seed: Option<u64>,
    /// Print what happens in it
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Print what its Sentinels log as well
    #[arg(long, requires = "trace")]
    logs: bool,
    /// The first seed
    #[arg(long, value_name = "N", default_value_t = 0)]
    first: u64,
    /// How many seeds at most
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    runs: u64,
    /// Go on until so many failovers were seen, however many seeds that takes
    #[arg(long, value_name = "N", conflicts_with = "runs")]
    failovers: Option<u64>,
    /// Only this scenario [default: the seed decides]
    #[arg(long, value_enum)]
    scenario: Option<Scenario>,
    /// Runs at a time
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=256))]
    jobs: usize,
    /// Plant a mistake in the Sentinels, to see it found
    #[arg(long, value_enum, hide = true)]
    planted: Option<PlantedChoice>,
    /// Stop at so many seeds that break a rule
    #[arg(long, value_name = "N", default_value_t = 10)]
    violations: usize,
}

/// The mistakes of [`Planted`] by name.
#[derive(ValueEnum, Debug, Clone, Copy)]
enum PlantedChoice {
    VoteBeforeWrite,
    OldVotesCount,
    PromoteAgain,
    ForgetVouches,
}

impl SimArgs {
    fn run(self) -> ExitCode {
        let planted = self.planted.map(|choice| match choice {
            PlantedChoice::VoteBeforeWrite => Planted::VoteBeforeWrite,
            PlantedChoice::OldVotesCount => Planted::OldVotesCount,
            PlantedChoice::PromoteAgain => Planted::PromoteAgain,
            PlantedChoice::ForgetVouches => Planted::ForgetVouches,
        });
        let sound = match self.seed {
            Some(seed) => {
                let trace = Trace { events: self.trace, logs: self.logs };
                report::replay(seed, self.scenario, planted, trace)
            }
            None => report::campaign(&Campaign {
                runs: if self.failovers.is_some() { u64::MAX } else { self.runs },
                failovers: self.failovers,
                scenario: self.scenario,
                jobs: self.jobs,
                violations: self.violations,
                planted,
                ..Campaign::new(self.first, self.runs)
            }),
        };
        if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Verb::Sim(args) = cli.verb {
        return args.run();
    }
    if let Verb::RunChild(launch) = cli.verb {
        eprintln!("redoubt-lab: {}", launch.run());
        return ExitCode::FAILURE;
    }
    // One thread: servers die with the thread that started them, so it has to be the main one.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("redoubt-lab: cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    // Whichever ends first, the other is dropped, and with it every server and directory.
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = dispatch(cli.verb) => outcome,
            interrupted = interruption() => interrupted,
        }
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(LabError::Interrupted) => ExitCode::from(130),
        Err(error) => {
            eprintln!("redoubt-lab: {error}");
            if let LabError::Start { .. } = error {
                eprintln!("(with --keep, the servers' files and logs stay)");
            }
            ExitCode::FAILURE
        }
    }
}

async fn interruption() -> Result<()> {
    let listen = |kind| signal(kind).map_err(LabError::io("cannot listen for signals"));
    let (mut interrupt, mut terminate, mut hangup) =
        (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
    Err(LabError::Interrupted)
}

async fn dispatch(verb: Verb) -> Result<()> {
    match verb {
        Verb::Demo(args) => {
            let plan =
                Plan { fault: args.fault, pace: args.load.pace(), steady: Duration::from_millis(1_500) };
            demo::demo(&args.deployment.shape()?, plan, Scratch::new(args.deployment.keep)?).await
        }
        Verb::Up(args) => demo::up(&args.shape()?, Scratch::new(args.keep)?).await,
        Verb::Bench(BenchVerb::Failover(args)) => bench_failover(args).await,
        Verb::Bench(BenchVerb::Vip(args)) => bench_vip(args).await,
        Verb::Bench(BenchVerb::Watch(args)) => bench_watch(args).await,
        Verb::Bench(BenchVerb::Speed(args)) => bench_speed(args).await,
        Verb::Bench(BenchVerb::Memory(args)) => bench_memory(args).await,
        Verb::Bench(BenchVerb::Pauses(args)) => bench_pauses(args).await,
        Verb::RunChild(launch) => Err(launch.run()),
        Verb::Sim(args) => {
            args.run();
            Ok(())
        }
    }
}

async fn bench_failover(args: FailoverArgs) -> Result<()> {
    let Mode::Sentinel = args.mode;
    let own = args.deployment.binaries()?;
    let name = own.node.file_name().map_or("own".into(), |name| name.to_string_lossy().into_owned());
    let mut suites = vec![(name, own)];
    if args.peer_real {
        suites.push(("peer: redis".to_string(), Binaries::redis()?));
    }
    let faults = match args.fault {
        _ if args.coordinated => vec![Fault::Coordinated],
        FaultChoice::Sigkill => vec![Fault::Sigkill],
        FaultChoice::Sigstop => vec![Fault::Sigstop],
        FaultChoice::Both => vec![Fault::Sigkill, Fault::Sigstop],
    };
    let options = bench::failover::Options {
        suites,
        faults,
        rounds: args.repeat.rounds,
        down_after_ms: args.deployment.down_after_ms,
        down_on_refused_ms: args.down_on_refused,
        pace: args.load.pace(),
        keep: args.deployment.keep,
    };
    let results = bench::failover::run(&options).await?;
    println!("milliseconds, medians over the rounds and worst ones; down-after {} ms", options.down_after_ms);
    print!("{}", bench::failover::table(&results));
    save(args.repeat.json, &results)
}

async fn bench_vip(args: VipArgs) -> Result<()> {
    let (binaries, hook) = (args.deployment.binaries()?, binaries::vip_hook_built(args.hook_bin)?);
    let isolated = tokio::task::spawn_blocking(netns::isolated_program).await;
    if let Some(status) = isolated.map_err(|error| LabError::Other(error.to_string()))?? {
        return match status.code() {
            Some(0) => Ok(()),
            Some(130) => Err(LabError::Interrupted),
            _ => Err(LabError::Other(format!("the measurement in its namespaces failed: {status}"))),
        };
    }
    let own = vip::Shape {
        binaries,
        mover: vip::Mover::Agent(hook),
        addresses: vec![vip::site::VIP],
        down_after_ms: args.deployment.down_after_ms,
    };
    let mut suites = vec![("redoubt-vip-hook".to_string(), own.clone())];
    if args.peer_real {
        let recipe = vip::Shape { mover: vip::Mover::Recipe, ..own };
        let peer = vip::Shape { binaries: Binaries::redis()?, ..recipe.clone() };
        suites.push(("recipe, same Sentinels".to_string(), recipe));
        suites.push(("peer: recipe, redis-sentinel".to_string(), peer));
    }
    let faults = match args.fault.is_empty() {
        true => vec![vip::Fault::Sigkill, vip::Fault::Sigstop, vip::Fault::Cut, vip::Fault::Manual],
        false => args.fault,
    };
    let options =
        bench::vip::Options { suites, faults, rounds: args.repeat.rounds, keep: args.deployment.keep };
    let results = bench::vip::run(&options).await?;
    println!(
        "milliseconds, medians over the rounds and worst ones; down-after {} ms",
        args.deployment.down_after_ms
    );
    print!("{}", bench::vip::table(&options, &results));
    save(args.repeat.json, &results)
}

async fn bench_watch(args: WatchArgs) -> Result<()> {
    let own = Binaries::locate_and_build(None, args.sentinel_bin)?.sentinel;
    let name = own.file_name().map_or("own".into(), |name| name.to_string_lossy().into_owned());
    let mut sentinels = vec![(name, own)];
    if args.peer_real {
        sentinels.push(("peer: redis-sentinel".to_string(), Binaries::redis()?.sentinel));
    }
    let options = bench::watch::Options {
        sentinels,
        masters: args.masters,
        down_after_ms: args.down_after_ms,
        duration: Duration::from_millis(args.duration_ms),
        rounds: args.rounds,
        keep: args.keep,
    };
    let results = bench::watch::run(&options).await?;
    println!("from hanging to +sdown in milliseconds; down-after {} ms", options.down_after_ms);
    print!("{}", bench::watch::table(&results));
    save(args.json, &results)
}

async fn bench_speed(args: SpeedArgs) -> Result<()> {
    let mut contestants = args.servers.contestants()?;
    if args.floor {
        contestants.push(Contestant { name: bench::speed::FLOOR.into(), program: binaries::bare_loop()? });
    }
    let options = bench::speed::Options {
        contestants,
        rounds: args.rounds,
        duration: Duration::from_millis(args.duration_ms),
        keyspace: args.keyspace,
        value_size: args.value_size,
        connections: args.connections,
        pipelines: args.pipeline,
        keep: args.servers.keep,
    };
    let samples = bench::speed::run(&options).await?;
    println!(
        "{} connections, {} keys, values of {} bytes; medians of {} rounds",
        options.connections, options.keyspace, options.value_size, options.rounds
    );
    print!("{}", bench::speed::table(&options, &samples));
    save(args.servers.json, &samples)
}

async fn bench_memory(args: MemoryArgs) -> Result<()> {
    let costs = bench::memory::run(&args.servers.contestants()?, args.keys, args.servers.keep).await?;
    print!("{}", bench::memory::table(&costs));
    save(args.servers.json, &costs)
}

async fn bench_pauses(args: PausesArgs) -> Result<()> {
    let options = bench::pauses::Options {
        contestants: args.servers.contestants()?,
        keys: args.keys,
        batch: args.batch,
        keep: args.servers.keep,
    };
    let phases = bench::pauses::run(&options).await?;
    print!("{}", bench::pauses::table(&phases));
    save(args.servers.json, &phases)
}

fn save(path: Option<PathBuf>, results: &impl serde::Serialize) -> Result<()> {
    path.map_or(Ok(()), |path| bench::write_json(&path, results))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
