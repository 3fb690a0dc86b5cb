//! What the holder does and why, for people: `status` and `plan` show it, log lines quote it.

use std::fmt;
use std::time::Duration;

use super::holder::Holder;
use super::host::mac;
use super::types::{AddressState, Answer, NodeRole, Now, OnConflict, VirtualAddress};
use super::votes::{Vote, needed_age};

/// The state of one master's addresses on this host. Ages are how long ago something was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The name by which the Sentinels know the master.
    pub master: String,
    /// Whether this host holds the addresses.
    pub holds: bool,
    /// For how much longer, without a new proof; `None` where there is no proof to begin with (`on-quorum-loss: hold`).
    pub remaining: Option<Duration>,
    /// The highest configuration epoch seen.
    pub epoch: u64,
    /// What the local node said last, and its age.
    pub node: Option<(Duration, NodeRole)>,
    /// What each Sentinel said last.
    pub sentinels: Vec<SentinelView>,
    /// Each address.
    pub addresses: Vec<AddressView>,
    /// Whether maintenance is on.
    pub maintenance: bool,
    /// Whether the user asked for a release that still counts.
    pub released: bool,
    /// Why it holds, or does not: one sentence that says what is missing.
    pub why: String,
    /// What it does next: one sentence.
    pub next: String,
}

/// One Sentinel's last answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentinelView {
    /// Its age and itself; `None` if it was never asked or never answered.
    pub answer: Option<(Duration, Answer)>,
    /// Whether it counts for this host.
    pub counts: bool,
}

/// One address on this host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressView {
    /// As in inputs and outputs.
    pub index: usize,
    /// What it is.
    pub address: VirtualAddress,
    /// Whether the platform has confirmed that this host answers for it.
    pub on: bool,
    /// What netlink said last.
    pub state: Option<AddressState>,
    /// What the platform could not do, until it can.
    pub error: Option<String>,
}

impl Holder {
    /// What a person should know.
    pub fn view(&self, now: Now) -> View {
        let age = |at: Now| now.saturating_sub(at);
        let votes = self.votes.last_votes(&self.settings, self.epochs.highest());
        let sentinels = self.votes.last().zip(votes).map(|(last, vote)| SentinelView {
            answer: last.map(|(at, answer)| (age(at), answer.clone())),
            counts: vote == Some(Vote::Good),
        });
        let addresses = self.slots.iter().map(|(index, slot)| AddressView {
            index: *index,
            address: slot.address.clone(),
            on: slot.on,
            state: slot.state,
            error: slot.error.as_ref().map(|(_, text)| text.clone()),
        });
        View {
            master: self.settings.master.clone(),
            holds: self.held,
            remaining: self
                .proof
                .filter(|proof| self.held && proof.votes > 0)
                .map(|proof| proof.until.saturating_sub(now)),
            epoch: self.epochs.highest(),
            node: self.node.as_ref().map(|(at, role)| (age(*at), role.clone())),
            sentinels: sentinels.collect(),
            addresses: addresses.collect(),
            maintenance: self.maintenance,
            released: self.released,
            why: self.why(now),
            next: self.what_next(now),
        }
    }

    fn why(&self, now: Now) -> String {
        if let Some(proof) = self.proof.filter(|_| self.held) {
            let sentinels = self.votes.len();
            return match proof.votes {
                0 => "Holds without a majority of the Sentinels, as `on-quorum-loss: hold` asks: another host may hold \
                      the address too."
                    .into(),
                votes => format!(
                    "Holds: the local node is the master, and {votes} of {sentinels} Sentinels name it in epoch {}.",
                    proof.epoch
                ),
            };
        }
        format!("Does not hold: {}.", self.why_not(now))
    }

    fn why_not(&self, now: Now) -> String {
        if self.maintenance {
            return "maintenance is on; `redoubt-vip-hook maintenance off` ends it".into();
        }
        if self.released {
            return "released by request; it is taken again when this node has been a replica in between, or after \
                    `redoubt-vip-hook maintenance off`"
                .into();
        }
        if self.proof.is_none() {
            let mut why = self.why_no_proof(now);
            let votes = self.votes.last_votes(&self.settings, self.epochs.highest());
            let stale = votes.flatten().filter(|vote| *vote == Vote::Stale).count();
            if stale >= self.votes.majority() && self.epochs.lower().is_none() {
                why.push_str(
                    "; if the deployment was built anew, that counts once all configured Sentinels have said so for \
                     ten seconds: take those out of the list that are no more",
                );
            }
            return why;
        }
        match (self.probe.is_blocked(), self.probe.last_claim()) {
            (true, Some(claim)) => format!(
                "the host with the link-layer address {} answers for it; end that, or set `on-conflict: defend`",
                mac(claim.by)
            ),
            _ => "the proof is there, and it is being asked whether anybody else answers for it".into(),
        }
    }

    /// What is missing for a proof.
    pub(super) fn why_no_proof(&self, now: Now) -> String {
        match &self.node {
            None => return "the local node has not been asked yet".into(),
            Some((_, NodeRole::Replica)) => return "the local node is a replica".into(),
            Some((_, NodeRole::Gone)) => return "the local node refuses connections; is it running?".into(),
            Some((_, NodeRole::Unknown(what))) => {
                return format!("the local node does not say its role: {what}");
            }
            Some((_, NodeRole::Master)) => {}
        }
        let votes: Vec<Option<Vote>> = self.votes.last_votes(&self.settings, self.epochs.highest()).collect();
        let count = |wanted: fn(&Vote) -> bool| votes.iter().flatten().filter(|vote| wanted(vote)).count();
        let fresh = self.votes.last().filter(|last| last.is_some_and(|(at, _)| is_fresh(now, at))).count();
        let mut parts = Vec::new();
        let mut part = |count: usize, what: &str| {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        };
        part(count(|vote| matches!(vote, Vote::Other)), "named another host");
        part(count(|vote| matches!(vote, Vote::Refused)), "vouched for nobody");
        part(count(|vote| matches!(vote, Vote::Stale)), "named an epoch older than the highest seen");
        part(count(|vote| matches!(vote, Vote::Young { .. })), "may have named another host too recently");
        part(votes.len() - fresh, "did not answer lately");
        let good = count(|vote| matches!(vote, Vote::Good));
        let mut text = format!(
            "the votes of {} of {} Sentinels are needed, and at their last word {good} named this host",
            self.votes.majority(),
            votes.len()
        );
        if !parts.is_empty() {
            text.push_str(&format!(", {}", parts.join(", ")));
        }
        if let Some(reason) = self.votes.last().flatten().find_map(|(_, answer)| answer.complaint()) {
            text.push_str(&format!(" (one said: {reason})"));
        }
        if let Some((epoch, since)) = self.epochs.lower() {
            let left = super::epoch::OVERRIDE_AFTER.saturating_sub(now.saturating_sub(since));
            text.push_str(&format!(
                "; all agree on the lower epoch {epoch}, which counts in {} s",
                left.as_secs() + 1
            ));
        }
        text
    }

    fn what_next(&self, now: Now) -> String {
        let names = self.names();
        if self.held {
            let lease = self.settings.lease.as_millis();
            return format!(
                "Renews every {} ms, and lets go of {names} {lease} ms after its last proof.",
                lease / 4
            );
        }
        if !self.permitted() {
            return "Nothing, until the user wishes.".into();
        }
        if self.proof.is_some() {
            return match (self.probe.is_blocked(), self.settings.on_conflict) {
                (true, OnConflict::Release) => format!("Takes {names} as soon as nobody else answers."),
                _ => format!("Takes {names} within a tenth of a second."),
            };
        }
        if self.in_sight {
            let wait = needed_age(&self.settings).as_millis();
            return format!("Takes {names} once the old owner's release or {wait} ms have passed.");
        }
        match &self.node {
            Some((at, NodeRole::Master)) if is_fresh(now, *at) => {
                format!("Takes {names} when a majority of the Sentinels names this host.")
            }
            _ => format!(
                "Takes {names} when the local node is a master and a majority of the Sentinels names it."
            ),
        }
    }
}

/// Whether an answer is of now, for a reader.
fn is_fresh(now: Now, at: Now) -> bool {
    now.saturating_sub(at) < Duration::from_secs(1)
}

impl Answer {
    /// The words of a Sentinel that does not vouch.
    fn complaint(&self) -> Option<&str> {
        match self {
            Answer::Refused { reason, .. } | Answer::Nothing(reason) => Some(reason),
            Answer::Vouched { .. } | Answer::Names { .. } => None,
        }
    }
}

impl fmt::Display for NodeRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NodeRole::Master => f.write_str("master"),
            NodeRole::Replica => f.write_str("replica"),
            NodeRole::Gone => f.write_str("nothing, it refuses connections"),
            NodeRole::Unknown(what) => write!(f, "nothing ({what})"),
        }
    }
}
