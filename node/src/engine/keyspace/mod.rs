//! The keyspace: the hash table, the object, expiry and scan.

pub mod object;
pub mod table;
