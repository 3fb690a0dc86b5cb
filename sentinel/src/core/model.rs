//! The things a Sentinel keeps in mind: monitored masters, their replicas, the other
//! Sentinels that watch them, and how far a failover has come.

use std::collections::BTreeMap;

use super::config::MasterConfig;
use super::link::LinkKey;
use super::timers::Ms;
use super::vouch::Vouched;

/// Where an instance listens: the name it is known by and the address that stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addr {
    /// Host name as configured or announced; equals `ip` where an address was given.
    pub host: String,
    /// The IP address.
    pub ip: String,
    /// TCP port; 0 is never connected to.
    pub port: u16,
}

impl Addr {
    /// An address given by its IP.
    pub fn of_ip(ip: &str, port: u16) -> Self {
        Addr { host: ip.to_string(), ip: ip.to_string(), port }
    }

    /// Same port, and same IP or same host name.
    pub fn same(&self, other: &Addr) -> bool {
        self.is(&other.ip, other.port) || self.is(&other.host, other.port)
    }

    /// Whether `host`, a name or an IP, and `port` denote this address.
    pub fn is(&self, host: &str, port: u16) -> bool {
        self.port == port && (self.ip.eq_ignore_ascii_case(host) || self.host.eq_ignore_ascii_case(host))
    }

    /// What is told to others: the host name with `announce-hostnames`, else the IP.
    pub fn announced(&self, hostnames: bool) -> &str {
        if hostnames { &self.host } else { &self.ip }
    }

    /// `ip:port`, the name of a replica; IPv6 in brackets.
    pub fn name(&self, hostnames: bool) -> String {
        let host = self.announced(hostnames);
        if host.contains(':') { format!("[{host}]:{}", self.port) } else { format!("{host}:{}", self.port) }
    }
}

/// What a data node says it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// `role:master`
    Master,
    /// `role:slave`
    Slave,
}

impl Role {
    /// The word Redis uses.
    pub fn word(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Slave => "slave",
        }
    }
}

/// A master's place in the memory of this process; never reused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MasterId(pub u64);

/// One of the instances that belong to a master.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The master itself.
    Master,
    /// A replica, by name.
    Replica(String),
    /// Another Sentinel, by run id.
    Peer(String),
}

/// What masters, replicas and Sentinels have in common.
#[derive(Debug)]
pub struct Instance {
    /// Where it listens.
    pub addr: Addr,
    /// Its run id, once it told.
    pub run_id: Option<String>,
    /// The connections and the record of liveness; Sentinels share theirs among masters.
    pub link: LinkKey,
    /// Since when it is subjectively down.
    pub s_down_since: Option<Ms>,
    /// When it last became subjectively or objectively down.
    pub last_down_at: Option<Ms>,
    /// A SCRIPT KILL was sent in this episode of SDOWN.
    pub script_kill_sent: bool,
    /// The role of its last INFO.
    pub role_reported: Role,
    /// Since when it reports this role.
    pub role_reported_at: Ms,
    /// When the last INFO arrived.
    pub info_at: Option<Ms>,
    /// When the last INFO was asked for.
    pub info_asked_at: Option<Ms>,
    /// The last complete INFO.
    pub info_text: String,
    /// When the last hello was sent to it.
    pub published_at: Option<Ms>,
    /// When something about it alone is due next: a probe, a verdict.
    pub due: Ms,
}

impl Instance {
    /// An instance nothing is known of yet.
    pub fn new(addr: Addr, link: LinkKey, role: Role, now: Ms) -> Self {
        Instance {
            addr,
            run_id: None,
            link,
            s_down_since: None,
            last_down_at: None,
            script_kill_sent: false,
            role_reported: role,
            role_reported_at: now,
            info_at: None,
            info_asked_at: None,
            info_text: String::new(),
            published_at: None,
            due: now,
        }
    }

    /// Whether it is subjectively down.
    pub fn s_down(&self) -> bool {
        self.s_down_since.is_some()
    }
}

/// How far a replica is with following the promoted one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reconf {
    /// Not told yet.
    None,
    /// SLAVEOF was sent at that time.
    Sent(Ms),
    /// It names the new master; its link is not up yet.
    InProgress(Ms),
    /// Its link to the new master is up, or we gave up on it.
    Done,
}

/// A replica of a monitored master.
#[derive(Debug)]
pub struct Replica {
    /// The common part.
    pub me: Instance,
    /// `slave_priority`; 0 is never promoted.
    pub priority: i64,
    /// `slave_repl_offset`.
    pub offset: u64,
    /// `master_host`.
    pub master_host: Option<String>,
    /// `master_port`.
    pub master_port: u16,
    /// `master_link_status:up`
    pub link_up: bool,
    /// How long it says to be without its master, in milliseconds.
    pub link_down_ms: Ms,
    /// `replica_announced`; false hides it from SENTINEL REPLICAS.
    pub announced: bool,
    /// When it last changed master or role.
    pub conf_changed_at: Ms,
    /// It is the one being promoted.
    pub promoted: bool,
    /// Progress of the reconfiguration after a promotion.
    pub reconf: Reconf,
    /// When its master last named it.
    pub named_at: Ms,
}

impl Replica {
    /// A replica nothing is known of yet.
    pub fn new(me: Instance, now: Ms) -> Self {
        Replica {
            me,
            priority: 100,
            offset: 0,
            master_host: None,
            master_port: 0,
            link_up: false,
            link_down_ms: 0,
            announced: true,
            conf_changed_at: now,
            promoted: false,
            reconf: Reconf::None,
            named_at: now,
        }
    }
}

/// A newer configuration of a master that is being written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coming {
    /// Its config epoch.
    pub epoch: u64,
    /// Its address.
    pub addr: Addr,
    /// The Sentinel that told of it; none if it is our own promotion.
    pub from: Option<String>,
}

/// What a Sentinel told us directly of its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnHello {
    /// When it came.
    pub at: Ms,
    /// Its current epoch.
    pub epoch: u64,
    /// Its config epoch of the master.
    pub config_epoch: u64,
}

/// What another Sentinel answered to SENTINEL EPOCHS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    /// When it was asked: what it answered was so at that time or later.
    pub asked_at: Ms,
    /// Its current epoch.
    pub epoch: u64,
    /// Its config epoch of the master.
    pub config_epoch: u64,
}

/// Another Sentinel that watches the same master.
#[derive(Debug)]
pub struct Peer {
    /// The common part; `run_id` is its id.
    pub me: Instance,
    /// When its last hello came.
    pub hello_at: Ms,
    /// It told us that it sees the master down.
    pub says_down: bool,
    /// When it last answered our question.
    pub answered_at: Option<Ms>,
    /// When it was last asked, and whether that answer is still out.
    pub asked_at: Option<Ms>,
    /// A question is on its way.
    pub asking: bool,
    /// The epoch of the last request for its vote that it answered, whichever way.
    pub answered_epoch: u64,
    /// Its last hello that came from itself and not by way of a data node, which may have kept it.
    pub own_hello: Option<OwnHello>,
    /// When it was asked how far it has come, and has not been heard of since.
    pub epochs_asked_at: Option<Ms>,
    /// What it answered last.
    pub epochs: Option<Epochs>,
    /// Whom it voted for.
    pub leader: Option<String>,
    /// In which epoch.
    pub leader_epoch: u64,
}

impl Peer {
    /// A Sentinel just heard of.
    pub fn new(me: Instance, now: Ms) -> Self {
        Peer {
            me,
            hello_at: now,
            says_down: false,
            answered_at: None,
            asked_at: None,
            asking: false,
            answered_epoch: 0,
            own_hello: None,
            epochs_asked_at: None,
            epochs: None,
            leader: None,
            leader_epoch: 0,
        }
    }
}

/// The steps of a failover, as the leader goes through them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FailoverState {
    /// Collecting votes.
    WaitStart,
    /// Elected; choosing the replica.
    SelectSlave,
    /// Chosen; waiting for a connection to tell it.
    SendSlaveofNoOne,
    /// Told; waiting for it to be a master.
    WaitPromotion,
    /// Promoted; telling the other replicas.
    ReconfSlaves,
    /// Done; the entry takes the new address.
    UpdateConfig,
}

impl FailoverState {
    /// The name in SENTINEL MASTER.
    pub fn word(self) -> &'static str {
        match self {
            FailoverState::WaitStart => "wait_start",
            FailoverState::SelectSlave => "select_slave",
            FailoverState::SendSlaveofNoOne => "send_slaveof_noone",
            FailoverState::WaitPromotion => "wait_promotion",
            FailoverState::ReconfSlaves => "reconf_slaves",
            FailoverState::UpdateConfig => "update_config",
        }
    }
}

/// Why there is a failover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The master is objectively down.
    Down,
    /// An operator asked for it: votes are sought, agreement is not required.
    Operator,
    /// An operator asked for it, and no write may be lost.
    Coordinated,
}

/// How far a coordinated failover has come in handing the writes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Handover {
    /// The master was told to pause writes at that time; how far its stream goes is not known yet.
    Pausing(Ms),
    /// Writes are paused since that time; the replica is to reach that offset.
    CatchingUp(Ms, u64),
}

/// A failover this Sentinel is leading or standing for.
#[derive(Debug)]
pub struct Failover {
    /// Why it is.
    pub cause: Cause,
    /// Where it is.
    pub state: FailoverState,
    /// Its epoch, which becomes the config epoch of the new master.
    pub epoch: u64,
    /// When it began.
    pub started_at: Ms,
    /// When it entered `state`.
    pub state_at: Ms,
    /// Until when votes are waited for.
    pub election_ends_at: Ms,
    /// The epoch and our vote for ourselves are on disk, so others may hear of them.
    pub durable: bool,
    /// The votes could not be had: an operator's word stands for them, in an epoch that no election makes.
    pub alone: bool,
    /// The replica being promoted, by name.
    pub promoted: Option<String>,
    /// The promotion went out and was not refused: no other replica is promoted in this epoch.
    pub sent: bool,
    /// Replicas that refused to be promoted.
    pub refused: Vec<String>,
    /// The writes of the old master are paused.
    pub handover: Option<Handover>,
}

impl Failover {
    /// A candidacy that ends without result after `patience` ms.
    pub fn new(cause: Cause, epoch: u64, now: Ms, patience: Ms) -> Self {
        Failover {
            cause,
            state: FailoverState::WaitStart,
            epoch,
            started_at: now,
            state_at: now,
            election_ends_at: now + patience,
            durable: false,
            alone: false,
            promoted: None,
            sent: false,
            refused: Vec::new(),
            handover: None,
        }
    }

    /// Whether an operator asked for it.
    pub fn forced(&self) -> bool {
        self.cause != Cause::Down
    }
}

/// When this Sentinel may stand for election again.
#[derive(Debug, Default)]
pub struct Candidacy {
    /// When the first one may stand in this ODOWN; the others follow in their turns.
    pub turns_from: Ms,
    /// A vote for another, or an election without result, bars it until then.
    pub not_before: Ms,
    /// Consecutive elections that brought no new master that lasted; each doubles the pause.
    pub failures: u32,
    /// Whom we voted for last, other than ourselves, and when.
    pub voted_other: Option<(String, Ms)>,
    /// The pause for the failed leader that `voted_other` names has been taken into account.
    pub counted: bool,
}

/// A former master that waits to hear that it still is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guard {
    /// Since when we know.
    pub since: Ms,
    /// When we last confirmed it.
    pub confirmed_at: Option<Ms>,
}

/// A monitored master.
#[derive(Debug)]
pub struct Master {
    /// Its place in memory.
    pub id: MasterId,
    /// Its settings, with its name.
    pub cfg: MasterConfig,
    /// The common part.
    pub me: Instance,
    /// Its replicas by name.
    pub replicas: BTreeMap<String, Replica>,
    /// The other Sentinels by id.
    pub peers: BTreeMap<String, Peer>,
    /// Sentinels that were forgotten because they were gone for long, with their last address.
    pub forgotten: BTreeMap<String, Addr>,
    /// Since when it is objectively down.
    pub o_down_since: Option<Ms>,
    /// The epoch in which its present address was agreed on.
    pub config_epoch: u64,
    /// A newer configuration that takes effect once it is on disk.
    pub coming: Option<Coming>,
    /// Whom we voted for last; not kept over a restart.
    pub leader: Option<String>,
    /// The epoch of our last vote; on disk before anybody hears of the vote.
    pub leader_epoch: u64,
    /// The write that holds our last vote; nobody hears of the vote before it is done.
    pub vote_seq: u64,
    /// The failover of our own, if one is under way.
    pub failover: Option<Failover>,
    /// When we may stand for election.
    pub candidacy: Candidacy,
    /// Since when its process is known to have been replaced; cleared by the next PONG.
    pub rebooted_at: Option<Ms>,
    /// Since when it serves: its promotion or the end of its last ODOWN, if this process saw one.
    pub serves_since: Option<Ms>,
    /// It refuses writes until a majority confirms it.
    pub guard: Option<Guard>,
    /// For which address we vouched.
    pub vouched: Vouched,
    /// When something is due that concerns it as a whole.
    pub due: Ms,
    /// When something is due for one of its instances.
    pub instances_due: Ms,
}

impl Master {
    /// The name it is monitored under.
    pub fn name(&self) -> &str {
        &self.cfg.name
    }

    /// The instance that `target` names.
    pub fn instance(&self, target: &Target) -> Option<&Instance> {
        match target {
            Target::Master => Some(&self.me),
            Target::Replica(name) => self.replicas.get(name).map(|r| &r.me),
            Target::Peer(id) => self.peers.get(id).map(|p| &p.me),
        }
    }

    /// The instance that `target` names, to change it.
    pub fn instance_mut(&mut self, target: &Target) -> Option<&mut Instance> {
        match target {
            Target::Master => Some(&mut self.me),
            Target::Replica(name) => self.replicas.get_mut(name).map(|r| &mut r.me),
            Target::Peer(id) => self.peers.get_mut(id).map(|p| &mut p.me),
        }
    }

    /// Every instance of this master, the master first.
    pub fn targets(&self) -> Vec<Target> {
        let replicas = self.replicas.keys().cloned().map(Target::Replica);
        let peers = self.peers.keys().cloned().map(Target::Peer);
        std::iter::once(Target::Master).chain(replicas).chain(peers).collect()
    }

    /// Those of its instances for which something is due.
    pub fn due_targets(&self, now: Ms) -> Vec<Target> {
        let due = |i: &Instance| i.due <= now;
        let master = due(&self.me).then_some(Target::Master);
        let replicas =
            self.replicas.iter().filter(|(_, r)| due(&r.me)).map(|(n, _)| Target::Replica(n.clone()));
        let peers = self.peers.iter().filter(|(_, p)| due(&p.me)).map(|(id, _)| Target::Peer(id.clone()));
        master.into_iter().chain(replicas).chain(peers).collect()
    }

    /// When something is due next for the first of its instances.
    pub fn first_instance_due(&self) -> Ms {
        let replicas = self.replicas.values().map(|r| r.me.due);
        let peers = self.peers.values().map(|p| p.me.due);
        replicas.chain(peers).fold(self.me.due, Ms::min)
    }

    /// The state of our failover, if there is one.
    pub fn failover_state(&self) -> Option<FailoverState> {
        self.failover.as_ref().map(|f| f.state)
    }

    /// The replica being promoted.
    pub fn promoted(&self) -> Option<&Replica> {
        self.failover.as_ref()?.promoted.as_ref().and_then(|name| self.replicas.get(name))
    }

    /// The address clients should use: the promoted replica's once it is a master.
    pub fn current_addr(&self) -> &Addr {
        match self.failover_state() {
            Some(state) if state >= FailoverState::ReconfSlaves => {
                self.promoted().map_or(&self.me.addr, |r| &r.me.addr)
            }
            _ => &self.me.addr,
        }
    }
}
