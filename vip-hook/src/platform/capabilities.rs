//! What this process may do, and giving up the rest.
//!
//! Addresses and the fence need CAP_NET_ADMIN, packet sockets CAP_NET_RAW. Capabilities belong to threads: the ones
//! that are not needed are given up before a second thread starts.

use caps::{CapSet, Capability, CapsHashSet};
use nix::sys::prctl::set_no_new_privs;

use super::error::{PlatformError, Result};

/// What the agent needs.
pub const NEEDED: [Capability; 2] = [Capability::CAP_NET_ADMIN, Capability::CAP_NET_RAW];

/// Which of the needed capabilities are not effective in this thread.
pub fn missing() -> Result<Vec<Capability>> {
    let effective = read(CapSet::Effective)?;
    Ok(NEEDED.into_iter().filter(|needed| !effective.contains(needed)).collect())
}

/// What to tell somebody whose process lacks capabilities; `None` if it lacks nothing.
pub fn advice(missing: &[Capability]) -> Option<String> {
    if missing.is_empty() {
        return None;
    }
    let names: Vec<String> = missing.iter().map(Capability::to_string).collect();
    let what_for = missing.iter().map(|capability| match capability {
        Capability::CAP_NET_ADMIN => "setting addresses and the fence",
        _ => "ARP and neighbour discovery",
    });
    let program = std::env::current_exe()
        .map_or_else(|_| "redoubt-vip-hook".to_owned(), |path| path.display().to_string());
    Some(format!(
        "{} missing, for {}: run under systemd with AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW (as \
         redoubt-vip-agent.service does), or once: setcap cap_net_admin,cap_net_raw+ep {program}",
        names.join(" and "),
        what_for.collect::<Vec<_>>().join(" and "),
    ))
}

/// Gives up every capability but the needed ones, for this thread and what it starts, for good; programs that it
/// starts get none at all. To be called before there are other threads.
pub fn keep_only_needed() -> Result<()> {
    let failed = |error: caps::errors::CapsError| {
        PlatformError::Refused(format!("cannot give up the capabilities that are not needed: {error}"))
    };
    let keep: CapsHashSet = NEEDED
        .into_iter()
        .collect::<CapsHashSet>()
        .intersection(&read(CapSet::Permitted)?)
        .copied()
        .collect();
    caps::clear(None, CapSet::Ambient).map_err(failed)?;
    // The bounding set needs CAP_SETPCAP, which an agent that was given just its two does not have; no_new_privs
    // below has the same end: nothing comes back by executing a program.
    if caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).map_err(failed)? {
        for capability in caps::all().difference(&keep) {
            // A capability that this kernel does not know cannot be given up.
            let _ = caps::drop(None, CapSet::Bounding, *capability);
        }
    }
    caps::clear(None, CapSet::Inheritable).map_err(failed)?;
    caps::set(None, CapSet::Effective, &keep).map_err(failed)?;
    caps::set(None, CapSet::Permitted, &keep).map_err(failed)?;
    set_no_new_privs().map_err(PlatformError::kernel("cannot set no_new_privs"))
}

fn read(set: CapSet) -> Result<CapsHashSet> {
    caps::read(None, set).map_err(|error| {
        PlatformError::Refused(format!("cannot read the capabilities of this process: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_what_is_missing_and_how_to_give_it() {
        assert_eq!(advice(&[]), None);
        let text = advice(&NEEDED).unwrap();
        for word in ["CAP_NET_ADMIN and CAP_NET_RAW missing", "AmbientCapabilities=", "setcap cap_net_admin"]
        {
            assert!(text.contains(word), "{text}");
        }
        assert!(advice(&[Capability::CAP_NET_RAW]).unwrap().starts_with("CAP_NET_RAW missing, for ARP"));
    }

    #[test]
    fn a_thread_keeps_at_most_the_needed_ones() {
        // Capabilities are a thread's own, so the other tests keep theirs.
        std::thread::spawn(|| {
            let lacked = missing().unwrap();
            keep_only_needed().unwrap();
            assert_eq!(missing().unwrap(), lacked, "what was there and is needed stays");
            let left = read(CapSet::Permitted).unwrap();
            assert!(left.iter().all(|capability| NEEDED.contains(capability)), "{left:?}");
        })
        .join()
        .unwrap();
    }
}
