//! What goes wrong, and how it ends.

use rand::Rng;

use super::host::Process;
use super::plan::Fault;
use super::world::{ADDRESSES, Event, World, settings, virtual_address};
use crate::core::types::{Action, Input, Output};

impl World {
    pub(super) fn strike(&mut self, fault: Fault) {
        self.say(|_| format!("{fault:?}"));
        match fault {
            Fault::CutFromSentinels { host, lasts } => {
                self.cut_from_sentinels[host] += 1;
                self.give_up_cut_connections();
                self.after(lasts, Event::Mend(fault));
            }
            Fault::CutFromClients { host, lasts } => {
                self.cut_from_clients[host] += 1;
                self.after(lasts, Event::Mend(fault));
            }
            Fault::CutFromAll { host, lasts } => {
                self.cut_from_sentinels[host] += 1;
                self.cut_from_clients[host] += 1;
                self.give_up_cut_connections();
                self.after(lasts, Event::Mend(fault));
            }
            Fault::AgentKilled { host, lasts, epoch_lost } => {
                self.hosts[host].agent = Process::Dead;
                self.hosts[host].boot += 1;
                self.hosts[host].connections.fill(None);
                if epoch_lost {
                    self.hosts[host].stored_epoch = None;
                }
                self.after(lasts, Event::Boot { host });
            }
            Fault::AgentHangs { host, lasts } => {
                if self.hosts[host].agent == Process::Runs {
                    self.hosts[host].agent = Process::Hangs;
                    self.after(lasts, Event::Resume { host });
                }
            }
            Fault::NodeKilled { host, lasts } | Fault::NodeHangs { host, lasts } => {
                let hangs = matches!(fault, Fault::NodeHangs { .. });
                self.hosts[host].node = if hangs { Process::Hangs } else { Process::Dead };
                self.hosts[host].node_inbox.clear();
                self.after(lasts, Event::NodeReturns { host });
            }
            Fault::SentinelRestarts { sentinel, lasts } => {
                self.sentinels[sentinel].process = Process::Dead;
                self.sentinels[sentinel].inbox.clear();
                self.sentinels[sentinel].first_connection = u64::MAX;
                self.break_connections(sentinel);
                if self.failover_under_way == Some(sentinel) {
                    self.failover_under_way = None;
                }
                self.after(lasts, Event::SentinelReturns { sentinel });
            }
            Fault::SentinelHangs { sentinel, lasts } => {
                if self.sentinels[sentinel].process == Process::Runs {
                    self.sentinels[sentinel].process = Process::Hangs;
                    self.after(lasts, Event::SentinelReturns { sentinel });
                }
            }
            Fault::ConnectionLost { host, sentinel } => {
                if let Some(connection) = self.hosts[host].connections[sentinel] {
                    self.disconnect(host, sentinel, connection);
                }
            }
            Fault::MonitoredAnew { sentinel } => {
                for index in 0..self.sentinels.len() {
                    if sentinel.is_none_or(|only| only == index) {
                        self.sentinels[index].monitor_anew(self.now);
                    }
                }
            }
            Fault::ManualFailover { sentinel } => {
                if self.sentinels[sentinel].process == Process::Runs && self.failover_under_way.is_none() {
                    self.start_failover(sentinel);
                }
            }
            Fault::Wiped { host } => {
                for number in 0..ADDRESSES {
                    let address = &mut self.hosts[host].kernel[number];
                    if address.present {
                        address.present = false;
                        address.ours = false;
                        self.tell_of_address(host, number, 1);
                    }
                }
            }
            Fault::PlatformFails { host, lasts } => {
                self.hosts[host].platform_fails = true;
                self.after(lasts, Event::Mend(fault));
            }
            Fault::Intruder { lasts } => {
                self.intruder = true;
                self.intruder_claims();
                self.after(lasts, Event::Mend(fault));
            }
            Fault::LinkFlaps { host, lasts } => {
                self.hosts[host].link_up = false;
                self.tell_of_link(host);
                self.after(lasts, Event::Mend(fault));
            }
            Fault::ClockJumps { host, by } => self.hosts[host].clock.offset += by,
            Fault::Maintenance { host, lasts } => {
                self.wish(host, Input::Maintenance(true));
                self.hosts[host].maintenance = true;
                self.after(lasts, Event::Mend(fault));
            }
            Fault::Release { host } => {
                self.wish(host, Input::Release);
                self.hosts[host].released = true;
            }
            Fault::Reload { host } => self.reload(host),
        }
        self.begin_waiting_anew();
    }

    pub(super) fn mend(&mut self, fault: Fault) {
        self.say(|_| format!("over: {fault:?}"));
        match fault {
            Fault::CutFromSentinels { host, .. } => self.cut_from_sentinels[host] -= 1,
            Fault::CutFromClients { host, .. } => self.cut_from_clients[host] -= 1,
            Fault::CutFromAll { host, .. } => {
                self.cut_from_sentinels[host] -= 1;
                self.cut_from_clients[host] -= 1;
            }
            Fault::PlatformFails { host, .. } => self.hosts[host].platform_fails = false,
            Fault::Intruder { .. } => self.intruder = false,
            Fault::LinkFlaps { host, .. } => {
                self.hosts[host].link_up = true;
                self.tell_of_link(host);
            }
            Fault::Maintenance { host, .. } => {
                self.wish(host, Input::Maintenance(false));
                self.hosts[host].maintenance = false;
                self.hosts[host].released = false;
            }
            _ => {}
        }
        if matches!(fault, Fault::CutFromSentinels { .. } | Fault::CutFromAll { .. }) {
            self.send_stalled();
        }
        self.begin_waiting_anew();
    }

    /// Faults draw their ends within the run, so by now or soon after all is mended; what an operator left is put back.
    pub(super) fn calm(&mut self) {
        self.say(|_| "calm from here on".into());
        for host in 0..self.hosts.len() {
            self.wish(host, Input::Maintenance(false));
            self.hosts[host].maintenance = false;
            self.hosts[host].released = false;
        }
    }

    fn wish(&mut self, host: usize, input: Input) {
        let boot = self.hosts[host].boot;
        self.deliver(host, boot, input);
    }

    fn tell_of_link(&mut self, host: usize) {
        for number in 0..ADDRESSES {
            self.tell_of_address(host, number, 1);
        }
    }

    /// Takes the second address out of an agent's settings, or puts it in. The first one must not be touched.
    fn reload(&mut self, host: usize) {
        if self.hosts[host].agent != Process::Runs {
            return;
        }
        let addresses = 3 - self.hosts[host].holder.settings().addresses.len();
        let settings = settings(&self.plan, host, addresses);
        let it = &mut self.hosts[host];
        let now = it.clock.show(self.now);
        it.holder.tick(now);
        let held = it.holder.held;
        self.carry_outputs(host, held);
        let it = &mut self.hosts[host];
        let held = it.holder.held;
        let kept: Vec<Option<usize>> = (0..settings.sentinels).map(Some).collect();
        it.holder.reload(now, settings, &kept);
        let mut outputs = Vec::new();
        while let Some(output) = it.holder.poll() {
            outputs.push(output);
        }
        let dropped = |output: &Output| match output {
            Output::Platform { index, action: Action::Drop } => {
                self.hosts[host].holder.address(*index) == Some(&virtual_address(0))
            }
            _ => false,
        };
        if held && outputs.iter().any(dropped) {
            self.broken(format!("agent {host} drops an address that stays over a reload"));
        }
        for output in outputs {
            self.output(host, output);
        }
        self.carry_outputs(host, held);
        for number in 0..ADDRESSES {
            self.tell_of_address(host, number, 1);
        }
    }

    pub(super) fn node_returns(&mut self, host: usize) {
        let it = &mut self.hosts[host];
        it.node = Process::Runs;
        let boot = it.boot;
        for round in std::mem::take(&mut it.node_inbox) {
            self.after(1, Event::AskNode { host, boot, round });
        }
    }

    pub(super) fn sentinel_returns(&mut self, sentinel: usize) {
        let now = self.now;
        match self.sentinels[sentinel].process {
            Process::Dead => {
                self.sentinels[sentinel].restart(now);
                self.sentinels[sentinel].first_connection = self.next_connection + 1;
                self.say(|_| format!("Sentinel {sentinel} starts"));
            }
            Process::Hangs => {
                self.sentinels[sentinel].process = Process::Runs;
                let mut inbox = std::mem::take(&mut self.sentinels[sentinel].inbox);
                // It may look at its connections in any order.
                if self.random.random_bool(0.5) {
                    inbox.sort_by_key(|message| std::cmp::Reverse(message.connection));
                }
                for message in inbox {
                    self.reach_sentinel(message);
                }
            }
            Process::Runs => {}
        }
    }
}
