//! A model data node: what a Sentinel sees of a Redis server. It answers PING and INFO, carries
//! hello messages, changes its role in a transaction, pauses its writes, restarts from the role in
//! its file, and is gone, stopped or loading at times.

use std::fmt::Write;

use redoubt_sentinel::core::value::Value;

use super::net::{Command, ConnKey, Message, Way};
use super::replication::{Link, Stream};
use super::time::{MS, SECOND, Us};
use super::world::World;

/// The port of every node.
pub const NODE_PORT: u16 = 6379;

/// Whether a process runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Life {
    /// It does.
    Running,
    /// Stopped by a signal: its kernel goes on.
    Stopped,
    /// There is none.
    Dead,
}

/// A data node.
#[derive(Debug)]
pub struct Node {
    /// Which master it belongs to.
    pub group: usize,
    /// Whether its process runs.
    pub life: Life,
    /// Its replica priority.
    pub priority: u32,
    /// The node that it replicates; none for a master.
    pub of: Option<usize>,
    /// The same as its configuration file has it.
    of_on_disk: Option<usize>,
    /// How far its data lag behind its master's.
    pub lag: Us,
    /// Its stream of writes while it is a master.
    pub(super) stream: Stream,
    /// Its link while it is a replica.
    pub(super) link: Link,
    /// It loads its data until then.
    loading_until: Us,
    /// CLIENT PAUSE holds writes back until then.
    pub(super) paused_until: Us,
    /// It was a master when it died and takes no writes before a replica or the Sentinels confirm it.
    pub guarded: bool,
    /// It refuses to change its role.
    pub refuses: bool,
    /// How far its data were when it became a master.
    promoted_at: u64,
    run_id: u64,
}

impl Node {
    /// A node that has been in its role for long.
    pub fn new(group: usize, of: Option<usize>, lag: Us, number: u64) -> Self {
        Node {
            group,
            life: Life::Running,
            priority: 100,
            of,
            of_on_disk: of,
            lag,
            stream: Stream::at(1000),
            link: Link::settled(1000),
            loading_until: 0,
            paused_until: 0,
            guarded: false,
            refuses: false,
            promoted_at: 0,
            run_id: number << 32,
        }
    }
}

fn simple(text: &[u8]) -> Value {
    Value::Simple(text.to_vec())
}

fn is(command: &[Vec<u8>], nth: usize, word: &str) -> bool {
    command.get(nth).is_some_and(|w| w.eq_ignore_ascii_case(word.as_bytes()))
}

impl World {
    /// The process of a node dies.
    pub fn kill_node(&mut self, n: usize) {
        self.trace(|w| format!("{} dies", w.node_name(n)));
        self.nodes[n].life = Life::Dead;
        self.drop_all_servers(self.host_of_node(n));
        self.replication_changed();
    }

    /// A node's process is started, with what its files hold.
    pub fn start_node(&mut self, n: usize) {
        self.trace(|w| format!("{} starts", w.node_name(n)));
        let offset = self.offset(n);
        let loading = self.plan.sync / 10;
        let now = self.now;
        let node = &mut self.nodes[n];
        node.life = Life::Running;
        node.run_id += 1;
        node.loading_until = now + loading;
        node.paused_until = 0;
        let of = node.of_on_disk;
        // The role that it died with may be younger than its file.
        node.of = None;
        node.stream = Stream::at(offset);
        node.guarded = self.plan.rejoin_guard && of.is_none();
        self.set_role(n, of);
        self.replication_changed();
    }

    /// SIGSTOP.
    pub fn stop_node(&mut self, n: usize) {
        if self.nodes[n].life == Life::Running {
            self.trace(|w| format!("{} is stopped", w.node_name(n)));
            self.nodes[n].life = Life::Stopped;
            self.replication_changed();
        }
    }

    /// SIGCONT.
    pub fn continue_node(&mut self, n: usize) {
        if self.nodes[n].life == Life::Stopped {
            self.trace(|w| format!("{} goes on", w.node_name(n)));
            self.nodes[n].life = Life::Running;
            self.replication_changed();
            self.receive_arrived(self.host_of_node(n));
        }
    }

    /// A node's machine vanishes with all that ran on it: nobody resets its connections.
    pub fn lose_node(&mut self, n: usize) {
        self.trace(|w| format!("the machine of {} is gone", w.node_name(n)));
        self.nodes[n].life = Life::Dead;
        self.ways.set_gone(self.host_of_node(n), true);
        self.replication_changed();
    }

    /// A node's machine is back, its process is not.
    pub fn return_node(&mut self, n: usize) {
        self.trace(|w| format!("the machine of {} is back", w.node_name(n)));
        let host = self.host_of_node(n);
        self.ways.set_gone(host, false);
        self.drop_all_servers(host);
        self.ways_changed();
    }

    /// Commands arrive at a node.
    pub(super) fn serve_node(&mut self, n: usize, key: ConnKey, commands: Vec<Command>) {
        for command in commands {
            let Some(conn) = self.conns.get_mut(key).filter(|c| c.server) else { return };
            let reply = match conn.session.queued.as_mut() {
                Some(queued) if !is(&command, 0, "exec") => {
                    queued.push(command);
                    Some(simple(b"QUEUED"))
                }
                Some(_) => {
                    let queued = conn.session.queued.take().unwrap_or_default();
                    let replies = queued.iter().map(|c| self.node_command(n, key, c)).collect();
                    Some(Value::Array(replies))
                }
                None if is(&command, 0, "multi") => {
                    conn.session.queued = Some(Vec::new());
                    Some(simple(b"OK"))
                }
                None if is(&command, 0, "subscribe") => {
                    conn.session.subscribed = true;
                    None
                }
                None => Some(self.node_command(n, key, &command)),
            };
            if let Some(value) = reply {
                self.transmit(key, Way::Back, Message::Reply(value));
            }
        }
    }

    fn node_command(&mut self, n: usize, key: ConnKey, command: &[Vec<u8>]) -> Value {
        if is(command, 0, "ping") {
            return if self.now < self.nodes[n].loading_until {
                Value::Error(b"LOADING Redis is loading the dataset in memory".to_vec())
            } else {
                simple(b"PONG")
            };
        }
        if is(command, 0, "info") {
            return Value::Bulk(self.info(n).into_bytes());
        }
        if is(command, 0, "publish") {
            return Value::Integer(self.publish(n, command));
        }
        if is(command, 0, "slaveof") || is(command, 0, "replicaof") {
            return self.slaveof(n, key, command);
        }
        if is(command, 0, "config") && is(command, 1, "rewrite") {
            self.nodes[n].of_on_disk = self.nodes[n].of;
        } else if is(command, 0, "client") && is(command, 1, "kill") {
            return Value::Integer(self.kill_clients(n, key, is(command, 3, "pubsub")));
        } else if is(command, 0, "client") && is(command, 1, "pause") {
            let text = command.get(2).and_then(|w| std::str::from_utf8(w).ok());
            let Some(ms) = text.and_then(|t| t.parse::<u64>().ok()) else {
                return Value::Error(b"ERR timeout is not an integer or out of range".to_vec());
            };
            self.nodes[n].paused_until = self.now + ms * MS;
            self.trace(|w| format!("{} pauses its writes for {ms} ms", w.node_name(n)));
            self.replication_changed();
        } else if is(command, 0, "client") && is(command, 1, "unpause") {
            self.nodes[n].paused_until = 0;
            self.trace(|w| format!("{} lets writes go on", w.node_name(n)));
            self.replication_changed();
        }
        simple(b"OK")
    }

    fn slaveof(&mut self, n: usize, key: ConnKey, command: &[Vec<u8>]) -> Value {
        let Some(from) = self.conns.get(key).map(|c| c.sentinel) else { return simple(b"OK") };
        if self.nodes[n].refuses {
            self.trace(|w| format!("{} refuses {}", w.node_name(n), w.sentinel_name(from)));
            self.check_refused(from, n);
            return Value::Error(
                b"NOPERM User sentinel has no permissions to run the 'slaveof' command".to_vec(),
            );
        }
        if is(command, 1, "no") {
            self.trace(|w| format!("{} becomes a master, by {}", w.node_name(n), w.sentinel_name(from)));
            self.nodes[n].guarded = false;
            self.nodes[n].promoted_at = self.offset(n);
            self.set_role(n, None);
            return simple(b"OK");
        }
        let host = command.get(1).map(|w| String::from_utf8_lossy(w)).unwrap_or_default();
        let Some(of) = self.node_at(&host) else {
            return Value::Error(b"ERR no such host".to_vec());
        };
        self.trace(|w| {
            format!("{} follows {}, by {}", w.node_name(n), w.node_name(of), w.sentinel_name(from))
        });
        if self.nodes[n].of.is_none() && self.nodes[of].of.is_none() {
            self.lost_writes += self.offset(n).saturating_sub(self.nodes[of].promoted_at);
        }
        self.nodes[n].guarded = false;
        self.set_role(n, Some(of));
        simple(b"OK")
    }

    fn kill_clients(&mut self, n: usize, by: ConnKey, subscribers: bool) -> i64 {
        let host = self.host_of_node(n);
        let mut killed = 0;
        for key in self.accepted[host].clone() {
            let subscribed = self.conns.get(key).is_some_and(|c| c.session.subscribed);
            if key != by && subscribed == subscribers {
                self.drop_server(key);
                killed += 1;
            }
        }
        killed
    }

    fn publish(&mut self, n: usize, command: &[Vec<u8>]) -> i64 {
        let [_, channel, text] = command else { return 0 };
        let run_id = format!("{:040x},", self.nodes[n].run_id);
        if channel == b"__sentinel__:confirm" && self.nodes[n].guarded && text.starts_with(run_id.as_bytes())
        {
            self.trace(|w| format!("{} is confirmed", w.node_name(n)));
            self.nodes[n].guarded = false;
            self.replication_changed();
        }
        let mut heard = 0;
        for at in 0..self.accepted[self.host_of_node(n)].len() {
            let key = self.accepted[self.host_of_node(n)][at];
            if self.conns.get(key).is_some_and(|c| c.session.subscribed) {
                let parts = [b"message".to_vec(), channel.clone(), text.clone()];
                let message = Value::Array(parts.into_iter().map(Value::Bulk).collect());
                self.transmit(key, Way::Back, Message::Reply(message));
                heard += 1;
            }
        }
        heard
    }

    fn info(&self, n: usize) -> String {
        let node = &self.nodes[n];
        let mut text = format!("run_id:{:040x}\r\n", node.run_id);
        let offset = self.offset(n);
        let told = match node.of {
            None => self.info_of_master(n, offset, &mut text),
            Some(of) => self.info_of_replica(n, of, offset, &mut text),
        };
        told.expect("a string takes everything");
        text
    }

    fn info_of_master(&self, n: usize, offset: u64, text: &mut String) -> std::fmt::Result {
        text.write_str("role:master\r\n")?;
        if self.nodes[n].guarded {
            text.write_str("master_rejoin_guard:waiting\r\n")?;
        }
        let mut count = 0;
        for r in (0..self.nodes.len()).filter(|r| self.nodes[*r].of == Some(n) && self.link_up(*r)) {
            let at = self.offset(r);
            let host = self.node_host_name(r);
            write!(text, "slave{count}:ip={host},port={NODE_PORT},state=online,offset={at},lag=0\r\n")?;
            count += 1;
        }
        write!(text, "connected_slaves:{count}\r\nmaster_repl_offset:{offset}\r\n")
    }

    fn info_of_replica(&self, n: usize, of: usize, offset: u64, text: &mut String) -> std::fmt::Result {
        let (host, up) = (self.node_host_name(of), self.link_up(n));
        write!(
            text,
            "role:slave\r\nmaster_host:{host}\r\nmaster_port:{NODE_PORT}\r\nmaster_link_status:{}\r\n\
             slave_repl_offset:{offset}\r\nslave_priority:{}\r\nreplica_announced:1\r\n",
            if up { "up" } else { "down" },
            self.nodes[n].priority,
        )?;
        if !up {
            write!(text, "master_link_down_since_seconds:{}\r\n", self.link_down_for(n) / SECOND)?;
        }
        write!(text, "connected_slaves:0\r\nmaster_repl_offset:{offset}\r\n")
    }
}
