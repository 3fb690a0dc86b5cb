//! What is known about a command, apart from the function that carries it out.

/// A set of command flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Flags(pub u32);

#[allow(missing_docs)]
impl Flags {
    pub const NONE: Flags = Flags(0);
    pub const WRITE: Flags = Flags(1);
    pub const READONLY: Flags = Flags(2);
    pub const DENYOOM: Flags = Flags(4);
    pub const ADMIN: Flags = Flags(8);
    pub const LOADING: Flags = Flags(16);
    pub const STALE: Flags = Flags(32);
    pub const NO_AUTH: Flags = Flags(64);
    pub const NO_MULTI: Flags = Flags(128);
    pub const FAST: Flags = Flags(256);
    pub const SKIP_MONITOR: Flags = Flags(512);
    pub const PUBSUB: Flags = Flags(1024);
    pub const MAY_REPLICATE: Flags = Flags(2048);
    pub const fn has(self, o: Flags) -> bool {
        self.0 & o.0 == o.0
    }
}

/// One command.
pub struct CommandSpec {
    /// Name.
    pub name: &'static str,
    /// Container.
    pub parent: Option<&'static str>,
    /// Arity.
    pub arity: i16,
    /// Flags.
    pub flags: Flags,
    /// Subcommands.
    pub subcommands: &'static [CommandSpec],
}

macro_rules! spec {
    ($id:ident, $name:literal, $arity:literal, $($flag:ident)*) => {
        #[allow(missing_docs)]
        pub static $id: CommandSpec = CommandSpec { name: $name, parent: None, arity: $arity, flags: Flags(0 $(| Flags::$flag.0)*), subcommands: &[] };
    };
}
spec!(GET, "get", 2, READONLY FAST);
spec!(SET, "set", -3, WRITE DENYOOM);
spec!(MULTI, "multi", 1, LOADING STALE FAST);
spec!(EXEC, "exec", 1, LOADING STALE);
spec!(DISCARD, "discard", 1, LOADING STALE FAST);
spec!(WATCH, "watch", -2, LOADING STALE FAST NO_MULTI);
spec!(UNWATCH, "unwatch", 1, LOADING STALE FAST);
