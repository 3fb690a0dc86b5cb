//! Tests: a simulator of whole deployments on virtual time, the rules as it shows them, and the
//! commands as a client sees them.

mod commands;
mod rules;
mod seeds;
mod world;
