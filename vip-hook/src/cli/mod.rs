//! What the user types, and what Sentinel calls.

mod ask;
mod check;
mod moves;
mod notify;
mod plan;
mod status;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use redoubt_wire::log;

use crate::config::{Config, DEFAULT_FILE};
use crate::control::{self, Reply, Request};

/// It is done.
const DONE: u8 = 0;
/// It is not done; it may be when it is tried again.
const RETRY: u8 = 1;
/// The call or the configuration makes no sense; trying again does not help.
const MISUSE: u8 = 2;

/// Moves virtual IP addresses to the host of the master, and never lets two hosts have one.
///
/// An agent runs on every host of a Sentinel deployment, holds the privileges, and owns the addresses; the other verbs
/// speak to it. `notify` is what a Sentinel calls (`sentinel client-reconfig-script`); called with its seven arguments
/// alone, this program does the same, since that directive takes nothing but a path.
#[derive(Parser, Debug)]
#[command(
    name = "redoubt-vip-hook",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    after_help = "Exit status: 0 done; 1 not done, try again (also: no agent answers; `check` found an error, `status \
                  --strict` a trouble); 2 wrong usage or configuration, trying again does not help.\n\
                  The configuration is described in vip-hook.yaml itself."
)]
struct Cli {
    /// Configuration file
    #[arg(long, global = true, value_name = "FILE", env = "REDOUBT_VIP_CONFIG", default_value = DEFAULT_FILE)]
    config: PathBuf,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand, Debug)]
enum Verb {
    /// Own the addresses of this host: take them when its node is the master, let go of them when it is not.
    ///
    /// Needs CAP_NET_ADMIN and CAP_NET_RAW, and gives up everything else. SIGHUP reads the configuration again, SIGTERM
    /// lets go of everything and ends.
    Agent,
    /// Tell the agent of a failover, as Sentinel's client-reconfig-script.
    ///
    /// Waits until the agent has taken or let go of the addresses, 3 s at most, and prints what came of it. The event is
    /// a hint: the agent acts on what the Sentinels and the local node say. Reads SENTINEL_CONFIG_EPOCH, SENTINEL_EVENT_ID
    /// and SENTINEL_REASON from the environment, where redoubt-sentinel puts them.
    Notify(NotifyArgs),
    /// Show what the agent holds, and why.
    ///
    /// Lines with TROUBLE say what needs to be looked at: a node that is the master while nothing is held, an address that
    /// cannot be held, a node or a majority of the Sentinels that does not answer, a file that is not in use. During a
    /// failover that may be so for a moment.
    Status(StatusArgs),
    /// Show what would be done now, and why; changes nothing.
    ///
    /// Without an agent, the node and the Sentinels are asked from here.
    Plan(OutputArgs),
    /// Look for what will not work: interface, prefix, lease, scripts, permissions, Sentinels.
    ///
    /// Exit status 1 if there is an error; warnings and notes leave it at 0. Looks at this host and asks the Sentinels;
    /// as root it sees the most.
    Check(OutputArgs),
    /// Let go of the addresses now, and do not take them again before this node has been a replica.
    ///
    /// `maintenance off` ends that earlier, and so does a restart of the agent; `maintenance on` survives one.
    Release(MasterArg),
    /// Begin or end maintenance: nothing is taken while it is on, and what is held is let go. Survives a restart.
    Maintenance(MaintenanceArgs),
    /// Remove from the kernel what agents put there: the rules of the fence. For who removes the program.
    Uninstall,
}

#[derive(Args, Clone, Debug, PartialEq, Eq)]
struct NotifyArgs {
    /// Name of the master
    master_name: String,
    /// What the calling Sentinel was in the failover
    #[arg(value_enum)]
    role: Role,
    /// What happens: `start` in Redis's Sentinels
    state: String,
    /// Address of the old master
    from_ip: String,
    /// Its port
    from_port: u16,
    /// Address of the new master
    to_ip: String,
    /// Its port
    to_port: u16,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Leader,
    Observer,
}

impl Role {
    fn name(self) -> &'static str {
        match self {
            Role::Leader => "leader",
            Role::Observer => "observer",
        }
    }
}

#[derive(Args, Debug)]
struct OutputArgs {
    /// As one JSON object, for programs
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct StatusArgs {
    #[command(flatten)]
    output: OutputArgs,
    /// End with 1 also where there is TROUBLE: for monitoring
    #[arg(long)]
    strict: bool,
}

#[derive(Args, Debug)]
struct MasterArg {
    /// Name of a master; all without it
    master: Option<String>,
}

#[derive(Args, Debug)]
struct MaintenanceArgs {
    /// Whether it begins or ends
    #[arg(value_enum)]
    switch: Switch,
    /// Name of a master; all without it
    master: Option<String>,
}

#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Switch {
    On,
    Off,
}

/// Runs the program with these arguments, the first of which is its name.
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    if let Some(text) = notification_script(&args) {
        eprintln!("{text}");
        return ExitCode::from(MISUSE);
    }
    let cli = match Cli::try_parse_from(with_verb(args)) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are no errors, and clap says so by its exit code: 0, else 2.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(MISUSE));
        }
    };
    let config = match Config::load(&cli.config) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(without_config(&cli).unwrap_or(MISUSE));
        }
    };
    ExitCode::from(match cli.verb {
        Verb::Agent => agent(config, &cli.config),
        Verb::Notify(args) => notify::run(&config, &args),
        Verb::Status(args) => status::run(&config.socket, &args),
        Verb::Plan(output) => plan::run(&config, output.json),
        Verb::Check(output) => check::run(&config, &cli.config, output.json),
        Verb::Release(MasterArg { master }) => ask_agent(&config.socket, &Request::Release { master }),
        Verb::Maintenance(MaintenanceArgs { switch, master }) => {
            ask_agent(&config.socket, &Request::Maintenance { on: switch == Switch::On, master })
        }
        Verb::Uninstall => uninstall(&config),
    })
}

/// With a file that is not valid any more, an agent that runs with what it was before is asked all the same: above all
/// then somebody wants to see what is so, and a failover does not wait for the file to be mended. `None`: it cannot be.
fn without_config(cli: &Cli) -> Option<u8> {
    let socket = &Config::socket_of(&cli.config)?;
    let asks =
        matches!(cli.verb, Verb::Status(_) | Verb::Notify(_) | Verb::Release(_) | Verb::Maintenance(_));
    if !asks || control::call(socket, &Request::Ping).is_err() {
        return None;
    }
    eprintln!("The agent at {} is asked all the same.", socket.display());
    match &cli.verb {
        Verb::Status(args) => Some(status::run(socket, args).max(RETRY)),
        Verb::Notify(args) => Some(ask_agent(socket, &notify::request(args))),
        Verb::Release(MasterArg { master }) => {
            Some(ask_agent(socket, &Request::Release { master: master.clone() }))
        }
        Verb::Maintenance(MaintenanceArgs { switch, master }) => {
            let request = Request::Maintenance { on: *switch == Switch::On, master: master.clone() };
            Some(ask_agent(socket, &request))
        }
        Verb::Agent | Verb::Plan(_) | Verb::Check(_) | Verb::Uninstall => None,
    }
}

/// Puts in the verb that Sentinel cannot give: seven arguments, of which the second is a role, are a notification.
///
/// So are seven others that no verb takes, and a role after a word that is no verb: what is wrong is then said of a
/// notification, since that is what was meant.
fn with_verb(mut args: Vec<OsString>) -> Vec<OsString> {
    let is_role = args.get(2).is_some_and(|arg| arg == "leader" || arg == "observer");
    let is_verb = |arg: &OsString| {
        let arg = arg.to_string_lossy();
        arg.starts_with('-') || arg == "help" || Cli::command().find_subcommand(&*arg).is_some()
    };
    let seven = args.len() == 8;
    if (seven && is_role) || ((seven || is_role) && !is_verb(&args[1])) {
        args.insert(1, "notify".into());
    }
    args
}

/// What is wrong where Sentinel calls this program with an event and its description, as notification scripts are.
fn notification_script(args: &[OsString]) -> Option<String> {
    let [program, event, description] = args else { return None };
    let (event, description) = (event.to_str()?, description.to_str()?);
    // An option with its value may begin with a '-' as well.
    (event.starts_with('+') || event.starts_with('-') && description.contains(' ')).then(|| {
        format!(
            "{event}: so Sentinel calls a notification-script, of which this program makes nothing. It belongs into: \
             sentinel client-reconfig-script <master> {}",
            program.display()
        )
    })
}

fn agent(config: Config, file: &Path) -> u8 {
    let log = log::Config {
        level: config.log_level,
        role: log::Role::Agent,
        format: log::Format::Redis,
        file: config.logfile.clone(),
        syslog: None,
    };
    let file = std::path::absolute(file).unwrap_or_else(|_| file.into());
    let started = log::init(log).map_err(|e| match &config.logfile {
        Some(path) => format!("logfile {}: {e}", path.display()),
        None => e.to_string(),
    });
    let logs = started.is_ok();
    match started.and_then(|()| crate::agent::run(config, &file).map_err(|e| e.to_string())) {
        Ok(()) => DONE,
        Err(error) => {
            if logs {
                log::warning!("The agent cannot start: {error}");
            }
            eprintln!("{error}");
            RETRY
        }
    }
}

/// Asks for something of which only the outcome is to be said.
fn ask_agent(socket: &Path, request: &Request) -> u8 {
    match control::call(socket, request) {
        Ok(reply) => say(&reply),
        Err(error) => {
            eprintln!("{error}");
            RETRY
        }
    }
}

/// Prints an outcome; the exit code.
fn say(reply: &Reply) -> u8 {
    match reply {
        Reply::Done { text } => {
            println!("{text}");
            DONE
        }
        Reply::Retry { text } => {
            eprintln!("{text}");
            RETRY
        }
        Reply::Refused { text } => {
            eprintln!("{text}");
            MISUSE
        }
        Reply::Pong { .. } | Reply::Status(_) => {
            eprintln!("the agent answers what was not asked; is it of the same version as this program?");
            RETRY
        }
    }
}

fn uninstall(config: &Config) -> u8 {
    if let Ok(Reply::Pong { pid, .. }) = control::call(&config.socket, &Request::Ping) {
        eprintln!("an agent runs (process {pid}) and needs the fence; end it first");
        return MISUSE;
    }
    match crate::platform::uninstall_fence() {
        Ok(true) => println!("the fence was removed"),
        Ok(false) => println!("there was no fence"),
        Err(error) => {
            let as_root = if nix::unistd::geteuid().is_root() { "" } else { "; run this as root" };
            eprintln!("{error}{as_root}");
            return RETRY;
        }
    }
    DONE
}

#[cfg(test)]
mod tests {
    use super::*;

    const SEVEN: [&str; 7] = ["mymaster", "leader", "start", "10.0.0.1", "6379", "10.0.0.2", "6380"];

    fn parse(args: &[&str]) -> Result<Cli, clap::Error> {
        let args = std::iter::once("redoubt-vip-hook").chain(args.iter().copied()).map(OsString::from);
        Cli::try_parse_from(with_verb(args.collect()))
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn seven_arguments_alone_are_a_notification() {
        let mut long = vec!["notify"];
        long.extend(SEVEN);
        for args in [&SEVEN[..], &long] {
            let Verb::Notify(args) = parse(args).unwrap().verb else { panic!("{args:?}") };
            assert_eq!(
                (&*args.master_name, args.role, &*args.to_ip, args.to_port),
                ("mymaster", Role::Leader, "10.0.0.2", 6380)
            );
        }
        // Also of a master that is named as a verb is.
        let mut status = SEVEN;
        (status[0], status[1]) = ("status", "observer");
        let Verb::Notify(args) = parse(&status).unwrap().verb else { panic!() };
        assert_eq!((&*args.master_name, args.role), ("status", Role::Observer));
    }

    #[test]
    fn a_call_that_is_meant_as_a_notification_is_judged_as_one() {
        let with = |at: usize, word: &'static str| {
            let mut args = SEVEN;
            args[at] = word;
            args.to_vec()
        };
        let longer = [&SEVEN[..], &["more"]].concat();
        for (args, said) in [
            (with(1, "chief"), "'chief' for '<ROLE>'"),
            (SEVEN[..6].to_vec(), "<TO_PORT>"),
            (longer, "'more'"),
            (with(6, "70000"), "'70000' for '<TO_PORT>'"),
        ] {
            let error = parse(&args).expect_err(&format!("{args:?}")).to_string();
            assert!(error.contains(said), "{args:?}: {error}");
        }
        // A master may be called as a role is.
        assert!(matches!(parse(&["release", "leader"]).unwrap().verb, Verb::Release(_)));
    }

    #[test]
    fn a_notification_script_is_told_where_it_belongs() {
        let called = |args: &[&str]| {
            let args: Vec<OsString> = args.iter().map(Into::into).collect();
            notification_script(&args)
        };
        for event in ["+odown", "-sdown"] {
            let text = called(&["/usr/bin/hook", event, "master mymaster 10.0.0.1 6379"]).unwrap();
            assert!(text.starts_with(event) && text.ends_with("<master> /usr/bin/hook"), "{text}");
        }
        assert!(called(&["hook", "+new-epoch", "7"]).is_some());
        assert_eq!(called(&["hook", "--config", "a b", "status"]), None);
        assert_eq!(called(&["hook", "maintenance", "on"]), None);
    }

    #[test]
    fn wrong_arguments_are_misuse() {
        let with = |at: usize, word: &'static str| {
            let mut args = SEVEN;
            args[at] = word;
            args.to_vec()
        };
        for args in [
            SEVEN[..6].to_vec(),
            with(1, "chief"),
            with(4, "0x17"),
            with(6, "70000"),
            vec!["fly"],
            vec!["maintenance"],
        ] {
            let error = parse(&args).expect_err(&format!("{args:?}"));
            assert_eq!(error.exit_code(), i32::from(MISUSE), "{args:?}");
        }
        assert_eq!(parse(&["--help"]).unwrap_err().exit_code(), 0);
    }
}
