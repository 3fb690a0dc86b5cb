//! Files as users write them: the one that is shipped, and each mistake with the words it gets.

use super::*;

const SHIPPED: &str = include_str!("../../../configs/vip/vip-hook.yaml");

const SMALL: &str = "\
sentinels: [10.0.0.1:26379, 10.0.0.2:26379, 10.0.0.3:26379]
masters:
  - name: mymaster
    node: 10.0.0.1:6379
    addresses:
      - address: 10.0.0.100
        interface: eth0
";

#[test]
fn the_shipped_file_loads_as_it_is() {
    let config = Config::parse(SHIPPED).unwrap();
    assert_eq!(config, Config::parse(SMALL).unwrap());
    let master = config.master("mymaster").unwrap();
    assert_eq!(master.lease, Duration::from_millis(400));
    assert_eq!(master.port, 6379);
    assert_eq!(master.addresses[0].prefix_len, 32);
    assert!(config.warnings().is_empty());
}

/// What stands behind `#` in the shipped file is what the key is worth without it, or valid at least.
#[test]
fn every_key_is_in_the_shipped_file_and_its_example_is_valid() {
    let keys: Vec<&str> = SHIPPED
        .lines()
        .filter_map(|line| line.trim().strip_prefix('#'))
        .filter(|line| is_key(line))
        .collect();
    for group in [
        &["socket", "socket-group", "state-dir", "log-level", "logfile", "without-agent"][..],
        &[
            "sentinel-user",
            "sentinel-password",
            "sentinel-password-file",
            "lease-ms",
            "on-quorum-loss",
            "on-conflict",
        ],
        &["announce-interval", "user", "password", "password-file", "port", "host-addresses", "sentinels"],
    ] {
        for key in group {
            assert!(keys.iter().any(|line| line.starts_with(&format!("{key}:"))), "{key} is not documented");
        }
    }
    let defaults: Vec<_> = [
        "socket:",
        "state-dir:",
        "log-level:",
        "logfile:",
        "without-agent:",
        "lease-ms:",
        "on-quorum-loss:",
        "on-conflict:",
        "announce-interval:",
    ]
    .into();
    let spelt: String = SHIPPED
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(key) if defaults.iter().any(|name| key.starts_with(name)) => format!("{key}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    assert_ne!(spelt, SHIPPED);
    assert_eq!(Config::parse(&spelt).unwrap(), Config::parse(SHIPPED).unwrap());
    // All keys of a master but one of the two that exclude each other.
    let all: String = SHIPPED
        .lines()
        .map(|line| match line.split_once('#') {
            Some((space, key))
                if space.trim().is_empty() && is_key(key) && !key.contains("password-file") =>
            {
                format!("{space}{key}\n")
            }
            _ => format!("{line}\n"),
        })
        .collect();
    let config = Config::parse(&all).unwrap();
    assert_eq!(config.masters[0].node_login.user.as_deref(), Some("vip"));
    assert_eq!(config.masters[0].sentinel_login.command().unwrap(), ["AUTH", "vip", "secret"]);
    assert_eq!(config.socket_group.as_deref(), Some("redoubt"));
}

/// A key that is commented out has no space after the sign, a sentence has.
fn is_key(line: &str) -> bool {
    line.split_once(':').is_some_and(|(key, _)| key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-'))
}

/// A socket of 108 bytes.
const LONG_SOCKET: &str = "socket: /xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\nmasters:";

#[test]
fn errors_say_what_where_and_what_is_allowed() {
    // What is replaced in the small file, by what, and the whole error.
    let table = [
        ("sentinels:", "sentinel:", "unknown field `sentinel`, expected one of", "at line 1 column 1"),
        (
            "interface: eth0",
            "interface: eth0\n        vlan: 3",
            "masters[0].addresses[0]: unknown field `vlan`",
            "at line 8 column 9",
        ),
        (
            "10.0.0.2:26379",
            "10.0.0.2",
            "sentinels[1]: invalid value: string \"10.0.0.2\", expected host:port",
            "at line 1 column 29",
        ),
        ("10.0.0.2:26379", "10.0.0.2:0", "sentinels[1]: invalid value", "at line 1 column 29"),
        ("10.0.0.2:26379", "'[fd00::g]:1'", "sentinels[1]: invalid value", "line 1"),
        (
            "name: mymaster",
            "name: my master",
            "masters[0].name: invalid value: string \"my master\", expected the name",
            "at line 3 column 11",
        ),
        ("name: mymaster\n    ", "", "masters[0]: missing field `name`", "line 3"),
        (
            "address: 10.0.0.100",
            "address: 10.0.0.100/33",
            "masters[0].addresses[0].address: invalid value",
            "at line 6 column 18",
        ),
        (
            "address: 10.0.0.100",
            "address: 10.0.0.0/24",
            "masters[0].addresses[0].address: invalid value",
            "not of a network, nor its broadcast address",
        ),
        (
            "address: 10.0.0.100",
            "address: 224.0.0.1",
            "masters[0].addresses[0].address: invalid value",
            "unicast",
        ),
        (
            "address: 10.0.0.100",
            "address: 127.0.0.5",
            "masters[0].addresses[0].address: invalid value",
            "unicast",
        ),
        (
            "interface: eth0",
            "interface: interface-too-long",
            "masters[0].addresses[0].interface: invalid value",
            "1 to 15",
        ),
        (
            "masters:",
            "lease-ms: 100\nmasters:",
            "lease-ms: invalid value: string \"100\", expected milliseconds from 200 to 10000",
            "at line 2 column 11",
        ),
        ("masters:", "on-quorum-loss: keep\nmasters:", "on-quorum-loss: invalid value", "release or hold"),
        ("masters:", "on-conflict: fight\nmasters:", "on-conflict: invalid value", "defend or release"),
        ("masters:", "announce-interval: 60\nmasters:", "announce-interval: invalid value", "with its unit"),
        ("masters:", "announce-interval: 2h\nmasters:", "announce-interval: invalid value", "1s to 1h"),
        ("masters:", "socket: run/agent.sock\nmasters:", "socket: invalid value", "an absolute path"),
        ("masters:", "log-level: loud\nmasters:", "log-level: invalid value", "notice"),
        ("masters:", "without-agent: yes\nmasters:", "without-agent: invalid value", "retry or move"),
        (
            "masters:",
            "lease-ms: 300\nlease-ms: 400\nmasters:",
            "duplicate field `lease-ms`",
            "at line 3 column 1",
        ),
        (
            "name: mymaster",
            "name: mymaster\n    name: other",
            "masters[0]: duplicate field `name`",
            "at line 4 column 5",
        ),
        (
            "interface: eth0",
            "interface: eth0\n        address : 10.0.0.101",
            "masters[0].addresses[0]: duplicate field `address`",
            "at line 8 column 9",
        ),
        ("masters:", "{lease-ms: 1, lease-ms: 1}\nmasters:", "", "line"),
        (
            "node: 10.0.0.1:6379",
            "node: 10.0.0.1:6379\n    port: 70000",
            "masters[0].port: invalid value",
            "1 to 65535",
        ),
        (
            "node: 10.0.0.1:6379",
            "node: 10.0.0.1:6379\n    user: vip",
            "masters[0].user: needs password or password-file beside it",
            "",
        ),
        (
            "masters:",
            "sentinel-password: a\nsentinel-password-file: /b\nmasters:",
            "sentinel-password-file: stands beside sentinel-password",
            "",
        ),
        (
            "masters:",
            "sentinel-password-file: /nonexistent/secret\nmasters:",
            "sentinel-password-file: /nonexistent/secret: No such file",
            "",
        ),
        (
            "sentinels: [10.0.0.1:26379, 10.0.0.2:26379, 10.0.0.3:26379]",
            "",
            "masters[0]: no Sentinels",
            "at the top",
        ),
        ("[10.0.0.1:26379, 10.0.0.2:26379, 10.0.0.3:26379]", "[]", "sentinels: expected 1 to 64, not 0", ""),
        (
            "10.0.0.2:26379",
            "10.0.0.1:26379",
            "sentinels[1] of masters[0]: 10.0.0.1:26379 stands there twice",
            "",
        ),
        (
            "10.0.0.2:26379",
            "10.0.0.100:26379",
            "masters[0].addresses[0].address: 10.0.0.100 is the address of a Sentinel",
            "",
        ),
        (
            "node: 10.0.0.1:6379",
            "node: 10.0.0.100:6379",
            "masters[0].addresses[0].address: 10.0.0.100 is the address of masters[0].node",
            "",
        ),
        (
            "node: 10.0.0.1:6379",
            "node: 10.0.0.1:6379\n    host-addresses: [10.0.0.1, 10.0.0.100]",
            "10.0.0.100 is one of masters[0].host-addresses",
            "",
        ),
        (
            "node: 10.0.0.1:6379",
            "node: 10.0.0.1:6379\n    host-addresses: [127.0.0.1]",
            "masters[0].host-addresses: every host is at a loopback address",
            "",
        ),
        (
            "node: 10.0.0.1:6379",
            "node: 10.0.0.1:6379\n    host-addresses: []",
            "masters[0].host-addresses: expected at least one",
            "",
        ),
        (
            "interface: eth0",
            "interface: eth0\n      - address: 10.0.0.100/24\n        interface: eth1",
            "masters[0].addresses[1].address: 10.0.0.100 stands in masters[0].addresses[0].address already",
            "",
        ),
        (
            "interface: eth0",
            "interface: eth0\n  - {name: mymaster, node: 'a:1', addresses: [{address: 10.0.0.9, interface: eth0}]}",
            "masters[1].name: mymaster stands in masters[0] already",
            "",
        ),
        (
            "    addresses:\n      - address: 10.0.0.100\n        interface: eth0\n",
            "    addresses: []\n",
            "masters[0].addresses: expected 1 to 256, not 0",
            "",
        ),
        ("masters:", "masters: [", "", "line"),
        ("masters:", LONG_SOCKET, "socket: expected at most 107 bytes", ""),
    ];
    for (what, by, begins, contains) in table {
        assert!(SMALL.contains(what), "{what}");
        let text = SMALL.replacen(what, by, 1);
        let error = Config::parse(&text).expect_err(&text);
        assert!(error.contains(begins), "{by}: {error}");
        assert!(error.contains(contains), "{by}: {error} lacks {contains}");
    }
}

#[test]
fn what_gives_up_the_promise_is_warned_about() {
    let text = SMALL.replace("masters:", "on-quorum-loss: hold\nwithout-agent: move\nmasters:");
    let warnings = Config::parse(&text).unwrap().warnings();
    assert_eq!(warnings.len(), 2);
    assert!(warnings.iter().all(|w| w.contains("gives up the promise")), "{warnings:?}");
}

#[test]
fn a_master_has_its_own_or_what_stands_at_the_top() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "0123\n").unwrap();
    let text = format!(
        "lease-ms: 300\nsentinel-user: vip\nsentinel-password: 0777\nsentinels: ['[fd00::1]:26379']\nmasters:\n\
         - {{name: a, node: 'a.example:1', addresses: [{{address: fd00::100, interface: eth0}}]}}\n\
         - {{name: b, node: 'b.example:2', port: 3, lease-ms: 500, sentinel-password-file: {}, on-quorum-loss: hold,\n\
            sentinels: ['s:1', 's:2'], addresses: [{{address: 10.1.0.1/24, interface: eth1}}]}}\n",
        file.display()
    );
    let config = Config::parse(&text).unwrap();
    let [a, b] = &config.masters[..] else { panic!() };
    assert_eq!((a.lease, b.lease), (Duration::from_millis(300), Duration::from_millis(500)));
    assert_eq!(a.sentinel_login.command().unwrap(), ["AUTH", "vip", "0777"]);
    assert_eq!(b.sentinel_login.command().unwrap(), ["AUTH", "0123"]);
    assert_eq!((a.port, b.port), (1, 3));
    assert_eq!((a.addresses[0].prefix_len, b.addresses[0].prefix_len), (128, 24));
    assert_eq!((a.sentinels[0].to_string(), b.sentinels.len()), ("[fd00::1]:26379".into(), 2));
    assert_eq!(b.on_quorum_loss, OnQuorumLoss::Hold);
    assert!(!format!("{config:?}").contains("0777"), "a password must not get into a log");
}

#[test]
fn a_network_and_its_broadcast_address_are_no_hosts() {
    use crate::core::types::is_of_a_host;
    let of_a_host = |ip: &str, prefix_len| is_of_a_host(ip.parse().unwrap(), prefix_len);
    assert!(!of_a_host("10.0.0.0", 24) && !of_a_host("10.0.0.255", 24) && !of_a_host("10.0.0.3", 30));
    assert!(of_a_host("10.0.0.255", 23) && !of_a_host("10.0.0.0", 16));
    assert!(of_a_host("10.0.0.255", 32) && of_a_host("10.0.0.0", 31) && of_a_host("10.0.0.100", 24));
    assert!(
        !of_a_host("fd00::", 64) && of_a_host("fd00::", 127) && of_a_host("fd00::ffff:ffff:ffff:ffff", 64)
    );
}
