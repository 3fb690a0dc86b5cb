//! The directives' lists of words as enums: one line per word, in the order in which Redis lists
//! them in its errors.

use redoubt_wire::service::Supervision;

use super::codec::Choice;

macro_rules! choices {
    ($($(#[doc = $doc:literal])+ $name:ident { $($(#[doc = $vdoc:literal])+ $variant:ident = $word:literal),+ $(,)? })+) => { $(
        $(#[doc = $doc])+
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $($(#[doc = $vdoc])+ $variant),+ }

        impl Choice for $name {
            const WORDS: &'static [(&'static str, Self)] = &[$(($word, $name::$variant)),+];
        }
    )+ };
}

choices! {
    /// How much the log says; each level includes those below it in this list.
    LogLevel {
        /// Everything, for whoever works on the node itself.
        Debug = "debug",
        /// Detail that is rarely wanted but not overwhelming.
        Verbose = "verbose",
        /// What an operator wants to see.
        Notice = "notice",
        /// Problems only.
        Warning = "warning",
        /// Nothing at all.
        Nothing = "nothing",
    }

    /// The form of log lines.
    LogFormat {
        /// `pid:role date level message`, as Redis writes them.
        Redis = "redis",
        /// One JSON object a line.
        Json = "json",
    }

    /// How a replica takes a snapshot that its master sends.
    DisklessLoad {
        /// Into a file first, which is then loaded.
        Disabled = "disabled",
        /// Straight from the socket if the replica holds no keys, else through a file.
        OnEmptyDb = "on-empty-db",
        /// The old dataset serves until the new one has arrived: here as on-empty-db, through a file.
        SwapDb = "swapdb",
    }

    /// What happens at `maxmemory`.
    MaxmemoryPolicy {
        /// Evict the least recently used key among those with an expiry.
        VolatileLru = "volatile-lru",
        /// Evict the least frequently used key among those with an expiry.
        VolatileLfu = "volatile-lfu",
        /// Evict a random key among those with an expiry.
        VolatileRandom = "volatile-random",
        /// Evict the key whose expiry is nearest.
        VolatileTtl = "volatile-ttl",
        /// Evict the least recently used key.
        AllkeysLru = "allkeys-lru",
        /// Evict the least frequently used key.
        AllkeysLfu = "allkeys-lfu",
        /// Evict a random key.
        AllkeysRandom = "allkeys-random",
        /// Evict nothing; commands that need memory are refused.
        NoEviction = "noeviction",
    }

    /// Whose serialised values are checked in depth when they are taken in.
    SanitizeDumpPayload {
        /// Nobody's: only the frame and its checksum are checked.
        No = "no",
        /// Everybody's, the master's included.
        Yes = "yes",
        /// Those of clients, but not the master's and not those of files.
        Clients = "clients",
    }

    /// Which channels a new user may use.
    AclPubsubDefault {
        /// All of them.
        AllChannels = "allchannels",
        /// None, until a rule gives some.
        ResetChannels = "resetchannels",
    }

    /// For whom a dangerous facility is open.
    ProtectedAction {
        /// Nobody.
        No = "no",
        /// Everybody.
        Yes = "yes",
        /// Connections from this host.
        Local = "local",
    }

    /// What happens when a replicated command fails, or a master sees its replica fail.
    PropagationErrorBehavior {
        /// It is logged and counted.
        Ignore = "ignore",
        /// The process ends.
        Panic = "panic",
        /// The process ends if it is a replica.
        PanicOnReplicas = "panic-on-replicas",
    }
}

impl Choice for Supervision {
    const WORDS: &'static [(&'static str, Self)] = Supervision::WORDS;
}
