//! Host names whose addresses are late, change, or do not exist.

use super::lone::Lone;
use crate::core::Input;
use crate::core::names::{MAX_NAMES, MAX_WAITING};

/// A Sentinel that watches the master `db.example`.
fn watch(known: &[(&str, &str)]) -> Lone {
    let directives =
        ["monitor m db.example 6379 1", "resolve-hostnames yes", "down-after-milliseconds m 10000"];
    Lone::new(&directives, known)
}

fn answer(w: &mut Lone, ip: Option<&str>) {
    let host = w.lookups.pop().expect("a lookup");
    w.tell(Input::Resolved { host, ip: ip.map(str::to_string) });
}

/// The command connection stands, and then breaks.
fn connect_and_lose(w: &mut Lone) {
    let (conn, _) = w.connects.pop().expect("an attempt");
    w.tell(Input::Connected { conn, local_ip: Some("10.0.0.9".into()) });
    w.pass(2_000);
    w.connects.clear();
    w.tell(Input::Disconnected { conn, reason: "reset".into() });
}

#[test]
fn a_name_without_an_address_is_looked_up_until_it_has_one() {
    let mut w = watch(&[]);
    assert_eq!((w.lookups.as_slice(), w.connects.len()), (&["db.example".to_string()][..], 0));
    answer(&mut w, None);
    w.pass(3_000);
    assert_eq!((w.lookups.len(), w.connects.len()), (1, 0), "one lookup at a time");
    answer(&mut w, Some("10.0.0.1"));
    w.pass(1);
    assert_eq!(w.connects[0].1, "10.0.0.1");
}

#[test]
fn connections_go_to_the_last_address_while_the_name_service_is_silent() {
    let mut w = watch(&[("db.example", "10.0.0.1")]);
    for _ in 0..2 {
        connect_and_lose(&mut w);
        assert_eq!((w.lookups.len(), w.connects.len()), (1, 1), "an answer is not waited for");
    }
    answer(&mut w, None);
    connect_and_lose(&mut w);
    assert_eq!((w.lookups.len(), w.connects.len()), (1, 1), "nor a good one");
}

#[test]
fn a_process_that_came_back_elsewhere_is_found() {
    let mut w = watch(&[("db.example", "10.0.0.1")]);
    answer(&mut w, Some("10.0.0.1"));
    connect_and_lose(&mut w);
    assert_eq!(w.connects.pop().unwrap().1, "10.0.0.1");
    answer(&mut w, Some("10.0.0.2"));
    w.pass(1);
    assert_eq!(w.connects.pop().unwrap().1, "10.0.0.2", "the attempt at the old address is given up");
    assert_eq!(w.core.masters[0].me.addr.ip, "10.0.0.2");
}

#[test]
fn a_question_by_name_finds_the_master_known_by_address() {
    let mut w = Lone::new(&["monitor m 10.0.0.1 6379 1", "resolve-hostnames yes"], &[("db", "10.0.0.1")]);
    let ask = |w: &mut Lone, host: &str| {
        let answer = w.ask(&format!("SENTINEL IS-MASTER-DOWN-BY-ADDR {host} 6379 9 me"));
        String::from_utf8_lossy(answer.as_slice().unwrap()[1].as_bytes().unwrap()).into_owned()
    };
    assert_eq!(ask(&mut w, "db"), "me");
    assert_eq!(ask(&mut w, "10.0.0.2"), "*");
}

#[test]
fn hellos_that_name_hosts_take_no_more_memory_than_they_may() {
    let mut w = watch(&[("db.example", "10.0.0.1")]);
    for n in 0..3 * MAX_NAMES {
        w.core.hello(&format!("host{n},1,id{n},1,m,db.example,6379,1"), true, w.now);
    }
    w.drain();
    assert!(w.core.names.by_host.len() <= MAX_NAMES && w.lookups.len() <= MAX_NAMES);
    assert!(w.core.names.waiting.len() <= MAX_WAITING);
    assert_eq!(w.core.resolve("db.example", 1).unwrap().ip, "10.0.0.1");
}
