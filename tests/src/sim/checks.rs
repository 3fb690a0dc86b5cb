//! The rules that no run may break, checked on what can be observed: what Sentinels send, publish
//! and write, not what they hold in mind.
//!
//! - A Sentinel votes once for each master and epoch, also across crashes, and its vote is on disk
//!   before anybody hears of it.
//! - For each master and epoch there is at most one leader. It has the votes of the majority of all
//!   Sentinels, and of the quorum, in that very epoch, and when it stood a quorum saw the master down, unless an
//!   operator asked for the failover.
//! - Only a leader promotes, and only one node in each epoch; a configuration epoch stands for one address.
//! - What a Sentinel tells of a master never goes back to an older epoch, also across crashes.
//! - Who vouches for a node never says that it is longer ago than it is that it did for another (see `agents`).

use std::collections::{BTreeMap, BTreeSet};

use redoubt_sentinel::core::StateLine;
use redoubt_sentinel::core::value::Value;

use super::net::{Command, Host};
use super::plan::Kind;
use super::time::{MS, SECOND, Us};
use super::world::World;

/// A rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// One vote for each Sentinel, master and epoch.
    OneVote,
    /// A vote is on disk before it is told.
    VoteOnDisk,
    /// One leader for each master and epoch.
    OneLeader,
    /// A leader has the votes of the majority and of the quorum.
    Majority,
    /// Who stands for election knows of a quorum that sees the master down.
    Quorum,
    /// Only a leader promotes.
    OnlyLeaders,
    /// One master for each configuration epoch.
    OneMaster,
    /// What a Sentinel tells never goes back.
    NeverBack,
    /// What a Sentinel says of when it last vouched for another is never more than the truth.
    Vouched,
    /// After the faults everybody agrees within the bound, and stays so.
    Agreement,
    /// No rule: redis-sentinel may come to have a master of its own for an epoch. It counts votes of its newest epoch
    /// while it leads in the one in which it stood, an operator's word replaces all votes, and it may take over
    /// an epoch without the address. Nobody else can prevent that; a run that comes to it ends and is counted apart.
    OriginalsOwn,
    /// What is written can be read, what is sent is well formed, and nothing panics.
    Sound,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When, in milliseconds since the world began.
    pub at_ms: u64,
    /// Which.
    pub rule: Rule,
    /// By whom and how.
    pub text: String,
}

/// What one Sentinel was seen to do about one master.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// It sees the master down.
    s_down: bool,
    /// The epoch in which it leads.
    leads_in: Option<u64>,
    /// An operator asked it for a failover.
    asked_for: bool,
    /// Each Sentinel's last answer: it sees the master down, and when that arrived.
    says_down: BTreeMap<usize, Us>,
    /// The configuration epoch and the node that it last told.
    told: Option<(u64, usize)>,
    /// The node that it told its clients to switch to since.
    announced: Option<usize>,
    /// The epoch of the last vote on its disk.
    vote_on_disk: u64,
}

/// What was observed.
#[derive(Debug)]
pub struct Checks {
    seen: Vec<Vec<Seen>>,
    /// Each Sentinel's epoch as it published it.
    epochs: Vec<u64>,
    votes: BTreeMap<(usize, usize, u64), usize>,
    leaders: BTreeMap<(usize, u64), usize>,
    promotions: BTreeMap<(usize, u64), usize>,
    /// The epochs in which the original led on votes of another epoch, or on an operator's word alone.
    usurped: BTreeSet<(usize, u64)>,
    addresses: BTreeMap<(usize, u64), usize>,
    unsaved: Vec<bool>,
    /// Failovers that were completed: the configuration epochs that came into being.
    pub failovers: u64,
    /// Elections that were won.
    pub elections: u64,
}

impl Checks {
    pub(super) fn new(sentinels: usize, masters: usize) -> Self {
        Checks {
            seen: vec![vec![Seen::default(); masters]; sentinels],
            epochs: vec![0; sentinels],
            votes: BTreeMap::new(),
            leaders: BTreeMap::new(),
            promotions: BTreeMap::new(),
            usurped: BTreeSet::new(),
            addresses: BTreeMap::new(),
            unsaved: vec![false; sentinels],
            failovers: 0,
            elections: 0,
        }
    }
}

impl World {
    /// An operator asks a Sentinel for a failover.
    pub fn fail_over(&mut self, s: usize, m: usize, coordinated: bool) {
        let name = format!("m{m}");
        let words: &[&str] = if coordinated { &["COORDINATED"] } else { &[] };
        self.trace(|w| format!("an operator asks {} for a failover of {name} {words:?}", w.sentinel_name(s)));
        let before = std::mem::replace(&mut self.checks.seen[s][m].asked_for, true);
        let client = self.command(s, &[&["SENTINEL", "FAILOVER", &name], words].concat());
        if self.replies.remove(&client).is_none_or(|reply| reply.error_text().is_some()) {
            self.checks.seen[s][m].asked_for = before;
        }
    }

    /// A Sentinel starts: what it had in mind is gone, what it voted and told is not.
    pub(super) fn check_restart(&mut self, s: usize) {
        self.checks.epochs[s] = 0;
        let unsaved = std::mem::take(&mut self.checks.unsaved[s]);
        for seen in &mut self.checks.seen[s] {
            let told = seen.told.filter(|_| !unsaved);
            let announced = seen.announced.filter(|_| !unsaved);
            *seen = Seen { told, announced, vote_on_disk: seen.vote_on_disk, ..Seen::default() };
        }
    }

    /// A Sentinel could not write: should it die now, nobody can blame it for what it forgets.
    pub(super) fn check_unsaved(&mut self, s: usize) {
        self.checks.unsaved[s] = true;
    }

    /// A Sentinel's state has reached its disk.
    pub(super) fn check_written(&mut self, s: usize, lines: &[StateLine]) {
        self.checks.unsaved[s] = false;
        for line in lines {
            let Some(rest) = line.text.strip_prefix("sentinel leader-epoch m") else { continue };
            if let Some((m, epoch)) = rest.split_once(' ')
                && let (Ok(m), Ok(epoch)) = (m.parse::<usize>(), epoch.parse())
                && let Some(seen) = self.checks.seen[s].get_mut(m)
            {
                seen.vote_on_disk = epoch;
            }
        }
    }

    /// A Sentinel sends commands.
    pub(super) fn check_sent(&mut self, s: usize, to: Host, commands: &[Command]) {
        match commands {
            [command, ..] if command.first().is_some_and(|w| w == b"PUBLISH") => {
                if let [_, channel, text] = command.as_slice()
                    && channel == b"__sentinel__:hello"
                    && let Ok(text) = std::str::from_utf8(text)
                {
                    self.check_hello(s, text);
                }
            }
            [multi, slaveof, ..]
                if multi.first().is_some_and(|w| w == b"MULTI")
                    && slaveof.get(1).is_some_and(|w| w == b"NO") =>
            {
                if let Some(n) = to.checked_sub(self.sentinels.len()) {
                    self.check_promotion_sent(s, n);
                }
            }
            _ => {}
        }
    }

    /// A hello message: what a Sentinel tells.
    fn check_hello(&mut self, s: usize, text: &str) {
        let mut parts = text.split(',').skip(4);
        let (Some(name), Some(host), Some(_), Some(epoch)) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return self.violated(Rule::Sound, format!("hello message {text}"));
        };
        // Others may be watched under other names.
        let Some(m) = master_number(name) else { return };
        let (Some(n), Ok(epoch)) = (self.node_at(host), epoch.parse::<u64>()) else {
            return self.violated(Rule::Sound, format!("hello message {text}"));
        };
        self.note_told(s, m, n, epoch);
    }

    /// A Sentinel tells which node is the master, and in which epoch it became that.
    pub(super) fn note_told(&mut self, s: usize, m: usize, n: usize, epoch: u64) {
        let told = self.checks.seen[s][m].told;
        let announced = self.checks.seen[s][m].announced.take();
        if told == Some((epoch, n)) && announced.is_none_or(|node| node == n) {
            return;
        }
        self.checks.seen[s][m].told = Some((epoch, n));
        if let Some((before, last)) = told
            && let node = announced.unwrap_or(last)
            && (epoch < before || (epoch == before && n != node))
        {
            let name = self.sentinel_name(s);
            let text = format!("{name} told of m{m} node {node} in epoch {before}, now node {n} in {epoch}");
            return self.violated(Rule::NeverBack, text);
        }
        if epoch > 0 {
            let fresh = !self.checks.addresses.contains_key(&(m, epoch));
            let known = *self.checks.addresses.entry((m, epoch)).or_insert(n);
            self.checks.failovers += u64::from(fresh);
            if known != n {
                let name = self.sentinel_name(s);
                let text = format!("epoch {epoch} of m{m} stands for node {known}, {name} tells node {n}");
                // The original takes over an epoch without its address if that is the one which its own failover is
                // about to leave.
                let misled = self.sentinels[s].kind == Kind::Classic
                    && self.checks.promotions.get(&(m, epoch)) == Some(&known);
                let rule = if misled { Rule::OriginalsOwn } else { Rule::OneMaster };
                self.violated_in(m, epoch, rule, text);
            }
        }
    }

    /// A Sentinel orders a promotion.
    fn check_promotion_sent(&mut self, s: usize, n: usize) {
        self.critical = Some((s, n));
        let m = self.nodes[n].group;
        let name = self.sentinel_name(s);
        let Some(epoch) = self.checks.seen[s][m].leads_in else {
            return self
                .violated(Rule::OnlyLeaders, format!("{name} promotes node {n} of m{m} and is no leader"));
        };
        let first = *self.checks.promotions.entry((m, epoch)).or_insert(n);
        if first != n {
            let text = format!("{name} promotes node {n} of m{m} in epoch {epoch}, which has node {first}");
            self.violated_in(m, epoch, Rule::OneMaster, text);
        }
    }

    /// A node refuses to change its role: a promotion that was ordered will not happen.
    pub(super) fn check_refused(&mut self, s: usize, n: usize) {
        let m = self.nodes[n].group;
        if let Some(epoch) = self.checks.seen[s][m].leads_in
            && self.checks.promotions.get(&(m, epoch)) == Some(&n)
        {
            self.checks.promotions.remove(&(m, epoch));
        }
    }

    /// A Sentinel asks another about a master, perhaps for its vote.
    pub(super) fn check_asked(&mut self, from: usize, about: Option<usize>, command: &[Vec<u8>]) {
        let (Some(m), Some(run_id)) = (about, command.get(5)) else { return };
        let epoch = command.get(4).and_then(|w| std::str::from_utf8(w).ok()).and_then(|t| t.parse().ok());
        // The original asks for votes before it has voted itself, perhaps for another.
        if let Some(epoch) = epoch
            && run_id == self.sentinels[from].id.as_bytes()
            && self.sentinels[from].kind == Kind::Redoubt
        {
            self.note_vote(from, m, epoch, from);
        }
    }

    /// A Sentinel answers, perhaps with its vote.
    pub(super) fn check_vote(&mut self, s: usize, m: usize, answer: &Value) {
        let Some([_, Value::Bulk(leader), Value::Integer(epoch)]) = answer.as_slice() else { return };
        if leader == b"*" {
            return;
        }
        let (leader, epoch) = (String::from_utf8_lossy(leader), *epoch as u64);
        let Some(leader) = self.sentinels.iter().position(|x| x.id == leader) else {
            let text = format!("{} votes for {leader}, who is nobody", self.sentinel_name(s));
            return self.violated(Rule::Sound, text);
        };
        self.note_vote(s, m, epoch, leader);
    }

    fn note_vote(&mut self, s: usize, m: usize, epoch: u64, leader: usize) {
        let first = *self.checks.votes.entry((s, m, epoch)).or_insert(leader);
        let name = self.sentinel_name(s);
        if first != leader {
            let text = format!("{name} votes in epoch {epoch} of m{m} for {leader} after {first}");
            self.violated(Rule::OneVote, text);
        }
        let on_disk = self.checks.seen[s][m].vote_on_disk;
        if on_disk < epoch {
            let text = format!("{name} tells its vote in epoch {epoch} of m{m}, its disk has {on_disk}");
            self.violated(Rule::VoteOnDisk, text);
        }
    }

    /// An answer arrives: whether another Sentinel sees the master down.
    pub(super) fn check_answer(&mut self, s: usize, m: usize, peer: usize, answer: &Value) {
        let now = self.now;
        if let Some([Value::Integer(down), ..]) = answer.as_slice() {
            let says = &mut self.checks.seen[s][m].says_down;
            let _ = if *down == 1 { says.insert(peer, now) } else { says.remove(&peer) };
        }
    }

    /// A Sentinel publishes an event.
    pub(super) fn check_event(&mut self, s: usize, event: &str, text: &str) {
        if event == "+new-epoch" {
            self.checks.epochs[s] = text.parse().unwrap_or(0);
            return;
        }
        let mut words = text.split(' ');
        let first = words.next().unwrap_or_default();
        if event == "+switch-master" {
            let Some(m) = master_number(first) else { return };
            let seen = &mut self.checks.seen[s][m];
            seen.s_down = false;
            let ours = self.sentinels[s].kind == Kind::Redoubt;
            if ours {
                // The original goes on to count what it was told of the old master.
                seen.says_down.clear();
            }
            // The original says so when all of its failover is over.
            seen.asked_for &= ours && seen.leads_in.is_some();
            // What the original publishes leaves its process only after the write that it does next.
            let announced = words.nth(2).and_then(|host| self.node_at(host)).filter(|_| ours);
            self.checks.seen[s][m].announced = announced;
            return;
        }
        let Some(m) = words.next().filter(|_| first == "master").and_then(master_number) else { return };
        let seen = &mut self.checks.seen[s][m];
        match event {
            "+sdown" => seen.s_down = true,
            "-sdown" => seen.s_down = false,
            "+try-failover" => self.check_candidacy(s, m),
            "+elected-leader" => self.check_election(s, m),
            "+failover-end" => {
                seen.leads_in = None;
                seen.asked_for = false;
            }
            name if name.starts_with("-failover-abort") => {
                seen.leads_in = None;
                seen.asked_for = false;
            }
            _ => {}
        }
    }

    fn check_candidacy(&mut self, s: usize, m: usize) {
        let epoch = self.checks.epochs[s];
        let recent = 5 * self.plan.timers.ask_period * MS + 3 * SECOND;
        let seen = &mut self.checks.seen[s][m];
        seen.leads_in = None;
        // The original's clock may have been set back, which makes old answers young.
        let classic = self.sentinels[s].kind == Kind::Classic;
        let say_down = seen.says_down.values().filter(|at| classic || **at + recent >= self.now).count();
        let agreeing = u32::from(seen.s_down) + say_down as u32;
        if !seen.asked_for && (agreeing < self.plan.quorum || !seen.s_down) {
            let (quorum, name) = (self.plan.quorum, self.sentinel_name(s));
            let text = format!("{name} stands for m{m} in epoch {epoch}: {agreeing} of {quorum} see it down");
            self.violated(Rule::Quorum, text);
        }
    }

    fn check_election(&mut self, s: usize, m: usize) {
        let brain = self.sentinels[s].brain.as_ref();
        // An election may be followed at once by the end of the failover, which then had no effect.
        let Some(epoch) = brain.and_then(|b| b.failover_epoch(&format!("m{m}"))) else { return };
        let seen = &mut self.checks.seen[s][m];
        let asked_for = seen.asked_for;
        seen.leads_in = Some(epoch);
        self.checks.elections += 1;
        let all = self.sentinels.len();
        let needed = (all / 2 + 1).max(self.plan.quorum as usize);
        // The vote that the original gives itself is told to nobody.
        let classic = self.sentinels[s].kind == Kind::Classic;
        let votes = |counted: u64| {
            let voted = |v: &usize| self.checks.votes.get(&(*v, m, counted)) == Some(&s);
            usize::from(classic) + (0..all).filter(|v| !(classic && *v == s) && voted(v)).count()
        };
        // The original counts the others' votes if they are of the newest epoch, be that its own or not.
        let counted = if classic { self.checks.epochs[s] } else { epoch };
        let (own, counted) = (votes(epoch), votes(counted));
        if classic && own < needed {
            self.checks.usurped.insert((m, epoch));
        }
        let name = self.sentinel_name(s);
        let first = *self.checks.leaders.entry((m, epoch)).or_insert(s);
        if first != s {
            let text = format!("{name} leads in epoch {epoch} of m{m} beside {}", self.sentinel_name(first));
            return self.violated_in(m, epoch, Rule::OneLeader, text);
        }
        if !asked_for && counted < needed {
            let text = format!("{name} leads in epoch {epoch} of m{m} with {counted} of {all} votes");
            self.violated(Rule::Majority, text);
        }
    }

    /// A rule about an epoch was broken, by the original alone if it led there without the votes for it.
    fn violated_in(&mut self, m: usize, epoch: u64, rule: Rule, text: String) {
        let usurped = self.checks.usurped.contains(&(m, epoch));
        self.violated(if usurped { Rule::OriginalsOwn } else { rule }, text);
    }
}

/// The number in a master's name: `m3`.
fn master_number(name: &str) -> Option<usize> {
    name.strip_prefix('m')?.parse().ok()
}
