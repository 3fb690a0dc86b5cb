//! What the other side of a link answered.

pub use redoubt_wire::resp::value::Value;
