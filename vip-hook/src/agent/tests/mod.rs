//! The whole agent against a node and Sentinels on loopback, on a played host.

mod sockets;
mod stage;

use std::time::Duration;

use crate::agent::host::HostEvent;
use crate::agent::store::Store;
use crate::clock;
use crate::control::{Reply, Request};
use crate::core::types::{AddressState, VirtualAddress};
use stage::{Kind, Stage, VIP, eventually, text_of, vip};

const REDOUBT: [Kind; 3] = [Kind::Redoubt; 3];
const CLASSIC: [Kind; 3] = [Kind::Classic; 3];
const LEASE: Duration = Duration::from_millis(400);

#[tokio::test]
async fn the_master_takes_its_address_and_lets_go_when_it_is_one_no_more() {
    let stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    assert!(stage.sentinels.iter().all(|sentinel| sentinel.count("SENTINEL GET-MASTER") == 0));
    let status = stage.status().await;
    let master = &status.masters[0];
    assert!(master.holds && master.addresses[0].on, "{master:?}");
    assert_eq!(master.node_role.as_ref().unwrap().text, "master");
    assert!(master.sentinels.iter().filter(|sentinel| sentinel.counts).count() >= 2, "{master:?}");
    assert!(master.sentinels.iter().all(|sentinel| sentinel.classic == Some(false)), "{master:?}");
    eventually("it is announced", || stage.hosted().count("announce") >= 2).await;

    stage.node.plays().is_master = false;
    stage.until_off().await;
    for sentinel in &stage.sentinels {
        eventually("the release is told", || {
            sentinel.count("SENTINEL VOUCH mymaster 127.0.0.1") > 0
                && sentinel.plays().asked.iter().any(|asked| asked.ends_with("RELEASE"))
        })
        .await;
    }
    assert!(!stage.status().await.masters[0].holds);
}

#[tokio::test]
async fn with_classic_sentinels_it_waits_for_an_older_lease_to_end() {
    let begun = clock::now();
    let stage = Stage::new(&CLASSIC).await;
    stage.until_on().await;
    assert!(clock::now() - begun >= LEASE + Duration::from_millis(50));
    for sentinel in &stage.sentinels {
        assert_eq!(sentinel.count("SENTINEL VOUCH"), 1, "what it is, is known after the first question");
    }
    assert!(stage.status().await.masters[0].sentinels.iter().all(|sentinel| sentinel.classic == Some(true)));
}

#[tokio::test]
async fn a_sentinel_behind_a_new_connection_may_be_another_kind() {
    let stage = Stage::new(&[Kind::Classic, Kind::Redoubt, Kind::Redoubt]).await;
    stage.until_on().await;
    let first = &stage.sentinels[0];
    eventually("it was found to be classic", || first.count("SENTINEL GET-MASTER") > 0).await;
    // It says nothing for so long that the connection is given up.
    first.plays().hangs = true;
    first.plays().kind = Kind::Redoubt;
    eventually("the connection is given up", || first.count("SENTINEL VOUCH") > 1).await;
    assert!(stage.is_on(VIP), "two others were enough");
}

#[tokio::test]
async fn a_minority_is_not_enough() {
    let stage = Stage::with(&REDOUBT, "", |_, sentinels| {
        for sentinel in &sentinels[1..] {
            sentinel.plays().names = "127.0.0.1:1".parse().unwrap();
        }
    })
    .await;
    for sentinel in &stage.sentinels {
        eventually("all were asked", || sentinel.count("SENTINEL VOUCH") >= 3).await;
    }
    assert!(!stage.is_on(VIP));
    let status = stage.status().await;
    assert!(
        status.masters[0]
            .sentinels
            .iter()
            .any(|s| s.answer.as_ref().is_some_and(|a| a.text.contains("other-master")))
    );
    for sentinel in &stage.sentinels {
        sentinel.plays().names = stage.node.addr;
    }
    stage.until_on().await;
}

#[tokio::test]
async fn a_node_that_hangs_loses_the_address_before_the_lease_is_over() {
    let stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    stage.node.plays().hangs = true;
    let last = clock::now();
    stage.until_off().await;
    assert!(stage.hosted().longest <= last + LEASE, "what the node said last is the last proof");
}

#[tokio::test]
async fn a_node_that_is_gone_loses_the_address_at_once() {
    // A round is due in each quarter of a lease, and this comes long before the next one.
    let mut stage = Stage::with(&REDOUBT, "lease-ms: 10000", |_, _| ()).await;
    stage.until_on().await;
    let gone = clock::now();
    stage.node.end().await;
    stage.until_off().await;
    let took = clock::now() - gone;
    assert!(took < Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn without_a_majority_of_the_sentinels_the_address_is_let_go_of() {
    let mut stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    stage.sentinels[0].plays().hangs = true;
    let ended = clock::now();
    stage.sentinels[1].end().await;
    stage.until_off().await;
    assert!(stage.hosted().longest <= ended + LEASE);
    let status = stage.status().await;
    assert!(status.masters[0].sentinels[1].down.is_some(), "{status:?}");
}

#[tokio::test]
async fn one_sentinel_that_talks_nonsense_moves_nothing() {
    let stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    let endless = format!("+{}", "a".repeat(1 << 20));
    for nonsense in [
        "",
        "$5\r\nhal",
        "HTTP/1.1 400 Bad Request\r\n\r\n",
        "*1000000000\r\n",
        "$9999999999\r\n",
        ":1\r\n:1\r\n:1\r\n",
        "*3\r\n$7\r\nvouched\r\n:-1\r\n:-1\r\n",
        "-TILT\r\n",
        &endless,
    ] {
        stage.sentinels[2].plays().raw = Some(nonsense.into());
        let asked = stage.sentinels[0].count("SENTINEL VOUCH");
        eventually("the others are asked", || stage.sentinels[0].count("SENTINEL VOUCH") > asked + 3).await;
        let status = stage.status().await;
        assert!(!status.masters[0].sentinels[2].counts && status.masters[0].holds, "{status:?}");
    }
    assert_eq!(stage.hosted().count("drop"), 0);
    stage.sentinels[2].plays().raw = None;
    stage.sentinels[1].plays().hangs = true;
    let asked = stage.sentinels[2].count("SENTINEL VOUCH");
    eventually("it counts again", || stage.sentinels[2].count("SENTINEL VOUCH") > asked + 8).await;
    assert!(stage.is_on(VIP));
}

#[tokio::test]
async fn a_node_that_does_not_say_its_role_loses_the_address_with_the_lease() {
    let stage = Stage::new(&REDOUBT).await;
    for error in ["LOADING Redis is loading the dataset in memory", "BUSY a script", "NOAUTH who are you"] {
        stage.until_on().await;
        stage.node.plays().raw = Some(format!("-{error}\r\n"));
        let last = clock::now();
        stage.until_off().await;
        assert!(stage.hosted().longest <= last + LEASE, "{error}");
        let why = stage.status().await.masters[0].why.clone();
        assert!(why.contains(error), "{why}");
        stage.node.plays().raw = None;
    }
    stage.until_on().await;
}

#[tokio::test]
async fn an_event_of_a_sentinel_makes_a_round_due() {
    let stage = Stage::with(&REDOUBT, "lease-ms: 10000", |node, _| node.plays().is_master = false).await;
    eventually("it is subscribed", || stage.sentinels[2].subscribers() == 1).await;
    eventually("the node was asked", || stage.node.count("ROLE") >= 2).await;
    let before = stage.node.count("ROLE");
    let begun = clock::now();
    stage.node.plays().is_master = true;
    stage.sentinels[2]
        .publish("+switch-master", &format!("mymaster 127.0.0.1 1 127.0.0.1 {}", stage.node.addr.port()));
    stage.until_on().await;
    assert!(stage.node.count("ROLE") > before);
    assert!(clock::now() - begun < Duration::from_secs(2));
}

#[tokio::test]
async fn passwords_are_given_to_node_and_sentinels() {
    let stage = Stage::with(&REDOUBT, "sentinel-password: s3cret", |_, sentinels| {
        for sentinel in sentinels {
            sentinel.plays().password = Some("s3cret".into());
        }
    })
    .await;
    stage.until_on().await;
    let refused = Stage::with(&REDOUBT, "", |_, sentinels| {
        for sentinel in sentinels {
            sentinel.plays().password = Some("s3cret".into());
        }
    })
    .await;
    eventually("they were asked", || {
        refused.sentinels.iter().all(|sentinel| sentinel.count("SENTINEL VOUCH") > 0)
    })
    .await;
    let status = refused.status().await;
    assert!(!status.masters[0].holds);
    assert!(status.masters[0].why.contains("NOAUTH"), "{}", status.masters[0].why);
}

#[tokio::test]
async fn a_reload_keeps_what_stays_and_drops_what_goes() {
    let stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    stage.rewrite("lease-ms: 500", "10.0.0.100 10.0.0.101");
    stage.hup().await;
    eventually("the new one is on", || stage.is_on("10.0.0.101")).await;
    stage.rewrite("lease-ms: 500", "10.0.0.101");
    stage.hup().await;
    stage.until_off().await;
    assert!(stage.is_on("10.0.0.101"));
    eventually("what went is not watched", || !stage.hosted().watched.contains(&vip())).await;
    let hosted = stage.hosted();
    let drops: Vec<_> = hosted.done.iter().filter(|(_, ip, what)| *what == "drop" && *ip != vip()).collect();
    assert!(drops.is_empty(), "{drops:?}");
    assert_eq!(hosted.done.iter().filter(|(_, ip, what)| *what == "take" && *ip == vip()).count(), 1);
}

#[tokio::test]
async fn a_file_that_is_wrong_is_refused_as_a_whole() {
    let stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    for (top, says) in [
        ("lease-ms: 1", "lease-ms: invalid value"),
        ("state-dir: /tmp/x\nstate-dir: /tmp", "duplicate"),
        ("socket-group: other", "socket-group changed, which takes a restart"),
    ] {
        stage.rewrite(top, "10.0.0.102");
        stage.hup().await;
        let status = stage.status().await;
        assert!(status.config_error.as_ref().unwrap().contains(says), "{status:?}");
        assert_eq!(status.masters[0].addresses[0].address, "10.0.0.100/32");
    }
    assert!(stage.is_on(VIP));
    stage.rewrite("", VIP);
    stage.hup().await;
    assert_eq!(stage.status().await.config_error, None);
    assert_eq!(stage.hosted().count("drop"), 0);
}

#[tokio::test]
async fn a_master_that_is_taken_out_is_let_go_of() {
    let stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    let text = std::fs::read_to_string(stage.file()).unwrap();
    std::fs::write(stage.file(), text.replace("name: mymaster", "name: another").replace(VIP, "10.0.0.103"))
        .unwrap();
    stage.hup().await;
    stage.until_off().await;
    let status = stage.status().await;
    assert_eq!(status.masters.iter().map(|master| &*master.name).collect::<Vec<_>>(), ["another"]);
    assert!(text_of(&stage.notify(true, None).await).starts_with("not this host's affair"));
}

#[tokio::test]
async fn at_its_end_it_lets_go_and_tells_the_sentinels() {
    let mut stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    stage.stop().await;
    assert!(!stage.is_on(VIP));
    for sentinel in &stage.sentinels {
        let plays = sentinel.plays();
        assert!(plays.asked.last().unwrap().ends_with("RELEASE"), "{:?}", plays.asked.last());
    }
    assert!(!stage.socket().exists());
}

#[tokio::test]
async fn what_a_killed_agent_left_is_taken_over_or_dropped() {
    let mut stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    stage.kill().await;
    assert!(stage.is_on(VIP));
    stage.start_again();
    eventually("it holds again", || stage.hosted().on.get(&vip()).is_some_and(|until| *until > clock::now()))
        .await;
    assert_eq!(stage.hosted().count("drop"), 0, "it was proven before it was dropped");
    stage.kill().await;
    stage.node.plays().is_master = false;
    stage.start_again();
    stage.until_off().await;
}

#[tokio::test]
async fn a_script_hears_what_came_of_its_call() {
    let stage = Stage::with(&REDOUBT, "", |node, _| node.plays().is_master = false).await;
    eventually("it runs", || stage.node.count("ROLE") > 0).await;
    assert_eq!(text_of(&stage.notify(false, None).await), "not this host's affair: it holds nothing of it");
    let (reply, ()) =
        tokio::join!(stage.notify(true, Some(1)), async { stage.node.plays().is_master = true });
    let Reply::Done { text } = &reply else { panic!("{reply:?}") };
    assert!(text.starts_with("10.0.0.100 taken on eth0 after ") && text.ends_with(" ms"), "{text}");
    let again = stage.notify(true, None).await;
    let text = text_of(&again);
    assert!(text.starts_with("10.0.0.100 taken on eth0 ") && text.ends_with(" ms before the call"), "{text}");
    let (reply, ()) = tokio::join!(stage.notify(false, None), async { stage.node.plays().is_master = false });
    assert!(text_of(&reply).starts_with("10.0.0.100 released on eth0 after "), "{reply:?}");
}

#[tokio::test]
async fn a_script_that_is_called_too_early_is_asked_to_call_again() {
    let stage = Stage::with(&REDOUBT, "", |node, _| node.plays().is_master = false).await;
    let reply = stage.notify(true, None).await;
    let Reply::Retry { text } = &reply else { panic!("{reply:?}") };
    assert!(text.contains("not done within 3 s") && text.contains("the local node is a replica"), "{text}");
}

#[tokio::test]
async fn an_old_story_moves_nothing() {
    let mut stage = Stage::with(&REDOUBT, "", |_, sentinels| {
        sentinels.iter().for_each(|sentinel| sentinel.plays().epoch = 7);
    })
    .await;
    stage.until_on().await;
    let reply = stage.notify(false, Some(6)).await;
    assert_eq!(text_of(&reply), "an old story of epoch 6, epoch 7 is known; nothing to do");
    // And it survives.
    stage.stop().await;
    stage.node.plays().is_master = false;
    stage.start_again();
    assert_eq!(stage.status().await.masters[0].epoch, 7);
}

#[tokio::test]
async fn maintenance_lets_go_and_survives_a_restart() {
    let mut stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    let reply = stage.call(Request::Maintenance { on: true, master: None }).await;
    assert!(matches!(&reply, Reply::Done { text } if text.contains("maintenance is on")), "{reply:?}");
    assert!(!stage.is_on(VIP));
    assert!(text_of(&stage.notify(true, None).await).contains("maintenance is on"));
    stage.stop().await;
    stage.start_again();
    let asked = stage.node.count("ROLE");
    eventually("it runs", || stage.node.count("ROLE") > asked).await;
    assert!(stage.status().await.masters[0].maintenance);
    assert!(!stage.is_on(VIP));
    stage.call(Request::Maintenance { on: false, master: Some("mymaster".into()) }).await;
    stage.until_on().await;
    let reply = stage.call(Request::Maintenance { on: true, master: Some("nobody".into()) }).await;
    assert!(matches!(&reply, Reply::Refused { text } if text.contains("no master 'nobody'")), "{reply:?}");
}

#[tokio::test]
async fn a_state_file_that_is_no_such_keeps_the_agent_from_starting() {
    let mut stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    stage.stop().await;
    for text in ["", "{\"epoch\":", "{\"epoch\":-1}", "{\"epoch\":1,\"other\":2}"] {
        std::fs::write(stage.state_file(), text).unwrap();
        let error = Store::open(&stage.config().state_dir, "mymaster").unwrap_err();
        assert!(error.contains("mymaster.json") && error.contains("remove it if"), "{text}: {error}");
    }
}

#[tokio::test]
async fn a_call_that_names_no_address_is_refused_and_makes_a_round_due_all_the_same() {
    let stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    let mut notification = stage.notification(true, None);
    notification.to_ip = "host1".into();
    let reply = stage.call(Request::Notify(notification)).await;
    assert!(matches!(&reply, Reply::Refused { text } if text.contains("'host1' is no address")), "{reply:?}");
    assert!(stage.is_on(VIP));
}

#[tokio::test]
async fn a_call_that_waits_when_the_agent_ends_is_to_be_made_again() {
    let stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    let events = stage.events.clone();
    let stop = async {
        events.send(super::Event::Stop).await.unwrap();
    };
    // The node is the master, so this waits for what will not be.
    let (reply, ()) = tokio::join!(stage.notify(false, None), stop);
    assert!(matches!(&reply, Reply::Retry { text } if text.contains("the agent is ending")), "{reply:?}");
}

#[tokio::test]
async fn a_release_lasts_until_the_node_was_a_replica() {
    let stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    let reply = stage.call(Request::Release { master: None }).await;
    assert!(matches!(&reply, Reply::Done { text } if text.contains("released")), "{reply:?}");
    assert!(!stage.is_on(VIP) && stage.status().await.masters[0].released);
    stage.node.plays().is_master = false;
    let asked = stage.node.count("ROLE");
    eventually("it was seen as a replica", || stage.node.count("ROLE") > asked + 1).await;
    stage.node.plays().is_master = true;
    stage.until_on().await;
}

#[tokio::test]
async fn an_address_that_another_program_removes_is_put_back() {
    let stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    stage.hosted().on.clear();
    let address = VirtualAddress { address: vip(), prefix_len: 32, interface: "eth0".into() };
    let state = AddressState { link_up: true, present: false, ours: false };
    stage.host_events.send(HostEvent::Address { address, state }).unwrap();
    stage.until_on().await;
}

#[tokio::test]
async fn what_the_host_refuses_is_said() {
    let stage = Stage::new(&REDOUBT).await;
    stage.until_on().await;
    stage.call(Request::Maintenance { on: true, master: None }).await;
    stage.hosted().failing = Some("interface eth0 is not there".into());
    stage.call(Request::Maintenance { on: false, master: None }).await;
    let reply = stage.notify(true, None).await;
    assert!(matches!(&reply, Reply::Retry { .. }), "{reply:?}");
    let status = stage.status().await;
    let error = status.masters[0].addresses[0].error.clone();
    assert!(error.is_some_and(|error| error.contains("is not there")), "{status:?}");
    stage.hosted().failing = None;
    stage.until_on().await;
}
