//! The specs of SENTINEL and its subcommands.

use redoubt_wire::commands::spec::{
    Argument, ArgumentType, CommandSpec, Flags, Group, arg, block, command, flag, flags, integer, one_of,
    string,
};

const ADMIN: Flags = flags![ADMIN SENTINEL];
const MASTER: Argument = string("master-name");
const PARAMETER: Argument = string("parameter");
const VALUE: Argument = string("value");

/// A subcommand: its name, arity, first version, complexity and summary.
const fn sub(
    name: &'static str,
    arity: i16,
    since: &'static str,
    complexity: &'static str,
    summary: &'static str,
) -> CommandSpec {
    command(name, arity, Group::Sentinel, since, complexity, summary).of("sentinel").flags(ADMIN)
}

/// `SENTINEL`.
pub static SENTINEL: CommandSpec = command(
    "sentinel",
    -2,
    Group::Sentinel,
    "2.8.4",
    "Depends on the subcommand",
    "Groups the commands about what is watched.",
)
.flags(ADMIN)
.subcommands(&[
    &CKQUORUM,
    &CONFIG,
    &DEBUG,
    &EPOCHS,
    &FAILOVER,
    &FLUSHCONFIG,
    &GET_MASTER_ADDR_BY_NAME,
    &HELP,
    &INFO_CACHE,
    &IS_MASTER_DOWN_BY_ADDR,
    &MASTER_STATE,
    &MASTERS,
    &MONITOR,
    &MYID,
    &PENDING_SCRIPTS,
    &REMOVE,
    &REPLICAS,
    &RESET,
    &SENTINELS,
    &SET,
    &SIMULATE_FAILURE,
    &SLAVES,
    &VOUCH,
]);

pub(super) static CKQUORUM: CommandSpec = sub(
    "ckquorum",
    3,
    "2.8.4",
    "O(N) in the other Sentinels",
    "Tells whether enough Sentinels are in reach for the quorum and for the majority.",
)
.args(&[MASTER]);

pub(super) static CONFIG: CommandSpec =
    sub("config", -4, "6.2.0", "O(N) in the parameters", "Sets or shows parameters of this Sentinel.").args(
        &[one_of(
            "action",
            &[block("set", &[PARAMETER, VALUE]).token("SET").multiple(), PARAMETER.token("GET").multiple()],
        )],
    );

pub(super) static DEBUG: CommandSpec = sub(
    "debug",
    -2,
    "7.0.0",
    "O(N) in the parameters",
    "Shows or sets the periods of this Sentinel, in milliseconds.",
)
.args(&[block("data", &[PARAMETER, VALUE]).optional().multiple()]);

/// Redoubt's own.
pub(super) static EPOCHS: CommandSpec = sub(
    "epochs",
    3,
    "7.2.0",
    "O(1)",
    "Tells another Sentinel the current epoch, and the config epoch of a master.",
)
.args(&[MASTER]);

pub(super) static FAILOVER: CommandSpec = sub(
    "failover",
    -3,
    "2.8.4",
    "O(N) in the replicas",
    "Replaces a master by one of its replicas although it is not down; coordinated, without losing a write.",
)
.args(&[MASTER, flag("coordinated", "COORDINATED").optional()]);

pub(super) static FLUSHCONFIG: CommandSpec =
    sub("flushconfig", 2, "2.8.4", "O(N) in what is known", "Writes configuration and state to the file.");

pub(super) static GET_MASTER_ADDR_BY_NAME: CommandSpec =
    sub("get-master-addr-by-name", 3, "2.8.4", "O(1)", "Tells the address of a master.").args(&[MASTER]);

pub(super) static HELP: CommandSpec =
    sub("help", 2, "6.2.0", "O(1)", "Explains the subcommands of SENTINEL.")
        .flags(flags![LOADING STALE SENTINEL]);

pub(super) static INFO_CACHE: CommandSpec = sub(
    "info-cache",
    -3,
    "3.2.0",
    "O(N) in the nodes",
    "Shows the last INFO of masters and their replicas, each with its age.",
)
.args(&[string("nodename").multiple()]);

pub(super) static IS_MASTER_DOWN_BY_ADDR: CommandSpec = sub(
    "is-master-down-by-addr",
    6,
    "2.8.4",
    "O(1)",
    "Tells whether this Sentinel sees a master down; a run id asks for its vote.",
)
.args(&[string("ip"), integer("port"), integer("current-epoch"), string("runid")]);

pub(super) static MASTER_STATE: CommandSpec =
    sub("master", 3, "2.8.4", "O(1)", "Shows state and settings of a master.").args(&[MASTER]);

pub(super) static MASTERS: CommandSpec =
    sub("masters", 2, "2.8.4", "O(N) in the masters", "Shows state and settings of all masters.");

pub(super) static MONITOR: CommandSpec = sub("monitor", 6, "2.8.4", "O(1)", "Starts to watch a master.")
    .args(&[string("name"), string("ip"), integer("port"), integer("quorum")]);

pub(super) static MYID: CommandSpec = sub("myid", 2, "6.2.0", "O(1)", "Tells the id of this Sentinel.");

pub(super) static PENDING_SCRIPTS: CommandSpec =
    sub("pending-scripts", 2, "2.8.4", "O(N) in the scripts", "Shows the scripts that run or wait.");

pub(super) static REMOVE: CommandSpec =
    sub("remove", 3, "2.8.4", "O(N) in its nodes", "Ceases to watch a master.").args(&[MASTER]);

pub(super) static REPLICAS: CommandSpec =
    sub("replicas", 3, "5.0.0", "O(N) in the replicas", "Shows the state of a master's replicas.")
        .args(&[MASTER]);

pub(super) static RESET: CommandSpec = sub(
    "reset",
    3,
    "2.8.4",
    "O(N) in the masters",
    "Forgets replicas and Sentinels of the masters whose name matches.",
)
.args(&[arg("pattern", ArgumentType::Pattern)]);

pub(super) static SENTINELS: CommandSpec = sub(
    "sentinels",
    3,
    "2.8.4",
    "O(N) in the Sentinels",
    "Shows the state of the other Sentinels of a master.",
)
.args(&[MASTER]);

pub(super) static SET: CommandSpec = sub("set", -5, "2.8.4", "O(1)", "Changes settings of a master.")
    .args(&[MASTER, block("data", &[string("option"), VALUE]).multiple()]);

pub(super) static SIMULATE_FAILURE: CommandSpec =
    sub("simulate-failure", -3, "3.2.0", "O(1)", "Ends this Sentinel at a chosen step of its next failover.")
        .args(&[one_of(
            "mode",
            &[
                flag("crash-after-election", "CRASH-AFTER-ELECTION"),
                flag("crash-after-promotion", "CRASH-AFTER-PROMOTION"),
                flag("help", "HELP"),
            ],
        )
        .optional()
        .multiple()]);

pub(super) static SLAVES: CommandSpec =
    sub("slaves", 3, "2.8.0", "O(N) in the replicas", "Shows the state of a master's replicas.")
        .args(&[MASTER])
        .deprecated("5.0.0", "`SENTINEL REPLICAS`");

/// Redoubt's own.
pub(super) static VOUCH: CommandSpec = sub(
    "vouch",
    -5,
    "7.2.0",
    "O(1)",
    "Tells an agent of a virtual IP whether this Sentinel stands by an address as that of a master.",
)
.args(&[MASTER, string("ip"), integer("port"), flag("release", "RELEASE").optional()]);
