//! A call as the rules see it, and why they deny it.

use std::cell::OnceCell;
use std::ops::Range;

use smallvec::SmallVec;

use super::catalog::CommandId;
use super::selector::Access;
use super::user::User;

/// A key that a call touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyUse {
    /// Its word of the call.
    pub position: usize,
    /// What is done with it. Neither reading nor writing (EXISTS) is allowed by either.
    pub access: Access,
}

/// The keys of a call.
pub type KeyUses = SmallVec<[KeyUse; 4]>;

/// The words of a call that are channels, or patterns of channels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChannelUses {
    /// Which words.
    pub words: Range<usize>,
    /// They are patterns, as for PSUBSCRIBE.
    pub are_patterns: bool,
}

/// A call to be checked.
pub struct Call<'a> {
    /// The command or subcommand.
    pub command: CommandId,
    /// It may be called before logging in, so no rule can deny it.
    pub before_login: bool,
    /// All words, the command's name first.
    pub words: &'a [&'a [u8]],
    /// Finds the keys among them. Called at most once, and only if some rule limits keys.
    pub keys: &'a dyn Fn() -> KeyUses,
    /// The channels among them.
    pub channels: ChannelUses,
}

/// What of a call no rule allows. Of several selectors' reasons the greatest is told: a channel
/// before a key before the command, and of the same kind that which stands last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Denied {
    /// The command.
    Command,
    /// The key at this word.
    Key(usize),
    /// The channel at this word.
    Channel(usize),
}

impl Denied {
    /// The error without its code, as a client is told.
    pub fn text(self, user: &User, command: &str) -> String {
        match self {
            Denied::Command => {
                format!("User {} has no permissions to run the '{command}' command", user.shown_name())
            }
            Denied::Key(_) => "No permissions to access a key".into(),
            Denied::Channel(_) => "No permissions to access a channel".into(),
        }
    }

    /// The same for ACL DRYRUN, which may name the key or channel.
    pub fn full_text(self, user: &User, command: &str, words: &[&[u8]]) -> String {
        let named = |at: usize, kind: &str| {
            let name = String::from_utf8_lossy(words[at]);
            format!("User {} has no permissions to access the '{name}' {kind}", user.shown_name())
        };
        match self {
            Denied::Command => self.text(user, command),
            Denied::Key(at) => named(at, "key"),
            Denied::Channel(at) => named(at, "channel"),
        }
    }

    /// Why EXEC does not run a command that could be queued, as the end of its error.
    pub fn text_in_exec(self) -> &'static str {
        match self {
            Denied::Command => "no permission to execute the command or subcommand",
            Denied::Key(_) => "no permission to touch the specified keys",
            Denied::Channel(_) => "no permission to access one of the channels used as arguments",
        }
    }
}

impl User {
    /// Checks whether one of the user's selectors allows the call.
    ///
    /// # Errors
    /// What none of them allows.
    pub fn check(&self, call: &Call<'_>) -> Result<(), Denied> {
        let keys = OnceCell::new();
        let mut worst = Denied::Command;
        for selector in self.selectors() {
            match selector.check(call, || keys.get_or_init(|| (call.keys)())) {
                Ok(()) => return Ok(()),
                Err(denied) => worst = worst.max(denied),
            }
        }
        Err(worst)
    }

    /// Whether one selector allows both the call and this access to every key: what a call needs
    /// whose keys follow from data.
    pub fn check_with_all_keys(&self, call: &Call<'_>, access: Access) -> bool {
        let keys = OnceCell::new();
        self.selectors().any(|selector| {
            selector.allows_all_keys(access)
                && selector.check(call, || keys.get_or_init(|| (call.keys)())).is_ok()
        })
    }
}
