//! ACL: users, what they may do, and what they were denied.
//!
//! What the subcommands answer is the same in a Sentinel and comes from `wire`. Files and secrets are
//! the outside's: ACL LOAD, SAVE and GENPASS leave holes.

use redoubt_wire::acl::{DEFAULT_USER, answers};
use redoubt_wire::resp::reply::Reply;

use super::help::{container, help, unknown_form};
use super::{COMMANDS, Cx, Row, table};
use crate::engine::acl::CATALOG;
use crate::engine::error::{CommandError, Handled, wrong_arity};
use crate::engine::request::Task;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::ACL, container),
    (&table::ACL_CAT, cat),
    (&table::ACL_DELUSER, deluser),
    (&table::ACL_DRYRUN, dryrun),
    (&table::ACL_GENPASS, genpass),
    (&table::ACL_GETUSER, getuser),
    (&table::ACL_HELP, |_, args, reply| help(args, answers::HELP, reply)),
    (&table::ACL_LIST, list),
    (&table::ACL_LOAD, load),
    (&table::ACL_LOG, log),
    (&table::ACL_SAVE, save),
    (&table::ACL_SETUSER, setuser),
    (&table::ACL_USERS, users),
    (&table::ACL_WHOAMI, whoami),
];

/// The argument of a subcommand that takes one or none.
fn optional<'a>(args: &[&'a [u8]]) -> Result<Option<&'a [u8]>, CommandError> {
    if args.len() > 3 { Err(unknown_form(args)) } else { Ok(args.get(2).copied()) }
}

/// ACL CAT [category].
fn cat(_cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    answers::categories(&CATALOG, optional(args)?, reply).map_err(CommandError::new)
}

/// ACL DELUSER username …
fn deluser(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let names = &args[2..];
    if names.contains(&DEFAULT_USER) {
        return Err(CommandError::new(answers::DEFAULT_STAYS));
    }
    let deleted = names.iter().filter(|name| cx.engine.delete_user(cx.session, name)).count();
    reply.integer(deleted as i64);
    Ok(())
}

/// ACL DRYRUN username command [arg …].
fn dryrun(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let (name, call) = (args[2], &args[3..]);
    let shown = String::from_utf8_lossy;
    let Some(user) = cx.engine.acl.users().get(name) else {
        return Err(CommandError::new(format!("ERR User '{}' not found", shown(name))));
    };
    let Ok(command) = COMMANDS.resolve(call) else {
        return Err(CommandError::new(format!("ERR Command '{}' not found", shown(call[0]))));
    };
    if !command.spec.accepts(call.len()) {
        return Err(wrong_arity(&command.full_name));
    }
    match command.check(user, call) {
        Ok(()) => reply.ok(),
        Err(denied) => reply.bulk(denied.full_text(user, &command.full_name, call).as_bytes()),
    }
    Ok(())
}

/// ACL GENPASS [bits].
fn genpass(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let digits = answers::password_digits(optional(args)?).map_err(CommandError::new)?;
    cx.pend(Task::Genpass { digits }, reply);
    Ok(())
}

/// ACL GETUSER username.
fn getuser(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    answers::user(cx.engine.acl.users().get(args[2]).map(|user| &**user), reply);
    Ok(())
}

/// ACL LIST.
fn list(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    answers::list(cx.engine.acl.users(), reply);
    Ok(())
}

/// ACL LOAD.
fn load(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    let file = cx.engine.config.aclfile.clone().ok_or(CommandError::new(answers::NO_FILE))?;
    cx.pend(Task::AclLoad { file }, reply);
    Ok(())
}

/// ACL LOG [count|RESET].
fn log(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let (argument, now_ms) = (optional(args)?, cx.now_ms());
    answers::log(&mut cx.engine.acl.log, argument, now_ms, reply).map_err(CommandError::new)
}

/// ACL SAVE.
fn save(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    let file = cx.engine.config.aclfile.clone().ok_or(CommandError::new(answers::NO_FILE))?;
    let text = cx.engine.acl.users().to_file();
    cx.pend(Task::AclSave { file, text }, reply);
    Ok(())
}

/// ACL SETUSER username [rule …].
fn setuser(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let set = cx.engine.set_user(cx.session, args[2], &args[3..]);
    set.map_err(|text| CommandError::new(format!("ERR {text}")))?;
    reply.ok();
    Ok(())
}

/// ACL USERS.
fn users(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    answers::names(cx.engine.acl.users(), reply);
    Ok(())
}

/// ACL WHOAMI.
fn whoami(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.bulk(cx.session.user().name());
    Ok(())
}

#[cfg(test)]
mod tests;
