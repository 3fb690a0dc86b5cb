//! Tests: a simulator of whole deployments on virtual time, the rules as it shows them, the
//! commands as a client sees them, and what one Sentinel alone wants done.

mod commands;
mod lone;
mod names;
mod rules;
mod scripts;
mod seeds;
mod world;
