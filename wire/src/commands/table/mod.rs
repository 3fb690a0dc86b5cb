//! The specs of the commands that nodes and Sentinels both have, one statement a command, in files by
//! chapter. Each program puts them into its own table, and pairs them with its own handlers.

mod acl;
mod connection;
mod pubsub;
mod server;

pub use acl::*;
pub use connection::*;
pub use pubsub::*;
pub use server::*;
