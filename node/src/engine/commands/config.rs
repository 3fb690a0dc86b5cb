//! CONFIG: the directives in force, shown and changed at run time.

use redoubt_wire::resp::reply::Reply;

use super::help::{container, help};
use super::{Cx, Row, table};
use crate::config::Circumstances;
use crate::engine::error::{CommandError, Handled};
use crate::engine::load::Loading;
use crate::engine::request::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::CONFIG, container),
    (&table::CONFIG_GET, get),
    (&table::CONFIG_HELP, |_, args, reply| help(args, HELP, reply)),
    (&table::CONFIG_RESETSTAT, resetstat),
    (&table::CONFIG_REWRITE, rewrite),
    (&table::CONFIG_SET, set),
];

const HELP: &[&str] = &[
    "GET <pattern> [<pattern> ...]",
    "    Show the directives that match a pattern, with their values.",
    "RESETSTAT",
    "    Set the counters of INFO back to zero.",
    "REWRITE",
    "    Bring the configuration file into line with the directives in force.",
    "SET <directive> <value> [<directive> <value> ...]",
    "    Change directives, all of them or none.",
];

/// CONFIG GET pattern …
fn get(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let shown = cx.engine.config.show(&args[2..]);
    reply.map(shown.len());
    for (name, value) in shown {
        reply.bulk(&name);
        reply.bulk(&value);
    }
    Ok(())
}

/// CONFIG SET directive value …
fn set(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let local_client = is_local(&cx.session.addr);
    let loading = cx.engine.loading != Loading::No;
    let circumstances = Circumstances { loading, local_client };
    let change = cx.engine.config.change(&args[2..], circumstances);
    let change = change.map_err(|error| CommandError::new(error.to_string()))?;
    let changed: Vec<&'static str> = change.rows.iter().map(|row| row.name).collect();
    let previous = cx.engine.adopt(change.config, Some(cx.session));
    if changed.iter().any(|name| needs_the_outside(name)) {
        cx.pend(Task::ConfigApply { changed, previous: Box::new(previous) }, reply);
    } else {
        reply.ok();
    }
    Ok(())
}

/// Whether a client with this address is on the same machine.
pub(super) fn is_local(addr: &str) -> bool {
    addr.starts_with('/')
        || addr.starts_with("127.0.0.1:")
        || addr.starts_with("[::1]:")
        || addr.starts_with("::1:")
}

/// Whether more than the engine has to follow a change: sockets, files, the log, the links of
/// replication.
fn needs_the_outside(name: &str) -> bool {
    matches!(
        name,
        "port"
            | "bind"
            | "client-output-buffer-limit"
            | "dir"
            | "loglevel"
            | "master-rejoin-guard"
            | "maxclients"
            | "masterauth"
            | "masteruser"
            | "min-replicas-max-lag"
            | "min-replicas-to-write"
            | "repl-backlog-size"
            | "repl-backlog-ttl"
            | "repl-disable-tcp-nodelay"
            | "repl-diskless-load"
            | "repl-diskless-sync"
            | "repl-diskless-sync-delay"
            | "repl-diskless-sync-max-replicas"
            | "repl-ping-replica-period"
            | "repl-timeout"
            | "replica-announce-ip"
            | "replica-announce-port"
            | "save"
    )
}

/// CONFIG RESETSTAT.
fn resetstat(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    cx.engine.stats.reset();
    reply.ok();
    Ok(())
}

/// CONFIG REWRITE.
fn rewrite(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    cx.pend(Task::ConfigRewrite, reply);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::Harness;

    #[test]
    fn what_the_engine_can_follow_alone_is_done_at_once() {
        let mut h = Harness::new();
        assert_eq!(h.run("CONFIG SET maxmemory 1mb hz 20"), "+OK\r\n");
        assert_eq!(h.run("CONFIG GET maxmemory"), "*2\r\n$9\r\nmaxmemory\r\n$7\r\n1048576\r\n");
        assert_eq!(
            h.run("CONFIG SET hz x"),
            "-ERR CONFIG SET failed (possibly related to argument 'hz') - argument couldn't be parsed into an integer\r\n"
        );
        assert!(!h.engine.has_holes());
    }

    #[test]
    fn what_needs_the_outside_waits_for_it() {
        let mut h = Harness::new();
        assert_eq!(h.run("CONFIG SET port 7000"), "");
        let holes = h.engine.take_holes();
        assert!(matches!(&holes[0].task, Task::ConfigApply { changed, previous }
            if changed[..] == ["port"] && previous.port == 6379));
        assert_eq!(h.run("CONFIG SET port 7000"), "+OK\r\n");
        assert_eq!(h.run("CONFIG REWRITE"), "");
        assert!(matches!(
            h.engine.take_holes()[..],
            [crate::engine::request::Hole { at: 0, task: Task::ConfigRewrite }]
        ));
    }

    #[test]
    fn every_name_that_needs_the_outside_is_a_directive() {
        let count = crate::config::rows().filter(|row| needs_the_outside(row.name)).count();
        assert_eq!(count, 23);
    }
}
