//! Sentinel-aware clients that nobody here wrote: each follows several failovers under load without
//! being restarted, and has at the end every write that was acknowledged to it.
//!
//! The tests named `…_twenty_failovers` take minutes and run on demand:
//! `cargo test -p redoubt-lab --test sentinel_clients -- --ignored`.

mod interpreters;

use std::process::Stdio;
use std::time::Duration;

use redoubt_lab::binaries::Binaries;
use redoubt_lab::client::Role;
use redoubt_lab::deployment::{Deployment, MASTER_NAME, Shape};
use redoubt_lab::scratch::Scratch;
use redoubt_lab::wait;
use tokio::io::AsyncReadExt;
use tokio::process::{Child, Command};

const LIMIT: Duration = Duration::from_secs(40);
/// How many failovers the usual tests ask for.
const FEW: usize = 3;
const MANY: usize = 20;
/// How many writes a master takes before it fails.
const STEADY: u64 = 200;

/// What a client has to say in the end.
#[derive(Debug)]
struct Outcome {
    /// Writes acknowledged to it.
    acknowledged: u64,
    /// Those of them that it does not find any more.
    missing: u64,
    /// Writes that failed.
    errors: u64,
}

/// A client that writes numbers to the key `progress`, among others, until it is told to stop.
trait Writer {
    async fn stop(self) -> Outcome;
}

async fn follows<W: Writer>(failovers: usize, start: impl AsyncFnOnce(&Deployment) -> W) {
    let shape = Shape { down_after_ms: 1_000, ..Shape::usual(Binaries::locate(None, None).unwrap()) };
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut deployment = Deployment::start(&shape, scratch).await.unwrap();
    for sentinel in &deployment.sentinels {
        // A returning master is corrected after four of the one and the next of the other.
        let hastened = ["SENTINEL", "DEBUG", "publish-period", "250", "info-period", "1000"];
        assert_eq!(sentinel.ask::<String>(&hastened).await.unwrap(), "OK");
    }
    let writer = start(&deployment).await;
    for round in 0..failovers {
        let old = deployment.settled(LIMIT).await.unwrap();
        writes_arrive(&deployment, None, STEADY).await;
        let kills = round % 2 == 0;
        if kills { deployment.nodes[old].kill() } else { deployment.nodes[old].freeze() }.unwrap();
        writes_arrive(&deployment, Some(old), 1).await;
        if kills { deployment.nodes[old].restart().await } else { deployment.nodes[old].thaw() }.unwrap();
    }
    deployment.settled(LIMIT).await.unwrap();
    let outcome = writer.stop().await;
    let Outcome { acknowledged, missing, errors } = outcome;
    println!(
        "{failovers} failovers: {acknowledged} writes acknowledged, {missing} of them missing, {errors} failed"
    );
    assert_eq!(missing, 0, "acknowledged writes are gone");
    assert!(acknowledged > STEADY * failovers as u64, "it wrote between the failovers");
}

/// Waits until some master other than the node `except` has taken so many of the client's writes.
async fn writes_arrive(deployment: &Deployment, except: Option<usize>, count: u64) {
    let what = match except {
        Some(old) => format!("the client writes to another master than {}", deployment.nodes[old].name()),
        None => "the client writes".into(),
    };
    let mut first = None;
    wait::until(&what, LIMIT, async || {
        for (index, node) in deployment.nodes.iter().enumerate().filter(|(index, _)| Some(*index) != except) {
            if matches!(node.role().await, Ok(Role::Master { .. })) {
                let now = node.ask::<Option<u64>>(&["GET", "progress"]).await.map_err(|e| e.to_string())?;
                let now = now.unwrap_or(0);
                match first {
                    Some((same, then)) if same == index && now >= then + count => return Ok(()),
                    Some((same, _)) if same == index => {}
                    _ => first = Some((index, now)),
                }
                return Err(format!("{} has {now}", node.name()));
            }
        }
        Err("there is no such master".to_string())
    })
    .await
    .unwrap();
}

/// A client in a process of its own; it stops when its standard input ends.
struct Script(Child);

impl Script {
    fn start(mut command: Command, deployment: &Deployment) -> Script {
        command.arg(MASTER_NAME).args(deployment.sentinels.iter().map(|s| s.port().to_string()));
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        Script(piped.spawn().unwrap())
    }
}

impl Writer for Script {
    async fn stop(mut self) -> Outcome {
        drop(self.0.stdin.take());
        let mut said = String::new();
        let ended = async {
            self.0.stdout.take().unwrap().read_to_string(&mut said).await.unwrap();
            self.0.wait().await.unwrap()
        };
        let status = tokio::time::timeout(LIMIT, ended).await.expect("the client ends when it is told to");
        assert!(status.success(), "{status}: {said}");
        let number = |name: &str| {
            let word = said.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
            word.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("no {name} in: {said}"))
        };
        Outcome { acknowledged: number("acknowledged"), missing: number("missing"), errors: number("errors") }
    }
}

mod with_python {
    use super::*;

    async fn redis_package(failovers: usize) {
        follows(failovers, async |deployment: &Deployment| {
            let mut command = Command::new(interpreters::python());
            command.arg(interpreters::script("python", "failovers.py"));
            Script::start(command, deployment)
        })
        .await;
    }

    #[tokio::test]
    async fn the_redis_package_follows_failovers() {
        redis_package(FEW).await;
    }

    #[tokio::test]
    #[ignore = "takes minutes"]
    async fn the_redis_package_follows_twenty_failovers() {
        redis_package(MANY).await;
    }
}

mod with_node_js {
    use super::*;

    async fn ioredis(failovers: usize) {
        follows(failovers, async |deployment: &Deployment| {
            let mut command = Command::new("node");
            command.env("NODE_PATH", interpreters::node_modules());
            command.arg(interpreters::script("node", "failovers.js"));
            Script::start(command, deployment)
        })
        .await;
    }

    #[tokio::test]
    async fn ioredis_follows_failovers() {
        ioredis(FEW).await;
    }

    #[tokio::test]
    #[ignore = "takes minutes"]
    async fn ioredis_follows_twenty_failovers() {
        ioredis(MANY).await;
    }
}

mod with_rust {
    use redis::sentinel::{SentinelClient, SentinelServerType};
    use redis::{AsyncConnectionConfig, RedisResult};
    use tokio::sync::watch;
    use tokio::task::JoinHandle;

    use super::*;

    struct Task {
        stop: watch::Sender<bool>,
        task: JoinHandle<Outcome>,
    }

    impl Writer for Task {
        async fn stop(self) -> Outcome {
            self.stop.send_replace(true);
            tokio::time::timeout(LIMIT, self.task).await.expect("it ends when it is told to").unwrap()
        }
    }

    async fn connect(client: &mut SentinelClient) -> RedisResult<redis::aio::MultiplexedConnection> {
        let limit = Some(Duration::from_millis(500));
        let config = AsyncConnectionConfig::new().set_connection_timeout(limit).set_response_timeout(limit);
        client.get_async_connection_with_config(&config).await
    }

    async fn write(mut client: SentinelClient, stop: watch::Receiver<bool>) -> Outcome {
        let (mut acknowledged, mut errors, mut number) = (Vec::new(), 0, 0_u64);
        let mut connection = None;
        while !*stop.borrow() {
            // A number is never used twice: what failed may have been executed all the same.
            number += 1;
            let attempt = async {
                let connection = match &mut connection {
                    Some(connection) => connection,
                    none => none.insert(connect(&mut client).await?),
                };
                let () = redis::cmd("SET")
                    .arg(format!("write:{number}"))
                    .arg(number)
                    .query_async(connection)
                    .await?;
                let () = redis::cmd("SET").arg("progress").arg(number).query_async(connection).await?;
                RedisResult::Ok(())
            };
            if attempt.await.is_ok() {
                acknowledged.push(number);
                tokio::time::sleep(Duration::from_millis(1)).await;
            } else {
                errors += 1;
                connection = None;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let mut connection = connect(&mut client).await.unwrap();
        let mut missing = 0;
        for batch in acknowledged.chunks(500) {
            let keys: Vec<String> = batch.iter().map(|n| format!("write:{n}")).collect();
            let found: Vec<Option<u64>> =
                redis::cmd("MGET").arg(keys).query_async(&mut connection).await.unwrap();
            missing += batch.iter().zip(found).filter(|(n, value)| *value != Some(**n)).count() as u64;
        }
        Outcome { acknowledged: acknowledged.len() as u64, missing, errors }
    }

    async fn redis_crate(failovers: usize) {
        follows(failovers, async |deployment: &Deployment| {
            let sentinels = deployment.sentinel_addrs().iter().map(|a| format!("redis://{a}/")).collect();
            let client =
                SentinelClient::build(sentinels, MASTER_NAME.into(), None, SentinelServerType::Master)
                    .unwrap();
            let (stop, stopped) = watch::channel(false);
            Task { stop, task: tokio::spawn(write(client, stopped)) }
        })
        .await;
    }

    #[tokio::test]
    async fn the_redis_crate_follows_failovers() {
        redis_crate(FEW).await;
    }

    #[tokio::test]
    #[ignore = "takes minutes"]
    async fn the_redis_crate_follows_twenty_failovers() {
        redis_crate(MANY).await;
    }
}
