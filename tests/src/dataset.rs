//! Data of every type and form, and reading a server's whole contents back for comparison.
//!
//! The comparison goes through commands, not through the servers' own digests: what
//! counts is what a client can read, and two implementations need not digest alike.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use redis::aio::MultiplexedConnection;
use redis::{Cmd, Value};

use crate::client::{self, PATIENT};
use crate::error::{LabError, Result};
use crate::server::Server;
use crate::wait;

/// A point in time that no test lives to see, in milliseconds.
const FAR_FUTURE_MS: u64 = 4_102_444_800_000;
/// How commands begin that a node does not know yet: those of sorted sets, hashes, streams, and one of sets.
const NOT_HELD: [&str; 4] = ["Z", "H", "X", "SPOP"];
/// The databases in use.
const DATABASES: [u32; 2] = [0, 3];

/// Everything a client can read: one line for each key, under its database and name.
pub type Contents = BTreeMap<String, String>;

/// Writes every type in its small and its large form, keys with expiry, and a second database.
pub async fn fill(addr: SocketAddr) -> Result<()> {
    let mut connection = open(addr).await?;
    for command in commands().into_iter().filter(|command| is_held(&words(command))) {
        let () = command
            .query_async(&mut connection)
            .await
            .map_err(LabError::redis(format!("{} to {addr}", words(&command))))?;
    }
    Ok(())
}

fn is_held(command: &str) -> bool {
    !NOT_HELD.iter().any(|family| command.starts_with(family))
}

fn commands() -> Vec<Cmd> {
    let mut random = SmallRng::seed_from_u64(7);
    let noise: Vec<u8> = (0..20_000).map(|_| random.random()).collect();
    let mut all = vec![
        client::cmd(&["SET", "string:short", "hello"]),
        client::cmd(&["SET", "string:empty", ""]),
        client::cmd(&["SET", "string:int", "-9223372036854775808"]),
        client::cmd(&["SET", "string:zeros", "007"]),
        client::cmd(&["SET", "string:compressible", &"abcd".repeat(25_000)]),
        client::cmd(&["SET", "string:volatile", "x", "PXAT", &FAR_FUTURE_MS.to_string()]),
        client::cmd(&["RPUSH", "list:small", "a", "1", "-7", "", "300"]),
        client::cmd(&["SADD", "set:ints", "1", "-5", "70000", "9000000000"]),
        client::cmd(&["SADD", "set:small", "a", "b", "12", ""]),
        client::cmd(&[
            "ZADD",
            "zset:small",
            "1",
            "a",
            "-inf",
            "low",
            "inf",
            "high",
            "0.1",
            "b",
            "3e300",
            "c",
        ]),
        client::cmd(&["HSET", "hash:small", "f", "v", "n", "12", "", "empty field"]),
        client::cmd(&["XADD", "stream", "1-1", "a", "1", "b", "2"]),
        client::cmd(&["XADD", "stream", "1-2", "a", "3", "b", "4"]),
        client::cmd(&["XADD", "stream", "5-0", "other", "fields", "and", "more"]),
        client::cmd(&["XADD", "stream", "9-9", "a", "5", "b", "6"]),
        client::cmd(&["XDEL", "stream", "1-2"]),
        client::cmd(&["XGROUP", "CREATE", "stream", "group", "0"]),
        client::cmd(&["XREADGROUP", "GROUP", "group", "alice", "COUNT", "2", "STREAMS", "stream", ">"]),
        client::cmd(&["XACK", "stream", "group", "1-1"]),
        client::cmd(&["XGROUP", "CREATE", "stream", "idle", "$"]),
        client::cmd(&["PEXPIREAT", "hash:small", &FAR_FUTURE_MS.to_string()]),
    ];
    let mut binary = redis::cmd("SET");
    binary.arg(b"string:\x00\r\n\xff key".as_slice()).arg(&noise);
    all.push(binary);
    let (mut list, mut set, mut zset, mut hash) =
        (redis::cmd("RPUSH"), redis::cmd("SADD"), redis::cmd("ZADD"), redis::cmd("HSET"));
    list.arg("list:large").arg("y".repeat(9_000));
    set.arg("set:large");
    zset.arg("zset:large");
    hash.arg("hash:large");
    for n in 0..1_000 {
        list.arg(format!("element {n}"));
        set.arg(format!("member {n}"));
        zset.arg(f64::from(n) / 7.0).arg(format!("member {n}"));
        hash.arg(format!("field {n}")).arg("z".repeat(n as usize % 90));
    }
    all.extend([list, set, zset, hash]);
    all.extend([
        client::cmd(&["SELECT", "3"]),
        client::cmd(&["SET", "string:short", "in database 3"]),
        client::cmd(&["RPUSH", "list:small", "in database 3"]),
        client::cmd(&["SELECT", "0"]),
    ]);
    all
}

/// Sends a replayable mixture of `count` writes, many of which depend on what is there.
pub async fn churn(addr: SocketAddr, count: usize, seed: u64) -> Result<()> {
    let mut connection = open(addr).await?;
    let mut random = SmallRng::seed_from_u64(seed);
    for n in 0..count {
        let key = random.random_range(0..40);
        let value = random.random_range(0..100_000);
        let command = match random.random_range(0..16) {
            0 => format!("SET churn:s:{key} {value}"),
            1 => format!("APPEND churn:s:{key} {value}"),
            2 => format!("INCRBY churn:i:{key} {value}"),
            3 => format!("INCRBYFLOAT churn:f:{key} 0.{value}"),
            4 => format!("LPUSH churn:l:{key} {value} {n}"),
            5 => format!("RPOP churn:l:{key}"),
            6 => format!("SADD churn:set:{key} {value} m{n}"),
            // Which member goes is the master's choice; replicas are told the choice.
            7 => format!("SPOP churn:set:{key}"),
            8 => format!("ZADD churn:z:{key} {value} m{}", n % 50),
            9 => format!("ZINCRBY churn:z:{key} 0.5 m{}", n % 50),
            10 => format!("HSET churn:h:{key} f{} {value}", n % 20),
            11 => format!("DEL churn:s:{key} churn:h:{key}"),
            12 => format!("PEXPIRE churn:i:{key} {}", 5_000_000 + value),
            // Gone before the comparison, on both sides.
            13 => format!("SET churn:gone:{key} {value} PX 1"),
            14 => format!("XADD churn:x:{key} MAXLEN 20 * f {value}"),
            _ => format!("SETRANGE churn:s:{key} {} xyz", value % 300),
        };
        if !is_held(&command) {
            continue;
        }
        let words: Vec<&str> = command.split(' ').collect();
        let mut pipe = redis::pipe();
        if n % 10 == 0 {
            pipe.atomic();
        }
        let outcome: redis::RedisResult<Value> =
            pipe.add_command(client::cmd(&words)).query_async(&mut connection).await;
        // Arithmetic on a key whose value has grown into text is refused, as it should be.
        if let Err(error) = outcome
            && error.code() != Some("ERR")
        {
            return Err(LabError::redis(format!("{command} to {addr}"))(error));
        }
    }
    Ok(())
}

/// Waits until `replica` has applied all that `master` has written, then compares their contents.
pub async fn assert_same(master: &Server, replica: &Server) -> Result<()> {
    let what = format!("{} has the contents of {}", replica.name(), master.name());
    // Expiry by the clock and the stream's last bytes take a moment; a real difference stays.
    wait::until(&what, PATIENT, async || {
        let there = contents(master.addr()).await.map_err(|error| error.to_string())?;
        let here = contents(replica.addr()).await.map_err(|error| error.to_string())?;
        match difference(&there, &here) {
            None if there.is_empty() => Err("both are empty, which proves nothing".into()),
            None => Ok(()),
            Some(difference) => Err(difference),
        }
    })
    .await
}

/// The first keys in which two contents differ, if they do.
pub fn difference(one: &Contents, other: &Contents) -> Option<String> {
    let brief = |value: Option<&String>| {
        value.map_or("absent".into(), |text| text.chars().take(300).collect::<String>())
    };
    let keys = one.keys().chain(other.keys().filter(|key| !one.contains_key(*key)));
    let different: Vec<&String> = keys.filter(|key| one.get(*key) != other.get(*key)).collect();
    let first = different.first()?;
    Some(format!(
        "{} of {} keys differ; {first}: {} against {}",
        different.len(),
        one.len().max(other.len()),
        brief(one.get(*first)),
        brief(other.get(*first))
    ))
}

/// Reads everything.
pub async fn contents(addr: SocketAddr) -> Result<Contents> {
    let failed = || LabError::redis(format!("reading the contents of {addr}"));
    let mut connection = open(addr).await?;
    let mut all = Contents::new();
    for database in DATABASES {
        let () = redis::cmd("SELECT").arg(database).query_async(&mut connection).await.map_err(failed())?;
        for key in keys(&mut connection).await.map_err(failed())? {
            let name = format!("{database}:{}", String::from_utf8_lossy(&key).escape_debug());
            // A key may expire between being listed and being read.
            if let Some(value) = describe(&mut connection, &key).await.map_err(failed())? {
                all.insert(name, value);
            }
        }
        let size: u64 = redis::cmd("DBSIZE").query_async(&mut connection).await.map_err(failed())?;
        all.insert(format!("{database}: DBSIZE"), size.to_string());
    }
    // Two servers without any data have nothing to compare.
    if all.len() == DATABASES.len() {
        all.clear();
    }
    Ok(all)
}

async fn keys(connection: &mut MultiplexedConnection) -> redis::RedisResult<Vec<Vec<u8>>> {
    let mut keys = Vec::new();
    let mut cursor = 0u64;
    loop {
        let (next, batch): (u64, Vec<Vec<u8>>) =
            redis::cmd("SCAN").arg(cursor).arg("COUNT").arg(1_000).query_async(connection).await?;
        keys.extend(batch);
        if next == 0 {
            return Ok(keys);
        }
        cursor = next;
    }
}

async fn describe(connection: &mut MultiplexedConnection, key: &[u8]) -> redis::RedisResult<Option<String>> {
    let kind: String = redis::cmd("TYPE").arg(key).query_async(connection).await?;
    let (reads, unordered): (&[&[&str]], bool) = match kind.as_str() {
        "string" => (&[&["GET", "@"]], false),
        "list" => (&[&["LRANGE", "@", "0", "-1"]], false),
        "set" => (&[&["SMEMBERS", "@"]], true),
        "zset" => (&[&["ZRANGE", "@", "0", "-1", "WITHSCORES"]], false),
        "hash" => (&[&["HGETALL", "@"]], true),
        "stream" => (&[&["XRANGE", "@", "-", "+"]], false),
        _ => return Ok(None),
    };
    let expiry: i64 = redis::cmd("PEXPIRETIME").arg(key).query_async(connection).await?;
    let mut text = format!("{kind}, expires {expiry}");
    for read in reads {
        let mut command = redis::cmd(read[0]);
        for word in &read[1..] {
            command.arg(if *word == "@" { key } else { word.as_bytes() });
        }
        let value: Value = command.query_async(connection).await?;
        text += &if unordered { sorted(&kind, value) } else { format!(", {value:?}") };
    }
    if kind == "stream" {
        text += &describe_stream(connection, key).await?;
    }
    Ok(Some(text))
}

/// Members, or pairs of field and value, in a fixed order.
fn sorted(kind: &str, value: Value) -> String {
    let flat: Vec<Value> = match value {
        Value::Array(items) | Value::Set(items) => items,
        Value::Map(pairs) => pairs.into_iter().flat_map(|(field, value)| [field, value]).collect(),
        other => return format!(", {other:?}"),
    };
    let group = if kind == "hash" { 2 } else { 1 };
    let mut groups: Vec<String> = flat.chunks(group).map(|group| format!("{group:?}")).collect();
    groups.sort();
    format!(", {}", groups.join(" "))
}

/// What XRANGE does not show: counters, groups, and what is pending for whom.
async fn describe_stream(connection: &mut MultiplexedConnection, key: &[u8]) -> redis::RedisResult<String> {
    let about: BTreeMap<String, Value> =
        redis::cmd("XINFO").arg("STREAM").arg(key).query_async(connection).await?;
    let mut text = String::new();
    for field in ["length", "last-generated-id", "max-deleted-entry-id", "entries-added", "groups"] {
        text += &format!(", {field} {:?}", about.get(field));
    }
    let groups: Vec<BTreeMap<String, Value>> =
        redis::cmd("XINFO").arg("GROUPS").arg(key).query_async(connection).await?;
    for group in groups {
        text += &format!(", group {group:?}");
        if let Some(Value::BulkString(name)) = group.get("name") {
            // Each pending entry: id, consumer, time since delivery, number of deliveries.
            let pending: Vec<(String, String, u64, u64)> = redis::cmd("XPENDING")
                .arg(key)
                .arg(name)
                .arg("-")
                .arg("+")
                .arg(1_000)
                .query_async(connection)
                .await?;
            let timeless: Vec<_> =
                pending.into_iter().map(|(id, consumer, _, n)| (id, consumer, n)).collect();
            text += &format!(", pending {timeless:?}");
        }
    }
    Ok(text)
}

async fn open(addr: SocketAddr) -> Result<MultiplexedConnection> {
    client::connect(addr, PATIENT).await.map_err(LabError::redis(format!("connecting to {addr}")))
}

/// The beginning of a command, for messages.
fn words(command: &Cmd) -> String {
    let text = command.args_iter().take(3).map(|word| match word {
        redis::Arg::Simple(bytes) => String::from_utf8_lossy(bytes).chars().take(40).collect(),
        _ => String::from("..."),
    });
    text.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_names_the_key_on_either_side() {
        let contents = |pairs: &[(&str, &str)]| -> Contents {
            pairs.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
        };
        let one = contents(&[("a", "1"), ("b", "2")]);
        assert_eq!(difference(&one, &one), None);
        let text = difference(&one, &contents(&[("a", "1")])).unwrap();
        assert!(text.contains("b: 2 against absent"), "{text}");
        let text = difference(&contents(&[("a", "1")]), &one).unwrap();
        assert!(text.contains("b: absent against 2"), "{text}");
    }

    #[test]
    fn hashes_compare_by_pairs_whatever_their_order() {
        let text = |word: &str| Value::SimpleString(word.into());
        let one = sorted("hash", Value::Array(vec![text("f"), text("1"), text("g"), text("2")]));
        let other = sorted("hash", Value::Array(vec![text("g"), text("2"), text("f"), text("1")]));
        assert_eq!(one, other);
    }
}
