//! Log lines of all programs: `tracing` events, written in Redis's line format
//! (`pid:role date level message`) so that log tooling for Redis works, or as JSON.
//!
//! Redis's four levels are events of these: debug is TRACE, verbose DEBUG, notice INFO, and
//! warning WARN (or ERROR). [`debug!`], [`verbose!`], [`notice!`] and [`warning!`] name them as
//! Redis does; events of libraries come out the same way. A message that is not to be written
//! costs one atomic load.
//!
//! The file is opened by name for each line, as Redis does, so that moving it away is all
//! that log rotation needs. A line that cannot be written is lost: the server goes on.

pub mod syslog;

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use chrono::{Local, SecondsFormat};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

#[doc(hidden)]
pub use tracing as __tracing;

pub use crate::{debug, notice, verbose, warning};

/// Logs at debug level: a lot, for development and testing.
#[macro_export]
macro_rules! debug {
    ($($message:tt)+) => { $crate::log::__tracing::trace!($($message)+) };
}

/// Logs at verbose level: much that is rarely useful.
#[macro_export]
macro_rules! verbose {
    ($($message:tt)+) => { $crate::log::__tracing::debug!($($message)+) };
}

/// Logs at notice level: what one wants to know in production.
#[macro_export]
macro_rules! notice {
    ($($message:tt)+) => { $crate::log::__tracing::info!($($message)+) };
}

/// Logs at warning level: what somebody must know of.
#[macro_export]
macro_rules! warning {
    ($($message:tt)+) => { $crate::log::__tracing::warn!($($message)+) };
}

/// The `loglevel` directive: messages of this level and above it are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Everything.
    Debug,
    /// Much that is rarely useful.
    Verbose,
    /// What one wants in production.
    Notice,
    /// Only what is important.
    Warning,
    /// No message at all.
    Nothing,
}

impl Level {
    /// All levels, in the order of their weight.
    pub const ALL: [Level; 5] = [Level::Debug, Level::Verbose, Level::Notice, Level::Warning, Level::Nothing];

    /// The name in the `loglevel` directive.
    pub fn name(self) -> &'static str {
        match self {
            Level::Debug => "debug",
            Level::Verbose => "verbose",
            Level::Notice => "notice",
            Level::Warning => "warning",
            Level::Nothing => "nothing",
        }
    }

    /// The level of that name, in any case.
    pub fn from_name(name: &[u8]) -> Option<Level> {
        Level::ALL.into_iter().find(|level| level.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The character that stands for the level in a line.
    fn sign(self) -> char {
        match self {
            Level::Debug => '.',
            Level::Verbose => '-',
            Level::Notice => '*',
            Level::Warning | Level::Nothing => '#',
        }
    }

    fn of(metadata: &Metadata<'_>) -> Level {
        match *metadata.level() {
            tracing::Level::TRACE => Level::Debug,
            tracing::Level::DEBUG => Level::Verbose,
            tracing::Level::INFO => Level::Notice,
            tracing::Level::WARN | tracing::Level::ERROR => Level::Warning,
        }
    }

    fn as_filter(self) -> LevelFilter {
        match self {
            Level::Debug => LevelFilter::TRACE,
            Level::Verbose => LevelFilter::DEBUG,
            Level::Notice => LevelFilter::INFO,
            Level::Warning => LevelFilter::WARN,
            Level::Nothing => LevelFilter::OFF,
        }
    }
}

/// What the process is, as the character after its id in each line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Role {
    /// A master.
    Master = b'M',
    /// A replica.
    Replica = b'S',
    /// A Sentinel.
    Sentinel = b'X',
    /// A process that saves or works on behalf of another.
    Child = b'C',
    /// An agent that holds virtual IP addresses. Redis has none.
    Agent = b'V',
}

/// The form of a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// As Redis writes it.
    #[default]
    Redis,
    /// One JSON object a line, with `time`, `pid`, `role`, `level`, `message` and the event's fields.
    Json,
}

/// Where and how to log.
#[derive(Clone, Debug)]
pub struct Config {
    /// What to write at first; [`set_level`] changes it.
    pub level: Level,
    /// What the process is at first; [`set_role`] changes it.
    pub role: Role,
    /// The form of a line.
    pub format: Format,
    /// The file to append to; standard output where there is none.
    pub file: Option<PathBuf>,
    /// The system's logger, which then gets the messages too.
    pub syslog: Option<syslog::Config>,
}

/// Why logging cannot start.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The log file cannot be opened for appending.
    #[error("Can't open the log file: {}", crate::directives::os_text(.0))]
    File(#[from] io::Error),
    /// Logging was started before in this process.
    #[error("logging was started before")]
    Twice,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Notice as u8);
static ROLE: AtomicU8 = AtomicU8::new(Role::Master as u8);

/// Starts to log, for the whole process and for good.
///
/// # Errors
/// A log file that cannot be opened, or a second call.
pub fn init(config: Config) -> Result<(), InitError> {
    if let Some(file) = &config.file {
        open(file)?;
    }
    set_role(config.role);
    LEVEL.store(config.level as u8, Ordering::Relaxed);
    let syslog = config.syslog.map(syslog::Syslog::new);
    let output = Output { format: config.format, file: config.file, syslog };
    let subscriber = tracing_subscriber::registry().with(output);
    tracing::subscriber::set_global_default(subscriber).map_err(|_| InitError::Twice)
}

/// Changes what is written from now on.
pub fn set_level(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
    // Each place that logs remembers whether it is on.
    tracing::callsite::rebuild_interest_cache();
}

/// What is written at present.
pub fn level() -> Level {
    Level::ALL[usize::from(LEVEL.load(Ordering::Relaxed))]
}

/// Changes what the lines say that the process is.
pub fn set_role(role: Role) {
    ROLE.store(role as u8, Ordering::Relaxed);
}

/// Writes each event as a line.
struct Output {
    format: Format,
    file: Option<PathBuf>,
    syslog: Option<syslog::Syslog>,
}

impl<S: Subscriber> Layer<S> for Output {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        if metadata.is_event() && Level::of(metadata) >= level() {
            Interest::always()
        } else {
            Interest::never()
        }
    }

    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_event() && Level::of(metadata) >= level()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(level().as_filter())
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut content = Content::default();
        event.record(&mut content);
        let level = Level::of(event.metadata());
        if let Some(syslog) = &self.syslog {
            syslog.send(level, &content.text());
        }
        let line = match self.format {
            Format::Redis => content.redis_line(level),
            Format::Json => content.json_line(level),
        };
        // A log that cannot be written must not stop what it tells of.
        drop(self.append(&line));
    }
}

impl Output {
    /// Writes a line in one piece, so that those of other threads and processes stay whole.
    fn append(&self, line: &str) -> io::Result<()> {
        match &self.file {
            Some(file) => open(file)?.write_all(line.as_bytes()),
            None => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(line.as_bytes())?;
                stdout.flush()
            }
        }
    }
}

fn open(file: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(file)
}

/// What an event says: its message and its other fields.
#[derive(Default)]
struct Content {
    message: String,
    fields: Vec<(&'static str, String)>,
}

impl Content {
    /// `pid:role dd Mon yyyy hh:mm:ss.mmm level message`, in local time. Control characters of the
    /// message, part of which may come from a peer, are escaped, so that one event is one line.
    fn redis_line(&self, level: Level) -> String {
        let role = char::from(ROLE.load(Ordering::Relaxed));
        let time = Local::now().format("%d %b %Y %H:%M:%S%.3f");
        format!("{}:{role} {time} {} {}\n", std::process::id(), level.sign(), self.text())
    }

    /// The message and the fields.
    fn text(&self) -> String {
        let mut text = String::with_capacity(self.message.len());
        push_printable(&mut text, &self.message);
        for (name, value) in &self.fields {
            text.extend([" ", *name, "="]);
            push_printable(&mut text, value);
        }
        text
    }

    fn json_line(&self, level: Level) -> String {
        let role = char::from(ROLE.load(Ordering::Relaxed));
        let mut object = serde_json::Map::new();
        // The event's own fields first: none of them can then take the place of a standard one.
        object.extend(self.fields.iter().map(|(name, value)| (name.to_string(), value.as_str().into())));
        object.insert("time".into(), Local::now().to_rfc3339_opts(SecondsFormat::Millis, false).into());
        object.insert("pid".into(), std::process::id().into());
        object.insert("role".into(), role.to_string().into());
        object.insert("level".into(), level.name().into());
        object.insert("message".into(), self.message.as_str().into());
        format!("{}\n", serde_json::Value::Object(object))
    }
}

fn push_printable(line: &mut String, text: &str) {
    for character in text.chars() {
        if character.is_control() && character != '\t' {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
}

impl Visit for Content {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" { self.message = text } else { self.fields.push((field.name(), text)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The level and role belong to the process, so one test goes through all that depends on them.
    #[test]
    fn lines_levels_roles_and_rotation() {
        let directory = tempfile::tempdir().unwrap();
        let (file, moved) = (directory.path().join("redis.log"), directory.path().join("redis.log.1"));
        let output = Output { format: Format::Redis, file: Some(file.clone()), syslog: None };
        let json = Output { format: Format::Json, file: Some(file.clone()), syslog: None };
        let lines = |path: &Path| -> Vec<String> {
            fs::read_to_string(path).unwrap_or_default().lines().map(String::from).collect()
        };

        tracing::subscriber::with_default(tracing_subscriber::registry().with(output), || {
            debug!("unseen");
            verbose!("unseen");
            notice!("Ready to accept {}", "connections");
            set_role(Role::Replica);
            warning!(code = 7, "peer said 'a\nb'");
            fs::rename(&file, &moved).unwrap();
            set_level(Level::Debug);
            assert_eq!(level(), Level::Debug);
            debug!("one");
            verbose!("two");
            set_level(Level::Nothing);
            warning!("unseen");
            set_level(Level::Notice);
        });
        let rotated = lines(&moved);
        assert_eq!(rotated.len(), 2);
        assert_is_line(&rotated[0], "M", "* Ready to accept connections");
        assert_is_line(&rotated[1], "S", "# peer said 'a\\nb' code=7");
        let fresh = lines(&file);
        assert_eq!(fresh.len(), 2);
        assert_is_line(&fresh[0], "S", ". one");
        assert_is_line(&fresh[1], "S", "- two");

        fs::remove_file(&file).unwrap();
        set_role(Role::Sentinel);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(json), || {
            notice!(level = "mine", epoch = 3, "a \"b\"\n");
        });
        let object: serde_json::Value = serde_json::from_str(&lines(&file)[0]).unwrap();
        assert_eq!(object["message"], "a \"b\"\n");
        assert_eq!(object["level"], "notice");
        assert_eq!(object["role"], "X");
        assert_eq!(object["epoch"], "3");
        assert_eq!(object["pid"], std::process::id());
    }

    /// `pid:role 22 Nov 2026 04:46:36.123 message`
    fn assert_is_line(line: &str, role: &str, message: &str) {
        let (header, rest) = line.split_at(line.match_indices(' ').nth(4).unwrap().0);
        assert_eq!(&rest[1..], message);
        let (process, time) = header.split_once(' ').unwrap();
        assert_eq!(process, format!("{}:{role}", std::process::id()));
        let parsed = chrono::NaiveDateTime::parse_from_str(time, "%d %b %Y %H:%M:%S%.3f").unwrap();
        assert!((Local::now().naive_local() - parsed).num_seconds().abs() < 86_400);
        assert_eq!(time.len(), "22 Nov 2026 04:46:36.123".len());
    }

    #[test]
    fn level_names() {
        for level in Level::ALL {
            assert_eq!(Level::from_name(level.name().to_uppercase().as_bytes()), Some(level));
        }
        assert_eq!(Level::from_name(b"loud"), None);
    }

    #[test]
    fn a_log_file_that_cannot_be_opened_is_an_error() {
        let file = Some(PathBuf::from("/nonexistent/redis.log"));
        let (level, role, format) = (Level::Notice, Role::Master, Format::Redis);
        let config = Config { level, role, format, file, syslog: None };
        let error = init(config).unwrap_err().to_string();
        assert_eq!(error, "Can't open the log file: No such file or directory");
    }
}
