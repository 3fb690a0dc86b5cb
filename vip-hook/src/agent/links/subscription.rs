//! The connection that hears of failovers as soon as a Sentinel does.
//!
//! What it says is a hint and nothing more: it makes a round of questions due. So nothing is asked after a connection
//! that was lost for a while.

use std::time::Duration;

use redoubt_wire::log;
use redoubt_wire::resp::value::Value;
use tokio::time::Instant;

use super::connection::Connection;
use super::{BackOff, answers};
use crate::agent::{Event, Events, LinkId};
use crate::config::{Endpoint, Login};

/// How often the other end is asked whether it is there.
const PING_INTERVAL: Duration = Duration::from_secs(1);
/// After how long without a word the connection is made anew.
const PATIENCE: Duration = Duration::from_millis(2_500);

/// Subscribes, for as long as it is polled.
pub(super) async fn run(link: LinkId, sentinel: Endpoint, login: Login, events: Events) {
    let mut back_off = BackOff::default();
    let mut told = false;
    loop {
        if let Ok(mut connection) = Connection::open(&sentinel, &login).await {
            let mut heard = false;
            // Why else it ended, the other connection tells.
            let ended = listen(link, &mut connection, &events, &mut heard).await;
            if let Err(Ended::Refused(why)) = ended
                && !std::mem::replace(&mut told, true)
            {
                log::warning!(
                    "Sentinel {sentinel} refuses the subscription to its events, so that failovers are noticed by asking alone: \
                     {why}"
                );
            }
            if heard {
                told = false;
                back_off.succeeded();
            }
        }
        tokio::time::sleep_until(back_off.next()).await;
    }
}

/// Why nothing is heard any more.
enum Ended {
    Refused(String),
    Lost,
}

impl From<String> for Ended {
    fn from(_: String) -> Ended {
        Ended::Lost
    }
}

async fn listen(
    link: LinkId,
    connection: &mut Connection,
    events: &Events,
    heard: &mut bool,
) -> Result<(), Ended> {
    let mut subscribe = vec!["SUBSCRIBE"];
    subscribe.extend(answers::CHANNELS);
    connection.send(&[&subscribe]).await?;
    let mut last = Instant::now();
    let mut ping = last + PING_INTERVAL;
    loop {
        tokio::select! {
            biased;
            message = connection.next() => {
                let message = message?;
                if let Value::Error(text) = &message {
                    return Err(Ended::Refused(answers::printable(text)));
                }
                *heard = true;
                last = Instant::now();
                if let Some((name, hint)) = answers::event(&message) {
                    drop(events.send(Event::Hint { link, name, hint }).await);
                }
            }
            () = tokio::time::sleep_until(ping) => {
                if last + PATIENCE <= Instant::now() {
                    return Err(Ended::Lost);
                }
                connection.send(&[&["PING"]]).await?;
                ping += PING_INTERVAL;
            }
        }
    }
}
