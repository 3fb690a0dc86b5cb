//! Connections and the periodic commands. A link that is not whole is made anew at a tick, at
//! most once in a ping period; what is sent on it meanwhile waits for the connection.

use std::collections::VecDeque;

use redoubt_sentinel::core::link::ConnId;
use redoubt_sentinel::core::model::Addr;
use redoubt_sentinel::core::timers::Ms;
use redoubt_sentinel::core::value::Value;
use redoubt_sentinel::core::{Output, info::Info};

use super::{Classic, Instance, Target};
use crate::sim::net::Command;

/// Names a link.
pub(super) type LinkId = u64;

/// What the reply to a command means.
#[derive(Debug)]
enum Expected {
    Nothing,
    Pong,
    Info,
    Published,
    /// The answer of a peer about the master of that number.
    Answer(u64),
}

/// The connections to one process: two for a node, one for a Sentinel, shared by all its masters.
#[derive(Debug)]
pub(super) struct Link {
    users: Vec<(u64, Target)>,
    commands: Option<ConnId>,
    hellos: Option<ConnId>,
    up: bool,
    /// What was sent before the connection stood.
    early: Vec<Command>,
    expected: VecDeque<Expected>,
    pub(super) whole: bool,
    local_ip: Option<String>,
    /// When the oldest PING without an answer was sent.
    pub(super) unanswered_at: Option<Ms>,
    pinged_at: Ms,
    pub(super) available_at: Ms,
    pub(super) pong_at: Ms,
    tried_at: Ms,
    pub(super) connected_at: Ms,
    pub(super) subscribed_at: Ms,
    pub(super) heard_at: Ms,
}

const HELLO_CHANNEL: &str = "__sentinel__:hello";
const MAX_PENDING: usize = 100;

fn words(parts: &[&str]) -> Command {
    parts.iter().map(|p| p.as_bytes().to_vec()).collect()
}

impl Classic {
    pub(super) fn new_link(&mut self, now: Ms) -> LinkId {
        let link = Link {
            users: Vec::new(),
            commands: None,
            hellos: None,
            up: false,
            early: Vec::new(),
            expected: VecDeque::new(),
            whole: false,
            local_ip: None,
            unanswered_at: Some(now),
            pinged_at: 0,
            available_at: now,
            pong_at: now,
            tried_at: 0,
            connected_at: 0,
            subscribed_at: 0,
            heard_at: 0,
        };
        let id = self.fresh_id();
        self.links.insert(id, link);
        id
    }

    pub(super) fn attach(&mut self, link: LinkId, master: u64, target: Target) {
        if let Some(link) = self.links.get_mut(&link) {
            link.users.push((master, target));
        }
    }

    /// Takes an instance's hold off its link; the last hold closes it.
    pub(super) fn release(&mut self, instance: &Instance, master: u64) {
        let Some(link) = self.links.get_mut(&instance.link) else { return };
        link.users.retain(|(of, _)| *of != master);
        if link.users.is_empty() {
            self.close(instance.link, true);
            self.close(instance.link, false);
            self.links.remove(&instance.link);
        }
    }

    /// The master's link starts anew with its new address. When it last tried to connect is not forgotten,
    /// which is what makes the original suspect a new master at times.
    pub(super) fn restart_link(&mut self, id: LinkId, now: Ms) {
        self.close(id, true);
        self.close(id, false);
        if let Some(link) = self.links.get_mut(&id) {
            link.unanswered_at = Some(now);
            link.pinged_at = 0;
            link.available_at = now;
            link.pong_at = now;
        }
    }

    /// Closes one of the two connections.
    pub(super) fn close(&mut self, id: LinkId, commands: bool) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let conn = if commands { link.commands.take() } else { link.hellos.take() };
        let Some(conn) = conn else { return };
        self.conns.remove(&conn);
        self.out.push_back(Output::Close { conn });
        self.broken(id, commands);
    }

    fn broken(&mut self, id: LinkId, commands: bool) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.whole = false;
        if commands {
            link.up = false;
            link.early.clear();
            link.expected.clear();
        }
    }

    pub(super) fn has_commands(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|l| l.commands.is_some())
    }

    pub(super) fn has_hellos(&self, id: LinkId) -> bool {
        self.links.get(&id).is_some_and(|l| l.hellos.is_some())
    }

    pub(super) fn reconnect(&mut self, m: usize, target: &Target, now: Ms) {
        let Some(instance) = self.masters[m].instance(target) else { return };
        let (id, addr) = (instance.link, instance.addr.clone());
        let period = self.timers.ping_period;
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.whole || now.saturating_sub(link.tried_at) < period {
            return;
        }
        link.tried_at = now;
        let name = format!("sentinel-{}", &self.id[..8]);
        if !self.has_commands(id) {
            let conn = self.open(id, &addr);
            if let Some(link) = self.links.get_mut(&id) {
                link.commands = Some(conn);
                link.connected_at = now;
            }
            self.send(id, words(&["CLIENT", "SETNAME", &format!("{name}-cmd")]), Expected::Nothing);
            self.ping(id, now);
        }
        if !matches!(target, Target::Peer(_)) && !self.has_hellos(id) {
            let conn = self.open(id, &addr);
            if let Some(link) = self.links.get_mut(&id) {
                link.hellos = Some(conn);
                link.subscribed_at = now;
            }
        }
        if let Some(link) = self.links.get_mut(&id) {
            link.whole = true;
        }
    }

    fn open(&mut self, link: LinkId, addr: &Addr) -> ConnId {
        let conn = ConnId(self.fresh_id());
        self.conns.insert(conn, link);
        self.out.push_back(Output::Connect { conn, addr: addr.clone() });
        conn
    }

    pub(super) fn connected(&mut self, conn: ConnId, local_ip: Option<String>) {
        let Some(link) = self.conns.get(&conn).and_then(|id| self.links.get_mut(id)) else { return };
        if link.hellos == Some(conn) {
            let name = format!("sentinel-{}-pubsub", &self.id[..8]);
            let commands = vec![words(&["CLIENT", "SETNAME", &name]), words(&["SUBSCRIBE", HELLO_CHANNEL])];
            self.out.push_back(Output::Send { conn, commands });
        } else {
            link.up = true;
            link.local_ip = local_ip;
            let commands = std::mem::take(&mut link.early);
            self.out.push_back(Output::Send { conn, commands });
        }
    }

    pub(super) fn disconnected(&mut self, conn: ConnId) {
        let Some(id) = self.conns.remove(&conn) else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        let commands = link.commands == Some(conn);
        if commands {
            link.commands = None;
        } else {
            link.hellos = None;
        }
        self.broken(id, commands);
    }

    fn send(&mut self, id: LinkId, command: Command, expected: Expected) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let Some(conn) = link.commands else { return };
        link.expected.push_back(expected);
        if link.up {
            self.out.push_back(Output::Send { conn, commands: vec![command] });
        } else {
            link.early.push(command);
        }
    }

    fn ping(&mut self, id: LinkId, now: Ms) {
        self.send(id, words(&["PING"]), Expected::Pong);
        if let Some(link) = self.links.get_mut(&id) {
            link.pinged_at = now;
            link.unanswered_at = link.unanswered_at.or(Some(now));
        }
    }

    pub(super) fn ask(&mut self, m: usize, id: LinkId, command: &[&str]) {
        let number = self.masters[m].number;
        self.send(id, words(command), Expected::Answer(number));
    }

    /// INFO, PING and hello, each when it is due.
    pub(super) fn probe(&mut self, m: usize, target: &Target, now: Ms) {
        let master = &self.masters[m];
        let Some(instance) = master.instance(target) else { return };
        let (id, info_at, published_at) = (instance.link, instance.info_at, instance.published_at);
        let Some(link) = self.links.get(&id).filter(|l| l.whole) else { return };
        if link.expected.len() >= MAX_PENDING * link.users.len() {
            return;
        }
        let (pong_at, pinged_at) = (link.pong_at, link.pinged_at);
        let closely = match target {
            Target::Replica(addr) => {
                master.o_down
                    || master.failover.is_some()
                    || master.replicas.iter().any(|r| r.me.addr == *addr && r.link_down_ms != 0)
            }
            _ => false,
        };
        let info_period = if closely { self.timers.info_period.min(1000) } else { self.timers.info_period };
        let ping_period = master.cfg.down_after_ms.min(self.timers.ping_period);
        if !matches!(target, Target::Peer(_)) && (info_at == 0 || now.saturating_sub(info_at) > info_period) {
            self.send(id, words(&["INFO"]), Expected::Info);
        }
        if now.saturating_sub(pong_at) > ping_period && now.saturating_sub(pinged_at) > ping_period / 2 {
            self.ping(id, now);
        }
        if now.saturating_sub(published_at) > self.timers.publish_period {
            self.publish(m, id);
        }
    }

    fn publish(&mut self, m: usize, id: LinkId) {
        let Some(own) = self.links.get(&id).and_then(|l| l.local_ip.clone()) else { return };
        let master = &self.masters[m];
        let addr = master.current_addr();
        let text = format!(
            "{own},{},{},{},{},{},{},{}",
            self.port, self.id, self.epoch, master.cfg.name, addr.ip, addr.port, master.config_epoch
        );
        self.send(id, words(&["PUBLISH", HELLO_CHANNEL, &text]), Expected::Published);
    }

    /// Changes a node's master, or makes it one. Replies are not looked at.
    pub(super) fn send_slaveof(&mut self, link: LinkId, to: Option<&Addr>) -> bool {
        if self.links.get(&link).is_none_or(|l| l.commands.is_none()) {
            return false;
        }
        let (host, port) = match to {
            Some(addr) => (addr.ip.clone(), addr.port.to_string()),
            None => ("NO".to_string(), "ONE".to_string()),
        };
        let all = [
            words(&["MULTI"]),
            words(&["SLAVEOF", &host, &port]),
            words(&["CONFIG", "REWRITE"]),
            words(&["CLIENT", "KILL", "TYPE", "normal"]),
            words(&["CLIENT", "KILL", "TYPE", "pubsub"]),
            words(&["EXEC"]),
        ];
        let Some(l) = self.links.get_mut(&link) else { return false };
        let Some(conn) = l.commands else { return false };
        l.expected.extend(all.iter().map(|_| Expected::Nothing));
        if l.up {
            self.out.push_back(Output::Send { conn, commands: all.to_vec() });
        } else {
            l.early.extend(all);
        }
        true
    }

    /// A reply, or a message on the hello channel.
    pub(super) fn reply(&mut self, conn: ConnId, value: &Value, now: Ms) {
        let Some(&id) = self.conns.get(&conn) else { return };
        let Some(link) = self.links.get_mut(&id) else { return };
        if link.hellos == Some(conn) {
            link.heard_at = now;
            if let Some([_, Value::Bulk(_), Value::Bulk(text)]) = value.as_slice() {
                let text = String::from_utf8_lossy(text).into_owned();
                self.hello(&text, now);
            }
            return;
        }
        let Some(expected) = link.expected.pop_front() else { return };
        match expected {
            Expected::Nothing => {}
            Expected::Pong => {
                link.pong_at = now;
                let text = value.as_bytes().unwrap_or_default();
                if [&b"PONG"[..], b"LOADING", b"MASTERDOWN"].iter().any(|w| text.starts_with(w)) {
                    link.available_at = now;
                    link.unanswered_at = None;
                }
            }
            Expected::Info => {
                let user = link.users.first().cloned();
                if let (Some((number, target)), Value::Bulk(text)) = (user, value) {
                    let info = Info::parse(&String::from_utf8_lossy(text));
                    self.info(number, &target, &info, now);
                }
            }
            Expected::Published => {
                if value.error_text().is_none() {
                    for (number, target) in link.users.clone() {
                        if let Some(m) = self.index(number)
                            && let Some(instance) = self.masters[m].instance_mut(&target)
                        {
                            instance.published_at = now;
                        }
                    }
                }
            }
            Expected::Answer(number) => self.answered(number, id, value, now),
        }
    }

    pub(super) fn index(&self, number: u64) -> Option<usize> {
        self.masters.iter().position(|m| m.number == number)
    }
}
