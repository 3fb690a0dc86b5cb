//! Which replica becomes the master.

use std::cmp::Reverse;

use super::Core;
use super::model::{Master, Replica, Role, Target};
use super::timers::Ms;

impl Core {
    /// The best replica for promotion: up, heard of lately, not too long without its master, and none that
    /// refused in this failover; then the lowest priority, the highest offset, the smallest run id.
    pub(super) fn best_replica(&self, m: usize, now: Ms) -> Option<String> {
        let master = &self.masters[m];
        let rank = |r: &Replica| {
            let run_id = r.me.run_id.as_ref().map(|id| id.to_ascii_lowercase());
            (r.priority, Reverse(r.offset), run_id.is_none(), run_id)
        };
        let refused = |name: &String| master.failover.as_ref().is_some_and(|f| f.refused.contains(name));
        let eligible = master
            .replicas
            .iter()
            .filter(|(name, r)| !refused(name) && self.eligible(m, master, name, r, now));
        eligible.min_by_key(|(_, r)| rank(r)).map(|(name, _)| name.clone())
    }

    fn eligible(&self, m: usize, master: &Master, name: &str, replica: &Replica, now: Ms) -> bool {
        let Some(link) = self.link_of(m, &Target::Replica(name.to_string())) else { return false };
        let info_valid_ms = match master.me.s_down_since {
            Some(_) => 5 * self.timers.ping_period,
            None => 3 * self.timers.info_period,
        };
        // A master that became a replica has not served since, however late that made it count as down.
        let demoted_at = Some(master.me.role_reported_at).filter(|_| master.me.role_reported == Role::Slave);
        let down_since = [master.me.s_down_since, demoted_at].into_iter().flatten().min();
        let master_down_ms = down_since.map_or(0, |since| now - since);
        !replica.me.s_down()
            && link.up().is_some()
            && now - link.available_at <= 5 * self.timers.ping_period
            && replica.priority != 0
            && replica.me.info_at.is_some_and(|at| now - at <= info_valid_ms)
            && replica.link_down_ms <= master_down_ms + 10 * master.cfg.down_after_ms
    }

    /// Whether a replica that might be chosen has not told its standing since `since`.
    pub(super) fn awaits_replica_info(&self, m: usize, since: Ms) -> bool {
        self.masters[m].replicas.iter().any(|(name, r)| {
            self.connected_to(m, &Target::Replica(name.clone())).is_some()
                && !r.me.s_down()
                && r.me.info_at.is_none_or(|at| at < since)
        })
    }
}
