//! Commands on keys of any type.

use crate::engine::commands::key_finders::{migrate_keys, sort_keys, sort_ro_keys};
use crate::engine::commands::keys::{access, key_at, keys_behind, keys_from, keys_unknown};
use crate::engine::commands::spec::{
    Argument, ArgumentType, CommandSpec, Group, acl, arg, block, command, flag, flags, integer, key, one_of,
    string,
};

/// When an expiry is set: without one, over one, to a later or to an earlier time.
const CONDITION: Argument =
    one_of("condition", &[flag("nx", "NX"), flag("xx", "XX"), flag("gt", "GT"), flag("lt", "LT")])
        .since("7.0.0");

/// A pattern of what to return for an element.
const GET_PATTERN: Argument = arg("get-pattern", ArgumentType::Pattern)
    .key_spec(1)
    .token("GET")
    .shown_as("pattern")
    .optional()
    .multiple_token();

/// `COPY`.
pub static COPY: CommandSpec = command(
    "copy",
    -3,
    Group::Generic,
    "6.2.0",
    "O(N) in the elements of the value",
    "Copies a value to another key, also in another database.",
)
.flags(flags![WRITE DENYOOM])
.acl(acl![KEYSPACE])
.keys(&[key_at(1, access![RO ACCESS]), key_at(2, access![OW UPDATE])])
.args(&[
    key("source", 0),
    key("destination", 1),
    integer("destination-db").token("DB").optional(),
    flag("replace", "REPLACE").optional(),
]);

/// `DEL`.
pub static DEL: CommandSpec = command(
    "del",
    -2,
    Group::Generic,
    "1.0.0",
    "O(N) in the keys, plus the elements of each value",
    "Removes keys together with their values.",
)
.flags(flags![WRITE])
.acl(acl![KEYSPACE])
.keys(&[keys_from(1, -1, 1, access![RM DELETE])])
.tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
.args(&[key("key", 0).multiple()]);

/// `DUMP`.
pub static DUMP: CommandSpec = command(
    "dump",
    2,
    Group::Generic,
    "2.6.0",
    "O(N) in the size of the value",
    "Serialises the value of a key in a form that RESTORE takes.",
)
.flags(flags![READONLY])
.acl(acl![KEYSPACE])
.keys(&[key_at(1, access![RO ACCESS])])
.tips(&["nondeterministic_output"])
.args(&[key("key", 0)]);

/// `EXISTS`.
pub static EXISTS: CommandSpec = command(
    "exists",
    -2,
    Group::Generic,
    "1.0.0",
    "O(N) in the keys",
    "Counts how many of the given keys exist.",
)
.flags(flags![READONLY FAST])
.acl(acl![KEYSPACE])
.keys(&[keys_from(1, -1, 1, access![RO])])
.tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
.args(&[key("key", 0).multiple()]);

/// `EXPIRE`.
pub static EXPIRE: CommandSpec =
    command("expire", -3, Group::Generic, "1.0.0", "O(1)", "Lets a key expire after a number of seconds.")
        .flags(flags![WRITE FAST])
        .acl(acl![KEYSPACE])
        .keys(&[key_at(1, access![RW UPDATE])])
        .args(&[key("key", 0), integer("seconds"), CONDITION.optional()]);

/// `EXPIREAT`.
pub static EXPIREAT: CommandSpec =
    command("expireat", -3, Group::Generic, "1.2.0", "O(1)", "Lets a key expire at a Unix time in seconds.")
        .flags(flags![WRITE FAST])
        .acl(acl![KEYSPACE])
        .keys(&[key_at(1, access![RW UPDATE])])
        .args(&[key("key", 0), arg("unix-time-seconds", ArgumentType::UnixTime), CONDITION.optional()]);

/// `EXPIRETIME`.
pub static EXPIRETIME: CommandSpec = command(
    "expiretime",
    2,
    Group::Generic,
    "7.0.0",
    "O(1)",
    "Tells the Unix time in seconds at which a key expires.",
)
.flags(flags![READONLY FAST])
.acl(acl![KEYSPACE])
.keys(&[key_at(1, access![RO ACCESS])])
.args(&[key("key", 0)]);

/// `KEYS`.
pub static KEYS: CommandSpec = command(
    "keys",
    2,
    Group::Generic,
    "1.0.0",
    "O(N) in the keys of the database",
    "Lists all keys that match a glob pattern, in one go.",
)
.flags(flags![READONLY])
.acl(acl![KEYSPACE DANGEROUS])
.tips(&["request_policy:all_shards", "nondeterministic_output_order"])
.args(&[arg("pattern", ArgumentType::Pattern)]);

/// `MIGRATE`.
pub static MIGRATE: CommandSpec = command(
    "migrate",
    -6,
    Group::Generic,
    "2.6.0",
    "O(N) in the size of the values, plus their transfer",
    "Moves keys to another node: they exist there before they vanish here.",
)
.flags(flags![WRITE])
.acl(acl![KEYSPACE DANGEROUS])
.keys(&[key_at(3, access![RW ACCESS DELETE]), keys_behind("KEYS", -2, access![RW ACCESS DELETE INCOMPLETE])])
.key_finder(migrate_keys)
.tips(&["nondeterministic_output"])
.args(&[
    string("host"),
    integer("port"),
    one_of("key-selector", &[key("key", 0), flag("empty-string", "")]),
    integer("destination-db"),
    integer("timeout"),
    flag("copy", "COPY").since("3.0.0").optional(),
    flag("replace", "REPLACE").since("3.0.0").optional(),
    one_of(
        "authentication",
        &[
            string("auth").token("AUTH").shown_as("password").since("4.0.7"),
            block("auth2", &[string("username"), string("password")]).token("AUTH2").since("6.0.0"),
        ],
    )
    .optional(),
    key("keys", 1).token("KEYS").shown_as("key").since("3.0.6").optional().multiple(),
]);

/// `MOVE`.
pub static MOVE: CommandSpec =
    command("move", 3, Group::Generic, "1.0.0", "O(1)", "Puts a key into another database.")
        .flags(flags![WRITE FAST])
        .acl(acl![KEYSPACE])
        .keys(&[key_at(1, access![RW ACCESS UPDATE])])
        .args(&[key("key", 0), integer("db")]);

/// `OBJECT`.
pub static OBJECT: CommandSpec = command(
    "object",
    -2,
    Group::Generic,
    "2.2.3",
    "Depends on the subcommand",
    "Groups the commands that look at how a value is kept.",
)
.subcommands(&[&OBJECT_ENCODING, &OBJECT_FREQ, &OBJECT_HELP, &OBJECT_IDLETIME, &OBJECT_REFCOUNT]);

/// `OBJECT ENCODING`.
pub static OBJECT_ENCODING: CommandSpec = command(
    "encoding",
    3,
    Group::Generic,
    "2.2.3",
    "O(1)",
    "Names the internal form in which a value is kept.",
)
.of("object")
.flags(flags![READONLY])
.acl(acl![KEYSPACE])
.keys(&[key_at(2, access![RO])])
.tips(&["nondeterministic_output"])
.args(&[key("key", 0)]);

/// `OBJECT FREQ`.
pub static OBJECT_FREQ: CommandSpec = command(
    "freq",
    3,
    Group::Generic,
    "4.0.0",
    "O(1)",
    "Tells how often a key is used, on the logarithmic scale of the LFU policies.",
)
.of("object")
.flags(flags![READONLY])
.acl(acl![KEYSPACE])
.keys(&[key_at(2, access![RO])])
.tips(&["nondeterministic_output"])
.args(&[key("key", 0)]);

/// `OBJECT HELP`.
pub static OBJECT_HELP: CommandSpec =
    command("help", 2, Group::Generic, "6.2.0", "O(1)", "Explains the subcommands of OBJECT.")
        .of("object")
        .flags(flags![LOADING STALE])
        .acl(acl![KEYSPACE]);

/// `OBJECT IDLETIME`.
pub static OBJECT_IDLETIME: CommandSpec = command(
    "idletime",
    3,
    Group::Generic,
    "2.2.3",
    "O(1)",
    "Tells for how many seconds a key has not been used.",
)
.of("object")
.flags(flags![READONLY])
.acl(acl![KEYSPACE])
.keys(&[key_at(2, access![RO])])
.tips(&["nondeterministic_output"])
.args(&[key("key", 0)]);

/// `OBJECT REFCOUNT`.
pub static OBJECT_REFCOUNT: CommandSpec = command(
    "refcount",
    3,
    Group::Generic,
    "2.2.3",
    "O(1)",
    "Tells how many references there are to a value.",
)
.of("object")
.flags(flags![READONLY])
.acl(acl![KEYSPACE])
.keys(&[key_at(2, access![RO])])
.tips(&["nondeterministic_output"])
.args(&[key("key", 0)]);

/// `PERSIST`.
pub static PERSIST: CommandSpec =
    command("persist", 2, Group::Generic, "2.2.0", "O(1)", "Takes the expiry off a key.")
        .flags(flags![WRITE FAST])
        .acl(acl![KEYSPACE])
        .keys(&[key_at(1, access![RW UPDATE])])
        .args(&[key("key", 0)]);

/// `PEXPIRE`.
pub static PEXPIRE: CommandSpec = command(
    "pexpire",
    -3,
    Group::Generic,
    "2.6.0",
    "O(1)",
    "Lets a key expire after a number of milliseconds.",
)
.flags(flags![WRITE FAST])
.acl(acl![KEYSPACE])
.keys(&[key_at(1, access![RW UPDATE])])
.args(&[key("key", 0), integer("milliseconds"), CONDITION.optional()]);

/// `PEXPIREAT`.
pub static PEXPIREAT: CommandSpec = command(
    "pexpireat",
    -3,
    Group::Generic,
    "2.6.0",
    "O(1)",
    "Lets a key expire at a Unix time in milliseconds.",
)
.flags(flags![WRITE FAST])
.acl(acl![KEYSPACE])
.keys(&[key_at(1, access![RW UPDATE])])
.args(&[key("key", 0), arg("unix-time-milliseconds", ArgumentType::UnixTime), CONDITION.optional()]);

/// `PEXPIRETIME`.
pub static PEXPIRETIME: CommandSpec = command(
    "pexpiretime",
    2,
    Group::Generic,
    "7.0.0",
    "O(1)",
    "Tells the Unix time in milliseconds at which a key expires.",
)
.flags(flags![READONLY FAST])
.acl(acl![KEYSPACE])
.keys(&[key_at(1, access![RO ACCESS])])
.args(&[key("key", 0)]);

/// `PTTL`.
pub static PTTL: CommandSpec =
    command("pttl", 2, Group::Generic, "2.6.0", "O(1)", "Tells how many milliseconds a key has left.")
        .flags(flags![READONLY FAST])
        .acl(acl![KEYSPACE])
        .keys(&[key_at(1, access![RO ACCESS])])
        .tips(&["nondeterministic_output"])
        .args(&[key("key", 0)]);

/// `RANDOMKEY`.
pub static RANDOMKEY: CommandSpec =
    command("randomkey", 1, Group::Generic, "1.0.0", "O(1)", "Picks some key of the database.")
        .flags(flags![READONLY TOUCHES_ARBITRARY_KEYS])
        .acl(acl![KEYSPACE])
        .tips(&["request_policy:all_shards", "response_policy:special", "nondeterministic_output"]);

/// `RENAME`.
pub static RENAME: CommandSpec = command(
    "rename",
    3,
    Group::Generic,
    "1.0.0",
    "O(1)",
    "Gives a key another name, in place of whatever had that name.",
)
.flags(flags![WRITE])
.acl(acl![KEYSPACE])
.keys(&[key_at(1, access![RW ACCESS DELETE]), key_at(2, access![OW UPDATE])])
.args(&[key("key", 0), key("newkey", 1)]);

/// `RENAMENX`.
pub static RENAMENX: CommandSpec = command(
    "renamenx",
    3,
    Group::Generic,
    "1.0.0",
    "O(1)",
    "Gives a key another name, unless that name is taken.",
)
.flags(flags![WRITE FAST])
.acl(acl![KEYSPACE])
.keys(&[key_at(1, access![RW ACCESS DELETE]), key_at(2, access![OW INSERT])])
.args(&[key("key", 0), key("newkey", 1)]);

/// `RESTORE`.
pub static RESTORE: CommandSpec = command(
    "restore",
    -4,
    Group::Generic,
    "2.6.0",
    "O(N) in the size of the value",
    "Makes a key of what DUMP has serialised.",
)
.flags(flags![WRITE DENYOOM])
.acl(acl![KEYSPACE DANGEROUS])
.keys(&[key_at(1, access![OW UPDATE])])
.args(&[
    key("key", 0),
    integer("ttl"),
    string("serialized-value"),
    flag("replace", "REPLACE").since("3.0.0").optional(),
    flag("absttl", "ABSTTL").since("5.0.0").optional(),
    integer("seconds").token("IDLETIME").since("5.0.0").optional(),
    integer("frequency").token("FREQ").since("5.0.0").optional(),
]);

/// `SCAN`.
pub static SCAN: CommandSpec = command(
    "scan",
    -2,
    Group::Generic,
    "2.8.0",
    "O(1) a call, O(N) in the keys for a whole pass",
    "Walks over the keys of the database, a few at a time.",
)
.flags(flags![READONLY TOUCHES_ARBITRARY_KEYS])
.acl(acl![KEYSPACE])
.tips(&["nondeterministic_output", "request_policy:special", "response_policy:special"])
.args(&[
    integer("cursor"),
    arg("pattern", ArgumentType::Pattern).token("MATCH").optional(),
    integer("count").token("COUNT").optional(),
    string("type").token("TYPE").since("6.0.0").optional(),
]);

/// `SORT`.
pub static SORT: CommandSpec = command(
    "sort",
    -2,
    Group::Generic,
    "1.0.0",
    "O(N+M*log(M)) for N elements of which M are returned",
    "Sorts the elements of a list, set or sorted set, and returns or stores them.",
)
.flags(flags![WRITE DENYOOM])
.acl(acl![SET SORTEDSET LIST DANGEROUS])
.keys(&[key_at(1, access![RO ACCESS]), keys_unknown(access![RO ACCESS]), keys_unknown(access![OW UPDATE])])
.key_finder(sort_keys)
.args(&[
    key("key", 0),
    arg("by-pattern", ArgumentType::Pattern).key_spec(1).token("BY").shown_as("pattern").optional(),
    block("limit", &[integer("offset"), integer("count")]).token("LIMIT").optional(),
    GET_PATTERN,
    one_of("order", &[flag("asc", "ASC"), flag("desc", "DESC")]).optional(),
    flag("sorting", "ALPHA").optional(),
    key("destination", 2).token("STORE").optional(),
]);

/// `SORT_RO`.
pub static SORT_RO: CommandSpec = command(
    "sort_ro",
    -2,
    Group::Generic,
    "7.0.0",
    "O(N+M*log(M)) for N elements of which M are returned",
    "Sorts the elements of a list, set or sorted set without storing them.",
)
.flags(flags![READONLY])
.acl(acl![SET SORTEDSET LIST DANGEROUS])
.keys(&[key_at(1, access![RO ACCESS]), keys_unknown(access![RO ACCESS])])
.key_finder(sort_ro_keys)
.args(&[
    key("key", 0),
    arg("by-pattern", ArgumentType::Pattern).key_spec(1).token("BY").shown_as("pattern").optional(),
    block("limit", &[integer("offset"), integer("count")]).token("LIMIT").optional(),
    GET_PATTERN,
    one_of("order", &[flag("asc", "ASC"), flag("desc", "DESC")]).optional(),
    flag("sorting", "ALPHA").optional(),
]);

/// `TOUCH`.
pub static TOUCH: CommandSpec = command(
    "touch",
    -2,
    Group::Generic,
    "3.2.1",
    "O(N) in the keys",
    "Marks keys as just used, and counts those that exist.",
)
.flags(flags![READONLY FAST])
.acl(acl![KEYSPACE])
.keys(&[keys_from(1, -1, 1, access![RO])])
.tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
.args(&[key("key", 0).multiple()]);

/// `TTL`.
pub static TTL: CommandSpec =
    command("ttl", 2, Group::Generic, "1.0.0", "O(1)", "Tells how many seconds a key has left.")
        .flags(flags![READONLY FAST])
        .acl(acl![KEYSPACE])
        .keys(&[key_at(1, access![RO ACCESS])])
        .tips(&["nondeterministic_output"])
        .args(&[key("key", 0)]);

/// `TYPE`.
pub static TYPE: CommandSpec =
    command("type", 2, Group::Generic, "1.0.0", "O(1)", "Names the type of the value at a key.")
        .flags(flags![READONLY FAST])
        .acl(acl![KEYSPACE])
        .keys(&[key_at(1, access![RO])])
        .args(&[key("key", 0)]);

/// `UNLINK`.
pub static UNLINK: CommandSpec = command(
    "unlink",
    -2,
    Group::Generic,
    "4.0.0",
    "O(1) a key; their memory is freed in the background",
    "Removes keys at once and frees their values in the background.",
)
.flags(flags![WRITE FAST])
.acl(acl![KEYSPACE])
.keys(&[keys_from(1, -1, 1, access![RM DELETE])])
.tips(&["request_policy:multi_shard", "response_policy:agg_sum"])
.args(&[key("key", 0).multiple()]);

/// `WAIT`.
pub static WAIT: CommandSpec = command(
    "wait",
    3,
    Group::Generic,
    "3.0.0",
    "O(1)",
    "Waits until replicas have acknowledged all earlier writes of this connection.",
)
.acl(acl![CONNECTION])
.tips(&["request_policy:all_shards", "response_policy:agg_min"])
.args(&[integer("numreplicas"), integer("timeout")]);

/// `WAITAOF`.
pub static WAITAOF: CommandSpec = command(
    "waitaof",
    4,
    Group::Generic,
    "7.2.0",
    "O(1)",
    "Waits until all earlier writes of this connection are synced to append only files.",
)
.flags(flags![NOSCRIPT])
.acl(acl![CONNECTION])
.tips(&["request_policy:all_shards", "response_policy:agg_min"])
.args(&[integer("numlocal"), integer("numreplicas"), integer("timeout")]);
