//! What the Sentinels say, and what each answer counts for.
//!
//! An answer counts for the round that asked for it and for no other: a proof is one round (see `core`). What is kept
//! beyond is for the eyes of people, but for two things: since when a classic Sentinel has named this host without a
//! break, and under which of its addresses a Sentinel knows it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use super::epoch::ANSWER_SPEAKS;
use super::types::{Answer, MARGIN, Now, Settings};

/// What one answer counts for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Vote {
    /// For this host.
    Good,
    /// For this host, but it counts only from then on: the Sentinel may have named another until just now.
    Young { old_at: Now },
    /// For another host.
    Other,
    /// An epoch below the highest seen.
    Stale,
    /// For nobody at present.
    Refused,
    /// No answer.
    Nothing,
}

/// The answers of a round, counted. What has not been answered yet is in none of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) good: usize,
    pub(super) other: usize,
    pub(super) answered: usize,
    /// When the votes that are too young are old enough; the earliest first.
    pub(super) young: Vec<Now>,
    /// Whether one of these comes from a Sentinel that lets itself be told of a release.
    pub(super) young_may_ripen_early: bool,
}

impl Tally {
    /// When a majority would stand if nothing but time passed.
    pub(super) fn ripe_at(&self, majority: usize) -> Option<Now> {
        let missing = majority.checked_sub(self.good + 1)?;
        self.young.get(missing).copied()
    }
}

/// What is known of one Sentinel.
#[derive(Debug)]
pub(super) struct Voter {
    /// Its last answer: which round asked, when it came, what it said.
    last: Option<(u64, Now, Answer)>,
    /// The last epoch it said, and when.
    epoch: Option<(Now, u64)>,
    series: Option<Series>,
    /// Up to this round it may have been asked over another connection, or another Sentinel in its place, and the
    /// answer may still come.
    asked_before: u64,
    /// Under which address it is asked about this host.
    ask_about: IpAddr,
}

/// A classic Sentinel's answers that named this host, since one came that did not, or none could be trusted.
#[derive(Debug)]
struct Series {
    /// What the last of them named.
    address: SocketAddr,
    epoch: u64,
    since: Now,
}

/// All configured Sentinels, by their index.
#[derive(Debug)]
pub(super) struct Votes {
    voters: Vec<Voter>,
}

impl Votes {
    /// None of them has said anything yet.
    pub(super) fn new(settings: &Settings) -> Self {
        Votes { voters: (0..settings.sentinels).map(|_| Voter::new(settings, 0)).collect() }
    }

    /// Goes on with other settings, and with the Sentinels that stay. `kept`: see
    /// [`Holder::reload`](super::Holder::reload); `last_round`: the last one that began.
    pub(super) fn change(&mut self, settings: &Settings, kept: &[Option<usize>], last_round: u64) {
        let mut old: Vec<Option<Voter>> = self.voters.drain(..).map(Some).collect();
        let place = |sentinel: usize| kept.get(sentinel).copied().flatten();
        self.voters = (0..settings.sentinels)
            .map(|sentinel| match place(sentinel).and_then(|place| old.get_mut(place)?.take()) {
                Some(voter) => voter.changed(settings, last_round),
                None => Voter::new(settings, last_round),
            })
            .collect();
    }

    /// More than half of the configured Sentinels.
    pub(super) fn majority(&self) -> usize {
        self.voters.len() / 2 + 1
    }

    pub(super) fn len(&self) -> usize {
        self.voters.len()
    }

    pub(super) fn ask_about(&self, sentinel: usize) -> IpAddr {
        self.voters[sentinel].ask_about
    }

    /// The last answer of each Sentinel and when it came.
    pub(super) fn last(&self) -> impl Iterator<Item = Option<(Now, &Answer)>> {
        self.voters.iter().map(|voter| voter.last.as_ref().map(|(_, at, answer)| (*at, answer)))
    }

    /// Keeps an answer; whether the same question should be asked again under another of the host's addresses.
    pub(super) fn note(
        &mut self,
        settings: &Settings,
        now: Now,
        round: u64,
        sentinel: usize,
        answer: Answer,
    ) -> bool {
        let Some(voter) = self.voters.get_mut(sentinel) else { return false };
        if voter.last.as_ref().is_some_and(|(last, ..)| *last >= round) {
            return false;
        }
        let mut ask_again = false;
        voter.epoch = answer.epoch().map(|epoch| (now, epoch)).or(voter.epoch);
        match &answer {
            // May be another's word, or one from before a restart: begins and breaks nothing.
            Answer::Names { .. } if round <= voter.asked_before => {}
            Answer::Names { address, .. } if !is_ours(settings, *address) => voter.series = None,
            Answer::Names { address, epoch } => match &mut voter.series {
                Some(series) if series.epoch == *epoch => series.address = *address,
                // The epoch rose between two answers: another may have been master in between.
                _ => voter.series = Some(Series { address: *address, epoch: *epoch, since: now }),
            },
            Answer::Vouched { .. } => voter.series = None,
            Answer::Refused { reason, .. } => {
                voter.series = None;
                if let Some(address) = named_in(reason, settings)
                    && address != voter.ask_about
                {
                    voter.ask_about = address;
                    ask_again = true;
                }
            }
            // Silence breaks no series: epochs only go up, so the next answer on this connection tells.
            Answer::Nothing(_) => {}
        }
        voter.last = Some((round, now, answer));
        ask_again
    }

    /// The connection is a new one: the Sentinel may have been restarted, with another idea.
    pub(super) fn reconnected(&mut self, sentinel: usize, last_round: u64) {
        if let Some(voter) = self.voters.get_mut(sentinel) {
            voter.series = None;
            voter.asked_before = last_round;
        }
    }

    /// What a Sentinel said in this round counts for; `None` while it has not answered.
    fn judge(
        &self,
        settings: &Settings,
        round: u64,
        sentinel: usize,
        highest: u64,
        age: Duration,
    ) -> Option<Vote> {
        let voter = self.voters.get(sentinel)?;
        let (_, at, answer) = voter.last.as_ref().filter(|(asked_in, ..)| *asked_in == round)?;
        Some(voter.vote(settings, *at, answer, highest, age))
    }

    /// Counts this round's answers. `age`: see [`needed_age`].
    pub(super) fn tally(&self, settings: &Settings, round: u64, highest: u64, age: Duration) -> Tally {
        let mut tally = Tally::default();
        for sentinel in 0..self.voters.len() {
            let Some(vote) = self.judge(settings, round, sentinel, highest, age) else { continue };
            tally.answered += 1;
            match vote {
                Vote::Good => tally.good += 1,
                Vote::Other => tally.other += 1,
                Vote::Young { old_at } => {
                    tally.young.push(old_at);
                    tally.young_may_ripen_early |= self.voters[sentinel].series.is_none();
                }
                Vote::Stale | Vote::Refused | Vote::Nothing => {}
            }
        }
        tally.young.sort_unstable();
        tally
    }

    /// What the last answer of each Sentinel counts for, whichever round it came in, and when it came.
    pub(super) fn last_votes(&self, settings: &Settings, highest: u64) -> impl Iterator<Item = Option<Vote>> {
        self.voters.iter().map(move |voter| {
            let (_, at, answer) = voter.last.as_ref()?;
            Some(voter.vote(settings, *at, answer, highest, needed_age(settings)))
        })
    }

    /// The one epoch that all Sentinels say, by answers that are not old.
    pub(super) fn common_epoch(&self, now: Now) -> Option<u64> {
        let mut epochs = self.voters.iter().map(|voter| {
            let (at, epoch) = voter.epoch?;
            (now.saturating_sub(at) <= ANSWER_SPEAKS).then_some(epoch)
        });
        let first = epochs.next()??;
        epochs.all(|epoch| epoch == Some(first)).then_some(first)
    }
}

impl Voter {
    fn new(settings: &Settings, last_round: u64) -> Self {
        let ask_about = settings.host_addresses.first().copied().unwrap_or(IpAddr::from([0, 0, 0, 0]));
        Voter { last: None, epoch: None, series: None, asked_before: last_round, ask_about }
    }

    /// The same Sentinel, maybe in another place of the list, and for a host with other addresses.
    fn changed(self, settings: &Settings, last_round: u64) -> Self {
        let fresh = Voter::new(settings, last_round);
        let known = settings.host_addresses.contains(&self.ask_about);
        Voter {
            series: self.series.filter(|series| is_ours(settings, series.address)),
            asked_before: fresh.asked_before,
            ask_about: if known { self.ask_about } else { fresh.ask_about },
            ..self
        }
    }

    fn vote(&self, settings: &Settings, at: Now, answer: &Answer, highest: u64, age: Duration) -> Vote {
        if answer.epoch().is_some_and(|epoch| epoch < highest) {
            return Vote::Stale;
        }
        match answer {
            Answer::Vouched { other, .. } if *other >= age => Vote::Good,
            Answer::Vouched { other, .. } => Vote::Young { old_at: at + (age - *other) },
            // What a refusal names is this host under another address only until the next question.
            Answer::Refused { reason, .. } => match reason.split_whitespace().next() {
                Some("other-master") if named_in(reason, settings).is_none() => Vote::Other,
                _ => Vote::Refused,
            },
            Answer::Names { address, .. } => match &self.series {
                Some(series) if at.saturating_sub(series.since) >= age => Vote::Good,
                Some(series) => Vote::Young { old_at: series.since + age },
                None if is_ours(settings, *address) => Vote::Young { old_at: at + age },
                None => Vote::Other,
            },
            Answer::Nothing(_) => Vote::Nothing,
        }
    }
}

/// By how much a vote must be older than the last naming of another host: that host's lease, and what clocks, timers
/// and the kernel's granularity may differ by.
pub(super) fn needed_age(settings: &Settings) -> Duration {
    settings.lease + MARGIN
}

/// Whether this is the local node, as the Sentinels know it.
fn is_ours(settings: &Settings, address: SocketAddr) -> bool {
    address.port() == settings.port && settings.host_addresses.contains(&address.ip())
}

/// Which of this host's addresses `other-master <ip> <port>` names, if it is one.
fn named_in(reason: &str, settings: &Settings) -> Option<IpAddr> {
    let mut words = reason.split_whitespace();
    if words.next() != Some("other-master") {
        return None;
    }
    let ip = words.next()?.parse().ok()?;
    let port: u16 = words.next()?.parse().ok()?;
    is_ours(settings, SocketAddr::new(ip, port)).then_some(ip)
}

impl Answer {
    /// The configuration epoch in it.
    pub fn epoch(&self) -> Option<u64> {
        match self {
            Answer::Vouched { epoch, .. } | Answer::Refused { epoch, .. } | Answer::Names { epoch, .. } => {
                Some(*epoch)
            }
            Answer::Nothing(_) => None,
        }
    }
}
