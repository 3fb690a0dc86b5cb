//! RDB files and DUMP payloads exchanged with a real `redis-server`, both ways.
//!
//! Equality is judged by Redis: DEBUG DIGEST sums up all keys, values and expiry flags of a server.

use redis::{Commands, Connection};
use redoubt_node::engine::keyspace::object::Value;
use redoubt_node::engine::types::{ListLimits, SetLimits};
use redoubt_node::persist::rdb::{
    Checksum, EncodeOptions, FileOptions, Head, Item, KeyMeta, Preamble, RdbFileWriter, RdbKey, RdbLoader,
    RdbWriter, ReadOptions, ValueLimits, WriteOptions, dump_payload, parse_payload,
};
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A server in a directory of its own, reached by a socket in it.
struct Server {
    process: Child,
    dir: tempfile::TempDir,
    connection: Connection,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().expect("our own child");
        self.process.wait().expect("our own child");
    }
}

impl Server {
    /// Starts one that loads `dump` if there is one; `None` if no `redis-server` is installed.
    fn start(config: &[&str], dump: Option<&Path>) -> Option<Server> {
        let dir = tempfile::tempdir().expect("a directory");
        if let Some(dump) = dump {
            std::fs::copy(dump, dir.path().join("dump.rdb")).expect("copied");
        }
        let socket = dir.path().join("socket");
        let spawned = Command::new("redis-server")
            .args(["--port", "0", "--save", "", "--enable-debug-command", "yes", "--dir"])
            .arg(dir.path())
            .arg("--unixsocket")
            .arg(&socket)
            .args(config)
            .stdout(Stdio::null())
            .spawn();
        let process = match spawned {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eprintln!("skipped: redis-server is not installed");
                return None;
            }
            other => other.expect("redis-server starts"),
        };
        let client = redis::Client::open(format!("unix://{}", socket.display())).expect("an address");
        let connection = await_ready(&client);
        Some(Server { process, dir, connection })
    }

    fn run(&mut self, command: &str, arguments: &[&[u8]]) {
        redis::cmd(command).arg(arguments).exec(&mut self.connection).expect(command);
    }

    /// One sum over everything the server holds.
    fn digest(&mut self) -> String {
        redis::cmd("DEBUG").arg("DIGEST").query(&mut self.connection).expect("a digest")
    }

    fn save(&mut self) -> std::path::PathBuf {
        self.run("SAVE", &[]);
        self.dir.path().join("dump.rdb")
    }
}

/// A connection, as soon as the server has loaded its data.
fn await_ready(client: &redis::Client) -> Connection {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        let ready = client.get_connection().and_then(|mut connection| {
            redis::cmd("PING").exec(&mut connection)?;
            Ok(connection)
        });
        match ready {
            Ok(connection) => return connection,
            Err(error) if Instant::now() > deadline => panic!("the server did not get ready: {error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

fn options() -> ReadOptions {
    ReadOptions::with_limits(ValueLimits { list: ListLimits::default(), set: SetLimits::with_seed(1) })
}

/// Everything a file holds, and that its checksum is as it should be.
fn load(path: &Path, checksum: Checksum) -> Vec<Item> {
    let loader = RdbLoader::open(path, &options()).expect("opened");
    let items: Vec<Item> = loader.flat_map(|batch| batch.expect("what Redis wrote is sound")).collect();
    assert!(matches!(items.last(), Some(Item::End(found)) if *found == checksum), "{:?}", items.last());
    items
}

fn keys(items: Vec<Item>) -> Vec<RdbKey> {
    items.into_iter().filter_map(|item| if let Item::Key(key) = item { Some(key) } else { None }).collect()
}

/// Fills a server with every form that strings, lists and sets take in a file.
fn populate(server: &mut Server) {
    let texts = ["0", "-128", "128", "-32769", "2147483647", "2147483648", "-9223372036854775808", "007", ""];
    for (number, text) in texts.iter().enumerate() {
        server.run("SET", &[format!("text:{number}").as_bytes(), text.as_bytes()]);
    }
    let noise: Vec<u8> = (0..100_000u32).map(|at| (at.wrapping_mul(0x9E37_79B1) >> 15) as u8).collect();
    let words = "all work and no play makes jack a dull boy ".repeat(4000);
    server.run("SET", &[b"noise", &noise]);
    server.run("SET", &[b"words", words.as_bytes()]);
    server.run("SET", &[b"run", &[b'a'; 300_000]]);
    server.run("SET", &[b"12345", b"a key that is a number"]);
    server.run("SET", &[b"\x00\xff\r\n", b"a key of any bytes"]);
    server.run("SET", &[b"volatile", b"text", b"PXAT", b"4102444800123"]);
    for at in 0..600 {
        let number = (at * 7919 - 1000).to_string();
        server.run("RPUSH", &[b"list:long", number.as_bytes(), &noise[at as usize..at as usize + 150]]);
        server.run("SADD", &[b"set:numbers", number.as_bytes()]);
        server.run("SADD", &[b"set:large", number.as_bytes(), &noise[at as usize..at as usize + 9]]);
    }
    server.run("RPUSH", &[b"list:short", b"a", b"", b"-5000", b"9223372036854775807"]);
    server.run("RPUSH", &[b"list:plain", b"a", &noise[..20_000], words.as_bytes(), b"z"]);
    server.run("SADD", &[b"set:16", b"-32768", b"5"]);
    server.run("SADD", &[b"set:32", b"-70000", b"5"]);
    server.run("SADD", &[b"set:64", b"-9223372036854775808", b"9223372036854775807"]);
    server.run("SADD", &[b"set:words", b"a", b"b", b"17", b""]);
    server.run("SELECT", &[b"9"]);
    server.run("SET", &[b"elsewhere", b"1"]);
    server.run("SELECT", &[b"0"]);
}

/// Writes keys to a file of ours.
fn write(keys: &[RdbKey], dir: &Path, options: &WriteOptions) {
    let mut file = RdbFileWriter::create(dir, &FileOptions::default()).expect("created");
    let mut writer = RdbWriter::new(options);
    writer.preamble(&Preamble {
        redis_version: "7.2.4",
        ctime_s: 1_700_000_000,
        used_memory: 1 << 20,
        replication: None,
        aof_base: false,
    });
    let mut spare = Vec::new();
    for db in [0, 9] {
        let of_db = || keys.iter().filter(|key| key.db == db);
        writer.select_db(
            db,
            of_db().count() as u64,
            of_db().filter(|key| key.expiry_ms.is_some()).count() as u64,
        );
        for key in of_db() {
            let meta = KeyMeta { expiry_ms: key.expiry_ms, idle_s: key.idle_s, freq: key.freq };
            writer.keys().value(Head::Key { key: &key.key, meta }, (&key.value).into());
            if writer.buffered() > 64 * 1024 {
                spare = writer.take(spare);
                file.write(&spare).expect("written");
            }
        }
    }
    file.write(&writer.finish()).expect("written");
    file.finish("dump.rdb").expect("finished");
}

#[test]
fn redis_loads_what_we_read_from_it_and_write() {
    for (config, checksum) in [
        (&["--rdbcompression", "yes"][..], Checksum::Valid),
        (&["--rdbcompression", "no", "--rdbchecksum", "no"], Checksum::Disabled),
        (&["--list-max-listpack-size", "3", "--set-max-intset-entries", "4"], Checksum::Valid),
        (&["--list-max-listpack-size", "-5", "--list-compress-depth", "1"], Checksum::Valid),
        (&["--maxmemory-policy", "allkeys-lru"], Checksum::Valid),
        (&["--maxmemory-policy", "allkeys-lfu"], Checksum::Valid),
    ] {
        let Some(mut server) = Server::start(config, None) else { return };
        populate(&mut server);
        let digest = server.digest();
        let keys = keys(load(&server.save(), checksum));
        assert!(keys.iter().any(|key| key.expiry_ms == Some(4_102_444_800_123)));
        assert_eq!(keys.iter().all(|key| key.idle_s.is_some()), config.contains(&"allkeys-lru"));
        assert_eq!(keys.iter().all(|key| key.freq.is_some()), config.contains(&"allkeys-lfu"));
        for (compression, checksum) in [(true, true), (false, false)] {
            let dir = tempfile::tempdir().expect("a directory");
            write(&keys, dir.path(), &WriteOptions { compression, checksum, ..Default::default() });
            let path = dir.path().join("dump.rdb");
            let check = Command::new("redis-check-rdb").arg(&path).output();
            let check = String::from_utf8_lossy(&check.expect("comes with redis-server").stdout).into_owned();
            assert!(check.contains("\\o/ RDB looks OK! \\o/"), "{check}");
            let mut second = Server::start(&[], Some(&path)).expect("there was one before");
            assert_eq!(second.digest(), digest, "{config:?}, compressed: {compression}");
        }
    }
}

#[test]
fn payloads_are_understood_by_both_sides() {
    let Some(mut server) = Server::start(&[], None) else { return };
    populate(&mut server);
    let digest = server.digest();
    let names: Vec<Vec<u8>> = server.connection.keys("*").expect("the keys");
    assert!(names.len() > 20);
    for name in names {
        let payload: Vec<u8> =
            redis::cmd("DUMP").arg(&name).query(&mut server.connection).expect("a payload");
        let value: Value = parse_payload(&payload, &options()).expect("what Redis wrote is sound");
        let ttl_ms: i64 = server.connection.pexpire_time(&name).expect("a time");
        let ours = dump_payload((&value).into(), &EncodeOptions::default());
        let ttl = ttl_ms.max(0).to_string();
        server.run("RESTORE", &[&name, ttl.as_bytes(), &ours, b"REPLACE", b"ABSTTL"]);
    }
    assert_eq!(server.digest(), digest);
}

#[test]
fn functions_and_types_not_held_are_recognised() {
    let Some(mut server) = Server::start(&[], None) else { return };
    let source = b"#!lua name=mine\nredis.register_function('answer', function() return 42 end)";
    server.run("FUNCTION", &[b"LOAD", source]);
    let items = load(&server.save(), Checksum::Valid);
    assert!(items.iter().any(|item| matches!(item, Item::Function(found) if found == source)));

    for (command, arguments, name) in [
        ("ZADD", &[&b"k"[..], b"1", b"a"][..], "sorted set"),
        ("HSET", &[b"k", b"f", b"v"], "hash"),
        ("XADD", &[b"k", b"*", b"f", b"v"], "stream"),
    ] {
        server.run("DEL", &[b"k"]);
        server.run(command, arguments);
        let mut loader = RdbLoader::open(&server.save(), &options()).expect("opened");
        let error = loader.find_map(Result::err).expect("refused").to_string();
        assert!(error.contains(&format!("key 'k' in database 0 is a {name}")), "{error}");
    }
}
