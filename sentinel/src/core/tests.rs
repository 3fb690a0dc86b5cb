//! Tests: a simulator of whole deployments on virtual time, the rules as it shows them, the rules that need every
//! message under control with one Sentinel on a stage, the commands as a client sees them, and what one Sentinel
//! alone wants done.

mod commands;
mod configuration;
mod election;
mod lone;
mod names;
mod probing;
mod promotion;
mod rules;
mod safety;
mod scripts;
mod seeds;
mod solo;
mod world;
