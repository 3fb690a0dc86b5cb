//! The keyspace: databases of objects, and the low half of the one door to a value.
//!
//! Every change of a stored object passes through this file, because a snapshot in progress
//! must see the object as it was at the cut. The high half of the door (expiry, watches,
//! events, effects) is the engine's; nothing outside of `engine` reaches a table.

pub mod object;
pub mod snapshot;
pub mod table;

use ahash::RandomState;

use object::{Object, ValueRef};
use snapshot::{Cut, CutSink, DbCut, Orphan};
use table::{ObjectMut, Table};

/// One numbered database.
#[derive(Debug)]
pub struct Db {
    table: Table,
    /// Its place in the cut in progress; `None` when there is none or the walker is through.
    cut: Option<DbCut>,
    /// Where the active expiry cycle goes on.
    expire_cursor: u64,
    /// A moving average of the remaining time of keys with an expiry, in ms, for INFO keyspace.
    avg_ttl_ms: i64,
}

/// What is freed outside of the engine's lock, since freeing it takes long.
#[derive(Debug)]
pub enum Trash {
    /// A large value.
    Object(Object),
    /// A whole database's table.
    Table(Table),
}

/// All databases.
#[derive(Debug)]
pub struct Keyspace {
    dbs: Vec<Db>,
    cut: Option<Cut>,
    trash: Vec<Trash>,
    hasher: RandomState,
}

/// Values of at least this many bytes are freed outside of the engine's lock.
const LARGE_VALUE_BYTES: usize = 64 * 1024;

/// What one turn of the active expiry cycle on one database found.
#[derive(Debug, Default)]
pub struct ExpirySample {
    /// Keys looked at: all have an expiry.
    pub sampled: usize,
    /// Those whose time is over.
    pub expired: Vec<Box<[u8]>>,
    /// The cycle has come around the whole table.
    pub wrapped: bool,
}

impl Keyspace {
    /// `databases` empty databases, hashed with `seed`.
    pub fn new(databases: usize, seed: [u64; 4]) -> Self {
        let hasher = RandomState::with_seeds(seed[0], seed[1], seed[2], seed[3]);
        let db = |_| Db { table: Table::new(hasher.clone()), cut: None, expire_cursor: 0, avg_ttl_ms: 0 };
        let dbs = (0..databases).map(db).collect();
        Keyspace { dbs, cut: None, trash: Vec::new(), hasher }
    }

    /// How many databases there are.
    pub fn databases(&self) -> usize {
        self.dbs.len()
    }

    /// The table of database `db`, to read.
    pub fn table(&self, db: usize) -> &Table {
        &self.dbs[db].table
    }

    /// The average remaining time of the keys with an expiry in `db`, in ms.
    pub fn avg_ttl_ms(&self, db: usize) -> i64 {
        self.dbs[db].avg_ttl_ms
    }

    /// Keys in all databases.
    pub fn len(&self) -> usize {
        self.dbs.iter().map(|db| db.table.len()).sum()
    }

    /// No key in any database.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The object at `key`, expired or not.
    pub fn find(&self, db: usize, key: &[u8]) -> Option<&Object> {
        self.find_hashed(db, self.hash(key), key)
    }

    /// The object at `key`, whose hash is `hash`.
    #[inline]
    pub fn find_hashed(&self, db: usize, hash: u64, key: &[u8]) -> Option<&Object> {
        self.dbs[db].table.find(hash, key)
    }

    /// The hash of `key`, the same in all databases.
    #[inline]
    pub fn hash(&self, key: &[u8]) -> u64 {
        self.dbs[0].table.hash(key)
    }

    /// Brings the objects of these hashes towards the cache before the commands that need them run.
    pub fn prefetch(&self, db: usize, hashes: &[u64]) {
        self.dbs[db].table.prefetch_objects(hashes);
    }

    /// Shows the object at `key`, whose hash is `hash`, to `look`, which may set its access field: that is no change of the
    /// value.
    #[inline]
    pub fn look<R>(
        &mut self,
        db: usize,
        hash: u64,
        key: &[u8],
        look: impl FnOnce(&Object) -> (R, Option<u32>),
    ) -> Option<R> {
        let table = &mut self.dbs[db].table;
        table.update(hash, key, |object| {
            let (seen, lru) = look(object);
            if let Some(lru) = lru {
                object.set_lru(lru);
            }
            seen
        })
    }

    /// Sets the access field of `key`. It is no change of the value.
    pub fn touch(&mut self, db: usize, key: &[u8], lru: u32) {
        self.look(db, self.hash(key), key, |_| ((), Some(lru)));
    }

    /// Opens the object at `key` to be changed in place; its expiry changes by
    /// [`Keyspace::set_expiry`] only.
    pub fn open(&mut self, db: usize, key: &[u8]) -> Option<ObjectMut<'_>> {
        let Db { table, cut: place, .. } = &mut self.dbs[db];
        let hash = table.hash(key);
        let mut object = table.find_mut(hash, key)?;
        if let Some(cut) = &mut self.cut {
            cut.before_change(*place, hash, &mut object);
        }
        Some(object)
    }

    /// Puts `object` at its key, in place of what was there. Returns whether the key is new.
    pub fn put(&mut self, db: usize, mut object: Object) -> bool {
        let old = self.remove(db, object.key());
        let Db { table, cut: place, .. } = &mut self.dbs[db];
        let hash = table.hash(object.key());
        object.set_mark(Cut::marks_insert(*place, hash));
        table.insert(hash, object);
        match old {
            Some(old) => {
                self.discard(old);
                false
            }
            None => true,
        }
    }

    /// Takes the object at `key` out.
    pub fn remove(&mut self, db: usize, key: &[u8]) -> Option<Object> {
        let Db { table, cut: place, .. } = &mut self.dbs[db];
        let hash = table.hash(key);
        if let (Some(cut), Some(_)) = (&mut self.cut, *place)
            && let Some(mut object) = table.find_mut(hash, key)
        {
            cut.before_change(*place, hash, &mut object);
        }
        table.remove(hash, key)
    }

    /// Sets or takes away the expiry of `key`, in Unix ms; false if there is no such key.
    pub fn set_expiry(&mut self, db: usize, key: &[u8], expiry_ms: Option<i64>) -> bool {
        if self.open(db, key).is_none() {
            return false;
        }
        let table = &mut self.dbs[db].table;
        let hash = table.hash(key);
        table.set_expiry(hash, key, expiry_ms)
    }

    /// Drops `object` here if that is quick, else leaves it to be freed outside of the lock.
    pub fn discard(&mut self, object: Object) {
        let boxed = matches!(object.value(), ValueRef::Blob(_) | ValueRef::List(_) | ValueRef::Set(_));
        if boxed && object.memory_usage(5) >= LARGE_VALUE_BYTES {
            self.trash.push(Trash::Object(object));
        }
    }

    /// Empties database `db`; returns how many keys it held. Its table is freed later.
    pub fn flush(&mut self, db: usize) -> usize {
        let slot = &mut self.dbs[db];
        let keys = slot.table.len();
        slot.expire_cursor = 0;
        slot.avg_ttl_ms = 0;
        let table = std::mem::replace(&mut slot.table, Table::new(self.hasher.clone()));
        match (&mut self.cut, slot.cut.take()) {
            (Some(cut), Some(place)) => cut.orphans.push(Orphan { table, cut: place }),
            _ => self.trash.push(Trash::Table(table)),
        }
        keys
    }

    /// As many databases, hashed alike and empty.
    pub fn empty_like(&self) -> Keyspace {
        let db = |_: &Db| Db {
            table: Table::new(self.hasher.clone()),
            cut: None,
            expire_cursor: 0,
            avg_ttl_ms: 0,
        };
        Keyspace {
            dbs: self.dbs.iter().map(db).collect(),
            cut: None,
            trash: Vec::new(),
            hasher: self.hasher.clone(),
        }
    }

    /// Takes over the tables of `other`, made by [`Keyspace::empty_like`]; our own have to be empty.
    /// They are not part of a cut in progress.
    pub fn adopt(&mut self, other: Keyspace) {
        debug_assert!(
            self.is_empty() && other.cut.is_none(),
            "only a fresh dataset takes an empty one's place"
        );
        self.trash.extend(other.trash);
        for (slot, db) in self.dbs.iter_mut().zip(other.dbs) {
            *slot = db;
        }
    }

    /// Leaves all of `other` to be freed outside of the lock.
    pub fn discard_all(&mut self, other: Keyspace) {
        self.trash.extend(other.trash);
        self.trash.extend(other.dbs.into_iter().map(|db| Trash::Table(db.table)));
    }

    /// Exchanges two databases.
    pub fn swap(&mut self, a: usize, b: usize) {
        self.dbs.swap(a, b);
    }

    /// What waits to be freed outside of the lock.
    pub fn take_trash(&mut self) -> Vec<Trash> {
        std::mem::take(&mut self.trash)
    }

    /// Rehashes `buckets` buckets of each table that is being resized. Returns whether any
    /// still is.
    pub fn rehash_step(&mut self, buckets: usize) -> bool {
        let mut more = false;
        for db in &mut self.dbs {
            if db.table.rehashing() {
                more |= db.table.rehash_step(buckets);
            }
        }
        more
    }

    /// Looks at the keys with an expiry in the next `buckets` buckets of `db`.
    pub fn sample_expiring(&mut self, db: usize, buckets: usize, now_ms: i64) -> ExpirySample {
        let db = &mut self.dbs[db];
        let mut sample = ExpirySample::default();
        if db.table.expiring() == 0 {
            sample.wrapped = true;
            return sample;
        }
        let mut ttl_sum = 0i64;
        let mut alive = 0i64;
        db.expire_cursor = db.table.sample_expiring(db.expire_cursor, buckets, |object| {
            let Some(expiry_ms) = object.expiry_ms() else { return };
            sample.sampled += 1;
            if expiry_ms < now_ms {
                sample.expired.push(Box::from(object.key()));
            } else {
                alive += 1;
                ttl_sum = ttl_sum.saturating_add(expiry_ms - now_ms);
            }
        });
        sample.wrapped = db.expire_cursor == 0;
        if alive > 0 {
            let average = ttl_sum / alive;
            // A sample weighs one part in fifty, as INFO's avg_ttl does in Redis.
            db.avg_ttl_ms = if db.avg_ttl_ms == 0 { average } else { db.avg_ttl_ms / 50 * 49 + average / 50 };
        }
        sample
    }

    /// Starts a cut at this instant: from now on `sink` receives every object as it is now.
    /// Fails while another cut is in progress (or being swept after an abort).
    pub fn begin_cut(&mut self, sink: Box<dyn CutSink>) -> Result<(), Box<dyn CutSink>> {
        if self.cut.is_some() {
            return Err(sink);
        }
        self.cut = Some(Cut::new(sink));
        for (number, db) in self.dbs.iter_mut().enumerate() {
            db.cut = (!db.table.is_empty()).then_some(DbCut { db: number, from: 0 });
        }
        Ok(())
    }

    /// Whether a cut is in progress.
    pub fn cutting(&self) -> bool {
        self.cut.is_some()
    }

    /// Visits at least `objects` objects, or all that are left. Returns whether some are left.
    pub fn cut_step(&mut self, objects: usize) -> bool {
        let Some(cut) = &mut self.cut else { return false };
        let mut visited = 0;
        while visited < objects {
            if let Some(mut orphan) = cut.orphans.pop() {
                let (n, done) = cut.walk(&mut orphan.table, &mut orphan.cut);
                visited += n.max(1);
                match done {
                    true => self.trash.push(Trash::Table(orphan.table)),
                    false => cut.orphans.push(orphan),
                }
                continue;
            }
            let Some(db) = self.dbs.iter_mut().find(|db| db.cut.is_some()) else { return false };
            let Db { table, cut: place, .. } = db;
            if let Some(at) = place {
                let (n, done) = cut.walk(table, at);
                visited += n.max(1);
                if done {
                    *place = None;
                }
            }
        }
        !cut.orphans.is_empty() || self.dbs.iter().any(|db| db.cut.is_some())
    }

    /// Ends a cut whose steps are all done and gives its sink back; `None` if it was aborted.
    pub fn end_cut(&mut self) -> Option<Box<dyn CutSink>> {
        debug_assert!(self.dbs.iter().all(|db| db.cut.is_none()), "ended before the walker was through");
        self.cut.take().and_then(Cut::into_sink)
    }

    /// The cut is not wanted any more. It still has to be stepped to its end, so that no mark
    /// is left behind.
    pub fn abort_cut(&mut self) {
        if let Some(cut) = &mut self.cut {
            cut.abort();
        }
    }
}
