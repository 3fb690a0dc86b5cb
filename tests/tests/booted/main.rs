//! The services as a machine runs them: under a systemd that was booted for the test, in namespaces of its own. Only
//! here it shows whether what a unit allows is enough for what the program does.
//!
//! Needs root, and the right to mount and to make control groups; without them a test says so and is skipped.

mod agent;
mod machine;
mod recipe;
mod services;
