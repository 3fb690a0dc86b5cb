//! Data of every type and form that the nodes hold, and reading a server's whole contents back for comparison.
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
    let noise: Vec<u8> = (0..80_000).map(|_| random.random()).collect();
    let mut all = vec![
        client::cmd(&["SET", "string:short", "hello"]),
        client::cmd(&["SET", "string:empty", ""]),
        client::cmd(&["SET", "string:int", "-9223372036854775808"]),
        client::cmd(&["SET", "string:zeros", "007"]),
        client::cmd(&["SET", "string:embedded", &"e".repeat(44)]),
        client::cmd(&["SET", "string:raw", &"r".repeat(45)]),
        client::cmd(&["SET", "string:compressible", &"abcd".repeat(25_000)]),
        client::cmd(&["SET", "string:volatile", "x", "PXAT", &FAR_FUTURE_MS.to_string()]),
        client::cmd(&["RPUSH", "list:small", "a", "1", "-7", "", "300"]),
        client::cmd(&["SADD", "set:ints", "1", "-5", "70000", "9000000000"]),
        client::cmd(&["SADD", "set:small", "a", "b", "12", ""]),
        client::cmd(&["SADD", "set:volatile", "a", "1"]),
        client::cmd(&["PEXPIREAT", "set:volatile", &FAR_FUTURE_MS.to_string()]),
    ];
    let mut binary = redis::cmd("SET");
    binary.arg(b"string:\x00\r\n\xff key".as_slice()).arg(&noise);
    all.push(binary);
    let (mut list, mut ints, mut set) = (redis::cmd("RPUSH"), redis::cmd("SADD"), redis::cmd("SADD"));
    list.arg("list:large").arg("y".repeat(9_000)).arg(&noise);
    ints.arg("set:many ints");
    set.arg("set:large");
    for n in 0..1_000 {
        list.arg(format!("element {n}"));
        ints.arg(n * 1_000_003);
        set.arg(format!("member {n}"));
    }
    all.extend([list, ints, set]);
    all.extend([
        client::cmd(&["SELECT", "3"]),
        client::cmd(&["SET", "string:short", "in database 3"]),
        client::cmd(&["RPUSH", "list:small", "in database 3"]),
        client::cmd(&["SADD", "set:small", "in database 3"]),
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
            7 => format!("SREM churn:set:{key} {value} m{}", n.saturating_sub(100)),
            8 => format!("RPUSH churn:l:{key} {value} m{n}"),
            9 => format!("LPOP churn:l:{key} 2"),
            // A set of integers alone keeps its packed form.
            10 => format!("SADD churn:ints:{key} {value} {n}"),
            11 => format!("DEL churn:s:{key} churn:l:{key}"),
            12 => format!("PEXPIRE churn:i:{key} {}", 5_000_000 + value),
            // Gone before the comparison, on both sides.
            13 => format!("SET churn:gone:{key} {value} PX 1"),
            14 => format!("GETDEL churn:f:{key}"),
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
    let mut read = match kind.as_str() {
        "string" => client::cmd(&["GET"]),
        "list" => client::cmd(&["LRANGE"]),
        "set" => client::cmd(&["SMEMBERS"]),
        "none" => return Ok(None),
        _ => return Ok(Some(format!("{kind}, which nobody wrote"))),
    };
    read.arg(key);
    if kind == "list" {
        read.arg(0).arg(-1);
    }
    let expiry: i64 = redis::cmd("PEXPIRETIME").arg(key).query_async(connection).await?;
    let value: Value = read.query_async(connection).await?;
    let value = if kind == "set" { sorted(value) } else { format!(", {value:?}") };
    Ok(Some(format!("{kind}, expires {expiry}{value}")))
}

/// The members of a set in a fixed order.
fn sorted(value: Value) -> String {
    let (Value::Array(members) | Value::Set(members)) = value else { return format!(", {value:?}") };
    let mut members: Vec<String> = members.iter().map(|member| format!("{member:?}")).collect();
    members.sort();
    format!(", {}", members.join(" "))
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
    fn sets_compare_by_members_whatever_their_order() {
        let text = |word: &str| Value::SimpleString(word.into());
        let one = sorted(Value::Array(vec![text("a"), text("b")]));
        assert_eq!(one, sorted(Value::Set(vec![text("b"), text("a")])));
        assert_ne!(one, sorted(Value::Array(vec![text("a"), text("c")])));
    }
}
