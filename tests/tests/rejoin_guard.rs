//! A former master that comes back in its place and refuses writes until a majority of the Sentinels confirms it
//! (`master-rejoin-guard`).

use std::time::Duration;

use redoubt_lab::binaries::Binaries;
use redoubt_lab::deployment::{Deployment, MASTER_NAME, Shape};
use redoubt_lab::scratch::Scratch;
use redoubt_lab::server::Server;
use redoubt_lab::wait;

const LIMIT: Duration = Duration::from_secs(20);

async fn waits(node: &Server) -> bool {
    let fields = node.info("replication").await.unwrap();
    fields.get("master_rejoin_guard").is_some_and(|state| state == "waiting")
}

async fn writes(node: &Server) -> Result<(), String> {
    node.ask::<String>(&["SET", "key", "value"]).await.map(drop).map_err(|error| error.to_string())
}

/// Whether the Sentinel has seen that the master waits.
async fn has_noticed(sentinel: &Server) -> Result<(), String> {
    let cache: redis::Value =
        sentinel.ask(&["SENTINEL", "INFO-CACHE", MASTER_NAME]).await.map_err(|error| error.to_string())?;
    if format!("{cache:?}").contains("master_rejoin_guard:waiting") { Ok(()) } else { Err("not yet".into()) }
}

#[tokio::test]
async fn a_majority_of_the_sentinels_lifts_the_guard_and_a_minority_does_not() {
    let binaries = Binaries::locate(None, None).unwrap();
    // No failover while it is away.
    let shape = Shape { replicas: 1, down_after_ms: 60_000, ..Shape::usual(binaries) };
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut deployment = Deployment::start(&shape, scratch).await.unwrap();
    for words in [&["CONFIG", "SET", "master-rejoin-guard", "yes"][..], &["CONFIG", "REWRITE"]] {
        let () = deployment.nodes[0].ask(words).await.unwrap();
    }
    writes(&deployment.nodes[0]).await.unwrap();
    let () = deployment.nodes[0].ask(&["SAVE"]).await.unwrap();

    // The replica could continue with the master, and confirm it so.
    deployment.nodes[1].kill().unwrap();
    for sentinel in &mut deployment.sentinels[1..] {
        sentinel.kill().unwrap();
    }
    deployment.nodes[0].restart().await.unwrap();
    let node = &deployment.nodes[0];
    wait::until("the Sentinel sees that the master waits", LIMIT, async || {
        has_noticed(&deployment.sentinels[0]).await
    })
    .await
    .unwrap();
    assert!(waits(node).await, "one of three is no majority");
    let refusal = writes(node).await.unwrap_err();
    assert!(refusal.contains("master-rejoin-guard"), "{refusal}");
    assert_eq!(node.ask::<String>(&["GET", "key"]).await.unwrap(), "value", "reads go on");

    for sentinel in &mut deployment.sentinels[1..] {
        sentinel.restart().await.unwrap();
    }
    let node = &deployment.nodes[0];
    wait::until("the master takes writes", LIMIT, async || writes(node).await).await.unwrap();
    assert!(!waits(node).await);
    assert!(node.log().contains("confirmed by Sentinel"), "{}", node.log());
}
