//! Which history of writes a node holds: its replication ids and how far it is in them.
//!
//! A history is named by a random id and measured in bytes of the replication stream. A
//! node that is promoted starts a new history that shares its beginning with the old one:
//! the old id stays valid as `replid2`, up to the offset at which the two part. That is what
//! lets the other replicas of a failed master, and later that master itself, continue with
//! the promoted node without a full synchronization. The rules are those of PSYNC version 2.

use std::fmt;

use rand::RngCore;

use super::backlog::Backlog;

/// The length of a replication id in characters.
pub const REPLID_LEN: usize = 40;

/// The name of one history: 40 printable characters, random hexadecimal digits when made here.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ReplId([u8; REPLID_LEN]);

impl ReplId {
    /// What stands where there is no id: forty zeros.
    pub const NONE: ReplId = ReplId([b'0'; REPLID_LEN]);

    /// A fresh random id.
    pub fn random(rng: &mut impl RngCore) -> ReplId {
        ReplId(random_hex(rng))
    }

    /// Takes an id as a peer or an RDB file gives it; `None` unless it is 40 printable characters.
    pub fn parse(text: &[u8]) -> Option<ReplId> {
        let id: [u8; REPLID_LEN] = text.try_into().ok()?;
        id.iter().all(u8::is_ascii_graphic).then_some(ReplId(id))
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only printable ASCII gets in")
    }

    /// Whether a peer that wrote `text` means this id. The case of letters does not matter.
    pub fn matches(&self, text: &[u8]) -> bool {
        self.0.eq_ignore_ascii_case(text)
    }
}

impl fmt::Display for ReplId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for ReplId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Forty random hexadecimal digits, for ids and for the marks that end a streamed payload.
pub fn random_hex(rng: &mut impl RngCore) -> [u8; REPLID_LEN] {
    let mut raw = [0; REPLID_LEN];
    rng.fill_bytes(&mut raw);
    raw.map(|byte| b"0123456789abcdef"[usize::from(byte & 15)])
}

/// The ids and offset of the history that a node holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lineage {
    replid: ReplId,
    offset: u64,
    /// The former id and the highest PSYNC offset (1-based) that it is valid for.
    second: Option<(ReplId, u64)>,
    /// Somebody else has learnt the current id.
    told: bool,
}

/// Why a replica's wish to continue cannot be granted; decides between two log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// The id is neither of ours.
    UnknownId,
    /// The id is our second one, but the histories had parted before the wanted offset.
    BeyondSecond {
        /// The highest offset that can be continued from under the second id.
        limit: u64,
    },
    /// The history is ours, but the bytes asked for are not in the backlog.
    NotInBacklog,
}

impl Lineage {
    /// A new history at offset zero.
    pub fn new(rng: &mut impl RngCore) -> Lineage {
        Lineage { replid: ReplId::random(rng), offset: 0, second: None, told: false }
    }

    /// The name of the current history.
    pub fn replid(&self) -> ReplId {
        self.replid
    }

    /// `master_repl_offset`: bytes of the stream so far; on a replica, those it has applied.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The former id, or forty zeros.
    pub fn replid2(&self) -> ReplId {
        self.second.map_or(ReplId::NONE, |(id, _)| id)
    }

    /// `second_repl_offset`: the highest PSYNC offset served under the former id, -1 if there is none.
    pub fn second_offset(&self) -> i64 {
        self.second.map_or(-1, |(_, offset)| offset as i64)
    }

    /// Moves the offset over bytes that joined the stream.
    pub fn advance(&mut self, bytes: u64) {
        self.offset += bytes;
    }

    /// Promotion: a new history that shares everything up to here with the old one.
    pub fn shift(&mut self, rng: &mut impl RngCore) {
        self.second = Some((self.replid, self.offset + 1));
        self.replid = ReplId::random(rng);
        self.told = false;
    }

    /// A replica is told the current id.
    pub fn tell(&mut self) {
        self.told = true;
    }

    /// Whether a new history was begun and nothing has become of it: nothing was written since, and
    /// nobody knows its name.
    pub fn is_unused(&self) -> bool {
        !self.told && self.second.is_some_and(|(_, limit)| limit == self.offset + 1)
    }

    /// The id under which others know what we hold: the former one while the new history is unused.
    pub fn known_replid(&self) -> ReplId {
        if self.is_unused() { self.replid2() } else { self.replid }
    }

    /// Goes back to the former history if the new one is unused. So a master that was restarted, or
    /// promoted for a moment, can continue with whoever goes on under the name that all know.
    /// Returns whether it did.
    pub fn take_back(&mut self) -> bool {
        let unused = self.is_unused();
        if unused {
            self.adopt(self.replid2(), self.offset);
        }
        unused
    }

    /// A new history that shares nothing with the old one; the offset stays, as it only ever grows.
    pub fn renew(&mut self, rng: &mut impl RngCore) {
        self.replid = ReplId::random(rng);
        self.second = None;
        self.told = false;
    }

    /// A full synchronization ended: the history is now the master's, at the offset of its snapshot.
    pub fn adopt(&mut self, replid: ReplId, offset: u64) {
        *self = Lineage { replid, offset, second: None, told: true };
    }

    /// The master continues our history under `replid`. Returns whether that is a new name, in
    /// which case our own replicas have to be disconnected so that they learn it.
    pub fn continue_as(&mut self, replid: ReplId) -> bool {
        if replid == self.replid {
            return false;
        }
        self.second = Some((self.replid, self.offset + 1));
        self.replid = replid;
        self.told = true;
        true
    }

    /// A replica was restarted and its RDB file says what it held: it may try to continue from there.
    pub fn restore_replica(&mut self, replid: ReplId, offset: u64) {
        self.adopt(replid, offset);
    }

    /// A master was restarted. Its data may have been changed by the restart (keys that expired),
    /// so that it starts a new history; replicas that were at the saved offset can continue.
    /// `self.offset()` counts what loading has put into the stream already, and is rebased.
    pub fn restore_master(&mut self, saved: ReplId, saved_offset: u64) {
        self.second = Some((saved, saved_offset + 1));
        self.offset += saved_offset;
        self.told = false;
    }

    /// Decides PSYNC `<id> <wanted>`, where `wanted` is the 1-based offset of the next byte that the
    /// replica lacks. Returns the position (bytes already held by the replica) to stream from.
    pub fn can_continue(&self, id: &[u8], wanted: i64, backlog: Option<&Backlog>) -> Result<u64, Mismatch> {
        if !self.replid.matches(id) {
            match self.second {
                Some((second, limit)) if second.matches(id) => {
                    if wanted > limit as i64 {
                        return Err(Mismatch::BeyondSecond { limit });
                    }
                }
                _ => return Err(Mismatch::UnknownId),
            }
        }
        let position = u64::try_from(wanted).ok().and_then(|w| w.checked_sub(1));
        match (position, backlog.map(Backlog::span)) {
            (Some(position), Some(span)) if span.start <= position && position <= span.end => Ok(position),
            _ => Err(Mismatch::NotInBacklog),
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    use super::*;

    fn backlog(start: u64, len: usize) -> std::sync::Arc<Backlog> {
        let backlog = Backlog::new(start, 16 * 1024);
        backlog.append(&vec![b'x'; len]);
        backlog
    }

    #[test]
    fn an_id_is_forty_printable_characters() {
        let id = ReplId::random(&mut StdRng::seed_from_u64(1));
        assert!(id.as_str().bytes().all(|b| b.is_ascii_hexdigit() && !b.is_ascii_uppercase()));
        assert_eq!(ReplId::parse(id.as_str().as_bytes()), Some(id));
        assert!(id.matches(id.as_str().to_uppercase().as_bytes()));
        assert_eq!(ReplId::parse(&[b'a'; 39]), None);
        assert_eq!(ReplId::parse(&[b'\n'; 40]), None);
        assert_eq!(ReplId::parse(&[0xff; 40]), None);
    }

    #[test]
    fn the_backlog_bounds_what_can_be_continued() {
        let rng = &mut StdRng::seed_from_u64(2);
        let mut lineage = Lineage::new(rng);
        lineage.advance(150);
        let held = backlog(100, 50);
        let id = lineage.replid().to_string().into_bytes();
        let ask = |offset| lineage.can_continue(&id, offset, Some(&held));
        assert_eq!(ask(100), Err(Mismatch::NotInBacklog));
        assert_eq!(ask(101), Ok(100));
        assert_eq!(ask(151), Ok(150), "a replica that has everything continues with nothing");
        assert_eq!(ask(152), Err(Mismatch::NotInBacklog));
        assert_eq!(ask(0), Err(Mismatch::NotInBacklog));
        assert_eq!(ask(-1), Err(Mismatch::NotInBacklog));
        assert_eq!(ask(i64::MIN), Err(Mismatch::NotInBacklog));
        assert_eq!(lineage.can_continue(&id, 151, None), Err(Mismatch::NotInBacklog));
        assert_eq!(lineage.can_continue(b"?", -1, Some(&held)), Err(Mismatch::UnknownId));
    }

    #[test]
    fn after_promotion_the_old_id_is_good_up_to_the_fork() {
        let rng = &mut StdRng::seed_from_u64(3);
        let mut lineage = Lineage::new(rng);
        let old = lineage.replid();
        lineage.advance(60);
        lineage.shift(rng);
        assert_ne!(lineage.replid(), old);
        assert_eq!((lineage.replid2(), lineage.second_offset()), (old, 61));
        lineage.advance(20);
        let held = backlog(0, 80);
        let ask = |offset| lineage.can_continue(old.as_str().as_bytes(), offset, Some(&held));
        assert_eq!(ask(61), Ok(60));
        assert_eq!(ask(62), Err(Mismatch::BeyondSecond { limit: 61 }));
    }

    #[test]
    fn the_absent_second_id_continues_nothing() {
        let lineage = Lineage::new(&mut StdRng::seed_from_u64(4));
        let held = backlog(0, 10);
        for offset in [-1, 0, 1, 5] {
            assert_eq!(lineage.can_continue(&[b'0'; 40], offset, Some(&held)), Err(Mismatch::UnknownId));
        }
    }

    #[test]
    fn a_new_name_from_the_master_keeps_the_old_as_second() {
        let rng = &mut StdRng::seed_from_u64(5);
        let (mut lineage, new) = (Lineage::new(rng), ReplId::random(rng));
        let old = lineage.replid();
        lineage.advance(9);
        assert!(!lineage.continue_as(old));
        assert_eq!(lineage.second_offset(), -1);
        assert!(lineage.continue_as(new));
        assert_eq!((lineage.replid(), lineage.replid2(), lineage.second_offset()), (new, old, 10));
    }

    #[test]
    fn a_new_history_that_nothing_became_of_is_taken_back() {
        let rng = &mut StdRng::seed_from_u64(7);
        let mut lineage = Lineage::new(rng);
        assert!(!lineage.take_back(), "there is nothing to go back to");
        let old = lineage.replid();
        lineage.advance(60);
        lineage.shift(rng);
        assert_eq!(lineage.known_replid(), old);
        assert!(lineage.take_back());
        assert_eq!((lineage.replid(), lineage.offset(), lineage.second_offset()), (old, 60, -1));
        lineage.shift(rng);
        lineage.advance(1);
        assert!(!lineage.take_back(), "something was written");
        lineage.shift(rng);
        lineage.tell();
        assert!(!lineage.take_back(), "somebody knows it");
        assert_eq!(lineage.known_replid(), lineage.replid());
    }

    #[test]
    fn a_restarted_master_serves_the_saved_history_only_as_its_second() {
        let rng = &mut StdRng::seed_from_u64(6);
        let (mut lineage, saved) = (Lineage::new(rng), ReplId::random(rng));
        lineage.advance(30); // Deletions of keys that had expired while it was down.
        lineage.restore_master(saved, 1000);
        assert_eq!((lineage.offset(), lineage.replid2(), lineage.second_offset()), (1030, saved, 1001));
        let held = backlog(1000, 30);
        assert_eq!(lineage.can_continue(saved.as_str().as_bytes(), 1001, Some(&held)), Ok(1000));
    }
}
