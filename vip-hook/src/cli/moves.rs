//! Moves addresses without an agent, as the known scripts do: adds and announces, or removes.
//!
//! It has no proof and no lease, so it keeps none of the promises; it is done only where the configuration asks for it.

use std::time::Duration;

use super::NotifyArgs;
use crate::agent::linux;
use crate::clock;
use crate::config::{Config, Master};
use crate::core::types::VirtualAddress;
use crate::platform::{Platform, capabilities};

/// When an address that was added is announced, from then.
const ANNOUNCEMENTS: [Duration; 3] =
    [Duration::ZERO, Duration::from_millis(200), Duration::from_millis(1000)];
/// Nobody is there to renew, so it stays until another call removes it: ten years.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// Carries an event out here; what was done, or why it could not be.
pub(super) fn run(config: &Config, master: &Master, args: &NotifyArgs) -> Result<String, String> {
    let missing = capabilities::missing().map_err(|e| e.to_string())?;
    if let Some(advice) = capabilities::advice(&missing) {
        return Err(format!("to move the address without an agent: {advice}"));
    }
    let own = match &master.host_addresses {
        Some(given) => given.clone(),
        None => linux::own_addresses()?,
    };
    let is_virtual = |ip| config.addresses().any(|address| address.address == ip);
    let to_us = args.to_port == master.port
        && args.to_ip.parse().is_ok_and(|ip| own.contains(&ip) && !is_virtual(ip));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("cannot start the event loop: {e}"))?;
    runtime.block_on(async {
        let watched: Vec<VirtualAddress> = config.addresses().cloned().collect();
        let mut platform = Platform::open(watched).map_err(|e| e.to_string())?;
        if to_us { take(&mut platform, master).await } else { release(&mut platform, master) }
    })
}

async fn take(platform: &mut Platform, master: &Master) -> Result<String, String> {
    for address in &master.addresses {
        platform.hold(address, clock::now() + FOR_EVER).map_err(|e| e.to_string())?;
    }
    let begun = tokio::time::Instant::now();
    for at in ANNOUNCEMENTS {
        tokio::time::sleep_until(begun + at).await;
        for address in &master.addresses {
            platform.announce(address).map_err(|e| e.to_string())?;
        }
    }
    Ok(format!("{} taken and announced", names(master)))
}

fn release(platform: &mut Platform, master: &Master) -> Result<String, String> {
    let mut there = false;
    for address in &master.addresses {
        there |= platform.state(address).map_err(|e| e.to_string())?.present;
        platform.release(address).map_err(|e| e.to_string())?;
    }
    let what = if there { "released" } else { "not on this host, nothing to do" };
    Ok(format!("{} {what}", names(master)))
}

fn names(master: &Master) -> String {
    let name = |address: &VirtualAddress| format!("{} on {}", address.address, address.interface);
    master.addresses.iter().map(name).collect::<Vec<_>>().join(", ")
}
