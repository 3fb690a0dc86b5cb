//! SLOWLOG and LATENCY: what took long.

use redoubt_wire::resp::reply::Reply;

use super::args;
use super::help::{container, help};
use super::{Cx, Row, table};
use crate::engine::error::{CommandError, Handled};

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::LATENCY, container),
    (&table::LATENCY_DOCTOR, latency_doctor),
    (&table::LATENCY_GRAPH, latency_graph),
    (&table::LATENCY_HELP, |_, args, reply| help(args, LATENCY_HELP, reply)),
    (&table::LATENCY_HISTOGRAM, latency_histogram),
    (&table::LATENCY_HISTORY, no_events),
    (&table::LATENCY_LATEST, no_events),
    (&table::LATENCY_RESET, latency_reset),
    (&table::SLOWLOG, container),
    (&table::SLOWLOG_GET, slowlog_get),
    (&table::SLOWLOG_HELP, |_, args, reply| help(args, SLOWLOG_HELP, reply)),
    (&table::SLOWLOG_LEN, slowlog_len),
    (&table::SLOWLOG_RESET, slowlog_reset),
];

const LATENCY_HELP: &[&str] = &[
    "DOCTOR",
    "    Judge the latency events of this node.",
    "GRAPH <event>",
    "    Draw the samples of an event.",
    "HISTORY <event>",
    "    List the samples of an event, with their times.",
    "LATEST",
    "    List the last sample of every event.",
    "RESET [<event> ...]",
    "    Forget the samples of these events, or of all.",
    "HISTOGRAM [<command> ...]",
    "    Show how the execution times of these commands, or of all, are distributed.",
];

const SLOWLOG_HELP: &[&str] = &[
    "GET [<count>]",
    "    List the last slow commands (10 by default, -1 for all): number, time, microseconds,",
    "    arguments, and the client's address and name.",
    "LEN",
    "    Count the entries.",
    "RESET",
    "    Forget all entries.",
];

/// SLOWLOG GET [count].
fn slowlog_get(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let log = &cx.engine.slowlog;
    let count = match args.get(2) {
        None => 10,
        Some(count) => {
            let count = args::int(count).ok().filter(|count| *count >= -1);
            count.ok_or_else(|| CommandError::new("ERR count should be greater than or equal to -1"))?
        }
    };
    let len = log.entries().len();
    let count = usize::try_from(count).map_or(len, |count| count.min(len));
    reply.array(count);
    for entry in log.entries().take(count) {
        reply.array(6);
        reply.integer(entry.id as i64);
        reply.integer(entry.time_secs);
        reply.integer(entry.us as i64);
        reply.array(entry.args.len());
        entry.args.iter().for_each(|arg| reply.bulk(arg));
        reply.bulk(entry.addr.as_bytes());
        reply.bulk(&entry.name);
    }
    Ok(())
}

/// SLOWLOG LEN.
fn slowlog_len(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.integer(cx.engine.slowlog.entries().len() as i64);
    Ok(())
}

/// SLOWLOG RESET.
fn slowlog_reset(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    cx.engine.slowlog.reset();
    reply.ok();
    Ok(())
}

/// LATENCY HISTORY and LATEST: this version records no events.
fn no_events(_cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.array(0);
    Ok(())
}

/// LATENCY RESET [event …].
fn latency_reset(_cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.integer(0);
    Ok(())
}

/// LATENCY GRAPH event.
fn latency_graph(_cx: &mut Cx<'_>, args: &[&[u8]], _reply: &mut Reply) -> Handled {
    let event = String::from_utf8_lossy(args[2]);
    Err(CommandError::new(format!("ERR No samples available for event '{event}'")))
}

/// LATENCY HISTOGRAM [command …]: this version keeps no distributions.
fn latency_histogram(_cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.map(0);
    Ok(())
}

/// LATENCY DOCTOR.
fn latency_doctor(_cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.verbatim("txt", b"This version records no latency events; see SLOWLOG for slow commands.");
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::Harness;

    #[test]
    fn slow_commands_are_listed_latest_first_and_without_secrets() {
        let mut h = Harness::new();
        h.run("CONFIG SET slowlog-log-slower-than 0 slowlog-max-len 4");
        h.run("SLOWLOG RESET");
        h.run("SET k v");
        h.run("CONFIG SET requirepass p");
        h.run("CLIENT SETNAME me");
        assert_eq!(h.run("SLOWLOG LEN"), ":4\r\n");
        assert_eq!(
            h.run("SLOWLOG GET 1"),
            "*1\r\n*6\r\n:5\r\n:1700000000\r\n:0\r\n*2\r\n$7\r\nSLOWLOG\r\n$3\r\nLEN\r\n$15\r\n127.0.0.1:50001\r\n$2\r\nme\r\n"
        );
        assert!(h.run("SLOWLOG GET -1").contains("$11\r\nrequirepass\r\n$10\r\n(redacted)\r\n"));
        h.run("CONFIG SET slowlog-log-slower-than -1");
        assert!(h.run("SLOWLOG GET -2").starts_with("-ERR count should be greater"));
    }

    #[test]
    fn debug_sleep_counts_as_long_as_it_sleeps() {
        let mut h = Harness::new();
        h.run("DEBUG SLEEP 0.2");
        assert!(h.run("SLOWLOG GET").contains(":200000\r\n*3\r\n$5\r\nDEBUG\r\n"));
    }
}
