//! A drop-in for redis-sentinel.
//!
//! [`core`] holds every rule and timer and does no I/O; `driver` connects it to sockets, the
//! clock, processes and its file; [`run`] is the program.

pub mod core;
mod driver;
mod program;

pub use program::run;
