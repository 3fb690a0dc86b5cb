//! An agent with a played host, and a node and Sentinels on loopback that the test plays.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use redoubt_wire::resp::value::{Decoder, ValueLimits};
use redoubt_wire::service::{Service, Supervision};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, mpsc};
use tokio::task::{JoinHandle, JoinSet};

use crate::agent::host::{Host, HostEvent};
use crate::agent::socket::{Served, Socket};
use crate::agent::{Agent, Event, Events};
use crate::clock;
use crate::config::Config;
use crate::control::{self, Fence, Notification, Reply, Request, Status};
use crate::core::types::{Action, AddressState, Now, VirtualAddress};

/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits until something is so.
pub(super) async fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = clock::now();
    while !is_so() {
        assert!(clock::now() - begun < PATIENCE, "it never came to be: {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// What was done to the played host.
#[derive(Debug, Default)]
pub(super) struct Hosted {
    /// Until when each address answers.
    pub(super) on: BTreeMap<IpAddr, Now>,
    /// The end of the longest lease that was ever asked for.
    pub(super) longest: Now,
    /// Each action with its time, but for renewals.
    pub(super) done: Vec<(Now, IpAddr, &'static str)>,
    pub(super) watched: BTreeSet<IpAddr>,
    /// Why holding fails.
    pub(super) failing: Option<String>,
}

impl Hosted {
    pub(super) fn count(&self, what: &str) -> usize {
        self.done.iter().filter(|(_, _, done)| *done == what).count()
    }
}

/// The host that the agent sees.
pub(super) struct PlayedHost {
    hosted: Arc<Mutex<Hosted>>,
    events: mpsc::UnboundedReceiver<HostEvent>,
}

impl Host for PlayedHost {
    fn configure(&mut self, addresses: &[VirtualAddress]) -> Result<(), String> {
        lock(&self.hosted).watched = addresses.iter().map(|address| address.address).collect();
        Ok(())
    }

    fn act(&mut self, address: &VirtualAddress, action: Action) -> Result<(), String> {
        let mut hosted = lock(&self.hosted);
        let ip = address.address;
        assert!(hosted.watched.contains(&ip), "{ip} is not watched");
        let what = match action {
            Action::Hold { until } => {
                assert!(until > clock::now(), "held without a lease");
                if let Some(why) = &hosted.failing {
                    return Err(why.clone());
                }
                hosted.longest = hosted.longest.max(until);
                if hosted.on.insert(ip, until).is_some() {
                    return Ok(());
                }
                "take"
            }
            Action::Drop => {
                hosted.on.remove(&ip);
                "drop"
            }
            Action::Announce => "announce",
            Action::Probe => "probe",
        };
        hosted.done.push((clock::now(), ip, what));
        Ok(())
    }

    fn state(&mut self, address: &VirtualAddress) -> Result<AddressState, String> {
        let present = lock(&self.hosted).on.contains_key(&address.address);
        Ok(AddressState { link_up: true, present, ours: present })
    }

    fn remove_leftovers(&mut self, _keep: &[VirtualAddress]) -> Vec<Result<String, String>> {
        Vec::new()
    }

    fn own_addresses(&mut self) -> Result<Vec<IpAddr>, String> {
        Ok(vec!["10.0.0.1".parse().unwrap(), "10.0.0.100".parse().unwrap()])
    }

    fn fence(&self, _lease: Duration) -> Fence {
        Fence { in_kernel: true, text: "played".into() }
    }

    async fn next(&mut self) -> Result<HostEvent, String> {
        match self.events.recv().await {
            Some(event) => Ok(event),
            None => std::future::pending().await,
        }
    }
}

/// What a played server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Node,
    /// A Sentinel that knows VOUCH.
    Redoubt,
    /// One that does not.
    Classic,
}

/// What a played server says.
#[derive(Debug)]
pub(super) struct Plays {
    pub(super) kind: Kind,
    /// Of a node: what it is.
    pub(super) is_master: bool,
    /// Of a Sentinel: the master that it names.
    pub(super) names: SocketAddr,
    pub(super) epoch: u64,
    /// How long ago it last vouched for another.
    pub(super) other: Duration,
    /// It takes requests and does not answer.
    pub(super) hangs: bool,
    /// Its reply to everything, byte for byte.
    pub(super) raw: Option<String>,
    /// What a client must say first.
    pub(super) password: Option<String>,
    /// What was asked, in order, as words.
    pub(super) asked: Vec<String>,
}

/// A played node or Sentinel.
pub(super) struct Played {
    pub(super) addr: SocketAddr,
    plays: Arc<Mutex<Plays>>,
    published: broadcast::Sender<(String, String)>,
    task: JoinHandle<()>,
}

impl Played {
    async fn start(kind: Kind, names: SocketAddr) -> Played {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let plays = Plays {
            kind,
            is_master: true,
            names,
            epoch: 1,
            other: Duration::from_secs(3600),
            hangs: false,
            raw: None,
            password: None,
            asked: Vec::new(),
        };
        let addr = listener.local_addr().unwrap();
        let plays = Arc::new(Mutex::new(plays));
        let published = broadcast::channel(16).0;
        let task = tokio::spawn(listen(listener, Arc::clone(&plays), published.clone()));
        Played { addr, plays, published, task }
    }

    pub(super) fn plays(&self) -> MutexGuard<'_, Plays> {
        lock(&self.plays)
    }

    pub(super) fn publish(&self, channel: &str, message: &str) {
        // Nobody may be subscribed yet.
        let _ = self.published.send((channel.into(), message.into()));
    }

    pub(super) fn subscribers(&self) -> usize {
        self.published.receiver_count()
    }

    /// How often something that begins so was asked.
    pub(super) fn count(&self, beginning: &str) -> usize {
        self.plays().asked.iter().filter(|asked| asked.starts_with(beginning)).count()
    }

    /// Ends it: connections break, and new ones are refused.
    pub(super) async fn end(&mut self) {
        self.task.abort();
        // The abort takes effect when the task is next polled; its sockets are then closed.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Played {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(
    listener: TcpListener,
    plays: Arc<Mutex<Plays>>,
    published: broadcast::Sender<(String, String)>,
) {
    let mut connections = JoinSet::new();
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        connections.spawn(serve(stream, Arc::clone(&plays), published.clone()));
    }
}

async fn serve(
    mut stream: TcpStream,
    plays: Arc<Mutex<Plays>>,
    published: broadcast::Sender<(String, String)>,
) {
    let mut decoder = Decoder::new(ValueLimits::default());
    let mut buf = Vec::new();
    let mut messages: Option<broadcast::Receiver<(String, String)>> = None;
    let mut allowed = false;
    loop {
        while let Some((request, len)) = decoder.decode(&buf).unwrap() {
            buf.drain(..len);
            let words: Vec<String> = request
                .as_slice()
                .unwrap()
                .iter()
                .map(|word| String::from_utf8(word.as_bytes().unwrap().to_vec()).unwrap())
                .collect();
            if words[0] == "SUBSCRIBE" {
                messages = Some(published.subscribe());
            }
            let reply = reply(&mut lock(&plays), &words, &mut allowed);
            if let Some(reply) = reply
                && stream.write_all(reply.as_bytes()).await.is_err()
            {
                return;
            }
        }
        let next = async {
            match &mut messages {
                Some(messages) => messages.recv().await.unwrap(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            read = stream.read_buf(&mut buf) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            },
            (channel, text) = next => {
                let message = array(&[bulk("message"), bulk(&channel), bulk(&text)]);
                if stream.write_all(message.as_bytes()).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn bulk(text: &str) -> String {
    format!("${}\r\n{text}\r\n", text.len())
}

fn array(items: &[String]) -> String {
    format!("*{}\r\n{}", items.len(), items.concat())
}

fn reply(plays: &mut Plays, words: &[String], allowed: &mut bool) -> Option<String> {
    plays.asked.push(words.join(" "));
    if plays.hangs {
        return None;
    }
    if plays.raw.is_some() {
        return plays.raw.clone();
    }
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    if let Some(password) = &plays.password {
        match words[..] {
            ["AUTH", given] if given == password => {
                *allowed = true;
                return Some("+OK\r\n".into());
            }
            ["AUTH", ..] => {
                return Some("-WRONGPASS invalid username-password pair or user is disabled.\r\n".into());
            }
            _ if !*allowed => return Some("-NOAUTH Authentication required.\r\n".into()),
            _ => {}
        }
    }
    let integer = |n: u128| format!(":{n}\r\n");
    let (ip, port) = (plays.names.ip().to_string(), plays.names.port().to_string());
    Some(match (plays.kind, &words[..]) {
        (_, ["PING"]) => array(&[bulk("pong"), bulk("")]),
        (_, ["SUBSCRIBE", channels @ ..]) => {
            let one = |(at, channel): (usize, &&str)| {
                array(&[bulk("subscribe"), bulk(channel), integer(at as u128 + 1)])
            };
            channels.iter().enumerate().map(one).collect()
        }
        (Kind::Node, ["ROLE"]) if plays.is_master => array(&[bulk("master"), integer(0), array(&[])]),
        (Kind::Node, ["ROLE"]) => {
            array(&[bulk("slave"), bulk("127.0.0.1"), integer(1), bulk("connected"), integer(0)])
        }
        (Kind::Redoubt, ["SENTINEL", "VOUCH", _, _, _, "RELEASE"]) => "+OK\r\n".into(),
        (Kind::Redoubt, ["SENTINEL", "VOUCH", "mymaster", asked_ip, asked_port]) => {
            if (*asked_ip, *asked_port) == (&*ip, &*port) {
                array(&[bulk("vouched"), integer(plays.epoch.into()), integer(plays.other.as_millis())])
            } else {
                array(&[
                    bulk("refused"),
                    integer(plays.epoch.into()),
                    bulk(&format!("other-master {ip} {port}")),
                ])
            }
        }
        (Kind::Classic, ["SENTINEL", "VOUCH", ..]) => "-ERR Unknown sentinel subcommand 'VOUCH'\r\n".into(),
        (Kind::Classic, ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", "mymaster"]) => {
            array(&[bulk(&ip), bulk(&port)])
        }
        (Kind::Classic, ["SENTINEL", "MASTER", "mymaster"]) => {
            array(&[bulk("name"), bulk("mymaster"), bulk("config-epoch"), bulk(&plays.epoch.to_string())])
        }
        (_, ["SENTINEL", ..]) => "-ERR No such master with that name\r\n".into(),
        _ => "-ERR unknown command\r\n".into(),
    })
}

/// The whole stage. The agent runs until the test ends or stops it.
pub(super) struct Stage {
    dir: tempfile::TempDir,
    pub(super) node: Played,
    pub(super) sentinels: Vec<Played>,
    pub(super) hosted: Arc<Mutex<Hosted>>,
    pub(super) host_events: mpsc::UnboundedSender<HostEvent>,
    pub(super) events: Events,
    agent: Option<JoinHandle<()>>,
    served: Option<Served>,
}

pub(super) const VIP: &str = "10.0.0.100";

pub(super) fn vip() -> IpAddr {
    VIP.parse().unwrap()
}

/// A host with its own events, for a second agent.
fn played_host(hosted: &Arc<Mutex<Hosted>>) -> (PlayedHost, mpsc::UnboundedSender<HostEvent>) {
    let (host_events, events) = mpsc::unbounded_channel();
    (PlayedHost { hosted: Arc::clone(hosted), events }, host_events)
}

impl Stage {
    /// A node that is the master, Sentinels that name it, and an agent.
    pub(super) async fn new(sentinels: &[Kind]) -> Stage {
        Stage::with(sentinels, "", |_, _| ()).await
    }

    /// With more lines of configuration at the top, and what is played changed before the agent starts.
    pub(super) async fn with(kinds: &[Kind], top: &str, prepare: impl FnOnce(&Played, &[Played])) -> Stage {
        let node = Played::start(Kind::Node, "127.0.0.1:1".parse().unwrap()).await;
        let mut sentinels = Vec::new();
        for kind in kinds {
            sentinels.push(Played::start(*kind, node.addr).await);
        }
        prepare(&node, &sentinels);
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("state")).unwrap();
        let hosted = Arc::new(Mutex::new(Hosted::default()));
        let (host, host_events) = played_host(&hosted);
        let text = text(&dir.path().display().to_string(), &node, &sentinels, top, VIP);
        let file = dir.path().join("vip-hook.yaml");
        std::fs::write(&file, &text).unwrap();
        let (events, agent, served) = start(&file, host);
        Stage { dir, node, sentinels, hosted, host_events, events, agent: Some(agent), served: Some(served) }
    }

    pub(super) fn hosted(&self) -> MutexGuard<'_, Hosted> {
        lock(&self.hosted)
    }

    pub(super) fn is_on(&self, ip: &str) -> bool {
        self.hosted().on.contains_key(&ip.parse::<IpAddr>().unwrap())
    }

    pub(super) async fn until_on(&self) {
        eventually("the address is on", || self.is_on(VIP)).await;
    }

    pub(super) async fn until_off(&self) {
        eventually("the address is off", || !self.is_on(VIP)).await;
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("agent.sock")
    }

    pub(super) fn file(&self) -> PathBuf {
        self.dir.path().join("vip-hook.yaml")
    }

    /// What the agent keeps of its master.
    pub(super) fn state_file(&self) -> PathBuf {
        self.dir.path().join("state/mymaster.json")
    }

    pub(super) fn config(&self) -> Config {
        Config::load(&self.file()).unwrap()
    }

    /// Writes the configuration anew, with these lines at the top and these addresses.
    pub(super) fn rewrite(&self, top: &str, addresses: &str) {
        let text = text(&self.dir.path().display().to_string(), &self.node, &self.sentinels, top, addresses);
        std::fs::write(self.file(), text).unwrap();
    }

    pub(super) async fn hup(&self) {
        self.events.send(Event::Reload).await.unwrap();
    }

    /// As by SIGTERM.
    pub(super) async fn stop(&mut self) {
        self.events.send(Event::Stop).await.unwrap();
        let agent = self.agent.take().unwrap();
        tokio::time::timeout(PATIENCE, agent).await.expect("the agent ends").unwrap();
        self.served = None;
    }

    /// As by SIGKILL: what is on the host stays there.
    pub(super) async fn kill(&mut self) {
        let agent = self.agent.take().unwrap();
        agent.abort();
        let _ = agent.await;
        self.served = None;
    }

    /// Starts another agent on what the one before left.
    pub(super) fn start_again(&mut self) {
        let (host, host_events) = played_host(&self.hosted);
        self.host_events = host_events;
        let (events, agent, served) = start(&self.file(), host);
        (self.events, self.agent, self.served) = (events, Some(agent), Some(served));
    }

    /// As a verb of the command line.
    pub(super) async fn call(&self, request: Request) -> Reply {
        let socket = self.socket();
        tokio::task::spawn_blocking(move || control::call(&socket, &request).unwrap()).await.unwrap()
    }

    pub(super) async fn status(&self) -> Status {
        match self.call(Request::Status).await {
            Reply::Status(status) => status,
            other => panic!("{other:?}"),
        }
    }

    /// As a Sentinel's script, for a failover to this host or away from it.
    pub(super) async fn notify(&self, to_us: bool, config_epoch: Option<u64>) -> Reply {
        self.call(Request::Notify(self.notification(to_us, config_epoch))).await
    }

    pub(super) fn notification(&self, to_us: bool, config_epoch: Option<u64>) -> Notification {
        let other = "127.0.0.1:1".parse().unwrap();
        let (from, to) = if to_us { (other, self.node.addr) } else { (self.node.addr, other) };
        Notification {
            master: "mymaster".into(),
            role: "leader".into(),
            state: "start".into(),
            from_ip: from.ip().to_string(),
            from_port: from.port(),
            to_ip: to.ip().to_string(),
            to_port: to.port(),
            config_epoch,
            event_id: None,
            reason: None,
        }
    }
}

fn start(file: &std::path::Path, host: PlayedHost) -> (Events, JoinHandle<()>, Served) {
    let config = Config::load(file).unwrap();
    let socket = Socket::open(&config).unwrap();
    let agent = Agent::new(config, file.into(), host, Service::start(Supervision::No, ""));
    let events = agent.events.clone();
    let served = socket.serve(events.clone());
    (events, tokio::spawn(agent.run()), served)
}

fn text(dir: &str, node: &Played, sentinels: &[Played], top: &str, addresses: &str) -> String {
    let list: Vec<String> = sentinels.iter().map(|sentinel| sentinel.addr.to_string()).collect();
    let addresses: Vec<String> =
        addresses.split(' ').map(|ip| format!("{{address: {ip}, interface: eth0}}")).collect();
    format!(
        "socket: {dir}/agent.sock\nstate-dir: {dir}/state\n{top}\nsentinels: [{}]\nmasters:\n  - name: mymaster\n    \
         node: {}\n    host-addresses: [127.0.0.1]\n    addresses: [{}]\n",
        list.join(", "),
        node.addr,
        addresses.join(", "),
    )
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

/// The text of an outcome.
pub(super) fn text_of(reply: &Reply) -> &str {
    match reply {
        Reply::Done { text } | Reply::Retry { text } | Reply::Refused { text } => text,
        other => panic!("{other:?}"),
    }
}
