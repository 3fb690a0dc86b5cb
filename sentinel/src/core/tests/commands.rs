//! What clients see.

use redoubt_wire::resp::reply::Protocol::{Resp2, Resp3};
use redoubt_wire::resp::value::Value;

use super::world::World;

fn world() -> World {
    let mut world = World::new(3, 3, 3, &[]);
    world.run(4_000);
    world
}

fn text(value: &Value) -> String {
    match value {
        Value::Integer(n) => n.to_string(),
        other => String::from_utf8_lossy(other.as_bytes().expect("text")).into_owned(),
    }
}

fn ask(world: &mut World, line: &str) -> Value {
    let words: Vec<&str> = line.split(' ').collect();
    world.ask(0, &words, Resp2)
}

fn names(value: &Value) -> Vec<String> {
    value.as_slice().expect("a flat map").chunks(2).map(|p| text(&p[0])).collect()
}

#[test]
fn fields_come_in_the_order_that_clients_index_into() {
    let mut world = world();
    let master = ask(&mut world, "SENTINEL MASTER m");
    assert_eq!(
        names(&master),
        [
            "name",
            "ip",
            "port",
            "runid",
            "flags",
            "link-pending-commands",
            "link-refcount",
            "last-ping-sent",
            "last-ok-ping-reply",
            "last-ping-reply",
            "down-after-milliseconds",
            "info-refresh",
            "role-reported",
            "role-reported-time",
            "config-epoch",
            "num-slaves",
            "num-other-sentinels",
            "quorum",
            "failover-timeout",
            "parallel-syncs"
        ]
    );
    assert_eq!(text(&master.as_slice().unwrap()[33]), "2", "num-other-sentinels");
    let replicas = ask(&mut world, "SENTINEL SLAVES m");
    assert_eq!(
        names(&replicas.as_slice().unwrap()[0])[14..],
        [
            "master-link-down-time",
            "master-link-status",
            "master-host",
            "master-port",
            "slave-priority",
            "slave-repl-offset",
            "replica-announced"
        ]
    );
    let peers = ask(&mut world, "SENTINEL SENTINELS m");
    assert_eq!(
        names(&peers.as_slice().unwrap()[0])[10..],
        ["down-after-milliseconds", "last-hello-message", "voted-leader", "voted-leader-epoch"]
    );
    assert!(matches!(world.ask(0, &["SENTINEL", "MASTER", "m"], Resp3), Value::Map(m) if m.len() == 20));
}

#[test]
fn errors_have_redis_texts() {
    let mut world = world();
    for (line, error) in [
        ("SENTINEL MASTER x", "ERR No such master with that name"),
        ("SENTINEL MASTER", "ERR wrong number of arguments for 'sentinel|master' command"),
        ("SENTINEL NOPE", "ERR unknown subcommand 'NOPE'. Try SENTINEL HELP."),
        ("PUBLISH other x", "ERR Only HELLO messages are accepted by Sentinel instances."),
        ("SENTINEL MONITOR m 10.0.0.0 6379 2", "ERR Duplicate master name."),
        ("SENTINEL MONITOR x host 6379 2", "ERR Invalid IP address or hostname specified"),
        ("SENTINEL MONITOR x 1.1.1.1 6379 0", "ERR Quorum must be 1 or greater."),
        ("SENTINEL SET m quorum x", "ERR Invalid argument 'x' for SENTINEL SET 'quorum'"),
        ("SENTINEL SET m nope x", "ERR Unknown option or number of arguments for SENTINEL SET 'nope'"),
        ("SENTINEL CONFIG SET nope x", "ERR Invalid argument 'nope' to SENTINEL CONFIG SET"),
        (
            "SENTINEL CONFIG SET announce-ip a announce-ip b",
            "ERR Duplicate argument 'announce-ip' to SENTINEL CONFIG SET",
        ),
        ("SENTINEL CONFIG SET announce-ip a loglevel", "ERR Missing argument 'loglevel' value"),
        ("SENTINEL DEBUG ping-period 0", "ERR Invalid argument '0' for SENTINEL DEBUG 'ping-period'"),
        ("SENTINEL SIMULATE-FAILURE x", "ERR Unknown failure simulation specified"),
    ] {
        assert_eq!(text(&ask(&mut world, line)), error, "{line}");
    }
}

#[test]
fn an_unknown_master_has_no_address() {
    assert_eq!(ask(&mut world(), "SENTINEL GET-MASTER-ADDR-BY-NAME x"), Value::NullArray);
}

#[test]
fn ckquorum_counts_the_sentinels_in_reach() {
    let mut world = world();
    let ok = "OK 3 usable Sentinels. Quorum and failover authorization can be reached";
    assert_eq!(text(&ask(&mut world, "SENTINEL CKQUORUM m")), ok);
    world.crash_sentinel(1);
    world.crash_sentinel(2);
    world.run(2_000);
    assert_eq!(
        text(&ask(&mut world, "SENTINEL CKQUORUM m")),
        "NOQUORUM 1 usable Sentinels. Not enough available Sentinels to reach the specified quorum for this \
         master. Not enough available Sentinels to reach the majority and authorize a failover"
    );
}

#[test]
fn masters_come_and_go_and_are_remembered() {
    let mut world = world();
    assert_eq!(text(&ask(&mut world, "SENTINEL MONITOR other 10.0.0.1 6379 2")), "OK");
    let Value::Array(masters) = ask(&mut world, "SENTINEL MASTERS") else { panic!("no array") };
    assert_eq!(masters.len(), 2);
    assert_eq!(text(&ask(&mut world, "SENTINEL SET other down-after-milliseconds 777")), "OK");
    world.crash_sentinel(0);
    world.start_sentinel(0);
    let Value::Array(masters) = ask(&mut world, "SENTINEL MASTERS") else { panic!("no array") };
    assert_eq!(masters.len(), 2);
    assert_eq!(text(&ask(&mut world, "SENTINEL REMOVE other")), "OK");
    let Value::Array(masters) = ask(&mut world, "SENTINEL MASTERS") else { panic!("no array") };
    assert_eq!(masters.len(), 1);
}

#[test]
fn reset_forgets_and_finds_again() {
    let mut world = world();
    assert_eq!(ask(&mut world, "SENTINEL RESET m*"), Value::Integer(1));
    assert_eq!(super::rules::field(&mut world, 0, "num-slaves"), "0");
    world.run(5_000);
    assert_eq!(super::rules::field(&mut world, 0, "num-slaves"), "2");
    assert_eq!(super::rules::field(&mut world, 0, "num-other-sentinels"), "2");
    assert_eq!(ask(&mut world, "SENTINEL RESET none"), Value::Integer(0));
}

#[test]
fn scripts_are_set_only_where_the_file_allows_it() {
    let mut world = world();
    let denied = text(&ask(&mut world, "SENTINEL SET m notification-script /bin/true"));
    assert!(denied.starts_with("ERR Reconfiguration of scripts path is denied"), "{denied}");
}

#[test]
fn config_get_shows_what_matches_once_and_pattern_by_pattern() {
    let mut world = world();
    assert_eq!(text(&ask(&mut world, "SENTINEL CONFIG SET announce-port 5 sentinel-user u")), "OK");
    let shown = ask(&mut world, "SENTINEL CONFIG GET sentinel-* Announce-Port *-user");
    let pairs: Vec<String> = shown.as_slice().unwrap().iter().map(text).collect();
    assert_eq!(pairs, ["sentinel-user", "u", "sentinel-pass", "", "announce-port", "5"]);
}

#[test]
fn a_vote_is_given_once_per_epoch() {
    let mut world = world();
    let vote = |world: &mut World, epoch: u64, who: &str| {
        let line = format!("SENTINEL IS-MASTER-DOWN-BY-ADDR 10.0.0.0 6379 {epoch} {who}");
        ask(world, &line).as_slice().unwrap().iter().map(text).collect::<Vec<_>>()
    };
    assert_eq!(vote(&mut world, 0, "*"), ["0", "*", "0"]);
    assert_eq!(vote(&mut world, 9, "a"), ["0", "a", "9"]);
    assert_eq!(vote(&mut world, 9, "b"), ["0", "a", "9"]);
    assert_eq!(vote(&mut world, 8, "b"), ["0", "a", "9"]);
    assert_eq!(vote(&mut world, 10, "b"), ["0", "b", "10"]);
    world.crash_sentinel(0);
    world.start_sentinel(0);
    assert_eq!(vote(&mut world, 10, "c")[1], "*", "after a restart the vote of that epoch is still spent");
    assert_eq!(
        ask(&mut world, "SENTINEL IS-MASTER-DOWN-BY-ADDR 9.9.9.9 6379 11 a"),
        ask(&mut world, "SENTINEL IS-MASTER-DOWN-BY-ADDR 9.9.9.9 6379 11 *")
    );
}
