//! Our Sentinels and redis-sentinel in one quorum: whichever is in the majority, over whichever data
//! nodes, they find each other, agree on a failover, and then report the same of it.

mod with_redis_server {
    use std::collections::{BTreeMap, BTreeSet, HashMap};
    use std::net::SocketAddr;
    use std::time::Duration;

    use redoubt_lab::binaries::{Binaries, is_ours};
    use redoubt_lab::client;
    use redoubt_lab::deployment::{Deployment, MASTER_NAME, Shape};
    use redoubt_lab::discovery::Discovery;
    use redoubt_lab::failover::{self, Fault, Plan};
    use redoubt_lab::load::Pace;
    use redoubt_lab::scratch::Scratch;
    use redoubt_lab::server::Server;
    use redoubt_lab::wait;

    const LIMIT: Duration = Duration::from_secs(40);
    const WRITERS: usize = 4;

    type Fields = HashMap<String, String>;

    /// What one Sentinel says of the master, its nodes and the other Sentinels; times are left out.
    #[derive(Debug, PartialEq, Eq)]
    struct Report {
        /// SENTINEL GET-MASTER-ADDR-BY-NAME.
        addr: (String, u16),
        /// SENTINEL MASTER, of that what all must see alike.
        master: BTreeMap<&'static str, String>,
        /// By name, flags, link, master and priority of the replicas.
        replicas: BTreeMap<String, Vec<String>>,
        /// Of all Sentinels, the one asked among them, ids and addresses, each with flags.
        sentinels: BTreeSet<(String, String)>,
        /// The line of the master in INFO.
        info: String,
    }

    fn pick(fields: &Fields, name: &str) -> String {
        fields.get(name).unwrap_or_else(|| panic!("no field {name} in {fields:?}")).clone()
    }

    async fn report(sentinel: &Server) -> redoubt_lab::error::Result<Report> {
        let addr = sentinel.ask(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME]).await?;
        let master: Fields = sentinel.ask(&["SENTINEL", "MASTER", MASTER_NAME]).await?;
        let alike = [
            "name",
            "ip",
            "port",
            "runid",
            "flags",
            "role-reported",
            "config-epoch",
            "num-slaves",
            "num-other-sentinels",
            "quorum",
            "down-after-milliseconds",
            "failover-timeout",
            "parallel-syncs",
        ];
        let replicas: Vec<Fields> = sentinel.ask(&["SENTINEL", "REPLICAS", MASTER_NAME]).await?;
        let of_replica = [
            "flags",
            "runid",
            "role-reported",
            "master-link-status",
            "master-host",
            "master-port",
            "slave-priority",
            "replica-announced",
        ];
        let peers: Vec<Fields> = sentinel.ask(&["SENTINEL", "SENTINELS", MASTER_NAME]).await?;
        let own = (sentinel.ask(&["SENTINEL", "MYID"]).await?, format!("sentinel {}", sentinel.addr()));
        let peers = peers.iter().map(|p| {
            (pick(p, "runid"), format!("{} {}:{}", pick(p, "flags"), pick(p, "ip"), pick(p, "port")))
        });
        Ok(Report {
            addr,
            master: alike.map(|name| (name, pick(&master, name))).into(),
            replicas: replicas
                .iter()
                .map(|r| (pick(r, "name"), of_replica.map(|name| pick(r, name)).into()))
                .collect(),
            sentinels: peers.chain([own]).collect(),
            info: pick(&sentinel.info("sentinel").await?, "master0"),
        })
    }

    /// Waits until all Sentinels report the same, and that is what holds.
    async fn reports_agree(deployment: &Deployment, master: usize) -> Report {
        let what = "all Sentinels report the same";
        let agreed = wait::until(what, LIMIT, async || {
            let mut reports = Vec::new();
            for sentinel in &deployment.sentinels {
                reports.push(report(sentinel).await.map_err(|error| error.to_string())?);
            }
            let first = reports.swap_remove(0);
            match reports.iter().find(|other| **other != first) {
                Some(other) => Err(format!("{first:#?}\n{other:#?}")),
                None => Ok(first),
            }
        })
        .await
        .unwrap();
        let port = deployment.nodes[master].port();
        assert_eq!(agreed.addr, ("127.0.0.1".to_string(), port));
        assert_eq!(
            (agreed.master["flags"].as_str(), agreed.master["num-other-sentinels"].as_str()),
            ("master", "2")
        );
        assert_eq!((agreed.replicas.len(), agreed.sentinels.len()), (2, 3));
        let wanted = format!("name={MASTER_NAME},status=ok,address=127.0.0.1:{port},slaves=2,sentinels=3");
        assert_eq!(agreed.info, wanted);
        agreed
    }

    /// Redis's timers are made for years of service; so many seconds less each.
    async fn hasten(sentinels: &[Server]) {
        for sentinel in sentinels {
            let hastened =
                ["SENTINEL", "DEBUG", "info-period", "1000", "publish-period", "500", "ask-period", "250"];
            assert_eq!(sentinel.ask::<String>(&hastened).await.unwrap(), "OK");
        }
    }

    /// The new master's address as each Sentinel published it.
    async fn switches(discovery: &Discovery, sentinels: usize) -> Vec<String> {
        wait::until("every Sentinel publishes +switch-master", LIMIT, async || {
            let events = discovery.events(0);
            let switches: Vec<_> = events.iter().filter(|e| e.channel == "+switch-master").collect();
            let publishers: BTreeSet<usize> = switches.iter().map(|e| e.sentinel).collect();
            if publishers.len() < sentinels {
                return Err(format!("{publishers:?} did"));
            }
            Ok(switches.into_iter().map(|e| e.message.clone()).collect())
        })
        .await
        .unwrap()
    }

    async fn agree_and_fail_over(ours: usize, our_nodes: bool, fault: Fault) {
        let (own, redis) = (Binaries::locate(None, None).unwrap(), Binaries::redis().unwrap());
        let node = if our_nodes { own.node.clone() } else { redis.node.clone() };
        let allowed_loss = if is_ours(&node) { 0 } else { WRITERS };
        let shape = Shape {
            sentinels: ours,
            other_sentinels: vec![redis.sentinel; 3 - ours],
            down_after_ms: 1_500,
            ..Shape::usual(Binaries { node, ..own })
        };
        let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let mut deployment = Deployment::start(&shape, scratch).await.unwrap();
        hasten(&deployment.sentinels).await;
        let before = reports_agree(&deployment, 0).await;

        let discovery = Discovery::start(&deployment.sentinel_addrs()).await.unwrap();
        let pace = Pace { writers: WRITERS, interval: Duration::from_millis(2) };
        let plan = Plan { fault, pace, steady: Duration::from_millis(200) };
        let figures = failover::round(
            &mut deployment,
            &discovery,
            plan,
            shape.down_after_ms,
            &|l| println!("{l}"),
            &|_| {},
        )
        .await
        .unwrap();
        println!("{ours} of ours, our nodes: {our_nodes}: {}", figures.summary());
        assert!(figures.lost <= allowed_loss, "acknowledged writes are gone: {figures:?}");

        let new = deployment.settled(LIMIT).await.unwrap();
        let told = switches(&discovery, 3).await;
        let addr = |node: usize| format!("127.0.0.1 {}", deployment.nodes[node].port());
        let wanted = format!("{MASTER_NAME} {} {}", addr(0), addr(new));
        assert!(told.iter().all(|text| *text == wanted) && told.len() == 3, "{told:?}");
        let after = reports_agree(&deployment, new).await;
        let epoch = |report: &Report| report.master["config-epoch"].parse::<u64>().unwrap();
        assert!(epoch(&after) > epoch(&before), "{after:?}");
        assert_eq!(after.sentinels, before.sentinels);
        asks_of_each_other(&deployment.sentinels, after.addr).await;
    }

    /// What Sentinels ask each other is answered alike: nobody sees the master down, and a vote that is
    /// asked for is given once an epoch.
    async fn asks_of_each_other(sentinels: &[Server], (ip, port): (String, u16)) {
        for sentinel in sentinels {
            let ask = async |addr: SocketAddr, port: &str, epoch: &str, who: &str| {
                let words = ["SENTINEL", "IS-MASTER-DOWN-BY-ADDR", &ip, port, epoch, who];
                client::ask::<(i64, String, i64)>(addr, LIMIT, &words).await.unwrap()
            };
            let port = port.to_string();
            let (addr, star) = (sentinel.addr(), "*".to_string());
            assert_eq!(ask(addr, &port, "0", "*").await, (0, star.clone(), 0));
            assert_eq!(ask(addr, "1", "1000", "someone").await, (0, star, 0));
            assert_eq!(ask(addr, &port, "1000", "someone").await, (0, "someone".into(), 1000));
            assert_eq!(ask(addr, &port, "1000", "other").await, (0, "someone".into(), 1000));
        }
    }

    #[tokio::test]
    async fn two_of_ours_and_redis_sentinel_over_our_nodes() {
        agree_and_fail_over(2, true, Fault::Sigkill).await;
    }

    #[tokio::test]
    async fn two_of_ours_and_redis_sentinel_over_redis_nodes() {
        agree_and_fail_over(2, false, Fault::Sigstop).await;
    }

    #[tokio::test]
    async fn one_of_ours_and_two_redis_sentinels_over_our_nodes() {
        agree_and_fail_over(1, true, Fault::Sigstop).await;
    }

    #[tokio::test]
    async fn one_of_ours_and_two_redis_sentinels_over_redis_nodes() {
        agree_and_fail_over(1, false, Fault::Sigkill).await;
    }
}
