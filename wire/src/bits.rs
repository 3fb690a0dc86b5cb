//! Small sets of named bits: flags of commands and of directives, ACL categories, event classes.

/// Declares a set of named bits as a type whose operations are all `const`, so that tables of it
/// can be written as constants.
#[macro_export]
macro_rules! bits {
    (
        $(#[$meta:meta])*
        pub struct $name:ident($repr:ty) { $($(#[doc = $doc:literal])+ $bit:ident = $index:literal),+ $(,)? }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct $name($repr);

        impl $name {
            /// The empty set.
            pub const NONE: $name = $name(0);
            $($(#[doc = $doc])+ pub const $bit: $name = $name(1 << $index);)+

            /// Both sets together.
            pub const fn with(self, other: $name) -> $name {
                $name(self.0 | other.0)
            }

            /// What is in both sets.
            pub const fn and(self, other: $name) -> $name {
                $name(self.0 & other.0)
            }

            /// Whether all of `other` is in this set.
            pub const fn has(self, other: $name) -> bool {
                self.and(other).0 == other.0
            }

            /// Whether nothing is in this set.
            pub const fn is_empty(self) -> bool {
                self.0 == 0
            }
        }
    };
}
