//! What is known of commands without running them: names, arities, flags, keys, documentation, and the
//! replies of COMMAND that follow. What a command does is for the program that has it.

pub mod introspection;
pub mod keys;
pub mod spec;
pub mod table;
