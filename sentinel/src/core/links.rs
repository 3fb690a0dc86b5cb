//! Connecting, the greeting on a new connection, sending, and what ends a connection.
//!
//! A connection that breaks is made anew at once, and then at the interval of the PINGs: a
//! process that restarts is seen within one interval, and one that is gone costs one refused
//! connection per interval. An attempt that hangs gives way to another several times within
//! down-after, so that one lost packet is not taken for a lost process.
//!
//! A host name is looked up with every attempt, but no attempt waits for the answer: it goes to the
//! address known so far, and is made anew if the name turns out to have moved.

use super::link::{Channel, ConnId, ConnState, LinkKey, Pending};
use super::model::{FailoverState, MasterId, Target};
use super::names::is_ip;
use super::timers::{Due, Ms, PING_INTERVAL_MS};
use super::{Core, Level, Output};

/// A process that has been out of reach this long is tried at the full PING period.
const LONG_SILENCE_MS: Ms = 10_000;

/// Bounds of the time that an attempt to connect is given; inside them it is a quarter of down-after. The
/// lower one leaves room for a handshake around the world.
const CONNECT_PATIENCE_MS: std::ops::RangeInclusive<Ms> = 300..=5000;

/// The channel on which Sentinels find each other.
pub(super) const HELLO_CHANNEL: &str = "__sentinel__:hello";

/// A command as its words.
pub(super) fn words(parts: &[&str]) -> Vec<Vec<u8>> {
    parts.iter().map(|p| p.as_bytes().to_vec()).collect()
}

impl Core {
    /// The interval of PINGs and of attempts to connect: a twentieth of the shortest
    /// down-after of the masters behind the link, within bounds, and twice in down-after at least.
    pub(super) fn probe_interval(&self, key: LinkKey) -> Ms {
        let users = self.links.get(&key).map(|l| l.users.as_slice()).unwrap_or_default();
        let masters = users.iter().filter_map(|(id, _)| self.index(*id));
        let down_after = masters.map(|m| self.masters[m].cfg.down_after_ms).min().unwrap_or(Ms::MAX);
        (down_after / 20)
            .clamp(*PING_INTERVAL_MS.start(), *PING_INTERVAL_MS.end())
            .min(self.timers.ping_period)
            .min(down_after / 2)
            .max(1)
    }

    /// Connects what is not connected and due, and gives up attempts that hang.
    pub(super) fn connect_due(&mut self, m: usize, target: &Target, now: Ms, due: &mut Due) {
        let Some(key) = self.instance(m, target).map(|i| i.link) else { return };
        let patience = (self.masters[m].cfg.down_after_ms / 4)
            .clamp(*CONNECT_PATIENCE_MS.start(), *CONNECT_PATIENCE_MS.end());
        for channel in [Channel::Commands, Channel::PubSub] {
            let Some(link) = self.links.get_mut(&key).filter(|l| l.addr.port != 0) else { return };
            if channel == Channel::PubSub && link.up().is_none() {
                // Follows the other one, which tells whether anybody is there.
                return;
            }
            match link.state_mut(channel).copied() {
                Some(ConnState::Connecting { since, .. }) if due.passed(now, since + patience) => {
                    self.close_channel(key, channel, now);
                    self.open(key, channel, now);
                    due.at(now + patience);
                }
                Some(ConnState::Down { retry_at }) if due.passed(now, retry_at) => {
                    self.open(key, channel, now);
                    due.at(now + patience.min(self.timers.ping_period));
                }
                _ => {}
            }
        }
    }

    fn open(&mut self, key: LinkKey, channel: Channel, now: Ms) {
        let Some(addr) = self.links.get(&key).map(|link| link.addr.clone()) else { return };
        if channel == Channel::Commands {
            self.look_up_again(&addr.host, now);
        }
        let retry_at = now + self.timers.ping_period;
        let id = ConnId(self.fresh_id());
        let Some(link) = self.links.get_mut(&key) else { return };
        if !is_ip(&addr.ip) {
            // The name has no address yet; when one is found, the connection is made at once.
            if let Some(state) = link.state_mut(channel) {
                *state = ConnState::Down { retry_at };
            }
            return;
        }
        if let Some(state) = link.state_mut(channel) {
            *state = ConnState::Connecting { id, since: now };
            self.conns.insert(id, (key, channel));
            self.out.push_back(Output::Connect { conn: id, addr });
        }
    }

    /// Closes one connection of a link; the next attempt is due at `retry_at`.
    pub(super) fn close_channel(&mut self, key: LinkKey, channel: Channel, retry_at: Ms) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let Some(state) = link.state_mut(channel) else { return };
        let id = state.id();
        *state = ConnState::Down { retry_at };
        if channel == Channel::Commands {
            link.refused_since = None;
            self.forget_pending(key);
        }
        if let Some(conn) = id {
            self.conns.remove(&conn);
            self.out.push_back(Output::Close { conn });
        }
    }

    /// Closes both connections of a link.
    pub(super) fn close_link(&mut self, key: LinkKey, retry_at: Ms) {
        self.close_channel(key, Channel::Commands, retry_at);
        self.close_channel(key, Channel::PubSub, retry_at);
    }

    /// Replies that will not come any more.
    fn forget_pending(&mut self, key: LinkKey) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let pending = std::mem::take(&mut link.pending);
        for (id, target) in link.users.clone() {
            let Some(m) = self.index(id) else { continue };
            let master = &mut self.masters[m];
            match target {
                Target::Peer(run_id) => {
                    if let Some(peer) = master.peers.get_mut(&run_id) {
                        peer.asking = false;
                    }
                }
                // Whether the promotion was carried out is unknown: it is sent again, to the same replica.
                Target::Replica(name) if pending.contains(&Pending::Exec) => {
                    if let Some(f) = master.failover.as_mut()
                        && f.state == FailoverState::WaitPromotion
                        && f.promoted.as_ref() == Some(&name)
                    {
                        f.state = FailoverState::SendSlaveofNoOne;
                    }
                }
                _ => {}
            }
        }
    }

    pub(super) fn connected(&mut self, conn: ConnId, local_ip: Option<String>, now: Ms) {
        let Some(&(key, channel)) = self.conns.get(&conn) else { return };
        let Some(link) = self.links.get_mut(&key) else { return };
        if let Some(state) = link.state_mut(channel) {
            *state = ConnState::Up { id: conn, since: now };
        }
        match channel {
            Channel::Commands => {
                link.refused_since = None;
                link.local_ip = local_ip;
                self.greet(key, "cmd");
                self.ping(key, now);
                // What a process knows of itself may have changed while it was out of reach.
                for (id, target) in self.links.get(&key).map(|l| l.users.clone()).unwrap_or_default() {
                    if let Some(i) = self.index(id).and_then(|m| self.masters[m].instance_mut(&target)) {
                        i.info_asked_at = None;
                        i.published_at = None;
                    }
                }
            }
            Channel::PubSub => {
                link.pubsub_heard_at = now;
                self.greet(key, "pubsub");
                let subscribe = self.mapped(key, "SUBSCRIBE");
                let commands = vec![words(&[&subscribe, HELLO_CHANNEL])];
                self.out.push_back(Output::Send { conn, commands });
            }
        }
        self.evaluate_users(key, now);
    }

    /// An attempt that the host refused: the process is gone, or not yet back.
    pub(super) fn refused(&mut self, conn: ConnId, now: Ms) {
        let since = self.conns.get(&conn).and_then(|(key, _)| self.links.get(key)?.refused_since);
        self.ended(conn, "Connection refused", Some(since.unwrap_or(now)), now);
    }

    pub(super) fn disconnected(&mut self, conn: ConnId, reason: &str, now: Ms) {
        self.ended(conn, reason, None, now);
    }

    /// The limit of `down-on-refused` for the process behind a link, if it has one.
    pub(super) fn refusal_limit(&self, key: LinkKey) -> Option<Ms> {
        match self.first_user(key)? {
            (m, Target::Master) => Some(self.masters[m].cfg.down_on_refused_ms).filter(|ms| *ms > 0),
            _ => None,
        }
    }

    fn ended(&mut self, conn: ConnId, reason: &str, refused_since: Option<Ms>, now: Ms) {
        let Some((key, channel)) = self.conns.remove(&conn) else { return };
        let mut interval = self.probe_interval(key);
        if let Some(limit) = self.refusal_limit(key) {
            // A process that is back within the limit must be seen in time.
            interval = interval.min((limit / 4).max(*PING_INTERVAL_MS.start()));
        }
        let Some(link) = self.links.get_mut(&key) else { return };
        if channel == Channel::Commands {
            link.refused_since = refused_since;
        }
        if link.silent_ms(now) > LONG_SILENCE_MS {
            // Nobody waits for this process any more: there is no haste.
            interval = interval.max(self.timers.ping_period);
        }
        let Some(state) = link.state_mut(channel) else { return };
        let attempt = matches!(state, ConnState::Connecting { .. });
        let retry_at = match *state {
            ConnState::Up { since, .. } if now - since >= interval => now,
            ConnState::Up { since, .. } | ConnState::Connecting { since, .. } => {
                (since + interval).max(now + 1)
            }
            ConnState::Down { retry_at } => retry_at,
        };
        *state = ConnState::Down { retry_at };
        if channel == Channel::Commands {
            self.forget_pending(key);
        }
        let name =
            if channel == Channel::Commands { "-cmd-link-reconnection" } else { "-pubsub-link-reconnection" };
        if let Some((m, target)) = self.first_user(key) {
            self.event(Level::Debug, name, m, &target, &format!(" #{reason}"));
        }
        if attempt {
            // It is as it was; only when to try again is new, and for how long nobody has listened.
            self.evaluate_users_alone(key, now);
        } else {
            self.evaluate_users(key, now);
        }
    }

    fn first_user(&self, key: LinkKey) -> Option<(usize, Target)> {
        let (id, target) = self.links.get(&key)?.users.first()?;
        Some((self.index(*id)?, target.clone()))
    }

    /// The name of a command at the other end; `rename-command` speaks of data nodes.
    fn mapped(&self, key: LinkKey, command: &str) -> String {
        match self.first_user(key) {
            Some((m, Target::Master | Target::Replica(_))) => self.masters[m].cfg.command(command),
            _ => command.to_string(),
        }
    }

    /// User and password for the other end, if it wants one.
    fn credentials(&self, key: LinkKey) -> Option<(Option<String>, String)> {
        match self.first_user(key)? {
            (_, Target::Peer(_)) => match &self.globals.sentinel_pass {
                Some(pass) => Some((self.globals.sentinel_user.clone(), pass.clone())),
                None => self.globals.requirepass.clone().map(|pass| (None, pass)),
            },
            (m, _) => {
                let cfg = &self.masters[m].cfg;
                cfg.auth_pass.clone().map(|pass| (cfg.auth_user.clone(), pass))
            }
        }
    }

    fn greet(&mut self, key: LinkKey, kind: &str) {
        let Some(link) = self.links.get(&key) else { return };
        let pubsub = link.pubsub.and_then(|s| s.id()).filter(|_| kind == "pubsub");
        let name = format!("sentinel-{}-{kind}", &self.id[..8]);
        let mut commands = Vec::new();
        if let Some((user, pass)) = self.credentials(key) {
            let auth = self.mapped(key, "AUTH");
            let args: Vec<&str> =
                std::iter::once(auth.as_str()).chain(user.as_deref()).chain([pass.as_str()]).collect();
            commands.push((words(&args), Pending::Ignored("AUTH")));
        }
        commands.push((words(&[&self.mapped(key, "CLIENT"), "SETNAME", &name]), Pending::Ignored("CLIENT")));
        match pubsub {
            Some(conn) => {
                let commands = commands.into_iter().map(|(c, _)| c).collect();
                self.out.push_back(Output::Send { conn, commands });
            }
            None => self.send(key, commands),
        }
    }

    /// Sends commands on the command connection, if it stands.
    pub(super) fn send(&mut self, key: LinkKey, commands: Vec<(Vec<Vec<u8>>, Pending)>) {
        let Some(link) = self.links.get_mut(&key) else { return };
        let Some(conn) = link.up() else { return };
        let (commands, pending): (Vec<_>, Vec<_>) = commands.into_iter().unzip();
        link.pending.extend(pending);
        self.out.push_back(Output::Send { conn, commands });
    }

    /// Sends one command to an instance under the name it knows it by.
    pub(super) fn send_to(&mut self, m: usize, target: &Target, parts: &[&str], pending: Pending) {
        let Some(key) = self.instance(m, target).map(|i| i.link) else { return };
        let mut command = words(parts);
        if let (Some(first), Some(word)) = (command.first_mut(), parts.first()) {
            *first = self.mapped(key, word).into_bytes();
        }
        self.send(key, vec![(command, pending)]);
    }

    pub(super) fn ping(&mut self, key: LinkKey, now: Ms) {
        let ping = self.mapped(key, "PING");
        if let Some(link) = self.links.get_mut(&key) {
            link.pinged_at = Some(now);
            link.unanswered_since = link.unanswered_since.or(Some(now));
        }
        self.send(key, vec![(words(&[&ping]), Pending::Ping)]);
    }

    /// Changes a node's master, or makes it one, in one transaction, and asks at once what became of it.
    pub(super) fn send_slaveof(&mut self, m: usize, target: &Target, master: Option<(String, u16)>) -> bool {
        let Some(key) = self.instance(m, target).map(|i| i.link) else { return false };
        if self.connected_to(m, target).is_none() {
            return false;
        }
        let (host, port) = match master {
            Some((host, port)) => (host, port.to_string()),
            None => ("NO".to_string(), "ONE".to_string()),
        };
        let cfg = &self.masters[m].cfg;
        let client = cfg.command("CLIENT");
        let commands = vec![
            (words(&[&cfg.command("MULTI")]), Pending::Ignored("MULTI")),
            (words(&[&cfg.command("SLAVEOF"), &host, &port]), Pending::Ignored("SLAVEOF")),
            (words(&[&cfg.command("CONFIG"), "REWRITE"]), Pending::Ignored("CONFIG")),
            (words(&[&client, "KILL", "TYPE", "normal"]), Pending::Ignored("CLIENT")),
            (words(&[&client, "KILL", "TYPE", "pubsub"]), Pending::Ignored("CLIENT")),
            (words(&[&cfg.command("EXEC")]), Pending::Exec),
            (words(&[&cfg.command("INFO"), "replication"]), Pending::Info { full: false }),
        ];
        self.send(key, commands);
        true
    }

    /// Drops the connections of a master's nodes, so that they are made with its new credentials.
    pub(super) fn drop_node_links(&mut self, m: usize, now: Ms) {
        for target in self.masters[m].targets() {
            if !matches!(target, Target::Peer(_))
                && let Some(key) = self.instance(m, &target).map(|i| i.link)
            {
                self.close_link(key, now);
            }
        }
        self.masters[m].due = now;
    }

    /// Drops the connections to the other Sentinels.
    pub(super) fn drop_peer_links(&mut self, now: Ms) {
        let keys: Vec<LinkKey> =
            self.links.iter().filter(|(_, l)| l.pubsub.is_none()).map(|(k, _)| *k).collect();
        keys.into_iter().for_each(|key| self.close_link(key, now));
        self.masters.iter_mut().for_each(|m| m.due = now);
    }

    /// The id of the master behind an index, for what outlives this call.
    pub(super) fn master_id(&self, m: usize) -> MasterId {
        self.masters[m].id
    }
}
