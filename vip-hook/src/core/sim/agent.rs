//! The driver around an agent's state machine, its platform, and the kernel behind that.

use rand::Rng;

use super::Flaw;
use super::host::Process;
use super::plan::Fault;
use super::sentinel::{Said, ToSentinel};
use super::time::{MS, Us};
use super::world::{ADDRESSES, Event, World, virtual_address};
use crate::core::types::{Action, AddressState, Answer, Input, NodeRole, OnQuorumLoss, Output};

impl World {
    /// Something reaches the process of an agent, if it is still the one it was meant for.
    pub(super) fn deliver(&mut self, host: usize, boot: u64, input: Input) {
        if self.hosts[host].boot != boot {
            return;
        }
        match self.hosts[host].agent {
            Process::Runs => self.run_agent(host, Some(input)),
            Process::Hangs => self.hosts[host].inbox.push_back(input),
            Process::Dead => {}
        }
    }

    /// One turn of the driver's loop: an input or the timer, then what comes out, then the next timer.
    pub(super) fn run_agent(&mut self, host: usize, input: Option<Input>) {
        let it = &mut self.hosts[host];
        let now = it.clock.show(self.now);
        let held = it.holder.held;
        match input {
            Some(input) => it.holder.handle(now, input),
            None => it.holder.tick(now),
        }
        self.carry_outputs(host, held);
    }

    pub(super) fn carry_outputs(&mut self, host: usize, held_before: bool) {
        while let Some(output) = self.hosts[host].holder.poll() {
            self.output(host, output);
        }
        self.note_taking(host, held_before);
        let it = &mut self.hosts[host];
        it.timer += 1;
        let (boot, timer) = (it.boot, it.timer);
        let due = it.clock.when(it.holder.next_wake());
        if due <= self.now {
            self.outcome.turns_at_once += 1;
            if self.outcome.turns_at_once > 1000 {
                self.broken(format!("agent {host} is always due"));
            }
        } else {
            self.outcome.turns_at_once = 0;
        }
        let late = if self.random.random_ratio(1, 50) { self.plan.weather.lateness } else { 200 };
        let late = self.random.random_range(0..=late);
        self.after(due.saturating_sub(self.now) + late, Event::Wake { host, boot, timer });
    }

    fn note_taking(&mut self, host: usize, held_before: bool) {
        let holder = &self.hosts[host].holder;
        if holder.held == held_before {
            return;
        }
        let Some(proof) = holder.proof.filter(|_| holder.held) else { return };
        self.outcome.takings += 1;
        let anew = |(_, fault): &(Us, Fault)| matches!(fault, Fault::MonitoredAnew { .. });
        if proof.epoch < self.highest_taken && !self.plan.faults.iter().any(anew) {
            let before = self.highest_taken;
            self.broken(format!(
                "host {host} takes by epoch {}, after a taking by epoch {before}",
                proof.epoch
            ));
        }
        self.highest_taken = self.highest_taken.max(proof.epoch);
    }

    pub(super) fn output(&mut self, host: usize, output: Output) {
        let boot = self.hosts[host].boot;
        match output {
            Output::AskNode { round } => {
                let delay = self.random.random_range(20..=self.plan.weather.usual.min(5 * MS));
                self.after(delay, Event::AskNode { host, boot, round });
            }
            Output::AskSentinel { round, sentinel, .. } => match self.hosts[host].connections[sentinel] {
                Some(connection) => {
                    self.send(ToSentinel { host, boot, sentinel, connection, what: Said::Ask { round } });
                }
                None => {
                    let answer = Answer::Nothing("not connected".into());
                    let input = Input::Sentinel { round, sentinel, answer };
                    self.after(0, Event::Input { host, boot, input });
                }
            },
            Output::LookAtSentinel { round, sentinel } => {
                if let Some(connection) = self.hosts[host].connections[sentinel] {
                    self.send(ToSentinel { host, boot, sentinel, connection, what: Said::Look { round } });
                }
            }
            Output::TellReleased { .. } => {
                self.say(|_| format!("agent {host} tells that it released"));
                for sentinel in 0..self.sentinels.len() {
                    if let Some(connection) = self.hosts[host].connections[sentinel]
                        && !self.sentinels[sentinel].classic
                    {
                        self.send(ToSentinel { host, boot, sentinel, connection, what: Said::Release });
                    }
                }
            }
            Output::Platform { index, action } => {
                self.hosts[host].platform.push_back((index, action));
                match action {
                    Action::Hold { .. } => self.note_adding(host, index),
                    Action::Drop => self.check_drop(host, index),
                    Action::Announce | Action::Probe => {}
                }
                self.go_on_with_platform(host);
            }
            Output::Persist { epoch } => self.hosts[host].stored_epoch = Some(epoch),
            Output::Log { level, text } => self.say(|_| format!("agent {host} {level:?}: {text}")),
        }
    }

    /// From now on it may be there by the agent's doing, also if the platform says that it failed.
    fn note_adding(&mut self, host: usize, index: usize) {
        let Some(number) = self.number_of(host, index) else { return };
        let address = &mut self.hosts[host].kernel[number];
        address.may_be_removed |= !address.present || address.ours;
    }

    /// Nothing is removed that was not added.
    fn check_drop(&mut self, host: usize, index: usize) {
        let Some(number) = self.number_of(host, index) else { return };
        let address = self.hosts[host].kernel[number];
        if address.present && !address.may_be_removed {
            self.broken(format!("agent {host} removes address {number}, which it never added"));
        }
    }

    /// Which of the world's addresses an index of an agent names.
    fn number_of(&self, host: usize, index: usize) -> Option<usize> {
        let address = self.hosts[host].holder.address(index)?;
        (0..ADDRESSES).find(|number| virtual_address(*number) == *address)
    }

    fn go_on_with_platform(&mut self, host: usize) {
        if self.hosts[host].platform_busy || self.hosts[host].platform.is_empty() {
            return;
        }
        self.hosts[host].platform_busy = true;
        let most = if self.random.random_ratio(1, 20) { self.plan.weather.platform } else { 300 };
        let boot = self.hosts[host].boot;
        let span = self.random.random_range(20..=most);
        self.after(span, Event::Platform { host, boot });
    }

    /// The platform, a part of the agent's process, makes its system call.
    pub(super) fn carry_out(&mut self, host: usize, boot: u64) {
        if self.hosts[host].boot != boot || self.hosts[host].agent == Process::Dead {
            return;
        }
        if self.hosts[host].agent == Process::Hangs {
            // It goes on when the process does.
            self.hosts[host].platform_busy = false;
            return;
        }
        self.hosts[host].platform_busy = false;
        let Some((index, action)) = self.hosts[host].platform.pop_front() else { return };
        let done = match self.number_of(host, index) {
            Some(number) => self.system_call(host, number, action),
            None => Ok(()),
        };
        let input = match done {
            Ok(()) => Input::Done { index, what: action },
            Err(error) => Input::Failed { index, what: action, error },
        };
        self.go_on_with_platform(host);
        self.deliver(host, boot, input);
    }

    fn system_call(&mut self, host: usize, number: usize, action: Action) -> Result<(), String> {
        let fence = self.flaw != Some(Flaw::NoFence);
        let foreign = self.hosts[host].kernel[number].present && !self.hosts[host].kernel[number].ours;
        if self.hosts[host].platform_fails && action != Action::Probe {
            return Err("the platform fails for a test".into());
        }
        let now = self.now;
        let granularity = self.random.random_range(4 * MS..=10 * MS);
        let it = &mut self.hosts[host];
        match action {
            Action::Hold { until } => {
                // Whole milliseconds, rounded down, as the kernel takes them; it may fire late by its granularity.
                let remaining = until.saturating_sub(it.clock.show(now)).as_millis() as Us * MS;
                if remaining < MS {
                    return Err("the lease is over".into());
                }
                if foreign {
                    return Err("the address is there and not ours".into());
                }
                let address = &mut it.kernel[number];
                let appeared = !address.present;
                address.present = true;
                address.ours = true;
                let clock = it.clock;
                let address = &mut it.kernel[number];
                let fires =
                    clock.when(clock.show(now) + std::time::Duration::from_micros(remaining)) + granularity;
                // Without a fence the valid lifetime of the address, whole seconds, is all there is.
                address.live_until = if fence { fires } else { now + 2_000_000 };
                self.say(|_| format!("host {host} holds {number} until {:.3} ms", fires as f64 / 1000.0));
                self.check_exclusion(host, number);
                if appeared {
                    self.tell_of_address(host, number, 1);
                }
            }
            Action::Drop => {
                let address = &mut it.kernel[number];
                let vanished = address.present && address.ours;
                if address.ours {
                    address.live_until = 0;
                    address.present = false;
                    address.ours = false;
                }
                self.say(|_| format!("host {host} drops {number}"));
                if vanished {
                    self.tell_of_address(host, number, 1);
                }
            }
            Action::Announce => self.claim(host, number),
            Action::Probe => self.probe(host, number),
        }
        Ok(())
    }

    /// Never two hosts that answer for an address. It can begin to be so only when one begins, or goes on, to hold.
    fn check_exclusion(&mut self, host: usize, number: usize) {
        if self.plan.on_quorum_loss == OnQuorumLoss::Hold {
            return;
        }
        let now = self.now;
        let others = (0..self.hosts.len()).filter(|other| *other != host);
        let others: Vec<usize> =
            others.filter(|other| self.hosts[*other].kernel[number].answers(now)).collect();
        if let Some(other) = others.first() {
            let left = self.hosts[*other].kernel[number].live_until - now;
            self.broken(format!(
                "hosts {host} and {other} answer for address {number}; {other} for {:.3} ms more",
                left as f64 / 1000.0
            ));
        }
    }

    /// Netlink's news of an address reach the agent a little later.
    pub(super) fn tell_of_address(&mut self, host: usize, number: usize, late_ms: Us) {
        let it = &self.hosts[host];
        let index = it.holder.addresses().find(|(_, address)| **address == virtual_address(number));
        let Some((index, _)) = index else { return };
        let kernel = it.kernel[number];
        let state = AddressState { link_up: it.link_up, present: kernel.present, ours: kernel.ours };
        let boot = it.boot;
        let span = self.random.random_range(0..=late_ms * MS);
        self.after(span, Event::Input { host, boot, input: Input::Address { index, state } });
    }

    /// Whether frames pass between two hosts.
    fn hears(&self, one: usize, other: usize) -> bool {
        let up = |host: usize| self.cut_from_clients[host] == 0 && self.hosts[host].link_up;
        one != other && up(one) && up(other)
    }

    /// Everybody on the network learns that this host claims the address.
    fn claim(&mut self, host: usize, number: usize) {
        for other in (0..self.hosts.len()).filter(|other| self.hears(host, *other)).collect::<Vec<_>>() {
            self.tell_of_claim(other, number, host as u8);
        }
    }

    fn probe(&mut self, host: usize, number: usize) {
        let now = self.now;
        let others = (0..self.hosts.len()).filter(|other| self.hears(host, *other));
        let answering: Vec<usize> =
            others.filter(|other| self.hosts[*other].kernel[number].answers(now)).collect();
        for other in answering {
            self.tell_of_claim(host, number, other as u8);
        }
        if self.intruder && self.cut_from_clients[host] == 0 {
            self.tell_of_claim(host, number, 99);
        }
    }

    pub(super) fn intruder_claims(&mut self) {
        if !self.intruder {
            return;
        }
        for host in 0..self.hosts.len() {
            self.tell_of_claim(host, 0, 99);
        }
        let span = self.random.random_range(10 * MS..500 * MS);
        self.after(span, Event::IntruderClaims);
    }

    fn tell_of_claim(&mut self, host: usize, number: usize, by: u8) {
        let it = &self.hosts[host];
        let index = it.holder.addresses().find(|(_, address)| **address == virtual_address(number));
        let Some((index, _)) = index else { return };
        let (boot, span) = (it.boot, self.delay());
        let input = Input::Claimed { index, by: [2, 0, 0, 0, 0, by] };
        self.after(span, Event::Input { host, boot, input });
    }

    /// `ROLE` has reached the node.
    pub(super) fn ask_node(&mut self, host: usize, boot: u64, round: u64) {
        let it = &mut self.hosts[host];
        let role = match it.node {
            Process::Hangs => return it.node_inbox.push(round),
            Process::Dead => NodeRole::Gone,
            Process::Runs if it.is_master => NodeRole::Master,
            Process::Runs => NodeRole::Replica,
        };
        let span = self.random.random_range(20..=self.plan.weather.usual.min(5 * MS));
        self.after(span, Event::Input { host, boot, input: Input::Node { round, role } });
    }

    /// A stopped agent goes on: what waited on its sockets first, then its timers.
    pub(super) fn resume(&mut self, host: usize) {
        if self.hosts[host].agent != Process::Hangs {
            return;
        }
        self.say(|_| format!("agent {host} goes on"));
        self.hosts[host].agent = Process::Runs;
        if self.random.random_bool(0.5) {
            // The call that it was stopped before is made first.
            self.go_on_with_platform(host);
        }
        while let Some(input) = self.hosts[host].inbox.pop_front() {
            self.run_agent(host, Some(input));
        }
        self.run_agent(host, None);
        self.go_on_with_platform(host);
    }
}
