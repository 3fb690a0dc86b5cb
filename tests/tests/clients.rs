//! Clients that nobody here wrote, against our servers: Redis's own command-line tools and
//! the Python package, plain and through Sentinel.

mod interpreters;

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use redoubt_lab::binaries::Binaries;
use redoubt_lab::scratch::Scratch;
use redoubt_lab::server::{Server, ServerSpec};

fn scratch() -> Scratch {
    Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap()
}

async fn start_node(scratch: &Scratch) -> Server {
    let program = Binaries::locate(None, None).unwrap().node;
    ServerSpec::with_file("node", &program, &["save \"\""]).start(scratch).await.unwrap()
}

/// Runs a client to its end, which must be a good one; returns what it printed.
async fn run(program: &Path, args: &[&str], input: &str) -> String {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_string();
    let (write, output) = tokio::join!(
        tokio::task::spawn_blocking(move || std::io::Write::write_all(&mut stdin, input.as_bytes())),
        tokio::task::spawn_blocking(move || child.wait_with_output()),
    );
    let Output { status, stdout, stderr } = output.unwrap().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{} {args:?}: {status}\n{stdout}\n{stderr}", program.display());
    write.unwrap().unwrap();
    stdout.into_owned()
}

mod with_redis_tools {
    use super::*;
    use redoubt_lab::binaries::find_in_path;

    fn tool(name: &str) -> PathBuf {
        find_in_path(name)
            .unwrap_or_else(|| panic!("{name} is not installed: run tests/run, or install redis-tools"))
    }

    async fn cli(server: &Server, args: &[&str], input: &str) -> String {
        let port = server.port().to_string();
        run(&tool("redis-cli"), &[&["-p", &port], args].concat(), input).await
    }

    #[tokio::test]
    async fn redis_cli_talks_either_protocol() {
        let scratch = scratch();
        let node = start_node(&scratch).await;
        for protocol in ["-2", "-3"] {
            assert_eq!(cli(&node, &[protocol, "SET", "greeting", "hello"], "").await, "OK\n");
            assert_eq!(cli(&node, &[protocol, "GET", "greeting"], "").await, "hello\n");
            cli(&node, &[protocol, "DEL", "set", "list"], "").await;
            assert_eq!(cli(&node, &[protocol, "SADD", "set", "1", "2"], "").await, "2\n");
            assert_eq!(cli(&node, &[protocol, "SMEMBERS", "set"], "").await, "1\n2\n");
            assert_eq!(cli(&node, &[protocol, "RPUSH", "list", "a", "b"], "").await, "2\n");
            assert_eq!(cli(&node, &[protocol, "LRANGE", "list", "0", "-1"], "").await, "a\nb\n");
            assert_eq!(cli(&node, &[protocol, "--no-raw", "GET", "absent"], "").await, "(nil)\n");
        }
        let error = cli(&node, &["LPUSH", "greeting", "x"], "").await;
        assert!(
            error.starts_with("WRONGTYPE Operation against a key holding the wrong kind of value"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn redis_cli_inserts_in_bulk_and_lists_keys() {
        let scratch = scratch();
        let node = start_node(&scratch).await;
        let commands: String = (0..5_000).map(|n| format!("SET key:{n} {n}\r\n")).collect();
        let report = cli(&node, &["--pipe"], &commands).await;
        assert!(report.contains("errors: 0, replies: 5000"), "{report}");
        assert_eq!(cli(&node, &["DBSIZE"], "").await, "5000\n");
        assert_eq!(cli(&node, &["--scan", "--pattern", "key:49?"], "").await.lines().count(), 10);
    }

    #[tokio::test]
    async fn redis_cli_fetches_a_snapshot() {
        let scratch = scratch();
        let node = start_node(&scratch).await;
        redoubt_lab::dataset::fill(node.addr()).await.unwrap();
        let file = scratch.path().join("fetched.rdb");
        cli(&node, &["--rdb", &file.display().to_string()], "").await;
        let report = run(&tool("redis-check-rdb"), &[&file.display().to_string()], "").await;
        assert!(report.contains("RDB looks OK!"), "{report}");
    }

    #[tokio::test]
    async fn redis_benchmark_runs_its_tests() {
        let scratch = scratch();
        let node = start_node(&scratch).await;
        let port = node.port().to_string();
        for pipeline in ["1", "16"] {
            let tests = "ping,set,get,incr,lpush,rpush,lpop,rpop,sadd,mset";
            let args = ["-p", &port, "-t", tests, "-n", "2000", "-r", "1000", "-P", pipeline, "--csv"];
            let report = run(&tool("redis-benchmark"), &args, "").await;
            assert!(!report.to_lowercase().contains("error"), "{report}");
            for test in [
                "PING_INLINE",
                "PING_MBULK",
                "SET",
                "GET",
                "INCR",
                "LPUSH",
                "RPUSH",
                "LPOP",
                "RPOP",
                "SADD",
                "MSET",
            ] {
                assert!(report.contains(&format!("\"{test}")), "no result for {test}: {report}");
            }
        }
    }
}

mod with_python {
    use super::*;
    use redoubt_lab::deployment::{Deployment, MASTER_NAME, Shape};

    async fn script(name: &str, args: &[&str]) {
        let path = interpreters::script("python", name);
        let said = run(&interpreters::python(), &[&[path.to_str().unwrap()], args].concat(), "").await;
        assert!(said.ends_with("done\n"), "{name} did not reach its end: {said}");
    }

    #[tokio::test]
    async fn the_redis_package_with_resp2() {
        let scratch = scratch();
        let node = start_node(&scratch).await;
        script("commands.py", &[&node.port().to_string(), "2"]).await;
    }

    #[tokio::test]
    async fn the_redis_package_with_resp3() {
        let scratch = scratch();
        let node = start_node(&scratch).await;
        script("commands.py", &[&node.port().to_string(), "3"]).await;
    }

    #[tokio::test]
    async fn the_redis_package_through_sentinel() {
        let shape = Shape::usual(Binaries::locate(None, None).unwrap());
        let deployment = Deployment::start(&shape, scratch()).await.unwrap();
        let mut args = vec![MASTER_NAME.to_string(), deployment.nodes[0].port().to_string()];
        args.extend(deployment.sentinels.iter().map(|sentinel| sentinel.port().to_string()));
        script("sentinel.py", &args.iter().map(String::as_str).collect::<Vec<_>>()).await;
    }
}
