//! DEBUG: what tests need to see or to bring about.

use redoubt_wire::resp::reply::Reply;

use super::args::{self, is};
use super::config::is_local;
use super::help::{help, unknown_form};
use super::{Cx, Row, digest, table};
use crate::config::ProtectedAction;
use crate::engine::error::{CommandError, Handled, NO_SUCH_KEY, NOT_POSITIVE};
use crate::engine::keyspace::object::{Object, ValueRef};
use crate::engine::keyspace::table::Stats;
use crate::engine::request::{Output, Task};

/// The rows of this family.
pub const ROWS: &[Row] = &[(&table::DEBUG, debug)];

const HELP: &[&str] = &[
    "CHANGE-REPL-ID",
    "    Give the history of this node a new name, so that replicas can't continue.",
    "DIGEST",
    "    Show a checksum of the whole dataset, whatever the order of its keys.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Show the checksum of each value.",
    "ERROR <text>",
    "    Answer with this error.",
    "HTSTATS <db> [FULL]",
    "    Show the shape of a database's table.",
    "LOG <text>",
    "    Write a line to the log.",
    "OBJECT <key>",
    "    Show how a value is kept.",
    "PAUSE-CRON (0|1)",
    "    Stop the timer's work, or let it go on.",
    "POPULATE <count> [<prefix> [<size>]]",
    "    Make so many string keys, named <prefix>:<number> (key:<number> by default).",
    "PROTOCOL <type>",
    "    Answer with a value of a type: string, integer, double, bignum, null, array, set, map,",
    "    attrib, push, verbatim, true, false.",
    "QUICKLIST-PACKED-THRESHOLD <size>",
    "    Give elements of this size and above nodes of their own in lists; 0 for the default.",
    "RELOAD [MERGE] [NOFLUSH] [NOSAVE]",
    "    Save, empty and load the dataset.",
    "REPLICATE <argument> [<argument> ...]",
    "    Send a command to the replicas alone.",
    "SET-ACTIVE-EXPIRE (0|1)",
    "    Stop the search for expired keys, or let it go on.",
    "SET-SKIP-CHECKSUM-VALIDATION (0|1)",
    "    Take RESTORE payloads with a wrong checksum, or refuse them.",
    "SLEEP <seconds>",
    "    Stand still; decimals are allowed.",
];

/// DEBUG subcommand argument …
fn debug(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let allowed = match cx.engine.config.enable_debug_command {
        ProtectedAction::Yes => true,
        ProtectedAction::Local => is_local(&cx.session.addr),
        ProtectedAction::No => false,
    };
    if !allowed {
        return Err(CommandError::new(
            "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local connection, otherwise you need to set this option in the configuration file, and then restart the server.",
        ));
    }
    let sub = args[1].to_ascii_lowercase();
    match (sub.as_slice(), &args[2..]) {
        (b"help", []) => return help(args, HELP, reply),
        (b"change-repl-id", []) => {
            cx.engine.output(Output::ChangeReplicationId);
            reply.ok();
        }
        (b"digest", []) => reply.simple(&digest::hex(&digest::of_dataset(&cx.engine.keyspace))),
        (b"digest-value", keys) => {
            reply.array(keys.len());
            for key in keys {
                let object = cx.engine.keyspace.find(cx.session.db, key);
                let digest = object.map_or_else(Default::default, digest::of_value);
                reply.simple(&digest::hex(&digest));
            }
        }
        (b"error", [text]) => reply.error(&String::from_utf8_lossy(text)),
        (b"htstats", [db, rest @ ..]) => return htstats(cx, db, rest, reply),
        (b"htstats-key", [key, ..]) => return htstats_key(cx, key),
        (b"log", [text]) => {
            cx.engine.output(Output::Log(format!("DEBUG LOG: {}", String::from_utf8_lossy(text))));
            reply.ok();
        }
        (b"object", [key]) => return object(cx, key, reply),
        (b"pause-cron", [on]) => switch(&mut cx.engine.cron_paused, on, reply),
        (b"populate", [count, rest @ ..]) if rest.len() <= 2 => return populate(cx, count, rest, reply),
        (b"protocol", [kind]) => return protocol(kind, reply),
        (b"quicklist-packed-threshold", [size]) => return packed_threshold(cx, size, reply),
        (b"reload", options) => return reload(cx, options, reply),
        (b"replicate", command) if !command.is_empty() => {
            cx.engine.effects.append_bare(command);
            reply.ok();
        }
        (b"set-active-expire", [on]) => switch(&mut cx.engine.active_expire, on, reply),
        (b"set-skip-checksum-validation", [on]) => switch(&mut cx.engine.skip_checksums, on, reply),
        (b"sleep", [seconds]) => {
            let seconds = args::float(seconds).unwrap_or(0.0);
            cx.pend(Task::Freeze { us: (seconds * 1e6) as u64 }, reply);
        }
        _ => return Err(unknown_form(args)),
    }
    Ok(())
}

/// Sets a switch by a number: 0 is off.
fn switch(switch: &mut bool, arg: &[u8], reply: &mut Reply) {
    *switch = args::int(arg).is_ok_and(|n| n != 0);
    reply.ok();
}

/// DEBUG OBJECT key.
fn object(cx: &mut Cx<'_>, key: &[u8], reply: &mut Reply) -> Handled {
    let object = cx.engine.keyspace.find(cx.session.db, key).ok_or(NO_SUCH_KEY)?;
    let idle = cx.engine.idle_ms(object.lru()) / 1000;
    let nodes = match object.value() {
        ValueRef::List(list) if list.encoding_name() == "quicklist" => {
            let nodes = list.node_count();
            format!(
                " ql_nodes:{nodes} ql_avg_node:{:.2} ql_listpack_max:{} ql_compressed:0 ql_uncompressed_size:{}",
                list.len() as f64 / nodes as f64,
                cx.engine.config.list_max_listpack_size,
                list.memory_usage(0)
            )
        }
        _ => String::new(),
    };
    reply.simple(&format!(
        "Value at:{object:p} refcount:{} encoding:{} serializedlength:{} lru:{} lru_seconds_idle:{idle}{nodes}",
        super::object::reference_count(cx.engine, object),
        object.encoding_name(),
        super::dump::serialized_length(cx.engine, object),
        object.lru(),
    ));
    Ok(())
}

/// DEBUG POPULATE count [prefix [size]]: as in Redis, replicas do not hear of it.
fn populate(cx: &mut Cx<'_>, count: &[u8], options: &[&[u8]], reply: &mut Reply) -> Handled {
    let number = |arg: &[u8]| u64::try_from(args::int(arg)?).map_err(|_| NOT_POSITIVE);
    let count = number(count)?;
    let prefix = options.first().copied().unwrap_or(b"key");
    let size = options.get(1).map_or(Ok(0), |size| number(size))? as usize;
    if size as u64 > cx.engine.config.proto_max_bulk_len {
        return Err(crate::engine::error::STRING_TOO_LONG);
    }
    for i in 0..count {
        let key = [prefix, b":", i.to_string().as_bytes()].concat();
        if cx.exists_for_write(&key) {
            continue;
        }
        let mut value = format!("value:{i}").into_bytes();
        if size > 0 {
            value.resize(size, 0);
        }
        cx.put(Object::new_string(&key, &value, None));
    }
    reply.ok();
    Ok(())
}

/// DEBUG HTSTATS db [FULL].
fn htstats(cx: &mut Cx<'_>, db: &[u8], options: &[&[u8]], reply: &mut Reply) -> Handled {
    let keyspace = &cx.engine.keyspace;
    let db = usize::try_from(args::int(db)?).ok().filter(|db| *db < keyspace.databases());
    let db = db.ok_or_else(|| CommandError::new("ERR Out of range database"))?;
    let full = options.first().is_some_and(|option| is(option, "full"));
    let Stats { len, expiring, buckets, children, objects_per_bucket } = keyspace.table(db).stats();
    let mut text = format!(
        "[Dictionary HT]\nHash table stats:\n table size: {buckets}\n number of elements: {len}\n overflow buckets: {children}\n"
    );
    if full {
        text.push_str(" elements a bucket:\n");
        for (objects, buckets) in objects_per_bucket.iter().enumerate() {
            text.push_str(&format!("   {objects}: {buckets}\n"));
        }
    }
    text.push_str(&format!("[Expires HT]\nHash table stats:\n number of elements: {expiring}\n"));
    reply.verbatim("txt", text.as_bytes());
    Ok(())
}

/// DEBUG HTSTATS-KEY key: no value is kept in a hash table here.
fn htstats_key(cx: &mut Cx<'_>, key: &[u8]) -> Handled {
    cx.peek(key).ok_or(NO_SUCH_KEY)?;
    Err(CommandError::new("ERR The value stored at the specified key is not represented using an hash table"))
}

/// DEBUG QUICKLIST-PACKED-THRESHOLD size.
fn packed_threshold(cx: &mut Cx<'_>, size: &[u8], reply: &mut Reply) -> Handled {
    let default = crate::engine::types::ListLimits::default().packed_threshold;
    let bytes = memory_size(size).filter(|bytes| *bytes < 1 << 32);
    let bytes = bytes.ok_or_else(|| {
        CommandError::new("ERR argument must be a memory value bigger than 1 and smaller than 4gb")
    })?;
    cx.engine.list_packed_threshold = if bytes == 0 { default } else { (bytes as usize).min(default) };
    reply.ok();
    Ok(())
}

/// A number of bytes with a unit: `b`, `k`, `kb`, `m`, `mb`, `g`, `gb`.
fn memory_size(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?.to_ascii_lowercase();
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let unit = match unit {
        "" | "b" => 1,
        "k" => 1000,
        "kb" => 1 << 10,
        "m" => 1_000_000,
        "mb" => 1 << 20,
        "g" => 1_000_000_000,
        "gb" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// DEBUG RELOAD [MERGE] [NOFLUSH] [NOSAVE].
fn reload(cx: &mut Cx<'_>, options: &[&[u8]], reply: &mut Reply) -> Handled {
    let (mut no_flush, mut no_save) = (false, false);
    for option in options {
        match option.to_ascii_lowercase().as_slice() {
            // Keys that are there already are never an error here, so that this changes nothing.
            b"merge" => {}
            b"noflush" => no_flush = true,
            b"nosave" => no_save = true,
            _ => {
                return Err(CommandError::new(
                    "ERR DEBUG RELOAD only supports the MERGE, NOFLUSH and NOSAVE options.",
                ));
            }
        }
    }
    cx.pend(Task::Reload { no_flush, no_save }, reply);
    Ok(())
}

/// DEBUG PROTOCOL type.
fn protocol(kind: &[u8], reply: &mut Reply) -> Handled {
    let numbers = |reply: &mut Reply| (0..3).for_each(|n| reply.integer(n));
    match kind.to_ascii_lowercase().as_slice() {
        b"string" => reply.bulk(b"Hello World"),
        b"integer" => reply.integer(12345),
        b"double" => reply.double_text("3.141"),
        b"bignum" => reply.big_number("1234567999999999999999999999999999999"),
        b"null" => reply.null(),
        b"array" => {
            reply.array(3);
            numbers(reply);
        }
        b"set" => {
            reply.set(3);
            numbers(reply);
        }
        b"map" => {
            reply.map(3);
            for n in 0..3 {
                reply.integer(n);
                reply.boolean(n == 1);
            }
        }
        b"attrib" => {
            if reply.attribute(1) {
                reply.bulk(b"key-popularity");
                reply.array(2);
                reply.bulk(b"key:123");
                reply.integer(90);
            }
            reply.bulk(b"Some real reply following the attribute");
        }
        b"push" if !reply.resp3() => {
            return Err(CommandError::new("ERR RESP2 is not supported by this command"));
        }
        b"push" => {
            reply.push(2);
            reply.bulk(b"server-cpu-usage");
            reply.integer(42);
            reply.bulk(b"Some real reply following the push reply");
        }
        b"true" => reply.boolean(true),
        b"false" => reply.boolean(false),
        b"verbatim" => reply.verbatim("txt", b"This is a verbatim\nstring"),
        _ => {
            return Err(CommandError::new(
                "ERR Wrong protocol type name. Please use one of the following: string|integer|double|bignum|null|array|set|map|attrib|push|verbatim|true|false",
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::Harness;

    #[test]
    fn debug_asks_for_permission() {
        let mut h = Harness::new();
        h.engine.config.enable_debug_command = ProtectedAction::No;
        assert!(h.run("DEBUG DIGEST").starts_with("-ERR DEBUG command not allowed."));
        h.engine.config.enable_debug_command = ProtectedAction::Local;
        assert!(h.run("DEBUG DIGEST").starts_with('+'));
    }

    #[test]
    fn populate_keeps_what_is_there() {
        let mut h = Harness::new();
        h.run("SET p:1 mine");
        assert_eq!(h.run("DEBUG POPULATE 3 p 20"), "+OK\r\n");
        assert_eq!(h.run("DBSIZE"), ":3\r\n");
        assert_eq!(h.run("GET p:1"), "$4\r\nmine\r\n");
        assert_eq!(h.run("STRLEN p:2"), ":20\r\n");
        assert_eq!(h.run("DEBUG POPULATE -1"), "-ERR value is out of range, must be positive\r\n");
    }

    #[test]
    fn sizes_with_units() {
        assert_eq!(memory_size(b"200b"), Some(200));
        assert_eq!(memory_size(b"1kB"), Some(1024));
        assert_eq!(memory_size(b"1gb"), Some(1 << 30));
        assert_eq!(memory_size(b"x"), None);
        assert_eq!(memory_size(b"99999999999999999999"), None);
    }

    #[test]
    fn forms_that_do_not_exist() {
        let mut h = Harness::new();
        let error = "-ERR unknown subcommand or wrong number of arguments for 'sleep'. Try DEBUG HELP.\r\n";
        assert_eq!(h.run("DEBUG sleep"), error);
    }
}
