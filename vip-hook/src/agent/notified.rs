//! Calls of the verbs of the command line, and those calls of scripts that wait for their end.
//!
//! A script call is a hint: it makes a round of questions due, and what the round proves is done. The call is answered
//! when the host is as the call says that it should be, or when there is a reason that it never will be.

use std::time::Duration;

use redoubt_wire::log;
use tokio::sync::oneshot;

use super::host::Host;
use super::{Agent, Call, MasterId, Running};
use crate::clock;
use crate::control::{NOTIFY_LIMIT, Notification, Reply, Request};
use crate::core::types::{Hint, Input, Now};

/// A script call whose end is waited for.
#[derive(Debug)]
pub(super) struct Waiting {
    master: MasterId,
    to_us: bool,
    since: Now,
    /// When the caller is asked to call again.
    pub(super) until: Now,
    reply: oneshot::Sender<Reply>,
}

impl<H: Host> Agent<H> {
    pub(super) fn call(&mut self, call: Call) {
        let Call { request, peer, reply } = call;
        let answer = match request {
            Request::Ping => {
                Reply::Pong { version: env!("CARGO_PKG_VERSION").into(), pid: std::process::id() }
            }
            Request::Status => Reply::Status(self.status()),
            Request::Notify(notification) => return self.notified(notification, &peer, reply),
            Request::Maintenance { on, master } => {
                let what = format!("maintenance {}", if on { "on" } else { "off" });
                self.for_masters(master.as_deref(), &what, &peer, |agent, id| agent.maintenance(id, on))
            }
            Request::Release { master } => {
                self.for_masters(master.as_deref(), "release", &peer, |agent, id| {
                    agent.input(id, Input::Release);
                })
            }
        };
        // A caller that went away needs no reply.
        drop(reply.send(answer));
    }

    fn for_masters(
        &mut self,
        name: Option<&str>,
        what: &str,
        peer: &str,
        mut act: impl FnMut(&mut Self, MasterId),
    ) -> Reply {
        let chosen: Vec<(MasterId, String)> = self
            .masters
            .values()
            .filter(|running| !running.leaving && name.is_none_or(|name| running.config.name == name))
            .map(|running| (running.id, running.config.name.clone()))
            .collect();
        if chosen.is_empty() {
            return Reply::Refused { text: self.unknown(name.unwrap_or_default()) };
        }
        let mut done = Vec::new();
        let mut missing = false;
        for (id, name) in chosen {
            log::notice!("Master {name}: {what}, asked for by {peer}");
            act(self, id);
            let Some(running) = self.masters.get(&id) else { continue };
            let view = running.holder.view(clock::now());
            missing |= view.addresses.iter().any(|address| address.on) && !view.holds;
            done.push(format!("{name}: {} {}", view.why, view.next));
        }
        let text = done.join("\n");
        if missing { Reply::Retry { text } } else { Reply::Done { text } }
    }

    fn maintenance(&mut self, id: MasterId, on: bool) {
        if let Some(running) = self.masters.get_mut(&id) {
            running.store.change(id, &self.events, |record| record.maintenance = on);
        }
        self.input(id, Input::Maintenance(on));
    }

    fn unknown(&self, name: &str) -> String {
        let known: Vec<&str> = self.config.masters.iter().map(|master| &*master.name).collect();
        format!("no master '{name}' in {}; there is {}", self.config_file.display(), known.join(", "))
    }

    fn notified(&mut self, event: Notification, peer: &str, reply: oneshot::Sender<Reply>) {
        let Notification { master, role, from_ip, from_port, to_ip, to_port, .. } = &event;
        let extra = [
            ("epoch", event.config_epoch.map(|epoch| epoch.to_string())),
            ("event", event.event_id.clone()),
            ("reason", event.reason.clone()),
        ];
        let extra: String = extra
            .into_iter()
            .filter_map(|(name, value)| value.map(|value| format!(", {name} {value}")))
            .collect();
        log::notice!(
            "Master {master}: a Sentinel's script ({role}) tells of a move from {from_ip}:{from_port} to \
             {to_ip}:{to_port}{extra}; called by {peer}"
        );
        let Some(running) = self.running(master) else {
            let text = format!("not this host's affair: {}", self.unknown(master));
            return answer(master, reply, Reply::Done { text });
        };
        let id = running.id;
        let settings = running.holder.settings();
        let to = to_ip.parse().is_ok_and(|ip| settings.host_addresses.contains(&ip));
        let to_us = to && *to_port == settings.port;
        let now = clock::now();
        let view = running.holder.view(now);
        if let Some(epoch) = event.config_epoch.filter(|epoch| *epoch < view.epoch) {
            let text = format!("an old story of epoch {epoch}, epoch {} is known; nothing to do", view.epoch);
            return answer(master, reply, Reply::Done { text });
        }
        self.input(id, Input::Hint(Hint::Notified { to_us }));
        if to_ip.parse::<std::net::IpAddr>().is_err() {
            let text = format!(
                "'{to_ip}' is no address, so it is not known whether this host is meant; with 'sentinel announce-hostnames \
                 no' Sentinel gives one. What is so, the Sentinels are asked all the same"
            );
            return answer(master, reply, Reply::Refused { text });
        }
        self.waiting.push(Waiting { master: id, to_us, since: now, until: now + NOTIFY_LIMIT, reply });
    }

    /// Answers the calls of which the end is there.
    pub(super) fn settle_calls(&mut self) {
        let now = clock::now();
        let (masters, stopping) = (&self.masters, self.stopping.is_some());
        for waiting in self.waiting.extract_if(.., |waiting| {
            now >= waiting.until
                || masters.get(&waiting.master).is_none_or(|running| waiting.is_over(running))
        }) {
            match masters.get(&waiting.master) {
                Some(running) if stopping => {
                    let text = "the agent is ending; the one after it looks for itself".into();
                    answer(&running.config.name, waiting.reply, Reply::Retry { text });
                }
                Some(running) if !running.leaving => {
                    let outcome = waiting.outcome(running);
                    answer(&running.config.name, waiting.reply, outcome);
                }
                _ => {
                    let text = "not this host's affair any more: taken out of the configuration".into();
                    answer("", waiting.reply, Reply::Done { text });
                }
            }
        }
    }
}

impl Waiting {
    fn is_over(&self, running: &Running) -> bool {
        if self.to_us { running.is_on() || is_barred(running) } else { running.is_off() }
    }

    fn outcome(&self, running: &Running) -> Reply {
        let names = |joined: &str| {
            let one =
                |a: &crate::core::types::VirtualAddress| format!("{} {joined} {}", a.address, a.interface);
            running.config.addresses.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let (on, off) = (running.is_on(), running.is_off());
        let text = match self.to_us {
            true if on => self.happened(running, &names("taken on"), &format!("{} already", names("was on"))),
            true if is_barred(running) => running.holder.view(clock::now()).why,
            false if off => self.happened(
                running,
                &names("released on"),
                "not this host's affair: it holds nothing of it",
            ),
            _ => {
                let limit = NOTIFY_LIMIT.as_secs();
                let view = running.holder.view(clock::now());
                return Reply::Retry {
                    text: format!("not done within {limit} s. {} {}", view.why, view.next),
                };
            }
        };
        Reply::Done { text }
    }

    /// Says when it happened, which may be before the call: the agent has other ways to hear of a failover.
    fn happened(&self, running: &Running, what: &str, long_ago: &str) -> String {
        let Some(at) = running.changed else { return long_ago.into() };
        match at.checked_sub(self.since) {
            Some(after) => format!("{what} after {} ms", after.as_millis()),
            None if self.since - at < LONG_AGO => {
                format!("{what} {} ms before the call", (self.since - at).as_millis())
            }
            None => long_ago.into(),
        }
    }
}

/// After so long a call is not about that change any more.
const LONG_AGO: Duration = Duration::from_secs(30);

/// The user does not want it to be taken, so there is nothing to wait for.
fn is_barred(running: &Running) -> bool {
    let view = running.holder.view(clock::now());
    view.maintenance || view.released
}

fn answer(master: &str, reply: oneshot::Sender<Reply>, outcome: Reply) {
    match &outcome {
        Reply::Done { text } => log::notice!("Master {master}: to the script: {text}"),
        Reply::Retry { text } | Reply::Refused { text } => {
            log::warning!("Master {master}: to the script: {text}");
        }
        Reply::Pong { .. } | Reply::Status(_) => {}
    }
    // A script that was ended meanwhile needs no reply.
    drop(reply.send(outcome));
}

const _: () = assert!(NOTIFY_LIMIT.as_millis() < Duration::from_secs(5).as_millis());
