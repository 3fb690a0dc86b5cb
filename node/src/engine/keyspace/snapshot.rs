//! Snapshots without fork: a cut of the keyspace at one instant.
//!
//! From the cut on, a walker visits every object in scan order in short turns, and the door
//! emits an object that the walker has not reached yet before it lets it change. Whether an
//! object still has to be emitted is a function of two things only:
//!
//! - its place: an object whose scan position lies before the walker's has been visited;
//! - its mark: set on an object ahead of the walker that was emitted early, or that was
//!   inserted after the cut. The walker passes over a marked object and clears its mark.
//!
//! The position of a key depends on its hash alone, so neither rehashing nor RENAME can lose
//! or double a key. A database carries its place in the cut with it, so SWAPDB needs no care;
//! FLUSHALL hands the unvisited table over to the cut as an orphan. No mark is left behind at
//! the end; an aborted cut therefore goes on walking, without emitting, until all are cleared.

use super::object::Object;
use super::table::Table;

/// Receives the objects of a cut, each exactly once, in no particular order.
///
/// It is called under the engine's lock: it copies small values and shares the root of
/// large ones, and leaves all else for later.
pub trait CutSink: Send {
    /// `object` belongs to the snapshot, in database `db`.
    fn emit(&mut self, db: usize, object: &Object);
}

/// A database's place in the cut: what lies at `from` or beyond is still to be visited.
#[derive(Clone, Copy, Debug)]
pub struct DbCut {
    /// The number the database had at the cut.
    pub db: usize,
    /// The walker's scan position in it.
    pub from: u64,
}

impl DbCut {
    fn ahead(&self, hash: u64) -> bool {
        Table::position(hash) >= self.from
    }
}

/// A table that a flush took out of its database before the walker was through with it.
#[derive(Debug)]
pub struct Orphan {
    /// What was in the database.
    pub table: Table,
    /// How far the walker had come.
    pub cut: DbCut,
}

/// A cut in progress. `sink` is absent once it was aborted.
pub struct Cut {
    sink: Option<Box<dyn CutSink>>,
    pub(super) orphans: Vec<Orphan>,
}

impl std::fmt::Debug for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cut")
            .field("aborted", &self.sink.is_none())
            .field("orphans", &self.orphans.len())
            .finish()
    }
}

impl Cut {
    /// A cut whose objects go to `sink`.
    pub fn new(sink: Box<dyn CutSink>) -> Self {
        Cut { sink: Some(sink), orphans: Vec::new() }
    }

    /// Nothing is emitted from now on.
    pub fn abort(&mut self) {
        self.sink = None;
    }

    /// Gives the sink back at the end; `None` if the cut was aborted.
    pub fn into_sink(self) -> Option<Box<dyn CutSink>> {
        self.sink
    }

    /// `object` is about to change or to go.
    pub(super) fn before_change(&mut self, place: Option<DbCut>, hash: u64, object: &mut Object) {
        if let Some(place) = place
            && place.ahead(hash)
            && !object.mark()
        {
            self.emit(place.db, object);
            object.set_mark(true);
        }
    }

    /// Whether an object inserted now has to carry the mark.
    pub(super) fn marks_insert(place: Option<DbCut>, hash: u64) -> bool {
        place.is_some_and(|p| p.ahead(hash))
    }

    /// Visits one range of `table` from the walker's place on. Returns the objects visited and
    /// whether the table is done.
    pub(super) fn walk(&mut self, table: &mut Table, place: &mut DbCut) -> (usize, bool) {
        let mut visited = 0;
        let next = table.walk(place.from, |object| {
            visited += 1;
            if object.mark() {
                object.set_mark(false);
            } else {
                self.emit(place.db, object);
            }
        });
        if let Some(next) = next {
            place.from = next;
        }
        (visited, next.is_none())
    }

    fn emit(&mut self, db: usize, object: &Object) {
        if let Some(sink) = &mut self.sink {
            sink.emit(db, object);
        }
    }
}
