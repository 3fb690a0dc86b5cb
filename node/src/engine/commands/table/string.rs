//! Commands on strings.

use crate::engine::commands::key_finders::set_keys;
use crate::engine::commands::keys::{access, key_at, keys_from};
use crate::engine::commands::spec::{
    ArgumentType, CommandSpec, Group, acl, arg, block, command, flag, flags, integer, key, one_of, string,
};

/// `APPEND`.
pub static APPEND: CommandSpec = command(
    "append",
    3,
    Group::String,
    "2.0.0",
    "O(1) amortised",
    "Adds bytes to the end of a string, which begins empty if it is missing.",
)
.flags(flags![WRITE DENYOOM FAST])
.acl(acl![STRING])
.keys(&[key_at(1, access![RW INSERT])])
.args(&[key("key", 0), string("value")]);

/// `DECR`.
pub static DECR: CommandSpec = command(
    "decr",
    2,
    Group::String,
    "1.0.0",
    "O(1)",
    "Subtracts one from an integer; a missing key counts as 0.",
)
.flags(flags![WRITE DENYOOM FAST])
.acl(acl![STRING])
.keys(&[key_at(1, access![RW ACCESS UPDATE])])
.args(&[key("key", 0)]);

/// `DECRBY`.
pub static DECRBY: CommandSpec = command(
    "decrby",
    3,
    Group::String,
    "1.0.0",
    "O(1)",
    "Subtracts a number from an integer; a missing key counts as 0.",
)
.flags(flags![WRITE DENYOOM FAST])
.acl(acl![STRING])
.keys(&[key_at(1, access![RW ACCESS UPDATE])])
.args(&[key("key", 0), integer("decrement")]);

/// `GET`.
pub static GET: CommandSpec = command("get", 2, Group::String, "1.0.0", "O(1)", "Reads a string.")
    .flags(flags![READONLY FAST])
    .acl(acl![STRING])
    .keys(&[key_at(1, access![RO ACCESS])])
    .args(&[key("key", 0)]);

/// `GETDEL`.
pub static GETDEL: CommandSpec =
    command("getdel", 2, Group::String, "6.2.0", "O(1)", "Reads a string and removes its key.")
        .flags(flags![WRITE FAST])
        .acl(acl![STRING])
        .keys(&[key_at(1, access![RW ACCESS DELETE])])
        .args(&[key("key", 0)]);

/// `GETEX`.
pub static GETEX: CommandSpec =
    command("getex", -2, Group::String, "6.2.0", "O(1)", "Reads a string and sets or clears its expiry.")
        .flags(flags![WRITE FAST])
        .acl(acl![STRING])
        .keys(&[key_at(1, access![RW ACCESS UPDATE])])
        .args(&[
            key("key", 0),
            one_of(
                "expiration",
                &[
                    integer("seconds").token("EX"),
                    integer("milliseconds").token("PX"),
                    arg("unix-time-seconds", ArgumentType::UnixTime).token("EXAT"),
                    arg("unix-time-milliseconds", ArgumentType::UnixTime).token("PXAT"),
                    flag("persist", "PERSIST"),
                ],
            )
            .optional(),
        ]);

/// `GETRANGE`.
pub static GETRANGE: CommandSpec = command(
    "getrange",
    4,
    Group::String,
    "2.4.0",
    "O(N) in the length returned",
    "Reads a part of a string, given by its first and last offset.",
)
.flags(flags![READONLY])
.acl(acl![STRING])
.keys(&[key_at(1, access![RO ACCESS])])
.args(&[key("key", 0), integer("start"), integer("end")]);

/// `GETSET`.
pub static GETSET: CommandSpec =
    command("getset", 3, Group::String, "1.0.0", "O(1)", "Sets a string and returns what was there before.")
        .flags(flags![WRITE DENYOOM FAST])
        .acl(acl![STRING])
        .keys(&[key_at(1, access![RW ACCESS UPDATE])])
        .deprecated("6.2.0", "`SET` with the `GET` argument")
        .args(&[key("key", 0), string("value")]);

/// `INCR`.
pub static INCR: CommandSpec =
    command("incr", 2, Group::String, "1.0.0", "O(1)", "Adds one to an integer; a missing key counts as 0.")
        .flags(flags![WRITE DENYOOM FAST])
        .acl(acl![STRING])
        .keys(&[key_at(1, access![RW ACCESS UPDATE])])
        .args(&[key("key", 0)]);

/// `INCRBY`.
pub static INCRBY: CommandSpec = command(
    "incrby",
    3,
    Group::String,
    "1.0.0",
    "O(1)",
    "Adds a number to an integer; a missing key counts as 0.",
)
.flags(flags![WRITE DENYOOM FAST])
.acl(acl![STRING])
.keys(&[key_at(1, access![RW ACCESS UPDATE])])
.args(&[key("key", 0), integer("increment")]);

/// `INCRBYFLOAT`.
pub static INCRBYFLOAT: CommandSpec = command(
    "incrbyfloat",
    3,
    Group::String,
    "2.6.0",
    "O(1)",
    "Adds a number to a floating point number; a missing key counts as 0.",
)
.flags(flags![WRITE DENYOOM FAST])
.acl(acl![STRING])
.keys(&[key_at(1, access![RW ACCESS UPDATE])])
.args(&[key("key", 0), arg("increment", ArgumentType::Double)]);

/// `LCS`.
pub static LCS: CommandSpec = command(
    "lcs",
    -3,
    Group::String,
    "7.0.0",
    "O(N*M) in the lengths of both strings",
    "Finds the longest subsequence that two strings have in common.",
)
.flags(flags![READONLY])
.acl(acl![STRING])
.keys(&[keys_from(1, 1, 1, access![RO ACCESS])])
.args(&[
    key("key1", 0),
    key("key2", 0),
    flag("len", "LEN").optional(),
    flag("idx", "IDX").optional(),
    integer("min-match-len").token("MINMATCHLEN").optional(),
    flag("withmatchlen", "WITHMATCHLEN").optional(),
]);

/// `MGET`.
pub static MGET: CommandSpec =
    command("mget", -2, Group::String, "1.0.0", "O(N) in the keys", "Reads several strings at once.")
        .flags(flags![READONLY FAST])
        .acl(acl![STRING])
        .keys(&[keys_from(1, -1, 1, access![RO ACCESS])])
        .tips(&["request_policy:multi_shard"])
        .args(&[key("key", 0).multiple()]);

/// `MSET`.
pub static MSET: CommandSpec =
    command("mset", -3, Group::String, "1.0.1", "O(N) in the keys", "Sets several strings at once.")
        .flags(flags![WRITE DENYOOM])
        .acl(acl![STRING])
        .keys(&[keys_from(1, -1, 2, access![OW UPDATE])])
        .tips(&["request_policy:multi_shard", "response_policy:all_succeeded"])
        .args(&[block("data", &[key("key", 0), string("value")]).multiple()]);

/// `MSETNX`.
pub static MSETNX: CommandSpec = command(
    "msetnx",
    -3,
    Group::String,
    "1.0.1",
    "O(N) in the keys",
    "Sets several strings at once, or none if any of the keys exists.",
)
.flags(flags![WRITE DENYOOM])
.acl(acl![STRING])
.keys(&[keys_from(1, -1, 2, access![OW INSERT])])
.args(&[block("data", &[key("key", 0), string("value")]).multiple()]);

/// `PSETEX`.
pub static PSETEX: CommandSpec = command(
    "psetex",
    4,
    Group::String,
    "2.6.0",
    "O(1)",
    "Sets a string that expires after a number of milliseconds.",
)
.flags(flags![WRITE DENYOOM])
.acl(acl![STRING])
.keys(&[key_at(1, access![OW UPDATE])])
.deprecated("2.6.12", "`SET` with the `PX` argument")
.args(&[key("key", 0), integer("milliseconds"), string("value")]);

/// `SET`.
pub static SET: CommandSpec =
 command("set", -3, Group::String, "1.0.0", "O(1)", "Sets a key to a string, whatever it held; options make it conditional, let it expire, or return the old value.").flags(flags![WRITE DENYOOM]).acl(acl![STRING]).keys(&[key_at(1, access![RW ACCESS UPDATE VARIABLE_FLAGS])]).key_finder(set_keys).args(&[key("key", 0), string("value"), one_of("condition", &[flag("nx", "NX"), flag("xx", "XX")]).since("2.6.12").optional(), flag("get", "GET").since("6.2.0").optional(), one_of("expiration", &[integer("seconds").token("EX").since("2.6.12"), integer("milliseconds").token("PX").since("2.6.12"), arg("unix-time-seconds", ArgumentType::UnixTime).token("EXAT").since("6.2.0"), arg("unix-time-milliseconds", ArgumentType::UnixTime).token("PXAT").since("6.2.0"), flag("keepttl", "KEEPTTL").since("6.0.0")]).optional()]);

/// `SETEX`.
pub static SETEX: CommandSpec = command(
    "setex",
    4,
    Group::String,
    "2.0.0",
    "O(1)",
    "Sets a string that expires after a number of seconds.",
)
.flags(flags![WRITE DENYOOM])
.acl(acl![STRING])
.keys(&[key_at(1, access![OW UPDATE])])
.deprecated("2.6.12", "`SET` with the `EX` argument")
.args(&[key("key", 0), integer("seconds"), string("value")]);

/// `SETNX`.
pub static SETNX: CommandSpec =
    command("setnx", 3, Group::String, "1.0.0", "O(1)", "Sets a string if its key is missing.")
        .flags(flags![WRITE DENYOOM FAST])
        .acl(acl![STRING])
        .keys(&[key_at(1, access![OW INSERT])])
        .deprecated("2.6.12", "`SET` with the `NX` argument")
        .args(&[key("key", 0), string("value")]);

/// `SETRANGE`.
pub static SETRANGE: CommandSpec = command(
    "setrange",
    4,
    Group::String,
    "2.2.0",
    "O(N) in the bytes written",
    "Writes bytes into a string from an offset on, with zeros up to there if it is shorter.",
)
.flags(flags![WRITE DENYOOM])
.acl(acl![STRING])
.keys(&[key_at(1, access![RW UPDATE])])
.args(&[key("key", 0), integer("offset"), string("value")]);

/// `STRLEN`.
pub static STRLEN: CommandSpec =
    command("strlen", 2, Group::String, "2.2.0", "O(1)", "Tells the length of a string in bytes.")
        .flags(flags![READONLY FAST])
        .acl(acl![STRING])
        .keys(&[key_at(1, access![RO])])
        .args(&[key("key", 0)]);

/// `SUBSTR`.
pub static SUBSTR: CommandSpec = command(
    "substr",
    4,
    Group::String,
    "1.0.0",
    "O(N) in the length returned",
    "Reads a part of a string, given by its first and last offset.",
)
.flags(flags![READONLY])
.acl(acl![STRING])
.keys(&[key_at(1, access![RO ACCESS])])
.deprecated("2.0.0", "`GETRANGE`")
.args(&[key("key", 0), integer("start"), integer("end")]);
