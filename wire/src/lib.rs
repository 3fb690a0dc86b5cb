//! What more than one program of the suite speaks: RESP in both directions, descriptions of commands, the
//! directive syntax of configuration files and how such a file is rewritten, access control lists, hash
//! slots, glob patterns, the format of log lines, and how a program is a service of its machine.
//!
//! Nothing here does network I/O. The parsers take bytes and return values or typed
//! errors; they never panic on input and never allocate by a length that a peer
//! merely claims.

pub mod acl;
pub mod bits;
pub mod commands;
pub mod directives;
pub mod glob;
pub mod log;
pub mod quoting;
pub mod rates;
pub mod replace;
pub mod resp;
pub mod service;
pub mod slots;

/// The Redis version whose behaviour the suite has, as `INFO` and error texts name it.
pub const REDIS_VERSION: &str = "7.2.4";
