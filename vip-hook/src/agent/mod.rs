//! The agent: one thread, one state machine a master, and what connects them to sockets, timers and the host.
//!
//! Each connection has a task of its own; what they hear goes through one bounded queue to the loop below, which owns
//! all state, so that nothing needs a lock. What is done to the host is done right there: these are short exchanges
//! with the kernel, and their order matters. The loop empties the queue before it lets a timer fire, and when one has
//! come, it first gives the readers a turn: an answer that has arrived is never taken for missing, even after this
//! process was stopped for a while.

pub mod host;
pub(crate) mod links;
pub(crate) mod linux;
mod notified;
mod reload;
mod socket;
mod start;
mod status;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redoubt_wire::log;
use redoubt_wire::service::Service;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::sync::oneshot;

use crate::clock;
use crate::config::{self, Config, Endpoint, Login};
use crate::control::{Reply, Request};
use crate::core::Holder;
use crate::core::types::{Action, Hint, Input, Level, Now, Output, VirtualAddress};
use host::{Host, HostEvent};
use links::node::NodeLink;
use links::sentinel::{Question, SentinelLink, Subject};
use store::Store;

pub use start::{StartError, run};

/// Names a master's part of the agent; one that was taken out of the configuration and put in again has a new one.
type MasterId = u64;
/// Names the links to one Sentinel.
type LinkId = u64;

/// What the tasks tell the loop.
#[derive(Debug)]
enum Event {
    /// Something for the state machine of a master.
    Input { master: MasterId, input: Input },
    /// A Sentinel is connected anew.
    Reconnected { link: LinkId },
    /// A Sentinel published something about a master of that name.
    Hint { link: LinkId, name: String, hint: Hint },
    /// A verb of the command line asks for something.
    Call(Call),
    /// A master's file was written, or not.
    Stored { master: MasterId, result: Result<(), String> },
    /// SIGHUP.
    Reload,
    /// SIGTERM or SIGINT.
    Stop,
}

/// Where tasks send what happens. Who fills it has to wait: that bounds what peers can make us hold.
type Events = Sender<Event>;
/// How many events wait at most.
const QUEUE: usize = 1024;

/// A request, and where its reply goes.
#[derive(Debug)]
struct Call {
    request: Request,
    /// Who asks, for the log.
    peer: String,
    reply: oneshot::Sender<Reply>,
}

/// What is the same for all masters that share a connection.
type LinkKey = (Endpoint, Login);

/// One master's part.
struct Running {
    id: MasterId,
    config: config::Master,
    holder: Holder,
    node: NodeLink,
    /// In the order of its Sentinels.
    links: Vec<LinkId>,
    store: Store,
    /// It ends when nothing of it is left on this host.
    leaving: bool,
    /// The addresses that this host answers for, as far as the host has confirmed it.
    on: BTreeSet<usize>,
    /// When that changed last.
    changed: Option<Now>,
}

/// The whole agent.
struct Agent<H> {
    config: Config,
    config_file: PathBuf,
    config_error: Option<String>,
    host: H,
    masters: BTreeMap<MasterId, Running>,
    links: BTreeMap<LinkId, SentinelLink>,
    link_ids: HashMap<LinkKey, LinkId>,
    next_id: u64,
    waiting: Vec<notified::Waiting>,
    events: Events,
    queue: Receiver<Event>,
    service: Service,
    started: Now,
    /// When the loop shows that it is alive and looks at what nobody tells it.
    pulse: Now,
    /// When the host may be listened to again, after it could not be.
    host_at: Now,
    /// What the host was last told to watch.
    watched: Vec<VirtualAddress>,
    /// The addresses of this host, but for the virtual ones.
    own: Vec<IpAddr>,
    stopping: Option<Now>,
}

/// How often the loop looks at what nobody tells it of, at least.
const PULSE: Duration = Duration::from_secs(1);
/// How long the kernel must take for something on this host for that to be told.
const SLOW: Duration = Duration::from_millis(50);
/// By how much the loop must be late for it to be told: it costs a part of each lease.
const LATE: Duration = Duration::from_millis(100);
/// How long the end may take; then the kernel's lease has ended what could not be dropped.
const STOP_LIMIT: Duration = Duration::from_secs(3);
/// How long the end waits for the disk.
const SAVE_LIMIT: Duration = Duration::from_secs(2);
/// The pause after the host could not be listened to.
const HOST_PAUSE: Duration = Duration::from_secs(1);

impl<H: Host> Agent<H> {
    fn new(config: Config, config_file: PathBuf, host: H, service: Service) -> Self {
        let (events, queue) = channel(QUEUE);
        let now = clock::now();
        Agent {
            config,
            config_file,
            config_error: None,
            host,
            masters: BTreeMap::new(),
            links: BTreeMap::new(),
            link_ids: HashMap::new(),
            next_id: 0,
            waiting: Vec::new(),
            events,
            queue,
            service,
            started: now,
            pulse: now,
            host_at: now,
            watched: Vec::new(),
            own: Vec::new(),
            stopping: None,
        }
    }

    /// Runs until told to end, and everything has been let go of.
    async fn run(mut self) {
        self.begin();
        let status = self.status_line();
        self.service.ready(&status);
        while !self.is_over() {
            let due = self.due();
            let asleep = clock::now();
            let wake = tokio::time::sleep(due.saturating_sub(asleep));
            let may_hear = asleep >= self.host_at;
            tokio::select! {
                biased;
                Some(event) = self.queue.recv() => self.take(event),
                heard = self.host.next(), if may_hear => self.heard(heard),
                () = wake => {}
            }
            let late = clock::now().saturating_sub(due.max(asleep));
            if late >= LATE {
                log::warning!("This process was kept from running for {} ms", late.as_millis());
            }
            // Asked after each event too: whoever floods us must not keep the timers from firing.
            if clock::now() >= self.due() {
                tokio::task::yield_now().await;
                self.take_waiting();
                self.tick();
            }
            self.settle_calls();
        }
        self.end().await;
    }

    /// Takes what is in the queue, at most once its length.
    fn take_waiting(&mut self) {
        for _ in 0..QUEUE {
            let Ok(event) = self.queue.try_recv() else { return };
            self.take(event);
        }
    }

    fn due(&self) -> Now {
        let holders = self.masters.values().map(|running| running.holder.next_wake());
        let calls = self.waiting.iter().map(|waiting| waiting.until);
        holders.chain(calls).chain(self.stopping).fold(self.pulse, Now::min)
    }

    fn tick(&mut self) {
        let now = clock::now();
        let due = |running: &&mut Running| running.holder.next_wake() <= now;
        let ids: Vec<MasterId> = self.masters.values_mut().filter(due).map(|running| running.id).collect();
        for id in ids {
            self.with_holder(id, |holder, now| holder.tick(now));
        }
        if now >= self.pulse {
            self.pulse = now + self.service.pulse().unwrap_or(PULSE).min(PULSE);
            self.service.alive();
            self.follow_host();
            self.save_again();
            let status = self.status_line();
            self.service.status(&status);
        }
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Input { master, input } => self.input(master, input),
            Event::Reconnected { link } => {
                for (master, sentinel) in self.users_of(link) {
                    self.input(master, Input::SentinelReconnected { sentinel });
                }
            }
            Event::Hint { link, name, hint } => {
                for (master, _) in self.users_of(link) {
                    if self.masters.get(&master).is_some_and(|running| running.config.name == name) {
                        log::verbose!("A Sentinel tells of master {name}: {hint:?}");
                        self.input(master, Input::Hint(hint.clone()));
                    }
                }
            }
            Event::Call(call) => self.call(call),
            Event::Stored { master, result } => {
                if let Err(error) = &result {
                    log::warning!("The state could not be saved, which is tried again: {error}");
                }
                if let Some(running) = self.masters.get_mut(&master) {
                    running.store.written(master, &self.events, result.is_ok());
                }
            }
            Event::Reload => self.reload(),
            Event::Stop => self.stop(),
        }
    }

    fn heard(&mut self, heard: Result<HostEvent, String>) {
        match heard {
            Ok(HostEvent::Address { address, state }) => {
                self.about(&address, |index| Input::Address { index, state });
                self.follow_host();
            }
            Ok(HostEvent::Claimed { address, by }) => {
                self.about(&address, |index| Input::Claimed { index, by })
            }
            Err(error) => {
                log::warning!("This host cannot be watched at present: {error}");
                self.host_at = clock::now() + HOST_PAUSE;
            }
        }
    }

    /// Hands an input over to every master that has this address.
    fn about(&mut self, address: &VirtualAddress, input: impl Fn(usize) -> Input) {
        let index_in = |running: &Running| {
            let found = running.holder.addresses().find(|(_, own)| *own == address);
            found.map(|(index, _)| (running.id, index))
        };
        let found: Vec<(MasterId, usize)> = self.masters.values().filter_map(index_in).collect();
        for (master, index) in found {
            self.input(master, input(index));
        }
    }

    /// The masters that ask over a link, and which of their Sentinels it is.
    fn users_of(&self, link: LinkId) -> Vec<(MasterId, usize)> {
        let place = |running: &Running| {
            running.links.iter().position(|own| *own == link).map(|sentinel| (running.id, sentinel))
        };
        self.masters.values().filter_map(place).collect()
    }

    fn input(&mut self, master: MasterId, input: Input) {
        self.with_holder(master, |holder, now| holder.handle(now, input));
    }

    /// Has a state machine do something, and carries out what follows.
    fn with_holder(&mut self, master: MasterId, act: impl FnOnce(&mut Holder, Now)) {
        let Some(running) = self.masters.get_mut(&master) else { return };
        act(&mut running.holder, clock::now());
        while let Some(output) = running.holder.poll() {
            match output {
                Output::AskNode { round } => running.node.ask(round),
                Output::AskSentinel { round, sentinel, address } => {
                    let vouch_for = Some((address, running.config.port));
                    running.ask(
                        &self.links,
                        Question { master, sentinel, round, name: running.name(), vouch_for },
                    );
                }
                Output::LookAtSentinel { round, sentinel } => {
                    let name = running.name();
                    running.ask(&self.links, Question { master, sentinel, round, name, vouch_for: None });
                }
                Output::TellReleased { address } => {
                    for link in running.links.iter().filter_map(|id| self.links.get(id)) {
                        link.tell_released(running.subject(address));
                    }
                }
                Output::Platform { index, action } => {
                    let Some(address) = running.holder.address(index).cloned() else { continue };
                    let begun = clock::now();
                    let result = self.host.act(&address, action);
                    let took = clock::now() - begun;
                    if took >= SLOW {
                        log::warning!(
                            "The kernel took {} ms for {action:?} of {}",
                            took.as_millis(),
                            address.address
                        );
                    }
                    running.note(index, action, result.is_ok());
                    let input = match result {
                        Ok(()) => Input::Done { index, what: action },
                        Err(error) => Input::Failed { index, what: action, error },
                    };
                    running.holder.handle(clock::now(), input);
                }
                Output::Persist { epoch } => {
                    running.store.change(master, &self.events, |record| record.epoch = Some(epoch));
                }
                Output::Log { level, text } => log_line(&running.config.name, level, &text),
            }
        }
        if running.leaving && running.holder.settled() && self.stopping.is_none() {
            self.masters.remove(&master);
        }
    }

    fn stop(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        self.service.stopping();
        self.stopping = Some(clock::now() + STOP_LIMIT);
        let ids: Vec<MasterId> = self.masters.keys().copied().collect();
        for id in ids {
            if let Some(running) = self.masters.get_mut(&id) {
                running.leaving = true;
            }
            self.input(id, Input::Leave { why: "the agent ends" });
        }
    }

    fn is_over(&self) -> bool {
        let Some(limit) = self.stopping else { return false };
        self.masters.values().all(|running| running.holder.settled()) || clock::now() >= limit
    }

    /// Sees to it that the Sentinels have heard of the release, and that the disk has everything.
    async fn end(mut self) {
        for running in self.masters.values_mut() {
            if !running.holder.settled() {
                log::warning!(
                    "Master {}: not everything could be let go of; the kernel ends it with the lease",
                    running.config.name
                );
            }
        }
        self.save_again();
        let in_time = tokio::time::timeout(SAVE_LIMIT, self.save()).await.is_ok();
        if !in_time || !self.masters.values().all(|running| running.store.is_saved()) {
            log::warning!("The state is not on disk; the agent does not wait for it any longer");
        }
        // What they still tell, nobody waits for.
        self.queue.close();
        let mut closing = tokio::task::JoinSet::new();
        for link in std::mem::take(&mut self.links).into_values() {
            closing.spawn(link.close());
        }
        while closing.join_next().await.is_some() {}
        log::notice!("The agent ends");
    }

    /// Writes what could not be written before.
    fn save_again(&mut self) {
        for (id, running) in &mut self.masters {
            running.store.retry(*id, &self.events);
        }
    }

    /// Waits until nothing is being written any more.
    async fn save(&mut self) {
        while self.masters.values().any(|running| running.store.is_busy()) {
            if let Some(event @ Event::Stored { .. }) = self.queue.recv().await {
                self.take(event);
            }
        }
    }
}

impl Running {
    fn name(&self) -> Arc<str> {
        Arc::from(&*self.config.name)
    }

    fn subject(&self, ip: IpAddr) -> Subject {
        Subject { name: self.name(), ip, port: self.config.port }
    }

    /// Asks one of its Sentinels.
    fn ask(&self, links: &BTreeMap<LinkId, SentinelLink>, question: Question) {
        if let Some(link) = self.links.get(question.sentinel).and_then(|id| links.get(id)) {
            link.ask(question);
        }
    }

    /// Whether this host answers for all addresses.
    fn is_on(&self) -> bool {
        self.holder.addresses().all(|(index, _)| self.on.contains(&index))
    }

    /// Whether it answers for none.
    fn is_off(&self) -> bool {
        self.on.is_empty()
    }

    /// Notes what an action did to an address.
    fn note(&mut self, index: usize, action: Action, succeeded: bool) {
        let changed = match (action, succeeded) {
            (Action::Hold { .. }, true) => self.on.insert(index),
            // What could not be renewed answers no more when its lease is over.
            (Action::Hold { .. }, false) | (Action::Drop, true) => self.on.remove(&index),
            (Action::Drop, false) | (Action::Announce | Action::Probe, _) => false,
        };
        if changed {
            self.changed = Some(clock::now());
        }
    }
}

fn log_line(master: &str, level: Level, text: &str) {
    match level {
        Level::Debug => log::verbose!("Master {master}: {text}"),
        Level::Notice => log::notice!("Master {master}: {text}"),
        Level::Warning => log::warning!("Master {master}: {text}"),
    }
}
