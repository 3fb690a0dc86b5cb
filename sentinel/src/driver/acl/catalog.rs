//! The commands of a Sentinel as rules speak of them.

use std::sync::LazyLock;

use redoubt_wire::acl::{Catalog, Categories};

use super::super::command_table;

/// The subcommands, with the words of a call (negative: at least so many) and the version that brought them.
pub(in crate::driver) const SUBCOMMANDS: [(&str, i32, &str, &str); 13] = [
    ("cat", -2, "Lists the categories of commands, or the commands of one.", "6.0.0"),
    ("deluser", -3, "Removes users and closes their connections.", "6.0.0"),
    ("dryrun", -4, "Tells whether a user may run a command, without running it.", "7.0.0"),
    ("genpass", -2, "Makes a secret that can serve as a password.", "6.0.0"),
    ("getuser", 3, "Shows the flags, passwords and rules of a user.", "6.0.0"),
    ("help", 2, "Explains the subcommands.", "6.0.0"),
    ("list", 2, "Shows all users as lines of an ACL file.", "6.0.0"),
    ("load", 2, "Takes over the users of the ACL file.", "6.0.0"),
    ("log", -2, "Shows who was denied what, or forgets it.", "6.0.0"),
    ("save", 2, "Writes all users into the ACL file.", "6.0.0"),
    ("setuser", -3, "Makes a user, or changes one by rules.", "6.0.0"),
    ("users", 2, "Lists the names of all users.", "6.0.0"),
    ("whoami", 2, "Tells as which user this connection is logged in.", "6.0.0"),
];

/// Commands that rules may name beside those of the table: the subcommands of COMMAND, and what else a
/// redis-sentinel has.
const OTHERS: [&str; 13] = [
    "client|caching",
    "client|pause",
    "client|tracking",
    "client|trackinginfo",
    "client|unblock",
    "client|unpause",
    "command|count",
    "command|docs",
    "command|getkeys",
    "command|getkeysandflags",
    "command|help",
    "command|info",
    "command|list",
];

/// Subcommands that are not for administrators, of containers most of whose subcommands are.
const FOR_ALL: [&str; 5] = ["acl|cat", "acl|genpass", "acl|help", "acl|whoami", "sentinel|help"];

/// Subcommands for administrators, of containers most of whose subcommands are not.
const FOR_ADMINISTRATORS: [&str; 3] = ["client|kill", "client|list", "client|no-evict"];

/// The Sentinel's commands, as rules speak of them.
pub(super) static CATALOG: LazyLock<Catalog> = LazyLock::new(|| {
    let commands = command_table::names_and_categories();
    Catalog::new(commands.iter().map(|(name, own)| (name.as_str(), categories(name, *own))), &OTHERS)
});

/// The categories of a command, where the table has them, or of a subcommand.
fn categories(full_name: &str, own: Categories) -> Categories {
    let Some((container, _)) = full_name.split_once('|') else { return own };
    let admin = match container {
        "acl" | "sentinel" => !FOR_ALL.contains(&full_name),
        _ => FOR_ADMINISTRATORS.contains(&full_name),
    };
    let mut all = Categories::SLOW;
    if admin {
        all = all.with(Categories::ADMIN).with(Categories::DANGEROUS);
    }
    if container == "client" {
        all = all.with(Categories::CONNECTION);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn categories_are_those_of_redis() {
        for (name, category, is_in) in [
            ("sentinel|masters", Categories::DANGEROUS, true),
            ("sentinel|help", Categories::ADMIN, false),
            ("client|kill", Categories::ADMIN, true),
            ("client|id", Categories::ADMIN, false),
            ("client|id", Categories::CONNECTION, true),
            ("acl|setuser", Categories::ADMIN, true),
            ("acl|whoami", Categories::ADMIN, false),
            ("ping", Categories::FAST, true),
            ("publish", Categories::PUBSUB, true),
            ("command|docs", Categories::ADMIN, false),
        ] {
            let id = CATALOG.find(name.as_bytes()).unwrap_or_else(|| panic!("{name} is not known"));
            assert_eq!(CATALOG.in_category(category).any(|other| other == id), is_in, "{name}");
        }
    }
}
