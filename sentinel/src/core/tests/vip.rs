//! Virtual IPs: nobody is entered under one.

use redoubt_wire::resp::value::Value;

use super::solo::{Solo, master_info, node, peer, peer_id};
use crate::core::config::Config;

const VIP: &str = "10.0.0.200";

fn refusals(solo: &Solo) -> Vec<&str> {
    solo.events.iter().filter(|(_, name, _)| name == "+vip-refused").map(|e| e.2.as_str()).collect()
}

fn error(solo: &mut Solo, words: &[&str]) -> String {
    match solo.ask(words) {
        Some(Value::Error(text)) => String::from_utf8(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn load(lines: &[&str]) -> Result<(), (usize, String)> {
    let words = |(n, line): (usize, &&str)| (n + 1, line.split(' ').map(str::to_string).collect());
    let directives: Vec<(usize, Vec<String>)> = lines.iter().enumerate().map(words).collect();
    Config::new(|_| true).load(&directives)
}

#[test]
fn a_master_that_names_a_replica_at_a_virtual_ip_is_not_believed() {
    let mut solo = Solo::new(2, 2, &["vip m 10.0.0.200"]);
    let names = format!("slave0:ip=10.0.0.1,port=6379\r\nslave1:ip={VIP},port=6379\r\n");
    solo.infos.insert(node(0), master_info(0, 100) + &names);
    solo.run(60_000);
    assert_eq!(solo.field("num-slaves").unwrap(), "1");
    assert_eq!(refusals(&solo), ["slave 10.0.0.200:6379 10.0.0.200 6379 @ m 10.0.0.0 6379"]);
    solo.run(600_000);
    assert_eq!(refusals(&solo).len(), 2, "once in ten minutes");
}

#[test]
fn another_sentinel_is_neither_entered_at_a_virtual_ip_nor_moved_there() {
    let mut solo = Solo::new(2, 2, &["vip m 10.0.0.200"]);
    let hello = |id: &str, epoch: u64| format!("{VIP},26379,{id},{epoch},m,10.0.0.1,6379,{epoch}");
    solo.ask(&["PUBLISH", "__sentinel__:hello", &hello(&peer_id(4), 0)]);
    solo.ask(&["PUBLISH", "__sentinel__:hello", &hello(&peer_id(0), 0)]);
    assert_eq!(solo.field("num-other-sentinels").unwrap(), "2");
    assert_eq!((solo.count("+sentinel"), solo.count("+sentinel-address-switch")), (0, 0));
    assert_eq!(refusals(&solo).len(), 1);
    solo.ask(&["PUBLISH", "__sentinel__:hello", &hello(&peer_id(0), 4)]);
    assert_eq!(solo.count("+switch-master"), 1, "what it knows is taken in all the same");
    solo.run(10);
    assert!(!solo.connects.iter().any(|(_, ip)| ip == VIP));
}

#[test]
fn a_virtual_ip_does_not_become_the_master() {
    let mut solo = Solo::new(2, 2, &["vip m 10.0.0.200"]);
    let text = format!("{},26379,{},4,m,{VIP},6379,4", peer(0), peer_id(0));
    solo.ask(&["PUBLISH", "__sentinel__:hello", &text]);
    assert_eq!(solo.count("+switch-master"), 0);
    assert_eq!(solo.field("ip").unwrap(), node(0));
    assert_eq!(refusals(&solo), ["master 10.0.0.200:6379 10.0.0.200 6379 @ m 10.0.0.0 6379"]);
    let refused = error(&mut solo, &["SENTINEL", "MONITOR", "n", VIP, "6379", "1"]);
    assert!(refused.contains("sentinel vip m 10.0.0.200"), "{refused}");
}

#[test]
fn the_file_names_them_and_they_can_be_set() {
    let mut solo = Solo::new(2, 2, &["vip m 10.0.0.200", "vip m fd00::c8"]);
    let of_vips = |solo: &Solo| -> Vec<String> {
        solo.lines.iter().filter(|l| l.starts_with("sentinel vip ")).cloned().collect()
    };
    solo.ask(&["SENTINEL", "FLUSHCONFIG"]);
    assert_eq!(of_vips(&solo), ["sentinel vip m 10.0.0.200", "sentinel vip m fd00::c8"]);
    solo.ask(&["SENTINEL", "SET", "m", "vip", "10.0.0.201 10.0.0.202"]);
    assert_eq!(solo.field("vip").as_deref(), Some("10.0.0.201 10.0.0.202"));
    assert_eq!(of_vips(&solo), ["sentinel vip m 10.0.0.201", "sentinel vip m 10.0.0.202"]);
    solo.ask(&["SENTINEL", "SET", "m", "vip", ""]);
    assert_eq!(solo.field("vip"), None);
    assert!(of_vips(&solo).is_empty());
}

#[test]
fn who_was_entered_under_it_before_it_was_known_is_forgotten() {
    let mut solo = Solo::new(3, 2, &[]);
    let ok = solo.ask(&["SENTINEL", "SET", "m", "vip", &format!("{} {}", node(2), peer(1))]);
    assert_eq!(ok, Some(Value::Simple("OK".into())));
    assert_eq!(solo.field("num-slaves").unwrap(), "1");
    assert_eq!(solo.field("num-other-sentinels").unwrap(), "1");
    assert_eq!((solo.count("-slave"), solo.count("-sentinel")), (1, 1));
    assert!(!solo.lines.iter().any(|l| l.contains("known") && l.contains(&node(2))), "{:?}", solo.lines);

    // What the file of an earlier run names.
    let mut solo = Solo::new(3, 1, &["vip m 10.0.0.2"]);
    assert_eq!(solo.field("num-slaves").unwrap(), "1");
}

#[test]
fn what_cannot_be_a_virtual_ip_is_refused() {
    let mut solo = Solo::new(2, 2, &["vip m 10.0.0.200"]);
    for (list, part) in [
        ("10.0.0.200 here", "Invalid virtual IP 'here'"),
        ("10.0.0.200/24", "Invalid virtual IP '10.0.0.200/24'"),
        (node(0).as_str(), "give the address of the node itself"),
    ] {
        let text = error(&mut solo, &["SENTINEL", "SET", "m", "vip", list]);
        assert!(text.starts_with("ERR ") && text.contains(part), "{text}");
    }
    let monitored = load(&["vip m 10.0.0.200", "monitor m 10.0.0.200 6379 2"]).unwrap_err();
    assert_eq!(monitored.0, 1);
    assert!(monitored.1.contains("sentinel monitor m <address of the node>"), "{}", monitored.1);
    let two = ["monitor m 10.0.0.1 1 1", "monitor n 10.0.0.2 1 1", "vip m 10.0.0.200", "vip n 10.0.0.200"];
    assert_eq!(load(&two).unwrap_err(), (4, "10.0.0.200 is a virtual IP of 'm' already.".into()));
    assert!(load(&["monitor m 10.0.0.1 1 1", "vip m 10.0.0.200 24"]).is_err());
}

#[test]
fn a_name_that_leads_to_a_virtual_ip_has_no_address() {
    let lines = ["monitor m db.example 6379 2", "resolve-hostnames yes", "vip m 10.0.0.200"];
    let words = |line: &&str| ((), line.split(' ').map(str::to_string).collect::<Vec<_>>());
    let mut config = Config::new(|_| true);
    config.load(&lines.iter().map(words).collect::<Vec<_>>()).unwrap();
    let leads = |ip: &str| [("db.example".to_string(), ip.to_string())].into();
    assert!(config.refuse_virtual_masters(&leads("10.0.0.1")).is_ok());
    let text = config.refuse_virtual_masters(&leads(VIP)).unwrap_err();
    assert!(text.starts_with("'db.example' leads to 10.0.0.200: "), "{text}");

    let mut solo = Solo::of_lines(&lines.map(str::to_string), leads("10.0.0.1"));
    solo.input(crate::core::Input::Resolved { host: "db.example".into(), ip: Some(VIP.into()) });
    assert_eq!(solo.field("ip").unwrap(), "10.0.0.1");
}
