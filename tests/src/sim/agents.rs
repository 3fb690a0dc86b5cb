//! Agents of virtual IPs, as far as Sentinels hear of them: at random moments they ask who vouches for which node.
//!
//! What they rely on is checked with every answer. A Sentinel that vouches tells how long ago it last did so for another
//! node of the same master, and that is never more than the truth by its own clock, restarts included; and what
//! it vouches for is what it tells everybody, which never goes back.

use std::collections::BTreeMap;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use redoubt_sentinel::core::timers::Ms;
use redoubt_wire::resp::value::Value;

use super::checks::Rule;
use super::node::NODE_PORT;
use super::plan::Kind;
use super::time::{MS, Us};
use super::world::World;

/// Set apart from the streams of the plan, the network and the faults.
const AGENT_STREAM: u64 = 0x6167_656e_7473;

/// See the module's head.
#[derive(Debug)]
pub struct Agents {
    rng: Xoshiro256PlusPlus,
    /// When the next question is asked.
    pub(super) asks_at: Us,
    /// By Sentinel and master: when each node was last vouched for, by the Sentinel's clock.
    vouched: BTreeMap<(usize, usize), BTreeMap<usize, Ms>>,
}

impl Agents {
    /// The agents of a world's seed.
    pub fn new(world: &World) -> Self {
        let rng = Xoshiro256PlusPlus::seed_from_u64(world.plan.seed ^ AGENT_STREAM);
        Agents { rng, asks_at: world.now, vouched: BTreeMap::new() }
    }

    /// The agent of one node asks all Sentinels.
    pub(super) fn ask(&mut self, world: &mut World) {
        let longest = (world.plan.down_after_ms * MS / 4).max(2);
        self.asks_at = world.now + self.rng.random_range(1..longest);
        let m = self.rng.random_range(0..world.plan.masters);
        let group = m * (world.plan.replicas + 1)..(m + 1) * (world.plan.replicas + 1);
        let masters: Vec<usize> = group.clone().filter(|n| world.nodes[*n].of.is_none()).collect();
        let n = match masters.as_slice() {
            [first, ..] if self.rng.random_ratio(2, 3) => *first,
            _ => self.rng.random_range(group),
        };
        for s in 0..world.sentinels.len() {
            if world.sentinels[s].runs() && world.sentinels[s].kind == Kind::Redoubt {
                self.ask_one(world, s, m, n);
            }
        }
    }

    fn ask_one(&mut self, world: &mut World, s: usize, m: usize, n: usize) {
        let (name, ip, port) = (format!("m{m}"), world.node_ip(n), NODE_PORT.to_string());
        let client = world.command(s, &["SENTINEL", "VOUCH", &name, &ip, &port]);
        // The Sentinel may have died of the question, at a write that was due.
        let Some(answer) = world.replies.remove(&client) else { return };
        let (epoch, figure) = match answer.as_slice() {
            Some([Value::Bulk(word), Value::Integer(epoch), Value::Integer(ms)]) if word == b"vouched" => {
                (*epoch as u64, *ms as Ms)
            }
            Some([Value::Bulk(word), Value::Integer(_), Value::Bulk(_)]) if word == b"refused" => return,
            _ => return world.violated(Rule::Sound, format!("an answer to VOUCH: {answer:?}")),
        };
        world.note_told(s, m, n, epoch);
        let now = world.sentinels[s].clock.read(world.now);
        let vouched = self.vouched.entry((s, m)).or_default();
        let others = vouched.iter().filter(|(other, _)| **other != n);
        let latest = others.max_by_key(|(_, at)| **at).map(|(other, at)| (*other, *at));
        vouched.insert(n, now);
        if let Some((other, at)) = latest
            && figure > now.saturating_sub(at)
        {
            let name = world.sentinel_name(s);
            let ago = now.saturating_sub(at);
            let text = format!("{name} vouches for node {n} and, as it says, for no other for {figure} ms");
            world.violated(Rule::Vouched, format!("{text}, but {ago} ms ago it did for node {other}"));
        }
    }
}
