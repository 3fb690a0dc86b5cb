//! The Redis serialisation protocol, versions 2 and 3.

pub mod double;
pub mod error;
pub mod number;
pub mod pipeline;
pub mod reply;
pub mod request;
pub mod value;

pub use error::{ProtocolError, ReplyFault};
