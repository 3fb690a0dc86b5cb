//! Access control lists: who may log in, and with which commands on which keys and channels.
//!
//! Data nodes and Sentinels have the same rules for different commands, so the rules live here and are
//! given the commands as a [`Catalog`]. [`Users`] holds the users, who are made by rules
//! ([`rule`]) and described by rules that make them again; [`User::check`] holds a call against one of
//! them. [`Log`] remembers what was denied, and [`answers`] is what the subcommands of ACL reply.
//!
//! ```text
//! alice on #5e88… ~cache:* %R~shared:* &news:* -@all +@read +set (~tmp:* +@write)
//!          password  keys               channels  commands       one more selector
//! ```
//!
//! Nothing here knows a command, and nothing but [`file`] does I/O: time, randomness and the keys of a call
//! come from the program. Texts of errors and descriptions are those of Redis 7.2. Two words that
//! Redis takes are refused, since it cannot read back what it makes of them: a first argument with
//! blanks in it, and a selector with unbalanced quotes.

pub mod answers;
mod catalog;
mod check;
mod command_rules;
pub mod file;
mod log;
mod password;
pub mod rule;
mod selector;
#[cfg(test)]
mod tests;
mod user;
mod users;

pub use catalog::{Catalog, Categories, CommandId};
pub use check::{Call, ChannelUses, Denied, KeyUse, KeyUses};
pub use log::{Context, Entry, Event, Log, Reason};
pub use password::PasswordHash;
pub use selector::{Access, KeyPattern, Selector};
pub use user::User;
pub use users::{Change, DEFAULT_USER, Users};
