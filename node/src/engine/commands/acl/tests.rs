//! Tests of ACL, of the gate, and of what becomes of clients whose users change.

use proptest::prelude::*;

use super::*;
use crate::engine::commands::Command;
use crate::engine::commands::spec::Flags;
use crate::engine::execute::Executed;
use crate::engine::request::Output;
use crate::engine::session::ClientId;
use crate::engine::testing::Harness;
use redoubt_wire::resp::reply::Protocol;

/// A harness, and a client that is logged in as `u`, who was made by these rules.
fn with_user(rules: &str) -> (Harness, ClientId) {
    let mut h = Harness::new();
    assert_eq!(h.run(&format!("ACL SETUSER u on nopass {rules}")), "+OK\r\n");
    let client = h.connect();
    assert_eq!(h.run_as(client, "AUTH u x"), "+OK\r\n");
    (h, client)
}

fn denied_key() -> &'static str {
    "-NOPERM No permissions to access a key\r\n"
}

/// Whom the outputs close at once.
fn closed(h: &mut Harness) -> Vec<ClientId> {
    let outputs = h.engine.take_outputs();
    outputs
        .into_iter()
        .map(|output| match output {
            Output::Close { client, after_reply: false } => client,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn commands_keys_and_channels_are_held_against_the_users_rules() {
    let (mut h, u) =
        with_user("+set +get +mget +exists +publish +psubscribe +config|get ~a* %R~r* resetchannels &c*");
    assert_eq!(h.run_as(u, "SET a1 x"), "+OK\r\n");
    assert_eq!(h.run_as(u, "SET r1 x"), denied_key());
    assert_eq!(h.run_as(u, "SET a1 x GET"), "$1\r\nx\r\n");
    assert_eq!(h.run_as(u, "MGET a1 r1"), "*2\r\n$1\r\nx\r\n$-1\r\n");
    assert_eq!(h.run_as(u, "MGET a1 x1"), denied_key());
    assert_eq!(h.run_as(u, "EXISTS r1"), ":0\r\n");
    assert_eq!(h.run_as(u, "PUBLISH c1 m"), ":0\r\n");
    assert_eq!(h.run_as(u, "PUBLISH d m"), "-NOPERM No permissions to access a channel\r\n");
    assert_eq!(h.run_as(u, "PSUBSCRIBE c1*"), "-NOPERM No permissions to access a channel\r\n");
    assert_eq!(h.run_as(u, "DEL a1"), "-NOPERM User u has no permissions to run the 'del' command\r\n");
    assert_eq!(
        h.run_as(u, "CONFIG SET hz 1"),
        "-NOPERM User u has no permissions to run the 'config|set' command\r\n"
    );
    assert_eq!(h.run_as(u, "CONFIG GET hz"), "*2\r\n$2\r\nhz\r\n$2\r\n10\r\n");
    assert!(h.run("INFO stats").contains(
        "acl_access_denied_auth:0\r\nacl_access_denied_cmd:2\r\nacl_access_denied_key:2\r\nacl_access_denied_channel:2\r\n"
    ));
    assert!(h.run("INFO errorstats").contains("errorstat_NOPERM:count=6"));
}

#[test]
fn a_user_without_rights_may_still_log_in_and_out() {
    let (mut h, u) = with_user("");
    assert_eq!(h.run_as(u, "PING"), "-NOPERM User u has no permissions to run the 'ping' command\r\n");
    assert_eq!(h.run_as(u, "AUTH default x"), "+OK\r\n");
    assert_eq!(h.run_as(u, "ACL WHOAMI"), "$7\r\ndefault\r\n");
    assert!(h.run_as(u, "HELLO 2 AUTH u x").starts_with("*14\r\n"));
    assert_eq!(h.run_as(u, "RESET"), "+RESET\r\n");
    assert_eq!(h.run_as(u, "ACL WHOAMI"), "$7\r\ndefault\r\n");
    h.run("ACL SETUSER default off");
    let stranger = h.connect();
    assert_eq!(h.run_as(stranger, "PING"), "-NOAUTH Authentication required.\r\n");
    assert_eq!(h.run("PING"), "+PONG\r\n", "who is in stays in");
}

#[test]
fn new_rules_hold_at_once_for_those_who_are_logged_in() {
    let (mut h, u) = with_user("+@all ~*");
    assert_eq!(h.run_as(u, "SET k v"), "+OK\r\n");
    h.run("ACL SETUSER u -set");
    assert!(h.run_as(u, "SET k v").starts_with("-NOPERM"));
    h.run("ACL SETUSER u +@all allchannels");
    assert_eq!(h.run_as(u, "SET k v"), "+OK\r\n");
    assert_eq!(h.run_as(u, "ACL SETUSER u resetkeys"), "+OK\r\n");
    assert_eq!(h.run_as(u, "SET k v"), denied_key());
    assert_eq!(
        h.run_as(u, "ACL SETUSER u frob"),
        "-ERR Error in ACL SETUSER modifier 'frob': Syntax error\r\n"
    );
}

#[test]
fn transactions_are_checked_when_queued_and_when_executed() {
    let (mut h, u) = with_user("+@all ~a*");
    h.run_as(u, "MULTI");
    assert_eq!(h.run_as(u, "SET b v"), denied_key());
    assert_eq!(h.run_as(u, "EXEC"), "-EXECABORT Transaction discarded because of previous errors.\r\n");
    h.run_as(u, "MULTI");
    for command in ["SET a1 v", "GET a1", "SET a2 v"] {
        assert_eq!(h.run_as(u, command), "+QUEUED\r\n");
    }
    h.run("ACL SETUSER u -set resetkeys ~a1 &c");
    let reply = h.run_as(u, "EXEC");
    let refused = |why: &str| {
        format!(
            "-NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: {why}\r\n"
        )
    };
    let command = refused("no permission to execute the command or subcommand");
    assert_eq!(reply, format!("*3\r\n{command}$-1\r\n{command}"));
    let entry = h.run("ACL LOG 1");
    for part in ["$5\r\nmulti\r\n", "$6\r\nobject\r\n$3\r\nset\r\n", "cmd=exec user=u "] {
        assert!(entry.contains(part), "{entry}");
    }
    h.run_as(u, "MULTI");
    h.run_as(u, "GET a1");
    h.run("ACL SETUSER u -exec");
    assert!(h.run_as(u, "EXEC").starts_with("-EXECABORT Transaction discarded because of: NOPERM User u"));
}

#[test]
fn the_log_tells_who_was_denied_what() {
    let (mut h, u) = with_user("+get +multi");
    h.run_as(u, "GET k");
    h.run_as(u, "GET k");
    h.run_as(u, "CONFIG GET x");
    assert!(h.run_as(u, "auth nobody x").starts_with("-WRONGPASS"));
    let now_ms = h.now_ms;
    h.now_ms += 2500;
    let log = h.run("ACL LOG");
    let entries: Vec<&str> = log.split("$5\r\ncount\r\n").skip(1).collect();
    assert_eq!(entries.len(), 3);
    assert!(
        entries[0].starts_with(":1\r\n$6\r\nreason\r\n$4\r\nauth\r\n$7\r\ncontext\r\n$8\r\ntoplevel\r\n$6\r\nobject\r\n$4\r\nauth\r\n$8\r\nusername\r\n$6\r\nnobody\r\n$11\r\nage-seconds\r\n$3\r\n2.5\r\n$11\r\nclient-info\r\n"),
        "{}",
        entries[0]
    );
    assert!(entries[0].ends_with(&format!(
        "$8\r\nentry-id\r\n:2\r\n$17\r\ntimestamp-created\r\n:{now_ms}\r\n$22\r\ntimestamp-last-updated\r\n:{now_ms}\r\n*20\r\n"
    )));
    assert!(entries[1].contains("object\r\n$10\r\nconfig|get\r\n"));
    assert!(
        entries[2].starts_with(":2\r\n$6\r\nreason\r\n$3\r\nkey\r\n")
            && entries[2].contains("cmd=get user=u ")
    );
    assert_eq!(h.run("CONFIG SET acllog-max-len 1"), "+OK\r\n");
    assert!(h.run("ACL LOG").starts_with("*1\r\n"));
    assert_eq!(h.run("ACL LOG RESET"), "+OK\r\n");
    assert_eq!(h.run("ACL LOG -1"), "*0\r\n");
    assert_eq!(h.run("ACL LOG x"), "-ERR value is not an integer or out of range\r\n");
}

#[test]
fn who_listens_to_what_was_taken_away_is_closed() {
    let (mut h, u) = with_user("+@all resetchannels &a &b*");
    let other = h.connect();
    h.run_as(other, "AUTH u x");
    h.run_as(u, "SUBSCRIBE a");
    h.run_as(other, "PSUBSCRIBE b*");
    h.run("ACL SETUSER u &c");
    assert!(closed(&mut h).is_empty());
    h.run("ACL SETUSER u resetchannels &b* &c");
    assert_eq!(closed(&mut h), [u]);
    h.run("ACL SETUSER u allchannels");
    h.run("ACL SETUSER u resetchannels &b? &bb");
    assert_eq!(closed(&mut h), [other], "patterns are compared, not matched");
}

#[test]
fn the_clients_of_a_deleted_user_are_closed() {
    let (mut h, u) = with_user("+@all");
    let other = h.connect();
    h.run_as(other, "AUTH u x");
    assert_eq!(h.run("ACL DELUSER u default"), "-ERR The 'default' user cannot be removed\r\n");
    assert_eq!(h.run_as(u, "ACL DELUSER u nobody u"), ":1\r\n");
    assert_eq!(closed(&mut h), [other]);
    let session = h.engine.clients.get(u).unwrap();
    assert!(session.close_asap && !session.authenticated && session.user().is_open());
}

#[test]
fn an_acl_file_is_the_outsides() {
    let mut h = Harness::new();
    assert_eq!(h.run("ACL LOAD"), format!("-{}\r\n", answers::NO_FILE));
    assert_eq!(h.run("ACL SAVE"), format!("-{}\r\n", answers::NO_FILE));
    h.engine.config.aclfile = Some("users.acl".into());
    h.run("ACL SETUSER u on >p +@all");
    assert_eq!(h.run("ACL SAVE"), "");
    let holes = h.engine.take_holes();
    let Task::AclSave { file, text } = &holes[0].task else { panic!("{holes:?}") };
    assert_eq!(file.to_str(), Some("users.acl"));
    assert!(text.starts_with(b"user default on nopass") && text.ends_with(b"resetchannels +@all\n"));
    assert_eq!(h.engine.user_lines(), Vec::<Vec<u8>>::new(), "the users stand in the ACL file");

    let (u, default) = (h.connect(), h.connect());
    h.run_as(u, "AUTH u p");
    assert_eq!(h.run_as(u, "ACL LOAD"), "");
    assert!(matches!(h.engine.take_holes()[..], [ref hole] if matches!(hole.task, Task::AclLoad { .. })));
    assert!(
        h.engine.load_users(u, b"user u frob", "users.acl").unwrap_err().starts_with("users.acl:1: Syntax")
    );
    assert!(closed(&mut h).is_empty());
    assert!(!h.engine.clients.get(u).unwrap().close_asap);
    h.engine.load_users(u, b"user default on nopass +@all -get\nuser u on >p +@all", "users.acl").unwrap();
    assert!(h.engine.clients.get(u).unwrap().close_asap, "even though the user is there again");
    assert!(h.run_as(default, "GET k").starts_with("-NOPERM"));
    assert!(!h.engine.clients.get(default).unwrap().close_asap);
}

#[test]
fn requirepass_and_the_default_users_password_are_one() {
    let mut h = Harness::new();
    h.run("CONFIG SET requirepass p");
    assert!(h.run("ACL LIST").contains("user default on sanitize-payload #148de9c5"));
    assert_eq!(h.run("AUTH p"), "+OK\r\n");
    h.run("ACL SETUSER default >q");
    assert_eq!(h.run("AUTH q"), "+OK\r\n");
    assert_eq!(h.run("CONFIG GET requirepass"), "*2\r\n$11\r\nrequirepass\r\n$1\r\np\r\n");
    assert_eq!(h.engine.user_lines().len(), 1, "requirepass does not say it all");
    h.run("CONFIG SET requirepass ''");
    assert!(h.run("AUTH p").starts_with("-ERR AUTH <password> called without any password"));
    // What the outside could not follow is taken back as a whole.
    h.run("CONFIG SET requirepass p port 7000");
    let Task::ConfigApply { previous, .. } = h.engine.take_holes().remove(0).task else { panic!() };
    assert!(!h.engine.acl.users().default_user().is_open());
    h.engine.adopt(*previous, None);
    assert!(h.engine.acl.users().default_user().is_open());
}

#[test]
fn sort_follows_patterns_only_for_who_may_read_every_key() {
    let (mut h, u) = with_user("(+sort ~l)");
    h.run("RPUSH l 1");
    h.run("SET v1 1");
    let denied =
        |option| format!("-ERR {option} option of SORT denied due to insufficient ACL permissions.\r\n");
    assert_eq!(h.run_as(u, "SORT l BY v*"), denied("BY"));
    assert_eq!(h.run_as(u, "SORT l GET v*"), denied("GET"));
    assert_eq!(h.run_as(u, "SORT l BY nosort"), "*1\r\n$1\r\n1\r\n");
    h.run("ACL SETUSER u (+sort ~l %W~*)");
    assert_eq!(h.run_as(u, "SORT l BY v*"), denied("BY"));
    h.run("ACL SETUSER u (+sort ~l %R~*)");
    assert_eq!(h.run_as(u, "SORT l BY v* GET v*"), "*1\r\n$1\r\n1\r\n");
}

#[test]
fn a_dry_run_runs_nothing() {
    let mut h = Harness::new();
    h.run("ACL SETUSER u +@all -memory|doctor ~a");
    for (call, reply) in [
        ("SET a v", "+OK\r\n"),
        ("SET b v", "$54\r\nUser u has no permissions to access the 'b' key\r\n"),
        ("PUBLISH c m", "User u has no permissions to access the 'c' channel"),
        ("memory doctor", "User u has no permissions to run the 'memory|doctor' command"),
        ("SET a", "-ERR wrong number of arguments for 'set' command\r\n"),
        ("memory nope", "-ERR Command 'memory' not found\r\n"),
        ("Nope x", "-ERR Command 'Nope' not found\r\n"),
    ] {
        let got = h.run(&format!("ACL DRYRUN u {call}"));
        assert!(got.contains(reply.trim_start_matches("$54\r\n")), "{call}: {got}");
    }
    assert_eq!(h.run("ACL DRYRUN nobody GET a"), "-ERR User 'nobody' not found\r\n");
    assert_eq!(h.run("GET a"), "$-1\r\n");
    assert_eq!(h.run("ACL LOG"), "*0\r\n");
}

#[test]
fn clients_are_shown_and_closed_by_user() {
    let (mut h, u) = with_user("+@all");
    assert!(h.run("CLIENT LIST").contains(" user=u redir=-1 "));
    assert_eq!(h.run("CLIENT KILL USER nobody"), "-ERR No such user 'nobody'\r\n");
    assert_eq!(h.run("CLIENT KILL USER u"), ":1\r\n");
    assert_eq!(closed(&mut h), [u]);
    let master = h.connect();
    h.engine.clients.get_mut(master).unwrap().become_master();
    h.run("ACL SETUSER default -set");
    assert!(h.run("CLIENT LIST").contains(" user=(superuser) "));
    assert_eq!(h.run("CLIENT KILL USER default"), ":0\r\n");
    assert_eq!(h.run_as(master, "SET k v"), "+OK\r\n", "the master's stream is obeyed");
}

#[test]
fn forms_and_categories() {
    let mut h = Harness::new();
    assert_eq!(h.run("ACL USERS"), "*1\r\n$7\r\ndefault\r\n");
    assert_eq!(
        h.run("ACL GETUSER default"),
        "*12\r\n$5\r\nflags\r\n*3\r\n$2\r\non\r\n$6\r\nnopass\r\n$16\r\nsanitize-payload\r\n$9\r\npasswords\r\n*0\r\n$8\r\ncommands\r\n$5\r\n+@all\r\n$4\r\nkeys\r\n$2\r\n~*\r\n$8\r\nchannels\r\n$2\r\n&*\r\n$9\r\nselectors\r\n*0\r\n"
    );
    assert_eq!(h.run("ACL GETUSER nobody"), "$-1\r\n");
    assert!(h.run("ACL CAT").starts_with("*21\r\n$8\r\nkeyspace\r\n$4\r\nread\r\n"));
    assert!(h.run("ACL CAT Transaction").contains("$5\r\nmulti\r\n"));
    assert_eq!(h.run("ACL CAT nope"), "-ERR Unknown category 'nope'\r\n");
    let form = |sub: &str| {
        format!("-ERR unknown subcommand or wrong number of arguments for '{sub}'. Try ACL HELP.\r\n")
    };
    assert_eq!(h.run("ACL CAT a b"), form("CAT"));
    assert_eq!(h.run("ACL log 1 2"), form("log"));
    assert_eq!(h.run("ACL GENPASS 1 2"), form("GENPASS"));
    assert_eq!(h.run("ACL HELP x"), "-ERR wrong number of arguments for 'acl|help' command\r\n");
    assert_eq!(h.run("ACL GENPASS 9"), "");
    assert!(matches!(h.engine.take_holes()[0].task, Task::Genpass { digits: 3 }));
}

/// The rows whose calls are tried. Left out is what concerns the whole node by its nature (FLUSHALL,
/// KEYS, DEBUG, …), what changes which connection or user it is, and SELECT, which leads away from the data.
fn tried() -> Vec<&'static Command> {
    let left_out = [
        "acl",
        "auth",
        "client",
        "config",
        "debug",
        "failover",
        "flushall",
        "flushdb",
        "hello",
        "keys",
        "monitor",
        "psync",
        "quit",
        "randomkey",
        "replicaof",
        "reset",
        "scan",
        "select",
        "shutdown",
        "slaveof",
        "swapdb",
        "sync",
    ];
    let stays = |row: &&Command| !left_out.contains(&row.spec.parent.unwrap_or(row.spec.name));
    COMMANDS.rows().iter().filter(stays).filter(|row| row.spec.subcommands.is_empty()).collect()
}

/// Words of calls: keys that are denied, keys that are allowed, numbers, options.
fn words() -> impl Strategy<Value = Vec<&'static str>> {
    let denied = prop::sample::select(&["b", "b1", "bset", "blist", "b*"][..]);
    let allowed = prop::sample::select(&["a", "a1", "a2", "anew"][..]);
    let number = prop::sample::select(&["0", "1", "2", "-1", "100"][..]);
    let option = prop::sample::select(
        &[
            "", "by", "count", "db", "get", "idx", "keepttl", "keys", "len", "limit", "nx", "px", "replace",
            "store", "xx",
        ][..],
    );
    let first = prop_oneof![6 => denied.clone(), 3 => allowed.clone(), 1 => number.clone()];
    let other = prop_oneof![3 => denied, 3 => allowed, 4 => number, 3 => option];
    (first, prop::collection::vec(other, 8)).prop_map(|(first, others)| [vec![first], others].concat())
}

/// A call with as many words as the command takes, and `more` where it may have more.
fn call(row: &Command, words: &[&'static str], more: usize) -> Vec<&'static [u8]> {
    let names = row.spec.parent.into_iter().chain([row.spec.name]);
    let least = usize::from(row.spec.arity.unsigned_abs()) - names.clone().count();
    let count = if row.spec.arity < 0 { least + more } else { least };
    names.chain(words.iter().copied().cycle().take(count)).map(str::as_bytes).collect()
}

/// Runs a call, and forgets what it asked of the outside.
fn run(h: &mut Harness, client: ClientId, call: &[&[u8]]) -> Vec<u8> {
    let mut reply = Reply::new(Protocol::Resp2);
    let mut batch = h.engine.begin(client, h.now_ms).expect("the client is connected");
    assert_eq!(batch.execute(call, &mut reply), Executed::Done);
    drop(batch);
    h.engine.take_holes();
    h.engine.take_outputs();
    reply.buf
}

fn some_data(h: &mut Harness) {
    for line in
        ["SET a1 av", "SET b1 hidden", "SET b hidden", "SADD bset hidden", "RPUSH blist hidden", "SADD a 1 2"]
    {
        assert!(!h.run(line).starts_with('-'));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// A call that the user's rules deny never runs, and one that they allow is never denied; the
    /// same in a transaction.
    #[test]
    fn a_denied_command_never_runs(
        words in words(),
        more in 0..4usize,
        rules in prop::collection::vec(prop::sample::select(&[
            "+@all", "-@all", "+@read", "-@write", "+@fast", "-@string", "+get", "-set", "+config|get", "+memory",
            "-object|freq", "~a*", "%R~b*", "%W~b*", "&a*", "(+@all ~b1)",
        ][..]), 0..6),
        in_multi: bool,
    ) {
        let (mut h, u) = with_user(&format!("{} +multi +discard", rules.join(" ")));
        some_data(&mut h);
        h.run_as(u, "HELLO 3");
        let user = h.engine.acl.users().get(b"u").unwrap().clone();
        // Other gates come first, and what ends a transaction would leave none.
        let runs = |row: &Command| !row.has(Flags::NO_MULTI) && !["multi", "exec", "discard"].contains(&row.spec.name);
        for row in tried().into_iter().filter(|row| runs(row)) {
            let call = call(row, &words, more);
            if in_multi {
                prop_assert_eq!(h.run_as(u, "MULTI"), "+OK\r\n");
            }
            let ran = |h: &Harness| h.engine.stats.by_command[row.index].calls;
            let (ran_before, digest) = (ran(&h), h.run("DEBUG DIGEST"));
            let reply = run(&mut h, u, &call);
            let denied = reply.starts_with(b"-NOPERM");
            prop_assert_eq!(denied, row.check(&user, &call).is_err(), "{:?} {}", row, String::from_utf8_lossy(&reply));
            if denied {
                prop_assert_eq!(ran(&h), ran_before);
                prop_assert_eq!(h.run("DEBUG DIGEST"), digest);
            }
            if in_multi {
                prop_assert_eq!(h.engine.clients.get(u).unwrap().tx.aborted, denied, "{:?}", row);
                h.run_as(u, "DISCARD");
            }
        }
    }

    /// Whatever is called, values at keys that the user may not touch are neither told nor changed.
    /// This asks no key spec, so it holds the specs themselves to account.
    #[test]
    fn keys_out_of_reach_stay_so(words in words(), more in 0..4usize) {
        let (mut h, u) = with_user("+@all ~a*");
        some_data(&mut h);
        h.run_as(u, "HELLO 3");
        let look = |h: &mut Harness| {
            let lines = ["GET b1", "GET b", "SMEMBERS bset", "LRANGE blist 0 -1", "PTTL b", "PTTL b1", "EXISTS b*"];
            lines.map(|line| h.run(line))
        };
        let before = look(&mut h);
        for row in tried() {
            let call = call(row, &words, more);
            let reply = run(&mut h, u, &call);
            prop_assert!(!String::from_utf8_lossy(&reply).contains("hidden"), "{:?} told", row);
            prop_assert_eq!(look(&mut h), before.clone(), "{:?} changed", row);
        }
        prop_assert!(!h.run_as(u, "EXEC").contains("hidden"));
        prop_assert_eq!(look(&mut h), before);
    }
}
