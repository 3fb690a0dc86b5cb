//! The Redis serialisation protocol, versions 2 and 3.

pub mod error;
pub mod number;
pub mod reply;
pub mod request;

pub use error::{ProtocolError, ReplyFault};
