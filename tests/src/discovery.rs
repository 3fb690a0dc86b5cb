//! Finding the master through Sentinels, the way a good client does.
//!
//! Two sources, whichever is first: `+switch-master` on every Sentinel's pub/sub, and,
//! while some connection is in trouble, `SENTINEL get-master-addr-by-name`. Of the
//! second only a *change* of a Sentinel's answer counts, so that one which is late, and
//! still names the old master, cannot send anybody back to it.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use redis::{Client, RedisResult};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::client;
use crate::deployment::MASTER_NAME;
use crate::error::{LabError, Result};
use crate::wait;

const ANSWER_LIMIT: Duration = Duration::from_millis(250);
const ASK_INTERVAL: Duration = Duration::from_millis(20);
const RECONNECT_PAUSE: Duration = Duration::from_millis(50);

/// Something that a Sentinel published.
#[derive(Debug, Clone)]
pub struct Event {
    /// When it reached us.
    pub at: Instant,
    /// The Sentinel's index in the deployment.
    pub sentinel: usize,
    /// The event's name, e.g. `+sdown`.
    pub channel: String,
    /// The event's text.
    pub message: String,
}

/// What is known of the master, kept up to date in the background until dropped.
#[derive(Debug)]
pub struct Discovery {
    shared: Arc<Shared>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Shared {
    events: Mutex<Vec<Event>>,
    master: watch::Sender<SocketAddr>,
    subscribed: AtomicUsize,
    troubled: AtomicUsize,
}

/// Held by a connection that lost its master; while any exists, the Sentinels are asked.
#[derive(Debug)]
pub struct Trouble(Arc<Shared>);

impl Discovery {
    /// Asks the Sentinels for the master and subscribes to all of them.
    pub async fn start(sentinels: &[SocketAddr]) -> Result<Discovery> {
        let first = *sentinels.first().ok_or_else(|| LabError::Other("there are no Sentinels".into()))?;
        let master = ask_for_master(first).await.map_err(LabError::redis(format!("asking {first}")))?;
        let shared = Arc::new(Shared {
            events: Mutex::default(),
            master: watch::Sender::new(master),
            subscribed: AtomicUsize::new(0),
            troubled: AtomicUsize::new(0),
        });
        let mut tasks = JoinSet::new();
        for (index, addr) in sentinels.iter().copied().enumerate() {
            tasks.spawn(listen(shared.clone(), index, addr));
            tasks.spawn(enquire(shared.clone(), addr, master));
        }
        let count = sentinels.len();
        wait::until("every Sentinel has our subscription", client::PATIENT, async || {
            let subscribed = shared.subscribed.load(Ordering::Relaxed);
            if subscribed == count { Ok(()) } else { Err(format!("{subscribed} of {count}")) }
        })
        .await?;
        Ok(Discovery { shared, _tasks: tasks })
    }

    /// The master's address, and a signal when it changes.
    pub fn master(&self) -> watch::Receiver<SocketAddr> {
        self.shared.master.subscribe()
    }

    /// The handle for connections that need to report trouble.
    pub fn reporter(&self) -> Reporter {
        Reporter(self.shared.clone())
    }

    /// The events from number `from` on.
    pub fn events(&self, from: usize) -> Vec<Event> {
        let events = self.shared.events.lock().unwrap_or_else(PoisonError::into_inner);
        events.get(from..).unwrap_or_default().to_vec()
    }
}

/// Lets connections report that they lost the master.
#[derive(Debug, Clone)]
pub struct Reporter(Arc<Shared>);

impl Reporter {
    /// Reports trouble until the returned value is dropped.
    pub fn trouble(&self) -> Trouble {
        self.0.troubled.fetch_add(1, Ordering::Relaxed);
        Trouble(self.0.clone())
    }
}

impl Drop for Trouble {
    fn drop(&mut self) {
        self.0.troubled.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Shared {
    fn learn(&self, addr: SocketAddr) {
        self.master.send_if_modified(|known| std::mem::replace(known, addr) != addr);
    }

    fn record(&self, event: Event) {
        if event.channel == "+switch-master"
            && let Some(addr) = switched_to(&event.message)
        {
            self.learn(addr);
        }
        self.events.lock().unwrap_or_else(PoisonError::into_inner).push(event);
    }
}

/// The new address in the text of `+switch-master`: name, old ip and port, new ip and port.
fn switched_to(message: &str) -> Option<SocketAddr> {
    let words: Vec<&str> = message.split_whitespace().collect();
    match words[..] {
        [MASTER_NAME, _, _, ip, port] => Some(SocketAddr::new(ip.parse().ok()?, port.parse().ok()?)),
        _ => None,
    }
}

async fn listen(shared: Arc<Shared>, sentinel: usize, addr: SocketAddr) {
    loop {
        // A Sentinel that is down is not this task's concern: it tries until it is back.
        let _ = listen_once(&shared, sentinel, addr).await;
        tokio::time::sleep(RECONNECT_PAUSE).await;
    }
}

async fn listen_once(shared: &Shared, sentinel: usize, addr: SocketAddr) -> RedisResult<()> {
    let mut pubsub = Client::open(format!("redis://{addr}/"))?.get_async_pubsub().await?;
    pubsub.psubscribe("*").await?;
    shared.subscribed.fetch_add(1, Ordering::Relaxed);
    let mut messages = pubsub.on_message();
    while let Some(message) = messages.next().await {
        let at = Instant::now();
        let text = String::from_utf8_lossy(message.get_payload_bytes()).into_owned();
        shared.record(Event { at, sentinel, channel: message.get_channel_name().into(), message: text });
    }
    shared.subscribed.fetch_sub(1, Ordering::Relaxed);
    Ok(())
}

async fn enquire(shared: Arc<Shared>, addr: SocketAddr, mut last: SocketAddr) {
    let mut pause = tokio::time::interval(ASK_INTERVAL);
    pause.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        pause.tick().await;
        if shared.troubled.load(Ordering::Relaxed) > 0
            && let Ok(answer) = ask_for_master(addr).await
            && answer != last
        {
            last = answer;
            shared.learn(answer);
        }
    }
}

async fn ask_for_master(sentinel: SocketAddr) -> RedisResult<SocketAddr> {
    let mut connection = client::connect(sentinel, ANSWER_LIMIT).await?;
    let (ip, port): (String, u16) = client::cmd(&["SENTINEL", "get-master-addr-by-name", MASTER_NAME])
        .query_async(&mut connection)
        .await?;
    let ip =
        ip.parse().map_err(|_| (redis::ErrorKind::UnexpectedReturnType, "the master's address is no IP"))?;
    Ok(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_new_address_of_a_switch() {
        let addr = switched_to("mymaster 127.0.0.1 7000 127.0.0.1 7001");
        assert_eq!(addr, Some("127.0.0.1:7001".parse().unwrap()));
        assert_eq!(switched_to("other 127.0.0.1 7000 127.0.0.1 7001"), None);
        assert_eq!(switched_to("mymaster 127.0.0.1 7000 host 7001"), None);
    }
}
