//! What more than one program of the suite speaks: RESP in both directions, the
//! directive syntax of configuration files, hash slots, and the format of log lines.
//!
//! Nothing here does network I/O. The parsers take bytes and return values or typed
//! errors; they never panic on input and never allocate by a length that a peer
//! merely claims.

pub mod quoting;
pub mod resp;
pub mod slots;
