//! The known recipe for a virtual IP: `sentinel client-reconfig-script` points at a shell script, on every host the same, that
//! adds the address and announces it where the sixth argument is the host's own address, and removes it
//! elsewhere. It works under a redoubt-sentinel as it is.
//!
//! The test runs in a network of its own. What stands for a host is an interface with an address, on which its node
//! and its Sentinel are known to the others.

use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use nix::sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, socket};
use redoubt_lab::binaries::Binaries;
use redoubt_lab::deployment::MASTER_NAME;
use redoubt_lab::netns::isolated;
use redoubt_lab::scratch::Scratch;
use redoubt_lab::server::{Server, ServerSpec};
use redoubt_lab::wait;

const LIMIT: Duration = Duration::from_secs(20);
const VIP: &str = "10.99.0.100";

/// The recipe, but for the three lines that each host has of its own.
const RECIPE: &str = r#"
if [ "$6" = "$MY_IP" ]; then
    ip addr add $VIP/32 dev $IFACE
    arping -q -c 1 -A -I $IFACE $VIP
    echo "$IFACE has $VIP"
else
    ip addr del $VIP/32 dev $IFACE
fi
exit 0
"#;

fn run(line: &str) -> String {
    let mut words = line.split(' ');
    let output = Command::new(words.next().unwrap()).args(words).output().unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{line}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A host: its interface and address are made of its number.
struct Host {
    number: usize,
    mac: [u8; 6],
}

impl Host {
    fn set_up(number: usize) -> Host {
        let (iface, far) = (format!("host{number}"), format!("port{number}"));
        run(&format!("ip link add {iface} type veth peer name {far}"));
        for name in [&iface, &far] {
            run(&format!("ip link set {name} up"));
        }
        run(&format!("ip addr add 10.99.0.{number}/24 dev {iface}"));
        let shown = run(&format!("ip -o link show {iface}"));
        let text = shown.split_whitespace().skip_while(|word| *word != "link/ether").nth(1).unwrap();
        let mut mac = [0; 6];
        for (byte, text) in mac.iter_mut().zip(text.split(':')) {
            *byte = u8::from_str_radix(text, 16).unwrap();
        }
        Host { number, mac }
    }

    fn ip(&self) -> String {
        format!("10.99.0.{}", self.number)
    }

    fn recipe(&self, dir: &Path) -> PathBuf {
        let path = dir.join(format!("reconfig-{}.sh", self.number));
        let own = format!("#!/bin/sh\nMY_IP={}\nIFACE=host{}\nVIP={VIP}\n", self.ip(), self.number);
        std::fs::write(&path, own + RECIPE).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    /// A server that is known by this host's address.
    fn server(&self, kind: &str, program: &Path) -> ServerSpec {
        ServerSpec::with_file(&format!("{kind}-{}", self.number), program, &[])
            .line(format!("bind 127.0.0.1 {}", self.ip()))
            .line("protected-mode no")
    }
}

/// The hosts that have the address.
fn holders() -> Vec<usize> {
    let shown = run(&format!("ip -o addr show to {VIP}"));
    let interface = |line: &str| line.split_whitespace().nth(1)?.strip_prefix("host")?.parse().ok();
    shown.lines().filter_map(interface).collect()
}

/// Hears the announcements on all interfaces, in a thread of its own since so much else is to be heard there.
struct Ear(mpsc::Receiver<[u8; 6]>);

impl Ear {
    fn open() -> Ear {
        let (family, kind) = (AddressFamily::Packet, SockType::Raw);
        let socket = socket(family, kind, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll).unwrap();
        let (heard, claims) = mpsc::channel();
        std::thread::spawn(move || {
            let vip: Vec<u8> = VIP.split('.').map(|part| part.parse().unwrap()).collect();
            let mut frame = [0; 2048];
            loop {
                let len = recv(socket.as_raw_fd(), &mut frame, MsgFlags::empty()).unwrap();
                // After the Ethernet header: sender's hardware address at 8, sender's IP at 14.
                let is_arp = len >= 42 && frame[12..14] == [0x08, 0x06];
                if is_arp && frame[28..32] == vip && heard.send(frame[22..28].try_into().unwrap()).is_err() {
                    return;
                }
            }
        });
        Ear(claims)
    }

    /// The hardware addresses that claimed the address in ARP since the last call.
    fn claims(&self) -> Vec<[u8; 6]> {
        self.0.try_iter().collect()
    }
}

/// Waits until every Sentinel knows the two others and both replicas.
async fn settled(sentinels: &[Server]) {
    for sentinel in sentinels {
        wait::until("the Sentinels know everybody", LIMIT, async || {
            let text = sentinel.info("sentinel").await.map_err(|error| error.to_string())?;
            let line = text.get("master0").cloned().unwrap_or_default();
            let whole = line.contains("status=ok") && line.ends_with("slaves=2,sentinels=3");
            if whole { Ok(()) } else { Err(line) }
        })
        .await
        .unwrap();
    }
}

/// Waits until one host other than `old` has the address, and only it; it is the one whose node is the
/// master, and it announced itself.
async fn moved(old: usize, hosts: &[Host], ear: &Ear, sentinels: &[Server]) -> usize {
    let mut claims = Vec::new();
    let new = wait::until("the address has moved", LIMIT, async || {
        claims.extend(ear.claims());
        match holders()[..] {
            [one] if one != old && claims.contains(&hosts[one - 1].mac) => Ok(one),
            _ => Err(format!("it is on the hosts {:?}, claimed by {claims:x?}", holders())),
        }
    })
    .await
    .unwrap();
    let claimed_elsewhere = hosts.iter().find(|host| host.number != new && claims.contains(&host.mac));
    assert_eq!(claimed_elsewhere.map(|host| host.number), None);
    for sentinel in sentinels {
        wait::until("the Sentinels name its node", LIMIT, async || {
            let words = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME];
            let told: Vec<String> = sentinel.ask(&words).await.map_err(|error| error.to_string())?;
            if told[0] == hosts[new - 1].ip() { Ok(()) } else { Err(told[0].clone()) }
        })
        .await
        .unwrap();
    }
    // The announcement takes arping a second.
    wait::until("what the script says is logged", LIMIT, async || {
        let log = sentinels[new - 1].log();
        if log.contains(&format!("host{new} has {VIP}")) { Ok(()) } else { Err(log) }
    })
    .await
    .unwrap();
    new
}

#[test]
fn with_netns_and_arping_the_known_recipe_moves_the_address() {
    isolated("with_netns_and_arping_the_known_recipe_moves_the_address", || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(the_known_recipe());
    });
}

async fn the_known_recipe() {
    run("ip link set lo up");
    let hosts = [1, 2, 3].map(Host::set_up);
    // The recipe does nothing at boot.
    run(&format!("ip addr add {VIP}/32 dev host1"));
    let ear = Ear::open();

    let binaries = Binaries::locate(None, None).unwrap();
    let scratch = Scratch::for_test(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let mut nodes: Vec<Server> = Vec::new();
    for host in &hosts {
        let mut spec =
            host.server("node", &binaries.node).line("save \"\"").line("repl-diskless-sync-delay 0");
        spec = spec.line(format!("replica-announce-ip {}", host.ip()));
        if let Some(master) = nodes.first() {
            spec = spec.line(format!("replicaof {} {}", hosts[0].ip(), master.port()));
        }
        nodes.push(spec.start(&scratch).await.unwrap());
    }
    for replica in &nodes[1..] {
        replica.follows(&nodes[0], LIMIT).await.unwrap();
    }
    let mut sentinels = Vec::new();
    for host in &hosts {
        let script = host.recipe(scratch.path());
        let spec = host
            .server("sentinel", &binaries.sentinel)
            .line(format!("sentinel announce-ip {}", host.ip()))
            .line(format!("sentinel monitor {MASTER_NAME} {} {} 2", hosts[0].ip(), nodes[0].port()))
            .line(format!("sentinel down-after-milliseconds {MASTER_NAME} 1000"))
            .line(format!("sentinel failover-timeout {MASTER_NAME} 10000"))
            .line(format!("sentinel client-reconfig-script {MASTER_NAME} {}", script.display()));
        sentinels.push(spec.start(&scratch).await.unwrap());
    }
    settled(&sentinels).await;
    ear.claims();
    assert_eq!(holders(), [1], "nothing has happened");

    nodes[0].kill().unwrap();
    let second = moved(1, &hosts, &ear, &sentinels).await;

    // An operator moves it on, once the old master is back as a replica.
    nodes[0].restart().await.unwrap();
    nodes[0].follows(&nodes[second - 1], LIMIT).await.unwrap();
    let asked = wait::until("the Sentinel takes the order", LIMIT, async || {
        sentinels[0].ask::<String>(&["SENTINEL", "FAILOVER", MASTER_NAME]).await.map_err(|e| e.to_string())
    });
    assert_eq!(asked.await.unwrap(), "OK");
    ear.claims();
    moved(second, &hosts, &ear, &sentinels).await;
}
