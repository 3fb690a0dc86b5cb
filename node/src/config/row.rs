//! What a row of the directive table is: its name, its rules, and the typed field it stands for.
//!
//! A directive is either *live* (bound to a field of [`Config`] by a codec that knows how the
//! value is read, shown, and written to a file) or *fixed* (Redis 7.2 has it and this version does
//! not act on it, so it has one value). A fixed directive is still a row, so that a file from the
//! field is answered precisely instead of with "unknown".

use super::table::Config;
use redoubt_wire::bits;
use redoubt_wire::directives::memory;
use std::borrow::Cow;

/// Where the arguments of a directive come from; a few directives add up in a file and replace on command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// A configuration file or the command line. `first`: no earlier line set the same directive.
    File {
        /// Whether this is the first line of this directive.
        first: bool,
    },
    /// `CONFIG SET`.
    Command,
}

/// Why a value was refused, in Redis's words where it has some.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ValueError(pub Cow<'static, str>);

impl From<&'static str> for ValueError {
    fn from(text: &'static str) -> Self {
        ValueError(Cow::Borrowed(text))
    }
}

impl From<String> for ValueError {
    fn from(text: String) -> Self {
        ValueError(Cow::Owned(text))
    }
}

/// The error of a directive that got too many or too few arguments.
pub(super) const WRONG_NUMBER: &str = "wrong number of arguments";

/// What follows a directive's name on its line of the rewritten file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The arguments, quoted as the file needs them.
    pub args: Vec<u8>,
    /// Whether the line is written even where the file had none: the value is not the default.
    pub force: bool,
}

/// How a value of type `T` is read, shown and written.
pub trait Codec<T>: Sync {
    /// Reads the value that `args` spell.
    fn parse(&self, args: &[&[u8]]) -> Result<T, ValueError>;

    /// Takes `args` over into `value`. Directives whose lines add up override this.
    fn set(&self, value: &mut T, args: &[&[u8]], _source: Source) -> Result<(), ValueError> {
        *value = self.parse(args)?;
        Ok(())
    }

    /// The value as `CONFIG GET` prints it.
    fn show(&self, value: &T) -> Vec<u8>;

    /// The lines that stand for the value in a file; none where its absence says the same.
    fn lines(&self, value: &T, default: &T) -> Vec<Line>;
}

/// A live directive with its types erased, so that rows of all types stand in one table.
pub trait Binding: Sync {
    /// Takes `args` over into the field of `config`.
    fn set(&self, config: &mut Config, args: &[&[u8]], source: Source) -> Result<(), ValueError>;
    /// The field's value as `CONFIG GET` prints it.
    fn show(&self, config: &Config) -> Vec<u8>;
    /// The field's lines in a rewritten file.
    fn lines(&self, config: &Config) -> Vec<Line>;
    /// Whether the field has the same value in both.
    fn same(&self, a: &Config, b: &Config) -> bool;
}

/// Binds a field to the codec of its values.
pub(super) struct Bound<T, C> {
    pub field: fn(&Config) -> &T,
    pub field_mut: fn(&mut Config) -> &mut T,
    pub default: fn() -> T,
    pub codec: C,
}

impl<T: PartialEq, C: Codec<T>> Binding for Bound<T, C> {
    fn set(&self, config: &mut Config, args: &[&[u8]], source: Source) -> Result<(), ValueError> {
        self.codec.set((self.field_mut)(config), args, source)
    }

    fn show(&self, config: &Config) -> Vec<u8> {
        self.codec.show((self.field)(config))
    }

    fn lines(&self, config: &Config) -> Vec<Line> {
        self.codec.lines((self.field)(config), &(self.default)())
    }

    fn same(&self, a: &Config, b: &Config) -> bool {
        (self.field)(a) == (self.field)(b)
    }
}

bits! {
    /// The rules of a directive, as a set. Without any: one argument, changeable at run time, shown by any pattern.
    pub struct Rules(u8) {
        /// Set at start only.
        IMMUTABLE = 0,
        /// Holds a secret: kept out of SLOWLOG and MONITOR.
        SENSITIVE = 1,
        /// Takes several arguments; `CONFIG SET` splits its one argument at spaces.
        MULTI_ARG = 2,
        /// Left out of `CONFIG GET` patterns: named exactly or not shown.
        HIDDEN = 3,
        /// Changeable at run time only as `enable-protected-configs` allows.
        PROTECTED = 4,
        /// Not changeable while a dataset is being loaded.
        DENY_LOADING = 5,
    }
}

/// What a file may say of a directive that this version does not act on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deviation {
    /// Another value is taken with a warning: it tunes something that does not exist here.
    Warn,
    /// Another value is refused: without it data or access would not be as safe as the file says.
    Refuse,
}

/// Whether this version acts on a directive.
pub enum Standing {
    /// It does: the directive stands for a field of [`Config`].
    Live(&'static dyn Binding),
    /// It does not: what holds is `value`, whatever a file says.
    Fixed {
        /// The value in force, as `CONFIG GET` prints it.
        value: &'static str,
        /// What happens to a file that asks for another.
        deviation: Deviation,
        /// Why the directive has no effect, as the end of a sentence.
        why: &'static str,
    },
}

/// One row of the table.
pub struct Row {
    /// The name as files and commands spell it.
    pub name: &'static str,
    /// An older name that still works.
    pub alias: Option<&'static str>,
    /// Where it may be set and shown.
    pub rules: Rules,
    /// What it does, with units: the text of the help.
    pub doc: &'static str,
    /// The field it stands for, or the one value it has.
    pub standing: Standing,
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Row").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Row {
    /// Whether `name`, in any case, is this directive's name or its older one.
    pub fn is_named(&self, name: &[u8]) -> bool {
        self.names().any(|n| n.as_bytes().eq_ignore_ascii_case(name))
    }

    /// The directive's name, then its older one.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        std::iter::once(self.name).chain(self.alias)
    }

    /// The value as `CONFIG GET` prints it.
    pub fn show(&self, config: &Config) -> Vec<u8> {
        match &self.standing {
            Standing::Live(binding) => binding.show(config),
            Standing::Fixed { value, .. } => value.as_bytes().to_vec(),
        }
    }

    /// The row as a paragraph of the reference: name, default, when it may change, what it does.
    pub fn help(&self) -> String {
        let older = self.alias.map_or(String::new(), |alias| format!(" (older name {alias})"));
        let default = String::from_utf8_lossy(&self.show(&Config::default())).into_owned();
        let when = match self.rules.has(Rules::IMMUTABLE) {
            true => "set at start",
            false => "changeable at run time",
        };
        format!("{}{older}, default \"{default}\", {when}\n   {}\n", self.name, self.doc)
    }

    /// Whether the two configurations differ in this directive.
    pub fn differs(&self, a: &Config, b: &Config) -> bool {
        match &self.standing {
            Standing::Live(binding) => !binding.same(a, b),
            Standing::Fixed { .. } => false,
        }
    }

    /// Whether `args` spell the value that a fixed directive has anyway, however they spell it.
    pub(super) fn is_fixed_at(&self, args: &[&[u8]]) -> bool {
        let Standing::Fixed { value, .. } = &self.standing else { return false };
        let given = args.join(&b' ');
        let amount = memory(value.as_bytes());
        given.eq_ignore_ascii_case(value.as_bytes()) || (amount.is_some() && memory(&given) == amount)
    }

    /// The error of a value that a fixed directive does not have.
    pub(super) fn refusal(&self, why: &str) -> ValueError {
        format!("not available: {why}").into()
    }

    /// Checks how many arguments there are, for directives that take exactly one.
    pub(super) fn check_count(&self, args: &[&[u8]]) -> Result<(), ValueError> {
        if !self.rules.has(Rules::MULTI_ARG) && args.len() != 1 {
            return Err(WRONG_NUMBER.into());
        }
        Ok(())
    }
}
