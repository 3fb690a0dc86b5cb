//! Commands of replication: who follows whom, and the words that master and replica exchange.
//!
//! They change the replication state machine in the engine at once; what it then wants done
//! outside (connections, snapshots, lines to replicas) the driver takes from it after the batch.

use redoubt_wire::resp::reply::Reply;

use super::args::{self, is};
use super::{Cx, Row, client, table};
use crate::engine::Role;
use crate::engine::error::{CommandError, Handled, SYNTAX};
use crate::engine::request::{Output, Task};
use crate::engine::session::Class;
use crate::replication::Level;
use crate::replication::failover::FailoverRequest;
use crate::replication::info::{self, FailoverState};
use crate::replication::master::SyncRequest;
use crate::replication::options::Replconf;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::FAILOVER, failover),
    (&table::PSYNC, psync),
    (&table::REPLCONF, replconf),
    (&table::REPLICAOF, replicaof),
    (&table::ROLE, role),
    (&table::SLAVEOF, replicaof),
    (&table::SYNC, sync),
    (&table::WAIT, wait),
    (&table::WAITAOF, waitaof),
];

/// REPLICAOF host port, REPLICAOF NO ONE. Both take effect at once, in the midst of EXEC as well.
fn replicaof(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    if cx.engine.replication.failover_state() != FailoverState::NoFailover {
        return Err(CommandError::new("ERR REPLICAOF not allowed while failing over."));
    }
    let client = client::line(cx.session, cx.now_ms());
    if is(args[1], "no") && is(args[2], "one") {
        if cx.engine.promote() {
            let text = format!("MASTER MODE enabled (user request from '{client}')");
            cx.engine.replication.feed.log(Level::Notice, text);
            cx.engine.output(Output::RoleChanged);
        } else {
            cx.engine.replication.feed.lift_guard(&format!("user request from '{client}'"));
        }
        reply.ok();
        return Ok(());
    }
    if cx.session.class == Class::Replica {
        return Err(CommandError::new("ERR Command is not valid when client is a replica."));
    }
    let port = args::int(args[2]).ok().and_then(|port| u16::try_from(port).ok());
    let port = port.ok_or_else(|| CommandError::new("ERR Invalid master port"))?;
    let host = String::from_utf8_lossy(args[1]).into_owned();
    let same = matches!(&cx.engine.role, Role::Replica { host: h, port: p, .. }
        if h.eq_ignore_ascii_case(&host) && *p == port);
    if same {
        let text = "REPLICAOF would result into synchronization with the master we are already connected with. No operation performed.";
        cx.engine.replication.feed.log(Level::Notice, text.into());
        reply.simple("OK Already connected to specified master");
        return Ok(());
    }
    let text = format!("REPLICAOF {host}:{port} enabled (user request from '{client}')");
    cx.engine.follow(host, port);
    cx.engine.replication.feed.log(Level::Notice, text);
    cx.engine.output(Output::RoleChanged);
    reply.ok();
    Ok(())
}

/// FAILOVER [TO host port [FORCE]] [TIMEOUT milliseconds], FAILOVER ABORT.
fn failover(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    if args.len() == 2 && is(args[1], "abort") {
        if !cx.engine.abort_failover() {
            return Err(CommandError::new("ERR No failover in progress."));
        }
        reply.ok();
        return Ok(());
    }
    let mut request = FailoverRequest::default();
    let mut target: Option<(String, i64)> = None;
    let mut options = &args[1..];
    loop {
        options = match options {
            [] => break,
            [word, timeout, rest @ ..] if is(word, "timeout") && request.timeout_ms == 0 => {
                let timeout = args::int(timeout)?;
                if timeout <= 0 {
                    return Err(CommandError::new("ERR FAILOVER timeout must be greater than 0"));
                }
                request.timeout_ms = timeout as u64;
                rest
            }
            [word, host, port, rest @ ..] if is(word, "to") && target.is_none() => {
                target = Some((String::from_utf8_lossy(host).into_owned(), args::int(port)?));
                rest
            }
            [word, rest @ ..] if is(word, "force") && !request.force => {
                request.force = true;
                rest
            }
            _ => return Err(SYNTAX),
        };
    }
    // No replica has a port that is none.
    request.target = target.map(|(host, port)| (host, u16::try_from(port).unwrap_or(0)));
    cx.engine.start_failover(request).map_err(CommandError::new)?;
    reply.ok();
    Ok(())
}

/// ROLE.
fn role(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    match cx.engine.replication.role(cx.engine.monotonic_ms()) {
        info::Role::Master { replicas, .. } => {
            reply.array(3);
            reply.bulk(b"master");
            // Within a batch the effects are ahead of the stream.
            reply.integer(cx.engine.effects.offset() as i64);
            reply.array(replicas.len());
            for (ip, port, acknowledged) in replicas {
                reply.array(3);
                reply.bulk(ip.as_bytes());
                reply.bulk_integer(port);
                reply.bulk_integer(acknowledged as i64);
            }
        }
        info::Role::Replica { host, port, state, offset } => {
            reply.array(5);
            reply.bulk(b"slave");
            reply.bulk(host.as_bytes());
            reply.integer(i64::from(port));
            reply.bulk(state.as_str().as_bytes());
            reply.integer(offset);
        }
    }
    Ok(())
}

/// REPLCONF option value …. A replica's acknowledgements are not answered.
fn replconf(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    match cx.session.replica_options.replconf(&args[1..]) {
        Replconf::Ok => reply.ok(),
        Replconf::Error(text) => return Err(CommandError::new(text)),
        // Where the stream asks for an acknowledgement, its reader has seen to it.
        Replconf::Silent | Replconf::GetAck => {}
        Replconf::Ack { offset, fsynced } => {
            let now_ms = cx.engine.monotonic_ms();
            if let Some(replica) = cx.session.replica
                && cx.engine.replication.feed.handle_ack(now_ms, replica, offset, fsynced)
            {
                cx.engine.output(Output::Acknowledged);
            }
        }
    }
    Ok(())
}

/// PSYNC replid offset [FAILOVER].
fn psync(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    if cx.session.class == Class::Replica {
        return Ok(());
    }
    if args.len() > 3 && is(args[3], "failover") {
        let now_ms = cx.engine.monotonic_ms();
        cx.engine.replication.take_over(now_ms, args[1]).map_err(CommandError::new)?;
        cx.engine.promoted();
        let client = client::line(cx.session, cx.now_ms());
        let text = format!("MASTER MODE enabled (failover request from '{client}')");
        cx.engine.replication.feed.log(Level::Notice, text);
        cx.engine.output(Output::RoleChanged);
    }
    attach(cx, Some((args[1], args[2])), reply)
}

/// SYNC.
fn sync(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    attach(cx, None, reply)
}

/// Makes the connection a replica's; all that it is sent from now on comes from the feed.
fn attach(cx: &mut Cx<'_>, psync: Option<(&[u8], &[u8])>, reply: &mut Reply) -> Handled {
    let session = &mut *cx.session;
    if session.class == Class::Replica {
        return Ok(());
    }
    let peer_ip = session.addr.rsplit_once(':').map_or(&*session.addr, |(ip, _)| ip);
    let request = SyncRequest {
        psync,
        options: &session.replica_options,
        peer_ip: peer_ip.trim_start_matches('[').trim_end_matches(']'),
        pending_output: !reply.buf.is_empty(),
    };
    let now_ms = cx.engine.monotonic_ms();
    let replica = cx.engine.replication.feed.handle_sync(now_ms, &request).map_err(CommandError::new)?;
    session.class = Class::Replica;
    session.replica = Some(replica);
    let client = session.id;
    cx.engine.output(Output::AttachReplica { client, replica });
    Ok(())
}

/// Reads a timeout in ms; 0 is for ever.
fn timeout_ms(arg: &[u8], now_ms: i64) -> Result<u64, CommandError> {
    let timeout =
        args::int(arg).map_err(|_| CommandError::new("ERR timeout is not an integer or out of range"))?;
    if timeout < 0 {
        return Err(CommandError::new("ERR timeout is negative"));
    }
    if timeout.checked_add(now_ms).is_none() {
        return Err(CommandError::new("ERR timeout is out of range"));
    }
    Ok(timeout as u64)
}

/// WAIT numreplicas timeout: the replicas that have the client's last write.
fn wait(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    if !cx.engine.is_master() {
        return Err(CommandError::new(
            "ERR WAIT cannot be used with replica instances. Please also note that since Redis 4.0 if a replica is configured to be writable (which is not the default) writes to replicas are just local and are not propagated.",
        ));
    }
    let replicas = args::int(args[1])?;
    let timeout_ms = timeout_ms(args[2], cx.now_ms())?;
    let offset = cx.session.write_offset;
    let have = cx.engine.replication.feed.count_acks(offset);
    let replicas = replicas.max(0) as usize;
    if have >= replicas || cx.in_exec {
        reply.integer(have as i64);
        return Ok(());
    }
    cx.engine.replication.feed.request_acks();
    cx.pend(Task::Wait { offset, replicas, timeout_ms }, reply);
    Ok(())
}

/// WAITAOF numlocal numreplicas timeout: there is no append-only file, neither here nor does
/// any replica tell of one.
fn waitaof(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let range = |arg: &[u8], max: i64| {
        let n = args::int(arg)?;
        let bad = format!("ERR value is out of range, value must between 0 and {max}");
        if (0..=max).contains(&n) { Ok(n) } else { Err(CommandError::new(bad)) }
    };
    let local = range(args[1], 1)?;
    let replicas = args::int(args[2])?;
    if replicas < 0 {
        return Err(CommandError::new("ERR value is out of range, must be positive"));
    }
    timeout_ms(args[3], cx.now_ms())?;
    if !cx.engine.is_master() {
        return Err(CommandError::new(
            "ERR WAITAOF cannot be used with replica instances. Please also note that writes to replicas are just local and are not propagated.",
        ));
    }
    if local > 0 {
        return Err(CommandError::new(
            "ERR WAITAOF cannot be used when numlocal is set but appendonly is disabled.",
        ));
    }
    if replicas > 0 && !cx.in_exec {
        return Err(CommandError::new(
            "ERR WAITAOF can't wait for replicas: this version has no append-only file",
        ));
    }
    reply.array(2);
    reply.integer(0);
    reply.integer(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::Harness;

    #[test]
    fn replicaof_changes_the_role_once() {
        let mut h = Harness::new();
        assert_eq!(h.run("REPLICAOF NO ONE"), "+OK\r\n");
        assert!(!h.engine.has_outputs());
        assert_eq!(h.run("REPLICAOF localhost x"), "-ERR Invalid master port\r\n");
        assert_eq!(h.run("REPLICAOF localhost 7000"), "+OK\r\n");
        assert!(matches!(h.engine.take_outputs()[..], [Output::RoleChanged]));
        assert_eq!(h.run("SLAVEOF LocalHost 7000"), "+OK Already connected to specified master\r\n");
        assert_eq!(
            h.run("ROLE"),
            "*5\r\n$5\r\nslave\r\n$9\r\nlocalhost\r\n:7000\r\n$10\r\nconnecting\r\n:-1\r\n"
        );
        assert!(
            h.run("INFO replication").contains("role:slave\r\nmaster_host:localhost\r\nmaster_port:7000\r\n")
        );
        assert!(h.run("SET k v").starts_with("-READONLY "));
        assert!(h.run("PSYNC ? -1").starts_with("-NOMASTERLINK "));
        assert!(h.run("WAIT 0 0").starts_with("-ERR WAIT cannot be used with replica"));
        assert_eq!(h.run("REPLICAOF no one"), "+OK\r\n");
        assert_eq!(h.run("ROLE"), "*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n");
    }

    #[test]
    fn one_transaction_may_change_the_role_there_and_back() {
        let mut h = Harness::new();
        for line in ["MULTI", "SET k 1", "REPLICAOF localhost 7000", "SET k 2", "REPLICAOF NO ONE", "SET k 3"]
        {
            h.run(line);
        }
        assert_eq!(h.run("EXEC"), "*5\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n+OK\r\n");
        h.engine.settle_stream();
        assert_eq!(h.run("GET k"), "$1\r\n3\r\n");
        assert!(h.run("INFO replication").contains("master_repl_offset:2\r\n"));
    }

    #[test]
    fn failover_says_what_stands_against_it() {
        let mut h = Harness::new();
        for (line, error) in [
            ("FAILOVER ABORT", "ERR No failover in progress."),
            ("FAILOVER", "ERR FAILOVER requires connected replicas."),
            ("FAILOVER TIMEOUT 0", "ERR FAILOVER timeout must be greater than 0"),
            ("FAILOVER TIMEOUT x", "ERR value is not an integer or out of range"),
            ("FAILOVER TO host x", "ERR value is not an integer or out of range"),
            ("FAILOVER TO host", "ERR syntax error"),
            ("FAILOVER FORCE FORCE", "ERR syntax error"),
            ("FAILOVER NOW", "ERR syntax error"),
        ] {
            assert_eq!(h.run(line), format!("-{error}\r\n"), "{line}");
        }
        let replica = h.connect();
        h.run_as(replica, "REPLCONF listening-port 7001");
        h.run_as(replica, "PSYNC ? -1");
        let online = "ERR FAILOVER target replica is not online.";
        let unknown = "ERR FAILOVER target HOST and PORT is not a replica.";
        let force = "ERR FAILOVER with force option requires both a timeout and target HOST and IP.";
        for (line, error) in [
            ("FAILOVER TO 127.0.0.1 7001", online),
            ("FAILOVER TO 127.0.0.1 7002", unknown),
            ("FAILOVER TO 127.0.0.1 70000", unknown),
            ("FAILOVER FORCE TIMEOUT 100", force),
            ("FAILOVER TO 127.0.0.1 7001 FORCE", force),
        ] {
            assert_eq!(h.run(line), format!("-{error}\r\n"), "{line}");
        }
        h.run("REPLICAOF 10.0.0.1 6379");
        assert_eq!(h.run("FAILOVER"), "-ERR FAILOVER is not valid when server is a replica.\r\n");
    }

    #[test]
    fn a_failover_holds_writes_back_and_refuses_replicaof_until_it_is_aborted() {
        let mut h = Harness::new();
        let replica = h.connect();
        h.run_as(replica, "PSYNC ? -1");
        assert_eq!(h.run("FAILOVER TIMEOUT 60000"), "+OK\r\n");
        assert!(h.run("INFO replication").contains("master_failover_state:waiting-for-sync\r\n"));
        assert_eq!(h.run("FAILOVER"), "-ERR FAILOVER already in progress.\r\n");
        assert_eq!(h.run("REPLICAOF NO ONE"), "-ERR REPLICAOF not allowed while failing over.\r\n");
        let other = h.connect();
        assert_eq!(h.run_as(other, "PSYNC ? -1"), "-NOMASTERLINK Can't SYNC while failing over\r\n");
        assert!(h.engine.writes_paused());
        assert_eq!(h.run("FAILOVER ABORT"), "+OK\r\n");
        assert!(!h.engine.writes_paused());
        assert!(h.run("INFO replication").contains("master_failover_state:no-failover\r\n"));
    }

    #[test]
    fn wait_answers_at_once_what_it_can() {
        let mut h = Harness::new();
        assert_eq!(h.run("WAIT 0 0"), ":0\r\n");
        assert_eq!(h.run("WAIT 1 -1"), "-ERR timeout is negative\r\n");
        h.run("SET k v");
        assert_eq!(h.run("WAIT 1 100"), "");
        let holes = h.engine.take_holes();
        assert!(matches!(holes[0].task, Task::Wait { offset: 1, replicas: 1, timeout_ms: 100 }));
        h.run("MULTI");
        h.run("WAIT 1 100");
        assert_eq!(h.run("EXEC"), "*1\r\n:0\r\n");
    }
}
