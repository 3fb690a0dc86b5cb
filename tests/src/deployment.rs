//! A whole Sentinel deployment: one master, replicas, Sentinels that know each other.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::binaries::{Binaries, is_ours};
use crate::client::Role;
use crate::error::{LabError, Result};
use crate::failover::Fault;
use crate::scratch::Scratch;
use crate::server::{Server, ServerSpec};
use crate::wait;

/// The name under which the Sentinels know the master.
pub const MASTER_NAME: &str = "mymaster";

/// How a deployment shall look.
#[derive(Debug, Clone)]
pub struct Shape {
    /// The programs.
    pub binaries: Binaries,
    /// How many replicas the master has.
    pub replicas: usize,
    /// How many Sentinels watch.
    pub sentinels: usize,
    /// The programs of further Sentinels that watch with them. A majority of all is the quorum.
    pub other_sentinels: Vec<PathBuf>,
    /// `down-after-milliseconds`.
    pub down_after_ms: u64,
    /// `down-on-refused` of our Sentinels; others do not have it.
    pub down_on_refused_ms: Option<u64>,
}

impl Shape {
    /// The usual shape: two replicas, three Sentinels, one second.
    pub fn usual(binaries: Binaries) -> Shape {
        Shape {
            binaries,
            replicas: 2,
            sentinels: 3,
            other_sentinels: Vec::new(),
            down_after_ms: 1_000,
            down_on_refused_ms: None,
        }
    }

    /// How long detection takes by its settings.
    pub fn detection_ms(&self, fault: Fault) -> u64 {
        match fault {
            Fault::Coordinated => 0,
            Fault::Sigkill if is_ours(&self.binaries.sentinel) => {
                self.down_on_refused_ms.map_or(self.down_after_ms, |ms| ms.min(self.down_after_ms))
            }
            Fault::Sigkill | Fault::Sigstop => self.down_after_ms,
        }
    }
}

/// The running servers.
#[derive(Debug)]
pub struct Deployment {
    /// The data nodes; at the start the first is the master.
    pub nodes: Vec<Server>,
    /// The Sentinels.
    pub sentinels: Vec<Server>,
    // Fields are dropped in this order: the servers before their directories.
    scratch: Scratch,
}

impl Deployment {
    /// Starts the servers and waits until all of them know each other.
    pub async fn start(shape: &Shape, scratch: Scratch) -> Result<Deployment> {
        // Diskless synchronisation would otherwise wait five seconds for more replicas.
        let node = ["save \"\"", "appendonly no", "repl-diskless-sync-delay 0"];
        let program = &shape.binaries.node;
        let master = ServerSpec::with_file("node-1", program, &node).start(&scratch).await?;
        let mut nodes = vec![master];
        for number in 2..shape.replicas + 2 {
            let replica = ServerSpec::with_file(&format!("node-{number}"), program, &node)
                .line(format!("replicaof 127.0.0.1 {}", nodes[0].port()));
            nodes.push(replica.start(&scratch).await?);
        }
        let mut deployment = Deployment { nodes, sentinels: Vec::new(), scratch };
        let (master, replicas) = deployment.nodes.split_first().ok_or_else(no_nodes)?;
        for replica in replicas {
            replica.follows(master, Duration::from_secs(15)).await?;
        }
        let programs = std::iter::repeat_n(&shape.binaries.sentinel, shape.sentinels);
        for (index, program) in programs.chain(&shape.other_sentinels).enumerate() {
            let spec = sentinel_spec(index + 1, program, shape, master.port());
            deployment.sentinels.push(spec.start(&deployment.scratch).await?);
        }
        deployment.settled(Duration::from_secs(20)).await?;
        Ok(deployment)
    }

    /// The directory under which the servers' directories lie.
    pub fn scratch(&self) -> &Scratch {
        &self.scratch
    }

    /// The addresses of the Sentinels.
    pub fn sentinel_addrs(&self) -> Vec<SocketAddr> {
        self.sentinels.iter().map(Server::addr).collect()
    }

    /// The node with that port.
    pub fn node_at(&self, port: u16) -> Result<usize> {
        self.nodes
            .iter()
            .position(|node| node.port() == port)
            .ok_or_else(|| LabError::Other(format!("no node of the deployment has port {port}")))
    }

    /// Waits until the deployment is whole: one master, the others following it with their links
    /// up, every Sentinel naming it and seeing nothing wrong. Returns the master's index.
    pub async fn settled(&self, limit: Duration) -> Result<usize> {
        let master = wait::until("the deployment has settled", limit, async || {
            let master = self.only_master().await?;
            for sentinel in &self.sentinels {
                self.sentinel_content(sentinel, &self.nodes[master])
                    .await
                    .map_err(|what| format!("{}: {what}", sentinel.name()))?;
            }
            Ok::<_, String>(master)
        })
        .await?;
        // Ours are held to streaming from the moment a link is up.
        if !is_ours(self.nodes[master].program()) {
            self.streaming(&self.nodes[master], limit).await?;
        }
        Ok(master)
    }

    /// Waits until every replica has acknowledged a message. After a diskless synchronisation Redis 7.0
    /// sends a replica nothing before its first acknowledgement, which may come a second after the link
    /// is up; a master killed before then takes all writes since with it.
    async fn streaming(&self, master: &Server, limit: Duration) -> Result<()> {
        let () = master.ask(&["PUBLISH", "lab:settled", master.name()]).await?;
        let written = replication_offset(&master.info("replication").await?)?;
        wait::until("every replica acknowledges what its master sent", limit, async || {
            let fields = master.info("replication").await.map_err(|error| error.to_string())?;
            let acknowledged =
                fields.iter().filter(|(name, _)| is_replica_field(name)).filter(|(_, value)| {
                    let offset = value.split(',').find_map(|part| part.strip_prefix("offset="));
                    offset
                        .and_then(|offset| offset.parse::<u64>().ok())
                        .is_some_and(|offset| offset >= written)
                });
            match acknowledged.count() {
                count if count == self.nodes.len() - 1 => Ok(()),
                count => Err(format!("{count} replicas have acknowledged offset {written}")),
            }
        })
        .await
    }

    /// Removes all data, for the next round.
    pub async fn clear(&self) -> Result<()> {
        let master = self.settled(Duration::from_secs(40)).await?;
        self.nodes[master].ask(&["FLUSHALL"]).await
    }

    async fn only_master(&self) -> std::result::Result<usize, String> {
        let mut masters = Vec::new();
        let mut followed = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            match node.role().await.map_err(|error| error.to_string())? {
                Role::Master { .. } => masters.push(index),
                Role::Replica { link_up: true, master_port, .. } => followed.push(master_port),
                role => return Err(format!("{}: {role:?}", node.name())),
            }
        }
        match masters[..] {
            [master] if followed.iter().all(|port| *port == self.nodes[master].port()) => Ok(master),
            _ => Err(format!("masters: nodes {masters:?}; replicas follow ports {followed:?}")),
        }
    }

    async fn sentinel_content(&self, sentinel: &Server, master: &Server) -> std::result::Result<(), String> {
        type Fields = HashMap<String, String>;
        let text = |error: LabError| error.to_string();
        let seen: Fields = sentinel.ask(&["SENTINEL", "MASTER", MASTER_NAME]).await.map_err(text)?;
        let field = |fields: &Fields, name: &str| fields.get(name).cloned().unwrap_or_default();
        if field(&seen, "port") != master.port().to_string() || field(&seen, "flags") != "master" {
            return Err(format!("master on port {}, flags {}", field(&seen, "port"), field(&seen, "flags")));
        }
        let replicas: Vec<Fields> =
            sentinel.ask(&["SENTINEL", "REPLICAS", MASTER_NAME]).await.map_err(text)?;
        let peers: Vec<Fields> = sentinel.ask(&["SENTINEL", "SENTINELS", MASTER_NAME]).await.map_err(text)?;
        let good = |list: &[Fields], flags: &str| list.iter().all(|one| field(one, "flags") == flags);
        if replicas.len() != self.nodes.len() - 1 || !good(&replicas, "slave") {
            let flags: Vec<_> = replicas.iter().map(|one| field(one, "flags")).collect();
            return Err(format!("replicas known with flags {flags:?}"));
        }
        if peers.len() != self.sentinels.len() - 1 || !good(&peers, "sentinel") {
            let flags: Vec<_> = peers.iter().map(|one| field(one, "flags")).collect();
            return Err(format!("other Sentinels known with flags {flags:?}"));
        }
        Ok(())
    }
}

fn sentinel_spec(number: usize, program: &Path, shape: &Shape, master_port: u16) -> ServerSpec {
    let quorum = (shape.sentinels + shape.other_sentinels.len()) / 2 + 1;
    let refused = shape.down_on_refused_ms.filter(|_| is_ours(program));
    let spec = ServerSpec::with_file(&format!("sentinel-{number}"), program, &[])
        .line(format!("sentinel monitor {MASTER_NAME} 127.0.0.1 {master_port} {quorum}"))
        .line(format!("sentinel down-after-milliseconds {MASTER_NAME} {}", shape.down_after_ms))
        // The next round must not wait out the default of three minutes after a split vote.
        .line(format!("sentinel failover-timeout {MASTER_NAME} 10000"))
        .line(format!("sentinel parallel-syncs {MASTER_NAME} 1"));
    match refused {
        Some(ms) => spec.line(format!("sentinel down-on-refused {MASTER_NAME} {ms}")),
        None => spec,
    }
}

/// `slave0`, `slave1`, …, but not `slave_repl_offset`.
fn is_replica_field(name: &str) -> bool {
    name.strip_prefix("slave").is_some_and(|number| number.parse::<u32>().is_ok())
}

fn replication_offset(fields: &HashMap<String, String>) -> Result<u64> {
    let offset = fields.get("master_repl_offset").and_then(|offset| offset.parse().ok());
    offset.ok_or_else(|| LabError::Other("INFO replication tells no master_repl_offset".into()))
}

fn no_nodes() -> LabError {
    LabError::Other("a deployment needs at least one node".into())
}
