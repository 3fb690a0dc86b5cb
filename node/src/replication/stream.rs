//! Splits the stream that a replica receives into commands, and says how far it is applied.
//!
//! The offset of a replica may only stand where the master's data set stood at some moment:
//! between commands, and not inside MULTI. What comes before the end of such a unit is kept
//! here, so that a link that breaks in the middle loses it and asks for it again. The bytes of
//! a finished unit are handed on as they came, for the replicas of this replica.

use redoubt_wire::resp::ProtocolError;
use redoubt_wire::resp::request::{Limits, Parsed, RequestParser};
use smallvec::SmallVec;

/// Why a stream cannot be followed any further.
#[derive(Debug, thiserror::Error)]
pub enum StreamError {
    /// Text where a command should be: the two sides disagree about where in the stream they are.
    #[error("inline protocol from master, master stream corruption?")]
    Inline,
    /// Bytes that are no command.
    #[error("{} from master, master stream corruption?", .0.reply_text())]
    Protocol(ProtocolError),
}

/// One command of the stream.
#[derive(Debug)]
pub struct StreamCommand<'a> {
    /// Its name and arguments; at least one.
    pub args: SmallVec<[&'a [u8]; 8]>,
    /// The database it applies to (meaningful for commands that have one).
    pub db: u32,
    /// Whether with it the data set is at a place where the master's was: call
    /// [`StreamReader::finish_unit`] after executing it.
    pub ends_unit: bool,
    /// REPLCONF GETACK: acknowledge at once, after finishing the unit.
    pub wants_ack: bool,
}

/// The received stream from the applied offset on.
#[derive(Debug, Default)]
pub struct StreamReader {
    parser: RequestParser,
    /// Received bytes; those before `taken` are of the units not yet discarded.
    buf: Vec<u8>,
    /// Bytes before this belong to finished units.
    unit_start: usize,
    /// Bytes before this were given out as commands.
    taken: usize,
    /// Where the command found last begins.
    current: Option<usize>,
    in_multi: bool,
    db: u32,
    /// The database after the unit under way.
    unit_db: u32,
}

/// The master is not limited, yet a length that it claims must fit the arithmetic.
const LIMITS: Limits = Limits {
    max_bulk_len: isize::MAX as usize / 2,
    max_multibulk: i32::MAX as usize,
    max_inline: 64 * 1024,
    authenticated: true,
};

impl StreamReader {
    /// Adds bytes from the link.
    pub fn push(&mut self, bytes: &[u8]) {
        self.compact();
        self.buf.extend_from_slice(bytes);
    }

    /// Forgets finished units: their bytes were handed on.
    fn compact(&mut self) {
        if self.unit_start == self.buf.len() {
            self.buf.clear();
        } else if self.unit_start > self.buf.len() / 2 {
            self.buf.drain(..self.unit_start);
        } else {
            return;
        }
        self.taken -= self.unit_start;
        self.unit_start = 0;
    }

    /// Looks for the next complete command, which [`StreamReader::command`] then gives.
    ///
    /// # Errors
    /// What arrived is not a stream of commands; the link is of no use any more.
    pub fn advance(&mut self) -> Result<(), StreamError> {
        self.current = None;
        loop {
            let rest = &self.buf[self.taken..];
            match self.parser.parse(rest, &LIMITS).map_err(StreamError::Protocol)? {
                Parsed::Incomplete { .. } => return Ok(()),
                Parsed::Empty { len } => self.skip(len),
                Parsed::Complete { .. } if self.parser.is_inline() => return Err(StreamError::Inline),
                Parsed::Complete { len } => {
                    self.current = Some(self.taken);
                    self.taken += len;
                    return Ok(());
                }
            }
        }
    }

    /// The command that [`StreamReader::advance`] found, to be executed before it is called again.
    pub fn command(&mut self) -> Option<StreamCommand<'_>> {
        let start = self.current.take()?;
        let args = self.parser.args(&self.buf[start..]);
        let (kind, db) = (Kind::of(&args), self.unit_db);
        match kind {
            Kind::Multi => self.in_multi = true,
            Kind::Exec => self.in_multi = false,
            Kind::Select(selected) => self.unit_db = selected,
            Kind::GetAck | Kind::Other => {}
        }
        Some(StreamCommand { args, db, ends_unit: !self.in_multi, wants_ack: matches!(kind, Kind::GetAck) })
    }

    /// A newline that keeps the link alive, outside the stream: it is not counted or passed on.
    fn skip(&mut self, len: usize) {
        self.buf.drain(self.taken..self.taken + len);
    }

    /// The unit is applied: returns its bytes, which move the offset and go to our own replicas.
    pub fn finish_unit(&mut self) -> &[u8] {
        let unit = self.unit_start..self.taken;
        self.unit_start = self.taken;
        self.db = self.unit_db;
        &self.buf[unit]
    }

    /// Bytes received that are not applied yet.
    pub fn unapplied(&self) -> u64 {
        (self.buf.len() - self.unit_start) as u64
    }

    /// The database selected at the applied offset, for the RDB file's `repl-stream-db`.
    pub fn db(&self) -> u32 {
        self.db
    }

    /// The link broke: what is not applied will be asked for again. The engine has to discard an
    /// open MULTI as well.
    pub fn rewind(&mut self) {
        *self = StreamReader::at_db(self.db);
    }

    /// A stream that begins with `db` selected, as a snapshot says.
    pub fn at_db(db: u32) -> StreamReader {
        StreamReader { db, unit_db: db, ..StreamReader::default() }
    }
}

enum Kind {
    Multi,
    Exec,
    Select(u32),
    GetAck,
    Other,
}

impl Kind {
    fn of(args: &[&[u8]]) -> Kind {
        let is =
            |at: usize, name: &[u8]| args.get(at).is_some_and(|arg: &&[u8]| arg.eq_ignore_ascii_case(name));
        match args.len() {
            1 if is(0, b"multi") => Kind::Multi,
            1 if is(0, b"exec") || is(0, b"discard") => Kind::Exec,
            2 if is(0, b"select") => {
                let db = std::str::from_utf8(args[1]).ok().and_then(|text| text.parse().ok());
                db.map_or(Kind::Other, Kind::Select)
            }
            3 if is(0, b"replconf") && is(1, b"getack") => Kind::GetAck,
            _ => Kind::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn drain(reader: &mut StreamReader) -> (Vec<(String, u32)>, Vec<u8>) {
        let (mut commands, mut units) = (Vec::new(), Vec::new());
        loop {
            reader.advance().expect("a good stream");
            let Some(command) = reader.command() else { return (commands, units) };
            let words: Vec<_> = command.args.iter().map(|arg| String::from_utf8_lossy(arg)).collect();
            commands.push((words.join(" "), command.db));
            let ends_unit = command.ends_unit;
            drop(command);
            if ends_unit {
                units.extend_from_slice(reader.finish_unit());
            }
        }
    }

    const MULTI: &[u8] = b"*1\r\n$5\r\nMULTI\r\n";
    const EXEC: &[u8] = b"*1\r\n$4\r\nEXEC\r\n";
    const SELECT_9: &[u8] = b"*2\r\n$6\r\nSELECT\r\n$1\r\n9\r\n";
    const SET: &[u8] = b"*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1\r\nv\r\n";

    #[test]
    fn the_offset_stands_still_inside_multi() {
        let mut reader = StreamReader::default();
        reader.push(&[SET, MULTI, SELECT_9, SET].concat());
        let (commands, units) = drain(&mut reader);
        assert_eq!(commands.len(), 4);
        assert_eq!(units, SET);
        assert_eq!(reader.unapplied() as usize, MULTI.len() + SELECT_9.len() + SET.len());
        assert_eq!(reader.db(), 0, "a SELECT of an unfinished unit is not applied");
        reader.push(EXEC);
        assert_eq!(drain(&mut reader).1, [MULTI, SELECT_9, SET, EXEC].concat());
        assert_eq!((reader.unapplied(), reader.db()), (0, 9));
    }

    #[test]
    fn a_broken_link_forgets_the_unit_under_way() {
        let mut reader = StreamReader::at_db(3);
        reader.push(&[MULTI, SELECT_9, &SET[..5]].concat());
        drain(&mut reader);
        reader.rewind();
        reader.push(SET);
        let (commands, units) = drain(&mut reader);
        assert_eq!(commands, [("SET k v".to_owned(), 3)]);
        assert_eq!(units, SET);
    }

    #[test]
    fn getack_is_noticed_and_newlines_do_not_count() {
        let mut reader = StreamReader::default();
        let getack = b"*3\r\n$8\r\nREPLCONF\r\n$6\r\nGETACK\r\n$1\r\n*\r\n";
        reader.push(&[b"\n", &getack[..], b"\n"].concat());
        reader.advance().expect("a good stream");
        assert!(reader.command().expect("the command").wants_ack);
        assert_eq!(reader.finish_unit(), getack);
        assert_eq!(drain(&mut reader).1, b"");
        assert_eq!(reader.unapplied(), 0);
    }

    #[test]
    fn text_in_the_stream_is_corruption() {
        let mut reader = StreamReader::default();
        reader.push(b"SET k v\r\n");
        assert!(matches!(reader.advance(), Err(StreamError::Inline)));
        let mut reader = StreamReader::default();
        reader.push(b"*1\r\n!\r\n");
        assert!(matches!(reader.advance(), Err(StreamError::Protocol(_))));
    }

    #[test]
    fn a_claimed_length_takes_no_memory() {
        let mut reader = StreamReader::default();
        reader.push(b"*2147483647\r\n$4611686018427387903\r\nabc");
        reader.advance().expect("merely incomplete");
        assert!(reader.command().is_none());
        assert!(reader.buf.capacity() < 1024 && reader.parser.memory_usage() < 64 * 1024);
    }

    proptest! {
        /// However the stream is cut, the same commands come out and every byte is passed on.
        #[test]
        fn cuts_change_nothing(
            picks in prop::collection::vec(0usize..3, 0..40),
            cuts in prop::collection::vec(1usize..60, 0..80),
        ) {
            let pieces = [SET.to_vec(), [MULTI, SET, SELECT_9, EXEC].concat(), SELECT_9.to_vec()];
            let wire: Vec<u8> = picks.iter().flat_map(|pick| pieces[*pick].clone()).collect();
            let mut whole = StreamReader::default();
            whole.push(&wire);
            let expected = drain(&mut whole);
            prop_assert_eq!(&expected.1, &wire);
            let mut reader = StreamReader::default();
            let (mut commands, mut units, mut rest) = (Vec::new(), Vec::new(), &wire[..]);
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let (part, after) = rest.split_at(cut.min(rest.len()));
                rest = after;
                reader.push(part);
                let (more_commands, more_units) = drain(&mut reader);
                commands.extend(more_commands);
                units.extend(more_units);
            }
            prop_assert_eq!((commands, units), expected);
        }
    }
}
