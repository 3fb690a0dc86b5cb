//! Failover under load, as clients live through it: no acknowledged write is lost, the
//! outage is bounded, the old master comes back as a replica.

use std::time::Duration;

use redoubt_lab::binaries::{Binaries, is_ours};
use redoubt_lab::deployment::{Deployment, MASTER_NAME, Shape};
use redoubt_lab::discovery::Discovery;
use redoubt_lab::failover::{self, Fault, Figures, Plan};
use redoubt_lab::load::Pace;
use redoubt_lab::scratch::Scratch;

/// Far more than a failover needs, far less than a split vote's retry would add. A busy machine makes no
/// assertion about milliseconds; `bench failover` measures those.
const BEYOND_LIMIT_MS: f64 = 15_000.0;

const WRITERS: usize = 8;

fn shape(binaries: Binaries) -> Shape {
    Shape { down_after_ms: 1_500, ..Shape::usual(binaries) }
}

async fn fail_over(binaries: Binaries, fault: Fault) -> Figures {
    fail_over_with(shape(binaries), fault).await
}

async fn fail_over_with(shape: Shape, fault: Fault) -> Figures {
    // Redis may acknowledge a write before its replicas were sent it: a kill in between costs it.
    let may_lose = fault != Fault::Coordinated && !is_ours(&shape.binaries.node);
    let allowed_loss = if may_lose { WRITERS } else { 0 };
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut deployment = Deployment::start(&shape, scratch).await.unwrap();
    let discovery = Discovery::start(&deployment.sentinel_addrs()).await.unwrap();
    let pace = Pace { writers: WRITERS, interval: Duration::from_millis(1) };
    let plan = Plan { fault, pace, steady: Duration::from_millis(200) };
    let say = |line: String| println!("{line}");
    let figures =
        failover::round(&mut deployment, &discovery, plan, shape.detection_ms(fault), &say, &|_| {})
            .await
            .unwrap();
    println!("{}", figures.summary());
    assert!(figures.lost <= allowed_loss, "acknowledged writes are gone: {figures:?}");
    assert!(figures.beyond_ms < BEYOND_LIMIT_MS, "{figures:?}");
    let down_is_told = figures.sdown_ms.is_some() == (fault != Fault::Coordinated);
    assert!(down_is_told && figures.switch_ms.is_some(), "events are missing or too many: {figures:?}");
    assert_eq!(figures.spurious, 0, "{figures:?}");
    figures
}

fn ours() -> Binaries {
    Binaries::locate(None, None).unwrap()
}

#[tokio::test]
async fn a_killed_master_is_replaced_and_nothing_acknowledged_is_lost() {
    fail_over(ours(), Fault::Sigkill).await;
}

#[tokio::test]
async fn a_hanging_master_is_replaced_and_nothing_acknowledged_is_lost() {
    let figures = fail_over(ours(), Fault::Sigstop).await;
    // Its last reply counts; a master that just hung cannot be down any earlier.
    assert!(figures.outage_ms > 500.0, "{figures:?}");
}

#[tokio::test]
async fn a_killed_master_is_replaced_early_where_refusal_counts() {
    let shape = Shape { down_after_ms: 60_000, down_on_refused_ms: Some(100), ..Shape::usual(ours()) };
    let figures = fail_over_with(shape, Fault::Sigkill).await;
    assert!(figures.outage_ms < BEYOND_LIMIT_MS, "{figures:?}");
}

#[tokio::test]
async fn a_coordinated_failover_loses_nothing() {
    fail_over(ours(), Fault::Coordinated).await;
}

#[tokio::test]
async fn sentinels_remember_the_new_master_over_their_own_restart() {
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut deployment = Deployment::start(&shape(ours()), scratch).await.unwrap();
    let () = deployment.sentinels[0].ask(&["SENTINEL", "FAILOVER", MASTER_NAME]).await.unwrap();
    let what = "the Sentinels name another master than the first";
    redoubt_lab::wait::until(what, Duration::from_secs(30), async || {
        match deployment.settled(Duration::from_secs(5)).await {
            Ok(0) => Err("still the first".to_string()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    })
    .await
    .unwrap();
    let new = deployment.settled(Duration::from_secs(5)).await.unwrap();
    for sentinel in &mut deployment.sentinels {
        sentinel.kill().unwrap();
    }
    for sentinel in &mut deployment.sentinels {
        sentinel.restart().await.unwrap();
    }
    assert_eq!(deployment.settled(Duration::from_secs(30)).await.unwrap(), new);
}

mod with_redis_server {
    use super::*;

    #[tokio::test]
    async fn redis_sentinel_fails_our_nodes_over() {
        let binaries = Binaries { sentinel: Binaries::redis().unwrap().sentinel, ..ours() };
        fail_over(binaries, Fault::Sigkill).await;
    }

    #[tokio::test]
    async fn our_sentinels_fail_redis_nodes_over() {
        let binaries = Binaries { node: Binaries::redis().unwrap().node, ..ours() };
        fail_over(binaries, Fault::Sigkill).await;
    }

    #[tokio::test]
    async fn our_sentinels_hand_redis_nodes_over_without_losing_a_write() {
        let binaries = Binaries { node: Binaries::redis().unwrap().node, ..ours() };
        fail_over(binaries, Fault::Coordinated).await;
    }
}
