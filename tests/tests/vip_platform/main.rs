//! The Linux side of the virtual IP, on hosts in network namespaces: what the kernel really does with what
//! `redoubt-vip-hook` tells it. Every test asks from another host, as clients would.

use std::io::Write;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::Stdio;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use redoubt_lab::netns::{Heard, Host, INTERFACE, Net, isolated, mac_text};
use redoubt_vip_hook::clock;
use redoubt_vip_hook::core::types::{AddressState, VirtualAddress};
use redoubt_vip_hook::platform::packet::PacketSocket;
use redoubt_vip_hook::platform::{
    Event, Fence, Platform, capabilities, facts, fence, frames, uninstall_fence,
};

mod change;
mod host;
mod lease;
mod network;

const LEASE: Duration = Duration::from_millis(400);

fn virtual_address(address: &str) -> VirtualAddress {
    let address: IpAddr = address.parse().unwrap();
    VirtualAddress {
        address,
        prefix_len: if address.is_ipv4() { 32 } else { 128 },
        interface: INTERFACE.into(),
    }
}

fn vip() -> VirtualAddress {
    virtual_address("10.0.0.100")
}

fn vip6() -> VirtualAddress {
    virtual_address("fd00::100")
}

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Runs code with a platform and a runtime in a host.
fn on<T: Send>(
    host: &Host,
    addresses: Vec<VirtualAddress>,
    code: impl AsyncFnOnce(&mut Platform) -> T + Send,
) -> T {
    host.run(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut platform = Platform::open(addresses).unwrap();
            code(&mut platform).await
        })
    })
}

/// The next event that `wanted` makes something of.
async fn event<T>(platform: &mut Platform, wanted: impl Fn(Event) -> Option<T>) -> T {
    tokio::time::timeout(Duration::from_secs(5), async {
        loop {
            if let Some(found) = wanted(platform.next().await.unwrap()) {
                return found;
            }
        }
    })
    .await
    .expect("the event comes")
}

async fn state_becomes(platform: &mut Platform, link_up: bool, present: bool) {
    let wanted = AddressState { link_up, present, ours: present };
    event(platform, |event| match event {
        Event::Address { state, .. } => (state == wanted).then_some(()),
        Event::Claimed { .. } => None,
    })
    .await;
}

/// A host that sends back each datagram to `port`.
fn echo(host: &Host, port: u16) {
    let (ready, is_ready) = mpsc::channel();
    host.spawn(move || {
        let socket = UdpSocket::bind(("::", port)).unwrap();
        ready.send(()).unwrap();
        let mut buffer = [0; 64];
        while let Ok((length, from)) = socket.recv_from(&mut buffer) {
            // The address or its route may be gone by now.
            let _ = socket.send_to(&buffer[..length], from);
        }
    });
    is_ready.recv().unwrap();
}

/// Sends a datagram to `to` in each period for `time`, and takes down when each one that was answered was sent.
fn answered(host: &Host, to: SocketAddr, period: Duration, time: Duration) -> (u32, Vec<Instant>) {
    host.run(|| {
        let any: SocketAddr = if to.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" }.parse().unwrap();
        let socket = UdpSocket::bind(any).unwrap();
        // The answer comes from the host's own address: a wildcard socket sends from what the route prefers.
        // The kernel rounds a time-out up to its tick, which would make this asker slow.
        socket.set_nonblocking(true).unwrap();
        let (start, mut sent, mut answers) = (Instant::now(), Vec::new(), Vec::new());
        let mut buffer = [0; 8];
        // On a busy machine the last answers take a while.
        while start.elapsed() < time + ms(50) {
            let number = sent.len() as u32;
            if start.elapsed() < time && start.elapsed() >= period * number {
                sent.push(Instant::now());
                let _ = socket.send_to(&number.to_le_bytes(), to);
            }
            while let Ok((4, _)) = socket.recv_from(&mut buffer) {
                answers.push(sent[u32::from_le_bytes(*buffer.first_chunk().unwrap()) as usize]);
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        (sent.len() as u32, answers)
    })
}

/// Has `ip` carry out a line at a time.
fn run_batch(host: &Host, lines: &str) {
    let mut ip = host.command("ip").args(["-batch", "-"]).stdin(Stdio::piped()).spawn().unwrap();
    ip.stdin.take().unwrap().write_all(lines.as_bytes()).unwrap();
    assert!(ip.wait().unwrap().success());
}
