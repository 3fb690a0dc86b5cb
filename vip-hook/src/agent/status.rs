//! What `status` and systemd are told, from the state machines, the links and the host.

use std::time::Duration;

use redoubt_wire::service::STATUS_MAX;

use super::host::Host;
use super::{Agent, Running};
use crate::clock;
use crate::control::{Address, Fence, Master, Said, Sentinel, Status};
use crate::core::AddressView;
use crate::core::types::Answer;

impl<H: Host> Agent<H> {
    pub(super) fn status(&self) -> Status {
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            pid: std::process::id(),
            uptime_ms: ms(clock::now().saturating_sub(self.started)),
            config: self.config_file.display().to_string(),
            config_error: self.config_error.clone(),
            fence: self.fence(),
            masters: self.masters.values().map(|running| self.master(running)).collect(),
        }
    }

    /// One line for `systemctl status`: first what is wrong with the configuration, then each master's addresses, whether
    /// this host answers for them, and why. Of very many masters the first ones are told of.
    pub(super) fn status_line(&self) -> String {
        let held = self.masters.values().filter(|running| running.is_on()).count();
        let mut line = format!("Holds {held} of {} masters", self.masters.len());
        if let Some(error) = &self.config_error {
            line = format!("Configuration not taken into use: {error}; {line}");
        }
        for running in self.masters.values() {
            if line.len() > STATUS_MAX {
                break;
            }
            let view = running.holder.view(clock::now());
            let names: Vec<String> =
                view.addresses.iter().map(|address| address.address.address.to_string()).collect();
            line += &format!(". {} ({}): {}", view.master, names.join(", "), view.why.trim_end_matches('.'));
            for address in view.addresses {
                if let Some(error) = address.error {
                    line += &format!("; {}: {error}", address.address.address);
                }
            }
        }
        line
    }

    /// What the kernel does, said for the longest lease.
    pub(super) fn fence(&self) -> Fence {
        let longest = self.config.masters.iter().map(|master| master.lease).max();
        self.host.fence(longest.unwrap_or_default())
    }

    fn master(&self, running: &Running) -> Master {
        let view = running.holder.view(clock::now());
        let settings = running.holder.settings();
        let sentinels = running.config.sentinels.iter().enumerate().map(|(index, endpoint)| {
            let link = running.links.get(index).and_then(|id| self.links.get(id)).map(|link| link.state());
            let said = view.sentinels.get(index);
            Sentinel {
                endpoint: endpoint.to_string(),
                down: link.as_ref().and_then(|link| link.down.clone()),
                classic: link.as_ref().and_then(|link| link.classic),
                counts: said.is_some_and(|said| said.counts),
                answer: said
                    .and_then(|said| said.answer.as_ref())
                    .map(|(age, answer)| Said { text: answer_text(answer), age_ms: ms(*age) }),
            }
        });
        Master {
            name: running.config.name.clone(),
            holds: view.holds,
            remaining_ms: view.remaining.map(ms),
            epoch: view.epoch,
            maintenance: view.maintenance,
            released: view.released,
            why: view.why.clone(),
            next: view.next.clone(),
            node: running.config.node.to_string(),
            node_role: view
                .node
                .as_ref()
                .map(|(age, role)| Said { text: role.to_string(), age_ms: ms(*age) }),
            host_addresses: settings.host_addresses.iter().map(ToString::to_string).collect(),
            sentinels: sentinels.collect(),
            addresses: view.addresses.iter().map(address).collect(),
        }
    }
}

fn address(view: &AddressView) -> Address {
    Address {
        address: format!("{}/{}", view.address.address, view.address.prefix_len),
        interface: view.address.interface.clone(),
        on: view.on,
        link_up: view.state.map(|state| state.link_up),
        present: view.state.map(|state| state.present),
        error: view.error.clone(),
    }
}

fn answer_text(answer: &Answer) -> String {
    match answer {
        Answer::Vouched { epoch, other } => {
            format!("vouches for this host in epoch {epoch}, for no other since {} ms", other.as_millis())
        }
        Answer::Refused { epoch, reason } => {
            format!("does not vouch for this host, in epoch {epoch}: {reason}")
        }
        Answer::Names { address, epoch } => format!("names {address} in epoch {epoch}"),
        Answer::Nothing(why) => format!("no answer: {why}"),
    }
}

fn ms(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
