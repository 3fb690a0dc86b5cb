//! Hello messages as the original takes them in.

use redoubt_sentinel::core::model::Addr;
use redoubt_sentinel::core::timers::Ms;

use super::{Classic, Target};

impl Classic {
    pub(super) fn hello(&mut self, text: &str, now: Ms) {
        let parts: Vec<&str> = text.split(',').collect();
        let &[host, port, run_id, epoch, name, master_host, master_port, config_epoch] = parts.as_slice()
        else {
            return;
        };
        let numbers = (port.parse(), epoch.parse(), master_port.parse(), config_epoch.parse());
        let (Ok(port), Ok(epoch), Ok(master_port), Ok(config_epoch)) = numbers else { return };
        let (epoch, config_epoch): (u64, u64) = (epoch, config_epoch);
        let found = self.masters.iter().position(|m| m.cfg.name == name);
        let Some(m) = found.filter(|_| run_id != self.id) else { return };
        let known = |p: &super::Peer| p.me.run_id.as_deref() == Some(run_id) && p.me.addr.is(host, port);
        if !self.masters[m].peers.iter().any(known) {
            self.meet(m, run_id, Addr::of_ip(host, port), now);
        }
        if epoch > self.epoch {
            self.epoch = epoch;
            self.flush();
            self.event_text("+new-epoch", epoch.to_string());
        }
        if config_epoch > self.masters[m].config_epoch {
            self.masters[m].config_epoch = config_epoch;
            let old = self.masters[m].me.addr.clone();
            if !old.is(master_host, master_port) {
                self.event("+config-update-from", m, &Target::Peer(run_id.to_string()));
                let text = format!("{name} {} {} {master_host} {master_port}", old.ip, old.port);
                self.event_text("+switch-master", text);
                self.switch_address(m, Addr::of_ip(master_host, master_port), now);
            }
        }
    }

    fn meet(&mut self, m: usize, run_id: &str, addr: Addr, now: Ms) {
        if !self.remove_peer(m, run_id) {
            let squatter = self.masters[m].peers.iter().find(|p| p.me.addr.same(&addr));
            if let Some(old) = squatter.and_then(|p| p.me.run_id.clone()) {
                self.event("+sentinel-invalid-addr", m, &Target::Peer(old.clone()));
                for other in 0..self.masters.len() {
                    self.remove_peer(other, &old);
                }
            }
        }
        self.add_peer(m, run_id, addr, now);
        self.event("+sentinel", m, &Target::Peer(run_id.to_string()));
        self.flush();
    }
}
