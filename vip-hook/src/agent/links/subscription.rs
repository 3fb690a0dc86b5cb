//! The connection that hears of failovers as soon as a Sentinel does.
//!
//! What it says is a hint and nothing more: it makes a round of questions due. So nothing is asked after a connection
//! that was lost for a while.

use std::time::Duration;

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
    loop {
        if let Ok(mut connection) = Connection::open(&sentinel, &login).await {
            let mut heard = false;
            // Why it ended, the other connection tells.
            let _ = listen(link, &mut connection, &events, &mut heard).await;
            if heard {
                back_off.succeeded();
            }
        }
        tokio::time::sleep_until(back_off.next()).await;
    }
}

async fn listen(
    link: LinkId,
    connection: &mut Connection,
    events: &Events,
    heard: &mut bool,
) -> Result<(), String> {
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
                if matches!(message, Value::Error(_)) {
                    return Err("it refuses the subscription".into());
                }
                *heard = true;
                last = Instant::now();
                if let Some((name, hint)) = answers::event(&message) {
                    drop(events.send(Event::Hint { link, name, hint }).await);
                }
            }
            () = tokio::time::sleep_until(ping) => {
                if last + PATIENCE <= Instant::now() {
                    return Err("silent".into());
                }
                connection.send(&[&["PING"]]).await?;
                ping += PING_INTERVAL;
            }
        }
    }
}
