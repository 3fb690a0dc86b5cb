//! systemd, as far as a service hears and speaks to it: a socket, and what was heard there and when.

use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixDatagram};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use redoubt_lab::scratch::Scratch;
use redoubt_lab::wait;

use crate::LIMIT;

/// What was heard, and when.
type Heard = Arc<Mutex<Vec<(Instant, String)>>>;

/// A thread listens, so that the times are right.
pub struct Manager {
    /// The value of `NOTIFY_SOCKET`.
    name: String,
    heard: Heard,
}

impl Manager {
    pub fn at_path(scratch: &Scratch) -> Manager {
        let path = scratch.path().join("notify");
        Manager::new(UnixDatagram::bind(&path).unwrap(), path.display().to_string())
    }

    pub fn at_abstract_name(scratch: &Scratch) -> Manager {
        let name = format!("{}/notify", scratch.path().display());
        let addr = UnixAddr::from_abstract_name(&name).unwrap();
        Manager::new(UnixDatagram::bind_addr(&addr).unwrap(), format!("@{name}"))
    }

    fn new(socket: UnixDatagram, name: String) -> Manager {
        socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let heard = Heard::default();
        let listening = Arc::downgrade(&heard);
        // Ends with the manager.
        std::thread::spawn(move || {
            let mut buf = [0; 4096];
            while let Some(heard) = listening.upgrade() {
                if let Ok(len) = socket.recv(&mut buf) {
                    let text = String::from_utf8_lossy(&buf[..len]).into_owned();
                    heard.lock().unwrap().push((Instant::now(), text));
                }
            }
        });
        Manager { name, heard }
    }

    fn heard(&self) -> MutexGuard<'_, Vec<(Instant, String)>> {
        self.heard.lock().unwrap()
    }

    /// How much has been heard so far: a point from which to wait for more.
    pub fn count(&self) -> usize {
        self.heard().len()
    }

    /// Waits for a message that was heard after `from` others; the number of all up to it.
    pub async fn hear(&self, from: usize, what: &str, is: impl Fn(&str) -> bool) -> usize {
        let what = format!("systemd hears {what}");
        let heard = wait::until(&what, LIMIT, async || {
            let heard = self.heard();
            let found = heard.iter().skip(from).position(|(_, text)| is(text));
            found.map(|at| from + at + 1).ok_or_else(|| format!("{:?}", &heard[from.min(heard.len())..]))
        });
        heard.await.unwrap()
    }

    pub async fn hear_status(&self, from: usize, status: &str) -> usize {
        self.hear(from, status, |text| text.lines().any(|line| line == format!("STATUS={status}"))).await
    }

    /// When signs of life were heard, from `from` on.
    pub fn signs_of_life(&self, from: usize) -> Vec<Instant> {
        let heard = self.heard();
        heard.iter().skip(from).filter(|(_, text)| text == "WATCHDOG=1").map(|(at, _)| *at).collect()
    }

    /// Waits for `count` signs of life, counted from `from`.
    pub async fn live(&self, from: usize, count: usize) -> Vec<Instant> {
        let enough = wait::until("systemd hears more signs of life", LIMIT, async || {
            let signs = self.signs_of_life(from);
            if signs.len() >= count { Ok(signs) } else { Err(format!("{} of {count}", signs.len())) }
        });
        enough.await.unwrap()
    }

    pub fn has_heard(&self, from: usize, part: &str) -> bool {
        self.heard().iter().skip(from).any(|(_, text)| text.contains(part))
    }

    /// What systemd puts into the environment of a service that has to be heard of this often.
    pub fn variables(&self, watchdog: Duration) -> [String; 2] {
        [format!("NOTIFY_SOCKET={}", self.name), format!("WATCHDOG_USEC={}", watchdog.as_micros())]
    }
}

/// The longest time between two of these.
pub fn longest_gap(times: &[Instant]) -> Duration {
    times.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default()
}
