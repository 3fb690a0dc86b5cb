//! When a replica or another Sentinel that is gone for good is forgotten. Redis's Sentinels never do that by
//! themselves; an operator's SENTINEL RESET works here as there, and at once.
//!
//! **Another Sentinel** is forgotten (`-sentinel`) when for an hour no valid reply and no hello of it has come,
//! while all the others that are known are in reach, and if an election among those that remain still needs so many that
//! it shares a Sentinel with any election among all, the forgotten ones included. So one of four may go, and more only
//! where the quorum is high. Who is forgotten no longer counts for majorities: the cut-off part of a partition,
//! which misses more than one, must never forget the rest. The file keeps its line, so that a restart
//! does not forget whom this rule was counted with; it is known again with its first hello.
//!
//! **A replica** is forgotten (`-slave`) when for an hour it has not answered while its master was in reach and did not name it, and
//! it was a replica of this master when it was heard of last. A former master that never came back is
//! kept: should it return it has to be demoted, which takes knowing it.
//!
//! An hour counts from the start of this process at the earliest, since silence is not kept over a restart.

use super::link::LinkKey;
use super::model::{Replica, Role, Target};
use super::timers::{Due, Ms};
use super::{Core, Level};

/// Silence after which one that is gone may be forgotten.
pub const FORGET_AFTER_MS: Ms = 3_600_000;

impl Core {
    pub(super) fn forget_stale(&mut self, m: usize, now: Ms, due: &mut Due) {
        let master = &self.masters[m];
        let mut gone = Vec::new();
        for (id, peer) in &master.peers {
            let heard_at = self.answered_at(peer.me.link).max(peer.hello_at);
            if due.passed(now, heard_at + FORGET_AFTER_MS) && self.peer_may_go(m, id) {
                gone.push(Target::Peer(id.clone()));
            }
        }
        for (name, replica) in &master.replicas {
            let heard_at = self.answered_at(replica.me.link).max(replica.named_at);
            if due.passed(now, heard_at + FORGET_AFTER_MS) && self.replica_may_go(m, replica, now) {
                gone.push(Target::Replica(name.clone()));
            }
        }
        if let Some(target) = gone.first() {
            let event = if matches!(target, Target::Peer(_)) { "-sentinel" } else { "-slave" };
            self.event(Level::Notice, event, m, target, "");
            self.forget(m, target);
            self.save();
            // One at a time: the next is judged by what remains.
            due.at(now);
        }
    }

    /// When the process behind a link last gave a valid answer.
    fn answered_at(&self, key: LinkKey) -> Ms {
        self.links.get(&key).map_or(0, |l| l.available_at)
    }

    fn peer_may_go(&self, m: usize, id: &str) -> bool {
        let master = &self.masters[m];
        let needed = |voters: usize| (voters / 2 + 1).max(master.cfg.quorum as usize);
        let remaining = master.peers.len();
        let all = master.peers.len() + 1 + master.forgotten.len();
        let overlap = needed(remaining) + needed(all) > all;
        overlap && master.peers.keys().all(|other| other == id || self.in_reach(m, other))
    }

    fn replica_may_go(&self, m: usize, replica: &Replica, now: Ms) -> bool {
        let master = &self.masters[m];
        let followed = replica.me.info_at.is_some()
            && replica.me.role_reported == Role::Slave
            && replica.master_host.as_ref().is_some_and(|h| master.me.addr.is(h, replica.master_port));
        let steady = master.me.last_down_at.is_none_or(|at| now - at >= FORGET_AFTER_MS);
        followed && steady && master.failover.is_none() && self.looks_sane(m, now)
    }

    fn forget(&mut self, m: usize, target: &Target) {
        match target {
            Target::Peer(id) => {
                let addr = self.masters[m].peers.get(id).map(|p| p.me.addr.clone());
                self.remove_peer(m, id);
                self.masters[m].forgotten.extend(addr.map(|addr| (id.clone(), addr)));
            }
            Target::Replica(name) => self.remove_replica(m, name),
            Target::Master => {}
        }
    }
}
