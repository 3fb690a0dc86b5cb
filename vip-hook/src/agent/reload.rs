//! Which masters, addresses and links there are: at the start, when the configuration is read again, and when the
//! host's own addresses change.

use std::collections::BTreeSet;
use std::net::IpAddr;

use redoubt_wire::log;

use super::host::Host;
use super::links::node::NodeLink;
use super::links::sentinel::SentinelLink;
use super::store::Store;
use super::{Agent, LinkId, LinkKey, MasterId, Running};
use crate::clock;
use crate::config::{self, Config};
use crate::core::Holder;
use crate::core::types::{Input, VirtualAddress};

impl<H: Host> Agent<H> {
    /// Starts with the configuration that it has.
    pub(super) fn begin(&mut self) {
        // Before the fence is about the configured addresses alone: these may still be on the host, behind it.
        let kept: Vec<VirtualAddress> = self.config.addresses().cloned().collect();
        for done in self.host.remove_leftovers(&kept) {
            match done {
                Ok(text) => log::notice!("{text}"),
                Err(text) => log::warning!("{text}"),
            }
        }
        self.watch_addresses();
        self.read_own_addresses();
        for master in self.config.masters.clone() {
            self.add_master(master);
        }
    }

    /// Takes the file into use as it is now, or says why not and goes on as before.
    pub(super) fn reload(&mut self) {
        if self.stopping.is_some() {
            return;
        }
        self.service.reloading();
        match self.read_again() {
            Ok(config) => {
                self.config_error = None;
                self.apply(config);
                log::notice!(
                    "The configuration was read again and is in use: {}",
                    self.config_file.display()
                );
            }
            Err(error) => {
                log::warning!(
                    "The configuration was read again and is not used; the one before stays: {error}"
                );
                self.config_error = Some(error);
            }
        }
        let status = self.status_line();
        self.service.ready(&status);
    }

    fn read_again(&mut self) -> Result<Config, String> {
        let config = Config::load(&self.config_file).map_err(|e| e.to_string())?;
        let old = &self.config;
        for (key, changed) in [
            ("socket", config.socket != old.socket),
            ("socket-group", config.socket_group != old.socket_group),
            ("state-dir", config.state_dir != old.state_dir),
            ("logfile", config.logfile != old.logfile),
        ] {
            if changed {
                return Err(format!(
                    "{}: {key} changed, which takes a restart of the agent",
                    self.config_file.display()
                ));
            }
        }
        // A state file that cannot be read is found before anything is changed.
        for master in config.masters.iter().filter(|master| self.running(&master.name).is_none()) {
            Store::open(&config.state_dir, &master.name)?;
        }
        Ok(config)
    }

    fn apply(&mut self, config: Config) {
        log::set_level(config.log_level);
        config.warnings().iter().for_each(|warning| log::warning!("{warning}"));
        self.config = config;
        self.read_own_addresses();
        let gone =
            |running: &&Running| !running.leaving && self.config.master(&running.config.name).is_none();
        let gone: Vec<MasterId> = self.masters.values().filter(gone).map(|running| running.id).collect();
        for id in gone {
            if let Some(running) = self.masters.get_mut(&id) {
                running.leaving = true;
            }
            self.input(id, Input::Leave { why: "it is not in the configuration any more" });
        }
        self.watch_addresses();
        for master in self.config.masters.clone() {
            match self.running(&master.name).map(|running| running.id) {
                Some(id) => self.change_master(id, master),
                None => self.add_master(master),
            }
        }
        self.watch_addresses();
        self.close_unused_links();
    }

    /// The master of that name, unless it is on its way out.
    pub(super) fn running(&self, name: &str) -> Option<&Running> {
        self.masters.values().find(|running| running.config.name == name && !running.leaving)
    }

    fn add_master(&mut self, master: config::Master) {
        let store = match Store::open(&self.config.state_dir, &master.name) {
            Ok(store) => store,
            // It could be read a moment ago.
            Err(error) => return log::warning!("Master {} is not served: {error}", master.name),
        };
        let id = self.new_id();
        let now = clock::now();
        let holder = Holder::new(master.settings(self.host_addresses(&master)), store.record().epoch, now);
        let maintenance = store.record().maintenance;
        let node = NodeLink::open(id, master.node.clone(), master.node_login.clone(), self.events.clone());
        let links = self.links_of(&master);
        let running = Running {
            id,
            config: master,
            holder,
            node,
            links,
            store,
            leaving: false,
            on: BTreeSet::new(),
            changed: None,
        };
        self.masters.insert(id, running);
        // Before anything else: what a predecessor may have left decides what may be told of.
        self.tell_addresses(id, 0);
        if maintenance {
            self.input(id, Input::Maintenance(true));
        }
        self.with_holder(id, |holder, now| holder.tick(now));
    }

    /// Tells a master what is so of its addresses, from this index on.
    fn tell_addresses(&mut self, id: MasterId, first: usize) {
        let Some(running) = self.masters.get(&id) else { return };
        let new = running.holder.addresses().filter(|(index, _)| *index >= first);
        let new: Vec<(usize, VirtualAddress)> =
            new.map(|(index, address)| (index, address.clone())).collect();
        for (index, address) in new {
            match self.host.state(&address) {
                Ok(state) => self.input(id, Input::Address { index, state }),
                Err(error) => log::warning!("The state of {} cannot be read: {error}", address.address),
            }
        }
    }

    fn change_master(&mut self, id: MasterId, master: config::Master) {
        let links = self.links_of(&master);
        let settings = master.settings(self.host_addresses(&master));
        let Some(running) = self.masters.get_mut(&id) else { return };
        if (&running.config.node, &running.config.node_login) != (&master.node, &master.node_login) {
            running.node =
                NodeLink::open(id, master.node.clone(), master.node_login.clone(), self.events.clone());
        }
        let kept: Vec<Option<usize>> =
            links.iter().map(|link| running.links.iter().position(|old| old == link)).collect();
        running.links = links;
        running.config = master;
        // New addresses have new indices, above all that there were.
        let first = running.holder.addresses().map(|(index, _)| index + 1).max().unwrap_or_default();
        self.with_holder(id, |holder, now| holder.reload(now, settings, &kept));
        self.tell_addresses(id, first);
    }

    /// What has to be looked at from time to time.
    pub(super) fn follow_host(&mut self) {
        self.watch_addresses();
        let follows = |running: &Running| !running.leaving && running.config.host_addresses.is_none();
        if !self.masters.values().any(follows) || !self.read_own_addresses() {
            return;
        }
        let moved =
            |running: &&Running| follows(running) && running.holder.settings().host_addresses != self.own;
        let moved: Vec<MasterId> = self.masters.values().filter(moved).map(|running| running.id).collect();
        for id in moved {
            let Some(running) = self.masters.get(&id) else { continue };
            log::notice!("Master {}: this host's addresses are now {:?}", running.config.name, self.own);
            let settings = running.config.settings(self.own.clone());
            let kept: Vec<Option<usize>> = (0..settings.sentinels).map(Some).collect();
            self.with_holder(id, |holder, now| holder.reload(now, settings, &kept));
        }
    }

    /// Reads the addresses of this host, but for the virtual ones; false if they cannot be read, and stay as they were.
    fn read_own_addresses(&mut self) -> bool {
        match self.host.own_addresses() {
            Ok(mut own) => {
                own.retain(|ip| !self.config.addresses().any(|address| address.address == *ip));
                own.sort_unstable();
                own.dedup();
                self.own = own;
                true
            }
            Err(error) => {
                log::warning!("The addresses of this host cannot be read: {error}");
                false
            }
        }
    }

    /// Has the host watch the addresses of all masters, also those that are being let go of.
    fn watch_addresses(&mut self) {
        let mut addresses: Vec<VirtualAddress> = self.config.addresses().cloned().collect();
        for (_, address) in self.masters.values().flat_map(|running| running.holder.addresses()) {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        if addresses != self.watched {
            match self.host.configure(&addresses) {
                Ok(()) => self.watched = addresses,
                Err(error) => log::warning!("This host cannot be watched at present: {error}"),
            }
        }
    }

    /// As which addresses the Sentinels may know this host.
    fn host_addresses(&self, master: &config::Master) -> Vec<IpAddr> {
        master.host_addresses.clone().unwrap_or_else(|| self.own.clone())
    }

    fn links_of(&mut self, master: &config::Master) -> Vec<LinkId> {
        let keys = master.sentinels.iter().map(|sentinel| (sentinel.clone(), master.sentinel_login.clone()));
        keys.collect::<Vec<LinkKey>>().into_iter().map(|key| self.link(key)).collect()
    }

    /// The link to a Sentinel, which is made if there is none.
    fn link(&mut self, key: LinkKey) -> LinkId {
        if let Some(id) = self.link_ids.get(&key) {
            return *id;
        }
        let id = self.new_id();
        self.links.insert(id, SentinelLink::open(id, key.0.clone(), key.1.clone(), self.events.clone()));
        self.link_ids.insert(key, id);
        id
    }

    fn close_unused_links(&mut self) {
        let used: BTreeSet<LinkId> =
            self.masters.values().flat_map(|running| running.links.iter().copied()).collect();
        self.link_ids.retain(|_, id| used.contains(id));
        let unused: Vec<LinkId> = self.links.keys().copied().filter(|id| !used.contains(id)).collect();
        for link in unused.into_iter().filter_map(|id| self.links.remove(&id)) {
            tokio::spawn(link.close());
        }
    }

    fn new_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }
}
