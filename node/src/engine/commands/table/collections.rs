//! Commands on lists and sets.

use crate::engine::commands::keys::{access, key_at};
use crate::engine::commands::spec::{CommandSpec, Group, acl, command, flags, integer, key, string};

/// `LLEN`.
pub static LLEN: CommandSpec =
    command("llen", 2, Group::List, "1.0.0", "O(1)", "Tells how many elements a list has.")
        .flags(flags![READONLY FAST])
        .acl(acl![LIST])
        .keys(&[key_at(1, access![RO])])
        .args(&[key("key", 0)]);

/// `LPOP`.
pub static LPOP: CommandSpec = command(
    "lpop",
    -2,
    Group::List,
    "1.0.0",
    "O(N) in the elements returned",
    "Takes elements from the head of a list; an emptied list vanishes.",
)
.flags(flags![WRITE FAST])
.acl(acl![LIST])
.keys(&[key_at(1, access![RW ACCESS DELETE])])
.args(&[key("key", 0), integer("count").since("6.2.0").optional()]);

/// `LPUSH`.
pub static LPUSH: CommandSpec = command(
    "lpush",
    -3,
    Group::List,
    "1.0.0",
    "O(N) in the elements added",
    "Adds elements at the head of a list, one after the other.",
)
.flags(flags![WRITE DENYOOM FAST])
.acl(acl![LIST])
.keys(&[key_at(1, access![RW INSERT])])
.args(&[key("key", 0), string("element").multiple()]);

/// `LRANGE`.
pub static LRANGE: CommandSpec = command(
    "lrange",
    4,
    Group::List,
    "1.0.0",
    "O(S+N) for N elements that begin S from the nearer end",
    "Reads the elements of a list between two indexes.",
)
.flags(flags![READONLY])
.acl(acl![LIST])
.keys(&[key_at(1, access![RO ACCESS])])
.args(&[key("key", 0), integer("start"), integer("stop")]);

/// `RPOP`.
pub static RPOP: CommandSpec = command(
    "rpop",
    -2,
    Group::List,
    "1.0.0",
    "O(N) in the elements returned",
    "Takes elements from the tail of a list; an emptied list vanishes.",
)
.flags(flags![WRITE FAST])
.acl(acl![LIST])
.keys(&[key_at(1, access![RW ACCESS DELETE])])
.args(&[key("key", 0), integer("count").since("6.2.0").optional()]);

/// `RPUSH`.
pub static RPUSH: CommandSpec = command(
    "rpush",
    -3,
    Group::List,
    "1.0.0",
    "O(N) in the elements added",
    "Adds elements at the tail of a list.",
)
.flags(flags![WRITE DENYOOM FAST])
.acl(acl![LIST])
.keys(&[key_at(1, access![RW INSERT])])
.args(&[key("key", 0), string("element").multiple()]);

/// `SADD`.
pub static SADD: CommandSpec =
    command("sadd", -3, Group::Set, "1.0.0", "O(N) in the members given", "Adds members to a set.")
        .flags(flags![WRITE DENYOOM FAST])
        .acl(acl![SET])
        .keys(&[key_at(1, access![RW INSERT])])
        .args(&[key("key", 0), string("member").multiple()]);

/// `SCARD`.
pub static SCARD: CommandSpec =
    command("scard", 2, Group::Set, "1.0.0", "O(1)", "Tells how many members a set has.")
        .flags(flags![READONLY FAST])
        .acl(acl![SET])
        .keys(&[key_at(1, access![RO])])
        .args(&[key("key", 0)]);

/// `SISMEMBER`.
pub static SISMEMBER: CommandSpec =
    command("sismember", 3, Group::Set, "1.0.0", "O(1)", "Tells whether something is a member of a set.")
        .flags(flags![READONLY FAST])
        .acl(acl![SET])
        .keys(&[key_at(1, access![RO])])
        .args(&[key("key", 0), string("member")]);

/// `SMEMBERS`.
pub static SMEMBERS: CommandSpec = command(
    "smembers",
    2,
    Group::Set,
    "1.0.0",
    "O(N) in the members of the set",
    "Reads all members of a set.",
)
.flags(flags![READONLY])
.acl(acl![SET])
.keys(&[key_at(1, access![RO ACCESS])])
.tips(&["nondeterministic_output_order"])
.args(&[key("key", 0)]);

/// `SREM`.
pub static SREM: CommandSpec = command(
    "srem",
    -3,
    Group::Set,
    "1.0.0",
    "O(N) in the members given",
    "Removes members from a set; an emptied set vanishes.",
)
.flags(flags![WRITE FAST])
.acl(acl![SET])
.keys(&[key_at(1, access![RW DELETE])])
.args(&[key("key", 0), string("member").multiple()]);
