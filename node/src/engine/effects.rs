//! The stream of effects: what commands changed, as the commands that replay it.
//!
//! A handler appends its effect once, already rewritten where determinism asks for it. The
//! effects of one command (or one EXEC) form a unit; a unit of more than one effect is wrapped
//! in MULTI and EXEC, so that a replica applies it whole or not at all. SELECT stands in the
//! stream wherever the database changes, inside the MULTI. The driver takes the bytes after
//! each batch, before any reply of that batch goes out.
//!
//! Only the bytes for replicas exist so far. An effect's audience will decide which of two
//! buffers it reaches once there is an append-only file to read the other.

/// The stream of effects since the driver last took it.
#[derive(Debug, Default)]
pub struct Effects {
    bytes: Vec<u8>,
    /// Where the open unit starts in `bytes`, and how many effects it holds.
    unit_start: usize,
    unit_effects: usize,
    /// The database the stream's reader is in; `None` forces a SELECT.
    selected: Option<usize>,
    /// Somebody reads the stream. Otherwise effects are counted and not encoded.
    wanted: bool,
    /// The replication offset after the last byte appended: what WAIT waits for. Without a
    /// reader an effect moves it by one, so that it still tells that there was a write.
    offset: u64,
}

impl Effects {
    /// Whether somebody reads the stream (a backlog exists).
    pub fn set_wanted(&mut self, wanted: bool) {
        self.wanted = wanted;
    }

    /// Whether somebody reads the stream.
    pub fn wanted(&self) -> bool {
        self.wanted
    }

    /// The replication offset after the last byte appended (`master_repl_offset`).
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The offset as a sync, a promotion or the master's stream sets it.
    pub fn set_offset(&mut self, offset: u64) {
        self.offset = offset;
    }

    /// How many effects the open unit has so far.
    pub fn in_unit(&self) -> usize {
        self.unit_effects
    }

    /// The database that the stream's reader is in; `None` if the next effect selects one.
    pub fn selected(&self) -> Option<usize> {
        self.selected
    }

    /// The next effect starts with SELECT: a new reader knows no database.
    pub fn forget_selected(&mut self) {
        self.selected = None;
    }

    /// Appends one effect on database `db`.
    pub fn append(&mut self, db: usize, args: &[&[u8]]) {
        self.unit_effects += 1;
        if !self.wanted {
            self.offset += 1;
            return;
        }
        let start = self.bytes.len();
        if self.unit_effects == 1 {
            self.unit_start = start;
        }
        if self.selected != Some(db) {
            let mut digits = itoa::Buffer::new();
            encode(&mut self.bytes, &[b"SELECT", digits.format(db).as_bytes()]);
            self.selected = Some(db);
        }
        encode(&mut self.bytes, args);
        self.offset += (self.bytes.len() - start) as u64;
    }

    /// Appends what belongs to no database and no unit: PING, REPLCONF GETACK, PUBLISH.
    pub fn append_bare(&mut self, args: &[&[u8]]) {
        if self.wanted {
            let start = self.bytes.len();
            encode(&mut self.bytes, args);
            self.offset += (self.bytes.len() - start) as u64;
        }
    }

    /// Ends the unit: wraps it if it holds more than one effect. Returns how many it held.
    pub fn end_unit(&mut self) -> usize {
        const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
        const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
        let effects = std::mem::take(&mut self.unit_effects);
        if effects > 1 && self.wanted {
            self.bytes.extend_from_slice(MULTI);
            self.bytes[self.unit_start..].rotate_right(MULTI.len());
            self.bytes.extend_from_slice(EXEC);
            self.offset += (MULTI.len() + EXEC.len()) as u64;
        }
        effects
    }

    /// The bytes that wait to be taken.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// They were taken; the capacity stays.
    pub fn clear(&mut self) {
        debug_assert_eq!(self.unit_effects, 0, "taken in the middle of a unit");
        self.bytes.clear();
    }

    /// Nothing to take.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}

/// Appends a command in the form that the stream has: an array of bulk strings.
pub fn encode(into: &mut Vec<u8>, args: &[&[u8]]) {
    let mut digits = itoa::Buffer::new();
    into.push(b'*');
    into.extend_from_slice(digits.format(args.len()).as_bytes());
    into.extend_from_slice(b"\r\n");
    for arg in args {
        into.push(b'$');
        into.extend_from_slice(digits.format(arg.len()).as_bytes());
        into.extend_from_slice(b"\r\n");
        into.extend_from_slice(arg);
        into.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(effects: &mut Effects) -> String {
        let out = effects.bytes().to_vec();
        effects.clear();
        assert_eq!(effects.offset(), out.len() as u64, "the offset counts every byte");
        String::from_utf8(out).unwrap().replace("\r\n", " ")
    }

    #[test]
    fn a_single_effect_is_not_wrapped_and_select_comes_once() {
        let mut e = Effects::default();
        e.set_wanted(true);
        e.append(3, &[b"SET", b"k", b"v"]);
        e.end_unit();
        e.append(3, &[b"DEL", b"k"]);
        e.end_unit();
        assert_eq!(text(&mut e), "*2 $6 SELECT $1 3 *3 $3 SET $1 k $1 v *2 $3 DEL $1 k ");
    }

    #[test]
    fn a_unit_of_two_is_wrapped_with_its_select_inside() {
        let mut e = Effects::default();
        e.set_wanted(true);
        e.append(0, &[b"DEL", b"a"]);
        e.append(0, &[b"DEL", b"b"]);
        e.end_unit();
        assert_eq!(text(&mut e), "*1 $5 MULTI *2 $6 SELECT $1 0 *2 $3 DEL $1 a *2 $3 DEL $1 b *1 $4 EXEC ");
    }

    #[test]
    fn unread_effects_are_counted_only() {
        let mut e = Effects::default();
        e.append(0, &[b"DEL", b"a"]);
        assert_eq!(e.end_unit(), 1);
        assert_eq!(e.offset(), 1);
        assert!(e.is_empty());
    }
}
