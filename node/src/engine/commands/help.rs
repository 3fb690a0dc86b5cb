//! The reply to HELP of a command with subcommands, and the row of such a command itself.

use redoubt_wire::resp::reply::Reply;

use super::Cx;
use crate::engine::error::{CommandError, Handled, wrong_arity};

/// Writes the help of the container in `args[0]`.
pub fn help(args: &[&[u8]], lines: &[&str], reply: &mut Reply) -> Handled {
    redoubt_wire::commands::help(&String::from_utf8_lossy(args[0]), lines.iter().copied(), reply);
    Ok(())
}

/// The handler of a container, which is only reached without a subcommand.
pub fn container(cx: &mut Cx<'_>, _args: &[&[u8]], _reply: &mut Reply) -> Handled {
    Err(wrong_arity(&cx.command.full_name))
}

/// The error of a subcommand with arguments that it does not take.
pub fn unknown_form(args: &[&[u8]]) -> CommandError {
    let container = String::from_utf8_lossy(args[0]).to_uppercase();
    let sub = args
        .get(1)
        .map_or(String::new(), |sub| String::from_utf8_lossy(&sub[..sub.len().min(128)]).into_owned());
    CommandError::new(format!(
        "ERR unknown subcommand or wrong number of arguments for '{sub}'. Try {container} HELP."
    ))
}
