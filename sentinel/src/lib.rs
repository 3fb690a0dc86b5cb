//! A drop-in for redis-sentinel.
//!
//! [`core`] holds every rule and timer and does no I/O; `driver` connects it to sockets, the
//! clock, processes and its file.

pub mod core;
mod glob;
