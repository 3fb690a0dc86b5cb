//! Commands on the node as a whole: COMMAND, TIME, saving, SHUTDOWN, MONITOR.

use std::sync::LazyLock;

use redoubt_wire::resp::reply::Reply;

use super::args::is;
use super::help::help;
use super::introspection::{COMMAND_HELP, Catalogue};
use super::spec::CommandSpec;
use super::{COMMANDS, Cx, Row, table};
use crate::engine::error::{CommandError, Handled, SYNTAX};
use crate::engine::facts::ShutdownPhase;
use crate::engine::request::{Output, Shutdown, Task};
use crate::engine::session::Class;

/// The rows of this family.
pub const ROWS: &[Row] = &[
    (&table::BGSAVE, bgsave),
    (&table::COMMAND, |_, _, reply| {
        catalogue().info_of_all(reply);
        Ok(())
    }),
    (&table::COMMAND_COUNT, |_, _, reply| {
        catalogue().count(reply);
        Ok(())
    }),
    (&table::COMMAND_DOCS, |_, args, reply| {
        catalogue().docs(&args[2..], reply);
        Ok(())
    }),
    (&table::COMMAND_GETKEYS, |_, args, reply| {
        catalogue().get_keys(&args[2..], false, reply);
        Ok(())
    }),
    (&table::COMMAND_GETKEYSANDFLAGS, |_, args, reply| {
        catalogue().get_keys(&args[2..], true, reply);
        Ok(())
    }),
    (&table::COMMAND_HELP, |_, args, reply| help(args, COMMAND_HELP, reply)),
    (&table::COMMAND_INFO, command_info),
    (&table::COMMAND_LIST, |_, args, reply| {
        catalogue().list(&args[2..], reply);
        Ok(())
    }),
    (&table::LASTSAVE, lastsave),
    (&table::MONITOR, monitor),
    (&table::SAVE, save),
    (&table::SHUTDOWN, shutdown),
    (&table::TIME, time),
];

/// The commands that have a handler, as COMMAND shows them.
fn catalogue() -> Catalogue<'static> {
    static SPECS: LazyLock<Vec<&'static CommandSpec>> = LazyLock::new(|| {
        COMMANDS.rows().iter().map(|command| command.spec).filter(|spec| spec.parent.is_none()).collect()
    });
    Catalogue::new(&SPECS)
}

/// COMMAND INFO [name …].
fn command_info(_cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    match &args[2..] {
        [] => catalogue().info_of_all(reply),
        names => catalogue().info(names, reply),
    }
    Ok(())
}

/// TIME: seconds and microseconds. The batch's time has milliseconds.
fn time(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    let now_ms = cx.now_ms();
    reply.array(2);
    reply.bulk_integer(now_ms / 1000);
    reply.bulk_integer(now_ms % 1000 * 1000);
    Ok(())
}

/// LASTSAVE.
fn lastsave(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    reply.integer(cx.engine.facts.persistence.last_save_ms / 1000);
    Ok(())
}

/// SAVE.
fn save(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    cx.pend(Task::Save, reply);
    Ok(())
}

/// BGSAVE [SCHEDULE].
fn bgsave(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let schedule = match args[1..] {
        [] => false,
        [option] if is(option, "schedule") => true,
        _ => return Err(SYNTAX),
    };
    cx.pend(Task::Bgsave { schedule }, reply);
    Ok(())
}

/// SHUTDOWN [NOSAVE|SAVE] [NOW] [FORCE] [ABORT].
fn shutdown(cx: &mut Cx<'_>, args: &[&[u8]], reply: &mut Reply) -> Handled {
    let mut how = Shutdown::default();
    let mut abort = false;
    for option in &args[1..] {
        match option.to_ascii_lowercase().as_slice() {
            b"nosave" if how.save != Some(true) => how.save = Some(false),
            b"save" if how.save != Some(false) => how.save = Some(true),
            b"now" => how.now = true,
            b"force" => how.force = true,
            b"abort" => abort = true,
            _ => return Err(SYNTAX),
        }
    }
    if !abort {
        cx.engine.facts.process.shutdown.get_or_insert(ShutdownPhase::Requested);
        cx.pend(Task::Shutdown(how), reply);
        return Ok(());
    }
    if how != Shutdown::default() {
        return Err(SYNTAX);
    }
    if cx.engine.facts.process.shutdown.is_none() {
        return Err(CommandError::new("ERR No shutdown in progress."));
    }
    cx.engine.output(Output::AbortShutdown);
    reply.ok();
    Ok(())
}

/// MONITOR.
fn monitor(cx: &mut Cx<'_>, _args: &[&[u8]], reply: &mut Reply) -> Handled {
    if cx.session.class == Class::Normal {
        cx.engine.set_monitor(cx.session, true);
        reply.ok();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::testing::Harness;

    #[test]
    fn command_shows_only_what_can_be_called() {
        let mut h = Harness::new();
        let callable = COMMANDS.rows().iter().filter(|c| c.spec.parent.is_none()).count();
        assert_eq!(h.run("COMMAND COUNT"), format!(":{callable}\r\n"));
        assert!(h.run("COMMAND").starts_with(&format!("*{callable}\r\n")));
        assert_eq!(h.run("COMMAND GETKEYS SET k v"), "*1\r\n$1\r\nk\r\n");
        assert_eq!(h.run("COMMAND INFO nope"), "*1\r\n$-1\r\n");
    }

    #[test]
    fn every_subcommand_that_is_shown_can_be_called() {
        for command in COMMANDS.rows() {
            for sub in command.spec.subcommands {
                assert!(COMMANDS.find(sub.full_name().as_bytes()).is_some(), "{}", sub.full_name());
            }
        }
    }

    #[test]
    fn shutdown_takes_no_contradictions() {
        let mut h = Harness::new();
        assert_eq!(h.run("SHUTDOWN SAVE NOSAVE"), "-ERR syntax error\r\n");
        assert_eq!(h.run("SHUTDOWN ABORT NOW"), "-ERR syntax error\r\n");
        assert_eq!(h.run("SHUTDOWN ABORT"), "-ERR No shutdown in progress.\r\n");
        assert_eq!(h.run("SHUTDOWN NOSAVE FORCE"), "");
        let holes = h.engine.take_holes();
        let how = Shutdown { save: Some(false), now: false, force: true };
        assert!(matches!(holes[0].task, Task::Shutdown(asked) if asked == how));
        assert!(h.session().blocked);
        assert_eq!(h.run("SHUTDOWN ABORT"), "+OK\r\n");
        assert!(matches!(h.engine.take_outputs()[..], [Output::AbortShutdown]));
    }
}
