//! Tests of the rules that need every message under control, with one Sentinel on a stage, and of what one Sentinel
//! alone wants done. Whole deployments are simulated in the package of the lab, and the rules and commands that show
//! themselves there are tested with them.

mod configuration;
mod election;
mod lone;
mod names;
mod probing;
mod promotion;
mod safety;
mod scripts;
mod solo;
mod status;
