//! `redoubt-lab demo` and `up`: a deployment to watch, and one to use.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use crate::client::{self, Role};
use crate::deployment::{Deployment, MASTER_NAME, Shape};
use crate::discovery::Discovery;
use crate::error::{LabError, Result};
use crate::failover::{self, Plan};
use crate::load::Load;
use crate::scratch::Scratch;
use crate::view::View;

const REFRESH: Duration = Duration::from_millis(250);
const ROLE_LIMIT: Duration = Duration::from_millis(200);

/// The events of a failover that tell the story; the others repeat it in more detail.
const TOLD: [&str; 8] = [
    "+sdown",
    "-sdown",
    "+odown",
    "+elected-leader",
    "+promoted-slave",
    "+switch-master",
    "+convert-to-slave",
    "+failover-end",
];

/// Shows one failover from start to end. Fails if an acknowledged write was lost.
pub async fn demo(shape: &Shape, plan: Plan, scratch: Scratch) -> Result<()> {
    let view = Arc::new(View::new());
    view.say(&format!("starting a master, {} replicas and {} Sentinels", shape.replicas, shape.sentinels));
    let mut deployment = Deployment::start(shape, scratch).await?;
    view.say(&format!(
        "all of them know each other; their files are in {}",
        deployment.scratch().path().display()
    ));
    let discovery = Arc::new(Discovery::start(&deployment.sentinel_addrs()).await?);

    let mut watchers = JoinSet::new();
    watchers.spawn(tell_events(view.clone(), discovery.clone()));
    let (load_known, load) = tokio::sync::watch::channel(None);
    let nodes = deployment.nodes.iter().map(|node| (node.name().to_string(), node.addr())).collect();
    watchers.spawn(show_state(view.clone(), nodes, load));

    let say = |line: String| view.say(&line);
    let on_load = |load: &Load| {
        load_known.send_replace(Some(Arc::new(load.counter()) as Counter));
        view.say(&format!("{} clients write, each to the master that the Sentinels name", plan.pace.writers));
    };
    let figures =
        failover::round(&mut deployment, &discovery, plan, shape.detection_ms(plan.fault), &say, &on_load)
            .await?;
    watchers.shutdown().await;
    view.finish();
    println!("{}", figures.summary());
    figures.nothing_lost()
}

type Counter = Arc<dyn Fn() -> u64 + Send + Sync>;

async fn tell_events(view: Arc<View>, discovery: Arc<Discovery>) {
    let mut told = 0;
    loop {
        for event in discovery.events(told) {
            told += 1;
            if TOLD.contains(&event.channel.as_str()) {
                let line = format!("sentinel-{}: {} {}", event.sentinel + 1, event.channel, event.message);
                view.say_at(event.at, &line);
            }
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn show_state(
    view: Arc<View>,
    nodes: Vec<(String, SocketAddr)>,
    load: tokio::sync::watch::Receiver<Option<Counter>>,
) {
    let mut before = (0, Instant::now());
    loop {
        let total = load.borrow().as_ref().map_or(0, |counter| counter());
        let rate = (total - before.0) as f64 / before.1.elapsed().as_secs_f64().max(0.001);
        before = (total, Instant::now());
        let mut state = Vec::new();
        for (name, addr) in &nodes {
            state.push(format!("{name} :{} {}", addr.port(), describe_role(*addr).await));
        }
        state.push(format!("{rate:.0} writes/s, {total} acknowledged"));
        view.show(state);
        tokio::time::sleep(REFRESH).await;
    }
}

async fn describe_role(addr: SocketAddr) -> String {
    let answer: Result<String> =
        match tokio::time::timeout(ROLE_LIMIT, client::ask(addr, ROLE_LIMIT, &["INFO", "replication"])).await
        {
            Ok(answer) => answer,
            Err(_elapsed) => return "no answer".into(),
        };
    match answer.map(|text| Role::from_info(&client::info_fields(&text))) {
        Ok(Ok(Role::Master { online_replicas, .. })) => format!("master of {online_replicas}"),
        Ok(Ok(Role::Replica { master_port, link_up, .. })) => {
            format!("replica of :{master_port}, link {}", if link_up { "up" } else { "down" })
        }
        Ok(Err(what)) => what,
        Err(LabError::Redis { source, .. }) if source.is_timeout() => "no answer".into(),
        Err(_) => "down".into(),
    }
}

/// Starts a deployment, says how to reach it, and leaves it running. Returns only by failing;
/// the caller ends it by dropping the future.
pub async fn up(shape: &Shape, scratch: Scratch) -> Result<()> {
    println!("starting a master, {} replicas and {} Sentinels ...", shape.replicas, shape.sentinels);
    let deployment = Deployment::start(shape, scratch).await?;
    print!("{}", directions(&deployment));
    std::future::pending().await
}

fn directions(deployment: &Deployment) -> String {
    let mut text = String::from("\nData nodes (the first is the master now):\n");
    for node in &deployment.nodes {
        text += &format!("  {:11} redis-cli -p {}\n", node.name(), node.port());
    }
    text += "Sentinels:\n";
    for sentinel in &deployment.sentinels {
        text += &format!("  {:11} redis-cli -p {} SENTINEL masters\n", sentinel.name(), sentinel.port());
    }
    let sentinels: Vec<String> =
        deployment.sentinels.iter().map(|sentinel| format!("(\"127.0.0.1\", {})", sentinel.port())).collect();
    text += &format!(
        "From Python (pip install redis):\n\
         \x20 from redis.sentinel import Sentinel\n\
         \x20 master = Sentinel([{}]).master_for(\"{MASTER_NAME}\")\n\
         \x20 master.set(\"greeting\", \"hello\")\n\
         Fail over by hand, and by force:\n",
        sentinels.join(", ")
    );
    if let (Some(sentinel), Some(node)) = (deployment.sentinels.first(), deployment.nodes.first()) {
        text += &format!("  redis-cli -p {} SENTINEL failover {MASTER_NAME}\n", sentinel.port());
        if let Ok(pid) = node.pid() {
            text += &format!("  kill -9 {pid}\n");
        }
    }
    text += &format!(
        "Files and logs: {}\nCtrl-C ends it and removes them.\n",
        deployment.scratch().path().display()
    );
    text
}
