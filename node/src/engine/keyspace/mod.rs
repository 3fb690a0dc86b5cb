//! The keyspace: the hash table, the object, expiry and scan.
