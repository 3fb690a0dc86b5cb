//! What the driver's timer has the engine do: steps of bounded work, each answering whether
//! there is more.

use super::Engine;
use super::request::Output;
use super::session::ClientId;

impl Engine {
    /// Rehashes some buckets of each table that is being resized; whether any still is.
    pub fn rehash_step(&mut self, buckets: usize) -> bool {
        self.keyspace.rehash_step(buckets)
    }

    /// One step of the active expiry cycle on database `db`: looks at the keys that have an
    /// expiry in some buckets and deletes those past it. Returns how many it looked at and
    /// how many it deleted. On a replica it looks at those alone that it expires itself.
    pub fn expire_step(&mut self, db: usize, buckets: usize) -> (usize, usize) {
        if !self.own_expiring.is_empty() && !self.writes_paused() {
            return self.expire_own(buckets);
        }
        if !self.may_expire() {
            return (0, 0);
        }
        let sample = self.keyspace.sample_expiring(db, buckets, self.now_ms);
        for key in &sample.expired {
            self.expire_now(db, key);
            // One unit a key: a replica need not apply a whole cycle at once.
            self.effects.end_unit();
        }
        if sample.sampled > 0 {
            let now = sample.expired.len() as f64 / sample.sampled as f64;
            self.stats.expired_stale_percent = now * 5.0 + self.stats.expired_stale_percent * 0.95;
        }
        (sample.sampled, sample.expired.len())
    }

    /// Has the driver close a client at once.
    pub fn close_client(&mut self, client: ClientId) {
        self.output(Output::Close { client, after_reply: false });
    }
}
