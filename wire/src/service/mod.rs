//! A program as a service of the machine: who supervises it and what that supervisor hears
//! ([`Service`]), and how it goes on in the background (`background`).
//!
//! The directives `supervised`, `daemonize` and `pidfile` mean what they mean to Redis, for
//! every program of the suite. What goes beyond Redis is told to systemd alone: a status that
//! follows the program, a sign of life from its main loop, and that a start or an end takes
//! longer than the unit allows. Each program says these things where they happen; this module only knows
//! how.

mod background;
mod notify;

use std::borrow::Cow;
use std::env;
use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use nix::sys::signal::{Signal, raise};
use nix::time::{ClockId, clock_gettime};

use crate::log::{notice, verbose, warning};
use notify::{Manager, Patience};

pub use background::{PidFile, daemonize};

/// The directive `supervised`: who watches the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Supervision {
    /// Upstart: the process stops itself with SIGSTOP, and is woken when that was seen.
    Upstart,
    /// systemd: datagrams to the socket that `NOTIFY_SOCKET` names.
    Systemd,
    /// Whichever of the two the environment shows.
    Auto,
    /// Nobody.
    #[default]
    No,
}

impl Supervision {
    /// The words of the directive, in the order of Redis's error text.
    pub const WORDS: &'static [(&'static str, Supervision)] = &[
        ("upstart", Supervision::Upstart),
        ("systemd", Supervision::Systemd),
        ("auto", Supervision::Auto),
        ("no", Supervision::No),
    ];

    /// The word's meaning, in any case of letters.
    pub fn from_name(name: &str) -> Option<Supervision> {
        Supervision::WORDS
            .iter()
            .find(|(word, _)| word.eq_ignore_ascii_case(name))
            .map(|(_, meaning)| *meaning)
    }
}

/// A sign of life comes at least this often, be there a watchdog or not: the status is brought up to date with it.
const LONGEST_PULSE: Duration = Duration::from_secs(1);
/// The status of a Redis that starts, of a data node and of a Sentinel alike.
pub const LOADING: &str = "Redis is loading...";
/// Bytes of a status; what goes beyond is cut off. systemd takes 4096 for a whole message; a line of `systemctl status`
/// is shorter.
pub const STATUS_MAX: usize = 512;

/// The process as its supervisor sees it. Whoever is not supervised may tell it everything all the same:
/// nobody hears it.
#[derive(Debug)]
pub struct Service {
    supervisor: Supervision,
    manager: Option<Manager>,
    watchdog: Option<Duration>,
    status: Mutex<String>,
}

impl Service {
    /// Finds out who supervises the process and tells, with this status, that it is starting. To be called when the log
    /// is open and before the process would go to the background.
    pub fn start(wanted: Supervision, status: &str) -> Service {
        let nobody =
            Service { supervisor: Supervision::No, manager: None, watchdog: None, status: Mutex::default() };
        match detected(wanted) {
            Supervision::Systemd => match started_by_systemd(status) {
                Some(manager) => Service {
                    supervisor: Supervision::Systemd,
                    manager: Some(manager),
                    watchdog: notify::watchdog(
                        env::var("WATCHDOG_USEC").ok().as_deref(),
                        env::var("WATCHDOG_PID").ok().as_deref(),
                    ),
                    ..nobody
                },
                None => nobody,
            },
            Supervision::Upstart if started_by_upstart() => {
                Service { supervisor: Supervision::Upstart, ..nobody }
            }
            _ => nobody,
        }
    }

    /// Whether anybody supervises the process, which then must not go to the background.
    pub fn is_supervised(&self) -> bool {
        self.supervisor != Supervision::No
    }

    /// The supervisor, as INFO's `process_supervised` has it: `systemd`, `upstart` or `no`.
    pub fn supervisor(&self) -> &'static str {
        Supervision::WORDS.iter().find(|(_, who)| *who == self.supervisor).map_or("no", |(word, _)| word)
    }

    /// How often the main loop should say that it is [`alive`](Self::alive), and bring its status up to date: at
    /// least four times in the time after which systemd takes it for hung. `None` if nobody listens.
    pub fn pulse(&self) -> Option<Duration> {
        self.manager.as_ref()?;
        Some(self.watchdog.map_or(LONGEST_PULSE, |limit| (limit / 4).min(LONGEST_PULSE)))
    }

    /// The process serves.
    pub fn ready(&self, status: &str) {
        let status = printable(status);
        if self.tell(&format!("READY=1\nSTATUS={status}"), Patience::Some) {
            *self.told() = status.into_owned();
        }
    }

    /// What an operator should read in `systemctl status`. Said again only if it has changed.
    pub fn status(&self, status: &str) {
        let status = printable(status);
        let mut told = self.told();
        if *told != status && self.tell(&format!("STATUS={status}"), Patience::None) {
            *told = status.into_owned();
        }
    }

    /// The main loop has come round once more.
    pub fn alive(&self) {
        if self.watchdog.is_some() {
            self.tell("WATCHDOG=1", Patience::None);
        }
    }

    /// A start or an end that is under way takes at least so long from now. To be repeated as long as it goes on:
    /// systemd then gives up on a process that hangs, and not on one that has much to do.
    pub fn takes_longer(&self, time: Duration) {
        self.tell(&format!("EXTEND_TIMEOUT_USEC={}", time.as_micros()), Patience::None);
    }

    /// The configuration is being read again; [`ready`](Self::ready) says that this is done.
    pub fn reloading(&self) {
        let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from);
        self.tell(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.as_micros()), Patience::Some);
    }

    /// The process ends now, and nothing can call that off: systemd ends it by force where it does not.
    pub fn stopping(&self) {
        self.tell("STOPPING=1", Patience::Some);
    }

    fn told(&self) -> std::sync::MutexGuard<'_, String> {
        self.status.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it arrived. A manager that does not listen is no error: the service runs all the same.
    fn tell(&self, message: &str, patience: Patience) -> bool {
        self.manager.as_ref().is_some_and(|manager| manager.tell(message, patience).is_ok())
    }
}

/// Who `auto` is.
fn detected(wanted: Supervision) -> Supervision {
    match wanted {
        Supervision::Auto if env::var_os("UPSTART_JOB").is_some() => {
            verbose!("Upstart supervision detected.");
            Supervision::Upstart
        }
        Supervision::Auto if env::var_os(notify::SOCKET).is_some() => {
            verbose!("Systemd supervision detected.");
            Supervision::Systemd
        }
        Supervision::Auto => Supervision::No,
        other => other,
    }
}

fn started_by_systemd(status: &str) -> Option<Manager> {
    let Some(socket) = env::var_os(notify::SOCKET) else {
        warning!("systemd supervision error: NOTIFY_SOCKET not found!");
        return None;
    };
    let told = |socket: &std::ffi::OsStr| -> io::Result<Manager> {
        let manager = Manager::at(socket)?;
        manager.tell(&format!("STATUS={status}"), Patience::Some)?;
        Ok(manager)
    };
    match told(&socket) {
        Ok(manager) => {
            notice!(
                "Supervised by systemd. Please make sure you set appropriate values for TimeoutStartSec and TimeoutStopSec in your service unit."
            );
            Some(manager)
        }
        Err(error) => {
            warning!("systemd supervision error: sd_notify: {error} ({})", socket.to_string_lossy());
            None
        }
    }
}

fn started_by_upstart() -> bool {
    if env::var_os("UPSTART_JOB").is_none() {
        warning!("upstart supervision requested, but UPSTART_JOB not found!");
        return false;
    }
    notice!("supervised by upstart, will stop to signal readiness.");
    raise(Signal::SIGSTOP).is_ok()
}

/// One line, of bounded length: names of hosts and masters are in it.
fn printable(status: &str) -> Cow<'_, str> {
    if status.len() <= STATUS_MAX && !status.chars().any(char::is_control) {
        return Cow::Borrowed(status);
    }
    let fits = status.char_indices().take_while(|(at, c)| at + c.len_utf8() <= STATUS_MAX);
    Cow::Owned(fits.map(|(_, c)| if c.is_control() { ' ' } else { c }).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use super::*;

    fn service(watchdog: Option<Duration>) -> (Service, impl Fn() -> Option<String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        let manager = Manager::at(path.as_os_str()).unwrap();
        let heard = move || {
            let _keep = &dir;
            let mut buf = [0; 4096];
            let len = socket.recv(&mut buf).ok()?;
            Some(String::from_utf8_lossy(&buf[..len]).into_owned())
        };
        let service = Service {
            supervisor: Supervision::Systemd,
            manager: Some(manager),
            watchdog,
            status: Mutex::default(),
        };
        (service, heard)
    }

    #[test]
    fn a_status_is_told_when_it_changes_and_as_one_short_line() {
        let (service, heard) = service(None);
        service.ready("up");
        assert_eq!(heard().as_deref(), Some("READY=1\nSTATUS=up"));
        service.status("up");
        assert_eq!(heard(), None);
        service.status("a\nREADY=0");
        assert_eq!(heard().as_deref(), Some("STATUS=a READY=0"));
        service.status(&"é".repeat(400));
        assert_eq!(heard().map(|text| text.len()), Some("STATUS=".len() + 512));
    }

    #[test]
    fn without_a_watchdog_there_is_no_sign_of_life_but_still_a_pulse() {
        let (service, heard) = service(None);
        service.alive();
        assert_eq!((heard(), service.pulse()), (None, Some(Duration::from_secs(1))));
    }

    #[test]
    fn the_pulse_is_four_times_that_of_the_watchdog_at_least() {
        let (quick, heard) = service(Some(Duration::from_millis(200)));
        quick.alive();
        assert_eq!(heard().as_deref(), Some("WATCHDOG=1"));
        assert_eq!(quick.pulse(), Some(Duration::from_millis(50)));
        assert_eq!(service(Some(Duration::from_secs(60))).0.pulse(), Some(Duration::from_secs(1)));
        assert_eq!(Service::start(Supervision::No, LOADING).pulse(), None);
    }

    #[test]
    fn what_else_systemd_hears() {
        let (service, heard) = service(None);
        service.takes_longer(Duration::from_millis(1500));
        assert_eq!(heard().as_deref(), Some("EXTEND_TIMEOUT_USEC=1500000"));
        service.reloading();
        let text = heard().unwrap();
        let usec = text.strip_prefix("RELOADING=1\nMONOTONIC_USEC=").unwrap().parse::<u64>().unwrap();
        assert!(usec > 0, "{text}");
        service.stopping();
        assert_eq!(heard().as_deref(), Some("STOPPING=1"));
    }

    #[test]
    fn a_manager_that_does_not_read_holds_nobody_up_and_hears_the_status_later() {
        let (service, heard) = service(Some(Duration::from_secs(1)));
        for _ in 0..2000 {
            service.alive();
        }
        service.status("busy");
        let mut count = 0;
        while let Some(text) = heard() {
            assert_eq!(text, "WATCHDOG=1");
            count += 1;
        }
        assert!((1..2000).contains(&count), "{count}");
        service.status("busy");
        assert_eq!(heard().as_deref(), Some("STATUS=busy"));
    }

    #[test]
    fn words() {
        assert_eq!(Supervision::from_name("SystemD"), Some(Supervision::Systemd));
        assert_eq!(Supervision::from_name("init"), None);
        assert_eq!(Service::start(Supervision::No, LOADING).supervisor(), "no");
    }
}
