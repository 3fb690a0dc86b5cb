//! DEBUG DIGEST: a checksum of the dataset that does not depend on the order of its keys.
//!
//! It is computed as Redis computes it, so that equal datasets on a Redis server and on this node
//! have equal digests: what has no order is combined by exclusive or, what has one by hashing
//! the digest on with each part.

use sha1::{Digest, Sha1};

use crate::engine::keyspace::Keyspace;
use crate::engine::keyspace::object::{Object, ValueRef};

/// A SHA-1 digest.
pub type Sum = [u8; 20];

/// Combines `part` into `sum`, whatever comes before or after it.
fn mix_unordered(sum: &mut Sum, part: &[u8]) {
    let hash = Sha1::digest(part);
    sum.iter_mut().zip(hash).for_each(|(s, h)| *s ^= h);
}

/// Combines `part` into `sum`, so that the order of parts counts.
fn mix_ordered(sum: &mut Sum, part: &[u8]) {
    mix_unordered(sum, part);
    *sum = Sha1::digest(*sum).into();
}

/// The digest of a value with the fact that it expires.
pub fn of_value(object: &Object) -> Sum {
    let mut sum = Sum::default();
    mix_value(&mut sum, object);
    sum
}

fn mix_value(sum: &mut Sum, object: &Object) {
    mix_ordered(sum, &(object.kind() as u32).to_be_bytes());
    match object.value() {
        ValueRef::List(list) => {
            list.iter().for_each(|element| element.with_bytes(|bytes| mix_ordered(sum, bytes)));
        }
        ValueRef::Set(set) => {
            set.iter().for_each(|member| member.with_bytes(|bytes| mix_unordered(sum, bytes)));
        }
        ValueRef::Int(n) => mix_ordered(sum, itoa::Buffer::new().format(n).as_bytes()),
        ValueRef::Bytes(bytes) => mix_ordered(sum, bytes),
        ValueRef::Blob(blob) => mix_ordered(sum, &blob.read(0..blob.len())),
    }
    if object.expires() {
        mix_unordered(sum, b"!!expire!!");
    }
}

/// The digest of all databases. Keys past their time that are still there count.
pub fn of_dataset(keyspace: &Keyspace) -> Sum {
    let mut sum = Sum::default();
    for db in 0..keyspace.databases() {
        let table = keyspace.table(db);
        if table.is_empty() {
            continue;
        }
        mix_ordered(&mut sum, &(db as u32).to_be_bytes());
        let mut cursor = 0;
        loop {
            cursor = table.scan(cursor, |object| {
                let mut of_key = Sum::default();
                mix_ordered(&mut of_key, object.key());
                mix_value(&mut of_key, object);
                mix_unordered(&mut sum, &of_key);
            });
            if cursor == 0 {
                break;
            }
        }
    }
    sum
}

/// Forty hexadecimal digits.
pub fn hex(sum: &Sum) -> String {
    sum.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use crate::engine::testing::Harness;

    fn digest_after(commands: &[&str]) -> String {
        let mut h = Harness::new();
        for command in commands {
            assert!(!h.run(command).starts_with('-'), "{command}");
        }
        h.run("DEBUG DIGEST")
    }

    #[test]
    fn order_counts_where_there_is_one() {
        assert_eq!(digest_after(&[]), format!("+{}\r\n", "0".repeat(40)));
        assert_eq!(
            digest_after(&["SADD s a b 1", "SET k v", "RPUSH l a b"]),
            digest_after(&["RPUSH l a b", "SET k v", "SADD s 1 b a"])
        );
        assert_ne!(digest_after(&["RPUSH l a b"]), digest_after(&["RPUSH l b a"]));
        assert_ne!(digest_after(&["SET k v"]), digest_after(&["SELECT 1", "SET k v"]));
        assert_ne!(digest_after(&["SET k v"]), digest_after(&["SET k v EX 100"]));
    }

    #[test]
    fn digests_are_those_of_redis() {
        // What redis-server 7.0 answers after the same commands.
        assert_eq!(
            digest_after(&["SET foo bar", "RPUSH l a b 1", "SADD s a 1"]),
            "+f2fc2080a29eaa232949e01d908377f7e16a4c33\r\n"
        );
    }
}
