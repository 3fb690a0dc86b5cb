//! Hello messages: how Sentinels find each other and how a new configuration spreads.
//!
//! `ip,port,runid,current-epoch,master,master-ip,master-port,config-epoch`, published on every data node
//! and sent to every other Sentinel.

use super::link::Pending;
use super::links::HELLO_CHANNEL;
use super::model::{Addr, OwnHello, Target};
use super::names::{Unresolved, Waiting};
use super::timers::Ms;
use super::vip::Entry;
use super::{Core, Level};

/// A hello message in its parts.
#[derive(Debug, PartialEq, Eq)]
struct Hello<'a> {
    host: &'a str,
    port: u16,
    run_id: &'a str,
    epoch: u64,
    master: &'a str,
    master_host: &'a str,
    master_port: u16,
    config_epoch: u64,
}

impl<'a> Hello<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let parts: Vec<&str> = text.split(',').collect();
        let &[host, port, run_id, epoch, master, master_host, master_port, config_epoch] = parts.as_slice()
        else {
            return None;
        };
        if run_id.is_empty() || run_id.len() > 64 || !run_id.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return None;
        }
        Some(Hello {
            host,
            port: port.parse().ok()?,
            run_id,
            epoch: epoch.parse().ok()?,
            master,
            master_host,
            master_port: master_port.parse().ok()?,
            config_epoch: config_epoch.parse().ok()?,
        })
    }
}

impl Core {
    /// Sends our hello about a master to one of its instances.
    pub(super) fn publish_hello(&mut self, m: usize, target: &Target, now: Ms) {
        if *target == Target::Master && self.writes_are_paused(m) {
            // PUBLISH waits as writes do, and all that follows on that connection with it.
            return;
        }
        let hostnames = self.globals.announce_hostnames;
        let Some(link) = self.link_of(m, target) else { return };
        let own = self.globals.announce_ip.clone().or_else(|| link.local_ip.clone());
        let Some(own) = own else { return };
        let master = &self.masters[m];
        let addr = master.current_addr();
        let text = format!(
            "{own},{},{},{},{},{},{},{}",
            self.globals.announce_port.unwrap_or(self.globals.port),
            self.id,
            self.epoch,
            master.name(),
            addr.announced(hostnames),
            addr.port,
            master.config_epoch,
        );
        self.send_to(m, target, &["PUBLISH", HELLO_CHANNEL, &text], Pending::Ignored("PUBLISH"));
        if let Some(i) = self.masters[m].instance_mut(target) {
            i.published_at = Some(now);
        }
    }

    /// Sends our hello about a master to everybody at once.
    pub(super) fn publish_to_all(&mut self, m: usize, now: Ms) {
        for target in self.masters[m].targets() {
            if self.connected_to(m, &target).is_some() {
                self.publish_hello(m, &target, now);
            }
        }
    }

    /// Takes in a hello message of another Sentinel; `direct` if it handed it to us itself.
    pub(super) fn hello(&mut self, text: &str, direct: bool, now: Ms) {
        let Some(hello) = Hello::parse(text).filter(|h| h.run_id != self.id) else { return };
        let Some(m) = self.index_by_name(hello.master) else { return };
        let id = self.masters[m].id;
        let mut news = self.masters[m].guard.is_some();
        let known = self.masters[m].peers.get(hello.run_id).map(|p| p.me.addr.clone());
        if !known.is_some_and(|a| a.is(hello.host, hello.port)) {
            let addr = match self.resolve(hello.host, hello.port) {
                Ok(addr) => addr,
                Err(Unresolved::Pending) => {
                    return self.wait_for_name(hello.host, Waiting::Hello { text: text.to_string(), direct });
                }
                Err(Unresolved::Invalid) => return,
            };
            if !self.refuses_virtual(m, Entry::Sentinel, &addr, now) {
                self.meet(m, &hello, addr, now);
                news = true;
            }
        }
        if hello.epoch > self.epoch {
            self.adopt_epoch(m, hello.epoch, now);
            news = true;
        }
        if hello.config_epoch > self.masters[m].newest_config_epoch() {
            let addr = match self.resolve(hello.master_host, hello.master_port) {
                Ok(addr) => addr,
                Err(Unresolved::Pending) => {
                    return self
                        .wait_for_name(hello.master_host, Waiting::Hello { text: text.to_string(), direct });
                }
                Err(Unresolved::Invalid) => return,
            };
            self.learn_configuration(m, hello.config_epoch, addr, hello.run_id, now);
        }
        if let Some(peer) = self.masters[m].peers.get_mut(hello.run_id) {
            peer.hello_at = now;
            if direct {
                let (epoch, config_epoch) = (hello.epoch, hello.config_epoch);
                peer.own_hello = Some(OwnHello { at: now, epoch, config_epoch });
                // It may have come farther than when it was asked.
                peer.epochs_asked_at = None;
            }
        }
        if direct {
            self.look_at_strays(m, now);
        }
        if news {
            self.evaluate(id, now);
        }
    }

    /// Enters a Sentinel not known at this address: new, moved, or in the place of another.
    fn meet(&mut self, m: usize, hello: &Hello<'_>, addr: Addr, now: Ms) {
        let moved = self.remove_peer(m, hello.run_id);
        if moved {
            let tail = format!(" ip {} port {} for {}", hello.host, hello.port, hello.run_id);
            self.event(Level::Notice, "+sentinel-address-switch", m, &Target::Master, &tail);
        } else {
            let squatter = self.masters[m].peers.iter().find(|(_, p)| p.me.addr.same(&addr));
            if let Some(old) = squatter.map(|(id, _)| id.clone()) {
                self.event(Level::Notice, "+sentinel-invalid-addr", m, &Target::Peer(old.clone()), "");
                for other in 0..self.masters.len() {
                    self.remove_peer(other, &old);
                }
            }
        }
        let target = self.add_peer(m, hello.run_id, addr.clone(), now);
        if moved {
            self.move_peer_elsewhere(m, hello.run_id, &addr, now);
        } else {
            self.event(Level::Notice, "+sentinel", m, &target, "");
        }
        self.save();
    }

    /// A Sentinel that moved has moved for all masters it watches with us.
    fn move_peer_elsewhere(&mut self, m: usize, run_id: &str, addr: &Addr, now: Ms) {
        let mut moved = 0;
        for other in 0..self.masters.len() {
            let elsewhere = |p: &super::model::Peer| !p.me.addr.same(addr);
            if other != m && self.masters[other].peers.get(run_id).is_some_and(elsewhere) {
                self.remove_peer(other, run_id);
                self.add_peer(other, run_id, addr.clone(), now);
                moved += 1;
            }
        }
        if moved > 0 {
            let tail = format!(" {moved} additional matching instances");
            let target = Target::Peer(run_id.to_string());
            self.event(Level::Notice, "+sentinel-address-update", m, &target, &tail);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_messages_of_eight_sound_parts_are_understood() {
        let good = "127.0.0.1,26379,abc,3,mymaster,127.0.0.1,6379,2";
        let hello = Hello::parse(good).unwrap();
        assert_eq!((hello.port, hello.epoch, hello.config_epoch, hello.master), (26379, 3, 2, "mymaster"));
        for bad in [
            "",
            "a,b",
            "h,1,id,1,m,h,2",
            "h,1,id,1,m,h,2,3,4",
            "h,x,id,1,m,h,2,3",
            "h,1,,1,m,h,2,3",
            "h,1,i d,1,m,h,2,3",
        ] {
            assert_eq!(Hello::parse(bad), None, "{bad}");
        }
    }
}
