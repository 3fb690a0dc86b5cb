//! Tests over the whole table and over files.

use super::*;
use proptest::prelude::*;
use redoubt_wire::directives::parse_text;
use std::path::{Path, PathBuf};

fn load(text: &str) -> Result<Loaded, String> {
    let directives = parse_text(text.as_bytes(), Path::new("test.conf")).map_err(|e| e.to_string())?;
    Config::load(&directives).map_err(|e| e.to_string())
}

fn config(text: &str) -> Config {
    load(text).unwrap().config
}

/// The last line of the error that loading `text` gives.
fn load_error(text: &str) -> String {
    load(text).unwrap_err().lines().last().unwrap().to_owned()
}

fn get(config: &Config, name: &str) -> String {
    let shown = config.show(&[name.as_bytes()]);
    assert_eq!(shown.len(), 1, "{name}");
    String::from_utf8(shown[0].1.clone()).unwrap()
}

fn set(config: &Config, pairs: &[&str]) -> Result<Change, String> {
    let pairs: Vec<&[u8]> = pairs.iter().map(|p| p.as_bytes()).collect();
    config.change(&pairs, Circumstances::default()).map_err(|e| e.to_string())
}

fn set_error(pairs: &[&str]) -> String {
    set(&Config::default(), pairs).unwrap_err()
}

/// The rewritten text, which must be text.
fn rewritten(config: &Config, old: &str) -> String {
    String::from_utf8(config.rewrite(old.as_bytes(), Vec::new())).unwrap()
}

/// The line of a file that gives `row` the value that `CONFIG GET` shows.
fn line_of(row: &Row, config: &Config) -> String {
    let shown = row.show(config);
    match shown.is_empty() || !row.rules.has(Rules::MULTI_ARG) {
        true => format!("{} {}", row.name, redoubt_wire::quoting::quote_always(&shown)),
        false => format!("{} {}", row.name, String::from_utf8(shown).unwrap()),
    }
}

#[test]
fn names_are_unique() {
    let mut names: Vec<_> = rows().flat_map(Row::names).collect();
    let total = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), total);
    assert!(names.iter().all(|name| *name == name.to_ascii_lowercase()));
}

#[test]
fn every_row_is_documented() {
    for row in rows() {
        let doc = row.doc.trim();
        assert!(doc.ends_with('.') && doc.len() > 10, "{}: {doc}", row.name);
    }
}

#[test]
fn help_is_made_of_the_row() {
    assert_eq!(
        row(b"slave-priority").unwrap().help(),
        "replica-priority (older name slave-priority), default \"100\", changeable at run time\n    \
         Order in which Sentinel promotes replicas, lowest first; 0 never.\n"
    );
}

#[test]
fn every_default_reads_back_as_itself() {
    let default = Config::default();
    for row in rows() {
        // An empty replicaof is shown for none, but can't be given.
        if row.name == "replicaof" {
            continue;
        }
        let loaded = load(&line_of(row, &default)).unwrap();
        assert_eq!(loaded.config, default, "{}", row.name);
        assert_eq!(loaded.warnings, Vec::<String>::new(), "{}", row.name);
        if !row.rules.has(Rules::IMMUTABLE) && !row.rules.has(Rules::PROTECTED) {
            let value = row.show(&default);
            let change = default.change(&[row.name.as_bytes(), &value], Circumstances::default()).unwrap();
            assert!(change.rows.is_empty(), "{}", row.name);
        }
    }
}

#[test]
fn every_name_and_older_name_is_shown() {
    let names: Vec<_> = Config::default().show(&[b"*"]).into_iter().map(|(name, _)| name).collect();
    let expected = rows().filter(|row| !row.rules.has(Rules::HIDDEN)).flat_map(Row::names);
    assert!(expected.map(|n| n.as_bytes()).eq(names.iter().map(Vec::as_slice)));
}

/// A value other than the default for each live directive, as a file spells it.
const OTHER_VALUES: &[(&str, &str)] = &[
    ("port", "7000"),
    ("bind", "127.0.0.1 -::1"),
    ("protected-mode", "no"),
    ("unixsocket", "\"/tmp/redoubt.sock\""),
    ("unixsocketperm", "755"),
    ("tcp-backlog", "128"),
    ("timeout", "60"),
    ("tcp-keepalive", "0"),
    ("maxclients", "4294967295"),
    ("proto-max-bulk-len", "2mb"),
    ("client-query-buffer-limit", "1048577"),
    ("client-output-buffer-limit", "pubsub 64mb 16mb 90"),
    ("io-threads", "4"),
    ("hz", "100"),
    ("databases", "1"),
    ("daemonize", "yes"),
    ("pidfile", "\"/run/redoubt.pid\""),
    ("disable-thp", "no"),
    ("supervised", "systemd"),
    ("loglevel", "verbose"),
    ("logfile", "\"node log\""),
    ("log-format", "json"),
    ("shutdown-timeout", "0"),
    ("shutdown-on-sigint", "nosave now force"),
    ("shutdown-on-sigterm", "save"),
    ("requirepass", "\"a \\x00\\xff \\\" b\""),
    ("aclfile", "\"/etc/users.acl\""),
    ("acl-pubsub-default", "allchannels"),
    ("acllog-max-len", "0"),
    ("enable-debug-command", "local"),
    ("enable-protected-configs", "yes"),
    ("dir", "\"/var/lib\""),
    ("dbfilename", "\"other.rdb\""),
    ("save", "10 0"),
    ("rdbcompression", "no"),
    ("rdbchecksum", "no"),
    ("rdb-version", "12"),
    ("rdb-save-incremental-fsync", "no"),
    ("rdb-del-sync-files", "yes"),
    ("stop-writes-on-bgsave-error", "no"),
    ("key-load-delay", "50"),
    ("rdb-key-save-delay", "-50"),
    ("loading-process-events-interval-bytes", "1024"),
    ("replicaof", "replica.example 6380"),
    ("masterauth", "\"secret\""),
    ("masteruser", "\"sync\""),
    ("replica-serve-stale-data", "no"),
    ("replica-read-only", "no"),
    ("master-rejoin-guard", "yes"),
    ("replica-priority", "0"),
    ("replica-announced", "no"),
    ("replica-announce-ip", "\"10.0.0.1\""),
    ("replica-announce-port", "65535"),
    ("replica-ignore-maxmemory", "no"),
    ("repl-diskless-sync", "no"),
    ("repl-diskless-sync-delay", "0"),
    ("repl-diskless-sync-max-replicas", "3"),
    ("repl-diskless-load", "swapdb"),
    ("repl-ping-replica-period", "1"),
    ("repl-timeout", "5"),
    ("repl-disable-tcp-nodelay", "yes"),
    ("repl-backlog-size", "1"),
    ("repl-backlog-ttl", "9223372036854775807"),
    ("min-replicas-to-write", "1"),
    ("min-replicas-max-lag", "0"),
    ("maxmemory", "3gb"),
    ("maxmemory-policy", "allkeys-lfu"),
    ("maxmemory-samples", "10"),
    ("lfu-log-factor", "1"),
    ("lfu-decay-time", "0"),
    ("active-expire-effort", "10"),
    ("lazyfree-lazy-eviction", "yes"),
    ("lazyfree-lazy-expire", "yes"),
    ("lazyfree-lazy-server-del", "yes"),
    ("list-max-listpack-size", "-2147483648"),
    ("set-max-intset-entries", "0"),
    ("set-max-listpack-entries", "1"),
    ("set-max-listpack-value", "2"),
    ("notify-keyspace-events", "\"AKEn\""),
    ("slowlog-log-slower-than", "-1"),
    ("slowlog-max-len", "1"),
];

#[test]
fn every_live_row_round_trips_another_value() {
    let live: Vec<_> =
        rows().filter(|row| matches!(row.standing, Standing::Live(_))).map(|row| row.name).collect();
    let listed: Vec<_> = OTHER_VALUES.iter().map(|(name, _)| *name).collect();
    assert_eq!(live, listed, "each live row has its other value above");
    let default = Config::default();
    for (name, value) in OTHER_VALUES {
        let row = row(name.as_bytes()).unwrap();
        let line = format!("{name} {value}");
        let changed = config(&line);
        assert!(row.differs(&changed, &default), "{name}");
        for other in rows().filter(|other| other.name != row.name) {
            assert!(!other.differs(&changed, &default), "{name} changed {}", other.name);
        }
        let text = rewritten(&changed, "");
        let class_lines = text.contains(&format!("\n{line}\n"));
        assert!(class_lines, "{line} not in:\n{text}");
        assert_eq!(config(&text), changed, "{name}");
        // In place, too: the first line of the text is the directive's own.
        let in_place = rewritten(&changed, &format!("{line}\n# the end\n"));
        assert_eq!(config(&in_place), changed, "{name}");
        assert!(in_place.starts_with(name), "{in_place}");
    }
}

#[test]
fn the_redis_conf_of_the_field_loads() {
    let text = "\
bind 127.0.0.1 -::1
protected-mode yes
port 6379
tcp-backlog 511
timeout 0
tcp-keepalive 300
daemonize no
pidfile /var/run/redis_6379.pid
loglevel notice
logfile \"\"
databases 16
always-show-logo no
set-proc-title yes
proc-title-template \"{title} {listen-addr} {server-mode}\"
locale-collate \"\"
stop-writes-on-bgsave-error yes
dir ./
acllog-max-len 128
oom-score-adj no
oom-score-adj-values 0 200 800
disable-thp yes
appendonly no
appendfilename \"appendonly.aof\"
appendfsync everysec
auto-aof-rewrite-min-size 64mb
notify-keyspace-events \"\"
hash-max-listpack-entries 512
activerehashing yes
client-output-buffer-limit normal 0 0 0
client-output-buffer-limit replica 256mb 64mb 60
client-output-buffer-limit pubsub 32mb 8mb 60
jemalloc-bg-thread yes
";
    let loaded = load(text).unwrap();
    let about: Vec<_> = loaded.warnings.iter().map(|w| w.split(' ').next().unwrap()).collect();
    assert_eq!(about, ["set-proc-title"]);
    assert_eq!(loaded.config.bind, ["127.0.0.1", "-::1"]);
    assert_eq!(loaded.config.client_output_buffer_limit, OutputLimits::default());
}

#[test]
fn what_would_be_unsafe_to_leave_out_is_refused() {
    for line in [
        "appendonly yes",
        "cluster-enabled yes",
        "tls-port 6380",
        "rename-command FLUSHALL \"\"",
        "loadmodule /lib/module.so",
        "maxmemory-clients 5%",
        "bind-source-addr 10.0.0.1",
        "syslog-enabled yes",
    ] {
        let error = load_error(line);
        assert!(
            error.contains("not available") || error.contains("not supported") || error.contains("can't be"),
            "{error}"
        );
    }
    assert_eq!(load_error("appendonly yes"), "not available: there is no append only file in this version");
}

#[test]
fn load_errors_say_what_redis_says() {
    for (line, error) in [
        ("nosuch 1", "Bad directive or wrong number of arguments"),
        ("port", "wrong number of arguments"),
        ("port 1 2", "wrong number of arguments"),
        ("port abc", "argument couldn't be parsed into an integer"),
        ("port 65536", "argument must be between 0 and 65535 inclusive"),
        ("daemonize maybe", "argument must be 'yes' or 'no'"),
        ("maxmemory 1x", "argument must be a memory value"),
        ("unixsocketperm 9", "argument couldn't be parsed as an octal number"),
        ("unixsocketperm 1000", "argument must be between 0 and 777 inclusive"),
        ("supervised init", "argument(s) must be one of the following: upstart, systemd, auto, no"),
        ("save 60", "Invalid save parameters"),
        ("save 0 1", "Invalid save parameters"),
        ("save 60 1 x", "Invalid save parameters"),
        ("replicaof host", "wrong number of arguments"),
        ("slaveof host 70000", "Invalid master port"),
        ("client-output-buffer-limit normal 0 0", "Wrong number of arguments in buffer limit configuration."),
        (
            "client-output-buffer-limit master 0 0 0",
            "Invalid client class specified in buffer limit configuration.",
        ),
        (
            "client-output-buffer-limit normal x 0 0",
            "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
        ),
        ("notify-keyspace-events Q", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        ("dbfilename a/b", "dbfilename can't be a path, just a filename"),
        ("shutdown-on-sigterm save nosave", "shutdown options SAVE and NOSAVE can't be used simultaneously"),
        (
            "shutdown-on-sigint later",
            "argument(s) must be one of the following: default, save, nosave, now, force",
        ),
        ("bind 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "Too many bind addresses specified."),
        ("bind \"127.0.0.1 \" ::1", "a bind address can't contain a space"),
        ("sentinel monitor m 127.0.0.1 6379 2", "sentinel directive while not in sentinel mode"),
    ] {
        assert_eq!(load_error(line), error, "{line}");
    }
}

#[test]
fn save_lines_add_up_and_the_first_replaces_the_defaults() {
    assert_eq!(get(&config("save 60 1\nsave 10 100 5 1000"), "save"), "60 1 10 100 5 1000");
    assert_eq!(get(&config("save \"60 1 10 2\""), "save"), "60 1 10 2");
    assert_eq!(get(&config("save \"\"\nsave 60 1"), "save"), "60 1");
    assert_eq!(get(&config("save 60 1\nsave ''"), "save"), "");
    let change = set(&config("save 60 1"), &["save", "5 6"]).unwrap();
    assert_eq!(get(&change.config, "save"), "5 6", "CONFIG SET replaces");
}

#[test]
fn values_are_shown_as_redis_shows_them() {
    let default = Config::default();
    for (name, value) in [
        ("bind", "* -::*"),
        ("save", "3600 1 300 100 60 10000"),
        ("client-output-buffer-limit", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"),
        ("maxmemory", "0"),
        ("unixsocketperm", "0"),
        ("notify-keyspace-events", ""),
        ("replicaof", ""),
        ("SLAVEOF", ""),
        ("shutdown-on-sigterm", "default"),
        ("appendonly", "no"),
        ("repl-backlog-size", "1048576"),
    ] {
        assert_eq!(get(&default, name), value, "{name}");
    }
    assert_eq!(get(&config("notify-keyspace-events KEA"), "notify-keyspace-events"), "AKE");
    assert_eq!(get(&config("notify-keyspace-events Elg$nmx"), "notify-keyspace-events"), "g$lxnEm");
    assert_eq!(get(&config("shutdown-on-sigint force NOSAVE"), "shutdown-on-sigint"), "nosave force");
    assert_eq!(get(&config("bind \"\""), "bind"), "");
    assert_eq!(get(&config("replicaof no one"), "replicaof"), "");
    assert_eq!(get(&config("hz 0"), "hz"), "1");
    assert_eq!(get(&config("hz 5000"), "hz"), "500");
}

#[test]
fn patterns_select_and_names_are_exact() {
    let default = Config::default();
    let names = |patterns: &[&[u8]]| -> Vec<String> {
        default.show(patterns).into_iter().map(|(name, _)| String::from_utf8(name).unwrap()).collect()
    };
    assert_eq!(names(&[b"MaxMemory", b"maxmemory-p*"]), ["MaxMemory", "maxmemory-policy"]);
    assert_eq!(names(&[b"*-priority"]), ["replica-priority", "slave-priority"]);
    assert_eq!(names(&[b"save", b"sav?", b"SAVE"]), ["save"]);
    assert_eq!(names(&[b"nosuch", b"*nosuch*"]), Vec::<String>::new());
    assert_eq!(names(&[b"key-load-*"]), Vec::<String>::new(), "hidden ones want their name");
    assert_eq!(names(&[b"key-load-delay"]), ["key-load-delay"]);
}

#[test]
fn set_errors_say_what_redis_says() {
    for (pairs, error) in [
        (&["port"] as &[&str], "ERR syntax error"),
        (&["nosuch", "1"], "ERR Unknown option or number of arguments for CONFIG SET - 'nosuch'"),
        (
            &["timeout", "1", "NoSuch", "1"],
            "ERR Unknown option or number of arguments for CONFIG SET - 'NoSuch'",
        ),
        (
            &["Databases", "4"],
            "ERR CONFIG SET failed (possibly related to argument 'Databases') - can't set immutable config",
        ),
        (
            &["dir", "/tmp"],
            "ERR CONFIG SET failed (possibly related to argument 'dir') - can't set protected config",
        ),
        (
            &["hz", "1", "hz", "2"],
            "ERR CONFIG SET failed (possibly related to argument 'hz') - duplicate parameter",
        ),
        (
            &["maxmemory", "10x"],
            "ERR CONFIG SET failed (possibly related to argument 'maxmemory') - argument must be a memory value",
        ),
        (
            &["HZ", "x"],
            "ERR CONFIG SET failed (possibly related to argument 'hz') - argument couldn't be parsed into an integer",
        ),
        (
            &["repl-timeout", "0"],
            "ERR CONFIG SET failed (possibly related to argument 'repl-timeout') - argument must be between 1 and 2147483647 inclusive",
        ),
        (
            &["replica-announced", "321"],
            "ERR CONFIG SET failed (possibly related to argument 'replica-announced') - argument must be 'yes' or 'no'",
        ),
        (
            &["appendonly", "yes"],
            "ERR CONFIG SET failed (possibly related to argument 'appendonly') - not available: there is no append only file in this version",
        ),
        (
            &["maxclients", "-1"],
            "ERR CONFIG SET failed (possibly related to argument 'maxclients') - argument must be between 1 and 4294967295 inclusive",
        ),
        (
            &["save", "60 1  5 6"],
            "ERR CONFIG SET failed (possibly related to argument 'save') - Invalid save parameters",
        ),
    ] {
        assert_eq!(set_error(pairs), error);
    }
}

#[test]
fn set_is_all_or_nothing() {
    let default = Config::default();
    assert!(set(&default, &["timeout", "5", "maxmemory", "bad"]).is_err());
    let change = set(&default, &["timeout", "5", "hz", "10", "slave-priority", "7"]).unwrap();
    assert_eq!(change.rows.iter().map(|row| row.name).collect::<Vec<_>>(), ["timeout", "replica-priority"]);
    assert_eq!((change.config.timeout_secs, change.config.replica_priority), (5, 7));
}

#[test]
fn an_empty_value_is_no_argument_where_there_may_be_several() {
    let config = set(&config("bind 10.0.0.1"), &["save", "", "bind", "", "client-output-buffer-limit", ""])
        .unwrap()
        .config;
    assert!(config.save.is_empty() && config.bind.is_empty());
    assert_eq!(config.client_output_buffer_limit, OutputLimits::default());
    assert!(set_error(&["shutdown-on-sigterm", ""]).ends_with("default, save, nosave, now, force"));
}

#[test]
fn circumstances_decide() {
    let local = config("enable-protected-configs local");
    let set = |config: &Config, name: &str, value: &str, loading, local_client| {
        let now = Circumstances { loading, local_client };
        config.change(&[name.as_bytes(), value.as_bytes()], now).map_err(|e| e.to_string())
    };
    assert!(set(&local, "dbfilename", "x", false, true).is_ok());
    assert!(set(&local, "dbfilename", "x", false, false).is_err());
    let error = set(&local, "repl-diskless-load", "swapdb", true, true).unwrap_err();
    assert_eq!(error, "LOADING Redis is loading the dataset in memory");
    let yes = config("enable-protected-configs yes\ndir /var/lib");
    let moved = set(&yes, "dir", "sub", false, false).unwrap();
    assert_eq!(moved.config.dir, PathBuf::from("/var/lib/sub"), "relative to where the node is");
}

#[test]
fn secrets_are_known_as_such() {
    assert!(is_sensitive(b"RequirePass") && is_sensitive(b"masterauth") && is_sensitive(b"masteruser"));
    assert!(!is_sensitive(b"port") && !is_sensitive(b"nosuch"));
}

#[test]
fn rewrite_keeps_what_is_the_users() {
    let old = "# My node\n\n\n  port 6379 \nslave-priority 5\nsave 60 1\nsave 5 2\ninclude other.conf\nhash-max-listpack-entries 7\nnosuch 1\n\"unbalanced\nmaxmemory 1048576\n";
    let mut config = Config { dir: "/data".into(), ..Config::default() };
    config.replica_priority = 9;
    config.maxmemory = 2 << 20;
    config.save.truncate(1);
    config.timeout_secs = 3;
    let text = rewritten(&config, old);
    assert_eq!(
        text,
        "# My node\n\nport 6379\nreplica-priority 9\nsave 3600 1\n\ninclude other.conf\nhash-max-listpack-entries 7\n# ??? nosuch 1\n# ??? \"unbalanced\nmaxmemory 2mb\n# Generated by CONFIG REWRITE\ntimeout 3\ndir \"/data\"\n"
    );
}

#[test]
fn rewrite_follows_promotion_and_demotion() {
    let mut config = config("replicaof 10.0.0.1 6379");
    let old = "slaveof 10.0.0.1 6379\nport 6379\n";
    assert!(rewritten(&config, old).starts_with("replicaof 10.0.0.1 6379\nport 6379\n"));
    config.replicaof = None;
    let promoted = rewritten(&config, old);
    assert!(promoted.starts_with("\nport 6379\n") && !promoted.contains("replicaof"), "{promoted}");
}

#[test]
fn lines_of_users_are_set_aside_and_rewritten() {
    let old = "user alice on\nport 6379\nuser bob off\n# the end\n";
    let loaded = load(old).unwrap();
    let names: Vec<_> = loaded.users.iter().map(|line| line.args[0].as_slice()).collect();
    assert_eq!(names, [b"alice".as_slice(), b"bob"]);
    let text =
        String::from_utf8(loaded.config.rewrite(old.as_bytes(), vec![b"carol on +@all".to_vec()])).unwrap();
    assert!(text.starts_with("user carol on +@all\nport 6379\n\n# the end\n"), "{text}");
    let text = String::from_utf8(loaded.config.rewrite(b"", vec![b"carol on +@all".to_vec()])).unwrap();
    assert!(
        text.contains("# Generated by CONFIG REWRITE\n") && text.contains("\nuser carol on +@all\n"),
        "{text}"
    );
}

#[test]
fn rewrite_signs_once_and_settles() {
    let mut config = Config { dir: "/data".into(), ..Config::default() };
    config.save.clear();
    let first = rewritten(&config, "");
    assert!(first.starts_with("# Generated by CONFIG REWRITE\n") && first.contains("\nsave \"\"\n"));
    config.timeout_secs = 1;
    let second = rewritten(&config, &first);
    assert_eq!(second.matches("# Generated").count(), 1);
    assert_eq!(rewritten(&config, &second), second, "writing the same again changes nothing");
}

proptest! {
    /// Whatever stood in the file, what is written reads back as the configuration in force,
    /// keeps every comment in order, and a second time writes the same.
    #[test]
    fn rewrite_reads_back(
        before in prop::collection::vec(prop::sample::select(OTHER_VALUES), 0..12),
        now in prop::collection::vec(prop::sample::select(OTHER_VALUES), 0..12),
        noise in prop::collection::vec(prop::sample::select(&["# a", "", "   ", "# b", "include x.conf", "garbage \""][..]), 0..8),
    ) {
        let mut old: Vec<String> = before.iter().map(|(name, value)| format!("{name} {value}")).collect();
        for (index, line) in noise.iter().enumerate() {
            old.insert((index * 7) % (old.len() + 1), (*line).to_owned());
        }
        let old = old.join("\n");
        let now = now.iter().map(|(name, value)| format!("{name} {value}\n")).collect::<String>();
        let mut config = config(&now);
        config.dir = "/var/lib".into();
        let text = rewritten(&config, &old);
        let comments = |text: &str| text.lines().map(str::trim).filter(|l| l.starts_with("# a") || l.starts_with("# b")).map(str::to_owned).collect::<Vec<_>>();
        prop_assert_eq!(comments(&text), comments(&old));
        prop_assert_eq!(&rewritten(&config, &text), &text);
        let loadable: String = text.lines().filter(|l| !l.starts_with("include")).map(|l| format!("{l}\n")).collect();
        let read_back = load(&loadable).unwrap().config;
        prop_assert_eq!(read_back, config);
    }

    #[test]
    fn arbitrary_directives_load_or_are_refused(name in 0..rows().count(), args in prop::collection::vec("[a-z0-9% .-]{0,8}", 0..5)) {
        let row = rows().nth(name).unwrap();
        let args: Vec<_> = args.iter().map(|a| redoubt_wire::quoting::quote_always(a.as_bytes())).collect();
        let line = format!("{} {}", row.name, args.join(" "));
        if let Ok(loaded) = load(&line) {
            // What was taken is a value that can be shown, and given again.
            let shown = line_of(row, &loaded.config);
            if row.name != "replicaof" && loaded.warnings.is_empty() {
                prop_assert_eq!(load(&shown).unwrap().config, loaded.config);
            }
        }
    }
}
