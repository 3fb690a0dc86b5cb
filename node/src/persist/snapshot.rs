//! A snapshot on its way out: a cut of the keyspace, encoded as an RDB, chunk by chunk.
//!
//! Two parties work on it. Under the engine's lock, small values are encoded at once and large
//! ones frozen by sharing their root; outside of the lock, the frozen ones are encoded, piece
//! by piece, and chunks are handed to whoever writes them (a file, replicas' sockets). So the
//! lock is held for microseconds a turn, and memory is bounded by what changes meanwhile.

use std::sync::Arc;

use parking_lot::Mutex;

use super::rdb::{EncodeOptions, Encoder, Head, KeyMeta, Preamble, RdbWriter, WriteOptions};
use crate::engine::Engine;
use crate::engine::keyspace::object::{Object, ValueRef};
use crate::engine::keyspace::snapshot::CutSink;

/// A chunk is handed out when it has grown to this size.
const CHUNK_BYTES: usize = 64 * 1024;
/// Objects visited between two looks at the clock.
const OBJECTS_PER_STEP: usize = 32;
/// How long one turn may hold the engine's lock, in ns.
const TURN_NS: u64 = 200_000;

/// What the cut has emitted and nobody has taken yet.
struct Emitted {
    encoder: Encoder,
    selected: Option<usize>,
    /// Keys in either of the two.
    keys: u64,
    frozen: Vec<(usize, Object)>,
}

impl Emitted {
    fn new(options: &EncodeOptions) -> Self {
        Emitted { encoder: Encoder::new(options), selected: None, keys: 0, frozen: Vec::new() }
    }
}

struct Sink(Arc<Mutex<Emitted>>);

impl CutSink for Sink {
    fn emit(&mut self, db: usize, object: &Object) {
        let mut emitted = self.0.lock();
        emitted.keys += 1;
        match object.value() {
            ValueRef::Int(_) | ValueRef::Bytes(_) => {
                if emitted.selected != Some(db) {
                    emitted.encoder.select_db(db as u32);
                    emitted.selected = Some(db);
                }
                emitted.encoder.value(head(object), object.value());
            }
            _ => emitted.frozen.push((db, object.duplicate(object.key()))),
        }
    }
}

fn head(object: &Object) -> Head<'_> {
    Head::Key { key: object.key(), meta: KeyMeta { expiry_ms: object.expiry_ms(), ..KeyMeta::default() } }
}

/// Encodes the dataset as it was when the snapshot began.
pub struct Snapshot {
    emitted: Arc<Mutex<Emitted>>,
    writer: RdbWriter,
    /// The walker is through: what is emitted now is all that is left.
    walked: bool,
}

impl Snapshot {
    /// Begins a snapshot of this instant; `None` while another one is in progress.
    pub fn begin(engine: &mut Engine, options: &WriteOptions, preamble: &Preamble<'_>) -> Option<Snapshot> {
        let encode = EncodeOptions { version: options.version, compression: options.compression };
        let emitted = Arc::new(Mutex::new(Emitted::new(&encode)));
        engine.keyspace.begin_cut(Box::new(Sink(emitted.clone()))).ok()?;
        let mut writer = RdbWriter::new(options);
        writer.preamble(preamble);
        for db in 0..engine.keyspace.databases() {
            let table = engine.keyspace.table(db);
            if !table.is_empty() {
                writer.select_db(db as u32, table.len() as u64, table.expiring() as u64);
            }
        }
        Some(Snapshot { emitted, writer, walked: false })
    }

    /// One turn under the engine's lock: visits objects for a fraction of a millisecond, as
    /// `ticks` (monotonic, ns) tells. Returns whether there is more to visit. A save that is slowed
    /// down a key (`rdb-key-save-delay`) visits one at a time.
    pub fn turn(&mut self, engine: &mut Engine, ticks: fn() -> u64) -> bool {
        let start = ticks();
        let (step, most) = match engine.config.rdb_key_save_delay_us {
            0 => (OBJECTS_PER_STEP, u64::MAX),
            _ => (1, 1),
        };
        while !self.walked {
            if !engine.keyspace.cut_step(step) {
                engine.keyspace.end_cut();
                self.walked = true;
            }
            let emitted = self.emitted.lock();
            if ticks() - start > TURN_NS || emitted.encoder.buffered() > CHUNK_BYTES || emitted.keys >= most {
                break;
            }
        }
        !self.walked
    }

    /// Encodes what the turns have emitted and passes it on in chunks; outside of the lock. Returns
    /// the number of keys.
    ///
    /// # Errors
    /// The first error of `write`.
    pub fn drain<E>(&mut self, write: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<u64, E> {
        let (encoded, keys, frozen) = {
            let mut emitted = self.emitted.lock();
            emitted.selected = None;
            (emitted.encoder.take(), std::mem::take(&mut emitted.keys), std::mem::take(&mut emitted.frozen))
        };
        self.writer.append(&encoded);
        self.flush(write)?;
        for (db, object) in frozen {
            self.writer.keys().select_db(db as u32);
            self.encode(&object, write)?;
        }
        self.flush(write)?;
        Ok(keys)
    }

    /// Encodes one large value, passing chunks on as they fill.
    fn encode<E>(
        &mut self,
        object: &Object,
        write: &mut impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match object.value() {
            ValueRef::List(list) => {
                self.writer.keys().list(head(object), list.node_count() as u64);
                for node in list.nodes() {
                    self.writer.keys().node(node);
                    self.flush_full(write)?;
                }
            }
            ValueRef::Set(set) if set.as_intset().is_none() && set.as_listpack().is_none() => {
                self.writer.keys().set(head(object), set.len() as u64);
                for member in set.iter() {
                    self.writer.keys().member(member);
                    self.flush_full(write)?;
                }
            }
            value => self.writer.keys().value(head(object), value),
        }
        self.flush_full(write)
    }

    fn flush_full<E>(&mut self, write: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if self.writer.buffered() < CHUNK_BYTES { Ok(()) } else { self.flush(write) }
    }

    fn flush<E>(&mut self, write: &mut impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        if self.writer.buffered() == 0 {
            return Ok(());
        }
        write(&self.writer.take(Vec::new()))
    }

    /// The end of the RDB, once the turns and the last drain are done.
    pub fn finish(self) -> Vec<u8> {
        debug_assert!(self.walked, "a snapshot ends when the walker is through");
        self.writer.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::super::rdb::{Item, RdbReader, ReadOptions, Step, ValueLimits};
    use super::*;
    use crate::config::Config;
    use redoubt_wire::resp::reply::{Protocol, Reply};
    use std::collections::BTreeMap;

    fn run(engine: &mut Engine, client: u64, line: &str) {
        let words: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut reply = Reply::new(Protocol::Resp2);
        engine.begin(client, 1000).expect("the client exists").execute(&words, &mut reply);
        assert_ne!(reply.buf[0], b'-', "{line}: {}", String::from_utf8_lossy(&reply.buf));
    }

    fn engine_limits() -> ValueLimits {
        let engine = Engine::new(Config::default(), 7, || 0);
        ValueLimits { list: engine.list_limits(), set: engine.set_limits() }
    }

    fn preamble() -> Preamble<'static> {
        Preamble { redis_version: "7.2.4", ctime_s: 0, used_memory: 0, replication: None, aof_base: false }
    }

    fn read(bytes: Vec<u8>) -> BTreeMap<(u32, Vec<u8>), String> {
        let mut reader = RdbReader::new(&ReadOptions::with_limits(engine_limits()));
        reader.feed(bytes);
        let mut found = BTreeMap::new();
        loop {
            match reader.next().expect("our own file is valid") {
                Step::Item(Item::Key(key)) => {
                    let twice = found.insert((key.db, key.key.clone()), format!("{:?}", key.value));
                    assert!(twice.is_none(), "{:?} stands twice", key.key);
                }
                Step::Item(Item::End(_)) => return found,
                Step::Item(_) => {}
                Step::NeedMore | Step::End => panic!("the file is cut short"),
            }
        }
    }

    /// Takes a snapshot with `between` run after each step of one object.
    fn snapshot(engine: &mut Engine, mut between: impl FnMut(&mut Engine, usize)) -> Vec<u8> {
        let mut snap = Snapshot::begin(engine, &WriteOptions::default(), &preamble()).expect("no other cut");
        let mut out = Vec::new();
        let mut write = |chunk: &[u8]| -> Result<(), ()> {
            out.extend_from_slice(chunk);
            Ok(())
        };
        let mut step = 0;
        while engine.keyspace.cut_step(1) {
            snap.drain(&mut write).unwrap();
            between(engine, step);
            step += 1;
        }
        engine.keyspace.end_cut();
        snap.walked = true;
        snap.drain(&mut write).unwrap();
        out.extend(snap.finish());
        out
    }

    #[test]
    fn a_snapshot_is_the_dataset_at_its_beginning_whatever_happens_meanwhile() {
        let mut engine = Engine::new(Config::default(), 7, || 0);
        let client = engine.connect("c", "s", -1, 0);
        for i in 0..500 {
            run(&mut engine, client, &format!("SET key:{i} value:{i}"));
            run(&mut engine, client, &format!("RPUSH list:{} a b {i}", i % 20));
            run(&mut engine, client, &format!("SADD set:{} m{i}", i % 3));
        }
        run(&mut engine, client, "SELECT 3");
        run(&mut engine, client, "SET other db");
        run(&mut engine, client, "SELECT 0");
        let quiet = read(snapshot(&mut engine, |_, _| {}));
        assert_eq!(quiet.len(), 500 + 20 + 3 + 1);
        let busy = read(snapshot(&mut engine, |engine, step| match step % 9 {
            0 => run(engine, client, &format!("SET key:{} changed", step * 7 % 500)),
            1 => run(engine, client, &format!("DEL key:{}", step * 11 % 500)),
            2 => run(engine, client, &format!("SET new:{step} x")),
            3 => run(engine, client, &format!("RPUSH list:{} z", step % 20)),
            4 => run(engine, client, &format!("SADD set:1 n{step}")),
            5 => run(engine, client, &format!("APPEND key:{} tail", step * 13 % 500)),
            6 => run(engine, client, &format!("COPY list:3 key:{} REPLACE", step * 17 % 500)),
            7 if step < 300 => run(engine, client, "SWAPDB 0 3"),
            7 => run(engine, client, "FLUSHALL"),
            _ => run(engine, client, &format!("SET key:{} again", step * 19 % 500)),
        }));
        assert_eq!(busy, quiet);
        // No mark is left behind: the next snapshot sees all there is.
        let after = read(snapshot(&mut engine, |_, _| {}));
        let keys: usize = (0..16).map(|db| engine.keyspace.table(db).len()).sum();
        assert_eq!(after.len(), keys);
    }
}
