//! Publish and subscribe: which client listens to which channel or pattern.
//!
//! Channels are found by hash; patterns are few and are matched one by one. Delivery goes
//! through the engine's outbox, so that a publisher never touches another client's socket.

use std::collections::HashMap;
use std::sync::Arc;

use super::session::ClientId;

/// The subscriptions of all clients, from the channels' side.
#[derive(Debug, Default)]
pub struct PubSub {
    channels: HashMap<Arc<[u8]>, Vec<ClientId>>,
    /// In the order of their first subscription, as Redis delivers.
    patterns: Vec<(Arc<[u8]>, Vec<ClientId>)>,
}

impl PubSub {
    /// `client` listens to `channel` from now on.
    pub fn subscribe(&mut self, channel: Arc<[u8]>, client: ClientId) {
        self.channels.entry(channel).or_default().push(client);
    }

    /// `client` no longer listens to `channel`.
    pub fn unsubscribe(&mut self, channel: &[u8], client: ClientId) {
        if let Some(clients) = self.channels.get_mut(channel) {
            clients.retain(|c| *c != client);
            if clients.is_empty() {
                self.channels.remove(channel);
            }
        }
    }

    /// `client` listens to every channel that matches `pattern`.
    pub fn psubscribe(&mut self, pattern: Arc<[u8]>, client: ClientId) {
        match self.patterns.iter_mut().find(|(p, _)| *p == pattern) {
            Some((_, clients)) => clients.push(client),
            None => self.patterns.push((pattern, vec![client])),
        }
    }

    /// `client` no longer listens to `pattern`.
    pub fn punsubscribe(&mut self, pattern: &[u8], client: ClientId) {
        if let Some(i) = self.patterns.iter().position(|(p, _)| **p == *pattern) {
            self.patterns[i].1.retain(|c| *c != client);
            if self.patterns[i].1.is_empty() {
                self.patterns.remove(i);
            }
        }
    }

    /// Nobody listens to anything.
    pub fn is_empty(&self) -> bool {
        self.channels.is_empty() && self.patterns.is_empty()
    }

    /// Those who listen to exactly this channel, in order of subscription.
    pub fn subscribers(&self, channel: &[u8]) -> &[ClientId] {
        self.channels.get(channel).map_or(&[], |v| v.as_slice())
    }

    /// The patterns and who listens to each.
    pub fn patterns(&self) -> impl Iterator<Item = (&Arc<[u8]>, &[ClientId])> {
        self.patterns.iter().map(|(p, c)| (p, c.as_slice()))
    }

    /// The channels with at least one subscriber.
    pub fn channels(&self) -> impl Iterator<Item = &Arc<[u8]>> {
        self.channels.keys()
    }

    /// How many different patterns there are.
    pub fn pattern_count(&self) -> usize {
        self.patterns.len()
    }

    /// How many channels have subscribers.
    pub fn channel_count(&self) -> usize {
        self.channels.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_subscriber_takes_the_channel_with_it() {
        let mut p = PubSub::default();
        p.subscribe(Arc::from(&b"c"[..]), 1);
        p.subscribe(Arc::from(&b"c"[..]), 2);
        p.psubscribe(Arc::from(&b"c*"[..]), 1);
        assert_eq!(p.subscribers(b"c"), [1, 2]);
        p.unsubscribe(b"c", 1);
        p.unsubscribe(b"c", 2);
        assert_eq!(p.channel_count(), 0);
        assert!(!p.is_empty());
        p.punsubscribe(b"c*", 1);
        assert!(p.is_empty());
    }
}
