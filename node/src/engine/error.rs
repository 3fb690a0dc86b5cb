//! The errors a command can answer with, in Redis's words.
//!
//! Clients match on the first word and people search for the rest, so each text stands
//! here once, as Redis 7.2 spells it.

use std::borrow::Cow;

/// An error reply: its text starts with the code (`ERR`, `WRONGTYPE`, …), without the `-`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandError(pub Cow<'static, str>);

/// What a handler returns: it has written its reply, or this error is the reply.
pub type Handled = Result<(), CommandError>;

impl CommandError {
    /// An error whose text holds something of the request's.
    pub fn new(text: impl Into<String>) -> Self {
        CommandError(Cow::Owned(text.into()))
    }

    /// The code: the text up to the first space. `INFO errorstats` counts by it.
    pub fn code(&self) -> &str {
        self.0.split(' ').next().unwrap_or("")
    }
}

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $text:expr;)*) => {
        $($(#[$doc])* pub const $name: CommandError = CommandError(Cow::Borrowed($text));)*
    };
}

errors! {
    /// The key holds another type than the command works on.
    WRONG_TYPE = "WRONGTYPE Operation against a key holding the wrong kind of value";
    /// An option that is not one, or two that exclude each other.
    SYNTAX = "ERR syntax error";
    /// An argument or a value that should be a 64-bit integer.
    NOT_INTEGER = "ERR value is not an integer or out of range";
    /// An argument or a value that should be a number.
    NOT_FLOAT = "ERR value is not a valid float";
    /// An index or a count outside of its range.
    OUT_OF_RANGE = "ERR value is out of range";
    /// A count that has to be positive.
    NOT_POSITIVE = "ERR value is out of range, must be positive";
    /// The command needs a key that exists (RENAME).
    NO_SUCH_KEY = "ERR no such key";
    /// Source and destination name the same object.
    SAME_OBJECT = "ERR source and destination objects are the same";
    /// A database index beyond `databases`.
    DB_OUT_OF_RANGE = "ERR DB index is out of range";
    /// A database index that is not a number.
    INVALID_DB = "ERR invalid DB index";
    /// An addition past the 64 bits.
    OVERFLOW = "ERR increment or decrement would overflow";
    /// A string past `proto-max-bulk-len`.
    STRING_TOO_LONG = "ERR string exceeds maximum allowed size (proto-max-bulk-len)";
    /// Commands before AUTH.
    NO_AUTH = "NOAUTH Authentication required.";
    /// A wrong name or password.
    WRONG_PASS = redoubt_wire::acl::answers::WRONG_PASSWORD;
    /// Writes on a replica.
    READ_ONLY = "READONLY You can't write against a read only replica.";
    /// Writes on a master that was one before it was started (`master-rejoin-guard`). The code is the one
    /// at which clients ask who the master is now, which is what they have to find out.
    FORMER_MASTER = "READONLY You can't write against a former master that waits to be confirmed: a replica that continues with it, a Sentinel, or REPLICAOF NO ONE does that (master-rejoin-guard).";
    /// `min-replicas-to-write` is not met.
    NO_REPLICAS = "NOREPLICAS Not enough good replicas to write.";
    /// `replica-serve-stale-data no` and the link is down.
    MASTER_DOWN = "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.";
    /// The dataset is still being read.
    LOADING = "LOADING Redis is loading the dataset in memory";
    /// A replica's connection sends something else than acknowledgements.
    REPLICA_CLIENT = "ERR Replica can't interact with the keyspace";
    /// A save failed and `stop-writes-on-bgsave-error` is on.
    MISCONF = "MISCONF Redis is configured to save RDB snapshots, but it's currently unable to persist to disk. Commands that may modify the data set are disabled, because this instance is configured to report errors during writes if RDB snapshotting fails (stop-writes-on-bgsave-error option). Please check the Redis logs for details about the RDB error.";
    /// `maxmemory` is reached and nothing may be evicted.
    OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'.";
    /// EXEC after an error while queueing.
    EXEC_ABORT = "EXECABORT Transaction discarded because of previous errors.";
    /// EXEC or DISCARD outside of MULTI.
    EXEC_WITHOUT_MULTI = "ERR EXEC without MULTI";
    /// DISCARD outside of MULTI.
    DISCARD_WITHOUT_MULTI = "ERR DISCARD without MULTI";
    /// MULTI within MULTI.
    NESTED_MULTI = "ERR MULTI calls can not be nested";
    /// WATCH within MULTI.
    WATCH_IN_MULTI = "ERR WATCH inside MULTI is not allowed";
    /// A command that can't be queued.
    NO_MULTI = "ERR Command not allowed inside a transaction";
    /// HELLO with a version other than 2 and 3.
    NO_PROTO = "NOPROTO unsupported protocol version";
}

/// What the rules of a user deny.
pub fn no_permission(why: &str) -> CommandError {
    CommandError::new(format!("NOPERM {why}"))
}

/// What the rules of a user allowed when it was queued, and deny when EXEC comes to it.
pub fn no_longer_permitted(why: &str) -> CommandError {
    CommandError::new(format!(
        "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no longer allowed for the following reason: {why}"
    ))
}

/// The arity error of command `name` (`config|get` for a subcommand).
pub fn wrong_arity(name: &str) -> CommandError {
    CommandError::new(format!("ERR wrong number of arguments for '{name}' command"))
}

/// The unknown-command error: the name and the first arguments, each cut at 128 bytes in all.
pub fn unknown_command(args: &[&[u8]]) -> CommandError {
    const LIMIT: usize = 128;
    let mut list = String::new();
    for arg in &args[1..] {
        if list.len() >= LIMIT {
            break;
        }
        let room = LIMIT - list.len();
        list.push_str(&format!("'{}' ", printable(&arg[..arg.len().min(room)])));
    }
    let name = printable(&args[0][..args[0].len().min(LIMIT)]);
    CommandError::new(format!("ERR unknown command '{name}', with args beginning with: {list}"))
}

/// The unknown-subcommand error.
pub fn unknown_subcommand(container: &str, sub: &[u8]) -> CommandError {
    let sub = printable(&sub[..sub.len().min(128)]);
    CommandError::new(format!("ERR unknown subcommand '{sub}'. Try {} HELP.", container.to_uppercase()))
}

/// Text of the request's as it may stand in an error: one line, no NUL.
fn printable(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace(['\r', '\n', '\0'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_command_quotes_the_first_arguments_only() {
        let long = vec![b'x'; 300];
        let e = unknown_command(&[b"nope", b"a", &long]);
        assert!(e.0.starts_with("ERR unknown command 'nope', with args beginning with: 'a' 'xxx"));
        assert!(e.0.len() < 220);
        assert_eq!(e.code(), "ERR");
    }
}
