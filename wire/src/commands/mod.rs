//! What is known of commands without running them: names, arities, flags, keys, documentation, and the
//! replies of COMMAND that follow. What a command does is for the program that has it.

pub mod client_help;
pub mod introspection;
pub mod keys;
pub mod spec;
pub mod table;

use crate::resp::reply::Reply;

/// Writes the reply to HELP of the command `name`: a header, `lines`, and how to get help again.
pub fn help<'a>(name: &str, lines: impl ExactSizeIterator<Item = &'a str>, reply: &mut Reply) {
    reply.array(lines.len() + 3);
    reply
        .simple(&format!("{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", name.to_uppercase()));
    lines.for_each(|line| reply.simple(line));
    reply.simple("HELP");
    reply.simple("    Print this help.");
}
