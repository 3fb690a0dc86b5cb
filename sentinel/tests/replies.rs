//! The same commands to redis-sentinel and to ours, in both protocols: the same replies, byte for byte.
//!
//! What Redis 7.2 answers otherwise than the 7.0 that distributions have is left out, and so is what
//! tells of the process itself.

#[allow(unused)]
mod support;

use std::fs;

use redoubt_wire::resp::value::Value;
use support::{Client, OURS, Process, ask, free_port, redis_is_missing, wait_for};

const REAL: &str = "/usr/bin/redis-sentinel";

/// One command a line; words are split at blanks, `""` is an empty one.
const COMMANDS: &str = r#"
PING
PING a
PING a b
GET x
get x 1 2 3
FOO
QUIT
RESET
SSUBSCRIBE a
SELECT 0
MULTI
CONFIG GET port
SENTINEL
SENTINEL FOO
SENTINEL MYID a
SENTINEL MASTERS a
SENTINEL MASTER
SENTINEL MASTER x
SENTINEL MASTER x y
SENTINEL REPLICAS x
SENTINEL SLAVES
SENTINEL SENTINELS x
SENTINEL SENTINELS m
SENTINEL REPLICAS m
SENTINEL GET-MASTER-ADDR-BY-NAME x
SENTINEL GET-MASTER-ADDR-BY-NAME m
SENTINEL GET-MASTER-ADDR-BY-NAME
SENTINEL CKQUORUM m
SENTINEL CKQUORUM x
SENTINEL CKQUORUM
SENTINEL FAILOVER m
SENTINEL FAILOVER x
SENTINEL RESET x
SENTINEL RESET
SENTINEL REMOVE x
SENTINEL MONITOR m 127.0.0.1 7000 2
SENTINEL MONITOR n 127.0.0.1 70000 2
SENTINEL MONITOR n host 7000 2
SENTINEL MONITOR n host 70000 2
SENTINEL MONITOR n host x 2
SENTINEL MONITOR n host 7000 x
SENTINEL MONITOR n host 7000 0
SENTINEL MONITOR n 127.0.0.1 7000
SENTINEL SET m
SENTINEL SET m quorum
SENTINEL SET x quorum 1
SENTINEL SET m quorum 0
SENTINEL SET m quorum x
SENTINEL SET m down-after-milliseconds 0
SENTINEL SET m nope 1
SENTINEL SET m rename-command a
SENTINEL SET m rename-command "" b
SENTINEL SET m rename-command a ""
SENTINEL SET m notification-script /bin/true
SENTINEL SET m client-reconfig-script /bin/true
SENTINEL SET m parallel-syncs -1
SENTINEL SET m master-reboot-down-after-period -1
SENTINEL SET m failover-timeout 1 quorum 2 parallel-syncs 1
SENTINEL CONFIG
SENTINEL CONFIG GET x
SENTINEL CONFIG GET announce-ip
SENTINEL CONFIG SET x 1
SENTINEL CONFIG SET announce-port x
SENTINEL CONFIG SET announce-port 70000
SENTINEL CONFIG SET resolve-hostnames maybe
SENTINEL CONFIG SET announce-port 1234
SENTINEL CONFIG GET announce-port
SENTINEL CONFIG SET announce-port 0
SENTINEL DEBUG
SENTINEL DEBUG x
SENTINEL DEBUG x 1
SENTINEL DEBUG ping-period
SENTINEL DEBUG ping-period 0
SENTINEL DEBUG ping-period x
SENTINEL DEBUG PING-period 1000 info-period 10000
SENTINEL SIMULATE-FAILURE
SENTINEL SIMULATE-FAILURE help
SENTINEL SIMULATE-FAILURE x
SENTINEL SIMULATE-FAILURE crash-after-election help
SENTINEL PENDING-SCRIPTS
SENTINEL PENDING-SCRIPTS x
SENTINEL FLUSHCONFIG x
SENTINEL FLUSHCONFIG
SENTINEL INFO-CACHE
SENTINEL INFO-CACHE x
SENTINEL INFO-CACHE m m x
SENTINEL IS-MASTER-DOWN-BY-ADDR
SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 0 *
SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 x 0 *
SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 x *
SENTINEL IS-MASTER-DOWN-BY-ADDR host 1 0 *
SENTINEL IS-MASTER-DOWN-BY-ADDR 127.0.0.1 1 5 abc
SENTINEL HELP x
PUBLISH a b
PUBLISH a
PUBLISH __sentinel__:hello x
ROLE
ROLE x
INFO foo
INFO foo bar
INFO sentinel
CLIENT
CLIENT FOO
CLIENT ID x
CLIENT GETNAME
CLIENT SETNAME a b
CLIENT SETNAME x
CLIENT GETNAME
CLIENT SETNAME ""
CLIENT GETNAME
CLIENT GETREDIR
CLIENT TRACKINGINFO
CLIENT TRACKING
CLIENT TRACKING on
CLIENT TRACKING maybe
CLIENT TRACKING on BCAST
CLIENT TRACKINGINFO
CLIENT TRACKING off
CLIENT TRACKING on OPTIN
CLIENT CACHING yes
CLIENT TRACKINGINFO
PING
CLIENT TRACKINGINFO
CLIENT CACHING no
CLIENT CACHING maybe
CLIENT TRACKING off
CLIENT TRACKING on OPTOUT
CLIENT CACHING no
CLIENT CACHING yes
CLIENT TRACKINGINFO
CLIENT TRACKING on OPTIN
CLIENT TRACKING on OPTIN OPTOUT
CLIENT TRACKING on BCAST OPTIN
CLIENT TRACKING off
CLIENT TRACKING on PREFIX a
CLIENT TRACKING on BCAST PREFIX a PREFIX ab
CLIENT TRACKING on BCAST PREFIX a PREFIX b
CLIENT TRACKINGINFO
CLIENT TRACKING on BCAST PREFIX ax
CLIENT TRACKING off
CLIENT TRACKING on REDIRECT 9999
CLIENT TRACKING on REDIRECT x
CLIENT TRACKING on REDIRECT
CLIENT TRACKING on foo
CLIENT TRACKING on NOLOOP
CLIENT TRACKINGINFO
CLIENT GETREDIR
CLIENT TRACKING off
CLIENT CACHING yes
CLIENT UNBLOCK 1
CLIENT UNBLOCK x
CLIENT UNBLOCK 1 foo
CLIENT UNBLOCK 1 TIMEOUT
CLIENT UNBLOCK 1 ERROR x
CLIENT UNPAUSE
CLIENT UNPAUSE x
CLIENT PAUSE x
CLIENT PAUSE -1
CLIENT PAUSE 1 foo
CLIENT PAUSE 1
CLIENT PAUSE 1 WRITE
CLIENT NO-EVICT
CLIENT NO-EVICT x
CLIENT NO-EVICT on
CLIENT NO-EVICT off
CLIENT NO-TOUCH on
CLIENT REPLY
CLIENT REPLY x
CLIENT REPLY ON
CLIENT KILL
CLIENT KILL x
CLIENT KILL ID x
CLIENT KILL ID 0
CLIENT KILL ID 99999
CLIENT KILL TYPE x
CLIENT KILL TYPE pubsub
CLIENT KILL TYPE master
CLIENT KILL TYPE slave
CLIENT KILL ADDR 1.1.1.1:1
CLIENT KILL LADDR 1.1.1.1:1
CLIENT KILL USER x
CLIENT KILL FOO x
CLIENT KILL ID 1 ADDR
CLIENT KILL SKIPME x
CLIENT LIST x
CLIENT LIST TYPE x
CLIENT LIST TYPE
CLIENT LIST TYPE master
CLIENT LIST ID
CLIENT LIST ID x
CLIENT LIST ID 99999
CLIENT LIST TYPE normal ID 1
HELLO x
HELLO 4
AUTH
AUTH x
AUTH x y
AUTH x y z
AUTH default x
ACL WHOAMI
ACL FOO
ACL GETUSER x
COMMAND FOO
COMMAND COUNT
COMMAND COUNT x
COMMAND LIST x
COMMAND LIST FILTERBY
COMMAND LIST FILTERBY MODULE x
COMMAND LIST FILTERBY ACLCAT foo
COMMAND LIST FILTERBY PATTERN pub*
COMMAND GETKEYS
COMMAND GETKEYS get a
COMMAND GETKEYS publish a b
COMMAND INFO x
COMMAND INFO get ping
COMMAND INFO PING publish subscribe psubscribe unsubscribe punsubscribe hello auth shutdown role info
COMMAND INFO sentinel|masters sentinel|help sentinel|set sentinel|debug
COMMAND INFO client|list client|kill client|foo client|help client|tracking client|caching client|pause
COMMAND INFO command|docs command|count
COMMAND DOCS x
COMMAND DOCS get
SHUTDOWN foo
SHUTDOWN ABORT
SHUTDOWN NOSAVE SAVE
SHUTDOWN NOW ABORT
SUBSCRIBE
SUBSCRIBE a
SUBSCRIBE a
PING
PING x
PING x y
CLIENT LIST
UNSUBSCRIBE b
UNSUBSCRIBE a
UNSUBSCRIBE
PUNSUBSCRIBE
PSUBSCRIBE a*
PUNSUBSCRIBE a*
"#;

fn start(program: &str, dir: &tempfile::TempDir) -> Process {
    let port = free_port();
    let file = dir.path().join("sentinel.conf");
    let conf = format!(
        "port {port}\nbind 127.0.0.1\ndir {0}\nlogfile {0}/log\nsentinel monitor m 127.0.0.1 1 2\n",
        dir.path().display()
    );
    fs::write(&file, conf).unwrap();
    let process = Process::start(program, port, file);
    wait_for("the Sentinel", || ask(port, "PING").is_some());
    process
}

#[test]
fn the_replies_are_those_of_redis_sentinel() {
    if redis_is_missing() {
        return;
    }
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let sentinels = [start(REAL, &dirs[0]), start(OURS, &dirs[1])];
    for protocol in ["2", "3"] {
        let mut clients = sentinels.each_ref().map(|s| Client::connect(s.port).unwrap());
        for client in &mut clients {
            assert!(matches!(client.ask(&["HELLO", protocol]), Some(Value::Array(_) | Value::Map(_))));
        }
        for line in COMMANDS.lines().filter(|line| !line.is_empty()) {
            let words: Vec<&str> =
                line.split(' ').map(|word| if word == "\"\"" { "" } else { word }).collect();
            let [theirs, ours] = clients.each_mut().map(|client| client.ask(&words));
            // A subscriber of the old protocol may not ask for this; with the new one it tells of the process.
            let of_the_process = line == "CLIENT LIST" && protocol == "3";
            assert!(
                ours.is_some() && (theirs == ours || of_the_process),
                "RESP{protocol} {line}\nRedis: {theirs:?}\nours:  {ours:?}"
            );
        }
    }
}
